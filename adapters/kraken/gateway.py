"""How does a command of the core reach Kraken? One frame each, written once, or a row that says no.

`Gateway` turns commands into requests of the private session (private.py) with the exact decimals
of their pair, and answers at once what cannot leave: no connection, no whole view of the account,
too many replies outstanding, no room in the pair's transaction counter. Only entries wait for the
counter and for a free place among the replies; what takes risk away is sent whatever they say, and
the venue alone may refuse it. A client id passes here once in its life: a second time is a bug of
ours, since Kraken would take it for a new order as soon as the first has ended.

No socket, no clock. Left out: whether the trade is a good one (the core), the journal before it
(the session), replies and reports (private.py, account.py).

Source: Kraken, "Spot WebSocket API v2", add_order, amend_order, cancel_order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from adapters.kraken.limits import SECOND, Tier, TradingCounter
from adapters.kraken.order_state import OrderState, cl_ord_id_of
from adapters.kraken.phases import Phase
from adapters.kraken.private import PrivateSession
from engine import commands as c
from engine.errors import ConfigError, InvariantError, RefusedError
from engine.events import (
    AMEND_REJECT,
    BUY,
    CANCEL_REJECT,
    EVENT,
    HEALTH,
    HEALTH_ABSENT,
    LAST,
    NO_SYMBOL,
    ORDER_ACK,
    ORDER_CANCELED,
    ORDER_EXPIRED,
    ORDER_FILLED,
    ORDER_PENDING,
    ORDER_REJECT,
    REJECT_NOT_SENT,
    REJECT_RATE,
    SELL,
)
from engine.instruments import PRICE_MAX, QTY_MAX, InstrumentTable

DEADLINE_NS: Final = 5 * SECOND
DEADLINE_MIN_NS: Final = SECOND // 2  # Kraken takes nothing shorter
DEADLINE_MAX_NS: Final = 60 * SECOND  # ... nor longer
KEEP_FREE: Final = 32  # places among the outstanding replies that entries leave to others
RESERVE: Final = 10  # points of the pair's counter that entries leave to others

ORDER_TYPES: Final = {
    c.LIMIT: "limit",
    c.MARKET: "market",
    c.STOP_LOSS: "stop-loss",
    c.STOP_LOSS_LIMIT: "stop-loss-limit",
    c.TAKE_PROFIT: "take-profit",
    c.TAKE_PROFIT_LIMIT: "take-profit-limit",
    c.TRAILING_STOP: "trailing-stop",
}
_LIMITED: Final = frozenset((c.LIMIT, c.STOP_LOSS_LIMIT, c.TAKE_PROFIT_LIMIT))
_TRIGGERED: Final = frozenset((c.STOP_LOSS, c.STOP_LOSS_LIMIT, c.TAKE_PROFIT, c.TAKE_PROFIT_LIMIT))
_TIFS: Final = {c.GTC: "gtc", c.GTD: "gtd", c.IOC: "ioc"}
_SIDES: Final = {BUY: "buy", SELL: "sell"}
_KINDS: Final = (c.ADD, c.AMEND, c.CANCEL, c.CANCEL_ALL)
_REFUSALS: Final = {
    c.ADD: ORDER_REJECT,
    c.AMEND: AMEND_REJECT,
    c.CANCEL: CANCEL_REJECT,
    c.CANCEL_ALL: CANCEL_REJECT,
}
_ENDS: Final = (ORDER_FILLED, ORDER_CANCELED, ORDER_EXPIRED, ORDER_REJECT)
_REJECTS: Final = (ORDER_REJECT, AMEND_REJECT, CANCEL_REJECT)


@dataclass(frozen=True)
class Carried:
    """What became of some commands, in their order.

    frames : to be written once, on the connection that stands now; sent : bool per command
    rows : EVENT, a rejection for each command that did not leave; reasons : the same for people
    """

    frames: list[bytes]
    sent: np.ndarray
    rows: np.ndarray
    reasons: list[str] = field(default_factory=list)


def stamp_text(ns: int, decimals: int) -> str:
    """RFC 3339 in UTC with 0 or 3 decimals; what is finer is cut."""
    seconds, rest = divmod(ns, SECOND)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest // 1_000_000:03d}Z" if decimals else f"{text}Z"


class Gateway:
    """Carries commands out over one private session. Told the time (ns), asks no clock.

    tier : until the venue has named ours; deadline_ns : after it the engine takes an order no more
    used : whether a client id was sent in an earlier session of this lineage
    """

    def __init__(
        self,
        instruments: InstrumentTable,
        session: PrivateSession,
        tier: Tier,
        *,
        deadline_ns: int = DEADLINE_NS,
        reserve: int = RESERVE,
        slack_ns: int = 250_000_000,
        used: Callable[[int], bool] = lambda id: False,
    ) -> None:
        if not DEADLINE_MIN_NS <= deadline_ns <= DEADLINE_MAX_NS:
            raise ConfigError(
                f"a deadline of {deadline_ns} ns is not possible.",
                f"Kraken takes {DEADLINE_MIN_NS} to {DEADLINE_MAX_NS} ns.",
            )
        self._instruments, self._session, self._tier = instruments, session, tier
        self._deadline_ns, self._reserve, self._slack_ns = deadline_ns, reserve, slack_ns
        self._used_before = used
        self._used: set[int] = set()
        self._orders: dict[int, OrderState] = {}
        self._entries: set[int] = set()
        self._cancel_asked: set[int] = set()
        self._counters: dict[int, TradingCounter] = {}

    # ---- what the caller may know ----

    @property
    def deadline_ns(self) -> int:
        return self._deadline_ns

    def counter(self, sym: int) -> TradingCounter:
        """Our count of the pair's transactions; made when it is first needed."""
        if sym not in self._counters:
            tier = self._session.tier or self._tier
            self._counters[sym] = TradingCounter(tier, self._reserve, self._slack_ns)
        return self._counters[sym]

    def order(self, id: int) -> OrderState | None:
        """The order of a client id that passed here and has not ended."""
        return self._orders.get(id)

    def knows(self, id: int) -> bool:
        """Did this client id pass here, or through an earlier session of the lineage?"""
        return id in self._used or self._used_before(id)

    def cancel_asked(self, id: int) -> bool:
        """Did we ask for the end of this order, or never send it?"""
        return id in self._cancel_asked or id not in self._orders

    def resting(self) -> tuple[int, int]:
        """Orders that may rest at the venue: our entries, and all others, those of others too."""
        alive = self._session.account.open_orders()
        entries = sum(each.id in self._entries for each in alive)
        return entries, len(alive) - entries

    # ---- what is told ----

    def remember(self, orders: Iterable[OrderState], now: int) -> None:
        """Orders of an earlier session that may be open: their ids are used, their ages unknown."""
        for order in orders:
            if order.id <= 0:
                continue
            self._used.add(order.id)
            self._orders[order.id] = order
            if order.side == BUY:
                self._entries.add(order.id)  # what sells leaves a position
            if order.sym >= 0:
                self.counter(order.sym).seen(order.id, now)

    def observe(self, rows: np.ndarray, now: int) -> None:
        """What the private session told: which orders stand or ended, and what the venue counts."""
        for row in rows[rows["sym"] != NO_SYMBOL]:
            kind, sym, id = int(row["kind"]), int(row["sym"]), int(row["id"])
            if kind in (ORDER_ACK, ORDER_PENDING):
                self.counter(sym).seen(id, now)
            elif kind in _REJECTS and row["aux"] == REJECT_RATE:
                self.counter(sym).refused(now)
            if kind == CANCEL_REJECT:
                self._cancel_asked.discard(id)
            absent = kind == HEALTH and id == HEALTH_ABSENT
            if kind in _ENDS or absent:
                ended = int(row["aux"]) if absent else id
                self.counter(sym).closed(ended)
                self._orders.pop(ended, None)
                self._entries.discard(ended)
                self._cancel_asked.discard(ended)
        counts = self._session.account.ratecounts
        for sym, told in counts.items():
            counter = self.counter(sym)
            points = -int(-told // 1)
            if counter.points(now) < points:
                # Whole points are told, cut: the venue's own may be nearly one higher.
                counter.observed(points + 1, now)
        counts.clear()

    # ---- commands ----

    def carry(self, commands: np.ndarray, now: int) -> Carried:
        """One frame or one rejection for each command.

        raises InvariantError for a client id that was sent before and for a command that no venue
        could take; nothing of these commands has left then
        """
        self._must_be_new(commands)
        for command in commands:
            self._must_be_possible(command)
        frames: list[bytes] = []
        rows: list[tuple[int, ...]] = []
        reasons: list[str] = []
        sent = np.zeros(len(commands), np.bool_)
        for i, command in enumerate(commands):
            reason = self._closed(command, now)
            frame = b""
            if not reason:
                try:
                    frame = self._ask(command, now)
                except RefusedError as error:
                    reason = error.message
            if reason:
                kind = _REFUSALS[int(command["kind"])]
                rows.append(
                    (now, 0, 0, 0, 0, int(command["id"]), REJECT_NOT_SENT, int(command["sym"]),
                     kind, int(command["side"]), LAST)
                )  # fmt: skip
                reasons.append(reason)
            else:
                frames.append(frame)
                sent[i] = True
        return Carried(frames, sent, np.array(rows, EVENT), reasons)

    def _must_be_new(self, commands: np.ndarray) -> None:
        ids = commands["id"][commands["kind"] == c.ADD].tolist()
        again = [each for each in ids if self.knows(each)]
        if again or len(set(ids)) < len(ids):
            raise InvariantError(
                f"client order ids {again or ids} would be sent a second time; none of "
                f"{len(commands)} commands was sent.",
                "An order whose outcome is unknown is looked up, never sent again. Look for the "
                "id in the run's log with `kapitaalbot run explain`.",
            )
        self._used.update(ids)

    def _must_be_possible(self, command: np.void) -> None:
        kind, type_ = int(command["kind"]), int(command["type"])
        price, trigger, qty = int(command["price"]), int(command["trigger"]), int(command["qty"])
        fine = kind in _KINDS and 0 <= price < PRICE_MAX and 0 <= trigger < PRICE_MAX
        fine = fine and 0 <= qty < QTY_MAX
        if kind != c.CANCEL_ALL:
            fine = fine and 0 <= int(command["sym"]) < len(self._instruments)
            fine = fine and int(command["id"]) > 0
        if kind == c.ADD:
            trails = type_ == c.TRAILING_STOP  # price: its distance
            fine = (
                fine
                and type_ in ORDER_TYPES
                and (price > 0) == (type_ in _LIMITED or trails)
                and (trigger > 0) == (type_ in _TRIGGERED or trails)
                and qty > 0
                and int(command["tif"]) in _TIFS
                and int(command["side"]) in _SIDES
                and (int(command["expire_ts"]) > 0) == (int(command["tif"]) == c.GTD)
            )
        if not fine:
            raise InvariantError(
                f"the command {command} is none that a venue could take.",
                "This is a defect of the core: keep the run's log.",
            )

    def _closed(self, command: np.void, now: int) -> str:
        """Why this command cannot leave now; "" if it can."""
        session, kind = self._session, int(command["kind"])
        if session.phase is not Phase.ONLINE:
            return f"the private connection is {session.phase.value}"
        if kind in (c.CANCEL, c.CANCEL_ALL):
            return ""  # a cancel of what has ended does no harm, so no view of it is needed
        if not session.account.synced:
            return "orders and balances are not whole yet"
        id, sym = int(command["id"]), int(command["sym"])
        if kind == c.AMEND and int(command["qty"]) == 0 and self._total(id) == 0:
            return "the total quantity of the order is not known"
        if int(command["role"]) != c.ROLE_ENTRY:
            return ""
        if session.n_free <= KEEP_FREE:
            return f"{session.n_pending} requests wait for their reply"
        action = "add" if kind == c.ADD else "amend"
        if self.counter(sym).wait_ns(action, now, id, entry=True):  # type: ignore[arg-type]
            symbol = self._instruments.symbols[sym]
            return f"the transaction counter of {symbol} has no room for an entry"
        return ""

    def _total(self, id: int) -> int:
        order = self._orders.get(id)
        return order.qty if order is not None else 0

    def _ask(self, command: np.void, now: int) -> bytes:
        """The frame of one command, which counts as sent from here on."""
        kind, id, sym = int(command["kind"]), int(command["id"]), int(command["sym"])
        session = self._session
        if kind == c.CANCEL_ALL:
            frame = session.ask("cancel_all", {}, now)
            for counter in self._counters.values():
                counter.cancel_all(now)
            self._cancel_asked.update(self._orders)
            return frame
        counter = self.counter(sym)
        if kind == c.CANCEL:
            frame = session.ask(
                "cancel_order", {"cl_ord_id": [cl_ord_id_of(id)]}, now, self._about(command)
            )
            counter.cancel(id, now)
            self._cancel_asked.add(id)
        elif kind == c.AMEND:
            order = self._about(command)
            frame = session.ask("amend_order", self._change(command, now), now, order)
            trails = int(command["type"]) == c.TRAILING_STOP
            order.distance_asked = int(command["price"]) if trails else 0
            counter.amend(id, now)
        else:
            order = self._order_of(command)
            frame = session.ask("add_order", self._params(command, now), now, order)
            self._orders[id] = order
            if command["role"] == c.ROLE_ENTRY:
                self._entries.add(id)
            counter.add(id, now)
        return frame

    def _about(self, command: np.void) -> OrderState:
        """What an amend or cancel is about; of an order that never passed here only the name."""
        id = int(command["id"])
        return self._orders.get(id) or OrderState(
            "", id, int(command["sym"]), int(command["side"]), ORDER_TYPES.get(int(command["type"]), "")
        )  # fmt: skip

    def _order_of(self, command: np.void) -> OrderState:
        tif = _TIFS[int(command["tif"])]
        trails = int(command["type"]) == c.TRAILING_STOP
        return OrderState(
            "",
            int(command["id"]),
            int(command["sym"]),
            int(command["side"]),
            ORDER_TYPES[int(command["type"])],
            qty=int(command["qty"]),
            price=0 if trails else int(command["price"]),
            trigger=int(command["trigger"]),
            distance=int(command["price"]) if trails else 0,
            tif=tif.upper(),
        )

    def _params(self, command: np.void, now: int) -> dict[str, Any]:
        """Parameters of add_order, but for client id and token."""
        pair = self._instruments[int(command["sym"])]
        type_, tif = int(command["type"]), int(command["tif"])
        params: dict[str, Any] = {
            "order_type": ORDER_TYPES[type_],
            "side": _SIDES[int(command["side"])],
            "symbol": pair.symbol,
            "order_qty": pair.qty(int(command["qty"])),
            "time_in_force": _TIFS[tif],
            "fee_preference": "quote",
            "stp_type": "cancel_newest",
            "deadline": self._deadline(now),
        }
        if type_ in _LIMITED:
            params["limit_price"] = pair.price(int(command["price"]))
        if type_ in _TRIGGERED:
            price = pair.price(int(command["trigger"]))
            params["triggers"] = {"reference": "last", "price": price, "price_type": "static"}
        if type_ == c.TRAILING_STOP:
            # In quote currency, not in percent: whole ticks leave nothing to the venue's rounding.
            price = pair.price(int(command["price"]))
            params["triggers"] = {"reference": "last", "price": price, "price_type": "quote"}
        if tif == c.GTD:
            params["expire_time"] = self._expiry(int(command["expire_ts"]))
        if command["post_only"]:
            params["post_only"] = True
        return params

    def _change(self, command: np.void, now: int) -> dict[str, Any]:
        """Parameters of amend_order, but for the token. The total quantity is always said."""
        pair = self._instruments[int(command["sym"])]
        qty = int(command["qty"]) or self._total(int(command["id"]))
        params: dict[str, Any] = {
            "cl_ord_id": cl_ord_id_of(int(command["id"])),
            "order_qty": pair.qty(qty),
            "deadline": self._deadline(now),
        }
        if int(command["type"]) == c.TRAILING_STOP:
            if command["price"]:
                params["trigger_price"] = pair.price(int(command["price"]))
                params["trigger_price_type"] = (
                    "quote"  # the distance; its trigger is not ours to say
                )
            return params
        if command["price"]:
            params["limit_price"] = pair.price(int(command["price"]))
        if command["trigger"]:
            params["trigger_price"] = pair.price(int(command["trigger"]))
            params["trigger_price_type"] = "static"
        if command["post_only"]:
            params["post_only"] = True  # Kraken forgets it otherwise
        return params

    def _deadline(self, now: int) -> str | None:
        """By the venue's clock; before its first answer Kraken's own default holds, the same."""
        offset = self._session.clock_offset
        return None if offset is None else stamp_text(now + offset + self._deadline_ns, 3)

    def _expiry(self, expire_ts: int) -> str:
        """Good-till-date in whole seconds; a venue whose clock agrees to half a second gets ours."""
        offset_s = ((self._session.clock_offset or 0) + SECOND // 2) // SECOND
        return stamp_text(-(-expire_ts // SECOND) * SECOND + offset_s * SECOND, 0)
