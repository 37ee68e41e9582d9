"""The life of an order: every state meets every event, fills count once, nothing is inferred."""

import numpy as np
import pytest

from engine.commands import ROLE_ENTRY, ROLE_EXIT, ROLE_PROTECTION
from engine.core import orders
from engine.core.faults import FAULT_ORDER
from engine.core.orders import N_ENTRY_SLOTS, N_ORDERS, free_slot
from engine.core.orderstates import (
    ORDER_STATE_AMEND_PENDING,
    ORDER_STATE_CANCEL_PENDING,
    ORDER_STATE_CANCELLED,
    ORDER_STATE_EXPIRED,
    ORDER_STATE_FILLED,
    ORDER_STATE_JOURNALED,
    ORDER_STATE_NAMES,
    ORDER_STATE_OPEN,
    ORDER_STATE_PARTIAL,
    ORDER_STATE_SENT,
    ORDER_STATE_SUSPECT,
    TRANSITIONS,
    is_coverage,
)
from engine.events import (
    AMEND_REJECT,
    CANCEL_REJECT,
    CANCEL_USER,
    LAST,
    MAKER,
    MODE_HALT,
    ORDER_ACK,
    ORDER_AMENDED,
    ORDER_CANCELED,
    ORDER_EXPIRED,
    ORDER_FEE,
    ORDER_FILL,
    ORDER_FILLED,
    ORDER_PENDING,
    ORDER_REJECT,
    ORDER_SENT,
    ORDER_TRAILED,
    ORDER_TRIGGERED,
    REJECT_FUNDS,
    REJECT_RATE,
    REJECT_UNKNOWN_ORDER,
    SNAPSHOT,
)
from tests.naive import orders as naive
from tests.support.order_desk import BID, OrderDesk, S

KINDS = {
    "sent": ORDER_SENT,
    "pending": ORDER_PENDING,
    "ack": ORDER_ACK,
    "filled": ORDER_FILLED,
    "canceled": ORDER_CANCELED,
    "expired": ORDER_EXPIRED,
    "reject": ORDER_REJECT,
    "triggered": ORDER_TRIGGERED,
    "amended": ORDER_AMENDED,
    "cancel_reject": CANCEL_REJECT,
    "amend_reject": AMEND_REJECT,
    "trailed": ORDER_TRAILED,
}
CODES = {name: code for code, name in ORDER_STATE_NAMES.items()}
QTY = 1_000_000


def placed(state: str, filled: int) -> tuple[OrderDesk, int]:
    """A desk with one buy in `state`, of which `filled` lots are done."""
    desk = OrderDesk()
    order_id = desk.place(0, 1, QTY, ROLE_ENTRY, CODES[state])
    order = desk.order(order_id)
    order["filled"] = filled
    if state in naive.TERMINAL:
        order["ts_done"] = desk.glob["now"]
    return desk, order_id


def tell(desk: OrderDesk, order_id: int, event: str) -> None:
    """One event whose quantities agree with what we know."""
    order = desk.order(order_id)
    leaves = int(order["qty"] - order["filled"])
    if event == "fill":
        desk.fill(order_id, BID, 1000)
        return
    qty = {"filled": int(order["filled"]), "canceled": leaves, "expired": leaves}.get(event, QTY)
    aux = {"reject": REJECT_FUNDS, "canceled": CANCEL_USER}.get(event, REJECT_RATE)
    desk.event(KINDS[event], order_id, BID, qty, aux, guard=False)


def test_the_states_are_the_thirteen_of_the_inventory() -> None:
    assert naive.STATES == tuple(ORDER_STATE_NAMES[code] for code in range(1, 14))


def test_the_table_of_transitions_is_the_one_in_words() -> None:
    found = {
        ORDER_STATE_NAMES[state]: {ORDER_STATE_NAMES[code] for code in nexts}
        for state, nexts in TRANSITIONS.items()
    }
    assert naive.MAY_GO_TO == found


@pytest.mark.parametrize("filled", [0, 2000])
@pytest.mark.parametrize("state", naive.STATES)
def test_every_state_meets_every_event_as_the_matrix_says(state: str, filled: int) -> None:
    for event in naive.EVENTS:
        desk, order_id = placed(state, filled)
        tell(desk, order_id, event)
        order = desk.order(order_id)

        expected = naive.after(state, event, int(order["filled"]))
        assert expected == ORDER_STATE_NAMES[int(order["state"])], (state, event)
        rows = desk.rows("orders")
        if expected != state:
            assert [CODES[state]] == rows["state_before"].tolist(), (state, event)
            assert [CODES[expected]] == rows["state"].tolist(), (state, event)
            assert expected in naive.MAY_GO_TO[state] | {"suspect"}
        assert (expected in naive.TERMINAL) == (order["ts_done"] > 0)


@pytest.mark.parametrize("state", ["open", "amend_pending", "cancel_pending"])
def test_a_stop_that_fired_may_be_refused(state: str) -> None:
    desk, order_id = placed(state, 0)
    tell(desk, order_id, "triggered")
    tell(desk, order_id, "reject")
    assert CODES["rejected"] == desk.order(order_id)["state"]


@pytest.mark.parametrize("state", ["amend_pending", "cancel_pending"])
@pytest.mark.parametrize("kind", [AMEND_REJECT, CANCEL_REJECT])
def test_an_unknown_order_is_in_doubt_and_not_gone(state: str, kind: int) -> None:
    desk, order_id = placed(state, 0)
    desk.event(kind, order_id, aux=REJECT_UNKNOWN_ORDER, guard=False)
    assert ORDER_STATE_SUSPECT == desk.order(order_id)["state"]


@pytest.mark.parametrize(
    ("kind", "reported"),
    [(ORDER_FILLED, QTY), (ORDER_CANCELED, QTY), (ORDER_EXPIRED, QTY - 1001)],
)
def test_an_end_that_counts_other_lots_than_we_do_is_not_believed(kind: int, reported: int) -> None:
    desk, order_id = placed("partial", 1000)
    desk.event(kind, order_id, qty=reported, guard=False)
    assert ORDER_STATE_SUSPECT == desk.order(order_id)["state"]
    assert 0 == desk.order(order_id)["ts_done"]


def test_a_fill_of_everything_does_not_complete_the_order() -> None:
    desk, order_id = placed("open", 0)
    desk.fill(order_id, BID, QTY)
    assert ORDER_STATE_PARTIAL == desk.order(order_id)["state"]
    desk.event(ORDER_FILLED, order_id, qty=QTY, guard=False)
    assert ORDER_STATE_FILLED == desk.order(order_id)["state"]


def test_a_fill_before_the_acknowledgement_counts_and_the_acknowledgement_keeps_its_time() -> None:
    desk, order_id = placed("sent", 0)
    desk.fill(order_id, BID, 1000)
    assert (1000, 0) == (desk.order(order_id)["filled"], desk.order(order_id)["ts_acked"])
    desk.ack(order_id)
    order = desk.order(order_id)
    assert ORDER_STATE_PARTIAL == order["state"]
    assert desk.glob["now"] == order["ts_acked"]
    assert 1000 + order_id == order["venue_key"]
    last = desk.rows("orders")[-1]
    assert (ORDER_ACK, order["ts_acked"]) == (last["cause"], last["ts_acked"])


def test_a_fill_and_its_fee_are_booked_together() -> None:
    desk, order_id = placed("open", 0)
    cash = int(desk.glob["cash"])
    desk.event(ORDER_FILL, order_id, BID, 1000, aux=7, flags=MAKER)
    assert (cash, 0) == (desk.glob["cash"], desk.position()["qty"])
    desk.event(ORDER_FEE, order_id, qty=150, aux=7)
    # 1000 lots of 1e-8 BTC at 60,000.0 USD are 0.6 USD
    assert (cash - 60_000_000 - 150, 1000) == (desk.glob["cash"], desk.position()["qty"])


def test_an_execution_id_counts_once() -> None:
    desk, order_id = placed("open", 0)
    for _ in range(3):
        desk.event(ORDER_FILL, order_id, BID, 1000, aux=7, flags=MAKER)
        desk.event(ORDER_FEE, order_id, qty=150, aux=7)
    order = desk.order(order_id)
    assert (1000, 4) == (order["filled"], order["n_duplicates"])
    assert (1000, 1) == (desk.position()["qty"], len(desk.rows("fills")))


def test_a_repeated_fill_before_its_fee_counts_once() -> None:
    desk, order_id = placed("open", 0)
    desk.event(ORDER_FILL, order_id, BID, 1000, aux=7, flags=MAKER)
    desk.event(ORDER_FILL, order_id, BID, 1000, aux=7, flags=MAKER)
    desk.event(ORDER_FEE, order_id, qty=150, aux=7)
    assert (1000, 150) == (desk.position()["qty"], desk.glob["fees"])


def test_the_last_fifty_executions_sent_again_are_known() -> None:
    """RELIABILITY 0.5: a reconnect snapshot holds 50 fills."""
    desk, order_id = placed("open", 0)
    for execution in range(1, 101):
        desk.event(ORDER_FILL, order_id, BID, 100, aux=execution, flags=MAKER)
        desk.event(ORDER_FEE, order_id, qty=15, aux=execution)
    for execution in range(51, 101):
        desk.event(ORDER_FILL, order_id, BID, 100, aux=execution, flags=MAKER | SNAPSHOT)
        desk.event(ORDER_FEE, order_id, qty=15, aux=execution, flags=LAST | SNAPSHOT)
    assert (10_000, 1500) == (desk.order(order_id)["filled"], desk.glob["fees"])


@pytest.mark.parametrize("event", ["fill", "ack", "filled"])
def test_a_fill_whose_fee_is_lost_is_booked_and_the_order_is_in_doubt(event: str) -> None:
    desk, order_id = placed("sent", 0)
    desk.event(ORDER_FILL, order_id, BID, 1000, aux=7, flags=MAKER, guard=False)
    if event == "fill":
        desk.event(ORDER_FILL, order_id, BID, 500, aux=8, flags=MAKER, guard=False)
    else:
        qty = 1000 if event == "filled" else 0
        desk.event(KINDS[event], order_id, qty=qty, guard=False)
    assert ORDER_STATE_SUSPECT == desk.order(order_id)["state"]
    assert (1000, 0) == (desk.order(order_id)["filled"], desk.glob["fees"])


def test_a_fee_without_its_fill_is_not_booked_and_the_order_is_in_doubt() -> None:
    desk, order_id = placed("open", 0)
    cash = int(desk.glob["cash"])
    desk.event(ORDER_FEE, order_id, qty=150, aux=7, guard=False)
    assert (cash, ORDER_STATE_SUSPECT) == (desk.glob["cash"], desk.order(order_id)["state"])


def test_a_late_fill_corrects_the_ledger_and_does_not_reopen_the_order() -> None:
    desk, order_id = placed("open", 0)
    desk.event(ORDER_CANCELED, order_id, qty=QTY, aux=CANCEL_USER)
    desk.fill(order_id, BID, 10_000)
    order = desk.order(order_id)
    assert (ORDER_STATE_CANCELLED, 10_000) == (order["state"], order["filled"])
    assert 10_000 == desk.position()["qty"]
    assert [ORDER_STATE_CANCELLED] * 2 == desk.rows("orders")[:2]["state"].tolist()


def test_more_filled_than_ordered_is_booked_and_halts_the_engine() -> None:
    """I-05: the ledger follows the venue, mode becomes halted."""
    desk, order_id = placed("open", 0)
    desk.fill(order_id, BID, QTY + 1)
    assert (QTY + 1, MODE_HALT) == (desk.position()["qty"], desk.glob["mode"])


def test_orders_of_others_change_nothing() -> None:
    desk, _ = placed("open", 0)
    before = desk.core.glob.tobytes()
    now = int(desk.glob["now"])
    desk.event(ORDER_FILL, 99, BID, 1000, aux=7, flags=MAKER, guard=False)
    desk.glob["now"] = now
    assert before == desk.core.glob.tobytes()


@pytest.mark.parametrize(("flags", "fault"), [(MAKER, FAULT_ORDER), (MAKER | SNAPSHOT, 0)])
def test_a_fill_of_an_order_of_ours_that_left_the_table_stops_the_run(
    flags: int, fault: int
) -> None:
    desk = OrderDesk()
    desk.glob["last_order_id"] = 50
    desk.event(ORDER_FILL, 7, BID, 1000, aux=7, flags=flags, guard=False)
    assert fault == desk.glob["fault"]


def test_an_overdue_answer_makes_the_order_suspect() -> None:
    desk = OrderDesk(orders_reply_timeout_ns=10 * S)
    _, decision = desk.enter()
    desk.wait(10 * S)
    desk.manage()
    assert ORDER_STATE_JOURNALED == desk.order(int(decision["command"]))["state"]
    desk.wait(1)
    desk.manage()
    order = desk.order(int(decision["command"]))
    assert ORDER_STATE_CANCEL_PENDING == order["state"] or ORDER_STATE_SUSPECT == order["state"]
    assert ORDER_STATE_SUSPECT in desk.rows("orders")["state"]


def test_times_of_the_stages_are_kept() -> None:
    desk = OrderDesk()
    _, decision = desk.enter()
    order_id = int(decision["command"])
    decided = int(desk.glob["now"])
    desk.event(ORDER_SENT, order_id)
    sent = int(desk.glob["now"])
    assert ORDER_STATE_SENT == desk.order(order_id)["state"]
    desk.ack(order_id)
    acked = int(desk.glob["now"])
    desk.fill(order_id, BID, 10_000)
    filled = int(desk.glob["now"])
    row = desk.rows("orders")[desk.rows("orders")["id"] == order_id][-1]
    assert (decided, sent, acked, filled) == (
        row["ts_decided"], row["ts_sent"], row["ts_acked"], row["ts_filled"],
    )  # fmt: skip


def test_an_amend_in_flight_is_forgotten_with_its_answer() -> None:
    desk, order_id = placed("amend_pending", 0)
    desk.order(order_id)["amend_qty"] = 2 * QTY
    desk.event(AMEND_REJECT, order_id, aux=REJECT_RATE, guard=False)
    order = desk.order(order_id)
    assert (0, QTY, ORDER_STATE_OPEN) == (order["amend_qty"], order["qty"], order["state"])


def test_an_amended_order_has_the_venues_numbers() -> None:
    desk, order_id = placed("amend_pending", 0)
    desk.event(ORDER_AMENDED, order_id, BID + 3, 2 * QTY, guard=False)
    order = desk.order(order_id)
    assert (BID + 3, 2 * QTY) == (order["price"], order["qty"])
    assert desk.glob["now"] == order["ts_touched"]


def test_entries_leave_the_reserved_slots_alone() -> None:
    table = np.zeros(N_ORDERS, orders.ORDER)
    table["id"] = 1
    assert -1 == free_slot(table, ROLE_ENTRY)
    table["id"][N_ENTRY_SLOTS:] = 0
    assert -1 == free_slot(table, ROLE_ENTRY)
    assert N_ORDERS - 1 == free_slot(table, ROLE_PROTECTION)
    table["id"][N_ENTRY_SLOTS:] = 1
    table["ts_done"][5], table["ts_done"][9] = 20, 10
    # the one that ended longest ago goes first, so that late fills still find the others
    assert 9 == free_slot(table, ROLE_ENTRY)
    assert 9 == free_slot(table, ROLE_EXIT)


def test_only_confirmed_stops_cover() -> None:
    """MODULES 10: OPEN, PARTIAL and AMEND_PENDING count, SENT and PENDING_NEW are only asked for."""
    covering = {code for code in ORDER_STATE_NAMES if is_coverage(code)}
    assert {ORDER_STATE_OPEN, ORDER_STATE_PARTIAL, ORDER_STATE_AMEND_PENDING} == covering


def test_a_refused_cancel_waits_before_it_is_asked_again() -> None:
    desk = OrderDesk()
    _, decision = desk.enter()
    order_id = int(decision["command"])
    desk.ack(order_id)
    desk.core.symbols[0]["verified"] = 0
    desk.manage()
    desk.event(CANCEL_REJECT, order_id, aux=REJECT_RATE)
    desk.sent()
    desk.manage()
    assert 0 == len(desk.sent())
    desk.wait(S)
    desk.manage()
    assert 1 == len(desk.sent())


def test_an_order_that_ended_makes_room() -> None:
    desk = OrderDesk(risk_open_orders_max=64)
    for _ in range(3 * N_ENTRY_SLOTS):
        desk.wait(60 * S)
        code, decision = desk.enter()
        assert 0 == code
        order_id = int(decision["command"])
        desk.ack(order_id)
        desk.event(ORDER_EXPIRED, order_id, qty=int(desk.order(order_id)["qty"]))
        assert ORDER_STATE_EXPIRED == desk.order(order_id)["state"]
        desk.drain()
