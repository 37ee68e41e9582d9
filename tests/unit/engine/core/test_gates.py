"""Does each fact of the shell close its gate alone, and nothing but its gate?

From a state in which an entry passes, one fact at a time: the entry is refused with that code, an
amend of an entry too, while a stop, a cancel and an exit still leave. docs/gates.md is the same table.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.commands import ADD, AMEND, CANCEL, IOC, MARKET, ROLE_ENTRY, ROLE_EXIT, ROLE_PROTECTION
from engine.core import safety
from engine.core.orders import new_order
from engine.core.orderstates import ORDER_STATE_PLANNED
from engine.core.records import (
    ACCOUNT_STALE,
    ALERTS_OPEN,
    BALANCE_DIFFERS,
    CLOCK_UNSURE,
    CONNECTION_SILENT,
    FEED_LAGGING,
    JOURNAL_SLOW,
    LEASE_HELD,
    LEASE_LOST,
    OK,
    REASONS,
    RECONCILE_PENDING,
    REPEATED,
    STOPPING,
    SWITCH_FIRED,
)
from engine.core.routes import FAMILY_MOMENTUM
from engine.events import (
    HEALTH_ACCOUNT_ALIVE,
    HEALTH_ACCOUNT_LOST,
    HEALTH_ALERTS,
    HEALTH_CLOCK,
    HEALTH_JOURNAL,
    HEALTH_LAG,
    HEALTH_LEASE,
    HEALTH_STOPPING,
    HEALTH_SWITCH_FIRED,
    HEARTBEAT,
    MODE,
    MODE_EXIT_ONLY,
    MODE_NORMAL,
    OPERATOR_ENABLE_FAMILY,
    OPERATOR_LEASE,
    WHO_ENGINE,
    WHO_OPERATOR,
    WHY_COMMAND,
    WHY_JOURNAL,
    WHY_START,
)
from tests.support.order_desk import ASK, BID, QTY, USD, OrderDesk, S

MS = S // 1000
emit = safety.emit


def open_desk() -> OrderDesk:
    """Every fact was told, and is good; another symbol's entry passes."""
    desk = OrderDesk()
    desk.begin_live()
    good_facts(desk)
    return desk


def good_facts(desk: OrderDesk) -> None:
    desk.fact(HEALTH_CLOCK, aux=MS, qty=40 * MS)
    desk.fact(HEALTH_LAG, aux=MS, qty=MS)
    desk.fact(HEALTH_JOURNAL, aux=3 * MS)
    desk.fact(HEALTH_ALERTS, aux=0)
    desk.fact(HEALTH_LEASE, aux=7)
    desk.fact(HEALTH_ACCOUNT_ALIVE, aux=int(desk.glob["now"]))
    desk.tell(HEARTBEAT, 0)


def lost(desk: OrderDesk) -> None:
    desk.fact(HEALTH_ACCOUNT_LOST)
    desk.account_returns()


def cash_differs(desk: OrderDesk) -> None:
    desk.money(int(desk.glob["cash"]) + 5 * USD)
    desk.settle(6 * S)
    good_facts(desk)
    desk.settle(0)  # the account's frames went on, and nothing explained it


def coins_differ(desk: OrderDesk) -> None:
    desk.coins(int(desk.position()["qty"]) - 100_000)
    desk.settle(6 * S)
    good_facts(desk)


def family_off(desk: OrderDesk) -> None:
    desk.glob["repeats"]["off"][FAMILY_MOMENTUM] = 1


def silent(desk: OrderDesk) -> None:
    desk.wait(2_600 * MS)
    desk.fact(HEALTH_ACCOUNT_ALIVE, aux=int(desk.glob["now"]))


def stale_account(desk: OrderDesk) -> None:
    desk.wait(31 * S)
    desk.tell(HEARTBEAT, 0)


def old_clock(desk: OrderDesk) -> None:
    desk.wait(121 * S)
    desk.tell(HEARTBEAT, 0)
    desk.fact(HEALTH_ACCOUNT_ALIVE, aux=int(desk.glob["now"]))


CASES: dict[str, tuple[int, Callable[[OrderDesk], None]]] = {
    "stopping": (STOPPING, lambda desk: desk.fact(HEALTH_STOPPING)),
    "switch": (SWITCH_FIRED, lambda desk: desk.fact(HEALTH_SWITCH_FIRED, aux=2)),
    "reconcile": (RECONCILE_PENDING, lost),
    "cash": (BALANCE_DIFFERS, cash_differs),
    "coins": (BALANCE_DIFFERS, coins_differ),
    "slow sync": (JOURNAL_SLOW, lambda desk: desk.fact(HEALTH_JOURNAL, aux=251 * MS)),
    "clock ahead": (CLOCK_UNSURE, lambda desk: desk.fact(HEALTH_CLOCK, aux=1_001 * MS)),
    "clock behind": (CLOCK_UNSURE, lambda desk: desk.fact(HEALTH_CLOCK, aux=-1_001 * MS)),
    "clock unmeasured": (CLOCK_UNSURE, old_clock),
    "silence": (CONNECTION_SILENT, silent),
    "writer behind": (FEED_LAGGING, lambda desk: desk.fact(HEALTH_LAG, aux=501 * MS)),
    "decoder behind": (FEED_LAGGING, lambda desk: desk.fact(HEALTH_LAG, qty=501 * MS)),
    "account silent": (ACCOUNT_STALE, stale_account),
    "alerts": (ALERTS_OPEN, lambda desk: desk.fact(HEALTH_ALERTS, aux=1)),
    "lease held": (
        LEASE_HELD,
        lambda desk: desk.operator(OPERATOR_LEASE, int(desk.glob["now"]) + 60 * S, 0),
    ),
    "repeated": (REPEATED, family_off),
}
WAIT_TO_SELL = {"reconcile", "switch", "lease held"}


@pytest.mark.parametrize("case", CASES)
def test_each_fact_alone_blocks_entries_and_nothing_else(case: str) -> None:
    code, close = CASES[case]
    desk = open_desk()
    stop = desk.hold()
    desk.coins(QTY)
    desk.money(int(desk.glob["cash"]))
    desk.position()["exit_reason"] = 0
    assert OK == desk.enter()[0]  # an entry passes
    entry = int(desk.sent()[-1]["id"])
    desk.ack(entry)
    close(desk)
    desk.sent()

    slot = int(desk.position()["entry_slot"]) - 1
    amended = emit(desk.desk, AMEND, slot, BID + 1, 0, QTY, 0) if slot >= 0 else code
    if case == "reconcile":
        amended = code  # in doubt itself
    if case == "stopping":
        amended = code  # being withdrawn
    assert code == amended
    desk.position()["entry_slot"] = 0
    assert code == desk.enter()[0]
    desk.position()["entry_slot"] = slot + 1

    # A cancel of the entry, a larger stop, a new stop, a sale.
    if case not in ("reconcile", "stopping"):
        assert OK == emit(desk.desk, CANCEL, slot, 0, 0, 0, 0)
    stop_slot = int(desk.position()["stop_slot"]) - 1
    held = int(desk.position()["qty"] - desk.position()["short"])
    desk.core.orders[stop_slot]["state"] = ORDER_STATE_PLANNED
    desk.core.orders[stop_slot]["ts_done"] = 1  # the old stop is gone
    desk.core.orders[stop_slot]["id"] = 0
    desk.position()["stop_slot"] = 0
    new = new_order(desk.desk, 0, ROLE_PROTECTION, -1, 3, 1, 0, 0, BID - 900, held, 0, 1)
    assert OK == emit(desk.desk, ADD, new, 0, 0, 0, 0)
    desk.core.orders[new]["ts_done"] = 1
    desk.core.orders[new]["id"] = 0
    sale = new_order(desk.desk, 0, ROLE_EXIT, -1, MARKET, IOC, 0, 0, 0, held, 0, 1)
    expected = OK
    if case in WAIT_TO_SELL:
        expected = LEASE_HELD if case == "lease held" else RECONCILE_PENDING
    assert expected == emit(desk.desk, ADD, sale, 0, 0, 0, 0)
    assert stop > 0


def test_without_the_lease_nothing_leaves() -> None:
    desk = open_desk()
    desk.hold()
    desk.enter()
    entry = int(desk.sent()[-1]["id"])
    desk.ack(entry)
    desk.fact(HEALTH_LEASE, aux=0)
    slot = int(desk.position()["entry_slot"]) - 1
    assert LEASE_LOST == emit(desk.desk, CANCEL, slot, 0, 0, 0, 0)
    assert LEASE_LOST == emit(desk.desk, AMEND, slot, BID, 0, QTY, 0)
    stop_slot = int(desk.position()["stop_slot"]) - 1
    assert LEASE_LOST == emit(desk.desk, AMEND, stop_slot, 0, BID - 500, 0, 0)
    assert LEASE_LOST == emit(desk.desk, CANCEL, stop_slot, 0, 0, 0, 0)
    assert 0 == len(desk.sent())
    desk.fact(HEALTH_LEASE, aux=8)
    assert OK == emit(desk.desk, CANCEL, slot, 0, 0, 0, 0)


def test_a_replay_that_is_told_nothing_is_blocked_by_nothing() -> None:
    desk = OrderDesk()
    desk.wait(3_600 * S)
    assert OK == desk.enter()[0]


@pytest.mark.parametrize(
    ("close", "reopen"),
    [
        (CASES["slow sync"][1], lambda desk: desk.fact(HEALTH_JOURNAL, aux=250 * MS)),
        (CASES["clock ahead"][1], lambda desk: desk.fact(HEALTH_CLOCK, aux=-1_000 * MS)),
        (CASES["writer behind"][1], lambda desk: desk.fact(HEALTH_LAG, aux=500 * MS)),
        (CASES["alerts"][1], lambda desk: desk.fact(HEALTH_ALERTS, aux=0)),
        (CASES["silence"][1], lambda desk: desk.tell(HEARTBEAT, 0)),
        (
            stale_account,
            lambda desk: desk.fact(HEALTH_ACCOUNT_ALIVE, aux=int(desk.glob["now"])),
        ),
        (CASES["lease held"][1], lambda desk: desk.operator(OPERATOR_LEASE, 0, 0)),
        (family_off, lambda desk: desk.operator(OPERATOR_ENABLE_FAMILY, FAMILY_MOMENTUM)),
        (CASES["switch"][1], lambda desk: desk.reconciled()),
        (CASES["reconcile"][1], lambda desk: desk.reconciled()),
    ],
)
def test_each_gate_opens_again(
    close: Callable[[OrderDesk], None], reopen: Callable[[OrderDesk], None]
) -> None:
    desk = open_desk()
    close(desk)
    assert OK != desk.enter()[0]
    reopen(desk)
    assert OK == desk.enter()[0]


def test_market_data_counts_as_heard() -> None:
    desk = open_desk()
    silent(desk)
    desk.core.symbols[0]["book_ts"] = desk.glob["now"]
    assert OK == desk.enter()[0]


def test_a_failed_sync_takes_the_engine_to_exit_only_once() -> None:
    desk = open_desk()
    n = len(desk.rows("modes"))
    for _ in range(3):
        desk.fact(HEALTH_JOURNAL, aux=MS, qty=1)
    assert MODE_EXIT_ONLY == desk.glob["mode"]
    rows = desk.rows("modes")[n:]
    assert [(MODE_EXIT_ONLY, WHO_ENGINE, WHY_JOURNAL)] == [
        (int(row["asked"]), int(row["who"]), int(row["why"])) for row in rows
    ]
    desk.tell(MODE, WHO_OPERATOR, MODE_NORMAL, WHY_COMMAND)
    assert JOURNAL_SLOW == desk.enter()[0]
    desk.fact(HEALTH_JOURNAL, aux=MS)
    assert OK == desk.enter()[0]


def test_a_slow_sync_is_forgiven_in_time_and_a_failed_one_is_not() -> None:
    """Nothing is synced while nothing is sent: the gate must not keep itself closed."""
    desk = open_desk()
    desk.fact(HEALTH_JOURNAL, aux=S)
    desk.wait(59 * S)
    good_again(desk)
    assert JOURNAL_SLOW == desk.enter()[0]
    desk.wait(2 * S)
    good_again(desk)
    assert OK == desk.enter()[0]
    desk.position()["entry_slot"] = 0
    desk.fact(HEALTH_JOURNAL, aux=MS, qty=1)
    desk.tell(MODE, WHO_OPERATOR, MODE_NORMAL, WHY_COMMAND)
    desk.wait(600 * S)
    good_again(desk)
    assert JOURNAL_SLOW == desk.enter()[0]


def good_again(desk: OrderDesk) -> None:
    desk.fact(HEALTH_CLOCK, aux=MS, qty=40 * MS)
    desk.fact(HEALTH_ACCOUNT_ALIVE, aux=int(desk.glob["now"]))
    desk.tell(HEARTBEAT, 0)


def test_a_start_forgets_what_the_session_before_was_told() -> None:
    desk = open_desk()
    desk.fact(HEALTH_STOPPING)
    desk.fact(HEALTH_LEASE, aux=0)
    desk.fact(HEALTH_CLOCK, aux=9 * S)
    desk.fact(HEALTH_JOURNAL, aux=9 * S, qty=1)
    desk.tell(MODE, WHO_OPERATOR, MODE_NORMAL, WHY_COMMAND)
    desk.tell(MODE, WHO_ENGINE, MODE_EXIT_ONLY, WHY_START)
    desk.account_returns()
    desk.reconciled()
    assert MODE_NORMAL == desk.glob["mode"]
    assert OK == desk.enter()[0]


def test_a_family_that_repeats_itself_is_off_until_a_person_enables_it() -> None:
    desk = OrderDesk(risk_family_entries_max=3, risk_family_window_ns=60 * S)
    seen = []
    for _ in range(6):
        seen.append(desk.enter()[0])
        desk.position()["entry_slot"] = 0
        for order in desk.core.orders:
            order["ts_done"] = 1  # withdrawn at once
    assert [OK, OK, OK, OK, REPEATED, REPEATED] == seen
    desk.wait(3_600 * S)  # time alone does not help
    assert REPEATED == desk.enter()[0]
    desk.operator(OPERATOR_ENABLE_FAMILY, FAMILY_MOMENTUM)
    assert OK == desk.enter()[0]


def test_entries_that_are_far_enough_apart_never_switch_a_family_off() -> None:
    desk = OrderDesk(risk_family_entries_max=3, risk_family_window_ns=60 * S)
    for _ in range(300):
        desk.wait(20 * S)
        assert OK == desk.enter()[0]
        desk.position()["entry_slot"] = 0
        for order in desk.core.orders:
            order["ts_done"] = 1
        desk.drain()


def test_stopping_withdraws_entries_and_leaves_stops() -> None:
    desk = open_desk()
    stop = desk.hold()
    desk.sent()
    desk.enter()
    entry = int(desk.sent()[-1]["id"])
    desk.ack(entry)
    desk.fact(HEALTH_STOPPING)
    commands = [(int(row["kind"]), int(row["id"])) for row in desk.sent()]
    assert [(CANCEL, entry)] == commands
    desk.wait(30 * S)
    desk.quote(BID, ASK)
    assert stop == desk.core.orders[int(desk.position()["stop_slot"]) - 1]["id"]


def test_an_entry_that_was_under_way_is_withdrawn_when_it_is_there() -> None:
    desk = open_desk()
    desk.enter()
    entry = int(desk.sent()[-1]["id"])
    desk.fact(HEALTH_STOPPING)
    assert 0 == len(desk.sent())
    desk.ack(entry)
    desk.manage()
    assert [(CANCEL, ROLE_ENTRY, STOPPING)] == [
        (int(row["kind"]), int(row["role"]), int(row["reason"])) for row in desk.sent()
    ]


def test_the_page_names_every_gate() -> None:
    page = Path(__file__).parents[4] / "docs" / "gates.md"
    text = page.read_text()
    for code in {LEASE_LOST, *(code for code, _ in CASES.values())}:
        assert f"| {REASONS[code][0]} " in text
