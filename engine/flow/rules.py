"""May this row stand in a log? The rules that every writer of events holds, in one place.

The event log, the cold store and its check all ask here, so that nothing can be written by one
and refused by another. Left out: what needs memory of a market (crossed books, checksums), which
engine/flow/replay_check.py answers.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.events import (
    ALL_FLAGS,
    BOOK_LEVEL,
    BUY,
    CANDLE,
    CHECKSUM,
    EPOCH,
    EPOCH_CLOSED,
    FAILED,
    GAP,
    GAP_BACKWARDS,
    INSTRUMENT,
    KIND_NAMES,
    L3_ADD,
    L3_DELETE,
    LAST,
    MESSAGE_END,
    RESYNC,
    SELL,
    SYSTEM_STATUS,
    TICKER,
    TICKER_HIGH,
    TRADE,
    VERIFIED,
)
from engine.instruments import FEED_QTY_MAX, PRICE_MAX, STATUS_DELISTED
from engine.jit import kernel

RULE_OK: Final = 0
RULE_KIND: Final = 1
RULE_FLAGS: Final = 2
RULE_SYMBOL: Final = 3
RULE_SIDE: Final = 4
RULE_TIME_RANGE: Final = 5
RULE_TIME_ORDER: Final = 6
RULE_SEQ_ORDER: Final = 7
RULE_PRICE: Final = 8
RULE_QTY: Final = 9
RULE_CODE: Final = 10
RULE_CHECKSUM: Final = 11
RULE_VERDICT: Final = 12

# rule: (field that broke it, what is wrong, what to do)
RULES: Final[dict[int, tuple[str, str, str]]] = {
    RULE_KIND: (
        "kind",
        "is not a kind of event",
        "engine/events.py lists the kinds; the source may be of a newer version.",
    ),
    RULE_FLAGS: (
        "flags",
        "has bits that no flag owns",
        "engine/events.py lists the flags; the source may be of a newer version.",
    ),
    RULE_SYMBOL: (
        "sym",
        "is not a row of the instrument table",
        "Add the instrument to the table, or use -1 for an event about no instrument.",
    ),
    RULE_SIDE: (
        "side",
        "is not a side that this kind may have",
        "Use BUY (1) or SELL (-1); 0 only where no side can be known.",
    ),
    RULE_TIME_RANGE: (
        "ts",
        "is not between 2001 and 2096 in nanoseconds",
        "The source may count seconds, milliseconds or microseconds: convert to nanoseconds.",
    ),
    RULE_TIME_ORDER: (
        "ts",
        "is before the event that precedes it",
        "Sort the source, or let the writer put a gap there (on_backwards='gap').",
    ),
    RULE_SEQ_ORDER: (
        "seq",
        "does not come after the event that precedes it",
        "Write events in the order of their sequence, or let the writer number them.",
    ),
    RULE_PRICE: (
        "price",
        "is not a price in ticks (1 to 2^40)",
        "The source row is damaged, or its price was not converted to ticks.",
    ),
    RULE_QTY: (
        "qty",
        "is not a quantity in lots (0 to 2^60)",
        "The source row is damaged, or its quantity was not converted to lots.",
    ),
    RULE_CODE: (
        "id/aux",
        "is not a code that this kind may hold",
        "FIELDS_OF_KIND in engine/events.py says what each field holds.",
    ),
    RULE_CHECKSUM: (
        "aux",
        "is not an unsigned 32-bit checksum",
        "Only a record whose aux is the checksum may carry the flag CHECKSUM.",
    ),
    RULE_VERDICT: (
        "flags",
        "claims a verdict on a checksum that contradicts itself or is not there",
        "VERIFIED and FAILED exclude each other and both need CHECKSUM.",
    ),
}

TS_MIN: Final = 1_000_000_000_000_000_000  # 2001-09-09; the same count of seconds never passes
TS_MAX: Final = 4_000_000_000_000_000_000  # 2096-10-02

_KINDS: Final = np.zeros(128, np.int64)
_KINDS[list(KIND_NAMES)] = 1


@kernel
def _rule_of_market_row(row, kind, side, sym):
    """The first rule that a market data row breaks, beside those that hold for every kind."""
    price = row["price"]
    qty = row["qty"]
    if kind == BOOK_LEVEL or kind == TRADE or L3_ADD <= kind <= L3_DELETE:
        if sym < 0:
            return RULE_SYMBOL
        if side == 0 and kind != TRADE:
            return RULE_SIDE
        if price < 1 or price > PRICE_MAX:
            return RULE_PRICE
        if qty < 0 or qty > FEED_QTY_MAX or (qty == 0 and kind == L3_ADD):
            return RULE_QTY
    elif kind == TICKER or kind == CANDLE:
        if sym < 0:
            return RULE_SYMBOL
        if price < 0 or price > PRICE_MAX:
            return RULE_PRICE
        if qty < 0 or qty > FEED_QTY_MAX:
            return RULE_QTY
        if kind == TICKER and (row["id"] < 1 or row["id"] > TICKER_HIGH):
            return RULE_CODE
    elif kind == MESSAGE_END:
        closes = row["id"]
        if sym < 0:
            return RULE_SYMBOL
        if closes < 1 or closes > CANDLE or closes == MESSAGE_END:
            return RULE_CODE
    elif kind == INSTRUMENT or kind == SYSTEM_STATUS:
        if kind == INSTRUMENT and sym < 0:
            return RULE_SYMBOL
        if row["aux"] < 0 or row["aux"] > STATUS_DELISTED:
            return RULE_CODE
    elif kind == GAP or kind == RESYNC:
        if row["id"] < 1 or row["id"] > GAP_BACKWARDS:
            return RULE_CODE
    elif kind == EPOCH and (row["aux"] < 1 or row["aux"] > EPOCH_CLOSED):
        return RULE_CODE
    return RULE_OK


@kernel
def first_broken_rule(rows, n_symbols, ts_last, seq_last, ts_min, ts_max):
    """Find the first row that may not follow the ones before it.

    rows : EVENT[n]
    n_symbols : int64, rows of the instrument table
    ts_last, seq_last : int64, of the event before rows[0]
    ts_min, ts_max : int64, ns, bounds of a believable stamp
    returns i, rule : int64, the row and one of RULE_*; (n, RULE_OK) if all may stand
    """
    for i in range(len(rows)):
        row = rows[i]
        ts = row["ts"]
        seq = row["seq"]
        sym = np.int64(row["sym"])
        kind = np.int64(row["kind"])
        side = np.int64(row["side"])
        flags = np.int64(row["flags"])
        if kind < 0 or _KINDS[kind] == 0:
            return i, RULE_KIND
        if flags < 0 or flags > ALL_FLAGS:
            return i, RULE_FLAGS
        if sym < -1 or sym >= n_symbols:
            return i, RULE_SYMBOL
        if side < SELL or side > BUY:
            return i, RULE_SIDE
        if ts < ts_min or ts > ts_max:
            return i, RULE_TIME_RANGE
        if ts < ts_last:
            return i, RULE_TIME_ORDER
        if seq <= seq_last:
            return i, RULE_SEQ_ORDER
        rule = _rule_of_market_row(row, kind, side, sym)
        if rule != RULE_OK:
            return i, rule
        if flags & CHECKSUM:
            if row["aux"] < 0 or row["aux"] > 0xFFFFFFFF:
                return i, RULE_CHECKSUM
            if flags & VERIFIED and flags & FAILED:
                return i, RULE_VERDICT
        elif flags & (VERIFIED | FAILED):
            return i, RULE_VERDICT
        ts_last = ts
        seq_last = seq
    return len(rows), RULE_OK


@kernel
def first_torn_message(rows, open_):
    """Find a row that stands inside a book or level 3 message without belonging to it.

    rows : EVENT[n]
    open_ : int64[3], kept from call to call: 1 if a message is open, its sym, 1 for level 3
    returns int64: the row, or n
    """
    for i in range(len(rows)):
        row = rows[i]
        kind = np.int64(row["kind"])
        sym = np.int64(row["sym"])
        closes = row["id"] if kind == MESSAGE_END else kind
        is_level3 = L3_ADD <= closes <= L3_DELETE
        is_book = is_level3 or closes == BOOK_LEVEL
        if open_[0] != 0 and (not is_book or sym != open_[1] or is_level3 != (open_[2] != 0)):
            return i
        if is_book:
            open_[0] = 0 if np.int64(row["flags"]) & LAST else 1
            open_[1] = sym
            open_[2] = 1 if is_level3 else 0
    return len(rows)


def describe_broken_rule(rule: int, row: np.void) -> tuple[str, str]:
    """What is wrong with `row`, with its values, and what to do. For error messages."""
    field, wrong, hint = RULES[rule]
    values = ", ".join(f"{name} {int(row[name])}" for name in field.split("/"))
    kind = KIND_NAMES.get(int(row["kind"]), "unknown kind")
    return f"{values} of a {kind} event (seq {int(row['seq'])}) {wrong}", hint
