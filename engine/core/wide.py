"""What else describes a symbol? The wider half of the feature vector, after the plain one.

Calls the files that know the parts (shape, drift, minutes, bursts, refill, level3, ignition,
forecast, daytime, score) and holds their values to the rules of columns.py: too few observations is
NAN, one bit pattern per value. `widen_market` comes after `compute_features` of the same moment.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.bursts import burst_features
from engine.core.columns import FEATURES, N_FEATURES_PLAIN
from engine.core.daytime import daytime_features, update_daytime
from engine.core.drift import drift_features
from engine.core.forecast import F_FORECAST, forecast_features, note_forecast
from engine.core.ignition import ignition_features, record_transition, update_ignition
from engine.core.level3 import level3_features
from engine.core.minutes import forget_vwap, minutes_features
from engine.core.refill import refill_features
from engine.core.score import F_EDGE_SCORE, F_SCORE_SPREAD, score_features
from engine.core.shape import shape_features
from engine.jit import kernel
from engine.numerics import NAN, canonical
from engine.stage import stage

_MINIMUM: Final = np.array([each.observations_min for each in FEATURES], np.int64)


@kernel
def hold_to_minimum(features, observations, first, last):
    """Columns [first, last) with too few observations become NAN; each value gets one form."""
    for i in range(first, last):
        if observations[i] < _MINIMUM[i]:
            features[i] = NAN
        else:
            features[i] = canonical(features[i])


@kernel
def widen_features(symbol, params, now):
    """Fill the columns after `inventory`; `compute_features` was called with the same `now`.

    symbol : SYMBOL record; params : PARAMS record; now : int64, ns
    """
    features = symbol["features"]
    observations = symbol["observations"]
    tape = symbol["tape"]
    for i in range(N_FEATURES_PLAIN, F_EDGE_SCORE + 1):
        features[i] = NAN
        observations[i] = 0
    if symbol["verified"] != 0 and 0 < symbol["bid"] < symbol["ask"]:
        shape_features(features, observations, symbol)
    if tape["second"] > 0:
        drift_features(features, observations, tape)
        if params["features_minutes"] == 1:
            minutes_features(features, observations, symbol["minutes"], tape)
    if params["features_vwap"] != 1:
        forget_vwap(features, observations)
    ignition_features(features, observations, symbol["ignition"], now)
    if params["features_bursts"] == 1:
        burst_features(features, observations, symbol["bursts"], now)
    if params["features_refill"] == 1:
        refill_features(features, observations, symbol["refill"])
    if params["features_level3"] == 1:
        quality_min = params["features_level3_quality_min"]
        level3_features(features, observations, symbol["level3"], now, quality_min)
    daytime_features(features, observations, symbol["daytime"])
    hold_to_minimum(features, observations, N_FEATURES_PLAIN, F_FORECAST)
    forecast_features(features, observations, params)
    score_features(features, observations, params)
    hold_to_minimum(features, observations, F_FORECAST, F_FORECAST + 2)
    hold_to_minimum(features, observations, F_SCORE_SPREAD, F_EDGE_SCORE + 1)


@stage
def wide_features(core, i):
    """`widen_features` of symbol i as of now."""
    widen_features(core.symbols[i], core.params[0], core.glob[0]["now"])


@stage
def widen_market(core, i):
    """Minute closes, hours and quarters of symbol i where they are due, then its wider features."""
    glob = core.glob[0]
    rings = core.rings[0]
    params = core.params[0]
    symbol = core.symbols[i]
    now = glob["now"]
    before = update_ignition(symbol, params, now)
    if before >= 0:
        record_transition(glob, rings, symbol, i, before)
    update_daytime(symbol, params, now)
    wide_features(core, i)
    mid_half_ticks = 0
    if symbol["verified"] == 1 and 0 < symbol["bid"] < symbol["ask"]:
        mid_half_ticks = symbol["bid"] + symbol["ask"]
    note_forecast(glob, rings, symbol, i, mid_half_ticks)
