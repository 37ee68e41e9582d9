"""The feature vector from a naive tape and a dict of levels, one plain formula after the other."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tests.naive.tape import NaiveTape, weighted, wilder_atr

WINDOWS = {"10s": 10, "1m": 60, "5m": 300, "15m": 900, "1h": 3600}
S = 1_000_000_000
NAN = math.nan

Vector = dict[str, tuple[float, int]]  # value, observations behind it


@dataclass
class NaiveSymbol:
    bids: dict[int, int] = field(default_factory=dict)  # ticks -> lots
    asks: dict[int, int] = field(default_factory=dict)
    tick: float = 0.1  # quote currency
    lot: float = 1e-8
    verified: bool = True
    book_ts: int = 0
    trade_ts: int = 0
    tape: NaiveTape = field(default_factory=NaiveTape)


def features(symbol: NaiveSymbol, now: int) -> Vector:
    """Every feature but horizon and inventory, whatever its number of observations."""
    found: Vector = {}
    found |= of_book(symbol)
    found |= of_trades(symbol, found)
    found |= of_samples(symbol.tape, found)
    found |= of_candles(symbol.tape)
    found["book_age"] = ((now - symbol.book_ts) / S, 1) if symbol.book_ts else (NAN, 0)
    found["trade_age"] = ((now - symbol.trade_ts) / S, 1) if symbol.trade_ts else (NAN, 0)
    return found


def of_book(symbol: NaiveSymbol) -> Vector:
    names = (
        "mid tick_bps spread_ticks spread_bps microprice_bps touch_bid touch_ask touch_bid_lots "
        "touch_ask_lots depth_bid_5 depth_ask_5 depth_bid_25 depth_ask_25 imbalance_touch imbalance_5"
    )
    bids, asks = sorted(symbol.bids, reverse=True), sorted(symbol.asks)
    if not (symbol.verified and bids and asks and bids[0] < asks[0]):
        return dict.fromkeys(names.split(), (NAN, 0))
    bid, ask = bids[0], asks[0]
    bid_qty, ask_qty = symbol.bids[bid], symbol.asks[ask]
    mid = (bid + ask) / 2
    microprice = (bid * ask_qty + ask * bid_qty) / (bid_qty + ask_qty)
    found: Vector = {
        "mid": (mid, 1),
        "tick_bps": (1 / mid * 1e4, 1),
        "spread_ticks": (ask - bid, 1),
        "spread_bps": ((ask - bid) / mid * 1e4, 1),
        "microprice_bps": ((microprice - mid) / mid * 1e4, 1),
        "touch_bid": (bid * symbol.tick * bid_qty * symbol.lot, 1),
        "touch_ask": (ask * symbol.tick * ask_qty * symbol.lot, 1),
        "touch_bid_lots": (bid_qty, 1),
        "touch_ask_lots": (ask_qty, 1),
        "imbalance_touch": ((bid_qty - ask_qty) / (bid_qty + ask_qty), 1),
    }
    looked_at = {}
    for side, levels, prices in (("bid", symbol.bids, bids), ("ask", symbol.asks, asks)):
        # Twice the distance in ticks against twice the mid: exact at the border itself.
        far = [p for p in prices if abs(2 * p - bid - ask) * 10_000 <= 25 * (bid + ask)]
        near = [p for p in prices if abs(2 * p - bid - ask) * 10_000 <= 5 * (bid + ask)]
        looked_at[side] = max(len(far), min(5, len(prices)))
        for name, those in (("5", near), ("25", far)):
            notional = math.fsum(p * symbol.tick * levels[p] * symbol.lot for p in those)
            found[f"depth_{side}_{name}"] = (notional, looked_at[side])
    five_bids = sum(symbol.bids[p] for p in bids[:5])
    five_asks = sum(symbol.asks[p] for p in asks[:5])
    five = (five_bids - five_asks) / (five_bids + five_asks)
    found["imbalance_5"] = (five, min(looked_at.values()))
    return found


def of_trades(symbol: NaiveSymbol, book: Vector) -> Vector:
    tape = symbol.tape
    found: Vector = {}
    for suffix, width in WINDOWS.items():
        trades = tape.window(width)
        n = len(trades)
        buy = sum(each.notional for each in trades if each.side == 1)
        sell = sum(each.notional for each in trades if each.side == -1)
        found[f"buy_notional_{suffix}"] = (buy / 1e8, n)
        found[f"sell_notional_{suffix}"] = (sell / 1e8, n)
        found[f"n_trades_{suffix}"] = (n, n)
        imbalance = (buy - sell) / (buy + sell) if buy + sell else NAN
        found[f"flow_imbalance_{suffix}"] = (imbalance, n)
    trades = tape.window(300)
    assert tape.first is not None
    watched = min(300, -(-tape.now // S) - tape.first + 1)
    for side, taker in (("bid", -1), ("ask", 1)):
        rate = sum(each.qty for each in trades if each.side == taker) / watched
        touch = book[f"touch_{side}_lots"][0]
        wait = touch / rate if rate else (math.inf if touch == touch else NAN)
        found[f"traded_{side}_rate"] = (rate, len(trades))
        found[f"queue_wait_{side}"] = (wait, len(trades))
    lots, vwap, variance = tape.vwap()
    n = len(tape.window(900)) if lots else 0
    sd = math.sqrt(variance)
    found["vwap_15m"] = (float(vwap) if lots else NAN, n)
    found["vwap_sd_bps"] = (sd / float(vwap) * 1e4 if lots else NAN, n)
    found["vwap_z"] = ((book["mid"][0] - float(vwap)) / sd if sd else NAN, n)
    return found


def of_samples(tape: NaiveTape, book: Vector) -> Vector:
    found: Vector = {}
    valid = tape.mids()
    mid = valid[-1].mid if valid else 0
    for suffix, width in WINDOWS.items():
        returns = tape.returns(width)
        n = len(returns)
        move = sum(each.move for each in returns)
        total = move * 1e4 / (mid - move) if mid - move else NAN
        found[f"return_bps_{suffix}"] = (total, n + 1 if n else 0)
        found[f"drift_t_{suffix}"] = (t_value([each.move for each in returns]), n)
        vol = NAN
        if n:
            rate = sum(each.move**2 for each in returns) / sum(each.span for each in returns)
            vol = math.sqrt(rate * width) / mid * 1e4
        found[f"vol_bps_{suffix}"] = (vol, n)
        mids = [each.mid for each in tape.mids(width)]
        position = 0.5
        if mids and max(mids) > min(mids):
            position = (mid - min(mids)) / (max(mids) - min(mids))
        found[f"range_position_{suffix}"] = (position, len(mids))

    slots = tape.variance_slots()
    percentile = NAN
    if slots and slots[-1][0] == tape.k:
        present = slots[-1][1]
        below = sum(1 for _, slot in slots if slot < present)
        same = sum(1 for _, slot in slots if slot == present)
        percentile = (below + same / 2) / len(slots)
    found["vol_percentile"] = (percentile, len(slots))

    remembered = tape.remembered()
    spreads = [(s.second, s.spread_bps) for s in remembered if s.spread_bps is not None]
    spread_mean = weighted(spreads, 60) if spreads else NAN
    found["spread_mean_bps"] = (spread_mean, len(spreads))
    deviations = tape.deviations()
    last = deviations[-1][1] if deviations else NAN
    found["mean_bps"] = (last * 1e4, len(deviations))
    z = NAN
    if deviations:
        sd = math.sqrt(weighted([(s.second, d * d) for s, d in deviations], 600))
        z = last / sd if sd else NAN
    found["mean_z"] = (z, len(deviations))
    slope, step, n = tape.reversion(deviations)
    half_life = NAN
    if slope == slope:
        half_life = math.inf if slope >= 1 else 0.0
        if 0 < slope < 1:
            half_life = math.log(0.5) / math.log(slope) * step
    found["reversion_half_life"] = (half_life, n)

    fast = tape.returns(10)
    slow = [each for each in tape.returns(300) if each.second <= tape.k - 10]
    jump = NAN
    if slow:
        floor = max(1.0, spread_mean / 1e4 * mid / 2) if spreads else 1.0
        variance = sum(each.move**2 for each in slow) / sum(each.span for each in slow)
        sd = max(math.sqrt(variance), floor)
        jump = max((abs(each.move) / math.sqrt(each.span) / sd for each in fast), default=0.0)
    found["jump_z"] = (jump, len(slow))

    x, cover, messages = tape.flow()
    found["ofi"] = (x, cover)
    found["update_rate"] = (messages / 10, cover)
    found["ofi_slope"] = tape.slope()
    return found


def t_value(moves: list[int]) -> float:
    n = len(moves)
    if n < 2:
        return NAN
    if sum(moves) == 0:
        return 0.0
    mean = sum(moves) / n
    variance = math.fsum((each - mean) ** 2 for each in moves) / (n - 1)
    if variance == 0:
        return math.copysign(100.0, mean)
    return max(-100.0, min(100.0, mean / math.sqrt(variance / n)))


def of_candles(tape: NaiveTape) -> Vector:
    candles = tape.candles()
    atr = wilder_atr([(c.high, c.low, c.close) for c in candles], 14)
    valid = tape.mids()
    value = atr[-1] * 2 / valid[-1].mid * 1e4 if atr and valid else NAN
    body = 0.0
    if candles and candles[-1].high > candles[-1].low:
        body = (candles[-1].close - candles[-1].open) / (candles[-1].high - candles[-1].low)
    return {"atr_bps": (value, len(candles)), "candle_body": (body, min(len(candles), 239))}
