"""Where a session can be killed: each crash point as a wrapper around the real thing.

`HOOKS` by name; each puts itself around one function of the product, in a process of its own, and
kills that process when the moment has come. Nothing of the product knows of it.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from engine import commands as c
from engine.core.orders import find_order
from engine.events import (
    HEALTH,
    HEALTH_RECONCILED,
    ORDER_ACK,
    ORDER_CANCELED,
    ORDER_FILL,
)

RUNNING: list[Any] = []  # the session of this process, once it has begun
NOTE: dict[str, Any] = {}  # what a hook has seen, for whoever looks into the ashes
_NOTES: list[Path] = []
_UNDO: list[Callable[[], None]] = []


def killed() -> None:
    """No goodbye: as `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


DEATH: list[Callable[[], None]] = [killed]  # how it comes; crash_world.py has another


def die() -> None:
    if _NOTES:
        _NOTES[0].write_text(json.dumps(NOTE))
    DEATH[-1]()


def role_of(id: int) -> int:
    """The role of one of our orders, 0 if the core has none of that id."""
    core = RUNNING[0].built.core
    slot = find_order(core.orders, id)
    return int(core.orders[slot]["role"]) if slot >= 0 else 0


def holds() -> bool:
    """Has the session a position?"""
    return bool(RUNNING) and bool((RUNNING[0].built.core.symbols["position"]["qty"] > 0).any())


def has(commands: np.ndarray, kind: int, *roles: int) -> bool:
    fits = commands["kind"] == kind
    if roles:
        fits &= np.isin(commands["role"], roles)
    return bool(fits.any())


def wrap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    inner = getattr(owner, name)
    _UNDO.append(lambda: setattr(owner, name, inner))
    setattr(owner, name, make(inner))


def uninstall() -> None:
    """Take every hook of this process away again."""
    while _UNDO:
        _UNDO.pop()()
    RUNNING.clear()
    NOTE.clear()
    _NOTES.clear()


# --- the ways in ----------------------------------------------------------------------------------


def before_intent(kind: int, *roles: int) -> Callable[[], None]:
    """The core has decided; nothing is appended to the log."""

    def install() -> None:
        import engine.session.loop as loop

        def make(inner: Any) -> Any:
            def command_rows(commands: np.ndarray) -> np.ndarray:
                if has(commands, kind, *roles):
                    die()
                return inner(commands)

            return command_rows

        wrap(loop, "command_rows", make)

    return install


def at_sync(flushed: bool) -> Callable[[], None]:
    """The intent of an entry is appended (and handed to the system), the disk does not have it."""

    def install() -> None:
        from engine.session.loop import Session

        def make(inner: Any) -> Any:
            def _make_durable(self: Any, commands: np.ndarray) -> Any:
                if has(commands, c.ADD, c.ROLE_ENTRY):
                    if flushed:
                        # A thread writes, and syncs whatever it writes.
                        self.log.flush()
                        self.log.settle()
                    die()
                return inner(self, commands)

            return _make_durable

        wrap(Session, "_make_durable", make)

    return install


def before_wire(kind: int, *roles: int) -> Callable[[], None]:
    """The log is synced, the gateway has the command, no byte of it is written."""

    def install() -> None:
        from adapters.trading import Trading

        def make(inner: Any) -> Any:
            def carry(self: Any, commands: np.ndarray, now: int) -> Any:
                if has(commands, kind, *roles):
                    die()
                return inner(self, commands, now)

            return carry

        wrap(Trading, "carry", make)

    return install


def is_request(method: str, **params: Any) -> Callable[[bytes], bool]:
    def fits(frame: bytes) -> bool:
        request = json.loads(frame)
        asked = request.get("params", {})
        return request.get("method") == method and all(
            value(asked.get(name)) if callable(value) else asked.get(name) == value
            for name, value in params.items()
        )

    return fits


def in_write(fits: Callable[[bytes], bool], whole: bool) -> Callable[[], None]:
    """A request is on the wire, the whole of it or half."""

    def install() -> None:
        from websockets.frames import Frame, Opcode

        from adapters.kraken.public import Line

        class Socket:
            def __init__(self, socket: Any) -> None:
                self._socket = socket

            async def send(self, frame: bytes, text: bool) -> None:
                if fits(frame):
                    data = Frame(Opcode.TEXT, frame).serialize(mask=True)
                    data = data if whole else data[: len(data) // 2]
                    # Past the loop, which would write it later.
                    fd = self._socket.transport.get_extra_info("socket").fileno()
                    assert os.write(fd, data) == len(data)
                    die()
                await self._socket.send(frame, text=text)

        def make(inner: Any) -> Any:
            async def _speak(self: Any, socket: Any) -> None:
                await inner(self, Socket(socket))

            return _speak

        wrap(Line, "_speak", make)

    return install


def at_answer() -> Callable[[], None]:
    """The reply to an entry was read; nobody has looked at it."""

    def install() -> None:
        from adapters.kraken.private_line import PrivateLine

        def make(inner: Any) -> Any:
            def heard(self: Any, conn: int, frame: bytes, ts: int) -> None:
                if b'"add_order"' in frame and b'"success":true' in frame.replace(b" ", b""):
                    die()
                inner(self, conn, frame, ts)

            return heard

        wrap(PrivateLine, "heard", make)

    return install


def at_hand(fits: Callable[[np.ndarray], bool]) -> Callable[[], None]:
    """The account line is about to tell these rows; the session has not learned them."""

    def install() -> None:
        from adapters.kraken.account_line import AccountLine

        def make(inner: Any) -> Any:
            def _hand(self: Any, rows: np.ndarray, now: int) -> None:
                if len(rows) and fits(rows):
                    die()
                inner(self, rows, now)

            return _hand

        wrap(AccountLine, "_hand", make)

    return install


def at_journal(kind: int, part: str) -> Callable[[], None]:
    """The core has learned such rows; the log has none, the first, or all of them on the disk."""

    def install() -> None:
        from engine.session.loop import Session

        def make(inner: Any) -> Any:
            def _write(self: Any, rows: np.ndarray) -> None:
                which = np.flatnonzero((rows["kind"] == kind) & (rows["id"] > 0))
                if len(which):
                    if part != "none":
                        self.log.append(rows[: which[0] + 1].copy() if part == "first" else rows)
                        self.log.flush()
                        self.log.settle()
                    die()
                inner(self, rows)

            return _write

        wrap(Session, "_write", make)

    return install


def at_snapshot(moment: str) -> Callable[[], None]:
    """A snapshot of a core that holds a position is written, renamed, or its folder synced."""

    def install() -> None:
        from engine.flow.files import Files

        def snapshot(path: Path) -> bool:
            return ".state" in path.name and path.name.lstrip(".")[0].isdigit() and holds()

        if moment == "write":

            def make(inner: Any) -> Any:
                def create(self: Any, path: Path) -> Any:
                    file = inner(self, path)
                    if snapshot(path):
                        write = file.write

                        def half(data: bytes) -> None:
                            write(memoryview(data)[: len(data) // 2])
                            if len(data) > 4096:
                                die()

                        file.write = half
                    return file

                return create

            wrap(Files, "create", make)
            return

        def make_rename(inner: Any) -> Any:
            def rename(self: Any, old: Path, new: Path) -> None:
                if snapshot(new):
                    if moment == "sync":
                        os.replace(old, new)
                    die()
                inner(self, old, new)

            return rename

        wrap(Files, "rename", make_rename)

    return install


def at_rotation(moment: str) -> Callable[[], None]:
    """A segment of the log is full: it is ended, and the next one has no name yet."""

    def install() -> None:
        import adapters.running as running
        from engine.flow.files import Files
        from engine.flow.log import LogWriter

        def make_short(inner: Any) -> Any:
            def short(*arguments: Any, **options: Any) -> LogWriter:
                made: LogWriter = inner(*arguments, **{**options, "segment_bytes": 40_000})
                return made

            return short

        wrap(running, "LogWriter", make_short)
        if moment == "ended":

            def make(inner: Any) -> Any:
                def _next_segment(self: Any) -> None:
                    if holds():
                        self.settle()
                        die()
                    inner(self)

                return _next_segment

            wrap(LogWriter, "_next_segment", make)
            return

        def make_rename(inner: Any) -> Any:
            def rename(self: Any, old: Path, new: Path) -> None:
                if new.suffix == ".arrows" and holds():
                    die()
                inner(self, old, new)

            return rename

        wrap(Files, "rename", make_rename)

    return install


def at_pass(nth_read: int) -> Callable[[], None]:
    """Settling over REST: before its first read (0), or before a later one."""

    def install() -> None:
        from adapters.kraken.account_line import AccountLine

        n = [0]

        def make(inner: Any) -> Any:
            async def _read(self: Any, name: str, params: dict[str, Any]) -> Any:
                if n[0] == nth_read:
                    NOTE["read"] = name
                    die()
                n[0] += 1
                return await inner(self, name, params)

            return _read

        wrap(AccountLine, "_read", make)

    return install


def at_token(asked: bool) -> Callable[[], None]:
    def install() -> None:
        from adapters.kraken.rest import Rest

        def make(inner: Any) -> Any:
            async def stream_token(self: Any) -> Any:
                if asked:
                    await inner(self)
                die()

            return stream_token

        wrap(Rest, "stream_token", make)

    return install


def at_way_down() -> Callable[[], None]:
    """Told to stop; entries are being withdrawn."""

    def install() -> None:
        import adapters.live as live

        def make(inner: Any) -> Any:
            def _entries_work(self: Any) -> bool:
                if inner(self):
                    die()
                return False

            return _entries_work

        wrap(live._Loop, "_entries_work", make)

    return install


def at_close(moment: str) -> Callable[[], None]:
    """The way down is done: the core is saved, the log not ended; or ended, without a manifest."""

    def install() -> None:
        import adapters.running as running
        from engine.session.loop import Session

        def make(inner: Any) -> Any:
            def close(*arguments: Any, **options: Any) -> Any:
                die()

            return close

        if moment == "saved":
            wrap(Session, "close", make)
        else:
            wrap(running, "session_manifest", make)

    return install


def while_bare() -> Callable[[], None]:
    """What is held has had no stop for a while, and the log says so."""

    def install() -> None:
        import adapters.running as running

        def make(inner: Any) -> Any:
            def second(self: Any, now: int) -> None:
                inner(self, now)
                since = self.built.core.symbols["position"]["uncovered_ts"]
                if ((since > 0) & (now - since > 3_000_000_000)).any():
                    die()

            return second

        wrap(running.Running, "second", make)

    return install


def ack_of(role: int) -> Callable[[np.ndarray], bool]:
    def fits(rows: np.ndarray) -> bool:
        acks = rows["id"][rows["kind"] == ORDER_ACK]
        return any(role_of(int(id)) == role for id in acks)

    return fits


def any_of(kind: int, **fields: int) -> Callable[[np.ndarray], bool]:
    def fits(rows: np.ndarray) -> bool:
        which = rows["kind"] == kind
        for name, value in fields.items():
            which &= rows[name] == value
        return bool((which & (rows["id"] > 0)).any())

    return fits


ENTRY, STOP = (c.ROLE_ENTRY,), (c.ROLE_PROTECTION,)
is_entry = is_request("add_order", side="buy")
is_stop = is_request("add_order", order_type="stop-loss")
is_switch = is_request("cancel_all_orders_after", timeout=bool)

HOOKS: dict[str, Callable[[], None]] = {
    "C01": before_intent(c.ADD, *ENTRY),
    "C02": at_sync(False),
    "C02 flushed": at_sync(True),
    "C03": before_wire(c.ADD, *ENTRY),
    "C04": in_write(is_entry, False),
    "C05": in_write(is_entry, True),
    "C06": at_answer(),
    "C07": at_journal(ORDER_ACK, "all"),
    "C07 applied": at_journal(ORDER_ACK, "none"),
    "C08": at_hand(any_of(ORDER_FILL)),
    "C09": at_journal(ORDER_FILL, "first"),
    "C10": at_journal(ORDER_FILL, "all"),
    "C10 applied": at_journal(ORDER_FILL, "none"),
    "C11": before_intent(c.ADD, *STOP),
    "C12": before_wire(c.ADD, *STOP),
    "C13": in_write(is_stop, True),
    "C14": at_hand(ack_of(c.ROLE_PROTECTION)),
    "C15": before_wire(c.CANCEL),
    "C16": in_write(is_request("cancel_order"), True),
    "C17": at_hand(any_of(ORDER_CANCELED)),
    "C18": in_write(is_request("amend_order"), True),
    "C19": in_write(is_switch, True),
    "C20": at_snapshot("write"),
    "C21": at_snapshot("rename"),
    "C22": at_snapshot("sync"),
    "C25": at_pass(0),
    "C26": at_pass(1),
    "C26 later": at_pass(2),
    "C27": at_hand(any_of(HEALTH, id=HEALTH_RECONCILED)),
    "C28": at_token(False),
    "C28 asked": at_token(True),
    "C29": at_way_down(),
    "C29 saved": at_close("saved"),
    "C29 ended": at_close("ended"),
    "bare": while_bare(),
    "C30": at_rotation("ended"),
    "C30 unnamed": at_rotation("unnamed"),
}


def note_syncs() -> None:
    """Remember how much of the log a power cut would leave."""
    from engine.flow.log import LogWriter, segment_name

    def make(inner: Any) -> Any:
        def _synced(self: Any, mark: Any) -> None:
            inner(self, mark)
            NOTE["synced"] = [segment_name(mark.segment), mark.size]

        return _synced

    wrap(LogWriter, "_synced", make)


def install(name: str, notes: Path) -> None:
    """Put the hook of a point into this process."""
    _NOTES[:] = [notes]
    note_syncs()
    if name:
        HOOKS[name]()
