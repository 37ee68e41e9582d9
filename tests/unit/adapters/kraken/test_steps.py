"""Exact numbers to ticks and lots, and what is refused instead of rounded."""

from decimal import Decimal

import pytest

from adapters.kraken.steps import Grid, Refusal, same_steps
from engine.instruments import Instrument

# Steps of 0.05 written with two decimals, lots of 0.002 written with three.
GRID = Grid.of(Instrument("A/USD", Decimal("0.05"), Decimal("0.002"), 2, 3))


@pytest.mark.parametrize(("price", "ticks"), [("0.05", 1), ("3000.05", 60_001), ("1E+2", 2000)])
def test_a_price_is_whole_ticks(price, ticks):
    assert GRID.ticks(Decimal(price), "price") == ticks


@pytest.mark.parametrize(("qty", "lots"), [("0", 0), ("0.002", 1), ("0.0020000", 1), ("1", 500)])
def test_a_quantity_is_whole_lots(qty, lots):
    assert GRID.lots(Decimal(qty), "quantity") == lots


@pytest.mark.parametrize(
    ("price", "why"),
    [
        ("0.03", "whole number"),
        ("0.050000000000000000000000000000000000001", "whole number"),
        ("-0.05", "negative"),
        ("0", "zero"),
        ("1E+30", "too large"),
    ],
)
def test_a_price_is_refused_rather_than_rounded(price, why):
    with pytest.raises(Refusal, match=why):
        GRID.ticks(Decimal(price), "price")


@pytest.mark.parametrize(
    ("average", "ticks"),
    [("0.07", 1), ("0.075", 2), ("0.0749999999999999999999999999999999", 1), ("0.124", 2)],
)
def test_an_average_goes_to_the_nearest_tick_half_up(average, ticks):
    assert GRID.ticks_nearest(Decimal(average), "vwap") == ticks


def test_an_average_has_bounds_too():
    for wrong, why in (("-1", "negative"), ("1E+30", "too large")):
        with pytest.raises(Refusal, match=why):
            GRID.ticks_nearest(Decimal(wrong), "vwap")


def test_another_precision_is_another_measure():
    one = Instrument("A/USD", Decimal("0.05"), Decimal("0.002"), 2, 3)
    finer = Instrument("A/USD", Decimal("0.05"), Decimal("0.002"), 3, 3)
    closed = Instrument("A/USD", Decimal("0.05"), Decimal("0.002"), 2, 3, status="cancel_only")

    assert same_steps(one, closed)
    assert not same_steps(one, finer)
