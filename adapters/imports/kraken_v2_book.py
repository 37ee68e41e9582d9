"""How is a recorded Kraken WebSocket v2 session read: `book`, `trade` and `ticker`?

Lines as in kraken_frames.py. Numbers are taken from their text, never from a float, so a recording
of the exact frames keeps its zeros; one whose numbers were parsed and written again has lost them,
which does no harm: the checksum is made of integers at the pair's precision, and the precision is
the most decimals that any number of the pair has (or what the given instruments say).

With a monotonic receive clock the offset to UTC is the smallest that no venue stamp contradicts:
the fastest message is taken to have arrived at once. Without one, `ts` is the venue's stamp.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from adapters.imports.base import Channel, Import, Rows, Stream, Summary, book_channels
from adapters.imports.digits import plain
from adapters.imports.files import Member, as_paths, members
from adapters.imports.instruments import (
    Digits,
    instrument_from_digits,
    instrument_from_options,
    pick,
    read_instruments,
)
from adapters.imports.kraken_books import (
    SIDES,
    BookFeed,
    Level,
    Print,
    TickerField,
    add_ticker,
    add_trades,
    depth_that_fits,
)
from adapters.imports.kraken_frames import Frame, frames, is_monotonic, iso_to_ns
from engine.errors import DataError
from engine.events import (
    BUY,
    GAP_DISCONNECT,
    GAP_SOURCE,
    HEARTBEAT,
    INSTRUMENT,
    LAST,
    NO_SYMBOL,
    SELL,
    SNAPSHOT,
    SYSTEM_STATUS,
    TICKER_ASK,
    TICKER_BID,
    TICKER_HIGH,
    TICKER_LAST,
    TICKER_LOW,
    TICKER_VOLUME,
    TICKER_VWAP,
)
from engine.instruments import STATUS_CODES, InstrumentTable, canonical_symbol


class _Level(msgspec.Struct):
    price: msgspec.Raw
    qty: msgspec.Raw


class _Book(msgspec.Struct):
    symbol: str
    bids: list[_Level] = []
    asks: list[_Level] = []
    checksum: int | None = None
    timestamp: str | None = None


class _Trade(msgspec.Struct):
    symbol: str
    side: str
    price: msgspec.Raw
    qty: msgspec.Raw
    ord_type: str
    trade_id: int
    timestamp: str


class _Ticker(msgspec.Struct):
    symbol: str
    bid: msgspec.Raw
    bid_qty: msgspec.Raw
    ask: msgspec.Raw
    ask_qty: msgspec.Raw
    last: msgspec.Raw
    volume: msgspec.Raw
    vwap: msgspec.Raw
    low: msgspec.Raw
    high: msgspec.Raw
    timestamp: str | None = None


class _Pair(msgspec.Struct):
    symbol: str
    status: str


class _Pairs(msgspec.Struct):
    pairs: list[_Pair] = []


class _System(msgspec.Struct):
    system: str
    connection_id: int | None = None


class _Request(msgspec.Struct):
    channel: str = ""
    symbol: str | list[str] | None = None
    depth: int | None = None

    @property
    def symbols(self) -> list[str]:
        given = self.symbol or []
        return [given] if isinstance(given, str) else given


class _Message(msgspec.Struct):
    channel: str = ""
    type: str = ""
    data: msgspec.Raw = msgspec.Raw()
    method: str = ""
    success: bool | None = None
    result: _Request | None = None
    params: _Request | None = None
    time_out: str | None = None
    error: str | None = None


_MESSAGE: Final = msgspec.json.Decoder(_Message)
_BOOKS: Final = msgspec.json.Decoder(list[_Book])
_TRADES: Final = msgspec.json.Decoder(list[_Trade])
_TICKERS: Final = msgspec.json.Decoder(list[_Ticker])
_SYSTEMS: Final = msgspec.json.Decoder(list[_System])
_PAIRS: Final = msgspec.json.Decoder(_Pairs)
_IMPORTED: Final = ("book", "trade", "ticker")


def _text(raw: msgspec.Raw) -> str:
    """A number's own text; also where an exporter put it in quotes."""
    return plain(bytes(raw).decode().strip('"'))


def read(
    paths: str | Path | Sequence[str | Path],
    *,
    symbols: Sequence[str] | None = None,
    instruments: str | Path | InstrumentTable | None = None,
    tick_size: str | Decimal | None = None,
    lot_size: str | Decimal | None = None,
    depth: int | None = None,
) -> Import:
    """A recorded v2 session. Reads it twice: first for its pairs, depths, digits and clock.

    symbols : only these pairs; the others are counted as used but leave no events
    instruments : an instrument snapshot, an AssetPairs answer or a table; else from the digits
    tick_size, lot_size : steps that replace the inferred ones, for a session of one pair
    depth : of the book subscription, where the recording has no acknowledgement of it
    """
    found = members(as_paths(list(paths) if not isinstance(paths, str | Path) else paths), ".jsonl")
    scan = _Scan.of(found)
    table = _instruments(scan, symbols, instruments, tick_size, lot_size)
    names = {pair: table.index(pair) for pair in scan.pairs if pair in table}
    depths = {
        names[pair]: depth or scan.depths.get(pair) or depth_that_fits(n_levels)
        for pair, n_levels in scan.n_levels.items()
        if pair in names
    }
    channels = book_channels({table[sym].symbol: depth for sym, depth in depths.items()})
    channels += [Channel(each) for each in ("trade", "ticker", "status") if each in scan.channels]

    def stream(summary: Summary) -> Stream:
        if scan.is_monotonic:
            summary.facts["monotonic_offset_ns"] = scan.offset
        return _Session(summary, table, names, depths, scan).run(found)

    return Import(
        source=f"Kraken WebSocket v2 session: {', '.join(map(str, found))}",
        venue="kraken",
        instruments=table,
        channels=tuple(channels),
        clock=scan.clock,
        ts_is_receive_time=scan.has_receive_time,
        stream=stream,
        notes=scan.notes(instruments is not None, depths, {s: p for p, s in names.items()}),
    )


class _Scan:
    """What a first pass learns: pairs with their digits, depths, channels, clock."""

    def __init__(self) -> None:
        self.pairs: dict[str, Digits] = {}
        self.depths: dict[str, int] = {}  # as acknowledged
        self.n_levels: dict[str, int] = {}  # most levels a side of any snapshot
        self.channels: set[str] = set()
        self.has_receive_time = False
        self.has_venue_time = False
        self.is_monotonic = False
        self.offset = 0

    @classmethod
    def of(cls, found: list[Member]) -> _Scan:
        scan = cls()
        offsets = []
        for frame in frames(found, None):
            message = _decode(frame.text)
            if message is None:
                continue
            scan.has_receive_time |= frame.ts >= 0
            scan.is_monotonic |= is_monotonic(frame.ts)
            if not frame.sent:
                ts_venue = scan._see(message)
                scan.has_venue_time |= ts_venue > 0
                if frame.ts >= 0 and ts_venue > 0:
                    offsets.append(ts_venue - frame.ts)
        if not scan.pairs:
            raise DataError(
                f"{', '.join(map(str, found))}: no book, trade or ticker message of v2 found.",
                "Is it a v1 recording? Then the format is kraken-v1-book.",
            )
        if not (scan.has_receive_time or scan.has_venue_time):
            raise DataError(
                f"{', '.join(map(str, found))}: no message carries a time, and there is no "
                "receive time either.",
                "Record with receive times: lines of recv_ts and msg, or of rx_ns and frame.",
            )
        if scan.is_monotonic:
            if not offsets:
                raise DataError(
                    f"{', '.join(map(str, found))}: the receive clock is monotonic and no message "
                    "carries a venue time, so its UTC time is unknown.",
                    "Record with receive times of the epoch.",
                )
            scan.offset = max(offsets)
        return scan

    def _see(self, message: _Message) -> int:
        """Take note of one message; returns the latest venue stamp in it, 0 if none."""
        if message.method == "subscribe" and message.result and message.result.depth:
            for pair in message.result.symbols:
                self.depths[pair] = message.result.depth
        stamps = [message.time_out] if message.time_out else []
        if message.channel == "status":
            self.channels.add("status")
        if message.channel not in _IMPORTED:
            return max(map(iso_to_ns, stamps), default=0)
        try:
            items = _items(message)
        except (msgspec.DecodeError, ValueError):
            return 0
        self.channels.add(message.channel)
        for item in items:
            digits = self.pairs.setdefault(item.symbol, Digits())
            for price, qty in _numbers(item):
                digits.see(price, qty)
            if item.timestamp:
                stamps.append(item.timestamp)
            if isinstance(item, _Book):
                n_levels = max(len(item.bids), len(item.asks)) if message.type == "snapshot" else 1
                self.n_levels[item.symbol] = max(self.n_levels.get(item.symbol, 0), n_levels)
        return max(map(iso_to_ns, stamps), default=0)

    @property
    def clock(self) -> str:
        if self.is_monotonic:
            return (
                "ts: monotonic receive clock plus the offset at which the fastest message "
                "arrived at once; ts_venue: the venue's stamp"
            )
        if self.has_receive_time:
            return "ts: local receive time; ts_venue: the venue's stamp of the message"
        return "ts = ts_venue: the recording has no receive time; the venue's stamp stands for it"

    def notes(
        self, has_reference: bool, depths: dict[int, int], names: dict[int, str]
    ) -> tuple[str, ...]:
        notes = []
        if not has_reference:
            notes.append("price and quantity steps were inferred from the digits of the data")
        for sym, depth in depths.items():
            if names[sym] not in self.depths:
                notes.append(f"{names[sym]}: depth {depth} was taken from the size of its snapshot")
        return tuple(notes)


def _decode(text: bytes) -> _Message | None:
    try:
        return _MESSAGE.decode(text)
    except msgspec.DecodeError:
        return None


def _items(message: _Message) -> list[_Book] | list[_Trade] | list[_Ticker]:
    if message.channel == "book":
        return _BOOKS.decode(message.data)
    if message.channel == "trade":
        return _TRADES.decode(message.data)
    return _TICKERS.decode(message.data)


def _numbers(item: _Book | _Trade | _Ticker) -> list[tuple[str, str]]:
    """(price, quantity) texts that a grid must hold."""
    if isinstance(item, _Book):
        return [(_text(level.price), _text(level.qty)) for level in (*item.bids, *item.asks)]
    if isinstance(item, _Trade):
        return [(_text(item.price), _text(item.qty))]
    pairs = [(item.bid, item.bid_qty), (item.ask, item.ask_qty)]
    prices = [(_text(each), "0") for each in (item.last, item.low, item.high)]
    return [(_text(price), _text(qty)) for price, qty in pairs] + prices


def _instruments(
    scan: _Scan,
    symbols: Sequence[str] | None,
    reference: str | Path | InstrumentTable | None,
    tick_size: str | Decimal | None,
    lot_size: str | Decimal | None,
) -> InstrumentTable:
    wanted = {canonical_symbol(each) for each in symbols} if symbols else None
    known = read_instruments(reference) if reference is not None else None
    picked = []
    for pair, digits in scan.pairs.items():
        symbol = canonical_symbol(pair)
        if wanted is not None and symbol not in wanted:
            continue
        if known is not None:
            each = pick(known, symbol, pair)
        else:
            each = instrument_from_digits(symbol, digits, as_written=True)
        picked.append(instrument_from_options(symbol, tick_size, lot_size, each))
    missing = (wanted or set()) - {each.symbol for each in picked}
    if missing:
        raise DataError(
            f"the recording does not hold {', '.join(sorted(missing))}.",
            f"It holds {', '.join(sorted(canonical_symbol(p) for p in scan.pairs))}.",
        )
    return InstrumentTable(sorted(picked, key=lambda each: each.symbol))


class _Session:
    """One pass: lines in, events out."""

    def __init__(
        self,
        summary: Summary,
        table: InstrumentTable,
        names: dict[str, int],
        depths: dict[int, int],
        scan: _Scan,
    ) -> None:
        self._summary = summary
        self._rows = Rows(summary, table)
        self._feed = BookFeed(summary, self._rows, table, depths)
        self._names = names
        self._offset = scan.offset if scan.is_monotonic else 0
        self._connection: dict[str, int] = {}
        self._syms_of_conn: dict[str, set[int]] = {}

    def run(self, found: list[Member]) -> Stream:
        for frame in frames(found, self._summary):
            if frame.text:
                self._line(frame)
            else:
                self._rows.gap(NO_SYMBOL, self._rows.ts, GAP_SOURCE)  # declared by `frames`
            piece = self._rows.take(4096)
            if len(piece):
                yield piece
        yield self._rows.rest()

    def _line(self, frame: Frame) -> None:
        message = _decode(frame.text)
        if message is None or not (message.channel or message.method):
            self._summary.reject("not a v2 message", frame.where)
            self._rows.gap(NO_SYMBOL, self._rows.ts, GAP_SOURCE)
            return
        if frame.ts >= 0:
            self._rows.stamp(frame.ts + self._offset)
        if message.method:
            self._method(message, frame)
        elif message.channel == "heartbeat":
            self._rows.add(HEARTBEAT, flags=LAST)
            self._summary.use("heartbeat")
        elif not bytes(message.data):
            self._summary.reject(f"{message.channel} without data", frame.where)
        else:
            self._data(message, frame)

    def _method(self, message: _Message, frame: Frame) -> None:
        """Requests of the client and the venue's answers; only an unsubscribe changes anything."""
        asked = message.params if frame.sent else message.result
        if message.method == "unsubscribe" and asked is not None and asked.channel == "book":
            for pair in asked.symbols:
                if pair in self._names:
                    self._feed.unsubscribed(self._names[pair])
        self._summary.use("sent by the client" if frame.sent else f"answer to {message.method}")

    def _data(self, message: _Message, frame: Frame) -> None:
        channel = message.channel
        try:
            if channel in _IMPORTED:
                self._market(message, frame)
            elif channel == "status":
                self._status(_SYSTEMS.decode(message.data), frame)
            elif channel == "instrument":
                self._pairs(_PAIRS.decode(message.data), message.type == "snapshot")
            else:
                self._summary.reject(f"channel {channel!r} is not imported", frame.where)
        except (msgspec.DecodeError, KeyError, ValueError) as error:
            self._summary.reject(f"{channel} message of another shape", f"{frame.where} ({error})")
            if channel == "book":
                self._rows.gap(NO_SYMBOL, self._rows.ts, GAP_SOURCE)

    def _status(self, items: list[_System], frame: Frame) -> None:
        for item in items:
            if item.system not in STATUS_CODES:
                raise ValueError(f"unknown status {item.system!r}")
            if item.connection_id is not None:
                before = self._connection.setdefault(frame.conn, item.connection_id)
                if before != item.connection_id:
                    self._connection[frame.conn] = item.connection_id
                    self._rows.gap(NO_SYMBOL, self._rows.ts, GAP_DISCONNECT)
                    syms = sorted(self._syms_of_conn.get(frame.conn, ()))
                    self._feed.disconnected(syms, GAP_DISCONNECT)
            self._rows.add(SYSTEM_STATUS, aux=STATUS_CODES[item.system], flags=LAST)
        self._summary.use("system status")

    def _pairs(self, data: _Pairs, snapshot: bool) -> None:
        for pair in data.pairs:
            if pair.symbol in self._names and pair.status in STATUS_CODES:
                self._rows.add(
                    INSTRUMENT,
                    sym=self._names[pair.symbol],
                    aux=STATUS_CODES[pair.status],
                    flags=LAST | (SNAPSHOT if snapshot else 0),
                )
        self._summary.use("instrument message")

    def _market(self, message: _Message, frame: Frame) -> None:
        snapshot = message.type == "snapshot"
        items = _items(message)
        if len({item.symbol for item in items}) != 1 or (
            len(items) > 1 and message.channel != "trade"
        ):
            raise ValueError("it must be about one pair")
        known = [item for item in items if item.symbol in self._names]
        if not known:
            self._summary.use("pairs not asked for")
            return
        stamps = [iso_to_ns(item.timestamp) for item in known if item.timestamp]
        sym = self._names[known[0].symbol]
        # A snapshot's stamp is the time of the last change, which may lie before other messages.
        if frame.ts < 0 and stamps and (max(stamps) >= self._rows.ts or not snapshot):
            self._rows.stamp(max(stamps), sym)
        if isinstance(known[0], _Book):
            self._book(known[0], snapshot, frame)
        elif isinstance(known[0], _Trade):
            trades = [item for item in known if isinstance(item, _Trade)]
            self._trades(trades, snapshot, frame)
        else:
            tickers = [item for item in known if isinstance(item, _Ticker)]
            self._ticker(tickers[0], snapshot, frame)

    def _book(self, item: _Book, snapshot: bool, frame: Frame) -> None:
        sym = self._names[item.symbol]
        self._syms_of_conn.setdefault(frame.conn, set()).add(sym)
        bids = [Level(BUY, _text(level.price), _text(level.qty)) for level in item.bids]
        asks = [Level(SELL, _text(level.price), _text(level.qty)) for level in item.asks]
        self._feed.message(
            sym,
            bids + asks,
            snapshot=snapshot,
            crc=item.checksum,
            ts_venue=iso_to_ns(item.timestamp) if item.timestamp else 0,
            where=frame.where,
        )

    def _trades(self, items: list[_Trade], snapshot: bool, frame: Frame) -> None:
        prints = [
            Print(
                SIDES[item.side],
                _text(item.price),
                _text(item.qty),
                iso_to_ns(item.timestamp),
                item.ord_type == "market",
                item.trade_id,
            )
            for item in items
        ]
        sym = self._names[items[0].symbol]
        add_trades(self._feed, self._rows, self._summary, sym, prints, frame.where, snapshot)

    def _ticker(self, item: _Ticker, snapshot: bool, frame: Frame) -> None:
        fields = [
            TickerField(TICKER_BID, _text(item.bid), _text(item.bid_qty)),
            TickerField(TICKER_ASK, _text(item.ask), _text(item.ask_qty)),
            TickerField(TICKER_LAST, _text(item.last)),
            TickerField(TICKER_VOLUME, "", _text(item.volume)),
            TickerField(TICKER_VWAP, _text(item.vwap), rounded=True),
            TickerField(TICKER_LOW, _text(item.low)),
            TickerField(TICKER_HIGH, _text(item.high)),
        ]
        ts_venue = iso_to_ns(item.timestamp) if item.timestamp else 0
        sym = self._names[item.symbol]
        add_ticker(
            self._feed, self._rows, self._summary, sym, fields, ts_venue, frame.where, snapshot
        )
