"""Whole sessions against a local venue in a thread of its own: started, stopped, read again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.attending import Attending, Several
from adapters.live import Ran, run_session
from adapters.local_venue import LocalVenue, VenueOptions, generated
from adapters.local_venue.account import compile_venue
from adapters.local_venue.keys import DEMO_KEY, DEMO_SECRET
from adapters.running import Running
from adapters.start import Ready, held_account, plan_session, remember_run
from adapters.trading import prepare_trading
from engine.clock import PacedClock, WallClock
from tests.support.capture_venue import running_venue
from tests.support.worlds import EAGER

SPEED = 30.0
SYMBOLS = ["BTC/USD", "ETH/USD"]


@contextmanager
def market(speed: float = SPEED, seed: int = 7, **more: Any) -> Iterator[LocalVenue]:
    """A generated market whose time begins now, at `speed`, with fees of nothing."""
    compile_venue()
    options = more.pop("options", VenueOptions(fee_schedule="zero", rest_limits=False))
    source = generated(seed=seed, start_ts=time.time_ns())
    with running_venue(source=source, speed=speed, options=options, **more) as venue:
        yield venue


def eager_profile(folder: Path, **sections: Any) -> dict[str, Any]:
    """Nested keys of a profile that trades as soon as it may."""
    profile = {
        **EAGER,
        "run": {"out": str(folder / "runs"), "name": "test"},
        "exits": {"time_multiple": 1},
        "live": {
            "symbols": SYMBOLS, "endpoint": "local", "allow_orders": True, "depth": 10,
            "state": str(folder / "state"), "quarantine": "2s", "reconcile_every": "60s",
        },
    }  # fmt: skip
    for name, keys in sections.items():
        profile[name] = {**profile.get(name, {}), **keys}
    return profile


def ready_for(
    venue: LocalVenue, folder: Path, mode: str, fresh: bool = False, **sections: Any
) -> Ready:
    """A plan for this venue: as the command line makes it, at the addresses that it listens on."""
    profile = eager_profile(folder, **sections)
    environ = {"KAPITAALBOT_LIVE": "1"} if mode == "live" else {}
    speed = venue.clock.speed
    ready = plan_session(None, mode, profile, environ, fresh=fresh)
    wall = WallClock().now()
    clock = PacedClock(WallClock(), speed, venue.clock.market(wall))
    where = replace(
        ready.addresses, public=venue.public_url, private=venue.private_url, rest=venue.rest_url
    )
    hosts = replace(ready.plan.hosts, public=venue.public_url)
    plan = replace(ready.plan, clock=clock, hosts=hosts, seed=1)
    return replace(ready, plan=plan, addresses=where)


class Until(Attending):
    """Stops a session once it has enough, looked at each second. A busy machine takes longer to."""

    def __init__(self, enough: Callable[[Running], bool]) -> None:
        self._enough = enough
        self._ended: asyncio.Event | None = None

    def stop(self, ended: asyncio.Event) -> None:
        self._ended = ended

    def second(self, running: Running, now: int) -> None:
        if self._ended is not None and self._enough(running):
            self._ended.set()


def commands(running: Running) -> int:
    """How many commands the session's core has given so far."""
    return running.session.n_commands if running.session is not None else 0


def bought(running: Running) -> bool:
    """Did an entry of the session fill?"""
    positions = running.built.core.symbols["position"]
    return bool((positions["qty"] > 0).any() or (positions["n_trips"] > 0).any())


def run_for(
    ready: Ready,
    seconds: float,
    say: Callable[[str, str], None] = lambda level, text: None,
    condition: Any = None,
    until: Callable[[Running], bool] | None = None,
    **more: Any,
) -> Ran:
    """Run a session for so many seconds of the machine; the next one takes its core up.

    until : ends it sooner, once it has what the test is about
    """
    if until is not None:
        watch = Until(until)
        others = [more.pop("attending")] if "attending" in more else []
        more |= {"attending": Several([*others, watch], pytest.fail), "stop": watch.stop}
    with held_account(ready) as lease:
        prepare = None
        if ready.gate.may_send:
            prepare = prepare_trading(ready, lease, say, condition=condition)
        ran = run_session(ready.plan, prepare=prepare, for_s=seconds, **more)
    remember_run(ready.folder, ready.plan.mode, ran.folder)
    return ran


@pytest.fixture
def demo_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of the local venue, where a session looks for keys."""
    monkeypatch.setenv("KAPITAALBOT_KRAKEN_KEY", DEMO_KEY)
    monkeypatch.setenv("KAPITAALBOT_KRAKEN_SECRET", DEMO_SECRET)
