"""Timing of routes: who writes what, when a route fades or dies, and what that does to a stop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.core.exits import EXIT_ADVICE
from engine.core.records import CANDIDATE_ROW, LOST_TO_BETTER, OK
from engine.core.routes import ENTRY_JOIN, FAMILY_MOMENTUM, SURFACE_SPOT, route_key
from engine.core.routestate import (
    DEAD,
    EVALUATION_FIELDS,
    FADING,
    FRESH,
    HOLD,
    KEY_FIELDS,
    LEAVE,
    MID_FIELDS,
    POSITION_ROUTE_FIELDS,
    ROUTE,
    ROUTE_STATE,
    ROUTES_MAX,
    TAKE,
    TIGHTEN,
    choose_by_timing,
    claim_route,
    tier_evaluation,
    tier_mid,
    tier_position,
    timing_of,
)
from engine.core.selection import name_winner
from tests.bench.fills import SETTINGS, sure_world
from tests.support.scene import make_scene
from tests.support.short_market import short_market
from tests.support.worlds import run_world

S = 1_000_000_000
NOW = 1_700_000_000 * S
MID = 200_000  # half ticks


def confirmed(**changes: Any) -> Any:
    """A route born and confirmed now: 10 bps expected, disproved at 20, half-life 30 s."""
    row = np.zeros(1, ROUTE)[0]
    candidate = np.zeros(1, CANDIDATE_ROW)[0]
    values = {"move_bps": 10.0, "invalidation_bps": 20.0, "net_bps": 3.0, "score": 2.0,
              "fill_time_s": 15.0, "rank": 1} | changes  # fmt: skip
    for name, value in values.items():
        candidate[name] = value
    row["route"] = 77
    tier_evaluation(row, candidate, MID, NOW, 30.0)
    return row


def changed(before: Any, after: Any) -> set[str]:
    return {name for name in ROUTE.names if before[name].tobytes() != after[name].tobytes()}


def test_each_tier_writes_its_own_fields_only():
    parts = [
        {name for name, _ in fields}
        for fields in (KEY_FIELDS, MID_FIELDS, EVALUATION_FIELDS, POSITION_ROUTE_FIELDS)
    ]
    assert set(ROUTE.names) == set.union(*parts)
    assert len(ROUTE.names) == sum(map(len, parts))
    row = confirmed()
    before = row.copy()
    tier_mid(row, MID - 1_000, NOW + 999 * S, 4.0)
    assert changed(before, row) == parts[1]
    before = row.copy()
    tier_position(row, 5)
    assert changed(before, row) == parts[3]
    before = row.copy()
    candidate = np.zeros(1, CANDIDATE_ROW)[0]
    candidate["fill_time_s"] = 1.0
    tier_evaluation(row, candidate, MID + 2, NOW + 1_000 * S, 60.0)
    assert changed(before, row) <= parts[2]
    assert {"born_ts", "confirmed_ts", "mid_signal", "timing"} <= changed(before, row)


@pytest.mark.parametrize(
    ("after_s", "bps", "viability"),
    [(30, 0, FRESH), (31, 0, FADING), (120, 0, FADING), (121, 0, DEAD), (1, -19, FRESH),
     (1, -20, DEAD), (1, 500, FRESH)],
)  # fmt: skip
def test_a_route_fades_with_its_half_life_and_dies_when_it_is_disproved(after_s, bps, viability):
    row = confirmed()
    told = tier_mid(row, MID + MID * bps // 10_000, NOW + after_s * S, 4.0)
    assert (viability != FRESH, viability) == (told, row["viability"])
    assert bps == row["drift_bps"]


def test_timing_is_what_age_and_wait_leave_of_the_signal():
    assert 0.5 ** (15 / 30) == pytest.approx(float(confirmed()["timing"]))
    assert 0.25 == pytest.approx(timing_of(NOW, NOW + 45 * S, 15.0, 30.0))
    row = confirmed()
    candidate = np.zeros(1, CANDIDATE_ROW)[0]
    tier_evaluation(row, candidate, MID, NOW + 30 * S, 30.0)
    assert (NOW, NOW + 30 * S) == (row["born_ts"], row["confirmed_ts"])  # the age goes on
    assert 0.5 == pytest.approx(float(row["timing"]))


@pytest.mark.parametrize(
    ("after_s", "bps", "advice"),
    [(1, 0, HOLD), (1, 9, HOLD), (1, 10, TAKE), (31, 0, TIGHTEN), (31, 10, TAKE), (121, 10, LEAVE),
     (1, -20, LEAVE)],
)  # fmt: skip
def test_the_advice_follows_the_route_of_the_position(after_s, bps, advice):
    row = confirmed()
    tier_mid(row, MID + MID * bps // 10_000, NOW + after_s * S, 4.0)
    tier_position(row, 100)
    assert advice == row["advice"]
    tier_position(row, 0)
    assert HOLD == row["advice"]


def test_a_full_table_gives_up_the_dead_then_the_worst_and_never_a_position():
    state = np.zeros(1, ROUTE_STATE)[0]
    for key in range(1, ROUTES_MAX + 1):
        at = claim_route(state, key, 0)
        state["rows"][at]["net_bps"] = key
        state["rows"][at]["lots"] = 5 if key < 3 else 0
    state["rows"][99]["viability"] = DEAD
    assert ROUTES_MAX == state["n"]
    for key, gone in ((1_000, 100), (1_001, 3), (1_002, 4)):
        at = claim_route(state, key, 0)
        state["rows"][at]["net_bps"] = 1e6
        assert gone not in state["rows"]["route"]
        assert key in state["rows"]["route"]
    assert {1, 2} <= set(state["rows"]["route"].tolist())
    assert (3, ROUTES_MAX) == (state["n_replaced"], state["n"])
    state["rows"]["lots"] = 1
    assert -1 == claim_route(state, 5_000, 0)


@pytest.fixture(scope="module")
def market() -> tuple[Any, np.ndarray]:
    return short_market(600)


def tables_of(market: Any, **changes: Any) -> dict[str, np.ndarray]:
    settings = {**SETTINGS, "horizons_s": [300], "exits": {"time_multiple": 1.0}, **changes}
    result, tables = run_world(sure_world(market[0], settings), [market[1]])
    assert [] == result.faults
    return tables


def test_advice_moves_stops_up_only_where_the_profile_lets_it(market):
    on = {"enabled": True, "top_routes": 8}
    advised = {"time_multiple": 1.0, "advice": True}
    off, seen, used = (
        tables_of(market),
        tables_of(market, route_state=on),
        tables_of(market, route_state=on, exits=advised),
    )
    assert 0 == len(off["routes"]) < len(seen["routes"])
    assert set(seen["routes"]["advice"].tolist()) > {HOLD}
    assert off["orders"]["trigger"].tobytes() == seen["orders"]["trigger"].tobytes()
    assert EXIT_ADVICE not in seen["realized"]["exit_reason"]
    assert EXIT_ADVICE in used["realized"]["exit_reason"]
    for sym in range(3):
        rows = used["positions"][used["positions"]["sym"] == sym]
        same = rows["opened_ts"][1:] == rows["opened_ts"][:-1]
        held = (rows["qty"][1:] > 0) & (rows["stop"][:-1] > 0) & same
        assert (np.diff(rows["stop"])[held] >= 0).all()


@pytest.mark.parametrize(("top", "winner"), [(8, 1), (2, 1), (1, 0)])
def test_of_the_best_by_edge_the_one_in_time_wins(top, winner):
    """3 bps after a minute of waiting are worth less than 2.5 after a second, at a half-life of 30 s."""
    core = make_scene(route_state_enabled=1, route_state_top_routes=top)
    core.params[0]["family_half_life_s"][FAMILY_MOMENTUM] = 30.0
    core.glob[0]["now"] = NOW
    work = core.work[0]
    for k, (score, fill_time_s) in enumerate([(3.0, 60.0), (2.5, 1.0), (2.0, 0.0)]):
        row = work["candidates"][k]
        row["route"] = route_key(0, FAMILY_MOMENTUM, k, ENTRY_JOIN, 1, SURFACE_SPOT)
        row["score"], row["fill_time_s"], row["net_bps"] = score, fill_time_s, score
        row["invalidation_bps"] = 20.0
    work["n_candidates"] = 3
    name_winner(work)

    choose_by_timing(core, 0)

    rows = work["candidates"][:3]
    assert winner == work["found"]["winner"]
    assert [1, 2, 3] == rows["rank"].tolist()  # by edge, so that the difference can be judged
    assert [OK if k == winner else LOST_TO_BETTER for k in range(3)] == rows["blocker"].tolist()
    assert min(top, 3) == core.glob[0]["routes"]["n"]
