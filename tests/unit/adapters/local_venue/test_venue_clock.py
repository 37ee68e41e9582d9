"""The market's clock: stretched without loss, and never back."""

import asyncio
import math

import pytest

from adapters.local_venue import generated, serve
from adapters.local_venue.clock import VenueClock
from engine.clock import WallClock

S = 1_000_000_000


class Hand:
    def __init__(self) -> None:
        self.at = 5 * S

    def now(self) -> int:
        return self.at


@pytest.mark.parametrize(("speed", "after"), [(1.0, 3600), (10.0, 36_000), (0.5, 1800)])
def test_an_hour_of_wall_time(speed: float, after: int) -> None:
    hand = Hand()
    clock = VenueClock(hand, 100 * S, speed)
    assert (100 + after) * S == clock.market(hand.at + 3600 * S)
    assert hand.at + 3600 * S == clock.wall_at((100 + after) * S)


def test_a_wall_clock_that_steps_back_does_not_take_the_market_along() -> None:
    clock = VenueClock(Hand(), 100 * S)
    assert 100 * S == clock.market(4 * S)


def test_a_market_as_fast_as_it_can_does_not_follow_the_wall() -> None:
    hand = Hand()
    clock = VenueClock(hand, 100 * S, math.inf)
    assert 100 * S == clock.market(hand.at + 3600 * S)


def test_a_clock_must_run() -> None:
    with pytest.raises(ValueError, match="does not run"):
        VenueClock(Hand(), 0, 0.0)


def test_a_venue_that_was_slow_to_start_is_on_time_all_the_same() -> None:
    """Its market began when it was asked for; compiling may have taken a minute since."""
    clock = WallClock()
    minute = 60_000_000_000

    async def behind(catch_up: bool) -> int:
        source = generated(3, start_ts=clock.now() - minute)
        async with serve(source, catch_up=catch_up, record=False) as venue:
            wall = venue.clock.wall()
            return wall - venue.clock.market(wall)

    assert asyncio.run(behind(False)) > minute // 2
    assert abs(asyncio.run(behind(True))) < minute // 100
