"""A table of records: written as it comes, whole or not there."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.parquet.tables import TableWriter, read_table, table_schema
from engine.errors import ConfigError, DataError, RefusedError, StorageError
from tests.fault.disk import FaultyFiles

ROW = np.dtype(
    [("ts", "<i8"), ("edge", "<f8"), ("sym", "<i2"), ("flag", "i1"), ("levels", "<f8", (3,))]
)


def rows(n: int) -> np.ndarray:
    out = np.zeros(n, ROW)
    out["ts"] = np.arange(n)
    out["edge"] = np.arange(n) / 7
    out["edge"][::3] = np.nan
    out["sym"] = np.arange(n) % 5 - 1
    out["levels"] = np.arange(3 * n).reshape(n, 3)
    return out


def test_rows_come_back_bit_for_bit(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path, "fills", ROW)
    for part in np.array_split(rows(1000), 7):
        writer.append(part)
    assert not list(tmp_path.glob("*.parquet"))

    path = writer.close()

    assert path == str(tmp_path / "fills.parquet")
    assert rows(1000).tobytes() == read_table(path)[0].tobytes()
    assert [each.name for each in tmp_path.iterdir()] == ["fills.parquet"]


def test_the_caller_may_reuse_its_array(tmp_path: Path) -> None:
    ring = rows(10)
    with TableWriter(tmp_path, "a", ROW) as writer:
        writer.append(ring)
        ring["ts"] = -1

    assert read_table(tmp_path / "a.parquet")[0]["ts"].tolist() == list(range(10))


def test_the_bytes_do_not_depend_on_the_batches(tmp_path: Path) -> None:
    for name, step in (("one", 1), ("all", 10_000)):
        with TableWriter(tmp_path / name, "t", ROW) as writer:
            for at in range(0, 3000, step):
                writer.append(rows(3000)[at : at + step])

    one, all_ = ((tmp_path / name / "t.parquet").read_bytes() for name in ("one", "all"))
    assert one == all_


def test_rows_are_grouped_so_that_memory_is_bounded(tmp_path: Path) -> None:
    wide = np.dtype([("values", "<f8", (4096,))])  # 32 KiB a row
    with TableWriter(tmp_path, "wide", wide) as writer:
        for _ in range(3):
            writer.append(np.zeros(1000, wide))

    assert pq.ParquetFile(tmp_path / "wide.parquet").metadata.num_row_groups == 3


def test_an_empty_table_still_says_its_columns(tmp_path: Path) -> None:
    TableWriter(tmp_path, "none", ROW).close()

    frame = pl.read_parquet(tmp_path / "none.parquet")
    assert frame.height == 0
    assert frame.columns == list(ROW.names or ())
    assert frame.schema["sym"] == pl.Int16


def test_units_and_meanings_stand_in_the_file(tmp_path: Path) -> None:
    columns = {"edge": ("bps", "what is left after costs"), "ts": ("ns", "")}
    with TableWriter(tmp_path, "t", ROW, columns, {"run": "r1"}) as writer:
        writer.append(rows(1))

    schema = pq.read_schema(tmp_path / "t.parquet")
    assert schema.field("edge").metadata[b"unit"] == b"bps"
    assert schema.field("edge").metadata[b"doc"] == b"what is left after costs"
    assert schema.field("ts").metadata[b"unit"] == b"ns"
    assert b"unit" not in (schema.field("sym").metadata or {})
    assert schema.metadata[b"run"] == b"r1"


def test_an_aborted_table_leaves_nothing(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path, "t", ROW)
    writer.append(rows(10))
    writer.abort()
    writer.abort()

    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RefusedError, match="is finished"):
        writer.append(rows(1))


def test_an_exception_inside_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with TableWriter(tmp_path, "t", ROW) as writer:
            writer.append(rows(10))
            raise KeyError("elsewhere")

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_abort_after_close_keeps_the_table(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path, "t", ROW)
    writer.close()
    writer.abort()
    writer.close()

    assert (tmp_path / "t.parquet").exists()


def test_a_table_is_not_overwritten(tmp_path: Path) -> None:
    TableWriter(tmp_path, "t", ROW).close()

    with pytest.raises(RefusedError, match="exists already"):
        TableWriter(tmp_path, "t", ROW)


def test_rows_of_another_type_are_refused(tmp_path: Path) -> None:
    with TableWriter(tmp_path, "t", ROW) as writer, pytest.raises(DataError, match="do not fit"):
        writer.append(np.zeros(3, np.dtype([("ts", "<i8")])))


@pytest.mark.parametrize("dtype", [np.dtype("<i8"), np.dtype([("name", "O")])])
def test_what_is_not_a_table_is_refused(dtype: np.dtype) -> None:
    with pytest.raises(DataError):
        table_schema(dtype)


def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be a file name"):
        TableWriter(tmp_path, "../t", ROW)


def test_a_table_can_be_written_anywhere(tmp_path: Path) -> None:
    with TableWriter("memory://runs/r1", "t", ROW) as writer:
        writer.append(rows(10))

    import fsspec

    with fsspec.open("memory://runs/r1/t.parquet") as file:
        assert pq.read_table(pa.BufferReader(file.read())).num_rows == 10


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    n_faults = 0
    for n in range(50):
        files = FaultyFiles(fail_at=n, error=errno.ENOSPC)
        folder = tmp_path / str(n)
        try:
            with TableWriter(folder, "t", ROW, files=files) as writer:
                writer.append(rows(1000))
        except StorageError as error:
            n_faults += 1
            text = str(error)
            assert list(folder.iterdir()) == [], text
        if not files.n_failed:
            break
    assert n_faults > 5
