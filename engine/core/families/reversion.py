"""What expects a way back? Grid, scalping, fade, VWAP reversion, liquidity sweep.

Each wants evidence that the fall was not news: a range that holds, flow that turns, an emptied
level that is quoted again. Symmetrical; the short reading is recorded as hypothetical. Left out:
mean reversion around the trailing mean and market making (engine/core/theses.py).

docs/families.md has inputs, exits and sources, docs/formulas-economics.md the formulas.
"""

from __future__ import annotations

from typing import Final

from engine.core.columns import FEATURE_INDEX, OUT_HISTORY, OUT_REASON
from engine.core.edge import decay
from engine.core.families.contract import (
    P_HALF_LIFE_S,
    FamilyCard,
    FamilyDefaults,
    FamilyParameter,
    answer,
    answer_move,
    horizon_sd_bps,
    slot_of,
)
from engine.core.regime import REGIME_HIGH_VOLATILITY, REGIME_RANGE, REGIME_TREND
from engine.core.routes import (
    FAMILY_FADE,
    FAMILY_GRID,
    FAMILY_SCALPING,
    FAMILY_SWEEP,
    FAMILY_VWAP_REVERSION,
)
from engine.jit import kernel
from engine.numerics import normal_cdf, sqrt

_GRID: Final = (
    FamilyParameter(
        "band", 0.25, 0.0, 0.5, "0..1", "mid must be in this share of the 15 m range, from its end"
    ),
    FamilyParameter("steps", 8.0, 1.0, 1000.0, "", "steps in the 15 m range"),
    FamilyParameter("step_min_bps", 2.0, 0.0, 1e4, "bps", "a step is never smaller"),
    FamilyParameter(
        "strength_min",
        0.5,
        0.0,
        1.0,
        "0..1",
        "the range must fall short of a random walk's by this share",
    ),
    FamilyParameter("drift_t_max", 1.5, 0.0, 100.0, "t", "largest t-value of the 15 m drift"),
    FamilyParameter(
        "break_steps",
        1.0,
        0.0,
        1000.0,
        "steps",
        "beyond the range by this disproves it: the range broke",
    ),
)
_SCALPING: Final = (
    FamilyParameter("lean_min", 0.3, 0.0, 10.0, "half spreads", "least lean of the microprice"),
    FamilyParameter(
        "wait_max_s", 30.0, 0.0, 1e6, "s", "longest expected wait at the touch, on both sides"
    ),
    FamilyParameter("range_ticks_min", 1.0, 0.0, 1e6, "ticks", "least range of mid over 1 m"),
    FamilyParameter("range_ticks_max", 12.0, 0.0, 1e6, "ticks", "largest range of mid over 1 m"),
    FamilyParameter("lean_share", 1.0, 0.0, 10.0, "", "share of the lean that is expected to come"),
    FamilyParameter("horizon_max_s", 60.0, 0.0, 1e6, "s", "no longer horizon"),
    FamilyParameter(
        "invalidation_ticks",
        4.0,
        0.0,
        1e6,
        "ticks",
        "adverse move beyond the half spread that disproves it",
    ),
)
_FADE: Final = (
    FamilyParameter(
        "z_min",
        3.0,
        0.0,
        100.0,
        "sd",
        "least move of the last 5 m, in sd of what the last hour implies",
    ),
    FamilyParameter(
        "imbalance_min", 0.1, -1.0, 1.0, "-1..1", "least imbalance of five levels against the move"
    ),
    FamilyParameter(
        "lean_min_bps", 0.0, -1e4, 1e4, "bps", "least lean of the microprice against the move"
    ),
    FamilyParameter(
        "refill_min", 0.3, 0.0, 1.0, "0..1", "least refill after 1 s of the side that was hit"
    ),
    FamilyParameter("retrace", 0.382, 0.0, 1.0, "0..1", "share of the leg that is expected back"),
    FamilyParameter(
        "beyond_sd",
        1.0,
        0.0,
        100.0,
        "sd",
        "beyond the leg's extreme by this, of the horizon's volatility, disproves it",
    ),
)
_VWAP: Final = (
    FamilyParameter("z_min", 2.0, 0.0, 100.0, "sd", "least distance of mid from the 15 m VWAP"),
    FamilyParameter(
        "flow_max",
        0.3,
        -1.0,
        1.0,
        "-1..1",
        "flow imbalance over 5 m away from the VWAP above this is persistent",
    ),
    FamilyParameter(
        "drift_t_max",
        2.0,
        0.0,
        100.0,
        "t",
        "t-value of the 5 m drift away from the VWAP above this is persistent",
    ),
    FamilyParameter("share", 0.3, 0.0, 1.0, "0..1", "share of the distance expected back"),
    FamilyParameter(
        "invalidation_sd",
        1.0,
        0.0,
        100.0,
        "sd",
        "further away by this many sd of price around the VWAP disproves it",
    ),
)
_SWEEP: Final = (
    FamilyParameter("levels_min", 4.0, 1.0, 1e6, "levels", "least levels that the burst took"),
    FamilyParameter("sweep_bps_min", 3.0, 0.0, 1e4, "bps", "least distance it went"),
    FamilyParameter("settle_s", 0.5, 0.0, 60.0, "s", "not before this much time has passed"),
    FamilyParameter("age_max_s", 5.0, 0.0, 60.0, "s", "not after"),
    FamilyParameter("refill_min", 0.5, 0.0, 1.0, "0..1",
                    "least refill after 5 s of the side that was swept"),
    FamilyParameter("imbalance_min", 0.1, -1.0, 1.0, "-1..1",
                    "least imbalance of five levels against the sweep: absorption"),
    FamilyParameter("back_share", 0.5, 0.0, 1.0, "0..1",
                    "share of the way to the mid before the sweep that is expected"),
    FamilyParameter("beyond_sd", 1.0, 0.0, 100.0, "sd",
                    "beyond the sweep's extreme by this disproves it"),
)  # fmt: skip

PARAMETERS: Final[dict[int, tuple[FamilyParameter, ...]]] = {
    FAMILY_GRID: _GRID,
    FAMILY_SCALPING: _SCALPING,
    FAMILY_FADE: _FADE,
    FAMILY_SWEEP: _SWEEP,
    FAMILY_VWAP_REVERSION: _VWAP,
}
DEFAULTS: Final = {
    FAMILY_GRID: FamilyDefaults(300.0, 0, (REGIME_RANGE,), 0),
    FAMILY_SCALPING: FamilyDefaults(10.0, 0, (REGIME_RANGE,), 0),
    FAMILY_FADE: FamilyDefaults(60.0, 0, (REGIME_RANGE, REGIME_HIGH_VOLATILITY), 0),
    FAMILY_SWEEP: FamilyDefaults(10.0, 1, (REGIME_RANGE, REGIME_TREND, REGIME_HIGH_VOLATILITY), 0),
    FAMILY_VWAP_REVERSION: FamilyDefaults(300.0, 0, (REGIME_RANGE,), 0),
}
CARDS: Final = {
    FAMILY_GRID: FamilyCard(
        ("high_bps_15m", "low_bps_15m", "drift_t_15m", "vol_bps_15m", "vol_bps_1m"),
        "parameter, 300 s",
        "stop where the range breaks; the way is one step; time",
        "Feller 1951, 'The asymptotic distribution of the range of sums'; Lo 1991 (rescaled range)",
    ),
    FAMILY_SCALPING: FamilyCard(
        (
            *("microprice_bps", "spread_bps", "tick_bps", "queue_wait_bid", "queue_wait_ask"),
            *("high_bps_1m", "low_bps_1m", "vol_bps_1m"),
        ),
        "parameter, 10 s",
        "maker exit required: blocked while `costs.exit_maker_share` is below 1; stop; time",
        "Stoikov 2018, 'The micro-price'; Menkveld 2013 (both legs rest)",
    ),
    FAMILY_FADE: FamilyCard(
        (
            *("return_bps_5m", "vol_bps_1h", "imbalance_5", "microprice_bps"),
            *("refill_1s_bid", "low_bps_5m", "vol_bps_1m"),
        ),
        "parameter, 60 s",
        "stop beyond the leg's extreme; the way is a share of the leg; time",
        "Lehmann 1990, 'Fads, martingales, and market efficiency'; refill: Large 2007",
    ),
    FAMILY_SWEEP: FamilyCard(
        (
            *("sweep_bps_sell", "sweep_age_sell", "refill_5s_bid", "imbalance_5"),
            *("low_bps_10s", "vol_bps_1m"),
        ),
        "parameter, 10 s",
        "stop beyond the sweep's extreme; the way is a share of what it took; time",
        "Large 2007, 'Measuring the resiliency of an electronic limit order book'; Foucault, "
        "Kadan, Kandel 2005",
    ),
    FAMILY_VWAP_REVERSION: FamilyCard(
        ("vwap_z", "vwap_sd_bps", "flow_imbalance_5m", "drift_t_5m", "vol_bps_1m"),
        "parameter, 300 s",
        "stop some sd further away; the way is a share of the distance; time",
        "Berkowitz, Logue, Noser 1988 (VWAP); the share is own",
    ),
}

_GR_BAND: Final = slot_of(_GRID, "band")
_GR_STEPS: Final = slot_of(_GRID, "steps")
_GR_STEP_MIN: Final = slot_of(_GRID, "step_min_bps")
_GR_STRENGTH: Final = slot_of(_GRID, "strength_min")
_GR_DRIFT: Final = slot_of(_GRID, "drift_t_max")
_GR_BREAK: Final = slot_of(_GRID, "break_steps")
_SC_LEAN: Final = slot_of(_SCALPING, "lean_min")
_SC_WAIT: Final = slot_of(_SCALPING, "wait_max_s")
_SC_RANGE_MIN: Final = slot_of(_SCALPING, "range_ticks_min")
_SC_RANGE_MAX: Final = slot_of(_SCALPING, "range_ticks_max")
_SC_SHARE: Final = slot_of(_SCALPING, "lean_share")
_SC_HORIZON: Final = slot_of(_SCALPING, "horizon_max_s")
_SC_INVALIDATION: Final = slot_of(_SCALPING, "invalidation_ticks")
_FA_Z: Final = slot_of(_FADE, "z_min")
_FA_IMBALANCE: Final = slot_of(_FADE, "imbalance_min")
_FA_LEAN: Final = slot_of(_FADE, "lean_min_bps")
_FA_REFILL: Final = slot_of(_FADE, "refill_min")
_FA_RETRACE: Final = slot_of(_FADE, "retrace")
_FA_BEYOND: Final = slot_of(_FADE, "beyond_sd")
_VW_Z: Final = slot_of(_VWAP, "z_min")
_VW_FLOW: Final = slot_of(_VWAP, "flow_max")
_VW_DRIFT: Final = slot_of(_VWAP, "drift_t_max")
_VW_SHARE: Final = slot_of(_VWAP, "share")
_VW_INVALIDATION: Final = slot_of(_VWAP, "invalidation_sd")
_SW_LEVELS: Final = slot_of(_SWEEP, "levels_min")
_SW_BPS: Final = slot_of(_SWEEP, "sweep_bps_min")
_SW_SETTLE: Final = slot_of(_SWEEP, "settle_s")
_SW_AGE: Final = slot_of(_SWEEP, "age_max_s")
_SW_REFILL: Final = slot_of(_SWEEP, "refill_min")
_SW_IMBALANCE: Final = slot_of(_SWEEP, "imbalance_min")
_SW_BACK: Final = slot_of(_SWEEP, "back_share")
_SW_BEYOND: Final = slot_of(_SWEEP, "beyond_sd")

_HORIZON: Final = FEATURE_INDEX["horizon"]
_TICK: Final = FEATURE_INDEX["tick_bps"]
_SPREAD: Final = FEATURE_INDEX["spread_bps"]
_MICROPRICE: Final = FEATURE_INDEX["microprice_bps"]
_IMBALANCE_5: Final = FEATURE_INDEX["imbalance_5"]
_WAIT_BID: Final = FEATURE_INDEX["queue_wait_bid"]
_WAIT_ASK: Final = FEATURE_INDEX["queue_wait_ask"]
_VOL_15M: Final = FEATURE_INDEX["vol_bps_15m"]
_VOL_1H: Final = FEATURE_INDEX["vol_bps_1h"]
_RETURN_5M: Final = FEATURE_INDEX["return_bps_5m"]
_DRIFT_5M: Final = FEATURE_INDEX["drift_t_5m"]
_DRIFT_15M: Final = FEATURE_INDEX["drift_t_15m"]
_FLOW_5M: Final = FEATURE_INDEX["flow_imbalance_5m"]
_HIGH_10S: Final = FEATURE_INDEX["high_bps_10s"]
_LOW_10S: Final = FEATURE_INDEX["low_bps_10s"]
_HIGH_1M: Final = FEATURE_INDEX["high_bps_1m"]
_LOW_1M: Final = FEATURE_INDEX["low_bps_1m"]
_HIGH_5M: Final = FEATURE_INDEX["high_bps_5m"]
_LOW_5M: Final = FEATURE_INDEX["low_bps_5m"]
_HIGH_15M: Final = FEATURE_INDEX["high_bps_15m"]
_LOW_15M: Final = FEATURE_INDEX["low_bps_15m"]
_REFILL_1S: Final = FEATURE_INDEX["refill_1s_bid"]  # the ask's is the next column
_REFILL_5S: Final = FEATURE_INDEX["refill_5s_bid"]
_VWAP_Z: Final = FEATURE_INDEX["vwap_z"]
_VWAP_SD: Final = FEATURE_INDEX["vwap_sd_bps"]
_LEVELS_BUY: Final = FEATURE_INDEX["sweep_levels_buy"]
_LEVELS_SELL: Final = FEATURE_INDEX["sweep_levels_sell"]
_SWEPT_BUY: Final = FEATURE_INDEX["sweep_bps_buy"]
_SWEPT_SELL: Final = FEATURE_INDEX["sweep_bps_sell"]
_AGE_BUY: Final = FEATURE_INDEX["sweep_age_buy"]
_AGE_SELL: Final = FEATURE_INDEX["sweep_age_sell"]

# E[range] / sd of a random walk, sqrt(8 / pi): Feller 1951.
_WALK_RANGE: Final = 1.5957691216057308
_FIVE_PER_HOUR: Final = 12.0
REASON_CONTINUATION: Final = 1.0  # OUT_REASON of a sweep that nobody absorbed


@kernel
def range_strength(width_bps, vol_bps):
    """Share by which a range falls short of what a random walk of that volatility would cover.

    width_bps, vol_bps : float64, bps, of the same window, vol_bps > 0
    returns float64 <= 1; about 0 for a random walk, 1 for a price that returns at each step
    """
    return 1.0 - width_bps / (_WALK_RANGE * vol_bps)


@kernel
def grid(features, params, out):
    """A range that holds: buy in its lower band, one step as the way, stop where it breaks.

    The expected move is a step, in the share by which the range is narrower than a random walk's:
    a range that is only chance is worth nothing. Resting bids at more than one step at a time are
    not kept: the next step is taken when the one before has been left.
    """
    above = features[_HIGH_15M]
    below = features[_LOW_15M]
    t = features[_DRIFT_15M]
    vol = features[_VOL_15M]
    sd = horizon_sd_bps(features)
    if not (above >= 0.0 and below >= 0.0 and t == t and vol == vol and sd > 0.0):
        out[OUT_HISTORY] = 1.0
        return
    width = above + below
    if vol <= 0.0 or width <= 0.0 or t > params[_GR_DRIFT] or t < -params[_GR_DRIFT]:
        return
    strength = range_strength(width, vol)
    if strength <= 0.0 or strength < params[_GR_STRENGTH]:
        return
    direction = 0.0
    behind = 0.0
    if below <= params[_GR_BAND] * width:
        direction = 1.0
        behind = below
    elif above <= params[_GR_BAND] * width:
        direction = -1.0
        behind = above
    if direction == 0.0:
        return
    step = width / params[_GR_STEPS]
    if step < params[_GR_STEP_MIN]:
        step = params[_GR_STEP_MIN]
    if step > width - behind or step <= 0.0:
        return  # the other end is nearer than a step
    against = behind + params[_GR_BREAK] * step
    answer_move(out, features, strength * step, direction, against, params[P_HALF_LIFE_S], sd)


@kernel
def scalping(features, params, out):
    """A few ticks to and fro: the microprice leans our way and both queues are short.

    Both legs must rest: readiness blocks the route while an exit would take (EXIT_INFEASIBLE).
    The spread is earned in the cost stack; the move is the lean only.
    """
    spread = features[_SPREAD]
    tick = features[_TICK]
    lean = features[_MICROPRICE]
    bid_wait = features[_WAIT_BID]
    ask_wait = features[_WAIT_ASK]
    above = features[_HIGH_1M]
    below = features[_LOW_1M]
    sd = horizon_sd_bps(features)
    known = spread > 0.0 and tick > 0.0 and lean == lean and bid_wait >= 0.0 and ask_wait >= 0.0
    if not (known and above >= 0.0 and below >= 0.0 and sd > 0.0):
        out[OUT_HISTORY] = 1.0
        return
    if features[_HORIZON] > params[_SC_HORIZON]:
        return
    ticks = (above + below) / tick
    if ticks < params[_SC_RANGE_MIN] or ticks > params[_SC_RANGE_MAX]:
        return
    if bid_wait > params[_SC_WAIT] or ask_wait > params[_SC_WAIT]:
        return
    size = -lean if lean < 0.0 else lean
    half_spread = 0.5 * spread
    if size == 0.0 or size < params[_SC_LEAN] * half_spread:
        return
    half_life = params[P_HALF_LIFE_S]
    move = params[_SC_SHARE] * lean * (1.0 - decay(features[_HORIZON], half_life))
    answer(
        out,
        move,
        sd,
        normal_cdf((half_spread + (-move if move < 0.0 else move)) / sd),
        half_spread + (params[_SC_INVALIDATION] + 1.0) * tick,
        half_life,
    )


@kernel
def fade(features, params, out):
    """Against an over-extended leg of 5 m, once the book turns and the side that was hit refills.

    z = return / (hour's volatility x sqrt(5 m / 1 h)); a share of the leg is expected back, less
    what has come back already. Beyond the leg's extreme it is disproved.
    """
    leg = features[_RETURN_5M]
    usual = features[_VOL_1H]
    imbalance = features[_IMBALANCE_5]
    lean = features[_MICROPRICE]
    sd = horizon_sd_bps(features)
    known = leg == leg and usual >= 0.0 and imbalance == imbalance and lean == lean and sd > 0.0
    if not known:
        out[OUT_HISTORY] = 1.0
        return
    direction = 1.0 if leg < 0.0 else -1.0
    refill = features[_REFILL_1S] if leg < 0.0 else features[_REFILL_1S + 1]
    back = features[_LOW_5M] if leg < 0.0 else features[_HIGH_5M]
    if not (refill == refill and back >= 0.0):
        out[OUT_HISTORY] = 1.0
        return
    size = -leg * direction
    if usual <= 0.0 or size < params[_FA_Z] * usual / sqrt(_FIVE_PER_HOUR):
        return
    if imbalance * direction < params[_FA_IMBALANCE] or lean * direction < params[_FA_LEAN]:
        return
    if refill < params[_FA_REFILL]:
        return
    left = params[_FA_RETRACE] * (size + back) - back
    if left <= 0.0:
        return
    against = back + params[_FA_BEYOND] * sd
    answer_move(out, features, left, direction, against, params[P_HALF_LIFE_S], sd)


@kernel
def vwap_reversion(features, params, out):
    """Back towards the 15 m VWAP, where nothing persistent drives the price away from it."""
    z = features[_VWAP_Z]
    vwap_sd = features[_VWAP_SD]
    flow = features[_FLOW_5M]
    t = features[_DRIFT_5M]
    sd = horizon_sd_bps(features)
    if not (z == z and vwap_sd >= 0.0 and flow == flow and t == t and sd > 0.0):
        out[OUT_HISTORY] = 1.0
        return
    direction = 1.0 if z < 0.0 else -1.0
    size = -z * direction
    if size < params[_VW_Z] or vwap_sd <= 0.0 or size == 0.0:
        return
    if -flow * direction > params[_VW_FLOW] or -t * direction > params[_VW_DRIFT]:
        return
    left = params[_VW_SHARE] * size * vwap_sd
    if left <= 0.0:
        return
    against = params[_VW_INVALIDATION] * vwap_sd
    answer_move(out, features, left, direction, against, params[P_HALF_LIFE_S], sd)


@kernel
def sweep(features, params, out):
    """After a burst took several levels and others came back: towards the mid before it.

    Without refill or with a book that leans on: inactive, with REASON_CONTINUATION in OUT_REASON.
    Where both sides were swept, the newer burst counts.
    """
    sd = horizon_sd_bps(features)
    imbalance = features[_IMBALANCE_5]
    refill_bid = features[_REFILL_5S]
    refill_ask = features[_REFILL_5S + 1]
    if not (sd > 0.0 and imbalance == imbalance):
        out[OUT_HISTORY] = 1.0
        return
    sold = features[_LEVELS_SELL]
    bought = features[_LEVELS_BUY]
    least = params[_SW_LEVELS]
    # NaN is "there was none", and no comparison with it holds.
    down = sold >= least
    up = bought >= least
    if down and up:
        down = features[_AGE_SELL] <= features[_AGE_BUY]
    if not (down or up):
        return
    direction = 1.0 if down else -1.0
    swept = features[_SWEPT_SELL] if down else features[_SWEPT_BUY]
    age = features[_AGE_SELL] if down else features[_AGE_BUY]
    refill = refill_bid if down else refill_ask
    back = features[_LOW_10S] if down else features[_HIGH_10S]
    if not (swept >= 0.0 and age >= 0.0 and refill >= 0.0 and back >= 0.0):
        out[OUT_HISTORY] = 1.0
        return
    if swept < params[_SW_BPS] or age < params[_SW_SETTLE] or age > params[_SW_AGE]:
        return
    if refill < params[_SW_REFILL] or imbalance * direction < params[_SW_IMBALANCE]:
        out[OUT_REASON] = REASON_CONTINUATION
        return
    half_life = params[P_HALF_LIFE_S]
    left = params[_SW_BACK] * swept * decay(age, half_life) - back
    if left <= 0.0:
        return
    against = back + params[_SW_BEYOND] * sd
    answer_move(out, features, left, direction, against, half_life, sd)
