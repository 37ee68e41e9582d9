"""What would the whole distribution of a trade say? A second model of the edge, beside the first.

V2 takes a candidate that passed the first model's gates and follows its thesis over 64 paths of sixteen
steps, drawn once per run from the counter generator: the mean fades as the thesis does and is cut to the share
that earlier moves of the family brought, the spread is what volatility and earlier misses say, a share of
wide paths depends on one of four kinds of market, and each path leaves by the rules of exits.py
(stop, trail, target, time) and pays the fee of the way it left. Its outcomes give a mean, quantiles, the
chance to cover the costs, and two numbers that must stay above their limits: a low quantile and the mean
without its best tail, so that rare lucky paths do not carry a route (TAIL_INADMISSIBLE).

`adaptive.mode` 0: nothing of this runs. 1: computed and recorded beside V1, decides nothing. 2: ranks and
admits. Formulas: docs/formulas-adaptive.md. Left out: who was right (engine/reports/edge.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.calibration import (
    expected_sd_bps,
    learnt_share,
    learnt_variance,
    note_forecast,
    settle_forecasts,
)
from engine.core.columns import FEATURE_INDEX
from engine.core.costs import present_rates
from engine.core.edge import decay
from engine.core.exits import (
    horizon_vol_bps,
    regime_factor,
    stop_distance_bps,
    target_gain_bps,
    trail_width_bps,
)
from engine.core.records import LOST_TO_BETTER, OK, T_ADAPTIVE, TAIL_INADMISSIBLE
from engine.core.routes import route_family, route_horizon
from engine.core.rows import claim_row
from engine.core.selection import name_winner
from engine.jit import kernel
from engine.numerics import canonical, clip, floor_int, is_nan, normal, ratio, sqrt, uniform
from engine.stage import stage
from engine.units import MONEY_PER_UNIT

N_PATHS: Final = 64
N_STEPS: Final = 16
STREAM_PATHS: Final = 201  # streams of the counter generator
STREAM_WIDTHS: Final = 202

ADAPTIVE_OFF: Final = 0
ADAPTIVE_SHADOW: Final = 1
ADAPTIVE_LIVE: Final = 2

CALM_RANGE: Final = 0
STRESSED_RANGE: Final = 1
CALM_TREND: Final = 2
STRESSED_TREND: Final = 3
MARKET_NAMES: Final[dict[int, str]] = {
    CALM_RANGE: "calm_range",
    STRESSED_RANGE: "stressed_range",
    CALM_TREND: "calm_trend",
    STRESSED_TREND: "stressed_trend",
}

# How a path ended.
END_TIME: Final = 0
END_STOP: Final = 1
END_TRAIL: Final = 2
END_TARGET: Final = 3
N_ENDS: Final = 4

E6_PER_BPS: Final = 100.0
# A walk that is looked at step by step misses what it does in between: a level counts as met so many
# sd of a step early. Source: Broadie, Glasserman, Kou 1997, "A continuity correction for discrete
# barrier options", -zeta(1/2) / sqrt(2 pi).
BETWEEN_STEPS: Final = 0.5825971579390106
_NS_PER_S: Final = 1e9
_DRIFT_T: Final = FEATURE_INDEX["drift_t_15m"]
_VOL_PERCENTILE: Final = FEATURE_INDEX["vol_percentile"]
_ATR: Final = FEATURE_INDEX["atr_bps"]
_LEAN: Final = FEATURE_INDEX["microprice_bps"]

PATHS: Final = np.dtype(
    [
        ("ready", "<i8"),
        ("steps", "<f8", (N_PATHS, N_STEPS)),  # standard normal; path k + 32 mirrors path k
        ("width", "<f8", (N_PATHS,)),  # uniform: below the weight of wide paths it is one
        ("outcome", "<f8", (N_PATHS,)),  # scratch, sorted
        ("curve", "<f8", (N_STEPS,)),  # scratch: share of the move that each step brings
    ]
)


@kernel
def draw_paths(paths, seed):
    """Draw the paths of a run, once: the same seed gives the same paths on any machine."""
    if paths["ready"] == 1:
        return
    paths["ready"] = 1
    half = N_PATHS // 2
    for k in range(half):
        for s in range(N_STEPS):
            z = normal(seed, STREAM_PATHS, k * N_STEPS + s)
            paths["steps"][k, s] = z
            paths["steps"][k + half, s] = -z
        u = uniform(seed, STREAM_WIDTHS, k)
        paths["width"][k] = u
        paths["width"][k + half] = u


@kernel
def market_label(features, params):
    """Which of the four kinds of market: trend by the t-value of 15 m, stress by volatility.

    What is not known is a calm range. The main regime still blocks CHAOS and LOW_LIQUIDITY.
    """
    label = CALM_RANGE
    t = features[_DRIFT_T]
    if t >= params["adaptive_trend_t"] or t <= -params["adaptive_trend_t"]:
        label = CALM_TREND
    if features[_VOL_PERCENTILE] >= params["adaptive_stress_percentile"]:
        label += 1
    return label


@kernel
def label_set(params, label):
    """(scale of the move, scale of its sd, weight of wide paths) of a kind of market."""
    if label == CALM_RANGE:
        return (
            params["adaptive_calm_range_move"],
            params["adaptive_calm_range_sd"],
            params["adaptive_calm_range_wide"],
        )
    if label == STRESSED_RANGE:
        return (
            params["adaptive_stressed_range_move"],
            params["adaptive_stressed_range_sd"],
            params["adaptive_stressed_range_wide"],
        )
    if label == CALM_TREND:
        return (
            params["adaptive_calm_trend_move"],
            params["adaptive_calm_trend_sd"],
            params["adaptive_calm_trend_wide"],
        )
    return (
        params["adaptive_stressed_trend_move"],
        params["adaptive_stressed_trend_sd"],
        params["adaptive_stressed_trend_wide"],
    )


@kernel
def tier_chance(params, glob, notional):
    """Chance that this order's volume brings the next fee tier, and what its taker fee saves, bps.

    The part of the way to the tier that the order goes (own); 0 where the venue named our rates.
    notional : int64, money
    """
    if glob["fee_ts"] > 0:
        return 0.0, 0.0
    for k in range(1, params["n_fee_tiers"]):
        left = params["fee_volume"][k] - glob["volume"]
        if left > 0:
            saved = params["fee_taker_e6"][k - 1] - params["fee_taker_e6"][k]
            return clip(float(notional) / float(left), 0.0, 1.0), float(saved) / E6_PER_BPS
    return 0.0, 0.0


@kernel
def walk_paths(paths, start, move, sd, wide, wide_sd, half_life_s, horizon_s, hold_s, stop,
               trail_from, trail, target, fees, leave, row):  # fmt: skip
    """Follow every path to its end; fills paths["outcome"] (before other costs) and row's shares.

    start : float64, bps: where the mid stands from the price of entry
    move : float64, bps, over horizon_s, of which more comes until hold_s is over
    sd : float64, bps, over hold_s; wide : weight of paths whose sd is `wide_sd` times it
    stop, trail_from, trail, target : float64, bps from entry, > 0; target 0: none
    fees : float64[N_ENDS], bps, fee of leaving by each end; leave : bps from the mid at the time's end
    row : ADAPTIVE record: shares of ends, give-back, target miss and fees are written
    """
    curve = paths["curve"]
    whole = 1.0 - decay(horizon_s, half_life_s)
    before = 0.0
    for s in range(N_STEPS):
        come = 1.0 - decay(hold_s * float(s + 1) / float(N_STEPS), half_life_s)
        curve[s] = move * ratio(come - before, whole)
        before = come
    step_sd = sd / sqrt(float(N_STEPS))
    n_stop = 0
    n_trail = 0
    n_target = 0
    give_back = 0.0
    miss = 0.0
    fee_sum = 0.0
    fee_squares = 0.0
    for k in range(N_PATHS):
        scale = step_sd * wide_sd if paths["width"][k] < wide else step_sd
        early = BETWEEN_STEPS * scale
        x = start
        peak = 0.0
        level = -stop
        end = END_TIME
        for s in range(N_STEPS):
            x += curve[s] + scale * paths["steps"][k, s]
            if x <= level + early:
                x = level
                end = END_STOP if level == -stop else END_TRAIL
                break
            if target > 0.0 and x >= target:
                x = target
                peak = target
                end = END_TARGET
                break
            if x > peak:
                peak = x
                if peak >= trail_from and peak - trail > level:
                    level = peak - trail
        if end == END_STOP:
            n_stop += 1
        elif end == END_TRAIL:
            n_trail += 1
            give_back += peak - x
        elif end == END_TARGET:
            n_target += 1
        if target > 0.0 and peak < target:
            miss += target - peak
        fee_sum += fees[end]
        fee_squares += fees[end] * fees[end]
        paths["outcome"][k] = x - fees[end] - (leave if end == END_TIME else 0.0)
    size = float(N_PATHS)
    row["stop_share"] = float(n_stop) / size
    row["trail_share"] = float(n_trail) / size
    row["target_share"] = float(n_target) / size
    row["time_share"] = float(N_PATHS - n_stop - n_trail - n_target) / size
    row["give_back_bps"] = canonical(give_back / size)
    row["target_miss_bps"] = canonical(miss / size)
    row["fee_bps"] = canonical(fee_sum / size)
    spread = fee_squares / size - (fee_sum / size) * (fee_sum / size)
    row["fee_sd_bps"] = canonical(sqrt(spread if spread > 0.0 else 0.0))


@kernel
def sum_up(paths, cost, row):
    """Mean, quantiles, chance to cover the costs, and the mean without the best tail, net of `cost`."""
    outcome = paths["outcome"]
    for k in range(1, N_PATHS):
        value = outcome[k]
        at = k
        while at > 0 and outcome[at - 1] > value:
            outcome[at] = outcome[at - 1]
            at -= 1
        outcome[at] = value
    total = 0.0
    trimmed = 0.0
    n_covered = 0
    n_kept = N_PATHS - N_PATHS // 10
    for k in range(N_PATHS):
        value = outcome[k] - cost
        total += value
        if k < n_kept:
            trimmed += value
        if value > 0.0:
            n_covered += 1
    row["v2_net_bps"] = canonical(total / float(N_PATHS))
    row["trimmed_bps"] = canonical(trimmed / float(n_kept))
    row["cover_prob"] = float(n_covered) / float(N_PATHS)
    row["q10_bps"] = canonical(outcome[N_PATHS // 10] - cost)
    row["q50_bps"] = canonical(outcome[N_PATHS // 2] - cost)
    row["q90_bps"] = canonical(outcome[N_PATHS - 1 - N_PATHS // 10] - cost)


@kernel
def judge_candidate(core, i, candidate, row):
    """V2 of one priced candidate into `row`."""
    glob = core.glob[0]
    params = core.params[0]
    symbol = core.symbols[i]
    features = symbol["features"]
    paths = glob["paths"]
    label = market_label(features, params)
    move_scale, sd_scale, wide = label_set(params, label)
    wide_sd = params["adaptive_wide_sd"]
    family = route_family(candidate["route"])
    half_life_s = params["family_half_life_s"][family]
    horizon_s = float(candidate["horizon_s"])
    hold_s = horizon_s * params["exits_time_multiple"]
    # Variance of a path, wide or not, over that of one that is not.
    mixed = 1.0 + wide * (wide_sd * wide_sd - 1.0)
    usual = expected_sd_bps(
        features, hold_s, candidate["move_sd_bps"] * sqrt(params["exits_time_multiple"])
    )
    variance = learnt_variance(glob["calibration"], label, sd_scale * sd_scale * mixed)
    sd = usual * sqrt(variance / mixed)
    move = candidate["gross_bps"] * move_scale
    more = ratio(1.0 - decay(hold_s, half_life_s), 1.0 - decay(horizon_s, half_life_s))
    note_forecast(
        symbol["forecasts"],
        family,
        route_horizon(candidate["route"]),
        glob["now"] + floor_int(hold_s * _NS_PER_S),
        symbol["bid"] + symbol["ask"],
        move * more,
        usual,
        label,
    )
    move *= learnt_share(glob["calibration"], family)
    fees = core.work[0]["end_fees"]
    # The stack's exit fee is a mix of both liquidities; leaving at a stop always takes.
    _, _, taker_e6 = present_rates(params, glob)
    exit_taker_bps = float(taker_e6) / E6_PER_BPS
    # As exits.py will set them: by the same functions, and whoever leaves so takes.
    fees_bps = candidate["entry_fee_bps"] + exit_taker_bps
    exit_vol = horizon_vol_bps(symbol, candidate["horizon_s"] * 1_000_000_000)
    trail = trail_width_bps(
        params, features[_ATR], exit_vol, fees_bps, regime_factor(params, symbol["regime"])
    )
    vol = candidate["move_sd_bps"] if is_nan(exit_vol) else exit_vol
    stop = stop_distance_bps(params, vol, candidate["invalidation_bps"])
    target = target_gain_bps(params, fees_bps, vol, features[_LEAN])
    instrument = symbol["instrument"]
    notional = int(
        float(candidate["qty"]) * instrument["qty_float"]
        * float(candidate["price"]) * instrument["price_float"] * float(MONEY_PER_UNIT)
    )  # fmt: skip
    chance, saved = tier_chance(params, glob, notional)
    exit_taker_bps -= chance * saved
    fees[END_STOP] = exit_taker_bps
    fees[END_TRAIL] = exit_taker_bps
    fees[END_TARGET] = candidate["exit_fee_bps"]
    fees[END_TIME] = candidate["exit_fee_bps"]
    row["market"] = label
    walk_paths(
        paths,
        # A resting entry has the half spread, less what whoever hits it tends to know.
        -(candidate["spread_in_bps"] + candidate["adverse_bps"]),
        move,
        sd,
        wide,
        wide_sd,
        half_life_s,
        horizon_s,
        hold_s,
        stop,
        params["exits_trail_start_bps"],
        trail,
        target,
        fees,
        candidate["spread_out_bps"],
        row,
    )
    # The spread is in the start and the end of the paths; what the buffer stands for is their width.
    cost = candidate["entry_fee_bps"] + candidate["slip_in_bps"]
    cost += candidate["slip_out_bps"] + candidate["latency_bps"]
    sum_up(paths, cost, row)
    row["stop_slip_bps"] = canonical(
        (row["stop_share"] + row["trail_share"]) * candidate["slip_out_bps"]
    )
    row["v2_score"] = canonical(row["v2_net_bps"] * candidate["fill_prob"])
    row["admissible"] = 0
    if (
        row["q10_bps"] >= params["adaptive_low_min_bps"]
        and row["trimmed_bps"] >= params["adaptive_trimmed_min_bps"]
    ):
        row["admissible"] = 1


@kernel
def _is_open(candidate):
    return candidate["blocker"] == OK or candidate["blocker"] == LOST_TO_BETTER


@stage
def judge_adaptively(core, i):
    """V2 of the tradable candidates in work: recorded, and in live mode it ranks and admits."""
    glob = core.glob[0]
    params = core.params[0]
    work = core.work[0]
    draw_paths(glob["paths"], params["seed"])
    symbol = core.symbols[i]
    mid = 0
    if symbol["verified"] == 1 and 0 < symbol["bid"] < symbol["ask"]:
        mid = symbol["bid"] + symbol["ask"]
    settle_forecasts(symbol["forecasts"], glob["calibration"], mid, glob["now"])
    rows = work["candidates"]
    judged = work["adaptive"]
    n = 0
    best = -1
    for k in range(work["n_candidates"]):
        if n >= len(judged):
            break
        candidate = rows[k]
        if not _is_open(candidate):
            continue
        row = judged[n]
        row["place"] = k
        row["ts"] = glob["now"]
        row["generation"] = glob["generation"]
        row["sym"] = i
        row["route"] = candidate["route"]
        row["v1_net_bps"] = candidate["net_bps"]
        row["v1_score"] = candidate["score"]
        row["v1_winner"] = 1 if candidate["blocker"] == OK else 0
        row["v2_winner"] = 0
        judge_candidate(core, i, candidate, row)
        if row["admissible"] == 1:
            if best < 0 or row["v2_score"] > judged[best]["v2_score"]:
                best = n
        n += 1
    if best >= 0:
        judged[best]["v2_winner"] = 1
    ring = core.rings[0]["adaptive"]
    top = params["adaptive_records_top"]
    for m in range(n):
        row = judged[m]
        k = row["place"]
        row["v1_rank"] = rows[k]["rank"]
        if rows[k]["rank"] <= top or row["v2_winner"] == 1:
            at = claim_row(glob, T_ADAPTIVE, len(ring))
            if at >= 0:
                ring[at] = row
    if params["adaptive_mode"] == ADAPTIVE_LIVE:
        for m in range(n):
            row = judged[m]
            candidate = rows[row["place"]]
            candidate["score"] = row["v2_score"]
            candidate["blocker"] = OK if row["admissible"] == 1 else TAIL_INADMISSIBLE
        name_winner(work)
