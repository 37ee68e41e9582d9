"""What came of forecasts, told from the whole list of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

Settled = tuple[int, int, float, float]  # family, market, move / sd, what came / sd


def weights(n: int) -> list[float]:
    return [0.5 ** (age / 500) for age in range(n - 1, -1, -1)]


def share(settled: Sequence[Settled], family: int) -> float:
    mine = [(move, came) for of, _, move, came in settled if of == family]
    both = list(zip(weights(len(mine)), mine, strict=True))
    xx = math.fsum(w * move * move for w, (move, _) in both)
    xy = math.fsum(w * move * came for w, (move, came) in both)
    return max(0.0, min(1.5, (xy + 10.0) / (xx + 10.0)))


def variance(settled: Sequence[Settled], market: int, assumed: float) -> float:
    """Each rest is against the share that was known when it was settled."""
    rests = [
        min(36.0, (came - share(settled[:i], family) * move) ** 2)
        for i, (family, of, move, came) in enumerate(settled)
        if of == market
    ]
    w = weights(len(rests))
    total = math.fsum(each * rest for each, rest in zip(w, rests, strict=True))
    return (total + 30.0 * assumed) / (math.fsum(w) + 30.0)


def expected_sd(vols: dict[int, float], seconds: float, fallback: float) -> float:
    """vols : window in seconds to volatility in bps"""
    known = [vol * vol / window for window, vol in vols.items() if not math.isnan(vol)]
    mean = sum(known) / len(known) if known else 0.0
    return math.sqrt(mean * seconds) if mean > 0.0 else fallback
