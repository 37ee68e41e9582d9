"""Which market time is it? The machine's clock, stretched: so many market seconds per second."""

from __future__ import annotations

import math

from engine.clock import Clock


class VenueClock:
    """Two times at once: `wall()` of the machine, and `market(wall)` at `speed` times its pace.

    clock : asked for the wall time; start : market time at which it begins, ns
    speed : market seconds per second, 1e-6 or more; inf is for a market that runs as fast as it can
    """

    def __init__(self, clock: Clock, start: int, speed: float = 1.0) -> None:
        if not speed > 0:
            raise ValueError(f"a market clock of speed {speed} does not run; give more than 0.")
        self.clock, self.speed = clock, speed
        # Integers: an hour in nanoseconds times a float would lose some.
        self._speed_e6 = 0 if math.isinf(speed) else max(1, round(speed * 1_000_000))
        self._wall, self._market = clock.now(), start

    def wall(self) -> int:
        return self.clock.now()

    def market(self, wall: int) -> int:
        """Market time at a wall time; never runs back."""
        elapsed = max(0, wall - self._wall)
        if self.speed == 1.0:
            return self._market + elapsed
        if math.isinf(self.speed):
            return self._market
        return self._market + elapsed * self._speed_e6 // 1_000_000

    def wall_at(self, market: int) -> int:
        """Wall time at which the market time is reached."""
        if math.isinf(self.speed):
            return self._wall
        return self._wall - (-max(0, market - self._market) * 1_000_000 // self._speed_e6)

    def set(self, market: int) -> None:
        """It is this market time now: after a hold, or a step of the clock."""
        self._wall, self._market = self.clock.now(), market
