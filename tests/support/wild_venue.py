"""A venue that may do anything a venue may do: answer late, refuse, fill any part at any time.

It keeps its own account in plain integers and answers truthfully; a test decides what it does and
when. It knows nothing of books, queues or fees tiers: prices are the test's.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from engine.commands import ADD, AMEND, CANCEL, LIMIT, MARKET, STOP_LOSS, TRAILING_STOP
from engine.events import (
    AMEND_REJECT,
    CANCEL_IOC,
    CANCEL_REJECT,
    CANCEL_USER,
    MAKER,
    ORDER_ACK,
    ORDER_AMENDED,
    ORDER_CANCELED,
    ORDER_EXPIRED,
    ORDER_FEE,
    ORDER_FILL,
    ORDER_FILLED,
    ORDER_REJECT,
    ORDER_TRAILED,
    ORDER_TRIGGERED,
    REJECT_FUNDS,
    REJECT_MINIMUM,
    REJECT_POST_ONLY,
    REJECT_RATE,
    REJECT_UNKNOWN_ORDER,
    SNAPSHOT,
    TAKER,
)

Answer = tuple[int, int, int, int, int, int]  # kind, client id, price, qty, aux, flags
REFUSALS = (REJECT_RATE, REJECT_FUNDS, REJECT_POST_ONLY, REJECT_MINIMUM)


@dataclass
class Resting:
    """One live order."""

    id: int
    side: int
    type: int
    price: int
    qty: int
    filled: int = 0
    distance: int = 0  # of a trailing stop, whose trigger `price` is

    @property
    def terms(self) -> int:
        """What an answer names as its price."""
        return self.distance or self.price

    @property
    def leaves(self) -> int:
        return self.qty - self.filled


@dataclass
class WildVenue:
    """Account, live orders, commands that travel to it, answers that travel back."""

    cash: int
    base: int = 0
    orders: dict[int, Resting] = field(default_factory=dict)
    commands: deque[np.void] = field(default_factory=deque)
    answers: deque[Answer] = field(default_factory=deque)
    n_executions: int = 0
    # what it could tell again: each fill with its fee, how each order ended, whom it ever knew
    executions: list[tuple[Answer, Answer]] = field(default_factory=list)
    ended: dict[int, Answer] = field(default_factory=dict)
    known: set[int] = field(default_factory=set)

    def sells(self) -> list[Resting]:
        return [order for order in self.orders.values() if order.side < 0]

    def free_base(self) -> int:
        return self.base - sum(order.leaves for order in self.sells())

    def say(self, kind: int, order_id: int, price: int = 0, qty: int = 0, aux: int = 0) -> None:
        answer = (kind, order_id, price, qty, aux, 0)
        self.answers.append(answer)
        if kind in (ORDER_FILLED, ORDER_CANCELED, ORDER_EXPIRED, ORDER_REJECT):
            self.ended[order_id] = answer

    def tell_again(self) -> list[Answer]:
        """What a reader of its books is told: fills, what rests, how the rest ended."""
        told = [answer for pair in self.executions[-50:] for answer in pair]
        for order in self.orders.values():
            told.append((ORDER_ACK, order.id, order.terms, order.qty, order.id, 0))
            if order.distance:
                told.append((ORDER_TRAILED, order.id, order.price, 0, order.distance, 0))
        told += [self.ended[order_id] for order_id in sorted(self.ended)[-40:]]
        return [(*answer[:5], answer[5] | SNAPSHOT) for answer in told]

    def take_command(self, refuse: int | None, share: int, price: int) -> None:
        """The next command arrives.

        refuse : index into REFUSALS, None to accept; share : 0..4 quarters that a taking order
        finds; price : ticks it finds them at
        """
        command = self.commands.popleft()
        order_id, qty = int(command["id"]), int(command["qty"])
        if command["kind"] == ADD:
            self.known.add(order_id)
        kind, side, type_ = int(command["kind"]), int(command["side"]), int(command["type"])
        if kind == ADD:
            if side < 0 and qty > self.free_base():
                self.say(ORDER_REJECT, order_id, aux=REJECT_FUNDS)
                return
            if refuse is not None:
                self.say(ORDER_REJECT, order_id, aux=REFUSALS[refuse])
                return
            price_told = int(command["trigger"] or command["price"])
            order = Resting(order_id, side, type_, price_told, qty)
            self.orders[order_id] = order
            self.say(ORDER_ACK, order_id, aux=order_id)
            if type_ == TRAILING_STOP:
                order.distance = int(command["price"])
                self.say(ORDER_TRAILED, order_id, order.price, aux=order.distance)
            taking = type_ == MARKET or (type_ == LIMIT and not command["post_only"])
            if taking:
                self.fill(order_id, order.leaves * share // 4, price, TAKER)
                self.end(order_id, ORDER_CANCELED, CANCEL_IOC)
            return
        refusal = AMEND_REJECT if kind == AMEND else CANCEL_REJECT
        order = self.orders.get(order_id)
        if order is None:
            self.say(refusal, order_id, aux=REJECT_UNKNOWN_ORDER)
        elif refuse is not None:
            self.say(refusal, order_id, aux=REFUSALS[refuse])
        elif kind == CANCEL:
            self.end(order_id, ORDER_CANCELED, CANCEL_USER)
        elif qty <= order.filled:
            self.end(order_id, ORDER_CANCELED, CANCEL_USER)
        elif order.side < 0 and qty - order.qty > self.free_base():
            self.say(AMEND_REJECT, order_id, aux=REJECT_FUNDS)
        elif order.type == MARKET and command["trigger"]:
            self.say(AMEND_REJECT, order_id, aux=REJECT_POST_ONLY)
        else:
            order.qty = qty
            if order.distance:
                peak = order.price + order.distance
                order.distance = int(command["price"] or order.distance)
                order.price = peak - order.distance
            else:
                order.price = int(command["trigger"] or command["price"] or order.price)
            self.say(ORDER_AMENDED, order_id, order.terms, order.qty)
            if order.distance:
                self.say(ORDER_TRAILED, order_id, order.price, aux=order.distance)

    def trail(self, order_id: int, ticks: int) -> None:
        """A trade takes a trailing stop along."""
        order = self.orders.get(order_id)
        if order is not None and order.distance:
            order.price += ticks
            self.say(ORDER_TRAILED, order_id, order.price, aux=order.distance)

    def fill(self, order_id: int, lots: int, price: int, flags: int = MAKER) -> None:
        """Trade some lots of a live order; complete it when none are left."""
        order = self.orders.get(order_id)
        if order is None or lots <= 0:
            return
        lots = min(lots, order.leaves)
        self.n_executions += 1
        value = (price * lots + 5) // 10  # BTC/USD of order_desk: 1e-8 BTC at 0.1 USD, half up
        fee = value * 25 // 10_000
        self.base += order.side * lots
        self.cash -= order.side * value + fee
        order.filled += lots
        traded = (ORDER_FILL, order_id, price, lots, self.n_executions, flags)
        paid = (ORDER_FEE, order_id, 0, fee, self.n_executions, 1)
        self.answers.extend((traded, paid))
        self.executions.append((traded, paid))
        if order.leaves == 0:
            self.say(ORDER_FILLED, order_id, qty=order.filled)
            del self.orders[order_id]

    def end(self, order_id: int, kind: int, aux: int = 0) -> None:
        order = self.orders.pop(order_id, None)
        if order is not None:
            self.say(kind, order_id, qty=order.leaves, aux=aux)

    def expire(self, order_id: int) -> None:
        self.end(order_id, ORDER_EXPIRED)

    def trigger(self, order_id: int, share: int, price: int) -> None:
        """A stop fires and finds some quarters of its lots; the rest of a market order ends."""
        order = self.orders.get(order_id)
        if order is None or order.type not in (STOP_LOSS, TRAILING_STOP):
            return
        self.say(ORDER_TRIGGERED, order_id, price)
        order.type, order.distance = MARKET, 0
        self.fill(order_id, order.leaves * share // 4, price, TAKER)
        self.end(order_id, ORDER_CANCELED, CANCEL_IOC)
