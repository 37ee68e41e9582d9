"""How do stored events come back? One merged, ordered stream from a capture or an event log.

`open_events` opens either; both give the same things, so that a replay does not know which it
reads. Memory stays flat: files are opened one day at a time and decoded in bounded pieces, merged
by seq, read ahead in a second thread. Left out: tables for people (catalog.py), proofs (check.py).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adapters.parquet.ahead import read_ahead
from adapters.parquet.manifest import (
    CHANNELS,
    MANIFEST_VERSION,
    ChannelFacts,
    DataFile,
    Epoch,
    Gap,
    Manifest,
    channel_of_kind,
    epoch_of_row,
    find_capture,
    gap_of_row,
    kind_names,
)
from adapters.parquet.store import Store
from engine.errors import ConfigError, DataError
from engine.events import (
    EPOCH,
    EVENT,
    EVENT_SCHEMA_VERSION,
    GAP,
    MESSAGE_END,
    SCHEMA_METADATA,
    arrow_schema,
    of_column,
)
from engine.flow.log import LogReader, is_log
from engine.flow.merge import columns_to_rows, merge, words
from engine.instruments import InstrumentTable

BATCH_ROWS: Final = 65_536
_DECODED_ROWS: Final = 1 << 20  # of all files together: bounds memory when there are many
_DECODED_MIN: Final = 2_048
_DECODED_MAX: Final = 16_384  # what the cache holds; more is slower
_READ_BYTES: Final = 1 << 16  # of a column at a time
_TS_BOUND: Final = 1 << 62
_ARROW_ERRORS: Final = (pa.ArrowException, OSError, ValueError, EOFError, MemoryError)


class EventSource(Protocol):
    """What a replay needs of the place that its events come from."""

    @property
    def manifest(self) -> Manifest: ...
    @property
    def instruments(self) -> InstrumentTable: ...
    @property
    def symbols(self) -> tuple[str, ...]: ...
    @property
    def n_events(self) -> int: ...
    @property
    def span(self) -> tuple[int, int]: ...
    @property
    def has_timers(self) -> bool: ...
    def depth(self, symbol: str) -> int: ...
    def identity(self) -> dict[str, Any]: ...
    def batches(self, rows: int = BATCH_ROWS) -> Iterator[np.ndarray]: ...


class _Selection:
    """Which symbols, channels and times of a source are wanted. Shared by both kinds of source."""

    def __init__(
        self,
        manifest: Manifest,
        symbols: Iterable[str] | None,
        channels: Iterable[str] | None,
        start: int | None,
        end: int | None,
    ) -> None:
        self.manifest = manifest
        self.instruments = manifest.table()
        wanted = None if symbols is None else [self.instruments[each].symbol for each in symbols]
        held = {symbol for facts in manifest.channels.values() for symbol in facts.depths}
        self.symbols = tuple(
            each
            for each in self.instruments.symbols
            if (each in held if wanted is None else each in wanted)
        )
        self._all_symbols = wanted is None
        self.channels = None if channels is None else frozenset(channels) | {"status"}
        for each in self.channels or ():
            if each not in CHANNELS:
                raise ConfigError(
                    f"there is no channel {each!r}.", f"Channels are {', '.join(CHANNELS)}."
                )
        if start is not None and end is not None and start >= end:
            raise ConfigError(
                f"the time from {start} to {end} is empty.", "The end is not part of the range."
            )
        self.start = -_TS_BOUND if start is None else start
        self.end = _TS_BOUND if end is None else end

    @property
    def has_timers(self) -> bool:
        """Were timer events recorded? Else a replay makes them itself."""
        return self.manifest.has_timers

    def depth(self, symbol: str) -> int:
        """Levels a side of the symbol's book channel, 0 for the whole book or none."""
        facts = self.manifest.channels.get("book")
        return facts.depths.get(self.instruments[symbol].symbol, 0) if facts else 0

    def wants(self, channel: str, symbol: str) -> bool:
        """Events about no single symbol, and those on gaps and status, always come along."""
        if self.channels is not None and channel not in self.channels:
            return False
        return self._all_symbols or not symbol or symbol in self.symbols

    def cut(self, rows: np.ndarray) -> np.ndarray:
        """Rows (in order of ts) to those in the wanted time: start <= ts < end."""
        ts = rows["ts"]
        if len(rows) and self.start <= ts[0] and ts[-1] < self.end:
            return rows
        lo, hi = np.searchsorted(ts, (self.start, self.end), side="left")
        return rows[lo:hi]

    def facts(self) -> dict[str, Any]:
        return {
            "id": self.manifest.capture_id,
            "digest": self.manifest.digest,
            "events_sha256": self.manifest.events_sha256,
            "symbols": list(self.symbols),
            "channels": None if self.channels is None else sorted(self.channels),
            "start": None if self.start == -_TS_BOUND else self.start,
            "end": None if self.end == _TS_BOUND else self.end,
        }


# --- captures in the cold store ------------------------------------------------------------------


class Capture(_Selection):
    """A capture, or the part of it that was asked for. Made by `open_capture`."""

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        symbols: Iterable[str] | None,
        channels: Iterable[str] | None,
        start: int | None,
        end: int | None,
        verify: bool,
    ) -> None:
        super().__init__(manifest, symbols, channels, start, end)
        self.store, self._verify = store, verify
        self.files: tuple[DataFile, ...] = tuple(
            each
            for each in manifest.files
            if self.wants(each.channel, each.symbol)
            and each.ts_last >= self.start
            and each.ts_first < self.end
        )

    def identity(self) -> dict[str, Any]:
        """What a run must name to be repeatable: which data, and its digests."""
        return {"kind": "capture", "place": self.store.url, **self.facts()}

    @property
    def span(self) -> tuple[int, int]:
        """First and last ts (ns) of what was asked for, by the bounds of its files; (0, 0) if none."""
        if not self.files:
            return 0, 0
        first = min(each.ts_first for each in self.files)
        last = max(each.ts_last for each in self.files)
        return max(first, self.start), min(last, self.end - 1)

    @cached_property
    def n_events(self) -> int:
        """How many events `batches` will give. Reads stamps where a file is wanted in part."""
        return sum(self._count(each) for each in self.files)

    def _count(self, file: DataFile) -> int:
        if self.start <= file.ts_first and file.ts_last < self.end:
            return file.rows
        with open_parquet(self.store, file) as parquet:
            wanted = self._row_groups(parquet)
            batches = parquet.iter_batches(BATCH_ROWS, row_groups=wanted, columns=["ts"])
            stamps = (of_column(batch.column(0), EVENT["ts"]) for batch in batches)
            return sum(int(((each >= self.start) & (each < self.end)).sum()) for each in stamps)

    def batches(self, rows: int = BATCH_ROWS, ahead: bool = True) -> Iterator[np.ndarray]:
        """EVENT arrays of at most `rows`, in the order of seq; each is the caller's to keep.

        `sym` is always the row in `instruments`, whatever symbols were asked for.
        raises DataError for a file that is missing, torn, altered or of another version
        """
        source = self._merged(rows)
        return read_ahead(source) if ahead else source

    def _merged(self, rows: int) -> Generator[np.ndarray, None, None]:
        by_date: dict[str, dict[tuple[str, str], list[DataFile]]] = {}
        for file in sorted(self.files, key=lambda each: each.seq_first):
            lanes = by_date.setdefault(file.date, {})
            lanes.setdefault((file.channel, file.symbol), []).append(file)
        for date in sorted(by_date):
            lanes = by_date[date]
            n_decoded = max(_DECODED_MIN, min(rows, _DECODED_MAX, _DECODED_ROWS // len(lanes)))
            yield from merge([_Lane(self, each, n_decoded) for each in lanes.values()], rows)

    def _row_groups(self, parquet: pq.ParquetFile) -> list[int]:
        """The row groups that may hold wanted stamps."""
        i_ts = parquet.schema_arrow.get_field_index("ts")
        wanted = []
        for i in range(parquet.metadata.num_row_groups):
            statistics = parquet.metadata.row_group(i).column(i_ts).statistics
            known = statistics is not None and statistics.has_min_max
            if not known or (statistics.max >= self.start and statistics.min < self.end):
                wanted.append(i)
        return wanted

    def pieces(self, file: DataFile, n_decoded: int) -> Iterator[tuple[int, list[np.ndarray]]]:
        """The wanted rows of one file: (number of the first, its columns), `n_decoded` at a time."""
        store = self.store
        if self._verify and store.sha256(file.path) != file.sha256:
            raise refused(store, file, "its sha256 is not the one in the manifest")
        with open_parquet(store, file) as parquet:
            groups = self._row_groups(parquet)
            whole = len(groups) == parquet.metadata.num_row_groups
            batches = parquet.iter_batches(n_decoded, row_groups=groups, use_threads=False)
            n_read = 0
            while True:
                try:
                    batch = next(batches, None)
                    if batch is None:
                        break
                    columns = [
                        of_column(each, EVENT[name])
                        for each, name in zip(batch.columns, batch.schema.names, strict=True)
                    ]
                except _ARROW_ERRORS as error:
                    reason = f"it cannot be decoded beyond row {n_read}: {_short(error)}"
                    raise refused(store, file, reason) from error
                n, ts = len(batch), columns[0]
                if n and not (self.start <= ts[0] and ts[-1] < self.end):
                    lo, hi = np.searchsorted(ts, (self.start, self.end), side="left")
                    columns = [each[lo:hi] for each in columns]
                if len(columns[0]):
                    yield n_read, columns
                n_read += n
        if whole and n_read != file.rows:
            raise refused(store, file, f"it gave {n_read} of {file.rows} rows")


class _Lane:
    """The files of one channel and symbol, one after the other, as a Source for the merge.

    Columns are written as rows straight into the stage of the merge, and proven to be in order
    and within the manifest's bounds on the way.
    """

    def __init__(self, capture: Capture, files: list[DataFile], n_decoded: int) -> None:
        self._capture = capture
        self._pieces = (
            (file, *piece) for file in files for piece in capture.pieces(file, n_decoded)
        )
        self._file: DataFile | None = None
        self._columns: list[np.ndarray] = [np.empty(0)]
        self._at = self._n_before = 0
        self._ts, self._seq = -_TS_BOUND, -_TS_BOUND

    def fill(self, out: np.ndarray) -> int:
        if self._at == len(self._columns[0]):
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._file, self._n_before, self._columns = piece
            self._at = 0
            # Whatever came before, a file keeps to the bounds that the manifest gives it.
            self._ts = max(self._ts, self._file.ts_first)
            self._seq = max(self._seq, self._file.seq_first - 1)
        assert self._file is not None
        part = [each[self._at : self._at + len(out)] for each in self._columns]
        n = columns_to_rows(out, *part, self._ts, self._seq)
        store = self._capture.store
        if n < len(part[0]):
            row = self._n_before + self._at + n
            raise refused(store, self._file, f"its row {row} is out of order")
        self._ts, self._seq = int(out[n - 1]["ts"]), int(out[n - 1]["seq"])
        if self._ts > self._file.ts_last or self._seq > self._file.seq_last:
            raise refused(store, self._file, "it goes beyond the bounds in the manifest")
        self._at += n
        return n


@contextmanager
def open_parquet(store: Store, file: DataFile) -> Iterator[pq.ParquetFile]:
    """Open a data file of a capture, if it is there, whole, and what the manifest says it is.

    Looks at size, schema version, columns and row count; raises DataError that names the file.
    """
    size = store.size(file.path)
    if size is None:
        raise refused(store, file, "it is missing")
    if size != file.bytes:
        raise refused(store, file, f"it has {size} bytes, the manifest says {file.bytes}")
    try:
        source = store.open(file.path)
        # By default Arrow reads the bytes of all wanted row groups at once: memory as the file.
        parquet = pq.ParquetFile(
            source, page_checksum_verification=True, pre_buffer=False, buffer_size=_READ_BYTES
        )
        schema = parquet.schema_arrow
    except _ARROW_ERRORS as error:
        raise refused(store, file, f"it is not whole: {_short(error)}") from error
    with source:
        (key, value), *_ = SCHEMA_METADATA.items()
        found, version = (schema.metadata or {}).get(key, b"none"), value.decode()
        if found != value:
            text = found.decode("utf-8", "replace")
            raise refused(
                store, file, f"it has schema version {text}, this program reads {version}"
            )
        if not schema.remove_metadata().equals(arrow_schema().remove_metadata()):
            raise refused(store, file, "its columns are not those of an event")
        n_rows = parquet.metadata.num_rows
        if n_rows != file.rows:
            raise refused(store, file, f"it has {n_rows} rows, the manifest says {file.rows}")
        yield parquet


def _short(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def refused(store: Store, file: DataFile, reason: str) -> DataError:
    return DataError(
        f"{store.full(file.path)} is refused: {reason}.",
        "Restore the file from a copy, or capture or import it again.",
    )


def open_capture(
    url: str | Path,
    capture_id: str | None = None,
    symbols: Iterable[str] | None = None,
    channels: Iterable[str] | None = None,
    start: int | None = None,
    end: int | None = None,
    verify: bool = False,
) -> Capture:
    """Open a capture of a store, or a part of it.

    capture_id : its id, the beginning of it, a day, or "latest"; None if there is only one
    symbols, channels : None for all. The channel `status` (gaps, connections, epochs) always comes
        along, and so do events about no single symbol.
    start, end : ns since the epoch, UTC; the end is not part. A book begins with a snapshot: a
        start in the middle gives changes to a book that was never seen whole.
    verify : compare each file's sha256 as it is opened; without it a flipped bit is still noticed
        by the checksum of its page

    raises DataError, ConfigError, UnknownSymbolError
    """
    store = Store(url)
    manifest = find_capture(store, capture_id)
    return Capture(store, manifest, symbols, channels, start, end, verify)


# --- event logs ----------------------------------------------------------------------------------


class LogEvents(_Selection):
    """An event log with the face of a capture. Opening it reads the log once, to prove it.

    The depth of books comes from the log's own `meta["channels"]`: {channel: {symbol: depth}}.
    """

    def __init__(
        self,
        path: Path,
        symbols: Iterable[str] | None,
        channels: Iterable[str] | None,
        start: int | None,
        end: int | None,
    ) -> None:
        self.path = path
        reader = LogReader(path)
        super().__init__(_manifest_of_log(reader), symbols, channels, start, end)

    def identity(self) -> dict[str, Any]:
        """What a run must name to be repeatable: which data, and its digests."""
        return {"kind": "log", "place": str(self.path), **self.facts()}

    @property
    def span(self) -> tuple[int, int]:
        """First and last ts (ns) of the log, within the time asked for; (0, 0) if it is empty."""
        if not self.manifest.n_events:
            return 0, 0
        return max(self.manifest.ts_first, self.start), min(self.manifest.ts_last, self.end - 1)

    @cached_property
    def n_events(self) -> int:
        """How many events `batches` will give."""
        everything = self._all_symbols and self.channels is None
        if everything and self.start == -_TS_BOUND and self.end == _TS_BOUND:
            return self.manifest.n_events
        return sum(map(len, self._selected(BATCH_ROWS)))

    def batches(self, rows: int = BATCH_ROWS, ahead: bool = True) -> Iterator[np.ndarray]:
        """EVENT arrays of at most `rows`, in the order of seq; each is the caller's to keep."""
        source = self._selected(rows)
        return read_ahead(source) if ahead else source

    def _selected(self, rows: int) -> Generator[np.ndarray, None, None]:
        n_symbols = len(self.instruments)
        wanted = np.zeros((128, n_symbols + 1), np.bool_)
        names = ("", *self.instruments.symbols)
        for kind in range(128):
            channel = channel_of_kind(kind)
            wanted[kind] = [self.wants(channel, symbol) for symbol in names]
        for stored in LogReader(self.path):
            batch = self.cut(stored)
            if not wanted.all():
                kinds = np.where(batch["kind"] == MESSAGE_END, batch["id"], batch["kind"])
                batch = batch[wanted[kinds, batch["sym"] + 1]]
            for at in range(0, len(batch), rows):
                yield batch[at : at + rows]


def _manifest_of_log(reader: LogReader) -> Manifest:
    """One pass over a log: what a manifest would say of it."""
    header = reader.header
    kinds: Counter[int] = Counter()
    pairs: set[tuple[int, int]] = set()
    digest = hashlib.sha256()
    gaps: list[Gap] = []
    epochs: list[Epoch] = []
    first = last = None
    venue_stamps = False
    for rows in reader:
        digest.update(words(rows).data)
        for kind, n in enumerate(np.bincount(rows["kind"]).tolist()):
            kinds[kind] += n
        closes = np.where(rows["kind"] == MESSAGE_END, rows["id"], rows["kind"])
        pairs.update(map(tuple, np.unique(np.stack([closes, rows["sym"]], 1), axis=0).tolist()))
        venue_stamps |= bool((rows["ts_venue"] != 0).any())
        for row in rows[(rows["kind"] == GAP) | (rows["kind"] == EPOCH)]:
            if row["kind"] == GAP:
                gaps.append(gap_of_row(row, header.instruments))
            else:
                epochs.append(epoch_of_row(row))
        first, last = rows[0] if first is None else first, rows[-1]
    stated: dict[str, dict[str, int]] = header.meta.get("channels", {})
    depths = {name: dict(each) for name, each in stated.items()}
    symbols = header.instruments.symbols
    for kind, sym in pairs:
        channel = depths.setdefault(channel_of_kind(kind), {})
        if sym >= 0:
            channel.setdefault(symbols[sym], 0)
    return Manifest(
        manifest_version=MANIFEST_VERSION,
        schema_version=EVENT_SCHEMA_VERSION,
        capture_id=header.log_id,
        venue=str(header.meta.get("venue", "")),
        source="event log",
        software="",
        clock=str(header.meta.get("clock", "")),
        ts_is_receive_time=True,
        ts_venue_known=venue_stamps,
        instruments=header.instruments.to_json(),
        channels={name: ChannelFacts(depths=each) for name, each in sorted(depths.items())},
        n_events=sum(kinds.values()),
        seq_first=0 if first is None else int(first["seq"]),
        seq_last=0 if last is None else int(last["seq"]),
        ts_first=0 if first is None else int(first["ts"]),
        ts_last=0 if last is None else int(last["ts"]),
        kinds=kind_names({kind: n for kind, n in kinds.items() if n}),
        events_sha256=digest.hexdigest(),
        epochs=tuple(epochs),
        gaps=tuple(gaps),
        checksums=(),
        files=(),
    ).sealed()


def open_events(
    path: str | Path,
    capture_id: str | None = None,
    symbols: Iterable[str] | None = None,
    channels: Iterable[str] | None = None,
    start: int | None = None,
    end: int | None = None,
) -> Capture | LogEvents:
    """Open a capture of a cold store, or an event log, whichever lies at `path`.

    The arguments are those of `open_capture`; a log has one capture only, so `capture_id` is for
    stores. Raises DataError when neither lies there.
    """
    if "://" not in str(path) and is_log(path):
        return LogEvents(Path(path), symbols, channels, start, end)
    return open_capture(path, capture_id, symbols, channels, start, end)
