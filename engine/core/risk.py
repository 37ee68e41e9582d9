"""Is this order allowed? Pure checks on plain numbers, one function each, and the gate over them.

Each check answers (verdict, value, limit). The gate runs them in a fixed order and stops at the
first that refuses, so that the decision row names one check with its value and limit. A missing
input is a veto. HALT means: no entries at all for now (loss of the day, drawdown). Left out: the
mode and data gates of the choke (safety.py), and how large an order should be (capital.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.capital import (
    HOUR_NS,
    losses_since,
    present_fees,
    sizing_equity,
    symbol_value,
)
from engine.core.caps import CAP_CONCENTRATION, CAP_FAMILY, run_caps
from engine.core.desk import desk_of
from engine.core.lanes import CONFLICT_CORRELATED, CONFLICT_OPPOSED
from engine.core.modes import take_mode
from engine.core.orders import count_working
from engine.core.positions import value_at
from engine.core.records import (
    ALLOW,
    CONFLICT_LANE,
    EXPOSURE_CAP,
    HALT,
    INVENTORY_CAP,
    LOSS_THROTTLE,
    OK,
    ORDER_IN_FLIGHT,
    RATE_LIMIT,
    RISK_VETO,
    VETO,
)
from engine.core.throttle import throttle_step
from engine.events import MODE_EXIT_ONLY, MODE_NORMAL, MODE_REDUCED, WHO_ENGINE, WHY_LOSS
from engine.jit import kernel
from engine.numerics import canonical, ratio
from engine.stage import stage
from engine.units import RATE_SCALE

RISK_NONE: Final = 0
RISK_INPUT_MISSING: Final = 1
RISK_DAILY_LOSS: Final = 2
RISK_DRAWDOWN: Final = 3
RISK_LOSS_THROTTLE: Final = 4
RISK_ORDERS_PER_MINUTE: Final = 5
RISK_OPEN_ORDERS: Final = 6
RISK_ORDER_VALUE: Final = 7
RISK_SYMBOL_VALUE: Final = 8
RISK_EXPOSURE: Final = 9
RISK_PRICE_BAND: Final = 10

RISK_NAMES: Final[dict[int, str]] = {
    RISK_NONE: "none",
    RISK_INPUT_MISSING: "input_missing",
    RISK_DAILY_LOSS: "daily_loss",
    RISK_DRAWDOWN: "drawdown",
    RISK_LOSS_THROTTLE: "loss_throttle",
    RISK_ORDERS_PER_MINUTE: "orders_per_minute",
    RISK_OPEN_ORDERS: "open_orders",
    RISK_ORDER_VALUE: "order_value",
    RISK_SYMBOL_VALUE: "symbol_value",
    RISK_EXPOSURE: "exposure",
    RISK_PRICE_BAND: "price_band",
    CAP_FAMILY: "family",
    CAP_CONCENTRATION: "concentration",
    CONFLICT_OPPOSED: "opposed",
    CONFLICT_CORRELATED: "correlated",
}

# The reason code that a refusal by each check puts into the decision row.
RISK_REASONS: Final = np.array(
    [
        OK,
        RISK_VETO,
        LOSS_THROTTLE,
        LOSS_THROTTLE,
        LOSS_THROTTLE,
        RATE_LIMIT,
        ORDER_IN_FLIGHT,
        RISK_VETO,
        INVENTORY_CAP,
        EXPOSURE_CAP,
        RISK_VETO,
        EXPOSURE_CAP,
        INVENTORY_CAP,
        CONFLICT_LANE,
        CONFLICT_LANE,
    ],
    np.int64,
)

MINUTE_NS: Final = 60_000_000_000


@kernel
def at_most(value, limit, refusal):
    """(ALLOW or `refusal`, value, limit): a NaN on either side refuses."""
    return (ALLOW if value <= limit else refusal), canonical(value), canonical(limit)


@kernel
def check_order_value(value, value_max):
    """Value of one order against its cap; int64 money."""
    return at_most(float(value), float(value_max), VETO)


@kernel
def check_symbol_value(value, equity, share_max):
    """Money in one symbol, this order included, as a share of equity."""
    return at_most(ratio(value, equity), share_max, VETO)


@kernel
def check_exposure(value, equity, share_max):
    """Money in all positions and resting entries, this order included, as a share of equity."""
    return at_most(ratio(value, equity), share_max, VETO)


@kernel
def check_open_orders(n_working, n_max):
    """Working orders, this one included."""
    return at_most(float(n_working), float(n_max), VETO)


@kernel
def check_daily_loss(day_equity, equity, share_max):
    """Loss since the UTC day began as a share of equity then: at the limit no entries at all."""
    loss = ratio(day_equity - equity, day_equity)
    verdict = ALLOW if loss < share_max else HALT
    return verdict, canonical(loss), canonical(share_max)


@kernel
def check_drawdown(peak, equity, share_max):
    """Fall from the highest equity as a share of it: at the limit no entries at all."""
    fall = ratio(peak - equity, peak)
    verdict = ALLOW if fall < share_max else HALT
    return verdict, canonical(fall), canonical(share_max)


@kernel
def check_orders_per_minute(n_recent, n_max):
    """Entries in the last 60 s, this one included."""
    return at_most(float(n_recent), float(n_max), VETO)


@kernel
def check_price_band(price, mid_half_ticks, bps_max):
    """Distance of the limit price from mid, either way, in bps."""
    distance = ratio(abs(2 * price - mid_half_ticks) * 10_000, mid_half_ticks)
    return at_most(distance, bps_max, VETO)


@kernel
def check_loss_throttle(lost, equity, share):
    """Money lost in trades closed within the hour: at twice the halving limit entries stop."""
    loss = ratio(lost, equity)
    limit = 2.0 * share
    verdict = ALLOW if loss < limit else VETO
    return verdict, canonical(loss), canonical(limit)


@kernel
def check_throttle_step(step, n_steps):
    """Step of the ladder of losses: on the last one no entries at all."""
    return ALLOW if step < n_steps else HALT, float(step), float(n_steps)


@kernel
def entries_since(glob, ts):
    """Entries sent after `ts` (of the newest ones that the ring holds)."""
    n = min(glob["n_entries"], len(glob["entries_ts"]))
    count = 0
    for k in range(n):
        if glob["entries_ts"][k] > ts:
            count += 1
    return count


@kernel
def input_missing(desk, i, price, qty):
    """Is anything unknown that the checks need: a price, a book, equity, a fee schedule?"""
    glob = desk.glob
    symbol = desk.symbols[i]
    _, taker = present_fees(desk)
    return (
        price <= 0
        or qty <= 0
        or symbol["bid"] <= 0
        or symbol["ask"] <= 0
        or glob["equity"] <= 0
        or glob["day_equity"] <= 0
        or glob["peak"] <= 0
        or taker >= RATE_SCALE
    )


@stage
def run_checks(desk, i, price, qty):
    """`risk_gate` on a desk."""
    glob = desk.glob
    params = desk.params
    symbol = desk.symbols[i]
    if input_missing(desk, i, price, qty):
        return VETO, RISK_INPUT_MISSING, 0.0, 0.0
    equity = sizing_equity(desk)
    added = value_at(symbol["instrument"], price, qty)
    verdict, value, limit = check_daily_loss(
        glob["day_equity"], glob["equity"], params["risk_daily_loss_max"]
    )
    if verdict != ALLOW:
        return verdict, RISK_DAILY_LOSS, value, limit
    verdict, value, limit = check_drawdown(
        glob["peak"], glob["equity"], params["risk_drawdown_max"]
    )
    if verdict != ALLOW:
        return verdict, RISK_DRAWDOWN, value, limit
    if params["risk_throttle_steps"] > 0:
        step = throttle_step(glob, params, equity)
        verdict, value, limit = check_throttle_step(step, params["risk_throttle_steps"])
    else:
        lost = losses_since(glob, glob["now"] - HOUR_NS)
        verdict, value, limit = check_loss_throttle(lost, equity, params["risk_throttle_loss_1h"])
    if verdict != ALLOW:
        return verdict, RISK_LOSS_THROTTLE, value, limit
    # The ring remembers so many entries; a limit beyond it could not be seen to be reached.
    n_max = min(params["risk_orders_per_minute"], len(glob["entries_ts"]) - 1)
    recent = entries_since(glob, glob["now"] - MINUTE_NS) + 1
    verdict, value, limit = check_orders_per_minute(recent, n_max)
    if verdict != ALLOW:
        return verdict, RISK_ORDERS_PER_MINUTE, value, limit
    n_working, _ = count_working(desk)
    verdict, value, limit = check_open_orders(n_working + 1, params["risk_open_orders_max"])
    if verdict != ALLOW:
        return verdict, RISK_OPEN_ORDERS, value, limit
    verdict, value, limit = check_order_value(added, params["capital_order_max"])
    if verdict != ALLOW:
        return verdict, RISK_ORDER_VALUE, value, limit
    in_symbol = symbol_value(desk, i) + added
    verdict, value, limit = check_symbol_value(in_symbol, equity, params["risk_symbol_max"])
    if verdict != ALLOW:
        return verdict, RISK_SYMBOL_VALUE, value, limit
    verdict, value, limit = check_exposure(
        glob["exposure"] + added, equity, params["risk_exposure_max"]
    )
    if verdict != ALLOW:
        return verdict, RISK_EXPOSURE, value, limit
    verdict, value, limit = check_price_band(
        price, symbol["bid"] + symbol["ask"], params["risk_price_band_bps"]
    )
    if verdict != ALLOW:
        return verdict, RISK_PRICE_BAND, value, limit
    return ALLOW, RISK_NONE, 0.0, 0.0


@kernel
def risk_gate(core, i, price, qty):
    """The last veto before planning an entry of `qty` lots at `price` ticks in symbol `i`.

    Needs `update_capital` on the present state. Orders already sent count as if filled.
    returns (verdict ALLOW, VETO or HALT; RISK_* check that decided, RISK_NONE if none;
    its value, its limit as float64)
    """
    return run_checks(desk_of(core), i, price, qty)


@kernel
def cap_gate(core, i, price, qty, route):
    """The caps across symbols and families, asked after `risk_gate`; answers as it does."""
    return run_caps(desk_of(core), i, price, qty, route)


@kernel
def settle_throttle(core):
    """The last step of the ladder of losses ends entries: EXIT_ONLY, until an operator says otherwise.

    Call once per evaluation. It tightens only, and leaves the stricter modes alone.
    """
    desk = desk_of(core)
    glob = desk.glob
    n_steps = desk.params["risk_throttle_steps"]
    if n_steps == 0 or (glob["mode"] != MODE_NORMAL and glob["mode"] != MODE_REDUCED):
        return
    if throttle_step(glob, desk.params, sizing_equity(desk)) >= n_steps:
        take_mode(desk, MODE_EXIT_ONLY, WHO_ENGINE, WHY_LOSS)


@kernel
def risk_reason(check):
    """The reason code (records.py) of a refusal by RISK_* `check`."""
    return RISK_REASONS[check]
