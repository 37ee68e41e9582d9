"""A capture without sockets: what it wrote, and a venue's answers to what it asks."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from adapters.kraken.capture import Capture, CaptureConfig, Lineage
from adapters.kraken.keeper import Part
from adapters.kraken.phases import SECOND
from tests.support import kraken_words as say
from tests.support.frames import BookSource, Scale
from tests.support.kraken_words import T0


class Shelf:
    """Keeps what a keeper would write."""

    wants_raw = False

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.rows: list[list[np.ndarray]] = []
        self.remarks: list[dict[str, Any]] = []

    def begin(self, part: Part) -> None:
        self.parts.append(part)
        self.rows.append([])

    def append(self, rows: np.ndarray) -> None:
        self.rows[-1].append(rows)

    def remark(self, **facts: Any) -> None:
        self.remarks.append(facts)

    def raw(self, frame) -> None:
        raise AssertionError("nobody wanted raw frames")

    def lag_ns(self, now: int) -> int:
        return 0

    def of_part(self, i: int) -> np.ndarray:
        return np.concatenate(self.rows[i])


def pair(symbol: str, status: str = "online", tick: float = 0.1, **more: Any) -> dict[str, Any]:
    base, quote = symbol.split("/")
    rules = {"qty_precision": 8, "qty_increment": 1e-08, "qty_min": 0.0001, "cost_min": 0.5}
    rules |= {"price_precision": 1, "price_increment": tick, "cost_precision": 5}
    return {"symbol": symbol, "base": base, "quote": quote, "status": status, **rules, **more}


def listed(*pairs: dict[str, Any], kind: str = "snapshot") -> bytes:
    data = {"assets": [], "pairs": list(pairs)}
    return say.words(channel="instrument", type=kind, data=data)


class Desk:
    """A capture whose connections all stand, and the venue's answers to what it asks."""

    def __init__(self, config: CaptureConfig, lineage: Lineage | None = None) -> None:
        self.shelf = Shelf()
        self.capture = Capture(config, self.shelf, lambda: 0.5, lineage)
        self.sources: dict[str, BookSource] = {}
        self.asked: list[tuple[int, dict[str, Any]]] = []
        self.now = T0
        self.capture.start(self.now)
        self.connect()

    def connect(self) -> None:
        for conn, session in enumerate(self.capture.sessions):
            if session.phase.value == "waiting":
                if session.token_missing:
                    session.token("a token")
                assert self.capture.connecting(conn, self.now)
                self.capture.opened(conn, self.now)
                self.hear(conn, say.status())

    def hear(self, conn: int, frame: bytes) -> None:
        self.capture.received(conn, frame, self.now)
        self.capture.hand_over()
        orders, self.capture.orders = self.capture.orders, []
        for order in orders:
            self.asked += [(order.conn, json.loads(each)) for each in order.step.send]

    def tick(self, ns: int) -> None:
        self.now += ns
        self.capture.tick(self.now)
        self.capture.hand_over()
        orders, self.capture.orders = self.capture.orders, []
        for order in orders:
            self.asked += [(order.conn, json.loads(each)) for each in order.step.send]

    def answer(self) -> None:
        """Accept everything that was asked, with a snapshot for each book."""
        asked, self.asked = self.asked, []
        for conn, request in asked:
            params = request.get("params", {})
            for symbol in params.get("symbol", [""]):
                if request["method"] == "ping":
                    continue
                reply = say.accepted(
                    request["req_id"], params["channel"], symbol, request["method"]
                )
                self.hear(conn, reply)
                if (request["method"], params["channel"]) == ("subscribe", "book"):
                    source = self.sources.setdefault(symbol, BookSource(Scale(symbol), 10, seed=3))
                    self.hear(conn, source.snapshot())

    def settle(self) -> None:
        for _ in range(20):
            self.tick(SECOND // 4)
            self.connect()
            self.answer()
            for conn in range(len(self.capture.sessions)):
                self.hear(conn, say.HEARTBEAT)
