"""In which order do market, venue and core meet? The one compiled entry of every simulated run.

Two timelines, each a strict sequence. The venue's: market data at `ts - feed latency`, then its
own deadlines, then commands, by time. The core's: market data at `ts`, then the venue's answers,
then timers, by time. Commands and answers travel first in, first out, with latency.

Neither side may act on something before all that could still arrive earlier is known. A command
sent at or after time t arrives no sooner than t + the least entry latency, an answer no sooner
than t + the least response latency; so each side runs ahead exactly that far and no further
(conservative lookahead, Chandy and Misra 1979). The result therefore cannot depend on how events
are cut into batches: what the core has not reached is handed in again with the next batch.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.commands import COMMAND
from engine.core.capital import close_books
from engine.core.faults import FAULT_COMMANDS_FULL
from engine.core.shadow import close_shadow
from engine.core.state import COMMANDS_MAX, N_TABLES, RING_ROWS
from engine.core.step import run_core, step_one
from engine.events import EVENT, ORDER_SENT, TIMER
from engine.jit import kernel
from engine.stage import define_kind, stage
from engine.venue.latency import entry_latency, response_latency
from engine.venue.matching import venue_command, venue_next_time, venue_run, venue_timer

FOREVER: Final = (1 << 62) + ((1 << 62) - 1)
FAR: Final = 1 << 62  # a time so late that adding a latency does not wrap
IN_FLIGHT: Final = 16_384  # commands or answers under way at once
STRIDE: Final = 1024  # market events between two looks at the record rings

NEED_EVENTS: Final = 0
NEED_DRAIN: Final = 1
FAULTED: Final = 2
FINISHED: Final = 3
VENUE_FAULT: Final = 100  # added to a fault code of the venue

LINK: Final = np.dtype(
    [
        ("to_venue", COMMAND, (IN_FLIGHT,)),
        ("to_venue_ts", "<i8", (IN_FLIGHT,)),  # arrival, never decreasing
        ("to_venue_head", "<i8"),
        ("to_venue_tail", "<i8"),
        ("to_core", EVENT, (IN_FLIGHT,)),  # `ts` is the arrival, never decreasing
        ("to_core_head", "<i8"),
        ("to_core_tail", "<i8"),
        ("sent", COMMAND, (IN_FLIGHT,)),  # commands since the last drain, for the record
        ("n_sent", "<i8"),
        ("n_commands", "<i8"),  # counters of the latency draws
        ("n_answers", "<i8"),
        ("at_core", "<i8"),  # first event handed in again that the core has not seen
        ("at_venue", "<i8"),  # ... that the venue has not seen
        ("venue_ts", "<i8"),  # the venue's clock: newest market time it has seen
        ("last_ts", "<i8"),  # ts of the newest market event handed in
        ("feed_ns", "<i8"),
        ("entry_min_ns", "<i8"),
        ("response_min_ns", "<i8"),
        ("timer_ns", "<i8"),  # grid; 0: timers come as events (a recorded log)
        ("next_timer", "<i8"),  # 0 until the first event is seen
        ("scratch", EVENT),
        ("fault", "<i8"),
    ]
)

define_kind("link", np.zeros(1, LINK))
define_kind("calls", np.zeros(1, np.int64))

HALF_FULL: Final = np.array([rows // 2 for rows in RING_ROWS.values()], np.int64)


def make_link(feed_ns: int, entry_min_ns: int, response_min_ns: int, timer_ns: int) -> np.ndarray:
    """LINK[1]: nothing under way.

    feed_ns : venue to us, subtracted from a market event's `ts` to get its time at the venue
    entry_min_ns, response_min_ns : least latencies, how far either side may run ahead
    timer_ns : timer grid to synthesise, 0 if the stream carries its own TIMER events
    """
    link = np.zeros(1, LINK)
    row = link[0]
    row["feed_ns"], row["timer_ns"] = feed_ns, timer_ns
    row["entry_min_ns"], row["response_min_ns"] = entry_min_ns, response_min_ns
    row["venue_ts"] = -FOREVER
    return link


@kernel
def ship_answers(venue, link, t):
    """Put the venue's answers of time `t` on their way to the core."""
    row = link[0]
    out = venue.out
    for k in range(venue.glob[0]["n_out"]):
        tail = row["to_core_tail"]
        if tail - row["to_core_head"] >= IN_FLIGHT:
            row["fault"] = FAULT_COMMANDS_FULL
            break
        arrival = t + response_latency(venue.params, row["n_answers"])
        row["n_answers"] += 1
        if tail > row["to_core_head"]:
            before = row["to_core"][(tail - 1) % IN_FLIGHT]["ts"]
            arrival = max(arrival, before)
        slot = row["to_core"][tail % IN_FLIGHT]
        answer = out[k]
        slot["ts"] = arrival
        slot["ts_venue"] = t
        slot["seq"] = 0
        slot["price"] = answer["price"]
        slot["qty"] = answer["qty"]
        slot["id"] = answer["id"]
        slot["aux"] = answer["aux"]
        slot["sym"] = answer["sym"]
        slot["kind"] = answer["kind"]
        slot["side"] = answer["side"]
        slot["flags"] = answer["flags"]
        row["to_core_tail"] = tail + 1
    venue.glob[0]["n_out"] = 0


@stage
def run_venue(calls, venue, link, events, first, limit):
    """Show the venue market events from `first` on, up to its time `limit` or its first answer.

    returns the index of the first event not shown
    """
    row = link[0]
    v, fault = venue_run(venue, events, first, len(events), limit)
    if v > first:
        row["venue_ts"] = max(row["venue_ts"], events[v - 1]["ts"] - row["feed_ns"])
    if fault != 0:
        row["fault"] = VENUE_FAULT + fault
    elif venue.glob[0]["n_out"] > 0:
        ship_answers(venue, link, row["venue_ts"])
    return v


@stage
def timer_to_venue(calls, venue, link, t):
    """The venue acts on its own deadlines at or before `t`."""
    fault = venue_timer(venue, t)
    if fault != 0:
        link[0]["fault"] = VENUE_FAULT + fault
    ship_answers(venue, link, t)


@stage
def command_to_venue(calls, venue, link, t):
    """The first command under way arrives at the venue at `t`."""
    row = link[0]
    head = row["to_venue_head"]
    row["to_venue_head"] = head + 1
    fault = venue_command(venue, row["to_venue"][head % IN_FLIGHT], t)
    if fault != 0:
        row["fault"] = VENUE_FAULT + fault
    ship_answers(venue, link, t)


@kernel
def copy_command(target, source):
    """target = source, field by field (a record assignment is not the same without the JIT)."""
    target["ts"] = source["ts"]
    target["generation"] = source["generation"]
    target["id"] = source["id"]
    target["route"] = source["route"]
    target["price"] = source["price"]
    target["trigger"] = source["trigger"]
    target["qty"] = source["qty"]
    target["expire_ts"] = source["expire_ts"]
    target["reason"] = source["reason"]
    target["sym"] = source["sym"]
    target["kind"] = source["kind"]
    target["side"] = source["side"]
    target["type"] = source["type"]
    target["tif"] = source["tif"]
    target["post_only"] = source["post_only"]
    target["role"] = source["role"]


@kernel
def queue_command(venue, link, command):
    """Put one command on its way to the venue, with its entry latency; faults when too many travel."""
    row = link[0]
    tail = row["to_venue_tail"]
    if tail - row["to_venue_head"] >= IN_FLIGHT:
        row["fault"] = FAULT_COMMANDS_FULL
        return
    arrival = command["ts"] + entry_latency(venue.params, row["n_commands"])
    row["n_commands"] += 1
    if tail > row["to_venue_head"]:
        arrival = max(arrival, row["to_venue_ts"][(tail - 1) % IN_FLIGHT])
    copy_command(row["to_venue"][tail % IN_FLIGHT], command)
    row["to_venue_ts"][tail % IN_FLIGHT] = arrival
    row["to_venue_tail"] = tail + 1


@kernel
def ship_commands(core, venue, link):
    """Send what the core decided: record it, tell the core it is on the wire, let it travel."""
    row = link[0]
    glob = core.glob[0]
    while glob["n_commands"] > 0 and row["fault"] == 0:
        n = glob["n_commands"]
        first = row["n_sent"]
        for k in range(n):
            command = core.commands[k]
            if row["n_sent"] >= IN_FLIGHT:
                row["fault"] = FAULT_COMMANDS_FULL
            else:
                queue_command(venue, link, command)
            if row["fault"] != 0:
                return
            copy_command(row["sent"][row["n_sent"]], command)
            row["n_sent"] += 1
        glob["n_commands"] = 0
        # Hearing that an order is on the wire may make the core decide again.
        for k in range(first, first + n):
            command = row["sent"][k]
            sent = row["scratch"]
            sent["ts"] = glob["now"]
            sent["ts_venue"] = 0
            sent["price"] = command["price"]
            sent["qty"] = command["qty"]
            sent["id"] = command["id"]
            sent["aux"] = np.int64(command["kind"])
            sent["sym"] = command["sym"]
            sent["kind"] = ORDER_SENT
            sent["side"] = command["side"]
            sent["flags"] = 1
            step_one(core, sent)


@kernel
def strike(core, row, ts):
    """A timer of the grid reaches the core."""
    tick = row["scratch"]
    tick["ts"] = ts
    tick["ts_venue"] = 0
    tick["price"] = 0
    tick["qty"] = 0
    tick["id"] = 0
    tick["aux"] = row["timer_ns"]
    tick["sym"] = -1
    tick["kind"] = TIMER
    tick["side"] = 0
    tick["flags"] = 1
    step_one(core, tick)


@kernel
def rings_half_full(core):
    """Is any record ring at least half full, so that the driver should drain first?"""
    rows = core.glob[0]["n_rows"]
    for table in range(N_TABLES):
        if rows[table] >= HALF_FULL[table]:
            return True
    return False


@kernel
def advance(core, venue, link, events, final):
    """Run the world through `events` as far as is certain.

    core : Core; venue : Venue; link : LINK[1]
    events : EVENT[n], by time; begins with the events not consumed by the last call
    final : bool, no more events will come
    returns consumed, status : events the core is done with (drop them), and NEED_EVENTS,
    NEED_DRAIN (empty the rings and call again), FAULTED or FINISHED
    """
    n = len(events)
    row = link[0]
    glob = core.glob[0]
    c = row["at_core"]
    v = row["at_venue"]
    if n > 0:
        row["last_ts"] = events[n - 1]["ts"]
        if row["next_timer"] == 0:
            grid = row["timer_ns"]
            row["next_timer"] = FOREVER if grid == 0 else (events[0]["ts"] // grid + 1) * grid
    feed = row["feed_ns"]
    entry_min = row["entry_min_ns"]
    response_min = row["response_min_ns"]
    end = row["last_ts"] if final else FOREVER
    status = NEED_EVENTS
    while True:
        if glob["fault"] != 0 or row["fault"] != 0:
            status = FAULTED
            break
        if rings_half_full(core) or row["n_sent"] >= IN_FLIGHT // 2:
            status = NEED_DRAIN
            break
        # The venue's next act, and the earliest time at which it could act at all.
        command_ts = FOREVER
        if row["to_venue_tail"] > row["to_venue_head"]:
            command_ts = row["to_venue_ts"][row["to_venue_head"] % IN_FLIGHT]
        deadline_ts = venue_next_time(venue)
        own_ts = min(deadline_ts, command_ts)
        market_ts = FOREVER
        if v < n:
            market_ts = max(row["venue_ts"], events[v]["ts"] - feed)
        venue_next = min(market_ts, own_ts)
        venue_known = v < n or final or own_ts < row["venue_ts"]
        venue_bound = venue_next if v < n or final else min(own_ts, row["venue_ts"])
        # The core's.
        answer_ts = FOREVER
        if row["to_core_tail"] > row["to_core_head"]:
            answer_ts = row["to_core"][row["to_core_head"] % IN_FLIGHT]["ts"]
        timer_ts = row["next_timer"]
        inner_ts = min(answer_ts, timer_ts)
        tick_ts = events[c]["ts"] if c < n else FOREVER
        core_next = min(tick_ts, inner_ts)
        core_known = c < n or final or inner_ts < row["last_ts"]
        core_bound = core_next if c < n or final else min(inner_ts, row["last_ts"])

        venue_may = venue_known and venue_next <= end and venue_next <= core_bound + entry_min
        # Without own orders no market event makes the venue answer: only a command can.
        idle = venue.glob[0]["n_orders"] == 0
        answer_bound = min(own_ts, FAR) if idle else min(venue_bound, FAR)
        core_may = core_known and core_next <= end and core_next < answer_bound + response_min
        if core_may and (idle or not venue_may):
            if tick_ts <= inner_ts:
                limit = min(inner_ts, answer_bound + response_min - 1, end)
                c = run_core(core, events, c, min(n, c + STRIDE), limit)
            elif answer_ts <= timer_ts:
                head = row["to_core_head"]
                row["to_core_head"] = head + 1
                step_one(core, row["to_core"][head % IN_FLIGHT])
            else:
                row["next_timer"] = timer_ts + row["timer_ns"]
                strike(core, row, timer_ts)
            if glob["n_commands"] > 0:
                ship_commands(core, venue, link)
        elif venue_may:
            if market_ts <= own_ts:
                limit = min(own_ts, core_bound + entry_min, end)
                v = run_venue(core.calls, venue, link, events, v, limit)
            elif deadline_ts <= command_ts:
                timer_to_venue(core.calls, venue, link, deadline_ts)
            else:
                command_to_venue(core.calls, venue, link, command_ts)
        else:
            if final:
                close_books(core)
                status = NEED_DRAIN if close_shadow(core) > 0 else FINISHED
            break
    done = min(c, v)
    row["at_core"] = c - done
    row["at_venue"] = v - done
    return done, status


assert COMMANDS_MAX <= IN_FLIGHT // 2
