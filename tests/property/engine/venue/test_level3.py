"""Queue position from level 3, against a true first-in-first-out market that we only watch.

A market of real orders is matched by the obvious rule; its level-3 messages go to the venue. An
order of ours that had been there too would trade exactly the lots that in truth went to orders
that came after it, at its price: that is what the venue must give it, print by print.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import hypothesis.strategies as st
from hypothesis import given, settings

from engine import events as e
from engine.venue.state import SOURCE_L3
from tests.support.exchange import Exchange

MIDDLE = 50
PRICE = MIDDLE - 1  # where our buy order rests: the best bid level


@dataclass
class Real:
    id: int
    side: int
    price: int
    qty: int
    clock: int


class Market:
    """Real orders in time priority; each act becomes level-3 rows, prints before or after them."""

    def __init__(self, seed: int, trade_first: bool) -> None:
        self.draw = random.Random(seed)
        self.trade_first = trade_first
        self.orders: list[Real] = []
        self.n_ids = 0
        self.clock = 1_000
        self.hits: list[tuple[int, int]] = []

    def new_order(self, side: int, price: int) -> Real:
        self.n_ids += 1
        self.clock += self.draw.randint(1, 5)
        order = Real(self.n_ids, side, price, self.draw.randint(1, 30), self.clock)
        self.orders.append(order)
        return order

    def opening(self) -> list[dict[str, int]]:
        rows = []
        for side in (1, -1):
            for k in (1, 2, 3):
                for _ in range(self.draw.randint(1, 4)):
                    rows.append(self.row(e.L3_ADD, self.new_order(side, MIDDLE - side * k)))
        for row in rows:
            row["flags"] = e.SNAPSHOT
        rows[-1]["flags"] |= e.LAST
        return rows

    def row(self, kind: int, order: Real, qty: int | None = None) -> dict[str, int]:
        return {
            "kind": kind,
            "side": order.side,
            "price": order.price,
            "qty": order.qty if qty is None else qty,
            "id": order.id,
            "aux": order.clock,
            "flags": e.LAST,
        }

    def act(self) -> list[dict[str, int]]:
        """Rows of one act; what it traded at PRICE is in `hits`, (queue time, lots) per order."""
        self.hits = []
        kind = self.draw.random()
        if kind < 0.35:
            side = self.draw.choice([1, 1, -1])
            order = self.new_order(side, MIDDLE - side * self.draw.choice([1, 1, 2, 3]))
            return [self.row(e.L3_ADD, order)]
        if kind < 0.5 and self.orders:
            order = self.draw.choice(self.orders)
            self.orders.remove(order)
            return [self.row(e.L3_DELETE, order)]
        if kind < 0.62 and self.orders:
            order = self.draw.choice(self.orders)
            if order.qty > 1 and self.draw.random() < 0.6:
                order.qty -= self.draw.randint(1, order.qty - 1)  # smaller: keeps its place
            else:
                self.clock += 1
                order.qty += self.draw.randint(1, 5)  # larger: to the back
                order.clock = self.clock
                self.orders.remove(order)
                self.orders.append(order)
            return [self.row(e.L3_MODIFY, order)]
        return self.sell(self.draw.randint(1, 40))

    def sell(self, lots: int) -> list[dict[str, int]]:
        """A sell order that takes from the bids at PRICE only; one print per order hit."""
        prints, changes = [], []
        for order in [o for o in self.orders if o.side > 0 and o.price == PRICE]:
            if lots == 0:
                break
            traded = min(lots, order.qty)
            lots -= traded
            order.qty -= traded
            self.hits.append((order.clock, traded))
            prints.append(
                {"kind": e.TRADE, "side": -1, "price": PRICE, "qty": traded, "flags": e.LAST}
            )
            if order.qty == 0:
                self.orders.remove(order)
                changes.append(self.row(e.L3_DELETE, order, traded))
            else:
                changes.append(self.row(e.L3_MODIFY, order))
        return [*prints, *changes] if self.trade_first else [*changes, *prints]


@given(seed=st.integers(0, 2**32), before=st.integers(0, 40), qty=st.integers(1, 200))
@settings(max_examples=150)
def test_our_order_trades_what_in_truth_went_to_those_behind_it(
    seed: int, before: int, qty: int
) -> None:
    market = Market(seed, trade_first=True)
    exchange = Exchange(cross_fill=0)
    for row in market.opening():
        exchange.market(**row)
    for _ in range(before):
        for row in market.act():
            exchange.market(**row)
    arrival = market.clock
    exchange.add(1, side=1, price=PRICE, qty=qty)
    assert int(exchange.venue.symbols[0]["source"]) == SOURCE_L3
    open_lots = qty

    for _ in range(60):
        rows = market.act()
        filled = 0
        for row in rows:
            answers = exchange.market(**row)
            filled += sum(a[4] for a in answers if a[0] == e.ORDER_FILL)
        behind = sum(lots for clock, lots in market.hits if clock > arrival)
        assert filled == min(behind, open_lots)
        open_lots -= filled
        if open_lots == 0:
            break
        in_front = sum(
            o.qty for o in market.orders if o.side > 0 and o.price == PRICE and o.clock <= arrival
        )
        assert int(exchange.order(1)["ahead"]) == in_front


@given(seed=st.integers(0, 2**32), qty=st.integers(1, 200))
@settings(max_examples=80)
def test_changes_that_come_before_their_print_are_not_counted_twice(seed: int, qty: int) -> None:
    """A feed that tells the change of an order before the print that made it: the same fills."""
    market = Market(seed, trade_first=False)
    exchange = Exchange(cross_fill=0, trade_first=False)
    for row in market.opening():
        exchange.market(**row)
    arrival = market.clock
    exchange.add(1, side=1, price=PRICE, qty=qty)
    truth = filled = 0

    for _ in range(60):
        rows = market.act()
        exchange.t += 1_000_000_000  # acts are far apart, the rows of one are not
        for row in rows:
            answers = exchange.market(**row)
            filled += sum(a[4] for a in answers if a[0] == e.ORDER_FILL)
        truth = min(qty, truth + sum(lots for clock, lots in market.hits if clock > arrival))
        assert filled == truth
        if filled == qty:
            break


@given(seed=st.integers(0, 2**32))
@settings(max_examples=40)
def test_the_book_is_the_sum_of_its_orders(seed: int) -> None:
    market = Market(seed, trade_first=True)
    exchange = Exchange()
    for row in market.opening():
        exchange.market(**row)
    for _ in range(80):
        for row in market.act():
            exchange.market(**row)
        expected: dict[tuple[int, int], int] = {}
        for order in market.orders:
            key = (order.side, order.price)
            expected[key] = expected.get(key, 0) + order.qty
        actual = {
            (side, price): exchange.shown(side, price)
            for side in (1, -1)
            for price in range(MIDDLE - 5, MIDDLE + 6)
            if exchange.shown(side, price)
        }
        assert actual == expected
        assert int(exchange.glob["n_l3"]) == len(market.orders)
