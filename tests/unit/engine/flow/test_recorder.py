"""A recorder with a thread of its own keeps what one without keeps, and says what went wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.errors import StorageError
from engine.flow.recorder import RECORD_TYPES, MemorySink, Recorder

TABLES = ("candidates", "decisions", "commands")


def pieces() -> list[tuple[str, np.ndarray]]:
    out = []
    for k in range(60):
        table = TABLES[k % 3]
        rows = np.zeros(k * 7 % 50 + 1, RECORD_TYPES[table])
        rows[RECORD_TYPES[table].names[0]] = k
        out.append((table, rows))
    return out


def keep(beside: bool) -> tuple[Recorder, list[tuple[str, int]]]:
    seen: list[tuple[str, int]] = []
    recorder = Recorder(
        lambda name, dtype: MemorySink(dtype),
        lambda table, rows: seen.append((table, len(rows))),
        beside,
    )
    reused = {name: np.zeros(64, RECORD_TYPES[name]) for name in TABLES}
    for table, rows in pieces():
        reused[table][: len(rows)] = rows
        recorder.add(table, reused[table][: len(rows)])
        reused[table][:] = np.zeros(1, RECORD_TYPES[table])  # as a ring is written over
    recorder.settle()
    return recorder, seen


def test_a_thread_of_its_own_changes_nothing_of_what_is_kept() -> None:
    (one, seen), (other, seen_beside) = keep(False), keep(True)

    assert one.digest.hexdigest() == other.digest.hexdigest()
    assert one.digest.n_rows == other.digest.n_rows
    assert seen == seen_beside
    for name, sink in one.sinks.items():
        assert sink.rows.tobytes() == other.sinks[name].rows.tobytes()
    other.close()


class FullDisk(MemorySink):
    def append(self, rows: np.ndarray) -> None:
        raise StorageError("no space left.", "Make room.")


@pytest.mark.parametrize("ending", ["settle", "close", "add"])
def test_what_fails_in_the_thread_reaches_whoever_drives(ending: str) -> None:
    recorder = Recorder(lambda name, dtype: FullDisk(dtype), None, beside=True)
    rows = np.zeros(3, RECORD_TYPES["orders"])

    def go() -> Any:
        for _ in range(10_000):
            recorder.add("orders", rows)
            if ending != "add":
                break
        if ending != "add":
            getattr(recorder, ending)()

    with pytest.raises(StorageError, match="no space left"):
        go()
    recorder.abort()  # what a failed replay does next


def test_after_settling_more_can_be_kept() -> None:
    recorder, _ = keep(True)
    before = recorder.digest.hexdigest()

    recorder.add("orders", np.zeros(2, RECORD_TYPES["orders"]))

    assert before != recorder.digest.hexdigest()
    assert 2 == recorder.digest.n_rows["orders"]
    recorder.close()
