"""Orders that take: the walk through the book, where it stops, and what stays of the order."""

from engine import commands as c
from engine import events as e
from tests.support.exchange import Exchange

BIDS, ASKS = {100: 50, 99: 70, 90: 500}, {102: 40, 103: 60, 120: 500}


def new(**params) -> Exchange:
    exchange = Exchange(**params)
    exchange.book(BIDS, ASKS)
    return exchange


def fills(answers) -> list[tuple[int, int]]:
    return [(a[3], a[4]) for a in answers if a[0] == e.ORDER_FILL]


def ends(answers) -> list[tuple[int, int]]:
    """(lots, reason) of the cancels."""
    return [(a[4], a[6]) for a in answers if a[0] == e.ORDER_CANCELED]


def test_a_crossing_limit_takes_up_to_its_limit_and_the_rest_stands():
    exchange = new()
    answers = exchange.add(1, side=1, price=103, qty=150)
    assert fills(answers) == [(102, 40), (103, 60)]
    assert all(a[7] == e.TAKER for a in answers if a[0] == e.ORDER_FILL)
    assert int(exchange.order(1)["filled"]) == 100
    assert fills(exchange.trade(side=-1, price=103, qty=10)) == [(103, 10)]  # first in its queue


def test_what_is_taken_is_gone_until_the_feed_states_the_level_again():
    exchange = new()
    exchange.add(1, side=1, price=102, qty=30, tif=c.IOC)
    assert fills(exchange.add(2, side=1, price=102, qty=30, tif=c.IOC)) == [(102, 10)]
    exchange.level(-1, 102, 40)
    assert fills(exchange.add(3, side=1, price=102, qty=30, tif=c.IOC)) == [(102, 30)]


def test_ioc_cancels_what_it_does_not_get():
    exchange = new()
    answers = exchange.add(1, side=-1, price=99, qty=200, tif=c.IOC)
    assert fills(answers) == [(100, 50), (99, 70)]
    assert ends(answers) == [(80, e.CANCEL_IOC)]


def test_a_market_order_stops_at_the_protection_band():
    exchange = new(protection_e6=50_000)  # 5 % of 102 is 5.1 ticks: 107
    answers = exchange.add(1, side=1, price=0, qty=300, type=c.MARKET)
    assert fills(answers) == [(102, 40), (103, 60)]
    assert ends(answers) == [(200, e.CANCEL_PROTECTION)]


def test_a_wider_band_reaches_further():
    exchange = new(protection_e6=200_000)
    answers = exchange.add(1, side=1, price=0, qty=300, type=c.MARKET)
    assert fills(answers) == [(102, 40), (103, 60), (120, 200)]


def test_a_market_order_into_an_empty_side_is_refused():
    exchange = Exchange()
    exchange.book(BIDS, {})
    answers = exchange.add(1, side=1, price=0, qty=5, type=c.MARKET)
    assert [(a[0], a[6]) for a in answers] == [(e.ORDER_REJECT, e.REJECT_NO_LIQUIDITY)]


def test_post_only_that_touches_is_accepted_and_canceled():
    """Kraken accepts it, gives it an id and cancels it on arrival; touching is crossing."""
    exchange = new()
    answers = exchange.add(1, side=1, price=102, qty=5, post_only=1)
    assert [a[0] for a in answers] == [e.ORDER_ACK, e.ORDER_CANCELED]
    assert ends(answers) == [(5, e.CANCEL_POST_ONLY)]
    assert int(exchange.glob["cash_held"]) == 0


def test_post_only_that_touches_an_order_of_ours_is_canceled():
    exchange = new()
    exchange.add(1, side=-1, price=101, qty=5)
    assert ends(exchange.add(2, side=1, price=101, qty=5, post_only=1)) == [(5, e.CANCEL_POST_ONLY)]


def test_post_only_below_the_ask_rests():
    exchange = new()
    assert [a[0] for a in exchange.add(1, side=1, price=101, qty=5, post_only=1)] == [e.ORDER_ACK]


def test_self_trade_cancels_the_newest_after_its_fills_against_others():
    """Source: Kraken's self-trade prevention, cancel_newest: earlier fills stand."""
    exchange = new()
    exchange.add(1, side=-1, price=103, qty=20)  # behind 60 of others
    answers = exchange.add(2, side=1, price=120, qty=500)
    assert fills(answers) == [(102, 40), (103, 60)]
    assert ends(answers) == [(400, e.CANCEL_SELF_TRADE)]
    assert int(exchange.order(1)["filled"]) == 0
    assert int(exchange.order(1)["ahead"]) == 0  # what stood in front of it was taken


def test_self_trade_inside_the_spread_fills_nothing():
    exchange = new()
    exchange.add(1, side=-1, price=101, qty=20)
    answers = exchange.add(2, side=1, price=102, qty=5)
    assert fills(answers) == []
    assert ends(answers) == [(5, e.CANCEL_SELF_TRADE)]


def test_an_amend_whose_new_price_crosses_takes():
    exchange = new()
    exchange.add(1, side=1, price=100, qty=50)
    answers = exchange.amend(1, price=102)
    assert next(a[0] for a in answers) == e.ORDER_AMENDED
    assert fills(answers) == [(102, 40)]
    assert int(exchange.order(1)["ahead"]) == 0


def test_an_amend_that_says_post_only_and_would_take_is_refused_and_changes_nothing():
    exchange = new()
    exchange.add(1, side=1, price=100, qty=50)
    answers = exchange.amend(1, price=102, post_only=1)
    assert [(a[0], a[6]) for a in answers] == [(e.AMEND_REJECT, e.REJECT_POST_ONLY)]
    assert int(exchange.order(1)["price"]) == 100


def test_a_taker_pays_taker_and_the_rest_that_stands_pays_maker():
    """2 USD at 0.40 %, then 1 USD at 0.25 %: one order, two rates."""
    exchange = Exchange(schedule="kraken-2025-11")
    exchange.book({90: 5}, {100: 20_000})
    answers = exchange.add(1, side=1, price=100, qty=30_000)
    assert [a[4] for a in answers if a[0] == e.ORDER_FEE] == [200_000_000 * 40 // 10_000]
    answers = exchange.trade(side=-1, price=100, qty=10_000)
    assert [a[4] for a in answers if a[0] == e.ORDER_FEE] == [100_000_000 * 25 // 10_000]
