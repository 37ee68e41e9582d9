"""What does a subscriber of so many levels see of a change? Whole books, and windows of them.

A window shows the best `depth` levels a side. A level that comes into it is sent with the change
that let it in; one that is pushed out is not mentioned, the subscriber cuts it himself. Written in
plain Python from the protocol's text, beside the kernels of engine/, so that a client that shares
code with those is judged by another book.

Sources: Kraken, `book` and `level3` channels, and their checksum guides.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

FAR: Final = 1 << 62
CHECKED: Final = 10  # levels a side that a checksum covers

Level = tuple[int, int, int]  # i_side (0 bids, 1 asks), price in ticks, lots


class Order3(NamedTuple):
    """One event of the level-3 channel; `kind` is add, modify or delete."""

    kind: str
    i_side: int
    price: int
    qty: int
    id: int
    ts: int


def key_of(i_side: int, price: int) -> int:
    """Rises from the best price of a side: the price of an ask, minus that of a bid."""
    return price if i_side else -price


def price_of(i_side: int, key: int) -> int:
    return key if i_side else -key


class LevelBook:
    """Price levels of one symbol.

    tick_num, lot_num : a tick and a lot in units of the last decimal of the wire text
    depth : levels a side that the source maintains, 0 where it removes each level itself
    """

    def __init__(self, tick_num: int, lot_num: int, depth: int = 0) -> None:
        self.tick_num, self.lot_num, self.depth = tick_num, lot_num, depth
        self.keys: tuple[list[int], list[int]] = ([], [])
        self.qtys: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def edge(self, i_side: int, depth: int) -> int:
        """Key of the last level that a window shows; FAR if it shows all."""
        keys = self.keys[i_side]
        return keys[depth - 1] if len(keys) >= depth else FAR

    def _set(self, i_side: int, key: int, qty: int) -> None:
        keys, qtys = self.keys[i_side], self.qtys[i_side]
        if qty:
            if key not in qtys:
                insort(keys, key)
            qtys[key] = qty
        elif key in qtys:
            del qtys[key]
            del keys[bisect_left(keys, key)]

    def change(self, levels: Iterable[Level], depths: Iterable[int] = ()) -> dict[int, list[Level]]:
        """Take one message's levels; what each window in `depths` has to be told, in order.

        The last of several entries for one price wins. Levels beyond the source's own depth go.
        """
        final: dict[tuple[int, int], int] = {}
        for i_side, price, qty in levels:
            final[i_side, key_of(i_side, price)] = qty
        before = {d: (self.edge(0, d), self.edge(1, d)) for d in depths}
        changed = []
        for (i_side, key), qty in final.items():
            if self.qtys[i_side].get(key, 0) != qty:
                changed.append((i_side, key, qty))
                self._set(i_side, key, qty)
        if self.depth:
            for i_side in (0, 1):
                keys = self.keys[i_side]
                while len(keys) > self.depth:
                    key = keys[-1]
                    changed.append((i_side, key, 0))
                    self._set(i_side, key, 0)
        return {d: self._seen(changed, d, before[d]) for d in before}

    def _seen(
        self, changed: list[tuple[int, int, int]], depth: int, before: tuple[int, int]
    ) -> list[Level]:
        after = (self.edge(0, depth), self.edge(1, depth))
        told: dict[tuple[int, int], int] = {}
        for i_side, key, qty in changed:
            if key <= before[i_side] and key <= after[i_side]:
                told[i_side, key] = qty
        for i_side in (0, 1):
            if before[i_side] < after[i_side]:
                keys = self.keys[i_side]
                start = bisect_right(keys, before[i_side])
                for key in keys[start : bisect_right(keys, after[i_side])]:
                    told[i_side, key] = self.qtys[i_side][key]
        return [(i_side, price_of(i_side, key), qty) for (i_side, key), qty in told.items()]

    def replacement(self, levels: Iterable[Level]) -> list[Level]:
        """The changes that turn the book into a snapshot of these levels."""
        new: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for i_side, price, qty in levels:
            new[i_side][key_of(i_side, price)] = qty
        changes = []
        for i_side in (0, 1):
            gone = [key for key in self.keys[i_side] if key not in new[i_side]]
            changes += [(i_side, price_of(i_side, key), 0) for key in gone]
            changes += [(i_side, price_of(i_side, k), qty) for k, qty in new[i_side].items()]
        return changes

    def best(self, i_side: int, depth: int) -> list[Level]:
        """The best levels of a side, best first."""
        qtys = self.qtys[i_side]
        keys = self.keys[i_side][:depth]
        return [(i_side, price_of(i_side, key), qtys[key]) for key in keys]

    def touch(self, i_side: int) -> tuple[int, int]:
        """Best price and its lots; zeros for an empty side."""
        keys = self.keys[i_side]
        return (price_of(i_side, keys[0]), self.qtys[i_side][keys[0]]) if keys else (0, 0)

    def checksum(self) -> int:
        """CRC-32 of the ten best levels a side: asks upward, then bids downward."""
        words = [
            f"{price * self.tick_num}{qty * self.lot_num}"
            for i_side in (1, 0)
            for _, price, qty in self.best(i_side, CHECKED)
        ]
        return zlib.crc32("".join(words).encode())


class OrderBook3:
    """Single orders of one symbol, queued per price by their own time, then by arrival."""

    def __init__(self, tick_num: int, lot_num: int, depth: int = 0) -> None:
        self.tick_num, self.lot_num, self.depth = tick_num, lot_num, depth
        self.keys: tuple[list[int], list[int]] = ([], [])
        self.queues: tuple[dict[int, list[tuple[int, int, int]]], ...] = ({}, {})
        self.orders: dict[int, tuple[int, int, int, int, int]] = {}  # side, key, ts, arrival, lots
        self.n_arrived = 0

    def edge(self, i_side: int, depth: int) -> int:
        keys = self.keys[i_side]
        return keys[depth - 1] if len(keys) >= depth else FAR

    def _drop(self, order_id: int) -> None:
        i_side, key, ts, arrival, _ = self.orders.pop(order_id)
        queue = self.queues[i_side][key]
        queue.remove((ts, arrival, order_id))
        if not queue:
            del self.queues[i_side][key]
            keys = self.keys[i_side]
            del keys[bisect_left(keys, key)]

    def _apply(self, event: Order3) -> None:
        key = key_of(event.i_side, event.price)
        held = self.orders.get(event.id)
        if event.kind == "modify" and held is not None and held[:2] == (event.i_side, key):
            self.orders[event.id] = (*held[:4], event.qty)  # the place is kept
            return
        if held is not None:
            self._drop(event.id)
        if event.kind == "delete":
            return
        self.n_arrived += 1
        self.orders[event.id] = (event.i_side, key, event.ts, self.n_arrived, event.qty)
        queues = self.queues[event.i_side]
        if key not in queues:
            insort(self.keys[event.i_side], key)
            queues[key] = []
        insort(queues[key], (event.ts, self.n_arrived, event.id))

    def change(
        self, events: Iterable[Order3], depths: Iterable[int] = ()
    ) -> dict[int, list[Order3]]:
        """Take one message's events; what each window in `depths` has to be told, in order."""
        before = {d: (self.edge(0, d), self.edge(1, d)) for d in depths}
        done = []
        for event in events:
            held = self.orders.get(event.id)
            if event.kind == "delete" and held is None:
                continue
            if event.kind != "delete" and held is not None:
                i_side, key, ts, _, qty = held
                if (i_side, key) != (event.i_side, key_of(event.i_side, event.price)):
                    # Its new place may lie beyond a window that shows the old one.
                    done.append(Order3("delete", i_side, price_of(i_side, key), qty, event.id, ts))
                    self._drop(event.id)
                    event = event._replace(kind="add")
            done.append(event)
            self._apply(event)
        if self.depth:
            for i_side in (0, 1):
                keys = self.keys[i_side]
                while len(keys) > self.depth:
                    for ts, _, order_id in list(self.queues[i_side][keys[-1]]):
                        _, key, _, _, qty = self.orders[order_id]
                        price = price_of(i_side, key)
                        done.append(Order3("delete", i_side, price, qty, order_id, ts))
                        self._drop(order_id)
        return {d: self._seen(done, d, before[d]) for d in before}

    def _seen(self, done: list[Order3], depth: int, before: tuple[int, int]) -> list[Order3]:
        after = (self.edge(0, depth), self.edge(1, depth))
        told = []
        for event in done:
            key = key_of(event.i_side, event.price)
            if key <= before[event.i_side] and key <= after[event.i_side]:
                told.append(event)
        for i_side in (0, 1):
            if before[i_side] < after[i_side]:
                keys = self.keys[i_side]
                start = bisect_right(keys, before[i_side])
                for key in keys[start : bisect_right(keys, after[i_side])]:
                    told += self._queue(i_side, key)
        return told

    def _queue(self, i_side: int, key: int) -> Iterator[Order3]:
        for ts, _, order_id in self.queues[i_side][key]:
            qty = self.orders[order_id][4]
            yield Order3("add", i_side, price_of(i_side, key), qty, order_id, ts)

    def replacement(self, events: Iterable[Order3]) -> list[Order3]:
        """The events that turn the book into a snapshot of these orders."""
        new = {event.id: event for event in events}
        changes = []
        for order_id, (i_side, key, ts, _, qty) in self.orders.items():
            if order_id not in new:
                price = price_of(i_side, key)
                changes.append(Order3("delete", i_side, price, qty, order_id, ts))
        for event in new.values():
            held = self.orders.get(event.id)
            same = (event.i_side, key_of(event.i_side, event.price), event.ts, event.qty)
            if held is None or (held[0], held[1], held[2], held[4]) != same:
                changes.append(event)
        return changes

    def best(self, i_side: int, depth: int) -> list[Order3]:
        """All orders of the best levels of a side, best level first, in queue order."""
        return [o for key in self.keys[i_side][:depth] for o in self._queue(i_side, key)]

    def checksum(self) -> int:
        """CRC-32 of all orders of the ten best levels a side, in queue order."""
        words = [
            f"{order.price * self.tick_num}{order.qty * self.lot_num}"
            for i_side in (1, 0)
            for order in self.best(i_side, CHECKED)
        ]
        return zlib.crc32("".join(words).encode())
