"""What is a run's folder made of? Its name, its tables, its manifest; the same for every mode.

Left out: reading it (engine/reports), and who runs (replay.py, live.py).
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from adapters.parquet.tables import TableWriter
from engine.clock import utc_stamp
from engine.config import canonical_json
from engine.core.records import TABLES
from engine.errors import StorageError
from engine.flow.digest import RunDigest
from engine.instruments import InstrumentTable
from engine.jit import KERNEL_DIGEST
from engine.plugins import Family
from engine.reports.manifest import RUN_SCHEMA_VERSION
from engine.units import MONEY_PER_UNIT
from engine.version import VERSION, commit, sources


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file: whole and synced, or not at all. Raises StorageError."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=".", suffix=".tmp", delete=False
        ) as file:
            json.dump(value, file, indent=2, sort_keys=True)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}.", "Free space, then run again."
        ) from error


def new_folder(out: Path, name: str, config: str, now: int) -> Path:
    """Make the folder of a new run: date, time, name and the start of its configuration's hash."""
    stem = f"{utc_stamp(now)}-{name}-{config[:8]}"
    for attempt in range(1000):
        folder = out / (stem if attempt == 0 else f"{stem}-{attempt}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise StorageError(
                f"the run folder {folder} cannot be made: {error.strerror}.",
                "Set run.out in the profile to a folder that you can write.",
            ) from error
    raise StorageError(f"{out} holds a thousand runs of this second.", "Wait a second.")


def table_sink(folder: Path, name: str, dtype: np.dtype) -> TableWriter:
    """The Parquet file of one table, with units and meanings."""
    columns = {each.name: (each.unit, each.doc) for each in TABLES.get(name, ())}
    return TableWriter(folder, name, dtype, columns)


def make_manifest(
    *,
    mode: str,
    profile: Any,
    config: str,
    plugins: tuple[Family, ...],
    instruments: InstrumentTable,
    digest: RunDigest,
    capture: dict[str, Any],
    summary: dict[str, Any],
    started: int,
    seconds: float,
) -> dict[str, Any]:
    """What every run says of itself, whatever its mode. config : hash of the configuration"""
    return {
        "schema": RUN_SCHEMA_VERSION,
        "mode": mode,
        "name": profile.run.name,
        "digest": digest.hexdigest(),
        "table_digests": digest.table_digests(),
        "rows": dict(digest.n_rows),
        "config": json.loads(canonical_json(profile)),
        "config_hash": config,
        "plugins": [each.describe() for each in plugins],
        "families": {str(code): name for code, name in family_names(plugins).items()},
        "instruments": instruments.to_json(),
        "capture": capture,
        "money_per_unit": MONEY_PER_UNIT,
        "software": software(),
        "started": started,
        "seconds": round(seconds, 3),
        "summary": summary,
    }


def software() -> dict[str, str]:
    """Which program made a run. commit : "" where it is not known"""
    return {
        "kapitaalbot": VERSION,
        "commit": commit(),
        "sources": sources(),
        "kernels": KERNEL_DIGEST,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def family_names(plugins: tuple[Family, ...]) -> dict[int, str]:
    """Family code to name, user families included."""
    from engine.core.routes import FAMILY_NAMES, FAMILY_PLUGIN

    names = {code: name for code, name in FAMILY_NAMES.items() if code < FAMILY_PLUGIN}
    return names | {FAMILY_PLUGIN + i: each.name for i, each in enumerate(plugins)}
