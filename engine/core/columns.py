"""Which numbers describe a symbol right now? The feature columns, in a fixed order with a version.

Every feature is a float64 with a number of observations behind it. Fewer observations than the
feature's minimum: the value is NaN, and a route that needs it gets NOT_ENOUGH_HISTORY.
New columns are appended; FEATURE_VERSION rises when a meaning changes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

FEATURE_VERSION: Final = 1

# Windows of the tape, in seconds; features with a suffix exist once per window.
WINDOWS_S: Final = (10, 60, 300, 900, 3600)
WINDOW_SUFFIXES: Final = ("10s", "1m", "5m", "15m", "1h")
N_WINDOWS: Final = len(WINDOWS_S)


class Feature(NamedTuple):
    """One feature: name, unit, least number of observations, meaning."""

    name: str
    unit: str
    observations_min: int
    doc: str


def _windowed(name: str, unit: str, observations_min: int, doc: str) -> tuple[Feature, ...]:
    return tuple(
        Feature(f"{name}_{suffix}", unit, observations_min, f"{doc}, over {suffix}")
        for suffix in WINDOW_SUFFIXES
    )


FEATURES: Final[tuple[Feature, ...]] = (
    Feature("horizon", "s", 0, "horizon of the thesis being asked; set before each call"),
    Feature("mid", "ticks", 1, "(bid + ask) / 2"),
    Feature("tick_bps", "bps", 1, "one tick relative to mid"),
    Feature("spread_ticks", "ticks", 1, "ask - bid"),
    Feature("spread_bps", "bps", 1, "ask - bid relative to mid"),
    Feature("spread_mean_bps", "bps", 30, "EWMA of spread_bps sampled each second, half-life 60 s"),
    Feature("microprice_bps", "bps", 1, "microprice - mid (Stoikov's weighted form at the touch)"),
    Feature("touch_bid", "quote", 1, "quantity at the best bid x price"),
    Feature("touch_ask", "quote", 1, "quantity at the best ask x price"),
    Feature("touch_bid_lots", "lots", 1, "quantity at the best bid"),
    Feature("touch_ask_lots", "lots", 1, "quantity at the best ask"),
    Feature("depth_bid_5", "quote", 1, "bid notional within 5 bps of mid"),
    Feature("depth_ask_5", "quote", 1, "ask notional within 5 bps of mid"),
    Feature("depth_bid_25", "quote", 1, "bid notional within 25 bps of mid"),
    Feature("depth_ask_25", "quote", 1, "ask notional within 25 bps of mid"),
    Feature("imbalance_touch", "-1..1", 1, "(bid - ask) / (bid + ask) quantity at the touch"),
    Feature("imbalance_5", "-1..1", 1, "the same over the five best levels"),
    Feature("ofi", "-", 10, "order-flow imbalance of the touch over 10 s / mean touch depth"),
    Feature("ofi_slope", "bps", 120, "regressed mid move of the next 10 s per unit of ofi"),
    Feature("update_rate", "1/s", 10, "book messages per second over 10 s"),
    Feature("traded_bid_rate", "lots/s", 5, "lots per second sold into bids, over 5 m"),
    Feature("traded_ask_rate", "lots/s", 5, "lots per second bought from asks, over 5 m"),
    *_windowed("buy_notional", "quote", 1, "notional bought by takers"),
    *_windowed("sell_notional", "quote", 1, "notional sold by takers"),
    *_windowed("n_trades", "", 0, "trades"),
    *_windowed("flow_imbalance", "-1..1", 5, "(buy - sell) / (buy + sell) notional"),
    *_windowed("return_bps", "bps", 2, "mid now against mid then, sampled each second"),
    *_windowed("drift_t", "t", 10, "t-value of the mean one-second return (scaled for the window)"),
    *_windowed("vol_bps", "bps", 10, "realised volatility of the window, not annualised"),
    *_windowed("range_position", "0..1", 10, "mid within high and low of sampled mids"),
    Feature("vol_percentile", "0..1", 300, "vol over 1 m against its own last hour"),
    Feature("vwap_15m", "ticks", 10, "volume-weighted price over 15 m"),
    Feature("vwap_sd_bps", "bps", 10, "volume-weighted standard deviation of price around it"),
    Feature("vwap_z", "sd", 10, "(mid - vwap) / sd"),
    Feature("mean_bps", "bps", 60, "mid - EWMA of mid (half-life 120 s)"),
    Feature("mean_z", "sd", 120, "that deviation over its own EWMA standard deviation"),
    Feature(
        "reversion_half_life",
        "s",
        300,
        "half-life of the deviation, fitted AR(1) over 15 m; inf where it does not revert",
    ),
    Feature("atr_bps", "bps", 14, "average true range of 1 m candles (Wilder, n = 14)"),
    Feature("candle_body", "-1..1", 1, "(close - open) / (high - low) of the last full 1 m candle"),
    Feature("jump_z", "sd", 30, "largest one-second return of the last 10 s over its 5 m sd"),
    Feature("queue_wait_bid", "s", 5, "touch bid lots / traded_bid_rate"),
    Feature("queue_wait_ask", "s", 5, "touch ask lots / traded_ask_rate"),
    Feature("book_age", "s", 1, "age of the newest book message"),
    Feature("trade_age", "s", 1, "age of the newest trade"),
    Feature("inventory", "quote", 0, "our position at mid; set before each call"),
)

N_FEATURES: Final = len(FEATURES)
FEATURE_INDEX: Final[dict[str, int]] = {feature.name: i for i, feature in enumerate(FEATURES)}

# What a thesis (built in or a user's own) writes into its `out` array.
OUT_ACTIVE: Final = 0  # 1.0: there is an opportunity
OUT_MOVE_BPS: Final = 1  # expected move of the mid over the horizon, signed: + up
OUT_SD_BPS: Final = 2  # standard deviation of that move
OUT_CONFIDENCE: Final = 3  # 0..1
OUT_INVALIDATION_BPS: Final = 4  # adverse move that disproves it, > 0
OUT_HALF_LIFE_S: Final = 5  # how fast the signal decays
OUT_REASON: Final = 6  # 0, or a family's own code for people
OUT_HISTORY: Final = 7  # 1.0: a needed feature had too few observations
N_OUT: Final = 8

# What a thesis is given as `params`.
N_FAMILY_PARAMS: Final = 16
