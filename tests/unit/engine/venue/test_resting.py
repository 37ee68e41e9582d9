"""Resting orders: queue, prints, quotes that reach us. One behaviour a test."""

import pytest

from engine import events as e
from tests.support.exchange import Exchange

BIDS, ASKS = {100: 50, 99: 70}, {102: 40, 103: 60}


def new(**params) -> Exchange:
    exchange = Exchange(**params)
    exchange.book(BIDS, ASKS)
    return exchange


def fills(answers) -> list[tuple[int, int]]:
    """(price, lots) of the fills."""
    return [(a[3], a[4]) for a in answers if a[0] == e.ORDER_FILL]


def test_a_new_order_stands_behind_all_that_is_shown():
    exchange = new()
    exchange.add(1, side=1, price=100, qty=10)
    assert int(exchange.order(1)["ahead"]) == 50


def test_an_order_inside_the_spread_stands_first():
    exchange = new()
    exchange.add(1, side=1, price=101, qty=10)
    assert int(exchange.order(1)["ahead"]) == 0
    assert fills(exchange.trade(side=-1, price=101, qty=4)) == [(101, 4)]


def test_prints_use_up_the_queue_first_and_then_fill_partially():
    exchange = new()
    exchange.add(1, side=1, price=100, qty=10)
    assert fills(exchange.trade(side=-1, price=100, qty=45)) == []
    assert fills(exchange.trade(side=-1, price=100, qty=8)) == [(100, 3)]
    answers = exchange.trade(side=-1, price=100, qty=100)
    assert fills(answers) == [(100, 7)]
    assert answers[-1][0] == e.ORDER_FILLED
    assert answers[-1][4] == 10


def test_a_fill_is_followed_by_its_fee_and_the_last_by_filled():
    exchange = new()
    exchange.add(1, side=1, price=101, qty=4)
    answers = exchange.trade(side=-1, price=101, qty=4)
    assert [a[0] for a in answers] == [e.ORDER_FILL, e.ORDER_FEE, e.ORDER_FILLED]
    assert answers[0][7] == e.MAKER
    assert answers[1][7] == answers[2][7] == e.LAST
    assert answers[0][6] == answers[1][6] == 1  # one execution


def test_prints_on_the_other_side_do_not_concern_us():
    exchange = new()
    exchange.add(1, side=1, price=101, qty=4)
    assert exchange.trade(side=1, price=102, qty=100) == []


def test_a_shrinking_level_caps_what_can_be_ahead_but_a_growing_one_changes_nothing():
    exchange = new()
    exchange.add(1, side=1, price=100, qty=10)
    exchange.level(1, 100, 30)
    assert int(exchange.order(1)["ahead"]) == 30
    exchange.level(1, 100, 90)
    assert int(exchange.order(1)["ahead"]) == 30


def test_a_print_and_the_level_it_leaves_count_once():
    """50 shown, 20 print, then the feed says 30: still 30 ahead, not 10."""
    exchange = new()
    exchange.add(1, side=1, price=100, qty=10)
    exchange.trade(side=-1, price=100, qty=20)
    exchange.level(1, 100, 30)
    assert int(exchange.order(1)["ahead"]) == 30


def test_a_level_that_comes_before_its_print_counts_once_when_told_so():
    exchange = new(trade_first=False)
    exchange.add(1, side=1, price=100, qty=10)
    exchange.level(1, 100, 30)
    exchange.trade(side=-1, price=100, qty=20)
    assert int(exchange.order(1)["ahead"]) == 30


def test_proportional_cancels_come_from_both_sides_of_us():
    """100 shown behind 50 of ours... 50 ahead of 100: half of 20 canceled stood in front."""
    exchange = new(queue_model=1)
    exchange.add(1, side=1, price=100, qty=10)
    exchange.level(1, 100, 100)
    exchange.level(1, 100, 80)
    assert int(exchange.order(1)["ahead"]) == 40


def test_a_print_through_our_price_fills_us_at_our_price_up_to_its_quantity():
    exchange = new()
    exchange.add(1, side=1, price=101, qty=10)
    assert fills(exchange.trade(side=-1, price=99, qty=6)) == [(101, 6)]


@pytest.mark.parametrize(("rule", "expected"), [(0, []), (1, [(101, 6)]), (2, [(101, 10)])])
def test_what_a_print_beyond_our_price_fills_is_a_parameter(rule, expected):
    exchange = new(through_fill=rule)
    exchange.add(1, side=1, price=101, qty=10)
    assert fills(exchange.trade(side=-1, price=99, qty=6)) == expected


def test_no_lot_of_a_print_fills_two_orders():
    """12 lots: 5 to the better price, 7 to the next, nothing twice."""
    exchange = new()
    exchange.level(1, 100, 0)
    exchange.add(1, side=1, price=100, qty=9)
    exchange.add(2, side=1, price=101, qty=5)
    answers = exchange.trade(side=-1, price=100, qty=12)
    assert fills(answers) == [(101, 5), (100, 7)]


def test_of_two_orders_at_a_price_the_older_trades_first():
    exchange = new()
    exchange.level(1, 100, 0)
    exchange.add(1, side=1, price=100, qty=5)
    exchange.level(1, 100, 8)
    exchange.add(2, side=1, price=100, qty=5)
    assert int(exchange.order(2)["ahead"]) == 8
    answers = exchange.trade(side=-1, price=100, qty=15)  # 5 ours, 8 others', 2 ours
    assert [(a[5], a[4]) for a in answers if a[0] == e.ORDER_FILL] == [(1, 5), (2, 2)]


def test_a_quote_that_reaches_us_fills_us_as_makers_up_to_what_it_shows_once():
    exchange = new()
    exchange.add(1, side=1, price=101, qty=30)
    assert fills(exchange.level(-1, 101, 12)) == [(101, 12)]
    assert exchange.now[0][7] == e.MAKER
    assert fills(exchange.level(1, 90, 1)) == []  # the same quote does not serve again
    assert fills(exchange.level(-1, 101, 5)) == [(101, 5)]  # told anew, it is new


def test_a_quote_is_matched_when_its_message_is_complete():
    exchange = new()
    exchange.add(1, side=1, price=101, qty=5)
    assert exchange.level(-1, 101, 12, flags=0) == []
    assert fills(exchange.level(1, 90, 1)) == [(101, 5)]


@pytest.mark.parametrize(("rule", "lots"), [(0, []), (1, [(101, 2)]), (2, [(101, 5)])])
def test_what_a_quote_fills_is_a_parameter(rule, lots):
    exchange = new(cross_fill=rule)
    exchange.add(1, side=1, price=101, qty=5)
    assert fills(exchange.level(-1, 101, 2)) == lots


def test_whole_fills_are_a_parameter_for_parity_with_other_simulators():
    exchange = new(touch_fill=2)
    exchange.add(1, side=1, price=100, qty=10)
    assert fills(exchange.trade(side=-1, price=100, qty=50)) == []
    assert fills(exchange.trade(side=-1, price=100, qty=1)) == [(100, 10)]


@pytest.mark.parametrize(
    ("price", "side_of_ours", "ours", "expected"),
    [
        (102, -1, 102, []),  # at the ask: a buyer, behind the queue
        (103, -1, 102, [(102, 9)]),  # beyond the ask: a buyer, through us
        (100, 1, 101, [(101, 9)]),  # at the bid: a seller, through our better bid
        (101, 1, 102, [(102, 9)]),  # inside: whoever it was passed us
    ],
)
def test_a_print_of_unknown_side_is_read_off_the_quotes(price, side_of_ours, ours, expected):
    exchange = Exchange()
    exchange.book({100: 50}, {103: 40} if ours == 102 and side_of_ours > 0 else {102: 40})
    exchange.add(1, side=side_of_ours, price=ours, qty=9)
    assert fills(exchange.trade(side=0, price=price, qty=20)) == expected


def test_sells_mirror_buys():
    exchange = new()
    exchange.add(1, side=-1, price=102, qty=10)
    assert int(exchange.order(1)["ahead"]) == 40
    assert fills(exchange.trade(side=1, price=102, qty=43)) == [(102, 3)]
    assert fills(exchange.trade(side=1, price=103, qty=2)) == [(102, 2)]
    exchange.level(-1, 102, 0)  # the others at our price are gone: a bid there reaches us alone
    assert fills(exchange.level(1, 102, 4)) == [(102, 4)]
