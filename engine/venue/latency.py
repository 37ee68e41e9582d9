"""How long does a command take to the venue, and its answer back to us?

A draw is a pure function of (seed, stream, counter): the caller numbers commands and answers, so
that any draw can be redone and no order of evaluation matters. Log-normal around a median, cut at
both ends; the lower end is what lets the two timelines run ahead of each other. Left out: delays
measured from a run, delays that depend on load.
"""

from __future__ import annotations

from typing import Final

from engine.jit import kernel
from engine.numerics import exp, floor_int, normal

ENTRY_STREAM: Final = 101
RESPONSE_STREAM: Final = 102


@kernel
def latency_draw(median_ns, sigma, min_ns, max_ns, seed, stream, counter):
    """median x exp(sigma x z), z standard normal, rounded down and clamped; int64 ns.

    sigma 0 gives the median itself (clamped), without a draw.
    """
    latency = median_ns
    if sigma > 0.0:
        scaled = median_ns * exp(sigma * normal(seed, stream, counter))
        # a float beyond the cap need not fit an integer
        latency = max_ns if scaled >= max_ns else floor_int(scaled)
    return max(min_ns, min(latency, max_ns))


@kernel
def entry_latency(params, counter):
    """ns from our sending command number `counter` to its arrival at the matching engine.

    params : VENUE_PARAMS[1]; counter : int64, 0 for the first command of the run
    """
    row = params[0]
    return latency_draw(
        row["entry_ns"], row["entry_sigma"], row["entry_min_ns"],
        row["latency_max_ns"], row["seed"], ENTRY_STREAM, counter,
    )  # fmt: skip


@kernel
def response_latency(params, counter):
    """ns from the venue's answer number `counter` to its arrival here; as `entry_latency`."""
    row = params[0]
    return latency_draw(
        row["response_ns"], row["response_sigma"], row["response_min_ns"],
        row["latency_max_ns"], row["seed"], RESPONSE_STREAM, counter,
    )  # fmt: skip
