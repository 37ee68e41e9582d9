"""One line per pair: numbers told by hand, thresholds with reasons, and the same in SQL."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.config import canonical_json, make_profile
from engine.core import records
from engine.core.records import TABLES, table_dtype
from engine.core.regime import REGIME_CHAOS, REGIME_RANGE
from engine.core.risk import RISK_EXPOSURE
from engine.core.routes import FAMILY_MEAN_REVERSION, FAMILY_MOMENTUM
from engine.errors import ConfigError
from engine.reports.frames import Run
from engine.reports.nearest import nearest_miss
from engine.reports.pairs import COLUMNS, choose, ordered, read_threshold
from tests.support.small_run import BTC, INSTRUMENTS, START, S, write_run

FAMILIES = {FAMILY_MOMENTUM: "momentum", FAMILY_MEAN_REVERSION: "mean_reversion"}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return Run.open(write_run(tmp_path_factory.mktemp("runs")))


def line(frame: pl.DataFrame, symbol: str) -> dict:
    return frame.filter(pl.col("symbol") == symbol).row(0, named=True)


def test_a_pair_that_traded_told_by_hand(run):
    btc = line(run.pairs, "BTC/USD")

    assert btc["evaluations"] == 4
    assert btc["hours"] == pytest.approx(4 / 3600)
    assert (btc["coverage"], btc["partial"], btc["ready"]) == (1.0, False, 1.0)
    assert (btc["candidates"], btc["active"], btc["entries"], btc["fills"]) == (16, 3, 1, 3)
    assert btc["volume"] == pytest.approx(200 + 300 + 497.40)
    assert btc["fees"] == pytest.approx(0.50 + 0.75 + 1.9896)
    assert btc["net"] == pytest.approx(-5.8396)
    assert btc["spread_mean_bps"] == btc["spread_median_bps"] == pytest.approx(0.02)
    assert btc["edge_median_bps"] == pytest.approx((-11.6 - 9.125) / 2)
    assert btc["edge_best_bps"] == -9.125
    # 14 candidates saw nothing, which nobody can change; one lost to a better one.
    assert (btc["blocker"], btc["blocker_share"]) == ("LOST_TO_BETTER", pytest.approx(1 / 15))


def test_a_pair_that_never_had_enough_history(run):
    doge = line(run.pairs, "DOGE/USD")

    assert (doge["fills"], doge["volume"], doge["net"], doge["candidates"]) == (0, 0.0, 0.0, 0)
    assert (doge["blocker"], doge["blocker_share"]) == ("NOT_ENOUGH_HISTORY", 1.0)
    assert doge["nearest"] == "longer data: last met 3 s after the pair's first row"
    assert doge["edge_median_bps"] is None


def test_every_column_is_documented_and_there(run):
    assert run.pairs.columns == list(COLUMNS)


def test_the_view_in_sql_has_the_numbers_of_the_frame(run):
    frame, view = run.pairs, run.sql("SELECT * FROM pair_summary")

    assert set(view.columns) <= set(frame.columns)
    assert len(view.columns) > 20
    for name in view.columns:
        for ours, theirs in zip(frame[name].to_list(), view[name].to_list(), strict=True):
            same = pytest.approx(theirs, rel=1e-9) if isinstance(theirs, float) else theirs
            assert ours == same, name


def test_readiness_by_family_told_by_hand(run):
    rows = {row["family"]: row for row in run.readiness.to_dicts()}

    assert set(rows) == {"mean_reversion", "momentum"}
    momentum = rows["momentum"]
    # One was recorded for itself, one stands for sixteen that saw nothing.
    assert (momentum["candidates"], momentum["active"], momentum["entries"]) == (17, 1, 0)
    assert (momentum["blocker"], momentum["edge_best_bps"]) == ("LOST_TO_BETTER", -9.125)
    assert momentum["blocker_share"] == pytest.approx(1 / 17)
    assert (rows["mean_reversion"]["entries"], rows["mean_reversion"]["blocker"]) == (1, None)


def test_a_run_without_candidates_has_a_table_without_rows(tmp_path):
    folder = write_run(tmp_path)
    path = folder / "candidates.parquet"
    pl.read_parquet(path).head(0).write_parquet(path)
    run = Run.open(folder)

    assert run.readiness.is_empty()
    assert "family" in run.readiness.columns
    assert run.pairs["edge_best_bps"].null_count() == 2


def test_numbers_of_an_evaluation_told_by_hand(run):
    third = run.sql("SELECT * FROM evaluation_numbers WHERE generation = 3").row(0, named=True)

    # Two were priced, each for itself: half of two is reached at the lower one.
    assert third["edge_median_bps"] == -11.6
    assert third["edge_best_bps"] == -9.125
    assert third["edge_velocity_bps_min"] is None  # the one before had none
    assert (third["recorded"], third["stands_for"]) == (2, 2)


def test_edge_velocity_is_the_change_of_the_best_edge_per_minute(run, tmp_path):
    folder = write_run(tmp_path)
    path = folder / "evaluations.parquet"
    best = pl.Series("best_net_bps", [1.0, 1.5, -0.5, float("nan")])
    pl.read_parquet(path).with_columns(best).write_parquet(path)
    found = Run.open(folder).sql("SELECT * FROM evaluation_numbers")

    # One second apart: half a basis point in a second is thirty in a minute.
    assert found["edge_velocity_bps_min"].to_list() == [None, 30.0, -120.0, None]


def test_volatility_is_that_of_the_last_mids_of_neighbouring_minutes(tmp_path):
    folder = write_run(tmp_path)
    path = folder / "decisions.parquet"
    first = pl.read_parquet(path).filter(pl.col("sym") == BTC).head(1)
    # Two rows in the first minute, one in the second, none in the third, one each in fourth and fifth.
    minutes = [(0.0, 100), (30.0, 1000), (60.0, 1010), (180.0, 5000), (240.0, 5050)]
    rows = [
        first.with_columns(
            ts=pl.lit(START + int(at * S)), generation=pl.lit(int(at) + 1), bid=pl.lit(mid - 1),
            ask=pl.lit(mid + 1), mid_half_ticks=pl.lit(2 * mid),
        )
        for at, mid in minutes
    ]  # fmt: skip
    pl.concat(rows, how="vertical_relaxed").write_parquet(path)
    by_hand = np.sqrt(60 * (np.log(1010 / 1000) ** 2 + np.log(5050 / 5000) ** 2) / 2) * 1e4
    run = Run.open(folder)

    assert line(run.pairs, "BTC/USD")["vol_hour_bps"] == pytest.approx(by_hand)
    view = run.sql("SELECT vol_hour_bps FROM pair_summary WHERE symbol = 'BTC/USD'")
    assert view["vol_hour_bps"][0] == pytest.approx(by_hand)


# --- thresholds and rank -------------------------------------------------------------------------


def pairs(**columns) -> pl.DataFrame:
    n = len(next(iter(columns.values())))
    symbols = [f"{letter}/USD" for letter in "ABCDEFG"[:n]]
    return ordered(pl.DataFrame({"symbol": symbols, "partial": [False] * n, **columns}))


def test_what_fails_a_threshold_says_which_and_with_what_value():
    frame = pairs(trades=[10.0, 500.0, 90.0, None], spread_median_bps=[5.0, 3.0, 40.0, 1.0])
    wanted = [read_threshold("trades >= 90"), read_threshold("spread_median_bps<20")]
    found = choose(frame, wanted, "-trades")

    assert found["symbol"].to_list() == ["B/USD", "C/USD", "A/USD", "D/USD"]
    assert found["rank"].to_list() == [1, None, None, None]
    assert found["excluded"].to_list() == [
        None,
        "spread_median_bps 40.0 is not < 20",
        "trades 10.0 is not >= 90",
        "trades unknown is not >= 90",
    ]


def test_all_reasons_of_one_pair_are_named():
    frame = pairs(trades=[1.0], net=[-5.0])
    (why,) = choose(frame, [read_threshold("trades>2"), read_threshold("net>0")], "net")["excluded"]

    assert why == "trades 1.0 is not > 2; net -5.0 is not > 0"


def test_rank_follows_the_column_and_ties_the_name():
    frame = pairs(turnover=[5.0, 9.0, None, 5.0])

    assert choose(frame, (), "-turnover")["symbol"].to_list() == [
        *("B/USD", "A/USD", "D/USD", "C/USD")
    ]
    assert choose(frame, (), "turnover")["rank"].to_list() == [1, 2, 3, 4]


def test_words_and_truths_can_be_asked_for():
    frame = pairs(trades=[1.0, 2.0]).with_columns(
        partial=pl.Series([True, False]), blocker=pl.Series(["THIN_TOUCH", "DATA_STALE"])
    )

    kept = choose(frame, [read_threshold("partial=no")], "trades").filter(pl.col("rank") == 1)
    assert kept["symbol"].to_list() == ["B/USD"]
    kept = choose(frame, [read_threshold("blocker!=DATA_STALE")], "trades")
    assert kept["symbol"].to_list() == ["A/USD", "B/USD"]
    assert kept["excluded"].to_list() == [None, "blocker DATA_STALE is not != DATA_STALE"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trades", "no condition"),
        ("spred_median_bps<3", "no column"),
        ("trades<many", "not a number"),
    ],
)
def test_a_condition_that_says_nothing_is_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        read_threshold(text)


# --- what would have to change -------------------------------------------------------------------

CONFIG = json.loads(
    canonical_json(
        make_profile(
            {
                "readiness": {"net_min_bps": 2.0, "exit_drag_below_move": True},
                "families": {"momentum": {"net_min_bps": 3.0}},
            }
        )
    )
)


def made(**tables):
    """Tables as LazyFrames; columns that are not given are 0, or null where they are estimates."""

    def of(name: str) -> pl.LazyFrame:
        rows = np.zeros(len(tables.get(name, ())), table_dtype(name))
        for column in TABLES[name]:
            if column.type == "f8":
                rows[column.name] = np.nan
        for i, row in enumerate(tables.get(name, ())):
            for key, value in row.items():
                rows[i][key] = value
        frame = pl.DataFrame({each: rows[each].copy() for each in rows.dtype.names})
        return frame.lazy().with_columns(pl.col(pl.Float64).fill_nan(None))

    return of


def near(tables, code, family=None):
    return nearest_miss(tables, BTC, code, CONFIG, FAMILIES, INSTRUMENTS["BTC/USD"], family)


def test_the_nearest_edge_counts_what_its_family_needs_more():
    code = records.COSTS_EXCEED_MOVE
    tables = made(
        candidates=[
            {"sym": BTC, "blocker": code, "family": FAMILY_MOMENTUM, "net_bps": -1.0, "horizon_s": 60},
            {"sym": BTC, "blocker": code, "family": FAMILY_MEAN_REVERSION, "net_bps": -2.5, "horizon_s": 300},
            {"sym": BTC, "blocker": records.OK, "family": FAMILY_MEAN_REVERSION, "net_bps": 9.0},
            {"sym": 1, "blocker": code, "family": FAMILY_MEAN_REVERSION, "net_bps": 1.9},
        ]
    )  # fmt: skip

    # -1 needs 2 + 3, six away; -2.5 needs 2, four and a half away.
    assert near(tables, code) == (
        "net edge -2.5 bps, needs more than 2 (mean_reversion over 300 s)", -2.5, 2.0
    )  # fmt: skip
    assert near(tables, code, FAMILY_MOMENTUM)[1:] == (-1.0, 5.0)


def test_the_nearest_exit_is_held_to_the_stricter_of_both_limits():
    code = records.EXIT_INFEASIBLE
    row = {"sym": BTC, "blocker": code, "family": FAMILY_MOMENTUM, "horizon_s": 10}
    tables = made(
        candidates=[
            {**row, "exit_drag_bps": 30.0, "move_bps": 12.0},
            {**row, "exit_drag_bps": 50.0, "move_bps": 45.0},
        ]
    )

    assert near(tables, code)[1:] == (50.0, min(45.0, CONFIG["readiness"]["exit_drag_max_bps"]))


def test_a_wait_must_fall_and_a_chance_must_rise():
    row = {"sym": BTC, "family": FAMILY_MOMENTUM, "horizon_s": 10}
    tables = made(
        candidates=[
            {**row, "blocker": records.QUEUE_TOO_LONG, "fill_time_s": 900.0},
            {**row, "blocker": records.QUEUE_TOO_LONG, "fill_time_s": 450.0},
            {**row, "blocker": records.FILL_UNLIKELY, "fill_prob": 0.02},
            {**row, "blocker": records.FILL_UNLIKELY, "fill_prob": 0.07},
        ]
    )

    assert near(tables, records.QUEUE_TOO_LONG)[1:] == (450.0, 300.0)
    assert near(tables, records.FILL_UNLIKELY)[1:] == (0.07, 0.1)
    assert "may be at most 300" in near(tables, records.QUEUE_TOO_LONG).text


def test_the_nearest_spread_and_the_nearest_age():
    tables = made(
        decisions=[
            {"sym": BTC, "blocker": records.SPREAD_TOO_WIDE, "spread_bps": 80.0},
            {"sym": BTC, "blocker": records.SPREAD_TOO_WIDE, "spread_bps": 31.5},
            {"sym": BTC, "generation": 7, "trade_age_ns": 45 * S},
            {"sym": BTC, "generation": 8, "trade_age_ns": 31 * S},
        ],
        blockers=[{"sym": BTC, "code": records.ROUTE_STALE, "n": 3, "generation": 7}],
    )

    assert near(tables, records.SPREAD_TOO_WIDE)[1:] == (31.5, 30.0)
    assert near(tables, records.ROUTE_STALE)[1:] == (45.0, 30.0)


def test_a_refusal_by_risk_names_its_check():
    row = {"sym": BTC, "blocker": records.EXPOSURE_CAP, "check": RISK_EXPOSURE, "check_limit": 0.5}
    tables = made(decisions=[{**row, "check_value": 0.9}, {**row, "check_value": 0.52}])

    assert near(tables, records.EXPOSURE_CAP) == ("exposure 0.52, limit 0.5", 0.52, 0.5)


def test_a_touch_is_told_in_base_units():
    tables = made(
        candidates=[
            {"sym": BTC, "blocker": records.THIN_TOUCH, "qty": 5_000_000},
            {"sym": BTC, "blocker": records.THIN_TOUCH, "qty": 2_000_000},
        ]
    )

    found = near(tables, records.THIN_TOUCH)
    assert found.limit == pytest.approx(0.02 * CONFIG["readiness"]["touch_multiple"])
    assert "BTC" in found.text


def test_a_regime_says_how_often_each_was():
    row = {"sym": BTC}
    tables = made(
        decisions=[{**row, "regime": REGIME_CHAOS}] * 3 + [{**row, "regime": REGIME_RANGE}]
    )

    assert near(tables, records.CHAOS_BLOCKED).text == (
        "another regime: CHAOS 75 %, RANGE 25 % of the time"
    )


@pytest.mark.parametrize("code", sorted(records.REASONS))
def test_every_reason_says_something_also_without_a_row(code):
    assert near(made(), code).text


def test_the_page_of_columns_is_complete(run):
    page = (Path(__file__).resolve().parents[4] / "docs" / "howto-reports.md").read_text()

    for name in COLUMNS:
        assert f"`{name}`" in page, name
