"""An entry that waits for a second journal leaves only if it would still be allowed when that came."""

import asyncio
from typing import Any

import numpy as np
import pytest

from adapters.attending import Attending
from adapters.running import Running
from adapters.sessions import LOG, verify
from engine.events import (
    MODE,
    MODE_EXIT_ONLY,
    ORDER_REJECT,
    ORDER_SENT,
    REJECT_NOT_SENT,
    WHO_OPERATOR,
    WHY_COMMAND,
)
from engine.flow.log import LogReader
from engine.reports.frames import Run
from engine.reports.safety import HELD, safety_page
from engine.session.loop import event
from tests.support.live_session import demo_keys, market, ready_for, run_for  # noqa: F401

MOST_S = 60.0  # of the machine: a busy one takes longer to come to an entry
AFTER_NS = 20_000_000_000  # of the market, from the moment that the entry may go


class Story(Attending):
    """Holds each entry's second journal back; tightens the mode at the first; then lets go."""

    def __init__(self, tighten: bool) -> None:
        self.tighten, self.n_waited, self.since = tighten, 0, 0
        self.ended: asyncio.Event | None = None
        self.waits: asyncio.Event | None = None
        self.post: Any = None
        self.running: Running | None = None

    def posts(self, post: Any) -> None:
        self.post = post

    def begin(self, running: Running) -> None:
        self.running, self.waits = running, asyncio.Event()

    def second(self, running: Running, now: int) -> None:
        if self.waits is None or self.ended is None or not self.waits.is_set():
            return
        self.since = self.since or now
        if now - self.since > AFTER_NS:
            self.ended.set()

    def stop(self, ended: asyncio.Event) -> None:
        self.ended = ended

    async def condition(self, seq: int) -> None:
        assert self.running is not None
        assert self.waits is not None
        assert self.running.log.seq_last >= seq
        self.n_waited += 1
        if self.n_waited == 1:
            if self.tighten:
                row = event(MODE, 0, aux=MODE_EXIT_ONLY, id=WHO_OPERATOR, qty=WHY_COMMAND)
                self.post(row, self.waits.set)
            else:
                self.waits.set()
        await self.waits.wait()


@pytest.mark.parametrize("tighten", [True, False])
@pytest.mark.usefixtures("demo_keys")
def test_an_entry_that_waited_asks_again_before_it_leaves(tmp_path, tighten) -> None:
    story = Story(tighten)
    with market() as venue:
        ready = ready_for(venue, tmp_path, "live")
        ran = run_for(ready, MOST_S, attending=story, condition=story.condition, stop=story.stop)
        placed = [each for client in venue.core.clients.values() for each in client.account.orders]

    assert story.n_waited > 0
    assert verify(ran.folder).ok
    page = safety_page(Run.open(ran.folder))
    # At thirty times the pace a busy machine alone may leave something uncovered for five seconds.
    assert {each.name for each in page.rules if each.verdict != HELD} <= {"cover"}, page.rules
    log = np.concatenate(list(LogReader(ran.folder / LOG)))
    entries = log[(log["kind"] == ORDER_SENT) & (log["side"] > 0)]
    if tighten:
        # Decided in NORMAL, asked for again in EXIT_ONLY: it never left, and the core was told.
        refused = log[(log["kind"] == ORDER_REJECT) & (log["aux"] == REJECT_NOT_SENT)]
        assert len(refused) >= 1
        assert len(entries) == 0
        assert placed == []
    else:
        assert len(entries) > 0
        assert len(placed) > 0
