"""What did the book look like over time? Sampled on a grid from the events of a capture.

Plain dictionaries, no kernels: for windows that a person looks at. Left out: whether the book was
verified (table `health`), and drawing (pictures.py).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.events import (
    BOOK_LEVEL,
    BUY,
    CONNECTION_DOWN,
    GAP,
    L3_ADD,
    L3_DELETE,
    LAST,
    MESSAGE_END,
    NO_SYMBOL,
    RESYNC,
    SELL,
    SNAPSHOT,
)

LEVELS: Final = 10
INTERRUPTIONS: Final = (GAP, RESYNC, CONNECTION_DOWN)


@dataclass(frozen=True)
class BookView:
    """Books of one symbol at some times.

    ts : int64[n], ns; bid_price, ask_price : int64[n, levels], ticks, best first, 0 where empty
    bid_qty, ask_qty : int64[n, levels], lots
    """

    ts: np.ndarray
    bid_price: np.ndarray
    bid_qty: np.ndarray
    ask_price: np.ndarray
    ask_qty: np.ndarray


def view_book(
    batches: Iterable[np.ndarray],
    sym: int,
    start: int,
    end: int,
    step_ns: int,
    levels: int = LEVELS,
    depth: int = 0,
) -> BookView:
    """Books of instrument row `sym` at start, start + step ... before end.

    batches : EVENT arrays by time, from a snapshot before `start` on
    start, end, step_ns : ns, with start < end and step_ns > 0
    depth : levels a side that the feed has, 0 for all: nobody is told what becomes of a level beyond them
    A sample is the book after the last message complete by then; before a snapshot it is empty.
    """
    sides: dict[int, dict[int, int]] = {BUY: {}, SELL: {}}
    waiting: list[tuple[int, int, int, int, int]] = []
    times = np.arange(start, end, step_ns, dtype=np.int64)
    view = BookView(times, *(np.zeros((len(times), levels), np.int64) for _ in range(4)))
    done = 0
    for batch in batches:
        mine = batch[_about(batch, sym)]
        names = ("ts", "kind", "side", "price", "qty", "flags")
        for ts, *record in zip(*(mine[name].tolist() for name in names), strict=True):
            interruption = record[0] in INTERRUPTIONS
            if interruption:
                waiting.clear()  # what came of a message so far goes with its book
            waiting.append(tuple(record))
            if not (record[-1] & LAST or interruption):
                continue
            while done < len(times) and times[done] < ts:
                _sample(view, done, sides)
                done += 1
            if done == len(times):
                return view
            _apply(sides, waiting)
            if depth:
                _cut(sides, depth)
            waiting.clear()
    for i in range(done, len(times)):
        _sample(view, i, sides)
    return view


def _about(batch: np.ndarray, sym: int) -> np.ndarray:
    """Where `batch` tells something about the book of `sym`; level 3 has its own messages."""
    kind, ours = batch["kind"], batch["sym"] == sym
    level3 = (batch["id"] >= L3_ADD) & (batch["id"] <= L3_DELETE)
    book = ours & ((kind == BOOK_LEVEL) | ((kind == MESSAGE_END) & ~level3))
    return book | (np.isin(kind, INTERRUPTIONS) & (ours | (batch["sym"] == NO_SYMBOL)))


def _apply(sides: dict[int, dict[int, int]], message: list[tuple[int, int, int, int, int]]) -> None:
    """One complete message: a snapshot or an interruption replaces what was known."""
    kind, _, _, _, flags = message[0]
    if flags & SNAPSHOT or kind in INTERRUPTIONS:
        for levels in sides.values():
            levels.clear()
    for kind, side, price, qty, _ in message:
        if kind != BOOK_LEVEL:
            continue
        if qty:
            sides[side][price] = qty
        else:
            sides[side].pop(price, None)


def _cut(sides: dict[int, dict[int, int]], depth: int) -> None:
    """Forget what lies beyond the best `depth` levels, as the venue does."""
    for side, best in ((BUY, heapq.nlargest), (SELL, heapq.nsmallest)):
        levels = sides[side]
        if len(levels) > depth:
            kept = set(best(depth, levels))
            for price in [each for each in levels if each not in kept]:
                del levels[price]


def _sample(view: BookView, i: int, sides: dict[int, dict[int, int]]) -> None:
    n_levels = view.bid_price.shape[1]
    bids, asks = sides[BUY], sides[SELL]
    for k, price in enumerate(heapq.nlargest(n_levels, bids)):
        view.bid_price[i, k], view.bid_qty[i, k] = price, bids[price]
    for k, price in enumerate(heapq.nsmallest(n_levels, asks)):
        view.ask_price[i, k], view.ask_qty[i, k] = price, asks[price]
