"""What did a symbol's market do, second by second, in the last hour? For following what was not done.

A ring of seconds: lowest and highest print of each, the mid at its end, and whether data was missing.
Second b holds what happened after b - 1 and until b, in whole seconds of the clock, so that a decision
on the full second is followed by the seconds from b + 1 on and by nothing that it could have seen.
Blocks of 64 seconds keep their extremes, so that a search over an hour looks at some 120 entries.
Left out: who asks, and what an outcome is (shadow.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.jit import kernel

SECOND_NS: Final = 1_000_000_000
WATCH_SECONDS: Final = 4_096
_BLOCK: Final = 64
_N_BLOCKS: Final = WATCH_SECONDS // _BLOCK
# The block that the newest second is in no longer knows what it held a round ago.
WATCH_REACH: Final = WATCH_SECONDS - _BLOCK

NO_LOW: Final = 1 << 60  # of a second without prints
NEVER: Final = (1 << 60) + 1  # a bound that no price and no gap reaches

WATCH: Final = np.dtype(
    [
        ("on", "<i8"),  # 1: kept; 0: nothing is written here
        ("second", "<i8"),  # newest second of the ring, 0 before the first
        ("mid_now", "<i8"),  # half ticks at the newest tick, 0 where it cannot be trusted
        ("n_gaps", "<i8"),  # the symbol's count at the newest tick
        ("low", "<i8", (WATCH_SECONDS,)),  # ticks; NO_LOW without prints, 0 where data is missing
        ("high", "<i8", (WATCH_SECONDS,)),  # ticks; 0 without prints, NO_LOW where data is missing
        ("mid", "<i8", (WATCH_SECONDS,)),  # half ticks at the end of the second, 0 unknown
        ("block_low", "<i8", (_N_BLOCKS,)),
        ("block_high", "<i8", (_N_BLOCKS,)),
    ]
)


@kernel
def second_of(ts):
    """The second that a moment belongs to: (b - 1, b]. int64 ns to int64 s."""
    return (ts + (SECOND_NS - 1)) // SECOND_NS


@kernel
def watch_roll(watch, second):
    """Open every second up to `second`, empty; a jump in time costs at most one round."""
    b = watch["second"] + 1
    if watch["second"] == 0 or second - b >= WATCH_SECONDS:
        b = second - WATCH_SECONDS + 1
    while b <= second:
        k = b & (WATCH_SECONDS - 1)
        watch["low"][k] = NO_LOW
        watch["high"][k] = 0
        watch["mid"][k] = 0
        if k & (_BLOCK - 1) == 0:
            watch["block_low"][k // _BLOCK] = NO_LOW
            watch["block_high"][k // _BLOCK] = 0
        b += 1
    watch["second"] = max(watch["second"], second)


@kernel
def watch_trade(watch, price, ts):
    """A print. price : int64, ticks; ts : int64, ns, never before an earlier one."""
    second = second_of(ts)
    if second > watch["second"]:
        watch_roll(watch, second)
    k = second & (WATCH_SECONDS - 1)
    if price < watch["low"][k]:
        watch["low"][k] = price
    if price > watch["high"][k]:
        watch["high"][k] = price
    block = k // _BLOCK
    if price < watch["block_low"][block]:
        watch["block_low"][block] = price
    if price > watch["block_high"][block]:
        watch["block_high"][block] = price


@kernel
def watch_tick(watch, mid_half_ticks, missing, now):
    """A tick of the timer grid: the mid of this moment, and whether data is missing.

    mid_half_ticks : int64, bid + ask, 0 if the book cannot be trusted now
    missing : int64, 1 if the symbol's data was interrupted since the tick before, or is stale
    now : int64, ns; a mid counts as that of a second only where the tick is on the full second
    """
    second = second_of(now)
    if second > watch["second"]:
        watch_roll(watch, second)
    k = second & (WATCH_SECONDS - 1)
    watch["mid_now"] = mid_half_ticks
    if now % SECOND_NS == 0:
        watch["mid"][k] = mid_half_ticks
    if missing != 0:
        watch["low"][k] = 0
        watch["high"][k] = NO_LOW
        watch["block_low"][k // _BLOCK] = 0
        watch["block_high"][k // _BLOCK] = NO_LOW


@kernel
def is_missing(watch, second):
    """Was data missing in this second?"""
    k = second & (WATCH_SECONDS - 1)
    return watch["low"][k] == 0 and watch["high"][k] == NO_LOW


@kernel
def first_beyond(watch, first, last, below, above):
    """The first second in [first, last] with a print at or below `below`, or at or above `above`.

    A second with missing data always counts: `is_missing` tells. last + 1 if there is none.
    first, last : int64, at most WATCH_REACH seconds old; below, above : int64, ticks
    """
    b = first
    while b <= last:
        k = b & (WATCH_SECONDS - 1)
        if k & (_BLOCK - 1) == 0 and b + _BLOCK - 1 <= last:
            block = k // _BLOCK
            if watch["block_low"][block] > below and watch["block_high"][block] < above:
                b += _BLOCK
                continue
        if watch["low"][k] <= below or watch["high"][k] >= above:
            return b
        b += 1
    return last + 1


@kernel
def watch_extremes(watch, first, last):
    """Lowest and highest print in the seconds [first, last]: int64 ticks.

    (NO_LOW, 0) without prints, (0, NO_LOW) where data is missing in between
    """
    low = NO_LOW
    high = 0
    b = first
    while b <= last:
        k = b & (WATCH_SECONDS - 1)
        if k & (_BLOCK - 1) == 0 and b + _BLOCK - 1 <= last:
            low = min(low, watch["block_low"][k // _BLOCK])
            high = max(high, watch["block_high"][k // _BLOCK])
            b += _BLOCK
        else:
            low = min(low, watch["low"][k])
            high = max(high, watch["high"][k])
            b += 1
    return low, high
