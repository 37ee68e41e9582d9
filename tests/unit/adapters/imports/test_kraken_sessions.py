"""Kraken sessions made by hand from the documented layouts: what goes wrong, and what is said."""

import json

import numpy as np
import pytest

from adapters.imports import kraken_v1_book, kraken_v2_book
from engine.errors import ConfigError, DataError
from engine.events import (
    BOOK_LEVEL,
    FAILED,
    GAP,
    GAP_BACKWARDS,
    GAP_DISCONNECT,
    GAP_SOURCE,
    INSTRUMENT,
    KIND_NAMES,
    LAST,
    MARKET_ORDER,
    MESSAGE_END,
    NO_SYMBOL,
    RESYNC,
    SNAPSHOT,
    SYSTEM_STATUS,
    TICKER,
    TICKER_VWAP,
    TRADE,
    VERIFIED,
)
from engine.instruments import STATUS_CANCEL_ONLY, STATUS_ONLINE
from tests.naive.kraken_text import TextBook


class Session:
    """Writes v2 lines with right checksums from its own book of text."""

    def __init__(self, symbol="BTC/USD", depth=10):
        self.symbol, self.book = symbol, TextBook(depth)
        self.lines = []
        self.second = 0

    def add(self, text):
        self.lines.append(text if isinstance(text, str) else json.dumps(text))
        return self

    def message(self, kind, bids, asks, crc=None, second=None):
        """One book message; numbers stand in the JSON exactly as the texts given."""
        if kind == "snapshot":
            self.book.clear()
        self.book.message(bids, asks)
        self.second = self.second + 1 if second is None else second
        sides = [
            ",".join(f'{{"price":{p},"qty":{q}}}' for p, q in levels) for levels in (bids, asks)
        ]
        crc = self.book.checksum() if crc is None else crc
        return self.add(
            f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{self.symbol}",'
            f'"bids":[{sides[0]}],"asks":[{sides[1]}],"checksum":{crc},'
            f'"timestamp":"2026-01-01T00:{self.second // 60:02}:{self.second % 60:02}.500000Z"}}]}}'
        )

    def start(self):
        return self.message(
            "snapshot", [("100.0", "1.00000000"), ("99.9", "2.00000000")], [("100.1", "0.50000000")]
        )

    def write(self, path):
        file = path / "frames.jsonl"
        file.write_text("\n".join(self.lines) + "\n")
        return file


def read(path, **options):
    found = kraken_v2_book.read(path, **options)
    return found, found.read_all()


def kinds(events):
    return [KIND_NAMES[int(kind)] for kind in events["kind"]]


def test_a_sound_session_verifies(tmp_path):
    path = Session().start().message("update", [("99.9", "0.00000000")], []).write(tmp_path)

    found, events = read(path)

    assert dict(found.summary.checksums_verified) == {"BTC/USD": 2}
    assert events["price"].tolist() == [1000, 999, 1001, 999]
    assert events["qty"].tolist() == [100_000_000, 200_000_000, 50_000_000, 0]
    assert (events["flags"][2] & (LAST | SNAPSHOT | VERIFIED)) == LAST | SNAPSHOT | VERIFIED
    assert int(events["ts"][0]) == 1767225601_500000000
    assert events["seq"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("qty", "reason", "sym"),
    [
        # Not JSON's idea of a number: the frame is refused before anyone knows its pair.
        ('"NaN"', "book message of another shape", NO_SYMBOL),
        ("-1.00000000", "quantity negative", 0),
        ("1e30", "quantity too large", 0),
    ],
)
def test_a_message_with_a_wrong_number_is_rejected_whole(tmp_path, qty, reason, sym):
    session = Session().start()
    session.message("update", [("99.8", "3.00000000"), ("99.7", "4.00000000")], [])
    session.lines[-1] = session.lines[-1].replace("4.00000000", qty)
    path = session.message("update", [("99.6", "1.00000000")], []).write(tmp_path)

    found, events = read(path, lot_size="0.00000001", tick_size="0.1")

    assert found.summary.rejects == {reason: 1}
    assert 998 not in events["price"].tolist()  # nothing half applied
    gap = events[events["kind"] == GAP][0]
    assert (int(gap["id"]), int(gap["sym"])) == (GAP_SOURCE, sym)
    # From here on the book is wrong, and the checksums say so.
    assert events["flags"][events["kind"] == BOOK_LEVEL][-1] & FAILED
    assert found.summary.n_failed == 1


def test_a_price_off_the_given_grid_is_rejected(tmp_path):
    session = Session().start().message("update", [("99.95", "1.00000000")], [])

    found, events = read(session.write(tmp_path), tick_size="0.1")

    assert found.summary.rejects == {"price off the grid": 1}
    gaps = events[events["kind"] == GAP]
    assert GAP_SOURCE in gaps["id"].tolist()
    assert 99.95 * 10 not in events["price"].tolist()


def test_updates_before_the_snapshot_and_after_an_unsubscribe_are_discarded(tmp_path):
    session = Session()
    session.message("update", [("99.9", "1.00000000")], [])
    session.book.clear()
    session.start()
    answer = {"channel": "book", "symbol": "BTC/USD"}
    session.add({"method": "unsubscribe", "success": True, "result": answer})
    session.message("update", [("99.8", "1.00000000")], [])
    path = session.start().write(tmp_path)

    found, events = read(path)

    assert found.summary.rejects == {
        "book update before its snapshot": 1,
        "book update between unsubscribe and snapshot": 1,
    }
    assert kinds(events) == ["book_level"] * 3 + ["resync"] + ["book_level"] * 3
    assert found.summary.n_failed == 0


def test_a_second_snapshot_without_notice_is_a_resync(tmp_path):
    path = Session().start().start().write(tmp_path)

    _, events = read(path)

    assert kinds(events) == ["book_level"] * 3 + ["resync"] + ["book_level"] * 3


def test_a_new_connection_makes_every_book_wait(tmp_path):
    status = {"channel": "status", "type": "update"}
    session = Session()
    session.add(status | {"data": [{"system": "online", "connection_id": 1 << 63}]})
    session.start()
    session.add(status | {"data": [{"system": "cancel_only", "connection_id": 5}]})
    path = session.message("update", [("99.9", "1.00000000")], []).write(tmp_path)

    found, events = read(path)

    assert kinds(events)[-3:] == ["gap", "resync", "system_status"]
    states = events[events["kind"] == SYSTEM_STATUS]
    assert states["aux"].tolist() == [STATUS_ONLINE, STATUS_CANCEL_ONLY]
    # What came before the first time of all gets that time.
    assert int(states["ts"][0]) == int(events["ts"][1])
    assert int(events[events["kind"] == RESYNC]["id"][0]) == GAP_DISCONNECT
    assert found.summary.rejects == {"book update between unsubscribe and snapshot": 1}


def test_a_thin_and_an_empty_book_are_legal(tmp_path):
    session = Session().message("snapshot", [], [])
    path = session.message("update", [("5.0", "1.00000000")], []).write(tmp_path)

    found, events = read(path)

    assert events["kind"].tolist() == [MESSAGE_END, BOOK_LEVEL]
    assert int(events["id"][0]) == BOOK_LEVEL
    assert int(events["aux"][0]) == 0  # the checksum of nothing
    assert found.summary.n_verified == 2


def test_the_same_price_twice_in_a_message_means_the_last(tmp_path):
    session = Session().start()
    levels = [("99.9", "7.00000000"), ("99.9", "0.00000000"), ("99.9", "3.00000000")]

    found, _ = read(session.message("update", levels, []).write(tmp_path))

    assert found.summary.n_verified == 2


def test_time_that_steps_back_is_a_gap_and_ts_never_decreases(tmp_path):
    session = Session().start()
    session.message("update", [("99.9", "1.00000000")], [], second=100)
    session.message("update", [("99.9", "2.00000000")], [], second=50)
    path = session.message("update", [("99.9", "3.00000000")], [], second=51).write(tmp_path)

    found, events = read(path)

    gaps = events[events["kind"] == GAP]
    assert gaps["id"].tolist() == [GAP_BACKWARDS]  # one, where it steps; not one per message
    assert (np.diff(events["ts"]) >= 0).all()
    assert int(events["ts_venue"][-1]) < int(events["ts"][-1])
    assert found.summary.n_backwards == 1
    assert found.summary.backwards_ns_max == 50_000_000_000
    assert found.summary.n_verified == 4


def test_lines_that_are_not_json_are_declared_and_a_gap(tmp_path):
    session = Session().start().add('{"channel":"book","type":"upd').add("hello").add("\ufeff")
    path = session.message("update", [("99.9", "1.00000000")], []).write(tmp_path)

    found, events = read(path)

    assert found.summary.n_rejected == 3
    assert found.summary.rows_in == 5
    assert (events["kind"] == GAP).sum() == 3
    assert all("frames.jsonl line" in sample for sample in found.summary.samples)


def test_a_byte_order_mark_and_carriage_returns_do_no_harm(tmp_path):
    path = Session().start().message("update", [("99.9", "1.00000000")], []).write(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")

    found, _ = read(path)

    assert found.summary.n_verified == found.summary.rows_in == 2


def test_unknown_channels_and_methods_are_not_lost_in_silence(tmp_path):
    session = Session().start()
    session.add({"channel": "ohlc", "type": "update", "data": [{}]})
    path = session.add({"method": "pong", "req_id": 1}).write(tmp_path)

    found, _ = read(path)

    assert found.summary.rejects == {"channel 'ohlc' is not imported": 1}
    assert found.summary.rows_used["answer to pong"] == 1


def test_trades_tickers_and_instruments_of_v2(tmp_path):
    trade = (
        '{"channel":"trade","type":"%s","data":[{"symbol":"BTC/USD","side":"sell","price":100.0,'
        '"qty":0.09482500,"ord_type":"market","trade_id":75666635,'
        '"timestamp":"2026-01-01T00:00:09.512308Z"}]}'
    )
    ticker = (
        '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":100.0,'
        '"bid_qty":1.00000000,"ask":100.1,"ask_qty":0.50000000,"last":100.0,"volume":12.5,'
        '"vwap":100.04,"low":99.0,"high":101.0,"change":0.1,"change_pct":0.1}]}'
    )
    session = Session().start().add(trade % "snapshot").add(trade % "update").add(ticker)
    session.add(
        {
            "channel": "instrument",
            "type": "snapshot",
            "data": {"assets": [], "pairs": [{"symbol": "BTC/USD", "status": "online"}]},
        }
    )

    found, events = read(session.write(tmp_path))

    trades = events[events["kind"] == TRADE]
    assert trades["flags"].tolist() == [LAST | MARKET_ORDER | SNAPSHOT, LAST | MARKET_ORDER]
    assert (int(trades["side"][1]), int(trades["id"][1])) == (-1, 75666635)
    assert int(trades["qty"][1]) == 9_482_500
    tickers = events[events["kind"] == TICKER]
    assert len(tickers) == 7
    assert int(tickers["price"][tickers["id"] == TICKER_VWAP][0]) == 1000
    assert int(events[events["kind"] == INSTRUMENT]["aux"][0]) == STATUS_ONLINE
    assert [c.name for c in found.channels] == ["book", "trade", "ticker"]


def test_pairs_can_be_picked(tmp_path):
    session = Session().start()
    other = Session("ETH/USD").start()
    session.lines += other.lines
    path = session.write(tmp_path)

    found, events = read(path, symbols=["ETH/USD"])

    assert found.instruments.symbols == ("ETH/USD",)
    assert len(events) == 3
    assert found.summary.rows_used["pairs not asked for"] == 1
    with pytest.raises(DataError, match="does not hold DOGE/USD"):
        kraken_v2_book.read(path, symbols=["XDG/USD"])
    with pytest.raises(DataError, match="unknown symbol 'BTC/USD'"):
        kraken_v2_book.read(path, instruments=found.instruments)
    with pytest.raises(DataError, match="not steps above zero"):
        kraken_v2_book.read(path, tick_size="zero")


def test_an_empty_file_and_the_wrong_version_are_refused(tmp_path):
    path = tmp_path / "empty.jsonl"
    path.write_text("")
    with pytest.raises(DataError, match="no book, trade or ticker message of v2"):
        kraken_v2_book.read(path)
    path.write_text('[336,{"as":[["1.0","1.0","1.0"]],"bs":[]},"book-10","XBT/USD"]\n')
    with pytest.raises(DataError, match="kraken-v1-book"):
        kraken_v2_book.read(path)
    path.write_text(Session().start().lines[0] + "\n")
    with pytest.raises(DataError, match="kraken-v2-book"):
        kraken_v1_book.read(path)
    with pytest.raises(DataError, match="does not exist"):
        kraken_v1_book.read(tmp_path / "nothing.jsonl")


def test_a_monotonic_clock_needs_one_time_of_the_venue(tmp_path):
    frame = {"channel": "trade", "type": "update", "data": []}
    book = json.loads(Session().start().lines[0])
    del book["data"][0]["timestamp"]
    lines = [{"rx_ns": 5, "dir": "rx", "frame": json.dumps(each)} for each in (frame, book)]
    path = tmp_path / "frames.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))

    with pytest.raises(DataError, match="UTC time is unknown"):
        kraken_v2_book.read(path)


def test_a_recording_without_any_time_is_refused(tmp_path):
    path = Session().start().write(tmp_path)
    path.write_text(path.read_text().replace(',"timestamp":"2026-01-01T00:00:01.500000Z"', ""))

    with pytest.raises(DataError, match="no message carries a time"):
        kraken_v2_book.read(path)


# ---- v1 ----

V1_LINES = [
    '{"connectionID":7,"event":"systemStatus","status":"online","version":"1.9.1"}',
    '{"channelID":336,"channelName":"book-10","event":"subscriptionStatus","pair":"XDG/USD",'
    '"status":"subscribed","subscription":{"depth":10,"name":"book"}}',
    '[336,{"as":[["0.10010","5.00000000","1693415327.935623"]],'
    '"bs":[["0.10000","1.00000000","1693415328.088361"]]},"book-10","XDG/USD"]',
    # Two halves in one message; the republished level has an old stamp.
    '[336,{"a":[["0.10010","4.00000000","1693415330.621700"]]},'
    '{"b":[["0.09990","2.00000000","1693415100.000000","r"]],"c":"974947235"},'
    '"book-10","XDG/USD"]',
    '[337,[["0.10010","1.50000000","1693415331.000100","b","m",""],'
    '["0.10020","0.50000000","1693415331.000200","b","m",""]],"trade","XDG/USD"]',
]


def write_v1(tmp_path, lines):
    path = tmp_path / "v1.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_v1_message_in_two_halves_and_republished_levels(tmp_path):
    found = kraken_v1_book.read(write_v1(tmp_path, V1_LINES))
    events = found.read_all()

    assert found.instruments.symbols == ("DOGE/USD",)
    levels = events[events["kind"] == BOOK_LEVEL]
    assert levels["price"].tolist() == [1001, 1000, 1001, 999]  # a tick of 0.0001 was needed
    assert int(levels["ts"][-1]) == 1693415330_621700000
    assert int(levels["aux"][-1]) == 974947235
    assert levels["flags"][-1] & FAILED  # not the checksum of this book
    trades = events[events["kind"] == TRADE]
    assert trades["flags"].tolist() == [MARKET_ORDER, MARKET_ORDER | LAST]
    assert trades["ts_venue"].tolist() == [1693415331_000100000, 1693415331_000200000]


def test_v1_odd_lines_are_declared(tmp_path):
    lines = [
        *V1_LINES,
        '{"event":"surprise"}',
        '{"event":"systemStatus","status":"sleepy"}',
        '[336,{"a":[["0.10010"]]},"book-10","XDG/USD"]',
        '[1,[1],"spread","XDG/USD"]',
        "[1,2]",
        '[336,{"a":[["abc","1.0","1693415332.0"]],"c":"1"},"book-10","XDG/USD"]',
    ]

    found = kraken_v1_book.read(write_v1(tmp_path, lines))
    found.read_all()

    assert found.summary.rejects == {
        "unknown event 'surprise'": 1,
        "unknown status 'sleepy'": 1,
        "book-10 message of another shape": 1,
        "channel 'spread' is not imported": 1,
        "not a v1 message": 1,
        "price not a number": 1,
    }


def test_v1_unsubscribe_and_reconnect(tmp_path):
    unsubscribed = (
        '{"channelID":336,"channelName":"book-10","event":"subscriptionStatus",'
        '"pair":"XDG/USD","status":"unsubscribed"}'
    )
    reconnect = '{"connectionID":8,"event":"systemStatus","status":"online"}'
    lines = [*V1_LINES, unsubscribed, V1_LINES[3], V1_LINES[2], reconnect, V1_LINES[3]]

    found = kraken_v1_book.read(write_v1(tmp_path, lines))
    events = found.read_all()

    assert found.summary.rejects == {"book update between unsubscribe and snapshot": 2}
    assert events[events["kind"] == RESYNC]["id"].tolist() == [GAP_SOURCE, GAP_DISCONNECT]


def test_depth_beyond_the_window_is_refused():
    from adapters.imports.windowed import windowed

    with pytest.raises(ConfigError, match="not between 0 and 1000"):
        next(windowed(iter(()), None, 5000))
