"""Is a market liquid enough, and do two candidates stand in each other's way? Tiers and conflicts.

A liquidity tier A or B from depth, spread and trade rate gives a symbol its limit on the age of the
book and its size cap; without a tier it takes no entries (`tiers.enabled`). A candidate conflicts where
the same symbol reads better downwards, or where its mid moves with that of a symbol we hold or bid for
(`conflict.enabled`); it is refused with the other one named, or ranked lower. Both are off by default.
"""

from __future__ import annotations

from typing import Final

from engine.core.columns import FEATURE_INDEX
from engine.core.drift import mid_at
from engine.core.routes import route_side
from engine.jit import kernel
from engine.numerics import NAN, canonical, sqrt

TIER_NONE: Final = 0
TIER_A: Final = 1
TIER_B: Final = 2
TIER_NAMES: Final[dict[int, str]] = {TIER_NONE: "none", TIER_A: "A", TIER_B: "B"}

CONFLICT_NONE: Final = 0
CONFLICT_OPPOSED: Final = 13  # after the RISK_* and CAP_* checks, in one numbering
CONFLICT_CORRELATED: Final = 14

CORRELATION_S: Final = 300
_PAIRS_MIN: Final = 60
_DEPTH_BID: Final = FEATURE_INDEX["depth_bid_5"]
_DEPTH_ASK: Final = FEATURE_INDEX["depth_ask_5"]
_SPREAD: Final = FEATURE_INDEX["spread_bps"]
_TRADES_5M: Final = FEATURE_INDEX["n_trades_5m"]
_MINUTES: Final = 5.0


@kernel
def liquidity_tier(features, params):
    """TIER_* of a symbol: the thinner side within 5 bps, the spread, and trades per minute of 5 m.

    What is not known passes no limit.
    """
    bid = features[_DEPTH_BID]
    ask = features[_DEPTH_ASK]
    depth = bid if bid < ask else ask
    spread = features[_SPREAD]
    per_minute = features[_TRADES_5M] / _MINUTES
    if bid != bid:
        return TIER_NONE
    if (
        depth >= params["tiers_a_depth"]
        and spread <= params["tiers_a_spread_bps"]
        and per_minute >= params["tiers_a_trades"]
    ):
        return TIER_A
    if (
        depth >= params["tiers_b_depth"]
        and spread <= params["tiers_b_spread_bps"]
        and per_minute >= params["tiers_b_trades"]
    ):
        return TIER_B
    return TIER_NONE


@kernel
def tier_age_max(params, tier):
    """Oldest book that an entry may rest on, int64 ns."""
    return params["tiers_a_age_ns"] if tier == TIER_A else params["tiers_b_age_ns"]


@kernel
def tier_share_max(params, tier):
    """Largest order as a share of equity."""
    return params["tiers_a_max"] if tier == TIER_A else params["tiers_b_max"]


@kernel
def mid_correlation(one, other, second, n):
    """Correlation of the one-second returns of two mids over the n seconds up to `second`.

    one, other : TAPE records; returns float64, NAN below 60 common returns or without movement
    """
    count = 0
    sum_x = 0.0
    sum_y = 0.0
    sum_xx = 0.0
    sum_yy = 0.0
    sum_xy = 0.0
    for s in range(second - n + 1, second + 1):
        x_now = mid_at(one, s)
        x_then = mid_at(one, s - 1)
        y_now = mid_at(other, s)
        y_then = mid_at(other, s - 1)
        if x_now <= 0 or x_then <= 0 or y_now <= 0 or y_then <= 0:
            continue
        x = float(x_now - x_then) / float(x_then)
        y = float(y_now - y_then) / float(y_then)
        count += 1
        sum_x += x
        sum_y += y
        sum_xx += x * x
        sum_yy += y * y
        sum_xy += x * y
    if count < _PAIRS_MIN:
        return NAN
    size = float(count)
    of_x = sum_xx - sum_x * sum_x / size
    of_y = sum_yy - sum_y * sum_y / size
    if of_x <= 0.0 or of_y <= 0.0:
        return NAN
    return canonical((sum_xy - sum_x * sum_y / size) / sqrt(of_x * of_y))


@kernel
def _opposed(work):
    """Row of the best priced short reading among the candidates just evaluated, -1 without one."""
    rows = work["candidates"]
    best = -1
    for k in range(work["n_candidates"]):
        score = rows[k]["score"]
        if route_side(rows[k]["route"]) > 0 or score != score:
            continue
        if best < 0 or score > rows[best]["score"]:
            best = k
    return best


@kernel
def opposed_conflict(core, i, score):
    """Does the symbol read better downwards? (kind, route of that reading, its score, ours)."""
    if core.params[0]["conflict_enabled"] == 1:
        k = _opposed(core.work[0])
        if k >= 0:
            candidate = core.work[0]["candidates"][k]
            if candidate["score"] > score:
                return CONFLICT_OPPOSED, candidate["route"], candidate["score"], score
    return CONFLICT_NONE, 0, 0.0, 0.0


@kernel
def correlated_conflict(core, i):
    """Does the mid of symbol i move with that of one we hold or bid for?

    returns (kind, route that opened the other one, correlation, limit)
    """
    params = core.params[0]
    if params["conflict_enabled"] != 1:
        return CONFLICT_NONE, 0, 0.0, 0.0
    limit = params["conflict_correlation"]
    own = core.symbols[i]["tape"]
    for k in range(len(core.symbols)):
        position = core.symbols[k]["position"]
        slot = position["entry_slot"]
        if k == i or (position["qty"] == 0 and slot == 0):
            continue
        other = core.symbols[k]["tape"]
        found = mid_correlation(own, other, own["second"], CORRELATION_S)
        if found > limit:
            route = position["route"]
            if position["qty"] == 0:
                route = core.orders[slot - 1]["route"]
            return CONFLICT_CORRELATED, route, found, limit
    return CONFLICT_NONE, 0, 0.0, 0.0
