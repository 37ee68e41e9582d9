"""Where are events written before anybody has them? Blocks of EVENT rows, handed out by slices.

To allocate and copy a few rows costs numpy more than all the work on a message, so rows are
written into one block and given away as a view of it. A block is never written twice: what was
handed out stays as it is, and keeps its block alive.
"""

from __future__ import annotations

import struct
from typing import Any, Final, cast

import numpy as np

from engine.events import EVENT, NO_SYMBOL

BLOCK_ROWS: Final = 1 << 15  # two megabytes
_ROW: Final = struct.Struct(
    "<qqqqqqqhbbi"
)  # one EVENT; an assignment in numpy takes ten times as long
assert _ROW.size == EVENT.itemsize


class Arena:
    """Rows of one message after another: the open one is rows[start:at].

    Who lets a kernel write a whole message sets `start` and `at` to its end.
    """

    __slots__ = ("_bytes", "at", "rows", "start")

    def __init__(self) -> None:
        self.rows = np.zeros(0, EVENT)
        self.at = 0
        self.start = 0
        self._bytes = memoryview(b"")
        self.reserve(1)

    def reserve(self, n: int) -> None:
        """Make room for `n` rows beside those of the open message, in one piece with them."""
        if self.at + n <= len(self.rows):
            return
        pending = self.rows[self.start : self.at]
        self.rows = np.zeros(max(BLOCK_ROWS, 2 * (n + len(pending))), EVENT)
        self.rows[: len(pending)] = pending
        self._bytes = memoryview(cast(Any, self.rows.view(np.uint8)))
        self.start, self.at = 0, len(pending)

    def put(
        self,
        ts: int,
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
        """Add one row to the open message."""
        if self.at == len(self.rows):
            self.reserve(1)
        _ROW.pack_into(
            *(self._bytes, self.at * EVENT.itemsize, ts, ts_venue, 0, price, qty, id, aux),
            *(sym, kind, side, flags),
        )
        self.at += 1

    def drop(self) -> None:
        """Take back the rows of the open message."""
        self.at = self.start

    def take(self) -> np.ndarray:
        """Close the message and hand out its rows, EVENT[n]."""
        start, self.start = self.start, self.at
        return self.rows[start : self.at]
