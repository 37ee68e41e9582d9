"""An hour of generated market at speed, in each mode, through real sockets, with and without faults."""

from pathlib import Path

import numpy as np
import pytest

from adapters.local_venue.faults import parse_script
from adapters.local_venue.keys import DEMO_KEY
from adapters.replay import replay
from adapters.session_market import SessionMarket
from adapters.sessions import LOG, verify
from engine.events import GAP, ORDER_FILL
from engine.flow.log import LogReader
from engine.reports.frames import Run
from tests.support.live_session import demo_keys, market, ready_for, run_for  # noqa: F401

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("demo_keys")]

SPEED, SECONDS = 40.0, 100.0  # an hour of market and a little
FAULTS = """
seed = 3

[[fault]]
kind = "checksum"
endpoint = "public"
channel = "book"
kind_of = "update"
skip = 400
count = 3

[[fault]]
kind = "abort"
endpoint = "public"
at = 600.0

[[fault]]
kind = "close"
endpoint = "private"
at = 1200.0

[[fault]]
kind = "drop"
endpoint = "private"
channel = "executions"
skip = 20
count = 1

[[fault]]
kind = "duplicate"
endpoint = "private"
channel = "executions"
probability = 0.2
"""


def rows_of(folder: Path) -> np.ndarray:
    return np.concatenate(list(LogReader(folder / LOG)))


@pytest.mark.parametrize("faults", [False, True], ids=["calm", "faults"])
@pytest.mark.parametrize("mode", ["shadow", "paper", "live"])
def test_an_hour_of_market_verifies_to_one_digest(tmp_path, mode, faults) -> None:
    script = parse_script(FAULTS) if faults else None
    with market(SPEED, faults=script) as venue:
        ran = run_for(ready_for(venue, tmp_path, mode), SECONDS)
        books = venue.core.clients[DEMO_KEY].account if mode == "live" else None

    found = verify(ran.folder)
    assert found.ok
    assert found.n_commands == ran.manifest["rows"]["commands"] > 0
    rows = rows_of(ran.folder)
    span_s = (rows["ts"][-1] - rows["ts"][0]) / 1e9
    assert span_s > 3000
    assert not faults or (rows["kind"] == GAP).any()
    if books is not None:
        fills = rows[(rows["kind"] == ORDER_FILL) & (rows["id"] > 0)]
        assert len(fills) == len(books.fills)


def test_live_and_paper_decide_the_same_entries_until_their_fills_differ(tmp_path) -> None:
    """Live against its own simulation: the report says where they part, and what was before it."""
    with market(SPEED) as venue:
        live = run_for(ready_for(venue, tmp_path, "live"), SECONDS)
    simulated = replay(
        None, source=SessionMarket(live.folder), overrides={"run": {"out": str(tmp_path / "sim")}}
    )
    assert simulated.folder is not None

    beside = Run.open(live.folder).beside(Run.open(simulated.folder))

    entries = beside["entries"]
    assert entries["agree"] > 0
    parting = entries["first_parting"]
    first_fill = beside["fills"]["first_difference"]
    if parting is not None:
        # They part only after a fill did, and the report names it.
        assert first_fill is not None
        assert parting["why"]
