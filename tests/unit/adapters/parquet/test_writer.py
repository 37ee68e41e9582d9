"""What the cold store's writer keeps, refuses, and says in its manifest."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from adapters.parquet.manifest import Channel, find_capture, list_captures
from adapters.parquet.reader import open_capture
from adapters.parquet.store import Store
from adapters.parquet.writer import CaptureWriter
from engine import events as ev
from engine.errors import ConfigError, DataError, RefusedError
from engine.instruments import UnknownSymbolError
from tests.support.captures import CHANNELS, START, TABLE, market_rows

ROWS = market_rows(400)


def read(store: Path | str, capture_id: str | None = None) -> np.ndarray:
    return np.concatenate([ev.empty(0), *open_capture(store, capture_id).batches()])


def write(store: Path, rows: np.ndarray, capture_id: str = "a", **options: object) -> None:
    with CaptureWriter(store, capture_id, TABLE, channels=CHANNELS, **options) as writer:  # type: ignore[arg-type]
        writer.append(rows)


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_what_was_appended_is_read_back_bit_for_bit(tmp_path: Path, step: int) -> None:
    with CaptureWriter(tmp_path, "a", TABLE, channels=CHANNELS) as writer:
        for at in range(0, len(ROWS), step):
            writer.append(ROWS[at : at + step])

    assert ROWS.tobytes() == read(tmp_path).tobytes()


def test_the_bytes_of_the_store_do_not_depend_on_the_batches(tmp_path: Path) -> None:
    for name, step in (("one", 1), ("all", 100_000)):
        with CaptureWriter(tmp_path / name, "a", TABLE, channels=CHANNELS) as writer:
            for at in range(0, len(ROWS), step):
                writer.append(ROWS[at : at + step])

    one, all_ = (Store(tmp_path / name) for name in ("one", "all"))
    assert one.find() == all_.find()
    assert all(one.read(path) == all_.read(path) for path in one.find())


def test_files_stand_in_hive_folders_by_channel_symbol_and_day(tmp_path: Path) -> None:
    write(tmp_path, ROWS, venue="kraken")

    paths = [each.path for each in find_capture(Store(tmp_path), "a").files]
    days = {path.split("/date=")[1].split("/")[0] for path in paths}
    assert "venue=kraken/channel=book/symbol=BTC-USD/date=2026-01-01/a.parquet" in paths
    assert "venue=kraken/channel=status/symbol=ALL/date=2026-01-01/a.parquet" in paths
    assert days == {"2026-01-01"}


def test_a_capture_over_midnight_has_a_file_for_each_day(tmp_path: Path) -> None:
    rows = market_rows(4000)
    write(tmp_path, rows)

    manifest = find_capture(Store(tmp_path), "a")
    midnight = 1_767_312_000_000_000_000
    assert {each.date for each in manifest.files} == {"2026-01-01", "2026-01-02"}
    for each in manifest.files:
        assert (each.ts_first >= midnight) == (each.date == "2026-01-02")
        assert (each.ts_last >= midnight) == (each.date == "2026-01-02")
    assert rows.tobytes() == read(tmp_path).tobytes()


def test_the_manifest_counts_what_the_events_hold(tmp_path: Path) -> None:
    write(tmp_path, ROWS, source="made up", clock="venue time", licence="CC0", notes=["a", "b"])

    manifest = find_capture(Store(tmp_path), None)
    book = ROWS[ROWS["kind"] == ev.BOOK_LEVEL]
    assert manifest.n_events == len(ROWS) == sum(each.rows for each in manifest.files)
    assert (manifest.seq_first, manifest.seq_last) == (0, len(ROWS) - 1)
    assert (manifest.ts_first, manifest.ts_last) == (START, int(ROWS["ts"][-1]))
    assert manifest.kinds["trade"] == int((ROWS["kind"] == ev.TRADE).sum())
    assert sum(each.verified for each in manifest.checksums) == int(
        ((book["flags"] & ev.VERIFIED) != 0).sum()
    )
    assert manifest.channels["book"].depths == dict.fromkeys(TABLE.symbols, 10)
    assert (manifest.source, manifest.clock, manifest.licence) == ("made up", "venue time", "CC0")
    assert manifest.notes == ("a", "b")
    assert manifest.ts_venue_known
    assert manifest.table().to_json() == TABLE.to_json()
    for each in manifest.files:
        part = read_file(tmp_path / each.path)
        assert (each.rows, each.seq_first, each.seq_last) == (len(part), part[0], part[-1])
        assert each.bytes == (tmp_path / each.path).stat().st_size


def read_file(path: Path) -> list[int]:
    return pq.read_table(path, partitioning=None)["seq"].to_pylist()  # type: ignore[no-any-return]


def test_the_digest_of_the_events_does_not_depend_on_how_they_are_stored(tmp_path: Path) -> None:
    write(tmp_path / "one", ROWS)
    write(tmp_path / "two", ROWS, row_group_rows=50, source="elsewhere")

    one, two = (find_capture(Store(tmp_path / name), "a") for name in ("one", "two"))
    assert one.events_sha256 == two.events_sha256
    assert one.digest != two.digest


def test_columns_are_encoded_as_documented(tmp_path: Path) -> None:
    write(tmp_path, ROWS, row_group_rows=100)

    metadata = pq.ParquetFile(
        tmp_path / "venue=kraken/channel=book/symbol=BTC-USD/date=2026-01-01/a.parquet"
    ).metadata
    assert metadata.row_group(0).num_rows == 100
    for i in range(metadata.num_columns):
        column = metadata.row_group(0).column(i)
        assert column.compression == "ZSTD"
        wide = column.path_in_schema in ("ts", "ts_venue", "seq", "price", "qty", "id", "aux")
        assert ("DELTA_BINARY_PACKED" in column.encodings) == wide
        assert column.has_dictionary_page != wide
    assert json.loads(metadata.metadata[b"kapitaalbot.instrument"])["symbol"] == "BTC/USD"
    assert metadata.metadata[b"kapitaalbot.event"] == b"1"


def test_an_empty_capture_is_a_capture(tmp_path: Path) -> None:
    write(tmp_path, ROWS[:0])

    capture = open_capture(tmp_path)
    assert (capture.n_events, capture.span) == (0, (0, 0))
    assert list(capture.batches()) == []


# --- refusals ------------------------------------------------------------------------------------


def broken(i: int, field: str, value: int) -> np.ndarray:
    rows = ROWS.copy()
    rows[field][i] = value
    return rows


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("ts", START - 1, "ts .* is before the event that precedes it"),
        ("ts", 1_767_311_990, "is not between 2001 and 2096 in nanoseconds"),
        ("seq", 3, "seq 3 .* does not come after"),
        ("qty", -5, "qty -5 of a book_level event .* is not a quantity"),
        ("price", 0, "price 0 of a book_level event .* is not a price"),
        ("sym", 3, "sym 3 .* is not a row of the instrument table"),
        ("kind", 77, "kind 77 .* is not a kind of event"),
        ("side", 0, "side 0 .* is not a side"),
    ],
)
def test_a_bad_row_is_refused_by_its_number_and_value(
    tmp_path: Path, field: str, value: int, words: str
) -> None:
    i = int(np.flatnonzero(ROWS["kind"] == ev.BOOK_LEVEL)[100])
    with pytest.raises(DataError, match=f"event {i} cannot be stored: .*{words}"):
        write(tmp_path, broken(i, field, value))

    assert Store(tmp_path).find() == []


def test_after_a_refusal_the_good_rows_can_still_be_stored(tmp_path: Path) -> None:
    with CaptureWriter(tmp_path, "a", TABLE, channels=CHANNELS) as writer:
        with pytest.raises(DataError):
            writer.append(broken(50, "seq", 0))
        writer.append(ROWS)

    assert ROWS.tobytes() == read(tmp_path).tobytes()


def test_rows_of_another_type_are_refused(tmp_path: Path) -> None:
    with (
        CaptureWriter(tmp_path, "a", TABLE) as writer,
        pytest.raises(DataError, match="only EVENT rows"),
    ):
        writer.append(np.zeros(3))


def test_a_book_without_a_declared_depth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no depth was declared"):  # noqa: SIM117
        with CaptureWriter(tmp_path, "a", TABLE, channels={"trade": 0}) as writer:
            writer.append(ROWS)


def test_an_unknown_channel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no channel 'depth'"):
        CaptureWriter(tmp_path, "a", TABLE, channels={"depth": 10})
    with pytest.raises(UnknownSymbolError):
        CaptureWriter(tmp_path, "a", TABLE, channels=[Channel(name="book", symbols=("XRP/USD",))])


@pytest.mark.parametrize("name", ["../a", "", "a/b", ".a", "a\0b", "a" * 101, "a..b", "a b"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a file name"):
        CaptureWriter(tmp_path, name, TABLE)
    with pytest.raises(ConfigError, match="cannot be a file name"):
        CaptureWriter(tmp_path, "a", TABLE, venue=name)


def test_a_capture_is_never_overwritten(tmp_path: Path) -> None:
    write(tmp_path, ROWS)

    with pytest.raises(RefusedError, match="already has a capture 'a'"):
        CaptureWriter(tmp_path, "a", TABLE)
    assert ROWS.tobytes() == read(tmp_path).tobytes()


@pytest.mark.parametrize("place", ["local", "memory"])
def test_two_writers_of_one_capture_are_refused(tmp_path: Path, place: str) -> None:
    store = str(tmp_path) if place == "local" else f"memory://two-writers{tmp_path}"
    with CaptureWriter(store, "a", TABLE, channels=CHANNELS) as writer:
        with pytest.raises(RefusedError, match="is being written"):
            CaptureWriter(store, "a", TABLE)
        writer.append(ROWS)
        with CaptureWriter(store, "b", TABLE, channels=CHANNELS) as other:
            other.append(ROWS[:50])

    assert ROWS.tobytes() == read(store, "a").tobytes()
    assert [each.capture_id for each in list_captures(store)] == ["a", "b"]


# --- time that runs backwards --------------------------------------------------------------------


def one_second_back(at: int, n: int) -> np.ndarray:
    """Rows whose stamps fall by a second at row `at`, for `n` rows."""
    rows = ROWS.copy()
    rows["ts"][at : at + n] -= 1_000_000_000
    return rows


@pytest.mark.parametrize("step", [1, 3, 50, 100_000])
def test_a_step_back_becomes_one_gap_and_no_row_is_lost(tmp_path: Path, step: int) -> None:
    closers = np.flatnonzero(ROWS["flags"] & ev.LAST)
    at = int(closers[60]) + 1
    given = one_second_back(at, 30)
    with CaptureWriter(
        tmp_path, "a", TABLE, channels=CHANNELS, assign_seq=True, on_backwards="gap"
    ) as writer:
        for i in range(0, len(given), step):
            writer.append(given[i : i + step])

    rows = read(tmp_path)
    gaps = rows[rows["kind"] == ev.GAP]
    ts_before = int(ROWS["ts"][at - 1])
    assert (gaps["id"].tolist(), gaps["ts"].tolist()) == ([ev.GAP_BACKWARDS], [ts_before])
    assert int(gaps["seq"][0]) == at
    kept = rows[rows["kind"] != ev.GAP]
    assert kept["ts"].tolist() == np.maximum.accumulate(given["ts"]).tolist()
    for field in ("ts_venue", "price", "qty", "sym", "flags"):
        assert kept[field].tolist() == ROWS[field].tolist()
    (gap,) = find_capture(Store(tmp_path), "a").gaps
    assert (gap.cause, gap.symbol, gap.seq, gap.ts_to) == ("backwards", "", at, ts_before)
    assert f"ts fell to {given['ts'][at]}" in gap.note


@pytest.mark.parametrize("step", [1, 100_000])
def test_a_gap_waits_for_the_end_of_an_open_message(tmp_path: Path, step: int) -> None:
    opens = np.flatnonzero((ROWS["flags"][:-1] & ev.LAST) == 0)
    at = int(opens[opens > 100][0]) + 1  # in the middle of a message
    given = one_second_back(at, 40)
    with CaptureWriter(
        tmp_path, "a", TABLE, channels=CHANNELS, assign_seq=True, on_backwards="gap"
    ) as writer:
        for i in range(0, len(given), step):
            writer.append(given[i : i + step])

    rows = read(tmp_path)
    (i_gap,) = np.flatnonzero(rows["kind"] == ev.GAP).tolist()
    assert i_gap > at
    assert rows["flags"][i_gap - 1] & ev.LAST
    assert len(rows) == len(given) + 1


def test_a_gap_that_never_found_the_end_of_its_message_comes_last(tmp_path: Path) -> None:
    opens = np.flatnonzero((ROWS["flags"][:-1] & ev.LAST) == 0)
    at = int(opens[-1]) + 1
    given = one_second_back(at, 1)[: at + 1].copy()
    given["flags"][-1] &= ~(ev.LAST | ev.CHECKSUM | ev.VERIFIED)
    given["aux"][-1] = 0
    with CaptureWriter(
        tmp_path, "a", TABLE, channels=CHANNELS, assign_seq=True, on_backwards="gap"
    ) as writer:
        writer.append(given)

    assert read(tmp_path)["kind"][-1] == ev.GAP


def test_gaps_need_numbers_of_their_own(tmp_path: Path) -> None:
    for options in ({"on_backwards": "gap"}, {"on_crossed": "gap"}):
        with pytest.raises(ValueError, match="assign_seq"):
            CaptureWriter(tmp_path, "a", TABLE, **options)  # type: ignore[arg-type]


# --- crossed books -------------------------------------------------------------------------------


def crossed() -> tuple[np.ndarray, int]:
    """Rows in which one book message lifts the bid above the best ask; its place."""
    ours = (ROWS["kind"] == ev.BOOK_LEVEL) & (ROWS["sym"] == 1)
    i = int(np.flatnonzero(ours & ((ROWS["flags"] & ev.SNAPSHOT) == 0))[5])
    rows = ROWS.copy()
    rows[i]["side"], rows[i]["price"], rows[i]["qty"] = ev.BUY, 11_000, 7
    last = int(
        np.flatnonzero((ROWS["flags"] & ev.LAST) != 0)[
            np.searchsorted(np.flatnonzero((ROWS["flags"] & ev.LAST) != 0), i)
        ]
    )
    return rows, last


def test_a_crossed_book_ends_the_capture(tmp_path: Path) -> None:
    rows, last = crossed()

    with pytest.raises(DataError, match=rf"ETH/USD book is crossed after event {last} .* 11000"):
        write(tmp_path, rows)
    assert Store(tmp_path).find() == []


def test_crossed_messages_can_be_counted(tmp_path: Path) -> None:
    rows, _ = crossed()
    write(tmp_path, rows, on_crossed="count")

    counts = {each.symbol: each.crossed for each in find_capture(Store(tmp_path), "a").checksums}
    assert counts["BTC/USD"] == 0
    assert counts["ETH/USD"] > 0
    assert rows.tobytes() == read(tmp_path).tobytes()


def test_a_crossed_book_can_become_a_gap(tmp_path: Path) -> None:
    rows, last = crossed()
    write(tmp_path, rows, on_crossed="gap", assign_seq=True)

    stored = read(tmp_path)
    (i_gap,) = np.flatnonzero(stored["kind"] == ev.GAP).tolist()
    assert i_gap == last + 1
    assert (stored["id"][i_gap], stored["sym"][i_gap]) == (ev.GAP_CROSSED, 1)
    assert len(stored) == len(rows) + 1
    (gap,) = find_capture(Store(tmp_path), "a").gaps
    assert (gap.cause, gap.symbol) == ("crossed", "ETH/USD")


# --- gaps, epochs, and ends ----------------------------------------------------------------------


def test_gaps_and_epochs_are_events_and_stand_in_the_manifest(tmp_path: Path) -> None:
    with CaptureWriter(tmp_path, "a", TABLE, channels=CHANNELS, assign_seq=True) as writer:
        writer.epoch(START, 1, ev.EPOCH_VALID)
        writer.append(ROWS)
        ts = int(ROWS["ts"][-1])
        writer.gap(ts + 5, ev.GAP_DISCONNECT, "BTC/USD", note="cable")
        writer.epoch(ts + 5, 1, ev.EPOCH_DEGRADED, verdict="one book of three unknown")

    manifest = find_capture(Store(tmp_path), "a")
    rows = read(tmp_path)
    assert rows["kind"][-2:].tolist() == [ev.GAP, ev.EPOCH]
    assert rows["aux"][-2] == ts
    (gap,) = manifest.gaps
    assert (gap.symbol, gap.ts_from, gap.ts_to) == ("BTC/USD", ts, ts + 5)
    assert (gap.cause, gap.note) == ("disconnect", "cable")
    assert [(each.status, each.verdict) for each in manifest.epochs] == [
        ("valid", ""),
        ("degraded", "one book of three unknown"),
    ]


def test_an_exception_inside_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with CaptureWriter(tmp_path, "a", TABLE, channels=CHANNELS, row_group_rows=20) as writer:
            writer.append(market_rows(4000))  # two days: files of the first are finished
            raise KeyError("elsewhere")

    with pytest.raises(KeyError):
        fail()
    assert Store(tmp_path).find() == []
    write(tmp_path, ROWS)
    assert ROWS.tobytes() == read(tmp_path).tobytes()


def test_nothing_is_visible_before_close(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path, "a", TABLE, channels=CHANNELS, row_group_rows=20)
    writer.append(market_rows(4000))

    with pytest.raises(DataError, match="holds no capture"):
        open_capture(tmp_path)
    writer.close()
    assert open_capture(tmp_path).n_events > 0


def test_a_closed_writer_takes_nothing(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path, "a", TABLE, channels=CHANNELS)
    writer.close()
    writer.abort()  # too late to drop anything

    with pytest.raises(RefusedError, match="is closed"):
        writer.append(ROWS)
    assert open_capture(tmp_path).n_events == 0


def test_a_capture_can_be_written_anywhere(tmp_path: Path) -> None:
    url = f"memory://store{tmp_path}"
    with CaptureWriter(url, "a", TABLE, channels=CHANNELS) as writer:
        writer.append(market_rows(4000))

    assert market_rows(4000).tobytes() == read(url).tobytes()
    names = fsspec.filesystem("memory").find(f"/store{tmp_path}")
    assert not [name for name in names if "/." in name]


def test_an_aborted_capture_elsewhere_leaves_nothing(tmp_path: Path) -> None:
    url = f"memory://aborted{tmp_path}"

    def fail() -> None:
        with CaptureWriter(url, "a", TABLE, channels=CHANNELS) as writer:
            writer.append(market_rows(4000))
            raise KeyError("elsewhere")

    with pytest.raises(KeyError):
        fail()
    assert fsspec.filesystem("memory").find(f"/aborted{tmp_path}") == []


def test_what_a_dead_writer_left_does_not_stop_the_next(tmp_path: Path) -> None:
    """A crash keeps temporary files and finished ones without a manifest; no reader sees them."""
    write(tmp_path, ROWS)
    manifest = tmp_path / "_manifests" / "a.json"
    manifest.unlink()
    data = find_files(tmp_path)[0]
    (data.parent / f".{data.name}.tmp").write_bytes(b"half a file")
    (tmp_path / "_manifests" / ".a.lock").write_text("pid 1\n")

    write(tmp_path, ROWS)

    assert ROWS.tobytes() == read(tmp_path).tobytes()
    assert not list(tmp_path.rglob(".*.tmp"))


def find_files(store: Path) -> list[Path]:
    return sorted(store.rglob("*.parquet"))


def test_a_quiet_symbol_does_not_hold_the_memory_of_a_busy_one(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path, "a", TABLE, channels=CHANNELS)
    for _ in range(3):
        writer.append(ev.empty(0))
    writer.append(ROWS)
    writer._route_pending()

    held = [part for lane in writer._lanes.values() for part in lane.held]
    assert all(part.base is None or part.base.nbytes <= 2 * part.nbytes for part in held)
    writer.abort()
