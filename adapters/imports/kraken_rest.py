"""How are pages of Kraken's REST `Trades` read?

adapters/kraken/rest_trades.py has the form of a page: price and volume are text, time is a number
of seconds whose text is used, `b` and `s` are the taker's side. Pages may overlap: a trade id that
was seen is a declared reject; a missing id is a GAP event. Answers before the ids (six columns) are
read without these checks. `ts` = `ts_venue`. The last row's exact nanosecond is the page's `last`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Final

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
from adapters.kraken.rest_trades import TradePage, read_trade_page, seconds_to_ns
from engine.errors import DataError
from engine.events import BUY, GAP_SOURCE, LAST, MARKET_ORDER, SELL, TRADE
from engine.instruments import PRICE_MAX, Instrument, InstrumentTable, canonical_symbol

_SYM: Final = 0
_SIDES: Final = {"b": BUY, "s": SELL}


def read(
    paths: str | Path | Sequence[str | Path],
    *,
    symbol: str | None = None,
    instruments: str | Path | InstrumentTable | None = None,
    tick_size: str | Decimal | None = None,
    lot_size: str | Decimal | None = None,
    until_ns: int | None = None,
    finer: bool = False,
) -> Import:
    """Pages of one pair, in their order in time.

    symbol : the pair, where the answer's own name does not split by itself
    instruments : an AssetPairs answer, an instrument snapshot or a table; else from the digits
    tick_size, lot_size : steps that replace the inferred ones
    until_ns : leave out what came later, of the page on which it ends
    finer : where the data needs finer steps than `instruments` state, take those: steps change over
        the years, and a trade must not be lost for it
    """
    found = members(as_paths(list(paths) if not isinstance(paths, str | Path) else paths), ".json")
    names = set()
    digits = Digits()
    for member in found:
        page = _page(member)
        names.add(canonical_symbol(symbol) if symbol else symbol_of_name(page.name))
        for row in page.rows:
            if len(row) >= 6:
                digits.see(plain(row[0]), plain(row[1]))
    if len(names) != 1:
        raise DataError(
            f"the pages are of several pairs: {', '.join(sorted(names))}.", "Read one at a time."
        )
    pair = names.pop()
    if instruments is not None:
        each = pick(read_instruments(instruments), pair, "instruments")
        each = _with_finer_steps(each, digits) if finer else each
    else:
        each = instrument_from_digits(pair, digits)
    table = InstrumentTable([instrument_from_options(pair, tick_size, lot_size, each)])

    def stream(summary: Summary) -> Stream:
        return _trades(found, table, summary, until_ns)

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


def _page(member: Member) -> TradePage:
    with open_bytes(member) as stream:
        return read_trade_page(stream.read(), str(member))


def _with_finer_steps(stated: Instrument, digits: Digits) -> Instrument:
    """The stated steps, or a power of ten below them where the digits of the data ask for it."""
    price, qty = stated.price_increment, stated.qty_increment
    price_unit = Decimal(1).scaleb(-digits.price_needed)
    qty_unit = Decimal(1).scaleb(-digits.qty_needed)
    if price_unit % price:
        price = min(price_unit, Decimal(1).scaleb(price.adjusted()))
    if qty_unit % qty:
        qty = min(qty_unit, Decimal(1).scaleb(qty.adjusted()))
    if (price, qty) == (stated.price_increment, stated.qty_increment):
        return stated
    return replace(
        stated,
        price_increment=price,
        qty_increment=qty,
        price_precision=max(stated.price_precision, digits.price_needed),
        qty_precision=max(stated.qty_precision, digits.qty_needed),
        notes="steps of the past were finer than today's",
    )


def _trades(
    found: list[Member], table: InstrumentTable, summary: Summary, until_ns: int | None
) -> Iterator[np.ndarray]:
    rows = Rows(summary, table)
    grids = Grid.of(table[0].price_increment), Grid.of(table[0].qty_increment)
    id_last = 0
    for member in found:
        for number, row in enumerate(_page(member).rows, 1):
            summary.rows_in += 1
            where = f"{member} row {number}"
            if len(row) < 6:
                summary.reject("a row of another width", where)
                continue
            price, qty, time, side, order_type = (plain(cell) for cell in row[:5])
            trade_id = int(row[6]) if len(row) > 6 else 0
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
            ts_venue = seconds_to_ns(time)
            if until_ns is not None and ts_venue > until_ns:
                summary.reject("later than asked for", where)
                continue
            ts_before = rows.ts
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
