"""Where did the price turn lately? Extremes of the windows, and the level that stood before.

Both read what the tape keeps, remember nothing, and cost a walk of 40 candles. Left out: the
extremes of the newest full candles, which minutes.py has.
"""

from __future__ import annotations

from typing import Final

from engine.core.columns import FEATURE_INDEX, FEATURES, N_WINDOWS
from engine.core.tape import C_HIGH, C_LOW, CANDLES, W_MIDS
from engine.jit import kernel
from engine.numerics import NAN, ratio

F_HIGH_BPS: Final = FEATURE_INDEX["high_bps_10s"]  # first of N_WINDOWS
F_LOW_BPS: Final = FEATURE_INDEX["low_bps_10s"]
F_PRIOR_HIGH: Final = FEATURE_INDEX["prior_high_40"]
F_PRIOR_LOW: Final = FEATURE_INDEX["prior_low_40"]

NEWEST: Final = 20  # full candles that are left out: those of bar_high_20
PRIOR: Final = 40
MIDS_MIN: Final = FEATURES[F_HIGH_BPS].observations_min


@kernel
def level_features(features, observations, tape):
    """Fill high_bps, low_bps of each window and the extremes of the candles 21 to 60.

    tape : TAPE record, brought up to now by `tape_second`
    """
    mid = float(tape["mid"])  # half ticks
    for i in range(N_WINDOWS):
        n = tape["sample_sums"][i, W_MIDS]
        observations[F_HIGH_BPS + i] = n
        observations[F_LOW_BPS + i] = n
        features[F_HIGH_BPS + i] = NAN
        features[F_LOW_BPS + i] = NAN
        if n >= MIDS_MIN:
            features[F_HIGH_BPS + i] = ratio((float(tape["high"][i]) - mid) * 1e4, mid)
            features[F_LOW_BPS + i] = ratio((mid - float(tape["low"][i])) * 1e4, mid)
    n = tape["n_candles"]
    features[F_PRIOR_HIGH] = NAN
    features[F_PRIOR_LOW] = NAN
    observations[F_PRIOR_HIGH] = n
    observations[F_PRIOR_LOW] = n
    if n < NEWEST + PRIOR:
        return
    newest = tape["candle_minute"] - 1
    candle = tape["candles"][(newest - NEWEST) % CANDLES]
    high = candle[C_HIGH]
    low = candle[C_LOW]
    for k in range(NEWEST + 1, NEWEST + PRIOR):
        candle = tape["candles"][(newest - k) % CANDLES]
        high = max(high, candle[C_HIGH])
        low = min(low, candle[C_LOW])
    features[F_PRIOR_HIGH] = float(high)
    features[F_PRIOR_LOW] = float(low)
