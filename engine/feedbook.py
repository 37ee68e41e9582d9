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

from engine.book import (
    BOOK,
    book_clear,
    book_crossed,
    book_set,
    book_top,
    book_truncate,
)
from engine.checksum import CHECKSUM_DEPTH, crc32_final, crc32_init, crc32_integer
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
FEED_REASONS: Final = 16  # more than there are

MODE_SNAPSHOT: Final = 1
MODE_VERIFY: Final = 2  # compute the checksum

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
        ("found", "<i8"),  # checksum that the book gave at the last message, -1 if not computed
        ("n_verified", "<i8"),  # checksums that matched
        # What the last checksum was made of, by side and level: most messages leave the best
        # levels as they were, and the text that begins the same has the same state after it.
        ("n_top", "<i8", (2,)),
        ("top_price", "<i8", (2, CHECKSUM_DEPTH)),
        ("top_qty", "<i8", (2, CHECKSUM_DEPTH)),
        ("top_crc", "<i8", (2, CHECKSUM_DEPTH)),  # state after this level
        ("asks_crc", "<i8"),  # state before the first bid
        ("price", "<i8", (CHECKSUM_DEPTH,)),  # scratch
        ("qty", "<i8", (CHECKSUM_DEPTH,)),
    ]
)


def _codes(text: bytes) -> np.ndarray:
    return np.frombuffer(text, np.uint8).astype(np.int64)


_PRICE_KEY: Final = _codes(b'{"price":')
_QTY_KEY: Final = _codes(b',"qty":')
_UPDATE_KEY: Final = _codes(b'{"channel":"book","type":"update","data":[{"symbol":"')
_BIDS_KEY: Final = _codes(b',"bids":')
_ASKS_KEY: Final = _codes(b',"asks":')
_CRC_KEY: Final = _codes(b',"checksum":')
_TIME_KEY: Final = _codes(b',"timestamp":"')
_END: Final = _codes(b"}]}")
_QUOTE: Final = 34
_COMMA: Final = 44
_MINUS: Final = 45
_POINT: Final = 46
_ZERO: Final = 48
_OPEN: Final = 91  # brackets of an array
_CLOSE: Final = 93
_BRACE: Final = 125
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
    returns steps, i_end, reason : int64; FEED_OK, FEED_SHAPE (not a plain JSON number),
        FEED_NEGATIVE, FEED_OFF_GRID or FEED_TOO_LARGE
    """
    n = len(text)
    if i < n and np.int64(text[i]) == _MINUS:
        return 0, i, FEED_NEGATIVE
    value = 0
    n_digits = 0
    start = i
    while i < n:
        digit = np.int64(text[i]) - _ZERO
        if digit < 0 or digit > 9:
            break
        if value > 0 or digit > 0:
            n_digits += 1
            if n_digits > _DIGITS_MAX:
                return 0, i, FEED_TOO_LARGE
        value = value * 10 + digit
        i += 1
    if i == start or (i - start > 1 and np.int64(text[start]) == _ZERO):
        return 0, i, FEED_SHAPE
    n_decimals = 0
    off_grid = False
    if i < n and np.int64(text[i]) == _POINT:
        i += 1
        start = i
        while i < n:
            digit = np.int64(text[i]) - _ZERO
            if digit < 0 or digit > 9:
                break
            if n_decimals < precision:
                n_decimals += 1
                if value > 0 or digit > 0:
                    n_digits += 1
                    if n_digits > _DIGITS_MAX:
                        return 0, i, FEED_TOO_LARGE
                value = value * 10 + digit
            elif digit != 0:
                off_grid = True
            i += 1
        if i == start:
            return 0, i, FEED_SHAPE
    if value > 0:
        if n_digits + precision - n_decimals > _DIGITS_MAX:
            return 0, i, FEED_TOO_LARGE
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
def _read_levels(text, i, state, side, snapshot, rows, n):
    """Read the array of levels at position `i`; append side, price and qty to `rows` from `n` on.

    returns n, i_end, reason : int64; with a reason, n is the row that it is about
    """
    end = len(text)
    if i + 2 > end or np.int64(text[i]) != _OPEN:
        return n, i, FEED_SHAPE
    i += 1
    if np.int64(text[i]) == _CLOSE:
        return n, i + 1, FEED_OK
    while True:
        if not _is_key(text, i, _PRICE_KEY):
            return n, i, FEED_SHAPE
        price, i, reason = read_steps(
            text, i + len(_PRICE_KEY), state["price_precision"], state["tick_num"]
        )
        if reason != FEED_OK:
            return n, i, reason
        if not _is_key(text, i, _QTY_KEY):
            return n, i, FEED_SHAPE
        qty, i, reason = read_steps(
            text, i + len(_QTY_KEY), state["qty_precision"], state["lot_num"]
        )
        if reason != FEED_OK:
            return n, i, reason
        if i + 2 > end or np.int64(text[i]) != _BRACE:
            return n, i, FEED_SHAPE
        if price == 0 or (snapshot and qty == 0):
            return n, i, FEED_ZERO
        if price > PRICE_MAX or qty > FEED_QTY_MAX:
            return n, i, FEED_TOO_LARGE
        if n == len(rows):
            return n, i, FEED_FULL
        rows[n]["side"] = side
        rows[n]["price"] = price
        rows[n]["qty"] = qty
        n += 1
        after = np.int64(text[i + 1])
        i += 2
        if after == _CLOSE:
            return n, i, FEED_OK
        if after != _COMMA:
            return n, i, FEED_SHAPE


@kernel
def _two_digits(text, i):
    """The number of two digits at position `i`, -1 if they are none."""
    tens = np.int64(text[i]) - _ZERO
    ones = np.int64(text[i + 1]) - _ZERO
    if tens < 0 or tens > 9 or ones < 0 or ones > 9:
        return -1
    return tens * 10 + ones


@kernel
def read_time(text, i):
    """Read `2026-01-05T10:00:01.541105Z` at position `i`, with 1 to 9 decimals, 1970 to 2099.

    returns ns, i_end : int64; ns since the epoch, -1 for a time of another form or year
    """
    if i + 21 > len(text):
        return -1, i
    century = _two_digits(text, i)
    year = _two_digits(text, i + 2)
    month = _two_digits(text, i + 5)
    day = _two_digits(text, i + 8)
    hour = _two_digits(text, i + 11)
    minute = _two_digits(text, i + 14)
    second = _two_digits(text, i + 17)
    if min(century, year, month, day, hour, minute, second) < 0:
        return -1, i
    if np.int64(text[i + 4]) != _MINUS or np.int64(text[i + 7]) != _MINUS:
        return -1, i
    if np.int64(text[i + 10]) != 84 or np.int64(text[i + 19]) != _POINT:  # T
        return -1, i
    if np.int64(text[i + 13]) != 58 or np.int64(text[i + 16]) != 58:  # colons
        return -1, i
    year += century * 100
    if year < 1970 or year > 2099 or month < 1 or month > 12 or day < 1:
        return -1, i
    leap = 1 if year % 4 == 0 else 0  # from 1970 to 2099 that is the whole rule
    last_day = 30 + ((month + month // 8) & 1)
    if month == 2:
        last_day = 28 + leap
    if day > last_day or hour > 23 or minute > 59 or second > 59:
        return -1, i
    # Years from March on, so that the leap day comes last. Hinnant, "days_from_civil"; -15 are the
    # centuries without a leap day, the same number from 1970 to 2099.
    if month < 3:
        year -= 1
    days = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days += 365 * year + year // 4 - 15 - 719_468
    ns = ((days * 24 + hour) * 60 + minute) * 60 + second
    i += 20
    start = i
    while i < len(text) and i - start <= 9:
        digit = np.int64(text[i]) - _ZERO
        if digit < 0 or digit > 9:
            break
        ns = ns * 10 + digit
        i += 1
    if i == start or i - start > 9 or i == len(text) or np.int64(text[i]) != 90:  # Z
        return -1, i
    for _ in range(9 - (i - start)):
        ns *= 10
    return ns, i + 1


@kernel
def _crc_side(state, i_side, crc, resume):
    """The state of the checksum after one more side, from `crc` before it.

    resume : bool, the side was hashed from the same state the last time
    """
    price = state["price"]
    qty = state["qty"]
    top_price = state["top_price"][i_side]
    top_qty = state["top_qty"][i_side]
    top_crc = state["top_crc"][i_side]
    n = book_top(state["book"], i_side, CHECKSUM_DEPTH, price, qty)
    k = 0
    if resume:
        most = min(n, state["n_top"][i_side])
        while k < most and price[k] == top_price[k] and qty[k] == top_qty[k]:
            k += 1
        if k > 0:
            crc = top_crc[k - 1]
    while k < n:
        crc = crc32_integer(crc, price[k] * state["tick_num"])
        crc = crc32_integer(crc, qty[k] * state["lot_num"])
        top_price[k] = price[k]
        top_qty[k] = qty[k]
        top_crc[k] = crc
        k += 1
    state["n_top"][i_side] = n
    return crc


@kernel
def _checksum(state):
    """As crc32_book, without hashing again what stands in front of the first change."""
    asks_crc = _crc_side(state, 1, crc32_init(), True)
    crc = _crc_side(state, 0, asks_crc, asks_crc == state["asks_crc"])
    state["asks_crc"] = asks_crc
    return crc32_final(crc)


@kernel
def _apply(state, snapshot, crc, verify, rows, at, end):
    """Apply the levels in rows[at:end]; returns why the book may not be believed now, or FEED_OK."""
    book = state["book"]
    if snapshot:
        book_clear(book)
    for k in range(at, end):
        i_side = 0 if rows[k]["side"] > 0 else 1
        book_set(book, i_side, rows[k]["price"], rows[k]["qty"])
    # Kraken drops levels beyond the depth without telling us.
    book_truncate(book, state["depth"])
    if crc >= 0 and verify:
        state["found"] = _checksum(state)
        if state["found"] != crc:
            return FEED_CHECKSUM
        state["n_verified"] += 1
    if book_crossed(book):
        return FEED_CROSSED
    return FEED_OK


@kernel
def _write(state, flags, crc, ts, ts_venue, rows, at, end):
    """Complete the rows of a message that was applied; returns how many there are."""
    state["synced"] = 1
    state["ts_last"] = ts
    kind = BOOK_LEVEL
    closes = 0
    if end == at:
        rows[at]["price"] = 0
        rows[at]["qty"] = 0
        rows[at]["side"] = 0
        kind = MESSAGE_END
        closes = BOOK_LEVEL
        end = at + 1
    for k in range(at, end):
        row = rows[k]
        row["ts"] = ts
        row["ts_venue"] = ts_venue
        row["seq"] = 0
        row["id"] = closes
        row["aux"] = 0
        row["sym"] = state["sym"]
        row["kind"] = kind
        row["flags"] = flags
    last = rows[end - 1]
    flags |= LAST
    if crc >= 0:
        last["aux"] = crc
        flags |= CHECKSUM
        if state["found"] >= 0:
            flags |= VERIFIED
    last["flags"] = flags
    return end - at


@kernel
def feed_message(states, bids, asks, mode, crc, ts, ts_venue, rows, at):
    """Take one book message: check it whole, apply it, and write its events.

    states : FEED_BOOK[1], changed in place; bids, asks : bytes, the arrays of levels as JSON text
    mode : int64, MODE_SNAPSHOT and MODE_VERIFY together; crc : int64, the stated checksum, -1 if
        there is none
    ts, ts_venue : int64, ns
    rows : EVENT[], written from row `at` < len(rows) on; without FEED_OK only scratch
    returns int64, n * FEED_REASONS + reason: one number costs half of what two do. n events with
        FEED_OK, else the level that the reason is about
    """
    state = states[0]
    snapshot = mode & MODE_SNAPSHOT != 0
    state["found"] = -1
    if not snapshot and state["synced"] == 0:
        return FEED_WAITING
    end, i, reason = _read_levels(bids, 0, state, BUY, snapshot, rows, at)
    if reason == FEED_OK and i != len(bids):
        reason = FEED_SHAPE
    if reason == FEED_OK:
        end, i, reason = _read_levels(asks, 0, state, SELL, snapshot, rows, end)
        if reason == FEED_OK and i != len(asks):
            reason = FEED_SHAPE
    if reason == FEED_SHAPE or reason == FEED_FULL:
        return (end - at) * FEED_REASONS + reason
    if reason == FEED_OK:
        reason = _apply(state, snapshot, crc, mode & MODE_VERIFY != 0, rows, at, end)
    if reason != FEED_OK:
        state["synced"] = 0
        return (end - at) * FEED_REASONS + reason
    flags = SNAPSHOT if snapshot else 0
    return _write(state, flags, crc, ts, ts_venue, rows, at, end) * FEED_REASONS


@kernel
def feed_frame(states, frame, i, mode, ts, rows, at):
    """Take one update as a whole frame, of which the caller has looked up the symbol.

    As `feed_message` for the one order of fields that the venue uses. Anything else, every number
    that is not right included, is FEED_SHAPE and changes nothing: the slow road says what it is.

    frame : bytes; i : int64, the quote that closes the symbol; the rest as for `feed_message`
    returns int64, n * FEED_REASONS + reason; FEED_OK, FEED_WAITING, FEED_SHAPE, FEED_CHECKSUM or
        FEED_CROSSED
    """
    state = states[0]
    if i < len(_UPDATE_KEY) or i >= len(frame) or np.int64(frame[i]) != _QUOTE:
        return FEED_SHAPE
    if not _is_key(frame, 0, _UPDATE_KEY) or not _is_key(frame, i + 1, _BIDS_KEY):
        return FEED_SHAPE
    i += 1 + len(_BIDS_KEY)
    end, i, reason = _read_levels(frame, i, state, BUY, False, rows, at)
    if reason != FEED_OK or not _is_key(frame, i, _ASKS_KEY):
        return FEED_SHAPE
    i += len(_ASKS_KEY)
    end, i, reason = _read_levels(frame, i, state, SELL, False, rows, end)
    if reason != FEED_OK or not _is_key(frame, i, _CRC_KEY):
        return FEED_SHAPE
    crc, i, reason = read_steps(frame, i + len(_CRC_KEY), 0, 1)
    if reason != FEED_OK or crc > 0xFFFFFFFF or not _is_key(frame, i, _TIME_KEY):
        return FEED_SHAPE
    ts_venue, i = read_time(frame, i + len(_TIME_KEY))
    if ts_venue < 0 or i >= len(frame) or np.int64(frame[i]) != _QUOTE:
        return FEED_SHAPE
    i += 1
    if not _is_key(frame, i, _END) or i + len(_END) != len(frame):
        return FEED_SHAPE
    if state["synced"] == 0:
        return FEED_WAITING
    state["found"] = -1
    reason = _apply(state, False, crc, mode & MODE_VERIFY != 0, rows, at, end)
    if reason != FEED_OK:
        state["synced"] = 0
        return reason
    return _write(state, 0, crc, ts, ts_venue, rows, at, end) * FEED_REASONS
