"""Where does the mid drift to, does the drift grow, and who moves most?

Drift per minute and its change over four windows, one direction from all of them, and the rank of
a symbol's move among all symbols. Formulas: docs/formulas-market.md.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.columns import FEATURE_INDEX, N_WINDOWS, WINDOWS_S
from engine.core.features import F_DRIFT_T, F_RETURN_BPS
from engine.core.tape import RING, S_MID, S_SECOND
from engine.jit import kernel
from engine.numerics import NAN, clip

F_DRIFT: Final = FEATURE_INDEX["drift_1m"]  # of the windows from the second on
F_DRIFT_CHANGE: Final = FEATURE_INDEX["drift_change_1m"]
F_MOVER_RANK: Final = FEATURE_INDEX["mover_rank_10s"]
F_DIRECTION: Final = FEATURE_INDEX["direction"]
F_AGREEMENT: Final = FEATURE_INDEX["agreement"]

_SECONDS: Final = np.array(WINDOWS_S, np.int64)
T_FULL: Final = 2.0  # a drift_t of this size counts as a full vote


@kernel
def mid_at(tape, second):
    """The valid mid sampled in that second, half ticks; 0 if there is none."""
    row = tape["samples"][second & (RING - 1)]
    if row[S_SECOND] == second:
        return row[S_MID]
    return 0


@kernel
def drift_features(features, observations, tape):
    """Fill drift, its change, direction and agreement from the plain features and the samples."""
    votes = 0.0
    n_votes = 0
    n_up = 0
    n_down = 0
    second = tape["second"]
    now = mid_at(tape, second)
    for i in range(1, N_WINDOWS):
        minutes = float(_SECONDS[i]) / 60.0
        change = features[F_RETURN_BPS + i]
        features[F_DRIFT + i - 1] = change / minutes
        observations[F_DRIFT + i - 1] = observations[F_RETURN_BPS + i]
        half = mid_at(tape, second - _SECONDS[i] // 2)
        begin = mid_at(tape, second - _SECONDS[i])
        features[F_DRIFT_CHANGE + i - 1] = NAN
        if now > 0 and half > 0 and begin > 0:
            bend = float(now - 2 * half + begin) * 1e4 / float(now)
            features[F_DRIFT_CHANGE + i - 1] = bend / (minutes * 0.5)
            observations[F_DRIFT_CHANGE + i - 1] = 1
        t = features[F_DRIFT_T + i]
        if t == t:
            votes += clip(t / T_FULL, -1.0, 1.0)
            n_votes += 1
            if t > 0.0:
                n_up += 1
            elif t < 0.0:
                n_down += 1
    features[F_DIRECTION] = NAN
    features[F_AGREEMENT] = NAN
    if n_votes > 0:
        direction = votes / float(n_votes)
        agreeing = 0
        if direction > 0.0:
            agreeing = n_up
        elif direction < 0.0:
            agreeing = n_down
        features[F_DIRECTION] = direction
        features[F_AGREEMENT] = float(agreeing) / float(n_votes)
    observations[F_DIRECTION] = n_votes
    observations[F_AGREEMENT] = n_votes


@kernel
def rank_movers(symbols):
    """Fill `mover_rank` of every symbol; their plain features are of the same moment."""
    n = len(symbols)
    for w in range(N_WINDOWS):
        for i in range(n):
            features = symbols[i]["features"]
            mine = abs(features[F_RETURN_BPS + w])
            features[F_MOVER_RANK + w] = NAN
            symbols[i]["observations"][F_MOVER_RANK + w] = 0
            if mine != mine:
                continue
            below = 0
            same = 0
            others = 0
            for k in range(n):
                other = abs(symbols[k]["features"][F_RETURN_BPS + w])
                if k != i and other == other:
                    others += 1
                    if other < mine:
                        below += 1
                    elif other == mine:
                        same += 1
            rank = 0.5
            if others > 0:
                rank = (float(below) + 0.5 * float(same)) / float(others)
            features[F_MOVER_RANK + w] = rank
            symbols[i]["observations"][F_MOVER_RANK + w] = others + 1
