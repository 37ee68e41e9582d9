"""What does a subscriber hear of an action? Events as Kraken's channels would have sent them.

Per action, in this order: its prints (one per resting order that was hit), the level-3 message,
the `book` message, the ticker. A channel shows a window, the best so many levels a side: a level
that comes into the window is sent in the same message, one that is pushed out is not mentioned.
Left out: sockets and text; the events are what a decoder would have made of them.
"""

from __future__ import annotations

import numpy as np

from engine.book import book_best, book_next, book_qty
from engine.checksum import (
    CHECKSUM_DEPTH,
    crc32_book,
    crc32_final,
    crc32_init,
    crc32_integer,
)
from engine.events import (
    BOOK_LEVEL,
    CHECKSUM,
    INSTRUMENT,
    L3_ADD,
    LAST,
    MARKET_ORDER,
    MESSAGE_END,
    NO_SYMBOL,
    SNAPSHOT,
    SYSTEM_STATUS,
    TICKER,
    TICKER_ASK,
    TICKER_BID,
    TICKER_HIGH,
    TICKER_LAST,
    TICKER_LOW,
    TICKER_VOLUME,
    TICKER_VWAP,
    TRADE,
    VERIFIED,
)
from engine.instruments import STATUS_ONLINE
from engine.jit import kernel
from engine.numerics import exp, floor_int, log, normal_quantile, uniform_keyed
from engine.research.synthetic.orders import price_key
from engine.research.synthetic.state import (
    MINUTES,
    SPAN_MASK,
    WINDOW_BOOK,
    WINDOW_CHECKSUM,
    WINDOW_LEVEL3,
)

NS_PER_MINUTE = 60_000_000_000
STALL_SHARE = 0.0004  # of actions whose way to the receiver stalls ...
STALL_NS = 80e6  # ... for so long on average


@kernel
def _open(glob, ts_venue, sym, flags):
    """Begin a message: what all its events have in common."""
    glob["m_ts_venue"] = ts_venue
    glob["m_sym"] = sym
    glob["m_flags"] = flags


@kernel
def _put(glob, out, kind, side, price, qty, key, aux):
    """Append one event of the message that is open."""
    at = glob["n_out"]
    row = out[at]
    row["ts"] = glob["ts"]
    row["ts_venue"] = glob["m_ts_venue"]
    row["seq"] = glob["seq"]
    row["price"] = price
    row["qty"] = qty
    row["id"] = key
    row["aux"] = aux
    row["sym"] = glob["m_sym"]
    row["kind"] = kind
    row["side"] = side
    row["flags"] = glob["m_flags"]
    glob["n_out"] = at + 1
    glob["seq"] += 1


@kernel
def _close(glob, out, flags, aux):
    """Mark the event just written as the last of its message, with these flags as well."""
    row = out[glob["n_out"] - 1]
    row["flags"] = np.int64(row["flags"]) | LAST | flags
    if flags & CHECKSUM:
        row["aux"] = aux


@kernel
def _latency_uniform(glob):
    glob["latency_counter"] += 1
    return uniform_keyed(glob["latency_key"], glob["latency_counter"])


@kernel
def stamp_action(glob, ts_venue):
    """Draw when the first message of an action arrives: log-normal, wandering, rarely stalled.

    One connection, first in first out: nothing overtakes, so a stall holds up what follows.
    """
    glob["latency_slow"] = 0.995 * glob["latency_slow"] + 0.03 * normal_quantile(
        _latency_uniform(glob)
    )
    noise = 0.25 * normal_quantile(_latency_uniform(glob))
    delay = glob["latency"] * exp(glob["latency_slow"] + noise)
    if _latency_uniform(glob) < STALL_SHARE:
        delay -= STALL_NS * log(_latency_uniform(glob))
    glob["ts"] = max(glob["ts"] + 1_000, ts_venue + floor_int(delay))


@kernel
def _stamp_next(glob):
    """The following message of the same action comes a few microseconds later."""
    glob["ts"] += 2_000 + floor_int(20_000.0 * _latency_uniform(glob))


@kernel
def level3_checksum(market):
    """Kraken's level-3 checksum: every order of the ten best levels a side, in queue order."""
    book = market["book"]
    crc = crc32_init()
    for i_side in (1, 0):
        price = book_best(book, i_side)
        n = 0
        while price != 0 and n < CHECKSUM_DEPTH:
            at = np.int64(market["head"][i_side, price & SPAN_MASK])
            while at != 0:
                crc = crc32_integer(crc, price * market["tick_num"])
                crc = crc32_integer(crc, market["o_qty"][at - 1] * market["lot_num"])
                at = market["o_next"][at - 1]
            price = book_next(book, i_side, price)
            n += 1
    return crc32_final(crc)


@kernel
def _checksum_touched(market):
    """Did the action change anything that the level-3 checksum covers?"""
    for at in range(market["n_ops"]):
        i_side = market["op_side"][at]
        key = price_key(i_side, market["op_price"][at])
        before = market["edge_before"][WINDOW_CHECKSUM, i_side]
        if key <= before or key <= market["edge"][WINDOW_CHECKSUM, i_side]:
            return True
    return False


@kernel
def _put_queue(glob, out, market, i_side, price):
    """All orders of one level as adds, in queue order, with their own old stamps."""
    side = 1 if i_side == 0 else -1
    at = np.int64(market["head"][i_side, price & SPAN_MASK])
    while at != 0:
        row = at - 1
        qty = market["o_qty"][row]
        _put(
            glob,
            out,
            L3_ADD,
            side,
            price,
            qty,
            market["o_id"][row],
            market["o_ts"][row],
        )
        at = market["o_next"][row]


@kernel
def _put_level3(glob, out, market, ts_venue):
    """The level-3 message of an action, if its window saw anything."""
    started = glob["n_out"]
    _open(glob, ts_venue, market["sym"], 0)
    for i_side in range(2):
        side = 1 if i_side == 0 else -1
        before = market["edge_before"][WINDOW_LEVEL3, i_side]
        edge = market["edge"][WINDOW_LEVEL3, i_side]
        for at in range(market["n_ops"]):
            if market["op_side"][at] != i_side:
                continue
            key = price_key(i_side, market["op_price"][at])
            if key > before or key > edge:
                continue
            price = market["op_price"][at]
            qty = market["op_qty"][at]
            order_id = market["op_id"][at]
            _put(
                glob,
                out,
                market["op_kind"][at],
                side,
                price,
                qty,
                order_id,
                market["op_ts"][at],
            )
        if before < edge:
            # Levels came in at the far edge: every order of theirs is news.
            price = book_next(market["book"], i_side, before if i_side == 1 else -before)
            while price != 0 and price_key(i_side, price) <= edge:
                _put_queue(glob, out, market, i_side, price)
                price = book_next(market["book"], i_side, price)
    if glob["n_out"] > started:
        _put(glob, out, MESSAGE_END, 0, 0, 0, L3_ADD, 0)
        _close(glob, out, CHECKSUM | VERIFIED, market["level3_crc"])
        return True
    return False


@kernel
def _put_level(glob, out, market, i_side, price):
    side = 1 if i_side == 0 else -1
    qty = book_qty(market["book"], i_side, price)
    _put(glob, out, BOOK_LEVEL, side, price, qty, 0, 0)


@kernel
def _put_book(glob, out, market, ts_venue):
    """The `book` message of an action, if its window saw anything."""
    started = glob["n_out"]
    _open(glob, ts_venue, market["sym"], 0)
    for i_side in range(2):
        before = market["edge_before"][WINDOW_BOOK, i_side]
        edge = market["edge"][WINDOW_BOOK, i_side]
        previous = 0
        for at in range(market["n_ops"]):
            price = market["op_price"][at]
            # An action's changes of one level follow each other: one entry tells the end of it.
            if market["op_side"][at] != i_side or price == previous:
                continue
            key = price_key(i_side, price)
            if key > before or key > edge:
                continue
            previous = price
            _put_level(glob, out, market, i_side, price)
        if before < edge:
            price = book_next(market["book"], i_side, before if i_side == 1 else -before)
            while price != 0 and price_key(i_side, price) <= edge:
                _put_level(glob, out, market, i_side, price)
                price = book_next(market["book"], i_side, price)
    if glob["n_out"] > started:
        crc = crc32_book(market["book"], market["tick_num"], market["lot_num"])
        _close(glob, out, CHECKSUM | VERIFIED, crc)
        return True
    return False


@kernel
def _roll_minute(market, minute):
    """Start a bucket of the 24 hour figures and sum the others anew, so that no error gathers."""
    last = market["minute"]
    gone = minute - last if last >= 0 else MINUTES
    for i in range(min(gone, MINUTES)):
        at = (minute - i) % MINUTES
        market["b_volume"][at] = 0
        market["b_value"][at] = 0.0
        market["b_low"][at] = 0
        market["b_high"][at] = 0
    market["minute"] = minute
    volume = 0
    value = 0.0
    low = 0
    high = 0
    for at in range(MINUTES):
        if market["b_volume"][at] == 0:
            continue
        volume += market["b_volume"][at]
        value += market["b_value"][at]
        if low == 0 or market["b_low"][at] < low:
            low = market["b_low"][at]
        if market["b_high"][at] > high:
            high = market["b_high"][at]
    market["old_volume"] = volume
    market["old_value"] = value
    market["old_low"] = low
    market["old_high"] = high


@kernel
def _count_trade(market, ts_venue, price, qty):
    minute = ts_venue // NS_PER_MINUTE
    if minute != market["minute"]:
        _roll_minute(market, minute)
    at = minute % MINUTES
    market["b_volume"][at] += qty
    market["b_value"][at] += float(price) * float(qty)
    if market["b_low"][at] == 0 or price < market["b_low"][at]:
        market["b_low"][at] = price
    if price > market["b_high"][at]:
        market["b_high"][at] = price
    market["last_price"] = price


@kernel
def _put_ticker_touch(glob, out, market):
    for i_side in range(2):
        price = book_best(market["book"], i_side)
        qty = book_qty(market["book"], i_side, price)
        field = TICKER_BID if i_side == 0 else TICKER_ASK
        _put(glob, out, TICKER, 0, price, qty, field, 0)


@kernel
def _put_ticker(glob, out, market, ts_venue):
    """The ticker after a trade: touch, last price and the figures of 24 hours."""
    at = market["minute"] % MINUTES
    volume = market["old_volume"] + market["b_volume"][at]
    value = market["old_value"] + market["b_value"][at]
    low = market["b_low"][at]
    if market["old_low"] != 0 and market["old_low"] < low:
        low = market["old_low"]
    high = max(market["b_high"][at], market["old_high"])
    vwap = floor_int(value / float(volume) + 0.5)
    _open(glob, ts_venue, market["sym"], 0)
    _put_ticker_touch(glob, out, market)
    _put(glob, out, TICKER, 0, market["last_price"], 0, TICKER_LAST, 0)
    _put(glob, out, TICKER, 0, 0, volume, TICKER_VOLUME, 0)
    _put(glob, out, TICKER, 0, vwap, 0, TICKER_VWAP, 0)
    _put(glob, out, TICKER, 0, low, 0, TICKER_LOW, 0)
    _put(glob, out, TICKER, 0, high, 0, TICKER_HIGH, 0)
    _close(glob, out, 0, 0)


@kernel
def action_end(glob, out, market, ts_venue):
    """Write the messages of the action that began with `action_begin`."""
    if glob["emit"] == 0 or market["n_ops"] == 0:
        return
    stamp_action(glob, ts_venue)
    if market["n_fills"] > 0:
        flags = MARKET_ORDER if market["taker_is_market"] != 0 else 0
        _open(glob, ts_venue, market["sym"], flags)
        for at in range(market["n_fills"]):
            price = market["fill_price"][at]
            qty = market["fill_qty"][at]
            trade_id = market["trade_id"]
            _put(glob, out, TRADE, market["taker_side"], price, qty, trade_id, 0)
            market["trade_id"] = trade_id + 1
            _count_trade(market, ts_venue, price, qty)
        _close(glob, out, 0, 0)
        _stamp_next(glob)
    if glob["level3"] != 0:
        if _checksum_touched(market):
            market["level3_crc"] = level3_checksum(market)
        if _put_level3(glob, out, market, ts_venue):
            _stamp_next(glob)
    if _put_book(glob, out, market, ts_venue):
        _stamp_next(glob)
    if market["n_fills"] > 0 and glob["tickers"] != 0:
        _put_ticker(glob, out, market, ts_venue)


@kernel
def _put_snapshots(glob, out, market, ts_venue):
    """Opening snapshots of one symbol: level 3, book, ticker."""
    _open(glob, ts_venue, market["sym"], SNAPSHOT)
    if glob["level3"] != 0:
        market["level3_crc"] = level3_checksum(market)
        for i_side in range(2):
            price = book_best(market["book"], i_side)
            edge = market["edge"][WINDOW_LEVEL3, i_side]
            while price != 0 and price_key(i_side, price) <= edge:
                _put_queue(glob, out, market, i_side, price)
                price = book_next(market["book"], i_side, price)
        _put(glob, out, MESSAGE_END, 0, 0, 0, L3_ADD, 0)
        _close(glob, out, CHECKSUM | VERIFIED, market["level3_crc"])
        _stamp_next(glob)
    for i_side in range(2):
        price = book_best(market["book"], i_side)
        edge = market["edge"][WINDOW_BOOK, i_side]
        while price != 0 and price_key(i_side, price) <= edge:
            _put_level(glob, out, market, i_side, price)
            price = book_next(market["book"], i_side, price)
    crc = crc32_book(market["book"], market["tick_num"], market["lot_num"])
    _close(glob, out, CHECKSUM | VERIFIED, crc)
    _stamp_next(glob)
    if glob["tickers"] != 0:
        _put_ticker_touch(glob, out, market)
        _close(glob, out, 0, 0)
        _stamp_next(glob)


@kernel
def put_opening(glob, out, markets):
    """What a fresh connection hears: status, instruments, then the snapshots of every symbol."""
    ts_venue = glob["start"]
    stamp_action(glob, ts_venue)
    _open(glob, ts_venue, NO_SYMBOL, LAST)
    _put(glob, out, SYSTEM_STATUS, 0, 0, 0, 0, STATUS_ONLINE)
    _stamp_next(glob)
    for i in range(len(markets)):
        _open(glob, ts_venue, i, SNAPSHOT)
        _put(glob, out, INSTRUMENT, 0, 0, 0, 0, STATUS_ONLINE)
    _close(glob, out, 0, 0)
    _stamp_next(glob)
    for i in range(len(markets)):
        _put_snapshots(glob, out, markets[i], ts_venue)
