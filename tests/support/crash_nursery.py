"""Processes for sessions that are to be killed: one that has loaded everything, and forks.

`python -m tests.support.crash_nursery` reads jobs (JSON lines) and forks a child for each; the child
is a whole live session, its hook (crash_hooks.py) or whoever likes kills it, and the line that comes
back says how it ended. A fork starts in milliseconds and is a process like any other: what it had
not handed to the system is gone with it, its sockets are closed by nobody but the kernel.
"""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import sys
import traceback
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from adapters.attending import Attending
from adapters.local_venue.keys import DEMO_SECRET
from engine.errors import KapitaalbotError
from engine.events import HEALTH, HEALTH_RECONCILED, MODE_NORMAL
from tests.support import crash_hooks

SECOND = 1_000_000_000


class MarketClock:
    """The time of a venue whose market runs faster: where it stood, and since when."""

    def __init__(self, wall: int, market: int, speed: float) -> None:
        from engine.clock import WallClock

        self._wall, self._market, self.speed = wall, market, speed
        self._clock = WallClock()

    def now(self) -> int:
        return self._market + round((self._clock.now() - self._wall) * self.speed)

    def seconds_until(self, ts: int) -> float:
        return (ts - self.now()) / 1e9 / self.speed


class Goal(Attending):
    """Ends the session when it has done what it is for; remembers it as `operate` does."""

    def __init__(self, job: dict[str, Any], ready: Any, ended: list[asyncio.Event]) -> None:
        self._job, self._ready, self._ended = job, ready, ended
        self._since = 0
        self._reconciled = False
        self.facts: dict[str, Any] = {}

    def begin(self, running: Any) -> None:
        from adapters.start import remember_run

        crash_hooks.RUNNING.append(running)
        self._since = self._ready.plan.clock.now()
        self.facts["folder"] = str(running.folder)
        remember_run(self._ready.folder, self._job.get("remember", "live"), running.folder)

    def learned(self, rows: Any) -> None:
        core = crash_hooks.RUNNING[0].built.core
        glob, goal = core.glob[0], self._job["goal"]
        now = int(rows["ts"][-1])
        if goal == "history":
            reached = now - self._since > self._job["history_s"] * SECOND
        elif goal == "settle":
            done = (rows["kind"] == HEALTH) & (rows["id"] == HEALTH_RECONCILED)
            self._reconciled = self._reconciled or bool(done.any())
            clean = self._reconciled and glob["mode"] == MODE_NORMAL and glob["reconcile"] == 0
            if clean and "clean_ts" not in self.facts:
                self.facts["clean_ts"] = now
                self.facts["clean_s"] = (now - self._since) / 1e9
            reached = now - self.facts.get("clean_ts", now) > self._job["linger_s"] * SECOND
        elif goal == "entry":
            orders = core.orders
            works = (orders["id"] > 0) & (orders["ts_done"] == 0) & (orders["role"] == 1)
            reached = bool(works.any())
        else:
            reached = False
        if reached and "stop_ts" not in self.facts:
            self.facts["stop_ts"] = now
            self._ended[0].set()


def session(job: dict[str, Any]) -> dict[str, Any]:
    """One live session from its beginning to its end, in this process."""
    from adapters.kraken.settle import Patience
    from adapters.live import run_session
    from adapters.start import held_account, plan_session
    from adapters.trading import prepare_trading

    environ = {"KAPITAALBOT_LIVE": "local"}
    os.environ["KAPITAALBOT_KRAKEN_KEY"] = job["key"]
    os.environ["KAPITAALBOT_KRAKEN_SECRET"] = DEMO_SECRET
    ready = plan_session(None, job["mode"], job["profile"], environ)
    urls = job["urls"]
    plan = replace(
        ready.plan,
        hosts=replace(ready.plan.hosts, public=urls["public"]),
        clock=MarketClock(*job["time"]),
    )
    where = replace(ready.addresses, private=urls["private"], rest=urls["rest"])
    ready = replace(ready, plan=plan, addresses=where)
    ended: list[asyncio.Event] = []
    goal = Goal(job, ready, ended)
    said: list[str] = []
    crash_hooks.install(job["hook"], Path(job["notes"]))
    goal.facts["said"] = said
    patience = Patience(
        deadline=5 * SECOND, quarantine=10 * SECOND, retry=(2 * SECOND, 4 * SECOND),
        overlap=5 * SECOND,
    )  # fmt: skip
    try:
        with held_account(ready) as lease:
            prepare = None
            if job["mode"] == "live":
                prepare = prepare_trading(
                    ready, lease, lambda level, text: said.append(f"{level} {text}"), patience
                )
            run_session(
                plan, attending=goal, prepare=prepare, stop=ended.append, for_s=job["for_s"],
                talk=said.append,
            )  # fmt: skip
    except KapitaalbotError as error:
        goal.facts |= {"error": type(error).__name__, "code": error.exit_code, "text": str(error)}
    return goal.facts


def child(job: dict[str, Any]) -> None:
    out = Path(job["result"])
    try:
        facts = session(job)
    except BaseException:
        facts = {"error": "traceback", "text": traceback.format_exc()}
    out.write_text(json.dumps(facts, default=str))
    os._exit(0)


def prepare() -> None:
    """Load what every session needs, once: what is forked has it."""
    import adapters.live
    import adapters.sessions
    import adapters.start
    import adapters.trading
    from engine.plugins import load_plugins

    once = cache(lambda names: load_plugins(names))
    for module in (adapters.start, adapters.sessions):
        module.load_plugins = lambda names: once(tuple(names))  # type: ignore[attr-defined]


def main() -> None:
    prepare()
    waiting: dict[int, Any] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        text = b""
        print(json.dumps({"ready": os.getpid()}), flush=True)
        while True:
            if selector.select(0.01):
                data = os.read(sys.stdin.fileno(), 1 << 16)
                if not data:
                    return
                text += data
                *lines, text = text.split(b"\n")
                for line in lines:
                    job = json.loads(line)
                    if "load" in job:
                        from adapters.sessions import last_state

                        last_state(Path(job["load"]))  # compiles, and stays
                        print(json.dumps({"id": job["id"]}), flush=True)
                        continue
                    pid = os.fork()
                    if pid == 0:
                        null = os.open(os.devnull, os.O_RDWR)
                        os.dup2(null, 0)
                        os.dup2(null, 1)
                        child(job)
                    waiting[pid] = job["id"]
            while waiting:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                how = os.waitstatus_to_exitcode(status)
                print(json.dumps({"id": waiting.pop(pid), "exit": how}), flush=True)


if __name__ == "__main__":
    main()
