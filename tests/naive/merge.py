"""The merge of event streams, the slow and obvious way: one message at a time, smallest first."""

from __future__ import annotations

import numpy as np

from engine.events import EVENT, LAST


def merge(sources: list[list[np.ndarray]], whole_messages: bool) -> np.ndarray:
    """All rows of all sources in the order (ts, seq, position of the source)."""
    queues = [[row for chunk in source for row in chunk] for source in sources]
    merged = []
    while any(queues):
        heads = [(q[0]["ts"], q[0]["seq"], i) for i, q in enumerate(queues) if q]
        queue = queues[min(heads)[2]]
        merged.append(queue.pop(0))
        while whole_messages and queue and not merged[-1]["flags"] & LAST:
            merged.append(queue.pop(0))
    return np.array(merged, EVENT) if merged else np.empty(0, EVENT)
