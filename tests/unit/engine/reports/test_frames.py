import sys
from datetime import UTC, datetime

import polars as pl
import pytest

from engine.core.records import TABLES
from engine.errors import ConfigError, DataError
from engine.instruments import UnknownSymbolError
from engine.reports.frames import RUN_TABLES, Run
from tests.support.small_run import tables, write_run


@pytest.fixture
def run(tmp_path):
    return Run.open(write_run(tmp_path))


def test_a_fill_reads_in_units_beside_its_integers(run):
    first = run.fills.row(0, named=True)

    assert datetime(2026, 1, 1, 12, 0, 4, tzinfo=UTC) == first["time"]
    assert "BTC/USD" == first["symbol"]
    assert (500_000, 50_000.0) == (first["price"], first["price_quote"])
    assert (400_000, 0.004) == (first["qty"], first["qty_base"])
    assert (50_000_000, 0.5) == (first["fee"], first["fee_quote"])
    assert 50_000.05 == first["mid_quote"]
    assert "mean_reversion 60s join" == first["route_name"]
    assert ("entry", "buy") == (first["role_name"], first["side_name"])


def test_prices_of_each_symbol_use_its_own_tick(run):
    bids = dict(run.decisions.select("symbol", "bid_quote").iter_rows())

    assert {"BTC/USD": 50_000.0, "DOGE/USD": 0.1234567} == bids


def test_what_is_not_there_is_null_not_zero(run):
    doge = run.decisions.filter(pl.col("symbol") == "DOGE/USD").row(0, named=True)
    sent = run.orders.row(0, named=True)

    assert doge["trade_age_s"] is None  # -1: no trade yet
    assert doge["route_name"] is None  # 0: no route
    assert sent["time_acked"] is None  # 0: not yet


def test_the_reason_of_an_order_row_is_named_by_what_caused_it(run):
    by_us = run.orders.filter(pl.col("role_name") == "protection").row(0, named=True)

    assert ("we_add", "stop") == (by_us["cause_name"], by_us["reason_name"])


@pytest.mark.parametrize("table", RUN_TABLES)
def test_recorded_columns_come_back_exactly(run, table):
    expected = tables()[table]
    raw = run.raw(table)

    assert list(expected.dtype.names) == raw.columns
    for name in raw.columns:
        assert expected[name].tobytes() == raw[name].to_numpy().tobytes()
        read = run.table(table)[name]
        assert read.null_count() == (raw[name].is_nan().sum() if raw[name].dtype.is_float() else 0)
        assert raw[name].fill_nan(None).equals(read) if raw[name].dtype.is_float() else True
        assert raw[name].dtype.is_float() or raw[name].equals(read)


@pytest.mark.parametrize("table", TABLES)
def test_every_table_has_a_property(run, table):
    assert len(tables()[table]) == len(getattr(run, table))


def test_sql_sees_the_views_and_the_bare_tables(run):
    answer = run.sql("SELECT role_name, sum(fee_quote) AS fees FROM fills GROUP BY 1 ORDER BY 1")

    assert [("entry", 1.25), ("protection", 1.9896)] == answer.rows()
    assert [(323_960_000,)] == run.sql("SELECT sum(fee)::BIGINT FROM raw.fills").rows()


def test_what_is_no_number_is_null_in_frames_and_in_sql(run):
    """Parquet's statistics leave NaN out, and an engine that trusts them finds none."""
    priced = run.candidates["net_bps"].drop_nulls().to_list()

    assert [-11.6, -9.125] == sorted(priced)
    query = "SELECT count(*), count(net_bps), max(net_bps) FROM candidates"
    assert [(3, 2, -9.125)] == run.sql(query).rows()
    assert [(1,)] == run.sql("SELECT count(*) FROM raw.candidates WHERE isnan(net_bps)").rows()


def test_an_unknown_table_is_named_with_those_there_are(run):
    with pytest.raises(ConfigError, match="no table 'filled'") as caught:
        run.table("filled")

    assert "fills" in caught.value.hint


def test_a_missing_table_is_damage(run):
    (run.path / "fills.parquet").unlink()

    with pytest.raises(DataError, match=r"fills\.parquet is missing"):
        run.raw("fills")


def test_a_user_family_goes_by_its_own_name(tmp_path):
    from engine.core.routes import ENTRY_TAKE, FAMILY_PLUGIN, route_key

    folder = write_run(tmp_path)
    run = Run.open(folder)
    key = int(route_key(1, FAMILY_PLUGIN, 2, ENTRY_TAKE, -1, 0))
    named = Run(folder, run.manifest | {"families": {str(FAMILY_PLUGIN): "my_own"}})
    orders = pl.read_parquet(folder / "orders.parquet").with_columns(route=pl.lit(key))
    orders.write_parquet(folder / "orders.parquet")

    assert "my_own 300s take short" == named.orders["route_name"][0]


def test_it_shows_itself_in_a_notebook(run):
    page = run._repr_html_()

    assert "<table>" in page
    assert "profit" in page
    assert run.digest[:16] in page


@pytest.mark.parametrize("module", ["polars", "duckdb"])
def test_a_missing_extra_is_one_sentence(run, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(ConfigError, match=f"needs {module}") as caught:
        run.connect() if module == "duckdb" else run.table("fills")

    assert "kapitaalbot[analysis]" in caught.value.hint


def test_explaining_an_unknown_symbol_names_the_nearest(run):
    with pytest.raises(UnknownSymbolError, match="BTC/USD"):
        run.explain("2026-01-01T12:00:02", "BTV/USD")
