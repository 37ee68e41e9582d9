"""A limit in place of the stop: only where it is calm, never for long, and the stop comes back."""

from __future__ import annotations

import pytest

from engine.commands import ADD, CANCEL, GTD, LIMIT, ROLE_EXIT, STOP_LOSS
from engine.core.columns import FEATURE_INDEX
from engine.core.exits import EXIT_STYLE, EXIT_TARGET, EXIT_TIME, STYLE_TAKE, TARGET_SWAP
from engine.core.protection import COVER_PROTECTED, COVER_SWAPPING
from engine.core.regime import REGIME_CHAOS, REGIME_RANGE
from engine.events import (
    CANCEL_USER,
    MODE_HALT,
    ORDER_CANCELED,
    ORDER_EXPIRED,
    ORDER_REJECT,
    REJECT_POST_ONLY,
)
from tests.support.order_desk import ASK, BID, QTY, OrderDesk, S

SWAP = {"exits_target_style": TARGET_SWAP, "exits_swap_ns": 2 * S}


def at_target(**changed: float) -> tuple[OrderDesk, int, int]:
    """A position whose target has just traded: desk, the stop's client id, the target."""
    desk = OrderDesk(**SWAP | changed)
    desk.core.symbols[0]["features"][FEATURE_INDEX["vol_bps_1m"]] = 5.0
    desk.core.symbols[0]["regime"] = REGIME_RANGE
    stop = desk.hold()
    target = int(desk.position()["target"])
    desk.quote(target, target + 2, trade=target)
    return desk, stop, target


def resting(**changed: float) -> tuple[OrderDesk, int, int]:
    """The stop is gone and the limit rests: desk, the limit's client id, the target."""
    desk, stop, target = at_target(**changed)
    assert [(CANCEL, stop)] == [(c["kind"], c["id"]) for c in desk.sent()]
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
    limit = int(desk.sent()[0]["id"])
    desk.ack(limit)
    return desk, limit, target


def gone(desk: OrderDesk, limit: int, lots: int = QTY) -> None:
    """The limit's cancel is confirmed."""
    assert [(CANCEL, limit)] == [(c["kind"], c["id"]) for c in desk.sent()]
    desk.event(ORDER_CANCELED, limit, qty=lots, aux=CANCEL_USER)


def stop_again(desk: OrderDesk, lots: int = QTY) -> None:
    command = desk.sent()[0]
    assert (ADD, STOP_LOSS, lots) == (command["kind"], command["type"], command["qty"])


def test_the_stop_is_swapped_for_a_post_only_limit_at_the_ask() -> None:
    desk, stop, target = at_target()
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
    command = desk.sent()[-1]
    assert (ADD, ROLE_EXIT, -1, LIMIT, GTD, 1, target + 2, QTY, EXIT_TARGET) == (
        command["kind"], command["role"], command["side"], command["type"], command["tif"],
        command["post_only"], command["price"], command["qty"], command["reason"],
    )  # fmt: skip
    # It lapses by itself, on a whole second, though we might be gone.
    left = int(command["expire_ts"]) - int(desk.glob["now"])
    assert 2 * S < left <= 3 * S
    assert 0 == command["expire_ts"] % S
    assert COVER_SWAPPING == desk.position()["coverage"]
    assert desk.position()["uncovered_ts"] > 0  # the clock runs all the while


def test_a_fill_of_it_is_the_target_as_a_maker() -> None:
    desk, limit, target = resting()
    desk.fill_whole(limit, target + 2, QTY)
    row = desk.rows("realized")[0]
    assert (EXIT_TARGET, QTY) == (row["exit_reason"], row["qty"])
    assert 1 == desk.rows("fills")[-1]["maker"]
    assert 0 == len(desk.sent())


def test_an_adverse_tick_brings_the_stop_back() -> None:
    desk, limit, target = resting()
    desk.quote(target - 1, target + 1, trade=target - 1)
    gone(desk, limit)
    stop_again(desk)
    desk.ack(int(desk.core.orders["id"].max()))
    assert COVER_PROTECTED == desk.position()["coverage"]
    desk.quote(target, target + 2, trade=target)  # and it is not tried again
    assert not [c for c in desk.sent() if c["kind"] == CANCEL]


def test_its_time_is_over_before_a_position_is_uncovered_too_long() -> None:
    desk, limit, _ = resting(exits_swap_ns=60 * S, exits_unprotected_max_ns=4 * S)
    desk.wait(2 * S)
    desk.guard()
    gone(desk, limit)
    stop_again(desk)
    assert 0 == desk.position()["exit_reason"]


@pytest.mark.parametrize("kind", [ORDER_EXPIRED, ORDER_REJECT])
def test_lapsed_or_refused_at_the_venue_the_stop_is_placed_in_the_same_step(kind: int) -> None:
    desk, limit, _ = resting()
    if kind == ORDER_EXPIRED:
        desk.event(kind, limit, qty=QTY)
    else:
        desk, stop, _ = at_target()
        desk.sent()
        desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
        desk.event(ORDER_REJECT, int(desk.sent()[0]["id"]), aux=REJECT_POST_ONLY)
    stop_again(desk)
    assert 0 == desk.position()["n_exit_tries"]


def test_what_it_sold_in_part_decides_nothing_about_the_rest() -> None:
    desk, limit, target = resting()
    desk.fill(limit, target + 2, QTY // 4)
    assert (0, 0) == (desk.position()["exit_reason"], len(desk.sent()))
    desk.quote(target - 1, target + 1, trade=target - 1)
    gone(desk, limit, QTY - QTY // 4)
    stop_again(desk, QTY - QTY // 4)


@pytest.mark.parametrize("what", ["regime", "off", "halt", "tries", "book"])
def test_where_it_is_not_calm_or_not_allowed_the_stop_is_pulled_up_instead(what: str) -> None:
    changed = {"off": {"exits_target_style": 0}, "tries": {"exits_swap_tries": 0}}.get(what, {})
    desk = OrderDesk(**SWAP | changed)
    desk.core.symbols[0]["features"][FEATURE_INDEX["vol_bps_1m"]] = 5.0
    desk.core.symbols[0]["regime"] = REGIME_CHAOS if what == "regime" else REGIME_RANGE
    stop = desk.hold()
    target = int(desk.position()["target"])
    if what == "halt":
        desk.glob["mode"] = MODE_HALT
    ask = target if what == "book" else target + 2
    desk.quote(target, ask, trade=target)
    assert stop not in [c["id"] for c in desk.sent() if c["kind"] == CANCEL]
    assert 0 == desk.position()["swap"]


def test_another_reason_to_leave_ends_it_and_sells() -> None:
    desk, limit, _ = resting()
    desk.position()["time_exit_ts"] = desk.glob["now"]
    desk.guard()
    gone(desk, limit)
    command = desk.sent()[0]
    assert (ADD, ROLE_EXIT, 0, EXIT_TIME) == (
        command["kind"], command["role"], command["post_only"], command["reason"],
    )  # fmt: skip


def test_a_stop_that_fires_while_its_cancel_travels_is_the_exit() -> None:
    from engine.events import ORDER_TRIGGERED

    desk, stop, target = at_target()
    desk.sent()
    desk.event(ORDER_TRIGGERED, stop, target)
    desk.fill_whole(stop, target - 5, QTY, maker=False)
    assert (0, 0) == (desk.position()["qty"], len(desk.sent()))


def test_the_style_of_a_stall_takes_at_a_limit_where_that_pays_both_fees() -> None:
    for up, swapped in ((200, 0), (4_000, 1)):
        desk = OrderDesk(exits_trail_start_bps=9_000.0)
        desk.core.symbols[0]["regime"] = REGIME_RANGE
        stop = desk.hold()
        desk.position()["style"] = STYLE_TAKE
        desk.quote(BID + up, ASK + up, trade=ASK + up)
        cancels = [c for c in desk.sent() if c["kind"] == CANCEL and c["id"] == stop]
        assert swapped == len(cancels)
        if swapped:
            assert EXIT_STYLE == cancels[0]["reason"]
