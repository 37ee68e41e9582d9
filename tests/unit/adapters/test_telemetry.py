"""What the system says of this process, against what this process has just done."""

import gc
import os
import subprocess
import sys
from pathlib import Path

from adapters.telemetry import Edited, Telemetry

# In a process of its own: what else a worker frees meanwhile is many times this.
TAKING = """
import sys
from pathlib import Path
from adapters.telemetry import Telemetry

telemetry = Telemetry(1e-9, Path(sys.argv[1]))
before = telemetry.look()
held = [(Path(sys.argv[1]) / str(i)).open("w") for i in range(20)]
block = bytearray(b"x") * (64 << 20)
after = telemetry.look()
print(after.open_files - before.open_files, after.memory_bytes - before.memory_bytes)
print(after.cpu_share, after.disk_free_bytes)
"""


def test_a_sample_sees_files_that_are_opened_and_memory_that_is_taken(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TAKING, str(tmp_path)], capture_output=True, text=True, check=True
    )
    files, memory, cpu, disk = (float(each) for each in done.stdout.split())
    assert files == 20
    assert 64 << 20 <= memory < 72 << 20
    assert cpu > 0
    assert disk > 0


def test_the_longest_delay_and_the_longest_pause_are_told_once(tmp_path: Path) -> None:
    telemetry = Telemetry(1e-9, tmp_path)
    telemetry.late(0.5)
    telemetry.late(0.2)
    gc.collect()
    first, second = telemetry.look(), telemetry.look()
    telemetry.close()
    assert first is not None
    assert second is not None
    assert first.loop_delay_s == 0.5
    assert first.gc_pause_s > 0
    assert second.loop_delay_s == 0


def test_between_two_looks_the_newest_sample_stays(tmp_path: Path) -> None:
    telemetry = Telemetry(3600, tmp_path)
    first = telemetry.look()
    telemetry.late(9.0)
    assert telemetry.look() is first
    telemetry.close()
    assert telemetry.n_samples == 1


def test_an_interval_of_nothing_never_looks_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before = list(gc.callbacks)
    telemetry = Telemetry(0, tmp_path)
    assert telemetry.look() is None
    telemetry.close()
    kept = Telemetry(1, tmp_path)
    kept.close()
    assert gc.callbacks == before


def test_a_file_is_edited_when_something_else_stands_in_it(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("x = 1\n")
    edited = Edited(path)
    assert not edited.changed()
    os.utime(path, ns=(5, 5))
    assert not edited.changed()
    path.write_text("x = 2\n")
    assert [edited.changed(), edited.changed()] == [True, False]
    path.write_text("x = 33\n")
    assert edited.changed()
    path.write_text("x = 1\n")
    assert not edited.changed(), "it is again what was read"
    path.unlink()
    assert [edited.changed(), edited.changed()] == [True, False]
