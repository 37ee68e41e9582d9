"""On a random walk nobody knows anything: the system trades little, loses its costs, and a family
that is told the future stands out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.core.columns import (
    FEATURE_INDEX,
    OUT_ACTIVE,
    OUT_CONFIDENCE,
    OUT_HALF_LIFE_S,
    OUT_INVALIDATION_BPS,
    OUT_MOVE_BPS,
    OUT_SD_BPS,
)
from engine.core.routes import BUILT_FAMILIES, FAMILY_NAMES, FAMILY_PLUGIN, N_PLUGINS
from engine.core.theses import no_family
from engine.flow.driver import World
from engine.instruments import InstrumentTable
from engine.jit import function_value
from tests.support.story import (
    BPS,
    EVERY_REGIME,
    LEVELS,
    MID,
    PAIR,
    START,
    S,
    Story,
    events,
    run_story,
    sighted,
    story,
)
from tests.support.worlds import EAGER, make_world, run_world

N = 3_600
ALL = {FAMILY_NAMES[code]: {"enabled": True, "regimes": EVERY_REGIME} for code in BUILT_FAMILIES}
NONE = {FAMILY_NAMES[code]: {"enabled": False} for code in BUILT_FAMILIES}
_LOTS = FEATURE_INDEX["touch_bid_lots"]


def believe(features: Any, params: Any, out: Any) -> None:
    """Sure of a rise, once every two minutes, for no reason at all."""
    second = int(features[_LOTS]) - 2_000
    if second % 120 != 0:
        return
    out[OUT_ACTIVE] = 1.0
    out[OUT_MOVE_BPS] = 200.0
    out[OUT_SD_BPS] = 5.0
    out[OUT_CONFIDENCE] = 0.9
    out[OUT_INVALIDATION_BPS] = 20.0
    out[OUT_HALF_LIFE_S] = 1e6


def walk(seed: int, sigma: float = 0.7) -> Story:
    """An hour of random walk; the lots at the bid count the seconds, for whoever can read them."""
    rng = np.random.default_rng(seed)
    told = story(MID + BPS * np.cumsum(rng.normal(0.0, sigma, N)), traded=0)
    told.buys[:], told.sells[:] = rng.poisson(300, N), rng.poisson(300, N)
    told.bid_lots[:] = 2_000 + np.arange(N)
    told.ask_lots[:] = 2_000 + rng.integers(0, N, N)
    return told


def test_with_real_costs_a_random_walk_is_left_alone() -> None:
    """The fees of a new account, every threshold at its default, every family in every regime."""
    settings: dict[str, Any] = {
        "families": ALL,
        "venue": {"fees": "kraken-2025-11"},
        "readiness": {},
        "regime": {},
        "horizons_s": [10, 60, 300, 900],
    }
    run = run_story(walk(1), settings)

    assert len(run["evaluations"]) > N - 10
    assert (~np.isnan(run["candidates"]["net_bps"])).sum() > 1_000  # it looked, and priced
    assert len(run["realized"]) <= 3  # in an hour


def test_whoever_believes_in_a_random_walk_loses_its_costs() -> None:
    """Sure of 200 bps every two minutes: 55 to 80 bps of fees per trip, and 2 of spread."""
    settings: dict[str, Any] = {
        **EAGER,
        "families": NONE,
        "venue": {"fees": "kraken-2025-11"},
        "exits": {"time_multiple": 1},
        "horizons_s": [60],
    }
    net, fees, bought = [], [], []
    for seed in (1, 2, 3):
        run = run_with(walk(seed), N, function_value(believe), settings)
        net += run["realized"]["net"].tolist()
        fees += run["realized"]["fees"].tolist()
        bought += run["realized"]["bought"].tolist()
    value = np.array(bought, np.float64)
    charged = np.array(fees) / value * 1e4
    moved = (np.array(net) + np.array(fees)) / value * 1e4  # bps, before fees

    assert len(net) > 30
    assert 54.0 < charged.min() <= charged.max() < 81.0  # a tier lower after 10,000
    # Before fees: up to two spreads lost, but for the luck of the draw; then the fees.
    luck = 3.0 * moved.std() / np.sqrt(len(moved))
    assert -4.0 - luck < moved.mean() < luck
    assert sum(net) < -0.006 * sum(bought)


# --- a family that knows what is coming ------------------------------------------------------------


def told_the_future(told: Story, seconds: int) -> Any:
    """A family that has read the first `seconds` of the story and looks one minute ahead in them."""
    known = told.mids[:seconds]
    ahead = (np.append(known[60:], np.full(60, known[-1])) - known).astype(np.float64) / BPS
    count = len(known)

    def peek(features: Any, params: Any, out: Any) -> None:
        second = int(features[_LOTS]) - 2_000
        if second < 0 or second >= count:
            return
        out[OUT_ACTIVE] = 1.0
        out[OUT_MOVE_BPS] = ahead[second]
        out[OUT_SD_BPS] = 1.0
        out[OUT_CONFIDENCE] = 0.5
        out[OUT_INVALIDATION_BPS] = 5.0
        out[OUT_HALF_LIFE_S] = 1e6

    return function_value(peek)


WATCHING: dict[str, Any] = {
    **EAGER,
    "families": ALL,
    "records": {"candidates_top": 64, "candidates_sample": 1},
    "evaluation": {"max_entries": 0, "warmup": "5s"},
    "horizons_s": [60],
}


def run_with(
    told: Story, seconds: int, family: Any | None, settings: dict[str, Any] = WATCHING
) -> dict[str, np.ndarray]:
    """The first `seconds` of a story, the families of the settings and perhaps one more."""
    world = make_world(InstrumentTable([PAIR]), settings, depth=LEVELS)
    if family is not None:
        params = world.core.params[0]
        params["family_enabled"][FAMILY_PLUGIN] = 1
        params["regime_allows"][FAMILY_PLUGIN] = 1
        params["family_half_life_s"][FAMILY_PLUGIN] = 60.0
        plugins = (family, *(no_family,) * (N_PLUGINS - 1))
        params["family_taker"][FAMILY_PLUGIN] = 1
        world = World(world.core._replace(plugins=plugins), world.venue, world.link)
    part = Story(*(getattr(told, name)[:seconds] for name in
                   ("mids", "buys", "sells", "bid_lots", "ask_lots")))  # fmt: skip
    result, tables = run_world(world, [events(part)])
    assert [] == result.faults
    return tables


def foresight(told: Story, candidates: np.ndarray, family: int) -> float:
    """t-value of the mid's next minute in the stated direction, one sighting a minute."""
    seen = sighted(told, candidates[candidates["family"] == family])
    seen = seen[seen[:, 0] < len(told.mids) - 60]
    if len(seen) == 0:
        return 0.0
    _, first = np.unique(seen[:, 0] // 60, return_index=True)
    gains = seen[first, 1] * seen[first, 3]
    if len(gains) < 10:
        return 0.0
    return float(gains.mean() / (gains.std() / np.sqrt(len(gains))))


def before(candidates: np.ndarray, second: int) -> bytes:
    return candidates[candidates["ts"] < (START + second) * S].tobytes()


@pytest.fixture(scope="module")
def told() -> Story:
    return walk(11)


def test_no_family_of_the_house_foresees_a_random_walk(told: Story) -> None:
    candidates = run_with(told, N, None)["candidates"]

    values = {FAMILY_NAMES[code]: foresight(told, candidates, code) for code in BUILT_FAMILIES}
    assert any(values.values())
    assert [] == [name for name, t in values.items() if t > 4.0], values


def test_what_was_decided_does_not_change_when_more_of_the_stream_is_known(told: Story) -> None:
    """Of the house: the first 20 minutes alone give the same rows as the first 20 of 30."""
    short, long = (run_with(told, seconds, None)["candidates"] for seconds in (1_200, 1_800))

    assert before(short, 1_190)
    assert before(short, 1_190) == before(long, 1_190)


def test_a_planted_look_ahead_is_caught_by_both(told: Story) -> None:
    whole = run_with(told, N, told_the_future(told, N))["candidates"]
    assert foresight(told, whole, FAMILY_PLUGIN) > 10.0

    parts = [
        run_with(told, seconds, told_the_future(told, seconds))["candidates"]
        for seconds in (1_200, 1_800)
    ]
    assert before(parts[0], 1_190) != before(parts[1], 1_190)
