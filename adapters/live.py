"""How does a session run? Feed, account, clock and people take turns in one loop, until it is stopped.

`run_session` shadows, papers or trades until it is stopped, and leaves a run's folder. One event
loop carries all of it: the public feed's hub gives order by stamp to whatever happens, the session
decides, and threads do what must not be waited for (the log's way to the disk, tables, snapshots,
alerts). It prints nothing: talk goes to a callback. Left out: what a session is made of (running.py),
what a person may ask of it while it runs (attending.py), reading it again (sessions.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from adapters.attach import AttachHub
from adapters.attending import Attending, no_attending
from adapters.kraken.capture import Capture, CaptureConfig, Lineage
from adapters.kraken.keeper import Frame, Part
from adapters.kraken.live import Hub
from adapters.kraken.phases import SECOND
from adapters.running import MakeAccount, Plan, Running
from adapters.telemetry import collect_often
from engine.core.state import SYMBOLS_MAX
from engine.errors import ConfigError, DataError, RefusedError, VenueError
from engine.events import (
    HEALTH,
    HEALTH_STOPPING,
    empty,
)
from engine.instruments import InstrumentTable
from engine.session.loop import (
    event,
)

LISTED_WITHIN_NS: Final = 60 * SECOND
FOREVER_NS: Final = 10 * 365 * 86_400 * SECOND
STOP_PATIENCE_S: Final = 5.0  # for a line to end
QUIET_PATIENCE_S: Final = 15.0  # for entries to be withdrawn, and positions to have their stop
SECOND_S: Final = 1.0
# A thread that computes lets the loop have its turn after so long; Python's own 5 ms are a stall.
SWITCH_S: Final = 0.0005

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


# What must be asked of the venue before an account can be made; cleaned up when the session ends.
Prepare = Callable[[contextlib.AsyncExitStack], Awaitable[MakeAccount]]


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
        collect_often()
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
            if not self._line_ended.is_set():
                raise VenueError(
                    "VENUE_UNREACHABLE: the account's line ended by itself.",
                    "Stops rest. Start the session again: it takes its core up.",
                )
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
