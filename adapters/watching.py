"""What does a person see of a running session, and what may they ask of it?

`Watch` turns what the core recorded into log lines, counters and alerts, writes the status file,
feeds the metrics page, and answers the control socket. It only reads; what a person asks for becomes
rows that the session logs like anything else. Left out: the markers themselves
(engine/reports/markers.py), how each of them is delivered (logs, metrics, alerts, control).
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from adapters.alerts import Alerts, apprise_delivery
from adapters.attending import Attending, Post
from adapters.control import MODE_NAMES, ControlServer
from adapters.lease import KillFlag, Lease
from adapters.live import SECOND_S
from adapters.logs import Logs
from adapters.metrics import Facts, Metrics
from adapters.running import Running
from adapters.runs import family_names
from adapters.sessions import Left
from adapters.start import Ready
from adapters.telemetry import Edited, Sample, Telemetry
from engine.alerts import ALERTS
from engine.clock import PacedClock, Stopwatch, utc_text
from engine.core.orderstates import ORDER_STATE_NAMES, ORDER_STATE_SUSPECT
from engine.core.protection import COVER_NAMES
from engine.core.records import REASONS, THESIS_INVALID
from engine.errors import (
    ClockError,
    ConfigError,
    DataError,
    InvariantError,
    KapitaalbotError,
    SecretError,
    StorageError,
    VenueError,
)
from engine.events import (
    HEALTH,
    HEALTH_ALERTS,
    MODE,
    MODE_EXIT_ONLY,
    MODE_HALT,
    WHO_ENGINE,
    WHO_OPERATOR,
    WHY_COMMAND,
    WHY_INVARIANT,
    WHY_KILL,
)
from engine.reports.markers import NAMES, Marker, Markers
from engine.session.loop import event
from engine.units import from_money
from engine.version import VERSION, commit

LOG_NAME: Final = "session.log"
STALL_S: Final = 3.0  # of the machine, between two looks that should be a second apart
STALLED_S: Final = 30.0
STEP_S: Final = 1.0  # by which the clock moved otherwise than time did
UNREACHABLE_NS: Final = 30_000_000_000  # no line to the venue at all for so long
RECENT: Final = 8  # last decisions that a status shows
Show = Callable[[dict[str, Any]], None]


class Watch(Attending):
    """Logs, metrics, alerts, status and control of one session.

    clean : takes secrets out of a text; show : is given the facts every second, for a terminal
    lines : short log lines on stderr
    """

    def __init__(
        self,
        ready: Ready,
        lease: Lease | None,
        clean: Callable[[str], str],
        show: Show | None = None,
        lines: bool = True,
    ) -> None:
        profile = ready.plan.profile
        self._ready, self._lease, self._clean, self._show = ready, lease, clean, show
        self._lines = lines
        self._kill = KillFlag(ready.folder)
        urls = [each.get_secret_value() for each in profile.alerts.urls]
        self.alerts = Alerts(
            ready.folder,
            ready.plan.clock,
            apprise_delivery(urls),
            int(profile.alerts.repeat),
            int(profile.alerts.escalate),
            name=f"{profile.run.name} {ready.plan.mode}",
            clean=clean,
            note=self._note,
        )
        self._post: Post | None = None
        self._running: Running | None = None
        self._logs: Logs | None = None
        self._markers: Markers | None = None
        self._metrics: Metrics | None = None
        self._control: asyncio.Task[None] | None = None
        self._alerts_told = -1
        self._recent: list[dict[str, Any]] = []
        self._feeds: dict[str, str] = {}
        self._minute = 0
        self._held_back: list[tuple[str, str]] = []
        self._pulse = Pulse(self._ready.plan.clock, Stopwatch())
        self._apart = 0  # since when no line to the venue is up
        self._no_room = ""  # the code that was told of the disk
        self._telemetry = Telemetry(int(profile.telemetry.interval) / 1e9, Path(profile.run.out))
        self._edited = None if ready.path is None else Edited(ready.path)
        self._status_ns = 0
        self._secrets_told = False
        self._unsound: set[str] = set()  # families whose answers were refused
        self._told_unsound = 0
        self._status_problem = ""
        self._status_told = ""

    # --- life ---

    def posts(self, post: Post) -> None:
        self._post = post

    def begin(self, running: Running) -> None:
        self._running = running
        plan, started = self._ready.plan, running.started
        name, file = running.folder.name, running.folder / LOG_NAME
        stream = sys.stderr if self._lines else None
        self._logs = Logs(
            name, plan.clock, file, stream, clean=self._clean, on_secret=self._secret_met
        )
        self._markers = Markers(running.folder.name, started.instruments)
        self.alerts.start()
        if (port := int(plan.profile.metrics.port)) > 0:
            self._metrics = Metrics(running.folder.name, plan.mode, NAMES)
            try:
                self._metrics.start(port)
            except OSError as error:
                raise ConfigError(
                    f"metrics.port {port} cannot be listened on: {error.strerror}.",
                    "Choose another, or 0 for none.",
                ) from error
        for level, text in self._held_back:
            self._write(level, text)
        self._held_back.clear()
        facts = {
            "mode": plan.mode,
            "endpoint": plan.profile.live.endpoint,
            "account": plan.account,
            "config": started.config_hash[:16],
            "kernels": started.kernels[:16],
            "version": VERSION,
            "commit": commit()[:12] or "unknown",
            "previous": started.previous,
            "pairs": ", ".join(started.instruments.symbols),
        }
        self._tell(self._markers.start(**facts))
        if running.left is not None:
            self._markers.taken_up(running.built.core.symbols)
            self._tell_recovered(running.left)
        self._control = asyncio.get_running_loop().create_task(self._serve())

    def _secret_met(self) -> None:
        """Told once, and by the alert alone: the line that tells it would be looked at again."""
        if not self._secrets_told:
            self._secrets_told = True
            self.alerts.tell("SECRET_IN_LOG", run="" if self._running is None else self._name)

    @property
    def _name(self) -> str:
        return self.running.folder.name

    def end(self, running: Running | None, failure: BaseException | None) -> None:
        if self._markers is None and isinstance(failure, Exception):
            # It did not begin: whoever waits for it elsewhere hears why.
            self.alerts.start()
            text = getattr(failure, "message", str(failure))
            self.alerts.tell(alert_of_start(failure), text=self._clean(text))
        self._telemetry.close()
        if self._markers is not None and running is not None:
            left = working(running)
            facts = {
                "why": "as asked" if failure is None else type(failure).__name__,
                "orders_left": len(left),
                "positions": sum(each["qty"] != "0" for each in positions(running)),
            }
            if failure is not None:
                text = getattr(failure, "message", str(failure))
                code = alert_of(failure)
                if not code and isinstance(failure, Exception):
                    code = "NOT_STARTED"  # none of these arises once it runs
                self._beside("SESSION_FAILED", "error", "session", code, text=self._clean(text))
            self._tell(self._markers.stop(**facts))
            self._write_status(running, running.plan.clock.now(), ended=True)
        self.alerts.stop()
        if self._metrics is not None:
            self._metrics.stop()
        if self._logs is not None:
            self._logs.close()

    def failed(self, error: Exception) -> None:
        """A defect of ours: nobody sees any more what it does, so it adds nothing."""
        self.alerts.tell("WATCH_FAILED", error=type(error).__name__)
        if self._post is not None:
            why = {"aux": MODE_EXIT_ONLY, "id": WHO_ENGINE, "qty": WHY_INVARIANT}
            self._post(event(MODE, 0, **why))

    # --- what is seen ---

    def learned(self, rows: np.ndarray) -> None:
        assert self._markers is not None
        for marker in self._markers.of_events(rows):
            self._tell(marker)

    def recorded(self, table: str, rows: np.ndarray) -> None:
        if self._markers is None:
            return
        for marker in self._markers.of_rows(table, rows):
            self._tell(marker)
        if table == "decisions":
            self._remember(rows)
        if table == "candidates" and (bad := rows["blocker"] == THESIS_INVALID).any():
            assert self._running is not None
            names = family_names(self._running.built.plugins)
            self._unsound |= {names.get(int(each), "?") for each in set(rows["family"][bad])}

    def remark(self, facts: dict[str, Any]) -> None:
        if text := facts.get("note"):
            self._write(str(facts.get("level", "info")), str(text))

    def say(self, level: str, text: str) -> None:
        """Something that a part says in words (the account's line)."""
        self._write(level, text)

    def alert(self, code: str, **facts: Any) -> None:
        """Something that a part wants a person to know, by its code."""
        self.alerts.tell(code, **facts)

    def _tell_recovered(self, left: Left) -> None:
        if left.recovered:
            self._beside("TAIL_CUT", "info", "log", "TAIL_CUT", what=left.recovered)
        facts = {
            "events": left.followed.n_events,
            "suspect": int((left.built.core.orders["state"] == ORDER_STATE_SUSPECT).sum()),
        }
        self._beside("RECOVERED", "info", "log", "RECOVERED", **facts)

    def _look_at_process(self, running: Running, now: int) -> None:
        """What no event tells: did we stand still, was the clock set, is the venue there at all?"""
        stood, stepped = self._pulse.beat()
        self._telemetry.late(max(stood - SECOND_S, 0.0))
        if stood >= STALL_S:
            code = "STALLED" if stood >= STALLED_S else "LOOP_STALL"
            self._beside(code, "warning", "loop", code, stood_s=round(stood, 1))
        if abs(stepped) >= STEP_S:
            self._beside("CLOCK_STEP", "error", "clock", "CLOCK_STEP", step_s=round(stepped, 3))
        phases = [
            each["phase"]
            for each in running.feeds(now).values()
            if isinstance(each, dict) and "phase" in each
        ]
        if not phases or any(each not in APART for each in phases):
            self._apart = 0
        elif self._apart == 0:
            self._apart = now
        elif self._apart > 0 and now - self._apart >= UNREACHABLE_NS:
            orders = len(working(running))
            since = utc_text(self._apart)
            name = "VENUE_UNREACHABLE"
            self._beside(name, "error", "feed", name, since=since, orders_unknown=orders)
            self._apart = -1  # told, until it is back

    def _look_at_kill_flag(self) -> None:
        """It counts however it was set: while we started, or while nobody answered the socket.

        Once it was taken away the core stays in HALT, but a long that is bare may have its stop again.
        """
        killed = self._kill.is_set()
        if killed == self._core_killed() or self._post is None:
            return
        why = {"aux": MODE_HALT, "id": WHO_OPERATOR, "qty": WHY_KILL if killed else WHY_COMMAND}

        def still() -> bool:  # what is asked for meanwhile must not be undone
            return self._kill.is_set() == killed != self._core_killed()

        self._post(event(MODE, 0, **why), None, still)

    def _core_killed(self) -> bool:
        glob = self.running.built.core.glob[0]
        return int(glob["mode"]) == MODE_HALT and int(glob["mode_why"]) == WHY_KILL

    def _look_at_disk(self, running: Running) -> None:
        code = running.room.code
        if code and code != self._no_room:
            self._beside(code, "warning", "log", code, why=running.room.why)
        self._no_room = code

    def _look_at_profile(self) -> None:
        if self._edited is not None and self._edited.changed():
            name, path = "CONFIG_CHANGED_ON_DISK", str(self._edited.path)
            self._beside(name, "warning", "session", name, path=path)

    def _look_at_answers(self, running: Running) -> None:
        """Did a family answer with what is no number? Told again when one more does."""
        refused = int(running.built.core.glob[0]["reason_counts"][THESIS_INVALID])
        families = ", ".join(sorted(self._unsound))
        if refused and len(self._unsound) + 1 > self._told_unsound:
            self._told_unsound = len(self._unsound) + 1
            name = "INTENT_REFUSED"
            self._beside(name, "error", "families", name, families=families, refused=refused)

    def _beside(self, name: str, level: str, component: str, alert: str, **facts: Any) -> None:
        assert self._markers is not None
        self._tell(self._markers.beside(name, level, component, alert, **facts))

    def second(self, running: Running, now: int) -> None:
        assert self._markers is not None
        for marker in self._markers.uncovered(now):
            self._tell(marker)
        self._look_at_process(running, now)
        self._look_at_answers(running)
        self._look_at_profile()
        self._look_at_disk(running)
        self._telemetry.look()
        self._look_at_kill_flag()
        n_open = self.alerts.open_count()
        if n_open != self._alerts_told and self._post is not None:
            self._alerts_told = n_open
            self._post(event(HEALTH, 0, id=HEALTH_ALERTS, aux=n_open))
        if self._metrics is not None:
            self._metrics.update(self._numbers(running, now))
        if now // 60_000_000_000 != self._minute:
            self._minute = now // 60_000_000_000
            timing = {"sync_us": running.session.sync_ns // 1000 if running.session else 0}
            self._tell(self._markers.timing(**timing))
        machine_ns = int(self._pulse.elapsed_s * 1e9)
        every = int(running.plan.profile.status.every)
        # Half a second early rather than a whole one late: this is called about once a second.
        if machine_ns + 500_000_000 >= self._status_ns:
            self._status_ns = machine_ns + every
            self._write_status(running, now)
        if self._status_problem != self._status_told:
            # Said here: the thread that writes it is not the log's.
            self._status_told = self._status_problem
            if problem := self._status_problem:
                self.say("warning", f"the status file cannot be written: {problem}")
        if self._show is not None:
            self._show(self.status_of(running, now))

    # --- helpers ---

    def _tell(self, marker: Marker) -> None:
        if self._logs is not None:
            self._logs.write(marker.level, marker.component, marker.name, marker.facts)
        if self._metrics is not None:
            self._metrics.count(marker.name)
        if marker.alert:
            self.alerts.tell(marker.alert, **marker.facts)

    def _write(self, level: str, text: str) -> None:
        if self._logs is None:
            self._held_back.append((level, text))
            return
        self._logs.write(level, "feed", "note", {"text": self._clean(text)})
        code = text.partition(":")[0]
        if code in ALERTS:  # a note that begins with a code is that alert
            self.alerts.tell(code, text=self._clean(text))

    def _note(self, text: str) -> None:
        self._write("warning", text)

    def _remember(self, rows: np.ndarray) -> None:
        assert self._running is not None
        symbols = self._running.started.instruments.symbols
        for row in rows[-RECENT:]:
            code, _ = REASONS.get(int(row["blocker"]), (str(int(row["blocker"])), ""))
            self._recent.append(
                {
                    "time": utc_text(int(row["ts"])),
                    "symbol": symbols[int(row["sym"])],
                    "blocker": code,
                    "net_bps": round(float(row["net_bps"]), 2)
                    if row["net_bps"] == row["net_bps"]
                    else None,
                }
            )
        del self._recent[:-RECENT]

    def _write_status(self, running: Running, now: int, ended: bool = False) -> dict[str, Any]:
        facts = self.status_of(running, now)
        facts["ended"] = ended
        path = Path(running.plan.profile.status.file or running.folder / "status.json")
        text = json.dumps(facts, indent=1, sort_keys=True) + "\n"

        def write() -> None:
            # Seen whole or not at all; whether it survives a power cut does not matter, nor does a
            # session end because of a page for people.
            temporary = path.with_name(f".{path.name}.tmp")
            try:
                temporary.write_text(self._clean(text))
                os.replace(temporary, path)
            except OSError as error:
                self._status_problem = error.strerror or str(error)
            else:
                self._status_problem = ""

        if ended:
            write()
        else:
            running.writer.call(write)
        return facts

    def status_of(self, running: Running, now: int) -> dict[str, Any]:
        """How the session stands, as plain values: the status file, `ops status`, the terminal."""
        glob = running.built.core.glob[0]
        session = running.session
        return {
            "version": 1,
            "run": running.folder.name,
            "time": utc_text(now),
            "ts": now,
            "session": running.plan.mode,
            "mode": MODE_NAMES.get(int(glob["mode"]), str(int(glob["mode"]))),
            "account": running.plan.account,
            "reconciled": not bool(glob["reconcile"]),
            "epoch": int(glob["epoch"]),
            "epoch_status": int(glob["epoch_status"]),
            "feeds": running.feeds(now),
            "events": running.log.n_events,
            "evaluations": int(glob["n_evaluations"]),
            "commands": 0 if session is None else session.n_commands,
            "sync_us": 0 if session is None else session.sync_ns // 1000,
            "clock_offset_ms": int(glob["clock_offset"]) // 1_000_000,
            "equity": money_text(int(glob["equity"])),
            "cash": money_text(int(glob["cash"])),
            "realized": money_text(int(glob["realized"])),
            "fees": money_text(int(glob["fees"])),
            "positions": positions(running),
            "orders": working(running),
            "decisions": self._recent[-RECENT:],
            "blockers": top_blockers(glob),
            "alerts": self.alerts.open_list(),
            "killed": self._kill.is_set(),
            "lease": 0 if self._lease is None else self._lease.number,
            "process": {} if (sample := self._telemetry.newest) is None else sample.facts(),
        }

    def _numbers(self, running: Running, now: int) -> Facts:
        core, session = running.built.core, running.session
        glob, orders, symbols = core.glob[0], core.orders, core.symbols
        held = symbols["position"]
        works = (orders["id"] > 0) & (orders["ts_done"] == 0)
        bare = held["uncovered_ts"] > 0
        uncovered = held["unprotected_ns"].sum() + (now - held["uncovered_ts"][bare]).sum()
        newest = int(max(symbols["book_ts"].max(), 0))
        sample = self._telemetry.newest or Sample()
        return Facts(
            events=running.log.n_events,
            evaluations=int(glob["n_evaluations"]),
            commands=0 if session is None else session.n_commands,
            fills=int(running.summary.n["fills"]),
            log_sync_s=0.0 if session is None else session.sync_ns / 1e9,
            feed_age_s=(now - newest) / 1e9 if newest else 0.0,
            account_age_s=(now - int(glob["account_ts"])) / 1e9 if glob["account_ts"] else 0.0,
            clock_offset_s=int(glob["clock_offset"]) / 1e9,
            orders_open=int(works.sum()),
            orders_suspect=int((works & (orders["state"] == ORDER_STATE_SUSPECT)).sum()),
            positions=int((held["qty"] > 0).sum()),
            uncovered_s=float(uncovered) / 1e9,
            uncovered_now=int(bare.sum()),
            equity=float(from_money(int(glob["equity"]))),
            exposure=float(from_money(int(glob["exposure"]))),
            cash=float(from_money(int(glob["cash"]))),
            drawdown=float(from_money(int(glob["peak"]) - int(glob["equity"]))),
            mode=int(glob["mode"]),
            epoch_status=int(glob["epoch_status"]),
            reconciled=not bool(glob["reconcile"]),
            books_verified=int(symbols["verified"].sum()),
            symbols=len(symbols),
            alerts_open=self.alerts.open_count(),
            alerts_overdue=self.alerts.overdue_count(),
            lease=0 if self._lease is None else self._lease.number,
            **asdict(sample),
            blockers=top_blockers(glob),
            alerts_told=self.alerts.counts(),
        )

    # --- control ---

    async def _serve(self) -> None:
        server = ControlServer(self._ready.folder, _Driven(self))
        try:
            await server.start()
        except OSError as error:
            self.say("error", f"nobody can talk to the session: its socket: {error.strerror}")
            return
        try:
            await asyncio.Event().wait()
        finally:
            await server.stop()

    @property
    def running(self) -> Running:
        assert self._running is not None
        return self._running

    @property
    def post(self) -> Post:
        assert self._post is not None
        return self._post

    def must_not_loosen(self) -> str:
        if self._kill.is_set():
            return "the kill flag is set: `kapitaalbot ops arm` takes it away"
        n = self.alerts.open_count()
        return f"{n} critical alerts are not acknowledged" if n else ""


class Pulse:
    """Does time go by as it should? Asked about once a second.

    clock : which may be set, and runs at some speed; steady : which cannot be
    """

    def __init__(self, clock: PacedClock, steady: Stopwatch) -> None:
        self._clock, self._steady = clock, steady
        self._ts, self._s = clock.now(), steady.seconds()
        self.elapsed_s = 0.0

    def beat(self) -> tuple[float, float]:
        """Seconds since the last call, and by how many the clock says something else."""
        ts, s = self._clock.now(), self._steady.seconds()
        self.elapsed_s += s - self._s
        stood = s - self._s
        told = (ts - self._ts) / 1e9 / self._clock.speed
        self._ts, self._s = ts, s
        return stood, told - stood


def alert_of(failure: BaseException) -> str:
    """Which alert a session that failed ends with; the core's own fault where nothing else fits."""
    text = getattr(failure, "message", str(failure))
    if (code := text.partition(":")[0]) in ALERTS:
        return code
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return "STORAGE_FULL"
        cause = cause.__cause__
    if isinstance(failure, StorageError):
        return "FSYNC_FAILED"
    if isinstance(failure, SecretError):
        said = " ".join(each.text for each in getattr(failure, "said", ())) or text
        for part, code in _STOPPED.items():
            if part in said:
                return code
        return "PERMISSION_LOST"
    if isinstance(failure, VenueError):
        return "VENUE_UNREACHABLE"
    if isinstance(failure, ClockError):
        return "CLOCK_STEP"
    ours = isinstance(failure, InvariantError | DataError) or not (
        isinstance(failure, KapitaalbotError) or not isinstance(failure, Exception)
    )
    return "CORE_HALT" if ours else ""


def alert_of_start(failure: BaseException) -> str:
    """Which alert a session that could not begin leaves."""
    text = getattr(failure, "message", str(failure))
    told = isinstance(failure, VenueError | ClockError | StorageError | SecretError)
    told = told or text.partition(":")[0] in ALERTS
    return alert_of(failure) if told else "NOT_STARTED"


_STOPPED: Final = {
    "Invalid nonce": "NONCE_REFUSED",
    "lockout": "LOCKED_OUT",
    "Too many requests": "LOCKED_OUT",
    "Rate limit": "LOCKED_OUT",
}
# Phases of a connection that is not there.
APART: Final = frozenset(("waiting", "connecting", "stopped"))


class _Driven:
    """The session, as the control socket sees it."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def status(self) -> Mapping[str, Any]:
        running = self._watch.running
        return self._watch.status_of(running, running.plan.clock.now())

    def mode(self) -> int:
        return int(self._watch.running.built.core.glob[0]["mode"])

    def symbol_row(self, symbol: str) -> int:
        return self._watch.running.started.instruments.index(symbol)

    def family_code(self, name: str) -> int:
        names = family_names(self._watch.running.built.plugins)
        for code, known in names.items():
            if known == name:
                return code
        raise ConfigError(
            f"there is no family {name!r}.", f"Families are {', '.join(names.values())}."
        )

    def acknowledge(self, number: int) -> int:
        return self._watch.alerts.acknowledge(number)

    def must_not_loosen(self) -> str:
        return self._watch.must_not_loosen()

    async def take(self, rows: np.ndarray, may: Callable[[], None]) -> Mapping[str, Any]:
        learned: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def may_still() -> bool:
            try:
                may()
            except KapitaalbotError as error:
                if not learned.done():  # whoever asked may have left
                    learned.set_exception(error)
                return False
            return True

        def then() -> None:
            if not learned.done():
                learned.set_result(None)

        self._watch.post(rows, then, may_still)
        await learned
        running = self._watch.running
        return {
            "mode": MODE_NAMES.get(self.mode(), str(self.mode())),
            "orders": working(running),
            "positions": positions(running),
        }


def money_text(units: int) -> str:
    """Money in plain digits, never as 0E-8."""
    return format(from_money(units), "f")


def positions(running: Running) -> list[dict[str, Any]]:
    """What is held, pair by pair, with its protection."""
    found = []
    for pair, symbol in zip(running.started.instruments, running.built.core.symbols, strict=True):
        position = symbol["position"]
        if position["qty"] == 0 and position["dust"] == 0:
            continue
        found.append(
            {
                "symbol": pair.symbol,
                "qty": format(pair.qty(int(position["qty"])), "f"),
                "dust": format(pair.qty(int(position["dust"])), "f"),
                "stop": format(pair.price(int(position["stop"])), "f"),
                "protection": COVER_NAMES.get(int(position["coverage"]), "?"),
                "covered": format(pair.qty(int(position["covered"])), "f"),
                "realized": money_text(int(position["realized"])),
            }
        )
    return found


def working(running: Running) -> list[dict[str, Any]]:
    """Orders that have not ended."""
    found = []
    orders = running.built.core.orders
    for order in orders[(orders["id"] > 0) & (orders["ts_done"] == 0)]:
        pair = running.started.instruments[int(order["sym"])]
        found.append(
            {
                "id": int(order["id"]),
                "symbol": pair.symbol,
                "side": "buy" if order["side"] > 0 else "sell",
                "qty": format(pair.qty(int(order["qty"])), "f"),
                "filled": format(pair.qty(int(order["filled"])), "f"),
                "price": format(pair.price(int(order["trigger"] or order["price"])), "f"),
                "state": ORDER_STATE_NAMES.get(int(order["state"]), "?"),
            }
        )
    return found


def top_blockers(glob: np.void, n: int = 12) -> dict[str, int]:
    counts = glob["reason_counts"]
    order = np.argsort(-counts, kind="stable")[:n]
    return {
        REASONS[int(i)][0]: int(counts[i]) for i in order if counts[i] > 0 and int(i) in REASONS
    }
