"""Stops, take-profits and expiry: what fires them, and how they enter."""

import pytest

from engine import commands as c
from engine import events as e
from engine.venue.params import S
from engine.venue.state import NEVER, copy_venue
from tests.support.exchange import T0, Exchange

BIDS, ASKS = {100: 50, 99: 70, 98: 500}, {102: 40, 103: 60, 104: 500}


def new(**params) -> Exchange:
    exchange = Exchange(**params)
    exchange.book(BIDS, ASKS)
    return exchange


def kinds(answers) -> list[int]:
    return [a[0] for a in answers]


def fills(answers) -> list[tuple[int, int]]:
    return [(a[3], a[4]) for a in answers if a[0] == e.ORDER_FILL]


@pytest.mark.parametrize(
    ("side", "kind", "trigger", "quiet", "firing"),
    [
        (-1, c.STOP_LOSS, 99, 100, 99),
        (1, c.STOP_LOSS, 103, 102, 103),
        (-1, c.TAKE_PROFIT, 103, 102, 103),
        (1, c.TAKE_PROFIT, 99, 100, 99),
    ],
)
def test_what_the_last_trade_must_do(side, kind, trigger, quiet, firing):
    """Stop-loss: a buy on a rise, a sell on a fall; take-profit the other way round."""
    exchange = new()
    exchange.add(1, side=side, price=0, qty=5, type=kind, trigger=trigger)
    assert exchange.trade(side=0, price=quiet, qty=1) == []
    answers = exchange.trade(side=0, price=firing, qty=1)
    assert answers[0][0] == e.ORDER_TRIGGERED
    assert answers[0][3] == firing
    assert kinds(answers)[-1] == e.ORDER_FILLED


def test_a_stop_holds_its_coins():
    exchange = new()
    exchange.add(1, side=-1, price=0, qty=5, type=c.STOP_LOSS, trigger=99)
    assert int(exchange.venue.symbols[0]["base_held"]) == 5


def test_a_stop_that_a_sell_print_fires_comes_behind_the_print():
    """The print at 99 took 30 of its 70 lots and all that was better, though the book shows both."""
    exchange = new()
    exchange.add(1, side=-1, price=0, qty=60, type=c.STOP_LOSS, trigger=99)
    assert fills(exchange.trade(side=-1, price=99, qty=30)) == [(99, 40), (98, 20)]


def test_a_stop_that_the_other_side_fires_meets_the_book_as_it_is():
    exchange = new()
    exchange.add(1, side=-1, price=0, qty=60, type=c.TAKE_PROFIT, trigger=102)
    assert fills(exchange.trade(side=1, price=102, qty=30)) == [(100, 50), (99, 10)]


def test_a_stop_limit_rests_at_the_back_when_it_cannot_take():
    exchange = new()
    exchange.add(1, side=-1, price=101, qty=5, type=c.STOP_LOSS_LIMIT, trigger=99)
    exchange.level(-1, 101, 33)
    answers = exchange.trade(side=0, price=99, qty=1)
    assert kinds(answers) == [e.ORDER_TRIGGERED]
    assert int(exchange.order(1)["ahead"]) == 33


def test_a_condition_that_holds_at_entry_fires_at_once_or_is_refused():
    exchange = new()
    exchange.trade(side=-1, price=99, qty=1)
    answers = exchange.add(1, side=-1, price=0, qty=5, type=c.STOP_LOSS, trigger=99)
    assert kinds(answers)[:2] == [e.ORDER_ACK, e.ORDER_TRIGGERED]
    strict = new(stop_at_entry=False)
    strict.trade(side=-1, price=99, qty=1)
    answers = strict.add(1, side=-1, price=0, qty=5, type=c.STOP_LOSS, trigger=99)
    assert [(a[0], a[6]) for a in answers] == [(e.ORDER_REJECT, e.REJECT_PRICE)]


def test_an_amended_trigger_that_holds_fires_at_once():
    exchange = new()
    exchange.trade(side=-1, price=100, qty=1)
    exchange.add(1, side=-1, price=0, qty=5, type=c.STOP_LOSS, trigger=98)
    answers = exchange.amend(1, trigger=100)
    assert kinds(answers)[:2] == [e.ORDER_AMENDED, e.ORDER_TRIGGERED]
    assert answers[0][3] == 100


def test_stops_that_one_print_fires_enter_by_age():
    exchange = new()
    exchange.add(1, side=-1, price=0, qty=40, type=c.STOP_LOSS, trigger=98)
    exchange.add(2, side=-1, price=0, qty=40, type=c.STOP_LOSS, trigger=99)
    answers = exchange.trade(side=-1, price=98, qty=450)
    assert [(a[5], a[3], a[4]) for a in answers if a[0] == e.ORDER_FILL] == [
        (1, 98, 40),
        (2, 98, 10),
    ]


def test_resting_orders_fill_before_what_the_print_fires():
    exchange = new()
    exchange.add(1, side=-1, price=0, qty=5, type=c.STOP_LOSS, trigger=99)
    exchange.add(2, side=1, price=101, qty=5)
    answers = exchange.trade(side=-1, price=99, qty=20)
    assert answers[0][5] == 2
    assert answers[3][0] == e.ORDER_TRIGGERED


def test_a_stop_that_fires_while_the_book_is_unknown_waits_for_it():
    exchange = new()
    exchange.add(1, side=-1, price=0, qty=5, type=c.STOP_LOSS, trigger=99)
    exchange.market(kind=e.GAP, sym=0)
    assert kinds(exchange.trade(side=-1, price=95, qty=1)) == [e.ORDER_TRIGGERED]
    exchange.book({94: 50}, {96: 5})
    assert fills(exchange.now) == [(94, 5)]


def test_a_market_stop_stops_at_the_band_measured_from_where_it_fired():
    exchange = Exchange()
    exchange.book({1000: 5, 900: 5, 870: 5, 850: 5}, {1001: 5})
    exchange.add(1, side=-1, price=0, qty=20, type=c.STOP_LOSS, trigger=900)
    answers = exchange.trade(side=-1, price=900, qty=2)  # 5 % below 900 is 855
    assert fills(answers) == [(900, 3), (870, 5)]
    assert answers[-1][6] == e.CANCEL_PROTECTION


def test_a_good_till_date_order_expires_at_its_time():
    exchange = new()
    exchange.add(1, side=1, price=100, qty=5, tif=c.GTD, expire_ts=T0 + 10 * S)
    exchange.add(2, side=1, price=99, qty=5, tif=c.GTD, expire_ts=T0 + 5 * S)
    assert exchange.next_time() == T0 + 5 * S
    exchange.t = T0 + 5 * S
    assert [(a[0], a[5], a[4]) for a in exchange.timer()] == [(e.ORDER_EXPIRED, 2, 5)]
    assert exchange.next_time() == T0 + 10 * S
    exchange.cancel(1)
    assert exchange.next_time() == NEVER
    assert int(exchange.glob["cash_held"]) == 0


def test_a_stop_can_expire_too():
    exchange = new()
    exchange.add(
        1, -1, 0, 5, type=c.STOP_LOSS, trigger=99, tif=c.GTD, expire_ts=T0 + 10 * S
    )  # fmt: skip
    exchange.t = T0 + 11 * S
    assert kinds(exchange.timer()) == [e.ORDER_EXPIRED]
    assert int(exchange.venue.symbols[0]["base_held"]) == 0


# ---- trailing stops ----


def trails(answers) -> list[tuple[int, int]]:
    return [(a[3], a[6]) for a in answers if a[0] == e.ORDER_TRAILED]


def test_a_trailing_sell_follows_the_highest_trade_and_never_comes_back():
    exchange = new()
    exchange.trade(side=0, price=101, qty=1)
    answers = exchange.add(1, side=-1, price=3, qty=5, type=c.TRAILING_STOP)
    assert kinds(answers) == [e.ORDER_ACK, e.ORDER_TRAILED]
    assert trails(answers) == [(98, 3)]
    assert trails(exchange.trade(side=0, price=103, qty=1)) == [(100, 3)]
    assert exchange.trade(side=0, price=102, qty=1) == []
    assert exchange.trade(side=0, price=101, qty=1) == []
    answers = exchange.trade(side=0, price=100, qty=1)
    assert answers[0][:4] == (e.ORDER_TRIGGERED, 0, -1, 100)
    assert kinds(answers)[-1] == e.ORDER_FILLED


def test_a_trailing_buy_follows_the_lowest_trade():
    exchange = new()
    exchange.trade(side=0, price=101, qty=1)
    assert trails(exchange.add(1, side=1, price=2, qty=5, type=c.TRAILING_STOP)) == [(103, 2)]
    assert exchange.trade(side=0, price=102, qty=1) == []
    assert trails(exchange.trade(side=0, price=100, qty=1)) == [(102, 2)]
    assert kinds(exchange.trade(side=0, price=102, qty=1))[0] == e.ORDER_TRIGGERED


def test_the_published_example_of_a_trailing_sell():
    """Kraken: 20,000 rises to 22,000; 5 % of that below is 20,900. Here the 5 % are 1,100 ticks."""
    exchange = Exchange()
    exchange.book({19_999: 50}, {20_001: 50})
    exchange.trade(side=0, price=20_000, qty=1)
    assert trails(exchange.add(1, side=-1, price=1_100, qty=5, type=c.TRAILING_STOP)) == [
        (18_900, 1_100)
    ]
    assert trails(exchange.trade(side=0, price=22_000, qty=1)) == [(20_900, 1_100)]


def test_a_trailing_stop_holds_its_coins_and_needs_something_to_follow():
    silent = Exchange()
    assert kinds(silent.add(1, side=-1, price=3, qty=5, type=c.TRAILING_STOP)) == [e.ORDER_REJECT]
    exchange = new()  # no trade yet: the best bid is what it would sell at
    assert trails(exchange.add(1, side=-1, price=3, qty=5, type=c.TRAILING_STOP)) == [(97, 3)]
    assert int(exchange.venue.symbols[0]["base_held"]) == 5


@pytest.mark.parametrize("distance", [0, -1, 101, 500])
def test_a_distance_that_leaves_no_trigger_is_refused(distance):
    exchange = new()
    exchange.trade(side=0, price=101, qty=1)
    answers = exchange.add(1, side=-1, price=distance, qty=5, type=c.TRAILING_STOP)
    assert (kinds(answers), answers[0][6]) == ([e.ORDER_REJECT], e.REJECT_PRICE)


def test_another_distance_keeps_the_peak_and_fires_where_the_price_is_through_it():
    exchange = new()
    exchange.trade(side=0, price=101, qty=1)
    exchange.add(1, side=-1, price=8, qty=5, type=c.TRAILING_STOP)
    exchange.trade(side=0, price=103, qty=1)
    exchange.trade(side=0, price=100, qty=1)
    answers = exchange.amend(1, price=5)
    assert [(a[0], a[3]) for a in answers] == [(e.ORDER_AMENDED, 5), (e.ORDER_TRAILED, 98)]
    answers = exchange.amend(1, price=3)
    assert kinds(answers)[:3] == [e.ORDER_AMENDED, e.ORDER_TRAILED, e.ORDER_TRIGGERED]


def test_more_lots_for_a_trailing_stop_leave_it_where_it_stands():
    exchange = new()
    exchange.trade(side=0, price=101, qty=1)
    exchange.add(1, side=-1, price=3, qty=5, type=c.TRAILING_STOP)
    answers = exchange.amend(1, qty=9)
    assert [(a[0], a[3], a[4]) for a in answers] == [
        (e.ORDER_AMENDED, 3, 9), (e.ORDER_TRAILED, 98, 0),
    ]  # fmt: skip
    assert int(exchange.venue.symbols[0]["base_held"]) == 9


def test_a_restored_venue_goes_on_from_the_same_peak():
    """Its whole state is a copy: what stands in a snapshot follows as if nothing had happened."""
    exchange = new()
    exchange.trade(side=0, price=101, qty=1)
    exchange.add(1, side=-1, price=3, qty=5, type=c.TRAILING_STOP)
    exchange.trade(side=0, price=104, qty=1)
    exchange.venue = copy_venue(exchange.venue)
    exchange.trade(side=0, price=102, qty=1)
    assert trails(exchange.trade(side=0, price=105, qty=1)) == [(102, 3)]
    assert kinds(exchange.trade(side=0, price=102, qty=1))[0] == e.ORDER_TRIGGERED
