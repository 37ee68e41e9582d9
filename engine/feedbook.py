"""Is one message of a live book sound, and which events does it become? In a single call.

The levels come as the text of the wire, `[{"price":0.0294,"qty":22500.50544743},...]`: a call per
level would cost more than all the work in it. A message is read whole before anything is applied;
one that cannot be read, whose checksum is wrong, or that leaves the book crossed gives a reason
instead of events, and nothing is applied until the next snapshot. Left out: the other fields of
the message, and what to do about a reason (adapters/kraken/feed.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.book import BOOK, book_clear, book_crossed, book_set, book_truncate
from engine.checksum import crc32_book
from engine.events import (
    BOOK_LEVEL,
    BUY,
    CHECKSUM,
    LAST,
    MESSAGE_END,
    SELL,
    SNAPSHOT,
    VERIFIED,
)
from engine.instruments import FEED_QTY_MAX, PRICE_MAX
from engine.jit import kernel

FEED_OK: Final = 0
FEED_WAITING: Final = 1  # an update without a snapshot before it
FEED_SHAPE: Final = 2  # text in another form, nothing was changed: write it plainly, call again
FEED_FULL: Final = 3  # more levels than `rows` has room for, nothing was changed: call again
FEED_OFF_GRID: Final = 4
FEED_NEGATIVE: Final = 5
FEED_ZERO: Final = 6  # a price of 0, or a snapshot's level without quantity
FEED_TOO_LARGE: Final = 7
FEED_CHECKSUM: Final = 8
FEED_CROSSED: Final = 9

# One subscription: the book, and what its text is measured in.
FEED_BOOK: Final = np.dtype(
    [
        ("book", BOOK),
        ("sym", "<i8"),
        ("depth", "<i8"),  # levels a side, 0 keeps all
        ("price_precision", "<i8"),
        ("qty_precision", "<i8"),
        ("tick_num", "<i8"),
        ("lot_num", "<i8"),
        ("synced", "<i8"),  # a snapshot came and nothing was lost since
        ("ts_last", "<i8"),  # receive time of the last message that was applied
    ]
)

_PRICE_KEY: Final = np.frombuffer(b'{"price":', np.uint8).astype(np.int64)
_QTY_KEY: Final = np.frombuffer(b',"qty":', np.uint8).astype(np.int64)
_DIGITS_MAX: Final = 18  # that surely fit an int64


@kernel
def _is_key(text, i, key):
    """Does `key` (int64[]) stand at position `i` of `text`?"""
    if i + len(key) > len(text):
        return False
    for k in range(len(key)):
        if np.int64(text[i + k]) != key[k]:
            return False
    return True


@kernel
def read_steps(text, i, precision, step_num):
    """Read the plain decimal at position `i` as whole steps.

    text : bytes; precision, step_num : int64, a step is step_num x 10^-precision
    returns steps, i_end, reason : int64; FEED_OK, FEED_SHAPE (no digits), FEED_NEGATIVE,
        FEED_OFF_GRID or FEED_TOO_LARGE
    """
    n = len(text)
    if i < n and np.int64(text[i]) == 45:  # minus
        return 0, i, FEED_NEGATIVE
    value = 0
    n_digits = 0
    start = i
    while i < n:
        digit = np.int64(text[i]) - 48
        if digit < 0 or digit > 9:
            break
        value = value * 10 + digit
        if value > 0:
            n_digits += 1
            if n_digits > _DIGITS_MAX:
                return 0, i, FEED_TOO_LARGE
        i += 1
    if i == start:
        return 0, i, FEED_SHAPE
    n_decimals = 0
    off_grid = False
    if i < n and np.int64(text[i]) == 46:  # point
        i += 1
        start = i
        while i < n:
            digit = np.int64(text[i]) - 48
            if digit < 0 or digit > 9:
                break
            if n_decimals < precision:
                value = value * 10 + digit
                n_decimals += 1
                if value > 0:
                    n_digits += 1
                    if n_digits > _DIGITS_MAX:
                        return 0, i, FEED_TOO_LARGE
            elif digit != 0:
                off_grid = True
            i += 1
        if i == start:
            return 0, i, FEED_SHAPE
    if value > 0 and n_digits + precision - n_decimals > _DIGITS_MAX:
        return 0, i, FEED_TOO_LARGE
    if value > 0:
        for _ in range(precision - n_decimals):
            value *= 10
    if step_num != 1:
        steps = value // step_num
        if steps * step_num != value:
            off_grid = True
        value = steps
    if off_grid:
        return 0, i, FEED_OFF_GRID
    return value, i, FEED_OK


@kernel
def _read_levels(text, state, side, snapshot, rows, n):
    """Append the levels of one side to `rows` from position `n` on; price, qty and side only.

    returns n, reason : int64; with a reason, n is the level that it is about
    """
    end = len(text)
    if end < 2 or np.int64(text[0]) != 91 or np.int64(text[end - 1]) != 93:  # brackets
        return n, FEED_SHAPE
    i = 1
    while i < end - 1:
        if not _is_key(text, i, _PRICE_KEY):
            return n, FEED_SHAPE
        price, i, reason = read_steps(
            text, i + len(_PRICE_KEY), state["price_precision"], state["tick_num"]
        )
        if reason != FEED_OK:
            return n, reason
        if not _is_key(text, i, _QTY_KEY):
            return n, FEED_SHAPE
        qty, i, reason = read_steps(
            text, i + len(_QTY_KEY), state["qty_precision"], state["lot_num"]
        )
        if reason != FEED_OK:
            return n, reason
        if np.int64(text[i]) != 125:  # closing brace; the last byte is a bracket, so i is inside
            return n, FEED_SHAPE
        i += 1
        if i < end - 1:
            if np.int64(text[i]) != 44 or i == end - 2:  # comma, and a level after it
                return n, FEED_SHAPE
            i += 1
        if price == 0 or (snapshot and qty == 0):
            return n, FEED_ZERO
        if price > PRICE_MAX or qty > FEED_QTY_MAX:
            return n, FEED_TOO_LARGE
        if n == len(rows):
            return n, FEED_FULL
        rows[n]["side"] = side
        rows[n]["price"] = price
        rows[n]["qty"] = qty
        n += 1
    return n, FEED_OK


@kernel
def feed_message(states, bids, asks, snapshot, crc, verify, ts, ts_venue, rows, at):
    """Take one book message: check it whole, apply it, and write its events.

    states : FEED_BOOK[1], changed in place; bids, asks : bytes, the arrays of levels as JSON text
    snapshot, verify : bool; crc : int64, the stated checksum, -1 if there is none
    ts, ts_venue : int64, ns
    rows : EVENT[], written from row `at` < len(rows) on; without FEED_OK only scratch
    returns n, reason, found : int64; n events with FEED_OK; else the level that the reason is
        about. found is the checksum that the book gives, -1 where it was not computed
    """
    state = states[0]
    if not snapshot and state["synced"] == 0:
        return 0, FEED_WAITING, -1
    end, reason = _read_levels(bids, state, BUY, snapshot, rows, at)
    if reason == FEED_OK:
        end, reason = _read_levels(asks, state, SELL, snapshot, rows, end)
    n = end - at
    if reason != FEED_OK:
        if reason != FEED_SHAPE and reason != FEED_FULL:
            state["synced"] = 0
        return n, reason, -1
    book = state["book"]
    if snapshot:
        book_clear(book)
    for k in range(at, end):
        i_side = 0 if rows[k]["side"] > 0 else 1
        book_set(book, i_side, rows[k]["price"], rows[k]["qty"])
    # Kraken drops levels beyond the depth without telling us.
    book_truncate(book, state["depth"])
    flags = SNAPSHOT if snapshot else 0
    found = -1
    closing = flags | LAST
    if crc >= 0:
        closing |= CHECKSUM
        if verify:
            found = crc32_book(book, state["tick_num"], state["lot_num"])
            if found != crc:
                state["synced"] = 0
                return n, FEED_CHECKSUM, found
            closing |= VERIFIED
    if book_crossed(book):
        state["synced"] = 0
        return n, FEED_CROSSED, found
    state["synced"] = 1
    state["ts_last"] = ts
    if n == 0:
        rows[at]["price"] = 0
        rows[at]["qty"] = 0
        rows[at]["side"] = 0
        end = at + 1
    for k in range(at, end):
        row = rows[k]
        row["ts"] = ts
        row["ts_venue"] = ts_venue
        row["seq"] = 0
        row["id"] = 0
        row["aux"] = 0
        row["sym"] = state["sym"]
        row["kind"] = BOOK_LEVEL
        row["flags"] = flags
    last = rows[end - 1]
    last["flags"] = closing
    if crc >= 0:
        last["aux"] = crc
    if n == 0:
        last["kind"] = MESSAGE_END
        last["id"] = BOOK_LEVEL
    return end - at, FEED_OK, found
