"""Which takers ran through the book just now, and how far? Runs of trades of one side.

A burst is a run of trades of one taker side, each soon after the one before. The newest sixteen a
side are kept. Left out: what a sweep is worth (theses). Formulas: docs/formulas-market.md.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.columns import FEATURE_INDEX
from engine.core.features import F_MID
from engine.core.tape import SECOND_NS, SUM_MAX
from engine.jit import kernel
from engine.numerics import ratio
from engine.units import MONEY_PER_UNIT

BURST_RING: Final = 16
SEEN_NS: Final = 10 * SECOND_NS

F_SWEEP_LEVELS: Final = FEATURE_INDEX["sweep_levels_buy"]  # buy, sell: neighbours, as below
F_SWEEP_BPS: Final = FEATURE_INDEX["sweep_bps_buy"]
F_SWEEP_NOTIONAL: Final = FEATURE_INDEX["sweep_notional_buy"]
F_SWEEP_AGE: Final = FEATURE_INDEX["sweep_age_buy"]

BURST: Final = np.dtype(
    [
        ("ts", "<i8"),  # ns: of its newest trade, 0 none
        ("first", "<i8"),  # ticks
        ("worst", "<i8"),  # ticks: for the taker
        ("levels", "<i8"),
        ("notional", "<i8"),  # money
    ]
)
BURSTS: Final = np.dtype(
    [
        ("at", "<i8", (2,)),  # number of the newest burst of buyers, of sellers
        ("rows", BURST, (2, BURST_RING)),
    ]
)


@kernel
def burst_trade(bursts, price, side, notional, ts, gap_ns):
    """Enter one trade.

    price : int64, ticks, > 0; side : int64, +1 taker bought, -1 sold, 0 unknown: no burst
    notional : int64, money, >= 0; ts : int64, ns, never before the trade before it
    gap_ns : int64, longest time between two trades of one burst
    """
    if side == 0:
        return
    k = 0 if side > 0 else 1
    row = bursts["rows"][k, bursts["at"][k] & (BURST_RING - 1)]
    if row["ts"] == 0 or ts - row["ts"] > gap_ns:
        bursts["at"][k] += 1
        row = bursts["rows"][k, bursts["at"][k] & (BURST_RING - 1)]
        row["first"] = price
        row["worst"] = price
        row["levels"] = 1
        row["notional"] = 0
    elif (price - row["worst"]) * side > 0:
        row["worst"] = price
        row["levels"] += 1
    row["ts"] = ts
    if notional <= SUM_MAX - row["notional"]:
        row["notional"] += notional


@kernel
def burst_features(features, observations, bursts, now):
    """Fill the columns of the burst with most levels of the last 10 s, per taker side."""
    for k in range(2):
        best = -1
        newest = bursts["at"][k]
        for back in range(BURST_RING):
            row = bursts["rows"][k, (newest - back) & (BURST_RING - 1)]
            if row["ts"] == 0 or now - row["ts"] >= SEEN_NS:
                continue
            if best < 0 or row["levels"] > bursts["rows"][k, best]["levels"]:
                best = (newest - back) & (BURST_RING - 1)
        if best < 0:
            continue
        row = bursts["rows"][k, best]
        away = row["worst"] - row["first"]
        if away < 0:
            away = -away
        features[F_SWEEP_LEVELS + k] = float(row["levels"])
        features[F_SWEEP_BPS + k] = ratio(float(away) * 1e4, features[F_MID])
        features[F_SWEEP_NOTIONAL + k] = float(row["notional"]) / MONEY_PER_UNIT
        features[F_SWEEP_AGE + k] = float(now - row["ts"]) / SECOND_NS
        observations[F_SWEEP_LEVELS + k] = 1
        observations[F_SWEEP_BPS + k] = 1
        observations[F_SWEEP_NOTIONAL + k] = 1
        observations[F_SWEEP_AGE + k] = 1
