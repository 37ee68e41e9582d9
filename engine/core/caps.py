"""Is too much of what we hold one idea, or one coin? Caps across positions and resting entries.

A route family may claim only a share of equity, over all symbols. And the largest symbol may be only a
share of all that is deployed, once that is enough to speak of concentration at all. Resting entries
count as if filled. One quote currency per run makes a base currency the same as its symbol, whose
cap is in risk.py.
"""

from __future__ import annotations

from typing import Final

from engine.commands import ROLE_ENTRY
from engine.core.capital import entry_reserve, sizing_equity, symbol_value
from engine.core.positions import value_at
from engine.core.records import ALLOW, VETO
from engine.core.routes import route_family
from engine.jit import kernel
from engine.numerics import canonical, ratio
from engine.stage import stage

CAP_NONE: Final = 0
CAP_FAMILY: Final = 11  # after the RISK_* checks of risk.py, in one numbering
CAP_CONCENTRATION: Final = 12


@kernel
def family_value(desk, family):
    """Money in positions and resting entries that this family opened, at the mark; int64."""
    value = 0
    for i in range(len(desk.symbols)):
        symbol = desk.symbols[i]
        position = symbol["position"]
        if position["qty"] > 0 and position["route"] > 0:
            if route_family(position["route"]) == family:
                value += value_at(symbol["instrument"], position["mark"], position["qty"])
    for k in range(len(desk.orders)):
        order = desk.orders[k]
        if order["id"] > 0 and order["ts_done"] == 0 and order["role"] == ROLE_ENTRY:
            if route_family(order["route"]) == family:
                rest, _ = entry_reserve(desk, order, 0)
                value += rest
    return value


@kernel
def check_family(value, equity, share_max):
    """Money that one family claims, this order included, as a share of equity."""
    share = ratio(value, equity)
    return ALLOW if share <= share_max else VETO, canonical(share), canonical(share_max)


@kernel
def check_concentration(in_symbol, deployed, equity, share_max, floor):
    """The symbol's share of all that is deployed, this order included; free below the floor.

    in_symbol, deployed, equity : int64, money; floor : share of equity from which it is asked
    """
    share = ratio(in_symbol, deployed)
    if float(deployed) <= float(equity) * floor:
        return ALLOW, canonical(share), canonical(share_max)
    return ALLOW if share <= share_max else VETO, canonical(share), canonical(share_max)


@stage
def run_caps(desk, i, price, qty, route):
    """The caps across symbols for an entry of `qty` lots at `price` ticks; as `run_checks` answers."""
    params = desk.params
    equity = sizing_equity(desk)
    added = value_at(desk.symbols[i]["instrument"], price, qty)
    claimed = family_value(desk, route_family(route)) + added
    verdict, value, limit = check_family(claimed, equity, params["risk_family_max"])
    if verdict != ALLOW:
        return verdict, CAP_FAMILY, value, limit
    verdict, value, limit = check_concentration(
        symbol_value(desk, i) + added,
        desk.glob["exposure"] + added,
        equity,
        params["risk_concentration_max"],
        params["risk_concentration_from"],
    )
    if verdict != ALLOW:
        return verdict, CAP_CONCENTRATION, value, limit
    return ALLOW, CAP_NONE, 0.0, 0.0
