"""A session that died between what made it decide and the record of what it decided, taken up again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.attending import Attending
from adapters.running import Running
from adapters.sessions import LOG, last_state, verify
from adapters.start import plan_session
from engine.events import (
    EVENT,
    LAST,
    ORDER_ACK,
    ORDER_COMMAND,
    ORDER_FEE,
    ORDER_FILL,
    ORDER_REJECT,
    REJECT_NOT_SENT,
    REJECT_SHADOW,
)
from engine.flow.journal import RECORDS, commands_of
from engine.flow.log import LogReader, LogWriter
from tests.support.session_folder import write_session
from tests.support.short_market import short_market
from tests.support.worlds import EAGER, split

SECONDS = 345  # the first command comes at 338


def given(folder: Path, symbols: tuple[str, ...]) -> dict[str, Any]:
    live = {"symbols": list(symbols), "endpoint": "local", "state": str(folder / "state")}
    return {**EAGER, "run": {"out": str(folder / "runs")}, "live": live}


@pytest.fixture(scope="module", params=["paper", "shadow"])
def died(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Mode, folder and pairs of a session that was killed after its first commands."""
    instruments, events = short_market(SECONDS, symbols=2)
    place = tmp_path_factory.mktemp(request.param)
    folder = write_session(
        place / "runs" / "old", instruments, split(events, [500] * 1000),
        given(place, instruments.symbols), request.param, dies=True,
    )  # fmt: skip
    return request.param, folder, instruments.symbols


def cut(folder: Path, keep: int, ended: bool, more: np.ndarray | None = None) -> None:
    """The log as a crash left it: `keep` events and no end; `ended`: as one who was interrupted did.

    more : EVENT rows that come after them
    """
    reader = LogReader(folder / LOG, tail="stop")
    rows = np.concatenate(list(reader))
    log_id, table = reader.header.log_id, reader.instruments
    shutil.rmtree(folder / LOG)
    log = LogWriter(folder / LOG, table, log_id=log_id, assign_seq=True)
    log.append(rows[:keep])
    if more is not None:
        more["ts"] = rows["ts"][keep - 1]
        log.append(more)
    log.flush()
    if ended:
        log.close()
        return
    whole = folder.with_name("copy")
    shutil.copytree(folder / LOG, whole)
    log.close()
    shutil.rmtree(folder / LOG)
    whole.rename(folder / LOG)
    (folder / LOG / "writer.lock").unlink()


def taken_up(folder: Path, old: Path, mode: str, symbols: tuple[str, ...]) -> Running:
    plan = plan_session(None, mode, given(folder, symbols), {}).plan
    table = LogReader(old / LOG, tail="stop").instruments
    # The market's own time, which is long ago.
    plan = type(plan)(**{**vars(plan), "previous": old, "clock": Stands(plan.clock)})
    running = Running(plan, table, Attending())
    running.begin(None)
    return running


class Stands:
    """A clock that stands, after any market of these tests."""

    def __init__(self, other: Any) -> None:
        self.ts, self.speed = other.now() + 10**18, 1.0

    def now(self) -> int:
        return int(self.ts)


@pytest.mark.parametrize("lost", ["record", "record, ended", "half a record", "answer"])
def test_no_order_is_waited_for_that_nobody_has(died, tmp_path: Path, lost: str) -> None:
    mode, folder, symbols = died
    old = tmp_path / "runs" / "old"
    shutil.copytree(folder, old)
    rows = np.concatenate(list(LogReader(old / LOG, tail="stop")))
    first = int(np.flatnonzero(rows["kind"] == ORDER_COMMAND)[0])
    command = commands_of(rows[first : first + RECORDS])
    kept = {"half a record": 1, "answer": RECORDS}.get(lost, 0)
    cut(old, first + kept, lost == "record, ended")

    assert verify(old).ok
    left = last_state(old)
    undone = left.followed.undone
    if lost == "answer":
        assert len(undone) == 0
    else:
        assert undone[:1].tobytes() == command.tobytes()
    assert (left.built.core.orders["id"] == command["id"][0]).any()

    running = taken_up(tmp_path, old, mode, symbols)
    core = running.built.core
    waiting = core.orders[(core.orders["id"] > 0) & (core.orders["ts_done"] == 0)]
    running.close(None)
    log = np.concatenate(list(LogReader(running.folder / LOG)))
    refused = log[log["kind"] == ORDER_REJECT]
    if mode == "paper" and lost == "answer":
        # The simulated venue had it, and answers.
        assert int(command["id"][0]) in log["id"][log["kind"] == ORDER_ACK]
        assert REJECT_NOT_SENT not in refused["aux"]
    else:
        assert len(waiting) == 0
        assert int(command["id"][0]) in refused["id"]
        assert set(refused["aux"]) == {REJECT_NOT_SENT if mode == "paper" else REJECT_SHADOW}
    assert verify(running.folder).ok


@pytest.mark.parametrize("died", ["shadow"], indirect=True)
def test_fills_of_all_sessions_before_are_remembered_however_many_an_order_had(
    died, tmp_path: Path
) -> None:
    """The venue tells the last minutes again: what a core has forgotten must not count twice."""
    mode, folder, symbols = died
    old = tmp_path / "runs" / "old"
    shutil.copytree(folder, old)
    fills = np.zeros(2 * 300, EVENT)
    fills["kind"] = np.tile([ORDER_FILL, ORDER_FEE], 300)
    fills["aux"] = np.repeat(np.arange(1, 301) * 7, 2)
    fills["flags"] = LAST
    cut(old, 1000, True, fills)
    told = np.arange(1, 301) * 7
    assert last_state(old).applied.tolist() == told.tolist()

    first = taken_up(tmp_path, old, mode, symbols)
    first.close(None)
    second = taken_up(tmp_path, first.folder, mode, symbols)
    second.close(None)
    assert second.built.applied.tolist() == told.tolist()
    assert last_state(second.folder, from_start=True).applied.tolist() == told.tolist()
