"""Whatever is lost on the way, the account ends as the venue's books have it, and nothing is sent twice.

The venue's books are the oracle: `agree` compares fills, open orders and placings after each test.
"""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.kraken.order_state import SUSPECT_OVERDUE, SUSPECT_VANISHED, OrderState
from adapters.kraken.orders import order_key
from adapters.local_venue import VenueOptions
from adapters.local_venue.faults import Script, parse_script
from engine import commands as c
from engine.events import (
    BUY,
    CANCEL_POST_ONLY,
    CANCEL_REJECT,
    CANCEL_USER,
    HEALTH_ABSENT,
    HEALTH_ACCOUNT_ALIVE,
    HEALTH_ACCOUNT_LOST,
    HEALTH_ACCOUNT_SYNCED,
    HEALTH_FOREIGN,
    HEALTH_RECONCILED,
    HEALTH_SUSPECT,
    ORDER_ACK,
    ORDER_CANCELED,
    ORDER_EXPIRED,
    ORDER_FILL,
    ORDER_FILLED,
    ORDER_REJECT,
    REJECT_POST_ONLY,
    SNAPSHOT,
)
from tests.support.account_client import MS, Account, account, with_account
from tests.support.private_client import client, limit

FREELY = {"rest_limits": False, "rate_limits": False}


def script(*faults: str) -> Script:
    return parse_script("\n".join(f"[[fault]]\n{each}" for each in faults))


LOSE_REPLIES = 'kind = "drop"\nendpoint = "private"\nmethod = "add_order"'


def test_a_start_without_doubts_is_reconciled_and_heard(tmp_path: Path) -> None:
    async def work(mine: Account) -> None:
        await mine.until(lambda: mine.health(HEALTH_RECONCILED) != [])
        await mine.until(lambda: len(mine.health(HEALTH_ACCOUNT_ALIVE)) > 1)
        assert len(mine.health(HEALTH_ACCOUNT_SYNCED)) == 1
        first, second = (aux for aux, _ in mine.health(HEALTH_ACCOUNT_ALIVE)[:2])
        assert second - first >= 1_000 * MS

    with_account(tmp_path, work)


def test_an_answer_lost_though_accepted_ends_with_an_acknowledgement(tmp_path: Path) -> None:
    async def work(mine: Account) -> None:
        mine.add(7)
        await mine.until(lambda: mine.health(HEALTH_SUSPECT) != [])
        assert mine.health(HEALTH_SUSPECT) == [(7, SUSPECT_OVERDUE)]
        await mine.reconciled()
        acks = mine.rows(ORDER_ACK)
        assert acks["id"].tolist() == [7, 7]
        assert acks["flags"][1] & SNAPSHOT
        assert mine.health(HEALTH_ABSENT) == []

    with_account(tmp_path, work, faults=script(LOSE_REPLIES))


def test_an_order_that_ends_while_its_doubt_is_settled_is_not_told_as_open_again(
    tmp_path: Path,
) -> None:
    """The core would take it for one that has ended and rests all the same: a defect."""

    async def work(mine: Account) -> None:
        call, asked = mine.rest.call, []

        async def slow(name: str, **params: Any) -> Any:
            if name == "OpenOrders" and mine.health(HEALTH_SUSPECT) and not asked:
                asked.append(name)
                mine.cancel(7)
                await mine.until(lambda: len(mine.rows(ORDER_CANCELED)) == 1)
            return await call(name, **params)

        mine.rest.call = slow  # type: ignore[method-assign]
        mine.add(7)
        await mine.until(lambda: asked != [])
        await mine.reconciled()
        told = mine.rows(ORDER_ACK, ORDER_CANCELED)
        assert told["kind"].tolist() == [ORDER_ACK, ORDER_ACK, ORDER_CANCELED]

    with_account(tmp_path, work, faults=script(LOSE_REPLIES))


def test_an_answer_lost_though_refused_ends_as_absent_after_two_empty_reads(tmp_path: Path) -> None:
    async def work(mine: Account) -> None:
        mine.add(7, "50", mine.price("30000.0"))  # more than the account has
        written = mine.line.line.stamp()
        await mine.until(lambda: mine.health(HEALTH_ABSENT) != [])
        assert mine.health(HEALTH_ABSENT) == [(7, 0)]
        rows = mine.events
        absent = rows[(rows["id"] == HEALTH_ABSENT) & (rows["kind"] == 43)][0]
        assert absent["ts"] - written >= mine.settle.patience.quarantine
        assert mine.settle.counts["passes"] >= 3
        assert mine.rows(ORDER_REJECT).tolist() == []
        await mine.reconciled()

    with_account(tmp_path, work, faults=script(LOSE_REPLIES))


def test_asking_for_its_cancel_again_and_again_does_not_put_off_that_an_order_is_absent(
    tmp_path: Path,
) -> None:
    """The core withdraws what it doubts every few seconds, and the quarantine runs on."""

    async def work(mine: Account) -> None:
        mine.add(7, "50", mine.price("30000.0"))  # more than the account has

        def absent() -> bool:
            mine.cancel(7)
            return mine.health(HEALTH_ABSENT) != []

        await mine.until(absent)
        assert mine.health(HEALTH_ABSENT) == [(7, 0)]

    with_account(tmp_path, work, faults=script(LOSE_REPLIES), agree=False)


def test_an_order_that_filled_at_once_and_was_never_open_is_found_by_its_closing(
    tmp_path: Path,
) -> None:
    """Reply and reports are lost; the snapshot has its fill without a name."""

    async def work(mine: Account) -> None:
        price = await mine.beyond()
        mine.deaf()
        mine.add(7, price=price, tif=c.IOC)
        await mine.until(lambda: getattr(mine.order_at_venue(7), "status", "") == "filled")
        mine.line.line.resync()
        await mine.until(lambda: len(mine.rows(ORDER_FILLED)) == 1)
        assert (mine.rows(ORDER_FILL)["id"] == 7).all()
        assert mine.health(HEALTH_ABSENT) == []
        await mine.reconciled()

    with_account(tmp_path, work)


def test_a_fill_before_the_acknowledgement(tmp_path: Path) -> None:
    options = VenueOptions(reply_ms=(150.0, 150.0), report_ms=(0.1, 0.2), **FREELY)  # type: ignore[arg-type]

    async def work(mine: Account) -> None:
        mine.add(7, price=await mine.beyond(), tif=c.IOC)
        await mine.until(lambda: len(mine.rows(ORDER_FILLED)) == 1)
        assert mine.session.n_pending == 1
        await asyncio.sleep(0.3)
        assert mine.session.n_pending == 0

    with_account(tmp_path, work, venue_options=options)


def test_a_cancel_that_came_too_late_is_followed_by_the_fill(tmp_path: Path) -> None:
    """The reports come a while after the refusal of the cancel."""

    async def work(mine: Account) -> None:
        mine.add(7, price=await mine.beyond())
        await asyncio.sleep(0.05)
        mine.cancel(7)
        await mine.until(lambda: len(mine.rows(CANCEL_REJECT)) == 1)
        assert len(mine.rows(ORDER_FILL)) == 0
        await mine.until(lambda: len(mine.rows(ORDER_FILLED)) == 1)
        await mine.reconciled()

    options = VenueOptions(report_ms=(400.0, 400.0), **FREELY)  # type: ignore[arg-type]
    with_account(tmp_path, work, venue_options=options)


def test_a_break_in_the_middle_of_an_order(tmp_path: Path) -> None:
    """Partly filled, then nobody listens, then the rest is cancelled by hand."""

    async def work(mine: Account) -> None:
        mine.add(7, "60", await mine.beyond("1.0002"))
        await mine.until(lambda: len(mine.rows(ORDER_FILL)) >= 1)
        order = mine.order_at_venue(7)
        assert 0 < order.filled < order.qty, "the market has changed: choose another quantity"
        mine.deaf()
        async with client(mine.venue, mine.rest) as other:
            other.send("cancel_order", {"order_id": [order.txid]})
            await other.until(lambda: not mine.books.open)
        mine.line.line.resync()
        await mine.until(lambda: len(mine.rows(ORDER_CANCELED)) == 1)
        gone = mine.rows(ORDER_CANCELED)[0]
        assert (gone["id"], gone["aux"], gone["qty"]) == (7, CANCEL_USER, order.qty - order.filled)
        assert (7, SUSPECT_VANISHED) in mine.health(HEALTH_SUSPECT)
        await mine.reconciled()

    money = {"USD": Decimal(10_000_000)}
    options = VenueOptions(balances=money, **FREELY)  # type: ignore[arg-type]
    with_account(tmp_path, work, venue_options=options)


def test_sixty_fills_while_nobody_listened_are_paged_and_each_counts_once(tmp_path: Path) -> None:
    async def work(mine: Account) -> None:
        for id in range(1, 61):
            mine.add(id, "0.01", role=c.ROLE_EXIT)
        await mine.until(lambda: len(mine.rows(ORDER_ACK)) == 60)
        price = mine.table["BTC/USD"].price(await mine.beyond())
        mine.deaf()
        async with client(mine.venue, mine.rest) as other:
            for order in list(mine.books.open.values()):
                change = {"limit_price": price, "order_qty": mine.table["BTC/USD"].qty(order.qty)}
                other.send("amend_order", {"order_id": order.txid, **change})
            await other.until(lambda: not mine.books.open)
        assert len(mine.books.fills) >= 60
        mine.line.line.resync()
        await mine.until(lambda: len(mine.rows(ORDER_FILLED)) == 60)
        assert any("page by page" in text for _, text in mine.said)
        await mine.reconciled()

    options = VenueOptions(**FREELY)  # type: ignore[arg-type]
    with_account(tmp_path, work, venue_options=options)


def test_fills_told_twice_by_the_stream_and_again_by_rest_count_once(tmp_path: Path) -> None:
    async def work(mine: Account) -> None:
        price = await mine.beyond()
        for id in (7, 8, 9):
            mine.add(id, price=price, tif=c.IOC)
        await mine.until(lambda: len(mine.rows(ORDER_FILLED)) == 3)
        mine.line.line.resync()
        await mine.until(lambda: len(mine.health(HEALTH_ACCOUNT_SYNCED)) == 2)
        await mine.reconciled()
        assert mine.session.account.counts["fills seen before"] > 0

    twice = script('kind = "duplicate"\nendpoint = "private"\nchannel = "executions"')
    with_account(tmp_path, work, faults=twice)


def test_an_expiry_while_nobody_listened(tmp_path: Path) -> None:
    async def work(mine: Account) -> None:
        expire_ts = (mine.line.line.stamp() // 10**9 + 2) * 10**9
        mine.add(7, tif=c.GTD, expire_ts=expire_ts)
        await mine.until(lambda: len(mine.rows(ORDER_ACK)) == 1)
        mine.deaf()
        await mine.until(lambda: mine.order_at_venue(7).status == "expired")
        mine.line.line.resync()
        await mine.until(lambda: len(mine.rows(ORDER_EXPIRED)) == 1)
        await mine.reconciled()

    with_account(tmp_path, work)


@pytest.mark.parametrize("rejects", [True, False])
def test_a_post_only_order_that_would_take(tmp_path: Path, rejects: bool) -> None:
    async def work(mine: Account) -> None:
        mine.add(7, price=await mine.beyond(), post_only=1)
        await mine.until(lambda: len(mine.rows(ORDER_REJECT, ORDER_CANCELED)) == 1)
        [end] = mine.rows(ORDER_REJECT, ORDER_CANCELED)
        assert end["aux"] == (REJECT_POST_ONLY if rejects else CANCEL_POST_ONLY)

    options = VenueOptions(rest_limits=False, post_only_reject=rejects)
    with_account(tmp_path, work, venue_options=options)


def test_tokens_that_expire_bring_a_new_connection_and_no_order_is_written_twice(
    tmp_path: Path,
) -> None:
    async def work(mine: Account) -> None:
        mine.add(7)
        await mine.until(lambda: len(mine.rows(ORDER_ACK)) == 1)
        mine.venue.core.keyring.expire_all()
        mine.add(8)
        await mine.until(lambda: mine.health(HEALTH_ACCOUNT_LOST) != [])
        await mine.until(lambda: mine.session.ready)
        await mine.reconciled()
        assert mine.order_at_venue(8) is None
        mine.add(9)
        await mine.until(lambda: mine.order_at_venue(9) is not None)
        await mine.until(lambda: (mine.rows(ORDER_ACK)["id"] == 9).any())

    with_account(tmp_path, work)


def test_an_order_of_somebody_else_is_named_once_and_left_alone(tmp_path: Path) -> None:
    async def work(mine: Account) -> None:
        async with client(mine.venue, mine.rest) as other:
            other.send("add_order", limit("0.01", "99.0"))
            other.send("add_order", limit("0.01", "98.0", cl_ord_id="kb00000000000000ff"))
            await mine.until(lambda: len(mine.health(HEALTH_FOREIGN)) == 2)
        [open_a, open_b] = mine.books.open.values()
        keys = {order_key(open_a.txid), order_key(open_b.txid)}
        assert {aux for aux, _ in mine.health(HEALTH_FOREIGN)} == keys
        # One has a client id in our form: no row of it may look like an order of the core's.
        assert 255 not in mine.rows(ORDER_ACK)["id"].tolist()
        await mine.reconciled()
        assert len(mine.books.open) == 2

    with_account(tmp_path, work)


def test_an_order_in_our_form_may_be_handed_to_the_core_to_decide(tmp_path: Path) -> None:
    async def work(mine: Account) -> None:
        async with client(mine.venue, mine.rest) as other:
            other.send("add_order", limit("0.01", "98.0", cl_ord_id="kb00000000000000ff"))
            await mine.until(lambda: len(mine.books.open) == 1)
        assert 255 not in mine.rows(ORDER_ACK)["id"].tolist()  # not of a snapshot
        mine.line.line.resync()
        await mine.until(lambda: 255 in mine.rows(ORDER_ACK)["id"].tolist())
        assert mine.rows(ORDER_ACK)["flags"][-1] & SNAPSHOT
        assert mine.health(HEALTH_FOREIGN) == []

    with_account(tmp_path, work, adopt=True)


def test_a_reply_to_a_cancel_that_is_lost_leaves_the_order_to_its_report(tmp_path: Path) -> None:
    async def work(mine: Account) -> None:
        mine.add(7)
        await mine.until(lambda: len(mine.rows(ORDER_ACK)) == 1)
        mine.cancel(7)
        await mine.until(lambda: len(mine.rows(ORDER_CANCELED)) == 1)
        await mine.until(lambda: mine.session.counts["overdue replies"] == 1)
        await mine.reconciled()

    lost = script('kind = "drop"\nendpoint = "private"\nmethod = "cancel_order"')
    with_account(tmp_path, work, faults=lost)


def test_an_order_that_the_core_doubts_is_told_again_whether_it_rests_or_ended(
    tmp_path: Path,
) -> None:
    async def work(mine: Account) -> None:
        mine.add(7)
        mine.add(8)
        mine.add(9, price=await mine.beyond(), tif=c.IOC)
        await mine.until(lambda: len(mine.rows(ORDER_ACK)) == 3)
        mine.cancel(7)
        await mine.until(lambda: len(mine.rows(ORDER_CANCELED, ORDER_FILLED)) == 2)
        before = len(mine.events)
        mine.line.suspect([7, 8, 9])
        await mine.reconciled()
        again = mine.events[before:]
        for kind, id in ((ORDER_CANCELED, 7), (ORDER_ACK, 8), (ORDER_FILLED, 9)):
            [row] = again[(again["kind"] == kind) & (again["id"] == id)]
            first = mine.events[(mine.events["kind"] == kind) & (mine.events["id"] == id)][0]
            assert row["qty"] == first["qty"]
            assert row["flags"] & SNAPSHOT

    with_account(tmp_path, work)


def test_an_amend_whose_answer_and_report_are_lost_is_settled_by_a_new_snapshot(
    tmp_path: Path,
) -> None:
    """The stream skips nothing that it counts: only REST can tell that something changed."""

    async def work(mine: Account) -> None:
        mine.add(7)
        await mine.until(lambda: len(mine.rows(ORDER_ACK)) == 1)
        mine.deaf()
        mine.session.account.executions.synced = True
        row = mine.rows(ORDER_ACK)[0]
        change = np.zeros(1, c.COMMAND)
        change["kind"], change["id"], change["sym"] = c.AMEND, 7, row["sym"]
        change["price"], change["qty"] = row["price"] + 1, row["qty"]
        mine.carry(change)
        await mine.until(lambda: mine.order_at_venue(7).price == row["price"] + 1)
        await mine.until(lambda: len(mine.health(HEALTH_ACCOUNT_SYNCED)) == 2)
        await mine.reconciled()
        assert mine.rows(ORDER_ACK)[-1]["price"] == row["price"] + 1
        assert mine.settle.counts["distrusted"] >= 1

    with_account(tmp_path, work)


def test_rest_that_is_behind_takes_nothing_back(tmp_path: Path) -> None:
    async def work(mine: Account) -> None:
        price = await mine.beyond()
        mine.add(7, price=price, tif=c.IOC)
        await mine.until(lambda: len(mine.rows(ORDER_FILLED)) == 1)
        mine.add(8)
        await mine.until(lambda: (mine.rows(ORDER_ACK)["id"] == 8).any())
        mine.line.suspect([8])
        await mine.reconciled()
        assert mine.settle.counts["distrusted"] == 0
        assert mine.rows(HEALTH_ABSENT).tolist() == []

    options = VenueOptions(rest_limits=False, rest_lag_ms=1200.0)
    with_account(tmp_path, work, venue_options=options)


def test_a_read_that_fails_is_made_again_and_concludes_nothing(tmp_path: Path) -> None:
    async def work(mine: Account) -> None:
        mine.add(7, "50", mine.price("30000.0"))
        await mine.until(lambda: mine.health(HEALTH_ABSENT) != [])
        assert mine.settle.counts["reads failed"] >= 1
        await mine.reconciled()

    broken = script(
        LOSE_REPLIES,
        'kind = "error"\nendpoint = "rest"\nmethod = "ClosedOrders"\ntext = "EQuery:Broken"\ncount = 2',
    )
    with_account(tmp_path, work, faults=broken)


def test_after_a_restart_old_fills_are_not_applied_again_and_vanished_orders_are_found(
    tmp_path: Path,
) -> None:
    async def work(mine: Account) -> None:
        mine.add(7, price=await mine.beyond(), tif=c.IOC)
        mine.add(8)
        mine.add(9, "0.02")
        await mine.until(lambda: len(mine.rows(ORDER_FILLED)) == 1)
        await mine.until(lambda: len(mine.rows(ORDER_ACK)) == 3)
        since = mine.line.line.stamp()
        known = [int(each) for each in mine.rows(ORDER_FILL)["aux"]]
        orders = []
        for id, qty in ((8, "0.01"), (9, "0.02")):
            orders.append(
                OrderState("", id, mine.table.index("BTC/USD"), BUY, "limit", qty=mine.lots(qty),
                           price=mine.price("100.0"), status="new", acked=True)
            )  # fmt: skip
        mine.line.stop()
        await asyncio.sleep(0.2)
        async with client(mine.venue, mine.rest) as other:
            other.send("cancel_order", {"order_id": [mine.order_at_venue(8).txid]})
            await other.until(lambda: len(mine.books.open) == 1)
        async with account(
            mine.venue, mine.rest, remembered=orders, executions=known, last_id=9, since_ns=since
        ) as again:
            await again.until(lambda: len(again.rows(ORDER_CANCELED)) == 1)
            await again.reconciled()
            assert again.rows(ORDER_FILL).tolist() == []
            assert again.rows(ORDER_CANCELED)["id"].tolist() == [8]
            assert [each.id for each in again.session.account.open_orders()] == [9]
            assert again.health(HEALTH_FOREIGN) == []
            again.cancel(9)
            await again.until(lambda: not again.books.open)

    with_account(tmp_path, work, agree=False)


def test_a_fill_of_an_order_that_an_earlier_session_believed_ended_is_told_as_its_own(
    tmp_path: Path,
) -> None:
    """The session ended between the venue's fill and its report; the order is not remembered."""

    async def work(mine: Account) -> None:
        since = mine.line.line.stamp()
        mine.deaf()
        mine.add(7, price=await mine.beyond(), tif=c.IOC)
        await mine.until(lambda: getattr(mine.order_at_venue(7), "status", "") == "filled")
        mine.line.stop()
        await asyncio.sleep(0.2)
        async with account(mine.venue, mine.rest, last_id=7, since_ns=since) as again:
            await again.reconciled()
            told = again.rows(ORDER_FILL)
            assert (told["id"] == 7).all()
            keys = {order_key(fill.exec_id) for _, fill in again.books.fills}
            assert set(told["aux"].tolist()) == keys
            assert (told["flags"] & SNAPSHOT).all()

    with_account(tmp_path, work, agree=False)


def test_an_order_of_an_earlier_session_that_never_arrived_is_absent_after_a_whole_quarantine(
    tmp_path: Path,
) -> None:
    """Journaled, and the process died before the wire, or after: it cannot know."""

    async def work(mine: Account) -> None:
        mine.line.stop()
        await asyncio.sleep(0.2)
        lost = OrderState("", 7, mine.table.index("BTC/USD"), BUY, "limit", qty=mine.lots("0.01"),
                          price=mine.price("100.0"))  # fmt: skip
        begun = mine.line.line.stamp()
        async with account(mine.venue, mine.rest, remembered=[lost], last_id=7) as again:
            await again.until(lambda: again.health(HEALTH_ABSENT) != [])
            assert again.line.line.stamp() - begun >= again.settle.patience.quarantine
            await again.reconciled()

    with_account(tmp_path, work, agree=False)


def test_a_second_client_on_the_key_does_not_confuse_the_account(tmp_path: Path) -> None:
    """Two connections under one key: the other's orders are foreign, and it may cancel ours."""

    async def work(mine: Account) -> None:
        async with client(mine.venue, mine.rest) as other:
            other.send("add_order", limit("0.01", "97.0"))
            mine.add(7)
            await mine.until(lambda: len(mine.books.open) == 2)
            await mine.until(lambda: len(mine.health(HEALTH_FOREIGN)) == 1)
            other.send("cancel_all", {})
            await mine.until(lambda: (mine.rows(ORDER_CANCELED)["id"] == 7).any())
        await mine.reconciled()

    with_account(tmp_path, work)
