"""A core of one symbol with a book and features set by hand, for tests of theses and economics.

The numbers are those of a calm liquid pair: price 100.00 in ticks of a cent, one tick = 1 bps,
lots of 0.001, ten levels a side. A test changes what it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from engine.book import book_clear, book_set
from engine.commands import COMMAND
from engine.core.columns import FEATURE_INDEX, N_FAMILY_PARAMS, N_FEATURES, N_OUT
from engine.core.needs import FOLLOWED
from engine.core.orders import N_ORDERS, ORDER
from engine.core.params import default_params
from engine.core.regime import REGIME_RANGE
from engine.core.routes import N_PLUGINS
from engine.core.state import COMMANDS_MAX, GLOB, RINGS, SYMBOL, WORK, Core
from engine.core.theses import default_families, no_family
from engine.instruments import Instrument, InstrumentTable
from engine.jit import kernel
from engine.stage import N_STAGES

NOW = 1_700_000_000_000_000_000
MID = 10_000.0  # ticks
BID, ASK = 9_999, 10_001
LEVEL_LOTS = 5_000

PAIR = Instrument(
    symbol="TEST/USD",
    price_increment=Decimal("0.01"),
    qty_increment=Decimal("0.001"),
    price_precision=2,
    qty_precision=3,
    qty_min=Decimal("0.010"),
    cost_min=Decimal("0.5"),
)

CALM: dict[str, float] = {
    "mid": MID,
    "tick_bps": 1.0,
    "spread_ticks": 2.0,
    "spread_bps": 2.0,
    "spread_mean_bps": 2.0,
    "microprice_bps": 0.2,
    "traded_bid_rate": 300.0,
    "traded_ask_rate": 200.0,
    "n_trades_10s": 10.0,
    "n_trades_1m": 60.0,
    "n_trades_5m": 300.0,
    "return_bps_10s": 0.2,
    "flow_imbalance_5m": 0.2,
    "vol_bps_10s": 1.0,
    "vol_bps_1m": 3.0,
    "vol_bps_5m": 7.0,
    "vol_bps_15m": 12.0,
    "vol_bps_1h": 24.0,
    "buy_notional_15m": 400_000.0,
    "sell_notional_15m": 500_000.0,
    "drift_t_1m": 0.5,
    "drift_t_5m": 1.0,
    "drift_t_15m": 1.0,
    "drift_t_1h": 0.5,
    "return_bps_15m": 12.0,
    "mean_bps": 0.5,
    "mean_z": 0.3,
    "reversion_half_life": 60.0,
    "atr_bps": 4.0,
    "ofi": 0.1,
    "ofi_slope": 0.5,
    "queue_wait_bid": 15.0,
    "queue_wait_ask": 25.0,
    "book_age": 0.1,
    "trade_age": 1.0,
    # what the other families look at: inside its box, nothing broke, nothing was swept
    "imbalance_5": 0.0,
    "flow_imbalance_1m": 0.05,
    "return_bps_1m": 1.0,
    "return_bps_5m": 3.0,
    "buy_notional_1m": 30_000.0,
    "sell_notional_1m": 30_000.0,
    "buy_notional_1h": 1_800_000.0,
    "sell_notional_1h": 1_800_000.0,
    "high_bps_10s": 0.5,
    "low_bps_10s": 0.5,
    "high_bps_1m": 2.0,
    "low_bps_1m": 2.0,
    "high_bps_5m": 5.0,
    "low_bps_5m": 5.0,
    "high_bps_15m": 10.0,
    "low_bps_15m": 10.0,
    "vwap_z": 0.5,
    "vwap_sd_bps": 6.0,
    "bar_high_20": 10_012.0,
    "bar_low_20": 9_988.0,
    "prior_high_40": 10_012.0,
    "prior_low_40": 9_988.0,
    "range_percentile": 0.5,
    "atr_fast_bps": 4.0,
    "atr_slow_bps": 4.0,
    "ignition_state": 0.0,
    "ignition_direction": 0.0,
    "acceleration": 0.1,
    "refill_1s_bid": 0.5,
    "refill_1s_ask": 0.5,
    "refill_5s_bid": 0.8,
    "refill_5s_ask": 0.8,
}


def make_features(changes: Mapping[str, float] | None = None) -> np.ndarray:
    """float64[N_FEATURES]: the calm ones with `changes`; everything else NaN, inventory 0."""
    features = np.full(N_FEATURES, np.nan)
    for name, value in (CALM | {"horizon": 60.0, "inventory": 0.0} | dict(changes or {})).items():
        features[FEATURE_INDEX[name]] = value
    return features


def make_params(**changes: Any) -> np.ndarray:
    """PARAMS[1]: defaults with fees of 0 maker and 10 bps taker, and `changes` by field name.

    Everything of the market is followed, whichever families are on.
    """
    params = default_params()
    default_families(params)
    row = params[0]
    for switch in FOLLOWED:
        row[f"features_{switch}"] = 1
    row["n_fee_tiers"] = 1
    row["fee_maker_e6"][0] = 0
    row["fee_taker_e6"][0] = 1_000
    for name, value in changes.items():
        row[name] = value
    return params


@kernel
def _replace_levels(symbols, prices, qtys, n_bids):
    # One call with arrays: numba looks at a lone record for a millisecond each time it is given one.
    book = symbols[0]["book"]
    book_clear(book)
    for k in range(len(prices)):
        book_set(book, 0 if k < n_bids else 1, prices[k], qtys[k])


def set_book(symbol: Any, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> None:
    """Replace the symbol's book by (price ticks, lots) and set its touch from it."""
    levels = np.array([*bids, *asks], np.int64).reshape(-1, 2)
    one = np.array([symbol])
    _replace_levels(one, levels[:, 0].copy(), levels[:, 1].copy(), len(bids))
    symbol["book"] = one[0]["book"]
    symbol["bid"], symbol["bid_qty"] = max(bids, default=(0, 0))
    symbol["ask"], symbol["ask_qty"] = min(asks, default=(0, 0))


def make_scene(
    changes: Mapping[str, float] | None = None,
    plugins: tuple[Callable[..., Any], ...] = (),
    **params: Any,
) -> Core:
    """A Core of one symbol, verified, in RANGE, every input fresh at NOW."""
    # Not make_core: that compiles every stage of the core, and nothing here calls one.
    core = Core(
        glob=np.zeros(1, GLOB),
        symbols=np.zeros(1, SYMBOL),
        orders=np.zeros(N_ORDERS, ORDER),
        params=make_params(**params),
        work=np.zeros(1, WORK),
        rings=np.zeros(1, RINGS),
        commands=np.zeros(COMMANDS_MAX, COMMAND),
        features=np.full(N_FEATURES, np.nan),
        family_params=np.zeros(N_FAMILY_PARAMS),
        thesis_out=np.zeros(N_OUT),
        plugins=plugins + (no_family,) * (N_PLUGINS - len(plugins)),
        calls=np.zeros(N_STAGES, np.int64),
    )
    core.symbols["instrument"] = InstrumentTable([PAIR]).rows()
    symbol = core.symbols[0]
    symbol["verified"] = 1
    symbol["regime"] = REGIME_RANGE
    symbol["book_ts"] = NOW - 100_000_000
    symbol["trade_ts"] = NOW - 1_000_000_000
    symbol["features"][:] = make_features(changes)
    set_book(
        symbol,
        [(BID - k, LEVEL_LOTS) for k in range(10)],
        [(ASK + k, LEVEL_LOTS) for k in range(10)],
    )
    core.glob[0]["generation"] = 7
    return core
