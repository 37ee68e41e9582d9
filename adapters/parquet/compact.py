"""Which captures belong together, and how do they become one? Parts of a lineage, day by day.

A running capture is sealed in parts, by the hour or whenever its pairs changed. `plan` finds runs of
parts that follow each other and share their pairs and channels; `compact` writes each run as one
capture, proves that it gives the same events back, and deletes the parts. The snapshots that a part
begins with by itself are left out of the joint, since the books before it go on. `rewrite` is also
what drops a channel from a capture (retention.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from adapters.parquet.deletions import delete_capture
from adapters.parquet.manifest import Channel, Manifest, capture_ids, channel_of_kind, read_manifest
from adapters.parquet.reader import open_capture
from adapters.parquet.store import Store, need_store
from adapters.parquet.writer import CaptureWriter, utc_date
from engine.errors import MismatchError
from engine.events import DERIVED, KIND_NAMES, MESSAGE_END
from engine.flow.merge import words

_CHANNEL_OF: Final = {kind: channel_of_kind(kind) for kind in KIND_NAMES}


@dataclass(frozen=True)
class Joint:
    """Captures that become one, in order."""

    capture_id: str
    parts: tuple[Manifest, ...]

    @property
    def n_events(self) -> int:
        return sum(each.n_events for each in self.parts)

    @property
    def n_files(self) -> int:
        return sum(len(each.files) for each in self.parts)

    @property
    def n_bytes(self) -> int:
        return sum(file.bytes for each in self.parts for file in each.files)


def plan(url: str | Path, by: str = "day") -> list[Joint]:
    """Runs of parts that can be joined: two or more. by : "day" (by the first event) or "lineage" """
    store = Store(url)
    need_store(store)
    lineages: dict[tuple[str, str], list[Manifest]] = {}
    for each in capture_ids(store):
        manifest = read_manifest(store, each)
        lineage = str(manifest.account.get("lineage", ""))
        if lineage:
            day = utc_date(manifest.ts_first) if by == "day" else ""
            lineages.setdefault((lineage, day), []).append(manifest)
    joints = []
    for (lineage, day), found in sorted(lineages.items()):
        found.sort(key=lambda each: each.seq_first)
        for run in _runs(found):
            if len(run) > 1:
                stem = f"{lineage}-{day}" if day else lineage
                joints.append(Joint(_free(store, stem), tuple(run)))
    return joints


def _runs(parts: list[Manifest]) -> Iterator[list[Manifest]]:
    """Neighbours that number their events on and mean the same by them."""
    run: list[Manifest] = []
    for each in parts:
        if run and not _follows(run[-1], each):
            yield run
            run = []
        run.append(each)
    if run:
        yield run


def _follows(one: Manifest, other: Manifest) -> bool:
    return (
        other.seq_first == one.seq_last + 1
        and other.ts_first >= one.ts_last
        and one.venue == other.venue
        and _rules(one) == _rules(other)
        and one.account.get("config_hash") == other.account.get("config_hash")
    )


def _rules(manifest: Manifest) -> Any:
    """What numbers mean: all that an instrument says but its status, and the depths."""
    pairs = [
        {name: value for name, value in each.items() if name not in ("status", "notes")}
        for each in manifest.instruments
    ]
    depths = {
        name: facts.depths
        for name, facts in manifest.channels.items()
        if name in ("book", "level3")
    }
    return pairs, depths


def _free(store: Store, stem: str) -> str:
    taken, name, n = set(capture_ids(store)), stem, 1
    while name in taken:
        n += 1
        name = f"{stem}-{n}"
    return name


def compact(
    url: str | Path, joint: Joint, now: int, progress: Callable[[int], None] | None = None
) -> Manifest:
    """Write a joint and delete its parts. Raises MismatchError and keeps the parts if it differs."""
    made = rewrite(url, joint.parts, joint.capture_id, progress=progress)
    store = Store(url)
    for each in joint.parts:
        delete_capture(store, each, "compacted", now, by=made.capture_id)
    return made


def rewrite(
    url: str | Path,
    parts: tuple[Manifest, ...],
    capture_id: str,
    without: frozenset[str] = frozenset(),
    progress: Callable[[int], None] | None = None,
) -> Manifest:
    """The events of some captures as one new one, proven by reading it back.

    without : channels that are left out. The sources stay; the account names them.
    """
    first = parts[0]
    remarks = {each.seq: each.note for part in parts for each in part.gaps}
    remarks |= {each.seq: each.verdict for part in parts for each in part.epochs}
    channels: dict[tuple[str, str], Channel] = {}
    for part in parts:
        for name, facts in part.channels.items():
            if name not in without:
                for symbol, depth in facts.depths.items():
                    derived = symbol in facts.derived
                    channels[name, symbol] = Channel(
                        name=name, depth=depth, derived=derived, symbols=(symbol,)
                    )
    account = {
        **first.account,
        "counts": _added([part.account.get("counts", {}) for part in parts]),
        "outages": [each for part in parts for each in part.account.get("outages", [])],
        "instrument_changes": [
            each for part in parts for each in part.account.get("instrument_changes", [])
        ],
        "made_of": [{"capture": each.capture_id, "digest": each.digest} for each in parts],
        "without": sorted(without),
    }
    writer = CaptureWriter(
        url,
        capture_id,
        first.table(),
        channels=channels.values(),
        source=first.source,
        venue=first.venue,
        clock=first.clock,
        ts_is_receive_time=first.ts_is_receive_time,
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        licence=first.licence,
        account=account,
        remarks=remarks,
        on_crossed="count",
    )
    digest = hashlib.sha256()
    with writer:
        for i, part in enumerate(parts):
            for rows in open_capture(url, part.capture_id, verify=True).batches():
                kept = rows[_wanted(rows, joined=i > 0, without=without)]
                digest.update(words(kept).data)
                writer.append(kept)
                if progress is not None:
                    progress(writer.n_events)
        made = writer.close()
    back = hashlib.sha256()
    for rows in open_capture(url, capture_id, verify=True).batches():
        back.update(words(rows).data)
    if not digest.hexdigest() == back.hexdigest() == made.events_sha256:
        raise MismatchError(
            f"capture {capture_id} does not give the events of its parts back.",
            "The parts are kept. Check the storage, then remove the new capture and try again.",
        )
    return made


def _wanted(rows: np.ndarray, joined: bool, without: frozenset[str]) -> np.ndarray:
    """Which rows go on: without the channels left out and, in a joint, without opening books."""
    kinds = np.where(rows["kind"] == MESSAGE_END, rows["id"], rows["kind"])
    dropped = [kind for kind, name in _CHANNEL_OF.items() if name in without]
    keep = ~np.isin(kinds, dropped)
    if joined:
        books = [kind for kind, name in _CHANNEL_OF.items() if name in ("book", "level3")]
        keep &= ~(((rows["flags"] & DERIVED) != 0) & np.isin(kinds, books))
    return np.asarray(keep)


def _added(counts: list[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, n in each.items():
            total[name] = total.get(name, 0) + n
    return total
