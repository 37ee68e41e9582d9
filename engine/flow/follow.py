"""How does the core follow a stream whose answers are already in it? The compiled steps of sessions.

`follow` steps the core through events of a log, be it one that is being written or one that is read
again. `run_paper` lets the simulated venue live beside it, fed by the same market events, and gives
its answers a time of arrival. Both use the stages of simulated runs (advance.py), so that a session
decides and matches by the same machine code as a replay. Left out: logs and gateways
(engine/session).
"""

from __future__ import annotations

from typing import Final

from engine.core.step import run_core
from engine.flow.advance import (
    FOREVER,
    IN_FLIGHT,
    STRIDE,
    command_to_venue,
    queue_command,
    rings_half_full,
    run_venue,
    timer_to_venue,
)
from engine.jit import kernel
from engine.venue.matching import venue_next_time

FOLLOWED: Final = 0  # all events are taken
COMMANDS_DUE: Final = 1  # the core has decided: carry its commands out, then go on
ROWS_DUE: Final = 2  # drain the records, then go on
CORE_FAULT: Final = 3


@kernel
def follow(core, events, first):
    """Step the core through `events` from `first` on, until something is due.

    events : EVENT[n], contiguous; returns (int64 index of the first event not taken, one of the
    codes above)
    """
    glob = core.glob[0]
    n = len(events)
    c = first
    while c < n:
        c = run_core(core, events, c, min(n, c + STRIDE), FOREVER)
        if glob["fault"] != 0:
            return c, CORE_FAULT
        if glob["n_commands"] > 0:
            return c, COMMANDS_DUE
        if rings_half_full(core):
            return c, ROWS_DUE
    return c, FOLLOWED


@kernel
def send_paper(venue, link, commands):
    """Put COMMAND[n] on their way to the simulated venue."""
    for k in range(len(commands)):
        if link[0]["fault"] != 0:
            return
        queue_command(venue, link, commands[k])


@kernel
def run_paper(calls, venue, link, events, first, until):
    """Let the simulated venue live up to its time `until` (ns): market, deadlines, commands.

    events : EVENT[n], market events that the venue may not have seen; answers go to the link's queue
    returns the index of the first event that lies beyond `until`
    """
    row = link[0]
    n = len(events)
    v = first
    while row["fault"] == 0:
        command_ts = FOREVER
        if row["to_venue_tail"] > row["to_venue_head"]:
            command_ts = row["to_venue_ts"][row["to_venue_head"] % IN_FLIGHT]
        deadline_ts = venue_next_time(venue)
        own_ts = min(deadline_ts, command_ts)
        market_ts = FOREVER
        if v < n:
            market_ts = max(row["venue_ts"], events[v]["ts"] - row["feed_ns"])
        if min(market_ts, own_ts) > until:
            break
        # As in `advance`: market data before deadlines before commands of the same moment.
        if market_ts <= own_ts:
            v = run_venue(calls, venue, link, events, v, min(own_ts, until))
        elif deadline_ts <= command_ts:
            timer_to_venue(calls, venue, link, deadline_ts)
        else:
            command_to_venue(calls, venue, link, command_ts)
    return v


@kernel
def next_paper(venue, link):
    """When the venue acts next by itself: its own deadline or a command's arrival, in its time."""
    row = link[0]
    own_ts = venue_next_time(venue)
    if row["to_venue_tail"] > row["to_venue_head"]:
        own_ts = min(own_ts, row["to_venue_ts"][row["to_venue_head"] % IN_FLIGHT])
    return own_ts
