"""The regime as a table of tests in order, each with its threshold; dwell applied afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass

CALM = ("RANGE", "TREND", "HIGH_VOLATILITY")


@dataclass
class NaiveRegime:
    name: str = "UNKNOWN"
    chaos: str = "none"
    since: int = 0


def above(value: float, threshold: float) -> bool:
    return not math.isnan(value) and not math.isnan(threshold) and value > threshold


def next_regime(
    state: NaiveRegime,
    f: dict[str, float],
    p: dict[str, float],
    verified: bool,
    has_book: bool,
    now: int,
) -> NaiveRegime:
    """f: features by name, NaN where unknown; p: parameters of section regime by name."""
    busy = f["n_trades_1m"] >= p["one_way_trades"]
    tests = [
        ("LOW_LIQUIDITY", "none", f["spread_bps"], p["spread_low_liquidity_bps"]),
        ("LOW_LIQUIDITY", "none", 1 / f["depth_bid_25"], 1 / p["depth_min"]),
        ("LOW_LIQUIDITY", "none", 1 / f["depth_ask_25"], 1 / p["depth_min"]),
        ("CHAOS", "spread blow-out", f["spread_bps"], p["spread_blowout"] * f["spread_mean_bps"]),
        ("CHAOS", "price gap", f["jump_z"], p["jump_z_chaos"]),
        ("CHAOS", "one-way flow", abs(f["flow_imbalance_1m"]) if busy else math.nan, p["one_way"]),
        ("HIGH_VOLATILITY", "none", f["vol_percentile"], p["vol_percentile_high"]),
        ("TREND", "none", abs(f["drift_t_15m"]), p["drift_t_trend"]),
    ]
    needed = ("spread_bps", "vol_percentile", "drift_t_15m")
    target, chaos = "RANGE", "none"
    if not verified:
        target, chaos = ("CHAOS", "doubtful data") if has_book else ("UNKNOWN", "none")
    else:
        for name, kind, value, threshold in tests:
            if name == "HIGH_VOLATILITY" and any(math.isnan(f[key]) for key in needed):
                target, chaos = "UNKNOWN", "none"
                break
            held = state.name == name and (name != "CHAOS" or state.chaos == kind)
            if above(value, threshold * p["hysteresis"] if held else threshold):
                target, chaos = name, kind
                break
    if target == state.name:
        return NaiveRegime(state.name, chaos, state.since)
    young = now - state.since < p["dwell_ns"]
    if target in CALM and state.name != "UNKNOWN" and young:
        return state
    return NaiveRegime(target, chaos, now)
