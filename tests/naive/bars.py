"""Bars with dictionaries and Python integers: one trade after the other."""

from __future__ import annotations

from collections.abc import Iterable

Trade = tuple[int, int, int, int]  # sym, ts, price, qty


def bars(trades: Iterable[Trade], interval: int, fill: bool = False) -> list[tuple[int, ...]]:
    """(sym, start, open, high, low, close, volume, value, count), by symbol and time.

    A trade that belongs before its symbol's newest bar counts in that bar.
    """
    made: dict[int, list[list[int]]] = {}
    for sym, ts, price, qty in trades:
        start = ts // interval * interval
        mine = made.setdefault(sym, [])
        if mine:
            start = max(start, mine[-1][1])
        if mine and mine[-1][1] == start:
            bar = mine[-1]
            bar[3] = max(bar[3], price)
            bar[4] = min(bar[4], price)
            bar[5] = price
            bar[6] += qty
            bar[7] += price * qty
            bar[8] += 1
            continue
        if fill and mine:
            close = mine[-1][5]
            for between in range(mine[-1][1] + interval, start, interval):
                mine.append([sym, between, close, close, close, close, 0, 0, 0])
        mine.append([sym, start, price, price, price, price, qty, price * qty, 1])
    return [tuple(bar) for sym in sorted(made) for bar in made[sym]]
