"""How does a person talk to a running session? JSON lines over a socket file of the account.

The server lives in the session's own loop: a request becomes event rows (MODE, OPERATOR) that the
session logs and the core learns of like of anything else, and the answer says what became of it. The
socket is for its owner only, and who connects is asked of the kernel (SO_PEERCRED). Anyone may
tighten; loosening is refused while the kill flag is set or critical alerts are not acknowledged, when
it is asked for and once more when its turn has come.
Left out: the words for people, which the command line has; what a mode does, which the core knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from engine.errors import KapitaalbotError, RefusedError
from engine.events import (
    LAST,
    MODE,
    MODE_EMERGENCY,
    MODE_EXIT_ONLY,
    MODE_HALT,
    MODE_NORMAL,
    MODE_REDUCED,
    NO_SYMBOL,
    OPERATOR,
    OPERATOR_ACKNOWLEDGE,
    OPERATOR_ENABLE_FAMILY,
    OPERATOR_FLATTEN,
    OPERATOR_RELEASE_SYMBOL,
    WHO_OPERATOR,
    WHY_COMMAND,
    WHY_KILL,
    empty,
)

SOCKET_NAME: Final = "control"
LINE_MAX: Final = 4096
ANSWER_MAX: Final = 1 << 20
CONNECTIONS_MAX: Final = 8
IDLE_S: Final = 30.0
ANSWER_S: Final = 5.0  # what the session takes longer for is answered with "not yet"
_NAME_MAX: Final = 100  # bytes: the kernel takes 107 in a socket's address
_CRED: Final = struct.Struct("3i")  # pid, uid, gid

MODES: Final = {
    "NORMAL": MODE_NORMAL,
    "REDUCED": MODE_REDUCED,
    "EXIT_ONLY": MODE_EXIT_ONLY,
    "EMERGENCY": MODE_EMERGENCY,
    "HALT": MODE_HALT,
}
MODE_NAMES: Final = {code: name for name, code in MODES.items()}


class NoSessionError(RefusedError):
    """Nobody listens: no session of this account runs here, or it hangs."""


class Driven(Protocol):
    """A session, as far as the socket needs it. All but `take` answer at once."""

    def status(self) -> Mapping[str, Any]:
        """What a person asks first: mode, orders, positions, ages, alerts; plain values only."""

    def mode(self) -> int:
        """MODE_* now."""

    def symbol_row(self, symbol: str) -> int:
        """Row of a pair; raises a KapitaalbotError for one that is not traded."""

    def family_code(self, name: str) -> int:
        """FAMILY_* of a name; raises a KapitaalbotError."""

    def acknowledge(self, number: int) -> int:
        """Acknowledge one alert, 0: all; returns how many it were."""

    def must_not_loosen(self) -> str:
        """Why nothing may be loosened now; empty: nothing stands against it."""

    async def take(self, rows: np.ndarray, may: Callable[[], None]) -> Mapping[str, Any]:
        """Stamp, log and step these rows; return what became of it.

        may : called in the session's own turn, when all that came before is known and told; what it
            raises (a KapitaalbotError) is raised here, and nothing was learned then
        """


def loosens(before: int, after: int) -> bool:
    """Whether a mode allows more than another: their codes rise with caution."""
    return after < before


def rows_of(request: Mapping[str, Any], driven: Driven) -> np.ndarray:
    """EVENT rows of a request; none for one that only asks. Raises KapitaalbotError."""
    what = request.get("do")
    if what == "status":
        return empty(0)
    rows = empty(1)
    row = rows[0]
    row["flags"] = LAST
    if what in ("mode", "kill"):
        name = "HALT" if what == "kill" else str(request.get("mode"))
        if name not in MODES:
            raise RefusedError(f"{name!r:.40} is not a mode.", f"Modes are {', '.join(MODES)}.")
        row["kind"], row["aux"], row["id"] = MODE, MODES[name], WHO_OPERATOR
        row["qty"] = WHY_KILL if what == "kill" else WHY_COMMAND
        refuse_to_loosen(rows, driven)
        return rows
    row["kind"] = OPERATOR
    symbol = request.get("symbol")
    if what == "flatten":
        row["id"] = OPERATOR_FLATTEN
        row["sym"] = NO_SYMBOL if symbol is None else driven.symbol_row(str(symbol))
    elif what == "release":
        row["id"], row["sym"] = OPERATOR_RELEASE_SYMBOL, driven.symbol_row(str(symbol))
    elif what == "enable-family":
        row["id"] = OPERATOR_ENABLE_FAMILY
        row["aux"] = driven.family_code(str(request.get("family")))
    elif what == "acknowledge":
        number = request.get("number", 0)
        if type(number) is not int or not 0 <= number < 1 << 62:
            raise RefusedError(f"{number!r:.40} is not the number of an alert.")
        row["id"], row["aux"] = OPERATOR_ACKNOWLEDGE, number
    else:
        raise RefusedError(f"{what!r:.40} is nothing that can be asked for.")
    return rows


def refuse_to_loosen(rows: np.ndarray, driven: Driven, asked_in: int | None = None) -> None:
    """Raise RefusedError for a mode that loosens while it must not, now.

    asked_in : the mode in which it was asked for; one that was tightened since is not what it was about
    """
    row = rows[0]
    now = driven.mode()
    if row["kind"] != MODE or not loosens(now, int(row["aux"])):
        return
    why = driven.must_not_loosen()
    if asked_in is not None and loosens(now, asked_in):
        why = f"it was tightened from {MODE_NAMES.get(asked_in, asked_in)} while you asked"
    if why:
        raise RefusedError(
            f"the mode stays {MODE_NAMES.get(now, now)}: {why}.",
            "`kapitaalbot ops status` shows what is open.",
        )


class ControlServer:
    """The session's end of the socket. Made with the lease held, so an old file is nobody's."""

    def __init__(self, folder: Path, driven: Driven, answer_s: float = ANSWER_S) -> None:
        self._path = folder / SOCKET_NAME
        self._driven = driven
        self._answer_s = answer_s
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()
        self.n_refused = 0  # connections of other users

    async def start(self) -> None:
        """Listen. Raises OSError where the folder does not allow it."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _short_name(self._path) as name:
                before = os.umask(0o177)
                try:
                    listener.bind(name)
                finally:
                    os.umask(before)
            listener.listen(CONNECTIONS_MAX)
            listener.setblocking(False)
            self._server = await asyncio.start_unix_server(
                self._accept, sock=listener, limit=LINE_MAX
            )
        except BaseException:
            listener.close()
            raise

    async def stop(self) -> None:
        """Close the socket and every talk; a second call does nothing."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for each in self._talks:
            each.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None
        try:
            if len(self._talks) < CONNECTIONS_MAX and self._may_talk(writer):
                self._talks.add(talk)
                await self._talk(reader, writer)
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            pass  # the other end left, or we stop
        finally:
            self._talks.discard(talk)
            writer.close()

    def _may_talk(self, writer: asyncio.StreamWriter) -> bool:
        uid = peer_uid(writer.get_extra_info("socket"))
        if uid in (0, os.geteuid()):
            return True
        self.n_refused += 1
        return False

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    line = await reader.readline()
            except ValueError:  # longer than LINE_MAX: what follows cannot be told apart
                return
            if not line.endswith(b"\n"):
                return
            answer = await self._answer(line)
            data = json.dumps(answer, default=str, allow_nan=False).encode() + b"\n"
            writer.write(data)
            async with asyncio.timeout(IDLE_S):
                await writer.drain()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ValueError
        except (ValueError, RecursionError):
            return _refusal("NOT_UNDERSTOOD", "the request is no JSON object.", "")
        try:
            rows = rows_of(request, self._driven)
            if not len(rows):
                return {"ok": True, "became": dict(self._driven.status())}
            became: dict[str, Any] = {}
            mode = self._driven.mode()
            if request["do"] == "acknowledge":
                became["acknowledged"] = self._driven.acknowledge(int(rows[0]["aux"]))
            async with asyncio.timeout(self._answer_s):
                became |= await self._driven.take(
                    rows, lambda: refuse_to_loosen(rows, self._driven, mode)
                )
        except TimeoutError:
            # It was handed over and may still happen: whoever asked must look again.
            return _refusal(
                "NOT_YET", "the session took it and has not answered.", "Ask for the status."
            )
        except KapitaalbotError as error:
            return _refusal("REFUSED", error.message, error.hint)
        except ValueError as error:
            return _refusal("REFUSED", str(error)[:300], "")
        return {"ok": True, "became": became}


def _refusal(code: str, message: str, hint: str) -> dict[str, Any]:
    return {"ok": False, "code": code, "message": message, "hint": hint}


def peer_uid(connection: Any) -> int:
    """Who is at the other end of a unix socket, as the kernel says; -1 where it does not."""
    try:
        data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CRED.size)
    except (OSError, AttributeError):
        return -1
    return int(_CRED.unpack(data)[1])


@contextlib.contextmanager
def _short_name(path: Path) -> Iterator[str]:
    """A name of `path` that fits into a socket's address, through an open folder if need be."""
    if len(os.fsencode(path)) <= _NAME_MAX:
        yield str(path)
        return
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{path.name}"
    finally:
        os.close(fd)


def ask(folder: Path, request: Mapping[str, Any], timeout_s: float = 10.0) -> dict[str, Any]:
    """Ask the session of an account, and wait for its answer.

    raises NoSessionError where nobody listens or no answer comes in time
    """
    path = folder / SOCKET_NAME
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            with _short_name(path) as name:
                connection.connect(name)
            if peer_uid(connection) not in (0, os.geteuid()):
                raise NoSessionError(f"{path} belongs to another user.")
            connection.sendall(json.dumps(request).encode() + b"\n")
            data = b""
            while not data.endswith(b"\n"):
                part = connection.recv(1 << 16)
                if not part or len(data) > ANSWER_MAX:
                    raise NoSessionError(
                        f"the session of {folder.name} ended while it was asked.",
                        "Ask again; `kapitaalbot ops kill` works without it.",
                    )
                data += part
        except (FileNotFoundError, ConnectionRefusedError):
            raise NoSessionError(
                f"no session of the account {folder.name} runs here.",
                "Another account or mode? --profile, --account and --mode say which. "
                "`kapitaalbot ops kill` works without a session.",
            ) from None
        except TimeoutError:
            raise NoSessionError(
                f"the session of {folder.name} did not answer within {timeout_s:g} s.",
                "It may hang: `kapitaalbot ops kill` works without it.",
            ) from None
        except OSError as error:
            raise NoSessionError(
                f"the session of {folder.name} cannot be asked: {error.strerror or error}."
            ) from None
    answer = json.loads(data)
    if not isinstance(answer, dict):
        raise NoSessionError(f"the session of {folder.name} answers nonsense.")
    return answer
