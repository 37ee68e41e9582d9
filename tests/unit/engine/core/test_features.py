"""Features of books and tapes small enough to work out by hand, and when they are unknown."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.book import book_set
from engine.core import features as f
from engine.core import tape as t
from engine.core.columns import FEATURE_INDEX, FEATURES, N_FEATURES_PLAIN, WINDOW_SUFFIXES
from engine.core.state import SYMBOL

S = 1_000_000_000
T0 = 1_700_000_000 * S


def new_symbol(bids: dict[int, int], asks: dict[int, int], tick: float = 0.5) -> Any:
    symbol = np.zeros(1, SYMBOL)[0]
    symbol["features"] = np.nan
    symbol["instrument"]["price_float"] = tick
    symbol["instrument"]["qty_float"] = 0.01
    for i_side, levels in enumerate((bids, asks)):
        for price, qty in levels.items():
            book_set(symbol["book"], i_side, price, qty)
    symbol["bid"], symbol["ask"] = max(bids, default=0), min(asks, default=0)
    symbol["bid_qty"] = bids.get(int(symbol["bid"]), 0)
    symbol["ask_qty"] = asks.get(int(symbol["ask"]), 0)
    symbol["verified"], symbol["book_ts"] = 1, T0
    return symbol


def value(symbol: Any, name: str) -> float:
    return float(symbol["features"][FEATURE_INDEX[name]])


def compute(symbol: Any, now: int = T0) -> None:
    mid = int(symbol["bid"] + symbol["ask"]) if symbol["verified"] else 0
    t.tape_second(symbol["tape"], mid, now)
    f.compute_features(symbol, now)


def test_every_feature_has_its_formula_in_the_docs():
    docs = Path(__file__).parents[4] / "docs"
    text = "".join((docs / f"formulas-{name}.md").read_text() for name in ("features", "market"))
    suffixes = tuple(
        f"_{suffix}" for suffix in (*WINDOW_SUFFIXES, "4h", "bid", "ask", "buy", "sell")
    )
    for each in FEATURES:
        names = {each.name, *(each.name.removesuffix(suffix) for suffix in suffixes)}
        assert any(f"`{name}`" in text for name in names), each.name


def test_a_book_by_hand():
    """Bid 9,999 x 30, ask 10,001 x 10; mid 10,000 ticks of 0.5, lots of 0.01."""
    symbol = new_symbol({9_999: 30, 9_996: 100, 9_990: 5}, {10_001: 10, 10_005: 40})
    compute(symbol, T0 + 3 * S)
    expected = {
        "mid": 10_000,
        "tick_bps": 1,
        "spread_ticks": 2,
        "spread_bps": 2,
        # microprice (9,999 x 10 + 10,001 x 30) / 40 = 10,000.5
        "microprice_bps": 0.5,
        "touch_bid": 9_999 * 0.5 * 30 * 0.01,
        "touch_bid_lots": 30,
        "imbalance_touch": 0.5,
        "imbalance_5": (135 - 50) / 185,
        "depth_bid_5": (9_999 * 30 + 9_996 * 100) * 0.005,
        "depth_bid_25": (9_999 * 30 + 9_996 * 100 + 9_990 * 5) * 0.005,
        "depth_ask_5": (10_001 * 10 + 10_005 * 40) * 0.005,  # 5 bps exactly still counts
        "book_age": 3,
    }
    assert expected == {k: pytest.approx(value(symbol, k), rel=1e-12) for k in expected}


@pytest.mark.parametrize(
    ("distance", "in_near", "in_far"),
    [(500, True, True), (501, False, True), (2_500, False, True), (2_501, False, False)],
)
def test_depth_counts_levels_up_to_5_and_25_bps(distance, in_near, in_far):
    """Mid 1,000,000: one tick is a hundredth of a bps."""
    symbol = new_symbol(
        {999_999: 1, 1_000_000 - distance: 7}, {1_000_001: 1, 1_000_000 + distance: 9}
    )
    for price in range(990_000, 990_010):  # fill the five best levels
        book_set(symbol["book"], 0, price, 3)
    compute(symbol)
    unit = 0.5 * 0.01
    bid = (1_000_000 - distance) * 7 * unit
    ask = (1_000_000 + distance) * 9 * unit
    for name, side, more in (("5", "bid", bid * in_near), ("25", "bid", bid * in_far)):
        assert 999_999 * unit + more == pytest.approx(value(symbol, f"depth_{side}_{name}"))
    for name, more in (("5", ask * in_near), ("25", ask * in_far)):
        assert 1_000_001 * unit + more == pytest.approx(value(symbol, f"depth_ask_{name}"))


def test_depth_is_walked_no_further_than_its_bound():
    bids = {1_000_000 - i: 1 for i in range(1, 400)}
    symbol = new_symbol(bids, {1_000_001: 1})
    compute(symbol)
    assert f.LEVELS_MAX == symbol["observations"][FEATURE_INDEX["depth_bid_25"]]
    expected = sum(1_000_000 - i for i in range(1, f.LEVELS_MAX + 1)) * 0.005
    assert expected == pytest.approx(value(symbol, "depth_bid_25"))


@pytest.mark.parametrize(
    ("bids", "asks", "verified"),
    [
        ({}, {101: 1}, 1),
        ({100: 1}, {}, 1),
        ({}, {}, 1),
        ({101: 1}, {100: 1}, 1),
        ({100: 1}, {100: 1}, 1),
        ({100: 1}, {101: 1}, 0),
    ],
    ids=["no bids", "no asks", "empty", "crossed", "locked", "unverified"],
)
def test_without_a_valid_book_what_describes_it_is_unknown(bids, asks, verified):
    symbol = new_symbol({100: 5}, {102: 5})
    compute(symbol)
    bad = new_symbol(bids, asks)
    for name in ("book", "bid", "ask", "bid_qty", "ask_qty"):
        symbol[name] = bad[name]
    symbol["verified"] = verified
    f.compute_features(symbol, T0)
    names = [each.name for each in FEATURES]
    first, last = names.index("mid"), names.index("imbalance_5")
    unknown = [name for name in names[first : last + 1] if name != "spread_mean_bps"]
    assert all(math.isnan(value(symbol, name)) for name in unknown)
    assert not any(symbol["observations"][FEATURE_INDEX[name]] for name in unknown)


def test_a_symbol_never_heard_of_knows_nothing():
    symbol = np.zeros(1, SYMBOL)[0]
    f.compute_features(symbol, T0)
    for each in FEATURES[1 : N_FEATURES_PLAIN - 1]:
        assert math.isnan(value(symbol, each.name)), each.name


@pytest.mark.parametrize(("n", "known"), [(4, False), (5, True)])
def test_below_its_minimum_a_feature_is_unknown(n, known):
    symbol = new_symbol({100: 5}, {102: 5})
    for k in range(n):
        t.tape_trade(symbol["tape"], 101, 1, 1 if k else -1, 100, T0 + k)
    compute(symbol, T0 + S)
    assert known == (not math.isnan(value(symbol, "flow_imbalance_10s")))
    assert n == symbol["observations"][FEATURE_INDEX["flow_imbalance_10s"]]
    assert n == value(symbol, "n_trades_10s")
    if known:
        assert 0.6 == pytest.approx(value(symbol, "flow_imbalance_10s"))


def test_queue_wait_is_the_touch_over_what_trades_there():
    symbol = new_symbol({100: 50}, {102: 80})
    for k in range(6):  # 6 lots sold into the bid in 60 s, nothing bought
        t.tape_trade(symbol["tape"], 100, 1, -1, 100, T0 + k * 10 * S)
    compute(symbol, T0 + 59 * S)
    assert 6 / 60 == pytest.approx(value(symbol, "traded_bid_rate"))
    assert 500 == pytest.approx(value(symbol, "queue_wait_bid"))
    assert 0.0 == value(symbol, "traded_ask_rate")
    assert math.inf == value(symbol, "queue_wait_ask")


def sampled(mids: list[int]) -> Any:
    """A symbol whose book is far away, so that only the sampled mids speak."""
    symbol = new_symbol({99: 1}, {101: 1})
    for k, mid in enumerate(mids):
        t.tape_second(symbol["tape"], mid, T0 + k * S)
    f.compute_features(symbol, T0 + (len(mids) - 1) * S)
    return symbol


def test_volatility_of_a_mid_that_alternates():
    """Twenty half ticks each second on 200,000: 1 bps a second, sqrt(60) over a minute."""
    symbol = sampled([200_000 + 20 * (k % 2) for k in range(121)])
    assert math.sqrt(60) == pytest.approx(value(symbol, "vol_bps_1m"), rel=1e-9)
    assert 0.0 == value(symbol, "drift_t_1m")
    assert 0.0 == value(symbol, "return_bps_1m")
    assert 0.0 == value(symbol, "range_position_1m")


def test_volatility_is_scaled_to_the_window_from_what_was_seen_of_it():
    symbol = sampled([200_000 + 20 * (k % 2) for k in range(21)])
    assert math.sqrt(60) == pytest.approx(value(symbol, "vol_bps_1m"), rel=1e-9)
    assert math.sqrt(3600) == pytest.approx(value(symbol, "vol_bps_1h"), rel=1e-9)


def test_the_t_value_of_a_mean_by_hand():
    """Returns 1, 2, 3, 4: mean 2.5, variance 5/3, t = 2.5 / sqrt(5/3/4)."""
    assert 2.5 / math.sqrt(5 / 12) == pytest.approx(f.drift_t(4, 10, 30))
    assert -f.T_MAX == f.drift_t(4, -8, 16)
    assert 0.0 == f.drift_t(7, 0, 0)
    assert math.isnan(f.drift_t(1, 3, 9))


def test_a_steady_climb_is_a_drift_beyond_all_doubt():
    symbol = sampled([200_000 + 2 * k for k in range(61)])
    assert f.T_MAX == value(symbol, "drift_t_1m")
    assert 1.0 == value(symbol, "range_position_1m")
    assert 120 / 200_000 * 1e4 == pytest.approx(value(symbol, "return_bps_1m"))


def test_a_jump_is_measured_against_the_calm_before_it():
    """Four half ticks a second, then forty at once: ten sd."""
    mids = [200_000 + 4 * (k % 2) for k in range(60)]
    symbol = sampled([*mids, mids[-1] + 40])
    assert 10.0 == pytest.approx(value(symbol, "jump_z"), rel=1e-9)
    assert 50 == symbol["observations"][FEATURE_INDEX["jump_z"]]


def test_a_move_over_a_hole_of_four_seconds_counts_half():
    mids = [200_000 + 4 * (k % 2) for k in range(60)]
    symbol = sampled([*mids, 0, 0, 0, mids[-1] + 80])
    assert 10.0 == pytest.approx(value(symbol, "jump_z"), rel=1e-9)


def test_a_step_out_of_standstill_is_a_jump_only_if_it_is_larger_than_bounce():
    symbol = sampled([200_000] * 60 + [200_002])
    assert 2.0 == pytest.approx(value(symbol, "jump_z"))


def test_the_half_life_of_a_deviation_that_halves_each_second():
    tape = np.zeros(1, t.TAPE)[0]
    xs = [64_000 * 0.5**k for k in range(8)]
    pairs = list(pairwise(xs))
    tape["ar_sums"] = [
        sum(x for x, _ in pairs),
        sum(y for _, y in pairs),
        sum(x * x for x, _ in pairs),
        sum(x * y for x, y in pairs),
    ]
    tape["sample_sums"][t.I_15M, t.W_RETURNS] = len(pairs)
    tape["sample_sums"][t.I_15M, t.W_SPAN] = len(pairs)
    assert 1.0 == pytest.approx(f.reversion_half_life(tape))
    tape["sample_sums"][t.I_15M, t.W_SPAN] = 5 * len(pairs)
    assert 5.0 == pytest.approx(f.reversion_half_life(tape))
    tape["ar_sums"][t.A_XY] *= 3
    assert math.inf == f.reversion_half_life(tape)
    tape["ar_sums"][t.A_XY] *= -1
    assert 0.0 == f.reversion_half_life(tape)


def test_vol_percentile_ranks_the_present_minute_in_its_hour():
    """600 calm seconds, then 70 wild ones: nothing in the hour was as wild as now."""
    calm = [200_000 + 2 * (k % 2) for k in range(600)]
    wild = [200_000 + 40 * (k % 2) for k in range(70)]
    assert 0.95 < value(sampled(calm + wild), "vol_percentile")
    assert 0.5 == value(sampled(calm), "vol_percentile")
    assert value(sampled([*wild, *wild, *wild, *wild, *calm]), "vol_percentile") < 0.5


def test_vwap_and_its_spread_by_hand():
    """10 lots at 100, 30 at 104: mean 103, variance (10 x 9 + 30 x 1) / 40 = 3."""
    symbol = new_symbol({104: 1}, {106: 1})
    for k in range(10):
        t.tape_trade(symbol["tape"], 100, 1, 1, 100, T0 + k * S)
    for k in range(10):
        t.tape_trade(symbol["tape"], 104, 3, 1, 312, T0 + (k + 20) * S)
    compute(symbol, T0 + 40 * S)
    assert 103 == pytest.approx(value(symbol, "vwap_15m"), rel=1e-14)
    assert math.sqrt(3) / 103 * 1e4 == pytest.approx(value(symbol, "vwap_sd_bps"))
    assert 2 / math.sqrt(3) == pytest.approx(value(symbol, "vwap_z"))
