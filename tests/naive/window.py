"""The depth window, told slowly: two books side by side and sorted lists."""

from __future__ import annotations

from collections.abc import Iterable

from tests.naive.book import NaiveBook

Level = tuple[int, int, int]  # side index, price, qty
Message = tuple[bool, list[Level]]  # is it a snapshot, levels


class WindowClient:
    """What a client does with a depth-limited feed: apply a message, then cut."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.book = NaiveBook(1 << 30)

    def message(self, snapshot: bool, levels: Iterable[Level]) -> None:
        if snapshot:
            self.book.clear()
        for i_side, price, qty in levels:
            self.book.set(i_side, price, qty)
        self.book.truncate(self.depth)

    def tops(self) -> list[list[tuple[int, int]]]:
        return [self.book.top(i_side, self.depth) for i_side in (0, 1)]


class WholeBook:
    """The full feed, never cut; its best `depth` levels are what the client must see."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.book = NaiveBook(1 << 30)

    def message(self, snapshot: bool, levels: Iterable[Level]) -> None:
        if snapshot:
            self.book.clear()
        for i_side, price, qty in levels:
            self.book.set(i_side, price, qty)

    def tops(self) -> list[list[tuple[int, int]]]:
        return [self.book.top(i_side, self.depth) for i_side in (0, 1)]
