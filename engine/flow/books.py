"""Do the book messages of a stream hold together? Follows every book, checks checksum and crossing.

For whoever writes or checks a capture: the core and the venue keep their own books. A book counts
as *trusted* from a snapshot to the next gap; only a trusted book can be called crossed. A checksum
that the capture calls verified or failed is computed again, whatever the trust. Left out: single
orders (adapters/parquet/check.py) and the rules of a row (engine/flow/rules.py).
"""

# mypy: allow-untyped-defs, allow-incomplete-defs
# Kernels: numba types them from their arguments.

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from engine.book import (
    BOOK,
    book_best,
    book_clear,
    book_crossed,
    book_set,
    book_truncate,
    side_index,
)
from engine.checksum import crc32_book
from engine.events import (
    BOOK_LEVEL,
    CHECKSUM,
    FAILED,
    GAP,
    LAST,
    MESSAGE_END,
    RESYNC,
    SNAPSHOT,
    VERIFIED,
)
from engine.instruments import InstrumentTable
from engine.jit import kernel

FINE: Final = 0
CROSSED: Final = 1  # found = best bid, expected = best ask
CHECKSUM_WRONG: Final = 2  # called verified (or not called anything), but it does not match
CHECKSUM_RIGHT: Final = 3  # called failed, but it matches

BOOK_STATE: Final = np.dtype(
    [
        ("book", BOOK),
        ("depth", "<i8"),  # levels a side of the subscription, 0 = all
        ("tick_num", "<i8"),
        ("lot_num", "<i8"),
        ("trusted", "<i8"),
        ("open", "<i8"),  # in the middle of a message
        ("n_crossed", "<i8"),  # messages that left a trusted book crossed
    ]
)


class Books(NamedTuple):
    """The books of one stream. `slot[sym]` is the row of `states`, -1 for no book."""

    states: np.ndarray
    slot: np.ndarray


def make_books(instruments: InstrumentTable, depths: Mapping[str, int]) -> Books:
    """Empty books for the symbols of `depths` (symbol -> levels a side, 0 = the whole book)."""
    states = np.zeros(max(len(depths), 1), BOOK_STATE)
    slot = np.full(len(instruments) + 1, -1, np.int64)
    for i, (symbol, depth) in enumerate(depths.items()):
        row = instruments[symbol].row()
        slot[instruments.index(symbol)] = i
        states[i]["depth"] = depth
        states[i]["tick_num"], states[i]["lot_num"] = row["tick_num"], row["lot_num"]
    return Books(states, slot)


@kernel
def _distrust(states, i):
    """A gap of one book, or of all (i < 0)."""
    if i >= 0:
        states[i]["trusted"] = 0
        return
    for k in range(len(states)):
        states[k]["trusted"] = 0


@kernel
def follow_books(books, rows, start, with_checksums):
    """Apply rows[start:] to their books; stop at the first message that does not hold together.

    books : Books, changed in place; rows : EVENT[n]
    with_checksums : bool, compute them; costs several times the rest
    returns i, finding, expected, found : int64; i is the row that closed the message (go on at
        i + 1), or n with FINE. For a checksum: what the capture states, what the book gives.
    """
    states = books.states
    slot = books.slot
    for i in range(start, len(rows)):
        row = rows[i]
        kind = np.int64(row["kind"])
        sym = np.int64(row["sym"])
        if kind in (GAP, RESYNC):
            if sym < 0:
                _distrust(states, -1)
            elif slot[sym] >= 0:
                _distrust(states, slot[sym])
            continue
        if kind != BOOK_LEVEL and not (kind == MESSAGE_END and row["id"] == BOOK_LEVEL):
            continue
        if sym < 0 or slot[sym] < 0:
            continue
        state = states[slot[sym]]
        book = state["book"]
        flags = np.int64(row["flags"])
        if state["open"] == 0:
            state["open"] = 1
            if flags & SNAPSHOT:
                book_clear(book)
                state["trusted"] = 1
        if kind == BOOK_LEVEL:
            book_set(book, side_index(np.int64(row["side"])), row["price"], row["qty"])
        if not flags & LAST:
            continue
        state["open"] = 0
        book_truncate(book, state["depth"])
        if flags & FAILED:
            state["trusted"] = 0
        if with_checksums and flags & CHECKSUM:
            found = crc32_book(book, state["tick_num"], state["lot_num"])
            if flags & FAILED:
                if found == row["aux"]:
                    return i, CHECKSUM_RIGHT, row["aux"], found
            elif found != row["aux"] and (flags & VERIFIED or state["trusted"] != 0):
                return i, CHECKSUM_WRONG, row["aux"], found
        if state["trusted"] != 0 and book_crossed(book):
            state["n_crossed"] += 1
            return i, CROSSED, book_best(book, 1), book_best(book, 0)
    return len(rows), FINE, 0, 0
