"""Book walks, impact and fees on examples that can be done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.core.costs import (
    fee_rates,
    impact_bps,
    market_costs,
    present_rates,
    slippage_bps,
    take_fee_table,
    walk_book,
)
from engine.core.records import INPUT_MISSING, NOT_ENOUGH_HISTORY, OK
from engine.core.state import GLOB
from tests.support.scene import make_features, make_params, make_scene, set_book

DAY = 86_400 * 1_000_000_000
# Kraken's schedule as recorded in November 2025: volume in USD, maker and taker in 1/100 bps.
SCHEDULE = (
    (0, 2_500, 4_000),
    (10_000, 2_000, 3_500),
    (50_000, 1_400, 2_400),
    (10_000_000, 0, 1_000),
)


def test_a_walk_pays_the_distance_of_each_level() -> None:
    symbol = make_scene().symbols[0]
    set_book(symbol, [(100, 10)], [(102, 5), (103, 5), (107, 10)])

    # 5 lots at the touch, 5 one tick beyond, 2 five ticks beyond
    assert (15.0, 5.0, 0.0) == walk_book(symbol["book"], 1, 12.0)
    assert (0.0, 0.0, 3.0) == walk_book(symbol["book"], 0, 13.0)


def test_slippage_is_the_average_beyond_the_touch_and_the_residual() -> None:
    symbol = make_scene().symbols[0]
    set_book(symbol, [(9_999, 10)], [(10_001, 6), (10_003, 6)])
    params = make_params(costs_slippage_residual_bps=0.25)[0]

    # 6 lots two ticks beyond: 12 lot-ticks over 12 lots = 1 tick = 1 bps of 10,000
    assert 1.25 == pytest.approx(slippage_bps(symbol, make_features(), params, 1, 12.0))


def test_what_the_book_does_not_show_costs_its_worst_price_and_the_square_root() -> None:
    symbol = make_scene().symbols[0]
    set_book(symbol, [(9_999, 10)], [(10_001, 6), (10_005, 6)])
    params = make_params(costs_slippage_residual_bps=0.0, costs_impact_gamma=0.5)[0]
    features = make_features({"vol_bps_15m": 20.0})

    walked = slippage_bps(symbol, features, params, 1, 20.0)

    # the rest of 8 lots of 0.001 at a mid of 100.00 against 900,000 traded in 15 m
    impact = 0.5 * 20.0 * math.sqrt(8 * 0.1 / 900_000)
    assert (6 * 4 + 8 * (4 + impact)) / 20 == pytest.approx(walked, rel=1e-12)


@pytest.mark.parametrize("missing", [{"vol_bps_15m": math.nan}, {"buy_notional_15m": math.nan}])
def test_beyond_the_book_nothing_is_guessed_without_volume_and_volatility(
    missing: dict[str, float],
) -> None:
    symbol = make_scene().symbols[0]
    set_book(symbol, [(9_999, 10)], [(10_001, 6)])
    params = make_params()[0]

    assert math.isnan(slippage_bps(symbol, make_features(missing), params, 1, 7.0))
    assert not math.isnan(slippage_bps(symbol, make_features(missing), params, 1, 6.0))


def test_impact_is_the_same_for_every_window_it_is_measured_in() -> None:
    """Volatility grows with the root of time, volume with time."""
    quarter = impact_bps(1.0, 10.0, 5_000.0, 1e6)

    assert quarter == pytest.approx(impact_bps(1.0, 20.0, 5_000.0, 4e6))
    assert quarter == pytest.approx(10.0 * math.sqrt(0.005))


def test_market_costs_of_a_long_and_of_the_hypothetical_short() -> None:
    scene = make_scene({"microprice_bps": 0.4, "vol_bps_1m": 6.0, "vol_bps_10s": 1.0})
    symbol, params = scene.symbols[0], scene.params[0]
    set_book(symbol, [(9_999, 40), (9_990, 1_000)], [(10_001, 500), (10_002, 500)])

    code, long = market_costs(symbol, symbol["features"], params, 1, 100)
    short_code, short = market_costs(symbol, symbol["features"], params, -1, 100)

    assert (OK, OK) == (code, short_code)
    assert 1.0 == pytest.approx(long.half_spread_bps)
    # fits at the ask: the residual alone
    assert 0.2 == pytest.approx(long.slip_take_bps)
    assert 60 * 9 / 100 + 0.2 == pytest.approx(long.slip_leave_bps)
    # half the depth: 200 lots in the whole book, 160 of them nine ticks down
    assert 160 * 9 / 200 + 0.2 == pytest.approx(long.slip_stressed_bps)
    # the last 10 s were calmer than the minute implies: 6 x sqrt(10 / 60)
    assert 0.25 * (1.0 + 6.0 * math.sqrt(1 / 6)) == pytest.approx(long.adverse_bps)
    travel = 6.0 / math.sqrt(60) * math.sqrt(0.05) / math.sqrt(2 * math.pi)
    assert travel == pytest.approx(long.latency_bps)
    assert (40.0, 300.0, 0.4) == (long.ahead_lots, long.rate, long.lean_bps)
    assert (500.0, 200.0, -0.4) == (short.ahead_lots, short.rate, short.lean_bps)
    assert 500.0 * 300.0 / 300.0 == pytest.approx(long.lots_per_trade)
    assert (long.slip_leave_bps, long.slip_take_bps) == (short.slip_take_bps, short.slip_leave_bps)


@pytest.mark.parametrize("name", ["vol_bps_1m", "vol_bps_10s", "microprice_bps"])
def test_an_unknown_feature_refuses(name: str) -> None:
    scene = make_scene({name: math.nan})

    code, _ = market_costs(scene.symbols[0], scene.symbols[0]["features"], scene.params[0], 1, 10)

    assert NOT_ENOUGH_HISTORY == code


def test_a_one_sided_or_crossed_book_refuses() -> None:
    scene = make_scene()
    symbol = scene.symbols[0]
    for bids, asks in (([(10, 1)], []), ([], [(10, 1)]), ([(10, 1)], [(10, 1)])):
        set_book(symbol, bids, asks)
        code, _ = market_costs(symbol, symbol["features"], scene.params[0], 1, 10)
        assert INPUT_MISSING == code


@pytest.mark.parametrize(
    ("usd", "tier"),
    [(0, 0), (9_999, 0), (10_000, 1), (49_999, 1), (50_000, 2), (2e9, 3)],
)
def test_the_fee_tier_holds_from_its_volume_on(usd: float, tier: int) -> None:
    params = make_params(n_fee_tiers=len(SCHEDULE))[0]
    for i, (volume, maker, taker) in enumerate(SCHEDULE):
        params["fee_volume"][i] = volume * 10**8
        params["fee_maker_e6"][i], params["fee_taker_e6"][i] = maker, taker

    assert (OK, *SCHEDULE[tier][1:]) == fee_rates(params, int(usd * 10**8))


def test_no_schedule_is_no_free_trading() -> None:
    assert INPUT_MISSING == fee_rates(make_params(n_fee_tiers=0)[0], 0)[0]


def test_the_rates_that_the_venue_names_hold_from_then_on() -> None:
    params = make_params()[0]
    glob = np.zeros(1, GLOB)[0]
    glob["now"] = 5 * DAY
    assert (OK, 0, 1_000) == present_rates(params, glob)

    take_fee_table(glob, 1_400, 2_400)

    assert (OK, 1_400, 2_400) == present_rates(params, glob)
    glob["now"] += DAY
    assert (OK, 1_400, 2_400) == present_rates(params, glob)
    glob["now"] += 1
    assert (INPUT_MISSING, 1_400, 2_400) == present_rates(params, glob)  # older than a day
    take_fee_table(glob, 1_200, 2_200)
    assert (OK, 1_200, 2_200) == present_rates(params, glob)


def test_rates_of_ten_percent_are_a_typing_error_and_change_nothing() -> None:
    params = make_params()[0]
    glob = np.zeros(1, GLOB)[0]
    for maker, taker in ((100_000, 10), (10, 100_000), (-100_000, 10)):
        take_fee_table(glob, maker, taker)
        assert (OK, 0, 1_000) == present_rates(params, glob)


def test_level_3_tells_who_leaves_the_queue_ahead_and_only_where_it_is_asked() -> None:
    level3 = {"queue_cancel_bid": 40.0, "cancel_ahead_bid": 0.5}
    for switch, expected in ((0, 0.0), (1, 20.0)):
        scene = make_scene(level3, costs_fill_level3=switch)
        symbol = scene.symbols[0]
        _, costs = market_costs(symbol, symbol["features"], scene.params[0], 1, 10)
        assert expected == costs.leave_rate
    scene = make_scene(costs_fill_level3=1)  # not known: NaN
    symbol = scene.symbols[0]
    assert 0.0 == market_costs(symbol, symbol["features"], scene.params[0], 1, 10)[1].leave_rate
