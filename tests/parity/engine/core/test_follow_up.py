"""Whole runs in which what was not done matters: the taker fallback, and rows that end exactly once."""

import numpy as np
import pytest

from engine.commands import ADD, IOC, ROLE_ENTRY
from engine.core.routes import ENTRY_TAKE, route_entry_mode
from engine.core.shadow import OUTCOME_ENDED, OUTCOME_STATUS_NAMES
from tests.support.short_market import short_market
from tests.support.worlds import EAGER, make_world, run_world


@pytest.fixture(scope="module")
def market():
    return short_market(1800, symbols=3, seed=11)


def fallbacks(commands: np.ndarray) -> int:
    """Entries that take although their route rests."""
    entries = commands[(commands["kind"] == ADD) & (commands["role"] == ROLE_ENTRY)]
    taking = entries[entries["tif"] == IOC]
    return sum(int(route_entry_mode(int(key))) != ENTRY_TAKE for key in taking["route"])


def test_a_lapsed_entry_takes_on_the_edge_that_its_route_has_now(market):
    instruments, events = market
    orders = {"maker_window": "2s"}
    _, without = run_world(make_world(instruments, {**EAGER, "orders": orders}), [events])
    orders["taker_fallback"] = True
    _, tables = run_world(make_world(instruments, {**EAGER, "orders": orders}), [events])
    assert fallbacks(without["commands"]) == 0
    assert fallbacks(tables["commands"]) > 0


def test_every_candidate_that_was_written_down_has_exactly_one_outcome(market):
    instruments, events = market
    world = make_world(instruments)
    _, tables = run_world(world, [events])
    candidates, outcomes = tables["candidates"], tables["outcomes"]
    assert len(candidates) == len(outcomes) > 1_000
    for name in ("ts", "route", "blocker", "rank", "weight", "executed"):
        assert np.array_equal(candidates[name], outcomes[name]), name
    assert (np.diff(outcomes["closed_ts"]) >= 0).all()
    assert set(outcomes["status"].tolist()) <= set(OUTCOME_STATUS_NAMES)
    assert OUTCOME_ENDED in outcomes["status"]
    shadow = world.core.glob[0]["shadow"]
    assert shadow["first"] == shadow["next"] == len(outcomes)


def test_following_changes_no_decision(market):
    instruments, events = market
    with_it, _ = run_world(make_world(instruments), [events])
    quiet = {**EAGER, "records": {"shadow": False}}
    without, _ = run_world(make_world(instruments, quiet), [events])
    differ = {
        name
        for name, digest in with_it.table_digests.items()
        if digest != without.table_digests[name]
    }
    assert differ == {"outcomes"}
