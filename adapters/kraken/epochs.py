"""Can what is captured right now be traded upon? The verdict, and when it becomes a new epoch.

An epoch is a stretch of a capture with one universe and one verdict: valid, degraded or invalid.
Inside an epoch the verdict may only fall; when things get better, a new epoch opens. Left out:
where the facts come from (capture.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from engine.events import EPOCH_CLOSED, EPOCH_DEGRADED, EPOCH_INVALID, EPOCH_VALID

SECOND: Final = 1_000_000_000
_WORD: Final = {EPOCH_VALID: "valid", EPOCH_DEGRADED: "degraded", EPOCH_INVALID: "invalid"}


@dataclass(frozen=True)
class Facts:
    """What a verdict is made of.

    n_symbols, n_verified : of the universe; those whose book stands and is verified
    gap_ns : age of the oldest gap that no snapshot has closed, 0 for none
    lag_ns : how far the writer is behind
    """

    n_symbols: int
    n_verified: int
    gap_ns: int = 0
    lag_ns: int = 0


@dataclass(frozen=True)
class Criteria:
    """Bounds of the verdicts; shares in hundredths."""

    valid_share: int = 95
    degraded_share: int = 80
    gap_ns_max: int = 10 * SECOND
    lag_ns_max: int = 5 * SECOND


def judge(facts: Facts, criteria: Criteria) -> tuple[int, str]:
    """EPOCH_VALID, EPOCH_DEGRADED or EPOCH_INVALID, and why in words."""
    share = 100 * facts.n_verified
    said = f"{facts.n_verified} of {facts.n_symbols} symbols verified"
    if facts.n_symbols == 0 or share < criteria.degraded_share * facts.n_symbols:
        return EPOCH_INVALID, said
    if facts.gap_ns > criteria.gap_ns_max:
        return EPOCH_DEGRADED, f"{said}; a gap is open for {facts.gap_ns / SECOND:.1f} s"
    if facts.lag_ns > criteria.lag_ns_max:
        return EPOCH_DEGRADED, f"{said}; the writer is {facts.lag_ns / SECOND:.1f} s behind"
    if share < criteria.valid_share * facts.n_symbols:
        return EPOCH_DEGRADED, said
    return EPOCH_VALID, said


@dataclass(frozen=True)
class Turn:
    """One EPOCH event to be written: number, status (EPOCH_*), and why."""

    number: int
    status: int
    verdict: str


def word_of(status: int) -> str:
    """A status (EPOCH_*) as people say it."""
    return _WORD.get(status, "closed")


class Epochs:
    """The epochs of one lineage. `number` is the newest, 0 before the first."""

    def __init__(self, number: int = 0, criteria: Criteria | None = None) -> None:
        self.number = number
        self.status = EPOCH_CLOSED
        self.verdict = ""
        self._criteria = criteria or Criteria()

    def judge(self, facts: Facts) -> list[Turn]:
        """What to write now: nothing, a fall, or the end of an epoch and a better one."""
        status, verdict = judge(facts, self._criteria)
        if self.status == EPOCH_CLOSED:
            return [self._open(status, verdict)]
        if status == self.status:
            return []
        if status > self.status:  # codes rise as trust falls
            self.status, self.verdict = status, verdict
            return [Turn(self.number, status, verdict)]
        return [self._close("better from here on"), self._open(status, verdict)]

    def swap(self, why: str) -> list[Turn]:
        """Another universe from here on: the epoch ends; the next verdict opens one."""
        return [self._close(why)] if self.status != EPOCH_CLOSED else []

    def again(self) -> list[Turn]:
        """The epoch that goes on, for the beginning of another part."""
        if self.status == EPOCH_CLOSED:
            return []
        return [Turn(self.number, self.status, self.verdict)]

    @property
    def word(self) -> str:
        return word_of(self.status)

    def _open(self, status: int, verdict: str) -> Turn:
        self.number += 1
        self.status, self.verdict = status, verdict
        return Turn(self.number, status, verdict)

    def _close(self, why: str) -> Turn:
        self.status, self.verdict = EPOCH_CLOSED, why
        return Turn(self.number, EPOCH_CLOSED, why)
