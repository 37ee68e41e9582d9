"""Which real orders stand in the book, and which of them are in front of ours?

A level-3 feed names every order, its remaining quantity and its queue time. The orders are kept in
a pool with two hash chains, by id and by price, so that one order or one level is found without a
search; row 0 stands for "none". A real order is in front of ours if its queue time is not after the feed's clock at our
arrival; on a tie it is in front (cautious). The aggregated levels of the symbol's book are kept
in step. Left out: what a change means for our orders, which is market.py's question.
"""

from __future__ import annotations

from engine.book import book_clear, book_count, book_qty, book_set, book_worst
from engine.jit import kernel
from engine.venue.state import FAR, L3_BUCKETS, L3_MAX


@kernel
def _id_bucket(sym, order_id):
    mixed = order_id ^ (order_id >> 15) ^ (order_id >> 31) ^ (order_id >> 47) ^ (sym * 977)
    return mixed & (L3_BUCKETS - 1)


@kernel
def _price_bucket(sym, i_side, price):
    return (price * 2 + i_side + sym * 977) & (L3_BUCKETS - 1)


@kernel
def l3_find(glob, sym, order_id):
    """Row of the pool that holds this order, 0 if none."""
    at = glob["l3_heads"][0, _id_bucket(sym, order_id)]
    while at > 0:
        row = glob["l3"][at]
        if row["id"] == order_id and row["sym"] == sym:
            return at
        at = row["id_next"]
    return 0


@kernel
def l3_in_front(glob, symbol, i_side, price, arrival):
    """Lots of real orders at a price whose queue time is not after `arrival`."""
    sym = symbol["sym"]
    lots = 0
    at = glob["l3_heads"][1, _price_bucket(sym, i_side, price)]
    while at > 0:
        row = glob["l3"][at]
        if row["price"] == price and row["i_side"] == i_side and row["sym"] == sym:
            if row["key"] <= arrival:
                lots += row["qty"]
        at = row["price_next"]
    return lots


@kernel
def l3_insert(glob, symbol, order_id, i_side, price, qty, key):
    """Add an order that is not known yet; False if the pool is full (nothing changed)."""
    sym = symbol["sym"]
    at = glob["l3_free"]
    if at > 0:
        glob["l3_free"] = glob["l3"][at]["id_next"]
    elif glob["l3_high"] < L3_MAX:
        at = glob["l3_high"] + 1
        glob["l3_high"] = at
    else:
        return False
    glob["n_l3"] += 1
    row = glob["l3"][at]
    row["id"] = order_id
    row["sym"] = sym
    row["i_side"] = i_side
    row["price"] = price
    row["qty"] = qty
    row["key"] = key
    by_id = _id_bucket(sym, order_id)
    row["id_next"] = glob["l3_heads"][0, by_id]
    glob["l3_heads"][0, by_id] = at
    by_price = _price_bucket(sym, i_side, price)
    head = glob["l3_heads"][1, by_price]
    row["price_next"] = head
    row["price_previous"] = 0
    if head > 0:
        glob["l3"][head]["price_previous"] = at
    glob["l3_heads"][1, by_price] = at
    book = symbol["book"]
    level = book_qty(book, i_side, price)
    # A level that is not shown may hold orders all the same: the book keeps a bounded number.
    if level > 0:
        level += qty
    else:
        level = l3_in_front(glob, symbol, i_side, price, FAR)
    book_set(book, i_side, price, level)
    return True


@kernel
def _unlink(glob, at):
    """Take a row out of both chains and give it back to the pool; the book is not touched."""
    row = glob["l3"][at]
    sym = row["sym"]
    by_id = _id_bucket(sym, row["id"])
    before = glob["l3_heads"][0, by_id]
    if before == at:
        glob["l3_heads"][0, by_id] = row["id_next"]
    else:
        while glob["l3"][before]["id_next"] != at:
            before = glob["l3"][before]["id_next"]
        glob["l3"][before]["id_next"] = row["id_next"]
    previous = row["price_previous"]
    following = row["price_next"]
    if previous > 0:
        glob["l3"][previous]["price_next"] = following
    else:
        by_price = _price_bucket(sym, row["i_side"], row["price"])
        glob["l3_heads"][1, by_price] = following
    if following > 0:
        glob["l3"][following]["price_previous"] = previous
    row["qty"] = 0  # 0 marks a free row
    row["id_next"] = glob["l3_free"]
    glob["l3_free"] = at
    glob["n_l3"] -= 1


@kernel
def l3_reduce(glob, symbol, at, qty):
    """Set the remaining quantity of a known order, 0 removes it; the level follows."""
    row = glob["l3"][at]
    book = symbol["book"]
    i_side = row["i_side"]
    price = row["price"]
    # our own taking may have eaten from the level already
    level = book_qty(book, i_side, price) + qty - row["qty"]
    book_set(book, i_side, price, max(level, 0))
    row["qty"] = qty
    if qty == 0:
        _unlink(glob, at)


@kernel
def l3_clear(glob, symbol):
    """Forget every real order of a symbol and clear its book."""
    sym = symbol["sym"]
    book_clear(symbol["book"])
    for at in range(1, glob["l3_high"] + 1):
        if glob["l3"][at]["qty"] > 0 and glob["l3"][at]["sym"] == sym:
            _unlink(glob, at)


@kernel
def l3_truncate(glob, symbol):
    """Cut both sides to the feed's depth, forgetting the orders of the levels that fall off.

    returns bool: was anything cut
    """
    depth = symbol["depth"]
    cut = False
    if depth <= 0:
        return cut
    book = symbol["book"]
    sym = symbol["sym"]
    for i_side in range(2):
        while book_count(book, i_side) > depth:
            price = book_worst(book, i_side)
            at = glob["l3_heads"][1, _price_bucket(sym, i_side, price)]
            while at > 0:
                row = glob["l3"][at]
                following = row["price_next"]
                if row["price"] == price and row["i_side"] == i_side and row["sym"] == sym:
                    _unlink(glob, at)
                at = following
            book_set(book, i_side, price, 0)
            cut = True
    return cut
