"""How is a Parquet table read in blocks, and what is said of a torn one?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import DataError


def parquet_blocks(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Blocks of a Parquet file as Arrow arrays; refuses a torn file and a missing column."""
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in columns if name not in file.schema_arrow.names]
            if missing:
                raise DataError(
                    f"{path.name} has no column {', '.join(missing)}.",
                    f"It has {', '.join(file.schema_arrow.names)}.",
                )
            for batch in file.iter_batches(1 << 16, columns=list(columns)):
                yield {name: batch.column(name) for name in columns}
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{path.name} is not a whole Parquet file: {error}.", "Fetch it again."
        ) from error
