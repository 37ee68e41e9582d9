"""The core's own account against the venue's, to the last unit, over an hour of trading."""

import pytest

from engine.core.orderstates import ORDER_STATE_SUSPECT
from engine.core.protection import COVER_NONE
from tests.support.short_market import short_market
from tests.support.worlds import EAGER, make_world, run_world


@pytest.mark.long
@pytest.mark.parametrize("target_style", [0, 1])
def test_cash_and_coins_are_the_venues(target_style: int) -> None:
    instruments, events = short_market(3600, symbols=3, seed=11)
    overrides = {
        **EAGER,
        "evaluation": {"warmup": "5s", "max_entries": 3},
        "exits": {"target_style": target_style, "time_multiple": 1.0},
    }
    world = make_world(instruments, overrides)
    paid_in = int(world.core.glob[0]["cash"])
    _, tables = run_world(world, [events])
    core, venue = world.core.glob[0], world.venue.glob[0]

    assert len(tables["realized"]) > 10
    assert 0 == core["fault"]
    assert venue["cash"] == core["cash"]
    for ours, theirs in zip(world.core.symbols, world.venue.symbols, strict=True):
        position = ours["position"]
        assert theirs["base"] == position["qty"] + position["dust"]
        if position["qty"] > 0:
            assert position["coverage"] != COVER_NONE
    assert ORDER_STATE_SUSPECT not in tables["orders"]["state"]
    # I-01: what was paid in is cash, the cost of what is held, and profit with its sign
    positions = [each["position"] for each in world.core.symbols]
    cost = sum(int(each["cost"] + each["dust_cost"]) for each in positions)
    assert paid_in == int(core["cash"]) + cost - int(core["realized"])
