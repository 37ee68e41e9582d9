"""What the core hears of a disk that is nearly full or too slow, in the epochs of its market."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.room import FREE_MIN, LATE_MAX_S, LATE_S, WAITING, WAITING_MAX, Room
from engine.errors import StorageError
from engine.events import EPOCH, EPOCH_CLOSED, EPOCH_DEGRADED, EPOCH_INVALID, EPOCH_VALID
from engine.session.loop import event

MUCH = 4 * FREE_MIN


def epoch(number: int, status: int) -> np.ndarray:
    return event(EPOCH, 5, id=number, aux=status)


def told(rows: np.ndarray) -> list[tuple[int, int]]:
    return [(int(each["id"]), int(each["aux"])) for each in rows]


def test_a_market_whose_disk_has_room_is_what_it_is() -> None:
    room = Room()
    assert not room.look(MUCH, 0, 0.0)
    for rows in (epoch(7, EPOCH_VALID), epoch(7, EPOCH_INVALID), epoch(8, EPOCH_VALID)):
        assert room.shaded(rows) is rows
    assert room.code == ""


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ((FREE_MIN - 1, 0, 0.0), "STORAGE_LOW"),
        ((MUCH, WAITING + 1, 0.0), "STORAGE_SLOW"),
        ((MUCH, 0, LATE_S + 0.1), "STORAGE_SLOW"),
    ],
)
def test_without_room_the_epoch_falls_and_a_new_one_opens_when_there_is(state, code) -> None:
    room = Room()
    room.look(MUCH, 0, 0.0)
    room.shaded(epoch(3, EPOCH_VALID))

    assert room.look(*state)
    assert room.code == code
    assert told(room.turn(9)) == [(3, EPOCH_DEGRADED)]
    assert not room.look(*state), "said once"
    # The market's own verdicts go on, but none is better than that.
    assert told(room.shaded(epoch(3, EPOCH_INVALID))) == [(3, EPOCH_INVALID)]
    assert told(room.shaded(epoch(4, EPOCH_VALID))) == [(4, EPOCH_DEGRADED)]

    assert room.look(MUCH, 0, 0.0)
    assert told(room.turn(10)) == [(4, EPOCH_CLOSED), (5, EPOCH_VALID)]
    # Inside an epoch trust only falls, so that the numbers after it are ours.
    assert told(room.shaded(epoch(4, EPOCH_DEGRADED))) == [(5, EPOCH_DEGRADED)]
    assert told(room.shaded(epoch(5, EPOCH_VALID))) == [(6, EPOCH_VALID)]


def test_room_that_comes_back_makes_no_bad_market_good() -> None:
    room = Room()
    room.shaded(epoch(3, EPOCH_VALID))
    room.look(0, 0, 0.0)
    room.turn(1)
    room.shaded(epoch(3, EPOCH_INVALID))

    assert room.look(MUCH, 0, 0.0)
    assert len(room.turn(2)) == 0
    assert told(room.shaded(epoch(4, EPOCH_VALID))) == [(4, EPOCH_VALID)]


def test_it_takes_some_to_spare_to_be_well_again() -> None:
    room = Room()
    assert room.look(FREE_MIN - 1, 0, 0.0)
    assert not room.look(FREE_MIN + 1, 0, 0.0)
    assert room.look(FREE_MIN * 2, 0, 0.0)


@pytest.mark.parametrize("state", [(MUCH, WAITING_MAX + 1, 0.0), (MUCH, 0, LATE_MAX_S + 1)])
def test_a_disk_that_takes_nothing_ends_the_session(state) -> None:
    with pytest.raises(StorageError, match="does not keep up"):
        Room().look(*state)
