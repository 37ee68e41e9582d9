"""What does one symbol look like right now? The feature vector, from book, touch and tape.

One call fills `symbol["features"]` and `symbol["observations"]` in the order of columns.FEATURES.
A feature with fewer observations than its minimum is NAN. Nothing here remembers anything: what
needs memory lives in tape.py. Left out: `horizon` and `inventory`, which whoever asks a thesis
sets, and level 3. `docs/formulas-features.md` has the formulas and their sources.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.book import book_best, book_next, book_qty
from engine.core.columns import FEATURE_INDEX, FEATURES, N_WINDOWS, WINDOWS_S
from engine.core.levels import level_features
from engine.core.tape import (
    A_X,
    A_XX,
    A_XY,
    A_Y,
    B_BUY,
    B_BUY_LOTS,
    B_SELL,
    B_SELL_LOTS,
    B_TRADES,
    C_CLOSE,
    C_HIGH,
    C_LOW,
    C_OPEN,
    CANDLES,
    FLOW_S,
    I_5M,
    I_10S,
    I_15M,
    RING,
    S_MOVE,
    S_SECOND,
    S_SPAN,
    S_VOL,
    SECOND_NS,
    W_MIDS,
    W_MOVE,
    W_RETURNS,
    W_SPAN,
    W_SQUARE,
    flow_slope,
    vwap_moments,
    window_sum,
)
from engine.jit import kernel
from engine.numerics import INFINITY, NAN, canonical, clip, log, ratio, sqrt
from engine.units import MONEY_PER_UNIT

LEVELS_MAX: Final = 256  # levels walked per side; depth behind them is not seen
NEAR_PER_MID: Final = 2000  # 5 bps is 1/2000 of mid
FAR_PER_MID: Final = 400  # 25 bps
T_MAX: Final = 100.0  # t-values are clipped here: a mid that only moves one way has no variance
_LN2: Final = 0.6931471805599453

_MINIMUM: Final = np.array([each.observations_min for each in FEATURES], np.int64)
_SECONDS: Final = np.array(WINDOWS_S, np.int64)

F_HORIZON: Final = FEATURE_INDEX["horizon"]
F_MID: Final = FEATURE_INDEX["mid"]
F_TICK_BPS: Final = FEATURE_INDEX["tick_bps"]
F_SPREAD_TICKS: Final = FEATURE_INDEX["spread_ticks"]
F_SPREAD_BPS: Final = FEATURE_INDEX["spread_bps"]
F_SPREAD_MEAN_BPS: Final = FEATURE_INDEX["spread_mean_bps"]
F_MICROPRICE_BPS: Final = FEATURE_INDEX["microprice_bps"]
F_TOUCH_BID: Final = FEATURE_INDEX["touch_bid"]
F_TOUCH_ASK: Final = FEATURE_INDEX["touch_ask"]
F_TOUCH_BID_LOTS: Final = FEATURE_INDEX["touch_bid_lots"]
F_TOUCH_ASK_LOTS: Final = FEATURE_INDEX["touch_ask_lots"]
F_DEPTH_BID_5: Final = FEATURE_INDEX["depth_bid_5"]
F_DEPTH_ASK_5: Final = FEATURE_INDEX["depth_ask_5"]
F_DEPTH_BID_25: Final = FEATURE_INDEX["depth_bid_25"]
F_DEPTH_ASK_25: Final = FEATURE_INDEX["depth_ask_25"]
F_IMBALANCE_TOUCH: Final = FEATURE_INDEX["imbalance_touch"]
F_IMBALANCE_5: Final = FEATURE_INDEX["imbalance_5"]
F_OFI: Final = FEATURE_INDEX["ofi"]
F_OFI_SLOPE: Final = FEATURE_INDEX["ofi_slope"]
F_UPDATE_RATE: Final = FEATURE_INDEX["update_rate"]
F_TRADED_BID_RATE: Final = FEATURE_INDEX["traded_bid_rate"]
F_TRADED_ASK_RATE: Final = FEATURE_INDEX["traded_ask_rate"]
F_BUY_NOTIONAL: Final = FEATURE_INDEX["buy_notional_10s"]  # first of N_WINDOWS, as below
F_SELL_NOTIONAL: Final = FEATURE_INDEX["sell_notional_10s"]
F_N_TRADES: Final = FEATURE_INDEX["n_trades_10s"]
F_FLOW_IMBALANCE: Final = FEATURE_INDEX["flow_imbalance_10s"]
F_RETURN_BPS: Final = FEATURE_INDEX["return_bps_10s"]
F_DRIFT_T: Final = FEATURE_INDEX["drift_t_10s"]
F_VOL_BPS: Final = FEATURE_INDEX["vol_bps_10s"]
F_RANGE_POSITION: Final = FEATURE_INDEX["range_position_10s"]
F_VOL_PERCENTILE: Final = FEATURE_INDEX["vol_percentile"]
F_VWAP: Final = FEATURE_INDEX["vwap_15m"]
F_VWAP_SD_BPS: Final = FEATURE_INDEX["vwap_sd_bps"]
F_VWAP_Z: Final = FEATURE_INDEX["vwap_z"]
F_MEAN_BPS: Final = FEATURE_INDEX["mean_bps"]
F_MEAN_Z: Final = FEATURE_INDEX["mean_z"]
F_REVERSION_HALF_LIFE: Final = FEATURE_INDEX["reversion_half_life"]
F_ATR_BPS: Final = FEATURE_INDEX["atr_bps"]
F_CANDLE_BODY: Final = FEATURE_INDEX["candle_body"]
F_JUMP_Z: Final = FEATURE_INDEX["jump_z"]
F_QUEUE_WAIT_BID: Final = FEATURE_INDEX["queue_wait_bid"]
F_QUEUE_WAIT_ASK: Final = FEATURE_INDEX["queue_wait_ask"]
F_BOOK_AGE: Final = FEATURE_INDEX["book_age"]
F_TRADE_AGE: Final = FEATURE_INDEX["trade_age"]


@kernel
def walk_depth(book, i_side, mid_half_ticks):
    """Depth near the mid on one side, best level first, at most LEVELS_MAX levels.

    returns near, far : float64, ticks x lots within 5 and 25 bps of mid; five : float64, lots on
    the five best levels; count : int64, levels looked at
    """
    near = 0.0
    far = 0.0
    five = 0.0
    count = 0
    price = book_best(book, i_side)
    while price > 0 and count < LEVELS_MAX:
        distance = 2 * price - mid_half_ticks
        if distance < 0:
            distance = -distance
        is_far = distance * FAR_PER_MID > mid_half_ticks
        if is_far and count >= 5:
            break
        lots = float(book_qty(book, i_side, price))
        if not is_far:
            far += float(price) * lots
            if distance * NEAR_PER_MID <= mid_half_ticks:
                near += float(price) * lots
        if count < 5:
            five += lots
        count += 1
        price = book_next(book, i_side, price)
    return near, far, five, count


@kernel
def _book_features(features, observations, symbol, bid, ask):
    """Touch and depth. 0 < bid < ask: a valid book."""
    mid_half_ticks = bid + ask
    mid = float(mid_half_ticks) * 0.5
    spread = float(ask - bid)
    instrument = symbol["instrument"]
    unit = instrument["price_float"] * instrument["qty_float"]  # quote of one tick x lot
    bid_lots = float(symbol["bid_qty"])
    ask_lots = float(symbol["ask_qty"])
    imbalance = ratio(bid_lots - ask_lots, bid_lots + ask_lots)
    for i in range(F_MID, F_IMBALANCE_TOUCH + 1):
        observations[i] = 1  # those that differ are set below
    features[F_MID] = mid
    features[F_TICK_BPS] = 1e4 / mid
    features[F_SPREAD_TICKS] = spread
    features[F_SPREAD_BPS] = spread * 1e4 / mid
    # (bid x ask_qty + ask x bid_qty) / (bid_qty + ask_qty) - mid, without the cancellation.
    features[F_MICROPRICE_BPS] = spread * 0.5e4 / mid * imbalance
    features[F_TOUCH_BID] = float(bid) * bid_lots * unit
    features[F_TOUCH_ASK] = float(ask) * ask_lots * unit
    features[F_TOUCH_BID_LOTS] = bid_lots
    features[F_TOUCH_ASK_LOTS] = ask_lots
    features[F_IMBALANCE_TOUCH] = imbalance
    difference = 0.0
    total = 0.0
    n_both = LEVELS_MAX
    for i_side in range(2):  # the columns of the two sides are neighbours
        near, far, five, n = walk_depth(symbol["book"], i_side, mid_half_ticks)
        features[F_DEPTH_BID_5 + i_side] = near * unit
        features[F_DEPTH_BID_25 + i_side] = far * unit
        observations[F_DEPTH_BID_5 + i_side] = n
        observations[F_DEPTH_BID_25 + i_side] = n
        difference += five if i_side == 0 else -five
        total += five
        n_both = min(n_both, n)
    features[F_IMBALANCE_5] = ratio(difference, total)
    observations[F_IMBALANCE_5] = n_both


@kernel
def _trade_features(features, observations, tape):
    """What traded in each window, how fast each side is eaten, and the volume-weighted price."""
    for i in range(N_WINDOWS):
        n = window_sum(tape, i, B_TRADES)
        buy = float(window_sum(tape, i, B_BUY))
        sell = float(window_sum(tape, i, B_SELL))
        features[F_BUY_NOTIONAL + i] = buy / MONEY_PER_UNIT
        features[F_SELL_NOTIONAL + i] = sell / MONEY_PER_UNIT
        features[F_N_TRADES + i] = float(n)
        features[F_FLOW_IMBALANCE + i] = ratio(buy - sell, buy + sell)
        observations[F_BUY_NOTIONAL + i] = n
        observations[F_SELL_NOTIONAL + i] = n
        observations[F_N_TRADES + i] = n
        observations[F_FLOW_IMBALANCE + i] = n

    n = window_sum(tape, I_5M, B_TRADES)
    # A young tape has not watched five minutes yet: divide by what it has watched.
    watched = min(tape["bucket_second"] - tape["first_second"] + 1, WINDOWS_S[I_5M])
    for i_side in range(2):
        lots = window_sum(tape, I_5M, B_SELL_LOTS if i_side == 0 else B_BUY_LOTS)
        rate = float(lots) / float(watched)
        touch = features[F_TOUCH_BID_LOTS + i_side]
        features[F_TRADED_BID_RATE + i_side] = rate
        observations[F_TRADED_BID_RATE + i_side] = n
        # Nothing traded on this side: whoever joins it waits for ever. Without a book: NAN.
        features[F_QUEUE_WAIT_BID + i_side] = touch / rate if lots > 0 else touch + INFINITY
        observations[F_QUEUE_WAIT_BID + i_side] = n

    n = window_sum(tape, I_15M, B_TRADES)
    lots, vwap, square = vwap_moments(tape)
    sd = sqrt(ratio(square, lots))
    features[F_VWAP] = vwap
    features[F_VWAP_SD_BPS] = ratio(sd * 1e4, vwap)
    features[F_VWAP_Z] = ratio(features[F_MID] - vwap, sd)
    for i in range(F_VWAP, F_VWAP_Z + 1):
        observations[i] = n if lots > 0.0 else 0


@kernel
def drift_t(n, move, square):
    """t-value of the mean return: `n` returns whose sum is `move`, sum of squares `square`.

    Clipped to +-T_MAX; 0 where nothing moved, NAN below two returns.
    """
    if n < 2:
        return NAN
    if move == 0:
        return 0.0
    total = float(move)
    mean = total / float(n)
    variance = (float(square) - total * mean) / float(n - 1)
    if variance <= 0.0:
        return T_MAX if total > 0.0 else -T_MAX
    return clip(mean / sqrt(variance / float(n)), -T_MAX, T_MAX)


@kernel
def jump_z(tape, floor_half_ticks):
    """Largest one-second move of the last 10 s, in sd of the rest of the last 5 m; never negative.

    floor_half_ticks : float64, > 0: the sd is taken to be at least this
    returns z, n : n returns behind the sd

    The last 10 s stay out of the sd: a jump among 30 returns could not exceed 5.5 of an sd that
    holds it. A move that spans k seconds is divided by sqrt(k).
    """
    fast = tape["sample_sums"][I_10S]
    slow = tape["sample_sums"][I_5M]
    n = slow[W_RETURNS] - fast[W_RETURNS]
    span = slow[W_SPAN] - fast[W_SPAN]
    if n <= 0 or span <= 0:
        return NAN, 0
    largest = 0.0
    second = tape["second"]
    for s in range(second - WINDOWS_S[I_10S] + 1, second + 1):
        row = tape["samples"][s & (RING - 1)]
        if row[S_SECOND] == s and row[S_SPAN] > 0:
            size = float(row[S_MOVE] * row[S_MOVE]) / float(row[S_SPAN])
            largest = max(largest, size)
    variance = float(slow[W_SQUARE] - fast[W_SQUARE]) / float(span)
    variance = max(variance, floor_half_ticks * floor_half_ticks)
    return sqrt(largest / variance), n


@kernel
def reversion_half_life(tape):
    """Half-life in seconds of mid's deviation from its mean, AR(1) by least squares over 15 m.

    INFINITY where it does not revert (phi >= 1), 0 where it overshoots within a step (phi <= 0),
    NAN where the deviation did not vary.
    """
    sums = tape["ar_sums"]
    n = tape["sample_sums"][I_15M, W_RETURNS]
    if n < 2:
        return NAN
    # Moments around whole numbers near both means: small, exact, and 0 only if x never varied.
    x = sums[A_X] // n
    y = sums[A_Y] // n
    x_rest = sums[A_X] - n * x
    y_rest = sums[A_Y] - n * y
    xx = sums[A_XX] - 2 * x * sums[A_X] + n * x * x
    xy = (sums[A_XY] - x * sums[A_Y]) - y * x_rest
    if xx == 0:
        return NAN
    variance = float(xx) - float(x_rest) * float(x_rest) / float(n)
    phi = (float(xy) - float(x_rest) * float(y_rest) / float(n)) / variance
    if phi >= 1.0:
        return INFINITY
    if phi <= 0.0:
        return 0.0
    return -_LN2 / log(phi) * float(tape["sample_sums"][I_15M, W_SPAN]) / float(n)


@kernel
def vol_percentile(tape):
    """Share of the last hour's 1 m variances below the present one, ties counted half; NAN if none.

    Variances are compared by quarter octave, about 9 % in volatility.
    """
    slot = tape["samples"][tape["second"] & (RING - 1), S_VOL]
    if slot < 0 or tape["n_vols"] == 0:
        return NAN
    counts = tape["vol_counts"]
    below = 0
    for i in range(slot):
        below += counts[i]
    return (float(below) + 0.5 * float(counts[slot])) / float(tape["n_vols"])


@kernel
def _sample_features(features, observations, tape):
    """What the sampled mids say: returns, drift, volatility, ranges, mean, reversion, jumps."""
    mid = float(tape["mid"])  # half ticks: the newest valid one
    for i in range(N_WINDOWS):
        sums = tape["sample_sums"][i]
        n = sums[W_RETURNS]
        move = sums[W_MOVE]
        features[F_RETURN_BPS + i] = ratio(float(move) * 1e4, mid - float(move))
        features[F_DRIFT_T + i] = drift_t(n, move, sums[W_SQUARE])
        # Scaled to the whole window where the samples cover more or less of it.
        variance = ratio(float(sums[W_SQUARE]) * float(_SECONDS[i]), float(sums[W_SPAN]))
        features[F_VOL_BPS + i] = ratio(sqrt(variance) * 1e4, mid)
        low = float(tape["low"][i])
        width = float(tape["high"][i]) - low
        features[F_RANGE_POSITION + i] = (mid - low) / width if width > 0.0 else 0.5
        observations[F_RETURN_BPS + i] = n + 1 if n > 0 else 0
        observations[F_DRIFT_T + i] = n
        observations[F_VOL_BPS + i] = n
        observations[F_RANGE_POSITION + i] = sums[W_MIDS]

    features[F_VOL_PERCENTILE] = vol_percentile(tape)
    observations[F_VOL_PERCENTILE] = tape["n_vols"]
    spread_mean = ratio(tape["spread_sum"], tape["spread_weight"])
    features[F_SPREAD_MEAN_BPS] = spread_mean
    observations[F_SPREAD_MEAN_BPS] = tape["n_spreads"]
    deviation = ratio(-ratio(tape["mean_shift"], tape["mean_weight"]), mid)
    sd = sqrt(ratio(tape["square_sum"], tape["square_weight"]))
    features[F_MEAN_BPS] = deviation * 1e4
    features[F_MEAN_Z] = ratio(deviation, sd)
    observations[F_MEAN_BPS] = tape["n_mids"]
    observations[F_MEAN_Z] = tape["n_mids"]
    features[F_REVERSION_HALF_LIFE] = reversion_half_life(tape)
    observations[F_REVERSION_HALF_LIFE] = tape["sample_sums"][I_15M, W_RETURNS]
    # A move within a few spreads is bounce: the sd is at least half the mean spread, or half a tick.
    floor = 1.0
    if spread_mean > 0.0:
        floor = max(floor, spread_mean * mid * 0.5e-4)
    z, n = jump_z(tape, floor)
    features[F_JUMP_Z] = z
    observations[F_JUMP_Z] = n

    features[F_OFI] = tape["flow_now"]
    features[F_OFI_SLOPE] = flow_slope(tape)
    features[F_UPDATE_RATE] = float(tape["flow_messages"]) / FLOW_S
    observations[F_OFI] = tape["flow_cover"]
    observations[F_OFI_SLOPE] = tape["n_slope"]
    observations[F_UPDATE_RATE] = tape["flow_cover"]


@kernel
def _candle_features(features, observations, tape):
    """True range and shape of the minute candles."""
    features[F_ATR_BPS] = ratio(tape["atr"] * 2e4, float(tape["mid"]))
    observations[F_ATR_BPS] = tape["n_ranges"]
    candle = tape["candles"][(tape["candle_minute"] - 1) % CANDLES]
    width = float(candle[C_HIGH] - candle[C_LOW])
    body = float(candle[C_CLOSE] - candle[C_OPEN])
    features[F_CANDLE_BODY] = body / width if width > 0.0 else 0.0
    observations[F_CANDLE_BODY] = tape["n_candles"]


@kernel
def compute_features(symbol, now):
    """Fill features and observations of one symbol; `tape_second` was called with the same `now`.

    symbol : SYMBOL record, whose book messages are complete; now : int64, ns
    """
    features = symbol["features"]
    observations = symbol["observations"]
    tape = symbol["tape"]
    for i in range(F_MID, F_TRADE_AGE + 1):
        features[i] = NAN
        observations[i] = 0
    bid = symbol["bid"]
    ask = symbol["ask"]
    if symbol["verified"] != 0 and bid > 0 and ask > bid:
        _book_features(features, observations, symbol, bid, ask)
    if tape["second"] > 0:
        _trade_features(features, observations, tape)
        _sample_features(features, observations, tape)
        _candle_features(features, observations, tape)
    level_features(features, observations, tape)
    if symbol["book_ts"] > 0:
        features[F_BOOK_AGE] = float(now - symbol["book_ts"]) / SECOND_NS
        observations[F_BOOK_AGE] = 1
    if symbol["trade_ts"] > 0:
        features[F_TRADE_AGE] = float(now - symbol["trade_ts"]) / SECOND_NS
        observations[F_TRADE_AGE] = 1
    for i in range(F_MID, F_TRADE_AGE + 1):
        if observations[i] < _MINIMUM[i]:
            features[i] = NAN
        else:
            features[i] = canonical(features[i])
