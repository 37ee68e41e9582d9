"""The local venue without sockets: a client's frames in, its answers out, a clock that jumps.

`Desk` is one private connection of one account on a small market that the test writes itself, so
that every fill can be worked out by hand.
"""

import json
from decimal import Decimal
from typing import Any

import numpy as np

from adapters.local_venue.core import Core
from adapters.local_venue.keys import ApiKey
from adapters.local_venue.options import VenueOptions
from adapters.local_venue.source import MarketSource
from engine import events as e
from engine.instruments import Instrument, InstrumentTable

S = 1_000_000_000
T0 = 1_767_225_600 * S

TABLE = InstrumentTable(
    [
        Instrument(
            "BTC/USD",
            Decimal("0.1"),
            Decimal("0.00000001"),
            1,
            8,
            Decimal("0.0001"),
            Decimal("0.5"),
        ),
        Instrument(
            "ETH/USD",
            Decimal("0.01"),
            Decimal("0.00000001"),
            2,
            8,
            Decimal("0.002"),
            Decimal("0.5"),
        ),
    ]
)
# What most tests want: an account with round figures, nothing random on the way.
PLAIN: dict[str, Any] = {
    "balances": {"USD": Decimal(10_000), "BTC": Decimal(1), "ETH": Decimal(10)},
    "engine_ms": (1.0, 1.0),
    "reply_ms": (1.0, 1.0),
    "report_ms": (0.5, 0.5),
    "fee_schedule": "kraken-2025-11",
    "idle_close_s": 1e9,
    "private_idle_close_s": 1e9,
}


def rows(at_s: float, *records: dict[str, int]) -> np.ndarray:
    """One message at so many seconds; the last record closes it."""
    events = e.empty(len(records))
    events["ts"] = events["ts_venue"] = T0 + int(at_s * S)
    for row, record in zip(events, records, strict=True):
        for name, value in {"sym": 0, **record}.items():
            row[name] = value
    events["flags"][-1] |= e.LAST
    return events


def level(side: int, price: str, qty: str, sym: int = 0, flags: int = 0) -> dict[str, int]:
    each = TABLE[sym]
    return {"kind": e.BOOK_LEVEL, "side": side, "price": each.ticks(Decimal(price)),
            "qty": each.lots(Decimal(qty)), "sym": sym, "flags": flags}  # fmt: skip


def book(at_s: float, bids: dict[str, str], asks: dict[str, str], sym: int = 0) -> np.ndarray:
    """A snapshot."""
    levels = [level(1, p, q, sym, e.SNAPSHOT) for p, q in bids.items()]
    levels += [level(-1, p, q, sym, e.SNAPSHOT) for p, q in asks.items()]
    return rows(at_s, *levels)


def trade(at_s: float, side: int, price: str, qty: str, trade_id: int, sym: int = 0) -> np.ndarray:
    each = TABLE[sym]
    return rows(at_s, {"kind": e.TRADE, "side": side, "price": each.ticks(Decimal(price)),
                       "qty": each.lots(Decimal(qty)), "id": trade_id, "sym": sym})  # fmt: skip


OPENING = [
    book(0, {"50000.0": "1", "49999.0": "2"}, {"50001.0": "0.5", "50002.0": "2"}),
    book(0, {"2500.00": "10"}, {"2501.00": "10"}, sym=1),
    trade(0, 1, "50001.0", "0.1", 100),
]


class Desk:
    """One account at the local venue, with its frames as dictionaries (numbers as text)."""

    def __init__(
        self, *market: np.ndarray, key: ApiKey | None = None, endpoint: str = "private",
        others: tuple[ApiKey, ...] = (), **options: Any,
    ) -> None:  # fmt: skip
        source = MarketSource(TABLE, [*OPENING, *market])
        self.core = Core(source, VenueOptions(**{**PLAIN, **options}), [key or ApiKey(), *others])
        self.core.advance(0, self.core.start)
        self.token = self.core.keyring.issue(next(iter(self.core.keyring.keys.values())), 0)
        self.frames: dict[int, list[dict[str, Any]]] = {}
        self.closed: dict[int, tuple[int, str]] = {}
        self.conn = self.connect(endpoint)
        self.n_asked = 0
        self.go(0.001)
        self.take()

    # ---- time and frames ----

    def connect(self, endpoint: str) -> int:
        conn = self.core.opened(endpoint)
        self._collect()
        return conn

    def _collect(self) -> None:
        for out in self.core.drain():
            if out.close is not None:
                self.closed[out.conn] = out.close
            else:
                frame = json.loads(out.text, parse_float=str, parse_int=str)
                self.frames.setdefault(out.conn, []).append(frame)

    def go(self, seconds: float) -> None:
        """Let time pass, for market and wall alike."""
        step = int(seconds * S)
        self.core.advance(self.core.wall + step, self.core.now + step)
        self._collect()

    def send(self, text: str, conn: int | None = None) -> None:
        self.core.received(self.conn if conn is None else conn, text)
        self._collect()

    def take(self, conn: int | None = None) -> list[dict[str, Any]]:
        """Frames since the last call, heartbeats left out."""
        frames = self.frames.pop(self.conn if conn is None else conn, [])
        return [each for each in frames if each.get("channel") != "heartbeat"]

    # ---- phrases ----

    def request(self, method: str, **params: Any) -> list[dict[str, Any]]:
        """A request with the token; everything that arrives within 20 ms."""
        self.n_asked += 1
        message = {
            "method": method,
            "params": {**params, "token": self.token},
            "req_id": self.n_asked,
        }
        self.send(json.dumps(message))
        self.go(0.02)
        return self.take()

    def reply(self, method: str, **params: Any) -> dict[str, Any]:
        """The one reply to a request."""
        [found] = [each for each in self.request(method, **params) if "method" in each]
        assert found["method"] == method
        assert found["req_id"] == str(self.n_asked)
        return found

    def error(self, method: str, **params: Any) -> str:
        """The text of a refusal."""
        found = self.reply(method, **params)
        assert found["success"] is False, found
        return str(found["error"])

    def result(self, method: str, **params: Any) -> Any:
        found = self.reply(method, **params)
        assert found["success"] is True, found
        return found["result"]

    def limit(self, side: str, price: float, qty: float, **more: Any) -> dict[str, Any]:
        """The result of a limit order in BTC/USD."""
        result: dict[str, Any] = self.result(
            "add_order", order_type="limit", side=side, symbol="BTC/USD", limit_price=price,
            order_qty=qty, **more,
        )  # fmt: skip
        return result

    def subscribe(self, channel: str, **more: Any) -> list[dict[str, Any]]:
        return self.request("subscribe", channel=channel, **more)

    @staticmethod
    def reports(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The execution reports of frames, in order."""
        return [r for f in frames if f.get("channel") == "executions" for r in f["data"]]
