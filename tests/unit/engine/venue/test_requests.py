"""What the venue answers before an order ever meets the market."""

import pytest

from engine import commands as c
from engine import events as e
from engine import instruments as i
from tests.support.exchange import Exchange, instrument_rows


def new(**params) -> Exchange:
    exchange = Exchange(**params)
    exchange.book({100: 50}, {102: 40})
    return exchange


def refusal(answers) -> tuple[int, int]:
    """(kind, reason) of the only answer."""
    assert len(answers) == 1
    return answers[0][0], answers[0][6]


@pytest.mark.parametrize("price", [99, 98])
def test_an_id_that_stands_gets_its_first_answer_again_and_changes_nothing(price):
    exchange = new()
    first = exchange.add(1, side=1, price=99, qty=10)
    assert exchange.add(1, side=1, price=price, qty=10) == first
    assert int(exchange.glob["n_orders"]) == 1
    assert int(exchange.order(1)["price"]) == 99
    exchange.check()


def test_an_id_that_has_ended_is_not_used_again():
    exchange = new()
    exchange.add(1, side=1, price=99, qty=10)
    exchange.cancel(1)
    exchange.add(1, side=1, price=99, qty=10)
    assert int(exchange.glob["n_orders"]) == 0


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"price": 99, "qty": 0}, e.REJECT_QTY),
        ({"price": 99, "qty": -5}, e.REJECT_QTY),
        ({"price": 0, "qty": 5}, e.REJECT_PRICE),
        ({"price": -1, "qty": 5}, e.REJECT_PRICE),
    ],
)
def test_senseless_numbers_are_refused(fields, reason):
    assert refusal(new().add(1, side=1, **fields)) == (e.ORDER_REJECT, reason)


def test_minimum_quantity_and_minimum_cost():
    """qty_min 5 lots; cost_min 50,000 money: 6 lots at 99 are 59,400."""
    exchange = Exchange(rows=instrument_rows(qty_min=5, cost_min=50_000))
    exchange.book({100: 50}, {102: 40})
    assert refusal(exchange.add(1, side=1, price=99, qty=4)) == (e.ORDER_REJECT, e.REJECT_MINIMUM)
    assert refusal(exchange.add(2, side=1, price=99, qty=5)) == (e.ORDER_REJECT, e.REJECT_MINIMUM)
    assert exchange.add(3, side=1, price=99, qty=6)[0][0] == e.ORDER_ACK


@pytest.mark.parametrize("kind", [c.CANCEL, c.AMEND])
def test_an_unknown_order_cannot_be_changed(kind):
    answers = new().command(kind=kind, id=77, qty=5, price=99)
    expected = e.CANCEL_REJECT if kind == c.CANCEL else e.AMEND_REJECT
    assert refusal(answers) == (expected, e.REJECT_UNKNOWN_ORDER)


def test_an_order_that_expires_in_the_past_is_refused():
    exchange = new()
    answers = exchange.add(1, side=1, price=99, qty=5, tif=c.GTD, expire_ts=exchange.t)
    assert refusal(answers) == (e.ORDER_REJECT, e.REJECT_EXPIRED)


def test_without_a_book_a_market_order_is_refused():
    exchange = Exchange()
    kind, reason = refusal(exchange.add(1, side=1, price=0, qty=5, type=c.MARKET, tif=c.IOC))
    assert kind == e.ORDER_REJECT
    assert reason == e.REJECT_NO_LIQUIDITY


@pytest.mark.parametrize(
    ("status", "plain", "post_only", "cancel"),
    [
        (i.STATUS_ONLINE, True, True, True),
        (i.STATUS_POST_ONLY, False, True, True),
        (i.STATUS_LIMIT_ONLY, True, True, True),
        (i.STATUS_CANCEL_ONLY, False, False, True),
        (i.STATUS_MAINTENANCE, False, False, False),
    ],
)
def test_the_status_of_the_pair_decides_what_is_let_in(status, plain, post_only, cancel):
    exchange = new()
    exchange.add(1, side=1, price=99, qty=5)
    exchange.market(kind=e.INSTRUMENT, sym=0, aux=status, flags=e.LAST)

    def accepted(order_id, **fields):
        return exchange.add(order_id, side=1, price=98, qty=5, **fields)[0][0] == e.ORDER_ACK

    assert accepted(2) == plain
    assert accepted(3, post_only=1) == post_only
    assert (exchange.cancel(1)[0][0] == e.ORDER_CANCELED) == cancel


def test_the_status_of_the_venue_holds_for_every_pair():
    exchange = new()
    exchange.market(kind=e.SYSTEM_STATUS, sym=-1, aux=i.STATUS_CANCEL_ONLY, flags=e.LAST)
    assert refusal(exchange.add(1, side=1, price=99, qty=5)) == (e.ORDER_REJECT, e.REJECT_STATUS)


def test_limit_only_refuses_a_market_order():
    exchange = new()
    exchange.market(kind=e.INSTRUMENT, sym=0, aux=i.STATUS_LIMIT_ONLY, flags=e.LAST)
    answers = exchange.add(1, side=1, price=0, qty=5, type=c.MARKET, tif=c.IOC)
    assert refusal(answers) == (e.ORDER_REJECT, e.REJECT_STATUS)


def test_cancel_all_cancels_everything_and_says_so_for_each():
    exchange = new()
    exchange.add(1, side=1, price=99, qty=5)
    exchange.add(2, side=-1, price=105, qty=5)
    exchange.add(3, side=-1, price=0, qty=5, type=c.STOP_LOSS, trigger=90)
    answers = exchange.command(kind=c.CANCEL_ALL, sym=-1)
    assert sorted(a[5] for a in answers if a[0] == e.ORDER_CANCELED) == [1, 2, 3]
    assert {a[6] for a in answers} == {e.CANCEL_ALL}
    assert int(exchange.glob["n_orders"]) == 0
    assert int(exchange.glob["cash_held"]) == 0
    assert int(exchange.venue.symbols[0]["base_held"]) == 0


def test_an_amend_below_what_is_filled_cancels_the_rest():
    exchange = new()
    exchange.add(1, side=1, price=101, qty=10)
    exchange.trade(side=-1, price=101, qty=4)
    answers = exchange.amend(1, price=101, qty=4)
    assert [a[0] for a in answers][-1] == e.ORDER_CANCELED
    assert int(exchange.glob["n_orders"]) == 0


def test_raising_the_quantity_goes_to_the_back_of_the_queue_and_lowering_keeps_the_place():
    exchange = new()
    exchange.add(1, side=1, price=100, qty=10)
    exchange.level(1, 100, 90)
    exchange.amend(1, price=100, qty=6)
    assert int(exchange.order(1)["ahead"]) == 50
    exchange.amend(1, price=100, qty=8)
    assert int(exchange.order(1)["ahead"]) == 90
