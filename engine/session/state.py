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
    packed = io.BytesIO()
    np.savez(packed, **arrays)  # type: ignore[arg-type]
    data = packed.getbuffer()
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
