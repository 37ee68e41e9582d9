"""A disk that fails when told to, in place of engine.flow.files.Files.

Operations (create, write, sync, cut, rename, sync_folder) are counted; the n-th fails. A failing
write first takes part of the bytes, as a full disk does. What was synced is remembered, so that a
test can pull the plug: `power_cut` keeps synced bytes and does to the rest what a disk may do.
"""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

from engine.flow.files import AppendFile, Files


class FaultyFiles(Files):
    """fail_at : which operation fails, counted from 0; -1 for none
    error : errno it fails with
    only : count operations of this name only ("write", "sync", ...), all if empty
    for_ever : every later one fails too
    """

    def __init__(
        self, fail_at: int = -1, error: int = errno.ENOSPC, only: str = "", for_ever: bool = False
    ) -> None:
        self._fail_at, self._error, self._only = fail_at, error, only
        self._for_ever = for_ever
        self.n_operations = 0
        self.n_failed = 0
        self.synced: dict[Path, int] = {}

    def operate(self, name: str) -> None:
        """Count one operation and fail if it is its turn."""
        if self._only not in ("", name):
            return
        n = self.n_operations
        self.n_operations += 1
        if n == self._fail_at or (self._for_ever and 0 <= self._fail_at < n):
            self.n_failed += 1
            raise OSError(self._error, os.strerror(self._error))

    def create(self, path: Path) -> AppendFile:
        self.operate("create")
        return FaultyFile(self, path, super().create(path))

    def reopen(self, path: Path) -> AppendFile:
        return FaultyFile(self, path, super().reopen(path))

    def rename(self, old: Path, new: Path) -> None:
        self.operate("rename")
        super().rename(old, new)
        self.synced[new] = self.synced.pop(old, 0)

    def sync_folder(self, path: Path) -> None:
        self.operate("sync_folder")

    def power_cut(self, dice: random.Random) -> None:
        """What was not synced is lost in part, zeroed, or garbled; what was synced stays."""
        for path, n_synced in self.synced.items():
            if not path.exists():
                continue
            data = path.read_bytes()
            rest = data[n_synced:]
            kept = rest[: dice.randint(0, len(rest))]
            fate = dice.choice(["lost", "zeroed", "garbled", "kept"])
            if fate == "zeroed":
                kept = bytes(len(kept))
            elif fate == "garbled" and kept:
                at = dice.randrange(len(kept))
                kept = kept[:at] + bytes([kept[at] ^ (1 << dice.randrange(8))]) + kept[at + 1 :]
            path.write_bytes(data[:n_synced] + (rest if fate == "kept" else kept))


class FaultyFile(AppendFile):
    def __init__(self, files: FaultyFiles, path: Path, file: AppendFile) -> None:
        super().__init__(file._fd, file.size)
        self._files, self._inode = files, os.fstat(file._fd).st_ino
        self._path = path

    def _name(self) -> Path:
        """Where the file is now: it may have been renamed since."""
        for path in self._path.parent.iterdir():
            if path.stat().st_ino == self._inode:
                return path
        return self._path

    def write(self, data: bytes | memoryview) -> None:
        try:
            self._files.operate("write")
        except OSError:
            super().write(bytes(data)[: len(data) // 2])
            raise
        super().write(data)

    def sync(self) -> None:
        # Not the real one: what a power cut takes is decided by `synced`, and waiting is slow.
        self._files.operate("sync")
        self._files.synced[self._name()] = self.size

    def cut(self, size: int) -> None:
        self._files.operate("cut")
        super().cut(size)
