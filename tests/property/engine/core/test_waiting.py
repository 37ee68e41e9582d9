"""Waiting candidates and shares of capital against their naive twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.allocate import share_out
from engine.core.heap import HEAP, HEAP_MAX, heap_best, heap_drop, heap_expire, heap_merge
from engine.core.routes import N_FAMILIES
from tests.naive.waiting import S, Waiting, shares

steps = st.lists(
    st.tuples(
        st.sampled_from(["merge", "merge", "merge", "expire", "pop"]),
        st.integers(1, 90),  # route: more of them than there is room for
        st.sampled_from([0.5, 1.0, 2.0, 2.5, 4.0]),
        st.sampled_from([1.0, 10.0, 300.0]),
        st.integers(0, 20),  # s until the next step
    ),
    min_size=1,
    max_size=200,
)


@settings(max_examples=60)
@given(steps)
def test_the_heap_is_a_dict_with_scores_that_halve(told):
    heap = np.zeros(1, HEAP)[0]
    naive = Waiting(HEAP_MAX)
    now = 1_000 * S
    n_merged = n_gone = 0
    for what, route, score, half_life, wait_s in told:
        expires = now + int(2 * half_life * S)
        if what == "merge":
            before = dict(naive.rows)
            naive.merge(route, score, half_life, now, expires)
            n_merged += naive.rows != before
            heap_merge(heap, route, 0, score, half_life, now, expires)
        elif what == "expire":
            naive.expire(now)
            heap_expire(heap, now)
        else:
            best = heap_best(heap, now)
            ranked = naive.ranked(now)
            assert (best < 0) == (not ranked)
            if ranked:
                # Scores that differ in the last bit may change places.
                route = int(heap["rows"][best]["route"])
                assert naive.faded(route, now) == pytest.approx(naive.faded(ranked[0], now))
                del naive.rows[route]
                heap_drop(heap, best)
                n_gone += 1
        kept = {int(row["route"]): row for row in heap["rows"] if row["route"] != 0}
        assert len(kept) == heap["n"] <= HEAP_MAX
        assert set(naive.rows) == set(kept)
        for route, (score_kept, scored, born, ends, _) in naive.rows.items():
            row = kept[route]
            assert (score_kept, scored) == (row["score"], row["scored_ts"])
            assert (born, ends) == (row["born_ts"], row["expires_ts"])
        now += wait_s * S


values = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 7.0])
parts = st.floats(0.0, 1.0)


@given(st.lists(st.tuples(values, st.integers(1, 4)), min_size=1, max_size=12), parts, parts, parts)
def test_shares_follow_the_edge_between_floor_and_ceilings(candidates, floor, ceiling, family_max):
    scores = np.array([each[0] for each in candidates])
    families = np.array([each[1] for each in candidates], np.int64)
    weights = np.full(len(candidates), np.nan)
    used = np.zeros(N_FAMILIES)

    share_out(scores, families, len(candidates), floor, ceiling, family_max, used, weights)

    expected = shares(scores.tolist(), families.tolist(), floor, ceiling, family_max)
    assert expected == pytest.approx(weights.tolist(), abs=1e-12)
    assert weights.sum() <= 1.0 + 1e-12
    assert (weights <= ceiling + 1e-12).all()
    for family in set(families.tolist()):
        assert weights[families == family].sum() <= family_max + 1e-12
