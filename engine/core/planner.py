"""How does an entry reach the book, and does a resting one stay? Join, improve or take; keep or move.

A maker plan is post-only and good till the end of its window, so that it lapses by itself. It never
crosses, never improves on our own order, and where the spread is one tick it joins. A taker plan is
immediate or cancel with a bounded slippage. A resting entry follows the best bid up by amend, not
before its minimum life and only so often; it is cancelled when engine, data or edge no longer
stand behind it. Left out: whether to trade (pipeline.py), how to leave (exits.py).
"""

from __future__ import annotations

from typing import Final

from engine.commands import ADD, AMEND, GTD, IOC, LIMIT, ROLE_ENTRY
from engine.core.capital import (
    entry_reserve,
    present_fees,
    refresh_capital,
    sizing_equity,
    symbol_value,
)
from engine.core.columns import FEATURE_INDEX
from engine.core.desk import desk_of
from engine.core.exits import horizon_vol_bps, stop_price, target_price
from engine.core.orders import mark_overdue, may_ask, new_order
from engine.core.orderstates import ORDER_STATE_EXPIRED, ORDER_STATE_SUSPECT
from engine.core.readiness import net_threshold_bps
from engine.core.records import (
    ALLOW,
    BOOK_UNVERIFIED,
    COSTS_EXCEED_MOVE,
    EPOCH_NOT_VALID,
    INPUT_MISSING,
    MODE_BLOCKED,
    OK,
    ORDER_IN_FLIGHT,
    STOPPING,
    SYMBOL_SAFETY,
)
from engine.core.risk import check_exposure, check_symbol_value, run_checks
from engine.core.routes import (
    ENTRY_IMPROVE,
    ENTRY_JOIN,
    ENTRY_TAKE,
    ENTRY_THEN_TAKE,
    route_entry_mode,
    route_family,
)
from engine.core.safety import (
    CLASS_ENTRY_AMEND,
    ask_cancel,
    emit,
    epoch_refuses,
    mode_refuses,
)
from engine.jit import kernel
from engine.numerics import floor_int, is_nan, ratio
from engine.stage import stage

SECOND_NS: Final = 1_000_000_000
_LEAN: Final = FEATURE_INDEX["microprice_bps"]


@kernel
def entry_price(symbol, params, entry_mode):
    """Limit price of an entry in the present book, int64 ticks; 0 if there is none.

    Join: the best bid. Improve: one tick above it where that stays below the ask, else join.
    Take: through the ask by at most `orders.take_slippage_bps`.
    """
    bid = symbol["bid"]
    ask = symbol["ask"]
    if entry_mode == ENTRY_TAKE:
        if ask <= 0:
            return 0
        return ask + floor_int(float(ask) * params["orders_take_slippage_bps"] / 10_000.0)
    if bid <= 0 or ask <= bid:
        return 0
    if entry_mode == ENTRY_IMPROVE and ask - bid >= 2:
        return bid + 1
    if entry_mode == ENTRY_IMPROVE or entry_mode == ENTRY_JOIN or entry_mode == ENTRY_THEN_TAKE:
        return bid
    return 0


@kernel
def expiry(now, window_ns):
    """End of a maker window on a whole second, as the venue keeps it: rounded down, never past."""
    whole = (now + window_ns) // SECOND_NS * SECOND_NS
    return whole if whole > now else whole + SECOND_NS


@kernel
def send_entry(desk, i, entry_mode, price, qty, route, horizon_ns, net_bps, invalidation_bps):
    """Plan one buy and send it through the choke. Returns (reason code, slot or -1)."""
    taking = entry_mode == ENTRY_TAKE
    expire_ts = 0
    if not taking:
        expire_ts = expiry(desk.glob["now"], desk.params["orders_maker_window_ns"])
    slot = new_order(
        desk,
        i,
        ROLE_ENTRY,
        1,
        LIMIT,
        IOC if taking else GTD,
        0 if taking else 1,
        price,
        0,
        qty,
        expire_ts,
        route,
    )
    if slot < 0:
        return ORDER_IN_FLIGHT, -1
    order = desk.orders[slot]
    order["expected_bps"] = net_bps
    order["invalidation_bps"] = invalidation_bps
    order["horizon_ns"] = horizon_ns
    code = emit(desk, ADD, slot, 0, 0, 0, OK)
    if code == OK:
        refresh_capital(desk)  # what it reserves is not there for the next one
    return code, slot


@kernel
def withdraw_reason(desk, i, slot):
    """Why a resting entry should be taken back, OK if it may stay."""
    glob = desk.glob
    symbol = desk.symbols[i]
    position = symbol["position"]
    order = desk.orders[slot]
    if glob["stopping"] != 0:
        return STOPPING
    if mode_refuses(glob["mode"], CLASS_ENTRY_AMEND, True):
        return MODE_BLOCKED
    if epoch_refuses(glob["epoch_status"], CLASS_ENTRY_AMEND):
        return EPOCH_NOT_VALID
    if symbol["verified"] == 0:
        return BOOK_UNVERIFIED
    if position["exit_reason"] != 0 and order["filled"] > 0:
        return SYMBOL_SAFETY  # what it bought is being sold
    old_enough = glob["now"] - order["ts_touched"] >= desk.params["orders_life_min_ns"]
    if position["edge_now_ts"] > 0 and old_enough:
        if not position["edge_now_bps"] > net_threshold_bps(
            desk.params, route_family(order["route"])
        ):
            return COSTS_EXCEED_MOVE
    return OK


@kernel
def follow_bid(desk, i, slot):
    """Move a resting entry up to the best bid when that ran away far enough.

    Upwards only: live, our own order is the best bid once the others have left it.
    """
    glob = desk.glob
    params = desk.params
    symbol = desk.symbols[i]
    order = desk.orders[slot]
    bid = symbol["bid"]
    if bid - order["price"] < params["orders_move_ticks"] or symbol["ask"] <= bid:
        return
    if order["n_moves"] >= params["orders_moves_max"]:
        return
    if glob["now"] - order["ts_touched"] < params["orders_life_min_ns"]:
        return
    _, taker = present_fees(desk)
    _, reserve = entry_reserve(desk, order, taker)
    # Dearer by the same share as the price, rounded up.
    dearer = (reserve // order["price"] + 1) * (bid - order["price"])
    equity = sizing_equity(desk)
    exposure, _, _ = check_exposure(glob["exposure"] + dearer, equity, params["risk_exposure_max"])
    in_symbol, _, _ = check_symbol_value(
        symbol_value(desk, i) + dearer, equity, params["risk_symbol_max"]
    )
    if exposure != ALLOW or in_symbol != ALLOW or dearer > glob["cash"] - glob["cash_held"]:
        return
    if emit(desk, AMEND, slot, bid, 0, order["qty"], OK) == OK:
        refresh_capital(desk)


@kernel
def fall_back(desk, i):
    """The window of a resting entry ended unfilled: take instead, if that still pays for itself.

    Off by default (`orders.taker_fallback`; a then_take route always does). The edge of the taking
    route as last evaluated where the family may take; else that of the maker route less what taking
    costs more: the fee difference, the spread, residual slippage. Returns 1 if sent.
    """
    params = desk.params
    symbol = desk.symbols[i]
    position = symbol["position"]
    order = desk.orders[position["lapsed_slot"] - 1]
    position["lapsed_slot"] = 0
    then_take = route_entry_mode(order["route"]) == ENTRY_THEN_TAKE
    if params["orders_taker_fallback"] == 0 and not then_take:
        return 0
    if position["entry_slot"] > 0 or position["qty"] > 0:
        return 0
    if order["state"] != ORDER_STATE_EXPIRED or order["sym"] != i:
        return 0  # its slot is another order's by now
    maker, taker = present_fees(desk)
    bid = symbol["bid"]
    ask = symbol["ask"]
    spread_bps = ratio((ask - bid) * 20_000, ask + bid)
    # As last evaluated in full, with every gate; what follows is for families that do not take.
    net_bps = position["lapsed_take_bps"]
    if is_nan(net_bps) and not then_take:
        net_bps = (
            position["lapsed_bps"]
            - float(taker - maker) / 100.0
            - spread_bps
            - params["costs_slippage_residual_bps"]
        )
    if is_nan(net_bps) or net_bps <= net_threshold_bps(params, route_family(order["route"])):
        return 0
    price = entry_price(symbol, params, ENTRY_TAKE)
    refresh_capital(desk)
    verdict, _, _, _ = run_checks(desk, i, price, order["qty"])
    if verdict != ALLOW:
        return 0
    code, _ = send_entry(
        desk,
        i,
        ENTRY_TAKE,
        price,
        order["qty"],
        order["route"],
        order["horizon_ns"],
        net_bps,
        order["invalidation_bps"],
    )
    return 1 if code == OK else 0


@kernel
def plan_entry(core, i, decision, candidate):
    """Turn an approved candidate into an entry order; fills the plan's columns of its decision row.

    decision : DECISION_ROW record with `qty` set; `price`, `stop`, `target`, `command` are written
    candidate : CANDIDATE_ROW record: route, entry_mode, horizon_s, net_bps, invalidation_bps
    returns int64: OK, or the reason code of what refused (INPUT_MISSING, ORDER_IN_FLIGHT, choke)
    """
    desk = desk_of(core)
    params = desk.params
    symbol = desk.symbols[i]
    entry_mode = candidate["entry_mode"]
    price = entry_price(symbol, params, entry_mode)
    qty = decision["qty"]
    if price <= 0 or qty <= 0:
        return INPUT_MISSING
    horizon_ns = candidate["horizon_s"] * SECOND_NS
    invalidation_bps = candidate["invalidation_bps"]
    vol_bps = horizon_vol_bps(symbol, horizon_ns)
    maker, taker = present_fees(desk)
    entry_e6 = taker if entry_mode == ENTRY_TAKE else maker
    fees_bps = float(entry_e6 + taker) / 100.0
    decision["price"] = price
    decision["stop"] = stop_price(params, float(price), vol_bps, invalidation_bps)
    lean_bps = symbol["features"][_LEAN]
    decision["target"] = target_price(params, float(price), fees_bps, vol_bps, lean_bps)
    code, slot = send_entry(
        desk,
        i,
        entry_mode,
        price,
        qty,
        candidate["route"],
        horizon_ns,
        candidate["net_bps"],
        invalidation_bps,
    )
    if code == OK:
        decision["command"] = desk.orders[slot]["id"]
    return code


@stage
def manage_entries(core, i):
    """Keep, move or withdraw the resting entry of symbol `i`; returns entry orders sent (0 or 1).

    Call once per evaluation, after guard_position. Reads `position["edge_now_bps"]`, the net edge
    that the route behind the entry has now, where the pipeline has written it.
    """
    desk = desk_of(core)
    position = desk.symbols[i]["position"]
    if position["lapsed_slot"] > 0:
        return fall_back(desk, i)
    if position["entry_slot"] == 0:
        return 0
    slot = position["entry_slot"] - 1
    order = desk.orders[slot]
    mark_overdue(desk, slot)
    if order["state"] == ORDER_STATE_SUSPECT:
        ask_cancel(desk, slot, ORDER_IN_FLIGHT)
        return 0
    if not may_ask(order, desk.glob["now"]):
        return 0
    reason = withdraw_reason(desk, i, slot)
    if reason != OK:
        ask_cancel(desk, slot, reason)
    else:
        follow_bid(desk, i, slot)
    return 0
