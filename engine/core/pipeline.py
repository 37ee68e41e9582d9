"""How does one evaluation go? Every symbol judged, one winner, at most one entry, all recorded.

Order of an evaluation: windows and features, guards and resting entries, readiness, routes, rank,
size, risk gate, plan. Exits and protection come before entries. A stage that cannot decide stops
its symbol with a blocker, never the evaluation. Pure over the state, the same for every mode.
"""

from __future__ import annotations

from engine.core.adaptive import judge_adaptively
from engine.core.allocate import allot
from engine.core.capital import order_qty, reference_qty, update_capital
from engine.core.drift import rank_movers
from engine.core.features import compute_features
from engine.core.lanes import (
    CONFLICT_NONE,
    correlated_conflict,
    opposed_conflict,
)
from engine.core.learned import learn_prints
from engine.core.level3 import level3_second
from engine.core.members import update_universe
from engine.core.minutes import minutes_second
from engine.core.orders import count_working
from engine.core.planner import manage_entries, plan_entry
from engine.core.protection import guard_position
from engine.core.reach import note_reach
from engine.core.readiness import symbol_blocker
from engine.core.reconcile import settle_account
from engine.core.records import (
    ALLOW,
    ALREADY_IN_POSITION,
    CONFLICT_LANE,
    EXECUTE,
    LOST_TO_BETTER,
    N_REASONS,
    NONE,
    NOT_ENOUGH_HISTORY,
    OK,
    ORDER_IN_FLIGHT,
    ROUTE_STALE_WINNER,
    SKIP,
    T_CANDIDATES,
    T_DECISIONS,
    T_EVALUATIONS,
    T_HEALTH,
    THESIS_INACTIVE,
)
from engine.core.refill import refill_expire
from engine.core.regime import update_regime
from engine.core.risk import cap_gate, risk_gate, risk_reason, settle_throttle
from engine.core.routes import N_HORIZONS, route_horizon, route_taking
from engine.core.routestate import choose_by_timing
from engine.core.rows import claim_row
from engine.core.safety import settle_mode
from engine.core.selection import (
    record_blockers,
    record_candidates,
    record_symbol_blocker,
    select_routes,
)
from engine.core.shadow import follow_candidates
from engine.core.tape import tape_second
from engine.core.urgency import weigh_exit
from engine.core.wide import widen_market
from engine.jit import kernel
from engine.numerics import NAN, canonical
from engine.stage import stage


@stage
def sample_market(core, i):
    """Bring the windows of one symbol to the present: due each second, evaluation or not."""
    symbol = core.symbols[i]
    mid_half_ticks = 0
    if symbol["verified"] == 1 and 0 < symbol["bid"] < symbol["ask"]:
        mid_half_ticks = symbol["bid"] + symbol["ask"]
    now = core.glob[0]["now"]
    tape_second(symbol["tape"], mid_half_ticks, now)
    params = core.params[0]
    if params["features_minutes"] == 1:
        minutes_second(symbol["minutes"], symbol["tape"])
    if params["features_refill"] == 1:
        refill_expire(symbol["refill"], now)
    if params["features_level3"] == 1:
        bid = symbol["bid"] if mid_half_ticks > 0 else 0
        level3_second(
            symbol["level3"], bid, symbol["ask"], now, params["features_level3_half_life_s"]
        )
    if params["costs_learned"] == 1:
        learn_prints(symbol["learned"], symbol["tape"])


@stage
def plain_features(core, i):
    """`compute_features` of symbol i as of now."""
    compute_features(core.symbols[i], core.glob[0]["now"])


@stage
def price_routes(core, i, now, reference_qty):
    """`select_routes`, its answer in work["found"]."""
    selection = select_routes(core, i, now, reference_qty)
    found = core.work[0]["found"]
    found["n_candidates"] = selection.n_candidates
    found["n_active"] = selection.n_active
    found["n_positive"] = selection.n_positive
    if core.params[0]["adaptive_mode"] != 0:
        judge_adaptively(core, i)
    if core.params[0]["route_state_enabled"] == 1:
        choose_by_timing(core, i)


@stage
def refresh_market(core, i):
    """Bring windows, features and regime of one symbol to the present."""
    symbol = core.symbols[i]
    now = core.glob[0]["now"]
    sample_market(core, i)
    plain_features(core, i)
    trusted = symbol["verified"] == 1
    note_reach(
        symbol["reach"],
        symbol["features"],
        core.params[0],
        symbol["bid"] if trusted else 0,
        symbol["ask"] if trusted else 0,
        now,
    )
    update_regime(symbol, core.params[0], now)
    widen_market(core, i)


@kernel
def clear_decision(row, core, i):
    """A decision row that has decided nothing yet, with the market as it stands."""
    glob = core.glob[0]
    symbol = core.symbols[i]
    now = glob["now"]
    bid = symbol["bid"]
    ask = symbol["ask"]
    row["ts"] = now
    row["generation"] = glob["generation"]
    row["sym"] = i
    row["outcome"] = NONE
    row["blocker"] = OK
    row["route"] = 0
    row["runner_up"] = 0
    row["margin_bps"] = 0.0
    row["n_candidates"] = 0
    row["n_active"] = 0
    row["bid"] = bid
    row["ask"] = ask
    row["mid_half_ticks"] = bid + ask if bid > 0 and ask > 0 else 0
    row["spread_bps"] = NAN
    if 0 < bid < ask:
        row["spread_bps"] = canonical(20_000.0 * float(ask - bid) / float(bid + ask))
    row["regime"] = symbol["regime"]
    row["chaos_kind"] = symbol["chaos_kind"]
    row["expansion"] = symbol["expansion"]
    row["ignition"] = symbol["ignition"]["state"]
    row["book_age_ns"] = now - symbol["book_ts"] if symbol["book_ts"] > 0 else -1
    row["trade_age_ns"] = now - symbol["trade_ts"] if symbol["trade_ts"] > 0 else -1
    row["verdict"] = 0
    row["check"] = 0
    row["check_value"] = NAN
    row["check_limit"] = NAN
    row["qty"] = 0
    row["price"] = 0
    row["stop"] = 0
    row["target"] = 0
    row["command"] = 0
    copy_economics(row, core.work[0]["blank"])


@kernel
def copy_economics(row, candidate):
    """The economics columns of a candidate into a decision row (or NaN from the blank one)."""
    row["move_bps"] = candidate["move_bps"]
    row["move_sd_bps"] = candidate["move_sd_bps"]
    row["confidence"] = candidate["confidence"]
    row["capturable"] = candidate["capturable"]
    row["gross_bps"] = candidate["gross_bps"]
    row["fill_prob"] = candidate["fill_prob"]
    row["fill_time_s"] = candidate["fill_time_s"]
    row["fill_method"] = candidate["fill_method"]
    row["entry_fee_bps"] = candidate["entry_fee_bps"]
    row["exit_fee_bps"] = candidate["exit_fee_bps"]
    row["spread_in_bps"] = candidate["spread_in_bps"]
    row["spread_out_bps"] = candidate["spread_out_bps"]
    row["slip_in_bps"] = candidate["slip_in_bps"]
    row["slip_out_bps"] = candidate["slip_out_bps"]
    row["adverse_bps"] = candidate["adverse_bps"]
    row["latency_bps"] = candidate["latency_bps"]
    row["buffer_bps"] = candidate["buffer_bps"]
    row["cost_bps"] = candidate["cost_bps"]
    row["exit_drag_bps"] = candidate["exit_drag_bps"]
    row["net_bps"] = candidate["net_bps"]
    row["edge_bps_min"] = candidate["edge_bps_min"]
    row["score"] = candidate["score"]


@kernel
def dominant_blocker(counts):
    """The reason that stopped most candidates; THESIS_INACTIVE only where nothing else did."""
    best = OK
    most = 0
    for code in range(N_REASONS):
        if code != OK and code != THESIS_INACTIVE and counts[code] > most:
            best = code
            most = counts[code]
    return THESIS_INACTIVE if best == OK else best


@kernel
def follow_entry(core, i):
    """Tell a resting entry what its route is worth now, and what taking instead would be.

    NaN where the thesis sees nothing, or where a gate refuses the taking route.
    """
    position = core.symbols[i]["position"]
    slot = position["entry_slot"]
    if slot == 0:
        return
    work = core.work[0]
    route = core.orders[slot - 1]["route"]
    taking = route_taking(route)
    position["edge_now_bps"] = NAN
    position["edge_take_bps"] = NAN
    position["edge_now_ts"] = core.glob[0]["now"]
    for k in range(work["n_candidates"]):
        candidate = work["candidates"][k]
        if candidate["route"] == route:
            position["edge_now_bps"] = candidate["net_bps"]
        elif candidate["route"] == taking and (
            candidate["blocker"] == OK or candidate["blocker"] == LOST_TO_BETTER
        ):
            position["edge_take_bps"] = candidate["net_bps"]


@stage
def judge_symbol(core, i, evaluation):
    """Readiness and routes of one symbol: fills its decision row, records its candidates.

    evaluation : the row of this evaluation, its counts go up
    """
    glob = core.glob[0]
    params = core.params[0]
    work = core.work[0]
    symbol = core.symbols[i]
    now = glob["now"]
    row = work["winners"][i]
    clear_decision(row, core, i)
    symbol["winner_index"] = -1
    symbol["winner_score"] = 0.0
    code = symbol_blocker(symbol, params, now, glob["epoch_status"])
    symbol["ready"] = code
    if code != OK:
        row["blocker"] = code
        record_symbol_blocker(core, i, now, code)
        return
    evaluation["n_ready"] += 1
    price_routes(core, i, now, reference_qty(core, i))
    found = work["found"]
    row["n_candidates"] = found["n_candidates"]
    row["n_active"] = found["n_active"]
    row["margin_bps"] = found["margin_bps"]
    evaluation["n_candidates"] += found["n_candidates"]
    evaluation["n_active"] += found["n_active"]
    evaluation["n_positive"] += found["n_positive"]
    candidates = work["candidates"]
    record_candidates(core, i, now)
    follow_entry(core, i)
    if found["best"] >= 0:
        best = candidates[found["best"]]
        copy_economics(row, best)
        row["route"] = best["route"]
        net = best["net_bps"]
        if not evaluation["best_net_bps"] >= net:
            evaluation["best_net_bps"] = net
    if found["runner_up"] >= 0:
        row["runner_up"] = candidates[found["runner_up"]]["route"]
    if found["winner"] >= 0:
        winner = candidates[found["winner"]]
        work["winner_rows"][i] = winner
        symbol["winner_index"] = found["winner"]
        symbol["winner_score"] = winner["score"]
        if params["ranking_tod"] == 1:
            symbol["winner_score"] = winner["score"] * symbol["daytime"]["multiplier"]
        row["outcome"] = SKIP
        if params["conflict_enabled"] == 1:
            note_conflict(core, i, row, winner["score"])
    else:
        counts = work["reason_counts"]
        stale = counts[ROUTE_STALE_WINNER] > 0
        row["blocker"] = ROUTE_STALE_WINNER if stale else dominant_blocker(counts)


@kernel
def note_conflict(core, i, row, score):
    """Write into the decision row what the winner of symbol i conflicts with, and rank it lower.

    With `conflict.factor` 0 it is refused when its turn comes (`enter`), and the row says why.
    """
    kind, route, value, limit = opposed_conflict(core, i, score)
    if kind == CONFLICT_NONE:
        kind, route, value, limit = correlated_conflict(core, i)
    if kind == CONFLICT_NONE:
        return
    row["check"] = kind
    row["check_value"] = canonical(value)
    row["check_limit"] = canonical(limit)
    row["runner_up"] = route
    factor = core.params[0]["conflict_factor"]
    if factor > 0.0:
        core.symbols[i]["winner_score"] *= factor


@kernel
def rank_symbols(core):
    """Symbols with a tradable route into work["order"], best score first; how many there are.

    Insertion sort, ties by row: never by arrival.
    """
    order = core.work[0]["order"]
    n = 0
    for i in range(len(core.symbols)):
        if core.symbols[i]["winner_index"] < 0:
            continue
        score = core.symbols[i]["winner_score"]
        at = n
        while at > 0 and core.symbols[order[at - 1]]["winner_score"] < score:
            order[at] = order[at - 1]
            at -= 1
        order[at] = i
        n += 1
    return n


@kernel
def mark_candidate(core, i, blocker, executed):
    """Write the final word on a symbol's winner into its recorded row, still in the ring."""
    glob = core.glob[0]
    winner = core.work[0]["winner_rows"][i]
    ring = core.rings[0]["candidates"]
    k = glob["n_rows"][T_CANDIDATES] - 1
    while k >= 0 and ring[k]["generation"] == glob["generation"]:
        if ring[k]["route"] == winner["route"]:
            ring[k]["blocker"] = blocker
            ring[k]["executed"] = executed
            return
        k -= 1


@stage
def enter(core, i):
    """Size, risk gate and plan of one symbol's winner; the reason why not, OK if a command left."""
    glob = core.glob[0]
    symbol = core.symbols[i]
    row = core.work[0]["winners"][i]
    winner = core.work[0]["winner_rows"][i]
    if glob["now"] - glob["start_ts"] < core.params[0]["evaluation_warmup_ns"]:
        return NOT_ENOUGH_HISTORY
    if symbol["position"]["qty"] > 0:
        return ALREADY_IN_POSITION
    if symbol["position"]["entry_slot"] > 0 or symbol["position"]["guarded"] != 0:
        return ORDER_IN_FLIGHT
    if core.params[0]["conflict_enabled"] == 1 and core.params[0]["conflict_factor"] <= 0.0:
        if row["check"] == CONFLICT_NONE:
            # Somebody may have entered since the symbol was judged.
            note_conflict(core, i, row, winner["score"])
        if row["check"] != CONFLICT_NONE:
            return CONFLICT_LANE
    price = winner["price"]
    qty, code = order_qty(core, i, price, winner["net_bps"], winner["confidence"])
    if code != OK:
        return code
    row["qty"] = qty
    row["price"] = price
    verdict, check, value, limit = risk_gate(core, i, price, qty)
    if verdict == ALLOW:
        verdict, check, value, limit = cap_gate(core, i, price, qty, winner["route"])
    row["verdict"] = verdict
    row["check"] = check
    row["check_value"] = canonical(value)
    row["check_limit"] = canonical(limit)
    if verdict != ALLOW:
        return risk_reason(check)
    return plan_entry(core, i, row, winner)


@kernel
def settle_winners(core):
    """Walk the ranked symbols: the first that passes enters, the others say why they did not."""
    glob = core.glob[0]
    n = rank_symbols(core)
    allot(core, n)
    order = core.work[0]["order"]
    most = core.params[0]["ranking_per_horizon_max"]
    taken = core.work[0]["horizon_place"]  # scratch: winners so far per horizon
    for k in range(N_HORIZONS):
        taken[k] = 0
    entries = 0
    for place in range(n):
        i = order[place]
        row = core.work[0]["winners"][i]
        horizon = route_horizon(core.work[0]["winner_rows"][i]["route"])
        taken[horizon] += 1
        if entries >= core.params[0]["evaluation_max_entries"] or taken[horizon] > most > 0:
            code = LOST_TO_BETTER
        else:
            code = enter(core, i)
        row["blocker"] = code
        if code == OK:
            entries += 1
            row["outcome"] = EXECUTE
            mark_candidate(core, i, OK, 1)
        else:
            mark_candidate(core, i, code, 0)
            record_blockers(core, i, glob["now"], code, 1)


@kernel
def record_health(core):
    """One row per symbol: is its data what it should be?"""
    glob = core.glob[0]
    now = glob["now"]
    glob["health_ts"] = now
    ring = core.rings[0]["health"]
    for i in range(len(core.symbols)):
        at = claim_row(glob, T_HEALTH, len(ring))
        if at < 0:
            return
        symbol = core.symbols[i]
        row = ring[at]
        row["ts"] = now
        row["sym"] = i
        row["verified"] = symbol["verified"]
        row["n_events"] = symbol["n_events"]
        row["n_trades"] = symbol["n_trades"]
        row["n_messages"] = symbol["n_messages"]
        row["n_checksum_failed"] = symbol["n_checksum_failed"]
        row["n_crossed"] = symbol["n_crossed"]
        row["n_gaps"] = symbol["n_gaps"]
        row["book_age_ns"] = now - symbol["book_ts"] if symbol["book_ts"] > 0 else -1
        row["regime"] = symbol["regime"]
        row["spread_bps"] = core.work[0]["winners"][i]["spread_bps"]


@kernel
def record_decisions(core, evaluation):
    """One row per symbol; the evaluation names the blocker that most symbols met."""
    glob = core.glob[0]
    ring = core.rings[0]["decisions"]
    counts = core.work[0]["reason_counts"]
    for code in range(N_REASONS):
        counts[code] = 0
    for i in range(len(core.symbols)):
        row = core.work[0]["winners"][i]
        counts[row["blocker"]] += 1
        at = claim_row(glob, T_DECISIONS, len(ring))
        if at >= 0:
            ring[at] = row
    evaluation["blocker"] = OK
    most = 0
    for code in range(N_REASONS):
        if counts[code] > most:
            most = counts[code]
            evaluation["blocker"] = code


@stage
def evaluate(core):
    """One pass of the pipeline over all symbols, in a new generation."""
    glob = core.glob[0]
    glob["evaluation_due"] = 0
    glob["generation"] += 1
    glob["n_evaluations"] += 1
    commands_before = glob["n_commands_total"]
    ring = core.rings[0]["evaluations"]
    at = claim_row(glob, T_EVALUATIONS, len(ring))
    if at < 0:
        return
    row = ring[at]
    row["ts"] = glob["now"]
    row["generation"] = glob["generation"]
    row["epoch"] = glob["epoch"]
    row["epoch_status"] = glob["epoch_status"]
    row["n_symbols"] = len(core.symbols)
    row["n_ready"] = 0
    row["n_candidates"] = 0
    row["n_active"] = 0
    row["n_positive"] = 0
    row["best_net_bps"] = NAN
    for i in range(len(core.symbols)):
        refresh_market(core, i)
        if core.symbols[i]["position"]["guarded"] != 0:
            weigh_exit(core, i)
            guard_position(core, i)
        manage_entries(core, i)
    rank_movers(core.symbols)
    settle_account(core)
    update_capital(core)
    update_universe(core)
    first_candidate = glob["n_rows"][T_CANDIDATES]
    for i in range(len(core.symbols)):
        judge_symbol(core, i, row)
    settle_winners(core)
    follow_candidates(core, first_candidate)
    settle_mode(core)
    settle_throttle(core)
    record_decisions(core, row)
    if glob["now"] - glob["health_ts"] >= core.params[0]["records_health_interval_ns"]:
        record_health(core)
    n_working, _ = count_working(core)
    n_positions = 0
    for i in range(len(core.symbols)):
        if core.symbols[i]["position"]["qty"] > 0:
            n_positions += 1
    row["mode"] = glob["mode"]
    row["equity"] = glob["equity"]
    row["free"] = glob["free"]
    row["n_open_orders"] = n_working
    row["n_positions"] = n_positions
    row["n_commands"] = glob["n_commands_total"] - commands_before
    row["n_events"] = glob["n_events"]
