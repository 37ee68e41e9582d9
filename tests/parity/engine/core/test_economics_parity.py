"""Kernels against their naive twins, and the same bits with and without the JIT."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.columns import (
    N_OUT,
    OUT_ACTIVE,
    OUT_CONFIDENCE,
    OUT_HALF_LIFE_S,
    OUT_INVALIDATION_BPS,
    OUT_MOVE_BPS,
    OUT_SD_BPS,
)
from engine.core.costs import fee_rates, market_costs, slippage_bps, walk_book
from engine.core.edge import price_route
from engine.core.fillprob import (
    eaten_probability,
    maker_fill,
    poisson_exceeds,
    touch_probability,
)
from engine.core.records import CANDIDATE_ROW, OK
from engine.core.routes import ENTRY_NAMES, HORIZONS_S
from engine.core.selection import rank_candidates
from engine.jit import JIT_ENABLED
from tests.naive import costs as naive_costs
from tests.naive import edge as naive_edge
from tests.naive import fillprob as naive_fillprob
from tests.naive import selection as naive_selection
from tests.support.economics_digest import economics_digest
from tests.support.scene import make_features, make_params, make_scene, set_book

ROOT = Path(__file__).resolve().parents[4]
few = settings(max_examples=150 if JIT_ENABLED else 20, deadline=None)
levels = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 5_000)), min_size=1, max_size=20)


def ladder(start: int, step: int, gaps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    price, out = start, []
    for gap, lots in gaps:
        out.append((price, lots))
        price += step * gap
    return out


@few
@given(gaps=levels, qty=st.integers(1, 60_000), i_side=st.sampled_from([0, 1]))
def test_the_walk_is_that_of_a_list_in_fractions(
    gaps: list[tuple[int, int]], qty: int, i_side: int
) -> None:
    symbol = make_scene().symbols[0]
    bids = ladder(9_999, -1, gaps if i_side == 0 else [(1, 1)])
    asks = ladder(10_001, 1, gaps if i_side == 1 else [(1, 1)])
    set_book(symbol, bids, asks)
    side = (bids, asks)[i_side]

    paid, worst, left = walk_book(symbol["book"], i_side, float(qty))
    expected = naive_costs.walk(side, Fraction(qty))
    # whole lots and ticks below 2**53 are exact in floats
    assert tuple(map(float, expected)) == (paid, worst, left)

    per_tick_lot = 0.01 * 0.001
    slip = slippage_bps(symbol, make_features(), make_params()[0], i_side, float(qty))
    expected_bps = naive_costs.slippage_bps(
        side, Fraction(qty), 10_000.0, 0.2, 1.0, 12.0, 900_000.0, per_tick_lot
    )
    assert expected_bps == pytest.approx(slip, rel=1e-12)


@few
@given(a=st.floats(0.0, 120.0), b=st.floats(0.0, 120.0))
def test_the_chance_of_outrunning_a_queue_is_that_of_the_double_sum(a: float, b: float) -> None:
    exact = naive_fillprob.poisson_exceeds(a, b)

    assert exact == pytest.approx(poisson_exceeds(a, b), abs=1e-11 if a + b <= 24 else 0.004)


@few
@given(a=st.floats(0.0, 60.0), b=st.floats(0.0, 60.0))
def test_given_one_trade_the_chance_is_the_quotient_of_both_sums(a: float, b: float) -> None:
    exact = naive_fillprob.eaten(a, b)

    assert exact == pytest.approx(eaten_probability(a, b), abs=1e-7 if a + b <= 24 else 0.01)


@few
@given(
    ahead=st.floats(0.0, 1e4),
    qty=st.floats(1.0, 1e3),
    rate=st.floats(0.01, 100.0),
    size=st.floats(50.0, 500.0),
    distance=st.floats(0.1, 50.0),
    vol=st.floats(0.01, 5.0),
    reach=st.floats(0.0, 1.0),
)
def test_a_makers_chance_is_that_of_being_come_to_and_then_of_queue_or_walk(
    ahead: float,
    qty: float,
    rate: float,
    size: float,
    distance: float,
    vol: float,
    reach: float,
) -> None:
    chance, _, _ = maker_fill(ahead, qty, rate, size, distance, vol, 30.0, 0.0, reach)

    walk = naive_fillprob.touch(distance, vol, 30.0)
    queue = naive_fillprob.eaten(rate * 30.0 / size, (ahead + qty) / size)
    expected = reach * (1.0 - (1.0 - walk) * (1.0 - queue))
    assert min(max(expected, 1e-6), 1.0 - 1e-6) == pytest.approx(chance, abs=0.01)
    assert walk == pytest.approx(touch_probability(distance, vol, 30.0), rel=1e-12)


@few
@given(
    volumes=st.lists(st.integers(1, 10**15), min_size=1, max_size=15, unique=True),
    volume=st.integers(0, 2 * 10**15),
)
def test_the_tier_is_the_last_one_reached(volumes: list[int], volume: int) -> None:
    steps = [0, *sorted(volumes)]
    params = make_params(n_fee_tiers=len(steps))[0]
    for i, step in enumerate(steps):
        params["fee_volume"][i], params["fee_maker_e6"][i] = step, i

    assert naive_costs.fee_tier(steps, volume) == fee_rates(params, volume)[1]


@few
@given(
    entry_mode=st.sampled_from(sorted(ENTRY_NAMES)),
    i_horizon=st.integers(0, len(HORIZONS_S) - 1),
    qty=st.integers(1, 40_000),
    move=st.floats(0.0, 100.0),
    half_life=st.floats(0.5, 1e4),
    share=st.floats(0.0, 1.0),
    lean=st.floats(-3.0, 3.0),
    fees=st.tuples(st.integers(-200, 2_500), st.integers(0, 8_000)),
    bids=levels,
    asks=levels,
)
def test_the_economics_are_those_of_the_table_in_the_docs(
    entry_mode: int,
    i_horizon: int,
    qty: int,
    move: float,
    half_life: float,
    share: float,
    lean: float,
    fees: tuple[int, int],
    bids: list[tuple[int, int]],
    asks: list[tuple[int, int]],
) -> None:
    scene = make_scene({"microprice_bps": lean}, costs_exit_maker_share=share)
    symbol, params = scene.symbols[0], scene.params[0]
    set_book(symbol, ladder(9_998, -1, bids), ladder(10_001, 1, asks))
    out = np.zeros(N_OUT)
    out[OUT_ACTIVE], out[OUT_MOVE_BPS], out[OUT_SD_BPS] = 1.0, move, 2.0
    out[OUT_CONFIDENCE], out[OUT_INVALIDATION_BPS], out[OUT_HALF_LIFE_S] = 0.7, 4.0, half_life
    row = np.zeros(1, CANDIDATE_ROW)[0]

    code = price_route(
        row, symbol, symbol["features"], params, out, i_horizon, entry_mode, 1, qty, *fees
    )
    _, market = market_costs(symbol, symbol["features"], params, 1, qty)

    assert OK == code
    fill = (row["fill_prob"], row["fill_time_s"])
    if ENTRY_NAMES[entry_mode] == "then_take":
        half = market.half_spread_bps
        queue = (market.ahead_lots, float(qty), market.rate, market.lots_per_trade)
        fill = maker_fill(*queue, 2 * half, market.vol_bps_s, 30.0, 0.0, market.reach)[:2]
    expected = naive_edge.economics(
        market._asdict(),
        params,
        {"move": move, "half_life": half_life, "confidence": 0.7},
        HORIZONS_S[i_horizon],
        ENTRY_NAMES[entry_mode],
        fill,
        fees[0] / 100,
        fees[1] / 100,
    )
    for name, value in expected.items():
        assert value == pytest.approx(row[name], rel=1e-9, abs=1e-9), name


@few
@given(
    table=st.lists(
        st.tuples(
            st.booleans(),
            st.one_of(st.just(float("nan")), st.sampled_from([0.0, 1.0, -1.0, 2.5])),
        ),
        max_size=60,
    ),
    order=st.randoms(use_true_random=False),
)
def test_the_ranking_is_that_of_sorted(table: list[tuple[bool, float]], order: Any) -> None:
    routes = list(range(1, len(table) + 1))
    order.shuffle(routes)
    work = make_scene().work[0]
    work["n_candidates"] = len(table)
    for row, (tradable, score), route in zip(work["candidates"], table, routes, strict=False):
        row["blocker"], row["score"], row["route"] = 0 if tradable else 13, score, route

    n = rank_candidates(work)

    rows = [(*each, route) for each, route in zip(table, routes, strict=True)]
    assert naive_selection.ranking(rows) == work["ranking"][:n].tolist()


def digest_elsewhere(**environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "tests.support.economics_digest"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_the_same_bits_with_and_without_the_jit() -> None:
    other = "0" if not JIT_ENABLED else "1"

    assert economics_digest() == digest_elsewhere(NUMBA_DISABLE_JIT=other)


@pytest.mark.long
def test_the_same_bits_on_a_generic_processor() -> None:
    assert economics_digest() == digest_elsewhere(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
