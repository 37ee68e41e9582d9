"""How do several event streams become one in time order, with flat memory?

A stable merge by (ts, position of the stream): rows of one stream keep their order, so a message
stays in one piece, and at the same stamp the stream that was named first goes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from adapters.imports.base import Stream
from engine.events import empty


class _Source:
    """One stream with the rows that were read but not yet handed on."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.rows = empty(0)
        self.ended = False

    def read(self) -> None:
        """Append one more piece, or note the end."""
        piece = next(self._stream, None)
        if piece is None:
            self.ended = True
        elif len(piece):
            self.rows = piece if len(self.rows) == 0 else np.concatenate([self.rows, piece])

    def take_before(self, ts: int) -> np.ndarray:
        n = int(np.searchsorted(self.rows["ts"], ts, side="left"))
        taken, self.rows = self.rows[:n], self.rows[n:]
        return taken


def merge(streams: Sequence[Stream]) -> Iterator[np.ndarray]:
    """EVENT pieces of all streams in one order. Each stream's `ts` must not decrease."""
    if len(streams) == 1:
        yield from streams[0]
        return
    sources = [_Source(stream) for stream in streams]
    while True:
        for source in sources:
            while not source.ended and len(source.rows) == 0:
                source.read()
        open_ends = [source for source in sources if not source.ended]
        if not open_ends:
            break
        # Nothing that is still to come can lie before the earliest last stamp.
        slowest = min(open_ends, key=lambda source: int(source.rows["ts"][-1]))
        horizon = int(slowest.rows["ts"][-1])
        piece = _in_order([source.take_before(horizon) for source in sources])
        if len(piece):
            yield piece
        slowest.read()
    piece = _in_order([source.rows for source in sources])
    if len(piece):
        yield piece


def _in_order(parts: list[np.ndarray]) -> np.ndarray:
    joined = np.concatenate(parts)
    return joined[np.argsort(joined["ts"], kind="stable")]
