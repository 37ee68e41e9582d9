"""Which kind of market is this? Five regimes with hysteresis, subtypes of chaos, a range label.

Tests run in order, the first that passes names the regime: LOW_LIQUIDITY, CHAOS, HIGH_VOLATILITY,
TREND, else RANGE. A regime that is held is left only when its measure falls below `hysteresis`
times its threshold, and not before `dwell_ns`, unless the market turns into CHAOS, LOW_LIQUIDITY
or UNKNOWN: into danger there is no waiting. Left out: which family trades in which regime
(params `regime_allows`), and any use of the range label, which is only recorded.
"""

from __future__ import annotations

from typing import Final

from engine.core.features import (
    F_DEPTH_ASK_25,
    F_DEPTH_BID_25,
    F_DRIFT_T,
    F_FLOW_IMBALANCE,
    F_JUMP_Z,
    F_N_TRADES,
    F_RETURN_BPS,
    F_SPREAD_BPS,
    F_SPREAD_MEAN_BPS,
    F_VOL_PERCENTILE,
)
from engine.core.tape import I_1H, I_1M, I_5M, I_15M, W_MIDS
from engine.jit import kernel

REGIME_UNKNOWN: Final = 0
REGIME_RANGE: Final = 1
REGIME_TREND: Final = 2
REGIME_HIGH_VOLATILITY: Final = 3
REGIME_LOW_LIQUIDITY: Final = 4
REGIME_CHAOS: Final = 5
REGIME_NAMES: Final[dict[int, str]] = {
    REGIME_UNKNOWN: "UNKNOWN",
    REGIME_RANGE: "RANGE",
    REGIME_TREND: "TREND",
    REGIME_HIGH_VOLATILITY: "HIGH_VOLATILITY",
    REGIME_LOW_LIQUIDITY: "LOW_LIQUIDITY",
    REGIME_CHAOS: "CHAOS",
}

CHAOS_NONE: Final = 0
CHAOS_DATA: Final = 1  # the book cannot be trusted now
CHAOS_SPREAD: Final = 2  # the spread blew out
CHAOS_GAP: Final = 3  # the price jumped
CHAOS_ONE_WAY: Final = 4  # the tape runs one way
CHAOS_NAMES: Final[dict[int, str]] = {
    CHAOS_NONE: "none",
    CHAOS_DATA: "doubtful data",
    CHAOS_SPREAD: "spread blow-out",
    CHAOS_GAP: "price gap",
    CHAOS_ONE_WAY: "one-way flow",
}

EXPANSION_NONE: Final = 0  # too little data, or nothing to say
EXPANSION_COMPRESSED: Final = 1
EXPANSION_EXPANDING: Final = 2
EXPANSION_EXPANDED: Final = 3
EXPANSION_EXHAUSTED: Final = 4
EXPANSION_NAMES: Final[dict[int, str]] = {
    EXPANSION_NONE: "none",
    EXPANSION_COMPRESSED: "compressed",
    EXPANSION_EXPANDING: "expanding",
    EXPANSION_EXPANDED: "expanded",
    EXPANSION_EXHAUSTED: "exhausted",
}

# The range label: range of 5 m against 1 h, each over the square root of its length, so that a
# plain random walk is near 1. Labels only, so constants and not parameters.
NARROW: Final = 0.6
WIDE: Final = 1.3
SPENT: Final = 0.5  # range of 1 m against 5 m, likewise
_SQRT_12: Final = 3.4641016151377544  # sqrt(3600 / 300)
_SQRT_5: Final = 2.23606797749979  # sqrt(300 / 60)
SAMPLES_MIN: Final = 900  # valid mids in the last hour


@kernel
def chaos_of(symbol, params, held):
    """Which CHAOS_* holds now; `held` is the subtype in force, whose threshold is lower."""
    features = symbol["features"]
    ease = params["regime_hysteresis"]
    spread = features[F_SPREAD_BPS]
    limit = params["regime_spread_blowout"] * features[F_SPREAD_MEAN_BPS]
    if spread > (limit * ease if held == CHAOS_SPREAD else limit):
        return CHAOS_SPREAD
    limit = params["regime_jump_z_chaos"]
    if features[F_JUMP_Z] > (limit * ease if held == CHAOS_GAP else limit):
        return CHAOS_GAP
    # A handful of trades is often one-sided by chance.
    if features[F_N_TRADES + I_1M] >= params["regime_one_way_trades"]:
        limit = params["regime_one_way"]
        flow = abs(features[F_FLOW_IMBALANCE + I_1M])
        if flow > (limit * ease if held == CHAOS_ONE_WAY else limit):
            return CHAOS_ONE_WAY
    return CHAOS_NONE


@kernel
def judge_regime(symbol, params):
    """Regime and chaos subtype that the features ask for, before any dwell.

    A feature that is NAN passes no test.
    """
    if symbol["verified"] == 0:
        if symbol["book_ts"] > 0:
            return REGIME_CHAOS, CHAOS_DATA
        return REGIME_UNKNOWN, CHAOS_NONE
    features = symbol["features"]
    held = symbol["regime"]
    ease = params["regime_hysteresis"]
    factor = ease if held == REGIME_LOW_LIQUIDITY else 1.0
    if (
        features[F_SPREAD_BPS] > params["regime_spread_low_liquidity_bps"] * factor
        or features[F_DEPTH_BID_25] * factor < params["regime_depth_min"]
        or features[F_DEPTH_ASK_25] * factor < params["regime_depth_min"]
    ):
        return REGIME_LOW_LIQUIDITY, CHAOS_NONE
    kind = chaos_of(symbol, params, symbol["chaos_kind"] if held == REGIME_CHAOS else CHAOS_NONE)
    if kind != CHAOS_NONE:
        return REGIME_CHAOS, kind
    percentile = features[F_VOL_PERCENTILE]
    drift = abs(features[F_DRIFT_T + I_15M])
    if (
        percentile != percentile
        or drift != drift
        or features[F_SPREAD_BPS] != features[F_SPREAD_BPS]
    ):
        return REGIME_UNKNOWN, CHAOS_NONE
    factor = ease if held == REGIME_HIGH_VOLATILITY else 1.0
    if percentile > params["regime_vol_percentile_high"] * factor:
        return REGIME_HIGH_VOLATILITY, CHAOS_NONE
    factor = ease if held == REGIME_TREND else 1.0
    if drift > params["regime_drift_t_trend"] * factor:
        return REGIME_TREND, CHAOS_NONE
    return REGIME_RANGE, CHAOS_NONE


@kernel
def expansion_of(symbol):
    """EXPANSION_*: is the range narrow, widening with the flow, wide, or wide and spent?"""
    tape = symbol["tape"]
    features = symbol["features"]
    if tape["sample_sums"][I_1H, W_MIDS] < SAMPLES_MIN:
        return EXPANSION_NONE
    width_1h = float(tape["high"][I_1H] - tape["low"][I_1H])
    width_5m = float(tape["high"][I_5M] - tape["low"][I_5M])
    width_1m = float(tape["high"][I_1M] - tape["low"][I_1M])
    if width_1h <= 0.0:
        return EXPANSION_NONE
    if width_5m * _SQRT_12 < NARROW * width_1h:
        return EXPANSION_COMPRESSED
    if width_5m * _SQRT_12 < WIDE * width_1h:
        return EXPANSION_NONE
    flow = features[F_FLOW_IMBALANCE + I_1M] * features[F_RETURN_BPS + I_5M]
    if width_1m * _SQRT_5 < SPENT * width_5m or flow < 0.0:
        return EXPANSION_EXHAUSTED
    if width_1m * _SQRT_5 >= width_5m and flow > 0.0:
        return EXPANSION_EXPANDING
    return EXPANSION_EXPANDED


@kernel
def update_regime(symbol, params, now):
    """Set regime, regime_ts, chaos_kind and expansion of one symbol from its features.

    symbol : SYMBOL record, features computed at `now`; params : PARAMS record; now : int64, ns
    """
    held = symbol["regime"]
    regime, kind = judge_regime(symbol, params)
    symbol["expansion"] = expansion_of(symbol)
    if regime == held:
        symbol["chaos_kind"] = kind
        return
    may_wait = held != REGIME_UNKNOWN and regime in (
        REGIME_RANGE,
        REGIME_TREND,
        REGIME_HIGH_VOLATILITY,
    )
    if may_wait and now - symbol["regime_ts"] < params["regime_dwell_ns"]:
        return
    symbol["regime"] = regime
    symbol["regime_ts"] = now
    symbol["chaos_kind"] = kind
