"""How do sockets reach the venue? The thin shell: it carries frames and time, and decides nothing.

Three WebSocket servers and one HTTP server on loopback around one `Core`. Left out: what is said
(core.py), what is damaged on the way (faults.py), the reading of HTTP (http.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import ssl as ssl_module
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as ws_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from adapters.local_venue import encode
from adapters.local_venue.account import compile_venue
from adapters.local_venue.clock import VenueClock
from adapters.local_venue.core import ENDPOINTS, Core, Out
from adapters.local_venue.faults import HTML, Fault, Faults, Parcel, Script
from adapters.local_venue.http import serve_http
from adapters.local_venue.keys import ApiKey
from adapters.local_venue.options import VenueOptions
from adapters.local_venue.rest import Answer, Rest
from adapters.local_venue.source import MarketSource, generated
from adapters.local_venue.text import NS_PER_S
from engine.clock import Clock, WallClock

PATH: Final = "/v2"
FRAME_MAX: Final = 1 << 20  # bytes of one request
QUEUE_MAX: Final = 2_000  # frames waiting for one client before a market of speed inf waits
CLOSE_S: Final = 2  # for a client that does not answer when it is closed
STEPS_MAX: Final = 2_000  # messages of the market per turn
SLOW: Final = 1008  # of our own making: what waits is dropped, the socket aborted
STEP_NS: Final = 50_000_000  # market time per turn at speed inf


class _Writer:
    """Frames on their way to one socket, in order."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.queue: deque[Parcel] = deque()
        self.wake = asyncio.Event()
        self.slack = asyncio.Event()
        self.slack.set()

    def put(self, parcel: Parcel) -> None:
        if parcel.close and parcel.close[0] == SLOW:
            self.queue.clear()
        self.queue.append(parcel)
        self.wake.set()
        if len(self.queue) >= QUEUE_MAX:
            self.slack.clear()

    async def run(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                while self.queue:
                    parcel = self.queue.popleft()
                    if parcel.abort or (parcel.close and parcel.close[0] == SLOW):
                        self.socket.transport.abort()
                        return
                    if parcel.close is not None:
                        await self.socket.close(*parcel.close)
                        return
                    await self.socket.send(parcel.text)
                self.slack.set()
                self.wake.clear()
                await self.wake.wait()


class LocalVenue:
    """A running venue. Made by `serve`.

    public_url, private_url, level3_url, rest_url : where it listens
    core : what it thinks; its `sent` is everything said, in order
    """

    def __init__(
        self,
        core: Core,
        clock: Clock,
        speed: float,
        hold: bool,
        faults: Faults,
        catch_up: bool = False,
    ) -> None:
        self.core, self.faults = core, faults
        faults.bind(core)
        self.rest = Rest(core)
        self._http: asyncio.Server | None = None
        self._http_tasks: set[asyncio.Task[None]] = set()
        start = max(core.now, clock.now()) if catch_up else core.now
        self.clock = VenueClock(clock, start, speed)
        core.held = hold
        self._writers: dict[int, _Writer] = {}
        self._wake = asyncio.Event()
        self._servers: dict[str, Server] = {}
        self._scheme = "ws"
        self._held = hold
        self._host = "127.0.0.1"
        self.ended = asyncio.Event()  # the source has nothing more to say

    # ---- facts ----

    def _url(self, endpoint: str) -> str:
        port = next(iter(self._servers[endpoint].sockets)).getsockname()[1]
        return f"{self._scheme}://{self._host}:{port}{PATH}"

    @property
    def public_url(self) -> str:
        return self._url("public")

    @property
    def private_url(self) -> str:
        return self._url("private")

    @property
    def level3_url(self) -> str:
        return self._url("level3")

    @property
    def rest_url(self) -> str:
        """Scheme, host and port; the calls are below /0/public and /0/private."""
        assert self._http is not None
        port = self._http.sockets[0].getsockname()[1]
        return f"{'http' if self._scheme == 'ws' else 'https'}://{self._host}:{port}"

    @property
    def sent(self) -> list[Out]:
        """Everything that the venue said, before any fault on the way."""
        return self.core.sent

    def new_token(self, key: str | None = None) -> str:
        """A WebSocket token, without asking by REST."""
        keys = self.core.keyring.keys
        self._advance()
        return self.core.keyring.issue(keys[key or next(iter(keys))], self.core.wall)

    # ---- time ----

    def _advance(self) -> None:
        wall = self.clock.wall()
        if self.core.held or math.isinf(self.clock.speed):
            self.core.advance(wall, self.core.now)
        else:
            # A market that is too fast for this machine falls behind; sockets do not.
            if not self.core.advance(wall, self.clock.market(wall), STEPS_MAX):
                self._wake.set()
        self._deliver()

    def _release(self) -> None:
        """The market runs from the moment that a client asks for it."""
        if self._held and not self.core.held:
            self._held = False
            self.clock.set(self.core.now)

    def _sleep_s(self) -> float | None:
        """Seconds until something is due; None: nothing is."""
        due = []
        wall = self.core.next_wall()
        if wall is not None:
            due.append(wall)
        market = self.core.next_market()
        if market is not None and not self.core.held:
            due.append(self.clock.wall_at(market))
        if not due:
            return None
        return max(0.0, (min(due) - self.clock.wall()) / NS_PER_S)

    async def run(self) -> None:
        """Let the market run until cancelled."""
        while True:
            if math.isinf(self.clock.speed) and not self.core.held:
                due = self.core.next_market()
                if due is not None:
                    self._wake.clear()
                    self.core.advance(self.clock.wall(), due + STEP_NS)
                    self._deliver()
                    for writer in list(self._writers.values()):
                        await writer.slack.wait()
                    await asyncio.sleep(0)
                    continue
                self._wake.clear()  # the market has ended: wait, or the loop starves the sockets
            else:
                self._wake.clear()
                self._advance()
            if self.core.source.peek() is None:
                self.ended.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._sleep_s())

    # ---- carrying ----

    def _deliver(self) -> None:
        while True:
            outs = self.core.drain()
            for parcel in self.faults.carry(outs, self.core.now):
                writer = self._writers.get(parcel.conn)
                if writer is not None:
                    writer.put(parcel)
                    if len(writer.queue) == self.core.options.unread_frames_max:
                        self.core.hang_up(parcel.conn, 1008, "slow consumer")
            if not self.core.outbox:  # a fault that closes has more to say
                break

    async def _client(self, endpoint: str, socket: ServerConnection) -> None:
        self._advance()
        conn = self.core.opened(endpoint)
        writer = self._writers[conn] = _Writer(socket)
        carry = asyncio.create_task(writer.run())
        try:
            self._deliver()
            self._wake.set()
            async for frame in socket:
                self._advance()
                self._take(endpoint, conn, frame)
                self._release()
                self._deliver()
                self._wake.set()
        except ConnectionClosed:
            pass
        finally:
            self.core.closed(conn)
            self.faults.forget(conn)
            self._writers.pop(conn).slack.set()
            carry.cancel()
            await asyncio.gather(carry, return_exceptions=True)

    def _take(self, endpoint: str, conn: int, frame: str | bytes) -> None:
        """A request, unless something befalls it on the way in."""
        fault = self.faults.request(endpoint, frame, self.core.now)
        if fault is None:
            self.core.received(conn, frame)
        elif fault.kind == "hold":
            at = self.core.now + int(fault.ms * 1e6)
            self.core.later(at, lambda: self.core.received(conn, frame))
        elif fault.kind == "ignore":
            self.core.received(conn, frame, pretend=True)
        else:
            self.core.turn_away(conn, frame, fault.text)

    async def listen(
        self, host: str, ports: tuple[int, ...], ssl: ssl_module.SSLContext | None
    ) -> None:
        self._host = host
        self._scheme = "ws" if ssl is None else "wss"
        for endpoint, port in zip(ENDPOINTS, ports, strict=False):
            self._servers[endpoint] = await ws_serve(
                self._handler(endpoint),
                host,
                port,
                ssl=ssl,
                compression=None,
                close_timeout=CLOSE_S,
                max_size=FRAME_MAX,
                process_request=self._gate(endpoint),
                logger=None,
            )

        # Else a client that keeps its connection open holds up the end for half a minute.
        patience = {} if ssl is None else {"ssl_shutdown_timeout": CLOSE_S}
        self._http = await asyncio.start_server(
            self._http_client, host, ports[3], ssl=ssl, **patience
        )

    async def _http_client(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._http_tasks.add(task)
        try:
            await serve_http(reader, writer, self._answer)
        except asyncio.CancelledError:
            pass  # the venue closes
        finally:
            self._http_tasks.discard(task)

    def _answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Answer | None:
        self._advance()
        if self.faults.refuses("rest", self.core.now):
            return None
        answer: Answer | None = None
        call = target.partition("?")[0].rpartition("/")[2]
        fault = self.faults.rest(call, self.core.now)
        if fault is None or fault.acts or fault.kind == "lose_reply":
            lag = self.faults.rest_lag(self.core.now)
            self.core.rest_lag_ns = lag or int(self.core.options.rest_lag_ms * 1e6)
            answer = self.rest.answer(method, target, headers, body)
        if fault is not None:
            answer = _spoiled(fault)
        self._release()
        self._deliver()
        self._wake.set()
        return answer

    def _gate(self, endpoint: str) -> Callable[[ServerConnection, Request], Response | None]:
        """Who is let in: the path is /v2, the address not banned, no fault refuses."""

        def decide(socket: ServerConnection, request: Request) -> Response | None:
            if request.path.partition("?")[0].rstrip("/") != PATH:
                return socket.respond(HTTPStatus.NOT_FOUND, "the WebSocket is at /v2\n")
            self._advance()
            if self.faults.refuses(endpoint, self.core.now):
                return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "error 1012\n")
            if not self.core.may_connect():
                return socket.respond(HTTPStatus.TOO_MANY_REQUESTS, "error 1015\n")
            return None

        return decide

    def _handler(self, endpoint: str) -> Callable[[ServerConnection], Awaitable[None]]:
        async def handle(socket: ServerConnection) -> None:
            await self._client(endpoint, socket)

        return handle

    async def close(self) -> None:
        for server in self._servers.values():
            server.close()
        if self._http is not None:
            self._http.close()
            for task in list(self._http_tasks):
                task.cancel()
            await asyncio.gather(*self._http_tasks, return_exceptions=True)
        for server in self._servers.values():
            await server.wait_closed()


def _spoiled(fault: Fault) -> Answer | None:
    """What a REST call that meets a fault gets instead of its answer."""
    if fault.kind == "lose_reply":
        return None
    if fault.kind == "html":
        return Answer(520, "text/html", HTML)
    return Answer(200, "application/json", encode.dumps({"error": [fault.text]}).encode())


@asynccontextmanager
async def serve(
    source: MarketSource | None = None,
    *,
    seed: int = 1,
    speed: float = 1.0,
    options: VenueOptions | None = None,
    keys: Iterable[ApiKey] = (ApiKey(),),
    faults: Script | None = None,
    hold: bool | None = None,
    host: str = "127.0.0.1",
    ports: tuple[int, int, int, int] = (0, 0, 0, 0),
    ssl: ssl_module.SSLContext | None = None,
    clock: Clock | None = None,
    record: bool = True,
    warm: bool = True,
    catch_up: bool = False,
) -> AsyncIterator[LocalVenue]:
    """A venue on loopback for as long as the block lasts.

    source : the market; without one, the generator's for `seed`
    speed : market seconds per second; inf: as fast as the clients take it
    faults : what goes wrong, from faults.read_script or parse_script; `.faults.done` says what did
    hold : the market waits for the first request of a client; by default only at speed inf
    ports : public, private, level 3, REST; 0 takes a free one
    ssl : serve wss and https; keys : API keys, one account each
    record : keep what was said in `.sent`
    warm : compile the matching now, and not while a client waits for its first answer
    catch_up : the market's time is the machine's: what passed while we compiled is made up for

    Example: async with serve(seed=7, speed=10) as venue: connect(venue.public_url)
    """
    if warm:
        compile_venue()
    core = Core(source or generated(seed), options, keys, record)
    waits = math.isinf(speed) if hold is None else hold
    venue = LocalVenue(core, clock or WallClock(), speed, waits, Faults(faults), catch_up)
    await venue.listen(host, ports, ssl)
    task = asyncio.create_task(venue.run())
    try:
        yield venue
    finally:
        while not task.done():
            # More than once: wait_for swallows a cancel that comes together with what it waits for.
            task.cancel()
            await asyncio.wait({task}, timeout=0.1)
        await venue.close()
