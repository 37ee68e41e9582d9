"""The wider features against their plain formulas, on made-up markets and drawn numbers."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.columns import FEATURE_INDEX, FEATURES, N_FEATURES_PLAIN
from engine.core.daytime import centres_open, update_daytime
from engine.core.drift import rank_movers
from engine.core.features import compute_features
from engine.core.forecast import forecast_of
from engine.core.ignition import IGNITION, IGNITION_NAMES, measure_minute, next_state
from engine.core.state import SYMBOL
from engine.core.wide import widen_features
from engine.numerics import float_bits
from tests.naive import wide
from tests.naive.features import features as plain_features
from tests.support.market import histories, lived
from tests.support.scene import make_params

S = 1_000_000_000
HOUR = 3600 * S
PARAMS = make_params()[0]
WIDE = FEATURES[N_FEATURES_PLAIN : FEATURE_INDEX["edge_score"] + 1]
LATER = ("sweep_", "refill_", "queue_", "cancel_", "order_life", "l3_")
ELSEWHERE = ("score_", "forecast_", "edge_score", "tod_", "ignition_", "mover_")  # own tests below


def value_of(symbol: Any, name: str) -> float:
    return float(symbol["features"][FEATURE_INDEX[name]])


def compare(market: Any) -> None:
    symbol = market.symbol
    measure_minute(symbol["ignition"], symbol["tape"])
    compute_features(symbol, market.now)
    widen_features(symbol, PARAMS, market.now)
    plain = plain_features(market.naive, market.now)
    expected = wide.of_shape(market.naive)
    expected |= wide.of_drift(market.naive.tape, plain)
    expected |= wide.of_minutes(market.naive.tape, plain)
    expected |= wide.of_ignition(market.naive.tape, plain)
    assert expected.keys() <= FEATURE_INDEX.keys()
    for each in WIDE:
        if each.name.startswith(ELSEWHERE):
            continue
        value, n = expected.get(each.name, (math.nan, 0))
        actual = float(symbol["features"][FEATURE_INDEX[each.name]])
        if n < each.observations_min:
            assert math.isnan(actual), each.name
        else:
            assert n == symbol["observations"][FEATURE_INDEX[each.name]], each.name
            assert value == pytest.approx(actual, rel=1e-7, abs=1e-6, nan_ok=True), each.name
    for value in symbol["features"]:
        assert not (value == 0.0 and math.copysign(1.0, value) < 0)
        assert not math.isnan(value) or float_bits(math.nan) == float_bits(value)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), history=histories)
def test_wide_features_equal_their_plain_formulas(seed, history):
    compare(lived(seed, history))


LONG = {
    "four hours and more": [("coarse", 15_000, 1), ("quiet", 90, 1)],
    "busy after a silence of half an hour": [
        ("busy", 90, 1),
        ("silence", 1800, 1),
        ("busy", 90, 1),
    ],
    "candles begin anew": [("coarse", 5000, 1), ("silence", 14_460, 1), ("coarse", 2000, 1)],
    "a book lost for a while": [("quiet", 700, 1), ("no book", 40, 1), ("quiet", 300, 1)],
}


@pytest.mark.parametrize("name", LONG)
def test_wide_features_of_long_histories(name):
    market = lived(len(name), LONG[name])
    compare(market)
    for _ in range(3):
        market.run("quiet", 1)
        compare(market)
    if name == "four hours and more":
        named = [each.name for each in WIDE]
        first, last = named.index("depth_bid_10"), named.index("acceleration")
        unknown = [n for n in named[first : last + 1] if math.isnan(value_of(market.symbol, n))]
        # Ranks need the other symbols, a change of drift a sample at each of three seconds.
        assert all(n.startswith(("mover_rank", "drift_change", *LATER)) for n in unknown), unknown


@settings(max_examples=50)
@given(st.lists(st.sampled_from([math.nan, -2.0, -1.0, 0.0, 1.0, 2.0]), min_size=1, max_size=7))
def test_the_rank_of_movers_is_a_share_of_the_others(returns):
    symbols = np.zeros(len(returns), SYMBOL)
    symbols["features"][:, FEATURE_INDEX["return_bps_5m"]] = returns
    rank_movers(symbols)
    for i, mine in enumerate(returns):
        others = [abs(x) for k, x in enumerate(returns) if k != i and not math.isnan(x)]
        expected = 0.5
        if math.isnan(mine):
            expected = math.nan
        elif others:
            below = sum(1 for x in others if x < abs(mine))
            expected = (below + sum(1 for x in others if x == abs(mine)) / 2) / len(others)
        actual = symbols["features"][i, FEATURE_INDEX["mover_rank_5m"]]
        assert expected == pytest.approx(actual, nan_ok=True)


values = st.floats(-4, 4) | st.just(math.nan)


@given(st.fixed_dictionaries({name: values for name in wide.WEIGHTS}))
def test_the_forecast_equals_its_plain_formula(inputs):
    features = np.full(len(FEATURES), np.nan)
    for name, value in inputs.items():
        features[FEATURE_INDEX[name]] = value
    score, confidence, n = forecast_of(features, PARAMS)
    expected = wide.forecast(inputs)
    assert expected == pytest.approx((score, confidence, n), rel=1e-9, abs=1e-12, nan_ok=True)
    if n:
        assert -1 < score < 1
        assert 0 <= confidence <= 1 + 1e-12


@given(st.integers(946_684_800, 4_102_444_799))  # 2000 to 2099
def test_open_centres_are_those_of_the_time_zone_database(second):
    # From 2007 on the US changes clocks as today.
    if second >= 1_167_609_600:
        assert wide.centres_open(second) == centres_open(second)


@pytest.mark.parametrize("year_start", [1_735_689_600, 1_767_225_600, 1_830_297_600])
def test_open_centres_at_every_hour_of_a_year(year_start):
    for hour in range(0, 366 * 24):
        second = year_start + hour * 3600 + 1800
        assert wide.centres_open(second) == centres_open(second), second


@settings(max_examples=30)
@given(
    start=st.integers(400_000, 600_000),
    spans=st.lists(
        st.tuples(st.sampled_from([1, 1, 1, 2, 30]), st.floats(0, 50) | st.just(math.nan)),
        max_size=60,
    ),
)
def test_the_multiplier_of_the_hour_equals_its_plain_formula(start, spans):
    symbol = np.zeros(1, SYMBOL)[0]
    features = symbol["features"]
    features[FEATURE_INDEX["spread_mean_bps"]] = 2.0
    seen = []
    hour = start
    update_daytime(symbol, PARAMS, hour * HOUR)
    for span, vol in spans:
        features[FEATURE_INDEX["vol_bps_1h"]] = vol
        if span == 1 and not math.isnan(vol):
            seen.append((hour, vol / 2))
        hour += span
        update_daytime(symbol, PARAMS, hour * HOUR + 5)
        update_daytime(symbol, PARAMS, hour * HOUR + 6)  # only the first look in an hour counts
    expected = wide.tod_multiplier(seen, hour, 4.0) if any(y for _, y in seen) else 1.0
    assert expected == pytest.approx(float(symbol["daytime"]["multiplier"]), rel=1e-9)


numbers = st.sampled_from([math.nan, -3.0, -1.5, -0.6, 0.0, 0.1, 0.2, 0.5, 0.6, 0.8, 1.0, 3.0, 4.0])


@settings(max_examples=500)
@given(
    state=st.sampled_from(sorted(IGNITION_NAMES)),
    direction=st.sampled_from([-1, 1]),
    age_s=st.sampled_from([0, 119, 120, 599, 600, 1799, 1800, 3599, 3600]),
    measures=st.tuples(*[numbers] * 6),
    missing=st.sampled_from([0, 5, 6]),
    prices=st.tuples(*[st.integers(100, 103)] * 3),
)
def test_the_ignition_machine_equals_its_table(state, direction, age_s, measures, missing, prices):
    ignition = np.zeros(1, IGNITION)[0]
    ignition["state"], ignition["direction"] = state, direction
    ignition["measures"][:] = measures
    ignition["n_missing"] = missing
    ignition["close"], ignition["base"], ignition["fired"] = prices
    seen = dict(
        zip(
            ("range", "burst", "body", "position", "flow", "acceleration"),
            measures,
            strict=True,
        ),
        missing=missing,
    )
    after, sign = next_state(ignition, PARAMS, age_s * S)
    expected = wide.ignition_next(
        IGNITION_NAMES[state],
        direction,
        age_s,
        seen,
        dict(zip(("close", "base", "fired"), prices, strict=True)),
    )
    assert expected == (IGNITION_NAMES[after], sign)
