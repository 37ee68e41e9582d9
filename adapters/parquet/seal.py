"""How does an event log become a capture of the cold store? Copied, proven, then given up.

`seal_log` writes the events of a finished log under the log's own id and proves that the same
events come back before the caller may remove the log. `recover_part` makes a log whose writer died
whole again: longest prefix that can be believed, its last message closed, a gap event at its end.
Remarks and facts that the capture wrote beside the log go into the manifest.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from adapters.parquet.manifest import GAP_CAUSES, Channel, Manifest, find_capture
from adapters.parquet.reader import open_capture
from adapters.parquet.store import Store, manifest_path
from adapters.parquet.writer import CaptureWriter
from engine.errors import MismatchError
from engine.events import (
    BOOK_LEVEL,
    EPOCH,
    GAP,
    GAP_SOURCE,
    HEALTH,
    HEALTH_CLOCK,
    HEALTH_LAG,
    HEALTH_RESUMED,
    L3_ADD,
    L3_DELETE,
    L3_MODIFY,
    LAST,
    MESSAGE_END,
    NO_SYMBOL,
    TICKER,
    TRADE,
    empty,
)
from engine.flow.log import LogReader, LogWriter, check_log, is_log, recover_log
from engine.flow.merge import words
from engine.instruments import InstrumentTable

# Places of the channels in HEALTH_RESUMED, as adapters/kraken writes them.
HEALTH_CHANNELS: Final = ("instrument", "trade", "ticker", "ohlc", "level3", "book")
NOTES_MAX: Final = 200  # kept in a manifest
_MARKET: Final = (BOOK_LEVEL, L3_ADD, L3_MODIFY, L3_DELETE, TRADE, TICKER)


# --- what stands beside a log --------------------------------------------------------------------


@dataclass
class Remarks:
    """The lines that a capture wrote beside its log."""

    of_seq: dict[int, str] = field(default_factory=dict)
    part: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    instruments: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def facts_path(log: Path) -> Path:
    return log.with_name(f"{log.name}.jsonl")


def read_remarks(log: Path) -> Remarks:
    """Whatever can be read; a crash may have torn the last line."""
    found = Remarks()
    path = facts_path(log)
    if not path.exists():
        return found
    for line in path.read_bytes().splitlines():
        try:
            facts = msgspec.json.decode(line)
        except (msgspec.MsgspecError, UnicodeError):
            found.counts["remarks that cannot be read"] += 1
            continue
        if "seq" in facts:
            found.of_seq[int(facts["seq"])] = str(facts.get("text", ""))
        elif "part" in facts:
            found.part = facts
        elif "instrument" in facts:
            found.instruments.append(str(facts["instrument"]))
        elif "refused" in facts:
            found.counts["refused frames"] += 1
        elif "note" in facts:
            found.counts[f"{facts.get('level', 'info')} notes"] += 1
            if len(found.notes) < NOTES_MAX:
                found.notes.append(str(facts["note"]))
    return found


# --- recovery ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recovered:
    """What became of a log whose writer died.

    lost : in words, "" if nothing was; n_events, seq_last, ts_last, epoch : where it ends now
    """

    capture_id: str
    lost: str
    closed_before: bool
    n_events: int
    seq_last: int
    ts_last: int
    epoch: int
    meta: Mapping[str, Any]


def recover_part(log: Path) -> Recovered | None:
    """Make a log whole; None if it never held anything.

    Raises DataError where nothing at all can be believed, RefusedError while somebody writes it.
    """
    if not is_log(log):
        return None
    report = check_log(log)
    lost = ""
    if report.damage is not None:
        recovery = recover_log(log)
        lost, report = recovery.damage.text if recovery.damage else "", recovery.report
    header = LogReader(log, tail="stop").header
    last: np.ndarray | None = None
    epoch = 0
    for rows in LogReader(log, tail="stop"):
        last = rows[-1:].copy()
        numbers = rows["id"][rows["kind"] == EPOCH]
        epoch = int(numbers[-1]) if len(numbers) else epoch
    if last is None:
        return None
    if not report.closed:
        ends = _ends(last)
        with LogWriter(
            log,
            header.instruments,
            log_id=header.log_id,
            config_hash=header.config_hash,
            meta=header.meta,
            resume=True,
        ) as writer:
            writer.append(ends)
        last = ends[-1:]
        text = lost or "the capture ended without a word; what was not written yet is unknown"
        with facts_path(log).open("ab") as file:
            # First of its line: a crash may have left half of one before it.
            said = {"seq": int(last["seq"][0]), "text": text}
            file.write(b"\n" + msgspec.json.encode(said) + b"\n")
    return Recovered(
        capture_id=header.log_id,
        lost=lost,
        closed_before=report.closed,
        n_events=report.n_events,
        seq_last=int(last["seq"][0]),
        ts_last=int(last["ts"][0]),
        epoch=epoch,
        meta=header.meta,
    )


def _ends(last: np.ndarray) -> np.ndarray:
    """The rows that close a log after its last one: the open message, and a gap."""
    row = last[0]
    kind = int(row["id"] if row["kind"] == MESSAGE_END else row["kind"])
    is_open = not row["flags"] & LAST and kind in _MARKET
    rows = empty(2 if is_open else 1)
    rows["ts"], rows["flags"] = row["ts"], LAST
    rows["seq"] = np.arange(int(row["seq"]) + 1, int(row["seq"]) + 1 + len(rows))
    if is_open:
        rows[0]["kind"], rows[0]["sym"], rows[0]["id"] = MESSAGE_END, row["sym"], kind
    gap = rows[-1]
    gap["kind"], gap["sym"], gap["id"], gap["aux"] = GAP, NO_SYMBOL, GAP_SOURCE, row["ts"]
    return rows


# --- sealing -------------------------------------------------------------------------------------


def seal_log(log: Path, store: str | Path, *, source: str = "Kraken WebSocket v2") -> Manifest:
    """Write a finished log into the store under its own id, and prove it.

    A capture of that id with the same events is taken as done. Raises DataError for a log that
    cannot be believed, MismatchError if other events come back, RefusedError if the id is taken by
    other events or being written, StorageError. Nothing is removed here: see `drop_log`.
    """
    header = LogReader(log).header
    capture_id = header.log_id
    place = Store(store)
    if place.exists(manifest_path(capture_id)):
        manifest = find_capture(place, capture_id)
        if manifest.events_sha256 != _digest_of_log(log):
            raise MismatchError(
                f"the store {place.url} has another capture {capture_id!r} than {log}.",
                "Look into both; nothing was changed.",
            )
        return manifest
    remarks = read_remarks(log)
    channels = [
        Channel(name=name, depth=depth, symbols=(symbol,))
        for name, depths in header.meta.get("channels", {}).items()
        for symbol, depth in depths.items()
    ]
    writer = CaptureWriter(
        store,
        capture_id,
        header.instruments,
        channels=channels,
        source=source,
        venue=str(header.meta.get("venue", "kraken")),
        clock=str(header.meta.get("clock", "")),
        ts_is_receive_time=True,
        notes=tuple(remarks.notes),
        remarks=remarks.of_seq,
        on_crossed="count",
    )
    digest = hashlib.sha256()
    health = _Health(header.instruments)
    with writer:
        for rows in LogReader(log):
            digest.update(words(rows).data)
            health.take(rows)
            writer.append(rows)
        writer.account.update(
            {
                "lineage": str(header.meta.get("lineage", "")),
                "part": int(header.meta.get("part", 0)),
                "config_hash": header.config_hash,
                "instrument_changes": remarks.instruments,
                "counts": dict(remarks.counts),
                **health.facts(),
            }
        )
        manifest = writer.close()
    if manifest.events_sha256 != digest.hexdigest() or _digest_of(store, capture_id) != (
        manifest.events_sha256
    ):
        raise MismatchError(
            f"capture {capture_id} does not give the events of {log} back.",
            "The log is kept. Check the storage, then `kapitaalbot data check`.",
        )
    return manifest


def drop_log(log: Path) -> None:
    """Remove a log that is sealed, and what stands beside it."""
    shutil.rmtree(log)
    facts_path(log).unlink(missing_ok=True)


def _digest_of_log(log: Path) -> str:
    digest = hashlib.sha256()
    for rows in LogReader(log):
        digest.update(words(rows).data)
    return digest.hexdigest()


def _digest_of(store: str | Path, capture_id: str) -> str:
    digest = hashlib.sha256()
    for rows in open_capture(store, capture_id, verify=True).batches():
        digest.update(words(rows).data)
    return digest.hexdigest()


class _Health:
    """Collects what HEALTH events say, for the manifest's account."""

    def __init__(self, instruments: InstrumentTable) -> None:
        self._instruments = instruments
        self._offsets: list[int] = []
        self._lag_ns_max = 0
        self._outages: list[dict[str, Any]] = []

    def take(self, rows: np.ndarray) -> None:
        for row in rows[rows["kind"] == HEALTH]:
            what = int(row["id"])
            if what == HEALTH_CLOCK:
                self._offsets.append(int(row["aux"]))
            elif what == HEALTH_LAG:
                self._lag_ns_max = max(self._lag_ns_max, int(row["aux"]))
            elif what == HEALTH_RESUMED and row["aux"] > 0:
                self._outages.append(
                    {
                        "symbol": self._instruments[int(row["sym"])].symbol,
                        "channel": HEALTH_CHANNELS[int(row["price"])],
                        "ts_from": int(row["aux"]),
                        "ts_to": int(row["ts"]),
                        "cause": GAP_CAUSES.get(int(row["qty"]), "unknown"),
                    }
                )

    def facts(self) -> dict[str, Any]:
        offsets = sorted(self._offsets)
        clock = {}
        if offsets:
            clock = {
                "n": len(offsets),
                "least": offsets[0],
                "median": offsets[len(offsets) // 2],
                "most": offsets[-1],
            }
        return {
            "clock_offset_ns": clock,
            "writer_lag_ns_max": self._lag_ns_max,
            "outages": self._outages,
        }
