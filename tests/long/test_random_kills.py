"""Twenty times killed at a random moment, through the command line, on one account.

`kapitaalbot run live` as a process of its own against a local venue in another; the kernel's `kill -9`
falls while it starts, right after an order of its has reached the venue, or anywhere. The venue's books decide
at the end (judge of tests/support/crash_desk.py).
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.cli.main import main
from adapters.lease import open_folder
from adapters.local_venue import ApiKey, LocalVenue, VenueOptions, generated
from adapters.local_venue.keys import DEMO_SECRET
from adapters.start import remember_run
from engine.events import HEALTH, HEALTH_STOPPING
from tests.support.capture_venue import running_venue
from tests.support.crash_desk import PROFILE, ROOT, judge, key_of, merged, read_log, runs_in
from tests.support.crash_world import SEED, Worlds
from tests.support.toml import toml

pytestmark = pytest.mark.long

NAME = "kills"
KILLS = 20
SPEED = 4.0  # of the market: so slow that a busy machine keeps up
PATIENCE_S = 240.0
PROGRAM = (sys.executable, "-m", "adapters.cli.main")


def four_ports() -> int:
    """The first of four free ports in a row."""
    for first in range(21_000, 32_000, 4):
        with ExitStack() as stack:
            try:
                for port in range(first, first + 4):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise AssertionError("no four ports in a row are free")


def until(reached: Callable[[], Any], what: str, beside: Callable[[], Any]) -> None:
    """Look at it often; what a person does beside it, every few seconds."""
    now = time.monotonic()
    ends, again = now + PATIENCE_S, now + 3.0
    while not reached():
        now = time.monotonic()
        assert now < ends, what
        if now > again:
            beside()
            again = now + 3.0
        time.sleep(0.01)


class Life:
    """One process, from its start to its end."""

    def __init__(self, place: Path, venue: LocalVenue, n: int) -> None:
        self.place, self.venue = place, venue
        self.said = place / f"said-{n}.txt"
        self.read_alerts()
        self.n_runs, self.n_orders = len(runs_in(place / "runs")), len(self.orders())
        self.process = subprocess.Popen(
            [*PROGRAM, "run", "live", str(place / "profile.toml"), "--speed", str(SPEED)],
            cwd=ROOT,
            env={**os.environ, "KAPITAALBOT_LIVE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.said.open("w"),
        )

    def orders(self) -> Any:
        client = self.venue.core.clients.get(key_of(NAME))
        return {} if client is None else client.account.orders

    def begun(self) -> bool:
        self.must_run()
        return len(runs_in(self.place / "runs")) > self.n_runs

    def traded(self, n: int) -> bool:
        self.must_run()
        return len(self.orders()) >= self.n_orders + n

    def read_alerts(self) -> None:
        """As a person does: a bare position is said aloud, and no entry goes before it was read."""
        main(["ops", "acknowledge", "--profile", str(self.place / "profile.toml"), "--json"])

    def must_run(self) -> None:
        assert self.process.poll() is None, self.tail()

    def settled(self) -> bool:
        self.must_run()
        try:
            status = json.loads((runs_in(self.place / "runs")[-1] / "status.json").read_bytes())
        except (OSError, ValueError):
            return False
        return bool(self.begun() and status["reconciled"] and status["mode"] == "NORMAL")

    def tail(self) -> str:
        return self.said.read_text()[-3000:]

    def wait(self, reached: Callable[[], Any], what: str) -> None:
        until(reached, f"{self.said.name}: {what}", self.read_alerts)

    def wait_for_orders(self, n: int) -> None:
        """Until so many of its orders have reached the venue."""
        self.wait(lambda: self.traded(n), f"it does not place {n} orders")

    def kill(self) -> None:
        self.must_run()
        self.process.kill()
        assert self.process.wait(30) == -signal.SIGKILL


@contextmanager
def living(place: Path, venue: LocalVenue, n: int) -> Iterator[Life]:
    life = Life(place, venue, n)
    try:
        yield life
    finally:
        if life.process.poll() is None:
            life.process.kill()
            life.process.wait()


def test_twenty_kills_at_random_moments_lose_double_and_bare_nothing(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        (tmp_path / "history").mkdir()
        before = Worlds(tmp_path / "history", patch)
    place = tmp_path / NAME
    place.mkdir(mode=0o700)
    (place / "runs").mkdir()
    keys = place / "keys.toml"
    keys.touch(0o600)
    keys.write_text(f'key = "{key_of(NAME)}"\nsecret = "{DEMO_SECRET}"\n')
    remember_run(open_folder(place / "state" / "main"), "live", before.before)
    port = four_ports()
    ours = {
        "run": {"out": str(place / "runs")},
        "live": {
            "state": str(place / "state"), "keys": f"file:{keys}", "local_port": port,
            "deadline": "5s", "quarantine": "10s", "reconcile_every": "20s",
        },
    }  # fmt: skip
    (place / "profile.toml").write_text(toml(merged(PROFILE, ours)))
    dice = random.Random(20)
    moments = ["start"] * 4 + ["order"] * 10 + ["any"] * (KILLS - 14)
    dice.shuffle(moments)
    with running_venue(
        source=generated(SEED, start_ts=before.start), speed=SPEED, record=False,
        options=VenueOptions(rest_limits=False, connections_max=0), keys=[ApiKey(key_of(NAME))],
        ports=(port, port + 1, port + 2, port + 3),
    ) as venue:  # fmt: skip
        for n, moment in enumerate(moments):
            with living(place, venue, n) as life:
                if moment == "start":
                    time.sleep(dice.uniform(0.0, 6.0))
                elif moment == "order":
                    life.wait_for_orders(dice.randint(1, 4))
                    time.sleep(dice.uniform(0.0, 0.05))
                else:
                    life.wait(life.begun, "it did not begin")
                    time.sleep(dice.uniform(0.0, 8.0))
                life.kill()
        with living(place, venue, KILLS) as life:
            life.wait(life.settled, "it did not become clean")
            life.wait_for_orders(2)
            life.process.send_signal(signal.SIGINT)
            assert life.process.wait(120) == 0, life.tail()
        runs = runs_in(place / "runs")
        last = read_log(runs[-1])
        stop_ts = int(last["ts"][(last["kind"] == HEALTH) & (last["id"] == HEALTH_STOPPING)][0])
        books = venue.core.clients[key_of(NAME)].account
        found = judge(runs, books, venue.core.source.instruments, stop_ts)
    print(found)
    assert found["orders"] >= 10
    assert found["fills"] >= 5
    for each in runs:
        assert main(["run", "verify", str(each), "--json"]) == 0
