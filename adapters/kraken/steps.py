"""In which steps is a pair measured? Exact numbers of the wire to ticks and lots, or a refusal.

Also the instruments that the instrument channel describes. Left out: level 2 books, whose text
engine/feedbook.py reads by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Final

from adapters.kraken.wire import Instruments, Pair
from engine.instruments import (
    FEED_QTY_MAX,
    PRICE_MAX,
    Instrument,
    InstrumentTable,
    UnknownSymbolError,
)

_EXACT: Final = Context(prec=200)  # no number of the wire is rounded in it
_PRECISION_MAX: Final = 18


class Refusal(Exception):
    """A number of the message is not to be believed; `text` says which and why."""


@dataclass(frozen=True)
class Grid:
    """What the numbers of one pair are measured in."""

    price_precision: int
    qty_precision: int
    tick_num: int
    lot_num: int

    @classmethod
    def of(cls, instrument: Instrument) -> Grid:
        row = instrument.row()
        return cls(
            instrument.price_precision,
            instrument.qty_precision,
            int(row["tick_num"]),
            int(row["lot_num"]),
        )

    def ticks(self, price: Decimal, name: str) -> int:
        """A price, not zero, as ticks; raises Refusal."""
        ticks = _steps(price, self.price_precision, self.tick_num, PRICE_MAX, name)
        if ticks == 0:
            raise Refusal(f"{name} {price} is zero")
        return ticks

    def ticks_or_zero(self, price: Decimal, name: str) -> int:
        """A price of a summary, 0 where nothing has one; raises Refusal."""
        return _steps(price, self.price_precision, self.tick_num, PRICE_MAX, name)

    def ticks_nearest(self, price: Decimal, name: str) -> int:
        """An average as the nearest tick, half up; raises Refusal."""
        if price < 0:
            raise Refusal(f"{name} {price} is negative")
        doubled = int(_EXACT.multiply(_EXACT.scaleb(price, self.price_precision), 2))
        ticks = (doubled + self.tick_num) // (2 * self.tick_num)
        if ticks > PRICE_MAX:
            raise Refusal(f"{name} {price} is too large")
        return ticks

    def lots(self, qty: Decimal, name: str) -> int:
        """A quantity as lots; raises Refusal."""
        return _steps(qty, self.qty_precision, self.lot_num, FEED_QTY_MAX, name)


def _steps(value: Decimal, precision: int, step_num: int, most: int, name: str) -> int:
    units = _EXACT.scaleb(value, precision)
    count = int(units)
    if count != units or count % step_num:
        raise Refusal(f"{name} {value} is not a whole number of the pair's steps")
    if count < 0:
        raise Refusal(f"{name} {value} is negative")
    count //= step_num
    if count > most:
        raise Refusal(f"{name} {value} is too large")
    return count


def instrument_of(pair: Pair) -> Instrument:
    """The instrument that a pair of the instrument channel describes.

    Raises ValueError where its rules contradict themselves or its status is unknown.
    """
    if not (
        0 <= pair.price_precision <= _PRECISION_MAX and 0 <= pair.qty_precision <= _PRECISION_MAX
    ):
        raise ValueError(f"{pair.symbol}: a precision outside 0 to {_PRECISION_MAX}.")
    try:
        instrument = Instrument(
            symbol=pair.symbol,
            price_increment=pair.price_increment,
            qty_increment=pair.qty_increment,
            price_precision=pair.price_precision,
            qty_precision=pair.qty_precision,
            qty_min=pair.qty_min,
            cost_min=pair.cost_min,
            status=pair.status,
        )
        instrument.row()
    except (UnknownSymbolError, ArithmeticError) as error:
        raise ValueError(f"{pair.symbol!r}: {error}") from error
    return instrument


def table_of(message: Instruments, symbols: Iterable[str] | None = None) -> InstrumentTable:
    """The table of an instrument snapshot, in the order of `symbols`, else sorted by symbol.

    Pairs that cannot be believed are left out. Raises UnknownSymbolError for a symbol that the
    message does not hold.
    """
    found: dict[str, Instrument] = {}
    for pair in message.pairs:
        try:
            instrument = instrument_of(pair)
        except ValueError:
            continue
        found[instrument.symbol] = instrument
    whole = InstrumentTable(found[symbol] for symbol in sorted(found))
    if symbols is None:
        return whole
    return InstrumentTable(whole[symbol] for symbol in symbols)


def same_steps(one: Instrument, other: Instrument) -> bool:
    """Do the numbers of two instruments mean the same prices and quantities?"""
    return (
        one.price_increment == other.price_increment
        and one.qty_increment == other.qty_increment
        and one.price_precision == other.price_precision
        and one.qty_precision == other.qty_precision
    )
