"""Where do two runs part? Digests first; then, table by table, the first row that differs.

Rows are compared bit by bit as they are stored, a part at a time, so tables of any size need
little memory. Left out: why they part.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from engine.errors import DataError
from engine.reports.manifest import read_manifest

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE: Final = 1 << 16


def compare_runs(first: Path, second: Path) -> dict[str, Any]:
    """Compare the runs in two folders; plain data for JSON and people.

    raises DataError if a folder is not a run or a table that differs cannot be read
    """
    manifests = [read_manifest(folder) for folder in (first, second)]
    tables = []
    names = [name for name in manifests[0]["rows"] if name in manifests[1]["rows"]]
    for name in names:
        rows = [int(each["rows"][name]) for each in manifests]
        same = manifests[0]["table_digests"][name] == manifests[1]["table_digests"][name]
        row, columns = (None, None) if same else first_difference(first, second, name)
        if same:
            verdict = "same"
        elif row is not None:
            verdict = f"differ from row {row} on"
        else:
            verdict = "their digests differ, their stored rows do not"
        tables.append(
            {
                "table": name,
                "rows": rows,
                "same": same,
                "verdict": verdict,
                "row": row,
                "first": columns,
            }
        )
    return {
        "same": manifests[0]["digest"] == manifests[1]["digest"],
        "runs": [
            {
                "folder": str(folder),
                "digest": manifest["digest"],
                "config_hash": manifest["config_hash"],
                "kernels": manifest["software"]["kernels"],
            }
            for folder, manifest in zip((first, second), manifests, strict=True)
        ],
        "tables": tables,
    }


def first_difference(
    first: Path, second: Path, table: str
) -> tuple[int | None, list[dict[str, Any]] | None]:
    """Number of the first row that differs and its differing columns; (None, None) if none does.

    A row that only one run has differs in every column.
    """
    offset = 0
    parts = [_parts(folder / f"{table}.parquet") for folder in (first, second)]
    while True:
        one, other = next(parts[0], None), next(parts[1], None)
        if one is None and other is None:
            return None, None
        one, other = one or {}, other or {}
        n = min(_length(one), _length(other))
        shared = [name for name in one if name in other]
        differs = np.zeros(n, bool)
        for name in shared:
            differs |= _bits(one[name][:n]) != _bits(other[name][:n])
        where = np.flatnonzero(differs)
        if len(where):
            row = int(where[0])
            columns = [
                {"column": name, "first": one[name][row].item(), "second": other[name][row].item()}
                for name in shared
                if _bits(one[name][row : row + 1]) != _bits(other[name][row : row + 1])
            ]
            return offset + row, columns
        if _length(one) != _length(other):
            longer = one if _length(one) > n else other
            columns = [
                {
                    "column": name,
                    "first": one[name][n].item() if longer is one else None,
                    "second": other[name][n].item() if longer is other else None,
                }
                for name in longer
            ]
            return offset + n, columns
        offset += n


def _length(part: dict[str, np.ndarray]) -> int:
    return len(next(iter(part.values()))) if part else 0


def _bits(values: np.ndarray) -> np.ndarray:
    # NaN is not equal to itself, and -0.0 equals 0.0: bits know better.
    return values.view(np.int64) if values.dtype == np.float64 else values


def _parts(path: Path) -> Iterator[dict[str, np.ndarray]]:
    """Columns of ROWS_AT_ONCE rows at a time, however the file is cut into groups."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        waiting: list[pa.RecordBatch] = []
        for batch in pq.ParquetFile(path).iter_batches(ROWS_AT_ONCE):
            waiting.append(batch)
            if sum(map(len, waiting)) >= ROWS_AT_ONCE:
                table = pa.Table.from_batches(waiting).combine_chunks()
                yield _columns(table.slice(0, ROWS_AT_ONCE))
                waiting = table.slice(ROWS_AT_ONCE).to_batches()
        if waiting:
            yield _columns(pa.Table.from_batches(waiting))
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path} cannot be read: {error}.", "Replay the profile again; runs are cheap."
        ) from error


def _columns(table: pa.Table) -> dict[str, np.ndarray]:
    return {name: table.column(name).to_numpy() for name in table.column_names}
