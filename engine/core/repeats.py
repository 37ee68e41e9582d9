"""Does a family enter again and again, as a fault would? Then it is off until a person enables it.

More than `risk.family_entries_max` entries of one family within `risk.family_window_ns` switch it
off. The limit stands far above what a family does, and apart from the limits of risk.py: those bound
what all do together, this one ends what repeats itself.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.routes import N_FAMILIES
from engine.jit import kernel

_KEPT: Final = 256  # entries remembered per family; the limit is below that

REPEATS: Final = np.dtype(
    [
        ("ts", "<i8", (N_FAMILIES, _KEPT)),  # ring: times of the newest entries
        ("n", "<i8", (N_FAMILIES,)),  # entries since it was last enabled
        ("off", "<i8", (N_FAMILIES,)),
    ]
)


@kernel
def count_repeat(repeats, params, family, now):
    """An entry of `family` leaves. Returns True if that switches it off."""
    if family < 0 or family >= N_FAMILIES:
        return False
    n = repeats["n"][family]
    limit = params["risk_family_entries_max"]
    off = False
    if n >= limit and repeats["off"][family] == 0:
        off = now - repeats["ts"][family][(n - limit) % _KEPT] < params["risk_family_window_ns"]
    repeats["ts"][family][n % _KEPT] = now
    repeats["n"][family] = n + 1
    if off:
        repeats["off"][family] = 1
    return off


@kernel
def is_off(repeats, family):
    """Is the family switched off?"""
    return 0 <= family < N_FAMILIES and repeats["off"][family] != 0


@kernel
def enable_family(repeats, family):
    """A person vouches for it: it counts from nothing again. Returns False for no family of ours."""
    if family < 0 or family >= N_FAMILIES:
        return False
    repeats["n"][family] = 0
    repeats["off"][family] = 0
    return True
