"""What may be traded and in which steps? Increments, minimums, precisions and status of each pair.

Kraken gives a precision (decimals of the wire text, which the checksum is made of) and an
increment (the real step) for price and quantity; they differ for some pairs. One tick is one
price increment, one lot is one quantity increment. Names are canonical v2 names outside (BTC/USD)
and path-safe names in folders (BTC-USD).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Final

import numpy as np

from engine.units import MONEY_DECIMALS, OffGridError, to_money, to_steps

STATUS_ONLINE: Final = 0
STATUS_POST_ONLY: Final = 1
STATUS_LIMIT_ONLY: Final = 2
STATUS_REDUCE_ONLY: Final = 3
STATUS_CANCEL_ONLY: Final = 4
STATUS_MAINTENANCE: Final = 5
STATUS_WORK_IN_PROGRESS: Final = 6
STATUS_DELISTED: Final = 7

STATUS_CODES: Final[dict[str, int]] = {
    "online": STATUS_ONLINE,
    "post_only": STATUS_POST_ONLY,
    "limit_only": STATUS_LIMIT_ONLY,
    "reduce_only": STATUS_REDUCE_ONLY,
    "cancel_only": STATUS_CANCEL_ONLY,
    "maintenance": STATUS_MAINTENANCE,
    "work_in_progress": STATUS_WORK_IN_PROGRESS,
    "delisted": STATUS_DELISTED,
}
STATUS_NAMES: Final = {code: name for name, code in STATUS_CODES.items()}

# Sanity bounds of one field; a product is checked where it is made (units.notional_fits).
PRICE_MAX: Final = 1 << 40  # ticks
QTY_MAX: Final = 1 << 50  # lots of an order
# A level of a coin worth five cents has held 1.6e15 lots, and a day's volume of it 1.1e17.
FEED_QTY_MAX: Final = 1 << 60  # lots of a market data field

# The row a kernel sees. All int64, so that no arithmetic with and without the JIT can differ.
INSTRUMENT_ROW: Final = np.dtype(
    [
        ("tick_num", "<i8"),  # one tick in units of 10^-price_precision (checksum digits)
        ("lot_num", "<i8"),  # one lot in units of 10^-qty_precision
        ("price_precision", "<i8"),
        ("qty_precision", "<i8"),
        ("qty_min", "<i8"),  # lots
        ("cost_min", "<i8"),  # money
        ("notional_num", "<i8"),  # money = ticks x lots x num / den, rounded half up
        ("notional_den", "<i8"),
        ("price_max", "<i8"),  # ticks; what lies above is damaged input
        ("qty_max", "<i8"),  # lots; likewise
        ("status", "<i8"),
        ("price_float", "<f8"),  # one tick in quote currency, for estimates only
        ("qty_float", "<f8"),  # one lot in base currency, for estimates only
    ]
)

# Kraken's older names on both halves of a pair; the archive and REST worlds still use them.
ALIASES: Final[dict[str, str]] = {"XBT": "BTC", "XXBT": "BTC", "XDG": "DOGE", "XXDG": "DOGE"}


class UnknownSymbolError(KeyError):
    """A symbol that the instrument table does not hold."""

    def __str__(self) -> str:
        return str(self.args[0])


class InstrumentError(ValueError):
    """An instrument whose rules contradict themselves."""


def canonical_asset(name: str) -> str:
    """One name per asset: XBT and XXBT become BTC, XDG becomes DOGE."""
    upper = name.strip().upper()
    return ALIASES.get(upper, upper)


def canonical_symbol(name: str) -> str:
    """`XBT/USD`, `BTC-USD` or `btc/usd` to `BTC/USD`; refuses what has no separator."""
    text = name.strip().upper().replace("-", "/")
    base, separator, quote = text.partition("/")
    legal = base and quote and (base + quote).replace(".", "").isalnum() and len(text) <= 40
    if not separator or not legal:
        raise UnknownSymbolError(
            f"symbol {name!r} is not of the form BASE/QUOTE. Write it as in BTC/USD."
        )
    return f"{canonical_asset(base)}/{canonical_asset(quote)}"


def path_symbol(symbol: str) -> str:
    """`BTC/USD` to the path-safe `BTC-USD`."""
    return canonical_symbol(symbol).replace("/", "-")


@dataclass(frozen=True)
class Instrument:
    """One pair and its rules; decimals exactly as the venue states them."""

    symbol: str
    price_increment: Decimal
    qty_increment: Decimal
    price_precision: int
    qty_precision: int
    qty_min: Decimal = Decimal(0)
    cost_min: Decimal = Decimal(0)
    status: str = "online"
    notes: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "symbol", canonical_symbol(self.symbol))
        for name in ("price_increment", "qty_increment"):
            if not getattr(self, name).is_finite() or getattr(self, name) <= 0:
                raise InstrumentError(f"{self.symbol}: {name} must be above zero.")
        if self.status not in STATUS_CODES:
            raise InstrumentError(
                f"{self.symbol}: unknown status {self.status!r}; known: {', '.join(STATUS_CODES)}."
            )

    @property
    def base(self) -> str:
        return self.symbol.partition("/")[0]

    @property
    def quote(self) -> str:
        return self.symbol.partition("/")[2]

    def ticks(self, price: Decimal) -> int:
        return to_steps(price, self.price_increment, f"{self.symbol} price")

    def lots(self, qty: Decimal) -> int:
        return to_steps(qty, self.qty_increment, f"{self.symbol} quantity")

    def price(self, ticks: int) -> Decimal:
        return int(ticks) * self.price_increment

    def qty(self, lots: int) -> Decimal:
        return int(lots) * self.qty_increment

    def row(self) -> np.void:
        """The kernel's row; refuses increments finer than their precision."""
        row = np.zeros(1, INSTRUMENT_ROW)[0]
        try:
            row["tick_num"] = to_steps(
                self.price_increment, Decimal(1).scaleb(-self.price_precision), "price_increment"
            )
            row["lot_num"] = to_steps(
                self.qty_increment, Decimal(1).scaleb(-self.qty_precision), "qty_increment"
            )
        except OffGridError as error:
            raise InstrumentError(
                f"{self.symbol}: increment finer than precision: {error}"
            ) from error
        row["price_precision"], row["qty_precision"] = self.price_precision, self.qty_precision
        # Round the minimum up: an order of the stated minimum must be accepted.
        row["qty_min"] = -int(-self.qty_min // self.qty_increment)
        row["cost_min"] = to_money(self.cost_min)
        exponent = self.price_precision + self.qty_precision - MONEY_DECIMALS
        numerator = int(row["tick_num"]) * int(row["lot_num"]) * 10 ** max(-exponent, 0)
        denominator = 10 ** max(exponent, 0)
        # In lowest terms: Kraken v1 writes a tick of 0.1 with five decimals, and 10^4 / 10^5 would
        # let the notional of twenty coins overflow.
        common = math.gcd(numerator, denominator)
        row["notional_num"], row["notional_den"] = numerator // common, denominator // common
        row["price_max"], row["qty_max"] = PRICE_MAX, QTY_MAX
        row["status"] = STATUS_CODES[self.status]
        row["price_float"], row["qty_float"] = (
            float(self.price_increment),
            float(self.qty_increment),
        )
        return row

    def to_json(self) -> dict[str, Any]:
        return {k: str(v) if isinstance(v, Decimal) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Instrument:
        decimals = ("price_increment", "qty_increment", "qty_min", "cost_min")
        values: dict[str, Any] = {
            k: Decimal(str(v)) if k in decimals else v for k, v in fields.items()
        }
        return cls(**values)


class InstrumentTable:
    """Instruments in a fixed order; the position of a symbol is `sym` in every event."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self.instruments: tuple[Instrument, ...] = tuple(instruments)
        self._index = {each.symbol: i for i, each in enumerate(self.instruments)}
        if len(self._index) != len(self.instruments):
            raise InstrumentError("an instrument is listed twice: each symbol needs one row.")
        if len(self.instruments) > 32_000:
            raise InstrumentError("more than 32,000 instruments do not fit the event record.")

    def __len__(self) -> int:
        return len(self.instruments)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self.instruments)

    def __getitem__(self, symbol: str | int) -> Instrument:
        return self.instruments[self.index(symbol) if isinstance(symbol, str) else symbol]

    def __contains__(self, symbol: str) -> bool:
        return canonical_symbol(symbol) in self._index

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(each.symbol for each in self.instruments)

    def index(self, symbol: str) -> int:
        """Row of `symbol`; an unknown one is refused with the three nearest names."""
        name = canonical_symbol(symbol)
        if name not in self._index:
            near = difflib.get_close_matches(name, self._index, n=3, cutoff=0.0)
            raise UnknownSymbolError(
                f"unknown symbol {symbol!r}. Nearest known: {', '.join(near) or 'none'}."
            )
        return self._index[name]

    def rows(self) -> np.ndarray:
        """INSTRUMENT_ROW[n], one row per instrument, for the kernels."""
        rows = np.zeros(len(self), INSTRUMENT_ROW)
        for i, each in enumerate(self.instruments):
            rows[i] = each.row()
        return rows

    def to_json(self) -> list[dict[str, Any]]:
        return [each.to_json() for each in self.instruments]

    @classmethod
    def from_json(cls, items: Iterable[Mapping[str, Any]]) -> InstrumentTable:
        return cls(Instrument.from_json(item) for item in items)
