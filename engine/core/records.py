"""What does a run write down? One definition per table: columns, units, meaning; and all codes.

The numpy record types, the Arrow schemas, the docs and the readers are all made from TABLES below.
Every column is int64 or float64, so that a row has one bit pattern and no hidden padding.
Estimates are floats in basis points of the mid; prices are ticks, quantities lots, money 1e-8 of
the quote currency, times ns since the epoch (UTC).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np


class Column(NamedTuple):
    """One column of a table: name, "i8" or "f8", unit, meaning."""

    name: str
    type: str
    unit: str
    doc: str


# --- outcome codes -----------------------------------------------------------------------------
EXECUTE: Final = 1
SKIP: Final = 2
NONE: Final = 3
OUTCOME_NAMES: Final = {EXECUTE: "execute", SKIP: "skip", NONE: "none"}

ALLOW: Final = 1
VETO: Final = 2  # this candidate
HALT: Final = 3  # all entries
VERDICT_NAMES: Final = {ALLOW: "allow", VETO: "skip", HALT: "halt"}

# --- reason codes: stable integers, one sentence each for people ---------------------------------
OK: Final = 0
DATA_STALE: Final = 1
BOOK_UNVERIFIED: Final = 2
SPREAD_TOO_WIDE: Final = 3
L3_UNRELIABLE: Final = 4
NOT_ENOUGH_HISTORY: Final = 5
REGIME_BLOCKED: Final = 6
CHAOS_BLOCKED: Final = 7
IGNITION_BLOCKED: Final = 8
UNIVERSE_EXCLUDED: Final = 9
QUEUE_TOO_LONG: Final = 10
FILL_UNLIKELY: Final = 11
MOVE_TOO_SMALL: Final = 12
COSTS_EXCEED_MOVE: Final = 13
EXIT_INFEASIBLE: Final = 14
TAIL_INADMISSIBLE: Final = 15
CONFLICT_LANE: Final = 16
ROUTE_STALE: Final = 17
GENERATION_MISMATCH: Final = 18
EPOCH_NOT_VALID: Final = 19
SIZE_BELOW_MIN: Final = 20
CAPITAL_EXHAUSTED: Final = 21
EXPOSURE_CAP: Final = 22
INVENTORY_CAP: Final = 23
LOSS_THROTTLE: Final = 24
RISK_VETO: Final = 25
MODE_BLOCKED: Final = 26
SYMBOL_SAFETY: Final = 27
LEASE_HELD: Final = 28
ALREADY_IN_POSITION: Final = 29
ORDER_IN_FLIGHT: Final = 30
RATE_LIMIT: Final = 31
RECONCILE_PENDING: Final = 32
SURFACE_NOT_TRADABLE: Final = 33
LOST_TO_BETTER: Final = 34
THESIS_INACTIVE: Final = 35
FAMILY_DISABLED: Final = 36
INSTRUMENT_STATUS: Final = 37
THIN_TOUCH: Final = 38
INPUT_MISSING: Final = 39
THESIS_INVALID: Final = 40
CLOCK_UNSURE: Final = 41
JOURNAL_SLOW: Final = 42
FEED_LAGGING: Final = 43
CONNECTION_SILENT: Final = 44
ACCOUNT_STALE: Final = 45
ALERTS_OPEN: Final = 46
LEASE_LOST: Final = 47
SWITCH_FIRED: Final = 48
REPEATED: Final = 49
STOPPING: Final = 50
BALANCE_DIFFERS: Final = 51
LIQUIDITY_TIER: Final = 52
ROUTE_STALE_WINNER: Final = 53
N_REASONS: Final = 64  # room for codes to come, so that a new one moves no record

REASONS: Final[dict[int, tuple[str, str]]] = {
    OK: ("OK", "nothing stood in the way"),
    DATA_STALE: ("DATA_STALE", "the newest book or trade is older than its limit"),
    BOOK_UNVERIFIED: ("BOOK_UNVERIFIED", "the book has no verified snapshot, or is crossed"),
    SPREAD_TOO_WIDE: ("SPREAD_TOO_WIDE", "the spread is above its cap"),
    L3_UNRELIABLE: ("L3_UNRELIABLE", "the route needs level 3 and its quality is too low"),
    NOT_ENOUGH_HISTORY: ("NOT_ENOUGH_HISTORY", "too few observations behind a needed feature"),
    REGIME_BLOCKED: ("REGIME_BLOCKED", "this family does not trade in the present regime"),
    CHAOS_BLOCKED: ("CHAOS_BLOCKED", "the market is in CHAOS, its subtype blocks the family"),
    IGNITION_BLOCKED: ("IGNITION_BLOCKED", "the ignition state does not open this family"),
    UNIVERSE_EXCLUDED: ("UNIVERSE_EXCLUDED", "the symbol is not in the trading universe"),
    QUEUE_TOO_LONG: ("QUEUE_TOO_LONG", "the expected wait in the queue exceeds the maker window"),
    FILL_UNLIKELY: ("FILL_UNLIKELY", "the chance of a fill within the window is too small"),
    MOVE_TOO_SMALL: ("MOVE_TOO_SMALL", "the part of the move we could catch is too small"),
    COSTS_EXCEED_MOVE: ("COSTS_EXCEED_MOVE", "the move does not pay for its costs"),
    EXIT_INFEASIBLE: ("EXIT_INFEASIBLE", "leaving through a stressed book would cost too much"),
    TAIL_INADMISSIBLE: ("TAIL_INADMISSIBLE", "the tail of the outcome is too bad"),
    CONFLICT_LANE: ("CONFLICT_LANE", "another active candidate claims the same liquidity"),
    ROUTE_STALE: ("ROUTE_STALE", "an input of this route is older than the route allows"),
    ROUTE_STALE_WINNER: (
        "ROUTE_STALE_WINNER",
        "this route would have won, and an input of it is older than it allows",
    ),
    GENERATION_MISMATCH: ("GENERATION_MISMATCH", "decided in an older generation, not re-checked"),
    EPOCH_NOT_VALID: ("EPOCH_NOT_VALID", "the data epoch does not allow entries"),
    SIZE_BELOW_MIN: ("SIZE_BELOW_MIN", "the size is below the venue's minimum"),
    CAPITAL_EXHAUSTED: ("CAPITAL_EXHAUSTED", "no free capital is left"),
    EXPOSURE_CAP: ("EXPOSURE_CAP", "total exposure would exceed its cap"),
    INVENTORY_CAP: ("INVENTORY_CAP", "inventory in this symbol would exceed its cap"),
    LOSS_THROTTLE: ("LOSS_THROTTLE", "recent losses stopped new entries"),
    RISK_VETO: ("RISK_VETO", "a risk check refused (the row names it)"),
    MODE_BLOCKED: ("MODE_BLOCKED", "the engine's mode allows no entries"),
    SYMBOL_SAFETY: ("SYMBOL_SAFETY", "this symbol is blocked for entries"),
    LEASE_HELD: ("LEASE_HELD", "somebody else drives this symbol's exits"),
    ALREADY_IN_POSITION: ("ALREADY_IN_POSITION", "a position in this symbol is open"),
    ORDER_IN_FLIGHT: ("ORDER_IN_FLIGHT", "an order of this symbol is working or unanswered"),
    RATE_LIMIT: ("RATE_LIMIT", "the venue's counter has no room left beside the reserve"),
    RECONCILE_PENDING: ("RECONCILE_PENDING", "state is not reconciled with the venue"),
    SURFACE_NOT_TRADABLE: ("SURFACE_NOT_TRADABLE", "a short reading: spot is long only"),
    LOST_TO_BETTER: ("LOST_TO_BETTER", "tradable, but another candidate was better"),
    THESIS_INACTIVE: ("THESIS_INACTIVE", "the family sees no opportunity now"),
    FAMILY_DISABLED: ("FAMILY_DISABLED", "the family is switched off in the profile"),
    INSTRUMENT_STATUS: ("INSTRUMENT_STATUS", "the venue does not accept entries in this pair now"),
    THIN_TOUCH: ("THIN_TOUCH", "too little quantity at the touch for our order"),
    INPUT_MISSING: ("INPUT_MISSING", "a number the costs need is missing: fees, depth or impact"),
    LIQUIDITY_TIER: ("LIQUIDITY_TIER", "too thin a market for any liquidity tier"),
    THESIS_INVALID: ("THESIS_INVALID", "the family's answer is not a number or out of its range"),
    CLOCK_UNSURE: ("CLOCK_UNSURE", "our clock is too far from the venue's, or was not compared"),
    JOURNAL_SLOW: ("JOURNAL_SLOW", "the log is written too slowly, or not at all"),
    FEED_LAGGING: ("FEED_LAGGING", "we are behind what the venue sends"),
    CONNECTION_SILENT: ("CONNECTION_SILENT", "nothing was heard of the public connection"),
    ACCOUNT_STALE: ("ACCOUNT_STALE", "nothing was heard of the private connection"),
    ALERTS_OPEN: ("ALERTS_OPEN", "a critical alert is not acknowledged"),
    LEASE_LOST: ("LEASE_LOST", "another process may act for this account: nothing leaves"),
    SWITCH_FIRED: ("SWITCH_FIRED", "the dead man's switch cancelled all orders of the account"),
    REPEATED: ("REPEATED", "the family entered too often and waits for a person"),
    STOPPING: ("STOPPING", "the session ends"),
    BALANCE_DIFFERS: ("BALANCE_DIFFERS", "the venue's balance is not what our fills say"),
}

# --- the economics of one candidate, shared by candidates and decisions --------------------------
ECONOMICS: Final = (
    Column("move_bps", "f8", "bps", "expected move mid to mid over the horizon, + is ours"),
    Column("move_sd_bps", "f8", "bps", "standard deviation of that move"),
    Column("confidence", "f8", "0..1", "the thesis' own probability of being right"),
    Column("capturable", "f8", "0..1", "share of the move that can be caught"),
    Column("gross_bps", "f8", "bps", "move x capturable"),
    Column("fill_prob", "f8", "0..1", "chance of a fill within the window (1 for a taker)"),
    Column("fill_time_s", "f8", "s", "expected time to fill; inf if no flow"),
    Column("fill_method", "i8", "code", "FILL_* of fillprob.py: which evidence was used"),
    Column("entry_fee_bps", "f8", "bps", "fee of the entry leg"),
    Column("exit_fee_bps", "f8", "bps", "fee of the exit leg"),
    Column("spread_in_bps", "f8", "bps", "spread paid (+) or earned (-) at entry"),
    Column("spread_out_bps", "f8", "bps", "spread paid (+) or earned (-) at exit"),
    Column("slip_in_bps", "f8", "bps", "slippage of the entry from the book walk"),
    Column("slip_out_bps", "f8", "bps", "slippage of the exit from the book walk"),
    Column("adverse_bps", "f8", "bps", "adverse selection of a maker fill"),
    Column("latency_bps", "f8", "bps", "expected adverse move while the order travels"),
    Column("buffer_bps", "f8", "bps", "safety buffer"),
    Column("cost_bps", "f8", "bps", "sum of the seven costs above and the fees"),
    Column("exit_drag_bps", "f8", "bps", "leaving at once through a stressed book"),
    Column("net_bps", "f8", "bps", "gross - cost, conditional on a fill"),
    Column("edge_bps_min", "f8", "bps/min", "net x fill_prob per minute of expected time in trade"),
    Column("score", "f8", "bps", "what ranking uses: net x fill_prob x confidence"),
)

TABLES: Final[dict[str, tuple[Column, ...]]] = {
    "evaluations": (
        Column("ts", "i8", "ns", "when"),
        Column("generation", "i8", "", "number of the evaluation"),
        Column("epoch", "i8", "", "data epoch"),
        Column("epoch_status", "i8", "code", "EPOCH_* of events.py"),
        Column("mode", "i8", "code", "MODE_* of events.py"),
        Column("n_symbols", "i8", "", "symbols looked at"),
        Column("n_ready", "i8", "", "symbols whose data passed"),
        Column("n_candidates", "i8", "", "candidates evaluated"),
        Column("n_active", "i8", "", "candidates whose thesis was active"),
        Column("n_positive", "i8", "", "candidates with net edge above their threshold"),
        Column("n_commands", "i8", "", "commands that left in this evaluation"),
        Column("best_net_bps", "f8", "bps", "best net edge seen (NaN if none active)"),
        Column("blocker", "i8", "code", "most frequent blocker over symbols"),
        Column("equity", "i8", "money", "equity at the conservative mark"),
        Column("free", "i8", "money", "free capital"),
        Column("n_open_orders", "i8", "", "orders working"),
        Column("n_positions", "i8", "", "positions open"),
        Column("n_events", "i8", "", "events processed so far"),
    ),
    "decisions": (
        Column("ts", "i8", "ns", "when"),
        Column("generation", "i8", "", "number of the evaluation"),
        Column("sym", "i8", "row", "instrument"),
        Column("outcome", "i8", "code", "EXECUTE, SKIP or NONE"),
        Column("blocker", "i8", "code", "dominant reason, OK if executed"),
        Column("route", "i8", "key", "winning route (0 none)"),
        Column("runner_up", "i8", "key", "second best route (0 none)"),
        Column("margin_bps", "f8", "bps", "score of the winner over the runner-up"),
        Column("n_candidates", "i8", "", "routes evaluated"),
        Column("n_active", "i8", "", "routes whose thesis was active"),
        Column("bid", "i8", "ticks", "best bid"),
        Column("ask", "i8", "ticks", "best ask"),
        Column("mid_half_ticks", "i8", "half ticks", "bid + ask"),
        Column("spread_bps", "f8", "bps", "spread"),
        Column("regime", "i8", "code", "REGIME_* of regime.py"),
        Column("book_age_ns", "i8", "ns", "age of the newest book message"),
        Column("trade_age_ns", "i8", "ns", "age of the newest trade, -1 if none"),
        Column("verdict", "i8", "code", "ALLOW, VETO, HALT of the risk gate; 0 if not reached"),
        Column("check", "i8", "code", "RISK_* check that decided; 0 if none"),
        Column("check_value", "f8", "of the check", "its value"),
        Column("check_limit", "f8", "of the check", "its limit"),
        Column("qty", "i8", "lots", "size"),
        Column("price", "i8", "ticks", "limit price of the plan"),
        Column("stop", "i8", "ticks", "protective stop of the plan"),
        Column("target", "i8", "ticks", "target of the plan"),
        Column("command", "i8", "id", "client order id, 0 if none"),
        Column("chaos_kind", "i8", "code", "CHAOS_* of regime.py: which kind of CHAOS"),
        Column("expansion", "i8", "code", "EXPANSION_* of regime.py: label of the range"),
        Column("ignition", "i8", "code", "IGNITION_* of ignition.py"),
        *ECONOMICS,
    ),
    "candidates": (
        Column("ts", "i8", "ns", "when"),
        Column("generation", "i8", "", "number of the evaluation"),
        Column("sym", "i8", "row", "instrument"),
        Column("route", "i8", "key", "route key"),
        Column("family", "i8", "code", "FAMILY_* of routes.py"),
        Column("horizon_s", "i8", "s", "horizon of the thesis"),
        Column("entry_mode", "i8", "code", "ENTRY_* of routes.py"),
        Column("blocker", "i8", "code", "first gate that refused; OK if none"),
        Column("rank", "i8", "", "rank within the symbol, 1 is best; 0 unranked"),
        Column("weight", "i8", "", "this row stands for so many (sampling)"),
        Column("executed", "i8", "0/1", "became an order"),
        Column("qty", "i8", "lots", "size the economics were computed for"),
        Column("price", "i8", "ticks", "entry price assumed"),
        Column("invalidation_bps", "f8", "bps", "adverse move that disproves the thesis"),
        Column("expansion", "i8", "code", "EXPANSION_* of regime.py: label of the range"),
        *ECONOMICS,
    ),
    "blockers": (
        Column("ts", "i8", "ns", "when"),
        Column("generation", "i8", "", "number of the evaluation"),
        Column("sym", "i8", "row", "instrument"),
        Column("code", "i8", "code", "reason code"),
        Column("n", "i8", "", "candidates it stopped first"),
    ),
    "orders": (
        Column("ts", "i8", "ns", "when the order's row changed"),
        Column("id", "i8", "id", "client order id"),
        Column("sym", "i8", "row", "instrument"),
        Column("generation", "i8", "", "evaluation that decided it"),
        Column("route", "i8", "key", "route of its mandate"),
        Column("role", "i8", "code", "ROLE_* of commands.py"),
        Column("side", "i8", "", "+1 buy, -1 sell"),
        Column("type", "i8", "code", "LIMIT ... of commands.py"),
        Column("price", "i8", "ticks", "limit price; of a trailing stop its distance"),
        Column("trigger", "i8", "ticks", "stop price"),
        Column("qty", "i8", "lots", "total quantity"),
        Column("filled", "i8", "lots", "filled so far"),
        Column("state", "i8", "code", "ORDER_STATE_* of orderstates.py, after the change"),
        Column("state_before", "i8", "code", "before the change"),
        Column("cause", "i8", "code", "event kind, or command kind + 100, that caused it"),
        Column("reason", "i8", "code", "reject or cancel reason, or why it was sent"),
        Column("ts_decided", "i8", "ns", "T0: decision"),
        Column("ts_sent", "i8", "ns", "T1: on the wire, 0 unknown"),
        Column("ts_acked", "i8", "ns", "T2: acknowledged, 0 not yet"),
        Column("ts_filled", "i8", "ns", "T3: first fill, 0 not yet"),
    ),
    "fills": (
        Column("ts", "i8", "ns", "when we learned of it"),
        Column("ts_venue", "i8", "ns", "when it happened"),
        Column("order", "i8", "id", "client order id"),
        Column("exec", "i8", "id", "execution id"),
        Column("sym", "i8", "row", "instrument"),
        Column("generation", "i8", "", "evaluation behind the order"),
        Column("route", "i8", "key", "route of its mandate"),
        Column("role", "i8", "code", "ROLE_* of commands.py"),
        Column("side", "i8", "", "+1 buy, -1 sell"),
        Column("price", "i8", "ticks", "price"),
        Column("qty", "i8", "lots", "quantity"),
        Column("notional", "i8", "money", "price x quantity"),
        Column("fee", "i8", "money", "+ paid, - rebate"),
        Column("maker", "i8", "0/1", "liquidity: 1 maker, 0 taker"),
        Column("mid_half_ticks", "i8", "half ticks", "bid + ask when we learned of it"),
        Column("position", "i8", "lots", "position after the fill"),
        Column("realized", "i8", "money", "profit realised by this fill, fees included"),
    ),
    "positions": (
        Column("ts", "i8", "ns", "when the row changed"),
        Column("sym", "i8", "row", "instrument"),
        Column("state", "i8", "code", "POSITION_* of positions.py"),
        Column("qty", "i8", "lots", "position"),
        Column("cost", "i8", "money", "what the open lots cost, fees included"),
        Column("route", "i8", "key", "route that opened it"),
        Column("opened_ts", "i8", "ns", "first fill"),
        Column("coverage", "i8", "code", "COVER_* of protection.py"),
        Column("stop", "i8", "ticks", "stop in force"),
        Column("target", "i8", "ticks", "target watched"),
        Column("covered", "i8", "lots", "lots under a resting stop"),
        Column("unprotected_ns", "i8", "ns", "time uncovered so far"),
        Column("realized", "i8", "money", "realised since it was opened"),
    ),
    "realized": (
        Column("ts", "i8", "ns", "when the position went flat"),
        Column("sym", "i8", "row", "instrument"),
        Column("route", "i8", "key", "route that opened it"),
        Column("opened_ts", "i8", "ns", "first fill"),
        Column("hold_ns", "i8", "ns", "holding time"),
        Column("qty", "i8", "lots", "lots bought and sold"),
        Column("bought", "i8", "money", "value of the buys"),
        Column("sold", "i8", "money", "value of the sells"),
        Column("fees", "i8", "money", "fees of both"),
        Column("net", "i8", "money", "sold - bought - fees: the cash movement exactly"),
        Column("exit_reason", "i8", "code", "EXIT_* of exits.py"),
        Column("expected_bps", "f8", "bps", "net edge expected at entry"),
        Column("realized_bps", "f8", "bps", "net / bought"),
    ),
    "equity": (
        Column("ts", "i8", "ns", "when"),
        Column("cash", "i8", "money", "quote balance"),
        Column("equity", "i8", "money", "cash + positions at the bid"),
        Column("free", "i8", "money", "free capital"),
        Column("exposure", "i8", "money", "positions at the bid + entries resting"),
        Column("unrealized", "i8", "money", "positions at the bid - their cost"),
        Column("realized", "i8", "money", "realised so far, fees included"),
        Column("fees", "i8", "money", "fees so far"),
        Column("peak", "i8", "money", "highest equity so far"),
        Column("drawdown", "i8", "money", "peak - equity"),
    ),
    "health": (
        Column("ts", "i8", "ns", "when"),
        Column("sym", "i8", "row", "instrument"),
        Column("verified", "i8", "0/1", "book verified now"),
        Column("n_events", "i8", "", "events of this symbol so far"),
        Column("n_trades", "i8", "", "trades so far"),
        Column("n_messages", "i8", "", "book messages so far"),
        Column("n_checksum_failed", "i8", "", "messages whose checksum failed"),
        Column("n_crossed", "i8", "", "messages that left the book crossed"),
        Column("n_gaps", "i8", "", "gaps and resyncs"),
        Column("book_age_ns", "i8", "ns", "age of the newest book message"),
        Column("regime", "i8", "code", "REGIME_*"),
        Column("spread_bps", "f8", "bps", "spread"),
    ),
    "outcomes": (
        Column("ts", "i8", "ns", "when it was considered"),
        Column("generation", "i8", "", "number of the evaluation"),
        Column("sym", "i8", "row", "instrument"),
        Column("route", "i8", "key", "route key"),
        Column("family", "i8", "code", "FAMILY_* of routes.py"),
        Column("horizon_s", "i8", "s", "horizon of the thesis"),
        Column("entry_mode", "i8", "code", "ENTRY_* of routes.py"),
        Column("side", "i8", "", "+1 long, -1 the hypothetical short"),
        Column("blocker", "i8", "code", "what stopped it, OK if nothing did"),
        Column("rank", "i8", "", "rank within the symbol; 0 unranked"),
        Column("weight", "i8", "", "this row stands for so many (sampling)"),
        Column("executed", "i8", "0/1", "became an order"),
        Column("regime", "i8", "code", "REGIME_* then"),
        Column("price", "i8", "ticks", "entry price assumed, 0 if never priced"),
        Column("mid_half_ticks", "i8", "half ticks", "bid + ask then"),
        Column("stop", "i8", "ticks", "stop of the hypothetical trade"),
        Column("target", "i8", "ticks", "target of the hypothetical trade, 0 none"),
        Column("cost_bps", "f8", "bps", "cost stack, as in candidates"),
        Column("net_bps", "f8", "bps", "net edge expected, as in candidates"),
        Column("fill_prob", "f8", "0..1", "chance of a fill, as in candidates"),
        Column("borrow_bps", "f8", "bps", "borrowing of a hypothetical short over the horizon"),
        Column("legs_bps", "f8", "bps", "fees and slippage of both legs: off the trade's prices"),
        Column("mid_10s_bps", "f8", "bps", "move of the mid after 10 s, + is ours; NaN unknown"),
        Column("mid_30s_bps", "f8", "bps", "after 30 s"),
        Column("mid_1m_bps", "f8", "bps", "after 1 m"),
        Column("mid_5m_bps", "f8", "bps", "after 5 m"),
        Column("mid_15m_bps", "f8", "bps", "after 15 m"),
        Column("mid_30m_bps", "f8", "bps", "after 30 m"),
        Column("mid_1h_bps", "f8", "bps", "after 1 h"),
        Column("mid_4h_bps", "f8", "bps", "after 4 h"),
        Column("n_known", "i8", "", "horizons that could be told"),
        Column("own_bps", "f8", "bps", "move over its own horizon, or the next longer one above"),
        Column("best_bps", "f8", "bps", "best print on the way, + is ours"),
        Column("worst_bps", "f8", "bps", "worst print on the way"),
        Column("net_later_bps", "f8", "bps", "own_bps - cost_bps - borrow_bps: given a fill"),
        Column("worth_bps", "f8", "bps", "net_later_bps x fill_prob"),
        Column("filled", "i8", "0/1", "the hypothetical entry filled; -1 unknown"),
        Column("fill_s", "i8", "s", "seconds until then, 0 for a taker; -1 unknown"),
        Column("touch", "i8", "code", "TOUCH_* of shadow.py: what ended the trade"),
        Column("touch_s", "i8", "s", "seconds from entry to that; -1 unknown"),
        Column("trade_bps", "f8", "bps", "result of the trade after costs; 0 if not filled"),
        Column("closed_ts", "i8", "ns", "when the row was written"),
        Column("status", "i8", "code", "OUTCOME_* of shadow.py: how it was closed"),
    ),
    "ignition": (
        Column("ts", "i8", "ns", "when the state changed"),
        Column("sym", "i8", "row", "instrument"),
        Column("ignition_before", "i8", "code", "IGNITION_* of ignition.py before"),
        Column("ignition", "i8", "code", "after"),
        Column("direction", "i8", "", "+1 up, -1 down, 0 none"),
        Column("close", "i8", "ticks", "close of the last full minute"),
        Column("range_percentile", "f8", "0..1", "range of 15 m among its own history"),
        Column("volume_burst", "f8", "", "notional of the minute over its mean of an hour"),
        Column("body_share", "f8", "-1..1", "(close - open) / (high - low)"),
        Column("close_position", "f8", "0..1", "(close - low) / (high - low)"),
        Column("bar_flow", "f8", "-1..1", "flow imbalance of the minute"),
        Column("acceleration", "f8", "sd", "return of 5 minutes less that of the 5 before"),
        Column("n_missing", "i8", "", "minutes without a trade among the full ones"),
    ),
    "forecast_15m": (
        Column("ts", "i8", "ns", "when"),
        Column("sym", "i8", "row", "instrument"),
        Column("realized", "i8", "0/1", "0: the forecast; 1: the same, with what came of it"),
        Column("ts_made", "i8", "ns", "when the forecast was made"),
        Column("mid_half_ticks", "i8", "half ticks", "bid + ask at ts"),
        Column("score", "f8", "-1..1", "direction of the next 15 m"),
        Column("confidence", "f8", "0..1", "how far the inputs agree"),
        Column("drift_t_5m", "f8", "t", "input"),
        Column("drift_t_15m", "f8", "t", "input"),
        Column("drift_t_1h", "f8", "t", "input"),
        Column("flow_imbalance_15m", "f8", "-1..1", "input"),
        Column("imbalance_far", "f8", "-1..1", "input"),
        Column("range_position_1h", "f8", "0..1", "input"),
        Column("acceleration", "f8", "sd", "input"),
        Column(
            "move_bps", "f8", "bps", "move of the mid since ts_made; NaN in the forecast itself"
        ),
    ),
    "modes": (
        Column("ts", "i8", "ns", "when it was asked for"),
        Column("mode_before", "i8", "code", "MODE_* of events.py before"),
        Column("mode", "i8", "code", "in force afterwards"),
        Column("asked", "i8", "code", "asked for"),
        Column("who", "i8", "code", "WHO_* of events.py"),
        Column("why", "i8", "code", "WHY_* of events.py"),
        Column("accepted", "i8", "0/1", "0: refused, it would have loosened"),
    ),
    "recoveries": (
        Column("ts", "i8", "ns", "when"),
        Column("sym", "i8", "row", "instrument, -1: the account"),
        Column("recovery", "i8", "code", "RECOVERY_* of recoveries.py: what was seen or done"),
        Column("order", "i8", "", "client order id, 0 none"),
        Column("value", "i8", "", "lots, or money of the account; as the code says"),
        Column("expected", "i8", "", "what it should have been, in the same unit"),
        Column("state_before", "i8", "code", "ORDER_STATE_* of the order before, 0 none"),
        Column("state", "i8", "code", "after"),
    ),
    "balances": (
        Column("ts", "i8", "ns", "when the venue told it"),
        Column("sym", "i8", "row", "instrument, -1: the quote currency"),
        Column(
            "told", "i8", "", "lots, or money of the quote currency: all that the account holds"
        ),
        Column("own", "i8", "", "what our fills say is ours"),
        Column("foreign_part", "i8", "", "what was there before, or came by other hands"),
        Column("difference", "i8", "", "told - own - foreign_part"),
    ),
    "releases": (
        Column("ts", "i8", "ns", "when it was asked again"),
        Column("generation", "i8", "", "evaluation of that moment"),
        Column("generation_made", "i8", "", "evaluation that let it wait"),
        Column("sym", "i8", "row", "instrument"),
        Column("route", "i8", "key", "route key"),
        Column("blocker", "i8", "code", "what refused it then; OK: it left"),
        Column("born_ts", "i8", "ns", "when the route began to wait"),
        Column("scored_ts", "i8", "ns", "when it was evaluated last before"),
        Column("score_made", "f8", "bps", "score then"),
        Column("score_faded", "f8", "bps", "what its half-life left of it"),
        Column("score", "f8", "bps", "score now; NaN where it was not evaluated"),
        Column("net_bps", "f8", "bps", "net edge now"),
        Column("qty", "i8", "lots", "size"),
        Column("price", "i8", "ticks", "limit price of the plan"),
        Column("command", "i8", "id", "client order id, 0 if none"),
    ),
    "flow": (
        Column("ts", "i8", "ns", "when"),
        Column("generation", "i8", "", "number of the evaluation"),
        Column("n_waiting", "i8", "", "candidates that wait"),
        Column("n_merged", "i8", "", "merges so far"),
        Column("n_woken", "i8", "", "times the top changed by more than its step"),
        Column("n_popped", "i8", "", "asked again"),
        Column("n_released", "i8", "", "left"),
        Column("n_refused", "i8", "", "dropped because something refused them"),
        Column("n_mismatched", "i8", "", "dropped because what they were decided under is over"),
        Column("n_expired", "i8", "", "dropped because they waited too long"),
        Column("n_displaced", "i8", "", "found no room, or gave it up to a better one"),
        Column("n_overflow", "i8", "", "looks that the limit between evaluations cut"),
        Column("age_ns", "i8", "ns", "time that the released waited, summed"),
    ),
    "universe": (
        Column("ts", "i8", "ns", "when"),
        Column("version", "i8", "", "version of the universe"),
        Column("sym", "i8", "row", "instrument"),
        Column("member", "i8", "0/1", "1: may take entries"),
        Column("member_reason", "i8", "code", "IN_* or OUT_* of universe.py"),
        Column("rank", "i8", "", "its rank, 0 without one"),
    ),
    "adaptive": (
        Column("ts", "i8", "ns", "when"),
        Column("generation", "i8", "", "number of the evaluation"),
        Column("sym", "i8", "row", "instrument"),
        Column("route", "i8", "key", "route key"),
        Column("place", "i8", "", "its place among the candidates of the evaluation"),
        Column("v1_rank", "i8", "", "rank by the first model"),
        Column("v1_winner", "i8", "0/1", "the first model's winner of the symbol"),
        Column("v2_winner", "i8", "0/1", "the best admissible one by V2"),
        Column("admissible", "i8", "0/1", "its low quantile and its trimmed mean pass"),
        Column("market", "i8", "code", "kind of market of adaptive.py"),
        Column("v1_net_bps", "f8", "bps", "net edge by the first model"),
        Column("v1_score", "f8", "bps", "its score"),
        Column("v2_net_bps", "f8", "bps", "mean outcome over the paths, net of all costs"),
        Column("v2_score", "f8", "bps", "that x fill_prob"),
        Column("q10_bps", "f8", "bps", "a tenth of the paths end below"),
        Column("q50_bps", "f8", "bps", "half of them"),
        Column("q90_bps", "f8", "bps", "nine tenths of them"),
        Column("cover_prob", "f8", "0..1", "share of paths that cover their costs"),
        Column("trimmed_bps", "f8", "bps", "mean without the best tenth"),
        Column("fee_bps", "f8", "bps", "expected fee of the exit, a change of tier included"),
        Column("fee_sd_bps", "f8", "bps", "its standard deviation over the paths"),
        Column("stop_share", "f8", "0..1", "paths that end at the stop"),
        Column("trail_share", "f8", "0..1", "at the trailed stop"),
        Column("target_share", "f8", "0..1", "at the target"),
        Column("time_share", "f8", "0..1", "at the horizon"),
        Column("stop_slip_bps", "f8", "bps", "exit drag: slippage of those that are stopped"),
        Column("give_back_bps", "f8", "bps", "exit drag: from the peak to the trailed stop"),
        Column("target_miss_bps", "f8", "bps", "exit drag: what was missing to the target"),
    ),
    "routes": (
        Column("ts", "i8", "ns", "when its viability or advice changed, or it was born"),
        Column("generation", "i8", "", "newest evaluation"),
        Column("sym", "i8", "row", "instrument"),
        Column("route", "i8", "key", "route key"),
        Column("viability", "i8", "code", "FRESH, FADING, DEAD of routestate.py"),
        Column("advice", "i8", "code", "HOLD, TIGHTEN, TAKE, LEAVE of routestate.py"),
        Column("born_ts", "i8", "ns", "when its signal began"),
        Column("confirmed_ts", "i8", "ns", "when an evaluation found it tradable last"),
        Column("drift_bps", "f8", "bps", "move of the mid since it was born"),
        Column("net_bps", "f8", "bps", "net edge as evaluated last"),
        Column("score", "f8", "bps", "its score then"),
        Column("timing", "f8", "0..1", "share of the signal that is left when the entry fills"),
        Column("rank", "i8", "", "rank by edge, 0 of a position that was not evaluated since"),
        Column("lots", "i8", "lots", "position that it opened"),
    ),
    "exits": (
        Column("ts", "i8", "ns", "when one of the readings of a position changed"),
        Column("sym", "i8", "row", "instrument"),
        Column("route", "i8", "key", "route that opened it"),
        Column("urgency", "i8", "code", "URGENCY_* of exits.py: how forceful exits are"),
        Column("path", "i8", "code", "PATH_* of exits.py: what the tape did since entry"),
        Column("style", "i8", "code", "STYLE_* of exits.py that is in force"),
        Column("regime", "i8", "code", "REGIME_* now"),
        Column("ignition", "i8", "code", "IGNITION_* now"),
        Column("gain_bps", "f8", "bps", "bid against the entry price"),
        Column("best_bps", "f8", "bps", "best bid since entry against it"),
        Column("still_ns", "i8", "ns", "since that best bid"),
        Column(
            "loss_share", "f8", "", "share of the way to the first stop that was lost; - a gain"
        ),
        Column("stress", "f8", "", "spread over its mean"),
        Column("flow", "f8", "-1..1", "flow imbalance of one minute"),
        Column("cover", "f8", "", "bids within 25 bps over the value of the position"),
        Column("trail_factor", "f8", "", "what the trail's k is multiplied by"),
    ),
    "inventory": (
        Column("ts", "i8", "ns", "when it changed"),
        Column("sym", "i8", "row", "instrument"),
        Column("quality", "i8", "code", "QUALITY_* of inventory.py"),
        Column("evidence", "i8", "code", "EVIDENCE_* of inventory.py: what that rests on"),
        Column("venue", "i8", "lots", "all that the account holds; -1 not told"),
        Column("own", "i8", "lots", "ours by our fills, dust included"),
        Column("dust", "i8", "lots", "of ours, too little for any order"),
        Column("foreign_part", "i8", "lots", "not ours, never sold"),
        Column("missing", "i8", "lots", "ours that the venue does not have"),
        Column("held", "i8", "lots", "ours that working sells may still sell"),
        Column("free", "i8", "lots", "of the position, free to be offered"),
    ),
}

# Written by parts that not every run has. They enter the digest only where they have rows, so that
# a run without them keeps the digest that it had before they existed.
OPTIONAL_TABLES: Final = (
    "modes",
    "recoveries",
    "balances",
    "releases",
    "flow",
    "universe",
    "adaptive",
    "routes",
    "exits",
    "inventory",
)

# How far the moves of the mid in `outcomes` look ahead, in the order of their columns.
OUTCOME_HORIZONS_S: Final = (10, 30, 60, 300, 900, 1800, 3600, 14400)

_FORMATS: Final = {"i8": "<i8", "f8": "<f8"}


def table_dtype(name: str) -> np.dtype:
    """The numpy record type of table `name`."""
    return np.dtype([(column.name, _FORMATS[column.type]) for column in TABLES[name]])


EVALUATION_ROW: Final = table_dtype("evaluations")
DECISION_ROW: Final = table_dtype("decisions")
CANDIDATE_ROW: Final = table_dtype("candidates")
BLOCKER_ROW: Final = table_dtype("blockers")
ORDER_ROW: Final = table_dtype("orders")
FILL_ROW: Final = table_dtype("fills")
POSITION_ROW: Final = table_dtype("positions")
REALIZED_ROW: Final = table_dtype("realized")
EQUITY_ROW: Final = table_dtype("equity")
HEALTH_ROW: Final = table_dtype("health")
OUTCOME_ROW: Final = table_dtype("outcomes")
IGNITION_ROW: Final = table_dtype("ignition")
FORECAST_ROW: Final = table_dtype("forecast_15m")
MODE_ROW: Final = table_dtype("modes")
RECOVERY_ROW: Final = table_dtype("recoveries")
BALANCE_ROW: Final = table_dtype("balances")
RELEASE_ROW: Final = table_dtype("releases")
ADAPTIVE_ROW: Final = table_dtype("adaptive")
ROUTE_ROW: Final = table_dtype("routes")
EXIT_ROW: Final = table_dtype("exits")
INVENTORY_ROW: Final = table_dtype("inventory")
FLOW_ROW: Final = table_dtype("flow")
UNIVERSE_TABLE_ROW: Final = table_dtype("universe")

# Index of each table in the counters `glob["n_rows"]` and in the driver's drain, fixed order.
TABLE_NAMES: Final = tuple(TABLES)
T_EVALUATIONS: Final = TABLE_NAMES.index("evaluations")
T_DECISIONS: Final = TABLE_NAMES.index("decisions")
T_CANDIDATES: Final = TABLE_NAMES.index("candidates")
T_BLOCKERS: Final = TABLE_NAMES.index("blockers")
T_ORDERS: Final = TABLE_NAMES.index("orders")
T_FILLS: Final = TABLE_NAMES.index("fills")
T_POSITIONS: Final = TABLE_NAMES.index("positions")
T_REALIZED: Final = TABLE_NAMES.index("realized")
T_EQUITY: Final = TABLE_NAMES.index("equity")
T_HEALTH: Final = TABLE_NAMES.index("health")
T_OUTCOMES: Final = TABLE_NAMES.index("outcomes")
T_IGNITION: Final = TABLE_NAMES.index("ignition")
T_FORECAST_15M: Final = TABLE_NAMES.index("forecast_15m")
T_MODES: Final = TABLE_NAMES.index("modes")
T_RECOVERIES: Final = TABLE_NAMES.index("recoveries")
T_BALANCES: Final = TABLE_NAMES.index("balances")
T_RELEASES: Final = TABLE_NAMES.index("releases")
T_FLOW: Final = TABLE_NAMES.index("flow")
T_UNIVERSE: Final = TABLE_NAMES.index("universe")
T_ADAPTIVE: Final = TABLE_NAMES.index("adaptive")
T_ROUTES: Final = TABLE_NAMES.index("routes")
T_EXITS: Final = TABLE_NAMES.index("exits")
T_INVENTORY: Final = TABLE_NAMES.index("inventory")
