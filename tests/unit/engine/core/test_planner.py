"""Entries: the price of each mode, the window, what moves or withdraws a resting one."""

import math

import numpy as np
import pytest

from engine.commands import ADD, AMEND, CANCEL, GTD, IOC, LIMIT, ROLE_ENTRY
from engine.core.columns import FEATURE_INDEX
from engine.core.orderstates import ORDER_STATE_EXPIRED
from engine.core.planner import entry_price, expiry
from engine.core.records import (
    BOOK_UNVERIFIED,
    COSTS_EXCEED_MOVE,
    EPOCH_NOT_VALID,
    INPUT_MISSING,
    MODE_BLOCKED,
    OK,
)
from engine.core.routes import ENTRY_IMPROVE, ENTRY_JOIN, ENTRY_TAKE, ENTRY_THEN_TAKE
from engine.events import (
    AMEND_REJECT,
    EPOCH_DEGRADED,
    MODE_EMERGENCY,
    MODE_EXIT_ONLY,
    MODE_HALT,
    ORDER_AMENDED,
    ORDER_EXPIRED,
    REJECT_POST_ONLY,
)
from tests.support.order_desk import ASK, BID, QTY, OrderDesk, S


def price_of(mode: int, bid: int, ask: int) -> int:
    desk = OrderDesk(orders_take_slippage_bps=5.0)
    symbol = desk.core.symbols[0]
    symbol["bid"], symbol["ask"] = bid, ask
    return int(entry_price(symbol, desk.core.params[0], mode))


@pytest.mark.parametrize(
    ("mode", "bid", "ask", "price"),
    [
        (ENTRY_JOIN, 100, 110, 100),
        (ENTRY_IMPROVE, 100, 110, 101),
        (ENTRY_IMPROVE, 100, 102, 101),
        (ENTRY_IMPROVE, 100, 101, 100),  # one tick of spread always joins
        (ENTRY_JOIN, 0, 101, 0),
        (ENTRY_IMPROVE, 100, 0, 0),
        (ENTRY_JOIN, 101, 101, 0),  # a locked book: anything would cross
        (ENTRY_TAKE, 100, 110, 110),  # 5 bps of 110 are less than a tick
        (ENTRY_TAKE, 599_990, 600_000, 600_300),
        (ENTRY_TAKE, 100, 0, 0),
        (9, 100, 110, 0),
    ],
)
def test_the_price_of_an_entry(mode: int, bid: int, ask: int, price: int) -> None:
    assert price == price_of(mode, bid, ask)


@pytest.mark.parametrize(
    ("now_s", "window_s", "ends_s"), [(100.0, 30, 130), (100.9, 30, 130), (100.9, 0.05, 101)]
)
def test_a_window_ends_on_a_whole_second_in_the_future(
    now_s: float, window_s: float, ends_s: int
) -> None:
    assert ends_s * S == expiry(int(now_s * S), int(window_s * S))


@pytest.mark.parametrize("mode", [ENTRY_JOIN, ENTRY_IMPROVE])
def test_a_maker_plan_is_post_only_and_lapses_by_itself(mode: int) -> None:
    desk = OrderDesk(orders_maker_window_ns=30 * S)
    code, decision = desk.enter(entry_mode=mode)
    command = desk.sent()[0]
    assert (OK, ADD, LIMIT, GTD, 1, ROLE_ENTRY) == (
        code, command["kind"], command["type"], command["tif"], command["post_only"],
        command["role"],
    )  # fmt: skip
    assert command["price"] < ASK
    assert 29 * S < command["expire_ts"] - command["ts"] <= 30 * S
    assert command["id"] == decision["command"] > 0


def test_a_taker_plan_is_immediate_or_cancel_within_its_slippage() -> None:
    desk = OrderDesk(orders_take_slippage_bps=5.0)
    desk.enter(entry_mode=ENTRY_TAKE)
    command = desk.sent()[0]
    assert (IOC, 0, 0, ASK + 300) == (
        command["tif"], command["post_only"], command["expire_ts"], command["price"],
    )  # fmt: skip


def test_the_plan_says_where_it_would_stop_and_take_profit() -> None:
    desk = OrderDesk(
        exits_stop_vol_multiple=3.0, costs_slippage_residual_bps=0.2, costs_buffer_bps=0.5,
        exits_target_vol_multiple=1.0,
    )  # fmt: skip
    desk.core.symbols[0]["features"][FEATURE_INDEX["vol_bps_1m"]] = 10.0
    _, decision = desk.enter(horizon_s=60)
    assert 600_000 - 30 * 60 == decision["stop"]  # 3 x 10 bps below
    # 25 + 40 bps of fees, 0.2 + 0.5, 10 of volatility
    assert np.ceil(600_000 * (1 + 75.7e-4)) == decision["target"]


def test_without_a_quote_there_is_no_plan() -> None:
    desk = OrderDesk()
    desk.core.symbols[0]["bid"] = 0
    assert INPUT_MISSING == desk.enter()[0]
    assert 0 == len(desk.rows("orders"))


# --- a resting entry -------------------------------------------------------------------------


def resting(entry_mode: int = ENTRY_JOIN, **changed: float) -> tuple[OrderDesk, int]:
    desk = OrderDesk(**changed)
    _, decision = desk.enter(entry_mode=entry_mode)
    desk.ack(int(decision["command"]))
    desk.sent()
    return desk, int(decision["command"])


def test_it_follows_a_bid_that_ran_away_far_enough() -> None:
    desk, order_id = resting(orders_move_ticks=2, orders_life_min_ns=5 * S)
    desk.wait(5 * S)
    desk.quote(BID + 1, ASK + 1)
    desk.manage()
    assert 0 == len(desk.sent())
    desk.quote(BID + 2, ASK + 2)
    desk.manage()
    command = desk.sent()[0]
    assert (AMEND, order_id, BID + 2, QTY, 1) == (
        command["kind"], command["id"], command["price"], command["qty"], command["post_only"],
    )  # fmt: skip


def test_it_does_not_follow_down() -> None:
    desk, _ = resting()
    desk.wait(10 * S)
    desk.quote(BID - 50, ASK - 50)
    desk.manage()
    assert 0 == len(desk.sent())


def test_it_is_not_moved_before_its_minimum_life() -> None:
    desk, order_id = resting(orders_life_min_ns=5 * S)
    desk.quote(BID + 9, ASK + 9)
    desk.glob["now"] = desk.order(order_id)["ts_touched"] + 5 * S - 1
    desk.manage()
    assert 0 == len(desk.sent())
    desk.wait(1)
    desk.manage()
    assert 1 == len(desk.sent())


def test_it_is_moved_only_so_often() -> None:
    desk, order_id = resting(orders_moves_max=3)
    for move in range(1, 6):
        desk.wait(6 * S)
        desk.quote(BID + 10 * move, ASK + 10 * move)
        desk.manage()
        if len(desk.sent()):
            desk.event(ORDER_AMENDED, order_id, BID + 10 * move, QTY)
    assert BID + 30 == desk.order(order_id)["price"]


def test_a_dearer_price_must_fit_cash_and_caps() -> None:
    # 600 USD rest, the cap is 601: 0.2 % more does not fit
    desk, _ = resting(risk_symbol_max=0.0601)
    desk.wait(6 * S)
    desk.quote(BID + 1200, ASK + 1200)
    desk.manage()
    assert 0 == len(desk.sent())


def test_a_refused_move_leaves_it_where_it_is() -> None:
    desk, order_id = resting()
    desk.wait(6 * S)
    desk.quote(BID + 10, ASK + 10)
    desk.manage()
    desk.event(AMEND_REJECT, order_id, aux=REJECT_POST_ONLY)
    assert BID == desk.order(order_id)["price"]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("mode", MODE_EXIT_ONLY, MODE_BLOCKED),
        ("mode", MODE_EMERGENCY, MODE_BLOCKED),
        ("mode", MODE_HALT, MODE_BLOCKED),
        ("epoch_status", EPOCH_DEGRADED, EPOCH_NOT_VALID),
    ],
)
def test_it_is_withdrawn_where_no_entry_may_stand(field: str, value: int, reason: int) -> None:
    desk, order_id = resting()
    desk.glob[field] = value
    desk.manage()
    command = desk.sent()[0]
    assert (CANCEL, order_id, reason) == (command["kind"], command["id"], command["reason"])


def test_it_is_withdrawn_when_the_book_cannot_be_trusted() -> None:
    desk, _ = resting()
    desk.core.symbols[0]["verified"] = 0
    desk.manage()
    assert [BOOK_UNVERIFIED] == desk.sent()["reason"].tolist()


@pytest.mark.parametrize("edge_bps", [0.5, -2.0, float("nan")])
def test_it_is_withdrawn_when_its_edge_is_gone_but_not_before_its_minimum_life(
    edge_bps: float,
) -> None:
    desk, _ = resting(readiness_net_min_bps=0.5, orders_life_min_ns=5 * S)
    position = desk.position()
    position["edge_now_bps"], position["edge_now_ts"] = edge_bps, desk.glob["now"]
    desk.manage()
    assert 0 == len(desk.sent())
    desk.wait(5 * S)
    desk.manage()
    assert [COSTS_EXCEED_MOVE] == desk.sent()["reason"].tolist()


def test_it_stays_while_its_edge_stands() -> None:
    desk, _ = resting(readiness_net_min_bps=0.5)
    position = desk.position()
    position["edge_now_bps"], position["edge_now_ts"] = 0.6, desk.glob["now"]
    desk.wait(20 * S)
    desk.manage()
    assert 0 == len(desk.sent())


def test_what_is_left_of_it_goes_when_its_position_is_being_left() -> None:
    desk = OrderDesk()
    _, decision = desk.enter()
    order_id = int(decision["command"])
    desk.ack(order_id)
    desk.fill(order_id, BID, QTY // 2)
    stop = int(desk.sent()[-1]["id"])
    desk.ack(stop)
    desk.fill_whole(stop, BID - 1200, QTY // 2, maker=False)
    desk.manage()
    command = desk.sent()[-1]
    assert (CANCEL, order_id) == (command["kind"], command["id"])


# --- the end of the window -------------------------------------------------------------------


def lapse(
    edge_bps: float | None,
    take_bps: float = math.nan,
    entry_mode: int = ENTRY_JOIN,
    **changed: float,
) -> OrderDesk:
    desk, order_id = resting(entry_mode, **changed)
    desk.wait(30 * S)
    if edge_bps is not None:
        position = desk.position()
        position["edge_now_bps"], position["edge_now_ts"] = edge_bps, desk.glob["now"]
        position["edge_take_bps"] = take_bps
    desk.event(ORDER_EXPIRED, order_id, qty=QTY)
    assert ORDER_STATE_EXPIRED == desk.order(order_id)["state"]
    desk.manage()
    return desk


def test_an_entry_that_was_not_filled_simply_lapses() -> None:
    desk = lapse(500.0)
    assert 0 == len(desk.sent())
    assert (0, 0) == (desk.position()["entry_slot"], desk.position()["lapsed_slot"])


def test_it_takes_instead_where_that_still_pays() -> None:
    """The maker's edge must pay 15 bps of fee, the spread, 0.2 bps and the 0.5 bps minimum."""
    spread = 2 / 600_001 * 10_000
    rule = {"orders_taker_fallback": 1, "readiness_net_min_bps": 0.5}
    assert 0 == len(lapse(15.7 + spread - 0.001, **rule).sent())
    command = lapse(15.7 + spread + 0.001, **rule).sent()[0]
    assert (ADD, IOC, QTY) == (command["kind"], command["tif"], command["qty"])
    assert command["price"] >= ASK


def test_the_edge_of_taking_itself_decides_where_it_is_known() -> None:
    """Against net_min 0.5: what the taking route was worth, not the resting one less its costs."""
    rule = {"orders_taker_fallback": 1, "readiness_net_min_bps": 0.5}
    assert 0 == len(lapse(500.0, 0.499, **rule).sent())
    assert 1 == len(lapse(0.6, 0.501, **rule).sent())


def test_a_route_that_rests_and_then_takes_does_so_without_the_general_rule() -> None:
    desk = lapse(5.0, 0.7, ENTRY_THEN_TAKE, readiness_net_min_bps=0.5)
    command = desk.sent()[0]
    assert (ADD, IOC, QTY) == (command["kind"], command["tif"], command["qty"])
    # no gate let it through as a taker: nothing leaves, whatever resting was worth
    assert 0 == len(lapse(500.0, math.nan, ENTRY_THEN_TAKE).sent())
    assert 0 == len(lapse(500.0, 0.7, ENTRY_JOIN, readiness_net_min_bps=0.5).sent())


def test_it_does_not_take_on_an_edge_that_nobody_knows() -> None:
    assert 0 == len(lapse(None, orders_taker_fallback=1).sent())


def test_it_does_not_take_past_the_risk_gate() -> None:
    desk, order_id = resting(orders_taker_fallback=1)
    desk.wait(30 * S)
    position = desk.position()
    position["edge_now_bps"], position["edge_now_ts"] = 500.0, desk.glob["now"]
    desk.event(ORDER_EXPIRED, order_id, qty=QTY)
    desk.core.params[0]["risk_symbol_max"] = 0.01
    assert 0 == desk.manage()
    assert 0 == len(desk.sent())
