"""How does a capture leave a store? Recorded first, then unseen, then gone.

The record (`_manifests/deletions.jsonl`, one JSON object per line) names every file before the
manifest is removed; from then on no reader sees the capture, and its files follow. A crash in
between leaves files that the record names: `finish` removes them. Left out: what should go
(retention.py, compact.py).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from adapters.parquet.manifest import Manifest, capture_ids, read_manifest
from adapters.parquet.store import MANIFESTS, Store, manifest_path
from engine.errors import DataError

RECORD: Final = f"{MANIFESTS}/deletions.jsonl"


def read_deletions(store: Store) -> list[dict[str, Any]]:
    """Everything that was ever deleted, oldest first."""
    if not store.exists(RECORD):
        return []
    try:
        return [msgspec.json.decode(line) for line in store.read(RECORD).splitlines() if line]
    except msgspec.MsgspecError as error:
        raise DataError(
            f"{store.full(RECORD)} is damaged: {error}.",
            "Restore it from a copy; it says what was deleted, and is never rewritten by itself.",
        ) from error


def delete_capture(store: Store, manifest: Manifest, why: str, now: int, by: str = "") -> None:
    """Delete a whole capture. why : for the record; by : the capture that holds its events now

    Raises RefusedError while somebody writes it, StorageError.
    """
    lock = store.lock(manifest.capture_id)
    try:
        _append(
            store,
            {
                "ts": now,
                "capture": manifest.capture_id,
                "why": why,
                "replaced_by": by,
                "digest": manifest.digest,
                "events": manifest.n_events,
                "events_sha256": manifest.events_sha256,
                "ts_first": manifest.ts_first,
                "ts_last": manifest.ts_last,
                "bytes": sum(each.bytes for each in manifest.files),
                "files": [each.path for each in manifest.files],
            },
        )
        store.remove(manifest_path(manifest.capture_id))
        for each in manifest.files:
            store.remove(each.path)
    finally:
        lock.release()


def finish(store: Store) -> int:
    """Remove files of recorded deletions that a crash left; returns how many there were."""
    named = {file.path for each in capture_ids(store) for file in read_manifest(store, each).files}
    left = [
        path
        for deletion in read_deletions(store)
        for path in deletion["files"]
        if path not in named and store.exists(path)
    ]
    for path in left:
        store.remove(path)
    return len(left)


def _append(store: Store, deletion: dict[str, Any]) -> None:
    before = store.read(RECORD) if store.exists(RECORD) else b""
    store.write(RECORD, before + msgspec.json.encode(deletion) + b"\n")
