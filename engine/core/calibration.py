"""How far off were earlier forecasts of the same kind? What the second model learns from later mids.

The first forecast of each symbol, family and horizon that is judged is remembered until its trade would be
over, then compared with where the mid went; then the next one. Two things are learnt, both pulled to
what the parameters say until there is evidence: which share of a family's moves came, and how wide the
rest was against the volatility that was expected, for each kind of market. Left out: the paths
(adaptive.py), and what a trade made of the move (shadow.py, the record only).
`docs/formulas-adaptive.md` has the formulas.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.columns import FEATURE_INDEX
from engine.core.routes import N_FAMILIES, N_HORIZONS
from engine.jit import kernel
from engine.numerics import clip, sqrt

N_MARKETS: Final = 4  # kinds of market of adaptive.py
_LATE_NS: Final = 2_000_000_000  # a mid that comes later than this after the end says nothing
_REMEMBERED: Final = 0.9986146661010092  # 0.5 ** (1 / 500): half-life of 500 forecasts
_SURE_SHARE: Final = 10.0  # evidence (sum of squared signals) that the parameters count as
_SURE_WIDTH: Final = 30.0  # forecasts that they count as
_SHARE_MAX: Final = 1.5
_REST_MAX: Final = 36.0  # a jump of more than six sd counts as one of six

_VOL_1M: Final = FEATURE_INDEX["vol_bps_1m"]
_VOL_15M: Final = FEATURE_INDEX["vol_bps_15m"]
_VOL_1H: Final = FEATURE_INDEX["vol_bps_1h"]

FORECASTS: Final = np.dtype(  # of a symbol, by family and horizon
    [
        ("next_due", "<i8"),  # ns, the earliest of them; 0: none
        ("due", "<i8", (N_FAMILIES, N_HORIZONS)),  # ns, 0: free
        ("mid", "<i8", (N_FAMILIES, N_HORIZONS)),  # half ticks, then
        ("move", "<f8", (N_FAMILIES, N_HORIZONS)),  # expected, in its sd
        ("sd", "<f8", (N_FAMILIES, N_HORIZONS)),  # bps
        ("market", "<i8", (N_FAMILIES, N_HORIZONS)),
    ]
)
CALIBRATION: Final = np.dtype(  # of a run
    [
        ("xx", "<f8", (N_FAMILIES,)),  # weighted sums: squared moves, moves x what came
        ("xy", "<f8", (N_FAMILIES,)),
        ("n", "<f8", (N_MARKETS,)),  # weighted forecasts, their squared rests
        ("rest", "<f8", (N_MARKETS,)),
    ]
)


@kernel
def expected_sd_bps(features, seconds, fallback_bps):
    """Volatility expected over the next `seconds`: the mean of what 1 m, 15 m and 1 h imply.

    features : float64[N_FEATURES]; fallback_bps where none of the three is known
    Source: Corsi 2009, "A simple approximate long-memory model of realized volatility", with equal
    weights: a calm minute is followed by what the hour was like, and a wild one too.
    """
    total = 0.0
    n = 0.0
    vol = features[_VOL_1M]
    if vol >= 0.0:
        total += vol * vol / 60.0
        n += 1.0
    vol = features[_VOL_15M]
    if vol >= 0.0:
        total += vol * vol / 900.0
        n += 1.0
    vol = features[_VOL_1H]
    if vol >= 0.0:
        total += vol * vol / 3600.0
        n += 1.0
    if n == 0.0 or total <= 0.0:
        return fallback_bps
    return sqrt(total / n * seconds)


@kernel
def learnt_share(calibration, family):
    """Share of the moves of a family that came, 0..1.5; 1 before anything is known.

    Regression through the origin, ridge towards 1 (Hoerl, Kennard 1970, "Ridge regression").
    """
    share = (calibration["xy"][family] + _SURE_SHARE) / (calibration["xx"][family] + _SURE_SHARE)
    return clip(share, 0.0, _SHARE_MAX)


@kernel
def learnt_variance(calibration, market, assumed):
    """Variance of what was not expected over the expected one; `assumed` before anything is known."""
    known = calibration["n"][market]
    return (calibration["rest"][market] + _SURE_WIDTH * assumed) / (known + _SURE_WIDTH)


@kernel
def note_forecast(forecasts, family, i_horizon, due, mid, move, sd, market):
    """Remember a forecast where the one before it is settled.

    due : int64, ns; mid : int64, half ticks; move, sd : float64, bps, sd > 0
    """
    if forecasts["due"][family, i_horizon] != 0 or mid <= 0 or not sd > 0.0:
        return
    forecasts["due"][family, i_horizon] = due
    forecasts["mid"][family, i_horizon] = mid
    forecasts["move"][family, i_horizon] = move / sd
    forecasts["sd"][family, i_horizon] = sd
    forecasts["market"][family, i_horizon] = market
    if forecasts["next_due"] == 0 or due < forecasts["next_due"]:
        forecasts["next_due"] = due


@kernel
def settle_forecasts(forecasts, calibration, mid, now):
    """Learn from the forecasts whose time has come. mid : int64, half ticks, 0 if not valid now"""
    if forecasts["next_due"] == 0 or now < forecasts["next_due"]:
        return
    forecasts["next_due"] = 0
    for family in range(N_FAMILIES):
        for h in range(N_HORIZONS):
            due = forecasts["due"][family, h]
            if due == 0:
                continue
            if now < due:
                if forecasts["next_due"] == 0 or due < forecasts["next_due"]:
                    forecasts["next_due"] = due
                continue
            forecasts["due"][family, h] = 0
            if mid <= 0 or now - due > _LATE_NS:
                continue
            then = float(forecasts["mid"][family, h])
            came = (float(mid) / then - 1.0) * 1e4 / forecasts["sd"][family, h]
            move = forecasts["move"][family, h]
            rest = came - learnt_share(calibration, family) * move
            xx = calibration["xx"][family] * _REMEMBERED
            xy = calibration["xy"][family] * _REMEMBERED
            calibration["xx"][family] = xx + move * move
            calibration["xy"][family] = xy + move * came
            market = forecasts["market"][family, h]
            n = calibration["n"][market] * _REMEMBERED
            squares = calibration["rest"][market] * _REMEMBERED
            calibration["n"][market] = n + 1.0
            calibration["rest"][market] = squares + min(rest * rest, _REST_MAX)
