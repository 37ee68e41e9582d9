import pytest

from engine.instruments import UnknownSymbolError
from engine.reports.frames import Run
from engine.reports.funnel import blocker_counts, funnel_rows
from tests.support.small_run import write_run


@pytest.fixture
def run(tmp_path):
    return Run.open(write_run(tmp_path))


def test_the_funnel_of_the_small_run(run):
    numbers = {stage: n for stage, n, _, _ in funnel_rows(run)}

    assert {
        "evaluations": 4,
        "symbols looked at": 8,
        "symbols ready": 4,
        "candidates": 16,
        "active": 2,
        "worth it": 1,
        "chosen": 1,
        "entries sent": 1,
        "entries filled": 1,
        "round trips": 1,
        "won": 0,
    } == numbers


def test_shares_are_of_the_stage_before(run):
    shares = {stage: share for stage, _, share, _ in funnel_rows(run) if share is not None}

    assert 0.5 == shares["symbols ready"]
    assert 0.125 == shares["active"]
    assert 0.0 == shares["won"]


def test_blockers_of_one_symbol(run):
    assert [("NOT_ENOUGH_HISTORY", 16, 1.0)] == [row[:3] for row in blocker_counts(run, "doge/usd")]
    assert [("THESIS_INACTIVE", 14), ("LOST_TO_BETTER", 1)] == [
        row[:2] for row in blocker_counts(run, "BTC/USD")
    ]


def test_blockers_of_an_unknown_symbol_are_refused(run):
    with pytest.raises(UnknownSymbolError):
        blocker_counts(run, "ETH/USD")
