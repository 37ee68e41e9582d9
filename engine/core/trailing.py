"""How does a stop follow the price: how far, from when on, and who moves it, we or the venue?

With `exits.trail_native` off the core moves a plain stop by amends (protection.py). With it on, a
position gets a trailing stop in place of the plain one, at the same place: the venue lets its trigger
follow the best trade at a fixed distance, also while nobody amends. Kraken cannot change the type of
an order, but it can change the distance in place; so there is one order from first fill to flat, never
two sells and no moment without one. Trail, target and advice only make the distance smaller.

The trigger that stands in our table is worked out from the trades that we hear and corrected by what
the venue tells. A venue that refuses the order gets the plain stop instead; one that refuses another
distance keeps the one it has. docs/decisions/0017-a-stop-that-follows-at-the-venue.md says why.

Left out: when to ask (protection.py), what an answer means (orders.py).
"""

from __future__ import annotations

from engine.commands import AMEND, TRAILING_STOP
from engine.core.capital import present_fees
from engine.core.columns import FEATURE_INDEX
from engine.core.exits import (
    EXIT_ADVICE,
    EXIT_STOP,
    EXIT_TARGET,
    EXIT_TRAIL,
    EXIT_URGENCY,
    STYLE_TRAIL,
    horizon_vol_bps,
    present_trail_factor,
    trail_width_bps,
    urgent_trail,
)
from engine.core.records import OK
from engine.core.routestate import HOLD, TIGHTEN
from engine.core.safety import emit
from engine.core.trailed import TRAIL_REFUSALS_MAX
from engine.jit import kernel
from engine.numerics import floor_int, ratio

_ATR = FEATURE_INDEX["atr_bps"]
_HOUR_NS = 3.6e12


@kernel
def trail_distance_bps(desk, i, factor):
    """How far a stop of symbol `i` would trail now. factor : float64, of k"""
    symbol = desk.symbols[i]
    position = symbol["position"]
    _, taker = present_fees(desk)
    fees_bps = ratio(position["fees"], position["bought"]) * 10_000.0 + float(taker) / 100.0
    vol_bps = horizon_vol_bps(symbol, position["horizon_ns"])
    return trail_width_bps(desk.params, symbol["features"][_ATR], vol_bps, fees_bps, factor)


@kernel
def step_ticks(params, price):
    """The smallest move of a stop that is worth an amend, in ticks."""
    return max(floor_int(float(price) * params["exits_trail_step_bps"] / 10_000.0), 1)


@kernel
def may_move(desk, i):
    """Is there an amend left for a trailing step? At most `exits.trail_amends_hour` of the symbol at
    once, and the same number comes back within an hour; 0: any number. The step to the target is free.
    """
    n = desk.params["exits_trail_amends_hour"]
    if n == 0:
        return True
    position = desk.symbols[i]["position"]
    passed = float(desk.glob["now"] - position["trail_used_ts"])
    return max(position["trail_used"] - passed * float(n) / _HOUR_NS, 0.0) + 1.0 <= float(n)


@kernel
def count_move(desk, i):
    """One trailing step left."""
    n = desk.params["exits_trail_amends_hour"]
    position = desk.symbols[i]["position"]
    now = desk.glob["now"]
    position["trail_ts"] = now
    if n > 0:
        passed = float(now - position["trail_used_ts"])
        left = max(position["trail_used"] - passed * float(n) / _HOUR_NS, 0.0)
        position["trail_used"] = left + 1.0
        position["trail_used_ts"] = now


@kernel
def trail_begins(params, position, peak):
    """Is the gain there from which the stop trails, or does the style ask for it whatever the gain?"""
    gain_bps = (float(peak) / position["entry_price"] - 1.0) * 10_000.0
    return gain_bps >= params["exits_trail_start_bps"] or position["style"] == STYLE_TRAIL


@kernel
def urgent_level(desk, i):
    """Where urgency wants the stop, int64 ticks, 0: nowhere. So far below the bid as it is now, not below
    the peak: a market that is under stress pulls the stop up, and does not by itself sell."""
    params = desk.params
    symbol = desk.symbols[i]
    more = urgent_trail(params, symbol["position"]["urgency"])
    if more == 0.0:
        return 0
    width = trail_distance_bps(desk, i, more * present_trail_factor(params, symbol))
    return floor_int(float(symbol["bid"]) * (1.0 - width / 10_000.0))


@kernel
def gap_ticks(price, distance_bps):
    """A distance from `price` in ticks, rounded up: never nearer than asked. int64, >= 1"""
    return max(-floor_int(-float(price) * distance_bps / 10_000.0), 1)


@kernel
def trailing_slot(desk, position):
    """Slot of the position's trailing stop while it waits for its trigger, -1 if there is none."""
    slot = position["stop_slot"] - 1
    if slot < 0:
        return -1
    order = desk.orders[slot]
    if order["type"] != TRAILING_STOP or order["triggered"] != 0:
        return -1
    return slot


@kernel
def trailing_start(desk, i):
    """Distance in ticks at which a trailing stop placed now stands where the stop is wanted; 0: place
    the plain one.

    The venue counts from the last trade. Where that is below the wanted stop, or so near that the
    stop would from now on follow more closely than its policy wants, only the plain stop is right.
    """
    params = desk.params
    symbol = desk.symbols[i]
    position = symbol["position"]
    if params["exits_trail_native"] == 0 or position["trail_off"] != 0:
        return 0
    gap = symbol["trade_price"] - position["stop"]
    if gap < 1:
        return 0
    if gap + step_ticks(params, position["stop"]) < position["trail_gap"]:
        return 0
    return gap


@kernel
def follow_trades(desk, i, slot):
    """What the venue does by itself: a trade above the peak takes the trigger along.

    Before its acknowledgement the stop is nowhere. An estimate from below: trades that we did not
    hear are told by the venue (orders.note_trailed).
    """
    symbol = desk.symbols[i]
    position = symbol["position"]
    order = desk.orders[slot]
    if order["ts_acked"] == 0:
        return
    order["trigger"] = max(order["trigger"], symbol["trade_price"] - order["price"])
    if order["trigger"] > position["stop"]:
        position["stop"] = order["trigger"]
        if position["stop_reason"] == EXIT_STOP:
            position["stop_reason"] = EXIT_TRAIL


@kernel
def tighten_trail(desk, i):
    """Make the wanted distance smaller where trail, target or advice say so. Never wider.

    The trail takes its distance once, when it begins: the venue keeps it from there.
    """
    params = desk.params
    symbol = desk.symbols[i]
    position = symbol["position"]
    peak = position["peak"]
    gap = position["trail_gap"]
    reason = position["stop_reason"]
    wanted = gap
    if position["target_hit"] != 0:
        wanted = step_ticks(params, peak)
        reason = EXIT_TARGET
    elif position["trail_armed"] == 0 and trail_begins(params, position, peak):
        position["trail_armed"] = 1
        factor = present_trail_factor(params, symbol)
        wanted = gap_ticks(peak, trail_distance_bps(desk, i, factor))
        reason = EXIT_TRAIL
    elif position["trail_armed"] != 0 and params["exits_ignition"] == 1:
        # Its distance was taken when it began; an ignition that cooled since makes it smaller.
        factor = present_trail_factor(params, symbol)
        wanted = min(gap, gap_ticks(peak, trail_distance_bps(desk, i, factor)))
        reason = EXIT_TRAIL
    level = urgent_level(desk, i)
    if level > 0 and peak - level < wanted:
        wanted = peak - level
        reason = EXIT_URGENCY
    if params["exits_advice"] == 1 and position["advice"] != HOLD:
        # TIGHTEN trails as closely as a trail may; TAKE and LEAVE as closely as a target does.
        close = step_ticks(params, peak)
        if position["advice"] == TIGHTEN:
            close = gap_ticks(peak, params["exits_trail_min_bps"])
        if close < wanted:
            wanted = close
            reason = EXIT_ADVICE
    if wanted < gap:
        position["trail_gap"] = wanted
        position["stop_reason"] = reason


@kernel
def adjust_trail(desk, i, slot, qty):
    """Amend the distance where the stop should stand at least a step higher than it does.

    The best price is the lower of the best trade and the best bid: a bid that nobody traded at would
    pull the stop up, and the trade that follows would pull it up again. qty : total of the order
    """
    params = desk.params
    symbol = desk.symbols[i]
    position = symbol["position"]
    order = desk.orders[slot]
    now = desk.glob["now"]
    if position["trail_gap"] == 0 or position["trail_refused"] >= TRAIL_REFUSALS_MAX:
        return
    peak = order["trigger"] + order["price"]
    level = min(peak, position["peak"]) - position["trail_gap"]
    # Below the last trade, which it must not meet, and below the bid.
    level = min(level, min(symbol["trade_price"], symbol["bid"]) - 1)
    if level - order["trigger"] < step_ticks(params, level):
        return
    # The step to the target does not wait its turn; all later ones do.
    first = position["stop_reason"] == EXIT_TARGET and order["reason"] != EXIT_TARGET
    waited = now - position["trail_ts"] >= params["exits_trail_interval_ns"]
    if first or (waited and may_move(desk, i)):
        if emit(desk, AMEND, slot, peak - level, level, qty, position["stop_reason"]) == OK:
            count_move(desk, i)
