"""A disk that fails at any operation, and a power cut, never bring a nonce a second time."""

import errno
import random
from pathlib import Path

import pytest

from adapters.kraken.nonce import NonceFile
from engine.errors import StorageError
from tests.fault.disk import FaultyFiles


class Clock:
    def now(self) -> int:
        return 1_767_607_200_000_000_000


def operations_of_one_draw(folder: Path) -> int:
    files = FaultyFiles()
    NonceFile(folder, "k", Clock(), files).draw()
    return files.n_operations


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_draw_fails_whole_and_the_next_one_is_above_all_before(
    tmp_path: Path, error: int
) -> None:
    n_operations = operations_of_one_draw(tmp_path / "count")
    assert n_operations >= 4  # create, write, sync, rename: else nothing would be tested
    last = NonceFile(tmp_path, "k", Clock()).draw()
    for fail_at in range(n_operations):
        files = FaultyFiles(fail_at, error)
        with pytest.raises(StorageError, match="was not sent"):
            NonceFile(tmp_path, "k", Clock(), files).draw()
        assert files.n_failed == 1
        drawn = NonceFile(tmp_path, "k", Clock()).draw()
        assert drawn > last
        last = drawn


@pytest.mark.parametrize("seed", range(30))
def test_a_power_cut_keeps_what_was_handed_out(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    files = FaultyFiles()
    drawn = [NonceFile(tmp_path, "k", Clock(), files).draw() for _ in range(5)]
    files.power_cut(dice)

    assert NonceFile(tmp_path, "k", Clock(), files).draw() > drawn[-1]


@pytest.mark.parametrize("seed", range(10))
def test_a_power_cut_in_the_middle_of_a_draw_does_no_harm(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    files = FaultyFiles(3 * operations_of_one_draw(tmp_path / "count") + seed % 4)
    drawn = [NonceFile(tmp_path, "k", Clock(), files).draw() for _ in range(3)]
    with pytest.raises(StorageError):
        NonceFile(tmp_path, "k", Clock(), files).draw()
    files.power_cut(dice)

    assert NonceFile(tmp_path, "k", Clock()).draw() > drawn[-1]
