"""`kill -9` where no session is at work: sealing a capture, its manifest, the kill flag.

Each runs in a process of its own, which is killed at an operation of the file system by number: at
every one that it does, so that no moment is left out. C31, a batch of the SQL mirror, is
tests/fault/adapters/postgres: to the server a killed client is a connection that is lost, and
`test_the_connection_is_lost_at_each_message` loses it at each.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from adapters.lease import KillFlag
from adapters.parquet.check import check_store
from adapters.parquet.manifest import list_captures
from adapters.parquet.reader import open_capture
from adapters.parquet.seal import seal_log
from engine.events import TRADE
from engine.flow.log import LogReader, LogWriter
from tests.support.short_market import short_market

ROOT = Path(__file__).resolve().parents[4]
OPERATIONS_MAX = 60
KILLER = """
import os, signal, sys
from pathlib import Path
import engine.flow.files as files

def count(owner, name):
    inner = getattr(owner, name)
    def operation(*arguments):
        if name == "write" and len(arguments[1]) < 256:
            return inner(*arguments)
        left[0] -= 1
        if left[0] < 0:
            if name == "write":  # half of it is there
                data = memoryview(arguments[1]).cast("B")
                inner(arguments[0], data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(*arguments)
    setattr(owner, name, operation)

left = [0]
for owner, name in ((files.Files, "create"), (files.AppendFile, "write"), (files.AppendFile, "sync"),
                    (files.Files, "rename"), (files.Files, "sync_folder")):
    count(owner, name)
for n in range(int(sys.argv[2])):
    left[0] = n
    pid = os.fork()
    if pid == 0:
        work(Path(sys.argv[1]) / str(n))
        os._exit(0)
    how = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert how in (0, -signal.SIGKILL), how
    if how == 0:
        print(n)
        break
"""


def operations_of(work: str, folder: Path) -> int:
    """Do `work` in folder/0, folder/1 ..., each in a process killed at its n-th operation.

    Returns the number of the first that had fewer.
    """
    done = subprocess.run(
        [sys.executable, "-c", work + KILLER, str(folder), str(OPERATIONS_MAX)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


SET_FLAG = """
from adapters.lease import KillFlag
def work(folder):
    KillFlag(folder).set(7, "a person said so")
"""


def test_c32_a_kill_flag_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    for n in range(OPERATIONS_MAX):
        (tmp_path / str(n)).mkdir(mode=0o700)
    last = operations_of(SET_FLAG, tmp_path)

    found = []
    for n in range(last + 1):
        flag = KillFlag(tmp_path / str(n))
        there = flag.read()
        assert there is None or (there.ts, there.why) == (7, "a person said so")
        found.append(there is not None)
        flag.set(8, "again")
        assert flag.read().ts == (7 if there else 8)  # type: ignore[union-attr]
    assert last >= 4
    assert found[0] is False
    assert found[-1] is True
    assert found == sorted(found), "once it stands it stays"


SEAL = """
from adapters.record import seal_part
def work(folder):
    seal_part(folder / "store", folder / "part")
"""


def test_c23_c24_a_capture_that_was_killed_while_it_was_sealed_is_sealed_by_the_next(
    tmp_path: Path,
) -> None:
    """Between data files and manifest, and anywhere else: sealed once, and every event is there."""
    instruments, events = short_market(20, symbols=1)
    trades = events[events["kind"] == TRADE]
    channels = {"trade": {instruments.symbols[0]: 0}}
    meta = {"venue": "kraken", "lineage": "x", "part": 1, "channels": channels}
    with LogWriter(tmp_path / "log", instruments, log_id="part", meta=meta, assign_seq=True) as log:
        log.append(trades.copy())
    rows = np.concatenate(list(LogReader(tmp_path / "log")))
    for n in range(OPERATIONS_MAX):
        shutil.copytree(tmp_path / "log", tmp_path / str(n) / "part")
    last = operations_of(SEAL, tmp_path)

    manifests = []
    for n in range(last + 1):
        store, part = tmp_path / str(n) / "store", tmp_path / str(n) / "part"
        manifests.append(store.exists() and len(list_captures(store)) == 1)
        assert n == last or part.is_dir(), "the log goes only when its capture is proven"
        if n < last:
            seal_log(part, store)
        assert len(list_captures(store)) == 1
        back = np.concatenate(list(open_capture(store).batches()))
        assert back.tobytes() == rows.tobytes()
        report = check_store(store)
        assert report.ok, report.text()
    assert last >= 6
    assert manifests[0] is False
    assert manifests == sorted(manifests), "a manifest that stands stays"
    assert True in manifests[:last], "no kill fell between the manifest and the end"
