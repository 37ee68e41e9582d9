"""One writer per account, with real processes: races, kills, stops, take-overs, damaged files."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.lease import (
    KillFlag,
    Lease,
    account_folder,
    is_held,
    open_folder,
    read_holder,
)
from engine.clock import WallClock
from engine.errors import DataError, RefusedError, SecretError, StorageError
from engine.flow.files import Files

ROOT = Path(__file__).resolve().parents[3]
CLOCK = WallClock()

# Takes the lease, says which number; then answers each line with what still_ours says.
HOLDER = """
import sys
from pathlib import Path
from adapters.lease import Lease
from engine.clock import WallClock
lease = Lease(Path(sys.argv[1]), WallClock())
print(lease.number, flush=True)
for line in sys.stdin:
    if line.strip() == "release":
        lease.release()
    print(lease.still_ours(), flush=True)
"""


class Holding:
    """Another process that holds the lease."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.number = int(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def still_ours(self) -> bool:
        self.tell("ask")
        return self._line().strip() == "True"

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def holding(tmp_path: Path) -> Iterator[Holding]:
    other = Holding(tmp_path / "main")
    yield other
    other.end()


def test_the_second_is_refused_and_told_who_has_it(tmp_path, holding):
    with pytest.raises(RefusedError) as caught:
        Lease(tmp_path / "main", CLOCK)

    assert 6 == caught.value.exit_code
    assert f"pid {holding.process.pid} on {socket.gethostname()}" in caught.value.message
    assert "since 20" in caught.value.message
    assert is_held(tmp_path / "main")
    assert holding.still_ours()


def test_the_lease_ends_with_its_process_however_it_ends(tmp_path, holding):
    holding.process.kill()
    holding.process.wait()

    lease = Lease(tmp_path / "main", CLOCK)
    assert holding.number + 1 == lease.number
    assert lease.still_ours()


def test_a_stopped_process_keeps_its_lease(tmp_path, holding):
    """It may wake up at any moment, so nobody else may believe it gone."""
    holding.process.send_signal(signal.SIGSTOP)
    with pytest.raises(RefusedError):
        Lease(tmp_path / "main", CLOCK)
    holding.process.send_signal(signal.SIGCONT)

    assert holding.still_ours()


def test_a_process_that_wakes_up_after_a_take_over_knows_that_it_is_out(tmp_path, holding):
    holding.process.send_signal(signal.SIGSTOP)
    lease = Lease(tmp_path / "main", CLOCK, take_over=True)
    holding.process.send_signal(signal.SIGCONT)

    assert not holding.still_ours()
    assert lease.still_ours()
    assert holding.number + 1 == lease.number
    # What the first one does now changes nothing for the second.
    holding.tell("release")
    assert lease.still_ours()
    with pytest.raises(RefusedError, match=f"pid {os.getpid()} "):
        Lease(tmp_path / "main", CLOCK)


def test_two_hundred_starts_at_once_give_one_writer(tmp_path):
    """All wait at a pipe, all start, one wins; it holds until the others have been refused."""
    script = textwrap.dedent("""
        import json, os, sys
        from pathlib import Path
        from adapters.lease import Lease
        from engine.clock import WallClock
        from engine.errors import RefusedError
        folder, n = Path(sys.argv[1]), int(sys.argv[2])
        gate_read, gate_write = os.pipe()
        end_read, end_write = os.pipe()
        said_read, said_write = os.pipe()
        for _ in range(n):
            if os.fork() == 0:
                os.close(gate_write), os.close(end_write)
                os.read(gate_read, 1)
                try:
                    lease = Lease(folder, WallClock())
                    said = {"pid": os.getpid(), "number": lease.number}
                except RefusedError as error:
                    said = {"refused": error.message}
                os.write(said_write, (json.dumps(said) + "\\n").encode())
                os.read(end_read, 1)
                os._exit(0)
        os.close(gate_write), os.close(said_write)
        with os.fdopen(said_read) as file:
            for _ in range(n):
                print(file.readline(), end="")
        os.close(end_write)
        for _ in range(n):
            os.wait()
    """)
    n = 200
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "main"), str(n)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    winners = [each for each in said if "number" in each]

    assert n == len(said)
    assert [1] == [each["number"] for each in winners]
    assert n - 1 == sum(f"pid {winners[0]['pid']} on" in each.get("refused", "") for each in said)


def test_the_child_of_a_fork_has_no_lease(tmp_path):
    lease = Lease(tmp_path / "main", CLOCK)
    child = os.fork()
    if child == 0:
        os._exit(int(lease.still_ours()))
    _, status = os.waitpid(child, 0)

    assert 0 == os.waitstatus_to_exitcode(status)
    assert lease.still_ours()


def test_a_lock_removed_or_replaced_under_us_is_noticed(tmp_path):
    folder = tmp_path / "main"
    lease = Lease(folder, CLOCK)
    (folder / "writer").rename(folder / "aside")
    assert not lease.still_ours()
    (folder / "aside").rename(folder / "writer")
    assert lease.still_ours()
    (folder / "writer").unlink()
    (folder / "writer").write_text("")

    assert not lease.still_ours()


def test_a_higher_number_ends_a_lease_and_a_copy_of_ours_does_not(tmp_path):
    folder = tmp_path / "main"
    lease = Lease(folder, CLOCK)
    (folder / "fencing").write_text(f"{lease.number}\n")
    assert lease.still_ours()
    (folder / "fencing").write_text(f"{lease.number + 1}\n")

    assert not lease.still_ours()


def test_numbers_rise_over_every_restart(tmp_path):
    numbers = []
    for _ in range(5):
        lease = Lease(tmp_path / "main", CLOCK)
        numbers.append(lease.number)
        lease.release()
        assert not lease.still_ours()

    assert [1, 2, 3, 4, 5] == numbers
    assert not is_held(tmp_path / "main")


@pytest.mark.parametrize("text", ["", "x\n", "7", "-1\n", "1" * 30 + "\n"])
def test_a_damaged_number_is_refused_and_never_begun_again(tmp_path, text):
    folder = open_folder(tmp_path / "main")
    (folder / "fencing").write_text(text)

    with pytest.raises(DataError, match="does not hold a number"):
        Lease(folder, CLOCK)
    assert not is_held(folder)


def test_a_number_that_cannot_be_synced_is_not_used(tmp_path):
    class NoSync(Files):
        def sync_folder(self, path: Path) -> None:
            raise OSError(5, "Input/output error")

    with pytest.raises(StorageError) as caught:
        Lease(tmp_path / "main", CLOCK, files=NoSync())
    assert 9 == caught.value.exit_code
    assert not is_held(tmp_path / "main")


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o702])
def test_a_folder_that_others_may_use_is_refused(tmp_path, mode):
    folder = tmp_path / "main"
    folder.mkdir()
    folder.chmod(mode)

    with pytest.raises(SecretError, match=f"{mode:04o}") as caught:
        Lease(folder, CLOCK)
    assert 3 == caught.value.exit_code


def test_a_link_in_place_of_the_folder_or_the_lock_is_not_followed(tmp_path):
    real = open_folder(tmp_path / "real")
    (tmp_path / "main").symlink_to(real)
    with pytest.raises(SecretError, match="link"):
        Lease(tmp_path / "main", CLOCK)

    (real / "writer").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError):
        Lease(real, CLOCK)
    assert not (tmp_path / "elsewhere").exists()


def test_everything_written_is_for_its_owner_only(tmp_path):
    Lease(tmp_path / "live" / "main", CLOCK)
    KillFlag(tmp_path / "live" / "main").set(1, "test")

    for each in (tmp_path / "live" / "main").iterdir():
        assert 0o600 == each.stat().st_mode & 0o777, each
    assert 0o700 == (tmp_path / "live" / "main").stat().st_mode & 0o777


def test_the_holder_is_known_by_what_it_signed(tmp_path):
    lease = Lease(tmp_path / "main", CLOCK)

    assert lease.holder == read_holder(tmp_path / "main")
    assert read_holder(tmp_path / "none") is None


def test_where_an_account_has_its_state(tmp_path):
    assert tmp_path / "live" / "main" == account_folder("main", "", tmp_path)
    assert Path("/x/main") == account_folder("main", "/x", tmp_path)


# --- the kill flag -------------------------------------------------------------------------------


def test_a_kill_flag_outlives_everything_and_keeps_its_first_reason(tmp_path):
    flag = KillFlag(tmp_path / "main")
    assert not flag.is_set()
    assert flag.read() is None
    flag.set(5, "stolen key")
    flag.set(6, "another")

    again = KillFlag(tmp_path / "main")
    assert again.is_set()
    assert (5, "stolen key") == (again.read().ts, again.read().why)
    again.clear()
    again.clear()
    assert not flag.is_set()


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[]", b'{"ts": "x"}'])
def test_a_flag_that_cannot_be_read_is_set(tmp_path, data):
    flag = KillFlag(open_folder(tmp_path / "main"))
    (tmp_path / "main" / "killed").write_bytes(data)

    assert flag.is_set()
    assert flag.read() is not None


def test_a_dangling_link_is_a_flag(tmp_path):
    flag = KillFlag(open_folder(tmp_path / "main"))
    (tmp_path / "main" / "killed").symlink_to(tmp_path / "nowhere")

    assert flag.is_set()


def test_a_flag_that_cannot_be_asked_for_counts_as_set(tmp_path):
    (tmp_path / "main").write_text("no folder")

    assert KillFlag(tmp_path / "main").is_set()


def test_a_flag_cut_off_while_it_was_written_leaves_no_half_of_it(tmp_path):
    """The name appears with the whole content or not at all."""

    class Cut(Files):
        def rename(self, old: Path, new: Path) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="cannot be written"):
        KillFlag(tmp_path / "main", Cut()).set(1, "x")
    assert not KillFlag(tmp_path / "main").is_set()
