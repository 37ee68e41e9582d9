"""What does the venue assume where Kraken's documents leave it open? Every choice once, by name.

Defaults are our assumptions; docs/howto-venue-server.md lists the same names. Times that concern
a connection are seconds of the wall clock, times that concern the market are seconds of its own
clock, which may run faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from adapters.local_venue.rates import TIERS, Tier
from engine.errors import ConfigError
from engine.venue.fees import FEE_SCHEDULES

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
    unread_frames_max: int = 100_000  # a client that reads slower than this is closed
    # level 3
    level3_symbols_max: int = 200
    level3_rate: int = 200  # counter per second: 200 standard, 500 pro
    level3_rate_error: str = "Exceeded msg rate"
    level3_rate_fixed: bool = False  # fixed instead of sliding window of one second
    # subscriptions
    already_subscribed: str = "Already subscribed"
    not_subscribed: str = "Subscription Not Found"
    one_depth_per_symbol: bool = True
    snapshot_delay_ms: float = 0.0  # the acknowledgement to the snapshot; observed: about 100
    unsubscribe_late_ms: float = 0.0  # updates still come so long after the acknowledgement
    instrument_warning: str = "tick_size is deprecated, use price_increment"
    # account
    balances: Mapping[str, Decimal] = field(
        default_factory=lambda: {
            "USD": Decimal(100_000),
            "BTC": Decimal(2),
            "ETH": Decimal(40),
            "DOGE": Decimal(200_000),
        }
    )
    balance_other: Decimal = Decimal(1000)  # of every base asset that `balances` does not name
    tier: str = "intermediate"
    fee_schedule: str = "kraken-2025-11"
    volume_start: Decimal = Decimal(0)  # 30-day volume before the session
    fee_round_up: bool = False  # to the nearest
    quote_decimals: int = 4  # of the ledger in quote currency
    # matching
    queue_model: int = 0  # 0 cautious, 1 proportional: docs/venue-model.md
    amend_up_keeps: bool = False  # raising the quantity keeps the place in the queue
    stop_at_entry: bool = True  # a trigger that holds at entry fires at once; else it is refused
    trailing_stops: bool = True  # taken at all; else refused as an order type
    trailing_amends: bool = True  # their distance may be amended; else that is refused
    protection: Decimal = Decimal("0.05")  # market orders stop this far from the best price
    # requests
    engine_ms: tuple[float, float] = (1.0, 4.0)  # a request to the engine: from, to
    reply_ms: tuple[float, float] = (0.2, 1.0)  # the engine's answer to the reply
    report_ms: tuple[float, float] = (0.1, 1.2)  # ... and to executions and balances
    deadline_default_s: float = 5.0
    integers_refused: tuple[str, ...] = ("cash_order_qty",)  # float fields that need a point
    post_only_reject: bool = False  # refuse with an error instead of accept and cancel
    duplicate_cl_ord_id: str = "EGeneral:Invalid arguments:cl_ord_id already in use"
    fok_on_websocket: bool = False
    batch_cancel_top_level: bool = False  # `orders_cancelled` beside `success`, as in 2024
    new_repeats_client_id: bool = True  # the `new` report names cl_ord_id or order_userref
    ratecount_field: str = "ratecount"
    # transaction counter
    rate_limits: bool = True
    rate_stepwise: bool = False
    rate_refuses_cancels: bool = True  # above the threshold; batch cancels are let through
    cancel_all_costs: bool = True  # like single cancels
    # REST
    rest_limits: bool = True
    # A pair asked for with a slash is answered under that name: python-kraken-sdk relies on it.
    rest_echoes_slash: bool = True
    rest_lag_ms: float = 0.0  # what REST tells of the account is this old
    public_rest_per_s: float = 0.0  # calls per second and address; 0 is no limit

    def __post_init__(self) -> None:
        for name, value, known in (
            ("tier", self.tier, tuple(TIERS)),
            ("fee_schedule", self.fee_schedule, tuple(FEE_SCHEDULES)),
            ("queue_model", self.queue_model, (0, 1)),
        ):
            if value not in known:
                raise ConfigError(
                    f"{name} {value!r} is not known to the venue.",
                    f"Choose one of {', '.join(map(str, known))}.",
                )

    @property
    def tier_limits(self) -> Tier:
        """The limits of the account's tier."""
        return TIERS[self.tier]
