"""SQL and frames over a store say what the events say."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from adapters.parquet.catalog import WINDOWS_S, connect, scan
from adapters.parquet.writer import CaptureWriter
from engine import events as ev
from engine.errors import ConfigError, DataError
from tests.support.captures import CHANNELS, START, TABLE, market_rows

ROWS = market_rows(4000)
MIDNIGHT = 1_767_312_000_000_000_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store")
    with CaptureWriter(
        path, "a", TABLE, channels=CHANNELS, assign_seq=True, source="made up"
    ) as writer:
        writer.append(ROWS)
        writer.gap(int(ROWS["ts"][-1]) + 5, ev.GAP_SOURCE, "ETH/USD", note="end of tape")
        writer.epoch(int(ROWS["ts"][-1]) + 5, 3, ev.EPOCH_DEGRADED, "two books of three")
    with CaptureWriter(path, "b", TABLE, channels=CHANNELS) as writer:
        writer.append(ROWS[:500])
    return path


def test_events_are_those_of_the_capture(store: Path) -> None:
    with connect(store, "b") as sql:
        table = sql.sql("SELECT * FROM events ORDER BY seq").to_arrow_table()

    for name in ev.EVENT.names or ():
        assert table[name].to_pylist() == ROWS[:500][name].tolist()
    assert table["kind_name"].to_pylist() == [ev.KIND_NAMES[int(k)] for k in ROWS[:500]["kind"]]
    expected = [None if sym < 0 else TABLE[int(sym)].symbol for sym in ROWS[:500]["sym"]]
    assert table["symbol"].to_pylist() == expected
    assert set(table["capture"].to_pylist()) == {"b"}
    assert str(table["time"][0].as_py()).startswith("2026-01-01 23:59:50")


def test_prices_and_quantities_are_exact_decimals(store: Path) -> None:
    with connect(store) as sql:
        rows = sql.execute(
            "SELECT seq, symbol, side, price, qty, price_real, qty_real, trade_id "
            "FROM trades WHERE capture = 'a' ORDER BY seq"
        ).fetchall()

    trades = ROWS[ROWS["kind"] == ev.TRADE]
    assert len(rows) == len(trades) > 100
    for row, trade in zip(rows, trades, strict=True):
        seq, symbol, side, price, qty, price_real, qty_real, trade_id = row
        each = TABLE[int(trade["sym"])]
        assert (seq, symbol, trade_id) == (trade["seq"], each.symbol, trade["id"])
        assert side == ("buy" if trade["side"] == ev.BUY else "sell")
        assert price == Decimal(int(trade["price"])) * each.price_increment
        assert qty == Decimal(int(trade["qty"])) * each.qty_increment
        assert price_real == pytest.approx(float(price))
        assert qty_real == pytest.approx(float(qty))


def test_books_and_tickers_have_their_flags_and_fields(store: Path) -> None:
    with connect(store, "a") as sql:
        book = sql.execute("SELECT count(*), sum(snapshot::INT), sum(verified::INT) FROM book")
        n, n_snapshot, n_verified = book.fetchone()  # type: ignore[misc]
        fields = sql.execute("SELECT DISTINCT field FROM tickers ORDER BY 1").fetchall()

    levels = ROWS[ROWS["kind"] == ev.BOOK_LEVEL]
    assert n == len(levels)
    assert n_snapshot == int(((levels["flags"] & ev.SNAPSHOT) != 0).sum())
    assert n_verified == int(((levels["flags"] & ev.VERIFIED) != 0).sum())
    assert fields == [("ask",), ("bid",)]


def test_manifests_are_tables(store: Path) -> None:
    with connect(store) as sql:
        captures = sql.execute("SELECT capture, source, n_events FROM captures ORDER BY 1")
        assert captures.fetchall() == [("a", "made up", len(ROWS) + 2), ("b", "", 500)]
        gaps = sql.execute("SELECT capture, symbol, cause, note FROM gaps").fetchall()
        assert gaps == [("a", "ETH/USD", "source", "end of tape")]
        epochs = sql.execute("SELECT number, status, verdict FROM epochs").fetchall()
        assert epochs == [(3, "degraded", "two books of three")]
        rows = sql.execute("SELECT capture, sum(rows) FROM files GROUP BY 1 ORDER BY 1").fetchall()
        assert rows == [("a", len(ROWS) + 2), ("b", 500)]
        steps = sql.execute("SELECT price_increment FROM instruments WHERE sym = 2").fetchone()
        assert steps == (Decimal("0.00005"),)
        verified = sql.execute("SELECT sum(verified) FROM checksums WHERE capture = 'b'")
        book = ROWS[:500][ROWS[:500]["kind"] == ev.BOOK_LEVEL]
        assert verified.fetchone() == (int(((book["flags"] & ev.VERIFIED) != 0).sum()),)


def naive_window(ts: int, symbol: str, seconds: int) -> tuple[int, int]:
    """Trades and lots of the documented window, one by one."""
    whole = -(-ts // 10**9)
    trades = ROWS[(ROWS["kind"] == ev.TRADE) & (ROWS["sym"] == TABLE.index(symbol))]
    inside = [row for row in trades if (whole - seconds) * 10**9 < row["ts"] <= ts]
    return len(inside), sum(int(row["qty"]) for row in inside)


def test_rolling_windows_have_their_documented_bounds(store: Path) -> None:
    with connect(store, "a") as sql:
        rows = sql.execute(
            "SELECT ts, symbol, trades_1m, qty_1m FROM trade_windows ORDER BY seq"
        ).fetchall()

    assert len(rows) == int((ROWS["kind"] == ev.TRADE).sum())
    for ts, symbol, n, qty in rows[::7]:
        count, lots = naive_window(ts, symbol, 60)
        assert (n, qty) == (count, lots * TABLE[symbol].qty_increment)


@pytest.mark.parametrize("offset", [0, 1, 5 * 10**9, 10 * 10**9 + 1, 65 * 10**9, 69 * 10**9 + 1])
def test_windows_at_an_instant_have_their_documented_bounds(store: Path, offset: int) -> None:
    with connect(store, "a") as sql:
        rows = sql.execute(
            "SELECT symbol, window_name, trades, qty FROM trade_windows_at(?)", [START + offset]
        ).fetchall()

    expected = set()
    for symbol in TABLE.symbols:
        for name, seconds in WINDOWS_S.items():
            count, lots = naive_window(START + offset, symbol, seconds)
            if count:
                expected.add((symbol, name, count, lots * TABLE[symbol].qty_increment))
    assert set(rows) == expected


def test_only_files_that_a_manifest_names_are_seen(store: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    book = next(copy.glob("venue=kraken/channel=book/*/*/a.parquet"))
    shutil.copy(book, book.with_name("orphan.parquet"))

    with connect(copy) as sql:
        count = sql.execute("SELECT count(*) FROM events").fetchone()
    assert count == (len(ROWS) + 2 + 500,)


def test_an_empty_store_has_empty_views(tmp_path: Path) -> None:
    with CaptureWriter(tmp_path, "a", TABLE):
        pass
    with connect(tmp_path) as sql:
        for view in ("events", "book", "trades", "tickers", "trade_windows", "gaps"):
            assert sql.execute(f"SELECT count(*) FROM {view}").fetchone() == (0,)
    assert scan(tmp_path).collect().height == 0
    with pytest.raises(DataError, match="is not a cold store"):
        connect(tmp_path / "nowhere")


def as_rows(frame: pl.DataFrame) -> np.ndarray:
    frame = frame.sort("seq")
    rows = np.zeros(frame.height, ev.EVENT)
    for name in ev.EVENT.names or ():
        rows[name] = frame[name].to_numpy()
    return rows


def test_a_scan_gives_the_events(store: Path) -> None:
    frame = scan(store, "b").collect()

    assert ROWS[:500].tobytes() == as_rows(frame).tobytes()
    assert frame.schema["time"] == pl.Datetime("ns", "UTC")
    assert set(frame["symbol"]) == {None, *TABLE.symbols}
    assert str(frame["date"][0]) == "2026-01-01"


def test_a_scan_of_a_part_is_that_part(store: Path) -> None:
    frame = scan(store, "a", ["ETH/USD"], ["trade"], start=MIDNIGHT, end=MIDNIGHT + 10**9)

    part = ROWS[(ROWS["kind"] == ev.TRADE) & (ROWS["sym"] == 1)]
    part = part[(part["ts"] >= MIDNIGHT) & (part["ts"] < MIDNIGHT + 10**9)]
    found = frame.filter(pl.col("channel") == "trade").collect()
    assert len(part) > 0
    assert part.tobytes() == as_rows(found).tobytes()


def test_a_store_elsewhere_can_be_scanned_and_queried(tmp_path: Path) -> None:
    url = f"memory://catalog{tmp_path}"
    with CaptureWriter(url, "a", TABLE, channels=CHANNELS) as writer:
        writer.append(ROWS[:500])

    assert ROWS[:500].tobytes() == as_rows(scan(url).collect()).tobytes()
    with connect(url) as sql:
        assert sql.execute("SELECT count(*) FROM events").fetchone() == (500,)


@pytest.mark.parametrize(("module", "function"), [("duckdb", connect), ("polars", scan)])
def test_without_the_extra_it_says_what_to_install(
    store: Path, monkeypatch: pytest.MonkeyPatch, module: str, function: object
) -> None:
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(ConfigError, match=r"kapitaalbot\[analysis\]"):
        function(store, "a")  # type: ignore[operator]


def test_trades_of_each_pair_are_summed_as_python_sums_them(store: Path) -> None:
    trades = ROWS[(ROWS["kind"] == ev.TRADE) & (ROWS["flags"] & ev.SNAPSHOT == 0)]
    with connect(store, "a") as sql:
        rows = sql.sql("SELECT * FROM pair_trades").pl().to_dicts()
        days = sql.sql("SELECT * FROM pair_days").pl().to_dicts()

    assert [row["symbol"] for row in rows] == sorted({TABLE[int(i)].symbol for i in trades["sym"]})
    for row in rows:
        pair = TABLE[row["symbol"]]
        mine = trades[trades["sym"] == TABLE.index(row["symbol"])]
        value = sum(int(each["price"]) * int(each["qty"]) for each in mine)
        bought = sum(int(each["price"]) * int(each["qty"]) for each in mine if each["side"] > 0)
        assert row["trades"] == len(mine)
        turnover = float(value * pair.price_increment * pair.qty_increment)
        assert row["turnover"] == pytest.approx(turnover, rel=1e-9)
        assert row["buy_share"] == pytest.approx(bought / value, rel=1e-9)
        assert row["low"] == int(mine["price"].min()) * pair.price_increment
        assert row["last_price"] == int(mine["price"][-1]) * pair.price_increment
        assert row["gaps"] == (1 if row["symbol"] == "ETH/USD" else 0)
        per_day = [each for each in days if each["symbol"] == row["symbol"]]
        assert sum(each["trades"] for each in per_day) == len(mine)
        assert len(per_day) == len({int(ts) // (86_400 * 10**9) for ts in mine["ts"]})
