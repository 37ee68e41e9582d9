"""What does a fact of the shell change? HEALTH events, and the start of a session.

The shell alone knows how long a sync took, whether the private stream is whole, who holds the lease. It
says so in events, so that a replay of its log decides the same. Left out: what the facts block
(gates.py), what a reconcile makes of orders and balances (reconcile.py).
"""

from __future__ import annotations

import numpy as np

from engine.commands import ROLE_ENTRY
from engine.core.desk import desk_of
from engine.core.modes import take_mode
from engine.core.orders import is_working
from engine.core.protection import guard_position
from engine.core.reconcile import (
    begin_reconcile,
    doubt_order,
    end_absent,
    finish_reconcile,
    lose_account,
    sync_account,
)
from engine.core.records import STOPPING
from engine.core.recoveries import (
    RECOVERY_FOREIGN_ORDER,
    RECOVERY_LOST,
    RECOVERY_STARTED,
    RECOVERY_STOPPING,
    RECOVERY_SWITCH_FIRED,
    recovery_row,
)
from engine.core.safety import ask_cancel
from engine.events import (
    HEALTH_ABSENT,
    HEALTH_ACCOUNT_ALIVE,
    HEALTH_ACCOUNT_LOST,
    HEALTH_ACCOUNT_SYNCED,
    HEALTH_ALERTS,
    HEALTH_CLOCK,
    HEALTH_FOREIGN,
    HEALTH_JOURNAL,
    HEALTH_LAG,
    HEALTH_LEASE,
    HEALTH_RECONCILED,
    HEALTH_STOPPING,
    HEALTH_SUSPECT,
    HEALTH_SWITCH_FIRED,
    MODE_EXIT_ONLY,
    WHO_ENGINE,
    WHY_JOURNAL,
)
from engine.jit import kernel
from engine.stage import stage


@kernel
def start_session(desk):
    """A session begins on this state: what the one before knew of the world outside is forgotten."""
    glob = desk.glob
    glob["clock_offset"] = 0
    glob["clock_ts"] = 0
    glob["journal_ns"] = 0
    glob["journal_failed"] = 0
    glob["lag_ns"] = 0
    glob["heartbeat_ts"] = 0
    glob["account_ts"] = 0
    glob["lease_lost"] = 0
    glob["stopping"] = 0
    lose_account(desk, RECOVERY_STARTED)


@kernel
def take_fact(glob, code, aux, qty):
    """Keep what the gates ask for. Returns False for a fact that is not theirs."""
    if code == HEALTH_CLOCK:
        glob["clock_offset"] = aux
        glob["clock_ts"] = glob["now"]
    elif code == HEALTH_JOURNAL:
        glob["journal_ns"] = aux
        glob["journal_ts"] = glob["now"]
        glob["journal_failed"] = 1 if qty != 0 else 0
    elif code == HEALTH_LAG:
        glob["lag_ns"] = max(aux, qty)
    elif code == HEALTH_ACCOUNT_ALIVE:
        glob["account_ts"] = aux
    elif code == HEALTH_ALERTS:
        glob["alerts"] = aux
    elif code == HEALTH_LEASE:
        glob["lease_lost"] = 1 if aux == 0 else 0
    else:
        return False
    return True


@kernel
def withdraw_entries(desk):
    """The session ends: cancel every entry that can be; the rest follows as it is answered."""
    n = 0
    for slot in range(len(desk.orders)):
        order = desk.orders[slot]
        if is_working(order) and order["role"] == ROLE_ENTRY:
            n += 1
            ask_cancel(desk, slot, STOPPING)
    recovery_row(desk, -1, RECOVERY_STOPPING, 0, n, 0, 0, 0)


@kernel
def guard_again(core, i):
    """Look at one symbol, or at all where `i` is -1, as after any event of theirs."""
    first = 0 if i < 0 else i
    last = len(core.symbols) if i < 0 else i + 1
    for k in range(first, last):
        if core.symbols[k]["position"]["guarded"] != 0:
            guard_position(core, k)


@stage
def take_health(core, event):
    """One HEALTH event."""
    desk = desk_of(core)
    glob = desk.glob
    code = event["id"]
    aux = event["aux"]
    qty = event["qty"]
    if take_fact(glob, code, aux, qty):
        if code == HEALTH_JOURNAL and qty != 0 and glob["mode"] < MODE_EXIT_ONLY:
            take_mode(desk, MODE_EXIT_ONLY, WHO_ENGINE, WHY_JOURNAL)
    elif code == HEALTH_ACCOUNT_LOST:
        lose_account(desk, RECOVERY_LOST)
        guard_again(core, -1)
    elif code == HEALTH_ACCOUNT_SYNCED:
        sync_account(desk)
    elif code == HEALTH_SUSPECT:
        i = doubt_order(desk, aux, qty)
        if i >= 0:
            guard_again(core, i)
    elif code == HEALTH_ABSENT:
        i = end_absent(desk, aux)
        if i >= 0:
            guard_again(core, i)
    elif code == HEALTH_RECONCILED:
        finish_reconcile(desk)
        guard_again(core, -1)
    elif code == HEALTH_SWITCH_FIRED:
        glob["switch_fired"] = 1
        begin_reconcile(glob)
        recovery_row(desk, -1, RECOVERY_SWITCH_FIRED, 0, aux, 0, 0, 0)
        guard_again(core, -1)
    elif code == HEALTH_FOREIGN:
        i = np.int64(event["sym"])
        recovery_row(desk, i, RECOVERY_FOREIGN_ORDER, aux, qty, 0, 0, 0)
    elif code == HEALTH_STOPPING:
        glob["stopping"] = 1
        withdraw_entries(desk)
