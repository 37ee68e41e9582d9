"""What may the customer still spend, and what does a fill move?

A buy holds its open quantity at its hold price plus the expected fee; a sell holds its open lots,
a stop as well. A fill moves notional and lots between customer and counterparty and the fee to
the glob, all in integers; nothing is created or lost. Fees are in the quote currency. Left out:
fee in base, margin, transfers.
"""

from __future__ import annotations

from engine.jit import kernel
from engine.units import fee_money, lots_for_money, notional_fits, notional_money
from engine.venue.fees import fee_count


@kernel
def hold_rate(glob, post_only):
    """The fee rate that a buy expects to pay: as a maker only if it may not take; >= 0."""
    if post_only != 0:
        return max(glob["maker_e6"], 0)
    return max(glob["maker_e6"], glob["taker_e6"], 0)


@kernel
def hold_money(instrument, price, lots, rate_e6):
    """Money to hold for buying `lots` at `price`, fee included, both rounded up."""
    if lots == 0:
        return 0
    exact = price * lots * instrument["notional_num"]
    notional = -((-exact) // instrument["notional_den"])
    return notional + fee_money(notional, rate_e6, True)


@kernel
def hold_of(glob, symbol, order):
    """What the order should hold for its open quantity now: money (buy) or lots (sell)."""
    leaves = order["qty"] - order["filled"]
    if order["side"] < 0:
        return leaves
    rate = hold_rate(glob, order["post_only"])
    return hold_money(symbol["instrument"], order["hold_price"], leaves, rate)


@kernel
def hold_fits(symbol, price, lots):
    """Can the product be computed without wrapping?"""
    return notional_fits(price, lots, symbol["instrument"]["notional_num"])


@kernel
def hold_set(glob, symbol, order, hold):
    """Hold this much for the order instead; False (nothing changed) if the rest does not cover it."""
    more = hold - order["hold"]
    if order["side"] > 0:
        if more > glob["cash"] - glob["cash_held"]:
            return False
        glob["cash_held"] += more
    else:
        if more > symbol["base"] - symbol["base_held"]:
            return False
        symbol["base_held"] += more
    order["hold"] = hold
    return True


@kernel
def affordable(glob, symbol, order, price, lots):
    """At most `lots` that the buy can pay at `price` with its hold and the free cash, taker fee in."""
    money = glob["cash"] - glob["cash_held"] + order["hold"]
    instrument = symbol["instrument"]
    num = instrument["notional_num"]
    den = instrument["notional_den"]
    rate = max(glob["taker_e6"], 0)
    if hold_money(instrument, price, lots, rate) <= money:
        return lots
    # Start from what would do without the fee and come down: each step takes off what is missing.
    lots = min(lots, lots_for_money(money, price, num, den))
    while lots > 0:
        missing = hold_money(instrument, price, lots, rate) - money
        if missing <= 0:
            break
        lots -= max(lots_for_money(missing, price, num, den), 1)
    return max(lots, 0)


@kernel
def settle(glob, symbol, order, price, lots, rate_e6):
    """Book one fill of an order; the caller has added it to order["filled"] already.

    price : int64, ticks; lots : int64; rate_e6 : int64, fee rate, negative is a rebate
    returns int64, money: the fee, + paid, - rebate

    Rounding per fill can make the parts of a buy cost a few units of 1e-8 more than was held, and
    a fall of the fee tier more. The order's own hold gives way first; then the fee does, so that
    no balance is ever negative and no other hold uncovered. What was waived is counted.
    """
    params = glob["params"]
    instrument = symbol["instrument"]
    notional = notional_money(price, lots, instrument["notional_num"], instrument["notional_den"])
    fee = fee_money(notional, rate_e6, params["fee_round_up"] != 0)
    if order["side"] > 0:
        glob["cash"] -= notional
        glob["counter_cash"] += notional
        symbol["base"] += lots
        symbol["counter_base"] -= lots
        hold = hold_of(glob, symbol, order)
        short = glob["cash_held"] - order["hold"] + hold - (glob["cash"] - fee)
        if short > 0:
            less = min(short, hold)
            hold -= less
            short -= less
            fee -= short
            glob["fees_waived"] += short
        glob["cash_held"] += hold - order["hold"]
        order["hold"] = hold
    else:
        glob["cash"] += notional
        glob["counter_cash"] -= notional
        symbol["base"] -= lots
        symbol["counter_base"] += lots
        symbol["base_held"] -= lots
        order["hold"] -= lots
    glob["cash"] -= fee
    glob["fees"] += fee
    fee_count(glob, params, notional)
    return fee
