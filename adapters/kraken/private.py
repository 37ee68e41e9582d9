"""What does the private connection do next? Orders, fills, balances, and replies to our requests.

`PrivateSession` adds to a connection (session.py) what is private: a fresh token before each
connection, executions and balances as events (account.py), and one table of the requests that wait
for their reply. The table is bounded and every entry has a deadline: a reply that is overdue makes
its order SUSPECT, and no request is kept in a form in which it could be sent again. A message that
is missing ends the connection, for only a new snapshot tells what is true.

No socket, no clock: private_line.py carries. Left out: whether an order may be sent at all, and
settling a suspect order over REST.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from adapters.kraken import requests
from adapters.kraken.account import AccountFeed
from adapters.kraken.errors import Reaction, Said, parse_error
from adapters.kraken.keys import Redactor, Secret
from adapters.kraken.limits import ConnectionBudget, Tier, tier_of_threshold
from adapters.kraken.order_state import (
    SUSPECT_OVERDUE,
    SUSPECT_UNCLEAR,
    OrderState,
    Read,
    cl_ord_id_of,
)
from adapters.kraken.phases import Limits, Note, Phase, Step
from adapters.kraken.session import Session
from adapters.kraken.subscriptions import Wish
from adapters.kraken.wire import Balances, Executions, Reply, decode
from engine.errors import RefusedError
from engine.events import AMEND_REJECT, CANCEL_REJECT, EVENT, LAST, ORDER_REJECT
from engine.instruments import InstrumentTable

PRIVATE_URL: Final = "wss://ws-auth.kraken.com/v2"
PENDING_MAX: Final = 256
REPLY_NS: Final = 5_000_000_000
# Requests of ours count from here: the session numbers its subscriptions from 1.
FIRST_REQ_ID: Final = 1 << 32

_WISHES: Final = (
    Wish(
        "executions",
        params=(("snap_orders", True), ("snap_trades", True), ("ratecounter", True)),
    ),
    Wish("balances", params=(("snapshot", True),)),
)
_REJECTS: Final = {
    "add_order": ORDER_REJECT,
    "amend_order": AMEND_REJECT,
    "cancel_order": CANCEL_REJECT,
}


@dataclass
class Pending:
    """One request that waits for its reply. Its frame is not kept: it is never sent again.

    order : what it is about; None for requests about no single order
    """

    req_id: int
    method: str
    sent_ns: int
    deadline_ns: int
    order: OrderState | None = None
    overdue: bool = False


@dataclass(frozen=True)
class Answered:
    """A request and its reply, for whoever asked. `said` is the error, None for success."""

    req_id: int
    method: str
    order: OrderState | None
    said: Said | None
    result: Any
    late: bool


class PrivateSession:
    """The authenticated connection of one account. Inputs take `now` (ns) and give a Step.

    draw : numbers in [0, 1), the stream of the jitter; quote : see AccountFeed
    reply_ns : after so long a reply is overdue; pending_max : requests that may wait at once
    """

    def __init__(
        self,
        instruments: InstrumentTable,
        draw: Callable[[], float],
        *,
        quote: str = "USD",
        number: int = 0,
        limits: Limits | None = None,
        budget: ConnectionBudget | None = None,
        reply_ns: int = REPLY_NS,
        pending_max: int = PENDING_MAX,
    ) -> None:
        self.account = AccountFeed(instruments, quote)
        self.counts: Counter[str] = Counter()
        self.tier: Tier | None = None  # told by the acknowledgement of executions
        self.answered: list[Answered] = []  # taken and cleared by the caller
        self._session = Session(
            _WISHES, draw, alone=False, number=number, needs_token=True, limits=limits,
            budget=budget, ping_first=True,
        )  # fmt: skip
        self._token: Secret | None = None
        self._redactor = Redactor()
        self._pending: OrderedDict[int, Pending] = OrderedDict()
        self._reply_ns, self._pending_max = reply_ns, pending_max
        self._req_id = FIRST_REQ_ID
        self._whole_ns = 0  # when the account was last whole, or there was nothing to be missed

    # ---- what the caller may know ----

    @property
    def phase(self) -> Phase:
        return self._session.phase

    @property
    def token_missing(self) -> bool:
        return self._session.token_missing

    @property
    def ready(self) -> bool:
        """Connected, and orders and balances are whole."""
        return self.phase is Phase.ONLINE and self.account.synced

    @property
    def n_pending(self) -> int:
        return sum(not each.overdue for each in self._pending.values())

    @property
    def n_free(self) -> int:
        """Requests that may still be sent before a reply comes."""
        return self._pending_max - self.n_pending

    @property
    def newest_req_id(self) -> int:
        """Of the request that `ask` made last."""
        return self._req_id

    @property
    def newest_frame_ns(self) -> int:
        """When the newest frame came; 0 before the first."""
        return self._session.newest_frame_ns

    @property
    def clock_offset(self) -> int | None:
        """The venue's clock minus ours, ns; None before its first pong."""
        return self._session.clock_offset

    def clean(self, text: str) -> str:
        """`text` without the tokens of this session's connections."""
        return self._redactor.clean(text)

    # ---- life of the connection ----

    def start(self, now: int) -> Step:
        return self._session.start(now)

    def token(self, token: Secret) -> None:
        """A fresh token for the connection that is about to be made."""
        self._token = token
        self._redactor.add_token(token)
        self._session.token(token.reveal())

    def connecting(self, now: int) -> Step:
        return self._session.connecting(now)

    def opened(self, now: int) -> Step:
        self._whole_ns = now
        return self._session.opened(now)

    def received(self, frame: bytes | str, now: int) -> Step:
        """One frame, from whatever source."""
        step = self._session.received(frame, now)
        messages, step.messages = step.messages, []
        for message in messages:
            if isinstance(message, Executions | Balances):
                read = self.account.take(message, now)
                self._add(step, read, now)
                if read.resync:
                    # Only a new snapshot tells what is true, and it takes a new subscription.
                    self.counts["resyncs"] += 1
                    step.close = True
            elif isinstance(message, Reply):
                self._reply(step, message, now)
            else:
                step.messages.append(message)
        self._learn_tier(frame)
        return step

    def tick(self, now: int) -> Step:
        """Time went by: look for silence, for replies that are overdue, for unknown orders."""
        step = self._session.tick(now)
        for each in self._pending.values():
            if not each.overdue and now >= each.deadline_ns:
                self._overdue(step, each, f"no reply to {each.method} in time", now)
        self._add(step, self.account.tick(now), now)
        if self.phase is not Phase.ONLINE or self.account.synced:
            self._whole_ns = now
        elif now - self._whole_ns > self._session.limits.answer:
            # A snapshot was lost: nothing would ever count again, however well the rest is heard.
            self.counts["snapshots missing"] += 1
            step.notes.append(
                Note("warning", "a snapshot of the account is missing: connecting anew")
            )
            step.close = True
            self._whole_ns = now
        return step

    def closed(self, code: int, reason: str, now: int) -> Step:
        """The connection is gone, and with it every reply that had not come."""
        step = self._session.closed(code, self._redactor.clean(reason), now)
        self._add(step, self.account.lost(now), now)
        for each in self._pending.values():
            if not each.overdue:
                self._overdue(
                    step, each, f"the connection broke before {each.method} had a reply", now
                )
        self._pending.clear()
        self._token = None
        return step

    def dropped(self, n_frames: int, since: int, now: int) -> Step:
        """Frames were thrown away before we saw them."""
        step = self._session.dropped(n_frames, since, now)
        self._add(step, self.account.lost(now), now)
        return step

    def stop(self, now: int) -> Step:
        return self._session.stop(now)

    # ---- requests ----

    def ask(
        self,
        method: str,
        params: Mapping[str, Any],
        now: int,
        order: OrderState | None = None,
    ) -> bytes:
        """One request, ready to be sent once; its reply is awaited from now on.

        order : what it is about; for add_order one that has no order_id yet, whose own client id
            goes out as `cl_ord_id`
        raises RefusedError when not connected or when too many requests wait already
        """
        if self._token is None or self.phase is not Phase.ONLINE:
            raise RefusedError(
                f"{method} cannot be sent: the private connection is {self.phase.value}.",
                "Wait until it is online.",
            )
        if method == "cancel_order" and _n_references(params) != 1:
            # Kraken replies once per order, and a failed one does not say which.
            raise ValueError("cancel_order names one order: send several, or use batch_cancel.")
        self._make_room(method)
        self._req_id += 1
        given = {**params, "token": self._token.reveal()}
        if method == "add_order" and order is not None:
            given["cl_ord_id"] = cl_ord_id_of(order.id)
            self.account.sent(order, cl_ord_id_of(order.id))
        frame = requests.request(method, given, self._req_id)
        if order is not None:
            order.asked, order.asked_ns = method, now
            if method == "add_order":
                order.placed_ns = now
        self._pending[self._req_id] = Pending(
            self._req_id, method, now, now + self._reply_ns, order
        )
        self.counts[f"asked {method}"] += 1
        return frame

    def _make_room(self, method: str) -> None:
        if self.n_pending >= self._pending_max:
            raise RefusedError(
                f"{method} cannot be sent: {self._pending_max} requests wait for their reply.",
                "Wait for some of them.",
            )
        while len(self._pending) >= 2 * self._pending_max:
            # The oldest that is overdue: its order is suspect already.
            oldest = next(key for key, each in self._pending.items() if each.overdue)
            del self._pending[oldest]

    def _overdue(self, step: Step, pending: Pending, text: str, now: int) -> None:
        pending.overdue = True
        self.counts["overdue replies"] += 1
        if pending.order is None:
            step.notes.append(Note("warning", text))
            return
        read = Read()
        self.account.suspect(read, pending.order, SUSPECT_OVERDUE, text, now)
        self._add(step, read, now)

    # ---- replies ----

    def _reply(self, step: Step, reply: Reply, now: int) -> None:
        pending = self._pending.pop(reply.req_id, None) if reply.req_id is not None else None
        if pending is None:
            self.counts["replies to nothing"] += 1
            step.messages.append(reply)
            return
        if pending.overdue:
            self.counts["late replies"] += 1
        said = None if reply.success else parse_error(self._redactor.clean(reply.error))
        self.answered.append(
            Answered(
                pending.req_id, pending.method, pending.order, said, reply.result, pending.overdue
            )
        )
        if said is None:
            self._accepted(step, pending, reply, now)
        else:
            self._refused(step, pending, said, now)

    def _accepted(self, step: Step, pending: Pending, reply: Reply, now: int) -> None:
        order = pending.order
        if pending.method != "add_order" or order is None:
            return  # what becomes of it is told by the executions
        order_id = reply.result.get("order_id") if isinstance(reply.result, dict) else None
        if not isinstance(order_id, str) or not order_id:
            read = Read()
            text = "the reply to add_order names no order"
            self.account.suspect(read, order, SUSPECT_UNCLEAR, text, now)
            self._add(step, read, now)
            return
        self._add(step, self.account.bind(order_id, cl_ord_id_of(order.id), now), now)

    def _refused(self, step: Step, pending: Pending, said: Said, now: int) -> None:
        step.notes.append(Note("warning", f"{pending.method} was refused: {said.text}"))
        if said.reaction is Reaction.TOKEN:
            step.close = True  # a new connection brings a new token
        order = pending.order
        if order is None:
            return
        if said.reaction is Reaction.UNKNOWN:
            # It may have got through: not refused, not accepted.
            read = Read()
            text = f"{pending.method} was answered with {said.text}"
            self.account.suspect(read, order, SUSPECT_UNCLEAR, text, now)
            self._add(step, read, now)
            return
        kind = _REJECTS.get(pending.method)
        if kind is None:
            return
        if kind == ORDER_REJECT:
            self.account.dropped(cl_ord_id_of(order.id))
        row = (now, 0, 0, 0, 0, order.id, said.reject_code, order.sym, kind, 0, LAST)
        step.events.append(np.array([row], EVENT))

    # ---- helpers ----

    def _learn_tier(self, frame: bytes | str) -> None:
        """The session keeps acknowledgements to itself; the one of executions names the tier."""
        data = frame.encode() if isinstance(frame, str) else frame
        if b'"maxratecount"' not in data:
            return
        reply = decode(data)
        if isinstance(reply, Reply) and isinstance(reply.result, dict):
            threshold = reply.result.get("maxratecount")
            self.tier = tier_of_threshold(threshold) if isinstance(threshold, int) else None

    def _add(self, step: Step, read: Read, now: int) -> None:
        if read.rows:
            step.events.append(read.events())
        for doubt in read.doubts:
            self.counts[f"doubts: {doubt.cause}"] += 1
            place = f" {doubt.order_id}" if doubt.order_id else ""
            text = self._redactor.clean(f"account{place}: {doubt.text}")
            step.notes.append(Note("warning", text[:300]))


def _n_references(params: Mapping[str, Any]) -> int:
    names = ("order_id", "cl_ord_id", "order_userref")
    return sum(len(params[name]) for name in names if params.get(name) is not None)
