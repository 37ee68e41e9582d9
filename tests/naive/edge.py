"""The economics of a route, term by term from the table in docs/formulas-economics.md."""

from __future__ import annotations

import math
from typing import Any


def economics(
    market: dict[str, float],
    params: Any,
    thesis: dict[str, float],
    horizon_s: int,
    entry_mode: str,
    fill: tuple[float, float],
    maker_fee: float,
    taker_fee: float,
) -> dict[str, float]:
    """Every estimate of a candidate.

    market : the fields of MarketCosts; thesis : move (in our direction), half_life, confidence
    fill : probability and wait of a resting order; fees in bps
    """
    taking = entry_mode == "take"
    share = params["costs_exit_maker_share"]
    half, tick = market["half_spread_bps"], market["tick_bps"]
    window = params["orders_maker_window_ns"] / 1e9
    delay = params["costs_latency_ns"] / 1e9
    chance, wait = (1.0, 0.0) if taking else fill
    costs = {
        "entry_fee_bps": taker_fee if taking else maker_fee,
        "exit_fee_bps": share * maker_fee + (1 - share) * taker_fee,
        "spread_in_bps": {"take": half, "join": -half, "improve": tick - half}[entry_mode],
        "spread_out_bps": (1 - share) * half - share * half,
        "slip_in_bps": market["slip_take_bps"] if taking else 0.0,
        "slip_out_bps": (1 - share) * market["slip_leave_bps"],
        "adverse_bps": (share + (not taking)) * market["adverse_bps"],
        "latency_bps": (1 - share + taking) * market["latency_bps"],
        "buffer_bps": params["costs_buffer_bps"],
    }
    entered = delay + min(wait, window)
    capturable = 0.5 ** (entered / thesis["half_life"])
    move, lean = thesis["move"], market["lean_bps"]
    if move > 0 and lean > 0:
        shown = min(1.0, lean / move)
        capturable *= 1 - shown * (1 - 0.5 ** (entered / params["costs_lean_half_life_s"]))
    cost = math.fsum(costs.values())
    net = move * capturable - cost
    return costs | {
        "capturable": capturable,
        "gross_bps": move * capturable,
        "fill_prob": chance,
        "fill_time_s": wait,
        "cost_bps": cost,
        "net_bps": net,
        "exit_drag_bps": params["costs_stress_spread"] * half
        + market["slip_stressed_bps"]
        + taker_fee,
        "edge_bps_min": net * chance * 60 / (entered + horizon_s),
        "score": net * chance * thesis["confidence"],
    }
