"""Which routes are there, and which comes first? Lists, tuples and sorted()."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence


def matrix(
    families: Iterable[int], takers: set[int], horizons: Iterable[int], spread_ticks: int
) -> list[tuple[int, int, str]]:
    """Family, horizon, entry mode of every route, in the order in which they are written."""
    modes = ("join", "improve", "take")
    return [
        (family, horizon, mode)
        for family, horizon, mode in itertools.product(families, horizons, modes)
        if (mode != "take" or family in takers) and (mode != "improve" or spread_ticks > 1)
    ]


def ranking(candidates: Sequence[tuple[bool, float, int]]) -> list[int]:
    """Positions of (tradable, score, route key), best first; without a score they are left out."""
    priced = [i for i, (_, score, _) in enumerate(candidates) if not math.isnan(score)]
    return sorted(priced, key=lambda i: (not candidates[i][0], -candidates[i][1], candidates[i][2]))
