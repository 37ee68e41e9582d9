"""A bad line between a client and a venue: forwards frames, and spoils some of them.

Which frames are spoiled, and how, is said by a script: (number of the book update, what happens).
They are counted over all connections, so that a script goes on after a reconnect.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

FAULTS = ("drop", "garble", "cut", "swap", "close", "stall", "mute", "html")

UPDATE = b'{"channel":"book","type":"update"'


def symbol_of(frame: bytes) -> tuple[bool, bytes]:
    """Whether it is a book update, and of what."""
    return UPDATE in frame, frame.partition(b'"symbol":"')[2].partition(b'"')[0]


class FaultProxy:
    """script : {frame number: fault}; `mute` ends one channel of the connection, hearts go on."""

    def __init__(self, target: str, script: dict[int, str], mute: bytes = b'"channel":"book"'):
        self.target, self.script, self._mute = target, script, mute
        self.n_frames = 0
        self.done: list[str] = []
        self.url = ""

    async def client(self, socket: ServerConnection) -> None:
        async with connect(
            self.target, compression=None, max_size=None, close_timeout=0.2
        ) as upstream:
            pumps = [
                asyncio.create_task(self._up(socket, upstream)),
                asyncio.create_task(self._down(socket, upstream)),
            ]
            with contextlib.suppress(ConnectionClosed):
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for each in pumps:
                each.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _up(self, socket: ServerConnection, upstream: Any) -> None:
        async for frame in socket:
            await upstream.send(frame, text=True)

    async def _down(self, socket: ServerConnection, upstream: Any) -> None:
        held: bytes | None = None
        muted = False
        while True:
            frame = await upstream.recv(decode=False)
            fault = ""
            if UPDATE in frame:
                self.n_frames += 1
                fault = self.script.pop(self.n_frames, "")
                if fault:
                    self.done.append(fault)
            if muted and self._mute in frame:
                continue
            if fault == "drop":
                continue
            if fault == "garble":
                half = len(frame) // 2
                frame = frame[:half] + b"\x00\xff" + frame[half + 2 :]
            elif fault == "cut":
                frame = frame[: len(frame) // 2]
            elif fault == "html":
                frame = b"<html>502 Bad Gateway</html>"
            elif fault == "close":
                await socket.close(1001, "proxy restarting")
                return
            elif fault == "stall":
                await asyncio.sleep(3600)
            elif fault == "mute":
                muted = True
                continue
            elif fault == "swap":
                held = frame
                continue
            await socket.send(frame, text=True)
            if held is not None and symbol_of(held) == symbol_of(frame):
                frame, held = held, None
                await socket.send(frame, text=True)


@contextmanager
def fault_proxy(target: str, script: dict[int, str], **options: Any) -> Iterator[FaultProxy]:
    """A proxy in a thread of its own."""
    proxy = FaultProxy(target, dict(script), **options)
    ready, box = threading.Event(), {}

    async def go() -> None:
        ended = asyncio.Event()
        async with serve(
            proxy.client, "127.0.0.1", 0, compression=None, max_size=None, close_timeout=0.2
        ) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            proxy.url = f"ws://127.0.0.1:{port}/v2"
            box.update(loop=asyncio.get_running_loop(), ended=ended)
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(go()))
    thread.start()
    assert ready.wait(30)
    try:
        yield proxy
    finally:
        box["loop"].call_soon_threadsafe(box["ended"].set)
        thread.join()
