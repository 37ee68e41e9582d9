"""What happens at the simulated exchange, and when? The entry points.

The caller owns the order of things: market data at their venue time (`ts` less the feed latency),
then the venue's own deadlines, then commands, each strictly by time. Answers are appended to
`out`; the caller takes them and sets glob["n_out"] to 0. Nothing here knows the core, and nothing
depends on how the caller cuts events into batches. What is modelled, and what is not, stands in
docs/venue-model.md.

Deep chains of calls are avoided: each function's machine code is optimised again together with
all that it calls, so time to compile grows with the depth. Fills are made in fills.work alone.
"""

from __future__ import annotations

import numpy as np

from engine.book import book_best, book_set, book_truncate
from engine.events import (
    BALANCE,
    BOOK_LEVEL,
    CONNECTION_DOWN,
    FAILED,
    GAP,
    L3_ADD,
    LAST,
    ORDER_EXPIRED,
    RESYNC,
    SNAPSHOT,
    SYSTEM_STATUS,
    TRADE,
)
from engine.jit import kernel
from engine.venue.fills import work
from engine.venue.market import distrust, other_event, requeue
from engine.venue.orders import emit, emit_order, order_drop
from engine.venue.requests import venue_command
from engine.venue.state import (
    FAULT_L3_FULL,
    FAULT_OUT_FULL,
    FAULT_SYMBOL,
    FAULT_VALUE,
    FREE,
    OUT_ROWS,
    VENUE_OK,
    make_venue,
)

__all__ = [
    "make_venue",
    "venue_balances",
    "venue_command",
    "venue_market",
    "venue_next_time",
    "venue_run",
    "venue_timer",
]

_RARE = SNAPSHOT | FAILED


@kernel
def venue_event(venue, t, event):
    """Whatever is not about one instrument; returns a fault code."""
    kind = np.int64(event["kind"])
    if kind == BOOK_LEVEL or kind == TRADE or kind == L3_ADD:
        return FAULT_SYMBOL
    if kind == SYSTEM_STATUS:
        venue.glob[0]["status"] = event["aux"]
    if kind == GAP or kind == RESYNC or kind == CONNECTION_DOWN:
        for i in range(len(venue.symbols)):
            distrust(venue.symbols[i])
    elif kind == BOOK_LEVEL or kind == TRADE or kind == L3_ADD:
        return FAULT_SYMBOL
    return VENUE_OK


# ---- entry points ----


@kernel
def venue_market(venue, event):
    """One market event reaches the exchange's own view of the market, at its venue time.

    venue : Venue; event : one EVENT record; its venue time is `ts` less params["feed_ns"]
    returns VENUE_OK; FAULT_OUT_FULL, FAULT_SYMBOL or FAULT_VALUE with nothing done; FAULT_L3_FULL
    with the symbol's book distrusted until its next snapshot

    Events that are not market data (order events, timers, candles ...) are passed over.
    """
    kind = np.int64(event["kind"])
    sym = np.int64(event["sym"])
    glob = venue.glob[0]
    if glob["n_out"] > glob["out_room"]:
        return FAULT_OUT_FULL
    if sym < 0:
        return venue_event(venue, event["ts"] - glob["params"]["feed_ns"], event)
    if sym >= len(venue.symbols):
        return FAULT_SYMBOL
    symbol = venue.symbols[sym]
    side = 0
    price = 0
    lots = 0
    if kind == TRADE:
        side = np.int64(event["side"])
        price = event["price"]
        lots = event["qty"]
        if ((price - 1) | lots) < 0:
            return FAULT_VALUE
        symbol["last_price"] = price
        symbol["last_ts"] = event["ts"]
        if symbol["n_live"] == 0 or not (
            (side >= 0 and price >= symbol["low"][1])
            or (side <= 0 and price <= symbol["high"][0])
            or price >= symbol["rise"]
            or price <= symbol["fall"]
        ):
            return VENUE_OK
    elif kind == BOOK_LEVEL and symbol["steady"] != 0 and np.int64(event["flags"]) & _RARE == 0:
        at = event["price"]
        qty = event["qty"]
        if ((at - 1) | qty) < 0:
            return FAULT_VALUE
        i_side = 0 if event["side"] > 0 else 1
        book = symbol["book"]
        before = book_set(book, i_side, at, qty)
        if symbol["low"][i_side] <= at <= symbol["high"][i_side]:
            t = event["ts"] - glob["params"]["feed_ns"]
            requeue(glob, t, symbol, i_side, at, before, qty)
        if np.int64(event["flags"]) & LAST == 0:
            return VENUE_OK
        if symbol["depth"] > 0:
            book_truncate(book, symbol["depth"])
        if symbol["n_live"] == 0:
            return VENUE_OK
        ask = book_best(book, 1)
        if (
            book_best(book, 0) < symbol["low"][1]
            and (ask == 0 or ask > symbol["high"][0])
            and symbol["n_waiting"] == 0
        ):
            return VENUE_OK
    else:
        t = event["ts"] - glob["params"]["feed_ns"]
        fault, closed = other_event(glob, t, symbol, event)
        if fault != VENUE_OK or not closed:
            return fault
    work(glob, event["ts"] - glob["params"]["feed_ns"], symbol, side, price, lots)
    return VENUE_OK


@kernel
def venue_run(venue, events, start, stop, until):
    """Feed events[start:stop] up to venue time `until`, until one has answers or a fault.

    until : int64, ns, venue time, inclusive
    returns i, fault : index of the first event not taken in, and a fault code, of events[i] unless
    it is FAULT_L3_FULL, which is of the event before
    """
    glob = venue.glob[0]
    feed = glob["params"]["feed_ns"]
    i = start
    while i < stop:
        event = events[i]
        if event["ts"] - feed > until:
            break
        fault = venue_market(venue, event)
        if fault != VENUE_OK:
            return (i + 1 if fault == FAULT_L3_FULL else i), fault
        i += 1
        if glob["n_out"] > 0:
            break
    return i, VENUE_OK


@kernel
def venue_next_time(venue):
    """The venue's own next deadline (the expiry of an order), ns, or NEVER."""
    return venue.glob[0]["next_expire"]


@kernel
def venue_timer(venue, t):
    """Act on the deadlines at or before `t`: orders expire, earliest first, then oldest.

    returns VENUE_OK, or FAULT_OUT_FULL with nothing done
    """
    glob = venue.glob[0]
    if glob["n_out"] > glob["out_room"]:
        return FAULT_OUT_FULL
    while glob["next_expire"] <= t:
        slot = -1
        for i in range(glob["order_high"]):
            order = glob["orders"][i]
            if order["state"] != FREE and order["expire_ts"] == glob["next_expire"]:
                if slot < 0 or order["key"] < glob["orders"][slot]["key"]:
                    slot = i
        order = glob["orders"][slot]
        emit_order(glob, t, ORDER_EXPIRED, order, 0, order["qty"] - order["filled"], 0, LAST)
        order_drop(glob, venue.symbols[order["sym"]], slot)
    return VENUE_OK


@kernel
def venue_balances(venue, t):
    """Tell all balances, holds not taken off: the quote's money, then each symbol's base lots.

    returns VENUE_OK, or FAULT_OUT_FULL with nothing done
    """
    glob = venue.glob[0]
    n_symbols = len(venue.symbols)
    if glob["n_out"] > glob["out_room"] or n_symbols + 1 > OUT_ROWS - glob["n_out"]:
        return FAULT_OUT_FULL
    emit(glob, t, BALANCE, -1, 0, 0, glob["cash"], 0, 0, 0)
    for sym in range(n_symbols):
        flags = LAST if sym == n_symbols - 1 else 0
        emit(glob, t, BALANCE, sym, 0, 0, venue.symbols[sym]["base"], 0, 0, flags)
    return VENUE_OK
