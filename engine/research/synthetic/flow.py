"""When does the next order arrive, and of which kind? A self-exciting process of four kinds.

Limit orders, taking orders, cancels and amends arrive as a Hawkes process whose kernel is the sum
of a fast and a slow exponential; the next arrival is drawn exactly, without thinning. The rates
that nothing caused follow the regime, the mispricing and how full the book is. Left out: what
an arrival does (traders.py).

Source: Dassios and Zhao 2013, "Exact simulation of Hawkes process with exponentially decaying
intensity"; Bacry, Mastromatteo and Muzy 2015, "Hawkes processes in finance", for the shape.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.book import book_best
from engine.jit import kernel
from engine.numerics import exp, floor_int, log, random_bits_keyed, uniform_keyed
from engine.research.synthetic.regimes import (
    BRANCHING,
    CANCEL_FACTOR,
    LIMIT_FACTOR,
    ORDERS_FACTOR,
    REGIMES,
    TAKE_FACTOR,
)
from engine.research.synthetic.state import (
    AMEND,
    CANCEL,
    FAST_DECAY,
    LIMIT,
    MARKET_TAKE,
    N_FLOWS,
    SLOW_DECAY,
)

# Children per arrival, [parent, child]: the fast part decays within 60 ms, the slow within 3 s.
FAST_CHILDREN: Final = np.array(
    [
        [0.14, 0.010, 0.12, 0.01],
        [0.55, 0.200, 0.55, 0.04],
        [0.18, 0.008, 0.15, 0.01],
        [0.10, 0.005, 0.08, 0.08],
    ]
)
SLOW_CHILDREN: Final = np.array(
    [
        [0.10, 0.004, 0.08, 0.00],
        [0.70, 0.160, 0.70, 0.03],
        [0.10, 0.004, 0.08, 0.01],
        [0.06, 0.002, 0.05, 0.02],
    ]
)
CROSS_CHILDREN: Final = 0.05  # taking orders elsewhere per taking order here, slow part
RATE_MAX: Final = 4_000.0  # arrivals per second and kind beyond which excitement saturates


@kernel
def draw(market):
    """The next uniform of the symbol's order flow."""
    market["flow_counter"] += 1
    return uniform_keyed(market["flow_key"], market["flow_counter"])


@kernel
def draw_integer(market, n):
    """The next integer in 0 .. n - 1 of the symbol's order flow."""
    market["flow_counter"] += 1
    return random_bits_keyed(market["flow_key"], market["flow_counter"]) % n


@kernel
def mid_of(market):
    """The middle of the touch in ticks; the fair price while a side is empty."""
    bid = book_best(market["book"], 0)
    ask = book_best(market["book"], 1)
    if bid == 0 or ask == 0:
        return market["fair"]
    return 0.5 * (bid + ask)


@kernel
def set_base_rates(glob, market):
    """Arrivals that nothing caused: by regime, by mispricing, and by how full the book is."""
    regime = market["regime"]
    intensity = glob["intensity"]
    gap = (market["fair"] - mid_of(market)) / market["scale"]
    if gap < 0.0:
        gap = -gap
    gap = min(gap, 8.0)
    base = market["base"]
    base[LIMIT] = (
        market["limit_rate"] * REGIMES[regime, LIMIT_FACTOR] * (0.8 + 0.4 * gap) * intensity
    )
    base[MARKET_TAKE] = (
        market["market_rate"] * REGIMES[regime, TAKE_FACTOR] * (0.6 + 0.7 * gap) * intensity
    )
    # Cancels balance what arrives when the book holds its usual number of orders.
    crowd = market["n_active"] / (market["n_orders"] * REGIMES[regime, ORDERS_FACTOR])
    crowd = min(crowd * crowd, 6.0)
    base[CANCEL] = (
        market["limit_rate"]
        * REGIMES[regime, CANCEL_FACTOR]
        * crowd
        * (0.8 + 0.5 * gap)
        * intensity
    )
    base[AMEND] = market["amend_rate"] * REGIMES[regime, CANCEL_FACTOR] * intensity


@kernel
def decay_to(market, t):
    """Let the excitement fade until time `t`."""
    dt = (t - market["t"]) * 1e-9
    if dt > 0.0:
        fast = exp(-FAST_DECAY * dt)
        slow = exp(-SLOW_DECAY * dt)
        for k in range(N_FLOWS):
            market["fast"][k] *= fast
            market["slow"][k] *= slow
        market["t"] = t


@kernel
def _decaying_wait(u, rate, decay):
    """Seconds until the first arrival of a rate that decays exponentially; -1 if none comes."""
    d = 1.0 + decay * log(u) / rate
    if d <= 0.0:
        return -1.0
    return -log(d) / decay


@kernel
def draw_next(market):
    """Set `t_next`: the next arrival, or the next point of the grid if that is earlier.

    The three parts of the rate wait independently, the earliest wins. Redrawing at every point
    of the grid is allowed since an exponential wait has no memory.
    """
    base = 0.0
    fast = 0.0
    slow = 0.0
    for k in range(N_FLOWS):
        base += market["base"][k]
        fast += market["fast"][k]
        slow += market["slow"][k]
    wait = -log(draw(market)) / base
    if fast > 1e-6:
        other = _decaying_wait(draw(market), fast, FAST_DECAY)
        if 0.0 <= other < wait:
            wait = other
    if slow > 1e-6:
        other = _decaying_wait(draw(market), slow, SLOW_DECAY)
        if 0.0 <= other < wait:
            wait = other
    # Orders of one book never share a nanosecond: their stamps are the queue.
    t = market["t"] + 1 + floor_int(min(wait, 1.0) * 1e9)
    market["t_next"] = min(t, market["t_grid"])


@kernel
def _pick_flow(market):
    total = 0.0
    for k in range(N_FLOWS):
        total += market["base"][k] + market["fast"][k] + market["slow"][k]
    u = draw(market) * total
    for k in range(N_FLOWS - 1):
        u -= market["base"][k] + market["fast"][k] + market["slow"][k]
        if u < 0.0:
            return k
    return N_FLOWS - 1


@kernel
def excite(market, parent):
    """An arrival raises the rates of those that follow it."""
    factor = REGIMES[market["regime"], BRANCHING]
    for k in range(N_FLOWS):
        fast = market["fast"][k] + FAST_CHILDREN[parent, k] * factor * FAST_DECAY
        slow = market["slow"][k] + SLOW_CHILDREN[parent, k] * factor * SLOW_DECAY
        market["fast"][k] = min(fast, RATE_MAX)
        market["slow"][k] = min(slow, RATE_MAX)


@kernel
def next_flow(market):
    """Choose the kind of the arrival that is due, and let it excite those that follow."""
    flow = _pick_flow(market)
    market["n_actions"][flow] += 1
    excite(market, flow)
    return flow
