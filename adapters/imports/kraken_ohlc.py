"""What bars does the venue itself give? Kraken's OHLCVT archive, tables of it, and REST `OHLC`.

Bars come as engine.research.bars.BAR, in exact ticks and lots, so that they can be compared with
bars made of trades. Facts of the sources: the archive's CSV has no header, and only intervals with
trades have a row; REST repeats the last price in intervals without trades, with volume 0, and its
last row is still forming (`is_forming`); old REST collections may hold forming rows in the middle.
Volumes of the archive are sums of doubles; the nearest lot is taken. The average price is not kept:
the venue rounds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from adapters.imports.base import Summary
from adapters.imports.columns import (
    Refusals,
    checked_prices,
    csv_blocks,
    integers,
    price_steps,
    qty_steps,
)
from adapters.imports.digits import OFF_GRID, Grid, steps_of_doubles
from adapters.imports.files import Member, as_paths, open_bytes
from adapters.imports.instruments import symbol_of_name
from adapters.imports.tables import parquet_blocks
from engine.errors import DataError
from engine.instruments import Instrument
from engine.research.bars import BAR

COLUMNS: Final = ("time", "open", "high", "low", "close", "volume", "trades")
_PRICES: Final = COLUMNS[1:5]
_NS: Final = 1_000_000_000


@dataclass(frozen=True)
class VenueBars:
    """Bars of one pair. is_forming : the last one was not complete when it was fetched."""

    instrument: Instrument
    bars: np.ndarray
    summary: Summary
    is_forming: bool = False


def read_bars(
    path: str | Path,
    *,
    symbol: str | None = None,
    pair: str | None = None,
    tick_size: str | Decimal = "0.00001",
    lot_size: str | Decimal = "0.00000001",
) -> VenueBars:
    """Bars of a `.parquet` table, a `.csv` of the archive or a `.json` answer of REST OHLC.

    symbol : the pair, where the name of the file does not say it (`XBTUSD_60.csv`)
    pair : which value of the column `pair`, for tables of several pairs
    tick_size, lot_size : steps; the default ticks hold every price of the archive's main pairs
    """
    file = as_paths(path)[0]
    tick, lot = Decimal(str(tick_size)), Decimal(str(lot_size))
    grids = Grid.of(tick), Grid.of(lot)
    summary = Summary()
    forming = False
    name = symbol or pair or file.name.partition("_")[0]
    if file.suffix == ".parquet":
        blocks = _parquet(file, pair, grids, summary)
    elif file.suffix == ".json":
        rest_name, rows = _rest_rows(file)
        name, forming = symbol or rest_name, True
        blocks = _rest(file, rows, grids, summary)
    else:
        blocks = _csv(file, grids, summary)
    parts = list(blocks)
    bars = np.concatenate(parts) if parts else np.zeros(0, BAR)
    if len(bars) == 0:
        raise DataError(f"{file.name} holds no bar{f' of {pair}' if pair else ''}.", "Check it.")
    if (np.diff(bars["ts"]) <= 0).any():
        raise DataError(f"{file.name}: the times do not rise from bar to bar.", "Sort it first.")
    summary.use("bar", len(bars))
    summary.close()
    instrument = Instrument(symbol_of_name(name), tick, lot, grids[0].decimals, grids[1].decimals)
    return VenueBars(instrument, bars, summary, forming)


def _filled(refusals: Refusals, columns: dict[str, np.ndarray]) -> np.ndarray:
    """BAR rows of the columns that were not refused; refuses prices that contradict themselves."""
    body_high = np.maximum(columns["open"], columns["close"])
    body_low = np.minimum(columns["open"], columns["close"])
    inside = (columns["low"] <= body_low) & (body_high <= columns["high"])
    refusals.where(~inside, "open or close outside low and high")
    kept = ~refusals.bad
    bars = np.zeros(int(kept.sum()), BAR)
    bars["ts"] = columns["time"][kept] * _NS
    for name in (*_PRICES, "volume"):
        bars[name] = columns[name][kept]
    bars["count"] = columns["trades"][kept]
    return bars


def _parquet(
    file: Path, pair: str | None, grids: tuple[Grid, Grid], summary: Summary
) -> Iterator[np.ndarray]:
    names = (*COLUMNS, "pair") if pair is not None else COLUMNS
    first_row = 1
    for whole in parquet_blocks(file, names):
        block: dict[str, Any] = whole
        if pair is not None:
            mine = pc.equal(whole["pair"].cast(pa.string()), pair)
            block = {name: whole[name].filter(mine) for name in COLUMNS}
        n = len(block["time"])
        summary.rows_in += n
        refusals = Refusals(file.name, first_row, n)
        first_row += n
        columns = {
            name: block[name].to_numpy(zero_copy_only=False).astype(np.int64)
            for name in ("time", "trades")
        }
        for name in _PRICES:
            values = block[name].to_numpy(zero_copy_only=False)
            columns[name], reason = checked_prices(*steps_of_doubles(values, grids[0]))
            refusals.numbers(reason, name)
        volume = block["volume"].to_numpy(zero_copy_only=False)
        columns["volume"], reason = steps_of_doubles(volume, grids[1], off_grid_allowed=True)
        refusals.numbers(reason, "volume")
        bars = _filled(refusals, columns)
        refusals.declare(summary)
        yield bars


def _csv(file: Path, grids: tuple[Grid, Grid], summary: Summary) -> Iterator[np.ndarray]:
    member = Member(file)
    for first_row, block in csv_blocks(member, COLUMNS, summary, has_header=False):
        refusals = Refusals(file.name, first_row, len(block["time"]))
        columns = {}
        for name in ("time", "trades"):
            columns[name], reason = integers(block[name])
            refusals.numbers(reason, name)
        for name in _PRICES:
            columns[name], reason = price_steps(block[name], grids[0])
            refusals.numbers(reason, name)
        columns["volume"], reason = _summed_volume(block["volume"], grids[1])
        refusals.numbers(reason, "volume")
        bars = _filled(refusals, columns)
        refusals.declare(summary)
        yield bars


def _summed_volume(texts: pa.StringArray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Lots of the archive's volumes, which Kraken summed as doubles: 5718.3365549701."""
    lots, reason = qty_steps(texts, grid, zero_allowed=True)
    for i in np.flatnonzero(reason == OFF_GRID):
        value = np.array([float(texts[int(i)].as_py())])
        nearest, why = steps_of_doubles(value, grid, off_grid_allowed=True)
        lots[i], reason[i] = nearest[0], why[0]
    return lots, reason


class _Answer(msgspec.Struct):
    result: dict[str, msgspec.Raw]
    error: list[str] = []


def _rest_rows(file: Path) -> tuple[str, list[list[Any]]]:
    with open_bytes(Member(file)) as stream:
        data = stream.read()
    try:
        answer = msgspec.json.decode(data, type=_Answer)
        pairs = [name for name in answer.result if name != "last"]
        if answer.error or len(pairs) != 1:
            raise DataError(
                f"{file.name} holds {len(pairs)} pairs and the errors {answer.error}.",
                "An answer of OHLC holds one pair.",
            )
        return pairs[0], msgspec.json.decode(answer.result[pairs[0]], type=list[list[Any]])
    except msgspec.DecodeError as error:
        raise DataError(f"{file.name} is no answer of OHLC: {error}.", "Fetch it again.") from error


def _rest(
    file: Path, rows: list[list[Any]], grids: tuple[Grid, Grid], summary: Summary
) -> Iterator[np.ndarray]:
    """[time, open, high, low, close, vwap, volume, count]; prices and volume are text."""
    whole = [row for row in rows if len(row) == 8]
    summary.rows_in += len(rows)
    summary.reject("a row of another width", file.name, len(rows) - len(whole))
    refusals = Refusals(file.name, 1, len(whole))
    columns = {
        "time": np.array([int(row[0]) for row in whole], np.int64),
        "trades": np.array([int(row[7]) for row in whole], np.int64),
    }
    for i, name in enumerate(_PRICES, 1):
        texts = pa.array([str(row[i]) for row in whole], pa.string())
        columns[name], reason = price_steps(texts, grids[0])
        refusals.numbers(reason, name)
    texts = pa.array([str(row[6]) for row in whole], pa.string())
    columns["volume"], reason = qty_steps(texts, grids[1], zero_allowed=True)
    refusals.numbers(reason, "volume")
    bars = _filled(refusals, columns)
    refusals.declare(summary)
    yield bars
