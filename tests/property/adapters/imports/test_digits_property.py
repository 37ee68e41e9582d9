"""Text to steps agrees with Decimal, one by one and in columns, and never rounds."""

from decimal import Decimal, InvalidOperation

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from adapters.imports.digits import (
    NEGATIVE,
    NOT_A_NUMBER,
    OFF_GRID,
    OK,
    STEPS_MAX,
    TOO_LARGE,
    Grid,
    parse_column,
    significant_decimals,
    significant_decimals_column,
    steps_of,
    steps_of_doubles,
    to_steps_column,
)

STEPS = st.sampled_from(
    ["1", "0.1", "0.01", "0.00000001", "0.5", "0.25", "5", "10", "1000", "0.0025"]
)
PLAIN = st.from_regex(r"[0-9]{1,12}(\.[0-9]{0,12})?", fullmatch=True)
ODD = st.one_of(
    st.sampled_from(
        ["", ".", "NaN", "nan", "inf", "-1", "-0.5", "+1", "1e-8", "1E3", "--1", "1.2.3"]
    ),
    st.sampled_from(
        ["0x10", " 1", "1 ", "1,5", "\u0661", "9" * 40, "9" * 19 + ".5", "0" * 50 + "1"]
    ),
    st.text(max_size=6),
)
TEXTS = st.one_of(PLAIN, PLAIN, ODD)


def expected(text, step):
    """(steps, reason) by Decimal alone."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return 0, NOT_A_NUMBER
    if not value.is_finite():
        return 0, NOT_A_NUMBER
    if value < 0:
        return 0, NEGATIVE
    exact = value / step if value < Decimal(10) ** 30 else Decimal(10) ** 30
    if exact > STEPS_MAX:
        return 0, TOO_LARGE
    if exact != exact.to_integral_value():
        return 0, OFF_GRID
    return int(exact), OK


def same(ours, theirs):
    """Too large and off the grid are both true of some numbers; either may be said."""
    if {ours[1], theirs[1]} == {TOO_LARGE, OFF_GRID}:
        return True
    return ours == theirs


@given(text=TEXTS, step=STEPS)
def test_one_text_agrees_with_decimal(text, step):
    step = Decimal(step)

    assert same(steps_of(text, Grid.of(step)), expected(text, step))


@given(texts=st.lists(TEXTS, max_size=30), step=STEPS, skip=st.integers(0, 3))
def test_a_column_agrees_with_its_texts_one_by_one(texts, step, skip):
    """Also for a slice of a longer Arrow array, whose buffers begin elsewhere."""
    grid = Grid.of(Decimal(step))
    array = pa.array(["7"] * skip + texts, pa.string())[skip:]

    steps, reason = to_steps_column(parse_column(array), grid)

    for i, text in enumerate(texts):
        assert same((int(steps[i]), int(reason[i])), steps_of(text, grid)), text


@given(texts=st.lists(PLAIN, min_size=1, max_size=30))
def test_the_most_decimals_of_a_column_are_those_of_its_texts(texts):
    column = parse_column(pa.array(texts, pa.string()))

    assert significant_decimals_column(column) == max(map(significant_decimals, texts))


@given(steps=st.integers(0, 10**15), decimals=st.integers(0, 8))
def test_a_decimal_survives_a_double(steps, decimals):
    """What a double can hold comes back exactly, also after arithmetic noise in the last place."""
    step = Decimal(1).scaleb(-decimals)
    value = float(steps * step)

    for noisy in (value, np.nextafter(value, np.inf), np.nextafter(value, 0)):
        found, reason = steps_of_doubles(np.array([noisy]), Grid.of(step))
        assert (int(found[0]), int(reason[0])) == (steps, OK)
