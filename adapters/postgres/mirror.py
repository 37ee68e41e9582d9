"""Who keeps the SQL mirror beside a session? One task that nobody has to wait for.

The session gives it events as they are appended to the log, and rows as they are drained; both are
only put aside. The task writes them in batches and says what it lives through. Rows that had to be
dropped, or that a database lost, are read from the log again. Where the mirror is required, the
session asks `committed` before an order leaves. Left out: the log (engine/flow/log.py), rebuilding
a mirror without a session (rebuild.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adapters.postgres.feed import NO_HEAD, Batch, Head, Hole, Pending
from adapters.postgres.follow import Derive, batches_of_log, batches_of_tables
from adapters.postgres.pools import Identity, Pool, foreign_errors
from adapters.postgres.settings import Settings
from adapters.postgres.store import log_of, open_log, write_batch
from adapters.postgres.trouble import (
    FINAL_CODES,
    INFO,
    JOURNAL_BEHIND_MIRROR,
    MIRROR_AUTH,
    MIRROR_BEHIND,
    MIRROR_DOWN,
    MIRROR_OK,
    MIRROR_READONLY,
    MIRROR_REPLAYED,
    MIRROR_RETRY,
    MIRROR_STARTING,
    WARN,
    Notice,
    Notify,
    as_error,
    of_error,
    trouble,
)
from engine.core.routes import FAMILY_NAMES
from engine.errors import KapitaalbotError
from engine.flow.tail import LogFollower


@dataclass(frozen=True)
class Status:
    """Where the mirror stands. lag_seq : events of the log that it does not have yet."""

    code: str
    text: str
    seq_to: int
    lag_seq: int
    rows_waiting: int
    tables_behind: tuple[str, ...]
    counts: dict[str, int]
    identity: Identity | None


class Mirror:
    """The mirror of one session's log.

    log : the log's folder; its first segment must be there (the writer makes it when it opens)
    seq_after : where the log stood when the session began to give events; -1 for a new log
    families : codes and names of route families, user families included
    notify : told of every change of state; may be called from the task only
    derive : makes the run's tables from the front of the log, for when rows were dropped; without
        it such tables stay behind until `kapitaalbot mirror rebuild`
    """

    def __init__(
        self,
        settings: Settings,
        log: Path | str,
        *,
        seq_after: int = -1,
        families: Mapping[int, str] | None = None,
        notify: Notify | None = None,
        derive: Derive | None = None,
    ) -> None:
        # Asked for now, so that an extra that is not installed is told at once.
        self._caught: tuple[type[Exception], ...] = (*foreign_errors(), KapitaalbotError)
        self.settings = settings
        self.path = Path(log)
        self.pool = Pool(settings)
        self.head: Head = NO_HEAD
        self.identity: Identity | None = None
        self.counts: Counter[str] = Counter()  # notices by code
        self.tables_behind: tuple[str, ...] = ()
        self._pending = Pending(settings.rows_max, seq_after)
        self._log = log_of(LogFollower(self.path).header, dict(families or FAMILY_NAMES))
        self._notify = notify
        self._derive = derive
        self._notice = Notice(MIRROR_STARTING, INFO, "the mirror has not been opened yet.")
        self._is_open = False
        self._ended = False  # for good: nothing is taken any more
        self._closing = False
        self._wanted: list[int] = []  # events that somebody waits for
        self._work = asyncio.Event()
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # --- for the session: never waits -----------------------------------------------------------

    def events(self, rows: np.ndarray) -> None:
        """Take EVENT rows, numbered, right after they were appended to the log."""
        if not self._ended and (self._pending.add_events(rows) or self._wanted):
            self._work.set()

    def rows(self, table: str, rows: np.ndarray) -> None:
        """Take rows of a run's table as the recorder drained them (`Recorder(observe=...)`)."""
        if not self._ended and self._pending.add_rows(table, rows):
            self._work.set()

    async def committed(self, seq: int, timeout_s: float) -> None:
        """Return when the database holds everything up to event `seq`.

        raises Trouble (StorageError and its kin) at the deadline, or at once where the mirror has
        stopped: the order that waits for it is not sent
        """
        self._wanted.append(seq)
        self._work.set()
        try:
            async with asyncio.timeout(timeout_s):
                while self.head.seq_to < seq:
                    if self._ended:
                        raise as_error(self._notice)
                    await self._moved.wait()
        except TimeoutError:
            raise trouble(
                MIRROR_BEHIND,
                f"the mirror has events up to {self.head.seq_to}, not {seq}, after "
                f"{timeout_s:g} s; it is {self._notice.code}.",
                "mirror.required holds orders back until the database has them.",
                WARN,
            ) from None
        finally:
            self._wanted.remove(seq)

    def status(self) -> Status:
        lag = max(0, self._pending.seq_to - self.head.seq_to)
        return Status(
            code=self._notice.code,
            text=self._notice.text,
            seq_to=self.head.seq_to,
            lag_seq=lag,
            rows_waiting=self._pending.n_rows,
            tables_behind=self.tables_behind,
            counts=dict(self.counts),
            identity=self.identity,
        )

    # --- its life -------------------------------------------------------------------------------

    async def open(self) -> Identity:
        """Connect once and look: schema, role, how far the log is mirrored.

        raises Trouble, whose class has the exit code: for a session that must not start so, and
        for one that may, a warning; the task tries again by itself
        """
        n_lent = self.pool.n_lent
        try:
            await self._open()
        except self._caught as error:
            self._say(of_error(error, self.settings, connected=self.pool.n_lent > n_lent))
            raise as_error(self._notice) from (
                error if isinstance(error, KapitaalbotError) else None
            )
        assert self.identity is not None
        return self.identity

    def start(self) -> None:
        """Begin to write, as a task of the running loop."""
        assert self._task is None
        self._task = asyncio.get_running_loop().create_task(self._run(), name="mirror")

    async def close(self, timeout_s: float = 5.0) -> Status:
        """Write what still waits, until the deadline, and end. The log keeps the rest."""
        self._closing = True
        self._work.set()
        if self._task is not None:
            done, _ = await asyncio.wait([self._task], timeout=timeout_s)
            if not done:
                self._task.cancel()
                await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()  # a defect of ours is not swallowed
        await self.pool.close()
        return self.status()

    def again(self) -> Mirror:
        """A mirror of the same log for another event loop, once this one is closed.

        It has what this one could not write, takes what the session says after its loop has ended,
        and finds by itself how far the database is.
        """
        other = Mirror(self.settings, self.path, notify=self._notify, derive=self._derive)
        other._log, other._pending = self._log, self._pending
        other.tables_behind, other.counts = self.tables_behind, self.counts
        return other

    async def _run(self) -> None:
        pause = self.settings.retry_s
        while not self._ended:
            if not await self._something_to_do():
                return
            n_lent = self.pool.n_lent
            try:
                await self._step()
                pause = self.settings.retry_s
                continue
            except self._caught as error:
                notice = of_error(error, self.settings, connected=self.pool.n_lent > n_lent)
                self._trouble(notice)
                if notice.code == MIRROR_READONLY:
                    await self.pool.forget()  # another host may be the primary by now
            if not self._ended:
                await asyncio.sleep(pause)
                pause = min(2 * pause, self.settings.retry_max_s)
        self._moved_on()

    @property
    def _deadline_s(self) -> float:
        """However the database behaves, a transaction ends: each of its waits is shorter than this."""
        each = self.settings
        return each.acquire_s + each.connect_s + 10 * each.statement_s

    @property
    def _is_urgent(self) -> bool:
        """Somebody waits for events that are here and not in the database."""
        done = self.head.seq_to
        return self._pending.seq_to > done and any(seq > done for seq in self._wanted)

    async def _something_to_do(self) -> bool:
        """Wait for rows, for somebody who waits, or for the next sign of life; False at the end."""
        if not (self._closing or self._pending.n_rows or self._is_urgent):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.progress_s):
                    await self._work.wait()
        if not (self._closing or self._is_urgent):
            # Gather a little, unless somebody comes who waits.
            self._work.clear()
            loop = asyncio.get_running_loop()
            until = loop.time() + self.settings.flush_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    while not (self._closing or self._is_urgent):
                        await self._work.wait()
                        self._work.clear()
        self._work.clear()
        return not (self._closing and self._is_open and self._pending.take(1) is None)

    async def _step(self) -> None:
        """Write one batch; whatever is missing before it is fetched first."""
        if not self._is_open:
            await self._open()
        batch = self._pending.take(self.settings.batch_rows)
        if batch is not None:
            try:
                await self._write(batch)
            except Hole as hole:
                await self._fill(hole)
        if self._pending.n_rows == 0 and not self.tables_behind:
            self._say(Notice(MIRROR_OK, INFO, f"the mirror has events up to {self.head.seq_to}."))

    async def _open(self) -> None:
        async with (
            asyncio.timeout(self._deadline_s),
            self.pool.connection() as connection,
        ):
            identity, head = await open_log(connection, self.settings, self._log)
        if head.seq_to > self._pending.seq_to:
            raise trouble(
                JOURNAL_BEHIND_MIRROR,
                f"the database has log {self._log.log_id} up to event {head.seq_to}, the log "
                f"itself ends at {self._pending.seq_to}.",
                "An old copy of the log, or a log that lost its end: find the newer one. Nothing "
                "is written until then.",
            )
        if self.identity is not None and head.batch > self.head.batch:
            # A commit whose answer was lost, or a rebuild beside us.
            self._count(
                Notice(
                    MIRROR_REPLAYED,
                    INFO,
                    f"batches {self.head.batch + 1} to {head.batch} were there already.",
                )
            )
        self.identity = identity
        lost = self.head.seq_to > head.seq_to
        self._adopt(head)
        self._is_open = True
        if lost or head.seq_to < self._pending.seq_after:
            self._say_behind(head)

    async def _write(self, batch: Batch) -> None:
        async with (
            asyncio.timeout(self._deadline_s),
            self.pool.connection() as connection,
        ):
            head, replayed = await write_batch(connection, self.settings, self._log, batch)
        if replayed:
            self._count(
                Notice(
                    MIRROR_REPLAYED, INFO, f"batch {head.batch} was there already: {head.seq_to}."
                )
            )
        self._adopt(head)

    def _adopt(self, head: Head) -> None:
        self.head = head
        self._pending.drop(head)
        starts = self._pending.starts
        if all(head.rows.get(name, 0) >= starts[name] for name in self.tables_behind):
            self.tables_behind = ()  # nothing was, or a rebuild beside us has made them
        self._moved_on()

    def _moved_on(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    def _say_behind(self, head: Head) -> None:
        self._say(
            Notice(
                MIRROR_BEHIND,
                WARN,
                f"the mirror lacks events from {head.seq_to + 1} to {self._pending.seq_after}; "
                "they are read from the log.",
            )
        )

    # --- what was dropped, or what the database lost ------------------------------------------

    async def _fill(self, hole: Hole) -> None:
        """Read what is missing from the log, and make the tables again where that is possible."""
        self.head = hole.head
        self._say_behind(hole.head)
        if hole.head.seq_to < self._pending.seq_after:
            await self._fill_events()
        missing = [
            name
            for name, start in self._pending.starts.items()
            if self.head.rows.get(name, 0) < start
        ]
        if not missing:
            self.tables_behind = ()
            return
        if self._derive is not None:
            await self._fill_tables()
            return
        for name in missing:
            self._pending.drop_table(name)
        self.tables_behind = tuple(missing)
        self._say(
            Notice(
                MIRROR_BEHIND,
                WARN,
                f"rows of {', '.join(missing)} are missing in the mirror.",
                "`kapitaalbot mirror rebuild RUN` makes them from the log when the session is over.",
            )
        )

    async def _fill_events(self) -> None:
        follower = LogFollower(self.path)
        made = batches_of_log(follower, self.head)
        while self.head.seq_to < self._pending.seq_after:
            # Decoding is work for another thread: the session's loop goes on meanwhile.
            batch = await asyncio.to_thread(next, made, None)
            if batch is None:
                raise trouble(
                    MIRROR_BEHIND,
                    f"the log on the disk ends at {follower.seq_to}; the mirror needs it up to "
                    f"{self._pending.seq_after}.",
                    "",
                    WARN,
                )
            await self._write(batch)

    async def _fill_tables(self) -> None:
        assert self._derive is not None
        made = batches_of_tables(self._derive(), self.head, self.settings.batch_rows)
        while any(
            self.head.rows.get(name, 0) < start for name, start in self._pending.starts.items()
        ):
            batch = await asyncio.to_thread(next, made, None)
            if batch is None:
                return
            # It was made against an older head; only its rows count.
            at = self.head.seq_to
            await self._write(Batch(at, at, batch.events, batch.tables))

    # --- words ----------------------------------------------------------------------------------

    def _trouble(self, notice: Notice) -> None:
        if notice.code in FINAL_CODES:
            self._ended = True
            self._pending = Pending(self.settings.rows_max, self._pending.seq_to)
        if notice.code in (MIRROR_DOWN, MIRROR_READONLY, MIRROR_AUTH, MIRROR_RETRY):
            self._is_open = False
        if notice.code in (MIRROR_DOWN, MIRROR_READONLY):
            lag = self._pending.seq_to - self.head.seq_to
            notice = Notice(
                notice.code,
                notice.severity,
                f"{notice.text} {self._pending.n_rows} rows wait, {lag} events behind.",
                notice.hint,
            )
        self._say(notice)
        self._moved_on()

    def _say(self, notice: Notice) -> None:
        """Keep the state; tell of it when it changes."""
        self.counts[notice.code] += 1
        changed = notice.code != self._notice.code
        self._notice = notice
        if changed and self._notify is not None:
            self._notify(notice)

    def _count(self, notice: Notice) -> None:
        """Tell of something that is no state."""
        self.counts[notice.code] += 1
        if self._notify is not None:
            self._notify(notice)


def facts(status: Status) -> dict[str, Any]:
    """A status as plain data."""
    return {
        "code": status.code,
        "text": status.text,
        "seq_to": status.seq_to,
        "lag_seq": status.lag_seq,
        "rows_waiting": status.rows_waiting,
        "tables_behind": list(status.tables_behind),
        "counts": status.counts,
        "identity": status.identity.facts() if status.identity else None,
    }
