"""compute_features against the naive twin, feature by feature, with the observations behind each."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.columns import FEATURE_INDEX, FEATURES, N_FEATURES_PLAIN
from engine.core.features import compute_features
from engine.numerics import float_bits
from tests.naive.features import features as naive_features
from tests.support.market import histories, lived

PLAIN = FEATURES[:N_FEATURES_PLAIN]
SET_BY_CALLER = ("horizon", "inventory")
# Fits in floats, or with a logarithm of what is nearly 1, keep fewer digits.
FITS = {"reversion_half_life": 1e-6, "ofi_slope": 1e-5}


def compare(market) -> None:
    symbol = market.symbol
    compute_features(symbol, market.now)
    expected = naive_features(market.naive, market.now)
    assert {each.name for each in PLAIN} == expected.keys() | set(SET_BY_CALLER)
    for each in PLAIN:
        if each.name in SET_BY_CALLER:
            continue
        value, n = expected[each.name]
        actual = float(symbol["features"][FEATURE_INDEX[each.name]])
        assert n == symbol["observations"][FEATURE_INDEX[each.name]], each.name
        if n < each.observations_min:
            assert math.isnan(actual), each.name
        else:
            rel = FITS.get(each.name, 1e-8)
            assert value == pytest.approx(actual, rel=rel, abs=1e-9, nan_ok=True), each.name


@settings(max_examples=50)  # the twin takes a tenth of a second for each
@given(seed=st.integers(0, 2**32), history=histories)
def test_features_equal_their_plain_formulas(seed, history):
    compare(lived(seed, history))


LONG = {
    "an hour and more of samples": [("coarse", 7500, 1), ("quiet", 420, 1)],
    "twenty minutes of seconds": [("quiet", 700, 1), ("busy", 320, 1), ("trend", 180, 1)],
    "a trend that freezes": [("trend", 330, 1), ("frozen", 100, 1), ("quiet", 30, 1)],
    "a lost book, an hour of silence": [
        ("busy", 310, 1),
        ("no book", 40, 1),
        ("quiet", 200, 1),
        ("silence", 3599, 1),
        ("quiet", 330, 1),
    ],
    "silence of just over an hour": [("quiet", 320, 1), ("silence", 3601, 1), ("quiet", 320, 1)],
    "four hours between trades": [("quiet", 120, 1), ("silence", 14460, 1), ("busy", 320, 1)],
}


@pytest.mark.parametrize("name", LONG)
def test_features_of_long_histories(name):
    """Long enough for the hourly windows to turn over and for every feature to have a value."""
    market = lived(len(name), LONG[name])
    compare(market)
    for _ in range(3):
        market.run("quiet", 1)
        compare(market)


@given(seed=st.integers(0, 2**32), history=histories)
def test_every_value_has_one_bit_pattern(seed, history):
    """No second NaN, no negative zero: records and digests compare bytes."""
    market = lived(seed, history)
    compute_features(market.symbol, market.now)
    for value in market.symbol["features"]:
        assert not (value == 0.0 and math.copysign(1.0, value) < 0)
        if math.isnan(value):
            assert float_bits(float("nan")) == float_bits(value)


@given(seed=st.integers(0, 2**32), history=histories)
def test_computing_twice_changes_nothing(seed, history):
    """Features remember nothing, so an extra evaluation cannot change a later one."""
    market = lived(seed, history)
    compute_features(market.symbol, market.now)
    once = market.array.tobytes()
    compute_features(market.symbol, market.now)
    assert once == market.array.tobytes()
