"""Print the digest of a short run with every gate on: `python -m tests.support.print_all_gates`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from engine.config import read_toml
from tests.support.short_market import short_market
from tests.support.worlds import EAGER, make_world, run_world

EVENTS = 16_000  # so many of them reach beyond the first five minutes, in which nothing trades


def all_gates() -> dict[str, Any]:
    """configs/full.toml with thresholds so low that a few minutes of market trade."""
    full = read_toml(Path("configs/full.toml"))
    return {
        **{key: value for key, value in full.items() if key not in ("run", "capture", "venue")},
        **{key: value for key, value in EAGER.items() if key != "records"},
        "records": {"shadow": True, "candidates_top": 8},
        "tiers": {"enabled": True, "b_depth": 0.0, "b_spread_bps": 1000.0, "b_trades": 0.0},
        "evaluation": {"warmup": "5s", "max_entries": 1},
        "universe": {"every": "60s", "cap": 2, "enter_rank": 2, "leave_rank": 2},
    }


def main() -> None:
    # Without the JIT numpy warns about integers that wrap; compiled they wrap in silence.
    warnings.filterwarnings("ignore", category=RuntimeWarning)
    instruments, events = short_market(380, symbols=2)
    result, tables = run_world(make_world(instruments, all_gates()), [events[:EVENTS]])
    print(result.digest, *(len(tables[name]) for name in ("orders", "adaptive", "routes")))


if __name__ == "__main__":
    main()
