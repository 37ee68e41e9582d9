"""How are the lines of a recording read, whatever it was packed in?

Opens plain, gzip, xz, zstd and zip files as a stream of bytes or lines, drops a byte order mark
and carriage returns, and names the file and the place when the packing is torn. Memory stays flat:
one block at a time. Left out: what a line means.
"""

from __future__ import annotations

import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa

from engine.errors import DataError

BOM: Final = b"\xef\xbb\xbf"
PACKINGS: Final = (".gz", ".xz", ".zst")
TORN: Final = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile)


@dataclass(frozen=True)
class Member:
    """One file to read: a path, or a member of a zip archive."""

    path: Path
    inner: str = ""

    @property
    def name(self) -> str:
        """File name without its packing, as in `XBTUSD.csv`."""
        name = Path(self.inner).name if self.inner else self.path.name
        for ending in PACKINGS:
            name = name.removesuffix(ending)
        return name

    def __str__(self) -> str:
        return f"{self.path.name}:{self.inner}" if self.inner else self.path.name


def as_paths(paths: str | Path | list[str | Path] | tuple[str | Path, ...]) -> list[Path]:
    """One path or several to a list of existing ones, in the given order."""
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if not given:
        raise DataError("no file was named.", "Give one or more paths.")
    found = [Path(each) for each in given]
    for path in found:
        if not path.exists():
            raise DataError(f"{path} does not exist.", "Check the path.")
    return found


def members(paths: list[Path], ending: str) -> list[Member]:
    """Files to read: folders give their files, zip archives their members, by name.

    ending : what a name must end in, such as `.csv`; only folders and archives are filtered
    """
    found: list[Member] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if each.is_file())
            found += members([p for p in inside if _fits(p.name, ending)], ending)
        elif path.suffix.lower() == ".zip":
            try:
                with zipfile.ZipFile(path) as archive:
                    names = sorted(n for n in archive.namelist() if _fits(n, ending))
            except zipfile.BadZipFile as error:
                raise DataError(
                    f"{path.name} is not a whole zip archive: {error}.", "Fetch it again."
                ) from error
            found += [Member(path, name) for name in names]
        else:
            found.append(Member(path))
    if not found:
        raise DataError(f"no {ending} file in {', '.join(p.name for p in paths)}.")
    return found


def _fits(name: str, ending: str) -> bool:
    lower = name.lower()
    hidden = Path(name).name.startswith((".", "__MACOSX")) or name.startswith("__MACOSX")
    packed = (ending, *(ending + packing for packing in PACKINGS), ".zip")
    return not hidden and lower.endswith(packed)


@contextmanager
def open_bytes(member: Member) -> Iterator[IO[bytes]]:
    """The unpacked bytes of a file, as a stream; damage becomes a DataError that names it."""
    path = member.path
    try:
        with _opened(member) as stream:
            yield stream
    except TORN as error:
        raise DataError(
            f"{member} is torn: {error or type(error).__name__}. Its end is missing or damaged.",
            "Fetch or copy the file again; nothing of it was kept.",
        ) from error
    except OSError as error:
        if isinstance(error, FileNotFoundError | PermissionError) or "compress" not in str(error):
            raise
        raise DataError(
            f"{path.name} is torn: {error}.",
            "Fetch or copy the file again; nothing of it was kept.",
        ) from error


@contextmanager
def _opened(member: Member) -> Iterator[Any]:
    path = member.path
    suffix = path.suffix.lower()
    if member.inner:
        with zipfile.ZipFile(path) as archive, archive.open(member.inner) as stream:
            if member.inner.lower().endswith(".gz"):
                with gzip.open(stream) as inner:
                    yield inner
            else:
                yield stream
    elif suffix == ".gz":
        with gzip.open(path) as stream:
            yield stream
    elif suffix == ".xz":
        with lzma.open(path) as stream:
            yield stream
    elif suffix == ".zst":
        with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as stream:
            yield _Readable(stream)
    else:
        with path.open("rb") as stream:
            yield stream


class _Readable(io.RawIOBase):
    """An Arrow stream as a raw Python one, so that lines can be read from it."""

    def __init__(self, stream: pa.NativeFile) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def read_lines(member: Member) -> Iterator[tuple[int, bytes]]:
    """Numbered lines (from 1) without their ends; blank ones and a byte order mark are dropped."""
    with open_bytes(member) as raw:
        stream = io.BufferedReader(raw, 1 << 20) if isinstance(raw, io.RawIOBase) else raw
        for number, line in enumerate(stream, 1):
            if number == 1:
                line = line.removeprefix(BOM)
            line = line.strip(b"\r\n \t")
            if line:
                yield number, line


def head_of(member: Member) -> bytes:
    """The first 64 kB without byte order mark and blank lines before; refuses an empty file."""
    with open_bytes(member) as stream:
        head = stream.read(1 << 16)
    head = head.removeprefix(BOM).lstrip()
    if not head:
        raise DataError(f"{member} is empty.", "Check how it was recorded or fetched.")
    return head


def first_line(member: Member) -> bytes:
    """The first line that is not blank; refuses an empty file."""
    return head_of(member).splitlines()[0].strip()
