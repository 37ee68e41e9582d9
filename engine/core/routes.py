"""What is a route? Families, horizons, entry modes, and the key that names one combination.

A route is symbol x family x horizon x entry mode x side x surface. Codes are stable integers;
new families are appended, user families take the plug-in codes.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.jit import kernel

# --- families: the full list of the inventory; theses.py has the table --------------------
FAMILY_MARKET_MAKING: Final = 1
FAMILY_GRID: Final = 2
FAMILY_SCALPING: Final = 3
FAMILY_MEAN_REVERSION: Final = 4
FAMILY_FADE: Final = 5
FAMILY_MOMENTUM: Final = 6
FAMILY_PULLBACK: Final = 7
FAMILY_BREAKOUT: Final = 8
FAMILY_ATR_BREAKOUT: Final = 9
FAMILY_IGNITION: Final = 10
FAMILY_ORDER_FLOW: Final = 11
FAMILY_SWEEP: Final = 12
FAMILY_VWAP_REVERSION: Final = 13
FAMILY_PLUGIN: Final = 16  # first of N_PLUGINS user families
N_PLUGINS: Final = 8
N_FAMILIES: Final = FAMILY_PLUGIN + N_PLUGINS

FAMILY_NAMES: Final[dict[int, str]] = {
    FAMILY_MARKET_MAKING: "market_making",
    FAMILY_GRID: "grid",
    FAMILY_SCALPING: "scalping",
    FAMILY_MEAN_REVERSION: "mean_reversion",
    FAMILY_FADE: "fade",
    FAMILY_MOMENTUM: "momentum",
    FAMILY_PULLBACK: "pullback",
    FAMILY_BREAKOUT: "breakout",
    FAMILY_ATR_BREAKOUT: "atr_breakout",
    FAMILY_IGNITION: "ignition",
    FAMILY_ORDER_FLOW: "order_flow",
    FAMILY_SWEEP: "sweep",
    FAMILY_VWAP_REVERSION: "vwap_reversion",
    **{FAMILY_PLUGIN + i: f"plugin_{i}" for i in range(N_PLUGINS)},
}
BUILT_FAMILIES: Final = tuple(code for code in FAMILY_NAMES if code < FAMILY_PLUGIN)
# Enabled where a profile says nothing; the others trade only where it names them.
DEFAULT_FAMILIES: Final = (
    FAMILY_MARKET_MAKING,
    FAMILY_MEAN_REVERSION,
    FAMILY_MOMENTUM,
    FAMILY_ORDER_FLOW,
)

# Families that live on the tape or may chase: 30 s freshness; the others 45 s (MODULES 0.3).
TAPE_FAMILIES: Final = (
    FAMILY_MOMENTUM,
    FAMILY_IGNITION,
    FAMILY_SWEEP,
    FAMILY_ORDER_FLOW,
    FAMILY_SCALPING,
    FAMILY_BREAKOUT,
    FAMILY_ATR_BREAKOUT,
    FAMILY_PULLBACK,
)

HORIZONS_S: Final = (10, 60, 300, 900, 1800, 3600)  # a place is part of the route key: append only
HORIZONS_DEFAULT_S: Final = (10, 60, 300, 900)
N_HORIZONS: Final = len(HORIZONS_S)

ENTRY_JOIN: Final = 1  # post-only at the best bid
ENTRY_IMPROVE: Final = 2  # post-only one tick better, where the spread leaves room
ENTRY_TAKE: Final = 3  # limit through the ask, immediate or cancel
ENTRY_THEN_TAKE: Final = 4  # rests like join; unfilled at the end of its window, it takes
ENTRY_MODES: Final = (ENTRY_JOIN, ENTRY_IMPROVE, ENTRY_TAKE, ENTRY_THEN_TAKE)
ENTRY_NAMES: Final = {
    ENTRY_JOIN: "join",
    ENTRY_IMPROVE: "improve",
    ENTRY_TAKE: "take",
    ENTRY_THEN_TAKE: "then_take",
}

SURFACE_SPOT: Final = 0
SURFACE_MARGIN_PAPER: Final = 1


@kernel
def route_key(sym, family, i_horizon, entry_mode, side, surface):
    """One integer per route, never 0: sym 16 bits, family 8, horizon 4, mode 4, short 1, surface 1.

    sym, family, i_horizon, entry_mode, side (+1/-1), surface : int64
    returns int64; `split_route` gives the parts back
    """
    short = 1 if side < 0 else 0
    return (
        ((((sym * 256 + family) * 16 + i_horizon) * 16 + entry_mode) * 2 + short) * 2 + surface
    ) + 1


@kernel
def route_sym(key):
    """Instrument row of a route key."""
    return (key - 1) >> 18


@kernel
def route_family(key):
    """Family code of a route key."""
    return ((key - 1) >> 10) & 255


@kernel
def route_horizon(key):
    """Index into HORIZONS_S of a route key."""
    return ((key - 1) >> 6) & 15


@kernel
def route_entry_mode(key):
    """Entry mode of a route key."""
    return ((key - 1) >> 2) & 15


@kernel
def route_taking(key):
    """Key of the same route with entry mode take."""
    return key + ((ENTRY_TAKE - route_entry_mode(key)) << 2)


@kernel
def route_side(key):
    """+1 long, -1 short of a route key."""
    return -1 if ((key - 1) >> 1) & 1 else 1


def route_name(
    key: int, symbols: tuple[str, ...], family_names: dict[int, str] | None = None
) -> str:
    """`BTC/USD momentum 60s take` for people; an empty text for key 0."""
    if key == 0:
        return ""
    names = family_names or FAMILY_NAMES
    family = int(route_family(key))
    side = "" if route_side(key) > 0 else " short"
    return (
        f"{symbols[int(route_sym(key))]} {names.get(family, str(family))} "
        f"{HORIZONS_S[int(route_horizon(key))]}s {ENTRY_NAMES[int(route_entry_mode(key))]}{side}"
    )


HORIZON_ARRAY: Final = np.array(HORIZONS_S, np.int64)
