"""With every gate of configs/full.toml on, a run still depends on nothing but its events."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.print_all_gates import all_gates
from tests.support.short_market import short_market
from tests.support.worlds import make_world, run_world, split


@pytest.mark.parametrize("level3", [False, True])
def test_no_cut_of_the_events_changes_any_table(level3):
    instruments, events = short_market(500, level3=level3)
    settings = all_gates()
    whole = run_world(make_world(instruments, settings, level3=level3), [events])[1]
    sizes = [1, 2, 7, 500, 3, 1_001, 64] * 60
    cut = run_world(make_world(instruments, settings, level3=level3), split(events, sizes))[1]

    for name, rows in whole.items():
        assert rows.tobytes() == cut[name].tobytes(), name
    for name in ("orders", "flow", "universe", "adaptive", "routes", "outcomes"):
        assert len(whole[name]) > 0, name


def printed(**environment: str) -> list[str]:
    """What a fresh process prints of a short run with every gate on."""
    finished = subprocess.run(
        [sys.executable, "-m", "tests.support.print_all_gates"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    return finished.stdout.split()


@pytest.mark.long
def test_same_digest_with_the_jit_off_and_every_gate_on():
    here = printed()
    assert all(int(count) > 0 for count in here[1:])
    assert here == printed(NUMBA_DISABLE_JIT="1")
