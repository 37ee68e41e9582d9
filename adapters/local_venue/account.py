"""What happens to the orders of one account? The compiled venue of replay, seen as Kraken's orders.

An order of the protocol lives in the venue as one child after another: one for most, a slice each
for an iceberg, another after a clash with an order of the same account. Every change is told as a
`Happening`; the money of the ledger is rounded as the venue writes it. Left out: which request is
acceptable (desk.py), how a happening reads (reports.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np

from adapters.local_venue.encode import asset_precision
from adapters.local_venue.keys import ApiKey
from adapters.local_venue.market import Market
from adapters.local_venue.options import VenueOptions
from adapters.local_venue.text import name
from engine import commands as c
from engine import events as e
from engine.instruments import STATUS_CODES, Instrument, InstrumentTable
from engine.units import MONEY_PER_UNIT, from_money
from engine.venue.matching import venue_command, venue_next_time, venue_run, venue_timer
from engine.venue.params import MS, venue_params
from engine.venue.state import NEVER, VENUE_OK, Venue, make_venue

MONEY_DIGITS: Final = 8
OWN_TRADE_ID: Final = 10**12  # ids of our own taking trades: no print of the tape stands behind

TYPES: Final = {
    "limit": c.LIMIT,
    "iceberg": c.LIMIT,
    "market": c.MARKET,
    "stop-loss": c.STOP_LOSS,
    "stop-loss-limit": c.STOP_LOSS_LIMIT,
    "take-profit": c.TAKE_PROFIT,
    "take-profit-limit": c.TAKE_PROFIT_LIMIT,
    "trailing-stop": c.STOP_LOSS,
    "trailing-stop-limit": c.STOP_LOSS_LIMIT,
}
TIFS: Final = {"gtc": c.GTC, "gtd": c.GTD, "ioc": c.IOC, "fok": c.IOC}

_GO_ON: Final = "goes on"  # reason of an order between two children, never told
REASONS: Final = {
    e.CANCEL_USER: "User requested",
    e.CANCEL_POST_ONLY: "Post only order",
    e.CANCEL_IOC: "Immediate or cancel order not filled",
    e.CANCEL_PROTECTION: "Market price protection",
    e.CANCEL_SELF_TRADE: "Cannot trade with self",
    e.CANCEL_ALL: "User requested",
    e.CANCEL_FUNDS: "Insufficient funds",
}
ERRORS: Final = {
    e.REJECT_POST_ONLY: "EOrder:Post only order",
    e.REJECT_FUNDS: "EOrder:Insufficient funds",
    e.REJECT_MINIMUM: "EOrder:Order minimum not met",
    e.REJECT_PRICE: "EOrder:Invalid price",
    e.REJECT_QTY: "EGeneral:Invalid arguments:volume",
    e.REJECT_STATUS: "EService:Unavailable",
    e.REJECT_UNKNOWN_ORDER: "EOrder:Unknown order",
    e.REJECT_DUPLICATE: "EOrder:Invalid order",
    e.REJECT_RATE: "EOrder:Rate limit exceeded",
    e.REJECT_FULL: "EOrder:Orders limit exceeded",
    e.REJECT_EXPIRED: "EGeneral:Invalid arguments:expiretm",
    e.REJECT_UNSUPPORTED: "EGeneral:Invalid arguments",
    e.REJECT_NO_LIQUIDITY: "EService:Unavailable",
}


class Fill(NamedTuple):
    """One fill; fee and cost in money of 1e-8."""

    exec_id: str
    trade_id: int
    t: int
    price: int
    qty: int
    cost: int
    fee: int
    maker: bool


@dataclass
class Order:
    """One order as its owner sees it. Prices in ticks, quantities in lots, money in 1e-8."""

    txid: str
    sym: int
    side: int
    order_type: str
    qty: int
    price: int = 0
    trigger: int = 0
    tif: str = "gtc"
    expire_ts: int = 0
    effective_ts: int = 0
    post_only: bool = False
    cl_ord_id: str | None = None
    userref: int | None = None
    sender_sub_id: str | None = None
    display: int = 0
    stp: str = "cancel_newest"
    conditional: Mapping[str, Any] | None = None
    fee_pref: str = "fciq"
    trailing: Decimal | None = None  # distance from the peak: ticks, or percent
    trailing_pct: bool = False
    limit_offset: Decimal | None = None  # of a trailing-stop-limit: ticks, or percent
    limit_offset_pct: bool = False
    peak: int = 0
    reference: str = "last"
    trigger_type: str = "static"
    ref_id: str | None = None  # the order that spawned this one
    cash_qty: Decimal | None = None
    # life
    t_opened: int = 0
    t_changed: int = 0
    t_closed: int = 0
    status: str = "pending_new"
    filled: int = 0
    cost: int = 0
    fee: int = 0
    amended: bool = False
    triggered: bool = False
    t_triggered: int = 0
    last_trigger: int = 0
    reason: str = ""
    fills: list[Fill] = field(default_factory=list)
    # its child in the venue
    child: int = 0
    child_filled: int = 0
    child_qty: int = 0
    before: int = 0  # lots filled by earlier children
    swept: bool = False  # an iceberg has taken what it could

    @property
    def leaves(self) -> int:
        return self.qty - self.filled

    @property
    def alive(self) -> bool:
        return self.status in ("pending_new", "new", "partially_filled")

    @property
    def follows(self) -> bool:
        """Does the compiled venue itself move this trailing stop? It knows distances in whole ticks."""
        whole = self.trailing is not None and self.trailing == int(self.trailing)
        return whole and not self.trailing_pct and self.order_type == "trailing-stop"

    @property
    def conditional_type(self) -> bool:
        return self.order_type not in ("limit", "market", "iceberg")


class Happening(NamedTuple):
    """Something that the owner of an order hears of; `order` is a copy of that moment."""

    t: int
    kind: str  # an exec_type
    order: Order
    fill: Fill | None = None
    reason: str = ""


class Entry(NamedTuple):
    """One ledger entry; amount, fee and balance in units of the asset's ledger."""

    id: str
    ref_id: str
    t: int
    kind: str
    asset: str
    amount: int
    fee: int
    balance: int


class Account:
    """One account: its venue, its orders, its ledger."""

    def __init__(self, key: ApiKey, market: Market, options: VenueOptions, now: int) -> None:
        self.key, self.market, self.options = key, market, options
        self.orders: dict[str, Order] = {}  # by txid, in order of arrival
        self.open: dict[str, Order] = {}
        self._children: dict[int, Order] = {}
        self.happened: list[Happening] = []
        self.booked: list[Entry] = []
        self.ledger: list[Entry] = []
        self.fills: list[tuple[Order, Fill]] = []
        self.versions: dict[str, list[tuple[int, Order]]] = {}
        self._base_id = int.from_bytes(
            hashlib.sha256(f"ids {options.seed} {key.key}".encode()).digest()[:7], "big"
        )
        self._n_ids = 0
        self._n_children = 0
        self._n_own = 0
        self._pending: list[np.ndarray] = []
        self._errors: dict[int, int] = {}  # refusals by child
        self._silent = False  # the peak moves: no amend of the owner's
        quotes = [each.quote for each in market.instruments]
        self.quote = max(dict.fromkeys(quotes), key=quotes.count)
        self.venue = self._make_venue(now)
        self.balances: dict[str, int] = {}
        for asset in market.assets:
            amount = self._start_amount(asset)
            self.balances[asset] = int(amount.scaleb(self.decimals(asset)))
        self.starting = dict(self.balances)

    # ---- beginnings ----

    def tradable(self, sym: int) -> bool:
        """The compiled venue has one quote currency, and one pair per base asset."""
        mine = self.market.instruments[sym]
        first = next(i for i, x in enumerate(self.market.instruments) if x.base == mine.base)
        return mine.quote == self.quote and first == sym

    def decimals(self, asset: str) -> int:
        return self.options.quote_decimals if asset == self.quote else asset_precision(asset)

    def _start_amount(self, asset: str) -> Decimal:
        other = Decimal(0) if asset == self.quote else self.options.balance_other
        return self.options.balances.get(asset, other)

    def _make_venue(self, now: int) -> Venue:
        options, table = self.options, self.market.instruments
        rows = table.rows()
        # The desk judges minimums: slices of an iceberg and secondary orders may be below them.
        rows["qty_min"], rows["cost_min"] = 1, 0
        params = venue_params(
            options.fee_schedule,
            "off",
            seed=options.seed,
            feed_ns=0,
            queue_model=options.queue_model,
            amend_up_keeps=options.amend_up_keeps,
            stop_at_entry=options.stop_at_entry,
            protection_e6=int(options.protection * 1_000_000),
            fee_round_up=options.fee_round_up,
            volume_start=int(options.volume_start * MONEY_PER_UNIT),
            pair_window_ns=500 * MS,
        )
        base = np.array(
            [int(self._start_amount(each.base) // each.qty_increment) for each in table], np.int64
        )
        cash = int(self._start_amount(self.quote) * MONEY_PER_UNIT)
        depths = self._depths()
        venue = make_venue(rows, params, cash=cash, base=base, depth=depths)
        self._pending.append(self._opening(now))
        return venue

    def _depths(self) -> np.ndarray:
        pairs = self.market.pairs
        return np.array(
            [pair.orders.depth if pair.has_orders else pair.book.depth for pair in pairs], np.int64
        )

    def _opening(self, now: int) -> np.ndarray:
        """The market as it stands, as snapshots: the account may be born long after it began."""
        rows: list[tuple[int, ...]] = []
        for pair in self.market.pairs:
            start = len(rows)
            if pair.has_orders:
                for i_side in (0, 1):
                    for order in pair.orders.best(i_side, len(pair.orders.keys[i_side])):
                        rows.append((now, order.price, order.qty, order.id, order.ts, pair.sym,
                                     e.L3_ADD, -1 if i_side else 1, e.SNAPSHOT))  # fmt: skip
                rows.append((now, 0, 0, e.L3_ADD, 0, pair.sym, e.MESSAGE_END, 0, e.SNAPSHOT))
            elif pair.book.keys[0] or pair.book.keys[1]:
                for i_side in (0, 1):
                    for _, price, qty in pair.book.best(i_side, len(pair.book.keys[i_side])):
                        rows.append((now, price, qty, 0, 0, pair.sym, e.BOOK_LEVEL,
                                     -1 if i_side else 1, e.SNAPSHOT))  # fmt: skip
            if len(rows) > start:
                rows[-1] = (*rows[-1][:8], rows[-1][8] | e.LAST)
            if pair.trades:
                last = pair.trades[-1]
                rows.append((now, last.price, last.qty, last.trade_id, 0, pair.sym, e.TRADE,
                             last.side, e.LAST))  # fmt: skip
            if pair.status != "online":
                rows.append((now, 0, 0, 0, STATUS_CODES[pair.status], pair.sym, e.INSTRUMENT, 0,
                             e.LAST))  # fmt: skip
        rows.append(
            (now, 0, 0, 0, STATUS_CODES[self.market.system], -1, e.SYSTEM_STATUS, 0, e.LAST)
        )
        events = e.empty(len(rows))
        names = ("ts", "price", "qty", "id", "aux", "sym", "kind", "side", "flags")
        for i, column in enumerate(names):
            events[column] = [row[i] for row in rows]
        return events

    def held(self) -> dict[str, Decimal]:
        """What open orders hold, per asset."""
        held = {self.quote: from_money(int(self.venue.glob[0]["cash_held"]))}
        for symbol, instrument in zip(self.venue.symbols, self.market.instruments, strict=True):
            lots = int(symbol["base_held"])
            if lots:
                held[instrument.base] = instrument.qty(lots)
        return held

    # ---- market ----

    def feed(self, events: np.ndarray) -> None:
        """Market events for the venue; they wait until an order could care."""
        self._pending.append(events)
        if self.open or len(self._pending) > 4096:
            self.flush()

    def flush(self) -> None:
        """Let the venue see everything that the market did so far."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        events = pending[0] if len(pending) == 1 else np.concatenate(pending)
        i, n = 0, len(events)
        while i < n:
            before = i
            i, fault = venue_run(self.venue, events, i, n, NEVER)
            self._answers()
            if fault != VENUE_OK and i == before:
                i += 1  # a record that the venue cannot take: the market goes on without it
        self._trail(events)

    def next_time(self) -> int | None:
        """The venue's next deadline, ns."""
        t = int(venue_next_time(self.venue))
        return t if t < NEVER else None

    def timer(self, t: int) -> None:
        """Orders expire that are due at `t`."""
        self.flush()
        venue_timer(self.venue, t)
        self._answers()

    # ---- commands ----

    def new_id(self, letter: str) -> str:
        """A fresh id in Kraken's form."""
        self._n_ids += 1
        return name(letter, (self._base_id << 24) + self._n_ids)

    def _command(self, t: int, **fields: int) -> str:
        """One command for the venue; "" or the error with which it is refused."""
        row = np.zeros(1, c.COMMAND)
        for field_name, value in fields.items():
            row[field_name] = value
        venue_command(self.venue, row[0], t)
        self._answers()
        return ERRORS.get(self._errors.pop(fields["id"], 0), "")

    def place(self, order: Order, t: int) -> str:
        """Bring an order to the market; "" or the error with which it is refused."""
        self.flush()
        if order.tif == "fok" and not self._fills_whole(order):
            self.announce(order, t)
            self.close(order, t, "canceled", "Fill or kill order not filled")
            return ""
        n_before = len(self.happened)
        error = self._place_child(order, t)
        if self.options.post_only_reject and order.reason == REASONS[e.CANCEL_POST_ONLY]:
            del self.happened[n_before:], self.orders[order.txid], self.versions[order.txid]
            error = ERRORS[e.REJECT_POST_ONLY]
        return error

    def _place_child(self, order: Order, t: int) -> str:
        self._n_children += 1
        order.before = order.filled
        order.child, order.child_filled = self._n_children, 0
        order.child_qty = order.leaves
        if order.display:
            order.child_qty = min(order.display, order.leaves)
        tif = TIFS[order.tif]
        if order.display and self._crosses(order):
            # What takes is not shown: all of it takes, and only the rest is cut into slices.
            order.child_qty, tif, order.swept = order.leaves, c.IOC, True
        order_type, price = TYPES[order.order_type], order.price
        if order.follows and order.trailing is not None:
            order_type, price = c.TRAILING_STOP, int(order.trailing)
        if order.triggered:  # a later child of a stop that has fired
            order_type, price = c.LIMIT if order.price else c.MARKET, order.price
        child = order.child
        self._children[child] = order
        error = self._command(
            t,
            ts=t,
            kind=c.ADD,
            id=child,
            sym=order.sym,
            side=order.side,
            type=order_type,
            tif=tif,
            price=price,
            trigger=0 if order.triggered else order.trigger,
            qty=order.child_qty,
            expire_ts=0 if tif == c.IOC else order.expire_ts,
            post_only=int(order.post_only),
        )
        if error:
            self._children.pop(child, None)
            order.child = 0
        return error

    def _fills_whole(self, order: Order) -> bool:
        """Do the levels shown up to the limit hold all of the order?"""
        book = self.market.pairs[order.sym].book
        i_side = 1 if order.side > 0 else 0
        levels = book.best(i_side, len(book.keys[i_side]))
        reach = [q for _, p, q in levels if not order.price or order.side * (order.price - p) >= 0]
        return sum(reach) >= order.qty

    def _crosses(self, order: Order) -> bool:
        """Does a limit order meet what is shown on the other side? A post-only one may not."""
        best = self.market.pairs[order.sym].book.touch(1 if order.side > 0 else 0)[0]
        reaches = best <= order.price if order.side > 0 else best >= order.price
        return bool(best) and reaches and not order.post_only and not order.swept

    def amend(
        self,
        order: Order,
        t: int,
        price: int,
        trigger: int,
        qty: int,
        post_only: bool,
        distance: Decimal | None = None,
    ) -> str:
        """Change an order in place; `qty` is the new total, `distance` a trailing stop's new one.

        "" or the error.
        """
        self.flush()
        if not order.alive:
            return "EOrder:Unknown order"
        if qty <= order.filled:
            self.cancel(order, t)
            return ""
        child_qty = qty - order.before
        if order.display:
            child_qty = min(order.child_qty, child_qty)
        old = order.qty, order.price, order.trigger, order.trailing
        order.qty, order.price, order.trigger = qty, price or order.price, trigger or order.trigger
        if distance is not None:
            order.trailing = distance
            order.trigger = trigger = trailing_trigger(order)
            if order.order_type == "trailing-stop-limit":
                order.price = price = trailing_limit(order)
            if order.follows:
                price, trigger = int(distance), 0
        child, old_child_qty = order.child, order.child_qty
        order.child_qty = child_qty
        error = self._command(
            t, ts=t, kind=c.AMEND, id=child, sym=order.sym, side=order.side, price=price,
            trigger=trigger, qty=child_qty, post_only=int(post_only),
        )  # fmt: skip
        if error:
            order.qty, order.price, order.trigger, order.trailing = old
            order.child_qty = old_child_qty
        return error

    def cancel(self, order: Order, t: int, reason: str = "User requested") -> str:
        """End an order. "" or the error."""
        self.flush()
        if not order.alive:
            return "EOrder:Unknown order"
        if not order.child:  # scheduled, not in the venue yet
            self.close(order, t, "canceled", reason)
            return ""
        order.reason = reason
        return self._command(t, ts=t, kind=c.CANCEL, id=order.child, sym=order.sym)

    # ---- answers ----

    def _answers(self) -> None:
        """Turn what the venue answered into happenings, then bring the next children."""
        glob = self.venue.glob[0]
        n = int(glob["n_out"])
        if n == 0:
            return
        rows = self.venue.out[:n].copy()
        glob["n_out"] = 0
        touched: dict[str, Order] = {}
        fill: tuple[int, int, bool] | None = None
        for row in rows:
            kind, t, order = int(row["kind"]), int(row["ts"]), self._children.get(int(row["id"]))
            if kind in (e.ORDER_REJECT, e.CANCEL_REJECT, e.AMEND_REJECT):
                self._errors[int(row["id"])] = int(row["aux"])
                continue
            if order is None:
                continue
            if kind == e.ORDER_ACK:
                if order.before == 0 and order.status == "pending_new":
                    self._accepted(order, t)
            elif kind == e.ORDER_FILL:
                fill = int(row["price"]), int(row["qty"]), bool(int(row["flags"]) & e.MAKER)
            elif kind == e.ORDER_FEE and fill is not None:
                self._filled_in_parts(order, t, *fill, fee=int(row["qty"]))
                touched[order.txid] = order
            elif kind == e.ORDER_FILLED:
                self._children.pop(order.child, None)
                if order.leaves == 0:
                    self.close(order, t, "filled", "")
                else:
                    order.child = 0
            elif kind == e.ORDER_CANCELED:
                self._child_canceled(order, t, int(row["aux"]))
                touched[order.txid] = order
            elif kind == e.ORDER_EXPIRED:
                self._children.pop(order.child, None)
                self.close(order, t, "expired", "Order expired")
            elif kind == e.ORDER_AMENDED:
                self._was_amended(order, t)
            elif kind == e.ORDER_TRAILED:
                self._followed(order, t, int(row["price"]), int(row["aux"]))
            elif kind == e.ORDER_TRIGGERED:
                order.triggered, order.t_triggered = True, t
                order.last_trigger = int(row["price"])
                self._tell(t, "status", order)
        for order in touched.values():
            self._continue(order, int(rows[-1]["ts"]))

    def _continue(self, order: Order, t: int) -> None:
        """Bring the next child of an order that is not done: an iceberg's slice, a rest after
        a clash with an order of the same account."""
        while order.alive and order.child == 0 and order.status != "pending_new":
            if order.display and order.filled > order.before and order.reason != _GO_ON:
                shown = min(order.display, order.leaves)
                order.child_qty = shown
                self._tell(t, "iceberg_refill", order)
            order.reason = ""
            error = self._place_child(order, t)
            if error:
                self.close(order, t, "canceled", error)

    def _tell(
        self, t: int, kind: str, order: Order, fill: Fill | None = None, reason: str = ""
    ) -> None:
        copy = replace(order, fills=list(order.fills))
        self.happened.append(Happening(t, kind, copy, fill, reason))
        self.versions.setdefault(order.txid, []).append((t, copy))

    def announce(self, order: Order, t: int) -> None:
        """An order has come: it is known, and pending."""
        order.t_opened = order.t_changed = t
        self.orders[order.txid] = order
        self.open[order.txid] = order
        self._tell(t, "pending_new", order)

    def _accepted(self, order: Order, t: int) -> None:
        if order.txid not in self.orders:
            self.announce(order, t)
        order.status = "new"
        self._tell(t, "new", order)

    def _filled_in_parts(
        self, order: Order, t: int, price: int, qty: int, maker: bool, fee: int
    ) -> None:
        """One fill, or the same as several small ones."""
        for left in range(min(self.market.fill_parts, qty), 0, -1):
            lots, cut = qty // left, fee // left
            self._filled(order, t, price, lots, maker, cut)
            qty, fee = qty - lots, fee - cut

    def _filled(self, order: Order, t: int, price: int, qty: int, maker: bool, fee: int) -> None:
        pair = self.market.pairs[order.sym]
        row = self.venue.symbols[order.sym]["instrument"]
        num, den = int(row["notional_num"]), int(row["notional_den"])
        cost = (price * qty * num + den // 2) // den
        if maker and pair.trades:
            trade_id = pair.trades[-1].trade_id
        else:
            self._n_own += 1
            trade_id = OWN_TRADE_ID + self._n_own
        fill = Fill(self.new_id("T"), trade_id, t, price, qty, cost, fee, maker)
        order.fills.append(fill)
        order.filled += qty
        order.child_filled += qty
        order.cost += cost
        order.fee += fee
        order.status = "partially_filled"
        self.fills.append((order, fill))
        self._tell(t, "trade", order, fill)
        self._book(order, fill)

    def _book(self, order: Order, fill: Fill) -> None:
        """Two ledger entries: base, then quote, with one reference."""
        instrument = self.market.instruments[order.sym]
        base, quote = instrument.base, instrument.quote
        qty = int((instrument.qty(fill.qty)).scaleb(self.decimals(base)))
        self._enter(fill, base, order.side * qty, 0)
        cost = _rescale(fill.cost, self.decimals(quote))
        fee = _rescale(fill.fee, self.decimals(quote))
        self._enter(fill, quote, -order.side * cost, fee)

    def _enter(self, fill: Fill, asset: str, amount: int, fee: int) -> None:
        self.balances[asset] += amount - fee
        entry = Entry(
            self.new_id("L"), fill.exec_id, fill.t, "trade", asset, amount, fee,
            self.balances[asset],
        )  # fmt: skip
        self.ledger.append(entry)
        self.booked.append(entry)

    def _child_canceled(self, order: Order, t: int, code: int) -> None:
        self._children.pop(order.child, None)
        order.child = 0
        if code == e.CANCEL_SELF_TRADE and order.stp != "cancel_newest":
            rival = self._rival(order)
            if rival is not None:
                self.cancel(rival, t, REASONS[code])
                if order.stp == "cancel_oldest":
                    order.reason = _GO_ON
                    return
        if code == e.CANCEL_IOC and order.display:
            order.reason = _GO_ON  # it took what it could; slices follow
            return
        reason = REASONS.get(code, "")
        if code == e.CANCEL_USER and order.reason:
            reason = order.reason
        self.close(order, t, "canceled", reason)

    def _rival(self, order: Order) -> Order | None:
        """The best own resting order on the other side."""
        rivals = [
            each
            for each in self.open.values()
            if each.sym == order.sym
            and each.side == -order.side
            and each.child
            and (each.order_type in ("limit", "iceberg") or each.triggered)
        ]
        if not rivals:
            return None
        return min(rivals, key=lambda each: (order.side * each.price, each.t_changed))

    def _was_amended(self, order: Order, t: int) -> None:
        if self._silent:
            return
        order.amended = True
        order.t_changed = t
        self._tell(t, "amended", order, reason="User requested")

    def close(self, order: Order, t: int, status: str, reason: str) -> None:
        order.status, order.reason, order.t_closed = status, reason, t
        self.open.pop(order.txid, None)
        self._children.pop(order.child, None)
        order.child = 0
        self._tell(t, status, order, reason=reason)

    # ---- trailing stops ----

    def _followed(self, order: Order, t: int, trigger: int, distance: int) -> None:
        """The compiled venue says where a trailing stop stands; what is news is told."""
        if trigger != order.trigger:
            order.trigger = trigger
            order.peak = trigger - order.side * distance
            self._tell(t, "status", order)

    def _trail(self, events: np.ndarray) -> None:
        """Move the triggers of those that the compiled venue does not: in percent, with a limit."""
        trailing = [
            each for each in self.open.values() if each.trailing is not None and not each.follows
        ]
        if not trailing:
            return
        for row in events[events["kind"] == e.TRADE]:
            for order in trailing:
                if order.sym == int(row["sym"]) and order.alive and not order.triggered:
                    self.trail(order, int(row["price"]), int(row["ts"]))

    def trail(self, order: Order, price: int, t: int) -> None:
        """One trade at `price`: does the peak move, and with it trigger and limit?"""
        if price <= order.peak if order.side < 0 else 0 < order.peak <= price:
            return
        order.peak = price
        order.trigger = trailing_trigger(order)
        if order.order_type == "trailing-stop-limit":
            order.price = trailing_limit(order)
        if not order.child:
            return
        self._silent = True
        self._command(
            t, ts=t, kind=c.AMEND, id=order.child, sym=order.sym, side=order.side,
            price=order.price, trigger=order.trigger,
        )  # fmt: skip
        self._silent = False
        self._tell(t, "status", order)


@cache
def compile_venue() -> None:
    """Compile what an account calls, once per process: the first order need not wait for it."""
    table = InstrumentTable(
        [
            Instrument(
                "AAA/USD", Decimal("0.01"), Decimal("0.01"), price_precision=2, qty_precision=2
            )
        ]
    )
    market = Market(table, lambda channel, symbol: 0, lambda channel, sym: ())
    account = Account(ApiKey("compile"), market, VenueOptions(), 1)
    order = Order(account.new_id("O"), 0, -1, "stop-loss", 1, trigger=1)
    account.place(order, 2)
    account.feed(e.empty(1))
    account.cancel(order, 3)
    account.next_time()
    account.timer(4)


def trailing_trigger(order: Order) -> int:
    """Trigger of a trailing stop in ticks: the peak less (sell) or plus (buy) its distance.

    Rounded away from the peak: the stop is never nearer than asked.
    """
    assert order.trailing is not None
    distance = order.peak * order.trailing / 100 if order.trailing_pct else order.trailing
    ticks = int(-(-distance // 1))
    return max(order.peak + order.side * ticks, 1)


def trailing_limit(order: Order) -> int:
    """Limit of a trailing-stop-limit in ticks: its trigger and the signed offset."""
    offset = order.limit_offset or Decimal(0)
    distance = order.trigger * offset / 100 if order.limit_offset_pct else offset
    return max(order.trigger + int(distance.to_integral_value()), 1)


def _rescale(money: int, decimals: int) -> int:
    """Money of 1e-8 in units of 10^-decimals, half away from zero."""
    if decimals >= MONEY_DIGITS:
        return money * int(10 ** (decimals - MONEY_DIGITS))
    unit = int(10 ** (MONEY_DIGITS - decimals))
    whole = (abs(money) + unit // 2) // unit
    return -whole if money < 0 else whole
