"""What shape has the book near the touch? Depth, microprice and imbalance of more than one level.

One walk over the ten best levels a side. Nothing is remembered. Left out: the touch itself and the
depth within 5 and 25 bps, which features.py has. Formulas: docs/formulas-market.md.
"""

from __future__ import annotations

from typing import Final

from engine.book import book_best, book_next, book_qty
from engine.core.columns import FEATURE_INDEX
from engine.core.features import (
    F_DEPTH_ASK_5,
    F_DEPTH_ASK_25,
    F_DEPTH_BID_5,
    F_DEPTH_BID_25,
    LEVELS_MAX,
)
from engine.jit import kernel
from engine.numerics import ratio

MID_PER_MIDDLE: Final = 1000  # 10 bps is 1/1000 of mid
LEVELS: Final = 10
FEW: Final = 5

F_DEPTH_BID_10: Final = FEATURE_INDEX["depth_bid_10"]
F_MICROPRICE_5: Final = FEATURE_INDEX["microprice_5_bps"]
F_MICROPRICE_DECAY: Final = FEATURE_INDEX["microprice_decay_bps"]
F_IMBALANCE_10: Final = FEATURE_INDEX["imbalance_10"]
F_IMBALANCE_NEAR: Final = FEATURE_INDEX["imbalance_near"]
F_IMBALANCE_FAR: Final = FEATURE_INDEX["imbalance_far"]
F_SHAPE_BID: Final = FEATURE_INDEX["shape_bid"]


@kernel
def walk_levels(book, i_side, mid_half_ticks):
    """Sums over the best levels of one side.

    returns n : int64, levels among the best ten; five, five_away, all_ten, faded, faded_away :
        float64, lots on five levels, lots x distance from mid (half ticks) on them, lots on ten,
        and the same two with weight 0.5^k; depth : float64, ticks x lots within 10 bps of mid;
        seen : int64, levels looked at
    """
    five = 0.0
    five_away = 0.0
    ten = 0.0
    faded = 0.0
    faded_away = 0.0
    depth = 0.0
    weight = 1.0
    n = 0
    seen = 0
    price = book_best(book, i_side)
    while price > 0 and seen < LEVELS_MAX:
        away = 2 * price - mid_half_ticks
        size = -away if away < 0 else away
        within = size * MID_PER_MIDDLE <= mid_half_ticks
        if not within and n >= LEVELS:
            break
        lots = float(book_qty(book, i_side, price))
        if within:
            depth += float(price) * lots
        if n < LEVELS:
            ten += lots
            faded += weight * lots
            faded_away += weight * lots * float(away)
            weight *= 0.5
            if n < FEW:
                five += lots
                five_away += lots * float(away)
            n += 1
        seen += 1
        price = book_next(book, i_side, price)
    return n, five, five_away, ten, faded, faded_away, depth, seen


@kernel
def lean_bps(bid_lots, bid_away, ask_lots, ask_away, mid_half_ticks):
    """Depth-weighted microprice - mid in bps; `away`: lots x distance from mid in half ticks."""
    bid = ratio(bid_away, bid_lots)
    ask = ratio(ask_away, ask_lots)
    lean = ratio(bid * ask_lots + ask * bid_lots, bid_lots + ask_lots)
    return ratio(lean * 1e4, float(mid_half_ticks))


@kernel
def shape_features(features, observations, symbol):
    """Fill the columns of the book's shape. The book is valid: 0 < bid < ask."""
    mid_half_ticks = symbol["bid"] + symbol["ask"]
    book = symbol["book"]
    instrument = symbol["instrument"]
    unit = instrument["price_float"] * instrument["qty_float"]
    n_bid, bid_5, bid_5_away, bid_10, bid_faded, bid_faded_away, bid_depth, bid_seen = walk_levels(
        book, 0, mid_half_ticks
    )
    n_ask, ask_5, ask_5_away, ask_10, ask_faded, ask_faded_away, ask_depth, ask_seen = walk_levels(
        book, 1, mid_half_ticks
    )
    n = min(n_bid, n_ask)
    features[F_DEPTH_BID_10] = bid_depth * unit
    features[F_DEPTH_BID_10 + 1] = ask_depth * unit
    observations[F_DEPTH_BID_10] = bid_seen
    observations[F_DEPTH_BID_10 + 1] = ask_seen
    features[F_MICROPRICE_5] = lean_bps(bid_5, bid_5_away, ask_5, ask_5_away, mid_half_ticks)
    features[F_MICROPRICE_DECAY] = lean_bps(
        bid_faded, bid_faded_away, ask_faded, ask_faded_away, mid_half_ticks
    )
    features[F_IMBALANCE_10] = ratio(bid_10 - ask_10, bid_10 + ask_10)
    for i in range(F_MICROPRICE_5, F_IMBALANCE_FAR + 1):
        observations[i] = n
    near_bid = features[F_DEPTH_BID_5]
    near_ask = features[F_DEPTH_ASK_5]
    far_bid = features[F_DEPTH_BID_25]
    far_ask = features[F_DEPTH_ASK_25]
    features[F_IMBALANCE_NEAR] = ratio(near_bid - near_ask, near_bid + near_ask)
    features[F_IMBALANCE_FAR] = ratio(far_bid - far_ask, far_bid + far_ask)
    features[F_SHAPE_BID] = ratio(near_bid, far_bid)
    features[F_SHAPE_BID + 1] = ratio(near_ask, far_ask)
    observations[F_SHAPE_BID] = n_bid
    observations[F_SHAPE_BID + 1] = n_ask
