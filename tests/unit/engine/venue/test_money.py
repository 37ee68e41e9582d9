"""Fees, tiers and holds, against amounts worked out by hand.

One lot at one tick is 100 money (1e-8): 0.01 x 0.0001 of the quote currency.
"""

from fractions import Fraction

import pytest

from engine import events as e
from engine.venue.fees import DAY_NS, FEE_SCHEDULES
from tests.support.exchange import T0, Exchange

USD = 10**8
UNIT = 100  # money of one lot at one tick


def exchange_with(schedule="kraken-2025-11", **params) -> Exchange:
    exchange = Exchange(schedule=schedule, **params)
    exchange.book({10_000: 50}, {10_200: 10**7})
    return exchange


def fee_of(answers) -> list[int]:
    return [a[4] for a in answers if a[0] == e.ORDER_FEE]


def trade_volume(exchange: Exchange, usd: int, order_id: int) -> list[int]:
    """Take that much at 102 USD; returns the fees."""
    lots = usd * USD // (10_200 * UNIT)
    answers = exchange.add(order_id, side=1, price=10_200, qty=lots)
    exchange.level(-1, 10_200, 10**7)
    return fee_of(answers)


def test_a_taker_pays_the_taker_rate_and_a_maker_the_makers():
    """The first tier since November 2025: 0.40 % and 0.25 % of price x quantity."""
    exchange = exchange_with()
    assert fee_of(exchange.add(1, side=1, price=10_200, qty=1000)) == [10_200 * 1000 * UNIT // 250]
    exchange.add(2, side=1, price=10_100, qty=1000)
    fees = fee_of(exchange.trade(side=-1, price=10_100, qty=1000))
    assert fees == [10_100 * 1000 * UNIT // 400]


def test_a_rebate_is_paid_to_the_maker():
    exchange = exchange_with("kraken-2025-08-rebate", volume_start=10_000_000 * USD)
    exchange.add(1, side=1, price=10_100, qty=1000)
    before = int(exchange.glob["cash"])
    fees = fee_of(exchange.trade(side=-1, price=10_100, qty=1000))
    notional = 10_100 * 1000 * UNIT
    assert fees == [-notional * 2 // 10_000]
    assert int(exchange.glob["cash"]) == before - notional - fees[0]


@pytest.mark.parametrize(
    ("volume", "maker", "taker"),
    [(0, "0.25", "0.40"), (9_999, "0.25", "0.40"), (10_000, "0.20", "0.35"), (50_000, "0.14", "0.24"),
     (250_000, "0.10", "0.20"), (9_999_999, "0.02", "0.12"), (10_000_000, "0.00", "0.10")],
)  # fmt: skip
def test_the_published_tiers(volume, maker, taker):
    exchange = exchange_with(volume_start=volume * USD)
    exchange.add(1, side=1, price=9_000, qty=1)  # the first command rolls the window to today
    rates = int(exchange.glob["maker_e6"]), int(exchange.glob["taker_e6"])
    assert rates == tuple(int(Fraction(percent) * 10_000) for percent in (maker, taker))


def test_volume_of_the_run_moves_the_tier_from_the_next_fill_on():
    exchange = exchange_with()
    first = trade_volume(exchange, 10_200, 1)
    second = trade_volume(exchange, 10_200, 2)
    assert first == [10_200 * USD * 40 // 10_000]
    assert second == [10_200 * USD * 35 // 10_000]


def test_volume_leaves_the_window_after_thirty_days():
    exchange = exchange_with()
    trade_volume(exchange, 10_200, 1)
    exchange.t = T0 // DAY_NS * DAY_NS + 30 * DAY_NS
    exchange.level(-1, 10_200, 10**7)
    assert trade_volume(exchange, 102, 2) == [102 * USD * 35 // 10_000]
    exchange.t += DAY_NS
    assert trade_volume(exchange, 102, 3) == [102 * USD * 40 // 10_000]


def test_every_schedule_charges_takers_no_less_than_makers():
    for schedule in FEE_SCHEDULES.values():
        assert all(t >= m for m, t in zip(schedule.maker_e6, schedule.taker_e6, strict=True))


def test_a_buy_holds_price_times_quantity_and_the_takers_fee():
    exchange = exchange_with()
    exchange.add(1, side=1, price=10_100, qty=1000)
    notional = 10_100 * 1000 * UNIT
    assert int(exchange.glob["cash_held"]) == notional + notional // 250


def test_a_post_only_buy_holds_the_makers_fee():
    exchange = exchange_with()
    exchange.add(1, side=1, price=10_100, qty=1000, post_only=1)
    notional = 10_100 * 1000 * UNIT
    assert int(exchange.glob["cash_held"]) == notional + notional // 400


def test_a_sell_holds_its_lots_and_a_cancel_gives_them_back():
    exchange = exchange_with(base=1000)
    exchange.add(1, side=-1, price=10_300, qty=1000)
    assert int(exchange.venue.symbols[0]["base_held"]) == 1000
    refused = exchange.add(2, side=-1, price=10_300, qty=1)
    assert (refused[0][0], refused[0][6]) == (e.ORDER_REJECT, e.REJECT_FUNDS)
    exchange.cancel(1)
    assert int(exchange.venue.symbols[0]["base_held"]) == 0
    assert exchange.add(3, side=-1, price=10_300, qty=1)[0][0] == e.ORDER_ACK


def test_a_buy_beyond_the_free_cash_is_refused_to_the_last_unit():
    notional = 10_100 * 1000 * UNIT
    needed = notional + notional // 250
    for cash, answer in ((needed, e.ORDER_ACK), (needed - 1, e.ORDER_REJECT)):
        exchange = exchange_with(cash=cash)
        assert exchange.add(1, side=1, price=10_100, qty=1000)[0][0] == answer


def test_a_partial_fill_frees_its_part_of_the_hold():
    exchange = exchange_with()
    exchange.add(1, side=1, price=10_100, qty=1000)
    exchange.trade(side=-1, price=10_100, qty=400)
    rest = 10_100 * 600 * UNIT
    assert int(exchange.glob["cash_held"]) == rest + rest // 250
    exchange.check()
