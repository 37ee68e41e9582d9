"""What time is it? Event time in a replay, the wall clock when live; and the timer grid.

The only file of engine/ that may ask the machine for the time. Code in core never asks for time
beyond its event's `ts`; in a replay every clock but the event's refuses to answer.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final, Protocol

from engine.errors import ClockError

GRID_NS: Final = (250_000_000, 1_000_000_000, 5_000_000_000, 60_000_000_000)


class Clock(Protocol):
    """Whoever needs the time is given one of these."""

    def now(self) -> int:
        """ns since the epoch, UTC."""


class WallClock:
    """The machine's clock, for live modes and for stamps on files."""

    def now(self) -> int:
        return time.time_ns()


class EventClock:
    """The newest event's time; before the first event there is none."""

    def __init__(self) -> None:
        self._now = 0

    def advance(self, ts: int) -> None:
        """Move to `ts` (ns); backwards is refused."""
        if ts < self._now:
            raise ClockError(f"event time went back from {self._now} to {ts} ns.")
        self._now = ts

    def now(self) -> int:
        if self._now == 0:
            raise ClockError(
                "a replay has no time before its first event.", "Take ts as an argument."
            )
        return self._now


class PacedClock:
    """A clock that runs at `speed` times the machine's pace, from its time or from `start` (ns).

    For sessions against a local venue whose market runs faster than the machine's clock.
    """

    def __init__(self, clock: Clock, speed: float = 1.0, start: int | None = None) -> None:
        self._clock, self.speed = clock, speed
        self._machine = clock.now()
        self._start = self._machine if start is None else start
        # Integers: an hour in nanoseconds times a float would lose some.
        self._speed_e6 = round(speed * 1_000_000)
        if self._speed_e6 <= 0:
            raise ClockError(f"a clock of speed {speed} does not run.", "Give more than 0.")

    def now(self) -> int:
        elapsed = self._clock.now() - self._machine
        return self._start + elapsed * self._speed_e6 // 1_000_000

    def seconds_until(self, ts: int) -> float:
        """Seconds of the machine until this clock shows `ts`; below 0: it did."""
        return (ts - self.now()) / 1e9 / self.speed


def machine_seconds(clock: Clock, ns: int) -> float:
    """How long the machine sleeps until `clock` has gone on by `ns`: shorter where it is paced."""
    return ns / 1e9 / float(getattr(clock, "speed", 1.0))


class Stopwatch:
    """Elapsed wall time of a piece of work, for progress and manifests, never for decisions."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self._start


def next_on_grid(ts: int, grid_ns: int) -> int:
    """First instant of the grid strictly after `ts`, ns."""
    return (ts // grid_ns + 1) * grid_ns


def utc_text(ts: int) -> str:
    """ns since the epoch as `2026-01-01 12:00:00.000 UTC`."""
    moment = datetime.fromtimestamp(ts // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{ts // 1_000_000 % 1000:03d} UTC"


def utc_stamp(ts: int) -> str:
    """ns since the epoch as `20260101-120000`, for names of folders."""
    return f"{datetime.fromtimestamp(ts // 1_000_000_000, UTC):%Y%m%d-%H%M%S}"
