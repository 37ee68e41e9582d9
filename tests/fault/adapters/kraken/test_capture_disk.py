"""A disk that is slow or broken: seen as lag, then as a declared gap, never as silence."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from adapters.kraken.capture import CaptureConfig
from adapters.parquet.check import check_store
from adapters.parquet.reader import open_capture
from adapters.record import record, seal_all
from engine.errors import StorageError
from engine.events import BOOK_LEVEL, GAP, GAP_DROPPED
from engine.flow.files import AppendFile, Files
from tests.fault.disk import FaultyFiles
from tests.support.capture_venue import (
    ONE_PART,
    capture_until,
    comparable,
    hosts_of,
    of_the_venue,
    running_venue,
    sent_events,
)

SYMBOLS = ("BTC/USD", "ETH/USD")
CONFIG = CaptureConfig(symbols=SYMBOLS, channels={"book": 10, "trade": 0}, part_ns=ONE_PART)


class HeldFiles(Files):
    """A disk whose syncs wait while `held`."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()

    def create(self, path) -> AppendFile:
        file = super().create(path)
        sync = file.sync

        def wait() -> None:
            self.free.wait(30)
            sync()

        file.sync = wait  # type: ignore[method-assign]
        return file


def test_a_slow_disk_is_lag_first_and_a_gap_at_the_limit(tmp_path) -> None:
    files = HeldFiles()
    seen = {"lag": 0.0, "dropped": 0}

    def enough(facts) -> bool:
        seen["lag"] = max(seen["lag"], facts["writer_lag_ms"])
        seen["dropped"] = max(seen["dropped"], facts["dropped_frames"])
        if facts["events"] > 300 and not seen.get("held"):
            seen["held"] = True
            files.free.clear()
        if facts["rows_waiting"] >= 1900:
            seen["full"] = True
            files.free.set()  # the disk recovers
        back = facts["dropped_frames"] and facts["symbols_verified"] == len(SYMBOLS)
        return bool(back) and facts["rows_waiting"] < 100

    with running_venue(seed=41, speed=60, hold=True) as venue:
        done = capture_until(tmp_path, venue, CONFIG, enough, rows_max=2000, files=files)
        sent = sent_events(venue, ("book",))

    assert seen.get("full")
    assert seen["lag"] > 100
    assert done.n_dropped == seen["dropped"] > 0
    rows = np.concatenate(list(open_capture(tmp_path).batches()))
    gaps = rows[rows["kind"] == GAP]
    assert GAP_DROPPED in gaps["id"]
    assert any("too slow" in each.note for each in open_capture(tmp_path).manifest.gaps)
    report = check_store(tmp_path)
    assert report.ok, report.text()
    for sym in range(len(SYMBOLS)):
        mine = of_the_venue(rows[(rows["kind"] == BOOK_LEVEL) & (rows["sym"] == sym)])
        assert set(comparable(mine, {sym: sym})) <= set(comparable(sent["book", sym], {sym: sym}))


def test_a_disk_that_fails_ends_the_capture_and_what_was_written_is_sealed(tmp_path) -> None:
    with running_venue(seed=42, speed=60, hold=True) as venue:
        with pytest.raises(StorageError, match="cannot write"):
            record(
                tmp_path,
                CONFIG,
                hosts_of(venue),
                for_s=30,
                disk_free_min=0,
                files=FaultyFiles(fail_at=12, only="write", for_ever=True),
            )
        said: list[str] = []
        sealed = seal_all(tmp_path, None, said.append)

    assert len(sealed) == 1
    assert "was not closed" in said[0]
    rows = np.concatenate(list(open_capture(tmp_path).batches()))
    assert rows["kind"][-1] == GAP
    assert check_store(tmp_path).ok


def test_a_disk_that_is_nearly_full_ends_the_capture_in_order(tmp_path) -> None:
    with (
        running_venue(seed=43, speed=60, hold=True) as venue,
        pytest.raises(StorageError, match="ended in order"),
    ):
        record(tmp_path, CONFIG, hosts_of(venue), for_s=30, disk_free_min=1 << 60)
