"""One clock for whatever runs in one process: it moves on when all of it waits.

A venue and its sessions in this loop are in step however slow or busy the machine is: nobody is late,
since time stands still while somebody works. Connections are pairs of sockets, so that what was sent
is there at once. `carry` runs one session among the others; `cut` takes its connections away as a
kernel does from a process that was killed. Left out: threads of a session's own (they are looked
after by whoever starts one).
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import selectors
import socket
from collections.abc import Callable, Coroutine
from typing import Any

_MINE: contextvars.ContextVar[bool] = contextvars.ContextVar("mine", default=False)
ROUNDS_MAX = 50  # of cancelling what a session left behind


class _Jumping(selectors.DefaultSelector):
    """Where others wait for the time to come, this lets it come."""

    ns = 0
    n_elsewhere = 0  # jobs in threads: they take the machine's time

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self.n_elsewhere:
            return super().select(0.01)
        assert timeout is not None, "all of them wait, and nothing will ever happen"
        self.ns += max(1, math.ceil(timeout * 1e9))
        return ready


class OneClock(asyncio.SelectorEventLoop):
    """The loop, and the clock of all that is in it.

    start : ns, the time at which it begins; Python's own time of the loop begins at 0
    """

    speed = 1.0

    def __init__(self, start: int) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)
        self._start = start
        self._servers: dict[int, Callable[[], Any]] = {}
        self._lines: list[Any] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._dead = False
        self._gone: asyncio.Future[None] | None = None
        self.set_task_factory(self._make_task)

    # --- the clock ---

    def time(self) -> float:
        return self._jumping.ns / 1e9

    def now(self) -> int:
        return self._start + self._jumping.ns

    def seconds_until(self, ts: int) -> float:
        return (ts - self.now()) / 1e9

    # --- what a loop does ---

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        self._jumping.n_elsewhere += 1
        future = super().run_in_executor(executor, func, *args)

        def back(_: Any) -> None:
            self._jumping.n_elsewhere -= 1

        future.add_done_callback(back)
        return future

    async def create_server(  # type: ignore[override]
        self, factory: Callable[[], Any], host: Any = None, port: Any = None, **more: Any
    ) -> Any:
        server = await super().create_server(factory, host, port, **more)
        for each in server.sockets:
            self._servers[each.getsockname()[1]] = factory
        return server

    async def create_connection(  # type: ignore[override]
        self, factory: Callable[[], Any], host: Any = None, port: Any = None, **more: Any
    ) -> Any:
        mine = _MINE.get()
        if mine and self._dead:
            raise OSError("the process is gone")
        if port not in self._servers:
            raise ConnectionRefusedError(f"nobody listens on port {port}")
        ours, theirs = socket.socketpair()
        answering = self.create_task(
            self.connect_accepted_socket(self._servers[port], theirs),
            context=contextvars.Context(),  # theirs, not a part of whoever calls
        )
        made = await super().create_connection(factory, sock=ours)
        await answering
        if mine:
            self._lines.append(made[0])
        return made

    def _make_task(self, loop: Any, coro: Any, context: Any = None) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=loop, context=context)
        if context.get(_MINE, False) if context is not None else _MINE.get():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return task

    # --- a session ---

    def carry(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Run `main` to its end, or to where it was cut off; then nothing of it is left."""
        return self.run_until_complete(self._carry(main))

    async def _carry(self, main: Coroutine[Any, Any, Any]) -> Any:
        self._lines.clear()
        self._dead, self._gone = False, self.create_future()
        mine = contextvars.Context()
        mine.run(_MINE.set, True)
        task = self.create_task(main, context=mine)
        await asyncio.wait((task, self._gone), return_when=asyncio.FIRST_COMPLETED)
        for _ in range(ROUNDS_MAX):
            if not (left := tuple(self._tasks)):
                break
            for each in left:
                each.cancel()
            await asyncio.wait(left, timeout=0.1)
        assert not self._tasks, f"it does not end: {self._tasks}"
        return task.result() if not self._dead else None

    def cut(self) -> None:
        """From now on nothing that the session does reaches anybody."""
        self._dead = True
        for each in self._lines:
            each.abort()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
