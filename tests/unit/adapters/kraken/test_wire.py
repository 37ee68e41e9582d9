"""Frames that Kraken documents, what they say, and what is refused by which name."""

from decimal import Decimal

import pytest

from adapters.kraken import wire
from adapters.kraken.wire import Refused, decode
from tests.support import kraken_frames as frames


@pytest.mark.parametrize("frame", frames.EVERY_FRAME)
def test_every_kind_of_frame_is_known(frame):
    assert not isinstance(decode(frame), Refused)


@pytest.mark.parametrize("frame", frames.EVERY_FRAME)
def test_an_unknown_field_passes_in_every_object(frame):
    """Kraken adds fields without notice, at any depth."""
    grown = frame.replace(b"{", b'{"field_of_tomorrow":[{"x":1.5}],').replace(b",}", b"}")

    assert decode(grown) == decode(frame) or isinstance(decode(frame), wire.Book | wire.Reply)
    assert not isinstance(decode(grown), Refused)


def test_the_order_of_fields_does_not_matter():
    one = b'{"channel":"trade","type":"update","data":[]}'
    other = b'{"data":[],"type":"update","channel":"trade"}'

    assert decode(one) == decode(other) == wire.Trades("update", ())


def test_status_holds_a_connection_id_beyond_63_bits():
    assert decode(frames.STATUS) == wire.Status(
        "online", "2.0.10", "v2", connection_id=12393906104898154338
    )


def test_status_of_2026_announces_maintenance_and_emergency():
    status = decode(frames.STATUS_2026)

    assert status.system == "post_only"
    assert status.upcoming_maintenance[0].phase == "imminent_5m"
    assert status.upcoming_maintenance[0].affected_services == ("spot_ws", "all")
    assert status.emergency[0].impact == "major"


def test_a_book_keeps_its_digits_and_its_stamp():
    book = decode(frames.BOOK_UPDATE)

    assert (book.type, book.symbol, book.checksum) == ("update", "BTC/USD", 1818111995)
    assert book.timestamp == 1_767_607_200_637_700_000
    assert [f"{level.qty:f}" for level in book.bids] == ["0.00000000"]
    assert book.asks == ()


def test_a_snapshot_of_2023_has_no_stamp():
    assert decode(frames.BOOK_SNAPSHOT).timestamp == 0


def test_level3_orders_have_nanoseconds():
    message = decode(frames.LEVEL3_UPDATE)

    assert [order.event for order in message.bids] == ["delete", "add", "modify"]
    assert message.bids[0].timestamp == message.timestamp == 1_767_607_201_541_105_556
    assert str(message.bids[1].order_qty) == "2.80000000"


def test_trades_are_the_takers():
    sell, buy = decode(frames.TRADE).trades

    assert (sell.side, sell.ord_type, sell.trade_id) == ("sell", "limit", 75666635)
    assert (buy.side, buy.ord_type, f"{buy.qty:f}") == ("buy", "market", "0.00000001")


def test_instruments_write_small_increments_with_an_exponent():
    (pair,) = decode(frames.INSTRUMENT).pairs

    assert pair.qty_increment == Decimal("0.00000001")
    assert pair.price_increment == Decimal("0.1")
    assert (pair.qty_precision, pair.price_precision, pair.cost_min) == (8, 1, Decimal("0.5"))


def test_a_candle_has_its_begin_and_its_interval():
    message = decode(frames.OHLC)

    assert message.candles[0].interval_begin == 1_767_607_200_000_000_000
    assert (message.candles[0].interval, str(message.candles[0].open)) == (1, "3027.80")


def test_a_report_says_only_what_is_new():
    (report,) = decode(frames.FILL).reports

    assert (report.exec_id, report.last_qty) == ("TAAAAA-BBBBB-CCCCCC", Decimal("0.00016000"))
    assert report.fees == (wire.Fee("USD", Decimal("0.04051")),)
    assert report.triggers.price == Decimal("58500.0")
    assert (report.limit_price, report.cum_qty, report.cl_ord_id) == (None, None, None)


def test_an_empty_snapshot_of_executions_still_counts():
    assert decode(frames.EXECUTIONS_EMPTY) == wire.Executions("snapshot", 1, ())


def test_a_ledger_entry_is_signed_without_its_fee():
    (entry,) = decode(frames.LEDGER_ENTRY).balances

    assert (entry.amount, entry.fee, entry.balance) == (
        Decimal("-19.9743"),
        Decimal("0.0499"),
        Decimal("118.0677"),
    )


def test_an_acknowledgement_names_channel_symbol_and_warnings():
    reply = decode(frames.SUBSCRIBED)

    assert (reply.method, reply.success, reply.req_id) == ("subscribe", True, 7)
    assert (reply.channel, reply.symbol, reply.warnings) == ("book", "BTC/USD", ("old",))
    assert reply.result["depth"] == 25
    assert reply.time_in == 1_767_607_200_637_700_000


def test_a_failed_subscription_has_its_symbol_at_the_top():
    reply = decode(frames.NOT_SUBSCRIBED)

    assert (reply.success, reply.symbol) == (False, "XXX/USD")
    assert reply.error == "Currency pair not supported XXX/USD"


def test_floats_of_a_result_are_exact():
    frame = b'{"method":"subscribe","success":true,"result":{"fee":0.10000000000000000001}}'

    assert decode(frame).result == {"fee": Decimal("0.10000000000000000001")}


def test_batch_replies_have_two_forms():
    assert len(decode(frames.BATCH_ADDED).result) == 2
    assert decode(frames.BATCH_CANCELLED).orders_cancelled == 2


def test_a_pong_needs_neither_success_nor_result():
    assert decode(b'{"method":"pong","req_id":3}') == wire.Pong(3)
    assert decode(frames.PONG).time_in == 1_767_607_200_637_700_000


def test_a_failed_ping_is_a_reply():
    frame = b'{"error":"Unsupported field","method":"ping","req_id":0,"success":false}'

    assert decode(frame) == wire.Reply("ping", False, 0, "Unsupported field")


BOOK = b'{"channel":"book","type":"update","data":[{"symbol":"A/B","bids":[{"price":%s,"qty":1}]}]}'
REFUSED = [
    (b"", "not a JSON object"),
    (b"CloudFlare WebSocket proxy restarting", "not a JSON object"),
    (b"<html>502</html>", "not a JSON object"),
    (b"[1,2]", "not a JSON object"),
    (b'{"channel":"book"', "not a JSON object"),
    (b"{}", "neither channel nor method"),
    (b'{"channel":7}', "neither channel nor method"),
    (b'{"channel":"spread","type":"update","data":[]}', "unknown channel 'spread'"),
    (b'{"channel":"book","type":"delta","data":[]}', "unknown type 'delta' of book"),
    (b'{"channel":"trade","data":[]}', "unknown type 'None' of trade"),
    (b'{"method":"sell_everything","success":true}', "unknown method 'sell_everything'"),
    (b'{"method":"add_order"}', "malformed reply to add_order: it does not say whether"),
    (b'{"channel":"book","type":"update","data":[]}', "malformed book: Expected `array`"),
    (BOOK % b'"NaN"', "malformed book: a number that is not finite"),
    (BOOK % b"1e99999", "malformed book: a number out of all proportion"),
    (BOOK % b"null", "malformed book: Expected `decimal`"),
    (
        b'{"channel":"trade","type":"update","data":[{"symbol":"A/B","side":"short","price":1,'
        b'"qty":1,"trade_id":1,"timestamp":"2026-01-05T10:00:00Z"}]}',
        "malformed trade: Invalid enum value 'short'",
    ),
    (
        b'{"channel":"trade","type":"update","data":[{"symbol":"A/B","side":"buy","price":1,'
        b'"qty":1,"trade_id":1,"timestamp":"yesterday"}]}',
        "malformed trade: 'yesterday' is not a UTC time",
    ),
    (
        b'{"channel":"level3","type":"update","data":[{"symbol":"A/B","bids":[{"order_id":"O",'
        b'"limit_price":1,"order_qty":1,"timestamp":"2026-01-05T10:00:00Z"}]}]}',
        "malformed level3: orders of an update need an event",
    ),
]


@pytest.mark.parametrize(("frame", "what"), REFUSED)
def test_what_is_not_known_is_refused_by_name_and_kept(frame, what):
    refused = decode(frame)

    assert isinstance(refused, Refused)
    assert refused.what.startswith(what)
    assert refused.raw == frame


def test_a_number_of_a_million_digits_is_refused_at_once():
    """Legal JSON and legal Decimal; whoever makes an integer of it waits for ever."""
    for number in (b"1e999999", b"9" * 100_000, b"0." + b"0" * 100_000 + b"1"):
        for frame in (
            BOOK % number,
            frames.TICKER.replace(b"65972.8", number),
            frames.LEVEL3_UPDATE.replace(b"66560.9", number),
            frames.FILL.replace(b"10.12445", number),
            b'{"method":"add_order","success":true,"result":{"x":[%s]}}' % number,
        ):
            assert isinstance(decode(frame), Refused), frame[:200]
