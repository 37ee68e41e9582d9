"""Sessions that are killed and started again beside a venue, all of it in this process on one clock.

One loop (one_clock.py) carries both, so that what comes of a story does not depend on the machine.
A hook (crash_hooks.py) kills a session where it stands: what of its folder is on the disk at that moment
is kept aside, its connections are gone, and whatever its own clean-up does afterwards is thrown away.
Then the next session starts from what was kept. The venue's books are the oracle (`judge` of
crash_desk.py). The same points with processes and the kernel's own `kill -9` are the long tests.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adapters.live as live
import adapters.sessions as sessions
import adapters.start as start
from adapters.attending import Attending, Several
from adapters.kraken.settle import Patience
from adapters.lease import open_folder
from adapters.local_venue import ApiKey, VenueOptions, generated, serve
from adapters.local_venue.account import compile_venue
from adapters.local_venue.keys import DEMO_SECRET
from adapters.running import Running
from adapters.start import held_account, plan_session, remember_run
from adapters.trading import prepare_trading
from engine.errors import KapitaalbotError
from engine.plugins import load_plugins
from engine.reports.markers import Markers
from tests.support import crash_hooks
from tests.support.crash_desk import HISTORY_S, PROFILE, judge, key_of, merged, runs_in
from tests.support.crash_nursery import SECOND, Goal
from tests.support.crash_points import Point, pull_the_plug
from tests.support.in_place import without_threads
from tests.support.one_clock import OneClock

SEED = 7
BARE_MAX_S = 5.0  # exits.unprotected_max
DOWN_S = 2.0  # of the market between a death and the next session
PATIENCE = Patience(
    deadline=5 * SECOND, quarantine=10 * SECOND, retry=(2 * SECOND, 4 * SECOND), overlap=5 * SECOND
)


class KilledHere(BaseException):
    """A session ends at this place; nobody survives it."""


class Ears(Attending):
    """Which alerts a session raised, by the markers of what it learned and recorded."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._markers: Markers | None = None

    def begin(self, running: Running) -> None:
        self._markers = Markers(running.folder.name, running.started.instruments)
        self._markers.taken_up(running.built.core.symbols)

    def learned(self, rows: np.ndarray) -> None:
        assert self._markers is not None
        self._take(self._markers.of_events(rows))

    def recorded(self, table: str, rows: np.ndarray) -> None:
        assert self._markers is not None
        self._take(self._markers.of_rows(table, rows))

    def second(self, running: Running, now: int) -> None:
        assert self._markers is not None
        self._take(self._markers.uncovered(now))

    def _take(self, markers: Any) -> None:
        self.told += [each.alert for each in markers if each.alert]


class World:
    """One account, its venue, and the one clock of both.

    place : folder of the account; before : the run whose core its first session takes up
    """

    def __init__(self, place: Path, name: str, start: int | None, before: Path | None) -> None:
        self.place, self.name = place, name
        self.deaths = 0
        self._n = 0
        place.mkdir(mode=0o700)
        keys = place / "keys.toml"
        keys.touch(0o600)
        keys.write_text(f'key = "{key_of(name)}"\nsecret = "{DEMO_SECRET}"\n')
        if before is not None:
            remember_run(open_folder(place / "state" / "main"), "live", before)
        source = generated(SEED, start_ts=start)
        first = source.peek()
        assert first is not None
        self.loop = OneClock(first.ts)
        options = VenueOptions(rest_limits=False, connections_max=0)
        self._serving = serve(
            source, speed=1.0, options=options, keys=[ApiKey(key_of(name))], clock=self.loop,
            record=False, warm=False, hold=False,
        )  # fmt: skip
        self.venue = self.loop.run_until_complete(self._serving.__aenter__())

    def close(self) -> None:
        self.loop.run_until_complete(self._serving.__aexit__(None, None, None))
        self.loop.close()

    # --- one session ---

    def session(
        self,
        hook: str = "",
        goal: str = "none",
        *,
        mode: str = "live",
        for_s: float = 600.0,
        linger_s: float = 30.0,
        profile: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Run a session until it is killed or has done what it is for; what it told."""
        self._n += 1
        notes = self.place / f"notes-{self._n}.json"
        job = {
            "hook": hook, "goal": goal, "linger_s": linger_s, "history_s": HISTORY_S,
            "remember": "live",
        }  # fmt: skip
        ended: list[asyncio.Event] = []
        ready = self._ready(mode, profile or {})
        told, ears = Goal(job, ready, ended), Ears()
        said = told.facts["said"] = []
        crash_hooks.install(hook, notes)
        crash_hooks.DEATH.append(self._die)
        deaths = self.deaths
        try:
            with held_account(ready) as lease:
                prepare = None
                if mode == "live":
                    prepare = prepare_trading(
                        ready, lease, lambda level, text: said.append(f"{level} {text}"), PATIENCE
                    )
                live.run_session(
                    ready.plan, attending=Several((told, ears), said.append), prepare=prepare,
                    stop=ended.append, for_s=for_s, talk=said.append,
                )  # fmt: skip
        except KilledHere:
            pass
        except KapitaalbotError as error:
            told.facts |= {"error": type(error).__name__, "text": str(error)}
        finally:
            crash_hooks.DEATH.pop()
            crash_hooks.uninstall()
        told.facts["alerts"] = sorted(set(ears.told))
        told.facts["killed"] = self.deaths > deaths
        if told.facts["killed"]:
            shutil.rmtree(self.place)
            self._ashes.rename(self.place)
        return told.facts

    def story(self, point: Point) -> dict[str, Any]:
        """Kill, start, kill, start ... and judge."""
        for hook in point.hooks:
            done = self.session(hook, point.goal, profile=point.profile)
            assert done["killed"], f"{hook} was not reached: {done}"
            self.wait(DOWN_S)
        if point.cut:
            pull_the_plug(self.place, self.runs()[-1], point.cut, seed=7)
        last = self.session(goal="settle", profile=point.profile)
        assert "error" not in last, last
        assert "stop_ts" in last, f"it did not become clean: {last}"
        found = self.judge(last["stop_ts"])
        if found["bare_s"] > BARE_MAX_S:
            # A stop that is in doubt is not doubled: it may take its quarantine, and is said aloud.
            assert "UNPROTECTED" in last["alerts"], (found, last)
        return found | {"clean_s": last["clean_s"], "alerts": last["alerts"]}

    def wait(self, seconds: float) -> None:
        """Nobody is there; the market goes on."""
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def judge(self, stop_ts: int) -> dict[str, Any]:
        books = self.venue.core.clients[key_of(self.name)].account
        return judge(self.runs(), books, self.venue.core.source.instruments, stop_ts)

    def runs(self) -> list[Path]:
        return runs_in(self.place / "runs")

    @property
    def _ashes(self) -> Path:
        return self.place.with_name(self.place.name + ".left")

    def _die(self) -> None:
        if not self._ashes.exists():
            self.deaths += 1
            shutil.copytree(self.place, self._ashes)
            self.loop.cut()
        raise KilledHere

    def _ready(self, mode: str, profile: Mapping[str, Any]) -> start.Ready:
        where = {
            "run": {"out": str(self.place / "runs")},
            "live": {
                "state": str(self.place / "state"), "keys": f"file:{self.place / 'keys.toml'}"
            },
        }  # fmt: skip
        given = merged(merged(PROFILE, where), profile)
        ready = plan_session(None, mode, given, {"KAPITAALBOT_LIVE": "local"}, seed=1)
        plan = replace(
            ready.plan,
            hosts=replace(ready.plan.hosts, public=self.venue.public_url),
            clock=self.loop,  # type: ignore[arg-type]
        )
        to = replace(ready.addresses, private=self.venue.private_url, rest=self.venue.rest_url)
        return replace(ready, plan=plan, addresses=to)


class Worlds:
    """Accounts with a history, each with a venue of its own that begins at the same moment."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.loop: OneClock | None = None
        once = cache(lambda names: load_plugins(names))
        for module in (start, sessions):
            patch.setattr(module, "load_plugins", lambda names: once(tuple(names)))
        without_threads(patch, lambda main: self.loop.carry(main))  # type: ignore[union-attr]
        compile_venue()
        quiet = {"families": {"rehearsal": {"enabled": False}}, "live": {"snapshot_every": "1h"}}
        with self._world("history", None, None) as world:
            done = world.session(goal="history", mode="shadow", for_s=2000.0, profile=quiet)
            assert "stop_ts" in done, done
            self.start = world.loop.now()
            self.before = Path(done["folder"])

    def world(self, name: str) -> Any:
        return self._world(name, self.start, self.before)

    @contextmanager
    def _world(self, name: str, start: int | None, before: Path | None) -> Iterator[World]:
        world = World(self.folder / name.replace(" ", "_"), name, start, before)
        self.loop = world.loop
        try:
            yield world
        finally:
            world.close()
            self.loop = None
