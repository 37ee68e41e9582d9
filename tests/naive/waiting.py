"""The waiting candidates of engine/core/heap.py as a dict, and the shares of allocate.py as a story."""

from __future__ import annotations

from dataclasses import dataclass, field

S = 1_000_000_000


@dataclass
class Waiting:
    """route -> (score, scored, born, expires, half-life in s), at most `room` of them."""

    room: int
    rows: dict[int, tuple[float, int, int, int, float]] = field(default_factory=dict)

    def faded(self, route: int, now: int) -> float:
        score, scored, _, _, half_life = self.rows[route]
        return score * 0.5 ** ((now - scored) / S / half_life)

    def ranked(self, now: int) -> list[int]:
        return sorted(self.rows, key=lambda route: (-self.faded(route, now), route))

    def merge(self, route: int, score: float, half_life: float, now: int, expires: int) -> None:
        born = now
        if route in self.rows:
            then, scored, born, _, _ = self.rows[route]
            if scored == now and then >= score:
                return
        elif len(self.rows) == self.room:
            worst = self.ranked(now)[-1]
            if self.faded(worst, now) >= score:
                return
            del self.rows[worst]
        self.rows[route] = (score, now, born, expires, half_life)

    def expire(self, now: int) -> None:
        self.rows = {route: row for route, row in self.rows.items() if now < row[3]}


def shares(
    scores: list[float], families: list[int], floor: float, ceiling: float, family_ceiling: float
) -> list[float]:
    """Weights of candidates, best first."""
    total = sum(score for score in scores if score > 0)
    used: dict[int, float] = {}
    left, out = 1.0, []
    for score, family in zip(scores, families, strict=True):
        weight = 0.0
        if score > 0:
            wanted = min(max(score / total, floor), ceiling)
            weight = max(min(wanted, family_ceiling - used.get(family, 0.0), left), 0.0)
        used[family] = used.get(family, 0.0) + weight
        left -= weight
        out.append(weight)
    return out
