"""One digest, whatever the machine, the process, the batch size or the source of the events."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.short_market import short_market
from tests.support.worlds import make_world, run_world, split

ROOT = Path(__file__).resolve().parents[4]
SLICE_S = 600  # of one symbol: features need minutes of history before a family may act


def digest_elsewhere(**environment: str) -> tuple[str, str]:
    """Digest and machine-state digest of the short market, computed in a fresh process."""
    finished = subprocess.run(
        [sys.executable, "-m", "tests.support.print_digest", str(SLICE_S)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    digest, state = finished.stdout.split()
    return digest, state


@pytest.fixture(scope="module")
def here() -> tuple[str, str]:
    return digest_elsewhere()


def test_the_short_market_exercises_the_whole_pipeline():
    instruments, events = short_market(SLICE_S, symbols=1)
    _, tables = run_world(make_world(instruments), [events])

    for table in ("evaluations", "decisions", "candidates", "orders", "fills", "commands"):
        assert len(tables[table]) > 0, table


def test_same_digest_with_the_jit_off(here):
    assert digest_elsewhere(NUMBA_DISABLE_JIT="1") == here


def test_same_digest_on_a_generic_cpu(here):
    assert digest_elsewhere(NUMBA_CPU_NAME="generic") == here


@pytest.mark.parametrize("seed", ["0", "4711"])
def test_same_digest_for_any_hash_seed(here, seed):
    assert digest_elsewhere(PYTHONHASHSEED=seed) == here


@pytest.mark.long  # compiles everything once more
def test_same_digest_with_bounds_checked(here):
    assert digest_elsewhere(NUMBA_BOUNDSCHECK="1") == here


@pytest.fixture(scope="module")
def whole():
    instruments, events = short_market(600, symbols=3)
    result, _ = run_world(make_world(instruments), [events])
    return instruments, events, result


@settings(max_examples=15)
@given(sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=60))
def test_same_digest_for_any_split_into_batches(whole, sizes):
    instruments, events, expected = whole

    result, _ = run_world(make_world(instruments), split(events, sizes))

    assert result.table_digests == expected.table_digests


def test_same_digest_one_event_at_a_time(whole):
    instruments, events, _ = whole
    head = events[:3000]
    expected, _ = run_world(make_world(instruments), [head])

    result, _ = run_world(make_world(instruments), split(head, [1] * len(head)))

    assert result.table_digests == expected.table_digests


def test_no_earlier_decision_changes_when_the_future_does(whole):
    """Shift every event after a moment: nothing that was decided before it may move."""
    instruments, events, _ = whole
    cut_ts = int(events[len(events) // 2]["ts"])
    other = events.copy()
    # A fill may reach us before the print that made it does: the venue saw that print earlier by
    # the feed latency. So the future, for what we know at `cut_ts`, begins one feed latency later.
    feed_ns = int(make_world(instruments).link[0]["feed_ns"])
    later = other["ts"] > cut_ts + feed_ns
    priced = later & (other["price"] > 0)
    other["price"][priced] += 1000
    other["qty"][later & (other["qty"] > 0)] *= 3

    _, before = run_world(make_world(instruments), [events])
    _, after = run_world(make_world(instruments), [other])

    changed = False
    for name, rows in before.items():
        # An outcome is known when its row is closed; what it is of, long before.
        known = "closed_ts" if name == "outcomes" else "ts"
        mine, theirs = rows[rows[known] <= cut_ts], after[name][after[name][known] <= cut_ts]
        assert mine.tobytes() == theirs.tobytes(), name
        changed |= rows.tobytes() != after[name].tobytes()
    assert changed, "the shift changed nothing at all: this test would prove nothing"


def test_two_runs_hold_the_same_bytes_of_state(whole):
    instruments, events, _ = whole
    first, second = make_world(instruments), make_world(instruments)
    run_world(first, [events])
    run_world(second, split(events, [777] * 1000))

    for name in ("glob", "symbols", "orders"):
        mine, theirs = getattr(first.core, name), getattr(second.core, name)
        assert np.array_equal(mine.view(np.uint8), theirs.view(np.uint8)), name
