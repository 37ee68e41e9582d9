"""Which numbers steer the core? Every parameter once: default, bounds, unit, meaning.

The kernel's parameter record, the pydantic models of engine/config.py and the reference in docs/
are made from PARAMETERS. Changing a value compiles nothing.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from engine.core.columns import N_FAMILY_PARAMS
from engine.core.routes import (
    FAMILY_ATR_BREAKOUT,
    FAMILY_BREAKOUT,
    FAMILY_FADE,
    FAMILY_GRID,
    FAMILY_IGNITION,
    FAMILY_MARKET_MAKING,
    FAMILY_MEAN_REVERSION,
    FAMILY_MOMENTUM,
    FAMILY_ORDER_FLOW,
    FAMILY_PLUGIN,
    FAMILY_PULLBACK,
    FAMILY_SCALPING,
    FAMILY_SWEEP,
    FAMILY_VWAP_REVERSION,
    N_FAMILIES,
    N_HORIZONS,
)


class Parameter(NamedTuple):
    """One scalar: section and name in TOML, default (int or float decides the type), bounds."""

    section: str
    name: str
    default: int | float | bool
    low: float
    high: float
    unit: str
    doc: str

    @property
    def field(self) -> str:
        return f"{self.section}_{self.name}"


S: Final = 1_000_000_000  # ns in a second
# Timers strike at least this often: the windows are made of mids seen once a second.
TIMER_GRID_MAX_NS: Final = S

PARAMETERS: Final[tuple[Parameter, ...]] = (
    # evaluation
    Parameter("evaluation", "interval_ns", S, 50_000_000, 3600 * S, "ns", "evaluation timer"),
    Parameter("evaluation", "max_entries", 1, 0, 64, "", "entries that may leave per evaluation"),
    Parameter(
        "evaluation",
        "warmup_ns",
        60 * S,
        0,
        86_400 * S,
        "ns",
        "no entries before this much of the stream was seen",
    ),
    # records
    Parameter("records", "candidates_top", 3, 0, 64, "", "best candidates kept per symbol"),
    Parameter(
        "records",
        "candidates_sample",
        16,
        0,
        1_000_000,
        "",
        "of the rest one in so many is kept (0: none), drawn from the counter generator",
    ),
    Parameter("records", "equity_interval_ns", 60 * S, S, 86_400 * S, "ns", "equity rows"),
    Parameter("records", "health_interval_ns", 60 * S, S, 86_400 * S, "ns", "health rows"),
    Parameter(
        "records",
        "shadow",
        False,
        0,
        1,
        "",
        "follow every candidate written down to its outcome, chosen or not (table outcomes)",
    ),
    Parameter(
        "records",
        "shadow_sample",
        1,
        1,
        1_000_000,
        "",
        "of those one in so many is followed; more symbols than one need it for the long horizons",
    ),
    # data and readiness
    Parameter(
        "readiness",
        "book_age_max_ns",
        10 * S,
        0,
        3600 * S,
        "ns",
        "book older than this blocks entries",
    ),
    Parameter("readiness", "spread_max_bps", 30.0, 0.0, 10_000.0, "bps", "spread cap"),
    Parameter(
        "readiness",
        "touch_multiple",
        1.0,
        0.0,
        1000.0,
        "",
        "quantity at the touch must be this many times our order",
    ),
    Parameter(
        "readiness",
        "freshness_tape_ns",
        30 * S,
        0,
        3600 * S,
        "ns",
        "trades older than this make a tape route stale",
    ),
    Parameter(
        "readiness",
        "freshness_passive_ns",
        45 * S,
        0,
        3600 * S,
        "ns",
        "book older than this makes a passive route stale",
    ),
    Parameter(
        "readiness",
        "stale_winner",
        False,
        0,
        1,
        "",
        "look through all gates of a stale route and name the one that would have won",
    ),
    Parameter(
        "readiness",
        "heartbeat",
        False,
        0,
        1,
        "",
        "a heartbeat of the feed makes verified books as young as itself; trades stay as old as they are",
    ),
    Parameter("readiness", "fill_prob_min", 0.10, 0.0, 1.0, "0..1", "below: FILL_UNLIKELY"),
    Parameter("readiness", "queue_wait_max_s", 300.0, 0.0, 1e6, "s", "above: QUEUE_TOO_LONG"),
    Parameter("readiness", "capturable_min", 0.05, 0.0, 1.0, "0..1", "below: MOVE_TOO_SMALL"),
    Parameter(
        "readiness",
        "net_min_bps",
        0.5,
        -10_000.0,
        10_000.0,
        "bps",
        "net edge a candidate must exceed",
    ),
    Parameter(
        "readiness",
        "exit_drag_max_bps",
        100.0,
        0.0,
        10_000.0,
        "bps",
        "stressed exit above this: EXIT_INFEASIBLE",
    ),
    Parameter(
        "readiness",
        "exit_drag_below_move",
        True,
        0,
        1,
        "",
        "a stressed exit that costs more than the move: EXIT_INFEASIBLE (not spread capture)",
    ),
    # regime
    Parameter(
        "regime",
        "depth_min",
        2_000.0,
        0.0,
        1e12,
        "quote",
        "notional within 25 bps, smaller side, below: LOW_LIQUIDITY",
    ),
    Parameter(
        "regime",
        "spread_low_liquidity_bps",
        25.0,
        0.0,
        10_000.0,
        "bps",
        "spread above: LOW_LIQUIDITY",
    ),
    Parameter("regime", "jump_z_chaos", 8.0, 0.0, 1e6, "sd", "jump above: CHAOS"),
    Parameter("regime", "spread_blowout", 6.0, 1.0, 1e6, "", "spread over its mean above: CHAOS"),
    Parameter("regime", "one_way", 0.97, 0.0, 1.0, "", "flow imbalance over 1 m above: CHAOS"),
    Parameter(
        "regime",
        "one_way_trades",
        20,
        0,
        1_000_000,
        "",
        "trades in 1 m below which a one-way tape is taken for chance",
    ),
    Parameter("regime", "vol_percentile_high", 0.90, 0.0, 1.0, "0..1", "above: HIGH_VOLATILITY"),
    Parameter("regime", "drift_t_trend", 2.5, 0.0, 1e6, "t", "15 m drift above: TREND"),
    Parameter(
        "regime",
        "hysteresis",
        0.8,
        0.1,
        1.0,
        "",
        "a regime is left when its measure falls below this share of its threshold",
    ),
    Parameter(
        "regime",
        "dwell_ns",
        10 * S,
        0,
        3600 * S,
        "ns",
        "shortest stay, except into CHAOS and LOW_LIQUIDITY",
    ),
    # economics
    Parameter("costs", "buffer_bps", 0.5, 0.0, 1000.0, "bps", "safety buffer"),
    Parameter(
        "costs",
        "adverse_share",
        0.25,
        0.0,
        10.0,
        "",
        "adverse selection of a maker fill as share of the half spread plus fast volatility",
    ),
    Parameter(
        "costs",
        "slippage_residual_bps",
        0.2,
        0.0,
        1000.0,
        "bps",
        "added to a taker's book walk (realised minus walked)",
    ),
    Parameter(
        "costs", "impact_gamma", 1.0, 0.0, 100.0, "", "square-root impact beyond the book we see"
    ),
    Parameter(
        "costs",
        "latency_ns",
        50_000_000,
        0,
        60 * S,
        "ns",
        "assumed decision-to-book delay, for its cost",
    ),
    Parameter(
        "costs", "stress_depth", 0.5, 0.01, 1.0, "", "share of depth left in a stressed exit"
    ),
    Parameter("costs", "stress_spread", 2.0, 1.0, 100.0, "", "spread multiple in a stressed exit"),
    Parameter(
        "costs",
        "lean_half_life_s",
        2.0,
        0.001,
        3600.0,
        "s",
        "time in which the mid makes up half of the microprice's lean",
    ),
    Parameter(
        "costs",
        "exit_maker_share",
        0.0,
        0.0,
        1.0,
        "0..1",
        "share of exits assumed to leave as maker",
    ),
    Parameter(
        "costs",
        "borrow_open_bps",
        2.0,
        0.0,
        1000.0,
        "bps",
        "opening fee of a hypothetical margin short",
    ),
    Parameter(
        "costs", "borrow_bps", 2.0, 0.0, 1000.0, "bps", "its rollover fee per four hours held"
    ),
    Parameter(
        "costs",
        "learned",
        False,
        0,
        1,
        "",
        "residual slippage and adverse selection as learnt per symbol, shrunk to the parameters",
    ),
    Parameter(
        "costs",
        "prior_orders",
        20.0,
        0.0,
        1e6,
        "",
        "observations that the parameters count as, beside those that were learnt",
    ),
    Parameter(
        "costs",
        "fill_level3",
        False,
        0,
        1,
        "",
        "fill probability with cancels ahead where level 3 tells them",
    ),
    Parameter(
        "costs",
        "reach_half_s",
        5.0,
        0.01,
        86_400.0,
        "s",
        "time in which a price first in line is reached half of the time, until it is learnt",
    ),
    Parameter(
        "costs",
        "fee_age_max_ns",
        86_400 * S,
        S,
        365 * 86_400 * S,
        "ns",
        "rates that the venue named longer ago block entries",
    ),
    # sizing and capital
    Parameter(
        "capital",
        "base_fraction",
        0.05,
        0.0,
        1.0,
        "0..1",
        "share of free capital for an edge of `edge_full_bps`",
    ),
    Parameter(
        "capital", "edge_full_bps", 10.0, 0.01, 10_000.0, "bps", "edge at which size is full"
    ),
    Parameter("capital", "order_max", 1_000_000_000_000, 1, 1 << 60, "money", "largest order"),
    Parameter("capital", "reserve_fraction", 0.02, 0.0, 1.0, "0..1", "cash never committed"),
    Parameter(
        "capital",
        "stress_loss",
        0.02,
        0.0,
        1.0,
        "0..1",
        "share of a position's value set aside as stress loss",
    ),
    Parameter(
        "capital",
        "equity_fixed",
        0,
        0,
        1 << 60,
        "money",
        "pins equity for research runs; 0: equity from balances and marks",
    ),
    Parameter(
        "capital", "allocator", False, 0, 1, "", "share capital among the candidates of one moment"
    ),
    Parameter("capital", "share_min", 0.1, 0.0, 1.0, "of free", "least share of one of them"),
    Parameter("capital", "share_max", 0.5, 0.0, 1.0, "of free", "largest share of one of them"),
    Parameter(
        "capital", "family_share_max", 0.8, 0.0, 1.0, "of free", "largest share of one family"
    ),
    Parameter("capital", "reduced_factor", 0.5, 0.0, 1.0, "", "size multiplier in mode REDUCED"),
    Parameter(
        "capital",
        "reduced_every_ns",
        0,
        0,
        86_400 * S,
        "ns",
        "in REDUCED sizes step down once more after each such time; 0: they stay",
    ),
    Parameter(
        "capital", "reduced_step", 0.5, 0.0, 1.0, "", "what each of those steps multiplies by"
    ),
    Parameter("capital", "reduced_floor", 0.1, 0.0, 1.0, "", "the least that the steps leave"),
    # risk
    Parameter("risk", "exposure_max", 0.80, 0.0, 10.0, "of equity", "all positions and entries"),
    Parameter("risk", "symbol_max", 0.30, 0.0, 10.0, "of equity", "one symbol"),
    Parameter("risk", "open_orders_max", 8, 0, 64, "", "working orders"),
    Parameter("risk", "orders_per_minute", 30, 0, 100_000, "", "entries per rolling minute"),
    Parameter("risk", "daily_loss_max", 0.05, 0.0, 1.0, "of equity", "loss of the UTC day: HALT"),
    Parameter("risk", "drawdown_max", 0.20, 0.0, 1.0, "of peak", "drawdown: HALT"),
    Parameter("risk", "price_band_bps", 100.0, 0.0, 10_000.0, "bps", "limit price away from mid"),
    Parameter(
        "risk",
        "throttle_loss_1h",
        0.02,
        0.0,
        1.0,
        "of equity",
        "realised loss in an hour that halves size; twice this stops entries",
    ),
    Parameter(
        "risk",
        "throttle_steps",
        0,
        0,
        16,
        "",
        "steps of the ladder of losses; the last ends entries (EXIT_ONLY). 0: no ladder, the hour's "
        "halving above holds instead",
    ),
    Parameter(
        "risk", "throttle_step_1h", 0.01, 0.0001, 1.0, "of equity", "loss in an hour per step"
    ),
    Parameter(
        "risk", "throttle_step_24h", 0.02, 0.0001, 1.0, "of equity", "loss in 24 hours per step"
    ),
    Parameter("risk", "throttle_factor", 0.5, 0.0, 1.0, "", "size multiplier per step"),
    Parameter(
        "risk", "family_max", 10.0, 0.0, 10.0, "of equity", "positions and entries of one family"
    ),
    Parameter(
        "risk",
        "concentration_max",
        1.0,
        0.0,
        1.0,
        "of exposure",
        "largest symbol as a share of all that is deployed",
    ),
    Parameter(
        "risk",
        "concentration_from",
        0.2,
        0.0,
        10.0,
        "of equity",
        "deployed at least this much before concentration is asked",
    ),
    Parameter(
        "risk",
        "rate_reserve",
        40.0,
        0.0,
        1000.0,
        "points",
        "venue counter kept free for cancels and protection",
    ),
    Parameter("risk", "rate_threshold", 125.0, 0.0, 10_000.0, "points", "venue counter limit"),
    Parameter("risk", "rate_decay", 2.34, 0.0, 1000.0, "points/s", "venue counter decay"),
    Parameter(
        "risk",
        "symbol_block_ns",
        600 * S,
        0,
        86_400 * S,
        "ns",
        "a symbol whose stop was refused twice takes no entries for this long",
    ),
    Parameter(
        "risk",
        "family_entries_max",
        60,
        1,
        255,
        "",
        "entries of one family within the window below; more switch it off until a person "
        "enables it again",
    ),
    Parameter(
        "risk", "family_window_ns", 60 * S, S, 86_400 * S, "ns", "window that these are counted in"
    ),
    # truth of the account
    Parameter(
        "reconcile",
        "exit_wait_ns",
        3 * S,
        0,
        600 * S,
        "ns",
        "a bare position that is being left waits so long for a reconcile; then it gets its stop",
    ),
    Parameter(
        "reconcile",
        "settle_ns",
        5 * S,
        0,
        600 * S,
        "ns",
        "a balance that differs from our books for longer is believed, and entries stop",
    ),
    Parameter(
        "reconcile",
        "cash_slack",
        1_000_000,
        0,
        1 << 60,
        "money",
        "difference in cash that rounding of fees explains",
    ),
    Parameter(
        "reconcile",
        "correction_max",
        100_000_000_000,
        0,
        1 << 60,
        "money",
        "cost of missing coins up to which they are written off without a person",
    ),
    # gates on what the shell tells
    Parameter("gates", "clock_max_ns", S, 0, 3600 * S, "ns", "offset to the venue's clock"),
    Parameter("gates", "clock_age_max_ns", 120 * S, S, 86_400 * S, "ns", "age of its measurement"),
    Parameter("gates", "journal_max_ns", 250_000_000, 0, 60 * S, "ns", "one sync of the log"),
    Parameter(
        "gates", "journal_hold_ns", 60 * S, 0, 86_400 * S, "ns", "a slower one counts for so long"
    ),
    Parameter("gates", "lag_max_ns", 500_000_000, 0, 60 * S, "ns", "behind what the venue sends"),
    Parameter(
        "gates", "silence_max_ns", 2_500_000_000, 0, 600 * S, "ns", "nothing from the public side"
    ),
    Parameter(
        "gates", "account_age_max_ns", 30 * S, 0, 3600 * S, "ns", "nothing from the private side"
    ),
    # what waits for its turn between evaluations
    Parameter(
        "heap", "enabled", False, 0, 1, "", "winners that only lost to a better one may leave later"
    ),
    Parameter("heap", "max_per_drain", 1, 0, 64, "", "of them may leave between two evaluations"),
    Parameter(
        "heap", "refresh_max", 8, 0, 1000, "", "symbols evaluated again between two evaluations"
    ),
    Parameter(
        "heap",
        "refresh_bps",
        1.0,
        0.0,
        1000.0,
        "bps",
        "mid moved by this: evaluate its routes again",
    ),
    Parameter("heap", "wake_bps", 0.1, 0.0, 1000.0, "bps", "change of the best score that counts"),
    Parameter("heap", "family_lifetime", True, 0, 1, "", "fade by each family's half-life"),
    Parameter("heap", "half_life_s", 30.0, 0.001, 1e6, "s", "fade by this without family_lifetime"),
    Parameter("heap", "half_lives", 2.0, 0.01, 100.0, "", "half-lives after which waiting ends"),
    # who may take entries
    Parameter(
        "universe",
        "every_ns",
        0,
        0,
        86_400 * S,
        "ns",
        "the core chooses the traded symbols anew this often; 0: all of them, or as events say",
    ),
    Parameter("universe", "cap", 50, 1, 64, "", "most symbols inside; pins may exceed it"),
    Parameter("universe", "enter_rank", 40, 1, 64, "", "rank by turnover from which one enters"),
    Parameter("universe", "leave_rank", 60, 1, 1000, "", "rank beyond which one leaves"),
    Parameter("universe", "stay_ns", 3600 * S, 0, 7 * 86_400 * S, "ns", "shortest stay"),
    Parameter("universe", "rotation_max", 5, 1, 64, "", "symbols that may enter per choice"),
    Parameter("universe", "turnover_min", 0, 0, 1 << 60, "money", "least turnover of 24 h"),
    Parameter("universe", "spread_max_bps", 1000.0, 0.0, 10_000.0, "bps", "widest mean spread"),
    # tiers of liquidity
    Parameter("tiers", "enabled", False, 0, 1, "", "a symbol without a tier takes no entries"),
    Parameter("tiers", "a_depth", 50_000.0, 0.0, 1e12, "quote", "thinner side within 5 bps: A"),
    Parameter("tiers", "a_spread_bps", 3.0, 0.0, 1000.0, "bps", "widest spread of A"),
    Parameter("tiers", "a_trades", 20.0, 0.0, 1e6, "1/min", "fewest trades of A"),
    Parameter("tiers", "a_age_ns", 2 * S, 0, 3600 * S, "ns", "oldest book of A"),
    Parameter("tiers", "a_max", 0.3, 0.0, 10.0, "of equity", "largest order of A"),
    Parameter("tiers", "b_depth", 5_000.0, 0.0, 1e12, "quote", "thinner side within 5 bps: B"),
    Parameter("tiers", "b_spread_bps", 15.0, 0.0, 1000.0, "bps", "widest spread of B"),
    Parameter("tiers", "b_trades", 2.0, 0.0, 1e6, "1/min", "fewest trades of B"),
    Parameter("tiers", "b_age_ns", 5 * S, 0, 3600 * S, "ns", "oldest book of B"),
    Parameter("tiers", "b_max", 0.1, 0.0, 10.0, "of equity", "largest order of B"),
    # conflicts between candidates
    Parameter("conflict", "enabled", False, 0, 1, "", "look for candidates in each other's way"),
    Parameter(
        "conflict", "correlation", 0.8, -1.0, 1.0, "-1..1", "of two mids over 5 m, above: conflict"
    ),
    Parameter(
        "conflict", "factor", 0.0, 0.0, 1.0, "", "multiplies the rank of what conflicts; 0: refuse"
    ),
    # timing of routes
    Parameter(
        "route_state",
        "enabled",
        False,
        0,
        1,
        "",
        "follow the timing of routes, advise what is held",
    ),
    Parameter(
        "route_state",
        "top_routes",
        8,
        0,
        64,
        "",
        "of so many best by edge the best edge x timing wins",
    ),
    Parameter(
        "route_state",
        "half_lives",
        4.0,
        0.1,
        100.0,
        "",
        "half-lives unconfirmed until a route is dead",
    ),
    # the second model of the edge
    Parameter(
        "adaptive", "mode", 0, 0, 2, "code", "0 off, 1 shadow: recorded, 2 live: ranks, admits"
    ),
    Parameter("adaptive", "records_top", 3, 0, 64, "", "best by the first model that are recorded"),
    Parameter("adaptive", "trend_t", 2.0, 0.0, 100.0, "t", "t-value of 15 m from which it trends"),
    Parameter(
        "adaptive",
        "stress_percentile",
        0.8,
        0.0,
        1.0,
        "0..1",
        "volatility from which it is stressed",
    ),
    Parameter("adaptive", "calm_range_move", 1.0, 0.0, 10.0, "", "scale of the move, calm range"),
    Parameter("adaptive", "calm_range_sd", 1.0, 0.0, 10.0, "", "scale of its sd"),
    Parameter("adaptive", "calm_range_wide", 0.05, 0.0, 1.0, "", "weight of wide paths"),
    Parameter("adaptive", "stressed_range_move", 0.7, 0.0, 10.0, "", "the same, stressed range"),
    Parameter("adaptive", "stressed_range_sd", 1.3, 0.0, 10.0, "", "scale of its sd"),
    Parameter("adaptive", "stressed_range_wide", 0.15, 0.0, 1.0, "", "weight of wide paths"),
    Parameter("adaptive", "calm_trend_move", 1.0, 0.0, 10.0, "", "the same, calm trend"),
    Parameter("adaptive", "calm_trend_sd", 1.0, 0.0, 10.0, "", "scale of its sd"),
    Parameter("adaptive", "calm_trend_wide", 0.05, 0.0, 1.0, "", "weight of wide paths"),
    Parameter("adaptive", "stressed_trend_move", 0.8, 0.0, 10.0, "", "the same, stressed trend"),
    Parameter("adaptive", "stressed_trend_sd", 1.3, 0.0, 10.0, "", "scale of its sd"),
    Parameter("adaptive", "stressed_trend_wide", 0.15, 0.0, 1.0, "", "weight of wide paths"),
    Parameter("adaptive", "wide_sd", 3.0, 1.0, 100.0, "", "sd of a wide path over that of others"),
    Parameter(
        "adaptive",
        "low_min_bps",
        -60.0,
        -10_000.0,
        10_000.0,
        "bps",
        "least tenth quantile; below: TAIL_INADMISSIBLE",
    ),
    Parameter(
        "adaptive",
        "trimmed_min_bps",
        0.0,
        -10_000.0,
        10_000.0,
        "bps",
        "least mean without the best tenth; below: TAIL_INADMISSIBLE",
    ),
    # planning and order life
    Parameter("orders", "maker_window_ns", 30 * S, S, 86_400 * S, "ns", "life of a resting entry"),
    Parameter("orders", "life_min_ns", 5 * S, 0, 3600 * S, "ns", "not moved before this age"),
    Parameter("orders", "moves_max", 3, 0, 100, "", "amends of one entry"),
    Parameter("orders", "move_ticks", 2, 1, 1_000_000, "ticks", "best bid moved by this: follow"),
    Parameter(
        "orders", "taker_fallback", False, 0, 1, "", "re-price as taker when the window ends"
    ),
    Parameter(
        "orders",
        "maker_then_taker",
        False,
        0,
        1,
        "",
        "adds the route that rests for its window and then takes, to families that may take",
    ),
    Parameter("orders", "reply_timeout_ns", 10 * S, S, 3600 * S, "ns", "then the order is SUSPECT"),
    Parameter(
        "orders",
        "take_slippage_bps",
        5.0,
        0.0,
        1000.0,
        "bps",
        "limit of a taking entry beyond the ask",
    ),
    # protection and exits
    Parameter(
        "exits",
        "stop_vol_multiple",
        3.0,
        0.1,
        100.0,
        "",
        "initial stop: this many times vol over the horizon",
    ),
    Parameter("exits", "stop_min_bps", 15.0, 0.1, 10_000.0, "bps", "never tighter"),
    Parameter("exits", "stop_max_bps", 150.0, 0.1, 10_000.0, "bps", "never wider"),
    Parameter(
        "exits", "trail_start_bps", 20.0, 0.0, 10_000.0, "bps", "gain at which trailing starts"
    ),
    Parameter("exits", "trail_atr_multiple", 3.0, 0.1, 100.0, "", "trail distance in ATR"),
    Parameter("exits", "trail_min_bps", 15.0, 0.1, 10_000.0, "bps", "trail never tighter"),
    Parameter("exits", "trail_max_bps", 150.0, 0.1, 10_000.0, "bps", "trail never wider"),
    Parameter("exits", "trail_step_bps", 3.0, 0.0, 10_000.0, "bps", "smallest move of the stop"),
    Parameter(
        "exits",
        "trail_interval_ns",
        5 * S,
        0,
        3600 * S,
        "ns",
        "shortest time between two moves of a resting stop",
    ),
    Parameter(
        "exits",
        "trail_native",
        False,
        0,
        1,
        "",
        "the venue's own trailing stop from the first fill on, at the distance of the initial stop",
    ),
    Parameter(
        "exits",
        "target_vol_multiple",
        1.0,
        0.0,
        100.0,
        "",
        "target: fees + slippage + buffer + this times vol over the horizon",
    ),
    Parameter(
        "exits",
        "target_style",
        0,
        0,
        2,
        "code",
        "0: pull the stop up below the target (never uncovered); 1: sell at market; 2: where it is "
        "calm swap the stop for a post-only limit at the ask, else as 0",
    ),
    Parameter(
        "exits",
        "target_pull",
        0.0,
        0.0,
        100.0,
        "",
        "bps of target per bps of the microprice's lean",
    ),
    Parameter(
        "exits",
        "target_follow",
        False,
        0,
        1,
        "",
        "work the target out again after fills, and lower it when the regime changes",
    ),
    Parameter(
        "exits", "swap_ns", 2 * S, S // 10, 60 * S, "ns", "longest time without a stop for a limit"
    ),
    Parameter(
        "exits", "swap_adverse_ticks", 1, 1, 1_000_000, "ticks", "a bid lower by this ends a swap"
    ),
    Parameter("exits", "swap_tries", 1, 0, 100, "", "swaps of one position"),
    Parameter(
        "exits",
        "regime",
        False,
        0,
        1,
        "",
        "exits patient, urgent or in panic by mode, stress and loss; off: always normal",
    ),
    Parameter(
        "exits", "stress_spread", 3.0, 1.0, 1000.0, "", "spread over its mean that is stress"
    ),
    Parameter(
        "exits", "urgent_loss", 0.5, 0.0, 10.0, "", "share of the way to the first stop: urgent"
    ),
    Parameter("exits", "patient_trail", 1.25, 0.01, 100.0, "", "multiplies the trail, patient"),
    Parameter("exits", "urgent_trail", 0.5, 0.01, 100.0, "", "the same, urgent"),
    Parameter("exits", "panic_trail", 0.25, 0.01, 100.0, "", "the same, panic"),
    Parameter("exits", "patient_slippage", 0.5, 0.0, 100.0, "", "multiplies slippage_bps, patient"),
    Parameter("exits", "urgent_slippage", 2.0, 0.0, 100.0, "", "the same, urgent"),
    Parameter("exits", "panic_slippage", 4.0, 0.0, 100.0, "", "the same, panic"),
    Parameter("exits", "trail_range", 1.0, 0.01, 100.0, "", "multiplies the trail in RANGE"),
    Parameter("exits", "trail_trend", 1.0, 0.01, 100.0, "", "the same, TREND"),
    Parameter("exits", "trail_high_volatility", 1.0, 0.01, 100.0, "", "the same, HIGH_VOLATILITY"),
    Parameter("exits", "trail_low_liquidity", 1.0, 0.01, 100.0, "", "the same, LOW_LIQUIDITY"),
    Parameter("exits", "trail_chaos", 1.0, 0.01, 100.0, "", "the same, CHAOS"),
    Parameter(
        "exits",
        "trail_amends_hour",
        0,
        0,
        100_000,
        "1/h",
        "trailing steps of a symbol at once and within an hour; 0: any number",
    ),
    Parameter(
        "exits", "style", False, 0, 1, "", "choose the style of the exit by the tape since entry"
    ),
    Parameter(
        "exits",
        "style_trend",
        1,
        0,
        3,
        "code",
        "style in a trend: 0 keep the policy, 1 trail at once, 2 take at a limit, 3 leave now",
    ),
    Parameter("exits", "style_stall", 2, 0, 3, "code", "the same, no better bid for long"),
    Parameter("exits", "style_reversal", 3, 0, 3, "code", "the same, gives back and is sold"),
    Parameter("exits", "style_vacuum", 3, 0, 3, "code", "the same, few bids left"),
    Parameter(
        "exits", "style_gain_bps", 10.0, 0.0, 10_000.0, "bps", "best gain that may stall or reverse"
    ),
    Parameter(
        "exits", "style_give_back", 0.5, 0.0, 10.0, "", "share of the best gain lost: reversal"
    ),
    Parameter("exits", "style_flow", 0.3, 0.0, 1.0, "0..1", "flow against us that goes with it"),
    Parameter("exits", "stall_ns", 60 * S, S, 86_400 * S, "ns", "no better bid for so long: stall"),
    Parameter(
        "exits", "style_depth", 1.0, 0.0, 1e6, "", "bids within 25 bps over the position: vacuum"
    ),
    Parameter("exits", "style_confirm_ns", 3 * S, 0, 3600 * S, "ns", "a path counts after so long"),
    Parameter(
        "exits",
        "ignition",
        False,
        0,
        1,
        "",
        "exits of their own for ignition entries, while ignition.enabled",
    ),
    Parameter("exits", "ignition_wide", 1.5, 0.01, 100.0, "", "their trail in EXPANSION"),
    Parameter("exits", "ignition_tight", 0.5, 0.01, 100.0, "", "their trail in COOLDOWN"),
    Parameter(
        "exits",
        "ignition_time_multiple",
        1.0,
        0.1,
        1000.0,
        "",
        "their time exit, if that is sooner",
    ),
    Parameter(
        "exits", "advice", False, 0, 1, "", "let the route's advice pull the stop up (route_state)"
    ),
    Parameter("exits", "time_multiple", 3.0, 0.1, 1000.0, "", "time exit after so many horizons"),
    Parameter(
        "exits",
        "slippage_bps",
        10.0,
        0.0,
        1000.0,
        "bps",
        "bound of the first marketable exit; doubles per retry",
    ),
    Parameter(
        "exits",
        "unprotected_max_ns",
        5 * S,
        0,
        3600 * S,
        "ns",
        "uncovered longer: EXIT_COVERAGE_MISSING and a marketable exit",
    ),
    # what is understood of the market
    Parameter("features", "vwap", True, 0, 1, "", "volume-weighted prices; off: NaN"),
    # Followed at each event or second; switched on where an enabled family reads them (needs.py).
    Parameter(
        "features",
        "bursts",
        False,
        0,
        1,
        "",
        "runs of trades; off and read by no enabled family: the columns of sweeps are NaN",
    ),
    Parameter(
        "features",
        "refill",
        False,
        0,
        1,
        "",
        "refill of emptied levels; off and read by no enabled family: its columns are NaN",
    ),
    Parameter(
        "features",
        "minutes",
        False,
        0,
        1,
        "",
        "whole minutes: long VWAPs, candle volatility, extremes, true ranges; off and read by no "
        "enabled family: NaN",
    ),
    Parameter(
        "features",
        "burst_gap_ns",
        100_000_000,
        0,
        60 * S,
        "ns",
        "trades of one side further apart are two bursts",
    ),
    Parameter(
        "features",
        "level3",
        False,
        0,
        1,
        "",
        "keep the orders of a level-3 feed; off: the columns of level 3 are NaN",
    ),
    Parameter(
        "features", "level3_half_life_s", 60.0, 1.0, 86_400.0, "s", "half-life of level-3 rates"
    ),
    Parameter(
        "features",
        "level3_quality_min",
        0.7,
        0.0,
        1.0,
        "0..1",
        "quality below which level 3 is not used",
    ),
    # ignition
    Parameter("ignition", "enabled", False, 0, 1, "", "off: DORMANT, no family is restricted"),
    Parameter(
        "ignition", "compression_enter", 0.2, 0.0, 1.0, "0..1", "range percentile: COMPRESSION"
    ),
    Parameter(
        "ignition", "compression_leave", 0.5, 0.0, 1.0, "0..1", "above: DORMANT without ignition"
    ),
    Parameter(
        "ignition", "burst_enter", 3.0, 0.0, 1e6, "", "notional over its mean that may ignite"
    ),
    Parameter("ignition", "burst_leave", 0.8, 0.0, 1e6, "", "below: EXPANSION is over"),
    Parameter("ignition", "body_enter", 0.6, 0.0, 1.0, "0..1", "body of a candle that may ignite"),
    Parameter("ignition", "flow_enter", 0.3, -1.0, 1.0, "-1..1", "flow that must go with it"),
    Parameter(
        "ignition", "acceleration_enter", 1.0, 0.0, 100.0, "sd", "acceleration that may ignite"
    ),
    Parameter(
        "ignition", "acceleration_leave", 1.5, 0.0, 100.0, "sd", "against it: EXPANSION is over"
    ),
    Parameter("ignition", "expansion_enter", 0.6, 0.0, 1.0, "0..1", "range percentile: EXPANSION"),
    Parameter("ignition", "dwell_ns", 120 * S, 0, 86_400 * S, "ns", "shortest stay in a state"),
    Parameter(
        "ignition",
        "ignition_max_ns",
        600 * S,
        0,
        86_400 * S,
        "ns",
        "no EXPANSION by then: COOLDOWN",
    ),
    Parameter("ignition", "expansion_max_ns", 3600 * S, 0, 86_400 * S, "ns", "longest EXPANSION"),
    Parameter("ignition", "cooldown_ns", 1800 * S, 0, 86_400 * S, "ns", "length of COOLDOWN"),
    Parameter("ignition", "missing_max", 5, 0, 240, "", "minutes without a trade; more: DORMANT"),
    # forecast of 15 minutes
    Parameter(
        "forecast", "scale", 0.0, 0.0, 0.2, "", "most by which it scales directional moves; 0: off"
    ),
    Parameter("forecast", "weight_drift_5m", 0.3, -10.0, 10.0, "", "weight of drift_t_5m / 2"),
    Parameter("forecast", "weight_drift_15m", 0.3, -10.0, 10.0, "", "of drift_t_15m / 2"),
    Parameter("forecast", "weight_drift_1h", 0.2, -10.0, 10.0, "", "of drift_t_1h / 2"),
    Parameter("forecast", "weight_flow", 0.3, -10.0, 10.0, "", "of flow_imbalance_15m"),
    Parameter("forecast", "weight_depth", 0.2, -10.0, 10.0, "", "of imbalance_far"),
    Parameter("forecast", "weight_range", 0.1, -10.0, 10.0, "", "of the place in the range of 1 h"),
    Parameter("forecast", "weight_acceleration", 0.1, -10.0, 10.0, "", "of acceleration / 3"),
    # ranking
    Parameter(
        "ranking", "tod", False, 0, 1, "", "multiply the rank of symbols by their hour of the week"
    ),
    Parameter(
        "ranking", "horizon_first", False, 0, 1, "", "choose the horizon first, then the best route"
    ),
    Parameter(
        "ranking", "per_horizon_max", 0, 0, 64, "", "symbols that may enter by one horizon; 0: any"
    ),
    Parameter(
        "ranking", "tod_prior", 4.0, 0.001, 1e6, "hours", "doubt against what an hour has shown"
    ),
    # score of microstructure
    Parameter("score", "spread_half_bps", 5.0, 0.001, 10_000.0, "bps", "spread that scores 0.5"),
    Parameter("score", "density_half", 20_000.0, 1e-6, 1e12, "quote", "depth that scores 0.5"),
    Parameter("score", "weight_spread", 1.0, 0.0, 1000.0, "", "weight of the spread"),
    Parameter("score", "weight_lean", 0.5, 0.0, 1000.0, "", "of the microprice's lean"),
    Parameter("score", "weight_density", 1.0, 0.0, 1000.0, "", "of the depth near the touch"),
    Parameter("score", "weight_refill", 0.5, 0.0, 1000.0, "", "of the refill"),
)

# Kinds of CHAOS (regime.py) and states of ignition (ignition.py).
N_CHAOS: Final = 5
CHAOS_DATA: Final = 1  # as in regime.py, which stands above this file
N_IGNITION: Final = 5
# Per family and regime: 1 allows. Rows: FAMILY_*, columns: REGIME_* (UNKNOWN never trades).
N_REGIMES: Final = 6

# Families that may enter per state of ignition; user families may in all.
_REVERTING: Final = (
    FAMILY_MARKET_MAKING,
    FAMILY_GRID,
    FAMILY_SCALPING,
    FAMILY_MEAN_REVERSION,
    FAMILY_VWAP_REVERSION,
)
_MOVING: Final = (FAMILY_MOMENTUM, FAMILY_BREAKOUT, FAMILY_ATR_BREAKOUT, FAMILY_ORDER_FLOW)
IGNITION_FAMILIES: Final = (
    (*_REVERTING, *_MOVING, FAMILY_FADE, FAMILY_PULLBACK, FAMILY_SWEEP),  # DORMANT
    _REVERTING,  # COMPRESSION
    (*_MOVING, FAMILY_IGNITION),  # IGNITION
    (*_MOVING, FAMILY_IGNITION, FAMILY_PULLBACK),  # EXPANSION
    (*_REVERTING, FAMILY_FADE, FAMILY_PULLBACK, FAMILY_SWEEP),  # COOLDOWN
)

FAMILY_FIELDS: Final = (
    ("family_enabled", "<i8", (N_FAMILIES,)),
    ("family_params", "<f8", (N_FAMILIES, N_FAMILY_PARAMS)),
    ("family_half_life_s", "<f8", (N_FAMILIES,)),
    ("family_net_min_bps", "<f8", (N_FAMILIES,)),  # added to readiness.net_min_bps
    ("family_tape", "<i8", (N_FAMILIES,)),  # 1: needs fresh trades
    ("family_taker", "<i8", (N_FAMILIES,)),  # 1: may take liquidity
    ("family_tod", "<i8", (N_FAMILIES,)),  # 1: moves scale with the hour of the week
    ("regime_allows", "<i8", (N_FAMILIES, N_REGIMES)),
    ("chaos_allows", "<i8", (N_FAMILIES, N_CHAOS)),  # counts only where regime_allows CHAOS
    ("ignition_allows", "<i8", (N_FAMILIES, N_IGNITION)),  # counts only with ignition.enabled
    ("horizon_enabled", "<i8", (N_HORIZONS,)),
    ("n_fee_tiers", "<i8"),
    ("fee_volume", "<i8", (16,)),  # money, 30-day volume from which the tier holds
    ("fee_maker_e6", "<i8", (16,)),  # 1/100 bps
    ("fee_taker_e6", "<i8", (16,)),
    ("seed", "<i8"),
)

PARAMS: Final = np.dtype(
    [(each.field, "<f8" if isinstance(each.default, float) else "<i8") for each in PARAMETERS]
    + list(FAMILY_FIELDS)
)


def timer_grid_ns(params: np.ndarray) -> int:
    """How far apart the timers are that a core with these PARAMS[1] expects, in ns."""
    return min(int(params[0]["evaluation_interval_ns"]), TIMER_GRID_MAX_NS)


def default_params() -> np.ndarray:
    """PARAMS[1] with every scalar at its default; families and fees are filled by theses.py and
    engine/config.py."""
    params = np.zeros(1, PARAMS)
    for each in PARAMETERS:
        params[0][each.field] = each.default
    # Doubtful data blocks every family, whatever its profile says.
    params[0]["chaos_allows"][:] = 1
    params[0]["chaos_allows"][:, CHAOS_DATA] = 0
    for state, families in enumerate(IGNITION_FAMILIES):
        for family in (*families, *range(FAMILY_PLUGIN, N_FAMILIES)):
            params[0]["ignition_allows"][family, state] = 1
    return params


def parameter_reference() -> list[dict[str, Any]]:
    """One dict per parameter, for docs and `config schema`."""
    return [each._asdict() | {"key": f"{each.section}.{each.name}"} for each in PARAMETERS]
