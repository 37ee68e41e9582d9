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

from adapters.imports.base import Channel, Import, Stream, Summary, book_channels
from adapters.imports.files import Member, as_paths, members
from adapters.imports.instruments import Digits
from adapters.imports.kraken_books import (
    SIDES,
    Level,
    Print,
    TickerField,
    add_ticker,
    add_trades,
    depth_that_fits,
)
from adapters.imports.kraken_frames import Frame, frames, is_monotonic
from adapters.imports.kraken_session import RecordedSession, instruments_of
from adapters.kraken.wire import (
    Balances,
    Book,
    Candles,
    Executions,
    Heartbeat,
    Instruments,
    Level3,
    Message,
    Pong,
    Refused,
    Reply,
    Status,
    Ticker,
    Tickers,
    Trade,
    Trades,
    decode,
)
from engine.errors import DataError
from engine.events import (
    BUY,
    GAP_SOURCE,
    HEARTBEAT,
    INSTRUMENT,
    LAST,
    NO_SYMBOL,
    SELL,
    SNAPSHOT,
    TICKER_ASK,
    TICKER_BID,
    TICKER_HIGH,
    TICKER_LAST,
    TICKER_LOW,
    TICKER_VOLUME,
    TICKER_VWAP,
)
from engine.instruments import STATUS_CODES, InstrumentTable


class _Pair(msgspec.Struct):
    symbol: str
    status: str


class _Pairs(msgspec.Struct):
    pairs: list[_Pair] = []


class _Instruments(msgspec.Struct):
    """Of the instrument channel only the status: recordings of it are often trimmed."""

    type: str
    data: _Pairs


class _Params(msgspec.Struct, frozen=True):
    channel: str = ""
    symbol: str | list[str] | None = None

    @property
    def symbols(self) -> list[str]:
        given = self.symbol or []
        return [given] if isinstance(given, str) else given


class _Request(msgspec.Struct):
    """What the client sent, as far as it changes what the venue's messages mean."""

    method: str
    params: _Params = _Params()


_REQUEST: Final = msgspec.json.Decoder(_Request)
_INSTRUMENTS: Final = msgspec.json.Decoder(_Instruments)
_CHANNELS: Final = {Book: "book", Trades: "trade", Tickers: "ticker", Status: "status"}
_OTHERS: Final = {
    Candles: "ohlc",
    Level3: "level3",
    Executions: "executions",
    Balances: "balances",
}
_TICKER_FIELDS: Final = (
    *(TICKER_BID, TICKER_ASK, TICKER_LAST, TICKER_VOLUME, TICKER_VWAP, TICKER_LOW, TICKER_HIGH),
)
_Item = Book | Trade | Ticker


def _text(number: Decimal) -> str:
    """A number as it was written, without an exponent; zeros at its end are kept."""
    return f"{number:f}"


def _items(message: Message) -> tuple[_Item, ...]:
    """The market data of one message, item by item; nothing for another message."""
    if isinstance(message, Book):
        return (message,)
    if isinstance(message, Trades):
        return message.trades
    return message.tickers if isinstance(message, Tickers) else ()


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
    table = instruments_of(scan.pairs, symbols, instruments, tick_size, lot_size)
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
        offset = scan.offset if scan.is_monotonic else 0
        return _Session(summary, table, names, depths, offset).run(found)

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
            scan.has_receive_time |= frame.ts >= 0
            scan.is_monotonic |= is_monotonic(frame.ts)
            if not frame.sent:
                ts_venue = scan._see(decode(frame.text))
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

    def _see(self, message: Message) -> int:
        """Take note of one message; returns the latest venue stamp in it, 0 if none."""
        if isinstance(message, Reply):
            if message.method == "subscribe" and isinstance(message.result, dict):
                depth = message.result.get("depth")
                if isinstance(depth, int) and depth > 0 and message.symbol:
                    self.depths[message.symbol] = depth
            return message.time_out
        if isinstance(message, Pong):
            return message.time_out
        if type(message) in _CHANNELS:
            self.channels.add(_CHANNELS[type(message)])
        stamp = 0
        for item in _items(message):
            digits = self.pairs.setdefault(item.symbol, Digits())
            for price, qty in _numbers(item):
                digits.see(price, qty)
            stamp = max(stamp, item.timestamp)
            if isinstance(item, Book):
                n_levels = max(len(item.bids), len(item.asks)) if item.type == "snapshot" else 1
                self.n_levels[item.symbol] = max(self.n_levels.get(item.symbol, 0), n_levels)
        return stamp

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


def _numbers(item: _Item) -> list[tuple[str, str]]:
    """(price, quantity) texts that a grid must hold."""
    if isinstance(item, Book):
        return [(_text(level.price), _text(level.qty)) for level in (*item.bids, *item.asks)]
    if isinstance(item, Trade):
        return [(_text(item.price), _text(item.qty))]
    prices = (item.bid, item.ask, item.last, item.low, item.high)
    seen = [(_text(each), "0") for each in prices if each is not None]
    return seen + [("0", _text(qty)) for qty in (item.bid_qty, item.ask_qty) if qty is not None]


class _Session(RecordedSession):
    """One pass: lines in, events out. offset : added to each receive time, ns"""

    def __init__(
        self,
        summary: Summary,
        table: InstrumentTable,
        names: dict[str, int],
        depths: dict[int, int],
        offset: int,
    ) -> None:
        super().__init__(summary, table, names, depths)
        self._offset = offset

    def _line(self, frame: Frame) -> None:
        if frame.sent:
            self._sent(frame)
            return
        message = decode(frame.text)
        if isinstance(message, Refused) and not message.channel:
            self._summary.reject("not a v2 message", frame.where)
            self._rows.gap(NO_SYMBOL, self._rows.ts, GAP_SOURCE)
            return
        self._stamp(frame)
        if isinstance(message, Reply):
            if message.method == "unsubscribe" and message.success and message.channel == "book":
                self._unsubscribed([message.symbol])
            self._summary.use(f"answer to {message.method}")
        elif isinstance(message, Pong):
            self._summary.use("answer to pong")
        elif isinstance(message, Heartbeat):
            self._rows.add(HEARTBEAT, flags=LAST)
            self._summary.use("heartbeat")
        else:
            self._data(message, frame)

    def _stamp(self, frame: Frame) -> None:
        if frame.ts >= 0:
            self._rows.stamp(frame.ts + self._offset)

    def _sent(self, frame: Frame) -> None:
        """A request of the client; only an unsubscribe changes anything."""
        try:
            request = _REQUEST.decode(frame.text)
        except (msgspec.DecodeError, ValueError):
            self._summary.reject("not a v2 message", frame.where)
            self._rows.gap(NO_SYMBOL, self._rows.ts, GAP_SOURCE)
            return
        self._stamp(frame)
        if request.method == "unsubscribe" and request.params.channel == "book":
            self._unsubscribed(request.params.symbols)
        self._summary.use("sent by the client")

    def _data(self, message: Message, frame: Frame) -> None:
        channel = _OTHERS.get(type(message), "")
        if isinstance(message, Refused):
            channel = message.channel
        elif type(message) in _CHANNELS:
            channel = _CHANNELS[type(message)]
        elif isinstance(message, Instruments):
            channel = "instrument"
        try:
            if channel == "instrument":
                self._pairs(_INSTRUMENTS.decode(frame.text))
            elif channel not in _CHANNELS.values():
                self._summary.reject(f"channel {channel!r} is not imported", frame.where)
            elif isinstance(message, Refused):
                raise ValueError(message.what)
            elif isinstance(message, Status):
                self._status(message, frame)
            else:
                self._market(message, frame)
        except (msgspec.DecodeError, ValueError) as error:
            self._summary.reject(f"{channel} message of another shape", f"{frame.where} ({error})")
            if channel == "book":
                self._rows.gap(NO_SYMBOL, self._rows.ts, GAP_SOURCE)

    def _status(self, status: Status, frame: Frame) -> None:
        if status.system not in STATUS_CODES:
            raise ValueError(f"unknown status {status.system!r}")
        self._system(STATUS_CODES[status.system], status.connection_id, frame)

    def _pairs(self, message: _Instruments) -> None:
        for pair in message.data.pairs:
            if pair.symbol in self._names and pair.status in STATUS_CODES:
                self._rows.add(
                    INSTRUMENT,
                    sym=self._names[pair.symbol],
                    aux=STATUS_CODES[pair.status],
                    flags=LAST | (SNAPSHOT if message.type == "snapshot" else 0),
                )
        self._summary.use("instrument message")

    def _market(self, message: Message, frame: Frame) -> None:
        items = _items(message)
        if len({item.symbol for item in items}) != 1 or (
            isinstance(message, Tickers) and len(items) > 1
        ):
            raise ValueError("it must be about one pair")
        if items[0].symbol not in self._names:
            self._summary.use("pairs not asked for")
            return
        snapshot = isinstance(message, Book | Trades | Tickers) and message.type == "snapshot"
        stamp = max(item.timestamp for item in items)
        sym = self._names[items[0].symbol]
        # A snapshot's stamp is the time of the last change, which may lie before other messages.
        if frame.ts < 0 and stamp and (stamp >= self._rows.ts or not snapshot):
            self._rows.stamp(stamp, sym)
        if isinstance(message, Book):
            self._book(message, sym, frame)
        elif isinstance(message, Trades):
            self._trades(message, sym, frame)
        elif isinstance(message, Tickers):
            self._ticker(message, sym, frame)

    def _book(self, message: Book, sym: int, frame: Frame) -> None:
        self._has_book(sym, frame)
        bids = [Level(BUY, _text(level.price), _text(level.qty)) for level in message.bids]
        asks = [Level(SELL, _text(level.price), _text(level.qty)) for level in message.asks]
        self._feed.message(
            sym,
            bids + asks,
            snapshot=message.type == "snapshot",
            crc=message.checksum,
            ts_venue=message.timestamp,
            where=frame.where,
        )

    def _trades(self, message: Trades, sym: int, frame: Frame) -> None:
        prints = [
            Print(
                SIDES[item.side],
                _text(item.price),
                _text(item.qty),
                item.timestamp,
                item.ord_type == "market",
                item.trade_id,
            )
            for item in message.trades
        ]
        snapshot = message.type == "snapshot"
        add_trades(self._feed, self._rows, self._summary, sym, prints, frame.where, snapshot)

    def _ticker(self, message: Tickers, sym: int, frame: Frame) -> None:
        (item,) = message.tickers
        prices = {
            TICKER_BID: item.bid,
            TICKER_ASK: item.ask,
            TICKER_LAST: item.last,
            TICKER_VWAP: item.vwap,
            TICKER_LOW: item.low,
            TICKER_HIGH: item.high,
        }
        qtys = {TICKER_BID: item.bid_qty, TICKER_ASK: item.ask_qty, TICKER_VOLUME: item.volume}
        fields = []
        for code in _TICKER_FIELDS:
            price, qty = prices.get(code), qtys.get(code)
            if price is not None or qty is not None:
                p, q = ("" if each is None else _text(each) for each in (price, qty))
                fields.append(TickerField(code, p, q, rounded=code == TICKER_VWAP))
        add_ticker(
            self._feed,
            self._rows,
            self._summary,
            sym,
            fields,
            item.timestamp,
            frame.where,
            message.type == "snapshot",
        )
