"""How does a session go from an event to an order? The one loop of shadow, paper and live.

Rows come from whoever hears something: a public feed, an account, an operator, a clock. `take`
puts them in order of time with the timers of the grid, steps the core through them, and writes
both what the core learned and what it decided to the session's log. A command is in the log, and
synced where it may reach a venue, before the gateway sees it; what the gateway says of it (sent,
or not) is the next thing that the core learns. Stepping the log through a fresh core therefore
gives the same commands and records again (verify.py).

No socket, no clock: stamps come with the rows. Left out: who feeds it (adapters/live.py), what a
gateway does, and rebuilding a core after a stop (state.py, verify.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol

import numpy as np

from engine.clock import next_on_grid
from engine.commands import ADD, AMEND, CANCEL, CANCEL_ALL, COMMAND
from engine.core.capital import close_books
from engine.core.shadow import close_shadow
from engine.core.state import Core
from engine.errors import InvariantError, StorageError
from engine.events import (
    AMEND_REJECT,
    CANCEL_REJECT,
    EVENT,
    HEALTH,
    HEALTH_JOURNAL,
    LAST,
    NO_SYMBOL,
    ORDER_REJECT,
    ORDER_SENT,
    REJECT_SHADOW,
    TIMER,
    empty,
    joined,
)
from engine.flow.driver import DATA_FAULTS, FAULT_TEXTS
from engine.flow.follow import COMMANDS_DUE, CORE_FAULT, ROWS_DUE
from engine.flow.held import follow_held, hold
from engine.flow.journal import command_rows
from engine.flow.log import LogWriter, Mark
from engine.flow.merge import words
from engine.flow.recorder import COMMANDS_TABLE, Recorder
from engine.jit import entry_point

TIMERS_MAX: Final = 60  # of one catch-up: what lies further back has no use any more
SYNC_TOLD_NS: Final = 50_000_000  # a sync that took longer is told to the core at once
SYNC_EVERY_NS: Final = 10_000_000_000  # ... and any other so often

NEVER: Final = 1 << 62

Measure = Callable[[], int]  # ns of a steady clock, for how long something took
# Has what it is given called in the session's own thread, soon, with the time (ns): not later than the
# stamp of anything that is still to be taken. May be called from any thread.
Later = Callable[[Callable[[int], None]], None]


class Gateway(Protocol):
    """Where commands go. Exactly one per mode; none of them decides anything."""

    @property
    def leaves_machine(self) -> bool:
        """May a command reach a venue, so that the log must be on the disk first?"""

    def carry(self, commands: np.ndarray, now: int) -> np.ndarray:
        """Carry out COMMAND[n]; returns EVENT rows: for each ORDER_SENT, or why it never left."""

    def heard(self, rows: np.ndarray) -> None:
        """EVENT rows that the core has learned, for a gateway that follows the market."""

    def due(self, now: int) -> np.ndarray:
        """EVENT rows that have arrived by `now` (ns) and nobody hands in: a simulated venue's."""

    def next_due(self) -> int:
        """When to ask `due` again at the latest, ns."""


def event(kind: int, ts: int, **fields: int) -> np.ndarray:
    """One EVENT row that is a message of its own and about no instrument unless `sym` says so."""
    row = empty(1)
    row["kind"], row["ts"], row["flags"], row["sym"] = kind, ts, LAST, NO_SYMBOL
    for name, value in fields.items():
        row[name] = value
    return row


class Session:
    """One core, its log and its gateway.

    core : made by make_core and linked; log : numbers its own events; timer_ns : the grid of timers
    measure : a steady clock for the time that a sync takes
    ts_last, began : where a core that is taken up stood, and when it goes on (ns): no timer is made up
        for the time between, in which nobody looked
    taken : told of every stretch of rows once the core has stepped through them
    later : how the end of a sync is told; the log is written behind then. Without it a sync is waited for
    """

    def __init__(
        self,
        core: Core,
        log: LogWriter,
        recorder: Recorder,
        gateway: Gateway,
        *,
        timer_ns: int,
        measure: Measure,
        ts_last: int = 0,
        began: int = 0,
        taken: Callable[[np.ndarray], None] = lambda _: None,
        later: Later | None = None,
    ) -> None:
        self.core = core
        self.log = log
        self.recorder = recorder
        self.gateway = gateway
        self.failure: BaseException | None = None
        self.ts_last = ts_last
        self.n_commands = 0
        self.sync_ns = 0  # so long the commands that left last had waited for the disk
        self._timer_ns = timer_ns
        self._measure = measure
        self._taken = taken
        self._later = later
        self._waiting: list[np.ndarray] = []  # commands that no sync has begun for
        self._syncing: list[np.ndarray] = []  # ... and those of the one that is under way
        self._mark: Mark | None = None
        self._waits_since = self._sync_began = 0
        self._next_timer = next_on_grid(max(ts_last, began), timer_ns) if ts_last else 0
        self._sync_told = 0
        self._held = hold(core)
        self._follow = entry_point(follow_held, self._held, np.zeros(1, EVENT), 0)
        self._ended = False

    # --- what the shell calls ---

    def take(self, rows: np.ndarray, now: int) -> None:
        """Learn EVENT rows (in order, stamped), and that it is `now` (ns, not before any of them).

        Rows stamped before what was learned already count as learned now. Raises StorageError where
        the log cannot be written, InvariantError where the core broke a rule of its own, DataError
        for a row that may not stand in a log. After any of them the session is over.
        """
        if self.failure is not None:
            raise self.failure
        with self._at_work():
            self._learn(self._in_order(rows, now))
            while len(answers := self.gateway.due(now)):
                self._learn(self._in_order(answers, 0))

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Whatever goes wrong ends the session; of what waits for a disk that failed, cancels leave."""
        try:
            yield
        except BaseException as error:
            self.failure = error
            waiting, self._syncing, self._waiting = self._syncing + self._waiting, [], []
            if isinstance(error, StorageError) and waiting:
                # They only take risk away, and may be said twice: they go without the log.
                commands = np.concatenate(waiting)
                cancels = commands[np.isin(commands["kind"], (CANCEL, CANCEL_ALL))]
                if len(cancels):
                    self.gateway.carry(cancels, self.ts_last)
            raise

    def next_due(self) -> int:
        """When `take` should be called at the latest, ns; 0 before the first event."""
        return min(self._next_timer, self.gateway.next_due())

    @property
    def n_waiting(self) -> int:
        """Commands that wait for the log to be on the disk."""
        return sum(map(len, (*self._syncing, *self._waiting)))

    def settle(self) -> None:
        """Wait for the disk until no command does. For the end: nobody feeds the session any more."""
        while self._mark is not None and self.failure is None:
            with suppress(StorageError):
                self.log.settle()
            self._synced(self._mark, self.ts_last)

    def drain(self) -> None:
        """Empty the record rings now, so that people and tools see what there is."""
        self.recorder.drain(self.core)

    def close(self) -> None:
        """End the books, drain, close the log. The state for the next session is saved before."""
        if self._ended:
            return
        self._ended = True
        try:
            self.settle()
            if self.failure is None:
                end_of_stream(self.core, self.recorder)
        finally:
            self.log.close()

    # --- time ---

    def _in_order(self, rows: np.ndarray, now: int) -> np.ndarray:
        """The rows with the timers between them; stamps never fall."""
        rows = words(rows).copy().view(EVENT)  # numpy copies records field by field
        if len(rows):
            ts = np.maximum.accumulate(np.maximum(rows["ts"], self.ts_last))
            rows["ts"] = ts
            now = max(now, int(ts[-1]))
        now = max(now, self.ts_last)
        if self._next_timer == 0:
            if not len(rows):
                return rows
            self._next_timer = next_on_grid(int(rows["ts"][0]), self._timer_ns)
        if self._next_timer > now:
            return rows
        grid = self._timer_ns
        first = max(self._next_timer, (now // grid - TIMERS_MAX + 1) * grid)
        ticks = empty((now - first) // grid + 1)
        ticks["ts"] = np.arange(first, now + 1, grid)
        ticks["kind"], ticks["aux"], ticks["flags"] = TIMER, grid, LAST
        self._next_timer = int(ticks["ts"][-1]) + grid
        if not len(rows):
            return ticks
        # Market data comes before a timer of the same moment, as in a replay.
        places = np.searchsorted(rows["ts"], ticks["ts"], side="right")
        return np.insert(rows, places, ticks)

    # --- learning ---

    def _learn(self, rows: np.ndarray) -> None:
        """Step the core; whatever it decides on the way is carried out before it learns more."""
        done = 0
        while done < len(rows):
            reached, status = self._follow(self._held, rows, done)
            self._write(rows[done:reached])
            done = reached
            if status == COMMANDS_DUE:
                self._carry()
            elif status == ROWS_DUE:
                self.drain()
            elif status == CORE_FAULT:
                self._fault()

    def _write(self, rows: np.ndarray) -> None:
        if not len(rows):
            return
        self.log.append(rows)
        self.ts_last = int(rows["ts"][-1])
        self.gateway.heard(rows)
        self._taken(rows)

    def _step(self, rows: np.ndarray) -> None:
        """Rows of our own making: the core learns all of them before anything it decides leaves."""
        if not len(rows):
            return
        rows["ts"] = np.maximum.accumulate(np.maximum(rows["ts"], self.ts_last))
        done = 0
        while done < len(rows):
            reached, status = self._follow(self._held, rows, done)
            self._write(rows[done:reached])
            done = reached
            if status == ROWS_DUE:
                self.drain()
            elif status == CORE_FAULT:
                self._fault()

    def _carry(self) -> None:
        """Commands to the log, the log to the disk, the commands to the gateway, its word to the core."""
        glob = self.core.glob[0]
        while n := int(glob["n_commands"]):
            commands = self.core.commands[:n].copy()
            glob["n_commands"] = 0
            self.n_commands += n
            self._step(command_rows(commands))
            self._make_durable(commands)
            self.recorder.add(COMMANDS_TABLE, commands)  # while they wait for the disk

    def _make_durable(self, commands: np.ndarray) -> None:
        """Nothing that adds or changes an order leaves before the log that says so is on the disk."""
        if not self.gateway.leaves_machine:
            self.log.flush()
            self._send([commands], empty(0), 0)
            return
        if not self._waiting:
            self._waits_since = self._measure()
        self._waiting.append(commands)
        if self._mark is None:
            self._begin_sync()

    def _begin_sync(self) -> None:
        self._syncing, self._waiting = self._waiting, []
        # Those that came during the sync before have waited for it too.
        self._sync_began = self._waits_since
        if self._later is None:
            self.log.sync()
            self._sent(0)
            return
        later = self._later

        def told() -> None:
            later(lambda now: self._synced(mark, now))

        self._mark = mark = self.log.begin_sync(told)

    def _synced(self, mark: Mark, now: int) -> None:
        """The log is on the disk up to the mark, or cannot be; it is `now` (ns)."""
        if self._mark is not mark or self.failure is not None:
            return
        self._mark = None
        with self._at_work():
            self.log.end_sync(mark)
            self._sent(now)
            self._carry()
            if self._waiting and self._mark is None:
                self._begin_sync()

    def _sent(self, now: int) -> None:
        """What waited for the sync leaves, and the core learns it."""
        self.sync_ns = self._measure() - self._sync_began
        told = empty(0)
        slow = self.sync_ns > SYNC_TOLD_NS
        if slow or self.ts_last - self._sync_told >= SYNC_EVERY_NS:
            self._sync_told = self.ts_last
            told = event(HEALTH, self.ts_last, id=HEALTH_JOURNAL, aux=self.sync_ns)
        commands, self._syncing = self._syncing, []
        self._send(commands, told, now)

    def _send(self, commands: list[np.ndarray], told: np.ndarray, now: int) -> None:
        # Learned at this moment, whatever clock the gateway looks at, and before a timer that is due:
        # rows that were taken with the one that led to these commands are still to come, and may be
        # stamped earlier.
        ts = max(self.ts_last, min(now, self._next_timer))
        together = commands[0] if len(commands) == 1 else np.concatenate(commands)
        rows = joined((told, self.gateway.carry(together, ts)))
        rows["ts"] = ts
        self._step(rows)

    def _fault(self) -> None:
        raise core_fault(self.core)


def end_of_stream(core: Core, recorder: Recorder) -> None:
    """The stream has ended: last rows of the books, whatever was followed is closed."""
    close_books(core)
    while close_shadow(core) > 0:
        recorder.drain(core)
    recorder.drain(core)


def core_fault(core: Core) -> Exception:
    """The error for the fault that stands in the core's state."""
    code = int(core.glob[0]["fault"])
    text = FAULT_TEXTS.get(code, f"fault {code}")
    now = int(core.glob[0]["now"])
    source = "The log up to here is whole: `kapitaalbot run verify` shows how it came to this."
    if code in DATA_FAULTS:
        source = "The feed gave an event that may not be: the log names it. " + source
    return InvariantError(f"the core stopped at ts {now}: {text} (fault {code}).", source)


def sent_rows(commands: np.ndarray, now: int) -> np.ndarray:
    """ORDER_SENT for COMMAND[n]: they are on the wire."""
    return _answers(commands, now, np.full(len(commands), ORDER_SENT), commands["kind"])


def refused_rows(commands: np.ndarray, now: int, reason: int) -> np.ndarray:
    """What the core is told of commands that never left: refused, each in the way of its kind."""
    kinds = np.where(
        commands["kind"] == ADD,
        ORDER_REJECT,
        np.where(commands["kind"] == AMEND, AMEND_REJECT, CANCEL_REJECT),
    )
    return _answers(commands, now, kinds, np.full(len(commands), reason))


def _answers(commands: np.ndarray, now: int, kinds: Any, aux: Any) -> np.ndarray:
    assert commands.dtype == COMMAND
    rows = empty(len(commands))
    for name in ("id", "sym", "side", "price", "qty"):
        rows[name] = commands[name]
    rows["ts"], rows["kind"], rows["aux"], rows["flags"] = now, kinds, aux, LAST
    return rows


class ShadowGateway:
    """Sends nothing: every command is recorded and refused, and the market goes on without it."""

    leaves_machine = False

    def carry(self, commands: np.ndarray, now: int) -> np.ndarray:
        return refused_rows(commands, now, REJECT_SHADOW)

    def heard(self, rows: np.ndarray) -> None:
        pass

    def due(self, now: int) -> np.ndarray:
        return empty(0)

    def next_due(self) -> int:
        return NEVER
