"""What is a tick, a lot, an amount of money? Exact integers and the only roundings there are.

Prices are ticks, quantities are lots, money is an integer number of 1e-8 of the quote currency.
Text and Decimal become steps without passing through a float; a value off the grid is an error.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from engine.jit import kernel

MONEY_DECIMALS: Final = 8
MONEY_PER_UNIT: Final = 10**MONEY_DECIMALS  # money units in one unit of the quote currency
RATE_SCALE: Final = 1_000_000  # fee rates are integers of 1/100 basis point: 2500 = 0.25 %
PRODUCT_MAX: Final = 1 << 62  # ticks x lots x notional_num stays below this, checked at load


class OffGridError(ValueError):
    """A price, quantity or amount is not a whole number of its steps."""


def to_steps(value: Decimal, step: Decimal, name: str) -> int:
    """How many `step`s make `value`; an inexact value is an error, never a rounding."""
    if not value.is_finite():
        raise OffGridError(f"{name} {value} is not a number. The source is damaged: check its row.")
    count, rest = divmod(value, step)
    if rest != 0:
        raise OffGridError(
            f"{name} {value} is not a whole number of steps of {step}. "
            "The pair's increments may have changed: compare them with the capture's manifest."
        )
    return int(count)


def to_money(value: Decimal) -> int:
    """Quote currency as Decimal to money units; more than eight decimals is an error."""
    return to_steps(value, Decimal(1).scaleb(-MONEY_DECIMALS), "amount")


def from_money(money: int) -> Decimal:
    """Money units to quote currency, exactly."""
    return Decimal(int(money)).scaleb(-MONEY_DECIMALS)


@kernel
def notional_money(price_ticks, qty_lots, notional_num, notional_den):
    """Price x quantity in money, rounded half up: the one rounding of a trade's value.

    price_ticks, qty_lots : int64, >= 0, with price x qty x notional_num < PRODUCT_MAX
    notional_num, notional_den : int64, from the instrument row
    returns int64, money
    """
    return (price_ticks * qty_lots * notional_num + notional_den // 2) // notional_den


@kernel
def notional_fits(price_ticks, qty_lots, notional_num):
    """Does price x qty x notional_num stay below PRODUCT_MAX (so that nothing wraps)?"""
    if price_ticks < 0 or qty_lots < 0:
        return False
    if price_ticks == 0 or qty_lots == 0:
        return True
    return qty_lots <= PRODUCT_MAX // price_ticks // notional_num


@kernel
def fee_money(notional, rate_e6, round_up):
    """Fee of a fill: notional x rate, exact, then rounded half up (or up, if `round_up`).

    notional : int64, money, >= 0; rate_e6 : int64, 1/100 bps, negative for a rebate
    round_up : bool, away from the customer instead of half up
    returns int64, money, + paid, - rebate
    """
    whole = notional // RATE_SCALE
    rest = (notional - whole * RATE_SCALE) * rate_e6
    if round_up:
        return whole * rate_e6 - ((-rest) // RATE_SCALE)
    return whole * rate_e6 + (rest + RATE_SCALE // 2) // RATE_SCALE


@kernel
def lots_for_money(money, price_ticks, notional_num, notional_den):
    """The most lots whose notional is at most about `money` (floored), 0 if none.

    money, price_ticks : int64, >= 0 and > 0; returns int64, lots
    """
    if money <= 0 or price_ticks <= 0:
        return 0
    per_lot = price_ticks * notional_num
    whole = money // per_lot
    if whole >= PRODUCT_MAX // notional_den:
        return PRODUCT_MAX // notional_den
    return whole * notional_den + (money - whole * per_lot) * notional_den // per_lot
