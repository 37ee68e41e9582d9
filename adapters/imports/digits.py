"""How does a number's text become whole steps without passing through a float?

Two roads with the same answer: `steps_of` for one text, `parse_column` and `to_steps_column` for
a column of an Arrow table, in a handful of numpy passes. What is not a plain decimal (an
exponent, a NaN, more than 18 digits) takes the slow road through Decimal. Numbers that an earlier
tool stored as doubles go through `steps_of_doubles`, which finds the decimal that was meant.
Left out: what to do with a number that is refused; the reader decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import numpy as np
import pyarrow as pa

STEPS_MAX: Final = 1 << 60  # beyond this a number is damaged: sums of eight must fit int64
_WIDTH_MAX: Final = 40  # characters; a longer text is parsed by itself
_DIGITS_MAX: Final = 18  # significant digits that surely fit an int64

# Why a number is refused. 0 is no refusal.
OK: Final = 0
NOT_A_NUMBER: Final = 1
OFF_GRID: Final = 2
NEGATIVE: Final = 3
ZERO: Final = 4
TOO_LARGE: Final = 5

REASONS: Final[dict[int, str]] = {
    NOT_A_NUMBER: "not a number",
    OFF_GRID: "off the grid",
    NEGATIVE: "negative",
    ZERO: "zero",
    TOO_LARGE: "too large",
}

_POWERS: Final = np.array([10**i for i in range(19)], np.int64)


@dataclass(frozen=True)
class Grid:
    """A step as k x 10^-decimals; every price and quantity of a pair is a whole number of it."""

    step: Decimal
    decimals: int
    factor: int

    @classmethod
    def of(cls, step: Decimal) -> Grid:
        """The grid of a step above zero: 0.25 is 25 x 10^-2, 10 is 10 x 10^0."""
        sign, digits, exponent = step.normalize().as_tuple()
        if sign or not isinstance(exponent, int) or digits == (0,):
            raise ValueError(f"a step must be above zero, not {step}.")
        factor = int("".join(map(str, digits)))
        return cls(step, max(-exponent, 0), factor * 10 ** max(exponent, 0))


def significant_decimals(text: str) -> int:
    """Decimals of a plain decimal text without its trailing zeros: 2 for `13.2500`."""
    _, _, fraction = text.partition(".")
    return len(fraction.rstrip("0"))


def written_decimals(text: str) -> int:
    """Decimals of a plain decimal text as it is written: 4 for `13.2500`."""
    _, _, fraction = text.partition(".")
    return len(fraction)


def plain(text: str) -> str:
    """A number's text without an exponent: `1e-08` gives `0.00000001`; other texts as they are."""
    if "e" in text or "E" in text:
        try:
            return format(Decimal(text), "f")
        except InvalidOperation:
            return text
    return text


def steps_of(text: str, grid: Grid) -> tuple[int, int]:
    """Whole steps of one number's text, and why not.

    returns (steps, reason): reason is OK, NOT_A_NUMBER, OFF_GRID, NEGATIVE or TOO_LARGE; steps is
    0 unless OK. Zero is OK: whether it may be is the reader's question.
    """
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if not (digits.isdigit() and digits.isascii()):
        return _steps_by_decimal(text, grid)
    missing = grid.decimals - len(fraction)
    if missing >= 0:
        count = int(digits) * 10**missing
    else:
        if fraction[missing:].strip("0"):
            return 0, OFF_GRID
        count = int(digits[:missing])
    if grid.factor != 1:
        count, rest = divmod(count, grid.factor)
        if rest:
            return 0, OFF_GRID
    if count > STEPS_MAX:
        return 0, TOO_LARGE
    return count, OK


def _steps_by_decimal(text: str, grid: Grid) -> tuple[int, int]:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return 0, NOT_A_NUMBER
    if not value.is_finite():
        return 0, NOT_A_NUMBER
    if value < 0:
        return 0, NEGATIVE
    if value > STEPS_MAX * grid.step:
        return 0, TOO_LARGE
    count, rest = divmod(value, grid.step)
    if rest:
        return 0, OFF_GRID
    return int(count), OK


# ---- columns ----


@dataclass(frozen=True)
class Column:
    """A column of numbers as mantissa x 10^-decimals, and the rows that need the slow road.

    mantissa, decimals : int64[n]; odd : bool[n], True where the two are not filled in
    texts : the Arrow strings, for the odd ones and for messages
    """

    mantissa: np.ndarray
    decimals: np.ndarray
    odd: np.ndarray
    texts: pa.StringArray


def _bytes_of(texts: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """uint8[n, width] of the texts, left aligned and padded with 0, and their lengths int64[n]."""
    n = len(texts)
    offsets_buffer, data_buffer = texts.buffers()[1:3]
    offsets = np.frombuffer(offsets_buffer, np.int32)[texts.offset : texts.offset + n + 1]
    lengths = np.diff(offsets).astype(np.int64)
    width = min(int(lengths.max(initial=0)), _WIDTH_MAX)
    if data_buffer is None or width == 0:
        return np.zeros((n, 0), np.uint8), lengths
    data = np.frombuffer(data_buffer, np.uint8)
    index = offsets[:-1, None].astype(np.int64) + np.arange(width)
    inside = np.arange(width) < lengths[:, None]
    cells = data[np.minimum(index, len(data) - 1)]
    return np.where(inside, cells, 0).astype(np.uint8), lengths


def parse_column(texts: pa.StringArray) -> Column:
    """Decimal texts of one Arrow array (no nulls) to integers with their number of decimals."""
    cells, lengths = _bytes_of(texts)
    n, width = cells.shape
    mantissa = np.zeros(n, np.int64)
    decimals = np.zeros(n, np.int64)
    digits = np.zeros(n, np.int64)
    seen_digit = np.zeros(n, bool)
    seen_point = np.zeros(n, bool)
    odd = lengths > width
    for i in range(width):
        cell = cells[:, i].astype(np.int64)
        digit = cell - ord("0")
        is_digit = (digit >= 0) & (digit <= 9)
        is_point = cell == ord(".")
        odd |= ~is_digit & ~is_point & (cell != 0)
        odd |= is_point & seen_point
        seen_point |= is_point
        mantissa = np.where(is_digit, mantissa * 10 + digit, mantissa)
        digits += is_digit & (mantissa > 0)
        decimals += is_digit & seen_point
        seen_digit |= is_digit
        # Wrapped mantissas belong to rows that are odd already, by their number of digits.
        odd |= digits > _DIGITS_MAX
    odd |= ~seen_digit | (decimals > _DIGITS_MAX)
    return Column(np.where(odd, 0, mantissa), np.where(odd, 0, decimals), odd, texts)


def to_steps_column(column: Column, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Whole steps of a parsed column, and why not.

    returns steps int64[n] (0 where refused), reason int8[n] as in `steps_of`
    """
    surplus = column.decimals - grid.decimals
    divisor = _POWERS[np.clip(surplus, 0, 18)]
    factor = _POWERS[np.clip(-surplus, 0, 18)]
    count, rest = np.divmod(column.mantissa, divisor)
    reason = np.where(rest != 0, OFF_GRID, OK).astype(np.int8)
    too_large = (count > STEPS_MAX // factor) | (surplus < -18)
    reason[too_large & (reason == OK) & (count != 0)] = TOO_LARGE
    steps = np.where(reason == OK, count * factor, 0)
    if grid.factor != 1:
        steps, rest = np.divmod(steps, grid.factor)
        reason[(rest != 0) & (reason == OK)] = OFF_GRID
    steps[reason != OK] = 0
    for i in np.flatnonzero(column.odd):
        steps[i], reason[i] = _steps_by_decimal(column.texts[int(i)].as_py(), grid)
    return steps.astype(np.int64), reason


def significant_decimals_column(column: Column) -> int:
    """The most decimals that any number of a parsed column needs; odd ones by Decimal."""
    mantissa, decimals = column.mantissa.copy(), column.decimals.copy()
    most = 0
    while True:
        strip = (decimals > most) & (mantissa % 10 == 0)
        if not strip.any():
            break
        mantissa[strip] //= 10
        decimals[strip] -= 1
    most = max(most, int(decimals.max(initial=0)))
    for i in np.flatnonzero(column.odd):
        most = max(most, _decimals_by_decimal(column.texts[int(i)].as_py()))
    return most


def _decimals_by_decimal(text: str) -> int:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return 0
    if not value.is_finite():
        return 0
    exponent = value.normalize().as_tuple().exponent
    return min(max(-exponent, 0), 18) if isinstance(exponent, int) else 0


# ---- doubles ----


def steps_of_doubles(
    values: Any, grid: Grid, off_grid_allowed: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Whole steps of numbers that an earlier tool stored as doubles, and why not.

    A double holds 15 to 17 digits, so 0.11244000000000001 was 0.11244: the nearest step is taken
    when the double lies within its own rounding error of it (eight units in the last place).

    values : float64[n]
    off_grid_allowed : take the nearest step of any number, for sums that the source itself made
        with doubles
    returns steps int64[n] (0 where refused), reason int8[n]
    """
    values = np.asarray(values, np.float64)
    finite = np.isfinite(values)
    scaled = np.where(finite, values, 0.0) * float(10**grid.decimals)
    if grid.factor != 1:
        scaled = scaled / float(grid.factor)
    reason = np.where(finite, OK, NOT_A_NUMBER).astype(np.int8)
    reason[finite & (scaled < 0)] = NEGATIVE
    reason[finite & (scaled > STEPS_MAX)] = TOO_LARGE
    nearest = np.rint(np.where(reason == OK, scaled, 0.0))
    error = np.abs(np.where(reason == OK, scaled, 0.0) - nearest)
    # Half a step is lost beyond 2^52: there the double itself is the whole number.
    allowed = np.minimum(np.maximum(np.spacing(nearest) * 8, 1e-9), 0.25)
    if not off_grid_allowed:
        reason[(reason == OK) & (error > allowed)] = OFF_GRID
    steps = np.where(reason == OK, nearest, 0.0).astype(np.int64)
    return steps, reason
