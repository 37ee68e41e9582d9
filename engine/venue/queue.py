"""Queue position of a resting order: how many lots of others stand in front of us?

From price levels it is an estimate, since Kraken's `book` channel gives the quantity per price and
not per order. Cautious: we move up only when lots trade at our price; that the level shows less
than we believe to be ahead of us is proof as well. Proportional: cancels come from in front and
from behind in proportion. From level 3 it is exact (engine/venue/level3.py knows the real orders).
Only arithmetic on plain integers here; who calls when is matching.py's question.
"""

from __future__ import annotations

from engine.jit import kernel
from engine.numerics import floor_int


@kernel
def queue_after_trade(ahead_lots, leaves_lots, trade_lots):
    """Move up the queue when `trade_lots` trade at our price.

    ahead_lots, leaves_lots, trade_lots : int64, lots, >= 0
        In front of us; ours, still open; just traded.
    returns ahead_lots, filled_lots : int64, lots
        Still in front of us; ours that traded, at most `leaves_lots`.

    Source: Rigtorp 2013, "Estimating order queue position", trades only.
    """
    assert ahead_lots >= 0
    assert leaves_lots >= 0
    assert trade_lots >= 0
    surplus_lots = trade_lots - ahead_lots
    if surplus_lots <= 0:
        return ahead_lots - trade_lots, 0
    return 0, min(surplus_lots, leaves_lots)


@kernel
def queue_after_level(ahead_lots, level_lots):
    """The cautious bound after a level changed: at most what it shows can be in front of us."""
    return min(ahead_lots, level_lots)


@kernel
def queue_after_cancels(ahead_lots, before_lots, after_lots, traded_lots, power):
    """Estimate what is left in front of us after a level fell, spreading cancels over the queue.

    ahead_lots : int64, in front of us, <= before_lots
    before_lots, after_lots : int64, the level's quantity before and after, others' lots only
    traded_lots : int64, lots of the decrease that were printed and already counted
    power : int64, 1..4; a cancel comes from behind us with probability
        back^power / (back^power + front^power)
    returns int64, lots; rounded up, so against us

    Source: Rigtorp 2013, "Estimating order queue position", equations for p(back); power as in
    hftbacktest's PowerProbQueueModel.
    """
    canceled = before_lots - after_lots - traded_lots
    if canceled <= 0 or ahead_lots <= 0:
        return min(ahead_lots, after_lots)
    front = float(ahead_lots)
    back = float(max(before_lots - traded_lots - ahead_lots, 0))
    weight_front = front
    weight_back = back
    for _ in range(power - 1):
        weight_front *= front
        weight_back *= back
    from_front = floor_int(canceled * (weight_front / (weight_front + weight_back)))
    # what the back cannot give came from the front after all
    from_front = max(from_front, canceled - floor_int(back))
    return min(max(ahead_lots - from_front, 0), after_lots)
