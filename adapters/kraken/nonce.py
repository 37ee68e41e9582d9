"""Which nonce comes next? One that no request of this key has used, whatever happened before.

Kraken refuses a nonce that is not above all earlier ones of its key, and bans after many. A nonce
is max(last + 1, now in microseconds), and it is on the disk before it is used: a crash, a second
process or a clock that steps back cannot bring one again. One small file per key, named after its
fingerprint. Left out: order on the wire: two processes that share a key draw in order, but their
requests may overtake each other; use one key per process.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from engine.clock import Clock
from engine.errors import DataError, SecretError, StorageError
from engine.flow.files import LOCAL_FILES, Files

NONCE_MAX: Final = (1 << 64) - 1
_BYTES_MAX: Final = 64


def state_folder() -> Path:
    """Where nonces are kept unless the caller says otherwise."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "kapitaalbot"


class NonceFile:
    """Draws the nonces of one key. Any number of these, in any number of processes, may share it."""

    def __init__(
        self, folder: Path, fingerprint: str, clock: Clock, files: Files = LOCAL_FILES
    ) -> None:
        """folder : made if it is missing, for its owner only; fingerprint : of keys.Keys"""
        self._path = folder / f"kraken-nonce-{fingerprint}"
        self._clock = clock
        self._files = files

    def draw(self) -> int:
        """The next nonce, synced before it is returned.

        raises DataError where the file is damaged, StorageError where it cannot be synced (nothing
        was used then), SecretError where no number is left
        """
        try:
            with self._locked():
                nonce = max(self._last() + 1, self._clock.now() // 1000)
                if nonce > NONCE_MAX:
                    raise SecretError(
                        f"{self._path} has reached the highest nonce there is.",
                        "Make a new key at Kraken.",
                    )
                self._write(nonce)
                return nonce
        except OSError as error:
            raise StorageError(
                f"the nonce cannot be kept in {self._path}: {error.strerror or error}.",
                "Check space and rights of that folder; the request was not sent.",
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        folder = self._path.parent
        if not folder.exists():
            self._files.make_folder(folder)
            folder.chmod(0o700)
        # A file of its own, since the other one is replaced. It stays: removing it would let two
        # processes lock two files of the same name.
        lock = self._path.with_name(f"{self._path.name}.lock")
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _last(self) -> int:
        try:
            data = self._path.read_bytes()[:_BYTES_MAX]
        except FileNotFoundError:
            return -1
        text = data.removesuffix(b"\n")
        # The newline ends it: without, digits may be missing and the number would be too low.
        if not (text.isdigit() and data.endswith(b"\n") and int(text) <= NONCE_MAX):
            raise DataError(
                f"{self._path} does not hold a nonce.",
                "If no other program uses this key, remove the file: the clock then starts it.",
            )
        return int(text)

    def _write(self, nonce: int) -> None:
        temporary = self._path.with_name(f"{self._path.name}.tmp")
        self._files.remove(temporary)
        file = self._files.create(temporary)
        try:
            file.write(f"{nonce}\n".encode())
            file.sync()
        finally:
            file.close()
        self._files.rename(temporary, self._path)
