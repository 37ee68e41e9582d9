"""A stop that follows at the venue: what is asked for, what is made of the answers, and what is not."""

import numpy as np
import pytest

from engine.commands import (
    ADD,
    AMEND,
    CANCEL,
    GTC,
    ROLE_EXIT,
    ROLE_PROTECTION,
    STOP_LOSS,
    TRAILING_STOP,
)
from engine.core.columns import FEATURE_INDEX
from engine.core.exits import EXIT_STOP, EXIT_TARGET, EXIT_TRAIL
from engine.core.protection import COVER_AMENDING, COVER_PROTECTED
from engine.core.recoveries import RECOVERY_TRAIL_FIXED, RECOVERY_TRAIL_OFF
from engine.events import (
    AMEND_REJECT,
    CANCEL_USER,
    LAST,
    MODE_HALT,
    ORDER_ACK,
    ORDER_AMENDED,
    ORDER_CANCELED,
    ORDER_REJECT,
    ORDER_TRAILED,
    ORDER_TRIGGERED,
    REJECT_FUNDS,
    REJECT_NOT_SENT,
    REJECT_RATE,
    REJECT_UNSUPPORTED,
    SNAPSHOT,
)
from tests.support.order_desk import ASK, BID, QTY, OrderDesk, S

STOP = BID - 1200  # 20 bps of invalidation below 60,000.0
GAP = ASK - STOP  # the venue counts from the last trade, which is at the ask
NATIVE = {
    "exits_trail_native": 1,
    "exits_trail_start_bps": 20.0,
    "exits_trail_atr_multiple": 3.0,
    "exits_trail_min_bps": 5.0,
    "exits_trail_max_bps": 150.0,
    "exits_trail_step_bps": 3.0,
    "exits_trail_interval_ns": 5 * S,
}


def entered(**changed: float) -> tuple[OrderDesk, int]:
    """An acknowledged entry of a desk that trails at the venue; nothing bought yet."""
    desk = OrderDesk(**NATIVE | changed)
    _, decision = desk.enter()
    desk.ack(int(decision["command"]))
    desk.sent()
    return desk, int(decision["command"])


def rest(desk: OrderDesk, stop: int, trigger: int = STOP, distance: int = GAP) -> None:
    """The venue opens a trailing stop and says where it stands, in one message."""
    desk.event(ORDER_ACK, stop, distance, QTY, 1000 + stop, guard=False)
    desk.wait(-S // 1000)
    desk.event(ORDER_TRAILED, stop, trigger, aux=distance)


def held(**changed: float) -> tuple[OrderDesk, int]:
    """A whole position under a trailing stop that rests; the client id of the stop."""
    desk, entry = entered(**changed)
    desk.core.symbols[0]["features"][FEATURE_INDEX["atr_bps"]] = 3.0
    desk.fill_whole(entry, BID, QTY)
    stop = int(desk.sent()[-1]["id"])
    rest(desk, stop)
    desk.position()["fees"] = 0  # no floor under the distance
    desk.core.params[0]["fee_taker_e6"][0] = 0
    assert 0 == len(desk.sent())
    return desk, stop


def recoveries(desk: OrderDesk) -> list[tuple[int, int, int]]:
    return [(int(r["recovery"]), int(r["order"]), int(r["value"])) for r in desk.rows("recoveries")]


# --- the first order -----------------------------------------------------------------------------


def test_off_by_default_the_stop_is_the_plain_one() -> None:
    desk = OrderDesk()
    stop = desk.hold()
    assert STOP_LOSS == desk.order(stop)["type"]
    assert 0 == desk.core.params[0]["exits_trail_native"]


def test_a_fill_asks_for_a_trailing_stop_at_the_place_of_the_plain_one() -> None:
    desk, entry = entered()
    desk.fill(entry, BID, QTY)
    command = desk.sent()[0]
    assert (ADD, ROLE_PROTECTION, -1, TRAILING_STOP, GTC) == (
        command["kind"], command["role"], command["side"], command["type"], command["tif"],
    )  # fmt: skip
    assert (QTY, GAP, STOP, EXIT_STOP) == (
        command["qty"], command["price"], command["trigger"], command["reason"],
    )  # fmt: skip
    rest(desk, int(command["id"]))
    assert (COVER_PROTECTED, QTY) == (desk.position()["coverage"], desk.position()["covered"])


@pytest.mark.parametrize("last", [0, STOP - 10, STOP])
def test_where_the_last_trade_is_no_place_to_count_from_the_plain_stop_is_sent(last: int) -> None:
    desk, entry = entered()
    desk.core.symbols[0]["trade_price"] = last
    desk.fill(entry, BID, QTY)
    command = desk.sent()[0]
    assert (STOP_LOSS, 0) == (command["type"], command["price"])


def test_more_fills_grow_the_same_stop_and_leave_its_distance() -> None:
    desk, entry = entered()
    desk.fill(entry, BID, QTY // 4)
    stop = int(desk.sent()[0]["id"])
    desk.fill(entry, BID, QTY // 4)
    assert 0 == len(desk.sent())  # the first answer is owed
    rest(desk, stop)
    command = desk.sent()[0]
    assert (AMEND, stop, QTY // 2, 0, 0) == (
        command["kind"], command["id"], command["qty"], command["price"], command["trigger"],
    )  # fmt: skip
    assert (COVER_AMENDING, QTY // 4) == (desk.position()["coverage"], desk.position()["covered"])
    desk.event(ORDER_AMENDED, stop, GAP, QTY // 2)
    order = desk.order(stop)
    assert (GAP, STOP, QTY // 2) == (order["price"], order["trigger"], order["qty"])
    assert COVER_PROTECTED == desk.position()["coverage"]


# --- following -----------------------------------------------------------------------------------


def test_the_core_knows_where_the_stop_stands_from_the_trades_it_hears() -> None:
    desk, stop = held()
    desk.quote(BID + 500, ASK + 500, trade=ASK + 500)
    assert (STOP + 500, GAP) == (desk.order(stop)["trigger"], desk.order(stop)["price"])
    assert (STOP + 500, EXIT_TRAIL) == (desk.position()["stop"], desk.position()["stop_reason"])
    desk.quote(BID, ASK, trade=BID)  # never back
    assert STOP + 500 == desk.order(stop)["trigger"] == desk.position()["stop"]
    assert 0 == len(desk.sent())  # nobody amends


def test_what_the_venue_tells_counts_where_it_is_higher_and_after_a_gap_alone() -> None:
    desk, stop = held()
    desk.event(ORDER_TRAILED, stop, STOP + 300, aux=GAP)  # a trade that we did not hear
    assert STOP + 300 == desk.order(stop)["trigger"] == desk.position()["stop"]
    desk.event(ORDER_TRAILED, stop, STOP + 100, aux=GAP)  # late
    assert STOP + 300 == desk.order(stop)["trigger"]
    desk.event(ORDER_TRAILED, stop, STOP + 200, aux=GAP - 50, flags=SNAPSHOT | LAST)
    assert (STOP + 200, GAP - 50) == (desk.order(stop)["trigger"], desk.order(stop)["price"])


def test_a_trail_that_begins_is_one_amend_of_the_distance() -> None:
    desk, stop = held()
    desk.quote(BID + 1199, ASK + 1199, trade=ASK + 1199)  # 19.98 bps
    assert 0 == len(desk.sent())
    desk.quote(BID + 1800, ASK + 1800, trade=ASK + 1800)
    command = desk.sent()[0]
    # 9 bps of the best bid, 541.62, rounded up; and the bid stands two ticks below the trade
    wanted = BID + 1800 - 542
    assert (AMEND, stop, wanted, ASK + 1800 - wanted, QTY, EXIT_TRAIL) == (
        command["kind"], command["id"], command["trigger"], command["price"], command["qty"],
        command["reason"],
    )  # fmt: skip
    desk.event(ORDER_AMENDED, stop, 544, QTY)
    assert (wanted, 544) == (desk.order(stop)["trigger"], desk.order(stop)["price"])
    desk.wait(60 * S)
    desk.core.symbols[0]["features"][FEATURE_INDEX["atr_bps"]] = 2.0
    for up in (2_000, 4_000, 9_000):
        desk.quote(BID + up, ASK + up, trade=ASK + up)
        assert ASK + up - 544 == desk.order(stop)["trigger"]
    assert 0 == len(desk.sent())  # from here on it is the venue's work


def test_a_trail_wider_than_the_stop_leaves_it_where_it_is() -> None:
    desk, stop = held()
    desk.core.symbols[0]["features"][FEATURE_INDEX["atr_bps"]] = 30.0  # 90 bps, the stop has 20
    desk.quote(BID + 1800, ASK + 1800, trade=ASK + 1800)
    assert 0 == len(desk.sent())
    assert (1, GAP) == (desk.position()["trail_armed"], desk.position()["trail_gap"])
    assert (STOP + 1800, GAP) == (desk.order(stop)["trigger"], desk.order(stop)["price"])


def test_an_amend_that_does_not_repeat_the_distance_means_what_was_asked() -> None:
    desk, stop = held()
    desk.quote(BID + 1800, ASK + 1800, trade=ASK + 1800)
    desk.sent()
    desk.event(ORDER_AMENDED, stop, 0, QTY)
    assert (BID + 1800 - 542, 544) == (desk.order(stop)["trigger"], desk.order(stop)["price"])


def test_a_bid_that_nobody_traded_at_does_not_pull_the_stop_up_twice() -> None:
    desk, stop = held()
    desk.quote(BID + 1800, ASK + 1800, trade=ASK + 1800)
    desk.event(ORDER_AMENDED, stop, 544, QTY)
    desk.sent()
    desk.wait(60 * S)
    desk.quote(BID + 3000, ASK + 3000)  # quotes move, no trade
    assert 0 == len(desk.sent())
    desk.quote(BID + 3000, ASK + 3000, trade=ASK + 3000)
    assert 0 == len(desk.sent())
    assert ASK + 3000 - 544 == desk.order(stop)["trigger"]


def test_a_stale_trade_far_above_the_bid_is_no_peak_to_keep_a_distance_from() -> None:
    """Then the stop is moved by amends, as a plain one would be, until trades are up there again."""
    desk, entry = entered()
    desk.core.symbols[0]["features"][FEATURE_INDEX["atr_bps"]] = 3.0
    desk.core.symbols[0]["trade_price"] = BID + 20_000
    desk.fill_whole(entry, BID, QTY)
    command = desk.sent()[0]
    assert (TRAILING_STOP, STOP) == (command["type"], command["trigger"])
    stop = int(command["id"])
    rest(desk, stop, STOP, BID + 20_000 - STOP)
    desk.position()["fees"] = 0
    desk.core.params[0]["fee_taker_e6"][0] = 0
    desk.quote(BID + 1800, ASK + 1800, trade=ASK + 1800)
    command = desk.sent()[0]
    assert (AMEND, BID + 1800 - 542) == (command["kind"], command["trigger"])
    assert BID + 20_000 - command["trigger"] == command["price"]


def test_the_target_pulls_the_stop_below_the_trading_price_at_once() -> None:
    desk, _ = held(exits_trail_start_bps=10_000.0, exits_trail_interval_ns=3600 * S)
    target = BID + 2000
    desk.position()["target"] = target
    desk.position()["trail_ts"] = desk.glob["now"]
    desk.quote(target, target + 2, trade=target + 2)
    command = desk.sent()[0]
    step = (target * 3) // 10_000
    assert (AMEND, target - step, EXIT_TARGET) == (
        command["kind"], command["trigger"], command["reason"],
    )  # fmt: skip
    assert target + 2 - (target - step) == command["price"]


def test_it_is_never_asked_to_stand_at_or_above_the_last_trade_or_the_bid() -> None:
    desk, _ = held(exits_trail_start_bps=10_000.0, exits_trail_step_bps=0.0)
    desk.quote(BID + 3000, ASK + 3000, trade=ASK + 3000)
    desk.position()["target"] = BID + 2500
    desk.quote(BID + 2500, ASK + 2500, trade=BID + 2400)  # it fell since, and is above the target
    command = desk.sent()[0]
    assert (BID + 2400 - 1, ASK + 3000 - (BID + 2399)) == (command["trigger"], command["price"])


def test_a_fired_trailing_stop_closes_the_position_as_a_trail() -> None:
    desk, stop = held()
    desk.quote(BID + 500, ASK + 500, trade=ASK + 500)
    desk.event(ORDER_TRIGGERED, stop, STOP + 500)
    desk.fill_whole(stop, STOP + 499, QTY, maker=False)
    assert EXIT_TRAIL == desk.rows("realized")[0]["exit_reason"]
    assert 0 == len(desk.sent())


def test_fired_where_it_was_put_it_is_the_stop() -> None:
    desk, stop = held()
    desk.event(ORDER_TRIGGERED, stop, STOP)
    desk.fill_whole(stop, STOP - 1, QTY, maker=False)
    assert EXIT_STOP == desk.rows("realized")[0]["exit_reason"]


def test_in_halt_nothing_is_amended_and_the_stop_follows_all_the_same() -> None:
    desk, stop = held()
    desk.glob["mode"] = MODE_HALT
    desk.quote(BID + 1800, ASK + 1800, trade=ASK + 1800)
    assert 0 == len(desk.sent())
    assert STOP + 1800 == desk.order(stop)["trigger"]


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [REJECT_UNSUPPORTED, REJECT_FUNDS])
def test_a_refused_trailing_stop_is_a_plain_one_in_the_same_step_and_a_row_says_so(
    reason: int,
) -> None:
    desk, entry = entered()
    desk.fill_whole(entry, BID, QTY)
    first = int(desk.sent()[0]["id"])
    desk.event(ORDER_REJECT, first, aux=reason)
    command = desk.sent()[0]
    assert (ADD, STOP_LOSS, STOP, 0, QTY) == (
        command["kind"], command["type"], command["trigger"], command["price"], command["qty"],
    )  # fmt: skip
    assert [(RECOVERY_TRAIL_OFF, first, reason)] == recoveries(desk)
    assert 0 == desk.position()["n_refused"]
    desk.ack(int(command["id"]))
    assert COVER_PROTECTED == desk.position()["coverage"]
    desk.event(ORDER_CANCELED, int(command["id"]), qty=QTY, aux=CANCEL_USER)
    assert [STOP_LOSS] == desk.sent()["type"].tolist()  # for the rest of the trip


def test_a_trailing_stop_that_never_left_is_asked_for_again() -> None:
    desk, entry = entered()
    desk.fill_whole(entry, BID, QTY)
    desk.event(ORDER_REJECT, int(desk.sent()[0]["id"]), aux=REJECT_NOT_SENT)
    desk.wait(S)
    desk.quote(BID, ASK)
    assert [TRAILING_STOP] == desk.sent()["type"].tolist()
    assert [] == recoveries(desk)


def test_a_venue_that_takes_no_other_distance_keeps_the_one_it_has() -> None:
    desk, stop = held()
    desk.quote(BID + 1800, ASK + 1800, trade=ASK + 1800)
    for _ in range(2):
        assert [AMEND] == desk.sent()["kind"].tolist()
        desk.event(AMEND_REJECT, stop, aux=REJECT_UNSUPPORTED)
        assert (COVER_PROTECTED, GAP) == (desk.position()["coverage"], desk.order(stop)["price"])
        desk.wait(6 * S)
        desk.quote(BID + 1800, ASK + 1800, trade=ASK + 1800)
    assert 0 == len(desk.sent())
    assert [(RECOVERY_TRAIL_FIXED, stop, REJECT_UNSUPPORTED)] == recoveries(desk)
    # A target that it cannot be pulled up to is sold.
    desk.position()["target"] = BID + 2000
    desk.quote(BID + 2000, ASK + 2000, trade=ASK + 2000)
    assert [CANCEL] == desk.sent()["kind"].tolist()
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
    sale = desk.sent()[0]
    assert (ROLE_EXIT, EXIT_TARGET) == (sale["role"], sale["reason"])


def test_a_full_rate_counter_is_no_refusal_of_the_distance() -> None:
    desk, stop = held()
    desk.quote(BID + 1800, ASK + 1800, trade=ASK + 1800)
    for _ in range(3):
        assert [AMEND] == desk.sent()["kind"].tolist()
        desk.event(AMEND_REJECT, stop, aux=REJECT_RATE)
        desk.wait(6 * S)
        desk.quote(BID + 1800, ASK + 1800, trade=ASK + 1800)
    assert [] == recoveries(desk)


def test_the_first_word_on_it_counts_though_it_comes_after_the_acknowledgement() -> None:
    """Each answer has a latency of its own. The market fell before the stop arrived: it stands lower."""
    desk, entry = entered()
    desk.fill_whole(entry, BID, QTY)
    stop = int(desk.sent()[-1]["id"])
    desk.quote(BID - 400, ASK - 400, trade=ASK - 400)
    desk.event(ORDER_ACK, stop, GAP, QTY, 1000 + stop)
    desk.wait(S // 10)
    desk.event(ORDER_TRAILED, stop, STOP - 400, aux=GAP)
    assert STOP - 400 == desk.order(stop)["trigger"]
    assert 1 == np.count_nonzero(desk.rows("orders")["trigger"] == STOP - 400)
    desk.event(ORDER_TRAILED, stop, STOP - 500, aux=GAP)  # from then on only what is higher
    assert STOP - 400 == desk.order(stop)["trigger"]


def test_what_one_order_was_refused_is_nothing_to_the_one_after_it() -> None:
    desk, stop = held()
    desk.position()["trail_refused"] = 2
    desk.quote(BID + 500, ASK + 500, trade=ASK + 500)
    desk.quote(BID, ASK, trade=ASK)
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
    plain = int(desk.sent()[0]["id"])
    desk.ack(plain)
    target = int(desk.position()["target"]) or BID + 3_000
    desk.position()["target"] = target
    desk.wait(60 * S)
    desk.quote(target, target + 2, trade=target + 2)
    command = desk.sent()[0]
    # The plain stop is pulled up to the target; nothing is sold at market because of the old one.
    assert (AMEND, plain, EXIT_TARGET) == (command["kind"], command["id"], command["reason"])


# --- gone and come back --------------------------------------------------------------------------


def test_taken_away_at_its_peak_it_is_placed_again_as_it_was() -> None:
    desk, stop = held()
    desk.quote(BID + 500, ASK + 500, trade=ASK + 500)
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
    command = desk.sent()[0]
    assert (TRAILING_STOP, STOP + 500, GAP) == (
        command["type"], command["trigger"], command["price"],
    )  # fmt: skip
    assert desk.position()["uncovered_ts"] > 0


def test_taken_away_below_its_peak_the_plain_one_takes_its_place() -> None:
    """A trailing one would stand right only at a shorter distance, and keep it for ever."""
    desk, stop = held()
    desk.quote(BID + 500, ASK + 500, trade=ASK + 500)
    desk.quote(BID, ASK, trade=ASK)
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
    command = desk.sent()[0]
    assert (STOP_LOSS, STOP + 500) == (command["type"], command["trigger"])


def test_an_amend_in_doubt_ends_with_the_distance_that_the_venue_shows() -> None:
    for shown in (GAP, 544):
        desk, stop = held(orders_reply_timeout_ns=2 * S)
        desk.quote(BID + 1800, ASK + 1800, trade=ASK + 1800)
        desk.sent()
        desk.wait(3 * S)
        desk.quote(BID + 1800, ASK + 1800)
        desk.event(ORDER_ACK, stop, shown, QTY, 1000 + stop, SNAPSHOT | LAST)
        desk.event(ORDER_TRAILED, stop, ASK + 1900 - shown, aux=shown, flags=SNAPSHOT | LAST)
        order = desk.order(stop)
        assert (shown, ASK + 1900 - shown) == (order["price"], order["trigger"])
        assert COVER_PROTECTED == desk.position()["coverage"]


def test_never_two_sells_and_never_more_than_is_held() -> None:
    """Whatever is asked, one order at a time claims the coins."""
    desk, stop = held()
    for up in range(0, 9_000, 300):
        desk.quote(BID + up, ASK + up, trade=ASK + up)
        for command in desk.sent():
            assert (AMEND, stop, QTY) == (command["kind"], command["id"], command["qty"])
            desk.event(ORDER_AMENDED, stop, int(command["price"]), QTY)
        sells = [o for o in desk.core.orders if o["id"] > 0 and o["ts_done"] == 0]
        assert 1 == len(sells)
        assert QTY == sells[0]["qty"]
    assert 0 == np.count_nonzero(desk.rows("positions")["unprotected_ns"] > 10_000_000)
