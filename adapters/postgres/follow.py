"""What does the mirror lack of the log, and of the tables made from it? As batches to be written.

Left out: reading a log that grows (engine/flow/tail.py), writing batches (store.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from adapters.postgres.feed import Batch, Head, TableRows, table_rows
from adapters.postgres.tables import RUN_TABLES, is_mirrored, n_open_command
from engine.events import EVENT
from engine.flow.tail import LogFollower

# Rows of a run's tables from the front of its log: (seq where they were drained, table, rows).
Derived = Iterator[tuple[int, str, np.ndarray]]
Derive = Callable[[], Derived]

EVENTS_MAX: Final = 20_000  # of one batch that is read from the log


def batches_of_log(follower: LogFollower, head: Head) -> Iterator[Batch]:
    """What the log has after `head`, as batches of events; ends where the log ends now."""
    waiting: list[np.ndarray] = []
    seq_after = seq_to = head.seq_to
    for rows in follower.read():
        if int(rows["seq"][-1]) <= head.seq_to:
            continue
        rows = rows[rows["seq"] > head.seq_to]
        seq_to = int(rows["seq"][-1])
        waiting.append(rows[is_mirrored(rows)])
        if sum(map(len, waiting)) >= EVENTS_MAX:
            batch = _cut(seq_after, seq_to, np.concatenate(waiting))
            waiting = [np.concatenate(waiting)[len(batch.events) :]]
            seq_after = batch.seq_to
            yield batch
    if seq_to > seq_after:
        batch = _cut(seq_after, seq_to, np.concatenate(waiting) if waiting else np.zeros(0, EVENT))
        if batch.seq_to > seq_after:
            yield batch


def _cut(seq_after: int, seq_to: int, events: np.ndarray) -> Batch:
    """A batch that ends in no command's middle."""
    n_open = n_open_command(events)
    if n_open:
        return Batch(seq_after, int(events["seq"][-n_open]) - 1, events[:-n_open])
    return Batch(seq_after, seq_to, events)


def batches_of_tables(derived: Derived, head: Head, n_max: int) -> Iterator[Batch]:
    """What `derived` has of the run's tables beyond `head`, as batches without events."""
    counts = dict.fromkeys(RUN_TABLES, 0)
    for seq, table, rows in derived:
        if table not in counts or len(rows) == 0:
            continue
        start = counts[table]
        counts[table] += len(rows)
        for i in range(0, len(rows), n_max):
            part: TableRows = table_rows(table, start + i, seq, rows[i : i + n_max])
            if part.stop > head.rows.get(table, 0):
                yield Batch(
                    head.seq_to,
                    head.seq_to,
                    np.zeros(0, EVENT),
                    {table: part.after(head.rows.get(table, 0))},
                )
