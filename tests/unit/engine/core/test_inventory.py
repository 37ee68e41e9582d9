"""What of a base is ours, foreign, held by orders, free; and how sure of it we are."""

from __future__ import annotations

from engine.core.gates import entry_gate
from engine.core.inventory import (
    EVIDENCE_BALANCE,
    EVIDENCE_DIFFERS,
    EVIDENCE_FILLS,
    EVIDENCE_MISSING,
    EVIDENCE_ORDER,
    QUALITY_DEGRADED,
    QUALITY_DERIVED,
    QUALITY_VERIFIED,
    held_lots,
    quality_of,
)
from engine.core.records import OK
from engine.events import HEALTH_SUSPECT
from tests.support.order_desk import QTY, OrderDesk, S


def last(desk: OrderDesk, *names: str) -> tuple[int, ...]:
    row = desk.rows("inventory")[-1]
    return tuple(int(row[name]) for name in names)


def live(foreign: int = 0) -> tuple[OrderDesk, int]:
    """A session with a clean start that then bought QTY lots; the id of its stop."""
    desk = OrderDesk(reconcile_settle_ns=2 * S)
    desk.begin_live(coins=foreign)
    stop = desk.hold()
    desk.coins(QTY + foreign)
    desk.settle(S)
    return desk, stop


def test_a_run_without_an_account_rests_on_its_fills_and_writes_nothing() -> None:
    desk = OrderDesk()
    desk.hold()
    desk.settle(S)
    assert (QUALITY_DERIVED, EVIDENCE_FILLS) == quality_of(desk.desk, 0)
    assert 0 == len(desk.rows("inventory"))


def test_ours_foreign_held_and_free_are_told_apart() -> None:
    desk, stop = live(foreign=7_000)
    names = ("quality", "evidence", "venue", "own", "foreign_part", "missing", "held", "free")
    assert (QUALITY_VERIFIED, EVIDENCE_BALANCE, QTY + 7_000, QTY, 7_000, 0, QTY, 0) == last(
        desk, *names
    )
    from engine.events import CANCEL_USER, ORDER_CANCELED

    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER, guard=False)
    assert 0 == held_lots(desk.desk, 0)
    desk.wait(S)
    from engine.core.reconcile import settle_account

    settle_account(desk.core)
    assert (0, QTY) == last(desk, "held", "free")


def test_an_order_in_doubt_degrades_and_its_settlement_verifies_again() -> None:
    desk, stop = live()
    desk.fact(HEALTH_SUSPECT, stop, 1)
    desk.settle(S)
    assert (QUALITY_DEGRADED, EVIDENCE_ORDER, QTY) == last(desk, "quality", "evidence", "held")
    from engine.events import LAST, ORDER_ACK, SNAPSHOT

    order = desk.order(stop)
    desk.event(ORDER_ACK, stop, int(order["trigger"]), QTY, 1, SNAPSHOT | LAST)
    desk.settle(S)
    assert (QUALITY_VERIFIED, EVIDENCE_BALANCE) == last(desk, "quality", "evidence")


def test_missing_coins_degrade_once_they_are_believed_and_stop_entries() -> None:
    desk, _ = live()
    desk.coins(QTY // 2)
    desk.settle(S)
    assert QUALITY_DEGRADED != last(desk, "quality")[0]  # it may still be a matter of time
    desk.settle(3 * S)
    assert (QUALITY_DEGRADED, QTY - QTY // 2) == last(desk, "quality", "missing")
    assert last(desk, "evidence")[0] in (EVIDENCE_MISSING, EVIDENCE_DIFFERS)
    assert OK != entry_gate(desk.desk, 0, 1)


def test_a_lost_account_leaves_what_our_fills_say_in_doubt() -> None:
    desk, _ = live()
    desk.account_breaks()
    assert (QUALITY_DEGRADED, EVIDENCE_ORDER, -1) == last(desk, "quality", "evidence", "venue")
