"""What does a trading request on the WebSocket mean, and how is it answered?

The gateway's checks of fields and types are answered at once; what passes goes to the desk when
it reaches the engine, and is answered after that. Left out: the checks of the engine (desk.py).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from adapters.local_venue import encode
from adapters.local_venue.account import Order
from adapters.local_venue.desk import Change, Wish
from adapters.local_venue.public import ENVELOPE, MALFORMED, Refusal, Request, stray
from adapters.local_venue.text import NS_PER_S, parse_stamp, stamp

if TYPE_CHECKING:
    from adapters.local_venue.core import Connection, Core
    from adapters.local_venue.private import Client

INVALID: Final = "EGeneral:Invalid arguments"
DEADLINE_MIN_NS: Final = NS_PER_S // 2
DEADLINE_MAX_NS: Final = 60 * NS_PER_S

_ORDER: Final = frozenset(
    ("order_type", "side", "order_qty", "limit_price", "limit_price_type", "triggers",
     "time_in_force", "expire_time", "effective_time", "post_only", "reduce_only", "margin",
     "display_qty", "fee_preference", "stp_type", "cash_order_qty", "conditional", "cl_ord_id",
     "order_userref", "sender_sub_id", "no_mpp")
)  # fmt: skip
_AROUND: Final = frozenset(("symbol", "deadline", "validate", "token"))
FIELDS: Final[dict[str, frozenset[str]]] = {
    "add_order": _ORDER | _AROUND,
    "amend_order": frozenset(
        ("order_id", "cl_ord_id", "order_qty", "display_qty", "limit_price", "limit_price_type",
         "post_only", "trigger_price", "trigger_price_type", "deadline", "symbol", "token")
    ),
    "edit_order": frozenset(
        ("order_id", "symbol", "order_qty", "limit_price", "triggers", "display_qty",
         "fee_preference", "post_only", "reduce_only", "deadline", "order_userref", "validate",
         "no_mpp", "token")
    ),
    "cancel_order": frozenset(("order_id", "cl_ord_id", "order_userref", "token")),
    "cancel_all": frozenset(("token",)),
    "cancel_all_orders_after": frozenset(("timeout", "token")),
    "batch_add": frozenset(("orders",)) | _AROUND,
    "batch_cancel": frozenset(("orders", "cl_ord_id", "token")),
}  # fmt: skip
METHODS: Final = frozenset(FIELDS)
_NEEDS: Final = {"add_order": "trade", "amend_order": "trade", "edit_order": "trade",
                 "batch_add": "trade"}  # fmt: skip


# ---- fields ----


class Fields:
    """The parameters of a request, by type; a wrong one is refused in the gateway's words."""

    def __init__(self, params: dict[str, Any], integers_refused: tuple[str, ...]) -> None:
        self.params = params
        self._integers_refused = integers_refused

    def number(self, name: str) -> Decimal | None:
        value = self.params.get(name)
        if value is None:
            return None
        wrong = isinstance(value, bool) or not isinstance(value, int | Decimal)
        if wrong or (isinstance(value, int) and name in self._integers_refused):
            raise Refusal(f"{name.capitalize()} field must be a number_float")
        return Decimal(value)

    def text(self, name: str) -> str | None:
        value = self.params.get(name)
        if value is not None and not isinstance(value, str):
            raise Refusal(f"{name.capitalize()} field must be a string")
        return value

    def integer(self, name: str) -> int | None:
        value = self.params.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise Refusal(f"{name.capitalize()} field must be a number_integer")
        return value

    def flag(self, name: str) -> bool:
        value = self.params.get(name, False)
        if not isinstance(value, bool):
            raise Refusal(f"{name.capitalize()} field must be a boolean")
        return value

    def moment(self, name: str) -> int:
        """ns, 0 if absent."""
        text = self.text(name)
        if text is None:
            return 0
        moment = parse_stamp(text)
        if moment is None:
            raise Refusal(f"{INVALID}:{name}")
        return moment

    def record(self, name: str) -> Fields | None:
        value = self.params.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise Refusal(f"{name.capitalize()} field must be an object")
        return Fields(value, self._integers_refused)

    def texts(self, name: str) -> list[str]:
        value = self.params.get(name, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise Refusal(f"{name.capitalize()} field must be an array of strings")
        return value


def wish_of(fields: Fields, symbol: str, deadline_ns: int) -> Wish:
    """The order that these parameters ask for."""
    triggers = fields.record("triggers")
    conditional = fields.record("conditional")
    fee = fields.text("fee_preference")
    order_type, side = fields.text("order_type"), fields.text("side")
    if order_type is None or side is None:
        raise Refusal(f"{INVALID}:{'ordertype' if order_type is None else 'type'}")
    fields.flag("no_mpp")  # deprecated and ignored, but it must be a boolean
    return Wish(
        symbol=symbol,
        side=side,
        order_type=order_type,
        order_qty=fields.number("order_qty"),
        cash_order_qty=fields.number("cash_order_qty"),
        limit_price=fields.number("limit_price"),
        limit_price_type=fields.text("limit_price_type"),
        trigger_price=triggers.number("price") if triggers else None,
        trigger_type=(triggers.text("price_type") if triggers else None) or "static",
        reference=(triggers.text("reference") if triggers else None) or "last",
        time_in_force=fields.text("time_in_force") or "gtc",
        expire_ns=fields.moment("expire_time"),
        effective_ns=fields.moment("effective_time"),
        deadline_ns=deadline_ns,
        post_only=fields.flag("post_only"),
        reduce_only=fields.flag("reduce_only"),
        margin=fields.flag("margin"),
        display_qty=fields.number("display_qty"),
        stp_type=fields.text("stp_type") or "cancel_newest",
        fee_pref="fcib" if fee == "base" else "fciq",
        conditional=_conditional(conditional) if conditional else None,
        cl_ord_id=fields.text("cl_ord_id"),
        userref=fields.integer("order_userref"),
        sender_sub_id=fields.text("sender_sub_id"),
    )


def _conditional(fields: Fields) -> dict[str, Any]:
    spec = {
        "order_type": fields.text("order_type"),
        "limit_price": fields.number("limit_price"),
        "limit_price_type": fields.text("limit_price_type"),
        "trigger_price": fields.number("trigger_price") or fields.number("stop_price"),
        "trigger_price_type": fields.text("trigger_price_type"),
    }
    if spec["order_type"] is None:
        raise Refusal(f"{INVALID}:conditional")
    return {key: value for key, value in spec.items() if value is not None}


# ---- methods ----


class Asked:
    """One trading request on its way: who asked, and how the answer finds back."""

    def __init__(
        self, core: Core, conn: Connection, client: Client, request: Request, pretend: bool
    ) -> None:
        self.core, self.conn, self.client, self.request = core, conn, client, request
        self.pretend = pretend
        self.fields = Fields(request.params, core.options.integers_refused)
        self.time_in = core.shown

    def deadline(self) -> int:
        """Engine time after which the request is void."""
        asked = self.fields.moment("deadline")
        if not asked:
            return self.core.now + int(self.core.options.deadline_default_s * NS_PER_S)
        if not DEADLINE_MIN_NS <= asked - self.time_in <= DEADLINE_MAX_NS:
            raise Refusal(f"{INVALID}:deadline")
        return asked - self.core.clock_error

    def symbol(self) -> str:
        symbol = self.fields.text("symbol")
        if symbol is None:
            raise Refusal(f"{INVALID}:symbol")
        if self.core.sym_of(symbol) < 0:
            raise Refusal(f"Currency pair not supported {symbol}", symbol)
        return symbol

    def at_engine(self, act: Callable[[int], list[str]]) -> None:
        """Let `act(t)` run when the request reaches the engine; then send what it answers."""

        def arrive() -> None:
            t = self.core.now
            self.client.account.flush()
            self.client.settle()
            answers = act(t)
            self.client.settle()
            self.core.later(self.client.reply_time(), partial(self._send, answers))

        self.core.later(self.client.engine_time(), arrive)

    def _send(self, answers: list[str]) -> None:
        for text in answers:
            # `time_out` is known only now.
            out = stamp(self.core.shown)
            self.core.say(self.conn, text.replace(_TIME_OUT, out))

    def good(self, result: Any) -> str:
        return encode.reply(
            self.request.method, self.request.req_id, result, self.time_in, TIME_OUT_NS
        )

    def bad(self, error: str) -> str:
        return encode.failure(
            self.request.method, self.request.req_id, error, self.time_in, TIME_OUT_NS
        )


TIME_OUT_NS: Final = 253_402_300_799 * NS_PER_S  # stands for a time not known yet
_TIME_OUT: Final = stamp(TIME_OUT_NS)


def trade(core: Core, conn: Connection, request: Request, pretend: bool = False) -> None:
    """A trading request; envelope and method are checked. pretend : see Core.received."""
    stray(request, ENVELOPE, request.message)
    stray(request, FIELDS[request.method], request.params)
    token = core.token_of(conn, request)
    needs = _NEEDS.get(request.method)
    if needs and needs not in token.key.rights:
        raise Refusal("EGeneral:Permission denied")
    if not needs and not {"trade", "cancel"} & token.key.rights:
        raise Refusal("EGeneral:Permission denied")
    asked = Asked(core, conn, core.client(token.key), request, pretend)
    _HANDLERS[request.method](asked)


def _names(order: Order) -> dict[str, Any]:
    names: dict[str, Any] = {"order_id": order.txid}
    if order.cl_ord_id is not None:
        names["cl_ord_id"] = order.cl_ord_id
    if order.userref is not None:
        names["order_userref"] = order.userref
    return names


def _add(asked: Asked) -> None:
    wish = wish_of(asked.fields, asked.symbol(), asked.deadline())
    validate = asked.fields.flag("validate")
    desk = asked.client.desk

    def act(t: int) -> list[str]:
        if validate:
            checked = desk.check(wish, t)
            return [asked.bad(checked) if isinstance(checked, str) else asked.good({})]
        order = desk.add(wish, t)
        return [asked.bad(order) if isinstance(order, str) else asked.good(_names(order))]

    asked.at_engine(act)


def _amend(asked: Asked) -> None:
    fields = asked.fields
    txid, cl_ord_id = fields.text("order_id"), fields.text("cl_ord_id")
    if (txid is None) == (cl_ord_id is None):
        raise Refusal(f"{INVALID}:order_id")
    change = Change(
        order_qty=fields.number("order_qty"),
        limit_price=fields.number("limit_price"),
        trigger_price=fields.number("trigger_price"),
        trigger_type=fields.text("trigger_price_type") or "static",
        display_qty=fields.number("display_qty"),
        post_only=fields.flag("post_only"),
        deadline_ns=asked.deadline(),
    )
    client = asked.client

    def act(t: int) -> list[str]:
        found = client.desk.find(txid, cl_ord_id)
        error = client.desk.amend(found[0] if found else None, change, t)
        if error:
            return [asked.bad(error)]
        named = {"order_id": txid} if txid is not None else {"cl_ord_id": cl_ord_id}
        return [asked.good({"amend_id": client.account.new_id("T"), **named})]

    asked.at_engine(act)


def _edit(asked: Asked) -> None:
    fields = asked.fields
    txid, symbol = fields.text("order_id"), asked.symbol()
    if txid is None:
        raise Refusal(f"{INVALID}:order_id")
    triggers = fields.record("triggers")
    change = Change(
        order_qty=fields.number("order_qty"),
        limit_price=fields.number("limit_price"),
        trigger_price=triggers.number("price") if triggers else None,
        display_qty=fields.number("display_qty"),
        post_only=fields.flag("post_only"),
        deadline_ns=asked.deadline(),
    )
    userref = fields.integer("order_userref")
    desk, sym = asked.client.desk, asked.core.sym_of(symbol)

    def act(t: int) -> list[str]:
        found = desk.find(txid)
        order = desk.edit(found[0] if found else None, change, t, userref, sym)
        if isinstance(order, str):
            return [asked.bad(order)]
        return [asked.good({"order_id": order.txid, "original_order_id": txid})]

    asked.at_engine(act)


def _cancel(asked: Asked) -> None:
    fields = asked.fields
    userrefs = fields.params.get("order_userref", [])
    if not isinstance(userrefs, list) or not all(isinstance(each, int) for each in userrefs):
        raise Refusal("Order_userref field must be an array of integers")
    named: list[tuple[str, Any]] = [("order_id", each) for each in fields.texts("order_id")]
    named += [("cl_ord_id", each) for each in fields.texts("cl_ord_id")]
    named += [("order_userref", each) for each in userrefs]
    if not named:
        raise Refusal(f"{INVALID}:order_id")
    desk = asked.client.desk

    def act(t: int) -> list[str]:
        answers = []
        for kind, value in named:
            key = {"order_id": "txid", "cl_ord_id": "cl_ord_id", "order_userref": "userref"}[kind]
            found = desk.find(**{key: value})
            errors = [desk.cancel(order, t) for order in found] or [desk.cancel_unknown()]
            error = next((each for each in errors if each), "")
            answers.append(asked.bad(error) if error else asked.good({kind: value}))
        return answers

    asked.at_engine(act)


def _cancel_all(asked: Asked) -> None:
    def act(t: int) -> list[str]:
        count = asked.client.desk.cancel_all(t)
        return [asked.bad(count) if isinstance(count, str) else asked.good({"count": count})]

    asked.at_engine(act)


def _cancel_after(asked: Asked) -> None:
    timeout = asked.fields.integer("timeout")
    if timeout is None or not 0 <= timeout < 86_400:
        raise Refusal(f"{INVALID}:timeout")

    def act(t: int) -> list[str]:
        now, fires = t, t + timeout * NS_PER_S if timeout else 0
        if not asked.pretend:
            now, fires = asked.client.desk.cancel_after(timeout, t)
        result = {"currentTime": stamp(now, 0), "triggerTime": stamp(fires, 0) if fires else "0"}
        return [asked.good(result)]

    asked.at_engine(act)


def _batch_add(asked: Asked) -> None:
    orders = asked.request.params.get("orders")
    if not isinstance(orders, list) or not 2 <= len(orders) <= 15:
        raise Refusal(f"{INVALID}:orders")
    symbol, deadline = asked.symbol(), asked.deadline()
    wishes = []
    for each in orders:
        if not isinstance(each, dict):
            raise Refusal(MALFORMED)
        stray(asked.request, _ORDER, each)
        wishes.append(wish_of(Fields(each, asked.core.options.integers_refused), symbol, deadline))
    validate = asked.fields.flag("validate")
    desk = asked.client.desk

    def act(t: int) -> list[str]:
        if validate:
            errors = [each for each in (desk.check(w, t) for w in wishes) if isinstance(each, str)]
            return [asked.bad(errors[0]) if errors else asked.good([{} for _ in wishes])]
        placed = desk.batch_add(wishes, t)
        if isinstance(placed, str):
            return [asked.bad(placed)]
        return [asked.good([{"error": o} if isinstance(o, str) else _names(o) for o in placed])]

    asked.at_engine(act)


def _batch_cancel(asked: Asked) -> None:
    ids, cl_ord_ids = asked.fields.texts("orders"), asked.fields.texts("cl_ord_id")
    if not 2 <= len(ids) + len(cl_ord_ids) <= 50:
        raise Refusal(f"{INVALID}:orders")
    desk = asked.client.desk

    def act(t: int) -> list[str]:
        found = [order for each in ids for order in desk.find_any(each)]
        found += [order for each in cl_ord_ids for order in desk.find(cl_ord_id=each)]
        closed = desk.closed_for_changes(-1, cancel=True)
        if closed:
            return [asked.bad(closed)]
        count = sum(order.alive and not desk.cancel(order, t, batch=True) for order in found)
        if asked.core.options.batch_cancel_top_level:
            text = asked.good(None)
            return [text[:-1] + f',"orders_cancelled":{count}}}']
        return [asked.good({"count": count})]

    asked.at_engine(act)


_HANDLERS: Final[dict[str, Callable[[Asked], None]]] = {
    "add_order": _add,
    "amend_order": _amend,
    "edit_order": _edit,
    "cancel_order": _cancel,
    "cancel_all": _cancel_all,
    "cancel_all_orders_after": _cancel_after,
    "batch_add": _batch_add,
    "batch_cancel": _batch_cancel,
}
