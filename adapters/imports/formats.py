"""Which foreign formats can be imported, with which options, and which one is this file?

The registry behind `kapitaalbot data import FORMAT PATH...`. A reader's module is loaded when its
format is used. Left out: how the events are stored.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from adapters.imports.base import Import
from adapters.imports.files import Member, as_paths, head_of, members
from engine.errors import ConfigError, DataError, KapitaalbotError


@dataclass(frozen=True)
class Option:
    """One option of a format. kind : text, texts (comma separated), number or path."""

    name: str
    kind: str
    help: str


@dataclass(frozen=True)
class Format:
    """One importable format; `read(paths, **options)` gives the Import."""

    name: str
    help: str
    module: str
    options: tuple[Option, ...]

    def read(self, paths: str | Path | Sequence[str | Path], **options: Any) -> Import:
        """Read `paths`; an option that the format does not have is a ConfigError."""
        known = [option.name for option in self.options]
        for name in options:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
                raise ConfigError(
                    f"format {self.name} has no option {name!r}.",
                    f"The nearest is {near[0]!r}." if near else "It has none.",
                )
        reader: Callable[..., Import] = importlib.import_module(
            f"adapters.imports.{self.module}"
        ).read
        return reader(paths, **options)


_SYMBOL: Final = Option("symbol", "text", "the pair, as in BTC/USD, where the data does not say")
_SYMBOLS: Final = Option("symbols", "texts", "only these pairs, as in BTC/USD,ETH/USD")
_INSTRUMENTS: Final = Option(
    "instruments", "path", "steps and minimums: an AssetPairs answer or a v2 instrument snapshot"
)
_TICK: Final = Option("tick_size", "text", "price step, instead of the one that the data shows")
_LOT: Final = Option("lot_size", "text", "quantity step, instead of the one that the data shows")
_CUT: Final = Option("depth", "number", "0 keeps the whole book; N as a subscription of depth N")

FORMATS: Final[dict[str, Format]] = {
    each.name: each
    for each in (
        Format(
            "kraken-trades",
            "Kraken's time-and-sales archive: CSV or zip, time, price, volume",
            "kraken_trades",
            (_SYMBOL, _SYMBOLS, _INSTRUMENTS, _TICK, _LOT),
        ),
        Format(
            "kraken-rest-trades",
            "pages of Kraken's REST Trades, JSON",
            "kraken_rest",
            (_SYMBOL, _INSTRUMENTS, _TICK, _LOT),
        ),
        Format(
            "kraken-trades-bbo",
            "Kraken trades and best quotes as Parquet (2018); the book is derived",
            "kraken_bbo",
            (
                _SYMBOLS,
                _INSTRUMENTS,
                _TICK,
                _LOT,
                Option("nominal_qty", "text", "size that stands for the unknown one (default 1)"),
                Option("quote_delay_ms", "number", "when a quote is given (default 1000)"),
                Option("gap_s", "number", "a longer silence of the quotes is a gap (default 600)"),
            ),
        ),
        Format(
            "kraken-v1-book",
            "recorded Kraken WebSocket v1 session: book, trade, ticker",
            "kraken_v1_book",
            (_SYMBOLS, _INSTRUMENTS, _TICK, _LOT),
        ),
        Format(
            "kraken-v2-book",
            "recorded Kraken WebSocket v2 session: book, trade, ticker",
            "kraken_v2_book",
            (
                _SYMBOLS,
                _INSTRUMENTS,
                _TICK,
                _LOT,
                Option("depth", "number", "of the subscription, where it was not recorded"),
            ),
        ),
        Format(
            "tardis-book",
            "Tardis CSV incremental_book_L2, with trades files beside it if given",
            "tardis",
            (
                _SYMBOLS,
                _INSTRUMENTS,
                _TICK,
                _LOT,
                Option("depth", "number", "of the recorded subscription (kraken: 1000)"),
            ),
        ),
        Format(
            "tardis-trades",
            "Tardis CSV trades",
            "tardis",
            (_SYMBOLS, _INSTRUMENTS, _TICK, _LOT),
        ),
        Format(
            "coinbase-l2",
            "Coinbase full-depth book: snapshot and updates as Parquet",
            "coinbase",
            (_SYMBOL, _TICK, _LOT, _CUT),
        ),
        Format(
            "bitstamp-l3",
            "Bitstamp log of order events and trades (level 3); the book is derived",
            "bitstamp",
            (
                _SYMBOL,
                _TICK,
                _LOT,
                _CUT,
                Option("warmup_s", "number", "when the derived book begins (default 3600)"),
            ),
        ),
        Format(
            "binance-depth",
            "Binance raw streams: depth with its snapshot, trades, best quotes; spot and USD-M",
            "binance",
            (
                _SYMBOL,
                _TICK,
                _LOT,
                _CUT,
                Option("clock_shift_ns", "text", "added to receive times; auto: as measured"),
            ),
        ),
    )
}


def import_format(name: str, paths: str | Path | Sequence[str | Path], **options: Any) -> Import:
    """Read `paths` as the format `name`; an unknown name is a ConfigError with the nearest one."""
    if name not in FORMATS:
        near = difflib.get_close_matches(name, FORMATS, n=1, cutoff=0.0)
        raise ConfigError(f"no format is called {name!r}.", f"The nearest is {near[0]!r}.")
    return FORMATS[name].read(paths, **options)


# ---- which format is it? ----

_BINANCE_LINE: Final = re.compile(rb"\d{19} \{")
_BITSTAMP_LINE: Final = re.compile(rb"\d{13} (order_\w+|trade) \{")
_REST_ANSWER: Final = re.compile(rb'\{\s*"error"\s*:\s*\[')
_ARCHIVE_LINE: Final = re.compile(rb"\d{9,11}(\.\d+)?,[0-9.eE+-]+,[0-9.eE+-]+$")


def detect(paths: str | Path | Sequence[str | Path]) -> str:
    """Name of the format of the first file that says it; a DataError where none does."""
    given = as_paths(list(paths) if not isinstance(paths, str | Path) else paths)
    seen = []
    for member in members(given, ""):
        name = _by_columns(member.path) if member.name.endswith(".parquet") else _by_line(member)
        if name:
            return name
        seen.append(str(member))
    raise DataError(
        f"the format of {', '.join(seen[:3])} is not known.",
        f"Name it: one of {', '.join(FORMATS)}.",
    )


def _by_columns(path: Path) -> str:
    try:
        names = set(pq.read_schema(path).names)
    except (pa.ArrowInvalid, OSError):
        return ""
    if {"bid", "ask", "time"} <= names or {"volume", "side", "ord_type"} <= names:
        return "kraken-trades-bbo"
    if {"side", "price", "size"} <= names:
        return "coinbase-l2"
    return ""


def _by_line(member: Member) -> str:
    try:
        head = head_of(member)
    except KapitaalbotError:
        return ""
    line = head.splitlines()[0].strip()
    if _BINANCE_LINE.match(line):
        return "binance-depth"
    if _BITSTAMP_LINE.match(line):
        return "bitstamp-l3"
    if _ARCHIVE_LINE.match(line):
        return "kraken-trades"
    if b"local_timestamp" in line and b"is_snapshot" in line:
        return "tardis-book"
    if b"local_timestamp" in line and b"side" in line:
        return "tardis-trades"
    if _REST_ANSWER.match(head):
        return "kraken-rest-trades"
    if b'"connectionID"' in line or b'"event"' in line or line.startswith(b"["):
        return "kraken-v1-book"
    if b"connectionID" in line and b'"recv_ts"' in line:
        return "kraken-v1-book"
    if b'"method"' in line or b'"channel"' in line or b'\\"channel\\"' in line:
        return "kraken-v2-book"
    return ""
