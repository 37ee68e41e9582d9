"""What does the venue assume where Kraken's documents leave it open? Every choice once, by name.

Defaults are our assumptions; docs/howto-venue-server.md lists the same names. Times that concern
a connection are seconds of the wall clock, times that concern the market are seconds of its own
clock, which may run faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BOOK_DEPTHS: Final = (10, 25, 100, 500, 1000)
LEVEL3_DEPTHS: Final = (10, 100, 1000)
OHLC_INTERVALS: Final = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)
TRADES_SNAPSHOT: Final = 50
LEVEL3_COST: Final = {10: 5, 100: 25, 1000: 100}


@dataclass(frozen=True)
class VenueOptions:
    """All that decides how the venue behaves, beside its market and its faults."""

    seed: int = 1
    gateway_version: str = "2.0.10"
    # connections
    heartbeat_s: float = 1.0
    heartbeat_only_idle: bool = False  # documented: only while no data flows; observed: always
    idle_close_s: float = 60.0  # without any traffic
    private_idle_close_s: float = 60.0  # an authenticated connection without subscription
    connections_max: int = 150  # attempts per 10 minutes and address; 0 is no limit
    # level 3
    level3_symbols_max: int = 200
    level3_rate: int = 200  # counter per second: 200 standard, 500 pro
    level3_rate_error: str = "Exceeded msg rate"
    level3_rate_fixed: bool = False  # fixed instead of sliding window of one second
    # subscriptions
    already_subscribed: str = "Already subscribed"
    not_subscribed: str = "Subscription Not Found"
    one_depth_per_symbol: bool = True
    instrument_warning: str = "tick_size is deprecated, use price_increment"
