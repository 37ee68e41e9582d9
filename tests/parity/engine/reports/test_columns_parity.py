"""The companion columns of frames and of SQL views are made by two engines: both say the same."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.core.routes import ENTRY_MODES, FAMILY_NAMES, HORIZONS_S, route_key, route_name
from engine.reports.frames import RUN_TABLES, Run
from tests.support.small_run import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Run.open(write_run(tmp_path_factory.mktemp("runs")))


@pytest.mark.parametrize("table", RUN_TABLES)
def test_polars_and_duckdb_say_the_same(run, table):
    times = [
        pl.col(name).dt.replace_time_zone(None)
        for name, kind in run.table(table).schema.items()
        if isinstance(kind, pl.Datetime)
    ]
    by_polars = run.table(table).with_columns(times)
    by_duckdb = run.sql(f"SELECT * FROM {table}")

    assert_frame_equal(by_polars, by_duckdb, check_exact=True)


def test_route_names_are_those_of_the_core(run, tmp_path):
    symbols = run.symbols
    keys = [
        int(route_key(sym, family, horizon, mode, side, 0))
        for sym in range(len(symbols))
        for family in FAMILY_NAMES
        for horizon in range(len(HORIZONS_S))
        for mode in ENTRY_MODES
        for side in (1, -1)
    ]
    folder = write_run(tmp_path)
    one = pl.read_parquet(folder / "orders.parquet").head(1).drop("route")
    frame = one.join(pl.DataFrame({"route": keys}), how="cross")
    frame.write_parquet(folder / "orders.parquet")
    opened = Run.open(folder)
    expected = [route_name(key, symbols).partition(" ")[2] for key in keys]

    assert expected == opened.orders["route_name"].to_list()
    assert expected == opened.sql("SELECT route_name FROM orders")["route_name"].to_list()
