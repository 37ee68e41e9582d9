"""The universe against its naive twin, over many choices in a row, and its promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.universe import (
    IN_KEPT,
    IN_PINNED,
    IN_STAY,
    OUT_FULL,
    OUT_STATUS,
    OUT_WAITING,
    UNIVERSE_REASONS,
    UNIVERSE_ROW,
    choose_universe,
    universe_params,
)
from engine.instruments import STATUS_MAINTENANCE, STATUS_ONLINE
from tests.naive import universe as naive

HOUR = 3_600_000_000_000
USD = 10**8


def symbols(*turnovers: int, spread_e2: int = 100) -> np.ndarray:
    rows = np.zeros(len(turnovers), UNIVERSE_ROW)
    rows["quote_ok"], rows["status"], rows["spread_e2"] = 1, STATUS_ONLINE, spread_e2
    rows["turnover"] = np.array(turnovers) * USD
    return rows


def choose(rows: np.ndarray, params: np.ndarray, now: int) -> bool:
    return bool(choose_universe(rows, params[0], np.zeros(len(rows), np.int64), now))


def inside(rows: np.ndarray) -> list[int]:
    return np.flatnonzero(rows["inside"]).tolist()


CHOICE = st.fixed_dictionaries(
    {
        "turnover": st.integers(-1, 20),
        "spread_e2": st.sampled_from([-1, 0, 100, 1000, 5000]),
        "denied": st.integers(0, 9).map(lambda x: int(x == 0)),
        "allowed": st.integers(0, 9).map(lambda x: int(x == 0)),
        "quote_ok": st.integers(0, 9).map(lambda x: int(x > 0)),
        "status": st.sampled_from([STATUS_ONLINE] * 5 + [STATUS_MAINTENANCE]),
        "pinned": st.integers(0, 9).map(lambda x: int(x == 0)),
    }
)


@settings(deadline=None, max_examples=150)
@given(
    steps=st.lists(st.lists(CHOICE, min_size=8, max_size=8), min_size=1, max_size=6),
    cap=st.integers(1, 6),
    enter=st.integers(1, 6),
    beyond=st.integers(0, 4),
    stay_h=st.integers(0, 3),
    rotation=st.integers(1, 3),
)
def test_as_the_naive_twin_over_many_choices(steps, cap, enter, beyond, stay_h, rotation):
    values = {
        "cap": cap,
        "enter_rank": enter,
        "leave_rank": enter + beyond,
        "stay_ns": stay_h * HOUR,
        "rotation_max": rotation,
        "turnover_min": 2 * USD,
        "spread_max_e2": 2000,
    }
    params = universe_params(**values)
    rows = np.zeros(8, UNIVERSE_ROW)
    assert naive.ONLINE == STATUS_ONLINE
    for k, step in enumerate(steps):
        for row, given_row in zip(rows, step, strict=True):
            for name, value in given_row.items():
                row[name] = value * USD if name == "turnover" and value > 0 else value
        plain = [{name: int(row[name]) for name in rows.dtype.names} for row in rows]
        expected = naive.choose(plain, values, k * HOUR)
        before = set(inside(rows))

        changed = choose(rows, params, k * HOUR)

        assert set(inside(rows)) == expected
        assert changed == (before != expected)
        assert all(int(reason) in UNIVERSE_REASONS for reason in rows["reason"])
        # What stands in the reason is what happened.
        named_in = {i for i in range(8) if UNIVERSE_REASONS[int(rows["reason"][i])][:3] == "in:"}
        assert named_in == expected
        assert all(rows["since"][i] == k * HOUR for i in expected - before)


def test_the_first_universe_is_filled_at_once_and_later_ones_rotate():
    rows = symbols(9, 8, 7, 6, 5)
    params = universe_params(cap=3, enter_rank=3, leave_rank=3, stay_ns=0, rotation_max=1)
    assert choose(rows, params, 0)
    assert inside(rows) == [0, 1, 2]
    rows["turnover"] = np.array([1, 2, 7, 8, 9]) * USD
    choose(rows, params, HOUR)
    assert inside(rows) == [2, 4]  # two left, one may enter
    assert rows["reason"][3] == OUT_WAITING
    choose(rows, params, 2 * HOUR)
    assert inside(rows) == [2, 3, 4]


def test_between_the_ranks_nothing_moves():
    rows = symbols(9, 8, 7)
    params = universe_params(cap=2, enter_rank=2, leave_rank=3, stay_ns=0)
    choose(rows, params, 0)
    rows["turnover"] = np.array([9, 7, 8]) * USD
    assert not choose(rows, params, HOUR)
    assert inside(rows) == [0, 1]
    assert (rows["reason"][1], rows["reason"][2]) == (IN_KEPT, OUT_FULL)


def test_a_symbol_with_inventory_cannot_leave_even_when_it_is_halted():
    rows = symbols(9, 8, 7)
    params = universe_params(cap=2, enter_rank=2, leave_rank=2, stay_ns=0)
    choose(rows, params, 0)
    rows["status"][1] = STATUS_MAINTENANCE
    rows["pinned"][1] = 1
    choose(rows, params, HOUR)
    assert inside(rows) == [0, 1]
    assert rows["reason"][1] == IN_PINNED
    rows["pinned"][1] = 0
    choose(rows, params, 2 * HOUR)
    assert inside(rows) == [0, 2]
    assert rows["reason"][1] == OUT_STATUS


def test_the_minimum_stay():
    rows = symbols(9, 8, 1)
    params = universe_params(cap=2, enter_rank=2, leave_rank=2, stay_ns=2 * HOUR)
    choose(rows, params, 0)
    rows["turnover"] = np.array([9, 1, 8]) * USD
    choose(rows, params, HOUR)
    assert inside(rows) == [0, 1]
    assert rows["reason"][1] == IN_STAY
    choose(rows, params, 2 * HOUR)
    assert inside(rows) == [0, 2]


def test_a_wide_spread_costs_rank():
    """At 10 bps a turnover counts half: 10 at 10 bps is behind 6 at none."""
    rows = symbols(10, 6)
    rows["spread_e2"] = 1000, 0
    choose(rows, universe_params(cap=1, enter_rank=1, leave_rank=1), 0)
    assert inside(rows) == [1]
    assert rows["score"].tolist() == [5 * USD, 6 * USD]


def test_ranks_that_would_flap_are_refused():
    with pytest.raises(ValueError, match="leave_rank 3 lies below enter_rank 5"):
        universe_params(enter_rank=5, leave_rank=3)
    with pytest.raises(ValueError, match=r"universe\.cap is 0"):
        universe_params(cap=0)
