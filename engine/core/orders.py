"""Where is each of our orders in its life? The order table, and what an event does to it.

A transition outside the table of orderstates.py marks the order SUSPECT: the venue's answer is unknown and
nothing may be assumed until evidence settles it. Fills are applied once per execution id; a fill
and its fee are one message and are booked together; completion is what ORDER_FILLED says, never
inferred from a fill. A terminal state frees the slot, but the order stays readable in it until
another takes its place, so that a late fill still finds its order.

Left out: whether a command may leave (safety.py), what to do next (planner.py, protection.py).
docs/order-life.md draws the table.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.book import book_best
from engine.commands import (
    IOC,
    MARKET,
    ROLE_ENTRY,
    ROLE_PROTECTION,
    STOP_LOSS,
    STOP_LOSS_LIMIT,
    TRAILING_STOP,
)
from engine.core.capital import equity_row, refresh_capital
from engine.core.costs import walk_book
from engine.core.desk import desk_of
from engine.core.faults import FAULT_ORDER
from engine.core.modes import take_mode
from engine.core.orderstates import (
    ALLOWED,
    ORDER_STATE_AMEND_PENDING,
    ORDER_STATE_CANCEL_PENDING,
    ORDER_STATE_CANCELLED,
    ORDER_STATE_EXPIRED,
    ORDER_STATE_PLANNED,
    ORDER_STATE_REJECTED,
    ORDER_STATE_SUSPECT,
    is_settled,
    is_terminal,
    is_waiting,
    next_state,
)
from engine.core.positions import (
    POSITION_CLOSING,
    POSITION_OPEN,
    POSITION_OPENING,
    POSITION_REDUCING,
    apply_fill,
    is_dust,
    set_position_state,
    sweep_dust,
)
from engine.core.records import T_ORDERS
from engine.core.recoveries import RECOVERY_HISTORY, RECOVERY_OPEN_AGAIN, recovery_row
from engine.core.rows import claim_row
from engine.core.trailed import judge_distance, note_trailed, take_distance, trailing_refused
from engine.events import (
    AMEND_REJECT,
    CANCEL_REJECT,
    MAKER,
    MODE_EXIT_ONLY,
    MODE_HALT,
    ORDER_ACK,
    ORDER_AMENDED,
    ORDER_CANCELED,
    ORDER_FEE,
    ORDER_FILL,
    ORDER_REJECT,
    ORDER_SENT,
    ORDER_TRAILED,
    ORDER_TRIGGERED,
    REJECT_ABSENT,
    REJECT_DUPLICATE,
    REJECT_MINIMUM,
    REJECT_NOT_SENT,
    REJECT_SHADOW,
    SNAPSHOT,
    WHO_ENGINE,
    WHY_INVARIANT,
    WHY_OVERFILL,
)
from engine.jit import kernel
from engine.numerics import NAN
from engine.stage import stage

N_ORDERS: Final = 64  # slots of the order table
N_ENTRY_SLOTS: Final = 48  # entries use these only: the rest is kept for protection and exits
N_EXECUTIONS: Final = 64  # execution ids remembered per order; a venue resends the last 50

ORDER: Final = np.dtype(
    [
        ("id", "<i8"),  # client order id, > 0; 0: never used
        ("state", "<i8"),  # ORDER_STATE_*; a terminal state frees the slot for reuse
        ("sym", "<i8"),
        ("role", "<i8"),  # ROLE_* of commands.py
        ("side", "<i8"),  # +1 buy, -1 sell
        ("type", "<i8"),
        ("tif", "<i8"),
        ("post_only", "<i8"),
        ("route", "<i8"),
        ("generation", "<i8"),  # evaluation that decided it
        ("price", "<i8"),  # ticks as last confirmed by the venue (as sent until then)
        (
            "trigger",
            "<i8",
        ),  # of a trailing stop: as worked out and told, `price` off its best trade
        ("qty", "<i8"),  # lots, total
        ("filled", "<i8"),
        ("expire_ts", "<i8"),
        ("reason", "<i8"),  # why the newest command was sent, or why the venue refused or ended it
        ("venue_key", "<i8"),
        ("triggered", "<i8"),  # 1: its stop fired
        ("trailed", "<i8"),  # 1: the venue has said where its trailing stop stands
        ("amend_price", "<i8"),  # what the amend in flight asks for, 0 keeps
        ("amend_trigger", "<i8"),
        ("amend_qty", "<i8"),
        ("n_moves", "<i8"),  # amends sent
        ("n_refused", "<i8"),  # amends and cancels refused since the last success
        ("n_duplicates", "<i8"),  # fills and fees that came again and were dropped
        ("ts_decided", "<i8"),
        ("ts_sent", "<i8"),
        ("ts_acked", "<i8"),
        ("ts_filled", "<i8"),
        ("ts_touched", "<i8"),  # created or last amended: the age that the venue charges by
        ("ts_command", "<i8"),  # newest command: replies are overdue from here
        ("ts_done", "<i8"),  # entered its terminal state; 0: the order works
        ("expected_bps", "<f8"),  # of the mandate of an entry, carried to the position
        ("invalidation_bps", "<f8"),
        ("horizon_ns", "<i8"),
        ("walk_price", "<f8"),  # ticks that the book promised a taking order on average, 0 none
        ("fill_exec", "<i8"),  # the fill whose fee has not arrived yet
        ("fill_price", "<i8"),
        ("fill_qty", "<i8"),  # 0: no fill is waiting
        ("fill_maker", "<i8"),
        ("fill_ts_venue", "<i8"),
        ("n_executions", "<i8"),
        ("executions", "<i8", (N_EXECUTIONS,)),  # ring of execution ids already applied
    ]
)

RETRY_NS: Final = 1_000_000_000  # pause after a refusal before the same thing is tried again
N_LIMIT_TRIES: Final = 3  # marketable exits as bounded limits, before one goes at market


# --- reading the table ---------------------------------------------------------------------------


@kernel
def may_ask(order, now):
    """May an amend or cancel be asked for now? Not while one is in flight or was just refused."""
    if not is_settled(order["state"]) or order["triggered"] != 0:
        return False
    return order["n_refused"] == 0 or now - order["ts_command"] >= RETRY_NS


@kernel
def find_order(orders, order_id):
    """Slot of the order with this client id, or -1."""
    if order_id <= 0:
        return -1
    for k in range(len(orders)):
        if orders[k]["id"] == order_id:
            return k
    return -1


@kernel
def is_working(order):
    """Is this slot in use by an order that has not ended?"""
    return order["id"] > 0 and order["ts_done"] == 0


@kernel
def count_working(desk):
    """Orders that have not ended: (all, entries)."""
    n_all = 0
    n_entries = 0
    for k in range(len(desk.orders)):
        order = desk.orders[k]
        if is_working(order):
            n_all += 1
            if order["role"] == ROLE_ENTRY:
                n_entries += 1
    return n_all, n_entries


@kernel
def has_suspect(desk, i):
    """Is an order of symbol `i` SUSPECT (so that nothing may be added to it)?"""
    for k in range(len(desk.orders)):
        order = desk.orders[k]
        if order["state"] == ORDER_STATE_SUSPECT and order["sym"] == i:
            return True
    return False


@kernel
def free_slot(orders, role):
    """A slot for a new order of this role, or -1: unused ones first, then the longest ended.

    Entries use the first N_ENTRY_SLOTS only; the others prefer the rest.
    """
    best = -1
    best_ts = 0
    n = N_ENTRY_SLOTS if role == ROLE_ENTRY else len(orders)
    for step in range(n):
        k = step if role == ROLE_ENTRY else n - 1 - step
        order = orders[k]
        if order["id"] == 0:
            return k
        if order["ts_done"] > 0 and (best < 0 or order["ts_done"] < best_ts):
            best = k
            best_ts = order["ts_done"]
    return best


# --- writing the table ---------------------------------------------------------------------------


@kernel
def order_row(desk, slot, state_before, cause, reason):
    """Append the present state of the order in `slot` to the table `orders`."""
    glob = desk.glob
    ring = desk.rings["orders"]
    n = claim_row(glob, T_ORDERS, len(ring))
    if n < 0:
        return
    row = ring[n]
    order = desk.orders[slot]
    row["ts"] = glob["now"]
    row["id"] = order["id"]
    row["sym"] = order["sym"]
    row["generation"] = order["generation"]
    row["route"] = order["route"]
    row["role"] = order["role"]
    row["side"] = order["side"]
    row["type"] = order["type"]
    row["price"] = order["price"]
    row["trigger"] = order["trigger"]
    row["qty"] = order["qty"]
    row["filled"] = order["filled"]
    row["state"] = order["state"]
    row["state_before"] = state_before
    row["cause"] = cause
    row["reason"] = reason
    row["ts_decided"] = order["ts_decided"]
    row["ts_sent"] = order["ts_sent"]
    row["ts_acked"] = order["ts_acked"]
    row["ts_filled"] = order["ts_filled"]


@kernel
def promised_price(book, side, qty):
    """Average price, float64 ticks, at which the book we see fills `qty` lots; 0 if it does not."""
    i_side = 1 if side > 0 else 0
    best = book_best(book, i_side)
    if best == 0:
        return 0.0
    paid, _, left = walk_book(book, i_side, float(qty))
    if left > 0.0:
        return 0.0
    beyond = paid / float(qty)
    return float(best) + (beyond if side > 0 else -beyond)


@kernel
def new_order(desk, i, role, side, type_, tif, post_only, price, trigger, qty, expire_ts, route):
    """Put a PLANNED order into the table; `safety.emit` sends it or refuses it in the same step.

    price, trigger : int64, ticks, 0 none; qty : int64, lots; expire_ts : int64, ns, 0 none
    returns int64: its slot, or -1 when the table has no room for this role
    """
    slot = free_slot(desk.orders, role)
    if slot < 0:
        return -1
    glob = desk.glob
    order = desk.orders[slot]
    glob["last_order_id"] += 1
    order["id"] = glob["last_order_id"]
    order["state"] = ORDER_STATE_PLANNED
    order["sym"] = i
    order["role"] = role
    order["side"] = side
    order["type"] = type_
    order["tif"] = tif
    order["post_only"] = post_only
    order["route"] = route
    order["generation"] = glob["generation"]
    order["price"] = price
    order["trigger"] = trigger
    order["qty"] = qty
    order["filled"] = 0
    order["expire_ts"] = expire_ts
    order["reason"] = 0
    order["venue_key"] = 0
    order["triggered"] = 0
    order["trailed"] = 0
    order["amend_price"] = 0
    order["amend_trigger"] = 0
    order["amend_qty"] = 0
    order["n_moves"] = 0
    order["n_refused"] = 0
    order["n_duplicates"] = 0
    order["ts_decided"] = glob["now"]
    order["ts_sent"] = 0
    order["ts_acked"] = 0
    order["ts_filled"] = 0
    order["ts_touched"] = glob["now"]
    order["ts_command"] = glob["now"]
    order["ts_done"] = 0
    order["expected_bps"] = 0.0
    order["invalidation_bps"] = 0.0
    order["horizon_ns"] = 0
    order["walk_price"] = 0.0
    if tif == IOC:
        order["walk_price"] = promised_price(desk.symbols[i]["book"], side, qty)
    order["fill_exec"] = 0
    order["fill_price"] = 0
    order["fill_qty"] = 0
    order["fill_maker"] = 0
    order["fill_ts_venue"] = 0
    order["n_executions"] = 0
    return slot


@stage
def set_order_state(desk, slot, state, cause, reason):
    """Move an order along the table, or to SUSPECT when the table does not allow it; one row.

    Without a move the row alone is written. A terminal order never moves: what comes late (a fill)
    corrects the books. Ending an order releases its place in the position's record.
    """
    order = desk.orders[slot]
    before = order["state"]
    target = state
    if is_terminal(before):
        target = before
    elif state != before and ALLOWED[before, state] == 0:
        target = ORDER_STATE_SUSPECT
    order["state"] = target
    # An amend in doubt may have been carried out; a fill says nothing about that.
    doubtful = target == ORDER_STATE_SUSPECT or cause == ORDER_FILL
    if target != ORDER_STATE_AMEND_PENDING and not doubtful:
        order["amend_price"] = 0
        order["amend_trigger"] = 0
        order["amend_qty"] = 0
    if is_terminal(target) and order["ts_done"] == 0:
        order["ts_done"] = desk.glob["now"]
    order_row(desk, slot, before, cause, reason)
    if is_terminal(target):
        end_order(desk, slot, before)


@kernel
def never_arrived(order):
    """Was it refused by our own side, so that the venue has said nothing about it?"""
    reason = order["reason"]
    return order["state"] == ORDER_STATE_REJECTED and (
        reason == REJECT_NOT_SENT or reason == REJECT_SHADOW or reason == REJECT_ABSENT
    )


@kernel
def refuse_exit(desk, i, type_, reason):
    """The venue refused an exit: wait before the next; too small for a limit means market next.

    What is too small even for a market order can only be dust.
    """
    position = desk.symbols[i]["position"]
    position["retry_ts"] = desk.glob["now"] + RETRY_NS
    if reason == REJECT_MINIMUM:
        position["n_exit_tries"] += N_LIMIT_TRIES
        if type_ == MARKET and position["stop_slot"] == 0 and position["entry_slot"] == 0:
            if position["qty"] > 0:
                sweep_dust(desk, i)


@kernel
def end_order(desk, slot, state_before):
    """An order has ended: release its place in the position, judge what is left of it."""
    order = desk.orders[slot]
    i = order["sym"]
    symbol = desk.symbols[i]
    position = symbol["position"]
    state = order["state"]
    if order["role"] == ROLE_ENTRY:
        if position["entry_slot"] == slot + 1:
            position["entry_slot"] = 0
            if state == ORDER_STATE_EXPIRED and order["filled"] == 0:
                position["lapsed_slot"] = slot + 1
                known = position["edge_now_ts"] > 0
                position["lapsed_bps"] = position["edge_now_bps"] if known else NAN
                position["lapsed_take_bps"] = position["edge_take_bps"] if known else NAN
            position["edge_now_ts"] = 0
        if position["entry_slot"] == 0 and position["state"] == POSITION_OPENING:
            set_position_state(desk, i, POSITION_OPEN)
    elif order["role"] == ROLE_PROTECTION:
        if position["stop_slot"] == slot + 1:
            position["stop_slot"] = 0
            unasked = state == ORDER_STATE_CANCELLED and state_before != ORDER_STATE_CANCEL_PENDING
            if never_arrived(order):
                position["retry_ts"] = desk.glob["now"] + RETRY_NS
            elif state == ORDER_STATE_REJECTED or unasked:
                if unasked or not trailing_refused(desk, order, state_before):
                    position["n_refused"] += 1
            else:
                position["n_refused"] = 0
    elif position["exit_slot"] == slot + 1:
        position["exit_slot"] = 0
        if order["post_only"] == 0:  # a limit that rested in place of the stop is no try to leave
            if not never_arrived(order):
                position["n_exit_tries"] += 1
            if state == ORDER_STATE_REJECTED:
                refuse_exit(desk, i, order["type"], order["reason"])
        if position["qty"] > 0 and position["state"] == POSITION_CLOSING:
            set_position_state(desk, i, POSITION_REDUCING)
    idle = position["entry_slot"] == 0 and position["stop_slot"] == 0 and position["exit_slot"] == 0
    if idle and is_dust(symbol):
        sweep_dust(desk, i)


@kernel
def mark_overdue(desk, slot):
    """Mark the order SUSPECT when its answer is later than `orders.reply_timeout_ns`."""
    order = desk.orders[slot]
    if not is_waiting(order["state"]):
        return
    if desk.glob["now"] - order["ts_command"] > desk.params["orders_reply_timeout_ns"]:
        set_order_state(desk, slot, ORDER_STATE_SUSPECT, 0, 0)


# --- what an event means -------------------------------------------------------------------------


@kernel
def seen_execution(order, execution):
    """Was this execution id applied to the order already?"""
    n = order["n_executions"]
    if n > N_EXECUTIONS:
        n = N_EXECUTIONS
    for k in range(n):
        if order["executions"][k] == execution:
            return True
    return False


@kernel
def book_fill(desk, slot, fee):
    """Apply the fill that waits in the order: its own lots, position, cash, rows."""
    glob = desk.glob
    order = desk.orders[slot]
    execution = order["fill_exec"]
    qty = order["fill_qty"]
    order["executions"][order["n_executions"] % N_EXECUTIONS] = execution
    order["n_executions"] += 1
    order["fill_qty"] = 0
    order["fill_exec"] = 0
    order["filled"] += qty
    if order["ts_filled"] == 0:
        order["ts_filled"] = glob["now"]
    if order["filled"] > max(order["qty"], order["amend_qty"]):
        # The ledger follows the venue; that it filled more than we asked for stops everything.
        take_mode(desk, MODE_HALT, WHO_ENGINE, WHY_OVERFILL)
    apply_fill(
        desk,
        slot,
        order["fill_price"],
        qty,
        fee,
        order["fill_maker"],
        execution,
        order["fill_ts_venue"],
    )


@kernel
def take_fill(order, event):
    """ORDER_FILL: keep it until its fee arrives. Returns False if it makes no sense.

    The same one again while it waits is dropped and counted.
    """
    execution = event["aux"]
    if order["fill_qty"] > 0 and order["fill_exec"] == execution:
        order["n_duplicates"] += 1
        return True
    if event["qty"] <= 0 or event["price"] <= 0:
        return False
    order["fill_exec"] = execution
    order["fill_price"] = event["price"]
    order["fill_qty"] = event["qty"]
    order["fill_maker"] = 1 if np.int64(event["flags"]) & MAKER else 0
    order["fill_ts_venue"] = event["ts_venue"]
    return True


@kernel
def take_terms(order, event):
    """The order stands at the venue as the event says: price, trigger or distance, and total quantity."""
    if order["type"] == TRAILING_STOP:
        take_distance(order, event["price"])
    elif order["type"] == STOP_LOSS or order["type"] == STOP_LOSS_LIMIT:
        order["trigger"] = event["price"]
    else:
        order["price"] = event["price"]
    if event["qty"] > 0:
        order["qty"] = event["qty"]


@kernel
def note_answer(order, kind, event, now):
    """Write what an answer says about the order itself. Returns (told something new, refusal).

    The state is not touched here; a refusal is a REJECT_* or CANCEL_* code, 0 if none.
    """
    state = order["state"]
    if kind == ORDER_SENT:
        if order["ts_sent"] == 0:
            order["ts_sent"] = now
            return True, 0
    elif kind == ORDER_ACK:
        if np.int64(event["flags"]) & SNAPSHOT and not is_terminal(state):
            take_terms(order, event)
        if order["ts_acked"] == 0:
            order["ts_acked"] = now
            order["venue_key"] = event["aux"]
            return True, 0
    elif kind == ORDER_TRIGGERED:
        order["triggered"] = 1
        return True, 0
    elif kind == ORDER_TRAILED:
        return note_trailed(order, event), 0
    elif kind == ORDER_AMENDED:
        if state == ORDER_STATE_AMEND_PENDING or state == ORDER_STATE_SUSPECT:
            take_terms(order, event)
            order["ts_touched"] = now
            order["n_refused"] = 0
    elif kind == CANCEL_REJECT or kind == AMEND_REJECT:
        order["n_refused"] += 1
        return not is_terminal(state), event["aux"]
    elif kind == ORDER_REJECT or kind == ORDER_CANCELED:
        return False, event["aux"]
    return False, 0


@stage
def apply_order_event(core, event):
    """Apply one event of kind ORDER_*, CANCEL_REJECT or AMEND_REJECT to its order.

    event : EVENT record. Orders of others are ignored. A fill of ours whose order has already
    left the table is FAULT_ORDER, unless it is history (SNAPSHOT) that a reconcile settles.
    """
    desk = desk_of(core)
    glob = desk.glob
    kind = np.int64(event["kind"])
    order_id = event["id"]
    slot = find_order(desk.orders, order_id)
    if slot < 0:
        money = kind == ORDER_FILL or kind == ORDER_FEE
        ours = 0 < order_id <= glob["last_order_id"]
        if money and ours and not np.int64(event["flags"]) & SNAPSHOT:
            glob["fault"] = FAULT_ORDER
        elif kind == ORDER_FILL and ours:
            # History that was booked long ago, or never: only the balances can tell.
            recovery_row(desk, event["sym"], RECOVERY_HISTORY, order_id, event["qty"], 0, 0, 0)
        return
    order = desk.orders[slot]
    part_of_fill = kind == ORDER_FILL or kind == ORDER_FEE
    if part_of_fill and seen_execution(order, event["aux"]):
        order["n_duplicates"] += 1
        return
    before = order["state"]
    state = before
    row = False
    booked = False
    doubtful = False
    same = order["fill_qty"] > 0 and order["fill_exec"] == event["aux"]
    if order["fill_qty"] > 0 and not (same and kind == ORDER_FILL):
        # A fill waits: its fee closes it; anything else means that the fee is lost.
        paid = same and kind == ORDER_FEE
        book_fill(desk, slot, event["qty"] if paid else 0)
        booked = True
        doubtful = not paid
        state = next_state(before, ORDER_FILL, order["filled"], order["qty"], 0, 0, 0)
    if kind == ORDER_FILL:
        if not take_fill(order, event):
            doubtful = True
    elif kind == ORDER_FEE:
        if not booked:
            doubtful = True  # the fee of a fill that nobody told us about
    else:
        row, refusal = note_answer(order, kind, event, glob["now"])
        judge_distance(desk, order, kind, refusal)
        if refusal != 0 and not is_terminal(before):
            order["reason"] = refusal
        qty = order["qty"]
        if order["amend_qty"] > 0 and event["qty"] == order["amend_qty"] - order["filled"]:
            qty = order["amend_qty"]  # it ended as the amend in doubt wanted it
        state = next_state(
            state, kind, order["filled"], qty, event["qty"], order["triggered"], refusal
        )
        if kind == ORDER_ACK and order["role"] == ROLE_PROTECTION and not is_terminal(before):
            desk.symbols[order["sym"]]["position"]["n_refused"] = 0
    if doubtful and not is_terminal(before):
        state = ORDER_STATE_SUSPECT
    elif kind == ORDER_REJECT and event["aux"] == REJECT_DUPLICATE:
        # Our numbers are said to be unique for ever.
        take_mode(desk, MODE_EXIT_ONLY, WHO_ENGINE, WHY_INVARIANT)
    elif kind == ORDER_ACK and is_terminal(before) and np.int64(event["flags"]) & SNAPSHOT:
        # It rests at the venue and has ended here: a person must see to it.
        recovery_row(
            desk, order["sym"], RECOVERY_OPEN_AGAIN, order_id, event["qty"], order["filled"],
            before, before,
        )  # fmt: skip
        take_mode(desk, MODE_EXIT_ONLY, WHO_ENGINE, WHY_INVARIANT)
    if state != before or booked or row:
        cause = ORDER_FILL if booked and kind == ORDER_FEE else kind
        set_order_state(desk, slot, state, cause, order["reason"])
    if booked or order["ts_done"] == glob["now"]:
        refresh_capital(desk)
    if booked:
        equity_row(desk)
