"""What does one WebSocket v2 frame of Kraken say? Bytes in, one typed message out.

Every message of the public, level 3 and private channels and every reply. Numbers are exact: a
Decimal made of the digits on the wire, integers as integers, stamps as integer nanoseconds.
Unknown fields pass, for Kraken adds them without notice; an unknown channel, type or method, or a
frame of another shape, becomes `Refused` with a name and the bytes themselves. Nothing here
raises, remembers, or asks the time. Left out: what follows from a message (session.py, feed.py,
private.py), and the steps of a price (an instrument knows them, feed.py asks it).

Source: Kraken, "Spot WebSocket API v2"; what is assumed stands in docs/kraken-protocol.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

import msgspec

from adapters.kraken.stamps import Ns, ns_of, to_ns

# A number of the venue has some twenty digits. One with an exponent of a million is legal JSON and
# legal Decimal, and whoever makes an integer of it waits for ever.
_DIGITS_MAX: Final = 40

METHODS: Final = frozenset(
    (
        *("subscribe", "unsubscribe", "ping", "pong", "error"),
        *("add_order", "amend_order", "edit_order", "cancel_order", "cancel_all"),
        *("cancel_all_orders_after", "batch_add", "batch_cancel"),
    )
)
CHANNELS: Final = frozenset(
    (
        *("status", "heartbeat", "instrument", "ticker", "trade", "book", "ohlc", "level3"),
        *("executions", "balances"),
    )
)
Type = Literal["snapshot", "update"]
_Checksum = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF_FFFF)]
_Id = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]  # fits an event


# ---- public ---------------------------------------------------------------------------------


class Maintenance(msgspec.Struct, frozen=True, gc=False):
    """A planned interruption, as the status channel announces it since 2026."""

    event_id: str = ""
    title: str = ""
    phase: str = ""
    expected_start_utc: str = ""
    expected_end_utc: str = ""
    time_to_start_s: Decimal | None = None
    cancel_before_utc: str | None = None
    order_submission: str | None = None
    recommended_action: str | None = None
    affected_services: tuple[str, ...] = ()
    source_url: str | None = None


class Emergency(msgspec.Struct, frozen=True, gc=False):
    """An unplanned interruption, as the status channel tells it since 2026."""

    event_id: str = ""
    title: str = ""
    incident_status: str = ""
    impact: str = ""
    affected_services: tuple[str, ...] = ()
    started_at_utc: str = ""
    source_url: str | None = None


class Status(msgspec.Struct, frozen=True, gc=False):
    """State of the trading engine: online, cancel_only, post_only or maintenance."""

    system: str
    version: str = ""
    api_version: str = ""
    connection_id: int = 0  # unsigned 64 bit; Kraken's exceed int64
    upcoming_maintenance: tuple[Maintenance, ...] | None = None
    emergency: tuple[Emergency, ...] | None = None


class Heartbeat(msgspec.Struct, frozen=True, gc=False):
    """The connection lives; says nothing about any subscription."""


class Asset(msgspec.Struct, frozen=True, gc=False):
    """A currency and the decimals of its ledger."""

    id: str
    status: str
    precision: int
    precision_display: int | None = None
    borrowable: bool | None = None
    collateral_value: Decimal | None = None
    margin_rate: Decimal | None = None
    multiplier: Decimal | None = None


class Pair(msgspec.Struct, frozen=True, gc=False):
    """A pair and its rules; increments exactly as written, `1e-08` included."""

    symbol: str
    base: str
    quote: str
    status: str
    qty_precision: int
    qty_increment: Decimal
    qty_min: Decimal
    price_precision: int
    price_increment: Decimal
    cost_precision: int | None = None
    cost_min: Decimal = Decimal(0)
    marginable: bool | None = None
    margin_initial: Decimal | None = None
    position_limit_long: int | None = None
    position_limit_short: int | None = None
    has_index: bool | None = None


class Instruments(msgspec.Struct, frozen=True, gc=False):
    """Assets and pairs: all of them in a snapshot, the changed ones in an update."""

    type: Type
    assets: tuple[Asset, ...]
    pairs: tuple[Pair, ...]


class Level(msgspec.Struct, frozen=True, gc=False):
    """One price and the quantity that stands there now; 0 removes it."""

    price: Decimal
    qty: Decimal


class Book(msgspec.Struct, frozen=True, gc=False):
    """One message of one book. The levels stay text until somebody asks for them.

    feed.py reads the text in one compiled pass; `bids` and `asks` are for everyone else. `decode`
    has made sure that they can be read.
    """

    type: Type
    symbol: str
    bids_text: bytes
    asks_text: bytes
    checksum: int | None
    timestamp: int  # ns, 0 if absent

    @property
    def bids(self) -> tuple[Level, ...]:
        """Bid entries in the order of the message."""
        return _LEVELS.decode(self.bids_text)

    @property
    def asks(self) -> tuple[Level, ...]:
        """Ask entries in the order of the message."""
        return _LEVELS.decode(self.asks_text)


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One trade; `side` and `ord_type` are the taker's."""

    symbol: str
    side: Literal["buy", "sell"]
    price: Decimal
    qty: Decimal
    trade_id: _Id
    timestamp: Ns
    ord_type: str = ""


class Trades(msgspec.Struct, frozen=True, gc=False):
    """Trades of one message; a snapshot holds the last fifty."""

    type: Type
    trades: tuple[Trade, ...]


class Ticker(msgspec.Struct, frozen=True, gc=False):
    """Best bid and ask and the last 24 hours; what never traded has fewer fields."""

    symbol: str
    bid: Decimal | None = None
    bid_qty: Decimal | None = None
    ask: Decimal | None = None
    ask_qty: Decimal | None = None
    last: Decimal | None = None
    volume: Decimal | None = None
    vwap: Decimal | None = None
    low: Decimal | None = None
    high: Decimal | None = None
    change: Decimal | None = None
    change_pct: Decimal | None = None
    timestamp: Ns = Ns(0)


class Tickers(msgspec.Struct, frozen=True, gc=False):
    """Tickers of one message."""

    type: Type
    tickers: tuple[Ticker, ...]


class Candle(msgspec.Struct, frozen=True, gc=False):
    """One candle. Nothing says that it is final: one with a later `interval_begin` does."""

    symbol: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    interval_begin: Ns
    interval: int  # minutes
    trades: int = 0
    vwap: Decimal = Decimal(0)


class Candles(msgspec.Struct, frozen=True, gc=False):
    """Candles of one message, which may be of several intervals."""

    type: Type
    candles: tuple[Candle, ...]
    timestamp: int


class Order(msgspec.Struct, frozen=True, gc=False):
    """One order of level 3: resting (in a snapshot), or what happened to it (in an update)."""

    order_id: str
    limit_price: Decimal
    order_qty: Decimal
    timestamp: Ns
    event: Literal["", "add", "modify", "delete"] = ""


class Level3(msgspec.Struct, frozen=True, gc=False):
    """Orders of one book; those of one price stand in queue order in a snapshot."""

    type: Type
    symbol: str
    bids: tuple[Order, ...]
    asks: tuple[Order, ...]
    checksum: int | None
    timestamp: int


# ---- private --------------------------------------------------------------------------------


class Fee(msgspec.Struct, frozen=True, gc=False):
    """One part of a fill's fee."""

    asset: str
    qty: Decimal


class Triggers(msgspec.Struct, frozen=True, gc=False):
    """What sets off a stop, a take-profit or a trailing order."""

    reference: str | None = None
    price: Decimal | None = None
    price_type: str | None = None
    actual_price: Decimal | None = None
    peak_price: Decimal | None = None
    last_price: Decimal | None = None
    timestamp: Ns = Ns(0)
    status: str | None = None


class Contingent(msgspec.Struct, frozen=True, gc=False):
    """The template of the order that follows each fill of this one."""

    order_type: str | None = None
    trigger_price: Decimal | None = None
    trigger_price_type: str | None = None
    limit_price: Decimal | None = None
    limit_price_type: str | None = None


class Report(msgspec.Struct, frozen=True, gc=False):
    """One execution report. Only the order's id is always there: most fields say nothing new."""

    order_id: str
    exec_type: str = ""
    order_status: str = ""
    timestamp: Ns = Ns(0)
    symbol: str | None = None
    side: Literal["buy", "sell"] | None = None
    order_type: str | None = None
    order_qty: Decimal | None = None
    limit_price: Decimal | None = None
    limit_price_type: str | None = None
    cl_ord_id: str | None = None
    order_userref: int | None = None  # 0: none was given
    time_in_force: str | None = None  # upper case here, lower case in requests
    effective_time: str | None = None
    expire_time: str | None = None
    cum_qty: Decimal | None = None
    cum_cost: Decimal | None = None
    avg_price: Decimal | None = None
    last_qty: Decimal | None = None
    last_price: Decimal | None = None
    cost: Decimal | None = None
    exec_id: str | None = None  # a fill seen again after a reconnect is known by it
    trade_id: int | None = None
    liquidity_ind: str | None = None  # m maker, t taker
    fees: tuple[Fee, ...] = ()
    fee_usd_equiv: Decimal | None = None
    fee_ccy_pref: str | None = None
    reason: str | None = None
    amended: bool | None = None
    post_only: bool | None = None
    reduce_only: bool | None = None
    display_qty: Decimal | None = None
    display_qty_remain: Decimal | None = None
    triggers: Triggers | None = None
    contingent: Contingent | None = None
    ord_ref_id: str | None = None
    cash_order_qty: Decimal | None = None
    margin: bool | None = None
    liquidated: bool | None = None
    position_status: str | None = None
    sender_sub_id: str | None = None
    user: str | None = None
    ratecount: Decimal | None = None  # the name is a guess of other clients


class Executions(msgspec.Struct, frozen=True, gc=False):
    """Reports of one message; `sequence` counts messages, from 1, per subscription."""

    type: Type
    sequence: int
    reports: tuple[Report, ...]


class Wallet(msgspec.Struct, frozen=True, gc=False):
    """One wallet of an asset."""

    type: str
    id: str
    balance: Decimal


class Balance(msgspec.Struct, frozen=True, gc=False):
    """What the account holds of an asset, holds of open orders included; or one ledger entry."""

    asset: str
    balance: Decimal
    asset_class: str = "currency"
    wallets: tuple[Wallet, ...] = ()  # of a snapshot
    ledger_id: str | None = None  # from here on: of an update
    ref_id: str | None = None
    timestamp: Ns = Ns(0)
    type: str | None = None
    subtype: str | None = None
    category: str | None = None
    wallet_type: str | None = None
    wallet_id: str | None = None
    amount: Decimal | None = None  # signed, without the fee
    fee: Decimal | None = None  # taken in addition, same asset
    user: str | None = None


class Balances(msgspec.Struct, frozen=True, gc=False):
    """All holdings, or entries of the ledger; its `sequence` is not that of the executions."""

    type: Type
    sequence: int
    balances: tuple[Balance, ...]


# ---- replies --------------------------------------------------------------------------------


class Reply(msgspec.Struct, frozen=True, gc=False):
    """The answer to one request, or to one symbol or order of it.

    `result` is what the venue said, floats as Decimal: an object, for batch_add an array.
    """

    method: str
    success: bool
    req_id: int | None = None
    error: str = ""
    result: Any = None
    symbol: str = ""  # of a subscription, also where there is no result
    channel: str = ""
    warnings: tuple[str, ...] = ()
    time_in: int = 0  # ns
    time_out: int = 0  # ns
    orders_cancelled: int | None = None  # batch_cancel of 2024 had it beside no result


class Pong(msgspec.Struct, frozen=True, gc=False):
    """The answer to a ping; `time_in` tells how far our clock is from the venue's."""

    req_id: int | None = None
    time_in: int = 0  # ns
    time_out: int = 0  # ns


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A frame that says nothing we know: why, and the frame itself."""

    what: str
    raw: bytes
    channel: str = ""  # as the frame names it, known or not


Message = (
    Status
    | Heartbeat
    | Instruments
    | Book
    | Trades
    | Tickers
    | Candles
    | Level3
    | Executions
    | Balances
    | Reply
    | Pong
    | Refused
)


# ---- frames: the same, as they lie on the wire ------------------------------------------------


class _Frame(msgspec.Struct, frozen=True, gc=False, tag_field="channel"):
    """One data frame; the channel says which."""


class _HeartbeatFrame(_Frame, frozen=True, gc=False, tag="heartbeat"):
    pass


class _StatusFrame(_Frame, frozen=True, gc=False, tag="status"):
    type: Type
    data: tuple[Status]


class _InstrumentData(msgspec.Struct, frozen=True, gc=False):
    assets: tuple[Asset, ...] = ()
    pairs: tuple[Pair, ...] = ()


class _InstrumentFrame(_Frame, frozen=True, gc=False, tag="instrument"):
    type: Type
    data: _InstrumentData


class _BookData(msgspec.Struct, frozen=True, gc=False):
    symbol: str
    checksum: _Checksum | None = None
    bids: msgspec.Raw = msgspec.Raw(b"[]")
    asks: msgspec.Raw = msgspec.Raw(b"[]")
    timestamp: str | None = None


class _BookFrame(_Frame, frozen=True, gc=False, tag="book"):
    type: Type
    data: tuple[_BookData]


class _TradeFrame(_Frame, frozen=True, gc=False, tag="trade"):
    type: Type
    data: tuple[Trade, ...]


class _TickerFrame(_Frame, frozen=True, gc=False, tag="ticker"):
    type: Type
    data: tuple[Ticker, ...]


class _CandleFrame(_Frame, frozen=True, gc=False, tag="ohlc"):
    type: Type
    data: tuple[Candle, ...]
    timestamp: Ns = Ns(0)


class _Level3Data(msgspec.Struct, frozen=True, gc=False):
    symbol: str
    checksum: _Checksum | None = None
    bids: tuple[Order, ...] = ()
    asks: tuple[Order, ...] = ()
    timestamp: Ns = Ns(0)


class _Level3Frame(_Frame, frozen=True, gc=False, tag="level3"):
    type: Type
    data: tuple[_Level3Data]


class _ExecutionsFrame(_Frame, frozen=True, gc=False, tag="executions"):
    type: Type
    data: tuple[Report, ...]
    sequence: int = 0


class _BalancesFrame(_Frame, frozen=True, gc=False, tag="balances"):
    type: Type
    data: tuple[Balance, ...]
    sequence: int = 0


class _ReplyFrame(msgspec.Struct, frozen=True, gc=False):
    method: str
    success: bool | None = None
    req_id: int | None = None
    error: str | None = None
    result: Any = None
    symbol: str | None = None
    time_in: Ns = Ns(0)
    time_out: Ns = Ns(0)
    orders_cancelled: int | None = None


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    channel: Any = None
    method: Any = None
    type: Any = None


def _hook(kind: type, given: Any) -> Any:
    """msgspec asks how to make the one type that it does not know."""
    if kind is Ns and isinstance(given, str):
        return to_ns(given)
    raise ValueError(f"expected a time, got {type(given).__name__}")


_FRAME: Final = msgspec.json.Decoder(
    _HeartbeatFrame
    | _StatusFrame
    | _InstrumentFrame
    | _BookFrame
    | _TradeFrame
    | _TickerFrame
    | _CandleFrame
    | _Level3Frame
    | _ExecutionsFrame
    | _BalancesFrame,
    dec_hook=_hook,
)
_REPLY: Final = msgspec.json.Decoder(_ReplyFrame, dec_hook=_hook, float_hook=Decimal)
_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_LEVELS: Final = msgspec.json.Decoder(tuple[Level, ...])

# All that damaged or hostile bytes have been seen to raise; ValueError holds DecodeError's parents
# and broken UTF-8, ArithmeticError an exponent that not even Decimal takes.
_DAMAGE: Final = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)

# Levels as Kraken writes them; others are legal and rare, and are read the slow way. msgspec has
# seen that it is JSON, so digits and points are a number; thirty of them are a number to bear.
_LEVEL: Final = rb'\{"price":[0-9.]{1,30},"qty":[0-9.]{1,30}\}'
_PLAIN_LEVELS: Final = re.compile(rb"\[" + _LEVEL + rb"(?:," + _LEVEL + rb")*\]").fullmatch
# Where a number may hide that is not finite or not of this world: a long exponent, a word in
# quotes, an escape that could spell one, or more digits than any amount has.
_SUSPECT: Final = re.compile(
    rb'[0-9][eE][-+]?[0-9]{2}|"[-+]?s?(?:nan|inf)|\\|[0-9]{30}', re.IGNORECASE
).search


def decode(frame: bytes) -> Message:
    """The message of one frame, whatever the bytes; never raises."""
    try:
        data = _FRAME.decode(frame)
    except _DAMAGE as error:
        return _without_channel(frame, str(error))
    try:
        return _MAKE[type(data)](data, frame)
    except _DAMAGE as error:
        channel = str(type(data).__struct_config__.tag)
        return Refused(f"malformed {channel}: {error}", frame, channel)


def _book(data: Any, frame: bytes) -> Message:
    (item,) = data.data
    bids, asks = bytes(item.bids), bytes(item.asks)
    if bids != b"[]" and _PLAIN_LEVELS(bids) is None:
        _check(_LEVELS.decode(bids))
    if asks != b"[]" and _PLAIN_LEVELS(asks) is None:
        _check(_LEVELS.decode(asks))
    stamp = ns_of(item.timestamp) if item.timestamp else 0
    return Book(data.type, item.symbol, bids, asks, item.checksum, stamp)


def _level3(data: Any, frame: bytes) -> Message:
    (item,) = data.data
    _doubt(item, frame)
    snapshot = data.type == "snapshot"
    if any((each.event == "") != snapshot for each in (*item.bids, *item.asks)):
        raise ValueError("orders of an update need an event, those of a snapshot have none")
    return Level3(data.type, item.symbol, item.bids, item.asks, item.checksum, item.timestamp)


def _doubt(decoded: Any, frame: bytes) -> None:
    """Raise ValueError if a number of the frame is not one to calculate with."""
    if _SUSPECT(frame) is not None:
        _check(decoded)


def _check(decoded: Any) -> None:
    if isinstance(decoded, Decimal):
        if not decoded.is_finite():
            raise ValueError("a number that is not finite")
        parts = decoded.as_tuple()
        if len(parts.digits) > _DIGITS_MAX or abs(int(parts.exponent)) > _DIGITS_MAX:
            raise ValueError("a number out of all proportion")
    elif isinstance(decoded, msgspec.Struct):
        for name in decoded.__struct_fields__:
            _check(getattr(decoded, name))
    elif isinstance(decoded, dict):
        for value in decoded.values():
            _check(value)
    elif isinstance(decoded, tuple | list):
        for value in decoded:
            _check(value)


def _checked(make: Callable[[Any], Message]) -> Callable[[Any, bytes], Message]:
    """`make`, once the numbers of the frame are known to be harmless."""

    def made(data: Any, frame: bytes) -> Message:
        _doubt(data, frame)
        return make(data)

    return made


_HEARTBEAT: Final = Heartbeat()
_MAKE: Final[dict[type, Callable[[Any, bytes], Message]]] = {
    _HeartbeatFrame: lambda data, frame: _HEARTBEAT,
    _StatusFrame: _checked(lambda data: data.data[0]),
    _InstrumentFrame: _checked(lambda d: Instruments(d.type, d.data.assets, d.data.pairs)),
    _BookFrame: _book,
    _TradeFrame: _checked(lambda data: Trades(data.type, data.data)),
    _TickerFrame: _checked(lambda data: Tickers(data.type, data.data)),
    _CandleFrame: _checked(lambda data: Candles(data.type, data.data, data.timestamp)),
    _Level3Frame: _level3,
    _ExecutionsFrame: _checked(lambda data: Executions(data.type, data.sequence, data.data)),
    _BalancesFrame: _checked(lambda data: Balances(data.type, data.sequence, data.data)),
}


def _without_channel(frame: bytes, fault: str) -> Message:
    """A reply, or a refusal that says what is wrong with the frame."""
    try:
        outer = _ENVELOPE.decode(frame)
    except _DAMAGE:
        return Refused("not a JSON object", frame)
    if isinstance(outer.channel, str):
        channel = outer.channel
        if channel not in CHANNELS:
            return Refused(f"unknown channel {channel[:40]!r}", frame, channel)
        if outer.type not in ("snapshot", "update") and channel != "heartbeat":
            return Refused(f"unknown type {str(outer.type)[:40]!r} of {channel}", frame, channel)
        return Refused(f"malformed {channel}: {fault}", frame, channel)
    if not isinstance(outer.method, str):
        return Refused("neither channel nor method", frame)
    if outer.method not in METHODS:
        return Refused(f"unknown method {outer.method[:40]!r}", frame)
    try:
        reply = _REPLY.decode(frame)
        _doubt(reply, frame)
        return _reply(reply)
    except _DAMAGE as error:
        return Refused(f"malformed reply to {outer.method}: {error}", frame)


def _reply(given: _ReplyFrame) -> Message:
    if given.method == "pong" and given.error is None and given.success is not False:
        return Pong(given.req_id, given.time_in, given.time_out)
    if given.success is None:
        raise ValueError("it does not say whether it succeeded")
    result = given.result if isinstance(given.result, dict) else {}
    warnings = result.get("warnings")
    named = [given.symbol, result.get("symbol")]
    return Reply(
        method=given.method,
        success=given.success,
        req_id=given.req_id,
        error=given.error or "",
        result=given.result,
        symbol=next((each for each in named if isinstance(each, str)), ""),
        channel=channel if isinstance(channel := result.get("channel"), str) else "",
        warnings=tuple(map(str, warnings)) if isinstance(warnings, list) else (),
        time_in=given.time_in,
        time_out=given.time_out,
        orders_cancelled=given.orders_cancelled,
    )
