"""Which mode is the engine in, who asked for it, and may that be? The only writer of `glob["mode"]`.

Anyone may tighten; only an operator loosens. Two exceptions: a clean reconcile returns to the mode
that a start replaced, and the throttle of losses takes back a REDUCED of its own. A request that a
stricter mode covers is remembered while the start holds that mode. Every request leaves a row.
Left out: what each mode allows (safety.py).
"""

from __future__ import annotations

from engine.core.records import T_MODES
from engine.core.rows import claim_row
from engine.events import (
    MODE_HALT,
    MODE_NORMAL,
    MODE_REDUCED,
    WHO_ENGINE,
    WHO_OPERATOR,
    WHY_LOSS,
    WHY_RECONCILED,
    WHY_START,
)
from engine.jit import kernel


@kernel
def is_held(why):
    """Does this reason hold a mode until an operator says otherwise (so that no exception ends it)?"""
    return why != WHY_START and why != WHY_RECONCILED and why != WHY_LOSS and why != 0


@kernel
def may_loosen(glob, mode, who, why):
    """May this request end a stricter mode?"""
    if who == WHO_OPERATOR:
        return True
    if why == WHY_RECONCILED:
        return glob["mode_why"] == WHY_START
    if why == WHY_LOSS:
        own = glob["mode"] == MODE_REDUCED and glob["mode_why"] == WHY_LOSS
        return own and mode == MODE_NORMAL
    return False


@kernel
def set_mode(glob, mode, who, why):
    """Write the mode in force and who holds it."""
    glob["mode"] = mode
    glob["mode_who"] = who
    glob["mode_why"] = why
    glob["mode_ts"] = glob["now"]


@kernel
def enter_mode(glob, mode, who, why):
    """The rules of `take_mode` without its row. Returns 1 if the request stands, 0 if refused."""
    before = glob["mode"]
    before_why = glob["mode_why"]
    if mode < MODE_NORMAL or mode > MODE_HALT:
        return 0
    if mode > before:
        if why == WHY_START and before_why != WHY_START:
            glob["mode_start"] = before
            glob["mode_start_who"] = glob["mode_who"]
            glob["mode_start_why"] = before_why
        set_mode(glob, mode, who, why)
        return 1
    if mode == before:
        # Who holds it firmer takes it over: a release of the weaker reason then ends nothing.
        firmer = is_held(why) and not is_held(before_why)
        if why == WHY_LOSS and before_why == WHY_START:
            firmer = True
        if firmer or (who == WHO_OPERATOR and why != WHY_START):
            set_mode(glob, mode, who, why)
        return 1
    if may_loosen(glob, mode, who, why):
        if why == WHY_RECONCILED and who != WHO_OPERATOR:
            if glob["mode_start"] > mode:
                set_mode(glob, glob["mode_start"], glob["mode_start_who"], glob["mode_start_why"])
                return 1
        set_mode(glob, mode, who, why)
        return 1
    if before_why == WHY_START and mode > MODE_NORMAL and why != WHY_RECONCILED:
        # The start's own mode covers it; what comes after the reconcile does not fall below it.
        if mode > glob["mode_start"] or (
            mode == glob["mode_start"] and is_held(why) and not is_held(glob["mode_start_why"])
        ):
            glob["mode_start"] = mode
            glob["mode_start_who"] = who
            glob["mode_start_why"] = why
        return 1
    return 0


@kernel
def take_mode(desk, mode, who, why):
    """Ask for MODE_* `mode`. who : WHO_*; why : WHY_*; returns 1 if the request stands, 0 if refused.

    A start never loosens, whoever announces it.
    """
    glob = desk.glob
    before = glob["mode"]
    asker = WHO_ENGINE if why == WHY_START else who
    accepted = enter_mode(glob, mode, asker, why)
    ring = desk.rings["modes"]
    n = claim_row(glob, T_MODES, len(ring))
    if n >= 0:
        row = ring[n]
        row["ts"] = glob["now"]
        row["mode_before"] = before
        row["mode"] = glob["mode"]
        row["asked"] = mode
        row["who"] = who
        row["why"] = why
        row["accepted"] = accepted
    return accepted
