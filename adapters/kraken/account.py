"""What happened to our orders and our money? Private messages in, EVENT rows out.

`AccountFeed` keeps what is needed to understand them: Kraken repeats hardly anything, so a report
without symbol, side or client id is completed from what an earlier one said, and one of an unknown
order waits until somebody says what it is. A fill counts once per execution id and never by its
totals; complete is what `filled` says. A jump in a sequence means that something is lost: nothing
counts again before a new snapshot. No socket, no clock. Left out: requests (private.py), and what
the core makes of the events.

Source: Kraken, "Spot WebSocket API v2", executions and balances.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, localcontext
from typing import Any, Final

from adapters.kraken.errors import printable
from adapters.kraken.order_state import (
    SUSPECT_FILLS,
    SUSPECT_UNCLEAR,
    SUSPECT_VANISHED,
    Doubt,
    Ended,
    OrderState,
    Read,
    Seen,
    Sequence,
    cl_ord_id_of,
    id_of_cl_ord_id,
    merge_trail,
    trail_agrees,
)
from adapters.kraken.orders import order_key
from adapters.kraken.stamps import Ns
from adapters.kraken.wire import Balance, Balances, Executions, Report
from engine.events import (
    BALANCE,
    BUY,
    CANCEL_ALL,
    CANCEL_FUNDS,
    CANCEL_IOC,
    CANCEL_POST_ONLY,
    CANCEL_PROTECTION,
    CANCEL_SELF_TRADE,
    CANCEL_USER,
    HEALTH,
    HEALTH_ABSENT,
    HEALTH_ACCOUNT_LOST,
    HEALTH_ACCOUNT_SYNCED,
    HEALTH_SUSPECT,
    LAST,
    MAKER,
    NO_SYMBOL,
    ORDER_ACK,
    ORDER_AMENDED,
    ORDER_CANCELED,
    ORDER_EXPIRED,
    ORDER_FEE,
    ORDER_FILL,
    ORDER_FILLED,
    ORDER_PENDING,
    ORDER_TRAILED,
    ORDER_TRIGGERED,
    SELL,
    SNAPSHOT,
    TAKER,
)
from engine.instruments import (
    PRICE_MAX,
    QTY_MAX,
    Instrument,
    InstrumentTable,
    UnknownSymbolError,
)
from engine.units import MONEY_DECIMALS, OffGridError

ASSET_DECIMALS: Final = 10  # of amounts kept here; Kraken's ledger has at most that many
HELD_MAX: Final = 1_000  # reports of unknown orders that wait
HELD_NS: Final = 5_000_000_000  # for so long
CLOSED_MAX: Final = 2_000  # orders that are remembered after their end

_SIDES: Final = {"buy": BUY, "sell": SELL}
_UNIT: Final = Decimal(1).scaleb(-ASSET_DECIMALS)
_MONEY: Final = Decimal(1).scaleb(-MONEY_DECIMALS)
# Digits enough that no product or quotient of numbers of the wire is ever rounded.
_EXACT: Final = Context(prec=120)
_AMOUNT_MAX: Final = 1 << 62  # of money or units in an event; what lies above is damaged input
_END_KINDS: Final = {
    "filled": ORDER_FILLED,
    "canceled": ORDER_CANCELED,
    "expired": ORDER_EXPIRED,
}
_STOPS: Final = ("stop-loss", "stop-loss-limit", "take-profit", "take-profit-limit")
_TRAILING: Final = ("trailing-stop", "trailing-stop-limit")
# Free text of the venue: matched by what it begins with or holds.
_CANCELS: Final = (
    ("user requested", CANCEL_USER),
    ("post only", CANCEL_POST_ONLY),
    ("cannot trade with self", CANCEL_SELF_TRADE),
    ("insufficient", CANCEL_FUNDS),
    ("market price protection", CANCEL_PROTECTION),
    ("protection", CANCEL_PROTECTION),
    ("cancel all", CANCEL_ALL),
    ("cancelallordersafter", CANCEL_ALL),
    ("immediate", CANCEL_IOC),
    ("ioc", CANCEL_IOC),
)


class AccountFeed:
    """Executions and balances of one account to events.

    instruments : `sym` of the events is a row of it; what lies outside is counted and left out
    quote : the currency whose balance is the money of the events
    """

    def __init__(self, instruments: InstrumentTable, quote: str = "USD") -> None:
        self._instruments = instruments
        self._quote = quote
        self._bases: dict[str, list[int]] = {}
        for sym, each in enumerate(instruments):
            self._bases.setdefault(each.base, []).append(sym)
        self.orders: dict[str, OrderState] = {}
        # Of them those that may be open: who asks for these with every message must not walk past
        # thousands that have ended.
        self._open: dict[str, OrderState] = {}
        self._closed: OrderedDict[str, None] = OrderedDict()
        self._held: list[tuple[int, Report]] = []
        self._executions = Seen()
        self._applied: set[int] = set()  # keys of executions that an earlier session applied
        self._resumed = False
        self._ledger = Seen()
        self.executions = Sequence()
        self.balances = Sequence()
        self._wallets: dict[str, dict[tuple[str, str], int]] = {}
        self._last_ns = 0
        self.counts: Counter[str] = Counter()
        self.ratecounts: dict[int, Decimal] = {}  # sym: the venue's own counter, as last told

    # ---- state for others ----

    @property
    def synced(self) -> bool:
        """Both channels have their snapshot and no message is missing."""
        return self.executions.synced and self.balances.synced

    def open_orders(self) -> list[OrderState]:
        """In the order in which they were heard of."""
        for key in [key for key, each in self._open.items() if not each.is_open]:
            del self._open[key]
        return list(self._open.values())

    def _keep(self, key: str, order: OrderState) -> None:
        self.orders[key] = self._open[key] = order

    def _stand(self, order: OrderState, status: str) -> None:
        """It is open, though it may have counted as ended."""
        order.status = status
        self._open[order.order_id] = order

    def _forget(self, key: str) -> OrderState | None:
        self._open.pop(key, None)
        return self.orders.pop(key, None)

    @property
    def assets(self) -> tuple[str, ...]:
        """Every asset of our pairs."""
        return tuple(dict.fromkeys((self._quote, *self._bases)))

    def amount(self, asset: str) -> Decimal:
        """`total` in whole units of the asset."""
        with localcontext(_EXACT):
            return self.total(asset) * _UNIT

    def agrees(self, order: OrderState, row: Mapping[str, Any]) -> bool:
        """Does REST's row tell the same quantity and price of an open order?"""
        descr = row.get("descr")
        if order.sym == NO_SYMBOL or not isinstance(descr, dict):
            return False
        pair = self._instruments[order.sym]
        if order.order_type in _TRAILING:
            return trail_agrees(order, pair, row, str(descr.get("price") or ""))
        first, second = (Decimal(str(descr.get(name) or "0")) for name in ("price", "price2"))
        stop = order.order_type in _STOPS
        wanted = (order.trigger, order.price) if stop else (order.price, 0)
        with localcontext(_EXACT):
            same = [
                pair.price(ticks) == told
                for ticks, told in zip(wanted, (first, second), strict=True)
            ]
            return all(same) and pair.qty(order.qty) == Decimal(str(row.get("vol") or "0"))

    def total(self, asset: str) -> int:
        """Spot balance in units of 1e-10, holds of open orders included."""
        wallets = self._wallets.get(asset, {})
        return wallets.get(("spot", "main"), 0)

    def held(self, asset: str) -> int:
        """What our own open orders hold of it, in units of 1e-10; fees are not in it."""
        held = 0
        with localcontext(_EXACT):
            for each in self.open_orders():
                if each.sym == NO_SYMBOL:
                    continue
                pair = self._instruments[each.sym]
                if each.side == SELL and pair.base == asset:
                    held += _units(pair.qty(each.leaves), ROUND_CEILING)
                elif each.side == BUY and pair.quote == asset:
                    price = pair.price(max(each.price, each.trigger))
                    held += _units(price * pair.qty(each.leaves), ROUND_CEILING)
        return held

    def free(self, asset: str) -> int:
        """What may still be used; never below zero."""
        return max(0, self.total(asset) - self.held(asset))

    # ---- inputs ----

    def lost(self, now: int) -> Read:
        """The connection broke: nothing counts before the next snapshots."""
        read = Read()
        if self.executions.synced or self.balances.synced:
            self._lose(read, now)
        self.executions.lose()
        self.balances.lose()
        return read

    def take(self, message: Executions | Balances, now: int) -> Read:
        """One message, received at `now` (ns)."""
        read = Read()
        sequence = self.executions if isinstance(message, Executions) else self.balances
        was_synced = self.synced
        with localcontext(_EXACT):
            self._take(read, message, sequence, was_synced, now)
        return read

    def _take(
        self,
        read: Read,
        message: Executions | Balances,
        sequence: Sequence,
        was_synced: bool,
        now: int,
    ) -> None:
        verdict = sequence.take(message.type, message.sequence)
        self.counts[f"{'executions' if sequence is self.executions else 'balances'} {verdict}"] += 1
        if verdict == "jump":
            self._lose(read, now)
            read.resync = True
            read.doubts.append(Doubt("gap", f"messages are missing before {message.sequence}"))
        if verdict != "fine":
            return
        if isinstance(message, Executions):
            if message.type == "snapshot":
                self._snapshot(read, message, now)
            else:
                for report in message.reports:
                    self._report(read, report, now, 0)
        else:
            self._balances(read, message, now)
        self._last_ns = now
        if self.synced and not was_synced:
            self._row(read, HEALTH, now, id=HEALTH_ACCOUNT_SYNCED)

    def remember(self, orders: Iterable[OrderState], executions: Iterable[int] = ()) -> None:
        """Before connecting: what an earlier session believed open, and which fills it applied.

        orders : with their status (`new` for one that was open); `order_id` may be empty, the client
            id finds them then; executions : the `aux` of their ORDER_FILL events
        """
        self._resumed = True
        self._applied.update(executions)
        for order in orders:
            key = order.order_id or _placeholder(cl_ord_id_of(order.id))
            self._keep(key, order)

    def of_id(self, id: int) -> OrderState | None:
        """Our order of that client id, as far as it is remembered."""
        if id <= 0:
            return None
        found = self.orders.get(_placeholder(cl_ord_id_of(id)))
        if found is not None:
            return found
        return next((each for each in reversed(self.orders.values()) if each.id == id), None)

    def seen(self, exec_id: str) -> bool:
        """Was this fill applied, here or in an earlier session?"""
        return order_key(exec_id) in self._applied or exec_id in self._executions

    def unnamed(self) -> list[OrderState]:
        """Orders of ours of which no order id is known yet."""
        return [each for each in self.orders.values() if not each.order_id]

    def found(self, order_id: str, id: int) -> None:
        """REST knows an order of ours by its client id: `settle` may now tell how it ended."""
        order = self._known(order_id, cl_ord_id_of(id))
        if order is not None and order.is_open:
            order.status = "vanished"

    def restate(self, order: OrderState, now: int) -> Read:
        """Say once more how an order stands or ended, which is what ends a suspicion."""
        read = Read()
        kind = _END_KINDS.get(order.status)
        if order.is_open:
            self._order_row(read, ORDER_ACK, order, Report(order.order_id), now, SNAPSHOT)
        if kind is None:
            return read
        qty = order.done if kind == ORDER_FILLED else order.leaves
        reason = CANCEL_USER if kind == ORDER_CANCELED else 0
        self._row(
            read, kind, now, Report(order.order_id), order, side=order.side, qty=qty, aux=reason,
            flags=SNAPSHOT | LAST,
        )  # fmt: skip
        return read

    def absent(self, order: OrderState, now: int) -> Read:
        """Every source lacks it for good: there is no such order, and there never was."""
        read = Read()
        self.dropped(cl_ord_id_of(order.id))
        order.status = "absent"
        self._row(read, HEALTH, now, sym=order.sym, id=HEALTH_ABSENT, aux=order.id)
        return read

    def sent(self, order: OrderState, cl_ord_id: str) -> None:
        """An add of ours is on its way: reports of it are understood whatever comes first."""
        self._keep(_placeholder(cl_ord_id), order)

    def bind(self, order_id: str, cl_ord_id: str, now: int) -> Read:
        """The reply to an add named the order: what waited for it is applied."""
        read = Read()
        self._known(order_id, cl_ord_id)
        with localcontext(_EXACT):
            self._apply_held(read, order_id, now)
        return read

    def dropped(self, cl_ord_id: str) -> OrderState | None:
        """The add was refused: there is no such order."""
        return self._forget(_placeholder(cl_ord_id))

    def suspect(self, read: Read, order: OrderState, cause: int, text: str, now: int) -> None:
        """Say that nothing may be assumed of an order until evidence settles it."""
        if order.suspect and order.cause == cause:
            self.counts["suspicions again"] += 1
            return
        order.suspect, order.cause = True, cause
        self._row(read, HEALTH, now, sym=order.sym, id=HEALTH_SUSPECT, aux=order.id, qty=cause)
        read.doubts.append(Doubt("suspect", text, order.order_id, order.id))

    def vanished(self) -> list[OrderState]:
        """Orders that were open before a gap and not after it, and whose end nobody told yet."""
        return [each for each in self.orders.values() if each.status == "vanished"]

    def settle(self, fills: Iterable[Report], ends: Iterable[Ended], now: int) -> Read:
        """Apply what REST told: fills that were missed, then how vanished orders ended.

        An order that lacks fills of the venue's total stays suspect. Where the total says less than
        the fills, the fills win: each has an execution of its own behind it.
        """
        read = Read()
        with localcontext(_EXACT):
            for report in fills:
                self._fill(read, report, self._learn(report, now), now, SNAPSHOT)
            for end in ends:
                order = self.orders.get(end.order_id)
                if order is None or order.status != "vanished":
                    continue
                report = Report(
                    end.order_id,
                    timestamp=Ns(end.timestamp),
                    cum_qty=end.filled,
                    reason=end.reason,
                )
                self._total(read, order, report, now)
                if order.id > 0 and order.told > order.filled:
                    continue
                order.status, order.suspect = "new", False
                kinds = {"filled": ORDER_FILLED, "expired": ORDER_EXPIRED}
                kind = kinds.get(end.status, ORDER_CANCELED)
                self._end(read, kind, order, report, now, SNAPSHOT)
        return read

    def tick(self, now: int) -> Read:
        """Give up on reports that waited too long for their order."""
        read = Read()
        while self._held and now - self._held[0][0] > HELD_NS:
            _, report = self._held.pop(0)
            self.counts["reports of unknown orders"] += 1
            read.doubts.append(
                Doubt(
                    "unknown order",
                    f"{report.exec_type} of an order that nobody described",
                    report.order_id,
                )
            )
        return read

    # ---- executions ----

    def _lose(self, read: Read, now: int) -> None:
        self._row(read, HEALTH, now, id=HEALTH_ACCOUNT_LOST, aux=self._last_ns)

    def _snapshot(self, read: Read, message: Executions, now: int) -> None:
        """Open orders as they are, and fills that may be news; nothing in it is new flow."""
        before = {id(each): each for each in self.open_orders()}
        fills = [each for each in message.reports if each.exec_type == "trade" and each.exec_id]
        states = [each for each in message.reports if each.exec_type != "trade"]
        # First what is open, so that a fill of it is told from one of an order that ended.
        opened = [(self._learn(report, now), report) for report in states]
        # Newest first on the wire; the ledger wants them as they happened.
        for report in sorted(fills, key=lambda each: each.timestamp):
            unknown = report.order_id not in self.orders and not report.cl_ord_id
            if unknown and (self._resumed or self.unnamed()):
                # It may be of an order whose reply was lost, or that an earlier session believed
                # ended: REST says whose it is.
                self.counts["fills left to REST"] += 1
                continue
            self._fill(read, report, self._learn(report, now), now, SNAPSHOT)
        for order, report in opened:
            if order is None:
                self.counts["orders that cannot be told"] += 1
                continue
            before.pop(id(order), None)
            self._stand(order, report.order_status or "new")
            pending = order.status == "pending_new"
            kind = ORDER_PENDING if pending else ORDER_ACK
            self._order_row(read, kind, order, report, now, SNAPSHOT)
            order.acked = not pending
            self._total(read, order, report, now)
        for order in before.values():
            # Ended while nobody looked: how, only REST can say.
            text = "it was open before the connection broke and is not now"
            self.suspect(read, order, SUSPECT_VANISHED, text, now)
            if order.order_id:
                self._close(order, "vanished")
        self._held.clear()

    def _report(self, read: Read, report: Report, now: int, flags: int) -> None:
        order = self._learn(report, now)
        if order is None:
            if len(self._held) >= HELD_MAX:
                self._held.pop(0)
                self.counts["reports of unknown orders"] += 1
            self._held.append((now, report))
            return
        self._apply(read, report, order, now, flags)
        if report.exec_type == "pending_new":
            self._apply_held(read, report.order_id, now)

    def _apply_held(self, read: Read, order_id: str, now: int) -> None:
        waiting = [each for each in self._held if each[1].order_id == order_id]
        self._held = [each for each in self._held if each[1].order_id != order_id]
        for _, report in waiting:
            self._report(read, report, now, 0)

    def _apply(self, read: Read, report: Report, order: OrderState, now: int, flags: int) -> None:
        kind = report.exec_type
        if report.ratecount is not None and order.sym >= 0:
            self.ratecounts[order.sym] = report.ratecount
        if kind == "pending_new":
            if not order.acked:
                self._order_row(read, ORDER_PENDING, order, report, now, flags)
        elif kind == "new":
            self._stand(order, "new")
            order.acked = True
            self._order_row(read, ORDER_ACK, order, report, now, flags)
        elif kind == "trade":
            self._fill(read, report, order, now, flags)
        elif kind == "filled":
            self._end(read, ORDER_FILLED, order, report, now, flags)
        elif kind == "canceled":
            self._end(read, ORDER_CANCELED, order, report, now, flags)
        elif kind == "expired":
            self._end(read, ORDER_EXPIRED, order, report, now, flags)
        elif kind in ("amended", "restated"):
            self._order_row(read, ORDER_AMENDED, order, report, now, flags)
        elif kind == "status":
            self._status(read, order, report, now, flags)
        elif kind == "iceberg_refill":
            self.counts["iceberg refills"] += 1
        else:
            self.counts["unknown reports"] += 1
            text = f"the report {printable(kind)!r} is not known"
            self.suspect(read, order, SUSPECT_UNCLEAR, text, now)

    def _status(self, read: Read, order: OrderState, report: Report, now: int, flags: int) -> None:
        triggers = report.triggers
        if triggers is None or triggers.status != "triggered" or order.triggered:
            self.counts["status reports"] += 1  # a trailing stop that moved
            if self._merge(read, order, report, now):
                self._trailed(read, order, report, now, flags)
            return
        order.triggered = True
        price = self._reference(order, triggers.last_price or triggers.price)
        self._row(read, ORDER_TRIGGERED, now, report, order, price=price, flags=flags | LAST)

    def _fill(
        self, read: Read, report: Report, order: OrderState | None, now: int, flags: int
    ) -> None:
        """One fill and its fee: two rows that belong together."""
        known = report.exec_id is not None and order_key(report.exec_id) in self._applied
        if report.exec_id is None or known or not self._executions.first_time(report.exec_id):
            self.counts["fills seen before"] += 1
            return
        if order is None or order.sym == NO_SYMBOL or not report.last_qty or not report.last_price:
            self.counts["fills that cannot be told"] += 1
            text = f"the fill {printable(report.exec_id)} is of a pair or form that we do not know"
            read.doubts.append(Doubt("fill", text, report.order_id))
            return
        pair = self._instruments[order.sym]
        try:
            price, qty = _ticks(pair, report.last_price), _lots(pair, report.last_qty)
            if price == 0 or qty == 0:
                raise OffGridError("a fill of nothing")
            fee = self._fee(read, report, pair)
        except OffGridError as error:
            self.suspect(read, order, SUSPECT_UNCLEAR, str(error), now)
            return
        # Fills of history are of orders that ended: their totals are not followed.
        if order.status != "history":
            order.filled += qty
            if order.is_open:
                order.status = "partially_filled"
        key = order_key(report.exec_id)
        role = {"m": MAKER, "t": TAKER}.get(report.liquidity_ind or "", 0)
        self._row(
            read, ORDER_FILL, now, report, order,
            side=order.side, price=price, qty=qty, aux=key, flags=flags | role,
        )  # fmt: skip
        self._row(read, ORDER_FEE, now, report, order, qty=fee, aux=key, flags=flags | LAST)
        if not flags & SNAPSHOT:
            self._total(read, order, report, now)

    def _fee(self, read: Read, report: Report, pair: Instrument) -> int:
        """All parts of a fee as money of the quote; what is finer is rounded against us."""
        fee = Decimal(0)
        for part in report.fees:
            if part.asset == pair.quote:
                fee += part.qty
            elif part.asset == pair.base and report.last_price is not None:
                self.counts["fees in base"] += 1
                fee += part.qty * report.last_price
            else:
                self.counts["fees in other assets"] += 1
                text = f"a fee of {part.qty} {printable(part.asset)} has no value in {pair.quote}"
                read.doubts.append(Doubt("fee", text, report.order_id))
        money = int((fee / _MONEY).to_integral_value(ROUND_CEILING))
        if abs(money) >= _AMOUNT_MAX:
            raise OffGridError(f"a fee of {fee} is no fee")
        return money

    def _end(
        self, read: Read, kind: int, order: OrderState, report: Report, now: int, flags: int
    ) -> None:
        if not order.is_open and order.status != "history":
            self.counts["ends seen before"] += 1
            return
        if not self._merge(read, order, report, now):
            return
        self._total(read, order, report, now)
        if kind == ORDER_FILLED:
            qty, reason = order.done, 0
        else:
            qty, reason = order.leaves, self._cancel_reason(read, order, report, kind)
        self._row(
            read, kind, now, report, order, side=order.side, qty=qty, aux=reason,
            flags=flags | LAST,
        )  # fmt: skip
        order.suspect = False
        self._close(order, {ORDER_FILLED: "filled", ORDER_EXPIRED: "expired"}.get(kind, "canceled"))

    def _cancel_reason(self, read: Read, order: OrderState, report: Report, kind: int) -> int:
        if kind != ORDER_CANCELED:
            return 0
        text = (report.reason or "").lower()
        for words, code in _CANCELS:
            if words in text:
                return code
        if order.tif.lower() == "ioc":
            return CANCEL_IOC
        shown = printable(report.reason or "no reason")
        read.doubts.append(Doubt("cancel", f"canceled: {shown}", order.order_id, order.id))
        return 0

    def _total(self, read: Read, order: OrderState, report: Report, now: int) -> None:
        """Take the venue's total; does it agree with the fills that were applied?"""
        if report.cum_qty is None or order.sym == NO_SYMBOL:
            return
        try:
            order.told = _lots(self._instruments[order.sym], report.cum_qty)
        except OffGridError as error:
            self.suspect(read, order, SUSPECT_UNCLEAR, str(error), now)
            return
        # Of other programs' orders the beginning is not known.
        if order.told != order.filled and order.id > 0:
            text = f"{order.told} lots are filled, and the fills that came add up to {order.filled}"
            self.suspect(read, order, SUSPECT_FILLS, text, now)

    # ---- orders ----

    def _known(self, order_id: str, cl_ord_id: str | None) -> OrderState | None:
        order = self.orders.get(order_id)
        if order is None and cl_ord_id:
            order = self._forget(_placeholder(cl_ord_id))
            if order is not None:
                order.order_id = order_id
                self._keep(order_id, order)
        return order

    def _learn(self, report: Report, now: int) -> OrderState | None:
        """The order of a report, made or completed from it; None: it does not say enough."""
        order = self._known(report.order_id, report.cl_ord_id)
        if order is not None:
            if report.time_in_force:
                order.tif = report.time_in_force
            return order
        if report.symbol is None or report.side is None:
            return None
        try:
            sym = self._instruments.index(report.symbol)
        except UnknownSymbolError:
            sym = NO_SYMBOL
            self.counts["orders of other pairs"] += 1
        # Orders of other programs get a number that can never be one of ours.
        id = id_of_cl_ord_id(report.cl_ord_id) or -order_key(report.order_id) or -1
        order = OrderState(
            report.order_id, id, sym, _SIDES[report.side], report.order_type or "",
            tif=report.time_in_force or "",
        )  # fmt: skip
        if report.exec_type == "trade" and report.order_status == "filled":
            order.status = "history"
        if not self._merge(Read(), order, report, now):
            self.counts["orders off the grid"] += 1
        self._keep(report.order_id, order)
        if not order.is_open:
            self._close(order, order.status)
        return order

    def _merge(self, read: Read, order: OrderState, report: Report, now: int) -> bool:
        """Take what the report says about quantity and prices; False: off the grid."""
        if order.sym == NO_SYMBOL:
            return True
        pair = self._instruments[order.sym]
        try:
            if report.order_qty is not None:
                order.qty = _lots(pair, report.order_qty)
            static = report.limit_price_type in (None, "static")
            if report.limit_price and static and "limit" in (order.order_type or "limit"):
                order.price = _ticks(pair, report.limit_price)
            triggers = report.triggers
            if triggers is not None:
                # What it works out to now, where the price itself is a distance.
                price = triggers.actual_price or (
                    triggers.price if triggers.price_type in (None, "static") else None
                )
                if order.order_type in _TRAILING:
                    merge_trail(order, pair, triggers)
                elif price and price % pair.price_increment == 0:
                    order.trigger = _ticks(pair, price)
        except OffGridError as error:
            self.suspect(read, order, SUSPECT_UNCLEAR, str(error), now)
            return False
        return True

    def _trailed(self, read: Read, order: OrderState, report: Report, now: int, flags: int) -> None:
        """Say where a trailing stop of ours stands, if the report or one before it told."""
        if order.order_type != "trailing-stop" or order.id <= 0 or order.triggered:
            return
        if not 0 < order.trigger < PRICE_MAX:
            return
        self._row(
            read, ORDER_TRAILED, now, report, order,
            side=order.side, price=order.trigger, aux=order.distance, flags=flags | LAST,
        )  # fmt: skip

    def _close(self, order: OrderState, status: str) -> None:
        order.status = status
        self._closed[order.order_id] = None
        while len(self._closed) > CLOSED_MAX:
            self._forget(self._closed.popitem(last=False)[0])

    def _reference(self, order: OrderState, price: Decimal | None) -> int:
        if price is None or order.sym == NO_SYMBOL:
            return 0
        # An index price has its own decimals; this one is for people.
        ticks = int((price / self._instruments[order.sym].price_increment).to_integral_value())
        return ticks if 0 < ticks < PRICE_MAX else 0

    def _order_row(
        self, read: Read, kind: int, order: OrderState, report: Report, now: int, flags: int
    ) -> None:
        """ACK, PENDING and AMENDED carry the order as it stands now."""
        if not self._merge(read, order, report, now):
            return
        price = order.trigger if order.order_type in _STOPS else order.price
        trails = order.order_type == "trailing-stop"
        if trails:
            if kind == ORDER_AMENDED and report.triggers is None and order.distance_asked:
                order.distance = order.distance_asked  # carried out, though it is not repeated
            price = order.distance
        aux = 0 if kind == ORDER_AMENDED else order_key(order.order_id)
        self._row(
            read, kind, now, report, order,
            side=order.side, price=price, qty=order.qty, aux=aux, flags=flags | LAST,
        )  # fmt: skip
        # `new` repeats nothing: then it stands as `pending_new` said.
        if trails and (report.triggers is not None or report.exec_type == "new"):
            self._trailed(read, order, report, now, flags)
        # That ends a suspicion, on both sides; but not that fills are missing.
        missing = order.suspect and order.cause == SUSPECT_FILLS and order.told != order.filled
        order.suspect = False
        if missing and kind != ORDER_PENDING:
            self.suspect(read, order, SUSPECT_FILLS, "fills of it are still missing", now)

    # ---- balances ----

    def _balances(self, read: Read, message: Balances, now: int) -> None:
        snapshot = message.type == "snapshot"
        touched: dict[str, int] = {}
        if snapshot:
            touched = dict.fromkeys(self._wallets, 0)  # what it does not name is nothing now
            self._wallets.clear()
        for each in message.balances:
            if not snapshot and each.ledger_id and not self._ledger.first_time(each.ledger_id):
                self.counts["ledger entries seen before"] += 1
                continue
            for wallet, amount in _wallets_of(each):
                self._wallets.setdefault(each.asset, {})[wallet] = _units(amount, ROUND_FLOOR)
            touched[each.asset] = each.timestamp
        flags = SNAPSHOT if snapshot else 0
        first = len(read.rows)
        for asset, ts_venue in touched.items():
            for sym, qty in self._balance_rows(asset):
                if abs(qty) >= _AMOUNT_MAX:
                    read.doubts.append(Doubt("balance", f"a balance of {qty} units is no balance"))
                    continue
                self._row(
                    read, BALANCE, now, sym=sym, qty=qty, ts_venue=ts_venue, flags=flags, last=False
                )
        if len(read.rows) > first:
            read.rows[-1] = (*read.rows[-1][:-1], read.rows[-1][-1] | LAST)

    def _balance_rows(self, asset: str) -> Iterator[tuple[int, int]]:
        """Row of the instrument table and quantity of each event about an asset."""
        amount = self.total(asset) * _UNIT
        if asset == self._quote:
            yield NO_SYMBOL, int((amount / _MONEY).to_integral_value(ROUND_FLOOR))
        for sym in self._bases.get(asset, ()):
            step = self._instruments[sym].qty_increment
            yield sym, int((amount / step).to_integral_value(ROUND_FLOOR))

    # ---- rows ----

    def _row(
        self,
        read: Read,
        kind: int,
        now: int,
        report: Report | None = None,
        order: OrderState | None = None,
        *,
        sym: int = NO_SYMBOL,
        side: int = 0,
        price: int = 0,
        qty: int = 0,
        id: int = 0,
        aux: int = 0,
        ts_venue: int = 0,
        flags: int = LAST,
        last: bool = True,
    ) -> None:
        if order is not None:
            sym, id = order.sym, order.id
            if sym == NO_SYMBOL:
                self.counts["events of other pairs"] += 1
                return
        if report is not None:
            ts_venue = report.timestamp
        if not last:
            flags &= ~LAST
        read.rows.append((now, ts_venue, 0, price, qty, id, aux, sym, kind, side, flags))


def _placeholder(cl_ord_id: str) -> str:
    # No order id of Kraken's has a blank.
    return f"sent {cl_ord_id.lower()}"


def _lots(pair: Instrument, qty: Decimal) -> int:
    """Quantity in lots; raises OffGridError for what no order can hold."""
    lots = pair.lots(qty)
    if not 0 <= lots < QTY_MAX:
        raise OffGridError(f"{pair.symbol} quantity {qty} is beyond what an order can hold")
    return lots


def _ticks(pair: Instrument, price: Decimal) -> int:
    ticks = pair.ticks(price)
    if not 0 <= ticks < PRICE_MAX:
        raise OffGridError(f"{pair.symbol} price {price} is beyond what a price can be")
    return ticks


def _units(amount: Decimal, rounding: str) -> int:
    return int((amount / _UNIT).to_integral_value(rounding))


def _wallets_of(entry: Balance) -> Iterator[tuple[tuple[str, str], Decimal]]:
    """The wallets that an entry tells about, and what is in them."""
    if entry.wallet_type is not None or entry.ledger_id is not None:
        yield (entry.wallet_type or "spot", entry.wallet_id or "main"), entry.balance
    elif entry.wallets:
        for wallet in entry.wallets:
            yield (wallet.type, wallet.id), wallet.balance
    else:
        yield ("spot", "main"), entry.balance
