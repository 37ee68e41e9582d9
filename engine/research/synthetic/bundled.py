"""Which market is the sample capture in datasets/sample? Its configuration and its fingerprint.

The capture is committed, so that a replay needs no generator; this file says how it was made and
lets a test make it again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from engine.research.synthetic.capture import OpenWriter, write_capture
from engine.research.synthetic.config import GeneratorConfig

BUNDLED_ID: Final = "sample"
BUNDLED: Final = GeneratorConfig(
    seed=20_260_101,
    duration_s=4 * 3600.0,
    depth=10,
    level3=True,
    level3_depth=10,
    tickers=True,
    intensity=0.3,
)
BUNDLED_EVENTS: Final = 532_299
# sha256 over the bytes of all EVENT rows in order, as `events_sha256` of the manifest.
BUNDLED_SHA256: Final = "c9f772339c2b6036829a42c1fea09a47508eeb02e9b94a8ac87a6fca11ef1e5d"


def write_bundled(
    store: str | Path,
    open_writer: OpenWriter,
    on_events: Callable[[int, int], None] | None = None,
) -> int:
    """Make the sample capture again, in `store`; returns the number of events.

    Example: write_bundled("datasets/sample", CaptureWriter)
    """
    return write_capture(BUNDLED, store, BUNDLED_ID, open_writer, on_events)
