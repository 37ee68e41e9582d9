"""What waits between two evaluations leaves only as far as everything still stands behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.core.records import GENERATION_MISMATCH, LOST_TO_BETTER, OK
from engine.events import EPOCH, MODE, MODE_NORMAL, MODE_REDUCED, WHO_OPERATOR
from tests.bench.fills import SETTINGS, sure_world
from tests.support.short_market import short_market
from tests.support.worlds import run_world, split

S = 1_000_000_000
ONE = {**SETTINGS, "evaluation": {"max_entries": 1, "warmup": "60s"}}
ON = {**ONE, "heap": {"enabled": True}}


@pytest.fixture(scope="module")
def market() -> tuple[Any, np.ndarray]:
    return short_market(1_200)


def tables_of(market: Any, settings: dict[str, Any], events: Any = None, sizes: Any = ()) -> Any:
    instruments, whole = market
    whole = whole if events is None else events
    result, tables = run_world(sure_world(instruments, settings), split(whole, sizes))
    assert [] == result.faults
    return tables


def with_events(events: np.ndarray, kind: int, every_s: int, values: tuple[int, ...]) -> np.ndarray:
    """The market with one more event a millisecond after each full second."""
    first = int(events["ts"][0]) // S + 1
    seconds = np.arange(first, int(events["ts"][-1]) // S, every_s)
    more = np.zeros(len(seconds), events.dtype)
    more["ts"] = seconds * S + 1_000_000
    more["ts_venue"] = more["ts"]
    more["kind"], more["sym"] = kind, -1
    if kind == MODE:
        more["id"] = WHO_OPERATOR
    more["aux"] = [values[k % len(values)] for k in range(len(seconds))]
    out = np.concatenate([events, more])
    out = out[np.argsort(out["ts"], kind="stable")]
    out["seq"] = np.arange(len(out))
    return out


def test_off_nothing_waits_and_nothing_is_written(market):
    tables = tables_of(market, ONE)
    assert LOST_TO_BETTER in tables["decisions"]["blocker"]
    assert 0 == len(tables["releases"]) == len(tables["flow"])


def test_what_lost_to_a_better_one_leaves_before_the_next_evaluation(market):
    tables = tables_of(market, ON)
    rows = tables["releases"]
    left = rows[rows["blocker"] == OK]

    assert len(left) > 5
    assert (left["ts"] % S != 0).all()  # evaluations are on the full second
    per_generation = np.unique(left["generation"], return_counts=True)[1]
    assert 1 == per_generation.max()
    sent = {int(each["id"]): int(each["route"]) for each in tables["orders"]}
    assert all(sent[int(each["command"])] == each["route"] for each in left)
    assert (left["score_faded"] <= left["score_made"]).all()
    assert (left["born_ts"] <= left["scored_ts"]).all()
    # Each had lost in the evaluation that let it wait, to one that was better.
    lost = {
        (int(each["generation"]), int(each["sym"]))
        for each in tables["decisions"]
        if each["blocker"] == LOST_TO_BETTER
    }
    assert {(int(each["generation_made"]), int(each["sym"])) for each in left} <= lost
    flow = tables["flow"][-1]
    assert flow["n_released"] == len(left)
    assert flow["n_popped"] == len(rows)
    assert flow["n_popped"] == flow["n_released"] + (rows["blocker"] != OK).sum()


def test_more_may_leave_where_the_profile_says_so(market):
    few = tables_of(market, ON)["releases"]
    many = tables_of(market, {**ON, "heap": {"enabled": True, "max_per_drain": 8}})["releases"]
    none = tables_of(market, {**ON, "heap": {"enabled": True, "max_per_drain": 0}})["releases"]
    per_generation = np.unique(many["generation"][many["blocker"] == OK], return_counts=True)[1]
    assert per_generation.max() == 2  # three symbols, one of them enters in the evaluation
    assert 0 == len(none) < (few["blocker"] == OK).sum()


def test_releases_do_not_depend_on_how_events_are_cut(market):
    whole = tables_of(market, ON)
    parts = tables_of(market, ON, sizes=[1, 7, 2, 100, 3, 999, 5, 5, 5] * 40)
    for name, rows in whole.items():
        assert rows.tobytes() == parts[name].tobytes(), name


def test_a_change_of_mode_or_epoch_ends_what_was_decided_before_it(market):
    for kind, values in ((MODE, (MODE_REDUCED, MODE_NORMAL)), (EPOCH, (1, 1))):
        events = with_events(market[1], kind, 1, values)
        if kind == EPOCH:
            epochs = np.flatnonzero(events["kind"] == EPOCH)
            events["id"][epochs] = np.arange(len(epochs)) + 1
        rows = tables_of(market, ON, events)["releases"]
        # An evaluation that waited for a message came after the change of its second.
        change = rows["scored_ts"] // S * S + 1_000_000
        over = (rows["scored_ts"] < change) & (rows["ts"] > change)
        assert over.sum() > 5
        assert {GENERATION_MISMATCH} == set(rows["blocker"][over].tolist())
        assert 0 == rows["command"][over].sum()
        assert GENERATION_MISMATCH not in rows["blocker"][~over & (rows["ts"] - change < S)]
