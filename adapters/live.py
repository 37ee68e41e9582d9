"""How is a session put together? Feed, core, gateway, log and everything that looks on, in one call.

`run_session` shadows, papers or trades until it is stopped, and leaves a run's folder. One event
loop carries all of it: the public feed's hub gives order by stamp to whatever happens, the session
decides, and threads do what must not be waited for (the log's way to the disk, tables, snapshots,
alerts). It prints nothing:
talk and progress go to callbacks. Left out: what a person may ask of it while it runs (attending.py),
reading it again (sessions.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import shutil
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from adapters.attach import AttachHub
from adapters.attending import Attending, no_attending
from adapters.kraken.capture import Capture, CaptureConfig, Lineage
from adapters.kraken.keeper import Frame, Part
from adapters.kraken.live import CLOCK_BACK_MAX, Hosts, Hub
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
from engine.core.state import SYMBOLS_MAX
from engine.errors import ClockError, ConfigError, DataError, RefusedError, StorageError
from engine.events import (
    GAP,
    GAP_SOURCE,
    HEALTH,
    HEALTH_STOPPING,
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

LISTED_WITHIN_NS: Final = 60 * SECOND
FOREVER_NS: Final = 10 * 365 * 86_400 * SECOND
SILENCE_NS: Final = 5 * SECOND  # heartbeats come each second; whoever trades waits for no more
STOP_PATIENCE_S: Final = 5.0  # for a line to end
QUIET_PATIENCE_S: Final = 15.0  # for entries to be withdrawn, and positions to have their stop
SECOND_S: Final = 1.0
SNAPSHOTS_KEPT: Final = 2
JOB_BYTES: Final = 64 << 10  # what a job of the writing thread counts for
# A thread that computes lets the loop have its turn after so long; Python's own 5 ms are a stall.
SWITCH_S: Final = 0.0005
# What a core knows of the process that it was in: it ended, and these with it.
OF_A_PROCESS: Final = ("stopping", "lag_ns", "heartbeat_ts", "clock_ts", "clock_offset")

Talk = Callable[[str], None]
Progress = Callable[[dict[str, Any]], None]


@dataclass
class Ran:
    """A session that has ended: where it lies and what it came to."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def digest(self) -> str:
        return str(self.manifest["digest"])


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
# What must be asked of the venue before an account can be made; cleaned up when the session ends.
Prepare = Callable[[contextlib.AsyncExitStack], Awaitable[MakeAccount]]


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
        self.built = Built(self.started, profile, plan.plugins, core, paper)
        self.started.write(self.folder)
        save_opening(self.folder, self.started, core, paper, venue_params)
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


class _Feed:
    """What the capture gives: a sink for its rows, and whether there is room for more."""

    wants_raw = False
    full = False
    calm = True

    def __init__(self, owner: _Loop) -> None:
        self._owner = owner

    @property
    def failure(self) -> BaseException | None:
        return self._owner.failure

    def begin(self, part: Part) -> None:
        self._owner.begin(part.instruments)

    def append(self, rows: np.ndarray) -> None:
        self._owner.take(rows)

    def remark(self, **facts: Any) -> None:
        self._owner.attending.remark(facts)

    def raw(self, frame: Frame) -> None:
        pass

    def lag_ns(self, now: int) -> int:
        return 0


class _Loop:
    """The event loop of a session: the hub of the feed, alarms, and the way down."""

    def __init__(
        self, plan: Plan, attending: Attending, make_account: MakeAccount | None, talk: Talk
    ) -> None:
        self.plan, self.attending, self.talk = plan, attending, talk
        self.running: Running | None = None
        self.failure: BaseException | None = None
        self._make_account = make_account
        self._asyncio = asyncio.get_running_loop()
        self.capture: Capture | None = None
        self.hub: Hub | AttachHub
        if plan.attach is None:
            self.capture = self._capture()
            self.hub = Hub(self.capture, _Feed(self), plan.hosts, plan.clock)
        else:
            symbols = tuple(plan.profile.live.symbols)
            self.hub = AttachHub(
                plan.attach, symbols, plan.clock, self.begin, self.take, self._remark
            )
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_due = 0
        self._ended = asyncio.Event()
        self._line_ended = asyncio.Event()
        self._account_task: asyncio.Task[None] | None = None

    def _capture(self) -> Capture:
        """What this session captures for itself."""
        live = self.plan.profile.live
        channels = {"book": int(live.depth), "trade": 0}
        if live.level3:
            channels["level3"] = 100
        if live.ticker:
            channels["ticker"] = 0
        config = CaptureConfig(
            symbols=tuple(live.symbols),
            channels=channels,
            name=self.plan.profile.run.name,
            quote=self.plan.profile.run.quote,
            part_ns=FOREVER_NS,
            limits=self.plan.limits,
            # As the limits: the venue takes its time by the machine's clock.
            instruments_within=int(LISTED_WITHIN_NS * max(self.plan.clock.speed, 1.0)),
        )
        draw = random.Random(self.plan.seed).random
        return Capture(config, _Feed(self), draw, Lineage(config.name))

    async def run(self, stop: asyncio.Event, for_s: float | None) -> None:
        tasks = [
            asyncio.create_task(self._seconds()),
            asyncio.create_task(self._way_down(stop, for_s)),
        ]
        hub = asyncio.create_task(self.hub.run(self._ended))
        try:
            await asyncio.wait([hub, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for each in tasks:
                if each.done() and (error := each.exception()) is not None:
                    raise error
            await hub
        finally:
            if self._alarm is not None:
                self._alarm.cancel()
            self._line_ended.set()
            rest = [*tasks, hub]
            if self._account_task is not None:
                with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                    async with asyncio.timeout(STOP_PATIENCE_S):
                        await asyncio.wait([self._account_task])
                rest.append(self._account_task)
            for each in rest:
                each.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

    # --- what the feed says ---

    def begin(self, instruments: InstrumentTable) -> None:
        """The venue has listed the pairs; or it changed them, which no session outlives."""
        if self.running is not None:
            if self.running.started.instruments.to_json() == instruments.to_json():
                return  # another part of the same pairs
            raise DataError(
                "RULES_CHANGED: the venue changed the increments of a pair while the session ran: "
                f"{_changed(self.running.started.instruments, instruments)}.",
                "Stops rest where they are. Start the session again: it takes its core up.",
            )
        if len(instruments) > SYMBOLS_MAX:
            raise ConfigError(f"{len(instruments)} pairs; a session holds {SYMBOLS_MAX}.")
        self.running = Running(self.plan, instruments, self.attending)
        self.running.post = self.post
        self.running.call = self._call
        self.running.feeds = self._feeds
        self.running.later = self._later
        self.running.begin(self._make_account)
        if self.running.account is not None:
            self._account_task = asyncio.create_task(self._follow_account())
        gc.collect()
        gc.freeze()
        self.talk(f"session {self.running.folder} begins: {', '.join(instruments.symbols)}.")

    def take(self, rows: np.ndarray) -> None:
        """Rows of the feed; stamped by the hub, so nothing that came before is still on its way."""
        if self.running is not None:
            rows = self.running.room.shaded(rows)
        self._take(rows, int(rows["ts"][-1]) if len(rows) else 0)

    def post(
        self,
        rows: np.ndarray,
        then: Callable[[], None] | None = None,
        may: Callable[[], bool] | None = None,
    ) -> None:
        """Rows of anybody else: they wait their turn, and are stamped with it.

        then : called once the core has learned them; never, where the session has failed
        may : asked before, once whoever looks on has seen all that was recorded; False drops them
        """

        def call(ts: int) -> None:
            if may is not None and not self._may(may):
                return
            rows["ts"] = ts
            self._take(rows, ts)
            if then is not None and self.failure is None:
                then()

        self.hub.post(call)

    def _may(self, may: Callable[[], bool]) -> bool:
        """Is it so now, with everything handed on that the core has recorded?"""
        if self.running is None or self.failure is not None:
            return False
        assert self.running.session is not None
        try:
            self.running.session.drain()
        except BaseException as error:
            self.failure = error
            raise
        return may()

    def _call(self, ask: Callable[[int], np.ndarray]) -> None:
        """In the session's own turn: what `ask(now)` does and says is learned at that moment."""
        self.hub.post(lambda ts: self._take(ask(ts), ts))

    def _later(self, call: Callable[[int], None]) -> None:
        """The disk has done something: `call` is for the session, between two turns of the hub."""
        with contextlib.suppress(RuntimeError):  # the loop has ended: `close` looks for itself
            self._asyncio.call_soon_threadsafe(self._between, call)

    def _between(self, call: Callable[[int], None]) -> None:
        if self.failure is not None:
            return
        try:
            call(self.hub.next_stamp())
            self._set_alarm()
        except BaseException as error:
            self.failure = self.hub.failure = error
            self.hub.post(lambda _: None)  # so that it looks

    def _take(self, rows: np.ndarray, now: int) -> None:
        if self.running is None or self.failure is not None:
            return
        try:
            self.running.take(rows, now)
            self._set_alarm()
        except BaseException as error:
            self.failure = error
            raise

    # --- time ---

    def _set_alarm(self) -> None:
        """Wake up when a timer is due, or the simulated venue has something to say."""
        assert self.running is not None
        assert self.running.session is not None
        due = self.running.session.next_due()
        if self._alarm is not None:
            if due == self._alarm_due:
                return
            self._alarm.cancel()
        self._alarm_due = due
        wait = self.plan.clock.seconds_until(due)
        self._alarm = asyncio.get_running_loop().call_later(
            min(max(wait, 0.0), SECOND_S), self._ring
        )

    def _ring(self) -> None:
        self._alarm = None
        self.hub.post(lambda ts: self._take(empty(0), ts))

    async def _seconds(self) -> None:
        while True:
            await asyncio.sleep(SECOND_S)
            self.hub.post(self._second)

    def _feeds(self, now: int) -> dict[str, Any]:
        """How each connection is, for people."""
        found: dict[str, Any] = {"lag_ms": 0, "dropped": self.hub.n_dropped}
        if self.capture is not None:
            for i, each in enumerate(self.capture.sessions):
                found[f"public {i}"] = {"phase": each.phase.value, "frames": each.n_frames}
            found["lag_ms"] = self.capture.stats.decode_lag_ns // 1_000_000
        if isinstance(self.hub, AttachHub):
            found |= self.hub.facts()
        if self.running is not None and self.running.account is not None:
            found["account"] = self.running.account.facts()
        return found

    def _remark(self, level: str, text: str) -> None:
        self.attending.remark({"note": text, "level": level})

    def _second(self, ts: int) -> None:
        if self.capture is not None:
            notes, self.capture.stats.notes = self.capture.stats.notes, []
            for _, note in notes:
                self._remark(note.level, note.text)
        if self.running is None or self.failure is not None:
            return
        try:
            self.running.second(ts)
        except BaseException as error:
            self.failure = error
            raise

    # --- the account ---

    async def _follow_account(self) -> None:
        assert self.running is not None
        assert self.running.account is not None
        try:
            await self.running.account.run(self._line_ended)
        except Exception as error:
            self.failure = self.hub.failure = self.failure or error
            self.hub.post(lambda _: None)  # so that it looks

    # --- the end ---

    async def _way_down(self, stop: asyncio.Event, for_s: float | None) -> None:
        """Stop: withdraw entries, wait until what is held has its stop, then end the lines."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(for_s):
                await stop.wait()
        if self.running is not None:
            heard = asyncio.Event()
            self.post(event(HEALTH, 0, id=HEALTH_STOPPING), heard.set)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(QUIET_PATIENCE_S):
                    await heard.wait()
                    # An entry may fill instead of ending, and what it bought needs a stop: nobody
                    # else hears of it once the lines are down.
                    while self._entries_work() or self._bare() or self._unsent():
                        await asyncio.sleep(0.05)
            for symbol in self._bare():
                text = f"UNPROTECTED: the session ends, and what it holds of {symbol} has no stop."
                self.talk(text)
                self._remark("error", text)
        self._line_ended.set()
        if self._account_task is not None:
            await asyncio.wait([self._account_task], timeout=STOP_PATIENCE_S)
        if self.running is not None and self.running.session is not None:
            # Whoever looks on and needs the loop to do so has it one last time.
            self.hub.post(self._second)
            await asyncio.sleep(0.2)
        self._ended.set()
        await asyncio.Event().wait()

    def _entries_work(self) -> bool:
        from engine.commands import ROLE_ENTRY

        assert self.running is not None
        orders = self.running.built.core.orders
        works = (orders["id"] > 0) & (orders["ts_done"] == 0) & (orders["role"] == ROLE_ENTRY)
        return bool(works.any()) and self.plan.mode != "shadow"

    def _unsent(self) -> bool:
        """Does a command wait for the disk? A few milliseconds, as a rule."""
        session = self.running.session if self.running is not None else None
        return session is not None and session.failure is None and session.n_waiting > 0

    def _bare(self) -> list[str]:
        """Pairs of which more is held than a resting stop covers."""
        assert self.running is not None
        if self.plan.mode == "shadow" or self.failure is not None:
            return []
        since = self.running.built.core.symbols["position"]["uncovered_ts"]
        return [self.running.started.instruments.symbols[i] for i in np.flatnonzero(since)]


def _changed(before: InstrumentTable, after: InstrumentTable) -> str:
    names = [
        each.symbol
        for each, other in zip(before, after, strict=False)
        if each.to_json() != other.to_json()
    ]
    return ", ".join(names) or "another list of pairs"


def run_session(
    plan: Plan,
    *,
    attending: Attending | None = None,
    prepare: Prepare | None = None,
    stop: Callable[[asyncio.Event], None] = lambda _: None,
    for_s: float | None = None,
    talk: Talk = lambda _: None,
) -> Ran:
    """Run a session until stopped, and write its run's folder.

    prepare : makes the account of a live session; without it nothing private is opened
    stop : is given the event that ends it, inside the running loop (for signal handlers)
    for_s : end by itself after so many seconds of the machine
    raises what ended it, once the log is closed: ConfigError, DataError, StorageError, VenueError,
        InvariantError ... The log up to there is whole.
    """
    attending = attending or no_attending()
    loop: list[_Loop] = []

    async def main() -> None:
        ended = asyncio.Event()
        stop(ended)
        async with contextlib.AsyncExitStack() as stack:
            make_account = await prepare(stack) if prepare is not None else None
            made = _Loop(plan, attending, make_account, talk)
            loop.append(made)
            attending.posts(made.post)
            await made.run(ended, for_s)

    failure: BaseException | None = None
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        _run(main())
    except BaseException as error:
        failure = error
    sys.setswitchinterval(switch_s)
    gc.unfreeze()
    running = loop[0].running if loop else None
    failure = failure or (loop[0].failure if loop else None)
    manifest = None
    try:
        if running is not None:
            manifest = running.close(failure)
    except BaseException as error:
        failure = failure or error
    finally:
        attending.end(running, failure)
    if failure is not None:
        raise failure
    if running is None or manifest is None:
        raise RefusedError(
            "the session ended before the venue had listed its pairs.",
            "Is the network up, and the address right? Give it more time.",
        )
    return Ran(running.folder, manifest)


def _run(main: Any) -> None:
    """uvloop where it is installed: half the time per message."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
