"""Does the market come to a price that rests first in line, in time? Learnt from prices nobody rests at.

A resting order fills only where somebody comes to its price, and sellers stay away while the bid moves up
or others improve on it. So every few seconds a price one tick inside the spread is noted for each side, and
it is seen whether a print or the other side's best price comes to it within the maker window. The chance
is log-odds: a level for each side of each symbol that follows these outcomes, and a signal of the last
seconds that fades with the window. Left out: who stands before us there (fillprob.py).
`docs/formulas-economics.md` has the formulas.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.columns import FEATURE_INDEX
from engine.jit import kernel
from engine.numerics import clip, exp, log, sqrt

N_PROBES: Final = 8  # prices of one side that are followed at a time
_SPACING_MIN_NS: Final = 1_000_000_000
_NS_PER_S: Final = 1e9

# How the last seconds move the log-odds: fitted on seeds 20 to 25 of the generator, at windows of
# 5, 10, 30 and 90 s, and reported on others (docs/fill-calibration.md).
_ACTIVITY: Final = 0.6
_RETURN: Final = 0.3
_FLOW: Final = 0.025
_FADE_S: Final = 10.0  # the span of what is looked at; a longer window dilutes it
_RETURN_MAX: Final = 3.0  # sd
_FLOW_MAX: Final = 30.0

# How fast the level follows: the step of logistic regression on one observation, whose information
# is about a fifth, with so many observations assumed at the start and remembered at most.
_STEP: Final = 5.0
_KNOWN_AT_START: Final = 20.0
_REMEMBERED: Final = 400.0

_RETURN_10S: Final = FEATURE_INDEX["return_bps_10s"]
_VOL_1M: Final = FEATURE_INDEX["vol_bps_1m"]
_OFI: Final = FEATURE_INDEX["ofi"]
_N_10S: Final = FEATURE_INDEX["n_trades_10s"]
_N_1M: Final = FEATURE_INDEX["n_trades_1m"]
_N_5M: Final = FEATURE_INDEX["n_trades_5m"]

REACH: Final = np.dtype(
    [
        ("level", "<f8", (2,)),  # log-odds beyond those assumed: bids, asks
        ("n", "<f8", (2,)),  # outcomes behind it
        ("limit", "<i8", (2,)),  # the price that the other side meets first, 0: nothing followed
        ("next_ts", "<i8"),  # when the next prices are noted
        ("price", "<i8", (2, N_PROBES)),  # ticks, 0: free
        ("signal", "<f8", (2, N_PROBES)),  # when it was noted
        ("since", "<i8", (2, N_PROBES)),  # ns: from when on it would have rested
        ("until", "<i8", (2, N_PROBES)),  # ns: when the window ends
    ]
)


@kernel
def logistic(x):
    """1 / (1 + exp(-x)): the chance whose log-odds are x."""
    if x < 0.0:
        grown = exp(x)
        return grown / (1.0 + grown)
    return 1.0 / (1.0 + exp(-x))


@kernel
def assumed_odds(window_s, half_s):
    """Log-odds before anything was seen: even after `half_s`, and with the root of the window.

    The chance that a driftless walk has not come back to where it began falls with the root of time
    (Feller 1968, "An introduction to probability theory" I, chapter III), and so do the odds against.
    """
    return 0.5 * log(window_s / half_s)


@kernel
def reach_signal(features, side, window_s):
    """What the last seconds say of the next: log-odds; NAN where a feature is unknown.

    features : float64[N_FEATURES]; side : +1 a bid, -1 an ask; window_s : float64, > 0
    More trades than usual help; a price that runs away and orders that push it hurt.
    """
    usual = features[_N_5M] / 300.0
    activity = 1.0
    if usual > 0.0:
        activity = (1.0 + (features[_N_1M] / 60.0 + features[_N_10S] / 10.0) / usual) / 3.0
    sd = features[_VOL_1M] / sqrt(60.0 / _FADE_S)
    moved = features[_RETURN_10S]
    if sd > 0.0:
        moved = clip(moved / sd, -_RETURN_MAX, _RETURN_MAX)
    away = float(side) * (_RETURN * _FADE_S / (_FADE_S + window_s) * moved)
    pushed = float(side) * _FLOW * clip(features[_OFI], -_FLOW_MAX, _FLOW_MAX)
    return _ACTIVITY * _FADE_S / (_FADE_S + window_s) * log(activity) - away - pushed


@kernel
def reach_chance(reach, features, params, side):
    """Chance that the market comes to a price first in line within the maker window; NAN if unknown."""
    window_s = float(params["orders_maker_window_ns"]) / _NS_PER_S
    level = reach["level"][0 if side > 0 else 1]
    assumed = assumed_odds(window_s, params["costs_reach_half_s"])
    return logistic(assumed + level + reach_signal(features, side, window_s))


@kernel
def _settle(reach, i_side, k, came, assumed):
    """One outcome: a step of logistic regression for the level. came : 1.0 or 0.0"""
    level = reach["level"][i_side]
    expected = logistic(assumed + level + reach["signal"][i_side, k])
    n = min(reach["n"][i_side] + 1.0, _REMEMBERED)
    reach["n"][i_side] = n
    reach["level"][i_side] = level + _STEP * (came - expected) / (_KNOWN_AT_START + n)
    reach["price"][i_side, k] = 0


@kernel
def _find_limit(reach, i_side):
    """The highest bid, the lowest ask that is followed: others need not be looked at."""
    limit = 0
    for k in range(N_PROBES):
        price = reach["price"][i_side, k]
        if price > 0 and (limit == 0 or (price > limit if i_side == 0 else price < limit)):
            limit = price
    reach["limit"][i_side] = limit


@kernel
def reach_price(reach, params, i_side, price, ts):
    """Somebody sells (bids, i_side 0) or buys at `price`, or would: whoever rested there had a fill.

    Callers look at `limit` first. A price that came after a window's end counts as not come.
    """
    window_s = float(params["orders_maker_window_ns"]) / _NS_PER_S
    assumed = assumed_odds(window_s, params["costs_reach_half_s"])
    for k in range(N_PROBES):
        noted = reach["price"][i_side, k]
        if noted == 0 or ts <= reach["since"][i_side, k]:
            continue
        if price <= noted if i_side == 0 else price >= noted:
            came = 1.0 if ts <= reach["until"][i_side, k] else 0.0
            _settle(reach, i_side, k, came, assumed)
    _find_limit(reach, i_side)


@kernel
def reach_lost(reach):
    """Data is missing: nobody knows what became of the prices that were followed."""
    for i_side in range(2):
        reach["limit"][i_side] = 0
        for k in range(N_PROBES):
            reach["price"][i_side, k] = 0


@kernel
def note_reach(reach, features, params, bid, ask, now):
    """Close windows that have ended, and note the next pair of prices where it is time.

    bid, ask : int64, ticks, a verified touch, else 0; now : int64, ns
    """
    window_ns = params["orders_maker_window_ns"]
    window_s = float(window_ns) / _NS_PER_S
    assumed = assumed_odds(window_s, params["costs_reach_half_s"])
    for i_side in range(2):
        for k in range(N_PROBES):
            if reach["price"][i_side, k] > 0 and now >= reach["until"][i_side, k]:
                _settle(reach, i_side, k, 0.0, assumed)
    if now >= reach["next_ts"] and 0 < bid < ask:
        reach["next_ts"] = now + max(_SPACING_MIN_NS, window_ns // N_PROBES)
        inside = 1 if ask - bid > 1 else 0
        for i_side in range(2):
            side = 1 if i_side == 0 else -1
            signal = reach_signal(features, side, window_s)
            if signal != signal:
                continue
            for k in range(N_PROBES):
                if reach["price"][i_side, k] == 0:
                    reach["price"][i_side, k] = bid + inside if i_side == 0 else ask - inside
                    reach["signal"][i_side, k] = signal
                    reach["since"][i_side, k] = now + params["costs_latency_ns"]
                    reach["until"][i_side, k] = now + window_ns
                    break
    for i_side in range(2):
        _find_limit(reach, i_side)
