"""Who hears of an account's orders and balances, and with which sequence number?

Subscriptions of `executions` and `balances`, their snapshots, and the way of each report from the
engine to the subscribers: after a delay of its own, so that it may pass the reply to the request
that caused it. Left out: the requests that trade (wire_orders.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from adapters.local_venue import encode
from adapters.local_venue.account import Account
from adapters.local_venue.desk import Desk
from adapters.local_venue.options import TRADES_SNAPSHOT
from adapters.local_venue.public import Refusal, Request, flag, stray
from adapters.local_venue.reports import Reporter

if TYPE_CHECKING:
    from adapters.local_venue.core import Connection, Core

PARAMS: Final = {
    "executions": frozenset(
        ("channel", "token", "snap_orders", "snap_trades", "order_status", "ratecounter",
         "rebased", "users", "snapshot", "snapshot_trades")
    ),
    "balances": frozenset(("channel", "token", "snapshot", "rebased", "users")),
}  # fmt: skip
ALWAYS: Final = ("new", "filled", "canceled", "expired")  # with order_status false


@dataclass
class Subscription:
    """One private channel of one connection."""

    channel: str
    first: int  # of the account's messages, the first that is not in the snapshot
    sequence: int = 0
    all_status: bool = True
    ratecounter: bool = False


class Client:
    """One account and its subscribers."""

    def __init__(self, core: Core, account: Account) -> None:
        self.core, self.account = core, account
        self.desk = Desk(account, core.options)
        self.reporter = Reporter(account)
        self.subscribers: dict[tuple[int, str], Subscription] = {}
        self.n_said = 0
        self._last_engine = self._last_report = 0

    # ---- time on the way ----

    def _delay(self, span: tuple[float, float]) -> int:
        low, high = span
        return int(self.core.random.uniform(low, high) * 1e6)

    def engine_time(self) -> int:
        """When a request that arrives now reaches the engine; first in, first out."""
        at = self.core.now + self._delay(self.core.options.engine_ms)
        self._last_engine = max(self._last_engine, at)
        return self._last_engine

    def reply_time(self) -> int:
        return self.core.now + self._delay(self.core.options.reply_ms)

    # ---- what happened ----

    def settle(self) -> None:
        """Take what happened to the account just now, and send it on its way."""
        account = self.account
        while account.happened or account.booked:
            happened, account.happened = account.happened, []
            booked, account.booked = account.booked, []
            at = max(self._last_report, self.core.now + self._delay(self.core.options.report_ms))
            self._last_report = at
            batch: list[tuple[str, str, dict[str, Any], int]] = []
            for h in happened:
                points = self.desk.counter(h.order.sym).points(self.core.now)
                batch.append(("executions", h.kind, self.reporter.item(h), points))
                mine = [each for each in booked if h.fill and each.ref_id == h.fill.exec_id]
                batch += [("balances", "", self.reporter.entry(each), 0) for each in mine]
            numbered = list(enumerate(batch, self.n_said))
            self.n_said += len(batch)
            self.core.later(at, lambda told=numbered: self._publish(told))  # type: ignore[misc]
            fills = [(h.order, h.fill.qty) for h in happened if h.fill and h.order.conditional]
            if fills:
                self.desk.secondaries(fills, self.core.now)

    def _publish(self, told: list[tuple[int, tuple[str, str, dict[str, Any], int]]]) -> None:
        for number, (channel, kind, item, points) in told:
            for (conn_id, name), sub in self.subscribers.items():
                if name != channel or number < sub.first:
                    continue
                if channel == "executions" and not sub.all_status and kind not in ALWAYS:
                    continue
                said = item
                if sub.ratecounter:
                    said = {**item, self.core.options.ratecount_field: points}
                self._send(self.core.connections[conn_id], sub, "update", [said])

    def _send(self, conn: Connection, sub: Subscription, kind: str, data: list[Any]) -> None:
        sub.sequence += 1
        fields = {"channel": sub.channel, "type": kind, "data": data, "sequence": sub.sequence}
        self.core.say(conn, encode.dumps(fields))

    # ---- subscriptions ----

    def subscribe(self, conn: Connection, request: Request) -> None:
        channel = request.params["channel"]
        stray(request, PARAMS[channel], request.params)
        key = (conn.id, channel)
        if key in self.subscribers:
            raise Refusal(self.core.options.already_subscribed)
        sub = Subscription(channel, self.n_said)
        result: dict[str, Any] = {"channel": channel}
        if channel == "executions":
            orders = flag(request, "snap_orders", flag(request, "snapshot", True))
            trades = flag(request, "snap_trades", flag(request, "snapshot_trades", False))
            sub.all_status = flag(request, "order_status", True)
            sub.ratecounter = flag(request, "ratecounter", False)
            result |= {"snap_orders": orders, "snap_trades": trades,
                       "maxratecount": self.desk.tier.threshold}  # fmt: skip
            warnings = [
                f"{old} is deprecated, use {new}"
                for old, new in (("snapshot", "snap_orders"), ("snapshot_trades", "snap_trades"))
                if old in request.params
            ]
            if warnings:
                result["warnings"] = warnings
        else:
            orders = flag(request, "snapshot", True)
            trades = False
            result["snapshot"] = orders
        now = self.core.shown
        self.core.say(conn, encode.reply(request.method, request.req_id, result, now, now))
        self.subscribers[key] = sub
        conn.private[channel] = sub
        self.core.start_heartbeats(conn)
        if channel == "balances":
            if orders:
                self._send(conn, sub, "snapshot", self.reporter.balances())
            return
        data: list[Any] = []
        if trades:
            recent = self.account.fills[-TRADES_SNAPSHOT:]
            data += self.reporter.old_fills(recent)
        if orders:
            data += self.reporter.snapshot(self.account.open.values())
        if orders or trades:
            self._send(conn, sub, "snapshot", data)

    def unsubscribe(self, conn: Connection, request: Request) -> None:
        channel = request.params["channel"]
        stray(request, PARAMS[channel], request.params)
        if (conn.id, channel) not in self.subscribers:
            raise Refusal(self.core.options.not_subscribed)
        self.leave(conn, channel)
        now = self.core.shown
        result = {"channel": channel}
        self.core.say(conn, encode.reply(request.method, request.req_id, result, now, now))

    def leave(self, conn: Connection, channel: str) -> None:
        self.subscribers.pop((conn.id, channel), None)
        conn.private.pop(channel, None)

    # ---- deadlines ----

    def next_time(self) -> int | None:
        """Engine time of the account's next own deadline: an expiry, the dead man's switch."""
        times = [self.account.next_time()]
        if self.desk.switch_at and self.desk.mode(-1) != "maintenance":
            times.append(self.desk.switch_at)
        waiting = [each for each in self.account.open.values() if not each.child]
        times += [each.effective_ts for each in waiting if each.effective_ts]
        return min((each for each in times if each), default=None)

    def act(self, t: int) -> None:
        """Do what is due at `t`."""
        expiry = self.account.next_time()
        if expiry is not None and expiry <= t:
            self.account.timer(t)
        if self.desk.switch_at and self.desk.switch_at <= t:
            self.desk.switch_fires(t)
        for order in list(self.account.open.values()):
            if order.effective_ts and order.effective_ts <= t and not order.child:
                self.desk.due(order, t)
        self.settle()
