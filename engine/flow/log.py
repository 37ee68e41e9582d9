"""What happened, in which order, and can it be believed? The append-only log of events.

A log is a folder of segments `00000001.arrows`, `00000002.arrows` ... whose batches form one hash
chain. `LogWriter` appends, `LogReader` reads and proves, `check_log` names the first defect,
`recover_log` keeps the longest prefix that can be believed. The bytes of a segment are explained
in engine/flow/segment.py and docs/formats.md. Left out: the cold store, following a growing log.
"""

from __future__ import annotations

import contextlib
import re
import select
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from engine.errors import DataError, RefusedError, StorageError
from engine.events import EVENT
from engine.flow.behind import FILL, Behind
from engine.flow.files import LOCAL_FILES, AppendFile, Files, Lock
from engine.flow.merge import words
from engine.flow.rules import describe_broken_rule, first_broken_rule
from engine.flow.segment import (
    CHAIN_ZERO,
    END_OF_STREAM,
    ROWS_MAX,
    BatchDamage,
    SegmentDecoder,
    SegmentEncoder,
    SegmentHeader,
    VersionError,
    find_later,
    rows_announced,
)
from engine.instruments import InstrumentTable

SEGMENT_BYTES: Final = 64 << 20
_SEGMENT_NAME: Final = re.compile(r"(\d{8})\.arrows")
LOCK_NAME: Final = "writer.lock"
_TS_NEVER: Final = -(1 << 62)


def segment_name(number: int) -> str:
    return f"{number:08d}.arrows"


def is_log(path: Path | str) -> bool:
    """Is this folder an event log (does it hold at least one segment)?"""
    return bool(_segments(Path(path)))


def _segments(path: Path) -> list[Path]:
    """The segments in order of their number."""
    if not path.is_dir():
        return []
    return sorted(each for each in path.iterdir() if _SEGMENT_NAME.fullmatch(each.name))


def _number(segment: Path) -> int:
    return int(segment.name[:8])


# --- writing -----------------------------------------------------------------------------------


class Mark(NamedTuple):
    """How far a log was, where somebody asked for a sync: newest seq, segment, bytes of it."""

    seq: int
    segment: int
    size: int


class LogWriter:
    """Appends events to a log. Use as a context manager; one writer per log at a time.

    path : folder; made if missing. A log that is there already is refused without `resume`.
    log_id : names the log for good; `resume` demands the same
    config_hash, meta : go into the header of each segment this writer makes
    segment_bytes : a segment that has reached this size is closed and the next one begun
    flush_rows, flush_age_ns : buffered events go to the file when there are so many, or when the
        newest is so much later than the oldest. The age is event time: no clock is asked.
    assign_seq : number the events; `append` then writes `seq` into the caller's rows too
    seq_first : the first number, where the log is new
    behind : a thread waits for the disk. What is flushed is synced at once then, so that a power cut
        tears one batch at most; `begin_sync` asks to be told, and a failure is raised by the next call

    After any failed write or sync the writer is dead: every later call raises StorageError. What
    is on the disk stays a valid prefix, since a half-written batch is cut off or found by
    `check_log`. A failed sync is never tried again.
    """

    def __init__(
        self,
        path: Path | str,
        instruments: InstrumentTable,
        *,
        log_id: str,
        config_hash: str = "",
        meta: Mapping[str, Any] | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        flush_rows: int = 20_000,
        flush_age_ns: int = 2_000_000_000,
        assign_seq: bool = False,
        seq_first: int = 0,
        resume: bool = False,
        files: Files = LOCAL_FILES,
        behind: bool = False,
    ) -> None:
        if not 0 < flush_rows <= ROWS_MAX:
            raise ValueError(f"flush_rows must be 1 to {ROWS_MAX}, not {flush_rows}.")
        self.path = Path(path)
        self.instruments = instruments
        self.assign_seq = assign_seq
        self._log_id, self._config_hash, self._meta = log_id, config_hash, dict(meta or {})
        self._segment_bytes = segment_bytes
        self._flush_age_ns = flush_age_ns
        self._behind = Behind(files, min(FILL, segment_bytes)) if behind else None
        self._files = self._behind or files
        self._buffer = np.empty(flush_rows, EVENT)
        self._n_buffered = 0
        self._file: AppendFile | None = None
        self._made: dict[str, AppendFile] = {}
        self._failure = ""
        self._closed = False
        self.n_events = 0  # appended, buffered ones included
        self.seq_last = seq_first - 1
        self.seq_synced = seq_first - 1  # everything up to here survives a power cut
        self.ts_last = _TS_NEVER
        self._chain, self._i_segment = CHAIN_ZERO, 0
        try:
            with self._storage("open"):
                files.make_folder(self.path)
                self._lock = Lock(self.path / LOCK_NAME, f"event log {self.path}")
            try:
                if _segments(self.path):
                    self._continue(resume)
                self._next_segment()
                self.settle()
            except BaseException:
                self._lock.release()
                raise
        except BaseException:
            if self._behind is not None:
                self._behind.stop()
            raise

    @property
    def chain(self) -> str:
        """The chain over everything that was flushed, headers included, hex."""
        return self._chain

    @property
    def written(self) -> dict[str, int]:
        """Bytes of each segment that this writer made, as they stand in its file by now.

        A file may be longer for a while: zeros that are cut off again where they were not needed.
        """
        return {name: file.written for name, file in self._made.items()}

    @property
    def ok(self) -> bool:
        """Has nothing failed yet, as far as is known?"""
        return not self._failure and (self._behind is None or not self._behind.failed)

    def append(self, events: np.ndarray) -> int:
        """Add EVENT rows, all of them or none. Returns the seq of the first (the next if none).

        Raises DataError for a row that may not stand in a log (unknown kind or flag, time or
        seq backwards, negative quantity ...) and names it; StorageError as the class says.
        """
        self._alive()
        if events.dtype != EVENT:
            raise DataError("only EVENT rows can be appended to a log.", "See engine/events.py.")
        seq_next = self.seq_last + 1
        if len(events) == 0:
            return seq_next
        rows = events
        if self.assign_seq:
            rows = words(events).copy().view(EVENT)  # numpy copies records field by field
            rows["seq"] = np.arange(seq_next, seq_next + len(rows))
        i, rule = first_broken_rule(
            rows, len(self.instruments), self.ts_last, self.seq_last, _TS_NEVER, 1 << 62
        )
        if rule:
            wrong, hint = describe_broken_rule(rule, rows[i])
            raise DataError(f"event log {self.path}: row {i} of {len(rows)}: {wrong}.", hint)
        if self.assign_seq:
            events["seq"] = rows["seq"]
        self.n_events += len(rows)
        self.seq_last, self.ts_last = int(rows["seq"][-1]), int(rows["ts"][-1])
        start = 0
        while start < len(rows):
            n = min(len(rows) - start, len(self._buffer) - self._n_buffered)
            part = self._buffer[self._n_buffered : self._n_buffered + n]
            words(part)[:] = words(rows[start : start + n])
            self._n_buffered += n
            start += n
            if self._n_buffered == len(self._buffer):
                self.flush()
        if self._n_buffered and self.ts_last - int(self._buffer["ts"][0]) >= self._flush_age_ns:
            self.flush()
        return int(rows["seq"][0])

    def flush(self) -> None:
        """Hand buffered events to the operating system: they survive our death, not a power cut."""
        self._alive()
        if not self._n_buffered:
            return
        assert self._file is not None
        self._write(self._encoder.encode(self._buffer[: self._n_buffered]))
        if self._behind is not None:
            with self._storage("sync"):
                self._file.sync()
        self._chain = self._encoder.chain
        self._n_buffered = 0
        if self._file.size >= self._segment_bytes:
            self._end_segment()
            self._next_segment()

    def sync(self) -> None:
        """Return when every appended event is on the disk."""
        self.flush()
        assert self._file is not None
        mark = self._mark()
        if self._behind is None:
            with self._storage("sync"):
                self._file.sync()
        self.settle()
        self._synced(mark)

    def begin_sync(self, told: Callable[[], None]) -> Mark:
        """Have `told` called, by a thread, once every appended event is on the disk or cannot be.

        Only where the log is written behind. What came of it, `end_sync` says.
        """
        assert self._behind is not None
        self.flush()
        mark = self._mark()
        self._behind.when_done(told)
        # The thread needs Python's lock for some microseconds before it waits for the disk: without
        # this it gets it when whoever called has nothing more to do.
        select.select((), (), (), 0)
        return mark

    def end_sync(self, mark: Mark) -> None:
        """After `told`: all up to the mark is on the disk. Raises StorageError where it is not."""
        self._alive()
        self._synced(mark)

    def settle(self) -> None:
        """Return when the thread, if there is one, has done what it was asked for."""
        if self._behind is not None:
            with self._storage("write"):
                self._behind.settle()

    def _mark(self) -> Mark:
        assert self._file is not None
        return Mark(self.seq_last, self._i_segment, self._file.size)

    def _synced(self, mark: Mark) -> None:
        self.seq_synced = max(self.seq_synced, mark.seq)

    def close(self) -> None:
        """Write what is buffered, mark the end, sync. A dead writer only lets go of its files."""
        if self._closed:
            return
        self._closed = True
        try:
            if not self._failure and self._file is not None:
                self.flush()
                self._end_segment()
                self.settle()
                self.seq_synced = self.seq_last
        finally:
            if self._file is not None:
                self._file.close()
                self._file = None
            if self._behind is not None:
                self._behind.stop()
            self._lock.release()

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, *_: object) -> None:
        # What was appended happened, whatever went wrong after it.
        self.close()

    def _continue(self, resume: bool) -> None:
        """Take up the end of a log that is there already."""
        if not resume:
            raise RefusedError(
                f"{self.path} already holds an event log.",
                "Write to another folder, or resume the log.",
            )
        report = check_log(self.path)
        if report.damage is not None:
            raise DataError(
                f"event log {self.path} cannot be continued: {report.damage.text}",
                "Keep its valid prefix with recover_log first.",
            )
        header = LogReader(self.path).header
        if header.log_id != self._log_id:
            raise RefusedError(
                f"{self.path} is log {header.log_id!r}, not {self._log_id!r}.",
                "Give the id of the log that is to be continued.",
            )
        if header.instruments.to_json() != self.instruments.to_json():
            raise RefusedError(
                f"event log {self.path} was begun with another instrument table.",
                "Start a new log: sym of an event is a row of the table it was written with.",
            )
        self._chain, self._i_segment = report.chain, report.segment_last
        if report.n_events:
            self.seq_last = self.seq_synced = report.seq_last
            self.ts_last = report.ts_last

    def _next_segment(self) -> None:
        self._i_segment += 1
        header = SegmentHeader(
            self._log_id,
            self._i_segment,
            self._chain,
            self.instruments,
            self._config_hash,
            self._meta,
        )
        self._encoder = SegmentEncoder(header)
        final = self.path / segment_name(self._i_segment)
        temporary = self.path / f".{final.name}.tmp"
        with self._storage("begin a segment of"):
            # Left by a crash; it never had a name that a reader looks at.
            self._files.remove(temporary)
            self._file = self._files.create(temporary)
            self._file.write(self._encoder.header_bytes)
            self._file.sync()
            self._files.rename(temporary, final)
        self._made[final.name] = self._file
        self._chain = self._encoder.chain

    def _end_segment(self) -> None:
        assert self._file is not None
        self._write(self._encoder.end())
        with self._storage("sync"):
            self._file.trim()
            self._file.sync()
            self._file.close()
        self._file = None

    def _write(self, data: bytes) -> None:
        """All of `data` or, if the disk still lets us, nothing of it."""
        assert self._file is not None
        size = self._file.size
        try:
            with self._storage("write"):
                self._file.write(data)
        except StorageError:
            # If this fails as well, check_log finds the torn end.
            with contextlib.suppress(OSError):
                self._file.cut(size)
            raise

    def _alive(self) -> None:
        if self._failure:
            raise StorageError(self._failure, "Stop, repair the storage, then check the log.")
        if self._file is None:
            raise StorageError(f"event log {self.path} is closed.", "Open it again to append.")
        if self._behind is not None:
            with self._storage("write"):
                self._behind.check()

    def _storage(self, action: str) -> _Storage:
        return _Storage(self, action)


class _Storage:
    """Turns an OSError into a StorageError that says what is not on the disk, and kills the writer."""

    def __init__(self, writer: LogWriter, action: str) -> None:
        self._writer, self._action = writer, action

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        writer = self._writer
        reason = error.strerror or str(error)
        action = writer._behind.failed if writer._behind is not None else ""
        message = f"cannot {action or self._action} event log {writer.path}: {reason}."
        if writer.seq_last > writer.seq_synced:
            message += (
                f" Events {writer.seq_synced + 1} to {writer.seq_last} may not be on the disk."
            )
        writer._failure = message
        raise StorageError(message, "Stop, repair the storage, then check the log.") from error


# --- reading -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Damage:
    """The first thing in a log that cannot be believed.

    kind : "torn" (the end was not fully written: a crash explains it), "altered" (records were
        changed or removed before the end), "missing" (a whole segment), "version"
    segment, offset : file name, and the byte in it where the valid prefix ends
    seq_first, seq_last : events that are lost for sure, None where not known
    n_bytes : bytes beyond the valid prefix, in this and all later segments
    n_records : how many records the torn batch announced, None where not known
    """

    kind: Literal["torn", "altered", "missing", "version"]
    segment: str
    offset: int
    text: str
    seq_first: int | None = None
    seq_last: int | None = None
    n_bytes: int = 0
    n_records: int | None = None


@dataclass(frozen=True)
class LogReport:
    """What a log holds as far as it can be believed, and the first damage, if any."""

    path: Path
    n_events: int
    n_batches: int
    segment_last: int
    seq_first: int
    seq_last: int
    ts_first: int
    ts_last: int
    chain: str
    closed: bool
    damage: Damage | None

    @property
    def ok(self) -> bool:
        return self.damage is None

    def text(self) -> str:
        """One or two sentences for people."""
        if self.n_events:
            held = f"{self.n_events} events (seq {self.seq_first} to {self.seq_last})"
        else:
            held = "no events"
        state = "closed" if self.closed else "not closed"
        if self.damage is None:
            return f"event log {self.path}: {held}, {state}, chain {self.chain[:16]}."
        return f"event log {self.path}: {held} can be believed. {self.damage.text}"


class LogReader:
    """Reads a log from the front, proving the chain on the way.

    Iterating gives the stored batches as EVENT arrays, each fresh. Memory: one batch.
    Raises DataError where the log cannot be believed; with tail="stop" a torn end ends the
    iteration instead (a log that is still being written usually has one).
    """

    def __init__(self, path: Path | str, *, tail: Literal["refuse", "stop"] = "refuse") -> None:
        self.path = Path(path)
        self._tail = tail
        segments = _segments(self.path)
        if not segments:
            raise DataError(f"{self.path} is not an event log.", "It holds no segment *.arrows.")
        first = segments[0]
        self.header: SegmentHeader = SegmentDecoder(_read_segment(first), first.name).header

    @property
    def instruments(self) -> InstrumentTable:
        return self.header.instruments

    def __iter__(self) -> Iterator[np.ndarray]:
        walk = _Walk(self.path)
        yield from walk
        damage = walk.damage
        if damage is not None and not (damage.kind == "torn" and self._tail == "stop"):
            raise DataError(
                f"event log {self.path}: {damage.text}",
                "Nothing after that place is used; recover_log keeps what stands before it.",
            )


def check_log(path: Path | str) -> LogReport:
    """Read a whole log and say what can be believed. Raises DataError if it is no log at all."""
    if not is_log(path):
        raise DataError(f"{path} is not an event log.", "It holds no segment *.arrows.")
    walk = _Walk(Path(path))
    seq_first = ts_first = -1
    seq_last = ts_last = -1
    n_events = n_batches = 0
    for rows in walk:
        if not n_batches:
            seq_first, ts_first = int(rows["seq"][0]), int(rows["ts"][0])
        seq_last, ts_last = int(rows["seq"][-1]), int(rows["ts"][-1])
        n_batches += 1
        n_events += len(rows)
    return LogReport(
        path=Path(path),
        n_events=n_events,
        n_batches=n_batches,
        segment_last=walk.segment_last,
        seq_first=seq_first,
        seq_last=seq_last,
        ts_first=ts_first,
        ts_last=ts_last,
        chain=walk.chain,
        closed=walk.closed,
        damage=walk.damage,
    )


def _read_segment(segment: Path) -> pa.Buffer:
    """The bytes of a segment, as a memory map: what is not looked at is not read."""
    if segment.stat().st_size == 0:
        return pa.py_buffer(b"")
    if (segment.parent / LOCK_NAME).exists():
        # Its writer may cut off zeros that it did not need: a map of them would end this process.
        return pa.py_buffer(segment.read_bytes())
    return pa.memory_map(str(segment)).read_buffer()


class _Walk:
    """One pass over a log: yields proven batches, then knows how it ended."""

    def __init__(self, path: Path) -> None:
        self._segments = _segments(path)
        self.segment_last = 0
        self.chain = CHAIN_ZERO
        self.closed = False
        self.damage: Damage | None = None
        self._log_id = ""
        self._seq_last: int | None = None
        self._ts_last = _TS_NEVER

    def __iter__(self) -> Iterator[np.ndarray]:
        for i, segment in enumerate(self._segments):
            if _number(segment) != self.segment_last + 1:
                self.damage = self._missing(i)
                return
            data = _read_segment(segment)
            try:
                decoder = SegmentDecoder(data, segment.name)
                header = decoder.header
                if header.segment != _number(segment) or header.previous != self.chain:
                    raise DataError(f"{segment.name} does not continue the segment before it")
                if i > 0 and header.log_id != self._log_id:
                    raise DataError(f"{segment.name} belongs to another log, {header.log_id!r}")
            except VersionError as error:
                self.damage = Damage("version", segment.name, 0, str(error))
                return
            except DataError as error:
                self.damage = self._torn_or_altered(i, data, 0, error.message)
                return
            self._log_id = header.log_id
            self.segment_last, self.chain = header.segment, decoder.chain
            try:
                for batch in decoder.batches():
                    self._follow(batch.rows, segment, batch.offset)
                    self.chain = batch.chain
                    yield batch.rows
            except BatchDamage as error:
                self.damage = self._torn_or_altered(i, data, error.offset, error.message)
                return
            self.closed = decoder.closed

    def _follow(self, rows: np.ndarray, segment: Path, offset: int) -> None:
        """The chain proves who wrote the batch; this, that the writer kept the order."""
        seq, ts = int(rows["seq"][0]), int(rows["ts"][0])
        if self._seq_last is not None and (seq <= self._seq_last or ts < self._ts_last):
            raise BatchDamage(f"{segment.name}: time or seq falls at byte {offset}", offset)
        self._seq_last, self._ts_last = int(rows["seq"][-1]), int(rows["ts"][-1])

    def _missing(self, i: int) -> Damage:
        """A hole in the numbering: what lies behind it cannot be proven to follow."""
        missing = segment_name(self.segment_last + 1)
        later = find_later(_read_segment(self._segments[i]), 0)
        seq_first, seq_last, span = self._lost(None if later is None else later.rows)
        return Damage(
            kind="missing",
            segment=missing,
            offset=0,
            text=f"Segment {missing} is missing before {self._segments[i].name}{span}.",
            seq_first=seq_first,
            seq_last=seq_last,
            n_bytes=self._size_from(i),
        )

    def _torn_or_altered(self, i: int, data: pa.Buffer, offset: int, text: str) -> Damage:
        """Good records beyond the place, or an end mark, mean that it was whole once: altered."""
        text = text.rstrip(".")
        segment = self._segments[i]
        later = find_later(data, offset)
        for each in self._segments[i + 1 :]:
            if later is None:
                later = find_later(_read_segment(each), 0)
        n_bytes = self._size_from(i) - offset
        was_whole = data.size >= 8 and data.slice(data.size - 8).to_pybytes() == END_OF_STREAM
        is_last = i == len(self._segments) - 1
        if later is not None or not is_last or (was_whole and offset < data.size - 8):
            seq_first, seq_last, span = self._lost(None if later is None else later.rows)
            return Damage(
                kind="altered",
                segment=segment.name,
                offset=offset,
                text=f"Altered: {text}{span}.",
                seq_first=seq_first,
                seq_last=seq_last,
                n_bytes=n_bytes,
            )
        n_records = rows_announced(data, offset)
        count = "an unknown number of" if n_records is None else str(n_records)
        return Damage(
            kind="torn",
            segment=segment.name,
            offset=offset,
            text=f"Torn end: {text}; {n_bytes} bytes with {count} records are not whole.",
            n_bytes=n_bytes,
            n_records=n_records,
        )

    def _lost(self, later: np.ndarray | None) -> tuple[int | None, int | None, str]:
        """First and last seq between the valid prefix and the next good records, and in words."""
        seq_first = None if self._seq_last is None else self._seq_last + 1
        if later is None:
            return seq_first, None, ""
        seq_last = int(later["seq"][0]) - 1
        if seq_first is not None and seq_last < seq_first:
            return None, None, ""
        start = "the start" if seq_first is None else str(seq_first)
        return seq_first, seq_last, f"; the events from {start} to {seq_last} are lost"

    def _size_from(self, i: int) -> int:
        return sum(segment.stat().st_size for segment in self._segments[i:])


# --- recovery ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recovery:
    """What `recover_log` did. `cut` are the files that hold the bytes it took out, in order."""

    damage: Damage | None
    report: LogReport
    cut: tuple[Path, ...]

    def text(self) -> str:
        """Two sentences for people."""
        if self.damage is None:
            return f"{self.report.text()} There was nothing to recover."
        names = ", ".join(path.name for path in self.cut)
        return f"{self.damage.text} Moved to {names}. Now: {self.report.text()}"


def recover_log(
    path: Path | str, *, only_torn: bool = False, files: Files = LOCAL_FILES
) -> Recovery:
    """Keep the longest prefix of a log that can be believed; move the rest beside, delete nothing.

    only_torn : refuse to touch a log that was altered or lacks a segment, as a trading program
        must: a crash does not explain such damage

    What is cut off lies in `<segment>.cut-<offset>` (whole segments in `<segment>.cut`). The
    steps are ordered so that a crash at any of them leaves a log with the same valid prefix;
    running again finishes the work. Raises DataError when nothing at all can be believed or the
    log is of another version, RefusedError when a writer holds the log.
    """
    path = Path(path)
    report = check_log(path)
    damage = report.damage
    if damage is None:
        return Recovery(None, report, ())
    if damage.kind == "version" or (report.segment_last == 0 and report.n_events == 0):
        raise DataError(f"event log {path} has no prefix to keep. {damage.text}")
    if only_torn and damage.kind != "torn":
        raise DataError(
            f"event log {path} is damaged in a way that no crash explains. {damage.text}",
            "Look into it before anything is cut: compare with a copy of the log.",
        )
    lock = Lock(path / LOCK_NAME, f"event log {path}")
    try:
        cut: list[Path] = []
        for segment in reversed(_segments(path)):
            if _number(segment) > report.segment_last:
                target = _free_name(path / f"{segment.name}.cut")
                files.rename(segment, target)
                cut.insert(0, target)
        if damage.segment == segment_name(report.segment_last):
            cut.insert(0, _cut_segment(path / damage.segment, damage.offset, files))
    except OSError as error:
        raise StorageError(
            f"cannot recover event log {path}: {error.strerror or error}.",
            "Nothing was lost; run it again when the storage works.",
        ) from error
    finally:
        lock.release()
    return Recovery(damage, check_log(path), tuple(cut))


def _cut_segment(segment: Path, offset: int, files: Files) -> Path:
    """Copy the bytes from `offset` on to a file of their own, for good, then cut them off."""
    target = _free_name(segment.with_name(f"{segment.name}.cut-{offset}"))
    temporary = segment.with_name(f".{target.name}.tmp")
    files.remove(temporary)
    copy = files.create(temporary)
    try:
        with segment.open("rb") as source:
            source.seek(offset)
            while block := source.read(1 << 20):
                copy.write(block)
        copy.sync()
    finally:
        copy.close()
    files.rename(temporary, target)
    file = files.reopen(segment)
    try:
        file.cut(offset)
        file.sync()
    finally:
        file.close()
    return target


def _free_name(path: Path) -> Path:
    """`path`, or the first of `path-2`, `path-3` ... that is not taken."""
    candidate, n = path, 1
    while candidate.exists():
        n += 1
        candidate = path.with_name(f"{path.name}-{n}")
    return candidate
