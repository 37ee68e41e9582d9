"""Where is each of our orders in its life? The order table and its 13 states."""

from __future__ import annotations

from typing import Final

import numpy as np

N_ORDERS: Final = 64  # slots of the order table
N_ENTRY_SLOTS: Final = 48  # entries use these only: the rest is kept for protection and exits
N_EXECUTIONS: Final = 64  # execution ids remembered per order; a venue resends the last 50

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
        ("trigger", "<i8"),
        ("qty", "<i8"),  # lots, total
        ("filled", "<i8"),
        ("expire_ts", "<i8"),
        ("reason", "<i8"),  # why it was sent; then why it was refused or cancelled
        ("venue_key", "<i8"),
        ("triggered", "<i8"),  # 1: its stop fired
        ("amend_price", "<i8"),  # what the amend in flight asks for, 0 keeps
        ("amend_trigger", "<i8"),
        ("amend_qty", "<i8"),
        ("n_moves", "<i8"),  # amends sent
        ("n_refused", "<i8"),  # amends and cancels refused since the last success
        ("ts_decided", "<i8"),
        ("ts_sent", "<i8"),
        ("ts_acked", "<i8"),
        ("ts_filled", "<i8"),
        ("ts_touched", "<i8"),  # created or last amended: the age that the venue charges by
        ("ts_command", "<i8"),  # newest command: replies are overdue from here
        ("ts_done", "<i8"),  # entered its terminal state
        ("expected_bps", "<f8"),  # of the mandate of an entry, carried to the position
        ("invalidation_bps", "<f8"),
        ("horizon_ns", "<i8"),
        ("fill_exec", "<i8"),  # the fill whose fee has not arrived yet, 0 none
        ("fill_price", "<i8"),
        ("fill_qty", "<i8"),
        ("fill_maker", "<i8"),
        ("fill_ts_venue", "<i8"),
        ("n_executions", "<i8"),
        ("executions", "<i8", (N_EXECUTIONS,)),  # ring of execution ids already applied
    ]
)
