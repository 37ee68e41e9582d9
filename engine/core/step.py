"""What does one event do to the core? The only door in: `core_step(core, event)`.

Per event: book and tape are kept true, order events are applied, and every symbol with inventory
or a working order is guarded before anything else. Evaluations happen on the timer, and only
after the last open message is closed.
"""

from __future__ import annotations

import numpy as np

from engine.book import (
    book_best,
    book_clear,
    book_qty,
    book_set,
    book_truncate,
    side_index,
)
from engine.core.bursts import burst_trade
from engine.core.costs import take_fee_table
from engine.core.desk import desk_of
from engine.core.drain import drain_heap, queue_losers
from engine.core.faults import FAULT_TIME_BACKWARDS, FAULT_UNKNOWN_EVENT, FAULT_UNKNOWN_SYMBOL
from engine.core.health import start_session, take_health
from engine.core.level3 import level3_event, level3_lost, level3_trade
from engine.core.members import told_universe
from engine.core.modes import take_mode
from engine.core.operator import take_operator
from engine.core.orders import apply_order_event
from engine.core.params import TIMER_GRID_MAX_NS
from engine.core.pipeline import evaluate, sample_market
from engine.core.protection import guard_position
from engine.core.reach import reach_lost, reach_price
from engine.core.reconcile import take_balance
from engine.core.refill import refill_lost, refill_touch, refill_trade
from engine.core.routestate import settle_routes, track_mid
from engine.core.shadow import settle_shadow
from engine.core.tape import tape_touch, tape_trade
from engine.core.watch import watch_trade
from engine.events import (
    BALANCE,
    BOOK_LEVEL,
    CONNECTION_DOWN,
    EPOCH,
    FAILED,
    GAP,
    HEALTH,
    HEARTBEAT,
    INSTRUMENT,
    L3_ADD,
    L3_DELETE,
    LAST,
    MESSAGE_END,
    MODE,
    OPERATOR,
    ORDER_PENDING,
    ORDER_SENT,
    ORDER_TRAILED,
    RESYNC,
    SNAPSHOT,
    SYSTEM_STATUS,
    TABLE_FEES,
    TABLE_UNIVERSE,
    TABLE_UPDATE,
    TIMER,
    TRADE,
    WHY_START,
)
from engine.instruments import STATUS_LIMIT_ONLY, STATUS_ONLINE
from engine.jit import kernel
from engine.stage import stage
from engine.units import notional_fits, notional_money


@kernel
def distrust_book(symbol, ts):
    """Until the next snapshot nothing may be believed about this book."""
    symbol["verified"] = 0
    symbol["awaiting_snapshot"] = 1
    symbol["n_gaps"] += 1
    # The next touch is compared with none: what happened in between is not order flow.
    tape_touch(symbol["tape"], 0, 0, 0, 0)
    refill_lost(symbol["refill"], ts)
    reach_lost(symbol["reach"])


@kernel
def close_message(glob, params, symbol, flags, ts):
    """The book message is complete: cut, verify, take the new touch."""
    if symbol["message_open"] != 0:
        symbol["message_open"] = 0
        glob["n_messages_open"] -= 1
    if symbol["awaiting_snapshot"] != 0:
        return
    symbol["n_messages"] += 1
    book = symbol["book"]
    if symbol["depth"] > 0:
        book_truncate(book, symbol["depth"])
    if flags & FAILED:
        symbol["n_checksum_failed"] += 1
        distrust_book(symbol, ts)
        return
    symbol["book_ts"] = ts
    bid = book_best(book, 0)
    ask = book_best(book, 1)
    if bid > 0 and ask > 0 and bid >= ask:
        # The checksum does not cover this. Wait for the feed to uncross, trade on nothing.
        symbol["n_crossed"] += 1
        symbol["verified"] = 0
        tape_touch(symbol["tape"], 0, 0, 0, 0)
        refill_lost(symbol["refill"], ts)
        return
    symbol["verified"] = 1
    bid_qty = book_qty(book, 0, bid) if bid > 0 else 0
    ask_qty = book_qty(book, 1, ask) if ask > 0 else 0
    if bid != symbol["bid"] or ask != symbol["ask"]:
        symbol["dirty"] = 1
    symbol["bid"] = bid
    symbol["ask"] = ask
    symbol["bid_qty"] = bid_qty
    symbol["ask_qty"] = ask_qty
    tape_touch(symbol["tape"], bid, bid_qty, ask, ask_qty)
    reach = symbol["reach"]
    if 0 < ask <= reach["limit"][0]:
        reach_price(reach, params, 0, ask, ts)
    if bid >= reach["limit"][1] > 0:
        reach_price(reach, params, 1, bid, ts)
    if params["features_refill"] == 1:
        refill_touch(symbol["refill"], book, bid, bid_qty, ask, ask_qty, ts)


@kernel
def open_message(glob, symbol, flags):
    """First record of a book message; a snapshot replaces everything."""
    symbol["message_open"] = 1
    glob["n_messages_open"] += 1
    if flags & SNAPSHOT:
        book_clear(symbol["book"])
        symbol["awaiting_snapshot"] = 0


@kernel
def on_trade(params, symbol, event, ts):
    """A print on the tape; trades of a subscription snapshot are history, not new flow."""
    if np.int64(event["flags"]) & SNAPSHOT:
        return
    price = event["price"]
    qty = event["qty"]
    side = np.int64(event["side"])
    instrument = symbol["instrument"]
    symbol["n_trades"] += 1
    symbol["trade_ts"] = ts
    symbol["trade_price"] = price
    if symbol["watch"]["on"] != 0:
        watch_trade(symbol["watch"], price, ts)
    reach = symbol["reach"]
    if price <= reach["limit"][0]:
        reach_price(reach, params, 0, price, ts)
    if price >= reach["limit"][1] > 0:
        reach_price(reach, params, 1, price, ts)
    if notional_fits(price, qty, instrument["notional_num"]):
        notional = notional_money(
            price, qty, instrument["notional_num"], instrument["notional_den"]
        )
        tape_trade(symbol["tape"], price, qty, side, notional, ts)
        if params["features_bursts"] == 1:
            gap_ns = params["features_burst_gap_ns"]
            burst_trade(symbol["bursts"], price, side, notional, ts, gap_ns)
    if params["features_refill"] == 1:
        refill_trade(symbol["refill"], price, side, ts)
    if params["features_level3"] == 1:
        level3_trade(symbol["level3"], side, qty)


@kernel
def take_market(glob, params, symbol, event, kind, ts):
    """A book or trade record: the path that nearly every event takes, so it is given records only.

    Passing a whole `Core` costs a reference count for each of its arrays, fifty times the work here.
    returns whether somebody must look: a guarded position, an evaluation or a candidate that waits
    """
    symbol["n_events"] += 1
    if symbol["first_ts"] == 0:
        symbol["first_ts"] = ts
    if kind == TRADE:
        on_trade(params, symbol, event, ts)
    else:
        flags = np.int64(event["flags"])
        if symbol["message_open"] == 0:
            open_message(glob, symbol, flags)
        if kind == BOOK_LEVEL and symbol["awaiting_snapshot"] == 0:
            book_set(
                symbol["book"],
                side_index(np.int64(event["side"])),
                event["price"],
                event["qty"],
            )
        if not flags & LAST:
            return False
        close_message(glob, params, symbol, flags, ts)
    waiting = glob["evaluation_due"] != 0 and glob["n_messages_open"] == 0
    followed = symbol["n_waiting"] != 0 or symbol["n_tracked"] != 0
    return symbol["position"]["guarded"] != 0 or waiting or followed


@kernel
def attend(core, i):
    """Guard symbol `i`; then the evaluation that waited for its message to close."""
    glob = core.glob[0]
    symbol = core.symbols[i]
    if symbol["n_tracked"] != 0 and symbol["bid"] + symbol["ask"] != symbol["tracked_mid"]:
        track_mid(core, i)
    if core.symbols[i]["position"]["guarded"] != 0:
        guard_position(core, i)
    if glob["n_messages_open"] != 0:
        return
    if glob["evaluation_due"] != 0:
        evaluate_all(core)
    elif core.symbols[i]["n_waiting"] != 0:
        drain_heap(core, i)


@kernel
def evaluate_all(core):
    """One evaluation; what lost only to a better one may wait for the time until the next."""
    evaluate(core)
    if core.params[0]["heap_enabled"] == 1:
        queue_losers(core)
    if core.params[0]["route_state_enabled"] == 1:
        settle_routes(core)


@kernel
def on_market(core, event, kind, ts):
    """A book or trade record, one at a time."""
    i = np.int64(event["sym"])
    glob = core.glob[0]
    if i < 0 or i >= len(core.symbols):
        glob["fault"] = FAULT_UNKNOWN_SYMBOL
    elif take_market(glob, core.params[0], core.symbols[i], event, kind, ts):
        attend(core, i)


@kernel
def on_level3(core, event, kind, ts):
    """A record of a level-3 feed, or the end of one of its messages; nothing where it is off."""
    i = np.int64(event["sym"])
    params = core.params[0]
    if params["features_level3"] == 1 and 0 <= i < len(core.symbols):
        symbol = core.symbols[i]
        level3_event(symbol["level3"], event, kind, symbol["depth"], ts)


@kernel
def on_interruption(core, i):
    """A gap, a resync, a lost connection: of one symbol, or of all when i is -1."""
    glob = core.glob[0]
    first = 0 if i < 0 else i
    last = len(core.symbols) if i < 0 else i + 1
    for k in range(first, last):
        symbol = core.symbols[k]
        if symbol["message_open"] != 0:
            # What came of this message so far goes with the book it belonged to.
            symbol["message_open"] = 0
            glob["n_messages_open"] -= 1
        distrust_book(symbol, glob["now"])
        if core.params[0]["features_level3"] == 1:
            level3_lost(symbol["level3"])


@kernel
def on_timer(core, event):
    """A tick of the grid: an evaluation where one is due, else a look at the mids."""
    glob = core.glob[0]
    interval = core.params[0]["evaluation_interval_ns"]
    if event["aux"] != min(interval, TIMER_GRID_MAX_NS):
        return  # a grid that is not ours
    settle_shadow(core)
    if event["ts"] % interval != 0:
        for i in range(len(core.symbols)):
            sample_market(core, i)
    elif glob["n_messages_open"] > 0:
        glob["evaluation_due"] = 1
    else:
        evaluate_all(core)


@kernel
def settle_status(glob, symbol):
    """What the pair takes now: the stricter of its own status and the venue's.

    Post-only within limit-only is post-only; otherwise the higher code takes less.
    """
    own = symbol["pair_status"]
    system = glob["system_status"]
    status = max(own, system)
    if own != STATUS_ONLINE and system != STATUS_ONLINE and status == STATUS_LIMIT_ONLY:
        status = min(own, system)
    symbol["instrument"]["status"] = status


@stage
def on_other(core, event):
    """Everything that is not a book level or a trade."""
    glob = core.glob[0]
    kind = np.int64(event["kind"])
    i = np.int64(event["sym"])
    if kind == TIMER:
        on_timer(core, event)
    elif ORDER_SENT <= kind <= ORDER_PENDING or kind == ORDER_TRAILED:
        apply_order_event(core, event)
        if 0 <= i < len(core.symbols):
            guard_position(core, i)
    elif kind == GAP or kind == RESYNC or kind == CONNECTION_DOWN:
        on_interruption(core, i)
    elif kind == INSTRUMENT:
        if 0 <= i < len(core.symbols):
            core.symbols[i]["pair_status"] = event["aux"]
            settle_status(glob, core.symbols[i])
    elif kind == SYSTEM_STATUS:
        glob["system_status"] = event["aux"]
        for k in range(len(core.symbols)):
            settle_status(glob, core.symbols[k])
    elif kind == EPOCH:
        glob["epoch"] = event["id"]
        glob["epoch_status"] = event["aux"]
    elif kind == TABLE_UPDATE:
        if event["aux"] == TABLE_FEES:
            take_fee_table(glob, event["price"], event["qty"])
        elif event["aux"] == TABLE_UNIVERSE:
            last = (np.int64(event["flags"]) & LAST) != 0
            told_universe(core, i, event["id"], event["price"], last)
    elif kind == MODE:
        desk = desk_of(core)
        take_mode(desk, event["aux"], event["id"], event["qty"])
        if event["qty"] == WHY_START:
            start_session(desk)
    elif kind == HEALTH:
        take_health(core, event)
    elif kind == OPERATOR:
        take_operator(core, event)
    elif kind == BALANCE:
        take_balance(core, event)
    elif kind == HEARTBEAT:
        glob["heartbeat_ts"] = event["ts"]
        if core.params[0]["readiness_heartbeat"] == 1:
            # The feed lives and had nothing to say: a verified book is what it was.
            for k in range(len(core.symbols)):
                if core.symbols[k]["verified"] == 1:
                    core.symbols[k]["book_ts"] = event["ts"]
    elif kind <= 0 or kind > HEALTH:
        glob["fault"] = FAULT_UNKNOWN_EVENT
    # What is left (ticker, candles, our own commands in a log) is recorded for people and for
    # parts of the core to come; nothing here decides on it.


@kernel
def core_step(core, event):
    """Take one event; append COMMANDs to `core.commands` and rows to `core.rings`.

    core : Core; event : EVENT record, `ts` never below the newest one seen
    """
    glob = core.glob[0]
    ts = event["ts"]
    if ts < glob["now"]:
        glob["fault"] = FAULT_TIME_BACKWARDS
        return
    if glob["start_ts"] == 0:
        glob["start_ts"] = ts
    glob["now"] = ts
    glob["n_events"] += 1
    kind = np.int64(event["kind"])
    if kind == BOOK_LEVEL or kind == TRADE:
        on_market(core, event, kind, ts)
    elif kind == MESSAGE_END:
        # Level 3 has its own messages; the decision book is made of price levels.
        if event["id"] < L3_ADD or event["id"] > L3_DELETE:
            on_market(core, event, kind, ts)
        else:
            on_level3(core, event, kind, ts)
    elif L3_ADD <= kind <= L3_DELETE:
        on_level3(core, event, kind, ts)
    else:
        on_other(core, event)


@stage
def step_one(core, event):
    """`core_step` behind an address, for callers that feed one event at a time."""
    core_step(core, event)


@stage
def run_core(core, events, first, last, limit):
    """Step through market events [first, last) up to time `limit`, or until a command is due.

    returns the index of the first event not taken
    """
    glob = core.glob[0]
    symbols = core.symbols
    params = core.params[0]
    n_symbols = len(symbols)
    c = first
    while c < last:
        event = events[c]
        ts = event["ts"]
        if ts > limit:
            break
        kind = np.int64(event["kind"])
        i = np.int64(event["sym"])
        plain = (kind == BOOK_LEVEL or kind == TRADE) and 0 <= i < n_symbols
        if plain and ts >= glob["now"] > 0:
            # As core_step does it, without the way through a Core.
            glob["now"] = ts
            glob["n_events"] += 1
            if take_market(glob, params, symbols[i], event, kind, ts):
                attend(core, i)
        else:
            step_one(core, event)
        c += 1
        if glob["n_commands"] > 0:
            break
    return c
