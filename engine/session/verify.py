"""Does a session's log give the same commands and records again? The proof of the design.

`follow_log` steps a core through a log as the session stepped its own: it is how a session is
verified, how its tables are rebuilt, and how a restart gets its core back. Every command that the
core decides must be the next one in the log. Left out: which core to begin with, and comparing
digests (adapters/sessions.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from engine.clock import utc_text
from engine.commands import COMMAND, COMMAND_NAMES, ROLE_NAMES, TIF_NAMES, TYPE_NAMES
from engine.core.state import Core
from engine.events import EVENT, ORDER_COMMAND, joined
from engine.flow.follow import COMMANDS_DUE, CORE_FAULT, ROWS_DUE
from engine.flow.held import follow_held, hold
from engine.flow.journal import RECORDS, commands_of
from engine.flow.recorder import COMMANDS_TABLE, Recorder
from engine.jit import entry_point
from engine.session.loop import core_fault

_NONE: Final = np.zeros(0, COMMAND)


@dataclass(frozen=True)
class Difference:
    """The first command that is not the same. Either side may be missing.

    seq : of the event after which they part
    """

    seq: int
    ts: int
    number: int  # of the command, from 1
    recorded: np.void | None
    decided: np.void | None

    def text(self, symbols: tuple[str, ...]) -> str:
        """Three lines for people."""
        where = f"command {self.number}, at {utc_text(self.ts)}, event {self.seq} of the log"
        return (
            f"{where}:\n  the session decided  {command_text(self.recorded, symbols)}\n"
            f"  the replay decides   {command_text(self.decided, symbols)}"
        )


def command_text(command: np.void | None, symbols: tuple[str, ...]) -> str:
    """One command in words; integers as they are recorded (ticks, lots)."""
    if command is None:
        return "nothing"
    kind = COMMAND_NAMES.get(int(command["kind"]), str(command["kind"]))
    sym = int(command["sym"])
    words = [
        kind,
        ROLE_NAMES.get(int(command["role"]), "?"),
        "buy" if command["side"] > 0 else "sell",
        symbols[sym] if 0 <= sym < len(symbols) else str(sym),
        TYPE_NAMES.get(int(command["type"]), "?"),
        TIF_NAMES.get(int(command["tif"]), "?"),
    ]
    names = ("id", "qty", "price", "trigger", "expire_ts", "reason", "generation", "route")
    return " ".join(words) + "".join(f" {name}={int(command[name])}" for name in names)


@dataclass
class Followed:
    """What came of reading a log. difference : None if every command was the same.

    undone : COMMAND[n] that the core decided at the very end and a torn log does not have
    """

    n_events: int = 0
    n_commands: int = 0
    seq_last: int = -1
    ts_first: int = 0
    ts_last: int = 0
    difference: Difference | None = None
    undone: np.ndarray = field(default_factory=lambda: _NONE)


def follow_log(
    core: Core,
    batches: Iterable[np.ndarray],
    recorder: Recorder,
    *,
    after: int = -1,
    torn: bool = False,
    taken: Callable[[np.ndarray], None] = lambda _: None,
    commanded: Callable[[np.ndarray], None] = lambda _: None,
    progress: Callable[[int, int], None] | None = None,
) -> Followed:
    """Step `core` through the events of a log that come after seq `after`.

    torn : the log was cut off, so that its very last decisions may be missing: they never left
    taken, commanded : told of rows once the core has them, and of commands it decided
    progress : called after each batch with (events done, ts of the newest)
    returns at the first command that differs; raises as a session does for a fault of the core
    """
    walk = _Walk(core, recorder, taken, commanded)
    found = walk.found
    for batch in batches:
        rows = batch[batch["seq"] > after] if after >= 0 else batch
        if not len(rows):
            continue
        if not found.n_events:
            found.ts_first = int(rows["ts"][0])
        walk.take(np.ascontiguousarray(rows))
        found.n_events += len(rows)
        found.seq_last, found.ts_last = int(rows["seq"][-1]), int(rows["ts"][-1])
        if progress is not None:
            progress(found.n_events, found.ts_last)
        if found.difference is not None:
            return found
    if torn:
        found.undone = walk.decided
    else:
        walk.finish()
    return found


class _Walk:
    """The core in the middle of a log. decided : by it, and the log has not shown it yet; or the reverse"""

    def __init__(
        self,
        core: Core,
        recorder: Recorder,
        taken: Callable[[np.ndarray], None],
        commanded: Callable[[np.ndarray], None],
    ) -> None:
        self.found = Followed()
        self._core, self._recorder = core, recorder
        self._taken, self._commanded = taken, commanded
        self.decided = _NONE
        self._open = np.zeros(0, EVENT)  # records of a command that is not whole yet
        self._held = hold(core)
        self._follow = entry_point(follow_held, self._held, np.zeros(1, EVENT), 0)

    def take(self, rows: np.ndarray) -> None:
        is_command = rows["kind"] == ORDER_COMMAND
        edges = np.flatnonzero(np.diff(is_command)) + 1
        for part in np.split(rows, edges):
            if part["kind"][0] == ORDER_COMMAND:
                self._compare(part)
            if self.found.difference is None:
                self._step(part)

    def finish(self) -> None:
        """The log has ended: what the core decided and nobody recorded is a difference too."""
        if len(self.decided) and self.found.difference is None:
            self._differ(None, self.decided[0], self.found.seq_last)

    def _step(self, rows: np.ndarray) -> None:
        glob = self._core.glob[0]
        done = 0
        while done < len(rows):
            first = done
            done, status = self._follow(self._held, rows, done)
            self._taken(rows[first:done])
            if n := int(glob["n_commands"]):
                commands = self._core.commands[:n].copy()
                glob["n_commands"] = 0
                self.decided = np.concatenate((self.decided, commands))
            if status == ROWS_DUE:
                self._recorder.drain(self._core)
            elif status == CORE_FAULT:
                raise core_fault(self._core)
            assert status != COMMANDS_DUE or n

    def _compare(self, rows: np.ndarray) -> None:
        """Records of commands: the core must have decided the same, in the same order."""
        rows = joined((self._open, rows))
        n = len(rows) // RECORDS
        recorded = commands_of(rows[: n * RECORDS])
        self._open = rows[n * RECORDS :].copy()
        for k in range(n):
            seq = int(rows["seq"][k * RECORDS])
            if not len(self.decided):
                self._differ(recorded[k], None, seq)
                return
            if recorded[k].tobytes() != self.decided[0].tobytes():
                self._differ(recorded[k], self.decided[0], seq)
                return
            self.found.n_commands += 1
            one = self.decided[:1]
            self._recorder.add(COMMANDS_TABLE, one)
            self._commanded(one)
            self.decided = self.decided[1:]

    def _differ(self, recorded: np.void | None, decided: np.void | None, seq: int) -> None:
        shown = recorded if recorded is not None else decided
        assert shown is not None
        self.found.difference = Difference(
            seq, int(shown["ts"]), self.found.n_commands + 1, recorded, decided
        )
