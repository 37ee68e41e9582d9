"""What our private client believes after faults on the way is what the venue holds, or is in doubt."""

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.kraken.order_state import SUSPECT_OVERDUE, cl_ord_id_of
from adapters.kraken.rest import Rest
from adapters.local_venue import LocalVenue
from adapters.local_venue.faults import Script, parse_script
from adapters.local_venue.keys import DEMO_KEY
from engine.events import (
    HEALTH,
    HEALTH_ACCOUNT_LOST,
    HEALTH_SUSPECT,
    ORDER_ACK,
    ORDER_FEE,
    ORDER_FILL,
    ORDER_PENDING,
)
from tests.support.private_client import Client, limit, order_of, with_client

MS = 1_000_000


def script(*faults: str) -> Script:
    return parse_script("\n".join(f"[[fault]]\n{each}" for each in faults))


def open_at_the_venue(venue: LocalVenue) -> dict[str, int]:
    """Client ids of the account's open orders, each with how often it is there."""
    account = venue.core.clients[DEMO_KEY].account
    found = [each.cl_ord_id for each in account.orders.values() if each.status in OPEN]
    return {each: found.count(each) for each in found if each}


OPEN = ("pending_new", "new", "partially_filled")


def health(connected: Client, id: int) -> list[tuple[int, int]]:
    rows = connected.rows(HEALTH)
    return [(int(each["aux"]), int(each["qty"])) for each in rows[rows["id"] == id]]


def add(connected: Client, id: int, price: str = "100.0") -> None:
    connected.send("add_order", limit("0.01", price), order_of(connected, id, "0.01", price))


def test_a_lost_acknowledgement_makes_the_order_suspect_and_it_is_placed_once(
    tmp_path: Path,
) -> None:
    async def work(venue: LocalVenue, rest: Rest, connected: Client) -> None:
        add(connected, 7)
        await connected.until(lambda: health(connected, HEALTH_SUSPECT) != [])

        assert health(connected, HEALTH_SUSPECT) == [(7, SUSPECT_OVERDUE)]
        assert open_at_the_venue(venue) == {cl_ord_id_of(7): 1}
        # The reports came all the same, and say what the reply would have said.
        assert connected.rows(ORDER_ACK)["id"].tolist() == [7]
        assert connected.session.n_pending == 0

    lost = script('kind = "drop"\nendpoint = "private"\nmethod = "add_order"')
    with_client(tmp_path, work, faults=lost, reply_ns=300 * MS)


@pytest.mark.parametrize("kind", ["drop", "truncate", "garble"])
@pytest.mark.parametrize("skip", [0, 1, 3])
def test_a_report_that_is_lost_or_spoiled_ends_the_connection_and_the_snapshot_heals(
    tmp_path: Path, kind: str, skip: int
) -> None:
    async def work(venue: LocalVenue, rest: Rest, connected: Client) -> None:
        for id in range(1, 6):
            add(connected, id)
        await connected.until(lambda: health(connected, HEALTH_ACCOUNT_LOST) != [])
        await connected.until(lambda: connected.session.ready)

        ids = {cl_ord_id_of(each.id) for each in connected.session.account.open_orders()}
        assert ids == set(open_at_the_venue(venue)) == {cl_ord_id_of(id) for id in range(1, 6)}

    fault = (
        f'kind = "{kind}"\nendpoint = "private"\nchannel = "executions"\nkind_of = "update"\n'
        f"skip = {skip}\ncount = 1"
    )
    with_client(tmp_path, work, faults=script(fault))


def test_reports_that_come_twice_are_told_once(tmp_path: Path) -> None:
    async def work(venue: LocalVenue, rest: Rest, connected: Client) -> None:
        ask = Decimal((await rest.call("Ticker", pair="XBTUSD"))["XXBTZUSD"]["a"][0])
        price = str((ask * Decimal("1.01")).quantize(Decimal("0.1")))
        add(connected, 7, price)
        account = connected.session.account
        await connected.until(
            lambda: 7 in {each.id for each in account.orders.values() if each.status == "filled"}
        )
        await asyncio.sleep(0.05)

        told = venue.core.clients[DEMO_KEY].account.fills
        assert connected.rows(ORDER_FILL)["qty"].tolist() == [fill.qty for _, fill in told]
        assert len(connected.rows(ORDER_FEE)) == len(told)
        assert connected.rows(ORDER_PENDING)["id"].tolist() == [7]
        assert account.counts["executions again"] > 0

    twice = script('kind = "duplicate"\nendpoint = "private"\nchannel = "executions"')
    with_client(tmp_path, work, faults=twice)


def test_a_closed_connection_comes_back_with_a_fresh_token(tmp_path: Path) -> None:
    async def work(venue: LocalVenue, rest: Rest, connected: Client) -> None:
        first = connected.session._token
        add(connected, 7)
        await connected.until(lambda: len(connected.rows(ORDER_ACK)) == 1)
        await connected.until(lambda: health(connected, HEALTH_ACCOUNT_LOST) != [])
        await connected.until(lambda: connected.session.ready)

        second = connected.session._token
        assert first is not None
        assert second is not None
        assert not first.same_as(second)
        assert [each.id for each in connected.session.account.open_orders()] == [7]

    with_client(
        tmp_path,
        work,
        faults=script(
            'kind = "expire_tokens"\nat = 1.0', 'kind = "close"\nendpoint = "private"\nat = 1.2'
        ),
    )


def test_a_token_call_that_is_lost_or_answered_with_a_page_is_made_again(tmp_path: Path) -> None:
    async def work(venue: LocalVenue, rest: Rest, connected: Client) -> None:
        assert connected.session.ready

    with_client(
        tmp_path,
        work,
        faults=script('kind = "html"\nendpoint = "rest"\nmethod = "GetWebSocketsToken"\ncount = 1'),
    )
