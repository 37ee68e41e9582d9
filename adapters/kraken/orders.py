"""Which single orders stand in one book, and in what queue order? The state behind level 3.

Orders of a price stand by their own time, oldest first, ties as they arrived: refills come with
old times. Levels beyond the subscribed depth are cut without a delete, and an order that fell out
may come back at another price; so an add of a known id replaces it. Left out: the messages
(wire.py), their events and verdicts (feed.py).

Source: Kraken, guide to the level3 channel; what is assumed stands in docs/kraken-protocol.md.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from adapters.kraken.checksum import CHECKSUM_LEVELS, crc32_tokens, order_token

BIDS: Final = 0
ASKS: Final = 1


def order_key(order_id: str) -> int:
    """Kraken's order id as the number of an event: 63 bits of a hash, so the same in every run.

    A million orders in one book share a number with another once in twenty million books.
    """
    digest = hashlib.blake2b(order_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(slots=True)
class Resting:
    """One order that stands in the book."""

    order_id: str
    key: int  # order_key of it
    i_side: int
    price_ticks: int
    qty_lots: int
    place: tuple[int, int]  # own time in ns, arrival
    token: bytes


@dataclass(slots=True)
class _Level:
    places: list[tuple[int, int]]  # sorted
    orders: list[Resting]  # in step with places


class OrderBook:
    """The orders of one symbol. Changes come in ticks and lots, already checked."""

    def __init__(self, depth: int, tick_num: int, lot_num: int) -> None:
        """depth : price levels a side, 0 keeps all; tick_num, lot_num : as in INSTRUMENT_ROW"""
        self._depth, self._tick_num, self._lot_num = depth, tick_num, lot_num
        self._orders: dict[str, Resting] = {}
        # A level's rank is its price for asks, minus its price for bids: smaller is better.
        self._ranks: tuple[list[int], list[int]] = ([], [])
        self._levels: tuple[dict[int, _Level], dict[int, _Level]] = ({}, {})
        self._n_arrived = 0
        self.n_unknown = 0  # changes of orders that we do not hold: normal at the window's edge

    def __len__(self) -> int:
        return len(self._orders)

    def get(self, order_id: str) -> Resting | None:
        """The order that stands under this id."""
        return self._orders.get(order_id)

    def clear(self) -> None:
        """Forget every order."""
        self._orders.clear()
        for ranks, levels in zip(self._ranks, self._levels, strict=True):
            ranks.clear()
            levels.clear()

    def add(self, order_id: str, i_side: int, price_ticks: int, qty_lots: int, time: int) -> None:
        """Put an order at its place by `time` (ns); one of the same id leaves first."""
        if order_id in self._orders:
            self._take_out(order_id)
        self._n_arrived += 1
        place = (time, self._n_arrived)
        token = order_token(price_ticks, qty_lots, self._tick_num, self._lot_num)
        order = Resting(order_id, order_key(order_id), i_side, price_ticks, qty_lots, place, token)
        self._orders[order_id] = order
        rank = price_ticks if i_side == ASKS else -price_ticks
        level = self._levels[i_side].get(rank)
        if level is None:
            level = self._levels[i_side][rank] = _Level([], [])
            insort(self._ranks[i_side], rank)
        at = bisect_left(level.places, place)
        level.places.insert(at, place)
        level.orders.insert(at, order)

    def modify(self, order_id: str, qty_lots: int) -> None:
        """Change a quantity; the order keeps its price and its place."""
        order = self._orders.get(order_id)
        if order is None:
            self.n_unknown += 1
            return
        order.qty_lots = qty_lots
        order.token = order_token(order.price_ticks, qty_lots, self._tick_num, self._lot_num)

    def delete(self, order_id: str) -> None:
        """Take an order out; one that we do not hold is only counted."""
        if order_id in self._orders:
            self._take_out(order_id)
        else:
            self.n_unknown += 1

    def _take_out(self, order_id: str) -> None:
        order = self._orders.pop(order_id)
        rank = order.price_ticks if order.i_side == ASKS else -order.price_ticks
        level = self._levels[order.i_side][rank]
        at = bisect_left(level.places, order.place)
        del level.places[at], level.orders[at]
        if not level.places:
            del self._levels[order.i_side][rank]
            ranks = self._ranks[order.i_side]
            del ranks[bisect_left(ranks, rank)]

    def cut(self) -> None:
        """Forget the levels beyond the subscribed depth, of which no delete is sent."""
        if self._depth <= 0:
            return
        for ranks, levels in zip(self._ranks, self._levels, strict=True):
            while len(ranks) > self._depth:
                for order in levels.pop(ranks.pop()).orders:
                    del self._orders[order.order_id]

    def checksum(self) -> int:
        """Kraken's CRC-32 over the ten best levels a side."""
        return crc32_tokens(self._tokens(ASKS), self._tokens(BIDS))

    def _tokens(self, i_side: int) -> Iterator[bytes]:
        levels = self._levels[i_side]
        for rank in self._ranks[i_side][:CHECKSUM_LEVELS]:
            for order in levels[rank].orders:
                yield order.token

    def crossed(self) -> bool:
        """Do both sides have orders, and is the best bid at or above the best ask?"""
        bids, asks = self._ranks
        return bool(bids and asks) and -bids[0] >= asks[0]

    def queue(self, i_side: int) -> list[tuple[int, list[tuple[str, int]]]]:
        """The levels of a side, best first: price in ticks, and (id, lots) in queue order."""
        levels = self._levels[i_side]
        return [
            (abs(rank), [(order.order_id, order.qty_lots) for order in levels[rank].orders])
            for rank in self._ranks[i_side]
        ]
