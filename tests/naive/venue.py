"""The simulated exchange, slow and obvious: lists and dictionaries, Python integers, no tricks.

Written from docs/venue-model.md, not from engine/venue. Price levels and prints only (level 3 is
tested against a true first-in-first-out market). Every query is a scan. Answers are tuples
(kind, sym, side, price, qty, id, aux, flags).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import floor

from engine import commands as c
from engine import events as e

DAY = 86_400 * 10**9
SECOND = 10**9
LIMIT_TYPES = (c.LIMIT, c.STOP_LOSS_LIMIT, c.TAKE_PROFIT_LIMIT)
TRIGGER_TYPES = (
    c.STOP_LOSS, c.STOP_LOSS_LIMIT, c.TAKE_PROFIT, c.TAKE_PROFIT_LIMIT, c.TRAILING_STOP,
)  # fmt: skip
ONLINE, POST_ONLY, LIMIT_ONLY, REDUCE_ONLY, CANCEL_ONLY = range(5)


@dataclass
class Order:
    id: int
    key: int
    sym: int
    side: int
    type: int
    tif: int
    post_only: bool
    price: int
    trigger: int
    qty: int
    expire_ts: int
    changed_ts: int
    hold_price: int
    filled: int = 0
    hold: int = 0
    state: str = "entering"  # entering, open, armed, waiting
    ahead: int = 0
    traded: int = 0
    unpaired: int = 0
    unpaired_ts: int = 0
    peak: int = 0  # of a trailing stop: the best trade it saw

    @property
    def leaves(self) -> int:
        return self.qty - self.filled


@dataclass
class Pair:
    """One instrument: its rules, its book as {side: {price: lots}}, the customer's lots."""

    rules: dict[str, int]
    base: int
    status: int = 0
    depth: int = 0
    book: dict[int, dict[int, int]] = field(default_factory=lambda: {1: {}, -1: {}})
    known: bool = False  # has levels at all
    usable: bool = False
    in_snapshot: bool = False
    last: int = 0
    counter_base: int = 0
    points: Fraction = Fraction(0)
    points_ts: int = 0

    def best(self, side: int) -> int:
        prices = self.book[side]
        return (max(prices) if side > 0 else min(prices)) if prices else 0

    def trusted(self) -> bool:
        bid, ask = self.best(1), self.best(-1)
        return self.usable and not (bid and ask and bid >= ask)

    def set(self, side: int, price: int, lots: int) -> int:
        before = self.book[side].pop(price, 0)
        if lots:
            self.book[side][price] = lots
        return before


def half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


def round_up(value: Fraction) -> int:
    return -floor(-value)


class NaiveVenue:
    """Same answers and balances as engine.venue, from the same events and commands."""

    def __init__(self, rules, params, cash, base):
        self.params = params
        self.pairs = [
            Pair(dict(rule), lots, rule["status"]) for rule, lots in zip(rules, base, strict=True)
        ]
        self.cash, self.counter_cash, self.fees, self.waived = cash, 0, 0, 0
        self.status = 0
        self.orders: list[Order] = []  # by time priority
        self.answers: dict[int, tuple] = {}
        self.n_keys = self.n_executions = 0
        self.volumes: dict[int, Fraction] | None = None
        self.day = 0
        self.out: list[tuple] = []

    # ---- small things ----

    def say(self, kind, sym, side, price, qty, order_id, aux, flags=e.LAST):
        self.out.append((kind, sym, side, price, qty, order_id, aux, flags))

    def tell(self, kind, order, price=0, qty=0, aux=0, flags=e.LAST):
        self.say(kind, order.sym, order.side, price, qty, order.id, aux, flags)

    def cash_held(self):
        return sum(order.hold for order in self.orders if order.side > 0)

    def base_held(self, sym):
        return sum(order.hold for order in self.orders if order.side < 0 and order.sym == sym)

    def free(self, order_side, sym):
        if order_side > 0:
            return self.cash - self.cash_held()
        return self.pairs[sym].base - self.base_held(sym)

    def of(self, sym, *states):
        return [order for order in self.orders if order.sym == sym and order.state in states]

    def resting(self, sym, side, price=None):
        orders = [o for o in self.of(sym, "open") if o.side == side]
        return [o for o in orders if price is None or o.price == price]

    def best_own(self, sym, side):
        """Our best open order on a side, the oldest at its price."""
        orders = self.resting(sym, side)
        return min(orders, key=lambda o: -side * o.price, default=None)

    def requeue_last(self, order):
        self.orders.remove(order)
        self.orders.append(order)

    # ---- money ----

    def money(self, sym, price, lots):
        rules = self.pairs[sym].rules
        return Fraction(price * lots * rules["notional_num"], rules["notional_den"])

    def roll(self, t):
        day = t // DAY
        if self.volumes is None:
            start = self.params["volume_start"]
            self.volumes = {day - i: start // 30 for i in range(1, 31)}
            self.volumes[day - 1] += start - 30 * (start // 30)
            self.day = day
        self.day = max(self.day, day)

    def rates(self, t):
        """Maker and taker, in 1e-6, after the newest roll of the window."""
        if self.volumes is None:
            return 0, 0
        volume = sum(v for day, v in self.volumes.items() if self.day - 31 < day <= self.day)
        maker = taker = None
        for start, maker_e6, taker_e6 in self.params["tiers"]:
            if volume >= start:
                maker, taker = maker_e6, taker_e6
        return maker, taker

    def hold_needed(self, t, order_side, post_only, sym, price, lots):
        if order_side < 0:
            return lots
        maker, taker = self.rates(t)
        rate = max(maker, 0) if post_only else max(maker, taker, 0)
        return self.cover(sym, price, lots, rate)

    def cover(self, sym, price, lots, rate):
        if lots == 0:
            return 0
        notional = round_up(self.money(sym, price, lots))
        return notional + round_up(Fraction(notional * rate, 10**6))

    def fill(self, t, order, price, lots, liquidity):
        self.roll(t)
        pair = self.pairs[order.sym]
        maker, taker = self.rates(t)
        rate = maker if liquidity == e.MAKER else taker
        notional = half_up(self.money(order.sym, price, lots))
        rounding = round_up if self.params["fee_round_up"] else half_up
        fee = rounding(Fraction(notional * rate, 10**6))
        order.filled += lots
        self.cash -= order.side * notional
        self.counter_cash += order.side * notional
        pair.base += order.side * lots
        pair.counter_base -= order.side * lots
        if order.side > 0:
            others = self.cash_held() - order.hold
            order.hold = self.hold_needed(
                t, 1, order.post_only, order.sym, order.hold_price, order.leaves
            )
            short = others + order.hold - (self.cash - fee)
            if short > 0:
                less = min(short, order.hold)
                order.hold -= less
                fee -= short - less
                self.waived += short - less
        else:
            order.hold -= lots
        self.cash -= fee
        self.fees += fee
        self.volumes[self.day] = self.volumes.get(self.day, 0) + notional
        self.n_executions += 1
        self.tell(e.ORDER_FILL, order, price, lots, self.n_executions, liquidity)
        self.tell(e.ORDER_FEE, order, 0, fee, self.n_executions)
        if order.leaves == 0:
            self.tell(e.ORDER_FILLED, order, 0, order.filled)
            self.orders.remove(order)

    def cancel(self, order, reason):
        self.tell(e.ORDER_CANCELED, order, 0, order.leaves, reason)
        self.orders.remove(order)

    # ---- market data ----

    def arises(self, pair):
        fine = (ONLINE, LIMIT_ONLY, REDUCE_ONLY, CANCEL_ONLY)
        return self.status in fine and pair.status in fine

    def market(self, t, event):
        kind, sym = event["kind"], event["sym"]
        if kind == e.SYSTEM_STATUS:
            self.status = event["aux"]
        elif kind == e.INSTRUMENT:
            self.pairs[sym].status = event["aux"]
        elif kind in (e.GAP, e.RESYNC, e.CONNECTION_DOWN):
            for pair in self.pairs if sym < 0 else [self.pairs[sym]]:
                pair.usable = pair.in_snapshot = False
        elif kind == e.BOOK_LEVEL:
            self.level(t, sym, event)
        elif kind == e.TRADE:
            self.pairs[sym].last = event["price"]
            self.work(t, sym, event)

    def level(self, t, sym, event):
        pair, flags = self.pairs[sym], event["flags"]
        side, price, lots = event["side"], event["price"], event["qty"]
        if flags & e.SNAPSHOT:
            if not pair.in_snapshot:
                pair.book = {1: {}, -1: {}}
                pair.usable, pair.in_snapshot, pair.known = False, True, True
        elif not pair.known:
            if self.params["need_snapshot"]:
                return
            pair.known = True
        before = pair.set(side, price, lots)
        if not pair.in_snapshot:
            for order in self.resting(sym, side, price):
                self.level_moved(t, order, before, lots)
        if flags & e.FAILED:
            pair.usable = pair.in_snapshot = False
        elif flags & e.LAST:
            whole = pair.in_snapshot
            pair.in_snapshot = False
            if whole or not self.params["need_snapshot"]:
                pair.usable = True
            if pair.depth:
                for one_side in (1, -1):
                    prices = sorted(pair.book[one_side], reverse=one_side > 0)
                    for stale in prices[pair.depth :]:
                        del pair.book[one_side][stale]
            if whole:
                for order in self.of(sym, "open"):
                    shown = pair.book[order.side].get(order.price, 0)
                    order.ahead, order.traded = min(order.ahead, shown), 0
            self.work(t, sym, None)

    def level_moved(self, t, order, before, after):
        old = order.ahead
        if self.params["queue_model"] == 1:
            canceled = before - after - order.traded
            if canceled > 0 and order.ahead > 0:
                front = float(order.ahead)
                back = float(max(before - order.traded - order.ahead, 0))
                wf, wb = front, back
                for _ in range(self.params["queue_power"] - 1):
                    wf, wb = wf * front, wb * back
                gone = max(floor(canceled * (wf / (wf + wb))), canceled - int(back))
                order.ahead = max(order.ahead - gone, 0)
        order.ahead = min(order.ahead, after)
        order.traded = 0
        if not self.params["trade_first"] and old > order.ahead:
            if t - order.unpaired_ts > self.params["pair_window_ns"]:
                order.unpaired = 0
            order.unpaired += old - order.ahead
            order.unpaired_ts = t

    # ---- fills ----

    def work(self, t, sym, trade):
        pair = self.pairs[sym]
        trusted, arises = pair.trusted(), self.arises(pair)
        taker = 0
        if trade is not None:
            taker = trade["side"]
            if arises:
                taker = self.match_print(t, sym, trade)
            for order in self.of(sym, "armed"):
                if order.type == c.TRAILING_STOP:
                    self.follow(order, trade["price"])
        elif arises and trusted:
            self.match_quotes(t, sym)
        while (entering := self.next_to_enter(t, sym, trusted and arises)) is not None:
            order, fired = entering
            behind = fired and order.side == taker and self.params["trade_first"]
            self.enter(t, order, trade if behind else None)

    def match_print(self, t, sym, trade):
        pair, price, left = self.pairs[sym], trade["price"], trade["qty"]
        taker = trade["side"]
        if taker == 0:
            bid, ask = pair.best(1), pair.best(-1)
            if ask and price >= ask:
                taker = 1
            elif bid and price <= bid:
                taker = -1
        for side in (1, -1):  # of the resting orders
            if taker == side:
                continue
            left = trade["qty"]
            better = [o for o in self.resting(sym, side) if side * (o.price - price) > 0]
            better.sort(key=lambda o: -side * o.price)  # stable: oldest first at a price
            for order in better:
                if left == 0 or self.params["through_fill"] == 0:
                    break
                whole = self.params["through_fill"] == 2
                lots = order.leaves if whole else min(left, order.leaves)
                left -= 0 if whole else lots
                self.fill(t, order, order.price, lots, e.MAKER)
            if taker == 0:
                continue
            for order in self.resting(sym, side, price):
                if left == 0:
                    break
                lots = left
                if not self.params["trade_first"]:
                    if t - order.unpaired_ts > self.params["pair_window_ns"]:
                        order.unpaired = 0
                    paired = min(order.unpaired, lots)
                    order.unpaired -= paired
                    lots -= paired
                passed = min(order.ahead, lots)
                order.ahead -= passed
                order.traded += passed
                ours = min(lots - passed, order.leaves)
                if ours > 0:
                    whole = self.params["touch_fill"] == 2
                    left -= 0 if whole else ours
                    self.fill(t, order, price, order.leaves if whole else ours, e.MAKER)
        return taker

    def match_quotes(self, t, sym):
        pair, rule = self.pairs[sym], self.params["cross_fill"]
        if rule == 0:
            return
        for side in (1, -1):
            while True:
                order, quote = self.best_own(sym, side), pair.best(-side)
                if order is None or quote == 0 or side * (quote - order.price) > 0:
                    break
                lots = order.leaves
                if rule == 1:
                    shown = pair.book[-side][quote]
                    lots = min(lots, shown)
                    pair.set(-side, quote, shown - lots)
                self.fill(t, order, order.price, lots, e.MAKER)

    def follow(self, order, price):
        """A sell follows the highest trade, a buy the lowest, at its distance."""
        best = max(order.peak, price) if order.side < 0 else min(order.peak, price)
        if best != order.peak:
            order.peak = best
            self.place_trigger(order)

    def place_trigger(self, order):
        order.trigger = order.peak - order.price if order.side < 0 else order.peak + order.price
        self.tell(e.ORDER_TRAILED, order, order.trigger, 0, order.price)

    def start_of_trail(self, sym, side):
        return self.pairs[sym].last or self.pairs[sym].best(-side)

    def fires(self, order):
        last = self.pairs[order.sym].last
        if last == 0:
            return False
        stops = (c.STOP_LOSS, c.STOP_LOSS_LIMIT, c.TRAILING_STOP)
        rises = (order.type in stops) == (order.side > 0)
        return last >= order.trigger if rises else last <= order.trigger

    def next_to_enter(self, t, sym, possible):
        for order in self.of(sym, "entering", "armed", "waiting"):
            was, fired = order.state, False
            if was == "armed" and self.fires(order):
                fired = True
                self.tell(e.ORDER_TRIGGERED, order, self.pairs[sym].last)
                if order.type == c.TRAILING_STOP:
                    order.price = 0
                market = (c.STOP_LOSS, c.TAKE_PROFIT, c.TRAILING_STOP)
                order.type = c.MARKET if order.type in market else c.LIMIT
                order.state = "waiting"
            if was == "entering" or (possible and order.state == "waiting"):
                order.state = "entering"
                self.requeue_last(order)
                return order, fired
        return None

    def takes(self, sym, side, price):
        quote, own = self.pairs[sym].best(-side), self.best_own(sym, -side)
        return bool(quote and side * (price - quote) >= 0) or bool(
            own and side * (price - own.price) >= 0
        )

    def enter(self, t, order, behind):
        pair, side, sym = self.pairs[order.sym], order.side, order.sym
        if order.type == c.LIMIT:
            if order.post_only and self.takes(sym, side, order.price):
                self.cancel(order, e.CANCEL_POST_ONLY)
                return
            limit = order.price
        else:
            best = pair.best(-side)
            if behind is not None and best and side * (behind["price"] - best) > 0:
                best = behind["price"]
            if best == 0:
                self.cancel(order, e.CANCEL_PROTECTION)
                return
            limit = best + side * (best * self.params["protection_e6"] // 10**6)
            limit = max(limit, 1)
        stop = self.walk(t, order, limit, behind)
        if order not in self.orders:
            return
        if order.type == c.MARKET:
            self.cancel(order, e.CANCEL_PROTECTION if stop == e.CANCEL_IOC else stop)
        elif stop != e.CANCEL_IOC or order.tif == c.IOC:
            self.cancel(order, stop)
        else:
            self.rest(order)

    def rest(self, order):
        order.state = "open"
        order.traded = order.unpaired = 0
        order.ahead = self.pairs[order.sym].book[order.side].get(order.price, 0)

    def walk(self, t, order, limit, behind):
        pair, side, sym = self.pairs[order.sym], order.side, order.sym
        levels = sorted(pair.book[-side], reverse=side < 0)
        if behind is not None:
            levels = [price for price in levels if side * (price - behind["price"]) >= 0]
        for price in [*levels, None]:
            own = self.best_own(sym, -side)
            first = own is not None and (price is None or side * (price - own.price) > 0)
            if first and side * (limit - own.price) >= 0:
                return e.CANCEL_SELF_TRADE
            if price is None or side * (price - limit) > 0:
                return e.CANCEL_IOC
            clash = own is not None and own.price == price
            shown = pair.book[-side][price]
            lots = shown
            if behind is not None and price == behind["price"]:
                lots = max(lots - behind["qty"], 0)
            if clash:
                lots = min(lots, own.ahead)
            lots = min(lots, order.leaves)
            paid = lots
            if side > 0 and order.type == c.MARKET:
                self.roll(t)
                money = self.cash - self.cash_held() + order.hold
                rate = max(self.rates(t)[1], 0)
                paid = self.payable(sym, price, lots, money, rate)
            if paid > 0:
                pair.set(-side, price, shown - paid)
                if clash:
                    for mine in self.resting(sym, -side, price):
                        moved = min(mine.ahead, paid)
                        mine.ahead -= moved
                        mine.traded += moved
                self.fill(t, order, price, paid, e.TAKER)
                if order.leaves == 0:
                    return 0
            if paid < lots:
                return e.CANCEL_FUNDS
            if clash:
                return e.CANCEL_SELF_TRADE
        raise AssertionError("the walk ends at the None that follows the last level")

    def payable(self, sym, price, lots, money, rate):
        """Not the most that could be paid, but what engine.venue.account.affordable documents."""
        if self.cover(sym, price, lots, rate) <= money:
            return lots
        per_lot = self.money(sym, price, 1)
        lots = min(lots, floor(Fraction(max(money, 0)) / per_lot))
        while lots > 0 and self.cover(sym, price, lots, rate) > money:
            missing = self.cover(sym, price, lots, rate) - money
            lots -= max(floor(missing / per_lot), 1)
        return max(lots, 0)

    # ---- commands ----

    def charge(self, t, sym, fixed, aged):
        """True if refused."""
        if not self.params["rate_on"]:
            return False
        pair = self.pairs[sym]
        decay = Fraction(self.params["rate_decay_e2"], 100) * Fraction(t - pair.points_ts, SECOND)
        if t > pair.points_ts:
            pair.points, pair.points_ts = max(pair.points - decay, Fraction(0)), t
        if pair.points > self.params["rate_threshold"]:
            pair.points += fixed
            return True
        pair.points += fixed + aged
        return False

    def age_points(self, t, order, table):
        for seconds, points in table:
            if t - order.changed_ts < seconds * SECOND:
                return points
        return 0

    def add_allowed(self, order_type, post_only, side, sym):
        for status in (self.status, self.pairs[sym].status):
            fine = {
                ONLINE: True,
                POST_ONLY: bool(post_only),
                LIMIT_ONLY: order_type in LIMIT_TYPES,
                REDUCE_ONLY: side < 0,
            }
            if not fine.get(status, False):
                return False
        return True

    def command(self, t, cmd):
        kind, sym = cmd["kind"], cmd["sym"]
        if kind == c.ADD:
            self.add(t, cmd)
            self.work(t, sym, None)
        elif kind == c.CANCEL_ALL:
            self.cancel_all(t, cmd)
        else:
            self.change(t, cmd)

    def cancel_all(self, t, cmd):
        if self.status > CANCEL_ONLY:
            self.say(e.CANCEL_REJECT, cmd["sym"], cmd["side"], 0, 0, cmd["id"], e.REJECT_STATUS)
            return
        for sym, pair in enumerate(self.pairs):
            if cmd["sym"] not in (-1, sym) or pair.status > CANCEL_ONLY:
                continue
            for order in [o for o in self.orders if o.sym == sym]:
                self.charge(t, sym, 0, self.age_points(t, order, CANCEL_POINTS))
                self.cancel(order, e.CANCEL_ALL)

    def change(self, t, cmd):
        amend = cmd["kind"] == c.AMEND
        no = e.AMEND_REJECT if amend else e.CANCEL_REJECT
        order = next((o for o in self.orders if o.id == cmd["id"]), None)
        if order is None:
            self.charge(t, cmd["sym"], int(amend), 0)
            self.say(no, cmd["sym"], cmd["side"], 0, 0, cmd["id"], e.REJECT_UNKNOWN_ORDER)
            return
        points = self.age_points(t, order, AMEND_POINTS if amend else CANCEL_POINTS)
        if self.charge(t, order.sym, int(amend), points):
            self.tell(no, order, aux=e.REJECT_RATE)
        elif amend:
            self.amend(t, order, cmd)
            self.work(t, order.sym, None)
        elif self.status > CANCEL_ONLY or self.pairs[order.sym].status > CANCEL_ONLY:
            self.tell(no, order, aux=e.REJECT_STATUS)
        else:
            self.cancel(order, e.CANCEL_USER)

    def first_answer(self, kind, cmd, aux):
        answer = (kind, cmd["sym"], cmd["side"], cmd["price"], cmd["qty"], cmd["id"], aux, e.LAST)
        self.answers[cmd["id"]] = answer
        self.out.append(answer)

    def with_margin(self, side, price):
        return price + price * self.params["market_margin_e6"] // 10**6 if side > 0 else price

    def add(self, t, cmd):
        if cmd["id"] in self.answers:
            self.out.append(self.answers[cmd["id"]])
            self.charge(t, cmd["sym"], 1, 0)
            return
        reason = self.add_reason(t, cmd)
        if reason:
            self.first_answer(e.ORDER_REJECT, cmd, reason)
            return
        armed = cmd["type"] in TRIGGER_TYPES
        self.n_keys += 1
        order = Order(
            **{k: cmd[k] for k in ("id", "sym", "side", "type", "tif", "price", "trigger", "qty")},
            key=self.n_keys,
            post_only=bool(cmd["post_only"]),
            expire_ts=cmd["expire_ts"],
            changed_ts=t,
            hold_price=self.hold_price(cmd),
            state="armed" if armed else "entering",
        )
        order.hold = self.hold_needed(
            t, order.side, order.post_only, order.sym, order.hold_price, order.qty
        )
        self.orders.append(order)
        self.first_answer(e.ORDER_ACK, cmd, order.key)
        if order.type == c.TRAILING_STOP:
            order.peak = self.start_of_trail(order.sym, order.side)
            self.place_trigger(order)

    def judged(self, cmd):
        if cmd["type"] in LIMIT_TYPES:
            return cmd["price"]
        if cmd["type"] == c.TRAILING_STOP:
            return self.start_of_trail(cmd["sym"], cmd["side"]) + cmd["side"] * cmd["price"]
        if cmd["type"] in TRIGGER_TYPES:
            return cmd["trigger"]
        return self.pairs[cmd["sym"]].best(-cmd["side"])

    def hold_price(self, cmd):
        price = self.judged(cmd)
        return price if cmd["type"] in LIMIT_TYPES else self.with_margin(cmd["side"], price)

    def add_reason(self, t, cmd):
        pair = self.pairs[cmd["sym"]]
        rules, kind = pair.rules, cmd["type"]
        limit, armed = kind in LIMIT_TYPES, kind in TRIGGER_TYPES
        if self.charge(t, cmd["sym"], 1, 0):
            return e.REJECT_RATE
        if cmd["post_only"] and (kind != c.LIMIT or cmd["tif"] == c.IOC):
            return e.REJECT_UNSUPPORTED
        if cmd["qty"] <= 0:
            return e.REJECT_QTY
        trails = kind == c.TRAILING_STOP
        if (cmd["price"] > 0) != (limit or trails):
            return e.REJECT_PRICE
        if (cmd["trigger"] > 0) != armed and not trails:
            return e.REJECT_PRICE
        if cmd["tif"] == c.GTD and cmd["expire_ts"] <= t:
            return e.REJECT_EXPIRED
        if cmd["tif"] != c.GTD and cmd["expire_ts"]:
            return e.REJECT_UNSUPPORTED
        if not self.add_allowed(kind, cmd["post_only"], cmd["side"], cmd["sym"]):
            return e.REJECT_STATUS
        if len([o for o in self.orders if o.sym == cmd["sym"]]) >= self.params["open_orders_max"]:
            return e.REJECT_FULL
        price = self.judged(cmd)
        if trails:
            if self.start_of_trail(cmd["sym"], cmd["side"]) == 0:
                return e.REJECT_NO_LIQUIDITY
            if price < 1:
                return e.REJECT_PRICE
        if not armed and (not pair.trusted() or price == 0):
            return e.REJECT_NO_LIQUIDITY
        cost = half_up(self.money(cmd["sym"], price, cmd["qty"]))
        if cmd["qty"] < rules["qty_min"] or cost < rules["cost_min"]:
            return e.REJECT_MINIMUM
        if armed and not trails and not self.params["stop_at_entry"] and pair.last:
            rises = (kind in (c.STOP_LOSS, c.STOP_LOSS_LIMIT)) == (cmd["side"] > 0)
            if pair.last >= cmd["trigger"] if rises else pair.last <= cmd["trigger"]:
                return e.REJECT_PRICE
        self.roll(t)
        hold = self.hold_needed(
            t, cmd["side"], cmd["post_only"], cmd["sym"], self.hold_price(cmd), cmd["qty"]
        )
        if hold > self.free(cmd["side"], cmd["sym"]):
            return e.REJECT_FUNDS
        return 0

    def amend(self, t, order, cmd):
        pair = self.pairs[order.sym]
        limit, armed = order.type in LIMIT_TYPES, order.state == "armed"
        price, trigger = cmd["price"] or order.price, cmd["trigger"] or order.trigger
        qty = cmd["qty"] or order.qty
        moves = order.state == "open" and price != order.price
        if not self.add_allowed(order.type, cmd["post_only"], order.side, order.sym):
            return self.tell(e.AMEND_REJECT, order, aux=e.REJECT_STATUS)
        trails = order.type == c.TRAILING_STOP
        if (cmd["price"] and not limit and not trails) or (cmd["trigger"] and not armed):
            return self.tell(e.AMEND_REJECT, order, aux=e.REJECT_UNSUPPORTED)
        if cmd["post_only"] and order.type != c.LIMIT:
            return self.tell(e.AMEND_REJECT, order, aux=e.REJECT_UNSUPPORTED)
        if moves and not pair.trusted():
            return self.tell(e.AMEND_REJECT, order, aux=e.REJECT_NO_LIQUIDITY)
        if moves and cmd["post_only"] and self.takes(order.sym, order.side, price):
            return self.tell(e.AMEND_REJECT, order, aux=e.REJECT_POST_ONLY)
        if trails:
            trigger = order.peak + order.side * price
            if trigger < 1:
                return self.tell(e.AMEND_REJECT, order, aux=e.REJECT_PRICE)
        if qty <= order.filled:
            return self.cancel(order, e.CANCEL_USER)
        hold_price, judged = order.hold_price, order.hold_price
        if limit:
            hold_price = judged = price
        elif armed:
            hold_price, judged = self.with_margin(order.side, trigger), trigger
        if qty != order.qty:
            cost = half_up(self.money(order.sym, judged, qty))
            if qty - order.filled < pair.rules["qty_min"] or cost < pair.rules["cost_min"]:
                return self.tell(e.AMEND_REJECT, order, aux=e.REJECT_MINIMUM)
        post_only = bool(cmd["post_only"]) if moves else order.post_only
        self.roll(t)
        hold = self.hold_needed(t, order.side, post_only, order.sym, hold_price, qty - order.filled)
        if hold - order.hold > self.free(order.side, order.sym):
            return self.tell(e.AMEND_REJECT, order, aux=e.REJECT_FUNDS)
        raised = qty > order.qty
        order.qty, order.price, order.trigger, order.hold = qty, price, trigger, hold
        order.hold_price, order.post_only, order.changed_ts = hold_price, post_only, t
        self.tell(e.ORDER_AMENDED, order, trigger if armed and not trails else price, qty)
        if trails:
            self.place_trigger(order)
        if moves:
            order.state = "entering"
            self.requeue_last(order)
        elif order.state == "open" and raised and not self.params["amend_up_keeps"]:
            self.requeue_last(order)
            self.rest(order)
        return None

    # ---- time ----

    def next_time(self):
        return min((o.expire_ts for o in self.orders if o.expire_ts), default=None)

    def timer(self, t):
        due = [o for o in self.orders if o.expire_ts and o.expire_ts <= t]
        for order in sorted(due, key=lambda o: (o.expire_ts, o.key)):
            self.tell(e.ORDER_EXPIRED, order, 0, order.leaves)
            self.orders.remove(order)


AMEND_POINTS = ((5, 3), (10, 2), (15, 1))
CANCEL_POINTS = ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1))
