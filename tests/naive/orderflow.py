"""Bursts, refill and level 3 from plain lists of all that happened."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import Any

NAN = math.nan
S = 1_000_000_000
Levels = dict[int, int]  # ticks -> lots


@dataclass
class NaiveBursts:
    gap_ns: int
    trades: list[tuple[int, int, int, int]] = field(default_factory=list)  # price, side, money, ts

    def best(self, side: int, now: int) -> dict[str, float]:
        """Of the newest 16 bursts of a side, the one of the last 10 s with most levels."""
        bursts: list[list[tuple[int, int, int, int]]] = []
        for trade in self.trades:
            if trade[1] != side:
                continue
            if not bursts or trade[3] - bursts[-1][-1][3] > self.gap_ns:
                bursts.append([])
            bursts[-1].append(trade)
        found: dict[str, float] = {}
        for burst in bursts[-16:]:
            if now - burst[-1][3] >= 10 * S:
                continue
            worst, levels = burst[0][0], 1
            for price, *_ in burst[1:]:
                if (price - worst) * side > 0:
                    worst, levels = price, levels + 1
            if not found or levels >= found["levels"]:
                found = {
                    "levels": levels,
                    "ticks": abs(worst - burst[0][0]),
                    "money": sum(each[2] for each in burst),
                    "age": (now - burst[-1][3]) / S,
                }
        return found


@dataclass
class NaiveRefill:
    """story : ("trade", ts, price, side), ("book", ts, bids, asks) or ("lost", ts), in order."""

    story: list[tuple[Any, ...]] = field(default_factory=list)

    def emptied(self, i_side: int) -> list[tuple[int, int, int, int]]:
        """(place in the story, ts, price, lots) of what was watched on one side."""
        watched: list[tuple[int, int, int, int]] = []
        before: tuple[int, int] | None = None
        for at, (kind, ts, *rest) in enumerate(self.story):
            if kind == "lost":
                before = None
            if kind != "book":
                continue
            levels: Levels = rest[i_side]
            touch = (max(levels) if i_side == 0 else min(levels)) if levels else 0
            if before is not None:
                price, lots = before
                worse = touch < price if i_side == 0 else (touch == 0 or touch > price)
                active = [each for each in watched if self.alive(i_side, each, at, ts)]
                if worse and len(active) < 4 and price not in [each[2] for each in active]:
                    watched.append((at, ts, price, lots))
            before = (touch, levels[touch]) if levels else None
        return watched

    def explained(self, i_side: int, level: tuple[int, int, int, int]) -> bool:
        start, since, price, _ = level
        taker = -1 if i_side == 0 else 1
        hits = [
            (at, ts, hit)
            for at, (kind, ts, hit, *rest) in enumerate(
                each if len(each) > 2 else (*each, None) for each in self.story
            )
            if kind == "trade" and rest[0] == taker
        ]
        before = [each for each in hits if each[0] < start][-16:]
        after = [each for each in hits if each[0] > start]
        return any(hit == price and since - ts <= S for _, ts, hit in before) or any(
            hit == price and ts - since <= S for _, ts, hit in after
        )

    def alive(self, i_side: int, level: tuple[int, int, int, int], at: int, ts: int) -> bool:
        start, since, *_ = level
        if any(kind == "lost" for kind, *_ in self.story[start:at]):
            return False
        limit = 5 * S if self.explained(i_side, level) else S
        return ts - since <= limit

    def measures(self, i_side: int, now: int) -> tuple[int, list[float]]:
        """How many were watched to their end, and the weighted means of the four measures."""
        rows = []
        for level in self.emptied(i_side):
            start, since, price, lots = level
            later = self.story[start + 1 :]
            lost = any(kind == "lost" and ts - since <= 5 * S for kind, ts, *_ in later)
            if lost or now - since <= 5 * S or not self.explained(i_side, level):
                continue
            seen = [
                (each[1] - since, each[2 + i_side].get(price, 0))
                for each in later
                if each[0] == "book" and each[1] - since <= 5 * S
            ]
            short = [there for age, there in seen if age <= S]
            half = [age / S for age, there in seen if 2 * there >= lots]
            rows.append(
                (
                    min((short or [0])[-1] / lots, 1.0),
                    min((seen or [(0, 0)])[-1][1] / lots, 1.0),
                    half[0] if half else 5.0,
                    float(any(there for _, there in seen)),
                )
            )
        weights = [0.5 ** ((len(rows) - 1 - k) / 20) for k in range(len(rows))]
        total = math.fsum(weights)
        means = [
            math.fsum(w * row[c] for w, row in zip(weights, rows, strict=True)) / total
            if rows
            else NAN
            for c in range(4)
        ]
        return len(rows), means


@dataclass
class Left:
    """Something that left the front of its queue."""

    lots: float
    share: float
    share_lots: float
    life: float
    orders: float

    def scale(self, factor: float) -> None:
        for name in ("lots", "share", "share_lots", "life", "orders"):
            setattr(self, name, getattr(self, name) * factor)


NAMES = ("arrived", "cancelled", "traded", "share", "share_lots", "life", "orders")


@dataclass
class NaiveLevel3:
    """Orders in a dict; rates as (second, side, name, amount), weighed afresh when asked for."""

    orders: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)  # side, price, ...
    amounts: list[tuple[int, int, str, float]] = field(default_factory=list)
    pending: dict[tuple[int, int], list[Left]] = field(default_factory=dict)  # side, age
    credit: dict[tuple[int, int], int] = field(default_factory=dict)
    closed: list[int] = field(default_factory=list)
    unsettled: list[tuple[int, str, float]] = field(default_factory=list)
    n_cancels: list[int] = field(default_factory=lambda: [0, 0])

    def level(self, i_side: int, price: int) -> int:
        return sum(q for s, p, q, _ in self.orders.values() if (s, p) == (i_side, price))

    def best(self, i_side: int) -> int:
        prices = [p for s, p, _, _ in self.orders.values() if s == i_side]
        return (max(prices) if i_side == 0 else min(prices)) if prices else 0

    def cut(self, depth: int) -> None:
        for i_side in range(2):
            prices = sorted({p for s, p, _, _ in self.orders.values() if s == i_side})
            kept = set(prices[-depth:] if i_side == 0 else prices[:depth])
            self.orders = {
                key: row for key, row in self.orders.items() if row[0] != i_side or row[1] in kept
            }

    def add(self, key: int, i_side: int, price: int, qty: int, time: int, ts: int) -> None:
        if key in self.orders:
            self.remove(key, 0, ts)
        best = self.best(i_side)
        if best == 0 or (price >= best if i_side == 0 else price <= best):
            self.unsettled.append((i_side, "arrived", qty))
        self.orders[key] = (i_side, price, qty, time)

    def remove(self, key: int, left: int, ts: int) -> None:
        """An order shrinks to `left` lots, 0: it goes."""
        if key not in self.orders:
            return
        i_side, price, qty, time = self.orders[key]
        gone = qty - left
        if gone > 0 and price == self.best(i_side):
            queue = [each for each in self.orders.values() if each[:2] == (i_side, price)]
            ahead = sum(q for _, _, q, t in queue if t < time)
            others = sum(q for _, _, q, _ in queue) - qty
            self.note(i_side, gone, ahead, others, (ts - time) / S if left == 0 else None)
        if left:
            self.orders[key] = (i_side, price, left, time)
        else:
            del self.orders[key]

    def note(self, i_side: int, gone: int, ahead: int, others: int, life: float | None) -> None:
        filled = 0
        if ahead == 0:
            for age in (1, 0):
                part = min(self.credit.get((i_side, age), 0), gone - filled)
                self.credit[i_side, age] = self.credit.get((i_side, age), 0) - part
                filled += part
            self.unsettled.append((i_side, "traded", filled))
            if filled == gone:
                return
        lots = gone - filled
        whole = life is not None and filled == 0
        item = Left(
            lots,
            lots * (others - ahead) / others if others else 0.0,
            lots if others else 0.0,
            life if whole and life is not None else 0.0,
            1.0 if whole else 0.0,
        )
        if ahead == 0:
            self.pending.setdefault((i_side, 0), []).append(item)
        else:
            self.cancel(i_side, item)
            self.n_cancels[i_side] += 1

    def cancel(self, i_side: int, item: Left) -> None:
        self.unsettled += [
            (i_side, "cancelled", item.lots),
            (i_side, "share", item.share),
            (i_side, "share_lots", item.share_lots),
            (i_side, "life", item.life),
            (i_side, "orders", item.orders),
        ]

    def trade(self, side: int, qty: int) -> None:
        i_side = 0 if side < 0 else 1
        left = qty
        for age in (1, 0):
            items = self.pending.get((i_side, age), [])
            lots = round(math.fsum(each.lots for each in items))
            part = min(lots, left)
            if part > 0:
                for each in items:
                    each.scale((lots - part) / lots)
                self.unsettled.append((i_side, "traded", part))
                left -= part
        self.credit[i_side, 0] = self.credit.get((i_side, 0), 0) + left

    def second(self, second: int) -> None:
        if not self.closed:
            self.closed.append(second)
            return
        if second <= self.closed[-1]:
            return
        for i_side in range(2):
            items = self.pending.pop((i_side, 1), [])
            for each in items:
                self.cancel(i_side, each)
            if math.fsum(each.share_lots for each in items) > 0:
                self.n_cancels[i_side] += 1
            self.pending[i_side, 1] = self.pending.pop((i_side, 0), [])
            self.credit[i_side, 1] = self.credit.pop((i_side, 0), 0)
        self.amounts += [(second, *each) for each in self.unsettled]
        self.unsettled = []
        self.closed.append(second)

    def rates(self, i_side: int, half_life_s: float) -> dict[str, float]:
        now = self.closed[-1]

        def weight(second: int) -> float:
            return 0.5 ** ((now - second) / half_life_s)

        spans = zip(self.closed[1:], self.closed, strict=False)
        seconds = math.fsum(weight(b) * (b - a) for b, a in spans)
        sums = dict.fromkeys(NAMES, 0.0)
        for second, side, name, amount in self.amounts:
            if side == i_side:
                sums[name] += weight(second) * amount
        return {
            "arrival": sums["arrived"] / seconds,
            "cancel": sums["cancelled"] / seconds,
            "trade": sums["traded"] / seconds,
            "ahead": sums["share"] / sums["share_lots"] if sums["share_lots"] else NAN,
            "life": sums["life"] / sums["orders"] if sums["orders"] else NAN,
        }

    def queue(self, i_side: int, now: int) -> tuple[int, float]:
        best = self.best(i_side)
        ages = [(now - t) / S for s, p, _, t in self.orders.values() if (s, p) == (i_side, best)]
        return len(ages), statistics.median(ages) if ages else NAN
