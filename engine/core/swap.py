"""May a position be sold by a resting limit in place of its stop, and for how long?

Two sells would claim the same coins, so for a while there is no stop: only in a calm, liquid market
(RANGE or TREND, exits not urgent), with nothing bought any more, so often per trip, and over at the first
adverse tick, after `exits.swap_ns`, at most half of what a position may be uncovered, or when anything else
asks to leave. Then the limit is cancelled and the stop is placed again. The limit is post-only and good till
the end of its time, so that it lapses at the venue too if we are gone. All of it counts as uncovered.

Left out: the rest of the exits (exits.py), why the tape asks for it (urgency.py).
"""

from __future__ import annotations

from typing import Final

from engine.commands import ADD, GTD, LIMIT, ROLE_EXIT
from engine.core.capital import present_fees
from engine.core.exits import (
    EXIT_STYLE,
    EXIT_TARGET,
    STYLE_TAKE,
    TARGET_SWAP,
    URGENCY_URGENT,
)
from engine.core.orders import new_order
from engine.core.orderstates import ORDER_STATE_CANCEL_PENDING, is_settled
from engine.core.positions import position_row, sellable
from engine.core.records import OK
from engine.core.regime import REGIME_RANGE, REGIME_TREND
from engine.core.safety import ask_cancel, emit, exit_refusal
from engine.jit import kernel
from engine.numerics import ratio

SWAP_NONE: Final = 0
SWAP_ASKED: Final = 1  # the stop is being taken away
SWAP_RESTS: Final = 2  # the limit was sent

_SECOND_NS: Final = 1_000_000_000


@kernel
def swap_wanted(desk, i):
    """EXIT_* for which symbol `i` should rest a limit instead of its stop, 0 if for none."""
    params = desk.params
    symbol = desk.symbols[i]
    position = symbol["position"]
    if params["exits_target_style"] == TARGET_SWAP and position["target_hit"] != 0:
        return EXIT_TARGET
    if position["style"] == STYLE_TAKE:
        maker, _ = present_fees(desk)
        fees_bps = ratio(position["fees"], position["bought"]) * 10_000.0 + float(maker) / 100.0
        gain_bps = (float(symbol["ask"]) / position["entry_price"] - 1.0) * 10_000.0
        if gain_bps >= fees_bps:
            return EXIT_STYLE
    return 0


@kernel
def is_calm(desk, i):
    """A market in which a short time without a stop is worth a maker's fill."""
    symbol = desk.symbols[i]
    position = symbol["position"]
    regime = symbol["regime"]
    if regime != REGIME_RANGE and regime != REGIME_TREND:
        return False
    if symbol["verified"] == 0 or symbol["bid"] <= 0 or symbol["ask"] <= symbol["bid"]:
        return False
    if position["urgency"] >= URGENCY_URGENT or position["entry_slot"] > 0:
        return False
    return exit_refusal(desk, i, ROLE_EXIT) == OK


@kernel
def swap_ns(params):
    """How long a swap may leave a position without its stop."""
    return min(params["exits_swap_ns"], params["exits_unprotected_max_ns"] // 2)


@kernel
def swap_over(desk, i):
    """Has the market turned, or is the time over? From then on only the stop is right."""
    symbol = desk.symbols[i]
    position = symbol["position"]
    if not is_calm(desk, i):
        return True
    if position["swap_bid"] - symbol["bid"] >= desk.params["exits_swap_adverse_ticks"]:
        return True
    since = position["uncovered_ts"]
    return since > 0 and desk.glob["now"] - since >= swap_ns(desk.params)


@kernel
def send_limit(desk, i):
    """Offer all that is held at the best ask, post-only. Returns whether it left."""
    symbol = desk.symbols[i]
    position = symbol["position"]
    # The venue counts in whole seconds; ours is cancelled before.
    expire_ts = (desk.glob["now"] // _SECOND_NS + 1) * _SECOND_NS + swap_ns(desk.params)
    slot = new_order(
        desk,
        i,
        ROLE_EXIT,
        -1,
        LIMIT,
        GTD,
        1,
        symbol["ask"],
        0,
        sellable(position),
        expire_ts // _SECOND_NS * _SECOND_NS,
        position["route"],
    )
    return slot >= 0 and emit(desk, ADD, slot, 0, 0, 0, position["swap_reason"]) == OK


@kernel
def drive_swap(desk, i):
    """Carry a swap one step further, or begin one. False: the stop is to be kept as always."""
    symbol = desk.symbols[i]
    position = symbol["position"]
    if position["swap"] == SWAP_NONE:
        if position["stop_slot"] == 0 or position["exit_slot"] > 0:
            return False
        if position["n_swaps"] >= desk.params["exits_swap_tries"]:
            return False
        reason = swap_wanted(desk, i)
        if reason == 0 or not is_settled(desk.orders[position["stop_slot"] - 1]["state"]):
            return False
        if desk.orders[position["stop_slot"] - 1]["triggered"] != 0 or not is_calm(desk, i):
            return False
        if not ask_cancel(desk, position["stop_slot"] - 1, reason):
            return False
        position["swap"] = SWAP_ASKED
        position["swap_reason"] = reason
        position["swap_bid"] = symbol["bid"]
        position["n_swaps"] += 1
        position_row(desk, i)
        return True
    over = swap_over(desk, i)
    if position["exit_slot"] > 0:
        if over:
            ask_cancel(desk, position["exit_slot"] - 1, position["swap_reason"])
        return True
    if position["swap"] == SWAP_ASKED and position["stop_slot"] > 0:
        if desk.orders[position["stop_slot"] - 1]["state"] == ORDER_STATE_CANCEL_PENDING:
            return True
        # Refused, fired or in doubt: the stop stays what it is.
        position["swap"] = SWAP_NONE
        return False
    if position["swap"] == SWAP_ASKED and not over and send_limit(desk, i):
        position["swap"] = SWAP_RESTS
        return True
    position["swap"] = SWAP_NONE
    return False


@kernel
def end_swap(desk, i):
    """Nothing is held any more: a limit that still rests would sell what is not there."""
    position = desk.symbols[i]["position"]
    slot = position["exit_slot"] - 1
    if slot < 0:
        position["swap"] = SWAP_NONE
        return
    order = desk.orders[slot]
    # Filled whole it only waits to be called complete.
    if order["post_only"] != 0 and order["filled"] < order["qty"]:
        ask_cancel(desk, slot, position["swap_reason"])
