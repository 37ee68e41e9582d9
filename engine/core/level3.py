"""What do single orders tell about the queue at the touch, and how far can they be relied on?

Keeps the orders of a level-3 feed in a pool with two hash chains, by id and by price, and the level
book they add up to. Rates of arrivals, cancels and fills, ages, the place of cancels in the queue,
lives of orders; and a quality from checksums, agreement with the price-level book, age,
resubscriptions and orders that were never named. Off with `features.level3 = false`. Left out: our
own queue positions (venue), and decisions. Formulas: docs/formulas-market.md.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.book import BOOK, book_best, book_clear, book_count, book_qty, book_set, book_worst
from engine.core.columns import FEATURE_INDEX
from engine.core.tape import SECOND_NS
from engine.events import FAILED, L3_ADD, L3_DELETE, LAST, MESSAGE_END, SNAPSHOT
from engine.jit import kernel
from engine.numerics import NAN, exp, ratio

ORDERS_MAX: Final = 8192
BUCKETS: Final = 8192  # a power of two
QUEUE_MAX: Final = 256  # orders of a level whose ages are looked at
RESUBSCRIBED: Final = 16
HOUR_NS: Final = 3600 * SECOND_NS
AGE_HALF_LIFE_S: Final = 5.0
_LN2: Final = 0.6931471805599453

# What left the front of a queue and no trade has explained yet.
P_LOTS: Final = 0
P_SHARE: Final = 1  # lots x share of the queue behind them, where there was one
P_SHARE_LOTS: Final = 2
P_LIFE: Final = 3  # s, of orders that left whole
P_ORDERS: Final = 4
N_PENDING: Final = 5

# Sums weighted by time, per side.
R_ARRIVED: Final = 0  # lots
R_CANCELLED: Final = 1
R_TRADED: Final = 2
R_SHARE: Final = 3
R_SHARE_LOTS: Final = 4
R_LIFE: Final = 5
R_ORDERS: Final = 6
N_RATES: Final = 7

F_ORDERS: Final = FEATURE_INDEX["queue_orders_bid"]  # bid and ask are neighbours, as below
F_ARRIVAL: Final = FEATURE_INDEX["queue_arrival_bid"]
F_CANCEL: Final = FEATURE_INDEX["queue_cancel_bid"]
F_TRADE: Final = FEATURE_INDEX["queue_trade_bid"]
F_AGE: Final = FEATURE_INDEX["queue_age_bid"]
F_AHEAD: Final = FEATURE_INDEX["cancel_ahead_bid"]
F_LIFE: Final = FEATURE_INDEX["order_life_bid"]
F_QUALITY: Final = FEATURE_INDEX["l3_quality"]

L3_ORDER: Final = np.dtype(
    [
        ("id", "<i8"),
        ("i_side", "<i8"),
        ("price", "<i8"),
        ("qty", "<i8"),  # lots, 0: free row
        ("time", "<i8"),  # ns: the order's own, its place in the queue
        ("id_next", "<i8"),
        ("price_next", "<i8"),
        ("price_previous", "<i8"),
    ]
)
LEVEL3: Final = np.dtype(
    [
        ("started", "<i8"),  # 1: orders are being kept
        ("message_open", "<i8"),
        ("in_snapshot", "<i8"),
        ("message_ts", "<i8"),  # ns: newest complete message, 0 none
        ("n_messages", "<i8"),
        ("n_failed", "<i8"),
        ("n_changes", "<i8"),  # changes and removals
        ("n_unknown", "<i8"),  # ... of orders that were never named
        ("n_dropped", "<i8"),  # orders for which the pool had no room
        ("n_snapshots", "<i8"),
        ("snapshot_ts", "<i8", (RESUBSCRIBED,)),  # ring
        ("n_compared", "<i8"),  # seconds in which both books had a touch
        ("n_agreed", "<i8"),
        ("second", "<i8"),  # newest second that was closed, 0 none
        ("n_seconds", "<i8"),
        ("credit", "<i8", (2, 2)),  # lots traded that no removal explains: this second, the last
        ("pending", "<f8", (2, 2, N_PENDING)),  # side, this second or the last
        ("open_rates", "<f8", (2, N_RATES)),
        ("weight", "<f8"),  # s
        ("rates", "<f8", (2, N_RATES)),
        ("n_cancels", "<i8", (2,)),
        ("n_lives", "<i8", (2,)),
        ("n", "<i8"),  # orders known
        ("free", "<i8"),
        ("high", "<i8"),
        ("heads", "<i8", (2, BUCKETS)),
        ("orders", L3_ORDER, (ORDERS_MAX + 1,)),  # row 0 stands for none
        ("book", BOOK),
        ("ages", "<i8", (QUEUE_MAX,)),  # scratch
    ]
)


@kernel
def _id_bucket(order_id):
    return (order_id ^ (order_id >> 15) ^ (order_id >> 31) ^ (order_id >> 47)) & (BUCKETS - 1)


@kernel
def _price_bucket(i_side, price):
    return (price * 2 + i_side) & (BUCKETS - 1)


@kernel
def find_order(level3, order_id):
    """Row of the pool that holds this order, 0 if none."""
    at = level3["heads"][0, _id_bucket(order_id)]
    while at > 0 and level3["orders"][at]["id"] != order_id:
        at = level3["orders"][at]["id_next"]
    return at


@kernel
def _insert(level3, order_id, i_side, price, qty, time):
    """Add an order that is not known. A full pool drops it and says so in the quality."""
    at = level3["free"]
    if at > 0:
        level3["free"] = level3["orders"][at]["id_next"]
    elif level3["high"] < ORDERS_MAX:
        at = level3["high"] + 1
        level3["high"] = at
    else:
        level3["n_dropped"] += 1
        return
    row = level3["orders"][at]
    row["id"] = order_id
    row["i_side"] = i_side
    row["price"] = price
    row["qty"] = qty
    row["time"] = time
    by_id = _id_bucket(order_id)
    row["id_next"] = level3["heads"][0, by_id]
    level3["heads"][0, by_id] = at
    by_price = _price_bucket(i_side, price)
    head = level3["heads"][1, by_price]
    row["price_next"] = head
    row["price_previous"] = 0
    if head > 0:
        level3["orders"][head]["price_previous"] = at
    level3["heads"][1, by_price] = at
    level3["n"] += 1
    book = level3["book"]
    book_set(book, i_side, price, book_qty(book, i_side, price) + qty)


@kernel
def _unlink(level3, at):
    """Take a row out of both chains; the level book is not touched."""
    row = level3["orders"][at]
    by_id = _id_bucket(row["id"])
    before = level3["heads"][0, by_id]
    if before == at:
        level3["heads"][0, by_id] = row["id_next"]
    else:
        while level3["orders"][before]["id_next"] != at:
            before = level3["orders"][before]["id_next"]
        level3["orders"][before]["id_next"] = row["id_next"]
    following = row["price_next"]
    if row["price_previous"] > 0:
        level3["orders"][row["price_previous"]]["price_next"] = following
    else:
        level3["heads"][1, _price_bucket(row["i_side"], row["price"])] = following
    if following > 0:
        level3["orders"][following]["price_previous"] = row["price_previous"]
    row["qty"] = 0
    row["id_next"] = level3["free"]
    level3["free"] = at
    level3["n"] -= 1


@kernel
def _reduce(level3, at, qty):
    """Set the quantity of a known order, 0 removes it; the level follows."""
    row = level3["orders"][at]
    book = level3["book"]
    level = book_qty(book, row["i_side"], row["price"]) + qty - row["qty"]
    book_set(book, row["i_side"], row["price"], max(level, 0))
    row["qty"] = qty
    if qty == 0:
        _unlink(level3, at)


@kernel
def level3_clear(level3):
    """Forget every order, and what is not settled about them."""
    book_clear(level3["book"])
    for k in range(BUCKETS):
        level3["heads"][0, k] = 0
        level3["heads"][1, k] = 0
    for at in range(1, level3["high"] + 1):
        level3["orders"][at]["qty"] = 0
    level3["free"] = 0
    level3["high"] = 0
    level3["n"] = 0
    for i_side in range(2):
        for k in range(2):
            level3["credit"][i_side, k] = 0
            for c in range(N_PENDING):
                level3["pending"][i_side, k, c] = 0.0


@kernel
def _truncate(level3, depth):
    """Cut both sides to the feed's depth: orders beyond it are not told about any more."""
    book = level3["book"]
    for i_side in range(2):
        while book_count(book, i_side) > depth:
            price = book_worst(book, i_side)
            at = level3["heads"][1, _price_bucket(i_side, price)]
            while at > 0:
                row = level3["orders"][at]
                following = row["price_next"]
                if row["price"] == price and row["i_side"] == i_side:
                    _unlink(level3, at)
                at = following
            book_set(book, i_side, price, 0)


# --- what left the touch -------------------------------------------------------------------------


@kernel
def _lots_ahead(level3, i_side, price, time):
    """Lots of the orders at a price that are older than `time`."""
    lots = 0
    at = level3["heads"][1, _price_bucket(i_side, price)]
    while at > 0:
        row = level3["orders"][at]
        if row["price"] == price and row["i_side"] == i_side and row["time"] < time:
            lots += row["qty"]
        at = row["price_next"]
    return lots


@kernel
def _settle_cancel(level3, i_side, pending, share):
    """Enter `share` (0..1) of what is pending as cancels."""
    rates = level3["open_rates"][i_side]
    rates[R_CANCELLED] += share * pending[P_LOTS]
    rates[R_SHARE] += share * pending[P_SHARE]
    rates[R_SHARE_LOTS] += share * pending[P_SHARE_LOTS]
    rates[R_LIFE] += share * pending[P_LIFE]
    rates[R_ORDERS] += share * pending[P_ORDERS]
    if share > 0.0:
        if pending[P_SHARE_LOTS] > 0.0:
            level3["n_cancels"][i_side] += 1
        if pending[P_ORDERS] > 0.0:
            level3["n_lives"][i_side] += 1


@kernel
def _note_removal(level3, at, removed, ts):
    """Lots of a known order leave the touch: a cancel, or at the front perhaps a fill.

    removed : int64, lots, 1 .. the order's quantity, which is still in the book
    """
    row = level3["orders"][at]
    i_side = row["i_side"]
    others = book_qty(level3["book"], i_side, row["price"]) - row["qty"]
    ahead = _lots_ahead(level3, i_side, row["price"], row["time"])
    lots = float(removed)
    rates = level3["open_rates"][i_side]
    explained = 0
    if ahead == 0:
        for k in range(1, -1, -1):  # the older trades first
            part = min(level3["credit"][i_side, k], removed - explained)
            level3["credit"][i_side, k] -= part
            explained += part
        rates[R_TRADED] += float(explained)
        if explained == removed:
            return
        lots = float(removed - explained)
    share = 0.0
    share_lots = 0.0
    if others > 0:
        share = lots * float(others - ahead) / float(others)
        share_lots = lots
    life = 0.0
    count = 0.0
    if removed == row["qty"] and explained == 0:
        life = float(ts - row["time"]) / SECOND_NS
        count = 1.0
    if ahead == 0:
        pending = level3["pending"][i_side, 0]
        pending[P_LOTS] += lots
        pending[P_SHARE] += share
        pending[P_SHARE_LOTS] += share_lots
        pending[P_LIFE] += life
        pending[P_ORDERS] += count
        return
    rates[R_CANCELLED] += lots
    rates[R_SHARE] += share
    rates[R_SHARE_LOTS] += share_lots
    rates[R_LIFE] += life
    rates[R_ORDERS] += count
    level3["n_cancels"][i_side] += 1
    level3["n_lives"][i_side] += 1 if count > 0.0 else 0


@kernel
def level3_trade(level3, side, qty):
    """A trade explains removals from the front that came before it, or those to come.

    side : int64, +1 taker bought: from the asks; -1: from the bids; qty : int64, lots, >= 0
    """
    if side == 0 or level3["started"] == 0:
        return
    i_side = 0 if side < 0 else 1
    left = float(qty)
    for k in range(1, -1, -1):
        pending = level3["pending"][i_side, k]
        lots = pending[P_LOTS]
        part = min(lots, left)
        if part > 0.0:
            keep = (lots - part) / lots
            for c in range(P_LOTS + 1, N_PENDING):
                pending[c] *= keep
            pending[P_LOTS] = lots - part  # whole lots stay whole
            level3["open_rates"][i_side, R_TRADED] += part
            left -= part
    level3["credit"][i_side, 0] += np.int64(left)


@kernel
def level3_second(level3, bid, ask, now, half_life_s):
    """Close the second: what no trade has explained was cancelled; compare touches.

    bid, ask : int64, ticks: touch of the price-level book, 0 where it is not valid
    now : int64, ns; half_life_s : float64, s, > 0
    """
    second = now // SECOND_NS
    before = level3["second"]
    if second <= before or level3["started"] == 0:
        return
    level3["second"] = second
    if before == 0:
        return
    factor = exp(-_LN2 * float(second - before) / half_life_s)
    level3["weight"] = level3["weight"] * factor + float(second - before)
    level3["n_seconds"] += second - before
    for i_side in range(2):
        _settle_cancel(level3, i_side, level3["pending"][i_side, 1], 1.0)
        for c in range(N_PENDING):
            level3["pending"][i_side, 1, c] = level3["pending"][i_side, 0, c]
            level3["pending"][i_side, 0, c] = 0.0
        level3["credit"][i_side, 1] = level3["credit"][i_side, 0]
        level3["credit"][i_side, 0] = 0
        for c in range(N_RATES):
            level3["rates"][i_side, c] = (
                level3["rates"][i_side, c] * factor + level3["open_rates"][i_side, c]
            )
            level3["open_rates"][i_side, c] = 0.0
    own_bid = book_best(level3["book"], 0)
    own_ask = book_best(level3["book"], 1)
    if bid > 0 and ask > 0 and level3["message_open"] == 0:
        level3["n_compared"] += 1
        if own_bid == bid and own_ask == ask:
            level3["n_agreed"] += 1


# --- records of the feed -------------------------------------------------------------------------


@kernel
def level3_lost(level3):
    """A gap: nothing is known until the feed speaks again."""
    level3_clear(level3)
    level3["started"] = 0
    level3["message_open"] = 0
    level3["in_snapshot"] = 0


@kernel
def _end_message(level3, flags, depth, ts):
    level3["message_open"] = 0
    level3["in_snapshot"] = 0
    level3["n_messages"] += 1
    level3["message_ts"] = ts
    if flags & FAILED:
        level3["n_failed"] += 1
        level3_lost(level3)
    elif depth > 0:
        _truncate(level3, depth)


@kernel
def level3_event(level3, event, kind, depth, ts):
    """One record of a level-3 feed, or the end of one of its messages.

    level3 : LEVEL3 record; event : EVENT record; kind : int64, its kind
    depth : int64, levels a side of the feed, 0 unbounded; ts : int64, ns
    """
    flags = np.int64(event["flags"])
    if kind == MESSAGE_END:
        if level3["started"] != 0:
            _end_message(level3, flags, depth, ts)
        return
    if flags & SNAPSHOT:
        if level3["in_snapshot"] == 0:
            level3_clear(level3)
            level3["in_snapshot"] = 1
            level3["started"] = 1
            level3["snapshot_ts"][level3["n_snapshots"] & (RESUBSCRIBED - 1)] = ts
            level3["n_snapshots"] += 1
    elif level3["started"] == 0:
        level3["started"] = 1  # a feed without snapshots: what it never named counts against it
    level3["message_open"] = 1
    i_side = 0 if event["side"] > 0 else 1
    price = event["price"]
    qty = event["qty"]
    time = event["aux"] if event["aux"] > 0 else ts
    at = find_order(level3, event["id"])
    if kind != L3_ADD:
        level3["n_changes"] += 1
        if at == 0:
            level3["n_unknown"] += 1
    in_snapshot = level3["in_snapshot"] != 0
    book = level3["book"]
    if at > 0:
        row = level3["orders"][at]
        left = 0 if kind == L3_DELETE else qty
        kept = kind != L3_ADD and row["price"] == price and row["i_side"] == i_side
        kept = kept and (kind == L3_DELETE or row["time"] == time)
        if not kept:
            left = 0
        if left < row["qty"] and not in_snapshot:
            if row["price"] == book_best(book, row["i_side"]):
                _note_removal(level3, at, row["qty"] - left, ts)
        _reduce(level3, at, left)
        if kept:
            if flags & LAST:
                _end_message(level3, flags, depth, ts)
            return
    if kind != L3_DELETE and qty > 0:
        if not in_snapshot:
            best = book_best(book, i_side)
            if best == 0 or (price >= best if i_side == 0 else price <= best):
                level3["open_rates"][i_side, R_ARRIVED] += float(qty)
        _insert(level3, event["id"], i_side, price, qty, time)
    if flags & LAST:
        _end_message(level3, flags, depth, ts)


# --- columns --------------------------------------------------------------------------------------


@kernel
def median_age_s(level3, i_side, now):
    """Orders at the touch and the median of their ages, s; 0 and NAN where the side is empty.

    Of more than QUEUE_MAX orders the newest of the chain are looked at.
    """
    price = book_best(level3["book"], i_side)
    if price == 0:
        return 0, NAN
    ages = level3["ages"]
    n = 0
    count = 0
    at = level3["heads"][1, _price_bucket(i_side, price)]
    while at > 0:
        row = level3["orders"][at]
        if row["price"] == price and row["i_side"] == i_side:
            count += 1
            if n < QUEUE_MAX:
                age = now - row["time"]
                k = n
                while k > 0 and ages[k - 1] > age:
                    ages[k] = ages[k - 1]
                    k -= 1
                ages[k] = age
                n += 1
        at = row["price_next"]
    if n == 0:
        return 0, NAN
    return count, float(ages[(n - 1) // 2] + ages[n // 2]) * 0.5 / SECOND_NS


@kernel
def level3_quality(level3, now):
    """How far level 3 can be relied on, 0..1; NAN before its first message."""
    if level3["n_messages"] == 0:
        return NAN
    verified = 1.0 - float(level3["n_failed"]) / float(level3["n_messages"])
    agreed = 1.0
    if level3["n_compared"] > 0:
        agreed = float(level3["n_agreed"]) / float(level3["n_compared"])
    age_s = float(now - level3["message_ts"]) / SECOND_NS
    again = 0
    for k in range(RESUBSCRIBED):
        if level3["snapshot_ts"][k] > 0 and now - level3["snapshot_ts"][k] < HOUR_NS:
            again += 1
    if level3["n_snapshots"] > 0 and again == level3["n_snapshots"]:
        again -= 1  # the first one of the stream is no resubscription
    named = 1.0
    total = level3["n_changes"] + level3["n_dropped"]
    if total > 0:
        named = 1.0 - float(level3["n_unknown"] + level3["n_dropped"]) / float(total)
    fresh = exp(-_LN2 * age_s / AGE_HALF_LIFE_S)
    return verified * agreed * fresh * named / (1.0 + float(again))


@kernel
def level3_features(features, observations, level3, now, quality_min):
    """Fill the columns of level 3; below `quality_min` all but the quality stay NAN."""
    quality = level3_quality(level3, now)
    features[F_QUALITY] = quality
    observations[F_QUALITY] = level3["n_messages"]
    if not quality >= quality_min:
        return
    weight = level3["weight"]
    for i_side in range(2):
        count, age_s = median_age_s(level3, i_side, now)
        features[F_ORDERS + i_side] = float(count)
        observations[F_ORDERS + i_side] = count
        features[F_AGE + i_side] = age_s
        observations[F_AGE + i_side] = count
        rates = level3["rates"][i_side]
        features[F_ARRIVAL + i_side] = ratio(rates[R_ARRIVED], weight)
        features[F_CANCEL + i_side] = ratio(rates[R_CANCELLED], weight)
        features[F_TRADE + i_side] = ratio(rates[R_TRADED], weight)
        observations[F_ARRIVAL + i_side] = level3["n_seconds"]
        observations[F_CANCEL + i_side] = level3["n_seconds"]
        observations[F_TRADE + i_side] = level3["n_seconds"]
        features[F_AHEAD + i_side] = ratio(rates[R_SHARE], rates[R_SHARE_LOTS])
        observations[F_AHEAD + i_side] = level3["n_cancels"][i_side]
        features[F_LIFE + i_side] = ratio(rates[R_LIFE], rates[R_ORDERS])
        observations[F_LIFE + i_side] = level3["n_lives"][i_side]
