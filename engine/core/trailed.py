"""What did the venue say of a trailing stop: where it stands, that it takes no other distance, or none?

Left out: the rest of an order's life (orders.py), what distance we want (trailing.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.commands import TRAILING_STOP
from engine.core.recoveries import RECOVERY_TRAIL_FIXED, RECOVERY_TRAIL_OFF, recovery_row
from engine.events import (
    AMEND_REJECT,
    ORDER_AMENDED,
    REJECT_NOT_SENT,
    REJECT_RATE,
    REJECT_STATUS,
    REJECT_UNKNOWN_ORDER,
    SNAPSHOT,
)
from engine.jit import kernel

TRAIL_REFUSALS_MAX: Final = 2  # then a trailing stop keeps the distance that it has


@kernel
def take_distance(order, told):
    """An amend or a snapshot names the distance: the peak stays, so the trigger moves with it.

    told : int64, ticks; 0 where the venue does not repeat it: then it is what we asked for
    """
    distance = told if told > 0 else order["amend_price"]
    if distance > 0:
        order["trigger"] += order["price"] - distance
        order["price"] = distance


@kernel
def note_trailed(order, event):
    """The venue says where our trailing stop stands. Returns whether that is its first word on it.

    Trades that we hear make the same of it, sooner or later: of what is told while it rests only the
    higher counts. At its beginning, and read back after a gap, the venue alone knows. The first word may
    come after the acknowledgement: each answer has a latency of its own.
    """
    if order["type"] != TRAILING_STOP or order["ts_done"] > 0:
        return False
    first = order["trailed"] == 0 or (np.int64(event["flags"]) & SNAPSHOT) != 0
    order["trailed"] = 1
    if event["aux"] > 0:
        order["price"] = event["aux"]
    if event["price"] > 0 and (first or event["price"] > order["trigger"]):
        order["trigger"] = event["price"]
    return first


@kernel
def judge_distance(desk, order, kind, refusal):
    """Does the venue take another distance? Once it does not, twice in a row, a row says so."""
    if order["type"] != TRAILING_STOP or order["amend_price"] == 0:
        return
    position = desk.symbols[order["sym"]]["position"]
    if kind == ORDER_AMENDED:
        position["trail_refused"] = 0
    elif kind == AMEND_REJECT:
        passing = refusal == REJECT_RATE or refusal == REJECT_STATUS or refusal == REJECT_NOT_SENT
        if passing or refusal == REJECT_UNKNOWN_ORDER:
            return
        position["trail_refused"] += 1
        if position["trail_refused"] == TRAIL_REFUSALS_MAX:
            state = order["state"]
            recovery_row(
                desk, order["sym"], RECOVERY_TRAIL_FIXED, order["id"], refusal, 0, state, state
            )


@kernel
def trailing_refused(desk, order, state_before):
    """The venue refused an order: was it a trailing stop as such, and not what it became as it fired?

    Then that is no refusal of protection: the plain stop leaves in this very step.
    """
    if order["type"] != TRAILING_STOP or order["triggered"] != 0:
        return False
    position = desk.symbols[order["sym"]]["position"]
    position["trail_off"] = 1
    recovery_row(
        desk, order["sym"], RECOVERY_TRAIL_OFF, order["id"], order["reason"], 0, state_before,
        order["state"],
    )  # fmt: skip
    return True
