"""What earlier forecasts teach: against the naive twin, and on moves whose law is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.calibration import (
    CALIBRATION,
    FORECASTS,
    expected_sd_bps,
    learnt_share,
    learnt_variance,
    note_forecast,
    settle_forecasts,
)
from engine.jit import JIT_ENABLED
from tests.naive import calibration as naive
from tests.support.scene import make_features

S = 1_000_000_000
T0 = 1_700_000_000 * S
MID = 2_000_000
few = settings(max_examples=40 if JIT_ENABLED else 10, deadline=None)


def fresh() -> tuple[Any, Any]:
    return np.zeros(1, FORECASTS)[0], np.zeros(1, CALIBRATION)[0]


def live(made: list[tuple[int, int, float, float, int]]) -> tuple[Any, list[naive.Settled]]:
    """One after the other: (family, market, move, sd, how many half ticks the mid then moves)."""
    forecasts, calibration = fresh()
    settled = []
    for k, (family, market, move, sd, moved) in enumerate(made):
        now = T0 + k * 100 * S
        note_forecast(forecasts, family, 2, now + 60 * S, MID, move, sd, market)
        settle_forecasts(forecasts, calibration, MID + 5, now + 59 * S)  # not yet
        settle_forecasts(forecasts, calibration, MID + moved, now + 60 * S)
        settled.append((family, market, move / sd, moved / MID * 1e4 / sd))
    return calibration, settled


@few
@given(
    made=st.lists(
        st.tuples(
            st.sampled_from([0, 6, 23]),
            st.integers(0, 3),
            st.floats(-30.0, 30.0),
            st.floats(0.5, 20.0),
            st.integers(-20_000, 20_000),
        ),
        max_size=25,
    )
)
def test_share_and_width_are_those_of_the_whole_list(
    made: list[tuple[int, int, float, float, int]],
) -> None:
    calibration, settled = live(made)

    for family in (0, 6, 23):
        expected = naive.share(settled, family)
        assert expected == pytest.approx(learnt_share(calibration, family), rel=1e-9, abs=1e-12)
    for market in range(4):
        expected = naive.variance(settled, market, 1.4)
        assert expected == pytest.approx(learnt_variance(calibration, market, 1.4), rel=1e-9)


def test_a_family_whose_moves_never_come_is_believed_less_and_one_whose_do_keeps_its_word() -> None:
    draws = np.random.default_rng(3).normal(size=400)
    nothing, _ = live([(6, 0, 10.0, 10.0, int(z * 10 / 1e4 * MID)) for z in draws])
    all_of_it, _ = live([(6, 0, 10.0, 10.0, int((z + 1) * 10 / 1e4 * MID)) for z in draws])

    assert 0.0 == pytest.approx(learnt_share(nothing, 6), abs=0.15)
    assert 1.0 == pytest.approx(learnt_share(all_of_it, 6), abs=0.15)
    assert 1.0 == learnt_share(nothing, 5)  # of a family that was never judged nothing is known


@pytest.mark.parametrize("wider", [0.5, 2.0])
def test_the_width_follows_what_was_missed(wider: float) -> None:
    draws = np.random.default_rng(4).normal(size=600) * wider
    calibration, _ = live([(6, 2, 0.0, 10.0, int(z * 10 / 1e4 * MID)) for z in draws])

    assert wider**2 == pytest.approx(learnt_variance(calibration, 2, 1.0), rel=0.3)
    assert 1.4 == learnt_variance(calibration, 1, 1.4)


def test_a_forecast_waits_for_the_one_before_it_and_a_late_mid_teaches_nothing() -> None:
    forecasts, calibration = fresh()
    note_forecast(forecasts, 1, 0, T0 + 10 * S, MID, 5.0, 5.0, 0)
    note_forecast(forecasts, 1, 0, T0 + 20 * S, MID, 9.0, 5.0, 0)  # the first is open still
    assert T0 + 10 * S == forecasts["next_due"]

    settle_forecasts(forecasts, calibration, MID, T0 + 13 * S)

    assert 0 == forecasts["next_due"] == forecasts["due"].sum()
    assert 0.0 == calibration["xx"].sum() == calibration["n"].sum()


vols = st.one_of(st.just(math.nan), st.floats(0.1, 100.0))


@few
@given(one=vols, quarter=vols, hour=vols, seconds=st.floats(1.0, 10_000.0))
def test_the_expected_volatility_is_the_mean_of_what_the_windows_imply(
    one: float, quarter: float, hour: float, seconds: float
) -> None:
    features = make_features({"vol_bps_1m": one, "vol_bps_15m": quarter, "vol_bps_1h": hour})
    expected = naive.expected_sd({60: one, 900: quarter, 3600: hour}, seconds, 7.0)

    assert expected == pytest.approx(expected_sd_bps(features, seconds, 7.0), rel=1e-12)
