"""What becomes of orders at the local venue; every figure is worked out by hand."""

import json
from decimal import Decimal
from typing import Any

import pytest

from adapters.local_venue.keys import ApiKey
from engine import events as e
from tests.support.venue_desk import Desk, book, level, rows, trade

MARKET = {"order_type": "market", "symbol": "BTC/USD"}


def kinds(reports: list[dict[str, Any]]) -> list[str]:
    return [each["exec_type"] for each in reports]


def following(*market: Any, **options: Any) -> Desk:
    """A desk that hears of its orders and balances."""
    desk = Desk(*market, **options)
    desk.subscribe("executions")
    desk.subscribe("balances")
    return desk


# ---- a life ----


def test_a_resting_order_is_pending_then_new_and_the_reply_has_both_ids() -> None:
    desk = following()
    frames = desk.request(
        "add_order", order_type="limit", side="buy", symbol="BTC/USD", limit_price=49000.0,
        order_qty=0.01, cl_ord_id="mine-1",
    )  # fmt: skip
    [reply] = [each for each in frames if "method" in each]
    pending, new = desk.reports(frames)

    assert "true" == str(reply["success"]).lower()
    assert {"order_id": pending["order_id"], "cl_ord_id": "mine-1"} == reply["result"]
    assert ["pending_new", "new"] == [pending["exec_type"], new["exec_type"]]
    assert ("BTC/USD", "buy", "limit", "0.01000000", "49000.0", "GTC") == tuple(
        pending[k]
        for k in ("symbol", "side", "order_type", "order_qty", "limit_price", "time_in_force")
    )
    # The later report repeats nothing of what the order is.
    assert {"timestamp", "order_status", "exec_type", "cl_ord_id", "order_id"} == set(new)


def test_a_completing_trade_says_partially_filled_and_filled_brings_no_fill() -> None:
    desk = following(book(0.0005, {"50000.0": "1"}, {"50001.0": "0.05", "50002.0": "2"}))
    frames = desk.request("add_order", side="buy", order_qty=0.1, **MARKET)
    reports = desk.reports(frames)

    assert ["pending_new", "new", "trade", "trade", "filled"] == kinds(reports)
    first, second = reports[2:4]
    assert ("50001.0", "0.05000000", "2500.05000") == tuple(
        first[k] for k in ("last_price", "last_qty", "cost")
    )
    assert ("50002.0", "0.05000000", "2500.10000") == tuple(
        second[k] for k in ("last_price", "last_qty", "cost")
    )
    assert ["partially_filled"] * 2 == [each["order_status"] for each in (first, second)]
    assert ["t", "t"] == [each["liquidity_ind"] for each in (first, second)]
    # 0.40 % of 2500.05 and of 2500.10
    assert [[{"asset": "USD", "qty": "10.00020"}], [{"asset": "USD", "qty": "10.00040"}]] == [
        each["fees"] for each in (first, second)
    ]
    assert "filled" == reports[4]["order_status"]
    assert "5000.15000" == reports[4]["cum_cost"]
    assert not {"last_qty", "exec_id", "fees", "symbol"} & set(reports[4])


def test_a_trade_is_two_ledger_entries_with_one_reference_and_the_sums_hold() -> None:
    desk = following()
    frames = desk.request("add_order", side="buy", order_qty=0.1, **MARKET)
    entries = [each["data"][0] for each in frames if each.get("channel") == "balances"]
    fill = next(each for each in desk.reports(frames) if each["exec_type"] == "trade")

    assert [fill["exec_id"]] * 2 == [each["ref_id"] for each in entries]
    assert [("BTC", "0.1000000000", "0.0000000000", "1.1000000000"),
            ("USD", "-5000.1000", "20.0004", "4979.8996")] == [
        (x["asset"], x["amount"], x["fee"], x["balance"]) for x in entries
    ]  # fmt: skip
    assert ["2", "3"] == [x["sequence"] for x in frames if x.get("channel") == "balances"]


def test_each_channel_counts_its_own_messages_from_1() -> None:
    desk = Desk()
    first = desk.subscribe("executions")[-1]
    second = desk.subscribe("balances")[-1]
    assert ["1", "1"] == [first["sequence"], second["sequence"]]
    assert [] == first["data"]

    frames = desk.request("add_order", side="sell", order_qty=0.1, **MARKET)

    runs = {
        channel: [int(f["sequence"]) for f in frames if f.get("channel") == channel]
        for channel in ("executions", "balances")
    }
    assert [2, 3, 4, 5] == runs["executions"]
    assert [2, 3] == runs["balances"]


def test_a_maker_is_filled_by_a_print_and_names_its_trade_id() -> None:
    desk = following(trade(1, -1, "49990.0", "0.03", 101), trade(2, -1, "49990.0", "5", 102))
    desk.limit("buy", 49995.0, 0.05)
    desk.go(3)
    fills = [each for each in desk.reports(desk.take()) if each["exec_type"] == "trade"]

    assert [("0.03000000", "49995.0", "m", "101"), ("0.02000000", "49995.0", "m", "102")] == [
        (x["last_qty"], x["last_price"], x["liquidity_ind"], x["trade_id"]) for x in fills
    ]
    # 0.25 % of 49995.0 x 0.03 = 1499.85
    assert "3.74963" == fills[0]["fees"][0]["qty"]
    assert "0.05000000" == fills[1]["cum_qty"]


def test_the_report_can_come_before_the_reply() -> None:
    early = following(reply_ms=(3.0, 3.0), report_ms=(0.5, 0.5))
    late = following(reply_ms=(0.5, 0.5), report_ms=(3.0, 3.0))

    def first(desk: Desk) -> str:
        frames = desk.request(
            "add_order", order_type="limit", side="buy", symbol="BTC/USD", limit_price=49000.0,
            order_qty=0.01,
        )  # fmt: skip
        return "reply" if "method" in frames[0] else "report"

    assert ["report", "reply"] == [first(early), first(late)]


# ---- how it ends ----


def test_post_only_that_would_take_is_accepted_and_canceled() -> None:
    desk = following()
    frames = desk.request(
        "add_order", order_type="limit", side="buy", symbol="BTC/USD", limit_price=50001.0,
        order_qty=0.01, post_only=True,
    )  # fmt: skip

    reports = desk.reports(frames)
    assert ["pending_new", "new", "canceled"] == kinds(reports)
    assert "Post only order" == reports[-1]["reason"] == reports[-1]["cancel_reason"]


def test_post_only_can_be_refused_outright_by_an_option() -> None:
    desk = following(post_only_reject=True)
    assert "EOrder:Post only order" == desk.error(
        "add_order", order_type="limit", side="buy", symbol="BTC/USD", limit_price=50001.0,
        order_qty=0.01, post_only=True,
    )  # fmt: skip
    desk.go(1)
    assert [] == desk.reports(desk.take())


def test_ioc_leaves_nothing_behind() -> None:
    desk = following()
    frames = desk.request(
        "add_order", order_type="limit", side="buy", symbol="ETH/USD", limit_price=2501.0,
        order_qty=1.0, time_in_force="ioc",
    )  # fmt: skip
    assert ["pending_new", "new", "trade", "filled"] == kinds(desk.reports(frames))

    frames = desk.request(
        "add_order", order_type="limit", side="buy", symbol="ETH/USD", limit_price=2400.0,
        order_qty=1.0, time_in_force="ioc",
    )  # fmt: skip
    assert ["pending_new", "new", "canceled"] == kinds(desk.reports(frames))


def test_fill_or_kill_is_an_option_on_the_stream() -> None:
    desk = following(fok_on_websocket=True, balances={"USD": Decimal(100_000), "ETH": Decimal(1)})
    wish = {"order_type": "limit", "side": "buy", "symbol": "ETH/USD", "limit_price": 2501.0,
            "time_in_force": "fok"}  # fmt: skip
    killed = desk.reports(desk.request("add_order", order_qty=10.5, **wish))
    assert ["pending_new", "canceled"] == kinds(killed)
    filled = desk.reports(desk.request("add_order", order_qty=1.5, **wish))
    assert ["pending_new", "new", "trade", "filled"] == kinds(filled)


def test_good_till_date_expires() -> None:
    desk = following()
    desk.limit("buy", 49000.0, 0.01, time_in_force="gtd", expire_time="2026-01-01T00:00:05Z")
    desk.go(4)
    assert [] == desk.reports(desk.take())
    desk.go(2)
    [report] = desk.reports(desk.take())
    assert ("expired", "2026-01-01T00:00:05.000000Z") == (report["exec_type"], report["timestamp"])


def test_a_deadline_is_judged_when_the_request_reaches_the_engine() -> None:
    desk = Desk(engine_ms=(800.0, 800.0))
    frames = desk.request(
        "add_order", order_type="limit", side="buy", symbol="BTC/USD", limit_price=49000.0,
        order_qty=0.01, deadline="2026-01-01T00:00:00.600Z",
    )  # fmt: skip
    desk.go(1)
    [reply] = frames + desk.take()
    assert "EService:Deadline elapsed" == reply["error"]

    assert "EGeneral:Invalid arguments:deadline" == desk.request(
        "add_order", order_type="limit", side="buy", symbol="BTC/USD", limit_price=49000.0,
        order_qty=0.01, deadline="2026-01-01T00:00:01.200Z",
    )[0]["error"]  # fmt: skip


@pytest.mark.parametrize(
    ("stp", "ends"),
    [
        ("cancel_newest", {"old": None, "new": "canceled"}),
        ("cancel_oldest", {"old": "canceled", "new": None}),
        ("cancel_both", {"old": "canceled", "new": "canceled"}),
    ],
)
def test_self_trade_is_prevented_as_the_incoming_order_says(
    stp: str, ends: dict[str, str | None]
) -> None:
    desk = following()
    old = desk.limit("sell", 50000.5, 0.01)["order_id"]
    desk.take()
    frames = desk.request(
        "add_order", order_type="limit", side="buy", symbol="BTC/USD", limit_price=50000.5,
        order_qty=0.02, stp_type=stp,
    )  # fmt: skip
    new = next(each["result"]["order_id"] for each in frames if "method" in each)
    canceled = {
        r["order_id"]: r["reason"] for r in desk.reports(frames) if r["exec_type"] == "canceled"
    }
    for txid, end in ((old, ends["old"]), (new, ends["new"])):
        assert ("Cannot trade with self" if end else None) == canceled.get(txid)
    assert not [r for r in desk.reports(frames) if r["exec_type"] == "trade"]


# ---- changing ----


def test_amend_keeps_the_id_and_says_what_is_new() -> None:
    desk = following()
    txid = desk.limit("buy", 49000.0, 0.01, cl_ord_id="mine-1")["order_id"]
    frames = desk.request("amend_order", cl_ord_id="mine-1", order_qty=0.02, limit_price=49100.0)
    [reply] = [each for each in frames if "method" in each]
    [report] = desk.reports(frames)

    assert {"amend_id", "cl_ord_id"} == set(reply["result"])
    assert (txid, "amended", "new", "0.02000000", "49100.0", True, "User requested") == tuple(
        report[k]
        for k in ("order_id", "exec_type", "order_status", "order_qty", "limit_price", "amended",
                  "reason")
    )  # fmt: skip


def test_amend_to_what_is_filled_cancels_the_rest() -> None:
    desk = following(trade(1, -1, "49990.0", "0.03", 101))
    txid = desk.limit("buy", 49995.0, 0.05)["order_id"]
    desk.go(2)
    desk.take()
    frames = desk.request("amend_order", order_id=txid, order_qty=0.03)
    assert ["canceled"] == kinds(desk.reports(frames))
    assert "0.03000000" == desk.reports(frames)[0]["cum_qty"]


def test_post_only_is_not_sticky_on_amend() -> None:
    desk = following()
    txid = desk.limit("buy", 49000.0, 0.01, post_only=True)["order_id"]
    assert "EOrder:Post only order" == desk.error(
        "amend_order", order_id=txid, limit_price=50001.0, order_qty=0.01, post_only=True
    )
    desk.take()
    frames = desk.request("amend_order", order_id=txid, limit_price=50001.0, order_qty=0.01)
    assert ["amended", "trade", "filled"] == kinds(desk.reports(frames))


def test_edit_is_cancel_and_new_under_another_id() -> None:
    desk = following()
    txid = desk.limit("buy", 49000.0, 0.01)["order_id"]
    desk.take()
    frames = desk.request(
        "edit_order", order_id=txid, symbol="BTC/USD", order_qty=0.02, limit_price=49100.0
    )
    [reply] = [each for each in frames if "method" in each]
    reports = desk.reports(frames)

    assert txid == reply["result"]["original_order_id"] != reply["result"]["order_id"]
    assert [("canceled", txid), ("pending_new", reply["result"]["order_id"]),
            ("new", reply["result"]["order_id"])] == [
        (each["exec_type"], each["order_id"]) for each in reports
    ]  # fmt: skip


def test_edit_does_not_take_orders_with_a_client_id() -> None:
    desk = Desk()
    txid = desk.limit("buy", 49000.0, 0.01, cl_ord_id="mine-1")["order_id"]
    assert "EOrder:Invalid order" == desk.error("edit_order", order_id=txid, symbol="BTC/USD")


def test_cancel_replies_once_per_id_with_the_name_it_was_given() -> None:
    desk = Desk()
    txid = desk.limit("buy", 49000.0, 0.01)["order_id"]
    desk.limit("buy", 49001.0, 0.01, cl_ord_id="mine-1")
    desk.limit("buy", 49002.0, 0.01, order_userref=7)
    frames = desk.request(
        "cancel_order", order_id=[txid, "ONOBODY-AAAAA-BBBBBB"], cl_ord_id=["mine-1"],
        order_userref=[7],
    )  # fmt: skip

    assert [{"order_id": txid}, "EOrder:Unknown order", {"cl_ord_id": "mine-1"},
            {"order_userref": "7"}] == [x.get("result", x.get("error")) for x in frames]  # fmt: skip
    assert 1 == len({each["req_id"] for each in frames})


def test_a_client_id_is_free_again_when_its_order_is_closed() -> None:
    desk = Desk()
    desk.limit("buy", 49000.0, 0.01, cl_ord_id="mine-1")
    assert "cl_ord_id already in use" in desk.error(
        "add_order", order_type="limit", side="buy", symbol="BTC/USD", limit_price=49000.0,
        order_qty=0.01, cl_ord_id="mine-1",
    )  # fmt: skip
    desk.request("cancel_order", cl_ord_id=["mine-1"])
    desk.limit("buy", 49000.0, 0.01, cl_ord_id="mine-1")


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("6d1b345e-2821-40e2-ad83-4ecb18a06876", True),
        ("da8e4ad59b78481c93e589746b0cf91f", True),
        ("arb-20240509-00010", True),
        ("b6755a8d4d000200", True),
        ("arb-20240509-000101", False),  # 19 characters
        ("6d1b345e-2821-40e2-ad83-4ecb18a0687g", False),
        ("ümlaut", False),
    ],
)
def test_forms_of_a_client_id(text: str, good: bool) -> None:
    desk = Desk()
    reply = desk.reply(
        "add_order", order_type="limit", side="buy", symbol="BTC/USD", limit_price=49000.0,
        order_qty=0.01, cl_ord_id=text,
    )  # fmt: skip
    assert good is reply["success"]


# ---- refusals ----


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"limit_price": 49000.05}, "EOrder:Tick size check failed"),
        ({"order_qty": 0.00001}, "EGeneral:Invalid arguments:volume minimum not met"),
        ({"order_qty": 0.000000001}, "EGeneral:Invalid arguments:volume"),
        ({"limit_price": 1.0}, "EOrder:Cost minimum not met"),
        ({"order_qty": 5.0}, "EOrder:Insufficient funds"),
        ({"order_qty": "0.01"}, "Order_qty field must be a number_float"),
        ({"limit_price": "49000"}, "Limit_price field must be a number_float"),
        ({"post_only": "yes"}, "Post_only field must be a boolean"),
        ({"colour": 1}, "Unsupported field: 'colour' for the given msg type: add_order"),
        ({"symbol": "XBT/USD"}, "Currency pair not supported XBT/USD"),
        ({"time_in_force": "fok"}, "EGeneral:Invalid arguments:timeinforce"),
        ({"time_in_force": "gtd"}, "EGeneral:Invalid arguments:expiretm"),
        ({"order_type": "settle-position"}, "EOrder:Unknown position"),
        ({"reduce_only": True}, "EOrder:Reduce only:No position exists"),
        ({"cl_ord_id": "a", "order_userref": 1}, "EGeneral:Invalid arguments:cl_ord_id and userref"),
        ({"order_type": "iceberg", "display_qty": 0.0001}, "EGeneral:Invalid arguments:displayvol"),
        ({"order_type": "stop-loss", "limit_price": None,
          "triggers": {"price": 49000.0, "reference": "index"}},
         "EGeneral:Invalid arguments:Index unavailable"),
    ],
)  # fmt: skip
def test_what_is_refused_and_how(change: dict[str, Any], error: str) -> None:
    desk = Desk()
    wish = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "limit_price": 49000.0,
            "order_qty": 0.01, **change}  # fmt: skip
    found = desk.error("add_order", **{k: v for k, v in wish.items() if v is not None})
    assert found.startswith(error)


def test_an_integer_literal_is_refused_for_cash_order_qty_only() -> None:
    desk = Desk()
    assert "Cash_order_qty field must be a number_float" == desk.error(
        "add_order", side="buy", cash_order_qty=100, **MARKET
    )
    assert "order_id" in desk.result("add_order", side="sell", order_qty=1, **MARKET)


def test_validate_places_nothing() -> None:
    desk = following()
    wish = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "limit_price": 49000.0,
            "validate": True}  # fmt: skip
    assert "order_id" not in desk.result("add_order", order_qty=0.01, **wish)
    assert "volume minimum not met" in desk.error("add_order", order_qty=0.00001, **wish)
    desk.go(1)
    assert [] == desk.reports(desk.take())
    assert {"count": "0"} == desk.result("cancel_all")


def test_holds_of_open_orders_count_as_spent() -> None:
    desk = Desk()
    desk.limit("buy", 40000.0, 0.2)  # 8000 and 0.40 % of it are held
    wish = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "limit_price": 40000.0}
    assert "EOrder:Insufficient funds" == desk.error("add_order", order_qty=0.05, **wish)
    assert "order_id" in desk.result("add_order", order_qty=0.049, **wish)  # 1960 + 7.84 < 1968


def test_the_number_of_open_orders_per_pair_is_bounded() -> None:
    desk = Desk(tier="starter", rate_limits=False)
    for i in range(60):
        desk.limit("buy", 1000.0 + i, 0.001)
    assert "EOrder:Orders limit exceeded" == desk.error(
        "add_order", order_type="limit", side="buy", symbol="BTC/USD", limit_price=999.0,
        order_qty=0.001,
    )  # fmt: skip


def test_a_key_without_the_right_may_not_trade() -> None:
    desk = Desk(key=ApiKey(rights=frozenset(("websockets", "query"))))
    assert "EGeneral:Permission denied" == desk.error("cancel_all")


# ---- batches and switches ----


def test_batch_add_is_refused_whole_for_a_form_and_in_part_for_funds() -> None:
    desk = Desk()
    good = {"order_type": "limit", "side": "buy", "order_qty": 0.01, "limit_price": 49000.0}
    assert "EOrder:Tick size check failed" == desk.error(
        "batch_add", symbol="BTC/USD", orders=[good, {**good, "limit_price": 49000.05}]
    )
    assert {"count": "0"} == desk.result("cancel_all")

    placed = desk.result(
        "batch_add", symbol="BTC/USD", orders=[good, {**good, "order_qty": 1.0}, good]
    )
    assert ["order_id", "error", "order_id"] == [next(iter(each)) for each in placed]


def test_batch_cancel_counts_and_skips_the_unknown() -> None:
    desk = Desk()
    txid = desk.limit("buy", 49000.0, 0.01)["order_id"]
    desk.limit("buy", 49000.0, 0.01, cl_ord_id="mine-1")
    orders = [txid, "ONOBODY-AAAAA-BBBBBB"]
    assert {"count": "2"} == desk.result("batch_cancel", orders=orders, cl_ord_id=["mine-1"])


def test_batch_cancel_as_it_was_in_2024() -> None:
    desk = Desk(batch_cancel_top_level=True)
    reply = desk.reply("batch_cancel", orders=["ONOBODY-AAAAA-BBBBBB", "OX"])
    assert "0" == reply["orders_cancelled"]
    assert "result" not in reply


def test_cancel_all_takes_every_pair_and_untriggered_stops() -> None:
    desk = following()
    desk.limit("buy", 49000.0, 0.01)
    desk.result("add_order", order_type="limit", side="sell", symbol="ETH/USD", order_qty=1.0,
                limit_price=3000.0)  # fmt: skip
    desk.result("add_order", order_type="stop-loss", side="sell", symbol="BTC/USD", order_qty=0.1,
                triggers={"price": 45000.0})  # fmt: skip
    desk.take()
    frames = desk.request("cancel_all")
    assert {"count": "3"} == next(each["result"] for each in frames if "method" in each)
    assert ["canceled"] * 3 == kinds(desk.reports(frames))


def test_the_dead_mans_switch_cancels_protective_stops_too_and_then_rests() -> None:
    desk = following()
    desk.result("add_order", order_type="stop-loss", side="sell", symbol="BTC/USD", order_qty=0.1,
                triggers={"price": 45000.0})  # fmt: skip
    result = desk.result("cancel_all_orders_after", timeout=60)
    assert ("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z") == tuple(result.values())
    desk.go(30)
    desk.result("cancel_all_orders_after", timeout=60)  # each call restarts the countdown
    desk.go(59)
    assert [] == desk.reports(desk.take())
    desk.go(2)
    assert ["canceled"] == kinds(desk.reports(desk.take()))

    desk.limit("buy", 49000.0, 0.01)
    desk.take()
    desk.go(1000)
    assert [] == desk.reports(desk.take())  # it fires once


def test_the_switch_can_be_switched_off() -> None:
    desk = following()
    desk.limit("buy", 49000.0, 0.01)
    desk.result("cancel_all_orders_after", timeout=10)
    desk.result("cancel_all_orders_after", timeout=0)
    desk.take()
    desk.go(100)
    assert [] == desk.reports(desk.take())


# ---- stops, icebergs, secondaries ----


def test_a_stop_waits_fires_on_the_last_trade_and_takes() -> None:
    desk = following(
        trade(1, -1, "49500.1", "0.01", 101),
        rows(1.5, level(1, "50000.0", "0"), level(1, "49999.0", "0"), level(1, "49400.0", "3")),
        trade(2, -1, "49499.9", "0.01", 102),
    )
    frames = desk.request(
        "add_order", order_type="stop-loss", side="sell", symbol="BTC/USD", order_qty=0.1,
        triggers={"price": 49500.0},
    )  # fmt: skip
    pending = desk.reports(frames)[0]
    assert "untriggered" == pending["triggers"]["status"]
    desk.go(1.2)
    assert [] == desk.reports(desk.take())
    desk.go(1)
    reports = desk.reports(desk.take())
    assert ["status", "trade", "filled"] == kinds(reports)
    assert ("triggered", "49499.9") == (
        reports[0]["triggers"]["status"], reports[0]["triggers"]["last_price"],
    )  # fmt: skip
    assert ("49400.0", "t") == (reports[1]["last_price"], reports[1]["liquidity_ind"])


def test_a_relative_trigger_is_resolved_against_the_last_trade_at_entry() -> None:
    desk = following()
    for kind, price, at in (("pct", -2.0, "49001.0"), ("quote", -150.0, "49851.0")):
        frames = desk.request(
            "add_order", order_type="stop-loss", side="sell", symbol="BTC/USD", order_qty=0.1,
            triggers={"price": price, "price_type": kind},
        )  # fmt: skip
        assert at == desk.reports(frames)[0]["triggers"]["actual_price"]  # of 50001.0


def test_a_trailing_stop_follows_the_peak_and_never_moves_back() -> None:
    """The documentation's example: 5 % below a peak of 22,000 is 20,900."""
    desk = following(
        trade(1, 1, "60000.0", "0.01", 101),
        trade(2, 1, "66000.0", "0.01", 102),
        trade(3, -1, "63000.0", "0.01", 103),
    )
    desk.result("add_order", order_type="trailing-stop", side="sell", symbol="BTC/USD",
                order_qty=0.1, triggers={"price": 5.0, "price_type": "pct"})  # fmt: skip
    desk.take()
    desk.go(4)
    told = [
        (r["triggers"]["peak_price"], r["triggers"]["actual_price"])
        for r in desk.reports(desk.take())
    ]
    assert [("60000.0", "57000.0"), ("66000.0", "62700.0")] == told
    assert Decimal("20900") == Decimal("22000") * 95 / 100  # the same rule on its numbers


def test_a_trailing_stop_fires_at_its_distance() -> None:
    desk = following(trade(1, 1, "52000.0", "0.01", 101), trade(2, -1, "51499.0", "0.01", 102))
    desk.result("add_order", order_type="trailing-stop", side="sell", symbol="BTC/USD",
                order_qty=0.1, triggers={"price": 500.0, "price_type": "quote"})  # fmt: skip
    desk.take()
    desk.go(3)
    assert ["status", "status", "trade", "filled"] == kinds(desk.reports(desk.take()))


def test_the_distance_of_a_trailing_stop_can_be_amended_and_its_peak_stays() -> None:
    desk = following(trade(1, 1, "52000.0", "0.01", 101), trade(3, 1, "51600.0", "0.01", 102))
    placed = desk.result("add_order", order_type="trailing-stop", side="sell", symbol="BTC/USD",
                         order_qty=0.1, triggers={"price": 500.0, "price_type": "quote"})  # fmt: skip
    desk.go(2)
    desk.take()
    frames = desk.request("amend_order", order_id=placed["order_id"], order_qty=0.1,
                          trigger_price=300.0, trigger_price_type="quote")  # fmt: skip
    [amended] = desk.reports(frames)
    assert ("300.0", "51700.0", "52000.0") == tuple(
        amended["triggers"][name] for name in ("price", "actual_price", "peak_price")
    )
    desk.go(3)
    assert ["status", "trade", "filled"] == kinds(desk.reports(desk.take()))


@pytest.mark.parametrize(
    "wrong",
    [{"trigger_price_type": "pct"}, {"trigger_price_type": "static"}, {"trigger_price": 0.05}],
)
def test_a_distance_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    desk = following(trade(1, 1, "52000.0", "0.01", 101))
    placed = desk.result("add_order", order_type="trailing-stop", side="sell", symbol="BTC/USD",
                         order_qty=0.1, triggers={"price": 500.0, "price_type": "quote"})  # fmt: skip
    asked = {"trigger_price": 300.0, "trigger_price_type": "quote"} | wrong
    assert "EGeneral:Invalid arguments:trigger price" == desk.error(
        "amend_order", order_id=placed["order_id"], order_qty=0.1, **asked
    )


def test_an_iceberg_shows_slice_after_slice() -> None:
    desk = following(*[trade(i, -1, "49990.0", "1", 100 + i) for i in range(1, 5)])
    frames = desk.request(
        "add_order", order_type="iceberg", side="buy", symbol="BTC/USD", order_qty=0.05,
        limit_price=49995.0, display_qty=0.02,
    )  # fmt: skip
    assert ["pending_new", "new"] == kinds(desk.reports(frames))
    desk.go(5)
    reports = desk.reports(desk.take())
    assert ["trade", "iceberg_refill", "trade", "iceberg_refill", "trade", "filled"] == kinds(
        reports
    )
    fills = [r["last_qty"] for r in reports if r["exec_type"] == "trade"]
    assert ["0.02000000", "0.02000000", "0.01000000"] == fills
    refills = [r["display_qty_remain"] for r in reports if r["exec_type"] == "iceberg_refill"]
    assert ["0.02000000", "0.01000000"] == refills


def test_an_iceberg_that_crosses_takes_whole_and_shows_only_its_rest() -> None:
    desk = following(book(0.0005, {"50000.0": "1"}, {"50001.0": "0.05"}))
    frames = desk.request(
        "add_order", order_type="iceberg", side="buy", symbol="BTC/USD", order_qty=0.1,
        limit_price=50001.0, display_qty=0.01,
    )  # fmt: skip
    reports = desk.reports(frames)
    assert ["pending_new", "new", "trade"] == kinds(reports)
    assert "0.05000000" == reports[-1]["last_qty"]


def test_each_fill_of_the_primary_brings_a_secondary_on_the_other_side() -> None:
    desk = following(trade(1, -1, "49990.0", "0.03", 101), trade(2, -1, "49990.0", "5", 102))
    primary = desk.limit(
        "buy", 49995.0, 0.05,
        conditional={"order_type": "stop-loss", "trigger_price": 45000.0},
    )["order_id"]  # fmt: skip
    desk.take()
    desk.go(3)
    spawned = [r for r in desk.reports(desk.take()) if r["exec_type"] == "pending_new"]
    assert [("sell", "stop-loss", "0.03000000", primary), ("sell", "stop-loss", "0.02000000", primary)] == [
        (r["side"], r["order_type"], r["order_qty"], r["ord_ref_id"]) for r in spawned
    ]  # fmt: skip


def test_a_scheduled_order_waits_as_pending() -> None:
    desk = following()
    frames = desk.request(
        "add_order", order_type="limit", side="buy", symbol="BTC/USD", limit_price=49000.0,
        order_qty=0.01, effective_time="2026-01-01T00:00:05Z",
    )  # fmt: skip
    assert ["pending_new"] == kinds(desk.reports(frames))
    desk.go(4)
    assert [] == desk.reports(desk.take())
    desk.go(2)
    [report] = desk.reports(desk.take())
    assert ("new", "2026-01-01T00:00:05.000000Z") == (report["exec_type"], report["timestamp"])


def test_a_market_order_in_quote_currency_spends_that_much() -> None:
    desk = following()
    frames = desk.request("add_order", side="buy", cash_order_qty=1000.0, **MARKET)
    fill = next(r for r in desk.reports(frames) if r["exec_type"] == "trade")
    # 1000 / 50001 rounded down to 1e-8
    assert "0.01999960" == fill["last_qty"]


# ---- subscriptions ----


def test_without_order_status_only_four_kinds_are_told() -> None:
    desk = Desk(book(0.0005, {"50000.0": "1"}, {"50001.0": "0.05", "50002.0": "2"}))
    desk.subscribe("executions", order_status=False)
    frames = desk.request("add_order", side="buy", order_qty=0.1, **MARKET)
    assert ["new", "filled"] == kinds(desk.reports(frames))


def test_a_later_subscriber_gets_open_orders_whole_and_old_fills_as_filled() -> None:
    desk = Desk()
    desk.request("add_order", side="buy", order_qty=0.01, **MARKET)
    txid = desk.limit("buy", 49000.0, 0.01)["order_id"]
    ack, snapshot = desk.subscribe("executions", snap_trades=True)

    assert ("125", True, True) == tuple(
        ack["result"][k] for k in ("maxratecount", "snap_orders", "snap_trades")
    )
    fill, order = snapshot["data"]
    assert ("trade", "filled", "0.01000000") == (
        fill["exec_type"], fill["order_status"], fill["last_qty"],
    )  # fmt: skip
    assert (txid, "new", "49000.0", "BTC/USD") == tuple(
        order[k] for k in ("order_id", "order_status", "limit_price", "symbol")
    )


def test_the_snapshot_holds_fifty_fills_at_most() -> None:
    desk = Desk(rate_limits=False)
    for _ in range(55):
        desk.request("add_order", side="sell", order_qty=0.001, **MARKET)
    snapshot = desk.subscribe("executions", snap_trades=True, snap_orders=False)[-1]
    assert 50 == len(snapshot["data"])


def test_the_token_must_be_one_of_the_venues() -> None:
    desk = Desk()
    desk.token = "nobody"
    assert "ESession:Invalid session" == desk.error("subscribe", channel="executions")


def test_a_token_lives_900_seconds_unless_a_subscription_keeps_it() -> None:
    for subscribed, error in ((False, "ESession:Invalid session"), (True, None)):
        desk = Desk()
        if subscribed:
            desk.subscribe("executions")
        desk.go(901)
        desk.take()
        assert error == desk.reply("cancel_all").get("error")


# ---- states ----


@pytest.mark.parametrize(
    ("state", "plain", "post_only", "cancel"),
    [
        ("online", None, None, None),
        ("post_only", "EService:Market in post_only mode", None, None),
        ("cancel_only", "EService:Market in cancel_only mode",
         "EService:Market in cancel_only mode", None),
        ("maintenance", "EService:Unavailable", "EService:Unavailable", "EService:Unavailable"),
    ],
)  # fmt: skip
def test_the_system_state_decides_what_is_taken(
    state: str, plain: str | None, post_only: str | None, cancel: str | None
) -> None:
    desk = Desk()
    txid = desk.limit("buy", 49000.0, 0.01)["order_id"]
    desk.core.set_system(state)
    desk.go(0.01)
    [told] = [each for each in desk.take() if each.get("channel") == "status"]
    assert ("update", state) == (told["type"], told["data"][0]["system"])
    wish = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "limit_price": 49001.0,
            "order_qty": 0.01}  # fmt: skip
    assert plain == desk.reply("add_order", **wish).get("error")
    assert post_only == desk.reply("add_order", post_only=True, **wish).get("error")
    assert cancel == desk.reply("cancel_order", order_id=[txid]).get("error")


def test_an_armed_switch_fires_when_the_engine_comes_back() -> None:
    desk = following()
    desk.limit("buy", 49000.0, 0.01)
    desk.result("cancel_all_orders_after", timeout=10)
    desk.core.set_system("maintenance")
    desk.go(20)
    assert [] == desk.reports(desk.take())
    desk.core.set_system("online")
    desk.go(0.1)
    assert ["canceled"] == kinds(desk.reports(desk.take()))


def test_the_stricter_of_pair_and_system_holds() -> None:
    desk = Desk()
    desk.core.set_pair_status("BTC/USD", "limit_only")
    assert "EService:Market in limit_only mode" == desk.error(
        "add_order", side="buy", order_qty=0.01, **MARKET
    )
    desk.limit("buy", 49000.0, 0.01)


def test_events_of_the_source_reach_the_engine_before_the_request_that_follows() -> None:
    """The level is gone when the order arrives, so it rests."""
    desk = following(rows(0.015, level(-1, "50001.0", "0"), {"kind": e.MESSAGE_END,
                     "id": e.BOOK_LEVEL}), engine_ms=(20.0, 20.0))  # fmt: skip
    frames = desk.request(
        "add_order", order_type="limit", side="buy", symbol="BTC/USD", limit_price=50001.0,
        order_qty=0.01,
    )  # fmt: skip
    desk.go(0.05)
    assert ["pending_new", "new"] == kinds(desk.reports(frames + desk.take()))


def test_a_client_that_is_gone_is_told_nothing_more_whoever_else_has_an_account() -> None:
    other = ApiKey("second-key-of-the-venue")
    desk = Desk(others=(other,))
    desk.subscribe("executions")
    mine = desk.conn
    desk.conn, desk.token = desk.connect("private"), desk.core.keyring.issue(other, 0)
    desk.subscribe("executions")
    order = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "limit_price": 50010.0}
    request = {"method": "add_order", "params": {**order, "order_qty": 0.1, "token": desk.token}}
    desk.send(json.dumps(request))
    desk.core.closed(desk.conn)

    desk.go(1.0)

    assert len(desk.core.clients[other.owner].account.fills) > 0
    assert desk.reports(desk.take(mine)) == []
