"""The economics of a route, term by term from the table in docs/formulas-economics.md."""

from __future__ import annotations

import math
from typing import Any

from tests.naive.fillprob import touch


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
    """Every estimate of a candidate; then_take is the mix of both, weighted by the chance of a fill.

    market : the fields of MarketCosts; thesis : move (in our direction), half_life, confidence
    fill : probability and wait of a resting order; fees in bps
    """
    if entry_mode == "then_take":
        return _mixed(market, params, thesis, horizon_s, fill, maker_fee, taker_fee)
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


def _mixed(
    market: dict[str, float],
    params: Any,
    thesis: dict[str, float],
    horizon_s: int,
    fill: tuple[float, float],
    maker_fee: float,
    taker_fee: float,
) -> dict[str, float]:
    window = params["orders_maker_window_ns"] / 1e9
    chance, wait = fill[0], min(fill[1], window)
    fees = (maker_fee, taker_fee)
    rested = economics(market, params, thesis, horizon_s, "join", (1.0, wait), *fees)
    # Whoever takes in the end has waited the window, and the price has run meanwhile.
    distance = 2 * market["half_spread_bps"]
    reached = min(touch(distance, market["vol_bps_s"], window), 0.99)
    late = dict(market)
    late["slip_take_bps"] += distance * reached / (1 - reached)
    took = economics(late, params, thesis, horizon_s, "take", (1.0, 0.0), *fees)
    waited = economics(market, params, thesis, horizon_s, "join", (1.0, window), *fees)
    took["capturable"] = waited["capturable"]
    mixed = {
        name: chance * rested[name] + (1 - chance) * took[name]
        for name in rested
        if (name.endswith("_bps") and name not in ("gross_bps", "net_bps", "cost_bps"))
        or name == "capturable"
    }
    cost = math.fsum(mixed[name] for name in COSTS)
    gross = thesis["move"] * mixed["capturable"]
    spent = chance * wait + (1 - chance) * window
    entered = params["costs_latency_ns"] / 1e9 + spent
    net = gross - cost
    return mixed | {
        "gross_bps": gross,
        "cost_bps": cost,
        "net_bps": net,
        "fill_prob": 1.0,
        "fill_time_s": spent,
        "edge_bps_min": net * 60 / (entered + horizon_s),
        "score": net * thesis["confidence"],
    }


COSTS = (
    *("entry_fee_bps", "exit_fee_bps", "spread_in_bps", "spread_out_bps", "slip_in_bps"),
    *("slip_out_bps", "adverse_bps", "latency_bps", "buffer_bps"),
)
