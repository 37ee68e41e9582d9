"""How forceful exits are and what the tape did since entry, against rules written as a list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.core.exits import (
    EXIT_COVERAGE_MISSING,
    EXIT_EMERGENCY,
    EXIT_STOP_REFUSED,
    EXIT_TIME,
    PATH_NAMES,
    URGENCY_NAMES,
)
from engine.core.regime import REGIME_NAMES
from engine.core.urgency import exit_regime, path_since_entry
from engine.events import MODE_EMERGENCY, MODE_NORMAL
from tests.naive import exits as naive
from tests.support.scene import make_params

NAN = float("nan")
S = 1_000_000_000
UNSAFE = {EXIT_EMERGENCY, EXIT_STOP_REFUSED, EXIT_COVERAGE_MISSING}


def known(value: float | None) -> float:
    return NAN if value is None else value


maybe = st.none() | st.sampled_from([-1.0, 0.0, 0.49, 0.5, 0.99, 1.0, 1.01, 2.99, 3.0, 9.0])


@given(
    mode=st.sampled_from([MODE_NORMAL, MODE_EMERGENCY]),
    reason=st.sampled_from([0, EXIT_TIME, *sorted(UNSAFE)]),
    regime=st.sampled_from(sorted(REGIME_NAMES)),
    stress=maybe,
    loss=maybe,
)
def test_urgency_is_the_first_rule_that_holds(mode, reason, regime, stress, loss):
    expected = naive.urgency(
        mode == MODE_EMERGENCY, reason in UNSAFE, REGIME_NAMES[regime], stress, loss
    )
    found = exit_regime(make_params()[0], mode, reason, regime, known(stress), known(loss))
    assert expected == URGENCY_NAMES[int(found)]


near = st.sampled_from([-30.0, -0.1, 0.0, 0.1, 4.9, 5.0, 5.1, 9.9, 10.0, 20.0, 40.0])


@given(
    gain=near, more=near.filter(lambda x: x >= 0), still_s=st.sampled_from([0, 59, 60, 61]),
    flow=st.none() | st.sampled_from([-1.0, -0.3, -0.29, 0.0, 1.0]),
    cover=st.none() | st.sampled_from([0.0, 0.99, 1.0, 5.0]),
)  # fmt: skip
def test_the_path_is_the_first_rule_that_holds(gain, more, still_s, flow, cover):
    best = gain + more
    expected = naive.path(gain, best, still_s, flow, cover)
    found = path_since_entry(make_params()[0], gain, best, still_s * S, known(flow), known(cover))
    assert expected == PATH_NAMES[int(found)]
