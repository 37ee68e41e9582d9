"""What does every foreign recording become? Batches of events, a table of pairs, and the facts.

A reader gives an `Import`: what it is made of is known at once, the events stream out of
`batches()` with memory that does not grow, and `summary` holds the account afterwards: rows in =
rows used + declared rejects. Left out: where the events are stored; the command line hands them to
the cold store's writer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from engine.errors import InvariantError
from engine.events import (
    EVENT,
    GAP,
    GAP_BACKWARDS,
    GAP_CHECKSUM,
    GAP_CROSSED,
    GAP_DISCONNECT,
    GAP_DROPPED,
    GAP_SOURCE,
    KIND_NAMES,
    LAST,
    NO_SYMBOL,
    RESYNC,
    empty,
)
from engine.instruments import InstrumentTable

BATCH_ROWS: Final = 1 << 16  # rows of a batch; a message is never split over two
SAMPLES_MAX: Final = 20  # rejects that are kept with their place
TOLERANCE_NS: Final = 1_000_000_000  # a longer step back in time is a gap
GAPS_MAX: Final = 100_000  # gaps that are kept one by one; beyond, they are only counted

CAUSES: Final[dict[int, str]] = {
    GAP_DISCONNECT: "disconnect",
    GAP_CHECKSUM: "checksum",
    GAP_DROPPED: "dropped",
    GAP_SOURCE: "source",
    GAP_CROSSED: "crossed",
    GAP_BACKWARDS: "backwards",
}


@dataclass(frozen=True)
class Channel:
    """One kind of data in a capture.

    name : book, level3, trade, ticker or status
    depth : levels per side that the venue sent, 0 = the whole book (book and level3 only)
    derived : computed from another feed, not sent by the venue
    symbols : the pairs that it covers; empty means all of the import
    """

    name: str
    depth: int = 0
    derived: bool = False
    symbols: tuple[str, ...] = ()


def book_channels(depths: Mapping[str, int]) -> list[Channel]:
    """One book channel per depth of `depths` (symbol -> levels a side, 0 = all)."""
    return [
        Channel("book", depth, symbols=tuple(sorted(s for s, d in depths.items() if d == depth)))
        for depth in sorted(set(depths.values()))
    ]


@dataclass(frozen=True)
class GapFact:
    """A stretch in which something is missing; `symbol` is empty for all pairs. Times in ns."""

    symbol: str
    ts_from: int
    ts_to: int
    cause: str


@dataclass
class Summary:
    """The account of one pass over the source. Complete once `batches()` is exhausted."""

    rows_in: int = 0
    rows_used: Counter[str] = field(default_factory=Counter)
    rejects: Counter[str] = field(default_factory=Counter)
    samples: list[str] = field(default_factory=list)
    n_events: int = 0
    events: Counter[str] = field(default_factory=Counter)
    checksums_verified: Counter[str] = field(default_factory=Counter)
    checksums_failed: Counter[str] = field(default_factory=Counter)
    gaps: list[GapFact] = field(default_factory=list)
    n_gaps: int = 0
    n_backwards: int = 0
    backwards_ns_max: int = 0
    ts_first: int = 0
    ts_last: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    complete: bool = False

    def use(self, what: str, n: int = 1) -> None:
        """Count `n` rows of the source that were understood."""
        self.rows_used[what] += n

    def reject(self, reason: str, where: str = "", n: int = 1) -> None:
        """Declare `n` rows of the source that are not in the events, and why."""
        if n <= 0:
            return
        self.rejects[reason] += n
        if len(self.samples) < SAMPLES_MAX:
            self.samples.append(f"{where}: {reason}" if where else reason)

    def gap(self, symbol: str, ts_from: int, ts_to: int, cause: int) -> None:
        """Note a hole; `cause` is a GAP_* code."""
        self.n_gaps += 1
        if len(self.gaps) < GAPS_MAX:
            self.gaps.append(GapFact(symbol, int(ts_from), int(ts_to), CAUSES[cause]))

    def step_back(self, ns: int, n: int = 1) -> None:
        """Count `n` steps back in time, the longest of `ns`."""
        self.n_backwards += n
        self.backwards_ns_max = max(self.backwards_ns_max, int(ns))

    @property
    def n_rejected(self) -> int:
        return sum(self.rejects.values())

    @property
    def n_verified(self) -> int:
        return sum(self.checksums_verified.values())

    @property
    def n_failed(self) -> int:
        return sum(self.checksums_failed.values())

    def close(self) -> None:
        """Hold the invariant of every import: no row of the source is lost in silence."""
        used = sum(self.rows_used.values())
        if self.rows_in != used + self.n_rejected:
            raise InvariantError(
                f"the import read {self.rows_in} rows but used {used} and declared "
                f"{self.n_rejected} rejects: {self.rows_in - used - self.n_rejected} are lost."
            )
        self.complete = True

    def to_json(self) -> dict[str, Any]:
        """Plain values for a manifest or `--json`."""
        return {
            "rows_in": self.rows_in,
            "rows_used": dict(sorted(self.rows_used.items())),
            "rejects": dict(sorted(self.rejects.items())),
            "reject_samples": list(self.samples),
            "events": dict(sorted(self.events.items())),
            "checksums_verified": dict(sorted(self.checksums_verified.items())),
            "checksums_failed": dict(sorted(self.checksums_failed.items())),
            "n_gaps": self.n_gaps,
            "gaps": [vars(gap) for gap in self.gaps],
            "n_backwards": self.n_backwards,
            "backwards_ns_max": self.backwards_ns_max,
            "ts_first": self.ts_first,
            "ts_last": self.ts_last,
            "facts": self.facts,
        }


Stream = Iterator[np.ndarray]


@dataclass
class Import:
    """A foreign recording, ready to be read once or more.

    source : sentence that names the format and the files
    venue : name for the cold store's `venue=` folder
    clock : sentence that says what `ts` and `ts_venue` are
    ts_is_receive_time : `ts` was taken where the data arrived, not by the venue
    notes : what a reader of the capture must know
    stream : makes the events of one pass; writes its account into the summary it is given
    """

    source: str
    venue: str
    instruments: InstrumentTable
    channels: tuple[Channel, ...]
    clock: str
    ts_is_receive_time: bool
    stream: Callable[[Summary], Stream]
    notes: tuple[str, ...] = ()
    summary: Summary = field(default_factory=Summary)

    def batches(self, rows: int = BATCH_ROWS) -> Stream:
        """EVENT[about `rows`] batches with `seq` from 0 and whole messages; starts from the top.

        raises DataError where the source is damaged beyond what a reject or a gap can say; the
        caller must then throw away what it stored.
        """
        summary = self.summary = Summary()
        for batch in _rebatched(self.stream(summary), rows):
            if summary.n_events == 0:
                summary.ts_first = int(batch["ts"][0])
            elif batch["ts"][0] < summary.ts_last:
                raise InvariantError("an import's events ran backwards in time between batches.")
            if len(batch) > 1 and bool((np.diff(batch["ts"]) < 0).any()):
                raise InvariantError("an import's events ran backwards in time.")
            batch["seq"] = np.arange(summary.n_events, summary.n_events + len(batch))
            summary.n_events += len(batch)
            summary.ts_last = int(batch["ts"][-1])
            kinds, counts = np.unique(batch["kind"], return_counts=True)
            for kind, count in zip(kinds, counts, strict=True):
                summary.events[KIND_NAMES[int(kind)]] += int(count)
            yield batch
        summary.close()

    def read_all(self) -> np.ndarray:
        """All events in one array, EVENT[n]: for tests and short recordings."""
        parts = list(self.batches())
        return np.concatenate(parts) if parts else empty(0)


def _rebatched(stream: Stream, rows: int) -> Stream:
    """Join small pieces until about `rows` are together; pieces stay whole."""
    held: list[np.ndarray] = []
    n_held = 0
    for piece in stream:
        if len(piece) == 0:
            continue
        held.append(piece)
        n_held += len(piece)
        if n_held >= rows:
            yield np.concatenate(held)
            held, n_held = [], 0
    if held:
        yield np.concatenate(held)


class Rows:
    """Collects the events of one source in order, with stamps that never run backwards.

    A source stamp that lies before an earlier one is kept in `ts_venue` by the caller; `ts` gets
    the latest stamp so far. Steps back are counted; one of more than `tolerance_ns` becomes a GAP
    event, because order and time can then not both be right.
    """

    def __init__(
        self, summary: Summary, instruments: InstrumentTable, tolerance_ns: int = TOLERANCE_NS
    ) -> None:
        self._summary = summary
        self._symbols = instruments.symbols
        self._tolerance_ns = tolerance_ns
        self._rows: list[tuple[int, ...]] = []
        self._untimed: list[int] = []
        self._ts_given = 0  # the last stamp as the source had it
        self.ts = 0  # the latest stamp, 0 before the first

    def __len__(self) -> int:
        return len(self._rows)

    def stamp(self, ts: int, sym: int = NO_SYMBOL) -> int:
        """Move the clock to `ts` unless it lies behind; returns the stamp to use."""
        if self.ts == 0:
            self._stamp_the_untimed(ts)
        behind = self._ts_given - ts
        self._ts_given = ts
        self.ts = max(self.ts, ts)
        if behind > 0:
            self._summary.step_back(behind)
            if behind > self._tolerance_ns:
                self.gap(sym, self.ts, GAP_BACKWARDS)
        return self.ts

    def _stamp_the_untimed(self, ts: int) -> None:
        """What came before the first stamp gets that stamp: it was not received later."""
        for i in self._untimed:
            self._rows[i] = (ts, *self._rows[i][1:])
        self._untimed = []

    def add(
        self,
        kind: int,
        *,
        ts_venue: int = 0,
        sym: int = NO_SYMBOL,
        side: int = 0,
        price: int = 0,
        qty: int = 0,
        id: int = 0,
        aux: int = 0,
        flags: int = 0,
    ) -> None:
        """Append one event at the latest stamp."""
        if self.ts == 0:
            self._untimed.append(len(self._rows))
        self._rows.append((self.ts, ts_venue, 0, price, qty, id, aux, sym, kind, side, flags))

    def gap(self, sym: int, ts_from: int, cause: int) -> None:
        """Append a GAP event at the latest stamp and note it."""
        self.add(GAP, sym=sym, aux=ts_from, id=cause, flags=LAST)
        symbol = self._symbols[sym] if sym >= 0 else ""
        self._summary.gap(symbol, ts_from, self.ts, cause)

    def resync(self, sym: int, cause: int) -> None:
        """Append a RESYNC event: the next snapshot of `sym` replaces its book."""
        self.add(RESYNC, sym=sym, id=cause, flags=LAST)

    def take(self, at_least: int = 1) -> np.ndarray:
        """The collected EVENT rows, or none while there are fewer than `at_least` or no stamp."""
        if len(self._rows) < at_least or self._untimed:
            return empty(0)
        rows = np.array(self._rows, EVENT)
        self._rows = []
        return rows

    def rest(self) -> np.ndarray:
        """What is left at the end; rows that never met a stamp are declared and dropped."""
        if self._untimed:
            self._summary.facts["events_without_any_time"] = len(self._untimed)
            self._rows, self._untimed = [], []
        return self.take()
