"""When and how is a position left? The exit policy, the reasons, and the marketable exit.

The policy (stop, target, time) is fixed at the first fill and only tightened afterwards. There is
one resting sell per position: the stop. The target is watched here; by default it pulls the stop
up below the trading price, so that no moment is uncovered. A marketable exit is a limit through
the book, immediate or cancel, with a bound that doubles per try, then a market order; it leaves
only after the stop is gone, because both would claim the same coins.

Left out: the stop's own life (protection.py), what the tape and the market make of the policy
(urgency.py), the swap for a resting limit (swap.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.commands import ADD, IOC, LIMIT, MARKET, ROLE_EXIT, ROLE_FLATTEN
from engine.core.capital import present_fees
from engine.core.columns import FEATURE_INDEX, WINDOW_SUFFIXES, WINDOWS_S
from engine.core.desk import desk_of
from engine.core.ignition import IGNITION_COOLDOWN, IGNITION_EXPANSION
from engine.core.orders import N_LIMIT_TRIES, RETRY_NS, new_order
from engine.core.orderstates import ORDER_STATE_SUSPECT, is_settled
from engine.core.positions import EXIT_DUST, EXIT_GHOST, position_row, sellable
from engine.core.records import OK, RECONCILE_PENDING
from engine.core.regime import (
    REGIME_CHAOS,
    REGIME_HIGH_VOLATILITY,
    REGIME_LOW_LIQUIDITY,
    REGIME_RANGE,
    REGIME_TREND,
)
from engine.core.routes import FAMILY_IGNITION, route_family
from engine.core.safety import ask_cancel, emit, exit_refusal
from engine.core.trailed import TRAIL_REFUSALS_MAX
from engine.events import MODE_EMERGENCY
from engine.jit import kernel
from engine.numerics import NAN, clip, floor_int, is_nan, ratio, sqrt

# Why a position was left, or what a fill of the resting stop means. Apart from the reason codes
# of records.py, so that COMMAND.reason can carry either.
EXIT_STOP: Final = 101
EXIT_TRAIL: Final = 102
EXIT_TARGET: Final = 103
EXIT_TIME: Final = 104
EXIT_STOP_REFUSED: Final = 105
EXIT_COVERAGE_MISSING: Final = 106
EXIT_EMERGENCY: Final = 107
EXIT_OPERATOR: Final = 108
EXIT_ADVICE: Final = 115  # the stop was pulled up by the advice of the route
EXIT_URGENCY: Final = 116  # ... by the exit regime (urgency.py)
EXIT_STYLE: Final = 117  # the style that the tape since entry asks for

EXIT_NAMES: Final[dict[int, str]] = {
    EXIT_STOP: "stop",
    EXIT_TRAIL: "trail",
    EXIT_TARGET: "target",
    EXIT_TIME: "time",
    EXIT_STOP_REFUSED: "stop_refused",
    EXIT_COVERAGE_MISSING: "coverage_missing",
    EXIT_EMERGENCY: "emergency",
    EXIT_OPERATOR: "operator",
    EXIT_ADVICE: "advice",
    EXIT_URGENCY: "urgency",
    EXIT_STYLE: "style",
    EXIT_DUST: "dust",
    EXIT_GHOST: "ghost",
}

TARGET_TIGHTEN: Final = 0
TARGET_SELL: Final = 1
TARGET_SWAP: Final = 2  # the stop for a post-only limit, where it is calm (swap.py)

# How forceful exits are (urgency.py); 0 is also what holds while nobody reads it.
URGENCY_NORMAL: Final = 0
URGENCY_PATIENT: Final = 1
URGENCY_URGENT: Final = 2
URGENCY_PANIC: Final = 3
URGENCY_NAMES: Final[dict[int, str]] = {
    URGENCY_NORMAL: "normal",
    URGENCY_PATIENT: "patient",
    URGENCY_URGENT: "urgent",
    URGENCY_PANIC: "panic",
}

# What the tape did since entry, and what a profile makes of it.
PATH_NONE: Final = 0
PATH_TREND: Final = 1  # in profit, and the best bid is young
PATH_STALL: Final = 2  # was in profit, no better bid for long
PATH_REVERSAL: Final = 3  # gave back of its best, and sellers take
PATH_VACUUM: Final = 4  # few bids left for what we hold
PATH_NAMES: Final[dict[int, str]] = {
    PATH_NONE: "none",
    PATH_TREND: "trend",
    PATH_STALL: "stall",
    PATH_REVERSAL: "reversal",
    PATH_VACUUM: "vacuum",
}
STYLE_KEEP: Final = 0  # the policy as it is
STYLE_TRAIL: Final = 1  # trail from now on, whatever the gain
STYLE_TAKE: Final = 2  # swap the stop for a limit at the ask, where that pays the fees
STYLE_LEAVE: Final = 3  # sell now
STYLE_NAMES: Final[dict[int, str]] = {
    STYLE_KEEP: "keep",
    STYLE_TRAIL: "trail",
    STYLE_TAKE: "take",
    STYLE_LEAVE: "leave",
}

_SECOND_NS: Final = 1_000_000_000
_WINDOWS_NS: Final = np.array(WINDOWS_S, np.int64) * _SECOND_NS
_LEAN: Final = FEATURE_INDEX["microprice_bps"]
_VOL: Final = np.array([FEATURE_INDEX[f"vol_bps_{each}"] for each in WINDOW_SUFFIXES], np.int64)


@kernel
def horizon_vol_bps(symbol, horizon_ns):
    """Realised volatility over a horizon in bps, NAN if unknown: that of the nearest window from
    above, scaled by the square root of time where no window is as long as the horizon.

    symbol : SYMBOL record with features; horizon_ns : int64, ns, > 0
    """
    n = len(_WINDOWS_NS)
    k = 0
    while k < n - 1 and _WINDOWS_NS[k] < horizon_ns:
        k += 1
    vol = symbol["features"][_VOL[k]]
    if is_nan(vol) or horizon_ns <= 0:
        return NAN
    return vol * sqrt(float(horizon_ns) / float(_WINDOWS_NS[k]))


@kernel
def stop_distance_bps(params, vol_bps, invalidation_bps):
    """Distance of the initial stop: the larger of k x volatility and what disproves the thesis, held
    between its bounds; unknown volatility and invalidation give the widest.

    vol_bps, invalidation_bps : float64, NAN unknown; the second model walks by the same
    """
    distance = 0.0
    if not is_nan(vol_bps):
        distance = params["exits_stop_vol_multiple"] * vol_bps
    if not is_nan(invalidation_bps) and invalidation_bps > distance:
        distance = invalidation_bps
    if distance <= 0.0:
        distance = params["exits_stop_max_bps"]
    return clip(distance, params["exits_stop_min_bps"], params["exits_stop_max_bps"])


@kernel
def stop_price(params, entry_price, vol_bps, invalidation_bps):
    """Trigger of the initial stop: `stop_distance_bps` below entry. entry_price : float64, ticks

    returns int64, ticks, at least 1
    """
    distance = stop_distance_bps(params, vol_bps, invalidation_bps)
    return max(floor_int(entry_price * (1.0 - distance / 10_000.0)), 1)


@kernel
def target_gain_bps(params, fees_bps, vol_bps, lean_bps):
    """Gain at which it is taken: both fees, slippage, buffer and k x volatility; NAN if unknown.

    fees_bps : float64, entry and exit fee together; the exit takes
    lean_bps : float64, microprice - mid, NAN unknown: where the queues at the touch say that the price
        goes next pulls the target (`exits.target_pull`), never below the other three
    """
    more = params["exits_target_vol_multiple"] * vol_bps
    pull = params["exits_target_pull"]
    if pull > 0.0 and not is_nan(lean_bps):
        more = max(more + pull * lean_bps, 0.0)
    return fees_bps + params["costs_slippage_residual_bps"] + params["costs_buffer_bps"] + more


@kernel
def target_price(params, entry_price, fees_bps, vol_bps, lean_bps):
    """Price at which the gain is taken, int64, ticks, rounded up; 0 (no target) where volatility or
    fees are unknown."""
    if is_nan(vol_bps) or is_nan(fees_bps):
        return 0
    gain = target_gain_bps(params, fees_bps, vol_bps, lean_bps)
    return -floor_int(-entry_price * (1.0 + gain / 10_000.0))


@kernel
def is_ignition_trip(params, position):
    """Was this position opened by the ignition family, and has that family exits of its own?"""
    if params["ignition_enabled"] == 0 or params["exits_ignition"] == 0:
        return False
    return route_family(position["route"]) == FAMILY_IGNITION


@kernel
def regime_factor(params, regime):
    """What the kind of market makes of k; 1 by default in each of them."""
    if regime == REGIME_RANGE:
        return params["exits_trail_range"]
    if regime == REGIME_TREND:
        return params["exits_trail_trend"]
    if regime == REGIME_HIGH_VOLATILITY:
        return params["exits_trail_high_volatility"]
    if regime == REGIME_LOW_LIQUIDITY:
        return params["exits_trail_low_liquidity"]
    if regime == REGIME_CHAOS:
        return params["exits_trail_chaos"]
    return 1.0


@kernel
def present_trail_factor(params, symbol):
    """What k is multiplied by now: kind of market, patience, and of an ignition entry its state."""
    position = symbol["position"]
    factor = regime_factor(params, symbol["regime"])
    if position["urgency"] == URGENCY_PATIENT:
        factor *= params["exits_patient_trail"]
    if is_ignition_trip(params, position):
        state = symbol["ignition"]["state"]
        if state == IGNITION_EXPANSION:
            factor *= params["exits_ignition_wide"]
        elif state == IGNITION_COOLDOWN:
            factor *= params["exits_ignition_tight"]
    return factor


@kernel
def urgent_trail(params, urgency):
    """What k is multiplied by for a stop that is pulled up because exits are urgent; 0 they are not."""
    if urgency == URGENCY_URGENT:
        return params["exits_urgent_trail"]
    if urgency == URGENCY_PANIC:
        return params["exits_panic_trail"]
    return 0.0


@kernel
def trail_width_bps(params, atr_bps, vol_bps, fees_bps, factor):
    """Distance of the trailing stop from the best price: k x ATR, not below both fees, bounded.

    factor : float64, of k
    atr_bps : float64, NAN with too few candles: then volatility over the horizon is the next best
    measure of a range; without either the widest
    """
    span = vol_bps if is_nan(atr_bps) else atr_bps
    if is_nan(span):
        return params["exits_trail_max_bps"]
    distance = params["exits_trail_atr_multiple"] * span * factor
    if fees_bps > distance:
        distance = fees_bps
    return clip(distance, params["exits_trail_min_bps"], params["exits_trail_max_bps"])


@kernel
def set_policy(desk, i):
    """Fix stop, target and time exit of a fresh position from its mandate and present volatility."""
    params = desk.params
    symbol = desk.symbols[i]
    position = symbol["position"]
    vol_bps = horizon_vol_bps(symbol, position["horizon_ns"])
    _, taker = present_fees(desk)
    fees_bps = ratio(position["fees"], position["bought"]) * 10_000.0 + float(taker) / 100.0
    entry = position["entry_price"]
    position["stop"] = stop_price(params, entry, vol_bps, position["invalidation_bps"])
    position["stop_first"] = position["stop"]
    position["stop_reason"] = EXIT_STOP
    lean_bps = symbol["features"][_LEAN]
    position["target"] = target_price(params, entry, fees_bps, vol_bps, lean_bps)
    position["target_lots"] = position["qty_bought"]
    position["target_regime"] = symbol["regime"]
    multiple = params["exits_time_multiple"]
    if is_ignition_trip(params, position):
        multiple = min(multiple, params["exits_ignition_time_multiple"])
    hold_s = float(position["horizon_ns"]) / 1.0e9 * multiple
    position["time_exit_ts"] = position["opened_ts"] + floor_int(hold_s * 1.0e9)
    position_row(desk, i)


@kernel
def want_exit(desk, i, reason, role):
    """`request_exit` on a desk."""
    position = desk.symbols[i]["position"]
    if position["qty"] == 0:
        return
    if role == ROLE_FLATTEN or position["exit_role"] == 0:
        position["exit_role"] = role
    if position["exit_reason"] == 0:
        position["exit_reason"] = reason
        position["swap"] = 0
        position["guarded"] = 1
        position_row(desk, i)


@kernel
def decide_exit(desk, i):
    """Is there a reason to leave now that does not wait for the resting stop?"""
    glob = desk.glob
    params = desk.params
    symbol = desk.symbols[i]
    position = symbol["position"]
    now = glob["now"]
    if position["exit_reason"] != 0:
        return
    if glob["mode"] == MODE_EMERGENCY:
        want_exit(desk, i, EXIT_EMERGENCY, ROLE_EXIT)
    elif position["n_refused"] >= 2:
        want_exit(desk, i, EXIT_STOP_REFUSED, ROLE_EXIT)
    elif (
        glob["reconcile"] == 0  # its stop may well rest; the clock begins anew when that is known
        and position["uncovered_ts"] > 0
        and now - position["uncovered_ts"] > params["exits_unprotected_max_ns"]
    ):
        want_exit(desk, i, EXIT_COVERAGE_MISSING, ROLE_EXIT)
    elif now >= position["time_exit_ts"]:
        want_exit(desk, i, EXIT_TIME, ROLE_EXIT)
    elif position["target_hit"] != 0 and (
        params["exits_target_style"] == TARGET_SELL
        # A trailing stop that the venue will not pull up to the target.
        or position["trail_refused"] >= TRAIL_REFUSALS_MAX
    ):
        want_exit(desk, i, EXIT_TARGET, ROLE_EXIT)
    elif position["style"] == STYLE_LEAVE:
        want_exit(desk, i, EXIT_STYLE, ROLE_EXIT)
    elif position["stop_slot"] == 0 and 0 < symbol["bid"] <= position["stop"]:
        # The price went through the stop before it could rest: no trigger would be honest.
        want_exit(desk, i, position["stop_reason"], ROLE_EXIT)


@kernel
def exit_limit(params, bid, n_tries, urgency):
    """Limit price of a marketable sell: below the bid by the slippage bound, doubled per try.

    bid : int64, ticks, > 0; n_tries : int64, tries before this one; returns int64, ticks, >= 1
    """
    bound = params["exits_slippage_bps"]
    if urgency == URGENCY_PATIENT:
        bound *= params["exits_patient_slippage"]
    elif urgency == URGENCY_URGENT:
        bound *= params["exits_urgent_slippage"]
    elif urgency == URGENCY_PANIC:
        bound *= params["exits_panic_slippage"]
    for _ in range(n_tries):
        bound *= 2.0
    return max(floor_int(float(bid) * (1.0 - bound / 10_000.0)), 1)


@kernel
def send_exit(desk, i):
    """Sell all that the position holds: a bounded limit, or a market order after enough tries."""
    symbol = desk.symbols[i]
    position = symbol["position"]
    bid = symbol["bid"]
    type_ = MARKET
    price = 0
    if bid > 0 and position["n_exit_tries"] < N_LIMIT_TRIES:
        type_ = LIMIT
        price = exit_limit(desk.params, bid, position["n_exit_tries"], position["urgency"])
    slot = new_order(
        desk,
        i,
        position["exit_role"],
        -1,
        type_,
        IOC,
        0,
        price,
        0,
        sellable(position),
        0,
        position["route"],
    )
    if slot < 0 or emit(desk, ADD, slot, 0, 0, 0, position["exit_reason"]) != OK:
        position["retry_ts"] = desk.glob["now"] + RETRY_NS


@kernel
def drive_exit(desk, i):
    """Carry a decided exit one step further. False: it cannot go now, so keep the stop alive.

    Steps: cancel the working entry, cancel the resting stop, then sell; each waits for the
    answer to the one before.
    """
    symbol = desk.symbols[i]
    position = symbol["position"]
    reason = position["exit_reason"]
    if position["entry_slot"] > 0:
        ask_cancel(desk, position["entry_slot"] - 1, reason)
    if position["exit_slot"] > 0:
        slot = position["exit_slot"] - 1
        order = desk.orders[slot]
        if order["state"] == ORDER_STATE_SUSPECT or order["post_only"] != 0:
            ask_cancel(desk, slot, reason)  # in doubt, or the limit of a swap that is over
        return True
    refusal = exit_refusal(desk, i, position["exit_role"])
    refused = refusal != OK
    if position["stop_slot"] > 0:
        slot = position["stop_slot"] - 1
        order = desk.orders[slot]
        if order["triggered"] != 0:
            return True  # it is a market order by now
        if refused or (symbol["verified"] == 0 and is_settled(order["state"])):
            return False  # nothing could replace it
        ask_cancel(desk, slot, reason)
        return True
    if refused:
        waited = desk.glob["now"] - desk.glob["reconcile_ts"]
        # Soon we know what is there to sell; if not, it gets its stop meanwhile.
        return refusal == RECONCILE_PENDING and waited < desk.params["reconcile_exit_wait_ns"]
    if desk.glob["now"] >= position["retry_ts"]:
        send_exit(desk, i)
    return True


@kernel
def request_exit(core, i, reason, role):
    """Decide to leave the position of symbol `i`; the next guard carries it out.

    reason : EXIT_*; role : ROLE_EXIT, or ROLE_FLATTEN where an operator asked. The first reason
    stands; an operator's role is added to an exit that is under way.
    """
    want_exit(desk_of(core), i, reason, role)
