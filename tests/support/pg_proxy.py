"""A bad line between a client and PostgreSQL: bytes go through, and at named places it fails.

A message is what the client hands over at once: asyncpg writes one per statement. They are counted
over all connections. `at` maps a number to what happens then:

- "cut": both sides are closed before the message goes on
- "reply": the message goes on, its answer comes back as far as here, and both sides are closed
- "stall": the message stays here until `go_on` is set
- a coroutine function: called before the message goes on
"""

import asyncio
import contextlib
import tempfile
from pathlib import Path

COMMIT = b"COMMIT;"


class PgProxy:
    def __init__(self, target: Path, at=None, on_commit: str = "") -> None:
        self.target = target
        self.at = dict(at or {})
        self.on_commit = on_commit  # the same for the next message that commits
        self.n = 0
        self.fired: list[str] = []
        self.go_on = asyncio.Event()
        self.host = ""
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._clients: set[asyncio.Task] = set()

    async def __aenter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="kb-px-")
        self.host = self._folder.name
        self._unix = await asyncio.start_unix_server(
            self._client, str(Path(self.host) / ".s.PGSQL.5432")
        )
        self._tcp = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.port = self._tcp.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.go_on.set()
        self._unix.close()
        self._tcp.close()
        for writer in list(self._writers):
            writer.close()
        if self._clients:
            await asyncio.wait(self._clients, timeout=5)
        self._folder.cleanup()

    async def _client(self, reader, writer):
        task = asyncio.current_task()
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)
        self._writers.add(writer)
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(str(self.target))
        except OSError:
            writer.close()
            return
        self._writers.add(up_writer)
        line = _Line()
        tasks = [
            asyncio.create_task(self._up(reader, up_writer, line)),
            asyncio.create_task(self._down(up_reader, writer, line)),
        ]
        with contextlib.suppress(ConnectionError):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in (writer, up_writer):
            each.close()
            self._writers.discard(each)

    async def _up(self, reader, writer, line):
        while data := await reader.read(1 << 20):
            self.n += 1
            fault = self.at.pop(self.n, "")
            if not fault and self.on_commit and COMMIT in data:
                fault, self.on_commit = self.on_commit, ""
            if callable(fault):
                self.fired.append("call")
                await fault()
            elif fault:
                self.fired.append(fault)
            if fault == "cut":
                return
            if fault == "stall":
                await self.go_on.wait()
            line.swallow = fault == "reply"
            writer.write(data)
            await writer.drain()

    async def _down(self, reader, writer, line):
        while data := await reader.read(1 << 20):
            if line.swallow:
                return  # the server has done it; nobody hears
            writer.write(data)
            await writer.drain()


class _Line:
    swallow = False
