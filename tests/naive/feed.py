"""A subscriber who believes nothing: dicts, text and zlib, one message at a time.

Follows Kraken's rules for `book` and `level3` from the events alone and raises AssertionError,
naming the event, where a message contradicts them. Slow on purpose.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from engine import events as ev
from engine.instruments import Instrument, InstrumentTable
from tests.naive.checksum import crc32_levels

LEVEL3 = (ev.L3_ADD, ev.L3_MODIFY, ev.L3_DELETE)


@dataclass
class Order:
    price: int
    qty: int
    ts: int
    arrival: int


@dataclass
class Pair:
    """What a subscriber knows of one pair."""

    levels: dict[int, dict[int, int]] = field(default_factory=lambda: {1: {}, -1: {}})
    orders: dict[int, dict[int, Order]] = field(default_factory=lambda: {1: {}, -1: {}})
    trade_id: int = 0
    last: int = 0
    volume: int = 0
    value: int = 0
    low: int = 0
    high: int = 0
    prints: list[tuple[int, int, int]] = field(default_factory=list)
    taker: int = 0


def messages(rows: np.ndarray) -> Iterator[list[dict]]:
    """Rows as dicts, cut after each LAST; nothing may be left over."""
    open_rows: list[dict] = []
    for row in rows.tolist():
        named = dict(zip(ev.EVENT.names, row, strict=True))
        open_rows.append(named)
        if named["flags"] & ev.LAST:
            yield open_rows
            open_rows = []
    assert not open_rows, "the stream ends inside a message"


class Subscriber:
    """Feed it messages; it keeps counts of what it checked."""

    def __init__(self, instruments: InstrumentTable, depth: int, level3_depth: int) -> None:
        self.instruments = instruments
        self.depth = depth
        self.level3_depth = level3_depth
        self.pairs: dict[int, Pair] = defaultdict(Pair)
        self.checked: dict[str, int] = defaultdict(int)
        self.ts = 0
        self.arrivals = 0

    def feed(self, rows: np.ndarray) -> None:
        for message in messages(rows):
            self.message(message)

    def message(self, message: list[dict]) -> None:
        first = message[0]
        assert first["ts"] >= self.ts, f"time runs backwards at {first}"
        assert first["ts"] > first["ts_venue"], f"received before it was sent: {first}"
        self.ts = first["ts"]
        for row in message:
            assert row["ts"] == first["ts"], f"one message, two stamps: {row}"
            assert row["ts_venue"] == first["ts_venue"]
            assert bool(row["flags"] & ev.LAST) == (row is message[-1])
        kinds = {row["kind"] for row in message}
        if kinds <= {ev.SYSTEM_STATUS} or kinds <= {ev.INSTRUMENT}:
            return
        assert len({row["sym"] for row in message}) == 1, f"one message, two pairs: {first}"
        pair = self.pairs[first["sym"]]
        instrument = self.instruments[first["sym"]]
        if kinds == {ev.BOOK_LEVEL}:
            self.book(pair, instrument, message)
        elif kinds <= {*LEVEL3, ev.MESSAGE_END}:
            self.level3(pair, instrument, message)
        elif kinds == {ev.TRADE}:
            self.trades(pair, message)
        elif kinds == {ev.TICKER}:
            self.ticker(pair, message)
        else:
            raise AssertionError(f"no channel sends {kinds}")

    # --- book ---

    def book(self, pair: Pair, instrument: Instrument, message: list[dict]) -> None:
        if message[0]["flags"] & ev.SNAPSHOT:
            pair.levels = {1: {}, -1: {}}
        for row in message:
            side = pair.levels[row["side"]]
            if row["qty"] == 0:
                assert side.pop(row["price"], None), f"removes a level that was not shown: {row}"
            else:
                assert side.get(row["price"]) != row["qty"], f"tells nothing new: {row}"
                side[row["price"]] = row["qty"]
        for side in (1, -1):
            for price in sorted(pair.levels[side], reverse=side == 1)[self.depth :]:
                del pair.levels[side][price]
        last = message[-1]
        assert last["flags"] & ev.CHECKSUM
        texts = {
            side: [
                self.text(instrument, price, pair.levels[side][price])
                for price in sorted(pair.levels[side], reverse=side == 1)[:10]
            ]
            for side in (1, -1)
        }
        assert crc32_levels(texts[-1], texts[1]) == last["aux"], f"checksum of {last}"
        self.uncrossed(pair.levels, last)
        self.checked["book"] += 1
        if pair.orders[1]:
            self.level3_adds_up(pair, last)

    def text(self, instrument: Instrument, price: int, qty: int) -> tuple[str, str]:
        return (
            f"{instrument.price(price):.{instrument.price_precision}f}",
            f"{instrument.qty(qty):.{instrument.qty_precision}f}",
        )

    def uncrossed(self, sides: dict[int, Iterable[int]], row: dict) -> None:
        if sides[1] and sides[-1]:
            assert max(sides[1]) < min(sides[-1]), f"crossed after {row}"

    def level3_adds_up(self, pair: Pair, row: dict) -> None:
        """Level 3 by price is level 2, as deep as both go."""
        depth = min(self.depth, self.level3_depth)
        for side in (1, -1):
            total: dict[int, int] = defaultdict(int)
            for order in pair.orders[side].values():
                total[order.price] += order.qty
            best = sorted(total, reverse=side == 1)[:depth]
            shown = sorted(pair.levels[side], reverse=side == 1)[:depth]
            assert [(p, total[p]) for p in best] == [(p, pair.levels[side][p]) for p in shown], row
        self.checked["level3 = level2"] += 1

    # --- level 3 ---

    def level3(self, pair: Pair, instrument: Instrument, message: list[dict]) -> None:
        if message[0]["flags"] & ev.SNAPSHOT:
            pair.orders = {1: {}, -1: {}}
        self.prints_took_the_queue(pair, message)
        for row in message[:-1]:
            side = pair.orders[row["side"]]
            order = side.get(row["id"])
            if row["kind"] == ev.L3_ADD:
                assert row["qty"] > 0
                self.arrivals += 1
                side[row["id"]] = Order(row["price"], row["qty"], row["aux"], self.arrivals)
            else:
                assert order is not None, f"an order that was not shown: {row}"
                assert order.price == row["price"]
                if row["kind"] == ev.L3_MODIFY:
                    assert 0 < row["qty"] < order.qty, f"a modify lowers the quantity: {row}"
                    assert order.ts == row["aux"], f"a modify keeps the stamp: {row}"
                    order.qty = row["qty"]
                else:
                    assert order.qty == row["qty"], f"a delete tells the last quantity: {row}"
                    assert row["aux"] in (order.ts, row["ts_venue"])
                    del side[row["id"]]
        for side in (1, -1):
            prices = sorted({o.price for o in pair.orders[side].values()}, reverse=side == 1)
            cut = set(prices[self.level3_depth :])
            for key in [k for k, o in pair.orders[side].items() if o.price in cut]:
                del pair.orders[side][key]
        end = message[-1]
        assert end["kind"] == ev.MESSAGE_END
        assert end["id"] == ev.L3_ADD
        assert end["flags"] & ev.CHECKSUM
        texts = {side: self.level3_texts(pair, instrument, side) for side in (1, -1)}
        assert crc32_levels(texts[-1], texts[1]) == end["aux"], f"level 3 checksum of {end}"
        self.uncrossed({s: [o.price for o in pair.orders[s].values()] for s in (1, -1)}, end)
        self.checked["level3"] += 1

    def queue(self, pair: Pair, side: int) -> list[Order]:
        """Orders of a side in priority: better price, then older stamp, then arrival."""
        return sorted(pair.orders[side].values(), key=lambda o: (-side * o.price, o.ts, o.arrival))

    def level3_texts(self, pair: Pair, instrument: Instrument, side: int) -> list[tuple[str, str]]:
        orders = self.queue(pair, side)
        best = sorted({o.price for o in orders}, reverse=side == 1)[:10]
        return [self.text(instrument, o.price, o.qty) for o in orders if o.price in best]

    def prints_took_the_queue(self, pair: Pair, message: list[dict]) -> None:
        """The prints before this message hit the best orders first, oldest first, and it says so."""
        if not pair.prints:
            return
        side = -pair.taker
        queue = self.queue(pair, side)
        changes = [r for r in message if r["side"] == side and r["kind"] != ev.L3_ADD]
        by_age = {id(order): key for key, order in pair.orders[side].items()}
        for i, (price, qty, _) in enumerate(pair.prints):
            if i >= len(queue):
                break  # the sweep went deeper than the channel shows
            order, change = queue[i], changes[i]
            assert order.price == price, f"a print through a better price: {pair.prints}"
            assert change["id"] == by_age[id(order)]
            if qty < order.qty:
                assert i == len(pair.prints) - 1, "only the last order hit may have a rest"
                assert change["kind"] == ev.L3_MODIFY
                assert change["qty"] == order.qty - qty
            else:
                assert order.qty == qty
                assert change["kind"] == ev.L3_DELETE
            self.checked["print = queue"] += 1
        pair.prints = []

    # --- trades and tickers ---

    def trades(self, pair: Pair, message: list[dict]) -> None:
        best = {1: max(pair.levels[1]), -1: min(pair.levels[-1])}
        taker = message[0]["side"]
        assert message[0]["price"] == best[-taker], f"the first print is at the touch: {message[0]}"
        pair.taker = taker
        pair.prints = []
        for row in message:
            assert row["side"] == taker
            assert row["qty"] > 0
            if pair.prints:
                assert (row["price"] - pair.prints[-1][0]) * taker >= 0
            if pair.trade_id:
                assert row["id"] == pair.trade_id + 1, f"trade id skips at {row}"
            pair.trade_id = row["id"]
            pair.prints.append((row["price"], row["qty"], row["id"]))
            pair.last = row["price"]
            pair.volume += row["qty"]
            pair.value += row["price"] * row["qty"]
            pair.low = min(pair.low or row["price"], row["price"])
            pair.high = max(pair.high, row["price"])
            self.checked["trade"] += 1

    def ticker(self, pair: Pair, message: list[dict]) -> None:
        fields = {row["id"]: (row["price"], row["qty"]) for row in message}
        bid, ask = max(pair.levels[1]), min(pair.levels[-1])
        assert fields[ev.TICKER_BID] == (bid, pair.levels[1][bid])
        assert fields[ev.TICKER_ASK] == (ask, pair.levels[-1][ask])
        if message[0]["flags"] & ev.SNAPSHOT:
            return
        assert fields[ev.TICKER_LAST] == (pair.last, 0)
        assert fields[ev.TICKER_VOLUME] == (0, pair.volume)
        assert fields[ev.TICKER_LOW] == (pair.low, 0)
        assert fields[ev.TICKER_HIGH] == (pair.high, 0)
        error = fields[ev.TICKER_VWAP][0] - Fraction(pair.value, pair.volume)
        assert abs(error) <= Fraction(51, 100), "the average price is rounded to the nearest tick"
        self.checked["ticker"] += 1
