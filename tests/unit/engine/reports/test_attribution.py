"""Where a round trip's result came from: a run written by hand, worked out on paper.

500 USD bought in two fills at 50,000.0, the mid half a tick of 0.1 above and then below it; sold at
49,740.0 while the mid was 49,745.05; fees of 3.2396 USD.
"""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.reports.attribution import PARTS, attribution, trips
from engine.reports.frames import Run
from tests.support.small_run import write_run


@pytest.fixture
def run(tmp_path) -> Run:
    return Run.open(write_run(tmp_path))


def test_a_trip_is_split_into_move_entry_exit_and_fees(run):
    found = attribution(run)

    assert (found.n_trips, found.n_left) == (1, 0)
    assert [each.group for each in found.rows] == ["mean_reversion"]
    assert found.total is not None
    assert found.total.parts == pytest.approx(
        {"move": -50.988, "entry": -0.002, "exit": -1.01, "fees": -64.792}
    )
    assert found.total.expected == pytest.approx(
        {"move": 55.8, "entry": 0.1, "exit": -0.4, "fees": -65.0, "aside": -2.1}
    )
    assert found.total.realized_bps == pytest.approx(-116.792)
    assert found.total.bias.mean == pytest.approx(-116.792 + 11.6)
    assert found.total.net_quote == pytest.approx(-5.8396)


def test_the_parts_of_a_trip_are_its_result_and_those_expected_its_net_edge(run):
    row = trips(run).to_dicts()[0]

    assert sum(row[f"is_{each}_bps"] for each in PARTS) == pytest.approx(row["realized_bps"])
    expected = sum(row[f"exp_{each}_bps"] for each in (*PARTS, "aside"))
    assert expected == pytest.approx(row["expected_bps"])


@pytest.mark.parametrize(
    ("by", "group"),
    [("hour", "12:00"), ("symbol", "BTC/USD"), ("exit", "stop"), ("entry_mode", "join")],
)
def test_trips_are_grouped_by_what_is_asked(run, by, group):
    assert [each.group for each in attribution(run, by).rows] == [group]


def test_a_trip_with_a_fill_whose_mid_is_unknown_is_left_out_and_counted(run):
    path = run.file("fills")
    table = pq.read_table(path)
    mids = table["mid_half_ticks"].to_numpy().copy()
    mids[1] = 0
    at = table.schema.get_field_index("mid_half_ticks")
    pq.write_table(table.set_column(at, "mid_half_ticks", pa.array(mids.astype(np.int64))), path)

    found = attribution(Run.open(run.path))

    assert (found.rows, found.total, found.n_trips, found.n_left) == ([], None, 1, 1)
