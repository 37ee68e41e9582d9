"""Is every long covered? The resting stop, its trail, and the clock of what is not covered.

`guard_position` runs on every event of a symbol with inventory, before entries. A long without a
sell order gets a stop-loss within the same step as the fill; later fills grow the same stop by
amend; the trail moves it up, never down (trailing.py: how far, and where the venue does it). States: NONE (flat, or bare), ARMING (asked for),
PROTECTED, AMENDING, SWAPPING (the stop is being cancelled for an exit, or a resting limit stands in its place), EXITING. Only a stop that
the venue confirmed protects (orderstates.is_coverage); all other time is counted as unprotected.
Lots too few for any order are dust and need no cover.

Left out: why and how to leave (exits.py).
"""

from __future__ import annotations

from typing import Final

from engine.commands import (
    ADD,
    AMEND,
    GTC,
    ROLE_FLATTEN,
    ROLE_PROTECTION,
    STOP_LOSS,
    TRAILING_STOP,
)
from engine.core.desk import desk_of
from engine.core.exits import (
    EXIT_ADVICE,
    EXIT_OPERATOR,
    EXIT_STOP,
    EXIT_TARGET,
    EXIT_TRAIL,
    EXIT_URGENCY,
    decide_exit,
    drive_exit,
    present_trail_factor,
    set_policy,
    want_exit,
)
from engine.core.orders import RETRY_NS, mark_overdue, may_ask, new_order
from engine.core.orderstates import (
    ORDER_STATE_AMEND_PENDING,
    ORDER_STATE_CANCEL_PENDING,
    ORDER_STATE_SUSPECT,
    is_coverage,
)
from engine.core.positions import is_dust, position_row, sellable, sweep_dust
from engine.core.records import BALANCE_DIFFERS, OK, SYMBOL_SAFETY
from engine.core.routestate import HOLD, TIGHTEN
from engine.core.safety import ask_cancel, block_symbol, emit, is_killed
from engine.core.swap import drive_swap, end_swap
from engine.core.trailing import (
    adjust_trail,
    count_move,
    follow_trades,
    may_move,
    step_ticks,
    tighten_trail,
    trail_begins,
    trail_distance_bps,
    trailing_slot,
    trailing_start,
    urgent_level,
)
from engine.jit import kernel
from engine.numerics import floor_int
from engine.stage import stage

COVER_NONE: Final = 0
COVER_ARMING: Final = 1
COVER_PROTECTED: Final = 2
COVER_AMENDING: Final = 3
COVER_SWAPPING: Final = 4
COVER_EXITING: Final = 5

COVER_NAMES: Final[dict[int, str]] = {
    COVER_NONE: "none",
    COVER_ARMING: "arming",
    COVER_PROTECTED: "protected",
    COVER_AMENDING: "amending",
    COVER_SWAPPING: "swapping",
    COVER_EXITING: "exiting",
}


@kernel
def covered_lots(order):
    """Lots that the venue would surely sell through this stop: an amend in flight counts as the
    smaller of before and after."""
    if not is_coverage(order["state"]):
        return 0
    qty = order["qty"]
    if order["state"] == ORDER_STATE_AMEND_PENDING and 0 < order["amend_qty"] < qty:
        qty = order["amend_qty"]
    return qty - order["filled"]


@kernel
def cover_state(desk, i, covered):
    """COVER_* of the position as its orders stand."""
    position = desk.symbols[i]["position"]
    if position["qty"] == 0:
        return COVER_NONE
    if position["swap"] != 0:
        return COVER_SWAPPING
    if position["exit_slot"] > 0:
        return COVER_EXITING
    if position["stop_slot"] == 0:
        return COVER_SWAPPING if position["exit_reason"] != 0 else COVER_NONE
    state = desk.orders[position["stop_slot"] - 1]["state"]
    if state == ORDER_STATE_SUSPECT:
        return COVER_NONE
    if state == ORDER_STATE_CANCEL_PENDING:
        return COVER_SWAPPING
    if state == ORDER_STATE_AMEND_PENDING:
        return COVER_AMENDING
    if is_coverage(state) and covered >= sellable(position) > 0:
        return COVER_PROTECTED
    return COVER_ARMING


@kernel
def measure_cover(desk, i):
    """Take stock after this step: covered lots, COVER_* and the unprotected clock; a row on change."""
    symbol = desk.symbols[i]
    position = symbol["position"]
    now = desk.glob["now"]
    covered = 0
    if position["stop_slot"] > 0:
        covered = covered_lots(desk.orders[position["stop_slot"] - 1])
    bare = sellable(position) > covered and not is_dust(symbol)
    if bare and position["uncovered_ts"] == 0:
        position["uncovered_ts"] = now
    elif not bare and position["uncovered_ts"] > 0:
        position["unprotected_ns"] += now - position["uncovered_ts"]
        position["uncovered_ts"] = 0
    state = cover_state(desk, i, covered)
    if state != position["coverage"] or covered != position["covered"]:
        position["coverage"] = state
        position["covered"] = covered
        position_row(desk, i)


@kernel
def watch_price(desk, i):
    """Follow the bid: best since entry, target reached, where the stop should be. Up only."""
    params = desk.params
    symbol = desk.symbols[i]
    position = symbol["position"]
    bid = symbol["bid"]
    trailing = trailing_slot(desk, position)
    if trailing >= 0:
        follow_trades(desk, i, trailing)
    if symbol["verified"] == 0 or bid <= 0:
        return
    position["mark"] = bid
    if bid > position["peak"]:
        position["peak"] = bid
        position["peak_ts"] = desk.glob["now"]
    if position["stop"] == 0:
        return
    if position["target_hit"] == 0 and 0 < position["target"] <= bid:
        position["target_hit"] = 1
        position_row(desk, i)
    if trailing >= 0:
        tighten_trail(desk, i)
        return
    peak = position["peak"]
    wanted = 0
    reason = EXIT_TRAIL
    if position["target_hit"] != 0:
        wanted = peak - step_ticks(params, peak)
        reason = EXIT_TARGET
    else:
        if trail_begins(params, position, peak):
            distance = trail_distance_bps(desk, i, present_trail_factor(params, symbol))
            wanted = floor_int(float(peak) * (1.0 - distance / 10_000.0))
    close = urgent_level(desk, i)
    if close > wanted:
        wanted = close
        reason = EXIT_URGENCY
    if params["exits_advice"] == 1 and position["advice"] != HOLD:
        # TIGHTEN trails as closely as a trail may; TAKE and LEAVE as closely as a target does.
        close = bid - step_ticks(params, bid)
        if position["advice"] == TIGHTEN:
            close = floor_int(float(bid) * (1.0 - params["exits_trail_min_bps"] / 10_000.0))
        if close > wanted:
            wanted = close
            reason = EXIT_ADVICE
    wanted = min(wanted, bid - 1)
    if wanted > position["stop"]:
        position["stop"] = wanted
        position["stop_reason"] = reason


@kernel
def resting_trigger(symbol, stop):
    """The trigger to send: the wanted one, below the last trade, which it must not meet at entry."""
    last = symbol["trade_price"]
    if 0 < last <= stop:
        return max(last - 1, 1)
    return stop


@kernel
def place_stop(desk, i):
    """Ask for a stop over all that the position holds: the plain one, or one that trails."""
    symbol = desk.symbols[i]
    position = symbol["position"]
    now = desk.glob["now"]
    if now < position["retry_ts"] or sellable(position) == 0:
        return
    gap = trailing_start(desk, i)
    slot = new_order(
        desk,
        i,
        ROLE_PROTECTION,
        -1,
        TRAILING_STOP if gap > 0 else STOP_LOSS,
        GTC,
        0,
        gap,
        resting_trigger(symbol, position["stop"]),
        sellable(position),
        0,
        position["route"],
    )
    refused = slot < 0 or emit(desk, ADD, slot, 0, 0, 0, position["stop_reason"]) != OK
    if not refused:
        position["trail_refused"] = 0  # what was refused was another order's distance
        if gap > 0 and position["trail_gap"] == 0:
            position["trail_gap"] = gap
    # After two refusals we would leave; where that cannot be, the venue is not asked in a circle.
    if refused or position["n_refused"] >= 2:
        position["retry_ts"] = now + RETRY_NS


@kernel
def adjust_stop(desk, i):
    """Amend the resting stop: first to the quantity of the position, then upwards."""
    params = desk.params
    symbol = desk.symbols[i]
    position = symbol["position"]
    now = desk.glob["now"]
    slot = position["stop_slot"] - 1
    order = desk.orders[slot]
    if not may_ask(order, now):
        return
    qty = order["filled"] + sellable(position)
    if qty == order["filled"]:
        ask_cancel(desk, slot, BALANCE_DIFFERS)  # the venue has nothing that it could sell
        return
    if qty != order["qty"]:
        emit(desk, AMEND, slot, 0, 0, qty, order["reason"])
        return
    if order["type"] == TRAILING_STOP:
        adjust_trail(desk, i, slot, qty)
        return
    trigger = resting_trigger(symbol, position["stop"])
    if trigger - order["trigger"] < step_ticks(params, trigger):
        return
    # The step to the target does not wait its turn; all later ones do.
    first = position["stop_reason"] == EXIT_TARGET and order["reason"] != EXIT_TARGET
    waited = now - position["trail_ts"] >= params["exits_trail_interval_ns"]
    if first or (waited and may_move(desk, i)):
        if emit(desk, AMEND, slot, 0, trigger, qty, position["stop_reason"]) == OK:
            count_move(desk, i)


@kernel
def drive_stop(desk, i):
    """Keep the position under one resting stop of its own quantity."""
    position = desk.symbols[i]["position"]
    if position["exit_slot"] > 0 or is_killed(desk.glob):
        return  # killed: whatever is asked for would be refused, so nothing is; the clock runs
    if position["stop_slot"] > 0:
        slot = position["stop_slot"] - 1
        if desk.orders[slot]["state"] == ORDER_STATE_SUSPECT:
            return  # a second sell could claim the coins twice; the clock runs
        adjust_stop(desk, i)
    else:
        place_stop(desk, i)


@kernel
def leave_symbol(desk, i):
    """An operator wants out: withdraw the entry, sell what is held; done when neither is there."""
    position = desk.symbols[i]["position"]
    if position["entry_slot"] > 0:
        ask_cancel(desk, position["entry_slot"] - 1, EXIT_OPERATOR)
    if position["qty"] > 0:
        want_exit(desk, i, EXIT_OPERATOR, ROLE_FLATTEN)
    elif position["entry_slot"] == 0 and position["exit_slot"] == 0:
        position["leave"] = 0


@stage
def guard_position(core, i):
    """Guard symbol `i` on one event: overdue answers, price, reasons to leave, exit or stop, cover.

    Cheap when there is nothing to guard; `position["guarded"]` says when it need not be called.
    """
    desk = desk_of(core)
    symbol = desk.symbols[i]
    position = symbol["position"]
    stop_slot = position["stop_slot"]
    exit_slot = position["exit_slot"]
    if stop_slot > 0:
        mark_overdue(desk, stop_slot - 1)
    if exit_slot > 0:
        mark_overdue(desk, exit_slot - 1)
    if position["leave"] != 0:
        leave_symbol(desk, i)
    if position["qty"] == 0:
        busy = stop_slot > 0 or exit_slot > 0 or position["leave"] != 0
        position["guarded"] = 1 if busy else 0
        if stop_slot > 0 and covered_lots(desk.orders[stop_slot - 1]) > 0:
            ask_cancel(desk, stop_slot - 1, EXIT_STOP)  # it would sell what we do not have
        end_swap(desk, i)
        return
    if is_dust(symbol) and stop_slot == 0 and exit_slot == 0:
        # Nothing can be sold of it. An entry that still works may make it enough.
        if position["entry_slot"] == 0:
            sweep_dust(desk, i)
        return
    if position["stop"] == 0:
        set_policy(desk, i)
    watch_price(desk, i)
    undecided = position["exit_reason"] == 0
    decide_exit(desk, i)
    if undecided and position["n_refused"] >= 2:
        block_symbol(desk, i, SYMBOL_SAFETY)
    if position["exit_reason"] == 0:
        if not drive_swap(desk, i):
            drive_stop(desk, i)
    elif not drive_exit(desk, i):
        drive_stop(desk, i)
    measure_cover(desk, i)
