"""What must a part of a capture begin with, so that it can be replayed alone?

State of the venue, of each pair and of the epoch, and every book that stands, as a snapshot of our
own making: the flag DERIVED says that the venue did not send it. Left out: when a part begins
(capture.py).
"""

from __future__ import annotations

import numpy as np

from adapters.kraken.feed import MarketFeed
from adapters.kraken.orders import ASKS, BIDS, OrderBook
from engine.book import DEPTH_MAX, book_top
from engine.checksum import crc32_book
from engine.events import (
    BOOK_LEVEL,
    BUY,
    CHECKSUM,
    DERIVED,
    INSTRUMENT,
    L3_ADD,
    LAST,
    MESSAGE_END,
    SELL,
    SNAPSHOT,
    SYSTEM_STATUS,
    VERIFIED,
    empty,
)
from engine.instruments import STATUS_CODES, InstrumentTable


def states(instruments: InstrumentTable, system: int | None, now: int) -> np.ndarray:
    """EVENT rows: what is known of the venue (None: nothing) and of each pair."""
    rows = empty(len(instruments) + (system is not None))
    rows["ts"], rows["kind"] = now, INSTRUMENT
    rows["flags"] = LAST | SNAPSHOT | DERIVED
    if system is not None:
        rows[0]["kind"], rows[0]["aux"], rows[0]["flags"] = SYSTEM_STATUS, system, LAST | DERIVED
    pairs = rows[system is not None :]
    pairs["sym"] = np.arange(len(instruments))
    pairs["aux"] = [STATUS_CODES[each.status] for each in instruments]
    return rows


def books(feed: MarketFeed, symbols: tuple[str, ...], now: int) -> list[np.ndarray]:
    """A snapshot of every book of either kind that stands, EVENT rows each."""
    found = []
    for symbol in symbols:
        if feed.synced(symbol, "book"):
            book = feed.book(symbol)
            assert book is not None
            found.append(_levels(book, feed.instruments, symbol, now))
        if feed.synced(symbol, "level3"):
            orders = feed.orders(symbol)
            assert orders is not None
            found.append(_orders(orders, feed.instruments, symbol, now))
    return found


def _levels(book: np.void, instruments: InstrumentTable, symbol: str, now: int) -> np.ndarray:
    prices, qtys = np.zeros(DEPTH_MAX, np.int64), np.zeros(DEPTH_MAX, np.int64)
    parts = []
    for i_side, side in ((BIDS, BUY), (ASKS, SELL)):
        n = int(book_top(book, i_side, DEPTH_MAX, prices, qtys))
        part = empty(n)
        part["kind"], part["side"] = BOOK_LEVEL, side
        part["price"], part["qty"] = prices[:n], qtys[:n]
        parts.append(part)
    rows = np.concatenate(parts)
    if not len(rows):
        rows = empty(1)
        rows["kind"], rows["id"] = MESSAGE_END, BOOK_LEVEL
    row = instruments[symbol].row()
    crc = crc32_book(book, int(row["tick_num"]), int(row["lot_num"]))
    return _closed(rows, instruments.index(symbol), now, int(crc))


def _orders(orders: OrderBook, instruments: InstrumentTable, symbol: str, now: int) -> np.ndarray:
    found = []
    for i_side, side in ((BIDS, BUY), (ASKS, SELL)):
        for price, queue in orders.queue(i_side):
            for order_id, lots in queue:
                order = orders.get(order_id)
                assert order is not None
                found.append((side, price, lots, order.key, order.place[0]))
    rows = empty(len(found) + 1)
    rows["kind"] = L3_ADD
    for row, (side, price, lots, key, time) in zip(rows, found, strict=False):
        row["side"], row["price"], row["qty"], row["id"], row["aux"] = side, price, lots, key, time
    rows[-1]["kind"], rows[-1]["id"] = MESSAGE_END, L3_ADD
    return _closed(rows, instruments.index(symbol), now, orders.checksum())


def _closed(rows: np.ndarray, sym: int, now: int, crc: int) -> np.ndarray:
    rows["ts"], rows["sym"], rows["flags"] = now, sym, SNAPSHOT | DERIVED
    rows[-1]["aux"] = crc
    rows[-1]["flags"] = SNAPSHOT | DERIVED | LAST | CHECKSUM | VERIFIED
    return rows
