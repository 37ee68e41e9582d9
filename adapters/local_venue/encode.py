"""How does each message of the venue read? The JSON text of channels, replies and errors.

Key order, number forms and timestamps are those of recordings. Texts are made by hand and not by
a JSON library, because numbers keep their trailing zeros. Left out: when something is said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from adapters.local_venue.books import Level, Order3
from adapters.local_venue.text import fixed, name, rounded, short, stamp
from engine.instruments import Instrument

HEARTBEAT: Final = '{"channel":"heartbeat"}'
COST_PRECISION: Final = 5
FIAT: Final = frozenset(("USD", "EUR", "GBP", "CAD", "CHF", "AUD", "JPY"))


class Raw(str):
    """Text that stands in a message as it is: a number with its own digits."""

    __slots__ = ()


def dumps(value: Any) -> str:
    """JSON without spaces; Decimal and Raw keep their digits."""
    if isinstance(value, Raw):
        return value[:]
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mapping):
        inner = ",".join(f"{json.dumps(str(k))}:{dumps(v)}" for k, v in value.items())
        return "{" + inner + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(dumps(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)


class Form(NamedTuple):
    """How the numbers of one pair are written."""

    symbol: str
    tick_num: int
    lot_num: int
    price_precision: int
    qty_precision: int

    @classmethod
    def of(cls, instrument: Instrument) -> Form:
        row = instrument.row()
        return cls(
            instrument.symbol,
            int(row["tick_num"]),
            int(row["lot_num"]),
            instrument.price_precision,
            instrument.qty_precision,
        )

    def price(self, ticks: int) -> str:
        return fixed(ticks * self.tick_num, self.price_precision)

    def qty(self, lots: int) -> str:
        return fixed(lots * self.lot_num, self.qty_precision)


# ---- data ----


def status(system: str, connection_id: int, version: str, upcoming: str = "") -> str:
    """The status; with an upcoming maintenance there are two arrays more, both or none."""
    more = f',"upcoming_maintenance":{upcoming},"emergency":[]' if upcoming else ""
    return (
        f'{{"channel":"status","type":"update","data":[{{"version":"{version}","system":"{system}",'
        f'"api_version":"v2","connection_id":{connection_id}{more}}}]}}'
    )


def book(form: Form, kind: str, levels: Sequence[Level], checksum: int, ts: int) -> str:
    """A message of the `book` channel; kind is snapshot or update."""
    sides: tuple[list[str], list[str]] = ([], [])
    for i_side, price, qty in levels:
        sides[i_side].append(f'{{"price":{form.price(price)},"qty":{form.qty(qty)}}}')
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{form.symbol}",'
        f'"bids":[{",".join(sides[0])}],"asks":[{",".join(sides[1])}],'
        f'"checksum":{checksum},"timestamp":"{stamp(ts)}"}}]}}'
    )


def level3(form: Form, kind: str, orders: Sequence[Order3], checksum: int, ts: int) -> str:
    """A message of the `level3` channel; events are named in updates only."""
    sides: tuple[list[str], list[str]] = ([], [])
    for order in orders:
        event = f'"event":"{order.kind}",' if kind == "update" else ""
        sides[order.i_side].append(
            f'{{{event}"order_id":"{name("O", order.id)}","limit_price":{form.price(order.price)},'
            f'"order_qty":{form.qty(order.qty)},"timestamp":"{stamp(order.ts, 9)}"}}'
        )
    return (
        f'{{"channel":"level3","type":"{kind}","data":[{{"checksum":{checksum},'
        f'"symbol":"{form.symbol}","timestamp":"{stamp(ts, 9)}",'
        f'"bids":[{",".join(sides[0])}],"asks":[{",".join(sides[1])}]}}]}}'
    )


class Print(NamedTuple):
    """One public trade; side +1 buy, -1 sell of the taker."""

    side: int
    price: int
    qty: int
    trade_id: int
    ts: int
    market: bool
    ns: int = 0  # REST's id of it: its time, made unique


def trades(form: Form, kind: str, prints: Sequence[Print]) -> str:
    items = ",".join(
        f'{{"symbol":"{form.symbol}","side":"{"sell" if each.side < 0 else "buy"}",'
        f'"price":{form.price(each.price)},"qty":{form.qty(each.qty)},'
        f'"ord_type":"{"market" if each.market else "limit"}","trade_id":{each.trade_id},'
        f'"timestamp":"{stamp(each.ts)}"}}'
        for each in prints
    )
    return f'{{"channel":"trade","type":"{kind}","data":[{items}]}}'


class Ticker(NamedTuple):
    """The ticker of a pair in ticks and lots; vwap in ticks, rounded."""

    bid: int
    bid_qty: int
    ask: int
    ask_qty: int
    last: int
    volume: int
    vwap: int
    low: int
    high: int
    open: int
    ts: int


def ticker(form: Form, kind: str, t: Ticker) -> str:
    change = t.last - t.open if t.open else 0
    pct = rounded(Decimal(100 * change) / Decimal(t.open), 2) if t.open else "0.00"
    return (
        f'{{"channel":"ticker","type":"{kind}","data":[{{"symbol":"{form.symbol}",'
        f'"bid":{form.price(t.bid)},"bid_qty":{form.qty(t.bid_qty)},'
        f'"ask":{form.price(t.ask)},"ask_qty":{form.qty(t.ask_qty)},'
        f'"last":{form.price(t.last)},"volume":{form.qty(t.volume)},"vwap":{form.price(t.vwap)},'
        f'"low":{form.price(t.low)},"high":{form.price(t.high)},"change":{form.price(change)},'
        f'"change_pct":{pct},"timestamp":"{stamp(t.ts)}"}}]}}'
    )


class Candle(NamedTuple):
    """One candle; vwap in ticks, rounded; begin in ns."""

    open: int
    high: int
    low: int
    close: int
    trades: int
    volume: int
    vwap: int
    begin: int


def ohlc(form: Form, kind: str, candles: Sequence[Candle], interval: int, ts: int) -> str:
    items = ",".join(
        f'{{"symbol":"{form.symbol}","open":{form.price(c.open)},"high":{form.price(c.high)},'
        f'"low":{form.price(c.low)},"close":{form.price(c.close)},"trades":{c.trades},'
        f'"volume":{form.qty(c.volume)},"vwap":{form.price(c.vwap)},'
        f'"interval_begin":"{stamp(c.begin, 9)}","interval":{interval},'
        f'"timestamp":"{stamp(c.begin + interval * 60_000_000_000)}"}}'
        for c in candles
    )
    return f'{{"channel":"ohlc","type":"{kind}","timestamp":"{stamp(ts, 9)}","data":[{items}]}}'


def asset_precision(asset: str) -> int:
    """Decimals in which an asset's ledger is kept."""
    return 4 if asset in FIAT else 10


def asset_record(asset: str) -> str:
    fiat = asset in FIAT
    return (
        f'{{"id":"{asset}","status":"enabled","precision":{asset_precision(asset)},'
        f'"precision_display":{2 if fiat else 5},"borrowable":false,"collateral_value":1.00}}'
    )


def pair_record(instrument: Instrument, status: str) -> str:
    tick = short(instrument.price_increment)
    return (
        f'{{"symbol":"{instrument.symbol}","base":"{instrument.base}",'
        f'"quote":"{instrument.quote}","status":"{status}",'
        f'"qty_precision":{instrument.qty_precision},"qty_increment":{short(instrument.qty_increment)},'
        f'"price_precision":{instrument.price_precision},"cost_precision":{COST_PRECISION},'
        f'"marginable":false,"has_index":false,"cost_min":{short(instrument.cost_min)},'
        f'"tick_size":{tick},"price_increment":{tick},"qty_min":{short(instrument.qty_min)}}}'
    )


def instruments(kind: str, assets: Sequence[str], pairs: Sequence[str]) -> str:
    """kind, asset records, pair records: `data` is an object here, not an array."""
    return (
        f'{{"channel":"instrument","type":"{kind}","data":{{"assets":[{",".join(assets)}],'
        f'"pairs":[{",".join(pairs)}]}}}}'
    )


# ---- replies ----


def reply(method: str, req_id: int | None, result: Any, time_in: int, time_out: int) -> str:
    """A success. `result` is left out when None."""
    fields: dict[str, Any] = {"method": method}
    if req_id is not None:
        fields["req_id"] = req_id
    if result is not None:
        fields["result"] = result
    fields["success"] = True
    fields["time_in"], fields["time_out"] = stamp(time_in), stamp(time_out)
    return dumps(fields)


def failure(
    method: str,
    req_id: int | None,
    error: str,
    time_in: int,
    time_out: int,
    symbol: str | None = None,
) -> str:
    """A refusal; the symbol stands at top level, since there is no result."""
    fields: dict[str, Any] = {"error": error, "method": method}
    if req_id is not None:
        fields["req_id"] = req_id
    fields["success"] = False
    if symbol is not None:
        fields["symbol"] = symbol
    fields["time_in"], fields["time_out"] = stamp(time_in), stamp(time_out)
    return dumps(fields)


def pong(req_id: int | None, time_in: int, time_out: int) -> str:
    fields: dict[str, Any] = {"method": "pong"}
    if req_id is not None:
        fields["req_id"] = req_id
    fields["time_in"], fields["time_out"] = stamp(time_in), stamp(time_out)
    return dumps(fields)
