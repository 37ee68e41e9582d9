"""Off, shadow and live: what the second model may change of a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.core.records import LOST_TO_BETTER, OK, TAIL_INADMISSIBLE
from tests.support.short_market import short_market
from tests.support.worlds import EAGER, make_world, run_world

OFF, SHADOW, LIVE = 0, 1, 2


@pytest.fixture(scope="module")
def runs() -> dict[int, dict[str, np.ndarray]]:
    instruments, events = short_market(500)
    out = {}
    for mode in (OFF, SHADOW, LIVE):
        settings: dict[str, Any] = {
            **EAGER,
            "records": {"candidates_top": 64, "candidates_sample": 1, "shadow": True},
            "adaptive": {"mode": mode, "records_top": 64, "low_min_bps": -30.0},
        }
        result, out[mode] = run_world(make_world(instruments, settings), [events])
        assert [] == result.faults
    return out


def test_off_writes_nothing_and_shadow_changes_nothing_else(runs):
    assert 0 == len(runs[OFF]["adaptive"]) < len(runs[SHADOW]["adaptive"])
    for name, rows in runs[OFF].items():
        if name != "adaptive":
            assert rows.tobytes() == runs[SHADOW][name].tobytes(), name


def test_shadow_stands_beside_the_tradable_candidates_of_the_first_model(runs):
    v2 = runs[SHADOW]["adaptive"]
    v1 = runs[SHADOW]["candidates"]
    tradable = v1[np.isin(v1["blocker"], (OK, LOST_TO_BETTER)) | (v1["executed"] == 1)]
    scores = {(int(r["generation"]), int(r["route"])): r["score"] for r in v1}
    assert all(scores[int(row["generation"]), int(row["route"])] == row["v1_score"] for row in v2)
    assert len(v2) >= len(tradable)
    assert (
        1 == np.unique(v2[v2["v2_winner"] == 1][["generation", "sym"]], return_counts=True)[1].max()
    )
    assert (v2["admissible"][v2["v2_winner"] == 1] == 1).all()
    refused = v2[v2["admissible"] == 0]
    assert len(refused) > 0
    assert ((refused["q10_bps"] < -30.0) | (refused["trimmed_bps"] < 0.0)).all()
    passed = v2[v2["admissible"] == 1]
    assert (passed["q10_bps"] >= -30.0).all()


def test_live_ranks_and_admits_by_the_second_model(runs):
    rows = runs[LIVE]["candidates"]
    v2 = {(int(r["generation"]), int(r["route"])): r for r in runs[LIVE]["adaptive"]}
    judged = [
        (row, v2[key]) for row in rows if (key := (int(row["generation"]), int(row["route"]))) in v2
    ]
    assert len(judged) > 100
    for row, second in judged:
        assert row["score"] == second["v2_score"]
        assert (row["blocker"] == TAIL_INADMISSIBLE) == (second["admissible"] == 0)
        assert row["net_bps"] == second["v1_net_bps"]  # the stack still adds up
    winners = {
        (int(r["generation"]), int(r["sym"])): int(r["route"])
        for r in runs[LIVE]["adaptive"]
        if r["v2_winner"] == 1
    }
    chosen = runs[LIVE]["decisions"]
    chosen = chosen[chosen["outcome"] == 1]
    assert len(chosen) > 0
    for row in chosen:
        assert row["route"] == winners[int(row["generation"]), int(row["sym"])]
    assert runs[LIVE]["orders"].tobytes() != runs[OFF]["orders"].tobytes()
