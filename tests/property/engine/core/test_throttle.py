"""The ladder of losses against a list of all losses; its effect on sizes, entries and mode."""

import functools
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.capital import size_factor
from engine.core.records import ALLOW, HALT
from engine.core.risk import RISK_LOSS_THROTTLE, risk_gate, settle_throttle
from engine.core.throttle import (
    DAY_MINUTES,
    HOUR_MINUTES,
    THROTTLE,
    lost_in_hour,
    steps_for,
    throttle_loss,
    throttle_roll,
)
from engine.events import MODE_EXIT_ONLY, MODE_HALT, MODE_NORMAL
from engine.jit import entry_point
from tests.support.order_desk import USD, OrderDesk

MINUTE = 60_000_000_000


@functools.cache
def entries() -> tuple[Any, ...]:
    row = np.zeros(1, THROTTLE)[0]
    return (
        entry_point(throttle_loss, row, 0, 0),
        entry_point(throttle_roll, row, 0),
        entry_point(lost_in_hour, row),
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [0, 1, MINUTE // 3, MINUTE, 40 * MINUTE, 1_439 * MINUTE, 5_000 * MINUTE]
            ),
            st.integers(1, 1 << 40),
        ),
        max_size=40,
    )
)
def test_both_windows_hold_what_a_list_of_losses_says(waits: list[tuple[int, int]]) -> None:
    lose, roll, in_hour = entries()
    throttle = np.zeros(1, THROTTLE)[0]
    now = 1_700_000_000_000_000_123
    losses: list[tuple[int, int]] = []
    for wait, money in waits:
        now += wait
        roll(throttle, now)
        minute = now // MINUTE
        day = sum(lost for at, lost in losses if minute - at < DAY_MINUTES)
        hour = sum(lost for at, lost in losses if minute - at < HOUR_MINUTES)
        assert (day, hour) == (throttle["lost_day"], in_hour(throttle))
        lose(throttle, now, money)
        losses.append((minute, money))


def test_steps_are_whole_shares_of_equity() -> None:
    assert [steps_for(lost, 1_000, 0.25, 3) for lost in (0, 249, 250, 499, 500, 750, 9_999)] == [
        0, 0, 1, 1, 2, 3, 3,
    ]  # fmt: skip
    assert steps_for(0, 0, 0.25, 3) == 3


def lose(desk: OrderDesk, usd: int) -> None:
    throttle_loss(desk.glob["throttle"], int(desk.glob["now"]), usd * USD)


def test_each_step_halves_the_size_and_time_takes_it_back() -> None:
    desk = OrderDesk(risk_throttle_steps=3, risk_throttle_step_1h=0.01, risk_throttle_step_24h=0.05)
    assert size_factor(desk.desk) == 1.0
    lose(desk, 100)  # of 10,000: one step of the hour
    assert size_factor(desk.desk) == 0.5
    lose(desk, 100)
    assert size_factor(desk.desk) == 0.25
    desk.wait(60 * MINUTE)
    assert size_factor(desk.desk) == 1.0
    lose(desk, 90)
    lose(desk, 220)  # the hour alone says 3, the day 1
    desk.wait(60 * MINUTE)
    assert size_factor(desk.desk) == 0.5


def test_the_last_step_ends_entries_and_the_mode_stays() -> None:
    desk = OrderDesk(risk_throttle_steps=2, risk_throttle_step_1h=0.01)
    price, qty = 600_000, 1_000_000
    lose(desk, 199)
    settle_throttle(desk.core)
    assert desk.glob["mode"] == MODE_NORMAL
    lose(desk, 1)
    verdict, check, value, limit = risk_gate(desk.core, 0, price, qty)
    assert (HALT, RISK_LOSS_THROTTLE, 2.0, 2.0) == (verdict, check, value, limit)
    settle_throttle(desk.core)
    assert desk.glob["mode"] == MODE_EXIT_ONLY
    desk.wait(3_000 * MINUTE)
    settle_throttle(desk.core)
    assert desk.glob["mode"] == MODE_EXIT_ONLY


def test_it_never_loosens_a_stricter_mode() -> None:
    desk = OrderDesk(risk_throttle_steps=1, risk_throttle_step_1h=0.01)
    desk.glob["mode"] = MODE_HALT
    lose(desk, 5_000)
    settle_throttle(desk.core)
    assert desk.glob["mode"] == MODE_HALT


def test_without_steps_there_is_no_ladder() -> None:
    desk = OrderDesk()
    lose(desk, 5_000)
    settle_throttle(desk.core)
    assert size_factor(desk.desk) == 1.0
    assert desk.glob["mode"] == MODE_NORMAL
    assert risk_gate(desk.core, 0, 600_000, 1_000_000)[0] == ALLOW
