"""How does a CSV file, or a table of columns, become events in a few numpy passes?

Blocks of a CSV as Arrow text columns with declared rejects for rows of another width, and the
shared steps of all columnar readers: refusing rows by reason, stamps that never run backwards,
events put in between. Left out: what the columns mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from adapters.imports.base import TOLERANCE_NS, Summary
from adapters.imports.digits import (
    NEGATIVE,
    NOT_A_NUMBER,
    OK,
    REASONS,
    TOO_LARGE,
    ZERO,
    Column,
    Grid,
    parse_column,
    to_steps_column,
)
from adapters.imports.files import TORN, Member, first_line, open_bytes
from engine.errors import DataError
from engine.events import EVENT, GAP, GAP_BACKWARDS, LAST
from engine.instruments import PRICE_MAX

BLOCK_BYTES: Final = 1 << 20  # Arrow reads up to 32 of them ahead


def header_of(member: Member) -> list[str]:
    """The cells of the first line."""
    line = first_line(member).decode("utf-8", "replace")
    return [cell.strip().strip('"') for cell in line.split(",")]


def csv_blocks(
    member: Member,
    columns: Sequence[str],
    summary: Summary | None,
    *,
    has_header: bool,
) -> Iterator[tuple[int, dict[str, pa.StringArray]]]:
    """(first row number, column name -> texts) per block; rows of another width are declared.

    columns : the ones to give; with a header they are looked up there, without one they are all
    summary : None for a pass that only looks
    """
    given = header_of(member)
    if has_header:
        missing = [name for name in columns if name not in given]
        if missing:
            raise DataError(
                f"{member} has no column {', '.join(missing)}.",
                f"Its header is: {', '.join(given)}.",
            )
    elif len(given) != len(columns):
        raise DataError(
            f"{member} has {len(given)} columns where {', '.join(columns)} were expected.",
            "Check that it is a file of this format.",
        )
    odd_rows = [0]

    def refuse(row: csv.InvalidRow) -> str:
        odd_rows[0] += 1
        if summary is not None:
            summary.rows_in += 1
            summary.reject("a row of another width", f"{member} {row.text[:60]!r}")
        return "skip"

    read = csv.ReadOptions(
        use_threads=False,  # the order of rows and rejects is the order of the file
        block_size=BLOCK_BYTES,
        column_names=None if has_header else list(columns),
    )
    parse = csv.ParseOptions(invalid_row_handler=refuse)
    convert = csv.ConvertOptions(
        column_types={name: pa.string() for name in given}
        if has_header
        else {name: pa.string() for name in columns},
        include_columns=list(columns),
        strings_can_be_null=False,
        check_utf8=False,
    )
    with open_bytes(member) as stream:
        try:
            reader = csv.open_csv(
                pa.PythonFile(stream, mode="r"),
                read_options=read,
                parse_options=parse,
                convert_options=convert,
            )
            number = 1
            for batch in reader:
                if summary is not None:
                    summary.rows_in += len(batch)
                if len(batch):
                    yield number, {name: batch.column(name) for name in columns}
                number += len(batch)
        except pa.ArrowInvalid as error:
            raise DataError(
                f"{member} is not a table of comma separated values: {error}.", "Check the file."
            ) from error
        except TORN:
            raise


# ---- refusing rows ----


@dataclass
class Refusals:
    """Which rows of one block are refused, and why; the first reason of a row counts."""

    member: str
    first_row: int
    n: int
    bad: np.ndarray = field(init=False)
    _reasons: list[tuple[str, np.ndarray]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bad = np.zeros(self.n, bool)

    def where(self, mask: np.ndarray, reason: str) -> None:
        """Refuse the rows of `mask` that are not refused yet."""
        fresh = mask & ~self.bad
        if fresh.any():
            self.bad |= fresh
            self._reasons.append((reason, np.flatnonzero(fresh)))

    def numbers(self, reason: np.ndarray, name: str) -> None:
        """Refuse by the reason codes of digits.py, int8[n]."""
        for code, words in REASONS.items():
            self.where(reason == code, f"{name} {words}")

    def declare(self, summary: Summary) -> None:
        """Put the account into the summary: one sample per reason and block."""
        for reason, rows in self._reasons:
            where = f"{self.member} row {self.first_row + int(rows[0])}"
            summary.reject(reason, where, len(rows))


def price_steps(texts: pa.StringArray | Column, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Ticks above zero of a column of prices, with reasons."""
    column = texts if isinstance(texts, Column) else parse_column(texts)
    ticks, reason = to_steps_column(column, grid)
    return checked_prices(ticks, reason)


def checked_prices(ticks: np.ndarray, reason: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same with zero and more than PRICE_MAX refused."""
    reason[(reason == OK) & (ticks == 0)] = ZERO
    reason[(reason == OK) & (ticks > PRICE_MAX)] = TOO_LARGE
    return ticks, reason


def qty_steps(
    texts: pa.StringArray | Column, grid: Grid, zero_allowed: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Lots of a column of quantities, with reasons."""
    column = texts if isinstance(texts, Column) else parse_column(texts)
    lots, reason = to_steps_column(column, grid)
    if not zero_allowed:
        reason[(reason == OK) & (lots == 0)] = ZERO
    return lots, reason


def integers(texts: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers of a column, with reasons (a fraction is NOT_A_NUMBER)."""
    column = parse_column(texts)
    reason = np.where(column.odd | (column.decimals > 0), NOT_A_NUMBER, OK).astype(np.int8)
    for i in np.flatnonzero(column.odd):
        if column.texts[int(i)].as_py().startswith("-"):
            reason[i] = NEGATIVE
    return np.where(reason == OK, column.mantissa, 0), reason


def codes(texts: pa.StringArray, table: dict[str, int], otherwise: int) -> np.ndarray:
    """int64[n]: the code of each text, `otherwise` where the table has none."""
    encoded = pc.dictionary_encode(texts)
    values = [table.get(text, otherwise) for text in encoded.dictionary.to_pylist()]
    if not values:
        return np.zeros(0, np.int64)
    return np.array(values, np.int64)[encoded.indices.to_numpy(zero_copy_only=False)]


# ---- time and order ----


class Stamps:
    """Columnar twin of base.Rows.stamp: clamps steps back and says where they are gaps."""

    def __init__(self, summary: Summary, tolerance_ns: int = TOLERANCE_NS) -> None:
        self._summary = summary
        self._tolerance_ns = tolerance_ns
        self._given = -1
        self.ts = -1

    def of(self, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(stamps that never decrease, rows before which time stepped back too far)."""
        if len(given) == 0:
            return given, np.zeros(0, np.int64)
        before = np.concatenate([[given[0] if self._given < 0 else self._given], given[:-1]])
        behind = before - given
        if (behind > 0).any():
            self._summary.step_back(int(behind.max()), int((behind > 0).sum()))
        stamps = np.maximum.accumulate(np.maximum(given, self.ts))
        self._given, self.ts = int(given[-1]), int(stamps[-1])
        return stamps, np.flatnonzero(behind > self._tolerance_ns)


def gap_rows(
    summary: Summary, events: np.ndarray, at: np.ndarray, symbol: str, sym: int
) -> np.ndarray:
    """`events` with a GAP_BACKWARDS event before each of the rows `at`; notes the gaps."""
    if len(at) == 0:
        return events
    gaps = np.zeros(len(at), EVENT)
    gaps["ts"] = gaps["aux"] = events["ts"][at]
    gaps["kind"], gaps["id"], gaps["flags"], gaps["sym"] = GAP, GAP_BACKWARDS, LAST, sym
    for ts in gaps["ts"]:
        summary.gap(symbol, int(ts), int(ts), GAP_BACKWARDS)
    return np.insert(events, at, gaps)
