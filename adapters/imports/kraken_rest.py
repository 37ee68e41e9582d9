"""How are pages of Kraken's REST `Trades` read?

A page is `{"error":[],"result":{"XXBTZUSD":[[price, volume, time, b/s, m/l, misc, trade_id],...],
"last":"<ns>"}}`; price and volume are text, time is a number of seconds whose text is used. `b` and
`s` are the taker's side. Pages may overlap: a trade id that was seen is a declared reject; a
missing id is a GAP event. Answers before the ids (six columns) are read without these checks.
`ts` = `ts_venue`. The last row's exact nanosecond is the page's `last`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from adapters.imports.base import Channel, Import, Rows, Stream, Summary
from adapters.imports.digits import OK, REASONS, TOO_LARGE, ZERO, Grid, plain, steps_of
from adapters.imports.files import Member, as_paths, members, open_bytes
from adapters.imports.instruments import (
    Digits,
    instrument_from_digits,
    instrument_from_options,
    pick,
    read_instruments,
    symbol_of_name,
)
from adapters.imports.kraken_frames import seconds_to_ns
from engine.errors import DataError
from engine.events import BUY, GAP_SOURCE, LAST, MARKET_ORDER, SELL, TRADE
from engine.instruments import PRICE_MAX, InstrumentTable, canonical_symbol

_SYM: Final = 0
_SIDES: Final = {"b": BUY, "s": SELL}


class _Page(msgspec.Struct):
    result: dict[str, msgspec.Raw]
    error: list[str] = []


_PAGE: Final = msgspec.json.Decoder(_Page)
_ROWS: Final = msgspec.json.Decoder(list[list[msgspec.Raw]])


def read(
    paths: str | Path | Sequence[str | Path],
    *,
    symbol: str | None = None,
    instruments: str | Path | InstrumentTable | None = None,
    tick_size: str | Decimal | None = None,
    lot_size: str | Decimal | None = None,
) -> Import:
    """Pages of one pair, in their order in time.

    symbol : the pair, where the answer's own name does not split by itself
    instruments : an AssetPairs answer, an instrument snapshot or a table; else from the digits
    tick_size, lot_size : steps that replace the inferred ones
    """
    found = members(as_paths(list(paths) if not isinstance(paths, str | Path) else paths), ".json")
    names = set()
    digits = Digits()
    for member in found:
        name, rows = _page(member)
        names.add(canonical_symbol(symbol) if symbol else symbol_of_name(name))
        for row in rows:
            if len(row) >= 6:
                digits.see(_text(row[0]), _text(row[1]))
    if len(names) != 1:
        raise DataError(
            f"the pages are of several pairs: {', '.join(sorted(names))}.", "Read one at a time."
        )
    pair = names.pop()
    if instruments is not None:
        each = pick(read_instruments(instruments), pair, "instruments")
    else:
        each = instrument_from_digits(pair, digits)
    table = InstrumentTable([instrument_from_options(pair, tick_size, lot_size, each)])

    def stream(summary: Summary) -> Stream:
        return _trades(found, table, summary)

    return Import(
        source=f"Kraken REST Trades: {', '.join(map(str, found))}",
        venue="kraken",
        instruments=table,
        channels=(Channel("trade"),),
        clock="ts = ts_venue: the answer has no receive time; the venue's stamp stands for it",
        ts_is_receive_time=False,
        stream=stream,
        notes=("price and quantity steps were inferred from the digits of the data",)
        if instruments is None
        else (),
    )


def _text(raw: msgspec.Raw) -> str:
    return plain(bytes(raw).decode().strip('"'))


def _page(member: Member) -> tuple[str, list[list[msgspec.Raw]]]:
    """Name of the pair and the rows of one page."""
    with open_bytes(member) as stream:
        data = stream.read()
    try:
        page = _PAGE.decode(data)
        if page.error:
            raise DataError(f"{member} holds Kraken's error {page.error}.", "Fetch it again.")
        pairs = [name for name in page.result if name != "last"]
        if len(pairs) != 1:
            raise DataError(
                f"{member} holds {len(pairs)} pairs.", "A page of Trades holds exactly one."
            )
        return pairs[0], _ROWS.decode(page.result[pairs[0]])
    except msgspec.DecodeError as error:
        raise DataError(
            f"{member} is not a page of REST Trades: {error}.", "Fetch it again."
        ) from error


def _trades(found: list[Member], table: InstrumentTable, summary: Summary) -> Iterator[np.ndarray]:
    rows = Rows(summary, table)
    grids = Grid.of(table[0].price_increment), Grid.of(table[0].qty_increment)
    id_last = 0
    for member in found:
        _, page = _page(member)
        for number, row in enumerate(page, 1):
            summary.rows_in += 1
            where = f"{member} row {number}"
            if len(row) < 6:
                summary.reject("a row of another width", where)
                continue
            price, qty, time, side, order_type = (_text(cell) for cell in row[:5])
            trade_id = int(_text(row[6])) if len(row) > 6 else 0
            if trade_id and trade_id <= id_last:
                summary.reject("trade id seen before", where)
                continue
            ticks, reason = steps_of(price, grids[0])
            if reason == OK and not 0 < ticks <= PRICE_MAX:
                reason = TOO_LARGE if ticks else ZERO
            lots = 0
            if reason == OK:
                lots, reason = steps_of(qty, grids[1])
                if reason == OK and lots == 0:
                    reason = ZERO
            if reason != OK or side not in _SIDES:
                summary.reject(f"trade {REASONS.get(reason, 'side neither b nor s')}", where)
                continue
            ts_before = rows.ts
            ts_venue = seconds_to_ns(time)
            rows.stamp(ts_venue, _SYM)
            if trade_id and id_last and trade_id != id_last + 1:
                rows.gap(_SYM, ts_before, GAP_SOURCE)
            id_last = trade_id
            rows.add(
                TRADE,
                ts_venue=ts_venue,
                sym=_SYM,
                side=_SIDES[side],
                price=ticks,
                qty=lots,
                id=trade_id,
                flags=LAST | (MARKET_ORDER if order_type == "m" else 0),
            )
            summary.use("trade")
        yield rows.take()
