"""What was seen or done to bring our books and the venue together? Codes, and the row of each.

`value` and `expected` are lots of the symbol, or money where the row is about the account, unless the
code says otherwise.
"""

from __future__ import annotations

from typing import Final

from engine.core.records import T_RECOVERIES
from engine.core.rows import claim_row
from engine.jit import kernel

RECOVERY_LOST: Final = 1  # the private stream broke; value = orders in doubt since
RECOVERY_STARTED: Final = 2  # a session began; value = orders in doubt since
RECOVERY_SYNCED: Final = 3  # the private stream is whole again
RECOVERY_SUSPECT: Final = 4  # the shell doubts an order; value = SUSPECT_* of the shell
RECOVERY_ABSENT: Final = 5  # the venue never had it: it ended
RECOVERY_NOT_ABSENT: Final = 6  # ... but it has fills, or is not in doubt: ignored; value = filled
RECOVERY_RECONCILED: Final = 7  # nothing is pending; value = symbols that still differ
RECOVERY_OPEN_DOUBT: Final = 8  # a reconcile is not clean: this order is in doubt
RECOVERY_DIFFERS: Final = 9  # ... this balance differs; value = venue, expected = ours + foreign
RECOVERY_NOT_SYNCED: Final = 10  # ... the private stream is not whole
RECOVERY_ADOPTED: Final = 11  # there before us; value = venue, expected = ours
RECOVERY_FOREIGN: Final = 12  # came or went by other hands; value = foreign now, expected = before
RECOVERY_SHORT: Final = 13  # fewer coins than ours: cover is capped; value = venue, expected = ours
RECOVERY_WRITTEN_OFF: Final = 14  # missing coins leave the books; value = lots, expected = ours
RECOVERY_CASH: Final = 15  # cash differs for too long; value = venue, expected = ours + foreign
RECOVERY_CASH_ACCEPTED: Final = 16  # an operator took the venue's cash; value, expected as above
RECOVERY_RELEASED: Final = 17  # an operator released the symbol; value = reason code it had
RECOVERY_SWITCH_FIRED: Final = 18  # value = orders that the dead man's switch cancelled
RECOVERY_FOREIGN_ORDER: Final = 19  # somebody else's order is open; order = its key, value = lots
RECOVERY_HISTORY: Final = 20  # a fill of an order that left the table: not booked; value = lots
RECOVERY_REPEATED: Final = 21  # a family was switched off; value = FAMILY_*, expected = its limit
RECOVERY_ENABLED: Final = 22  # an operator switched it on again; value = FAMILY_*
RECOVERY_LEASE: Final = 23  # somebody else drives a symbol's exits; value = until, ns, 0 ended
RECOVERY_FLATTEN: Final = 24  # an operator wants out; value = lots held
RECOVERY_STOPPING: Final = 25  # the session ends; value = entries that work
RECOVERY_OPEN_AGAIN: Final = 26  # the venue shows an order that has ended here; value = its lots
RECOVERY_TRAIL_OFF: Final = 27  # no trailing stop: plain ones from here on; value = REJECT_*
RECOVERY_TRAIL_FIXED: Final = 28  # its distance cannot be changed: it stays; value = REJECT_*

RECOVERY_NAMES: Final[dict[int, str]] = {
    RECOVERY_LOST: "lost",
    RECOVERY_STARTED: "started",
    RECOVERY_SYNCED: "synced",
    RECOVERY_SUSPECT: "suspect",
    RECOVERY_ABSENT: "absent",
    RECOVERY_NOT_ABSENT: "not_absent",
    RECOVERY_RECONCILED: "reconciled",
    RECOVERY_OPEN_DOUBT: "open_doubt",
    RECOVERY_DIFFERS: "differs",
    RECOVERY_NOT_SYNCED: "not_synced",
    RECOVERY_ADOPTED: "adopted",
    RECOVERY_FOREIGN: "foreign",
    RECOVERY_SHORT: "short",
    RECOVERY_WRITTEN_OFF: "written_off",
    RECOVERY_CASH: "cash",
    RECOVERY_CASH_ACCEPTED: "cash_accepted",
    RECOVERY_RELEASED: "released",
    RECOVERY_SWITCH_FIRED: "switch_fired",
    RECOVERY_FOREIGN_ORDER: "foreign_order",
    RECOVERY_HISTORY: "history",
    RECOVERY_REPEATED: "repeated",
    RECOVERY_ENABLED: "enabled",
    RECOVERY_LEASE: "lease",
    RECOVERY_FLATTEN: "flatten",
    RECOVERY_STOPPING: "stopping",
    RECOVERY_OPEN_AGAIN: "open_again",
    RECOVERY_TRAIL_OFF: "trail_off",
    RECOVERY_TRAIL_FIXED: "trail_fixed",
}


@kernel
def recovery_row(desk, i, code, order_id, value, expected, state_before, state):
    """Append one row to the table `recoveries`. i : int64, row of the symbol, -1 the account"""
    glob = desk.glob
    ring = desk.rings["recoveries"]
    n = claim_row(glob, T_RECOVERIES, len(ring))
    if n < 0:
        return
    row = ring[n]
    row["ts"] = glob["now"]
    row["sym"] = i
    row["recovery"] = code
    row["order"] = order_id
    row["value"] = value
    row["expected"] = expected
    row["state_before"] = state_before
    row["state"] = state
