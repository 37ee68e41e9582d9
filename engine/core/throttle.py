"""How much smaller do entries get after losses, and when do they end?

Realised losses of the last hour and of the last day, each as a share of equity, climb a ladder: each
step multiplies the size, the last one ends entries and the engine goes to EXIT_ONLY, which only an
operator loosens. Before that, steps are taken back by time alone, as losses leave their windows.
Losses are kept by the minute, so that neither window depends on how many trades there were.
Left out: loss of the day and drawdown from the peak, which are checks of their own (risk.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.jit import kernel
from engine.numerics import floor_int

MINUTE_NS: Final = 60_000_000_000
HOUR_MINUTES: Final = 60
DAY_MINUTES: Final = 1_440

THROTTLE: Final = np.dtype(
    [
        ("minute", "<i8"),  # newest minute of the ring
        ("lost", "<i8", (DAY_MINUTES,)),  # money lost in trades closed within each minute
        ("lost_day", "<i8"),  # their sum
    ]
)


@kernel
def throttle_roll(throttle, now):
    """Forget what is a day old. now : int64, ns, never before an earlier call"""
    minute = now // MINUTE_NS
    m = throttle["minute"] + 1
    if minute - m >= DAY_MINUTES:
        m = minute - DAY_MINUTES + 1
    while m <= minute:
        k = m % DAY_MINUTES
        throttle["lost_day"] -= throttle["lost"][k]
        throttle["lost"][k] = 0
        m += 1
    throttle["minute"] = max(throttle["minute"], minute)


@kernel
def throttle_loss(throttle, now, money):
    """A trade was closed at a loss of `money` (int64, > 0)."""
    throttle_roll(throttle, now)
    throttle["lost"][throttle["minute"] % DAY_MINUTES] += money
    throttle["lost_day"] += money


@kernel
def lost_in_hour(throttle):
    """Money lost in the newest 60 minutes of the ring."""
    lost = 0
    for back in range(HOUR_MINUTES):
        lost += throttle["lost"][(throttle["minute"] - back) % DAY_MINUTES]
    return lost


@kernel
def steps_for(lost, equity, share, n_steps):
    """How many whole times `share` of equity was lost, at most n_steps; without equity all of them."""
    if equity <= 0:
        return n_steps
    times = float(lost) / float(equity) / share
    return n_steps if times >= float(n_steps) else floor_int(times)


@kernel
def throttle_step(glob, params, equity):
    """The step of the ladder now, 0 .. `risk.throttle_steps`; 0 where that is 0 (no ladder).

    equity : int64, money
    """
    n_steps = params["risk_throttle_steps"]
    if n_steps == 0:
        return 0
    throttle = glob["throttle"]
    throttle_roll(throttle, glob["now"])
    by_hour = steps_for(lost_in_hour(throttle), equity, params["risk_throttle_step_1h"], n_steps)
    by_day = steps_for(throttle["lost_day"], equity, params["risk_throttle_step_24h"], n_steps)
    return max(by_hour, by_day)


@kernel
def throttle_factor(step, params):
    """Multiplier of every size on this step: `risk.throttle_factor` per step; float64."""
    factor = 1.0
    for _ in range(step):
        factor *= params["risk_throttle_factor"]
    return factor
