"""How is a Bitstamp log of order events and trades read (level 3, lines of 2015)?

A line is `<local receive ms> <kind> <json>`. `order_created`, `order_changed` and `order_deleted`
become level-3 events; `trade` becomes a trade whose taker is inferred; the aggregated book is a
derived channel; `order_book`, the venue's own top 20, is not an event but a check of that book.

- The log starts without a book: changes and deletes of unknown orders are rejects. A delete that
  arrives before its own create is remembered, so that the order does not stay for ever.
- A change may move the price (pegged orders): that is a delete and an add, as it loses its place.
- Taker side: the venue reports a match as two reductions by the traded amount, one order of each
  side, within a few lines of the trade. The maker is the one that stood at the trade's price; if
  both did, the older one (smaller id). No such pair within a second: side 0. Looking ahead of the
  trade's line for it is no look-ahead of a replay: the venue knew the side at the trade.
- The derived book leaves out an order that crosses the other side until it no longer does: such
  an order is a taker whose fills are still being reported, and no venue's book would show it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from adapters.imports.base import Channel, Import, Rows, Stream, Summary
from adapters.imports.digits import OK, REASONS, ZERO, Grid, steps_of, steps_of_doubles
from adapters.imports.files import Member, as_paths, members, read_lines
from adapters.imports.windowed import windowed
from engine.errors import DataError
from engine.events import (
    BOOK_LEVEL,
    BUY,
    DERIVED,
    GAP_SOURCE,
    L3_ADD,
    L3_DELETE,
    L3_MODIFY,
    LAST,
    MESSAGE_END,
    SELL,
    SNAPSHOT,
    TRADE,
    empty,
)
from engine.instruments import PRICE_MAX, Instrument, InstrumentTable

_MS_NS: Final = 1_000_000
_SECOND_NS: Final = 1_000_000_000
_MATCH_MS: Final = 1000  # how far from a trade its reductions may be reported
_SYM: Final = 0
_ALL: Final = 1 << 30


class _Order(msgspec.Struct):
    id: int
    price: str
    amount: str
    order_type: int
    datetime: str


class _Trade(msgspec.Struct):
    id: int
    price: float
    amount: float


class _TopBook(msgspec.Struct):
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


_ORDER: Final = msgspec.json.Decoder(_Order)
_TRADE: Final = msgspec.json.Decoder(_Trade)
_TOP_BOOK: Final = msgspec.json.Decoder(_TopBook)
_ORDER_KINDS: Final = ("order_created", "order_changed", "order_deleted")


def read(
    paths: str | Path | Sequence[str | Path],
    *,
    symbol: str | None = None,
    tick_size: str | Decimal = "0.01",
    lot_size: str | Decimal = "0.00000001",
    depth: int = 0,
    warmup_s: int = 3600,
) -> Import:
    """One log, plain or packed.

    symbol : the pair, which the log does not say, as in BTC/USD
    depth : of the derived book: 0 keeps all levels, else as a subscription of that depth
    warmup_s : seconds after which the derived book begins, with a snapshot: before that too many
        of the orders that stand in it are not known
    """
    found = members(as_paths(list(paths) if not isinstance(paths, str | Path) else paths), ".log")
    if symbol is None:
        raise DataError("the log does not say which pair it is.", "Give symbol, as in BTC/USD.")
    tick, lot = Decimal(str(tick_size)), Decimal(str(lot_size))
    grids = Grid.of(tick), Grid.of(lot)
    instrument = Instrument(symbol, tick, lot, grids[0].decimals, grids[1].decimals)
    table = InstrumentTable([instrument])

    def stream(summary: Summary) -> Stream:
        return windowed(_Log(summary, table, grids, warmup_s).run(found), table, depth)

    return Import(
        source=f"Bitstamp order events and trades: {', '.join(map(str, found))}",
        venue="bitstamp",
        instruments=table,
        channels=(Channel("level3"), Channel("trade"), Channel("book", depth, derived=True)),
        clock="ts: local receive time, ms; ts_venue: the exchange's second of a new order, else 0",
        ts_is_receive_time=True,
        stream=stream,
        notes=(
            f"the log starts without an initial book: the derived one begins {warmup_s} s later",
            "the taker side of trades is inferred from the orders that they reduced",
            "the book is derived from the order events; crossing takers are left out of it",
        ),
    )


@dataclass
class _Reduction:
    """An order lost `lots` (-1: unknown, an order from before the log was filled)."""

    line: int
    ts_ms: int
    order_id: int
    side: int
    ticks: int
    lots: int
    used: bool = False


@dataclass
class _PendingTrade:
    line: int
    ts_ms: int
    ts: int  # ns, the stamp of its event
    trade_id: int
    ticks: int
    lots: int


class _Side:
    """Aggregated levels of one side: lots per price and the prices in order."""

    def __init__(self) -> None:
        self.lots: dict[int, int] = {}
        self._ticks: list[int] = []  # ascending

    def add(self, ticks: int, lots: int) -> None:
        total = self.lots.get(ticks, 0) + lots
        if ticks not in self.lots:
            insort(self._ticks, ticks)
        if total:
            self.lots[ticks] = total
            return
        self.lots.pop(ticks, None)
        del self._ticks[bisect_left(self._ticks, ticks)]

    def top(self, n: int, side: int) -> list[tuple[int, int]]:
        """(ticks, lots) of the best `n` levels, best first."""
        best = self._ticks[: -n - 1 : -1] if side == BUY else self._ticks[:n]
        return [(ticks, self.lots[ticks]) for ticks in best]

    def is_crossed_by(self, ticks: int, side: int) -> bool:
        """Would an order of the other side, `side`, at `ticks` trade with this side?"""
        if not self._ticks:
            return False
        return ticks >= self._ticks[0] if side == BUY else ticks <= self._ticks[-1]


class _DerivedBook:
    """Orders to price levels, with crossing orders held back."""

    def __init__(self) -> None:
        self.sides = {BUY: _Side(), SELL: _Side()}
        self._held: dict[int, tuple[int, int, int]] = {}
        self._changed: dict[tuple[int, int], None] = {}

    def _publish(self, side: int, ticks: int, lots: int) -> None:
        self.sides[side].add(ticks, lots)
        self._changed[side, ticks] = None

    def add(self, order_id: int, side: int, ticks: int, lots: int) -> None:
        if self.sides[-side].is_crossed_by(ticks, side):
            self._held[order_id] = (side, ticks, lots)
        else:
            self._publish(side, ticks, lots)

    def reduce(self, order_id: int, side: int, ticks: int, lots: int) -> None:
        """Take `lots` of an order away."""
        if order_id in self._held:
            rest = self._held[order_id][2] - lots
            self._held[order_id] = (side, ticks, rest)
            if rest <= 0:
                del self._held[order_id]
        else:
            self._publish(side, ticks, -lots)

    def changes(self) -> list[tuple[int, int, int]]:
        """(side, ticks, lots) of the levels that changed since the last call."""
        for order_id, (side, ticks, lots) in list(self._held.items()):
            if not self.sides[-side].is_crossed_by(ticks, side):
                del self._held[order_id]
                self._publish(side, ticks, lots)
        changed = [(s, ticks, self.sides[s].lots.get(ticks, 0)) for s, ticks in self._changed]
        self._changed = {}
        return changed


class _Log:
    """One pass: lines in, events out, about a second behind the line that was read last."""

    def __init__(
        self, summary: Summary, table: InstrumentTable, grids: tuple[Grid, Grid], warmup_s: int
    ) -> None:
        self._summary = summary
        self._table = table
        self._grids = grids
        self._rows = Rows(summary, table)
        self._orders: dict[int, tuple[int, int, int]] = {}  # id -> side, ticks, lots
        self._dead: set[int] = set()  # deleted before they were created
        self._book = _DerivedBook()
        self._reductions: deque[_Reduction] = deque()
        self._queue: deque[np.ndarray | _PendingTrade] = deque()
        self._warm_ns = warmup_s * _SECOND_NS
        self._ts_first = 0
        self._book_begun = False
        self._lines: Counter[str] = Counter()
        self._facts: Counter[str] = Counter()

    def run(self, found: list[Member]) -> Iterator[np.ndarray]:
        n_line = 0
        ts_ms = 0
        for member in found:
            for number, line in read_lines(member):
                n_line += 1
                self._summary.rows_in += 1
                ts_ms = self._line(n_line, line, f"{member} line {number}") or ts_ms
                self._queue_rows()
                yield from self._released(ts_ms - _MATCH_MS)
        yield from self._released(ts_ms + _MATCH_MS + 1)
        self._summary.facts["lines"] = dict(sorted(self._lines.items()))
        self._summary.facts.update(sorted(self._facts.items()))

    def _queue_rows(self) -> None:
        piece = self._rows.take()
        if len(piece):
            self._queue.append(piece)

    # ---- reading ----

    def _line(self, n_line: int, line: bytes, where: str) -> int:
        """Take in one line; returns its stamp in ms, 0 if it has none."""
        parts = line.split(b" ", 2)
        if len(parts) != 3 or not parts[0].isdigit():
            self._lost("not a line of the log", where)
            return 0
        ts_ms, kind = int(parts[0]), parts[1].decode("ascii", "replace")
        self._rows.stamp(ts_ms * _MS_NS, _SYM)
        self._ts_first = self._ts_first or self._rows.ts
        self._lines[kind] += 1
        try:
            if kind in _ORDER_KINDS:
                self._order(kind, _ORDER.decode(parts[2]), n_line, ts_ms, where)
            elif kind == "trade":
                self._trade(_TRADE.decode(parts[2]), n_line, ts_ms, where)
            elif kind == "order_book":
                self._compare(_TOP_BOOK.decode(parts[2]))
            else:
                self._summary.reject(f"unknown kind {kind!r}", where)
        except (msgspec.DecodeError, ValueError) as error:
            self._lost(f"{kind} of another shape", f"{where} ({error})")
        return ts_ms

    def _lost(self, reason: str, where: str) -> None:
        self._summary.reject(reason, where)
        self._rows.gap(_SYM, self._rows.ts, GAP_SOURCE)

    def _order(self, kind: str, order: _Order, n_line: int, ts_ms: int, where: str) -> None:
        ticks, reason = steps_of(order.price, self._grids[0])
        if reason == OK and not 0 < ticks <= PRICE_MAX:
            reason = ZERO
        lots = 0
        if reason == OK:
            lots, reason = steps_of(order.amount, self._grids[1])
        if reason != OK:
            self._lost(f"order number {REASONS[reason]}", where)
            return
        if order.order_type not in (0, 1):
            raise ValueError(f"order_type {order.order_type}")
        side = BUY if order.order_type == 0 else SELL
        stamp = int(order.datetime) * _SECOND_NS
        if kind == "order_created":
            self._created(order.id, side, ticks, lots, stamp, where)
        elif order.id not in self._orders:
            if lots == 0:
                self._reductions.append(_Reduction(n_line, ts_ms, order.id, side, ticks, -1))
            if kind == "order_deleted":
                self._dead.add(order.id)
            self._summary.reject("change or delete of an unknown order", where)
        elif kind == "order_changed":
            self._changed(order.id, side, ticks, lots, stamp, n_line, ts_ms)
        else:
            self._deleted(order.id, lots, n_line, ts_ms)

    def _created(
        self, order_id: int, side: int, ticks: int, lots: int, stamp: int, where: str
    ) -> None:
        if order_id in self._dead:
            self._dead.remove(order_id)
            self._summary.reject("created after its delete", where)
            return
        if lots == 0 or order_id in self._orders:
            reason = "order created twice" if lots else "order created with nothing"
            self._summary.reject(reason, where)
            return
        self._orders[order_id] = (side, ticks, lots)
        self._l3(L3_ADD, order_id, side, ticks, lots, stamp, ts_venue=stamp)
        self._book.add(order_id, side, ticks, lots)
        self._end(L3_ADD)
        self._summary.use("order_created")

    def _changed(
        self, order_id: int, side: int, ticks: int, lots: int, stamp: int, n_line: int, ts_ms: int
    ) -> None:
        side, old_ticks, old_lots = self._orders[order_id]
        self._orders[order_id] = (side, ticks, lots)
        if ticks != old_ticks:
            self._l3(L3_DELETE, order_id, side, old_ticks, old_lots, self._rows.ts)
            self._l3(L3_ADD, order_id, side, ticks, lots, stamp)
            self._book.reduce(order_id, side, old_ticks, old_lots)
            self._book.add(order_id, side, ticks, lots)
        else:
            self._l3(L3_MODIFY, order_id, side, ticks, lots, stamp)
            self._book.reduce(order_id, side, ticks, old_lots - lots)
        if lots < old_lots:
            self._reductions.append(
                _Reduction(n_line, ts_ms, order_id, side, ticks, old_lots - lots)
            )
        self._end(L3_MODIFY)
        self._summary.use("order_changed")

    def _deleted(self, order_id: int, lots: int, n_line: int, ts_ms: int) -> None:
        side, ticks, old_lots = self._orders.pop(order_id)
        self._l3(L3_DELETE, order_id, side, ticks, old_lots, self._rows.ts)
        self._book.reduce(order_id, side, ticks, old_lots)
        if lots == 0:  # filled; a cancel names what was left
            self._reductions.append(_Reduction(n_line, ts_ms, order_id, side, ticks, old_lots))
        self._end(L3_DELETE)
        self._summary.use("order_deleted")

    def _l3(
        self,
        kind: int,
        order_id: int,
        side: int,
        ticks: int,
        lots: int,
        aux: int,
        ts_venue: int = 0,
    ) -> None:
        self._rows.add(
            kind,
            ts_venue=ts_venue,
            sym=_SYM,
            side=side,
            price=ticks,
            qty=lots,
            id=order_id,
            aux=aux,
        )

    def _end(self, kind: int) -> None:
        """Close the level-3 message and append what it changed in the derived book."""
        self._rows.add(MESSAGE_END, sym=_SYM, id=kind, flags=LAST)
        changes = self._book.changes()
        if self._book_begun:
            self._levels(changes, DERIVED)
        elif self._rows.ts - self._ts_first >= self._warm_ns:
            self._book_begun = True
            levels = [
                (side, ticks, lots)
                for side in (BUY, SELL)
                for ticks, lots in self._book.sides[side].top(_ALL, side)
            ]
            self._levels(levels, DERIVED | SNAPSHOT)

    def _levels(self, levels: list[tuple[int, int, int]], flags: int) -> None:
        """One book message of (side, ticks, lots)."""
        for i, (side, ticks, lots) in enumerate(levels):
            last = LAST if i == len(levels) - 1 else 0
            self._rows.add(
                BOOK_LEVEL, sym=_SYM, side=side, price=ticks, qty=lots, flags=flags | last
            )
        if not levels and flags & SNAPSHOT:
            self._rows.add(MESSAGE_END, sym=_SYM, id=BOOK_LEVEL, flags=flags | LAST)

    def _compare(self, top: _TopBook) -> None:
        """Count how often the derived book agrees with the venue's own message."""
        self._summary.use("order_book")
        if self._rows.ts - self._ts_first < self._warm_ns:
            return
        equal_best, equal_five = [], []
        for side, given in ((BUY, top.bids), (SELL, top.asks)):
            venue = [
                (steps_of(p, self._grids[0])[0], steps_of(q, self._grids[1])[0])
                for p, q in given[:5]
            ]
            ours = self._book.sides[side].top(5, side)
            equal_best.append([level[0] for level in venue[:1]] == [lv[0] for lv in ours[:1]])
            equal_five.append(venue == ours)
        self._facts["venue_books_compared"] += 1
        self._facts["venue_books_best_equal"] += all(equal_best)
        self._facts["venue_books_five_equal"] += all(equal_five)
        self._facts["venue_books_five_bids_equal"] += equal_five[0]
        self._facts["venue_books_five_asks_equal"] += equal_five[1]

    # ---- trades ----

    def _trade(self, trade: _Trade, n_line: int, ts_ms: int, where: str) -> None:
        ticks, reason = self._double(trade.price, self._grids[0])
        lots = 0
        if reason == OK:
            lots, reason = self._double(trade.amount, self._grids[1])
        if reason == OK and (ticks == 0 or lots == 0):
            reason = ZERO
        if reason != OK:
            self._summary.reject(f"trade number {REASONS[reason]}", where)
            return
        self._queue_rows()  # a gap that this line's time made stands before it
        self._queue.append(_PendingTrade(n_line, ts_ms, self._rows.ts, trade.id, ticks, lots))
        self._summary.use("trade")

    @staticmethod
    def _double(value: float, grid: Grid) -> tuple[int, int]:
        steps, reason = steps_of_doubles(np.array([value]), grid)
        return int(steps[0]), int(reason[0])

    def _released(self, ts_ms: int) -> Iterator[np.ndarray]:
        """What lies before `ts_ms`, up to which all reductions of a trade have been seen."""
        while self._queue:
            head = self._queue[0]
            if isinstance(head, _PendingTrade):
                if head.ts_ms >= ts_ms:
                    break
                yield self._trade_row(head)
            else:
                yield head
            self._queue.popleft()
        while self._reductions and self._reductions[0].ts_ms < ts_ms - _MATCH_MS:
            self._reductions.popleft()

    def _trade_row(self, trade: _PendingTrade) -> np.ndarray:
        side = self._taker_side(trade)
        self._facts["trades_with_side" if side else "trades_without_side"] += 1
        row = empty(1)
        row["ts"], row["sym"], row["kind"], row["flags"] = trade.ts, _SYM, TRADE, LAST
        row["side"], row["price"], row["qty"] = side, trade.ticks, trade.lots
        row["id"] = trade.trade_id
        return row

    def _taker_side(self, trade: _PendingTrade) -> int:
        """Side of the younger or better priced of the two orders that the trade reduced."""
        near = [
            each
            for each in self._reductions
            if not each.used
            and abs(each.ts_ms - trade.ts_ms) <= _MATCH_MS
            and (each.lots == trade.lots or (each.lots < 0 and each.ticks == trade.ticks))
        ]
        pairs = [
            (abs(bid.line - trade.line) + abs(ask.line - trade.line), bid, ask)
            for bid in near
            if bid.side == BUY
            for ask in near
            if ask.side == SELL and trade.ticks in (bid.ticks, ask.ticks)
        ]
        if not pairs:
            return 0
        _, bid, ask = min(pairs, key=lambda pair: (pair[0], pair[1].line, pair[2].line))
        bid.used = ask.used = True
        if bid.ticks == ask.ticks:
            return BUY if bid.order_id > ask.order_id else SELL
        return SELL if bid.ticks == trade.ticks else BUY
