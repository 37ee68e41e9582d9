"""Is a move about to start, starting, running or over? A state machine on minute closes.

DORMANT, COMPRESSION, IGNITION, EXPANSION, COOLDOWN; thresholds to enter and to leave differ, and a
state is held for a while. The measures are taken once per minute from the full candles. Which family
may trade in which state stands in `ignition_allows` of the parameters, and only while
`ignition.enabled`. Formulas: docs/formulas-market.md.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.columns import FEATURE_INDEX
from engine.core.records import T_IGNITION
from engine.core.rows import claim_row
from engine.core.tape import (
    B_BUY,
    B_SELL,
    C_CLOSE,
    C_HIGH,
    C_LOW,
    C_NOTIONAL,
    C_OPEN,
    C_TRADES,
    CANDLES,
    I_1M,
    SECOND_NS,
    window_sum,
)
from engine.jit import kernel
from engine.numerics import NAN, canonical, ratio, sqrt

IGNITION_DORMANT: Final = 0
IGNITION_COMPRESSION: Final = 1
IGNITION_IGNITION: Final = 2
IGNITION_EXPANSION: Final = 3
IGNITION_COOLDOWN: Final = 4
N_IGNITION: Final = 5
IGNITION_NAMES: Final[dict[int, str]] = {
    IGNITION_DORMANT: "DORMANT",
    IGNITION_COMPRESSION: "COMPRESSION",
    IGNITION_IGNITION: "IGNITION",
    IGNITION_EXPANSION: "EXPANSION",
    IGNITION_COOLDOWN: "COOLDOWN",
}

RANGE_BARS: Final = 15
BURST_BARS: Final = 60
STEP_BARS: Final = 5
_SQRT_10: Final = 3.1622776601683795  # sqrt(2 x STEP_BARS)

# Places of the measures, in the order of their columns.
M_RANGE: Final = 0
M_BURST: Final = 1
M_BODY: Final = 2
M_POSITION: Final = 3
M_FLOW: Final = 4
M_ACCELERATION: Final = 5
N_MEASURES: Final = 6

F_RANGE_PERCENTILE: Final = FEATURE_INDEX["range_percentile"]
F_ACCELERATION: Final = FEATURE_INDEX["acceleration"]
F_IGNITION_STATE: Final = FEATURE_INDEX["ignition_state"]
F_IGNITION_DIRECTION: Final = FEATURE_INDEX["ignition_direction"]
F_IGNITION_AGE: Final = FEATURE_INDEX["ignition_age"]

IGNITION: Final = np.dtype(
    [
        ("minute", "<i8"),  # the open candle when the measures were taken, 0 never
        ("measures", "<f8", (N_MEASURES,)),
        ("observations", "<i8", (N_MEASURES,)),
        ("close", "<i8"),  # ticks: of the last full candle
        ("open", "<i8"),
        ("n_missing", "<i8"),  # candles without a trade among the full ones
        ("state", "<i8"),
        ("direction", "<i8"),
        ("since", "<i8"),  # ns: when the state was entered, 0 never left
        ("base", "<i8"),  # ticks: open of the candle that ignited
        ("fired", "<i8"),  # ticks: its close
        ("n_transitions", "<i8"),
    ]
)


@kernel
def _range_of(tape, first):
    """(highest high - lowest low) / close of RANGE_BARS candles, the newest `first` minutes back."""
    open_minute = tape["candle_minute"]
    candles = tape["candles"]
    high = 0
    low = candles[(open_minute - first) % CANDLES, C_LOW]
    for k in range(first, first + RANGE_BARS):
        candle = candles[(open_minute - k) % CANDLES]
        high = max(high, candle[C_HIGH])
        low = min(low, candle[C_LOW])
    return ratio(float(high - low), float(candles[(open_minute - first) % CANDLES, C_CLOSE]))


@kernel
def _range_percentile(tape, n):
    """Share of the ranges below the newest one, ties half, and how many ranges there are."""
    n_ranges = n - RANGE_BARS + 1
    if n_ranges <= 0:
        return NAN, 0
    newest = _range_of(tape, 1)
    below = 0
    same = 0
    for first in range(1, n_ranges + 1):
        value = _range_of(tape, first)
        if value < newest:
            below += 1
        elif value == newest:
            same += 1
    return (float(below) + 0.5 * float(same)) / float(n_ranges), n_ranges


@kernel
def _close_back(tape, k):
    return tape["candles"][(tape["candle_minute"] - k) % CANDLES, C_CLOSE]


@kernel
def _acceleration(tape):
    """Change of the last five candles less that of the five before, in sd of such a difference.

    There are at least BURST_BARS + 1 full candles.
    """
    total = 0
    square = 0
    for k in range(1, BURST_BARS + 1):
        step = _close_back(tape, k) - _close_back(tape, k + 1)
        total += step
        square += step * step
    mean = float(total) / float(BURST_BARS)
    variance = (float(square) - float(total) * mean) / float(BURST_BARS - 1)
    sd = max(sqrt(max(variance, 0.0)), 1.0)
    bend = (
        _close_back(tape, 1)
        - 2 * _close_back(tape, 1 + STEP_BARS)
        + _close_back(tape, 1 + 2 * STEP_BARS)
    )
    return float(bend) / (sd * _SQRT_10)


@kernel
def measure_minute(ignition, tape):
    """Take the measures of the full candles; called once per minute.

    ignition : IGNITION record; tape : TAPE record, whose open candle is a new one
    """
    open_minute = tape["candle_minute"]
    ignition["minute"] = open_minute
    measures = ignition["measures"]
    observations = ignition["observations"]
    for i in range(N_MEASURES):
        measures[i] = NAN
        observations[i] = 0
    n = tape["n_candles"] if open_minute > 0 else 0
    ignition["n_missing"] = 0
    if n == 0:
        return
    last = tape["candles"][(open_minute - 1) % CANDLES]
    ignition["close"] = last[C_CLOSE]
    ignition["open"] = last[C_OPEN]
    missing = 0
    for k in range(1, n + 1):
        if tape["candles"][(open_minute - k) % CANDLES, C_TRADES] == 0:
            missing += 1
    ignition["n_missing"] = missing
    measures[M_RANGE], observations[M_RANGE] = _range_percentile(tape, n)
    width = float(last[C_HIGH] - last[C_LOW])
    measures[M_BODY] = 0.0
    measures[M_POSITION] = 0.5
    if width > 0.0:
        measures[M_BODY] = float(last[C_CLOSE] - last[C_OPEN]) / width
        measures[M_POSITION] = float(last[C_CLOSE] - last[C_LOW]) / width
    buy = float(window_sum(tape, I_1M, B_BUY))
    sell = float(window_sum(tape, I_1M, B_SELL))
    measures[M_FLOW] = (buy - sell) / (buy + sell) if buy + sell > 0.0 else 0.0
    for i in range(M_BODY, M_FLOW + 1):
        observations[i] = n
    observations[M_BURST] = n - 1
    observations[M_ACCELERATION] = n - 1
    if n > BURST_BARS:
        total = 0
        for k in range(2, BURST_BARS + 2):
            total += tape["candles"][(open_minute - k) % CANDLES, C_NOTIONAL]
        measures[M_BURST] = ratio(float(last[C_NOTIONAL]) * float(BURST_BARS), float(total))
        measures[M_ACCELERATION] = _acceleration(tape)


@kernel
def next_state(ignition, params, age):
    """State and direction that the measures ask for. age : int64, ns in the present state.

    A measure that is NAN passes no test.
    """
    state = ignition["state"]
    direction = ignition["direction"]
    measures = ignition["measures"]
    if ignition["n_missing"] > params["ignition_missing_max"]:
        return IGNITION_DORMANT, 0
    if state == IGNITION_IGNITION:
        beyond = (ignition["close"] - ignition["fired"]) * direction
        if (ignition["close"] - ignition["base"]) * direction <= 0:
            return IGNITION_COOLDOWN, direction  # it failed: there is nothing to wait for
        if age >= params["ignition_ignition_max_ns"]:
            return IGNITION_COOLDOWN, direction
        if age < params["ignition_dwell_ns"]:
            return state, direction
        if beyond > 0 and measures[M_RANGE] >= params["ignition_expansion_enter"]:
            return IGNITION_EXPANSION, direction
        return state, direction
    if age < params["ignition_dwell_ns"]:
        return state, direction
    if state == IGNITION_DORMANT:
        if measures[M_RANGE] <= params["ignition_compression_enter"]:
            return IGNITION_COMPRESSION, 0
    elif state == IGNITION_COMPRESSION:
        body = measures[M_BODY]
        sign = 1 if body > 0.0 else -1
        if (
            abs(body) >= params["ignition_body_enter"]
            and measures[M_BURST] >= params["ignition_burst_enter"]
            and measures[M_ACCELERATION] * sign >= params["ignition_acceleration_enter"]
            and measures[M_FLOW] * sign >= params["ignition_flow_enter"]
        ):
            return IGNITION_IGNITION, sign
        if measures[M_RANGE] > params["ignition_compression_leave"]:
            return IGNITION_DORMANT, 0
    elif state == IGNITION_EXPANSION:
        if (
            measures[M_BURST] < params["ignition_burst_leave"]
            or measures[M_ACCELERATION] * direction < -params["ignition_acceleration_leave"]
            or age >= params["ignition_expansion_max_ns"]
        ):
            return IGNITION_COOLDOWN, direction
    elif age >= params["ignition_cooldown_ns"]:
        return IGNITION_DORMANT, 0
    return state, direction


@kernel
def update_ignition(symbol, params, now):
    """After a minute has closed: measure, and move the state machine.

    returns the state before, or -1 where nothing changed
    """
    ignition = symbol["ignition"]
    tape = symbol["tape"]
    if tape["candle_minute"] == ignition["minute"]:
        return -1
    measure_minute(ignition, tape)
    if params["ignition_enabled"] != 1:
        return -1
    before = ignition["state"]
    age = now - ignition["since"]
    state, direction = next_state(ignition, params, age)
    if state == before:
        return -1
    ignition["state"] = state
    ignition["direction"] = direction
    ignition["since"] = now
    ignition["n_transitions"] += 1
    if state == IGNITION_IGNITION:
        ignition["base"] = ignition["open"]
        ignition["fired"] = ignition["close"]
    return before


@kernel
def record_transition(glob, rings, symbol, i, before):
    """Write one transition with the numbers that caused it."""
    ring = rings["ignition"]
    at = claim_row(glob, T_IGNITION, len(ring))
    if at < 0:
        return
    ignition = symbol["ignition"]
    measures = ignition["measures"]
    row = ring[at]
    row["ts"] = glob["now"]
    row["sym"] = i
    row["ignition_before"] = before
    row["ignition"] = ignition["state"]
    row["direction"] = ignition["direction"]
    row["close"] = ignition["close"]
    row["range_percentile"] = canonical(measures[M_RANGE])
    row["volume_burst"] = canonical(measures[M_BURST])
    row["body_share"] = canonical(measures[M_BODY])
    row["close_position"] = canonical(measures[M_POSITION])
    row["bar_flow"] = canonical(measures[M_FLOW])
    row["acceleration"] = canonical(measures[M_ACCELERATION])
    row["n_missing"] = ignition["n_missing"]


@kernel
def ignition_features(features, observations, ignition, now):
    """Fill the columns of the measures and of the state."""
    for i in range(N_MEASURES):
        features[F_RANGE_PERCENTILE + i] = ignition["measures"][i]
        observations[F_RANGE_PERCENTILE + i] = ignition["observations"][i]
    features[F_IGNITION_STATE] = float(ignition["state"])
    features[F_IGNITION_DIRECTION] = float(ignition["direction"])
    features[F_IGNITION_AGE] = 0.0
    if ignition["since"] > 0:
        features[F_IGNITION_AGE] = float(now - ignition["since"]) / SECOND_NS


@kernel
def ignition_allows(symbol, params, family):
    """May this family enter in the present state? Always, while the gate is off."""
    if params["ignition_enabled"] != 1:
        return True
    return params["ignition_allows"][family, symbol["ignition"]["state"]] == 1
