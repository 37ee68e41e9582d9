"""A small made-up market with valid books and checksums, slowly and obviously, for storage tests."""

from __future__ import annotations

import random
from decimal import Decimal

import numpy as np

from engine import events as ev
from engine.events import EVENT
from engine.instruments import Instrument, InstrumentTable
from tests.naive.book import ASKS, BIDS, NaiveBook
from tests.naive.checksum import crc32_levels, fixed

TABLE = InstrumentTable(
    [
        Instrument("BTC/USD", Decimal("0.1"), Decimal("0.00000001"), 1, 8),
        Instrument("ETH/USD", Decimal("0.01"), Decimal("0.00000001"), 2, 8),
        # The increment is coarser than the precision, as for some pairs of Kraken.
        Instrument("MINA/GBP", Decimal("0.00005"), Decimal("0.01"), 5, 8),
    ]
)
DEPTH = 10
START = 1_767_311_990_000_000_000  # 2026-01-01T23:59:50Z: a minute of events crosses midnight
STEP_NS = 5_000_000


class Market:
    """Draws messages of all symbols: book updates with checksums, trades, tickers."""

    def __init__(self, seed: int, symbols: tuple[str, ...] = TABLE.symbols) -> None:
        self.dice = random.Random(seed)
        self.rows: list[tuple[int, ...]] = []
        self.ts = START
        self.books = {TABLE.index(each): NaiveBook(1000) for each in symbols}
        self.trade_id = 0

    def add(self, kind: int, **fields: int) -> None:
        row = dict.fromkeys(EVENT.names or (), 0) | {"sym": -1, "ts": self.ts, "kind": kind}
        row |= fields | {"seq": len(self.rows), "ts_venue": self.ts - 1_000_000}
        self.rows.append(tuple(row[name] for name in EVENT.names or ()))

    def crc(self, sym: int) -> int:
        each, book = TABLE[sym], self.books[sym]

        def texts(i_side: int) -> list[tuple[str, str]]:
            return [
                (
                    fixed(price, each.price_increment, each.price_precision),
                    fixed(qty, each.qty_increment, each.qty_precision),
                )
                for price, qty in book.top(i_side, 10)
            ]

        return crc32_levels(texts(ASKS), texts(BIDS))

    def close_book(self, sym: int, flags: int) -> None:
        """Cut, compute the checksum, put it on the row that was added last."""
        self.books[sym].truncate(DEPTH)
        names = EVENT.names or ()
        row = dict(zip(names, self.rows[-1], strict=True))
        row["flags"] |= ev.LAST | ev.CHECKSUM | ev.VERIFIED | flags
        row["aux"] = self.crc(sym)
        self.rows[-1] = tuple(row[name] for name in names)

    def level(self, sym: int, i_side: int, price: int, qty: int, flags: int = 0) -> None:
        self.books[sym].set(i_side, price, qty)
        side = ev.BUY if i_side == BIDS else ev.SELL
        self.add(ev.BOOK_LEVEL, sym=sym, side=side, price=price, qty=qty, flags=flags)

    def snapshot(self, sym: int) -> None:
        self.books[sym].clear()
        for i in range(DEPTH):
            self.level(sym, BIDS, 10_000 - i, self.dice.randint(1, 10**9), ev.SNAPSHOT)
            self.level(sym, ASKS, 10_003 + i, self.dice.randint(1, 10**9), ev.SNAPSHOT)
        self.close_book(sym, ev.SNAPSHOT)

    def update(self, sym: int) -> None:
        book = self.books[sym]
        for _ in range(self.dice.randint(1, 4)):
            i_side = self.dice.randint(0, 1)
            touch = book.best(1 - i_side) or 10_000
            away = self.dice.randint(1, 15)
            price = touch - away if i_side == BIDS else touch + away
            self.level(sym, i_side, price, self.dice.choice([0, self.dice.randint(1, 10**9)]))
        self.close_book(sym, 0)

    def trade(self, sym: int) -> None:
        self.trade_id += 1
        side = self.dice.choice([ev.BUY, ev.SELL])
        price, qty = self.books[sym].best(ASKS) or 10_000, self.dice.randint(1, 10**8)
        self.add(
            ev.TRADE, sym=sym, side=side, price=price, qty=qty, id=self.trade_id, flags=ev.LAST
        )

    def ticker(self, sym: int) -> None:
        book = self.books[sym]
        self.add(ev.TICKER, sym=sym, id=ev.TICKER_BID, price=book.best(BIDS), qty=1)
        self.add(ev.TICKER, sym=sym, id=ev.TICKER_ASK, price=book.best(ASKS), qty=1, flags=ev.LAST)

    def draw(self, n_messages: int) -> np.ndarray:
        """EVENT rows: connection, instruments, snapshots, then `n_messages` of all kinds."""
        self.add(ev.CONNECTION_UP, flags=ev.LAST)
        for sym in self.books:
            self.add(ev.INSTRUMENT, sym=sym, flags=ev.LAST)
            self.snapshot(sym)
        for _ in range(n_messages):
            self.ts += self.dice.randint(0, 2 * STEP_NS)
            sym = self.dice.choice(list(self.books))
            self.dice.choices([self.update, self.trade, self.ticker], [8, 1, 1])[0](sym)
        return np.array(self.rows, EVENT)


CHANNELS = {"book": DEPTH, "trade": 0, "ticker": 0}


def market_rows(n_messages: int, seed: int = 1) -> np.ndarray:
    """Events of the three symbols of TABLE with valid books and checksums, seq from 0."""
    return Market(seed).draw(n_messages)
