"""Each crash point of submit and fill, in this process: nothing lost, doubled or left uncovered.

Venue and sessions share one clock that waits for them (tests/support/one_clock.py), so that it comes to
the same on any machine. test_crash_points.py beside it does the same to real processes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.crash_points import NEARBY, POINTS, Point
from tests.support.crash_world import Worlds


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    with pytest.MonkeyPatch.context() as patch:
        yield Worlds(tmp_path_factory.mktemp("crash"), patch)


@pytest.mark.parametrize("point", POINTS, ids=lambda each: each.name)
def test_a_session_that_was_killed_there_is_taken_up(worlds: Worlds, point: Point) -> None:
    with worlds.world(point.name) as world:
        print(point.name, world.story(point))


@pytest.mark.parametrize("point", NEARBY, ids=lambda each: each.name)
def test_killed_nearby_twice_or_with_the_power_cut(worlds: Worlds, point: Point) -> None:
    with worlds.world(point.name) as world:
        print(point.name, world.story(point))
