"""What does the generator remember? The records that its kernels change.

One `MARKET` record per symbol holds the level-3 book, the hidden fair price, the excitement of its
order flow and the log of the action that is just happening; one `GLOB` record holds what is
shared: the receiver's clock, the sequence, the events made. Left out: what the numbers mean for
behaviour (flow.py).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import numpy as np

from engine.book import BOOK
from engine.numerics import random_key
from engine.research.synthetic.config import NS_PER_S, GeneratorConfig, SymbolSpec

MAX_ORDERS: Final = 4096  # resting orders of one symbol
MAX_OPS: Final = 640  # changes of orders in one action; a sweep stops before it
SPAN: Final = 1 << 16  # ticks: live orders lie closer together than this, see traders.want_prune
SPAN_MASK: Final = SPAN - 1
MINUTES: Final = 1440  # buckets of the 24 hour ticker

# Kinds of order flow, the components of the self-exciting process.
LIMIT: Final = 0
MARKET_TAKE: Final = 1
CANCEL: Final = 2
AMEND: Final = 3
N_FLOWS: Final = 4
# An arrival excites others for about 60 ms, and less for about 3 s.
FAST_DECAY: Final = 16.0  # 1/s
SLOW_DECAY: Final = 0.35  # 1/s

# The windows that a channel shows: the best so many levels a side.
WINDOW_BOOK: Final = 0
WINDOW_LEVEL3: Final = 1
WINDOW_CHECKSUM: Final = 2
N_WINDOWS: Final = 3
NO_EDGE: Final = 1 << 60  # the window shows every level there is

QUIET: Final = 0
TREND: Final = 1
BURST: Final = 2
THIN: Final = 3
REGIME_NAMES: Final = ("quiet", "trend", "burst", "thin")

# Streams of random numbers: one per purpose and symbol, so that adding a draw to one of them
# leaves the others as they were.
STREAM_COMMON: Final = 1
STREAM_LATENCY: Final = 2
STREAM_FLOW: Final = 1000  # + symbol
STREAM_GRID: Final = 2000  # + symbol

MARKET: Final = np.dtype(
    [
        ("book", BOOK),
        # what the pair is
        ("sym", "<i8"),
        ("tick_num", "<i8"),
        ("lot_num", "<i8"),
        ("qty_min", "<i8"),  # lots
        ("scale", "<f8"),  # ticks
        ("volatility", "<f8"),  # fraction per square root of a second
        ("common", "<f8"),
        ("limit_rate", "<f8"),
        ("market_rate", "<f8"),
        ("amend_rate", "<f8"),
        ("order_lots", "<f8"),
        ("order_spread", "<f8"),
        ("market_lots", "<f8"),
        ("n_orders", "<f8"),
        # the hidden truth
        ("fair", "<f8"),  # ticks
        ("regime", "<i8"),
        ("direction", "<i8"),  # of the trend
        ("regime_end", "<i8"),  # ns
        # order flow
        ("t", "<i8"),  # ns, when `fast` and `slow` were last brought up to date
        ("t_next", "<i8"),  # ns
        ("t_grid", "<i8"),  # ns, next point of the grid
        ("n_grid", "<i8"),
        ("fast", "<f8", (N_FLOWS,)),  # arrivals per second caused by earlier ones
        ("slow", "<f8", (N_FLOWS,)),
        ("base", "<f8", (N_FLOWS,)),  # arrivals per second that nothing caused
        ("flow_key", "<i8"),
        ("flow_counter", "<i8"),
        ("grid_key", "<i8"),
        ("grid_counter", "<i8"),
        ("last_side", "<i8"),  # of the last order that took
        ("prune_mid", "<i8"),
        # resting orders; links are row + 1, 0 is none
        ("o_price", "<i8", (MAX_ORDERS,)),
        ("o_qty", "<i8", (MAX_ORDERS,)),
        ("o_id", "<i8", (MAX_ORDERS,)),
        ("o_ts", "<i8", (MAX_ORDERS,)),
        ("o_side", "<i8", (MAX_ORDERS,)),  # 0 bids, 1 asks
        ("o_next", "<i8", (MAX_ORDERS,)),
        ("o_previous", "<i8", (MAX_ORDERS,)),
        ("o_place", "<i8", (MAX_ORDERS,)),  # position in `active`
        ("active", "<i8", (MAX_ORDERS,)),
        ("n_active", "<i8"),
        ("n_side", "<i8", (2,)),
        ("free", "<i8", (MAX_ORDERS,)),
        ("n_free", "<i8"),
        ("head", "<i4", (2, SPAN)),  # by price & SPAN_MASK, row + 1
        ("tail", "<i4", (2, SPAN)),
        ("n_level", "<i4", (2, SPAN)),
        # the windows of the channels: worst price key shown, per side
        ("depth", "<i8", (N_WINDOWS,)),
        ("edge", "<i8", (N_WINDOWS, 2)),
        ("edge_before", "<i8", (N_WINDOWS, 2)),
        ("level3_crc", "<i8"),
        # the action that is happening
        ("op_kind", "<i8", (MAX_OPS,)),
        ("op_side", "<i8", (MAX_OPS,)),
        ("op_price", "<i8", (MAX_OPS,)),
        ("op_qty", "<i8", (MAX_OPS,)),
        ("op_id", "<i8", (MAX_OPS,)),
        ("op_ts", "<i8", (MAX_OPS,)),
        ("n_ops", "<i8"),
        ("fill_price", "<i8", (MAX_OPS,)),
        ("fill_qty", "<i8", (MAX_OPS,)),
        ("n_fills", "<i8"),
        ("taker_side", "<i8"),
        ("taker_is_market", "<i8"),
        # what the trader who arrived wants done, see orders.execute
        ("do", "<i8"),
        ("do_side", "<i8"),
        ("do_price", "<i8"),
        ("do_qty", "<i8"),
        ("do_id", "<i8"),
        ("do_row", "<i8"),
        ("do_ts", "<i8"),
        ("do_rest", "<i8"),
        ("mid_before", "<f8"),  # of a taking order, ticks
        ("reprice_side", "<i8"),  # of an order whose add is still owed, 0 if none
        ("reprice_qty", "<i8"),
        ("reprice_id", "<i8"),
        # the tape
        ("trade_id", "<i8"),
        ("last_price", "<i8"),
        ("minute", "<i8"),
        ("b_volume", "<i8", (MINUTES,)),  # lots
        ("b_value", "<f8", (MINUTES,)),  # ticks x lots
        ("b_low", "<i8", (MINUTES,)),
        ("b_high", "<i8", (MINUTES,)),
        ("old_volume", "<i8"),  # of all buckets but the current one
        ("old_value", "<f8"),
        ("old_low", "<i8"),
        ("old_high", "<i8"),
        # counts for the dataset card and the tests
        ("n_actions", "<i8", (N_FLOWS,)),
    ]
)

GLOB: Final = np.dtype(
    [
        ("n_out", "<i8"),
        ("seq", "<i8"),
        ("ts", "<i8"),  # of the last message
        ("emit", "<i8"),  # 0 during the warm-up
        ("level3", "<i8"),
        ("tickers", "<i8"),
        ("end", "<i8"),
        ("start", "<i8"),
        ("order_id", "<i8"),
        ("intensity", "<f8"),
        ("jump_rate", "<f8"),  # per second
        ("latency", "<f8"),  # ns
        ("latency_slow", "<f8"),  # logarithm, wanders
        ("latency_key", "<i8"),
        ("latency_counter", "<i8"),
        ("common_key", "<i8"),
        ("leader_regime", "<i8"),  # what the first symbol went into ...
        (
            "leader_change",
            "<i8",
        ),  # ... and how often it changed, so that others may follow
        ("leader_direction", "<i8"),
        ("n_truth", "<i8"),
        # the message that is being written
        ("m_ts_venue", "<i8"),
        ("m_sym", "<i8"),
        ("m_flags", "<i8"),
    ]
)

# What was really going on, for tests and teaching: never part of the events.
TRUTH: Final = np.dtype(
    [
        ("ts_venue", "<i8"),  # ns
        ("sym", "<i8"),
        ("what", "<i8"),  # TRUTH_REGIME or TRUTH_JUMP
        ("regime", "<i8"),
        ("direction", "<i8"),  # of a trend or a jump
        ("fair", "<f8"),  # ticks, after the change
        ("size", "<f8"),  # of a jump, as a fraction of the price
    ]
)
TRUTH_REGIME: Final = 1
TRUTH_JUMP: Final = 2


def _ticks(value: Decimal, spec: SymbolSpec) -> float:
    return float(value / spec.instrument.price_increment)


def _lots(value: Decimal, spec: SymbolSpec) -> float:
    return float(value / spec.instrument.qty_increment)


def make_markets(config: GeneratorConfig) -> np.ndarray:
    """MARKET[n_symbols], every book empty, clocks at the start of the warm-up."""
    markets = np.zeros(len(config.symbols), MARKET)
    t = config.start_ts - int(config.warmup_s * NS_PER_S)
    for i, spec in enumerate(config.symbols):
        market = markets[i]
        row = spec.instrument.row()
        market["sym"] = i
        for name in ("tick_num", "lot_num", "qty_min"):
            market[name] = row[name]
        market["scale"] = _ticks(spec.scale, spec)
        for name in ("volatility", "common", "limit_rate", "market_rate", "amend_rate"):
            market[name] = getattr(spec, name)
        market["order_lots"] = _lots(spec.order_qty, spec)
        market["order_spread"] = spec.order_spread
        market["market_lots"] = _lots(spec.market_qty, spec)
        market["n_orders"] = spec.n_orders
        market["fair"] = _ticks(spec.price, spec)
        market["prune_mid"] = int(market["fair"])
        market["t"] = market["t_next"] = market["t_grid"] = t
        market["regime_end"] = t
        market["flow_key"] = random_key(config.seed, STREAM_FLOW + i)
        market["grid_key"] = random_key(config.seed, STREAM_GRID + i)
        market["last_side"] = 1
        market["free"] = np.arange(MAX_ORDERS - 1, -1, -1)
        market["n_free"] = MAX_ORDERS
        market["depth"] = (config.depth, config.level3_depth, 10)
        market["edge"] = NO_EDGE
        market["trade_id"] = spec.first_trade_id
        market["minute"] = -1
    return markets


def make_glob(config: GeneratorConfig) -> np.ndarray:
    """GLOB[1] for a run from the start of the warm-up."""
    glob = np.zeros(1, GLOB)
    glob["ts"] = config.start_ts
    glob["level3"] = config.level3
    glob["tickers"] = config.tickers
    glob["start"] = config.start_ts
    glob["end"] = config.end_ts
    glob["order_id"] = 1
    glob["intensity"] = config.intensity
    glob["jump_rate"] = config.jumps_per_hour / 3600.0
    glob["latency"] = config.latency_ms * 1e6
    glob["latency_key"] = random_key(config.seed, STREAM_LATENCY)
    glob["common_key"] = random_key(config.seed, STREAM_COMMON)
    return glob
