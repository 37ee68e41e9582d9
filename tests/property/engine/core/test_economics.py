"""What no market may break: costs add up, and more of what hurts never helps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.columns import (
    FEATURES,
    N_OUT,
    OUT_ACTIVE,
    OUT_CONFIDENCE,
    OUT_HALF_LIFE_S,
    OUT_INVALIDATION_BPS,
    OUT_MOVE_BPS,
    OUT_SD_BPS,
)
from engine.core.costs import market_costs, slippage_bps
from engine.core.edge import ESTIMATES, price_route
from engine.core.fillprob import FILL_NONE, maker_fill, poisson_exceeds
from engine.core.records import CANDIDATE_ROW, LOST_TO_BETTER, OK
from engine.core.routes import ENTRY_MODES, ENTRY_TAKE, ENTRY_THEN_TAKE, FAMILY_NAMES
from engine.core.selection import select_routes
from engine.jit import JIT_ENABLED
from tests.support.scene import CALM, NOW, make_features, make_params, make_scene, set_book

settings.register_profile("economics", max_examples=100 if JIT_ENABLED else 25, deadline=None)
few = settings.get_profile("economics")

COSTS = (
    *("entry_fee_bps", "exit_fee_bps", "spread_in_bps", "spread_out_bps", "slip_in_bps"),
    *("slip_out_bps", "adverse_bps", "latency_bps", "buffer_bps"),
)
MIGHT_BE_INFINITE = {"fill_time_s"}

positive = st.floats(1e-3, 1e4)
depths = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 10_000)), min_size=1, max_size=12)


@st.composite
def books(draw: Any) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Both sides: gaps in ticks and lots per level, below and above a spread of 1 to 60 ticks."""
    bid = draw(st.integers(1_000, 100_000))
    ask = bid + draw(st.integers(1, 60))
    sides = []
    for start, step in ((bid, -1), (ask, 1)):
        price, levels = start, []
        for gap, lots in draw(depths):
            if price > 0:
                levels.append((price, lots))
            price += step * gap
        sides.append(levels)
    return sides[0], sides[1]


def thesis(move: float, half_life: float) -> np.ndarray:
    out = np.zeros(N_OUT)
    out[OUT_ACTIVE], out[OUT_MOVE_BPS], out[OUT_SD_BPS] = 1.0, move, 3.0
    out[OUT_CONFIDENCE], out[OUT_INVALIDATION_BPS], out[OUT_HALF_LIFE_S] = 0.6, 5.0, half_life
    return out


def priced(
    book: tuple[Any, Any],
    entry_mode: int,
    side: int = 1,
    qty: int = 100,
    move: float = 10.0,
    half_life: float = 60.0,
    fees: tuple[int, int] = (1_000, 2_000),
    **params: Any,
) -> Any:
    scene = make_scene(**params)
    symbol = scene.symbols[0]
    set_book(symbol, *book)
    row = np.zeros(1, CANDIDATE_ROW)[0]
    code = price_route(
        row,
        symbol,
        symbol["features"],
        scene.params[0],
        thesis(side * move, half_life),
        1,
        entry_mode,
        side,
        qty,
        *fees,
    )
    assert OK == code
    return row


@few
@given(
    book=books(),
    entry_mode=st.sampled_from(ENTRY_MODES),
    side=st.sampled_from([1, -1]),
    qty=st.integers(1, 10**6),
    move=st.floats(0.0, 500.0),
    half_life=st.floats(0.01, 1e5),
    fees=st.tuples(st.integers(-200, 4_000), st.integers(0, 8_000)),
    share=st.floats(0.0, 1.0),
)
def test_the_stack_adds_up_to_the_last_bit_and_no_estimate_is_missing(
    book: Any,
    entry_mode: int,
    side: int,
    qty: int,
    move: float,
    half_life: float,
    fees: tuple[int, int],
    share: float,
) -> None:
    row = priced(book, entry_mode, side, qty, move, half_life, fees, costs_exit_maker_share=share)

    total = 0.0
    for name in COSTS:
        total += row[name]
    assert total == row["cost_bps"]
    assert row["gross_bps"] - row["cost_bps"] == row["net_bps"]
    for name in ESTIMATES:
        assert not math.isnan(row[name]), name
        assert name in MIGHT_BE_INFINITE or math.isfinite(row[name]), name
    assert 0.0 <= row["capturable"] <= 1.0
    assert 0.0 < row["fill_prob"] <= 1.0
    assert (entry_mode in (ENTRY_TAKE, ENTRY_THEN_TAKE)) == (row["fill_prob"] == 1.0)
    assert FILL_NONE != row["fill_method"]
    for name in ("slip_in_bps", "slip_out_bps", "adverse_bps", "latency_bps", "exit_drag_bps"):
        assert row[name] >= 0.0
    # the estimates are canonical: one bit pattern per value
    for name in ESTIMATES:
        assert row[name].tobytes() == np.float64(float(row[name]) + 0.0).tobytes()


@few
@given(book=books(), wider=st.integers(1, 500), qty=st.integers(1, 20_000))
def test_a_wider_spread_never_lowers_what_a_taker_pays(book: Any, wider: int, qty: int) -> None:
    bids, asks = book
    near = priced(book, ENTRY_TAKE, qty=qty)
    # The asks go up and the bids down by the same, so that the mid and with it the bps stay.
    bids_away = [(price - wider, lots) for price, lots in bids if price - wider > 0]
    if not bids_away or len(bids_away) < len(bids):
        return
    away = priced((bids_away, [(price + wider, lots) for price, lots in asks]), ENTRY_TAKE, qty=qty)

    slack = 1e-9 * abs(near["cost_bps"])
    assert away["cost_bps"] >= near["cost_bps"] - slack
    assert away["exit_drag_bps"] >= near["exit_drag_bps"] - slack
    assert away["spread_in_bps"] > near["spread_in_bps"]


@few
@given(book=books(), qty=st.integers(1, 200_000), more=st.integers(1, 200_000))
def test_a_larger_order_never_slips_less(book: Any, qty: int, more: int) -> None:
    symbol = make_scene().symbols[0]
    set_book(symbol, *book)
    features, params = make_features(), make_params()[0]
    for i_side in (0, 1):
        small = slippage_bps(symbol, features, params, i_side, float(qty))
        large = slippage_bps(symbol, features, params, i_side, float(qty + more))
        assert large >= small * (1.0 - 1e-12)


@few
@given(book=books(), qty=st.integers(1, 10_000), extra=st.integers(1, 10_000))
def test_a_deeper_touch_never_slips_more(book: Any, qty: int, extra: int) -> None:
    symbol = make_scene().symbols[0]
    features, params = make_features(), make_params()[0]
    bids, asks = book
    set_book(symbol, bids, asks)
    thin = slippage_bps(symbol, features, params, 1, float(qty))
    set_book(symbol, bids, [(asks[0][0], asks[0][1] + extra), *asks[1:]])
    deep = slippage_bps(symbol, features, params, 1, float(qty))

    assert deep <= thin * (1.0 + 1e-12)


@few
@given(book=books(), less=st.floats(0.01, 1.0))
def test_a_more_stressed_book_never_makes_leaving_cheaper(book: Any, less: float) -> None:
    calm = priced(book, ENTRY_TAKE, costs_stress_depth=1.0, costs_stress_spread=1.0)
    stressed = priced(book, ENTRY_TAKE, costs_stress_depth=less, costs_stress_spread=1.0 / less)

    assert stressed["exit_drag_bps"] >= calm["exit_drag_bps"] * (1.0 - 1e-12)


@few
@given(a=st.floats(0.0, 300.0), b=st.floats(0.0, 300.0), more=st.floats(0.0, 50.0))
def test_more_flow_never_hurts_and_more_queue_never_helps(a: float, b: float, more: float) -> None:
    chance = poisson_exceeds(a, b)

    assert -1e-12 <= chance <= 1.0 + 1e-12
    assert poisson_exceeds(a, b + more) <= chance + 1e-12
    assert poisson_exceeds(a + more, b) >= chance - 1e-12


@few
@given(
    ahead=st.floats(0.0, 1e6),
    extra=st.floats(0.0, 1e6),
    qty=positive,
    rate=st.one_of(st.just(math.nan), st.just(0.0), positive),
    size=st.one_of(st.just(math.nan), positive),
    distance=positive,
    vol=st.floats(0.0, 100.0),
    window=st.floats(0.1, 1e4),
    reach=st.floats(0.0, 1.0),
)
def test_a_makers_fill_is_possible_never_certain_and_no_likelier_further_back(
    ahead: float,
    extra: float,
    qty: float,
    rate: float,
    size: float,
    distance: float,
    vol: float,
    window: float,
    reach: float,
) -> None:
    chance, wait, method = maker_fill(ahead, qty, rate, size, distance, vol, window, 0.0, reach)
    behind, wait_behind, _ = maker_fill(
        ahead + extra, qty, rate, size, distance, vol, window, 0.0, reach
    )
    closer, _, _ = maker_fill(ahead, qty, rate, size, distance / 2, vol, window, 0.0, reach)
    longer, _, _ = maker_fill(ahead, qty, rate, size, distance, vol, 2 * window, 0.0, reach)

    assert 0.0 < chance < 1.0
    assert wait > 0.0
    assert FILL_NONE != method
    assert behind <= chance + 1e-12
    assert wait_behind >= wait
    assert closer >= chance - 1e-12
    assert longer >= chance - 1e-12
    assert chance <= max(reach, 1e-6) + 1e-12


values = st.one_of(st.just(math.nan), st.floats(-50.0, 50.0), st.floats(0.0, 1e6))


@few
@given(
    changes=st.dictionaries(st.sampled_from([each.name for each in FEATURES]), values),
    book=books(),
    qty=st.integers(0, 10**6),
    regime=st.integers(0, 5),
)
def test_no_features_make_a_number_where_there_is_none(
    changes: dict[str, float], book: Any, qty: int, regime: int
) -> None:
    """NaN only in candidates that were not priced; the winner is priced, long and allowed."""
    core = make_scene(CALM | changes)
    symbol = core.symbols[0]
    set_book(symbol, *book)
    symbol["regime"] = regime

    found = select_routes(core, 0, NOW, qty)

    rows = core.work[0]["candidates"][: found.n_candidates]
    for row in rows:
        missing = {name for name in ESTIMATES if math.isnan(row[name])}
        assert missing in (set(), set(ESTIMATES)), (FAMILY_NAMES[row["family"]], missing)
        assert (row["rank"] == 0) == bool(missing)
        assert (row["price"] == 0) == bool(missing)
        if row["blocker"] in (OK, LOST_TO_BETTER):
            assert not missing
            assert row["net_bps"] > core.params[0]["readiness_net_min_bps"]
    ranked = rows[rows["rank"] > 0]
    assert sorted(ranked["rank"].tolist()) == list(range(1, len(ranked) + 1))
    if found.winner >= 0:
        assert regime != 0
        assert OK == rows[found.winner]["blocker"]
        assert 1 == rows[found.winner]["rank"]


@few
@given(book=books(), qty=st.integers(1, 10**5))
def test_long_and_short_mirror_each_other(book: Any, qty: int) -> None:
    """The book upside down prices a short as the book as it is prices a long."""
    bids, asks = book
    top = bids[0][0] + asks[0][0]
    if any(top - price <= 0 for price, _ in asks):
        return
    mirrored = ([(top - p, q) for p, q in asks], [(top - p, q) for p, q in bids])
    changes = {"traded_bid_rate": 250.0, "traded_ask_rate": 250.0, "microprice_bps": 0.0,
               "ofi": 0.0, "return_bps_10s": 0.0}  # fmt: skip
    costs = []
    for sides, side in ((book, 1), (mirrored, -1)):
        scene = make_scene(changes)
        symbol = scene.symbols[0]
        set_book(symbol, *sides)
        code, market = market_costs(symbol, symbol["features"], scene.params[0], side, qty)
        assert OK == code
        costs.append(list(market))
    assert costs[0] == pytest.approx(costs[1], rel=1e-12)
