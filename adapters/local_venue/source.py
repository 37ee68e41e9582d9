"""Where does the venue's market come from? A stream of EVENT batches, cut into its messages.

The generator makes one, a capture holds one; whoever composes the venue opens it. Times can be
shifted as a whole, so that a recorded market happens now. Left out: what a message means
(market.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np

from engine.events import EVENT, L3_ADD, L3_DELETE, L3_MODIFY, LAST
from engine.instruments import InstrumentTable
from engine.research.synthetic.config import DEFAULT_SYMBOLS, GeneratorConfig, SymbolSpec
from engine.research.synthetic.market import generate

DAY_S: Final = 86_400.0
GENERATED_DEPTH: Final = 1000  # of both channels: every window that a client may ask for
GENERATED_LATENCY_MS: Final = 0.05  # the way to the client is a real one


class Row(NamedTuple):
    """One EVENT record as plain integers, in the record's order of fields."""

    ts: int
    ts_venue: int
    seq: int
    price: int
    qty: int
    id: int
    aux: int
    sym: int
    kind: int
    side: int
    flags: int


class Burst(NamedTuple):
    """One message of the source: when the venue says it, and its records.

    ts : ns, market time; rows : its records; events : the same as EVENT[n], for the matching
    """

    ts: int
    rows: list[Row]
    events: np.ndarray


class MarketSource:
    """A market to serve. Iterated once, in time order; `peek` looks at the next message.

    instruments : the table that `sym` points into
    batches : EVENT[n] arrays in order; messages end with LAST and may span batches
    depths : levels a side that the source maintains, by channel (`book`, `level3`), one number or
        one per symbol; 0 or absent where it removes each level itself
    shift_ns : added to all times
    """

    def __init__(
        self,
        instruments: InstrumentTable,
        batches: Iterable[np.ndarray],
        depths: Mapping[str, int | Mapping[str, int]] | None = None,
        shift_ns: int = 0,
    ) -> None:
        self.instruments = instruments
        self.depths = dict(depths or {})
        self.shift_ns = shift_ns
        self._bursts = self._cut(iter(batches))
        self._ahead: deque[Burst] = deque()

    def depth(self, channel: str, symbol: str) -> int:
        """Levels a side that the source maintains of a symbol's channel, 0 for all."""
        depth = self.depths.get(channel, 0)
        return depth if isinstance(depth, int) else depth.get(symbol, 0)

    def _shifted(self, batch: np.ndarray) -> np.ndarray:
        if not self.shift_ns:
            return batch
        events: np.ndarray = batch.astype(EVENT, copy=True)
        events["ts"] += self.shift_ns
        for where, column in (
            (events["ts_venue"] != 0, "ts_venue"),
            (np.isin(events["kind"], (L3_ADD, L3_MODIFY, L3_DELETE)) & (events["aux"] > 0), "aux"),
        ):
            values = events[column]
            values[where] += self.shift_ns
        return events

    def _cut(self, batches: Iterator[np.ndarray]) -> Iterator[Burst]:
        """Messages, with a time that never runs back."""
        held: list[np.ndarray] = []
        now = 0
        for batch in batches:
            events = self._shifted(batch)
            start = 0
            for end in (np.flatnonzero(events["flags"] & LAST) + 1).tolist():
                part = events[start:end]
                if held:
                    part = np.concatenate([*held, part])
                    held = []
                rows = [Row(*row) for row in part.tolist()]
                now = max(now, rows[-1].ts)
                yield Burst(now, rows, part)
                start = end
            if start < len(events):
                held.append(events[start:].copy())
        if held:  # the source ends within a message
            part = np.concatenate(held)
            rows = [Row(*row) for row in part.tolist()]
            yield Burst(max(now, rows[-1].ts), rows, part)

    def peek(self) -> Burst | None:
        """The next message, None at the end."""
        if not self._ahead:
            burst = next(self._bursts, None)
            if burst is None:
                return None
            self._ahead.append(burst)
        return self._ahead[0]

    def pop(self) -> Burst | None:
        """The next message, taken."""
        burst = self.peek()
        if burst is not None:
            self._ahead.popleft()
        return burst


def generated(
    seed: int = 1,
    duration_s: float = 30 * DAY_S,
    *,
    symbols: tuple[SymbolSpec, ...] = DEFAULT_SYMBOLS,
    intensity: float = 1.0,
    start_ts: int | None = None,
    depth: int = GENERATED_DEPTH,
    level3: bool = True,
    warmup_s: float = 60.0,
) -> MarketSource:
    """A market from the generator; equal arguments give equal bytes on every machine.

    start_ts : ns, when it begins; the generator's own default if None
    """
    chosen = GeneratorConfig(
        seed=seed,
        duration_s=duration_s,
        symbols=symbols,
        depth=depth,
        level3=level3,
        level3_depth=GENERATED_DEPTH,
        tickers=False,  # the venue computes its own, from book and trades
        intensity=intensity,
        latency_ms=GENERATED_LATENCY_MS,
        warmup_s=warmup_s,
        **({} if start_ts is None else {"start_ts": start_ts}),
    )
    depths = {"book": depth, "level3": GENERATED_DEPTH}
    return MarketSource(chosen.instruments, generate(chosen, batch_rows=4096), depths)
