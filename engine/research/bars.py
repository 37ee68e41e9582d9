"""What are the open, high, low, close and volume of each interval? Trades to bars, exactly.

Prices stay ticks and quantities lots, so a bar equals the venue's own to the last digit or not at
all; the sum of price x quantity, from which the average price comes, is kept in two words because
a day of it does not fit one. Intervals are half open and start at multiples of their length since
the epoch, in UTC. Left out: bars from quotes, and candles as the core keeps them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Final

import numpy as np

from engine.errors import InvariantError
from engine.events import SNAPSHOT, TRADE
from engine.instruments import Instrument

BAR: Final = np.dtype(
    [
        ("ts", "<i8"),  # ns, start of the interval
        ("sym", "<i8"),
        ("open", "<i8"),  # ticks
        ("high", "<i8"),
        ("low", "<i8"),
        ("close", "<i8"),
        ("volume", "<i8"),  # lots
        ("value_high", "<i8"),  # sum of ticks x lots = value_high x 2^32 + value_low
        ("value_low", "<i8"),  # 0 .. 2^32 - 1
        ("count", "<i8"),
    ]
)

MINUTE: Final = 60_000_000_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
_WORD: Final = 1 << 32


class BarBuilder:
    """Bars of a stream of event batches; memory holds one open bar per symbol.

    interval_ns : length of a bar
    by_venue_time : group by `ts_venue` (what archives do) where it is known, else by `ts`
    fill : give empty intervals between two bars of a symbol as the last close, with no volume
    A trade that belongs before its symbol's open bar is counted in the open one, and in `n_late`.
    Trades of a subscription's snapshot are history, not flow, and are left out.
    """

    def __init__(self, interval_ns: int, by_venue_time: bool = True, fill: bool = False) -> None:
        if interval_ns <= 0:
            raise InvariantError(f"a bar needs a length above zero, not {interval_ns} ns.")
        self._interval_ns = interval_ns
        self._by_venue_time = by_venue_time
        self._fill = fill
        self._open: dict[int, np.ndarray] = {}
        self.n_late = 0

    def add(self, events: np.ndarray) -> np.ndarray:
        """BAR[n]: the bars that `events` completed, by symbol and time."""
        is_flow = (events["kind"] == TRADE) & (events["flags"] & SNAPSHOT == 0)
        trades = events[is_flow]
        pieces = [
            self._add_symbol(int(sym), trades[trades["sym"] == sym])
            for sym in np.unique(trades["sym"])
        ]
        return np.concatenate(pieces) if pieces else np.zeros(0, BAR)

    def finish(self) -> np.ndarray:
        """BAR[n]: the open bars, one per symbol."""
        rest = [self._open[sym] for sym in sorted(self._open)]
        self._open = {}
        return np.concatenate(rest) if rest else np.zeros(0, BAR)

    def _add_symbol(self, sym: int, trades: np.ndarray) -> np.ndarray:
        ts = trades["ts"]
        if self._by_venue_time:
            ts = np.where(trades["ts_venue"] > 0, trades["ts_venue"], ts)
        start = ts - ts % self._interval_ns
        held = self._open.get(sym)
        earliest = int(held["ts"][0]) if held is not None else int(start[0])
        in_order = np.maximum.accumulate(np.maximum(start, earliest))
        self.n_late += int((in_order > start).sum())
        bars = _bars_of_runs(sym, in_order, trades)
        if held is not None:
            bars = _joined(held, bars)
        if self._fill:
            bars = _filled(bars, self._interval_ns)
        self._open[sym] = bars[-1:].copy()
        return bars[:-1]


def _bars_of_runs(sym: int, start: np.ndarray, trades: np.ndarray) -> np.ndarray:
    """One bar per run of equal `start`, which does not decrease."""
    first = np.concatenate([[0], np.flatnonzero(np.diff(start)) + 1])
    last = np.append(first[1:], len(start)) - 1
    price, qty = trades["price"], trades["qty"]
    bars = np.zeros(len(first), BAR)
    bars["ts"], bars["sym"] = start[first], sym
    bars["open"], bars["close"] = price[first], price[last]
    bars["high"] = np.maximum.reduceat(price, first)
    bars["low"] = np.minimum.reduceat(price, first)
    bars["volume"] = np.add.reduceat(qty, first)
    bars["count"] = last - first + 1
    value = price * qty
    high = np.add.reduceat(value >> 32, first)
    low = np.add.reduceat(value & (_WORD - 1), first)
    bars["value_high"], bars["value_low"] = high + (low >> 32), low & (_WORD - 1)
    return bars


def _joined(held: np.ndarray, bars: np.ndarray) -> np.ndarray:
    """The open bar and what came after it, as one where they are of the same interval."""
    if held["ts"][0] != bars["ts"][0]:
        return np.concatenate([held, bars])
    bars["open"][0] = held["open"][0]
    bars["high"][0] = max(held["high"][0], bars["high"][0])
    bars["low"][0] = min(held["low"][0], bars["low"][0])
    bars["volume"][0] += held["volume"][0]
    bars["count"][0] += held["count"][0]
    low = held["value_low"][0] + bars["value_low"][0]
    bars["value_high"][0] += held["value_high"][0] + (low >> 32)
    bars["value_low"][0] = low & (_WORD - 1)
    return bars


def _filled(bars: np.ndarray, interval_ns: int) -> np.ndarray:
    """Empty intervals put in: the close of the bar before as all four prices."""
    n_missing = np.diff(bars["ts"]) // interval_ns - 1
    if not n_missing.any():
        return bars
    after = np.repeat(np.arange(len(n_missing)), n_missing)
    place = np.concatenate([np.arange(1, n + 1) for n in n_missing])
    empty_bars = np.zeros(len(after), BAR)
    empty_bars["ts"] = bars["ts"][after] + place * interval_ns
    empty_bars["sym"] = bars["sym"][after]
    for name in ("open", "high", "low", "close"):
        empty_bars[name] = bars["close"][after]
    return np.insert(bars, after + 1, empty_bars)


def bars_of(
    batches: Iterable[np.ndarray],
    interval_ns: int,
    by_venue_time: bool = True,
    fill: bool = False,
) -> np.ndarray:
    """BAR[n] of all trades in `batches`, sorted by symbol and time; arguments as BarBuilder."""
    builder = BarBuilder(interval_ns, by_venue_time, fill)
    pieces = [builder.add(batch) for batch in batches]
    pieces.append(builder.finish())
    bars = np.concatenate(pieces)
    return bars[np.lexsort((bars["ts"], bars["sym"]))]


def resampled(bars: np.ndarray, interval_ns: int) -> np.ndarray:
    """Bars of one symbol, sorted by time, joined to longer ones of `interval_ns`.

    Bars without volume set no price: venues repeat the last one there.
    """
    traded = bars[bars["volume"] > 0]
    if len(traded) == 0:
        return np.zeros(0, BAR)
    start = traded["ts"] - traded["ts"] % interval_ns
    first = np.concatenate([[0], np.flatnonzero(np.diff(start)) + 1])
    last = np.append(first[1:], len(traded)) - 1
    longer = np.zeros(len(first), BAR)
    longer["ts"], longer["sym"] = start[first], traded["sym"][first]
    longer["open"], longer["close"] = traded["open"][first], traded["close"][last]
    longer["high"] = np.maximum.reduceat(traded["high"], first)
    longer["low"] = np.minimum.reduceat(traded["low"], first)
    for name in ("volume", "count"):
        longer[name] = np.add.reduceat(traded[name], first)
    low = np.add.reduceat(traded["value_low"], first)
    longer["value_high"] = np.add.reduceat(traded["value_high"], first) + (low >> 32)
    longer["value_low"] = low & (_WORD - 1)
    return longer


def vwap_ticks(bar: np.void) -> Fraction | None:
    """The exact average price of one bar in ticks, weighted by quantity; None without volume."""
    if bar["volume"] == 0:
        return None
    value = int(bar["value_high"]) * _WORD + int(bar["value_low"])
    return Fraction(value, int(bar["volume"]))


def bar_rows(
    bars: np.ndarray, instrument: Instrument
) -> Iterator[tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal, int]]:
    """(start in ns, open, high, low, close, volume, trades) of each bar as decimals."""
    for bar in bars:
        open_, high, low, close = (
            instrument.price(bar[name]) for name in ("open", "high", "low", "close")
        )
        yield (
            int(bar["ts"]),
            open_,
            high,
            low,
            close,
            instrument.qty(bar["volume"]),
            int(bar["count"]),
        )
