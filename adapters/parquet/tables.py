"""How does a run keep its records? One Parquet file per table, written as the rows come.

Any structured numpy type becomes a file of the same columns: integers stay integers (codes too),
a nested array becomes a list of fixed size, unit and meaning go into the field's metadata. The
file has its name only when it is whole. Left out: which tables there are (engine/core/records.py)
and reading them (engine/reports/frames.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adapters.parquet.store import Store, StoreFile, checked_name, storage_errors
from engine.errors import DataError, RefusedError
from engine.events import to_column
from engine.flow.files import LOCAL_FILES, Files

_GROUP_BYTES: Final = 16 << 20  # of rows held before they become a row group
_GROUP_MIN: Final = 1_024
_GROUP_MAX: Final = 131_072
# Rows are cut into columns while they are still in the processor's cache: a pass over all of a row group
# for each column costs four times as much.
_BLOCK_ROWS: Final = 4_096


def table_schema(
    dtype: np.dtype,
    columns: Mapping[str, tuple[str, str]] | None = None,
    meta: Mapping[str, str] | None = None,
) -> pa.Schema:
    """The Arrow schema of a structured type; `columns` gives (unit, meaning) of its fields.

    Raises DataError for a field that is not a number, a truth value or an array of them.
    """
    if dtype.names is None:
        raise DataError(f"{dtype} is not a structured type: a table needs named columns.")
    fields = []
    for name in dtype.names:
        each = dtype[name]
        try:
            kind = pa.from_numpy_dtype(each.base)
        except (pa.ArrowException, NotImplementedError) as error:
            raise DataError(
                f"column {name!r} of type {each} cannot be stored.", "Use numbers."
            ) from error
        if each.shape:
            kind = pa.list_(pa.field("item", kind, nullable=False), int(np.prod(each.shape)))
        unit, doc = (columns or {}).get(name, ("", ""))
        described = {key: text for key, text in (("unit", unit), ("doc", doc)) if text}
        fields.append(pa.field(name, kind, nullable=False, metadata=described or None))
    return pa.schema(fields, metadata=dict(meta or {}) or None)


def columns_to_arrow(held: Mapping[str, np.ndarray], schema: pa.Schema) -> pa.Table:
    """Columns by name as an Arrow table of `schema`: the same memory, no copy."""
    columns = []
    for field in schema:
        values = held[field.name]
        if values.ndim > 1:
            flat = to_column(values.reshape(-1))
            columns.append(pa.FixedSizeListArray.from_arrays(flat, type=field.type))
        else:
            columns.append(to_column(values))
    return pa.Table.from_arrays(columns, schema=schema)


class TableWriter:
    """Writes the rows of one table to `<folder>/<name>.parquet`, with bounded memory.

    folder : path or fsspec address; dtype : the structured type of all rows
    columns : field name to (unit, meaning); meta : text facts about the table as a whole

    The bytes do not depend on how the rows were split over calls of `append`. Raises RefusedError
    if the file is there already, StorageError for the disk; then nothing is left of it.
    """

    def __init__(
        self,
        folder: str | Path,
        name: str,
        dtype: np.dtype,
        columns: Mapping[str, tuple[str, str]] | None = None,
        meta: Mapping[str, str] | None = None,
        files: Files = LOCAL_FILES,
    ) -> None:
        self._store = Store(folder, files)
        self._path = f"{checked_name(name, 'table name')}.parquet"
        self.path = self._store.full(self._path)
        self._dtype = dtype
        self._schema = table_schema(dtype, columns, meta)
        self._n_max = max(_GROUP_MIN, min(_GROUP_MAX, _GROUP_BYTES // dtype.itemsize))
        # A table that stays nearly empty never touches most of these pages.
        self._held = {
            name: np.empty((self._n_max, *dtype[name].shape), dtype[name].base)
            for name in dtype.names or ()
        }
        self._n_held = 0
        self.n_rows = 0
        if self._store.exists(self._path):
            raise RefusedError(f"{self.path} exists already.", "Write to another folder.")
        self._file: StoreFile | None = self._store.begin(self._path)
        try:
            with storage_errors("write", self.path):
                # Numbers of the market repeat little, codes and keys much. A dictionary of the
                # first and zstd cost more than all else that keeping a run's candidates does.
                whole = [field.name for field in self._schema if pa.types.is_integer(field.type)]
                self._writer = pq.ParquetWriter(
                    self._file.sink,
                    self._schema,
                    compression="lz4",
                    use_dictionary=whole or False,
                    write_statistics=whole or False,
                    write_page_checksum=True,
                )
        except BaseException:
            self.abort()
            raise

    def append(self, rows: np.ndarray) -> None:
        """Add rows; they are copied, so the caller may reuse the array."""
        if self._file is None:
            raise RefusedError(f"{self.path} is finished.", "Rows can only be added before close.")
        if rows.dtype != self._dtype:
            raise DataError(
                f"rows of type {rows.dtype} do not fit the table {self.path}.",
                "A table takes rows of the type that it was made for.",
            )
        at = 0
        while at < len(rows):
            n = min(len(rows) - at, self._n_max - self._n_held, _BLOCK_ROWS)
            block = rows[at : at + n]
            for name, column in self._held.items():
                column[self._n_held : self._n_held + n] = block[name]
            self._n_held += n
            at += n
            if self._n_held == self._n_max:
                self._write()
        self.n_rows += len(rows)

    def close(self) -> str:
        """Finish the file: now a reader may see it. Returns its address. Again: nothing."""
        if self._file is None:
            return self.path
        try:
            if self._n_held:
                self._write()
            with storage_errors("write", self.path):
                self._writer.close()
            self._file.finish()
        except BaseException:
            self.abort()
            raise
        self._file = None
        return self.path

    def abort(self) -> None:
        """Drop what was written. After `close` it removes nothing."""
        if self._file is not None:
            file, self._file = self._file, None
            file.abort()

    def _write(self) -> None:
        n, self._n_held = self._n_held, 0
        try:
            with storage_errors("write", self.path):
                table = columns_to_arrow(
                    {name: column[:n] for name, column in self._held.items()}, self._schema
                )
                self._writer.write_table(table, row_group_size=n)
        except BaseException:
            self.abort()
            raise

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


def read_table(path: str | Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a table back: its rows as a structured array, and its metadata. For tests and tools."""
    table = pq.read_table(str(path))
    types: list[tuple[Any, ...]] = []
    for field in table.schema:
        if pa.types.is_fixed_size_list(field.type):
            types.append(
                (field.name, field.type.value_type.to_pandas_dtype(), (field.type.list_size,))
            )
        else:
            types.append((field.name, field.type.to_pandas_dtype()))
    rows = np.zeros(table.num_rows, np.dtype(types))
    for field in table.schema:
        column = table[field.name].combine_chunks()
        if pa.types.is_fixed_size_list(field.type):
            rows[field.name] = column.flatten().to_numpy().reshape(rows[field.name].shape)
        else:
            rows[field.name] = column.to_numpy()
    return rows, {
        key.decode(): text.decode() for key, text in (table.schema.metadata or {}).items()
    }
