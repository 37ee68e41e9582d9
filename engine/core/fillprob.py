"""Would a resting order fill in time, and how long would it wait?

Two things must happen. The market must come to our price while it is still the best one, which reach.py
learns. And when it comes it must reach us: either sellers eat what stands before us and ourselves, at
the rate the tape shows, in trades of random size, while we never move up by cancellations; or the other
side's best price goes to ours by volatility alone. Left out: what the fill is worth (edge.py).
"""

from __future__ import annotations

from typing import Final

from engine.jit import kernel
from engine.numerics import INFINITY, clip, exp, normal_cdf, sqrt

# Which evidence a fill probability rests on.
FILL_NONE: Final = 0  # not estimated
FILL_TAKER: Final = 1  # it takes: filled at once
FILL_QUEUE: Final = 2  # level-2 quantity as queue, flow of trades
FILL_TOUCH: Final = 3  # the walk of the price
FILL_LEVEL3: Final = 4  # as FILL_QUEUE, and who leaves the queue ahead of us
FILL_MIX: Final = 5  # rests, then takes: it fills
FILL_NAMES: Final = {
    FILL_NONE: "none",
    FILL_TAKER: "taker",
    FILL_QUEUE: "queue",
    FILL_TOUCH: "touch",
    FILL_LEVEL3: "level3",
    FILL_MIX: "mix",
}

PROBABILITY_MIN: Final = 1e-6  # a maker's fill is never certain, in either direction
# Largest a + b summed term by term; 3 digits are right at the edge, where the normal takes over.
_SUM_MAX: Final = 24.0
_MEDIAN_Z: Final = 0.6744897501960817  # normal quantile of 0.75


@kernel
def _skellam_sum(a, b):
    """P(N > M) term by term, N and M Poisson of mean a and b, a + b <= about 30."""
    p_m = exp(-b)  # P(M = m)
    p_n = exp(-a)  # P(N = m)
    at_most_m = p_m
    at_most_n = p_n  # P(N <= m)
    total = p_m * (1.0 - at_most_n)
    m = 0.0
    while 1.0 - at_most_m > 1e-13 and m < 200.0:
        m += 1.0
        p_m = p_m * b / m
        p_n = p_n * a / m
        at_most_m += p_m
        at_most_n += p_n
        total += p_m * (1.0 - at_most_n)
    return total


@kernel
def poisson_exceeds(a, b):
    """Chance that one Poisson count exceeds another: P(N > M), N of mean a >= 0, M of mean b >= 0.

    It is also the chance that trades of exponential size arriving as a Poisson process, a of them
    expected, eat a queue worth b average trades. Rises with a, falls with b, without a step.
    Source: Skellam 1946, summed; beyond a + b = 24 at the point of that sum with the same
    (a - b - 1/2) / sqrt(a + b), which the normal limit makes exact. Error below 0.004.
    """
    total = a + b
    if total <= _SUM_MAX:
        return _skellam_sum(a, b)
    lead = (a - b - 0.5) / sqrt(total) * sqrt(_SUM_MAX) + 0.5
    lead = clip(lead, -_SUM_MAX, _SUM_MAX)
    return _skellam_sum(0.5 * (_SUM_MAX + lead), 0.5 * (_SUM_MAX - lead))


@kernel
def touch_probability(distance_bps, vol_bps_s, window_s):
    """Chance that a driftless walk goes `distance_bps` or more against us within `window_s`.

    distance_bps : float64, > 0; vol_bps_s : float64, bps per square root of a second, >= 0
    Source: reflection principle, 2 x Phi(-d / (sigma x sqrt(T))); used for limit orders by
    Lo, MacKinlay, Zhang 2002.
    """
    spread = vol_bps_s * sqrt(window_s)
    if spread <= 0.0:
        return 0.0
    return clip(2.0 * normal_cdf(-distance_bps / spread), 0.0, 1.0)


@kernel
def eaten_probability(a, b):
    """Chance that trades eat a queue, given that at least one trade comes: P(N > M) / P(N >= 1).

    a, b : float64, >= 0, as for `poisson_exceeds`. exp(-b) without trades, 1 with endless ones.
    """
    if a < 1e-4:  # the quotient of two small numbers: its series, right to a b squared
        return clip(exp(-b) * (1.0 + 0.5 * a * b), 0.0, 1.0)
    return clip(poisson_exceeds(a, b) / (1.0 - exp(-a)), 0.0, 1.0)


@kernel
def maker_fill(
    ahead_lots, qty_lots, rate, lots_per_trade, distance_bps, vol_bps_s, window_s, leave_rate, reach
):
    """Chance that a resting order fills completely within its window, and the expected wait.

    ahead_lots, qty_lots : float64, lots before us and ours, >= 0 and > 0
    rate : float64, lots per second traded into our side; NAN if unknown
    lots_per_trade : float64, mean size of those trades; NAN if unknown
    distance_bps : float64, > 0: how far the other side's best price is from ours
    vol_bps_s : float64, bps per square root of a second, >= 0
    window_s : float64, life of the order
    leave_rate : float64, lots per second that cancel ahead of us (level 3), 0 where unknown; they
        shorten what is before us only, never what we want ourselves
    reach : float64, 0..1: chance that the market comes to our price at all
    returns probability in (0, 1), wait in s (mean of the queue, or median of the walk if that is
        sooner; inf if neither moves), method FILL_QUEUE, FILL_LEVEL3 or FILL_TOUCH: what would
        sooner finish the order once the market comes
    """
    by_touch = touch_probability(distance_bps, vol_bps_s, window_s)
    wait = INFINITY
    if vol_bps_s > 0.0:
        steps = distance_bps / (_MEDIAN_Z * vol_bps_s)
        wait = steps * steps
    missed = 1.0 - by_touch  # neither the queue nor the walk
    method = FILL_TOUCH
    if rate > 0.0 and lots_per_trade > 0.0:
        lots = ahead_lots + qty_lots
        by_rate = lots / rate
        exact = FILL_QUEUE
        if leave_rate > 0.0 and ahead_lots > 0.0:
            # What cancels until the window ends, or until all ahead of us is gone.
            gone = ahead_lots / (rate + leave_rate)
            left = ahead_lots - leave_rate * (window_s if window_s < gone else gone)
            lots = left + qty_lots
            by_rate = gone + qty_lots / rate
            exact = FILL_LEVEL3
        by_queue = eaten_probability(rate * window_s / lots_per_trade, lots / lots_per_trade)
        missed *= 1.0 - by_queue
        if by_queue >= by_touch:
            method = exact
        if by_rate < wait:
            wait = by_rate
    chance = reach * (1.0 - missed)
    return clip(chance, PROBABILITY_MIN, 1.0 - PROBABILITY_MIN), wait, method
