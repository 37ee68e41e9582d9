"""How is a recorded Kraken WebSocket v1 session read: `book`, `trade` and `ticker`?

One message per line, bare or with a receive time (kraken_frames.py). Numbers are text with a fixed
number of decimals per pair; the checksum is made of that text, so the decimals of the text become
the pair's precision, and the finest digit that any price needs becomes its tick.

Without a receive time `ts` is the venue's stamp: the latest one among the levels of a message,
those marked `r` (published again, with their old stamp) left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

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
)
from adapters.imports.kraken_frames import Frame, frames, seconds_to_ns
from adapters.imports.kraken_session import RecordedSession, instruments_of
from engine.errors import DataError
from engine.events import (
    BUY,
    GAP_SOURCE,
    HEARTBEAT,
    LAST,
    NO_SYMBOL,
    SELL,
    TICKER_ASK,
    TICKER_BID,
    TICKER_HIGH,
    TICKER_LAST,
    TICKER_LOW,
    TICKER_VOLUME,
    TICKER_VWAP,
)
from engine.instruments import STATUS_CODES, InstrumentTable

_SIDE_KEYS: Final = (("as", SELL), ("bs", BUY), ("a", SELL), ("b", BUY))


def read(
    paths: str | Path | Sequence[str | Path],
    *,
    symbols: Sequence[str] | None = None,
    instruments: str | Path | InstrumentTable | None = None,
    tick_size: str | Decimal | None = None,
    lot_size: str | Decimal | None = None,
) -> Import:
    """A recorded v1 session. Reads it twice: first for its pairs, depths and digits.

    symbols : only these pairs; the others are counted as used but leave no events
    instruments : an AssetPairs answer or a table, for minimums and steps; else from the digits
    tick_size, lot_size : steps that replace the inferred ones, for a session of one pair
    """
    found = members(as_paths(list(paths) if not isinstance(paths, str | Path) else paths), ".jsonl")
    scan = _Scan.of(found)
    table = instruments_of(
        scan.pairs, symbols, instruments, tick_size, lot_size, text_precision=True
    )
    names = {pair: table.index(pair) for pair in scan.pairs if pair in table}
    depths = {names[pair]: depth for pair, depth in scan.depths.items() if pair in names}
    channels = book_channels({table[sym].symbol: depth for sym, depth in depths.items()})
    channels += [Channel(each) for each in ("trade", "ticker", "status") if each in scan.channels]
    clock = "ts: local receive time; ts_venue: the venue's latest stamp of the message"
    if not scan.has_receive_time:
        clock = "ts = ts_venue: the recording has no receive time; the venue's stamp stands for it"

    def stream(summary: Summary) -> Stream:
        return _Session(summary, table, names, depths).run(found)

    return Import(
        source=f"Kraken WebSocket v1 session: {', '.join(map(str, found))}",
        venue="kraken",
        instruments=table,
        channels=tuple(channels),
        clock=clock,
        ts_is_receive_time=scan.has_receive_time,
        stream=stream,
        notes=_notes(scan, instruments is not None),
    )


def _notes(scan: _Scan, has_reference: bool) -> tuple[str, ...]:
    notes = []
    if not has_reference:
        notes.append("price and quantity steps were inferred from the digits of the data")
    depths = sorted(set(scan.depths.values()))
    if len(depths) > 1:
        notes.append(f"the pairs have different book depths: {depths}")
    return tuple(notes)


class _Scan:
    """What a first pass learns: pairs with their digits, depths, channels."""

    def __init__(self) -> None:
        self.pairs: dict[str, Digits] = {}
        self.depths: dict[str, int] = {}
        self.channels: set[str] = set()
        self.has_receive_time = False

    @classmethod
    def of(cls, found: list[Member]) -> _Scan:
        scan = cls()
        for frame in frames(found, None):
            scan.has_receive_time |= frame.ts >= 0
            message = _decode(frame.text)
            if not isinstance(message, list) or len(message) < 4:
                if isinstance(message, dict) and message.get("event") == "systemStatus":
                    scan.channels.add("status")
                continue
            name, pair = str(message[-2]), str(message[-1])
            digits = scan.pairs.setdefault(pair, Digits())
            if name.startswith("book"):
                scan.channels.add("book")
                scan.depths[pair] = _depth_of(name)
                for level in _levels(message):
                    digits.see(level.price, level.qty)
            elif name in ("trade", "ticker"):
                scan.channels.add(name)
                for price, qty in _numbers(name, message[1]):
                    digits.see(price, qty)
        if not scan.pairs:
            raise DataError(
                f"{', '.join(map(str, found))}: no book, trade or ticker message of v1 found.",
                "Is it a v2 recording? Then the format is kraken-v2-book.",
            )
        return scan


def _decode(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None


def _depth_of(name: str) -> int:
    _, _, depth = name.partition("-")
    return int(depth) if depth.isdigit() else 10


def _entries(message: list[Any]) -> list[tuple[int, list[str]]]:
    """(side, [price, quantity, stamp, mark]) of a book message, in the order of the wire."""
    return [
        (side, entry)
        for part in message[1:-2]
        for key, side in _SIDE_KEYS
        for entry in part.get(key, ())
    ]


def _levels(message: list[Any]) -> list[Level]:
    try:
        return [Level(side, entry[0], entry[1]) for side, entry in _entries(message)]
    except (AttributeError, IndexError, TypeError):
        return []


def _numbers(name: str, payload: Any) -> list[tuple[str, str]]:
    """(price, quantity) texts of a trade or ticker message that a grid must hold."""
    try:
        if name == "trade":
            return [(row[0], row[1]) for row in payload]
        pairs = [(payload[k][0], payload[k][-1]) for k in ("a", "b", "c")]
        return pairs + [(payload[k][1], "0") for k in ("l", "h")]
    except (IndexError, KeyError, TypeError):
        return []


class _Session(RecordedSession):
    """One pass: lines in, events out."""

    def _line(self, frame: Frame) -> None:
        message = _decode(frame.text)
        if frame.sent:
            self._summary.use("sent by the client")
        elif isinstance(message, dict):
            self._event(message, frame)
        elif isinstance(message, list) and len(message) >= 4:
            self._data(message, frame)
        else:
            self._summary.reject("not a v1 message", frame.where)
            self._rows.gap(NO_SYMBOL, self._rows.ts, GAP_SOURCE)

    def _event(self, message: dict[str, Any], frame: Frame) -> None:
        kind = message.get("event")
        if frame.ts >= 0:
            self._rows.stamp(frame.ts)
        if kind == "heartbeat":
            self._rows.add(HEARTBEAT, flags=LAST)
            self._summary.use("heartbeat")
        elif kind == "systemStatus":
            self._status(message, frame)
        elif kind in ("subscriptionStatus", "pong", "ping"):
            if kind == "subscriptionStatus" and message.get("status") == "unsubscribed":
                name, pair = str(message.get("channelName")), str(message.get("pair"))
                if name.startswith("book"):
                    self._unsubscribed([pair])
            self._summary.use(str(kind))
        else:
            self._summary.reject(f"unknown event {kind!r}", frame.where)

    def _status(self, message: dict[str, Any], frame: Frame) -> None:
        status = STATUS_CODES.get(str(message.get("status")))
        if status is None:
            self._summary.reject(f"unknown status {message.get('status')!r}", frame.where)
            return
        self._system(status, message.get("connectionID"), frame)

    def _data(self, message: list[Any], frame: Frame) -> None:
        name, pair = str(message[-2]), str(message[-1])
        sym = self._names.get(pair)
        if sym is None:
            self._summary.use("pairs not asked for")
            return
        try:
            if name.startswith("book"):
                self._book(message, sym, frame)
            elif name == "trade":
                self._trades(message[1], sym, frame)
            elif name == "ticker":
                self._ticker(message[1], sym, frame)
            else:
                self._summary.reject(f"channel {name!r} is not imported", frame.where)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            self._summary.reject(f"{name} message of another shape", f"{frame.where} ({error})")
            if name.startswith("book"):
                self._rows.gap(sym, self._rows.ts, GAP_SOURCE)

    def _book(self, message: list[Any], sym: int, frame: Frame) -> None:
        entries = _entries(message)
        fresh = [seconds_to_ns(e[2]) for _, e in entries if len(e) < 4 or e[3] != "r"]
        ts_venue = max(fresh, default=0)
        crc = next((int(part["c"]) for part in message[1:-2] if "c" in part), None)
        self._stamp(frame, ts_venue, sym)
        self._has_book(sym, frame)
        self._feed.message(
            sym,
            [Level(side, entry[0], entry[1]) for side, entry in entries],
            snapshot=any("as" in part or "bs" in part for part in message[1:-2]),
            crc=crc,
            ts_venue=ts_venue,
            where=frame.where,
        )

    def _stamp(self, frame: Frame, ts_venue: int, sym: int) -> None:
        if frame.ts >= 0:
            self._rows.stamp(frame.ts, sym)
        elif ts_venue > 0:
            self._rows.stamp(ts_venue, sym)

    def _trades(self, payload: list[list[str]], sym: int, frame: Frame) -> None:
        prints = [
            Print(SIDES[side], price, qty, seconds_to_ns(time), order_type == "m")
            for price, qty, time, side, order_type, *_ in payload
        ]
        self._stamp(frame, max(each.ts_venue for each in prints), sym)
        add_trades(self._feed, self._rows, self._summary, sym, prints, frame.where)

    def _ticker(self, payload: dict[str, list[Any]], sym: int, frame: Frame) -> None:
        fields = [
            TickerField(TICKER_BID, payload["b"][0], payload["b"][2]),
            TickerField(TICKER_ASK, payload["a"][0], payload["a"][2]),
            TickerField(TICKER_LAST, payload["c"][0]),
            TickerField(TICKER_VOLUME, "", payload["v"][1]),
            TickerField(TICKER_VWAP, payload["p"][1], rounded=True),
            TickerField(TICKER_LOW, payload["l"][1]),
            TickerField(TICKER_HIGH, payload["h"][1]),
        ]
        self._stamp(frame, 0, sym)
        add_ticker(self._feed, self._rows, self._summary, sym, fields, 0, frame.where)
