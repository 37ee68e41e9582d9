"""Which of our orders trade now? Resting orders against prints and quotes, taking orders, stops.

The rules, each with its source or the switch that changes it, are in docs/venue-model.md. Our own
resting orders are not in the recorded book: a print uses up its lots on our better prices first,
then on the queue at its own price, and no lot of it is used twice. What we take is taken out of
the venue's own copy of the book until the next recorded update of that level restores it. Left
out: what a market event or a command is (matching.py, requests.py).
"""

from __future__ import annotations

from engine.book import book_best, book_next, book_qty, book_set
from engine.commands import IOC, LIMIT, MARKET, STOP_LOSS, TAKE_PROFIT, TRAILING_STOP
from engine.events import (
    CANCEL_FUNDS,
    CANCEL_IOC,
    CANCEL_POST_ONLY,
    CANCEL_PROTECTION,
    CANCEL_SELF_TRADE,
    LAST,
    MAKER,
    ORDER_FEE,
    ORDER_FILL,
    ORDER_FILLED,
    ORDER_TRIGGERED,
    TAKER,
)
from engine.instruments import (
    STATUS_CANCEL_ONLY,
    STATUS_LIMIT_ONLY,
    STATUS_ONLINE,
    STATUS_REDUCE_ONLY,
)
from engine.jit import kernel
from engine.venue.account import affordable, hold_fits, settle
from engine.venue.fees import fee_roll
from engine.venue.level3 import l3_in_front
from engine.venue.orders import (
    emit_order,
    fires_on_rise,
    order_bounds,
    order_cancel,
    order_drop,
    order_list,
    order_unlist,
    trail_orders,
)
from engine.venue.params import FILL_NONE, FILL_WHOLE
from engine.venue.queue import queue_after_trade
from engine.venue.state import ARMED, ENTERING, OPEN, SOURCE_L3, WAITING

_MATCHING = (
    (1 << STATUS_ONLINE)
    | (1 << STATUS_LIMIT_ONLY)
    | (1 << STATUS_REDUCE_ONLY)
    | (1 << STATUS_CANCEL_ONLY)
)


@kernel
def trades_arise(glob, symbol):
    """Does the venue match this symbol now, by its own status and by the pair's?"""
    return (_MATCHING >> glob["status"]) & (_MATCHING >> symbol["status"]) & 1 == 1


@kernel
def book_trusted(symbol):
    """May an order take from, or be judged against, this book? Known, no gap open, not crossed."""
    if symbol["usable"] == 0:
        return False
    bid = book_best(symbol["book"], 0)
    ask = book_best(symbol["book"], 1)
    return bid == 0 or ask == 0 or bid < ask


@kernel
def fill(glob, t, symbol, slot, price, lots, liquidity):
    """Fill an order in part or whole and say so; True if that completes (and forgets) it."""
    order = glob["orders"][slot]
    assert lots > 0
    assert lots <= order["qty"] - order["filled"]
    fee_roll(glob, glob["params"], t)
    order["filled"] += lots
    rate = glob["maker_e6"] if liquidity == MAKER else glob["taker_e6"]
    fee = settle(glob, symbol, order, price, lots, rate)
    glob["n_executions"] += 1
    execution = glob["n_executions"]
    emit_order(glob, t, ORDER_FILL, order, price, lots, execution, liquidity)
    emit_order(glob, t, ORDER_FEE, order, 0, fee, execution, LAST)
    if order["filled"] < order["qty"]:
        return False
    emit_order(glob, t, ORDER_FILLED, order, 0, order["filled"], 0, LAST)
    order_drop(glob, symbol, slot)
    return True


# ---- our own orders at a price ----


@kernel
def own_side(order, i_side):
    """Does the order rest on this side of the book (0 buys, 1 sells)?"""
    return order["state"] == OPEN and (order["side"] < 0) == (i_side == 1)


@kernel
def own_best(glob, symbol, i_side):
    """Row of our best open order on a side, the oldest at its price; -1 if none."""
    found = -1
    best = 0
    for i in range(symbol["n_live"]):
        slot = symbol["slots"][i]
        order = glob["orders"][slot]
        if own_side(order, i_side):
            price = order["price"]
            if found < 0 or (price > best if i_side == 0 else price < best):
                found = slot
                best = price
    return found


@kernel
def own_best_price(glob, symbol, i_side):
    """Best price of our open orders on a side, 0 if none."""
    slot = own_best(glob, symbol, i_side)
    return glob["orders"][slot]["price"] if slot >= 0 else 0


# ---- resting orders: which one trades next, and how much ----


@kernel
def print_next(glob, t, symbol, i_side, price, left, at_touch):
    """The next of our resting orders that a public print fills, best price first, then oldest.

    i_side : the side that was hit; price : of the print; left : lots of it not used yet
    at_touch : bool, do orders at the print's own price take part (else only better ones)
    returns slot, lots, left : row of the order (-1: no more), lots to fill, lots then left

    Every order is asked once per print (`order["asked"]`), which also moves it up its queue.
    """
    params = glob["params"]
    number = glob["n_prints"]
    while left > 0:
        found = -1
        best = price
        for i in range(symbol["n_live"]):
            slot = symbol["slots"][i]
            order = glob["orders"][slot]
            if order["asked"] == number or not own_side(order, i_side):
                continue
            at = order["price"]
            if at == price and found < 0 and at_touch:
                found = slot
            elif at > best if i_side == 0 else at < best:
                found = slot
                best = at
        if found < 0:
            break
        order = glob["orders"][found]
        order["asked"] = number
        leaves = order["qty"] - order["filled"]
        if order["price"] != price:
            rule = params["through_fill"]
            lots = 0 if rule == FILL_NONE else min(left, leaves)
        else:
            rule = params["touch_fill"]
            lots = print_at_touch(params, order, t, leaves, left)
        if lots > 0:
            if rule == FILL_WHOLE:
                # The whole order, whatever the print: nothing of it is used up either.
                return found, leaves, left
            return found, lots, left - lots
    return -1, 0, left


@kernel
def print_at_touch(params, order, t, leaves, lots):
    """Move an order up its queue by a print at its price; returns the lots of it that are ours."""
    if params["trade_first"] == 0:
        # Lots that left the level just before may be this very print: do not count them twice.
        if t - order["unpaired_ts"] > params["pair_window_ns"]:
            order["unpaired"] = 0
        paired = min(order["unpaired"], lots)
        order["unpaired"] -= paired
        lots -= paired
    ahead, filled = queue_after_trade(order["ahead"], leaves, lots)
    order["traded"] += order["ahead"] - ahead
    order["ahead"] = ahead
    return filled


@kernel
def quote_next(glob, symbol, i_side):
    """The next of our resting orders that a displayed quote reaches; it is filled as a maker.

    What is displayed at or beyond our price would have traded with us before it could rest. It is
    taken out of the venue's copy of the book, so that it serves once.
    returns slot, lots : row of the order (-1: no more), lots to fill at its own price
    """
    rule = glob["params"]["cross_fill"]
    book = symbol["book"]
    other = 1 - i_side
    slot = own_best(glob, symbol, i_side)
    quote = book_best(book, other)
    if rule == FILL_NONE or slot < 0 or quote == 0:
        return -1, 0
    order = glob["orders"][slot]
    if beyond(order["side"], quote, order["price"]):
        return -1, 0
    leaves = order["qty"] - order["filled"]
    if rule == FILL_WHOLE:
        return slot, leaves
    shown = book_qty(book, other, quote)
    lots = min(leaves, shown)
    book_set(book, other, quote, shown - lots)
    return slot, lots


# ---- taking orders ----


@kernel
def beyond(side, price, limit):
    """Is `price` worse for an order of this side than its limit?"""
    return price > limit if side > 0 else price < limit


@kernel
def would_take(glob, symbol, side, price):
    """Would a limit order at `price` trade at once, with the book or with an order of ours?

    Touching is crossing: a buy at the best ask takes.
    """
    other = 1 if side > 0 else 0
    quote = book_best(symbol["book"], other)
    own = own_best_price(glob, symbol, other)
    return (quote > 0 and not beyond(side, quote, price)) or (
        own > 0 and not beyond(side, own, price)
    )


@kernel
def protection_price(params, side, best):
    """The worst price at which a market order may trade, `best` being the best at its arrival."""
    band = best * params["protection_e6"] // 1_000_000
    return best + band if side > 0 else max(best - band, 1)


@kernel
def take_next(glob, t, symbol, slot, limit, price, start, ghost):
    """The next fill of an order that walks the other side of the book.

    limit : worst price in ticks; price : where the walk stands, 0 if the side is exhausted
    start, ghost : 0, or the price of the print that let the order enter, and its lots: they are
        gone already, though the book still shows them
    returns price, lots, stop, next : a fill of `lots` at `price` if lots > 0; why the walk stops
        after it, 0 if it goes on at price `next`: CANCEL_SELF_TRADE, CANCEL_FUNDS, or CANCEL_IOC
        for no (more) quotes up to the limit
    """
    order = glob["orders"][slot]
    side = order["side"]
    other = 1 if side > 0 else 0
    book = symbol["book"]
    clash = own_best(glob, symbol, other)
    own = glob["orders"][clash]["price"] if clash >= 0 else 0
    if own > 0 and not beyond(side, own, limit) and (price == 0 or beyond(side, price, own)):
        return price, 0, CANCEL_SELF_TRADE, 0
    if price == 0 or beyond(side, price, limit):
        return price, 0, CANCEL_IOC, 0
    shown = book_qty(book, other, price)
    lots = shown
    if price == start:
        lots = max(lots - ghost, 0)
    if price == own:
        lots = min(lots, glob["orders"][clash]["ahead"])
    lots = min(lots, order["qty"] - order["filled"])
    paid = lots
    if not hold_fits(symbol, price, lots):
        paid = 0
    elif side > 0 and order["type"] == MARKET:
        fee_roll(glob, glob["params"], t)
        paid = affordable(glob, symbol, order, price, lots)
    if paid > 0:
        book_set(book, other, price, shown - paid)
        if price == own:
            own_move_up(glob, symbol, other, own, paid)
    stop = 0
    if paid < lots:
        stop = CANCEL_FUNDS
    elif price == own:
        stop = CANCEL_SELF_TRADE
    return price, paid, stop, book_next(book, other, price)


@kernel
def own_move_up(glob, symbol, i_side, price, lots):
    """We took `lots` from in front of our own orders at a price."""
    for i in range(symbol["n_live"]):
        order = glob["orders"][symbol["slots"][i]]
        if own_side(order, i_side) and order["price"] == price:
            moved = min(order["ahead"], lots)
            order["ahead"] -= moved
            order["traded"] += moved


# ---- orders that enter the book ----


@kernel
def rest(glob, symbol, slot):
    """Put an order into the queue at its price: behind everything that stands there."""
    order = glob["orders"][slot]
    i_side = 0 if order["side"] > 0 else 1
    order["state"] = OPEN
    order["traded"] = 0
    order["unpaired"] = 0
    order["arrival"] = symbol["l3_clock"]
    if symbol["source"] == SOURCE_L3:
        order["ahead_real"] = l3_in_front(glob, symbol, i_side, order["price"], order["arrival"])
        order["ahead"] = order["ahead_real"]
    else:
        order["ahead"] = book_qty(symbol["book"], i_side, order["price"])
    order_bounds(glob, symbol)


@kernel
def fires(order, last_price):
    """Does an armed order fire at this last trade price (0: there was none yet)?"""
    if last_price == 0:
        return False
    if fires_on_rise(order["side"], order["type"]):
        return last_price >= order["trigger"]
    return last_price <= order["trigger"]


@kernel
def enter_next(glob, t, symbol, trusted):
    """The next order that enters the book now, oldest first; -1 if none.

    One that came with a command; an armed one that the last trade fires, which becomes a market
    or limit order and says so; one that fired while the book could not be trusted. An order that
    fires while it still cannot be waits.
    returns slot, fired : row of the order, and whether the last trade fired it just now
    """
    i = 0
    while i < symbol["n_live"]:
        slot = symbol["slots"][i]
        order = glob["orders"][slot]
        state = order["state"]
        fired = state == ARMED and fires(order, symbol["last_price"])
        if fired:
            emit_order(glob, t, ORDER_TRIGGERED, order, symbol["last_price"], 0, 0, LAST)
            if order["type"] == TRAILING_STOP:
                order["price"] = 0  # its distance, not a limit
                order["type"] = MARKET
            else:
                market = order["type"] == STOP_LOSS or order["type"] == TAKE_PROFIT
                order["type"] = MARKET if market else LIMIT
            order["state"] = WAITING
            order_bounds(glob, symbol)
        if state == ENTERING or (trusted and (fired or state == WAITING)):
            order["state"] = ENTERING
            if i < symbol["n_live"] - 1:  # behind all others in time
                order_unlist(glob, symbol, slot)
                order_list(glob, symbol, slot)
            return slot, fired
        i += 1
    return -1, False


@kernel
def enter_limit(glob, t, symbol, slot, start):
    """How far an entering order may walk, in ticks; 0 if it was canceled instead.

    start : the price of the print that fired it, 0 for none: its best price cannot be better
    """
    order = glob["orders"][slot]
    side = order["side"]
    if order["type"] == LIMIT:
        if order["post_only"] != 0 and would_take(glob, symbol, side, order["price"]):
            order_cancel(glob, t, symbol, slot, CANCEL_POST_ONLY)
            return 0
        return order["price"]
    best = book_best(symbol["book"], 1 if side > 0 else 0)
    if start > 0 and best > 0 and beyond(side, start, best):
        best = start
    if best == 0:
        order_cancel(glob, t, symbol, slot, CANCEL_PROTECTION)
        return 0
    return protection_price(glob["params"], side, best)


@kernel
def enter_ends(glob, t, symbol, slot, stop):
    """What was not filled on entering rests, or is canceled with the reason."""
    order = glob["orders"][slot]
    if order["type"] == MARKET:
        reason = CANCEL_PROTECTION if stop == CANCEL_IOC else stop
        order_cancel(glob, t, symbol, slot, reason)
    elif stop != CANCEL_IOC or order["tif"] == IOC:
        order_cancel(glob, t, symbol, slot, stop)
    else:
        rest(glob, symbol, slot)


# ---- everything that makes fills ----


@kernel
def quotes_reach(symbol):
    """Does a displayed quote reach a resting order of ours?"""
    ask = book_best(symbol["book"], 1)
    return book_best(symbol["book"], 0) >= symbol["low"][1] or 0 < ask <= symbol["high"][0]


@kernel
def work(glob, t, symbol, side, price, lots):
    """Let our orders of one symbol trade as far as they do at time `t`.

    First what a public print fills, if there is one: side of its taker (0 unknown), its price,
    its lots; price 0 for none. Then the trailing stops that it moves. Without a print, what displayed
    quotes fill. Then the orders that enter: with a command, or fired by the print.

    An order on the taker's own side that the print fires comes behind it: it finds neither the
    print's lots nor anything better than its price, though the book still shows them.
    """
    arise = trades_arise(glob, symbol)
    taker = side
    if price > 0:
        if arise:
            at_touch = True
            if side == 0:
                taker = taker_side(symbol, price)
                # Inside the spread, by whomever: our better prices on either side were passed.
                at_touch = taker != 0
            glob["n_prints"] += 1
            for i_side in range(2):
                left = lots
                while left > 0 and (taker == 0 or (taker > 0) == (i_side == 1)):
                    slot, filled, left = print_next(glob, t, symbol, i_side, price, left, at_touch)
                    if slot < 0:
                        break
                    fill(glob, t, symbol, slot, glob["orders"][slot]["price"], filled, MAKER)
        if symbol["fall"] < price < symbol["rise"] and symbol["n_waiting"] == 0:
            return
        trail_orders(glob, t, symbol, price)
    trusted = book_trusted(symbol)
    if price == 0 and arise and trusted and quotes_reach(symbol):
        for i_side in range(2):
            while True:
                slot, filled = quote_next(glob, symbol, i_side)
                if slot < 0:
                    break
                fill(glob, t, symbol, slot, glob["orders"][slot]["price"], filled, MAKER)
    while True:
        slot, fired = enter_next(glob, t, symbol, trusted and arise)
        if slot < 0:
            break
        order = glob["orders"][slot]
        start = 0
        ghost = 0
        if fired and order["side"] == taker and glob["params"]["trade_first"] != 0:
            start = price
            ghost = lots
        limit = enter_limit(glob, t, symbol, slot, start)
        if limit == 0:
            continue
        other = 1 if order["side"] > 0 else 0
        at = book_best(symbol["book"], other)
        if start > 0 and at > 0 and beyond(order["side"], start, at):
            at = book_next(symbol["book"], other, start - 1 if other == 1 else start + 1)
        stop = 0
        done = False
        while stop == 0 and not done:
            at, filled, stop, following = take_next(glob, t, symbol, slot, limit, at, start, ghost)
            if filled > 0:
                done = fill(glob, t, symbol, slot, at, filled, TAKER)
            at = following
        if not done:
            enter_ends(glob, t, symbol, slot, stop)


@kernel
def taker_side(symbol, price):
    """The side of a print's taker by the quotes, 0 if it lies between them."""
    bid = book_best(symbol["book"], 0)
    ask = book_best(symbol["book"], 1)
    if ask > 0 and price >= ask:
        return 1
    if bid > 0 and price <= bid:
        return -1
    return 0
