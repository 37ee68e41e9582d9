"""What is known of one order at the venue, and what a message about it may lead to?

The small types that the account's decoder (account.py), the private line and the settling of doubts
share, and our client order ids as the wire has them. Left out: how messages change them (account.py).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final

import numpy as np

from adapters.kraken.wire import Triggers
from engine.events import EVENT, SELL, empty
from engine.instruments import Instrument

SUSPECT_OVERDUE: Final = 1  # a request of ours has no reply
SUSPECT_VANISHED: Final = 2  # open before the connection broke, not open now
SUSPECT_FILLS: Final = 3  # its total says more than the fills we know
SUSPECT_UNCLEAR: Final = 4  # a reply or report that leaves open what happened

# Client order ids: ours are this prefix and 16 hex digits, the 18 characters that free text may have.
PREFIX: Final = "kb"
SEEN_MAX: Final = 20_000  # execution and ledger ids that are remembered
OPEN: Final = ("pending_new", "new", "partially_filled")


def cl_ord_id_of(id: int) -> str:
    """The client order id of the wire for ours: 7 to `kb0000000000000007`."""
    if not 0 < id < 1 << 63:
        raise ValueError(f"{id} is not a client order id: those are above 0 and fit 64 bits.")
    return f"{PREFIX}{id:016x}"


def id_of_cl_ord_id(text: str | None) -> int:
    """Back again; 0 for what is not one of ours."""
    digits = text[len(PREFIX) :].lower() if text is not None else ""
    if text is None or text[: len(PREFIX)].lower() != PREFIX or len(digits) != 16:
        return 0
    if not all(each in "0123456789abcdef" for each in digits):
        return 0
    id = int(digits, 16)
    return id if id < 1 << 63 else 0


@dataclass
class OrderState:
    """What is known of one order. `id` is ours, or below zero for an order of somebody else."""

    order_id: str
    id: int
    sym: int
    side: int
    order_type: str
    qty: int = 0  # lots, total
    price: int = 0  # ticks: limit price, 0 for none
    trigger: int = 0  # ticks, 0 for none
    distance: int = 0  # ticks: of a trailing stop from its peak, 0 for none or in percent
    distance_asked: int = 0  # ... that the newest amend of ours asked for
    filled: int = 0  # lots, by fills that were applied
    told: int = 0  # lots filled, as the venue last said
    tif: str = ""
    status: str = "pending_new"
    acked: bool = False
    triggered: bool = False
    suspect: bool = False
    cause: int = 0  # SUSPECT_*, of the newest suspicion
    asked: str = ""  # method of the newest request about it
    asked_ns: int = 0  # when that was written
    placed_ns: int = 0  # when add_order was: no copy of it is on its way for ever

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def done(self) -> int:
        """Lots that are filled, whoever told it first."""
        return max(self.filled, self.told)

    @property
    def leaves(self) -> int:
        return max(0, self.qty - self.done)


def merge_trail(order: OrderState, pair: Instrument, triggers: Triggers) -> None:
    """Take distance and present trigger of a trailing stop; between two ticks it stands further off."""
    step = pair.price_increment
    if triggers.price_type == "quote" and triggers.price and triggers.price % step == 0:
        order.distance = pair.ticks(triggers.price)
    away = ROUND_FLOOR if order.side == SELL else ROUND_CEILING
    if triggers.actual_price:
        order.trigger = int((triggers.actual_price / step).to_integral_value(away))
    elif triggers.peak_price and order.distance:
        peak = int((triggers.peak_price / step).to_integral_value(away))
        order.trigger = peak + order.side * order.distance


def trail_agrees(order: OrderState, pair: Instrument, row: Mapping[str, Any], price: str) -> bool:
    """Does REST's row tell the same quantity and distance of a trailing stop?

    price : of its description; a distance has a sign. Without one it is where the trigger stands now,
    which says nothing of the distance.
    """
    same = pair.qty(order.qty) == Decimal(str(row.get("vol") or "0"))
    if price[:1] not in ("+", "-"):
        return same
    return same and not price.endswith("%") and pair.price(order.distance) == abs(Decimal(price))


@dataclass(frozen=True)
class Doubt:
    """Something that a person, or a reconcile over REST, must settle."""

    cause: str
    text: str
    order_id: str = ""
    id: int = 0


@dataclass(frozen=True)
class Ended:
    """How an order ended, as REST tells it. status : filled, canceled or expired"""

    order_id: str
    status: str
    filled: Decimal
    reason: str = ""
    timestamp: int = 0


@dataclass
class Read:
    """What follows from one message: events in order, doubts, and whether to start again."""

    rows: list[tuple[int, ...]] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    resync: bool = False

    def events(self) -> np.ndarray:
        return np.array(self.rows, EVENT) if self.rows else empty(0)


class Seen:
    """Ids that were applied; the oldest are forgotten."""

    def __init__(self, most: int = SEEN_MAX) -> None:
        self._most = most
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, id: str) -> bool:
        return id in self._ids

    def first_time(self, id: str) -> bool:
        if id in self._ids:
            return False
        self._ids[id] = None
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)
        return True


class Sequence:
    """The count of the messages of one channel. Unknown before the snapshot."""

    def __init__(self) -> None:
        self.last = 0
        self.synced = False

    def take(self, kind: str, number: int) -> str:
        """`fine`, `again` (a message that came before), `early` (no snapshot yet) or `jump`."""
        if kind == "snapshot":
            self.last, self.synced = number, True
            return "fine"
        if not self.synced:
            return "early"
        if number <= self.last:
            return "again"
        if number != self.last + 1:
            self.synced = False
            return "jump"
        self.last = number
        return "fine"

    def lose(self) -> None:
        self.synced = False
