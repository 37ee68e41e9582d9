"""Can a store be believed? Every file, every row, every book; the first defect, named.

`check_store` reads what the manifests promise and compares: presence, size, hash, version, columns,
rows, order, bounds, whole messages, and with `deep` the books themselves: checksums as the capture
calls them, and no crossing that the manifest does not count. Left out: repairing anything.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adapters.parquet.level3 import Level3Book, is_level3
from adapters.parquet.manifest import (
    ChannelFacts,
    Checksums,
    DataFile,
    Manifest,
    capture_ids,
    channel_of_kind,
    find_capture,
    kind_names,
    read_manifest,
)
from adapters.parquet.reader import Capture, open_capture, open_parquet
from adapters.parquet.store import MANIFESTS, Store, need_store
from adapters.parquet.writer import tally_checksums, utc_date
from engine.errors import DataError
from engine.events import EVENT, KIND_NAMES, LAST, MESSAGE_END
from engine.flow.books import CHECKSUM_RIGHT, CHECKSUM_WRONG, CROSSED, follow_books, make_books
from engine.flow.merge import COLUMNS, words
from engine.flow.rules import (
    TS_MAX,
    TS_MIN,
    describe_broken_rule,
    first_broken_rule,
    first_torn_message,
)
from engine.instruments import InstrumentTable

_MESSAGES = ("book", "level3")  # the core acts on these when they are complete
AGAIN = "Restore it from a copy, or capture or import it again."


@dataclass(frozen=True)
class Defect:
    """The first thing that is wrong.

    place : the file or capture; row, seq : where in it, None where it is about the whole
    kind : one word for programs; text : what is wrong; hint : what to do
    """

    kind: str
    capture_id: str
    place: str
    text: str
    hint: str = AGAIN
    row: int | None = None
    seq: int | None = None

    def __str__(self) -> str:
        where = self.place if self.row is None else f"{self.place}, row {self.row}"
        if self.seq is not None:
            where += f", seq {self.seq}"
        return f"{where}: {self.text}. {self.hint}"


@dataclass(frozen=True)
class StoreReport:
    """What was checked, up to the first defect. `notes` are facts worth knowing, no defects."""

    url: str
    captures: tuple[str, ...]
    n_files: int
    n_events: int
    n_bytes: int
    n_verified: int
    n_failed: int
    n_absent: int
    n_crossed: int
    deep: bool
    notes: tuple[str, ...]
    defect: Defect | None

    @property
    def ok(self) -> bool:
        return self.defect is None

    def text(self) -> str:
        """A few sentences for people."""
        done = (
            f"{self.url}: {len(self.captures)} captures, {self.n_files} files, "
            f"{self.n_events} events checked"
        )
        if self.deep:
            done += (
                f"; books replayed, {self.n_verified} checksums right, {self.n_failed} messages "
                f"known to have failed, {self.n_absent} without one, {self.n_crossed} crossed"
            )
        verdict = "No defect." if self.defect is None else f"First defect: {self.defect}"
        return " ".join([done + ".", *self.notes, verdict])


class _Found(Exception):
    """Carries the first defect up."""

    def __init__(self, defect: Defect) -> None:
        super().__init__(str(defect))
        self.defect = defect


def check_store(
    url: str | Path,
    capture: str | None = None,
    deep: bool = True,
    progress: Callable[[str, int], None] | None = None,
) -> StoreReport:
    """Check all captures of a store, or one, and name the first defect.

    capture : as for `open_capture`; None for all
    deep : replay the books and compare their checksums too
    progress : called with (capture id, events done) now and then

    A defect is in the report, not an exception. Raises DataError where no store is, ConfigError
    for a capture that is not there.
    """
    store = Store(url)
    need_store(store)
    check = _Check(store, deep, progress or (lambda name, n: None))
    defect = None
    try:
        if capture is None:
            for each in capture_ids(store):
                check.capture(check.manifest(each))
            check.look_for_orphans()
        else:
            check.capture(find_capture(store, capture))
    except _Found as found:
        defect = found.defect
    return check.report(defect)


class _Check:
    """One pass over a store; counts what it saw."""

    def __init__(self, store: Store, deep: bool, progress: Callable[[str, int], None]) -> None:
        self._store, self._deep, self._progress = store, deep, progress
        self._captures: list[str] = []
        self._named: set[str] = set()
        self._notes: list[str] = []
        self._counts: Counter[str] = Counter()

    def report(self, defect: Defect | None) -> StoreReport:
        counts = self._counts
        return StoreReport(
            url=self._store.url,
            captures=tuple(self._captures),
            n_files=counts["files"],
            n_events=counts["events"],
            n_bytes=counts["bytes"],
            n_verified=counts["verified"],
            n_failed=counts["failed"],
            n_absent=counts["absent"],
            n_crossed=counts["crossed"],
            deep=self._deep,
            notes=tuple(self._notes),
            defect=defect,
        )

    def manifest(self, capture_id: str) -> Manifest:
        try:
            return read_manifest(self._store, capture_id)
        except DataError as error:
            place = self._store.full(f"{MANIFESTS}/{capture_id}.json")
            raise _Found(
                Defect("manifest", capture_id, place, error.message.rstrip("."))
            ) from error

    def look_for_orphans(self) -> None:
        """Files that no manifest names are what a crash leaves; they are never read."""
        orphans = [path for path in self._store.find() if path.endswith((".parquet", ".tmp"))]
        orphans = [path for path in orphans if path not in self._named]
        if orphans:
            self._notes.append(
                f"{len(orphans)} files are named by no manifest, {orphans[0]} the first: leftovers "
                "of a writer that died, which no reader looks at and which may be removed."
            )

    def capture(self, manifest: Manifest) -> None:
        self._captures.append(manifest.capture_id)
        self._named.update(each.path for each in manifest.files)
        if manifest.n_events == 0:
            self._notes.append(f"Capture {manifest.capture_id} is empty.")
        tables = manifest.table()
        tallies: dict[tuple[str, str], Counter[str]] = {}
        for file in manifest.files:
            self._bytes_of(manifest, file)
            tally = tallies.setdefault((file.channel, file.symbol), Counter())
            self._rows_of(manifest, tables, file, tally)
            self._counts["files"] += 1
            self._counts["bytes"] += file.bytes
        self._tallies(manifest, tallies)
        self._stream(manifest, tables)

    # --- one file ---

    def _bytes_of(self, manifest: Manifest, file: DataFile) -> None:
        place = self._store.full(file.path)
        size = self._store.size(file.path)
        if size is None:
            raise _Found(Defect("missing", manifest.capture_id, place, "the file is missing"))
        if size != file.bytes:
            text = f"the file has {size} bytes, the manifest says {file.bytes}: it is torn"
            raise _Found(Defect("size", manifest.capture_id, place, text))
        if self._store.sha256(file.path) != file.sha256:
            # What follows may say more than that a byte changed.
            detail = self._unreadable(file)
            text = "the file was altered: its sha256 is not the one in the manifest" + detail
            raise _Found(Defect("sha256", manifest.capture_id, place, text))

    def _unreadable(self, file: DataFile) -> str:
        try:
            with open_parquet(self._store, file) as parquet:
                for _ in parquet.iter_batches(65_536, use_threads=False):
                    pass
        except (DataError, OSError, ValueError) as error:
            return f" ({str(error).partition(chr(10))[0]})"
        return ""

    def _rows_of(
        self, manifest: Manifest, table: InstrumentTable, file: DataFile, tally: Counter[str]
    ) -> None:
        """Every row of a file: readable, in order, by the rules, and in the right place."""
        place = self._store.full(file.path)

        def found(
            kind: str, text: str, row: int | None = None, at: np.void | None = None
        ) -> _Found:
            seq = None if at is None else int(at["seq"])
            return _Found(Defect(kind, manifest.capture_id, place, text, row=row, seq=seq))

        n_read, ts, seq, last_flags = 0, file.ts_first, file.seq_first - 1, LAST
        try:
            for rows in self._raw_rows(file):
                i, rule = first_broken_rule(rows, len(table), ts, seq, TS_MIN, TS_MAX)
                if rule:
                    wrong, hint = describe_broken_rule(rule, rows[i])
                    raise _Found(
                        Defect(
                            "row",
                            manifest.capture_id,
                            place,
                            wrong,
                            hint,
                            n_read + i,
                            int(rows["seq"][i]),
                        )
                    )
                sym = table.index(file.symbol) if file.symbol else -1
                wanted = _KINDS_OF[file.channel]
                closes = np.where(rows["kind"] == MESSAGE_END, rows["id"], rows["kind"])
                astray = (rows["sym"] != sym) | ~wanted[closes]
                for i in np.flatnonzero(astray)[:1].tolist():
                    kind = KIND_NAMES[int(rows["kind"][i])]
                    text = (
                        f"a {kind} event of symbol row {int(rows['sym'][i])} does not belong here"
                    )
                    raise found("place", text, n_read + i, rows[i])
                for i in (0, len(rows) - 1):
                    date = utc_date(int(rows["ts"][i]))
                    if date != file.date:
                        text = f"an event of {date} does not belong here"
                        raise found("place", text, n_read + i, rows[i])
                if n_read == 0 and (int(rows["seq"][0]), int(rows["ts"][0])) != (
                    file.seq_first,
                    file.ts_first,
                ):
                    raise found("bounds", "it does not begin where the manifest says", 0, rows[0])
                tally.update(tally_checksums(rows))
                n_read += len(rows)
                ts, seq = int(rows["ts"][-1]), int(rows["seq"][-1])
                last_flags = int(rows["flags"][-1])
        except DataError as error:
            raise found("unreadable", error.message.rstrip(".")) from error
        if (seq, ts) != (file.seq_last, file.ts_last):
            raise found("bounds", "it does not end where the manifest says", n_read - 1)
        is_last = all(
            each.seq_first <= file.seq_first
            for each in manifest.files
            if (each.channel, each.symbol) == (file.channel, file.symbol)
        )
        if is_last and file.channel in _MESSAGES and not last_flags & LAST:
            raise found("open", "its last message is not closed by LAST", n_read - 1)

    def _raw_rows(self, file: DataFile) -> Iterator[np.ndarray]:
        with open_parquet(self._store, file) as parquet:
            batches = parquet.iter_batches(65_536, use_threads=False)
            while True:
                try:
                    batch = next(batches, None)
                    if batch is None:
                        return
                    rows = np.empty(batch.num_rows, EVENT)
                    for name, column in zip(COLUMNS, batch.columns, strict=True):
                        rows[name] = column.to_numpy(zero_copy_only=True)
                except (OSError, ValueError) as error:
                    reason = str(error).partition("\n")[0]
                    raise DataError(f"it cannot be decoded: {reason}.") from error
                yield rows

    def _tallies(self, manifest: Manifest, tallies: dict[tuple[str, str], Counter[str]]) -> None:
        for each in manifest.checksums:
            tally = tallies.get((each.channel, each.symbol), Counter())
            seen = Checksums(
                channel=each.channel, symbol=each.symbol, crossed=each.crossed, **tally
            )
            if seen != each:
                text = (
                    f"the {each.channel} channel of {each.symbol} has {dict(tally)} messages by "
                    "verdict, the manifest says otherwise"
                )
                raise _Found(Defect("verdicts", manifest.capture_id, self._place(manifest), text))
            self._counts["failed"] += each.failed
            self._counts["absent"] += each.absent

    def _place(self, manifest: Manifest) -> str:
        return f"{self._store.url}, capture {manifest.capture_id}"

    # --- the whole stream ---

    def _stream(self, manifest: Manifest, table: InstrumentTable) -> None:
        """All rows in order: the digest, whole messages, and the books."""
        capture = open_capture(self._store.url, manifest.capture_id)
        books = _Books(manifest, table) if self._deep else None
        digest = hashlib.sha256()
        kinds: Counter[int] = Counter()
        open_ = np.zeros(3, np.int64)
        n_read = 0
        try:
            for rows in capture.batches():
                digest.update(words(rows).data)
                kinds.update(dict(enumerate(np.bincount(rows["kind"]).tolist())))
                i = first_torn_message(rows, open_)
                if i < len(rows):
                    symbol = table[int(open_[1])].symbol
                    raise self._at(
                        capture, "torn", rows[i], f"it stands inside an open message of {symbol}"
                    )
                if books is not None:
                    for row, kind, text in books.follow(rows):
                        raise self._at(capture, kind, row, text)
                n_read += len(rows)
                self._counts["events"] += len(rows)
                self._progress(manifest.capture_id, n_read)
        except DataError as error:
            raise _Found(
                Defect("unreadable", manifest.capture_id, self._place(manifest), error.message)
            ) from error
        counted = kind_names({kind: n for kind, n in kinds.items() if n})
        if (n_read, counted) != (manifest.n_events, manifest.kinds):
            text = f"it holds {n_read} events, the manifest says {manifest.n_events} ({counted})"
            raise _Found(Defect("count", manifest.capture_id, self._place(manifest), text))
        if digest.hexdigest() != manifest.events_sha256:
            text = "its events are not those that were captured: their digest differs"
            raise _Found(Defect("events", manifest.capture_id, self._place(manifest), text))
        if books is not None:
            self._counts["verified"] += books.n_verified
            self._counts["crossed"] += books.n_crossed
            if books.note:
                self._notes.append(f"Capture {manifest.capture_id}: {books.note}")

    def _at(self, capture: Capture, kind: str, row: np.void, text: str) -> _Found:
        """A defect at one event: the file and the row in it that hold the event."""
        seq = int(row["seq"])
        closes = int(row["id"]) if row["kind"] == MESSAGE_END else int(row["kind"])
        channel = channel_of_kind(closes)
        symbol = "" if row["sym"] < 0 else capture.instruments[int(row["sym"])].symbol
        for file in capture.files:
            mine = (file.channel, file.symbol) == (channel, symbol)
            if mine and file.seq_first <= seq <= file.seq_last:
                before = 0
                for rows in self._raw_rows(file):
                    before += int((rows["seq"] < seq).sum())
                place = self._store.full(file.path)
                name = capture.manifest.capture_id
                return _Found(Defect(kind, name, place, text, row=before, seq=seq))
        return _Found(Defect(kind, capture.manifest.capture_id, self._store.url, text, seq=seq))


class _Books:
    """The books of one capture, price levels and single orders."""

    def __init__(self, manifest: Manifest, table: InstrumentTable) -> None:
        self._table = table
        nothing = ChannelFacts(depths={})
        depths = manifest.channels.get("book", nothing).depths
        self._books = make_books(table, depths)
        self._has_books = bool(depths)
        self._level3 = {
            table.index(symbol): Level3Book(table[symbol], depth)
            for symbol, depth in manifest.channels.get("level3", nothing).depths.items()
        }
        self._crossed_left = {
            table.index(each.symbol): each.crossed
            for each in manifest.checksums
            if each.channel == "book"
        }
        self._n_stated = sum(each.verified for each in manifest.checksums)
        self.n_verified = self._n_stated
        self.n_crossed = 0

    @property
    def note(self) -> str:
        n_unknown = sum(book.n_unknown for book in self._level3.values())
        if not n_unknown:
            return ""
        return f"{n_unknown} changes of level 3 orders that were not in the book."

    def follow(self, rows: np.ndarray) -> Iterator[tuple[np.void, str, str]]:
        """Apply rows; yield (row, kind, text) of what does not hold together."""
        i = -1
        while self._has_books:
            i, finding, expected, found = follow_books(self._books, rows, i + 1, True)
            if i == len(rows):
                break
            sym = int(rows["sym"][i])
            symbol = self._table[sym].symbol
            if finding == CROSSED:
                self.n_crossed += 1
                self._crossed_left[sym] = self._crossed_left.get(sym, 0) - 1
                if self._crossed_left[sym] < 0:
                    yield (
                        rows[i],
                        "crossed",
                        f"it leaves the {symbol} book crossed: best bid {found} ticks, best ask "
                        f"{expected}",
                    )
            elif finding == CHECKSUM_WRONG:
                text = f"the {symbol} checksum is {expected}, the book gives {found}"
                yield rows[i], "checksum", text
            elif finding == CHECKSUM_RIGHT:
                text = f"the {symbol} checksum {expected} is called failed, but the book gives it"
                yield rows[i], "checksum", text
        if self._level3:
            yield from self._follow_level3(rows)

    def _follow_level3(self, rows: np.ndarray) -> Iterator[tuple[np.void, str, str]]:
        closes = np.where(rows["kind"] == MESSAGE_END, rows["id"], rows["kind"])
        for row in rows[_KINDS_OF["level3"][closes]]:
            book = self._level3.get(int(row["sym"]))
            wrong = book.apply(row) if book is not None and is_level3(row) else ""
            if wrong:
                kind = "crossed" if "crossed" in wrong else "checksum"
                yield row, kind, f"{self._table[int(row['sym'])].symbol} level 3: {wrong}"


def _kinds_of_channels() -> dict[str, np.ndarray]:
    masks: dict[str, np.ndarray] = {}
    for kind in KIND_NAMES:
        channel = channel_of_kind(kind)
        masks.setdefault(channel, np.zeros(128, np.bool_))[kind] = True
    return masks


_KINDS_OF = _kinds_of_channels()
