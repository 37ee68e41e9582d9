"""Which market is the sample capture in datasets/sample? Its configuration and its fingerprint.

The capture is committed, so that a replay needs no generator; this file says how it was made and
lets a test make it again. Left out: files and formats. The caller hands in what writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import numpy as np

from engine.instruments import InstrumentTable
from engine.research.synthetic.config import GeneratorConfig
from engine.research.synthetic.market import generate

BUNDLED: Final = GeneratorConfig(
    seed=20_260_101,
    duration_s=4 * 3600.0,
    depth=10,
    level3=True,
    level3_depth=10,
    tickers=True,
    intensity=0.25,
)
BUNDLED_EVENTS: Final = 494_069
# sha256 over the bytes of all EVENT rows in order, as `events_sha256` of the manifest.
BUNDLED_SHA256: Final = "d0d3a4c663918084f5ab3c01e82e276cf18d7a5259e4e66b88e99289396be2ee"

Result = TypeVar("Result")


def write_bundled(write: Callable[[InstrumentTable, Iterator[np.ndarray]], Result]) -> Result:
    """Make the sample capture again and hand it to `write(instruments, batches)`.

    write : stores EVENT[n] batches, in order; what it returns is returned
    """
    return write(BUNDLED.instruments, generate(BUNDLED))
