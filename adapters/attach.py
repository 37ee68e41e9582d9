"""How does a session live on what another process captures? It follows that capture's log.

`AttachHub` stands where the hub of a public feed stands: it hands in rows of the capture's parts as
they are flushed, with the pairs renumbered to the session's own, and puts whatever else happens
into the same order. It lives `LAG_NS` behind the clock, which is longer than the capture keeps rows
to itself, so nothing overtakes them. It opens no connection. Left out: the capture (record.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from adapters.record import parts_of, spool_of
from engine.clock import Clock
from engine.errors import DataError, RefusedError
from engine.events import GAP, GAP_SOURCE
from engine.flow.log import is_log
from engine.flow.tail import LogFollower
from engine.instruments import InstrumentTable
from engine.session.loop import event

LAG_NS: Final = 500_000_000
POLL_S: Final = 0.02
SILENT_S: Final = 10.0  # without a new row: said once


class AttachHub:
    """The feed of a session that is attached.

    begin, take : of the session's loop; say : (level, text) for people
    raises RefusedError where no capture runs (attach-blocked), DataError where its log is damaged
    """

    def __init__(
        self,
        store: Path,
        symbols: tuple[str, ...],
        clock: Clock,
        begin: Callable[[InstrumentTable], None],
        take: Callable[[np.ndarray], None],
        say: Callable[[str, str], None],
    ) -> None:
        self._spool, self._symbols, self._clock = spool_of(store), symbols, clock
        self._store = store
        self._begin, self._take, self._say = begin, take, say
        self._calls: deque[Callable[[int], None]] = deque()
        self._tail: LogFollower | None = None
        self._gone = False  # the part that is followed was removed
        self._part = ""
        self._rows: np.ndarray | None = None  # row of the capture's table to ours, -1: not ours
        self._last = 0
        self._begun = False
        self._heard_ns = 0
        self._silent = False
        self.n_dropped = 0
        self.failure: BaseException | None = None

    def stamp(self) -> int:
        """The time that this session lives in: some way behind the clock, never falling."""
        self._last = max(self._last, self._clock.now() - LAG_NS)
        return self._last

    def next_stamp(self) -> int:
        """A time that nothing comes before that is still to be handed over."""
        return self._last

    def post(self, call: Callable[[int], None]) -> None:
        self._calls.append(call)

    def facts(self) -> dict[str, Any]:
        age = (self._clock.now() - self._heard_ns) // 1_000_000 if self._heard_ns else -1
        return {"capture": {"phase": self._part or "none", "age_ms": age}}

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until stopped. Rows that were flushed before what is posted come first."""
        while not stop.is_set():
            if self.failure is not None:
                raise self.failure
            self._poll()
            while self._calls:
                self._calls.popleft()(self.stamp())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await stop.wait()
        while self._calls:
            self._calls.popleft()(self.stamp())

    def _poll(self) -> None:
        if self._tail is None or self._gone or self._tail.closed:
            self._next_part()
        if self._tail is None or self._gone:
            return
        for rows in self._news(self._tail):
            self._hear(rows)
        if self._rows is None:
            self._listed(self._tail.header.instruments)
        now = self._clock.now()
        silent = bool(self._heard_ns) and now - self._heard_ns > SILENT_S * 1_000_000_000
        if silent and not self._silent:
            self._say("warning", f"the capture of {self._store} says nothing any more")
        self._silent = silent

    def _news(self, tail: LogFollower) -> Iterator[np.ndarray]:
        """What the part has said since; one that is no longer there has nothing more to say."""
        try:
            yield from tail.read()
        except FileNotFoundError:
            # A capture that begins anew drops or seals what the one before left. The next part
            # begins with a gap, whatever was lost of this one.
            self._gone = True

    def _next_part(self) -> None:
        """The newest part to begin with, then each that follows."""
        parts = [each for each in parts_of(self._spool) if is_log(each)]
        later = [each for each in parts if each.name > self._part]
        if not later:
            if self._tail is None:
                raise RefusedError(
                    f"attach-blocked: no capture writes into {self._store}.",
                    f"Start one: `kapitaalbot capture run --store {self._store}` with the session's pairs.",
                )
            return
        chosen = later[0] if self._tail is not None else later[-1]
        self._part, self._tail, self._rows = chosen.name, LogFollower(chosen), None
        self._gone = False

    def _listed(self, table: InstrumentTable) -> None:
        missing = [each for each in self._symbols if each not in table]
        if missing:
            raise DataError(
                f"attach-blocked: the capture of {self._store} has no {', '.join(missing)}.",
                "Capture them, or leave them out of live.symbols.",
            )
        ours = InstrumentTable(table[each] for each in self._symbols)
        rows = np.full(len(table), -1, np.int16)
        for row, symbol in enumerate(self._symbols):
            rows[table.index(symbol)] = row
        self._rows = rows
        self._begin(ours)
        if self._begun:
            # Each part begins with books as they stand; what lies between two parts is not known.
            before = self._last
            self._take(event(GAP, self.stamp(), id=GAP_SOURCE, aux=before))
        self._begun = True

    def _hear(self, rows: np.ndarray) -> None:
        if self._rows is None:
            assert self._tail is not None
            self._listed(self._tail.header.instruments)
        assert self._rows is not None
        sym = rows["sym"]
        mine = np.where(sym >= 0, self._rows[sym], -1)
        kept = rows[(sym < 0) | (mine >= 0)]
        if not len(kept):
            return
        kept["sym"] = mine[(sym < 0) | (mine >= 0)]
        self._heard_ns = self._clock.now()
        self._last = max(self._last, int(kept["ts"][-1]))
        self._take(kept)
