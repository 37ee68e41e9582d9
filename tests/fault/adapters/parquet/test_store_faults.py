"""A store on a failing disk, with torn, altered, missing and foreign files."""

from __future__ import annotations

import errno
import json
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.parquet.manifest import parse_manifest
from adapters.parquet.reader import open_capture
from adapters.parquet.store import Store
from adapters.parquet.writer import CaptureWriter
from engine import events as ev
from engine.errors import DataError, StorageError
from engine.events import arrow_schema
from tests.fault.disk import FaultyFiles
from tests.support.captures import CHANNELS, TABLE, Market, market_rows

ROWS = market_rows(2500)  # two days
BOOK = "venue=kraken/channel=book/symbol=ETH-USD/date=2026-01-01/a.parquet"


def write(store: Path, **options: object) -> None:
    with CaptureWriter(store, "a", TABLE, channels=CHANNELS, **options) as writer:  # type: ignore[arg-type]
        for at in range(0, len(ROWS), 500):
            writer.append(ROWS[at : at + 500])


def read(store: Path, verify: bool = False) -> np.ndarray:
    return np.concatenate([ev.empty(0), *open_capture(store, verify=verify).batches()])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write(tmp_path / "store", row_group_rows=400)
    return tmp_path / "store"


# --- files that are not what they were -----------------------------------------------------------


def test_a_missing_file_is_named(store: Path) -> None:
    (store / BOOK).unlink()

    with pytest.raises(DataError, match=r"ETH-USD.*refused: it is missing"):
        read(store)


@pytest.mark.parametrize("size", [0, 1, 4, 100, 1000, -8, -4, -1])
def test_a_torn_file_is_named(store: Path, size: int) -> None:
    data = (store / BOOK).read_bytes()
    (store / BOOK).write_bytes(data[:size])

    with pytest.raises(DataError, match=r"ETH-USD.*refused: it has \d+ bytes, the manifest says"):
        read(store)


def test_a_torn_file_that_kept_its_size_is_named(store: Path) -> None:
    data = (store / BOOK).read_bytes()
    for size in range(0, len(data), len(data) // 40):
        (store / BOOK).write_bytes(data[:size] + bytes(len(data) - size))
        with pytest.raises(DataError, match=r"ETH-USD.*refused"):
            read(store)


def flips(store: Path, step: int) -> None:
    """Flip bits of a data file: it is refused, or what is read is the same; never other events."""
    path = store / BOOK
    data = path.read_bytes()
    n_refused = n_harmless = 0
    for i_bit in range(0, 8 * len(data), step):
        altered = bytearray(data)
        altered[i_bit // 8] ^= 1 << (i_bit % 8)
        path.write_bytes(altered)
        try:
            assert ROWS.tobytes() == read(store).tobytes(), f"bit {i_bit}"
            n_harmless += 1  # of the footer's statistics or of a name
        except DataError:
            n_refused += 1
        with pytest.raises(DataError, match="sha256"):
            read(store, verify=True)
    path.write_bytes(data)
    assert n_refused > n_harmless


def test_a_flipped_bit_is_refused_or_harmless(store: Path) -> None:
    flips(store, step=4999)


@pytest.mark.long
def test_many_flipped_bits_are_refused_or_harmless(store: Path) -> None:
    flips(store, step=97)


def replace(store: Path, table: pa.Table) -> None:
    """Put another table in place of a data file, and let the manifest agree in size and rows."""
    pq.write_table(table, store / BOOK)
    path = store / "_manifests" / "a.json"
    manifest = json.loads(path.read_bytes())
    for each in manifest["files"]:
        if each["path"] == BOOK:
            each["bytes"], each["rows"] = (store / BOOK).stat().st_size, table.num_rows
    reseal(path, manifest)


def reseal(path: Path, fields: dict[str, object]) -> None:
    """Write a manifest whose digest is right: only what it says is wrong."""
    import msgspec

    from adapters.parquet.manifest import Manifest

    path.write_bytes(msgspec.convert(fields, Manifest).sealed().to_json())


def table_of(store: Path) -> pa.Table:
    return pq.read_table(store / BOOK, partitioning=None)


def test_another_schema_version_is_refused_by_its_number(store: Path) -> None:
    metadata = {**arrow_schema().metadata, b"kapitaalbot.event": b"2"}
    replace(store, table_of(store).replace_schema_metadata(metadata))

    with pytest.raises(DataError, match="schema version 2, this program reads 1"):
        read(store)


def test_foreign_columns_are_refused(store: Path) -> None:
    table = table_of(store)
    metadata = table.schema.metadata
    floats = table.set_column(3, "price", table["price"].cast(pa.float64()))
    strings = table.set_column(3, "price", table["price"].cast(pa.string()))
    for foreign in (
        floats,
        strings,
        table.drop_columns(["aux"]),
        table.append_column("x", table["ts"]),
    ):
        replace(store, foreign.replace_schema_metadata(metadata))
        with pytest.raises(DataError, match="columns are not those of an event"):
            read(store)


def test_empty_values_are_refused(store: Path) -> None:
    table = table_of(store)
    values = table["price"].to_pylist()
    values[5] = None
    schema = table.schema.set(3, pa.field("price", pa.int64(), nullable=True))
    columns = [table[i] if i != 3 else pa.chunked_array([values], pa.int64()) for i in range(11)]
    replace(store, pa.Table.from_arrays(columns, schema=schema))

    with pytest.raises(DataError, match="refused"):
        read(store)


@pytest.mark.parametrize(("field", "value"), [("seq", 5), ("ts", 1)])
def test_rows_out_of_order_are_refused_by_number(store: Path, field: str, value: int) -> None:
    table = table_of(store)
    column = table[field].to_numpy().copy()
    column[30] = value
    i = table.schema.get_field_index(field)
    replace(store, table.set_column(i, table.schema.field(i), pa.array(column)))

    with pytest.raises(DataError, match="its row 30 is out of order"):
        read(store)


def test_rows_beyond_the_bounds_of_the_manifest_are_refused(store: Path) -> None:
    table = table_of(store)
    seq = table["seq"].to_numpy().copy()
    seq[-1] += 10_000_000
    i = table.schema.get_field_index("seq")
    replace(store, table.set_column(i, table.schema.field(i), pa.array(seq)))

    with pytest.raises(DataError, match="beyond the bounds in the manifest"):
        read(store)


def test_an_orphan_is_not_read(store: Path) -> None:
    shutil.copy(store / BOOK, (store / BOOK).with_name("orphan.parquet"))
    (store / BOOK).with_name(".b.parquet.tmp").write_bytes(b"half")

    assert ROWS.tobytes() == read(store).tobytes()


# --- manifests -------------------------------------------------------------------------------------


def test_a_manifest_cut_at_any_byte_is_refused(store: Path) -> None:
    data = (store / "_manifests" / "a.json").read_bytes().rstrip()
    for size in range(0, len(data), 13):
        with pytest.raises(DataError):
            parse_manifest(data[:size], "a.json")


def test_a_manifest_with_a_flipped_bit_is_refused_or_the_same(store: Path) -> None:
    data = (store / "_manifests" / "a.json").read_bytes()
    whole = parse_manifest(data, "a.json")
    for i_bit in range(0, 8 * len(data), 101):
        altered = bytearray(data)
        altered[i_bit // 8] ^= 1 << (i_bit % 8)
        try:
            assert parse_manifest(bytes(altered), "a.json") == whole  # white space
        except DataError:
            continue


@pytest.mark.parametrize("key", ["schema_version", "manifest_version"])
@pytest.mark.parametrize("version", [0, 2, 999])
def test_another_version_of_a_manifest_is_refused_by_its_number(
    store: Path, key: str, version: int
) -> None:
    path = store / "_manifests" / "a.json"
    fields = json.loads(path.read_bytes())
    fields[key] = version
    fields["added_later"] = True
    path.write_text(json.dumps(fields))

    with pytest.raises(DataError, match=rf"{key.replace('_', ' ')} {version}\b"):
        read(store)


def test_a_renamed_manifest_is_refused(store: Path) -> None:
    (store / "_manifests" / "a.json").rename(store / "_manifests" / "b.json")

    with pytest.raises(DataError, match="is the manifest of capture 'a'"):
        read(store)


# --- failing disks -----------------------------------------------------------------------------------


def operations_fail_once(place: Path, rows: np.ndarray, error: int, step: int) -> int:
    """Write with the n-th operation failing, for each `step`-th n. Returns how many there are."""
    n = 0
    while True:
        files = FaultyFiles(fail_at=n, error=error)
        store = place / str(n)
        try:
            with CaptureWriter(store, "a", TABLE, channels=CHANNELS, files=files) as writer:
                for at in range(0, len(rows), 500):
                    writer.append(rows[at : at + 500])
        except StorageError:
            assert files.n_failed == 1
            assert [path for path in Store(store).find() if not path.endswith(".lock")] == []
        else:
            assert files.n_failed == 0
            assert rows.tobytes() == read(store).tobytes()
            return n
        n += step


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_failure_of_any_operation_is_said_and_leaves_nothing(tmp_path: Path, error: int) -> None:
    rows = Market(1, ("BTC/USD",)).draw(30)
    assert operations_fail_once(tmp_path, rows, error, step=11) > 100


@pytest.mark.long
def test_a_failure_of_any_operation_of_two_days_leaves_nothing(tmp_path: Path) -> None:
    assert operations_fail_once(tmp_path, ROWS, errno.ENOSPC, step=1) > 100


def test_the_place_can_be_used_again_when_the_disk_works(tmp_path: Path) -> None:
    for n in range(0, 100, 17):
        with pytest.raises(StorageError):
            write(tmp_path, files=FaultyFiles(fail_at=n))
    write(tmp_path)

    assert ROWS.tobytes() == read(tmp_path).tobytes()


def test_a_full_disk_leaves_what_was_there_before(store: Path) -> None:
    """A real limit of the operating system, not a simulated one."""
    before = Store(store).find()
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with (
            pytest.raises(StorageError, match=r"cannot write .*File too large"),
            CaptureWriter(store, "b", TABLE, channels=CHANNELS, row_group_rows=400) as writer,
        ):
            writer.append(ROWS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)

    assert before == Store(store).find()
    assert ROWS.tobytes() == read(store).tobytes()


def test_a_disk_that_stays_full_leaves_only_what_no_reader_sees(tmp_path: Path) -> None:
    for n in range(0, 60, 7):
        files = FaultyFiles(fail_at=n, for_ever=True)
        place = tmp_path / str(n)
        with pytest.raises(StorageError):
            write(place, files=files)
        with pytest.raises(DataError):
            open_capture(place)
