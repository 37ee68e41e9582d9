"""An HTTP server on loopback that answers what a test wrote down, and keeps what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

CLOSE = (0, b"")  # close the connection instead of answering


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str] = field(repr=False)  # a test of secrets looks for leaks, not for us
    body: bytes = field(repr=False)


@dataclass
class Script:
    """Answers in order, (status, body) each; the last one again when they are used up."""

    answers: list[tuple[int, bytes]]
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    slow_s: float = 0.0  # before each answer
    n_waiting: int = 0
    n_waiting_max: int = 0  # most requests that were without an answer at one time

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")
                method, target, _ = lines[0].split(" ")
                headers = {
                    name.lower(): value
                    for name, _, value in (line.partition(": ") for line in lines[1:] if line)
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.asked.append(Asked(method, target, headers, body))
                self.n_waiting += 1
                self.n_waiting_max = max(self.n_waiting_max, self.n_waiting)
                await asyncio.sleep(self.slow_s)
                self.n_waiting -= 1
                status, answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
                if (status, answer) == CLOSE:
                    break
                writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
                    + answer
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serve_script(*answers: tuple[int, bytes]) -> AsyncIterator[Script]:
    script = Script(list(answers))
    server = await asyncio.start_server(script.handle, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    script.url = f"http://{host}:{port}"
    try:
        yield script
    finally:
        server.close()
