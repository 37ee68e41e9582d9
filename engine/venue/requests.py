"""What does the venue do with a command? Checks in the venue's order, then add, amend or cancel.

A refused command changes nothing but the rate counter. Each answer is an order event; refusals
carry REJECT_* codes. The order of the checks: known id, rate, form, quantity and price, expiry,
status, room, minimums, a book to judge by, funds. Left out: batches, edit_order, conditional
close, iceberg, trailing stops with a limit or in percent, the dead man's switch.
"""

from __future__ import annotations

import numpy as np

from engine.book import book_best
from engine.commands import (
    ADD,
    AMEND,
    CANCEL,
    CANCEL_ALL,
    GTC,
    GTD,
    IOC,
    LIMIT,
    MARKET,
    STOP_LOSS,
    STOP_LOSS_LIMIT,
    TAKE_PROFIT,
    TAKE_PROFIT_LIMIT,
    TRAILING_STOP,
)
from engine.events import (
    AMEND_REJECT,
    CANCEL_REJECT,
    CANCEL_USER,
    LAST,
    ORDER_AMENDED,
    ORDER_REJECT,
    ORDER_TRAILED,
    REJECT_DUPLICATE,
    REJECT_EXPIRED,
    REJECT_FULL,
    REJECT_FUNDS,
    REJECT_MINIMUM,
    REJECT_NO_LIQUIDITY,
    REJECT_POST_ONLY,
    REJECT_PRICE,
    REJECT_QTY,
    REJECT_RATE,
    REJECT_STATUS,
    REJECT_UNKNOWN_ORDER,
    REJECT_UNSUPPORTED,
)
from engine.events import CANCEL_ALL as CANCELED_BY_ALL
from engine.instruments import (
    STATUS_CANCEL_ONLY,
    STATUS_LIMIT_ONLY,
    STATUS_ONLINE,
    STATUS_POST_ONLY,
    STATUS_REDUCE_ONLY,
)
from engine.jit import inner_kernel, kernel
from engine.units import notional_money
from engine.venue.account import hold_fits, hold_money, hold_rate, hold_set
from engine.venue.fees import fee_roll
from engine.venue.fills import book_trusted, rest, work, would_take
from engine.venue.limits import rate_amend_points, rate_cancel_points, rate_charge
from engine.venue.orders import (
    answer_ack,
    answer_reject,
    answer_repeat,
    emit,
    emit_order,
    order_bounds,
    order_cancel,
    order_find,
    order_list,
    order_room,
    order_take_row,
    order_unlist,
    trail_peak,
)
from engine.venue.state import (
    ARMED,
    ENTERING,
    FAULT_OUT_FULL,
    FAULT_SYMBOL,
    FAULT_VALUE,
    OPEN,
    VENUE_OK,
)


@kernel
def add_allowed(status, order_type, post_only, side):
    """Does this status of venue or pair let a new order of this kind in?

    reduce_only is about margin; on spot only sells reduce.
    """
    if status == STATUS_ONLINE:
        return True
    if status == STATUS_POST_ONLY:
        return post_only != 0
    if status == STATUS_LIMIT_ONLY:
        return has_limit(order_type)
    if status == STATUS_REDUCE_ONLY:
        return side < 0
    return False


@kernel
def cancel_allowed(status):
    """Does this status of venue or pair let a cancel through?"""
    return status <= STATUS_CANCEL_ONLY


@kernel
def has_limit(order_type):
    """Does the order have a limit price?"""
    return order_type == LIMIT or order_type == STOP_LOSS_LIMIT or order_type == TAKE_PROFIT_LIMIT


@kernel
def has_trigger(order_type):
    """Does the order wait for a trigger?"""
    return (
        order_type == STOP_LOSS
        or order_type == STOP_LOSS_LIMIT
        or order_type == TAKE_PROFIT
        or order_type == TAKE_PROFIT_LIMIT
        or order_type == TRAILING_STOP
    )


@kernel
def trail_start(symbol, side):
    """The price from which a trailing stop keeps its distance at entry: the last trade, or the best
    price that it would trade at where nothing traded yet; 0 if neither is known."""
    if symbol["last_price"] > 0:
        return symbol["last_price"]
    return book_best(symbol["book"], 1 if side > 0 else 0)


@kernel
def with_margin(params, side, price):
    """The price at which a market order holds funds: a margin above `price` for a buy."""
    if side > 0:
        return price + price * params["market_margin_e6"] // 1_000_000
    return price


@kernel
def form_reason(symbol, command, t):
    """Why the form of a new order cannot be accepted, 0 if it can."""
    order_type = np.int64(command["type"])
    tif = np.int64(command["tif"])
    side = np.int64(command["side"])
    post_only = np.int64(command["post_only"])
    instrument = symbol["instrument"]
    if side != 1 and side != -1:
        return REJECT_UNSUPPORTED
    if order_type != MARKET and not has_limit(order_type) and not has_trigger(order_type):
        return REJECT_UNSUPPORTED
    if tif != GTC and tif != GTD and tif != IOC:
        return REJECT_UNSUPPORTED
    if post_only != 0 and (order_type != LIMIT or tif == IOC):
        return REJECT_UNSUPPORTED
    if command["qty"] <= 0 or command["qty"] > instrument["qty_max"]:
        return REJECT_QTY
    if has_limit(order_type) or order_type == TRAILING_STOP:
        if command["price"] <= 0 or command["price"] > instrument["price_max"]:
            return REJECT_PRICE
    elif command["price"] != 0:
        return REJECT_PRICE
    if order_type == TRAILING_STOP:
        pass  # where the sender believes its trigger to be is nothing to the venue
    elif has_trigger(order_type):
        if command["trigger"] <= 0 or command["trigger"] > instrument["price_max"]:
            return REJECT_PRICE
    elif command["trigger"] != 0:
        return REJECT_PRICE
    if tif == GTD:
        if command["expire_ts"] <= t:
            return REJECT_EXPIRED
    elif command["expire_ts"] != 0:
        return REJECT_UNSUPPORTED
    return 0


@kernel
def add_order(glob, symbol, command, t):
    """A new order: refuse it, or accept it; `work` lets it enter the book, or its trigger fire."""
    params = glob["params"]
    instrument = symbol["instrument"]
    order_type = np.int64(command["type"])
    side = np.int64(command["side"])
    post_only = np.int64(command["post_only"])
    qty = command["qty"]

    if command["id"] <= 0:  # no id to remember an answer under
        emit(
            glob, t, ORDER_REJECT, symbol["sym"], side, command["price"], qty,
            command["id"], REJECT_UNSUPPORTED, LAST,
        )  # fmt: skip
        return
    known = answer_repeat(glob, t, command["id"])
    if known == 2:
        emit(
            glob, t, ORDER_REJECT, symbol["sym"], side, command["price"], qty,
            command["id"], REJECT_DUPLICATE, LAST,
        )  # fmt: skip
    refused = rate_charge(symbol, params, t, 1, 0)
    if known != 0:
        return
    if refused:
        answer_reject(glob, t, command, REJECT_RATE)
        return
    reason = form_reason(symbol, command, t)
    if reason != 0:
        answer_reject(glob, t, command, reason)
        return
    if not add_allowed(glob["status"], order_type, post_only, side) or not add_allowed(
        symbol["status"], order_type, post_only, side
    ):
        answer_reject(glob, t, command, REJECT_STATUS)
        return
    if not order_room(glob, symbol):
        answer_reject(glob, t, command, REJECT_FULL)
        return

    # The price to judge by: the limit, the trigger, or the best price on the other side.
    armed = has_trigger(order_type)
    trigger = command["trigger"]
    if order_type == TRAILING_STOP:
        start = trail_start(symbol, side)
        if start == 0:
            answer_reject(glob, t, command, REJECT_NO_LIQUIDITY)
            return
        trigger = start + side * command["price"]
        if trigger < 1 or trigger > instrument["price_max"]:
            answer_reject(glob, t, command, REJECT_PRICE)
            return
    if has_limit(order_type):
        price = command["price"]
        hold_price = price
    elif armed:
        price = trigger
        hold_price = with_margin(params, side, price)
    else:
        price = book_best(symbol["book"], 1 if side > 0 else 0)
        hold_price = with_margin(params, side, price)
    if not armed and (not book_trusted(symbol) or price == 0):
        answer_reject(glob, t, command, REJECT_NO_LIQUIDITY)
        return
    if not hold_fits(symbol, hold_price, qty):
        answer_reject(glob, t, command, REJECT_QTY)
        return
    cost = notional_money(price, qty, instrument["notional_num"], instrument["notional_den"])
    if qty < instrument["qty_min"] or cost < instrument["cost_min"]:
        answer_reject(glob, t, command, REJECT_MINIMUM)
        return
    if armed and params["stop_at_entry"] == 0 and order_type != TRAILING_STOP:
        if would_fire(symbol, side, order_type, command["trigger"]):
            answer_reject(glob, t, command, REJECT_PRICE)
            return
    fee_roll(glob, params, t)
    if side > 0:
        hold = hold_money(instrument, hold_price, qty, hold_rate(glob, post_only))
        free = glob["cash"] - glob["cash_held"]
    else:
        hold = qty
        free = symbol["base"] - symbol["base_held"]
    if hold > free:
        answer_reject(glob, t, command, REJECT_FUNDS)
        return

    slot = order_take_row(glob)
    glob["n_keys"] += 1
    order = glob["orders"][slot]
    order["id"] = command["id"]
    order["key"] = glob["n_keys"]
    order["sym"] = symbol["sym"]
    order["side"] = side
    order["type"] = order_type
    order["tif"] = np.int64(command["tif"])
    order["post_only"] = post_only
    order["price"] = command["price"]
    order["trigger"] = trigger
    order["qty"] = qty
    order["filled"] = 0
    order["expire_ts"] = command["expire_ts"]
    order["changed_ts"] = t
    order["hold_price"] = hold_price
    order["hold"] = 0
    order["ahead"] = 0
    order["traded"] = 0
    order["unpaired"] = 0
    order["unpaired_ts"] = 0
    order["arrival"] = 0
    order["ahead_real"] = 0
    order["state"] = ARMED if armed else ENTERING
    hold_set(glob, symbol, order, hold)
    if order["expire_ts"] > 0:
        glob["next_expire"] = min(glob["next_expire"], order["expire_ts"])
    order["asked"] = 0
    order_list(glob, symbol, slot)
    answer_ack(glob, t, slot)
    if order_type == TRAILING_STOP:
        emit_order(glob, t, ORDER_TRAILED, order, trigger, 0, order["price"], LAST)


@kernel
def would_fire(symbol, side, order_type, trigger):
    """Does the condition of a stop that is not yet an order hold already?"""
    last_price = symbol["last_price"]
    if last_price == 0:
        return False
    if (order_type == STOP_LOSS or order_type == STOP_LOSS_LIMIT) == (side > 0):
        return last_price >= trigger
    return last_price <= trigger


@kernel
def amend_reason(glob, symbol, order, command):
    """Why an amend of a live order cannot be accepted, 0 if it can. Funds are asked later."""
    instrument = symbol["instrument"]
    order_type = order["type"]
    post_only = np.int64(command["post_only"])
    price = command["price"]
    trigger = command["trigger"]
    qty = command["qty"]
    if not add_allowed(glob["status"], order_type, post_only, order["side"]):
        return REJECT_STATUS
    if not add_allowed(symbol["status"], order_type, post_only, order["side"]):
        return REJECT_STATUS
    if qty < 0 or qty > instrument["qty_max"]:
        return REJECT_QTY
    if price < 0 or price > instrument["price_max"]:
        return REJECT_PRICE
    if trigger < 0 or trigger > instrument["price_max"]:
        return REJECT_PRICE
    priced = has_limit(order_type) or order_type == TRAILING_STOP
    if (price != 0 and not priced) or (trigger != 0 and order["state"] != ARMED):
        return REJECT_UNSUPPORTED
    if post_only != 0 and order_type != LIMIT:
        return REJECT_UNSUPPORTED
    moves = order["state"] == OPEN and price != 0 and price != order["price"]
    if moves and not book_trusted(symbol):
        return REJECT_NO_LIQUIDITY
    if moves and post_only != 0 and would_take(glob, symbol, order["side"], price):
        return REJECT_POST_ONLY
    return 0


@kernel
def amend_order(glob, symbol, slot, command, t):
    """Change price, trigger or total quantity of a live order in place; 0 keeps a field.

    An order whose price moves enters the book anew; `work` lets it. A trailing stop keeps its peak:
    with another distance its trigger moves, and it fires if the last trade is at or beyond that.
    """
    params = glob["params"]
    instrument = symbol["instrument"]
    order = glob["orders"][slot]
    reason = amend_reason(glob, symbol, order, command)
    if reason != 0:
        emit_order(glob, t, AMEND_REJECT, order, 0, 0, reason, LAST)
        return
    qty = command["qty"] if command["qty"] != 0 else order["qty"]
    price = command["price"] if command["price"] != 0 else order["price"]
    trigger = command["trigger"] if command["trigger"] != 0 else order["trigger"]
    trails = order["type"] == TRAILING_STOP
    if trails:
        trigger = trail_peak(order) + order["side"] * price
        if trigger < 1 or trigger > instrument["price_max"]:
            emit_order(glob, t, AMEND_REJECT, order, 0, 0, REJECT_PRICE, LAST)
            return
    if qty <= order["filled"]:
        order_cancel(glob, t, symbol, slot, CANCEL_USER)
        return
    moves = order["state"] == OPEN and price != order["price"]
    hold_price = order["hold_price"]
    if has_limit(order["type"]):
        hold_price = price
    elif order["state"] == ARMED:
        hold_price = with_margin(params, order["side"], trigger)
    if not hold_fits(symbol, hold_price, qty):
        emit_order(glob, t, AMEND_REJECT, order, 0, 0, REJECT_QTY, LAST)
        return
    if qty != order["qty"]:
        judged = hold_price
        if order["state"] == ARMED and not has_limit(order["type"]):
            judged = trigger
        cost = notional_money(judged, qty, instrument["notional_num"], instrument["notional_den"])
        if qty - order["filled"] < instrument["qty_min"] or cost < instrument["cost_min"]:
            emit_order(glob, t, AMEND_REJECT, order, 0, 0, REJECT_MINIMUM, LAST)
            return
    # Kraken does not carry post-only over: an amend that moves the price says it again or may take.
    post_only = np.int64(command["post_only"]) if moves else order["post_only"]
    fee_roll(glob, params, t)
    hold = qty - order["filled"]
    if order["side"] > 0:
        hold = hold_money(instrument, hold_price, hold, hold_rate(glob, post_only))
    if not hold_set(glob, symbol, order, hold):
        emit_order(glob, t, AMEND_REJECT, order, 0, 0, REJECT_FUNDS, LAST)
        return
    raised = qty > order["qty"]
    order["qty"] = qty
    order["price"] = price
    order["trigger"] = trigger
    order["hold_price"] = hold_price
    order["post_only"] = post_only
    order["changed_ts"] = t
    shown = trigger if order["state"] == ARMED and not trails else price
    emit_order(glob, t, ORDER_AMENDED, order, shown, qty, 0, LAST)
    if trails:
        emit_order(glob, t, ORDER_TRAILED, order, trigger, 0, price, LAST)
    if moves:
        order_unlist(glob, symbol, slot)
        order["state"] = ENTERING
        order_list(glob, symbol, slot)
    elif order["state"] == OPEN:
        if raised and params["amend_up_keeps"] == 0:
            order_unlist(glob, symbol, slot)
            order_list(glob, symbol, slot)
            rest(glob, symbol, slot)
    else:
        order_bounds(glob, symbol)


@kernel
def cancel_all(glob, symbol, t):
    """Cancel every order of one symbol. Costs points like single cancels, is never refused."""
    params = glob["params"]
    while symbol["n_live"] > 0:
        slot = symbol["slots"][0]
        order = glob["orders"][slot]
        rate_charge(symbol, params, t, 0, rate_cancel_points(t - order["changed_ts"]))
        order_cancel(glob, t, symbol, slot, CANCELED_BY_ALL)


@kernel
def refuse(glob, t, kind, command, reason):
    """Refuse an amend or a cancel."""
    sym = np.int64(command["sym"])
    emit(glob, t, kind, sym, np.int64(command["side"]), 0, 0, command["id"], reason, LAST)


@kernel
def change_order(glob, symbol, slot, command, t):
    """Amend or cancel a live order, if the rate counter lets it."""
    params = glob["params"]
    order = glob["orders"][slot]
    amend = command["kind"] == AMEND
    age = t - order["changed_ts"]
    points = rate_amend_points(age) if amend else rate_cancel_points(age)
    if rate_charge(symbol, params, t, 1 if amend else 0, points):
        refusal = AMEND_REJECT if amend else CANCEL_REJECT
        emit_order(glob, t, refusal, order, 0, 0, REJECT_RATE, LAST)
    elif amend:
        amend_order(glob, symbol, slot, command, t)
        work(glob, t, symbol, 0, 0, 0)
    elif not cancel_allowed(glob["status"]) or not cancel_allowed(symbol["status"]):
        emit_order(glob, t, CANCEL_REJECT, order, 0, 0, REJECT_STATUS, LAST)
    else:
        order_cancel(glob, t, symbol, slot, CANCEL_USER)


@kernel
def rare_command(glob, symbols, command, t):
    """A command for no live order of ours: cancel all, an unknown id; returns a fault code."""
    kind = np.int64(command["kind"])
    sym = np.int64(command["sym"])
    if kind == CANCEL_ALL:
        if sym < -1 or sym >= len(symbols):
            return FAULT_SYMBOL
        if not cancel_allowed(glob["status"]):
            refuse(glob, t, CANCEL_REJECT, command, REJECT_STATUS)
            return VENUE_OK
        for i in range(len(symbols)):
            symbol = symbols[i]
            if (sym == -1 or sym == i) and cancel_allowed(symbol["status"]):
                cancel_all(glob, symbol, t)
        return VENUE_OK
    if kind == AMEND or kind == CANCEL:
        if 0 <= sym < len(symbols):
            rate_charge(symbols[sym], glob["params"], t, 1 if kind == AMEND else 0, 0)
        refusal = AMEND_REJECT if kind == AMEND else CANCEL_REJECT
        refuse(glob, t, refusal, command, REJECT_UNKNOWN_ORDER)
        return VENUE_OK
    return FAULT_SYMBOL if kind == ADD else FAULT_VALUE


@inner_kernel
def venue_command(venue, command, t):
    """A command arrives at the matching engine at time `t`; the answers are appended to `out`.

    venue : Venue; command : one COMMAND record
    t : int64, ns, venue time, not before anything the venue has seen
    returns VENUE_OK, or FAULT_OUT_FULL, FAULT_SYMBOL, FAULT_VALUE with nothing done

    CANCEL_ALL with sym -1 is for the whole account. CANCEL and AMEND find the order by its client
    id alone. `out` has rows to spare for any one call, see OUT_PER_CALL.
    """
    glob = venue.glob[0]
    if glob["n_out"] > glob["out_room"]:
        return FAULT_OUT_FULL
    kind = np.int64(command["kind"])
    sym = np.int64(command["sym"])
    if kind == ADD and 0 <= sym < len(venue.symbols):
        add_order(glob, venue.symbols[sym], command, t)
        work(glob, t, venue.symbols[sym], 0, 0, 0)
        return VENUE_OK
    if kind == AMEND or kind == CANCEL:
        slot = order_find(glob, command["id"])
        if slot >= 0:
            symbol = venue.symbols[glob["orders"][slot]["sym"]]
            change_order(glob, symbol, slot, command, t)
            return VENUE_OK
    return rare_command(glob, venue.symbols, command, t)
