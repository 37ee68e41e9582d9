"""What do all families share? Their parameters' form, the caller's slots, and how they answer.

A family reads the feature vector and its parameters and fills `out` through `answer`. Left out:
the families themselves, and the table of them (engine/core/theses.py).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.core.columns import (
    FEATURE_INDEX,
    N_FAMILY_PARAMS,
    OUT_ACTIVE,
    OUT_CONFIDENCE,
    OUT_HALF_LIFE_S,
    OUT_INVALIDATION_BPS,
    OUT_MOVE_BPS,
    OUT_SD_BPS,
)
from engine.core.edge import decay
from engine.jit import kernel
from engine.numerics import NAN, clip, normal_cdf, sqrt

# The last slots belong to the caller: numbers a thesis may want and features cannot know.
P_MAKER_FEE_BPS: Final = N_FAMILY_PARAMS - 3
P_TAKER_FEE_BPS: Final = N_FAMILY_PARAMS - 2
P_HALF_LIFE_S: Final = N_FAMILY_PARAMS - 1
N_OWN_PARAMS: Final = N_FAMILY_PARAMS - 3

CONFIDENCE_MIN: Final = 0.01  # never certain, in either direction

_HORIZON: Final = FEATURE_INDEX["horizon"]
_TICK: Final = FEATURE_INDEX["tick_bps"]
_VOL_1M: Final = FEATURE_INDEX["vol_bps_1m"]
_VOL_5M: Final = FEATURE_INDEX["vol_bps_5m"]
_VOL_15M: Final = FEATURE_INDEX["vol_bps_15m"]


class FamilyParameter(NamedTuple):
    """One number of a family: name, default, bounds, unit, meaning. Its place is its slot."""

    name: str
    default: float
    low: float
    high: float
    unit: str
    doc: str


class FamilyDefaults(NamedTuple):
    """Half-life of the signal where the family does not measure it; taker; regimes; switched on."""

    half_life_s: float
    taker: int
    regimes: tuple[int, ...]
    enabled: int


class FamilyCard(NamedTuple):
    """What a family lives on, for people: docs/families.md is held against it by a test.

    inputs : features without which it says NOT_ENOUGH_HISTORY
    exits : what ends its trade beyond the rules that all positions have
    """

    inputs: tuple[str, ...]
    half_life: str
    exits: str
    source: str


def slot_of(parameters: tuple[FamilyParameter, ...], name: str) -> int:
    """Place of a parameter among those of its family."""
    return [each.name for each in parameters].index(name)


@kernel
def horizon_sd_bps(features):
    """Standard deviation of the mid's move over features["horizon"], in bps; NAN if unknown.

    The realised volatility of the shortest window that covers the horizon, scaled by the square
    root of time, and at least half a tick: a mid that has not moved yet is not a riskless one.
    """
    horizon = features[_HORIZON]
    if horizon <= 60.0:
        vol = features[_VOL_1M] * sqrt(horizon / 60.0)
    elif horizon <= 300.0:
        vol = features[_VOL_5M] * sqrt(horizon / 300.0)
    else:
        vol = features[_VOL_15M] * sqrt(horizon / 900.0)
    if not vol >= 0.0:
        return NAN
    floor = 0.5 * features[_TICK]
    return vol if vol > floor else floor


@kernel
def answer(out, move, sd, confidence, invalidation, half_life):
    """Fill `out` with an active thesis. move : float64, bps, signed; confidence is clipped."""
    out[OUT_ACTIVE] = 1.0
    out[OUT_MOVE_BPS] = move
    out[OUT_SD_BPS] = sd
    out[OUT_CONFIDENCE] = clip(confidence, CONFIDENCE_MIN, 1.0 - CONFIDENCE_MIN)
    out[OUT_INVALIDATION_BPS] = invalidation
    out[OUT_HALF_LIFE_S] = half_life


@kernel
def answer_move(out, features, distance, direction, invalidation, half_life, sd):
    """Answer with a move of `distance` bps that comes at the pace of the half-life.

    move = direction x distance x (1 - 2^(-horizon / half-life)); the confidence is the normal
    chance of the right sign. distance : float64, bps, > 0, what is to come in the end
    """
    size = distance * (1.0 - decay(features[_HORIZON], half_life))
    floor = features[_TICK]
    if invalidation < floor:
        invalidation = floor  # nearer than a tick nothing can be disproved
    answer(out, direction * size, sd, normal_cdf(size / sd), invalidation, half_life)
