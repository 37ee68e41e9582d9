"""What does the venue answer to subscribe, unsubscribe and ping on the market channels?

Checks in the gateway's order, one reply per symbol, then the snapshots. Left out: the private
channels (private.py) and trading (orders.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from adapters.local_venue import encode
from adapters.local_venue.market import Topic
from adapters.local_venue.options import (
    BOOK_DEPTHS,
    LEVEL3_COST,
    LEVEL3_DEPTHS,
    OHLC_INTERVALS,
)
from adapters.local_venue.text import NS_PER_S

if TYPE_CHECKING:
    from adapters.local_venue.core import Connection, Core

CHANNELS: Final = {
    "public": ("instrument", "ticker", "trade", "book", "ohlc"),
    "level3": ("level3",),
    "private": ("executions", "balances"),
}
PARAMS: Final[dict[str, frozenset[str]]] = {
    "instrument": frozenset(("channel", "snapshot", "include_tokenized_assets", "execution_venue")),
    "ticker": frozenset(("channel", "symbol", "event_trigger", "snapshot")),
    "trade": frozenset(("channel", "symbol", "snapshot")),
    "book": frozenset(("channel", "symbol", "depth", "snapshot")),
    "ohlc": frozenset(("channel", "symbol", "interval", "snapshot")),
    "level3": frozenset(("channel", "symbol", "depth", "snapshot", "token")),
}
ENVELOPE: Final = ("method", "params", "req_id")
MALFORMED: Final = "Malformed request"


class Refusal(Exception):
    """A request that gets an error back; the text is the venue's."""

    def __init__(self, error: str, symbol: str | None = None) -> None:
        super().__init__(error)
        self.error, self.symbol = error, symbol


class Request:
    """One parsed frame: method, params, req_id. Numbers with a point are Decimal."""

    def __init__(self, message: Mapping[str, Any]) -> None:
        self.method: str = message["method"]
        self.req_id: int | None = message.get("req_id")
        self.params: dict[str, Any] = message.get("params") or {}
        self.message = message


def parse(text: str | bytes) -> Request | None:
    """A frame as a request; None for what has no valid envelope."""
    try:
        message = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or not isinstance(message.get("method"), str):
        return None
    req_id = message.get("req_id")
    if req_id is not None and (not isinstance(req_id, int) or isinstance(req_id, bool)):
        return None
    if "params" in message and not isinstance(message["params"], dict | None):
        return None
    return Request(message)


def stray(
    request: Request, allowed: frozenset[str] | tuple[str, ...], of: Mapping[str, Any]
) -> None:
    """Refuse the first field that does not belong there."""
    for field in of:
        if field not in allowed:
            raise Refusal(f"Unsupported field: '{field}' for the given msg type: {request.method}")


def ping(core: Core, conn: Connection, request: Request) -> None:
    stray(request, ("method", "req_id"), request.message)
    core.say(conn, encode.pong(request.req_id, core.shown, core.shown))


def symbols_of(request: Request) -> list[str]:
    symbols = request.params.get("symbol")
    if not isinstance(symbols, list) or not symbols:
        raise Refusal("EGeneral:Invalid arguments:symbol")
    if not all(isinstance(each, str) for each in symbols):
        raise Refusal("EGeneral:Invalid arguments:symbol")
    return symbols


def flag(request: Request, name: str, default: bool) -> bool:
    value = request.params.get(name, default)
    if not isinstance(value, bool):
        raise Refusal(f"{name.capitalize()} field must be a boolean")
    return value


def subscribe(core: Core, conn: Connection, request: Request) -> None:
    """Subscribe market channels; the caller has checked envelope and channel."""
    channel = request.params["channel"]
    stray(request, PARAMS[channel], request.params)
    wants_snapshot = flag(request, "snapshot", channel != "trade")
    if channel == "level3":
        core.token_of(conn, request)
    if channel == "instrument":
        result = {"channel": channel, "snapshot": wants_snapshot,
                  "warnings": [core.options.instrument_warning]}  # fmt: skip
        _join(core, conn, request, Topic("instrument", -1), result, wants_snapshot)
        return
    variant = _variant(request, channel)
    for symbol in symbols_of(request):
        try:
            topic = _topic(core, channel, symbol, variant)
            if channel == "level3":
                _level3_budget(core, conn, symbol, int(variant))
            result = _result(channel, symbol, variant)
            result["snapshot"] = wants_snapshot
            if channel == "ohlc":
                result["warnings"] = ["timestamp is deprecated, use interval_begin"]
            _join(core, conn, request, topic, dict(sorted(result.items())), wants_snapshot)
        except Refusal as refusal:
            core.say(
                conn,
                encode.failure(
                    request.method, request.req_id, refusal.error, core.shown, core.shown, symbol
                ),
            )


def _variant(request: Request, channel: str) -> int | str:
    """Depth, interval or trigger of a subscription."""
    params = request.params
    if channel in ("book", "level3"):
        depth = params.get("depth", 10)
        if depth not in (BOOK_DEPTHS if channel == "book" else LEVEL3_DEPTHS):
            raise Refusal("Subscription depth not supported")
        return int(depth)
    if channel == "ohlc":
        interval = params.get("interval", 1)
        if interval not in OHLC_INTERVALS:
            raise Refusal("Subscription ohlc interval not supported")
        return int(interval)
    if channel == "ticker":
        trigger = params.get("event_trigger", "trades")
        if trigger not in ("trades", "bbo"):
            raise Refusal("Event(s) not found")
        return str(trigger)
    return 0


def _topic(core: Core, channel: str, symbol: str, variant: int | str) -> Topic:
    sym = core.sym_of(symbol)
    if sym < 0:
        raise Refusal(f"Currency pair not supported {symbol}", symbol)
    return Topic(channel, sym, variant)


def _result(channel: str, symbol: str, variant: int | str) -> dict[str, Any]:
    result: dict[str, Any] = {"channel": channel, "symbol": symbol}
    if channel in ("book", "level3"):
        result["depth"] = variant
    elif channel == "ohlc":
        result["interval"] = variant
    elif channel == "ticker":
        result["event_trigger"] = variant
    return result


def _join(
    core: Core, conn: Connection, request: Request, topic: Topic, result: dict[str, Any], snap: bool
) -> None:
    held = [each for each in conn.topics if each[:2] == topic[:2]]
    twice = topic in held
    if core.options.one_depth_per_symbol and topic.channel in ("book", "level3"):
        twice = bool(held)
    if twice:
        raise Refusal(core.options.already_subscribed)
    core.say(conn, encode.reply(request.method, request.req_id, result, core.shown, core.shown))
    core.join(conn, topic, snap)


def _level3_budget(core: Core, conn: Connection, symbol: str, depth: int) -> None:
    """Symbols per connection, and the counter per second."""
    options = core.options
    if len(conn.topics) >= options.level3_symbols_max:
        raise Refusal(options.level3_rate_error, symbol)
    wall = core.wall
    if options.level3_rate_fixed:
        start = wall - wall % NS_PER_S
    else:
        start = wall - NS_PER_S + 1
    conn.level3_spent = [(at, cost) for at, cost in conn.level3_spent if at >= start]
    cost = LEVEL3_COST[depth]
    if sum(each for _, each in conn.level3_spent) + cost > options.level3_rate:
        raise Refusal(options.level3_rate_error, symbol)
    conn.level3_spent.append((wall, cost))


def unsubscribe(core: Core, conn: Connection, request: Request) -> None:
    """End subscriptions of market channels."""
    channel = request.params["channel"]
    stray(request, PARAMS[channel], request.params)
    if channel == "level3":
        core.token_of(conn, request)
    if channel == "instrument":
        topic = Topic("instrument", -1)
        if topic not in conn.topics:
            raise Refusal(core.options.not_subscribed)
        core.leave(conn, topic)
        result: dict[str, Any] = {"channel": channel}
        core.say(conn, encode.reply(request.method, request.req_id, result, core.shown, core.shown))
        return
    named = _variant(request, channel)
    free = channel in ("book", "level3") and "depth" not in request.params
    for symbol in symbols_of(request):
        try:
            wanted = _topic(core, channel, symbol, named)
            for topic in list(conn.topics):
                if topic == wanted or (free and topic[:2] == wanted[:2]):
                    core.leave(conn, topic)
                    result = dict(sorted(_result(channel, symbol, topic.variant).items()))
                    break
            else:
                raise Refusal(core.options.not_subscribed)
            text = encode.reply(request.method, request.req_id, result, core.shown, core.shown)
        except Refusal as refusal:
            text = encode.failure(
                request.method, request.req_id, refusal.error, core.shown, core.shown, symbol
            )
        core.say(conn, text)
