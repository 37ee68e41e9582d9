"""The matrix of a symbol, its ranking, and what is written down of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.core.columns import FEATURE_INDEX, OUT_ACTIVE, OUT_MOVE_BPS
from engine.core.faults import FAULT_RING_FULL
from engine.core.records import (
    COSTS_EXCEED_MOVE,
    INPUT_MISSING,
    LOST_TO_BETTER,
    NOT_ENOUGH_HISTORY,
    OK,
    ROUTE_STALE,
    ROUTE_STALE_WINNER,
    SIZE_BELOW_MIN,
    SURFACE_NOT_TRADABLE,
    T_BLOCKERS,
    T_CANDIDATES,
    THESIS_INACTIVE,
)
from engine.core.routes import (
    DEFAULT_FAMILIES,
    ENTRY_NAMES,
    ENTRY_TAKE,
    FAMILY_MEAN_REVERSION,
    FAMILY_MOMENTUM,
    FAMILY_ORDER_FLOW,
    FAMILY_PLUGIN,
    HORIZONS_DEFAULT_S,
    HORIZONS_S,
    SURFACE_MARGIN_PAPER,
    route_entry_mode,
    route_family,
    route_horizon,
    route_side,
    route_sym,
)
from engine.core.selection import (
    count_routes,
    rank_candidates,
    record_candidates,
    record_symbol_blocker,
    select_routes,
)
from engine.core.state import RING_ROWS, Core
from engine.jit import function_value
from tests.naive import selection as naive
from tests.support.scene import ASK, BID, NOW, make_scene, set_book

# A deep fall in a range, with fees that leave something of the way back.
FALLEN = {"mean_z": -3.0, "mean_bps": -60.0, "reversion_half_life": 50.0}
QTY = 1_000


def candidates(core: Core) -> np.ndarray:
    return core.work[0]["candidates"][: core.work[0]["n_candidates"]]


def rows(core: Core, table: str, i_table: int) -> np.ndarray:
    return core.rings[0][table][: core.glob[0]["n_rows"][i_table]]


def test_the_matrix_is_every_enabled_family_horizon_and_mode() -> None:
    core = make_scene()
    takers = {FAMILY_MOMENTUM, FAMILY_ORDER_FLOW}

    found = select_routes(core, 0, NOW, QTY)

    expected = naive.matrix(sorted(DEFAULT_FAMILIES), takers, HORIZONS_DEFAULT_S, ASK - BID)
    actual = [(r["family"], r["horizon_s"], ENTRY_NAMES[r["entry_mode"]]) for r in candidates(core)]
    assert expected == actual
    assert len(expected) == found.n_candidates == count_routes(core.params[0])


def test_switched_off_families_and_horizons_and_a_tight_spread_leave_the_matrix() -> None:
    core = make_scene()
    core.params[0]["family_enabled"][FAMILY_MEAN_REVERSION] = 0
    core.params[0]["horizon_enabled"][[0, 3]] = 0
    set_book(core.symbols[0], [(10_000, 10)], [(10_001, 10)])

    select_routes(core, 0, NOW, QTY)

    families = sorted(set(DEFAULT_FAMILIES) - {FAMILY_MEAN_REVERSION})
    expected = naive.matrix(families, {FAMILY_MOMENTUM, FAMILY_ORDER_FLOW}, (60, 300), 1)
    actual = [(r["family"], r["horizon_s"], ENTRY_NAMES[r["entry_mode"]]) for r in candidates(core)]
    assert expected == actual


def test_the_route_key_gives_back_what_the_row_says() -> None:
    core = make_scene(FALLEN)
    select_routes(core, 0, NOW, QTY)

    for row in candidates(core):
        key = row["route"]
        assert row["sym"] == route_sym(key)
        assert row["family"] == route_family(key)
        assert row["horizon_s"] == HORIZONS_S[route_horizon(key)]
        assert row["entry_mode"] == route_entry_mode(key)
    keys = candidates(core)["route"]
    assert len(keys) == len(set(keys.tolist()))


def test_the_winner_is_the_best_tradable_score_and_the_rest_lost_to_it() -> None:
    core = make_scene(FALLEN)

    found = select_routes(core, 0, NOW, QTY)

    rows = candidates(core)
    winner, runner_up = rows[found.winner], rows[found.runner_up]
    assert OK == winner["blocker"]
    assert LOST_TO_BETTER == runner_up["blocker"]
    assert (1, 2) == (winner["rank"], runner_up["rank"])
    assert winner["score"] - runner_up["score"] == found.margin_bps
    assert 1 == np.count_nonzero(rows["blocker"] == OK)
    assert found.winner == found.best
    lost = rows[rows["blocker"] == LOST_TO_BETTER]
    assert winner["score"] >= lost["score"].max()
    assert found.n_positive >= 1 + len(lost)
    assert found.n_active == np.count_nonzero(~np.isin(rows["blocker"], [THESIS_INACTIVE]))


def test_nothing_active_leaves_no_winner_and_no_estimates() -> None:
    core = make_scene({"spread_bps": 0.5})

    found = select_routes(core, 0, NOW, QTY)

    assert (-1, -1, -1, 0, 0) == (
        *(found.winner, found.runner_up, found.best),
        *(found.n_active, found.n_positive),
    )
    assert {THESIS_INACTIVE} == set(candidates(core)["blocker"].tolist())
    assert np.isnan(candidates(core)["score"]).all()
    assert not candidates(core)["rank"].any()


def test_a_falling_thesis_is_a_hypothetical_short_that_is_priced_and_blocked() -> None:
    core = make_scene({"mean_z": 3.0, "mean_bps": 60.0, "reversion_half_life": 50.0})

    found = select_routes(core, 0, NOW, QTY)

    shorts = [r for r in candidates(core) if route_side(r["route"]) < 0]
    assert shorts
    assert {FAMILY_MEAN_REVERSION} == {int(r["family"]) for r in shorts}
    assert {SURFACE_NOT_TRADABLE} == {int(r["blocker"]) for r in shorts}
    assert all((r["route"] - 1) & 1 == SURFACE_MARGIN_PAPER for r in shorts)
    assert all(r["net_bps"] > 0.0 for r in shorts if r["horizon_s"] >= 300)
    assert -1 == found.winner


def test_fees_decide_and_a_missing_schedule_refuses() -> None:
    free, dear, unknown = make_scene(FALLEN), make_scene(FALLEN), make_scene(FALLEN)
    dear.params[0]["fee_taker_e6"][0] = 10_000  # 1 %
    unknown.params[0]["n_fee_tiers"] = 0

    assert select_routes(free, 0, NOW, QTY).winner >= 0
    assert -1 == select_routes(dear, 0, NOW, QTY).winner
    assert COSTS_EXCEED_MOVE in candidates(dear)["blocker"]
    assert -1 == select_routes(unknown, 0, NOW, QTY).winner
    active = candidates(unknown)[candidates(unknown)["blocker"] != THESIS_INACTIVE]
    assert {INPUT_MISSING} == set(active["blocker"].tolist())
    assert np.isnan(active["net_bps"]).all()


def test_the_fee_tier_follows_our_own_volume() -> None:
    core = make_scene(FALLEN, n_fee_tiers=2)
    row = core.params[0]
    row["fee_volume"][1], row["fee_maker_e6"][1], row["fee_taker_e6"][1] = 100, -50, 500

    core.glob[0]["volume"] = 99
    select_routes(core, 0, NOW, QTY)
    before = candidates(core)["entry_fee_bps"].copy()
    core.glob[0]["volume"] = 100
    select_routes(core, 0, NOW, QTY)

    modes = candidates(core)["entry_mode"]
    priced = ~np.isnan(before)
    expected = np.where(modes == ENTRY_TAKE, 10.0, 0.0)
    assert np.array_equal(expected[priced], before[priced])
    expected = np.where(modes == ENTRY_TAKE, 5.0, -0.5)
    assert np.array_equal(expected[priced], candidates(core)["entry_fee_bps"][priced])


def test_too_little_capital_prices_the_minimum_and_says_so() -> None:
    core = make_scene(FALLEN)

    found = select_routes(core, 0, NOW, 3)

    assert -1 == found.winner
    assert 10 == candidates(core)[found.best]["qty"]
    assert SIZE_BELOW_MIN == candidates(core)[found.best]["blocker"]


def test_missing_history_of_the_costs_stops_what_the_thesis_would_do() -> None:
    core = make_scene({**FALLEN, "vol_bps_10s": np.nan})

    found = select_routes(core, 0, NOW, QTY)

    assert -1 == found.best
    assert NOT_ENOUGH_HISTORY in candidates(core)["blocker"]


def test_a_thesis_is_told_horizon_inventory_fees_and_half_life() -> None:
    horizon, inventory = FEATURE_INDEX["horizon"], FEATURE_INDEX["inventory"]

    def answer(features: Any, params: Any, out: Any) -> None:
        out[OUT_ACTIVE] = 1.0
        out[OUT_MOVE_BPS] = features[horizon]
        out[2] = features[inventory]
        out[3] = params[13] / 10.0
        out[4] = params[14]

    core = make_scene(plugins=(function_value(answer),))
    row = core.params[0]
    row["family_enabled"][:] = 0
    row["family_enabled"][FAMILY_PLUGIN] = 1
    row["family_half_life_s"][FAMILY_PLUGIN] = 77.0
    row["fee_maker_e6"][0] = 300
    core.symbols[0]["position"]["qty"] = 50

    select_routes(core, 0, NOW, QTY)

    told = candidates(core)
    assert [10.0, 10.0, 60.0, 60.0, 300.0, 300.0, 900.0, 900.0] == told["move_bps"].tolist()
    assert {50 * 100.0 * 0.001} == set(told["move_sd_bps"].tolist())  # 0.050 coins at 100.00
    assert {0.3} == {round(float(each), 12) for each in told["confidence"]}
    assert {10.0} == set(told["invalidation_bps"].tolist())


def test_ranking_breaks_ties_by_the_route_key_and_leaves_out_the_unpriced() -> None:
    core = make_scene()
    work = core.work[0]
    table = [  # blocker, score, route key
        (OK, 1.0, 9),
        (COSTS_EXCEED_MOVE, 5.0, 2),
        (OK, 1.0, 4),
        (OK, np.nan, 1),
        (OK, 2.0, 8),
        (COSTS_EXCEED_MOVE, 5.0, 1),
    ]
    for row, (blocker, score, route) in zip(work["candidates"], table, strict=False):
        row["blocker"], row["score"], row["route"] = blocker, score, route
    work["n_candidates"] = len(table)

    n = rank_candidates(work)

    expected = naive.ranking([(blocker == OK, score, route) for blocker, score, route in table])
    assert expected == work["ranking"][:n].tolist()
    assert [3, 5, 2, 0, 1, 4] == work["candidates"]["rank"][: len(table)].tolist()


# --- what is written ------------------------------------------------------------------------------


def test_the_best_are_kept_whole_and_the_rest_by_a_repeatable_draw() -> None:
    def run(seed: int) -> np.ndarray:
        core = make_scene(FALLEN, records_candidates_top=2, records_candidates_sample=4, seed=seed)
        for _ in range(50):
            select_routes(core, 0, NOW, QTY)
            record_candidates(core, 0, NOW)
        return rows(core, "candidates", T_CANDIDATES).copy()

    kept = run(1)

    top = kept[kept["weight"] == 1]
    assert 100 == len(top)
    assert {1, 2} == set(top["rank"].tolist())
    sampled = kept[kept["weight"] == 4]
    assert len(top) + len(sampled) == len(kept)
    # 38 of 40 routes, 50 times, one in 4: 475 expected, sd 19
    assert 380 < len(sampled) < 570
    assert kept.tobytes() == run(1).tobytes()
    assert kept.tobytes() != run(2).tobytes()


@pytest.mark.parametrize(("one_in", "n"), [(0, 0), (1, 40)])
def test_sampling_can_keep_none_or_all(one_in: int, n: int) -> None:
    core = make_scene(records_candidates_top=0, records_candidates_sample=one_in)
    select_routes(core, 0, NOW, QTY)
    record_candidates(core, 0, NOW)

    assert n == len(rows(core, "candidates", T_CANDIDATES))


def test_the_winner_is_always_kept() -> None:
    core = make_scene(FALLEN, records_candidates_top=0, records_candidates_sample=0)
    found = select_routes(core, 0, NOW, QTY)
    record_candidates(core, 0, NOW)

    (row,) = rows(core, "candidates", T_CANDIDATES)
    assert candidates(core)[found.winner].tobytes() == row.tobytes()


def test_blocker_counts_add_up_to_the_candidates_that_were_stopped() -> None:
    core = make_scene(FALLEN)
    found = select_routes(core, 0, NOW, QTY)
    record_candidates(core, 0, NOW)

    written = rows(core, "blockers", T_BLOCKERS)
    expected = {
        int(code): int(n)
        for code, n in zip(*np.unique(candidates(core)["blocker"], return_counts=True), strict=True)
        if code != OK
    }
    assert expected == {int(row["code"]): int(row["n"]) for row in written}
    assert found.n_candidates - 1 == written["n"].sum()
    counts = core.glob[0]["reason_counts"]
    assert expected == {int(code): int(counts[code]) for code in np.flatnonzero(counts)}
    assert {(0, 7, NOW)} == {(int(r["sym"]), int(r["generation"]), int(r["ts"])) for r in written}


def test_a_blocked_symbol_counts_its_whole_matrix() -> None:
    core = make_scene()
    record_symbol_blocker(core, 0, NOW, NOT_ENOUGH_HISTORY)

    (row,) = rows(core, "blockers", T_BLOCKERS)
    assert (NOT_ENOUGH_HISTORY, 40) == (row["code"], row["n"])


def test_a_full_ring_is_a_fault_and_not_a_lost_row() -> None:
    core = make_scene(FALLEN)
    core.glob[0]["n_rows"][T_CANDIDATES] = RING_ROWS["candidates"]
    select_routes(core, 0, NOW, QTY)
    record_candidates(core, 0, NOW)

    assert FAULT_RING_FULL == core.glob[0]["fault"]


def test_the_hour_scales_a_family_that_asks_for_it_and_no_other() -> None:
    """An hour half as lively as the average: half the move, half its spread, the same confidence."""
    market = FALLEN | {"tod_multiplier": 0.5}
    plain = make_scene(market)
    scaled = make_scene(market)
    scaled.params[0]["family_tod"][FAMILY_MEAN_REVERSION] = 1
    select_routes(plain, 0, NOW, QTY)
    select_routes(scaled, 0, NOW, QTY)

    n_scaled = 0
    for before, after in zip(candidates(plain), candidates(scaled), strict=True):
        own = before["family"] == FAMILY_MEAN_REVERSION
        factor = 0.5 if own else 1.0
        n_scaled += int(own and not np.isnan(before["move_bps"]))
        for name in ("move_bps", "move_sd_bps", "invalidation_bps"):
            np.testing.assert_equal(factor * before[name], after[name])
        np.testing.assert_equal(before["confidence"], after["confidence"])
    assert n_scaled > 0


def test_an_hour_not_known_yet_scales_nothing() -> None:
    plain, scaled = make_scene(FALLEN), make_scene(FALLEN)
    scaled.params[0]["family_tod"][:] = 1
    select_routes(plain, 0, NOW, QTY)
    select_routes(scaled, 0, NOW, QTY)

    for before, after in zip(candidates(plain), candidates(scaled), strict=True):
        assert before.tobytes() == after.tobytes()


def test_families_that_may_take_may_also_rest_first_where_the_profile_says_so() -> None:
    core = make_scene(orders_maker_then_taker=1)

    select_routes(core, 0, NOW, QTY)

    modes = {
        family: {ENTRY_NAMES[r["entry_mode"]] for r in candidates(core) if r["family"] == family}
        for family in (FAMILY_MOMENTUM, FAMILY_MEAN_REVERSION)
    }
    assert {"join", "improve", "take", "then_take"} == modes[FAMILY_MOMENTUM]
    assert {"join", "improve"} == modes[FAMILY_MEAN_REVERSION]
    assert len(candidates(core)) == count_routes(core.params[0])


def test_the_stale_route_that_would_have_won_is_named_and_only_that_one() -> None:
    fresh, stale, mixed = (make_scene(FALLEN, readiness_stale_winner=1) for _ in range(3))
    winner = select_routes(fresh, 0, NOW, QTY).winner
    route = candidates(fresh)[winner]["route"]
    stale.symbols[0]["book_ts"] = NOW - 60_000_000_000
    found = select_routes(stale, 0, NOW, QTY)
    assert -1 == found.winner
    named = candidates(stale)[candidates(stale)["blocker"] == ROUTE_STALE_WINNER]
    assert [route] == named["route"].tolist()
    assert np.count_nonzero(candidates(stale)["blocker"] == ROUTE_STALE) > 0
    # Routes that rest may be older: where only those that take are stale, they name none that is worse.
    mixed.symbols[0]["book_ts"] = NOW - 40_000_000_000
    found = select_routes(mixed, 0, NOW, QTY)
    assert found.winner >= 0
    best = candidates(mixed)[found.winner]["score"]
    named = candidates(mixed)[candidates(mixed)["blocker"] == ROUTE_STALE_WINNER]
    assert len(named) <= 1
    assert (named["score"] > best).all()
