"""Do emptied levels come back, and how fast? From price levels and trades.

A level is emptied when the touch of a side gets worse and a trade explains it. Up to four of them a
side are watched for five seconds. What is remembered are means weighted by count. All times are
those of events, so it does not matter how often anybody looks. Formulas: docs/formulas-market.md.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.book import book_qty
from engine.core.columns import FEATURE_INDEX
from engine.core.tape import SECOND_NS
from engine.jit import kernel
from engine.numerics import ratio

WATCHED: Final = 4
HITS: Final = 16
EXPLAIN_NS: Final = SECOND_NS
SHORT_NS: Final = SECOND_NS
LONG_NS: Final = 5 * SECOND_NS
_DECAY_20: Final = 0.9659363289248456  # 0.5 ** (1 / 20), correctly rounded
N_REFILL: Final = 4  # share after 1 s, after 5 s, seconds to half, quoted again

F_REFILL: Final = FEATURE_INDEX["refill_1s_bid"]  # measures, each with bid and ask

WATCH: Final = np.dtype(
    [
        ("price", "<i8"),  # ticks, 0: free
        ("qty", "<i8"),  # lots that stood there
        ("since", "<i8"),  # ns
        ("explained", "<i8"),  # 1: a trade did it
        ("lots", "<i8"),  # there at the newest message
        ("lots_short", "<i8"),  # there after 1 s, -1 not yet
        ("half_ns", "<i8"),  # time until half was back, -1 not yet
        ("again", "<i8"),  # 1: something stood there again
        ("number", "<i8"),  # which emptied level of its side, counted
    ]
)
REFILL: Final = np.dtype(
    [
        ("price", "<i8", (2,)),  # ticks: touch of each side at the newest message, 0 none
        ("qty", "<i8", (2,)),
        ("n_hits", "<i8", (2,)),
        ("hit_price", "<i8", (2, HITS)),  # ring of trades into each side
        ("hit_ts", "<i8", (2, HITS)),
        ("n_watched", "<i8"),
        ("n_begun", "<i8", (2,)),
        ("watch", WATCH, (2, WATCHED)),
        ("n", "<i8", (2,)),  # emptied levels that were watched to their end
        ("weight", "<f8", (2,)),
        ("sums", "<f8", (2, N_REFILL)),
    ]
)


@kernel
def _finish(refill, i_side, row):
    """An explained level has been watched for 5 s: enter what came back."""
    quantity = float(row["qty"])
    half_s = float(LONG_NS) / SECOND_NS
    if row["half_ns"] >= 0:
        half_s = float(row["half_ns"]) / SECOND_NS
    sums = refill["sums"][i_side]
    for k in range(N_REFILL):
        sums[k] *= _DECAY_20
    refill["weight"][i_side] = refill["weight"][i_side] * _DECAY_20 + 1.0
    sums[0] += min(float(row["lots_short"]) / quantity, 1.0)
    sums[1] += min(float(row["lots"]) / quantity, 1.0)
    sums[2] += half_s
    sums[3] += float(row["again"])
    refill["n"][i_side] += 1


@kernel
def refill_expire(refill, now):
    """Settle what is due before `now`: call at least each second, and before anything changes.

    A level without a trade within a second was cancelled, and is forgotten.
    """
    if refill["n_watched"] == 0:
        return
    for i_side in range(2):
        n_due = 0
        for k in range(WATCHED):
            row = refill["watch"][i_side, k]
            if row["price"] == 0:
                continue
            age = now - row["since"]
            if age > SHORT_NS and row["lots_short"] < 0:
                row["lots_short"] = row["lots"]
            if age > EXPLAIN_NS and row["explained"] == 0:
                row["price"] = 0
                refill["n_watched"] -= 1
            elif age > LONG_NS:
                n_due += 1
        # In the order in which they were emptied, however many are due at this look.
        while n_due > 0:
            oldest = -1
            for k in range(WATCHED):
                row = refill["watch"][i_side, k]
                if row["price"] == 0 or now - row["since"] <= LONG_NS:
                    continue
                if oldest < 0 or row["number"] < refill["watch"][i_side, oldest]["number"]:
                    oldest = k
            _finish(refill, i_side, refill["watch"][i_side, oldest])
            refill["watch"][i_side, oldest]["price"] = 0
            refill["n_watched"] -= 1
            n_due -= 1


@kernel
def refill_trade(refill, price, side, ts):
    """A trade: it explains levels of its price that were emptied up to a second ago, or will be.

    side : int64, +1 taker bought: into the asks; -1: into the bids; 0 unknown explains nothing
    """
    if side == 0:
        return
    i_side = 0 if side < 0 else 1
    at = refill["n_hits"][i_side] & (HITS - 1)
    refill["n_hits"][i_side] += 1
    refill["hit_price"][i_side, at] = price
    refill["hit_ts"][i_side, at] = ts
    if refill["n_watched"] > 0:
        for k in range(WATCHED):
            row = refill["watch"][i_side, k]
            if row["price"] == price and ts - row["since"] <= EXPLAIN_NS:
                row["explained"] = 1


@kernel
def _is_hit(refill, i_side, price, ts):
    for k in range(HITS):
        hit_ts = refill["hit_ts"][i_side, k]
        if hit_ts > 0 and refill["hit_price"][i_side, k] == price and ts - hit_ts <= EXPLAIN_NS:
            return True
    return False


@kernel
def _begin(refill, i_side, price, qty, ts):
    """Watch a level that was emptied at `ts`, if there is room and it is not watched already."""
    free = -1
    for k in range(WATCHED):
        row = refill["watch"][i_side, k]
        if row["price"] == price:
            return
        if row["price"] == 0 and free < 0:
            free = k
    if free < 0:
        return
    row = refill["watch"][i_side, free]
    row["price"] = price
    row["qty"] = qty
    row["since"] = ts
    row["explained"] = 1 if _is_hit(refill, i_side, price, ts) else 0
    row["lots"] = 0
    row["lots_short"] = -1
    row["half_ns"] = -1
    row["again"] = 0
    row["number"] = refill["n_begun"][i_side]
    refill["n_begun"][i_side] += 1
    refill["n_watched"] += 1


@kernel
def _look(refill, book, ts):
    """What stands at the watched prices after a message?"""
    for i_side in range(2):
        for k in range(WATCHED):
            row = refill["watch"][i_side, k]
            if row["price"] == 0:
                continue
            lots = book_qty(book, i_side, row["price"])
            row["lots"] = lots
            if lots > 0:
                row["again"] = 1
                if row["half_ns"] < 0 and 2 * lots >= row["qty"]:
                    row["half_ns"] = ts - row["since"]


@kernel
def refill_touch(refill, book, bid, bid_qty, ask, ask_qty, ts):
    """After a complete book message: what came back, and was the touch emptied?

    bid, ask : int64, ticks, 0 where the side is empty; bid_qty, ask_qty : int64, lots
    """
    if refill["n_watched"] > 0:
        refill_expire(refill, ts)
        _look(refill, book, ts)
    before = refill["price"][0]
    if before > 0 and bid < before and refill["qty"][0] > 0:
        _begin(refill, 0, before, refill["qty"][0], ts)
    before = refill["price"][1]
    if before > 0 and (ask > before or ask == 0) and refill["qty"][1] > 0:
        _begin(refill, 1, before, refill["qty"][1], ts)
    refill["price"][0] = bid
    refill["qty"][0] = bid_qty
    refill["price"][1] = ask
    refill["qty"][1] = ask_qty


@kernel
def refill_lost(refill, ts):
    """The book is lost: settle what was due, watch nothing more, compare with nothing."""
    refill_expire(refill, ts)
    for i_side in range(2):
        refill["price"][i_side] = 0
        refill["qty"][i_side] = 0
        for k in range(WATCHED):
            refill["watch"][i_side, k]["price"] = 0
    refill["n_watched"] = 0


@kernel
def refill_features(features, observations, refill):
    """Fill the columns of refill; emptied levels are the observations."""
    for i_side in range(2):
        for k in range(N_REFILL):
            at = F_REFILL + 2 * k + i_side
            features[at] = ratio(refill["sums"][i_side, k], refill["weight"][i_side])
            observations[at] = refill["n"][i_side]
