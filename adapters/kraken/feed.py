"""What happened in the market? Kraken's public messages to events, each book held and checked.

A message becomes a run of events closed by LAST, or it becomes a Trouble and changes nothing: a
number off the grid, a checksum that does not match, a book left crossed. After trouble with a book
a GAP event says so, and nothing of that symbol's books is applied until their next snapshots,
which the session has to ask for. Left out: asking (session.py), candles (they follow from trades),
private channels (private.py), and where the events go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np

from adapters.kraken.arena import Arena
from adapters.kraken.orders import ASKS, BIDS, OrderBook, order_key
from adapters.kraken.steps import Grid, Refusal, instrument_of, same_steps
from adapters.kraken.wire import (
    Book,
    Heartbeat,
    Instruments,
    Level,
    Level3,
    Message,
    Order,
    Status,
    Tickers,
    Trades,
    decode,
)
from engine.events import (
    BUY,
    CHECKSUM,
    EVENT,
    GAP,
    GAP_CHECKSUM,
    GAP_CROSSED,
    GAP_SOURCE,
    HEARTBEAT,
    INSTRUMENT,
    L3_ADD,
    L3_DELETE,
    L3_MODIFY,
    LAST,
    MARKET_ORDER,
    MESSAGE_END,
    RESYNC,
    SELL,
    SNAPSHOT,
    SYSTEM_STATUS,
    TICKER,
    TICKER_ASK,
    TICKER_BID,
    TICKER_HIGH,
    TICKER_LAST,
    TICKER_LOW,
    TICKER_VOLUME,
    TICKER_VWAP,
    TRADE,
    VERIFIED,
)
from engine.feedbook import (
    FEED_BOOK,
    FEED_CHECKSUM,
    FEED_CROSSED,
    FEED_FULL,
    FEED_NEGATIVE,
    FEED_OFF_GRID,
    FEED_OK,
    FEED_REASONS,
    FEED_SHAPE,
    FEED_TOO_LARGE,
    FEED_WAITING,
    FEED_ZERO,
    MODE_SNAPSHOT,
    MODE_VERIFY,
    feed_frame,
    feed_message,
)
from engine.instruments import (
    STATUS_CODES,
    Instrument,
    InstrumentTable,
    UnknownSymbolError,
    canonical_symbol,
)
from engine.jit import entry_point

# Causes of a Trouble.
CHECKSUM_MISMATCH: Final = "checksum"
CROSSED: Final = "crossed"
BAD_NUMBER: Final = "number"  # off the grid, negative, zero or too large
OTHER_BOOK: Final = "other-book"  # the symbol's other book had trouble, and a GAP distrusts both
CHANGED_STEPS: Final = "steps"  # the pair has other increments now: its numbers mean other prices
BAD_INSTRUMENT: Final = "instrument"
UNKNOWN_STATUS: Final = "status"
TRADE_HOLE: Final = "trade-hole"  # ids are missing: REST Trades has them
TRADE_REPEATED: Final = "trade-repeated"

_REASONS: Final = {
    FEED_OFF_GRID: "is not a whole number of the pair's steps",
    FEED_NEGATIVE: "is negative",
    FEED_ZERO: "is zero",
    FEED_TOO_LARGE: "is too large",
    FEED_SHAPE: "is not a number",
}
_CROSSED: Final = "the message leaves the best bid at or above the best ask"
_LEVEL_BYTES_MIN: Final = len('{"price":1,"qty":1},')
_GAP_OF: Final = {FEED_CHECKSUM: GAP_CHECKSUM, FEED_CROSSED: GAP_CROSSED}
_CAUSE_OF: Final = {FEED_CHECKSUM: CHECKSUM_MISMATCH, FEED_CROSSED: CROSSED}


class Trouble(msgspec.Struct, frozen=True, gc=False):
    """Something of a message could not be believed; `text` is for a log."""

    symbol: str  # canonical; empty where it is about none
    cause: str
    text: str
    channel: str = ""

    @property
    def resubscribe(self) -> bool:
        """Does the book of `channel` wait for a new snapshot?"""
        return self.channel in ("book", "level3")


class Taken(msgspec.Struct, frozen=True, gc=False):
    """What one message became. events : EVENT[n], complete messages, `seq` 0 (the log gives it)."""

    events: np.ndarray
    troubles: tuple[Trouble, ...] = ()


@dataclass
class _Sub:
    """One subscribed book of either kind."""

    symbol: str
    sym: int
    depth: int
    channel: str
    seen: bool = False  # a snapshot was applied once
    announced: bool = False  # a GAP or RESYNC precedes the next snapshot
    n_verified: int = 0  # beside those that `states` counts
    n_failed: int = 0
    n_waiting: int = 0  # updates thrown away while waiting for a snapshot
    # Level 2: FEED_BOOK[1]. Level 3: orders, and the two facts that FEED_BOOK has for level 2.
    states: np.ndarray = field(default_factory=lambda: np.zeros(1, FEED_BOOK))
    orders: OrderBook | None = None
    synced: bool = False
    ts_last: int = 0


class MarketFeed:
    """The market as one connection tells it: books by symbol, and the table of instruments."""

    def __init__(
        self,
        instruments: InstrumentTable,
        depths: Mapping[str, int],
        verify: bool = True,
        *,
        level3_depths: Mapping[str, int] | None = None,
    ) -> None:
        """instruments : rows keep their place, new ones are appended

        depths, level3_depths : levels a side of each book subscription, by symbol; a symbol that
            the table does not hold waits for the instrument channel to describe it
        verify : compute the checksums; without it they are only carried along
        """
        self._table = instruments
        self._verify = verify
        self._mode = MODE_VERIFY if verify else 0
        self._wanted = {
            "book": {canonical_symbol(each): depth for each, depth in depths.items()},
            "level3": {
                canonical_symbol(each): depth for each, depth in (level3_depths or {}).items()
            },
        }
        self._pairs: dict[str, Instrument] = {}  # described, not in the table
        self._grids = [Grid.of(each) for each in instruments]
        self._names: dict[str, int] = {}  # the venue's spelling to the row
        self._subs: dict[str, dict[str, _Sub]] = {"book": {}, "level3": {}}
        self._by_bytes: dict[bytes, _Sub] = {}  # level 2 books that had a snapshot
        self._trade_ids: dict[int, int] = {}  # newest by row
        self._arena = Arena()
        states = np.zeros(1, FEED_BOOK)
        self._feed_message = entry_point(
            feed_message, states, b"[]", b"[]", 0, 0, 0, 0, self._arena.rows, 0
        )
        self._feed_frame = entry_point(feed_frame, states, b"", 0, 0, 0, self._arena.rows, 0)
        for channel, wanted in self._wanted.items():
            for symbol, depth in wanted.items():
                if symbol in self._table:
                    self._open(channel, symbol, depth)
        self._take: dict[type, Any] = {
            Level3: self._level3,
            Trades: self._trades,
            Tickers: self._tickers,
            Instruments: self._instruments,
            Status: self._status,
            Heartbeat: self._heartbeat,
        }

    # ---- what there is ----

    @property
    def instruments(self) -> InstrumentTable:
        """The table as the instrument channel has left it; rows never change their place."""
        return self._table

    def synced(self, symbol: str, channel: str = "book") -> bool:
        """Does a book stand that a snapshot began and that nothing was lost of since?"""
        sub = self._find(channel, symbol)
        return sub is not None and self._is_synced(sub)

    def book(self, symbol: str) -> np.void | None:
        """The BOOK of a symbol (engine/book.py), to look at; None if it is not subscribed."""
        sub = self._find("book", symbol)
        return None if sub is None else sub.states[0]["book"]

    def orders(self, symbol: str) -> OrderBook | None:
        """The level 3 book of a symbol, to look at; None if it is not subscribed."""
        sub = self._find("level3", symbol)
        return None if sub is None else sub.orders

    def counts(self, symbol: str, channel: str = "book") -> tuple[int, int, int]:
        """Checksums that matched and that did not, and updates thrown away for want of a snapshot."""
        sub = self._find(channel, symbol)
        if sub is None:
            return 0, 0, 0
        return sub.n_verified + int(sub.states[0]["n_verified"]), sub.n_failed, sub.n_waiting

    # ---- what the session tells ----

    def follow(self, symbol: str, depth: int, channel: str = "book") -> None:
        """Expect a book subscription; the table grows if the pair was described before."""
        name = canonical_symbol(symbol)
        self._wanted[channel][name] = depth
        if name not in self._table and name in self._pairs:
            self._append([self._pairs.pop(name)])
        if name in self._table:
            self._open(channel, name, depth)

    def unfollow(self, symbol: str, received_ns: int, channel: str = "book") -> np.ndarray:
        """Let go of a book; a RESYNC event tells that what follows needs a snapshot."""
        name = canonical_symbol(symbol)
        self._wanted[channel].pop(name, None)
        events = self.expect_snapshot(name, received_ns, channel=channel)
        sub = self._find(channel, name)
        if sub is not None:
            self._forget(sub)
        return events

    def expect_snapshot(
        self, symbol: str, received_ns: int, cause: int = GAP_SOURCE, channel: str = "book"
    ) -> np.ndarray:
        """We let go of the subscription: throw away what still arrives before a new snapshot.

        returns EVENT[n]: a RESYNC with `cause` (GAP_*) if a book stood, else nothing
        """
        sub = self._find(channel, symbol)
        if sub is not None and self._is_synced(sub):
            self._distrust(sub)
            self._arena.put(received_ns, RESYNC, sym=sub.sym, id=cause, flags=LAST)
        return self._arena.take()

    def lost(
        self, received_ns: int, cause: int, symbols: Sequence[str] | None = None
    ) -> np.ndarray:
        """Something was missed (a closed connection, a full queue): books wait for snapshots.

        symbols : the ones concerned, None for all
        returns EVENT[n]: one GAP with `cause` (GAP_*) for all, or one for each symbol
        """
        self._lose(received_ns, cause, symbols)
        return self._arena.take()

    def _lose(self, received_ns: int, cause: int, symbols: Sequence[str] | None) -> None:
        subs = [sub for by_name in self._subs.values() for sub in by_name.values()]
        if symbols is None:
            ts_from = max(map(self._ts_last, subs), default=0) or received_ns
            self._arena.put(received_ns, GAP, aux=ts_from, id=cause, flags=LAST)
            for sub in subs:
                self._distrust(sub)
            return
        for symbol in symbols:
            sym = self._sym(symbol)
            mine = [sub for sub in subs if sub.sym == sym]
            if sym >= 0:
                ts_from = max(map(self._ts_last, mine), default=0) or received_ns
                self._arena.put(received_ns, GAP, sym=sym, aux=ts_from, id=cause, flags=LAST)
            for sub in mine:
                self._distrust(sub)

    # ---- messages ----

    def take(self, message: Message, received_ns: int) -> Taken:
        """The events of one message, and what was wrong with it. Never raises, whatever it says.

        received_ns : ns since the epoch, when the frame arrived
        """
        if type(message) is Book:
            return self._book(message, received_ns)
        handle = self._take.get(type(message))
        if handle is None:
            return _NOTHING
        troubles: tuple[Trouble, ...] = handle(message, received_ns)
        return Taken(self._arena.take(), troubles)

    def take_frame(self, frame: bytes, received_ns: int) -> Taken | None:
        """As `take(decode(frame))` in a third of the time, for a plain book update; None otherwise.

        None says nothing about the frame: it was not looked at further, and nothing was changed.
        """
        end = frame.find(b'"', _SYMBOL_AT)
        sub = self._by_bytes.get(frame[_SYMBOL_AT:end])
        if sub is None:
            return None
        arena = self._arena
        start, rows = arena.at, arena.rows
        if start == len(rows):
            return None  # the slow road makes room
        result: int = self._feed_frame(sub.states, frame, end, self._mode, received_ns, rows, start)
        if result >= FEED_REASONS:
            arena.start = arena.at = stop = start + result // FEED_REASONS
            return Taken(rows[start:stop])
        if result == FEED_SHAPE:
            return None
        if result == FEED_WAITING:
            sub.n_waiting += 1
            return _NOTHING
        message = decode(frame)
        assert type(message) is Book  # the kernel takes no frame that decode would refuse
        return self._doubt(sub, message, result, 0, received_ns)

    def _book(self, message: Book, received_ns: int) -> Taken:
        sub = self._subs["book"].get(message.symbol)
        if sub is None:
            sub = self._find("book", message.symbol)
            if sub is None:
                return _NOTHING
            self._subs["book"][message.symbol] = sub  # the venue's spelling, next time at once
        arena = self._arena
        bids, asks, crc = message.bids_text, message.asks_text, message.checksum
        if crc is None:
            crc = -1
        mode = self._mode
        if message.type == "snapshot":
            mode |= MODE_SNAPSHOT
            if sub.seen and not sub.announced:
                arena.put(received_ns, RESYNC, sym=sub.sym, id=GAP_SOURCE, flags=LAST)
        if arena.at == len(arena.rows):
            arena.reserve(1)
        result: int = self._feed_message(
            sub.states, bids, asks, mode, crc, received_ns, message.timestamp, arena.rows, arena.at
        )
        n, reason = divmod(result, FEED_REASONS)
        if reason == FEED_OK:
            arena.at += n
            if mode & MODE_SNAPSHOT:
                sub.seen, sub.announced = True, False
                self._by_bytes[message.symbol.encode()] = sub
            return Taken(arena.take())
        arena.drop()
        if reason == FEED_WAITING:
            sub.n_waiting += 1
            return _NOTHING
        if reason == FEED_SHAPE:
            bids_text, asks_text = _plain(message.bids), _plain(message.asks)
            if (bids_text, asks_text) != (bids, asks):
                again = msgspec.structs.replace(message, bids_text=bids_text, asks_text=asks_text)
                return self._book(again, received_ns)
        elif reason == FEED_FULL:
            arena.reserve((len(bids) + len(asks)) // _LEVEL_BYTES_MIN + 2)
            return self._book(message, received_ns)
        return self._doubt(sub, message, reason, n, received_ns)

    def _doubt(self, sub: _Sub, message: Book, reason: int, n: int, received_ns: int) -> Taken:
        """Say why a book message is not believed; n : the level, where it is about one."""
        if reason == FEED_CHECKSUM:
            sub.n_failed += 1
            crc = message.checksum
            text = f"the book gives checksum {sub.states[0]['found']}, the venue says {crc}"
        elif reason == FEED_CROSSED:
            text = _CROSSED
        else:
            level = (*message.bids, *message.asks)[n]
            text = f"level {level.price} x {level.qty}: a number {_REASONS[reason]}"
        troubles = self._trouble(sub, reason, text, received_ns)
        return Taken(self._arena.take(), troubles)

    def _trouble(self, sub: _Sub, reason: int, text: str, received_ns: int) -> tuple[Trouble, ...]:
        """Put the GAP event, and name the books that wait for a snapshot from now on."""
        troubles = [Trouble(sub.symbol, _CAUSE_OF.get(reason, BAD_NUMBER), text, sub.channel)]
        for channel in self._subs:
            other = self._find(channel, sub.symbol)
            # A GAP event is about a symbol, not about one of its channels.
            if other is not None and other is not sub and self._is_synced(other):
                text = f"its {sub.channel} book had trouble, and a gap is about both"
                troubles.append(Trouble(sub.symbol, OTHER_BOOK, text, channel))
        self._lose(received_ns, _GAP_OF.get(reason, GAP_SOURCE), [sub.symbol])
        return tuple(troubles)

    def _level3(self, message: Level3, received_ns: int) -> tuple[Trouble, ...]:
        sub = self._find("level3", message.symbol)
        if sub is None or sub.orders is None:
            return ()
        snapshot = message.type == "snapshot"
        if not snapshot and not sub.synced:
            sub.n_waiting += 1
            return ()
        grid = self._grids[sub.sym]
        try:
            changes = [_change(BIDS, each, grid) for each in message.bids]
            changes += [_change(ASKS, each, grid) for each in message.asks]
        except Refusal as refusal:
            return self._trouble(sub, FEED_OFF_GRID, str(refusal), received_ns)
        orders = sub.orders
        if snapshot:
            orders.clear()
        rows = [row for change in changes for row in _apply(orders, change)]
        orders.cut()
        flags = (SNAPSHOT if snapshot else 0) | LAST
        if message.checksum is not None:
            flags |= CHECKSUM
            if self._verify:
                found = orders.checksum()
                if found != message.checksum:
                    sub.n_failed += 1
                    text = f"the orders give checksum {found}, the venue says {message.checksum}"
                    return self._trouble(sub, FEED_CHECKSUM, text, received_ns)
                flags |= VERIFIED
                sub.n_verified += 1
        if orders.crossed():
            return self._trouble(sub, FEED_CROSSED, _CROSSED, received_ns)
        if snapshot:
            if sub.seen and not sub.announced:
                self._arena.put(received_ns, RESYNC, sym=sub.sym, id=GAP_SOURCE, flags=LAST)
            sub.seen, sub.announced = True, False
        sub.synced, sub.ts_last = True, received_ns
        for kind, side, price, qty, key, time in rows:
            self._arena.put(
                received_ns,
                kind,
                ts_venue=message.timestamp,
                sym=sub.sym,
                side=side,
                price=price,
                qty=qty,
                id=key,
                aux=time,
                flags=flags & SNAPSHOT,
            )
        self._arena.put(
            received_ns,
            MESSAGE_END,
            ts_venue=message.timestamp,
            sym=sub.sym,
            id=L3_ADD,
            aux=message.checksum or 0,
            flags=flags,
        )
        return ()

    def _trades(self, message: Trades, received_ns: int) -> tuple[Trouble, ...]:
        snapshot = message.type == "snapshot"
        troubles = []
        rows = []
        newest: dict[int, int] = {}
        for trade in message.trades:
            sym = self._sym(trade.symbol)
            if sym < 0:
                continue
            grid = self._grids[sym]
            symbol = self._table[sym].symbol
            try:
                ticks = grid.ticks(trade.price, "trade price")
                lots = grid.lots(trade.qty, "trade quantity")
                if lots == 0:
                    raise Refusal("trade quantity is zero")
            except Refusal as refusal:
                return (Trouble(symbol, BAD_NUMBER, str(refusal), "trade"),)
            last = newest.get(sym, self._trade_ids.get(sym, 0))
            if not snapshot and 0 < trade.trade_id <= last:
                text = f"trade {trade.trade_id} came again after {last}"
                troubles.append(Trouble(symbol, TRADE_REPEATED, text, "trade"))
                continue
            if 0 < last < trade.trade_id - 1:
                text = f"trades {last + 1} to {trade.trade_id - 1} did not come"
                troubles.append(Trouble(symbol, TRADE_HOLE, text, "trade"))
            newest[sym] = max(last, trade.trade_id)
            side = BUY if trade.side == "buy" else SELL
            market = MARKET_ORDER if trade.ord_type == "market" else 0
            rows.append((sym, side, ticks, lots, trade.trade_id, trade.timestamp, market))
        self._trade_ids.update(newest)
        history = SNAPSHOT if snapshot else 0
        for i, (sym, side, ticks, lots, trade_id, ts_venue, market) in enumerate(rows):
            self._arena.put(
                received_ns,
                TRADE,
                ts_venue=ts_venue,
                sym=sym,
                side=side,
                price=ticks,
                qty=lots,
                id=trade_id,
                flags=market | history | (LAST if i == len(rows) - 1 else 0),
            )
        return tuple(troubles)

    def _tickers(self, message: Tickers, received_ns: int) -> tuple[Trouble, ...]:
        rows = []
        for ticker in message.tickers:
            sym = self._sym(ticker.symbol)
            if sym < 0:
                continue
            grid = self._grids[sym]
            fields = []
            try:
                for code, name, price, qty in (
                    (TICKER_BID, "bid", ticker.bid, ticker.bid_qty),
                    (TICKER_ASK, "ask", ticker.ask, ticker.ask_qty),
                    (TICKER_LAST, "last", ticker.last, None),
                    (TICKER_VOLUME, "volume", None, ticker.volume),
                    (TICKER_VWAP, "vwap", ticker.vwap, None),
                    (TICKER_LOW, "low", ticker.low, None),
                    (TICKER_HIGH, "high", ticker.high, None),
                ):
                    if price is None and qty is None:
                        continue
                    ticks = lots = 0
                    if code == TICKER_VWAP and price is not None:
                        ticks = grid.ticks_nearest(price, name)
                    elif price is not None:
                        ticks = grid.ticks_or_zero(price, name)
                    if qty is not None:
                        lots = grid.lots(qty, name)
                    fields.append((code, ticks, lots))
            except Refusal as refusal:
                symbol = self._table[sym].symbol
                return (Trouble(symbol, BAD_NUMBER, str(refusal), "ticker"),)
            rows += [(sym, *each, ticker.timestamp) for each in fields]
        history = SNAPSHOT if message.type == "snapshot" else 0
        for i, (sym, code, ticks, lots, ts_venue) in enumerate(rows):
            self._arena.put(
                received_ns,
                TICKER,
                ts_venue=ts_venue,
                sym=sym,
                price=ticks,
                qty=lots,
                id=code,
                flags=history | (LAST if i == len(rows) - 1 else 0),
            )
        return ()

    def _status(self, message: Status, received_ns: int) -> tuple[Trouble, ...]:
        code = STATUS_CODES.get(message.system)
        if code is None:
            text = f"the venue calls its state {message.system[:40]!r}, which we do not know"
            return (Trouble("", UNKNOWN_STATUS, text, "status"),)
        self._arena.put(received_ns, SYSTEM_STATUS, aux=code, flags=LAST)
        return ()

    def _heartbeat(self, message: Heartbeat, received_ns: int) -> tuple[Trouble, ...]:
        self._arena.put(received_ns, HEARTBEAT, flags=LAST)
        return ()

    # ---- the instrument channel ----

    def _instruments(self, message: Instruments, received_ns: int) -> tuple[Trouble, ...]:
        troubles: list[Trouble] = []
        changed: dict[int, Instrument] = {}
        states: dict[str, int] = {}
        for pair in message.pairs:
            try:
                instrument = instrument_of(pair)
            except ValueError as error:
                name = pair.symbol[:40]
                if self._sym(pair.symbol) >= 0:
                    name = self._table[self._sym(pair.symbol)].symbol
                troubles.append(Trouble(name, BAD_INSTRUMENT, str(error), "instrument"))
                continue
            states[instrument.symbol] = STATUS_CODES[instrument.status]
            if instrument.symbol in self._table:
                changed[self._table.index(instrument.symbol)] = instrument
            else:
                self._pairs[instrument.symbol] = instrument
        moved = [sym for sym, new in changed.items() if not same_steps(new, self._table[sym])]
        self._table = InstrumentTable(changed.get(sym, old) for sym, old in enumerate(self._table))
        for sym in moved:
            self._grids[sym] = Grid.of(changed[sym])
        wanted = self._wanted["book"].keys() | self._wanted["level3"].keys()
        self._append([self._pairs.pop(each) for each in sorted(wanted & self._pairs.keys())])
        for sym in moved:
            troubles += self._other_steps(sym, received_ns)
        history = SNAPSHOT if message.type == "snapshot" else 0
        told = [(symbol, status) for symbol, status in states.items() if symbol in self._table]
        for symbol, status in told:
            sym = self._table.index(symbol)
            self._arena.put(received_ns, INSTRUMENT, sym=sym, aux=status, flags=LAST | history)
        return tuple(troubles)

    def _other_steps(self, sym: int, received_ns: int) -> list[Trouble]:
        """The books of a pair whose increments changed hold numbers of the old ones."""
        symbol = self._table[sym].symbol
        text = "the pair's increments changed: prices and quantities of before mean other amounts"
        troubles = [Trouble(symbol, CHANGED_STEPS, text, "instrument")]
        self._lose(received_ns, GAP_SOURCE, [symbol])
        for channel in self._subs:
            sub = self._find(channel, symbol)
            if sub is not None:
                seen = sub.seen
                self._open(channel, symbol, sub.depth)
                if seen:
                    troubles.append(Trouble(symbol, CHANGED_STEPS, text, channel))
        return troubles

    def _append(self, instruments: Sequence[Instrument]) -> None:
        if not instruments:
            return
        self._table = InstrumentTable([*self._table, *instruments])
        self._grids += [Grid.of(each) for each in instruments]
        self._names.clear()  # spellings that meant no row may mean one now
        for channel, wanted in self._wanted.items():
            for each in instruments:
                if each.symbol in wanted:
                    self._open(channel, each.symbol, wanted[each.symbol])

    # ---- the parts ----

    def _open(self, channel: str, symbol: str, depth: int) -> None:
        sym = self._table.index(symbol)
        old = self._find(channel, symbol)
        sub = _Sub(symbol, sym, depth, channel, seen=old is not None and old.seen, announced=True)
        if old is not None:
            sub.n_verified, sub.n_failed, sub.n_waiting = self.counts(symbol, channel)
        grid = self._grids[sym]
        if channel == "level3":
            sub.orders = OrderBook(depth, grid.tick_num, grid.lot_num)
        state = sub.states[0]
        state["sym"], state["depth"] = sym, depth
        state["price_precision"], state["qty_precision"] = grid.price_precision, grid.qty_precision
        state["tick_num"], state["lot_num"] = grid.tick_num, grid.lot_num
        if old is not None:
            self._forget(old)
        self._subs[channel][symbol] = sub

    def _forget(self, sub: _Sub) -> None:
        """Drop a subscription under all its spellings."""
        subs = self._subs[sub.channel]
        self._subs[sub.channel] = {name: each for name, each in subs.items() if each is not sub}
        self._by_bytes = {name: each for name, each in self._by_bytes.items() if each is not sub}

    def _find(self, channel: str, symbol: str) -> _Sub | None:
        subs = self._subs[channel]
        if symbol in subs:
            return subs[symbol]
        sym = self._sym(symbol)
        return subs.get(self._table[sym].symbol) if sym >= 0 else None

    def _sym(self, spelling: str) -> int:
        """Row of a pair as the venue spells it, -1 if the table does not hold it."""
        sym = self._names.get(spelling)
        if sym is None:
            try:
                known = spelling in self._table
            except UnknownSymbolError:
                return -1
            sym = self._table.index(spelling) if known else -1
            if known:
                self._names[spelling] = sym
        return sym

    def _is_synced(self, sub: _Sub) -> bool:
        return sub.synced if sub.channel == "level3" else bool(sub.states[0]["synced"])

    def _ts_last(self, sub: _Sub) -> int:
        return sub.ts_last if sub.channel == "level3" else int(sub.states[0]["ts_last"])

    def _distrust(self, sub: _Sub) -> None:
        sub.synced = False
        sub.states[0]["synced"] = 0
        sub.announced = True


# Where the symbol stands in every update of a book, so far; the kernel looks at what is before it.
_SYMBOL_AT: Final = len('{"channel":"book","type":"update","data":[{"symbol":"')
_NOTHING: Final = Taken(np.zeros(0, EVENT))
_Change = tuple[str, str, int, int, int, int]  # event, id, i_side, ticks, lots, time
_Row = tuple[int, int, int, int, int, int]  # kind, side, ticks, lots, key, time


def _plain(levels: Sequence[Level]) -> bytes:
    """Levels as the text that the kernel reads: no blanks, no exponents, no other fields."""
    return (
        "[" + ",".join(f'{{"price":{each.price:f},"qty":{each.qty:f}}}' for each in levels) + "]"
    ).encode()


def _change(i_side: int, order: Order, grid: Grid) -> _Change:
    """One level 3 event in ticks and lots; raises Refusal."""
    ticks = grid.ticks(order.limit_price, "order price")
    lots = grid.lots(order.order_qty, "order quantity")
    if lots == 0 and order.event != "delete":
        raise Refusal(f"order quantity of {order.order_id[:40]!r} is zero")
    return order.event or "add", order.order_id, i_side, ticks, lots, order.timestamp


def _apply(orders: OrderBook, change: _Change) -> list[_Row]:
    """Change the orders, and say it as events."""
    event, order_id, i_side, ticks, lots, time = change
    side = BUY if i_side == BIDS else SELL
    known = orders.get(order_id)
    key = order_key(order_id) if known is None else known.key
    if event == "delete":
        orders.delete(order_id)
        return [(L3_DELETE, side, ticks, lots, key, time)]
    if event == "modify" and (
        known is None or (known.price_ticks, known.i_side) == (ticks, i_side)
    ):
        orders.modify(order_id, lots)
        return [(L3_MODIFY, side, ticks, lots, key, time)]
    orders.add(order_id, i_side, ticks, lots, time)
    added = (L3_ADD, side, ticks, lots, key, time)
    if event == "modify" and known is not None:  # another price: it leaves one queue, joins another
        was = BUY if known.i_side == BIDS else SELL
        return [(L3_DELETE, was, known.price_ticks, known.qty_lots, key, time), added]
    return [added]
