"""Recorded Kraken book sessions: every checksum, and the controls that show why it matches."""

import json
from decimal import Decimal

import numpy as np
import pytest

from adapters.imports import kraken_v1_book, kraken_v2_book
from adapters.imports.formats import detect
from adapters.imports.instruments import instruments_from_asset_pairs
from engine.book import BOOK, book_count, book_crossed, book_set, book_truncate
from engine.checksum import crc32_book
from engine.errors import DataError
from engine.events import (
    BOOK_LEVEL,
    CHECKSUM,
    FAILED,
    GAP,
    HEARTBEAT,
    LAST,
    MARKET_ORDER,
    RESYNC,
    SNAPSHOT,
    SYSTEM_STATUS,
    TICKER,
    TRADE,
    VERIFIED,
)
from tests.naive.kraken_text import TextBook

V1 = "kraken-v1-book10-xbtusd-20230830/messages.jsonl"
V1_SIX = "kraken-v1-book1000-6pairs-20210417/messages.jsonl.zst"
V2 = "kraken-v2-book10-btcusd-20230730/messages.jsonl"
V2_MINA = "kraken-v2-book25-minagbp-20260818/frames.jsonl"


def crc_matches(events, table, depth):
    """How many closed messages match their CRC when the events are applied again, by symbol."""
    rows = table.rows()
    books = [np.zeros(1, BOOK)[0] for _ in table]
    matches = dict.fromkeys(table.symbols, 0)
    for event in events[events["kind"] == BOOK_LEVEL]:
        sym = int(event["sym"])
        book_set(books[sym], 0 if event["side"] > 0 else 1, event["price"], event["qty"])
        if event["flags"] & LAST:
            book_truncate(books[sym], depth)
            assert not book_crossed(books[sym])
            if event["flags"] & CHECKSUM:
                crc = crc32_book(books[sym], rows[sym]["tick_num"], rows[sym]["lot_num"])
                matches[table.symbols[sym]] += int(crc == event["aux"])
    return matches, books


# ---- v1, one pair ----


def test_v1_all_979_updates_verify(shared_data):
    found = kraken_v1_book.read(shared_data / V1)
    events = found.read_all()

    assert found.summary.checksums_verified == {"BTC/USD": 979}
    assert found.summary.n_failed == 0
    assert found.summary.rows_in == 1150
    assert found.summary.rows_used["book snapshot"] == 1
    assert found.summary.n_rejected == 0
    assert [(c.name, c.depth) for c in found.channels] == [("book", 10), ("status", 0)]
    assert crc_matches(events, found.instruments, 10)[0] == {"BTC/USD": 979}


def test_v1_steps_and_precisions(shared_data):
    pair = kraken_v1_book.read(shared_data / V1).instruments["XBT/USD"]

    assert pair.price_increment == Decimal("0.1")
    assert (pair.price_precision, pair.qty_precision) == (5, 8)
    # In lowest terms, so that the notional of a whole book fits.
    assert (pair.row()["notional_num"], pair.row()["notional_den"]) == (1, 10)


def test_v1_without_the_cut_only_64_match(shared_data):
    """The control of the README, with a book of text: cut 979, never cut 64."""
    counts = {}
    for cut in (True, False):
        book, n = TextBook(10, cut), 0
        for line in (shared_data / V1).read_text().splitlines():
            message = json.loads(line)
            if not isinstance(message, list):
                continue
            for part in message[1:-2]:
                bids = [level[:2] for level in part.get("bs", part.get("b", []))]
                asks = [level[:2] for level in part.get("as", part.get("a", []))]
                book.message(bids, asks)
            crc = next((part["c"] for part in message[1:-2] if "c" in part), None)
            n += crc is not None and book.checksum() == int(crc)
        counts[cut] = n

    assert counts == {True: 979, False: 64}


# ---- v1, six pairs with receive times ----


def test_v1_six_pairs_2866_verify(shared_data):
    found = kraken_v1_book.read(shared_data / V1_SIX)
    events = found.read_all()

    expected = {
        "XMR/USD": 846,
        "SC/EUR": 818,
        "WAVES/EUR": 576,
        "ETH/CHF": 317,
        "BTC/CHF": 289,
        "GRT/ETH": 20,
    }
    assert dict(found.summary.checksums_verified) == expected
    assert sum(expected.values()) == found.summary.n_verified == 2866
    assert found.summary.n_failed == 0
    assert found.summary.rows_in == 3007
    assert found.summary.n_rejected == 0
    assert crc_matches(events, found.instruments, 1000)[0] == expected
    assert (found.channels[0].name, found.channels[0].depth) == ("book", 1000)


def test_v1_six_pairs_trades_tickers_and_clock(shared_data):
    found = kraken_v1_book.read(shared_data / V1_SIX)
    events = found.read_all()

    assert found.summary.rows_used["trade message"] == 8
    trades = events[events["kind"] == TRADE]
    by_symbol = {
        s: int((trades["sym"] == i).sum()) for i, s in enumerate(found.instruments.symbols)
    }
    assert by_symbol["XMR/USD"] + by_symbol["SC/EUR"] == len(trades) == 10
    messages = trades[trades["flags"] & LAST > 0]
    assert [
        int((messages["sym"] == found.instruments.index(s)).sum()) for s in ("XMR/USD", "SC/EUR")
    ] == [3, 5]
    # The first: 354.11 x 0.89594024 sold by a limit order; the second bought at market.
    assert (trades["price"][0], trades["qty"][0], trades["side"][0]) == (35411, 89594024, -1)
    assert trades["flags"][0] & MARKET_ORDER == 0
    assert trades["flags"][1] & MARKET_ORDER
    assert int(trades["ts"][0]) == 1618678142_592855000
    assert int(trades["ts_venue"][0]) == 1618678142_557535000
    assert len(events[events["kind"] == TICKER]) == 14 * 7
    assert int(events["ts"][0]) == 1618678132_825818800
    assert (np.diff(events["ts"]) >= 0).all()
    assert found.summary.n_backwards == 0
    stamped = events[events["ts_venue"] > 0]
    assert (stamped["ts"] > stamped["ts_venue"]).all()


def test_v1_six_pairs_steps_equal_the_reference_of_that_day(shared_data):
    """Increments from the digits of 31 s of data equal AssetPairs of 2021-04-17."""
    found = kraken_v1_book.read(shared_data / V1_SIX)
    known = instruments_from_asset_pairs(
        shared_data / "kraken-instruments" / "rest_AssetPairs_20210417.json"
    )

    for pair in found.instruments:
        assert pair.price_increment == known[pair.symbol].price_increment, pair.symbol
        assert pair.qty_increment == known[pair.symbol].qty_increment, pair.symbol


def test_v1_with_the_reference_the_checksums_still_match(shared_data):
    """The reference has fewer decimals than v1's text, which the checksum is made of."""
    found = kraken_v1_book.read(
        shared_data / V1_SIX,
        instruments=shared_data / "kraken-instruments" / "rest_AssetPairs_20210417.json",
        symbols=["XBT/CHF", "GRT/ETH"],
    )
    found.read_all()

    assert dict(found.summary.checksums_verified) == {"BTC/CHF": 289, "GRT/ETH": 20}
    assert found.instruments["BTC/CHF"].qty_min > 0
    assert found.summary.rows_used["pairs not asked for"] > 2000


# ---- v2, numbers that lost their zeros ----


def v2_items(path):
    for line in path.read_text().splitlines():
        yield json.loads(line, parse_float=str, parse_int=str)["data"][0]


def test_v2_all_510_verify_although_zeros_are_lost(shared_data):
    found = kraken_v2_book.read(shared_data / V2)
    events = found.read_all()

    assert dict(found.summary.checksums_verified) == {"BTC/USD": 510}
    assert found.summary.n_failed == found.summary.n_rejected == 0
    assert found.summary.rows_used == {"book snapshot": 1, "book update": 509}
    pair = found.instruments["BTC/USD"]
    assert (pair.price_precision, pair.qty_precision) == (1, 8)
    assert [(c.name, c.depth) for c in found.channels] == [("book", 10)]
    assert crc_matches(events, found.instruments, 10)[0] == {"BTC/USD": 510}
    # 2023-07-30 15:29:58.343415 .. 15:30:49.01; the snapshot has no time and gets the first.
    assert int(events["ts"][0]) == 1690730998_343415000
    assert int(events["ts"][-1]) // 10**7 == 169073104900
    assert (events["flags"][:19] & SNAPSHOT > 0).all()


@pytest.mark.parametrize(
    ("cut", "form", "expected"),
    [
        (True, lambda text, decimals: f"{Decimal(text):.{decimals}f}", 510),
        (False, lambda text, decimals: f"{Decimal(text):.{decimals}f}", 60),
        (True, lambda text, decimals: repr(float(text)), 0),
    ],
    ids=["padded and cut", "never cut", "repr of floats"],
)
def test_v2_controls(shared_data, cut, form, expected):
    book, n = TextBook(10, cut), 0
    for item in v2_items(shared_data / V2):
        book.message(
            [(form(lv["price"], 1), form(lv["qty"], 8)) for lv in item["bids"]],
            [(form(lv["price"], 1), form(lv["qty"], 8)) for lv in item["asks"]],
        )
        n += book.checksum() == int(item["checksum"])

    assert n == expected


def test_v2_a_wrong_checksum_is_flagged(shared_data, tmp_path):
    """The negative case of the recording's own test suite, as one more message."""
    text = (shared_data / V2).read_text()
    wrong = {
        "channel": "book",
        "type": "update",
        "data": [
            {
                "symbol": "BTC/USD",
                "bids": [{"price": 29430.3, "qty": 1.69289565}],
                "asks": [],
                "checksum": 2438868880,
                "timestamp": "2023-07-30T15:30:49.100000Z",
            }
        ],
    }
    path = tmp_path / "messages.jsonl"
    path.write_text(text.rstrip("\n") + "\n" + json.dumps(wrong) + "\n")

    found = kraken_v2_book.read(path)
    events = found.read_all()

    assert dict(found.summary.checksums_verified) == {"BTC/USD": 510}
    assert dict(found.summary.checksums_failed) == {"BTC/USD": 1}
    last, gap = events[-2], events[-1]
    assert int(last["aux"]) == 2438868880
    assert last["flags"] & (CHECKSUM | VERIFIED | FAILED) == CHECKSUM | FAILED
    assert gap["kind"] == GAP
    assert [(g.symbol, g.cause) for g in found.summary.gaps] == [("BTC/USD", "checksum")]


# ---- v2, exact text, with a resubscribe ----


def test_mina_all_19_verify_across_the_resubscribe(shared_data):
    found = kraken_v2_book.read(shared_data / V2_MINA)
    events = found.read_all()

    summary = found.summary
    assert dict(summary.checksums_verified) == {"MINA/GBP": 19}
    assert summary.n_failed == summary.n_rejected == 0
    assert summary.rows_in == 99
    assert summary.rows_used == {
        "system status": 1,
        "answer to subscribe": 2,
        "answer to unsubscribe": 1,
        "book snapshot": 2,
        "book update": 17,
        "heartbeat": 73,
        "sent by the client": 3,
    }
    pair = found.instruments["MINA/GBP"]
    assert (pair.price_precision, pair.qty_precision) == (4, 8)
    assert [(c.name, c.depth) for c in found.channels] == [("book", 25), ("status", 0)]
    matches, books = crc_matches_with_resync(events, found.instruments, 25)
    assert matches == 19
    assert (book_count(books[0], 0), book_count(books[0], 1)) == (25, 25)


def crc_matches_with_resync(events, table, depth):
    """As crc_matches, for one pair, with a book that a snapshot replaces."""
    cut = int(np.flatnonzero(events["kind"] == RESYNC)[0])
    before, _ = crc_matches(events[:cut], table, depth)
    after, books = crc_matches(events[cut:], table, depth)
    return sum(before.values()) + sum(after.values()), books


def test_mina_nothing_comes_between_unsubscribe_and_snapshot(shared_data):
    events = kraken_v2_book.read(shared_data / V2_MINA).read_all()

    resync = np.flatnonzero(events["kind"] == RESYNC)
    assert len(resync) == 1
    after = events[resync[0] + 1 :]
    first = after[after["kind"] == BOOK_LEVEL][0]
    assert first["flags"] & SNAPSHOT
    snapshots = events[events["flags"] & (SNAPSHOT | LAST) == SNAPSHOT | LAST]
    assert len(snapshots) == 2
    before = events[: resync[0]]
    last_before = before[before["flags"] & CHECKSUM > 0][-1]
    assert int(snapshots[1]["aux"]) == int(last_before["aux"]) == 1105194951
    # Its own stamp is the time of the last change, older than the resubscribe.
    assert int(snapshots[1]["ts_venue"]) == 1787085863_544565000  # 20:44:23.544565
    assert 5e9 < int(snapshots[1]["ts"]) - int(snapshots[1]["ts_venue"]) < 9e9


def test_mina_quiet_book_and_the_monotonic_clock(shared_data):
    found = kraken_v2_book.read(shared_data / V2_MINA)
    events = found.read_all()

    levels = events[events["kind"] == BOOK_LEVEL]
    assert int(np.diff(levels["ts"]).max()) > 18_000_000_000
    beats = events[events["kind"] == HEARTBEAT]
    assert len(beats) == 73
    assert int(np.diff(beats["ts"]).max()) < 1_500_000_000
    assert len(events[events["kind"] == SYSTEM_STATUS]) == 1
    # No message is received before the venue sent it, and one arrived at once.
    updates = levels[(levels["flags"] & SNAPSHOT == 0) & (levels["ts_venue"] > 0)]
    latency = updates["ts"] - updates["ts_venue"]
    assert int(latency.min()) >= 0
    assert int(latency.max()) < 1_000_000_000
    assert 71.5e9 < int(events["ts"][-1] - events["ts"][0]) < 72.5e9


def test_mina_after_a_float_round_trip_nothing_verifies(shared_data):
    book, n = TextBook(25), 0
    for line in (shared_data / V2_MINA).read_text().splitlines():
        outer = json.loads(line)
        message = json.loads(outer["frame"])
        if outer["dir"] == "tx" or message.get("channel") != "book":
            continue
        if message["type"] == "snapshot":
            book.clear()
        item = message["data"][0]
        book.message(
            [(repr(lv["price"]), repr(lv["qty"])) for lv in item["bids"]],
            [(repr(lv["price"]), repr(lv["qty"])) for lv in item["asks"]],
        )
        n += book.checksum() == item["checksum"]

    assert n == 0


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (V1, "kraken-v1-book"),
        (V1_SIX, "kraken-v1-book"),
        (V2, "kraken-v2-book"),
        (V2_MINA, "kraken-v2-book"),
    ],
)
def test_the_format_is_found_from_the_file(shared_data, path, name):
    assert detect(shared_data / path) == name


def test_a_torn_zstd_file_is_refused(shared_data, tmp_path):
    data = (shared_data / V1_SIX).read_bytes()
    path = tmp_path / "messages.jsonl.zst"
    path.write_bytes(data[: len(data) // 2])

    with pytest.raises(DataError, match="torn"):
        kraken_v1_book.read(path).read_all()
