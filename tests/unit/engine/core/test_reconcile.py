"""What becomes of orders in doubt, and of balances that are not what our books say?

Expected values come from the venue's side, written here by hand: what it holds, what it filled.
"""

from dataclasses import replace

import pytest

from engine.commands import ADD, AMEND, CANCEL, MARKET, ROLE_FLATTEN, ROLE_PROTECTION
from engine.core.exits import EXIT_GHOST, EXIT_OPERATOR
from engine.core.orderstates import (
    ORDER_STATE_CANCELLED,
    ORDER_STATE_FILLED,
    ORDER_STATE_OPEN,
    ORDER_STATE_PARTIAL,
    ORDER_STATE_PENDING_NEW,
    ORDER_STATE_REJECTED,
    ORDER_STATE_SUSPECT,
)
from engine.core.positions import POSITION_CLOSED
from engine.core.protection import COVER_PROTECTED
from engine.core.records import BALANCE_DIFFERS, OK, RECONCILE_PENDING
from engine.core.recoveries import (
    RECOVERY_ADOPTED,
    RECOVERY_CASH,
    RECOVERY_CASH_ACCEPTED,
    RECOVERY_DIFFERS,
    RECOVERY_FOREIGN,
    RECOVERY_HISTORY,
    RECOVERY_NAMES,
    RECOVERY_NOT_ABSENT,
    RECOVERY_NOT_SYNCED,
    RECOVERY_OPEN_DOUBT,
    RECOVERY_RECONCILED,
    RECOVERY_SHORT,
    RECOVERY_WRITTEN_OFF,
)
from engine.events import (
    HEALTH_ABSENT,
    HEALTH_ACCOUNT_ALIVE,
    HEALTH_SUSPECT,
    LAST,
    MAKER,
    MODE_EXIT_ONLY,
    MODE_HALT,
    MODE_NORMAL,
    OPERATOR_RELEASE_SYMBOL,
    ORDER_ACK,
    ORDER_AMENDED,
    ORDER_CANCELED,
    ORDER_FEE,
    ORDER_FILL,
    ORDER_FILLED,
    ORDER_PENDING,
    ORDER_REJECT,
    REJECT_ABSENT,
    REJECT_FUNDS,
    SNAPSHOT,
)
from tests.support.order_desk import ASK, BID, BTC, QTY, USD, OrderDesk, S

CASH = 10_000 * USD
SETTLE = 6 * S  # longer than reconcile.settle_ns
CENT = USD // 100


def codes(desk: OrderDesk) -> list[str]:
    return [RECOVERY_NAMES[int(row["recovery"])] for row in desk.rows("recoveries")]


def row_of(desk: OrderDesk, code: int) -> tuple[int, int, int]:
    rows = [row for row in desk.rows("recoveries") if row["recovery"] == code]
    return int(rows[-1]["sym"]), int(rows[-1]["value"]), int(rows[-1]["expected"])


def books_add_up(desk: OrderDesk) -> None:
    position = desk.position()
    cost = int(position["cost"] + position["dust_cost"])
    assert CASH == desk.glob["cash"] + cost - desk.glob["realized"]


# --- pending -------------------------------------------------------------------------------------


def test_a_lost_account_puts_every_order_in_doubt_and_stops_entries() -> None:
    desk = OrderDesk([BTC, replace(BTC, symbol="ETH/USD")])
    stop = desk.hold()
    _, decision = desk.enter(sym=1)
    entry = int(decision["command"])
    desk.account_breaks()
    assert [ORDER_STATE_SUSPECT] * 2 == [desk.order(stop)["state"], desk.order(entry)["state"]]
    assert 1 == desk.glob["reconcile"]
    desk.account_returns()
    for order_id in (stop, entry):
        price = int(desk.order(order_id)["trigger"] or desk.order(order_id)["price"])
        desk.event(ORDER_ACK, order_id, price, QTY, aux=9, flags=LAST | SNAPSHOT)
    assert [ORDER_STATE_OPEN] * 2 == [desk.order(stop)["state"], desk.order(entry)["state"]]
    assert COVER_PROTECTED == desk.position()["coverage"]
    assert RECONCILE_PENDING == desk.enter(sym=0)[0]
    desk.reconciled()
    assert 0 == desk.glob["reconcile"]


def test_a_reconcile_with_an_order_in_doubt_stays_pending_and_says_which() -> None:
    desk = OrderDesk()
    _, decision = desk.enter()
    desk.begin_live()
    assert 1 == desk.glob["reconcile"]
    assert MODE_EXIT_ONLY == desk.glob["mode"]
    doubt = [row for row in desk.rows("recoveries") if row["recovery"] == RECOVERY_OPEN_DOUBT]
    assert [int(decision["command"])] == [int(row["order"]) for row in doubt]
    # Evidence later ends it by itself: nobody has to ask again.
    desk.event(ORDER_ACK, int(decision["command"]), BID, QTY, 9, LAST | SNAPSHOT)
    desk.settle(S)
    assert (0, MODE_NORMAL) == (desk.glob["reconcile"], desk.glob["mode"])


def test_a_reconcile_before_the_stream_is_whole_ends_nothing() -> None:
    desk = OrderDesk()
    desk.account_breaks()
    desk.reconciled()
    assert 1 == desk.glob["reconcile"]
    assert RECOVERY_NAMES[RECOVERY_NOT_SYNCED] in codes(desk)


def test_the_first_clean_reconcile_releases_the_start_and_nothing_else() -> None:
    desk = OrderDesk()
    desk.begin_live()
    assert (0, MODE_NORMAL) == (desk.glob["reconcile"], desk.glob["mode"])
    assert OK == desk.enter()[0]

    halted = OrderDesk()
    halted.glob["mode"] = MODE_HALT
    halted.begin_live()
    assert (0, MODE_HALT) == (halted.glob["reconcile"], halted.glob["mode"])


def test_a_position_that_is_left_waits_for_the_reconcile_then_gets_its_stop_back() -> None:
    desk = OrderDesk()
    desk.begin_live()
    stop = desk.hold()
    desk.position()["leave"] = 1
    desk.quote(BID, ASK)
    assert [CANCEL] == [int(row["kind"]) for row in desk.sent()]
    desk.account_breaks()
    desk.account_returns()
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=1, flags=LAST | SNAPSHOT)
    desk.sent()
    desk.quote(BID, ASK)
    assert 0 == len(desk.sent())  # neither a sale nor a stop: soon it is known what is there
    desk.wait(4 * S)
    desk.quote(BID, ASK)
    sent = desk.sent()
    assert [(ADD, ROLE_PROTECTION)] == [(int(row["kind"]), int(row["role"])) for row in sent]
    desk.ack(int(sent[0]["id"]))
    assert COVER_PROTECTED == desk.position()["coverage"]
    desk.reconciled()
    desk.quote(BID, ASK)
    assert [CANCEL] == [int(row["kind"]) for row in desk.sent()]
    desk.event(ORDER_CANCELED, int(sent[0]["id"]), qty=QTY, aux=1)
    sale = desk.sent()[-1]
    assert (ROLE_FLATTEN, EXIT_OPERATOR) == (sale["role"], sale["reason"])


def test_no_second_sale_while_one_is_in_doubt() -> None:
    desk = OrderDesk()
    desk.begin_live()
    stop = desk.hold()
    desk.position()["leave"] = 1
    desk.quote(BID, ASK)
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=1)
    sale = desk.sent()[-1]
    assert ROLE_FLATTEN == sale["role"]
    desk.account_breaks()
    desk.account_returns()
    for _ in range(40):
        desk.wait(S)
        desk.quote(BID, ASK)
    assert {CANCEL} >= {int(row["kind"]) for row in desk.sent()}


def test_an_outage_sells_nothing_because_cover_was_in_doubt() -> None:
    desk = OrderDesk()
    desk.begin_live()
    stop = desk.hold()
    desk.sent()
    desk.account_breaks()
    desk.wait(60 * S)
    desk.quote(BID, ASK)
    desk.account_returns()
    desk.event(ORDER_ACK, stop, int(desk.order(stop)["trigger"]), QTY, 9, LAST | SNAPSHOT)
    desk.reconciled()
    desk.quote(BID, ASK)
    assert 0 == len(desk.sent())
    assert 0 == desk.position()["exit_reason"]
    assert desk.position()["unprotected_ns"] >= 60 * S  # it is counted all the same


def test_a_stop_that_was_lost_in_the_outage_is_placed_anew_without_selling() -> None:
    desk = OrderDesk()
    desk.begin_live()
    stop = desk.hold()
    desk.sent()
    desk.account_breaks()
    desk.wait(60 * S)
    desk.guard()
    desk.account_returns()
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=1, flags=LAST | SNAPSHOT)
    again = desk.sent()
    assert [(ADD, ROLE_PROTECTION)] == [(int(row["kind"]), int(row["role"])) for row in again]
    desk.reconciled()
    desk.wait(S)
    desk.quote(BID, ASK)
    assert 0 == desk.position()["exit_reason"]


# --- the table, for rows that were read back -----------------------------------------------------


def test_a_fill_before_the_acknowledgement_is_counted_once_over_two_sources() -> None:
    desk = OrderDesk()
    _, decision = desk.enter()
    entry = int(decision["command"])
    desk.account_breaks()
    for _ in range(2):  # from the stream's snapshot, and from REST
        desk.event(ORDER_FILL, entry, BID, 4_000, 71, MAKER | SNAPSHOT)
        desk.event(ORDER_FEE, entry, 0, 60, 71, LAST | SNAPSHOT)
    assert ORDER_STATE_PARTIAL == desk.order(entry)["state"]
    desk.event(ORDER_PENDING, entry, BID, QTY, 9, LAST | SNAPSHOT)
    assert ORDER_STATE_PARTIAL == desk.order(entry)["state"]
    desk.event(ORDER_ACK, entry, BID, QTY, 9, LAST | SNAPSHOT)
    assert (ORDER_STATE_PARTIAL, 4_000) == (desk.order(entry)["state"], desk.position()["qty"])
    books_add_up(desk)


@pytest.mark.parametrize("kind", [ORDER_PENDING, ORDER_ACK])
def test_an_order_in_doubt_that_is_there_goes_on(kind: int) -> None:
    desk = OrderDesk()
    _, decision = desk.enter()
    entry = int(decision["command"])
    desk.account_breaks()
    desk.event(kind, entry, BID, QTY, 9, LAST | SNAPSHOT)
    expected = ORDER_STATE_PENDING_NEW if kind == ORDER_PENDING else ORDER_STATE_OPEN
    assert expected == desk.order(entry)["state"]


def test_what_ended_in_the_outage_ends_with_its_fills() -> None:
    desk = OrderDesk()
    desk.begin_live()
    stop = desk.hold()
    trigger = int(desk.order(stop)["trigger"])
    desk.account_breaks()
    desk.event(ORDER_FILL, stop, trigger, QTY, 71, SNAPSHOT)
    desk.event(ORDER_FEE, stop, 0, 100, 71, LAST | SNAPSHOT)
    desk.event(ORDER_FILLED, stop, qty=QTY, flags=LAST | SNAPSHOT)
    assert (ORDER_STATE_FILLED, 0) == (desk.order(stop)["state"], desk.position()["qty"])
    desk.account_returns()
    desk.reconciled()
    assert 0 == desk.glob["reconcile"]
    books_add_up(desk)


def test_a_fill_after_the_cancel_is_booked_and_covered() -> None:
    desk = OrderDesk()
    _, decision = desk.enter()
    entry = int(decision["command"])
    desk.ack(entry)
    desk.event(ORDER_CANCELED, entry, qty=QTY, aux=1)
    desk.sent()
    desk.event(ORDER_FILL, entry, BID, 5_000, 71, MAKER | SNAPSHOT)
    desk.event(ORDER_FEE, entry, 0, 60, 71, LAST | SNAPSHOT)
    assert (ORDER_STATE_CANCELLED, 5_000) == (desk.order(entry)["state"], desk.position()["qty"])
    stop = desk.sent()[-1]
    assert (ROLE_PROTECTION, 5_000) == (stop["role"], stop["qty"])


def test_a_fill_of_an_order_that_left_the_table_is_a_row_and_no_fault() -> None:
    desk = OrderDesk()
    desk.glob["last_order_id"] = 900
    desk.event(ORDER_FILL, 7, BID, 5_000, 71, MAKER | SNAPSHOT)
    desk.event(ORDER_FEE, 7, 0, 60, 71, LAST | SNAPSHOT)
    assert 0 == desk.glob["fault"] == desk.position()["qty"]
    assert [RECOVERY_NAMES[RECOVERY_HISTORY]] == codes(desk)


def test_the_snapshot_says_what_an_amend_in_doubt_came_to() -> None:
    desk = OrderDesk()
    desk.begin_live()
    stop = desk.hold()
    desk.quote(BID + 30_000, BID + 30_002, trade=BID + 30_000)
    moved = desk.sent()[-1]
    assert AMEND == moved["kind"]
    desk.account_breaks()
    desk.event(ORDER_ACK, stop, int(moved["trigger"]), QTY, 9, LAST | SNAPSHOT, guard=False)
    order = desk.order(stop)
    assert (ORDER_STATE_OPEN, int(moved["trigger"])) == (order["state"], order["trigger"])


def test_an_amend_in_doubt_that_was_carried_out_is_no_overfill() -> None:
    desk = OrderDesk()
    desk.begin_live()
    stop = desk.hold()
    trigger = int(desk.order(stop)["trigger"])
    entry = int(desk.core.orders[0]["id"])
    desk.event(ORDER_FILL, entry, BID, 5_000, 71, MAKER)  # a late fill: the stop grows by amend
    desk.event(ORDER_FEE, entry, 0, 60, 71)
    desk.glob["mode"] = MODE_NORMAL  # the entry's own overfill is not what is asked here
    assert (AMEND, QTY + 5_000) == (desk.sent()[-1]["kind"], desk.core.commands[2]["qty"])
    desk.account_breaks()
    desk.event(ORDER_FILL, stop, trigger, QTY + 5_000, 72, SNAPSHOT)
    desk.event(ORDER_FEE, stop, 0, 100, 72, LAST | SNAPSHOT)
    desk.event(ORDER_FILLED, stop, qty=QTY + 5_000, flags=LAST | SNAPSHOT)
    assert (ORDER_STATE_FILLED, MODE_NORMAL) == (desk.order(stop)["state"], desk.glob["mode"])
    assert 0 == desk.position()["qty"]


def test_an_amend_in_doubt_may_show_in_how_the_order_ended() -> None:
    desk = OrderDesk()
    desk.begin_live()
    stop = desk.hold()
    desk.core.orders[[int(each) for each in desk.core.orders["id"]].index(stop)]["amend_qty"] = 300
    desk.account_breaks()
    desk.event(ORDER_CANCELED, stop, qty=300, aux=1, flags=LAST | SNAPSHOT)
    assert ORDER_STATE_CANCELLED == desk.order(stop)["state"]


# --- one order in doubt --------------------------------------------------------------------------


def test_the_shell_may_doubt_one_order() -> None:
    desk = OrderDesk()
    stop = desk.hold()
    desk.fact(HEALTH_SUSPECT, stop, 2, sym=0)
    assert ORDER_STATE_SUSPECT == desk.order(stop)["state"]
    assert 0 == desk.glob["reconcile"]
    desk.fact(HEALTH_SUSPECT, 4711, 2)  # nobody's
    desk.fact(HEALTH_SUSPECT, -5, 2)


def test_doubt_about_an_order_that_ended_asks_for_a_reconcile() -> None:
    desk = OrderDesk()
    desk.hold()
    entry = int(desk.core.orders[0]["id"])
    assert ORDER_STATE_FILLED == desk.order(entry)["state"]
    desk.fact(HEALTH_SUSPECT, entry, 3)
    assert (ORDER_STATE_FILLED, 1) == (desk.order(entry)["state"], desk.glob["reconcile"])


def test_an_absent_order_ends_only_in_doubt_and_without_fills() -> None:
    desk = OrderDesk()
    _, decision = desk.enter()
    entry = int(decision["command"])
    desk.fact(HEALTH_ABSENT, entry)
    assert ORDER_STATE_SUSPECT != desk.order(entry)["state"] != ORDER_STATE_REJECTED
    desk.account_breaks()
    desk.fact(HEALTH_ABSENT, entry)
    assert ORDER_STATE_REJECTED == desk.order(entry)["state"]
    assert (REJECT_ABSENT, 0) == (desk.order(entry)["reason"], desk.position()["entry_slot"])
    assert 0 == desk.glob["cash_held"]

    filled = OrderDesk()
    _, decision = filled.enter()
    entry = int(decision["command"])
    filled.fill(entry, BID, 5_000)
    filled.account_breaks()
    filled.fact(HEALTH_ABSENT, entry)
    assert ORDER_STATE_SUSPECT == filled.order(entry)["state"]
    assert RECOVERY_NAMES[RECOVERY_NOT_ABSENT] in codes(filled)


# --- balances ------------------------------------------------------------------------------------


def live(**changed: float) -> OrderDesk:
    desk = OrderDesk(**changed)
    desk.begin_live()
    return desk


def refuse_all(desk: OrderDesk) -> int:
    """The venue lacks the coins for any sale: how many were asked for."""
    n = 0
    while len(sent := desk.sent()):
        for command in sent:
            n += 1
            desk.event(ORDER_REJECT, int(command["id"]), aux=REJECT_FUNDS)
    return n


def test_what_was_there_before_us_is_foreign() -> None:
    desk = OrderDesk()
    desk.begin_live(coins=123, cash=CASH + 7 * USD)
    assert (123, 7 * USD) == (desk.position()["foreign"], desk.glob["foreign_cash"])
    assert (0, 123, 0) == row_of(desk, RECOVERY_ADOPTED)
    assert MODE_NORMAL == desk.glob["mode"]
    assert OK == desk.enter()[0]


def test_less_money_than_the_profile_says_keeps_the_start_mode() -> None:
    desk = OrderDesk()
    desk.begin_live(cash=CASH - USD)
    desk.settle(SETTLE)
    desk.settle(S)
    assert (MODE_EXIT_ONLY, 0) == (desk.glob["mode"], desk.glob["reconcile"])
    assert (-1, CASH - USD, CASH) == row_of(desk, RECOVERY_CASH)


def test_coins_that_lag_behind_a_fill_are_no_difference() -> None:
    desk = live()
    desk.hold()
    for _ in range(4):
        desk.settle(S)
    assert OK == desk.position()["safety"]
    assert 0 == desk.position()["short"]
    desk.coins(QTY)
    desk.money(int(desk.glob["cash"]))
    desk.settle(20 * S)
    assert (0, 0) == (desk.position()["short"], desk.position()["differs_ts"])
    assert 0 == desk.glob["cash_differs"]


def test_more_coins_become_foreign_once_they_stay() -> None:
    desk = live()
    desk.hold()
    desk.money(int(desk.glob["cash"]))
    desk.coins(QTY + 777)
    assert 0 == desk.position()["foreign"]
    desk.settle(SETTLE)
    assert 777 == desk.position()["foreign"]
    assert (0, 777, 0) == row_of(desk, RECOVERY_FOREIGN)
    desk.coins(QTY)  # and are sold again by the same other hands
    desk.settle(SETTLE)
    assert (0, 0) == (desk.position()["foreign"], desk.position()["short"])


def test_a_balance_that_waits_to_be_read_while_we_stand_still_is_no_difference() -> None:
    """A fill was read, then the process stood still: its balance is the next frame."""
    desk = live()
    desk.fact(HEALTH_ACCOUNT_ALIVE, aux=int(desk.glob["now"]))
    desk.hold()  # 600 dollars less and 0.01 BTC more than the venue has told so far
    cash = int(desk.glob["cash"])
    before = len(desk.rows("recoveries"))
    desk.settle(S)
    desk.settle(20 * S)
    assert before == len(desk.rows("recoveries"))
    desk.coins(QTY)
    desk.money(cash)
    desk.fact(HEALTH_ACCOUNT_ALIVE, aux=int(desk.glob["now"]))
    desk.settle(20 * S)
    assert before == len(desk.rows("recoveries"))
    # What frames go on without is a difference, as ever.
    desk.coins(QTY + 777)
    desk.money(cash - 2 * USD)
    desk.settle(SETTLE)
    desk.fact(HEALTH_ACCOUNT_ALIVE, aux=int(desk.glob["now"]))
    desk.settle(S)
    assert (0, 777, 0) == row_of(desk, RECOVERY_FOREIGN)
    assert (-1, cash - 2 * USD, cash) == row_of(desk, RECOVERY_CASH)


def test_fewer_coins_cap_the_stop_at_what_the_venue_holds_and_stop_entries() -> None:
    desk = live()
    stop = desk.hold()
    desk.money(int(desk.glob["cash"]))
    desk.coins(QTY - 300_000)
    desk.quote(BID, ASK)
    assert 0 == len(desk.sent())  # not before it has stood still
    desk.settle(SETTLE)
    sent = desk.sent()
    assert [(AMEND, QTY - 300_000)] == [(int(row["kind"]), int(row["qty"])) for row in sent]
    desk.event(ORDER_AMENDED, stop, int(desk.order(stop)["trigger"]), QTY - 300_000)
    assert COVER_PROTECTED == desk.position()["coverage"]
    assert (0, QTY - 300_000, QTY) == row_of(desk, RECOVERY_SHORT)
    assert BALANCE_DIFFERS == desk.enter()[0]
    # Back again: cover grows to all of it.
    desk.coins(QTY)
    desk.guard()
    assert [(AMEND, QTY)] == [(int(row["kind"]), int(row["qty"])) for row in desk.sent()]


def test_an_operator_may_take_missing_coins_out_of_the_books() -> None:
    desk = live()
    stop = desk.hold()
    desk.money(int(desk.glob["cash"]))
    desk.coins(QTY - 300_000)
    desk.settle(SETTLE)
    desk.operator(OPERATOR_RELEASE_SYMBOL, sym=0)
    assert (
        QTY == desk.position()["qty"]
    )  # not while the stop works: its fill may be what is missing
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=1, guard=False)
    desk.operator(OPERATOR_RELEASE_SYMBOL, sym=0)
    assert (QTY - 300_000, 0) == (desk.position()["qty"], desk.position()["short"])
    books_add_up(desk)


def test_a_position_that_the_venue_does_not_have_is_written_off() -> None:
    desk = live()
    stop = desk.hold()
    desk.money(int(desk.glob["cash"]))
    cost = int(desk.position()["cost"])
    desk.coins(0)
    desk.settle(SETTLE)
    assert QTY == desk.position()["qty"]  # the stop works: its fill may be under way
    assert [CANCEL] == [int(row["kind"]) for row in desk.sent()]
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=1)
    desk.settle(S)
    assert (0, POSITION_CLOSED) == (desk.position()["qty"], desk.position()["state"])
    assert (0, QTY, QTY) == row_of(desk, RECOVERY_WRITTEN_OFF)
    assert -cost == desk.glob["realized"]
    trip = desk.rows("realized")[-1]
    assert (EXIT_GHOST, -cost) == (trip["exit_reason"], trip["net"])
    books_add_up(desk)
    assert not [row for row in desk.sent() if row["side"] < 0]
    desk.settle(S)
    assert OK == desk.enter()[0]


def test_a_ghost_that_cost_too_much_waits_for_a_person() -> None:
    desk = live(reconcile_correction_max=100 * USD)
    stop = desk.hold()
    desk.money(int(desk.glob["cash"]))
    desk.coins(0)
    desk.settle(SETTLE)
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=1)
    desk.settle(20 * S)
    assert QTY == desk.position()["qty"]
    assert 0 == len([row for row in desk.sent() if row["kind"] == ADD])
    desk.operator(OPERATOR_RELEASE_SYMBOL, sym=0)
    assert 0 == desk.position()["qty"]
    books_add_up(desk)


def test_a_position_sold_while_we_were_away_is_closed_before_it_counts() -> None:
    """A restart: the old books are long, the venue is flat, and the money is there."""
    desk = live()
    stop = desk.hold()
    cash = int(desk.glob["cash"])
    desk.begin_live(coins=0, cash=cash + 590 * USD)
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=1, flags=LAST | SNAPSHOT, guard=False)
    for _ in range(5):
        desk.settle(S)
        assert (QTY, 1) == (desk.position()["qty"], desk.glob["reconcile"])
        assert refuse_all(desk) <= 3
    desk.settle(SETTLE)
    refuse_all(desk)
    desk.settle(S)
    assert 0 == desk.position()["qty"]
    books_add_up(desk)
    # What came for it is money of unknown origin: a person says so.
    assert (1, MODE_EXIT_ONLY) == (desk.glob["cash_differs"], desk.glob["mode"])
    desk.operator(OPERATOR_RELEASE_SYMBOL)
    assert 590 * USD == desk.glob["foreign_cash"]
    desk.settle(S)
    assert MODE_NORMAL == desk.glob["mode"]


def test_cash_within_rounding_is_none_of_our_business() -> None:
    desk = live()
    desk.money(CASH + CENT)
    desk.settle(20 * S)
    assert 0 == desk.glob["cash_differs"]
    desk.reconciled()
    assert CENT == desk.glob["foreign_cash"]  # and does not add up over the days


@pytest.mark.parametrize("more", [2 * CENT, -2 * CENT, 500 * USD, -500 * USD])
def test_unexplained_cash_stops_all_entries_until_a_person_accepts_it(more: int) -> None:
    desk = live()
    desk.money(CASH + more)
    desk.settle(4 * S)
    assert 0 == desk.glob["cash_differs"]
    desk.settle(SETTLE)
    assert BALANCE_DIFFERS == desk.enter()[0]
    assert (-1, CASH + more, CASH) == row_of(desk, RECOVERY_CASH)
    desk.operator(OPERATOR_RELEASE_SYMBOL)
    assert (-1, CASH + more, CASH) == row_of(desk, RECOVERY_CASH_ACCEPTED)
    assert (CASH + min(more, 0), max(more, 0)) == (desk.glob["cash"], desk.glob["foreign_cash"])
    books_add_up(desk)
    assert OK == desk.enter()[0]


def test_cash_that_comes_right_by_itself_opens_the_gate() -> None:
    desk = live()
    desk.money(CASH - 5 * USD)
    desk.settle(SETTLE)
    assert 1 == desk.glob["cash_differs"]
    desk.money(CASH)
    assert 0 == desk.glob["cash_differs"]


def test_balances_without_a_session_decide_nothing() -> None:
    desk = OrderDesk()
    desk.coins(5)
    desk.money(17)
    desk.settle(20 * S)
    assert OK == desk.enter()[0]
    assert [(0, 5, 5), (-1, 17, 17 - CASH)] == [
        (int(row["sym"]), int(row["told"]), int(row["difference"])) for row in desk.rows("balances")
    ]
    assert 0 == len(desk.rows("recoveries"))


def test_a_reconcile_names_every_balance_that_differs() -> None:
    desk = live()
    desk.coins(0)
    desk.money(CASH - USD)
    desk.reconciled()
    assert (-1, CASH - USD, CASH) == row_of(desk, RECOVERY_DIFFERS)
    assert 1 == codes(desk).count(RECOVERY_NAMES[RECOVERY_RECONCILED])


def test_a_market_exit_never_offers_more_than_the_venue_holds() -> None:
    desk = live()
    stop = desk.hold()
    desk.money(int(desk.glob["cash"]))
    desk.coins(QTY - 300_000)
    desk.settle(SETTLE)
    desk.event(ORDER_AMENDED, stop, int(desk.order(stop)["trigger"]), QTY - 300_000)
    desk.position()["leave"] = 1
    desk.position()["n_exit_tries"] = 9
    desk.quote(BID, ASK)
    desk.event(ORDER_CANCELED, stop, qty=QTY - 300_000, aux=1)
    sale = desk.sent()[-1]
    assert (MARKET, QTY - 300_000) == (sale["type"], sale["qty"])
