"""What does a fill cost? Maker and taker rates by 30-day volume, moving during the run.

Schedules are dated data: a run names the one it used. The window counts today (UTC) and the 30
days before it, in daily buckets; volume brought along from before the run is spread evenly over
the 30 days before the first day, so that it leaves the window as it would have. Rates are
integers of 1/100 basis point, fees are money in the quote currency. Left out: separate schedules
per pair, fees in the base currency, margin.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from engine.jit import kernel
from engine.units import MONEY_PER_UNIT

TIERS_MAX: Final = 16
WINDOW_DAYS: Final = 31  # today and the 30 days before
DAY_NS: Final = 86_400 * 1_000_000_000


class FeeSchedule(NamedTuple):
    """Rates from each volume on.

    volume : 30-day volume in whole units of the quote currency, ascending from 0
    maker_e6, taker_e6 : 1/100 basis point, 2500 = 0.25 %; negative is a rebate
    source : where the numbers stand
    """

    volume: tuple[int, ...]
    maker_e6: tuple[int, ...]
    taker_e6: tuple[int, ...]
    source: str


FEE_SCHEDULES: Final[dict[str, FeeSchedule]] = {
    "kraken-2025-11": FeeSchedule(
        (0, 10_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000),
        (2500, 2000, 1400, 1200, 1000, 800, 600, 400, 200, 0),
        (4000, 3500, 2400, 2200, 2000, 1800, 1600, 1400, 1200, 1000),
        "Kraken AssetPairs as recorded in November 2025, standard pairs",
    ),
    "kraken-2025-08-rebate": FeeSchedule(
        (0, 10_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000),
        (2300, 1800, 1200, 1000, 800, 600, 400, 200, 0, -200),
        (4000, 3500, 2400, 2200, 2000, 1800, 1600, 1400, 1200, 1000),
        "Kraken's announcements of June and August 2025, maker rebate pairs",
    ),
    "kraken-2021-04": FeeSchedule(
        (0, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000),
        (1600, 1400, 1200, 1000, 800, 600, 400, 200, 0),
        (2600, 2400, 2200, 2000, 1800, 1600, 1400, 1200, 1000),
        "Kraken AssetPairs as recorded in April 2021, standard pairs",
    ),
    "zero": FeeSchedule((0,), (0,), (0,), "no fees: for parity with other simulators"),
}


def check_schedule(name: str, schedule: FeeSchedule) -> None:
    """Refuse a schedule whose tiers do not start at 0 and ascend, or whose rates make no sense."""
    volume, maker, taker, _ = schedule
    if not 1 <= len(volume) <= TIERS_MAX or not len(volume) == len(maker) == len(taker):
        raise ValueError(
            f"fee schedule {name!r} needs 1 to {TIERS_MAX} tiers with a maker and a taker rate each."
        )
    if volume[0] != 0 or any(a >= b for a, b in zip(volume, volume[1:], strict=False)):
        raise ValueError(f"fee schedule {name!r}: tiers must start at 0 and ascend.")
    if any(abs(rate) >= 100_000 for rate in (*maker, *taker)):
        raise ValueError(f"fee schedule {name!r}: a rate of 10 % or more is a typing error.")


def write_schedule(row: np.void, schedule: FeeSchedule) -> None:
    """Put the tiers of a schedule into a VENUE_PARAMS row."""
    n_tiers = len(schedule.volume)
    row["n_fee_tiers"] = n_tiers
    row["fee_volume"][:] = 0
    row["fee_maker_e6"][:] = 0
    row["fee_taker_e6"][:] = 0
    row["fee_volume"][:n_tiers] = np.array(schedule.volume, np.int64) * MONEY_PER_UNIT
    row["fee_maker_e6"][:n_tiers] = schedule.maker_e6
    row["fee_taker_e6"][:n_tiers] = schedule.taker_e6


@kernel
def fee_tier(params, volume):
    """Index of the tier that holds for a 30-day `volume` in money.

    params : VENUE_PARAMS row
    """
    tier = 0
    for i in range(1, params["n_fee_tiers"]):
        if volume >= params["fee_volume"][i]:
            tier = i
    return tier


@kernel
def fee_roll(glob, params, t):
    """Move the 30-day window to the day of time `t` (ns) and pick the tier anew."""
    day = t // DAY_NS
    if day == glob["fee_day"]:
        return
    buckets = glob["fee_buckets"]
    if glob["fee_day"] < 0:
        share = params["volume_start"] // (WINDOW_DAYS - 1)
        for i in range(1, WINDOW_DAYS):
            buckets[(day - i) % WINDOW_DAYS] = share
        buckets[(day - 1) % WINDOW_DAYS] += params["volume_start"] - share * (WINDOW_DAYS - 1)
        buckets[day % WINDOW_DAYS] = 0
        glob["volume"] = params["volume_start"]
    elif day > glob["fee_day"]:
        n_new = min(day - glob["fee_day"], WINDOW_DAYS)
        for i in range(n_new):
            at = (day - i) % WINDOW_DAYS
            glob["volume"] -= buckets[at]
            buckets[at] = 0
    else:
        return  # a day that is past already: the window only moves on
    glob["fee_day"] = day
    tier = fee_tier(params, glob["volume"])
    glob["maker_e6"] = params["fee_maker_e6"][tier]
    glob["taker_e6"] = params["fee_taker_e6"][tier]


@kernel
def fee_count(glob, params, notional):
    """Add a fill's notional (money) to today's volume; the next fill pays the tier it leads to."""
    glob["fee_buckets"][glob["fee_day"] % WINDOW_DAYS] += notional
    glob["volume"] += notional
    tier = fee_tier(params, glob["volume"])
    glob["maker_e6"] = params["fee_maker_e6"][tier]
    glob["taker_e6"] = params["fee_taker_e6"][tier]
