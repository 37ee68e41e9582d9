"""Level 3 books against Kraken's published numbers and against its rules, one by one."""

from __future__ import annotations

import json
import zlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.parquet.check import check_store
from adapters.parquet.level3 import Level3Book
from adapters.parquet.manifest import Channel
from adapters.parquet.writer import CaptureWriter
from engine import events as ev
from engine.instruments import Instrument, InstrumentTable

BTC = Instrument("BTC/USD", Decimal("0.1"), Decimal("0.00000001"), 1, 8)
TS = 1_767_312_000_000_000_000


def order(kind: int, side: int, price: int, qty: int, id_: int, time: int, flags: int = 0) -> Any:
    row = ev.empty(1)[0]
    row["kind"], row["side"], row["price"], row["qty"] = kind, side, price, qty
    row["id"], row["aux"], row["flags"], row["sym"], row["ts"] = id_, time, flags, 0, TS
    return row


def end(checksum: int, verdict: int = ev.VERIFIED, flags: int = 0) -> Any:
    row = ev.empty(1)[0]
    row["kind"], row["id"], row["aux"], row["sym"], row["ts"] = (
        ev.MESSAGE_END,
        ev.L3_ADD,
        checksum,
        0,
        TS,
    )
    row["flags"] = ev.LAST | ev.CHECKSUM | verdict | flags
    return row


def crc(*tokens: int) -> int:
    return zlib.crc32("".join(map(str, tokens)).encode())


def apply(book: Level3Book, *rows: Any) -> str:
    """All rows of one message; what is wrong with it."""
    return [book.apply(row) for row in rows][-1]


def test_the_published_snapshot_gives_its_checksum(shared_kraken: Path) -> None:
    """docs.kraken.com, guide to the level3 checksum; the file is a copy of its example."""
    path = shared_kraken / "samples" / "level3_docs_btcusd_snapshot.json"
    message = json.loads(path.read_text(), parse_float=Decimal)
    data = message[0]["data"][0]
    book = Level3Book(BTC, 10)
    rows = [
        order(ev.L3_ADD, side, BTC.ticks(each["limit_price"]), BTC.lots(each["order_qty"]), i, i)
        for side, orders in ((ev.BUY, data["bids"]), (ev.SELL, data["asks"]))
        for i, each in enumerate(orders, start=1000 * (2 + side))
    ]
    for row in rows:
        row["flags"] = ev.SNAPSHOT

    assert apply(book, *rows, end(1063832831, flags=ev.SNAPSHOT)) == ""
    assert book.checksum() == 1063832831


def test_one_order_a_level_gives_the_checksum_of_the_levels() -> None:
    """Two levels a side, worked out with zlib from the rules of the book channel: 1355260529."""
    mina = Instrument("MINA/USD", Decimal("0.0001"), Decimal("0.00000001"), 4, 8)
    book = Level3Book(mina, 10)
    rows = [
        order(ev.L3_ADD, ev.SELL, 295, 2371715468719, 1, 1),
        order(ev.L3_ADD, ev.SELL, 296, 3731055543978, 2, 2),
        order(ev.L3_ADD, ev.BUY, 294, 2250050544743, 3, 3),
        order(ev.L3_ADD, ev.BUY, 293, 5100, 4, 4),
    ]

    assert apply(book, *rows, end(1355260529)) == ""


def test_the_queue_is_ordered_by_time_then_arrival() -> None:
    book = Level3Book(BTC, 10)
    rows = [
        order(ev.L3_ADD, ev.SELL, 50, 11, 1, 300),
        order(ev.L3_ADD, ev.SELL, 50, 12, 2, 100),
        order(ev.L3_ADD, ev.SELL, 50, 13, 3, 300),
    ]

    assert apply(book, *rows, end(crc(50, 12, 50, 11, 50, 13))) == ""


def test_a_change_keeps_the_place_and_a_known_id_replaces() -> None:
    book = Level3Book(BTC, 10)
    first = order(ev.L3_ADD, ev.SELL, 50, 11, 1, 100)
    second = order(ev.L3_ADD, ev.SELL, 50, 12, 2, 200)
    apply(book, first, second, end(crc(50, 11, 50, 12)))

    smaller = order(ev.L3_MODIFY, ev.SELL, 50, 5, 1, 100)
    assert apply(book, smaller, end(crc(50, 5, 50, 12))) == ""
    moved = order(ev.L3_ADD, ev.SELL, 49, 11, 1, 300)
    assert apply(book, moved, end(crc(49, 11, 50, 12))) == ""
    gone = order(ev.L3_DELETE, ev.SELL, 49, 11, 1, 300)
    assert apply(book, gone, end(crc(50, 12))) == ""
    assert book.n_unknown == 0


def test_levels_beyond_the_depth_are_cut_after_the_message() -> None:
    book = Level3Book(BTC, 2)
    rows = [order(ev.L3_ADD, ev.BUY, price, 7, price, 1) for price in (40, 41, 42)]

    assert apply(book, *rows, end(crc(42, 7, 41, 7))) == ""
    gone = order(ev.L3_DELETE, ev.BUY, 40, 7, 40, 1)
    assert apply(book, gone, end(crc(42, 7, 41, 7))) == ""
    assert book.n_unknown == 1


def test_a_snapshot_replaces_everything() -> None:
    book = Level3Book(BTC, 10)
    apply(book, order(ev.L3_ADD, ev.SELL, 50, 11, 1, 1), end(crc(50, 11)))
    fresh = order(ev.L3_ADD, ev.SELL, 60, 5, 9, 1, ev.SNAPSHOT)

    assert apply(book, fresh, end(crc(60, 5), flags=ev.SNAPSHOT)) == ""


def test_what_does_not_hold_together_is_said() -> None:
    book = Level3Book(BTC, 10)
    ask = order(ev.L3_ADD, ev.SELL, 50, 11, 1, 1)
    right = crc(50, 11)

    assert apply(book, ask, end(1)) == f"its checksum is 1, the orders give {right}"
    assert "called failed, but the orders give it" in apply(book, end(right, ev.FAILED))
    assert apply(book, end(1, ev.FAILED)) == ""
    bid = order(ev.L3_ADD, ev.BUY, 50, 3, 2, 1)
    assert "crossed: best bid 50 ticks, best ask 50" in apply(book, bid, end(crc(50, 11, 50, 3)))


@pytest.mark.parametrize("wrong", [0, 1])
def test_the_check_of_a_store_replays_level_3(tmp_path: Path, wrong: int) -> None:
    messages = []
    for i in range(50):
        price = 1000 + i % 7
        messages.append(order(ev.L3_ADD, ev.SELL, price, i + 1, i, TS + i))
        queue = sorted((1000 + j % 7, j, j + 1) for j in range(i + 1))
        tokens = [token for level, _, qty in queue for token in (level, qty)]
        messages.append(end(crc(*tokens) ^ (wrong if i == 30 else 0)))
    rows = np.array(messages, ev.EVENT)
    rows["seq"], rows["ts"] = np.arange(len(rows)), TS + np.arange(len(rows))
    table = InstrumentTable([BTC])
    with CaptureWriter(tmp_path, "a", table, channels=[Channel(name="level3", depth=10)]) as writer:
        writer.append(rows)

    report = check_store(tmp_path)
    assert report.ok == (not wrong)
    if wrong:
        assert report.defect is not None
        assert (report.defect.kind, report.defect.seq, report.defect.row) == ("checksum", 61, 61)
        assert "BTC/USD level 3" in report.defect.text
    else:
        assert report.n_verified == 50
