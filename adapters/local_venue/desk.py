"""Is this request of an account acceptable, and what does it cost? Then it goes to the account.

One desk per account: the rules of trading.md's methods, whoever asks, WebSocket or REST; the
transaction counters; the dead man's switch. Works at the engine's time. Left out: how requests
are written (wire_orders.py, rest_orders.py), what the venue matches (account.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from adapters.local_venue.account import TYPES, Account, Order, trailing_limit, trailing_trigger
from adapters.local_venue.market import PairMarket
from adapters.local_venue.options import VenueOptions
from adapters.local_venue.rates import (
    AMEND_AGED,
    CANCEL_AGED,
    EDIT_AGED,
    TIERS,
    Counter,
    aged,
)
from adapters.local_venue.text import NS_PER_S
from engine.instruments import Instrument
from engine.units import OffGridError

UNKNOWN_ORDER: Final = "EOrder:Unknown order"
RATE_LIMIT: Final = "EOrder:Rate limit exceeded"
INVALID: Final = "EGeneral:Invalid arguments"
MONTH_NS: Final = 31 * 86_400 * NS_PER_S
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX32 = re.compile(r"[0-9a-fA-F]{32}")
_LIMITED: Final = frozenset(
    ("limit", "iceberg", "stop-loss-limit", "take-profit-limit", "trailing-stop-limit")
)
_TRIGGERED: Final = frozenset(
    ("stop-loss", "stop-loss-limit", "take-profit", "take-profit-limit", "trailing-stop",
     "trailing-stop-limit")
)  # fmt: skip


@dataclass
class Wish:
    """A new order as it was asked for. Prices are decimals; `*_type` is static, pct or quote."""

    symbol: str
    side: str
    order_type: str
    order_qty: Decimal | None = None
    cash_order_qty: Decimal | None = None
    limit_price: Decimal | None = None
    limit_price_type: str | None = None
    trigger_price: Decimal | None = None
    trigger_type: str = "static"
    reference: str = "last"
    time_in_force: str = "gtc"
    expire_ns: int = 0
    effective_ns: int = 0
    deadline_ns: int = 0
    post_only: bool = False
    reduce_only: bool = False
    margin: bool = False
    display_qty: Decimal | None = None
    stp_type: str = "cancel_newest"
    fee_pref: str = "fciq"
    conditional: dict[str, Any] | None = None
    cl_ord_id: str | None = None
    userref: int | None = None
    sender_sub_id: str | None = None
    by_rest: bool = False


@dataclass
class Change:
    """A change of an order; None keeps what it has."""

    order_qty: Decimal | None = None
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None
    trigger_type: str = "static"  # of a trailing stop's distance: pct or quote
    display_qty: Decimal | None = None
    post_only: bool = False
    deadline_ns: int = 0


def legal_cl_ord_id(text: str) -> bool:
    """A UUID with or without dashes, or at most 18 characters of ASCII."""
    if _UUID.fullmatch(text) or _HEX32.fullmatch(text):
        return True
    return 1 <= len(text) <= 18 and text.isascii() and text.isprintable()


class Desk:
    """Everything that one account may ask for. Each call is at engine time `t` (ns)."""

    def __init__(self, account: Account, options: VenueOptions) -> None:
        self.account, self.options = account, options
        self.tier = TIERS[options.tier]
        self._counters: dict[int, Counter] = {}
        self.switch_at = 0  # dead man's switch: when it fires, 0 is off
        self.switch_fired: list[int] = []  # when it did

    # ---- counters ----

    def counter(self, sym: int) -> Counter:
        if sym not in self._counters:
            self._counters[sym] = Counter(
                self.tier.decay_e2, self.tier.threshold, self.options.rate_stepwise
            )
        return self._counters[sym]

    def _charge(self, sym: int, t: int, fixed_x2: int, aged_points: int = 0) -> bool:
        """Charge a request; True if it is refused, which still costs the fixed part."""
        if not self.options.rate_limits or sym < 0:
            return False
        counter = self.counter(sym)
        if counter.over(t):
            counter.add(t, fixed_x2)
            return True
        counter.add(t, fixed_x2 + 2 * aged_points)
        return False

    # ---- what the states of system and pair allow ----

    def mode(self, sym: int) -> str:
        """The stricter of the system's state and the pair's."""
        market = self.account.market
        order = ("online", "limit_only", "reduce_only", "post_only", "cancel_only", "maintenance",
                 "work_in_progress", "delisted")  # fmt: skip
        states = (market.system, market.pairs[sym].status) if sym >= 0 else (market.system,)
        return max(states, key=order.index)

    def _closed_for(self, wish: Wish, sym: int) -> str:
        mode = self.mode(sym)
        refused = {
            "online": False,
            "limit_only": wish.order_type not in _LIMITED,
            "reduce_only": wish.side != "sell",
            "post_only": not wish.post_only,
            "cancel_only": True,
        }.get(mode)
        if refused is None or (refused and mode == "reduce_only"):
            return (
                "EService:Unavailable"
                if refused is None
                else "EOrder:Reduce only:No position exists"
            )
        return f"EService:Market in {mode} mode" if refused else ""

    def closed_for_changes(self, sym: int, cancel: bool) -> str:
        """Why an amend or a cancel cannot be taken now; ""."""
        mode = self.mode(sym)
        if mode in ("maintenance", "work_in_progress", "delisted"):
            return "EService:Unavailable"
        if mode == "cancel_only" and not cancel:
            return "EService:Market in cancel_only mode"
        return ""

    # ---- add ----

    def check(self, wish: Wish, t: int) -> Order | str:
        """The order that a wish would become, or why it cannot."""
        account = self.account
        sym = account.market.instruments.symbols.index(wish.symbol)
        pair = account.market.pairs[sym]
        error = self._form_error(wish, t) or self._closed_for(wish, sym)
        if not account.tradable(sym):
            error = error or "EService:Market in cancel_only mode"
        if error:
            return error
        order = Order("", sym, 1 if wish.side == "buy" else -1, wish.order_type, 0)
        error = self._price_error(wish, order, pair) or self._qty_error(wish, order, pair)
        if error:
            return error
        n_open = sum(each.sym == sym for each in account.open.values())
        if n_open >= self.tier.open_orders_max:
            return "EOrder:Orders limit exceeded"
        if wish.cl_ord_id is not None and self._by_cl_ord_id(wish.cl_ord_id):
            return self.options.duplicate_cl_ord_id
        order.tif = wish.time_in_force
        order.expire_ts, order.effective_ts = wish.expire_ns, wish.effective_ns
        order.post_only, order.stp = wish.post_only, wish.stp_type
        order.cl_ord_id, order.userref = wish.cl_ord_id, wish.userref
        order.sender_sub_id, order.conditional = wish.sender_sub_id, wish.conditional
        order.fee_pref, order.reference = wish.fee_pref, wish.reference
        return order

    def _form_error(self, wish: Wish, t: int) -> str:
        kind = wish.order_type
        if kind == "settle-position":
            return "EOrder:Unknown position"
        trailing = kind.startswith("trailing")
        if kind not in TYPES or (trailing and not self.options.trailing_stops):
            return f"{INVALID}:ordertype"
        if wish.side not in ("buy", "sell"):
            return f"{INVALID}:type"
        if wish.margin:
            return "EOrder:Margin allowance exceeded"
        if wish.reduce_only:
            return "EOrder:Reduce only:No position exists"
        if wish.time_in_force == "fok" and not (wish.by_rest or self.options.fok_on_websocket):
            return f"{INVALID}:timeinforce"
        if wish.time_in_force == "fok" and kind not in ("limit", "market"):
            return f"{INVALID}:timeinforce"
        if wish.time_in_force not in ("gtc", "gtd", "ioc", "fok"):
            return f"{INVALID}:timeinforce"
        if (wish.time_in_force == "gtd") != (wish.expire_ns != 0):
            return f"{INVALID}:expiretm"
        if wish.expire_ns and not t < wish.expire_ns <= t + MONTH_NS:
            return f"{INVALID}:expiretm"
        if wish.effective_ns and not t < wish.effective_ns <= t + MONTH_NS:
            return f"{INVALID}:starttm"
        if wish.post_only and (
            kind not in ("limit", "iceberg") or wish.time_in_force in ("ioc", "fok")
        ):
            return f"{INVALID}:post only order"
        if kind == "iceberg" and wish.time_in_force == "ioc":
            return f"{INVALID}:timeinforce"
        if (kind in _LIMITED) != (wish.limit_price is not None):
            return f"{INVALID}:price"
        if (kind in _TRIGGERED) != (wish.trigger_price is not None):
            return f"{INVALID}:trigger price"
        if (kind == "iceberg") != (wish.display_qty is not None):
            return f"{INVALID}:displayvol"
        if wish.stp_type not in ("cancel_newest", "cancel_oldest", "cancel_both"):
            return f"{INVALID}:stp_type"
        if wish.trigger_type not in ("static", "pct", "quote"):
            return f"{INVALID}:trigger price type"
        if wish.reference == "index":
            return f"{INVALID}:Index unavailable"
        if wish.reference != "last":
            return f"{INVALID}:trigger"
        if wish.cash_order_qty is not None and (kind != "market" or wish.side != "buy"):
            return f"{INVALID}:viqc order option is only available when ordertype = market"
        if (wish.order_qty is None) == (wish.cash_order_qty is None):
            return f"{INVALID}:volume"
        if wish.cl_ord_id is not None and wish.userref is not None:
            return f"{INVALID}:cl_ord_id and userref are mutually exclusive"
        if wish.cl_ord_id is not None and not legal_cl_ord_id(wish.cl_ord_id):
            return f"{INVALID}:cl_ord_id"
        if wish.userref is not None and not -(1 << 31) <= wish.userref < 1 << 31:
            return f"{INVALID}:userref"
        return ""

    def _price_error(self, wish: Wish, order: Order, pair: PairMarket) -> str:
        """Set the order's prices in ticks, or say why that is not possible."""
        trailing = wish.order_type.startswith("trailing")
        reference = pair.last or pair.book.touch(1 if order.side > 0 else 0)[0]
        try:
            if wish.trigger_price is not None and not trailing:
                order.trigger = self._ticks(pair, wish.trigger_price, wish.trigger_type, reference)
            if wish.limit_price is not None and not trailing:
                order.price = pair.instrument.ticks(wish.limit_price)
        except OffGridError:
            return "EOrder:Tick size check failed"
        order.trigger_type = wish.trigger_type
        if trailing:
            assert wish.trigger_price is not None
            if wish.trigger_price <= 0 or not reference:
                return "EOrder:Invalid price"
            tick = pair.instrument.price_increment
            order.trailing_pct = wish.trigger_type == "pct"
            order.trailing = wish.trigger_price / (1 if order.trailing_pct else tick)
            if wish.limit_price is not None:
                order.limit_offset_pct = wish.limit_price_type == "pct"
                order.limit_offset = wish.limit_price / (1 if order.limit_offset_pct else tick)
            order.peak = reference
            order.trigger = trailing_trigger(order)
            if wish.limit_price is not None:
                order.price = trailing_limit(order)
        if (wish.limit_price is not None and order.price <= 0) or (
            wish.trigger_price is not None and order.trigger <= 0
        ):
            return "EOrder:Invalid price"
        return ""

    @staticmethod
    def _ticks(pair: PairMarket, price: Decimal, price_type: str, reference: int) -> int:
        """A trigger price in ticks; relative ones are resolved now, to the nearest tick."""
        if price_type == "static":
            return pair.instrument.ticks(price)
        if price_type == "quote":
            return reference + pair.instrument.ticks(price)
        return int((reference * (100 + price) / 100).to_integral_value())

    def _qty_error(self, wish: Wish, order: Order, pair: PairMarket) -> str:
        instrument = pair.instrument
        best = pair.book.touch(1 if order.side > 0 else 0)[0]
        judged = order.price or order.trigger or best
        if wish.cash_order_qty is not None:
            order.qty = lots_for_cash(pair, wish.cash_order_qty)
            order.cash_qty = wish.cash_order_qty
        else:
            assert wish.order_qty is not None
            try:
                order.qty = instrument.lots(wish.order_qty)
                if wish.display_qty is not None:
                    order.display = instrument.lots(wish.display_qty)
            except OffGridError:
                return f"{INVALID}:volume"
        if order.qty <= 0 or order.qty < lots_min(instrument):
            return f"{INVALID}:volume minimum not met"
        if (
            wish.display_qty is not None
            and not 15 * order.display >= order.qty >= order.display > 0
        ):
            return f"{INVALID}:displayvol"
        if judged and instrument.price(judged) * instrument.qty(order.qty) < instrument.cost_min:
            return "EOrder:Cost minimum not met"
        return ""

    def add(self, wish: Wish, t: int, charged: bool = False) -> Order | str:
        """A new order; it, or the error."""
        sym = self.account.market.instruments.symbols.index(wish.symbol)
        if not charged and self._charge(sym, t, 2):
            return RATE_LIMIT
        if wish.deadline_ns and t > wish.deadline_ns:
            return "EService:Deadline elapsed"
        order = self.check(wish, t)
        if isinstance(order, str):
            return order
        order.txid = self.account.new_id("O")
        if order.effective_ts:
            self.account.announce(order, t)  # it waits; `due` brings it to the market
            return order
        error = self.account.place(order, t)
        return error or order

    def due(self, order: Order, t: int) -> None:
        """The effective time of a scheduled order has come."""
        if order.alive and not order.child:
            error = self.account.place(order, t)
            if error:
                self.account.close(order, t, "canceled", error)

    def batch_add(self, wishes: Sequence[Wish], t: int) -> list[Order | str] | str:
        """All or none pass the checks; then each stands for itself."""
        sym = self.account.market.instruments.symbols.index(wishes[0].symbol)
        if self._charge(sym, t, len(wishes)):
            return RATE_LIMIT
        ids = [each.cl_ord_id for each in wishes if each.cl_ord_id is not None]
        if len(set(ids)) < len(ids):
            return self.options.duplicate_cl_ord_id
        for wish in wishes:
            checked = self.check(wish, t)
            if isinstance(checked, str):
                return checked
        return [self.add(wish, t, charged=True) for wish in wishes]

    # ---- which order is meant ----

    def _by_cl_ord_id(self, cl_ord_id: str) -> Order | None:
        for order in self.account.open.values():
            if order.cl_ord_id == cl_ord_id:
                return order
        return None

    def find(
        self, txid: str | None = None, cl_ord_id: str | None = None, userref: int | None = None
    ) -> list[Order]:
        """The open orders that a reference names."""
        if txid is not None:
            order = self.account.open.get(txid)
            return [order] if order is not None else []
        if cl_ord_id is not None:
            order = self._by_cl_ord_id(cl_ord_id)
            return [order] if order is not None else []
        return [each for each in self.account.open.values() if each.userref == userref]

    def find_any(self, text: str) -> list[Order]:
        """The open orders behind an order id or a user reference written as text."""
        found = self.find(txid=text)
        if not found and text.lstrip("-").isdecimal():
            found = self.find(userref=int(text))
        return found

    # ---- amend and edit ----

    def amend(self, order: Order | None, change: Change, t: int, sym: int = -1) -> str:
        """Change an order in place; "" or the error."""
        if order is None:
            self._charge(sym, t, 2)
            return UNKNOWN_ORDER
        pair = self.account.market.pairs[order.sym]
        try:
            qty = order.qty
            if change.order_qty is not None:
                qty = pair.instrument.lots(change.order_qty)
        except OffGridError:
            return f"{INVALID}:volume"
        age = t - order.t_changed
        if qty <= order.filled:
            if self._charge(order.sym, t, 0, aged(CANCEL_AGED, age)):
                return RATE_LIMIT
        elif self._charge(order.sym, t, 2, aged(AMEND_AGED, age)):
            return RATE_LIMIT
        if change.deadline_ns and t > change.deadline_ns:
            return "EService:Deadline elapsed"
        closed = self.closed_for_changes(order.sym, cancel=False)
        if closed:
            return closed
        limited, armed = order.order_type in _LIMITED, order.order_type in _TRIGGERED
        trailing = order.trailing is not None
        price = trigger = 0
        try:
            if change.limit_price is not None:
                price = pair.instrument.ticks(change.limit_price)
            if change.trigger_price is not None and not trailing:
                trigger = pair.instrument.ticks(change.trigger_price)
            if change.display_qty is not None:
                display = pair.instrument.lots(change.display_qty)
                if order.order_type != "iceberg" or not 15 * display >= qty - order.filled:
                    return f"{INVALID}:displayvol"
                order.display = display
        except OffGridError:
            return "EOrder:Tick size check failed"
        if (price and not limited) or (trigger and (not armed or order.triggered)):
            return INVALID
        distance = None
        if trailing and price:
            return f"{INVALID}:limit price"  # an offset cannot be amended here
        if trailing and change.trigger_price is not None:
            distance = self._distance(order, change)
            if distance is None:
                return f"{INVALID}:trigger price"
        if change.limit_price is not None and price <= 0:
            return "EOrder:Invalid price"
        if (
            order.filled < qty
            and qty - order.filled < lots_min(pair.instrument)
            and qty != order.qty
        ):
            return f"{INVALID}:volume minimum not met"
        mode = self.mode(order.sym)
        if mode == "post_only" and not change.post_only:
            return "EService:Market in post_only mode"
        return self.account.amend(order, t, price, trigger, qty, change.post_only, distance)

    def _distance(self, order: Order, change: Change) -> Decimal | None:
        """A trailing stop's new distance, in ticks or percent as it was placed; None: not possible."""
        assert change.trigger_price is not None
        kind = "pct" if order.trailing_pct else "quote"
        refused = order.triggered or not self.options.trailing_amends
        if refused or change.trigger_type != kind or change.trigger_price <= 0:
            return None
        if order.trailing_pct:
            return change.trigger_price
        ticks = change.trigger_price / self.account.market.instruments[order.sym].price_increment
        whole = ticks == int(ticks)
        return ticks if whole or not order.follows else None

    def edit(
        self, order: Order | None, change: Change, t: int, userref: int | None, sym: int
    ) -> Order | str:
        """Cancel an order and place its successor; the new order, or the error."""
        if order is None:
            self._charge(sym, t, 2)
            return UNKNOWN_ORDER
        if self._charge(order.sym, t, 2, aged(EDIT_AGED, t - order.t_changed)):
            return RATE_LIMIT
        if change.deadline_ns and t > change.deadline_ns:
            return "EService:Deadline elapsed"
        if order.cl_ord_id is not None or order.conditional or order.triggered:
            return "EOrder:Invalid order"
        instrument = self.account.market.instruments[order.sym]
        trailing = order.trailing is not None
        if trailing:
            return "EOrder:Invalid order"
        wish = Wish(
            instrument.symbol,
            "buy" if order.side > 0 else "sell",
            order.order_type,
            order_qty=change.order_qty or instrument.qty(order.leaves),
            limit_price=change.limit_price
            or (instrument.price(order.price) if order.price else None),
            trigger_price=change.trigger_price
            or (instrument.price(order.trigger) if order.trigger else None),
            time_in_force=order.tif,
            expire_ns=order.expire_ts,
            post_only=change.post_only,
            display_qty=change.display_qty
            or (instrument.qty(order.display) if order.display else None),
            stp_type=order.stp,
            userref=userref if userref is not None else order.userref,
        )
        if order.filled and change.order_qty and instrument.qty(order.filled) > change.order_qty:
            return "EOrder:Invalid order"
        checked = self.check(wish, t)
        if isinstance(checked, str):
            return checked
        error = self.account.cancel(order, t)
        if error:
            return error
        return self.add(wish, t, charged=True)

    # ---- cancel ----

    def cancel(self, order: Order, t: int, batch: bool = False) -> str:
        """End one order; "" or the error."""
        points = aged(CANCEL_AGED, t - order.t_changed)
        refused = self._charge(order.sym, t, 0, points)
        if refused and batch:
            self.counter(order.sym).add(t, 2 * points)  # accepted all the same, and paid for
        elif refused and self.options.rate_refuses_cancels:
            return RATE_LIMIT
        closed = self.closed_for_changes(order.sym, cancel=True)
        return closed or self.account.cancel(order, t)

    def cancel_unknown(self) -> str:
        """The error for a cancel of nothing."""
        return self.closed_for_changes(-1, cancel=True) or UNKNOWN_ORDER

    def cancel_all(self, t: int) -> int | str:
        """End every open order of the account; how many."""
        closed = self.closed_for_changes(-1, cancel=True)
        if closed:
            return closed
        orders = list(self.account.open.values())
        n = 0
        for order in orders:
            if self.options.cancel_all_costs:
                self._charge(order.sym, t, 0, aged(CANCEL_AGED, t - order.t_changed))
            if order.alive and not self.account.cancel(order, t):
                n += 1
        return n

    def cancel_after(self, timeout_s: int, t: int) -> tuple[int, int]:
        """Set the dead man's switch, 0 switches it off; now and when it fires (0: never)."""
        self.switch_at = t + timeout_s * NS_PER_S if timeout_s else 0
        return t, self.switch_at

    def switch_fires(self, t: int) -> None:
        """Time is up: everything goes, stops too. In maintenance it waits for the engine."""
        if self.mode(-1) == "maintenance":
            return
        self.switch_at = 0
        self.switch_fired.append(t)
        for order in list(self.account.open.values()):
            if order.alive:
                self.account.cancel(order, t)

    # ---- conditional close ----

    def secondaries(self, fills: Iterable[tuple[Order, int]], t: int) -> None:
        """Each fill of an order with a conditional brings an order on the other side."""
        for order, lots in fills:
            spec = order.conditional
            if not spec:
                continue
            instrument = self.account.market.instruments[order.sym]
            wish = Wish(
                instrument.symbol,
                "sell" if order.side > 0 else "buy",
                spec["order_type"],
                order_qty=instrument.qty(lots),
                limit_price=spec.get("limit_price"),
                limit_price_type=spec.get("limit_price_type"),
                trigger_price=spec.get("trigger_price"),
                trigger_type=spec.get("trigger_price_type", "static"),
                userref=order.userref,
            )
            child = Order("", order.sym, -order.side, wish.order_type, lots)
            pair = self.account.market.pairs[order.sym]
            # Below the minimum, too: it was the fill that was small.
            if self._form_error(wish, t) or self._price_error(wish, child, pair):
                continue
            child.userref, child.ref_id = order.userref, order.txid
            child.txid = self.account.new_id("O")
            if self.account.place(child, t):
                continue


def lots_min(instrument: Instrument) -> int:
    """The smallest order in lots; a minimum between two lots is rounded up."""
    return -int(-instrument.qty_min // instrument.qty_increment)


def lots_for_cash(pair: PairMarket, cash: Decimal) -> int:
    """The lots that so much quote currency buys from the asks shown, rounded down."""
    lots, instrument = 0, pair.instrument
    for _, price, shown in pair.book.best(1, 1000):
        each = instrument.price(price) * instrument.qty_increment
        taken = min(shown, int(cash // each))
        lots += taken
        cash -= taken * each
        if taken < shown:
            break
    return lots
