"""A core's arrays in a file, and a copy of them that is quick to take again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.errors import DataError
from engine.session.state import StateHeader, copied, load_state, save_state

RECORD = np.dtype([("a", "<i8"), ("ring", "<f8", (3, 2)), ("small", "<i2")])
HEADER = StateHeader("log", 7, 1000, "c", "k", "paper", ("BTC/USD",))


def arrays() -> dict[str, np.ndarray]:
    made = {
        "glob": np.zeros(1, RECORD),
        "symbols": np.zeros(40_000, RECORD),  # more than is written at once
        "rest": np.arange(5)[::2],
        "none": np.zeros(0, RECORD),
    }
    made["symbols"]["a"] = np.arange(40_000)
    made["symbols"]["ring"][17] = np.nan
    return made


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return list(one) == list(other) and all(
        (each.dtype, each.shape, each.tobytes())
        == (other[name].dtype, other[name].shape, other[name].tobytes())
        for name, each in one.items()
    )


def test_what_was_saved_is_read_back(tmp_path: Path) -> None:
    save_state(tmp_path / "a.state", HEADER, arrays())

    header, found = load_state(tmp_path / "a.state")

    assert header == HEADER
    assert same(arrays(), found)


def test_numpy_reads_the_arrays_by_itself(tmp_path: Path) -> None:
    save_state(tmp_path / "a.state", HEADER, arrays())
    data = (tmp_path / "a.state").read_bytes()
    (tmp_path / "a.npz").write_bytes(data[data.index(b"PK") :])

    with np.load(tmp_path / "a.npz") as found:
        assert same(arrays(), dict(found))


def test_a_byte_that_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.state"
    save_state(path, HEADER, arrays())
    data = bytearray(path.read_bytes())
    data[-5000] ^= 1
    path.write_bytes(data)

    with pytest.raises(DataError, match="damaged"):
        load_state(path)


def test_a_copy_is_the_same_and_takes_the_memory_of_the_one_before() -> None:
    given = arrays()
    first = copied(given, {})
    assert same(given, first)
    given["symbols"]["a"] += 1
    assert not same(given, first), "it does not share memory with what it is a copy of"
    given["rest"] = np.arange(9)

    second = copied(given, first)

    assert same(given, second)
    assert second["symbols"] is first["symbols"]
    assert second["rest"] is not first["rest"]
