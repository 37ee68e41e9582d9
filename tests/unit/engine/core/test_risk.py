"""The checks one by one at their limits, and the order in which the gate asks them."""

import numpy as np
import pytest

from engine.core.capital import update_capital
from engine.core.caps import CAP_CONCENTRATION, CAP_FAMILY
from engine.core.lanes import CONFLICT_CORRELATED, CONFLICT_OPPOSED
from engine.core.records import (
    ALLOW,
    CONFLICT_LANE,
    EXPOSURE_CAP,
    HALT,
    INVENTORY_CAP,
    LOSS_THROTTLE,
    OK,
    ORDER_IN_FLIGHT,
    RATE_LIMIT,
    REASONS,
    RISK_VETO,
    VETO,
)
from engine.core.risk import (
    RISK_DAILY_LOSS,
    RISK_DRAWDOWN,
    RISK_EXPOSURE,
    RISK_INPUT_MISSING,
    RISK_LOSS_THROTTLE,
    RISK_NAMES,
    RISK_NONE,
    RISK_OPEN_ORDERS,
    RISK_ORDER_VALUE,
    RISK_ORDERS_PER_MINUTE,
    RISK_PRICE_BAND,
    RISK_REASONS,
    RISK_SYMBOL_VALUE,
    check_daily_loss,
    check_drawdown,
    check_exposure,
    check_loss_throttle,
    check_open_orders,
    check_order_value,
    check_orders_per_minute,
    check_price_band,
    check_symbol_value,
    risk_gate,
    risk_reason,
)
from tests.support.order_desk import BID, QTY, USD, OrderDesk, S

NAN = float("nan")


def gate(desk: OrderDesk, price: int = BID, qty: int = QTY) -> tuple[int, int]:
    verdict, check, _, _ = risk_gate(desk.core, 0, price, qty)
    return int(verdict), int(check)


@pytest.mark.parametrize(
    ("check", "at_limit", "beyond", "refusal"),
    [
        (check_order_value, (100, 100), (101, 100), VETO),
        (check_symbol_value, (300, 1000, 0.3), (301, 1000, 0.3), VETO),
        (check_exposure, (800, 1000, 0.8), (801, 1000, 0.8), VETO),
        (check_open_orders, (8, 8), (9, 8), VETO),
        (check_orders_per_minute, (30, 30), (31, 30), VETO),
        (check_price_band, (101, 200, 100.0), (102, 200, 100.0), VETO),
        (check_price_band, (99, 200, 100.0), (98, 200, 100.0), VETO),
        (check_daily_loss, (1000, 951, 0.05), (1000, 950, 0.05), HALT),
        (check_drawdown, (1000, 801, 0.2), (1000, 800, 0.2), HALT),
        (check_loss_throttle, (39, 1000, 0.02), (40, 1000, 0.02), VETO),
    ],
)
def test_each_check_at_its_limit(check, at_limit, beyond, refusal) -> None:  # type: ignore[no-untyped-def]
    assert ALLOW == check(*at_limit)[0]
    assert refusal == check(*beyond)[0]


@pytest.mark.parametrize(
    ("check", "arguments", "refusal"),
    [
        (check_symbol_value, (1, 0, 0.3), VETO),
        (check_exposure, (1, 1000, NAN), VETO),
        (check_price_band, (100, 0, 100.0), VETO),
        (check_daily_loss, (0, 0, 0.05), HALT),
        (check_drawdown, (0, 0, 0.2), HALT),
        (check_loss_throttle, (1, 0, 0.02), VETO),
    ],
)
def test_what_is_unknown_refuses(check, arguments, refusal) -> None:  # type: ignore[no-untyped-def]
    assert refusal == check(*arguments)[0]


def test_a_check_names_its_value_and_limit() -> None:
    assert (VETO, 0.5, 0.25) == check_exposure(500, 1000, 0.25)
    assert (ALLOW, 50.0, 100.0) == check_price_band(995, 2000, 100.0)


def test_an_ordinary_order_passes() -> None:
    assert (ALLOW, RISK_NONE) == gate(OrderDesk())


def shrink(desk: OrderDesk, name: str, value: float) -> None:
    desk.core.params[0][name] = value


def lose(desk: OrderDesk, usd: int) -> None:
    desk.glob["loss_ts"][0], desk.glob["loss_money"][0] = desk.glob["now"], usd * USD
    desk.glob["n_losses"] = 1


def crowd(desk: OrderDesk) -> None:
    for slot in range(40, 48):
        desk.place(slot, -1, 1, 2)


def hurry(desk: OrderDesk) -> None:
    desk.glob["entries_ts"][:30] = desk.glob["now"] - 60 * S + 1
    desk.glob["n_entries"] = 30


FAILURES = [
    (RISK_INPUT_MISSING, VETO, lambda d: d.core.symbols[0].__setitem__("ask", 0)),
    (RISK_DAILY_LOSS, HALT, lambda d: d.glob.__setitem__("day_equity", 11_000 * USD)),
    (RISK_DRAWDOWN, HALT, lambda d: d.glob.__setitem__("peak", 13_000 * USD)),
    (RISK_LOSS_THROTTLE, VETO, lambda d: lose(d, 400)),
    (RISK_ORDERS_PER_MINUTE, VETO, hurry),
    (RISK_OPEN_ORDERS, VETO, crowd),
    (RISK_ORDER_VALUE, VETO, lambda d: shrink(d, "capital_order_max", 599 * USD)),
    (RISK_SYMBOL_VALUE, VETO, lambda d: shrink(d, "risk_symbol_max", 0.0599)),
    (RISK_EXPOSURE, VETO, lambda d: shrink(d, "risk_exposure_max", 0.0599)),
    (RISK_PRICE_BAND, VETO, lambda d: shrink(d, "risk_price_band_bps", 0.001)),
]


@pytest.mark.parametrize(("check", "verdict", "break_it"), FAILURES)
def test_the_gate_finds_each_breach(check, verdict, break_it) -> None:  # type: ignore[no-untyped-def]
    desk = OrderDesk()
    break_it(desk)
    assert (verdict, check) == gate(desk)


def test_the_gate_names_the_first_breach_of_many() -> None:
    desk = OrderDesk()
    for check, verdict, break_it in reversed(FAILURES):
        break_it(desk)
        assert (verdict, check) == gate(desk)


def test_resting_entries_count_as_if_filled() -> None:
    desk = OrderDesk(risk_symbol_max=0.1)
    desk.enter()  # 600 of 1,000 USD
    assert (VETO, RISK_SYMBOL_VALUE) == gate(desk)
    assert (ALLOW, RISK_NONE) == gate(desk, qty=600_000)


@pytest.mark.parametrize("name", ["n_fee_tiers"])
def test_no_fee_schedule_is_a_missing_input(name: str) -> None:
    desk = OrderDesk()
    desk.core.params[0][name] = 0
    assert (VETO, RISK_INPUT_MISSING) == gate(desk)


def test_entries_older_than_a_minute_do_not_count() -> None:
    desk = OrderDesk()
    hurry(desk)
    desk.wait(1)
    assert (ALLOW, RISK_NONE) == gate(desk)


def test_a_limit_beyond_the_memory_of_entries_is_the_memory() -> None:
    desk = OrderDesk(risk_orders_per_minute=100_000)
    desk.glob["entries_ts"][:] = desk.glob["now"]
    desk.glob["n_entries"] = 100_000
    assert (VETO, RISK_ORDERS_PER_MINUTE) == gate(desk)


def test_a_real_day_of_losses_halts() -> None:
    desk = OrderDesk(cash=1_000 * USD)
    desk.hold()  # 600 of 1,000 USD
    desk.quote(540_000, 540_002)  # 10 % lower: 60 USD and fees
    update_capital(desk.core)
    verdict, check, value, limit = risk_gate(desk.core, 0, 540_000, 10_000)
    assert (HALT, RISK_DAILY_LOSS) == (verdict, check)
    assert (pytest.approx(0.0615), 0.05) == (value, limit)


def test_every_check_has_a_name_and_a_reason() -> None:
    assert len(RISK_NAMES) == len(RISK_REASONS)
    expected = {
        RISK_NONE: OK,
        RISK_INPUT_MISSING: RISK_VETO,
        RISK_DAILY_LOSS: LOSS_THROTTLE,
        RISK_DRAWDOWN: LOSS_THROTTLE,
        RISK_LOSS_THROTTLE: LOSS_THROTTLE,
        RISK_ORDERS_PER_MINUTE: RATE_LIMIT,
        RISK_OPEN_ORDERS: ORDER_IN_FLIGHT,
        RISK_ORDER_VALUE: RISK_VETO,
        RISK_SYMBOL_VALUE: INVENTORY_CAP,
        RISK_EXPOSURE: EXPOSURE_CAP,
        RISK_PRICE_BAND: RISK_VETO,
        CAP_FAMILY: EXPOSURE_CAP,
        CAP_CONCENTRATION: INVENTORY_CAP,
        CONFLICT_OPPOSED: CONFLICT_LANE,
        CONFLICT_CORRELATED: CONFLICT_LANE,
    }
    assert expected == {check: risk_reason(check) for check in RISK_NAMES}
    assert set(expected.values()) <= set(REASONS)
    assert np.int64 == RISK_REASONS.dtype
