"""Who keeps what a run wrote down? Drains the rings to tables, digest and the running summary.

The recorder knows no file format: it is given a sink per table (adapters/parquet/tables.py writes
Parquet, a test keeps arrays). It sees rows in the order the core wrote them.
"""

from __future__ import annotations

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
    """

    def __init__(
        self,
        make_sink: Callable[[str, np.dtype], Sink] | None = None,
        observe: Callable[[str, np.ndarray], None] | None = None,
    ) -> None:
        self.digest = RunDigest(RECORDED_TABLES, OPTIONAL_TABLES)
        self._observe = observe
        self.sinks: dict[str, Sink] = {}
        if make_sink is not None:
            self.sinks = {name: make_sink(name, RECORD_TYPES[name]) for name in RECORDED_TABLES}

    def add(self, table: str, rows: np.ndarray) -> None:
        """Take rows of one table; the caller may reuse them afterwards."""
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

    def close(self) -> None:
        """Finish all tables."""
        for sink in self.sinks.values():
            sink.close()

    def abort(self) -> None:
        """Drop all tables: a run that failed leaves no half tables behind."""
        for sink in self.sinks.values():
            sink.abort()
