"""What the venue says on the wire, as bytes: for tests that play its part without a server."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from adapters.kraken.session import Session, Step
from engine.events import BOOK_LEVEL, LAST, SNAPSHOT, empty
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


class FakeTrouble:
    def __init__(self, symbol: str, cause: int, text: str = "wrong") -> None:
        self.symbol, self.cause, self.text = symbol, cause, text


class FakeTaken:
    def __init__(self, events: np.ndarray, troubles: tuple[FakeTrouble, ...] = ()) -> None:
        self.events, self.troubles = events, troubles


class CountingFeed:
    """One row per message, and trouble for every book whose checksum is 0.

    Remembers which books it holds, and fails when it is given an update of one that it does not:
    the session must never let that happen.
    """

    def __init__(self, table: InstrumentTable) -> None:
        self._table = table
        self.held: set[str] = set()
        self.n_taken = 0

    def take(self, message: Any, received_ns: int) -> FakeTaken:
        self.n_taken += 1
        symbol = getattr(message, "symbol", "")
        row = empty(1)
        row["ts"], row["kind"], row["flags"] = received_ns, BOOK_LEVEL, LAST
        if not symbol:
            return FakeTaken(row[:0])
        row["sym"] = self._table.index(symbol)
        if message.type == "snapshot":
            row["flags"] = LAST | SNAPSHOT
            self.held.add(symbol)
        assert symbol in self.held, f"an update of {symbol} before its snapshot"
        if message.checksum == 0:
            from engine.events import GAP_CHECKSUM

            self.held.discard(symbol)
            return FakeTaken(row, (FakeTrouble(symbol, GAP_CHECKSUM),))
        return FakeTaken(row)


def connect(session: Session, now: int = T0) -> Step:
    """Take a session to the point where it asks for its subscriptions."""
    session.start(now)
    session.connecting(now)
    session.opened(now)
    return session.received(status(), now)
