"""A few seconds or minutes of generated market, the same bytes every time."""

from __future__ import annotations

import numpy as np

from engine.instruments import InstrumentTable
from engine.research.synthetic import DEFAULT_SYMBOLS, GeneratorConfig, generate


def short_market(
    seconds: int, symbols: int = 3, seed: int = 7, level3: bool = False
) -> tuple[InstrumentTable, np.ndarray]:
    """Instruments and EVENT[n] of `seconds` of market in the first `symbols` default symbols."""
    config = GeneratorConfig(
        seed=seed, duration_s=float(seconds), symbols=DEFAULT_SYMBOLS[:symbols], level3=level3
    )
    return config.instruments, np.concatenate(list(generate(config)))
