"""How are feature vectors kept? One wide Parquet table, a column for each feature by its name.

Before the features stand time, symbol, generation and why the row was kept, with the vector's version and
a hash of its content; unit and meaning of each column are in the schema, quality and plan in the file's
metadata. The same rows give the same bytes. Left out: taking them (engine/research/snapshots.py).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adapters.parquet.store import Store, StoreFile, storage_errors
from engine.core.columns import FEATURE_VERSION, FEATURES
from engine.core.regime import REGIME_NAMES
from engine.research.snapshots import content_hash, why_text

META: Final = "kapitaalbot.features"
HEAD: Final = (
    ("ts", pa.int64(), "ns", "event whose state it is"),
    ("symbol", pa.dictionary(pa.int16(), pa.string()), "", "pair"),
    ("generation", pa.int64(), "", "newest evaluation"),
    (
        "why",
        pa.dictionary(pa.int16(), pa.string()),
        "",
        "fill, decision, cadence, broad; or several",
    ),
    ("age_ns", pa.int64(), "ns", "age of the vector at most: time since that evaluation, 0 at it"),
    ("regime", pa.dictionary(pa.int16(), pa.string()), "", "regime in force"),
    ("member", pa.bool_(), "", "in the traded universe"),
    ("version", pa.int32(), "", "FEATURE_VERSION: meaning of the columns"),
    ("hash", pa.string(), "", "sha256 of version and values, content_hash of snapshots.py"),
)
_WORDS: Final = pa.dictionary(pa.int16(), pa.string())


def vector_schema() -> pa.Schema:
    """Columns of the table, in their order."""
    fields = [_field(*each) for each in HEAD]
    fields += [_field(each.name, pa.float64(), each.unit, each.doc) for each in FEATURES]
    return pa.schema(fields)


def _field(name: str, kind: pa.DataType, unit: str, doc: str) -> pa.Field:
    described = {key: text for key, text in (("unit", unit), ("doc", doc)) if text}
    return pa.field(name, kind, nullable=False, metadata=described)


class VectorWriter:
    """Writes VECTOR_ROWs to `path`; the file has its name when it is whole, and replaces another.

    path : ends in .parquet; symbols : names of the instrument rows. Raises StorageError
    """

    def __init__(self, path: Path, symbols: tuple[str, ...]) -> None:
        self.path, self._symbols = path, symbols
        self._schema = vector_schema()
        # Under a name of its own until it is whole: what fails may not take an older table along.
        self._part = path.with_name(f".{path.name}.new")
        self._file: StoreFile = Store(path.parent).begin(self._part.name)
        try:
            with storage_errors("write", path):
                self._writer = pq.ParquetWriter(
                    self._file.sink, self._schema, compression="zstd", write_page_checksum=True
                )
        except BaseException:
            self.abort()
            raise

    def append(self, rows: np.ndarray) -> None:
        """Add VECTOR_ROW[n] as one row group."""
        values = rows["values"]
        columns = [
            pa.array(rows["ts"]),
            self._words(rows["sym"], dict(enumerate(self._symbols))),
            pa.array(rows["generation"]),
            self._words(rows["why"], {each: why_text(each) for each in range(16)}),
            pa.array(rows["age_ns"]),
            self._words(rows["regime"], REGIME_NAMES),
            pa.array(rows["member"] != 0),
            pa.array(np.full(len(rows), FEATURE_VERSION, np.int32)),
            pa.array([content_hash(each) for each in values]),
            *(pa.array(np.ascontiguousarray(values[:, i])) for i in range(values.shape[1])),
        ]
        with storage_errors("write", self.path):
            self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))

    @staticmethod
    def _words(codes: np.ndarray, names: dict[int, str]) -> pa.Array:
        return pa.array([names[int(each)] for each in codes], pa.string()).cast(_WORDS)

    def close(self, facts: dict[str, Any]) -> None:
        """Finish the file with what is known of it as a whole."""
        try:
            with storage_errors("write", self.path):
                self._writer.add_key_value_metadata({META: json.dumps(facts, sort_keys=True)})
                self._writer.close()
                self._file.finish()
                os.replace(self._part, self.path)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Drop what was written."""
        self._file.abort()


def vector_facts(path: Path | str) -> dict[str, Any]:
    """Plan, run and quality that stand in the metadata of a table of vectors."""
    found: dict[str, Any] = json.loads(pq.read_metadata(str(path)).metadata[META.encode()])
    return found
