"""What the venue says on the wire, as bytes: for tests that play its part without a server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from adapters.kraken.feed import CHECKSUM_MISMATCH, Taken, Trouble
from adapters.kraken.phases import Step
from adapters.kraken.session import Session
from adapters.kraken.wire import Book
from engine.events import BOOK_LEVEL, GAP, GAP_CHECKSUM, LAST, RESYNC, SNAPSHOT, empty
from engine.instruments import InstrumentTable

SECOND = 1_000_000_000
T0 = 1_767_225_600 * SECOND


def words(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def status(system: str = "online", connection_id: int = 1) -> bytes:
    item = {"system": system, "api_version": "v2", "version": "2", "connection_id": connection_id}
    return words(channel="status", type="update", data=[item])


HEARTBEAT = b'{"channel":"heartbeat"}'


def book(symbol: str, kind: str = "update", price: float = 10.0, checksum: int = 1) -> bytes:
    item = {"symbol": symbol, "bids": [{"price": price, "qty": 1.0}], "asks": []}
    item |= {"checksum": checksum, "timestamp": "2026-01-01T00:00:00.000000Z"}
    return words(channel="book", type=kind, data=[item])


def trade(symbol: str, trade_id: int = 1, kind: str = "update") -> bytes:
    item = {"symbol": symbol, "side": "buy", "price": 10.0, "qty": 1.0, "ord_type": "limit"}
    item |= {"trade_id": trade_id, "timestamp": "2026-01-01T00:00:00.000000Z"}
    return words(channel="trade", type=kind, data=[item])


def accepted(req_id: int, channel: str, symbol: str, method: str = "subscribe") -> bytes:
    result = {"channel": channel, "symbol": symbol}
    return words(method=method, req_id=req_id, success=True, result=result)


def refused(req_id: int, error: str, symbol: str = "", method: str = "subscribe") -> bytes:
    fields: dict[str, Any] = {"method": method, "req_id": req_id, "success": False, "error": error}
    return words(**fields, **({"symbol": symbol} if symbol else {}))


def asked(step: Step) -> list[dict[str, Any]]:
    """The requests of a step, parsed."""
    return [json.loads(each) for each in step.send]


class CountingFeed:
    """One row per book message, and trouble for every book whose checksum is 0.

    Keeps the contract of MarketFeed with none of its arithmetic. It fails when it is given an
    update of a book that it does not hold: the session must never let that happen.
    """

    def __init__(self, table: InstrumentTable) -> None:
        self._table = table
        self.held: set[str] = set()

    def _row(self, kind: int, ts: int, symbol: str = "", **fields: int) -> np.ndarray:
        row = empty(1)
        row["ts"], row["kind"], row["flags"] = ts, kind, LAST
        if symbol:
            row["sym"] = self._table.index(symbol)
        for name, value in fields.items():
            row[name] = value
        return row

    def take(self, message: Any, received_ns: int) -> Taken:
        if not isinstance(message, Book):
            return Taken(empty(0))
        symbol = message.symbol
        snapshot = message.type == "snapshot"
        assert snapshot or symbol in self.held, f"an update of {symbol} before its snapshot"
        if message.checksum == 0:
            trouble = Trouble(symbol, CHECKSUM_MISMATCH, "wrong", "book")
            return Taken(self.lost(received_ns, GAP_CHECKSUM, [symbol]), (trouble,))
        self.held.add(symbol)
        row = self._row(BOOK_LEVEL, received_ns, symbol)
        row["flags"] = LAST | (SNAPSHOT if snapshot else 0)
        return Taken(row)

    def lost(
        self, received_ns: int, cause: int, symbols: Sequence[str] | None = None
    ) -> np.ndarray:
        self.held -= set(self.held if symbols is None else symbols)
        given = [""] if symbols is None else symbols
        rows = [self._row(GAP, received_ns, each, id=cause, aux=received_ns) for each in given]
        return np.concatenate(rows)

    def expect_snapshot(
        self, symbol: str, received_ns: int, cause: int = 4, channel: str = "book"
    ) -> np.ndarray:
        if channel != "book" or symbol not in self.held:
            return empty(0)
        self.held.discard(symbol)
        return self._row(RESYNC, received_ns, symbol, id=cause)


def connect(session: Session, now: int = T0) -> Step:
    """Take a session to the point where it asks for its subscriptions."""
    session.start(now)
    session.connecting(now)
    session.opened(now)
    return session.received(status(), now)
