"""Which price levels stand in one instrument's book, and in what order?

A ring of `RING` ticks around the touch holds the near levels and a sorted list the far ones, so
an update near the touch costs a few loads whatever the depth, and a jump of any size is only
slow, never wrong. Left out: single orders (level 3), checksums (engine/checksum.py), and the
question whether a level can be trusted.

Inside, a price is a *key* that is smaller when better: the price itself for asks, minus the price
for bids. So both sides are one piece of code. Invariants, per side:

- the window is [base, base + RING), base a multiple of 32; ring levels lie in it, their quantity
  at `key & (RING - 1)`, 0 where there is none; one bit per occupied tick in `bits`;
- every far level is worse than the window's end, far levels ascend by key, best first;
- if there is any level, the best one is in the ring; no level of the ring is better than `best` or
  worse than `worst`. They are bounds inside the window: a removal leaves them, who asks
  (`_best_key`) tightens them;
- a side holds at most `DEPTH_MAX` levels: the worst is dropped when one more arrives.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.jit import inner_kernel, kernel
from engine.numerics import high_bit, low_bit

BIDS: Final = 0
ASKS: Final = 1

RING: Final = 2048  # ticks of the window per side, a power of two
DEPTH_MAX: Final = 2048  # most levels kept per side
_MASK: Final = RING - 1
# 32 bits per int64: words stay positive and convert to float exactly, which finds their end bits.
_WORDS: Final = RING // 32
_WORD_MASK: Final = _WORDS - 1
_MARGIN: Final = RING // 4  # room kept for improvement when the window is placed
_STALE: Final = RING // 2  # the window has lost half its reach: place it anew before going far

BOOK: Final = np.dtype(
    [
        ("base", "<i8", (2,)),
        ("best", "<i8", (2,)),
        ("worst", "<i8", (2,)),
        ("n_near", "<i8", (2,)),
        ("n_far", "<i8", (2,)),
        ("bits", "<i8", (2, _WORDS)),
        ("near_qty", "<i8", (2, RING)),
        ("far_key", "<i8", (2, DEPTH_MAX)),
        ("far_qty", "<i8", (2, DEPTH_MAX)),
    ]
)


@kernel
def side_index(side):
    """0 for a buy (+1), 1 for a sell (-1)."""
    return 0 if side > 0 else 1


@kernel
def book_clear(book):
    """Remove every level. Costs what the book holds, not what it could hold."""
    for i_side in range(2):
        near_qty = book["near_qty"][i_side]
        bits = book["bits"][i_side]
        if book["n_near"][i_side] > 0:
            word = book["best"][i_side] >> 5
            last = book["worst"][i_side] >> 5
            while word <= last:
                if bits[word & _WORD_MASK] != 0:
                    start = (word << 5) & _MASK
                    for i in range(start, start + 32):
                        near_qty[i] = 0
                    bits[word & _WORD_MASK] = 0
                word += 1
        book["base"][i_side] = 0
        book["best"][i_side] = 0
        book["worst"][i_side] = 0
        book["n_near"][i_side] = 0
        book["n_far"][i_side] = 0


@kernel
def _next_near(bits, key):
    """The best occupied key >= `key`; the caller knows that one exists in the window."""
    word = key >> 5
    found = (bits[word & _WORD_MASK] >> (key & 31)) << (key & 31)
    while found == 0:
        word += 1
        found = bits[word & _WORD_MASK]
    return (word << 5) + low_bit(found)


@kernel
def _previous_near(bits, key):
    """The worst occupied key <= `key`; the caller knows that one exists in the window."""
    word = key >> 5
    found = bits[word & _WORD_MASK] & ((2 << (key & 31)) - 1)
    while found == 0:
        word -= 1
        found = bits[word & _WORD_MASK]
    return (word << 5) + high_bit(found)


@kernel
def _near_insert(book, i_side, key, qty):
    """A level that is not there yet, inside the window."""
    bits = book["bits"][i_side]
    bits[(key >> 5) & _WORD_MASK] |= 1 << (key & 31)
    book["near_qty"][i_side, key & _MASK] = qty
    n_near = book["n_near"][i_side]
    if n_near == 0:
        book["best"][i_side] = key
        book["worst"][i_side] = key
    elif key < book["best"][i_side]:
        book["best"][i_side] = key
    elif key > book["worst"][i_side]:
        book["worst"][i_side] = key
    book["n_near"][i_side] = n_near + 1


@kernel
def _near_remove(book, i_side, key):
    """A level that is there, inside the window. Does not refill an empty ring."""
    book["bits"][i_side, (key >> 5) & _WORD_MASK] &= ~(1 << (key & 31))
    book["near_qty"][i_side, key & _MASK] = 0
    book["n_near"][i_side] -= 1


@kernel
def _best_key(book, i_side):
    """Key of the ring's best level; there is one."""
    key = book["best"][i_side]
    if book["near_qty"][i_side, key & _MASK] == 0:
        key = _next_near(book["bits"][i_side], key)
        book["best"][i_side] = key
    return key


@kernel
def _worst_key(book, i_side):
    """Key of the ring's worst level; there is one."""
    key = book["worst"][i_side]
    if book["near_qty"][i_side, key & _MASK] == 0:
        key = _previous_near(book["bits"][i_side], key)
        book["worst"][i_side] = key
    return key


@kernel
def _far_position(book, i_side, key):
    """How many far levels are better than `key`."""
    far_key = book["far_key"][i_side]
    lo = 0
    hi = book["n_far"][i_side]
    while lo < hi:
        middle = (lo + hi) >> 1
        if far_key[middle] < key:
            lo = middle + 1
        else:
            hi = middle
    return lo


@kernel
def _drop_worst(book, i_side):
    """Remove the worst level of a side that has at least one."""
    if book["n_far"][i_side] > 0:
        book["n_far"][i_side] -= 1
    else:
        _near_remove(book, i_side, _worst_key(book, i_side))


@kernel
def _place_window(book, i_side, touch):
    """Move the window so that `touch`, at least as good as every level, has room on both sides."""
    base = ((touch >> 5) << 5) - _MARGIN
    end = base + RING
    near_qty = book["near_qty"][i_side]
    bits = book["bits"][i_side]
    far_key = book["far_key"][i_side]
    far_qty = book["far_qty"][i_side]
    n_far = book["n_far"][i_side]
    # Near levels beyond the new end become the best far levels.
    n_out = 0
    n_near = book["n_near"][i_side]
    if n_near > 0 and _worst_key(book, i_side) >= end:
        if _best_key(book, i_side) >= end:
            n_out = n_near
        else:
            key = _next_near(bits, end)
            n_out = 1
            while key != _worst_key(book, i_side):
                key = _next_near(bits, key + 1)
                n_out += 1
        for i in range(n_far - 1, -1, -1):
            far_key[i + n_out] = far_key[i]
            far_qty[i + n_out] = far_qty[i]
        for i in range(n_out - 1, -1, -1):
            key = _worst_key(book, i_side)
            far_key[i] = key
            far_qty[i] = near_qty[key & _MASK]
            _near_remove(book, i_side, key)
        if n_near > n_out:
            _worst_key(book, i_side)  # a bound outside the window would meet another level there
        book["n_far"][i_side] = n_far + n_out
        book["base"][i_side] = base
        return
    # Far levels that the new window covers come near.
    book["base"][i_side] = base
    n_in = 0
    while n_in < n_far and far_key[n_in] < end:
        _near_insert(book, i_side, far_key[n_in], far_qty[n_in])
        n_in += 1
    if n_in > 0:
        for i in range(n_in, n_far):
            far_key[i - n_in] = far_key[i]
            far_qty[i - n_in] = far_qty[i]
        book["n_far"][i_side] = n_far - n_in


@kernel
def _set_far(book, i_side, key, qty):
    """Set a level beyond the window's end."""
    far_key = book["far_key"][i_side]
    far_qty = book["far_qty"][i_side]
    n_far = book["n_far"][i_side]
    at = _far_position(book, i_side, key)
    old = 0
    if at < n_far and far_key[at] == key:
        old = far_qty[at]
    if qty != 0:
        if old == 0:
            if n_far + book["n_near"][i_side] == DEPTH_MAX:
                if at == n_far:
                    return 0  # it is the worst of one too many
                n_far -= 1
            for i in range(n_far - 1, at - 1, -1):
                far_key[i + 1] = far_key[i]
                far_qty[i + 1] = far_qty[i]
            far_key[at] = key
            book["n_far"][i_side] = n_far + 1
        far_qty[at] = qty
    elif old != 0:
        for i in range(at + 1, n_far):
            far_key[i - 1] = far_key[i]
            far_qty[i - 1] = far_qty[i]
        book["n_far"][i_side] = n_far - 1
    return old


@kernel
def _set_outside(book, i_side, key, qty):
    """Set a level that the window does not cover; moves the window first where that helps."""
    n_near = book["n_near"][i_side]
    if key < book["base"][i_side] or n_near == 0:
        if qty == 0:
            return 0  # better than every level, or an empty side: nothing stands there
        _place_window(book, i_side, key)
        if book["n_near"][i_side] + book["n_far"][i_side] == DEPTH_MAX:
            _drop_worst(book, i_side)
        _near_insert(book, i_side, key, qty)
        return 0
    if qty != 0 and _best_key(book, i_side) - book["base"][i_side] > _STALE:
        _place_window(book, i_side, book["best"][i_side])
        if key < book["base"][i_side] + RING:
            old = book["near_qty"][i_side, key & _MASK]
            if old != 0:
                book["near_qty"][i_side, key & _MASK] = qty
                return old
            if book["n_near"][i_side] + book["n_far"][i_side] == DEPTH_MAX:
                _drop_worst(book, i_side)
            _near_insert(book, i_side, key, qty)
            return 0
    return _set_far(book, i_side, key, qty)


@kernel
def _set_rare(book, i_side, key, qty):
    """As `book_set`, for a level outside the window, into an empty ring or onto a full side."""
    offset = key - book["base"][i_side]
    if offset < 0 or offset >= RING:
        return _set_outside(book, i_side, key, qty)
    old = book["near_qty"][i_side, key & _MASK]
    if qty != 0:
        if old != 0:
            book["near_qty"][i_side, key & _MASK] = qty
            return old
        if book["n_near"][i_side] + book["n_far"][i_side] == DEPTH_MAX:
            _drop_worst(book, i_side)
        _near_insert(book, i_side, key, qty)
        return 0
    if old != 0:
        _near_remove(book, i_side, key)
        _refill(book, i_side)
    return old


@kernel
def _refill(book, i_side):
    """If the ring is empty, bring the best far levels near."""
    if book["n_near"][i_side] == 0 and book["n_far"][i_side] > 0:
        _place_window(book, i_side, book["far_key"][i_side, 0])


@inner_kernel
def book_set_inline(book, i_side, price, qty):
    """As `book_set`, for the one loop over all events that a program lives in."""
    key = price if i_side == 1 else -price
    offset = key - book["base"][i_side]
    n_near = book["n_near"][i_side]
    if offset < 0 or offset >= RING or n_near == 0:
        return _set_rare(book, i_side, key, qty)
    if n_near + book["n_far"][i_side] >= DEPTH_MAX:
        return _set_rare(book, i_side, key, qty)
    # Whether a level comes, goes or changes is a coin toss, and a wrong guess costs ten times the
    # rest. So all three are computed, without a branch, and what was the best is left a bound.
    old = book["near_qty"][i_side, key & _MASK]
    book["near_qty"][i_side, key & _MASK] = qty
    stood = np.int64(old != 0)
    stands = np.int64(qty != 0)
    book["bits"][i_side, (key >> 5) & _WORD_MASK] ^= (stood ^ stands) << (key & 31)
    n_near += stands - stood
    book["n_near"][i_side] = n_near
    best = book["best"][i_side]
    worst = book["worst"][i_side]
    here = key if qty != 0 else best
    book["best"][i_side] = min(best, here)
    book["worst"][i_side] = max(worst, here)
    if n_near == 0:
        _refill(book, i_side)
    return old


@kernel
def book_set(book, i_side, price, qty):
    """Set the quantity of one level; 0 removes it.

    price : int64, ticks, 1 .. 2**40; qty : int64, lots, >= 0
    returns int64, lots: the quantity that stood there before, 0 if none
    """
    return book_set_inline(book, i_side, price, qty)


@kernel
def book_truncate(book, depth):
    """Cut both sides to their best `depth` levels; 0 cuts nothing."""
    if depth <= 0:
        return
    for i_side in range(2):
        while book["n_near"][i_side] + book["n_far"][i_side] > depth:
            _drop_worst(book, i_side)


@kernel
def book_count(book, i_side):
    """Levels on one side."""
    return book["n_near"][i_side] + book["n_far"][i_side]


@kernel
def book_best(book, i_side):
    """Price of the best level in ticks, 0 if the side is empty."""
    if book["n_near"][i_side] == 0:
        return 0
    key = _best_key(book, i_side)
    return key if i_side == 1 else -key


@kernel
def book_worst(book, i_side):
    """Price of the worst level in ticks, 0 if the side is empty."""
    n_far = book["n_far"][i_side]
    if n_far > 0:
        key = book["far_key"][i_side, n_far - 1]
    elif book["n_near"][i_side] > 0:
        key = _worst_key(book, i_side)
    else:
        return 0
    return key if i_side == 1 else -key


@kernel
def book_qty(book, i_side, price):
    """Lots that stand at `price`, 0 if none. int64 ticks >= 1."""
    key = price if i_side == 1 else -price
    offset = key - book["base"][i_side]
    if offset < 0:
        return 0
    if offset < RING:
        return book["near_qty"][i_side, key & _MASK]
    at = _far_position(book, i_side, key)
    if at < book["n_far"][i_side] and book["far_key"][i_side, at] == key:
        return book["far_qty"][i_side, at]
    return 0


@kernel
def book_next(book, i_side, price):
    """The next occupied price worse than `price` (which need not be occupied), 0 if none."""
    if book["n_near"][i_side] == 0:
        return 0
    key = (price if i_side == 1 else -price) + 1
    if key <= _best_key(book, i_side):
        key = book["best"][i_side]
    elif key <= _worst_key(book, i_side):
        key = _next_near(book["bits"][i_side], key)
    else:
        at = _far_position(book, i_side, key)
        if at == book["n_far"][i_side]:
            return 0
        key = book["far_key"][i_side, at]
    return key if i_side == 1 else -key


@kernel
def book_previous(book, i_side, price):
    """The next occupied price better than `price` (which need not be occupied), 0 if none."""
    if book["n_near"][i_side] == 0:
        return 0
    key = (price if i_side == 1 else -price) - 1
    if key < _best_key(book, i_side):
        return 0
    if key <= _worst_key(book, i_side):
        key = _previous_near(book["bits"][i_side], key)
    else:
        at = _far_position(book, i_side, key + 1)
        key = book["far_key"][i_side, at - 1] if at > 0 else _worst_key(book, i_side)
    return key if i_side == 1 else -key


@kernel
def book_top(book, i_side, n, prices, qtys):
    """Fill `prices` (ticks) and `qtys` (lots), int64[>= n], with the best levels, best first.

    returns int64: how many were filled, at most n
    """
    sign = 1 if i_side == 1 else -1
    n_near = book["n_near"][i_side]
    bits = book["bits"][i_side]
    near_qty = book["near_qty"][i_side]
    count = 0
    key = _best_key(book, i_side) if n_near > 0 else 0
    while count < n and count < n_near:
        if count > 0:
            key = _next_near(bits, key + 1)
        prices[count] = key * sign
        qtys[count] = near_qty[key & _MASK]
        count += 1
    i = 0
    while count < n and i < book["n_far"][i_side]:
        prices[count] = book["far_key"][i_side, i] * sign
        qtys[count] = book["far_qty"][i_side, i]
        count += 1
        i += 1
    return count


@kernel
def book_crossed(book):
    """Do both sides have levels, and is the best bid at or above the best ask?"""
    if book["n_near"][0] == 0 or book["n_near"][1] == 0:
        return False
    return -_best_key(book, 0) >= _best_key(book, 1)
