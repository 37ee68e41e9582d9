"""What do order handling, capital and protection need of the core? Seven handles, and no more.

A kernel that is given a whole `Core` carries some eighty machine arguments through every call and
is compiled with them; these three records and four arrays are thirty. The kernels that the
pipeline calls take `core` and open a desk; those behind them take `desk`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from engine.jit import view


class Desk(NamedTuple):
    """Views of a `Core`: writing through them changes it."""

    glob: Any  # GLOB record
    params: Any  # PARAMS record
    rings: Any  # RINGS record
    symbols: np.ndarray  # SYMBOL[n]
    orders: np.ndarray  # ORDER[N_ORDERS]
    commands: np.ndarray  # COMMAND[COMMANDS_MAX]
    calls: np.ndarray  # int64[N_STAGES]


@view
def desk_of(core):
    """The desk of a core."""
    return Desk(
        core.glob[0],
        core.params[0],
        core.rings[0],
        core.symbols,
        core.orders,
        core.commands,
        core.calls,
    )
