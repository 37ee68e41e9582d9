import numpy as np
import pytest

from engine.events import (
    BOOK_LEVEL,
    BUY,
    CONNECTION_DOWN,
    EVENT,
    GAP,
    L3_ADD,
    LAST,
    MESSAGE_END,
    NO_SYMBOL,
    SELL,
    SNAPSHOT,
)
from engine.reports.bookview import view_book


def events(*rows):
    """(ts, side, price, qty, flags), or (ts, kind) for an interruption of everything."""
    made = np.zeros(len(rows), EVENT)
    for event, row in zip(made, rows, strict=True):
        if len(row) == 2:
            event["ts"], event["kind"] = row
            event["sym"] = NO_SYMBOL
        else:
            event["kind"] = BOOK_LEVEL
            for name, value in zip(("ts", "side", "price", "qty", "flags"), row, strict=True):
                event[name] = value
    return made


MARKET = events(
    (10, BUY, 100, 5, SNAPSHOT),
    (10, BUY, 99, 7, SNAPSHOT),
    (10, SELL, 101, 3, SNAPSHOT | LAST),
    (20, BUY, 100, 0, 0),  # one message of two records
    (20, SELL, 102, 4, LAST),
    (30, SELL, 101, 1, LAST),
    (40, GAP),
    (50, SELL, 105, 1, LAST),
)


def test_a_sample_is_the_book_after_the_last_message_complete_by_then():
    view = view_book([MARKET], 0, 5, 40, 5, levels=2)

    assert [5, 10, 15, 20, 25, 30, 35] == view.ts.tolist()
    assert [0, 100, 100, 99, 99, 99, 99] == view.bid_price[:, 0].tolist()
    assert [0, 99, 99, 0, 0, 0, 0] == view.bid_price[:, 1].tolist()
    assert [0, 3, 3, 3, 3, 1, 1] == view.ask_qty[:, 0].tolist()
    assert [0, 0, 0, 102, 102, 102, 102] == view.ask_price[:, 1].tolist()


def test_a_level_that_left_a_feed_of_few_levels_is_forgotten():
    """A feed of two levels says nothing when a third takes their place, nor when that one goes."""
    market = events(
        (10, BUY, 100, 5, SNAPSHOT),
        (10, BUY, 99, 7, SNAPSHOT),
        (10, SELL, 105, 3, SNAPSHOT | LAST),
        (20, BUY, 101, 1, LAST),  # 99 leaves the feed
        (30, BUY, 101, 0, 0),
        (30, BUY, 98, 4, LAST),  # the second level is another one now
    )
    view = view_book([market], 0, 30, 31, 1, levels=3, depth=2)

    assert [100, 98, 0] == view.bid_price[0].tolist()


@pytest.mark.parametrize("cause", [GAP, CONNECTION_DOWN])
def test_an_interruption_empties_the_book(cause):
    market = MARKET.copy()
    market[6]["kind"] = cause
    view = view_book([market], 0, 39, 61, 10)

    assert [101, 0, 105] == view.ask_price[:, 0].tolist()
    assert [99, 0, 0] == view.bid_price[:, 0].tolist()


def test_an_interruption_drops_the_message_it_cuts():
    cut = events((10, BUY, 100, 5, SNAPSHOT), (11, GAP), (12, SELL, 101, 1, LAST))
    view = view_book([cut], 0, 12, 13, 1)

    assert 0 == view.bid_price[0, 0]
    assert 101 == view.ask_price[0, 0]


@pytest.mark.parametrize("at", range(len(MARKET) + 1))
def test_how_the_stream_is_cut_changes_nothing(at):
    whole = view_book([MARKET], 0, 5, 61, 1)
    parts = view_book([MARKET[:at], MARKET[at:]], 0, 5, 61, 1)

    for name in ("bid_price", "bid_qty", "ask_price", "ask_qty"):
        assert getattr(whole, name).tolist() == getattr(parts, name).tolist()


def test_other_symbols_and_the_end_of_a_level3_message_change_nothing():
    other = events((12, BUY, 500, 1, LAST))
    other["sym"] = 1
    closing = np.zeros(1, EVENT)
    closing["ts"], closing["kind"], closing["id"], closing["flags"] = 10, MESSAGE_END, L3_ADD, LAST
    mixed = np.concatenate((MARKET[:2], closing, MARKET[2:3], other, MARKET[3:]))
    plain, with_others = (view_book([each], 0, 5, 35, 1) for each in (MARKET, mixed))

    assert plain.bid_price.tolist() == with_others.bid_price.tolist()


def test_the_end_of_a_book_message_closes_it():
    level = events((10, BUY, 100, 5, SNAPSHOT))
    closing = np.zeros(1, EVENT)
    closing["ts"], closing["kind"], closing["id"] = 10, MESSAGE_END, BOOK_LEVEL
    closing["flags"] = LAST

    assert 0 == view_book([level], 0, 10, 11, 1).bid_price[0, 0]  # never closed
    assert 100 == view_book([np.concatenate((level, closing))], 0, 10, 11, 1).bid_price[0, 0]
