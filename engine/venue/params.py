"""Which assumptions does the simulated venue make? Every parameter once: default, bounds, meaning.

The kernels' parameter record, the models of the configuration and docs/venue-model.md describe the
same table. Changing a value compiles nothing. PROFILES names sets of them.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from engine.venue.fees import FEE_SCHEDULES, TIERS_MAX, FeeSchedule, check_schedule, write_schedule

S: Final = 1_000_000_000
MS: Final = 1_000_000

QUEUE_CAUTIOUS: Final = 0
QUEUE_PROPORTIONAL: Final = 1

FILL_NONE: Final = 0
FILL_SHOWN: Final = 1  # as far as the quantity goes that was printed or displayed
FILL_WHOLE: Final = 2  # all of the order, whatever the quantity


class Parameter(NamedTuple):
    """One scalar of the venue: name in TOML and in the record, default, bounds, unit, meaning."""

    name: str
    default: int | float | bool
    low: float
    high: float
    unit: str
    doc: str


PARAMETERS: Final[tuple[Parameter, ...]] = (
    # latency
    Parameter("seed", 1, 0, 2**62, "", "seed of the latency draws"),
    Parameter("feed_ns", 15 * MS, 0, 60 * S, "ns", "venue's market data to us, constant"),
    Parameter("entry_ns", 20 * MS, 0, 60 * S, "ns", "a command to the matching engine, median"),
    Parameter("entry_sigma", 0.25, 0.0, 3.0, "", "log-normal spread of it; 0: constant"),
    Parameter("entry_min_ns", 5 * MS, 1, 60 * S, "ns", "never less than this"),
    Parameter("response_ns", 15 * MS, 0, 60 * S, "ns", "an answer back to us, median"),
    Parameter("response_sigma", 0.25, 0.0, 3.0, "", "log-normal spread of it; 0: constant"),
    Parameter("response_min_ns", 5 * MS, 1, 60 * S, "ns", "never less than this"),
    Parameter("latency_max_ns", 2 * S, 1, 600 * S, "ns", "a draw is cut here"),
    # queue
    Parameter("queue_model", QUEUE_CAUTIOUS, 0, 1, "", "0 only trades move us up, 1 proportional"),
    Parameter("queue_power", 1, 1, 4, "", "proportional model: power of the quantity behind us"),
    Parameter("trade_first", True, 0, 1, "", "a print comes before the book changes it causes"),
    Parameter("pair_window_ns", 500 * MS, 0, 60 * S, "ns",
              "trade_first off: a print this long after a decrease may be its cause"),
    # fills of resting orders
    Parameter("touch_fill", FILL_SHOWN, 1, 2, "", "a print at our price that reaches us: 1 what is "
              "left of it, 2 the whole order"),
    Parameter("through_fill", FILL_SHOWN, 0, 2, "", "a print beyond our price: 0 no fill, 1 up to "
              "its quantity, 2 the whole order"),
    Parameter("cross_fill", FILL_SHOWN, 0, 2, "", "a displayed quote at or beyond our price: 0 no "
              "fill, 1 up to its quantity, 2 the whole order"),
    # taking
    Parameter("protection_e6", 50_000, 0, 1_000_000, "1e-6",
              "market orders stop this far from the best price at arrival"),
    Parameter("market_margin_e6", 10_000, 0, 1_000_000, "1e-6",
              "market buys hold the best price plus this"),
    Parameter("stop_at_entry", True, 0, 1, "",
              "a stop whose condition holds already fires at once; off: it is refused"),
    Parameter("amend_up_keeps", False, 0, 1, "", "raising the quantity keeps the place in queue"),
    Parameter("need_snapshot", True, 0, 1, "", "after a gap only a snapshot makes the book usable"),
    # account and limits
    Parameter("volume_start", 0, 0, 2**60, "money", "30-day volume before the run"),
    Parameter("fee_round_up", False, 0, 1, "", "fees round up instead of to the nearest"),
    Parameter("rate_on", True, 0, 1, "", "keep the venue's transaction counter per pair"),
    Parameter("rate_decay_e2", 234, 0, 100_000, "0.01 points/s", "decay of the counter"),
    Parameter("rate_threshold", 125, 1, 1_000_000, "points", "above this, requests are refused"),
    Parameter("open_orders_max", 80, 1, 250, "", "open orders per pair"),
)  # fmt: skip

# Kraken's tiers of verification: decay, threshold, open orders (docs/venue-model.md, limits).
TIERS: Final[dict[str, dict[str, int | float | bool]]] = {
    "starter": {"rate_decay_e2": 100, "rate_threshold": 60, "open_orders_max": 60},
    "intermediate": {"rate_decay_e2": 234, "rate_threshold": 125, "open_orders_max": 80},
    "pro": {"rate_decay_e2": 375, "rate_threshold": 180, "open_orders_max": 225},
    "off": {"rate_on": False, "open_orders_max": 250},
}

# hftbacktest 2.4: NoPartialFillExchange with RiskAdverseQueueModel and ConstantLatency, no fees.
PARITY: Final[dict[str, int | float | bool]] = {
    "queue_model": QUEUE_CAUTIOUS,
    "trade_first": True,
    "touch_fill": FILL_WHOLE,
    "through_fill": FILL_WHOLE,
    "cross_fill": FILL_WHOLE,
    "entry_sigma": 0.0,
    "response_sigma": 0.0,
    "entry_min_ns": 1,
    "response_min_ns": 1,
    "need_snapshot": False,
    "rate_on": False,
    "open_orders_max": 250,
}

VENUE_PARAMS: Final = np.dtype(
    [
        *((each.name, "<f8" if isinstance(each.default, float) else "<i8") for each in PARAMETERS),
        ("n_fee_tiers", "<i8"),
        ("fee_volume", "<i8", (TIERS_MAX,)),  # money, 30-day volume from which the tier holds
        ("fee_maker_e6", "<i8", (TIERS_MAX,)),  # 1/100 bps
        ("fee_taker_e6", "<i8", (TIERS_MAX,)),
    ]
)

_BY_NAME: Final = {each.name: each for each in PARAMETERS}


def venue_params(
    schedule: str | FeeSchedule = "kraken-2025-11",
    tier: str = "intermediate",
    **values: Any,
) -> np.ndarray:
    """VENUE_PARAMS[1]: defaults, then the venue's tier of limits, then `values` by name.

    schedule : a name of FEE_SCHEDULES, or a schedule of one's own
    tier : a name of TIERS
    raises ValueError naming the key, for an unknown one and for a value out of bounds
    """
    if tier not in TIERS:
        raise ValueError(f"unknown venue tier {tier!r}; known: {', '.join(TIERS)}.")
    if isinstance(schedule, str):
        if schedule not in FEE_SCHEDULES:
            raise ValueError(
                f"unknown fee schedule {schedule!r}; known: {', '.join(FEE_SCHEDULES)}."
            )
        name, fees = schedule, FEE_SCHEDULES[schedule]
    else:
        name, fees = schedule.source, schedule
    check_schedule(name, fees)
    params = np.zeros(1, VENUE_PARAMS)
    row = params[0]
    chosen = {each.name: each.default for each in PARAMETERS} | TIERS[tier] | values
    for key, value in chosen.items():
        if key not in _BY_NAME:
            raise ValueError(f"unknown venue parameter {key!r}; known: {', '.join(_BY_NAME)}.")
        known = _BY_NAME[key]
        if not known.low <= value <= known.high:
            raise ValueError(
                f"venue parameter {key} is {value}; it must lie in {known.low} to {known.high} "
                f"{known.unit}".rstrip()
                + "."
            )
        row[key] = value
    write_schedule(row, fees)
    return params
