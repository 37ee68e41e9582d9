"""Does a level 3 stream hold together? Single orders in queue order, and Kraken's checksum.

One book per symbol in plain Python: slow (about 100,000 rows a second), but it shares no code with
the books of core and venue, so that a store is judged by a second opinion.

Source of the rules: Kraken, guide to the level3 channel: an add of a known id replaces it, the
queue is ordered by the order's own time, levels beyond the depth are cut without a delete.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, insort
from dataclasses import dataclass, field

import numpy as np

from engine.events import (
    BUY,
    CHECKSUM,
    FAILED,
    L3_ADD,
    L3_DELETE,
    L3_MODIFY,
    LAST,
    MESSAGE_END,
    SNAPSHOT,
)
from engine.instruments import Instrument

_LEVEL3 = frozenset((L3_ADD, L3_MODIFY, L3_DELETE))
_CHECKED_LEVELS = 10


@dataclass
class _Side:
    """Orders of one side. Keys rise from the best level: the price of an ask, minus that of a bid."""

    keys: list[int] = field(default_factory=list)
    queues: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)  # time, arrival, id

    def add(self, key: int, place: tuple[int, int, int]) -> None:
        if key not in self.queues:
            insort(self.keys, key)
            self.queues[key] = []
        insort(self.queues[key], place)

    def remove(self, key: int, place: tuple[int, int, int]) -> None:
        queue = self.queues[key]
        queue.remove(place)
        if not queue:
            del self.queues[key]
            self.keys.pop(bisect_left(self.keys, key))


class Level3Book:
    """Orders of one symbol. `apply` rows in order; it says what does not hold together."""

    def __init__(self, instrument: Instrument, depth: int) -> None:
        row = instrument.row()
        self._tick_num, self._lot_num = int(row["tick_num"]), int(row["lot_num"])
        self._depth = depth
        self._sides: dict[int, _Side] = {}
        # id -> side, key, place in the queue, lots
        self._orders: dict[int, tuple[int, int, tuple[int, int, int], int]] = {}
        self._n_arrived = 0
        self._open = False
        self._clear()
        self.n_unknown = 0  # changes of orders that are not there: normal at the edge of a window

    def _clear(self) -> None:
        self._sides = {0: _Side(), 1: _Side()}
        self._orders = {}

    def _drop(self, order_id: int) -> None:
        i_side, key, place, _ = self._orders.pop(order_id)
        self._sides[i_side].remove(key, place)

    def apply(self, row: np.void) -> str:
        """Take one row; what is wrong with the message that it closes, or ""."""
        kind, flags, order_id = int(row["kind"]), int(row["flags"]), int(row["id"])
        if not self._open:
            self._open = True
            if flags & SNAPSHOT:
                self._clear()
        if kind != MESSAGE_END:
            self._order(kind, order_id, row)
        if not flags & LAST:
            return ""
        self._open = False
        self._cut()
        if not flags & CHECKSUM:
            return ""
        stated, found = int(row["aux"]), self.checksum()
        if flags & FAILED:
            if stated == found:
                return f"its checksum {stated} is called failed, but the orders give it"
            return ""
        if stated != found:
            return f"its checksum is {stated}, the orders give {found}"
        return self._crossed()

    def _order(self, kind: int, order_id: int, row: np.void) -> None:
        known = self._orders.get(order_id)
        if kind == L3_MODIFY and known is not None and int(row["qty"]) > 0:
            i_side, key, place, _ = known
            self._orders[order_id] = (i_side, key, place, int(row["qty"]))
            return
        if kind != L3_ADD and known is None:
            self.n_unknown += 1
        if known is not None:
            self._drop(order_id)
        if kind == L3_ADD:
            i_side, price = (0, int(row["price"])) if row["side"] == BUY else (1, int(row["price"]))
            key = price if i_side else -price
            place = (int(row["aux"]), self._n_arrived, order_id)
            self._n_arrived += 1
            self._sides[i_side].add(key, place)
            self._orders[order_id] = (i_side, key, place, int(row["qty"]))

    def _cut(self) -> None:
        if self._depth <= 0:
            return
        for side in self._sides.values():
            for key in side.keys[self._depth :]:
                for _, _, order_id in side.queues.pop(key):
                    del self._orders[order_id]
            del side.keys[self._depth :]

    def checksum(self) -> int:
        """Kraken's CRC-32 over every order of the ten best levels, asks first, in queue order."""
        text = []
        for i_side in (1, 0):
            side = self._sides[i_side]
            for key in side.keys[:_CHECKED_LEVELS]:
                price = str(abs(key) * self._tick_num)
                for _, _, order_id in side.queues[key]:
                    text.append(price)
                    text.append(str(self._orders[order_id][3] * self._lot_num))
        return zlib.crc32("".join(text).encode())

    def _crossed(self) -> str:
        bids, asks = self._sides[0].keys, self._sides[1].keys
        if bids and asks and -bids[0] >= asks[0]:
            return f"it leaves the book crossed: best bid {-bids[0]} ticks, best ask {asks[0]}"
        return ""


def is_level3(row: np.void) -> bool:
    """Does the row belong to the level 3 channel?"""
    kind = int(row["kind"])
    return kind in _LEVEL3 or (kind == MESSAGE_END and int(row["id"]) in _LEVEL3)
