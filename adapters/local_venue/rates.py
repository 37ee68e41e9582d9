"""Does the venue accept one more request now? Its transaction counter per pair, and REST's per key.

The venue's own books of what it lets through, written from the published table and sharing no code
with the counters that clients of ours keep. Points are integers of 1e-11, in which the decays per
nanosecond are whole. Left out: limits across pairs.

Sources: Kraken, "Spot trading rate limits", "Spot REST rate limits".
"""

from __future__ import annotations

from typing import Final, NamedTuple

POINT: Final = 100_000_000_000
_S: Final = 1_000_000_000

# (age in seconds below which it holds, points), the first that fits; nothing fits: 0.
AMEND_AGED: Final = ((5, 3), (10, 2), (15, 1))
EDIT_AGED: Final = ((5, 6), (10, 5), (15, 4), (45, 2), (90, 1))
CANCEL_AGED: Final = ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1))


class Tier(NamedTuple):
    """Decay in 0.01 points per second, thresholds in points."""

    decay_e2: int
    threshold: int
    open_orders_max: int
    rest_decay_e2: int
    rest_max: int


TIERS: Final[dict[str, Tier]] = {
    "starter": Tier(100, 60, 60, 33, 15),
    "intermediate": Tier(234, 125, 80, 50, 20),
    "pro": Tier(375, 180, 225, 100, 20),
}

REST_COST: Final = {
    "Ledgers": 4,
    "QueryLedgers": 4,
    "TradesHistory": 4,
    "ClosedOrders": 4,
    # These count in the trading counter instead.
    "AddOrder": 0,
    "AddOrderBatch": 0,
    "AmendOrder": 0,
    "EditOrder": 0,
    "CancelOrder": 0,
    "CancelOrderBatch": 0,
}


def aged(table: tuple[tuple[int, int], ...], age_ns: int) -> int:
    """Points for an order of this age."""
    for below_s, points in table:
        if age_ns < below_s * _S:
            return points
    return 0


class Counter:
    """A counter that rises with requests and falls with time.

    stepwise : it falls once per whole second instead of continuously
    """

    def __init__(self, decay_e2: int, threshold: int, stepwise: bool = False) -> None:
        self.decay_e2, self.threshold, self.stepwise = decay_e2, threshold, stepwise
        self._points = 0
        self._t = 0

    def at(self, t: int) -> int:
        """The counter at time `t` (ns), in 1e-11 points."""
        elapsed = max(0, t - self._t)
        if self.stepwise:
            elapsed = (t // _S - self._t // _S) * _S
        self._points = max(0, self._points - elapsed * self.decay_e2)
        self._t = max(self._t, t)
        return self._points

    def add(self, t: int, points_x2: int) -> None:
        """Charge so many half points."""
        self._points = self.at(t) + points_x2 * POINT // 2

    def over(self, t: int) -> bool:
        """Is it above the threshold, so that a request is refused?"""
        return self.at(t) > self.threshold * POINT

    def points(self, t: int) -> int:
        """Whole points, as a client is told."""
        return self.at(t) // POINT

    def would_exceed(self, t: int, points: int) -> bool:
        """Would so many points more be above the threshold?"""
        return self.at(t) + points * POINT > self.threshold * POINT
