"""Who may act for the account? One process at a time, and nobody once the kill flag is set.

An account has a folder of its own state (0700): the lock, the fencing number, the kill flag; control
socket and unread alerts lie beside them. Whoever holds the lease holds the lock on one file and the
highest number ever given; the number is on the disk before it is used. `still_ours` asks both
again and is cheap enough for each frame: a process that was stopped while another took over finds
another file under the name, or a higher number, and sends nothing.

Left out: a second machine. Nothing here can see it; the venue's nonce and orders that are not ours
tell (HEALTH_FOREIGN, WHY_SECOND_WRITER). No threads, no sockets.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.clock import Clock, utc_text
from engine.errors import DataError, RefusedError, SecretError, StorageError
from engine.flow.files import LOCAL_FILES, Files

LOCK_NAME: Final = "writer"
NUMBER_NAME: Final = "fencing"
KILL_NAME: Final = "killed"
_BYTES_MAX: Final = 4096
_PATIENCE: Final = 100  # looks at a lock whose holder has not signed yet ...
_PAUSE_S: Final = 0.005  # ... so long apart


def account_folder(account: str, state: str, root: Path) -> Path:
    """The folder of an account's state: `state` of the profile, else under `root`."""
    return (Path(state).expanduser() if state else root / "live") / account


def open_folder(folder: Path, files: Files = LOCAL_FILES) -> Path:
    """Make the folder if need be and make sure that it is ours alone; raises SecretError."""
    try:
        if not folder.is_dir():
            files.make_folder(folder)
            folder.chmod(0o700)
        found = folder.lstat()
    except OSError as error:
        raise StorageError(
            f"the account's folder {folder} cannot be used: {error.strerror}.",
            "Set live.state to a folder that you can write.",
        ) from error
    problem = folder_problem(folder, found)
    if problem is not None:
        raise problem
    return folder


def folder_problem(folder: Path, found: os.stat_result) -> SecretError | None:
    """What is wrong with owner or rights of an account's folder; None: nothing."""
    if not stat.S_ISDIR(found.st_mode):
        return SecretError(f"{folder} is a link or no folder.", "Set live.state to a real folder.")
    if found.st_uid != os.geteuid():
        return SecretError(
            f"{folder} belongs to another user.", "Set live.state to a folder of yours."
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        return SecretError(
            f"{folder} has the rights {mode:04o}: others than you may act for the account.",
            f"Run `chmod 700 {folder}`.",
        )
    return None


def write_synced(path: Path, data: bytes, files: Files = LOCAL_FILES) -> None:
    """Replace a small file for good: written beside, synced, renamed, 0600. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    files.remove(temporary)
    file = files.create(temporary)
    try:
        os.chmod(temporary, 0o600)
        file.write(data)
        file.sync()
    finally:
        file.close()
    files.rename(temporary, path)


@dataclass(frozen=True)
class Holder:
    """Who holds a lease: number, process, machine, since when (ns)."""

    number: int
    pid: int
    host: str
    started: int

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} since {utc_text(self.started)}, number {self.number}"


class Lease:
    """The right to act for an account. One per process; children of a fork do not have it."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        take_over: bool = False,
        files: Files = LOCAL_FILES,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take the lease or raise RefusedError (exit 6) that names who has it.

        folder : of the account; take_over : from a process that is known to be stuck: its lock is
        replaced and its number outdated, so that it sends nothing when it wakes up
        raises SecretError (rights of the folder), DataError (a damaged number), StorageError
        """
        self._folder = open_folder(folder, files)
        self._path = folder / LOCK_NAME
        self._number_path = folder / NUMBER_NAME
        self._files = files
        self._pid = os.getpid()
        self._fd = -1
        try:
            self._fd = self._take(take_over, pause)
            self.number = self._next_number()
            self._number_seen = self._number_stamp()
            self.holder = Holder(self.number, self._pid, socket.gethostname(), clock.now())
            self._sign()
        except OSError as error:
            self._close()
            raise StorageError(
                f"the lease of {folder} cannot be kept: {error.strerror or error}.",
                "Check space and rights of that folder.",
            ) from error
        except BaseException:
            self._close()
            raise

    def still_ours(self) -> bool:
        """Whether nobody took over: same file under the name, same number on the disk.

        Three calls of stat, under ten microseconds. Ask before each frame, and after any stall.
        """
        if self._fd < 0 or os.getpid() != self._pid:
            return False
        try:
            held, named = os.fstat(self._fd), os.stat(self._path)
            if (held.st_ino, held.st_dev) != (named.st_ino, named.st_dev):
                return False
            stamp = self._number_stamp()
            if stamp != self._number_seen:
                if self._read_number() != self.number:
                    return False
                self._number_seen = stamp
        except (OSError, DataError):
            return False
        return True

    def release(self) -> None:
        """Give it back; a second call does nothing. The files stay: their names are the lock."""
        if self._fd >= 0 and os.getpid() == self._pid:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _take(self, take_over: bool, pause: Callable[[float], None]) -> int:
        if take_over:
            # Whoever holds the old file keeps a lock that means nothing any more.
            write_synced(self._path, b"", self._files)
        for look in range(_PATIENCE):
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = read_holder(self._folder)
                os.close(fd)
                # What is written may be of the holder before: the new one signs in a moment.
                if (holder is None or not _may_live(holder)) and look < _PATIENCE - 1:
                    pause(_PAUSE_S)
                    continue
                raise RefusedError(
                    f"the account {self._folder.name} is driven by another process: "
                    f"{holder or 'it has not signed'}.",
                    "Stop that one first; `kapitaalbot ops status` asks it how it is.",
                ) from None
            named = None
            with contextlib.suppress(FileNotFoundError):
                named = os.stat(self._path)
            if named is not None and named.st_ino == os.fstat(fd).st_ino:
                return fd
            os.close(fd)  # replaced between our open and our lock
        raise RefusedError(
            f"the lock {self._path} changes all the time.", "Find out who else starts sessions."
        )

    def _next_number(self) -> int:
        number = self._read_number() + 1
        write_synced(self._number_path, f"{number}\n".encode(), self._files)
        return number

    def _read_number(self) -> int:
        try:
            data = self._number_path.read_bytes()[:_BYTES_MAX]
        except FileNotFoundError:
            return 0
        text = data.removesuffix(b"\n")
        if not (text.isdigit() and data.endswith(b"\n") and len(text) < 19):
            raise DataError(
                f"{self._number_path} does not hold a number.",
                "If no session of this account runs, write a higher number than any before into it.",
            )
        return int(text)

    def _number_stamp(self) -> tuple[int, int, int]:
        found = os.stat(self._number_path)
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _sign(self) -> None:
        text = json.dumps(vars(self.holder)) + "\n"
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, text.encode(), 0)


def read_holder(folder: Path) -> Holder | None:
    """Who signed the lock last, alive or not; None where nobody did."""
    value = _read_json(folder / LOCK_NAME)
    try:
        return Holder(
            int(value["number"]), int(value["pid"]), str(value["host"])[:64], int(value["started"])
        )
    except (KeyError, TypeError, ValueError):
        return None


def is_held(folder: Path) -> bool:
    """Whether a process holds the lease now, without taking it."""
    try:
        fd = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _may_live(holder: Holder) -> bool:
    if holder.host != socket.gethostname():
        return True
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes()[:_BYTES_MAX])
    except (OSError, ValueError):
        return {}


@dataclass(frozen=True)
class Killed:
    """A kill flag as it stands: when (ns), and why."""

    ts: int
    why: str


class KillFlag:
    """While the file is there nobody adds risk for this account, across restarts."""

    def __init__(self, folder: Path, files: Files = LOCAL_FILES) -> None:
        self._folder = folder
        self._path = folder / KILL_NAME
        self._files = files

    def is_set(self) -> bool:
        """One call of stat. What cannot be asked counts as set."""
        try:
            os.lstat(self._path)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def read(self) -> Killed | None:
        """When and why; a flag that cannot be read is a flag all the same."""
        if not self.is_set():
            return None
        value = _read_json(self._path)
        try:
            return Killed(int(value["ts"]), str(value["why"])[:200])
        except (KeyError, TypeError, ValueError):
            return Killed(0, "the flag cannot be read")

    def set(self, ts: int, why: str) -> None:
        """Write and sync it; an older flag stays as it is. Raises StorageError."""
        if self.is_set():
            return
        try:
            open_folder(self._folder, self._files)
            text = json.dumps({"ts": ts, "why": why[:200]}) + "\n"
            write_synced(self._path, text.encode(), self._files)
        except OSError as error:
            raise StorageError(
                f"the kill flag {self._path} cannot be written: {error.strerror or error}.",
                "Stop the session by hand and cancel at Kraken's site.",
            ) from error

    def clear(self) -> None:
        """Take it away for good: only after a person typed that it shall be."""
        try:
            self._files.remove(self._path)
            self._files.sync_folder(self._folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(
                f"the kill flag {self._path} cannot be removed: {error.strerror or error}.",
                "Check the rights of that folder.",
            ) from error
