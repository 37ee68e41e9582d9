"""A core that is held is the same core, and its rows are joined as numpy joins them."""

import numpy as np
import pytest

from engine.events import EVENT, joined
from engine.flow.follow import FOLLOWED
from engine.flow.held import follow_held, hold
from tests.support.short_market import short_market
from tests.support.worlds import make_world


def test_what_a_held_core_learns_stands_in_the_arrays_of_the_core() -> None:
    instruments, events = short_market(20, symbols=1)
    core = make_world(instruments).core

    reached, status = follow_held(hold(core), events[:200], 0)

    assert (reached, status) == (200, FOLLOWED)
    assert core.glob[0]["now"] == events["ts"][199]
    assert core.symbols[0]["bid"] > 0


@pytest.mark.parametrize("sizes", [(), (0,), (3,), (1, 0, 2, 40)])
def test_joined_parts_are_the_rows_in_their_order(sizes) -> None:
    rows = np.random.default_rng(1).integers(0, 255, (sum(sizes), EVENT.itemsize), np.uint8)
    rows = rows.view(EVENT).reshape(-1)
    parts = np.split(rows, np.cumsum(sizes)[:-1]) if sizes else []

    whole = joined(parts)

    assert whole.dtype == EVENT
    assert whole.tobytes() == rows.tobytes()
    assert not np.shares_memory(whole, rows)


def test_parts_that_do_not_lie_together_are_joined_too() -> None:
    rows = np.zeros(6, EVENT)
    rows["seq"] = range(6)

    assert joined([rows[::2], rows[1:2]])["seq"].tolist() == [0, 2, 4, 1]
