"""Whatever an account asks for, its stream tells one story that adds up.

A long random life, drawn from a seed: orders of every type, amends, edits, cancels, batches, bad
requests, prints and levels. The stream is read as a client reads it, and must agree with itself,
with REST and with the compiled venue behind it.
"""

import json
import random
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.local_venue.keys import DEMO_KEY, DEMO_SECRET, signature
from adapters.local_venue.rest import Rest
from engine.venue.state import held_total
from tests.support.venue_desk import Desk, book, level, rows, trade

TYPES = (
    "limit", "limit", "limit", "limit", "market", "iceberg", "stop-loss", "stop-loss-limit",
    "take-profit", "take-profit-limit", "trailing-stop", "trailing-stop-limit",
)  # fmt: skip
CLOSED = ("filled", "canceled", "expired")


def market(draw: random.Random, seconds: int) -> list[Any]:
    """A snapshot, then prints and levels around 50,000."""
    made = [book(0.0005, {f"{50000 - i}.0": "0.5" for i in range(8)},
                 {f"{50001 + i}.0": "0.5" for i in range(8)})]  # fmt: skip
    for i in range(seconds * 5):
        at, side = 1 + i / 5, draw.choice((1, -1))
        if draw.random() < 0.5:
            price = 50000 + draw.randint(-12, 12)
            made.append(trade(at, side, f"{price}.0", f"0.{draw.randint(1, 99):02d}", 101 + i))
        else:
            price = 50000 - draw.randint(0, 9) if side > 0 else 50001 + draw.randint(0, 9)
            qty = draw.choice(("0", "0.3", "1"))
            made.append(rows(at, level(side, f"{price}.0", qty)))
    return made


class Teller:
    """A client that believes nothing but the stream."""

    def __init__(self) -> None:
        self.sequences = {"executions": 0, "balances": 0}
        self.orders: dict[str, dict[str, Any]] = {}
        self.filled: dict[str, Decimal] = {}
        self.execs: set[str] = set()
        self.balances: dict[str, Decimal] = {}

    def hear(self, frame: dict[str, Any]) -> None:
        channel = frame.get("channel")
        if channel not in self.sequences:
            return
        self.sequences[channel] += 1
        assert self.sequences[channel] == int(frame["sequence"])
        for item in frame["data"]:
            if channel == "executions":
                self.report(item)
            elif frame["type"] == "snapshot":
                self.balances[item["asset"]] = Decimal(item["balance"])
            else:
                amount, fee = Decimal(item["amount"]), Decimal(item["fee"])
                self.balances[item["asset"]] += amount - fee
                assert self.balances[item["asset"]] == Decimal(item["balance"])
                assert item["ref_id"] in self.execs

    def report(self, item: dict[str, Any]) -> None:
        txid, kind = item["order_id"], item["exec_type"]
        known = self.orders.setdefault(txid, {})
        assert known.get("order_status") not in CLOSED, (known, item)
        assert (kind == "pending_new") == (not known)
        assert kind != "new" or known["order_status"] == "pending_new"
        if kind == "trade":
            assert item["exec_id"] not in self.execs
            self.execs.add(item["exec_id"])
            self.filled[txid] = self.filled.get(txid, Decimal(0)) + Decimal(item["last_qty"])
            limit = Decimal(known.get("limit_price", "0"))
            if limit and not known["order_type"].startswith("trailing"):
                worse = Decimal(item["last_price"]) - limit
                assert worse <= 0 if known["side"] == "buy" else worse >= 0
        known.update(item)
        if "cum_qty" in item:
            assert self.filled.get(txid, 0) == Decimal(item["cum_qty"])
        if kind == "filled":
            assert self.filled[txid] == Decimal(known["order_qty"])
        assert self.filled.get(txid, 0) <= Decimal(known["order_qty"])

    def alive(self) -> set[str]:
        return {txid for txid, o in self.orders.items() if o["order_status"] not in CLOSED}


class Player:
    """Asks for anything."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        options = {"rate_limits": self.draw.random() < 0.3, "seed": seed,
                   "amend_up_keeps": self.draw.random() < 0.5, "engine_ms": (0.5, 6.0),
                   "reply_ms": (0.1, 4.0), "report_ms": (0.1, 4.0)}  # fmt: skip
        self.desk = Desk(*market(self.draw, 60), **options)
        self.teller = Teller()
        self.n_replies = 0
        self.listen(self.desk.subscribe("executions"))
        self.listen(self.desk.subscribe("balances"))
        self.n_replies = 0
        self.n_ids = 0

    def listen(self, frames: list[dict[str, Any]]) -> None:
        for frame in frames:
            self.teller.hear(frame)
            self.n_replies += "method" in frame

    def ask(self, method: str, replies: int = 1, **params: Any) -> None:
        before = self.n_replies
        self.listen(self.desk.request(method, **params))
        self.desk.go(0.02)
        self.listen(self.desk.take())
        assert before + replies == self.n_replies, (method, params)

    def price(self) -> float:
        return 50000.0 + self.draw.randint(-11, 11)

    def qty(self) -> float:
        return self.draw.choice((0.01, 0.02, 0.05, 0.1, 0.3, 0.00001))

    def wish(self) -> dict[str, Any]:
        draw, kind = self.draw, self.draw.choice(TYPES)
        wish: dict[str, Any] = {"order_type": kind, "side": draw.choice(("buy", "sell")),
                                "order_qty": self.qty()}  # fmt: skip
        if kind.endswith("-limit") or kind in ("limit", "iceberg"):
            wish["limit_price"] = 5.0 if kind.startswith("trailing") else self.price()
        if kind.startswith("trailing"):
            wish["triggers"] = {"price": float(draw.randint(1, 9)), "price_type": "quote"}
            wish["limit_price_type"] = "quote"
        elif "stop" in kind or "profit" in kind:
            wish["triggers"] = {"price": self.price()}
        if kind == "iceberg":
            wish["display_qty"] = wish["order_qty"] / draw.choice((1, 2, 5, 20))
        if kind == "limit":
            wish["post_only"] = draw.random() < 0.2
            if draw.random() < 0.1:
                wish["conditional"] = {"order_type": "stop-loss", "trigger_price": self.price()}
        if draw.random() < 0.4:
            self.n_ids += 1
            wish["cl_ord_id"] = f"mine-{self.n_ids}"
        elif draw.random() < 0.3:
            wish["order_userref"] = draw.randint(1, 3)
        if draw.random() < 0.2:
            wish["stp_type"] = draw.choice(("cancel_oldest", "cancel_both"))
        if kind == "limit" and draw.random() < 0.1:
            wish["time_in_force"] = "ioc"
            wish.pop("post_only", None)
        return wish

    def anyone(self) -> str:
        return self.draw.choice([*self.teller.orders, "ONOBODY-AAAAA-AAAAAA"])

    def act(self) -> None:
        draw = self.draw
        roll = draw.random()
        if roll < 0.45:
            self.ask("add_order", symbol="BTC/USD", **self.wish())
        elif roll < 0.6:
            change: dict[str, Any] = {"order_qty": self.qty()}
            if draw.random() < 0.6:
                change["limit_price"] = self.price()
            self.ask("amend_order", order_id=self.anyone(), **change)
        elif roll < 0.66:
            self.ask("edit_order", order_id=self.anyone(), symbol="BTC/USD", order_qty=self.qty(),
                     limit_price=self.price())  # fmt: skip
        elif roll < 0.8:
            ids = [self.anyone() for _ in range(draw.randint(1, 3))]
            self.ask("cancel_order", replies=len(ids), order_id=ids)
        elif roll < 0.86:
            self.ask("batch_add", symbol="BTC/USD", orders=[self.wish(), self.wish()])
        elif roll < 0.9:
            self.ask("batch_cancel", orders=[self.anyone(), self.anyone()])
        elif roll < 0.92:
            self.ask("cancel_all")
        elif roll < 0.94:
            self.ask("cancel_all_orders_after", timeout=draw.choice((0, 1, 3)))
        elif roll < 0.96:
            self.desk.core.set_system(draw.choice(("online", "cancel_only", "post_only")))
        else:
            self.desk.core.set_system("online")
        self.desk.go(draw.choice((0.0, 0.1, 0.5, 2.0)))
        self.listen(self.desk.take())


@settings(max_examples=12)
@given(seed=st.integers(0, 1 << 30))
def test_the_story_adds_up(seed: int) -> None:
    player = Player(seed)
    desk, teller = player.desk, player.teller
    [client] = desk.core.clients.values()
    venue = client.account.venue
    glob = venue.glob[0]
    total = int(glob["cash"]) + int(glob["counter_cash"]) + int(glob["fees"])
    for _ in range(40):
        player.act()
        held, lots = held_total(venue)
        assert int(glob["cash_held"]) == held
        assert [int(each) for each in venue.symbols["base_held"]] == lots
    desk.go(1)
    player.listen(desk.take())
    assert total == int(glob["cash"]) + int(glob["counter_cash"]) + int(glob["fees"])

    # One who comes now is told of the same orders,
    late = desk.connect("private")
    message = {"method": "subscribe", "params": {"channel": "executions", "token": desk.token}}
    desk.send(json.dumps(message), late)
    snapshot = next(x for x in desk.take(late) if x.get("channel") == "executions")
    assert teller.alive() == {each["order_id"] for each in snapshot["data"]}
    for each in snapshot["data"]:
        assert teller.filled.get(each["order_id"], 0) == Decimal(each["cum_qty"])

    # and REST knows the same.
    assert teller.alive() == set(rest(desk, "OpenOrders")["open"])
    amounts = rest(desk, "BalanceEx")
    assert teller.balances["USD"] == Decimal(amounts["ZUSD"]["balance"])
    assert teller.balances["BTC"] == Decimal(amounts["XXBT"]["balance"])
    # What the ledger says in its decimals is what the venue holds in its own, up to rounding.
    drift = Decimal(int(glob["cash"])).scaleb(-8) - teller.balances["USD"]
    assert abs(drift) <= Decimal("0.0001") * max(len(teller.execs), 1)


def rest(desk: Desk, name: str) -> Any:
    desk.go(0.001)  # for a nonce of its own
    path, nonce = f"/0/private/{name}", str(desk.core.now)
    body = urlencode({"nonce": nonce}).encode()
    headers = {"api-key": DEMO_KEY, "api-sign": signature(DEMO_SECRET, path, nonce, body)}
    answer = json.loads(Rest(desk.core).answer("POST", path, headers, body).body)
    assert [] == answer["error"]
    return answer["result"]


METHODS = [
    "subscribe",
    "unsubscribe",
    "ping",
    "add_order",
    "amend_order",
    "cancel_order",
    "batch_add",
    "batch_cancel",
    "edit_order",
    "cancel_all_orders_after",
]
FIELDS = [
    "channel",
    "symbol",
    "depth",
    "snapshot",
    "interval",
    "token",
    "orders",
    "order_id",
    "order_qty",
    "limit_price",
    "timeout",
    "triggers",
    "cl_ord_id",
    "order_userref",
    "deadline",
    "conditional",
]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def nearly(method: str, field: str, value: Any) -> str:
    """A request that is right but for one field."""
    params = {"channel": "book", "symbol": ["BTC/USD"], field: value}
    return json.dumps({"method": method, "params": params})


FRAME = st.one_of(
    st.text(max_size=60),
    ANYTHING.map(json.dumps),
    st.builds(nearly, st.sampled_from(METHODS), st.sampled_from(FIELDS), ANYTHING),
)


@settings(max_examples=150)
@given(frames=st.lists(FRAME, min_size=1, max_size=12))
def test_any_frame_is_answered_and_none_breaks_the_venue(frames: list[str]) -> None:
    for endpoint in ("public", "private", "level3"):
        desk = Desk(endpoint=endpoint)
        for frame in frames:
            for text in (
                frame,
                frame.replace('"params": {', f'"params": {{"token": "{desk.token}", '),
            ):
                desk.send(text)
                desk.go(0.05)
                answers = desk.take()
                assert answers, text
                assert any("method" in each for each in answers)
