"""What traded, and where was the mid? Rolling windows, candles and order flow of one symbol.

Everything that is added and expired later is an integer, so no window keeps rounding dust; what
must be a float is either weighted down (never subtracted) or joined from two halves of a window.
Left out: what the numbers mean for trading (features.py), and level 3.

Two rings, both of one-second rows that carry their own second, so that old rows need no clearing:

- *trades*, in buckets by `ceil(ts / 1 s)`. At time t the window of w seconds holds the trades with
  `(ceil(t / 1 s) - w) s < ts <= t`. At whole seconds, where evaluations run, that is exactly the
  last w seconds, the oldest instant excluded. In SQL, with ts and t in ns:
  `ts > ((t + 999999999) // 1000000000 - w) * 1000000000 AND ts <= t`.
- *samples*, one per call of `tape_second` that enters a new second `floor(now / 1 s)`: the mid, and
  the order flow since the sample before. A second without a call has no row. At sample second k a
  window of w seconds holds the samples of the seconds k - w + 1 .. k, and the returns that end
  in them (a return joins two neighbouring valid mids, however far apart).

Candles are one minute, `floor(ts / 60 s)`: a trade on the full minute opens the new one.
`docs/formulas-features.md` has the formulas and their sources.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.columns import N_WINDOWS, WINDOWS_S
from engine.jit import kernel
from engine.numerics import NAN, exp, float_bits, floor_int

SECOND_NS: Final = 1_000_000_000
MINUTE_NS: Final = 60 * SECOND_NS

I_10S: Final = WINDOWS_S.index(10)
I_1M: Final = WINDOWS_S.index(60)
I_5M: Final = WINDOWS_S.index(300)
I_15M: Final = WINDOWS_S.index(900)
I_1H: Final = WINDOWS_S.index(3600)
LONGEST_S: Final = max(WINDOWS_S)
_WINDOWS: Final = np.array(WINDOWS_S, np.int64)
_OFFSETS: Final = np.array([sum(WINDOWS_S[:i]) for i in range(N_WINDOWS)], np.int64)

RING: Final = 4096  # rows of the long rings, a power of two above LONGEST_S
_MASK: Final = RING - 1

# Columns of a trade bucket; a window's sums have the same columns (the second stands unused).
B_SECOND: Final = 0
B_BUY: Final = 1  # money bought by takers
B_SELL: Final = 2
B_NOTIONAL: Final = 3  # money, all trades, also those without a side
B_BUY_LOTS: Final = 4
B_SELL_LOTS: Final = 5
B_LOTS: Final = 6  # all trades
B_TRADES: Final = 7
N_BUCKET: Final = 8

# Columns of a sample.
S_SECOND: Final = 0
S_MID: Final = 1  # half ticks, 0: no valid book
S_MOVE: Final = 2  # half ticks since the valid mid before
S_SPAN: Final = 3  # seconds since it, 0: none
S_VOL: Final = 4  # histogram slot of the 1 m variance, -1: none
S_DEVIATION: Final = 5  # mid - its mean, in 1e-9 of mid
S_DEVIATION_BEFORE: Final = 6  # of the valid mid before
S_TOUCH_FLOW: Final = 7  # 1 if the row's normalised order flow is in flow_x
N_SAMPLE: Final = 8

# Columns of the sums over samples of a window.
W_MIDS: Final = 0  # valid mids
W_RETURNS: Final = 1
W_MOVE: Final = 2  # half ticks
W_SQUARE: Final = 3  # half ticks squared
W_SPAN: Final = 4  # seconds that the returns cover
N_SAMPLE_SUMS: Final = 5

# Columns of the sums for the AR(1) fit over 15 m: x the deviation before, y the one after.
A_X: Final = 0
A_Y: Final = 1
A_XX: Final = 2
A_XY: Final = 3
N_AR: Final = 4

# Columns of the order-flow rows, 10 s of them.
FLOW_RING: Final = 16
FLOW_S: Final = 10
O_SECOND: Final = 0
O_FLOW: Final = 1  # lots
O_DEPTH: Final = 2  # lots: sum of bid_qty + ask_qty over messages
O_MESSAGES: Final = 3
O_COVER: Final = 4  # seconds since the sample before
N_FLOW: Final = 5

CANDLES: Final = 240
C_MINUTE: Final = 0  # floor(ts / 60 s)
C_OPEN: Final = 1  # ticks
C_HIGH: Final = 2
C_LOW: Final = 3
C_CLOSE: Final = 4
C_LOTS: Final = 5
C_NOTIONAL: Final = 6  # money
C_TRADES: Final = 7  # 0: filled flat from the close before
N_CANDLE: Final = 8

VWAP_S: Final = 900
VWAP_RING: Final = 1024
ATR_N: Final = 14
VOL_SLOTS: Final = 256

# Bounds that keep every sum inside int64; what reaches them is clipped and counted.
SUM_MAX: Final = 1 << 62
MOVE_MAX: Final = 1 << 25  # half ticks: 2**50 squared, times 3600 samples
FLOW_MAX: Final = 1 << 58  # lots: times 10 rows
DEVIATION_MAX: Final = 1 << 26  # 1e-9: 6.7 % of mid; 2**52 squared, times 900 samples

# 0.5 ** (1 / half-life in seconds), correctly rounded: a power from libm may differ by machine.
_LN2: Final = 0.6931471805599453
SPREAD_HALF_LIFE_S: Final = 60
_DECAY_60: Final = 0.9885140203528962
MEAN_HALF_LIFE_S: Final = 120
_DECAY_120: Final = 0.9942404238175473
DEVIATION_HALF_LIFE_S: Final = 600
_DECAY_600: Final = 0.9988454217380301
SLOPE_HALF_LIFE_S: Final = 900
SLOPE_SPREAD_MIN: Final = 1e-6  # variance of x below this share of its mean square: no slope
_DECAY_900: Final = 0.9992301329658564

TAPE: Final = np.dtype(
    [
        # trades: the newest bucket is open, `sums` are of the closed ones
        ("bucket_second", "<i8"),  # second of the open bucket, 0 none
        ("first_second", "<i8"),  # first second that anything was heard of, 0 none
        ("buckets", "<i8", (RING, N_BUCKET)),
        ("sums", "<i8", (N_WINDOWS, N_BUCKET)),
        # volume-weighted moments: lots, mean price in ticks, lots x squared deviation
        ("open_price", "<i8"),  # ticks: first price of the open bucket
        ("open_moments", "<f8", (3,)),  # lots, lots x d, lots x d x d with d = price - open_price
        ("moments", "<f8", (VWAP_RING, 3)),
        ("vwap_prefix", "<f8", (3,)),  # closed buckets of the present 15 m block
        ("vwap_suffix", "<f8", (VWAP_S, 3)),  # from each second to the end of the block before
        ("vwap_suffix_block", "<i8"),
        # candles
        ("candle_minute", "<i8"),  # the open candle, 0 none
        ("candle_traded", "<i8"),  # newest minute with a trade
        ("n_candles", "<i8"),  # full candles in a row before the open one
        ("candles", "<i8", (CANDLES, N_CANDLE)),
        ("n_ranges", "<i8"),  # true ranges seen
        ("ranges_sum", "<i8"),  # ticks: of the first ATR_N
        ("atr", "<f8"),  # ticks, 0 before ATR_N
        # samples
        ("second", "<i8"),  # of the newest sample, 0 none
        ("mid", "<i8"),  # half ticks: newest valid mid, 0 none
        ("mid_second", "<i8"),
        ("deviation", "<i8"),  # of that mid, 1e-9
        ("samples", "<i8", (RING, N_SAMPLE)),
        ("sample_sums", "<i8", (N_WINDOWS, N_SAMPLE_SUMS)),
        ("ar_sums", "<i8", (N_AR,)),
        ("vol_counts", "<i8", (VOL_SLOTS,)),  # slots of the last hour
        ("n_vols", "<i8"),
        ("high", "<i8", (N_WINDOWS,)),  # half ticks: of the valid mids in each window, 0 none
        ("low", "<i8", (N_WINDOWS,)),
        ("block", "<i8", (N_WINDOWS,)),
        ("suffix_block", "<i8", (N_WINDOWS,)),
        ("prefix_high", "<i8", (N_WINDOWS,)),
        ("prefix_low", "<i8", (N_WINDOWS,)),
        ("suffix_high", "<i8", (sum(WINDOWS_S),)),
        ("suffix_low", "<i8", (sum(WINDOWS_S),)),
        # exponentially weighted: sum of weights x value, sum of weights
        ("n_spreads", "<i8"),
        ("spread_sum", "<f8"),  # bps
        ("spread_weight", "<f8"),
        ("n_mids", "<i8"),
        ("mean_shift", "<f8"),  # of value - newest mid, half ticks: exactly 0 if it never moved
        ("mean_weight", "<f8"),
        ("square_sum", "<f8"),  # squared deviation from that mean, relative to mid
        ("square_weight", "<f8"),
        # touch and order flow since the newest sample
        ("bid", "<i8"),  # ticks, 0 none
        ("bid_qty", "<i8"),
        ("ask", "<i8"),
        ("ask_qty", "<i8"),
        ("open_flow", "<i8"),
        ("open_depth", "<i8"),
        ("open_messages", "<i8"),
        ("flow", "<i8", (FLOW_RING, N_FLOW)),
        ("flow_x", "<f8", (FLOW_RING,)),  # normalised order flow over 10 s, at each sample
        ("flow_now", "<f8"),
        ("flow_cover", "<i8"),  # seconds that it covers, at most FLOW_S
        ("flow_messages", "<i8"),  # book messages in them
        ("n_slope", "<i8"),
        ("slope_weight", "<f8"),
        ("slope_x", "<f8"),
        ("slope_y", "<f8"),  # bps
        ("slope_xx", "<f8"),
        ("slope_xy", "<f8"),
        ("n_clipped", "<i8"),  # values that met one of the bounds above
    ]
)


# --- trades ------------------------------------------------------------------------------------


@kernel
def join_moments(lots, mean, square, lots_more, mean_more, square_more):
    """Weighted mean and squared deviation of two groups together.

    lots : float64, weight; mean : float64, ticks; square : float64, lots x ticks squared
    returns lots, mean, square

    Source: Chan, Golub, LeVeque 1979, "Updating formulae and a pairwise algorithm for
    computing sample variances", the formula for joining two samples.
    """
    if lots_more <= 0.0:
        return lots, mean, square
    if lots <= 0.0:
        return lots_more, mean_more, square_more
    total = lots + lots_more
    delta = mean_more - mean
    share = lots_more / total
    return total, mean + delta * share, square + square_more + delta * delta * lots * share


@kernel
def open_moments(tape):
    """Lots, mean price and squared deviation of the open bucket."""
    lots = tape["open_moments"][0]
    if lots <= 0.0:
        return 0.0, 0.0, 0.0
    shift = tape["open_moments"][1] / lots
    square = tape["open_moments"][2] - shift * tape["open_moments"][1]
    if square < 0.0:
        square = 0.0
    return lots, float(tape["open_price"]) + shift, square


@kernel
def _close_moments(tape, second, second_new):
    """Hand the open bucket's moments to the ring; turn the 15 m block over where one ended."""
    lots, mean, square = open_moments(tape)
    row = tape["moments"][second & (VWAP_RING - 1)]
    row[0] = lots
    row[1] = mean
    row[2] = square
    prefix = tape["vwap_prefix"]
    prefix[0], prefix[1], prefix[2] = join_moments(
        prefix[0], prefix[1], prefix[2], lots, mean, square
    )
    for i in range(3):
        tape["open_moments"][i] = 0.0
    block = second // VWAP_S
    if second_new // VWAP_S == block:
        return
    lots = 0.0
    mean = 0.0
    square = 0.0
    if second_new - second < VWAP_S:
        first = block * VWAP_S
        for s in range(first + VWAP_S - 1, first - 1, -1):
            bucket = tape["buckets"][s & _MASK]
            if bucket[B_SECOND] == s and bucket[B_TRADES] > 0:
                row = tape["moments"][s & (VWAP_RING - 1)]
                lots, mean, square = join_moments(row[0], row[1], row[2], lots, mean, square)
            suffix = tape["vwap_suffix"][s - first]
            suffix[0] = lots
            suffix[1] = mean
            suffix[2] = square
        tape["vwap_suffix_block"] = block
    for i in range(3):
        prefix[i] = 0.0


@kernel
def _roll_buckets(tape, second):
    """Close the open bucket, expire what leaves each window, open `second` (a later one)."""
    before = tape["bucket_second"]
    sums = tape["sums"]
    buckets = tape["buckets"]
    if before == 0:
        if tape["first_second"] == 0:
            tape["first_second"] = second
    else:
        _close_moments(tape, before, second)
        gap = second - before
        for i in range(N_WINDOWS):
            window = _WINDOWS[i]
            if gap >= window:
                for c in range(1, N_BUCKET):
                    sums[i, c] = 0
            else:
                for c in range(1, N_BUCKET):
                    sums[i, c] += buckets[before & _MASK, c]
                for s in range(before - window + 1, second - window + 1):
                    if buckets[s & _MASK, B_SECOND] == s:
                        for c in range(1, N_BUCKET):
                            sums[i, c] -= buckets[s & _MASK, c]
    for c in range(1, N_BUCKET):
        buckets[second & _MASK, c] = 0
    buckets[second & _MASK, B_SECOND] = second
    tape["bucket_second"] = second


@kernel
def tape_trade(tape, price, qty, side, notional, ts):
    """Enter one trade.

    price : int64, ticks, > 0; qty : int64, lots, >= 0; notional : int64, money, >= 0
    side : int64, +1 taker bought, -1 taker sold, 0 unknown: counts in the totals, in neither side
    ts : int64, ns, never before the trade before it
    """
    second = (ts + (SECOND_NS - 1)) // SECOND_NS
    if second > tape["bucket_second"]:
        _roll_buckets(tape, second)
    minute = ts // MINUTE_NS
    if minute > tape["candle_minute"]:
        _roll_candles(tape, minute)
    bucket = tape["buckets"][tape["bucket_second"] & _MASK]
    longest = tape["sums"][I_1H]
    if (
        notional > SUM_MAX - longest[B_NOTIONAL] - bucket[B_NOTIONAL]
        or qty > SUM_MAX - longest[B_LOTS] - bucket[B_LOTS]
    ):
        tape["n_clipped"] += 1
        notional = 0
        qty = 0
    bucket[B_NOTIONAL] += notional
    bucket[B_LOTS] += qty
    bucket[B_TRADES] += 1
    if side > 0:
        bucket[B_BUY] += notional
        bucket[B_BUY_LOTS] += qty
    elif side < 0:
        bucket[B_SELL] += notional
        bucket[B_SELL_LOTS] += qty

    moments = tape["open_moments"]
    if moments[0] == 0.0:
        tape["open_price"] = price
    weight = float(qty)
    shift = float(price - tape["open_price"])
    moments[0] += weight
    moments[1] += weight * shift
    moments[2] += weight * shift * shift

    tape["candle_traded"] = tape["candle_minute"]
    candle = tape["candles"][tape["candle_minute"] % CANDLES]
    if candle[C_TRADES] == 0:
        candle[C_OPEN] = price
        candle[C_HIGH] = price
        candle[C_LOW] = price
    elif price > candle[C_HIGH]:
        candle[C_HIGH] = price
    elif price < candle[C_LOW]:
        candle[C_LOW] = price
    candle[C_CLOSE] = price
    candle[C_LOTS] += qty
    candle[C_NOTIONAL] += notional
    candle[C_TRADES] += 1


@kernel
def window_sum(tape, i_window, column):
    """A column of the trades in a window, up to the newest trade or second. int64."""
    return tape["sums"][i_window, column] + tape["buckets"][tape["bucket_second"] & _MASK, column]


@kernel
def vwap_moments(tape):
    """Lots, volume-weighted price (ticks) and lots x squared deviation, over 15 m."""
    second = tape["bucket_second"]
    block = second // VWAP_S
    prefix = tape["vwap_prefix"]
    lots, mean, square = prefix[0], prefix[1], prefix[2]
    first = second - VWAP_S + 1
    if first < block * VWAP_S and tape["vwap_suffix_block"] == block - 1:
        suffix = tape["vwap_suffix"][first - (block - 1) * VWAP_S]
        lots, mean, square = join_moments(suffix[0], suffix[1], suffix[2], lots, mean, square)
    lots_open, mean_open, square_open = open_moments(tape)
    return join_moments(lots, mean, square, lots_open, mean_open, square_open)


# --- candles -----------------------------------------------------------------------------------


@kernel
def _close_candle(tape):
    """Count the open candle as full and enter its true range."""
    minute = tape["candle_minute"]
    candle = tape["candles"][minute % CANDLES]
    span = candle[C_HIGH] - candle[C_LOW]
    if tape["n_candles"] > 0:
        close = tape["candles"][(minute - 1) % CANDLES, C_CLOSE]
        span = max(span, max(candle[C_HIGH] - close, close - candle[C_LOW]))
    if tape["n_candles"] < CANDLES - 1:
        tape["n_candles"] += 1
    tape["n_ranges"] += 1
    if tape["n_ranges"] <= ATR_N:
        tape["ranges_sum"] += span
        if tape["n_ranges"] == ATR_N:
            tape["atr"] = float(tape["ranges_sum"]) / ATR_N
    else:
        tape["atr"] = (tape["atr"] * (ATR_N - 1) + float(span)) / ATR_N


@kernel
def _forget_candles(tape):
    """More than CANDLES minutes without a trade: candles begin anew with the next one."""
    tape["candle_minute"] = 0
    tape["n_candles"] = 0
    tape["n_ranges"] = 0
    tape["ranges_sum"] = 0
    tape["atr"] = 0.0


@kernel
def _roll_candles(tape, minute):
    """Close the open candle, fill silent minutes flat, open `minute` (a later one)."""
    before = tape["candle_minute"]
    close = 0
    if before > 0:
        if minute - tape["candle_traded"] > CANDLES:
            _forget_candles(tape)
            before = minute - 1
        else:
            close = tape["candles"][before % CANDLES, C_CLOSE]
            _close_candle(tape)
    else:
        before = minute - 1
    for m in range(before + 1, minute + 1):
        candle = tape["candles"][m % CANDLES]
        candle[C_MINUTE] = m
        for c in range(C_OPEN, C_CLOSE + 1):
            candle[c] = close
        candle[C_LOTS] = 0
        candle[C_NOTIONAL] = 0
        candle[C_TRADES] = 0
        tape["candle_minute"] = m
        if m < minute:
            _close_candle(tape)


# --- touch and order flow ----------------------------------------------------------------------


@kernel
def tape_touch(tape, bid, bid_qty, ask, ask_qty):
    """Enter the touch after a complete book message: its order flow joins the running second.

    bid, ask : int64, ticks, 0 where the side is empty; bid_qty, ask_qty : int64, lots
    A touch without both sides ends the comparison, so what follows a gap is no flow: call with
    zeros when the book is lost.

    Source: Cont, Kukanov, Stoikov 2014, "The price impact of order book events",
    the contribution e_n of one event.
    """
    if bid <= 0 or ask <= 0:
        tape["bid"] = 0
        tape["ask"] = 0
        return
    bid_before = tape["bid"]
    ask_before = tape["ask"]
    if bid_before > 0:
        flow = tape["open_flow"]
        if bid >= bid_before:
            flow += bid_qty
        if bid <= bid_before:
            flow -= tape["bid_qty"]
        if ask <= ask_before:
            flow -= ask_qty
        if ask >= ask_before:
            flow += tape["ask_qty"]
        tape["open_flow"] = min(max(flow, -FLOW_MAX), FLOW_MAX)
    tape["open_depth"] = min(tape["open_depth"] + bid_qty + ask_qty, FLOW_MAX)
    tape["open_messages"] += 1
    tape["bid"] = bid
    tape["bid_qty"] = bid_qty
    tape["ask"] = ask
    tape["ask_qty"] = ask_qty


@kernel
def _close_flow(tape, second, span):
    """Enter the order flow since the sample before, `span` seconds ago, and sum up 10 s of it."""
    row = tape["flow"][second & (FLOW_RING - 1)]
    row[O_SECOND] = second
    row[O_FLOW] = tape["open_flow"]
    row[O_DEPTH] = tape["open_depth"]
    row[O_MESSAGES] = tape["open_messages"]
    row[O_COVER] = min(span, FLOW_S)
    tape["open_flow"] = 0
    tape["open_depth"] = 0
    tape["open_messages"] = 0
    flow = 0
    depth = 0
    messages = 0
    cover = 0
    for s in range(second - FLOW_S + 1, second + 1):
        row = tape["flow"][s & (FLOW_RING - 1)]
        if row[O_SECOND] == s:
            flow += row[O_FLOW]
            depth += row[O_DEPTH]
            messages += row[O_MESSAGES]
            cover += row[O_COVER]
    x = 0.0
    if depth > 0:
        x = float(flow) * 2.0 * float(messages) / float(depth)
    tape["flow_now"] = x
    tape["flow_cover"] = min(cover, FLOW_S)
    tape["flow_messages"] = messages
    tape["flow_x"][second & (FLOW_RING - 1)] = x


@kernel
def decay(decay_1s, half_life_s, span):
    """0.5 ** (span / half_life_s); `decay_1s` is that of one second, the common case."""
    if span == 1:
        return decay_1s
    return exp(-_LN2 * float(span) / half_life_s)


@kernel
def _learn_slope(tape, second, mid, span):
    """One more pair for the regression of the mid's next 10 s on the order flow before them."""
    then = tape["samples"][(second - FLOW_S) & _MASK]
    factor = decay(_DECAY_900, SLOPE_HALF_LIFE_S, span)
    tape["slope_weight"] *= factor
    tape["slope_x"] *= factor
    tape["slope_y"] *= factor
    tape["slope_xx"] *= factor
    tape["slope_xy"] *= factor
    if mid <= 0 or then[S_SECOND] != second - FLOW_S:
        return
    if then[S_MID] <= 0 or then[S_TOUCH_FLOW] == 0:
        return
    x = tape["flow_x"][(second - FLOW_S) & (FLOW_RING - 1)]
    y = float(mid - then[S_MID]) * 1e4 / float(then[S_MID])
    tape["n_slope"] += 1
    tape["slope_weight"] += 1.0
    tape["slope_x"] += x
    tape["slope_y"] += y
    tape["slope_xx"] += x * x
    tape["slope_xy"] += x * y


@kernel
def flow_slope(tape):
    """Regressed mid move of the next 10 s, bps per unit of normalised order flow; NAN if flat."""
    weight = tape["slope_weight"]
    if weight <= 0.0:
        return NAN
    xx = tape["slope_xx"] - tape["slope_x"] * tape["slope_x"] / weight
    # x that varies by less than a thousandth of its size carries no slope, only rounding.
    if xx <= tape["slope_xx"] * SLOPE_SPREAD_MIN:
        return NAN
    return (tape["slope_xy"] - tape["slope_x"] * tape["slope_y"] / weight) / xx


# --- samples -----------------------------------------------------------------------------------


@kernel
def _variance_slot(tape):
    """Histogram slot of the 1 m variance, four per octave; -1 with fewer than ten returns."""
    sums = tape["sample_sums"][I_1M]
    if sums[W_RETURNS] < 10:
        return -1
    variance = sums[W_SQUARE] * 60 // sums[W_SPAN]
    if variance == 0:
        return 0
    # The top 14 bits of a float64 are its exponent and two bits of mantissa: a quarter octave.
    return (float_bits(float(variance)) >> 50) - (1023 << 2) + 1


@kernel
def _expire_samples(tape, second):
    """Take out of every window what leaves it when `second` begins."""
    before = tape["second"]
    gap = second - before
    sums = tape["sample_sums"]
    ar_sums = tape["ar_sums"]
    for i in range(N_WINDOWS):
        window = _WINDOWS[i]
        if gap >= window:
            for c in range(N_SAMPLE_SUMS):
                sums[i, c] = 0
            if i == I_15M:
                for c in range(N_AR):
                    ar_sums[c] = 0
            if i == I_1H:
                for slot in range(VOL_SLOTS):
                    tape["vol_counts"][slot] = 0
                tape["n_vols"] = 0
            continue
        for s in range(before - window + 1, second - window + 1):
            row = tape["samples"][s & _MASK]
            if row[S_SECOND] != s or row[S_MID] == 0:
                continue
            sums[i, W_MIDS] -= 1
            if row[S_SPAN] > 0:
                sums[i, W_RETURNS] -= 1
                sums[i, W_MOVE] -= row[S_MOVE]
                sums[i, W_SQUARE] -= row[S_MOVE] * row[S_MOVE]
                sums[i, W_SPAN] -= row[S_SPAN]
                if i == I_15M:
                    ar_sums[A_X] -= row[S_DEVIATION_BEFORE]
                    ar_sums[A_Y] -= row[S_DEVIATION]
                    ar_sums[A_XX] -= row[S_DEVIATION_BEFORE] * row[S_DEVIATION_BEFORE]
                    ar_sums[A_XY] -= row[S_DEVIATION_BEFORE] * row[S_DEVIATION]
            if i == I_1H and row[S_VOL] >= 0:
                tape["vol_counts"][row[S_VOL]] -= 1
                tape["n_vols"] -= 1


@kernel
def _update_ranges(tape, second, mid):
    """Highest and lowest valid mid of each window, O(1) amortised.

    A window ends in its present block of w seconds and begins in the one before: prefix of the
    one, suffix of the other. Source: van Herk 1992; Gil and Werman 1993.
    """
    for i in range(N_WINDOWS):
        window = _WINDOWS[i]
        offset = _OFFSETS[i]
        block = second // window
        block_before = tape["block"][i]
        if block != block_before:
            if block == block_before + 1:
                first = block_before * window
                high = 0
                low = SUM_MAX
                for s in range(first + window - 1, first - 1, -1):
                    row = tape["samples"][s & _MASK]
                    if row[S_SECOND] == s and row[S_MID] > 0:
                        high = max(high, row[S_MID])
                        low = min(low, row[S_MID])
                    tape["suffix_high"][offset + s - first] = high
                    tape["suffix_low"][offset + s - first] = low
                tape["suffix_block"][i] = block_before
            tape["block"][i] = block
            tape["prefix_high"][i] = 0
            tape["prefix_low"][i] = SUM_MAX
        if mid > 0:
            tape["prefix_high"][i] = max(tape["prefix_high"][i], mid)
            tape["prefix_low"][i] = min(tape["prefix_low"][i], mid)
        high = tape["prefix_high"][i]
        low = tape["prefix_low"][i]
        first = second - window + 1
        if first < block * window and tape["suffix_block"][i] == block - 1:
            at = offset + first - (block - 1) * window
            if tape["suffix_high"][at] > 0:
                high = max(high, tape["suffix_high"][at])
                low = min(low, tape["suffix_low"][at])
        tape["high"][i] = high
        tape["low"][i] = 0 if high == 0 else low


@kernel
def _update_means(tape, mid, span):
    """The exponentially weighted means: spread, mid, squared deviation of mid."""
    value = float(mid)
    factor = decay(_DECAY_60, SPREAD_HALF_LIFE_S, span)
    tape["spread_sum"] *= factor
    tape["spread_weight"] *= factor
    if tape["ask"] > tape["bid"] and tape["bid"] > 0:
        tape["spread_sum"] += (
            float(tape["ask"] - tape["bid"]) * 2e4 / float(tape["ask"] + tape["bid"])
        )
        tape["spread_weight"] += 1.0
        tape["n_spreads"] += 1
    factor = decay(_DECAY_120, MEAN_HALF_LIFE_S, span)
    # Distances from the newest mid, so that a mean close to it keeps all its digits.
    move = float(mid - tape["mid"])
    tape["mean_shift"] = (tape["mean_shift"] - move * tape["mean_weight"]) * factor
    tape["mean_weight"] = tape["mean_weight"] * factor + 1.0
    deviation = -tape["mean_shift"] / tape["mean_weight"] / value
    factor = decay(_DECAY_600, DEVIATION_HALF_LIFE_S, span)
    tape["square_sum"] = tape["square_sum"] * factor + deviation * deviation
    tape["square_weight"] = tape["square_weight"] * factor + 1.0
    tape["n_mids"] += 1
    fixed = floor_int(deviation * 1e9 + 0.5)
    if fixed > DEVIATION_MAX or fixed < -DEVIATION_MAX:
        tape["n_clipped"] += 1
        fixed = min(max(fixed, -DEVIATION_MAX), DEVIATION_MAX)
    return fixed


@kernel
def _add_mid(tape, row, second, mid):
    """Enter a valid mid into the windows."""
    span = 0
    move = 0
    if tape["mid"] > 0 and second - tape["mid_second"] <= LONGEST_S:
        span = second - tape["mid_second"]
        move = mid - tape["mid"]
        if move > MOVE_MAX or move < -MOVE_MAX:
            tape["n_clipped"] += 1
            move = min(max(move, -MOVE_MAX), MOVE_MAX)
    else:
        # Nothing valid for longer than any window: what was learnt before describes another time.
        tape["n_mids"] = 0
        tape["mean_shift"] = 0.0
        tape["mean_weight"] = 0.0
        tape["square_sum"] = 0.0
        tape["square_weight"] = 0.0
        tape["n_spreads"] = 0
        tape["spread_sum"] = 0.0
        tape["spread_weight"] = 0.0
    deviation = _update_means(tape, mid, span)
    row[S_MOVE] = move
    row[S_SPAN] = span
    row[S_DEVIATION] = deviation
    row[S_DEVIATION_BEFORE] = tape["deviation"]
    sums = tape["sample_sums"]
    for i in range(N_WINDOWS):
        sums[i, W_MIDS] += 1
        if span > 0:
            sums[i, W_RETURNS] += 1
            sums[i, W_MOVE] += move
            sums[i, W_SQUARE] += move * move
            sums[i, W_SPAN] += span
    if span > 0:
        ar_sums = tape["ar_sums"]
        ar_sums[A_X] += tape["deviation"]
        ar_sums[A_Y] += deviation
        ar_sums[A_XX] += tape["deviation"] * tape["deviation"]
        ar_sums[A_XY] += tape["deviation"] * deviation
    tape["mid"] = mid
    tape["mid_second"] = second
    tape["deviation"] = deviation
    slot = _variance_slot(tape)
    row[S_VOL] = slot
    if slot >= 0:
        tape["vol_counts"][slot] += 1
        tape["n_vols"] += 1


@kernel
def tape_second(tape, mid_half_ticks, now):
    """Bring every window up to `now`; call on each evaluation timer, before features are read.

    mid_half_ticks : int64, bid + ask in ticks, 0 if the book is not valid now
    now : int64, ns, >= 1 s, never before an earlier call
    Only the first call in a second takes a sample. Any jump in time costs bounded work.
    """
    bucket_second = (now + (SECOND_NS - 1)) // SECOND_NS
    if bucket_second > tape["bucket_second"]:
        _roll_buckets(tape, bucket_second)
    minute = now // MINUTE_NS
    if tape["candle_minute"] > 0 and minute > tape["candle_minute"]:
        if minute - tape["candle_traded"] > CANDLES:
            _forget_candles(tape)
        else:
            _roll_candles(tape, minute)
    second = now // SECOND_NS
    if second <= tape["second"]:
        return
    span = second - tape["second"] if tape["second"] > 0 else 1
    _expire_samples(tape, second)
    row = tape["samples"][second & _MASK]
    for c in range(N_SAMPLE):
        row[c] = 0
    row[S_VOL] = -1
    _close_flow(tape, second, span)
    if mid_half_ticks > 0:
        _add_mid(tape, row, second, mid_half_ticks)
    row[S_SECOND] = second
    row[S_MID] = mid_half_ticks
    row[S_TOUCH_FLOW] = 1 if tape["flow_cover"] == FLOW_S else 0
    _update_ranges(tape, second, mid_half_ticks)
    _learn_slope(tape, second, mid_half_ticks, span)
    tape["second"] = second
