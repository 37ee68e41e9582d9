"""What does a trader want, given the book and a fair price that only the generator knows?

Every decision ends in an *intent*: one thing to do to the book, written to the `do_*` fields of the
pair. Who decides when is flow.py's question, how it is carried out orders.py's.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.book import book_best, book_count
from engine.jit import kernel
from engine.numerics import exp, floor_int, log, normal_quantile, tanh
from engine.research.synthetic.flow import draw, draw_integer, mid_of
from engine.research.synthetic.orders import DO_NOTHING, DO_REDUCE, DO_REMOVE, DO_REST, DO_TAKE
from engine.research.synthetic.regimes import REGIMES, SIZE_FACTOR, SPREAD_FACTOR
from engine.research.synthetic.state import (
    CANCEL,
    LIMIT,
    MARKET_TAKE,
    MAX_ORDERS,
    SPAN_MASK,
)

FAR_TICKS: Final = 8_000  # no order is placed farther from the touch
PRUNE_TICKS: Final = 20_000  # orders farther from the mid than this are withdrawn
PRUNE_EVERY: Final = 4_000  # ticks that the mid moves between two looks
LEVELS_LEFT: Final = 15  # cancels stop when a side has no more levels than this
NEWS_SHARE: Final = 0.08  # of what a trade moved the mid, that the fair price follows


@kernel
def _size(market, median, regime_factor):
    """Lots of an order: log-normal, a third of them rounded to one digit as people do."""
    z = normal_quantile(draw(market))
    lots = floor_int(median * regime_factor * exp(market["order_spread"] * z)) + 1
    if draw(market) < 0.35:
        digit = 1
        while digit * 10 <= lots:
            digit *= 10
        lots = (lots // digit) * digit
    return max(lots, market["qty_min"])


@kernel
def _round_price(market, price, side):
    """Some makers like round prices, away from the touch."""
    u = draw(market)
    step = 1
    if u < 0.10:
        step = 100
    elif u < 0.30:
        step = 10
    if price < 40 * step:
        return price
    if side > 0:
        return (price // step) * step
    return -((-price // step) * step)


@kernel
def _limit_price(market, side):
    """Where a maker puts an order: inside the spread, at the touch, or behind it."""
    regime = market["regime"]
    i_side = 0 if side > 0 else 1
    scale = market["scale"]
    opposite = book_best(market["book"], 1 - i_side)
    touch = book_best(market["book"], i_side)
    # The best price a maker dares: a part of `scale` on the safe side of fair.
    dare = floor_int(side * (market["fair"] - side * 0.5 * scale * REGIMES[regime, SPREAD_FACTOR]))
    dare *= side
    if opposite != 0 and (dare - (opposite - side)) * side > 0:
        dare = opposite - side
    if touch == 0:
        return max(dare, 1)
    room = (dare - touch) * side
    u = draw(market)
    if room > 0:
        eager = 0.3 + 0.55 * min(1.0, room / (2.0 * scale))
        if u < eager:
            v = draw(market)
            return max(touch + side * (1 + floor_int((room - 1) * v)), 1)
        u = (u - eager) / (1.0 - eager)
    if u < 0.18 and room >= -2.0 * scale:
        return touch
    # Behind the touch with a heavy tail (Pareto, exponent 1.5).
    reach = 3.0 * scale * REGIMES[regime, SPREAD_FACTOR] + 2.0
    depth = reach * (exp(-log(draw(market)) / 1.5) - 1.0)
    far = min(float(FAR_TICKS), 0.05 * market["fair"])
    behind = 1 + floor_int(min(depth, far))
    anchor = touch
    if room < 0:
        anchor = dare  # the touch stands beyond what makers think right
    return max(_round_price(market, anchor - side * behind, side), 1)


@kernel
def _want_rest(market, side, price, qty, order_id):
    """Rest a limit order that does not cross; id 0 asks for a new one."""
    market["do"] = DO_REST
    market["do_side"] = side
    market["do_price"] = price
    market["do_qty"] = qty
    market["do_id"] = order_id


@kernel
def want_limit(market):
    """A maker's new order: where the fair price is, and on the side that has fewer orders."""
    if market["n_active"] >= MAX_ORDERS - 8:
        return
    gap = (market["fair"] - mid_of(market)) / market["scale"]
    n_bids = market["n_side"][0]
    n_asks = market["n_side"][1]
    lean = 0.35 * tanh(0.9 * gap) + 0.3 * (n_asks - n_bids) / (n_asks + n_bids + 1)
    side = 1 if draw(market) < 0.5 + lean else -1
    price = _limit_price(market, side)
    qty = _size(market, market["order_lots"], REGIMES[market["regime"], SIZE_FACTOR])
    _want_rest(market, side, price, qty, 0)


@kernel
def _want_take(market):
    """An order that takes: a market order, or a limit order beyond the touch that may rest."""
    bid = book_best(market["book"], 0)
    ask = book_best(market["book"], 1)
    if bid == 0 or ask == 0:
        return
    scale = market["scale"]
    gap = (market["fair"] - 0.5 * (bid + ask)) / scale
    lean = tanh(0.9 * gap)
    if draw(market) < 0.30:
        side = market["last_side"]  # parents are worked in slices: signs persist
    else:
        side = 1 if draw(market) < 0.5 + 0.48 * lean else -1
    market["last_side"] = side
    i_side = 1 if side > 0 else 0
    touch = ask if side > 0 else bid
    qty = _size(market, market["market_lots"], 1.0)
    # How far past the touch it is worth buying; the uninformed stop at the touch.
    reach = (market["fair"] - touch) * side
    if reach > 0.0:
        qty = floor_int(qty * (1.0 + min(0.6 * reach / scale, 3.0)))
    limit = 0
    u = draw(market)
    if u < 0.45:
        limit = touch + side * floor_int(max(0.5 * reach, 0.0))
    elif u < 0.60:
        # Those who look at the book take what stands at the touch, no more.
        head = np.int64(market["head"][i_side, touch & SPAN_MASK])
        qty = min(qty, market["o_qty"][head - 1])
    market["do"] = DO_TAKE
    market["do_side"] = side
    market["do_price"] = limit
    market["do_qty"] = max(qty, market["qty_min"])
    market["do_rest"] = 1 if draw(market) < 0.6 else 0
    market["mid_before"] = 0.5 * (bid + ask)


@kernel
def learn(market):
    """Trades carry news: the fair price follows a part of what they moved the mid."""
    if market["mid_before"] > 0.0:
        market["fair"] += NEWS_SHARE * (mid_of(market) - market["mid_before"])
        market["mid_before"] = 0.0


@kernel
def _pick_order(market):
    """A resting order that its owner would touch; -1 if none was found in some tries.

    Near orders and those at the back of a long queue go first; a place at the front is kept; an
    order on the wrong side of the fair price goes at once.
    """
    scale = market["scale"]
    fair = market["fair"]
    # Who stands at a touch that the fair price has left behind is the first to notice.
    gap = fair - mid_of(market)
    i_stale = 1 if gap > 0.0 else 0
    if gap * (1 if gap > 0.0 else -1) > 0.5 * scale and draw(market) < 0.75:
        touch = book_best(market["book"], i_stale)
        if touch != 0 and book_count(market["book"], i_stale) > LEVELS_LEFT:
            return np.int64(market["tail"][i_stale, touch & SPAN_MASK]) - 1
    for _ in range(10):
        row = market["active"][draw_integer(market, market["n_active"])]
        i_side = market["o_side"][row]
        if book_count(market["book"], i_side) <= LEVELS_LEFT:
            continue
        side = 1 if i_side == 0 else -1
        price = market["o_price"][row]
        if (price - fair) * side > 0.0:
            return row
        touch = book_best(market["book"], i_side)
        distance = (touch - price) * side / (6.0 * scale)
        chance = 0.12 + 0.88 / (1.0 + distance)
        n_level = np.int64(market["n_level"][i_side, price & SPAN_MASK])
        if n_level > 1:
            ahead = 0
            at = market["o_previous"][row]
            while at != 0 and ahead < 8:
                ahead += 1
                at = market["o_previous"][at - 1]
            chance *= 0.45 + 0.55 * ahead / min(n_level - 1, 8)
        if draw(market) < chance:
            return row
    return -1


@kernel
def _want_remove(market, row, ts):
    market["do"] = DO_REMOVE
    market["do_row"] = row
    market["do_ts"] = ts


@kernel
def _want_amend(market, row):
    """Less quantity keeps the place in the queue; a new price is a delete, then an add."""
    qty = market["o_qty"][row]
    if draw(market) < 0.35:
        less = max(floor_int(qty * (0.3 + 0.6 * draw(market))), market["qty_min"])
        if less < qty:
            market["do"] = DO_REDUCE
            market["do_row"] = row
            market["do_qty"] = less
        return
    market["reprice_side"] = 1 if market["o_side"][row] == 0 else -1
    market["reprice_qty"] = qty
    market["reprice_id"] = market["o_id"][row]
    # The delete of a repriced order carries the order's own stamp: that is how Kraken's feed
    # tells it from one that is gone for good.
    _want_remove(market, row, market["o_ts"][row])


@kernel
def want_reprice(market):
    """The second half of a reprice: the order comes back under its id, at another price.

    returns bool: whether there was one
    """
    side = market["reprice_side"]
    if side == 0:
        return False
    market["reprice_side"] = 0
    price = _limit_price(market, side)
    _want_rest(market, side, price, market["reprice_qty"], market["reprice_id"])
    return True


@kernel
def want_prune(market, t):
    """Withdraw one order that the market left far behind, so that prices in use stay within SPAN."""
    mid = floor_int(mid_of(market))
    moved = mid - market["prune_mid"]
    if -PRUNE_EVERY < moved < PRUNE_EVERY:
        return
    for place in range(market["n_active"]):
        row = market["active"][place]
        distance = market["o_price"][row] - mid
        if not -PRUNE_TICKS < distance < PRUNE_TICKS:
            _want_remove(market, row, t)
            return
    market["prune_mid"] = mid


@kernel
def want(market, flow, t):
    """What the trader behind one arrival of this kind wants."""
    market["do"] = DO_NOTHING
    if flow == LIMIT:
        want_limit(market)
    elif flow == MARKET_TAKE:
        _want_take(market)
    elif market["n_active"] > 0:
        row = _pick_order(market)
        if row < 0:
            return
        if flow == CANCEL:
            _want_remove(market, row, t)
        else:
            _want_amend(market, row)
