"""What does the venue answer to a REST call? Method, path, headers and body in; an answer out.

What REST tells of an account can lag the stream by `rest_lag_ms`: it is then the account as it was.
Trading calls act at once. Left out: HTTP itself (http.py).

Source: Kraken's REST reference; the calls are those that a bot needs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from adapters.local_venue import encode
from adapters.local_venue.account import Order
from adapters.local_venue.desk import Change, Wish
from adapters.local_venue.encode import COST_PRECISION, FIAT, Raw, asset_precision
from adapters.local_venue.keys import PERMISSIONS, TOKEN_LIFE_S, ApiKey
from adapters.local_venue.market import MINUTE_NS, PairMarket
from adapters.local_venue.options import OHLC_INTERVALS
from adapters.local_venue.private import Client
from adapters.local_venue.rates import REST_COST, Counter
from adapters.local_venue.rest_names import PairNames, asset_altname, asset_key
from adapters.local_venue.rest_orders import (
    INVALID,
    OrderWriter,
    RestError,
    decimal_of,
    integer_of,
    moment_of,
    truth_of,
    unix,
    wish_of,
)
from adapters.local_venue.text import NS_PER_S, fixed, rounded, stamp
from engine.units import MONEY_PER_UNIT, from_money
from engine.venue.fees import FEE_SCHEDULES

if TYPE_CHECKING:
    from adapters.local_venue.core import Core

PAGE: Final = 50
OHLC_ROWS: Final = 720
UNKNOWN_METHOD: Final = "EGeneral:Unknown method"
UNKNOWN_PAIR: Final = "EQuery:Unknown asset pair"
_RIGHT_OF: Final = {
    "GetApiKeyInfo": "",
    "GetWebSocketsToken": "websockets",
    "AddOrder": "trade", "AddOrderBatch": "trade", "AmendOrder": "trade", "EditOrder": "trade",
    "CancelOrder": "cancel", "CancelOrderBatch": "cancel", "CancelAll": "cancel",
    "CancelAllOrdersAfter": "cancel",
}  # fmt: skip


class Answer(NamedTuple):
    """One HTTP answer."""

    status: int
    content_type: str
    body: bytes


class Rest:
    """The REST side of a venue. Call `core.advance` first, as before every input."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.names = PairNames(core.source.instruments)
        self._counters: dict[str, Counter] = {}
        self._public_at: list[int] = []
        self._public: dict[str, Callable[[dict[str, Any]], Any]] = {
            "Time": self._time,
            "SystemStatus": self._system,
            "Assets": self._assets,
            "AssetPairs": self._pairs,
            "Ticker": self._ticker,
            "Depth": self._depth,
            "Trades": self._trades,
            "OHLC": self._ohlc,
        }
        self._private: dict[str, Callable[[Client, dict[str, Any]], Any]] = {
            "Balance": self._balance,
            "BalanceEx": self._balance_ex,
            "TradeVolume": self._volume,
            "OpenOrders": self._open_orders,
            "ClosedOrders": self._closed_orders,
            "QueryOrders": self._query_orders,
            "TradesHistory": self._history,
            "QueryTrades": self._query_trades,
            "Ledgers": self._ledgers,
            "QueryLedgers": self._query_ledgers,
            "AddOrder": self._add,
            "AddOrderBatch": self._add_batch,
            "AmendOrder": self._amend,
            "EditOrder": self._edit,
            "CancelOrder": self._cancel,
            "CancelOrderBatch": self._cancel_batch,
            "CancelAll": self._cancel_all,
            "CancelAllOrdersAfter": self._cancel_after,
        }

    # ---- entry ----

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one call; header names are lower case. Errors are in the body, with status 200."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if parts.path.startswith("/0/public/"):
            name = parts.path.removeprefix("/0/public/")
            if method == "POST":
                query |= _body_fields(headers, body) or {}
            result = self._guard(lambda: self._call_public(name, query))
        elif parts.path.startswith("/0/private/") and method == "POST":
            name = parts.path.removeprefix("/0/private/")
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            result = self._guard(lambda: self._call_private(name, path, headers, body, query))
        else:
            text = {"error": [UNKNOWN_METHOD]}
            return Answer(404, "application/json", encode.dumps(text).encode())
        return Answer(200, "application/json", encode.dumps(result).encode())

    def _guard(self, call: Callable[[], Any]) -> dict[str, Any]:
        try:
            return {"error": [], "result": call()}
        except RestError as error:
            return {"error": [error.error]}

    def _call_public(self, name: str, query: dict[str, Any]) -> Any:
        if name not in self._public:
            raise RestError(UNKNOWN_METHOD)
        limit = self.core.options.public_rest_per_s
        if limit:
            since = self.core.wall - NS_PER_S
            self._public_at = [at for at in self._public_at if at > since]
            if len(self._public_at) >= max(limit, 1):
                raise RestError("EGeneral:Too many requests")
            self._public_at.append(self.core.wall)
        return self._public[name](query)

    def _call_private(
        self, name: str, path: str, headers: Mapping[str, str], body: bytes, query: dict[str, Any]
    ) -> Any:
        fields = _body_fields(headers, body)
        if fields is None:
            raise RestError(f"{INVALID}")
        nonce = str(fields.get("nonce", query.get("nonce", "")))
        key = self.core.keyring.check_request(
            headers.get("api-key", ""), headers.get("api-sign", ""), path, nonce, body
        )
        if isinstance(key, str):
            raise RestError(key)
        if name not in ("GetWebSocketsToken", "GetApiKeyInfo") and name not in self._private:
            raise RestError(UNKNOWN_METHOD)
        right = _RIGHT_OF.get(name, "query")
        if right and right not in key.rights and not (right == "cancel" and "trade" in key.rights):
            raise RestError("EGeneral:Permission denied")
        self._charge(key, name)
        if name == "GetWebSocketsToken":
            token = self.core.keyring.issue(key, self.core.wall)
            return {"token": token, "expires": TOKEN_LIFE_S}
        if name == "GetApiKeyInfo":
            return _key_info(key, nonce, self.core.shown // NS_PER_S)
        client = self.core.client(key)
        client.account.flush()
        client.settle()
        try:
            return self._private[name](client, {**query, **fields})
        finally:
            client.settle()

    def _charge(self, key: ApiKey, name: str) -> None:
        if not self.core.options.rest_limits:
            return
        tier = self.core.options.tier_limits
        counter = self._counters.setdefault(key.key, Counter(tier.rest_decay_e2, tier.rest_max))
        cost = REST_COST.get(name, 1)
        wall = self.core.wall
        if cost and counter.would_exceed(wall, cost):
            raise RestError("EAPI:Rate limit exceeded")
        counter.add(wall, 2 * cost)

    # ---- public ----

    def _time(self, _: dict[str, Any]) -> Any:
        seconds = self.core.shown // NS_PER_S
        text = format_datetime(datetime.fromtimestamp(seconds, UTC))
        return {"unixtime": seconds, "rfc1123": text}

    def _system(self, _: dict[str, Any]) -> Any:
        return {"status": self.core.market.system, "timestamp": stamp(self.core.shown, 0)}

    def _assets(self, query: dict[str, Any]) -> Any:
        wanted = query.get("asset")
        names = set(wanted.split(",")) if wanted else None
        return {
            asset_key(asset): {
                "aclass": "currency",
                "altname": asset_altname(asset),
                "decimals": asset_precision(asset),
                "display_decimals": 2 if asset in FIAT else 5,
                "status": "enabled",
            }
            for asset in self.core.market.assets
            if names is None or {asset_key(asset), asset_altname(asset), asset} & names
        }

    def _named(self, query: dict[str, Any]) -> list[int]:
        """Rows of the pairs that a call names; all without `pair`."""
        text = query.get("pair")
        if not text:
            return list(range(len(self.core.market.pairs)))
        rows = [self.names.index(each) for each in str(text).split(",")]
        if -1 in rows:
            raise RestError(UNKNOWN_PAIR)
        return rows

    def _one(self, query: Mapping[str, Any]) -> PairMarket:
        row = self.names.index(str(query.get("pair", "")))
        if row < 0:
            raise RestError(UNKNOWN_PAIR)
        return self.core.market.pairs[row]

    def _key(self, i: int, query: Mapping[str, Any]) -> str:
        """The name under which a pair is answered: its key, whatever it was asked by."""
        if self.core.options.rest_echoes_slash:
            for name in str(query.get("pair") or "").split(","):
                if "/" in name and self.names.index(name) == i:
                    return name
        return self.names.keys[i]

    def _pairs(self, query: dict[str, Any]) -> Any:
        schedule = FEE_SCHEDULES[self.core.options.fee_schedule]
        taker = [[v, _percent(r)] for v, r in zip(schedule.volume, schedule.taker_e6, strict=True)]
        maker = [[v, _percent(r)] for v, r in zip(schedule.volume, schedule.maker_e6, strict=True)]
        result = {}
        for i in self._named(query):
            pair = self.core.market.pairs[i]
            each = pair.instrument
            result[self._key(i, query)] = {
                "altname": self.names.altnames[i],
                "wsname": self.names.wsnames[i],
                "aclass_base": "currency",
                "base": asset_key(each.base),
                "aclass_quote": "currency",
                "quote": asset_key(each.quote),
                "lot": "unit",
                "cost_decimals": COST_PRECISION,
                "pair_decimals": each.price_precision,
                "lot_decimals": each.qty_precision,
                "lot_multiplier": 1,
                "leverage_buy": [],
                "leverage_sell": [],
                "fees": taker,
                "fees_maker": maker,
                "fee_volume_currency": "ZUSD",
                "margin_call": 80,
                "margin_stop": 40,
                "ordermin": format(each.qty_min, "f"),
                "costmin": format(each.cost_min, "f"),
                "tick_size": format(each.price_increment, "f"),
                "status": pair.status,
            }
        return result

    def _ticker(self, query: dict[str, Any]) -> Any:
        result = {}
        for i in self._named(query):
            pair = self.core.market.pairs[i]
            t, form = pair.ticker(self.core.now), pair.form
            day = pair.day
            last = pair.trades[-1] if pair.trades else None
            sides = {}
            for letter, price, qty in (("a", t.ask, t.ask_qty), ("b", t.bid, t.bid_qty)):
                whole = str(int(pair.instrument.qty(qty)))
                sides[letter] = [_padded(pair, price), whole, f"{whole}.000"]
            result[self._key(i, query)] = {
                **sides,
                "c": [_padded(pair, t.last), form.qty(last.qty if last else 0)],
                "v": [form.qty(t.volume), form.qty(t.volume)],
                "p": [_padded(pair, t.vwap), _padded(pair, t.vwap)],
                "t": [day.count, day.count],
                "l": [_padded(pair, t.low), _padded(pair, t.low)],
                "h": [_padded(pair, t.high), _padded(pair, t.high)],
                "o": _padded(pair, t.open),
            }
        return result

    def _depth(self, query: dict[str, Any]) -> Any:
        pair = self._one(query)
        count = integer_of(query, "count") or 100
        if not 1 <= count <= 500:
            raise RestError(f"{INVALID}:count")
        seconds = (pair.book_ts or self.core.now) // NS_PER_S
        sides = {
            name: [
                [_padded(pair, price), _volume(pair, qty), seconds]
                for _, price, qty in pair.book.best(i_side, count)
            ]
            for name, i_side in (("asks", 1), ("bids", 0))
        }
        return {self._key(pair.sym, query): sides}

    def _trades(self, query: dict[str, Any]) -> Any:
        pair = self._one(query)
        count = integer_of(query, "count") or 1000
        if not 1 <= count <= 1000:
            raise RestError(f"{INVALID}:count")
        since = decimal_of(query, "since")
        if since is None:
            rows = list(pair.trades)[-count:]
            after = 0
        else:
            after = int(since)
            if since < 10**12:  # plain seconds
                after = int(since * NS_PER_S)
            rows = []
            for each in pair.trades:
                if each.ns > after:
                    rows.append(each)
                    if len(rows) == count:
                        break
        last = rows[-1].ns if rows else after
        return {
            self._key(pair.sym, query): [
                [
                    _padded(pair, each.price),
                    pair.form.qty(each.qty),
                    unix(each.ns, 7),
                    "s" if each.side < 0 else "b",
                    "m" if each.market else "l",
                    "",
                    each.trade_id,
                ]
                for each in rows
            ],
            "last": str(last),
        }

    def _ohlc(self, query: dict[str, Any]) -> Any:
        pair = self._one(query)
        interval = integer_of(query, "interval") or 1
        if interval not in OHLC_INTERVALS:
            raise RestError(f"{INVALID}:interval")
        step = interval * MINUTE_NS
        running = self.core.now - self.core.now % step
        kept = {each.begin: each for each in pair.candles[interval].kept}
        rows: list[list[Any]] = []
        form = pair.form
        close = 0
        if kept:
            begin = max(min(kept), running - OHLC_ROWS * step)
            older = [at for at in kept if at < begin]
            close = kept[max(older)].close if older else 0
            for at in range(begin, running + 1, step):
                c = kept.get(at)
                if c is None:
                    text = form.price(close)
                    rows.append([at // NS_PER_S, text, text, text, text, "0.0", form.qty(0), 0])
                    continue
                close = c.close
                prices = [form.price(x) for x in (c.open, c.high, c.low, c.close, c.vwap)]
                rows.append([at // NS_PER_S, *prices, form.qty(c.volume), c.trades])
        since = integer_of(query, "since") or 0
        rows = [row for row in rows if row[0] > since]
        return {self._key(pair.sym, query): rows, "last": (running - step) // NS_PER_S}

    # ---- the account as it was ----

    def _cutoff(self) -> int:
        return self.core.now - self.core.rest_lag_ns

    def _orders(self, client: Client) -> list[Order]:
        """Every order as REST knows it now."""
        cutoff = self._cutoff()
        orders = []
        for versions in client.account.versions.values():
            seen = [order for t, order in versions if t <= cutoff]
            if seen:
                orders.append(seen[-1])
        return orders

    def _writer(self, client: Client) -> OrderWriter:
        return OrderWriter(client.account, self.names)

    def _open_orders(self, client: Client, fields: dict[str, Any]) -> Any:
        writer, userref = self._writer(client), integer_of(fields, "userref")
        trades, cl_ord_id = truth_of(fields, "trades"), fields.get("cl_ord_id")
        return {
            "open": {
                order.txid: writer.order(order, trades)
                for order in reversed(self._orders(client))
                if order.alive
                and (userref is None or order.userref == userref)
                and (not cl_ord_id or order.cl_ord_id == cl_ord_id)
            }
        }

    def _closed_orders(self, client: Client, fields: dict[str, Any]) -> Any:
        writer, userref = self._writer(client), integer_of(fields, "userref")
        trades, cl_ord_id = truth_of(fields, "trades"), fields.get("cl_ord_id")
        closed = [
            order
            for order in self._orders(client)
            if not order.alive
            and (userref is None or order.userref == userref)
            and (not cl_ord_id or order.cl_ord_id == cl_ord_id)
        ]
        by_open = fields.get("closetime") == "open"
        closed.sort(key=lambda o: o.t_opened if by_open else o.t_closed, reverse=True)
        page, count = _page(
            closed, fields, self.core.now, lambda o: o.t_opened if by_open else o.t_closed
        )
        return {"closed": {o.txid: writer.order(o, trades) for o in page}, "count": count}

    def _query_orders(self, client: Client, fields: dict[str, Any]) -> Any:
        writer, trades = self._writer(client), truth_of(fields, "trades")
        wanted = [each.strip() for each in str(fields.get("txid") or "").split(",")]
        if not wanted[0] or len(wanted) > PAGE:
            raise RestError(f"{INVALID}:txid")
        known = {order.txid: order for order in self._orders(client)}
        found = {txid: writer.order(known[txid], trades) for txid in wanted if txid in known}
        if not found:
            raise RestError("EOrder:Unknown order")
        return found

    def _fills(self, client: Client) -> list[tuple[Order, Any]]:
        cutoff = self._cutoff()
        return [(order, fill) for order, fill in client.account.fills if fill.t <= cutoff]

    def _history(self, client: Client, fields: dict[str, Any]) -> Any:
        """One row per fill; `consolidate_taker` merges those of one taking order."""
        writer = self._writer(client)
        rows = list(reversed(self._fills(client)))
        if truth_of({"c": fields.get("consolidate_taker", "true")}, "c"):
            rows = _consolidated(rows)
        page, count = _page(rows, fields, self.core.now, lambda row: row[1].t)
        return {"trades": {f.exec_id: writer.fill(o, f) for o, f in page}, "count": count}

    def _query_trades(self, client: Client, fields: dict[str, Any]) -> Any:
        wanted = str(fields.get("txid") or "").split(",")
        writer = self._writer(client)
        return {
            fill.exec_id: writer.fill(order, fill)
            for order, fill in self._fills(client)
            if fill.exec_id in wanted
        }

    def _amounts(self, client: Client) -> dict[str, int]:
        account, cutoff = client.account, self._cutoff()
        amounts = dict(account.starting)
        for entry in account.ledger:
            if entry.t <= cutoff:
                amounts[entry.asset] = entry.balance
        return amounts

    def _balance(self, client: Client, _: dict[str, Any]) -> Any:
        account = client.account
        return {
            asset_key(asset): fixed(amount, account.decimals(asset))
            for asset, amount in self._amounts(client).items()
        }

    def _balance_ex(self, client: Client, _: dict[str, Any]) -> Any:
        account = client.account
        held = account.held()
        return {
            asset_key(asset): {
                "balance": fixed(amount, account.decimals(asset)),
                "hold_trade": rounded(held.get(asset, Decimal(0)), account.decimals(asset)),
            }
            for asset, amount in self._amounts(client).items()
        }

    def _ledger_item(self, client: Client, entry: Any) -> dict[str, Any]:
        decimals = client.account.decimals(entry.asset)
        return {
            "refid": entry.ref_id,
            "time": unix(entry.t),
            "type": entry.kind,
            "subtype": "",
            "aclass": "currency",
            "asset": asset_key(entry.asset),
            "amount": fixed(entry.amount, decimals),
            "fee": fixed(entry.fee, decimals),
            "balance": fixed(entry.balance, decimals),
        }

    def _ledgers(self, client: Client, fields: dict[str, Any]) -> Any:
        wanted = str(fields.get("asset") or "all")
        names = set(wanted.split(","))
        entries = [
            each
            for each in reversed(client.account.ledger)
            if each.t <= self._cutoff()
            and ("all" in names or {asset_key(each.asset), asset_altname(each.asset)} & names)
            and fields.get("type", "all") in ("all", each.kind)
        ]
        page, count = _page(entries, fields, self.core.now, lambda each: each.t)
        return {"ledger": {e.id: self._ledger_item(client, e) for e in page}, "count": count}

    def _query_ledgers(self, client: Client, fields: dict[str, Any]) -> Any:
        wanted = str(fields.get("id") or "").split(",")
        return {
            each.id: self._ledger_item(client, each)
            for each in client.account.ledger
            if each.id in wanted and each.t <= self._cutoff()
        }

    def _volume(self, client: Client, fields: dict[str, Any]) -> Any:
        glob = client.account.venue.glob[0]
        volume = int(glob["volume"])
        result: dict[str, Any] = {
            "currency": asset_key(client.account.quote),
            "volume": rounded(from_money(volume), 4),
        }
        if fields.get("pair"):
            schedule = FEE_SCHEDULES[self.core.options.fee_schedule]
            for name, rates in (("fees", schedule.taker_e6), ("fees_maker", schedule.maker_e6)):
                result[name] = {
                    self.names.keys[i]: _tier(schedule.volume, rates, volume)
                    for i in self._named(fields)
                }
        return result

    # ---- trading ----

    def _wish(self, fields: Mapping[str, Any]) -> Wish:
        options = self.core.options
        symbol = self._one(fields).instrument.symbol
        return wish_of(fields, symbol, self.core.now, options.deadline_default_s)

    def _add(self, client: Client, fields: dict[str, Any]) -> Any:
        wish, writer = self._wish(fields), self._writer(client)
        if truth_of(fields, "validate"):
            checked = client.desk.check(wish, self.core.now)
            if isinstance(checked, str):
                raise RestError(checked)
            return {"descr": {"order": writer.description(checked)["order"]}}
        order = client.desk.add(wish, self.core.now)
        if isinstance(order, str):
            raise RestError(order)
        result: dict[str, Any] = {
            "descr": {"order": writer.description(order)["order"]},
            "txid": [order.txid],
        }
        if order.cl_ord_id is not None:
            result["cl_ord_id"] = order.cl_ord_id
        return result

    def _add_batch(self, client: Client, fields: dict[str, Any]) -> Any:
        orders = fields.get("orders")
        if not isinstance(orders, list) or not 2 <= len(orders) <= 15:
            raise RestError(f"{INVALID}:orders")
        common = {"pair": fields.get("pair"), "deadline": fields.get("deadline")}
        wishes = [self._wish({**common, **each}) for each in orders if isinstance(each, dict)]
        writer = self._writer(client)
        if truth_of(fields, "validate"):
            checked = [client.desk.check(wish, self.core.now) for wish in wishes]
            return {"orders": [
                {"error": o} if isinstance(o, str) else {"descr": {"order": writer.description(o)["order"]}}
                for o in checked
            ]}  # fmt: skip
        placed = client.desk.batch_add(wishes, self.core.now)
        if isinstance(placed, str):
            raise RestError(placed)
        rows: list[dict[str, Any]] = []
        for order in placed:
            if isinstance(order, str):
                rows.append({"error": order})
            else:
                text = writer.description(order)["order"]
                rows.append({"txid": order.txid, "descr": {"order": text}})
        return {"orders": rows}

    def _found(self, client: Client, fields: Mapping[str, Any]) -> Order | None:
        txid, cl_ord_id = fields.get("txid"), fields.get("cl_ord_id")
        if not txid and not cl_ord_id:
            raise RestError(f"{INVALID}:txid")
        found = client.desk.find_any(str(txid)) if txid else client.desk.find(cl_ord_id=cl_ord_id)
        return found[0] if found else None

    def _change(self, fields: Mapping[str, Any], names: Mapping[str, str]) -> Change:
        return Change(
            order_qty=decimal_of(fields, names["qty"]),
            limit_price=decimal_of(fields, names["limit"]),
            trigger_price=decimal_of(fields, names["trigger"]),
            display_qty=decimal_of(fields, names["display"]),
            post_only=truth_of(fields, "post_only") or "post" in str(fields.get("oflags", "")),
            deadline_ns=moment_of(fields, "deadline", self.core.now),
        )

    def _amend(self, client: Client, fields: dict[str, Any]) -> Any:
        names = {"qty": "order_qty", "limit": "limit_price", "trigger": "trigger_price",
                 "display": "display_qty"}  # fmt: skip
        order = self._found(client, fields)
        error = client.desk.amend(order, self._change(fields, names), self.core.now)
        if error:
            raise RestError(error)
        return {"amend_id": client.account.new_id("T")}

    def _edit(self, client: Client, fields: dict[str, Any]) -> Any:
        order = self._found(client, fields)
        stops = order is not None and order.conditional_type
        names = {"qty": "volume", "limit": "price2" if stops else "price",
                 "trigger": "price" if stops else "price2", "display": "displayvol"}  # fmt: skip
        change = self._change(fields, names)
        if not stops:
            change.trigger_price = None
        userref = integer_of(fields, "userref")
        sym = self._one(fields).sym
        edited = client.desk.edit(order, change, self.core.now, userref, sym)
        if isinstance(edited, str):
            raise RestError(edited)
        writer = self._writer(client)
        form = self.core.market.pairs[edited.sym].form
        assert order is not None
        return {
            "status": "ok",
            "txid": edited.txid,
            "originaltxid": order.txid,
            "volume": form.qty(edited.qty),
            "price": form.price(edited.price),
            "orders_cancelled": 1,
            "descr": {"order": writer.description(edited)["order"]},
        }

    def _cancel(self, client: Client, fields: dict[str, Any]) -> Any:
        txid, cl_ord_id = fields.get("txid"), fields.get("cl_ord_id")
        if not txid and not cl_ord_id:
            raise RestError(f"{INVALID}:txid")
        desk = client.desk
        found = desk.find_any(str(txid)) if txid else desk.find(cl_ord_id=str(cl_ord_id))
        if not found:
            raise RestError(desk.cancel_unknown())
        errors = [desk.cancel(order, self.core.now) for order in found]
        if all(errors):
            raise RestError(errors[0])
        return {"count": sum(not each for each in errors)}

    def _cancel_batch(self, client: Client, fields: dict[str, Any]) -> Any:
        ids, cl_ord_ids = fields.get("orders") or [], fields.get("cl_ord_ids") or []
        if not isinstance(ids, list) or not isinstance(cl_ord_ids, list):
            raise RestError(f"{INVALID}:orders")
        if not 1 <= len(ids) + len(cl_ord_ids) <= PAGE:
            raise RestError(f"{INVALID}:orders")
        desk = client.desk
        found = [order for each in ids for order in desk.find_any(str(each))]
        for each in cl_ord_ids:
            name = each.get("cl_ord_id") if isinstance(each, dict) else each
            found += desk.find(cl_ord_id=str(name))
        n = sum(o.alive and not desk.cancel(o, self.core.now, batch=True) for o in found)
        return {"count": n}

    def _cancel_all(self, client: Client, _: dict[str, Any]) -> Any:
        count = client.desk.cancel_all(self.core.now)
        if isinstance(count, str):
            raise RestError(count)
        return {"count": count}

    def _cancel_after(self, client: Client, fields: dict[str, Any]) -> Any:
        timeout = integer_of(fields, "timeout")
        if timeout is None or not 0 <= timeout < 86_400:
            raise RestError(f"{INVALID}:timeout")
        now, fires = client.desk.cancel_after(timeout, self.core.now)
        return {"currentTime": stamp(now, 0), "triggerTime": stamp(fires, 0) if fires else "0"}


def account_name(owner: str) -> str:
    """What the venue calls an account, in the form of Kraken's internal account numbers."""
    digits = hashlib.sha256(owner.encode()).hexdigest().upper()
    return f"LV00 {digits[:4]} {digits[4:8]} {digits[8:12]}"


def _key_info(key: ApiKey, nonce: str, now_s: int) -> dict[str, Any]:
    """What Kraken says about the key of a request; the numbers are texts."""
    names = (each for right in PERMISSIONS if right in key.rights for each in PERMISSIONS[right])
    return {
        "apiKeyName": "local",
        "apiKey": key.key,
        "nonce": nonce,
        "nonceWindow": key.nonce_window,
        "permissions": list(names),
        "iban": account_name(key.owner),
        "validUntil": str(key.valid_until),
        "queryFrom": "0",
        "queryTo": "0",
        "createdTime": "0",
        "modifiedTime": "0",
        "ipAllowlist": list(key.addresses),
        "lastUsed": str(now_s),
    }


def _body_fields(headers: Mapping[str, str], body: bytes) -> dict[str, Any] | None:
    """The fields of a form or JSON body; None for one that is neither."""
    try:
        text = body.decode()
        if "json" in headers.get("content-type", ""):
            fields = json.loads(text, parse_float=Decimal) if text else {}
            return fields if isinstance(fields, dict) else None
        return dict(parse_qsl(text, keep_blank_values=True))
    except ValueError:
        return None


def _padded(pair: PairMarket, ticks: int) -> str:
    """A price with five decimals at least, as REST pads it."""
    text = pair.form.price(ticks)
    return text + "0" * max(0, 5 - pair.form.price_precision)


def _volume(pair: PairMarket, lots: int) -> str:
    return rounded(pair.instrument.qty(lots), 3)


def _percent(rate_e6: int) -> Raw:
    """A rate of 1/100 bp as percent: 2500 is 0.25."""
    return Raw(format((Decimal(rate_e6) / 10_000).normalize(), "f"))


def _tier(volumes: tuple[int, ...], rates: tuple[int, ...], volume: int) -> dict[str, Any]:
    """The tier that a volume (money) is in, and the next."""
    at = max(i for i, each in enumerate(volumes) if each * MONEY_PER_UNIT <= max(volume, 0))
    top = at + 1 == len(volumes)

    def text(rate: int) -> str:
        return rounded(Decimal(rate) / 10_000, 4)

    return {
        "fee": text(rates[at]),
        "minfee": text(min(rates)),
        "maxfee": text(max(rates)),
        "nextfee": None if top else text(rates[at + 1]),
        "nextvolume": None if top else f"{volumes[at + 1]}.0000",
        "tiervolume": f"{volumes[at]}.0000",
    }


def _page(
    rows: list[Any], fields: dict[str, Any], now: int, time_of: Callable[[Any], int]
) -> tuple[list[Any], int]:
    """Fifty rows from `ofs` of those between `start` (exclusive) and `end`, and how many there are."""
    start, end = decimal_of(fields, "start"), decimal_of(fields, "end")
    first = int(start * NS_PER_S) if start is not None else -1
    last = int(end * NS_PER_S) if end is not None else now
    kept = [row for row in rows if first < time_of(row) <= last]
    offset = integer_of(fields, "ofs") or 0
    return kept[offset : offset + PAGE], len(kept)


def _consolidated(rows: list[tuple[Order, Any]]) -> list[tuple[Order, Any]]:
    """Merge neighbouring taker fills of one order at one moment: quantities, costs, fees add up."""
    merged: list[tuple[Order, Any]] = []
    for order, fill in rows:
        if merged:
            before, newer = merged[-1]
            if before is order and not newer.maker and not fill.maker and newer.t == fill.t:
                qty = newer.qty + fill.qty
                price = (newer.price * newer.qty + fill.price * fill.qty + qty // 2) // qty
                whole = newer._replace(
                    qty=qty, price=price, cost=newer.cost + fill.cost, fee=newer.fee + fill.fee
                )
                merged[-1] = (order, whole)
                continue
        merged.append((order, fill))
    return merged
