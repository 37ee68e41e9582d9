"""What is the same in every recorded Kraken session, whichever version of the socket wrote it?

Which pairs are taken, in which units; frames in, pieces of events out; what a connection that was
replaced takes with it. Left out: the messages themselves (kraken_v1_book.py, kraken_v2_book.py),
files and stamps (kraken_frames.py), books (kraken_books.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

from adapters.imports.base import Rows, Stream, Summary
from adapters.imports.files import Member
from adapters.imports.instruments import (
    Digits,
    instrument_from_digits,
    instrument_from_options,
    pick,
    read_instruments,
    with_text_precision,
)
from adapters.imports.kraken_books import BookFeed
from adapters.imports.kraken_frames import Frame, frames
from engine.errors import DataError
from engine.events import GAP_DISCONNECT, GAP_SOURCE, LAST, NO_SYMBOL, SYSTEM_STATUS
from engine.instruments import InstrumentTable, canonical_symbol

PIECE_ROWS: Final = 4096


def instruments_of(
    pairs: Mapping[str, Digits],
    symbols: Sequence[str] | None,
    reference: str | Path | InstrumentTable | None,
    tick_size: str | Decimal | None,
    lot_size: str | Decimal | None,
    *,
    text_precision: bool = False,
) -> InstrumentTable:
    """The pairs of a recording that are wanted, with their units.

    pairs : what was seen of each pair's numbers, by the name the recording gives it
    text_precision : the decimals of the text stand above those of `reference`
    raises DataError if a wanted pair is not in the recording
    """
    wanted = {canonical_symbol(each) for each in symbols} if symbols else None
    known = read_instruments(reference) if reference is not None else None
    picked = []
    for pair, digits in pairs.items():
        symbol = canonical_symbol(pair)
        if wanted is not None and symbol not in wanted:
            continue
        if known is None:
            each = instrument_from_digits(symbol, digits, as_written=True)
        else:
            each = pick(known, symbol, pair)
            each = with_text_precision(each, digits) if text_precision else each
        picked.append(instrument_from_options(symbol, tick_size, lot_size, each))
    missing = (wanted or set()) - {each.symbol for each in picked}
    if missing:
        raise DataError(
            f"the recording does not hold {', '.join(sorted(missing))}.",
            f"It holds {', '.join(sorted(canonical_symbol(p) for p in pairs))}.",
        )
    return InstrumentTable(sorted(picked, key=lambda each: each.symbol))


class RecordedSession(ABC):
    """One pass: frames in, events out. names : the recording's name of a pair -> its symbol"""

    def __init__(
        self,
        summary: Summary,
        table: InstrumentTable,
        names: dict[str, int],
        depths: dict[int, int],
    ) -> None:
        self._summary = summary
        self._rows = Rows(summary, table)
        self._feed = BookFeed(summary, self._rows, table, depths)
        self._names = names
        self._connection: dict[str, int] = {}
        self._syms_of_conn: dict[str, set[int]] = {}

    def run(self, found: list[Member]) -> Stream:
        for frame in frames(found, self._summary):
            if frame.text:
                self._line(frame)
            else:
                self._rows.gap(NO_SYMBOL, self._rows.ts, GAP_SOURCE)  # declared by `frames`
            piece = self._rows.take(PIECE_ROWS)
            if len(piece):
                yield piece
        yield self._rows.rest()

    @abstractmethod
    def _line(self, frame: Frame) -> None: ...

    def _has_book(self, sym: int, frame: Frame) -> None:
        """The book of `sym` comes by the connection of this frame, and goes with it."""
        self._syms_of_conn.setdefault(frame.conn, set()).add(sym)

    def _unsubscribed(self, pairs: Iterable[str]) -> None:
        for pair in pairs:
            if pair in self._names:
                self._feed.unsubscribed(self._names[pair])

    def _system(self, status: int, connection: int | None, frame: Frame) -> None:
        """A status message. connection : the venue's number of it; another one is a new line"""
        if connection:
            before = self._connection.setdefault(frame.conn, connection)
            if before != connection:
                self._connection[frame.conn] = connection
                self._rows.gap(NO_SYMBOL, self._rows.ts, GAP_DISCONNECT)
                syms = sorted(self._syms_of_conn.get(frame.conn, ()))
                self._feed.disconnected(syms, GAP_DISCONNECT)
        self._rows.add(SYSTEM_STATUS, aux=status, flags=LAST)
        self._summary.use("system status")
