"""How fast is a capture read? Our merged stream beside the plain Parquet read, in alternation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow.parquet as pq

from adapters.parquet.reader import BATCH_ROWS, Capture, open_capture
from engine.errors import ConfigError


@dataclass(frozen=True)
class ReadSpeed:
    """Events per second, medians over the repeats.

    plain : pyarrow decodes the same files, one thread, nothing else is done
    checked : the same, page checksums compared
    stream : `Capture.batches`, decoded, checked, merged to 64-byte records, in this thread
    ahead : the same, read ahead in a second thread, as a replay does
    """

    n_events: int
    n_files: int
    plain: float
    checked: float
    stream: float
    ahead: float


def measure_read(
    store: str | Path, capture: str | None = None, repeats: int = 5, warm: bool = True
) -> ReadSpeed:
    """Read a capture of a local store in all four ways, one after the other, `repeats` times.

    warm : read once before, so that neither the disk nor compiling is measured
    """
    part = open_capture(store, capture)
    if part.store.local is None:
        raise ConfigError(f"{store} is not local.", "Copy the store to measure reading it.")
    ways: dict[str, Callable[[], Iterable[Any]]] = {
        "plain": lambda: _plain(part, checked=False),
        "checked": lambda: _plain(part, checked=True),
        "stream": lambda: part.batches(ahead=False),
        "ahead": lambda: part.batches(ahead=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + warm):
        for name, way in ways.items():
            start = time.perf_counter()
            n = sum(map(len, way()))
            seconds[name].append(time.perf_counter() - start)
            if n != part.n_events:
                raise AssertionError(f"{name} read {n} of {part.n_events} events")
    speeds = {name: part.n_events / median(taken[warm:]) for name, taken in seconds.items()}
    return ReadSpeed(n_events=part.n_events, n_files=len(part.files), **speeds)


def _plain(part: Capture, checked: bool) -> Iterable[Any]:
    for file in part.files:
        path = part.store.full(file.path)
        with pq.ParquetFile(path, page_checksum_verification=checked) as parquet:
            yield from parquet.iter_batches(BATCH_ROWS, use_threads=False)
