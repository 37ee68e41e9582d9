"""`kill -9` at each point between a decision and its end: nothing lost, doubled or left uncovered.

Each point is a live session of an account of its own against a local venue, killed there by the
kernel, and started again from what is on the disk. The venue's books are the oracle (crash_desk.py).
docs/crash-points.md tells what each of them comes to.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.crash_desk import KILLED, Desk, crash_desk
from tests.support.crash_points import NEARBY, POINTS, Point, pull_the_plug

# Real processes and the machine's clock: with the long tests. test_crash_in_process.py has them
# all in one process, on a clock that waits for them.
pytestmark = pytest.mark.long
SPEED = 10.0
AT_ONCE = 4


def story(desk: Desk, point: Point) -> dict[str, Any]:
    """Kill, start, kill, start ... and judge."""
    name = point.name
    for hook in point.hooks:
        done = desk.session(name, hook, point.goal, for_s=60.0, profile=point.profile)
        assert done["exit"] == KILLED, f"{hook} was not reached: {done}"
    if point.cut:
        pull_the_plug(desk.place(name), desk.runs(name)[-1], point.cut, seed=7)
    last = desk.session(name, goal="settle", for_s=60.0, linger_s=8.0, profile=point.profile)
    assert last["exit"] == 0, last
    assert "error" not in last, last
    assert "stop_ts" in last, f"it did not become clean: {last}"
    return desk.judge(name, last["stop_ts"]) | {"clean_s": last["clean_s"]}


def told(folder: Path, points: list[Point]) -> Iterator[dict[str, Future[Any]]]:
    """All of them, a few at a time: most of a story is waiting."""
    names = tuple(each.name for each in points)
    with crash_desk(folder, names, SPEED) as desk, ThreadPoolExecutor(AT_ONCE) as pool:
        yield {each.name: pool.submit(story, desk, each) for each in points}


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Any]]]:
    yield from told(tmp_path_factory.mktemp("crash"), POINTS)


@pytest.fixture(scope="module")
def more_stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Any]]]:
    yield from told(tmp_path_factory.mktemp("crash"), NEARBY)


@pytest.mark.parametrize("name", [each.name for each in POINTS])
def test_a_session_that_was_killed_there_is_taken_up(
    stories: dict[str, Future[Any]], name: str
) -> None:
    print(name, stories[name].result())


@pytest.mark.parametrize("name", [each.name for each in NEARBY])
def test_killed_nearby_twice_or_with_the_power_cut(
    more_stories: dict[str, Future[Any]], name: str
) -> None:
    print(name, more_stories[name].result())
