"""Which market did a session hear? Its log with the face of a capture, for a replay.

`SessionMarket` gives what engine.session.market.py keeps of the log, and says in plain sentences what
the simulation cannot have in common with the session. Left out: the replay itself (replay.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from adapters.parquet.ahead import read_ahead
from adapters.parquet.manifest import MANIFEST_VERSION, ChannelFacts, Manifest, kind_names
from adapters.parquet.reader import BATCH_ROWS
from adapters.sessions import LOG, Started
from engine.errors import DataError
from engine.events import EVENT_SCHEMA_VERSION
from engine.flow.log import LogReader, check_log
from engine.flow.merge import words
from engine.session.market import market_of

TORN: Final = "torn"  # the only damage that a crash explains


class SessionMarket:
    """The market of one session. Opening it reads the log once, to prove and to count it.

    notes : what a reader of the simulation must know, sentences
    raises DataError where the folder holds no session, or its log is damaged before its end
    """

    has_timers = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started = Started.read(folder)
        report = check_log(folder / LOG)
        if report.damage is not None and report.damage.kind != TORN:
            raise DataError(
                f"event log {report.path}: {report.damage.text}",
                "`kapitaalbot run verify` says how far it can be believed.",
            )
        self._report = report
        self.torn = report.damage is not None or not report.closed
        self.instruments = self.started.instruments
        self.symbols = self.instruments.symbols

    @property
    def notes(self) -> tuple[str, ...]:
        notes = []
        if self.torn:
            end = "it was cut off" if self._report.damage is not None else "it was never closed"
            notes.append(
                f"the log of {self.folder.name} has no proper end ({end}): the simulation goes as "
                f"far as it can be believed, {self._report.n_events} events."
            )
        if self.started.previous:
            notes.append(
                f"the session took up the core of {self.started.previous}, with its orders, "
                "positions and history; the simulation starts flat and has seen nothing."
            )
        return tuple(notes)

    def depth(self, symbol: str) -> int:
        """Levels a side: the session subscribed to so many for every pair."""
        return self.started.depth

    def identity(self) -> dict[str, Any]:
        """What a run must name to be repeatable: whose market, and the proof of its log."""
        return {
            "kind": "session",
            "id": self.folder.name,
            "place": str(self.folder),
            "mode": self.started.mode,
            "account": self.started.account,
            "previous": self.started.previous,
            "chain": self._report.chain,
            "torn": self.torn,
            "log_events": self._report.n_events,
            "n_events": self.n_events,
            "symbols": list(self.symbols),
            "notes": list(self.notes),
        }

    @property
    def n_events(self) -> int:
        """How many events `batches` will give."""
        return self.manifest.n_events

    @property
    def span(self) -> tuple[int, int]:
        """First and last ts (ns) of the market; (0, 0) if there is none."""
        return self.manifest.ts_first, self.manifest.ts_last

    @cached_property
    def manifest(self) -> Manifest:
        """What a manifest would say of it."""
        kinds = np.zeros(128, np.int64)
        first = last = None
        digest, stamped = hashlib.sha256(), False
        for rows in self._market():
            kinds += np.bincount(rows["kind"], minlength=128)
            digest.update(words(rows).data)
            stamped |= bool((rows["ts_venue"] != 0).any())
            first, last = rows[0] if first is None else first, rows[-1]
        return Manifest(
            manifest_version=MANIFEST_VERSION,
            schema_version=EVENT_SCHEMA_VERSION,
            capture_id=self.folder.name,
            venue="",
            source=f"{self.started.mode} session",
            software="",
            clock="",
            ts_is_receive_time=True,
            ts_venue_known=stamped,
            instruments=self.instruments.to_json(),
            channels={"book": ChannelFacts(depths=dict.fromkeys(self.symbols, self.started.depth))},
            n_events=int(kinds.sum()),
            seq_first=0 if first is None else int(first["seq"]),
            seq_last=0 if last is None else int(last["seq"]),
            ts_first=0 if first is None else int(first["ts"]),
            ts_last=0 if last is None else int(last["ts"]),
            kinds=kind_names({kind: n for kind, n in enumerate(kinds.tolist()) if n}),
            events_sha256=digest.hexdigest(),
            epochs=(),
            gaps=(),
            checksums=(),
            files=(),
        ).sealed()

    def batches(self, rows: int = BATCH_ROWS, ahead: bool = True) -> Iterator[np.ndarray]:
        """EVENT arrays of at most `rows`, in the order of the log; each is the caller's to keep."""
        source = self._pieces(rows)
        return read_ahead(source) if ahead else source

    def _pieces(self, rows: int) -> Generator[np.ndarray, None, None]:
        for batch in self._market():
            for at in range(0, len(batch), rows):
                yield batch[at : at + rows]

    def _market(self) -> Iterator[np.ndarray]:
        # Never further than what was proven when it was opened: a session may still be writing.
        last = self._report.seq_last
        for stored in LogReader(self.folder / LOG, tail="stop"):
            kept = stored if int(stored["seq"][-1]) <= last else stored[stored["seq"] <= last]
            batch = market_of(kept)
            if len(batch):
                yield batch
            if len(kept) < len(stored):
                return
