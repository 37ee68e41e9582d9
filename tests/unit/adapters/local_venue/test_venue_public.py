"""What the market channels answer: acknowledgements, snapshots, and the texts of refusals."""

import json
from decimal import Decimal
from typing import Any

import pytest

from adapters.local_venue.market import events_of
from adapters.local_venue.text import fixed, name, number_of, parse_stamp, stamp
from engine import events as e
from tests.support.venue_desk import T0, Desk, S, book, level, rows, trade


def ask(desk: Desk, **message: Any) -> list[dict[str, Any]]:
    desk.send(json.dumps(message))
    return desk.take()


def subscribe(desk: Desk, channel: str, **params: Any) -> list[dict[str, Any]]:
    return ask(desk, method="subscribe", params={"channel": channel, **params}, req_id=7)


def public(*market: Any, **options: Any) -> Desk:
    return Desk(*market, endpoint="public", **options)


# ---- text ----


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (5100, 8, "0.00005100"), (452810, 1, "45281.0"), (0, 8, "0.00000000"), (7, 0, "7"),
        (-199743, 4, "-19.9743"), (295, 4, "0.0295"),
    ],
)  # fmt: skip
def test_numbers_keep_every_decimal(value: int, decimals: int, text: str) -> None:
    assert text == fixed(value, decimals)


def test_times_are_cut_and_read_back() -> None:
    ns = T0 + 5 * S + 123_456_789
    assert "2026-01-01T00:00:05.123456Z" == stamp(ns)
    assert "2026-01-01T00:00:05Z" == stamp(ns, 0)
    assert ns == parse_stamp(stamp(ns, 9))
    assert ns == parse_stamp("2026-01-01T01:00:05.123456789+01:00")
    assert None is parse_stamp("yesterday")


def test_an_id_has_krakens_form_and_one_number() -> None:
    assert "OAAAAA-AAAAA-AAAABA" == name("O", 32)
    for key in (0, 1, 71_000_001, (1 << 63) - 1):
        assert key == number_of(name("O", key))
    assert -1 == number_of("O1!")


# ---- envelopes ----


def test_the_first_frame_is_a_status_that_nobody_asked_for() -> None:
    desk = public()
    conn = desk.connect("public")
    [frame] = desk.take(conn)
    assert ("status", "update") == (frame["channel"], frame["type"])
    [item] = frame["data"]
    assert ("online", "v2") == (item["system"], item["api_version"])
    assert 0 <= int(item["connection_id"]) < 1 << 64


def test_connection_ids_fill_all_64_bits() -> None:
    """Clients that keep them in a double, or in a signed number, must be found out."""
    desk = public()
    ids = [int(desk.take(desk.connect("public"))[0]["data"][0]["connection_id"]) for _ in range(40)]
    assert any(each >= 1 << 63 for each in ids)


def test_ping_is_answered_without_success_and_takes_no_params() -> None:
    desk = public()
    [pong] = ask(desk, method="ping", req_id=101)
    assert {"method", "req_id", "time_in", "time_out"} == set(pong)
    [refused] = ask(desk, method="ping", params={}, req_id=0)
    assert "Unsupported field: 'params' for the given msg type: ping" == refused["error"]


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '"ping"', '{"method":7}', "{}", "\x00"])
def test_what_is_no_request_is_malformed(text: str) -> None:
    desk = public()
    desk.send(text)
    [frame] = desk.take()
    assert ("Malformed request", "error", False) == tuple(
        frame[k] for k in ("error", "method", "success")
    )


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"method": "dance"}, "Unsupported event"),
        ({"method": "subscribe", "params": {"channel": "level3"}}, "Unsupported event"),
        ({"method": "subscribe", "channel": "book"},
         "Unsupported field: 'channel' for the given msg type: subscribe"),
        ({"method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD"], "depth": 10}},
         "Unsupported field: 'depth' for the given msg type: subscribe"),
        ({"method": "subscribe", "params": {"channel": "book", "symbol": ["XBT/USD"]}},
         "Currency pair not supported XBT/USD"),
        ({"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": 11}},
         "Subscription depth not supported"),
        ({"method": "subscribe", "params": {"channel": "ohlc", "symbol": ["BTC/USD"], "interval": 2}},
         "Subscription ohlc interval not supported"),
        ({"method": "add_order", "params": {}}, "Unsupported event"),
        ({"method": "unsubscribe", "params": {"channel": "book", "symbol": ["BTC/USD"]}},
         "Subscription Not Found"),
    ],
)  # fmt: skip
def test_refusals_on_the_public_host(message: dict[str, Any], error: str) -> None:
    desk = public()
    [frame] = ask(desk, **message, req_id=3)
    assert (error, False, "3") == (frame["error"], frame["success"], frame["req_id"])


def test_one_reply_per_symbol_and_the_failing_one_names_it_at_top_level() -> None:
    desk = public()
    frames = subscribe(desk, "book", symbol=["BTC/USD", "XXX/USD", "ETH/USD"], depth=25)
    replies = [each for each in frames if "method" in each]
    assert ["BTC/USD", None, "ETH/USD"] == [x.get("result", {}).get("symbol") for x in replies]
    assert "XXX/USD" == replies[1]["symbol"]
    assert {"channel": "book", "depth": "25", "snapshot": True, "symbol": "BTC/USD"} == (
        replies[0]["result"]
    )
    assert {"7"} == {each["req_id"] for each in replies}


def test_the_snapshot_follows_its_acknowledgement() -> None:
    desk = public()
    ack, snapshot = subscribe(desk, "book", symbol=["BTC/USD"])
    assert "subscribe" == ack["method"]
    [item] = snapshot["data"]
    assert [
        {"price": "50000.0", "qty": "1.00000000"},
        {"price": "49999.0", "qty": "2.00000000"},
    ] == (item["bids"])
    assert ["50001.0", "50002.0"] == [each["price"] for each in item["asks"]]


def test_a_second_depth_of_one_symbol_is_refused() -> None:
    desk = public()
    subscribe(desk, "book", symbol=["BTC/USD"])
    [frame] = subscribe(desk, "book", symbol=["BTC/USD"], depth=100)
    assert "Already subscribed" == frame["error"]


def test_after_unsubscribe_nothing_comes() -> None:
    desk = public(rows(1, level(1, "50000.5", "1")))
    subscribe(desk, "book", symbol=["BTC/USD"])
    [reply] = ask(desk, method="unsubscribe",
                  params={"channel": "book", "symbol": ["BTC/USD"]}, req_id=8)  # fmt: skip
    assert {"channel": "book", "depth": "10", "symbol": "BTC/USD"} == reply["result"]
    desk.go(2)
    assert [] == desk.take()


def test_nothing_comes_between_a_late_snapshot_and_its_acknowledgement() -> None:
    desk = public(*(rows(0.02 * i, level(1, "49990.0", f"{i}.0")) for i in range(1, 20)),
                  snapshot_delay_ms=100.0)  # fmt: skip
    [ack] = subscribe(desk, "book", symbol=["BTC/USD"])
    assert ack["success"] is True
    desk.go(0.09)
    assert [] == desk.take()
    desk.go(0.05)
    kinds = [each["type"] for each in desk.take()]
    assert ["snapshot", "update", "update"] == kinds


def test_late_updates_come_after_the_acknowledgement_of_unsubscribe() -> None:
    desk = public(*(rows(0.02 * i, level(1, "49990.0", f"{i}.0")) for i in range(1, 20)),
                  unsubscribe_late_ms=50.0)  # fmt: skip
    subscribe(desk, "book", symbol=["BTC/USD"])
    ask(desk, method="unsubscribe", params={"channel": "book", "symbol": ["BTC/USD"]})
    desk.go(0.2)
    assert ["update", "update"] == [each["type"] for each in desk.take()]


# ---- channels ----


def test_trades_have_no_snapshot_unless_asked_and_then_fifty() -> None:
    market = [trade(0.0001 + i * 1e-6, 1, "50001.0", "0.1", 101 + i) for i in range(60)]
    desk = public(*market)
    assert 1 == len(subscribe(desk, "trade", symbol=["BTC/USD"]))
    desk = public(*market)
    snapshot = subscribe(desk, "trade", symbol=["BTC/USD"], snapshot=True)[-1]
    assert [str(i) for i in range(111, 161)] == [x["trade_id"] for x in snapshot["data"]]


def test_a_trade_as_recorded() -> None:
    desk = public(trade(1, -1, "49999.0", "0.09482500", 101))
    subscribe(desk, "trade", symbol=["BTC/USD"])
    desk.go(2)
    [frame] = desk.take()
    assert [
        {
            "symbol": "BTC/USD", "side": "sell", "price": "49999.0", "qty": "0.09482500",
            "ord_type": "limit", "trade_id": "101", "timestamp": "2026-01-01T00:00:01.000000Z",
        }
    ] == frame["data"]  # fmt: skip


def test_the_ticker_moves_with_trades_or_with_the_touch() -> None:
    market = [rows(1, level(1, "50000.5", "1")), trade(2, 1, "50001.0", "0.2", 101)]
    by_trade, by_touch = public(*market), public(*market)
    subscribe(by_trade, "ticker", symbol=["BTC/USD"])
    subscribe(by_touch, "ticker", symbol=["BTC/USD"], event_trigger="bbo")
    for desk in (by_trade, by_touch):
        desk.go(3)
    [first], [second] = by_trade.take(), by_touch.take()
    assert ("50001.0", "0.30000000") == tuple(first["data"][0][k] for k in ("last", "volume"))
    assert ("50000.5", "0.10000000") == tuple(second["data"][0][k] for k in ("bid", "volume"))


def test_candles_come_with_trades_and_never_say_closed() -> None:
    desk = public(
        trade(10, 1, "50010.0", "1", 101), trade(20, -1, "49990.0", "3", 102),
        trade(61, 1, "50020.0", "1", 103),
    )  # fmt: skip
    subscribe(desk, "ohlc", symbol=["BTC/USD"], interval=1)
    desk.go(70)
    candles = [each["data"][0] for each in desk.take()]
    last = candles[1]
    # 0.1 at 50001, 1 at 50010, 3 at 49990: 205 + ... over 4.1 coins
    vwap = (Decimal("5000.1") + 50010 + 3 * 49990) / Decimal("4.1")
    assert ("50001.0", "50010.0", "49990.0", "49990.0", "3") == tuple(
        last[k] for k in ("open", "high", "low", "close", "trades")
    )
    assert str(round(vwap, 1)) == last["vwap"]
    assert "2026-01-01T00:01:00.000000000Z" == candles[2]["interval_begin"]
    assert "50020.0" == candles[2]["open"]


def test_the_instrument_channel_has_an_object_and_small_steps_with_an_exponent() -> None:
    desk = public()
    ack, snapshot = subscribe(desk, "instrument")
    assert "tick_size" in ack["result"]["warnings"][0]
    assert ["BTC", "USD", "ETH"] == [each["id"] for each in snapshot["data"]["assets"]]
    pair = snapshot["data"]["pairs"][0]
    assert ("BTC/USD", "1e-08", "0.1", "0.0001", "1", "8") == tuple(
        pair[k] for k in ("symbol", "qty_increment", "price_increment", "qty_min",
                          "price_precision", "qty_precision")
    )  # fmt: skip


def test_a_change_of_status_sends_the_whole_record_of_that_pair_only() -> None:
    desk = public()
    subscribe(desk, "instrument")
    desk.core.set_pair_status("ETH/USD", "cancel_only")
    desk.go(0.001)
    [frame] = desk.take()
    assert ("update", []) == (frame["type"], frame["data"]["assets"])
    assert [("ETH/USD", "cancel_only")] == [
        (x["symbol"], x["status"]) for x in frame["data"]["pairs"]
    ]


def test_a_gap_of_the_recording_is_seen_by_nobody() -> None:
    """The venue did not lose its book when the recorder did: what changed comes as an update."""
    desk = public(
        rows(1, {"kind": e.GAP, "sym": -1}),
        book(2, {"50000.0": "1"}, {"50001.0": "0.7", "50003.0": "1"}),
    )
    subscribe(desk, "book", symbol=["BTC/USD"])
    desk.go(3)
    [frame] = desk.take()
    assert "update" == frame["type"]
    assert {("49999.0", "0.00000000"), ("50002.0", "0.00000000"), ("50001.0", "0.70000000"),
            ("50003.0", "1.00000000")} == {
        (x["price"], x["qty"]) for side in ("bids", "asks") for x in frame["data"][0][side]
    }  # fmt: skip


def test_level_3_needs_a_token_and_counts_subscriptions() -> None:
    desk = Desk(endpoint="level3")
    [frame] = subscribe(desk, "level3", symbol=["BTC/USD"])
    assert "EGeneral:Invalid arguments:token" == frame["error"]
    desk = Desk(endpoint="level3", level3_rate=100)
    frames = subscribe(desk, "level3", symbol=["BTC/USD", "ETH/USD"], depth=1000, token=desk.token)
    assert ["Exceeded msg rate"] == [each["error"] for each in frames if "error" in each]
    desk.go(1.1)
    assert subscribe(desk, "level3", symbol=["ETH/USD"], depth=1000, token=desk.token)[0]["success"]


# ---- connections ----


def test_heartbeats_come_each_second_from_the_first_subscription_on() -> None:
    desk = public()
    desk.go(5)
    assert {} == desk.frames
    desk.send('{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]}}')
    for _ in range(50):
        desk.go(0.1)
    beats = [x for x in desk.frames[desk.conn] if x.get("channel") == "heartbeat"]
    assert [{"channel": "heartbeat"}] * 5 == beats


def test_an_idle_connection_is_closed_and_a_ping_keeps_it() -> None:
    desk = Desk(endpoint="public", idle_close_s=60.0)
    idle, kept = desk.connect("public"), desk.connect("public")
    for _ in range(7):
        desk.go(10)
        desk.send('{"method":"ping"}', kept)
    assert idle in desk.closed
    assert kept not in desk.closed


def test_150_connections_in_ten_minutes_and_then_a_ban() -> None:
    desk = public()
    assert all(desk.core.may_connect() for _ in range(150))
    assert not desk.core.may_connect()
    desk.go(599)
    assert not desk.core.may_connect()
    desk.go(2)
    assert desk.core.may_connect()


# ---- facts beside texts ----


def test_the_facts_of_a_message_are_those_of_its_text() -> None:
    desk = public(rows(1.0000019, level(1, "50000.5", "1.5"), level(-1, "50001.0", "0")))
    subscribe(desk, "book", symbol=["BTC/USD"])
    desk.go(2)
    [out] = [o for o in desk.core.sent if o.said is not None and o.said.kind == "update"]
    assert out.said is not None
    frame = json.loads(out.text)["data"][0]
    events = events_of(out.said)
    assert [(500005, 150000000, 1, 0), (500010, 0, -1, frame["checksum"])] == [
        tuple(int(row[k]) for k in ("price", "qty", "side", "aux")) for row in events
    ]
    assert {T0 + S + 1000} == set(events["ts_venue"].tolist())  # microseconds, cut
    assert [0, e.LAST | e.CHECKSUM] == events["flags"].tolist()
