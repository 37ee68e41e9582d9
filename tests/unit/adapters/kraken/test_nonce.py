"""Nonces rise strictly: over calls, processes, crashes and clocks that step back."""

import multiprocessing
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.kraken.nonce import NONCE_MAX, NonceFile
from engine.errors import DataError, SecretError, StorageError

ROOT = Path(__file__).resolve().parents[4]
NOW = 1_767_607_200_000_000_000


class Clock:
    """Says what it is told, ns."""

    def __init__(self, now: int = NOW) -> None:
        self.now_ns = now

    def now(self) -> int:
        return self.now_ns


def nonces(folder: Path, clock: Clock | None = None) -> NonceFile:
    return NonceFile(folder, "0123456789abcdef", clock or Clock())


def test_a_nonce_is_the_clock_in_microseconds_or_one_more_than_the_last(tmp_path: Path) -> None:
    clock = Clock()
    drawn = nonces(tmp_path, clock)

    assert drawn.draw() == NOW // 1000
    assert drawn.draw() == NOW // 1000 + 1
    clock.now_ns = NOW + 5_000_999
    assert drawn.draw() == NOW // 1000 + 5000


@pytest.mark.parametrize("step", [-1, -600 * 10**9, -NOW])
def test_a_clock_that_steps_back_brings_no_nonce_again(tmp_path: Path, step: int) -> None:
    clock = Clock()
    first = nonces(tmp_path, clock).draw()
    clock.now_ns += step

    assert nonces(tmp_path, clock).draw() == first + 1


def test_the_next_process_goes_on_above_the_last(tmp_path: Path) -> None:
    first = nonces(tmp_path).draw()

    assert nonces(tmp_path).draw() == first + 1


def test_keys_have_nonces_of_their_own(tmp_path: Path) -> None:
    nonces(tmp_path).draw()

    assert NonceFile(tmp_path, "fedcba9876543210", Clock()).draw() == NOW // 1000


def test_the_files_are_for_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "kapitaalbot"
    nonces(folder).draw()

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def draw_many(folder: Path, n: int, results: "multiprocessing.Queue[list[int]]") -> None:
    drawn = nonces(folder)
    results.put([drawn.draw() for _ in range(n)])


def test_processes_that_share_a_key_never_draw_the_same(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[list[int]] = context.Queue()
    workers = [context.Process(target=draw_many, args=(tmp_path, 60, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    drawn = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)

    together = sorted(each for part in drawn for each in part)
    assert together == list(range(NOW // 1000, NOW // 1000 + 180))
    for part in drawn:
        assert part == sorted(part)


DRAW_FOR_EVER = """
import sys
from pathlib import Path
from adapters.kraken.nonce import NonceFile
class Clock:
    def now(self):
        return int(sys.argv[2])
drawn = NonceFile(Path(sys.argv[1]), "0123456789abcdef", Clock())
while True:
    print(drawn.draw(), flush=True)
"""


def test_a_killed_process_takes_no_nonce_back(tmp_path: Path) -> None:
    """What it printed it may have sent; the next draw is above all of it."""
    worker = subprocess.Popen(
        [sys.executable, "-c", DRAW_FOR_EVER, str(tmp_path), str(NOW)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert worker.stdout is not None
    seen = [int(worker.stdout.readline()) for _ in range(40)]
    worker.send_signal(signal.SIGKILL)
    seen += [
        int(line) for line in worker.stdout.read().splitlines() if len(line) == len(str(NOW)) - 3
    ]
    worker.wait(60)

    assert seen == sorted(set(seen))
    assert nonces(tmp_path, Clock(NOW - 10**15)).draw() > seen[-1]


@pytest.mark.parametrize(
    "text", [b"", b"17676072", b"abc\n", b"-5\n", b"1.5\n", b"\xff\n", b"9" * 70, b"9" * 21 + b"\n"]
)
def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path, text: bytes) -> None:
    """Starting again from the clock could repeat what was used."""
    path = tmp_path / "kraken-nonce-0123456789abcdef"
    path.write_bytes(text)

    with pytest.raises(DataError, match="does not hold a nonce"):
        nonces(tmp_path).draw()
    assert path.read_bytes() == text


def test_after_the_highest_number_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "kraken-nonce-0123456789abcdef").write_text(f"{NONCE_MAX}\n")

    with pytest.raises(SecretError, match="highest nonce"):
        nonces(tmp_path).draw()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")

    with pytest.raises(StorageError, match="was not sent"):
        nonces(blocker / "below").draw()
