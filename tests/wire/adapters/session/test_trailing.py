"""Stops that follow at the venue, in whole sessions through real sockets; the venue's books judge."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.live import Ran
from adapters.local_venue import LocalVenue, VenueOptions
from adapters.local_venue.account import Account, Order
from adapters.local_venue.keys import DEMO_KEY
from adapters.running import Running
from adapters.sessions import LOG, last_state, verify
from engine.commands import ADD, ROLE_PROTECTION, STOP_LOSS, TRAILING_STOP
from engine.core.orders import is_working
from engine.core.orderstates import ORDER_STATE_OPEN, ORDER_STATE_PARTIAL, ORDER_STATE_SUSPECT
from engine.core.recoveries import (
    RECOVERY_RECONCILED,
    RECOVERY_TRAIL_FIXED,
    RECOVERY_TRAIL_OFF,
)
from engine.core.trailed import TRAIL_REFUSALS_MAX
from engine.events import ORDER_TRAILED
from engine.flow.log import LogReader
from engine.reports.frames import Run
from tests.support.live_session import demo_keys, market, ready_for, run_for  # noqa: F401

SECONDS = 25.0  # at thirty times the pace: twelve minutes of market
NATIVE: dict[str, Any] = {
    "trail_native": True, "trail_start_bps": 2, "trail_min_bps": 2, "trail_atr_multiple": 0.5,
    "trail_step_bps": 0.5, "trail_interval": "1s", "time_multiple": 1,
}  # fmt: skip


def rows_of(folder: Path) -> np.ndarray:
    return np.concatenate(list(LogReader(folder / LOG)))


def sells(books: Account) -> list[Order]:
    return [each for each in books.orders.values() if each.side < 0]


def never_oversold(books: Account) -> None:
    """By the venue's own books: at no moment two sells of a pair, nor more than the account holds."""
    for sym in range(len(books.market.instruments)):
        mine = sorted((each for each in sells(books) if each.sym == sym), key=lambda o: o.t_opened)
        for one, after in pairwise(mine):
            assert 0 < one.t_closed <= after.t_opened, (one.txid, after.txid)
        symbol = books.venue.symbols[sym]
        assert 0 <= symbol["base_held"] <= symbol["base"]


def run_until(
    venue: LocalVenue,
    folder: Path,
    mode: str,
    enough: Callable[[Ran], bool],
    until: Callable[[Running], bool] | None = None,
) -> Ran:
    """Sessions one after the other until one has `enough`: a busy machine trades less in a while.

    until : what ends a session sooner than the others
    """
    for _ in range(5):
        ran = run_for(ready_for(venue, folder, mode, exits=NATIVE), SECONDS, until=until)
        found = verify(ran.folder)
        assert found.difference is None
        assert found.ok
        assert found.digest == ran.digest
        if enough(ran):
            return ran
    raise AssertionError("no session had what this test is about")


def stops_of(ran: Ran, type_: int) -> list[dict[str, Any]]:
    """Commands that placed a stop of this type."""
    commands = Run.open(ran.folder).table("commands").to_dicts()
    placed = [each for each in commands if each["role"] == ROLE_PROTECTION and each["kind"] == ADD]
    return [each for each in placed if each["type"] == type_]


def some(running: Running, type_: int, what: str) -> bool:
    """Has an order of this type, of those that the core remembers, `what` that is not 0?"""
    orders = running.built.core.orders
    return bool(((orders["id"] > 0) & (orders["type"] == type_) & (orders[what] != 0)).any())


def rests(running: Running) -> bool:
    """Does a trailing stop of the core rest, of which the venue has told?"""
    return any(
        is_working(each) and each["type"] == TRAILING_STOP and each["trailed"]
        for each in running.built.core.orders
    )


def fixed(running: Running) -> bool:
    """Was a distance refused so often that it stays?"""
    positions = running.built.core.symbols["position"]
    return bool((positions["trail_refused"] >= TRAIL_REFUSALS_MAX).any())


def followed(ran: Ran) -> bool:
    """Did the venue say where a trailing stop of this session stands?"""
    rows = rows_of(ran.folder)
    told = set(rows["id"][rows["kind"] == ORDER_TRAILED].tolist())
    return bool(told & {each["id"] for each in stops_of(ran, TRAILING_STOP)})


def recovered(ran: Ran, code: int) -> bool:
    return code in Run.open(ran.folder).table("recoveries")["recovery"].to_list()


@pytest.mark.parametrize("mode", ["paper", "live"])
@pytest.mark.usefixtures("demo_keys")
def test_a_session_whose_stops_follow_at_the_venue(tmp_path, mode) -> None:
    with market() as venue:
        ran = run_until(venue, tmp_path, mode, followed)
        books = venue.core.clients[DEMO_KEY].account if mode == "live" else None

    assert not recovered(ran, RECOVERY_TRAIL_OFF)
    if books is None:
        return
    never_oversold(books)
    theirs = [each for each in sells(books) if each.order_type == "trailing-stop"]
    assert len(theirs) > 0
    # What the core believes of a stop that still rests is what the venue has, or less.
    core = last_state(ran.folder).built.core
    for order in core.orders:
        if is_working(order) and order["type"] == TRAILING_STOP and order["amend_price"] == 0:
            named = f"kb{int(order['id']):016x}"
            [real] = [each for each in books.orders.values() if each.cl_ord_id == named]
            assert (order["price"], order["qty"]) == (int(real.trailing or 0), real.qty)
            assert order["trigger"] <= real.trigger


def resting(books: Account) -> list[str]:
    return [each.cl_ord_id or "" for each in books.open.values() if each.trailing is not None]


@pytest.mark.usefixtures("demo_keys")
def test_the_next_session_finds_its_trailing_stop_and_leaves_it_where_it_is(tmp_path) -> None:
    """It follows while nobody is there; what rests is coverage, and is not placed a second time."""
    # Held for long: no target, no time exit, no trail that begins.
    patient = {
        **NATIVE, "time_multiple": 1000, "trail_start_bps": 5000, "target_vol_multiple": 100,
        "stop_min_bps": 100,
    }  # fmt: skip
    with market() as venue:
        for _ in range(6):
            run_for(ready_for(venue, tmp_path, "live", exits=patient), SECONDS, until=rests)
            books = venue.core.clients[DEMO_KEY].account
            if left := resting(books):
                break
        assert left, "no trailing stop rests"
        peaks = {each.cl_ord_id: each.peak for each in books.open.values()}
        second = run_for(ready_for(venue, tmp_path, "live", exits=patient), 15.0)

    assert verify(second.folder).ok
    never_oversold(books)
    assert recovered(second, RECOVERY_RECONCILED)
    run = Run.open(second.folder)
    rows = run.table("orders").to_dicts()
    for name in left:
        id = int(name.removeprefix("kb"), 16)
        [real] = [each for each in books.orders.values() if each.cl_ord_id == name]
        assert real.peak >= peaks[name]
        found = [
            each for each in rows
            if each["id"] == id and each["state_before"] == ORDER_STATE_SUSPECT
            and each["state"] in (ORDER_STATE_OPEN, ORDER_STATE_PARTIAL)
        ]  # fmt: skip
        if real.alive:
            assert found, "read back, and believed to rest"
    # Nothing was placed beside what rested.
    held = {each.sym for each in books.orders.values() if each.cl_ord_id in left and each.alive}
    assert not [each for each in stops_of(second, TRAILING_STOP) if each["sym"] in held]
    assert not [each for each in stops_of(second, STOP_LOSS) if each["sym"] in held]


@pytest.mark.usefixtures("demo_keys")
def test_a_venue_without_trailing_stops_gets_plain_ones(tmp_path) -> None:
    options = VenueOptions(fee_schedule="zero", rest_limits=False, trailing_stops=False)
    with market(options=options) as venue:
        ran = run_until(
            venue, tmp_path, "live", lambda ran: recovered(ran, RECOVERY_TRAIL_OFF)
            and bool(stops_of(ran, STOP_LOSS)),
            until=lambda running: some(running, STOP_LOSS, "ts_acked"),
        )  # fmt: skip
        books = venue.core.clients[DEMO_KEY].account

    assert stops_of(ran, TRAILING_STOP)
    never_oversold(books)
    assert "stop-loss" in {each.order_type for each in sells(books)}
    assert "trailing-stop" not in {each.order_type for each in books.orders.values()}


@pytest.mark.usefixtures("demo_keys")
def test_a_venue_that_amends_no_distance_keeps_the_one_it_has(tmp_path) -> None:
    options = VenueOptions(fee_schedule="zero", rest_limits=False, trailing_amends=False)
    with market(options=options) as venue:
        ran = run_until(
            venue, tmp_path, "live", lambda ran: recovered(ran, RECOVERY_TRAIL_FIXED), until=fixed
        )  # fmt: skip
        books = venue.core.clients[DEMO_KEY].account

    never_oversold(books)
    asked = {
        each["id"]: each["price"] for each in stops_of(ran, TRAILING_STOP)
    }  # fmt: skip
    named = {int(each.cl_ord_id.removeprefix("kb"), 16): each
             for each in sells(books) if each.cl_ord_id and each.trailing is not None}  # fmt: skip
    both = asked.keys() & named.keys()
    assert both
    assert all(named[id].trailing == asked[id] for id in both)
