"""Who keeps what a run wrote down? Drains the rings to tables, digest and the running summary.

The recorder knows no file format: it is given a sink per table (adapters/parquet/tables.py writes
Parquet, a test keeps arrays). It sees rows in the order the core wrote them.

Digest and files take as long as deciding where every candidate is kept, and need none of Python's lock
most of the time: with `beside` they are the work of a thread of their own, while the core goes on. One
thread, first in, first out, so that nothing depends on how fast it is. Left out: who drives the core.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import numpy as np

from engine.commands import COMMAND
from engine.core.records import OPTIONAL_TABLES, TABLE_NAMES
from engine.core.state import ROW_TYPES, Core
from engine.flow.digest import RunDigest

COMMANDS_TABLE: Final = "commands"
RECORDED_TABLES: Final = (*TABLE_NAMES, COMMANDS_TABLE)
RECORD_TYPES: Final[Mapping[str, np.dtype]] = {**ROW_TYPES, COMMANDS_TABLE: COMMAND}
_WAITING_MAX: Final = 16  # pieces between core and thread: a few megabytes each


class Sink(Protocol):
    """Where the rows of one table go."""

    def append(self, rows: np.ndarray) -> None:
        """Take a structured array; the rows may be reused by the caller afterwards."""

    def close(self) -> Any:
        """Finish the table: only now may a reader see it."""

    def abort(self) -> None:
        """Drop what was written."""


class MemorySink:
    """Keeps the rows of one table in memory; for tests, notebooks and short runs."""

    def __init__(self, dtype: np.dtype) -> None:
        self._dtype = dtype
        self._parts: list[np.ndarray] = []

    def append(self, rows: np.ndarray) -> None:
        self._parts.append(rows.copy())

    @property
    def rows(self) -> np.ndarray:
        return np.concatenate(self._parts) if self._parts else np.zeros(0, self._dtype)

    def close(self) -> None:
        pass

    def abort(self) -> None:
        self._parts.clear()


class Recorder:
    """Takes rows out of a core and its link; every row enters the digest, sinks are optional.

    make_sink : called once per table with (name, dtype); None records the digest only
    observe : shown every (table, rows) in order, for the running summary
    beside : digest, summary and sinks work in a thread; an error there is raised by the next `add`,
        `drain`, `settle` or `close`. `digest` is complete after `settle` or `close`
    """

    def __init__(
        self,
        make_sink: Callable[[str, np.dtype], Sink] | None = None,
        observe: Callable[[str, np.ndarray], None] | None = None,
        beside: bool = False,
    ) -> None:
        self.digest = RunDigest(RECORDED_TABLES, OPTIONAL_TABLES)
        self._observe = observe
        self.sinks: dict[str, Sink] = {}
        if make_sink is not None:
            self.sinks = {name: make_sink(name, RECORD_TYPES[name]) for name in RECORDED_TABLES}
        self._waiting: queue.Queue[tuple[str, np.ndarray] | None] = queue.Queue(_WAITING_MAX)
        self._failed: BaseException | None = None
        self._thread: threading.Thread | None = None
        if beside:
            self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
            self._thread.start()

    def add(self, table: str, rows: np.ndarray) -> None:
        """Take rows of one table; the caller may reuse them afterwards."""
        if self._thread is None:
            self._keep(table, rows)
            return
        self._raise_failure()
        # As bytes: numpy copies structured rows field by field.
        copy = np.ascontiguousarray(rows).view(np.uint8).copy().view(rows.dtype)
        self._waiting.put((table, copy))

    def _keep(self, table: str, rows: np.ndarray) -> None:
        self.digest.add(table, rows)
        if self._observe is not None:
            self._observe(table, rows)
        if table in self.sinks:
            self.sinks[table].append(rows)

    def drain(self, core: Core, link: np.ndarray | None = None) -> None:
        """Empty every ring of `core` and the sent commands of `link`, where commands go there."""
        counts = core.glob[0]["n_rows"]
        rings = core.rings[0]
        for index, table in enumerate(TABLE_NAMES):
            if n := int(counts[index]):
                self.add(table, rings[table][:n])
                counts[index] = 0
        if link is not None and (n := int(link[0]["n_sent"])):
            self.add(COMMANDS_TABLE, link[0]["sent"][:n])
            link[0]["n_sent"] = 0

    def _work(self) -> None:
        """The thread: until it is told to end. After a failure it only empties the queue."""
        while (piece := self._waiting.get()) is not None:
            if self._failed is None:
                try:
                    self._keep(*piece)
                except BaseException as error:  # handed to whoever drives the core
                    self._failed = error

    def settle(self) -> None:
        """Wait until everything is kept: now `digest` is complete. The thread ends with it."""
        self._join()
        self._raise_failure()

    def _join(self) -> None:
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _raise_failure(self) -> None:
        if self._failed is not None:
            failed, self._failed = self._failed, None
            self._join()
            raise failed

    def close(self) -> None:
        """Finish all tables."""
        self.settle()
        for sink in self.sinks.values():
            sink.close()

    def abort(self) -> None:
        """Drop all tables: a run that failed leaves no half tables behind."""
        self._join()
        for sink in self.sinks.values():
            sink.abort()
