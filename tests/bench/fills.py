"""Is the expected fill probability right? Resting entries against the simulated venue's own fills.

`python -m tests.bench fills [SECONDS] [SEED ...]` prints the reliability table of windows of 5, 10, 30 and
90 s, and of all of them together. A family that is always sure joins or improves the best bid whenever it is
flat, keeps its order for the whole window and leaves at once when it was filled; the market is the
generator's, whose level 3 gives the venue exact queues.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.core.columns import (
    OUT_ACTIVE,
    OUT_CONFIDENCE,
    OUT_HALF_LIFE_S,
    OUT_INVALIDATION_BPS,
    OUT_MOVE_BPS,
    OUT_SD_BPS,
)
from engine.core.routes import BUILT_FAMILIES, FAMILY_NAMES, FAMILY_PLUGIN, N_PLUGINS
from engine.core.theses import no_family
from engine.flow.driver import World
from engine.jit import function_value
from engine.reports.reliability import as_text, expected_and_filled, reliability
from tests.support.short_market import short_market
from tests.support.worlds import EAGER, make_world, run_world

SETTINGS: dict[str, Any] = {
    **EAGER,
    "families": {FAMILY_NAMES[code]: {"enabled": False} for code in BUILT_FAMILIES},
    "orders": {"moves_max": 0, "life_min": "1h", "maker_window": "30s"},
    "exits": {"time_multiple": 0.1},
    "risk": {"orders_per_minute": 1000, "daily_loss_max": 1.0, "drawdown_max": 1.0,
             "throttle_loss_1h": 1.0},
    "evaluation": {"max_entries": 8, "warmup": "60s"},
    "horizons_s": [10],
}  # fmt: skip


def sure(features: Any, params: Any, out: Any) -> None:
    """Always expects enough to enter, whatever it costs."""
    out[OUT_ACTIVE] = 1.0
    out[OUT_MOVE_BPS] = 200.0
    out[OUT_SD_BPS] = 5.0
    out[OUT_CONFIDENCE] = 0.9
    out[OUT_INVALIDATION_BPS] = 50.0
    out[OUT_HALF_LIFE_S] = 1e6


def sure_world(instruments: Any, settings: dict[str, Any], depth: int = 10) -> World:
    """A world in which the only family is the one that is always sure, in every regime."""
    world = make_world(instruments, settings, depth=depth)
    params = world.core.params[0]
    params["family_enabled"][FAMILY_PLUGIN] = 1
    params["regime_allows"][FAMILY_PLUGIN] = 1
    params["family_half_life_s"][FAMILY_PLUGIN] = 60.0
    plugins = (function_value(sure), *(no_family,) * (N_PLUGINS - 1))
    return World(world.core._replace(plugins=plugins), world.venue, world.link)


def fills_of(seconds: int, seed: int, window_s: int) -> tuple[np.ndarray, np.ndarray]:
    """Expected chance and outcome of the entries of one market whose orders live `window_s`."""
    instruments, events = short_market(seconds, seed=seed, level3=True)
    settings = {**SETTINGS, "orders": {**SETTINGS["orders"], "maker_window": f"{window_s}s"}}
    _, tables = run_world(sure_world(instruments, settings), [events])
    return expected_and_filled(tables)


def fills_table(
    seconds: int = 3_600,
    seeds: tuple[int, ...] = (7, 8, 9),
    windows_s: tuple[int, ...] = (5, 10, 30, 90),
) -> str:
    """The reliability table of `seconds` of market for each seed, three symbols each, by window."""
    parts, every = [], []
    for window_s in windows_s:
        pairs = [fills_of(seconds, seed, window_s) for seed in seeds]
        every += pairs
        parts.append(f"window {window_s} s\n\n{_table(pairs)}")
    if len(windows_s) > 1:
        parts.append(f"all windows\n\n{_table(every)}")
    return "\n\n".join(parts)


def _table(pairs: list[tuple[np.ndarray, np.ndarray]]) -> str:
    chances, filled = (np.concatenate(each) for each in zip(*pairs, strict=True))
    return as_text(reliability(chances, filled))
