"""How does a capture run? Sockets, a clock and a thread that writes, around what thinks.

`run_capture` joins the lines (public.py), the capture (capture.py) and the keeper (keeper.py) in one
event loop. Frames are stamped where they arrive and wait in one bounded inbox; a turn of the loop
takes some of them and lets the sockets breathe. When neither inbox nor keeper has room, frames are
thrown away, counted, and said as a gap: never in silence.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl as ssl_module
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from adapters.kraken.capture import Capture
from adapters.kraken.keeper import Keeper
from adapters.kraken.phases import SECOND, Phase
from adapters.kraken.public import Line
from adapters.kraken.rotation import Measures
from engine.clock import Clock, machine_seconds
from engine.errors import ClockError, KapitaalbotError, SecretError

TICK_S: Final = 0.1
# Taken before the sockets are looked at again. The core learns them together, which is what it costs
# least: with 32 the frames of a burst waited two to ten times as long as with 256.
TURN_FRAMES: Final = 256
INBOX_BYTES: Final = 256 << 20
CLOCK_BACK_MAX: Final = 60 * SECOND
TOKEN_AGAIN_NS: Final = 10 * SECOND
MEASURE_AGAIN_S: Final = 10.0

Item = tuple[int, str, int, object]  # stamp, what, connection, frame or code and reason


@dataclass(frozen=True)
class Hosts:
    """Where to connect.

    ssl : own certificates; token : gives a fresh token for level 3; measure : tells what every
    pair came to lately, for a universe that is chosen by it
    """

    public: str
    level3: str = ""
    ssl: ssl_module.SSLContext | None = None
    token: Callable[[], Awaitable[str]] | None = None
    measure: Callable[[], Awaitable[Measures]] | None = None


class Room(Protocol):
    """Whoever takes what the capture says: has it failed, has it room? keeper.py, or a session."""

    @property
    def failure(self) -> BaseException | None: ...
    @property
    def full(self) -> bool: ...
    @property
    def calm(self) -> bool: ...


class Hub:
    """The inbox, the order of things, and who has to be told.

    Whatever else happens beside the market (an account, an operator, a clock) is posted into the
    same inbox, so that one order by stamp holds for all of it.
    """

    def __init__(self, capture: Capture, keeper: Room, hosts: Hosts, clock: Clock) -> None:
        self.capture, self.keeper, self.hosts = capture, keeper, hosts
        self._clock, self._last = clock, capture.lineage.ts_last
        self._inbox: deque[Item] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._dropped: dict[int, tuple[int, int]] = {}  # connection: how many, since when
        self._full = False
        self.lines: dict[int, Line] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self._due: dict[int, int] = {}
        self._moved: dict[int, asyncio.Event] = {}
        self._phases: dict[int, Phase] = {}
        self.n_dropped = 0
        self.failure: BaseException | None = None
        now = clock.now()
        if self._last - now > CLOCK_BACK_MAX:
            raise ClockError(
                f"the clock says {now} ns, the capture to be continued ends at {self._last} ns.",
                "Set the clock, or capture under another name.",
            )

    # --- Ear: what lines report ---

    def stamp(self) -> int:
        """Now; a clock that steps back stands still until it has caught up."""
        self._last = max(self._last, self._clock.now())
        return self._last

    def next_stamp(self) -> int:
        """A time that nothing comes before that is still to be handed over."""
        return self._inbox[0][0] if self._inbox else self.stamp()

    async def may_connect(self, conn: int) -> bool:
        session = self.capture.sessions[conn]
        while session.phase is not Phase.STOPPED:
            if session.phase is Phase.WAITING:
                wait = self._due.get(conn, 0) - self.stamp()
                if wait <= 0 and session.token_missing:
                    await self._token(conn)
                elif wait <= 0 and self._connecting(conn):
                    return True
                wait = self._due.get(conn, 0) - self.stamp()
                # In seconds of the machine: a market that runs faster is not waited for longer.
                wait_s = max(machine_seconds(self._clock, wait), 0.001)
            else:
                wait_s = TICK_S
            self._moved[conn].clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved[conn].wait(), wait_s)
        return False

    def _connecting(self, conn: int) -> bool:
        may = self.capture.connecting(conn, self.stamp())
        self._carry_out()
        return may

    async def _token(self, conn: int) -> None:
        """Fetch a token for the connection that is about to be made."""
        assert self.hosts.token is not None
        try:
            self.capture.sessions[conn].token(await self.hosts.token())
        except SecretError as error:
            self.failure = error  # a key that is missing or may not: asking again is no use
            self._due[conn] = self.stamp() + TOKEN_AGAIN_NS
        except KapitaalbotError as error:
            self._due[conn] = self.stamp() + TOKEN_AGAIN_NS
            self.capture.remark(f"no token for level 3: {error.message}", self.stamp())

    def opened(self, conn: int) -> None:
        self._put((self.stamp(), "opened", conn, None))

    def heard(self, conn: int, frame: bytes, ts: int) -> None:
        if self._full or self._bytes > INBOX_BYTES:
            self._full = True
            n, since = self._dropped.get(conn, (0, ts))
            self._dropped[conn] = n + 1, since
            self.n_dropped += 1
            return
        self._bytes += len(frame)
        self._put((ts, "frame", conn, frame))

    def closed(self, conn: int, code: int, reason: str) -> None:
        self._put((self.stamp(), "closed", conn, (code, reason)))

    def _put(self, item: Item) -> None:
        self._inbox.append(item)
        self._wake.set()

    def post(self, call: Callable[[int], None]) -> None:
        """Call it with its stamp, once everything that came before it was handed over."""
        self._put((self.stamp(), "call", 0, call))

    # --- the loop ---

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped and every connection has ended. Raises what went wrong."""
        self.capture.start(self.stamp())
        self._carry_out()
        ticker = asyncio.create_task(self._tick())
        stopper = asyncio.create_task(self._stop(stop))
        meter = asyncio.create_task(self._measure())
        try:
            while not self.capture.done:
                if self.failure is not None:
                    raise self.failure
                if self.keeper.failure is not None:
                    raise self.keeper.failure
                if not self._inbox:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                self._turn()
                await asyncio.sleep(0)
        finally:
            tasks = (ticker, stopper, meter, *self.tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _ran(self, task: asyncio.Task[None]) -> None:
        """A connection's task is over. One that raised would be silent for ever."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failure = self.failure or error
            self._wake.set()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._put((self.stamp(), "tick", 0, None))

    async def _measure(self) -> None:
        """Tell the capture what pairs came to, again and again, if its universe depends on it."""
        rotation = self.capture.config.rotation
        if rotation is None or self.hosts.measure is None:
            return
        while True:
            try:
                found = await self.hosts.measure()
            except KapitaalbotError as error:
                text = f"pairs could not be measured: {error.message}"
                self._put((self.stamp(), "remark", 0, text))
                await asyncio.sleep(MEASURE_AGAIN_S)
                continue
            self._put((self.stamp(), "measured", 0, found))
            await asyncio.sleep(rotation.every_ns / SECOND)

    async def _stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._put((self.stamp(), "stop", 0, None))

    def _turn(self) -> None:
        """Some of what waits, in order; then what follows from it."""
        for _ in range(min(TURN_FRAMES, len(self._inbox))):
            ts, what, conn, data = self._inbox.popleft()
            if what == "frame":
                assert isinstance(data, bytes)
                self._bytes -= len(data)
                self.capture.received(conn, data, ts)
            elif what == "tick":
                self._make_room(ts)
                self.capture.tick(ts)
            elif what == "opened":
                self.capture.opened(conn, ts)
            elif what == "closed":
                assert isinstance(data, tuple)
                self.capture.closed(conn, data[0], data[1], ts)
            elif what == "measured":
                assert isinstance(data, dict)
                self.capture.measured(data, ts)
            elif what == "remark":
                assert isinstance(data, str)
                self.capture.remark(data, ts)
            elif what == "call":
                assert callable(data)
                self.capture.hand_over()
                data(ts)
            else:
                self.capture.stop(ts)
            self.capture.stats.decode_lag_ns = max(0, self._last - ts)
        self.capture.hand_over()
        self._full |= self.keeper.full
        self._carry_out()

    def _make_room(self, now: int) -> None:
        """Take frames again once half of what waited is gone, and say what was thrown away."""
        if not self._full or self._bytes > INBOX_BYTES // 2 or not self.keeper.calm:
            return
        self._full = False
        for conn, (n, since) in self._dropped.items():
            self.capture.dropped(conn, n, since, now)
        self._dropped.clear()

    def _carry_out(self) -> None:
        """What the capture wants of its connections."""
        for conn in range(len(self.lines), len(self.capture.sessions)):
            level3 = self.capture.level3[conn]
            url = self.hosts.level3 if level3 else self.hosts.public
            line = self.lines[conn] = Line(conn, url, self, ssl=self.hosts.ssl)
            self._moved[conn] = asyncio.Event()
            self.tasks[conn] = asyncio.create_task(line.run())
            self.tasks[conn].add_done_callback(self._ran)
        orders, self.capture.orders = self.capture.orders, []
        for conn, step in orders:
            line = self.lines[conn]
            if step.reconnect_at is not None:
                self._due[conn] = step.reconnect_at
            line.send(step.send)
            if step.close:
                line.end()
        for conn, session in enumerate(self.capture.sessions):
            if self._phases.get(conn) is not session.phase:
                self._phases[conn] = session.phase
                self._moved[conn].set()


async def run_capture(
    capture: Capture,
    keeper: Keeper,
    hosts: Hosts,
    clock: Clock,
    stop: asyncio.Event,
) -> None:
    """Capture until `stop` is set; then end every connection and return.

    The keeper is the caller's to close. Raises ConfigError, VenueError, StorageError, ClockError.
    """
    await Hub(capture, keeper, hosts, clock).run(stop)
