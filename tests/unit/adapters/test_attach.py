"""A session that follows a capture: what lies between two parts, a part that goes, an end elsewhere."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.attach import AttachHub
from adapters.kraken.keeper import PARTS
from adapters.live import run_session
from adapters.record import SPOOL
from adapters.start import plan_session
from engine.clock import WallClock
from engine.errors import VenueError
from engine.events import GAP, HEARTBEAT
from engine.flow.log import LogWriter
from engine.instruments import InstrumentTable
from engine.session.loop import ShadowGateway, event
from tests.support.short_market import short_market

PATIENCE_S = 20.0
PAIRS = short_market(1, 1)[0]
SYMBOLS = PAIRS.symbols


class Capture:
    """What another process writes: parts of a store, each with heartbeats."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.seq = 0

    def part(self, name: str) -> LogWriter:
        folder = self.store / SPOOL / PARTS / name
        return LogWriter(folder, PAIRS, log_id=name)

    def beat(self, log: LogWriter, ts: int) -> None:
        row = event(HEARTBEAT, ts)
        row["seq"], self.seq = self.seq, self.seq + 1
        log.append(row)
        log.flush()


class Listener:
    """A session as the hub sees it."""

    def __init__(self, store: Path) -> None:
        self.rows: list[np.void] = []
        self.began: list[InstrumentTable] = []
        self.hub = AttachHub(
            store, SYMBOLS, WallClock(), self.began.append, self.take, lambda level, text: None
        )

    def take(self, rows: np.ndarray) -> None:
        self.rows += list(rows.copy())

    def heard(self, kind: int) -> list[np.void]:
        return [each for each in self.rows if each["kind"] == kind]


@asynccontextmanager
async def following(listener: Listener) -> AsyncIterator[Callable[[Callable[[], bool]], Any]]:
    stop = asyncio.Event()
    running = asyncio.create_task(listener.hub.run(stop))

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                assert not running.done() or running.result()
                await asyncio.sleep(0.005)

    yield until
    stop.set()
    await running


def test_the_gap_between_two_parts_begins_where_the_first_one_ended(tmp_path: Path) -> None:
    capture, listener = Capture(tmp_path), Listener(tmp_path)
    ts = WallClock().now() - 60_000_000_000

    async def main() -> None:
        first = capture.part("a-1")
        capture.beat(first, ts)
        async with following(listener) as until:
            await until(lambda: len(listener.heard(HEARTBEAT)) == 1)
            first.close()
            second = capture.part("a-2")
            capture.beat(second, ts + 1)
            await until(lambda: len(listener.heard(HEARTBEAT)) == 2)
            second.close()

    asyncio.run(main())
    [gap] = listener.heard(GAP)
    assert gap["aux"] == ts
    assert gap["ts"] > ts


def test_a_part_that_is_removed_is_followed_by_the_next_one(tmp_path: Path) -> None:
    """A capture that died is made whole by the one after it, which may seal or drop the part."""
    capture, listener = Capture(tmp_path), Listener(tmp_path)
    ts = WallClock().now() - 60_000_000_000

    async def main() -> None:
        first = capture.part("a-1")
        capture.beat(first, ts)
        async with following(listener) as until:
            await until(lambda: len(listener.heard(HEARTBEAT)) == 1)
            shutil.rmtree(first.path)
            second = capture.part("a-2")
            capture.beat(second, ts + 1)
            await until(lambda: len(listener.heard(HEARTBEAT)) == 2)
            second.close()

    asyncio.run(main())
    assert len(listener.heard(GAP)) == 1


class BrokenAccount:
    """An account whose line ends with an error, as one does whose key was taken away."""

    gateway = ShadowGateway()

    async def run(self, stop: asyncio.Event) -> None:
        raise VenueError("the line is gone")

    def facts(self) -> dict[str, Any]:
        return {}


def test_an_account_that_fails_ends_an_attached_session(tmp_path: Path) -> None:
    """It must not live on without its account, deaf to the market, and say nothing."""
    capture = Capture(tmp_path / "store")
    log = capture.part("a-1")
    capture.beat(log, WallClock().now())

    ended: list[asyncio.Event] = []
    patience: list[str] = []

    def give_up() -> None:
        patience.append("it went on")
        ended[0].set()

    async def prepare(_: Any) -> Any:
        asyncio.get_running_loop().call_later(PATIENCE_S, give_up)
        return lambda running: BrokenAccount()

    given = {
        "run": {"out": str(tmp_path / "runs")},
        "live": {"symbols": list(SYMBOLS), "state": str(tmp_path / "state")},
    }
    ready = plan_session(None, "shadow", given, {}, attach=capture.store)
    with pytest.raises(VenueError, match="the line is gone"):
        run_session(ready.plan, prepare=prepare, stop=ended.append)
    log.close()
    assert patience == []
