"""What does the public market look like now, and who has to be told what of a change?

Takes the source's messages, keeps books, trades, candles and status of every pair, and answers
with messages per topic: what is subscribed, not who subscribed. Left out: connections (core.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple

import numpy as np

from adapters.local_venue import encode
from adapters.local_venue.books import Level, LevelBook, Order3, OrderBook3, price_of
from adapters.local_venue.encode import Candle, Form, Print, Ticker
from adapters.local_venue.options import OHLC_INTERVALS, TRADES_SNAPSHOT
from adapters.local_venue.source import Row
from engine import events as e
from engine.instruments import STATUS_NAMES, Instrument, InstrumentTable

MINUTE_NS: Final = 60_000_000_000
DAY_NS: Final = 1440 * MINUTE_NS
TRADES_KEPT: Final = 200_000  # for REST
CANDLES_KEPT: Final = 721
_KIND_OF: Final = {e.L3_ADD: "add", e.L3_MODIFY: "modify", e.L3_DELETE: "delete"}
_CODE_OF: Final = {name: code for code, name in _KIND_OF.items()}


class Topic(NamedTuple):
    """What can be subscribed: channel, symbol row (-1: all), and depth, interval or trigger."""

    channel: str
    sym: int
    variant: int | str = 0


@dataclass(frozen=True)
class Said:
    """One message of a market channel: its text, and the same as plain facts.

    kind : snapshot or update; items : Levels, Order3s, Prints, one Ticker ... of the channel
    """

    topic: Topic
    kind: str
    ts: int
    text: str
    items: tuple[Any, ...] = ()
    checksum: int = 0


@dataclass
class Candles:
    """Candles of one interval, the newest last."""

    interval_ns: int
    kept: deque[Candle] = field(default_factory=lambda: deque(maxlen=CANDLES_KEPT))
    value: int = 0  # ticks x lots of the running candle

    def take(self, price: int, qty: int, ts: int) -> Candle:
        begin = ts - ts % self.interval_ns
        if not self.kept or self.kept[-1].begin < begin:
            self.value = price * qty
            self.kept.append(Candle(price, price, price, price, 1, qty, price, begin))
            return self.kept[-1]
        c = self.kept[-1]
        self.value += price * qty
        volume = c.volume + qty
        vwap = (2 * self.value + volume) // (2 * volume) if volume else price
        self.kept[-1] = Candle(
            c.open,
            max(c.high, price),
            min(c.low, price),
            price,
            c.trades + 1,
            volume,
            vwap,
            c.begin,
        )
        return self.kept[-1]


class Day:
    """Figures of the last 24 hours, by the minute."""

    def __init__(self) -> None:
        # minute, open, low, high, lots, ticks x lots, number
        self.minutes: deque[list[int]] = deque()
        self.volume = self.value = self.count = 0

    def take(self, price: int, qty: int, ts: int) -> None:
        minute = ts // MINUTE_NS
        while self.minutes and self.minutes[0][0] <= minute - 1440:
            gone = self.minutes.popleft()
            self.volume -= gone[4]
            self.value -= gone[5]
            self.count -= gone[6]
        if not self.minutes or self.minutes[-1][0] < minute:
            self.minutes.append([minute, price, price, price, 0, 0, 0])
        now = self.minutes[-1]
        now[2], now[3] = min(now[2], price), max(now[3], price)
        now[4] += qty
        now[5] += price * qty
        now[6] += 1
        self.volume += qty
        self.value += price * qty
        self.count += 1

    @property
    def low(self) -> int:
        return min((each[2] for each in self.minutes), default=0)

    @property
    def high(self) -> int:
        return max((each[3] for each in self.minutes), default=0)

    @property
    def open(self) -> int:
        return self.minutes[0][1] if self.minutes else 0

    @property
    def vwap(self) -> int:
        return (2 * self.value + self.volume) // (2 * self.volume) if self.volume else 0


class PairMarket:
    """The public state of one pair."""

    def __init__(self, sym: int, instrument: Instrument, book_depth: int, l3_depth: int) -> None:
        self.sym, self.instrument = sym, instrument
        self.form = Form.of(instrument)
        self.book = LevelBook(self.form.tick_num, self.form.lot_num, book_depth)
        self.orders = OrderBook3(self.form.tick_num, self.form.lot_num, l3_depth)
        self.status = instrument.status
        self.has_book = self.has_orders = False
        self.book_ts = self.orders_ts = 0
        self.trades: deque[Print] = deque(maxlen=TRADES_KEPT)
        self.n_trades = 0
        self.last = 0
        self.day = Day()
        self.candles = {each: Candles(each * MINUTE_NS) for each in OHLC_INTERVALS}

    def ticker(self, ts: int) -> Ticker:
        (bid, bid_qty), (ask, ask_qty) = self.book.touch(0), self.book.touch(1)
        day = self.day
        return Ticker(
            bid, bid_qty, ask, ask_qty, self.last, day.volume, day.vwap, day.low, day.high,
            day.open, ts,
        )  # fmt: skip


class Market:
    """The public market.

    depth : levels a side that the source maintains of a channel and symbol, 0 for all
    wanted : which topics of a channel and pair have a subscriber, so that only those are made
    """

    def __init__(
        self,
        instruments: InstrumentTable,
        depth: Callable[[str, str], int],
        wanted: Callable[[str, int], Iterable[int | str]],
    ) -> None:
        self.instruments = instruments
        self.pairs = [
            PairMarket(i, each, depth("book", each.symbol), depth("level3", each.symbol))
            for i, each in enumerate(instruments)
        ]
        self.wanted = wanted
        self.system = "online"
        self.fill_parts = 1  # into so many a fill of ours is split
        self._snapshot: list[Row] = []

    # ---- what the source says ----

    def take(self, rows: list[Row]) -> list[Said]:
        """One message of the source; what has to be said because of it, in order."""
        said: list[Said] = []
        if not rows:
            return said
        kind = rows[0].kind
        if kind == e.TRADE:
            self._by_symbol(rows, self._trades, said)
        elif kind == e.BOOK_LEVEL or (kind == e.MESSAGE_END and rows[0].id == e.BOOK_LEVEL):
            self._by_symbol(rows, self._levels, said)
        elif kind in _KIND_OF or (kind == e.MESSAGE_END and rows[0].id in _KIND_OF):
            self._by_symbol(rows, self._orders, said)
        elif kind == e.TICKER:
            self._by_symbol(rows, self._quotes, said)
        elif kind == e.INSTRUMENT:
            for row in rows:
                if 0 <= row.sym < len(self.pairs) and row.aux in STATUS_NAMES:
                    said += self.set_status(row.sym, STATUS_NAMES[row.aux], row.ts)
        # The source's own connections, gaps and system states are not the served venue's.
        return said

    def _by_symbol(
        self,
        rows: list[Row],
        act: Callable[[PairMarket, list[Row]], list[Said]],
        said: list[Said],
    ) -> None:
        by_sym: dict[int, list[Row]] = {}
        for row in rows:
            by_sym.setdefault(row.sym, []).append(row)
        for sym, mine in by_sym.items():
            if 0 <= sym < len(self.pairs):
                said += act(self.pairs[sym], mine)

    def _trades(self, pair: PairMarket, rows: list[Row]) -> list[Said]:
        prints = []
        touched: dict[int, dict[int, Candle]] = {}
        intervals = [i for i in self.wanted("ohlc", pair.sym) if isinstance(i, int)]
        for row in rows:
            if row.flags & e.SNAPSHOT:
                continue
            ts = row.ts_venue or row.ts
            pair.n_trades += 1
            trade_id = row.id or pair.n_trades
            ns = max(ts, pair.trades[-1].ns + 1) if pair.trades else ts
            market = bool(row.flags & e.MARKET_ORDER)
            each = Print(row.side, row.price, row.qty, trade_id, ts, market, ns)
            prints.append(each)
            pair.trades.append(each)
            pair.last = row.price
            pair.day.take(row.price, row.qty, ts)
            for interval, candles in pair.candles.items():
                candle = candles.take(row.price, row.qty, ts)
                if interval in intervals:
                    touched.setdefault(interval, {})[candle.begin] = candle
        if not prints:
            return []
        said = []
        for _ in self.wanted("trade", pair.sym):
            text = encode.trades(pair.form, "update", prints)
            said.append(Said(Topic("trade", pair.sym), "update", prints[-1].ts, text, (*prints,)))
        ts = prints[-1].ts
        for interval in intervals:
            items = tuple(touched[interval].values())
            text = encode.ohlc(pair.form, "update", items, interval, ts)
            said.append(Said(Topic("ohlc", pair.sym, interval), "update", ts, text, items))
        if "trades" in self.wanted("ticker", pair.sym):
            said.append(self._ticker_said(pair, "trades", "update", ts))
        return said

    def _levels(self, pair: PairMarket, rows: list[Row]) -> list[Said]:
        levels = [
            (0 if row.side > 0 else 1, row.price, row.qty)
            for row in rows
            if row.kind == e.BOOK_LEVEL
        ]
        if rows[0].flags & e.SNAPSHOT:
            levels = pair.book.replacement(levels)
        pair.has_book = True
        return self._book_changed(pair, levels, rows[-1].ts_venue or rows[-1].ts)

    def _book_changed(self, pair: PairMarket, levels: list[Level], ts: int) -> list[Said]:
        depths = [d for d in self.wanted("book", pair.sym) if isinstance(d, int)]
        touch = pair.book.touch(0), pair.book.touch(1)
        told = pair.book.change(levels, depths)
        pair.book_ts = ts
        said = []
        checksum = pair.book.checksum() if any(told.values()) else 0
        for depth, seen in told.items():
            if seen:
                topic = Topic("book", pair.sym, depth)
                text = encode.book(pair.form, "update", seen, checksum, ts)
                said.append(Said(topic, "update", ts, text, (*seen,), checksum))
        if "bbo" in self.wanted("ticker", pair.sym) and touch != (
            pair.book.touch(0),
            pair.book.touch(1),
        ):
            said.append(self._ticker_said(pair, "bbo", "update", ts))
        return said

    def _orders(self, pair: PairMarket, rows: list[Row]) -> list[Said]:
        events = [
            Order3(_KIND_OF[r.kind], 0 if r.side > 0 else 1, r.price, r.qty, r.id, r.aux or r.ts)
            for r in rows
            if r.kind in _KIND_OF
        ]
        if rows[0].flags & e.SNAPSHOT:
            events = pair.orders.replacement(events)
        pair.has_orders = True
        ts = rows[-1].ts_venue or rows[-1].ts
        depths = [d for d in self.wanted("level3", pair.sym) if isinstance(d, int)]
        told = pair.orders.change(events, depths)
        pair.orders_ts = ts
        said = []
        checksum = pair.orders.checksum() if any(told.values()) else 0
        for depth, seen in told.items():
            if seen:
                topic = Topic("level3", pair.sym, depth)
                text = encode.level3(pair.form, "update", seen, checksum, ts)
                said.append(Said(topic, "update", ts, text, (*seen,), checksum))
        if not pair.has_book:  # single orders only: their levels are the book
            said += self._book_changed(pair, self._levels_of(pair), ts)
        return said

    def _levels_of(self, pair: PairMarket) -> list[Level]:
        totals: dict[tuple[int, int], int] = {}
        for i_side in (0, 1):
            for order in pair.orders.best(i_side, len(pair.orders.keys[i_side])):
                at = (i_side, order.price)
                totals[at] = totals.get(at, 0) + order.qty
        return pair.book.replacement((i, price, qty) for (i, price), qty in totals.items())

    def _quotes(self, pair: PairMarket, rows: list[Row]) -> list[Said]:
        """Quotes are a book of one level a side where the source has no other."""
        if pair.has_book or pair.has_orders:
            return []
        sides = {0: pair.book.touch(0), 1: pair.book.touch(1)}
        for row in rows:
            if row.id in (e.TICKER_BID, e.TICKER_ASK):
                sides[0 if row.id == e.TICKER_BID else 1] = (row.price, row.qty)
        levels = [(i, price, qty) for i, (price, qty) in sides.items() if price and qty]
        ts = rows[-1].ts_venue or rows[-1].ts
        return self._book_changed(pair, pair.book.replacement(levels), ts)

    # ---- what the venue itself decides ----

    def crossed(self, topic: Topic, now: int) -> Said:
        """A book message whose best bid is above the best ask; its checksum is that of such a book."""
        pair = self.pairs[topic.sym]
        book = deepcopy(pair.book)
        level = (0, price_of(1, book.keys[1][0]) + 1, 1)
        book.change([level])
        checksum = book.checksum()
        text = encode.book(pair.form, "update", [level], checksum, now)
        return Said(topic, "update", now, text, (level,), checksum)

    def set_status(self, sym: int, status: str, ts: int) -> list[Said]:
        """Change the status of a pair."""
        pair = self.pairs[sym]
        if pair.status == status:
            return []
        pair.status = status
        topic = Topic("instrument", -1)
        if not list(self.wanted("instrument", -1)):
            return []
        text = encode.instruments("update", [], [encode.pair_record(pair.instrument, status)])
        return [Said(topic, "update", ts, text, ((sym, status),))]

    # ---- snapshots ----

    def snapshot(self, topic: Topic, now: int) -> Said:
        """What a new subscriber of a topic is told first."""
        if topic.channel == "instrument":
            pairs = [encode.pair_record(pair.instrument, pair.status) for pair in self.pairs]
            text = encode.instruments(
                "snapshot", [encode.asset_record(a) for a in self.assets], pairs
            )
            items = tuple((pair.sym, pair.status) for pair in self.pairs)
            return Said(topic, "snapshot", now, text, items)
        pair = self.pairs[topic.sym]
        if topic.channel == "book":
            depth = int(topic.variant)
            levels = pair.book.best(0, depth) + pair.book.best(1, depth)
            checksum, ts = pair.book.checksum(), pair.book_ts or now
            text = encode.book(pair.form, "snapshot", levels, checksum, ts)
            return Said(topic, "snapshot", ts, text, (*levels,), checksum)
        if topic.channel == "level3":
            depth = int(topic.variant)
            orders = pair.orders.best(0, depth) + pair.orders.best(1, depth)
            checksum, ts = pair.orders.checksum(), pair.orders_ts or now
            text = encode.level3(pair.form, "snapshot", orders, checksum, ts)
            return Said(topic, "snapshot", ts, text, (*orders,), checksum)
        if topic.channel == "trade":
            prints = list(islice(reversed(pair.trades), TRADES_SNAPSHOT))[::-1]
            ts = prints[-1].ts if prints else now
            text = encode.trades(pair.form, "snapshot", prints)
            return Said(topic, "snapshot", ts, text, (*prints,))
        if topic.channel == "ohlc":
            interval = int(topic.variant)
            candles = tuple(pair.candles[interval].kept)
            text = encode.ohlc(pair.form, "snapshot", candles, interval, now)
            return Said(topic, "snapshot", now, text, candles)
        return self._ticker_said(pair, topic.variant, "snapshot", now)

    def _ticker_said(self, pair: PairMarket, trigger: int | str, kind: str, ts: int) -> Said:
        ticker = pair.ticker(ts)
        text = encode.ticker(pair.form, kind, ticker)
        return Said(Topic("ticker", pair.sym, trigger), kind, ts, text, (ticker,))

    @property
    def assets(self) -> list[str]:
        """Every asset that a pair has, in the order in which it first appears."""
        names = [name for each in self.instruments for name in (each.base, each.quote)]
        return list(dict.fromkeys(names))


def _us(ts: int) -> int:
    return ts - ts % 1000


def events_of(said: Said) -> np.ndarray:
    """The EVENT rows that a subscriber should make of a message; their `ts` and `seq` are 0.

    Stamps are those of the text: microseconds, but for level 3. VERIFIED is not set, and order
    keys of level 3 are the venue's own numbers (text.number_of gives them from an order id).
    """
    sym, channel = said.topic.sym, said.topic.channel
    common = e.SNAPSHOT if said.kind == "snapshot" else 0
    rows: list[tuple[int, ...]] = []  # price, qty, id, aux, kind, side, flags, ts_venue
    if channel == "book":
        for level in said.items:
            i_side, price, qty = level
            rows.append((price, qty, 0, 0, e.BOOK_LEVEL, -1 if i_side else 1, common, _us(said.ts)))
        if not rows:
            rows.append((0, 0, e.BOOK_LEVEL, 0, e.MESSAGE_END, 0, common, _us(said.ts)))
        last = rows[-1]
        rows[-1] = (*last[:3], said.checksum, *last[4:6], last[6] | e.CHECKSUM, last[7])
    elif channel == "level3":
        for order in said.items:
            assert isinstance(order, Order3)
            side = -1 if order.i_side else 1
            kind = _CODE_OF[order.kind]
            rows.append((order.price, order.qty, order.id, order.ts, kind, side, common, said.ts))
        rows.append((0, 0, e.L3_ADD, said.checksum, e.MESSAGE_END, 0, common | e.CHECKSUM, said.ts))
    elif channel == "trade":
        for each in said.items:
            assert isinstance(each, Print)
            flags = common | (e.MARKET_ORDER if each.market else 0)
            rows.append(
                (
                    each.price,
                    each.qty,
                    each.trade_id,
                    0,
                    e.TRADE,
                    each.side or 1,
                    flags,
                    _us(each.ts),
                )
            )
    events = e.empty(len(rows))
    for row, values in zip(events, rows, strict=True):
        row["sym"] = sym
        (row["price"], row["qty"], row["id"], row["aux"], row["kind"], row["side"], row["flags"],
         row["ts_venue"]) = values  # fmt: skip
    if len(events):
        events["flags"][-1] |= e.LAST
    return events
