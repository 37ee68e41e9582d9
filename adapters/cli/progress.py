"""How far is it? A bar on a terminal, one JSON line per ten seconds elsewhere, both on stderr."""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from adapters.cli.output import is_terminal, say
from engine.clock import Stopwatch, utc_text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

HEARTBEAT_S: Final = 10.0


class ProgressReport:
    """Shows `done` of `total`; use it as a context and call `update`. Quiet shows nothing.

    what : one word for the work; unit : what is counted
    """

    def __init__(self, what: str, unit: str = "events", quiet: bool = False) -> None:
        self.what = what
        self.unit = unit
        self._quiet = quiet
        self._clock = Stopwatch()
        self._next = HEARTBEAT_S
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if not self._quiet and is_terminal(sys.stderr):
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                Progress,
                TaskProgressColumn,
                TextColumn,
                TimeRemainingColumn,
            )

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self.what, total=None, note="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, total: int, ts: int = 0) -> None:
        """Take note of where the work is. total : 0 if not known; ts : ns, 0 if it has none."""
        if self._quiet:
            return
        seconds = self._clock.seconds()
        if self._bar is not None and self._task is not None:
            speed = f"{done / seconds:,.0f} {self.unit}/s" if seconds > 0 else ""
            note = f"{utc_text(ts)[:19]}  {speed}" if ts else speed
            self._bar.update(self._task, completed=done, total=total or None, note=note)
        elif seconds >= self._next:
            self._next = seconds + HEARTBEAT_S
            beat = {
                "progress": self.what,
                "unit": self.unit,
                "done": done,
                "total": total or None,
                "time": utc_text(ts) if ts else None,
                "seconds": round(seconds, 1),
            }
            say(json.dumps(beat))
