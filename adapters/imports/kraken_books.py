"""Is a recorded Kraken book message sound, and which events does it become?

Shared by v1 and v2: a message is parsed whole or rejected whole, applied to a book that is cut to
the subscribed depth, and its CRC-32 is verified; the verdict travels on the last event of the
message. Left out: the layouts of the wire (kraken_v1_book.py, kraken_v2_book.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

import numpy as np

from adapters.imports.base import Rows, Summary
from adapters.imports.digits import OFF_GRID, OK, REASONS, TOO_LARGE, ZERO, Grid, steps_of
from engine.book import BOOK, book_clear, book_crossed, book_set, book_truncate
from engine.checksum import crc32_book
from engine.events import (
    BOOK_LEVEL,
    BUY,
    CHECKSUM,
    FAILED,
    GAP_CHECKSUM,
    GAP_SOURCE,
    LAST,
    MARKET_ORDER,
    MESSAGE_END,
    SELL,
    SNAPSHOT,
    TICKER,
    TRADE,
    VERIFIED,
)
from engine.instruments import PRICE_MAX, InstrumentTable

DEPTHS: Final = (10, 25, 100, 500, 1000)  # what Kraken offers
SIDES: Final = {"buy": BUY, "sell": SELL, "b": BUY, "s": SELL}


def depth_that_fits(n_levels: int) -> int:
    """The smallest depth that Kraken offers and that holds `n_levels` a side."""
    return next((depth for depth in DEPTHS if depth >= n_levels), DEPTHS[-1])


@dataclass
class Level:
    """One entry of a message, numbers as text."""

    side: int
    price: str
    qty: str


@dataclass
class _Book:
    """State of one subscription."""

    depth: int
    tick_num: int
    lot_num: int
    book: Any = field(default_factory=lambda: np.zeros(1, BOOK)[0])
    trusted: bool = False  # a snapshot came and nothing was lost since
    synced: bool = False  # updates may be applied
    was_synced: bool = False  # an earlier snapshot exists
    announced: bool = False  # a RESYNC was already sent for the next snapshot
    ts_last: int = 0


class BookFeed:
    """Books of all pairs of one recording. Feeds `rows`, writes its account to `summary`."""

    def __init__(
        self,
        summary: Summary,
        rows: Rows,
        instruments: InstrumentTable,
        depths: dict[int, int],
    ) -> None:
        self._summary = summary
        self._rows = rows
        self._instruments = instruments
        table = instruments.rows()
        self._grids = [(Grid.of(i.price_increment), Grid.of(i.qty_increment)) for i in instruments]
        self._books = {
            sym: _Book(depth, int(table[sym]["tick_num"]), int(table[sym]["lot_num"]))
            for sym, depth in depths.items()
        }

    def price(self, sym: int, text: str) -> tuple[int, int]:
        """Ticks of a price and why not; a price must be above zero."""
        ticks, reason = steps_of(text, self._grids[sym][0])
        if reason == OK and ticks == 0:
            return 0, ZERO
        if ticks > PRICE_MAX:
            return 0, TOO_LARGE
        return ticks, reason

    def qty(self, sym: int, text: str) -> tuple[int, int]:
        """Lots of a quantity and why not; zero is allowed."""
        return steps_of(text, self._grids[sym][1])

    def nearest(self, sym: int, text: str) -> int:
        """The tick nearest to a price that is an average, half up."""
        step = self._grids[sym][0].step
        return int((Decimal(text) / step).to_integral_value(ROUND_HALF_UP))

    def unsubscribed(self, sym: int) -> None:
        """The client let go of the book: nothing may be applied before the next snapshot."""
        state = self._books.get(sym)
        if state is not None and state.synced:
            self._rows.resync(sym, GAP_SOURCE)
            state.synced = state.trusted = False
            state.announced = True

    def disconnected(self, syms: Sequence[int], cause: int) -> None:
        """The connection was lost: every book on it waits for a snapshot."""
        for sym in syms:
            state = self._books.get(sym)
            if state is not None and state.synced:
                self._rows.resync(sym, cause)
                state.synced = state.trusted = False
                state.announced = True

    def message(
        self,
        sym: int,
        levels: Sequence[Level],
        *,
        snapshot: bool,
        crc: int | None,
        ts_venue: int,
        where: str,
    ) -> None:
        """One book message: verified and appended as events, or rejected as a whole."""
        state = self._books[sym]
        if not snapshot and not state.synced:
            when = "between unsubscribe and snapshot" if state.announced else "before its snapshot"
            self._summary.reject(f"book update {when}", where)
            return
        parsed = []
        for level in levels:
            ticks, reason = self.price(sym, level.price)
            if reason != OK:
                self._lost(sym, state, f"price {REASONS[reason]}", where, level.price)
                return
            lots, reason = self.qty(sym, level.qty)
            if reason == OK and snapshot and lots == 0:
                reason = ZERO
            if reason != OK:
                self._lost(sym, state, f"quantity {REASONS[reason]}", where, level.qty)
                return
            parsed.append((level.side, ticks, lots))
        if snapshot:
            self._begin(sym, state)
        self._apply(sym, state, parsed, snapshot, crc, ts_venue)
        self._summary.use("book snapshot" if snapshot else "book update")

    def _lost(self, sym: int, state: _Book, reason: str, where: str, text: str) -> None:
        """A message that cannot be read leaves a hole: the book is wrong from here on."""
        self._summary.reject(reason, f"{where} ({self._instruments[sym].symbol}, {text[:40]!r})")
        self._rows.gap(sym, state.ts_last, GAP_SOURCE)
        state.trusted = False

    def _begin(self, sym: int, state: _Book) -> None:
        if state.was_synced and not state.announced:
            self._rows.resync(sym, GAP_SOURCE)
        book_clear(state.book)
        state.synced = state.trusted = state.was_synced = True
        state.announced = False

    def _apply(
        self,
        sym: int,
        state: _Book,
        levels: list[tuple[int, int, int]],
        snapshot: bool,
        crc: int | None,
        ts_venue: int,
    ) -> None:
        for side, ticks, lots in levels:
            book_set(state.book, 0 if side == BUY else 1, ticks, lots)
        # Kraken drops levels beyond the depth without telling us.
        book_truncate(state.book, state.depth)
        flags = LAST | (SNAPSHOT if snapshot else 0)
        aux = 0
        if crc is not None:
            matches = crc32_book(state.book, state.tick_num, state.lot_num) == crc
            flags |= CHECKSUM | (VERIFIED if matches else FAILED)
            aux = crc
            symbol = self._instruments[sym].symbol
            tally = self._summary.checksums_verified if matches else self._summary.checksums_failed
            tally[symbol] += 1
        rows = self._rows
        last = len(levels) - 1
        for i, (side, ticks, lots) in enumerate(levels):
            rows.add(
                BOOK_LEVEL,
                ts_venue=ts_venue,
                sym=sym,
                side=side,
                price=ticks,
                qty=lots,
                aux=aux if i == last else 0,
                flags=flags if i == last else flags & SNAPSHOT,
            )
        if not levels:
            rows.add(MESSAGE_END, ts_venue=ts_venue, sym=sym, id=BOOK_LEVEL, aux=aux, flags=flags)
        if book_crossed(state.book):
            facts = self._summary.facts
            facts["crossed_messages"] = facts.get("crossed_messages", 0) + 1
        if flags & FAILED and state.trusted:
            rows.gap(sym, state.ts_last, GAP_CHECKSUM)
            state.trusted = False
        state.ts_last = rows.ts


@dataclass
class Print:
    """One trade of a message, numbers as text."""

    side: int
    price: str
    qty: str
    ts_venue: int
    market: bool
    trade_id: int = 0


def add_trades(
    feed: BookFeed,
    rows: Rows,
    summary: Summary,
    sym: int,
    prints: list[Print],
    where: str,
    snapshot: bool = False,
) -> None:
    """A trade message as events; rejected as a whole if one of its numbers is wrong."""
    parsed = []
    for each in prints:
        ticks, reason = feed.price(sym, each.price)
        if reason == OK:
            lots, reason = feed.qty(sym, each.qty)
            if reason == OK and lots == 0:
                reason = ZERO
        if reason != OK:
            summary.reject(f"trade number {REASONS[reason]}", where)
            return
        parsed.append((each, ticks, lots))
    for i, (each, ticks, lots) in enumerate(parsed):
        rows.add(
            TRADE,
            ts_venue=each.ts_venue,
            sym=sym,
            side=each.side,
            price=ticks,
            qty=lots,
            id=each.trade_id,
            flags=(LAST if i == len(parsed) - 1 else 0)
            | (MARKET_ORDER if each.market else 0)
            | (SNAPSHOT if snapshot else 0),
        )
    summary.use("trade message")


@dataclass
class TickerField:
    """One field of a ticker message: its code, and price and quantity as text or empty."""

    code: int
    price: str = ""
    qty: str = ""
    rounded: bool = False  # an average: rounded to the nearest tick


def add_ticker(
    feed: BookFeed,
    rows: Rows,
    summary: Summary,
    sym: int,
    fields: list[TickerField],
    ts_venue: int,
    where: str,
    snapshot: bool = False,
) -> None:
    """A ticker message as events; rejected as a whole if one of its numbers is wrong."""
    parsed = []
    for each in fields:
        ticks = lots = 0
        reason = OK
        if each.price:
            ticks, reason = feed.price(sym, each.price)
            if reason == OFF_GRID and each.rounded:
                ticks, reason = feed.nearest(sym, each.price), OK
        if reason == OK and each.qty:
            lots, reason = feed.qty(sym, each.qty)
        if reason != OK:
            summary.reject(f"ticker number {REASONS[reason]}", where)
            return
        parsed.append((each.code, ticks, lots))
    for i, (code, ticks, lots) in enumerate(parsed):
        rows.add(
            TICKER,
            ts_venue=ts_venue,
            sym=sym,
            price=ticks,
            qty=lots,
            id=code,
            flags=(LAST if i == len(parsed) - 1 else 0) | (SNAPSHOT if snapshot else 0),
        )
    summary.use("ticker message")
