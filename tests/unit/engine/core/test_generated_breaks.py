"""The families that follow or fade a broken level find the market that has it, and stay out without.

Each pair of stories differs in the property alone: the same path without the volume, without the
widening, without the refill. What is found must also come true on average.
"""

from __future__ import annotations

import numpy as np

from engine.core.routes import (
    FAMILY_ATR_BREAKOUT,
    FAMILY_BREAKOUT,
    FAMILY_FADE,
    FAMILY_IGNITION,
    FAMILY_PULLBACK,
    FAMILY_SWEEP,
)
from engine.events import LAST, SELL, TRADE
from tests.support.story import BPS, HALF_SPREAD, MID, Story, sightings, story

MINUTE = 60


def line(*points: tuple[float, float]) -> np.ndarray:
    """Bps second by second on straight lines through (minute, bps) points, from the first on."""
    minutes, levels = zip(*points, strict=True)
    at = np.arange(int(minutes[0] * MINUTE), int(minutes[-1] * MINUTE)) / MINUTE
    return np.interp(at, minutes, levels)


def wave(n: int, height: float, period_s: int) -> np.ndarray:
    """Bps of a triangle that returns to 0 each half period."""
    phase = np.arange(n) % period_s / period_s
    return height * (1.0 - 4.0 * np.abs((phase + 0.25) % 1.0 - 0.5))


def went_its_way(seen: np.ndarray) -> float:
    """Mean move of the mid in the direction that was stated, in bps."""
    return float((seen[:, 1] * seen[:, 3]).mean())


def breaking(side: int, volume: bool) -> Story:
    """Wide swings for 50 minutes, narrow ones for 25, then out and on by 12 bps in six minutes."""
    path = np.concatenate([wave(50 * MINUTE, 8.0, 600), wave(25 * MINUTE, 2.0, 90)])
    out = line((0, 0), (1, 5), (6, 12), (16, 12))
    told = story(MID + side * BPS * np.concatenate([path, out]))
    broke = len(path)
    if volume:
        flow = told.buys if side > 0 else told.sells
        flow[broke : broke + 6 * MINUTE] = 1_500
    return told


def test_a_breakout_is_followed_with_volume_and_not_without() -> None:
    for side in (1, -1):
        seen = sightings(breaking(side, volume=True), FAMILY_BREAKOUT)
        assert len(seen) > 5
        assert {side} == set(seen[:, 1].tolist())
        assert went_its_way(seen) > 1.0
        assert 0 == len(sightings(breaking(side, volume=False), FAMILY_BREAKOUT))


def widening(side: int, before: float) -> Story:
    """Swings of `before` bps for 70 minutes, of 6 for five, then beyond them by 20 in four."""
    n = 70 * MINUTE
    path = np.concatenate([wave(n, before, 60), wave(5 * MINUTE, 6.0, 60)])
    told = np.concatenate([path, line((0, 0), (4, 24), (14, 24))])
    return story(MID + side * BPS * told)


def test_an_atr_breakout_needs_ranges_that_widen() -> None:
    for side in (1, -1):
        seen = sightings(widening(side, 1.5), FAMILY_ATR_BREAKOUT)
        assert len(seen) > 20
        assert {side} == set(seen[:, 1].tolist())
        assert went_its_way(seen) > 2.0
        assert 0 == len(sightings(widening(side, 6.0), FAMILY_ATR_BREAKOUT))


def retesting(side: int, turned: bool) -> Story:
    """A level at 5 bps is broken by 25, comes back to it, and goes up again where buyers return."""
    calm = wave(65 * MINUTE, 4.0, 300)
    end = 22 if turned else -12
    leg = line((0, 0), (3, 25), (7, 25), (12, 5), (14, 5), (19, end), (25, end))
    told = story(MID + side * BPS * np.concatenate([calm, leg]))
    back = len(calm) + 7 * MINUTE
    hit, other = (told.sells, told.buys) if side > 0 else (told.buys, told.sells)
    hit[back : back + 5 * MINUTE] = 400
    turn = slice(back + 5 * MINUTE, None)
    (other if turned else hit)[turn] = 600
    heavy, light = (told.bid_lots, told.ask_lots) if side > 0 else (told.ask_lots, told.bid_lots)
    (heavy if turned else light)[turn] = 4_000
    return told


def test_a_pullback_is_bought_where_buyers_return_to_the_level() -> None:
    for side in (1, -1):
        seen = sightings(retesting(side, turned=True), FAMILY_PULLBACK)
        assert len(seen) > 20
        assert {side} == set(seen[:, 1].tolist())
        assert went_its_way(seen) > 1.0
        assert 0 == len(sightings(retesting(side, turned=False), FAMILY_PULLBACK))


def igniting(side: int, flow: bool) -> Story:
    """An hour of swings, a squeeze of half an hour, a minute of 16 bps with or without a flow."""
    path = np.concatenate([wave(60 * MINUTE, 6.0, 600), wave(32 * MINUTE, 1.0, 120)])
    told = story(
        MID + side * BPS * np.concatenate([path, line((0, 0), (1, 16), (6, 40), (12, 40))])
    )
    fired = slice(len(path), len(path) + 6 * MINUTE)
    with_it, against = (told.buys, told.sells) if side > 0 else (told.sells, told.buys)
    with_it[fired] = 2_000
    against[fired] = 200 if flow else 2_000
    return told


def test_an_ignition_is_followed_while_it_burns_and_flow_goes_with_it() -> None:
    on = {"ignition": {"enabled": True}}
    for side in (1, -1):
        seen = sightings(igniting(side, flow=True), FAMILY_IGNITION, **on)
        assert len(seen) > 30
        assert {side} == set(seen[:, 1].tolist())
        assert went_its_way(seen) > 1.0
        assert 0 == len(sightings(igniting(side, flow=False), FAMILY_IGNITION, **on))
        assert 0 == len(sightings(igniting(side, flow=True), FAMILY_IGNITION))


def fallen(side: int, held: bool) -> Story:
    """A leg of 30 bps in 100 s; then it is held and half comes back, or the fall goes on."""
    calm = wave(65 * MINUTE, 1.0, 8)
    leg = line((0, 0), (1.667, -30))
    n = 3 * MINUTE
    if held:
        rest = np.concatenate([-30 + wave(n, 0.4, 4), line((0, -30), (5, -15), (8, -15))])
    else:
        rest = line((0, -30), (11, -60))
    told = story(MID + side * BPS * np.concatenate([calm, leg, rest]))
    after = slice(len(calm) + len(leg), None)
    own, other = (told.bid_lots, told.ask_lots) if side > 0 else (told.ask_lots, told.bid_lots)
    (own if held else other)[after] = 4_000
    return told


def test_a_fall_is_faded_where_the_book_refills_and_not_where_it_goes_on() -> None:
    for side in (1, -1):
        seen = sightings(fallen(side, held=True), FAMILY_FADE, 240)
        assert len(seen) > 20
        assert {side} == set(seen[:, 1].tolist())
        assert went_its_way(seen) > 2.0
        assert 0 == len(sightings(fallen(side, held=False), FAMILY_FADE))


def swept(side: int, absorbed: bool) -> Story:
    """Every two minutes one order takes eight levels; they come back within seconds, or do not."""
    n = 20 * MINUTE
    dip = np.where(np.arange(n) % 7 == 0, -0.5, 0.0)  # a level goes and is back a second later
    own = np.full(n, 2_000)
    extra = []
    for at in range(6 * MINUTE, n - 2 * MINUTE, 2 * MINUTE):
        if absorbed:
            dip[at + 1 : at + 6] = (-1.5, -1.5, -1.0, -0.5, 0.0)
        else:
            dip[at + 1 :] -= 8.0
        own[at + 1 : at + 20] = 6_000 if absorbed else 500
        for level in range(8):
            price = MID - side * HALF_SPREAD + round(BPS * dip[at]) * side - side * level * BPS
            taken = {"kind": TRADE, "side": SELL * side, "price": int(price), "qty": 300}
            extra.append((at, taken | {"flags": LAST}))
    told = story(MID + side * BPS * dip)
    (told.bid_lots if side > 0 else told.ask_lots)[:] = own
    told.extra = extra
    return told


def test_a_sweep_is_bought_where_it_is_absorbed_and_not_where_it_runs_on() -> None:
    for side in (1, -1):
        seen = sightings(swept(side, absorbed=True), FAMILY_SWEEP, 10, horizons_s=[10])
        assert len(seen) > 10
        assert {side} == set(seen[:, 1].tolist())
        assert went_its_way(seen) > 0.5
        assert 0 == len(sightings(swept(side, absorbed=False), FAMILY_SWEEP, 10, horizons_s=[10]))
