"""How does a capture get into the cold store? Checked rows in, sealed Parquet files and a manifest out.

`CaptureWriter` takes events in order, in batches of any size, and writes one file per channel,
symbol and UTC day. Nothing is visible before `close` has written the manifest; an exception leaves
nothing behind. Left out: reading, and deciding what a foreign recording means.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adapters.parquet.manifest import (
    CHANNELS,
    MANIFEST_VERSION,
    Channel,
    ChannelFacts,
    ChannelLike,
    Checksums,
    DataFile,
    Epoch,
    Gap,
    Manifest,
    channel_of_kind,
    epoch_of_row,
    gap_of_row,
    kind_names,
    merge_channels,
)
from adapters.parquet.store import (
    DAY_NS,
    Store,
    StoreFile,
    checked_name,
    data_path,
    manifest_path,
    storage_errors,
)
from engine.errors import DataError, RefusedError
from engine.events import (
    CHECKSUM,
    EPOCH,
    EVENT,
    EVENT_SCHEMA_VERSION,
    FAILED,
    GAP,
    GAP_BACKWARDS,
    GAP_CROSSED,
    KIND_NAMES,
    LAST,
    MESSAGE_END,
    NO_SYMBOL,
    VERIFIED,
    arrow_schema,
    empty,
    to_column,
)
from engine.flow.books import FINE, follow_books, make_books
from engine.flow.files import LOCAL_FILES, Files
from engine.flow.merge import COLUMNS, words
from engine.flow.rules import TS_MAX, TS_MIN, describe_broken_rule, first_broken_rule
from engine.instruments import InstrumentTable
from engine.version import VERSION

ROW_GROUP_ROWS: Final = 131_072
_HELD_ROWS: Final = 1 << 21  # of all lanes together before the fullest is written out: 128 MB
_PENDING_ROWS: Final = 1 << 15
# Delta encoding makes the integer columns smaller and faster to read than a dictionary does.
DELTA_COLUMNS: Final = ("ts", "ts_venue", "seq", "price", "qty", "id", "aux")
SMALL_COLUMNS: Final = ("sym", "kind", "side", "flags")
_CHECKED: Final = ("book", "level3")  # channels whose messages may carry a checksum

_CHANNEL_CODE: Final = np.zeros(128, np.int64)
for _kind in KIND_NAMES:
    _CHANNEL_CODE[_kind] = CHANNELS.index(channel_of_kind(_kind))


def write_options() -> dict[str, Any]:
    """How event columns are encoded, for pyarrow.parquet.ParquetWriter."""
    return {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": list(SMALL_COLUMNS),
        "column_encoding": dict.fromkeys(DELTA_COLUMNS, "DELTA_BINARY_PACKED"),
        "write_page_index": True,
        "write_page_checksum": True,  # so that a reader notices a flipped bit without a hash
    }


def rows_to_table(rows: np.ndarray, schema: pa.Schema) -> pa.Table:
    """EVENT rows as an Arrow table; copies each column once."""
    columns = [to_column(rows[name]) for name in COLUMNS]
    return pa.Table.from_arrays(columns, schema=schema)


@dataclass
class _Lane:
    """One channel of one symbol: rows held back, the file of the current day, its account."""

    channel: str
    symbol: str
    held: list[np.ndarray] = field(default_factory=list)
    n_held: int = 0
    date: str = ""
    file: StoreFile | None = None
    writer: pq.ParquetWriter | None = None
    rows: int = 0
    first: tuple[int, int] = (0, 0)  # seq, ts
    last: tuple[int, int] = (0, 0)
    tally: Counter[str] = field(default_factory=Counter)

    def take(self, n: int) -> np.ndarray:
        """The first `n` held rows as one array."""
        out = np.empty(n, EVENT)
        target, at = words(out), 0
        width = EVENT.itemsize // 8
        while at < n:
            part = self.held[0]
            k = min(n - at, len(part))
            target[at * width : (at + k) * width] = words(part[:k])
            at += k
            if k == len(part):
                self.held.pop(0)
            else:
                self.held[0] = part[k:]
        self.n_held -= n
        return out


class CaptureWriter:
    """Writes one capture. Use as a context manager: an exception inside leaves nothing behind.

    store : path or fsspec address; capture_id : a file name, not yet in the store
    channels : what the source holds (Channel: name, depth, derived, symbols), or a mapping of
        channel to depth. Book and level 3 must be declared, since their depth cannot be seen.
    source, clock, notes, licence, account : sentences and facts for the manifest
    remarks : by seq, what the manifest says of a gap or an epoch that comes with `append`
    ts_is_receive_time : ts was taken when the data arrived, not by the venue
    assign_seq : number the events from 0; else their own seq must rise
    on_backwards : what to do when ts falls. "refuse", or "gap" (needs assign_seq): the rows are
        kept, their ts is raised to the latest, and a GAP event says so
    on_crossed : what to do when a message leaves a trusted book crossed. "refuse", "count" (the
        manifest says how often; the core distrusts such a book until it is mended), or "gap"
        (needs assign_seq): a GAP event follows, the book is distrusted until its next snapshot

    raises DataError for a row that may not stand (it names row and value; nothing of that batch is
    stored), RefusedError for an id that is taken or being written, StorageError for the disk
    """

    def __init__(
        self,
        store: str | Path,
        capture_id: str,
        instruments: InstrumentTable,
        *,
        channels: Iterable[ChannelLike] | Mapping[str, int] = (),
        source: str = "",
        venue: str = "kraken",
        clock: str = "",
        ts_is_receive_time: bool = False,
        notes: Iterable[str] = (),
        licence: str = "",
        account: Mapping[str, Any] | None = None,
        remarks: Mapping[int, str] | None = None,
        assign_seq: bool = False,
        on_backwards: Literal["refuse", "gap"] = "refuse",
        on_crossed: Literal["refuse", "count", "gap"] = "refuse",
        row_group_rows: int = ROW_GROUP_ROWS,
        files: Files = LOCAL_FILES,
    ) -> None:
        if "gap" in (on_backwards, on_crossed) and not assign_seq:
            raise ValueError("a GAP event needs a number of its own: use assign_seq=True.")
        self.capture_id = checked_name(capture_id, "capture id")
        self.venue = checked_name(venue, "venue")
        self.instruments = instruments
        self.account: dict[str, Any] = dict(account or {})
        self._store = Store(store, files)
        self._source, self._clock = source, clock
        self._ts_is_receive_time = ts_is_receive_time
        self._notes, self._licence = tuple(notes), licence
        self._assign_seq, self._on_backwards = assign_seq, on_backwards
        self._on_crossed = on_crossed
        self._row_group_rows = row_group_rows
        if isinstance(channels, Mapping):
            channels = [Channel(name=name, depth=depth) for name, depth in channels.items()]
        self._channels = merge_channels(channels, instruments.symbols)
        book = self._channels.get("book", ChannelFacts(depths={}))
        self._books = make_books(instruments, book.depths)

        self.n_events = 0
        self._seq_last, self._ts_last = -1, TS_MIN
        self._n_crossed: Counter[str] = Counter()
        self._kinds: Counter[int] = Counter()
        self._digest = hashlib.sha256()
        self._first: tuple[int, int] | None = None
        self._ts_venue_known = False
        self._message_open = False
        self._behind = False  # ts of the source still lies before the latest
        self._gap_due = ""  # the note of a gap that waits for the end of an open message
        self._gaps: list[Gap] = []
        self._epochs: list[Epoch] = []
        self._remarks = dict(remarks or {})
        self._gap_notes: dict[int, str] = {}  # by seq
        self._verdicts: dict[int, str] = {}
        self._lanes: dict[int, _Lane] = {}
        self._date = ""
        self._n_held = 0
        self._pending = np.empty(_PENDING_ROWS, EVENT)
        self._n_pending = 0
        self._done: list[DataFile] = []
        self._state: Literal["open", "closed", "aborted"] = "open"

        self._lock = self._store.lock(self.capture_id)
        if self._store.exists(manifest_path(self.capture_id)):
            self._lock.release()
            raise RefusedError(
                f"the store {self._store.url} already has a capture {capture_id!r}.",
                "Choose another id: a capture is never changed.",
            )

    # --- what the caller does ---

    def append(self, events: np.ndarray) -> None:
        """Add EVENT rows in order; all of them, or none and an error."""
        self._must_be_open()
        if events.dtype != EVENT:
            raise DataError("only EVENT rows can be written to a capture.", "See engine/events.py.")
        if len(events) == 0:
            return
        rows, before = events, (self._behind, self._gap_due, dict(self._gap_notes))
        if self._assign_seq:
            rows = events.copy()
            if self._on_backwards == "gap":
                rows = self._in_time(rows)
            self._number(rows)
        i, rule = first_broken_rule(
            rows, len(self.instruments), self._ts_last, self._seq_last, TS_MIN, TS_MAX
        )
        if rule:
            self._behind, self._gap_due, self._gap_notes = before
            wrong, hint = describe_broken_rule(rule, rows[i])
            raise DataError(
                f"capture {self.capture_id}: event {self.n_events + i} cannot be stored: {wrong}.",
                hint,
            )
        if "book" in self._channels:
            rows = self._uncrossed(rows)
        self._seq_last, self._ts_last = int(rows["seq"][-1]), int(rows["ts"][-1])
        self._message_open = not rows["flags"][-1] & LAST
        self.n_events += len(rows)
        try:
            self._keep(rows)
        except BaseException:
            # Some of it may be written, some not: nothing that follows could be right.
            self.abort()
            raise

    def gap(
        self, ts: int, cause: int, symbol: str = "", ts_from: int | None = None, note: str = ""
    ) -> None:
        """Add a GAP event: `cause` is GAP_*, `ts_from` the last event before it (ns)."""
        row = self._row(GAP, ts, symbol)
        row["id"] = cause
        row["aux"] = self._ts_last if ts_from is None else ts_from
        if note:
            self._gap_notes[int(row["seq"][0])] = note
        self.append(row)

    def epoch(self, ts: int, number: int, status: int, verdict: str = "") -> None:
        """Add an EPOCH event: `status` is EPOCH_*; `verdict` says why, for the manifest."""
        row = self._row(EPOCH, ts, "")
        row["id"], row["aux"] = number, status
        if verdict:
            self._verdicts[int(row["seq"][0])] = verdict
        self.append(row)

    def close(self) -> Manifest:
        """Finish all files, then write the manifest: from now on the capture exists."""
        self._must_be_open()
        try:
            if self._gap_due:
                self.gap(self._ts_last, GAP_BACKWARDS, note=self._gap_due)
            self._route_pending()
            for lane in self._lanes.values():
                self._finish_file(lane)
            manifest = self._manifest()
            self._store.write(manifest_path(self.capture_id), manifest.to_json())
        except BaseException:
            self.abort()
            raise
        self._state = "closed"
        self._lock.release()
        return manifest

    def abort(self) -> None:
        """Drop everything that was written. After `close` it does nothing."""
        if self._state != "open":
            return
        self._state = "aborted"
        for lane in self._lanes.values():
            if lane.file is not None:
                lane.file.abort()
                lane.file = lane.writer = None
        for done in self._done:
            # What cannot be removed is an orphan: no manifest names it, so no reader sees it.
            with suppress(OSError):
                self._store.remove(done.path)
        self._lock.release()

    def __enter__(self) -> CaptureWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.abort()
        elif self._state == "open":
            self.close()

    # --- rows ---

    def _must_be_open(self) -> None:
        if self._state != "open":
            raise RefusedError(f"capture {self.capture_id} is {self._state}.", "Start a new one.")

    def _row(self, kind: int, ts: int, symbol: str) -> np.ndarray:
        row = empty(1)
        row["kind"], row["ts"], row["flags"] = kind, ts, LAST
        row["seq"] = self._seq_last + 1
        row["sym"] = self.instruments.index(symbol) if symbol else NO_SYMBOL
        return row

    def _number(self, rows: np.ndarray) -> None:
        rows["seq"] = np.arange(self._seq_last + 1, self._seq_last + 1 + len(rows))

    def _in_time(self, rows: np.ndarray) -> np.ndarray:
        """Raise stamps that lie behind to the latest, and put a GAP where that begins.

        One gap per stretch that lies behind. It waits for the end of an open message, in this
        batch or a later one, since a message is never torn apart.
        """
        given = rows["ts"].copy()
        rows["ts"] = np.maximum.accumulate(np.maximum(given, self._ts_last))
        behind = given < rows["ts"]
        due = [(0, self._gap_due)] if self._gap_due else []
        for i in np.flatnonzero(behind & ~np.append(self._behind, behind[:-1])).tolist():
            due.append((i, f"ts fell to {given[i]}; later rows were raised to the latest ts"))
        self._behind, self._gap_due = bool(behind[-1]), ""
        closers = np.flatnonzero(rows["flags"] & LAST)
        places: list[int] = []
        gaps = empty(len(due))
        for i, note in due:
            is_open = not rows["flags"][i - 1] & LAST if i else self._message_open
            if is_open:
                k = int(np.searchsorted(closers, i))
                if k == len(closers):
                    self._gap_due = note
                    continue
                i = int(closers[k]) + 1
            gap = gaps[len(places)]
            gap["ts"] = gap["aux"] = rows["ts"][i - 1] if i else self._ts_last
            gap["kind"], gap["id"], gap["flags"] = GAP, GAP_BACKWARDS, LAST
            self._gap_notes[self._seq_last + 1 + i + len(places)] = note
            places.append(i)
        return np.insert(rows, places, gaps[: len(places)]) if places else rows

    def _uncrossed(self, rows: np.ndarray) -> np.ndarray:
        """Follow the books; do with a crossed one what the caller wished."""
        i, finding, ask, bid = follow_books(self._books, rows, 0, False)
        while finding != FINE:
            symbol = self.instruments[int(rows["sym"][i])].symbol
            self._n_crossed[symbol] += 1
            if self._on_crossed == "refuse":
                self.abort()
                raise DataError(
                    f"capture {self.capture_id}: the {symbol} book is crossed after event "
                    f"{self.n_events + i} (seq {int(rows['seq'][i])}): best bid {bid} ticks, best "
                    f"ask {ask}. Nothing was stored.",
                    "A message may be missing, or the feed is so: on_crossed='count' keeps such "
                    "moments, on_crossed='gap' says that the book is unknown after them.",
                )
            if self._on_crossed == "gap":
                gap = empty(1)
                gap["ts"] = gap["aux"] = rows["ts"][i]
                gap["kind"], gap["id"], gap["flags"] = GAP, GAP_CROSSED, LAST
                gap["sym"] = rows["sym"][i]
                rows = np.insert(rows, i + 1, gap)
                self._number(rows)
            i, finding, ask, bid = follow_books(self._books, rows, i + 1, False)
        return rows

    def _keep(self, rows: np.ndarray) -> None:
        self._digest.update(words(rows).data)
        if self._first is None:
            self._first = int(rows["seq"][0]), int(rows["ts"][0])
        start = 0
        while start < len(rows):
            n = min(len(rows) - start, len(self._pending) - self._n_pending)
            part = self._pending[self._n_pending : self._n_pending + n]
            words(part)[:] = words(rows[start : start + n])
            self._n_pending += n
            start += n
            if self._n_pending == len(self._pending):
                self._route_pending()

    # --- lanes: one per channel and symbol ---

    def _route_pending(self) -> None:
        """Sort the pending rows to their lanes, day by day."""
        rows = self._pending[: self._n_pending]
        self._n_pending = 0
        if not len(rows):
            return
        for kind, n in enumerate(np.bincount(rows["kind"], minlength=1).tolist()):
            if n:
                self._kinds[kind] += n
        self._ts_venue_known |= bool((rows["ts_venue"] != 0).any())
        for row in rows[(rows["kind"] == GAP) | (rows["kind"] == EPOCH)]:
            self._note(row)
        days = rows["ts"] // DAY_NS
        for part in np.split(rows, np.flatnonzero(np.diff(days)) + 1):
            self._route(part, utc_date(int(part["ts"][0])))

    def _note(self, row: np.void) -> None:
        """A gap or an epoch goes into the manifest too."""
        seq = int(row["seq"])
        if row["kind"] == EPOCH:
            verdict = self._verdicts.pop(seq, self._remarks.get(seq, ""))
            self._epochs.append(epoch_of_row(row, verdict))
        else:
            note = self._gap_notes.pop(seq, self._remarks.get(seq, ""))
            self._gaps.append(gap_of_row(row, self.instruments, note))

    def _route(self, rows: np.ndarray, date: str) -> None:
        """Rows of one day to their lanes. The day of a capture never falls, since ts does not."""
        if date != self._date:
            for lane in self._lanes.values():
                self._finish_file(lane)
            self._date = date
        kinds = rows["kind"].astype(np.int64)
        kinds = np.where(kinds == MESSAGE_END, rows["id"], kinds)
        codes = _CHANNEL_CODE[kinds] * (len(self.instruments) + 1) + rows["sym"] + 1
        order = np.argsort(codes, kind="stable")
        grouped = words(rows).reshape(len(rows), -1)[order].view(EVENT)[:, 0]
        codes = codes[order]
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        for start, part in zip(starts.tolist(), np.split(grouped, starts[1:]), strict=True):
            code = int(codes[start])
            lane = self._lanes.get(code) or self._new_lane(code)
            # A copy: a quiet lane would otherwise keep the memory of all the others alive.
            lane.held.append(part if len(starts) == 1 else part.copy())
            lane.n_held += len(part)
            self._n_held += len(part)
            while lane.n_held >= self._row_group_rows:
                self._write_rows(lane, self._row_group_rows)
        while self._n_held > _HELD_ROWS:
            fullest = max(self._lanes.values(), key=lambda lane: lane.n_held)
            self._write_rows(fullest, fullest.n_held)

    def _new_lane(self, code: int) -> _Lane:
        i_channel, i_symbol = divmod(code, len(self.instruments) + 1)
        channel = CHANNELS[i_channel]
        symbol = self.instruments[i_symbol - 1].symbol if i_symbol else ""
        known = self._channels.get(channel, ChannelFacts(depths={}))
        if symbol not in known.depths:
            if channel in _CHECKED:
                raise DataError(
                    f"capture {self.capture_id} holds {channel} events of {symbol}, but no depth "
                    "was declared for them.",
                    f"Declare it: channels=[Channel(name={channel!r}, depth=...)], 0 for all.",
                )
            depths = {**known.depths, symbol: 0} if symbol else known.depths
            known = ChannelFacts(depths=depths, derived=known.derived)
            self._channels = {**self._channels, channel: known}
        lane = self._lanes[code] = _Lane(channel, symbol)
        return lane

    def _write_rows(self, lane: _Lane, n: int) -> None:
        """The first `n` held rows become one row group."""
        rows = lane.take(n)
        self._n_held -= n
        path = data_path(self.venue, lane.channel, lane.symbol, self._date, self.capture_id)
        schema = self._schema(lane)
        with storage_errors("write", self._store.full(path)):
            if lane.file is None:
                lane.file = self._store.begin(path)
                lane.writer = pq.ParquetWriter(lane.file.sink, schema, **write_options())
                lane.rows, lane.first = 0, (int(rows["seq"][0]), int(rows["ts"][0]))
            assert lane.writer is not None
            lane.writer.write_table(rows_to_table(rows, schema), row_group_size=n)
        lane.rows += n
        lane.last = int(rows["seq"][-1]), int(rows["ts"][-1])
        if lane.channel in _CHECKED:
            lane.tally.update(tally_checksums(rows))

    def _schema(self, lane: _Lane) -> pa.Schema:
        schema = arrow_schema()
        facts = {b"kapitaalbot.capture": self.capture_id.encode()}
        if lane.symbol:
            instrument = json.dumps(self.instruments[lane.symbol].to_json(), sort_keys=True)
            facts[b"kapitaalbot.instrument"] = instrument.encode()
        return schema.with_metadata({**schema.metadata, **facts})

    def _finish_file(self, lane: _Lane) -> None:
        """Seal the file of the current day, if the lane has one."""
        if lane.n_held:
            self._write_rows(lane, lane.n_held)
        if lane.file is None or lane.writer is None:
            return
        file = lane.file
        with storage_errors("write", self._store.full(file.path)):
            lane.writer.close()
        file.finish()
        lane.file = lane.writer = None
        self._done.append(
            DataFile(
                path=file.path,
                channel=lane.channel,
                symbol=lane.symbol,
                date=self._date,
                rows=lane.rows,
                seq_first=lane.first[0],
                seq_last=lane.last[0],
                ts_first=lane.first[1],
                ts_last=lane.last[1],
                bytes=file.sink.size,
                sha256=file.sink.sha256,
            )
        )

    def _manifest(self) -> Manifest:
        lanes = sorted(self._lanes.values(), key=lambda lane: (lane.channel, lane.symbol))
        seq_first, ts_first = self._first or (0, 0)
        return Manifest(
            manifest_version=MANIFEST_VERSION,
            schema_version=EVENT_SCHEMA_VERSION,
            capture_id=self.capture_id,
            venue=self.venue,
            source=self._source,
            software=f"kapitaalbot {VERSION}",
            clock=self._clock,
            ts_is_receive_time=self._ts_is_receive_time,
            ts_venue_known=self._ts_venue_known,
            instruments=self.instruments.to_json(),
            channels={name: self._channels[name] for name in CHANNELS if name in self._channels},
            n_events=self.n_events,
            seq_first=seq_first,
            seq_last=self._seq_last if self.n_events else 0,
            ts_first=ts_first,
            ts_last=self._ts_last if self.n_events else 0,
            kinds=kind_names(self._kinds),
            events_sha256=self._digest.hexdigest(),
            epochs=tuple(self._epochs),
            gaps=tuple(self._gaps),
            checksums=tuple(
                Checksums(
                    channel=lane.channel,
                    symbol=lane.symbol,
                    crossed=self._n_crossed[lane.symbol] if lane.channel == "book" else 0,
                    **lane.tally,
                )
                for lane in lanes
                if lane.channel in _CHECKED
            ),
            files=tuple(sorted(self._done, key=lambda each: each.path)),
            notes=self._notes,
            licence=self._licence,
            account=self.account,
        ).sealed()


def tally_checksums(rows: np.ndarray) -> dict[str, int]:
    """Messages by verdict: verified, failed, unchecked (nobody compared), absent."""
    closing = rows["flags"][(rows["flags"] & LAST) != 0]
    carries = (closing & CHECKSUM) != 0
    verified = int(((closing & VERIFIED) != 0).sum())
    failed = int(((closing & FAILED) != 0).sum())
    n_carry = int(carries.sum())
    return {
        "verified": verified,
        "failed": failed,
        "unchecked": n_carry - verified - failed,
        "absent": len(closing) - n_carry,
    }


def utc_date(ts: int) -> str:
    """The UTC day of a stamp in ns, as 2026-01-31."""
    return datetime.fromtimestamp(ts // 1_000_000_000, UTC).strftime("%Y-%m-%d")
