"""Each family of engine/core/families says what its formula says, whatever the market."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.columns import (
    FEATURE_INDEX,
    N_FAMILY_PARAMS,
    N_OUT,
    OUT_INVALIDATION_BPS,
    OUT_MOVE_BPS,
)
from engine.core.families.contract import P_HALF_LIFE_S, FamilyParameter
from engine.core.levels import level_features
from engine.core.records import OK, THESIS_INACTIVE
from engine.core.routes import FAMILY_NAMES, N_PLUGINS
from engine.core.tape import TAPE, tape_second, tape_trade
from engine.core.theses import FAMILY_PARAMETERS, ask_thesis, no_family
from engine.jit import JIT_ENABLED
from tests.naive import families as naive
from tests.support.scene import CALM, make_features

settings.register_profile("families", max_examples=300 if JIT_ENABLED else 60, deadline=None)
some = settings.get_profile("families")
NO_PLUGINS = (no_family,) * N_PLUGINS
CODES = {name: code for code, name in FAMILY_NAMES.items()}
SIGNED = ("return", "drift", "imbalance", "microprice", "vwap_z", "acceleration")


@st.composite
def markets(draw: Any) -> dict[str, float]:
    """The calm market with a scale of its own, and everything a family looks at drawn anew."""
    f = dict(CALM) | {"horizon": draw(st.sampled_from([10.0, 60.0, 300.0, 900.0])), "inventory": 0}
    for name in list(f):
        if name.startswith(SIGNED):
            size = 1.0 if "imbalance" in name else 60.0 if "return" in name else 5.0
            f[name] = draw(st.floats(-size, size))
        elif name.startswith(("high_bps", "low_bps", "vol_bps", "atr")):
            f[name] = draw(st.floats(0.5, 20.0))
        elif name.startswith(("refill", "range_percentile")):
            f[name] = draw(st.floats(0.0, 1.0))
        elif name.startswith("queue_wait"):
            f[name] = draw(st.floats(0.0, 60.0))
        elif name.startswith(("buy_notional", "sell_notional")):
            f[name] *= draw(st.floats(0.2, 4.0))
    for name in ("bar_high_20", "prior_high_40"):
        f[name] = 10_000.0 + draw(st.integers(-5, 20))
    for name in ("bar_low_20", "prior_low_40"):
        f[name] = 10_000.0 - draw(st.integers(6, 20))
    f["mid"] += draw(st.integers(-25, 25))
    f["ignition_state"] = float(draw(st.integers(0, 4)))
    f["ignition_direction"] = float(draw(st.sampled_from([-1, 1])))
    for taker in ("buy", "sell"):
        known = draw(st.booleans())
        f[f"sweep_levels_{taker}"] = float(draw(st.integers(1, 9))) if known else float("nan")
        f[f"sweep_bps_{taker}"] = draw(st.floats(0.0, 30.0)) if known else float("nan")
        f[f"sweep_age_{taker}"] = draw(st.floats(0.0, 8.0)) if known else float("nan")
    return f


def eased(parameter: FamilyParameter, always: bool) -> float:
    """The default, or the value at which this threshold stops nobody."""
    name = parameter.name
    if always and ("_min" in name or name in ("break_atr", "impulse_atr")):
        return parameter.low if name != "step_min_bps" else 0.1
    if always and ("_max" in name or name in ("near_atr", "box_share")):
        return min(parameter.high, 1e6)
    return parameter.default


@pytest.mark.parametrize("name", sorted(naive.FAMILIES))
@some
@given(market=markets(), half=st.sampled_from([10.0, 60.0, 300.0]), ease=st.booleans())
def test_the_kernel_says_what_the_formula_says(
    name: str, market: dict[str, float], half: float, ease: bool
) -> None:
    parameters = FAMILY_PARAMETERS[CODES[name]]
    values = {each.name: eased(each, ease) for each in parameters}
    given_params = np.zeros(N_FAMILY_PARAMS)
    given_params[: len(parameters)] = list(values.values())
    given_params[P_HALF_LIFE_S] = half
    out = np.zeros(N_OUT)
    expected = naive.FAMILIES[name](market, values, half)

    code = ask_thesis(CODES[name], make_features(market), given_params, out, NO_PLUGINS)

    assert (THESIS_INACTIVE if expected is None else OK) == code
    if expected is not None:
        assert expected[0] == pytest.approx(out[OUT_MOVE_BPS], rel=1e-9)
        assert max(expected[1], market["tick_bps"]) == pytest.approx(
            out[OUT_INVALIDATION_BPS], rel=1e-9
        )


MINUTE = 60_000_000_000


@settings(parent=some, max_examples=20)
@given(
    prices=st.lists(st.integers(900, 1_100), min_size=1, max_size=90),
    mids=st.lists(st.integers(1_800, 2_200), min_size=1, max_size=30),
)
def test_levels_are_the_extremes_of_what_was_seen(prices: list[int], mids: list[int]) -> None:
    """One trade a minute, so that each is a candle; then one mid per second."""
    start = 1_700_000_000 * 1_000_000_000 // MINUTE * MINUTE
    tapes = np.zeros(1, TAPE)
    tape = tapes[0]
    for k, price in enumerate(prices):
        tape_trade(tape, price, 1, 1, 1, start + k * MINUTE)
    now = start + len(prices) * MINUTE
    for k, mid in enumerate(mids):
        tape_second(tape, mid, now + k * 1_000_000_000)
    features, observations = make_features(), np.zeros(len(FEATURE_INDEX), np.int64)

    level_features(features, observations, tape)

    def seen(feature: str) -> float:
        return float(features[FEATURE_INDEX[feature]])

    if len(prices) >= 60:
        before = prices[-60:-20]
        assert (max(before), min(before)) == (seen("prior_high_40"), seen("prior_low_40"))
    else:
        assert np.isnan([seen("prior_high_40"), seen("prior_low_40")]).all()
    for name, seconds in (("10s", 10), ("1m", 60)):
        window = mids[-seconds:]
        if len(window) < 2:
            assert np.isnan(seen(f"high_bps_{name}"))
            continue
        high, low = (max(window) / mids[-1] - 1) * 1e4, (1 - min(window) / mids[-1]) * 1e4
        assert high == pytest.approx(seen(f"high_bps_{name}"), abs=1e-9)
        assert low == pytest.approx(seen(f"low_bps_{name}"), abs=1e-9)
