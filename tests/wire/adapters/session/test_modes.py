"""Shadow, paper and live through real sockets: each log gives the same digest again."""

from pathlib import Path

import numpy as np
import pytest

from adapters.kraken.account import AccountFeed
from adapters.kraken.private_frames import FILE, read_frames
from adapters.kraken.wire import Balances, Executions, decode
from adapters.local_venue.keys import DEMO_KEY
from adapters.running import Running
from adapters.sessions import LOG, last_state, open_session, verify
from engine.clock import WallClock
from engine.events import MODE, MODE_EXIT_ONLY, MODE_NORMAL, ORDER_FILL, ORDER_REJECT, ORDER_SENT
from engine.flow.log import LogReader
from engine.reports.frames import Run
from engine.session.state import state_digest
from tests.support.live_session import (
    bought,
    commands,
    demo_keys,  # noqa: F401
    market,
    ready_for,
    run_for,
)

MOST_S = 120.0  # a session ends as soon as it has what its test is about


def rows_of(folder: Path) -> np.ndarray:
    return np.concatenate(list(LogReader(folder / LOG)))


def fills_of_frames(folder: Path) -> list[tuple[int, int, int]]:
    """Execution, price, quantity of every fill, from the kept frames through a decoder of its own."""
    account = AccountFeed(open_session(folder).started.instruments)
    rows = []
    for heard in read_frames(folder / FILE):
        if heard.what != "frame":
            rows.append(account.lost(heard.ts).events())
            continue
        message = decode(heard.frame)
        if isinstance(message, Executions | Balances):
            rows.append(account.take(message, heard.ts).events())
    told = np.concatenate(rows)
    return told[(told["kind"] == ORDER_FILL) & (told["id"] > 0)][["aux", "price", "qty"]].tolist()


@pytest.mark.parametrize("mode", ["shadow", "paper", "live"])
@pytest.mark.usefixtures("demo_keys")
def test_a_session_trades_and_its_log_gives_the_same_again(tmp_path, mode) -> None:
    with market() as venue:
        enough = bought if mode == "live" else lambda running: commands(running) >= 3
        ran = run_for(ready_for(venue, tmp_path, mode), MOST_S, until=enough)
        books = venue.core.clients[DEMO_KEY].account if mode == "live" else None

    found = verify(ran.folder)
    assert found.difference is None
    assert found.digest == ran.digest
    assert found.ok
    rows = rows_of(ran.folder)
    kinds = set(rows["kind"].tolist())
    assert ran.manifest["rows"]["commands"] == found.n_commands > 0
    if mode == "shadow":
        assert ORDER_SENT not in kinds
        assert ORDER_REJECT in kinds
    else:
        assert ORDER_SENT in kinds
    if books is not None:
        modes = rows[rows["kind"] == MODE]["aux"].tolist()
        assert modes[0] == MODE_EXIT_ONLY
        core = last_state(ran.folder).built.core
        assert core.glob[0]["mode"] == MODE_NORMAL
        fills = rows[(rows["kind"] == ORDER_FILL) & (rows["id"] > 0)]
        assert len(fills) == len(books.fills) > 0
        # The venue's own books: what it holds beyond what it held at first is what the core holds.
        placed = [each.cl_ord_id for each in books.orders.values()]
        assert len(set(placed)) == len(placed)
        assert fills_of_frames(ran.folder) == fills[["aux", "price", "qty"]].tolist()
        # The market runs ahead of this machine; a kill switch with the same key draws by the machine.
        drawn = [each for each in (tmp_path / "state").rglob("kraken-nonce-*") if not each.suffix]
        assert drawn
        assert max(int(each.read_text()) for each in drawn) <= WallClock().now() // 1000
    assert Run.open(ran.folder).manifest["mode"] == mode


@pytest.mark.usefixtures("demo_keys")
def test_the_next_session_takes_up_where_the_last_one_stopped(tmp_path) -> None:
    """Position, orders and client ids go on; the log of the second begins with the first's core."""
    with market() as venue:
        first = run_for(ready_for(venue, tmp_path, "live"), MOST_S, until=bought)
        ready = ready_for(venue, tmp_path, "live")
        assert ready.plan.previous == first.folder.resolve()
        ended = last_state(first.folder).built.core

        def goes_on(running: Running) -> bool:
            glob = running.built.core.glob[0]
            return (
                glob["mode"] == MODE_NORMAL
                and glob["n_evaluations"] > ended.glob[0]["n_evaluations"]
            )

        second = run_for(ready, MOST_S, until=goes_on)

    whole = last_state(first.folder, from_start=True).built.core
    assert state_digest(ended) == state_digest(whole)
    assert verify(second.folder).ok
    assert second.manifest["previous"] == first.folder.name
    later = last_state(second.folder).built.core
    assert later.glob[0]["last_order_id"] >= ended.glob[0]["last_order_id"]
    assert later.glob[0]["mode"] == MODE_NORMAL
    assert later.glob[0]["n_evaluations"] > ended.glob[0]["n_evaluations"]
