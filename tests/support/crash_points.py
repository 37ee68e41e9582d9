"""The crash points as stories: where sessions of one account are killed, one after the other.

Whoever tells them chooses how they die: in this process on one clock (crash_world.py), or as processes
by `kill -9` (crash_desk.py). docs/crash-points.md tells what each comes to.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.sessions import LOG


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
    Point(("C12", "bare")),
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
        # Without the room that stands ahead of a segment that is being written.
        data = data[: max(keep, len(data.rstrip(b"\0")))]
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
