"""When has the venue said that it will close? Announced maintenance, kept until it is over.

Kraken announces it in the status channel. Before it begins the dead man's switch has to be off,
since one that is set fires when the venue is back, and entries have to be gone. Told the time of
the venue's clock (ns), asks no clock. Left out: what follows (switch.py, adapters/trading.py).
"""

from __future__ import annotations

from typing import Final

from adapters.kraken.phases import SECOND
from adapters.kraken.stamps import ns_of
from adapters.kraken.wire import Status

BEFORE_NS: Final = 120 * SECOND  # so long before it begins the venue counts as closing


class Planned:
    """The next maintenance that was announced."""

    def __init__(self) -> None:
        self._next = (0, 0)  # from, until
        self._over = (0, 0)  # the one that ended last: told again, it is not new
        self._closed = False  # the venue did close for it

    def told(self, message: Status, now: int) -> None:
        """What a status says of it: announced, begun, over."""
        start, _ = self._next
        if message.system != "online":
            self._closed = self._closed or (bool(start) and now >= start - BEFORE_NS)
        elif self._closed:
            self._over, self._next, self._closed = self._next, (0, 0), False
        planned = [
            (ns_of(each.expected_start_utc), ns_of(each.expected_end_utc))
            for each in message.upcoming_maintenance or ()
            if each.expected_start_utc and each.expected_end_utc
        ]
        # One that is over, and still listed, must not hide the next.
        ahead = [each for each in planned if each != self._over and each[1] >= now]
        if ahead:
            self._next = min(ahead)
        elif message.system == "online" and self._next[0] <= now:
            self._next = (0, 0)

    def near(self, now: int, before_ns: int = BEFORE_NS) -> bool:
        """Does it begin within `before_ns`, or last?"""
        start, end = self._next
        return bool(start) and start - before_ns <= now <= end
