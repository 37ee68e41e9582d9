"""Kraken's archive and REST pages, made by hand from the documented layouts."""

import gzip
import json
import zipfile
from decimal import Decimal

import numpy as np
import pytest

from adapters.imports import kraken_rest, kraken_trades
from adapters.imports.kraken_ohlc import read_bars
from engine.errors import DataError
from engine.events import BUY, GAP, GAP_BACKWARDS, GAP_SOURCE, LAST, MARKET_ORDER, SELL, TRADE
from engine.research.bars import MINUTE, bars_of

ROWS = (
    "1672531436,16500.100000,1.10448420\n"
    "1672531436,16500.100000,1.10448420\n"
    "1672531437,16499.900000,0.00000001\n"
)


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_equal_rows_are_several_trades_in_the_order_of_the_file(tmp_path):
    found = kraken_trades.read(write(tmp_path / "XBTUSD.csv", ROWS))
    events = found.read_all()

    assert found.instruments.symbols == ("BTC/USD",)
    assert found.instruments[0].price_increment == Decimal("0.1")
    assert found.instruments[0].qty_increment == Decimal("0.00000001")
    assert events["price"].tolist() == [165001, 165001, 164999]
    assert events["qty"].tolist() == [110448420, 110448420, 1]
    assert events["ts"].tolist() == [1672531436 * 10**9] * 2 + [1672531437 * 10**9]
    assert (events["ts"] == events["ts_venue"]).all()
    assert (events["flags"] == LAST).all()
    assert (events["side"] == 0).all()
    assert [c.name for c in found.channels] == ["trade"]


def test_the_pair_comes_from_the_name_or_the_option(tmp_path):
    for name, symbol in (("XDGEUR.csv", "DOGE/EUR"), ("ETHUSDT.csv", "ETH/USDT")):
        path = write(tmp_path / name, ROWS)
        assert kraken_trades.read(path).instruments.symbols == (symbol,)
    odd = write(tmp_path / "data.csv", ROWS)
    with pytest.raises(DataError, match="quote currency"):
        kraken_trades.read(odd)
    assert kraken_trades.read(odd, symbol="SOL/USD").instruments.symbols == ("SOL/USD",)


def test_wrong_rows_are_declared_with_their_place(tmp_path):
    text = (
        "1672531436,16500.1,1.0\n"
        "1672531437,NaN,1.0\n"
        "1672531437,16500.1,-1.0\n"
        "1672531437,0,1.0\n"
        "1672531437,16500.1,0\n"
        "1672531437,16500.15,1.0\n"
        "x,16500.1,1.0\n"
        "1672531437,16500.1\n"
        "1672531438,16500.2,1e-3\n"
    )
    path = write(tmp_path / "XBTUSD.csv", text)

    found = kraken_trades.read(path, tick_size="0.1", lot_size="0.00000001")
    events = found.read_all()

    assert events["price"].tolist() == [165001, 165002]
    assert events["qty"].tolist() == [100_000_000, 100_000]
    assert found.summary.rejects == {
        "price not a number": 1,
        "volume negative": 1,
        "price zero": 1,
        "volume zero": 1,
        "price off the grid": 1,
        "time not a number": 1,
        "a row of another width": 1,
    }
    assert found.summary.rows_in == 9
    assert "XBTUSD.csv row 2: price not a number" in found.summary.samples


def test_byte_order_mark_and_carriage_returns_do_no_harm(tmp_path):
    path = write(tmp_path / "XBTUSD.csv", b"\xef\xbb\xbf" + ROWS.replace("\n", "\r\n").encode())

    assert len(kraken_trades.read(path).read_all()) == 3


def test_time_that_steps_back_is_a_gap(tmp_path):
    text = "1672531436,1.5,1\n1672531430,1.5,1\n1672531431,1.5,1\n1672531440,1.5,1\n"

    found = kraken_trades.read(write(tmp_path / "ADAUSD.csv", text))
    events = found.read_all()

    assert events["kind"].tolist() == [TRADE, GAP, TRADE, TRADE, TRADE]
    assert int(events["id"][1]) == GAP_BACKWARDS
    assert (np.diff(events["ts"]) >= 0).all()
    assert int(events["ts_venue"][2]) == 1672531430 * 10**9
    assert found.summary.n_backwards == 1
    assert [(g.symbol, g.cause) for g in found.summary.gaps] == [("ADA/USD", "backwards")]


def test_quarters_that_overlap_are_cut_by_time(tmp_path):
    first = "100000000,1.5,1\n100000010,1.6,1\n100000010,1.6,1\n"
    second = "100000009,1.5,1\n100000010,1.6,1\n100000011,1.7,1\n"
    write(tmp_path / "b_ADAUSD.csv", first)
    for quarter, text in (("Q2", second), ("Q1", first)):
        folder = tmp_path / quarter
        folder.mkdir()
        write(folder / "ADAUSD.csv", text)

    found = kraken_trades.read([tmp_path / "Q2", tmp_path / "Q1"])
    events = found.read_all()

    assert events["price"].tolist() == [15, 16, 16, 17]
    assert found.summary.rejects == {"overlaps the file before": 2}


def test_an_archive_of_several_pairs_is_merged_by_time(tmp_path):
    path = tmp_path / "Kraken_Trading_History_Q1_2023.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Q1/XBTUSD.csv", ROWS)
        archive.writestr("Q1/ETHUSD.csv", "1672531435,1200.5,2\n1672531437,1200.4,2\n")
        archive.writestr("__MACOSX/._XBTUSD.csv", "junk")

    found = kraken_trades.read(path)
    events = found.read_all()

    assert found.instruments.symbols == ("BTC/USD", "ETH/USD")
    assert events["sym"].tolist() == [1, 0, 0, 0, 1]
    assert (np.diff(events["ts"]) >= 0).all()
    only = kraken_trades.read(path, symbols=["ETH/USD"])
    assert len(only.read_all()) == 2
    with pytest.raises(DataError, match="no file for SOL/USD"):
        kraken_trades.read(path, symbols=["SOL/USD"])


def test_a_torn_file_is_refused_and_an_empty_one_too(tmp_path):
    whole = gzip.compress(ROWS.encode() * 50_000)
    torn = write(tmp_path / "XBTUSD.csv.gz", whole[:-12])
    with pytest.raises(DataError, match="torn"):
        kraken_trades.read(torn).read_all()
    with pytest.raises(DataError, match="torn"):
        kraken_trades.read(torn, tick_size="0.1", lot_size="0.00000001").read_all()
    with pytest.raises(DataError, match="is empty"):
        kraken_trades.read(write(tmp_path / "ETHUSD.csv", ""))
    with pytest.raises(DataError, match="not a whole zip"):
        kraken_trades.read(write(tmp_path / "a.zip", b"PK\x03\x04nonsense"))
    with pytest.raises(DataError, match="does not begin with a time"):
        kraken_trades.read(write(tmp_path / "ADAUSD.csv", "time,price,volume\n"))
    wide = write(tmp_path / "SOLUSD.csv", "1672531436,1,2,b\n")
    with pytest.raises(DataError, match="4 columns"):
        kraken_trades.read(wide)


def test_batches_start_over_each_time_and_hold_whole_pieces(tmp_path):
    found = kraken_trades.read(write(tmp_path / "XBTUSD.csv", ROWS * 2000))

    first = list(found.batches(rows=1000))
    again = found.read_all()

    assert np.array_equal(np.concatenate(first), again)
    assert again["seq"].tolist() == list(range(6000))
    assert found.summary.complete
    assert found.summary.to_json()["rows_in"] == 6000


# ---- REST ----


def page(rows, last="1"):
    return json.dumps({"error": [], "result": {"XXBTZUSD": rows, "last": last}})


def rest_row(trade_id, time, price="100.1", side="b", order_type="l"):
    return [price, "0.50000000", time, side, order_type, "", trade_id]


def test_rest_pages_that_overlap_and_have_a_hole(tmp_path):
    one = page(
        [rest_row(5, 1700000000.1234567), rest_row(6, 1700000001.5, side="s", order_type="m")]
    )
    two = page([rest_row(6, 1700000001.5), rest_row(9, 1700000009.25)])
    paths = [write(tmp_path / "1.json", one), write(tmp_path / "2.json", two)]

    found = kraken_rest.read(paths)
    events = found.read_all()

    assert found.instruments.symbols == ("BTC/USD",)
    trades = events[events["kind"] == TRADE]
    assert trades["id"].tolist() == [5, 6, 9]
    assert trades["ts"].tolist()[:2] == [1700000000_123456700, 1700000001_500000000]
    assert trades["side"].tolist() == [BUY, SELL, BUY]
    assert trades["flags"].tolist() == [LAST, LAST | MARKET_ORDER, LAST]
    assert found.summary.rejects == {"trade id seen before": 1}
    gap = events[events["kind"] == GAP][0]
    assert (int(gap["id"]), int(gap["aux"])) == (GAP_SOURCE, 1700000001_500000000)


def test_rest_wrong_rows_and_wrong_answers(tmp_path):
    rows = [
        rest_row(1, 1700000000.0),
        rest_row(2, 1700000001.0, price="-1"),
        rest_row(3, 1700000002.0, side="x"),
        ["1", "2"],
    ]
    found = kraken_rest.read(write(tmp_path / "1.json", page(rows)))
    found.read_all()

    assert found.summary.rejects == {
        "trade negative": 1,
        "trade side neither b nor s": 1,
        "a row of another width": 1,
    }
    for text, words in (
        ("<html>Cloudflare</html>", "not a page"),
        ('{"error":["EQuery:Unknown asset pair"],"result":{}}', "Unknown asset pair"),
        ('{"error":[],"result":{"A":[],"B":[]}}', "holds 2 pairs"),
    ):
        with pytest.raises(DataError, match=words):
            kraken_rest.read(write(tmp_path / "bad.json", text))


# ---- bars of the venue ----


def test_archive_bars_equal_bars_of_the_trades(tmp_path):
    trades = kraken_trades.read(write(tmp_path / "XBTUSD.csv", ROWS))
    text = "1672531380,16500.1,16500.1,16499.9,16499.9,2.20896841,3\n"
    archive = read_bars(write(tmp_path / "XBTUSD_1.csv", text), tick_size="0.1")

    ours = bars_of(trades.batches(), MINUTE)

    for name in ("ts", "open", "high", "low", "close", "volume", "count"):
        assert int(ours[name][0]) == int(archive.bars[name][0]), name
    assert archive.instrument.symbol == "BTC/USD"
    assert not archive.is_forming


def test_archive_bars_that_contradict_themselves_are_declared(tmp_path):
    text = "60,2,1,1,1,1,1\n120,1,2,1,2,5718.3365549701,3\n180,1,1,1,1,x,1\n"

    found = read_bars(write(tmp_path / "XBTUSD_1.csv", text), tick_size="0.1")

    assert found.summary.rejects == {
        "open or close outside low and high": 1,
        "volume not a number": 1,
    }
    assert found.bars["volume"].tolist() == [571_833_655_497]  # the nearest lot of a sum
    with pytest.raises(DataError, match="do not rise"):
        read_bars(write(tmp_path / "XBTUSD_1.csv", "60,1,1,1,1,1,1\n60,1,1,1,1,1,1\n"))
