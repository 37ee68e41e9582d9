"""How is Kraken's time-and-sales archive read: one CSV per pair, time, price, volume?

Facts of the format: no header; unix time in whole seconds; no side, no id, no order type; file
order is trade order, so nothing is sorted and nothing deduplicated: several equal rows are
several trades. `ts` = `ts_venue` = the second; a trade really happened within the second after it.

Files may be plain or gzipped CSV or zip archives of many; the pair comes from the file's name
(`XBTUSD.csv`). Several files of one pair follow each other by their first time; where the
quarters overlap, rows of the later file up to the earlier one's end are cut and declared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

import numpy as np

from adapters.imports.base import Channel, Import, Stream, Summary
from adapters.imports.columns import (
    Refusals,
    Stamps,
    csv_blocks,
    gap_rows,
    price_steps,
    qty_steps,
)
from adapters.imports.digits import (
    Grid,
    parse_column,
    significant_decimals_column,
    to_steps_column,
)
from adapters.imports.files import Member, as_paths, first_line, members
from adapters.imports.instruments import (
    Digits,
    instrument_from_digits,
    instrument_from_options,
    pick,
    read_instruments,
    symbol_of_name,
)
from adapters.imports.merge import merge
from engine.errors import DataError
from engine.events import EVENT, LAST, TRADE
from engine.instruments import Instrument, InstrumentTable, canonical_symbol

COLUMNS: Final = ("time", "price", "volume")
_MICROSECOND: Final = Grid.of(Decimal("1e-6"))


@dataclass(frozen=True)
class _Pair:
    instrument: Instrument
    files: tuple[Member, ...]


def read(
    paths: str | Path | Sequence[str | Path],
    *,
    symbol: str | None = None,
    symbols: Sequence[str] | None = None,
    instruments: str | Path | InstrumentTable | None = None,
    tick_size: str | Decimal | None = None,
    lot_size: str | Decimal | None = None,
) -> Import:
    """Trades of the archive, several pairs merged by time.

    symbol : the pair, where the file's name does not say it
    symbols : only these pairs of an archive
    instruments : an AssetPairs answer, an instrument snapshot or a table; else the steps are the
        finest digits of each file, found in a first pass. Beware: today's tick does not hold for
        old trades, which then become rejects "price off the grid"
    tick_size, lot_size : steps that replace the inferred ones
    """
    found = members(as_paths(list(paths) if not isinstance(paths, str | Path) else paths), ".csv")
    pairs = _pairs(found, symbol, symbols, instruments, tick_size, lot_size)
    table = InstrumentTable(pair.instrument for pair in pairs)

    def stream(summary: Summary) -> Stream:
        return merge([_trades(pair, sym, summary) for sym, pair in enumerate(pairs)])

    notes = ["several trades share a second; their order is the order of the file"]
    if instruments is None and not (tick_size and lot_size):
        notes.append("price and quantity steps were inferred from the digits of the data")
    return Import(
        source=f"Kraken time and sales: {', '.join(str(f) for pair in pairs for f in pair.files)}",
        venue="kraken",
        instruments=table,
        channels=(Channel("trade"),),
        clock="ts = ts_venue: whole seconds of the venue; each trade fell in the second after it",
        ts_is_receive_time=False,
        stream=stream,
        notes=tuple(notes),
    )


def _pairs(
    found: list[Member],
    symbol: str | None,
    symbols: Sequence[str] | None,
    reference: str | Path | InstrumentTable | None,
    tick_size: str | Decimal | None,
    lot_size: str | Decimal | None,
) -> list[_Pair]:
    wanted = {canonical_symbol(each) for each in symbols} if symbols else None
    files: dict[str, list[Member]] = {}
    for member in found:
        name = canonical_symbol(symbol) if symbol else _symbol_of(member)
        if wanted is None or name in wanted:
            files.setdefault(name, []).append(member)
    missing = (wanted or set()) - set(files)
    if missing:
        raise DataError(
            f"no file for {', '.join(sorted(missing))} in the archive.",
            "File names are as in XBTUSD.csv.",
        )
    known = read_instruments(reference) if reference is not None else None
    pairs = []
    for name in sorted(files):
        ordered = tuple(sorted(files[name], key=_first_time))
        if known is not None:
            each = pick(known, name, str(ordered[0]))
        elif tick_size is not None and lot_size is not None:
            each = instrument_from_digits(name, Digits())
        else:
            each = instrument_from_digits(name, _digits(ordered))
        each = instrument_from_options(name, tick_size, lot_size, each)
        pairs.append(_Pair(each, ordered))
    return pairs


def _symbol_of(member: Member) -> str:
    return symbol_of_name(member.name.rpartition(".")[0] or member.name)


def _first_time(member: Member) -> float:
    cell = first_line(member).split(b",")[0]
    try:
        return float(cell)
    except ValueError:
        raise DataError(
            f"{member} does not begin with a time but with {cell[:40]!r}.",
            "The archive's files have no header: time, price, volume.",
        ) from None


def _digits(files: Sequence[Member]) -> Digits:
    digits = Digits()
    for member in files:
        for _, block in csv_blocks(member, COLUMNS, None, has_header=False):
            price = significant_decimals_column(parse_column(block["price"]))
            volume = significant_decimals_column(parse_column(block["volume"]))
            digits.price_needed = max(digits.price_needed, price)
            digits.qty_needed = max(digits.qty_needed, volume)
    return digits


def _trades(pair: _Pair, sym: int, summary: Summary) -> Iterator[np.ndarray]:
    price_grid = Grid.of(pair.instrument.price_increment)
    qty_grid = Grid.of(pair.instrument.qty_increment)
    stamps = Stamps(summary)
    cut = -1  # rows of a later file at or before the end of the earlier one
    for member in pair.files:
        for first_row, block in csv_blocks(member, COLUMNS, summary, has_header=False):
            n = len(block["time"])
            refusals = Refusals(str(member), first_row, n)
            times, reason = to_steps_column(parse_column(block["time"]), _MICROSECOND)
            times *= 1000
            refusals.numbers(reason, "time")
            ticks, reason = price_steps(block["price"], price_grid)
            refusals.numbers(reason, "price")
            lots, reason = qty_steps(block["volume"], qty_grid, zero_allowed=False)
            refusals.numbers(reason, "volume")
            refusals.where(times <= cut, "overlaps the file before")
            refusals.declare(summary)
            kept = ~refusals.bad
            events = np.zeros(int(kept.sum()), EVENT)
            events["ts_venue"] = times[kept]
            events["ts"], back = stamps.of(events["ts_venue"])
            events["sym"], events["kind"], events["flags"] = sym, TRADE, LAST
            events["price"], events["qty"] = ticks[kept], lots[kept]
            summary.use("trade", len(events))
            yield gap_rows(summary, events, back, pair.instrument.symbol, sym)
        cut = max(cut, stamps.ts)
