"""What is one session while it runs? Core, log, tables, snapshots and gateway, made and ended together.

`Running` is made when the venue has listed the pairs: it opens the run's folder, gives the core what the
session before left, and puts log, recorder and writing thread around the one loop of sessions. Whoever
drives it (live.py) says what time it is. Left out: where rows come from, and what waits its turn (live.py);
what a log is read again for (sessions.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from adapters.attending import Attending
from adapters.kraken.live import CLOCK_BACK_MAX, Hosts
from adapters.kraken.phases import SECOND, Limits
from adapters.room import Room
from adapters.runs import new_folder, table_sink, write_json
from adapters.sessions import (
    FINAL,
    LOG,
    STATE,
    Built,
    Left,
    Started,
    build_core,
    build_paper,
    header_of,
    last_state,
    save_opening,
    session_manifest,
)
from adapters.telemetry import Segments
from engine.clock import PacedClock, Stopwatch, WallClock
from engine.config import config_hash, make_params, make_venue_params
from engine.core.params import timer_grid_ns
from engine.errors import ClockError, DataError, StorageError
from engine.events import (
    GAP,
    GAP_SOURCE,
    LAST,
    MODE,
    MODE_EXIT_ONLY,
    MODE_HALT,
    ORDER_REJECT,
    REJECT_NOT_SENT,
    REJECT_SHADOW,
    WHO_ENGINE,
    WHY_KILL,
    WHY_START,
    empty,
    joined,
)
from engine.flow.log import LogWriter
from engine.flow.recorder import Recorder, Sink
from engine.instruments import InstrumentTable
from engine.jit import KERNEL_DIGEST
from engine.plugins import Family
from engine.reports.manifest import MANIFEST_NAME
from engine.reports.summary import RunSummary
from engine.session.loop import (
    Gateway,
    Later,
    Session,
    ShadowGateway,
    event,
    refused_rows,
)
from engine.session.paper import PaperGateway
from engine.session.state import copied, core_arrays, restore_core, save_state
from engine.session.verify import Followed

SILENCE_NS: Final = 5 * SECOND  # heartbeats come each second; whoever trades waits for no more
SNAPSHOTS_KEPT: Final = 2
JOB_BYTES: Final = 64 << 10  # what a job of the writing thread counts for
# What a core knows of the process that it was in: it ended, and these with it.
OF_A_PROCESS: Final = ("stopping", "lag_ns", "heartbeat_ts", "clock_ts", "clock_offset")


@dataclass(frozen=True)
class Plan:
    """What a session is started with, all of it decided before anything connects.

    previous : folder of the run whose core is taken up, None for a core that has seen nothing
    killed : the kill flag is set, so it begins in HALT
    attach : store whose capture is followed in place of a public feed
    """

    mode: str
    profile: Any
    given: Mapping[str, Any]
    plugins: tuple[Family, ...]
    hosts: Hosts
    clock: PacedClock
    account: str
    previous: Path | None = None
    killed: bool = False
    attach: Path | None = None
    seed: int | None = None

    @property
    def limits(self) -> Limits:
        """When a connection counts as silent: heartbeats come by the machine's clock."""
        usual, pace = Limits(silence=SILENCE_NS), max(self.clock.speed, 1.0)
        return replace(
            usual,
            silence=int(usual.silence * pace),
            answer=int(usual.answer * pace),
            patience=int(usual.patience * pace),
        )

    @property
    def config_hash(self) -> str:
        return config_hash(self.profile, tuple(each.digest for each in self.plugins))


class Account(Protocol):
    """The private side of a live session: a gateway, and a line that runs beside the feed."""

    gateway: Gateway

    async def run(self, stop: asyncio.Event) -> None: ...
    def facts(self) -> dict[str, Any]: ...


MakeAccount = Callable[["Running"], Account]


class _ThreadSink:
    """Hands the rows of one table to a thread: a disk that is slow for a moment holds nothing up."""

    def __init__(self, sink: Sink, queue: _Writer) -> None:
        self._sink, self._queue = sink, queue

    def append(self, rows: np.ndarray) -> None:
        self._queue.put(self._sink, rows.copy())

    def close(self) -> Any:
        self._queue.settle()
        return self._sink.close()

    def abort(self) -> None:
        with contextlib.suppress(Exception):  # that the thread failed is known
            self._queue.settle()
        self._sink.abort()


class _Writer:
    """The one thread that writes tables and snapshots of a session, in order."""

    def __init__(self) -> None:
        self._work: list[tuple[Any, Any]] = []
        self.waiting = 0  # bytes; room.py says when they are too many
        self._wake = threading.Condition()
        self._busy = False
        self._ended = False
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="session writer", daemon=True)
        self._thread.start()

    def put(self, sink: Any, rows: Any) -> None:
        with self._wake:
            self._work.append((sink, rows))
            self.waiting += _size(rows)
            self._wake.notify_all()

    def call(self, job: Callable[[], Any]) -> None:
        self.put(None, job)

    def settle(self) -> None:
        """Return when all that was put is written, or failed."""
        with self._wake:
            while (self._work or self._busy) and self._thread.is_alive():
                self._wake.wait(0.1)
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        with self._wake:
            self._ended = True
            self._wake.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._work and not self._ended:
                    self._wake.wait()
                if not self._work:
                    return
                work, self._work = self._work, []
                self._busy = True
            for sink, what in work:
                try:
                    if self.failure is None:
                        what() if sink is None else sink.append(what)
                except BaseException as error:
                    self.failure = error
                with self._wake:
                    self.waiting -= _size(what)
            with self._wake:
                self._busy = False
                self._wake.notify_all()


def _size(what: Any) -> int:
    return int(what.nbytes) if isinstance(what, np.ndarray) else JOB_BYTES


class Running:
    """One session while it runs. Made when the venue has listed the pairs, and known by then."""

    def __init__(self, plan: Plan, instruments: InstrumentTable, attending: Attending) -> None:
        self.plan, self.attending = plan, attending
        profile = plan.profile
        self._watch = Stopwatch()
        # Folders and manifests tell the machine's time, also where a market runs at another pace.
        started_at = WallClock().now()
        self.folder = new_folder(
            Path(profile.run.out), profile.run.name, plan.config_hash, started_at
        )
        params = make_params(profile, plan.plugins)
        self.started = Started(
            mode=plan.mode,
            name=profile.run.name,
            account=plan.account,
            config_hash=plan.config_hash,
            given=dict(plan.given),
            instruments=instruments,
            depth=int(profile.live.depth),
            timer_ns=timer_grid_ns(params),
            started=started_at,
            kernels=KERNEL_DIGEST,
            previous="" if plan.previous is None else plan.previous.name,
        )
        cash = int(profile.run.cash)
        venue_params = make_venue_params(profile)
        core = build_core(self.started, params, cash, plan.plugins)
        core.glob[0]["volume"] = venue_params[0]["volume_start"]
        if plan.mode == "live":
            # Client ids are unique for ever: no session makes a million orders a second, so one that
            # begins anew is above all before it.
            core.glob[0]["last_order_id"] = plan.clock.now() // 1000
        paper = None
        if plan.mode == "paper":
            paper = build_paper(self.started, core, venue_params, cash)
        left = _take_up(plan, instruments, core, paper)
        applied = np.zeros(0, np.int64) if left is None else left.applied
        self.built = Built(self.started, profile, plan.plugins, core, paper, applied)
        self.started.write(self.folder)
        save_opening(self.folder, self.started, core, paper, venue_params, applied)
        self.writer = _Writer()
        self.summary = RunSummary(instruments.symbols, profile.run.quote)
        self.recorder = Recorder(
            lambda name, dtype: _ThreadSink(table_sink(self.folder, name, dtype), self.writer),
            self._observe,
        )
        self.log = LogWriter(
            self.folder / LOG,
            instruments,
            log_id=self.folder.name,
            config_hash=plan.config_hash,
            meta={"mode": plan.mode, "account": plan.account},
            assign_seq=True,
            behind=True,
        )
        self._segments = Segments(self.folder / LOG, "*.arrows", lambda: self.log.written)
        self.gateway: Gateway = paper if paper is not None else ShadowGateway()
        self.session: Session | None = None
        self.account: Account | None = None
        self.left = left
        # Set by the loop: rows, or a question, that wait their turn; how the feeds are.
        self.post: Callable[[np.ndarray], None] = lambda rows: None
        self.call: Callable[[Callable[[int], np.ndarray]], None] = lambda ask: None
        self.feeds: Callable[[int], dict[str, Any]] = lambda now: {}
        self.later: Later | None = None
        self.first_ts = 0
        self._snapshot_ts = plan.clock.now()
        # Where snapshots are copied to; made now, since memory that is new costs more than the copy.
        self._copy = copied(self._arrays(), {})
        self._copy_free = True
        self.room = Room()
        self._flush_began, self._flushed = 0.0, True

    # --- life ---

    def begin(self, make_account: MakeAccount | None) -> None:
        """Make the loop; what it began with is the first thing in the log."""
        if make_account is not None:
            self.account = make_account(self)
            self.gateway = self.account.gateway
        ts_last = int(self.built.core.glob[0]["now"])
        now = max(self.plan.clock.now(), ts_last)
        self.session = Session(
            self.built.core,
            self.log,
            self.recorder,
            self.gateway,
            timer_ns=self.started.timer_ns,
            measure=time.perf_counter_ns,
            ts_last=ts_last,
            began=now,
            taken=self._taken,
            later=self.later,
        )
        self.attending.begin(self)
        rows = []
        if ts_last:
            rows.append(event(GAP, now, id=GAP_SOURCE, aux=ts_last))
        if self.left is not None:
            rows.append(unanswered(self.plan.mode, self.left, now))
        if self.plan.mode == "live":
            rows.append(event(MODE, now, aux=MODE_EXIT_ONLY, id=WHO_ENGINE, qty=WHY_START))
        if self.plan.killed:
            rows.append(event(MODE, now, aux=MODE_HALT, id=WHO_ENGINE, qty=WHY_KILL))
        if rows:
            self.session.take(joined(rows), now)

    def take(self, rows: np.ndarray, now: int) -> None:
        assert self.session is not None
        self.session.take(rows, now)

    def second(self, now: int) -> None:
        """About once a second: hand on what was recorded, flush, snapshot, let others look."""
        assert self.session is not None
        self.session.drain()
        self._flush()
        if done := self._segments.touched():
            raise StorageError(
                f"JOURNAL_REPLACED: the log of {self.folder.name} was touched by somebody: {done}.",
                "Stops rest. Find out what did it, a clean-up job or a second session; what is left "
                "of the log is not continued.",
            )
        if self.writer.failure is not None:
            raise self.writer.failure
        every = int(self.plan.profile.live.snapshot_every)
        if now - self._snapshot_ts >= every and self._copy_free:
            self._snapshot_ts = now
            self.snapshot()
        self.attending.second(self, now)

    def _flush(self) -> None:
        """The log to the disk, and whether there is room for more, which the core is told."""
        seconds = self._watch.seconds()
        if self._flushed:
            self._flushed, self._flush_began = False, seconds
            self.log.begin_sync(self._on_disk)
        else:
            self.log.flush()
        late_s = 0.0 if self._flushed else seconds - self._flush_began
        if self.room.look(shutil.disk_usage(self.folder).free, self.writer.waiting, late_s):
            # In its own turn: until then the market may say more of its epochs.
            self.call(self.room.turn)

    def _on_disk(self) -> None:
        self._flushed = True

    def snapshot(self) -> None:
        """Copy the core now, write it in the thread; the newest two are kept.

        Not before the log has what it knows: a log that ends before a snapshot is none to go on from.
        """
        header = header_of(self.folder, self.started, self.log.seq_last, self.built.core)
        arrays = self._copy = copied(self._arrays(), self._copy)
        self._copy_free = False
        path = self.folder / STATE / f"{header.seq:015d}.state"

        def write() -> None:
            save_state(path, header, arrays)
            old = sorted((self.folder / STATE).glob("0*.state"))[:-SNAPSHOTS_KEPT]
            for each in old:
                each.unlink(missing_ok=True)
            self._copy_free = True

        self.log.begin_sync(lambda: self.writer.call(write) if self.log.ok else None)

    def close(self, failure: BaseException | None) -> dict[str, Any] | None:
        """Save the core, close tables and log, write the manifest. Returns it; None after a failure.

        After a failure nothing more is decided or recorded; the log tells the rest.
        """
        session = self.session
        if session is None:  # it never came to that
            self.recorder.abort()
            self.log.close()
            self.writer.close()
            return None
        session.failure = session.failure or failure
        whole = session.failure is None
        try:
            if whole:
                session.settle()
                session.drain()
                header = header_of(self.folder, self.started, self.log.seq_last, self.built.core)
                save_state(self.folder / STATE / FINAL, header, self._arrays())
            session.close()
            if not whole:
                self.recorder.abort()
                return None
            self.recorder.close()
        except BaseException:
            session.close()
            raise
        finally:
            self.writer.close()
        followed = Followed(
            n_events=self.log.n_events,
            n_commands=session.n_commands,
            seq_last=self.log.seq_last,
            ts_first=self.first_ts,
            ts_last=session.ts_last,
        )
        manifest = session_manifest(
            self.folder, self.built, self.recorder, self.summary, followed, self._watch.seconds()
        )
        write_json(self.folder / MANIFEST_NAME, manifest)
        return manifest

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = core_arrays(self.built.core)
        return arrays if self.built.paper is None else arrays | self.built.paper.arrays()

    def _observe(self, table: str, rows: np.ndarray) -> None:
        self.summary.observe(table, rows)
        self.attending.recorded(table, rows)

    def _taken(self, rows: np.ndarray) -> None:
        if self.first_ts == 0:
            self.first_ts = int(rows["ts"][0])
        self.attending.learned(rows)


def _take_up(
    plan: Plan, instruments: InstrumentTable, core: Any, paper: PaperGateway | None
) -> Left | None:
    """Give a fresh core what the core of the session before remembered."""
    if plan.previous is None:
        return None
    try:
        left = last_state(plan.previous)
    except DataError as error:
        raise DataError(
            f"the core of {plan.previous.name} cannot be taken up: {error.message}",
            "With positions or orders open, stop them with the program that opened them; then start "
            f"anew: --fresh. ({error.hint})",
        ) from error
    before = left.built.started.instruments
    if before.to_json() != instruments.to_json():
        raise DataError(
            f"the pairs changed since {plan.previous.name}: it traded {', '.join(before.symbols)}, "
            f"or an increment of theirs is another now; this session has "
            f"{', '.join(instruments.symbols)}.",
            "Flatten with the profile that it ran with, then start anew: --fresh.",
        )
    behind = int(left.built.core.glob[0]["now"]) - plan.clock.now()
    if behind > CLOCK_BACK_MAX:
        raise ClockError(
            f"the clock is {behind / SECOND:,.0f} s before the end of {plan.previous.name}, whose "
            "core this session would take up.",
            "Set the clock. Where a local venue's market began anew, start anew as well: --fresh.",
        )
    restore_core(core, core_arrays(left.built.core))
    for name in OF_A_PROCESS:
        core.glob[0][name] = 0
    if paper is not None and left.built.paper is not None:
        paper.restore(left.built.paper.arrays())
    return left


def unanswered(mode: str, left: Left, now: int) -> np.ndarray:
    """EVENT rows: what a session that died had decided and nobody will ever answer, refused.

    In live sessions the venue is asked what became of it. A simulated venue never had what the log
    lacks, since a command is in the log first; a shadow has no venue, so that nothing works there.
    """
    if mode == "paper":
        return refused_rows(left.followed.undone, now, REJECT_NOT_SENT)
    if mode != "shadow":
        return empty(0)
    orders = left.built.core.orders
    orders = orders[(orders["id"] > 0) & (orders["ts_done"] == 0)]
    rows = empty(len(orders))
    for name in ("id", "sym", "side", "price", "qty"):
        rows[name] = orders[name]
    rows["ts"], rows["kind"], rows["aux"], rows["flags"] = now, ORDER_REJECT, REJECT_SHADOW, LAST
    return rows
