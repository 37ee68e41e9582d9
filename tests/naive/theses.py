"""Expected moves by stepping through time, instead of the closed forms of the kernels."""

from __future__ import annotations

import math

STEPS = 20_000


def faded(rate: float, half_life_s: float, horizon_s: float) -> float:
    """Sum of a rate that halves every half-life, over the horizon (midpoint rule)."""
    dt = horizon_s / STEPS
    return sum(rate * 0.5 ** ((k + 0.5) * dt / half_life_s) * dt for k in range(STEPS))


def reverted(
    deviation: float, fitted_half_life_s: float, mean_half_life_s: float, horizon_s: float
) -> float:
    """Move of a price whose distance from its own trailing mean closes from both ends.

    The fitted half-life is that of the distance. The mean alone would close it with its own
    half-life; the rest is the price's doing.
    """
    speed = math.log(2) / fitted_half_life_s
    speed_mean = math.log(2) / mean_half_life_s
    price, mean = deviation, 0.0
    dt = horizon_s / STEPS
    for _ in range(STEPS):
        # midpoint: half a step to find the distance in the middle of the step
        middle = (price - mean) * (1.0 - 0.5 * speed * dt)
        price -= (speed - speed_mean) * middle * dt
        mean += speed_mean * middle * dt
    return price - deviation


def normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))
