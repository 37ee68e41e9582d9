"""Who looks on when something fails: before a session begins, while it runs, and at its end."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from apprise.decorators import notify

import adapters.live
from adapters.alerts import FILE_NAME
from adapters.attending import Attending, Several
from adapters.kraken.public import Line
from adapters.lease import Lease
from adapters.live import _Loop
from adapters.running import Running
from adapters.start import Ready, plan_session, remember_run
from adapters.trading import Trading
from adapters.watching import Watch, alert_of_start
from engine.errors import ConfigError, DataError, SecretError, StorageError, VenueError
from engine.events import MODE_EXIT_ONLY
from engine.instruments import InstrumentTable
from tests.support.private_words import PAIRS

MESSAGES: list[str] = []


@notify(on="startdesk")  # type: ignore[untyped-decorator]
def _deliver(body: str, title: str, *_: Any, **__: Any) -> bool:
    MESSAGES.append(f"{title}\n{body}")
    return True


@pytest.fixture
def messages() -> list[str]:
    MESSAGES.clear()
    return MESSAGES


def ready(
    folder: Path, mode: str = "shadow", fresh: bool = False, **sections: Mapping[str, Any]
) -> Ready:
    given = {
        "run": {"out": str(folder / "runs")},
        "live": {
            "symbols": ["BTC/USD"], "endpoint": "local", "state": str(folder / "state"),
            "allow_orders": True,
        },
        "alerts": {"urls": ["startdesk://"]},
        **sections,
    }  # fmt: skip
    return plan_session(None, mode, given, {"KAPITAALBOT_LIVE": "1"}, fresh=fresh)


def running_of(made: Ready, attending: Attending) -> Running:
    return Running(made.plan, InstrumentTable([PAIRS[0]]), attending)


def watch_of(ready: Ready) -> Watch:
    return Watch(ready, None, str, lines=False)


class One(Attending):
    def __init__(self, error: Exception | None = None, at: str = "second") -> None:
        self.calls: list[str] = []
        self._error, self._at = error, at

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self._error is not None and name == self._at:
            raise self._error

    def begin(self, running: Any) -> None:
        self._call("begin")

    def second(self, running: Any, now: int) -> None:
        self._call("second")

    def failed(self, error: Exception) -> None:
        self.calls.append(type(error).__name__)

    def end(self, running: Any, failure: BaseException | None) -> None:
        self._call("end")


def test_one_that_fails_says_so_is_left_out_and_still_sees_the_end() -> None:
    bad, good = One(KeyError("x")), One()
    noted: list[str] = []
    all_ = Several([bad, good], noted.append)
    all_.begin(None)  # type: ignore[arg-type]
    for now in range(2):
        all_.second(None, now)  # type: ignore[arg-type]
    all_.end(None, None)

    assert bad.calls == ["begin", "second", "KeyError", "end"]
    assert good.calls == ["begin", "second", "second", "end"]
    assert len(noted) == 1


def test_what_a_person_can_set_right_ends_a_session_before_it_begins() -> None:
    bad = One(ConfigError("metrics.port 9 is taken."), "begin")
    with pytest.raises(ConfigError, match="is taken"):
        Several([bad], pytest.fail).begin(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (VenueError("no answer"), "VENUE_UNREACHABLE"),
        (SecretError("the key may not trade"), "PERMISSION_LOST"),
        (StorageError("no room"), "FSYNC_FAILED"),
        (ConfigError("ACCOUNT_CHANGED: the key opens another"), "ACCOUNT_CHANGED"),
        (DataError("the pairs changed"), "NOT_STARTED"),
        (ConfigError("metrics.port 9 is taken."), "NOT_STARTED"),
        (KeyError("ours"), "NOT_STARTED"),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_a_session_that_could_not_begin_is_told(
    tmp_path: Path, messages: list[str], failure: Exception, code: str
) -> None:
    assert alert_of_start(failure) == code
    watch_of(ready(tmp_path)).end(None, failure)

    assert [code in each and str(failure.args[0]) in each for each in messages] == [True]


def test_one_that_was_stopped_before_it_began_is_not(tmp_path: Path, messages: list[str]) -> None:
    for failure in (None, KeyboardInterrupt()):
        watch_of(ready(tmp_path)).end(None, failure)

    assert messages == []


def test_a_watch_that_fails_is_critical_and_nothing_is_added_any_more(
    tmp_path: Path, messages: list[str]
) -> None:
    watch, posted = watch_of(ready(tmp_path)), []
    watch.posts(lambda rows, then=None, may=None: posted.append(rows))
    watch.alerts.start()
    watch.failed(ValueError("x"))
    watch.end(None, None)

    assert [int(rows[0]["aux"]) for rows in posted] == [MODE_EXIT_ONLY]
    assert "WATCH_FAILED" in messages[0]
    kept = json.loads((tmp_path / "state" / "main" / FILE_NAME).read_text())
    assert [each["code"] for each in kept["open"]] == ["WATCH_FAILED"]


def test_a_session_that_ends_before_its_loop_leaves_no_lock_and_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    running = running_of(ready(tmp_path), Attending())

    def no_account(_: Running) -> Any:
        raise VenueError("no account")

    with pytest.raises(VenueError):
        running.begin(no_account)
    assert running.close(VenueError("no account")) is None
    assert threading.active_count() == before
    assert not list((running.folder / "log").glob("*.lock"))


def test_a_port_that_is_taken_ends_a_session_and_is_told(
    tmp_path: Path, messages: list[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        made = ready(tmp_path, metrics={"port": taken.getsockname()[1]})
        watch = watch_of(made)
        running = running_of(made, Several([watch], pytest.fail))
        lease = Lease(made.folder, made.plan.clock)
        with pytest.raises(ConfigError, match="cannot be listened on") as caught:
            running.begin(None)
        assert running.close(caught.value) is None
        watch.end(running, caught.value)
        lease.release()

    assert any("NOT_STARTED" in each and "metrics.port" in each for each in messages)


def test_what_is_bare_when_a_session_ends_is_critical(
    tmp_path: Path, messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal may not be looked at: nobody else hears of it once the lines are down."""
    monkeypatch.setattr(adapters.live, "QUIET_PATIENCE_S", 0.1)
    made = ready(tmp_path, mode="paper")
    watch = watch_of(made)

    async def run() -> None:
        loop = _Loop(made.plan, watch, None, lambda text: None)
        monkeypatch.setattr(loop.hub, "post", lambda call: call(loop.plan.clock.now()))
        watch.posts(loop.post)
        loop.running = running_of(made, watch)
        loop.running.begin(None)
        position = loop.running.built.core.symbols[0]["position"]
        position["qty"], position["uncovered_ts"] = 5, 1
        stop = asyncio.Event()
        stop.set()
        down = asyncio.create_task(loop._way_down(stop, None))
        async with asyncio.timeout(60):
            await loop._ended.wait()
        down.cancel()
        loop.running.close(None)
        watch.end(loop.running, None)

    lease = Lease(made.folder, made.plan.clock)
    asyncio.run(run())
    lease.release()
    assert any("UNPROTECTED" in each and "BTC/USD has no stop" in each for each in messages)


def test_a_session_does_not_go_on_without_its_account(tmp_path: Path) -> None:
    """Its line never ends by itself; if it does, nothing could be sent and nobody would say so."""

    class Ends:
        async def run(self, stop: asyncio.Event) -> None:
            pass

    async def run(stopping: bool) -> BaseException | None:
        made = ready(tmp_path)
        loop = _Loop(made.plan, Attending(), None, lambda text: None)
        loop.running = running_of(made, Attending())
        loop.running.account = Ends()  # type: ignore[assignment]
        if stopping:
            loop._line_ended.set()
        await loop._follow_account()
        loop.running.close(None)
        assert loop.hub.failure is loop.failure
        return loop.failure

    assert asyncio.run(run(stopping=True)) is None
    assert isinstance(asyncio.run(run(stopping=False)), VenueError)


def test_a_connection_that_breaks_by_a_defect_ends_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(line: Line) -> None:
        raise KeyError("ours")

    async def run() -> None:
        loop = _Loop(ready(tmp_path).plan, Attending(), None, lambda text: None)
        async with asyncio.timeout(60):
            await loop.hub.run(asyncio.Event())

    monkeypatch.setattr(Line, "run", breaks)
    with pytest.raises(KeyError):
        asyncio.run(run())


def test_an_account_whose_lease_nobody_looks_at_ends() -> None:
    class Quiet:
        def __init__(self) -> None:
            self.stopped = asyncio.Event()

        async def run(self) -> None:
            await self.stopped.wait()

        def stop(self) -> None:
            self.stopped.set()

        def flush(self) -> None:
            pass

    class Blind(Trading):
        async def _look(self) -> None:
            raise KeyError("ours")

    async def run() -> None:
        account = Blind.__new__(Blind)
        account.line = account.frames = Quiet()  # type: ignore[assignment]
        async with asyncio.timeout(60):
            await account.run(asyncio.Event())

    with pytest.raises(KeyError):
        asyncio.run(run())


def test_a_live_session_whose_last_run_is_gone_is_refused_and_others_begin_anew(
    tmp_path: Path,
) -> None:
    for mode in ("live", "paper"):
        made = ready(tmp_path, mode=mode)
        assert made.plan.previous is None, "before the first there is nothing to take up"
        run = tmp_path / "runs" / mode
        run.mkdir(parents=True)
        (run / "session.json").touch()
        remember_run(made.folder, mode, run)
        assert ready(tmp_path, mode=mode).plan.previous == run.resolve()
        shutil.rmtree(run)

    assert ready(tmp_path, mode="paper").plan.previous is None
    with pytest.raises(DataError, match="is gone"):
        ready(tmp_path, mode="live")
    (made.folder / "run-live.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        ready(tmp_path, mode="live")
    assert ready(tmp_path, mode="live", fresh=True).plan.previous is None
