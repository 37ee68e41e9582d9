"""What did slippage and adverse selection turn out to be, for this symbol? Estimates from events.

Two running means, weighted by count, and both shrunk towards what the parameters say until there is
evidence: what our own taking fills paid beyond the walk of the book that was expected when they were
sent, and where the mid went after prints at the touch, which is what a resting order there would
have suffered. Left out: markouts of our own fills for people (engine/reports/markouts.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.tape import (
    B_BUY_LOTS,
    B_SECOND,
    B_SELL_LOTS,
    RING,
    S_MID,
    S_SECOND,
)
from engine.jit import kernel

MARKOUT_S: Final = 10  # what the adverse part of the stack stands for
_SLIP_DECAY: Final = 0.9862327044933591  # 0.5 ** (1 / 50): half-life of 50 orders
_PRINT_DECAY: Final = 0.9976921765270234  # 0.5 ** (1 / 300): half-life of 300 seconds with prints
_MASK: Final = RING - 1

LEARNED: Final = np.dtype(
    [
        ("second", "<i8"),  # newest second that was looked at
        ("slip_n", "<f8"),  # weighted orders
        ("slip_sum", "<f8"),  # bps beyond the walk, + is a cost
        ("adverse_n", "<f8", (2,)),  # weighted seconds with prints into the bids, the asks
        ("adverse_sum", "<f8", (2,)),  # bps that the mid moved against whoever rested there
    ]
)


@kernel
def learn_prints(learned, tape):
    """Look ten seconds back: where prints hit a side then, how did the mid move against it?

    learned : LEARNED record; tape : TAPE record, brought up to now by `tape_second`
    The mid before is that of the second before the prints, the one after ten seconds later.
    Source: markout of the quote at the touch, Glosten, Milgrom 1985 for what it measures.
    """
    second = tape["second"]
    if second <= learned["second"]:
        return
    learned["second"] = second
    then = second - MARKOUT_S
    bucket = tape["buckets"][then & _MASK]
    if bucket[B_SECOND] != then:
        return
    before = tape["samples"][(then - 1) & _MASK]
    after = tape["samples"][second & _MASK]
    if before[S_SECOND] != then - 1 or after[S_SECOND] != second:
        return
    if before[S_MID] <= 0 or after[S_MID] <= 0:
        return
    fall = float(before[S_MID] - after[S_MID]) * 1e4 / float(before[S_MID])
    for i_side in range(2):
        lots = bucket[B_SELL_LOTS] if i_side == 0 else bucket[B_BUY_LOTS]
        if lots > 0:
            against = fall if i_side == 0 else -fall
            learned["adverse_n"][i_side] = learned["adverse_n"][i_side] * _PRINT_DECAY + 1.0
            learned["adverse_sum"][i_side] = learned["adverse_sum"][i_side] * _PRINT_DECAY + against


@kernel
def learn_slippage(learned, side, price, expected_price, share):
    """One taking fill of ours against the average price that the walk of the book promised.

    side : +1 bought, -1 sold; price : int64, ticks; expected_price : float64, ticks, > 0
    share : float64, part of the order that this fill is, so that an order counts once
    """
    paid = (float(price) - expected_price) * 1e4 / expected_price
    if side < 0:
        paid = -paid
    factor = 1.0 - (1.0 - _SLIP_DECAY) * share
    learned["slip_n"] = learned["slip_n"] * factor + share
    learned["slip_sum"] = learned["slip_sum"] * factor + share * paid


@kernel
def shrunk(n, total, prior, prior_n):
    """Mean of `n` observations that sum to `total`, as if `prior_n` more had said `prior`.

    Source: the posterior mean of a normal mean, Efron, Morris 1973; never below 0: a cost estimate
    that pays would invite trading for its own sake.
    """
    weight = n + prior_n
    if weight <= 0.0:
        return prior
    mean = (total + prior_n * prior) / weight
    return mean if mean > 0.0 else 0.0
