"""Kraken's book and checksum from the text of the wire alone: dictionaries of decimals, zlib."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from tests.naive.checksum import crc32_levels


class TextBook:
    """Levels as {price: (price text, quantity text)} per side."""

    def __init__(self, depth: int, cut: bool = True) -> None:
        self.depth = depth
        self.cut = cut
        self.bids: dict[Decimal, tuple[str, str]] = {}
        self.asks: dict[Decimal, tuple[str, str]] = {}

    def clear(self) -> None:
        self.bids, self.asks = {}, {}

    def message(self, bids: Iterable[tuple[str, str]], asks: Iterable[tuple[str, str]]) -> None:
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            for price, qty in levels:
                side.pop(Decimal(price), None)
                if Decimal(qty):
                    side[Decimal(price)] = (price, qty)
        if self.cut:
            for price in sorted(self.bids, reverse=True)[self.depth :]:
                del self.bids[price]
            for price in sorted(self.asks)[self.depth :]:
                del self.asks[price]

    def checksum(self) -> int:
        asks = [self.asks[price] for price in sorted(self.asks)[:10]]
        bids = [self.bids[price] for price in sorted(self.bids, reverse=True)[:10]]
        return crc32_levels(asks, bids)
