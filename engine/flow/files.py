"""How do bytes reach a disk for good? The few operations that the log and the cold store build on.

Create, append, sync, cut, rename, lock. One small class, so that a test can put a failing disk in
its place and every error passes through the code that runs for real. Left out: reading, and a
thread that does all this for somebody who may not wait (behind.py).

A sync that failed must never be tried again: the kernel may have marked the lost pages clean, and
the second call would then lie (Rebello et al. 2020, "Can applications recover from fsync
failures?"). The callers of `sync` therefore give up on the first failure.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from engine.errors import RefusedError

# Bytes, and how long the file is, without its times: all that reading it again takes.
_data_sync = getattr(os, "fdatasync", os.fsync)
# One piece, and one sync, of the room ahead: an order that wants the disk waits behind it.
_ZEROS: Final = bytes(256 << 10)


class AppendFile:
    """One file that is written front to back. `size` is what was written so far, in bytes.

    Beyond it there may be zeros (`fill`): a sync of bytes that take the place of zeros waits for
    those bytes alone, where a file that grew has its new length to bring to the disk as well.
    """

    def __init__(self, fd: int, size: int = 0) -> None:
        self._fd = fd
        self.size = size
        self._filled = size

    @property
    def written(self) -> int:
        """Bytes that the file has by now, without zeros."""
        return self.size

    def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`; a short write goes on where it stopped. Raises OSError."""
        rest = memoryview(data).cast("B")
        while len(rest):
            n = os.write(self._fd, rest)
            self.size += n
            rest = rest[n:]

    def sync(self) -> None:
        """Return when the bytes are on the disk. Raises OSError; never call it again after that."""
        _data_sync(self._fd)

    def fill(self, size: int) -> bool:
        """Put zeros, a piece of them, where the file will grow to `size`, and sync them.

        Returns whether more is to do. A disk without room for them gets none. Raises OSError.
        """
        start = max(self._filled, self.size)
        piece = _ZEROS[: max(size - start, 0)]
        if not piece:
            return False
        try:
            self._filled = start + os.pwrite(self._fd, piece, start)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            return False
        _data_sync(self._fd)
        return self._filled < size

    def trim(self) -> None:
        """Take away the zeros that nothing was written over."""
        if self._filled > self.size:
            self.cut(self.size)

    def cut(self, size: int) -> None:
        """Keep the first `size` bytes."""
        os.ftruncate(self._fd, size)
        os.lseek(self._fd, size, os.SEEK_SET)
        self.size = self._filled = size

    def close(self) -> None:
        """Close without a sync; a second call does nothing."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class Files:
    """The local file system. Errors are OSError, as the system gives them."""

    def make_folder(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)

    def create(self, path: Path) -> AppendFile:
        """A new file for appending; one that exists already is an error."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return AppendFile(os.open(path, flags, 0o644))

    def reopen(self, path: Path) -> AppendFile:
        """An existing file, to be cut or appended to."""
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        return AppendFile(fd, os.lseek(fd, 0, os.SEEK_END))

    def rename(self, old: Path, new: Path) -> None:
        """Give a synced file its final name, for good: the folder is synced too."""
        os.replace(old, new)
        self.sync_folder(new.parent)

    def remove(self, path: Path) -> None:
        """Remove a file if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def sync_folder(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


LOCAL_FILES = Files()


class Lock:
    """At most one writer: an advisory lock that ends with the process that holds it."""

    def __init__(self, path: Path, what: str) -> None:
        """Take the lock or raise RefusedError at once. `what` names the thing being locked."""
        self._path = path
        while True:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.pread(self._fd, 100, 0).decode("utf-8", "replace").strip()
                os.close(self._fd)
                self._fd = -1
                raise RefusedError(
                    f"{what} is being written by another process ({holder or 'unknown'}).",
                    "Wait for it, stop it, or write to another place.",
                ) from error
            # The holder before us may have removed the file between our open and our lock.
            with contextlib.suppress(FileNotFoundError):
                if os.stat(path).st_ino == os.fstat(self._fd).st_ino:
                    break
            os.close(self._fd)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"pid {os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back and remove its file; a second call does nothing."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            os.close(fd)
