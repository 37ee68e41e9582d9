"""How does a core outlive its process? Its arrays in one file, and what they belong to.

A state names the schema it was written with, its place in a log, and what configuration it ran
under; whatever does not fit is refused, never guessed. Scratch (rings, work) is not kept: nothing
is remembered in it. The file has its name only when it is whole and synced. Left out: which state
to start from (verify.py replays the rest of the log).
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.core.state import Core
from engine.errors import DataError, StorageError
from engine.flow.files import LOCAL_FILES, Files

STATE_VERSION: Final = 1
KEPT: Final = ("glob", "symbols", "orders")  # of a core; params come from the configuration
_MAGIC: Final = b"kapitaalbot.state\n"
PIECE: Final = 1 << 18  # bytes that one call moves while no other thread of Python's runs


@dataclass(frozen=True)
class StateHeader:
    """What a state belongs to. seq : newest event of the log that is in it, -1: none."""

    log_id: str
    seq: int
    ts: int
    config_hash: str
    kernels: str
    mode: str
    symbols: tuple[str, ...]
    version: int = STATE_VERSION
    extra: dict[str, Any] = field(default_factory=dict)


def core_arrays(core: Core) -> dict[str, np.ndarray]:
    """The arrays of a core that a state keeps, by reference."""
    return {f"core_{name}": getattr(core, name) for name in KEPT}


def state_digest(core: Core) -> str:
    """sha256 over what a core remembers, hex. Rings must be drained."""
    digest = hashlib.sha256()
    for name, array in core_arrays(core).items():
        digest.update(name.encode() + b"\0")
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


def restore_core(core: Core, arrays: dict[str, np.ndarray]) -> None:
    """Give a fresh core of the same instruments what another one remembered.

    Raises DataError where the records have another shape: written by another version.
    """
    for name in KEPT:
        target, source = getattr(core, name), arrays.get(f"core_{name}")
        if source is None or source.dtype != target.dtype or source.shape != target.shape:
            raise DataError(
                f"the saved state's {name!r} does not fit this program: it was written by another "
                "version, or for other pairs.",
                "Close positions with the program that opened them, or start a new session.",
            )
        target[:] = source


def save_state(
    path: Path, header: StateHeader, arrays: dict[str, np.ndarray], files: Files = LOCAL_FILES
) -> None:
    """Write a state; after the return it survives a power cut. Raises StorageError."""
    data = _packed(arrays).getbuffer()
    facts = asdict(header) | {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        files.make_folder(path.parent)
        files.remove(temporary)
        file = files.create(temporary)
        try:
            file.write(_MAGIC + json.dumps(facts, sort_keys=True).encode() + b"\n")
            file.write(data)
            file.sync()
        finally:
            file.close()
        files.rename(temporary, path)
    except OSError as error:
        raise StorageError(
            f"the state {path} cannot be written: {error.strerror or error}.",
            "Free space; the log alone is enough to rebuild it.",
        ) from error


def _packed(arrays: dict[str, np.ndarray]) -> io.BytesIO:
    """The arrays as numpy.savez stores them, in small pieces: a loop beside this thread goes on."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                whole = np.ascontiguousarray(array)
                fields = np.lib.format.header_data_from_array_1_0(whole)
                np.lib.format.write_array_header_2_0(file, fields)
                rest = _bytes_of(whole).data
                for at in range(0, len(rest), PIECE):
                    file.write(rest[at : at + PIECE])
    return packed


def copied(arrays: dict[str, np.ndarray], into: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A copy of `arrays`, in the memory of an earlier one (`into`) where it fits.

    As plain bytes in pages that are there already: a twentieth of the time that numpy takes for
    records in new memory.
    """
    found = {}
    for name, array in arrays.items():
        target = into.get(name)
        if target is None or target.dtype != array.dtype or target.shape != array.shape:
            target = np.empty(array.shape, array.dtype)
        np.copyto(_bytes_of(target), _bytes_of(np.ascontiguousarray(array)))
        found[name] = target
    return found


def _bytes_of(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(np.uint8)


def load_state(path: Path) -> tuple[StateHeader, dict[str, np.ndarray]]:
    """Read a state back, proven by its digest. Raises DataError for anything that is not whole."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"the state {path} cannot be read: {error.strerror}.") from error
    line, _, body = data.removeprefix(_MAGIC).partition(b"\n")
    try:
        facts = json.loads(line)
        digest, n_bytes = facts.pop("sha256"), facts.pop("bytes")
        facts["symbols"] = tuple(facts["symbols"])
        version = facts["version"]
        header = StateHeader(**facts)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a saved state.") from error
    if version != STATE_VERSION:
        raise DataError(
            f"{path} has state version {version}; this program reads {STATE_VERSION}.",
            "Use the program that wrote it.",
        )
    if len(body) != n_bytes or hashlib.sha256(body).hexdigest() != digest:
        raise DataError(f"the state {path} is damaged.", "An older one and the log will do.")
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        return header, {name: arrays[name] for name in arrays.files}
