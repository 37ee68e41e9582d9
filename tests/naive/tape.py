"""The tape kept as plain lists of everything that happened; every number is counted afresh."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

S = 1_000_000_000
WINDOWS_S = (10, 60, 300, 900, 3600)
LONGEST_S = 3600


class Trade(NamedTuple):
    price: int
    qty: int
    side: int
    notional: int
    ts: int


class Sample(NamedTuple):
    second: int
    mid: int  # 0: no valid book
    spread_bps: float | None
    flow: int  # lots since the sample before
    depth: int
    messages: int
    cover: int  # seconds since the sample before


class Return(NamedTuple):
    second: int  # of the later mid
    span: int
    move: int  # half ticks


class Candle(NamedTuple):
    minute: int
    open: int
    high: int
    low: int
    close: int
    lots: int
    notional: int
    n: int


def ceil_second(ts: int) -> int:
    return -(-ts // S)


@dataclass
class NaiveTape:
    trades: list[Trade] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    touch: tuple[int, int, int, int] | None = None
    touches: list[tuple[tuple[int, int, int, int] | None, tuple[int, int, int, int]]] = field(
        default_factory=list
    )  # since the newest sample: the touch before, the touch after
    now: int = 0
    first: int | None = None  # first second of which anything was heard

    # --- what is told ---------------------------------------------------------------------------

    def trade(self, price: int, qty: int, side: int, notional: int, ts: int) -> None:
        self.trades.append(Trade(price, qty, side, notional, ts))
        self._hear(ts)

    def touched(self, bid: int, bid_qty: int, ask: int, ask_qty: int) -> None:
        if bid <= 0 or ask <= 0:
            self.touch = None
            return
        after = (bid, bid_qty, ask, ask_qty)
        self.touches.append((self.touch, after))
        self.touch = after

    def second(self, mid: int, now: int) -> None:
        self._hear(now)
        second = now // S
        if self.samples and second <= self.samples[-1].second:
            return
        spread = None
        if mid > 0 and self.touch and self.touch[2] > self.touch[0]:
            bid, _, ask, _ = self.touch
            spread = (ask - bid) / ((ask + bid) / 2) * 1e4
        self.samples.append(
            Sample(
                second,
                mid,
                spread,
                sum(flow_of(before, after) for before, after in self.touches if before),
                sum(after[1] + after[3] for _, after in self.touches),
                len(self.touches),
                second - self.samples[-1].second if self.samples else 1,
            )
        )
        self.touches = []

    def _hear(self, ts: int) -> None:
        self.now = max(self.now, ts)
        if self.first is None:
            self.first = ceil_second(ts)

    # --- trades ---------------------------------------------------------------------------------

    def window(self, width_s: int) -> list[Trade]:
        """The trades of the last `width_s` seconds: after (ceil(now) - width) s, up to now."""
        start = (ceil_second(self.now) - width_s) * S
        return [each for each in self.trades if start < each.ts <= self.now]

    def vwap(self) -> tuple[Fraction, Fraction, Fraction]:
        """Lots, volume-weighted price, volume-weighted variance, of 15 m. Exact."""
        trades = self.window(900)
        lots = sum(each.qty for each in trades)
        if lots == 0:
            return Fraction(0), Fraction(0), Fraction(0)
        mean = Fraction(sum(each.qty * each.price for each in trades), lots)
        variance = sum((each.qty * (each.price - mean) ** 2 for each in trades), Fraction(0)) / lots
        return Fraction(lots), mean, variance

    def candles(self) -> list[Candle]:
        """Full minute candles, oldest first, of the present run; silence of over 240 m ends one."""
        minute_now = self.now // (60 * S)
        run: list[Trade] = []
        for trade in self.trades:
            if run and trade.ts // (60 * S) - run[-1].ts // (60 * S) > 240:
                run = []
            run.append(trade)
        if not run or minute_now - run[-1].ts // (60 * S) > 240:
            return []
        candles: list[Candle] = []
        for minute in range(run[0].ts // (60 * S), minute_now):
            inside = [each for each in run if each.ts // (60 * S) == minute]
            if inside:
                prices = [each.price for each in inside]
                candles.append(
                    Candle(
                        minute,
                        prices[0],
                        max(prices),
                        min(prices),
                        prices[-1],
                        sum(each.qty for each in inside),
                        sum(each.notional for each in inside),
                        len(inside),
                    )
                )
            else:
                close = candles[-1].close
                candles.append(Candle(minute, close, close, close, close, 0, 0, 0))
        return candles

    # --- samples --------------------------------------------------------------------------------

    @property
    def k(self) -> int:
        return self.samples[-1].second

    def mids(self, width_s: int | None = None) -> list[Sample]:
        start = 0 if width_s is None else self.k - width_s
        return [each for each in self.samples if each.mid > 0 and each.second > start]

    def returns(self, width_s: int) -> list[Return]:
        """Moves between neighbouring valid mids, those that end in the window."""
        valid = self.mids()
        found = []
        for before, after in pairwise(valid):
            span = after.second - before.second
            if span <= LONGEST_S and after.second > self.k - width_s:
                found.append(Return(after.second, span, after.mid - before.mid))
        return found

    def remembered(self) -> list[Sample]:
        """The valid mids since the last pause of over an hour."""
        valid = self.mids()
        start = 0
        for i in range(1, len(valid)):
            if valid[i].second - valid[i - 1].second > LONGEST_S:
                start = i
        return valid[start:]

    def deviations(self) -> list[tuple[Sample, float]]:
        """(mid - EWMA of the mids so far) / mid of every remembered mid, half-life 120 s.

        The mean of the distances to the mids so far: exactly 0 where the mid never moved.
        """
        valid = self.remembered()
        return [
            (
                each,
                weighted([(s.second, each.mid - s.mid) for s in valid[: i + 1]], 120) / each.mid,
            )
            for i, each in enumerate(valid)
        ]

    def reversion(self, deviations: list[tuple[Sample, float]]) -> tuple[float, float, int]:
        """Slope of the deviation on the one before it over 15 m, mean step in s, pairs."""
        pairs = [
            (billionths(before[1]), billionths(after[1]), after[0].second - before[0].second)
            for before, after in pairwise(deviations)
            if after[0].second > self.k - 900
        ]
        slope = exact_slope([(x, y) for x, y, _ in pairs])
        step = sum(span for _, _, span in pairs) / len(pairs) if pairs else math.nan
        return slope, step, len(pairs)

    def variance_slots(self) -> list[tuple[int, int]]:
        """(second, quarter octave of the 1 m variance) of each valid mid in the last hour."""
        found = []
        every = NaiveTape(samples=self.samples)
        whole = every.samples
        for i, each in enumerate(whole):
            if each.mid <= 0 or each.second <= self.k - LONGEST_S:
                continue
            every.samples = whole[: i + 1]
            minute = every.returns(60)
            if len(minute) >= 10:
                variance = sum(r.move**2 for r in minute) * 60 // sum(r.span for r in minute)
                found.append((each.second, quarter_octave(variance)))
        return found

    # --- order flow -----------------------------------------------------------------------------

    def flow(self, i: int | None = None) -> tuple[float, int, int]:
        """Order flow of the 10 s up to sample i over the mean touch depth; cover; messages."""
        last = self.samples[-1 if i is None else i]
        rows = [s for s in self.samples if last.second - 10 < s.second <= last.second]
        messages = sum(each.messages for each in rows)
        depth = sum(each.depth for each in rows)
        x = 0.0
        if depth > 0:
            x = sum(each.flow for each in rows) / (depth / (2 * messages))
        return x, min(10, sum(min(10, each.cover) for each in rows)), messages

    def slope(self) -> tuple[float, int]:
        """Weighted regression (half-life 900 s) of the next 10 s of mid, bps, on flow; pairs."""
        index = {each.second: i for i, each in enumerate(self.samples)}
        pairs = []
        for after in self.samples:
            i = index.get(after.second - 10)
            if i is None or after.mid <= 0 or self.samples[i].mid <= 0:
                continue
            x, cover, _ = self.flow(i)
            if cover == 10:
                before = self.samples[i].mid
                weight = 0.5 ** ((self.k - after.second) / 900)
                pairs.append((x, (after.mid - before) / before * 1e4, weight))
        return least_squares(pairs), len(pairs)


def flow_of(before: tuple[int, int, int, int], after: tuple[int, int, int, int]) -> int:
    """Contribution of one change of the touch, read off the cases of the paper."""
    bid0, bid_qty0, ask0, ask_qty0 = before
    bid1, bid_qty1, ask1, ask_qty1 = after
    if bid1 > bid0:
        demand = bid_qty1
    elif bid1 == bid0:
        demand = bid_qty1 - bid_qty0
    else:
        demand = -bid_qty0
    if ask1 < ask0:
        supply = ask_qty1
    elif ask1 == ask0:
        supply = ask_qty1 - ask_qty0
    else:
        supply = -ask_qty0
    return demand - supply


def weighted(points: list[tuple[int, float]], half_life_s: float) -> float:
    """Mean of (second, value) pairs, weights halving every `half_life_s` before the last one."""
    last = points[-1][0]
    weights = [0.5 ** ((last - second) / half_life_s) for second, _ in points]
    return math.fsum(w * v for w, (_, v) in zip(weights, points, strict=True)) / math.fsum(weights)


def billionths(x: float) -> int:
    """To the nearest 1e-9, halves up; clipped as the tape clips it."""
    return max(-(2**26), min(2**26, math.floor(x * 1e9 + 0.5)))


def exact_slope(pairs: list[tuple[int, int]]) -> float:
    """Slope of y on x by least squares, in fractions; NaN where x does not vary."""
    n = len(pairs)
    xx = n * sum(x * x for x, _ in pairs) - sum(x for x, _ in pairs) ** 2
    if xx == 0:
        return math.nan
    xy = n * sum(x * y for x, y in pairs) - sum(x for x, _ in pairs) * sum(y for _, y in pairs)
    return float(Fraction(xy, xx))


def least_squares(pairs: list[tuple[float, float, float]]) -> float:
    """Slope of y on x with weights; NaN where x varies by less than a thousandth of its size."""
    total = math.fsum(w for _, _, w in pairs)
    if total == 0:
        return math.nan
    x_mean = math.fsum(w * x for x, _, w in pairs) / total
    y_mean = math.fsum(w * y for _, y, w in pairs) / total
    xx = math.fsum(w * (x - x_mean) ** 2 for x, _, w in pairs)
    if xx <= 1e-6 * math.fsum(w * x * x for x, _, w in pairs):
        return math.nan
    return math.fsum(w * (x - x_mean) * (y - y_mean) for x, y, w in pairs) / xx


def quarter_octave(variance: int) -> int:
    """0 for 0, then four slots between neighbouring powers of two, of equal width."""
    if variance == 0:
        return 0
    octave = variance.bit_length() - 1
    return 1 + 4 * octave + (variance - (1 << octave)) * 4 // (1 << octave)


def true_ranges(candles: list[tuple[float, float, float]]) -> list[float]:
    """Of (high, low, close) bars; the first has no close before it."""
    found = []
    for i, (high, low, _) in enumerate(candles):
        if i == 0:
            found.append(high - low)
        else:
            close = candles[i - 1][2]
            found.append(max(high, close) - min(low, close))
    return found


def wilder_atr(candles: list[tuple[float, float, float]], n: int) -> list[float]:
    """Wilder 1978: the mean of the first n true ranges, then (n - 1) parts old, one part new."""
    ranges = true_ranges(candles)
    if len(ranges) < n:
        return []
    values = [sum(ranges[:n]) / n]
    for each in ranges[n:]:
        values.append((values[-1] * (n - 1) + each) / n)
    return values
