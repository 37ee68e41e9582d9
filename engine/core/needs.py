"""Which parts of the market must be followed for the families that are on?

Runs of trades, refill of emptied levels and whole minutes cost time at each event or second, and
few families read them. A part is followed where the profile asks for it (`features.NAME = true`)
or where an enabled family reads one of its columns; otherwise those columns are NAN. Families of a
user may read anything, so with one of them everything is followed.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.columns import FEATURE_INDEX, FEATURES
from engine.core.theses import FAMILY_CARDS

_NAMES: Final = tuple(each.name for each in FEATURES)


def _between(first: str, last: str) -> tuple[str, ...]:
    return _NAMES[FEATURE_INDEX[first] : FEATURE_INDEX[last] + 1]


# Switch in section `features` to the columns that are NAN without it.
FOLLOWED: Final[dict[str, tuple[str, ...]]] = {
    "minutes": _between("vwap_1h", "atr_slow_bps"),
    "bursts": _between("sweep_levels_buy", "sweep_age_sell"),
    "refill": (*_between("refill_1s_bid", "refill_same_ask"), "score_refill", "edge_score"),
}


def follow_what_is_read(params: np.ndarray, user_families: bool) -> None:
    """Switch on in PARAMS[1] what its enabled families read; what is on already stays on."""
    row = params[0]
    read = {
        name
        for family, card in FAMILY_CARDS.items()
        if row["family_enabled"][family] == 1
        for name in card.inputs
    }
    for switch, columns in FOLLOWED.items():
        if user_families or not read.isdisjoint(columns):
            row[f"features_{switch}"] = 1
