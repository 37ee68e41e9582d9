"""What follows when a level breaks? Breakout, ATR breakout, pullback, ignition momentum.

All four read levels of full minute candles and ask whether the break is real: more volume, more
volatility or more flow than before. Each is symmetrical; the short reading is recorded as
hypothetical. Left out: whether the break is a trap that reverts (reversion.py).

docs/families.md has inputs, exits and sources, docs/formulas-economics.md the formulas.
"""

from __future__ import annotations

from typing import Final

from engine.core.columns import FEATURE_INDEX, OUT_HISTORY
from engine.core.families.contract import (
    P_HALF_LIFE_S,
    FamilyCard,
    FamilyDefaults,
    FamilyParameter,
    answer_move,
    horizon_sd_bps,
    slot_of,
)
from engine.core.regime import REGIME_HIGH_VOLATILITY, REGIME_RANGE, REGIME_TREND
from engine.core.routes import (
    FAMILY_ATR_BREAKOUT,
    FAMILY_BREAKOUT,
    FAMILY_IGNITION,
    FAMILY_PULLBACK,
)
from engine.jit import kernel

_BREAKOUT: Final = (
    FamilyParameter(
        "range_percentile_max",
        0.35,
        0.0,
        1.0,
        "0..1",
        "the 15 m range at the newest close must have been narrower than this",
    ),
    FamilyParameter(
        "break_atr", 0.25, 0.0, 100.0, "ATR", "mid must be outside the box of 20 candles by this"
    ),
    FamilyParameter(
        "volume_min",
        2.0,
        0.0,
        1e6,
        "",
        "notional of the last minute over the hour's mean per minute",
    ),
    FamilyParameter(
        "expansion_min",
        1.2,
        0.0,
        1e6,
        "",
        "volatility over 1 m over what 15 m implies for a minute",
    ),
    FamilyParameter(
        "box_share",
        0.5,
        0.0,
        10.0,
        "boxes",
        "distance from the edge that is expected, in heights of the box",
    ),
    FamilyParameter(
        "inside_share", 0.25, 0.0, 10.0, "boxes", "back inside the box by this disproves it"
    ),
)
_ATR_BREAKOUT: Final = (
    FamilyParameter(
        "break_atr", 0.5, 0.0, 100.0, "ATR", "mid must be beyond the extreme of 20 candles by this"
    ),
    FamilyParameter("ratio_min", 1.3, 0.0, 1e6, "", "ATR of 5 candles over ATR of 60"),
    FamilyParameter("move_atr", 2.0, 0.0, 100.0, "ATR", "distance that is expected"),
    FamilyParameter(
        "invalidation_atr", 0.5, 0.0, 100.0, "ATR", "below the broken level by this disproves it"
    ),
)
_PULLBACK: Final = (
    FamilyParameter(
        "impulse_atr",
        2.0,
        0.0,
        100.0,
        "ATR",
        "the last 20 candles must have gone beyond the level before them by this",
    ),
    FamilyParameter(
        "near_atr",
        1.0,
        0.0,
        100.0,
        "ATR",
        "mid must be within this of the broken level, on either side",
    ),
    FamilyParameter(
        "flow_min",
        0.1,
        -1.0,
        1.0,
        "-1..1",
        "least flow imbalance over 1 m in the direction of the impulse",
    ),
    FamilyParameter(
        "lean_min_bps", 0.0, -1e4, 1e4, "bps", "least lean of the microprice in that direction"
    ),
    FamilyParameter(
        "back_share",
        0.6,
        0.0,
        1.0,
        "0..1",
        "share of the way back to the impulse's extreme that is expected",
    ),
    FamilyParameter(
        "invalidation_atr", 1.0, 0.0, 100.0, "ATR", "beyond the level by this disproves it"
    ),
)
_IGNITION: Final = (
    FamilyParameter("flow_min", 0.3, -1.0, 1.0, "-1..1",
                    "least flow imbalance over 1 m in its direction"),
    FamilyParameter("acceleration_min", 0.0, -1e6, 1e6, "sd",
                    "acceleration in its direction must exceed this"),
    FamilyParameter("impulse_share", 0.5, 0.0, 10.0, "",
                    "share of the last minute's move that is expected to follow"),
    FamilyParameter("retrace_share", 0.5, 0.01, 10.0, "",
                    "share of that move lost again that disproves it"),
)  # fmt: skip

PARAMETERS: Final[dict[int, tuple[FamilyParameter, ...]]] = {
    FAMILY_PULLBACK: _PULLBACK,
    FAMILY_BREAKOUT: _BREAKOUT,
    FAMILY_ATR_BREAKOUT: _ATR_BREAKOUT,
    FAMILY_IGNITION: _IGNITION,
}
DEFAULTS: Final = {
    FAMILY_PULLBACK: FamilyDefaults(300.0, 1, (REGIME_TREND, REGIME_RANGE), 0),
    FAMILY_BREAKOUT: FamilyDefaults(
        300.0, 1, (REGIME_RANGE, REGIME_TREND, REGIME_HIGH_VOLATILITY), 0
    ),
    FAMILY_ATR_BREAKOUT: FamilyDefaults(300.0, 1, (REGIME_TREND, REGIME_HIGH_VOLATILITY), 0),
    FAMILY_IGNITION: FamilyDefaults(
        30.0, 1, (REGIME_RANGE, REGIME_TREND, REGIME_HIGH_VOLATILITY), 0
    ),
}
_VOL: Final = ("vol_bps_1m",)
CARDS: Final = {
    FAMILY_PULLBACK: FamilyCard(
        (
            *("mid", "bar_high_20", "bar_low_20", "prior_high_40", "prior_low_40", "atr_bps"),
            *("flow_imbalance_1m", "microprice_bps", *_VOL),
        ),
        "parameter, 300 s",
        "stop one ATR behind the level; the way is back to the impulse's extreme; time",
        "Osler 2000, 'Support for resistance' (levels hold); retest of a broken level: own form",
    ),
    FAMILY_BREAKOUT: FamilyCard(
        (
            *("mid", "bar_high_20", "bar_low_20", "range_percentile", "atr_bps"),
            *("buy_notional_1m", "sell_notional_1m", "buy_notional_1h", "sell_notional_1h"),
            *("vol_bps_15m", *_VOL),
        ),
        "parameter, 300 s",
        "stop inside the box; the way is a share of the box's height from its edge; time",
        "Brock, Lakonishok, LeBaron 1992, 'Simple technical trading rules' (range break)",
    ),
    FAMILY_ATR_BREAKOUT: FamilyCard(
        ("mid", "bar_high_20", "bar_low_20", "atr_bps", "atr_fast_bps", "atr_slow_bps", *_VOL),
        "parameter, 300 s",
        "stop behind the broken level; the way is a number of ATR; time",
        "Wilder 1978 (ATR), Donchian's channel as in Brock, Lakonishok, LeBaron 1992",
    ),
    FAMILY_IGNITION: FamilyCard(
        (
            *("ignition_state", "ignition_direction", "acceleration"),
            *("flow_imbalance_1m", "return_bps_1m", *_VOL),
        ),
        "parameter, 30 s",
        "stop where a share of the impulse is lost; the way is a share of it; time",
        "own; continuation by split orders: Bouchaud, Farmer, Lillo 2009, 'How markets slowly "
        "digest changes in supply and demand'",
    ),
}

_BO_RANGE: Final = slot_of(_BREAKOUT, "range_percentile_max")
_BO_BREAK: Final = slot_of(_BREAKOUT, "break_atr")
_BO_VOLUME: Final = slot_of(_BREAKOUT, "volume_min")
_BO_EXPANSION: Final = slot_of(_BREAKOUT, "expansion_min")
_BO_SHARE: Final = slot_of(_BREAKOUT, "box_share")
_BO_INSIDE: Final = slot_of(_BREAKOUT, "inside_share")
_AB_BREAK: Final = slot_of(_ATR_BREAKOUT, "break_atr")
_AB_RATIO: Final = slot_of(_ATR_BREAKOUT, "ratio_min")
_AB_MOVE: Final = slot_of(_ATR_BREAKOUT, "move_atr")
_AB_INVALIDATION: Final = slot_of(_ATR_BREAKOUT, "invalidation_atr")
_PB_IMPULSE: Final = slot_of(_PULLBACK, "impulse_atr")
_PB_NEAR: Final = slot_of(_PULLBACK, "near_atr")
_PB_FLOW: Final = slot_of(_PULLBACK, "flow_min")
_PB_LEAN: Final = slot_of(_PULLBACK, "lean_min_bps")
_PB_BACK: Final = slot_of(_PULLBACK, "back_share")
_PB_INVALIDATION: Final = slot_of(_PULLBACK, "invalidation_atr")
_IG_FLOW: Final = slot_of(_IGNITION, "flow_min")
_IG_ACCELERATION: Final = slot_of(_IGNITION, "acceleration_min")
_IG_SHARE: Final = slot_of(_IGNITION, "impulse_share")
_IG_RETRACE: Final = slot_of(_IGNITION, "retrace_share")

_MID: Final = FEATURE_INDEX["mid"]
_HIGH_20: Final = FEATURE_INDEX["bar_high_20"]
_LOW_20: Final = FEATURE_INDEX["bar_low_20"]
_PRIOR_HIGH: Final = FEATURE_INDEX["prior_high_40"]
_PRIOR_LOW: Final = FEATURE_INDEX["prior_low_40"]
_RANGE: Final = FEATURE_INDEX["range_percentile"]
_ATR: Final = FEATURE_INDEX["atr_bps"]
_ATR_FAST: Final = FEATURE_INDEX["atr_fast_bps"]
_ATR_SLOW: Final = FEATURE_INDEX["atr_slow_bps"]
_BUY_1M: Final = FEATURE_INDEX["buy_notional_1m"]
_SELL_1M: Final = FEATURE_INDEX["sell_notional_1m"]
_BUY_1H: Final = FEATURE_INDEX["buy_notional_1h"]
_SELL_1H: Final = FEATURE_INDEX["sell_notional_1h"]
_VOL_1M: Final = FEATURE_INDEX["vol_bps_1m"]
_VOL_15M: Final = FEATURE_INDEX["vol_bps_15m"]
_FLOW_1M: Final = FEATURE_INDEX["flow_imbalance_1m"]
_MICROPRICE: Final = FEATURE_INDEX["microprice_bps"]
_RETURN_1M: Final = FEATURE_INDEX["return_bps_1m"]
_STATE: Final = FEATURE_INDEX["ignition_state"]
_DIRECTION: Final = FEATURE_INDEX["ignition_direction"]
_ACCELERATION: Final = FEATURE_INDEX["acceleration"]

STATE_IGNITION: Final = 2.0  # of feature ignition_state
STATE_EXPANSION: Final = 3.0
_MINUTES_PER_HOUR: Final = 60.0
_ROOT_15: Final = 3.872983346207417  # sqrt(15): volatility of 15 m per that of one


@kernel
def beyond_bps(mid, high, low):
    """How far mid is outside [low, high], in bps of mid, and on which side (+1, -1; 0 inside)."""
    if mid > high:
        return (mid - high) * 1e4 / mid, 1.0
    if mid < low:
        return (low - mid) * 1e4 / mid, -1.0
    return 0.0, 0.0


@kernel
def breakout(features, params, out):
    """Compression to expansion: out of a narrow box with volume, on towards a box's height.

    Half the box is expected from its edge; what is behind already is gone. Back inside: disproved.
    """
    mid = features[_MID]
    high = features[_HIGH_20]
    low = features[_LOW_20]
    narrow = features[_RANGE]
    atr = features[_ATR]
    traded = features[_BUY_1M] + features[_SELL_1M]
    usual = (features[_BUY_1H] + features[_SELL_1H]) / _MINUTES_PER_HOUR
    slow = features[_VOL_15M]
    sd = horizon_sd_bps(features)
    if not (mid > 0.0 and high >= low and narrow == narrow and atr > 0.0 and sd > 0.0):
        out[OUT_HISTORY] = 1.0
        return
    if not (traded == traded and usual == usual and slow == slow and features[_VOL_1M] >= 0.0):
        out[OUT_HISTORY] = 1.0
        return
    outside, direction = beyond_bps(mid, high, low)
    if direction == 0.0 or outside < params[_BO_BREAK] * atr:
        return
    if narrow > params[_BO_RANGE] or traded < params[_BO_VOLUME] * usual:
        return
    if features[_VOL_1M] * _ROOT_15 < params[_BO_EXPANSION] * slow:
        return
    box = (high - low) * 1e4 / mid
    left = params[_BO_SHARE] * box - outside
    if left <= 0.0:
        return
    against = outside + params[_BO_INSIDE] * box
    answer_move(out, features, left, direction, against, params[P_HALF_LIFE_S], sd)


@kernel
def atr_breakout(features, params, out):
    """Beyond the extreme of 20 candles while ranges widen: on by a number of average ranges."""
    mid = features[_MID]
    high = features[_HIGH_20]
    low = features[_LOW_20]
    atr = features[_ATR]
    fast = features[_ATR_FAST]
    slow = features[_ATR_SLOW]
    sd = horizon_sd_bps(features)
    known = mid > 0.0 and high >= low and atr > 0.0 and fast == fast and slow == slow
    if not (known and sd > 0.0):
        out[OUT_HISTORY] = 1.0
        return
    outside, direction = beyond_bps(mid, high, low)
    if direction == 0.0 or outside < params[_AB_BREAK] * atr or fast < params[_AB_RATIO] * slow:
        return
    left = params[_AB_MOVE] * atr
    if left <= 0.0:
        return
    against = outside + params[_AB_INVALIDATION] * atr
    answer_move(out, features, left, direction, against, params[P_HALF_LIFE_S], sd)


@kernel
def pullback(features, params, out):
    """Retest of a broken level: the impulse went beyond it, price is back, flow turns again.

    The level is the extreme of the 40 candles before the last 20. Where both sides were broken
    the side on which the price stands decides, and nothing is expected in the middle.
    """
    mid = features[_MID]
    high = features[_HIGH_20]
    low = features[_LOW_20]
    prior_high = features[_PRIOR_HIGH]
    prior_low = features[_PRIOR_LOW]
    atr = features[_ATR]
    flow = features[_FLOW_1M]
    lean = features[_MICROPRICE]
    sd = horizon_sd_bps(features)
    known = mid > 0.0 and high >= low and prior_high >= prior_low and atr > 0.0 and sd > 0.0
    if not (known and flow == flow and lean == lean):
        out[OUT_HISTORY] = 1.0
        return
    impulse = params[_PB_IMPULSE] * atr
    near = params[_PB_NEAR] * atr
    up = (high - prior_high) * 1e4 / mid
    down = (prior_low - low) * 1e4 / mid
    above = (mid - prior_high) * 1e4 / mid
    below = (prior_low - mid) * 1e4 / mid
    direction = 0.0
    behind = 0.0
    extreme = 0.0
    if up > 0.0 and up >= impulse and -near <= above <= near:
        direction = 1.0
        behind = above
        extreme = up
    elif down > 0.0 and down >= impulse and -near <= below <= near:
        direction = -1.0
        behind = below
        extreme = down
    if direction == 0.0 or flow * direction < params[_PB_FLOW]:
        return
    if lean * direction < params[_PB_LEAN]:
        return
    left = params[_PB_BACK] * (extreme - behind)
    if left <= 0.0:
        return
    against = behind + params[_PB_INVALIDATION] * atr
    if against <= 0.0:
        return  # it is further behind the level than what disproves it
    answer_move(out, features, left, direction, against, params[P_HALF_LIFE_S], sd)


@kernel
def ignition(features, params, out):
    """Go with an ignition while it burns: a share of the last minute's move, for seconds.

    Silent while the gate `ignition.enabled` is off: the state then stays dormant.
    """
    state = features[_STATE]
    direction = features[_DIRECTION]
    acceleration = features[_ACCELERATION]
    flow = features[_FLOW_1M]
    impulse = features[_RETURN_1M]
    sd = horizon_sd_bps(features)
    if state == state and state != STATE_IGNITION and state != STATE_EXPANSION:
        return
    known = state == state and direction == direction and acceleration == acceleration
    if not (known and flow == flow and impulse == impulse and sd > 0.0):
        out[OUT_HISTORY] = 1.0
        return
    if direction == 0.0 or impulse * direction <= 0.0:
        return
    if acceleration * direction <= params[_IG_ACCELERATION]:
        return
    if flow * direction < params[_IG_FLOW]:
        return
    distance = params[_IG_SHARE] * impulse * direction
    if distance <= 0.0:
        return
    against = params[_IG_RETRACE] * impulse * direction
    answer_move(out, features, distance, direction, against, params[P_HALF_LIFE_S], sd)
