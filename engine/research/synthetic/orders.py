"""How does the generated exchange keep and match orders? A price-time book of single orders.

Every change of an order is written to the action's log (`op_*`, `fill_*`), and the windows of the
channels follow each level that appears or goes, so that messages.py can tell what a subscriber
must hear. Left out: who sends orders and why (flow.py).
"""

from __future__ import annotations

import numpy as np

from engine.book import (
    book_best,
    book_count,
    book_next,
    book_previous,
    book_qty,
    book_set,
    book_worst,
)
from engine.events import L3_ADD, L3_DELETE, L3_MODIFY
from engine.jit import kernel
from engine.research.synthetic.state import (
    MAX_OPS,
    MAX_ORDERS,
    N_WINDOWS,
    NO_EDGE,
    SPAN_MASK,
)

# What a trader may want done.
DO_NOTHING = 0
DO_REST = 1  # do_side, do_price, do_qty, do_id (0: a new one)
DO_TAKE = 2  # do_side, do_qty, do_price = limit or 0, do_rest: what is left rests at the limit
DO_REMOVE = 3  # do_row, do_ts = stamp of the delete
DO_REDUCE = 4  # do_row, do_qty = what stays

LEVELS_KEPT = 12  # a taking order leaves at least so many levels of a side


@kernel
def price_key(i_side, price):
    """Smaller is better: the price of an ask, minus the price of a bid."""
    return price if i_side == 1 else -price


@kernel
def action_begin(market):
    """Empty the action's log and remember what each channel showed before it."""
    market["n_ops"] = 0
    market["n_fills"] = 0
    for w in range(N_WINDOWS):
        for i_side in range(2):
            market["edge_before"][w, i_side] = market["edge"][w, i_side]


@kernel
def _log(market, kind, i_side, price, qty, order_id, ts):
    at = market["n_ops"]
    market["op_kind"][at] = kind
    market["op_side"][at] = i_side
    market["op_price"][at] = price
    market["op_qty"][at] = qty
    market["op_id"][at] = order_id
    market["op_ts"][at] = ts
    market["n_ops"] = at + 1


@kernel
def _level_appeared(market, i_side, price):
    """Move the windows' edges after a new level; the worst level shown may fall out."""
    book = market["book"]
    count = book_count(book, i_side)
    key = price_key(i_side, price)
    for w in range(N_WINDOWS):
        depth = market["depth"][w]
        if count == depth + 1:
            edge = book_previous(book, i_side, book_worst(book, i_side))
            market["edge"][w, i_side] = price_key(i_side, edge)
        elif count > depth and key < market["edge"][w, i_side]:
            edge = market["edge"][w, i_side]
            edge = book_previous(book, i_side, edge if i_side == 1 else -edge)
            market["edge"][w, i_side] = price_key(i_side, edge)


@kernel
def _level_gone(market, i_side, price):
    """Move the windows' edges after a level went; the next worse one may come in."""
    book = market["book"]
    count = book_count(book, i_side)
    key = price_key(i_side, price)
    for w in range(N_WINDOWS):
        edge = market["edge"][w, i_side]
        if count <= market["depth"][w]:
            market["edge"][w, i_side] = NO_EDGE
        elif key <= edge:
            edge = book_next(book, i_side, edge if i_side == 1 else -edge)
            market["edge"][w, i_side] = price_key(i_side, edge)


@kernel
def add_order(market, i_side, price, qty, order_id, ts):
    """Rest an order that does not cross, at the end of its level's queue; returns its row."""
    market["n_free"] -= 1
    row = market["free"][market["n_free"]]
    slot = price & SPAN_MASK
    tail = np.int64(market["tail"][i_side, slot])
    market["o_price"][row] = price
    market["o_qty"][row] = qty
    market["o_id"][row] = order_id
    market["o_ts"][row] = ts
    market["o_side"][row] = i_side
    market["o_next"][row] = 0
    market["o_previous"][row] = tail
    if tail == 0:
        market["head"][i_side, slot] = row + 1
    else:
        market["o_next"][tail - 1] = row + 1
    market["tail"][i_side, slot] = row + 1
    market["n_level"][i_side, slot] += 1
    market["o_place"][row] = market["n_active"]
    market["active"][market["n_active"]] = row
    market["n_active"] += 1
    market["n_side"][i_side] += 1
    book = market["book"]
    before = book_set(book, i_side, price, book_qty(book, i_side, price) + qty)
    if before == 0:
        _level_appeared(market, i_side, price)
    _log(market, L3_ADD, i_side, price, qty, order_id, ts)
    return row


@kernel
def remove_order(market, row, ts):
    """Take a resting order away; `ts` is the stamp that its delete carries."""
    i_side = market["o_side"][row]
    price = market["o_price"][row]
    qty = market["o_qty"][row]
    slot = price & SPAN_MASK
    before = market["o_previous"][row]
    after = market["o_next"][row]
    if before == 0:
        market["head"][i_side, slot] = after
    else:
        market["o_next"][before - 1] = after
    if after == 0:
        market["tail"][i_side, slot] = before
    else:
        market["o_previous"][after - 1] = before
    market["n_level"][i_side, slot] -= 1
    place = market["o_place"][row]
    market["n_active"] -= 1
    moved = market["active"][market["n_active"]]
    market["active"][place] = moved
    market["o_place"][moved] = place
    market["n_side"][i_side] -= 1
    market["free"][market["n_free"]] = row
    market["n_free"] += 1
    book = market["book"]
    left = book_qty(book, i_side, price) - qty
    book_set(book, i_side, price, left)
    if left == 0:
        _level_gone(market, i_side, price)
    _log(market, L3_DELETE, i_side, price, qty, market["o_id"][row], ts)


@kernel
def reduce_order(market, row, qty):
    """Lower the quantity of a resting order to `qty` > 0; it keeps its place and its stamp."""
    i_side = market["o_side"][row]
    price = market["o_price"][row]
    book = market["book"]
    book_set(book, i_side, price, book_qty(book, i_side, price) - market["o_qty"][row] + qty)
    market["o_qty"][row] = qty
    _log(market, L3_MODIFY, i_side, price, qty, market["o_id"][row], market["o_ts"][row])


@kernel
def take(market, side, qty, limit, ts):
    """Match an order that takes: best price first, oldest order first.

    side : +1 buys; qty : lots; limit : worst price in ticks, 0 for none
    returns int64, lots that found no counterpart
    """
    i_side = 1 if side > 0 else 0
    book = market["book"]
    price = book_best(book, i_side)
    while qty > 0 and price != 0:
        if limit != 0 and (price - limit) * side > 0:
            return qty
        if market["n_ops"] >= MAX_OPS - 2:
            return 0
        row = np.int64(market["head"][i_side, price & SPAN_MASK]) - 1
        # The last order of a level of a nearly empty side is left standing.
        last_of_level = market["n_level"][i_side, price & SPAN_MASK] == 1
        if last_of_level and book_count(book, i_side) <= LEVELS_KEPT:
            qty = min(qty, market["o_qty"][row] - 1)
            if qty <= 0:
                return 0
        filled = min(qty, market["o_qty"][row])
        at = market["n_fills"]
        market["fill_price"][at] = price
        market["fill_qty"][at] = filled
        market["n_fills"] = at + 1
        qty -= filled
        if filled == market["o_qty"][row]:
            remove_order(market, row, ts)
            price = book_best(book, i_side)
        else:
            reduce_order(market, row, market["o_qty"][row] - filled)
    return qty


@kernel
def execute(glob, market, t):
    """Do what the trader wants: begins an action and fills its log.

    One place from which every change of the book starts, and one call of each: compiled code of a
    callee is repeated in all its callers.
    """
    action_begin(market)
    what = market["do"]
    market["do"] = DO_NOTHING
    side = market["do_side"]
    i_side = 0 if side > 0 else 1
    rest = 0
    order_id = 0
    if what == DO_REST:
        rest = market["do_qty"]
        order_id = market["do_id"]
    elif what == DO_TAKE:
        limit = market["do_price"]
        market["taker_side"] = side
        market["taker_is_market"] = 1 if limit == 0 else 0
        rest = take(market, side, market["do_qty"], limit, t)
        room = market["n_active"] < MAX_ORDERS - 8
        if limit == 0 or market["do_rest"] == 0 or rest < market["qty_min"] or not room:
            rest = 0
    elif what == DO_REMOVE:
        remove_order(market, market["do_row"], market["do_ts"])
    elif what == DO_REDUCE:
        reduce_order(market, market["do_row"], market["do_qty"])
    if rest > 0:
        if order_id == 0:
            order_id = glob["order_id"]
            glob["order_id"] = order_id + 1
        add_order(market, i_side, market["do_price"], rest, order_id, t)
