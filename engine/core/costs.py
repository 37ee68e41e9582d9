"""What does a route cost, leg by leg, in basis points of mid?

The numbers that one symbol, one side and one size have in common are computed once
(`market_costs`): half spread, slippage in and out from walking the book, adverse selection,
latency. edge.py puts them together per route. A number that is missing refuses with a code and is
never taken as zero. Left out: fees of real fills, which are integers (units.fee_money).

docs/formulas-economics.md has every formula with its source.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.book import book_best, book_next, book_qty, side_index
from engine.core.columns import FEATURE_INDEX
from engine.core.learned import shrunk
from engine.core.reach import reach_chance
from engine.core.records import INPUT_MISSING, NOT_ENOUGH_HISTORY, OK
from engine.jit import kernel
from engine.numerics import NAN, sqrt

NS_PER_S: Final = 1e9
RATE_MAX_E6: Final = 100_000  # 10 %: a typing error
WALK_LEVELS: Final = 256  # a walk stops here; what is beyond counts as not seen
_MEAN_POSITIVE_PART: Final = 0.3989422804014327  # E[max(0, Z)] of a standard normal: 1/sqrt(2 pi)
_FAST_S: Final = 10.0  # span of the fast volatility in adverse selection
_FLOW_S: Final = 300.0  # window behind the traded rates
_PER_MINUTE: Final = 7.745966692414834  # sqrt(60)

_MICROPRICE: Final = FEATURE_INDEX["microprice_bps"]
_VOL_10S: Final = FEATURE_INDEX["vol_bps_10s"]
_VOL_1M: Final = FEATURE_INDEX["vol_bps_1m"]
_VOL_15M: Final = FEATURE_INDEX["vol_bps_15m"]
_BUY_15M: Final = FEATURE_INDEX["buy_notional_15m"]
_SELL_15M: Final = FEATURE_INDEX["sell_notional_15m"]
_BID_RATE: Final = FEATURE_INDEX["traded_bid_rate"]
_ASK_RATE: Final = FEATURE_INDEX["traded_ask_rate"]
_QUEUE_CANCEL: Final = FEATURE_INDEX["queue_cancel_bid"]
_CANCEL_AHEAD: Final = FEATURE_INDEX["cancel_ahead_bid"]
_N_TRADES_5M: Final = FEATURE_INDEX["n_trades_5m"]


class MarketCosts(NamedTuple):
    """What all routes of one symbol, side and size share. All float64."""

    half_spread_bps: float
    tick_bps: float
    slip_take_bps: float  # taking entry: book walk beyond the touch, impact, residual
    slip_leave_bps: float  # taking exit, likewise
    slip_stressed_bps: float  # taking exit with `costs.stress_depth` of the depth
    adverse_bps: float  # one maker fill
    latency_bps: float  # one taking leg
    vol_bps_s: float  # bps per square root of a second
    ahead_lots: float  # quantity at the touch that a joining order waits behind
    rate: float  # lots per second traded into that queue; NAN if unknown
    lots_per_trade: float  # NAN if unknown
    lean_bps: float  # microprice - mid, + is ours
    leave_rate: float  # lots per second that leave that queue ahead of a newcomer; 0 unknown
    reach: float  # chance that the market comes to a price first in line within the maker window


@kernel
def fee_rates(params, volume):
    """Maker and taker rate of the tier that a 30-day `volume` (money) reaches, in 1/100 bps.

    returns code, maker_e6, taker_e6; code INPUT_MISSING without a schedule, else OK
    """
    n = params["n_fee_tiers"]
    if n <= 0:
        return INPUT_MISSING, 0, 0
    tier = 0
    for i in range(1, n):
        if volume >= params["fee_volume"][i]:
            tier = i
    return OK, params["fee_maker_e6"][tier], params["fee_taker_e6"][tier]


@kernel
def take_fee_table(glob, maker_e6, taker_e6):
    """The venue named our rates: they hold from now on. Impossible ones (10 % or more) do not."""
    for rate in (maker_e6, taker_e6):
        if rate >= RATE_MAX_E6 or rate <= -RATE_MAX_E6:
            return
    glob["fee_ts"] = glob["now"]
    glob["fee_maker_e6"] = maker_e6
    glob["fee_taker_e6"] = taker_e6


@kernel
def present_rates(params, glob):
    """Maker and taker rate now: as the venue named them, else those of the schedule.

    returns code, maker_e6, taker_e6; INPUT_MISSING where the venue's word is older than
        `costs.fee_age_max` (the rates are still the last known) or there is no schedule
    """
    if glob["fee_ts"] == 0:
        return fee_rates(params, glob["volume"])
    code = OK
    if glob["now"] - glob["fee_ts"] > params["costs_fee_age_max_ns"]:
        code = INPUT_MISSING
    return code, glob["fee_maker_e6"], glob["fee_taker_e6"]


@kernel
def walk_book(book, i_side, qty_lots):
    """Take `qty_lots` from one side of the book, best price first.

    qty_lots : float64, lots, > 0; a part of a lot stands for a book of which only a share is left
    returns lots x ticks paid beyond the best price, ticks from best to the worst price used,
        lots that the book does not show (all float64)
    """
    best = book_best(book, i_side)
    price = best
    left = qty_lots
    paid = 0.0
    worst = 0.0
    n = 0
    while left > 0.0 and price != 0 and n < WALK_LEVELS:
        at_level = float(book_qty(book, i_side, price))
        taken = at_level if at_level < left else left
        worst = float(price - best if price > best else best - price)
        paid += worst * taken
        left -= taken
        price = book_next(book, i_side, price)
        n += 1
    return paid, worst, left


@kernel
def impact_bps(gamma, vol_bps, notional, traded_notional):
    """Price move that buying `notional` beyond the visible book causes, in bps; NAN if unknown.

    vol_bps, traded_notional : float64, of the same window, whatever its length: volatility grows
        with the root of time and volume with time, so the window cancels.
    Source: Toth et al. 2011, "Anomalous price impact", I = gamma x sigma x sqrt(Q / V).
    """
    if not (traded_notional > 0.0 and vol_bps >= 0.0):
        return NAN
    return gamma * vol_bps * sqrt(notional / traded_notional)


@kernel
def slippage_bps(symbol, features, params, i_side, qty_lots):
    """Average price of taking `qty_lots` from a side, beyond its best price, in bps of mid.

    features : float64[N_FEATURES]; i_side : 0 bids, 1 asks; qty_lots : float64, > 0
    returns float64 >= 0; NAN if the side is empty, or the size exceeds the visible book and
        volatility or traded volume are unknown
    """
    book = symbol["book"]
    if book_best(book, i_side) == 0:
        return NAN
    paid, worst, left = walk_book(book, i_side, qty_lots)
    tick_bps = 20_000.0 / float(symbol["bid"] + symbol["ask"])
    paid_bps = paid * tick_bps
    if left > 0.0:
        row = symbol["instrument"]
        mid = 0.5 * float(symbol["bid"] + symbol["ask"])
        per_lot = mid * row["price_float"] * row["qty_float"]
        impact = impact_bps(
            params["costs_impact_gamma"],
            features[_VOL_15M],
            left * per_lot,
            features[_BUY_15M] + features[_SELL_15M],
        )
        paid_bps += left * (worst * tick_bps + impact)
    residual = params["costs_slippage_residual_bps"]
    if params["costs_learned"] == 1:
        learned = symbol["learned"]
        residual = shrunk(
            learned["slip_n"], learned["slip_sum"], residual, params["costs_prior_orders"]
        )
    return paid_bps / qty_lots + residual


@kernel
def fast_vol_bps(features):
    """Volatility over 10 s in bps: the last 10 s, or what the last minute implies if that is more."""
    last = features[_VOL_10S]
    usual = features[_VOL_1M] / sqrt(60.0 / _FAST_S)
    return usual if usual > last else last


@kernel
def market_costs(symbol, features, params, side, qty):
    """The numbers that all routes of this symbol, side and size share.

    symbol : SYMBOL record (bid, ask, bid_qty, ask_qty, book, instrument); params : PARAMS record
    features : float64[N_FEATURES]; side : +1 long, -1 the hypothetical short; qty : int64 lots > 0
    returns code, MarketCosts; code OK, NOT_ENOUGH_HISTORY (a feature is unknown) or INPUT_MISSING
        (no two-sided book, or slippage cannot be told)
    """
    bid = symbol["bid"]
    ask = symbol["ask"]
    code = OK
    if bid <= 0 or ask <= bid or qty <= 0:
        nothing = MarketCosts(NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, 0.0, NAN)
        return INPUT_MISSING, nothing
    tick_bps = 20_000.0 / float(bid + ask)
    half_spread = 0.5 * float(ask - bid) * tick_bps
    size = float(qty)
    i_own = side_index(side)  # where a passive entry rests, and a taking exit sells into
    i_other = 1 - i_own
    slip_take = slippage_bps(symbol, features, params, i_other, size)
    slip_leave = slippage_bps(symbol, features, params, i_own, size)
    slip_stressed = slippage_bps(
        symbol, features, params, i_own, size / params["costs_stress_depth"]
    )
    vol_s = features[_VOL_1M] / _PER_MINUTE
    fast = fast_vol_bps(features)
    if not (slip_take >= 0.0 and slip_leave >= 0.0 and slip_stressed >= 0.0):
        code = INPUT_MISSING
    lean = features[_MICROPRICE]
    reach = reach_chance(symbol["reach"], features, params, side)
    if not (vol_s >= 0.0 and fast >= 0.0 and lean == lean and reach >= 0.0):
        code = NOT_ENOUGH_HISTORY
    delay_s = float(params["costs_latency_ns"]) / NS_PER_S
    adverse = params["costs_adverse_share"] * (half_spread + fast)
    if params["costs_learned"] == 1:
        learned = symbol["learned"]
        adverse = shrunk(
            learned["adverse_n"][i_own],
            learned["adverse_sum"][i_own],
            adverse,
            params["costs_prior_orders"],
        )
    # Level 3 knows who leaves the queue unfilled ahead of a newcomer; the ask's column is next.
    leave_rate = 0.0
    if params["costs_fill_level3"] == 1:
        leaving = features[_QUEUE_CANCEL + i_own] * features[_CANCEL_AHEAD + i_own]
        if leaving > 0.0:
            leave_rate = leaving
    traded = features[_BID_RATE] + features[_ASK_RATE]
    n_trades = features[_N_TRADES_5M]
    lots_per_trade = NAN
    if n_trades > 0.0:
        lots_per_trade = traded * _FLOW_S / n_trades
    return code, MarketCosts(
        half_spread,
        tick_bps,
        slip_take,
        slip_leave,
        slip_stressed,
        adverse,
        _MEAN_POSITIVE_PART * vol_s * sqrt(delay_s),
        vol_s,
        float(symbol["bid_qty"] if side > 0 else symbol["ask_qty"]),
        features[_BID_RATE] if side > 0 else features[_ASK_RATE],
        lots_per_trade,
        lean if side > 0 else -lean,
        leave_rate,
        reach,
    )
