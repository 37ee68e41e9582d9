"""`kill -9` at each point between a decision and its end: nothing lost, doubled or left uncovered.

Each point is a live session of an account of its own against a local venue, killed there by the
kernel, and started again from what is on the disk. The venue's books are the oracle (crash_desk.py).
docs/crash-points.md tells what each of them comes to.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from adapters.sessions import LOG
from tests.support.crash_desk import KILLED, Desk, crash_desk

# A minute or two on a quiet machine, and several on one that is busy: with the long tests.
pytestmark = pytest.mark.long
SPEED = 10.0
AT_ONCE = 4


@dataclass(frozen=True)
class Point:
    """Where sessions of one account are killed, one after the other; then one that must live.

    cut : what a power cut does to the log of the last one
    """

    hooks: tuple[str, ...]
    profile: Mapping[str, Any] = field(default_factory=dict)
    goal: str = "none"
    cut: str = ""

    @property
    def name(self) -> str:
        return " then ".join(self.hooks) + (f" {self.cut}" if self.cut else "")


def one(hook: str, goal: str = "none", **profile: Any) -> Point:
    return Point((hook,), profile, goal)


# One for each of the points that a session has, and what only differs by a hair.
POINTS = [
    *map(one, ("C01", "C02", "C03", "C04", "C05", "C06", "C07", "C08", "C09", "C10", "C11", "C12")),
    *map(one, ("C13", "C14", "C15", "C16", "C17", "C18")),
    one("C19", live={"switch": "cancel_all"}),
    *map(one, ("C20", "C21", "C22")),
    Point(("C05", "C25")),
    Point(("C10", "C26")),
    Point(("C08", "C27")),
    Point(("C13", "C28")),
    one("C29", "entry"),
    one("C30"),
]
NEARBY = [
    *map(one, ("C02 flushed", "C07 applied", "C10 applied", "C30 unnamed")),
    one("C29 saved", "entry"),
    one("C29 ended", "entry"),
    Point(("C03", "C26 later")),
    Point(("C12", "C28 asked")),
    Point(("C05", "C25", "C26", "C27")),
    Point(("C11", "C27", "C28")),
    *(
        Point((hook,), cut=cut)
        for hook, cut in (
            ("C05", "lost"),
            ("C06", "torn"),
            ("C10", "lost"),
            ("C11", "torn"),
            ("C13", "garbled"),
            ("C17", "lost"),
        )
    ),
]


def pull_the_plug(place: Path, run: Path, how: str, seed: int) -> int:
    """Do to the log of a dead session what a power cut may; the bytes that it had to lose."""
    notes = sorted(place.glob("notes-*.json"), key=lambda each: each.stat().st_mtime)[-1]
    name, n_synced = json.loads(notes.read_text())["synced"]
    dice = random.Random(seed)
    n_lost = 0
    for segment in sorted((run / LOG).glob("*.arrows")):
        if segment.name < name:
            continue
        data = segment.read_bytes()
        keep = n_synced if segment.name == name else 0
        rest = bytearray(data[keep:])
        n_lost += len(rest)
        if how == "lost":
            rest.clear()
        elif how == "torn":
            del rest[dice.randint(0, len(rest)) :]
        elif rest:
            rest[dice.randrange(len(rest))] ^= 1 << dice.randrange(8)
        segment.write_bytes(data[:keep] + bytes(rest))
        if segment.name > name and not rest:
            segment.unlink()
    return n_lost


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
