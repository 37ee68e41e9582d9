"""How is a Coinbase full-depth recording read: one snapshot and its updates as Parquet?

`snapshot.parquet` has side, price, size; `updates.parquet` has time (UTC, exchange clock, ms),
side, price, size, where 0 removes the level. Prices and sizes went through doubles; the nearest
step is what was sent. Each row is a message: which rows came together is not known. There is no
receive time, so `ts` = `ts_venue`, and the snapshot gets the time of the first update. There are
no trades in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from adapters.imports.base import Channel, Import, Stream, Summary
from adapters.imports.columns import Refusals, Stamps, checked_prices, codes, gap_rows
from adapters.imports.digits import OK, ZERO, Grid, steps_of_doubles
from adapters.imports.files import as_paths
from adapters.imports.tables import parquet_blocks
from adapters.imports.windowed import windowed
from engine.errors import DataError
from engine.events import BOOK_LEVEL, BUY, EVENT, GAP, GAP_SOURCE, LAST, SELL, SNAPSHOT
from engine.instruments import Instrument, InstrumentTable

_SIDES: Final = {"buy": BUY, "sell": SELL}
_MILLISECOND_NS: Final = 1_000_000


def read(
    paths: str | Path | Sequence[str | Path],
    *,
    symbol: str | None = None,
    tick_size: str | Decimal = "0.01",
    lot_size: str | Decimal = "0.00000001",
    depth: int = 0,
) -> Import:
    """The folder with both files, or the two files.

    symbol : the pair, which the files do not say, as in BTC/USD
    tick_size, lot_size : steps; Coinbase's of 2018 for pairs in USD
    depth : 0 keeps all levels; else what a subscription of that depth would have sent
    """
    given = as_paths(list(paths) if not isinstance(paths, str | Path) else paths)
    snapshot, updates = find(given)
    if symbol is None:
        raise DataError(
            "the recording does not say which pair it is.", "Give symbol, as in BTC/USD."
        )
    tick, lot = Decimal(str(tick_size)), Decimal(str(lot_size))
    instrument = Instrument(symbol, tick, lot, max(-_exponent(tick), 0), max(-_exponent(lot), 0))
    table = InstrumentTable([instrument])

    def stream(summary: Summary) -> Stream:
        return windowed(_events(snapshot, updates, instrument, summary), table, depth)

    return Import(
        source=f"Coinbase level 2, full depth: {snapshot.name}, {updates.name}",
        venue="coinbase",
        instruments=table,
        channels=(Channel("book", depth, derived=depth > 0),),
        clock="ts = ts_venue: the recording has no receive time; the exchange's stamp stands for it",
        ts_is_receive_time=False,
        stream=stream,
        notes=("each row is a message of its own", "the recording has no trades"),
    )


def find(paths: list[Path]) -> tuple[Path, Path]:
    """The snapshot and the updates among files and folders."""
    files = [
        each for path in paths for each in (path.glob("*.parquet") if path.is_dir() else [path])
    ]
    snapshot = [each for each in files if "snapshot" in each.name]
    updates = [each for each in files if "update" in each.name]
    if len(snapshot) != 1 or len(updates) != 1:
        raise DataError(
            f"a Coinbase recording is one snapshot and one updates file; found "
            f"{len(snapshot)} and {len(updates)} in {', '.join(p.name for p in paths)}.",
            "Give the folder that holds snapshot.parquet and updates.parquet.",
        )
    return snapshot[0], updates[0]


def _exponent(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def _events(
    snapshot: Path, updates: Path, instrument: Instrument, summary: Summary
) -> Iterator[np.ndarray]:
    stamps = Stamps(summary)
    ts_snapshot = _first_time(updates)
    grids = Grid.of(instrument.price_increment), Grid.of(instrument.qty_increment)
    first_row = 1
    pieces = []
    for block in parquet_blocks(snapshot, ("side", "price", "size")):
        n = len(block["side"])
        times = np.full(n, ts_snapshot, np.int64)
        pieces.append(
            _levels(block, times, grids, summary, f"{snapshot.name}", first_row, is_snapshot=True)[
                0
            ]
        )
        first_row += n
    levels = np.concatenate(pieces) if pieces else np.zeros(0, EVENT)
    if len(levels) == 0:
        raise DataError(f"{snapshot.name} holds no level.", "Fetch it again.")
    levels["flags"][-1] |= LAST
    levels["ts"], _ = stamps.of(levels["ts_venue"])
    summary.use("snapshot level", len(levels))
    yield levels
    first_row = 1
    for block in parquet_blocks(updates, ("time", "side", "price", "size")):
        times = block["time"].cast(pa.timestamp("ms", "UTC")).cast(pa.int64())
        given = times.to_numpy(zero_copy_only=False) * _MILLISECOND_NS
        events, holes = _levels(
            block, given, grids, summary, updates.name, first_row, is_snapshot=False
        )
        first_row += len(given)
        events["ts"], back = stamps.of(events["ts_venue"])
        for i in np.flatnonzero(holes):
            earlier = int(events["ts"][i - 1]) if i else ts_snapshot
            events["aux"][i] = earlier
            summary.gap(instrument.symbol, earlier, int(events["ts"][i]), GAP_SOURCE)
        summary.use("update", int((~holes).sum()))
        yield gap_rows(summary, events, back, instrument.symbol, 0)


def _first_time(updates: Path) -> int:
    for block in parquet_blocks(updates, ("time",)):
        if len(block["time"]):
            first = block["time"][:1].cast(pa.timestamp("ms", "UTC")).cast(pa.int64())
            return int(first[0].as_py()) * _MILLISECOND_NS
    raise DataError(f"{updates.name} is empty.", "Fetch it again.")


def _levels(
    block: dict[str, Any],
    times: np.ndarray,
    grids: tuple[Grid, Grid],
    summary: Summary,
    name: str,
    first_row: int,
    is_snapshot: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Events of one block and which of them stand for a refused row (GAP; updates only)."""
    summary.rows_in += len(times)
    refusals = Refusals(name, first_row, len(times))
    sides = codes(block["side"].cast(pa.string()), _SIDES, 0)
    refusals.where(sides == 0, "side neither buy nor sell")
    ticks, reason = checked_prices(*steps_of_doubles(block["price"].to_numpy(), grids[0]))
    refusals.numbers(reason, "price")
    lots, reason = steps_of_doubles(block["size"].to_numpy(), grids[1])
    if is_snapshot:
        reason[(reason == OK) & (lots == 0)] = ZERO
    refusals.numbers(reason, "size")
    refusals.declare(summary)
    events = np.zeros(len(times), EVENT)
    events["ts_venue"] = times
    events["kind"], events["side"] = BOOK_LEVEL, sides
    events["price"], events["qty"] = ticks, lots
    events["flags"] = SNAPSHOT if is_snapshot else LAST
    if is_snapshot:
        kept = events[~refusals.bad]
        return kept, np.zeros(len(kept), bool)
    holes = refusals.bad
    for field in ("side", "price", "qty"):
        events[field][holes] = 0
    events["kind"][holes], events["id"][holes] = GAP, GAP_SOURCE
    return events, holes
