"""May one more request be made now? The venue's transaction counter per pair.

It rises with each request, more for orders that are changed young, and decays with time. Points
are kept in units of 1e-11, in which Kraken's decays per nanosecond are whole, so that the counter
is exact. Source: Kraken, "Spot trading rate limits". Fills, expiry and the cancels that the venue
makes itself cost nothing. Left out: batches, the REST counter, limits across pairs.
"""

from __future__ import annotations

from typing import Final

from engine.jit import kernel

POINT: Final = 100_000_000_000  # one point of the counter
_S: Final = 1_000_000_000


@kernel
def rate_decay(symbol, params, t):
    """Let the counter of a symbol fall to time `t` (ns)."""
    dt = t - symbol["rate_ts"]
    if dt <= 0:
        return
    decay = params["rate_decay_e2"]
    if decay > 0:
        # division first: a product of a long gap could wrap
        if dt > symbol["rate"] // decay:
            symbol["rate"] = 0
        else:
            symbol["rate"] -= dt * decay
    symbol["rate_ts"] = t


@kernel
def rate_amend_points(age_ns):
    """Points that an amend costs beyond its fixed one, by the order's age in ns."""
    if age_ns < 5 * _S:
        return 3
    if age_ns < 10 * _S:
        return 2
    if age_ns < 15 * _S:
        return 1
    return 0


@kernel
def rate_cancel_points(age_ns):
    """Points that a cancel costs, by the order's age in ns."""
    if age_ns < 5 * _S:
        return 8
    if age_ns < 10 * _S:
        return 6
    if age_ns < 15 * _S:
        return 5
    if age_ns < 45 * _S:
        return 4
    if age_ns < 90 * _S:
        return 2
    if age_ns < 300 * _S:
        return 1
    return 0


@kernel
def rate_charge(symbol, params, t, fixed_points, aged_points):
    """Charge one request at time `t`; is it refused?

    Above the threshold before the charge, a request is refused and still pays its fixed part.
    """
    if params["rate_on"] == 0:
        return False
    rate_decay(symbol, params, t)
    if symbol["rate"] > params["rate_threshold"] * POINT:
        symbol["rate"] += fixed_points * POINT
        return True
    symbol["rate"] += (fixed_points + aged_points) * POINT
    return False
