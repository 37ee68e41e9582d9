"""Who waits for the disk, where a loop may not? A thread that does what it is told, in order.

`Behind` has the operations of `Files` and returns from each of them at once; one thread carries them
out on the files that it was given. What fails is raised by the next call, and nothing that was asked
for after it is done. While there is nothing to do, the thread puts zeros where the newest file will
grow (files.py says why). Left out: what the bytes mean (log.py).
"""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from engine.flow.files import AppendFile, Files

FILL: Final = 4 << 20  # zeros are put so far ahead ...
FILL_AGAIN: Final = 4  # ... once no more than this part of them is left


class Behind(Files):
    """The operations of `files`, carried out by a thread of its own. ahead : bytes of zeros"""

    def __init__(self, files: Files, ahead: int = FILL) -> None:
        self._files, self._ahead = files, ahead
        self._failure: OSError | None = None
        self.failed = ""  # the operation that did
        self._newest: _BehindFile | None = None
        self._jobs: SimpleQueue[tuple[str, Callable[[], None]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="log to disk", daemon=True)
        self._thread.start()

    # --- what is asked for ---

    def check(self) -> None:
        """Raise what has failed, as OSError."""
        if self._failure is not None:
            raise OSError(self._failure.errno, self._failure.strerror)

    def when_done(self, call: Callable[[], None]) -> None:
        """Have `call` called by the thread once all before it is done, or was given up."""
        self._jobs.put(("", call))

    def settle(self) -> None:
        """Return when all that was asked for is done. Raises what has failed."""
        done = threading.Event()
        self.when_done(done.set)
        done.wait()
        self.check()

    def stop(self) -> None:
        """End the thread, once it has done what it was asked for."""
        self._jobs.put(None)
        self._thread.join()

    def do(self, name: str, job: Callable[[], None]) -> None:
        self.check()
        self._jobs.put((name, job))

    # --- Files ---

    def create(self, path: Path) -> AppendFile:
        file = _BehindFile(self)
        self.do("create", lambda: self._create(file, path))
        return file

    def reopen(self, path: Path) -> AppendFile:
        raise NotImplementedError("a file that is there already is cut by those who can wait.")

    def rename(self, old: Path, new: Path) -> None:
        self.do("rename", lambda: self._files.rename(old, new))

    def remove(self, path: Path) -> None:
        self.do("remove", lambda: self._files.remove(path))

    def sync_folder(self, path: Path) -> None:
        self.do("sync", lambda: self._files.sync_folder(path))

    # --- the thread ---

    def _create(self, file: _BehindFile, path: Path) -> None:
        file.real = self._files.create(path)
        self._newest = file

    def _run(self) -> None:
        while True:
            while self._jobs.empty() and self._fill():
                pass
            work = self._jobs.get()
            if work is None:
                return
            name, job = work
            if name and self._failure is not None:
                continue
            self._try(name, job)

    def _fill(self) -> bool:
        """Some more zeros in the newest file; whether to go on with it."""
        file = self._newest
        if file is None or file.real is None or self._failure is not None:
            return False
        real = file.real
        if not file.filling and file.filled_to - real.size > self._ahead // FILL_AGAIN:
            return False
        if not file.filling:
            file.filling, file.filled_to = True, real.size + self._ahead

        def fill() -> None:
            file.filling = real.fill(file.filled_to)

        file.filling = False  # unless it says that there is more to do
        self._try("sync", fill)
        return file.filling

    def _try(self, name: str, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:  # a defect too: a thread that dies would be waited for for ever
            if self._failure is None:
                wrong = OSError(errno.EIO, f"{error!r} in the thread that writes")
                self._failure = error if isinstance(error, OSError) else wrong
                self.failed = name


class _BehindFile(AppendFile):
    """A file that the thread has, or will have; `size` is what it will have been given."""

    def __init__(self, behind: Behind) -> None:
        self._behind = behind
        self.size = 0
        self.real: AppendFile | None = None
        self.filled_to = 0
        self.filling = False

    @property
    def there(self) -> AppendFile:
        assert self.real is not None, "its creation comes first"
        return self.real

    @property
    def written(self) -> int:
        return 0 if self.real is None else self.real.size

    def write(self, data: bytes | memoryview) -> None:
        """All of `data` or, if the disk still lets us, nothing of it."""
        self._behind.do("write", lambda: self._write(data))
        self.size += len(data)

    def _write(self, data: bytes | memoryview) -> None:
        size = self.there.size
        try:
            self.there.write(data)
        except OSError:
            with contextlib.suppress(OSError):
                self.there.cut(size)
            raise

    def sync(self) -> None:
        self._behind.do("sync", lambda: self.there.sync())

    def trim(self) -> None:
        self._behind.do("cut", self._trim)

    def _trim(self) -> None:
        if self._behind._newest is self:
            self._behind._newest = None  # it grows no more
        self.there.trim()

    def cut(self, size: int) -> None:
        self._behind.do("cut", lambda: self.there.cut(size))
        self.size = size

    def close(self) -> None:
        """Also where something has failed."""
        self._behind.when_done(self._close)

    def _close(self) -> None:
        if self._behind._newest is self:
            self._behind._newest = None
        if self.real is not None:
            self.real.close()
