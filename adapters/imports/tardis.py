"""How are Tardis' CSV files read: `incremental_book_L2` and `trades`, together in time order?

Facts of the format: a header; times in whole microseconds; files split by `local_timestamp`, which
is the receive time and becomes `ts`; rows of one venue message share it; `amount` is absolute and
0 removes; a run of `is_snapshot=true` rows replaces the book. Numbers have lost their zeros and
there is no checksum. Kraken's symbols are v1 names before 2026-07-10 and v2 names after; both give
the same pair here.

A message with a wrong number is rejected whole, and a GAP event says that the book is wrong from
there on. Updates before the first snapshot are rejected: they have nothing to stand on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from adapters.imports.base import Channel, Import, Stream, Summary
from adapters.imports.columns import (
    Refusals,
    Stamps,
    codes,
    csv_blocks,
    gap_rows,
    header_of,
    integers,
    price_steps,
    qty_steps,
)
from adapters.imports.digits import Grid, parse_column, significant_decimals_column
from adapters.imports.files import Member, as_paths, members
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
from engine.events import (
    BOOK_LEVEL,
    BUY,
    EVENT,
    GAP,
    GAP_SOURCE,
    LAST,
    RESYNC,
    SELL,
    SNAPSHOT,
    TRADE,
)
from engine.instruments import InstrumentTable, UnknownSymbolError, canonical_symbol

BOOK_COLUMNS: Final = (
    *("exchange", "symbol", "timestamp", "local_timestamp"),
    *("is_snapshot", "side", "price", "amount"),
)
TRADE_COLUMNS: Final = (
    *("exchange", "symbol", "timestamp", "local_timestamp"),
    *("id", "side", "price", "amount"),
)
_SIDES: Final = {"bid": BUY, "ask": SELL, "buy": BUY, "sell": SELL}
_TRUTHS: Final = {"true": 1, "false": 0}
_MICROSECOND_NS: Final = 1000

# One accepted or refused row of a book file on its way to an event.
_ROW: Final = np.dtype(
    [
        ("ts", "<i8"),
        ("ts_venue", "<i8"),
        ("price", "<i8"),
        ("qty", "<i8"),
        ("sym", "<i8"),
        ("side", "<i8"),
        ("snapshot", "<i8"),
        ("bad", "<i8"),
    ]
)


@dataclass
class _File:
    member: Member
    is_book: bool
    symbols: dict[str, Digits]  # spelling in the file -> its digits
    exchange: str
    ts_first: int


def is_book_header(header: Sequence[str]) -> bool:
    return "is_snapshot" in header and "amount" in header


def is_trade_header(header: Sequence[str]) -> bool:
    return {"id", "side", "price", "amount", "local_timestamp"} <= set(header)


def read(
    paths: str | Path | Sequence[str | Path],
    *,
    symbols: Sequence[str] | None = None,
    instruments: str | Path | InstrumentTable | None = None,
    tick_size: str | Decimal | None = None,
    lot_size: str | Decimal | None = None,
    depth: int | None = None,
) -> Import:
    """Book and trade files, told apart by their headers, merged by `local_timestamp`.

    symbols : only these pairs
    instruments : an AssetPairs answer, an instrument snapshot or a table; else the steps are the
        finest digits of the data, found in a first pass
    tick_size, lot_size : steps that replace the inferred ones, for files of one pair
    depth : of the recorded book subscription; Kraken drops levels beyond it without a word, so a
        reader must cut. Default 1000 for kraken, 0 (all) for others
    """
    given = as_paths(list(paths) if not isinstance(paths, str | Path) else paths)
    files = [_look(member) for member in members(given, ".csv")]
    files.sort(key=lambda each: (each.ts_first, str(each.member)))
    exchanges = sorted({each.exchange for each in files})
    if len(exchanges) > 1:
        raise DataError(
            f"the files come from several exchanges: {', '.join(exchanges)}.",
            "Import one exchange at a time.",
        )
    table, rows_of = _instruments(files, symbols, instruments, tick_size, lot_size)
    has_book = any(each.is_book for each in files)
    if depth is None:
        depth = 1000 if exchanges == ["kraken"] else 0
    channels = ([Channel("book", depth)] if has_book else []) + (
        [] if all(each.is_book for each in files) else [Channel("trade")]
    )
    chains: dict[tuple[bool, str], list[_File]] = {}
    for each in files:
        key = (not each.is_book, ",".join(sorted(each.symbols)))
        chains.setdefault(key, []).append(each)

    def stream(summary: Summary) -> Stream:
        return merge(
            [
                _trades(chain, table, rows_of, summary)
                if is_trade
                else _Books(chain, table, rows_of, summary).run()
                for (is_trade, _), chain in sorted(chains.items())
            ]
        )

    notes = ["the capture has no checksums: a damaged book cannot be found out from the data"]
    if instruments is None and not (tick_size and lot_size):
        notes.append("price and quantity steps were inferred from the digits of the data")
    if has_book and depth:
        notes.append(f"the book must be cut to {depth} levels a side after every message")
    return Import(
        source=f"Tardis CSV of {exchanges[0]}: {', '.join(str(f.member) for f in files)}",
        venue=exchanges[0],
        instruments=table,
        channels=tuple(channels),
        clock="ts: local_timestamp of the recorder; ts_venue: timestamp of the exchange",
        ts_is_receive_time=True,
        stream=stream,
        notes=tuple(notes),
    )


def _look(member: Member) -> _File:
    """First pass over one file: its kind, pairs, digits and first stamp."""
    header = header_of(member)
    is_book = is_book_header(header)
    # A header that fits neither is reported as the kind that it is closer to.
    is_book = is_book or (not is_trade_header(header) and "id" not in header)
    columns = BOOK_COLUMNS if is_book else TRADE_COLUMNS
    look = _File(member, is_book, {}, "", -1)
    for _, block in csv_blocks(member, columns, None, has_header=True):
        if look.ts_first < 0:
            stamps, _ = integers(block["local_timestamp"][:1])
            look.ts_first = int(stamps[0])
            look.exchange = block["exchange"][0].as_py()
        price, qty = parse_column(block["price"]), parse_column(block["amount"])
        for spelling in block["symbol"].unique().to_pylist():
            digits = look.symbols.setdefault(spelling, Digits())
            mine = np.asarray(pa.compute.equal(block["symbol"], spelling))
            for column, name in ((price, "price_needed"), (qty, "qty_needed")):
                part = type(column)(
                    column.mantissa[mine],
                    column.decimals[mine],
                    column.odd[mine],
                    column.texts.filter(pa.array(mine)),
                )
                most = max(getattr(digits, name), significant_decimals_column(part))
                setattr(digits, name, most)
    if look.ts_first < 0:
        raise DataError(f"{member} has a header but no rows.", "Leave it out.")
    return look


def _instruments(
    files: list[_File],
    symbols: Sequence[str] | None,
    reference: str | Path | InstrumentTable | None,
    tick_size: str | Decimal | None,
    lot_size: str | Decimal | None,
) -> tuple[InstrumentTable, dict[str, int]]:
    """The table, and its row for each spelling in the files (-1: not asked for)."""
    wanted = {canonical_symbol(each) for each in symbols} if symbols else None
    known = read_instruments(reference) if reference is not None else None
    digits: dict[str, Digits] = {}
    spellings: dict[str, str] = {}
    for each in files:
        for spelling, seen in each.symbols.items():
            try:
                symbol = symbol_of_name(spelling)
            except UnknownSymbolError as error:
                raise DataError(
                    f"{each.member}: {error}", "Is the column symbol damaged?"
                ) from error
            spellings[spelling] = symbol
            joint = digits.setdefault(symbol, Digits())
            joint.price_needed = max(joint.price_needed, seen.price_needed)
            joint.qty_needed = max(joint.qty_needed, seen.qty_needed)
    missing = (wanted or set()) - set(digits)
    if missing:
        raise DataError(
            f"the files do not hold {', '.join(sorted(missing))}.",
            f"They hold {', '.join(sorted(digits))}.",
        )
    picked = []
    for symbol in sorted(digits):
        if wanted is not None and symbol not in wanted:
            continue
        found = (
            pick(known, symbol, "instruments")
            if known is not None
            else instrument_from_digits(symbol, digits[symbol])
        )
        picked.append(instrument_from_options(symbol, tick_size, lot_size, found))
    table = InstrumentTable(picked)
    rows = {
        spelling: table.index(symbol) if symbol in table else -1
        for spelling, symbol in spellings.items()
    }
    return table, rows


class _Grids:
    """Steps of a block whose rows belong to several pairs."""

    def __init__(self, table: InstrumentTable) -> None:
        self._price = [Grid.of(each.price_increment) for each in table]
        self._qty = [Grid.of(each.qty_increment) for each in table]

    def of(
        self, block: dict[str, pa.StringArray], syms: np.ndarray, zero_allowed: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """ticks, their reasons, lots, their reasons; zeros for rows of no pair."""
        n = len(syms)
        ticks, lots = np.zeros(n, np.int64), np.zeros(n, np.int64)
        price_reason, qty_reason = np.zeros(n, np.int8), np.zeros(n, np.int8)
        for sym in np.unique(syms[syms >= 0]):
            mine = syms == sym
            mask = pa.array(mine)
            ticks[mine], price_reason[mine] = price_steps(
                block["price"].filter(mask), self._price[sym]
            )
            lots[mine], qty_reason[mine] = qty_steps(
                block["amount"].filter(mask), self._qty[sym], zero_allowed
            )
        return ticks, price_reason, lots, qty_reason


def _trades(
    chain: list[_File], table: InstrumentTable, rows_of: dict[str, int], summary: Summary
) -> Iterator[np.ndarray]:
    grids = _Grids(table)
    stamps = Stamps(summary)
    for each in chain:
        for first_row, block in csv_blocks(each.member, TRADE_COLUMNS, summary, has_header=True):
            syms = codes(block["symbol"], rows_of, -1)
            refusals = Refusals(str(each.member), first_row, len(syms))
            refusals.where(syms < 0, "pair not asked for")
            local, reason = integers(block["local_timestamp"])
            refusals.numbers(reason, "local_timestamp")
            venue, reason = integers(block["timestamp"])
            refusals.numbers(reason, "timestamp")
            ticks, price_reason, lots, qty_reason = grids.of(block, syms, zero_allowed=False)
            refusals.numbers(price_reason, "price")
            refusals.numbers(qty_reason, "amount")
            refusals.declare(summary)
            kept = ~refusals.bad
            trade_ids, _ = integers(block["id"])  # not every venue numbers them: then 0
            events = np.zeros(int(kept.sum()), EVENT)
            events["ts"], back = stamps.of(local[kept] * _MICROSECOND_NS)
            events["ts_venue"] = venue[kept] * _MICROSECOND_NS
            events["price"], events["qty"] = ticks[kept], lots[kept]
            events["id"], events["sym"] = trade_ids[kept], syms[kept]
            events["kind"], events["flags"] = TRADE, LAST
            events["side"] = codes(block["side"], _SIDES, 0)[kept]
            summary.use("trade", len(events))
            yield gap_rows(summary, events, back, "", -1)


class _Books:
    """One chain of book files: blocks in, whole messages out."""

    def __init__(
        self, chain: list[_File], table: InstrumentTable, rows_of: dict[str, int], summary: Summary
    ) -> None:
        self._chain = chain
        self._table = table
        self._rows_of = rows_of
        self._summary = summary
        self._grids = _Grids(table)
        self._stamps = Stamps(summary)
        self._synced = np.zeros(len(table), bool)
        self._ts_last = np.zeros(len(table), np.int64)

    def run(self) -> Iterator[np.ndarray]:
        for each in self._chain:
            held = np.zeros(0, _ROW)
            blocks = csv_blocks(each.member, BOOK_COLUMNS, self._summary, has_header=True)
            for first_row, block in blocks:
                rows = np.concatenate([held, self._rows(each, first_row, block)])
                # The last message may go on in the next block, never in the next file.
                n_whole = int(_starts(rows)[-1]) if len(rows) else 0
                yield self._events(rows[:n_whole])
                held = rows[n_whole:]
            yield self._events(held)

    def _rows(self, each: _File, first_row: int, block: dict[str, pa.StringArray]) -> np.ndarray:
        """Parsed rows of one block; those of pairs not asked for are left out, bad ones marked."""
        syms = codes(block["symbol"], self._rows_of, -1)
        refusals = Refusals(str(each.member), first_row, len(syms))
        refusals.where(syms < 0, "pair not asked for")
        local, reason = integers(block["local_timestamp"])
        refusals.numbers(reason, "local_timestamp")
        no_time = refusals.bad.copy()
        venue, reason = integers(block["timestamp"])
        refusals.numbers(reason, "timestamp")
        snapshot = codes(block["is_snapshot"], _TRUTHS, -1)
        refusals.where(snapshot < 0, "is_snapshot neither true nor false")
        side = codes(block["side"], {"bid": BUY, "ask": SELL}, 0)
        refusals.where(side == 0, "side neither bid nor ask")
        ticks, price_reason, lots, qty_reason = self._grids.of(block, syms, zero_allowed=True)
        refusals.numbers(price_reason, "price")
        refusals.numbers(qty_reason, "amount")
        refusals.declare(self._summary)
        rows = np.zeros(len(syms), _ROW)
        rows["ts"], rows["ts_venue"] = local * _MICROSECOND_NS, venue * _MICROSECOND_NS
        rows["price"], rows["qty"] = ticks, lots
        rows["sym"], rows["side"], rows["snapshot"] = syms, side, np.maximum(snapshot, 0)
        rows["bad"] = refusals.bad
        # A row without a receive time belongs to the message that it stands in.
        lost = np.flatnonzero(no_time & (syms >= 0))
        for i in lost:
            rows["ts"][i] = rows["ts"][i - 1] if i else max(self._stamps.ts, 0)
        return rows[syms >= 0]

    def _events(self, rows: np.ndarray) -> np.ndarray:
        """Events of whole messages."""
        if len(rows) == 0:
            return np.zeros(0, EVENT)
        starts = _starts(rows)
        ends = np.append(starts[1:], len(rows))
        message = np.repeat(np.arange(len(starts)), ends - starts)
        # A snapshot run may have come in several pieces: it is complete with its last one.
        stamps, back = self._stamps.of(rows["ts"][ends - 1])
        bad = np.maximum.reduceat(rows["bad"], starts) > 0
        snapshot = rows["snapshot"][starts] > 0
        dropped = bad.copy()
        put_in: list[tuple[int, int, int, int]] = []  # message, kind, sym, cause
        special = np.flatnonzero(snapshot | bad)
        syms = rows["sym"][starts]
        for waiting in np.flatnonzero(~self._synced):
            mine = syms == waiting
            first = np.flatnonzero(mine & snapshot & ~bad)
            until = int(first[0]) if len(first) else len(starts)
            dropped |= mine & ~snapshot & (np.arange(len(starts)) < until)
        for i in special:
            sym = int(syms[i])
            if bad[i]:
                put_in.append((int(i), GAP, sym, GAP_SOURCE))
            else:
                if self._synced[sym]:
                    put_in.append((int(i), RESYNC, sym, GAP_SOURCE))
                self._synced[sym] = True
        self._account(rows, dropped, bad, message)
        row_last = np.zeros(len(rows), bool)
        row_last[ends - 1] = True
        events = np.zeros(len(rows), EVENT)
        events["ts"] = stamps[message]
        for name in ("ts_venue", "price", "qty", "sym", "side"):
            events[name] = rows[name]
        events["kind"] = BOOK_LEVEL
        events["flags"] = np.where(row_last, LAST, 0) | np.where(rows["snapshot"] > 0, SNAPSHOT, 0)
        return self._joined(events, ~dropped[message], starts, stamps, back, put_in)

    def _account(
        self, rows: np.ndarray, dropped: np.ndarray, bad: np.ndarray, message: np.ndarray
    ) -> None:
        """Rows of dropped messages that are not declared yet, and those used."""
        n_beside = int((bad[message] & (rows["bad"] == 0)).sum())
        self._summary.reject("in a message with a wrong row", n=n_beside)
        n_early = int(((dropped & ~bad)[message]).sum())
        self._summary.reject("book update before its snapshot", n=n_early)
        self._summary.use("book level", int((~dropped[message]).sum()))

    def _joined(
        self,
        events: np.ndarray,
        kept: np.ndarray,
        starts: np.ndarray,
        stamps: np.ndarray,
        back: np.ndarray,
        put_in: list[tuple[int, int, int, int]],
    ) -> np.ndarray:
        """The kept rows with GAP and RESYNC events before the messages that they concern."""
        position = np.concatenate([[0], np.cumsum(kept)])
        extra = np.zeros(len(put_in), EVENT)
        for row, (i, kind, sym, cause) in zip(extra, put_in, strict=True):
            ts = int(stamps[i])
            row["ts"], row["kind"], row["sym"], row["id"] = ts, kind, sym, cause
            row["flags"] = LAST
            if kind == GAP:
                earlier = events["ts"][: starts[i]][events["sym"][: starts[i]] == sym]
                row["aux"] = int(earlier[-1]) if len(earlier) else int(self._ts_last[sym])
                self._summary.gap(self._table[sym].symbol, int(row["aux"]), ts, cause)
        at = np.array([position[starts[i]] for i, *_ in put_in], np.int64)
        for sym in np.unique(events["sym"]):
            self._ts_last[sym] = events["ts"][events["sym"] == sym][-1]
        joined = np.insert(events[kept], at, extra) if len(extra) else events[kept]
        if len(back):
            moved = np.searchsorted(at, position[starts[back]], side="left")
            joined = gap_rows(self._summary, joined, position[starts[back]] + moved, "", -1)
        return joined


def _starts(rows: np.ndarray) -> np.ndarray:
    """First row of each message: rows of one pair with one receive time; a snapshot is one run."""
    if len(rows) == 0:
        return np.zeros(0, np.int64)
    new = rows["sym"][1:] != rows["sym"][:-1]
    new |= rows["snapshot"][1:] != rows["snapshot"][:-1]
    new |= (rows["ts"][1:] != rows["ts"][:-1]) & (rows["snapshot"][1:] == 0)
    return np.concatenate([[0], np.flatnonzero(new) + 1])
