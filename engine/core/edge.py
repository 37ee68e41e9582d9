"""What is left of a thesis once it is traded by one route? The economics of a candidate.

Every family is priced by the one function here. Each cost appears once: fees, spread paid or
earned, slippage, adverse selection, latency and buffer in the cost stack; what is lost by waiting
in the capturable share. Costs and net edge are conditional on a fill; the chance of the fill
enters once, in the score and the edge per minute. Left out: whether the numbers suffice
(readiness.py).
"""

from __future__ import annotations

from typing import Final

from engine.core.columns import (
    OUT_CONFIDENCE,
    OUT_HALF_LIFE_S,
    OUT_INVALIDATION_BPS,
    OUT_MOVE_BPS,
    OUT_SD_BPS,
)
from engine.core.costs import NS_PER_S, market_costs
from engine.core.fillprob import FILL_MIX, FILL_NONE, FILL_TAKER, maker_fill, touch_probability
from engine.core.records import ECONOMICS, OK
from engine.core.routes import ENTRY_IMPROVE, ENTRY_TAKE, ENTRY_THEN_TAKE, HORIZON_ARRAY
from engine.jit import kernel
from engine.numerics import NAN, canonical, clip, exp

_LN2: Final = 0.6931471805599453
E6_PER_BPS: Final = 100.0  # fee rates are 1/100 bps

# Left NAN in a candidate that was not priced: every estimate, and no code.
ESTIMATES: Final = tuple(column.name for column in ECONOMICS if column.type == "f8")


@kernel
def decay(age_s, half_life_s):
    """2 ** -(age / half-life): what is left of a signal. float64, s, half-life > 0."""
    return exp(-_LN2 * age_s / half_life_s)


@kernel
def capturable_share(delay_s, half_life_s, move_bps, lean_bps, lean_half_life_s):
    """Share of the move that is still to come when the entry fills, 0..1.

    What fades with the signal during the delay is gone; so is the part of the move that the
    microprice already shows, which the mid makes up within seconds.
    delay_s : float64, s, >= 0; move_bps : float64, > 0 if any move is expected
    lean_bps : float64, microprice - mid in the thesis' direction
    """
    share = decay(delay_s, half_life_s)
    if move_bps <= 0.0 or lean_bps <= 0.0:
        return share
    shown = 1.0 if lean_bps > move_bps else lean_bps / move_bps
    return share * (1.0 - shown * (1.0 - decay(delay_s, lean_half_life_s)))


@kernel
def clear_economics(row):
    """Mark a candidate as not priced: every estimate NAN, method FILL_NONE, price 0."""
    row["move_bps"] = NAN
    row["move_sd_bps"] = NAN
    row["confidence"] = NAN
    row["capturable"] = NAN
    row["gross_bps"] = NAN
    row["fill_prob"] = NAN
    row["fill_time_s"] = NAN
    row["fill_method"] = FILL_NONE
    row["entry_fee_bps"] = NAN
    row["exit_fee_bps"] = NAN
    row["spread_in_bps"] = NAN
    row["spread_out_bps"] = NAN
    row["slip_in_bps"] = NAN
    row["slip_out_bps"] = NAN
    row["adverse_bps"] = NAN
    row["latency_bps"] = NAN
    row["buffer_bps"] = NAN
    row["cost_bps"] = NAN
    row["exit_drag_bps"] = NAN
    row["net_bps"] = NAN
    row["edge_bps_min"] = NAN
    row["score"] = NAN
    row["invalidation_bps"] = NAN
    row["price"] = 0


@kernel
def entry_price(bid, ask, side, entry_mode):
    """Ticks at which a route enters: its own best price, one better, or the other side's."""
    if entry_mode == ENTRY_TAKE:
        return ask if side > 0 else bid
    step = 1 if entry_mode == ENTRY_IMPROVE else 0
    return bid + step if side > 0 else ask - step


@kernel
def chase_bps(distance_bps, vol_bps_s, window_s):
    """How far the price has run from a resting order that was not reached, on average, in bps.

    A driftless walk ends where it began on average. It comes to the order, `distance_bps` away,
    with chance p, so where it did not it stands p / (1 - p) x distance on the other side.
    Source: optional stopping for the walk of `touch_probability`.
    """
    p = clip(touch_probability(distance_bps, vol_bps_s, window_s), 0.0, 0.99)
    return distance_bps * p / (1.0 - p)


@kernel
def route_economics(row, costs, params, out, i_horizon, entry_mode, side, qty, maker_e6, taker_e6):
    """Fill the economics of one candidate. Every family is priced here and nowhere else.

    row : CANDIDATE record, its economics, price and invalidation_bps are written
    costs : MarketCosts of the same symbol, side and size, with code OK
    params : PARAMS record; out : float64[N_OUT], an active thesis; i_horizon : of HORIZONS_S
    entry_mode : ENTRY_*; side : +1 long, -1 hypothetical short; qty : int64 lots
    maker_e6, taker_e6 : int64, fee rates in 1/100 bps

    cost_bps is the sum of its parts in column order; net = gross - cost; both given a fill.
    """
    takes = entry_mode == ENTRY_TAKE
    exit_maker = params["costs_exit_maker_share"]
    exit_taker = 1.0 - exit_maker
    maker_fee = float(maker_e6) / E6_PER_BPS
    taker_fee = float(taker_e6) / E6_PER_BPS
    half_spread = costs.half_spread_bps
    window_s = float(params["orders_maker_window_ns"]) / NS_PER_S
    delay_s = float(params["costs_latency_ns"]) / NS_PER_S

    if takes:
        chance = 1.0
        wait_s = 0.0
        method = FILL_TAKER
        entry_fee = taker_fee
        spread_in = half_spread
        slip_in = costs.slip_take_bps
        n_maker = exit_maker
        n_taker = 1.0 + exit_taker
    else:
        inside = costs.tick_bps if entry_mode == ENTRY_IMPROVE else 0.0
        chance, wait_s, method = maker_fill(
            0.0 if entry_mode == ENTRY_IMPROVE else costs.ahead_lots,
            float(qty),
            costs.rate,
            costs.lots_per_trade,
            2.0 * half_spread - inside,
            costs.vol_bps_s,
            window_s,
            costs.leave_rate,
            costs.reach,
        )
        entry_fee = maker_fee
        spread_in = inside - half_spread
        slip_in = 0.0
        n_maker = 1.0 + exit_maker
        n_taker = exit_taker
    rests = chance  # share of the fills that come while resting
    if entry_mode == ENTRY_THEN_TAKE:
        misses = 1.0 - rests
        entry_fee = rests * maker_fee + misses * taker_fee
        spread_in = (misses - rests) * half_spread
        slip_in = misses * (
            costs.slip_take_bps + chase_bps(2.0 * half_spread, costs.vol_bps_s, window_s)
        )
        n_maker = rests + exit_maker
        n_taker = misses + exit_taker
        chance = 1.0
        method = FILL_MIX
    exit_fee = exit_maker * maker_fee + exit_taker * taker_fee
    spread_out = (exit_taker - exit_maker) * half_spread
    slip_out = exit_taker * costs.slip_leave_bps
    adverse = n_maker * costs.adverse_bps
    latency = n_taker * costs.latency_bps
    buffer = params["costs_buffer_bps"]
    cost = entry_fee
    cost += exit_fee
    cost += spread_in
    cost += spread_out
    cost += slip_in
    cost += slip_out
    cost += adverse
    cost += latency
    cost += buffer

    # An order that fills has waited at most its window.
    waited_s = wait_s if wait_s < window_s else window_s
    entry_s = delay_s + waited_s
    signed = out[OUT_MOVE_BPS]
    move = signed if side > 0 else -signed
    capturable = capturable_share(
        entry_s, out[OUT_HALF_LIFE_S], move, costs.lean_bps, params["costs_lean_half_life_s"]
    )
    if entry_mode == ENTRY_THEN_TAKE:
        late = capturable_share(
            delay_s + window_s,
            out[OUT_HALF_LIFE_S],
            move,
            costs.lean_bps,
            params["costs_lean_half_life_s"],
        )
        capturable = rests * capturable + (1.0 - rests) * late
        wait_s = rests * waited_s + (1.0 - rests) * window_s
        entry_s = delay_s + wait_s
    gross = move * capturable
    net = gross - cost
    hold_s = float(HORIZON_ARRAY[i_horizon])
    expected = net * chance

    row["move_bps"] = canonical(move)
    row["move_sd_bps"] = canonical(out[OUT_SD_BPS])
    row["confidence"] = canonical(out[OUT_CONFIDENCE])
    row["capturable"] = canonical(clip(capturable, 0.0, 1.0))
    row["gross_bps"] = canonical(gross)
    row["fill_prob"] = canonical(chance)
    row["fill_time_s"] = canonical(wait_s)
    row["fill_method"] = method
    row["entry_fee_bps"] = canonical(entry_fee)
    row["exit_fee_bps"] = canonical(exit_fee)
    row["spread_in_bps"] = canonical(spread_in)
    row["spread_out_bps"] = canonical(spread_out)
    row["slip_in_bps"] = canonical(slip_in)
    row["slip_out_bps"] = canonical(slip_out)
    row["adverse_bps"] = canonical(adverse)
    row["latency_bps"] = canonical(latency)
    row["buffer_bps"] = canonical(buffer)
    row["cost_bps"] = canonical(cost)
    row["exit_drag_bps"] = canonical(
        params["costs_stress_spread"] * half_spread + costs.slip_stressed_bps + taker_fee
    )
    row["net_bps"] = canonical(net)
    row["edge_bps_min"] = canonical(expected / ((entry_s + hold_s) / 60.0))
    row["score"] = canonical(expected * out[OUT_CONFIDENCE])
    row["invalidation_bps"] = canonical(out[OUT_INVALIDATION_BPS])


@kernel
def price_route(
    row, symbol, features, params, out, i_horizon, entry_mode, side, qty, maker_e6, taker_e6
):
    """Price one route from scratch, as when a resting entry is judged again as a taker.

    Arguments as `market_costs` and `route_economics`. The row is cleared first.
    returns int64: OK, or the code for which it could not be priced
    """
    clear_economics(row)
    code, costs = market_costs(symbol, features, params, side, qty)
    if code == OK:
        route_economics(
            row, costs, params, out, i_horizon, entry_mode, side, qty, maker_e6, taker_e6
        )
        row["price"] = entry_price(symbol["bid"], symbol["ask"], side, entry_mode)
    return code
