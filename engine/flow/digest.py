"""Did two runs decide the same? One sha256 over every command and every record, in order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


class RunDigest:
    """One running sha256 per table; the run's digest is a sha256 over those, by name.

    Rows may be added in any number of pieces: only their order within a table counts, so the
    digest does not depend on when the rings were drained.
    """

    def __init__(self, tables: Iterable[str], optional: Iterable[str] = ()) -> None:
        """optional : tables that count only where they have rows"""
        self._optional = frozenset(optional)
        self._tables = {name: hashlib.sha256() for name in sorted(tables)}
        self.n_rows = dict.fromkeys(self._tables, 0)

    def add(self, table: str, rows: np.ndarray) -> None:
        """Add structured rows of `table`; their bytes are hashed as they lie in memory."""
        self._tables[table].update(np.ascontiguousarray(rows).view(np.uint8).data)
        self.n_rows[table] += len(rows)

    def table_digests(self) -> dict[str, str]:
        return {name: digest.hexdigest() for name, digest in self._tables.items()}

    def hexdigest(self) -> str:
        """64 hex characters."""
        whole = hashlib.sha256()
        for name, digest in self._tables.items():
            if name in self._optional and self.n_rows[name] == 0:
                continue
            whole.update(f"{name}\0{self.n_rows[name]}\0{digest.hexdigest()}\n".encode())
        return whole.hexdigest()
