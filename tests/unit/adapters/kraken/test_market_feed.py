"""What becomes of a message: its events, or a Trouble, and never half of it."""

from decimal import Decimal

import numpy as np
import pytest

from adapters.kraken.feed import (
    BAD_INSTRUMENT,
    BAD_NUMBER,
    CHANGED_STEPS,
    CHECKSUM_MISMATCH,
    CROSSED,
    OTHER_BOOK,
    TRADE_HOLE,
    TRADE_REPEATED,
    UNKNOWN_STATUS,
    MarketFeed,
)
from adapters.kraken.steps import instrument_of, table_of
from adapters.kraken.wire import Book, decode
from engine.events import (
    BOOK_LEVEL,
    BUY,
    CHECKSUM,
    GAP,
    GAP_CHECKSUM,
    GAP_CROSSED,
    GAP_DISCONNECT,
    GAP_SOURCE,
    HEARTBEAT,
    INSTRUMENT,
    L3_ADD,
    L3_DELETE,
    LAST,
    MARKET_ORDER,
    MESSAGE_END,
    NO_SYMBOL,
    RESYNC,
    SELL,
    SNAPSHOT,
    SYSTEM_STATUS,
    TICKER_VOLUME,
    TICKER_VWAP,
    TRADE,
    VERIFIED,
)
from engine.instruments import STATUS_POST_ONLY, Instrument, InstrumentTable
from tests.naive.checksum import crc32_levels
from tests.support import kraken_frames as frames
from tests.support.frames import BookSource, OrderSource, Scale

LOT = Decimal("0.00000001")
BTC = Instrument("BTC/USD", Decimal("0.1"), LOT, 1, 8)
ETH = Instrument("ETH/USD", Decimal("0.05"), LOT, 2, 8)


@pytest.fixture
def feed():
    table = InstrumentTable([BTC, ETH])
    depths = dict.fromkeys(table.symbols, 10)
    return MarketFeed(table, depths, level3_depths={"BTC/USD": 10})


def book(kind, bids, asks, crc=None, symbol="BTC/USD"):
    """One frame; without a checksum if none is given, as the core of a frame is what is tested."""
    sides = [
        "[" + ",".join(f'{{"price":{p},"qty":{q}}}' for p, q in levels) + "]"
        for levels in (bids, asks)
    ]
    tail = "" if crc is None else f',"checksum":{crc}'
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{symbol}","bids":{sides[0]},'
        f'"asks":{sides[1]}{tail},"timestamp":"{frames.T}"}}]}}'
    ).encode()


START = book("snapshot", [("100.0", "1.5")], [("100.5", "2.0")])


def take(feed, frame, ts=1000):
    return feed.take(decode(frame), ts)


def quick(feed, frame, ts=1000):
    return feed.take_frame(frame, ts) or take(feed, frame, ts)


# ---- books ----


def test_a_snapshot_becomes_levels_that_close_with_the_checksum(feed):
    asks, bids = [("100.5", "0.20000000")], [("100.0", "1.50000000")]
    crc = crc32_levels(asks, bids)
    events = take(feed, book("snapshot", bids, asks, crc), ts=5).events

    assert events["kind"].tolist() == [BOOK_LEVEL, BOOK_LEVEL]
    assert events["side"].tolist() == [BUY, SELL]
    assert events["price"].tolist() == [1000, 1005]
    assert events["qty"].tolist() == [150_000_000, 20_000_000]
    assert events["ts"].tolist() == [5, 5]
    assert events["ts_venue"].tolist() == [1_767_607_200_637_700_000] * 2
    assert events["sym"].tolist() == [0, 0]
    assert events["flags"].tolist() == [SNAPSHOT, SNAPSHOT | LAST | CHECKSUM | VERIFIED]
    assert events["aux"].tolist() == [0, crc]


def test_an_update_without_levels_is_still_a_message(feed):
    take(feed, START)
    crc = crc32_levels([("100.5", "2.00000000")], [("100.0", "1.50000000")])
    for way in (take, quick):
        (event,) = way(feed, book("update", [], [], crc)).events
        assert (event["kind"], event["id"], event["aux"]) == (MESSAGE_END, BOOK_LEVEL, crc)
        assert event["flags"] == LAST | CHECKSUM | VERIFIED


def test_an_update_before_its_snapshot_is_dropped_and_counted(feed):
    for way in (take, quick):
        assert len(way(feed, book("update", [("100.0", "1")], [], 1)).events) == 0
    assert feed.counts("BTC/USD") == (0, 0, 2)


def test_the_increment_counts_not_the_precision(feed):
    """ETH moves in steps of 0.05 that are written with two decimals."""
    frame = book("snapshot", [("3000.05", "1")], [("3000.10", "1")], symbol="ETH/USD")

    assert take(feed, frame).events["price"].tolist() == [60_001, 60_002]
    assert take(feed, frame).events["sym"].tolist()[-1] == 1


def test_exponents_blanks_and_other_fields_mean_the_same(feed):
    plain = take(feed, START).events
    other = START.replace(b"100.0", b"1.0E+2").replace(b'{"price"', b'{"new":[1], "price"')
    other = other.replace(b'"qty":1.5}', b'"qty" : 150000000e-8 }')
    again = take(feed, other).events[1:]  # a RESYNC comes before it

    assert again.tolist() == plain.tolist()


@pytest.mark.parametrize(
    ("levels", "text"),
    [
        ([("100.05", "1")], "not a whole number of the pair's steps"),
        ([("100.0", "0.000000001")], "not a whole number of the pair's steps"),
        ([("100.0", "-1")], "negative"),
        ([("-100.0", "1")], "negative"),
        ([("0.0", "1")], "zero"),
        ([("100.0", "1"), ("99.9", "123456789012345678.5")], "too large"),
    ],
)
def test_a_bad_number_is_a_trouble_and_a_gap_and_applies_nothing(feed, levels, text):
    take(feed, START, ts=700)
    for way in (take, quick):
        taken = way(feed, book("update", levels, []), ts=1000)
        (trouble,) = taken.troubles
        assert (trouble.symbol, trouble.cause, trouble.channel) == ("BTC/USD", BAD_NUMBER, "book")
        assert text in trouble.text
        assert trouble.resubscribe
        (gap,) = taken.events
        assert (gap["kind"], gap["id"], gap["aux"], gap["sym"]) == (GAP, GAP_SOURCE, 700, 0)
        assert not feed.synced("BTC/USD")
        # Nothing is applied until a new snapshot; no RESYNC then, as the gap has said it.
        assert len(way(feed, book("update", [("100.0", "9")], [])).events) == 0
        assert take(feed, START, ts=700).events["kind"].tolist() == [BOOK_LEVEL, BOOK_LEVEL]
        assert feed.synced("BTC/USD")


@pytest.mark.parametrize("way", [take, quick])
def test_a_wrong_checksum_is_a_gap_and_the_message_is_not_told(feed, way):
    take(feed, START, ts=700)
    taken = way(feed, book("update", [("100.0", "9")], [], 12345))

    assert [each.cause for each in taken.troubles] == [CHECKSUM_MISMATCH]
    assert "12345" in taken.troubles[0].text
    assert taken.events["kind"].tolist() == [GAP]
    assert taken.events["id"].tolist() == [GAP_CHECKSUM]
    assert feed.counts("BTC/USD") == (0, 1, 0)


@pytest.mark.parametrize("way", [take, quick])
def test_a_crossed_book_is_a_gap(feed, way):
    take(feed, START)
    bids = [("100.5", "0.00000010"), ("100.0", "1.50000000")]
    crc = crc32_levels([("100.5", "2.00000000")], bids)  # which does not see it
    taken = way(feed, book("update", bids[:1], [], crc))

    assert [each.cause for each in taken.troubles] == [CROSSED]
    assert taken.events["id"].tolist() == [GAP_CROSSED]


def test_another_symbol_goes_on_when_one_has_trouble(feed):
    take(feed, START)
    eth = book("snapshot", [("3000.05", "1")], [("3000.10", "1")], symbol="ETH/USD")
    take(feed, eth)
    take(feed, book("update", [("100.0", "-1")], []))

    assert not feed.synced("BTC/USD")
    assert feed.synced("ETH/USD")


def test_a_second_snapshot_is_announced(feed):
    """Somebody subscribed again: what was between is not order flow."""
    take(feed, START)
    events = take(feed, START).events

    assert events["kind"].tolist() == [RESYNC, BOOK_LEVEL, BOOK_LEVEL]


def test_after_an_unsubscription_late_updates_are_dropped(feed):
    take(feed, START)
    assert feed.expect_snapshot("BTC/USD", 5)["kind"].tolist() == [RESYNC]
    assert feed.expect_snapshot("BTC/USD", 6)["kind"].tolist() == []
    assert len(quick(feed, book("update", [("100.0", "9")], [])).events) == 0
    assert take(feed, START).events["kind"].tolist() == [BOOK_LEVEL, BOOK_LEVEL]


def test_a_lost_connection_is_one_gap_for_all(feed):
    take(feed, START, ts=800)
    (gap,) = feed.lost(900, GAP_DISCONNECT)

    assert (gap["kind"], gap["sym"], gap["id"], gap["aux"]) == (GAP, NO_SYMBOL, GAP_DISCONNECT, 800)
    assert not feed.synced("BTC/USD")


def test_levels_beyond_the_depth_are_cut():
    feed = MarketFeed(InstrumentTable([BTC]), {"BTC/USD": 1})
    take(feed, START)
    take(feed, book("update", [("100.1", "1")], []))
    # 100.0 fell out: a checksum that still had it would not match.
    crc = crc32_levels([("100.5", "2.00000000")], [("100.1", "3.00000000")])

    assert quick(feed, book("update", [("100.1", "3")], [], crc)).troubles == ()


def test_a_message_of_thousands_of_levels_finds_room(feed):
    bids = [(f"{90_000 - i / 10:.1f}", "1") for i in range(40_000)]
    wide = MarketFeed(InstrumentTable([BTC]), {"BTC/USD": 1000}, verify=False)

    assert len(take(wide, book("snapshot", bids, [("90001.0", "1")])).events) == 40_001


def test_events_that_were_handed_out_never_change(feed):
    take(feed, START)
    held = quick(feed, book("update", [("100.0", "7")], [])).events
    copy = held.tolist()
    for i in range(40_000):
        quick(feed, book("update", [("99.9", str(1 + i % 5))], []))
    assert held.tolist() == copy


def test_without_verification_the_checksum_is_carried_only():
    feed = MarketFeed(InstrumentTable([BTC]), {"BTC/USD": 10}, verify=False)
    events = take(feed, book("snapshot", [("1.0", "1")], [("2.0", "1")], 99)).events

    assert events["flags"][-1] == SNAPSHOT | LAST | CHECKSUM
    assert events["aux"][-1] == 99


def test_a_symbol_that_nobody_asked_for_leaves_nothing(feed):
    assert len(take(feed, book("snapshot", [("1", "1")], [], symbol="SOL/USD")).events) == 0


# ---- level 3 ----


def test_level3_ends_each_message_with_its_checksum(feed):
    source = OrderSource(Scale(), 10, seed=3)
    snapshot = take(feed, source.snapshot())
    update = take(feed, source.update())

    for taken in (snapshot, update):
        assert taken.troubles == ()
        assert taken.events[-1]["kind"] == MESSAGE_END
        assert taken.events[-1]["flags"] & (CHECKSUM | VERIFIED | LAST)
        assert not (taken.events["flags"][:-1] & LAST).any()
    assert (snapshot.events["flags"] & SNAPSHOT != 0).all()


def test_trouble_with_one_book_of_a_symbol_resets_the_other(feed):
    """A GAP event is about a symbol; a reader of the log distrusts both books."""
    source = OrderSource(Scale(), 10, seed=3)
    take(feed, source.snapshot())
    take(feed, START)
    taken = take(feed, book("update", [("100.0", "-1")], []))

    assert [(each.channel, each.cause) for each in taken.troubles] == [
        ("book", BAD_NUMBER),
        ("level3", OTHER_BOOK),
    ]
    assert not feed.synced("BTC/USD", "level3")


def test_a_modify_at_another_price_is_a_delete_and_an_add():
    feed = MarketFeed(InstrumentTable([BTC]), {}, level3_depths={"BTC/USD": 10})
    take(feed, frames.LEVEL3_SNAPSHOT.replace(b'"checksum":1361442827,', b""))
    moved = (
        '{"channel":"level3","type":"update","data":[{"symbol":"BTC/USD","bids":[{"event":'
        '"modify","order_id":"OAAAAA-BBBBB-CCCCCC","limit_price":66579.1,"order_qty":1.0,'
        f'"timestamp":"{frames.T9}"}}],"asks":[]}}]}}'
    ).encode()

    assert take(feed, moved).events["kind"].tolist() == [L3_DELETE, L3_ADD, MESSAGE_END]
    assert feed.orders("BTC/USD").queue(0) == [(665_791, [("OAAAAA-BBBBB-CCCCCC", 100_000_000)])]


# ---- trades and tickers ----


def test_trades_carry_side_id_stamp_and_market_orders(feed):
    events = take(feed, frames.TRADE).events

    assert events["kind"].tolist() == [TRADE, TRADE]
    assert events["side"].tolist() == [SELL, BUY]
    assert events["price"].tolist() == [894_100, 894_101]
    assert events["qty"].tolist() == [9_482_500, 1]
    assert events["id"].tolist() == [75666635, 75666636]
    assert events["flags"].tolist() == [0, LAST | MARKET_ORDER]
    assert events["ts_venue"].tolist() == [1_767_607_200_637_700_000] * 2


def test_trades_of_a_snapshot_are_history(feed):
    events = take(feed, frames.TRADE.replace(b'"update"', b'"snapshot"')).events

    assert (events["flags"] & SNAPSHOT != 0).all()


def test_a_trade_that_comes_twice_is_told_once(feed):
    take(feed, frames.TRADE)
    taken = take(feed, frames.TRADE)

    assert len(taken.events) == 0
    assert {each.cause for each in taken.troubles} == {TRADE_REPEATED}


def test_a_hole_in_the_trade_ids_is_named(feed):
    take(feed, frames.TRADE)
    later = frames.TRADE.replace(b"75666635", b"75666640").replace(b"75666636", b"75666641")
    taken = take(feed, later)

    assert [each.cause for each in taken.troubles] == [TRADE_HOLE]
    assert "75666637 to 75666639" in taken.troubles[0].text
    assert len(taken.events) == 2
    assert not taken.troubles[0].resubscribe


def test_a_snapshot_that_begins_too_late_leaves_a_hole(feed):
    """After a long break fifty trades are not enough; what they repeat is history, not news."""
    snapshot = frames.TRADE.replace(b'"update"', b'"snapshot"')
    take(feed, snapshot)
    assert take(feed, snapshot).troubles == ()
    later = snapshot.replace(b"75666635", b"75666640").replace(b"75666636", b"75666641")
    taken = take(feed, later)

    assert [each.cause for each in taken.troubles] == [TRADE_HOLE]
    assert len(taken.events) == 2


@pytest.mark.parametrize("wrong", [b"89410.15", b"-1", b"0.0"])
def test_one_bad_trade_refuses_its_message(feed, wrong):
    taken = take(feed, frames.TRADE.replace(b"89410.1", wrong))

    assert len(taken.events) == 0
    assert [(each.cause, each.channel) for each in taken.troubles] == [(BAD_NUMBER, "trade")]


def test_a_ticker_has_a_row_per_field_and_rounds_only_the_average(feed):
    events = take(feed, frames.TICKER).events
    by_field = {int(row["id"]): row for row in events}

    assert len(events) == 7
    assert by_field[TICKER_VOLUME]["qty"] == 421_661_829_370
    assert by_field[TICKER_VWAP]["price"] == 642_753  # 64275.25, half up
    assert (events["flags"] & SNAPSHOT != 0).all()
    assert events["flags"][-1] & LAST


def test_a_ticker_of_a_pair_that_never_traded_has_fewer_rows(feed):
    frame = (
        b'{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":1.0,"bid_qty":2}]}'
    )

    assert len(take(feed, frame).events) == 1


def test_status_and_heartbeat(feed):
    (status,) = take(feed, frames.STATUS_2026).events
    (beat,) = take(feed, frames.HEARTBEAT).events

    assert (status["kind"], status["aux"]) == (SYSTEM_STATUS, STATUS_POST_ONLY)
    assert (beat["kind"], beat["sym"]) == (HEARTBEAT, NO_SYMBOL)


def test_a_state_that_we_do_not_know_is_told(feed):
    taken = take(feed, frames.STATUS.replace(b"online", b"asleep"))

    assert len(taken.events) == 0
    assert [each.cause for each in taken.troubles] == [UNKNOWN_STATUS]


def test_candles_and_private_messages_leave_nothing(feed):
    for frame in (frames.OHLC, frames.FILL, frames.LEDGER_ENTRY, frames.PONG, b"nonsense"):
        assert len(take(feed, frame).events) == 0


# ---- instruments ----


def pair(symbol="SOL/USD", price_increment="0.01", status="online"):
    return (
        f'{{"symbol":"{symbol}","base":"X","quote":"USD","status":"{status}","qty_precision":8,'
        f'"qty_increment":1e-08,"price_precision":2,"price_increment":{price_increment},'
        '"cost_min":0.5,"qty_min":0.02}'
    )


def instruments(kind, *pairs):
    return (
        f'{{"channel":"instrument","type":"{kind}","data":{{"assets":[],"pairs":[{",".join(pairs)}]}}}}'
    ).encode()


def test_a_wanted_pair_is_appended_and_others_wait(feed):
    feed.follow("SOL/USD", 10)
    events = take(feed, instruments("snapshot", pair(), pair("DOT/USD"))).events

    assert feed.instruments.symbols == ("BTC/USD", "ETH/USD", "SOL/USD")
    assert [(row["kind"], row["sym"], row["aux"]) for row in events] == [(INSTRUMENT, 2, 0)]
    feed.follow("DOT/USD", 10)
    assert feed.instruments.symbols[3] == "DOT/USD"
    frame = book("snapshot", [("7.01", "1")], [("7.02", "1")], symbol="DOT/USD")
    assert take(feed, frame).events["sym"].tolist() == [3, 3]


def test_a_status_change_is_an_event(feed):
    frame = instruments("update", pair("ETH/USD", "0.05", "post_only"))
    (event,) = take(feed, frame).events

    assert (event["sym"], event["aux"], event["flags"]) == (1, STATUS_POST_ONLY, LAST)
    assert feed.instruments["ETH/USD"].status == "post_only"


def test_other_increments_reset_the_book_of_the_pair(feed):
    eth = book("snapshot", [("3000.05", "1")], [("3000.10", "1")], symbol="ETH/USD")
    take(feed, eth)
    taken = take(feed, instruments("update", pair("ETH/USD", "0.01")))

    assert [(each.cause, each.channel) for each in taken.troubles] == [
        (CHANGED_STEPS, "instrument"),
        (CHANGED_STEPS, "book"),
    ]
    assert taken.events["kind"].tolist() == [GAP, INSTRUMENT]
    assert not feed.synced("ETH/USD")
    assert take(feed, eth).events["price"].tolist() == [300_005, 300_010]


def test_a_pair_that_contradicts_itself_is_told_and_changes_nothing(feed):
    before = feed.instruments["ETH/USD"]
    taken = take(feed, instruments("update", pair("ETH/USD", "0.003"), pair("BTC/USD")))

    assert (taken.troubles[0].symbol, taken.troubles[0].cause) == ("ETH/USD", BAD_INSTRUMENT)
    assert feed.instruments["ETH/USD"] == before


def test_a_table_keeps_the_order_that_is_asked_for():
    message = decode(instruments("snapshot", pair("SOL/USD"), pair("DOT/USD"), pair("A/", "0.1")))

    assert table_of(message).symbols == ("DOT/USD", "SOL/USD")
    assert table_of(message, ["SOL/USD", "DOT/USD"]).symbols == ("SOL/USD", "DOT/USD")
    with pytest.raises(ValueError, match="symbol"):
        instrument_of(message.pairs[2])


def test_the_quick_road_is_the_usual_one(feed):
    """Event for event over a session of a generated market, verified by the naive checksum."""
    other = MarketFeed(InstrumentTable([BTC]), {"BTC/USD": 10})
    source = BookSource(Scale(), 10, seed=11)
    for i in range(1500):
        frame = source.update() if i % 500 else source.snapshot()
        usual, short = other.take(decode(frame), i), quick(feed, frame, i)
        assert isinstance(decode(frame), Book)
        assert usual.troubles == short.troubles == ()
        assert np.array_equal(usual.events, short.events)
    assert feed.counts("BTC/USD") == other.counts("BTC/USD") == (1500, 0, 0)


def test_unfollowing_forgets_the_book(feed):
    take(feed, START)
    assert feed.unfollow("BTC/USD", 9)["kind"].tolist() == [RESYNC]
    assert feed.book("BTC/USD") is None
    assert len(quick(feed, book("update", [("100.0", "9")], [])).events) == 0
