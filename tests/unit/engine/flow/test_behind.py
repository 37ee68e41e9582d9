"""A log whose disk is waited for by a thread: the same log, with room ahead while it is written."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from engine.events import EVENT
from engine.flow.behind import FILL, Behind
from engine.flow.files import LOCAL_FILES
from engine.flow.log import LogReader, LogWriter, check_log
from engine.flow.tail import LogFollower
from tests.unit.engine.flow.test_log import TABLE, trades


def write(folder: Path, behind: bool) -> LogWriter:
    log = LogWriter(folder, TABLE, log_id="a", flush_rows=4, segment_bytes=3000, behind=behind)
    for i in range(8):
        log.append(trades(4, seq=4 * i, ts=1000 * (i + 1)))
    return log


def test_a_log_written_behind_has_the_same_bytes_once_it_is_closed(tmp_path: Path) -> None:
    for behind in (False, True):
        write(tmp_path / str(behind), behind).close()

    files = [sorted((tmp_path / name).glob("*.arrows")) for name in ("False", "True")]
    assert [each.name for each in files[0]] == [each.name for each in files[1]]
    assert len(files[0]) > 2
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert not list((tmp_path / "True").glob(".*"))


def test_what_a_sync_was_asked_for_is_there_when_it_is_told(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, TABLE, log_id="a", behind=True)
    log.append(trades(5))
    told = threading.Event()

    mark = log.begin_sync(told.set)
    log.append(trades(2, seq=5, ts=2000))
    assert told.wait(60)
    log.end_sync(mark)

    assert (mark.seq, log.seq_synced) == (4, 4)
    assert check_log(tmp_path).n_events == 5
    log.sync()
    assert log.seq_synced == 6
    assert check_log(tmp_path).n_events == 7
    log.close()


def test_a_log_with_room_ahead_is_read_and_followed_to_its_end(tmp_path: Path) -> None:
    """Also by somebody who looks while half a batch stands there."""
    log = LogWriter(tmp_path, TABLE, log_id="a", flush_rows=4, behind=True)
    events = np.concatenate([trades(4, 4 * i, 1000 * (i + 1)) for i in range(5)])
    follower = LogFollower(tmp_path)
    seen: list[np.ndarray] = []
    for i in range(5):
        log.append(events[4 * i : 4 * i + 4])
        log.settle()
        seen += follower.read()
        assert np.concatenate(seen).tobytes() == events[: 4 * i + 4].tobytes()
        assert not follower.closed
        report = check_log(tmp_path)
        assert (report.n_events, report.damage, report.closed) == (4 * i + 4, None, False)
    log.close()

    assert list(follower.read()) == []
    assert follower.closed
    assert check_log(tmp_path).closed
    assert np.concatenate(list(LogReader(tmp_path))).tobytes() == events.tobytes()


def test_half_a_batch_is_left_for_the_next_look(tmp_path: Path) -> None:
    log = LogWriter(tmp_path / "whole", TABLE, log_id="a", flush_rows=4)
    for i in range(2):
        log.append(trades(4, seq=4 * i, ts=1000 * (i + 1)))
    log.close()
    whole = (tmp_path / "whole" / "00000001.arrows").read_bytes()[:-8]
    (tmp_path / "log").mkdir()
    segment = tmp_path / "log" / "00000001.arrows"

    for n_missing in (*range(1, 900, 37), 0):
        segment.write_bytes(whole[: len(whole) - n_missing] + bytes(n_missing + 4096))
        follower = LogFollower(tmp_path / "log")
        found = np.concatenate([*follower.read(), np.empty(0, EVENT)])
        assert len(found) in ((4,) if n_missing > 8 else (4, 8)), n_missing
        segment.write_bytes(whole + bytes(4096))
        rest = np.concatenate([*follower.read(), np.empty(0, EVENT)])
        assert len(found) + len(rest) == 8


def test_zeros_stand_ahead_of_the_newest_file_and_go_when_it_is_trimmed(tmp_path: Path) -> None:
    behind = Behind(LOCAL_FILES)
    path = tmp_path / "file"
    file = behind.create(path)
    file.write(b"abc")
    file.sync()
    behind.settle()
    # The zeros come when there is nothing else to do: asking in turn makes sure that they had time.
    for _ in range(10_000):
        if path.stat().st_size >= FILL:
            break
        behind.settle()
    assert path.read_bytes()[:5] == b"abc\0\0"
    assert path.stat().st_size >= FILL
    file.write(b"def")
    file.trim()
    file.sync()
    file.close()
    behind.settle()
    behind.stop()

    assert path.read_bytes() == b"abcdef"


def test_a_defect_in_the_thread_is_told_to_whoever_waits_for_it(tmp_path: Path) -> None:
    behind = Behind(LOCAL_FILES)
    file = behind.create(tmp_path / "a")
    behind.do("write", lambda: [][0])
    file.write(b"never")
    with pytest.raises(OSError, match=r"IndexError.*in the thread that writes"):
        behind.settle()
    assert behind.failed == "write"
    file.close()
    behind.stop()
    assert (tmp_path / "a").stat().st_size == 0
