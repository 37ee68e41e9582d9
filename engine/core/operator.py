"""What may a person ask for beside a mode? Leave a position, release a symbol, a family, lend exits.

Left out: acknowledging alerts, which the shell counts (HEALTH_ALERTS).
"""

from __future__ import annotations

import numpy as np

from engine.core.desk import desk_of
from engine.core.protection import guard_position
from engine.core.reconcile import accept_cash, accept_coins
from engine.core.recoveries import (
    RECOVERY_ENABLED,
    RECOVERY_FLATTEN,
    RECOVERY_LEASE,
    RECOVERY_RELEASED,
    recovery_row,
)
from engine.core.repeats import enable_family
from engine.events import (
    OPERATOR_ENABLE_FAMILY,
    OPERATOR_FLATTEN,
    OPERATOR_LEASE,
    OPERATOR_RELEASE_SYMBOL,
)
from engine.jit import kernel
from engine.stage import stage


@kernel
def ask_of_symbol(desk, i, code, aux):
    """One request about symbol `i`."""
    position = desk.symbols[i]["position"]
    if code == OPERATOR_FLATTEN:
        position["leave"] = 1
        position["guarded"] = 1
        recovery_row(desk, i, RECOVERY_FLATTEN, 0, position["qty"], 0, 0, 0)
    elif code == OPERATOR_LEASE:
        position["lease_until"] = aux
        recovery_row(desk, i, RECOVERY_LEASE, 0, aux, 0, 0, 0)
    elif code == OPERATOR_RELEASE_SYMBOL:
        recovery_row(desk, i, RECOVERY_RELEASED, 0, position["safety"], 0, 0, 0)
        position["safety"] = 0
        position["safety_ts"] = 0
        accept_coins(desk, i)


@stage
def take_operator(core, event):
    """An OPERATOR event: carried out at once, as far as the state of orders allows."""
    desk = desk_of(core)
    code = event["id"]
    aux = event["aux"]
    i = np.int64(event["sym"])
    if code == OPERATOR_ENABLE_FAMILY:
        if enable_family(desk.glob["repeats"], aux):
            recovery_row(desk, -1, RECOVERY_ENABLED, 0, aux, 0, 0, 0)
        return
    first = 0 if i < 0 else i
    last = len(desk.symbols) if i < 0 else min(i + 1, len(desk.symbols))
    if i < 0 and code == OPERATOR_RELEASE_SYMBOL:
        accept_cash(desk)
    for k in range(first, last):
        ask_of_symbol(desk, k, code, aux)
        if desk.symbols[k]["position"]["guarded"] != 0:
            guard_position(core, k)
