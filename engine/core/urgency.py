"""How forceful may an exit be, and what has the tape done since entry? What a position's exits follow.

Three readings, each behind its own gate, weighed once per evaluation and written to the table `exits`
where one changes. The exit regime (PATIENT to PANIC) comes from the engine's mode, the market's stress
and the loss so far: it sets how close the stop trails, how far a marketable exit reaches and whether
the stop may be swapped for a limit. It tightens and never sells: a label is no reason to leave. The
path since entry (trend, stall, reversal, vacuum) chooses a style by a table of the profile: keep, take
at a limit, leave now. An ignition entry has its own trail and time. docs/order-life.md has the tables.

Left out: carrying it out (exits.py, trailing.py, swap.py).
"""

from __future__ import annotations

from typing import Final

from engine.core.capital import present_fees
from engine.core.columns import FEATURE_INDEX
from engine.core.desk import desk_of
from engine.core.exits import (
    EXIT_COVERAGE_MISSING,
    EXIT_EMERGENCY,
    EXIT_STOP_REFUSED,
    PATH_NONE,
    PATH_REVERSAL,
    PATH_STALL,
    PATH_TREND,
    PATH_VACUUM,
    STYLE_KEEP,
    URGENCY_NORMAL,
    URGENCY_PANIC,
    URGENCY_PATIENT,
    URGENCY_URGENT,
    horizon_vol_bps,
    present_trail_factor,
    target_price,
    urgent_trail,
)
from engine.core.positions import position_row
from engine.core.records import T_EXITS
from engine.core.regime import (
    REGIME_CHAOS,
    REGIME_LOW_LIQUIDITY,
    REGIME_RANGE,
    REGIME_TREND,
)
from engine.core.rows import claim_row
from engine.events import MODE_EMERGENCY
from engine.jit import kernel
from engine.numerics import canonical, is_nan, ratio
from engine.stage import stage

_SPREAD: Final = FEATURE_INDEX["spread_bps"]
_SPREAD_MEAN: Final = FEATURE_INDEX["spread_mean_bps"]
_BIDS: Final = FEATURE_INDEX["depth_bid_25"]
_FLOW: Final = FEATURE_INDEX["flow_imbalance_1m"]
_LEAN: Final = FEATURE_INDEX["microprice_bps"]


@kernel
def exit_regime(params, mode, reason, regime, stress, loss_share):
    """URGENCY_*: patient, normal, urgent or panic.

    mode : MODE_*; reason : EXIT_* that was decided, 0 none; regime : REGIME_* of the market
    stress : float64, spread over its mean; loss_share : float64, share of the way to the initial stop
        that was lost, below 0 a gain; NAN unknown in both
    """
    if mode == MODE_EMERGENCY:
        return URGENCY_PANIC
    if reason == EXIT_EMERGENCY or reason == EXIT_STOP_REFUSED or reason == EXIT_COVERAGE_MISSING:
        return URGENCY_PANIC
    stressed = regime == REGIME_CHAOS or stress >= params["exits_stress_spread"]
    losing = loss_share >= params["exits_urgent_loss"]
    if stressed and losing:
        return URGENCY_PANIC
    if stressed or losing or regime == REGIME_LOW_LIQUIDITY:
        return URGENCY_URGENT
    calm = regime == REGIME_RANGE or regime == REGIME_TREND
    if calm and loss_share <= 0.0 and stress <= 1.0:
        return URGENCY_PATIENT
    return URGENCY_NORMAL


@kernel
def path_since_entry(params, gain_bps, best_bps, still_ns, flow, cover):
    """PATH_*: what the tape did since entry; what is not known names nothing.

    gain_bps, best_bps : float64, bid now and at its best against the entry price
    still_ns : int64, since the best bid; flow : float64, -1..1, of one minute
    cover : float64, bids within 25 bps over the value of the position
    """
    if cover < params["exits_style_depth"]:
        return PATH_VACUUM
    if best_bps >= params["exits_style_gain_bps"]:
        lost = best_bps - gain_bps
        if (
            lost >= params["exits_style_give_back"] * best_bps
            and flow <= -params["exits_style_flow"]
        ):
            return PATH_REVERSAL
        if still_ns >= params["exits_stall_ns"]:
            return PATH_STALL
    if gain_bps > 0.0 and still_ns < params["exits_stall_ns"]:
        return PATH_TREND
    return PATH_NONE


@kernel
def style_of(params, path):
    """STYLE_* that the profile has for a path."""
    if path == PATH_TREND:
        return params["exits_style_trend"]
    if path == PATH_STALL:
        return params["exits_style_stall"]
    if path == PATH_REVERSAL:
        return params["exits_style_reversal"]
    if path == PATH_VACUUM:
        return params["exits_style_vacuum"]
    return STYLE_KEEP


@kernel
def follow_target(desk, i):
    """The target again after a fill, with the new entry price; on a change of regime only lower."""
    params = desk.params
    symbol = desk.symbols[i]
    position = symbol["position"]
    bought = position["qty_bought"]
    regime = symbol["regime"]
    if position["target_hit"] != 0 or position["exit_reason"] != 0:
        return
    filled = bought != position["target_lots"]
    if not filled and regime == position["target_regime"]:
        return
    position["target_lots"] = bought
    position["target_regime"] = regime
    _, taker = present_fees(desk)
    fees_bps = ratio(position["fees"], position["bought"]) * 10_000.0 + float(taker) / 100.0
    target = target_price(
        params,
        position["entry_price"],
        fees_bps,
        horizon_vol_bps(symbol, position["horizon_ns"]),
        symbol["features"][_LEAN],
    )
    if target > 0 and (filled or position["target"] == 0 or target < position["target"]):
        if target != position["target"]:
            position["target"] = target
            position_row(desk, i)


@kernel
def exit_row(desk, i, gain_bps, best_bps, loss_share, stress, flow, cover):
    """Append one row to the table `exits`: what was read, and from what."""
    glob = desk.glob
    ring = desk.rings["exits"]
    n = claim_row(glob, T_EXITS, len(ring))
    if n < 0:
        return
    row = ring[n]
    symbol = desk.symbols[i]
    position = symbol["position"]
    row["ts"] = glob["now"]
    row["sym"] = i
    row["route"] = position["route"]
    row["urgency"] = position["urgency"]
    row["path"] = position["path"]
    row["style"] = position["style"]
    row["regime"] = symbol["regime"]
    row["ignition"] = symbol["ignition"]["state"]
    row["gain_bps"] = canonical(gain_bps)
    row["best_bps"] = canonical(best_bps)
    row["still_ns"] = glob["now"] - position["peak_ts"]
    row["loss_share"] = canonical(loss_share)
    row["stress"] = canonical(stress)
    row["flow"] = canonical(flow)
    row["cover"] = canonical(cover)
    row["trail_factor"] = canonical(position["trail_factor"])


@kernel
def weigh_position(desk, i):
    """Urgency, path and style of a position whose stop is set; a row where one of them changes."""
    glob = desk.glob
    params = desk.params
    symbol = desk.symbols[i]
    position = symbol["position"]
    features = symbol["features"]
    instrument = symbol["instrument"]
    bid = float(symbol["bid"])
    entry = position["entry_price"]
    gain_bps = (bid / entry - 1.0) * 10_000.0
    best_bps = (float(position["peak"]) / entry - 1.0) * 10_000.0
    loss_share = ratio(entry - bid, entry - float(position["stop_first"]))
    stress = ratio(features[_SPREAD], features[_SPREAD_MEAN])
    flow = features[_FLOW]
    value = float(position["qty"]) * instrument["qty_float"] * bid * instrument["price_float"]
    cover = ratio(features[_BIDS], value)
    urgency = URGENCY_NORMAL
    if params["exits_regime"] == 1:
        urgency = exit_regime(
            params, glob["mode"], position["exit_reason"], symbol["regime"], stress, loss_share
        )
    path = PATH_NONE
    if params["exits_style"] == 1:
        still_ns = glob["now"] - position["peak_ts"]
        path = path_since_entry(params, gain_bps, best_bps, still_ns, flow, cover)
    changed = path != position["path"]
    if changed:
        position["path"] = path
        position["path_ts"] = glob["now"]
    style = position["style"]
    if glob["now"] - position["path_ts"] >= params["exits_style_confirm_ns"]:
        style = style_of(params, path)
    if urgency != position["urgency"] or style != position["style"]:
        changed = True
    position["urgency"] = urgency
    position["style"] = style
    factor = present_trail_factor(params, symbol)
    more = urgent_trail(params, urgency)
    if more > 0.0:
        factor *= more
    if changed or factor != position["trail_factor"]:
        position["trail_factor"] = factor
        exit_row(desk, i, gain_bps, best_bps, loss_share, stress, flow, cover)


@stage
def weigh_exit(core, i):
    """Once per evaluation, before the guard of symbol `i`: nothing where all of it is off."""
    desk = desk_of(core)
    params = desk.params
    symbol = desk.symbols[i]
    position = symbol["position"]
    if position["qty"] == 0 or position["stop"] == 0:
        return
    if symbol["verified"] == 0 or symbol["bid"] <= 0 or is_nan(position["entry_price"]):
        return
    if params["exits_target_follow"] == 1:
        follow_target(desk, i)
    readings = params["exits_regime"] + params["exits_style"] + params["exits_ignition"]
    if readings > 0:
        weigh_position(desk, i)
