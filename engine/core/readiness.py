"""May this symbol, may this route be traded now? One dominant blocker, in a fixed order.

Data, regime, liquidity, queue, economics, exit, capital: the first gate that refuses names the
blocker, so that a row says what would have to change first. Global gates (engine mode, risk,
rate counter) stand later, in the choke, and stop the command instead of the evaluation. Exits and
protection never pass through here. Left out: which of the routes that pass is best (selection.py).
"""

from __future__ import annotations

from engine.core.fillprob import FILL_TAKER
from engine.core.ignition import ignition_allows
from engine.core.lanes import TIER_NONE, liquidity_tier, tier_age_max
from engine.core.records import (
    BOOK_UNVERIFIED,
    CHAOS_BLOCKED,
    COSTS_EXCEED_MOVE,
    DATA_STALE,
    EPOCH_NOT_VALID,
    EXIT_INFEASIBLE,
    FILL_UNLIKELY,
    IGNITION_BLOCKED,
    INPUT_MISSING,
    INSTRUMENT_STATUS,
    LIQUIDITY_TIER,
    MOVE_TOO_SMALL,
    NOT_ENOUGH_HISTORY,
    OK,
    QUEUE_TOO_LONG,
    REGIME_BLOCKED,
    ROUTE_STALE,
    ROUTE_STALE_WINNER,
    SIZE_BELOW_MIN,
    SPREAD_TOO_WIDE,
    SURFACE_NOT_TRADABLE,
    THIN_TOUCH,
    UNIVERSE_EXCLUDED,
)
from engine.core.regime import REGIME_CHAOS, REGIME_LOW_LIQUIDITY, REGIME_UNKNOWN
from engine.core.routes import (
    ENTRY_TAKE,
    ENTRY_THEN_TAKE,
    FAMILY_MARKET_MAKING,
    FAMILY_SCALPING,
    N_FAMILIES,
)
from engine.events import EPOCH_VALID
from engine.instruments import STATUS_LIMIT_ONLY, STATUS_ONLINE, STATUS_POST_ONLY
from engine.jit import kernel
from engine.units import notional_fits, notional_money


@kernel
def regime_allows(symbol, params, family):
    """May this family enter in the present regime, and if that is CHAOS, in this kind of it?"""
    regime = symbol["regime"]
    if params["regime_allows"][family, regime] != 1:
        return False
    return regime != REGIME_CHAOS or params["chaos_allows"][family, symbol["chaos_kind"]] == 1


@kernel
def symbol_blocker(symbol, params, now, epoch_status):
    """What stops every route of this symbol, before any is looked at? OK if nothing does.

    symbol : SYMBOL record; params : PARAMS record; now : int64, ns; epoch_status : EPOCH_*
    Order: universe, instrument status, book not verified, data stale, epoch, spread, liquidity
    tier, regime. A regime stops the symbol only where no enabled family trades in it; UNKNOWN
    always does. Also writes the symbol's tier, which sizing reads.
    """
    symbol["tier"] = TIER_NONE
    if symbol["outside"] != 0:
        return UNIVERSE_EXCLUDED
    status = symbol["instrument"]["status"]
    if status != STATUS_ONLINE and status != STATUS_POST_ONLY and status != STATUS_LIMIT_ONLY:
        return INSTRUMENT_STATUS
    bid = symbol["bid"]
    ask = symbol["ask"]
    if symbol["verified"] != 1 or bid <= 0 or ask <= bid:
        return BOOK_UNVERIFIED
    if now - symbol["book_ts"] > params["readiness_book_age_max_ns"]:
        return DATA_STALE
    if epoch_status != EPOCH_VALID:
        return EPOCH_NOT_VALID
    spread_bps = 20_000.0 * float(ask - bid) / float(bid + ask)
    if spread_bps > params["readiness_spread_max_bps"]:
        return SPREAD_TOO_WIDE
    if params["tiers_enabled"] == 1:
        tier = liquidity_tier(symbol["features"], params)
        symbol["tier"] = tier
        if tier == TIER_NONE:
            return LIQUIDITY_TIER
        if now - symbol["book_ts"] > tier_age_max(params, tier):
            return DATA_STALE
    regime = symbol["regime"]
    if regime == REGIME_UNKNOWN:
        return NOT_ENOUGH_HISTORY
    if regime == REGIME_CHAOS or regime == REGIME_LOW_LIQUIDITY:
        for family in range(N_FAMILIES):
            if params["family_enabled"][family] and regime_allows(symbol, params, family):
                return OK
        return CHAOS_BLOCKED if regime == REGIME_CHAOS else REGIME_BLOCKED
    return OK


@kernel
def stale(symbol, params, family, entry_mode, now):
    """Is an input of this route older than the route allows?

    Routes that live on the tape or may take have the shorter ceiling; only the former need trades.
    """
    tape = params["family_tape"][family] == 1
    ceiling = params["readiness_freshness_passive_ns"]
    if tape or entry_mode == ENTRY_TAKE or entry_mode == ENTRY_THEN_TAKE:
        ceiling = params["readiness_freshness_tape_ns"]
    if now - symbol["book_ts"] > ceiling:
        return True
    if tape:
        return symbol["trade_ts"] == 0 or now - symbol["trade_ts"] > ceiling
    return False


@kernel
def size_blocker(instrument, price, qty):
    """SIZE_BELOW_MIN if `qty` lots at `price` ticks are below the venue's minimum, else OK."""
    if qty <= 0 or qty < instrument["qty_min"]:
        return SIZE_BELOW_MIN
    if not notional_fits(price, qty, instrument["notional_num"]):
        return INPUT_MISSING
    money = notional_money(price, qty, instrument["notional_num"], instrument["notional_den"])
    return SIZE_BELOW_MIN if money < instrument["cost_min"] else OK


@kernel
def route_blocker(row, symbol, params, code, side, wanted_qty, now):
    """The first gate that refuses one candidate, OK if none does.

    row : CANDIDATE record: family, entry_mode, qty and, where `code` is OK, its economics
    code : int64, what the thesis or the pricing said; anything but OK is the answer, as data
    side : +1 long, -1 hypothetical short; wanted_qty : int64 lots that capital offers; now : ns
    Order: data, surface, regime, liquidity, queue, economics, exit, capital.
    """
    family = row["family"]
    entry_mode = row["entry_mode"]
    if code != OK:
        return code
    takes = entry_mode == ENTRY_TAKE or entry_mode == ENTRY_THEN_TAKE
    if takes and symbol["instrument"]["status"] == STATUS_POST_ONLY:
        return INSTRUMENT_STATUS
    late = stale(symbol, params, family, entry_mode, now)
    if late and params["readiness_stale_winner"] == 0:
        return ROUTE_STALE
    code = gate_route(row, symbol, params, side, wanted_qty)
    if not late:
        return code
    # A candidate for "would have won": selection.py keeps the best of them.
    return ROUTE_STALE_WINNER if code == OK else ROUTE_STALE


@kernel
def gate_route(row, symbol, params, side, wanted_qty):
    """The gates that do not ask how old the inputs are; OK if none of them refuses."""
    family = row["family"]
    entry_mode = row["entry_mode"]
    takes = entry_mode == ENTRY_TAKE or entry_mode == ENTRY_THEN_TAKE
    if side < 0:
        return SURFACE_NOT_TRADABLE
    regime = symbol["regime"]
    if not regime_allows(symbol, params, family):
        return CHAOS_BLOCKED if regime == REGIME_CHAOS else REGIME_BLOCKED
    if not ignition_allows(symbol, params, family):
        return IGNITION_BLOCKED
    # Leaving hits our own side of the book; taking hits the other as well.
    needed = params["readiness_touch_multiple"] * float(row["qty"])
    if float(symbol["bid_qty"]) < needed:
        return THIN_TOUCH
    if takes and float(symbol["ask_qty"]) < needed:
        return THIN_TOUCH
    if row["fill_method"] != FILL_TAKER:
        if row["fill_time_s"] > params["readiness_queue_wait_max_s"]:
            return QUEUE_TOO_LONG
        if row["fill_prob"] < params["readiness_fill_prob_min"]:
            return FILL_UNLIKELY
    # Spread capture lives on the spread, not on catching a move.
    wants_move = family != FAMILY_MARKET_MAKING
    if wants_move and row["capturable"] < params["readiness_capturable_min"]:
        return MOVE_TOO_SMALL
    if not row["net_bps"] > net_threshold_bps(params, family):
        return COSTS_EXCEED_MOVE
    if family == FAMILY_SCALPING and params["costs_exit_maker_share"] < 1.0:
        return EXIT_INFEASIBLE  # both legs of a scalp must rest
    drag = row["exit_drag_bps"]
    if drag > params["readiness_exit_drag_max_bps"]:
        return EXIT_INFEASIBLE
    if wants_move and drag > row["move_bps"] and params["readiness_exit_drag_below_move"] == 1:
        return EXIT_INFEASIBLE
    return size_blocker(symbol["instrument"], row["price"], wanted_qty)


@kernel
def net_threshold_bps(params, family):
    """Net edge that a candidate of this family must exceed, in bps."""
    return params["readiness_net_min_bps"] + params["family_net_min_bps"][family]
