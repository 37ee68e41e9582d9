"""The venue's REST side: signatures, names, histories, and the past that it tells of."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from adapters.local_venue.keys import DEMO_KEY, DEMO_SECRET, ApiKey, Keyring, signature
from adapters.local_venue.rest import Rest
from tests.support.venue_desk import T0, Desk, S, book, trade

FORM = "application/x-www-form-urlencoded; charset=utf-8"


class Caller:
    """A client of REST beside the WebSocket desk of the same account."""

    def __init__(self, *market: Any, **options: Any) -> None:
        self.desk = Desk(*market, **{"rest_limits": False, **options})
        self.rest = Rest(self.desk.core)
        self.nonce = 1_700_000_000_000

    def get(self, name: str, **query: Any) -> Any:
        answer = self.rest.answer("GET", f"/0/public/{name}?{urlencode(query)}", {}, b"")
        return self._read(answer)

    def post(self, name: str, **fields: Any) -> Any:
        self.nonce += 1
        body = urlencode({"nonce": self.nonce, **fields}).encode()
        return self.signed(name, body, str(self.nonce), FORM)

    def post_json(self, name: str, **fields: Any) -> Any:
        self.nonce += 1
        body = json.dumps({"nonce": self.nonce, **fields}).encode()
        return self.signed(name, body, str(self.nonce), "application/json")

    def signed(self, name: str, body: bytes, nonce: str, kind: str) -> Any:
        path = f"/0/private/{name}"
        headers = {
            "api-key": DEMO_KEY,
            "api-sign": signature(DEMO_SECRET, path, nonce, body),
            "content-type": kind,
        }
        return self._read(self.rest.answer("POST", path, headers, body))

    @staticmethod
    def _read(answer: Any) -> Any:
        assert (200, "application/json") == (answer.status, answer.content_type)
        document = json.loads(answer.body, parse_float=Decimal)
        return document["error"][0] if document["error"] else document["result"]

    def limit(self, side: str, price: str, volume: str, **more: Any) -> Any:
        return self.post("AddOrder", pair="XBTUSD", type=side, ordertype="limit", price=price,
                         volume=volume, **more)  # fmt: skip


# ---- keys ----


def test_signature_of_the_published_example() -> None:
    body = b"nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
    assert (
        "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
        == signature(DEMO_SECRET, "/0/private/AddOrder", "1616492376594", body)
    )


def test_signatures_of_every_published_vector(shared_kraken: Path) -> None:
    vectors = json.loads((shared_kraken / "samples/rest_sign_vectors.json").read_text())
    assert len(vectors) >= 3
    for each in vectors:
        body = each["body"].encode()
        made = signature(each["secret"], each["path"], each["nonce"], body)
        assert each["api_sign"] == made, each["name"]


def test_what_is_refused_before_anything_is_done() -> None:
    keyring = Keyring([ApiKey()])
    path, body = "/0/private/Balance", b"nonce=5"
    good = signature(DEMO_SECRET, path, "5", body)
    assert "EAPI:Invalid key" == keyring.check_request("nobody", good, path, "5", body)
    assert "EAPI:Invalid signature" == keyring.check_request(DEMO_KEY, "x", path, "5", body)
    assert "EAPI:Invalid signature" == keyring.check_request(DEMO_KEY, good, path, "5", b"nonce=6")
    assert isinstance(keyring.check_request(DEMO_KEY, good, path, "5", body), ApiKey)
    assert "EAPI:Invalid nonce" == keyring.check_request(DEMO_KEY, good, path, "5", body)


def test_a_nonce_window_forgives_what_arrives_late() -> None:
    keyring = Keyring([ApiKey(nonce_window=10)])
    path = "/0/private/Balance"

    def ask(nonce: str) -> Any:
        body = f"nonce={nonce}".encode()
        return keyring.check_request(
            DEMO_KEY, signature(DEMO_SECRET, path, nonce, body), path, nonce, body
        )

    assert isinstance(ask("100"), ApiKey)
    assert isinstance(ask("95"), ApiKey)
    assert "EAPI:Invalid nonce" == ask("90")


def test_the_secret_is_not_shown() -> None:
    assert DEMO_SECRET not in repr(ApiKey())


# ---- public ----


def test_names_of_the_other_world() -> None:
    caller = Caller()
    pairs = caller.get("AssetPairs")
    assert {"XXBTZUSD", "XETHZUSD"} == set(pairs)
    btc = pairs["XXBTZUSD"]
    assert ("XBTUSD", "XBT/USD", "XXBT", "ZUSD", 1, 8, "0.0001", "0.5", "0.1") == tuple(
        btc[k] for k in ("altname", "wsname", "base", "quote", "pair_decimals", "lot_decimals",
                         "ordermin", "costmin", "tick_size")
    )  # fmt: skip
    assert [[0, Decimal("0.4")], [10000, Decimal("0.35")]] == btc["fees"][:2]
    assert [0, Decimal("0.25")] == btc["fees_maker"][0]
    # Asked by any name, answered by the key; with a slash under that name.
    for name in ("XBTUSD", "XXBTZUSD"):
        assert ["XXBTZUSD"] == list(caller.get("AssetPairs", pair=name))
    assert ["BTC/USD"] == list(caller.get("AssetPairs", pair="BTC/USD"))
    assert "EQuery:Unknown asset pair" == caller.get("AssetPairs", pair="XBTEUR")


def test_time_status_and_unknown_calls() -> None:
    caller = Caller()
    assert {"unixtime": T0 // S, "rfc1123": "Thu, 01 Jan 2026 00:00:00 +0000"} == caller.get("Time")
    assert "online" == caller.get("SystemStatus")["status"]
    assert "EGeneral:Unknown method" == caller.get("Nothing")
    assert 404 == caller.rest.answer("GET", "/0/private/Balance", {}, b"").status


def test_trades_are_paged_by_a_nanosecond_id_that_is_text() -> None:
    market = [trade(1 + i // 3, 1, "50001.0", "0.1", 101 + i) for i in range(30)]
    caller = Caller(*market)
    caller.desk.go(60)
    seen, since = [], "0"
    while True:
        page = caller.get("Trades", pair="XBTUSD", since=since, count=7)
        rows = page["XXBTZUSD"]
        if not rows:
            assert since == page["last"]
            break
        assert isinstance(page["last"], str)
        seen += [row[6] for row in rows]
        since = page["last"]
    # Trades that share a moment are neither lost at the edge of a page nor told twice.
    assert list(range(100, 131)) == seen
    first = caller.get("Trades", pair="XBTUSD")["XXBTZUSD"][0]
    assert ["50001.00000", "0.10000000"] == first[:2]


def test_candles_repeat_the_price_where_nothing_traded() -> None:
    caller = Caller(trade(130, 1, "50010.0", "1", 101))
    caller.desk.go(185)
    answer = caller.get("OHLC", pair="XBTUSD", interval=1)
    rows = answer["XXBTZUSD"]
    assert [0, 60, 120, 180] == [row[0] - T0 // S for row in rows]
    assert ["50001.0"] * 4 + ["0.0", "0.00000000", 0] == rows[1][1:]
    assert ["50010.0"] * 5 + ["1.00000000", 1] == rows[2][1:]
    assert T0 // S + 120 == answer["last"]  # the last one that is over


def test_depth_is_a_cut_of_the_book() -> None:
    caller = Caller(book(1, {"50000.0": "1"}, {"50001.0": "0.5", "50002.0": "2"}))
    caller.desk.go(2)
    depth = caller.get("Depth", pair="XBTUSD", count=1)["XXBTZUSD"]
    assert [["50001.00000", "0.500", T0 // S + 1]] == depth["asks"]
    assert [["50000.00000", "1.000", T0 // S + 1]] == depth["bids"]


# ---- the account ----


def test_an_order_lives_in_rest_and_on_the_stream_alike() -> None:
    caller = Caller()
    placed = caller.limit("buy", "49000", "0.01", cl_ord_id="mine-1", oflags="post")
    assert "buy 0.01000000 XBTUSD @ limit 49000.0" == placed["descr"]["order"]
    [txid] = placed["txid"]
    order = caller.post("OpenOrders")["open"][txid]
    assert ("open", "0.01000000", "0.00000000", "mine-1", "post,fciq") == tuple(
        order[k] for k in ("status", "vol", "vol_exec", "cl_ord_id", "oflags")
    )
    snapshot = caller.desk.subscribe("executions")[-1]
    assert [txid] == [each["order_id"] for each in snapshot["data"]]

    assert "amend_id" in caller.post(
        "AmendOrder", txid=txid, order_qty="0.02", limit_price="49100.0"
    )
    assert {"count": 1} == caller.post("CancelOrder", cl_ord_id="mine-1")
    assert {} == caller.post("OpenOrders")["open"]
    closed = caller.post("ClosedOrders")["closed"][txid]
    assert ("canceled", "User requested", "0.02000000") == tuple(
        closed[k] for k in ("status", "reason", "vol")
    )
    assert "EOrder:Unknown order" == caller.post("CancelOrder", txid=txid)


def test_fills_balances_and_ledger_agree_to_the_last_digit() -> None:
    caller = Caller()
    [txid] = caller.post("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="0.1")[
        "txid"
    ]
    history = caller.post("TradesHistory")
    [(exec_id, fill)] = history["trades"].items()
    assert 1 == history["count"]
    assert (txid, "XXBTZUSD", "50001.0", "5000.10000", "20.00040", "0.10000000", False) == tuple(
        fill[k] for k in ("ordertxid", "pair", "price", "cost", "fee", "vol", "maker")
    )
    balance = caller.post("Balance")
    assert ("4979.8996", "1.1000000000") == (balance["ZUSD"], balance["XXBT"])
    ledger = list(caller.post("Ledgers")["ledger"].values())
    assert {exec_id} == {each["refid"] for each in ledger}
    assert {("ZUSD", "-5000.1000", "20.0004", "4979.8996"),
            ("XXBT", "0.1000000000", "0.0000000000", "1.1000000000")} == {
        (x["asset"], x["amount"], x["fee"], x["balance"]) for x in ledger
    }  # fmt: skip
    assert "closed" == caller.post("QueryOrders", txid=txid)[txid]["status"]


def test_fills_of_one_taker_are_merged_unless_that_is_switched_off() -> None:
    caller = Caller(book(0.0005, {"50000.0": "1"}, {"50001.0": "0.05", "50002.0": "2"}))
    caller.post("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="0.1")
    [whole] = caller.post("TradesHistory")["trades"].values()
    assert ("0.10000000", "5000.15000", "50001.5") == tuple(
        whole[k] for k in ("vol", "cost", "price")
    )
    parts = caller.post("TradesHistory", consolidate_taker="false")["trades"]
    assert ["0.05000000"] * 2 == [each["vol"] for each in parts.values()]


def test_holds_are_told_apart_by_balance_ex() -> None:
    caller = Caller()
    caller.limit("buy", "40000", "0.1")
    caller.limit("sell", "60000", "0.25")
    extended = caller.post("BalanceEx")
    # 4000 and 0.40 % of it; the coins
    assert ("10000.0000", "4016.0000") == tuple(extended["ZUSD"].values())
    assert ("1.0000000000", "0.2500000000") == tuple(extended["XXBT"].values())


def test_rest_lags_the_stream_by_its_option() -> None:
    caller = Caller(rest_lag_ms=2000.0)
    caller.desk.go(1)
    frames = caller.desk.request(
        "add_order", order_type="market", side="buy", symbol="BTC/USD", order_qty=0.1
    )
    txid = next(each["result"]["order_id"] for each in frames if "method" in each)
    caller.desk.go(1.9)
    assert "EOrder:Unknown order" == caller.post("QueryOrders", txid=txid)
    assert {} == caller.post("TradesHistory")["trades"]
    assert "10000.0000" == caller.post("Balance")["ZUSD"]
    caller.desk.go(0.2)
    assert "closed" == caller.post("QueryOrders", txid=txid)[txid]["status"]
    assert 1 == len(caller.post("TradesHistory")["trades"])
    assert "4979.8996" == caller.post("Balance")["ZUSD"]


def test_the_fee_tier_follows_the_volume() -> None:
    caller = Caller(volume_start=Decimal(60_000))
    volume = caller.post("TradeVolume", pair="XBTUSD")
    caller.post("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="0.1")
    after = caller.post("TradeVolume", pair="XBTUSD")
    fees = after["fees"]["XXBTZUSD"]
    assert ("0.2400", "100000.0000", "50000.0000") == tuple(
        fees[k] for k in ("fee", "nextvolume", "tiervolume")
    )
    assert "0.1400" == after["fees_maker"]["XXBTZUSD"]["fee"]
    assert Decimal(after["volume"]) - Decimal(5000) > Decimal(volume["volume"])


def test_histories_are_pages_of_fifty() -> None:
    caller = Caller(rate_limits=False)
    for _ in range(60):
        caller.desk.go(0.01)
        caller.post("AddOrder", pair="XBTUSD", type="sell", ordertype="market", volume="0.001")
    first, second = caller.post("TradesHistory"), caller.post("TradesHistory", ofs=50)
    assert (50, 10, 60) == (len(first["trades"]), len(second["trades"]), second["count"])
    assert not set(first["trades"]) & set(second["trades"])


def test_the_counter_of_rest_refuses_and_falls() -> None:
    caller = Caller(rest_limits=True, tier="starter")
    assert [dict, dict, dict] == [type(caller.post("TradesHistory")) for _ in range(3)]
    assert "EAPI:Rate limit exceeded" == caller.post("TradesHistory")  # 16 of 15
    assert isinstance(caller.limit("buy", "49000", "0.01"), dict)  # orders count elsewhere
    caller.desk.go(4)
    assert isinstance(caller.post("TradesHistory"), dict)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"volume": "0.00001"}, "EGeneral:Invalid arguments:volume minimum not met"),
        ({"price": "49000.05"}, "EOrder:Tick size check failed"),
        ({"volume": "abc"}, "EGeneral:Invalid arguments:volume"),
        ({"oflags": "fun"}, "EGeneral:Invalid arguments:oflags"),
        ({"pair": "XBTEUR"}, "EQuery:Unknown asset pair"),
        ({"volume": "1"}, "EOrder:Insufficient funds"),
        ({"leverage": "2:1"}, "EOrder:Margin allowance exceeded"),
    ],
)
def test_refusals_of_add_order(fields: dict[str, str], error: str) -> None:
    caller = Caller()
    wish = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "49000",
            "volume": "0.01", **fields}  # fmt: skip
    assert error == caller.post("AddOrder", **wish)


def test_stops_and_relative_prices() -> None:
    caller = Caller()
    placed = caller.post("AddOrder", pair="XBTUSD", type="sell", ordertype="stop-loss-limit",
                         price="-2%", price2="48000", volume="0.1")  # fmt: skip
    assert (
        "sell 0.10000000 XBTUSD @ stop-loss-limit 49001.0 -> limit 48000.0"
        == (placed["descr"]["order"])
    )


def test_validate_and_batches_in_json() -> None:
    caller = Caller()
    assert "txid" not in caller.limit("buy", "49000", "0.01", validate="true")
    order = {"ordertype": "limit", "type": "buy", "price": "49000", "volume": "0.01"}
    placed = caller.post_json("AddOrderBatch", pair="XBTUSD", orders=[order, order])
    ids = [each["txid"] for each in placed["orders"]]
    assert set(ids) == set(caller.post("OpenOrders")["open"])
    assert {"count": 2} == caller.post_json("CancelOrderBatch", orders=ids)


def test_the_switch_and_cancel_all() -> None:
    caller = Caller()
    caller.limit("buy", "49000", "0.01")
    assert {"count": 1} == caller.post("CancelAll")
    caller.limit("buy", "49000", "0.01")
    result = caller.post("CancelAllOrdersAfter", timeout=60)
    assert "2026-01-01T00:01:00Z" == result["triggerTime"]
    caller.desk.go(61)
    assert {} == caller.post("OpenOrders")["open"]


def test_a_token_of_rest_opens_the_stream() -> None:
    caller = Caller()
    answer = caller.post("GetWebSocketsToken")
    assert 900 == answer["expires"]
    caller.desk.token = answer["token"]
    assert caller.desk.subscribe("executions")[0]["success"] is True


def test_rights_are_asked_for_each_call() -> None:
    caller = Caller(key=ApiKey(rights=frozenset(("query",))))
    assert "EGeneral:Permission denied" == caller.post("GetWebSocketsToken")
    assert "EGeneral:Permission denied" == caller.limit("buy", "49000", "0.01")
    assert "ZUSD" in caller.post("Balance")
