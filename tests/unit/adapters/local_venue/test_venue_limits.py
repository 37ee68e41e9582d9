"""The venue's counters: the documentation's own scenarios, and what a client sees of them."""

from decimal import Decimal
from typing import Any

import pytest

from adapters.local_venue.rates import POINT, Counter
from tests.support.venue_desk import Desk, S

ORDER: dict[str, Any] = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD",
                         "limit_price": 49000.0, "order_qty": 0.001}  # fmt: skip


def test_fifty_adds_at_once_read_26_6_after_ten_seconds_on_intermediate() -> None:
    counter = Counter(234, 125)
    for _ in range(50):
        counter.add(0, 2)
    assert Decimal("26.6") == Decimal(counter.at(10 * S)) / POINT


def test_the_counter_never_falls_below_zero() -> None:
    counter = Counter(100, 60)
    counter.add(0, 2)
    assert 0 == counter.at(100 * S)
    counter.add(100 * S, 2)
    assert POINT == counter.at(100 * S)


def test_stepwise_decay_waits_for_the_whole_second() -> None:
    counter = Counter(100, 60, stepwise=True)
    counter.add(0, 20)
    assert [10, 10, 9] == [counter.points(t) for t in (0, S - 1, S)]


def seen(desk: Desk, method: str, **params: Any) -> int:
    """The counter that the first report after a request shows."""
    return int(desk.reports(desk.request(method, **params))[0]["ratecount"])


def test_add_amend_and_cancel_cost_what_the_table_says() -> None:
    """Kraken's scenario: added at 0 s, amended at 7 s, canceled at 43 s: 1, 1 + 2, 4 points.

    The starter's counter falls by one a second, so each finds it at zero. What it shows is cut
    to whole points; the age counts from the amend on.
    """
    desk = Desk(tier="starter")
    desk.subscribe("executions", ratecounter=True)
    assert 1 == seen(desk, "add_order", cl_ord_id="a", **ORDER)
    desk.go(7)
    assert 3 == seen(desk, "amend_order", cl_ord_id="a", order_qty=0.002, limit_price=49001.0)
    desk.go(36)
    assert 4 == seen(desk, "cancel_order", cl_ord_id=["a"])


@pytest.mark.parametrize(
    ("age", "amend", "edit", "cancel"),
    [
        (1, 4, 7, 8), (6, 3, 6, 6), (11, 2, 5, 5), (20, 1, 3, 4), (50, 1, 2, 2), (100, 1, 1, 1),
        (400, 1, 1, 0),
    ],
)  # fmt: skip
def test_the_price_of_youth(age: int, amend: int, edit: int, cancel: int) -> None:
    asked: list[tuple[int, str, dict[str, Any]]] = [
        (amend, "amend_order", {"order_qty": 0.002}),
        (edit, "edit_order", {"order_qty": 0.002, "symbol": "BTC/USD"}),
        (cancel, "cancel_order", {}),
    ]
    for points, method, more in asked:
        # A counter that does not fall by itself would be simpler; pro falls by 3.75 a second.
        desk = Desk(tier="pro")
        txid = desk.result("add_order", **ORDER)["order_id"]
        desk.go(age)
        counter = next(iter(desk.core.clients.values())).desk.counter(0)
        before = counter.at(desk.core.now)
        named: Any = [txid] if method == "cancel_order" else txid
        t = desk.core.now + 1_000_000  # the engine hears of it a millisecond later
        desk.result(method, order_id=named, **more)
        after = counter.at(desk.core.now) + (desk.core.now - t) * 375
        assert points == round((after - max(0, before - 375_000_000)) / POINT)


def test_above_the_threshold_requests_are_refused_until_it_has_decayed() -> None:
    desk = Desk(tier="starter", rate_stepwise=True)
    ids = [desk.result("add_order", **ORDER)["order_id"] for _ in range(8)]
    for txid in ids:  # 8 points each, less what falls
        desk.request("cancel_order", order_id=[txid])
    assert "EOrder:Rate limit exceeded" == desk.error("add_order", **ORDER)
    desk.go(20)
    assert "order_id" in desk.result("add_order", **ORDER)


def test_a_refused_request_still_pays_its_fixed_part() -> None:
    desk = Desk()
    counter = None
    for _ in range(2):
        desk.error("add_order", **{**ORDER, "limit_price": 49000.05})
        counter = next(iter(desk.core.clients.values())).desk.counter(0)
    assert counter is not None
    assert 1 == counter.points(desk.core.now)  # two, less what 20 ms took off


def test_batches_cost_half_a_point_per_order() -> None:
    desk = Desk()
    desk.subscribe("executions", ratecounter=True)
    order = {key: value for key, value in ORDER.items() if key != "symbol"}
    assert 2 == seen(desk, "batch_add", symbol="BTC/USD", orders=[order] * 4)


def test_pairs_count_for_themselves() -> None:
    desk = Desk()
    desk.subscribe("executions", ratecounter=True)
    for _ in range(5):
        desk.result("add_order", **ORDER)
    assert 1 == seen(desk, "add_order", **{**ORDER, "symbol": "ETH/USD", "limit_price": 2000.0,
                                           "order_qty": 0.01})  # fmt: skip


def test_without_limits_nothing_is_refused() -> None:
    desk = Desk(rate_limits=False, tier="starter")
    for _ in range(100):
        txid = desk.result("add_order", **ORDER)["order_id"]
        desk.result("cancel_order", order_id=[txid])
