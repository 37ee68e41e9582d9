"""Protection and exits as small scripts: what happens, and what leaves in the same step."""

import pytest

from engine.commands import (
    ADD,
    AMEND,
    CANCEL,
    GTC,
    IOC,
    LIMIT,
    MARKET,
    ROLE_EXIT,
    ROLE_FLATTEN,
    ROLE_PROTECTION,
    STOP_LOSS,
)
from engine.core.columns import FEATURE_INDEX
from engine.core.exits import (
    EXIT_COVERAGE_MISSING,
    EXIT_EMERGENCY,
    EXIT_NAMES,
    EXIT_OPERATOR,
    EXIT_STOP,
    EXIT_STOP_REFUSED,
    EXIT_TARGET,
    EXIT_TIME,
    EXIT_TRAIL,
    exit_limit,
    horizon_vol_bps,
    request_exit,
    stop_price,
    target_price,
)
from engine.core.orderstates import ORDER_STATE_REJECTED
from engine.core.positions import (
    POSITION_CLOSED,
    POSITION_CLOSING,
    POSITION_OPEN,
    POSITION_OPENING,
    POSITION_REDUCING,
)
from engine.core.protection import (
    COVER_AMENDING,
    COVER_ARMING,
    COVER_EXITING,
    COVER_NAMES,
    COVER_NONE,
    COVER_PROTECTED,
    COVER_SWAPPING,
)
from engine.core.records import REASONS, SYMBOL_SAFETY
from engine.events import (
    AMEND_REJECT,
    CANCEL_IOC,
    CANCEL_REJECT,
    CANCEL_USER,
    EPOCH_INVALID,
    MODE,
    MODE_EMERGENCY,
    MODE_HALT,
    MODE_NORMAL,
    ORDER_AMENDED,
    ORDER_CANCELED,
    ORDER_EXPIRED,
    ORDER_FILLED,
    ORDER_REJECT,
    ORDER_TRIGGERED,
    REJECT_FUNDS,
    REJECT_MINIMUM,
    REJECT_NO_LIQUIDITY,
    REJECT_RATE,
    REJECT_UNKNOWN_ORDER,
    WHO_OPERATOR,
    WHY_COMMAND,
    WHY_KILL,
)
from tests.support.order_desk import ASK, BID, QTY, OrderDesk, S

STOP = BID - 1200  # 20 bps of invalidation below 60,000.0


def entered(**changed: float) -> tuple[OrderDesk, int]:
    """An acknowledged entry; nothing bought yet."""
    desk = OrderDesk(**changed)
    code, decision = desk.enter()
    assert 0 == code
    desk.ack(int(decision["command"]))
    desk.sent()
    return desk, int(decision["command"])


def protected(**changed: float) -> tuple[OrderDesk, int]:
    """A whole position under an acknowledged stop; the client id of the stop."""
    desk = OrderDesk(**changed)
    stop = desk.hold()
    desk.sent()
    return desk, stop


# --- the stop ----------------------------------------------------------------------------------


def test_a_fill_and_its_stop_are_one_step() -> None:
    desk, entry = entered()
    desk.fill(entry, BID, QTY)
    command = desk.sent()[0]
    assert (ADD, ROLE_PROTECTION, -1, STOP_LOSS, GTC) == (
        command["kind"], command["role"], command["side"], command["type"], command["tif"],
    )  # fmt: skip
    assert (QTY, STOP, EXIT_STOP, 0) == (
        command["qty"], command["trigger"], command["reason"], command["price"],
    )  # fmt: skip
    assert desk.glob["now"] == command["ts"] == desk.rows("fills")[0]["ts"]
    assert COVER_ARMING == desk.position()["coverage"]
    desk.ack(int(command["id"]))
    assert (COVER_PROTECTED, QTY) == (desk.position()["coverage"], desk.position()["covered"])


def test_time_until_the_stop_rests_is_counted_as_unprotected() -> None:
    desk, entry = entered()
    desk.fill(entry, BID, QTY)
    stop = int(desk.sent()[0]["id"])
    desk.wait(40_000_000)
    desk.ack(stop)  # one millisecond later
    position = desk.position()
    assert (41_000_000, 0) == (position["unprotected_ns"], position["uncovered_ts"])
    assert 41_000_000 == desk.rows("positions")[-1]["unprotected_ns"]


def test_a_second_fill_grows_the_same_stop() -> None:
    desk, entry = entered()
    desk.fill(entry, BID, QTY // 4)
    stop = int(desk.sent()[0]["id"])
    desk.fill(entry, BID, QTY // 4)  # not acknowledged yet: nothing may be asked
    assert 0 == len(desk.sent())
    desk.ack(stop)
    command = desk.sent()[0]
    assert (AMEND, stop, QTY // 2, 0) == (
        command["kind"], command["id"], command["qty"], command["trigger"],
    )  # fmt: skip
    assert (COVER_AMENDING, QTY // 4) == (desk.position()["coverage"], desk.position()["covered"])
    desk.event(ORDER_AMENDED, stop, STOP, QTY // 2)
    assert (COVER_PROTECTED, QTY // 2) == (desk.position()["coverage"], desk.position()["covered"])
    assert 1 == len(set(desk.rows("orders")["id"].tolist()) - {entry})


def test_a_refused_growth_is_tried_again_and_the_old_stop_stays() -> None:
    desk, entry = entered()
    desk.fill(entry, BID, QTY // 4)
    stop = int(desk.sent()[0]["id"])
    desk.ack(stop)
    desk.fill(entry, BID, QTY // 4)
    desk.event(AMEND_REJECT, stop, aux=REJECT_RATE)
    assert QTY // 4 == desk.position()["covered"]
    desk.sent()
    desk.quote(BID, ASK)
    assert 0 == len(desk.sent())
    desk.wait(S)
    desk.quote(BID, ASK)
    assert [AMEND] == desk.sent()["kind"].tolist()


def test_a_stop_refused_once_is_sent_again_and_twice_means_leave() -> None:
    desk, entry = entered()
    desk.fill_whole(entry, BID, QTY)
    first = int(desk.sent()[0]["id"])
    desk.event(ORDER_REJECT, first, aux=REJECT_FUNDS)
    again = desk.sent()[0]
    assert (ADD, ROLE_PROTECTION, QTY) == (again["kind"], again["role"], again["qty"])
    desk.event(ORDER_REJECT, int(again["id"]), aux=REJECT_FUNDS)
    sale = desk.sent()[0]
    assert (ADD, ROLE_EXIT, LIMIT, IOC, QTY, EXIT_STOP_REFUSED) == (
        sale["kind"], sale["role"], sale["type"], sale["tif"], sale["qty"], sale["reason"],
    )  # fmt: skip
    assert SYMBOL_SAFETY == desk.position()["safety"]
    assert COVER_EXITING == desk.position()["coverage"]


def test_a_stop_that_the_venue_took_away_is_replaced() -> None:
    desk, stop = protected()
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
    command = desk.sent()[0]
    assert (ADD, ROLE_PROTECTION, QTY) == (command["kind"], command["role"], command["qty"])
    assert desk.position()["uncovered_ts"] > 0


def test_uncovered_too_long_means_leave() -> None:
    desk, entry = entered(exits_unprotected_max_ns=5 * S, orders_reply_timeout_ns=60 * S)
    desk.fill_whole(entry, BID, QTY)
    stop = int(desk.sent()[0]["id"])
    desk.wait(5 * S)
    desk.quote(BID, ASK)
    assert EXIT_COVERAGE_MISSING == desk.position()["exit_reason"]
    assert 0 == len(desk.sent())  # the first answer is still owed, a second sell could sell twice
    desk.ack(stop)
    assert [CANCEL] == desk.sent()["kind"].tolist()


def test_a_stop_without_an_answer_is_suspect_then_cancelled_then_sold() -> None:
    desk, entry = entered(exits_unprotected_max_ns=5 * S, orders_reply_timeout_ns=10 * S)
    desk.fill_whole(entry, BID, QTY)
    stop = int(desk.sent()[0]["id"])
    desk.wait(10 * S)
    desk.quote(BID, ASK)
    assert [(CANCEL, stop)] == [(row["kind"], row["id"]) for row in desk.sent()]
    desk.event(CANCEL_REJECT, stop, aux=REJECT_UNKNOWN_ORDER)
    assert 0 == len(desk.sent())  # not found is not gone
    assert COVER_NONE == desk.position()["coverage"]
    desk.wait(10 * S)
    desk.quote(BID, ASK)
    assert [CANCEL] == desk.sent()["kind"].tolist()
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
    assert [(ADD, ROLE_EXIT)] == [(row["kind"], row["role"]) for row in desk.sent()]


def test_a_price_already_through_the_stop_is_left_at_once() -> None:
    desk, entry = entered()
    desk.core.symbols[0]["bid"] = STOP
    desk.fill(entry, BID, QTY)
    sale = next(row for row in desk.sent() if row["kind"] == ADD)
    assert (ROLE_EXIT, LIMIT, EXIT_STOP) == (sale["role"], sale["type"], sale["reason"])


def test_a_stale_last_trade_below_the_stop_does_not_fire_it_at_entry() -> None:
    desk, entry = entered()
    desk.core.symbols[0]["trade_price"] = STOP - 10
    desk.fill(entry, BID, QTY)
    assert [STOP - 11] == desk.sent()["trigger"].tolist()


def test_lots_too_few_for_any_order_wait_and_become_dust() -> None:
    desk, entry = entered()
    desk.fill(entry, BID, 4_000)  # the minimum is 5,000
    assert 0 == len(desk.sent())
    assert (COVER_NONE, 0) == (desk.position()["coverage"], desk.position()["uncovered_ts"])
    desk.fill(entry, BID, 1_000)
    assert [5_000] == desk.sent()["qty"].tolist()


def test_a_rest_of_a_lapsed_entry_below_the_minimum_is_dust() -> None:
    desk, entry = entered()
    desk.fill(entry, BID, 4_000)
    desk.event(ORDER_EXPIRED, entry, qty=QTY - 4_000)
    position = desk.position()
    assert (0, 4_000, POSITION_CLOSED, 0) == (
        position["qty"], position["dust"], position["state"], position["guarded"],
    )  # fmt: skip


def test_a_stop_that_fires_closes_the_position() -> None:
    desk, stop = protected()
    desk.event(ORDER_TRIGGERED, stop, STOP)
    desk.fill(stop, STOP, QTY // 2, maker=False)
    assert POSITION_REDUCING == desk.position()["state"]
    assert 0 == len(desk.sent())
    desk.fill_whole(stop, STOP - 1, QTY // 2, maker=False)
    row = desk.rows("realized")[0]
    assert (EXIT_STOP, QTY) == (row["exit_reason"], row["qty"])
    assert (POSITION_CLOSED, 0, 0) == (
        desk.position()["state"], desk.position()["guarded"], desk.position()["stop_slot"],
    )  # fmt: skip


# --- trail and target --------------------------------------------------------------------------

TRAIL = {
    "exits_trail_start_bps": 20.0,
    "exits_trail_atr_multiple": 3.0,
    "exits_trail_min_bps": 15.0,
    "exits_trail_max_bps": 150.0,
    "exits_trail_step_bps": 3.0,
    "exits_trail_interval_ns": 5 * S,
}


def trailing(atr_bps: float, **changed: float) -> tuple[OrderDesk, int]:
    """As `protected`, with an ATR and without the floor that fees put under the distance."""
    desk, stop = protected(**TRAIL | changed)
    desk.core.symbols[0]["features"][FEATURE_INDEX["atr_bps"]] = atr_bps
    desk.position()["fees"] = 0
    desk.core.params[0]["fee_taker_e6"][0] = 0
    return desk, stop


def test_the_trail_starts_with_enough_gain_and_keeps_its_distance() -> None:
    desk, stop = trailing(10.0)
    desk.quote(601_199, 601_201, trade=601_199)  # 19.98 bps
    assert 0 == len(desk.sent())
    desk.quote(606_000, 606_002, trade=606_000)
    command = desk.sent()[0]
    assert (AMEND, stop, 606_000 - 1818, EXIT_TRAIL) == (  # 30 bps
        command["kind"], command["id"], command["trigger"], command["reason"],
    )  # fmt: skip


def test_the_trail_never_comes_down() -> None:
    desk, stop = trailing(10.0)
    desk.quote(606_000, 606_002, trade=606_000)
    desk.event(ORDER_AMENDED, stop, 604_182, QTY)
    desk.sent()
    desk.wait(60 * S)
    desk.quote(604_500, 604_502, trade=604_500)
    assert 0 == len(desk.sent())
    assert 604_182 == desk.position()["stop"]


def test_the_trail_is_amended_by_whole_steps_and_not_too_often() -> None:
    desk, stop = trailing(10.0)
    desk.quote(606_000, 606_002, trade=606_000)
    desk.event(ORDER_AMENDED, stop, 604_182, QTY)
    desk.sent()
    desk.quote(607_000, 607_002, trade=607_000)
    assert 0 == len(desk.sent())  # 5 s are not over
    desk.wait(5 * S)
    desk.quote(607_000, 607_002, trade=607_000)
    assert [607_000 - 1821] == desk.sent()["trigger"].tolist()
    desk.event(ORDER_AMENDED, stop, 605_179, QTY)
    desk.wait(5 * S)
    desk.quote(607_150, 607_152, trade=607_150)  # 2.5 bps higher: less than a step
    assert 0 == len(desk.sent())


@pytest.mark.parametrize(("atr_bps", "distance"), [(1.0, 15.0), (200.0, 150.0), (20.0, 60.0)])
def test_the_trail_is_bounded(atr_bps: float, distance: float) -> None:
    desk, _ = trailing(atr_bps, exits_target_vol_multiple=100.0)
    desk.position()["target"] = 0
    desk.quote(630_000, 630_002, trade=630_000)
    assert [int(630_000 * (1 - distance / 10_000))] == desk.sent()["trigger"].tolist()


def test_the_trail_leaves_room_for_the_fees() -> None:
    desk, _ = protected(**TRAIL)
    desk.core.symbols[0]["features"][FEATURE_INDEX["atr_bps"]] = 10.0
    desk.quote(630_000, 630_002, trade=630_000)
    # 25 bps paid, 40 bps to pay
    assert [int(630_000 * (1 - 65.0 / 10_000))] == desk.sent()["trigger"].tolist()


def test_a_refused_move_keeps_the_old_stop() -> None:
    desk, stop = trailing(10.0)
    desk.quote(606_000, 606_002, trade=606_000)
    desk.event(AMEND_REJECT, stop, aux=REJECT_RATE)
    assert (STOP, QTY) == (desk.order(stop)["trigger"], desk.position()["covered"])
    assert COVER_PROTECTED == desk.position()["coverage"]


def test_a_target_pulls_the_stop_up_below_the_price() -> None:
    desk, stop = protected(**TRAIL | {"exits_target_style": 0})
    desk.position()["target"] = 604_000
    desk.quote(604_000, 604_002, trade=604_000)
    command = desk.sent()[0]
    assert (AMEND, stop, 604_000 - 181, EXIT_TARGET) == (  # 3 bps below
        command["kind"], command["id"], command["trigger"], command["reason"],
    )  # fmt: skip
    assert QTY == desk.position()["covered"]
    desk.event(ORDER_AMENDED, stop, 603_819, QTY)
    desk.event(ORDER_TRIGGERED, stop, 603_819)
    desk.fill_whole(stop, 603_819, QTY, maker=False)
    assert EXIT_TARGET == desk.rows("realized")[0]["exit_reason"]


def test_a_target_sold_at_market_swaps_the_stop_first() -> None:
    desk, stop = protected(exits_target_style=1)
    desk.position()["target"] = 604_000
    desk.quote(604_000, 604_002, trade=604_000)
    assert [(CANCEL, stop, EXIT_TARGET)] == [
        (row["kind"], row["id"], row["reason"]) for row in desk.sent()
    ]
    assert COVER_SWAPPING == desk.position()["coverage"]
    assert desk.position()["uncovered_ts"] > 0
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
    sale = desk.sent()[0]
    assert (ADD, ROLE_EXIT, LIMIT, IOC, QTY) == (
        sale["kind"], sale["role"], sale["type"], sale["tif"], sale["qty"],
    )  # fmt: skip
    assert POSITION_CLOSING == desk.position()["state"]


# --- leaving -----------------------------------------------------------------------------------


def test_a_position_is_left_when_its_time_is_over() -> None:
    desk, stop = protected(exits_time_multiple=3.0)  # 3 x 60 s
    desk.glob["now"] = desk.position()["opened_ts"] + 180 * S - S // 1000 - 1
    desk.quote(BID, ASK)
    assert 0 == len(desk.sent())
    desk.quote(BID, ASK)
    assert [(CANCEL, stop, EXIT_TIME)] == [
        (row["kind"], row["id"], row["reason"]) for row in desk.sent()
    ]


def leaving(**changed: float) -> tuple[OrderDesk, int]:
    """A time exit whose stop is gone; the client id of the sale."""
    desk, stop = protected(**changed)
    desk.glob["now"] = desk.position()["time_exit_ts"]
    desk.quote(BID, ASK)
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
    return desk, int(desk.sent()[-1]["id"])


def test_each_try_goes_further_through_the_book_and_the_last_at_market() -> None:
    desk, sale = leaving(exits_slippage_bps=10.0)
    bounds = [10, 20, 40]
    for bound in bounds:
        order = desk.order(sale)
        assert (LIMIT, 600_000 - 60 * bound) == (order["type"], order["price"])
        desk.event(ORDER_CANCELED, sale, qty=QTY, aux=CANCEL_IOC)
        sale = int(desk.sent()[-1]["id"])
    order = desk.order(sale)
    assert (MARKET, 0, QTY) == (order["type"], order["price"], order["qty"])


def test_what_a_try_left_over_is_tried_again() -> None:
    desk, sale = leaving()
    desk.ack(sale)
    desk.fill(sale, BID, QTY // 4, maker=False)
    desk.event(ORDER_CANCELED, sale, qty=QTY - QTY // 4, aux=CANCEL_IOC)
    again = desk.sent()[-1]
    assert (ROLE_EXIT, QTY - QTY // 4) == (again["role"], again["qty"])
    desk.fill_whole(int(again["id"]), BID, QTY - QTY // 4, maker=False)
    assert [EXIT_TIME] == desk.rows("realized")["exit_reason"].tolist()


def test_a_refused_sale_waits_a_second() -> None:
    desk, sale = leaving()
    desk.event(ORDER_REJECT, sale, aux=REJECT_NO_LIQUIDITY)
    assert 0 == len(desk.sent())
    desk.wait(S)
    desk.quote(BID, ASK)
    assert 1 == len(desk.sent())


def test_too_small_for_a_limit_goes_at_market_and_too_small_for_that_is_dust() -> None:
    desk, sale = leaving()
    desk.event(ORDER_REJECT, sale, aux=REJECT_MINIMUM)
    desk.wait(S)
    desk.quote(BID, ASK)
    last = desk.sent()[-1]
    assert MARKET == last["type"]
    desk.event(ORDER_REJECT, int(last["id"]), aux=REJECT_MINIMUM)
    assert (0, QTY) == (desk.position()["qty"], desk.position()["dust"])


def test_a_rest_below_the_minimum_after_a_sale_is_dust() -> None:
    desk, sale = leaving()
    desk.fill(sale, BID, QTY - 4_000, maker=False)
    desk.event(ORDER_CANCELED, sale, qty=4_000, aux=CANCEL_IOC)
    position = desk.position()
    assert (0, 4_000, POSITION_CLOSED) == (position["qty"], position["dust"], position["state"])
    assert 0 == len(desk.sent())


def test_a_stop_that_fires_while_its_cancel_travels_is_the_exit() -> None:
    desk, stop = protected()
    desk.glob["now"] = desk.position()["time_exit_ts"]
    desk.quote(BID, ASK)
    desk.event(ORDER_TRIGGERED, stop, STOP)
    desk.fill(stop, STOP, QTY, maker=False)
    desk.event(ORDER_FILLED, stop, qty=QTY)
    desk.event(CANCEL_REJECT, stop, aux=REJECT_UNKNOWN_ORDER)
    assert [CANCEL] == desk.sent()["kind"].tolist()
    assert (0, POSITION_CLOSED) == (desk.position()["qty"], desk.position()["state"])
    assert 0 == desk.glob["fault"]


def test_a_working_entry_is_cancelled_before_its_position_is_sold() -> None:
    desk, entry = entered()
    desk.fill(entry, BID, QTY // 2)
    stop = int(desk.sent()[0]["id"])
    desk.ack(stop)
    assert POSITION_OPENING == desk.position()["state"]
    desk.glob["now"] = desk.position()["time_exit_ts"]
    desk.quote(BID, ASK)
    assert {(CANCEL, entry), (CANCEL, stop)} == {(row["kind"], row["id"]) for row in desk.sent()}


def test_emergency_leaves_everything() -> None:
    desk, stop = protected()
    desk.glob["mode"] = MODE_EMERGENCY
    desk.quote(BID, ASK)
    assert [(CANCEL, stop, EXIT_EMERGENCY)] == [
        (row["kind"], row["id"], row["reason"]) for row in desk.sent()
    ]


def test_halt_keeps_the_stop_and_lets_only_an_operator_leave() -> None:
    desk, stop = protected()
    desk.glob["mode"] = MODE_HALT
    desk.glob["now"] = desk.position()["time_exit_ts"]
    desk.quote(BID, ASK)
    assert 0 == len(desk.sent())
    assert COVER_PROTECTED == desk.position()["coverage"]
    request_exit(desk.core, 0, EXIT_OPERATOR, ROLE_FLATTEN)
    desk.quote(BID, ASK)
    assert [(CANCEL, stop)] == [(row["kind"], row["id"]) for row in desk.sent()]
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
    assert [(ADD, ROLE_FLATTEN)] == [(row["kind"], row["role"]) for row in desk.sent()]


def test_a_bare_long_gets_its_stop_even_in_halt() -> None:
    desk, entry = entered()
    desk.glob["mode"] = MODE_HALT
    desk.fill(entry, BID, QTY)
    assert [(ADD, ROLE_PROTECTION)] == [(row["kind"], row["role"]) for row in desk.sent()]


@pytest.mark.parametrize("flatten", [False, True])
def test_after_a_kill_nothing_is_asked_for_until_its_flag_is_taken_away(flatten: bool) -> None:
    desk, stop = protected()
    desk.tell(MODE, WHO_OPERATOR, MODE_HALT, WHY_KILL)
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)  # by the kill switch's own client
    killed_ts = desk.glob["now"]
    if flatten:
        request_exit(desk.core, 0, EXIT_OPERATOR, ROLE_FLATTEN)
    desk.rows("orders")
    n_ids = int(desk.glob["last_order_id"])
    for _ in range(300):
        desk.wait(S)
        desk.manage()
    assert (0, n_ids) == (len(desk.sent()), desk.glob["last_order_id"])
    # The clock of what is bare runs: this is what the alarm is made of.
    assert (0, killed_ts) == (desk.position()["covered"], desk.position()["uncovered_ts"])
    desk.tell(MODE, WHO_OPERATOR, MODE_HALT, WHY_COMMAND)
    desk.manage()
    role = ROLE_FLATTEN if flatten else ROLE_PROTECTION
    assert [(ADD, role)] == [(row["kind"], row["role"]) for row in desk.sent()]


def test_a_fill_after_a_kill_does_not_grow_a_stop_that_still_rests() -> None:
    desk, entry = entered()
    desk.fill(entry, BID, QTY // 4)
    desk.ack(int(desk.sent()[0]["id"]))
    desk.tell(MODE, WHO_OPERATOR, MODE_HALT, WHY_KILL)
    desk.fill(entry, BID, QTY // 4)
    desk.wait(5 * S)
    desk.manage()
    # What takes an entry away may leave; nothing else.
    assert {CANCEL} >= {row["kind"] for row in desk.sent()}


def test_where_no_exit_may_go_the_stop_stays_or_comes_back() -> None:
    desk, stop = protected()
    desk.glob["epoch_status"] = EPOCH_INVALID
    desk.glob["now"] = desk.position()["time_exit_ts"]
    desk.quote(BID, ASK)
    assert 0 == len(desk.sent())
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
    assert [(ADD, ROLE_PROTECTION)] == [(row["kind"], row["role"]) for row in desk.sent()]


def test_an_unverified_book_does_not_take_the_stop_away() -> None:
    desk, stop = protected()
    desk.core.symbols[0]["verified"] = 0
    desk.glob["now"] = desk.position()["time_exit_ts"]
    desk.guard()
    assert 0 == len(desk.sent())
    desk.core.symbols[0]["verified"] = 1
    desk.guard()
    assert [(CANCEL, stop)] == [(row["kind"], row["id"]) for row in desk.sent()]


def test_a_stop_that_the_choke_refuses_is_tried_again_after_a_second() -> None:
    desk, entry = entered()
    desk.core.symbols[0]["instrument"]["status"] = 5  # maintenance
    desk.fill(entry, BID, QTY)
    assert 0 == len(desk.sent())
    refused = desk.rows("orders")[-1]
    assert (ORDER_STATE_REJECTED, ROLE_PROTECTION) == (refused["state"], refused["role"])
    n = len(desk.rows("orders"))
    desk.quote(BID, ASK)
    assert n == len(desk.rows("orders"))
    desk.core.symbols[0]["instrument"]["status"] = 0
    desk.wait(S)
    desk.quote(BID, ASK)
    assert [ROLE_PROTECTION] == desk.sent()["role"].tolist()


def test_positions_walk_through_their_states() -> None:
    desk, entry = entered()
    desk.fill(entry, BID, QTY // 2)
    assert POSITION_OPENING == desk.position()["state"]
    stop = int(desk.sent()[0]["id"])
    desk.ack(stop)
    desk.fill_whole(entry, BID, QTY // 2)
    assert POSITION_OPEN == desk.position()["state"]
    states = desk.rows("positions")["state"].tolist()
    assert [POSITION_OPENING, POSITION_OPEN] == sorted(set(states))


def test_the_mode_returns_to_normal_without_a_trace() -> None:
    desk, _ = protected()
    desk.glob["mode"] = MODE_HALT
    desk.quote(BID, ASK)
    desk.glob["mode"] = MODE_NORMAL
    desk.quote(BID, ASK)
    assert (0, COVER_PROTECTED) == (desk.position()["exit_reason"], desk.position()["coverage"])


# --- the leaves --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vol_bps", "invalidation_bps", "price"),
    [
        (10.0, float("nan"), 99_700),  # 3 x 10 bps of 100,000
        (10.0, 20.0, 99_700),
        (10.0, 40.0, 99_600),
        (1.0, 2.0, 99_850),  # never tighter than 15 bps
        (90.0, 20.0, 98_500),  # never wider than 150 bps
        (float("nan"), 40.0, 99_600),
        (float("nan"), float("nan"), 98_500),  # nothing known: the widest
    ],
)
def test_where_the_stop_goes(vol_bps: float, invalidation_bps: float, price: int) -> None:
    params = OrderDesk().core.params[0]
    assert price == stop_price(params, 100_000.0, vol_bps, invalidation_bps)


@pytest.mark.parametrize(
    ("fees_bps", "vol_bps", "price"),
    [
        (65.0, 9.995, 100_757),  # 65 + 0.2 + 0.5 + 9.995 bps of 100,000, rounded up
        (65.0, 10.005, 100_758),
        (0.0, 0.0, 100_007),
        (65.0, float("nan"), 0),
    ],
)
def test_where_the_target_is(fees_bps: float, vol_bps: float, price: int) -> None:
    params = OrderDesk().core.params[0]
    assert price == target_price(params, 100_000.0, fees_bps, vol_bps, float("nan"))


def test_the_target_pays_for_both_fees() -> None:
    desk = OrderDesk()
    desk.core.symbols[0]["features"][FEATURE_INDEX["vol_bps_1m"]] = 0.0
    desk.hold()
    assert desk.position()["target"] >= BID * (1 + 65e-4)


@pytest.mark.parametrize(("n_tries", "price"), [(0, 99_900), (1, 99_800), (2, 99_600)])
def test_how_far_an_exit_reaches(n_tries: int, price: int) -> None:
    params = OrderDesk(exits_slippage_bps=10.0).core.params[0]
    assert price == exit_limit(params, 100_000, n_tries, 0)


@pytest.mark.parametrize(
    ("horizon_s", "vol_bps"),
    [(10, 1.0), (60, 3.0), (300, 7.0), (150, 4.9497474), (7200, 33.941125)],
)
def test_volatility_over_a_horizon(horizon_s: int, vol_bps: float) -> None:
    """Its own window, or the next longer one scaled by the square root of time."""
    desk = OrderDesk()
    symbol = desk.core.symbols[0]
    for suffix, value in (("10s", 1.0), ("1m", 3.0), ("5m", 7.0), ("15m", 12.0), ("1h", 24.0)):
        symbol["features"][FEATURE_INDEX[f"vol_bps_{suffix}"]] = value
    assert vol_bps == pytest.approx(horizon_vol_bps(symbol, horizon_s * S))


def test_codes_have_names_and_do_not_collide() -> None:
    assert not set(EXIT_NAMES) & set(REASONS)
    assert [0, 1, 2, 3, 4, 5] == sorted(COVER_NAMES)
