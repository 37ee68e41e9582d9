"""Two models of the edge compared: against tables written by hand and a run of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.core.records import table_dtype
from engine.reports.edge import BLOCK_NS, block_mean, clustered_mean, edge_report
from engine.reports.frames import Run
from tests.support.small_run import JOIN, TAKE, write_run

NAN = float("nan")


def write(folder: Path, table: str, rows: list[dict]) -> None:
    array = np.zeros(len(rows), table_dtype(table))
    for i, row in enumerate(rows):
        for name, value in row.items():
            array[i][name] = value
    columns = {each: np.ascontiguousarray(array[each]) for each in array.dtype.names or ()}
    pq.write_table(pa.table(columns), folder / f"{table}.parquet")


def judged(generation: int, route: int, one: int, two: int, score: tuple[float, float]) -> dict:
    return {
        "ts": generation * BLOCK_NS, "generation": generation, "route": route, "v1_winner": one,
        "v2_winner": two, "v1_score": score[0], "v2_score": score[1], "q10_bps": -10.0,
        "q50_bps": 0.0, "q90_bps": 10.0, "admissible": two,
    }  # fmt: skip


def outcome(generation: int, route: int, trade: float, filled: int = 1) -> dict:
    return {"generation": generation, "route": route, "side": 1, "filled": filled,
            "trade_bps": trade, "horizon_s": 60, "closed_ts": 211_000_000_000}  # fmt: skip


def test_the_winners_are_compared_in_pairs_where_they_differ(tmp_path):
    folder = write_run(tmp_path)
    write(folder, "adaptive", [
        judged(1, JOIN, 1, 0, (4.0, 1.0)), judged(1, TAKE, 0, 1, (3.0, 2.0)),
        judged(2, JOIN, 1, 0, (4.0, 1.5)), judged(2, TAKE, 0, 1, (3.0, 2.5)),
        judged(3, JOIN, 1, 1, (5.0, 3.0)), judged(4, JOIN, 1, 0, (6.0, -1.0)),
    ])  # fmt: skip
    write(folder, "outcomes", [
        outcome(1, JOIN, -20.0), outcome(1, TAKE, 5.0),
        outcome(2, JOIN, -5.0), outcome(2, TAKE, 12.0),
        outcome(3, JOIN, 3.0), outcome(4, JOIN, -30.0, filled=0),
    ])  # fmt: skip

    report = edge_report(Run.open(folder))

    assert (6, 4) == (report.judged, report.evaluations)
    assert (0.25, 0.25) == (report.agreed, report.refused)
    assert (2, -12.5, 8.5) == (report.first.n, report.first.mean, report.second.mean)
    # Differences 25 and 17: mean 21, sd 5.657, t with one degree of freedom 12.706
    assert 21.0 == report.difference.mean
    assert pytest.approx(21.0 - 12.706 * 4.0, abs=0.01) == report.difference.low
    # Scores rank 3.5 1.5 3.5 1.5 5 6 against 2 4 3 5 6 1
    assert report.rank_correlation == pytest.approx(
        float(np.corrcoef([3.5, 1.5, 3.5, 1.5, 5, 6], [2, 4, 3, 5, 6, 1])[0, 1])
    )
    # Of five outcomes one lies below -10, two below 0, four below 10.
    assert [0.2, 0.4, 0.8] == [each["below"] for each in report.quantiles]
    assert {5} == {each["n"] for each in report.quantiles}
    # -10.2 would be at -10: of whole ticks, and 12 is far from 10
    assert [0.2, 0.4, 0.8] == [each["up_to"] for each in report.quantiles]
    assert 6 == sum(each["n"] for each in report.routes)


def test_an_outcome_at_a_quantile_is_not_below_it_and_one_cut_short_does_not_count(tmp_path):
    folder = write_run(tmp_path)
    write(folder, "adaptive", [judged(k, JOIN, 1, 1, (4.0, 1.0)) for k in range(1, 5)])
    # the target is the ninth decile; the fourth was closed before its 30 s and 3 x 60 s were over
    cut = outcome(4, JOIN, -99.0) | {"closed_ts": 209_000_000_000}
    write(folder, "outcomes", [outcome(1, JOIN, 10.2), outcome(2, JOIN, 10.0),
                               outcome(3, JOIN, -20.0), cut])  # fmt: skip

    last = edge_report(Run.open(folder)).quantiles[2]

    assert (3, 1 / 3, 1.0) == (last["n"], last["below"], last["up_to"])


def test_a_run_without_the_second_model_has_nothing_to_say(tmp_path):
    folder = write_run(tmp_path)
    write(folder, "adaptive", [])
    report = edge_report(Run.open(folder))
    assert (0, 0, None, None) == (
        report.judged,
        report.evaluations,
        report.agreed,
        report.first.mean,
    )


def test_neighbours_in_time_count_as_one_block():
    together = block_mean([1.0, 2.0, 3.0, 10.0], [1, 2, 3, BLOCK_NS])
    assert (4, 2, 6.0) == (together.n, together.blocks, together.mean)
    assert block_mean([1.0, 2.0], [1, 2]).low is None


def test_a_clustered_mean_counts_every_value_and_takes_a_quarter_hour_as_one_draw():
    """Mean 4; the first block is off by -3 - 2 - 1 = -6, the second by 6: 12.706 x sqrt(2 x 72) / 4."""
    found = clustered_mean([1.0, 2.0, 3.0, 10.0], [1, 2, 3, BLOCK_NS])

    assert (found.n, found.blocks, found.mean) == (4, 2, 4.0)
    assert found.high - found.mean == pytest.approx(12.706 * 12 / 4)
    assert found.mean - found.low == pytest.approx(12.706 * 12 / 4)


def test_a_clustered_mean_of_lone_values_has_the_usual_standard_error():
    """1, 2, 6: mean 3, variance 7, standard error sqrt(7 / 3), t 4.303 with two degrees of freedom."""
    found = clustered_mean([1.0, 2.0, 6.0], [0, BLOCK_NS, 2 * BLOCK_NS])

    assert found.high == pytest.approx(3 + 4.303 * (7 / 3) ** 0.5)
