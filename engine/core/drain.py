"""May what waits leave before the next evaluation? Refresh and release, a bounded stage of a step.

After a message of a symbol with waiting candidates: where its mid moved far enough its routes are
evaluated again and merged; then the best of all is asked anew on the present state (stamps, data,
regime, thesis, economics, size, risk, choke) and leaves or is dropped with its code, one row each.
Between two evaluations at most `heap.max_per_drain` leave and `heap.refresh_max` symbols are looked
at. Nothing happens while `heap.enabled` is off.
"""

from __future__ import annotations

from typing import Final

from engine.core.capital import reference_qty, update_capital
from engine.core.drift import rank_movers
from engine.core.heap import (
    HEAP_MAX,
    faded,
    heap_best,
    heap_drop,
    heap_expire,
    heap_merge,
    heap_wake,
)
from engine.core.pipeline import clear_decision, enter, plain_features, price_routes
from engine.core.readiness import symbol_blocker
from engine.core.records import (
    GENERATION_MISMATCH,
    LOST_TO_BETTER,
    OK,
    T_FLOW,
    T_RELEASES,
    THESIS_INACTIVE,
)
from engine.core.routes import route_family
from engine.core.rows import claim_row
from engine.core.wide import wide_features
from engine.jit import kernel
from engine.numerics import NAN, canonical
from engine.stage import stage

_NS_PER_S: Final = 1.0e9


@kernel
def count_waiting(core):
    """Write into each symbol how many of its routes wait: what the path of an event reads."""
    for i in range(len(core.symbols)):
        core.symbols[i]["n_waiting"] = 0
    rows = core.glob[0]["heap"]["rows"]
    for k in range(HEAP_MAX):
        if rows[k]["route"] != 0:
            core.symbols[rows[k]["sym"]]["n_waiting"] += 1


@kernel
def wait_for_turn(core, i, route, score):
    """Let a tradable route of symbol i wait, stamped with what it was decided under."""
    glob = core.glob[0]
    params = core.params[0]
    if not score > 0.0:
        return
    half_life_s = params["heap_half_life_s"]
    if params["heap_family_lifetime"] == 1:
        half_life_s = params["family_half_life_s"][route_family(route)]
    life_ns = int(params["heap_half_lives"] * half_life_s * _NS_PER_S)
    heap = glob["heap"]
    at = heap_merge(heap, route, i, score, half_life_s, glob["now"], glob["now"] + life_ns)
    if at >= 0:
        row = heap["rows"][at]
        row["generation"] = glob["generation"]
        row["epoch"] = glob["epoch"]
        row["mode"] = glob["mode"]
        row["universe"] = glob["universe_version"]
        symbol = core.symbols[i]
        symbol["waiting_mid"] = symbol["bid"] + symbol["ask"]


@stage
def queue_losers(core):
    """After an evaluation: winners that only lost to a better one wait; what has no use leaves."""
    glob = core.glob[0]
    params = core.params[0]
    heap = glob["heap"]
    heap["n_since"] = 0
    heap["n_asked"] = 0
    heap_expire(heap, glob["now"])
    for k in range(HEAP_MAX):
        row = heap["rows"][k]
        if row["route"] != 0:
            position = core.symbols[row["sym"]]["position"]
            if position["qty"] > 0 or position["entry_slot"] > 0:
                heap_drop(heap, k)
    for i in range(len(core.symbols)):
        if core.work[0]["winners"][i]["blocker"] == LOST_TO_BETTER:
            winner = core.work[0]["winner_rows"][i]
            wait_for_turn(core, i, winner["route"], winner["score"])
    count_waiting(core)
    heap_wake(heap, glob["now"], params["heap_wake_bps"])
    ring = core.rings[0]["flow"]
    at = claim_row(glob, T_FLOW, len(ring))
    if at < 0:
        return
    row = ring[at]
    row["ts"] = glob["now"]
    row["generation"] = glob["generation"]
    row["n_waiting"] = heap["n"]
    row["n_merged"] = heap["n_merged"]
    row["n_woken"] = heap["n_woken"]
    row["n_popped"] = heap["n_popped"]
    row["n_released"] = heap["n_released"]
    row["n_refused"] = heap["n_refused"]
    row["n_mismatched"] = heap["n_mismatched"]
    row["n_expired"] = heap["n_expired"]
    row["n_displaced"] = heap["n_displaced"]
    row["n_overflow"] = heap["n_overflow"]
    row["age_ns"] = heap["age_ns"]


@kernel
def evaluate_again(core, i):
    """Features, theses and economics of symbol i as of now, into work; what stops it all, or OK."""
    glob = core.glob[0]
    params = core.params[0]
    symbol = core.symbols[i]
    now = glob["now"]
    core.work[0]["n_candidates"] = 0
    plain_features(core, i)
    wide_features(core, i)
    rank_movers(core.symbols)
    symbol["waiting_mid"] = symbol["bid"] + symbol["ask"]
    code = symbol_blocker(symbol, params, now, glob["epoch_status"])
    if code == OK:
        price_routes(core, i, now, reference_qty(core, i))
    return code


@kernel
def _candidate_of(work, route):
    """Row of a route among those just evaluated, -1 if its thesis did not come up."""
    for k in range(work["n_candidates"]):
        if work["candidates"][k]["route"] == route:
            return k
    return -1


@kernel
def _moved_far(symbol, step_bps):
    """Has the mid moved by `step_bps` since the routes of this symbol were evaluated?"""
    before = symbol["waiting_mid"]
    change = symbol["bid"] + symbol["ask"] - before
    if change < 0:
        change = -change
    return before > 0 and float(change) * 1e4 >= step_bps * float(before)


@kernel
def _refresh(core, i):
    """Evaluate the waiting routes of symbol i again and merge them; dead ones leave."""
    glob = core.glob[0]
    heap = glob["heap"]
    if heap["n_asked"] >= core.params[0]["heap_refresh_max"]:
        heap["n_overflow"] += 1
        return
    heap["n_asked"] += 1
    code = evaluate_again(core, i)
    work = core.work[0]
    for k in range(HEAP_MAX):
        row = heap["rows"][k]
        if row["route"] == 0 or row["sym"] != i:
            continue
        found = _candidate_of(work, row["route"]) if code == OK else -1
        alive = False
        if found >= 0:
            candidate = work["candidates"][found]
            alive = candidate["blocker"] == OK or candidate["blocker"] == LOST_TO_BETTER
            alive = alive and candidate["score"] > 0.0
            if alive:
                wait_for_turn(core, i, row["route"], candidate["score"])
        if not alive:
            heap_drop(heap, k)
            heap["n_refused"] += 1


@kernel
def _ask_again(core, row):
    """Everything that an entry must pass, on the present state; the first refusal, OK if it left.

    row : the RELEASE row, its economics are filled
    """
    work = core.work[0]
    i = row["sym"]
    code = evaluate_again(core, i)
    if code != OK:
        return code
    found = _candidate_of(work, row["route"])
    if found < 0:
        return THESIS_INACTIVE
    candidate = work["candidates"][found]
    row["score"] = candidate["score"]
    row["net_bps"] = candidate["net_bps"]
    if candidate["blocker"] != OK and candidate["blocker"] != LOST_TO_BETTER:
        return candidate["blocker"]
    update_capital(core)
    decision = work["winners"][i]
    clear_decision(decision, core, i)
    work["winner_rows"][i] = candidate
    code = enter(core, i)
    row["qty"] = decision["qty"]
    row["price"] = decision["price"]
    row["command"] = decision["command"]
    return code


@kernel
def _release(core, k):
    """Take the entry at place k out and let it leave if everything still stands behind it."""
    glob = core.glob[0]
    heap = glob["heap"]
    waiting = heap["rows"][k]
    ring = core.rings[0]["releases"]
    at = claim_row(glob, T_RELEASES, len(ring))
    if at < 0:
        return
    row = ring[at]
    now = glob["now"]
    row["ts"] = now
    row["generation"] = glob["generation"]
    row["generation_made"] = waiting["generation"]
    row["sym"] = waiting["sym"]
    row["route"] = waiting["route"]
    row["born_ts"] = waiting["born_ts"]
    row["scored_ts"] = waiting["scored_ts"]
    row["score_made"] = canonical(waiting["score"])
    row["score_faded"] = canonical(faded(waiting, now))
    row["score"] = NAN
    row["net_bps"] = NAN
    row["qty"] = 0
    row["price"] = 0
    row["command"] = 0
    stamped = (
        waiting["epoch"] == glob["epoch"]
        and waiting["mode"] == glob["mode"]
        and waiting["universe"] == glob["universe_version"]
    )
    heap_drop(heap, k)
    heap["n_popped"] += 1
    heap["n_asked"] += 1
    # The evaluation that made it may be an older one: it is asked again as if by the present one.
    code = _ask_again(core, row) if stamped else GENERATION_MISMATCH
    row["blocker"] = code
    if code == OK:
        heap["n_released"] += 1
        heap["n_since"] += 1
        heap["age_ns"] += now - row["born_ts"]
    elif code == GENERATION_MISMATCH:
        heap["n_mismatched"] += 1
    else:
        heap["n_refused"] += 1
    # The next one is looked at as if the heap had been empty.
    heap["awake"] = 0
    heap["top_route"] = 0
    heap["top_score"] = 0.0


@stage
def drain_heap(core, i):
    """After a complete message of symbol i, some of whose routes wait: refresh, then release."""
    glob = core.glob[0]
    params = core.params[0]
    heap = glob["heap"]
    heap_expire(heap, glob["now"])
    if _moved_far(core.symbols[i], params["heap_refresh_bps"]):
        _refresh(core, i)
    heap_wake(heap, glob["now"], params["heap_wake_bps"])
    if heap["awake"] == 1 and heap["n_since"] < params["heap_max_per_drain"]:
        if heap["n_asked"] < params["heap_refresh_max"]:
            best = heap_best(heap, glob["now"])
            if best >= 0:
                _release(core, best)
        else:
            heap["n_overflow"] += 1
    count_waiting(core)
