"""Which prices were come to, told as a list of notes and a list of what the market said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x > -700.0 else 0.0


def signal(
    side: int, window_s: float, moved_sd: float, ofi: float, trades: tuple[float, float, float]
) -> float:
    """Log-odds of the last seconds. trades : per second over 10 s, 1 m, 5 m"""
    fade = 10.0 / (10.0 + window_s)
    fast, minute, usual = trades
    activity = (1.0 + fast / usual + minute / usual) / 3.0 if usual else 1.0
    return (
        0.6 * fade * math.log(activity)
        - side * 0.3 * fade * max(-3.0, min(3.0, moved_sd))
        - side * 0.025 * max(-30.0, min(30.0, ofi))
    )


@dataclass
class Note:
    price: int
    signal: float
    since: int
    until: int


class NaiveReach:
    """One side of one symbol: +1 bids, -1 asks."""

    def __init__(self, side: int, window_s: float, half_s: float) -> None:
        self.side = side
        self.assumed = math.log(math.sqrt(window_s / half_s))
        self.notes: list[Note] = []
        self.level = 0.0
        self.outcomes: list[bool] = []

    def chance(self, told: float) -> float:
        return logistic(self.assumed + self.level + told)

    def _learn(self, note: Note, came: bool) -> None:
        self.notes.remove(note)
        expected = self.chance(note.signal)
        self.outcomes.append(came)
        self.level += 5.0 * (came - expected) / (20.0 + min(len(self.outcomes), 400))

    def price(self, price: int, ts: int) -> None:
        """A print, or the best price of the other side."""
        for note in list(self.notes):
            if ts > note.since and (note.price - price) * self.side >= 0:
                self._learn(note, ts <= note.until)

    def note(self, price: int, told: float, since: int, until: int) -> None:
        if len(self.notes) < 8:
            self.notes.append(Note(price, told, since, until))

    def close(self, now: int) -> None:
        for note in list(self.notes):
            if now >= note.until:
                self._learn(note, False)


def share(outcomes: Sequence[bool]) -> float:
    return sum(outcomes) / len(outcomes)
