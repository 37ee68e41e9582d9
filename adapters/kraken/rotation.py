"""Which pairs are worth capturing now? The dynamic universe over the venue's listed pairs.

The rule is the core's (engine/core/universe.py): rank by turnover and spread, hysteresis, a minimum
stay, a cap, pins. Here the venue's words become its rows and its answer becomes a list of pairs.
Left out: subscribing (capture.py), carrying (live.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from ssl import SSLContext
from typing import Any, Final, NamedTuple

import numpy as np

from adapters.kraken.wire import Pair
from engine.clock import Clock
from engine.core.universe import (
    UNIVERSE_REASONS,
    UNIVERSE_ROW,
    choose_universe,
    universe_params,
)
from engine.errors import ConfigError, DataError
from engine.instruments import STATUS_CODES, UnknownSymbolError, canonical_symbol
from engine.units import MONEY_PER_UNIT

EVERY_NS: Final = 900_000_000_000
_INT64_MAX: Final = (1 << 63) - 1
_E2_PER_ONE: Final = 1_000_000  # 1/100 bps in one


class Measure(NamedTuple):
    """What a pair came to in 24 hours. turnover : money; spread_e2 : 1/100 bps; -1 unknown"""

    turnover: int
    spread_e2: int


UNMEASURED: Final = Measure(-1, -1)
Measures = Mapping[str, Measure]


@dataclass(frozen=True)
class Rotation:
    """How a universe is chosen. params : UNIVERSE_PARAMS[1]; pins, allow : canonical symbols"""

    params: np.ndarray = field(default_factory=universe_params)
    every_ns: int = EVERY_NS
    pins: frozenset[str] = frozenset()
    allow: frozenset[str] = frozenset()


class Choice(NamedTuple):
    """What one choice changed: symbols in the venue's order."""

    members: tuple[str, ...]
    entered: tuple[str, ...]
    left: tuple[str, ...]


class Universe:
    """The universe over a fixed list of symbols. `version` counts its changes.

    symbols : canonical; deny : bases. Raises ConfigError for a pin that is not among the symbols
    """

    def __init__(
        self, rule: Rotation, symbols: Iterable[str], quote: str, deny: frozenset[str]
    ) -> None:
        self.symbols = tuple(symbols)
        self.version = 0
        for name in sorted((rule.pins | rule.allow) - set(self.symbols)):
            raise ConfigError(
                f"the venue has no pair {name} in {quote}, so the universe cannot hold it.",
                "Look at the spelling of pins and of the allow list.",
            )
        self._rule, self._quote, self._deny = rule, quote, deny
        self._rows = np.zeros(len(self.symbols), UNIVERSE_ROW)
        self._order = np.zeros(len(self.symbols), np.int64)

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(np.array(self.symbols)[self._rows["inside"] != 0].tolist())

    def choose(self, pairs: Mapping[str, Pair], measured: Measures, now: int) -> Choice | None:
        """The universe of now; None if it stays as it is. pairs : by the venue's names"""
        before = set(self.members)
        by_name = {canonical_symbol(each): pair for each, pair in pairs.items()}
        for row, symbol in zip(self._rows, self.symbols, strict=True):
            pair = by_name[symbol]
            measure = measured.get(symbol, UNMEASURED)
            row["quote_ok"] = pair.quote == self._quote
            row["denied"] = pair.base in self._deny and symbol not in self._rule.allow
            row["allowed"] = symbol in self._rule.allow
            row["status"] = STATUS_CODES.get(pair.status, -1)
            row["turnover"], row["spread_e2"] = measure
            row["pinned"] = symbol in self._rule.pins
        if not choose_universe(self._rows, self._rule.params[0], self._order, now):
            return None
        self.version += 1
        members = self.members
        entered = tuple(each for each in members if each not in before)
        left = tuple(each for each in self.symbols if each in before - set(members))
        return Choice(members, entered, left)

    def reasons(self) -> dict[str, str]:
        """Why each symbol is in or out."""
        return {
            symbol: UNIVERSE_REASONS[int(row["reason"])]
            for symbol, row in zip(self.symbols, self._rows, strict=True)
            if row["reason"]
        }


def _whole(value: Decimal) -> int:
    return min(int(value.to_integral_value(ROUND_FLOOR)), _INT64_MAX)


def measure_of(ticker: Mapping[str, Any]) -> Measure:
    """One row of REST's Ticker: a, b best ask and bid, v and p volume and its price, [1] of 24 h.

    Raises DataError for a row of another shape.
    """
    try:
        ask, bid = Decimal(ticker["a"][0]), Decimal(ticker["b"][0])
        turnover = Decimal(ticker["v"][1]) * Decimal(ticker["p"][1])
    except (KeyError, IndexError, TypeError, ArithmeticError) as error:
        raise DataError(
            f"a row of Kraken's Ticker cannot be read: {type(error).__name__} {error}.",
            "Name the symbols, or look whether the API has changed.",
        ) from error
    if not all(each.is_finite() and each >= 0 for each in (ask, bid, turnover)):
        return UNMEASURED
    if not 0 < bid < ask:
        return Measure(_whole(turnover * MONEY_PER_UNIT), -1)
    spread = (ask - bid) * 2 * _E2_PER_ONE / (ask + bid)
    return Measure(_whole(turnover * MONEY_PER_UNIT), _whole(spread))


def tickers(
    rest_url: str, clock: Clock, context: SSLContext | None = None
) -> Callable[[], Awaitable[Measures]]:
    """A function that measures every pair by REST's public Ticker.

    raises (at a call) VenueError without an answer, DataError for one that cannot be read
    """

    async def fetch() -> Measures:
        from adapters.kraken.rest import Rest, mapping

        async with Rest(rest_url, clock=clock, ssl_context=context) as rest:
            names = await rest.names()
            found = {}
            for key, row in mapping(await rest.call("Ticker"), "Ticker").items():
                try:
                    symbol = names.symbol(key)
                except UnknownSymbolError:
                    continue  # listed between the two calls
                found[symbol] = measure_of(mapping(row, f"Ticker of {key}"))
            return found

    return fetch
