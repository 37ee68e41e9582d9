"""Which 13 states has an order, and where may it go from each? The table of transitions, as data.

Left out: the orders themselves and who moves them (orders.py). docs/order-life.md draws the table.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.events import (
    AMEND_REJECT,
    CANCEL_REJECT,
    ORDER_ACK,
    ORDER_AMENDED,
    ORDER_CANCELED,
    ORDER_EXPIRED,
    ORDER_FEE,
    ORDER_FILL,
    ORDER_FILLED,
    ORDER_PENDING,
    ORDER_REJECT,
    ORDER_SENT,
    ORDER_TRAILED,
    ORDER_TRIGGERED,
    REJECT_UNKNOWN_ORDER,
)
from engine.jit import kernel

# 0 is a slot that was never used.
ORDER_STATE_PLANNED: Final = 1  # decided, not through the choke
ORDER_STATE_JOURNALED: Final = 2  # through the choke and recorded; not known to be on the wire
ORDER_STATE_SENT: Final = 3
ORDER_STATE_PENDING_NEW: Final = 4  # the venue has it, it is not open yet
ORDER_STATE_OPEN: Final = 5
ORDER_STATE_PARTIAL: Final = 6
ORDER_STATE_AMEND_PENDING: Final = 7
ORDER_STATE_CANCEL_PENDING: Final = 8
ORDER_STATE_FILLED: Final = 9
ORDER_STATE_CANCELLED: Final = 10
ORDER_STATE_REJECTED: Final = 11
ORDER_STATE_EXPIRED: Final = 12
ORDER_STATE_SUSPECT: Final = 13  # the venue's answer is unknown: nothing may be assumed
N_ORDER_STATES: Final = 13

ORDER_STATE_NAMES: Final[dict[int, str]] = {
    ORDER_STATE_PLANNED: "planned",
    ORDER_STATE_JOURNALED: "journaled",
    ORDER_STATE_SENT: "sent",
    ORDER_STATE_PENDING_NEW: "pending_new",
    ORDER_STATE_OPEN: "open",
    ORDER_STATE_PARTIAL: "partial",
    ORDER_STATE_AMEND_PENDING: "amend_pending",
    ORDER_STATE_CANCEL_PENDING: "cancel_pending",
    ORDER_STATE_FILLED: "filled",
    ORDER_STATE_CANCELLED: "cancelled",
    ORDER_STATE_REJECTED: "rejected",
    ORDER_STATE_EXPIRED: "expired",
    ORDER_STATE_SUSPECT: "suspect",
}

# Where an order may go from each state. A fill may precede the acknowledgement; an order may end
# at the venue while our cancel or amend is on its way; OPEN to REJECTED is a stop that fired and
# was refused as the market order it became.
_ENDS: Final = (
    ORDER_STATE_FILLED,
    ORDER_STATE_CANCELLED,
    ORDER_STATE_REJECTED,
    ORDER_STATE_EXPIRED,
)
_ANSWERS: Final = (
    ORDER_STATE_OPEN,
    ORDER_STATE_PARTIAL,
    ORDER_STATE_FILLED,
    ORDER_STATE_CANCELLED,
    ORDER_STATE_REJECTED,
    ORDER_STATE_SUSPECT,
)
TRANSITIONS: Final[dict[int, tuple[int, ...]]] = {
    ORDER_STATE_PLANNED: (ORDER_STATE_JOURNALED, ORDER_STATE_REJECTED),
    ORDER_STATE_JOURNALED: (ORDER_STATE_SENT, ORDER_STATE_PENDING_NEW, *_ANSWERS),
    ORDER_STATE_SENT: (ORDER_STATE_PENDING_NEW, *_ANSWERS),
    ORDER_STATE_PENDING_NEW: _ANSWERS,
    ORDER_STATE_OPEN: (
        ORDER_STATE_PARTIAL,
        ORDER_STATE_AMEND_PENDING,
        ORDER_STATE_CANCEL_PENDING,
        *_ENDS,
        ORDER_STATE_SUSPECT,
    ),
    ORDER_STATE_PARTIAL: (
        ORDER_STATE_AMEND_PENDING,
        ORDER_STATE_CANCEL_PENDING,
        ORDER_STATE_FILLED,
        ORDER_STATE_CANCELLED,
        ORDER_STATE_EXPIRED,
        ORDER_STATE_SUSPECT,
    ),
    ORDER_STATE_AMEND_PENDING: (
        ORDER_STATE_OPEN,
        ORDER_STATE_PARTIAL,
        *_ENDS,
        ORDER_STATE_SUSPECT,
    ),
    ORDER_STATE_CANCEL_PENDING: (
        ORDER_STATE_OPEN,
        ORDER_STATE_PARTIAL,
        *_ENDS,
        ORDER_STATE_SUSPECT,
    ),
    ORDER_STATE_FILLED: (),
    ORDER_STATE_CANCELLED: (),
    ORDER_STATE_REJECTED: (),
    ORDER_STATE_EXPIRED: (),
    ORDER_STATE_SUSPECT: (
        ORDER_STATE_PENDING_NEW,
        ORDER_STATE_OPEN,
        ORDER_STATE_PARTIAL,
        *_ENDS,
    ),
}


def _transition_table() -> np.ndarray:
    table = np.zeros((N_ORDER_STATES + 1, N_ORDER_STATES + 1), np.int64)
    for state, nexts in TRANSITIONS.items():
        table[state, list(nexts)] = 1
    return table


ALLOWED: Final = _transition_table()  # int64[14, 14]: 1 where `from, to` is allowed


@kernel
def is_terminal(state):
    """Filled, cancelled, rejected or expired: the state never changes again."""
    return ORDER_STATE_FILLED <= state <= ORDER_STATE_EXPIRED


@kernel
def is_coverage(state):
    """Does a stop order in this state protect? OPEN, PARTIAL and AMEND_PENDING do.

    Before its acknowledgement it is only asked for; while a cancel travels it may be gone.
    """
    return (
        state == ORDER_STATE_OPEN
        or state == ORDER_STATE_PARTIAL
        or state == ORDER_STATE_AMEND_PENDING
    )


@kernel
def is_waiting(state):
    """Does an order in this state owe us an answer of the venue?"""
    return (
        ORDER_STATE_JOURNALED <= state <= ORDER_STATE_PENDING_NEW
        or state == ORDER_STATE_AMEND_PENDING
        or state == ORDER_STATE_CANCEL_PENDING
    )


@kernel
def is_settled(state):
    """May a new amend or cancel be asked for (open, nothing in flight)?"""
    return state == ORDER_STATE_OPEN or state == ORDER_STATE_PARTIAL


@kernel
def next_state(state, kind, filled, qty, reported, triggered, reason):
    """The state that an event asks for; SUSPECT when it contradicts what we know.

    state, kind : ORDER_STATE_* and event kind; filled, qty : int64, lots, of our order
    reported : int64, lots that the event names (total filled of ORDER_FILLED, rest still open of
        ORDER_CANCELED and ORDER_EXPIRED); triggered : 1 when its stop fired
    reason : REJECT_* of a refusal
    """
    if is_terminal(state):
        return state
    resting = ORDER_STATE_PARTIAL if filled > 0 else ORDER_STATE_OPEN
    early = ORDER_STATE_JOURNALED <= state <= ORDER_STATE_PENDING_NEW
    if state == ORDER_STATE_PLANNED:
        return ORDER_STATE_SUSPECT
    if kind == ORDER_SENT:
        return ORDER_STATE_SENT if state == ORDER_STATE_JOURNALED else state
    if kind == ORDER_PENDING:
        if early:
            return ORDER_STATE_PENDING_NEW
        if state == ORDER_STATE_SUSPECT:
            return ORDER_STATE_PARTIAL if filled > 0 else ORDER_STATE_PENDING_NEW
        return state
    if kind == ORDER_ACK:
        return resting if early or state == ORDER_STATE_SUSPECT else state
    if kind == ORDER_FILL or kind == ORDER_FEE:
        if state == ORDER_STATE_AMEND_PENDING or state == ORDER_STATE_CANCEL_PENDING:
            return state  # what we asked for is still on its way
        return ORDER_STATE_PARTIAL
    if kind == ORDER_FILLED:
        return ORDER_STATE_FILLED if reported == filled else ORDER_STATE_SUSPECT
    if kind == ORDER_CANCELED:
        return ORDER_STATE_CANCELLED if reported == qty - filled else ORDER_STATE_SUSPECT
    if kind == ORDER_EXPIRED:
        return ORDER_STATE_EXPIRED if reported == qty - filled else ORDER_STATE_SUSPECT
    if kind == ORDER_REJECT:
        if early or state == ORDER_STATE_SUSPECT or triggered != 0:
            return ORDER_STATE_REJECTED
        return ORDER_STATE_SUSPECT
    if kind == ORDER_TRAILED:
        return state
    if kind == ORDER_TRIGGERED:
        if state == ORDER_STATE_SUSPECT:
            return resting
        return ORDER_STATE_SUSPECT if early else state
    # What is left answers an amend or a cancel of ours.
    if kind == ORDER_AMENDED:
        if state == ORDER_STATE_AMEND_PENDING or state == ORDER_STATE_SUSPECT:
            return resting
        return ORDER_STATE_SUSPECT
    if reason == REJECT_UNKNOWN_ORDER:
        # Not found is not "gone": without evidence of its end the order is in doubt.
        return ORDER_STATE_SUSPECT
    if kind == CANCEL_REJECT and state == ORDER_STATE_CANCEL_PENDING:
        return resting
    if kind == AMEND_REJECT and state == ORDER_STATE_AMEND_PENDING:
        return resting
    return ORDER_STATE_SUSPECT
