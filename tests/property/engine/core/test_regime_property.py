"""Regimes against a table of tests, over sequences of features that hover around the thresholds."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.core.columns import FEATURE_INDEX
from engine.core.params import default_params
from engine.core.regime import CHAOS_NAMES, REGIME_NAMES, update_regime
from engine.core.state import SYMBOL
from tests.naive.regime import NaiveRegime, next_regime

S = 1_000_000_000
KEYS = (
    "depth_min",
    "spread_low_liquidity_bps",
    "jump_z_chaos",
    "spread_blowout",
    "one_way",
    "one_way_trades",
    "vol_percentile_high",
    "drift_t_trend",
    "hysteresis",
    "dwell_ns",
)


def around(threshold: float, calm: float) -> st.SearchStrategy[float]:
    """Mostly calm; else below the leaving threshold, between the two, above, or unknown."""
    levels = [threshold * x for x in (0.7, 0.79, 0.81, 0.99, 1.01, 1.2, 1.3)]
    return st.one_of(st.just(calm), st.just(calm), st.sampled_from([*levels, math.nan]))


steps = st.fixed_dictionaries(
    {
        "spread_bps": st.sampled_from([2.0, 2.0, 2.0, 9.0, 11.0, 13.0, 21.0, 26.0, math.nan]),
        "spread_mean_bps": st.sampled_from([2.0, 2.0, 2.0, 10.0, math.nan]),
        "depth_bid_25": around(2_000.0, 9_000.0),
        "depth_ask_25": around(2_000.0, 9_000.0),
        "jump_z": around(8.0, 1.0),
        "flow_imbalance_1m": around(0.97, 0.1).map(lambda x: max(-1.0, min(1.0, x))),
        "n_trades_1m": st.sampled_from([0.0, 19.0, 20.0, 100.0]),
        "vol_percentile": around(0.90, 0.5),
        "drift_t_15m": around(2.5, 0.0).flatmap(lambda x: st.sampled_from([x, -x])),
    }
)
moments = st.tuples(
    st.integers(0, 12).map(lambda s: s * S),  # since the step before
    steps,
    st.sampled_from([True, True, True, True, True, False]),  # verified
    st.sampled_from([True, True, True, False]),  # had a book
)


@given(sequence=st.lists(moments, min_size=1, max_size=30))
def test_regimes_follow_the_table(sequence):
    params = default_params()[0]
    by_name = {key: float(params[f"regime_{key}"]) for key in KEYS}
    symbol = np.zeros(1, SYMBOL)[0]
    symbol["features"] = np.nan
    expected, now = NaiveRegime(), 1_700_000_000 * S
    for dt, features, verified, had_book in sequence:
        now += dt
        for name, value in features.items():
            symbol["features"][FEATURE_INDEX[name]] = value
        symbol["verified"], symbol["book_ts"] = verified, now if had_book else 0
        update_regime(symbol, params, now)
        expected = next_regime(expected, features, by_name, verified, had_book, now)
        assert expected.name == REGIME_NAMES[int(symbol["regime"])]
        assert expected.chaos == CHAOS_NAMES[int(symbol["chaos_kind"])]
        assert expected.since == symbol["regime_ts"]
