"""The transaction counter, against the numbers of Kraken's own scenarios and a naive twin's table."""

import numpy as np
import pytest

from engine import events as e
from engine.venue.limits import POINT, rate_amend_points, rate_cancel_points
from engine.venue.params import TIERS
from tests.support.exchange import Exchange

S = 1_000_000_000


def limited(tier: str = "starter", **params) -> Exchange:
    exchange = Exchange(tier=tier, **params)
    exchange.book({100: 50}, {102: 40})
    return exchange


def points(exchange: Exchange) -> float:
    """The counter as it reads now."""
    symbol, params = exchange.venue.symbols[0], exchange.params[0]
    fallen = (exchange.t - int(symbol["rate_ts"])) * int(params["rate_decay_e2"])
    return max(int(symbol["rate"]) - fallen, 0) / POINT


def test_add_amend_cancel_read_as_in_the_published_scenario():
    """Add at 0 s, amend at 7 s, cancel at 43 s: 1, then 0 + 3, then 0 + 4 on starter."""
    exchange = limited()
    exchange.add(1, side=1, price=99, qty=10)
    assert points(exchange) == 1
    exchange.t += 7 * S
    assert points(exchange) == 0
    exchange.amend(1, price=98)
    assert points(exchange) == 3
    exchange.t += 36 * S
    assert points(exchange) == 0
    exchange.cancel(1)
    assert points(exchange) == 4


def test_fifty_adds_ten_seconds_later_on_intermediate():
    exchange = limited("intermediate")
    for order_id in range(1, 51):
        exchange.add(order_id, side=1, price=99, qty=1)
    exchange.t += 10 * S
    assert points(exchange) == pytest.approx(26.6, abs=1e-9)


@pytest.mark.parametrize(
    ("age_s", "amend", "cancel"),
    [
        (0, 3, 8), (4.999, 3, 8), (5, 2, 6), (9.999, 2, 6), (10, 1, 5), (14.999, 1, 5), (15, 0, 4),
        (44.999, 0, 4), (45, 0, 2), (89.999, 0, 2), (90, 0, 1), (299.999, 0, 1), (300, 0, 0),
    ],
)  # fmt: skip
def test_what_age_costs(age_s, amend, cancel):
    age = round(age_s * S)
    assert (int(rate_amend_points(age)), int(rate_cancel_points(age))) == (amend, cancel)


def test_an_amend_makes_the_order_young_again():
    exchange = limited()
    exchange.add(1, side=1, price=99, qty=10)
    exchange.t += 400 * S
    exchange.amend(1, price=98)  # old: 1
    exchange.t += 2 * S
    before = points(exchange)
    exchange.cancel(1)  # young since the amend: 8
    assert points(exchange) == before + 8


def test_above_the_threshold_requests_are_refused_and_pay_their_fixed_part():
    exchange = limited("starter", open_orders_max=250)
    threshold = int(TIERS["starter"]["rate_threshold"])
    for order_id in range(1, threshold + 2):  # one more than the threshold is still taken
        assert exchange.add(order_id, side=1, price=99, qty=1)[0][0] == e.ORDER_ACK
    assert points(exchange) == threshold + 1
    refused = exchange.add(500, side=1, price=99, qty=1)
    assert (refused[0][0], refused[0][6]) == (e.ORDER_REJECT, e.REJECT_RATE)
    assert points(exchange) == threshold + 2
    exchange.t += 2 * S
    assert points(exchange) == threshold
    assert exchange.add(501, side=1, price=99, qty=1)[0][0] == e.ORDER_ACK


def test_the_counter_is_of_the_pair():
    from tests.support.exchange import instrument_rows

    exchange = Exchange(rows=instrument_rows(2), tier="starter")
    for sym in range(2):
        exchange.book({100: 50}, {102: 40}, sym=sym)
    exchange.add(1, side=1, price=99, qty=1, sym=0)
    assert list(exchange.venue.symbols["rate"] // POINT) == [1, 0]


def test_fills_cost_nothing():
    exchange = limited()
    exchange.add(1, side=1, price=101, qty=10)
    before = points(exchange)
    exchange.trade(side=-1, price=101, qty=10)
    assert points(exchange) == before


def test_a_tier_bounds_the_open_orders_of_a_pair():
    exchange = limited("starter", rate_on=False)
    for order_id in range(1, 61):
        assert exchange.add(order_id, side=1, price=99, qty=1)[0][0] == e.ORDER_ACK
    refused = exchange.add(61, side=1, price=99, qty=1)
    assert (refused[0][0], refused[0][6]) == (e.ORDER_REJECT, e.REJECT_FULL)
    assert int(exchange.glob["n_orders"]) == 60 == np.count_nonzero(exchange.venue.orders["state"])
