"""How fresh is each route that was worth something, and what does that say of what we hold?

A row per route, written by three tiers that own different fields of it: each changed mid (age, drift
since the signal, viability), each evaluation (economics, when it was born and confirmed), the position that
it opened (lots, advice). Of the best routes of a symbol the one with the best edge x timing wins. A dead
route leaves the waiting candidates at once. The advice HOLD, TIGHTEN, TAKE or LEAVE is input of the stop
(`exits.advice`), which only ever moves up. All of it only with `route_state.enabled`.
Left out: edgeboard fields (there is no board yet).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.edge import decay
from engine.core.heap import heap_drop, heap_find
from engine.core.records import LOST_TO_BETTER, OK, T_ROUTES
from engine.core.routes import route_family
from engine.core.rows import claim_row
from engine.jit import kernel
from engine.numerics import NAN, canonical, ratio
from engine.stage import stage

ROUTES_MAX: Final = 256
_NS_PER_S: Final = 1.0e9

FRESH: Final = 0
FADING: Final = 1  # older than its half-life and not confirmed within it
DEAD: Final = 2  # too old, or its invalidation was reached
VIABILITY_NAMES: Final[dict[int, str]] = {FRESH: "fresh", FADING: "fading", DEAD: "dead"}

HOLD: Final = 0
TIGHTEN: Final = 1  # the route fades
TAKE: Final = 2  # the expected move has come
LEAVE: Final = 3  # the route is dead
ADVICE_NAMES: Final[dict[int, str]] = {
    HOLD: "hold",
    TIGHTEN: "tighten",
    TAKE: "take",
    LEAVE: "leave",
}

# Which tier writes which field; a test holds the functions below to it.
KEY_FIELDS: Final = (("route", "<i8"), ("sym", "<i8"))
MID_FIELDS: Final = (("drift_bps", "<f8"), ("viability", "<i8"))
EVALUATION_FIELDS: Final = (
    ("born_ts", "<i8"),
    ("confirmed_ts", "<i8"),
    ("mid_signal", "<i8"),  # half ticks
    ("move_bps", "<f8"),
    ("invalidation_bps", "<f8"),
    ("net_bps", "<f8"),
    ("score", "<f8"),
    ("half_life_s", "<f8"),
    ("timing", "<f8"),
    ("rank", "<i8"),
)
POSITION_ROUTE_FIELDS: Final = (("lots", "<i8"), ("advice", "<i8"))

ROUTE: Final = np.dtype(
    [*KEY_FIELDS, *MID_FIELDS, *EVALUATION_FIELDS, *POSITION_ROUTE_FIELDS]
)  # route 0: free
ROUTE_STATE: Final = np.dtype(
    [
        ("n", "<i8"),
        ("rows", ROUTE, (ROUTES_MAX,)),
        ("n_replaced", "<i8"),
        ("n_expired", "<i8"),
    ]
)


@kernel
def find_route(state, key):
    """Place of a route, -1 if it has none."""
    for k in range(ROUTES_MAX):
        if state["rows"][k]["route"] == key:
            return k
    return -1


@kernel
def claim_route(state, key, sym):
    """A place for a route that has none: a free one, else that of the worst, counted.

    Rows of positions stay; of the others a dead one goes first, then the lowest net edge, ties the
    larger key. -1 where every row belongs to a position.
    """
    at = find_route(state, 0)
    if at < 0:
        for k in range(ROUTES_MAX):
            row = state["rows"][k]
            if row["lots"] > 0:
                continue
            if at < 0 or _worse(row, state["rows"][at]):
                at = k
        if at < 0:
            return -1
        state["n_replaced"] += 1
    else:
        state["n"] += 1
    row = state["rows"][at]
    row["route"] = key
    row["sym"] = sym
    row["drift_bps"] = 0.0
    row["viability"] = FRESH
    row["born_ts"] = 0
    row["confirmed_ts"] = 0
    row["lots"] = 0
    row["advice"] = HOLD
    return at


@kernel
def _worse(row, other):
    row_dead = row["viability"] == DEAD
    if row_dead != (other["viability"] == DEAD):
        return row_dead
    if row["net_bps"] != other["net_bps"]:
        return row["net_bps"] < other["net_bps"]
    return row["route"] > other["route"]


@kernel
def timing_of(born_ts, now, fill_time_s, half_life_s):
    """Share of the signal that is left when the entry fills, 0..1: age and wait count alike."""
    return decay(float(now - born_ts) / _NS_PER_S + fill_time_s, half_life_s)


@kernel
def tier_mid(row, mid_half_ticks, now, half_lives):
    """Tier 1, on a changed mid: drift since the signal and viability. True if that changed."""
    drift = ratio(float(mid_half_ticks - row["mid_signal"]) * 1e4, float(row["mid_signal"]))
    row["drift_bps"] = canonical(drift)
    half_life_ns = row["half_life_s"] * _NS_PER_S
    viability = FRESH
    if float(now - row["confirmed_ts"]) > half_life_ns:
        viability = FADING
    if float(now - row["confirmed_ts"]) > half_lives * half_life_ns:
        viability = DEAD
    if -drift >= row["invalidation_bps"]:
        viability = DEAD
    changed = viability != row["viability"]
    row["viability"] = viability
    return changed


@kernel
def tier_evaluation(row, candidate, mid_half_ticks, now, half_life_s):
    """Tier 2, when an evaluation found the route tradable: economics, birth, timing."""
    if row["born_ts"] == 0 or row["viability"] == DEAD:
        row["born_ts"] = now
        row["mid_signal"] = mid_half_ticks
    row["confirmed_ts"] = now
    row["move_bps"] = candidate["move_bps"]
    row["invalidation_bps"] = candidate["invalidation_bps"]
    row["net_bps"] = candidate["net_bps"]
    row["score"] = candidate["score"]
    row["rank"] = candidate["rank"]
    row["half_life_s"] = half_life_s
    row["timing"] = canonical(timing_of(row["born_ts"], now, candidate["fill_time_s"], half_life_s))


@kernel
def tier_position(row, lots):
    """Tier 3, of the route behind a position: its lots and the advice. True if that changed."""
    advice = HOLD
    if lots > 0:
        if row["viability"] == DEAD:
            advice = LEAVE
        elif row["move_bps"] > 0.0 and row["drift_bps"] >= row["move_bps"]:
            advice = TAKE
        elif row["viability"] == FADING:
            advice = TIGHTEN
    changed = advice != row["advice"]
    row["lots"] = lots
    row["advice"] = advice
    return changed


@kernel
def write_route(core, row):
    """A row of the table `routes`."""
    glob = core.glob[0]
    ring = core.rings[0]["routes"]
    at = claim_row(glob, T_ROUTES, len(ring))
    if at < 0:
        return
    out = ring[at]
    out["ts"] = glob["now"]
    out["generation"] = glob["generation"]
    out["sym"] = row["sym"]
    out["route"] = row["route"]
    out["viability"] = row["viability"]
    out["advice"] = row["advice"]
    out["born_ts"] = row["born_ts"]
    out["confirmed_ts"] = row["confirmed_ts"]
    out["drift_bps"] = row["drift_bps"]
    out["net_bps"] = row["net_bps"]
    out["score"] = row["score"]
    out["timing"] = row["timing"]
    out["rank"] = row["rank"]
    out["lots"] = row["lots"]


@stage
def track_mid(core, i):
    """A mid of symbol i that changed: tier 1 of its routes, then the advice for what it holds."""
    glob = core.glob[0]
    symbol = core.symbols[i]
    mid = symbol["bid"] + symbol["ask"]
    symbol["tracked_mid"] = mid
    if symbol["verified"] != 1 or symbol["bid"] <= 0 or symbol["ask"] <= 0:
        return
    state = glob["routes"]
    position = symbol["position"]
    for k in range(ROUTES_MAX):
        row = state["rows"][k]
        if row["route"] == 0 or row["sym"] != i:
            continue
        changed = tier_mid(row, mid, glob["now"], core.params[0]["route_state_half_lives"])
        if changed and row["viability"] == DEAD:
            waiting = heap_find(glob["heap"], row["route"])
            if waiting >= 0:
                heap_drop(glob["heap"], waiting)
                symbol["n_waiting"] -= 1
        held = position["qty"] if position["route"] == row["route"] else 0
        if tier_position(row, held):
            changed = True
        if held > 0:
            position["advice"] = row["advice"]
        if changed:
            write_route(core, row)


@stage
def choose_by_timing(core, i):
    """After the routes of symbol i were priced: tier 2, and the winner by edge x timing.

    The rank in the rows stays that by edge, so that a winner whose rank is not 1 shows the difference.
    """
    glob = core.glob[0]
    params = core.params[0]
    work = core.work[0]
    state = glob["routes"]
    symbol = core.symbols[i]
    now = glob["now"]
    mid = symbol["bid"] + symbol["ask"]
    rows = work["candidates"]
    found = work["found"]
    top = params["route_state_top_routes"]
    best = -1
    best_value = 0.0
    for place in range(work["n_candidates"]):
        k = work["ranking"][place]
        candidate = rows[k]
        if place >= top or candidate["rank"] != place + 1:
            break
        if candidate["blocker"] != OK and candidate["blocker"] != LOST_TO_BETTER:
            break
        at = find_route(state, candidate["route"])
        born = at < 0
        if at < 0:
            at = claim_route(state, candidate["route"], i)
        if at < 0:
            continue
        row = state["rows"][at]
        half_life_s = params["family_half_life_s"][route_family(candidate["route"])]
        tier_evaluation(row, candidate, mid, now, half_life_s)
        tier_mid(row, mid, now, params["route_state_half_lives"])
        if born:
            write_route(core, row)
        value = candidate["score"] * row["timing"]
        if best < 0 or value > best_value:
            best = k
            best_value = value
    if best >= 0 and best != found["winner"] and found["winner"] >= 0:
        rows[found["winner"]]["blocker"] = LOST_TO_BETTER
        rows[best]["blocker"] = OK
        found["runner_up"] = found["winner"]
        found["margin_bps"] = canonical(rows[best]["score"] - rows[found["winner"]]["score"])
        found["winner"] = best


@stage
def settle_routes(core):
    """After an evaluation: routes of positions have a row, and what nobody confirmed for long goes."""
    glob = core.glob[0]
    state = glob["routes"]
    now = glob["now"]
    for i in range(len(core.symbols)):
        symbol = core.symbols[i]
        symbol["n_tracked"] = 0
        position = symbol["position"]
        if position["qty"] == 0:
            position["advice"] = HOLD
            continue
        if position["route"] > 0 and find_route(state, position["route"]) < 0:
            at = claim_route(state, position["route"], i)
            if at >= 0:
                row = state["rows"][at]
                row["born_ts"] = position["opened_ts"]
                row["confirmed_ts"] = position["opened_ts"]
                row["mid_signal"] = int(2.0 * position["entry_price"])
                row["invalidation_bps"] = position["invalidation_bps"]
                row["move_bps"] = NAN
                row["net_bps"] = position["expected_bps"]
                row["score"] = NAN
                row["timing"] = NAN
                row["rank"] = 0
                row["half_life_s"] = core.params[0]["family_half_life_s"][
                    route_family(position["route"])
                ]
    for k in range(ROUTES_MAX):
        row = state["rows"][k]
        if row["route"] == 0:
            continue
        position = core.symbols[row["sym"]]["position"]
        held = position["qty"] > 0 and position["route"] == row["route"]
        if not held and row["lots"] > 0:
            tier_position(row, 0)
        limit = core.params[0]["route_state_half_lives"] * row["half_life_s"] * _NS_PER_S
        if not held and float(now - row["confirmed_ts"]) > limit:
            row["route"] = 0
            state["n"] -= 1
            state["n_expired"] += 1
        else:
            core.symbols[row["sym"]]["n_tracked"] += 1
