"""The economics of a route: every cost once, and what waiting loses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from engine.core.columns import (
    N_OUT,
    OUT_ACTIVE,
    OUT_CONFIDENCE,
    OUT_HALF_LIFE_S,
    OUT_INVALIDATION_BPS,
    OUT_MOVE_BPS,
    OUT_SD_BPS,
)
from engine.core.edge import (
    ESTIMATES,
    capturable_share,
    chase_bps,
    clear_economics,
    decay,
    price_route,
)
from engine.core.fillprob import FILL_MIX, FILL_NONE, FILL_QUEUE, FILL_TAKER, touch_probability
from engine.core.records import CANDIDATE_ROW, INPUT_MISSING, OK
from engine.core.routes import ENTRY_IMPROVE, ENTRY_JOIN, ENTRY_TAKE, ENTRY_THEN_TAKE
from tests.support.scene import make_scene, set_book


def thesis(move: float, half_life: float = 60.0) -> np.ndarray:
    out = np.zeros(N_OUT)
    out[OUT_ACTIVE] = 1.0
    out[OUT_MOVE_BPS] = move
    out[OUT_SD_BPS] = 3.0
    out[OUT_CONFIDENCE] = 0.6
    out[OUT_INVALIDATION_BPS] = 9.0
    out[OUT_HALF_LIFE_S] = half_life
    return out


def price(
    entry_mode: int, move: float = 20.0, side: int = 1, qty: int = 100, **changes: Any
) -> Any:
    scene = make_scene(**changes)
    symbol = scene.symbols[0]
    row = np.zeros(1, CANDIDATE_ROW)[0]
    code = price_route(
        row,
        symbol,
        symbol["features"],
        scene.params[0],
        thesis(move * side),
        1,
        entry_mode,
        side,
        qty,
        200,
        1_000,
    )
    assert OK == code
    return row


def test_half_of_a_signal_is_left_after_its_half_life() -> None:
    assert 0.5 == pytest.approx(decay(30.0, 30.0))
    assert 1.0 == decay(5.0, math.inf)


def test_the_lean_that_the_mid_makes_up_while_we_wait_is_not_caught() -> None:
    # no fading (endless half-life): half of the move is lean, and after 2 s half of that is made up
    assert 0.75 == pytest.approx(capturable_share(2.0, math.inf, 4.0, 2.0, 2.0))
    # a lean beyond the move counts as the whole move, one against it costs nothing
    assert 0.5 == pytest.approx(capturable_share(2.0, math.inf, 4.0, 9.0, 2.0))
    assert 1.0 == pytest.approx(capturable_share(2.0, math.inf, 4.0, -9.0, 2.0))


def test_a_taker_pays_the_spread_twice_and_both_walks() -> None:
    row = price(ENTRY_TAKE)

    assert (10.0, 10.0) == pytest.approx((row["entry_fee_bps"], row["exit_fee_bps"]))
    assert (1.0, 1.0) == pytest.approx((row["spread_in_bps"], row["spread_out_bps"]))
    assert (0.2, 0.2) == pytest.approx((row["slip_in_bps"], row["slip_out_bps"]))
    assert 0.0 == row["adverse_bps"]
    assert (1.0, 0.0, FILL_TAKER) == (row["fill_prob"], row["fill_time_s"], row["fill_method"])
    assert 10_001 == row["price"]


def test_joining_earns_the_half_spread_and_pays_for_being_picked() -> None:
    row = price(ENTRY_JOIN)

    assert (2.0, 10.0) == pytest.approx((row["entry_fee_bps"], row["exit_fee_bps"]))
    assert (-1.0, 1.0) == pytest.approx((row["spread_in_bps"], row["spread_out_bps"]))
    assert (0.0, 0.2) == pytest.approx((row["slip_in_bps"], row["slip_out_bps"]))
    assert row["adverse_bps"] > 0.0
    # 5,000 lots before our 100, 300 lots per second sold into them
    assert 5_100 / 300 == pytest.approx(row["fill_time_s"])
    assert FILL_QUEUE == row["fill_method"]
    assert 9_999 == row["price"]


def test_improving_gives_up_a_tick_for_the_front_of_the_queue() -> None:
    join, improve = price(ENTRY_JOIN), price(ENTRY_IMPROVE)

    assert join["spread_in_bps"] + 1.0 == pytest.approx(improve["spread_in_bps"])
    assert 100 / 300 == pytest.approx(improve["fill_time_s"])
    assert improve["fill_prob"] > join["fill_prob"]
    assert improve["capturable"] > join["capturable"]
    assert 10_000 == improve["price"]


def test_an_exit_that_rests_half_of_the_time_is_half_of_each() -> None:
    row = price(ENTRY_TAKE, costs_exit_maker_share=0.5)
    taker = price(ENTRY_TAKE)
    join = price(ENTRY_JOIN)

    assert 6.0 == pytest.approx(row["exit_fee_bps"])
    assert 0.0 == pytest.approx(row["spread_out_bps"])
    assert 0.1 == pytest.approx(row["slip_out_bps"])
    assert 0.5 * join["adverse_bps"] == pytest.approx(row["adverse_bps"])
    assert 0.75 * taker["latency_bps"] == pytest.approx(row["latency_bps"])


def test_the_stressed_exit_has_half_the_depth_and_twice_the_spread() -> None:
    row = price(ENTRY_JOIN, qty=4_000)

    # 8,000 lots in the whole book: 3,000 of them one tick down
    assert 2.0 * 1.0 + (3_000 / 8_000 + 0.2) + 10.0 == pytest.approx(row["exit_drag_bps"])


def test_a_short_is_priced_from_the_other_side() -> None:
    long, short = price(ENTRY_JOIN), price(ENTRY_JOIN, side=-1)

    assert (20.0, 20.0) == (long["move_bps"], short["move_bps"])
    assert 10_001 == short["price"]
    assert 5_100 / 200 == pytest.approx(short["fill_time_s"])
    assert 9_999 == price(ENTRY_TAKE, side=-1)["price"]


def test_edge_per_minute_counts_the_wait_and_the_horizon() -> None:
    row = price(ENTRY_JOIN)

    minutes = (0.05 + row["fill_time_s"] + 60.0) / 60.0
    assert row["net_bps"] * row["fill_prob"] / minutes == pytest.approx(row["edge_bps_min"])
    assert row["net_bps"] * row["fill_prob"] * 0.6 == pytest.approx(row["score"])


def test_a_rebate_is_a_negative_cost() -> None:
    scene = make_scene()
    symbol = scene.symbols[0]
    row = np.zeros(1, CANDIDATE_ROW)[0]
    price_route(
        row, symbol, symbol["features"], scene.params[0], thesis(9.0), 1, ENTRY_JOIN, 1, 10, -200, 0
    )

    assert -2.0 == row["entry_fee_bps"]


def test_what_cannot_be_priced_stays_unknown() -> None:
    scene = make_scene()
    symbol = scene.symbols[0]
    set_book(symbol, [], [(10_001, 5)])
    row = np.zeros(1, CANDIDATE_ROW)[0]

    code = price_route(
        row, symbol, symbol["features"], scene.params[0], thesis(9.0), 1, ENTRY_JOIN, 1, 10, 0, 0
    )

    assert INPUT_MISSING == code
    assert all(math.isnan(row[name]) for name in ESTIMATES)
    assert (FILL_NONE, 0) == (row["fill_method"], row["price"])


def test_clearing_writes_every_estimate_as_the_one_nan() -> None:
    row = np.ones(1, CANDIDATE_ROW)[0]
    clear_economics(row)

    bits = {np.float64(row[name]).view(np.int64) for name in (*ESTIMATES, "invalidation_bps")}
    assert {0x7FF8000000000000} == {int(each) for each in bits}


def test_resting_and_then_taking_is_the_weighted_mix_of_both() -> None:
    """Fees, spread and leaving: linear in the chance that it fills while it rests."""
    join, take, mix = price(ENTRY_JOIN), price(ENTRY_TAKE), price(ENTRY_THEN_TAKE)
    chance = join["fill_prob"]

    for name in ("entry_fee_bps", "exit_fee_bps", "spread_in_bps", "spread_out_bps",
                 "slip_out_bps", "adverse_bps", "latency_bps", "buffer_bps"):  # fmt: skip
        mixed = chance * join[name] + (1 - chance) * take[name]
        assert mixed == pytest.approx(mix[name], abs=1e-12), name
    assert (1.0, FILL_MIX) == (mix["fill_prob"], mix["fill_method"])
    # whoever takes late pays what the price has run meanwhile, on top of the walk
    assert mix["slip_in_bps"] > (1 - chance) * take["slip_in_bps"]
    assert mix["capturable"] < join["capturable"] < take["capturable"]


def test_a_price_that_did_not_come_has_run_as_far_as_the_walk_stays_fair() -> None:
    """Reached with chance p at -d, not reached at x on average: p x -d + (1 - p) x = 0."""
    for distance, vol in ((2.0, 0.5), (5.0, 0.5), (1.0, 0.1)):
        p = touch_probability(distance, vol, 30.0)
        assert -p * distance + (1 - p) * chase_bps(distance, vol, 30.0) == pytest.approx(0.0)
