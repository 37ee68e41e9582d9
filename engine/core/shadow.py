"""What would have happened? Hypothetical entries for what was considered, followed to their outcome.

Every candidate that is written down is followed: the winner too, so that there is something to
compare with. Two questions per candidate. Where was the mid after 10 s ... 4 h, in the direction of
the thesis, and what is left of that after the candidate's own costs and chance of a fill? And
as a trade: would the entry have filled, was the stop or the target touched first, what did that
leave? Shorts are only ever hypothetical, their borrowing is paid for.

Everything against us: a resting order fills when a print goes through its price, not at it; what
happens within one second counts as the worse order of events; missing data ends a search without an
answer. The ring of pending observations has a fixed size: where it is full the oldest one is
closed early, and its row says so. Nothing here is read by a decision. Left out: how to judge the
outcomes (engine/reports/outcomes.py). docs/formulas-outcomes.md has the formulas.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.columns import FEATURE_INDEX
from engine.core.exits import horizon_vol_bps, stop_price, target_price
from engine.core.records import OUTCOME_HORIZONS_S, OUTCOME_ROW, T_CANDIDATES, T_OUTCOMES
from engine.core.routes import ENTRY_TAKE, route_side
from engine.core.rows import claim_row
from engine.core.watch import (
    NEVER,
    NO_LOW,
    SECOND_NS,
    WATCH_SECONDS,
    first_beyond,
    is_missing,
    second_of,
    watch_extremes,
    watch_tick,
)
from engine.jit import kernel
from engine.numerics import NAN, canonical, floor_int, integer
from engine.stage import stage

_LEAN: Final = FEATURE_INDEX["microprice_bps"]
N_PENDING: Final = 16_384  # a power of two: what can be under observation at once
CLOSED_PER_STEP: Final = 2_048  # rows that one step may close beside those that had to make room
STREAM_SHADOW: Final = 102  # stream of the counter-based generator: which candidates are followed

# How an observation was closed.
OUTCOME_COMPLETE: Final = 1  # every horizon is known
OUTCOME_GAP: Final = 2  # missing or stale data covered some of them
OUTCOME_ENDED: Final = 3  # the stream ended before the longest
OUTCOME_DISPLACED: Final = 4  # it had to make room before the longest
OUTCOME_STATUS_NAMES: Final = {
    OUTCOME_COMPLETE: "complete",
    OUTCOME_GAP: "gap",
    OUTCOME_ENDED: "ended",
    OUTCOME_DISPLACED: "displaced",
}

# What became of the hypothetical trade.
TOUCH_NONE: Final = 0  # never priced: there is no trade to follow
TOUCH_TARGET: Final = 1
TOUCH_STOP: Final = 2
TOUCH_TIME: Final = 3
TOUCH_NOT_FILLED: Final = 4
TOUCH_UNKNOWN: Final = 5  # the data does not say
TOUCH_NAMES: Final = {
    TOUCH_NONE: "none",
    TOUCH_TARGET: "target",
    TOUCH_STOP: "stop",
    TOUCH_TIME: "time",
    TOUCH_NOT_FILLED: "not_filled",
    TOUCH_UNKNOWN: "unknown",
}

N_OUTCOME_HORIZONS: Final = len(OUTCOME_HORIZONS_S)
_HORIZONS: Final = np.array(OUTCOME_HORIZONS_S, np.int64)
_TRADE_S: Final = (
    3_590  # longest trade that is followed, wait and holding: what seconds are kept for
)
_PATH_S: Final = 3_600  # longest path whose extremes are told
_BORROW_S: Final = 14_400  # span of one rollover

PENDING: Final = np.dtype(
    [
        ("row", OUTCOME_ROW),  # what will be written
        ("moves", "<f8", (N_OUTCOME_HORIZONS,)),
        ("start", "<i8"),  # first second that counts for the trade
        ("window_s", "<i8"),  # a resting entry waits so long; 0: it takes
        ("hold_s", "<i8"),
        ("i_own", "<i8"),  # index of the candidate's own horizon, or the next longer one
        ("i_trade", "<i8"),  # index of the horizon at which the trade is surely over
        ("spread_out_bps", "<f8"),
    ]
)

SHADOW: Final = np.dtype(
    [
        ("first", "<i8"),  # number of the oldest observation still open
        ("next", "<i8"),  # number of the next one: slots are numbers modulo N_PENDING
        ("cursor", "<i8", (N_OUTCOME_HORIZONS,)),  # next observation to look at, per horizon
        ("n_seen", "<i8"),  # counter of the sample
        ("n_displaced", "<i8"),
        ("pending", PENDING, (N_PENDING,)),
    ]
)


@kernel
def slot_of(number):
    """Where an observation lies in the ring."""
    return number & (N_PENDING - 1)


# --- the hypothetical trade ----------------------------------------------------------------------


@kernel
def trade_result(row, exit_price, extra_bps):
    """What a round trip from row["price"] to `exit_price` leaves, in bps of its entry price.

    exit_price : float64, ticks; extra_bps : float64, further costs
    """
    entry = float(row["price"])
    gain = row["side"] * (exit_price - entry) / entry * 10_000.0
    return canonical(gain - row["legs_bps"] - row["borrow_bps"] - extra_bps)


@kernel
def find_entry(pending, watch, last):
    """When would the entry have filled? (second, known): 0 if not; known 0: the data does not say.

    A taker is in before the first second that counts. A resting order fills in the second in which a
    print goes through its price.
    """
    row = pending["row"]
    start = pending["start"]
    window = pending["window_s"]
    if window == 0:
        return start - 1, 1
    end = start + window - 1
    until = min(end, last)
    if row["side"] > 0:
        b = first_beyond(watch, start, until, row["price"] - 1, NEVER)
    else:
        b = first_beyond(watch, start, until, -1, row["price"] + 1)
    if b <= until:
        return b, 0 if is_missing(watch, b) else 1
    return 0, 1 if last >= end else 0


@kernel
def follow_trade(pending, watch, last):
    """Resolve the trade by what is known up to second `last`: touch, seconds, result.

    Entry, then the first touch of stop or target, else the mid when its time is up. Stop before
    target where both are touched in one second; in the second of a resting fill the target does
    not count, since it may have come first.
    """
    row = pending["row"]
    last = min(last, watch["second"])
    if row["price"] <= 0 or row["cost_bps"] != row["cost_bps"]:
        row["touch"] = TOUCH_NONE
        return
    row["touch"] = TOUCH_UNKNOWN
    entered, known = find_entry(pending, watch, last)
    if known == 0:
        return
    if entered == 0:
        row["filled"] = 0
        row["touch"] = TOUCH_NOT_FILLED
        row["trade_bps"] = 0.0
        return
    row["filled"] = 1
    row["fill_s"] = entered - pending["start"] + 1
    stop = row["stop"]
    target = row["target"]
    long = row["side"] > 0
    if pending["window_s"] > 0:
        k = first_beyond(watch, entered, entered, stop if long else -1, NEVER if long else stop)
        if k == entered:
            row["touch"] = TOUCH_STOP
            row["touch_s"] = 0
            row["trade_bps"] = trade_result(row, float(stop), 0.0)
            return
    below = stop if long else target
    above = target if long else stop
    if long and target == 0:
        above = NEVER
    if not long and target == 0:
        below = -1
    end = entered + pending["hold_s"]
    until = min(end, last)
    b = first_beyond(watch, entered + 1, until, below, above)
    if b <= until:
        if is_missing(watch, b):
            return
        row["touch_s"] = b - entered
        side_low = first_beyond(watch, b, b, stop, NEVER) == b
        side_high = first_beyond(watch, b, b, -1, stop) == b
        if side_low if long else side_high:
            row["touch"] = TOUCH_STOP
            row["trade_bps"] = trade_result(row, float(stop), 0.0)
        else:
            row["touch"] = TOUCH_TARGET
            row["trade_bps"] = trade_result(row, float(target), 0.0)
        return
    mid = watch["mid"][end & (WATCH_SECONDS - 1)]
    if last >= end and mid > 0:
        row["touch"] = TOUCH_TIME
        row["touch_s"] = end - entered
        row["trade_bps"] = trade_result(row, 0.5 * float(mid), pending["spread_out_bps"])


# --- horizons ------------------------------------------------------------------------------------


@kernel
def resolve_own(pending, watch):
    """The candidate's own horizon has come: best and worst print on the way, and what is left."""
    row = pending["row"]
    move = pending["moves"][pending["i_own"]]
    row["own_bps"] = move
    start = pending["start"]
    if row["horizon_s"] <= _PATH_S:
        low, high = watch_extremes(watch, start, start + row["horizon_s"] - 1)
        mid = 0.5 * float(row["mid_half_ticks"])
        if 0 < low < NO_LOW and 0 < high < NO_LOW and mid > 0.0:
            up = (float(high) / mid - 1.0) * 10_000.0
            down = (float(low) / mid - 1.0) * 10_000.0
            row["best_bps"] = canonical(up if row["side"] > 0 else -down)
            row["worst_bps"] = canonical(down if row["side"] > 0 else -up)
    row["net_later_bps"] = canonical(move - row["cost_bps"] - row["borrow_bps"])
    row["worth_bps"] = canonical(row["net_later_bps"] * row["fill_prob"])


@kernel
def resolve_horizon(pending, watch, h, now):
    """One horizon of one observation has come: the mid now, if it can be trusted and is on time."""
    row = pending["row"]
    mid = watch["mid_now"]
    born = row["mid_half_ticks"]
    if mid > 0 and born > 0 and now - row["ts"] - _HORIZONS[h] * SECOND_NS < SECOND_NS:
        move = row["side"] * (float(mid) / float(born) - 1.0) * 10_000.0
        pending["moves"][h] = canonical(move)
        row["n_known"] += 1
    if h == pending["i_own"]:
        resolve_own(pending, watch)
    if h == pending["i_trade"]:
        follow_trade(pending, watch, now // SECOND_NS)


# --- closing -------------------------------------------------------------------------------------


@kernel
def close_oldest(glob, symbols, ring, status):
    """Write the row of the oldest observation and free its slot; what is not known stays NaN."""
    shadow = glob["shadow"]
    number = shadow["first"]
    pending = shadow["pending"][slot_of(number)]
    row = pending["row"]
    if shadow["cursor"][pending["i_trade"]] <= number:
        follow_trade(pending, symbols[row["sym"]]["watch"], glob["now"] // SECOND_NS)
    moves = pending["moves"]
    row["mid_10s_bps"] = moves[0]
    row["mid_30s_bps"] = moves[1]
    row["mid_1m_bps"] = moves[2]
    row["mid_5m_bps"] = moves[3]
    row["mid_15m_bps"] = moves[4]
    row["mid_30m_bps"] = moves[5]
    row["mid_1h_bps"] = moves[6]
    row["mid_4h_bps"] = moves[7]
    row["closed_ts"] = glob["now"]
    row["status"] = status
    at = claim_row(glob, T_OUTCOMES, len(ring))
    if at >= 0:
        ring[at] = row
    shadow["first"] = number + 1
    for h in range(N_OUTCOME_HORIZONS):
        if shadow["cursor"][h] <= number:
            shadow["cursor"][h] = number + 1


@kernel
def finished_status(shadow):
    """How the oldest observation is closed, whose longest horizon has come."""
    known = shadow["pending"][slot_of(shadow["first"])]["row"]["n_known"]
    return OUTCOME_COMPLETE if known == N_OUTCOME_HORIZONS else OUTCOME_GAP


@kernel
def close_finished(glob, symbols, ring):
    """Close what has seen its longest horizon, the oldest first, a bounded number per step."""
    shadow = glob["shadow"]
    n = 0
    while shadow["first"] < shadow["cursor"][N_OUTCOME_HORIZONS - 1] and n < CLOSED_PER_STEP:
        close_oldest(glob, symbols, ring, finished_status(shadow))
        n += 1


# --- opening -------------------------------------------------------------------------------------


@kernel
def horizon_index(seconds):
    """The first outcome horizon that is at least so long; the longest if none is."""
    h = 0
    while h < N_OUTCOME_HORIZONS - 1 and _HORIZONS[h] < seconds:
        h += 1
    return h


@kernel
def set_trade(pending, candidate, symbol, params):
    """Fix stop, target, time and costs of the hypothetical trade, as the exit policy would."""
    row = pending["row"]
    horizon_s = candidate["horizon_s"]
    vol_bps = horizon_vol_bps(symbol, horizon_s * SECOND_NS)
    price = candidate["price"]
    fees_bps = candidate["entry_fee_bps"] + candidate["exit_fee_bps"]
    stop = stop_price(params, float(price), vol_bps, candidate["invalidation_bps"])
    lean_bps = float(row["side"]) * symbol["features"][_LEAN]
    target = target_price(params, float(price), fees_bps, vol_bps, lean_bps)
    if row["side"] < 0:  # the same distances, to the other side
        stop = 2 * price - stop
        target = max(2 * price - target, 1) if target > 0 else 0
    row["stop"] = stop
    row["target"] = target
    row["legs_bps"] = canonical(fees_bps + candidate["slip_in_bps"] + candidate["slip_out_bps"])
    pending["spread_out_bps"] = candidate["spread_out_bps"]


@kernel
def open_observation(glob, symbol, params, candidate, weight):
    """Follow one candidate from now on. The ring has room."""
    shadow = glob["shadow"]
    pending = shadow["pending"][slot_of(shadow["next"])]
    shadow["next"] += 1
    row = pending["row"]
    side = route_side(candidate["route"])
    takes = candidate["entry_mode"] == ENTRY_TAKE
    horizon_s = candidate["horizon_s"]
    row["ts"] = glob["now"]
    row["generation"] = candidate["generation"]
    row["sym"] = candidate["sym"]
    row["route"] = candidate["route"]
    row["family"] = candidate["family"]
    row["horizon_s"] = horizon_s
    row["entry_mode"] = candidate["entry_mode"]
    row["side"] = side
    row["blocker"] = candidate["blocker"]
    row["rank"] = candidate["rank"]
    row["weight"] = weight
    row["executed"] = candidate["executed"]
    row["regime"] = symbol["regime"]
    row["price"] = candidate["price"]
    row["mid_half_ticks"] = symbol["bid"] + symbol["ask"]
    row["cost_bps"] = candidate["cost_bps"]
    row["net_bps"] = candidate["net_bps"]
    row["fill_prob"] = candidate["fill_prob"]
    row["borrow_bps"] = 0.0
    if side < 0:
        rollovers = float(horizon_s // _BORROW_S)
        row["borrow_bps"] = params["costs_borrow_open_bps"] + rollovers * params["costs_borrow_bps"]
    row["stop"] = 0
    row["target"] = 0
    row["legs_bps"] = NAN
    pending["spread_out_bps"] = NAN
    if candidate["cost_bps"] == candidate["cost_bps"] and candidate["price"] > 0:
        set_trade(pending, candidate, symbol, params)
    for h in range(N_OUTCOME_HORIZONS):
        pending["moves"][h] = NAN
    row["n_known"] = 0
    row["own_bps"] = NAN
    row["best_bps"] = NAN
    row["worst_bps"] = NAN
    row["net_later_bps"] = NAN
    row["worth_bps"] = NAN
    row["filled"] = -1
    row["fill_s"] = -1
    row["touch"] = TOUCH_NONE
    row["touch_s"] = -1
    row["trade_bps"] = NAN
    row["closed_ts"] = 0
    row["status"] = 0
    window_s = 0
    if not takes:
        window_s = max(params["orders_maker_window_ns"] // SECOND_NS, 1)
    window_s = min(window_s, _TRADE_S // 2)
    hold_s = floor_int(float(horizon_s) * params["exits_time_multiple"])
    pending["start"] = second_of(glob["now"]) + 1
    pending["window_s"] = window_s
    pending["hold_s"] = min(max(hold_s, 1), _TRADE_S - window_s)
    pending["i_own"] = horizon_index(horizon_s)
    pending["i_trade"] = horizon_index(window_s + pending["hold_s"] + 3)


# --- what the pipeline and the loop call -----------------------------------------------------------


@kernel
def follow_candidates(core, first_row):
    """Follow what this evaluation wrote to `candidates`, from row `first_row` of the ring on.

    One in `records.shadow_sample` of them is drawn by (seed, stream, counter) and stands for so
    many more; what became an order is always followed.
    """
    params = core.params[0]
    if params["records_shadow"] == 0:
        return
    glob = core.glob[0]
    shadow = glob["shadow"]
    candidates = core.rings[0]["candidates"]
    ring = core.rings[0]["outcomes"]
    one_in = params["records_shadow_sample"]
    for k in range(first_row, glob["n_rows"][T_CANDIDATES]):
        candidate = candidates[k]
        counter = shadow["n_seen"]
        shadow["n_seen"] = counter + 1
        weight = candidate["weight"]
        if one_in > 1 and candidate["executed"] == 0:
            if integer(params["seed"], STREAM_SHADOW, counter, one_in) != 0:
                continue
            weight *= one_in
        if shadow["next"] - shadow["first"] >= N_PENDING:
            shadow["n_displaced"] += 1
            close_oldest(glob, core.symbols, ring, OUTCOME_DISPLACED)
        open_observation(glob, core.symbols[candidate["sym"]], params, candidate, weight)


@kernel
def tick_watch(symbol, params, now):
    """Tell the seconds of one symbol the mid of this tick, and whether data was missing."""
    watch = symbol["watch"]
    stale = now - symbol["book_ts"] > params["readiness_freshness_passive_ns"]
    missing = stale or symbol["awaiting_snapshot"] != 0 or symbol["n_gaps"] != watch["n_gaps"]
    watch["n_gaps"] = symbol["n_gaps"]
    mid = 0
    if not stale and symbol["verified"] == 1 and 0 < symbol["bid"] < symbol["ask"]:
        mid = symbol["bid"] + symbol["ask"]
    watch_tick(watch, mid, 1 if missing else 0, now)


@stage
def settle_shadow(core):
    """A tick of the grid: resolve every horizon that has come, close what is finished."""
    params = core.params[0]
    if params["records_shadow"] == 0:
        return
    glob = core.glob[0]
    now = glob["now"]
    symbols = core.symbols
    for i in range(len(symbols)):
        tick_watch(symbols[i], params, now)
    shadow = glob["shadow"]
    for h in range(N_OUTCOME_HORIZONS):
        number = shadow["cursor"][h]
        while number < shadow["next"]:
            pending = shadow["pending"][slot_of(number)]
            if now - pending["row"]["ts"] < _HORIZONS[h] * SECOND_NS:
                break
            resolve_horizon(pending, symbols[pending["row"]["sym"]]["watch"], h, now)
            number += 1
        shadow["cursor"][h] = number
    close_finished(glob, symbols, core.rings[0]["outcomes"])


@stage
def close_shadow(core):
    """The stream has ended: close what is open, a bounded number per call; how many are left."""
    glob = core.glob[0]
    shadow = glob["shadow"]
    ring = core.rings[0]["outcomes"]
    n = 0
    while shadow["first"] < shadow["next"] and n < CLOSED_PER_STEP:
        status = OUTCOME_ENDED
        if shadow["first"] < shadow["cursor"][N_OUTCOME_HORIZONS - 1]:
            status = finished_status(shadow)
        close_oldest(glob, core.symbols, ring, status)
        n += 1
    return shadow["next"] - shadow["first"]
