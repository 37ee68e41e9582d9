"""May this command leave? The choke: the one place that writes to `core.commands`.

Checks, in this order: engine mode, data epoch, generation, form (a sell is bounded by what we
hold, one sell at a time), status of the pair, the symbol's safety and book (entries), the venue's
rate budget, room in the order table. Every verdict leaves a row in `orders`: what passed as the
order's new state, what was refused as REJECTED (a new order) or unchanged, with the reason code.

Gates fail closed for what adds risk and open for what takes it away: a cancel is stopped by the
mode HALT alone, and there only if it would take a resting stop away without an operator asking.
Left out: whether the trade is a good one (pipeline.py), whether its size is allowed (risk.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.commands import (
    ADD,
    AMEND,
    CANCEL,
    LIMIT,
    ROLE_ENTRY,
    ROLE_FLATTEN,
    ROLE_PROTECTION,
)
from engine.core.desk import desk_of
from engine.core.faults import FAULT_COMMANDS_FULL
from engine.core.gates import entry_gate, exit_gate
from engine.core.modes import take_mode
from engine.core.orders import has_suspect, is_working, may_ask, order_row
from engine.core.orderstates import (
    ORDER_STATE_AMEND_PENDING,
    ORDER_STATE_CANCEL_PENDING,
    ORDER_STATE_JOURNALED,
    ORDER_STATE_PLANNED,
    ORDER_STATE_REJECTED,
    ORDER_STATE_SUSPECT,
    is_settled,
)
from engine.core.positions import POSITION_CLOSING, sellable, set_position_state
from engine.core.records import (
    BOOK_UNVERIFIED,
    DATA_STALE,
    EPOCH_NOT_VALID,
    GENERATION_MISMATCH,
    INSTRUMENT_STATUS,
    INVENTORY_CAP,
    LEASE_LOST,
    MODE_BLOCKED,
    OK,
    ORDER_IN_FLIGHT,
    RATE_LIMIT,
    RECONCILE_PENDING,
    RISK_VETO,
    SYMBOL_SAFETY,
)
from engine.core.recoveries import RECOVERY_REPEATED, recovery_row
from engine.core.repeats import count_repeat
from engine.core.routes import route_family
from engine.events import (
    EPOCH_VALID,
    MODE_EMERGENCY,
    MODE_HALT,
    MODE_NORMAL,
    MODE_REDUCED,
    WHO_ENGINE,
    WHY_FLAT,
    WHY_KILL,
)
from engine.instruments import (
    STATUS_LIMIT_ONLY,
    STATUS_ONLINE,
    STATUS_POST_ONLY,
    STATUS_REDUCE_ONLY,
)
from engine.jit import kernel
from engine.stage import stage

COMMAND_ROW: Final = 100  # cause of an order row: a command kind + this

# What a command is for; the matrix below has one column each.
CLASS_ENTRY_ADD: Final = 0
CLASS_ENTRY_AMEND: Final = 1
CLASS_ENTRY_CANCEL: Final = 2
CLASS_PROTECT: Final = 3  # place a stop, or make it cover more
CLASS_PROTECT_MOVE: Final = 4  # move the trigger of a resting stop
CLASS_PROTECT_CANCEL: Final = 5  # take a stop away, to leave by another order
CLASS_EXIT: Final = 6
CLASS_EXIT_CANCEL: Final = 7
CLASS_FLATTEN: Final = 8  # an exit, or the cancel of a stop for it, that an operator asked for
N_CLASSES: Final = 9

# Rows: modes 0 (unknown) to HALT. MODULES 0.7; in HALT resting stops stay as they are, and a bare
# long may still get one: no gate of ours stands between a position and its protection, but the kill
# switch, after which nothing is added at all (is_killed).
MODE_ALLOWS: Final = np.array(
    [
        # entry add, amend, cancel; protect, move, cancel; exit, cancel; flatten
        [0, 0, 1, 1, 0, 0, 0, 1, 0],  # unknown
        [1, 1, 1, 1, 1, 1, 1, 1, 1],  # NORMAL
        [1, 1, 1, 1, 1, 1, 1, 1, 1],  # REDUCED (no new symbols: see mode_refuses)
        [0, 0, 1, 1, 1, 1, 1, 1, 1],  # EXIT_ONLY
        [0, 0, 1, 1, 1, 1, 1, 1, 1],  # EMERGENCY
        [0, 0, 1, 1, 0, 0, 0, 1, 1],  # HALT
    ],
    np.int64,
)
EPOCH_ALLOWS: Final = np.array(
    [
        [0, 0, 1, 1, 1, 1, 0, 1, 0],  # none
        [1, 1, 1, 1, 1, 1, 1, 1, 1],  # valid
        [0, 0, 1, 1, 1, 1, 1, 1, 1],  # degraded: exits, protection, cancels
        [0, 0, 1, 1, 1, 1, 0, 1, 0],  # invalid: protection and cancels
        [0, 0, 1, 1, 1, 1, 0, 1, 0],  # closed
    ],
    np.int64,
)

SECOND_NS: Final = 1_000_000_000


@kernel
def command_class(kind, role, trigger, qty, operator):
    """CLASS_* of a command. `operator`: an operator asked to leave this position."""
    if role == ROLE_ENTRY:
        if kind == ADD:
            return CLASS_ENTRY_ADD
        return CLASS_ENTRY_AMEND if kind == AMEND else CLASS_ENTRY_CANCEL
    if role == ROLE_PROTECTION:
        if kind == CANCEL:
            return CLASS_FLATTEN if operator else CLASS_PROTECT_CANCEL
        if kind == AMEND and (trigger != 0 or qty == 0):
            return CLASS_PROTECT_MOVE
        return CLASS_PROTECT
    if kind == CANCEL:
        return CLASS_EXIT_CANCEL
    return CLASS_FLATTEN if role == ROLE_FLATTEN else CLASS_EXIT


@kernel
def mode_refuses(mode, class_, known_symbol):
    """Does the engine's mode refuse this class? REDUCED takes no symbol that never traded."""
    if mode < MODE_NORMAL or mode > MODE_HALT:
        return MODE_ALLOWS[0, class_] == 0
    if mode == MODE_REDUCED and class_ == CLASS_ENTRY_ADD and not known_symbol:
        return True
    return MODE_ALLOWS[mode, class_] == 0


@kernel
def is_killed(glob):
    """Is this the HALT of the kill switch? Then nothing is added at the venue, no stop either.

    It ends with the kill flag; the shell tells that as a HALT for another reason.
    """
    return glob["mode"] == MODE_HALT and glob["mode_why"] == WHY_KILL


@kernel
def epoch_refuses(status, class_):
    """Does the verdict on the data refuse this class?"""
    if status < EPOCH_VALID or status >= len(EPOCH_ALLOWS):
        return EPOCH_ALLOWS[0, class_] == 0
    return EPOCH_ALLOWS[status, class_] == 0


@kernel
def status_refuses(status, kind, type_, post_only, side):
    """Does the pair's status refuse a new or amended order of this type? Cancels always go."""
    if kind == CANCEL or status == STATUS_ONLINE:
        return False
    if status == STATUS_POST_ONLY:
        return post_only == 0
    if status == STATUS_LIMIT_ONLY:
        return type_ != LIMIT
    if status == STATUS_REDUCE_ONLY:
        return side > 0
    return True


# --- the venue's transaction counter (docs.kraken.com, spot rate limits) -------------------------


@kernel
def rate_cost(kind, age_ns):
    """Points of one command: a fixed part, and for changes of young orders an aged one.

    age_ns : int64, ns since the order was created or last amended
    """
    if kind == ADD:
        return 1.0
    if kind == AMEND:
        if age_ns < 5 * SECOND_NS:
            return 4.0
        if age_ns < 10 * SECOND_NS:
            return 3.0
        return 2.0 if age_ns < 15 * SECOND_NS else 1.0
    if age_ns < 5 * SECOND_NS:
        return 8.0
    if age_ns < 10 * SECOND_NS:
        return 6.0
    if age_ns < 15 * SECOND_NS:
        return 5.0
    if age_ns < 45 * SECOND_NS:
        return 4.0
    if age_ns < 90 * SECOND_NS:
        return 2.0
    return 1.0 if age_ns < 300 * SECOND_NS else 0.0


@kernel
def rate_points(position, params, now):
    """Our upper estimate of the pair's counter at `now`: it decays steadily, never below 0."""
    elapsed_s = float(now - position["rate_ts"]) / 1.0e9
    return max(position["rate_points"] - params["risk_rate_decay"] * elapsed_s, 0.0)


@kernel
def rate_refuses(points, cost, class_, params):
    """Is there no room? Entries leave the reserve free, cancels are never refused here."""
    if class_ == CLASS_ENTRY_CANCEL or class_ == CLASS_EXIT_CANCEL:
        return False
    if class_ == CLASS_PROTECT_CANCEL:
        return False
    limit = params["risk_rate_threshold"]
    if class_ == CLASS_ENTRY_ADD or class_ == CLASS_ENTRY_AMEND or class_ == CLASS_PROTECT_MOVE:
        # A trailing step is no emergency: the old stop still rests, so it waits like an entry.
        limit -= params["risk_rate_reserve"]
    return points + cost > limit


# --- the checks ----------------------------------------------------------------------------------


@kernel
def sell_reason(desk, slot, kind, qty):
    """Why a sell may not go, OK if it may: never above what we hold, one resting sell at a time.

    qty : int64, lots, total quantity that the order would have
    """
    order = desk.orders[slot]
    position = desk.symbols[order["sym"]]["position"]
    if qty - order["filled"] > sellable(position):
        return INVENTORY_CAP
    if kind == ADD:
        for k in range(len(desk.orders)):
            other = desk.orders[k]
            if k != slot and is_working(other) and other["sym"] == order["sym"]:
                if other["side"] < 0:
                    return ORDER_IN_FLIGHT
    return OK


@kernel
def entry_reason(desk, slot, kind):
    """Why this symbol takes no entry now, OK if it does."""
    glob = desk.glob
    order = desk.orders[slot]
    i = order["sym"]
    symbol = desk.symbols[i]
    position = symbol["position"]
    gate = entry_gate(desk, i, order["route"])
    if gate != OK:
        return gate
    if symbol["verified"] == 0:
        return BOOK_UNVERIFIED
    if 0 < symbol["book_ts"] < glob["now"] - desk.params["readiness_book_age_max_ns"]:
        return DATA_STALE
    if position["safety"] != 0:
        if glob["now"] - position["safety_ts"] < desk.params["risk_symbol_block_ns"]:
            return SYMBOL_SAFETY
    if has_suspect(desk, i):
        return RECONCILE_PENDING
    if position["exit_reason"] != 0 and position["qty"] > 0:
        return SYMBOL_SAFETY
    if kind == ADD and position["entry_slot"] != 0:
        return ORDER_IN_FLIGHT
    return OK


@kernel
def room_reason(desk):
    """Would every entry, this one included, and every bare position find a slot for its sell?"""
    n_free = 0
    n_needed = 0
    for i in range(len(desk.symbols)):
        position = desk.symbols[i]["position"]
        if position["qty"] > 0 and position["stop_slot"] == 0 and position["exit_slot"] == 0:
            n_needed += 1
    for k in range(len(desk.orders)):
        order = desk.orders[k]
        if not is_working(order):
            n_free += 1
        elif order["role"] == ROLE_ENTRY:
            n_needed += 1
    return OK if n_free >= n_needed else ORDER_IN_FLIGHT


@kernel
def choke(desk, kind, slot, trigger, qty):
    """The verdict on one command: OK, or the reason code of the first check that refuses.

    kind : ADD, AMEND or CANCEL; slot : of the order; trigger, qty : as AMEND, 0 keeps
    """
    glob = desk.glob
    params = desk.params
    order = desk.orders[slot]
    role = order["role"]
    symbol = desk.symbols[order["sym"]]
    position = symbol["position"]
    operator = position["exit_role"] == ROLE_FLATTEN
    class_ = command_class(kind, role, trigger, qty, operator)
    if glob["lease_lost"] != 0:
        return LEASE_LOST
    if mode_refuses(glob["mode"], class_, position["n_trips"] > 0):
        return MODE_BLOCKED
    if kind != CANCEL and is_killed(glob):
        return MODE_BLOCKED
    # A cancel passes whatever the data is worth, an operator's as well.
    if kind != CANCEL and epoch_refuses(glob["epoch_status"], class_):
        return EPOCH_NOT_VALID
    if kind == ADD and role == ROLE_ENTRY and order["generation"] != glob["generation"]:
        return GENERATION_MISMATCH
    if kind != CANCEL:
        if (role == ROLE_ENTRY) != (order["side"] > 0):
            return RISK_VETO  # protection of a spot long is never a buy, an entry never a sell
        if order["side"] < 0:
            reason = sell_reason(desk, slot, kind, qty if qty > 0 else order["qty"])
            if reason != OK:
                return reason
    status = symbol["instrument"]["status"]
    if status_refuses(status, kind, order["type"], order["post_only"], order["side"]):
        return INSTRUMENT_STATUS
    if class_ == CLASS_ENTRY_ADD or class_ == CLASS_ENTRY_AMEND:
        reason = entry_reason(desk, slot, kind)
        if reason != OK:
            return reason
    if kind == ADD and (class_ == CLASS_EXIT or class_ == CLASS_FLATTEN):
        reason = exit_gate(desk, order["sym"], has_suspect(desk, order["sym"]))
        if reason != OK:
            return reason
    points = rate_points(position, params, glob["now"])
    cost = rate_cost(kind, glob["now"] - order["ts_touched"])
    if kind != CANCEL and rate_refuses(points, cost, class_, params):
        return RATE_LIMIT
    if class_ == CLASS_ENTRY_ADD:
        return room_reason(desk)
    return OK


@kernel
def exit_refusal(desk, i, role):
    """Why a marketable exit of this role could not leave now (mode, epoch, status), OK if it could.

    Asked before a stop is taken away: what cannot be replaced must stay.
    """
    glob = desk.glob
    symbol = desk.symbols[i]
    class_ = CLASS_FLATTEN if role == ROLE_FLATTEN else CLASS_EXIT
    if glob["lease_lost"] != 0:
        return LEASE_LOST
    if mode_refuses(glob["mode"], class_, True) or is_killed(glob):
        return MODE_BLOCKED
    if epoch_refuses(glob["epoch_status"], class_):
        return EPOCH_NOT_VALID
    if status_refuses(symbol["instrument"]["status"], ADD, LIMIT, 0, -1):
        return INSTRUMENT_STATUS
    gate = exit_gate(desk, i, has_suspect(desk, i))
    if gate != OK:
        return gate
    params = desk.params
    if rate_refuses(rate_points(symbol["position"], params, glob["now"]), 1.0, class_, params):
        return RATE_LIMIT
    return OK


# --- the door ------------------------------------------------------------------------------------


@kernel
def remember_command(desk, kind, slot):
    """What a command that left changes on our side: links, counters. Returns the order's state."""
    glob = desk.glob
    order = desk.orders[slot]
    i = order["sym"]
    position = desk.symbols[i]["position"]
    now = glob["now"]
    order["ts_command"] = now
    if kind == CANCEL:
        # In doubt it stays: that a cancel of it is refused would not prove that it rests.
        doubtful = order["state"] == ORDER_STATE_SUSPECT
        return ORDER_STATE_SUSPECT if doubtful else ORDER_STATE_CANCEL_PENDING
    order["ts_touched"] = now
    if kind == AMEND:
        order["n_moves"] += 1
        return ORDER_STATE_AMEND_PENDING
    if order["role"] == ROLE_ENTRY:
        position["entry_slot"] = slot + 1
        position["edge_now_ts"] = 0
        glob["entries_ts"][glob["n_entries"] % len(glob["entries_ts"])] = now
        glob["n_entries"] += 1
        family = route_family(order["route"])
        if count_repeat(glob["repeats"], desk.params, family, now):
            limit = desk.params["risk_family_entries_max"]
            recovery_row(desk, i, RECOVERY_REPEATED, order["id"], family, limit, 0, 0)
    elif order["role"] == ROLE_PROTECTION:
        position["stop_slot"] = slot + 1
        position["guarded"] = 1
    else:
        position["exit_slot"] = slot + 1
        set_position_state(desk, i, POSITION_CLOSING)
    return ORDER_STATE_JOURNALED


@kernel
def refuse_command(desk, kind, slot, code):
    """Note what did not leave. Returns the order's state: a new order ends, its slot is free."""
    order = desk.orders[slot]
    now = desk.glob["now"]
    if kind == ADD:
        order["ts_done"] = now
        order["reason"] = code
        return ORDER_STATE_REJECTED
    order["n_refused"] += 1
    order["ts_command"] = now
    return order["state"]


@kernel
def write_command(desk, kind, slot, price, trigger, qty, reason):
    """Append the COMMAND itself and charge the pair's counter for it."""
    glob = desk.glob
    order = desk.orders[slot]
    position = desk.symbols[order["sym"]]["position"]
    now = glob["now"]
    points = rate_points(position, desk.params, now)
    position["rate_points"] = points + rate_cost(kind, now - order["ts_touched"])
    position["rate_ts"] = now
    order["reason"] = reason
    if kind == AMEND:
        order["amend_price"] = price
        order["amend_trigger"] = trigger
        order["amend_qty"] = qty
    command = desk.commands[glob["n_commands"]]
    glob["n_commands"] += 1
    glob["n_commands_total"] += 1
    added = kind == ADD
    command["ts"] = now
    command["generation"] = glob["generation"]
    command["id"] = order["id"]
    command["route"] = order["route"]
    command["price"] = order["price"] if added else price
    command["trigger"] = order["trigger"] if added else trigger
    command["qty"] = order["qty"] if added else qty
    command["expire_ts"] = order["expire_ts"] if added else 0
    command["reason"] = reason
    command["sym"] = order["sym"]
    command["kind"] = kind
    command["side"] = order["side"]
    command["type"] = order["type"]
    command["tif"] = order["tif"]
    command["post_only"] = order["post_only"]
    command["role"] = order["role"]


@stage
def emit(desk, kind, slot, price, trigger, qty, reason):
    """Send one command about the order in `slot`, if the choke lets it.

    kind : ADD (the PLANNED order as it stands), AMEND (new price, trigger, total quantity; 0
        keeps) or CANCEL
    reason : int64, EXIT_* or a reason code: why, for people
    returns int64, OK or the reason code of the refusal; a refused ADD has ended
    """
    glob = desk.glob
    order = desk.orders[slot]
    code = OK
    if kind == ADD:
        assert order["state"] == ORDER_STATE_PLANNED
    elif not is_settled(order["state"]):
        # Something is in flight already, but a cancel may repeat where the answer is unknown.
        if kind != CANCEL or order["state"] != ORDER_STATE_SUSPECT:
            code = ORDER_IN_FLIGHT
    if code == OK:
        code = choke(desk, kind, slot, trigger, qty)
    if code == OK and glob["n_commands"] >= len(desk.commands):
        glob["fault"] = FAULT_COMMANDS_FULL
        code = ORDER_IN_FLIGHT
    before = order["state"]
    if code == OK:
        write_command(desk, kind, slot, price, trigger, qty, reason)
        order["state"] = remember_command(desk, kind, slot)
    else:
        order["state"] = refuse_command(desk, kind, slot, code)
    order_row(desk, slot, before, COMMAND_ROW + kind, reason if code == OK else code)
    return code


@kernel
def ask_cancel(desk, slot, reason):
    """Cancel an order where a cancel can be asked for; an unknown one again after the time-out.

    returns True if a cancel left
    """
    order = desk.orders[slot]
    now = desk.glob["now"]
    if order["state"] == ORDER_STATE_SUSPECT:
        if now - order["ts_command"] < desk.params["orders_reply_timeout_ns"]:
            return False
    elif not may_ask(order, now):
        return False
    return emit(desk, CANCEL, slot, 0, 0, 0, reason) == OK


@kernel
def block_symbol(desk, i, code):
    """Take no entries of this symbol for `risk.symbol_block_ns`, because of reason `code`."""
    position = desk.symbols[i]["position"]
    position["safety"] = code
    position["safety_ts"] = desk.glob["now"]


@kernel
def settle_mode(core):
    """EMERGENCY ends in HALT once nothing is held and nothing works; call once per evaluation."""
    desk = desk_of(core)
    glob = desk.glob
    if glob["mode"] != MODE_EMERGENCY:
        return
    for i in range(len(desk.symbols)):
        if desk.symbols[i]["position"]["qty"] > 0:
            return
    for k in range(len(desk.orders)):
        if is_working(desk.orders[k]):
            return
    take_mode(desk, MODE_HALT, WHO_ENGINE, WHY_FLAT)
