"""How is the process itself? Processor, memory, open files, pauses, the disk; and was a file edited?

`Telemetry` samples at an interval of the machine's time, from what the system tells; where it does
not tell, the figure stays 0. `Edited` says once of each change that a file is another than the one
that was read, `Segments` whether files that only grow were touched by somebody else. Left out: who is
told (watching.py, live.py), what the numbers are called (metrics.py).
"""

from __future__ import annotations

import gc
import hashlib
import os
import resource
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from engine.clock import Stopwatch

PAGE: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
PROC: Final = Path("/proc/self")
OFTEN: Final = (700, 10, 10)  # allocations, and younger collections, between two looks for garbage
HEAD: Final = 512  # bytes that tell one file from another


@dataclass(frozen=True)
class Sample:
    """What one look gave. cpu_share : processors used since the last look, 1.0 is one whole core

    loop_delay_s, gc_pause_s : the longest since the last look
    """

    cpu_share: float = 0.0
    memory_bytes: int = 0
    open_files: int = 0
    loop_delay_s: float = 0.0
    gc_pause_s: float = 0.0
    disk_free_bytes: int = 0

    def facts(self) -> dict[str, Any]:
        return {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


class Telemetry:
    """The process as it is every `interval_s`; 0: never looked at, `newest` stays empty.

    disk : a path on the disk that must not become full
    """

    def __init__(self, interval_s: float, disk: Path) -> None:
        self._interval_s, self._disk = interval_s, disk
        self._watch = Stopwatch()
        self._looked_s = 0.0
        self._cpu_s = _cpu_seconds()
        self._delay_s = 0.0
        self._pause_s = self._pause_began = 0.0
        self.newest: Sample | None = None
        self.n_samples = 0
        if interval_s > 0:
            gc.callbacks.append(self._collecting)

    def close(self) -> None:
        if self._collecting in gc.callbacks:
            gc.callbacks.remove(self._collecting)

    def late(self, seconds: float) -> None:
        """The loop came so much later than it was to."""
        self._delay_s = max(self._delay_s, seconds)

    def look(self) -> Sample | None:
        """The newest sample; a new one if it is time. Call it about once a second."""
        elapsed = self._watch.seconds() - self._looked_s
        due = self.newest is None or elapsed >= self._interval_s
        if self._interval_s <= 0 or not due:
            return self.newest
        cpu = _cpu_seconds()
        share = (cpu - self._cpu_s) / elapsed if elapsed > 0 else 0.0
        self.newest = Sample(
            cpu_share=share,
            memory_bytes=_memory(),
            open_files=_open_files(),
            loop_delay_s=self._delay_s,
            gc_pause_s=self._pause_s,
            disk_free_bytes=_free(self._disk),
        )
        self.n_samples += 1
        self._looked_s += elapsed
        self._cpu_s, self._delay_s, self._pause_s = cpu, 0.0, 0.0
        return self.newest

    def _collecting(self, phase: str, info: dict[str, int]) -> None:
        now = self._watch.seconds()
        if phase == "start":
            self._pause_began = now
        else:
            self._pause_s = max(self._pause_s, now - self._pause_began)


def collect_often() -> None:
    """From now on garbage is looked for as Python usually does: in pauses that nobody notices.

    The command line puts that off while it starts, where it costs an eighth of the time.
    """
    gc.set_threshold(*OFTEN)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _memory() -> int:
    """Resident now; where the system does not tell, the most it ever was."""
    try:
        return int((PROC / "statm").read_text().split()[1]) * PAGE
    except (OSError, ValueError, IndexError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def _open_files() -> int:
    for place in (PROC / "fd", Path("/dev/fd")):
        try:
            return len(os.listdir(place))
        except OSError:
            continue
    return 0


def _free(path: Path) -> int:
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return 0


class Edited:
    """Is a file still what it was when we read it?"""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp = _stamp(path)
        self._digest = self._known = _digest(path)

    def changed(self) -> bool:
        """Once after each change of what stands in it; what is as it was again is no change."""
        stamp = _stamp(self.path)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        digest = _digest(self.path)
        told, self._known = digest != self._known, digest
        return told and digest != self._digest


class Segments:
    """Files of a folder that are only ever appended to. Ask about once a second.

    written : bytes of each, by name, as their writer put them there by now
    """

    def __init__(
        self, folder: Path, pattern: str, written: Callable[[], Mapping[str, int]]
    ) -> None:
        self._folder, self._pattern, self._written = folder, pattern, written
        self._known: dict[Path, tuple[int, int, bytes]] = {}  # device, inode, head

    def touched(self) -> str:
        """What somebody did to one of them since it was first seen; "" for nothing."""
        # The length of a file says nothing: its writer puts zeros ahead, and takes them away again.
        written = self._written()
        for path, (device, inode, head) in self._known.items():
            size = written.get(path.name, 0)
            try:
                found, now = path.stat(), _head(path)
            except OSError as error:
                return f"{path.name} is gone ({error.strerror})"
            if (found.st_dev, found.st_ino) != (device, inode):
                return f"{path.name} is another file"
            if found.st_size < size:
                return f"{path.name} has {found.st_size} bytes of the {size} that were written"
            if now[: len(head)] != head:
                return f"{path.name} was overwritten"
        for path in self._folder.glob(self._pattern):
            if path not in self._known:
                found = path.stat()
                self._known[path] = found.st_dev, found.st_ino, _head(path)
        return ""


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
