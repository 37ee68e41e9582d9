"""How much is there, how much is free, how large may an order be?

Equity is cash and positions at the bid, recomputed from state, so gains compound. Free capital is
equity less what resting entries reserve and less a stress loss on positions. Floats propose a
size, integers decide it: floored to lots, capped by order, symbol, exposure and by the cash that
the venue would let us spend. Left out: whether an order is allowed at all (risk.py).
"""

from __future__ import annotations

from typing import Final

from engine.commands import ROLE_ENTRY
from engine.core.costs import present_rates
from engine.core.desk import desk_of
from engine.core.lanes import TIER_NONE, tier_share_max
from engine.core.positions import value_at
from engine.core.records import (
    CAPITAL_EXHAUSTED,
    COSTS_EXCEED_MOVE,
    INPUT_MISSING,
    OK,
    SIZE_BELOW_MIN,
    T_EQUITY,
)
from engine.core.rows import claim_row
from engine.core.throttle import throttle_factor, throttle_step
from engine.events import MODE_REDUCED
from engine.jit import kernel
from engine.numerics import clip, floor_int, is_nan
from engine.stage import stage
from engine.units import (
    RATE_SCALE,
    fee_money,
    lots_for_money,
)

DAY_NS: Final = 86_400_000_000_000
HOUR_NS: Final = 3_600_000_000_000
_ROOM: Final = 1.0e18  # money; caps beyond this are no caps


@kernel
def share_money(money, fraction):
    """`fraction` of an amount, floored: float64 proposes, int64 decides.

    money : int64, >= 0; fraction : float64, >= 0
    """
    share = float(money) * fraction
    if share >= _ROOM:
        return int(_ROOM)
    return floor_int(share)


@kernel
def present_fees(desk):
    """The maker's and the taker's rate of the present tier: int64, 1/100 bps.

    A missing schedule gives 100 %: no candidate survives it, nothing trades on an unknown fee.
    """
    code, maker, taker = present_rates(desk.params, desk.glob)
    if code != OK and desk.glob["fee_ts"] == 0:
        return RATE_SCALE, RATE_SCALE
    return maker, taker


@kernel
def entry_reserve(desk, order, taker_e6):
    """Money that a working entry may still cost: (value of the rest, the same with its fee).

    While an amend travels the dearer of both versions counts.
    """
    price = max(order["price"], order["amend_price"])
    qty = max(order["qty"], order["amend_qty"]) - order["filled"]
    if qty <= 0:
        return 0, 0
    value = value_at(desk.symbols[order["sym"]]["instrument"], price, qty)
    return value, value + fee_money(value, max(taker_e6, 0), True)


@kernel
def sizing_equity(desk):
    """Equity that sizes and caps are shares of: pinned by `capital.equity_fixed`, else actual."""
    fixed = desk.params["capital_equity_fixed"]
    return fixed if fixed > 0 else desk.glob["equity"]


@stage
def refresh_capital(desk):
    """Recompute equity, exposure, reserved cash, free capital, peak and the UTC day from state."""
    glob = desk.glob
    params = desk.params
    now = glob["now"]
    held_value = 0
    for i in range(len(desk.symbols)):
        symbol = desk.symbols[i]
        position = symbol["position"]
        if symbol["bid"] > 0:
            position["mark"] = symbol["bid"]
        qty = position["qty"] + position["dust"]
        if qty > 0:
            held_value += value_at(symbol["instrument"], position["mark"], qty)
    _, taker = present_fees(desk)
    entries_value = 0
    cash_held = 0
    for k in range(len(desk.orders)):
        order = desk.orders[k]
        if order["id"] > 0 and order["ts_done"] == 0 and order["role"] == ROLE_ENTRY:
            value, reserve = entry_reserve(desk, order, taker)
            entries_value += value
            cash_held += reserve
    equity = glob["cash"] + held_value
    glob["equity"] = equity
    glob["cash_held"] = cash_held
    glob["exposure"] = held_value + entries_value
    stress = share_money(held_value, params["capital_stress_loss"])
    glob["free"] = max(sizing_equity(desk) - cash_held - stress, 0)
    if equity > glob["peak"]:
        glob["peak"] = equity
    day = now // DAY_NS
    if day != glob["day"]:
        glob["day"] = day
        glob["day_equity"] = equity
    if now - glob["equity_ts"] >= params["records_equity_interval_ns"]:
        equity_row(desk)


@kernel
def equity_row(desk):
    """Append one row to the table `equity` from what `refresh_capital` found last."""
    glob = desk.glob
    glob["equity_ts"] = glob["now"]
    ring = desk.rings["equity"]
    n = claim_row(glob, T_EQUITY, len(ring))
    if n < 0:
        return
    cost = 0
    for i in range(len(desk.symbols)):
        position = desk.symbols[i]["position"]
        cost += position["cost"] + position["dust_cost"]
    row = ring[n]
    row["ts"] = glob["now"]
    row["cash"] = glob["cash"]
    row["equity"] = glob["equity"]
    row["free"] = glob["free"]
    row["exposure"] = glob["exposure"]
    row["unrealized"] = glob["equity"] - glob["cash"] - cost
    row["realized"] = glob["realized"]
    row["fees"] = glob["fees"]
    row["peak"] = glob["peak"]
    row["drawdown"] = glob["peak"] - glob["equity"]


@kernel
def losses_since(glob, ts):
    """Money lost in trades that closed after `ts` (of the newest ones that the ring holds)."""
    n = min(glob["n_losses"], len(glob["loss_ts"]))
    lost = 0
    for k in range(n):
        if glob["loss_ts"][k] > ts:
            lost += glob["loss_money"][k]
    return lost


@kernel
def reduced_factor(params, reduced_ns):
    """Multiplier of sizes in mode REDUCED: a step down after each `capital.reduced_every` in it.

    reduced_ns : int64, ns since the mode was entered; never below `capital.reduced_floor`
    """
    factor = params["capital_reduced_factor"]
    step_ns = params["capital_reduced_every_ns"]
    if step_ns > 0:
        floor = min(factor, params["capital_reduced_floor"])
        for _ in range(min(reduced_ns // step_ns, 64)):
            factor *= params["capital_reduced_step"]
        factor = max(factor, floor)
    return factor


@kernel
def size_factor(desk):
    """Multiplier of every size: below 1 in mode REDUCED and after losses.

    With a ladder (`risk.throttle_steps`) as its step says, else halved after an hour of losses.
    """
    glob = desk.glob
    params = desk.params
    factor = 1.0
    if glob["mode"] == MODE_REDUCED:
        factor = reduced_factor(params, glob["now"] - glob["mode_ts"])
    if params["risk_throttle_steps"] > 0:
        step = throttle_step(glob, params, sizing_equity(desk))
        return factor * throttle_factor(step, params)
    limit = share_money(sizing_equity(desk), params["risk_throttle_loss_1h"])
    if losses_since(glob, glob["now"] - HOUR_NS) >= limit > 0:
        factor *= 0.5
    return factor


@kernel
def symbol_value(desk, i):
    """Money in symbol `i`: position and dust at the mark, resting entries as if filled."""
    symbol = desk.symbols[i]
    position = symbol["position"]
    value = 0
    qty = position["qty"] + position["dust"]
    if qty > 0:
        value = value_at(symbol["instrument"], position["mark"], qty)
    for k in range(len(desk.orders)):
        order = desk.orders[k]
        if order["id"] > 0 and order["ts_done"] == 0:
            if order["role"] == ROLE_ENTRY and order["sym"] == i:
                rest, _ = entry_reserve(desk, order, 0)
                value += rest
    return value


@kernel
def sized_qty(desk, i, price, strength):
    """Lots for an order of `strength` (0..1 of a full one), and why there are none.

    price : int64, ticks; returns (lots, reason code)
    """
    glob = desk.glob
    params = desk.params
    symbol = desk.symbols[i]
    instrument = symbol["instrument"]
    if price <= 0 or is_nan(strength):
        return 0, INPUT_MISSING
    equity = sizing_equity(desk)
    budget = share_money(glob["free"], params["capital_base_fraction"] * strength)
    budget = share_money(budget, size_factor(desk))
    budget = min(budget, params["capital_order_max"])
    if symbol["tier"] != TIER_NONE:
        budget = min(budget, share_money(equity, tier_share_max(params, symbol["tier"])))
    if symbol["allotted"] >= 0:
        budget = min(budget, symbol["allotted"])
    budget = min(budget, share_money(equity, params["risk_symbol_max"]) - symbol_value(desk, i))
    budget = min(budget, share_money(equity, params["risk_exposure_max"]) - glob["exposure"])
    _, taker = present_fees(desk)
    reserve = share_money(equity, params["capital_reserve_fraction"])
    cash = glob["cash"] - glob["cash_held"] - reserve
    if cash <= 0 or budget <= 0:
        return 0, CAPITAL_EXHAUSTED
    # The fee comes on top of the value, and the venue rounds both up; the unit pays for that.
    affordable = share_money(cash, RATE_SCALE / (RATE_SCALE + max(taker, 0))) - 1
    budget = min(budget, affordable)
    qty = lots_for_money(budget, price, instrument["notional_num"], instrument["notional_den"])
    if qty < instrument["qty_min"] or qty <= 0:
        return 0, SIZE_BELOW_MIN
    if value_at(instrument, price, qty) < instrument["cost_min"]:
        return 0, SIZE_BELOW_MIN
    return qty, OK


# --- for the pipeline ----------------------------------------------------------------------------


@kernel
def update_capital(core):
    """Recompute equity, exposure, reserved cash, free capital, peak and the UTC day from state.

    Writes an equity row when `records.equity_interval_ns` has passed since the last one.
    """
    refresh_capital(desk_of(core))


@stage
def close_books(core):
    """The stream has ended: one last row to the table `equity`, unless this moment has one."""
    if core.glob[0]["now"] > core.glob[0]["equity_ts"]:
        update_capital(core)
    if core.glob[0]["now"] > core.glob[0]["equity_ts"]:
        equity_row(desk_of(core))


@kernel
def order_qty(core, i, price, net_bps, confidence):
    """How many lots an entry with this edge deserves, and why none.

    The size is `capital.base_fraction` of free capital x min(net / edge_full, 1) x confidence,
    capped per order, symbol, exposure and cash, floored to lots.
    price : int64, ticks, the worst price the entry may pay; net_bps : float64; confidence : 0..1
    returns (int64 lots, reason code): OK, COSTS_EXCEED_MOVE, SIZE_BELOW_MIN, CAPITAL_EXHAUSTED or
        INPUT_MISSING
    """
    desk = desk_of(core)
    if net_bps <= 0.0:
        return 0, COSTS_EXCEED_MOVE
    edge = clip(net_bps / desk.params["capital_edge_full_bps"], 0.0, 1.0)
    return sized_qty(desk, i, price, edge * clip(confidence, 0.0, 1.0))


@kernel
def reference_qty(core, i):
    """The size that economics are computed for before the edge is known: that of a full edge.

    At least the venue's minimum, so that costs stay defined; whether the capital is there is
    what `order_qty` says later. int64 lots, 0 without a price.
    """
    desk = desk_of(core)
    symbol = desk.symbols[i]
    price = symbol["ask"] if symbol["ask"] > 0 else symbol["bid"]
    if price <= 0:
        return 0
    instrument = symbol["instrument"]
    qty, _ = sized_qty(desk, i, price, 1.0)
    least = max(instrument["qty_min"], 1)
    cost_min = instrument["cost_min"]
    num = instrument["notional_num"]
    den = instrument["notional_den"]
    while value_at(instrument, price, least) < cost_min:
        least = max(lots_for_money(cost_min, price, num, den), least) + 1
    return max(qty, least)
