"""Frames as Kraken would send them, from a seeded market whose whole book is known.

A subscriber sees a window of it: a level or order that comes into the window is sent in the same
message, what an insertion pushes out is not mentioned. Checksums are made the slow way, from text
with zlib (tests/naive/checksum.py).
"""

from __future__ import annotations

import random
from bisect import insort
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.naive.checksum import crc32_levels

START_NS = 1_767_225_600_000_000_000  # 2026-01-01


def text_of(steps: int, precision: int) -> str:
    """Whole units of the last decimal as fixed-point text."""
    digits = f"{steps:0{precision + 1}d}"
    return f"{digits[:-precision]}.{digits[-precision:]}" if precision else digits


def stamp(ns: int, digits: int = 6) -> str:
    """Nanoseconds since the epoch as Kraken writes them."""
    second = datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{second}.{ns % 10**9:09d}"[: 20 + digits] + "Z"


def envelope(channel: str, type_: str, item: str) -> bytes:
    """One data frame with one item."""
    return f'{{"channel":"{channel}","type":"{type_}","data":[{item}]}}'.encode()


@dataclass
class Scale:
    """How one pair's numbers are written; a step is one unit of the last decimal."""

    symbol: str = "BTC/USD"
    price_precision: int = 1
    qty_precision: int = 8

    def price(self, ticks: int) -> str:
        return text_of(ticks, self.price_precision)

    def qty(self, lots: int) -> str:
        return text_of(lots, self.qty_precision)


class BookSource:
    """The `book` channel of one pair. The whole book: `sides`, ticks to lots, bids first."""

    def __init__(self, scale: Scale, depth: int, seed: int, mid: int = 600_000) -> None:
        self.scale, self.depth = scale, depth
        self._random = random.Random(f"{scale.symbol} {depth} {seed}")
        self.ts = START_NS
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._ranks: tuple[list[int], list[int]] = ([], [])  # smaller is better
        for i_side in (0, 1):
            for i in range(depth + 20):
                rank = (mid + 5 + 3 * i) if i_side else -(mid - 5 - 3 * i)
                self._insert(i_side, rank)

    def _lots(self) -> int:
        return self._random.choice((1, 5100, 10**8, self._random.randrange(1, 10**10)))

    def _insert(self, i_side: int, rank: int) -> None:
        if abs(rank) not in self.sides[i_side]:
            insort(self._ranks[i_side], rank)
        self.sides[i_side][abs(rank)] = self._lots()

    def window(self, i_side: int) -> list[tuple[int, int]]:
        """(ticks, lots) of the best `depth` levels, best first."""
        side = self.sides[i_side]
        return [(abs(rank), side[abs(rank)]) for rank in self._ranks[i_side][: self.depth]]

    def checksum(self) -> int:
        """Kraken's checksum of the window."""
        scale = self.scale
        texts = [
            [(scale.price(p), scale.qty(q)) for p, q in self.window(i_side)[:10]]
            for i_side in (0, 1)
        ]
        return crc32_levels(asks=texts[1], bids=texts[0])

    def _frame(self, type_: str, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> bytes:
        scale = self.scale
        sides = [
            ",".join(f'{{"price":{scale.price(p)},"qty":{scale.qty(q)}}}' for p, q in levels)
            for levels in (bids, asks)
        ]
        return envelope(
            "book",
            type_,
            f'{{"symbol":"{scale.symbol}","bids":[{sides[0]}],"asks":[{sides[1]}],'
            f'"checksum":{self.checksum()},"timestamp":"{stamp(self.ts)}"}}',
        )

    def snapshot(self) -> bytes:
        """The whole window."""
        return self._frame("snapshot", self.window(0), self.window(1))

    def update(self) -> bytes:
        """One change of the market: mostly another quantity, else a level that goes or comes."""
        self.ts += self._random.randrange(1, 40_000) * 1000
        i_side = self._random.randrange(2)
        ranks, side = self._ranks[i_side], self.sides[i_side]
        before = dict(self.window(i_side))
        what = self._random.random()
        at = min(int(self._random.expovariate(0.3)), self.depth - 1)
        removed = []
        if what < 0.73:
            side[abs(ranks[at])] = self._lots()
        elif what < 0.87 and len(ranks) > self.depth // 2 + 2:
            rank = ranks.pop(at)
            removed.append(abs(rank))
            del side[abs(rank)]
        else:
            other = self._ranks[1 - i_side]
            best = ranks[0] - self._random.randrange(3)
            rank = best + self._random.randrange(1 + self.depth * 3)
            if rank > -other[0]:
                self._insert(i_side, rank)
        if len(ranks) < self.depth + 10:
            self._insert(i_side, ranks[-1] + self._random.randrange(1, 4))
        after = dict(self.window(i_side))
        changes = [(price, 0) for price in removed if price in before]
        changes += [(p, q) for p, q in after.items() if before.get(p) != q]
        return self._frame("update", *((changes, []) if i_side == 0 else ([], changes)))


class OrderSource:
    """The `level3` channel of one pair: orders by id, in queues by price."""

    def __init__(self, scale: Scale, depth: int, seed: int, mid: int = 600_000) -> None:
        self.scale, self.depth = scale, depth
        self._random = random.Random(f"{scale.symbol} level3 {depth} {seed}")
        self.ts = START_NS
        self._n = 0
        # A queue is a list of [id, lots, time]; smaller ranks are better.
        self.queues: tuple[dict[int, list[list]], dict[int, list[list]]] = ({}, {})
        self._amended: list[tuple[int, str]] = []
        for i_side in (0, 1):
            for i in range(depth + 5):
                for _ in range(self._random.randrange(1, 4)):
                    self._add(i_side, (mid + 5 + 2 * i) if i_side else -(mid - 5 - 2 * i))

    def _add(self, i_side: int, rank: int, order_id: str = "") -> None:
        self.ts += self._random.randrange(1, 10**7)
        if not order_id:
            self._n += 1
            order_id = f"O{self._n:05d}-ABCDE-FGHIJK"
        lots = self._random.choice((1, 10**8, self._random.randrange(1, 10**10)))
        self.queues[i_side].setdefault(rank, []).append([order_id, lots, self.ts])

    def window(self, i_side: int) -> list[tuple[int, list[list]]]:
        """(ticks, queue) of the best levels, best first."""
        ranks = sorted(self.queues[i_side])[: self.depth]
        return [(abs(rank), self.queues[i_side][rank]) for rank in ranks]

    def checksum(self) -> int:
        """Kraken's checksum: every order of the ten best levels, each with its price."""
        scale = self.scale
        texts = [
            [
                (scale.price(price), scale.qty(lots))
                for price, queue in self.window(i_side)[:10]
                for _, lots, _ in queue
            ]
            for i_side in (0, 1)
        ]
        return crc32_levels(asks=texts[1], bids=texts[0])

    def _order(self, price: int, order: list, event: str = "") -> str:
        order_id, lots, time = order
        head = f'"event":"{event}",' if event else ""
        return (
            f'{{{head}"order_id":"{order_id}","limit_price":{self.scale.price(price)},'
            f'"order_qty":{self.scale.qty(lots)},"timestamp":"{stamp(time, 9)}"}}'
        )

    def _frame(self, type_: str, bids: list[str], asks: list[str]) -> bytes:
        return envelope(
            "level3",
            type_,
            f'{{"checksum":{self.checksum()},"symbol":"{self.scale.symbol}",'
            f'"bids":[{",".join(bids)}],"asks":[{",".join(asks)}],'
            f'"timestamp":"{stamp(self.ts, 9)}"}}',
        )

    def snapshot(self) -> bytes:
        """Every order of the window, in queue order."""
        sides = [
            [self._order(price, each) for price, queue in self.window(i_side) for each in queue]
            for i_side in (0, 1)
        ]
        return self._frame("snapshot", *sides)

    def update(self) -> bytes:
        """One change: an order comes, goes, loses quantity, or leaves to come back elsewhere."""
        i_side = self._random.randrange(2)
        queues = self.queues[i_side]
        before = dict(self.window(i_side))
        shown = {order[0] for queue in before.values() for order in queue}
        ranks = sorted(queues)
        events = []
        what = self._random.random()
        if what < 0.35:
            best = min(ranks[0] - self._random.randrange(2), ranks[0])
            rank = best + self._random.randrange(self.depth * 2)
            if rank > -min(self.queues[1 - i_side]):
                self._add(i_side, rank)
        elif what < 0.45 and self._amended:
            side, order_id = self._amended.pop()
            i_side, queues = side, self.queues[side]
            before = dict(self.window(i_side))
            shown = {order[0] for queue in before.values() for order in queue}
            self._add(i_side, min(queues) + self._random.randrange(1, 8), order_id)
        else:
            rank = ranks[min(int(self._random.expovariate(0.4)), self.depth - 1, len(ranks) - 1)]
            order = self._random.choice(queues[rank])
            if what < 0.6 and order[1] > 1:
                order[1] -= self._random.randrange(1, order[1])
                events.append(self._order(abs(rank), order, "modify"))
            elif len(queues) > 3:
                self.ts += 1000
                events.append(self._order(abs(rank), [order[0], order[1], self.ts], "delete"))
                queues[rank].remove(order)
                if not queues[rank]:
                    del queues[rank]
                if what > 0.9:
                    self._amended.append((i_side, order[0]))
        while len(queues) < self.depth + 3:
            self._add(i_side, max(queues) + self._random.randrange(1, 3))
        self.ts += self._random.randrange(1, 10**7)
        news = [
            (order[2], self._order(price, order, "add"))
            for price, queue in self.window(i_side)
            for order in queue
            if order[0] not in shown
        ]
        self._random.shuffle(news)  # adds of one message are not always in time order
        events += [text for _, text in news]
        return self._frame("update", *((events, []) if i_side == 0 else ([], events)))
