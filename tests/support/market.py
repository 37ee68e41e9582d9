"""A made-up market told to the kernels and to their naive twins at the same time.

Segments of trading (quiet, busy, one-way, frozen, book lost, silence) are drawn by hypothesis or
by hand; what happens inside one comes from a seeded generator.
"""

from __future__ import annotations

import random
from typing import Any, Final

import numpy as np
from hypothesis import strategies as st

from engine.book import book_clear, book_set
from engine.core.minutes import minutes_second
from engine.core.state import SYMBOL
from engine.core.tape import tape_second, tape_touch, tape_trade
from tests.naive.features import NaiveSymbol

S: Final = 1_000_000_000
START: Final = 1_700_000_000 * S  # not on a full minute, hour or block of any window

# name: trades per second, touches per second, size of a step in ticks, seconds between timers
SEGMENTS: Final[dict[str, tuple[float, float, int, int]]] = {
    "quiet": (0.3, 0.5, 1, 1),
    "busy": (3.0, 3.0, 4, 1),
    "trend": (1.0, 1.0, 2, 1),
    "frozen": (0.0, 0.0, 0, 1),
    "coarse": (0.2, 0.3, 6, 10),
    "sub-second": (1.0, 2.0, 2, 0),
    "no book": (0.5, 0.0, 1, 1),
    "silence": (0.0, 0.0, 0, 0),
}


class Market:
    """One symbol in both forms; `symbol` is the record, `naive` its twin."""

    def __init__(self, seed: int, start: int = START) -> None:
        self.random = random.Random(seed)
        self.array = np.zeros(1, SYMBOL)
        self.symbol: Any = self.array[0]
        self.symbol["instrument"]["price_float"] = 0.1
        self.symbol["instrument"]["qty_float"] = 1e-8
        self.symbol["features"] = np.nan
        self.naive = NaiveSymbol()
        self.now = start
        self.price = 20_000

    def run(self, kind: str, length_s: int) -> None:
        """Live through `length_s` seconds of one kind of market; ends with a timer."""
        if kind == "silence":
            self.now += length_s * S
            self.timer()
            return
        if kind == "no book":
            self.lose_book()
        trades, touches, step, interval = SEGMENTS[kind]
        grid = interval * S if interval else S // 4
        end = self.now // S * S + length_s * S
        while self.now < end:
            next_timer = self.now // grid * grid + grid
            share = grid / S
            happenings = [self.trade] * self.count(trades * share)
            happenings += [self.move_touch] * self.count(touches * share)
            self.random.shuffle(happenings)
            # Some land on the timer itself, on the same ns as each other, or on a full minute.
            times = sorted(
                self.random.choice([next_timer, self.random.randrange(self.now, next_timer + 1)])
                for _ in happenings
            )
            for happening, ts in zip(happenings, times, strict=True):
                self.now = ts
                happening(kind, step)
            self.now = next_timer
            self.timer()

    def count(self, mean: float) -> int:
        return int(mean) + (self.random.random() < mean - int(mean))

    def trade(self, kind: str, step: int) -> None:
        price = self.price + self.random.randint(-step, step)
        qty = self.random.choice([1, 7, 10_000, self.random.randrange(1, 10**10)])
        side = 1 if kind == "trend" else self.random.choice([1, -1, 0])
        notional = price * qty // 10
        tape_trade(self.symbol["tape"], price, qty, side, notional, self.now)
        self.naive.tape.trade(price, qty, side, notional, self.now)
        self.symbol["trade_ts"] = self.naive.trade_ts = self.now

    def move_touch(self, kind: str, step: int) -> None:
        """A new book around a mid that moved, told level by level."""
        self.price += self.random.randint(0 if kind == "trend" else -step, step)
        draw = self.random
        bid, ask = self.price - draw.choice([0, 0, 1, 5]), self.price + draw.choice([1, 1, 2, 9])
        naive, book = self.naive, self.symbol["book"]
        book_clear(book)
        naive.bids = {
            bid - draw.randrange(60) * (i > 0): draw.randrange(1, 10**9) for i in range(12)
        }
        naive.asks = {
            ask + draw.randrange(60) * (i > 0): draw.randrange(1, 10**9) for i in range(12)
        }
        for i_side, levels in enumerate((naive.bids, naive.asks)):
            for price, qty in levels.items():
                book_set(book, i_side, price, qty)
        touch = (bid, naive.bids[bid], ask, naive.asks[ask])
        for name, value in zip(("bid", "bid_qty", "ask", "ask_qty"), touch, strict=True):
            self.symbol[name] = value
        self.symbol["verified"], naive.verified = 1, True
        self.symbol["book_ts"] = naive.book_ts = self.now
        tape_touch(self.symbol["tape"], *touch)
        naive.tape.touched(*touch)

    def lose_book(self) -> None:
        self.symbol["verified"], self.naive.verified = 0, False
        tape_touch(self.symbol["tape"], 0, 0, 0, 0)
        self.naive.tape.touched(0, 0, 0, 0)

    def timer(self) -> None:
        valid = self.symbol["verified"] == 1
        mid = int(self.symbol["bid"] + self.symbol["ask"]) if valid else 0
        tape_second(self.symbol["tape"], mid, self.now)
        minutes_second(self.symbol["minutes"], self.symbol["tape"])
        self.naive.tape.second(mid, self.now)


histories = st.lists(
    st.tuples(
        st.sampled_from(sorted(SEGMENTS)),
        st.sampled_from([1, 2, 5, 20, 61, 130]),
        st.sampled_from([1, 1, 1, 60, 240, 3600]),  # how much longer a silence is
    ),
    min_size=1,
    max_size=6,
)


def lived(seed: int, history: list[tuple[str, int, int]]) -> Market:
    market = Market(seed)
    for kind, length_s, factor in history:
        market.run(kind, length_s * factor if kind == "silence" else length_s)
    return market
