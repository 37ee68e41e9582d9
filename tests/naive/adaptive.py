"""V2 of engine/core/adaptive.py told in lists: paths, ends, outcomes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

ENDS = ("time", "stop", "trail", "target")


def walk(
    steps: Sequence[Sequence[float]],
    widths: Sequence[float],
    *,
    start: float,
    move: float,
    sd: float,
    wide: float,
    wide_sd: float,
    half_life_s: float,
    horizon_s: float,
    hold_s: float,
    stop: float,
    trail_from: float,
    trail: float,
    target: float,
) -> list[tuple[str, float, float]]:
    """(how it ended, where, peak) of each path."""
    n = len(steps[0])
    come = [1 - 0.5 ** (hold_s * s / n / half_life_s) for s in range(n + 1)]
    whole = 1 - 0.5 ** (horizon_s / half_life_s)
    out = []
    for path, width in zip(steps, widths, strict=True):
        spread = sd / math.sqrt(n) * (wide_sd if width < wide else 1.0)
        x, peak, early = start, 0.0, 0.5825971579390106 * spread
        level, trailed, end = -stop, False, "time"
        for s, z in enumerate(path):
            x += move * (come[s + 1] - come[s]) / whole + spread * z
            if x <= level + early:
                x, end = level, "trail" if trailed else "stop"
                break
            if target > 0 and x >= target:
                x = peak = target
                end = "target"
                break
            if x > peak:
                peak = x
                if peak >= trail_from and peak - trail > level:
                    level, trailed = peak - trail, True
        out.append((end, x, peak))
    return out


def figures(
    ends: list[tuple[str, float, float]],
    fees: dict[str, float],
    leave: float,
    cost: float,
    target: float,
) -> dict[str, float]:
    """Everything that the row says of these paths."""
    n = len(ends)
    net = sorted(x - fees[end] - leave * (end == "time") - cost for end, x, _ in ends)
    paid = [fees[end] for end, _, _ in ends]
    return {
        **{f"{name}_share": sum(end == name for end, _, _ in ends) / n for name in ENDS},
        "give_back_bps": sum(peak - x for end, x, peak in ends if end == "trail") / n,
        "target_miss_bps": sum(max(target - peak, 0.0) for _, _, peak in ends) / n
        if target > 0
        else 0.0,
        "fee_bps": fmean(paid),
        "fee_sd_bps": math.sqrt(fmean((fee - fmean(paid)) ** 2 for fee in paid)),
        "v2_net_bps": fmean(net),
        "trimmed_bps": fmean(net[: n - n // 10]),
        "cover_prob": sum(value > 0 for value in net) / n,
        "q10_bps": net[n // 10],
        "q50_bps": net[n // 2],
        "q90_bps": net[n - 1 - n // 10],
    }
