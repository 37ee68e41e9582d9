"""What does our account pay per trade, by the venue's own word?

TradeVolume at the start, every hour, and when our own trading has reached the next step of volume;
each answer becomes one TABLE_UPDATE row with maker and taker rate. Of several pairs the dearest rates
hold: the core has one pair of rates. A read that fails keeps the last. No socket, no clock. Left out:
what was really paid, which each fill says itself.

Source: Kraken, REST "Get trade volume".
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

import numpy as np

from adapters.kraken.names import Names
from adapters.kraken.phases import SECOND
from adapters.kraken.rest import exact, mapping
from engine.errors import DataError
from engine.events import (
    EVENT,
    LAST,
    NO_SYMBOL,
    ORDER_FILL,
    TABLE_FEES,
    TABLE_UPDATE,
)
from engine.instruments import InstrumentTable

CALL: Final = "TradeVolume"
EVERY_NS: Final = 3_600 * SECOND
RETRY_NS: Final = 60 * SECOND
_PER_PERCENT: Final = 10_000  # a rate of 1 % in 1/100 bps


class FeesFeed:
    """The rates of one account. Told the time (ns), asks no clock.

    symbols : pairs that may be traded; there must be one at least
    """

    def __init__(
        self, instruments: InstrumentTable, symbols: Sequence[str], names: Names, every_ns: int = EVERY_NS
    ) -> None:  # fmt: skip
        self._instruments = instruments
        self._pairs = [names.altname(each) for each in symbols]
        self._every_ns = every_ns
        self._due = 0
        self._left: Decimal | None = None  # of quote currency until the next step of volume

    def due(self, now: int) -> bool:
        return now >= self._due

    @property
    def ask(self) -> tuple[str, dict[str, Any]]:
        """The call that is due and its parameters."""
        return CALL, {"pair": self._pairs}

    def observe(self, rows: np.ndarray) -> None:
        """Our fills: they may have reached the next step."""
        if self._left is None:
            return
        for row in rows[(rows["kind"] == ORDER_FILL) & (rows["sym"] != NO_SYMBOL)]:
            pair = self._instruments[int(row["sym"])]
            self._left -= pair.price(int(row["price"])) * pair.qty(int(row["qty"]))
        if self._left <= 0:
            self._due, self._left = 0, None

    def take(self, result: Any, now: int) -> np.ndarray:
        """EVENT row of an answer. Raises DataError for one that holds no rates."""
        answer = mapping(result, CALL)
        taker = _rates(answer.get("fees"))
        maker = _rates(answer.get("fees_maker")) or taker  # one schedule for both
        if not taker:
            raise DataError("Kraken's answer to TradeVolume holds no rates.", "Ask again.")
        self._due = now + self._every_ns
        self._left = self._to_the_next_step(answer)
        row = (now, 0, 0, max(maker), max(taker), 0, TABLE_FEES, NO_SYMBOL, TABLE_UPDATE, 0, LAST)
        return np.array([row], EVENT)

    def failed(self, now: int) -> None:
        """No answer: the last rates stay, and it is tried again."""
        self._due = now + RETRY_NS

    @staticmethod
    def _to_the_next_step(answer: dict[str, Any]) -> Decimal | None:
        volume = exact(answer.get("volume", 0), "volume of TradeVolume")
        steps = [
            exact(row["nextvolume"], "nextvolume of TradeVolume")
            for row in mapping(answer.get("fees"), CALL).values()
            if isinstance(row, dict) and row.get("nextvolume") is not None
        ]
        return max(min(steps) - volume, Decimal(1)) if steps else None


def _rates(table: Any) -> list[int]:
    """Rates of a table of pairs, in 1/100 bps; what is finer is rounded against us."""
    if not isinstance(table, dict):
        return []
    percents = [
        exact(mapping(row, CALL).get("fee"), "a fee of TradeVolume") for row in table.values()
    ]
    return [int((each * _PER_PERCENT).to_integral_value(ROUND_CEILING)) for each in percents]
