"""Our private session and gateway on the local venue, without sockets and with a clock that jumps.

`Link` carries frames between both in whole milliseconds; whatever either side says arrives at once.
The market is the one that the test writes (venue_desk), so that every fill can be worked out.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import numpy as np

from adapters.kraken.gateway import Carried, Gateway
from adapters.kraken.keys import Secret
from adapters.kraken.limits import TIERS
from adapters.kraken.phases import Phase, Step
from adapters.kraken.private import PrivateSession
from adapters.local_venue.account import Account
from adapters.local_venue.desk import Desk as VenueSide
from engine import commands as c
from engine.events import BUY, SELL
from tests.support.venue_desk import TABLE, Desk, S

MS = 1_000_000


def command(kind: int, id: int, **fields: int) -> np.void:
    """One COMMAND of BTC/USD; a limit order to buy 0.01 at 49,000.0 unless said otherwise."""
    row = np.zeros(1, c.COMMAND)[0]
    usual = {"side": BUY, "type": c.LIMIT, "tif": c.GTC, "role": c.ROLE_ENTRY}
    if kind == c.ADD:
        usual |= {"price": ticks("49000.0"), "qty": lots("0.01")}
    for name, value in {**usual, "kind": kind, "id": id, **fields}.items():
        row[name] = value
    return row


def ticks(price: str, sym: int = 0) -> int:
    return TABLE[sym].ticks(Decimal(price))


def lots(qty: str, sym: int = 0) -> int:
    return TABLE[sym].lots(Decimal(qty))


def stop(id: int, trigger: str, qty: str = "0.01", **fields: int) -> np.void:
    return command(
        c.ADD, id, side=SELL, type=c.STOP_LOSS, price=0, trigger=ticks(trigger), qty=lots(qty),
        role=c.ROLE_PROTECTION, **fields,
    )  # fmt: skip


class _RawDesk(Desk):
    """Keeps the frames as they were written."""

    def __init__(self, *market: np.ndarray, **options: Any) -> None:
        self.raw: dict[int, list[str]] = {}
        super().__init__(*market, **options)

    def _collect(self) -> None:
        for out in self.core.drain():
            if out.close is None:
                self.raw.setdefault(out.conn, []).append(out.text)
            else:
                self.closed[out.conn] = out.close


class Link:
    """One account of the venue and our connection to it; `go` lets time pass."""

    def __init__(self, *market: np.ndarray, **options: Any) -> None:
        self.desk = _RawDesk(*market, **options)
        self.session = PrivateSession(TABLE, lambda: 0.5)
        self.gateway = Gateway(TABLE, self.session, TIERS["starter"])
        self.steps: list[Step] = []
        self.written: list[dict[str, Any]] = []
        self.deaf = False  # what the venue says is lost
        self.held_back = False  # what we say stays with us
        self.conn = 0

    # ---- the venue's own books ----

    @property
    def account(self) -> Account:
        [client] = self.desk.core.clients.values()
        return client.account

    @property
    def venue(self) -> VenueSide:
        [client] = self.desk.core.clients.values()
        return client.desk

    @property
    def now(self) -> int:
        return self.desk.core.now

    def open_at_venue(self) -> list[str]:
        return [each.cl_ord_id or "" for each in self.account.open.values()]

    # ---- time ----

    def connect(self) -> None:
        session, core = self.session, self.desk.core
        if not self.steps:
            self._carry(session.start(self.now))
        session.token(Secret(core.keyring.issue(next(iter(core.keyring.keys.values())), core.wall)))
        self._carry(session.connecting(self.now))
        assert session.phase is Phase.CONNECTING, session.phase
        self.conn = self.desk.connect("private")
        self._carry(session.opened(self.now))
        for _ in range(3_000):
            self.go(0.001)
            if session.ready:
                return
        raise AssertionError(f"never ready: {self.session.counts}")

    def cut(self) -> None:
        """The connection breaks."""
        self.desk.core.closed(self.conn)
        self.desk.raw.pop(self.conn, None)
        self._carry(self.session.closed(1006, "cut", self.now))

    def go(self, seconds: float, step: float = 0.001) -> None:
        """Let time pass in steps; frames arrive after each, and then it ticks."""
        for _ in range(max(1, round(seconds / step))):
            self.desk.go(step)
            self._hear()
            self._carry(self.session.tick(self.now))
            self._hear()

    def _hear(self) -> None:
        for text in self.desk.raw.pop(self.conn, []):
            if not self.deaf:
                self._carry(self.session.received(text, self.now))

    def _carry(self, step: Step) -> None:
        self.steps.append(step)
        self.gateway.observe(step.rows(), self.now)
        for frame in step.send:
            self.desk.send(frame.decode(), self.conn)
        if step.close:
            self.cut()

    # ---- commands ----

    def carry(self, *commands: np.void) -> Carried:
        done = self.gateway.carry(np.array(list(commands), c.COMMAND), self.now)
        for frame in done.frames:
            self.written.append(json.loads(frame, parse_float=str, parse_int=str))
            if not self.held_back:
                self.desk.send(frame.decode(), self.conn)
        return done

    def rows(self, *kinds: int) -> np.ndarray:
        told = np.concatenate([each.rows() for each in self.steps])
        return told[np.isin(told["kind"], kinds)]


__all__ = ["MS", "Link", "S", "command", "lots", "stop", "ticks"]
