"""How are Kraken's trades and best quotes of 2018 read: Parquet tables polled from REST?

`*_trades.parquet`: time (double seconds, 0.1 ms), price, volume, side b/s of the taker, ord_type
m/l. `*_bbo.parquet`: time (whole seconds), bid, ask; no quantities. Prices and volumes went through
doubles; the nearest step is what was sent. There is no receive time and no trade id.

The quotes become a derived book of one level a side with a nominal quantity (a number that nobody
sent). The archiver kept the first quote of each second, so a quote of second t was not known
before t and surely by t + 1 s: it is given at t + `quote_delay_ms` (default 1000), so that no
replay sees it early; `ts_venue` keeps t. Rows whose bid is not below their ask are kept as they
are: a crossed book is the reader's to refuse. After a silence of the quotes longer than `gap_s` a GAP event and
a RESYNC come first, and the next quote is a snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from adapters.imports.base import Channel, Import, Stream, Summary
from adapters.imports.columns import Refusals, Stamps, checked_prices, codes, gap_rows
from adapters.imports.digits import OK, ZERO, Grid, steps_of_doubles
from adapters.imports.files import as_paths
from adapters.imports.instruments import pick, read_instruments, symbol_of_name
from adapters.imports.merge import merge
from adapters.imports.tables import parquet_blocks
from engine.errors import DataError
from engine.events import (
    BOOK_LEVEL,
    BUY,
    DERIVED,
    EVENT,
    GAP,
    GAP_SOURCE,
    LAST,
    MARKET_ORDER,
    RESYNC,
    SELL,
    SNAPSHOT,
    TRADE,
)
from engine.instruments import Instrument, InstrumentTable, canonical_symbol

NS: Final = 1_000_000_000
TRADE_COLUMNS: Final = ("time", "price", "volume", "side", "ord_type")
QUOTE_COLUMNS: Final = ("time", "bid", "ask")
_SIDES: Final = {"b": BUY, "s": SELL}
_TENTH_MS: Final = Grid.of(Decimal("0.0001"))
# Kraken's steps of 2018; the doubles cannot be trusted to show them.
_TICKS: Final = {"BTC/USD": "0.1", "USDT/USD": "0.0001"}
_ROWS_OF_QUOTE: Final = 4  # old bid away, old ask away, new bid, new ask


@dataclass(frozen=True)
class _Pair:
    instrument: Instrument
    trades: Path | None
    quotes: Path | None


def read(
    paths: str | Path | Sequence[str | Path],
    *,
    symbols: Sequence[str] | None = None,
    instruments: str | Path | InstrumentTable | None = None,
    tick_size: str | Decimal | None = None,
    lot_size: str | Decimal = "0.00000001",
    nominal_qty: str | Decimal = "1",
    quote_delay_ms: int = 1000,
    gap_s: int = 600,
) -> Import:
    """A folder or files `<PAIR>_trades.parquet` and `<PAIR>_bbo.parquet`; either may be missing.

    symbols : only these pairs
    tick_size, lot_size : steps; known for BTC/USD and USDT/USD, else tick_size or instruments
    nominal_qty : base currency that stands for the unknown size of every quote
    quote_delay_ms : when a quote is given, after the second that it is dated
    gap_s : a longer silence of the quotes is a gap
    """
    given = as_paths(list(paths) if not isinstance(paths, str | Path) else paths)
    known = read_instruments(instruments) if instruments is not None else None
    pairs = _pairs(given, symbols, known, tick_size, Decimal(str(lot_size)))
    table = InstrumentTable(pair.instrument for pair in pairs)
    nominal = [pair.instrument.lots(Decimal(str(nominal_qty))) for pair in pairs]

    def stream(summary: Summary) -> Stream:
        streams: list[Stream] = []
        for sym, pair in enumerate(pairs):
            if pair.quotes is not None:
                quotes = _Quotes(pair.instrument, sym, nominal[sym], summary, gap_s)
                streams.append(quotes.run(pair.quotes, quote_delay_ms * 1_000_000))
            if pair.trades is not None:
                streams.append(_trades(pair.trades, pair.instrument, sym, summary))
        return merge(streams)

    channels = []
    if any(pair.trades for pair in pairs):
        channels.append(Channel("trade"))
    if any(pair.quotes for pair in pairs):
        channels.append(Channel("book", depth=1, derived=True))
    files = [path.name for pair in pairs for path in (pair.trades, pair.quotes) if path is not None]
    return Import(
        source=f"Kraken REST trades and best quotes as Parquet: {', '.join(files)}",
        venue="kraken",
        instruments=table,
        channels=tuple(channels),
        clock="no receive time: trades at the venue's stamp, quotes "
        f"{quote_delay_ms} ms after the second that they are dated",
        ts_is_receive_time=False,
        stream=stream,
        notes=(
            f"the book is derived from best quotes; its quantity of {nominal_qty} is nominal",
            "quotes are a one second sample: not fit for fills below a second",
            "trades have no id",
        ),
    )


def _pairs(
    given: list[Path],
    symbols: Sequence[str] | None,
    known: InstrumentTable | None,
    tick_size: str | Decimal | None,
    lot: Decimal,
) -> list[_Pair]:
    wanted = {canonical_symbol(each) for each in symbols} if symbols else None
    files = [f for p in given for f in (sorted(p.glob("*.parquet")) if p.is_dir() else [p])]
    trades: dict[str, Path] = {}
    quotes: dict[str, Path] = {}
    for path in files:
        name, _, kind = path.stem.rpartition("_")
        if kind not in ("trades", "bbo") or not name:
            raise DataError(
                f"{path.name} is named neither <PAIR>_trades nor <PAIR>_bbo.",
                "Name it so, as in XBTUSD_trades.parquet.",
            )
        symbol = symbol_of_name(name)
        if wanted is None or symbol in wanted:
            (trades if kind == "trades" else quotes)[symbol] = path
    found = sorted(set(trades) | set(quotes))
    missing = sorted((wanted or set()) - set(found))
    if missing or not found:
        raise DataError(
            f"no file for {', '.join(missing) or 'any pair'} in {', '.join(p.name for p in given)}.",
            "File names are as in XBTUSD_trades.parquet and XBTUSD_bbo.parquet.",
        )
    pairs = []
    for symbol in found:
        if known is not None:
            each = pick(known, symbol, "instruments")
        else:
            text = str(tick_size) if tick_size is not None else _TICKS.get(symbol)
            if text is None:
                raise DataError(
                    f"the tick of {symbol} is not known.", "Give tick_size, as in 0.01."
                )
            tick = Decimal(text)
            decimals = Grid.of(tick).decimals, Grid.of(lot).decimals
            each = Instrument(symbol, tick, lot, *decimals)
        pairs.append(_Pair(each, trades.get(symbol), quotes.get(symbol)))
    return pairs


def _holes(ts: np.ndarray, ts_before: int, gap_s: int) -> np.ndarray:
    """Rows that follow a silence of more than `gap_s`; none before the first row of all."""
    before = np.concatenate([[ts_before if ts_before > 0 else ts[0]], ts[:-1]])
    return np.flatnonzero(ts - before > gap_s * NS)


def _trades(path: Path, instrument: Instrument, sym: int, summary: Summary) -> Iterator[np.ndarray]:
    price_grid = Grid.of(instrument.price_increment)
    qty_grid = Grid.of(instrument.qty_increment)
    stamps = Stamps(summary)
    first_row = 1
    facts = {"trades": 0, "buys": 0, "market": 0, "qty_lots": 0, "silences_over_1_h": 0}
    for block in parquet_blocks(path, TRADE_COLUMNS):
        n = len(block["time"])
        summary.rows_in += n
        refusals = Refusals(path.name, first_row, n)
        first_row += n
        times, reason = steps_of_doubles(block["time"].to_numpy(zero_copy_only=False), _TENTH_MS)
        refusals.numbers(reason, "time")
        ticks, reason = checked_prices(
            *steps_of_doubles(block["price"].to_numpy(zero_copy_only=False), price_grid)
        )
        refusals.numbers(reason, "price")
        lots, reason = steps_of_doubles(block["volume"].to_numpy(zero_copy_only=False), qty_grid)
        reason[(reason == OK) & (lots == 0)] = ZERO
        refusals.numbers(reason, "volume")
        sides = codes(block["side"].cast(pa.string()), _SIDES, 0)
        refusals.where(sides == 0, "side neither b nor s")
        market = codes(block["ord_type"].cast(pa.string()), {"m": 1, "l": 0}, -1)
        refusals.where(market < 0, "ord_type neither m nor l")
        refusals.declare(summary)
        kept = ~refusals.bad
        events = np.zeros(int(kept.sum()), EVENT)
        if len(events) == 0:
            continue
        events["ts_venue"] = times[kept] * (NS // 10_000)
        ts_before = stamps.ts
        events["ts"], back = stamps.of(events["ts_venue"])
        events["sym"], events["kind"], events["side"] = sym, TRADE, sides[kept]
        events["price"], events["qty"] = ticks[kept], lots[kept]
        events["flags"] = LAST | np.where(market[kept] > 0, MARKET_ORDER, 0)
        facts["trades"] += len(events)
        facts["buys"] += int((events["side"] == BUY).sum())
        facts["market"] += int((market[kept] > 0).sum())
        facts["qty_lots"] += int(events["qty"].sum())
        summary.use("trade", len(events))
        # A pair may simply not trade for long: a silence is a fact, not a hole.
        facts["silences_over_1_h"] += len(_holes(events["ts"], ts_before, 3600))
        yield gap_rows(summary, events, back, instrument.symbol, sym)
    summary.facts[f"trades {instrument.symbol}"] = facts


class _Quotes:
    """Quotes of one pair to the messages of a book of one level a side."""

    def __init__(
        self, instrument: Instrument, sym: int, nominal: int, summary: Summary, gap_s: int
    ) -> None:
        self._instrument = instrument
        self._sym = sym
        self._nominal = nominal
        self._summary = summary
        self._gap_s = gap_s
        self._stamps = Stamps(summary)
        self._bid = self._ask = 0
        self._facts = {"quotes": 0, "crossed": 0, "gaps_over_60_s": 0}

    def run(self, path: Path, delay_ns: int) -> Iterator[np.ndarray]:
        grid = Grid.of(self._instrument.price_increment)
        first_row = 1
        for block in parquet_blocks(path, QUOTE_COLUMNS):
            n = len(block["time"])
            self._summary.rows_in += n
            refusals = Refusals(path.name, first_row, n)
            first_row += n
            times = block["time"].to_numpy(zero_copy_only=False).astype(np.int64)
            prices = []
            for name in ("bid", "ask"):
                values = block[name].to_numpy(zero_copy_only=False)
                ticks, reason = checked_prices(*steps_of_doubles(values, grid))
                refusals.numbers(reason, name)
                prices.append(ticks)
            refusals.declare(self._summary)
            kept = ~refusals.bad
            if kept.any():
                yield self._events(times[kept] * NS, prices[0][kept], prices[1][kept], delay_ns)
        self._summary.facts[f"quotes {self._instrument.symbol}"] = self._facts

    def _events(
        self, ts_venue: np.ndarray, bids: np.ndarray, asks: np.ndarray, delay_ns: int
    ) -> np.ndarray:
        n = len(ts_venue)
        ts_before = self._stamps.ts
        ts, back = self._stamps.of(ts_venue + delay_ns)
        rows = np.zeros((n, _ROWS_OF_QUOTE), EVENT)
        rows["ts"], rows["ts_venue"] = ts[:, None], ts_venue[:, None]
        rows["kind"], rows["sym"] = BOOK_LEVEL, self._sym
        rows["side"] = np.array([BUY, SELL, BUY, SELL], np.int8)
        old_bids = np.concatenate([[self._bid], bids[:-1]])
        old_asks = np.concatenate([[self._ask], asks[:-1]])
        for column, prices in enumerate((old_bids, old_asks, bids, asks)):
            rows["price"][:, column] = prices
        rows["qty"][:, 2:] = self._nominal
        holes = _holes(ts, ts_before, self._gap_s)
        snapshot = np.zeros(n, bool)
        snapshot[holes] = True
        snapshot[0] |= self._bid == 0
        kept = np.ones((n, _ROWS_OF_QUOTE), bool)
        # A side that did not move is only set again; a snapshot replaces all.
        kept[:, 0] = (old_bids != bids) & ~snapshot
        kept[:, 1] = (old_asks != asks) & ~snapshot
        rows["flags"] = DERIVED
        rows["flags"][snapshot] |= SNAPSHOT
        rows["flags"][:, -1] |= LAST
        self._account(ts, ts_before, bids, asks)
        self._bid, self._ask = int(bids[-1]), int(asks[-1])
        first_of = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
        events = rows[kept]
        extra = np.zeros((len(holes), 2), EVENT)
        extra["ts"], extra["sym"], extra["flags"] = ts[holes][:, None], self._sym, LAST
        extra["kind"], extra["id"] = np.array([GAP, RESYNC], np.int8), GAP_SOURCE
        for row, i in zip(extra, holes, strict=True):
            row["aux"][0] = int(ts[i - 1]) if i else ts_before
            self._summary.gap(self._instrument.symbol, int(row["aux"][0]), int(ts[i]), GAP_SOURCE)
        at = np.repeat(first_of[holes], 2)
        joined = np.insert(events, at, extra.reshape(-1))
        if len(back):
            moved = 2 * np.searchsorted(holes, back, side="right")
            joined = gap_rows(
                self._summary, joined, first_of[back] + moved, self._instrument.symbol, self._sym
            )
        return joined

    def _account(self, ts: np.ndarray, ts_before: int, bids: np.ndarray, asks: np.ndarray) -> None:
        self._facts["quotes"] += len(ts)
        self._facts["crossed"] += int((bids >= asks).sum())
        self._facts["gaps_over_60_s"] += len(_holes(ts, ts_before, 60))
        self._summary.use("quote", len(ts))
