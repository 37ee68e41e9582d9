"""What reasons cost or saved, and outcomes in words: against a run written by hand."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.core.records import COSTS_EXCEED_MOVE, FILL_UNLIKELY, table_dtype
from engine.core.shadow import TOUCH_STOP, TOUCH_TARGET
from engine.events import BUY, SELL
from engine.reports.frames import Run
from engine.reports.outcomes import later_lines, outcomes_of, reason_worth
from tests.support.small_run import BTC, DOGE, TAKE, write_run

NAN = float("nan")


def replace_outcomes(folder: Path, rows: list[tuple[int, int, int, int, float, float]]) -> None:
    """(sym, side, blocker, weight, worth, trade) as the run's outcomes."""
    array = np.zeros(len(rows), table_dtype("outcomes"))
    for i, row in enumerate(rows):
        for name, value in zip(
            ("sym", "side", "blocker", "weight", "worth_bps", "trade_bps"), row, strict=True
        ):
            array[i][name] = value
    columns = {each: np.ascontiguousarray(array[each]) for each in array.dtype.names or ()}
    pq.write_table(pa.table(columns), folder / "outcomes.parquet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path)


def test_reasons_are_ranked_by_what_they_cost_or_saved_each_row_by_its_weight(folder):
    replace_outcomes(
        folder,
        [
            (BTC, BUY, COSTS_EXCEED_MOVE, 1, 4.0, 2.0),
            (BTC, BUY, COSTS_EXCEED_MOVE, 16, -2.0, NAN),
            (DOGE, BUY, COSTS_EXCEED_MOVE, 1, NAN, 9.0),
            (BTC, BUY, FILL_UNLIKELY, 2, 30.0, 10.0),
            (BTC, SELL, FILL_UNLIKELY, 1, 500.0, 500.0),
        ],
    )
    unlikely, costs = reason_worth(Run.open(folder))
    assert unlikely.reason == "FILL_UNLIKELY"
    assert (unlikely.followed, unlikely.stands_for, unlikely.shorts) == (1, 2, 1)
    assert (unlikely.total_bps, unlikely.worth_bps, unlikely.trade_bps) == (60.0, 30.0, 10.0)
    assert (costs.followed, costs.stands_for, costs.total_bps) == (2, 17, 4.0 - 32.0)
    assert costs.worth_bps == pytest.approx(-28.0 / 17)
    assert costs.trade_bps == 2.0


def test_one_symbol_alone(folder):
    replace_outcomes(
        folder,
        [(BTC, BUY, FILL_UNLIKELY, 1, 1.0, 1.0), (DOGE, BUY, COSTS_EXCEED_MOVE, 1, -1.0, 1.0)],
    )
    assert [each.reason for each in reason_worth(Run.open(folder), "DOGE/USD")] == [
        "COSTS_EXCEED_MOVE"
    ]


def test_a_run_that_followed_nothing_ranks_nothing(folder):
    replace_outcomes(folder, [])
    assert reason_worth(Run.open(folder)) == []


def test_outcomes_of_one_evaluation_in_words(folder):
    run = Run.open(folder)
    found = outcomes_of(run, BTC, 3)
    assert len(found) == 3
    assert later_lines(found[TAKE]) == [
        "later: mid -20.0 after 10 s, -45.0 after 30 s, -60.0 after 1 m bps",
        "as a trade: in at once, out by target 3 s later, +19.45 bps after costs",
    ]
    assert outcomes_of(run, BTC, 2) == {}
    touches = {row["touch"] for row in found.values()}
    assert {TOUCH_STOP, TOUCH_TARGET} < touches
