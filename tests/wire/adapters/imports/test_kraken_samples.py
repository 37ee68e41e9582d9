"""Published and recorded v2 messages: checksums of Kraken's own examples, odd shapes."""

import json
from decimal import Decimal

import pytest

from adapters.imports import kraken_v2_book
from adapters.imports.instruments import instruments_from_v2_snapshot
from engine.events import (
    BOOK_LEVEL,
    LAST,
    MARKET_ORDER,
    SNAPSHOT,
    TICKER,
    TICKER_ASK,
    TICKER_BID,
    TICKER_VWAP,
    TRADE,
)
from engine.instruments import Instrument, InstrumentTable


def lines_of(shared_kraken, tmp_path, *names, before=()):
    """The messages of sample files with their own digits, as frames received one a second."""
    path = tmp_path / "frames.jsonl"
    lines = list(before)
    for name in names:
        for line in (shared_kraken / "samples" / name).read_text().splitlines():
            line = line.strip().rstrip(",")
            if line not in ("[", "]", ""):
                lines.append(line)
    frames = [
        {"rx_ns": 1_700_000_000_000_000_000 + i * 1_000_000_000, "dir": "rx", "frame": line}
        for i, line in enumerate(lines)
    ]
    path.write_text("\n".join(map(json.dumps, frames)) + "\n")
    return path


@pytest.mark.parametrize(
    ("name", "symbol", "expected"),
    [
        ("book_docs_btcusd_checksum.json", "BTC/USD", [3310070434]),
        ("book_docs_maticusd.json", "MATIC/USD", [2439117997, 2114181697]),
    ],
)
def test_published_examples_verify(shared_kraken, tmp_path, name, symbol, expected):
    found = kraken_v2_book.read(lines_of(shared_kraken, tmp_path, name))
    events = found.read_all()

    assert dict(found.summary.checksums_verified) == {symbol: len(expected)}
    assert events["aux"][events["flags"] & LAST > 0].tolist() == expected


def test_a_price_that_occurs_many_times_in_a_message_has_its_last_quantity(shared_kraken, tmp_path):
    empty = (
        '{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USDT","bids":[],"asks":[],'
        '"checksum":0}]}'
    )
    path = lines_of(
        shared_kraken, tmp_path, "book_repeated_levels_btcusdt_2026-01-23.json", before=[empty]
    )
    found = kraken_v2_book.read(path)
    events = found.read_all()

    text = (shared_kraken / "samples" / "book_repeated_levels_btcusdt_2026-01-23.json").read_text()
    sent = json.loads(text, parse_float=Decimal)[0]["data"][0]["bids"]
    levels = events[events["kind"] == BOOK_LEVEL]
    assert len(sent) == len(levels) > 10
    assert {int(row["price"]): int(row["qty"]) for row in levels} == {
        int(level["price"] * 10): int(level["qty"] * 10**8) for level in sent
    }
    assert len({level["price"] for level in sent}) == 2
    assert found.summary.n_rejected == 0


def test_recorded_trades_and_tickers(shared_kraken, tmp_path):
    path = lines_of(
        shared_kraken, tmp_path, "ws_trade_btcusd_2024-05-27.json", "ws_ticker_btcusd_2024-05.json"
    )
    found = kraken_v2_book.read(path)
    events = found.read_all()

    trades = events[events["kind"] == TRADE]
    assert trades["id"].tolist() == [70635251, 70635252]
    assert trades["flags"].tolist() == [SNAPSHOT | MARKET_ORDER, SNAPSHOT | LAST]
    assert trades["price"].tolist() == [684669, 684712]
    tickers = events[events["kind"] == TICKER]
    assert tickers["price"][tickers["id"] == TICKER_BID].tolist() == [659728, 658437]
    assert tickers["qty"][tickers["id"] == TICKER_ASK].tolist() == [3_967_506_683, 31_232_000]
    assert tickers["price"][tickers["id"] == TICKER_VWAP].tolist() == [642752, 642234]
    # A ticker of 2024 has no time of its own: it keeps its place in the recording.
    assert (tickers["ts_venue"] == 0).all()


def test_a_book_cut_by_its_recorder_fails_and_is_kept(shared_kraken, tmp_path):
    """A sample cut to five levels: its checksums cannot match, and that is what is said."""
    found = kraken_v2_book.read(
        lines_of(shared_kraken, tmp_path, "ws_book_trimmed_btcusd_2024-05-19.json")
    )
    events = found.read_all()

    assert found.summary.n_verified == 0
    assert found.summary.n_failed >= 2
    assert [gap.cause for gap in found.summary.gaps] == ["checksum"]  # once, not per message
    assert len(events[events["kind"] == BOOK_LEVEL]) > 10


def test_instruments_of_2024(shared_kraken, tmp_path):
    path = lines_of(shared_kraken, tmp_path, "ws_instrument_2024-05.json")
    table = instruments_from_v2_snapshot(json.loads(path.read_text().splitlines()[0])["frame"])

    assert table["EUR/USD"] == Instrument(
        "EUR/USD",
        Decimal("0.00001"),
        Decimal("0.00000001"),
        5,
        8,
        table["EUR/USD"].qty_min,
        Decimal("0.50"),
    )
    assert isinstance(table, InstrumentTable)
