"""What of a base does the account hold, whose is it, what do orders hold of it, and how sure are we?

Of the venue's total, our part is what our fills say (position and dust), the rest is foreign; of our part,
resting sells hold what they may still sell, and the rest is free to be offered. Each symbol has a quality:
VERIFIED where the venue's balance agrees with our books, DERIVED where only our fills speak (no account was
told, as in every replay, or a difference has not stood still yet), DEGRADED where coins are missing, a
difference lasts, or an order is in doubt. DEGRADED takes no entries (gates.py and safety.py refuse each of
its reasons by a code of its own) and keeps protection. A row of `inventory` says what changed.

Left out: what is done about a difference (reconcile.py).
"""

from __future__ import annotations

from typing import Final

from engine.core.orders import has_suspect, is_working
from engine.core.positions import sellable
from engine.core.records import T_INVENTORY
from engine.core.rows import claim_row
from engine.jit import kernel
from engine.stage import stage

QUALITY_DERIVED: Final = 0
QUALITY_VERIFIED: Final = 1
QUALITY_DEGRADED: Final = 2
QUALITY_NAMES: Final[dict[int, str]] = {
    QUALITY_DERIVED: "derived",
    QUALITY_VERIFIED: "verified",
    QUALITY_DEGRADED: "degraded",
}

# What a quality rests on.
EVIDENCE_FILLS: Final = 0  # our own fills
EVIDENCE_BALANCE: Final = 1  # the venue's balance
EVIDENCE_MOVING: Final = 2  # a difference that may be one of time
EVIDENCE_MISSING: Final = 3  # coins of ours that the venue does not have
EVIDENCE_DIFFERS: Final = 4  # a difference that lasts
EVIDENCE_ORDER: Final = 5  # an order in doubt
EVIDENCE_NAMES: Final[dict[int, str]] = {
    EVIDENCE_FILLS: "fills",
    EVIDENCE_BALANCE: "balance",
    EVIDENCE_MOVING: "moving",
    EVIDENCE_MISSING: "missing",
    EVIDENCE_DIFFERS: "differs",
    EVIDENCE_ORDER: "order_in_doubt",
}


@kernel
def held_lots(desk, i):
    """Lots of symbol `i` that our working sells may still sell."""
    held = 0
    for k in range(len(desk.orders)):
        order = desk.orders[k]
        if order["sym"] == i and order["side"] < 0 and is_working(order):
            held += order["qty"] - order["filled"]
    return held


@kernel
def quality_of(desk, i):
    """(QUALITY_*, EVIDENCE_*) of symbol `i` as the books stand."""
    glob = desk.glob
    position = desk.symbols[i]["position"]
    if position["short"] > 0:
        return QUALITY_DEGRADED, EVIDENCE_MISSING
    since = position["differs_ts"]
    if since > 0 and glob["now"] - since >= desk.params["reconcile_settle_ns"]:
        return QUALITY_DEGRADED, EVIDENCE_DIFFERS
    if has_suspect(desk, i):
        return QUALITY_DEGRADED, EVIDENCE_ORDER
    if glob["account_synced"] == 0 or glob["adopted"] == 0 or position["venue_told"] == 0:
        return QUALITY_DERIVED, EVIDENCE_FILLS
    if since > 0:
        return QUALITY_DERIVED, EVIDENCE_MOVING
    return QUALITY_VERIFIED, EVIDENCE_BALANCE


@stage
def note_inventory(desk, i):
    """A row if quality, evidence, what orders hold, what is foreign or what is missing changed."""
    symbol = desk.symbols[i]
    position = symbol["position"]
    quality, evidence = quality_of(desk, i)
    held = held_lots(desk, i)
    own = position["qty"] + position["dust"]
    same = (
        quality == position["quality"]
        and evidence == position["evidence"]
        and held == position["held"]
        and own == position["told_own"]
        and position["foreign"] == position["told_foreign"]
        and position["short"] == position["told_short"]
    )
    if same:
        return
    position["quality"] = quality
    position["evidence"] = evidence
    position["held"] = held
    position["told_own"] = own
    position["told_foreign"] = position["foreign"]
    position["told_short"] = position["short"]
    ring = desk.rings["inventory"]
    n = claim_row(desk.glob, T_INVENTORY, len(ring))
    if n < 0:
        return
    row = ring[n]
    row["ts"] = desk.glob["now"]
    row["sym"] = i
    row["quality"] = quality
    row["evidence"] = evidence
    row["venue"] = position["venue_qty"] if position["venue_told"] == 1 else -1
    row["own"] = own
    row["dust"] = position["dust"]
    row["foreign_part"] = position["foreign"]
    row["missing"] = position["short"]
    row["held"] = held
    row["free"] = max(sellable(position) - held, 0)
