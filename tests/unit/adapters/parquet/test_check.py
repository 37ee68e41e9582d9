"""The check of a store finds each kind of defect, and names the first one exactly."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.parquet.check import Defect, check_store
from adapters.parquet.manifest import Manifest
from adapters.parquet.store import Store
from adapters.parquet.writer import CaptureWriter
from engine import events as ev
from engine.errors import DataError
from tests.support.captures import CHANNELS, TABLE, Market, market_rows

ROWS = market_rows(1500)
BOOK = "venue=kraken/channel=book/symbol=ETH-USD/date=2026-01-01/a.parquet"


def write(store: Path, rows: np.ndarray = ROWS, **options: Any) -> None:
    with CaptureWriter(store, "a", TABLE, channels=CHANNELS, **options) as writer:
        writer.append(rows)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write(tmp_path / "store", row_group_rows=400)
    return tmp_path / "store"


def defect(store: Path, deep: bool = True) -> Defect:
    report = check_store(store, deep=deep)
    assert report.defect is not None
    assert str(report.defect) in report.text()
    return report.defect


def reseal(store: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what a manifest says and let its digest be right."""
    path = store / "_manifests" / "a.json"
    fields = json.loads(path.read_bytes())
    change(fields)
    path.write_bytes(msgspec.convert(fields, Manifest).sealed().to_json())


def change_file(store: Path, change: Callable[[np.ndarray], None], path: str = BOOK) -> None:
    """Change rows of a data file; manifest and hash agree with the new bytes."""
    table = pq.read_table(store / path, partitioning=None)
    rows = np.zeros(table.num_rows, ev.EVENT)
    for name in table.column_names:
        rows[name] = table[name].to_numpy()
    change(rows)
    columns = [pa.array(np.ascontiguousarray(rows[name])) for name in table.column_names]
    pq.write_table(pa.Table.from_arrays(columns, schema=table.schema), store / path)

    def agree(fields: dict[str, Any]) -> None:
        for each in fields["files"]:
            if each["path"] == path:
                each["bytes"] = (store / path).stat().st_size
                each["sha256"] = Store(store).sha256(path)

    reseal(store, agree)


def test_a_good_store_has_no_defect(store: Path) -> None:
    with CaptureWriter(store, "b", TABLE, channels=CHANNELS) as writer:
        writer.append(ROWS[:300])
    seen: list[tuple[str, int]] = []

    report = check_store(store, progress=lambda name, n: seen.append((name, n)))

    book = ROWS[ROWS["kind"] == ev.BOOK_LEVEL]
    n_verified = int(((book["flags"] & ev.VERIFIED) != 0).sum())
    assert report.ok
    assert report.captures == ("a", "b")
    assert report.n_events == len(ROWS) + 300
    assert report.n_verified >= n_verified
    assert (report.n_failed, report.n_absent, report.n_crossed) == (0, 0, 0)
    assert "No defect." in report.text()
    assert seen[-1] == ("b", 300)
    assert check_store(store, "b").n_events == 300


@pytest.mark.parametrize("deep", [True, False])
def test_an_empty_capture_is_a_note(tmp_path: Path, deep: bool) -> None:
    write(tmp_path, ROWS[:0])

    report = check_store(tmp_path, deep=deep)
    assert report.ok
    assert report.notes == ("Capture a is empty.",)


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a cold store"):
        check_store(tmp_path)


def test_a_missing_file(store: Path) -> None:
    (store / BOOK).unlink()

    found = defect(store)
    assert (found.kind, found.place, found.capture_id) == ("missing", str(store / BOOK), "a")


def test_a_torn_file(store: Path) -> None:
    data = (store / BOOK).read_bytes()
    (store / BOOK).write_bytes(data[:-100])

    found = defect(store)
    assert (found.kind, found.place) == ("size", str(store / BOOK))
    assert f"{len(data) - 100} bytes, the manifest says {len(data)}" in found.text


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.99])
def test_an_altered_byte(store: Path, share: float) -> None:
    data = bytearray((store / BOOK).read_bytes())
    data[int(len(data) * share)] ^= 16
    (store / BOOK).write_bytes(data)

    found = defect(store)
    assert (found.kind, found.place) == ("sha256", str(store / BOOK))


def test_an_altered_manifest(store: Path) -> None:
    path = store / "_manifests" / "a.json"
    path.write_bytes(path.read_bytes().replace(b'"n_events": ', b'"n_events": 1'))

    found = defect(store)
    assert (found.kind, found.place) == ("manifest", str(path))
    assert "altered" in found.text


def test_another_version(store: Path) -> None:
    path = store / "_manifests" / "a.json"
    path.write_bytes(path.read_bytes().replace(b'"schema_version": 1', b'"schema_version": 7'))

    assert "schema version 7" in defect(store).text


def test_an_unknown_symbol(store: Path) -> None:
    def rename(fields: dict[str, Any]) -> None:
        for each in fields["files"]:
            if each["symbol"] == "ETH/USD":
                each["symbol"] = "XRP/USD"

    reseal(store, rename)

    found = defect(store)
    assert found.kind == "manifest"
    assert "XRP/USD" in found.text


ROW_DEFECTS = [
    ("ts", lambda rows: rows["ts"].__setitem__(30, rows["ts"][29] - 1), "row", "before the event"),
    (
        "seq",
        lambda rows: rows["seq"].__setitem__(30, rows["seq"][29]),
        "row",
        "does not come after",
    ),
    ("qty", lambda rows: rows["qty"].__setitem__(30, -3), "row", "qty -3 of a book_level"),
    ("price", lambda rows: rows["price"].__setitem__(30, 0), "row", "price 0"),
    ("kind", lambda rows: rows["kind"].__setitem__(30, 99), "row", "kind 99"),
    ("sym", lambda rows: rows["sym"].__setitem__(30, 9), "row", "sym 9"),
    ("sym", lambda rows: rows["sym"].__setitem__(30, 2), "place", "symbol row 2 does not belong"),
    ("kind", lambda rows: rows["kind"].__setitem__(30, ev.TRADE), "place", "trade event"),
]


@pytest.mark.parametrize(("field", "change", "kind", "words"), ROW_DEFECTS)
def test_a_row_that_may_not_stand(
    store: Path, field: str, change: Callable[[np.ndarray], None], kind: str, words: str
) -> None:
    change_file(store, change)

    found = defect(store, deep=False)
    assert (found.kind, found.place, found.row) == (kind, str(store / BOOK), 30)
    assert words in found.text


def test_a_day_that_is_not_the_one_of_its_folder(store: Path) -> None:
    def another_day(fields: dict[str, Any]) -> None:
        for each in fields["files"]:
            new = each["path"].replace("2026-01-01", "2026-01-03")
            (store / new).parent.mkdir(parents=True)
            (store / each["path"]).rename(store / new)
            each["date"], each["path"] = "2026-01-03", new

    reseal(store, another_day)
    found = defect(store)
    assert (found.kind, found.row) == ("place", 0)
    assert "an event of 2026-01-01 does not belong here" in found.text


@pytest.mark.parametrize("path", ["/etc/passwd", "../a.parquet", "venue=kraken/../../a.parquet"])
def test_a_path_that_leads_out_of_the_store(store: Path, path: str) -> None:
    reseal(store, lambda fields: fields["files"][0].__setitem__("path", path))

    found = defect(store)
    assert found.kind == "manifest"
    assert f"names the file {path}" in found.text


@pytest.mark.parametrize("field", ["seq_last", "ts_last", "seq_first", "ts_first", "rows"])
def test_bounds_that_are_not_those_of_the_rows(store: Path, field: str) -> None:
    def change(fields: dict[str, Any]) -> None:
        for each in fields["files"]:
            if each["path"] == BOOK:
                each[field] += 1 if field in ("seq_last", "ts_last", "rows") else -1

    reseal(store, change)
    found = defect(store, deep=False)
    assert found.kind in ("bounds", "unreadable")
    assert found.place == str(store / BOOK)


def test_a_last_message_that_is_not_closed(tmp_path: Path) -> None:
    i = int(np.flatnonzero((ROWS["kind"] == ev.BOOK_LEVEL) & ((ROWS["flags"] & 1) == 0))[-1])
    write(tmp_path, ROWS[: i + 1])

    found = defect(tmp_path)
    assert (found.kind, found.seq) == ("open", None)
    assert found.row is not None


def test_a_message_inside_another(tmp_path: Path) -> None:
    i = int(np.flatnonzero((ROWS["kind"] == ev.BOOK_LEVEL) & ((ROWS["flags"] & 1) == 0))[70])
    trade = ROWS[ROWS["kind"] == ev.TRADE][:1].copy()
    trade["ts"] = ROWS["ts"][i]
    write(tmp_path, np.insert(ROWS, i + 1, trade), assign_seq=True)

    found = defect(tmp_path, deep=False)
    assert (found.kind, found.seq) == ("torn", i + 1)
    assert "inside an open message" in found.text


def test_counts_that_differ(store: Path) -> None:
    reseal(store, lambda fields: fields.__setitem__("n_events", 3))
    found = defect(store, deep=False)
    assert found.kind == "count"
    assert f"holds {len(ROWS)} events, the manifest says 3" in found.text


def test_events_that_are_not_those_that_were_captured(store: Path) -> None:
    """Well-formed rows, consistent hashes: only the digest over all events tells."""
    trade = "venue=kraken/channel=trade/symbol=ETH-USD/date=2026-01-01/a.parquet"
    change_file(store, lambda rows: rows["qty"].__setitem__(3, 12345), trade)

    found = defect(store, deep=False)
    assert found.kind == "events"


def test_verdicts_that_are_not_those_of_the_rows(store: Path) -> None:
    reseal(store, lambda fields: fields["checksums"][1].__setitem__("verified", 5))
    assert defect(store, deep=False).kind == "verdicts"


def nth_closer(n: int) -> int:
    """Row that closes the n-th book message of ETH/USD."""
    mine = (ROWS["kind"] == ev.BOOK_LEVEL) & (ROWS["sym"] == 1) & ((ROWS["flags"] & ev.LAST) != 0)
    return int(np.flatnonzero(mine)[n])


def row_in_file(i: int) -> int:
    """Row of the event within the file of its channel and symbol."""
    return int(((ROWS["kind"] == ev.BOOK_LEVEL) & (ROWS["sym"] == 1))[:i].sum())


def test_a_checksum_that_the_book_does_not_give(tmp_path: Path) -> None:
    i = nth_closer(40)
    rows = ROWS.copy()
    rows["aux"][i] ^= 1
    write(tmp_path, rows)

    assert check_store(tmp_path, deep=False).ok
    found = defect(tmp_path)
    assert (found.kind, found.place) == ("checksum", str(tmp_path / BOOK))
    assert (found.seq, found.row) == (i, row_in_file(i))
    assert f"ETH/USD checksum is {rows['aux'][i]}, the book gives {ROWS['aux'][i]}" in found.text


def test_a_failure_that_is_none(tmp_path: Path) -> None:
    i = nth_closer(40)
    rows = ROWS.copy()
    rows["flags"][i] ^= ev.VERIFIED | ev.FAILED
    write(tmp_path, rows)

    found = defect(tmp_path)
    assert (found.kind, found.seq) == ("checksum", i)
    assert "is called failed, but the book gives it" in found.text


def test_a_checksum_that_failed_at_capture_is_no_defect(tmp_path: Path) -> None:
    i = nth_closer(40)
    rows = ROWS.copy()
    rows["aux"][i] ^= 1
    rows["flags"][i] ^= ev.VERIFIED | ev.FAILED
    write(tmp_path, rows)

    report = check_store(tmp_path)
    assert (report.ok, report.n_failed) == (True, 1)


def crossed_rows() -> tuple[np.ndarray, int]:
    """A message that lifts the bid over the ask, with no checksum; its closing row."""
    i = nth_closer(40)
    rows = ROWS[: i + 1].copy()
    rows[i]["side"], rows[i]["price"], rows[i]["qty"] = ev.BUY, 11_000, 7
    rows[i]["flags"], rows[i]["aux"] = ev.LAST, 0
    return rows, i


def test_a_crossed_book(tmp_path: Path) -> None:
    rows, i = crossed_rows()
    write(tmp_path, rows, on_crossed="count")

    report = check_store(tmp_path)
    assert (report.ok, report.n_crossed) == (True, 1)

    reseal(tmp_path, lambda fields: fields["checksums"][1].__setitem__("crossed", 0))
    found = defect(tmp_path)
    assert (found.kind, found.seq, found.row) == ("crossed", i, row_in_file(i))
    assert "best bid 11000 ticks" in found.text


def test_a_crossed_book_after_a_gap_is_no_defect(tmp_path: Path) -> None:
    rows, _ = crossed_rows()
    gap = ev.empty(1)
    gap["kind"], gap["id"], gap["flags"], gap["sym"] = ev.GAP, ev.GAP_SOURCE, ev.LAST, 1
    start = nth_closer(39) + 1
    gap["ts"] = rows["ts"][start - 1]
    write(tmp_path, np.insert(rows, start, gap), assign_seq=True)

    assert check_store(tmp_path).ok


def test_leftovers_of_a_crash_are_noted_not_read(store: Path) -> None:
    shutil.copy(store / BOOK, (store / BOOK).with_name("orphan.parquet"))
    (store / BOOK).with_name(".b.parquet.tmp").write_bytes(b"half")

    report = check_store(store)
    assert report.ok
    assert "2 files are named by no manifest" in report.notes[0]


def test_a_store_elsewhere_is_checked_too(tmp_path: Path) -> None:
    url = f"memory://checked{tmp_path}"
    with CaptureWriter(url, "a", TABLE, channels=CHANNELS) as writer:
        writer.append(Market(2).draw(200))

    assert check_store(url).ok


def test_a_fact_of_one_record_needs_no_last(tmp_path: Path) -> None:
    """Only books wait for the end of a message."""
    rows = ROWS.copy()
    rows["flags"][(rows["kind"] == ev.INSTRUMENT) | (rows["kind"] == ev.CONNECTION_UP)] = 0
    write(tmp_path, rows)

    assert check_store(tmp_path).ok
