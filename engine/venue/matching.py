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

from engine.book import book_set_inline, book_truncate
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
from engine.jit import inner_kernel, kernel
from engine.venue.fills import quotes_reach, work
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


# ---- market data: the common case small, everything else behind one call ----


@kernel
def level_with_orders(glob, symbol, event, before):
    """A plain level that touches a queue of ours or closes a message that may fill us."""
    t = event["ts"] - glob["params"]["feed_ns"]
    i_side = 0 if event["side"] > 0 else 1
    price = event["price"]
    if symbol["low"][i_side] <= price <= symbol["high"][i_side]:
        requeue(glob, t, symbol, i_side, price, before, event["qty"])
    if np.int64(event["flags"]) & LAST and (quotes_reach(symbol) or symbol["n_waiting"] > 0):
        work(glob, t, symbol, 0, 0, 0)


@kernel
def rare_event(glob, symbol, event):
    """Whatever is not common: a print that concerns us, and all that is neither level nor print."""
    t = event["ts"] - glob["params"]["feed_ns"]
    if event["kind"] == TRADE:
        work(glob, t, symbol, np.int64(event["side"]), event["price"], event["qty"])
        return VENUE_OK
    fault, closed = other_event(glob, t, symbol, event)
    if closed:
        work(glob, t, symbol, 0, 0, 0)
    return fault


@kernel
def wide_event(glob, symbols, event):
    """An event that is not about one known instrument; returns a fault code."""
    kind = np.int64(event["kind"])
    if glob["n_out"] > glob["out_room"]:
        return FAULT_OUT_FULL
    if event["sym"] >= 0 or kind == BOOK_LEVEL or kind == TRADE or kind == L3_ADD:
        return FAULT_SYMBOL
    if kind == SYSTEM_STATUS:
        glob["status"] = event["aux"]
    if kind == GAP or kind == RESYNC or kind == CONNECTION_DOWN:
        for i in range(len(symbols)):
            distrust(symbols[i])
    return VENUE_OK


@inner_kernel
def market_event(glob, symbol, event):
    """One event about one instrument: the body of the loops over market data.

    It takes records and no array: numba counts references to an array around every call that is
    given one, with two atomic instructions that cost as much as the rest of a common event.
    """
    if glob["n_out"] > glob["out_room"]:
        return FAULT_OUT_FULL
    kind = np.int64(event["kind"])
    price = event["price"]
    qty = event["qty"]
    if kind == BOOK_LEVEL:
        if ((price - 1) | qty) < 0:
            return FAULT_VALUE
        flags = np.int64(event["flags"])
        if symbol["steady"] == 0 or flags & _RARE:
            return rare_event(glob, symbol, event)
        i_side = 0 if event["side"] > 0 else 1
        before = book_set_inline(symbol["book"], i_side, price, qty)
        if flags & LAST and symbol["depth"] > 0:
            book_truncate(symbol["book"], symbol["depth"])
        if symbol["n_live"] > 0:
            touched = symbol["low"][i_side] <= price <= symbol["high"][i_side]
            if touched or quotes_reach(symbol) or symbol["n_waiting"] > 0:
                level_with_orders(glob, symbol, event, before)
        return VENUE_OK
    if kind == TRADE:
        if ((price - 1) | qty) < 0:
            return FAULT_VALUE
        symbol["last_price"] = price
        symbol["last_ts"] = event["ts"]
        side = event["side"]
        if symbol["n_live"] > 0 and (
            (side >= 0 and price >= symbol["low"][1])
            or (side <= 0 and price <= symbol["high"][0])
            or price >= symbol["rise"]
            or price <= symbol["fall"]
            or symbol["n_waiting"] > 0
        ):
            return rare_event(glob, symbol, event)
        return VENUE_OK
    return rare_event(glob, symbol, event)


# ---- entry points ----


@inner_kernel
def venue_market(venue, event):
    """One market event reaches the exchange's own view of the market, at its venue time.

    venue : Venue; event : one EVENT record; its venue time is `ts` less params["feed_ns"]
    returns VENUE_OK; FAULT_OUT_FULL, FAULT_SYMBOL or FAULT_VALUE with nothing done; FAULT_L3_FULL
    with the symbol's book distrusted until its next snapshot

    Events that are not market data (order events, timers, candles ...) are passed over.
    """
    sym = np.int64(event["sym"])
    if sym < 0 or sym >= len(venue.symbols):
        return wide_event(venue.glob[0], venue.symbols, event)
    return market_event(venue.glob[0], venue.symbols[sym], event)


@inner_kernel
def venue_run(venue, events, start, stop, until):
    """Feed events[start:stop] up to venue time `until`, until one has answers or a fault.

    until : int64, ns, venue time, inclusive
    returns i, fault : index of the first event not taken in, and a fault code, of events[i] unless
    it is FAULT_L3_FULL, which is of the event before
    """
    glob = venue.glob[0]
    symbols = venue.symbols
    n_symbols = len(symbols)
    feed = glob["params"]["feed_ns"]
    for i in range(start, stop):
        event = events[i]
        if event["ts"] - feed > until:
            return i, VENUE_OK
        sym = np.int64(event["sym"])
        if 0 <= sym < n_symbols:
            fault = market_event(glob, symbols[sym], event)
        else:
            fault = wide_event(glob, symbols, event)
        if fault != VENUE_OK:
            return (i + 1 if fault == FAULT_L3_FULL else i), fault
        if glob["n_out"] > 0:
            return i + 1, VENUE_OK
    return stop, VENUE_OK


@inner_kernel
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
