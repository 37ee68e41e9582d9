"""How do people look into a store? SQL views with DuckDB, lazy frames with polars.

`connect(store)` gives a DuckDB connection with these views; times are UTC, prices and quantities
exact decimals (and `_real` as doubles), all read from the files when a query runs:

- `captures`, `instruments`, `files`, `gaps`, `epochs`, `checksums`: what the manifests say
- `events`: every event as stored, with `capture`, `channel`, `symbol`, `kind_name`, `time`
- `book`, `trades`, `tickers`: the events of one channel with decimals
- `trade_windows`: for each trade, what traded in the 1 m, 5 m, 15 m and 1 h up to it
- `trade_windows_at(t)`: the same at one instant t (ns), per capture, symbol and window
- `pair_trades`, `pair_days`: per capture and symbol, and per day: trades, turnover, share bought by takers, price
  range, first and last, gaps; the rest of a pair's market needs its book: `kapitaalbot data pairs`

A window of w seconds at t holds the trades with `(ceil(t / 1 s) - w) s < ts <= t`, as the tape of
the core counts them (engine/core/tape.py); trades of a subscription's snapshot are history and do
not count. Only files that a manifest names are seen. polars and duckdb are imported when needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow as pa

from adapters.parquet.manifest import Manifest, capture_ids, find_capture, read_manifest
from adapters.parquet.reader import open_capture
from adapters.parquet.store import Store, need_store
from engine.events import (
    DERIVED,
    FAILED,
    KIND_NAMES,
    LAST,
    MARKET_ORDER,
    SNAPSHOT,
    VERIFIED,
    arrow_schema,
)
from engine.instruments import InstrumentTable
from engine.reports.frames import need

if TYPE_CHECKING:
    import duckdb
    import polars as pl

WINDOWS_S: Final[Mapping[str, int]] = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600}
_SECOND_NS: Final = 1_000_000_000
# ticks DECIMAL(18, 0) x increment DECIMAL(20, 12) is exact in DECIMAL(38, 12)
_STEP: Final = pa.decimal128(20, 12)
_TICKER_NAMES: Final = ("bid", "ask", "last", "volume", "vwap", "low", "high")


def connect(store: str | Path, capture: str | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection (in memory, read only as to the store) with the views named above.

    capture : one capture, named as for `open_capture`; None for all of the store
    raises ConfigError if duckdb is not installed, DataError where no store is
    """
    engine = need("duckdb", "analysis")
    place = Store(store)
    need_store(place)
    if capture is None:
        manifests = [read_manifest(place, each) for each in capture_ids(place)]
    else:
        manifests = [find_capture(place, capture)]
    connection: duckdb.DuckDBPyConnection = engine.connect()
    if place.local is None:
        connection.register_filesystem(place.fs)
    for name, table in _manifest_tables(manifests).items():
        connection.register(f"_{name}", table)
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM _{name}")
        connection.unregister(f"_{name}")
    paths = [place.full(file.path) for each in manifests for file in each.files]
    for statement in _views(paths):
        connection.execute(statement)
    return connection


def _manifest_tables(manifests: list[Manifest]) -> dict[str, pa.Table]:
    """What the manifests say, as tables with a column `capture`."""
    i64, text, flag = pa.int64(), pa.string(), pa.bool_()
    captures = {
        "capture": text,
        "venue": text,
        "source": text,
        "clock": text,
        "ts_is_receive_time": flag,
        "n_events": i64,
        "seq_first": i64,
        "seq_last": i64,
        "ts_first": i64,
        "ts_last": i64,
        "software": text,
        "licence": text,
        "events_sha256": text,
        "digest": text,
    }
    files = {
        "capture": text,
        "path": text,
        "channel": text,
        "symbol": text,
        "date": text,
        "rows": i64,
        "seq_first": i64,
        "seq_last": i64,
        "ts_first": i64,
        "ts_last": i64,
        "bytes": i64,
        "sha256": text,
    }
    gaps = {"seq": i64, "symbol": text, "ts_from": i64, "ts_to": i64, "cause": text, "note": text}
    epochs = {"seq": i64, "ts": i64, "number": i64, "status": text, "verdict": text}
    checksums = {"channel": text, "symbol": text} | dict.fromkeys(
        ("verified", "failed", "unchecked", "absent", "crossed"), i64
    )
    tables = {
        "captures": _table([(each, [each]) for each in manifests], captures),
        "files": _table([(each, each.files) for each in manifests], files),
        "gaps": _table([(each, each.gaps) for each in manifests], {"capture": text, **gaps}),
        "epochs": _table([(each, each.epochs) for each in manifests], {"capture": text, **epochs}),
        "checksums": _table(
            [(each, each.checksums) for each in manifests], {"capture": text, **checksums}
        ),
    }
    return tables | {"instruments": _instruments(manifests)}


def _table(
    parts: list[tuple[Manifest, Iterable[Any]]], columns: Mapping[str, pa.DataType]
) -> pa.Table:
    rows = [
        {**msgspec.structs.asdict(part), "capture": manifest.capture_id}
        for manifest, items in parts
        for part in items
    ]
    schema = pa.schema(list(columns.items()))
    return pa.Table.from_pylist([{name: row[name] for name in columns} for row in rows], schema)


def _instruments(manifests: list[Manifest]) -> pa.Table:
    schema = pa.schema(
        [
            ("capture", pa.string()),
            ("sym", pa.int16()),
            ("symbol", pa.string()),
            ("base", pa.string()),
            ("quote", pa.string()),
            ("price_increment", _STEP),
            ("qty_increment", _STEP),
            ("price_precision", pa.int64()),
            ("qty_precision", pa.int64()),
            ("status", pa.string()),
        ]
    )
    rows = [
        {"capture": manifest.capture_id, "sym": sym}
        | {name: getattr(each, name) for name in schema.names[2:]}
        for manifest in manifests
        for sym, each in enumerate(InstrumentTable.from_json(manifest.instruments))
    ]
    return pa.Table.from_pylist(rows, schema)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _views(paths: list[str]) -> list[str]:
    """The statements that make the views over the data files."""
    names = ", ".join(_quoted(KIND_NAMES.get(kind, "")) for kind in range(128))
    tickers = ", ".join(_quoted(name) for name in _TICKER_NAMES)
    if paths:
        listed = ", ".join(_quoted(path) for path in paths)
        stored = (
            f"SELECT *, parse_filename(filename, true) AS capture FROM read_parquet([{listed}], "
            "hive_partitioning = true, hive_types = {'date': DATE, 'channel': VARCHAR, "
            "'symbol': VARCHAR, 'venue': VARCHAR}, filename = true)"
        )
    else:
        fields = ", ".join(f"NULL::{_SQL_TYPES[str(f.type)]} AS {f.name}" for f in arrow_schema())
        stored = (
            f"SELECT {fields}, '' AS venue, '' AS channel, '' AS symbol, NULL::DATE AS date, "
            "'' AS capture WHERE false"
        )
    decimals = (
        "e.price::DECIMAL(18, 0) * i.price_increment AS price, "
        "e.qty::DECIMAL(18, 0) * i.qty_increment AS qty, "
        "e.price * i.price_increment::DOUBLE AS price_real, "
        "e.qty * i.qty_increment::DOUBLE AS qty_real, "
        "e.price AS price_ticks, e.qty AS qty_lots"
    )
    head = "e.capture, e.symbol, e.time, e.ts, e.ts_venue, e.seq"
    joined = "FROM events e JOIN instruments i ON e.capture = i.capture AND e.sym = i.sym"
    side = "CASE e.side WHEN 1 THEN 'buy' WHEN -1 THEN 'sell' END AS side"
    return [
        f"CREATE VIEW events AS SELECT capture, venue, channel, "
        "CASE symbol WHEN 'ALL' THEN NULL ELSE replace(symbol, '-', '/') END AS symbol, date, "
        f"make_timestamp_ns(ts) AS time, [{names}][kind + 1] AS kind_name, "
        "ts, ts_venue, seq, price, qty, id, aux, sym, kind, side, flags "
        f"FROM ({stored})",
        f"CREATE VIEW book AS SELECT {head}, {side}, {decimals}, "
        f"(e.flags & {SNAPSHOT}) != 0 AS snapshot, (e.flags & {LAST}) != 0 AS last, "
        f"(e.flags & {VERIFIED}) != 0 AS verified, (e.flags & {FAILED}) != 0 AS failed, "
        f"(e.flags & {DERIVED}) != 0 AS derived "
        f"{joined} WHERE e.channel = 'book' AND e.kind_name = 'book_level'",
        f"CREATE VIEW trades AS SELECT {head}, {side}, {decimals}, "
        f"CASE e.id WHEN 0 THEN NULL ELSE e.id END AS trade_id, "
        f"(e.flags & {MARKET_ORDER}) != 0 AS market_order, "
        f"(e.flags & {SNAPSHOT}) != 0 AS snapshot "
        f"{joined} WHERE e.channel = 'trade' AND e.kind_name = 'trade'",
        f"CREATE VIEW tickers AS SELECT {head}, [{tickers}][e.id] AS field, {decimals} "
        f"{joined} WHERE e.channel = 'ticker' AND e.kind_name = 'ticker'",
        _trade_windows(),
        _trade_windows_at(),
        _pair_trades("pair_trades", ""),
        _pair_trades("pair_days", "time::DATE AS day, "),
    ]


def _pair_trades(view: str, day: str) -> str:
    """Trades of each pair; a subscription's history does not count."""
    same_day = (
        " AND make_timestamp_ns(g.ts_from)::DATE <= day AND make_timestamp_ns(g.ts_to)::DATE >= day"
    )
    return (
        f"CREATE VIEW {view} AS SELECT capture, symbol, {day}count(*) AS trades, "
        "sum(price_real * qty_real) AS turnover, sum(qty) AS qty, "
        "sum(price_real * qty_real) FILTER (side = 'buy') / sum(price_real * qty_real) AS buy_share, "
        "min(price) AS low, max(price) AS high, arg_min(price, seq) AS first_price, "
        "arg_max(price, seq) AS last_price, min(time) AS first_time, max(time) AS last_time, "
        "(SELECT count(*) FROM gaps g WHERE g.capture = trades.capture "
        f"AND (g.symbol = trades.symbol OR g.symbol IS NULL OR g.symbol = ''){same_day if day else ''}) "
        "AS gaps FROM trades WHERE NOT snapshot GROUP BY ALL ORDER BY ALL"
    )


_SQL_TYPES: Final = {"int64": "BIGINT", "int32": "INTEGER", "int16": "SMALLINT", "int8": "TINYINT"}


def _trade_windows() -> str:
    """One row per trade; the window before it ends with the trade's own stamp, ties included."""
    sums, frames = [], []
    for name, seconds in WINDOWS_S.items():
        start = f"((ts + {_SECOND_NS - 1}) // {_SECOND_NS} - {seconds}) * {_SECOND_NS}"
        frames.append(
            f"w{name} AS (PARTITION BY capture, symbol ORDER BY ts "
            f"RANGE BETWEEN ts - ({start}) - 1 PRECEDING AND CURRENT ROW)"
        )
        sums.append(
            f"count(*) OVER w{name} AS trades_{name}, "
            f"sum(qty) OVER w{name} AS qty_{name}, "
            f"sum(qty) FILTER (side = 'buy') OVER w{name} AS qty_buy_{name}, "
            f"sum(qty) FILTER (side = 'sell') OVER w{name} AS qty_sell_{name}, "
            f"sum(price_real * qty_real) OVER w{name} AS notional_{name}"
        )
    return (
        f"CREATE VIEW trade_windows AS SELECT capture, symbol, time, ts, seq, {', '.join(sums)} "
        f"FROM trades WHERE NOT snapshot WINDOW {', '.join(frames)}"
    )


def _trade_windows_at() -> str:
    widths = ", ".join(f"({_quoted(name)}, {seconds})" for name, seconds in WINDOWS_S.items())
    start = f"((t::BIGINT + {_SECOND_NS - 1}) // {_SECOND_NS} - seconds) * {_SECOND_NS}"
    return (
        "CREATE MACRO trade_windows_at(t) AS TABLE "
        "SELECT capture, symbol, name AS window_name, count(*) AS trades, sum(qty) AS qty, "
        "sum(qty) FILTER (side = 'buy') AS qty_buy, sum(qty) FILTER (side = 'sell') AS qty_sell, "
        "sum(price_real * qty_real) AS notional "
        f"FROM trades, (VALUES {widths}) AS widths(name, seconds) "
        f"WHERE NOT snapshot AND ts > {start} AND ts <= t::BIGINT "
        "GROUP BY ALL ORDER BY ALL"
    )


def scan(
    store: str | Path,
    capture: str | None = None,
    symbols: Iterable[str] | None = None,
    channels: Iterable[str] | None = None,
    start: int | None = None,
    end: int | None = None,
) -> pl.LazyFrame:
    """Events of one capture as a polars LazyFrame; arguments as for `open_capture`.

    Columns: those of an event, and `channel`, `symbol` (null for none), `date`, `time` (UTC). Rows
    come file by file: sort by `seq` where the order matters. Only the files that can hold what was
    asked for are opened. Raises ConfigError if polars is not installed.
    """
    polars = need("polars", "analysis")
    part = open_capture(store, capture, symbols, channels, start, end)
    place = part.store
    paths = [place.full(each.path) for each in part.files]
    names = [field.name for field in arrow_schema()]
    if not paths:
        empty = polars.from_arrow(arrow_schema().empty_table()).lazy()
        raw = empty.with_columns(
            channel=polars.lit(""), symbol=polars.lit(""), date=polars.lit(None, polars.Date)
        )
    elif place.local is not None:
        raw = polars.scan_parquet(paths, hive_partitioning=True, try_parse_hive_dates=True)
    else:
        import pyarrow.dataset as ds

        inside = [path.partition("://")[2] for path in paths]
        partitions = ds.partitioning(
            pa.schema([(each, pa.string()) for each in ("venue", "channel", "symbol", "date")]),
            flavor="hive",
        )
        dataset = ds.dataset(inside, filesystem=place.fs, partitioning=partitions)
        raw = polars.scan_pyarrow_dataset(dataset).with_columns(
            polars.col("date").str.to_date("%Y-%m-%d")
        )
    ts, symbol = polars.col("ts"), polars.col("symbol").cast(polars.String)
    frame: pl.LazyFrame = raw.filter((ts >= part.start) & (ts < part.end)).select(
        *names,
        channel=polars.col("channel").cast(polars.String),
        symbol=polars.when(symbol != "ALL").then(symbol.str.replace_all("-", "/", literal=True)),
        date=polars.col("date"),
        time=ts.cast(polars.Datetime("ns", "UTC")),
    )
    return frame
