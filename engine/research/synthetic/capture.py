"""How does a generated market become a stored capture? What is said of it, and the loop.

The caller hands in what opens a writer (adapters.parquet.writer.CaptureWriter has this form), so
the engine knows nothing of files. Left out: formats, and progress bars.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol

import numpy as np

from engine.instruments import InstrumentTable
from engine.research.synthetic.config import GeneratorConfig
from engine.research.synthetic.market import generate

VENUE: Final = "synthetic"  # a partition of its own: nobody shall take it for Kraken's
CLOCK: Final = (
    "ts: simulated receive time, ts_venue plus a log-normal latency, first in first out; "
    "ts_venue: simulated time of the matching engine"
)
NOTES: Final = (
    "Made by engine.research.synthetic: no real market. Results on it prove nothing about markets.",
    "VERIFIED: checksums are computed from the generating book; the tests recompute every one.",
)


class Writer(Protocol):
    """Takes events in order; leaving the context without an exception makes the capture whole."""

    def append(self, events: np.ndarray) -> None: ...
    def __enter__(self) -> Writer: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class OpenWriter(Protocol):
    """Opens a writer for one capture; see CaptureWriter for the meaning of the arguments."""

    def __call__(
        self,
        store: str | Path,
        capture_id: str,
        instruments: InstrumentTable,
        *,
        channels: Mapping[str, int],
        source: str,
        venue: str,
        clock: str,
        ts_is_receive_time: bool,
        notes: Sequence[str],
        licence: str,
    ) -> Any: ...


def channels(config: GeneratorConfig) -> dict[str, int]:
    """Channels of a generated market and the levels a side that each shows (0: no levels)."""
    shown = {"book": config.depth, "trade": 0, "instrument": 0, "status": 0}
    if config.level3:
        shown["level3"] = config.level3_depth
    if config.tickers:
        shown["ticker"] = 0
    return shown


def write_capture(
    config: GeneratorConfig,
    store: str | Path,
    capture_id: str,
    open_writer: OpenWriter,
    on_events: Callable[[int, int], None] | None = None,
) -> int:
    """Make a market and store it as a capture.

    on_events : called after each batch with the events so far and the venue time reached (ns)
    returns int: the number of events
    """
    n_events = 0
    with open_writer(
        store,
        capture_id,
        config.instruments,
        channels=channels(config),
        source=f"kapitaalbot data generate, seed {config.seed}",
        venue=VENUE,
        clock=CLOCK,
        ts_is_receive_time=True,
        notes=NOTES,
        licence="Apache-2.0",
    ) as writer:
        for events in generate(config):
            writer.append(events)
            n_events += len(events)
            if on_events is not None:
                on_events(n_events, int(events["ts_venue"][-1]))
    return n_events
