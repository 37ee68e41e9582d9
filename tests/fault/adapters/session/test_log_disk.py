"""The disk under a session's log: full, broken, slow. No retry, cancels still leave, a restart works."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from engine import commands as c
from engine.errors import StorageError
from engine.flow.log import LogReader, check_log, recover_log
from engine.session.loop import ShadowGateway
from engine.session.verify import follow_log
from tests.fault.disk import FaultyFiles
from tests.support.sessions import make_session, memory_recorder
from tests.support.short_market import short_market
from tests.support.worlds import EAGER, make_world, split


@pytest.fixture(scope="module")
def market():
    return short_market(1200, symbols=2)


class Wire(ShadowGateway):
    """Refuses like a shadow, but what it is handed may have reached a venue."""

    leaves_machine = True

    def __init__(self) -> None:
        self.carried: list[np.ndarray] = []

    def carry(self, commands: np.ndarray, now: int) -> np.ndarray:
        self.carried.append(commands.copy())
        return super().carry(commands, now)


@pytest.mark.parametrize(("only", "error"), [("sync", errno.EIO), ("write", errno.ENOSPC)])
def test_p10_p12_a_disk_that_fails_ends_the_session_with_its_own_code_and_nothing_more_leaves(
    market, tmp_path: Path, only: str, error: int
) -> None:
    instruments, events = market
    wire = Wire()
    files = FaultyFiles(only=only, error=error, for_ever=True)
    made = make_session(tmp_path / "log", instruments, gateway=wire, files=files)
    batches = split(events, [500] * 1000)
    while not wire.carried:
        batch = next(batches)
        made.session.take(batch, int(batch["ts"][-1]))
    n_before = len(wire.carried)
    files._fail_at = files.n_operations  # from now on
    rest = np.concatenate(list(batches))

    with pytest.raises(StorageError) as raised:
        made.session.take(rest, int(rest["ts"][-1]))
    n_carried, n_tried = len(wire.carried), files.n_operations
    with pytest.raises(StorageError):
        made.session.take(rest, int(rest["ts"][-1]))
    made.session.close()

    assert raised.value.exit_code == 9
    assert len(wire.carried) == n_carried
    assert files.n_operations == n_tried, "what failed once is never tried again"
    for late in wire.carried[n_before:]:
        assert np.isin(late["kind"], (c.CANCEL, c.CANCEL_ALL)).all()
    if check_log(tmp_path / "log").damage is not None:
        recover_log(tmp_path / "log", only_torn=True)
    world = make_world(instruments, EAGER)
    found = follow_log(
        world.core, LogReader(tmp_path / "log", tail="stop"), memory_recorder(), torn=True
    )
    assert found.difference is None
    assert found.n_commands >= len(wire.carried[0])
