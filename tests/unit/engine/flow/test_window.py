"""The depth window on cases that can be read: refill, push out, growth, room."""

import numpy as np
import pytest

from engine.errors import InvariantError
from engine.events import BOOK_LEVEL, BUY, DERIVED, LAST, MESSAGE_END, SELL, SNAPSHOT, empty
from engine.flow.window import FULL, NO_ROOM, DepthWindow, make_window, window_events


def message(levels, flags=0, ts=0):
    """EVENT rows of (side, price, qty) levels, closed by LAST."""
    rows = empty(len(levels))
    rows["ts"], rows["sym"], rows["kind"], rows["flags"] = ts, 0, BOOK_LEVEL, flags
    rows["flags"][-1] |= LAST
    for row, (side, price, qty) in zip(rows, levels, strict=True):
        row["side"], row["price"], row["qty"] = side, price, qty
    return rows


def heard(rows):
    return [(int(r["side"]), int(r["price"]), int(r["qty"])) for r in rows]


@pytest.fixture
def window():
    """Depth 2 over three bids and one ask."""
    window = DepthWindow(1, [0], 2)
    snapshot = [(BUY, 100, 1), (BUY, 99, 2), (BUY, 98, 3), (SELL, 105, 4)]
    rows = window.apply(message(snapshot, SNAPSHOT))
    assert heard(rows) == [(BUY, 100, 1), (BUY, 99, 2), (SELL, 105, 4)]
    assert [int(r["flags"]) for r in rows] == [
        SNAPSHOT | DERIVED,
        SNAPSHOT | DERIVED,
        SNAPSHOT | DERIVED | LAST,
    ]
    return window


def test_a_removed_level_is_refilled_from_the_far_edge(window):
    assert heard(window.apply(message([(BUY, 100, 0)]))) == [(BUY, 100, 0), (BUY, 98, 3)]


def test_a_level_that_is_pushed_out_is_not_removed(window):
    assert heard(window.apply(message([(BUY, 101, 7)]))) == [(BUY, 101, 7)]


def test_a_pushed_out_level_comes_back_as_a_refill(window):
    window.apply(message([(BUY, 101, 7)]))

    assert heard(window.apply(message([(BUY, 101, 0)]))) == [(BUY, 101, 0), (BUY, 99, 2)]


def test_changes_below_the_window_are_not_heard(window):
    assert len(window.apply(message([(BUY, 98, 9), (BUY, 50, 1)]))) == 0


def test_a_change_that_was_hidden_is_heard_when_it_rises(window):
    window.apply(message([(BUY, 98, 9)]))

    assert heard(window.apply(message([(BUY, 99, 0)]))) == [(BUY, 99, 0), (BUY, 98, 9)]


def test_only_the_net_change_of_a_message_is_heard(window):
    assert len(window.apply(message([(SELL, 104, 1), (SELL, 104, 0)]))) == 0
    assert heard(window.apply(message([(SELL, 105, 1), (SELL, 105, 6)]))) == [(SELL, 105, 6)]


def test_the_last_level_of_a_message_closes_it_and_carries_its_time(window):
    rows = window.apply(message([(BUY, 100, 5), (SELL, 105, 5)], ts=77))

    assert [int(r["ts"]) for r in rows] == [77, 77]
    assert [int(r["flags"]) for r in rows] == [DERIVED, DERIVED | LAST]


def test_an_empty_snapshot_stays_a_message(window):
    rows = empty(1)
    rows["sym"], rows["kind"], rows["id"] = 0, MESSAGE_END, BOOK_LEVEL
    rows["flags"] = SNAPSHOT | LAST

    out = window.apply(rows)

    assert [int(r["kind"]) for r in out] == [MESSAGE_END]
    assert heard(window.apply(message([(BUY, 10, 1)]))) == [(BUY, 10, 1)]


def test_the_book_grows_beyond_its_first_arrays():
    window = DepthWindow(1, [0], 3)
    levels = [(SELL, price, price) for price in range(1, 5001)]

    rows = window.apply(message(levels, SNAPSHOT))
    after = window.apply(message([(SELL, price, 0) for price in range(1, 4999)]))

    assert heard(rows) == [(SELL, 1, 1), (SELL, 2, 2), (SELL, 3, 3)]
    assert heard(after)[-2:] == [(SELL, 4999, 4999), (SELL, 5000, 5000)]


def test_the_kernel_stops_before_what_it_has_no_room_for():
    state = make_window(1, 2, capacity=4)
    snapshot = message([(SELL, price, 1) for price in range(1, 6)], SNAPSHOT)

    assert window_events(state, snapshot, 0, empty(8)) == (0, 0, NO_ROOM)
    assert window_events(state, snapshot, 0, empty(9)) == (4, 0, FULL)


def test_wrong_use_is_refused():
    with pytest.raises(InvariantError, match="depth of at least 1"):
        DepthWindow(1, [0], 0)
    with pytest.raises(InvariantError, match="EVENT rows"):
        DepthWindow(1, [0], 1).apply(np.zeros(1))
