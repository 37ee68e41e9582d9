"""Fill probabilities by brute force: Poisson sums in logarithms, error function of the C library."""

from __future__ import annotations

import math


def poisson(mean: float, k: int) -> float:
    """P(N = k) of a Poisson count."""
    if mean == 0:
        return 1.0 if k == 0 else 0.0
    return math.exp(k * math.log(mean) - mean - math.lgamma(k + 1))


def poisson_exceeds(a: float, b: float) -> float:
    """P(N > M): for every M worth looking at, all the N above it."""
    top = int(max(a, b) + 40 * math.sqrt(max(a, b)) + 60)
    above = [0.0] * (top + 2)  # above[m] = P(N > m)
    for m in range(top, -1, -1):
        above[m] = above[m + 1] + poisson(a, m + 1)
    return math.fsum(poisson(b, m) * above[m] for m in range(top + 1))


def eaten(a: float, b: float) -> float:
    """P(N > M | N >= 1); its limit exp(-b) where hardly a trade is expected."""
    if a < 1e-4:
        return min(1.0, math.exp(-b) * (1 + a * b / 2))
    return poisson_exceeds(a, b) / -math.expm1(-a)


def touch(distance_bps: float, vol_bps_s: float, window_s: float) -> float:
    """Chance that a driftless walk touches the distance: twice that of ending beyond it."""
    spread = vol_bps_s * math.sqrt(window_s)
    return math.erfc(distance_bps / spread / math.sqrt(2)) if spread > 0 else 0.0
