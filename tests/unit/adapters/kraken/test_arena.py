"""Rows that are handed out stay as they are, whatever is written afterwards."""

import numpy as np

from adapters.kraken.arena import BLOCK_ROWS, Arena
from engine.events import EVENT, LAST, TICKER, empty


def test_a_row_is_what_numpy_would_have_made_of_it():
    arena = Arena()
    arena.put(
        (1 << 62) + 1, TICKER, ts_venue=-2, sym=7, side=-1, price=3, qty=4, id=5, aux=6, flags=LAST
    )
    (row,) = arena.take()
    expected = empty(1)[0]
    expected["ts"], expected["ts_venue"], expected["kind"] = (1 << 62) + 1, -2, TICKER
    expected["price"], expected["qty"], expected["id"], expected["aux"] = 3, 4, 5, 6
    expected["sym"], expected["side"], expected["flags"] = 7, -1, LAST

    assert row == expected
    assert row.dtype == EVENT


def test_a_message_is_in_one_piece_over_the_end_of_a_block():
    arena = Arena()
    for i in range(BLOCK_ROWS - 2):
        arena.put(i, 1)
    first = arena.take()
    held = first.copy()
    for i in range(5):
        arena.put(100 + i, 2)
    second = arena.take()

    assert second["ts"].tolist() == [100, 101, 102, 103, 104]
    assert np.array_equal(first, held)


def test_what_is_taken_back_was_never_there():
    arena = Arena()
    arena.put(1, 1)
    arena.take()
    arena.put(2, 1)
    arena.drop()
    arena.put(3, 1)

    assert arena.take()["ts"].tolist() == [3]
    assert len(arena.take()) == 0


def test_room_for_more_than_a_block_can_be_asked_for():
    arena = Arena()
    arena.put(9, 1)
    arena.reserve(3 * BLOCK_ROWS)

    assert len(arena.rows) - arena.at >= 3 * BLOCK_ROWS
    assert arena.take()["ts"].tolist() == [9]
