"""Where are the documents of a run written, so that a reader never finds half of them?

A folder, or any address that fsspec knows. Each file whole or not at all, the index last. Left out: what is in
them (engine/reports/export.py).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.parquet.store import Store
from adapters.sofar import Progress, run_tables
from engine.reports.export import DOCUMENTS, READ, VERSION, Source, documents, encoded, schema_of


@dataclass(frozen=True)
class Published:
    """What was written. index : as index.json has it; notes : what a reader must know"""

    place: str
    index: dict[str, Any]
    notes: tuple[str, ...]


def publish(
    run: Path | str,
    place: Path | str,
    runs: Path | str = "runs",
    *,
    amounts: bool = False,
    progress: Progress | None = None,
) -> Published:
    """Write the documents of a run to `place`, and their schemas; what lies there is replaced.

    amounts : show money and quantities. raises ConfigError, DataError, StorageError
    """
    found = run_tables(run, runs, READ, progress)
    source = Source(
        run=found.folder.name,
        mode=found.mode,
        ended=found.ended,
        digest=found.digest,
        quote=found.quote,
        tables=found.tables,
        instruments=found.instruments,
        config=found.config,
        families=found.families,
    )
    made = documents(source, amounts)
    store = Store(place)
    listed = {}
    for name, document in made.items():
        data = encoded(document)
        store.write(f"{name}.json", data)
        schema = json.dumps(schema_of(name), indent=1, sort_keys=True).encode() + b"\n"
        store.write(f"schema/{name}.json", schema)
        listed[name] = {
            "file": f"{name}.json",
            "schema": f"schema/{name}.json",
            "version": VERSION,
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
    status = made["status"]
    index = {
        "kind": "kapitaalbot.document.index",
        "version": VERSION,
        "run": status.run,
        "time": status.time,
        "ended": status.ended,
        "amounts": amounts,
        "documents": listed,
    }
    store.write("index.json", json.dumps(index, indent=1).encode() + b"\n")
    assert set(listed) == set(DOCUMENTS)
    return Published(str(place), index, found.notes)
