"""What a session leaves to threads, done where it is asked for: for sessions on one clock (one_clock.py).

A thread takes the machine's time, and one clock waits for nobody else; that the threads do the same is
the business of the tests with processes. The end of a sync is told through the loop as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import adapters.live as live
import adapters.running as running
import engine.flow.log as log
from engine.flow.behind import Behind
from engine.flow.files import Files


class DiskInPlace(Behind):
    """The log's way to the disk. No zeros are put ahead of it."""

    def __init__(self, files: Files, ahead: int = 0) -> None:
        self._files, self._ahead = files, ahead
        self._failure, self.failed, self._newest = None, "", None

    def when_done(self, call: Callable[[], None]) -> None:
        call()

    def settle(self) -> None:
        self.check()

    def stop(self) -> None:
        pass

    def do(self, name: str, job: Callable[[], None]) -> None:
        self.check()
        self._try(name, job)


class WriterInPlace:
    """Tables and snapshots."""

    failure = None
    waiting = 0

    def put(self, sink: Any, rows: Any) -> None:
        sink.append(rows)

    def call(self, job: Any) -> None:
        job()

    def settle(self) -> None:
        pass

    def close(self) -> None:
        pass


def without_threads(patch: pytest.MonkeyPatch, carry: Callable[[Any], Any]) -> None:
    """From now on sessions of this process run in `carry`, and all that they do there and then."""
    patch.setattr(live, "_run", carry)
    patch.setattr(running, "_Writer", WriterInPlace)
    patch.setattr(log, "Behind", DiskInPlace)
    # A disk that takes no time of the one clock.
    patch.setattr(running, "time", SimpleNamespace(perf_counter_ns=lambda: 0))
    # Its pauses cost a quarter of a second each, and matter to no clock of ours.
    idle = dict.fromkeys(("collect", "freeze", "unfreeze"), lambda: None)
    patch.setattr(live, "gc", SimpleNamespace(**idle))
