"""The thread that writes a session's tables: what waits for it is counted."""

from __future__ import annotations

import threading

import numpy as np

from adapters.running import JOB_BYTES, _Writer


class Slow:
    """A sink that waits to be let go."""

    def __init__(self) -> None:
        self.free, self.began = threading.Event(), threading.Event()
        self.n = 0

    def append(self, rows: np.ndarray) -> None:
        self.began.set()
        assert self.free.wait(30)
        self.n += len(rows)


def test_what_waits_is_known_and_nothing_of_it_is_lost() -> None:
    writer, sink = _Writer(), Slow()
    rows = np.zeros(100, np.int64)
    for _ in range(10):
        writer.put(sink, rows)
    writer.call(lambda: None)
    assert sink.began.wait(30)

    assert writer.waiting == 10 * rows.nbytes + JOB_BYTES
    sink.free.set()
    writer.settle()
    assert writer.waiting == 0
    assert sink.n == 1000
    writer.close()


def test_what_failed_waits_no_more() -> None:
    writer = _Writer()

    def fail() -> None:
        raise OSError("gone")

    writer.call(fail)
    for _ in range(3):
        writer.call(lambda: None)
    writer.close()

    assert isinstance(writer.failure, OSError)
    assert writer.waiting == 0
