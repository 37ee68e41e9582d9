"""What do we hold, what did it cost, what did it earn? Positions, cash and realised profit."""

from __future__ import annotations

from typing import Final

POSITION_NONE: Final = 0
POSITION_OPENING: Final = 1  # an entry has filled in part and still works
POSITION_OPEN: Final = 2
POSITION_REDUCING: Final = 3  # sold in part
POSITION_CLOSING: Final = 4  # an exit order works
POSITION_CLOSED: Final = 5  # flat again (dust aside); the record waits for its next life

POSITION_NAMES: Final[dict[int, str]] = {
    POSITION_NONE: "none",
    POSITION_OPENING: "opening",
    POSITION_OPEN: "open",
    POSITION_REDUCING: "reducing",
    POSITION_CLOSING: "closing",
    POSITION_CLOSED: "closed",
}

# Nested in each symbol as symbols[i]["position"].
POSITION_FIELDS: Final = (
    ("state", "<i8"),  # POSITION_*
    ("guarded", "<i8"),  # 1: inventory or a working sell, guard_position wants every event
    ("qty", "<i8"),  # lots held as a position, >= 0
    ("cost", "<i8"),  # money: what the open lots cost, fees included
    ("dust", "<i8"),  # lots below the minimum order, left by earlier positions
    ("dust_cost", "<i8"),  # money
    ("mark", "<i8"),  # ticks: last bid seen, the conservative mark
    ("route", "<i8"),  # route that opened it
    ("generation", "<i8"),
    ("opened_ts", "<i8"),
    ("n_trips", "<i8"),  # positions opened in this symbol so far
    # of this trip, from the first buy until flat
    ("qty_bought", "<i8"),  # lots
    ("qty_sold", "<i8"),
    ("bought", "<i8"),  # money, fees excluded
    ("sold", "<i8"),
    ("fees", "<i8"),
    ("realized", "<i8"),  # sales - fees - cost relieved
    ("expected_bps", "<f8"),
    # policy, fixed at the first fill and only tightened afterwards
    ("horizon_ns", "<i8"),
    ("vol_bps", "<f8"),  # volatility over the horizon at entry
    ("entry_price", "<f8"),  # ticks, average of the buys
    ("stop", "<i8"),  # ticks: trigger wanted now, ratchets up only
    ("target", "<i8"),  # ticks, 0 none
    ("peak", "<i8"),  # ticks: best bid since entry
    ("time_exit_ts", "<i8"),
    # coverage
    ("coverage", "<i8"),  # COVER_* of protection.py
    ("covered", "<i8"),  # lots under a resting stop
    ("uncovered_ts", "<i8"),  # since when uncovered, 0 covered
    ("unprotected_ns", "<i8"),  # time uncovered before that, this trip
    ("stop_slot", "<i8"),  # slot + 1 of the resting sell, 0 none
    ("exit_slot", "<i8"),  # slot + 1 of the exit order, 0 none
    ("entry_slot", "<i8"),  # slot + 1 of the working entry, 0 none
    ("exit_reason", "<i8"),  # EXIT_* once leaving was decided, 0 hold
    ("n_refused", "<i8"),  # stops refused in a row
    ("n_exit_tries", "<i8"),
    ("retry_ts", "<i8"),  # nothing is tried again before this
    ("trail_ts", "<i8"),  # newest trailing amend
    ("safety", "<i8"),  # reason code that blocks entries of this symbol, 0 none
    # the venue's transaction counter of this pair
    ("rate_points", "<f8"),
    ("rate_ts", "<i8"),
)
