"""Which route of a symbol wins, and which of the others are written down?

Builds the matrix enabled family x enabled horizon x entry mode, asks each thesis once per family
and horizon, prices each route, judges it, and ranks what was priced: tradable ones first, then by
score; ties go to the smaller route key, never to arrival. Left out: comparing symbols, sizing and
the risk gate (pipeline.py).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from engine.core.columns import (
    FEATURE_INDEX,
    N_FAMILY_PARAMS,
    N_FEATURES,
    N_WINDOWS,
    OUT_HALF_LIFE_S,
    OUT_MOVE_BPS,
    WINDOWS_S,
)
from engine.core.costs import market_costs, present_rates
from engine.core.edge import E6_PER_BPS, clear_economics, entry_price, route_economics
from engine.core.families.contract import (
    P_HALF_LIFE_S,
    P_MAKER_FEE_BPS,
    P_TAKER_FEE_BPS,
)
from engine.core.families.overlay import scale_by_hour
from engine.core.forecast import forecast_factor
from engine.core.readiness import net_threshold_bps, route_blocker
from engine.core.records import (
    LOST_TO_BETTER,
    N_REASONS,
    OK,
    ROUTE_STALE,
    ROUTE_STALE_WINNER,
    T_BLOCKERS,
    T_CANDIDATES,
)
from engine.core.routes import (
    ENTRY_IMPROVE,
    ENTRY_JOIN,
    HORIZON_ARRAY,
    N_FAMILIES,
    N_HORIZONS,
    SURFACE_MARGIN_PAPER,
    SURFACE_SPOT,
    route_horizon,
    route_key,
)
from engine.core.rows import claim_row
from engine.core.theses import (
    ask_thesis,
)
from engine.jit import kernel
from engine.numerics import canonical, clip, integer

STREAM_CANDIDATES: Final = 101  # stream of the counter-based generator: which candidates are kept

_HORIZON: Final = FEATURE_INDEX["horizon"]
_INVENTORY: Final = FEATURE_INDEX["inventory"]
_TOD: Final = FEATURE_INDEX["tod_multiplier"]
_MOVER_RANK: Final = FEATURE_INDEX["mover_rank_10s"]  # of each window
_DRIFT_T: Final = FEATURE_INDEX["drift_t_10s"]
_WINDOWS: Final = np.array(WINDOWS_S, np.int64)


class Selection(NamedTuple):
    """What `select_routes` found for one symbol. Indices are rows of work[0]["candidates"]."""

    winner: int  # best tradable route, -1 if none
    runner_up: int  # second best tradable route, -1 if none
    best: int  # best priced route whatever blocks it, -1 if none was priced
    margin_bps: float  # score of the winner over the runner-up; 0 without both
    n_candidates: int
    n_active: int  # routes whose thesis was active
    n_positive: int  # priced long routes whose net edge exceeds their threshold


@kernel
def n_modes(params, family):
    """Entry modes of a family: join, improve; where it may take: take, and rest first."""
    if params["family_taker"][family] != 1:
        return 2
    return 4 if params["orders_maker_then_taker"] == 1 else 3


@kernel
def count_routes(params):
    """Routes of one symbol's full matrix: what a blocker of the whole symbol stops."""
    n_horizons = 0
    for i_horizon in range(N_HORIZONS):
        n_horizons += 1 if params["horizon_enabled"][i_horizon] == 1 else 0
    n = 0
    for family in range(N_FAMILIES):
        if params["family_enabled"][family] == 1:
            n += n_horizons * n_modes(params, family)
    return n


@kernel
def place_horizons(features, params, places):
    """Which horizon is asked first? Writes each one's place, 0 first; all 0 unless horizon first.

    A horizon is liked for how much the symbol moves over it among the others (mover_rank) and for how
    far its drift is from noise (abs(drift_t) / 2, at most 1), in the shortest window that covers it.
    Ties go to the shorter one.
    """
    if params["ranking_horizon_first"] != 1:
        for k in range(N_HORIZONS):
            places[k] = 0
        return
    for k in range(N_HORIZONS):
        places[k] = 0
        mine = _liking(features, k)
        for other in range(N_HORIZONS):
            theirs = _liking(features, other)
            if theirs > mine or (theirs == mine and HORIZON_ARRAY[other] < HORIZON_ARRAY[k]):
                places[k] += 1


@kernel
def _liking(features, i_horizon):
    window = 0
    while window < N_WINDOWS - 1 and _WINDOWS[window] < HORIZON_ARRAY[i_horizon]:
        window += 1
    liking = 0.0
    rank = features[_MOVER_RANK + window]
    if rank == rank:
        liking += rank
    t = features[_DRIFT_T + window]
    if t == t:
        liking += clip(abs(t) / 2.0, 0.0, 1.0)
    return liking


@kernel
def _better(rows, places, i, j):
    """Does candidate i rank before candidate j?

    Tradable first, then the place of its horizon, then score, then route key.
    """
    i_open = rows[i]["blocker"] == OK
    j_open = rows[j]["blocker"] == OK
    if i_open != j_open:
        return i_open
    i_place = places[route_horizon(rows[i]["route"])]
    j_place = places[route_horizon(rows[j]["route"])]
    if i_place != j_place:
        return i_place < j_place
    if rows[i]["score"] != rows[j]["score"]:
        return rows[i]["score"] > rows[j]["score"]
    return rows[i]["route"] < rows[j]["route"]


@kernel
def rank_candidates(work):
    """Rank the priced candidates: work["ranking"] holds their rows best first, each row its rank.

    work : WORK record; a candidate without a score (NAN) keeps rank 0
    returns int64: how many were ranked
    """
    rows = work["candidates"]
    ranking = work["ranking"]
    places = work["horizon_place"]
    n = 0
    for i in range(work["n_candidates"]):
        rows[i]["rank"] = 0
        score = rows[i]["score"]
        if score != score:
            continue
        at = n
        while at > 0 and _better(rows, places, i, ranking[at - 1]):
            ranking[at] = ranking[at - 1]
            at -= 1
        ranking[at] = i
        n += 1
    for place in range(n):
        rows[ranking[place]]["rank"] = place + 1
    return n


@kernel
def name_winner(work):
    """Rank what was priced and write into work["found"] who won, who is next, and by how much.

    Tradable candidates that lost inside the symbol are given LOST_TO_BETTER.
    """
    rows = work["candidates"]
    found = work["found"]
    n_ranked = rank_candidates(work)
    ranking = work["ranking"]
    found["winner"] = -1
    found["runner_up"] = -1
    found["best"] = -1
    found["margin_bps"] = 0.0
    if n_ranked > 0:
        best = ranking[0]
        found["best"] = best
        if rows[best]["blocker"] == OK:
            found["winner"] = best
            for place in range(1, n_ranked):
                loser = rows[ranking[place]]
                if loser["blocker"] != OK:
                    break
                loser["blocker"] = LOST_TO_BETTER
                if place == 1:
                    found["runner_up"] = ranking[1]
                    found["margin_bps"] = canonical(rows[best]["score"] - loser["score"])


@kernel
def name_stale_winner(work):
    """Of the routes that only their age stops, at most one would have won: the others are plainly stale."""
    rows = work["candidates"]
    winner = work["found"]["winner"]
    best = -1
    for k in range(work["n_candidates"]):
        if rows[k]["blocker"] == ROUTE_STALE_WINNER and (
            best < 0 or rows[k]["rank"] < rows[best]["rank"]
        ):
            best = k
    for k in range(work["n_candidates"]):
        if rows[k]["blocker"] == ROUTE_STALE_WINNER:
            if k != best or (winner >= 0 and not rows[k]["score"] > rows[winner]["score"]):
                rows[k]["blocker"] = ROUTE_STALE


@kernel
def _set_inputs(features, symbol):
    """Copy the symbol's features into the array that theses are given, with our inventory."""
    source = symbol["features"]
    for k in range(N_FEATURES):
        features[k] = source[k]
    row = symbol["instrument"]
    mid = 0.5 * float(symbol["bid"] + symbol["ask"])
    lots = float(symbol["position"]["qty"])
    features[_INVENTORY] = lots * mid * row["price_float"] * row["qty_float"]


@kernel
def _set_family(given, params, family, maker_e6, taker_e6):
    """Copy the family's parameters into the array that theses are given, with the caller's slots."""
    for k in range(N_FAMILY_PARAMS):
        given[k] = params["family_params"][family, k]
    given[P_MAKER_FEE_BPS] = float(maker_e6) / E6_PER_BPS
    given[P_TAKER_FEE_BPS] = float(taker_e6) / E6_PER_BPS
    given[P_HALF_LIFE_S] = params["family_half_life_s"][family]


@kernel
def _mode_possible(symbol, entry_mode):
    """Improving needs a tick between the touches: no route where there is none."""
    return entry_mode != ENTRY_IMPROVE or symbol["ask"] - symbol["bid"] > 1


@kernel
def select_routes(core, i, now, reference_qty):
    """Evaluate every route of symbol i into work[0]["candidates"], rank them, name the winner.

    core : Core; its features of symbol i are computed, its data passed `symbol_blocker`
    i : int64, row of core.symbols; now : int64, ns
    reference_qty : int64 lots that capital would offer; below the venue's minimum the routes are
        priced at the minimum and the best of them end as SIZE_BELOW_MIN
    returns Selection; candidates that lost inside the symbol carry LOST_TO_BETTER
    """
    glob = core.glob[0]
    work = core.work[0]
    params = core.params[0]
    symbol = core.symbols[i]
    features = core.features
    out = core.thesis_out
    rows = work["candidates"]
    bid = symbol["bid"]
    ask = symbol["ask"]

    qty_min = symbol["instrument"]["qty_min"]
    qty = max(reference_qty, qty_min, 1)
    fee_code, maker_e6, taker_e6 = present_rates(params, glob)
    _set_inputs(features, symbol)
    place_horizons(features, params, work["horizon_place"])
    long_code, long_costs = market_costs(symbol, features, params, 1, qty)
    short_code, short_costs = long_code, long_costs
    short_known = False

    n = 0
    n_active = 0
    n_positive = 0
    for family in range(N_FAMILIES):
        if params["family_enabled"][family] != 1:
            continue
        _set_family(core.family_params, params, family, maker_e6, taker_e6)
        threshold = net_threshold_bps(params, family)
        for i_horizon in range(N_HORIZONS):
            if params["horizon_enabled"][i_horizon] != 1:
                continue
            features[_HORIZON] = float(HORIZON_ARRAY[i_horizon])
            thesis_code = ask_thesis(family, features, core.family_params, out, core.plugins)
            if (
                thesis_code == OK
                and params["family_tod"][family] == 1
                and params["ranking_tod"] == 0
            ):
                scale_by_hour(out, features[_TOD])
            if thesis_code == OK:
                factor = forecast_factor(features, params, family, out[OUT_MOVE_BPS])
                out[OUT_MOVE_BPS] *= factor
                out[OUT_HALF_LIFE_S] *= factor
            side = 1
            if thesis_code == OK and out[OUT_MOVE_BPS] < 0.0:
                side = -1
                if not short_known:
                    short_code, short_costs = market_costs(symbol, features, params, -1, qty)
                    short_known = True
            costs = long_costs if side > 0 else short_costs
            code = thesis_code
            if code == OK:
                code = long_code if side > 0 else short_code
            if code == OK:
                code = fee_code
            for entry_mode in range(ENTRY_JOIN, ENTRY_JOIN + n_modes(params, family)):
                if not _mode_possible(symbol, entry_mode):
                    continue
                row = rows[n]
                n += 1
                row["ts"] = now
                row["generation"] = glob["generation"]
                row["sym"] = i
                row["route"] = route_key(
                    i,
                    family,
                    i_horizon,
                    entry_mode,
                    side,
                    SURFACE_SPOT if side > 0 else SURFACE_MARGIN_PAPER,
                )
                row["family"] = family
                row["horizon_s"] = HORIZON_ARRAY[i_horizon]
                row["entry_mode"] = entry_mode
                row["rank"] = 0
                row["weight"] = 1
                row["executed"] = 0
                row["expansion"] = symbol["expansion"]
                row["qty"] = qty
                clear_economics(row)
                if thesis_code == OK:
                    n_active += 1
                if code == OK:
                    route_economics(
                        row,
                        costs,
                        params,
                        out,
                        i_horizon,
                        entry_mode,
                        side,
                        qty,
                        maker_e6,
                        taker_e6,
                    )
                    row["price"] = entry_price(bid, ask, side, entry_mode)
                    if side > 0 and row["net_bps"] > threshold:
                        n_positive += 1
                row["blocker"] = route_blocker(row, symbol, params, code, side, reference_qty, now)
    work["n_candidates"] = n

    name_winner(work)
    if params["readiness_stale_winner"] == 1:
        name_stale_winner(work)
    found = work["found"]
    return Selection(
        found["winner"],
        found["runner_up"],
        found["best"],
        found["margin_bps"],
        n,
        n_active,
        n_positive,
    )


@kernel
def record_blockers(core, i, now, code, n):
    """Write that `code` was what stopped `n` routes of symbol i first; also counted in glob."""
    glob = core.glob[0]
    glob["reason_counts"][code] += n
    ring = core.rings[0]["blockers"]
    at = claim_row(glob, T_BLOCKERS, len(ring))
    if at >= 0:
        row = ring[at]
        row["ts"] = now
        row["generation"] = glob["generation"]
        row["sym"] = i
        row["code"] = code
        row["n"] = n


@kernel
def record_candidates(core, i, now):
    """Write the candidates in work[0]: the best, the winner, a sample of the rest, blocker counts.

    The first `records.candidates_top` by rank and the winner are kept with weight 1. Of the rest
    one in `records.candidates_sample` is drawn by (seed, stream, counter) and stands for that many.
    """
    glob = core.glob[0]
    work = core.work[0]
    params = core.params[0]
    rows = work["candidates"]
    counts = work["reason_counts"]
    ring = core.rings[0]["candidates"]
    top = params["records_candidates_top"]
    one_in = params["records_candidates_sample"]
    for code in range(N_REASONS):
        counts[code] = 0
    for k in range(work["n_candidates"]):
        row = rows[k]
        counts[row["blocker"]] += 1
        weight = 0
        if (row["rank"] > 0 and row["rank"] <= top) or row["blocker"] == OK:
            weight = 1
        else:
            counter = glob["n_candidates_seen"]
            glob["n_candidates_seen"] = counter + 1
            if one_in > 0 and integer(params["seed"], STREAM_CANDIDATES, counter, one_in) == 0:
                weight = one_in
        if weight > 0:
            row["weight"] = weight
            at = claim_row(glob, T_CANDIDATES, len(ring))
            if at >= 0:
                ring[at] = row
    for code in range(N_REASONS):
        if code != OK and counts[code] > 0:
            record_blockers(core, i, now, code, counts[code])


@kernel
def record_symbol_blocker(core, i, now, code):
    """Write that a data-level blocker stopped the whole matrix of symbol i."""
    record_blockers(core, i, now, code, count_routes(core.params[0]))
