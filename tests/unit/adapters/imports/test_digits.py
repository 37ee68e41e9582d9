"""Numbers of recordings, one by one."""

from decimal import Decimal

import numpy as np
import pytest

from adapters.imports.digits import (
    NEGATIVE,
    NOT_A_NUMBER,
    OFF_GRID,
    OK,
    TOO_LARGE,
    Grid,
    plain,
    steps_of,
    steps_of_doubles,
    written_decimals,
)

CENT = Grid.of(Decimal("0.01"))
HALF = Grid.of(Decimal("0.5"))


@pytest.mark.parametrize(
    ("text", "grid", "steps", "reason"),
    [
        ("27120.00000", CENT, 2_712_000, OK),
        ("0", CENT, 0, OK),
        ("0.015", CENT, 0, OFF_GRID),
        ("1.5", HALF, 3, OK),
        ("1.25", HALF, 0, OFF_GRID),
        ("1e-2", CENT, 1, OK),
        ("-1", CENT, 0, NEGATIVE),
        ("NaN", CENT, 0, NOT_A_NUMBER),
        ("", CENT, 0, NOT_A_NUMBER),
        ("1e40", CENT, 0, TOO_LARGE),
        ("99999999999999999999", CENT, 0, TOO_LARGE),
    ],
)
def test_steps_of_a_text(text, grid, steps, reason):
    assert steps_of(text, grid) == (steps, reason)


def test_doubles():
    values = np.array([0.11244000000000001, 61.79600000000001, 0.015, np.nan, -1.0, 1e30, np.inf])

    steps, reason = steps_of_doubles(values, Grid.of(Decimal("0.00001")))

    assert steps.tolist() == [11244, 6179600, 1500, 0, 0, 0, 0]
    assert reason.tolist() == [OK, OK, OK, NOT_A_NUMBER, NEGATIVE, TOO_LARGE, NOT_A_NUMBER]


def test_a_double_off_the_grid_is_refused_unless_it_is_a_sum():
    values = np.array([5718.3365549701])
    lots = Grid.of(Decimal("0.00000001"))

    assert steps_of_doubles(values, lots)[1].tolist() == [OFF_GRID]
    assert steps_of_doubles(values, lots, off_grid_allowed=True)[0].tolist() == [571833655497]


def test_texts():
    assert plain("1e-08") == "0.00000001"
    assert plain("12.50") == "12.50"
    assert plain("nonsense") == "nonsense"
    assert written_decimals("12.50") == 2


@pytest.mark.parametrize("step", ["-1", "0", "NaN"])
def test_a_step_must_be_above_zero(step):
    with pytest.raises(ValueError, match="above zero"):
        Grid.of(Decimal(step))
