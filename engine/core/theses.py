"""What does each route family expect of the next seconds? Features in, a thesis out.

A thesis is a function of three float64 arrays: the feature vector (columns.py), the family's
parameters, and eight numbers it writes (OUT_*): whether there is an opportunity, the expected move
of the mid, its spread, the chance of being right, the move that disproves it, how fast it fades.
Families of the house and families of a user have the same signature. A move is signed, + is up.
Left out: what trading it costs (costs.py, edge.py) and whether it may be traded (readiness.py).

docs/formulas-economics.md derives every formula used here.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.columns import (
    FEATURE_INDEX,
    N_OUT,
    OUT_ACTIVE,
    OUT_CONFIDENCE,
    OUT_HALF_LIFE_S,
    OUT_HISTORY,
    OUT_INVALIDATION_BPS,
    OUT_MOVE_BPS,
    OUT_SD_BPS,
)
from engine.core.edge import decay
from engine.core.families import breakout as breakouts
from engine.core.families import reversion as reversions
from engine.core.families.breakout import atr_breakout, breakout, ignition, pullback
from engine.core.families.contract import (
    P_HALF_LIFE_S,
    P_MAKER_FEE_BPS,
    FamilyCard,
    FamilyDefaults,
    FamilyParameter,
    answer,
    horizon_sd_bps,
    slot_of,
)
from engine.core.families.reversion import fade, grid, scalping, sweep, vwap_reversion
from engine.core.records import NOT_ENOUGH_HISTORY, OK, THESIS_INACTIVE, THESIS_INVALID
from engine.core.regime import REGIME_HIGH_VOLATILITY, REGIME_RANGE, REGIME_TREND
from engine.core.routes import (
    BUILT_FAMILIES,
    FAMILY_ATR_BREAKOUT,
    FAMILY_BREAKOUT,
    FAMILY_FADE,
    FAMILY_GRID,
    FAMILY_IGNITION,
    FAMILY_MARKET_MAKING,
    FAMILY_MEAN_REVERSION,
    FAMILY_MOMENTUM,
    FAMILY_ORDER_FLOW,
    FAMILY_PLUGIN,
    FAMILY_PULLBACK,
    FAMILY_SCALPING,
    FAMILY_SWEEP,
    FAMILY_VWAP_REVERSION,
    HORIZONS_DEFAULT_S,
    HORIZONS_S,
    TAPE_FAMILIES,
)
from engine.jit import function_value, kernel
from engine.numerics import INFINITY, canonical, log, normal_cdf

FAMILY_PARAMETERS: Final[dict[int, tuple[FamilyParameter, ...]]] = {
    FAMILY_MARKET_MAKING: (
        FamilyParameter("spread_min_bps", 1.0, 0.0, 10_000.0, "bps", "least spread worth quoting"),
        FamilyParameter("fee_cover", 1.0, 0.0, 10.0, "",
                        "the spread must exceed two maker fees times this, plus margin_bps"),
        FamilyParameter("margin_bps", 0.5, 0.0, 10_000.0, "bps", "see fee_cover"),
        FamilyParameter("queue_wait_max_s", 120.0, 0.0, 1e6, "s",
                        "expected wait at the touch above this: inactive"),
        FamilyParameter("skew_share", 1.0, 0.0, 10.0, "",
                        "share of the microprice's distance from mid that is expected to come"),
        FamilyParameter("inventory_skew_bps", 1.0, 0.0, 1000.0, "bps",
                        "move lowered by this when inventory is full"),
        FamilyParameter("inventory_full", 1000.0, 1e-9, 1e12, "quote", "inventory that counts as full"),
        FamilyParameter("invalidation_sd", 2.0, 0.01, 100.0, "sd",
                        "adverse move beyond the half spread that disproves it"),
        FamilyParameter("risk_aversion", 0.0, 0.0, 100.0, "1/bps",
                        "Avellaneda-Stoikov: price of a full inventory's variance; 0: off"),
        FamilyParameter("arrival_decay", 0.0, 0.0, 100.0, "1/bps",
                        "Avellaneda-Stoikov: fall of the fill rate with distance; 0: no least spread"),
    ),
    FAMILY_MEAN_REVERSION: (
        FamilyParameter("z_min", 2.0, 0.0, 100.0, "sd", "least distance of mid from its mean"),
        FamilyParameter("half_life_max", 1.0, 0.0, 100.0, "horizons",
                        "the fitted half-life must be shorter than this many horizons"),
        FamilyParameter("mean_half_life_s", 120.0, 0.001, 1e6, "s",
                        "half-life of the mean the deviation is measured from (feature mean_bps)"),
        FamilyParameter("invalidation_sd", 1.5, 0.01, 100.0, "sd",
                        "growth of the deviation, in its own sd, that disproves it"),
    ),
    FAMILY_MOMENTUM: (
        FamilyParameter("drift_t_min", 2.0, 1.0, 100.0, "t", "least t-value of the 15 m drift"),
        FamilyParameter("agree_min", 3.0, 1.0, 4.0, "",
                        "so many of the drifts over 1 m, 5 m, 15 m, 1 h must share its sign"),
        FamilyParameter("flow_min", 0.0, -1.0, 1.0, "-1..1",
                        "least flow imbalance over 5 m in the drift's direction"),
        FamilyParameter("vol_share", 0.0, 0.0, 10.0, "sd",
                        "part of the horizon's volatility added to the move"),
        FamilyParameter("invalidation_atr", 3.0, 0.01, 100.0, "ATR",
                        "adverse move that disproves it"),
    ),
    FAMILY_ORDER_FLOW: (
        FamilyParameter("ofi_min", 0.5, 0.0, 1e6, "", "least order-flow imbalance over depth"),
        FamilyParameter("slope_bps", 0.0, 0.0, 1e6, "bps",
                        "move of the next 10 s per unit of imbalance; 0: the fitted slope"),
        FamilyParameter("invalidation_sd", 1.5, 0.01, 100.0, "sd",
                        "adverse move, in sd of the horizon, that disproves it"),
    ),
    **breakouts.PARAMETERS,
    **reversions.PARAMETERS,
}  # fmt: skip

# UNKNOWN never trades, LOW_LIQUIDITY and CHAOS only if a profile asks.
_DEFAULTS: Final[dict[int, FamilyDefaults]] = {
    FAMILY_MARKET_MAKING: FamilyDefaults(30.0, 0, (REGIME_RANGE,), 1),
    FAMILY_MEAN_REVERSION: FamilyDefaults(120.0, 0, (REGIME_RANGE,), 1),
    FAMILY_MOMENTUM: FamilyDefaults(300.0, 1, (REGIME_TREND, REGIME_HIGH_VOLATILITY), 1),
    FAMILY_ORDER_FLOW: FamilyDefaults(
        10.0, 1, (REGIME_RANGE, REGIME_TREND, REGIME_HIGH_VOLATILITY), 1
    ),
    **breakouts.DEFAULTS,
    **reversions.DEFAULTS,
}

# What each family lives on: docs/families.md, held by tests.
FAMILY_CARDS: Final[dict[int, FamilyCard]] = {
    FAMILY_MARKET_MAKING: FamilyCard(
        ("spread_bps", "queue_wait_bid", "microprice_bps", "inventory", "vol_bps_1m"),
        "parameter, 30 s",
        "stop beyond the half spread; inventory lowers the next quote; time",
        "Avellaneda, Stoikov 2008, 'High-frequency trading in a limit order book'; Stoikov 2018",
    ),
    FAMILY_MEAN_REVERSION: FamilyCard(
        ("mean_z", "mean_bps", "reversion_half_life", "vol_bps_1m"),
        "fitted: reversion_half_life",
        "stop where the deviation grows on; time",
        "Uhlenbeck, Ornstein 1930",
    ),
    FAMILY_MOMENTUM: FamilyCard(
        ("drift_t_15m", "return_bps_15m", "flow_imbalance_5m", "atr_bps", "vol_bps_1m"),
        "parameter, 300 s",
        "stop some ATR below; trail; time",
        "Moskowitz, Ooi, Pedersen 2012, 'Time series momentum'; Garleanu, Pedersen 2013",
    ),
    FAMILY_ORDER_FLOW: FamilyCard(
        ("ofi", "ofi_slope", "vol_bps_1m"),
        "parameter, 10 s",
        "stop in sd of the horizon; time",
        "Cont, Kukanov, Stoikov 2014, 'The price impact of order book events'",
    ),
    **breakouts.CARDS,
    **reversions.CARDS,
}


def default_families(params: np.ndarray) -> None:
    """Fill the family_* arrays, regime_allows and horizon_enabled of PARAMS[1] with defaults."""
    row = params[0]
    for name in ("enabled", "params", "half_life_s", "net_min_bps", "tape", "taker", "tod"):
        row[f"family_{name}"][:] = 0
    row["regime_allows"][:] = 0
    row["horizon_enabled"][:] = [int(each in HORIZONS_DEFAULT_S) for each in HORIZONS_S]
    for family in BUILT_FAMILIES:
        half_life_s, taker, regimes, enabled = _DEFAULTS[family]
        row["family_enabled"][family] = enabled
        row["family_half_life_s"][family] = half_life_s
        row["family_tape"][family] = int(family in TAPE_FAMILIES)
        row["family_taker"][family] = taker
        for slot, parameter in enumerate(FAMILY_PARAMETERS[family]):
            row["family_params"][family][slot] = parameter.default
        for regime in regimes:
            row["regime_allows"][family][regime] = 1


def _slot(family: int, name: str) -> int:
    return slot_of(FAMILY_PARAMETERS[family], name)


_MM_SPREAD_MIN: Final = _slot(FAMILY_MARKET_MAKING, "spread_min_bps")
_MM_FEE_COVER: Final = _slot(FAMILY_MARKET_MAKING, "fee_cover")
_MM_MARGIN: Final = _slot(FAMILY_MARKET_MAKING, "margin_bps")
_MM_WAIT_MAX: Final = _slot(FAMILY_MARKET_MAKING, "queue_wait_max_s")
_MM_SKEW_SHARE: Final = _slot(FAMILY_MARKET_MAKING, "skew_share")
_MM_INVENTORY_SKEW: Final = _slot(FAMILY_MARKET_MAKING, "inventory_skew_bps")
_MM_INVENTORY_FULL: Final = _slot(FAMILY_MARKET_MAKING, "inventory_full")
_MM_INVALIDATION: Final = _slot(FAMILY_MARKET_MAKING, "invalidation_sd")
_MM_RISK: Final = _slot(FAMILY_MARKET_MAKING, "risk_aversion")
_MM_ARRIVAL: Final = _slot(FAMILY_MARKET_MAKING, "arrival_decay")
_MR_Z_MIN: Final = _slot(FAMILY_MEAN_REVERSION, "z_min")
_MR_HALF_LIFE_MAX: Final = _slot(FAMILY_MEAN_REVERSION, "half_life_max")
_MR_MEAN_HALF_LIFE: Final = _slot(FAMILY_MEAN_REVERSION, "mean_half_life_s")
_MR_INVALIDATION: Final = _slot(FAMILY_MEAN_REVERSION, "invalidation_sd")
_MO_T_MIN: Final = _slot(FAMILY_MOMENTUM, "drift_t_min")
_MO_AGREE_MIN: Final = _slot(FAMILY_MOMENTUM, "agree_min")
_MO_FLOW_MIN: Final = _slot(FAMILY_MOMENTUM, "flow_min")
_MO_VOL_SHARE: Final = _slot(FAMILY_MOMENTUM, "vol_share")
_MO_INVALIDATION: Final = _slot(FAMILY_MOMENTUM, "invalidation_atr")
_OF_MIN: Final = _slot(FAMILY_ORDER_FLOW, "ofi_min")
_OF_SLOPE: Final = _slot(FAMILY_ORDER_FLOW, "slope_bps")
_OF_INVALIDATION: Final = _slot(FAMILY_ORDER_FLOW, "invalidation_sd")

# --- positions of the features used ----------------------------------------------------------------
_HORIZON: Final = FEATURE_INDEX["horizon"]
_SPREAD: Final = FEATURE_INDEX["spread_bps"]
_MICROPRICE: Final = FEATURE_INDEX["microprice_bps"]
_QUEUE_WAIT_BID: Final = FEATURE_INDEX["queue_wait_bid"]
_INVENTORY: Final = FEATURE_INDEX["inventory"]
_MEAN: Final = FEATURE_INDEX["mean_bps"]
_MEAN_Z: Final = FEATURE_INDEX["mean_z"]
_REVERSION: Final = FEATURE_INDEX["reversion_half_life"]
_DRIFT_1M: Final = FEATURE_INDEX["drift_t_1m"]
_DRIFT_5M: Final = FEATURE_INDEX["drift_t_5m"]
_DRIFT_15M: Final = FEATURE_INDEX["drift_t_15m"]
_DRIFT_1H: Final = FEATURE_INDEX["drift_t_1h"]
_RETURN_15M: Final = FEATURE_INDEX["return_bps_15m"]
_FLOW_5M: Final = FEATURE_INDEX["flow_imbalance_5m"]
_ATR: Final = FEATURE_INDEX["atr_bps"]
_OFI: Final = FEATURE_INDEX["ofi"]
_OFI_SLOPE: Final = FEATURE_INDEX["ofi_slope"]

LN2: Final = 0.6931471805599453
_OFI_SPAN_S: Final = 10.0  # what the fitted slope predicts


@kernel
def least_spread_bps(risk, sd, arrival_decay):
    """Avellaneda-Stoikov's spread around the reservation price, in bps; 0 where it is off.

    risk : float64, 1/bps; sd : float64, bps over the horizon; arrival_decay : float64, 1/bps
    Source: Avellaneda, Stoikov 2008, eq. (30): gamma sigma^2 (T - t) + 2/gamma ln(1 + gamma/k).
    """
    if risk <= 0.0 or arrival_decay <= 0.0:
        return 0.0
    return risk * sd * sd + 2.0 / risk * log(1.0 + risk / arrival_decay)


@kernel
def market_making(features, params, out):
    """Earn the spread: the move is only the microprice's lean minus the inventory's.

    Active when the spread pays two maker fees and the queue is short; the half spread itself is
    earned in the cost stack. The reservation price is below mid by q x gamma x sigma^2 x h, with q
    in full inventories, and by a share that does not depend on volatility.
    Source: Stoikov 2018 (microprice); Avellaneda, Stoikov 2008, eq. (29) and (30).
    """
    spread = features[_SPREAD]
    wait = features[_QUEUE_WAIT_BID]
    sd = horizon_sd_bps(features)
    lean = features[_MICROPRICE]
    inventory = features[_INVENTORY]
    if not (spread > 0.0 and wait >= 0.0 and sd > 0.0 and lean == lean and inventory == inventory):
        out[OUT_HISTORY] = 1.0
        return
    spread_min = 2.0 * params[_MM_FEE_COVER] * params[P_MAKER_FEE_BPS] + params[_MM_MARGIN]
    if spread < spread_min or spread < params[_MM_SPREAD_MIN] or wait > params[_MM_WAIT_MAX]:
        return
    risk = params[_MM_RISK]
    if spread < least_spread_bps(risk, sd, params[_MM_ARRIVAL]):
        return
    full = inventory / params[_MM_INVENTORY_FULL]
    move = params[_MM_SKEW_SHARE] * lean - params[_MM_INVENTORY_SKEW] * full
    move -= full * risk * sd * sd
    half_spread = 0.5 * spread
    size = -move if move < 0.0 else move
    answer(
        out,
        move,
        sd,
        normal_cdf((half_spread + size) / sd),
        half_spread + params[_MM_INVALIDATION] * sd,
        params[P_HALF_LIFE_S],
    )


@kernel
def mean_reversion(features, params, out):
    """Return to the mean: the part of the deviation that price itself is expected to undo.

    The mean is an average that follows the price, so a deviation shrinks even in a random walk.
    With kappa = ln 2 / half-life, price moves back at kappa_price = kappa_fitted - kappa_mean and
        move = -deviation x (kappa_price / kappa_fitted) x (1 - 2^(-horizon / half-life)).
    Source: Uhlenbeck, Ornstein 1930 (conditional mean); the split is derived in the docs.
    """
    z = features[_MEAN_Z]
    deviation = features[_MEAN]
    half_life = features[_REVERSION]
    sd = horizon_sd_bps(features)
    if not (z == z and deviation == deviation and half_life > 0.0 and sd > 0.0):
        out[OUT_HISTORY] = 1.0
        return
    horizon = features[_HORIZON]
    if half_life > params[_MR_HALF_LIFE_MAX] * horizon or half_life >= params[_MR_MEAN_HALF_LIFE]:
        return
    size = -z if z < 0.0 else z
    if size < params[_MR_Z_MIN] or size == 0.0:
        return
    own_share = 1.0 - half_life / params[_MR_MEAN_HALF_LIFE]
    move = -deviation * own_share * (1.0 - decay(horizon, half_life))
    deviation_sd = deviation / z
    distance = -move if move < 0.0 else move
    answer(
        out,
        move,
        sd,
        normal_cdf(distance / sd),
        params[_MR_INVALIDATION] * deviation_sd,
        half_life,
    )


@kernel
def momentum(features, params, out):
    """Go with the drift: drift x the time it is expected to last, shrunk by its own doubt.

    move = drift x (half-life / ln 2) x (1 - 2^(-horizon / half-life)) x max(0, 1 - 1 / t^2)
    and `vol_share` standard deviations on top. Source: Moskowitz, Ooi, Pedersen 2012 (the sign
    persists); Garleanu, Pedersen 2013 (signals decay exponentially); Efron, Morris 1973 (shrinkage
    by t). The last higher low that would disprove it is stood in for by multiples of the ATR.
    """
    t = features[_DRIFT_15M]
    drift = features[_RETURN_15M] / 900.0
    flow = features[_FLOW_5M]
    atr = features[_ATR]
    sd = horizon_sd_bps(features)
    if not (t == t and drift == drift and flow == flow and atr > 0.0 and sd > 0.0):
        out[OUT_HISTORY] = 1.0
        return
    direction = 1.0 if drift > 0.0 else -1.0
    if drift == 0.0 or t * direction < params[_MO_T_MIN] or t * direction <= 1.0:
        return
    if flow * direction < params[_MO_FLOW_MIN]:
        return
    agree = 1.0
    if features[_DRIFT_1M] * direction > 0.0:
        agree += 1.0
    if features[_DRIFT_5M] * direction > 0.0:
        agree += 1.0
    if features[_DRIFT_1H] * direction > 0.0:
        agree += 1.0
    if agree < params[_MO_AGREE_MIN]:
        return
    half_life = params[P_HALF_LIFE_S]
    lasting = half_life / LN2 * (1.0 - decay(features[_HORIZON], half_life))
    move = drift * lasting * (1.0 - 1.0 / (t * t)) + direction * params[_MO_VOL_SHARE] * sd
    answer(
        out,
        move,
        sd,
        normal_cdf(move * direction / sd),
        params[_MO_INVALIDATION] * atr,
        half_life,
    )


@kernel
def order_flow(features, params, out):
    """Follow the pressure at the touch: slope x imbalance, fading with the family's half-life.

    The slope says what the next 10 s bring; move = slope x ofi x (1 - 2^(-horizon / half-life)) /
    (1 - 2^(-10 s / half-life)). A slope that is not positive contradicts the mechanism: inactive.
    Source: Cont, Kukanov, Stoikov 2014, "The price impact of order book events", used with a lag.
    """
    ofi = features[_OFI]
    slope = params[_OF_SLOPE]
    if slope == 0.0:
        slope = features[_OFI_SLOPE]
    sd = horizon_sd_bps(features)
    if not (ofi == ofi and slope == slope and sd > 0.0):
        out[OUT_HISTORY] = 1.0
        return
    size = -ofi if ofi < 0.0 else ofi
    if slope <= 0.0 or size == 0.0 or size < params[_OF_MIN]:
        return
    half_life = params[P_HALF_LIFE_S]
    span = 1.0 - decay(_OFI_SPAN_S, half_life)
    if span <= 0.0:
        return
    move = slope * ofi * (1.0 - decay(features[_HORIZON], half_life)) / span
    distance = -move if move < 0.0 else move
    answer(
        out,
        move,
        sd,
        normal_cdf(distance / sd),
        params[_OF_INVALIDATION] * sd,
        half_life,
    )


def _no_family(features, params, out):
    out[OUT_ACTIVE] = 0.0


# The plug-in that never sees an opportunity: fills the places without a user family.
no_family = function_value(_no_family, cache=True)


@kernel
def _finite(x):
    return x == x and x < INFINITY and x > -INFINITY


@kernel
def ask_thesis(family, features, family_params, out, plugins):
    """What does one family say? Every slot of `out` is written, whatever the family does.

    family : int64, FAMILY_*; one that is not built sees nothing
    features : float64[N_FEATURES], plain array, horizon and inventory set by the caller
    family_params : float64[N_FAMILY_PARAMS], plain array, the caller's slots P_* set
    out : float64[N_OUT], plain array, OUT_*
    plugins : N_PLUGINS function values (engine.jit.function_value)
    returns int64: OK where it is active, THESIS_INACTIVE, NOT_ENOUGH_HISTORY, or THESIS_INVALID
        where an answer is not a number, not finite, or out of its range
    """
    for i in range(N_OUT):
        out[i] = 0.0
    out[OUT_HALF_LIFE_S] = family_params[P_HALF_LIFE_S]
    if family == FAMILY_MARKET_MAKING:
        market_making(features, family_params, out)
    elif family == FAMILY_MEAN_REVERSION:
        mean_reversion(features, family_params, out)
    elif family == FAMILY_MOMENTUM:
        momentum(features, family_params, out)
    elif family == FAMILY_ORDER_FLOW:
        order_flow(features, family_params, out)
    elif family == FAMILY_PULLBACK:
        pullback(features, family_params, out)
    elif family == FAMILY_BREAKOUT:
        breakout(features, family_params, out)
    elif family == FAMILY_ATR_BREAKOUT:
        atr_breakout(features, family_params, out)
    elif family == FAMILY_IGNITION:
        ignition(features, family_params, out)
    elif family == FAMILY_GRID:
        grid(features, family_params, out)
    elif family == FAMILY_SCALPING:
        scalping(features, family_params, out)
    elif family == FAMILY_FADE:
        fade(features, family_params, out)
    elif family == FAMILY_SWEEP:
        sweep(features, family_params, out)
    elif family == FAMILY_VWAP_REVERSION:
        vwap_reversion(features, family_params, out)
    elif family >= FAMILY_PLUGIN:
        plugins[family - FAMILY_PLUGIN](features, family_params, out)
    for i in range(N_OUT):
        out[i] = canonical(out[i])
    if out[OUT_HISTORY] != 0.0:
        out[OUT_ACTIVE] = 0.0
        return NOT_ENOUGH_HISTORY
    if out[OUT_ACTIVE] == 0.0:
        return THESIS_INACTIVE
    sound = (
        out[OUT_ACTIVE] == 1.0
        and _finite(out[OUT_MOVE_BPS])
        and out[OUT_SD_BPS] >= 0.0
        and _finite(out[OUT_SD_BPS])
        and out[OUT_CONFIDENCE] >= 0.0
        and out[OUT_CONFIDENCE] <= 1.0
        and out[OUT_INVALIDATION_BPS] > 0.0
        and _finite(out[OUT_INVALIDATION_BPS])
        and out[OUT_HALF_LIFE_S] > 0.0
    )
    if not sound:
        out[OUT_ACTIVE] = 0.0
        return THESIS_INVALID
    return OK
