"""How do captured events reach the disk without holding the feed up? One thread that only writes.

Events go to the event log of the current part; remarks on them (why a gap, which verdict) and, if
wanted, the raw frames go to files beside it. The queue before the thread is bounded: `full` says
that nothing more may come, and whoever throws something away must say so. Left out: what is
written (capture.py), sealing parts into the cold store (adapters/parquet/seal.py).

Layout below the folder of a store's capture:
    parts/<id>/           event log of one part
    parts/<id>.jsonl      remarks and facts, one JSON object per line
    raw/<id>.jsonl        frames as they came, one JSON object per line: rx_ns, conn, dir, frame
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import numpy as np

from engine.clock import Clock, Stopwatch
from engine.flow.files import LOCAL_FILES, Files
from engine.flow.log import LogWriter
from engine.instruments import InstrumentTable

ROWS_MAX: Final = 2_000_000  # waiting: 128 MB
TURN_S: Final = 0.02
PARTS: Final = "parts"
RAW: Final = "raw"


@dataclass(frozen=True)
class Part:
    """One part of a capture: what its log and its place in the store are made of."""

    capture_id: str
    instruments: InstrumentTable
    seq_first: int
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """A frame for the raw file. sent : by us"""

    ts: int
    conn: int
    sent: bool
    data: bytes


class Keeper:
    """Writes parts, one after the other. Its methods return at once; the thread does the work.

    folder : of this store's capture; lineage, config_hash : go into every log
    on_part : called in the thread with the id of each part that is closed for good
    flush_s, sync_s : events are handed to the operating system, and forced to the disk, so often
    """

    def __init__(
        self,
        folder: Path,
        *,
        config_hash: str,
        clock: Clock,
        on_part: Callable[[str], None] = lambda _: None,
        rows_max: int = ROWS_MAX,
        raw: bool = False,
        flush_s: float = 0.25,
        sync_s: float = 1.0,
        files: Files = LOCAL_FILES,
    ) -> None:
        self._folder, self._config_hash, self._clock = folder, config_hash, clock
        self._on_part, self._rows_max, self._raw = on_part, rows_max, raw
        self._flush_s, self._sync_s, self._files = flush_s, sync_s, files
        self._waiting: deque[Any] = deque()  # its two ends belong to one thread each
        self._end = threading.Event()
        self._n_put = 0  # rows, counted by whoever puts
        self._n_flushed = 0  # rows that the operating system has
        self._oldest = 0  # stamp of the oldest row that it has not
        self.failure: BaseException | None = None
        self.n_written = 0
        self.n_bytes_raw = 0
        self._log: LogWriter | None = None
        self._facts: BinaryIO | None = None
        self._raw_file: BinaryIO | None = None
        self._capture_id = ""
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        (folder / PARTS).mkdir(parents=True, exist_ok=True)
        if raw:
            (folder / RAW).mkdir(parents=True, exist_ok=True)
        self._thread.start()

    # --- what the feed's side calls ---

    @property
    def wants_raw(self) -> bool:
        return self._raw

    @property
    def full(self) -> bool:
        """Nothing more may come; what is on its way already still finds room."""
        return self.n_waiting * 20 >= self._rows_max * 19

    @property
    def calm(self) -> bool:
        """Half of the room is free again."""
        return self.n_waiting * 2 <= self._rows_max

    @property
    def n_waiting(self) -> int:
        return self._n_put - self.n_written

    def lag_ns(self, now: int) -> int:
        """How long the oldest event that is not yet with the operating system has waited."""
        return max(0, now - self._oldest) if self._n_put > self._n_flushed else 0

    def begin(self, part: Part) -> None:
        """End the part that is being written, begin another."""
        self._waiting.append(part)

    def append(self, rows: np.ndarray) -> None:
        """EVENT rows with their `seq`."""
        if not len(rows):
            return
        if self._n_put == self._n_flushed:
            self._oldest = int(rows["ts"][0])
        self._n_put += len(rows)
        self._waiting.append(rows)

    def remark(self, **facts: Any) -> None:
        """One line for the part's account."""
        self._waiting.append(facts)

    def raw(self, frame: Frame) -> None:
        if self._raw:
            self._waiting.append(frame)

    def close(self) -> None:
        """Write everything, end the part, stop the thread. Raises what the thread died of."""
        self._end.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    # --- the thread ---

    def _run(self) -> None:
        flushed, synced = Stopwatch(), Stopwatch()
        try:
            while True:
                # Not every event by itself: a batch of them costs as much as one.
                ended = self._end.wait(TURN_S)
                self._write([self._waiting.popleft() for _ in range(len(self._waiting))])
                if self._log is not None and (ended or flushed.seconds() >= self._flush_s):
                    if ended or synced.seconds() >= self._sync_s:
                        self._log.sync()
                        synced = Stopwatch()
                    else:
                        self._log.flush()
                    if self._raw_file is not None:
                        self._raw_file.flush()
                    flushed = Stopwatch()
                    self._note_flushed()
                if ended and not self._waiting:
                    self._end_part()
                    return
        except BaseException as error:
            self.failure = error
            if self._log is not None:
                self._log.close()  # a dead writer only lets go of its files

    def _note_flushed(self) -> None:
        first = next((each for each in self._waiting.copy() if isinstance(each, np.ndarray)), None)
        self._oldest = self._clock.now() if first is None else int(first["ts"][0])
        self._n_flushed = self.n_written

    def _write(self, items: list[Any]) -> None:
        """Items in order; neighbouring rows as one array."""
        rows: list[np.ndarray] = []
        for item in items:
            if isinstance(item, np.ndarray):
                rows.append(item)
                continue
            if isinstance(item, Frame):
                self._write_frame(item)
                continue
            self._write_rows(rows)
            rows = []
            if isinstance(item, Part):
                self._begin_part(item)
            elif self._facts is not None:
                self._facts.write(msgspec.json.encode(item) + b"\n")
                self._facts.flush()
        self._write_rows(rows)

    def _write_rows(self, rows: list[np.ndarray]) -> None:
        if not rows:
            return
        assert self._log is not None, "events before the first part"
        whole = np.concatenate(rows)
        self._log.append(whole)
        self.n_written += len(whole)

    def _write_frame(self, frame: Frame) -> None:
        if self._raw_file is None:
            return
        line = msgspec.json.encode(
            {
                "rx_ns": frame.ts,
                "conn": str(frame.conn),
                "dir": "tx" if frame.sent else "rx",
                "frame": frame.data.decode("utf-8", "replace"),
            }
        )
        self.n_bytes_raw += self._raw_file.write(line + b"\n")

    def _begin_part(self, part: Part) -> None:
        self._end_part()
        self._capture_id = part.capture_id
        base = self._folder / PARTS / part.capture_id
        self._log = LogWriter(
            base,
            part.instruments,
            log_id=part.capture_id,
            config_hash=self._config_hash,
            meta=part.meta,
            seq_first=part.seq_first,
            files=self._files,
        )
        self._facts = base.with_name(f"{part.capture_id}.jsonl").open("ab")
        if self._raw:
            self._raw_file = (self._folder / RAW / f"{part.capture_id}.jsonl").open("ab")

    def _end_part(self) -> None:
        if self._log is None:
            return
        log, self._log = self._log, None
        log.close()
        for file in (self._facts, self._raw_file):
            if file is not None:
                file.close()
        self._facts = self._raw_file = None
        self._on_part(self._capture_id)
