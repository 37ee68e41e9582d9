"""The slow, obvious price-level book: one dict per side, sorted when asked."""

from __future__ import annotations

BIDS, ASKS = 0, 1


class NaiveBook:
    """Levels as {price: qty} per side; `depth_max` levels a side, the worst dropped."""

    def __init__(self, depth_max: int) -> None:
        self.depth_max = depth_max
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def clear(self) -> None:
        self.sides[BIDS].clear()
        self.sides[ASKS].clear()

    def ordered(self, i_side: int) -> list[int]:
        """Occupied prices, best first."""
        return sorted(self.sides[i_side], reverse=i_side == BIDS)

    def set(self, i_side: int, price: int, qty: int) -> int:
        levels = self.sides[i_side]
        old = levels.pop(price, 0)
        if qty:
            levels[price] = qty
            self.cut(i_side, self.depth_max)
        return old

    def cut(self, i_side: int, depth: int) -> None:
        for price in self.ordered(i_side)[depth:]:
            del self.sides[i_side][price]

    def truncate(self, depth: int) -> None:
        if depth > 0:
            self.cut(BIDS, depth)
            self.cut(ASKS, depth)

    def best(self, i_side: int) -> int:
        return next(iter(self.ordered(i_side)), 0)

    def worst(self, i_side: int) -> int:
        return next(reversed(self.ordered(i_side)), 0)

    def qty(self, i_side: int, price: int) -> int:
        return self.sides[i_side].get(price, 0)

    def next(self, i_side: int, price: int) -> int:
        if i_side == ASKS:
            return min((p for p in self.sides[ASKS] if p > price), default=0)
        return max((p for p in self.sides[BIDS] if p < price), default=0)

    def previous(self, i_side: int, price: int) -> int:
        if i_side == ASKS:
            return max((p for p in self.sides[ASKS] if p < price), default=0)
        return min((p for p in self.sides[BIDS] if p > price), default=0)

    def top(self, i_side: int, n: int) -> list[tuple[int, int]]:
        return [(price, self.sides[i_side][price]) for price in self.ordered(i_side)[:n]]

    def crossed(self) -> bool:
        bid, ask = self.best(BIDS), self.best(ASKS)
        return bid > 0 and ask > 0 and bid >= ask
