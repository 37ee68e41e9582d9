"""Did resting entries fill as often as they were expected to? A reliability table and its score.

Takes the tables of a run as record arrays: the fill probability of each decision that became a
resting entry, and whether that order was complete when it ended. Left out are entries that were
taken back or still worked at the end: nobody knows what they would have done. The Brier score is the
mean squared error of the probabilities; 0.25 is what a coin gets, and the base rate's score is what
somebody gets who knows only how often it happens. Source: Brier 1950, "Verification of forecasts
expressed in terms of probability"; Murphy 1973 for the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from engine.commands import ROLE_ENTRY
from engine.core.fillprob import FILL_LEVEL3, FILL_QUEUE, FILL_TOUCH
from engine.core.orderstates import ORDER_STATE_EXPIRED, ORDER_STATE_FILLED

RESTING: Final = (FILL_QUEUE, FILL_TOUCH, FILL_LEVEL3)
BINS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Reliability(NamedTuple):
    """bins : rows of (from, to, entries, mean probability, share filled), empty ones left out."""

    n: int
    brier: float
    base_brier: float
    bins: tuple[tuple[float, float, int, float, float], ...]


def expected_and_filled(tables: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Fill probability and outcome (1.0, 0.0) of every resting entry that ran its course."""
    decisions, orders = tables["decisions"], tables["orders"]
    rested = decisions[(decisions["command"] > 0) & np.isin(decisions["fill_method"], RESTING)]
    chances = dict(zip(rested["command"].tolist(), rested["fill_prob"].tolist(), strict=True))
    entries = orders[orders["role"] == ROLE_ENTRY]
    ends = {
        int(row["id"]): int(row["state"]) == ORDER_STATE_FILLED
        for row in entries
        if row["state"] in (ORDER_STATE_FILLED, ORDER_STATE_EXPIRED)
    }
    pairs = [(chance, float(ends[order])) for order, chance in chances.items() if order in ends]
    both = np.array(pairs, np.float64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def reliability(chances: np.ndarray, filled: np.ndarray) -> Reliability:
    """The table of a set of forecasts. chances : float64[n], 0..1; filled : float64[n], 0 or 1"""
    n = len(chances)
    if n == 0:
        return Reliability(0, float("nan"), float("nan"), ())
    rows = []
    for low, high in pairwise(BINS):
        inside = (chances >= low) & ((chances < high) | (high == BINS[-1]))
        if inside.any():
            rows.append(
                (
                    low,
                    high,
                    int(inside.sum()),
                    float(chances[inside].mean()),
                    float(filled[inside].mean()),
                )
            )
    rate = float(filled.mean())
    return Reliability(n, float(((chances - filled) ** 2).mean()), rate * (1.0 - rate), tuple(rows))


def as_text(table: Reliability) -> str:
    """The table for people, in Markdown."""
    lines = ["| expected | entries | mean expected | filled |", "|---|---|---|---|"]
    lines += [
        f"| {low:.1f} to {high:.1f} | {n} | {chance:.3f} | {share:.3f} |"
        for low, high, n, chance, share in table.bins
    ]
    lines.append("")
    lines.append(
        f"Brier score {table.brier:.3f}, base rate {table.base_brier:.3f}, {table.n} entries."
    )
    return "\n".join(lines)
