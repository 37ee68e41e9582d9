"""Which orders of ours does the venue hold, under which id, and what did it answer?

The order table is a pool of rows; each symbol lists its own rows by time priority and keeps the
bounds of its resting prices and triggers, so that a market event that cannot concern us is told
by two comparisons. The first answer to each client id is remembered, for idempotency: an id that
was used is never accepted again. Left out: who fills, who holds what.
"""

from __future__ import annotations

import numpy as np

from engine.commands import STOP_LOSS, STOP_LOSS_LIMIT, TRAILING_STOP
from engine.events import LAST, ORDER_ACK, ORDER_CANCELED, ORDER_REJECT, ORDER_TRAILED
from engine.jit import kernel
from engine.venue.state import (
    ANSWERS,
    ARMED,
    FAR,
    FREE,
    N_ORDERS,
    NEVER,
    OPEN,
    WAITING,
)


@kernel
def emit(glob, t, kind, sym, side, price, qty, order_id, aux, flags):
    """Append one answer, stamped with venue time `t`. The entry points made sure of the room."""
    n_out = glob["n_out"]
    row = glob["out"][n_out]
    row["ts"] = t
    row["ts_venue"] = t
    row["seq"] = 0
    row["price"] = price
    row["qty"] = qty
    row["id"] = order_id
    row["aux"] = aux
    row["sym"] = sym
    row["kind"] = kind
    row["side"] = side
    row["flags"] = flags
    glob["n_out"] = n_out + 1


@kernel
def emit_order(glob, t, kind, order, price, qty, aux, flags):
    """Append one answer about an order."""
    emit(glob, t, kind, order["sym"], order["side"], price, qty, order["id"], aux, flags)


@kernel
def answer_repeat(glob, t, order_id):
    """Was this client id used before? Then give its first answer again, or REJECT_DUPLICATE.

    An id is as good as used when one larger by a multiple of ANSWERS was used: then its own first
    answer is forgotten, and refusing is the side on which nothing is done twice.
    returns 0 for a new id, 1 if the first answer is known, 2 if it is forgotten
    """
    answer = glob["answers"][order_id & (ANSWERS - 1)]
    if answer["id"] < order_id:
        return 0
    if answer["id"] > order_id:
        return 2
    emit(
        glob, t, answer["kind"], answer["sym"], answer["side"], answer["price"], answer["qty"],
        order_id, answer["aux"], LAST,
    )  # fmt: skip
    return 1


@kernel
def answer_first(glob, t, kind, slot, sym, side, price, qty, order_id, aux):
    """Give the first answer to a client id and remember it."""
    answer = glob["answers"][order_id & (ANSWERS - 1)]
    answer["id"] = order_id
    answer["slot"] = slot
    answer["kind"] = kind
    answer["sym"] = sym
    answer["side"] = side
    answer["price"] = price
    answer["qty"] = qty
    answer["aux"] = aux
    emit(glob, t, kind, sym, side, price, qty, order_id, aux, LAST)


@kernel
def answer_reject(glob, t, command, reason):
    """Refuse a new order for good."""
    answer_first(
        glob, t, ORDER_REJECT, -1, np.int64(command["sym"]), np.int64(command["side"]),
        command["price"], command["qty"], command["id"], reason,
    )  # fmt: skip


@kernel
def answer_ack(glob, t, slot):
    """Say that a new order is open."""
    order = glob["orders"][slot]
    answer_first(
        glob, t, ORDER_ACK, slot, order["sym"], order["side"], order["price"],
        order["qty"], order["id"], order["key"],
    )  # fmt: skip


@kernel
def order_find(glob, order_id):
    """Row of the live order with this client id, -1 if there is none."""
    if order_id <= 0:
        return -1
    answer = glob["answers"][order_id & (ANSWERS - 1)]
    if answer["id"] == order_id:
        return answer["slot"]
    # A newer id took its place; the order may be alive all the same.
    for slot in range(glob["order_high"]):
        order = glob["orders"][slot]
        if order["state"] != FREE and order["id"] == order_id:
            return slot
    return -1


@kernel
def order_room(glob, symbol):
    """Is there room for one more order, of this symbol?"""
    if symbol["n_live"] >= glob["params"]["open_orders_max"]:
        return False
    return glob["order_free"] >= 0 or glob["order_high"] < N_ORDERS


@kernel
def order_take_row(glob):
    """A free row of the order table; the caller asked `order_room`."""
    slot = glob["order_free"]
    if slot >= 0:
        glob["order_free"] = glob["orders"][slot]["next_free"]
    else:
        slot = glob["order_high"]
        glob["order_high"] = slot + 1
    glob["n_orders"] += 1
    return slot


@kernel
def order_bounds(glob, symbol):
    """Recompute what tells a market event that it cannot concern our orders."""
    low_buy = FAR
    low_sell = FAR
    high_buy = 0
    high_sell = 0
    rise = FAR
    fall = 0
    n_waiting = 0
    for i in range(symbol["n_live"]):
        order = glob["orders"][symbol["slots"][i]]
        state = order["state"]
        if state == OPEN:
            price = order["price"]
            if order["side"] > 0:
                low_buy = min(low_buy, price)
                high_buy = max(high_buy, price)
            else:
                low_sell = min(low_sell, price)
                high_sell = max(high_sell, price)
        elif state == ARMED:
            if fires_on_rise(order["side"], order["type"]):
                rise = min(rise, order["trigger"])
            else:
                fall = max(fall, order["trigger"])
            if order["type"] == TRAILING_STOP:
                # A trade beyond the peak concerns it as well: it moves.
                if order["side"] < 0:
                    rise = min(rise, trail_peak(order) + 1)
                else:
                    fall = max(fall, trail_peak(order) - 1)
        elif state == WAITING:
            n_waiting += 1
    symbol["low"][0] = low_buy
    symbol["low"][1] = low_sell
    symbol["high"][0] = high_buy
    symbol["high"][1] = high_sell
    symbol["rise"] = rise
    symbol["fall"] = fall
    symbol["n_waiting"] = n_waiting


@kernel
def fires_on_rise(side, order_type):
    """Does the order fire when the last trade rises to its trigger (else when it falls to it)?

    A stop-loss buys into a rise and sells into a fall, a take-profit the other way round.
    """
    if order_type == STOP_LOSS or order_type == STOP_LOSS_LIMIT or order_type == TRAILING_STOP:
        return side > 0
    return side < 0


@kernel
def trail_peak(order):
    """The best trade since entry that a trailing stop has seen: its trigger, its distance further."""
    return order["trigger"] - order["side"] * order["price"]


@kernel
def trail_order(glob, t, order, price):
    """A trade at `price`: a trailing stop whose best trade it is goes along, and says so."""
    if (trail_peak(order) - price) * order["side"] <= 0:
        return
    order["trigger"] = price + order["side"] * order["price"]
    emit_order(glob, t, ORDER_TRAILED, order, order["trigger"], 0, order["price"], LAST)


@kernel
def trail_orders(glob, t, symbol, price):
    """A trade at `price` moves the trailing stops of one symbol, oldest first."""
    for i in range(symbol["n_live"]):
        order = glob["orders"][symbol["slots"][i]]
        if order["state"] == ARMED and order["type"] == TRAILING_STOP:
            trail_order(glob, t, order, price)
    order_bounds(glob, symbol)


@kernel
def order_list(glob, symbol, slot):
    """Put an order at the end of its symbol's list: behind all others in time."""
    n_live = symbol["n_live"]
    symbol["slots"][n_live] = slot
    symbol["n_live"] = n_live + 1
    order_bounds(glob, symbol)


@kernel
def order_unlist(glob, symbol, slot):
    """Take an order out of its symbol's list; the order of the rest stays."""
    slots = symbol["slots"]
    n_live = symbol["n_live"]
    i = 0
    while slots[i] != slot:
        i += 1
    for k in range(i + 1, n_live):
        slots[k - 1] = slots[k]
    symbol["n_live"] = n_live - 1
    order_bounds(glob, symbol)


@kernel
def order_expiry(glob):
    """Recompute the earliest expiry of all orders."""
    earliest = NEVER
    for slot in range(glob["order_high"]):
        order = glob["orders"][slot]
        if order["state"] != FREE and order["expire_ts"] > 0:
            earliest = min(earliest, order["expire_ts"])
    glob["next_expire"] = earliest


@kernel
def order_drop(glob, symbol, slot):
    """End an order: release what it still holds, forget it. Says nothing to the customer."""
    order = glob["orders"][slot]
    if order["side"] > 0:
        glob["cash_held"] -= order["hold"]
    else:
        symbol["base_held"] -= order["hold"]
    order["hold"] = 0
    order_unlist(glob, symbol, slot)
    order["state"] = FREE
    answer = glob["answers"][order["id"] & (ANSWERS - 1)]
    if answer["id"] == order["id"]:
        answer["slot"] = -1
    order["next_free"] = glob["order_free"]
    glob["order_free"] = slot
    glob["n_orders"] -= 1
    if order["expire_ts"] > 0 and order["expire_ts"] <= glob["next_expire"]:
        order_expiry(glob)


@kernel
def order_cancel(glob, t, symbol, slot, reason):
    """End an order that is not filled and say why."""
    order = glob["orders"][slot]
    emit_order(glob, t, ORDER_CANCELED, order, 0, order["qty"] - order["filled"], reason, LAST)
    order_drop(glob, symbol, slot)
