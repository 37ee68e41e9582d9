"""The second model of the edge: its paths against a naive twin, and what must hold of any of them."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.adaptive import (
    CALM_RANGE,
    CALM_TREND,
    END_STOP,
    END_TARGET,
    END_TIME,
    END_TRAIL,
    N_ENDS,
    N_PATHS,
    N_STEPS,
    PATHS,
    STRESSED_RANGE,
    STRESSED_TREND,
    draw_paths,
    judge_candidate,
    market_label,
    sum_up,
    tier_chance,
    walk_paths,
)
from engine.core.columns import FEATURE_INDEX
from engine.core.records import ADAPTIVE_ROW, CANDIDATE_ROW
from engine.core.routes import FAMILY_MOMENTUM, route_key
from tests.naive import adaptive as naive
from tests.support.scene import make_features, make_params, make_scene

FEES = {"time": 3.0, "stop": 10.0, "trail": 10.0, "target": 1.0}


def drawn(seed: int = 7) -> Any:
    paths = np.zeros(1, PATHS)[0]
    draw_paths(paths, seed)
    return paths


PLAIN = {"start": 0.0, "move": 5.0, "sd": 10.0, "wide": 0.1, "wide_sd": 3.0, "half_life_s": 60.0,
         "horizon_s": 60.0, "hold_s": 60.0, "stop": 25.0, "trail_from": 15.0, "trail": 10.0, "target": 20.0}  # fmt: skip


def judge(
    paths: Any, cost: float = 2.0, leave: float = 0.0, **changes: float
) -> tuple[Any, dict[str, float]]:
    """The row of the kernels, and what the naive twin says of the same paths."""
    told = PLAIN | changes
    row = np.zeros(1, ADAPTIVE_ROW)[0]
    fees = np.zeros(N_ENDS)
    for end, name in ((END_TIME, "time"), (END_STOP, "stop"), (END_TRAIL, "trail"),
                      (END_TARGET, "target")):  # fmt: skip
        fees[end] = FEES[name]
    order = ("start", "move", "sd", "wide", "wide_sd", "half_life_s", "horizon_s", "hold_s", "stop",
             "trail_from", "trail", "target")  # fmt: skip
    walk_paths(paths, *(float(told[name]) for name in order), fees, leave, row)
    sum_up(paths, cost, row)
    ends = naive.walk(paths["steps"].tolist(), paths["width"].tolist(), **told)
    return row, naive.figures(ends, FEES, leave, cost, told["target"])


bps = st.floats(0.1, 80.0)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**31), move=st.floats(-30.0, 60.0), sd=st.floats(0.0, 60.0),
    wide=st.floats(0.0, 1.0), stop=bps, trail_from=bps, trail=bps,
    target=st.just(0.0) | bps, half_life_s=st.sampled_from([5.0, 60.0, 3_600.0]),
    start=st.floats(-5.0, 5.0), hold_s=st.sampled_from([60.0, 180.0]), leave=st.floats(-2.0, 2.0),
)  # fmt: skip
def test_every_path_ends_as_the_naive_one(seed, **told):
    row, expected = judge(drawn(seed), **told)
    for name, value in expected.items():
        assert value == pytest.approx(float(row[name]), abs=1e-7), name
    shares = sum(float(row[f"{end}_share"]) for end in naive.ENDS)
    assert 1.0 == pytest.approx(shares)
    assert row["q10_bps"] <= row["q50_bps"] <= row["q90_bps"]
    assert row["trimmed_bps"] <= row["v2_net_bps"] + 1e-9


def test_paths_are_mirrored_and_the_same_for_the_same_seed():
    one, same, other = drawn(3), drawn(3), drawn(4)
    assert one.tobytes() == same.tobytes() != other.tobytes()
    half = N_PATHS // 2
    assert (one["steps"][:half] == -one["steps"][half:]).all()
    assert one["steps"].shape == (N_PATHS, N_STEPS)
    assert 0.9 < one["steps"].std() < 1.1


def test_without_noise_the_outcome_is_the_move_less_what_it_costs():
    row, _ = judge(drawn(), sd=0.0, target=0.0)
    assert 5.0 - 3.0 - 2.0 == pytest.approx(float(row["v2_net_bps"]))
    assert row["q10_bps"] == row["q90_bps"]
    assert 1.0 == row["time_share"]


def test_a_walk_without_an_edge_loses_its_costs():
    """Mirrored paths, and ends so far away that none is met: the mean is exactly the costs."""
    row, _ = judge(drawn(), move=0.0, stop=1e6, trail_from=1e6, target=0.0)
    assert -5.0 == pytest.approx(float(row["v2_net_bps"]))


def test_wide_paths_lower_the_low_quantile_and_a_lucky_tail_does_not_carry():
    calm, _ = judge(drawn(), wide=0.0, stop=1e6, trail_from=1e6, target=0.0)
    wild, _ = judge(drawn(), wide=0.5, stop=1e6, trail_from=1e6, target=0.0)
    assert wild["q10_bps"] < calm["q10_bps"]
    assert wild["trimmed_bps"] < calm["trimmed_bps"]
    assert float(calm["v2_net_bps"]) == pytest.approx(float(wild["v2_net_bps"]))


@pytest.mark.parametrize(
    ("t", "percentile", "label"),
    [
        (1.9, 0.5, CALM_RANGE),
        (-1.9, 0.8, STRESSED_RANGE),
        (-2.0, 0.79, CALM_TREND),
        (2.0, 0.8, STRESSED_TREND),
        (np.nan, np.nan, CALM_RANGE),
    ],
)
def test_the_kind_of_market_is_trend_by_stress(t, percentile, label):
    features = make_features({"drift_t_15m": t, "vol_percentile": percentile})
    assert label == market_label(features, make_params()[0])


def test_the_next_fee_tier_counts_by_how_far_this_order_brings_us():
    core = make_scene()
    params, glob = core.params[0], core.glob[0]
    assert (0.0, 0.0) == tier_chance(params, glob, 10**10)  # the scene has one tier
    params["n_fee_tiers"] = 3
    params["fee_volume"][:3] = (0, 1_000, 5_000)
    params["fee_taker_e6"][:3] = (1_000, 800, 500)
    assert (0.25, 2.0) == tier_chance(params, glob, 250)
    glob["volume"] = 1_000
    assert (0.5, 3.0) == tier_chance(params, glob, 2_000)
    assert (1.0, 3.0) == tier_chance(params, glob, 9_000)
    glob["volume"] = 5_000
    assert (0.0, 0.0) == tier_chance(params, glob, 250)
    glob["volume"], glob["fee_ts"] = 0, 1
    assert (0.0, 0.0) == tier_chance(params, glob, 250)


def test_its_paths_trail_and_take_as_far_away_as_a_position_would():
    """Fees of 40 bps each way: a position trails no closer than both (order-life.md), so neither do paths."""
    core = make_scene({"atr_bps": 3.0}, fee_taker_e6=4_000)
    params, symbol = core.params[0], core.symbols[0]
    candidate = np.zeros(1, CANDIDATE_ROW)[0]
    candidate["horizon_s"], candidate["move_sd_bps"], candidate["gross_bps"] = 900, 80.0, 60.0
    candidate["entry_fee_bps"], candidate["exit_fee_bps"] = 40.0, 40.0
    candidate["route"] = route_key(0, FAMILY_MOMENTUM, 3, 1, 1, 0)
    row = np.zeros(1, ADAPTIVE_ROW)[0]
    draw_paths(core.glob[0]["paths"], int(params["seed"]))
    judge_candidate(core, 0, candidate, row)
    vol = float(symbol["features"][FEATURE_INDEX["vol_bps_15m"]])
    widths = core.glob[0]["paths"]
    rates = [float(symbol["features"][FEATURE_INDEX[f"vol_bps_{name}"]]) ** 2 / s
             for name, s in (("1m", 60), ("15m", 900), ("1h", 3600))]  # fmt: skip
    hold_s = 900.0 * float(params["exits_time_multiple"])
    ends = naive.walk(
        widths["steps"].tolist(),
        widths["width"].tolist(),
        start=0.0,
        move=60.0,
        sd=math.sqrt(fmean(rate for rate in rates if rate == rate) * hold_s),
        wide=0.05,
        wide_sd=3.0,
        half_life_s=float(params["family_half_life_s"][FAMILY_MOMENTUM]),
        horizon_s=900.0,
        hold_s=hold_s,
        stop=min(max(3.0 * vol, 15.0), 150.0),
        trail_from=20.0,
        trail=80.0,
        target=80.0
        + float(params["costs_slippage_residual_bps"])
        + float(params["costs_buffer_bps"])
        + vol,
    )
    for name in naive.ENDS:
        share = sum(end == name for end, _, _ in ends) / N_PATHS
        assert share == pytest.approx(float(row[f"{name}_share"])), name
    assert 0.0 < float(row["target_share"])
