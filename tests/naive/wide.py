"""The wider half of the feature vector, one plain formula after the other, from a naive symbol."""

from __future__ import annotations

import math
import statistics
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

from tests.naive.features import NAN, NaiveSymbol, Vector
from tests.naive.tape import Candle, NaiveTape, ceil_second

S = 1_000_000_000
WINDOWS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600}


def of_shape(symbol: NaiveSymbol) -> Vector:
    bids, asks = sorted(symbol.bids, reverse=True), sorted(symbol.asks)
    if not (symbol.verified and bids and asks and bids[0] < asks[0]):
        return {}
    mid = (bids[0] + asks[0]) / 2
    found: Vector = {}
    sides = {"bid": (symbol.bids, bids), "ask": (symbol.asks, asks)}
    near, far = {}, {}
    for side, (levels, prices) in sides.items():

        def notional(per_10_000: int, levels: dict[int, int], prices: list[int]) -> float:
            both = bids[0] + asks[0]
            inside = [p for p in prices if abs(2 * p - both) * 10_000 <= per_10_000 * both]
            return math.fsum(p * levels[p] for p in inside) * symbol.tick * symbol.lot

        near[side], far[side] = notional(5, levels, prices), notional(25, levels, prices)
        middle = notional(10, levels, prices)
        inside = [p for p in prices if abs(p - mid) * 1000 <= mid]
        found[f"depth_{side}_10"] = (middle, max(len(inside), min(10, len(prices))))
        shape = near[side] / far[side] if far[side] else NAN
        found[f"shape_{side}"] = (shape, min(10, len(prices)))
    n = min(10, len(bids), len(asks))
    for name, levels_used, weight in (("5", 5, 1.0), ("decay", 10, 0.5)):
        lots, mean = {}, {}
        for side, (levels, prices) in sides.items():
            weighed = [(p, levels[p] * weight**k) for k, p in enumerate(prices[:levels_used])]
            lots[side] = math.fsum(w for _, w in weighed)
            mean[side] = math.fsum(p * w for p, w in weighed) / lots[side]
        crossed = mean["bid"] * lots["ask"] + mean["ask"] * lots["bid"]
        micro = crossed / (lots["bid"] + lots["ask"])
        found[f"microprice_{name}_bps"] = ((micro - mid) / mid * 1e4, n)
    bid_10 = sum(symbol.bids[p] for p in bids[:10])
    ask_10 = sum(symbol.asks[p] for p in asks[:10])
    found["imbalance_10"] = ((bid_10 - ask_10) / (bid_10 + ask_10), n)
    for name, those in (("near", near), ("far", far)):
        total = those["bid"] + those["ask"]
        value = (those["bid"] - those["ask"]) / total if total else NAN
        found[f"imbalance_{name}"] = (value, n)
    return found


def of_drift(tape: NaiveTape, plain: Vector) -> Vector:
    found: Vector = {}
    mids = {each.second: each.mid for each in tape.samples if each.mid > 0}
    newest = tape.samples[-1].second
    votes = []
    for suffix, width in WINDOWS.items():
        value, n = plain[f"return_bps_{suffix}"]
        found[f"drift_{suffix}"] = (value / (width / 60), n)
        three = [mids.get(newest - back) for back in (0, width // 2, width)]
        if all(three):
            now, half, begin = three
            newer, older = now - half, half - begin
            change = (newer - older) / now * 1e4 / (width / 120)
            found[f"drift_change_{suffix}"] = (change, 1)
        t, n = plain[f"drift_t_{suffix}"]
        if n >= 10:
            votes.append(t)
    if votes:
        direction = statistics.fmean(max(-1.0, min(1.0, t / 2)) for t in votes)
        same = sum(1 for t in votes if t * direction > 0)
        found["direction"] = (direction, len(votes))
        found["agreement"] = (same / len(votes), len(votes))
    return found


def of_minutes(tape: NaiveTape, plain: Vector) -> Vector:
    found: Vector = {}
    second = ceil_second(tape.now)
    for suffix, minutes in (("1h", 60), ("4h", 240)):
        begin = 60 * ((second - 1) // 60 - minutes + 1)
        trades = [each for each in tape.trades if ceil_second(each.ts) > begin]
        lots = sum(each.qty for each in trades)
        if not lots:
            continue
        mean = Fraction(sum(each.qty * each.price for each in trades), lots)
        square = sum(each.qty * (each.price - mean) ** 2 for each in trades)
        sd = math.sqrt(square / lots)
        mid = plain["mid"][0]
        found[f"vwap_{suffix}"] = (float(mean), len(trades))
        found[f"vwap_sd_{suffix}_bps"] = (sd / float(mean) * 1e4, len(trades))
        found[f"vwap_z_{suffix}"] = ((mid - float(mean)) / sd if sd else NAN, len(trades))
    candles = tape.candles()[-239:]
    valid = tape.mids()
    mid = valid[-1].mid / 2 if valid else NAN
    for suffix, width in (("15m", 15), ("1h", 60), ("4h", 238)):
        last = candles[-width:]
        pairs = list(pairwise(candles))[-width:]
        steps = [math.log(b.close / a.close) ** 2 for a, b in pairs]
        found[f"vol_close_{suffix}"] = (math.sqrt(math.fsum(steps)) * 1e4, len(steps))
        high_low = [math.log(each.high / each.low) ** 2 for each in last]
        parkinson = math.fsum(high_low) / (4 * math.log(2))
        found[f"vol_parkinson_{suffix}"] = (math.sqrt(parkinson) * 1e4, len(last))
        bodies = [math.log(each.close / each.open) ** 2 for each in last]
        both = math.fsum(high_low) / 2 - (2 * math.log(2) - 1) * math.fsum(bodies)
        found[f"vol_garman_klass_{suffix}"] = (math.sqrt(max(both, 0.0)) * 1e4, len(last))
    for width in (20, 60):
        for name, pick in (("high", max), ("low", min)):
            values = [getattr(each, name) for each in candles[-width:]]
            found[f"bar_{name}_{width}"] = (pick(values) if values else NAN, len(candles))
    for name, width in (("fast", 5), ("slow", 60)):
        spans = []
        for k, each in enumerate(candles):
            high, low = each.high, each.low
            if k:
                high, low = max(high, candles[k - 1].close), min(low, candles[k - 1].close)
            spans.append(high - low)
        mean_range = statistics.fmean(spans[-width:]) if spans else NAN
        found[f"atr_{name}_bps"] = (mean_range / mid * 1e4, len(candles))
    return found


def of_ignition(tape: NaiveTape, plain: Vector) -> Vector:
    candles = tape.candles()[-239:]
    if not candles:
        return {}
    found: Vector = {}
    n = len(candles)
    ranges = [range_of(candles[k - 15 : k]) for k in range(15, n + 1)]
    if ranges:
        below = sum(1 for each in ranges if each < ranges[-1])
        same = sum(1 for each in ranges if each == ranges[-1])
        found["range_percentile"] = ((below + same / 2) / len(ranges), len(ranges))
    last = candles[-1]
    width = last.high - last.low
    found["body_share"] = ((last.close - last.open) / width if width else 0.0, n)
    found["close_position"] = ((last.close - last.low) / width if width else 0.5, n)
    flow, seen = plain["flow_imbalance_1m"]
    found["bar_flow"] = (flow if seen and not math.isnan(flow) else 0.0, n)
    if n > 60:
        before = statistics.fmean(each.notional for each in candles[-61:-1])
        burst = last.notional / before if before else NAN
        found["volume_burst"] = (burst, n - 1)
        closes = [each.close for each in candles]
        steps = [b - a for a, b in zip(closes[-61:], closes[-60:], strict=False)]
        sd = max(statistics.stdev(steps), 1.0)
        newer, older = closes[-1] - closes[-6], closes[-6] - closes[-11]
        found["acceleration"] = ((newer - older) / (sd * math.sqrt(10)), n - 1)
    return found


def range_of(candles: list[Candle]) -> float:
    high, low = max(each.high for each in candles), min(each.low for each in candles)
    return (high - low) / candles[-1].close


WEIGHTS = {  # input: weight, middle, full size
    "drift_t_5m": (0.3, 0.0, 2.0),
    "drift_t_15m": (0.3, 0.0, 2.0),
    "drift_t_1h": (0.2, 0.0, 2.0),
    "flow_imbalance_15m": (0.3, 0.0, 1.0),
    "imbalance_far": (0.2, 0.0, 1.0),
    "range_position_1h": (0.1, 0.5, 0.5),
    "acceleration": (0.1, 0.0, 3.0),
}


def forecast(features: dict[str, float]) -> tuple[float, float, int]:
    """Score, confidence, known inputs, with the default weights."""
    known = {name: each for name in WEIGHTS if not math.isnan(each := features[name])}
    if not known:
        return NAN, NAN, 0
    terms = [
        weight * max(-1.0, min(1.0, (known[name] - middle) / full))
        for name, (weight, middle, full) in WEIGHTS.items()
        if name in known
    ]
    size = math.fsum(map(abs, terms))
    share = math.fsum(WEIGHTS[name][0] for name in known) / 1.5
    agreement = abs(math.fsum(terms)) / size if size else 0.0
    return math.tanh(math.fsum(terms)), agreement * share, len(known)


CENTRES = (  # zone, opens, closes in minutes of its own day
    ("Asia/Tokyo", 9 * 60, 15 * 60),
    ("Europe/London", 8 * 60, 16 * 60 + 30),
    ("America/New_York", 9 * 60 + 30, 16 * 60),
)


def centres_open(second: int) -> int:
    found = 0
    moment = datetime.fromtimestamp(second, UTC)
    for bit, (zone, opens, closes) in enumerate(CENTRES):
        local = moment.astimezone(ZoneInfo(zone))
        minute = local.hour * 60 + local.minute
        if local.weekday() < 5 and opens <= minute < closes:
            found |= 1 << bit
    return found


def tod_multiplier(hours: list[tuple[int, float]], hour: int, prior: float) -> float:
    """hours : (hour since the epoch, move per cost), as seen; hour : the one to judge."""

    def cell(at: int) -> tuple[int, int]:
        moment = datetime.fromtimestamp(at * 3600, UTC)
        return moment.weekday() * 24 + moment.hour, centres_open(
            round((moment + timedelta(minutes=30)).timestamp())
        )

    if not hours:
        return 1.0
    mean = statistics.fmean(value for _, value in hours)
    of_hour, of_centres = cell(hour)
    value = 1.0
    for pick, wanted in ((1, of_centres), (0, of_hour)):
        seen = [each for at, each in hours if cell(at)[pick] == wanted]
        if seen:
            share = len(seen) / (len(seen) + prior)
            value += (statistics.fmean(seen) / mean - value) * share
    return max(0.5, min(1.5, value))


def ignition_next(
    state: str, direction: int, age_s: float, seen: dict[str, float], prices: dict[str, int]
) -> tuple[str, int]:
    """The machine with its default parameters. seen : measures and `missing`; prices : close,
    base (open of the candle that ignited), fired (its close)."""
    if seen["missing"] > 5:
        return "DORMANT", 0
    ripe = age_s >= 120
    if state == "DORMANT":
        return ("COMPRESSION", 0) if ripe and seen["range"] <= 0.2 else (state, direction)
    if state == "COMPRESSION":
        sign = 1 if seen["body"] > 0 else -1
        fires = (
            abs(seen["body"]) >= 0.6
            and seen["burst"] >= 3
            and seen["acceleration"] * sign >= 1
            and seen["flow"] * sign >= 0.3
        )
        if ripe and fires:
            return "IGNITION", sign
        return ("DORMANT", 0) if ripe and seen["range"] > 0.5 else (state, direction)
    if state == "IGNITION":
        failed = (prices["close"] - prices["base"]) * direction <= 0
        if failed or age_s >= 600:
            return "COOLDOWN", direction
        further = (prices["close"] - prices["fired"]) * direction > 0
        grown = ripe and further and seen["range"] >= 0.6
        return ("EXPANSION" if grown else state), direction
    if state == "EXPANSION":
        spent = seen["burst"] < 0.8 or seen["acceleration"] * direction < -1.5 or age_s >= 3600
        return ("COOLDOWN" if ripe and spent else state), direction
    return ("DORMANT", 0) if age_s >= 1800 else (state, direction)
