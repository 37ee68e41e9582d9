"""The families of engine/core/families from their formulas, in dicts of features by name.

Each returns (move, invalidation), None where it is inactive. `f` features, `p` parameters by name,
`half` the half-life. None of these is given an unknown feature.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Features = dict[str, float]
Answer = tuple[float, float] | None


def sd_bps(f: Features) -> float:
    window, name = next(
        (w, n) for w, n in ((60, "1m"), (300, "5m"), (900, "15m")) if f["horizon"] <= w or w == 900
    )
    return max(f[f"vol_bps_{name}"] * math.sqrt(f["horizon"] / window), 0.5 * f["tick_bps"])


def come(f: Features, half: float) -> float:
    return 1.0 - 0.5 ** (f["horizon"] / half)


def outside(f: Features) -> tuple[float, int]:
    high, low, mid = f["bar_high_20"], f["bar_low_20"], f["mid"]
    distance = max(mid - high, low - mid, 0.0)
    return distance / mid * 1e4, (mid > high) - (mid < low)


def breakout(f: Features, p: Features, half: float) -> Answer:
    gone, side = outside(f)
    box = (f["bar_high_20"] - f["bar_low_20"]) / f["mid"] * 1e4
    minute = f["buy_notional_1m"] + f["sell_notional_1m"]
    hour = f["buy_notional_1h"] + f["sell_notional_1h"]
    wanted = (
        side != 0
        and gone >= p["break_atr"] * f["atr_bps"]
        and f["range_percentile"] <= p["range_percentile_max"]
        and minute >= p["volume_min"] * hour / 60
        and f["vol_bps_1m"] * math.sqrt(15) >= p["expansion_min"] * f["vol_bps_15m"]
        and p["box_share"] * box > gone
    )
    if not wanted:
        return None
    return side * (p["box_share"] * box - gone) * come(f, half), gone + p["inside_share"] * box


def atr_breakout(f: Features, p: Features, half: float) -> Answer:
    gone, side = outside(f)
    atr = f["atr_bps"]
    wanted = (
        side != 0
        and gone >= p["break_atr"] * atr
        and f["atr_fast_bps"] >= p["ratio_min"] * f["atr_slow_bps"]
        and p["move_atr"] > 0
    )
    if not wanted:
        return None
    return side * p["move_atr"] * atr * come(f, half), gone + p["invalidation_atr"] * atr


def pullback(f: Features, p: Features, half: float) -> Answer:
    atr, mid = f["atr_bps"], f["mid"]
    sides = (
        (1, f["bar_high_20"] - f["prior_high_40"], mid - f["prior_high_40"]),
        (-1, f["prior_low_40"] - f["bar_low_20"], f["prior_low_40"] - mid),
    )
    for side, impulse, behind in sides:
        impulse, behind = impulse / mid * 1e4, behind / mid * 1e4
        if impulse <= 0 or impulse < p["impulse_atr"] * atr or abs(behind) > p["near_atr"] * atr:
            continue
        flow, lean = f["flow_imbalance_1m"] * side, f["microprice_bps"] * side
        left = p["back_share"] * (impulse - behind)
        against = behind + p["invalidation_atr"] * atr
        if flow < p["flow_min"] or lean < p["lean_min_bps"] or left <= 0 or against <= 0:
            return None
        return side * left * come(f, half), against
    return None


def ignition(f: Features, p: Features, half: float) -> Answer:
    side, impulse = f["ignition_direction"], f["return_bps_1m"]
    wanted = (
        f["ignition_state"] in (2, 3)
        and impulse * side > 0
        and f["acceleration"] * side > p["acceleration_min"]
        and f["flow_imbalance_1m"] * side >= p["flow_min"]
        and p["impulse_share"] > 0
    )
    if not wanted:
        return None
    return p["impulse_share"] * impulse * come(f, half), p["retrace_share"] * abs(impulse)


def grid(f: Features, p: Features, half: float) -> Answer:
    above, below = f["high_bps_15m"], f["low_bps_15m"]
    width = above + below
    if width <= 0 or f["vol_bps_15m"] <= 0 or abs(f["drift_t_15m"]) > p["drift_t_max"]:
        return None
    strength = 1 - width / (math.sqrt(8 / math.pi) * f["vol_bps_15m"])
    if below <= p["band"] * width:
        side, behind = 1, below
    elif above <= p["band"] * width:
        side, behind = -1, above
    else:
        return None
    step = max(width / p["steps"], p["step_min_bps"])
    if strength <= 0 or strength < p["strength_min"] or step > width - behind:
        return None
    return side * strength * step * come(f, half), behind + p["break_steps"] * step


def scalping(f: Features, p: Features, half: float) -> Answer:
    lean, half_spread, tick = f["microprice_bps"], f["spread_bps"] / 2, f["tick_bps"]
    ticks = (f["high_bps_1m"] + f["low_bps_1m"]) / tick
    wanted = (
        f["horizon"] <= p["horizon_max_s"]
        and p["range_ticks_min"] <= ticks <= p["range_ticks_max"]
        and max(f["queue_wait_bid"], f["queue_wait_ask"]) <= p["wait_max_s"]
        and lean != 0
        and abs(lean) >= p["lean_min"] * half_spread
    )
    if not wanted:
        return None
    against = half_spread + (p["invalidation_ticks"] + 1) * tick
    return p["lean_share"] * lean * come(f, half), against


def fade(f: Features, p: Features, half: float) -> Answer:
    leg = f["return_bps_5m"]
    side = 1 if leg < 0 else -1
    own = "bid" if leg < 0 else "ask"
    back = f["low_bps_5m"] if leg < 0 else f["high_bps_5m"]
    left = p["retrace"] * (abs(leg) + back) - back
    wanted = (
        f["vol_bps_1h"] > 0
        and abs(leg) >= p["z_min"] * f["vol_bps_1h"] / math.sqrt(12)
        and f["imbalance_5"] * side >= p["imbalance_min"]
        and f["microprice_bps"] * side >= p["lean_min_bps"]
        and f[f"refill_1s_{own}"] >= p["refill_min"]
        and left > 0
    )
    if not wanted:
        return None
    return side * left * come(f, half), back + p["beyond_sd"] * sd_bps(f)


def vwap_reversion(f: Features, p: Features, half: float) -> Answer:
    z = f["vwap_z"]
    side = 1 if z < 0 else -1
    distance = p["share"] * abs(z) * f["vwap_sd_bps"]
    wanted = (
        abs(z) >= p["z_min"]
        and distance > 0
        and -f["flow_imbalance_5m"] * side <= p["flow_max"]
        and -f["drift_t_5m"] * side <= p["drift_t_max"]
    )
    if not wanted:
        return None
    return side * distance * come(f, half), p["invalidation_sd"] * f["vwap_sd_bps"]


def sweep(f: Features, p: Features, half: float) -> Answer:
    found = [
        (f[f"sweep_age_{taker}"], taker)
        for taker in ("sell", "buy")
        if f[f"sweep_levels_{taker}"] >= p["levels_min"]
    ]
    if not found:
        return None
    age, taker = min(found, key=lambda each: each[0])
    side = 1 if taker == "sell" else -1
    own = "bid" if taker == "sell" else "ask"
    back = f["low_bps_10s"] if taker == "sell" else f["high_bps_10s"]
    swept = f[f"sweep_bps_{taker}"]
    left = p["back_share"] * swept * 0.5 ** (age / half) - back
    wanted = (
        swept >= p["sweep_bps_min"]
        and p["settle_s"] <= age <= p["age_max_s"]
        and f[f"refill_5s_{own}"] >= p["refill_min"]
        and f["imbalance_5"] * side >= p["imbalance_min"]
        and left > 0
    )
    if not wanted:
        return None
    return side * left * come(f, half), back + p["beyond_sd"] * sd_bps(f)


FAMILIES: dict[str, Callable[[Features, Features, float], Answer]] = {
    each.__name__: each
    for each in (
        *(breakout, atr_breakout, pullback, ignition, grid, scalping, fade),
        *(vwap_reversion, sweep),
    )
}
