"""How is a raw Binance capture read: depth, trades and best quotes of one pair (spot or USD-M)?

A line is `<local receive ns> <json>`; one line without `stream` is the REST depth snapshot. The
trap of the format: that snapshot was asked for while updates already came in, so it stands AFTER
updates that must be laid on top of it. Updates before it are held; those with `u` at or below its
`lastUpdateId` are in it already and are dropped, the rest follows it, at the snapshot's receive
time, because before it nothing of them could be used.

Continuity: spot `U` = previous `u` + 1, USD-M `pu` = previous `u`. A break is a GAP event.
Stamps: `ts` is the local receive time as recorded, `ts_venue` the exchange's `T` if there is one
(transaction time, USD-M), else `E` (event time). A local clock behind the exchange makes
`ts < ts_venue`; the offset is measured in the first pass, and `clock_shift_ns` corrects it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from adapters.imports.base import Channel, Import, Rows, Stream, Summary
from adapters.imports.digits import OK, REASONS, TOO_LARGE, ZERO, Grid, steps_of
from adapters.imports.files import Member, as_paths, members, read_lines
from adapters.imports.instruments import (
    Digits,
    instrument_from_digits,
    instrument_from_options,
    symbol_of_name,
)
from adapters.imports.windowed import windowed
from engine.errors import DataError
from engine.events import (
    BOOK_LEVEL,
    BUY,
    GAP_SOURCE,
    LAST,
    MESSAGE_END,
    SELL,
    SNAPSHOT,
    TICKER,
    TICKER_ASK,
    TICKER_BID,
    TRADE,
)
from engine.instruments import PRICE_MAX, InstrumentTable

_MS_NS: Final = 1_000_000
_SYM: Final = 0
_Levels = list[tuple[str, str]]


class _Data(msgspec.Struct):
    """Fields of all three streams; each uses its own."""

    s: str
    e: str = "bookTicker"  # spot's bookTicker does not say what it is
    E: int = 0
    T: int = 0
    U: int = 0
    u: int = 0
    pu: int | None = None
    t: int = 0
    p: str = ""
    q: str = ""
    m: bool = False
    # b and a are levels in a depth update and the best prices in a bookTicker
    b: _Levels | str = ""
    a: _Levels | str = ""
    B: str = ""
    A: str = ""

    @property
    def ts_venue(self) -> int:
        return (self.T or self.E) * _MS_NS

    @property
    def bids(self) -> _Levels:
        return self.b if isinstance(self.b, list) else []

    @property
    def asks(self) -> _Levels:
        return self.a if isinstance(self.a, list) else []


class _Line(msgspec.Struct):
    stream: str = ""
    data: _Data | None = None
    lastUpdateId: int = 0
    bids: _Levels = []
    asks: _Levels = []
    T: int = 0
    E: int = 0


_LINE: Final = msgspec.json.Decoder(_Line)


def read(
    paths: str | Path | Sequence[str | Path],
    *,
    symbol: str | None = None,
    tick_size: str | Decimal | None = None,
    lot_size: str | Decimal | None = None,
    depth: int = 0,
    clock_shift_ns: int | str = 0,
) -> Import:
    """Consecutive files of one capture, in their order in time. Reads them twice.

    symbol : the pair, where the exchange's name (BTCUSDT) does not split by itself
    tick_size, lot_size : steps that replace those inferred from the digits of the data
    depth : 0 keeps all levels; else what a subscription of that depth would have sent
    clock_shift_ns : added to every receive time; `auto` takes what makes the fastest message
        arrive at once
    """
    found = members(as_paths(list(paths) if not isinstance(paths, str | Path) else paths), ".gz")
    scan = _Scan.of(found)
    name = symbol or symbol_of_name(scan.pair)
    inferred = instrument_from_digits(name, scan.digits)
    table = InstrumentTable([instrument_from_options(name, tick_size, lot_size, inferred)])
    shift = -scan.latency_ns_min if clock_shift_ns == "auto" else int(clock_shift_ns)
    channels = [Channel("book", depth, derived=depth > 0)]
    channels += [Channel(kind) for kind in ("trade", "ticker") if kind in scan.channels]

    def stream(summary: Summary) -> Stream:
        summary.facts["latency_ns_min"] = dict(sorted(scan.latencies.items()))
        summary.facts["clock_shift_ns"] = shift
        return windowed(_Capture(summary, table, shift).run(found), table, depth)

    return Import(
        source=f"Binance {scan.market} raw streams: {', '.join(map(str, found))}",
        venue=f"binance-{scan.market}",
        instruments=table,
        channels=tuple(channels),
        clock="ts: local receive time; ts_venue: T of the exchange if given, else E, in ms",
        ts_is_receive_time=True,
        stream=stream,
        notes=_notes(scan, shift),
    )


def _notes(scan: _Scan, shift: int) -> tuple[str, ...]:
    notes = ["price and quantity steps were inferred from the digits of the data"]
    if scan.latency_ns_min < 0:
        notes.append(
            f"the local clock is at least {-scan.latency_ns_min} ns behind the exchange; "
            f"the receive times were shifted by {shift} ns"
        )
    return tuple(notes)


class _Scan:
    """What a first pass learns: the pair, its digits, the clock."""

    def __init__(self) -> None:
        self.pair = ""
        self.digits = Digits()
        self.channels: set[str] = set()
        self.latencies: dict[str, int] = {}  # smallest receive - venue time, ns, by stream
        self.latency_ns_min = 1 << 62  # of the stamps that become ts_venue
        self.market = ""

    @classmethod
    def of(cls, found: list[Member]) -> _Scan:
        scan = cls()
        for member in found:
            for _, line in read_lines(member):
                parsed = _parse(line)
                if parsed is not None:
                    scan._see(*parsed)
        if scan.latency_ns_min == 1 << 62:
            scan.latency_ns_min = 0  # no message carries a time of the exchange
        scan.market = scan.market or "spot"
        if not scan.pair:
            raise DataError(
                f"{', '.join(map(str, found))}: no message of a Binance stream found.",
                "A line is the receive time in ns, a space, and the JSON of a combined stream.",
            )
        return scan

    def _see(self, ts: int, line: _Line) -> None:
        for price, qty in (*line.bids, *line.asks):
            self.digits.see(price, qty)
        data = line.data
        if data is None:
            return
        if self.pair and data.s != self.pair:
            raise DataError(
                f"the capture holds {self.pair} and {data.s}; one pair at a time is read.",
                "Split it by the field s.",
            )
        self.pair = data.s
        if data.e == "depthUpdate":
            market = "spot" if data.pu is None else "usdm"
            if self.market not in ("", market):
                raise DataError(
                    "the capture holds updates of the spot and of the USD-M market.",
                    "Read the files of one market at a time.",
                )
            self.market = market
            for price, qty in (*data.bids, *data.asks):
                self.digits.see(price, qty)
        elif data.e == "trade":
            self.channels.add("trade")
            self.digits.see(data.p, data.q)
        elif data.e == "bookTicker":
            self.channels.add("ticker")
        for clock, stamp in (("E", data.E), ("T", data.T)):
            if stamp:
                key = f"{data.e}.{clock}"
                latency = ts - stamp * _MS_NS
                self.latencies[key] = min(self.latencies.get(key, latency), latency)
        if data.ts_venue:
            self.latency_ns_min = min(self.latency_ns_min, ts - data.ts_venue)


def _parse(line: bytes) -> tuple[int, _Line] | None:
    stamp, _, body = line.partition(b" ")
    if not stamp.isdigit():
        return None
    try:
        return int(stamp), _LINE.decode(body)
    except msgspec.DecodeError:
        return None


class _Refused(Exception):
    """A number of a message is wrong; the message is rejected whole."""


class _Capture:
    """One pass: lines in, events out."""

    def __init__(self, summary: Summary, table: InstrumentTable, shift: int) -> None:
        self._summary = summary
        self._rows = Rows(summary, table)
        self._grids = Grid.of(table[0].price_increment), Grid.of(table[0].qty_increment)
        self._shift = shift
        self._held: list[_Data] = []
        self._synced = False
        self._u_last = 0  # of the newest update seen, held or applied
        self._trade_last = 0
        self._ts_book = 0

    def run(self, found: list[Member]) -> Iterator[np.ndarray]:
        for member in found:
            for number, line in read_lines(member):
                self._summary.rows_in += 1
                self._line(line, f"{member} line {number}")
                piece = self._rows.take(4096)
                if len(piece):
                    yield piece
        self._summary.reject("book update without a snapshot", n=len(self._held))
        yield self._rows.rest()

    def _line(self, raw: bytes, where: str) -> None:
        parsed = _parse(raw)
        if parsed is None:
            self._summary.reject("not a line of the capture", where)
            self._rows.gap(_SYM, self._ts_book, GAP_SOURCE)
            return
        ts, line = parsed
        self._rows.stamp(ts + self._shift, _SYM)
        try:
            if line.data is None and line.lastUpdateId:
                self._snapshot(line)
            elif line.data is None:
                self._summary.reject("neither a stream nor a snapshot", where)
            elif line.data.e == "depthUpdate":
                self._depth(line.data)
            elif line.data.e == "trade":
                self._trade(line.data)
            elif line.data.e == "bookTicker":
                self._quote(line.data)
            else:
                self._summary.reject(f"stream {line.data.e!r} is not imported", where)
        except _Refused as error:
            self._summary.reject(str(error), where)
            if line.data is None or line.data.e == "depthUpdate":
                self._rows.gap(_SYM, self._ts_book, GAP_SOURCE)

    def _price(self, text: str) -> int:
        ticks, reason = steps_of(text, self._grids[0])
        if reason == OK and ticks == 0:
            reason = ZERO
        if reason == OK and ticks > PRICE_MAX:
            reason = TOO_LARGE
        if reason != OK:
            raise _Refused(f"price {REASONS[reason]}")
        return ticks

    def _qty(self, text: str, zero_allowed: bool = False) -> int:
        lots, reason = steps_of(text, self._grids[1])
        if reason == OK and lots == 0 and not zero_allowed:
            reason = ZERO
        if reason != OK:
            raise _Refused(f"quantity {REASONS[reason]}")
        return lots

    def _book(self, bids: _Levels, asks: _Levels, ts_venue: int, snapshot: bool) -> None:
        levels = [
            (side, self._price(price), self._qty(qty, zero_allowed=not snapshot))
            for side, given in ((BUY, bids), (SELL, asks))
            for price, qty in given
        ]
        flags = SNAPSHOT if snapshot else 0
        for i, (side, ticks, lots) in enumerate(levels):
            self._rows.add(
                BOOK_LEVEL,
                ts_venue=ts_venue,
                sym=_SYM,
                side=side,
                price=ticks,
                qty=lots,
                flags=flags | (LAST if i == len(levels) - 1 else 0),
            )
        if not levels:
            self._rows.add(
                MESSAGE_END, ts_venue=ts_venue, sym=_SYM, id=BOOK_LEVEL, flags=flags | LAST
            )
        self._ts_book = self._rows.ts

    def _snapshot(self, line: _Line) -> None:
        ts_venue = (line.T or line.E) * _MS_NS
        if self._synced:
            self._rows.resync(_SYM, GAP_SOURCE)
        self._book(line.bids, line.asks, ts_venue, snapshot=True)
        self._summary.use("snapshot")
        self._synced = True
        held, self._held = self._held, []
        for data in held:
            if data.u <= line.lastUpdateId:
                self._summary.reject("book update that the snapshot holds already")
                continue
            self._book(data.bids, data.asks, data.ts_venue, snapshot=False)
            self._summary.use("depth update")

    def _depth(self, data: _Data) -> None:
        follows = data.pu == self._u_last if data.pu is not None else self._u_last + 1 == data.U
        if self._u_last and not follows:
            self._rows.gap(_SYM, self._ts_book, GAP_SOURCE)
        self._u_last = data.u
        if not self._synced:
            self._held.append(data)
            return
        self._book(data.bids, data.asks, data.ts_venue, snapshot=False)
        self._summary.use("depth update")

    def _trade(self, data: _Data) -> None:
        ticks, lots = self._price(data.p), self._qty(data.q)
        if self._trade_last and data.t != self._trade_last + 1:
            facts = self._summary.facts
            facts["trade_id_breaks"] = facts.get("trade_id_breaks", 0) + 1
        self._trade_last = data.t
        self._rows.add(
            TRADE,
            ts_venue=data.ts_venue,
            sym=_SYM,
            side=SELL if data.m else BUY,  # m: the buyer was the maker
            price=ticks,
            qty=lots,
            id=data.t,
            flags=LAST,
        )
        self._summary.use("trade")

    def _quote(self, data: _Data) -> None:
        if not (isinstance(data.b, str) and isinstance(data.a, str)):
            raise _Refused("bookTicker of another shape")
        quotes = [
            (TICKER_BID, self._price(data.b), self._qty(data.B), 0),
            (TICKER_ASK, self._price(data.a), self._qty(data.A), LAST),
        ]
        for code, ticks, lots, flags in quotes:
            self._rows.add(
                TICKER,
                ts_venue=data.ts_venue,
                sym=_SYM,
                price=ticks,
                qty=lots,
                id=code,
                flags=flags,
            )
        self._summary.use("book ticker")
