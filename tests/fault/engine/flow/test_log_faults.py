"""A log that was cut, flipped, robbed of a segment or written to a failing disk.

What may never happen: a record that was not written is believed, a record before the damage is
lost, or a record that was reported as synced is lost by a power cut.
"""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from engine.errors import DataError, RefusedError, StorageError
from engine.events import EVENT
from engine.flow.files import AppendFile, Files
from engine.flow.log import LogReader, LogWriter, check_log, recover_log
from tests.fault.disk import FaultyFiles
from tests.unit.engine.flow.test_log import TABLE, trades

ROWS_PER_BATCH = 4
N_BATCHES = 3


def write_log(path: Path, *, close: bool = True, n_batches: int = N_BATCHES) -> None:
    """Batches of four trades, seq 0, 1, 2 ...; with close=False as a crash leaves it."""
    log = LogWriter(path, TABLE, log_id="a", flush_rows=ROWS_PER_BATCH)
    for i in range(n_batches):
        log.append(trades(ROWS_PER_BATCH, seq=ROWS_PER_BATCH * i, ts=1000 * (i + 1)))
    log.close()
    if not close:
        segment = path / "00000001.arrows"
        segment.write_bytes(segment.read_bytes()[:-8])


def batch_ends(path: Path) -> list[int]:
    """File size after the header and after each batch, by writing shorter logs."""
    sizes = []
    for n in range(N_BATCHES + 1):
        write_log(path / f"first-{n}", close=False, n_batches=n)
        sizes.append((path / f"first-{n}" / "00000001.arrows").stat().st_size)
    return sizes


def read_all(path: Path) -> np.ndarray:
    return np.concatenate([*LogReader(path), np.empty(0, EVENT)])


def expected(n_batches: int) -> np.ndarray:
    parts = [trades(ROWS_PER_BATCH, ROWS_PER_BATCH * i, 1000 * (i + 1)) for i in range(n_batches)]
    return np.concatenate([*parts, np.empty(0, EVENT)])


def cuts(tmp_path: Path, step: int, recover_step: int) -> None:
    """Cut an unclosed log at every `step`-th byte, and at the ends of its batches."""
    ends = batch_ends(tmp_path / "sizes")
    write_log(tmp_path / "whole", close=False)
    whole = (tmp_path / "whole" / "00000001.arrows").read_bytes()
    log = tmp_path / "log"
    for size in sorted({*ends, *range(ends[0], len(whole), step)}):
        shutil.rmtree(log, ignore_errors=True)
        log.mkdir()
        (log / "00000001.arrows").write_bytes(whole[:size])
        n_whole = max(n for n in range(N_BATCHES + 1) if ends[n] <= size)

        report = check_log(log)
        assert report.n_events == ROWS_PER_BATCH * n_whole
        damage = report.damage
        if size in ends:
            assert damage is None
            continue
        assert damage is not None
        assert (damage.kind, damage.offset) == ("torn", ends[n_whole])
        assert damage.n_bytes == size - ends[n_whole]
        assert damage.n_records in (None, ROWS_PER_BATCH)
        if size % recover_step:
            continue
        with pytest.raises(DataError, match="Torn end"):
            list(LogReader(log))
        assert sum(map(len, LogReader(log, tail="stop"))) == ROWS_PER_BATCH * n_whole
        recovery = recover_log(log, only_torn=True)
        assert recovery.report.ok
        assert expected(n_whole).tobytes() == read_all(log).tobytes()
        assert recovery.cut[0].read_bytes() == whole[ends[n_whole] : size]


def test_a_log_cut_in_its_tail_is_torn_there_and_recovers(tmp_path: Path) -> None:
    cuts(tmp_path, step=37, recover_step=3)


@pytest.mark.long
def test_a_log_cut_at_any_byte_of_its_tail_is_torn_there_and_recovers(tmp_path: Path) -> None:
    cuts(tmp_path, step=1, recover_step=16)


def test_a_torn_batch_says_how_many_records_it_had(tmp_path: Path) -> None:
    write_log(tmp_path, close=False)
    segment = tmp_path / "00000001.arrows"
    segment.write_bytes(segment.read_bytes()[:-1])

    damage = check_log(tmp_path).damage

    assert damage is not None
    assert damage.n_records == ROWS_PER_BATCH
    assert "4 records are not whole" in damage.text


def flips(tmp_path: Path, step: int) -> None:
    """Flip every `step`-th bit of a closed log: the damage is named, or what is read is the same.

    The second happens to bits of Arrow's envelope that no reader needs (padding, for one).
    """
    ends = batch_ends(tmp_path / "sizes")
    log = tmp_path / "log"
    write_log(log)
    whole = (log / "00000001.arrows").read_bytes()
    n_named = n_harmless = 0
    for i_bit in range(0, 8 * len(whole), step):
        at = i_bit // 8
        data = bytearray(whole)
        data[at] ^= 1 << (i_bit % 8)
        (log / "00000001.arrows").write_bytes(data)
        believed = []
        refused = False
        try:
            for rows in LogReader(log):
                believed.append(rows)
        except DataError:
            refused = True
        # All batches before the flipped bit, or all if it was harmless; and never anything that
        # was not written (a changed length can leave its own records whole, but not the next).
        n_batches = sum(end <= at for end in ends[1:]) if refused else N_BATCHES
        read = np.concatenate([*believed, np.empty(0, EVENT)])
        assert expected(N_BATCHES)[: len(read)].tobytes() == read.tobytes(), f"bit {i_bit}"
        assert len(read) >= ROWS_PER_BATCH * n_batches, f"bit {i_bit}"
        n_named += refused
        n_harmless += not refused
    assert n_named > 3 * n_harmless


def test_a_flipped_bit_is_named_or_harmless(tmp_path: Path) -> None:
    flips(tmp_path, step=61)


@pytest.mark.long
def test_every_flipped_bit_is_named_or_harmless(tmp_path: Path) -> None:
    flips(tmp_path, step=1)


@pytest.mark.parametrize("closed", [True, False])
def test_an_altered_record_in_the_middle_is_not_called_torn(tmp_path: Path, closed: bool) -> None:
    ends = batch_ends(tmp_path / "sizes")
    write_log(tmp_path / "log", close=closed)
    segment = tmp_path / "log" / "00000001.arrows"
    data = bytearray(segment.read_bytes())
    data[ends[2] - 30] ^= 4  # in the records of the second batch
    segment.write_bytes(data)

    damage = check_log(tmp_path / "log").damage

    assert damage is not None
    assert (damage.kind, damage.segment, damage.offset) == ("altered", segment.name, ends[1])
    assert (damage.seq_first, damage.seq_last) == (4, 7)
    with pytest.raises(DataError, match="no crash explains"):
        recover_log(tmp_path / "log", only_torn=True)
    recovery = recover_log(tmp_path / "log")
    assert recovery.report.n_events == 4
    assert recovery.cut[0].read_bytes() == data[ends[1] :]


def test_an_altered_last_record_of_a_closed_log_is_not_called_torn(tmp_path: Path) -> None:
    """The end mark was written after it and synced: no crash explains the change."""
    write_log(tmp_path)
    segment = tmp_path / "00000001.arrows"
    data = bytearray(segment.read_bytes())
    data[-30] ^= 4
    segment.write_bytes(data)

    damage = check_log(tmp_path).damage

    assert damage is not None
    assert damage.kind == "altered"


def test_a_batch_that_was_taken_out_is_missed(tmp_path: Path) -> None:
    ends = batch_ends(tmp_path / "sizes")
    write_log(tmp_path / "log")
    segment = tmp_path / "log" / "00000001.arrows"
    data = segment.read_bytes()
    segment.write_bytes(data[: ends[1]] + data[ends[2] :])

    damage = check_log(tmp_path / "log").damage

    assert damage is not None
    assert (damage.kind, damage.seq_first, damage.seq_last) == ("altered", 4, 7)


def test_a_tail_of_zeros_is_room_that_was_not_used(tmp_path: Path) -> None:
    """A writer puts zeros ahead of itself; some file systems leave them after a power cut."""
    write_log(tmp_path, close=False)
    segment = tmp_path / "00000001.arrows"
    whole = segment.read_bytes()
    segment.write_bytes(whole + bytes(5000))

    recovery = recover_log(tmp_path, only_torn=True)

    assert recovery.damage is None
    assert (recovery.report.n_events, recovery.report.closed) == (12, False)
    assert read_all(tmp_path).tobytes() == expected(3).tobytes()


@pytest.mark.parametrize("n_missing", [1, 9, 300, 900])
def test_a_batch_that_ends_in_zeros_is_torn(tmp_path: Path, n_missing: int) -> None:
    """Half a batch was written over zeros that were there."""
    write_log(tmp_path, close=False)
    segment = tmp_path / "00000001.arrows"
    whole = segment.read_bytes().rstrip(b"\0")
    segment.write_bytes(whole[:-n_missing] + bytes(n_missing + 5000))

    recovery = recover_log(tmp_path, only_torn=True)

    assert recovery.damage is not None
    assert recovery.damage.kind == "torn"
    assert recovery.report.n_events == 8
    assert read_all(tmp_path).tobytes() == expected(2).tobytes()


def test_zeros_with_something_behind_them_are_no_room(tmp_path: Path) -> None:
    write_log(tmp_path, close=False)
    segment = tmp_path / "00000001.arrows"
    segment.write_bytes(segment.read_bytes() + bytes(5000) + b"x")

    report = check_log(tmp_path)

    assert report.damage is not None
    assert report.damage.kind == "torn"
    assert report.n_events == 12


@pytest.fixture
def three_segments(tmp_path: Path) -> Path:
    with LogWriter(tmp_path, TABLE, log_id="a", flush_rows=4, segment_bytes=3000) as log:
        for i in range(6):
            log.append(trades(4, seq=4 * i, ts=1000 * (i + 1)))
    assert check_log(tmp_path).segment_last >= 3
    return tmp_path


def test_a_missing_middle_segment_is_named(three_segments: Path) -> None:
    (three_segments / "00000002.arrows").unlink()

    report = check_log(three_segments)

    assert report.damage is not None
    assert (report.damage.kind, report.damage.segment) == ("missing", "00000002.arrows")
    assert report.n_events == report.seq_last + 1
    assert report.damage.seq_first == report.n_events
    assert report.damage.seq_last is not None
    with pytest.raises(DataError, match=r"Segment 00000002\.arrows is missing"):
        list(LogReader(three_segments))
    recovery = recover_log(three_segments)
    assert recovery.report.ok
    assert recovery.cut[0].name == "00000003.arrows.cut"


def test_a_missing_first_segment_leaves_nothing_to_believe(three_segments: Path) -> None:
    (three_segments / "00000001.arrows").unlink()

    report = check_log(three_segments)

    assert report.damage is not None
    assert (report.damage.kind, report.n_events) == ("missing", 0)
    with pytest.raises(DataError, match="no prefix to keep"):
        recover_log(three_segments)


def test_a_segment_of_another_log_does_not_pass(three_segments: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with LogWriter(other, TABLE, log_id="a", flush_rows=4, segment_bytes=3000) as log:
        for i in range(6):
            log.append(trades(4, seq=4 * i, ts=1001 * (i + 1)))
    shutil.copy(other / "00000002.arrows", three_segments / "00000002.arrows")

    damage = check_log(three_segments).damage

    assert damage is not None
    assert damage.kind == "altered"
    assert "does not continue the segment before it" in damage.text


def test_a_torn_end_of_a_middle_segment_is_not_explained_by_a_crash(three_segments: Path) -> None:
    segment = three_segments / "00000002.arrows"
    segment.write_bytes(segment.read_bytes()[:-20])

    damage = check_log(three_segments).damage

    assert damage is not None
    assert (damage.kind, damage.segment) == ("altered", segment.name)


def test_an_empty_last_segment_is_moved_aside(three_segments: Path) -> None:
    last = sorted(three_segments.glob("*.arrows"))[-1]
    n_before = check_log(three_segments).n_events
    following = last.with_name(f"{int(last.stem) + 1:08d}.arrows")
    following.touch()

    recovery = recover_log(three_segments, only_torn=True)

    assert recovery.damage is not None
    assert recovery.damage.kind == "torn"
    assert recovery.report.n_events == n_before


def test_an_orphan_of_a_crash_is_ignored_and_replaced(tmp_path: Path) -> None:
    (tmp_path / ".00000001.arrows.tmp").write_bytes(b"half a header")

    write_log(tmp_path)

    assert check_log(tmp_path).ok
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_log_that_is_being_written_is_not_recovered(tmp_path: Path) -> None:
    with LogWriter(tmp_path, TABLE, log_id="a") as log:
        log.append(trades(4))
        log.sync()
        with (tmp_path / "00000001.arrows").open("ab") as torn:
            torn.write(b"half")
        with pytest.raises(RefusedError, match="another process"):
            recover_log(tmp_path)


# --- failing disks -----------------------------------------------------------------------------


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_failure_of_any_operation_is_said_and_leaves_a_valid_prefix(
    tmp_path: Path, error: int, behind: bool
) -> None:
    n_faults = 0
    for n in range(100):
        files = FaultyFiles(fail_at=n, error=error)
        path = tmp_path / str(n)
        synced = -1
        log = None
        try:
            log = LogWriter(
                path,
                TABLE,
                log_id="a",
                flush_rows=4,
                segment_bytes=3000,
                files=files,
                behind=behind,
            )
            for i in range(6):
                log.append(trades(4, seq=4 * i, ts=1000 * (i + 1)))
                log.sync()
                synced = log.seq_synced
            log.close()
        except StorageError:
            n_faults += 1
        if not files.n_failed:
            break
        if log is not None:
            # Poisoned: never again does it claim that something was written.
            with pytest.raises(StorageError):
                log.append(trades(1, seq=1000, ts=10**6))
            with pytest.raises(StorageError):
                log.sync()
            assert log.seq_synced == synced
            log.close()
        if not list(path.glob("*.arrows")):
            assert synced == -1
            continue
        report = check_log(path)
        assert report.ok, report.text()
        assert report.seq_last >= synced
    assert n_faults > 10


def test_a_failed_sync_is_never_tried_again(tmp_path: Path) -> None:
    files = FaultyFiles(fail_at=1, error=errno.EIO, only="sync")
    log = LogWriter(tmp_path, TABLE, log_id="a", files=files)
    log.append(trades(3))

    with pytest.raises(StorageError, match="Input/output error"):
        log.sync()
    with pytest.raises(StorageError, match="Events 0 to 2 may not be on the disk"):
        log.sync()
    log.close()

    assert files.n_operations == 2


def test_a_thread_that_could_not_sync_does_nothing_more(tmp_path: Path) -> None:
    """What was asked for before the failure was known is not done either."""
    files = FaultyFiles(fail_at=1, error=errno.EIO, only="sync")
    log = LogWriter(tmp_path, TABLE, log_id="a", files=files, behind=True)
    log.append(trades(3))
    told = threading.Event()
    mark = log.begin_sync(told.set)
    assert told.wait(60)

    with pytest.raises(StorageError, match=r"cannot sync .*: Input/output error"):
        log.end_sync(mark)
    with pytest.raises(StorageError, match="Events 0 to 2 may not be on the disk"):
        log.append(trades(1, seq=3, ts=2000))
    log.close()

    assert not log.ok
    assert log.seq_synced == -1
    assert files.n_operations == 2


def test_a_full_disk_leaves_whole_batches(tmp_path: Path) -> None:
    """A real limit of the operating system, not a simulated one."""
    log = LogWriter(tmp_path, TABLE, log_id="a", flush_rows=100)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        log.append(trades(200))
        with pytest.raises(StorageError, match=r"cannot write .*: File too large"):
            log.append(trades(800, seq=200, ts=2000))
        log.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)

    report = check_log(tmp_path)
    assert report.ok
    assert report.n_events == 200


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_a_power_cut_keeps_what_was_reported_as_synced(
    tmp_path: Path, seed: int, behind: bool
) -> None:
    dice = random.Random(seed)
    files = FaultyFiles(fail_at=dice.randint(5, 60), for_ever=True)
    log = LogWriter(
        tmp_path, TABLE, log_id="a", flush_rows=3, segment_bytes=3000, files=files, behind=behind
    )
    synced, n = -1, 0
    events = trades(1000)
    try:
        while True:
            k = dice.randint(1, 7)
            log.append(events[n : n + k])
            n += k
            if dice.random() < 0.3:
                log.sync()
                synced = log.seq_synced
    except StorageError:
        log.close()
    files.power_cut(dice)

    recovery = recover_log(tmp_path)

    assert recovery.damage is None or recovery.damage.kind == "torn"
    kept = read_all(tmp_path)
    assert kept.tobytes() == events[: len(kept)].tobytes()
    assert len(kept) > synced


def write_and_sync(log: LogWriter) -> None:
    log.append(trades(3))
    log.sync()


@pytest.mark.parametrize("behind", [False, True])
def test_a_writer_that_cannot_begin_its_next_segment_lets_go_of_the_log(
    tmp_path: Path, behind: bool
) -> None:
    class OneFile(Files):
        n = 0

        def create(self, path: Path) -> AppendFile:
            self.n += 1
            if self.n > 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().create(path)

    log = LogWriter(
        tmp_path, TABLE, log_id="a", flush_rows=3, segment_bytes=1, files=OneFile(), behind=behind
    )
    with pytest.raises(StorageError, match="No space left"):
        write_and_sync(log)
    log.close()

    assert read_all(tmp_path).tobytes() == trades(3).tobytes()
    LogWriter(tmp_path, TABLE, log_id="a", resume=True).close()  # takes the log's lock
    assert "log to disk" not in {each.name for each in threading.enumerate()}


@pytest.mark.parametrize("fail_at", range(8))
def test_a_crash_during_recovery_can_be_recovered(three_segments: Path, fail_at: int) -> None:
    segment = three_segments / "00000002.arrows"
    data = bytearray(segment.read_bytes())
    data[-300] ^= 1
    segment.write_bytes(data)
    believed = check_log(three_segments).n_events
    files = FaultyFiles(fail_at=fail_at, for_ever=True)

    try:
        recover_log(three_segments, files=files)
    except StorageError:
        assert check_log(three_segments).n_events == believed

    recover_log(three_segments)
    report = check_log(three_segments)
    assert (report.ok, report.n_events) == (True, believed)
