"""How does a run go from its first event to its digest? The one loop of every simulated mode.

The driver hands batches to `advance`, carries over what is not certain yet, drains the records
and reports progress. It knows nothing of files, terminals or strategies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.core.state import Core
from engine.errors import DataError, InvariantError
from engine.events import EVENT
from engine.flow.advance import FAULTED, FINISHED, NEED_DRAIN, VENUE_FAULT, advance
from engine.flow.recorder import Recorder
from engine.jit import entry_point
from engine.stage import define_kind, link
from engine.venue.state import FAULT_NAMES, Venue

FAULT_TEXTS = {
    1: "a record ring is full",
    2: "too many commands or answers under way",
    3: "time ran backwards in the event stream",
    4: "an amount of money left its bounds",
    5: "an event of an unknown kind",
    6: "an event of an instrument that the table does not hold",
    7: "an order changed in a way that the table of transitions forbids",
}
DATA_FAULTS = (3, 5, 6)
HEAD = 1024  # events of a batch that are copied to follow the ones carried over


@dataclass
class World:
    """One run's state: the core, its simulated venue, and what travels between them."""

    core: Core
    venue: Venue
    link: np.ndarray
    _advance: Callable[..., Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Fill the core's table with the addresses of everything compiled (engine/stage.py)."""
        define_kind("venue", self.venue)
        link(self.core.calls)
        self._advance = entry_point(
            advance, self.core, self.venue, self.link, np.zeros(0, EVENT), True
        )

    def advance(self, events: np.ndarray, final: bool) -> tuple[int, int]:
        """`engine.flow.advance.advance` for this world. events : EVENT[n], contiguous."""
        if events.dtype != EVENT or not events.flags.c_contiguous:
            raise InvariantError(
                f"events of type {events.dtype} in a layout that compiled code cannot read.",
                "Give contiguous arrays of engine.events.EVENT.",
            )
        consumed, status = self._advance(self.core, self.venue, self.link, events, final)
        return int(consumed), int(status)


@dataclass
class RunResult:
    """What is known of a run when it ends."""

    digest: str
    table_digests: dict[str, str]
    n_events: int
    n_rows: dict[str, int]
    first_ts: int
    last_ts: int
    faults: list[str] = field(default_factory=list)


def _fail(world: World) -> None:
    code = int(world.core.glob[0]["fault"]) or int(world.link[0]["fault"])
    now = int(world.core.glob[0]["now"])
    if code > VENUE_FAULT:
        name = FAULT_NAMES[code - VENUE_FAULT]
        if name == "value":
            raise DataError(
                f"a damaged market event (price, quantity or another field) near ts {now}.",
                "`kapitaalbot data check` on the capture names the first defect.",
            )
        text = f"the simulated venue failed: {name}"
    else:
        text = FAULT_TEXTS.get(code, f"fault {code}")
    if code in DATA_FAULTS:
        raise DataError(
            f"{text}, near ts {now} after {int(world.core.glob[0]['n_events'])} events.",
            "`kapitaalbot data check` on the capture names the first defect.",
        )
    raise InvariantError(
        f"the run stopped at ts {now}: {text} (fault {code}).",
        "This is a defect of ours: keep the capture and the profile, and report both.",
    )


def drive(
    batches: Iterable[np.ndarray],
    world: World,
    recorder: Recorder,
    progress: Callable[[int, int], None] | None = None,
) -> RunResult:
    """Run all `batches` (EVENT arrays, by time) through `world`.

    progress : called after each batch with (events done, ts of the newest)
    raises DataError for a stream that breaks its contract, InvariantError for a defect of ours
    """
    rest = np.zeros(0, EVENT)
    n_events = 0
    first_ts = 0
    last_ts = 0
    for batch in batches:
        if len(batch) == 0:
            continue
        if n_events == 0:
            first_ts = int(batch[0]["ts"])
        n_events += len(batch)
        last_ts = int(batch[-1]["ts"])
        if len(rest):
            # Join the carried-over events with a short head only: copying whole batches costs.
            head = min(HEAD, len(batch))
            rest = _push(world, recorder, np.concatenate((rest, batch[:head])), False)
            if len(rest) <= head:
                rest = _push(world, recorder, batch[head - len(rest) :], False)
            else:
                rest = _push(world, recorder, np.concatenate((rest, batch[head:])), False)
        else:
            rest = _push(world, recorder, batch, False)
        if progress is not None:
            progress(n_events, last_ts)
    if n_events == 0:
        raise DataError(
            "the capture holds no events for these symbols and times.",
            "`kapitaalbot data ls` shows what it holds; check `from`, `to` and `symbols`.",
        )
    _push(world, recorder, rest, True)
    recorder.drain(world.core, world.link)
    recorder.settle()
    return RunResult(
        digest=recorder.digest.hexdigest(),
        table_digests=recorder.digest.table_digests(),
        n_events=n_events,
        n_rows=dict(recorder.digest.n_rows),
        first_ts=first_ts,
        last_ts=last_ts,
    )


def _push(world: World, recorder: Recorder, events: np.ndarray, final: bool) -> np.ndarray:
    """Advance until more events are needed (or the end); returns what is to come again."""
    while True:
        consumed, status = world.advance(events, final)
        events = events[consumed:]
        if status == FAULTED:
            _fail(world)
        if status == NEED_DRAIN:
            recorder.drain(world.core, world.link)
            continue
        if status == FINISHED or not final:
            # A copy: the source may reuse its buffer for the next batch.
            return events.copy()
