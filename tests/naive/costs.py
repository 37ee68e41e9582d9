"""Costs from plain lists, exact fractions and the words of the docs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

Levels = Sequence[tuple[int, int]]  # (price ticks, lots), best first


def walk(levels: Levels, qty: Fraction) -> tuple[Fraction, int, Fraction]:
    """Lots x ticks beyond the best price, ticks to the worst price used, lots not there."""
    paid, worst, left = Fraction(0), 0, qty
    for price, lots in levels:
        if left == 0:
            break
        taken = min(Fraction(lots), left)
        worst = abs(price - levels[0][0])
        paid += worst * taken
        left -= taken
    return paid, worst, left


def slippage_bps(
    levels: Levels,
    qty: Fraction,
    mid: float,
    residual: float,
    gamma: float,
    vol_bps: float,
    traded_notional: float,
    quote_per_tick_lot: float,
) -> float:
    """Average bps beyond the best price; NaN where it cannot be told."""
    if not levels:
        return math.nan
    paid, worst, left = walk(levels, qty)
    total = float(paid) / mid * 1e4
    if left:
        if not traded_notional > 0 or math.isnan(vol_bps):
            return math.nan
        notional = float(left) * mid * quote_per_tick_lot
        impact = gamma * vol_bps * math.sqrt(notional / traded_notional)
        total += float(left) * (worst / mid * 1e4 + impact)
    return total / float(qty) + residual


def fee_tier(volumes: Sequence[int], volume: int) -> int:
    """The last tier whose volume is reached."""
    return max(i for i, least in enumerate(volumes) if i == 0 or volume >= least)
