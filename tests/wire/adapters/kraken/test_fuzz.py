"""The fuzzer, shortly; `make fuzz` runs it for longer and from a new seed."""

import pytest

from tests.wire.fuzz import run


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_frames_give_events_or_a_named_refusal(seed):
    counts = run(seed, n_frames=8000)

    # It must have been everywhere, or it proves little.
    assert counts["quick"] > 300
    assert counts["Refused"] > 1000
    assert counts["trouble: checksum"] > 100
    assert counts["trouble: number"] > 100
    assert counts["events"] > 10_000
