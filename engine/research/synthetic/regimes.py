"""What is the truth that nobody in the market sees? Regimes, the fair price, and its jumps.

On a grid of 100 ms every pair's fair price diffuses with a factor that all pairs share, regimes end
and begin, and jumps fall. Left out: what traders make of it (flow.py, traders.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.jit import kernel
from engine.numerics import floor_int, log, normal_quantile, sqrt, uniform_keyed
from engine.research.synthetic.config import NS_PER_S
from engine.research.synthetic.state import (
    CANCEL,
    FAST_DECAY,
    LIMIT,
    MARKET_TAKE,
    SLOW_DECAY,
    TREND,
    TRUTH_JUMP,
    TRUTH_REGIME,
)

GRID_NS: Final = 100_000_000
GRID_S: Final = 0.1
COMMON_JUMP: Final = 0.0022  # scale of a jump, as a fraction of the price
TREND_DRIFT: Final = 0.20  # of a trend, in volatilities per second

# Columns of REGIMES: factors on the quiet behaviour.
VOLATILITY: Final = 0
LIMIT_FACTOR: Final = 1
TAKE_FACTOR: Final = 2
CANCEL_FACTOR: Final = 3
ORDERS_FACTOR: Final = 4  # resting orders that the book settles at
SIZE_FACTOR: Final = 5
SPREAD_FACTOR: Final = 6  # how far from the fair price makers stand
BRANCHING: Final = 7
MEAN_S: Final = 8  # mean duration
JUMP_FACTOR: Final = 9
REGIMES: Final = np.array(
    [
        # vola limit take cancel orders size spread branch  mean_s jumps
        [0.55, 0.80, 0.70, 0.80, 1.00, 1.00, 1.0, 0.90, 420.0, 1.0],  # quiet
        [0.90, 1.10, 1.40, 1.10, 0.90, 1.00, 1.1, 1.00, 150.0, 1.5],  # trend
        [3.60, 2.60, 4.00, 3.20, 0.75, 0.80, 2.2, 1.06, 32.0, 10.0],  # burst
        [1.20, 0.45, 0.45, 0.70, 0.40, 0.45, 2.5, 0.90, 130.0, 4.0],  # thin
    ]
)
# Chance to follow a regime (row) with another (column).
FOLLOWS: Final = np.array(
    [
        [0.00, 0.42, 0.30, 0.28],
        [0.65, 0.00, 0.35, 0.00],
        [0.50, 0.25, 0.00, 0.25],
        [0.70, 0.05, 0.25, 0.00],
    ]
)
FOLLOW_LEADER: Final = 0.45  # chance that a pair takes over a new regime of the first one


@kernel
def _grid_draw(market):
    market["grid_counter"] += 1
    return uniform_keyed(market["grid_key"], market["grid_counter"])


@kernel
def _tell(glob, truth, market, t, what, direction, size):
    at = glob["n_truth"]
    if at < len(truth):
        row = truth[at]
        row["ts_venue"] = t
        row["sym"] = market["sym"]
        row["what"] = what
        row["regime"] = market["regime"]
        row["direction"] = direction
        row["fair"] = market["fair"]
        row["size"] = size
        glob["n_truth"] = at + 1


@kernel
def enter_regime(glob, truth, market, t, regime, direction):
    """Begin a regime; its length is exponential, cut to 0.2 .. 4 times its mean."""
    length = min(max(-log(_grid_draw(market)), 0.2), 4.0) * REGIMES[regime, MEAN_S]
    market["regime"] = regime
    market["direction"] = direction if regime == TREND else 0
    market["regime_end"] = t + floor_int(length * NS_PER_S)
    _tell(glob, truth, market, t, TRUTH_REGIME, market["direction"], 0.0)


@kernel
def _next_regime(glob, truth, market, t):
    u = _grid_draw(market)
    regime = market["regime"]
    following = 0
    while following < 3 and u >= FOLLOWS[regime, following]:
        u -= FOLLOWS[regime, following]
        following += 1
    direction = 1 if _grid_draw(market) < 0.5 else -1
    enter_regime(glob, truth, market, t, following, direction)


@kernel
def _regimes(glob, truth, market, t):
    """Let regimes end, and let the first pair's new one spread to the others."""
    if market["sym"] == 0:
        if t >= market["regime_end"]:
            _next_regime(glob, truth, market, t)
            glob["leader_regime"] = market["regime"]
            glob["leader_direction"] = market["direction"]
            glob["leader_change"] = market["n_grid"]
        return
    # 0.3 s after the first pair, if at all: contagion takes a moment.
    if glob["leader_change"] > 0 and market["n_grid"] == glob["leader_change"] + 3:
        follows = _grid_draw(market) < FOLLOW_LEADER
        if follows and market["regime"] != glob["leader_regime"]:
            enter_regime(glob, truth, market, t, glob["leader_regime"], glob["leader_direction"])
            return
    if t >= market["regime_end"]:
        _next_regime(glob, truth, market, t)


@kernel
def _jump_size(u, v):
    """Signed size of a jump: an exponential around COMMON_JUMP, either way."""
    size = COMMON_JUMP * (0.4 - 0.86 * log(v))
    return min(size, 0.01) if u < 0.5 else -min(size, 0.01)


@kernel
def _jump(glob, truth, market, t, size):
    """Move the fair price at once and wake those whom it concerns."""
    market["fair"] *= 1.0 + size
    # Every maker on the wrong side of it wants out, most within the first tenth of a second.
    n_stale = 0
    for place in range(market["n_active"]):
        row = market["active"][place]
        side = 1 if market["o_side"][row] == 0 else -1
        if (market["o_price"][row] - market["fair"]) * side > 0.0:
            n_stale += 1
    market["fast"][CANCEL] += (2.0 + 0.6 * n_stale) * FAST_DECAY
    market["fast"][LIMIT] += (2.0 + 0.2 * n_stale) * FAST_DECAY
    market["fast"][MARKET_TAKE] += 3.0 * FAST_DECAY
    market["slow"][MARKET_TAKE] += 3.0 * SLOW_DECAY
    market["slow"][CANCEL] += 4.0 * SLOW_DECAY
    market["slow"][LIMIT] += 4.0 * SLOW_DECAY
    _tell(glob, truth, market, t, TRUTH_JUMP, 1 if size > 0 else -1, size)


@kernel
def grid_step(glob, truth, market, t):
    """Move the hidden state of one pair over one step of the grid."""
    _regimes(glob, truth, market, t)
    regime = market["regime"]
    step = market["n_grid"]
    # The shared factor is a function of the step alone: every pair computes the same number.
    shared = normal_quantile(uniform_keyed(glob["common_key"], 4 * step))
    own = normal_quantile(_grid_draw(market))
    common = market["common"]
    noise = common * shared + sqrt(1.0 - common * common) * own
    volatility = market["volatility"] * REGIMES[regime, VOLATILITY]
    drift = market["direction"] * TREND_DRIFT * volatility * GRID_S
    market["fair"] *= 1.0 + drift + volatility * sqrt(GRID_S) * noise
    chance = glob["jump_rate"] * GRID_S
    if uniform_keyed(glob["common_key"], 4 * step + 1) < chance:
        size = _jump_size(
            uniform_keyed(glob["common_key"], 4 * step + 2),
            uniform_keyed(glob["common_key"], 4 * step + 3),
        )
        _jump(glob, truth, market, t, size * (0.5 + common))
    elif _grid_draw(market) < 0.5 * chance * REGIMES[regime, JUMP_FACTOR]:
        _jump(glob, truth, market, t, _jump_size(_grid_draw(market), _grid_draw(market)))
    market["n_grid"] = step + 1
