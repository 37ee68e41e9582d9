"""The disk fails, is full or tears; another process acts: nothing unlogged is sent, nothing is sent twice.

RELIABILITY 2.8: 9 (P12, P15), 17 (P07, P19, P20), 18 (P10). 8 (P01) has tests of its own: killed
sessions, tests/fault/adapters/session/test_crash_points.py.
"""

import errno
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import adapters.running
from adapters.lease import Lease
from adapters.sessions import LOG
from adapters.start import held_account
from engine.commands import ADD, ROLE_ENTRY
from engine.errors import RefusedError, StorageError
from engine.events import (
    EPOCH_DEGRADED,
    EPOCH_VALID,
    HEALTH,
    HEALTH_JOURNAL,
    MODE_HALT,
    ORDER_SENT,
    REJECT_NOT_SENT,
)
from engine.flow.files import AppendFile, Files
from engine.flow.log import LogWriter
from engine.flow.segment import SegmentDecoder
from tests.fault.disk import FaultyFiles
from tests.support.desks import read_log
from tests.support.fault_desk import Condition, FaultDesk, Scene


def failing(monkeypatch: pytest.MonkeyPatch, what: str, error: int) -> FaultyFiles:
    """Files for the session's log that begin to fail when a story says so."""
    files = FaultyFiles(error=error, only=what, for_ever=True)
    monkeypatch.setattr(adapters.running, "LogWriter", partial(LogWriter, files=files))
    return files


@pytest.mark.parametrize(
    ("what", "error", "code"),
    [("sync", errno.EIO, "FSYNC_FAILED"), ("write", errno.ENOSPC, "STORAGE_FULL")],
    ids=["p12", "p10"],
)
def test_p12_p10_a_log_that_cannot_be_kept_ends_the_session_and_a_torn_tail_is_cut(
    faults: FaultDesk,
    account: str,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    error: int,
    code: str,
) -> None:
    files = failing(monkeypatch, what, error)

    def first(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean and scene.protected()
        files._fail_at = files.n_operations
        yield lambda: False

    def second(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean
        yield scene.after(5)

    one = faults.session(account, first, fails=StorageError)
    assert files.n_failed > 0
    assert one.told_sentence(code)
    assert one.failure.exit_code == 9  # type: ignore[union-attr]
    monkeypatch.undo()
    # P15: of a record that was under way the disk kept the beginning. Not less than that: whatever
    # was synced may have led to an order. Zeros stand ahead of a log that is being written.
    [newest] = sorted((one.running.folder / LOG).glob("*"))[-1:]
    data = newest.read_bytes()
    *_, last = SegmentDecoder(pa.py_buffer(data), newest.name).batches()
    torn = data[last.offset : last.offset + 200]
    newest.write_bytes(data[: last.end] + torn + bytes(4096))
    two = faults.session(account, second)
    assert two.raised("RECOVERED")
    assert two.raised("TAIL_CUT")
    faults.judge(two)


def test_p19_a_second_session_of_the_account_is_refused_and_told_who_has_it(
    faults: FaultDesk, account: str
) -> None:
    refused: list[RefusedError] = []

    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean
        try:
            with held_account(faults.ready(account)):
                pass
        except RefusedError as error:
            refused.append(error)
        yield lambda: scene.protected()

    scene = faults.session(account, story)
    [error] = refused
    assert error.exit_code == 6
    assert scene.running.plan.account in str(error) or "process" in str(error)
    faults.judge(scene)


def test_p07_a_session_that_lost_its_account_sends_not_one_byte_more(
    faults: FaultDesk, account: str
) -> None:
    other: list[Lease] = []

    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean and scene.protected()
        other.append(Lease(faults.ready(account).folder, scene.clock, take_over=True))
        yield lambda: scene.raised("LEASE_LOST") and scene.mode == MODE_HALT
        n = len(scene.orders_at_venue())
        yield scene.after(40)
        assert len(scene.orders_at_venue()) == n
        assert any(each.side < 0 for each in scene.open_at_venue()), "its stop was taken away"

    scene = faults.session(account, story)
    for each in other:
        each.release()
    assert scene.told_sentence("LEASE_LOST")
    faults.judge(scene)


def test_p20_orders_of_another_machine_are_told_and_left_alone(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean and scene.protected()
        scene.by_hand("add_order", symbol="ETH/USD", side="buy", order_type="limit",
                      order_qty=0.01, limit_price=100.0)  # fmt: skip
        yield lambda: scene.raised("FOREIGN_ORDER")
        yield scene.after(20)
        strange = [each for each in scene.open_at_venue() if not each.cl_ord_id]
        assert len(strange) == 1

    scene = faults.session(account, story)
    assert scene.told_sentence("FOREIGN_ORDER")
    faults.judge(scene)


def test_p10_p13_without_room_on_the_disk_or_while_it_is_slow_nothing_is_entered(
    faults: FaultDesk, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stops rest and what is held may leave; entries come back with the room."""
    free, delay_s = [1 << 40], [0.0]
    usage = shutil.disk_usage(faults.folder)
    monkeypatch.setattr(
        adapters.running.shutil, "disk_usage", lambda _: usage._replace(free=free[0])
    )

    class SlowFile(AppendFile):
        def sync(self) -> None:
            time.sleep(delay_s[0])
            super().sync()

    class SlowFiles(Files):
        def create(self, path: Path) -> AppendFile:
            made = super().create(path)
            made.__class__ = SlowFile
            return made

    monkeypatch.setattr(adapters.running, "LogWriter", partial(LogWriter, files=SlowFiles()))

    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean and scene.protected()
        free[0] = 1 << 20
        yield lambda: scene.glob["epoch_status"] == EPOCH_DEGRADED
        stops = [each for each in scene.open_at_venue() if each.side < 0]
        yield scene.after(5)  # what left before that may still be on its way
        n = scene.n_buys()
        yield lambda: scene.raised("STORAGE_LOW")
        yield scene.after(30)
        assert scene.n_buys() == n, "an entry without room to write it down"
        assert stops
        free[0] = 1 << 40
        yield lambda: scene.glob["epoch_status"] == EPOCH_VALID
        yield lambda: scene.n_buys() > n
        delay_s[0] = 0.6
        yield lambda: (scene.orders(ROLE_ENTRY)["reason"] == REJECT_NOT_SENT).any()
        delay_s[0] = 0.0

    scene = faults.session(account, story)
    assert scene.told_sentence("STORAGE_LOW")
    rows = read_log(scene.running.folder)
    slow = 0
    for row in rows[np.isin(rows["kind"], (HEALTH, ORDER_SENT))]:
        if row["kind"] == HEALTH and row["id"] == HEALTH_JOURNAL:
            slow = int(row["aux"])
        elif row["kind"] == ORDER_SENT and row["side"] > 0 and row["aux"] == ADD:
            assert slow <= 250_000_000, "an entry left that had waited for the disk"
    faults.judge(scene)
