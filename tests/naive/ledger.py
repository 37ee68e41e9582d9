"""Positions and cash in exact decimals and fractions: the slow twin of engine/core/positions.py.

Amounts are Decimals of the quote currency and of the base; only the roundings that are declared
(value of a fill to 1e-8 half up, cost relief down to 1e-8) happen at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction

CENT = Decimal("0.00000001")
EXACT = Context(prec=120)


def fill_value(price: Decimal, qty: Decimal) -> Decimal:
    """What a fill is worth, to 1e-8 of the quote currency, halves up."""
    return EXACT.multiply(price, qty).quantize(CENT, ROUND_HALF_UP, context=EXACT)


def part_of(cost: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """The share of a cost that goes with `part` of `whole`, down to 1e-8; all of it for all."""
    exact = Fraction(cost) * Fraction(part) / Fraction(whole)
    steps = exact / Fraction(CENT)
    return Decimal(steps.numerator // steps.denominator) * CENT


@dataclass
class Trip:
    """One life of a position: bought from flat, sold to flat."""

    bought: Decimal = Decimal(0)
    sold: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)


@dataclass
class Ledger:
    """One account and one pair."""

    cash: Decimal
    qty_min: Decimal
    cost_min: Decimal
    held: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    dust: Decimal = Decimal(0)
    dust_cost: Decimal = Decimal(0)
    realized: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    trip: Trip = field(default_factory=Trip)
    closed: list[Trip] = field(default_factory=list)

    def buy(self, price: Decimal, qty: Decimal, fee: Decimal) -> None:
        value = fill_value(price, qty)
        if self.held == 0:
            self.trip = Trip()
            self.held, self.cost = self.dust, self.dust_cost
            self.dust = self.dust_cost = Decimal(0)
        self.held += qty
        self.cost += value + fee
        self.cash -= value + fee
        self.fees += fee
        self.trip.bought += value
        self.trip.fees += fee

    def sell(self, price: Decimal, qty: Decimal, fee: Decimal) -> Decimal:
        """Returns what this sale realised."""
        value = fill_value(price, qty)
        relief = self.cost if qty == self.held else part_of(self.cost, qty, self.held)
        gain = value - fee - relief
        self.held -= qty
        self.cost -= relief
        self.cash += value - fee
        self.fees += fee
        self.realized += gain
        self.trip.sold += value
        self.trip.fees += fee
        if self.held == 0:
            self.closed.append(self.trip)
        return gain

    def settle(self, bid: Decimal) -> None:
        """No order works any more: what is too small to sell becomes dust."""
        value = EXACT.multiply(self.held, bid).quantize(CENT, ROUND_HALF_UP, context=EXACT)
        if self.held > 0 and (self.held < self.qty_min or value < self.cost_min):
            self.dust += self.held
            self.dust_cost += self.cost
            self.held = self.cost = Decimal(0)
            self.closed.append(self.trip)

    def equity(self, bid: Decimal) -> Decimal:
        value = EXACT.multiply(self.held + self.dust, bid)
        return self.cash + value.quantize(CENT, ROUND_HALF_UP, context=EXACT)
