"""Does what the shell tells allow an entry now? One gate per fact, each with its own reason code.

Each gate alone blocks entries and amends of entries, and none of them blocks a cancel or a protective
order; the lease is the exception, without it nothing leaves (safety.py asks it first). A fact that was
never told blocks nothing: a replay of a market has none of them. Left out: where the facts
come from (health.py), the market's own gates (readiness.py), the symbol's book (safety.py).
"""

from __future__ import annotations

from engine.core.positions import sellable
from engine.core.records import (
    ACCOUNT_STALE,
    ALERTS_OPEN,
    BALANCE_DIFFERS,
    CLOCK_UNSURE,
    CONNECTION_SILENT,
    FEED_LAGGING,
    JOURNAL_SLOW,
    LEASE_HELD,
    LEASE_LOST,
    OK,
    RECONCILE_PENDING,
    REPEATED,
    STOPPING,
    SWITCH_FIRED,
    SYMBOL_SAFETY,
)
from engine.core.repeats import is_off
from engine.core.routes import route_family
from engine.jit import kernel


@kernel
def heard_ts(desk):
    """When the public side was last heard: a heartbeat, a book message or a trade of any symbol."""
    newest = desk.glob["heartbeat_ts"]
    for i in range(len(desk.symbols)):
        symbol = desk.symbols[i]
        newest = max(newest, symbol["book_ts"], symbol["trade_ts"])
    return newest


@kernel
def clock_unsure(glob, params):
    """Is our clock too far from the venue's, or its last comparison too old?"""
    if glob["clock_ts"] == 0:
        return False
    if abs(glob["clock_offset"]) > params["gates_clock_max_ns"]:
        return True
    return glob["now"] - glob["clock_ts"] > params["gates_clock_age_max_ns"]


@kernel
def journal_slow(glob, params):
    """Did the newest sync fail, or was it slow a short while ago?

    Without commands nothing is synced, so a slow one must not be the reason that no other follows.
    """
    if glob["journal_failed"] != 0:
        return True
    if glob["journal_ns"] <= params["gates_journal_max_ns"]:
        return False
    return glob["now"] - glob["journal_ts"] < params["gates_journal_hold_ns"]


@kernel
def shell_gate(desk):
    """Why no symbol takes an entry now, OK if nothing of the shell stands in the way."""
    glob = desk.glob
    params = desk.params
    now = glob["now"]
    if glob["lease_lost"] != 0:
        return LEASE_LOST
    if glob["stopping"] != 0:
        return STOPPING
    if glob["switch_fired"] != 0:
        return SWITCH_FIRED
    if glob["reconcile"] != 0:
        return RECONCILE_PENDING
    if glob["cash_differs"] != 0:
        return BALANCE_DIFFERS
    if journal_slow(glob, params):
        return JOURNAL_SLOW
    if clock_unsure(glob, params):
        return CLOCK_UNSURE
    if glob["heartbeat_ts"] > 0 and now - heard_ts(desk) > params["gates_silence_max_ns"]:
        return CONNECTION_SILENT
    if glob["lag_ns"] > params["gates_lag_max_ns"]:
        return FEED_LAGGING
    if glob["account_ts"] > 0 and now - glob["account_ts"] > params["gates_account_age_max_ns"]:
        return ACCOUNT_STALE
    if glob["alerts"] > 0:
        return ALERTS_OPEN
    return OK


@kernel
def entry_gate(desk, i, route):
    """Why an entry of this route may not go to symbol `i` now: shell, symbol, family; OK if it may."""
    code = shell_gate(desk)
    if code != OK:
        return code
    glob = desk.glob
    now = glob["now"]
    position = desk.symbols[i]["position"]
    if now < position["lease_until"]:
        return LEASE_HELD
    if position["leave"] != 0:
        return SYMBOL_SAFETY
    if position["short"] > 0:
        return BALANCE_DIFFERS
    if position["differs_ts"] > 0:
        if now - position["differs_ts"] >= desk.params["reconcile_settle_ns"]:
            return BALANCE_DIFFERS
    if is_off(glob["repeats"], route_family(route)):
        return REPEATED
    return OK


@kernel
def exit_gate(desk, i, suspect):
    """Why no sale that we begin may leave for symbol `i` now, OK if it may; stops are not asked.

    suspect : an order of the symbol is in doubt
    A sale on a view that is not reconciled could sell the same coins twice.
    """
    glob = desk.glob
    position = desk.symbols[i]["position"]
    if glob["now"] < position["lease_until"]:
        return LEASE_HELD
    if glob["reconcile"] != 0 and (glob["reconcile_read"] == 0 or suspect):
        return RECONCILE_PENDING
    if position["qty"] > 0 and sellable(position) == 0:
        return BALANCE_DIFFERS
    return OK
