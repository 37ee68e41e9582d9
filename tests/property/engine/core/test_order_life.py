"""Whatever a truthful venue does and whenever: nothing is oversold, lost or left bare in silence."""

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.orders import is_working
from engine.core.orderstates import ORDER_STATE_SUSPECT, is_waiting
from engine.core.records import OK
from engine.events import EPOCH_VALID, MODE_NORMAL
from tests.support.order_desk import BID, QTY, S
from tests.support.wild_world import LIVE_STEPS, STEPS, World

SWAP_STEPS = ("command", "answers", "trigger", "command", "answers")


def dice(data: st.DataObject) -> tuple[Callable[[Sequence[Any]], Any], Callable[[int, int], int]]:
    return (
        lambda choices: data.draw(st.sampled_from(choices)),
        lambda low, high: data.draw(st.integers(low, high)),
    )


@settings(max_examples=150)
@given(data=st.data())
def test_whatever_the_venue_does(data: st.DataObject) -> None:
    world = World(native=data.draw(st.booleans()), swap=data.draw(st.booleans()))
    for _ in range(data.draw(st.integers(5, 60))):
        world.step(data.draw(st.sampled_from(STEPS)), *dice(data))
        world.check()
    world.check_records()


@settings(max_examples=150)
@given(data=st.data())
def test_whatever_the_venue_does_to_a_position_that_swaps_its_stop(data: st.DataObject) -> None:
    world = World(native=data.draw(st.booleans()), swap=True)
    world.hold()
    assert 1 == len(world.venue.sells())
    for _ in range(data.draw(st.integers(5, 40))):
        world.step(data.draw(st.sampled_from((*STEPS, *SWAP_STEPS))), *dice(data))
        world.check()
    world.check_records()


@settings(max_examples=60)
@given(data=st.data())
def test_a_calm_venue_gets_everything_flat_in_the_end(data: st.DataObject) -> None:
    """After any history: normal mode, valid data, a venue that accepts. Nothing stays stuck."""
    world = World(native=data.draw(st.booleans()), swap=data.draw(st.booleans()))
    for _ in range(data.draw(st.integers(5, 40))):
        world.step(data.draw(st.sampled_from(STEPS)), *dice(data))
    desk, venue = world.desk, world.venue
    desk.glob["mode"], desk.glob["epoch_status"] = MODE_NORMAL, EPOCH_VALID
    desk.core.symbols[0]["verified"] = 1
    for _ in range(60):
        while venue.commands or venue.answers:
            if venue.answers:
                world.answer()
            else:
                venue.take_command(None, 4, BID)
            world.carry()
        for order in [each for each in venue.orders.values() if each.side > 0]:
            venue.expire(order.id)  # its window is long over
        desk.wait(12 * S)
        desk.quote(BID, BID + 2, trade=BID)
        desk.manage()
        world.carry()
    world.check()
    doubtful = any(
        order["state"] == ORDER_STATE_SUSPECT or is_waiting(order["state"])
        for order in desk.core.orders
        if is_working(order)
    )
    if not doubtful:
        assert 0 == desk.position()["qty"]
        assert 0 == len(venue.sells())


@settings(max_examples=150)
@given(data=st.data())
def test_whatever_happens_to_the_private_line(data: st.DataObject) -> None:
    """Answers lost at any point, commands that arrive or not: once read, books and venue agree."""
    world = World(live=True, native=data.draw(st.booleans()), swap=data.draw(st.booleans()))
    for _ in range(data.draw(st.integers(5, 60))):
        world.step(data.draw(st.sampled_from(LIVE_STEPS)), *dice(data))
        world.check()
    if world.lost:
        world.come_back()
    else:
        world.lose()
        world.come_back()
    world.check()
    desk, venue = world.desk, world.venue
    held = int(desk.position()["qty"] + desk.position()["dust"])
    assert (venue.cash, venue.base) == (desk.glob["cash"], held)
    assert 0 == desk.glob["reconcile"]
    assert 0 == desk.position()["short"] == desk.position()["foreign"]
    world.check_records()


def test_the_wild_venue_moves_a_whole_trade() -> None:
    """The harness itself: a trade goes through by its ordinary path."""
    world = World()
    code, decision = world.desk.enter()
    assert OK == code
    world.carry()
    world.venue.take_command(None, 0, BID)
    world.venue.fill(int(decision["command"]), QTY, BID)
    while world.venue.answers:
        world.answer()
        world.carry()
        world.check()
    world.venue.take_command(None, 0, BID)
    stop = world.venue.sells()[0]
    world.venue.trigger(stop.id, 4, stop.price or BID - 1200)
    while world.venue.answers:
        world.answer()
    world.check()
    assert 0 == world.desk.position()["qty"] == world.venue.base
    assert 1 == len(world.desk.rows("realized"))
