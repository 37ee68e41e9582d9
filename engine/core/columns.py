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
# Windows of the estimators over full minute candles, in candles.
CANDLE_WINDOWS: Final = (15, 60, 238)
CANDLE_SUFFIXES: Final = ("15m", "1h", "4h")


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


def _sided(
    name: str, unit: str, observations_min: int, doc: str, suffix: str = ""
) -> tuple[Feature, ...]:
    return tuple(
        Feature(f"{name}_{side}{suffix}", unit, observations_min, f"{doc}, {side} side")
        for side in ("bid", "ask")
    )


def _taken(name: str, unit: str, doc: str) -> tuple[Feature, ...]:
    return tuple(
        Feature(f"{name}_{taker}", unit, 1, f"{doc}, takers {verb}")
        for taker, verb in (("buy", "bought"), ("sell", "sold"))
    )


def _drifts(name: str, unit: str, observations_min: int, doc: str) -> tuple[Feature, ...]:
    return tuple(
        Feature(f"{name}_{suffix}", unit, observations_min, f"{doc}, over {suffix}")
        for suffix in WINDOW_SUFFIXES[1:]
    )


def _vwap(suffix: str) -> tuple[Feature, ...]:
    return (
        Feature(f"vwap_{suffix}", "ticks", 10, f"volume-weighted price over {suffix}"),
        Feature(f"vwap_sd_{suffix}_bps", "bps", 10, "standard deviation of price around it"),
        Feature(f"vwap_z_{suffix}", "sd", 10, "(mid - vwap) / sd"),
    )


def _horizons(name: str, doc: str) -> tuple[Feature, ...]:
    return tuple(
        Feature(f"{name}_{suffix}", "bps", bars, f"{doc}, {suffix} of minute candles")
        for suffix, bars in zip(CANDLE_SUFFIXES, CANDLE_WINDOWS, strict=True)
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
    # --- the wider view, docs/formulas-market.md: shape of the book -----------------------------
    *_sided("depth", "quote", 1, "notional within 10 bps of mid", "_10"),
    Feature("microprice_5_bps", "bps", 5, "depth-weighted microprice of five levels - mid"),
    Feature("microprice_decay_bps", "bps", 1, "the same, ten levels that weigh half each time"),
    Feature("imbalance_10", "-1..1", 1, "(bid - ask) / (bid + ask) lots of the ten best levels"),
    Feature("imbalance_near", "-1..1", 1, "the same of the notional within 5 bps"),
    Feature("imbalance_far", "-1..1", 1, "the same of the notional within 25 bps"),
    *_sided("shape", "0..1", 1, "notional within 5 bps / within 25 bps"),
    # drift set and movers
    *_drifts("drift", "bps/min", 2, "return of the window per minute"),
    *_drifts("drift_change", "bps/min", 1, "drift of the window's newer half - of its older half"),
    *_windowed("mover_rank", "0..1", 1, "rank of abs(return) among the symbols, 1: moves most"),
    Feature("direction", "-1..1", 2, "mean of drift_t / 2, clipped, over 1m, 5m, 15m, 1h"),
    Feature("agreement", "0..1", 2, "share of those windows that agree with `direction`"),
    # volume-weighted price of longer windows, in whole minutes
    *_vwap("1h"),
    *_vwap("4h"),
    # minute candles
    *_horizons("vol_close", "close-to-close volatility of the window"),
    *_horizons("vol_parkinson", "the same from highs and lows"),
    *_horizons("vol_garman_klass", "the same from open, high, low and close"),
    Feature("bar_high_20", "ticks", 20, "highest high of the last 20 full candles"),
    Feature("bar_low_20", "ticks", 20, "lowest low of them"),
    Feature("bar_high_60", "ticks", 60, "highest high of the last 60"),
    Feature("bar_low_60", "ticks", 60, "lowest low of them"),
    Feature("atr_fast_bps", "bps", 5, "mean true range of the last 5 full candles"),
    Feature("atr_slow_bps", "bps", 60, "mean true range of the last 60"),
    # ignition: measures at the newest close, and the state machine
    Feature("range_percentile", "0..1", 30, "range of 15 m against those of the last 240 closes"),
    Feature("volume_burst", "", 60, "notional of the last candle / mean of the 60 before it"),
    Feature("body_share", "-1..1", 1, "(close - open) / (high - low), as candle_body"),
    Feature("close_position", "0..1", 1, "(close - low) / (high - low) of the last candle"),
    Feature("bar_flow", "-1..1", 1, "flow_imbalance_1m when the last candle closed"),
    Feature("acceleration", "sd", 60, "return of the last 5 candles - of the 5 before them"),
    Feature("ignition_state", "code", 0, "IGNITION_*: 0 dormant ... 4 cooldown"),
    Feature("ignition_direction", "sign", 0, "+1 up, -1 down, 0 none, of the present ignition"),
    Feature("ignition_age", "s", 0, "time in the present state"),
    # sweeps: the burst of the last 10 s that took most levels
    *_taken("sweep_levels", "levels", "price levels it took"),
    *_taken("sweep_bps", "bps", "first to last price"),
    *_taken("sweep_notional", "quote", "its notional"),
    *_taken("sweep_age", "s", "time since its last trade"),
    # refill after trades emptied the touch
    *_sided("refill_1s", "0..1", 20, "share of the emptied level that is back after 1 s"),
    *_sided("refill_5s", "0..1", 20, "the same after 5 s"),
    *_sided("refill_half", "s", 20, "time until half of it is back, 5 s where it is not"),
    *_sided("refill_same", "0..1", 20, "share of emptied levels that are quoted again within 5 s"),
    # level 3
    *_sided("queue_orders", "orders", 1, "orders at the touch"),
    *_sided("queue_arrival", "lots/s", 30, "lots that join the touch"),
    *_sided("queue_cancel", "lots/s", 30, "lots that leave the touch unfilled"),
    *_sided("queue_trade", "lots/s", 30, "lots of the touch that are filled"),
    *_sided("queue_age", "s", 1, "median age of the orders at the touch"),
    *_sided("cancel_ahead", "0..1", 20, "chance that a cancel is ahead of another order there"),
    *_sided("order_life", "s", 20, "mean life of orders that left the touch unfilled"),
    Feature("l3_quality", "0..1", 1, "how far level 3 can be relied on"),
    # forecast, time of day, score
    Feature("forecast_15m", "-1..1", 1, "direction of the next 15 m"),
    Feature("forecast_15m_confidence", "0..1", 1, "how far its inputs agree"),
    Feature("tod_multiplier", "", 0, "tradability of this hour of the week, 1: as always"),
    Feature("score_spread", "0..1", 1, "tight spread, for `edge_score`"),
    Feature("score_lean", "0..1", 1, "lean of the microprice, for `edge_score`"),
    Feature("score_density", "0..1", 1, "notional near the touch, for `edge_score`"),
    Feature("score_refill", "0..1", 1, "refill of emptied levels, for `edge_score`"),
    Feature("edge_score", "0..1", 1, "their weighted mean: microstructure worth of the symbol"),
    # levels of the price, for the families
    *_windowed("high_bps", "bps", 2, "highest sampled mid above mid"),
    *_windowed("low_bps", "bps", 2, "mid above the lowest sampled mid"),
    Feature("prior_high_40", "ticks", 60, "highest high of the 40 full candles before the last 20"),
    Feature("prior_low_40", "ticks", 60, "lowest low of them"),
)

# The first of them need the tape and the book only, and are computed by features.py.
N_FEATURES_PLAIN: Final = [each.name for each in FEATURES].index("inventory") + 1

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
