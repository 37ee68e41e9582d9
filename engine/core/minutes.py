"""What do whole minutes say? Longer volume-weighted prices, candle volatility, extremes, true range.

The tape keeps seconds for an hour and candles for four; here whole minutes are summed up once, when
they end, so that an evaluation reads results. `minutes_second` follows the tape each second. Sums
are made afresh for each window and joined in one order, so nothing is subtracted and nothing drifts.
Formulas and their sources: docs/formulas-market.md.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.columns import CANDLE_WINDOWS, FEATURE_INDEX
from engine.core.features import F_MID, F_VWAP, F_VWAP_Z
from engine.core.tape import (
    B_SECOND,
    B_TRADES,
    C_CLOSE,
    C_HIGH,
    C_LOW,
    C_OPEN,
    CANDLES,
    RING,
    VWAP_RING,
    join_moments,
    open_moments,
)
from engine.jit import kernel
from engine.numerics import NAN, log, ratio, sqrt

MINUTE_S: Final = 60
MINUTE_RING: Final = 256
N_LONG: Final = 2
LONG_MINUTES: Final = (60, 240)
_LONG: Final = np.array(LONG_MINUTES, np.int64)
_WINDOWS: Final = np.array(CANDLE_WINDOWS, np.int64)
N_CANDLE_WINDOWS: Final = len(CANDLE_WINDOWS)
N_ESTIMATORS: Final = 3  # close to close, Parkinson, Garman-Klass
BARS: Final = (20, 60)
ATR_BARS: Final = (5, 60)
_BARS: Final = np.array(BARS, np.int64)
_ATR_BARS: Final = np.array(ATR_BARS, np.int64)

_PARKINSON: Final = 0.36067376022224085  # 1 / (4 ln 2)
_GARMAN_KLASS: Final = 0.3862943611198906  # 2 ln 2 - 1

F_VWAP_LONG: Final = FEATURE_INDEX["vwap_1h"]  # vwap, sd, z of 1h, then of 4h
F_VOL_CANDLES: Final = FEATURE_INDEX["vol_close_15m"]  # estimators, each with its windows
F_BAR: Final = FEATURE_INDEX["bar_high_20"]  # high and low of 20, then of 60
F_ATR_FAST: Final = FEATURE_INDEX["atr_fast_bps"]

MINUTES: Final = np.dtype(
    [
        # volume-weighted moments (lots, mean price in ticks, lots x squared deviation)
        ("second", "<i8"),  # newest bucket second that is in `running` or before it, 0 none
        ("minute", "<i8"),  # the running minute, (second - 1) // 60
        ("running", "<f8", (3,)),
        ("running_trades", "<i8"),
        ("row_minute", "<i8", (MINUTE_RING,)),
        ("row_trades", "<i8", (MINUTE_RING,)),
        ("rows", "<f8", (MINUTE_RING, 3)),
        ("full", "<f8", (N_LONG, 3)),  # of each window without the running minute
        ("full_trades", "<i8", (N_LONG,)),
        # of the full candles, as of the open candle `candle_minute`
        ("candle_minute", "<i8"),
        ("variance", "<f8", (N_ESTIMATORS, N_CANDLE_WINDOWS)),
        ("n_variance", "<i8", (N_ESTIMATORS, N_CANDLE_WINDOWS)),
        ("high", "<i8", (2,)),  # ticks
        ("low", "<i8", (2,)),
        ("range_sum", "<i8", (2,)),  # ticks: true ranges of the last 5 and 60
        ("n_candles", "<i8"),
    ]
)


@kernel
def _close_minute(minutes):
    """Hand the running minute to the ring."""
    at = minutes["minute"] & (MINUTE_RING - 1)
    minutes["row_minute"][at] = minutes["minute"]
    minutes["row_trades"][at] = minutes["running_trades"]
    for c in range(3):
        minutes["rows"][at, c] = minutes["running"][c]
        minutes["running"][c] = 0.0
    minutes["running_trades"] = 0


@kernel
def _sum_minutes(minutes):
    """Join the full minutes of each window that ends in the running minute."""
    running = minutes["minute"]
    for w in range(N_LONG):
        lots = 0.0
        mean = 0.0
        square = 0.0
        n = 0
        for m in range(running - _LONG[w] + 1, running):
            at = m & (MINUTE_RING - 1)
            if minutes["row_minute"][at] == m and minutes["row_trades"][at] > 0:
                row = minutes["rows"][at]
                lots, mean, square = join_moments(lots, mean, square, row[0], row[1], row[2])
                n += minutes["row_trades"][at]
        minutes["full"][w, 0] = lots
        minutes["full"][w, 1] = mean
        minutes["full"][w, 2] = square
        minutes["full_trades"][w] = n


@kernel
def _roll_seconds(minutes, tape):
    """Join every bucket that the tape has closed since the last look, minute by minute."""
    newest = tape["bucket_second"]
    first = minutes["second"] + 1
    turned = False
    s = first - 1
    while s < newest:
        s += 1
        if s == first + 1:
            # Timers come each second while trades do: in a longer gap only the bucket that was
            # open at the last look can hold any.
            s = max(s, newest - VWAP_RING + 1)
        minute = (s - 1) // MINUTE_S
        if minute != minutes["minute"]:
            _close_minute(minutes)
            minutes["minute"] = minute
            turned = True
        if s == newest:
            break  # still open
        bucket = tape["buckets"][s & (RING - 1)]
        if bucket[B_SECOND] == s and bucket[B_TRADES] > 0:
            running = minutes["running"]
            row = tape["moments"][s & (VWAP_RING - 1)]
            running[0], running[1], running[2] = join_moments(
                running[0], running[1], running[2], row[0], row[1], row[2]
            )
            minutes["running_trades"] += bucket[B_TRADES]
    minutes["second"] = newest - 1
    if turned:
        _sum_minutes(minutes)


@kernel
def _sum_candles(minutes, tape):
    """Volatility, extremes and true ranges of the full candles, newest first."""
    open_minute = tape["candle_minute"]
    minutes["candle_minute"] = open_minute
    n = tape["n_candles"] if open_minute > 0 else 0
    minutes["n_candles"] = n
    close_sum = 0.0
    parkinson = 0.0
    garman_klass = 0.0
    high = 0
    low = 0
    ranges = 0
    candles = tape["candles"]
    for k in range(1, n + 1):
        candle = candles[(open_minute - k) % CANDLES]
        span = candle[C_HIGH] - candle[C_LOW]
        has_before = k < n
        if has_before:
            before = candles[(open_minute - k - 1) % CANDLES, C_CLOSE]
            step = log(ratio(float(candle[C_CLOSE]), float(before)))
            close_sum += step * step
            span = max(span, max(candle[C_HIGH] - before, before - candle[C_LOW]))
        width = log(ratio(float(candle[C_HIGH]), float(candle[C_LOW])))
        body = log(ratio(float(candle[C_CLOSE]), float(candle[C_OPEN])))
        parkinson += width * width * _PARKINSON
        garman_klass += 0.5 * width * width - _GARMAN_KLASS * body * body
        ranges += span
        high = max(high, candle[C_HIGH])
        low = candle[C_LOW] if k == 1 else min(low, candle[C_LOW])
        for w in range(N_CANDLE_WINDOWS):
            if k <= _WINDOWS[w]:
                minutes["variance"][0, w] = close_sum
                minutes["variance"][1, w] = parkinson
                minutes["variance"][2, w] = garman_klass
                minutes["n_variance"][0, w] = k if has_before else k - 1
                minutes["n_variance"][1, w] = k
                minutes["n_variance"][2, w] = k
        for w in range(2):
            if k <= _BARS[w]:
                minutes["high"][w] = high
                minutes["low"][w] = low
            if k <= _ATR_BARS[w]:
                minutes["range_sum"][w] = ranges


@kernel
def minutes_second(minutes, tape):
    """Follow the tape: call after each `tape_second`. Costs what has ended since the last call."""
    if tape["bucket_second"] > minutes["second"] + 1:
        _roll_seconds(minutes, tape)
    if tape["candle_minute"] != minutes["candle_minute"]:
        _sum_candles(minutes, tape)


@kernel
def _vwap_features(features, observations, minutes, tape):
    """Volume-weighted price of the long windows: full minutes, the running one, the open bucket."""
    running = minutes["running"]
    open_lots, open_mean, open_square = open_moments(tape)
    open_trades = tape["buckets"][tape["bucket_second"] & (RING - 1), B_TRADES]
    for w in range(N_LONG):
        full = minutes["full"][w]
        lots, mean, square = join_moments(
            full[0], full[1], full[2], running[0], running[1], running[2]
        )
        lots, mean, square = join_moments(lots, mean, square, open_lots, open_mean, open_square)
        sd = sqrt(ratio(square, lots))
        at = F_VWAP_LONG + 3 * w
        features[at] = mean
        features[at + 1] = ratio(sd * 1e4, mean)
        features[at + 2] = ratio(features[F_MID] - mean, sd)
        n = minutes["full_trades"][w] + minutes["running_trades"] + open_trades
        for c in range(3):
            observations[at + c] = n if lots > 0.0 else 0


@kernel
def forget_vwap(features, observations):
    """The gate `features.vwap` is off: every VWAP column is NAN, also those of 15 m."""
    for i in range(F_VWAP, F_VWAP_Z + 1):
        features[i] = NAN
        observations[i] = 0
    for i in range(F_VWAP_LONG, F_VWAP_LONG + 3 * N_LONG):
        features[i] = NAN
        observations[i] = 0


@kernel
def minutes_features(features, observations, minutes, tape):
    """Fill the columns of long VWAPs, candle volatility, extremes and true ranges."""
    if tape["bucket_second"] > 0:
        _vwap_features(features, observations, minutes, tape)
    for e in range(N_ESTIMATORS):
        for w in range(N_CANDLE_WINDOWS):
            at = F_VOL_CANDLES + e * N_CANDLE_WINDOWS + w
            features[at] = sqrt(max(minutes["variance"][e, w], 0.0)) * 1e4
            observations[at] = min(minutes["n_variance"][e, w], minutes["n_candles"])
    mid = float(tape["mid"]) * 0.5
    for w in range(2):
        at = F_BAR + 2 * w
        features[at] = float(minutes["high"][w])
        features[at + 1] = float(minutes["low"][w])
        observations[at] = minutes["n_candles"]
        observations[at + 1] = minutes["n_candles"]
        mean_range = float(minutes["range_sum"][w]) / float(_ATR_BARS[w])
        features[F_ATR_FAST + w] = ratio(mean_range * 1e4, mid)
        observations[F_ATR_FAST + w] = minutes["n_candles"]
