"""Best bid and ask of a whole book with dictionaries and lazy heaps, one level at a time."""

from __future__ import annotations

import heapq


class Touch:
    """`set` one level after the other; `best` looks the touch up."""

    def __init__(self) -> None:
        self.levels: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._heaps: tuple[list[int], list[int]] = ([], [])

    def set(self, i_side: int, price: int, qty: int) -> None:
        if qty:
            if price not in self.levels[i_side]:
                heapq.heappush(self._heaps[i_side], price if i_side else -price)
            self.levels[i_side][price] = qty
        else:
            self.levels[i_side].pop(price, None)

    def best(self, i_side: int) -> int:
        """Price of the best level, 0 if there is none."""
        heap, levels = self._heaps[i_side], self.levels[i_side]
        while heap and abs(heap[0]) not in levels:
            heapq.heappop(heap)
        return abs(heap[0]) if heap else 0

    def crossed(self) -> bool:
        bid, ask = self.best(0), self.best(1)
        return bid > 0 and ask > 0 and bid >= ask
