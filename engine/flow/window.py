"""What would a subscription of depth N have sent, where a recording holds the whole book?

A venue that serves N levels sends changes inside the best N, fills up at the far edge when a level
leaves, and sends nothing for a level that an insertion pushed out: its client cuts. This filter
makes that stream from a full-depth one, so that the core and the venue see the same kind of feed
everywhere. What is not a price level passes through untouched. Left out: checksums, which the
venue would have computed over its own book.

The whole book stands in sorted arrays, the best level last, so that a change near the touch moves
few elements. A price is a key that is smaller when better, as in engine/book.py.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs
# Kernels: numba types them from their arguments.

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np

from engine.errors import InvariantError
from engine.events import (
    BOOK_LEVEL,
    DERIVED,
    EVENT,
    LAST,
    MESSAGE_END,
    SNAPSHOT,
    empty,
)
from engine.jit import kernel

DONE: Final = 0
NO_ROOM: Final = 1  # `out` may not hold what the next event gives
FULL: Final = 2  # the next event needs more levels than the arrays have


class WindowState(NamedTuple):
    """Arrays of one filter, int64; `n` symbols, `capacity` levels a side, window of `depth`."""

    key: np.ndarray  # [n, 2, capacity] the whole book, best level last
    qty: np.ndarray  # [n, 2, capacity] lots
    n_levels: np.ndarray  # [n, 2]
    sent_key: np.ndarray  # [n, 2, depth] what the client holds, best level first
    sent_qty: np.ndarray  # [n, 2, depth]
    n_sent: np.ndarray  # [n, 2]
    dirty: np.ndarray  # [n, 2] something inside the window changed in the open message
    in_snapshot: np.ndarray  # [n] a snapshot message is open
    on: np.ndarray  # [n] 1: this symbol's book is filtered; 0: it passes through


def make_window(n_symbols: int, depth: int, capacity: int = 1024) -> WindowState:
    """Empty books, all of them filtered."""
    return WindowState(
        key=np.zeros((n_symbols, 2, capacity), np.int64),
        qty=np.zeros((n_symbols, 2, capacity), np.int64),
        n_levels=np.zeros((n_symbols, 2), np.int64),
        sent_key=np.zeros((n_symbols, 2, depth), np.int64),
        sent_qty=np.zeros((n_symbols, 2, depth), np.int64),
        n_sent=np.zeros((n_symbols, 2), np.int64),
        dirty=np.zeros((n_symbols, 2), np.int64),
        in_snapshot=np.zeros(n_symbols, np.int64),
        on=np.ones(n_symbols, np.int64),
    )


@kernel
def _position(keys, n, key):
    """How many of the `n` levels, worst first, are worse than `key`."""
    lo = 0
    hi = n
    while lo < hi:
        middle = (lo + hi) >> 1
        if keys[middle] > key:
            lo = middle + 1
        else:
            hi = middle
    return lo


@kernel
def _set_level(keys, qtys, n, key, qty):
    """Set one level of a side that has room for it; returns the new number of levels."""
    at = _position(keys, n, key)
    if at < n and keys[at] == key:
        if qty != 0:
            qtys[at] = qty
            return n
        for i in range(at + 1, n):
            keys[i - 1] = keys[i]
            qtys[i - 1] = qtys[i]
        return n - 1
    if qty == 0:
        return n
    for i in range(n, at, -1):
        keys[i] = keys[i - 1]
        qtys[i] = qtys[i - 1]
    keys[at] = key
    qtys[at] = qty
    return n + 1


@kernel
def _put(out, n_out, closing, i_side, key, qty, flags):
    """Append one level at the stamp of the event that closed the message."""
    out[n_out] = closing
    row = out[n_out]
    row["kind"] = BOOK_LEVEL
    row["side"] = -1 if i_side == 1 else 1
    row["price"] = key if i_side == 1 else -key
    row["qty"] = qty
    row["id"] = 0
    row["aux"] = 0
    row["flags"] = flags
    return n_out + 1


@kernel
def _side_changes(state, sym, i_side, closing, out, n_out, flags):
    """What the client must hear about one side: removals first, then new and changed levels."""
    keys = state.key[sym, i_side]
    qtys = state.qty[sym, i_side]
    n = state.n_levels[sym, i_side]
    sent_key = state.sent_key[sym, i_side]
    sent_qty = state.sent_qty[sym, i_side]
    n_sent = state.n_sent[sym, i_side]
    n_window = min(n, sent_key.shape[0])
    i_new = 0
    for i in range(n_sent):
        while i_new < n_window and keys[n - 1 - i_new] < sent_key[i]:
            i_new += 1
        if i_new < n_window:
            if keys[n - 1 - i_new] != sent_key[i]:
                n_out = _put(out, n_out, closing, i_side, sent_key[i], 0, flags)
        elif n_window < sent_key.shape[0]:
            # Beyond a full window a level was pushed out; the client's cut removes it.
            n_out = _put(out, n_out, closing, i_side, sent_key[i], 0, flags)
    i_old = 0
    for i_new in range(n_window):
        key = keys[n - 1 - i_new]
        qty = qtys[n - 1 - i_new]
        while i_old < n_sent and sent_key[i_old] < key:
            i_old += 1
        known = i_old < n_sent and sent_key[i_old] == key
        if not known or sent_qty[i_old] != qty:
            n_out = _put(out, n_out, closing, i_side, key, qty, flags)
    for i_new in range(n_window):
        sent_key[i_new] = keys[n - 1 - i_new]
        sent_qty[i_new] = qtys[n - 1 - i_new]
    state.n_sent[sym, i_side] = n_window
    return n_out


@kernel
def _close(state, sym, closing, out, n_out):
    """The message is complete: append what the client hears of it, maybe nothing."""
    start = n_out
    snapshot = state.in_snapshot[sym] != 0
    flags = DERIVED
    if snapshot:
        flags = DERIVED | SNAPSHOT
        state.n_sent[sym, 0] = 0
        state.n_sent[sym, 1] = 0
    for i_side in range(2):
        if snapshot or state.dirty[sym, i_side] != 0:
            n_out = _side_changes(state, sym, i_side, closing, out, n_out, flags)
            state.dirty[sym, i_side] = 0
    state.in_snapshot[sym] = 0
    if n_out > start:
        out[n_out - 1]["flags"] = flags | LAST
    elif snapshot:
        out[n_out] = closing
        row = out[n_out]
        row["kind"] = MESSAGE_END
        row["side"] = 0
        row["price"] = 0
        row["qty"] = 0
        row["id"] = BOOK_LEVEL
        row["aux"] = 0
        row["flags"] = flags | LAST
        n_out += 1
    return n_out


@kernel
def window_events(state, events, start, out):
    """Filter `events` from row `start` on into `out`.

    state : WindowState; events : EVENT[n]; out : EVENT[>= 4 x depth + 1]
    returns (next row, rows written, DONE | NO_ROOM | FULL); NO_ROOM and FULL stop before the next
    row: empty `out`, or make the book arrays larger, and go on from there
    """
    capacity = state.key.shape[2]
    depth = state.sent_key.shape[2]
    # A message takes each sent level away and sends a whole window, on both sides.
    most = 4 * depth + 1
    n_out = 0
    for i in range(start, len(events)):
        event = events[i]
        kind = np.int64(event["kind"])
        flags = np.int64(event["flags"])
        sym = np.int64(event["sym"])
        is_book = kind == BOOK_LEVEL or (kind == MESSAGE_END and event["id"] == BOOK_LEVEL)
        if not is_book or state.on[sym] == 0:
            if n_out >= len(out):
                return i, n_out, NO_ROOM
            out[n_out] = event
            n_out += 1
            continue
        if n_out + most > len(out):
            return i, n_out, NO_ROOM
        if flags & SNAPSHOT != 0 and state.in_snapshot[sym] == 0:
            state.in_snapshot[sym] = 1
            state.n_levels[sym, 0] = 0
            state.n_levels[sym, 1] = 0
        if kind == BOOK_LEVEL:
            i_side = 0 if np.int64(event["side"]) > 0 else 1
            n = state.n_levels[sym, i_side]
            if n >= capacity:
                return i, n_out, FULL
            key = event["price"] if i_side == 1 else -event["price"]
            state.n_levels[sym, i_side] = _set_level(
                state.key[sym, i_side], state.qty[sym, i_side], n, key, event["qty"]
            )
            n_sent = state.n_sent[sym, i_side]
            if n_sent < depth or key <= state.sent_key[sym, i_side, n_sent - 1]:
                state.dirty[sym, i_side] = 1
        if flags & LAST != 0:
            n_out = _close(state, sym, event, out, n_out)
    return len(events), n_out, DONE


class DepthWindow:
    """The filter for batches of any size; a message may be split over two.

    n_symbols : rows of the instrument table
    symbols : rows whose book is the whole one; the books of all others pass through
    depth : levels a side of the imitated subscription
    """

    def __init__(self, n_symbols: int, symbols: Iterable[int], depth: int) -> None:
        if depth < 1:
            raise InvariantError(f"a window needs a depth of at least 1, not {depth}.")
        self._state = make_window(n_symbols, depth)
        self._state.on[:] = 0
        self._state.on[list(symbols)] = 1
        # Room for what one message can give, and enough beside it to make few calls.
        self._out = empty(4 * depth + 1 + (1 << 14))

    def apply(self, events: np.ndarray) -> np.ndarray:
        """EVENT[m]: what a client of this depth receives while the whole feed sends `events`."""
        if events.dtype != EVENT:
            raise InvariantError(f"a window filters EVENT rows, not {events.dtype}.")
        pieces = []
        start = 0
        while True:
            start, n_out, status = window_events(self._state, events, start, self._out)
            if n_out:
                pieces.append(self._out[:n_out].copy())
            if status == DONE:
                return np.concatenate(pieces) if pieces else empty(0)
            if status == FULL:
                self._grow()

    def filter(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """`apply` to each batch; batches that come to nothing are left out."""
        for batch in batches:
            piece = self.apply(batch)
            if len(piece):
                yield piece

    def _grow(self) -> None:
        old = self._state
        n_symbols, _, capacity = old.key.shape
        larger = make_window(n_symbols, old.sent_key.shape[2], 2 * capacity)
        larger.key[:, :, :capacity] = old.key
        larger.qty[:, :, :capacity] = old.qty
        self._state = old._replace(key=larger.key, qty=larger.qty)
