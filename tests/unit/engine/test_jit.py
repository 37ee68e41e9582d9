"""What is compiled when one kernel calls another, and what is not."""

from __future__ import annotations

import numpy as np
import pytest
from numba.core.caching import NullCache
from numba.core.codegen import CPUCodeLibrary

from engine.jit import JIT_ENABLED, entry_point, kernel

compiled_only = pytest.mark.skipif(not JIT_ENABLED, reason="without the JIT nothing is compiled")


@kernel
def scaled(x, factor):
    return x * factor + 1


@kernel
def twice(x):
    return scaled(x, 2) + scaled(x, 3)


@kernel
def row_sum(rows):
    total = 0
    for k in range(len(rows)):
        total += rows[k]["a"] * scaled(k, 1)
    return total


def part_of(compiled):
    """The dispatcher that callers link in."""
    return compiled.get_overload.__self__


def test_the_answer_is_that_of_the_plain_functions():
    assert twice(5) == (5 * 2 + 1) + (5 * 3 + 1)


@compiled_only
def test_one_version_of_a_callee_serves_all_constants():
    @kernel
    def times(x, factor):
        return x * factor

    @kernel
    def caller(x):
        return times(x, 2) + times(x, 3)

    caller._cache = NullCache()  # from the file cache it would come without its parts
    assert caller(5) == 25
    assert [tuple(map(str, each)) for each in part_of(times).overloads] == [("int64", "int64")]


@compiled_only
def test_only_the_caller_is_optimised_and_translated(monkeypatch):
    @kernel
    def callee(x):
        return x + 1

    @kernel
    def caller(x):
        return callee(x) * callee(x + 1)

    optimised = []
    optimise = CPUCodeLibrary._optimize_final_module
    monkeypatch.setattr(
        CPUCodeLibrary,
        "_optimize_final_module",
        lambda library: (optimised.append(library.name), optimise(library)),
    )
    caller._cache = NullCache()  # code from the file cache would not be optimised again
    assert caller(2) == 3 * 4
    assert [name.rpartition(".")[2] for name in optimised] == ["caller"]


@compiled_only
def test_python_can_call_a_callee_all_the_same():
    assert scaled(3, 4) == 13
    assert len(scaled.overloads) == 1


def test_an_entry_point_does_what_the_kernel_does():
    rows = np.zeros(4, [("a", "<i8"), ("b", "<f8", (3,))])
    rows["a"] = 1, 10, 100, 1000
    enter = entry_point(row_sum, rows)
    assert enter(rows) == row_sum(rows) == 1 * 1 + 10 * 2 + 100 * 3 + 1000 * 4
    assert enter(rows[:0]) == 0
