"""How do frames travel between a socket and a session? One connection, carried and not understood.

`Line` connects when it may, stamps every frame as it arrives and hands it on, sends what it is
given, and says when and why the connection ended. All that is decided is decided by whoever takes
the frames. Left out: what anything means (session.py), several connections at once (live.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl as ssl_module
from typing import Final, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

PUBLIC_URL: Final = "wss://ws.kraken.com/v2"
FRAME_MAX: Final = 64 << 20  # an instrument snapshot, or a book of 1000 levels, is beyond 1 MB
OPEN_S: Final = 10.0
CLOSE_S: Final = 2.0
# websockets logs whole frames at DEBUG, and ours carry tokens: it gets a logger that stays above.
QUIET: Final = logging.Logger("kapitaalbot.line", logging.INFO)


class Ear(Protocol):
    """Where a line reports to. `stamp` gives the time at which something happened, ns."""

    def stamp(self) -> int: ...
    async def may_connect(self, conn: int) -> bool: ...
    def opened(self, conn: int) -> None: ...
    def heard(self, conn: int, frame: bytes, ts: int) -> None: ...
    def closed(self, conn: int, code: int, reason: str) -> None: ...


class Line:
    """One connection, made again and again until it is told not to be.

    conn : its number; url : of the host; ssl : own certificates, None for the usual ones
    """

    def __init__(
        self,
        conn: int,
        url: str,
        ear: Ear,
        *,
        ssl: ssl_module.SSLContext | None = None,
    ) -> None:
        self.conn, self.url = conn, url
        self._ear, self._ssl = ear, ssl
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._end = asyncio.Event()

    def send(self, frames: list[bytes]) -> None:
        """Frames go out in order, as soon as the socket takes them."""
        for each in frames:
            self._outbox.put_nowait(each)

    def end(self) -> None:
        """Close the connection that stands, without waiting for the other side."""
        self._end.set()

    async def run(self) -> None:
        """Until the ear says that there is nothing more to connect."""
        while await self._ear.may_connect(self.conn):
            self._end.clear()
            while not self._outbox.empty():
                self._outbox.get_nowait()  # meant for a connection that is gone
            code, reason = await self._once()
            self._ear.closed(self.conn, code, reason)

    async def _once(self) -> tuple[int, str]:
        connecting = asyncio.ensure_future(self._connect())
        ending = asyncio.create_task(self._end.wait())
        try:
            await asyncio.wait((connecting, ending), return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                return 0, "ended while it was being made"
            socket = connecting.result()
        except ssl_module.SSLCertVerificationError as error:
            return 0, f"TLS_REFUSED: {error.verify_message}"
        except (OSError, TimeoutError, WebSocketException) as error:
            return 0, str(error).partition("\n")[0] or type(error).__name__
        finally:
            connecting.cancel()
            ending.cancel()
            await asyncio.gather(connecting, ending, return_exceptions=True)
        self._ear.opened(self.conn)
        carriers = [
            asyncio.create_task(self._listen(socket)),
            asyncio.create_task(self._speak(socket)),
            asyncio.create_task(self._end.wait()),
        ]
        try:
            await asyncio.wait(carriers, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in carriers:
                each.cancel()
            await asyncio.gather(*carriers, return_exceptions=True)
            with contextlib.suppress(TimeoutError, OSError, WebSocketException):
                await asyncio.wait_for(socket.close(), CLOSE_S)
            if socket.transport is not None:
                socket.transport.abort()
        return socket.close_code or 1006, socket.close_reason or ""

    async def _connect(self) -> ClientConnection:
        return await connect(
            self.url,
            ssl=self._ssl,
            open_timeout=OPEN_S,
            close_timeout=CLOSE_S,
            max_size=FRAME_MAX,
            logger=QUIET,
            # The session watches heartbeats; what arrives waits in an inbox, where it is counted.
            ping_interval=None,
            compression=None,
            max_queue=1024,
        )

    async def _listen(self, socket: ClientConnection) -> None:
        ear, conn = self._ear, self.conn
        with contextlib.suppress(ConnectionClosed):
            while True:
                frame = await socket.recv(decode=False)
                ear.heard(conn, frame, ear.stamp())  # stamp first, think later

    async def _speak(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await socket.send(await self._outbox.get(), text=True)
