"""What market shall be made? The configuration of the generator and its three default pairs.

Every figure is a plain number of the pair's own scale (quote currency, base currency, seconds),
so that a person can judge it; state.py turns them into ticks, lots and nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from engine.errors import ConfigError
from engine.instruments import Instrument, InstrumentTable

NS_PER_S: Final = 1_000_000_000
DEPTHS: Final = (10, 25, 100, 500, 1000)  # that Kraken offers for `book`
LEVEL3_DEPTHS: Final = (10, 100, 1000)


@dataclass(frozen=True)
class SymbolSpec:
    """One pair and how its market behaves in the quiet regime.

    price : quote currency, of the hidden fair price at the start
    volatility : of the fair price, as a fraction per square root of a second
    common : correlation of its shocks with the factor that all pairs share, 0 .. 1
    scale : quote currency, the distance that counts as "near the touch" (half a usual spread)
    limit_rate, market_rate, amend_rate : arrivals per second that nothing else caused
    order_qty, order_spread : base currency, median of a limit order; sigma of its logarithm
    market_qty : base currency, median of an order that takes
    n_orders : resting orders that the book settles at
    first_trade_id : id of the first print
    """

    instrument: Instrument
    price: Decimal
    volatility: float
    common: float
    scale: Decimal
    limit_rate: float
    market_rate: float
    amend_rate: float
    order_qty: Decimal
    order_spread: float
    market_qty: Decimal
    n_orders: int
    first_trade_id: int


DEFAULT_SYMBOLS: Final = (
    SymbolSpec(
        instrument=Instrument(
            symbol="BTC/USD",
            price_increment=Decimal("0.1"),
            qty_increment=Decimal("0.00000001"),
            price_precision=1,
            qty_precision=8,
            qty_min=Decimal("0.0001"),
            cost_min=Decimal("0.5"),
            notes="synthetic; rules like Kraken's",
        ),
        price=Decimal("60000"),
        volatility=0.000065,
        common=0.80,
        scale=Decimal("2.4"),
        limit_rate=2.4,
        market_rate=0.09,
        amend_rate=0.18,
        order_qty=Decimal("0.08"),
        order_spread=1.2,
        market_qty=Decimal("0.03"),
        n_orders=420,
        first_trade_id=71_000_001,
    ),
    SymbolSpec(
        instrument=Instrument(
            symbol="ETH/USD",
            price_increment=Decimal("0.01"),
            qty_increment=Decimal("0.00000001"),
            price_precision=2,
            qty_precision=8,
            qty_min=Decimal("0.002"),
            cost_min=Decimal("0.5"),
            notes="synthetic; rules like Kraken's",
        ),
        price=Decimal("2500"),
        volatility=0.000085,
        common=0.75,
        scale=Decimal("0.12"),
        limit_rate=1.7,
        market_rate=0.065,
        amend_rate=0.12,
        order_qty=Decimal("1.1"),
        order_spread=1.3,
        market_qty=Decimal("0.5"),
        n_orders=360,
        first_trade_id=52_000_001,
    ),
    SymbolSpec(
        instrument=Instrument(
            symbol="DOGE/USD",
            price_increment=Decimal("0.00001"),
            qty_increment=Decimal("0.00000001"),
            price_precision=5,
            qty_precision=8,
            qty_min=Decimal("20"),
            cost_min=Decimal("0.5"),
            notes="synthetic; a coarse tick (0.8 bps), so that queues form at the touch",
        ),
        price=Decimal("0.12"),
        volatility=0.0001,
        common=0.60,
        scale=Decimal("0.000006"),
        limit_rate=1.0,
        market_rate=0.05,
        amend_rate=0.05,
        order_qty=Decimal("2400"),
        order_spread=1.2,
        market_qty=Decimal("1800"),
        n_orders=320,
        first_trade_id=33_000_001,
    ),
)


@dataclass(frozen=True)
class GeneratorConfig:
    """All that decides the events. Equal configurations give equal bytes on every machine.

    seed : any int64
    start_ts : ns since the epoch, the venue's clock at the opening snapshots
    duration_s : seconds of market to make
    depth : levels per side of the `book` channel, one of `DEPTHS`
    level3 : whether the level-3 channel is recorded as well
    level3_depth : price levels per side of the level-3 channel, one of `LEVEL3_DEPTHS`
    tickers : whether the ticker channel is recorded as well
    intensity : multiplies every arrival rate; the fair price moves as before
    jumps_per_hour : jumps of the fair price that all pairs share, in the quiet regime
    latency_ms : median delay from the venue to the receiver
    warmup_s : seconds that the market runs before the first event
    """

    seed: int = 20_260_101
    start_ts: int = 1_767_225_600 * NS_PER_S  # 2026-01-01T00:00:00Z
    duration_s: float = 3600.0
    symbols: tuple[SymbolSpec, ...] = DEFAULT_SYMBOLS
    depth: int = 10
    level3: bool = True
    level3_depth: int = 10
    tickers: bool = True
    intensity: float = 1.0
    jumps_per_hour: float = 2.0
    latency_ms: float = 12.0
    warmup_s: float = 60.0

    def __post_init__(self) -> None:
        if self.depth not in DEPTHS:
            raise ConfigError(
                f"depth {self.depth} is not one that the book channel has.",
                f"Choose one of {', '.join(map(str, DEPTHS))}.",
            )
        if self.level3_depth not in LEVEL3_DEPTHS:
            raise ConfigError(
                f"level3_depth {self.level3_depth} is not one that the level-3 channel has.",
                f"Choose one of {', '.join(map(str, LEVEL3_DEPTHS))}.",
            )
        for name in ("duration_s", "intensity", "latency_ms"):
            if not 0.0 < getattr(self, name) < 1e9:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}, which makes no market.",
                    "Give a number above zero and below 1e9.",
                )
        for name in ("jumps_per_hour", "warmup_s"):
            if not 0.0 <= getattr(self, name) < 1e9:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}.",
                    "Give a number from zero up to 1e9.",
                )
        if not 1 <= len(self.symbols) <= 64:
            raise ConfigError(
                f"{len(self.symbols)} symbols asked for.",
                "The generator makes 1 to 64.",
            )
        for spec in self.symbols:
            if not 0.0 <= spec.common <= 1.0:
                raise ConfigError(
                    f"{spec.instrument.symbol}: common is {spec.common}.",
                    "A correlation with the shared factor lies between 0 and 1.",
                )
            if not 20 <= spec.n_orders <= 1500:
                raise ConfigError(
                    f"{spec.instrument.symbol}: n_orders is {spec.n_orders}.",
                    "Choose 20 to 1500 resting orders.",
                )

    @property
    def instruments(self) -> InstrumentTable:
        """The instrument table that `sym` of the events points into."""
        return InstrumentTable(spec.instrument for spec in self.symbols)

    @property
    def end_ts(self) -> int:
        """Venue time (ns) at which the market ends, exclusive."""
        return self.start_ts + int(self.duration_s * NS_PER_S)


def default_instruments() -> InstrumentTable:
    """The three pairs of the default configuration: BTC/USD, ETH/USD, DOGE/USD."""
    return InstrumentTable(spec.instrument for spec in DEFAULT_SYMBOLS)
