"""The verdict on what is captured, and when it becomes a new epoch."""

import pytest

from adapters.kraken.epochs import Criteria, Epochs, Facts, Turn, judge
from engine.events import EPOCH_CLOSED, EPOCH_DEGRADED, EPOCH_INVALID, EPOCH_VALID

SECOND = 1_000_000_000
GOOD, FAIR, BAD = Facts(100, 100), Facts(100, 90), Facts(100, 50)


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        (Facts(100, 95), EPOCH_VALID),
        (Facts(100, 94), EPOCH_DEGRADED),
        (Facts(100, 80), EPOCH_DEGRADED),
        (Facts(100, 79), EPOCH_INVALID),
        (Facts(0, 0), EPOCH_INVALID),
        (Facts(100, 100, gap_ns=10 * SECOND), EPOCH_VALID),
        (Facts(100, 100, gap_ns=10 * SECOND + 1), EPOCH_DEGRADED),
        (Facts(100, 100, lag_ns=5 * SECOND + 1), EPOCH_DEGRADED),
        (Facts(3, 2), EPOCH_INVALID),
    ],
)
def test_the_bounds_of_the_verdicts(facts, status) -> None:
    assert judge(facts, Criteria())[0] == status


def test_inside_an_epoch_the_verdict_may_only_fall() -> None:
    epochs = Epochs()

    assert [(t.number, t.status) for t in epochs.judge(GOOD)] == [(1, EPOCH_VALID)]
    assert epochs.judge(GOOD) == []
    assert [(t.number, t.status) for t in epochs.judge(FAIR)] == [(1, EPOCH_DEGRADED)]
    assert [(t.number, t.status) for t in epochs.judge(BAD)] == [(1, EPOCH_INVALID)]
    better = [(t.number, t.status) for t in epochs.judge(GOOD)]
    assert better == [(1, EPOCH_CLOSED), (2, EPOCH_VALID)]


def test_another_universe_is_another_epoch() -> None:
    epochs = Epochs(number=7)
    epochs.judge(GOOD)

    assert epochs.swap("three pairs came") == [Turn(8, EPOCH_CLOSED, "three pairs came")]
    assert epochs.swap("again") == []
    assert [t.number for t in epochs.judge(GOOD)] == [9]


def test_the_next_part_begins_with_the_epoch_that_goes_on() -> None:
    epochs = Epochs()
    assert epochs.again() == []
    (turn,) = epochs.judge(FAIR)

    assert epochs.again() == [turn]
