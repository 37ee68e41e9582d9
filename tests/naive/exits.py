"""How forceful an exit is, and what the tape did, as lists of rules: the first that holds names it."""

from __future__ import annotations


def urgency(
    emergency: bool,
    unsafe: bool,
    regime: str,
    stress: float | None,
    loss: float | None,
    stress_from: float = 3.0,
    loss_from: float = 0.5,
) -> str:
    """stress : spread over its mean; loss : share of the way to the first stop; None unknown"""
    stressed = regime == "CHAOS" or (stress is not None and stress >= stress_from)
    losing = loss is not None and loss >= loss_from
    easy = stress is not None and stress <= 1.0 and loss is not None and loss <= 0.0
    rules = {
        "panic": emergency or unsafe or (stressed and losing),
        "urgent": stressed or losing or regime == "LOW_LIQUIDITY",
        "patient": regime in ("RANGE", "TREND") and easy,
        "normal": True,
    }
    return next(name for name, holds in rules.items() if holds)


def path(gain: float, best: float, still_s: float, flow: float | None, cover: float | None) -> str:
    """With the limits that a profile has by default: 10 bps, half of it, 0.3, 60 s, one position."""
    known = best >= 10.0
    sold = flow is not None and flow <= -0.3
    rules = {
        "vacuum": cover is not None and cover < 1.0,
        "reversal": known and best - gain >= 0.5 * best and sold,
        "stall": known and still_s >= 60,
        "trend": gain > 0.0 and still_s < 60,
        "none": True,
    }
    return next(name for name, holds in rules.items() if holds)
