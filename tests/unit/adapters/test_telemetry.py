"""What the system says of this process, against what this process has just done."""

import gc
import os
from pathlib import Path

from adapters.telemetry import Edited, Telemetry


def test_a_sample_sees_files_that_are_opened_and_memory_that_is_taken(tmp_path: Path) -> None:
    telemetry = Telemetry(1e-9, tmp_path)
    before = telemetry.look()
    held = [(tmp_path / str(i)).open("w") for i in range(20)]
    block = bytearray(os.urandom(1 << 10) * (64 << 10))  # 64 MiB, written to
    after = telemetry.look()
    telemetry.close()
    for each in held:
        each.close()
    assert before is not None
    assert after is not None
    assert after.open_files - before.open_files == 20
    assert after.memory_bytes - before.memory_bytes > len(block) // 2
    assert after.cpu_share > 0
    assert after.disk_free_bytes > 0


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
