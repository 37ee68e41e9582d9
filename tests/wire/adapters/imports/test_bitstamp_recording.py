"""The recorded Bitstamp hours: level 3 to levels, against the venue's own book messages."""

import json
import lzma
from bisect import bisect_right
from decimal import Decimal

import numpy as np
import pytest

from adapters.imports import bitstamp
from adapters.imports.formats import detect
from engine.book import BOOK, book_crossed, book_set, book_top
from engine.events import (
    BOOK_LEVEL,
    BUY,
    DERIVED,
    L3_ADD,
    L3_DELETE,
    L3_MODIFY,
    LAST,
    MESSAGE_END,
    SELL,
    SNAPSHOT,
    TRADE,
)

LOG = "bitstamp-l3-btcusd-20150501a/events.log.xz"
WARM_NS = 3600 * 1_000_000_000


@pytest.fixture(scope="module")
def log(shared_data):
    found = bitstamp.read(shared_data / LOG, symbol="BTC/USD")
    return found, found.read_all()


@pytest.fixture(scope="module")
def venue_books(shared_data):
    """(ts in ns, bids, asks) of the venue's own messages, five levels a side, ticks and lots."""
    books = []
    with lzma.open(shared_data / LOG, "rt") as lines:
        for line in lines:
            ts, kind, text = line.split(" ", 2)
            if kind == "order_book":
                message = json.loads(text)
                sides = [
                    [(int(Decimal(p) * 100), int(Decimal(q) * 10**8)) for p, q in message[key][:5]]
                    for key in ("bids", "asks")
                ]
                books.append((int(ts) * 1_000_000, *sides))
    return books


def test_line_counts_and_span(log):
    found, events = log
    summary = found.summary

    assert summary.rows_in == 39_805
    assert summary.facts["lines"] == {
        "order_created": 17_652,
        "order_changed": 474,
        "order_deleted": 17_662,
        "trade": 448,
        "order_book": 3_569,
    }
    assert summary.rejects["change or delete of an unknown order"] == 193
    # Four orders are deleted some milliseconds before the log creates them.
    assert summary.rejects["created after its delete"] == 4
    assert summary.n_rejected == 197
    assert int(events["ts"][0]) == 1430438404_518000000  # 2015-05-01 00:00:04.518
    assert 1430450402_000000000 <= int(events["ts"][-1]) <= 1430450402_765000000
    assert summary.n_backwards == summary.n_gaps == 0


def test_trades_sum_to_the_published_volume_and_nearly_all_have_a_side(log):
    found, events = log
    trades = events[events["kind"] == TRADE]

    assert len(trades) == 448
    assert round(int(trades["qty"].sum()) / 1e8, 4) == 758.5046
    assert int((trades["side"] != 0).sum()) == found.summary.facts["trades_with_side"] == 441


def test_the_inferred_side_agrees_with_the_quote_rule(log, venue_books):
    """Against an independent feed: buys print above the middle of the venue's last book message."""
    _, events = log
    trades = events[(events["kind"] == TRADE) & (events["side"] != 0)]
    times = [ts for ts, _, _ in venue_books]
    agree = n = 0
    for trade in trades:
        at = bisect_right(times, int(trade["ts"]) - 1_000_000_000) - 1
        if at >= 0:
            _, bids, asks = venue_books[at]
            middle = bids[0][0] + asks[0][0]
            if 2 * int(trade["price"]) != middle:
                n += 1
                agree += (2 * int(trade["price"]) > middle) == (trade["side"] > 0)
    assert n > 400
    assert agree / n > 0.95


def aggregate(events):
    """Level-3 events to levels in the slow way; yields {side: {price: qty}} after every message."""
    orders: dict[int, tuple[int, int, int]] = {}
    sides: dict[int, dict[int, int]] = {BUY: {}, SELL: {}}
    for event in events:
        kind, order_id = int(event["kind"]), int(event["id"])
        if kind in (L3_MODIFY, L3_DELETE):
            side, price, qty = orders.pop(order_id)
            if qty:
                sides[side][price] -= qty
            if not sides[side].get(price, 1):
                del sides[side][price]
        if kind in (L3_ADD, L3_MODIFY):
            assert order_id not in orders
            side, price, qty = int(event["side"]), int(event["price"]), int(event["qty"])
            orders[order_id] = (side, price, qty)
            if qty:
                sides[side][price] = sides[side].get(price, 0) + qty
        if event["flags"] & LAST:
            yield sides


def test_levels_rebuilt_from_level_3_equal_the_venue_in_2512_of_2514(log, venue_books):
    """The README's numbers. Five levels: 2,428 hold for the asks alone, 2,426 for both sides.

    The reader counts in the order of the lines; here, from the events, only the milliseconds are
    known, so a book message and an order event of the same millisecond may stand either way.
    """
    found, events = log
    facts = {key: value for key, value in found.summary.facts.items() if "venue" in key}
    assert facts == {
        "venue_books_compared": 2514,
        "venue_books_best_equal": 2512,
        "venue_books_five_asks_equal": 2428,
        "venue_books_five_bids_equal": 2512,
        "venue_books_five_equal": 2426,
    }
    is_l3 = np.isin(events["kind"], (L3_ADD, L3_MODIFY, L3_DELETE, MESSAGE_END))
    rows = events[is_l3 & (events["flags"] & DERIVED == 0)]
    times = rows["ts"][rows["flags"] & LAST > 0].tolist()
    states = aggregate(rows)
    applied = n = best = five = 0
    for ts, bids, asks in venue_books:
        while applied < len(times) and times[applied] <= ts:
            sides = next(states)
            applied += 1
        if ts - int(events["ts"][0]) < WARM_NS:
            continue
        our_bids = sorted(sides[BUY].items(), reverse=True)[:5]
        our_asks = sorted(sides[SELL].items())[:5]
        n += 1
        best += our_bids[0][0] == bids[0][0] and our_asks[0][0] == asks[0][0]
        five += our_bids == bids and our_asks == asks
    assert n == 2514
    assert abs(best - 2512) <= 1
    assert abs(five - 2426) <= 1


def test_the_derived_book_begins_warm_and_is_never_crossed(log, venue_books):
    _, events = log
    levels = events[events["kind"] == BOOK_LEVEL]
    assert (levels["flags"] & DERIVED > 0).all()
    assert int(levels["ts"][0]) - int(events["ts"][0]) >= WARM_NS
    snapshot = levels[levels["flags"] & SNAPSHOT > 0]
    assert len(snapshot) > 100
    assert (levels[: len(snapshot)]["flags"] & SNAPSHOT > 0).all()
    book = np.zeros(1, BOOK)[0]
    prices, qtys = np.zeros(1, np.int64), np.zeros(1, np.int64)
    touches = []
    for event in levels:
        book_set(book, 0 if event["side"] > 0 else 1, event["price"], event["qty"])
        if event["flags"] & LAST:
            assert not book_crossed(book)
            best = []
            for i_side in (0, 1):
                book_top(book, i_side, 1, prices, qtys)
                best.append((int(prices[0]), int(qtys[0])))
            touches.append((int(event["ts"]), *best))
    times = [ts for ts, _, _ in touches]
    same = n = 0
    for ts, bids, asks in venue_books:
        if ts > times[0]:
            _, bid, ask = touches[bisect_right(times, ts) - 1]
            n += 1
            same += (bid[0], ask[0]) == (bids[0][0], asks[0][0])
    assert n > 2500
    assert same >= n - 4


def test_price_changes_of_pegged_orders_are_a_delete_and_an_add(log):
    """29 changes of known orders move the price; the order loses its place in the queue."""
    _, events = log
    l3 = events[np.isin(events["kind"], (L3_ADD, L3_MODIFY, L3_DELETE))]
    ids, counts = np.unique(l3["id"][l3["kind"] == L3_ADD], return_counts=True)

    assert int((counts - 1).sum()) == 29
    assert len(ids) == 17_652 - 4


def test_every_level_3_message_is_closed(log):
    _, events = log
    l3 = np.isin(events["kind"], (L3_ADD, L3_MODIFY, L3_DELETE))

    assert (events["flags"][l3] & LAST == 0).all()
    after = events["kind"][np.flatnonzero(l3) + 1]
    assert np.isin(after, (L3_ADD, MESSAGE_END)).all()


def test_the_format_is_found(shared_data):
    assert detect(shared_data / LOG) == "bitstamp-l3"
