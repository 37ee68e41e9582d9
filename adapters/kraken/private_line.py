"""How do private frames travel? A socket, a recording or the local venue, around PrivateSession.

`follow` takes what happened from any async iterator and gives the steps that follow: it does not
know whether a socket or a file is behind it. `PrivateLine` makes such an iterator of a live
connection (public.py carries it), fetches a token right before each connection, and sends what the
session asks for. Left out: what anything means (private.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl as ssl_module
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from adapters.kraken.errors import BusyError, OutcomeUnknownError
from adapters.kraken.keys import Secret
from adapters.kraken.phases import Note, Phase, Step
from adapters.kraken.private import PRIVATE_URL, PrivateSession
from adapters.kraken.public import Line
from engine.clock import Clock, WallClock, machine_seconds

TICK_S: Final = 0.25
INBOX_MAX: Final = 20_000  # messages that wait; private channels are slow, so this is minutes
TOKEN_RETRY_NS: Final = 5_000_000_000
_ENDING: Final = (Phase.STOPPING, Phase.STOPPED)


@dataclass(frozen=True)
class Heard:
    """One thing that happened to the connection, ns."""

    ts: int
    what: Literal["frame", "opened", "closed", "tick", "dropped"]
    frame: bytes = b""
    code: int = 0
    reason: str = ""


class Keeping(Protocol):
    """Whoever keeps the frames as they are. Called in the loop: be quick."""

    def heard(self, heard: Heard) -> None: ...

    def sent(self, frame: bytes, ts: int) -> None: ...


async def follow(heard: AsyncIterator[Heard], session: PrivateSession) -> AsyncIterator[Step]:
    """The steps that follow from what happened, in order."""
    async for each in heard:
        if each.what == "frame":
            yield session.received(each.frame, each.ts)
        elif each.what == "opened":
            yield session.opened(each.ts)
        elif each.what == "closed":
            yield session.closed(each.code, each.reason, each.ts)
        elif each.what == "dropped":
            yield session.dropped(each.code, each.ts, each.ts)
        else:
            yield session.tick(each.ts)


class PrivateLine:
    """A live private connection. Iterate over `steps()`; end it with `stop()`.

    token : gives a fresh token (rest.Rest.stream_token), called right before each connection
    keeping : is told of every frame, in the order in which the session hears or makes it
    """

    def __init__(
        self,
        session: PrivateSession,
        token: Callable[[], Awaitable[Secret]],
        *,
        url: str = PRIVATE_URL,
        clock: Clock | None = None,
        ssl: ssl_module.SSLContext | None = None,
        keeping: Keeping | None = None,
    ) -> None:
        self.session = session
        self._keeping = keeping
        self._token = token
        self._clock = clock or WallClock()
        self._inbox: asyncio.Queue[Heard] = asyncio.Queue()
        self._line = Line(0, url, self, ssl=ssl)
        self._due = 0
        self._last = 0
        self._n_dropped = 0
        self._early: list[Step] = []
        self._stopping = asyncio.Event()

    # ---- Ear: what the line reports ----

    def stamp(self) -> int:
        """Now; a clock that steps back stands still until it has caught up."""
        self._last = max(self._last, self._clock.now())
        return self._last

    async def may_connect(self, conn: int) -> bool:
        session = self.session
        while not self._stopping.is_set():
            wait_s = TICK_S
            if session.phase is Phase.WAITING:
                wait = self._due - self.stamp()
                if wait <= 0:
                    wait = await self._try_to_connect()
                    if wait < 0:
                        return True
                wait_s = machine_seconds(self._clock, wait)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), min(max(wait_s, 0.001), 5.0))
        return False

    async def _try_to_connect(self) -> int:
        """Below zero: go ahead; else how long to wait, ns."""
        if self.session.token_missing and (wait := await self._fetch_token()):
            return wait
        step = self.session.connecting(self.stamp())
        self._early.append(step)
        if step.reconnect_at is None:
            return -1
        return max(0, step.reconnect_at - self.stamp())

    async def _fetch_token(self) -> int:
        """How long to wait before the next try, ns; 0 when there is a token."""
        try:
            self.session.token(await self._token())
            return 0
        except (BusyError, OutcomeUnknownError) as error:
            note = Note("warning", f"TOKEN_RENEW_FAILED: no token was given: {error.message}")
            self._early.append(Step(notes=[note]))
            return TOKEN_RETRY_NS

    def opened(self, conn: int) -> None:
        self._inbox.put_nowait(Heard(self.stamp(), "opened"))

    def heard(self, conn: int, frame: bytes, ts: int) -> None:
        if self._inbox.qsize() >= INBOX_MAX:
            self._n_dropped += 1
            return
        self._inbox.put_nowait(Heard(ts, "frame", frame))

    def closed(self, conn: int, code: int, reason: str) -> None:
        self._inbox.put_nowait(Heard(self.stamp(), "closed", code=code, reason=reason))

    # ---- the other side ----

    def send(self, frame: bytes) -> None:
        """One request that the session made (`ask`)."""
        self._send([frame])

    def _send(self, frames: list[bytes]) -> None:
        self._line.send(frames)
        if self._keeping is not None:
            for each in frames:
                self._keeping.sent(each, self._last)

    def resync(self) -> None:
        """End this connection: the next one begins with a snapshot."""
        self._line.end()

    def stop(self) -> None:
        """End the connection for good; `steps` ends after it."""
        self._stopping.set()

    async def heard_frames(self) -> AsyncGenerator[Heard, None]:
        """What happens, with a tick where nothing does."""
        line = asyncio.create_task(self._line.run())
        ticked = self.stamp()
        try:
            while not line.done() or not self._inbox.empty():
                if self._n_dropped and self._inbox.qsize() < INBOX_MAX // 2:
                    n, self._n_dropped = self._n_dropped, 0
                    lost = Heard(self.stamp(), "dropped", code=n)
                    if self._keeping is not None:
                        self._keeping.heard(lost)
                    yield lost
                try:
                    heard = await asyncio.wait_for(self._inbox.get(), TICK_S)
                except TimeoutError:
                    heard = Heard(self.stamp(), "tick")
                if self._keeping is not None:
                    self._keeping.heard(heard)
                yield heard
                # Also while frames never stop: replies become overdue by time, not by silence.
                if heard.what == "tick":
                    ticked = heard.ts
                elif (now := self.stamp()) - ticked >= TICK_S * 1e9:
                    ticked = now
                    yield Heard(now, "tick")
            await line  # what ended it is raised here
        finally:
            line.cancel()
            await asyncio.gather(line, return_exceptions=True)

    async def steps(self) -> AsyncIterator[Step]:
        """Connect, and give every step until stopped. Raises what ends private use."""
        self._carry(self.session.start(self.stamp()))
        heard = self.heard_frames()
        try:
            async for step in follow(heard, self.session):
                while self._early:
                    yield self._early.pop(0)
                self._carry(step)
                yield step
                if self._stopping.is_set() and self.session.phase not in _ENDING:
                    stopped = self.session.stop(self.stamp())
                    self._carry(stopped)
                    yield stopped
        finally:
            await heard.aclose()

    def _carry(self, step: Step) -> None:
        if step.reconnect_at is not None:
            self._due = step.reconnect_at
        self._send(step.send)
        if step.close:
            self._line.end()
