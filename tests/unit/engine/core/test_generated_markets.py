"""Each family finds the market it was made for, and stays out of one that lacks its property.

Every pair of stories differs in the property alone: the same path without the volume, the same
book without the lean. What is found must also come true: the mid goes the stated way on average.
"""

from __future__ import annotations

import numpy as np

from engine.core.routes import FAMILY_GRID, FAMILY_SCALPING, FAMILY_VWAP_REVERSION
from engine.events import TABLE_FEES, TABLE_UPDATE
from tests.support.story import BPS, MID, START, S, Story, run_story, sightings, story

N = 2_400  # seconds: 40 minutes


def returning(n: int, keep: float, sigma: float, seed: int) -> np.ndarray:
    """Bps around a fixed mean: each second keeps a share of the distance and adds a shock."""
    shocks = np.random.default_rng(seed).normal(0.0, sigma, n)
    path = np.zeros(n)
    for k in range(1, n):
        path[k] = keep * path[k - 1] + shocks[k]
    return path


def walk(n: int, sigma: float, seed: int) -> np.ndarray:
    """Bps of a random walk."""
    return np.cumsum(np.random.default_rng(seed).normal(0.0, sigma, n))


def went_its_way(seen: np.ndarray) -> float:
    """Mean move of the mid in the direction that was stated, in bps."""
    return float((seen[:, 1] * seen[:, 3]).mean())


def test_the_grid_trades_a_range_that_holds_and_no_walk() -> None:
    ranging = sightings(story(MID + BPS * returning(N, 0.9, 1.0, 1)), FAMILY_GRID)
    n_walking = sum(
        len(sightings(story(MID + BPS * walk(N, 1.0, seed)), FAMILY_GRID)) for seed in (1, 2, 3)
    )

    assert len(ranging) > 100
    assert {1, -1} == set(ranging[:, 1].tolist())
    assert went_its_way(ranging) > 1.0
    assert n_walking < 3 * len(ranging) / 10


def leaning(even: bool) -> Story:
    """Four ticks down for five seconds, four up for five; the book leans to where it goes next."""
    path = np.where(np.arange(N) // 5 % 2 == 0, -4, 4)
    told = story(MID + path, traded=500)
    if not even:
        told.bid_lots[:] = np.where(path < 0, 3_000, 1_000)
        told.ask_lots[:] = np.where(path < 0, 1_000, 3_000)
    return told


def test_scalping_goes_with_the_lean_of_an_oscillation_and_not_without_one() -> None:
    exits = {"exit_maker_share": 1.0}
    seen = sightings(leaning(even=False), FAMILY_SCALPING, 5, horizons_s=[10], costs=exits)

    assert len(seen) > 1_000
    assert went_its_way(seen) > 0.7  # eight ticks are 0.8 bps
    even = sightings(leaning(even=True), FAMILY_SCALPING, 5, horizons_s=[10], costs=exits)
    assert 0 == len(even)


def test_the_vwap_calls_back_a_dip_that_nobody_sold_and_no_steady_selling() -> None:
    dips = np.zeros(N)
    for start in range(1_000, N - 300, 300):
        dips[start : start + 20] = -np.linspace(0, 8, 20)
        dips[start + 20 : start + 140] = -np.linspace(8, 0, 120)
    noise = returning(N, 0.8, 0.5, 2)
    called = sightings(story(MID + BPS * (noise + dips)), FAMILY_VWAP_REVERSION)
    sold = story(MID + BPS * (noise - 0.02 * np.arange(N)))
    sold.buys[:], sold.sells[:] = 50, 350

    assert len(called) > 50
    assert (called[:, 1] > 0).mean() > 0.9  # the others are noise above the dips
    assert went_its_way(called) > 1.0
    assert 0 == len(sightings(sold, FAMILY_VWAP_REVERSION))


def test_the_stack_pays_the_rates_that_the_venue_named_from_that_event_on() -> None:
    """10 and 20 bps are named at second 700 of a story that began without fees."""
    told = story(MID + BPS * returning(900, 0.9, 1.0, 3))
    fees = {"kind": TABLE_UPDATE, "sym": -1, "aux": TABLE_FEES, "price": 1_000, "qty": 2_000}
    told.extra.append((700, fees))
    rows = run_story(told, {"evaluation": {"max_entries": 0}})["candidates"]
    rows = rows[~np.isnan(rows["net_bps"])]
    named = rows["ts"] > (START + 700) * S

    assert {0.0} == set(rows["exit_fee_bps"][~named].tolist())
    assert {20.0} == set(rows["exit_fee_bps"][named].tolist())
