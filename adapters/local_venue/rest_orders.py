"""How do orders read and how are they asked for in REST? Strings, old names, `descr` and `oflags`.

Left out: whether an order is acceptable (desk.py), which call does what (rest.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from adapters.local_venue.account import Account, Fill, Order
from adapters.local_venue.desk import Wish
from adapters.local_venue.encode import COST_PRECISION, Form, Raw
from adapters.local_venue.rest_names import PairNames
from adapters.local_venue.text import NS_PER_S, fixed, parse_stamp, rounded
from engine.units import from_money

INVALID: Final = "EGeneral:Invalid arguments"
STATUS: Final = {
    "pending_new": "pending",
    "new": "open",
    "partially_filled": "open",
    "filled": "closed",
    "canceled": "canceled",
    "expired": "expired",
}
_RELATIVE: Final = re.compile(r"([+-])(\d+(?:\.\d+)?)(%?)")


class RestError(Exception):
    """A call that gets this error back."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


def decimal_of(fields: Mapping[str, Any], name: str) -> Decimal | None:
    value = fields.get(name)
    if value is None or value == "":
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise RestError(f"{INVALID}:{name}") from None
    if not number.is_finite():
        raise RestError(f"{INVALID}:{name}")
    return number


def truth_of(fields: Mapping[str, Any], name: str) -> bool:
    return str(fields.get(name, "false")).lower() in ("true", "1")


def integer_of(fields: Mapping[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is None or value == "":
        return None
    try:
        return int(str(value))
    except ValueError:
        raise RestError(f"{INVALID}:{name}") from None


def moment_of(fields: Mapping[str, Any], name: str, now: int) -> int:
    """ns of a time in unix seconds, `+seconds` from now, or RFC 3339; 0 if absent or "0"."""
    value = str(fields.get(name) or "0")
    if value in ("0", ""):
        return 0
    if value.startswith("+") and value[1:].isdecimal():
        return now + int(value[1:]) * NS_PER_S
    if value.isdecimal():
        return int(value) * NS_PER_S
    moment = parse_stamp(value)
    if moment is None:
        raise RestError(f"{INVALID}:{name}")
    return moment


def _price(fields: Mapping[str, Any], name: str) -> tuple[Decimal | None, str]:
    """A price and whether it is static, quote (`+5`) or pct (`-5%`)."""
    value = str(fields.get(name) or "")
    found = _RELATIVE.fullmatch(value)
    if found is None:
        return decimal_of(fields, name), "static"
    sign, number, percent = found.groups()
    return Decimal(sign + number), "pct" if percent else "quote"


def wish_of(fields: Mapping[str, Any], symbol: str, now: int, deadline_s: float) -> Wish:
    """The order that a call of AddOrder asks for."""
    order_type, side = str(fields.get("ordertype", "")), str(fields.get("type", ""))
    flags = set(filter(None, str(fields.get("oflags") or "").split(",")))
    if flags - {"post", "fcib", "fciq", "viqc", "nompp"}:
        raise RestError(f"{INVALID}:oflags")
    first, first_type = _price(fields, "price")
    second, second_type = _price(fields, "price2")
    wish = Wish(symbol, side, order_type, by_rest=True)
    if order_type in ("limit", "iceberg"):
        wish.limit_price = first
        if first is not None and first_type != "static":
            raise RestError(f"{INVALID}:price")
    elif order_type != "market":
        trailing = order_type.startswith("trailing")
        wish.trigger_price = abs(first) if trailing and first is not None else first
        wish.trigger_type = "quote" if trailing and first_type == "static" else first_type
        if order_type.endswith("-limit"):
            wish.limit_price, wish.limit_price_type = second, second_type
            if second is not None and second_type != "static" and not trailing:
                raise RestError(f"{INVALID}:price2")
    volume = decimal_of(fields, "volume")
    if "viqc" in flags:
        wish.cash_order_qty = volume
    else:
        wish.order_qty = volume
    wish.display_qty = decimal_of(fields, "displayvol")
    wish.post_only = "post" in flags
    wish.fee_pref = "fcib" if "fcib" in flags else "fciq"
    wish.time_in_force = str(fields.get("timeinforce") or "GTC").lower()
    wish.expire_ns = moment_of(fields, "expiretm", now)
    wish.effective_ns = moment_of(fields, "starttm", now)
    wish.deadline_ns = moment_of(fields, "deadline", now) or now + int(deadline_s * NS_PER_S)
    wish.reduce_only = truth_of(fields, "reduce_only")
    wish.margin = str(fields.get("leverage") or "none") not in ("none", "0", "1", "1:1")
    wish.reference = str(fields.get("trigger") or "last")
    wish.stp_type = str(fields.get("stptype") or "cancel-newest").replace("-", "_")
    wish.userref = integer_of(fields, "userref")
    wish.cl_ord_id = str(fields["cl_ord_id"]) if fields.get("cl_ord_id") else None
    wish.conditional = _close(fields)
    return wish


def _close(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The conditional close: `close[ordertype]` of a form, or an object `close` of JSON."""
    close = fields.get("close")
    if not isinstance(close, Mapping):
        found = {key[6:-1]: value for key, value in fields.items() if key.startswith("close[")}
        close = found or None
    if close is None:
        return None
    order_type = str(close.get("ordertype", ""))
    spec: dict[str, Any] = {"order_type": order_type}
    first, second = decimal_of(close, "price"), decimal_of(close, "price2")
    if order_type == "limit":
        spec["limit_price"] = first
    else:
        spec |= {"trigger_price": first, "limit_price": second}
    return {key: value for key, value in spec.items() if value is not None}


class OrderWriter:
    """Orders and fills of one account as REST writes them."""

    def __init__(self, account: Account, names: PairNames) -> None:
        self.account, self.names = account, names
        self.forms = [Form.of(each) for each in account.market.instruments]

    def description(self, order: Order) -> dict[str, Any]:
        """The `descr` of an order."""
        form = self.forms[order.sym]
        price, second = form.price(order.price), "0"
        if order.conditional_type:
            price, second = (
                form.price(order.trigger),
                form.price(order.price) if order.price else "0",
            )
        if order.trailing is not None:
            tick = self.account.market.instruments[order.sym].price_increment
            far = f"{order.trailing}%" if order.trailing_pct else f"{order.trailing * tick:f}"
            price = f"+{far}"
        side = "buy" if order.side > 0 else "sell"
        at = f" @ {order.order_type}" + ("" if order.order_type == "market" else f" {price}")
        if second != "0":
            at += f" -> limit {second}"
        altname = self.names.altnames[order.sym]
        return {
            "pair": altname,
            "type": side,
            "ordertype": order.order_type,
            "price": "0" if order.order_type == "market" else price,
            "price2": second,
            "leverage": "none",
            "order": f"{side} {form.qty(order.qty)} {altname}{at}",
            "close": str(order.conditional["order_type"]) if order.conditional else "",
        }

    def order(self, order: Order, trades: bool = False) -> dict[str, Any]:
        """An order as OpenOrders, ClosedOrders and QueryOrders show it."""
        form, instrument = self.forms[order.sym], self.account.market.instruments[order.sym]
        average = Decimal(0)
        if order.filled:
            average = from_money(order.cost) / instrument.qty(order.filled)
        flags = ["post"] if order.post_only else []
        misc = (["amended"] if order.amended else []) + (
            ["partial"] if 0 < order.filled < order.qty and not order.alive else []
        )
        item: dict[str, Any] = {
            "refid": order.ref_id,
            "userref": order.userref or 0,
            "status": STATUS[order.status],
            "opentm": unix(order.t_opened),
            "starttm": order.effective_ts // NS_PER_S,
            "expiretm": order.expire_ts // NS_PER_S,
            "descr": self.description(order),
            "vol": form.qty(order.qty),
            "vol_exec": form.qty(order.filled),
            "cost": money(order.cost),
            "fee": money(order.fee),
            "price": rounded(average, form.price_precision),
            "stopprice": form.price(order.trigger) if order.triggered else "0.00000",
            "limitprice": form.price(order.price) if order.triggered else "0.00000",
            "misc": ",".join(misc),
            "oflags": ",".join([*flags, order.fee_pref]),
        }
        if order.cl_ord_id is not None:
            item["cl_ord_id"] = order.cl_ord_id
        if order.conditional_type:
            item["trigger"] = order.reference
        if trades:
            item["trades"] = [fill.exec_id for fill in order.fills]
        if not order.alive:
            item["closetm"] = unix(order.t_closed)
            item["reason"] = order.reason or None
        return item

    def fill(self, order: Order, fill: Fill) -> dict[str, Any]:
        """A row of TradesHistory."""
        form = self.forms[order.sym]
        return {
            "ordertxid": order.txid,
            "postxid": "",
            "pair": self.names.keys[order.sym],
            "time": unix(fill.t),
            "type": "buy" if order.side > 0 else "sell",
            "ordertype": order.order_type,
            "price": form.price(fill.price),
            "cost": money(fill.cost),
            "fee": money(fill.fee),
            "vol": form.qty(fill.qty),
            "margin": "0.00000",
            "leverage": "0",
            "misc": "",
            "trade_id": fill.trade_id,
            "maker": fill.maker,
        }


def unix(ns: int, digits: int = 4) -> Raw:
    """Unix seconds with so many decimals, cut."""
    return Raw(fixed(ns // 10 ** (9 - digits), digits))


def money(value: int) -> str:
    return rounded(from_money(value), COST_PRECISION)
