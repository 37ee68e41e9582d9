"""Where does a store keep its files, and how do they appear whole? Paths, sinks, locks, locations.

A store is a folder, on this machine or behind any fsspec address. A local path goes straight to
the operating system (sync, rename, lock); elsewhere fsspec's own operations stand in, and a sync
is whatever the remote end promises when a file is closed. Left out: what is in the files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

import pyarrow as pa
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from engine.errors import ConfigError, DataError, KapitaalbotError, RefusedError, StorageError
from engine.flow.files import LOCAL_FILES, AppendFile, Files, Lock
from engine.instruments import path_symbol

MANIFESTS: Final = "_manifests"
ALL_SYMBOLS: Final = "ALL"  # the folder of events about no single instrument
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_HEX: Final = re.compile(r"[0-9a-f]{64}")
DAY_NS: Final = 86_400_000_000_000


def checked_name(name: str, what: str) -> str:
    """A name that becomes part of a path; refuses what could leave its folder."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise ConfigError(
            f"{what} {name!r} cannot be a file name.",
            "Use letters, digits, '.', '_' and '-', at most 100, a letter or digit first.",
        )
    return name


def is_sha256(text: str) -> bool:
    return bool(_HEX.fullmatch(text))


def data_path(venue: str, channel: str, symbol: str, date: str, capture_id: str) -> str:
    """Path of a data file inside the store; `symbol` is "" for events about none."""
    folder = path_symbol(symbol) if symbol else ALL_SYMBOLS
    return f"venue={venue}/channel={channel}/symbol={folder}/date={date}/{capture_id}.parquet"


def manifest_path(capture_id: str) -> str:
    return f"{MANIFESTS}/{capture_id}.json"


@contextmanager
def storage_errors(action: str, where: object) -> Iterator[None]:
    """OSError to StorageError, with the place in it. Our own errors pass."""
    try:
        yield
    except KapitaalbotError:
        raise
    except OSError as error:
        # Arrow words its own errors; the system's reason is the last part of the sentence.
        reason = error.strerror or str(error).partition("\n")[0] or type(error).__name__
        raise StorageError(
            f"cannot {action} {where}: {reason}.",
            "Check space and rights of the place; nothing that was there before has changed.",
        ) from error


class Sink:
    """A file that is being written: counts and hashes what goes in. Has what pyarrow asks for."""

    closed = False

    def __init__(self, file: Any) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._dropped = False
        self.size = 0

    def drop(self) -> None:
        """Take nothing more: pyarrow still ends its file when its writer goes out of sight."""
        self._dropped = True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        if self._dropped:
            return view.nbytes
        self._file.write(view)
        self._digest.update(view)
        self.size += view.nbytes
        return view.nbytes

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def flush(self) -> None:
        pass

    def tell(self) -> int:
        return self.size

    def close(self) -> None:
        """pyarrow closes what it wrote to; the store decides when a file is really closed."""


class Held(Protocol):
    def release(self) -> None: ...


class Store:
    """One store. Paths given to its methods are relative to the store, with `/`."""

    def __init__(self, url: str | Path, files: Files = LOCAL_FILES) -> None:
        self.url = str(url)
        try:
            self.fs, self.root = url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"the store {self.url} cannot be reached: {error}.",
                "Install the fsspec package of that protocol, or use a local path.",
            ) from error
        self.root = self.root.rstrip("/") or "/"
        self.local = Path(self.root) if isinstance(self.fs, LocalFileSystem) else None
        self._files = files

    def __str__(self) -> str:
        return self.url

    def full(self, path: str) -> str:
        """The address of a file for people and for programs that read many files."""
        return (
            str(self.local / path) if self.local else self.fs.unstrip_protocol(self._remote(path))
        )

    def _remote(self, path: str) -> str:
        return f"{self.root}/{path}"

    # --- looking ---

    def exists(self, path: str) -> bool:
        return (self.local / path).exists() if self.local else self.fs.exists(self._remote(path))

    def size(self, path: str) -> int | None:
        """Bytes of a file, None if it is not there."""
        try:
            if self.local:
                return (self.local / path).stat().st_size
            return int(self.fs.info(self._remote(path))["size"])
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """Names of the files directly in a folder, sorted; none if there is no folder."""
        if self.local:
            path = self.local / folder
            return sorted(each.name for each in path.iterdir()) if path.is_dir() else []
        with suppress(FileNotFoundError):
            found = self.fs.ls(self._remote(folder), detail=False)
            return sorted(PurePosixPath(each).name for each in found)
        return []

    def find(self) -> list[str]:
        """Every file of the store, sorted, relative to it."""
        if self.local:
            files = (each for each in self.local.rglob("*") if each.is_file())
            return sorted(each.relative_to(self.local).as_posix() for each in files)
        root = self.root.rstrip("/") + "/"
        return sorted(each.removeprefix(root) for each in self.fs.find(self.root))

    def read(self, path: str) -> bytes:
        with storage_errors("read", self.full(path)):
            if self.local:
                return (self.local / path).read_bytes()
            data: bytes = self.fs.cat_file(self._remote(path))
            return data

    def open(self, path: str) -> Any:
        """A file for pyarrow to read from.

        Not a memory map: mapped pages count as ours, and memory would grow with the file.
        """
        if self.local:
            return pa.OSFile(str(self.local / path), "rb")
        return self.fs.open(self._remote(path), "rb", cache_type="readahead")

    def sha256(self, path: str) -> str:
        digest = hashlib.sha256()
        with storage_errors("read", self.full(path)):
            source = (self.local / path).open("rb") if self.local else self.open(path)
            with source as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()

    # --- writing ---

    @staticmethod
    def _temporary(path: str) -> str:
        folder, slash, name = path.rpartition("/")
        return f"{folder}{slash}.{name}.tmp"

    def begin(self, path: str) -> StoreFile:
        """Start a file; it gets its name when it is finished. Replaces a crash's leftover."""
        temporary = self._temporary(path)
        with storage_errors("write", self.full(path)):
            if self.local:
                target = self.local / temporary
                self._files.make_folder(target.parent)
                self._files.remove(target)
                return StoreFile(self, path, self._files.create(target))
            self.fs.makedirs(self._remote(path).rpartition("/")[0], exist_ok=True)
            return StoreFile(self, path, self.fs.open(self._remote(temporary), "wb"))

    def write(self, path: str, data: bytes) -> None:
        """A whole file at once; it appears complete or not at all."""
        file = self.begin(path)
        try:
            with storage_errors("write", self.full(path)):
                file.sink.write(data)
            file.finish()
        except BaseException:
            file.abort()
            raise

    def remove(self, path: str) -> None:
        """Remove a file if it is there, and the folders that it leaves empty."""
        if self.local:
            target = self.local / path
            self._files.remove(target)
            for folder in target.relative_to(self.local).parents:
                if folder == Path("."):
                    break
                try:
                    (self.local / folder).rmdir()
                except OSError:
                    break
            return
        with suppress(FileNotFoundError):
            self.fs.rm_file(self._remote(path))

    def lock(self, capture_id: str) -> Held:
        """Be the only writer of a capture. Raises RefusedError if another one is at it."""
        what = f"capture {capture_id!r} in {self.url}"
        path = f"{MANIFESTS}/.{capture_id}.lock"
        with storage_errors("write to", self.url):
            if self.local:
                target = self.local / path
                self._files.make_folder(target.parent)
                return Lock(target, what)
            self.fs.makedirs(self._remote(MANIFESTS), exist_ok=True)
            try:
                self.fs.open(self._remote(path), "xb").close()
            except FileExistsError as error:
                raise RefusedError(
                    f"{what} is being written, or its writer died.",
                    f"If no writer runs any more, remove {self.full(path)} and start again.",
                ) from error
            return _RemoteLock(self, path)


class _RemoteLock:
    """A marker file; unlike a local lock it outlives a writer that dies."""

    def __init__(self, store: Store, path: str) -> None:
        self._store, self._path = store, path

    def release(self) -> None:
        self._store.remove(self._path)


class StoreFile:
    """A file under its temporary name. `finish` gives it its own, `abort` drops it."""

    def __init__(self, store: Store, path: str, file: Any) -> None:
        self._store, self.path, self._file = store, path, file
        self.sink = Sink(file)

    def finish(self) -> None:
        store, temporary = self._store, self._store._temporary(self.path)
        with storage_errors("write", store.full(self.path)):
            if isinstance(self._file, AppendFile):
                assert store.local is not None
                self._file.sync()
                self._file.close()
                store._files.rename(store.local / temporary, store.local / self.path)
            else:
                self._file.close()
                store.fs.mv(store._remote(temporary), store._remote(self.path))

    def abort(self) -> None:
        """Drop the file, as far as a failing storage lets us. Also after `finish`."""
        self.sink.drop()
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._store.remove(self._store._temporary(self.path))
        with suppress(OSError):
            self._store.remove(self.path)


def is_store(url: str | Path) -> bool:
    """Does the place look like a store (does it have manifests)?"""
    store = Store(url)
    return bool(store.names(MANIFESTS)) if store.exists("") else False


def need_store(store: Store) -> None:
    """Refuse a place where no store is."""
    if not store.exists(MANIFESTS):
        raise DataError(
            f"{store.url} is not a cold store: it has no {MANIFESTS} folder.",
            "Give the folder that a capture or an import wrote to.",
        )
