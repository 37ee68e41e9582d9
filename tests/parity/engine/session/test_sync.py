"""Commands that wait for the disk while the market goes on: nothing leaves early, the log replays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest

from engine import commands as c
from engine.errors import StorageError
from engine.events import ORDER_COMMAND, ORDER_REJECT, ORDER_SENT, TIMER, empty
from engine.flow.log import LogReader, check_log
from engine.session.loop import ShadowGateway, refused_rows, sent_rows
from tests.fault.disk import FaultyFiles
from tests.support.sessions import Made, feed, make_session, read_again
from tests.support.short_market import short_market
from tests.support.worlds import split

Call = Callable[[int], None]


@pytest.fixture(scope="module")
def market():
    return short_market(1200, symbols=2)


class Wire(ShadowGateway):
    """Looks, at the moment it is handed commands, whether the log on the disk has them."""

    leaves_machine = True

    def __init__(self, folder: Path, sends: bool = False) -> None:
        self._folder, self._sends = folder, sends
        self.carried: list[np.ndarray] = []
        self.unlogged: list[int] = []

    def carry(self, commands: np.ndarray, now: int) -> np.ndarray:
        self.carried.append(commands.copy())
        rows = np.concatenate(list(LogReader(self._folder, tail="stop")))
        logged = rows["id"][rows["kind"] == ORDER_COMMAND]
        self.unlogged += [int(each) for each in commands["id"] if each not in logged]
        return sent_rows(commands, now) if self._sends else refused_rows(commands, now, 1)


def one_by_one(made: Made, events: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """One event at a time, and before it a timer that is due."""
    for batch in split(events, [1] * len(events)):
        ts = int(batch["ts"][0])
        if 0 < made.session.next_due() <= ts:
            yield empty(0), made.session.next_due()
        yield batch, ts


def lockstep(made: Made, told: SimpleQueue[Call], batches: list[np.ndarray], lag: int) -> list[int]:
    """Feed; a sync that came back is told only `lag` batches later. Returns how many then waited."""
    waited, due = [], 0
    for i, batch in enumerate(batches):
        feed(made.session, [batch])
        n = made.session.n_waiting
        if n and not due:
            due = i + lag
        if due and i >= due:
            waited.append(n)
            due = 0
            told.get(timeout=60)(int(batch["ts"][-1]) + 1)
    return waited


@pytest.mark.parametrize("sends", [False, True])
def test_the_market_goes_on_while_commands_wait_and_the_log_replays(
    market, tmp_path: Path, sends: bool
) -> None:
    instruments, events = market
    told: SimpleQueue[Call] = SimpleQueue()
    wire = Wire(tmp_path / "log", sends)
    made = make_session(tmp_path / "log", instruments, gateway=wire, later=told.put)
    waited = lockstep(made, told, list(split(events, [40] * 10_000)), lag=3)
    made.session.close()

    assert wire.unlogged == []
    assert sum(map(len, wire.carried)) == made.session.n_commands > 3
    assert len(waited) > 1
    rows = np.concatenate(list(LogReader(tmp_path / "log")))
    assert (np.diff(rows["ts"]) >= 0).all()
    ticks = rows["ts"][rows["kind"] == TIMER]
    assert (np.diff(ticks) == ticks[1] - ticks[0]).all()
    decided = rows[rows["kind"] == ORDER_COMMAND][2::3]
    answers = rows[rows["kind"] == (ORDER_SENT if sends else ORDER_REJECT)]
    if sends:
        assert answers["id"].tolist() == decided["id"].tolist(), "they leave in their order"
    gaps = answers["seq"][: len(decided)] - decided["seq"][: len(answers)]
    assert gaps.max() > 40, "the market went on"
    found, again = read_again(tmp_path / "log", instruments)
    assert found.difference is None
    assert found.n_commands == made.session.n_commands
    assert again.digest.hexdigest() == made.recorder.digest.hexdigest()


def test_commands_that_come_while_a_sync_is_under_way_share_the_next(
    market, tmp_path: Path
) -> None:
    instruments, events = market
    told: SimpleQueue[Call] = SimpleQueue()
    wire = Wire(tmp_path / "log", sends=True)
    made = make_session(tmp_path / "log", instruments, gateway=wire, later=told.put)
    batches = split(events, [40] * 10_000)
    while made.session.n_commands < 3:
        feed(made.session, [next(batches)])
    n = made.session.n_commands
    assert wire.carried == []
    told.get(timeout=60)(0)
    told.get(timeout=60)(0)

    assert told.empty()
    assert made.session.n_waiting == 0
    assert len(wire.carried[0]) < n
    assert sum(len(each) for each in wire.carried) == n == made.session.n_commands
    assert len(wire.carried) == 2
    made.session.close()


def test_the_end_waits_for_the_disk_and_tells_a_late_sync_nothing(market, tmp_path: Path) -> None:
    instruments, events = market
    told: SimpleQueue[Call] = SimpleQueue()
    wire = Wire(tmp_path / "log", sends=True)
    made = make_session(tmp_path / "log", instruments, gateway=wire, later=told.put)
    batches = split(events, [40] * 10_000)
    while not made.session.n_waiting:
        feed(made.session, [next(batches)])
    late = told.get(timeout=60)
    made.session.close()
    late(0)

    assert wire.unlogged == []
    assert sum(map(len, wire.carried)) == made.session.n_commands
    assert check_log(tmp_path / "log").closed
    assert read_again(tmp_path / "log", instruments)[0].difference is None


@pytest.mark.parametrize("learned_by", ["sync", "next rows", "end"])
def test_a_sync_that_fails_ends_the_session_and_only_cancels_leave(
    market, tmp_path: Path, learned_by: str
) -> None:
    instruments, events = market
    told: SimpleQueue[Call] = SimpleQueue()
    files = FaultyFiles(only="sync", error=5, for_ever=True)
    wire = Wire(tmp_path / "log")
    # Nothing goes to the file but for commands, and nothing follows them: the failure is theirs.
    made = make_session(
        tmp_path / "log", instruments, gateway=wire, later=told.put, files=files,
        flush_age_ns=1 << 60, flush_rows=100_000,
    )  # fmt: skip
    files._fail_at = files.n_operations  # from now on
    for rows, now in one_by_one(made, events):
        if made.session.n_waiting:
            break
        made.session.take(rows, now)
    # One of them takes risk away.
    cancel = made.session._syncing[0][:1].copy()
    cancel["kind"] = c.CANCEL
    made.session._waiting.append(cancel)
    call = told.get(timeout=60)
    learn = {
        "sync": lambda: call(0),
        "next rows": lambda: made.session.take(rows, now),
        "end": made.session.settle,
    }[learned_by]

    with pytest.raises(StorageError, match="cannot sync"):
        learn()
    n_tried = files.n_operations
    with pytest.raises(StorageError):
        made.session.take(rows, now)
    call(0)
    made.session.close()

    assert [each["kind"].tolist() for each in wire.carried] == [[c.CANCEL]]
    assert files.n_operations == n_tried, "what failed once is never tried again"


def test_a_session_with_a_thread_for_the_disk_writes_what_one_without_writes(
    market, tmp_path: Path
) -> None:
    """Where every sync comes back before anything else happens, there is no difference."""
    instruments, events = market
    logs = []
    for name in ("waits", "told"):
        told: SimpleQueue[Call] = SimpleQueue()
        wire = Wire(tmp_path / name)
        later = told.put if name == "told" else None
        made = make_session(tmp_path / name, instruments, gateway=wire, later=later)
        for rows, now in one_by_one(made, events[:30_000]):
            made.session.take(rows, now)
            while made.session.n_waiting:
                told.get(timeout=60)(0)
        made.session.close()
        logs.append(np.concatenate(list(LogReader(tmp_path / name))).tobytes())
        assert made.session.n_commands > 0
    assert logs[0] == logs[1]
