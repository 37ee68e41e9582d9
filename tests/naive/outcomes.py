"""What became of one candidate, from a plain list of what happened: the slow version of shadow.py.

Prints are (ts, price), ticks are ts -> (mid in half ticks or 0, was data missing). Everything is found by
looking at all of them.
"""

from __future__ import annotations

import math
from typing import Any

S = 1_000_000_000
HORIZONS_S = {"10s": 10, "30s": 30, "1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600}
HORIZONS_S |= {"4h": 14_400}


class Happened:
    """What a market did: told by a test, asked by `follow`."""

    def __init__(self) -> None:
        self.prints: list[tuple[int, int]] = []
        self.ticks: dict[int, tuple[int, bool]] = {}

    def prints_of(self, second: int) -> list[int]:
        """Prices printed after second - 1 and until second."""
        return [price for ts, price in self.prints if (second - 1) * S < ts <= second * S]

    def missing(self, second: int) -> bool:
        return any(
            gone for ts, (_, gone) in self.ticks.items() if (second - 1) * S < ts <= second * S
        )

    def mid(self, second: int) -> int:
        return self.ticks.get(second * S, (0, True))[0]


def later_mids(row: Any, happened: Happened, end: int) -> dict[str, float]:
    """The move after each horizon, NaN where no tick came in time or its mid was not trusted."""
    found = {}
    for name, seconds in HORIZONS_S.items():
        due = int(row["ts"]) + seconds * S
        ticks = sorted(ts for ts in happened.ticks if due <= ts <= end)
        mid = happened.ticks[ticks[0]][0] if ticks and ticks[0] - due < S else 0
        born = int(row["mid_half_ticks"])
        found[name] = math.nan
        if mid > 0 and born > 0:
            found[name] = int(row["side"]) * (mid / born - 1.0) * 10_000.0
    return found


def path(row: Any, happened: Happened) -> tuple[float, float]:
    """Best and worst print over the candidate's own horizon, NaN without any or with a gap."""
    start = -(-int(row["ts"]) // S) + 1
    seconds = range(start, start + int(row["horizon_s"]))
    prices = [price for b in seconds for price in happened.prints_of(b)]
    if not prices or any(happened.missing(b) for b in seconds):
        return math.nan, math.nan
    mid = 0.5 * int(row["mid_half_ticks"])
    up = (max(prices) / mid - 1.0) * 10_000.0
    down = (min(prices) / mid - 1.0) * 10_000.0
    return (up, down) if row["side"] > 0 else (-down, -up)


def trade(
    row: Any, happened: Happened, window_s: int, hold_s: int, spread_out_bps: float, last: int
) -> tuple[str, int, int, float]:
    """(how it ended, seconds to the fill, seconds from there to the end, result in bps).

    -1 and NaN where there is nothing to say; last : the last whole second that is known
    """
    start = -(-int(row["ts"]) // S) + 1
    side, price, stop, target = (int(row[name]) for name in ("side", "price", "stop", "target"))
    unknown = ("unknown", -1, -1, math.nan)

    def result(exit_price: float, extra: float) -> float:
        gain = side * (exit_price - price) / price * 10_000.0
        return gain - float(row["legs_bps"]) - float(row["borrow_bps"]) - extra

    def stopped(b: int) -> bool:
        return any(side * (each - stop) <= 0 for each in happened.prints_of(b))

    def reached(b: int) -> bool:
        return target > 0 and any(side * (each - target) >= 0 for each in happened.prints_of(b))

    entered = start - 1
    if window_s > 0:
        entered = 0
        for b in range(start, start + window_s):
            if b > last or happened.missing(b):
                return unknown
            if any(side * (each - price) < 0 for each in happened.prints_of(b)):
                entered = b
                break
        if entered == 0:
            return "not_filled", -1, -1, 0.0
    fill_s = entered - start + 1
    if window_s > 0 and stopped(entered):
        return "stop", fill_s, 0, result(stop, 0.0)
    for b in range(entered + 1, entered + hold_s + 1):
        if b > last or happened.missing(b):
            return "unknown", fill_s, -1, math.nan
        if stopped(b):
            return "stop", fill_s, b - entered, result(stop, 0.0)
        if reached(b):
            return "target", fill_s, b - entered, result(target, 0.0)
    mid = happened.mid(entered + hold_s)
    if mid == 0:
        return "unknown", fill_s, -1, math.nan
    return "time", fill_s, hold_s, result(0.5 * mid, spread_out_bps)
