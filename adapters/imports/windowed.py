"""Cut a full-depth stream to what a subscription of some depth would have sent, or leave it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from adapters.imports.base import Stream
from engine.errors import ConfigError
from engine.flow.window import DepthWindow
from engine.instruments import InstrumentTable

DEPTH_LARGEST: Final = (
    1000  # the deepest book that Kraken serves, and what the core's book has room for
)


def windowed(stream: Stream, table: InstrumentTable, depth: int) -> Iterator[np.ndarray]:
    """`stream` as it is for depth 0, else cut to the best `depth` levels a side."""
    if not 0 <= depth <= DEPTH_LARGEST:
        raise ConfigError(
            f"depth {depth} is not between 0 and {DEPTH_LARGEST}.", "0 keeps the whole book."
        )
    if depth == 0:
        yield from stream
        return
    yield from DepthWindow(len(table), range(len(table)), depth).filter(stream)
