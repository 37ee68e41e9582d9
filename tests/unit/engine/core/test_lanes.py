"""Tiers of liquidity, candidates in each other's way, the horizon first, capital shared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.core.columns import FEATURE_INDEX
from engine.core.lanes import (
    CONFLICT_CORRELATED,
    CONFLICT_NONE,
    CONFLICT_OPPOSED,
    TIER_A,
    TIER_B,
    TIER_NONE,
    liquidity_tier,
    mid_correlation,
    opposed_conflict,
)
from engine.core.readiness import symbol_blocker
from engine.core.records import CONFLICT_LANE, DATA_STALE, EXECUTE, LIQUIDITY_TIER, OK
from engine.core.routes import (
    HORIZONS_S,
    SURFACE_MARGIN_PAPER,
    SURFACE_SPOT,
    route_key,
    route_sym,
)
from engine.core.selection import place_horizons, select_routes
from engine.core.state import SYMBOL
from engine.core.tape import tape_second
from engine.events import EPOCH_VALID
from tests.bench.fills import SETTINGS, sure_world
from tests.support.scene import NOW, make_features, make_params, make_scene
from tests.support.short_market import short_market
from tests.support.worlds import run_world

S = 1_000_000_000
DEEP = {"depth_bid_5": 80_000.0, "depth_ask_5": 60_000.0, "spread_bps": 2.0, "n_trades_5m": 300.0}


@pytest.mark.parametrize(
    ("changes", "tier"),
    [
        ({}, TIER_A),
        ({"depth_ask_5": 49_999.0}, TIER_B),  # the thinner side counts
        ({"spread_bps": 3.1}, TIER_B),
        ({"n_trades_5m": 99.0}, TIER_B),  # 19.8 a minute
        ({"depth_bid_5": 4_999.0}, TIER_NONE),
        ({"spread_bps": 15.1}, TIER_NONE),
        ({"n_trades_5m": 9.0}, TIER_NONE),
        ({"depth_bid_5": np.nan}, TIER_NONE),
        ({"depth_ask_5": np.nan}, TIER_NONE),
        ({"spread_bps": np.nan}, TIER_NONE),
        ({"n_trades_5m": np.nan}, TIER_NONE),
    ],
)
def test_the_tier_comes_from_depth_spread_and_trades(changes, tier):
    assert tier == liquidity_tier(make_features(DEEP | changes), make_params()[0])


def test_without_a_tier_no_entries_and_with_one_its_own_age():
    core = make_scene(DEEP, tiers_enabled=1)
    symbol, params = core.symbols[0], core.params[0]
    symbol["book_ts"] = NOW - 3 * S
    assert DATA_STALE == symbol_blocker(symbol, params, NOW, EPOCH_VALID)  # A: 2 s
    symbol["features"][FEATURE_INDEX["spread_bps"]] = 5.0
    assert OK == symbol_blocker(symbol, params, NOW, EPOCH_VALID)  # B: 5 s
    assert TIER_B == symbol["tier"]
    symbol["features"][FEATURE_INDEX["n_trades_5m"]] = 0.0
    assert LIQUIDITY_TIER == symbol_blocker(symbol, params, NOW, EPOCH_VALID)
    params["tiers_enabled"] = 0
    assert OK == symbol_blocker(symbol, params, NOW, EPOCH_VALID)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0, -0.7])
def test_the_correlation_of_mids_is_that_of_their_returns(weight):
    draws = np.random.default_rng(5).normal(0.0, 6.0, (2, 400))
    own, other = draws[0], weight * draws[0] + (1.0 - abs(weight)) * draws[1]
    mids = np.rint(40_000 + np.cumsum([own, other], axis=1)).astype(int)
    symbols = np.zeros(2, SYMBOL)
    first = NOW // S
    for k in range(400):
        for i in range(2):
            tape_second(symbols[i]["tape"], int(mids[i, k]), (first + k) * S)
    returns = np.diff(mids[:, 99:]) / mids[:, 99:-1]

    found = mid_correlation(symbols[0]["tape"], symbols[1]["tape"], first + 399, 300)

    assert np.corrcoef(returns)[0, 1] == pytest.approx(found, abs=1e-9)
    assert np.isnan(mid_correlation(symbols[0]["tape"], symbols[1]["tape"], first + 40, 300))


def test_a_better_short_reading_of_the_same_symbol_is_a_conflict():
    core = make_scene(conflict_enabled=1)
    rows = core.work[0]["candidates"]
    long, short = (
        route_key(0, 6, 1, 1, side, surface)
        for side, surface in ((1, SURFACE_SPOT), (-1, SURFACE_MARGIN_PAPER))
    )
    rows[0]["route"], rows[0]["score"] = long, 3.0
    rows[1]["route"], rows[1]["score"] = short, 4.0
    rows[2]["route"], rows[2]["score"] = short + 4, np.nan
    core.work[0]["n_candidates"] = 3
    assert (CONFLICT_OPPOSED, short, 4.0, 3.0) == opposed_conflict(core, 0, 3.0)
    assert CONFLICT_NONE == opposed_conflict(core, 0, 5.0)[0]
    core.params[0]["conflict_enabled"] = 0
    assert CONFLICT_NONE == opposed_conflict(core, 0, 3.0)[0]


@pytest.fixture(scope="module")
def market() -> tuple[Any, np.ndarray]:
    return short_market(600)


def tables_of(market: Any, **changes: Any) -> dict[str, np.ndarray]:
    result, tables = run_world(sure_world(market[0], {**SETTINGS, **changes}), [market[1]])
    assert [] == result.faults
    return tables


def most_open(tables: dict[str, np.ndarray]) -> int:
    """Most symbols at any moment with an entry working or a position."""
    busy: dict[int, tuple[int, int]] = {}
    most = 0
    changes = [(r["ts"], 0, r["sym"], r["state"]) for r in tables["orders"] if r["role"] == 1]
    changes += [(r["ts"], 1, r["sym"], r["qty"]) for r in tables["positions"]]
    for _, kind, sym, value in sorted(changes, key=lambda each: each[0]):
        entry, held = busy.get(sym, (0, 0))
        busy[sym] = (entry, value) if kind else (1 if value < 9 else 0, held)
        most = max(most, sum(1 for pair in busy.values() if any(pair)))
    return most


def test_one_of_two_that_move_together_is_refused_and_names_the_other(market):
    """Any two mids whose correlation is known are above -1, so no two may be open at once."""
    on = {"enabled": True, "correlation": -1.0}
    free, tables = tables_of(market), tables_of(market, conflict=on)
    rows = tables["decisions"][tables["decisions"]["blocker"] == CONFLICT_LANE]

    assert most_open(free) > 1 == most_open(tables)
    assert len(rows) > 10
    assert {CONFLICT_CORRELATED} == set(rows["check"].tolist())
    assert all(route_sym(row["runner_up"]) != row["sym"] for row in rows)
    assert (rows["check_value"] > rows["check_limit"]).all()
    lower = tables_of(market, conflict=on | {"factor": 0.5})["decisions"]
    assert CONFLICT_LANE not in lower["blocker"]


def test_the_best_liked_horizon_is_asked_first():
    liked = {"mover_rank_10s": 0.2, "mover_rank_1m": 0.9, "mover_rank_5m": 0.4}
    drifts = {"drift_t_10s": 0.0, "drift_t_1m": 1.0, "drift_t_5m": 3.0, "drift_t_15m": 0.5}
    features = make_features(liked | drifts | {"mover_rank_15m": np.nan, "drift_t_1h": 0.0})
    places = np.zeros(len(HORIZONS_S), np.int64)
    params = make_params(ranking_horizon_first=1)[0]

    place_horizons(features, params, places)

    # 10 s 0.2; 1 m 0.9 + 0.5; 5 m 0.4 + 1; 15 m 0.25; 30 m and 1 h by the hour's window: 0
    assert [3, 0, 1, 2, 4, 5] == places.tolist()
    params["ranking_horizon_first"] = 0
    place_horizons(features, params, places)
    assert [0] * len(HORIZONS_S) == places.tolist()


def test_the_winner_is_of_the_best_liked_horizon_though_another_scores_more():
    fallen = {"mean_z": -3.0, "mean_bps": -60.0, "reversion_half_life": 50.0}
    short = {"mover_rank_1m": 1.0, "drift_t_1m": 2.0, "drift_t_15m": 0.0, "drift_t_1h": 0.0}
    winners = []
    for first in (0, 1):
        core = make_scene(fallen | short, ranking_horizon_first=first)
        found = select_routes(core, 0, NOW, 1_000)
        rows = core.work[0]["candidates"]
        winners.append(rows[found.winner])
        tradable = rows[: found.n_candidates]["rank"]
        assert sorted(tradable[tradable > 0]) == list(range(1, (tradable > 0).sum() + 1))
    assert winners[0]["horizon_s"] > 60 == winners[1]["horizon_s"]
    assert winners[0]["score"] > winners[1]["score"]


def entries_per_evaluation(tables: dict[str, np.ndarray]) -> int:
    rows = tables["decisions"][tables["decisions"]["outcome"] == EXECUTE]
    return int(np.unique(rows["generation"], return_counts=True)[1].max())


def test_one_horizon_may_not_crowd_out_the_rest(market):
    assert entries_per_evaluation(tables_of(market)) > 1
    assert 1 == entries_per_evaluation(tables_of(market, ranking={"per_horizon_max": 1}))


def test_candidates_of_one_moment_share_the_free_capital(market):
    alone = tables_of(market, capital={"base_fraction": 1.0}, risk=SETTINGS["risk"])
    shared = tables_of(
        market,
        capital={"base_fraction": 1.0, "allocator": True, "share_min": 0.0, "share_max": 0.05},
        risk=SETTINGS["risk"],
    )
    for tables, enough in ((alone, False), (shared, True)):
        free = {int(row["generation"]): int(row["free"]) for row in tables["evaluations"]}
        bought = tables["fills"][tables["fills"]["side"] > 0]
        shares = [row["notional"] / free[int(row["generation"])] for row in bought]
        assert len(shares) > 5
        # Free is told after all three have reserved theirs.
        assert (max(shares) <= 0.05 / 0.85 + 1e-9) == enough
