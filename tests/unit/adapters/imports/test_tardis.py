"""Tardis CSV made by hand from its documentation: messages, resets, damage."""

import gzip
from decimal import Decimal

import numpy as np
import pytest

from adapters.imports import tardis
from adapters.imports.formats import FORMATS, detect
from engine.errors import DataError
from engine.events import (
    BOOK_LEVEL,
    BUY,
    GAP,
    GAP_BACKWARDS,
    GAP_SOURCE,
    KIND_NAMES,
    LAST,
    RESYNC,
    SELL,
    SNAPSHOT,
    TRADE,
)

BOOK_HEADER = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"
TRADE_HEADER = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount"
T0 = 1_600_000_000_000_000  # microseconds


def book_row(t, snapshot, side, price, amount, symbol="XBT/USD", venue=None):
    at = T0 + t
    stamp = at - 1000 if venue is None else T0 + venue
    return f"kraken,{symbol},{stamp},{at},{'true' if snapshot else 'false'},{side},{price},{amount}"


def trade_row(t, side, price, amount, trade_id="", symbol="XBT/USD"):
    return f"kraken,{symbol},{T0 + t - 1000},{T0 + t},{trade_id},{side},{price},{amount}"


def write(path, header, rows, ending="\n"):
    text = ending.join([header, *rows]) + ending
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


START = [
    book_row(0, True, "bid", "100.5", "2"),
    book_row(0, True, "bid", "100", "3.25"),
    book_row(0, True, "ask", "101", "1"),
]


def kinds(events):
    return [KIND_NAMES[int(kind)] for kind in events["kind"]]


def test_rows_with_one_receive_time_are_one_message(tmp_path):
    rows = [
        *START,
        book_row(5, False, "bid", "100.5", "0"),
        book_row(5, False, "ask", "101", "4"),
        book_row(6, False, "ask", "101", "5"),
    ]
    path = write(tmp_path / "kraken_book.csv.gz", BOOK_HEADER, rows)

    found = tardis.read(path)
    events = found.read_all()

    assert found.instruments.symbols == ("BTC/USD",)
    assert found.instruments[0].price_increment == Decimal("0.1")
    assert found.instruments[0].qty_increment == Decimal("0.01")
    assert events["price"].tolist() == [1005, 1000, 1010, 1005, 1010, 1010]
    assert events["qty"].tolist() == [200, 325, 100, 0, 400, 500]
    assert events["side"].tolist() == [BUY, BUY, SELL, BUY, SELL, SELL]
    last, snapshot = LAST, SNAPSHOT
    assert events["flags"].tolist() == [snapshot, snapshot, snapshot | last, 0, last, last]
    assert (events["ts"] - events["ts_venue"]).tolist() == [1_000_000] * 6
    assert int(events["ts"][0]) == T0 * 1000
    assert [(c.name, c.depth) for c in found.channels] == [("book", 1000)]
    assert found.venue == "kraken"
    assert found.summary.rows_used == {"book level": 6}


def test_a_snapshot_after_updates_is_a_reset(tmp_path):
    rows = [*START, book_row(5, False, "ask", "101", "4"), book_row(9, True, "bid", "99", "1")]
    rows += [book_row(10, True, "ask", "99.5", "1"), book_row(11, False, "ask", "99.5", "2")]
    found = tardis.read(write(tmp_path / "a.csv", BOOK_HEADER, rows))
    events = found.read_all()

    assert kinds(events) == ["book_level"] * 4 + ["resync"] + ["book_level"] * 3
    # A run of snapshot rows is one snapshot, even where their receive times differ.
    assert events["flags"].tolist()[5:] == [SNAPSHOT, SNAPSHOT | LAST, LAST]
    assert (events["ts"][4:7] == (T0 + 10) * 1000).all()


def test_updates_before_the_first_snapshot_are_rejected(tmp_path):
    rows = [book_row(-5, False, "bid", "90", "1"), *START]
    found = tardis.read(write(tmp_path / "a.csv", BOOK_HEADER, rows))

    assert len(found.read_all()) == 3
    assert found.summary.rejects == {"book update before its snapshot": 1}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (book_row(5, False, "bid", "NaN", "1"), "price not a number"),
        (book_row(5, False, "bid", "100", "-1"), "amount negative"),
        (book_row(5, False, "bid", "0", "1"), "price zero"),
        (book_row(5, False, "bid", "100.55", "1"), "price off the grid"),
        (book_row(5, False, "middle", "100", "1"), "side neither bid nor ask"),
        (
            book_row(5, "", "bid", "100", "1").replace("false", "maybe"),
            "is_snapshot neither true nor false",
        ),
        (
            book_row(5, False, "bid", "100", "1").replace(f"{T0 + 5},", "soon,"),
            "local_timestamp not a number",
        ),
    ],
)
def test_a_message_with_a_wrong_row_is_rejected_whole_and_a_gap(tmp_path, row, reason):
    rows = [
        *START,
        book_row(5, False, "ask", "101", "4"),
        row,
        book_row(6, False, "bid", "100", "7"),
    ]
    path = write(tmp_path / "a.csv", BOOK_HEADER, rows)

    found = tardis.read(path, tick_size="0.1", lot_size="0.01")
    events = found.read_all()

    assert kinds(events) == ["book_level"] * 3 + ["gap"] + ["book_level"]
    assert events["qty"].tolist()[-1] == 700
    gap = events[3]
    assert (int(gap["id"]), int(gap["sym"]), int(gap["aux"])) == (GAP_SOURCE, 0, T0 * 1000)
    assert found.summary.rejects == {reason: 1, "in a message with a wrong row": 1}
    assert [(g.symbol, g.cause) for g in found.summary.gaps] == [("BTC/USD", "source")]


def test_a_message_that_spans_two_blocks_stays_one(tmp_path, monkeypatch):
    """Blocks of the CSV are cut by size, messages are not."""
    monkeypatch.setattr("adapters.imports.columns.BLOCK_BYTES", 300)
    rows = list(START)
    for t in range(1, 200):
        rows += [book_row(t, False, "bid", f"{90 + t % 7}", str(t + i)) for i in range(t % 5 + 1)]
    path = write(tmp_path / "a.csv", BOOK_HEADER, rows)

    found = tardis.read(path)
    pieces = list(found.batches(rows=1))
    events = np.concatenate(pieces)

    assert len(pieces) > 20
    assert len(events) == len(rows)
    assert all(piece["flags"][-1] & LAST for piece in pieces)
    assert int((events["flags"] & LAST > 0).sum()) == 200


def test_trades_and_book_are_merged_by_receive_time(tmp_path):
    book = [*START, book_row(50, False, "bid", "100.5", "1")]
    trades = [
        trade_row(-3, "buy", "101", "0.5", "77"),
        trade_row(20, "sell", "100.5", "1", "78"),
        trade_row(50, "unknown", "100.5", "1", "a1b2"),
    ]
    paths = [
        write(tmp_path / "trades.csv.gz", TRADE_HEADER, trades),
        write(tmp_path / "book.csv.gz", BOOK_HEADER, book),
    ]

    found = tardis.read(paths)
    events = found.read_all()

    assert kinds(events) == ["trade"] + ["book_level"] * 3 + ["trade", "book_level", "trade"]
    mine = events[events["kind"] == TRADE]
    assert mine["side"].tolist() == [BUY, SELL, 0]
    assert mine["id"].tolist() == [77, 78, 0]
    assert [c.name for c in found.channels] == ["book", "trade"]
    assert detect(paths[0]) == "tardis-trades"
    assert detect(paths[1]) == "tardis-book"
    assert FORMATS["tardis-book"].read(paths).instruments.symbols == ("BTC/USD",)


def test_names_of_before_and_after_the_renaming_are_one_pair(tmp_path):
    old = write(tmp_path / "2026-07-09.csv", BOOK_HEADER, START)
    later = [row.replace("XBT/USD", "BTC/USD").replace(str(T0), str(T0 + 10**9)) for row in START]
    new = write(tmp_path / "2026-07-10.csv", BOOK_HEADER, later)

    found = tardis.read([new, old])
    events = found.read_all()

    assert found.instruments.symbols == ("BTC/USD",)
    assert (np.diff(events["ts"]) >= 0).all()
    assert len(events[events["kind"] == BOOK_LEVEL]) == 6


def test_days_follow_each_other_with_a_reset(tmp_path):
    for day, t in (("b", 0), ("a", 86_400_000_000)):
        rows = [
            row.replace(str(T0), str(T0 + t)).replace(str(T0 - 1000), str(T0 + t)) for row in START
        ]
        write(tmp_path / f"{day}.csv", BOOK_HEADER, rows)

    events = tardis.read(tmp_path).read_all()

    assert kinds(events) == ["book_level"] * 3 + ["resync"] + ["book_level"] * 3
    assert int(events[events["kind"] == RESYNC]["id"][0]) == GAP_SOURCE


def test_several_pairs_in_one_file_keep_their_books_apart(tmp_path):
    rows = [
        *START,
        book_row(1, False, "bid", "2.5", "1", symbol="XDG/EUR"),
        book_row(2, True, "bid", "2.25", "9", symbol="XDG/EUR"),
        book_row(3, False, "bid", "100.5", "1"),
        book_row(3, False, "bid", "2.25", "1", symbol="XDG/EUR"),
    ]
    path = write(tmp_path / "a.csv", BOOK_HEADER, rows)

    found = tardis.read(path)
    events = found.read_all()

    assert found.instruments.symbols == ("BTC/USD", "DOGE/EUR")
    assert found.instruments["DOGE/EUR"].price_increment == Decimal("0.01")
    assert events["sym"].tolist() == [0, 0, 0, 1, 0, 1]
    assert (events["flags"][3:] & LAST > 0).all()
    assert found.summary.rejects == {"book update before its snapshot": 1}
    one = tardis.read(path, symbols=["DOGE/EUR"])
    assert len(one.read_all()) == 2
    assert one.summary.rejects["pair not asked for"] == 4


def test_time_that_steps_back_is_a_gap_before_the_message(tmp_path):
    rows = [
        *START,
        book_row(9_000_000, False, "bid", "100", "1"),
        book_row(5, False, "bid", "100", "2"),
    ]
    found = tardis.read(write(tmp_path / "a.csv", BOOK_HEADER, rows))
    events = found.read_all()

    assert kinds(events) == ["book_level"] * 4 + ["gap", "book_level"]
    assert int(events["id"][4]) == GAP_BACKWARDS
    assert (np.diff(events["ts"]) >= 0).all()


def test_windows_line_ends_and_a_byte_order_mark(tmp_path):
    path = write(tmp_path / "a.csv", "\ufeff" + BOOK_HEADER, START, ending="\r\n")

    assert len(tardis.read(path).read_all()) == 3


def test_what_is_no_tardis_file_is_refused(tmp_path):
    short = BOOK_HEADER.replace(",amount", "")
    rows = [row.rpartition(",")[0] for row in START]
    with pytest.raises(DataError, match="no column amount"):
        tardis.read(write(tmp_path / "a.csv", short, rows))
    with pytest.raises(DataError, match="is empty"):
        tardis.read(write_bytes(tmp_path / "b.csv", b""))
    with pytest.raises(DataError, match="header but no rows"):
        tardis.read(write(tmp_path / "c.csv", BOOK_HEADER, []))
    whole = gzip.compress("\n".join([BOOK_HEADER, *START * 5000, ""]).encode())
    with pytest.raises(DataError, match="torn"):
        tardis.read(write_bytes(tmp_path / "d.csv.gz", whole[:-9]))
    two = [START[0], START[1].replace("kraken", "coinbase")]
    paths = [write(tmp_path / f"{i}.csv", BOOK_HEADER, [row]) for i, row in enumerate(two)]
    with pytest.raises(DataError, match="several exchanges"):
        tardis.read(paths)
    odd = [START[0].replace("XBT/USD", "nonsense")]
    with pytest.raises(DataError, match="quote currency"):
        tardis.read(write(tmp_path / "e.csv", BOOK_HEADER, odd))


def write_bytes(path, data):
    path.write_bytes(data)
    return path


def test_wrong_trades_are_declared(tmp_path):
    rows = [
        trade_row(1, "buy", "101", "1", "1"),
        trade_row(2, "buy", "nan", "1", "2"),
        trade_row(3, "buy", "101", "0", "3"),
        trade_row(4, "buy", "101", "-2", "4"),
        "kraken,XBT/USD,1,2",
    ]
    found = tardis.read(write(tmp_path / "t.csv", TRADE_HEADER, rows))
    events = found.read_all()

    assert events["id"].tolist() == [1]
    assert found.summary.rejects == {
        "price not a number": 1,
        "amount zero": 1,
        "amount negative": 1,
        "a row of another width": 1,
    }
    assert not (events["kind"] == GAP).any()
