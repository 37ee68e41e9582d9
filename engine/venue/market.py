"""What does a market event change in the venue's own view, and in the queues of our orders?

The book of each symbol comes from the best source that its feed has: single orders (level 3), else
price levels, else quotes. It can be trusted from a complete snapshot on, until a gap or a failed
checksum. Left out: what our orders do about it (fills.py), and when (matching.py).
"""

from __future__ import annotations

import numpy as np

from engine.book import book_best, book_clear, book_qty, book_set, book_truncate
from engine.events import (
    BOOK_LEVEL,
    CONNECTION_DOWN,
    FAILED,
    GAP,
    INSTRUMENT,
    L3_ADD,
    L3_DELETE,
    L3_MODIFY,
    LAST,
    MESSAGE_END,
    RESYNC,
    SNAPSHOT,
    SYSTEM_STATUS,
    TICKER,
    TICKER_ASK,
    TICKER_BID,
)
from engine.jit import kernel
from engine.venue.level3 import (
    l3_clear,
    l3_find,
    l3_in_front,
    l3_insert,
    l3_reduce,
    l3_truncate,
)
from engine.venue.params import QUEUE_PROPORTIONAL
from engine.venue.queue import queue_after_cancels, queue_after_level
from engine.venue.state import (
    FAULT_L3_FULL,
    FAULT_VALUE,
    OPEN,
    SOURCE_L2,
    SOURCE_L3,
    SOURCE_TICKER,
    VENUE_OK,
)

# ---- what a change of the book means for our queue ----


@kernel
def requeue(glob, t, symbol, i_side, price, before, after):
    """A level at which orders of ours may rest went from `before` to `after` lots."""
    params = glob["params"]
    for i in range(symbol["n_live"]):
        order = glob["orders"][symbol["slots"][i]]
        if order["state"] != OPEN or order["price"] != price:
            continue
        if (order["side"] < 0) != (i_side == 1):
            continue
        ahead = order["ahead"]
        if params["queue_model"] == QUEUE_PROPORTIONAL:
            order["ahead"] = queue_after_cancels(
                ahead, before, after, order["traded"], params["queue_power"]
            )
        else:
            order["ahead"] = queue_after_level(ahead, after)
        order["traded"] = 0
        if params["trade_first"] == 0:
            note_unpaired(params, order, t, ahead - order["ahead"])


@kernel
def note_unpaired(params, order, t, lots):
    """Remember lots that left from in front of us before any print said why."""
    if lots > 0:
        if t - order["unpaired_ts"] > params["pair_window_ns"]:
            order["unpaired"] = 0
        order["unpaired"] += lots
        order["unpaired_ts"] = t


@kernel
def requeue_all(glob, symbol):
    """Place our open orders anew after the book was replaced or cut."""
    for i in range(symbol["n_live"]):
        order = glob["orders"][symbol["slots"][i]]
        if order["state"] != OPEN:
            continue
        i_side = 0 if order["side"] > 0 else 1
        price = order["price"]
        if symbol["source"] == SOURCE_L3:
            order["ahead_real"] = l3_in_front(glob, symbol, i_side, price, order["arrival"])
            order["ahead"] = max(order["ahead_real"] - order["traded"], 0)
        else:
            order["ahead"] = min(order["ahead"], book_qty(symbol["book"], i_side, price))
            order["traded"] = 0


@kernel
def requeue_real(glob, t, symbol, i_side, price, key, change):
    """A real order of queue time `key` at a price grew or shrank by `change` lots.

    What prints had taken from in front of us already is not taken again.
    """
    if price < symbol["low"][i_side] or price > symbol["high"][i_side]:
        return
    params = glob["params"]
    for i in range(symbol["n_live"]):
        order = glob["orders"][symbol["slots"][i]]
        if order["state"] != OPEN or order["price"] != price or key > order["arrival"]:
            continue
        if (order["side"] < 0) != (i_side == 1):
            continue
        ahead = order["ahead"]
        order["ahead_real"] += change
        if change < 0:
            order["traded"] -= min(order["traded"], -change)
        order["ahead"] = max(order["ahead_real"] - order["traded"], 0)
        if params["trade_first"] == 0:
            note_unpaired(params, order, t, ahead - order["ahead"])


# ---- messages ----


@kernel
def distrust(symbol):
    """The book is not what the venue's was: match nothing against it until it is known again."""
    symbol["steady"] = 0
    symbol["usable"] = 0
    symbol["in_snapshot"] = 0


@kernel
def snapshot_begins(glob, symbol, source):
    """The next records replace the book."""
    distrust(symbol)
    if symbol["source"] == SOURCE_L3 or source == SOURCE_L3:
        l3_clear(glob, symbol)
    else:
        book_clear(symbol["book"])
    symbol["source"] = source
    symbol["in_snapshot"] = 1


@kernel
def message_ends(glob, symbol, flags):
    """A message about the book is complete; may our orders be matched against it now?"""
    whole = symbol["in_snapshot"] != 0
    symbol["in_snapshot"] = 0
    if flags & FAILED:
        distrust(symbol)
        return False
    if whole or glob["params"]["need_snapshot"] == 0:
        symbol["usable"] = 1
        symbol["steady"] = 1 if symbol["source"] == SOURCE_L2 else 0
    cut = False
    if symbol["source"] == SOURCE_L3:
        cut = l3_truncate(glob, symbol)
    else:
        book_truncate(symbol["book"], symbol["depth"])
    if whole or cut:
        requeue_all(glob, symbol)
    return symbol["n_live"] > 0


@kernel
def level_event(glob, t, symbol, event):
    """A BOOK_LEVEL that is not plain: of a snapshot, failed, or of a book not usable yet.

    returns bool: may orders be matched now?
    """
    flags = np.int64(event["flags"])
    if symbol["source"] == SOURCE_L3:
        return False  # single orders say more
    if flags & SNAPSHOT:
        if symbol["in_snapshot"] == 0:
            snapshot_begins(glob, symbol, SOURCE_L2)
    elif symbol["source"] != SOURCE_L2:
        if glob["params"]["need_snapshot"] != 0:
            return False
        book_clear(symbol["book"])
        symbol["source"] = SOURCE_L2
        distrust(symbol)
    i_side = 0 if event["side"] > 0 else 1
    price = event["price"]
    before = book_set(symbol["book"], i_side, price, event["qty"])
    # A snapshot is judged when it is whole.
    if symbol["in_snapshot"] == 0:
        requeue(glob, t, symbol, i_side, price, before, event["qty"])
    if flags & (LAST | FAILED):
        return message_ends(glob, symbol, flags)
    return False


@kernel
def real_order_event(glob, t, symbol, event):
    """One record of a level-3 feed.

    returns fault, closed : a fault code; may orders be matched now?
    """
    kind = np.int64(event["kind"])
    flags = np.int64(event["flags"])
    if flags & SNAPSHOT:
        if symbol["in_snapshot"] == 0:
            snapshot_begins(glob, symbol, SOURCE_L3)
            symbol["l3_clock"] = 0
    elif symbol["source"] != SOURCE_L3:
        if glob["params"]["need_snapshot"] != 0:
            return VENUE_OK, False
        snapshot_begins(glob, symbol, SOURCE_L3)
        symbol["in_snapshot"] = 0
    i_side = 0 if event["side"] > 0 else 1
    price = event["price"]
    qty = event["qty"]
    key = event["aux"] if event["aux"] > 0 else t
    symbol["l3_clock"] = max(symbol["l3_clock"], key)
    at = l3_find(glob, symbol["sym"], event["id"])
    if kind == L3_DELETE:
        if at > 0:
            row = glob["l3"][at]
            gone = row["qty"]
            was_side = row["i_side"]
            was_price = row["price"]
            was_key = row["key"]
            l3_reduce(glob, symbol, at, 0)
            requeue_real(glob, t, symbol, was_side, was_price, was_key, -gone)
    else:
        moved = True
        if at > 0:
            row = glob["l3"][at]
            before = row["qty"]
            was_side = row["i_side"]
            was_price = row["price"]
            was_key = row["key"]
            # The same price and queue time: the place is kept.
            moved = kind == L3_ADD or was_price != price or was_side != i_side or was_key != key
            l3_reduce(glob, symbol, at, 0 if moved else qty)
            change = -before if moved else qty - before
            requeue_real(glob, t, symbol, was_side, was_price, was_key, change)
        if moved and qty > 0:
            if l3_insert(glob, symbol, event["id"], i_side, price, qty, key):
                requeue_real(glob, t, symbol, i_side, price, key, qty)
            else:
                # Orders are missing from now on: nothing may be matched against this book.
                distrust(symbol)
                return FAULT_L3_FULL, False
    if flags & (LAST | FAILED):
        return VENUE_OK, message_ends(glob, symbol, flags)
    return VENUE_OK, False


@kernel
def ticker_event(glob, t, symbol, event):
    """A quote. Where there is no book it is the book: one level a side.

    An unknown quantity (0) counts as more than anybody trades: takers fill at the touch, and of
    our resting orders only what a print passes.
    """
    if symbol["source"] > SOURCE_TICKER:
        return False
    field = event["id"]
    if field == TICKER_BID or field == TICKER_ASK:
        symbol["source"] = SOURCE_TICKER
        symbol["usable"] = 1
        book = symbol["book"]
        i_side = 0 if field == TICKER_BID else 1
        price = event["price"]
        qty = event["qty"] if event["qty"] > 0 else symbol["instrument"]["qty_max"]
        old = book_best(book, i_side)
        if old != 0 and old != price:
            book_set(book, i_side, old, 0)
            requeue(glob, t, symbol, i_side, old, 0, 0)
        if price > 0:
            before = book_set(book, i_side, price, qty)
            requeue(glob, t, symbol, i_side, price, before, qty)
    return np.int64(event["flags"]) & LAST != 0 and symbol["n_live"] > 0


@kernel
def other_event(glob, t, symbol, event):
    """Everything about one instrument that is neither a plain level nor a print.

    returns fault, closed : a fault code; may orders be matched now?
    """
    kind = np.int64(event["kind"])
    if kind == BOOK_LEVEL:
        return VENUE_OK, level_event(glob, t, symbol, event)
    if kind == L3_ADD or kind == L3_MODIFY or kind == L3_DELETE:
        if event["price"] < 1 or event["qty"] < 0:
            return FAULT_VALUE, False
        return real_order_event(glob, t, symbol, event)
    if kind == TICKER:
        if event["price"] < 0 or event["qty"] < 0:
            return FAULT_VALUE, False
        return VENUE_OK, ticker_event(glob, t, symbol, event)
    if kind == MESSAGE_END:
        closes = event["id"]
        level3 = closes == L3_ADD or closes == L3_MODIFY or closes == L3_DELETE
        if (symbol["source"] == SOURCE_L3 and level3) or (
            symbol["source"] == SOURCE_L2 and closes == BOOK_LEVEL
        ):
            return VENUE_OK, message_ends(glob, symbol, np.int64(event["flags"]))
    elif kind == INSTRUMENT:
        symbol["status"] = event["aux"]
    elif kind == SYSTEM_STATUS:
        glob["status"] = event["aux"]
    elif kind == GAP or kind == RESYNC or kind == CONNECTION_DOWN:
        distrust(symbol)
    return VENUE_OK, False
