"""Points of a pair's market told by hand, monotone, and a class with the number that decided it."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.reports.suitability import PIECES, with_suitability

GOOD = {
    "hours": 2.0, "trades": 6_000.0, "spread_median_bps": 1.0, "depth_10": 1_000_000.0,
    "vol_hour_bps": 100.0, "tick_bps": 0.1,
}  # fmt: skip
PARTS = tuple(PIECES)


def judged(**values) -> dict:
    return with_suitability(pl.DataFrame([{**GOOD, **values}])).row(0, named=True)


def test_the_best_of_everything_is_a_hundred():
    row = judged()

    assert row["suitability"] == pytest.approx(100.0)
    assert [row[name] for name in PARTS] == pytest.approx([30.0, 25.0, 20.0, 25.0])


def test_half_way_in_the_logarithm_is_half_of_the_points():
    # Depth from 1e3 to 1e6: half way is the square root of their product.
    assert judged(depth_10=10**4.5)["suit_depth"] == pytest.approx(12.5)
    # Spread from 50 down to 1.
    assert judged(spread_median_bps=50**0.5, vol_hour_bps=100.0 * 50**0.5)[
        "suit_spread"
    ] == pytest.approx(15.0)


def test_worse_than_the_worst_gives_nothing_and_takes_nothing():
    row = judged(spread_median_bps=500.0, depth_10=0.0, trades=0.0, vol_hour_bps=6.0)

    assert row["suitability"] == 0.0


@pytest.mark.parametrize("missing", ["spread_median_bps", "depth_10", "trades", "vol_hour_bps"])
def test_a_measure_that_is_missing_makes_no_sum(missing):
    row = judged(**{missing: None})

    assert row["suitability"] is None
    assert row["class"] is None


measure = st.floats(1e-3, 1e7)


@given(low=measure, more=st.floats(1.0, 1e3), column=st.sampled_from(["depth_10", "trades"]))
def test_more_depth_and_more_trades_never_cost_points(low, more, column):
    assert judged(**{column: low * more})["suitability"] >= judged(**{column: low})["suitability"]


@given(spread=st.floats(0.01, 1e3), wider=st.floats(1.0, 100.0))
def test_a_wider_spread_never_earns_points(spread, wider):
    tight, wide = judged(spread_median_bps=spread), judged(spread_median_bps=spread * wider)

    assert wide["suitability"] <= tight["suitability"] + 1e-9


@pytest.mark.parametrize(
    ("values", "kind", "because"),
    [
        ({}, "major", "depth within 10 bps 1000000.0"),
        ({"depth_10": 60_000.0}, "liquid", "spread 1.0 bps"),
        ({"spread_median_bps": 30.0}, "thin", "spread 30.0 bps"),
        ({"depth_10": 900.0}, "thin", "depth within 10 bps 900.0"),
        ({"trades": 10.0}, "thin", "trades per hour 5.0"),
        ({"tick_bps": 8.0}, "wide tick", "a tick is 8.0 bps"),
        ({"vol_hour_bps": 2.0, "tick_bps": 8.0}, "stable", "moves 2.0 bps in an hour"),
    ],
)
def test_the_class_says_what_stands_out(values, kind, because):
    row = judged(**values)

    assert (row["class"], row["class_reason"]) == (kind, because)


def test_other_columns_stay_as_they_are():
    frame = pl.DataFrame([{"symbol": "BTC/USD", **GOOD}])
    made = with_suitability(frame)

    assert made.select(frame.columns).equals(frame)
    assert not [name for name in made.columns if name.startswith("_")]
