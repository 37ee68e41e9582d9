"""What a stage promises about itself, and what happens when it breaks it."""

from __future__ import annotations

import pytest
from numba import types

from adapters.cli.warm import LANES, NOT_FOR_REPLAY, PARTS, STAGES
from engine import stage as module
from engine.jit import JIT_ENABLED
from engine.stage import STAGE_NAMES, STAGE_RESULTS, Stage


@pytest.mark.skipif(not JIT_ENABLED, reason="without the JIT a stage is the plain function")
def test_a_stage_that_returns_something_else_than_it_declares_is_refused(monkeypatch):
    monkeypatch.setitem(STAGE_RESULTS, "enter", types.float64)

    def enter(i):
        return i + 1

    with pytest.raises(TypeError, match="enter returns int64, STAGE_RESULTS says float64"):
        Stage(enter).overload()


def test_every_part_is_compiled_in_one_lane_and_every_stage_in_one_part():
    compiled = [part for lane in LANES for part in lane]
    assert sorted(compiled) == sorted(PARTS)
    assert set(NOT_FOR_REPLAY) < set(compiled)
    named = [name for names in STAGES.values() for name in names]
    assert len(named) == len(set(named))
    assert set(named) < set(STAGE_NAMES)
    assert len(STAGE_NAMES) <= module.N_STAGES
