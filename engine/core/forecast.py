"""Which way will the next quarter of an hour go? A soft direction, never a gate.

A signed score and a confidence from drifts, flow, depth and bars. It scales the move and the
half-life of directional theses by at most 20 %, and only where `forecast.scale` is above 0. Each
quarter hour it is written down, and a quarter later what came of it. Formulas:
docs/formulas-market.md.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.columns import FEATURE_INDEX
from engine.core.records import T_FORECAST_15M
from engine.core.routes import (
    FAMILY_ATR_BREAKOUT,
    FAMILY_BREAKOUT,
    FAMILY_IGNITION,
    FAMILY_MOMENTUM,
    FAMILY_PULLBACK,
)
from engine.core.rows import claim_row
from engine.core.tape import SECOND_NS
from engine.jit import kernel
from engine.numerics import NAN, canonical, clip, ratio, tanh

QUARTER_NS: Final = 900 * SECOND_NS
N_INPUTS: Final = 7
_INPUTS: Final = np.array(
    [
        FEATURE_INDEX[name]
        for name in (
            "drift_t_5m",
            "drift_t_15m",
            "drift_t_1h",
            "flow_imbalance_15m",
            "imbalance_far",
            "range_position_1h",
            "acceleration",
        )
    ],
    np.int64,
)
# An input counts as (value - middle) / full, clipped to +-1.
_MIDDLE: Final = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0])
_FULL: Final = np.array([2.0, 2.0, 2.0, 1.0, 1.0, 0.5, 3.0])

F_FORECAST: Final = FEATURE_INDEX["forecast_15m"]
F_CONFIDENCE: Final = FEATURE_INDEX["forecast_15m_confidence"]

FORECAST: Final = np.dtype(
    [
        ("quarter", "<i8"),  # floor(now / 15 m) of the newest look, 0 none
        ("made", "<i8"),  # ns: of the forecast that is not judged yet, 0 none
        ("mid", "<i8"),  # half ticks, then
        ("score", "<f8"),
        ("confidence", "<f8"),
        ("inputs", "<f8", (N_INPUTS,)),
    ]
)


@kernel
def weight_of(params, i):
    """Weight of input i: of t-values, flow, depth, place in the range, acceleration."""
    if i == 0:
        return params["forecast_weight_drift_5m"]
    if i == 1:
        return params["forecast_weight_drift_15m"]
    if i == 2:
        return params["forecast_weight_drift_1h"]
    if i == 3:
        return params["forecast_weight_flow"]
    if i == 4:
        return params["forecast_weight_depth"]
    if i == 5:
        return params["forecast_weight_range"]
    return params["forecast_weight_acceleration"]


@kernel
def forecast_of(features, params):
    """Score -1..1, confidence 0..1 and the number of inputs that are known; NAN, NAN, 0 without any."""
    total = 0.0
    size = 0.0
    known = 0.0
    weights = 0.0
    n = 0
    for i in range(N_INPUTS):
        weight = weight_of(params, i)
        weights += abs(weight)
        value = features[_INPUTS[i]]
        if value != value:
            continue
        term = weight * clip((value - _MIDDLE[i]) / _FULL[i], -1.0, 1.0)
        total += term
        size += abs(term)
        known += abs(weight)
        n += 1
    if n == 0 or weights <= 0.0:
        return NAN, NAN, 0
    agreement = abs(total) / size if size > 0.0 else 0.0
    return tanh(total), agreement * known / weights, n


@kernel
def forecast_features(features, observations, params):
    """Fill the columns of the forecast; every input's column is filled already."""
    score, confidence, n = forecast_of(features, params)
    features[F_FORECAST] = score
    features[F_CONFIDENCE] = confidence
    observations[F_FORECAST] = n
    observations[F_CONFIDENCE] = n


@kernel
def is_directional(family):
    """Does this family follow a direction, so that the forecast may scale its move?"""
    return (
        family == FAMILY_MOMENTUM
        or family == FAMILY_PULLBACK
        or family == FAMILY_BREAKOUT
        or family == FAMILY_ATR_BREAKOUT
        or family == FAMILY_IGNITION
    )


@kernel
def forecast_factor(features, params, family, move_bps):
    """By what to multiply move and half-life of a thesis: 1 +- at most `forecast.scale`."""
    scale = params["forecast_scale"]
    score = features[F_FORECAST]
    confidence = features[F_CONFIDENCE]
    if scale <= 0.0 or score != score or confidence != confidence or not is_directional(family):
        return 1.0
    sign = -1.0 if move_bps < 0.0 else 1.0
    return 1.0 + scale * sign * score * confidence


@kernel
def _write(glob, rings, forecast, i, realized, ts_made, mid, move_bps):
    ring = rings["forecast_15m"]
    at = claim_row(glob, T_FORECAST_15M, len(ring))
    if at < 0:
        return
    row = ring[at]
    inputs = forecast["inputs"]
    row["ts"] = glob["now"]
    row["sym"] = i
    row["realized"] = realized
    row["ts_made"] = ts_made
    row["mid_half_ticks"] = mid
    row["score"] = canonical(forecast["score"])
    row["confidence"] = canonical(forecast["confidence"])
    row["drift_t_5m"] = canonical(inputs[0])
    row["drift_t_15m"] = canonical(inputs[1])
    row["drift_t_1h"] = canonical(inputs[2])
    row["flow_imbalance_15m"] = canonical(inputs[3])
    row["imbalance_far"] = canonical(inputs[4])
    row["range_position_1h"] = canonical(inputs[5])
    row["acceleration"] = canonical(inputs[6])
    row["move_bps"] = canonical(move_bps)


@kernel
def note_forecast(glob, rings, symbol, i, mid_half_ticks):
    """At the first evaluation of each quarter hour: judge the forecast before, write the next.

    mid_half_ticks : int64, 0 without a valid book: then nothing is judged and nothing is stated
    """
    forecast = symbol["forecast"]
    now = glob["now"]
    quarter = now // QUARTER_NS
    if quarter == forecast["quarter"]:
        return
    first = forecast["quarter"] == 0
    follows = quarter == forecast["quarter"] + 1
    forecast["quarter"] = quarter
    if forecast["made"] > 0 and follows and mid_half_ticks > 0:
        move = ratio(float(mid_half_ticks - forecast["mid"]) * 1e4, float(forecast["mid"]))
        _write(glob, rings, forecast, i, 1, forecast["made"], mid_half_ticks, move)
    forecast["made"] = 0
    features = symbol["features"]
    score = features[F_FORECAST]
    # The stream may begin anywhere in a quarter: the first whole one is the first to be stated.
    if first or mid_half_ticks <= 0 or score != score:
        return
    forecast["made"] = now
    forecast["mid"] = mid_half_ticks
    forecast["score"] = score
    forecast["confidence"] = features[F_CONFIDENCE]
    for k in range(N_INPUTS):
        forecast["inputs"][k] = features[_INPUTS[k]]
    _write(glob, rings, forecast, i, 0, now, mid_half_ticks, NAN)
