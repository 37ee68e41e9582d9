"""Prices that nobody rests at, against the naive twin; and what the learnt chance must do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.reach import (
    N_PROBES,
    REACH,
    assumed_odds,
    logistic,
    note_reach,
    reach_chance,
    reach_lost,
    reach_price,
    reach_signal,
)
from engine.jit import JIT_ENABLED
from tests.naive import reach as naive
from tests.support.scene import make_features, make_params

S = 1_000_000_000
T0 = 1_700_000_000 * S
few = settings(max_examples=60 if JIT_ENABLED else 10, deadline=None)
# (what happens: seconds pass, a print or an ask, a bid), size of it
steps = st.lists(
    st.tuples(st.sampled_from(["wait", "sell", "buy", "lost"]), st.integers(0, 6)), max_size=60
)


def fresh() -> Any:
    return np.zeros(1, REACH)[0]


def offer(reach: Any, params: Any, i_side: int, price: int, ts: int) -> None:
    """As the core calls it: the limit is looked at first."""
    limit = reach["limit"][i_side]
    if limit > 0 and (price <= limit if i_side == 0 else price >= limit):
        reach_price(reach, params, i_side, price, ts)


@few
@given(steps=steps, window=st.sampled_from([3, 10, 60]), spread=st.integers(1, 5))
def test_every_noted_price_ends_as_the_naive_one(
    steps: list[tuple[str, int]], window: int, spread: int
) -> None:
    params = make_params(orders_maker_window_ns=window * S, costs_latency_ns=S // 4)[0]
    features = make_features({"ofi": 4.0, "return_bps_10s": -2.0, "n_trades_10s": 30.0,
                              "n_trades_1m": 90.0, "n_trades_5m": 300.0})  # fmt: skip
    reach = fresh()
    twins = [naive.NaiveReach(side, window, params["costs_reach_half_s"]) for side in (1, -1)]
    told = [
        naive.signal(side, window, -2.0 / (3.0 / math.sqrt(6.0)), 4.0, (3.0, 1.5, 1.0))
        for side in (1, -1)
    ]
    now, bid, following = T0, 1_000, 0
    for what, size in steps:
        now += S // 8
        if what == "wait":
            now += size * S
            bid += size % 3 - 1
            for twin in twins:
                twin.close(now)
            if now >= following:
                following = now + max(S, window * S // 8)
                inside = 1 if spread > 1 else 0
                for twin, price, signal in zip(
                    twins, (bid + inside, bid + spread - inside), told, strict=True
                ):
                    twin.note(price, signal, now + S // 4, now + window * S)
            note_reach(reach, features, params, bid, bid + spread, now)
        elif what == "sell":
            twins[0].price(bid - size + 3, now)
            offer(reach, params, 0, bid - size + 3, now)
        elif what == "buy":
            twins[1].price(bid + spread + size - 3, now)
            offer(reach, params, 1, bid + spread + size - 3, now)
        else:
            for twin in twins:
                twin.notes.clear()
            reach_lost(reach)
        for i_side, twin in enumerate(twins):
            assert twin.level == pytest.approx(reach["level"][i_side], abs=1e-9)
            assert min(len(twin.outcomes), 400) == reach["n"][i_side]
            assert sorted(note.price for note in twin.notes) == sorted(
                reach["price"][i_side][reach["price"][i_side] > 0].tolist()
            )
            side = 1 if i_side == 0 else -1
            chance = reach_chance(reach, features, params, side)
            assert twin.chance(told[i_side]) == pytest.approx(chance, rel=1e-9)


@pytest.mark.parametrize("often", [0.2, 0.5, 0.9])
def test_the_chance_comes_to_how_often_it_happened(often: float) -> None:
    params = make_params(orders_maker_window_ns=8 * S)[0]
    features = make_features({"ofi": 0.0, "return_bps_10s": 0.0, "n_trades_10s": 10.0,
                              "n_trades_1m": 60.0, "n_trades_5m": 300.0})  # fmt: skip
    reach = fresh()
    chance = np.random.default_rng(5)
    for second in range(4_000):
        now = T0 + second * S
        note_reach(reach, features, params, 1_000, 1_010, now)
        if chance.random() < 1.0 - (1.0 - often) ** (1.0 / 8.0):
            offer(reach, params, 0, 1_000, now + S // 2)

    assert often == pytest.approx(reach_chance(reach, features, params, 1), abs=0.1)


def test_before_anything_was_seen_the_odds_grow_with_the_root_of_the_window() -> None:
    assert 0.0 == assumed_odds(5.0, 5.0)
    assert math.log(2.0) == pytest.approx(assumed_odds(20.0, 5.0))


@given(x=st.floats(-800.0, 800.0))
def test_log_odds_and_chances_are_each_others_inverse(x: float) -> None:
    chance = logistic(x)
    assert 0.0 <= chance <= 1.0
    assert 1.0 == pytest.approx(chance + logistic(-x))
    if abs(x) < 30.0:
        assert x == pytest.approx(math.log(chance / logistic(-x)), abs=1e-6)


def test_who_is_run_away_from_is_come_to_less_and_the_other_side_more() -> None:
    quiet = {"ofi": 0.0, "return_bps_10s": 0.0, "n_trades_10s": 10.0, "n_trades_1m": 60.0,
             "n_trades_5m": 300.0}  # fmt: skip
    still = reach_signal(make_features(quiet), 1, 30.0)
    for push in ({"ofi": 10.0}, {"return_bps_10s": 2.0}):
        features = make_features(quiet | push)
        assert reach_signal(features, 1, 30.0) < still < reach_signal(features, -1, 30.0)
    busy = make_features(quiet | {"n_trades_10s": 60.0})
    assert reach_signal(busy, 1, 5.0) > reach_signal(busy, 1, 60.0) > still == 0.0


def test_an_unknown_feature_notes_nothing_and_says_nothing() -> None:
    params, reach = make_params()[0], fresh()
    features = make_features({"ofi": math.nan})

    note_reach(reach, features, params, 1_000, 1_002, T0)

    assert 0 == reach["price"].sum() == reach["limit"].sum()
    assert math.isnan(reach_chance(reach, features, params, 1))


def test_no_more_prices_are_followed_than_there_is_room_for() -> None:
    params = make_params(orders_maker_window_ns=N_PROBES * S // 2)[0]
    reach, features = fresh(), make_features({"return_bps_10s": 0.0, "n_trades_10s": 1.0,
                                              "n_trades_1m": 6.0})  # fmt: skip
    for second in range(3 * N_PROBES):
        note_reach(reach, features, params, 1_000, 1_002, T0 + second * S)
        assert 1 <= (reach["price"][0] > 0).sum() <= N_PROBES
