import json
import math

import numpy as np
import polars as pl
import pytest

from engine.errors import DataError
from engine.reports import compare
from engine.reports.compare import compare_runs, first_difference
from tests.support.small_run import write_run


@pytest.fixture
def two(tmp_path):
    return write_run(tmp_path, "one"), write_run(tmp_path, "two")


def write(folder, table, frame, row_group_size=None):
    frame.write_parquet(folder / f"{table}.parquet", row_group_size=row_group_size)


def spoil_digests(folder, *names):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["digest"] = "00" * 32
    for name in names:
        manifest["table_digests"][name] = "00" * 32
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_equal_runs_are_the_same_without_reading_a_table(two):
    for folder in two:
        for file in folder.glob("*.parquet"):
            file.unlink()

    found = compare_runs(*two)

    assert found["same"]
    assert {"same"} == {each["verdict"] for each in found["tables"]}


def test_the_first_differing_row_is_named_with_its_columns(two):
    fills = pl.read_parquet(two[1] / "fills.parquet")
    changed = fills.with_columns(
        fee=pl.when(pl.int_range(pl.len()) == 1).then(7).otherwise(pl.col("fee"))
    )
    write(two[1], "fills", changed)
    spoil_digests(two[1], "fills")

    found = compare_runs(*two)

    assert not found["same"]
    differing = [each for each in found["tables"] if not each["same"]]
    assert ["fills"] == [each["table"] for each in differing]
    assert 1 == differing[0]["row"]
    assert [{"column": "fee", "first": 75_000_000, "second": 7}] == differing[0]["first"]


def test_a_row_that_only_one_run_has_is_a_difference(two):
    write(two[1], "fills", pl.read_parquet(two[1] / "fills.parquet").head(2))

    row, columns = first_difference(*two, "fills")

    assert 2 == row
    assert {"column": "order", "first": 2, "second": None} in columns


def test_nan_equals_nan_and_minus_zero_is_not_zero(two):
    assert (None, None) == first_difference(*two, "decisions")  # full of NaN

    frame = pl.read_parquet(two[0] / "health.parquet")
    for folder, value in zip(two, (0.0, -0.0), strict=True):
        write(folder, "health", frame.with_columns(spread_bps=pl.lit(value)))
    row, columns = first_difference(*two, "health")

    assert 0 == row
    assert [0.0, -0.0] == [columns[0]["first"], columns[0]["second"]]
    assert -1 == math.copysign(1, columns[0]["second"])


@pytest.mark.parametrize("at", [0, 6, 7, 8, 99])
def test_how_the_files_are_cut_changes_nothing(two, monkeypatch, at):
    monkeypatch.setattr(compare, "ROWS_AT_ONCE", 7)
    frame = pl.DataFrame({"a": np.arange(100), "b": np.arange(100) / 3})
    other = frame.with_columns(
        b=pl.when(pl.col("a") == at).then(float("nan")).otherwise(pl.col("b"))
    )
    write(two[0], "fills", frame, row_group_size=100)
    write(two[1], "fills", other, row_group_size=3)

    row, columns = first_difference(*two, "fills")

    assert at == row
    assert ["b"] == [each["column"] for each in columns]


def test_digests_that_differ_over_equal_rows_are_told_apart(two):
    spoil_digests(two[1], "orders")

    found = compare_runs(*two)

    (orders,) = [each for each in found["tables"] if not each["same"]]
    assert "their digests differ, their stored rows do not" == orders["verdict"]


def test_a_torn_table_is_named(two):
    spoil_digests(two[1], "orders")
    (two[1] / "orders.parquet").write_bytes(b"PAR1 torn")

    with pytest.raises(DataError, match=r"orders\.parquet cannot be read"):
        compare_runs(*two)
