"""Sessions for tests: a core, a log in a folder, a gateway, and market events fed at their own time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.config import make_profile
from engine.core.params import timer_grid_ns
from engine.flow.driver import World
from engine.flow.log import LogReader, LogWriter
from engine.flow.recorder import RECORD_TYPES, MemorySink, Recorder
from engine.instruments import InstrumentTable
from engine.session.loop import Gateway, Later, Session, ShadowGateway, end_of_stream
from engine.session.paper import PaperGateway
from engine.session.verify import Followed, follow_log
from tests.support.worlds import EAGER, make_world


@dataclass
class Made:
    """A session and what is around it."""

    session: Session
    world: World
    recorder: Recorder
    folder: Path

    def tables(self) -> dict[str, np.ndarray]:
        return {name: self.recorder.sinks[name].rows for name in RECORD_TYPES}  # type: ignore[attr-defined]


def memory_recorder() -> Recorder:
    return Recorder(lambda name, dtype: MemorySink(dtype))


def make_session(
    folder: Path,
    instruments: InstrumentTable,
    mode: str = "paper",
    overrides: Mapping[str, Any] = EAGER,
    gateway: Gateway | None = None,
    later: Later | None = None,
    **log: Any,
) -> Made:
    """A session of `mode` (paper or shadow, or with a gateway of the caller's) that has seen nothing.

    later : its log is written behind, and this is told of each sync
    """
    world = make_world(instruments, overrides)
    recorder = memory_recorder()
    behind = later is not None
    writer = LogWriter(folder, instruments, log_id="test", assign_seq=True, behind=behind, **log)
    if gateway is None:
        paper = PaperGateway(world.venue, world.link, world.core.calls)
        gateway = paper if mode == "paper" else ShadowGateway()
    session = Session(
        world.core, writer, recorder, gateway,
        timer_ns=timer_grid_ns(world.core.params), measure=lambda: 0, later=later,
    )  # fmt: skip
    return Made(session, world, recorder, folder)


def feed(session: Session, batches: Iterable[np.ndarray]) -> None:
    """Hand in `batches` as they would come: nobody is late, so whatever is due happens at its time."""
    for batch in batches:
        rest = batch
        while len(rest):
            due = session.next_due() or int(rest["ts"][0])
            n = int(np.searchsorted(rest["ts"], due, side="right"))
            if n == len(rest):
                session.take(rest, int(rest["ts"][-1]))
                break
            session.take(rest[:n], due)
            rest = rest[n:]


def read_again(
    folder: Path, instruments: InstrumentTable, overrides: Mapping[str, Any] = EAGER, **more: Any
) -> tuple[Followed, Recorder]:
    """A fresh core through the log of a session, to its end."""
    world = make_world(instruments, overrides)
    recorder = memory_recorder()
    found = follow_log(world.core, LogReader(folder), recorder, **more)
    if found.difference is None:
        end_of_stream(world.core, recorder)
    return found, recorder


def profile_of(overrides: Mapping[str, Any] = EAGER) -> Any:
    return make_profile(overrides)
