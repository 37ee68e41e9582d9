"""What the venue or a person does wrong: how do orders, cover and mode come through it?

One test per fault of the catalogue that the core alone can show; its id stands at the end of the name. The
fault is injected by the order events that a private line would give. Injections without effect fail:
each test looks at what came of it.
"""

from __future__ import annotations

import numpy as np
import pytest

from engine.commands import ADD, AMEND, CANCEL, MARKET, ROLE_EXIT, ROLE_PROTECTION
from engine.core.exits import EXIT_OPERATOR, EXIT_STOP_REFUSED
from engine.core.orderstates import (
    ORDER_STATE_CANCELLED,
    ORDER_STATE_EXPIRED,
    ORDER_STATE_FILLED,
    ORDER_STATE_OPEN,
    ORDER_STATE_PARTIAL,
    ORDER_STATE_REJECTED,
    ORDER_STATE_SUSPECT,
)
from engine.core.protection import COVER_PROTECTED
from engine.core.records import (
    DATA_STALE,
    INSTRUMENT_STATUS,
    OK,
    RECONCILE_PENDING,
    SYMBOL_SAFETY,
)
from engine.core.recoveries import (
    RECOVERY_FOREIGN_ORDER,
    RECOVERY_OPEN_AGAIN,
    RECOVERY_SWITCH_FIRED,
)
from engine.events import (
    CANCEL_ALL,
    CANCEL_PROTECTION,
    CANCEL_REJECT,
    CANCEL_SELF_TRADE,
    CANCEL_USER,
    HEALTH_ABSENT,
    HEALTH_ACCOUNT_SYNCED,
    HEALTH_FOREIGN,
    HEALTH_SWITCH_FIRED,
    INSTRUMENT,
    LAST,
    MAKER,
    MODE,
    MODE_EXIT_ONLY,
    MODE_HALT,
    MODE_NORMAL,
    OPERATOR_FLATTEN,
    ORDER_ACK,
    ORDER_AMENDED,
    ORDER_CANCELED,
    ORDER_EXPIRED,
    ORDER_FEE,
    ORDER_FILL,
    ORDER_FILLED,
    ORDER_REJECT,
    ORDER_TRIGGERED,
    REJECT_DUPLICATE,
    REJECT_FUNDS,
    REJECT_NOT_SENT,
    REJECT_PRICE,
    REJECT_RATE,
    REJECT_UNKNOWN_ORDER,
    SNAPSHOT,
    SYSTEM_STATUS,
    TAKER,
    WHO_OPERATOR,
    WHY_COMMAND,
)
from engine.instruments import (
    STATUS_CANCEL_ONLY,
    STATUS_DELISTED,
    STATUS_LIMIT_ONLY,
    STATUS_MAINTENANCE,
    STATUS_ONLINE,
    STATUS_POST_ONLY,
    STATUS_REDUCE_ONLY,
)
from tests.support.order_desk import ASK, BID, QTY, OrderDesk, S

READ = LAST | SNAPSHOT


def live() -> OrderDesk:
    desk = OrderDesk()
    desk.begin_live()
    return desk


def entered(desk: OrderDesk, acked: bool = True) -> int:
    code, decision = desk.enter()
    assert OK == code
    if acked:
        desk.ack(int(decision["command"]))
    desk.sent()
    return int(decision["command"])


def fill(desk: OrderDesk, order_id: int, lots: int, execution: int, flags: int = MAKER) -> None:
    desk.event(ORDER_FILL, order_id, BID, lots, execution, flags)
    desk.event(ORDER_FEE, order_id, 0, 60, execution, LAST | (flags & SNAPSHOT))


def whole(sent: np.ndarray) -> list[tuple[int, int, int]]:
    return [(int(row["kind"]), int(row["role"]), int(row["qty"])) for row in sent]


# --- the wire ------------------------------------------------------------------------------------


def test_a_gap_in_executions_blocks_entries_until_it_is_read_w02() -> None:
    desk = live()
    entry = entered(desk)
    desk.account_breaks()
    assert RECONCILE_PENDING == desk.enter()[0]
    fill(desk, entry, QTY, 71, SNAPSHOT | MAKER)
    desk.event(ORDER_FILLED, entry, qty=QTY, flags=READ)
    assert [(ADD, ROLE_PROTECTION, QTY)] == whole(desk.sent())  # the stop does not wait
    desk.account_returns()
    desk.reconciled()
    assert 0 == desk.glob["reconcile"]


def test_a_fill_that_only_rest_tells_is_booked_once_and_covered_w03_w05() -> None:
    desk = live()
    entry = entered(desk)
    fill(desk, entry, 6_000, 71, SNAPSHOT | MAKER)
    for flags in (MAKER, SNAPSHOT | MAKER, MAKER):  # the stream, REST again, a second connection
        fill(desk, entry, 6_000, 71, flags)
    assert (6_000, 6_000) == (desk.position()["qty"], desk.order(entry)["filled"])
    assert [(ADD, ROLE_PROTECTION, 6_000)] == whole(desk.sent())


def test_the_same_frame_twice_moves_nothing_w04() -> None:
    desk = live()
    entry = entered(desk)
    fill(desk, entry, 6_000, 71)
    before = desk.core.glob.copy(), desk.position().copy(), desk.order(entry)["state"]
    fill(desk, entry, 6_000, 71)
    for name in ("cash", "realized", "fees", "volume"):
        assert before[0][name][0] == desk.glob[name]
    assert (before[1]["qty"], before[2]) == (desk.position()["qty"], desk.order(entry)["state"])


def test_reordered_reports_end_as_ordered_ones_w06_v14() -> None:
    """Fill, end and fee before the acknowledgement."""
    desk = live()
    entry = entered(desk, acked=False)
    fill(desk, entry, QTY, 71)
    assert ORDER_STATE_PARTIAL == desk.order(entry)["state"]
    assert [(ADD, ROLE_PROTECTION, QTY)] == whole(desk.sent())
    desk.event(ORDER_FILLED, entry, qty=QTY)
    desk.ack(entry)
    assert ORDER_STATE_FILLED == desk.order(entry)["state"]


# --- acknowledgements ----------------------------------------------------------------------------


def test_a_lost_acknowledgement_is_never_sent_again_v11_v13() -> None:
    desk = live()
    entry = entered(desk, acked=False)
    desk.wait(60 * S)
    desk.manage()
    assert ORDER_STATE_SUSPECT == desk.order(entry)["state"]
    for _ in range(5):
        desk.wait(30 * S)
        desk.manage()
    assert {CANCEL} >= {int(row["kind"]) for row in desk.sent()}
    desk.event(ORDER_ACK, entry, BID, QTY, 9, READ)
    assert ORDER_STATE_SUSPECT != desk.order(entry)["state"]


def test_a_lost_refusal_ends_with_the_proof_of_absence_v12_v18() -> None:
    desk = live()
    entry = entered(desk, acked=False)
    desk.fact(HEALTH_ABSENT, entry)  # absent once is no proof, and it is not in doubt yet
    assert ORDER_STATE_REJECTED != desk.order(entry)["state"]
    desk.wait(60 * S)
    desk.manage()
    desk.fact(HEALTH_ABSENT, entry)
    assert (ORDER_STATE_REJECTED, 0) == (desk.order(entry)["state"], desk.position()["entry_slot"])
    assert OK == desk.enter()[0]


def test_a_fill_after_the_cancel_is_booked_and_covered_v15() -> None:
    desk = live()
    entry = entered(desk)
    desk.event(ORDER_CANCELED, entry, qty=QTY, aux=CANCEL_USER)
    fill(desk, entry, 6_000, 71)
    assert ORDER_STATE_CANCELLED == desk.order(entry)["state"]
    assert [(ADD, ROLE_PROTECTION, 6_000)] == whole(desk.sent())


def test_a_partial_fill_before_the_break_grows_the_stop_after_it_v16() -> None:
    desk = live()
    entry = entered(desk)
    fill(desk, entry, 6_000, 71)
    stop = int(desk.sent()[-1]["id"])
    desk.ack(stop)
    desk.account_breaks()
    desk.account_returns(coins=QTY)
    fill(desk, entry, QTY - 6_000, 72, SNAPSHOT | MAKER)
    desk.event(ORDER_FILLED, entry, qty=QTY, flags=READ)
    assert 0 == len(desk.sent())  # the stop is in doubt: a second one could sell twice
    desk.event(ORDER_ACK, stop, int(desk.order(stop)["trigger"]), 6_000, 9, READ)
    assert [(AMEND, ROLE_PROTECTION, QTY)] == whole(desk.sent())
    desk.event(ORDER_AMENDED, stop, int(desk.order(stop)["trigger"]), QTY)
    assert COVER_PROTECTED == desk.position()["coverage"]


def test_a_refused_cancel_of_an_unknown_order_is_read_again_v17() -> None:
    desk = live()
    stop = desk.hold()
    desk.position()["leave"] = 1
    desk.quote(BID, ASK)
    desk.sent()
    desk.event(CANCEL_REJECT, stop, aux=REJECT_UNKNOWN_ORDER)
    assert ORDER_STATE_SUSPECT == desk.order(stop)["state"]
    assert 0 == len(desk.sent())  # not found is not gone: nothing is sold on that
    fill(desk, stop, QTY, 71, SNAPSHOT | TAKER)
    desk.event(ORDER_FILLED, stop, qty=QTY, flags=READ)
    assert (0, ORDER_STATE_FILLED) == (desk.position()["qty"], desk.order(stop)["state"])


def test_a_market_order_that_was_never_open_is_settled_by_its_trades_v19() -> None:
    desk = live()
    stop = desk.hold()
    desk.position()["leave"] = 1
    desk.position()["n_exit_tries"] = 9
    desk.quote(BID, ASK)
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
    sale = desk.sent()[-1]
    assert MARKET == sale["type"]
    desk.account_breaks()
    fill(desk, int(sale["id"]), QTY, 71, SNAPSHOT | TAKER)
    desk.event(ORDER_FILLED, int(sale["id"]), qty=QTY, flags=READ)
    assert (0, ORDER_STATE_FILLED) == (desk.position()["qty"], desk.order(int(sale["id"]))["state"])


def test_an_end_that_forgets_the_trades_is_not_believed_v20() -> None:
    desk = live()
    entry = entered(desk)
    fill(desk, entry, 6_000, 71)
    desk.event(ORDER_CANCELED, entry, qty=QTY, aux=CANCEL_USER)  # "nothing was filled"
    assert (ORDER_STATE_SUSPECT, 6_000) == (desk.order(entry)["state"], desk.position()["qty"])
    desk.event(ORDER_CANCELED, entry, qty=QTY - 6_000, aux=CANCEL_USER, flags=READ)
    assert ORDER_STATE_CANCELLED == desk.order(entry)["state"]


# --- states of venue and pair --------------------------------------------------------------------


@pytest.mark.parametrize("status", [STATUS_CANCEL_ONLY, STATUS_MAINTENANCE])
def test_the_venue_closes_and_opens_again_v22_v23(status: int) -> None:
    desk = live()
    entry = entered(desk)
    desk.tell(SYSTEM_STATUS, 0, status)
    assert INSTRUMENT_STATUS == desk.enter(sym=0)[0]
    desk.position()["leave"] = 1
    desk.guard()
    desk.tell(SYSTEM_STATUS, 0, STATUS_ONLINE)
    desk.guard()
    assert {CANCEL} >= {int(row["kind"]) for row in desk.sent()}
    desk.event(ORDER_CANCELED, entry, qty=QTY, aux=CANCEL_USER)
    desk.guard()
    assert OK == desk.enter()[0]


@pytest.mark.parametrize(
    ("pair", "system", "expected"),
    [
        (STATUS_ONLINE, STATUS_POST_ONLY, STATUS_POST_ONLY),
        (STATUS_LIMIT_ONLY, STATUS_POST_ONLY, STATUS_POST_ONLY),
        (STATUS_LIMIT_ONLY, STATUS_ONLINE, STATUS_LIMIT_ONLY),
        (STATUS_REDUCE_ONLY, STATUS_POST_ONLY, STATUS_REDUCE_ONLY),
        (STATUS_DELISTED, STATUS_MAINTENANCE, STATUS_DELISTED),
        (STATUS_LIMIT_ONLY, STATUS_CANCEL_ONLY, STATUS_CANCEL_ONLY),
    ],
)
def test_the_stricter_of_pair_and_venue_holds_and_neither_forgets_the_other_v25(
    pair: int, system: int, expected: int
) -> None:
    desk = live()
    desk.tell(INSTRUMENT, 0, pair, sym=0)
    desk.tell(SYSTEM_STATUS, 0, system)
    assert expected == desk.core.symbols[0]["instrument"]["status"]
    desk.tell(SYSTEM_STATUS, 0, STATUS_ONLINE)
    assert pair == desk.core.symbols[0]["instrument"]["status"]


def test_a_pair_that_is_gone_with_a_position_is_shown_bare_and_not_hammered_v31() -> None:
    desk = live()
    stop = desk.hold()
    desk.tell(INSTRUMENT, 0, STATUS_DELISTED, sym=0)
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
    desk.sent()
    rows = len(desk.rows("orders"))
    for _ in range(100):
        desk.wait(S // 10)
        desk.guard()
    assert 0 == len(desk.sent())
    assert desk.position()["uncovered_ts"] > 0
    assert len(desk.rows("orders")) - rows <= 22  # a try a second, each on record
    desk.tell(INSTRUMENT, 0, STATUS_ONLINE, sym=0)
    desk.wait(S)
    desk.guard()
    assert 1 == len(desk.sent())


def test_a_book_that_stands_still_takes_no_entries_and_no_amends_i21() -> None:
    desk = live()
    desk.core.symbols[0]["book_ts"] = desk.glob["now"]
    assert OK == desk.enter()[0]
    desk.position()["entry_slot"] = 0
    desk.wait(11 * S)
    assert DATA_STALE == desk.enter()[0]


# --- the switch ----------------------------------------------------------------------------------


def test_the_switch_took_the_stops_protection_comes_first_v26_v27() -> None:
    desk = live()
    stop = desk.hold()
    desk.sent()
    desk.fact(HEALTH_SWITCH_FIRED, aux=1)
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_ALL)
    again = desk.sent()
    assert [(ADD, ROLE_PROTECTION, QTY)] == whole(again)
    desk.ack(int(again[0]["id"]))
    assert COVER_PROTECTED == desk.position()["coverage"]
    assert 1 == desk.glob["reconcile"]
    rows = desk.rows("recoveries")
    assert RECOVERY_SWITCH_FIRED in rows["recovery"]
    desk.coins(QTY)
    desk.money(int(desk.glob["cash"]))
    desk.reconciled()
    assert (0, 0) == (desk.glob["reconcile"], desk.glob["switch_fired"])


# --- orders that go another way ------------------------------------------------------------------


def test_a_sale_that_the_venue_stops_half_way_is_finished_v29() -> None:
    desk = live()
    stop = desk.hold()
    desk.position()["leave"] = 1
    desk.quote(BID, ASK)
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
    first = int(desk.sent()[-1]["id"])
    desk.ack(first)
    fill(desk, first, 400_000, 71, TAKER)
    desk.event(ORDER_CANCELED, first, qty=QTY - 400_000, aux=CANCEL_PROTECTION)
    desk.quote(BID, ASK)
    assert [QTY - 400_000] == [int(row["qty"]) for row in desk.sent() if row["kind"] == ADD]


@pytest.mark.parametrize("reason", [REJECT_PRICE, REJECT_FUNDS])
def test_a_stop_that_is_refused_twice_leaves_and_blocks_the_symbol_v35(reason: int) -> None:
    desk = live()
    entry = entered(desk)
    fill(desk, entry, QTY, 71)
    desk.event(ORDER_FILLED, entry, qty=QTY)
    for _ in range(2):
        desk.event(ORDER_REJECT, int(desk.sent()[-1]["id"]), aux=reason)
    sale = desk.sent()[-1]
    assert (ROLE_EXIT, EXIT_STOP_REFUSED) == (sale["role"], sale["reason"])
    assert SYMBOL_SAFETY == desk.position()["safety"]


def test_a_stop_that_never_left_is_no_refusal_and_is_not_asked_in_a_circle() -> None:
    desk = live()
    entry = entered(desk)
    fill(desk, entry, QTY, 71)
    desk.event(ORDER_FILLED, entry, qty=QTY)
    n = 0
    for _ in range(40):
        for command in desk.sent():
            n += 1
            desk.event(ORDER_REJECT, int(command["id"]), aux=REJECT_NOT_SENT)
        desk.wait(S // 10)
        desk.guard()
    assert 3 <= n <= 6
    assert (0, 0) == (desk.position()["n_refused"], desk.position()["exit_reason"])


def test_a_sale_that_never_left_does_not_count_as_a_try() -> None:
    desk = live()
    stop = desk.hold()
    desk.position()["leave"] = 1
    desk.quote(BID, ASK)
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
    for _ in range(6):
        for command in desk.sent():
            assert MARKET != command["type"]
            desk.event(ORDER_REJECT, int(command["id"]), aux=REJECT_NOT_SENT)
        desk.wait(2 * S)
        desk.quote(BID, ASK)
    assert 0 == desk.position()["n_exit_tries"]


@pytest.mark.parametrize("reason", [REJECT_NOT_SENT, REJECT_RATE])
def test_a_refused_cancel_of_an_order_in_doubt_proves_nothing(reason: int) -> None:
    desk = live()
    entry = entered(desk)
    desk.account_breaks()
    desk.wait(20 * S)
    desk.manage()
    assert [CANCEL] == [int(row["kind"]) for row in desk.sent()]
    desk.event(CANCEL_REJECT, entry, aux=reason)
    assert ORDER_STATE_SUSPECT == desk.order(entry)["state"]


def test_self_trade_prevention_ends_our_entry_quietly_v36() -> None:
    desk = live()
    entry = entered(desk)
    desk.event(ORDER_CANCELED, entry, qty=QTY, aux=CANCEL_SELF_TRADE)
    assert ORDER_STATE_CANCELLED == desk.order(entry)["state"]
    assert (MODE_NORMAL, OK) == (desk.glob["mode"], desk.enter()[0])


def test_an_amend_that_crosses_a_fill_is_no_overfill_v37() -> None:
    """The stop fires while the amend to more lots travels: the total is absolute."""
    desk = live()
    entry = entered(desk)
    fill(desk, entry, 600_000, 71)
    stop = int(desk.sent()[-1]["id"])
    desk.ack(stop)
    fill(desk, entry, QTY - 600_000, 72)
    assert [(AMEND, ROLE_PROTECTION, QTY)] == whole(desk.sent())
    desk.event(ORDER_TRIGGERED, stop, BID - 1_200)
    fill(desk, stop, QTY, 73, TAKER)  # the venue had amended; its word comes later
    desk.event(ORDER_FILLED, stop, qty=QTY)
    assert (0, MODE_NORMAL) == (desk.position()["qty"], desk.glob["mode"])
    assert ORDER_STATE_FILLED == desk.order(stop)["state"]


def test_a_duplicate_client_id_stops_entries_v38() -> None:
    desk = live()
    entry = entered(desk, acked=False)
    desk.event(ORDER_REJECT, entry, aux=REJECT_DUPLICATE)
    assert MODE_EXIT_ONLY == desk.glob["mode"]


def test_a_window_that_ended_while_nobody_looked_starts_nothing_v41() -> None:
    desk = OrderDesk(orders_taker_fallback=1)
    desk.begin_live()
    entry = entered(desk)
    desk.position()["edge_now_ts"] = desk.glob["now"]
    desk.position()["edge_now_bps"] = desk.position()["edge_take_bps"] = 500.0
    desk.account_breaks()
    desk.event(ORDER_EXPIRED, entry, qty=QTY, flags=READ)
    assert ORDER_STATE_EXPIRED == desk.order(entry)["state"]
    desk.manage()
    assert 0 == len(desk.sent())


def test_an_overfill_is_booked_covered_and_halts_v42() -> None:
    desk = live()
    entry = entered(desk)
    fill(desk, entry, QTY + 5_000, 71)
    assert (QTY + 5_000, MODE_HALT) == (desk.position()["qty"], desk.glob["mode"])
    assert [(ADD, ROLE_PROTECTION, QTY + 5_000)] == whole(desk.sent())


def test_rewards_are_foreign_and_stay_so_v43() -> None:
    desk = live()
    desk.hold()
    desk.coins(QTY + 321)
    desk.money(int(desk.glob["cash"]))
    desk.settle(6 * S)
    assert (321, QTY) == (desk.position()["foreign"], desk.position()["qty"])
    assert COVER_PROTECTED == desk.position()["coverage"]
    assert 0 == len([row for row in desk.sent() if row["kind"] == AMEND])


# --- people --------------------------------------------------------------------------------------


def test_a_stop_removed_by_hand_is_placed_again_in_the_same_step_h01() -> None:
    desk = live()
    stop = desk.hold()
    desk.sent()
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
    again = desk.sent()
    assert [(ADD, ROLE_PROTECTION, QTY)] == whole(again)
    desk.ack(int(again[0]["id"]))
    assert (COVER_PROTECTED, 0) == (desk.position()["coverage"], desk.position()["exit_reason"])


def test_orders_of_others_are_on_record_and_never_touched_h02() -> None:
    desk = live()
    before = desk.core.orders.copy()
    desk.fact(HEALTH_FOREIGN, aux=4711, qty=50, sym=0)
    row = desk.rows("recoveries")[-1]
    assert (RECOVERY_FOREIGN_ORDER, 4711, 50) == (row["recovery"], row["order"], row["value"])
    assert before.tobytes() == desk.core.orders.tobytes()
    fill(desk, -9, 50, 71)
    assert (0, OK) == (desk.position()["qty"], desk.enter()[0])


def test_withdrawn_coins_shrink_the_stop_h08() -> None:
    desk = live()
    stop = desk.hold()
    desk.money(int(desk.glob["cash"]))
    desk.coins(QTY // 2)
    desk.settle(6 * S)
    assert [(AMEND, ROLE_PROTECTION, QTY // 2)] == whole(desk.sent()[-1:])
    desk.event(ORDER_AMENDED, stop, int(desk.order(stop)["trigger"]), QTY // 2)
    assert COVER_PROTECTED == desk.position()["coverage"]


def test_an_order_that_ended_here_and_rests_there_is_a_persons_business_i22() -> None:
    desk = live()
    entry = entered(desk, acked=False)
    desk.account_breaks()
    desk.fact(HEALTH_ABSENT, entry)
    desk.event(ORDER_ACK, entry, BID, QTY, 9, READ)
    desk.coins(0)
    desk.money(int(desk.glob["cash"]))
    desk.fact(HEALTH_ACCOUNT_SYNCED)
    desk.reconciled()
    assert (MODE_EXIT_ONLY, 0) == (desk.glob["mode"], desk.glob["reconcile"])
    assert RECOVERY_OPEN_AGAIN in desk.rows("recoveries")["recovery"]


def test_an_operator_leaves_with_an_entry_that_is_still_under_way() -> None:
    """Flatten before the acknowledgement: whatever it still buys is sold, in HALT as well."""
    desk = live()
    entry = entered(desk, acked=False)
    desk.tell(MODE, WHO_OPERATOR, MODE_HALT, WHY_COMMAND)
    desk.operator(OPERATOR_FLATTEN)
    assert 0 == len(desk.sent())
    desk.ack(entry)
    assert [CANCEL] == [int(row["kind"]) for row in desk.sent()]
    fill(desk, entry, 600_000, 71)
    desk.event(ORDER_CANCELED, entry, qty=QTY - 600_000, aux=CANCEL_USER)
    sale = desk.sent()[-1]
    assert (EXIT_OPERATOR, 600_000, -1) == (sale["reason"], sale["qty"], sale["side"])
    fill(desk, int(sale["id"]), 600_000, 72, TAKER)
    desk.event(ORDER_FILLED, int(sale["id"]), qty=600_000)
    desk.guard()
    assert (0, 0) == (desk.position()["qty"], desk.position()["leave"])
    assert ORDER_STATE_OPEN not in desk.core.orders["state"]
