"""Fill probabilities where the answer is known in closed form."""

from __future__ import annotations

import math

import pytest

from engine.core.fillprob import (
    FILL_LEVEL3,
    FILL_QUEUE,
    FILL_TOUCH,
    PROBABILITY_MIN,
    eaten_probability,
    maker_fill,
    poisson_exceeds,
    touch_probability,
)


@pytest.mark.parametrize("a", [0.0, 0.01, 0.5, 3.0, 20.0])
def test_an_empty_queue_fills_with_the_first_trade(a: float) -> None:
    assert 1.0 - math.exp(-a) == pytest.approx(poisson_exceeds(a, 0.0), abs=1e-12)


@pytest.mark.parametrize("mean", [0.3, 2.0, 11.0])
def test_equal_means_leave_half_of_what_is_not_a_tie(mean: float) -> None:
    """P(N > M) = (1 - P(N = M)) / 2, and P(N = M) = exp(-2 mean) I0(2 mean)."""
    bessel = sum((mean**k / math.factorial(k)) ** 2 for k in range(80))
    expected = 0.5 * (1.0 - math.exp(-2 * mean) * bessel)

    assert expected == pytest.approx(poisson_exceeds(mean, mean), abs=1e-12)


def test_no_flow_never_fills() -> None:
    assert 0.0 == poisson_exceeds(0.0, 5.0)


def test_a_walk_touches_one_sigma_with_twice_the_tail() -> None:
    """2 x Phi(-1) = 0.3173."""
    assert 0.31731050786291415 == pytest.approx(touch_probability(5.0, 1.0, 25.0), rel=1e-12)
    assert 0.0 == touch_probability(5.0, 0.0, 25.0)


def test_what_would_sooner_finish_the_order_is_named() -> None:
    busy = maker_fill(100.0, 10.0, 50.0, 10.0, 4.0, 0.01, 30.0, 0.0, 1.0)
    wild = maker_fill(1e9, 10.0, 50.0, 10.0, 1.0, 2.0, 30.0, 0.0, 1.0)

    assert FILL_QUEUE == busy[2]
    assert 110.0 / 50.0 == pytest.approx(busy[1])
    assert FILL_TOUCH == wild[2]
    assert touch_probability(1.0, 2.0, 30.0) == pytest.approx(wild[0])


def test_an_order_fills_only_where_the_market_comes_to_it() -> None:
    """Endless flow and nobody ahead: what is left is the chance that our price is come to."""
    first = maker_fill(0.0, 10.0, 1e6, 10.0, 4.0, 0.01, 30.0, 0.0, 0.3)
    assert 0.3 == pytest.approx(first[0])
    assert 0.0 == eaten_probability(5.0, 1e9)


@pytest.mark.parametrize("b", [0.0, 0.5, 4.0])
def test_given_one_trade_it_alone_must_eat_the_queue_where_no_other_comes(b: float) -> None:
    """One trade of exponential size outlasts b average ones with chance exp(-b)."""
    assert math.exp(-b) == pytest.approx(eaten_probability(0.0, b))
    assert math.exp(-b) == pytest.approx(eaten_probability(2e-4, b), rel=1e-3)


def test_the_median_of_the_walk_is_reached_with_even_chance() -> None:
    _, wait, method = maker_fill(1.0, 1.0, math.nan, math.nan, 3.0, 0.5, 30.0, 0.0, 1.0)

    assert FILL_TOUCH == method
    assert 0.5 == pytest.approx(touch_probability(3.0, 0.5, wait), rel=1e-9)


def test_without_flow_and_volatility_nothing_is_certain_and_the_wait_is_endless() -> None:
    chance, wait, _ = maker_fill(10.0, 1.0, 0.0, math.nan, 3.0, 0.0, 30.0, 0.0, 1.0)

    assert PROBABILITY_MIN == chance
    assert math.inf == wait


def test_who_cancels_ahead_of_us_shortens_the_queue_but_not_what_we_want_ourselves() -> None:
    """100 ahead, 10 lots/s traded, 5 lots/s leave: gone in 6.67 s, our own 20 in two more."""
    plain = maker_fill(100.0, 20.0, 10.0, 10.0, 50.0, 0.01, 10.0, 0.0, 1.0)
    leaving = maker_fill(100.0, 20.0, 10.0, 10.0, 50.0, 0.01, 10.0, 5.0, 1.0)

    assert (FILL_QUEUE, FILL_LEVEL3) == (plain[2], leaving[2])
    assert 100 / 15 + 2 == pytest.approx(leaving[1])
    # a third of the 100 left by themselves until then
    shorter = maker_fill(100 - 100 / 3, 20.0, 10.0, 10.0, 50.0, 0.01, 10.0, 0.0, 1.0)
    assert plain[0] < leaving[0] == pytest.approx(shorter[0])
    # nobody can leave ahead of whoever stands first
    first = maker_fill(0.0, 20.0, 10.0, 10.0, 50.0, 0.01, 10.0, 5.0, 1.0)
    assert first == maker_fill(0.0, 20.0, 10.0, 10.0, 50.0, 0.01, 10.0, 0.0, 1.0)
