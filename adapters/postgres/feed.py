"""What waits to be mirrored, and how is it cut into batches? No I/O, no waiting.

A session gives events and rows of its tables; they are kept until the database has them. When too
many wait they are dropped, and what was dropped is known: the log has it. Left out: reading the
log (follow.py), the transaction (store.py).
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from adapters.postgres.tables import RUN_TABLES, is_mirrored, led_to_orders, n_open_command
from engine.core.state import ROW_TYPES
from engine.events import EVENT

NO_EVENTS: Final = np.zeros(0, EVENT)


class Head(NamedTuple):
    """How far a log is mirrored: all events up to seq_to, so many rows of each table."""

    batch: int
    seq_to: int
    rows: dict[str, int]
    digest: str


NO_HEAD: Final = Head(0, -1, {}, "")


class Hole(Exception):
    """A batch does not follow what the database has: rows between them are missing."""

    def __init__(self, head: Head, text: str) -> None:
        super().__init__(text)
        self.head = head


class TableRows(NamedTuple):
    """Rows start to stop of a run's table, of which those with `numbers` are mirrored."""

    start: int
    stop: int
    numbers: np.ndarray  # int64[n]
    seqs: np.ndarray  # int64[n], where the log stood when they were drained
    rows: np.ndarray

    def after(self, n: int) -> TableRows:
        """Without the rows below number n."""
        keep = self.numbers >= n
        return TableRows(
            max(self.start, n),
            max(self.stop, n),
            self.numbers[keep],
            self.seqs[keep],
            self.rows[keep],
        )


def table_rows(table: str, start: int, seq: int, rows: np.ndarray) -> TableRows:
    """`rows` of a run's table, the first of which has number `start`, drained at `seq`."""
    numbers = np.arange(start, start + len(rows), dtype=np.int64)
    if table == "decisions":
        keep = led_to_orders(rows)
        numbers, kept = numbers[keep], rows[keep]
    else:
        kept = rows.copy()
    return TableRows(start, start + len(rows), numbers, np.full(len(kept), seq, np.int64), kept)


def join(parts: list[TableRows]) -> TableRows:
    """Parts that follow each other as one."""
    return TableRows(
        parts[0].start,
        parts[-1].stop,
        np.concatenate([each.numbers for each in parts]),
        np.concatenate([each.seqs for each in parts]),
        np.concatenate([each.rows for each in parts]),
    )


@dataclass(frozen=True)
class Batch:
    """What one transaction adds: mirrored events in (seq_after, seq_to], rows of tables."""

    seq_after: int
    seq_to: int
    events: np.ndarray
    tables: dict[str, TableRows] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        return len(self.events) + sum(len(each.rows) for each in self.tables.values())

    def after(self, head: Head) -> Batch:
        """What of it the database lacks. Raises Hole if something before it is missing too."""
        if head.seq_to < self.seq_after:
            raise Hole(head, f"events {head.seq_to + 1} to {self.seq_after} are missing")
        tables = {}
        for name, rows in self.tables.items():
            have = head.rows.get(name, 0)
            if have < rows.start:
                raise Hole(head, f"rows {have} to {rows.start - 1} of {name} are missing")
            if rows.stop > have:
                tables[name] = rows.after(have)
        events = self.events[self.events["seq"] > head.seq_to]
        return Batch(head.seq_to, max(self.seq_to, head.seq_to), events, tables)

    def is_done(self, head: Head) -> bool:
        """Whether the database has all of it."""
        return self.seq_to <= head.seq_to and all(
            each.stop <= head.rows.get(name, 0) for name, each in self.tables.items()
        )

    def digest(self) -> str:
        """sha256 over what it adds: the same batch sent twice is known by it."""
        whole = hashlib.sha256(f"{self.seq_after} {self.seq_to}\n".encode())
        whole.update(np.ascontiguousarray(self.events).view(np.uint8).data)
        for name, each in sorted(self.tables.items()):
            whole.update(f"{name} {each.start} {each.stop}\n".encode())
            whole.update(np.ascontiguousarray(each.numbers).view(np.uint8).data)
            whole.update(np.ascontiguousarray(each.rows).view(np.uint8).data)
        return whole.hexdigest()

    def next_head(self, head: Head) -> Head:
        """Where the log stands once this is committed after `head`."""
        rows = dict(head.rows) | {name: each.stop for name, each in self.tables.items()}
        return Head(head.batch + 1, self.seq_to, rows, self.digest())


class Pending:
    """Rows that the database has not acknowledged, in order, bounded.

    rows_max : beyond so many everything that waits is dropped
    seq_after : where the log stood when the feeding began; -1 for a new log
    """

    def __init__(self, rows_max: int, seq_after: int = -1) -> None:
        self.rows_max = rows_max
        self.seq_after = seq_after  # everything after this is here
        self.seq_to = seq_after
        self.n_rows = 0
        self.n_dropped = 0
        # Taken from the front and added at the end, so that a long line costs no more than a short.
        self._events: deque[np.ndarray] = deque()
        self._tables: dict[str, deque[TableRows]] = {name: deque() for name in RUN_TABLES}
        self.counts = dict.fromkeys(RUN_TABLES, 0)  # rows given so far, by table
        self.starts = dict.fromkeys(RUN_TABLES, 0)  # the first that is still here

    def add_events(self, rows: np.ndarray) -> int:
        """Take EVENT rows as they were appended to the log; returns how many are mirrored."""
        if len(rows) == 0:
            return 0
        kept = rows[is_mirrored(rows)]
        if len(kept):
            self._events.append(kept)
        self.seq_to = int(rows["seq"][-1])
        self._count(len(kept))
        return len(kept)

    def add_rows(self, table: str, rows: np.ndarray) -> int:
        """Take rows of a run's table as they were drained; returns how many are mirrored."""
        if table not in self._tables or len(rows) == 0:
            return 0
        assert rows.dtype == ROW_TYPES[table]
        part = table_rows(table, self.counts[table], self.seq_to, rows)
        self.counts[table] = part.stop
        self._tables[table].append(part)
        self._count(len(part.rows))
        return len(part.rows)

    def _count(self, n: int) -> None:
        self.n_rows += n
        if self.n_rows > self.rows_max:
            self.n_dropped += self.n_rows
            self._events.clear()
            self.seq_after = self.seq_to
            for name in RUN_TABLES:
                self._drop_table(name)
            self.n_rows = 0

    def _drop_table(self, name: str) -> None:
        self._tables[name].clear()
        self.starts[name] = self.counts[name]

    def drop_table(self, name: str) -> None:
        """Give up what waits of one table: the rows before it are missing."""
        self.n_rows -= sum(len(each.rows) for each in self._tables[name])
        self._drop_table(name)

    def take(self, n_max: int) -> Batch | None:
        """The oldest rows, at most about n_max of each kind; they stay until `drop`."""
        n, some = 0, []
        for part in self._events:
            some.append(part)
            n += len(part)
            if n >= n_max:
                break
        events = np.concatenate(some) if some else NO_EVENTS
        seq_to = self.seq_to
        if len(some) < len(self._events):
            seq_to = int(events["seq"][-1])
        n_open = n_open_command(events)
        if n_open:
            # The rest of this command has not been given yet.
            seq_to = int(events["seq"][-n_open]) - 1
            events = events[:-n_open]
        tables = {}
        for name, parts in self._tables.items():
            n, taken = 0, []
            for each in parts:
                taken.append(each)
                n += len(each.rows)
                if n >= n_max:
                    break
            if taken:
                tables[name] = join(taken)
        if seq_to == self.seq_after and not tables:
            return None
        return Batch(self.seq_after, seq_to, events, tables)

    def drop(self, head: Head) -> None:
        """Forget what the database has."""
        if head.seq_to > self.seq_after:
            self.seq_after = min(head.seq_to, self.seq_to)
            while self._events and int(self._events[0]["seq"][0]) <= head.seq_to:
                first = self._events.popleft()
                rest = first[first["seq"] > head.seq_to]
                self.n_rows -= len(first) - len(rest)
                if len(rest):
                    self._events.appendleft(rest)
        for name, parts in self._tables.items():
            have = head.rows.get(name, 0)
            if have <= self.starts[name]:
                continue
            self.starts[name] = min(have, self.counts[name])
            while parts and parts[0].start < have:
                part = parts.popleft()
                left = part.after(have)
                self.n_rows -= len(part.rows) - len(left.rows)
                if part.stop > have:
                    parts.appendleft(left)
