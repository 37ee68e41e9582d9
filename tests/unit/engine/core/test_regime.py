"""Which regime, in which order, how it is held and left; the range label."""

from typing import Any

import numpy as np
import pytest

from engine.core.columns import FEATURE_INDEX
from engine.core.params import N_REGIMES, default_params
from engine.core.regime import (
    CHAOS_DATA,
    CHAOS_GAP,
    CHAOS_NONE,
    CHAOS_ONE_WAY,
    CHAOS_SPREAD,
    EXPANSION_COMPRESSED,
    EXPANSION_EXHAUSTED,
    EXPANSION_EXPANDED,
    EXPANSION_EXPANDING,
    EXPANSION_NONE,
    REGIME_CHAOS,
    REGIME_HIGH_VOLATILITY,
    REGIME_LOW_LIQUIDITY,
    REGIME_NAMES,
    REGIME_RANGE,
    REGIME_TREND,
    REGIME_UNKNOWN,
    SAMPLES_MIN,
    update_regime,
)
from engine.core.state import SYMBOL
from engine.core.tape import I_1H, I_1M, I_5M, W_MIDS

S = 1_000_000_000
T0 = 1_700_000_000 * S

CALM = {
    "spread_bps": 2.0,
    "spread_mean_bps": 2.0,
    "depth_bid_25": 50_000.0,
    "depth_ask_25": 50_000.0,
    "jump_z": 1.0,
    "flow_imbalance_1m": 0.2,
    "n_trades_1m": 40.0,
    "vol_percentile": 0.5,
    "drift_t_15m": 0.5,
}


class Walk:
    """One symbol whose features are set by hand, a moment at a time."""

    def __init__(self) -> None:
        self.symbol: Any = np.zeros(1, SYMBOL)[0]
        self.symbol["features"] = np.nan
        self.symbol["verified"], self.symbol["book_ts"] = 1, T0
        self.params = default_params()[0]
        self.now = T0

    def see(self, seconds: float = 60, **changes: float) -> tuple[int, int]:
        """Regime and chaos kind after `seconds` of a calm market with these changes."""
        self.now += int(seconds * S)
        for name, value in (CALM | changes).items():
            self.symbol["features"][FEATURE_INDEX[name]] = value
        update_regime(self.symbol, self.params, self.now)
        return int(self.symbol["regime"]), int(self.symbol["chaos_kind"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (REGIME_RANGE, CHAOS_NONE)),
        ({"drift_t_15m": 2.6}, (REGIME_TREND, CHAOS_NONE)),
        ({"drift_t_15m": -2.6}, (REGIME_TREND, CHAOS_NONE)),
        ({"vol_percentile": 0.91}, (REGIME_HIGH_VOLATILITY, CHAOS_NONE)),
        ({"spread_bps": 13.0}, (REGIME_CHAOS, CHAOS_SPREAD)),
        ({"jump_z": 8.1}, (REGIME_CHAOS, CHAOS_GAP)),
        ({"flow_imbalance_1m": -0.98}, (REGIME_CHAOS, CHAOS_ONE_WAY)),
        ({"flow_imbalance_1m": 1.0, "n_trades_1m": 19.0}, (REGIME_RANGE, CHAOS_NONE)),
        ({"depth_ask_25": 1_999.0}, (REGIME_LOW_LIQUIDITY, CHAOS_NONE)),
        ({"depth_bid_25": 0.0}, (REGIME_LOW_LIQUIDITY, CHAOS_NONE)),
        ({"spread_bps": 26.0}, (REGIME_LOW_LIQUIDITY, CHAOS_NONE)),
        ({"vol_percentile": np.nan}, (REGIME_UNKNOWN, CHAOS_NONE)),
        ({"drift_t_15m": np.nan}, (REGIME_UNKNOWN, CHAOS_NONE)),
        ({"spread_bps": np.nan}, (REGIME_UNKNOWN, CHAOS_NONE)),
        # the order of the tests
        ({"drift_t_15m": 9.0, "vol_percentile": 0.95}, (REGIME_HIGH_VOLATILITY, CHAOS_NONE)),
        ({"vol_percentile": 0.95, "jump_z": 9.0}, (REGIME_CHAOS, CHAOS_GAP)),
        ({"vol_percentile": np.nan, "jump_z": 9.0}, (REGIME_CHAOS, CHAOS_GAP)),
        ({"jump_z": 9.0, "depth_bid_25": 1.0}, (REGIME_LOW_LIQUIDITY, CHAOS_NONE)),
    ],
)
def test_first_sight(changes, expected):
    assert expected == Walk().see(**changes)


def test_a_book_in_doubt_is_chaos_and_no_book_yet_is_unknown():
    walk = Walk()
    walk.symbol["verified"] = 0
    assert (REGIME_CHAOS, CHAOS_DATA) == walk.see()
    walk.symbol["verified"] = 1
    assert (REGIME_RANGE, CHAOS_NONE) == walk.see()
    walk.symbol["verified"], walk.symbol["book_ts"] = 0, 0
    assert (REGIME_UNKNOWN, CHAOS_NONE) == walk.see()


@pytest.mark.parametrize(
    ("regime", "enter", "stay", "leave"),
    [
        (REGIME_TREND, {"drift_t_15m": 2.6}, {"drift_t_15m": 2.1}, {"drift_t_15m": 1.9}),
        (
            REGIME_HIGH_VOLATILITY,
            {"vol_percentile": 0.91},
            {"vol_percentile": 0.73},
            {"vol_percentile": 0.71},
        ),
        (REGIME_CHAOS, {"jump_z": 8.1}, {"jump_z": 6.5}, {"jump_z": 6.3}),
        (
            REGIME_LOW_LIQUIDITY,
            {"depth_bid_25": 1_990.0},
            {"depth_bid_25": 2_490.0},
            {"depth_bid_25": 2_510.0},
        ),
    ],
)
def test_a_regime_is_left_below_a_share_of_what_it_took_to_enter(regime, enter, stay, leave):
    walk = Walk()
    assert REGIME_RANGE == walk.see(**stay)[0]
    assert regime == walk.see(**enter)[0]
    assert regime == walk.see(**stay)[0]
    assert REGIME_RANGE == walk.see(**leave)[0]
    assert REGIME_RANGE == walk.see(**stay)[0]


def test_one_chaos_does_not_lower_the_threshold_of_another():
    walk = Walk()
    assert (REGIME_CHAOS, CHAOS_GAP) == walk.see(jump_z=9.0)
    assert (REGIME_RANGE, CHAOS_NONE) == walk.see(spread_bps=11.0)


def test_calm_regimes_stay_for_their_dwell():
    walk = Walk()
    walk.see(drift_t_15m=3.0)
    assert REGIME_TREND == walk.see(seconds=9.9)[0]
    assert REGIME_RANGE == walk.see(seconds=0.1)[0]


def test_danger_does_not_wait_but_its_end_does():
    walk = Walk()
    walk.see()
    assert REGIME_CHAOS == walk.see(seconds=1, jump_z=9.0)[0]
    assert (REGIME_CHAOS, CHAOS_GAP) == walk.see(seconds=1)
    assert REGIME_LOW_LIQUIDITY == walk.see(seconds=1, spread_bps=30.0)[0]
    assert REGIME_LOW_LIQUIDITY == walk.see(seconds=1)[0]
    assert REGIME_UNKNOWN == walk.see(seconds=1, vol_percentile=np.nan)[0]
    assert REGIME_TREND == walk.see(seconds=1, drift_t_15m=3.0)[0]


def test_regimes_fit_the_parameter_table():
    assert list(range(N_REGIMES)) == sorted(REGIME_NAMES)


@pytest.mark.parametrize(
    ("widths", "flow", "samples", "expected"),
    [
        ((10, 20, 200), 0.0, SAMPLES_MIN, EXPANSION_COMPRESSED),
        ((10, 50, 200), 0.0, SAMPLES_MIN, EXPANSION_NONE),
        ((60, 100, 200), 0.5, SAMPLES_MIN, EXPANSION_EXPANDING),
        ((30, 100, 200), 0.5, SAMPLES_MIN, EXPANSION_EXPANDED),
        ((60, 100, 200), 0.0, SAMPLES_MIN, EXPANSION_EXPANDED),
        ((20, 100, 200), 0.5, SAMPLES_MIN, EXPANSION_EXHAUSTED),
        ((60, 100, 200), -0.5, SAMPLES_MIN, EXPANSION_EXHAUSTED),
        ((60, 100, 200), np.nan, SAMPLES_MIN, EXPANSION_EXPANDED),
        ((60, 100, 200), 0.5, SAMPLES_MIN - 1, EXPANSION_NONE),
        ((0, 0, 0), 0.5, SAMPLES_MIN, EXPANSION_NONE),
    ],
)
def test_range_label(widths, flow, samples, expected):
    """Ranges of 1 m, 5 m, 1 h; a random walk would have 26 : 58 : 200. The price has risen."""
    walk = Walk()
    tape = walk.symbol["tape"]
    for i, width in zip((I_1M, I_5M, I_1H), widths, strict=True):
        tape["low"][i], tape["high"][i] = 1_000, 1_000 + width
    tape["sample_sums"][I_1H, W_MIDS] = samples
    walk.symbol["features"][FEATURE_INDEX["return_bps_5m"]] = 10.0
    walk.see(flow_imbalance_1m=flow)
    assert expected == walk.symbol["expansion"]
