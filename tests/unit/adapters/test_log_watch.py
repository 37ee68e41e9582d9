"""A log that somebody touches while it is written is seen by whoever looks once a second."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from adapters.telemetry import Segments
from engine.events import HEARTBEAT, LAST, NO_SYMBOL, empty
from engine.flow.log import LogWriter
from engine.instruments import InstrumentTable


def beats(n: int, ts: int) -> np.ndarray:
    rows = empty(n)
    rows["ts"], rows["kind"], rows["flags"], rows["sym"] = ts, HEARTBEAT, LAST, NO_SYMBOL
    return rows


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogWriter]:
    writer = LogWriter(
        tmp_path / "log", InstrumentTable([]), log_id="a", assign_seq=True, segment_bytes=20_000
    )
    for i in range(5):  # each more than a segment
        writer.append(beats(500, i + 1))
        writer.flush()
    writer.append(beats(20, 9))
    writer.flush()
    assert len(segments(writer)) == 6
    yield writer
    writer.close()


@pytest.fixture
def watch(log: LogWriter) -> Segments:
    made = Segments(log.path, "*.arrows", lambda: log.written)
    assert made.touched() == ""
    return made


def segments(log: LogWriter) -> list[Path]:
    return sorted(log.path.glob("*.arrows"))


def another(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copyfile(path, copy)
    os.replace(copy, path)


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(40)
        file.write(b"\xff" * 8)


def test_a_log_that_grows_and_begins_segments_was_not_touched(
    log: LogWriter, watch: Segments
) -> None:
    for i in range(3):
        log.append(beats(700, 20 + i))
        log.sync()
        assert watch.touched() == ""
    assert len(segments(log)) > 6
    log.close()
    assert watch.touched() == ""


def test_zeros_that_the_writer_takes_away_again_were_nobodys_doing(tmp_path: Path) -> None:
    """A session's log has them ahead of it; a segment that is full loses those it did not need."""
    with LogWriter(
        tmp_path / "log",
        InstrumentTable([]),
        log_id="a",
        assign_seq=True,
        segment_bytes=100_000,
        behind=True,
    ) as log:
        watch = Segments(log.path, "*.arrows", lambda: log.written)
        for i in range(3):
            log.append(beats(400, 20 + i))
            log.sync()
            assert watch.touched() == ""
        (first,) = segments(log)
        while (ahead := first.stat().st_size) < 150_000:
            time.sleep(0.001)  # the thread puts them there while nobody asks for more
        assert watch.touched() == ""
        log.append(beats(400, 30))
        log.sync()
        assert len(segments(log)) == 2
        assert first.stat().st_size < ahead
        assert watch.touched() == ""
        cut(first)
        assert "bytes of the" in watch.touched()


@pytest.mark.parametrize("i", [0, 2, -1], ids=["first", "middle", "current"])
@pytest.mark.parametrize(
    ("do", "said"),
    [
        (Path.unlink, "is gone"),
        (another, "is another file"),
        (cut, "bytes of the"),
        (overwrite, "was overwritten"),
    ],
)
def test_what_is_done_to_a_segment_is_named(
    log: LogWriter, watch: Segments, i: int, do: Callable[[Path], None], said: str
) -> None:
    segment = segments(log)[i]
    do(segment)
    told = watch.touched()
    assert segment.name in told
    assert said in told
