"""Coinbase, Bitstamp, Binance and the quotes of 2018, made by hand: damage and edge cases."""

import gzip
import importlib
import inspect
import json
import lzma
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.imports import binance, bitstamp, coinbase, kraken_bbo
from adapters.imports.formats import FORMATS, detect, import_format
from engine.errors import ConfigError, DataError
from engine.events import (
    BOOK_LEVEL,
    BUY,
    DERIVED,
    GAP,
    GAP_BACKWARDS,
    KIND_NAMES,
    L3_ADD,
    L3_DELETE,
    LAST,
    RESYNC,
    SELL,
    SNAPSHOT,
    TICKER,
    TRADE,
)


def kinds(events):
    return [KIND_NAMES[int(kind)] for kind in events["kind"]]


# ---- Coinbase ----

START = datetime(2018, 4, 24, 3, 52, 17, tzinfo=UTC)


def coinbase_folder(path, snapshot, updates):
    columns = ("side", "price", "size")
    rows = list(zip(*snapshot, strict=True)) or [[], [], []]
    pq.write_table(
        pa.table(dict(zip(columns, map(list, rows), strict=True))), path / "snapshot.parquet"
    )
    times = [START + timedelta(milliseconds=ms) for ms, *_ in updates]
    table = {"time": pa.array(times, pa.timestamp("ms", "UTC"))}
    for i, name in enumerate(columns, 1):
        table[name] = [row[i] for row in updates]
    pq.write_table(pa.table(table), path / "updates.parquet")
    return path


def test_coinbase_rows_are_messages_and_wrong_ones_are_gaps(tmp_path):
    folder = coinbase_folder(
        tmp_path,
        [("buy", 100.5, 1.0), ("sell", 101.0, 2.0), ("sell", 102.0, float("nan"))],
        [
            (0, "buy", 100.51, 0.11244000000000001),
            (1, "buy", -1.0, 1.0),
            (2, "hold", 100.0, 1.0),
            (3, "sell", 101.0, 0.0),
            (-5000, "sell", 101.5, 1.0),
        ],
    )
    found = coinbase.read(folder, symbol="BTC/USD")
    events = found.read_all()

    assert kinds(events) == [
        *["book_level"] * 3,
        *["gap"] * 2,
        "book_level",
        "gap",
        "book_level",
    ]
    assert int(events["qty"][2]) == 11_244_000
    assert int(events["id"][6]) == GAP_BACKWARDS
    assert (np.diff(events["ts"]) >= 0).all()
    assert found.summary.rejects == {
        "size not a number": 1,
        "price negative": 1,
        "side neither buy nor sell": 1,
    }


def test_coinbase_needs_both_files_whole(tmp_path):
    folder = coinbase_folder(tmp_path, [("buy", 1.0, 1.0)], [(0, "buy", 1.0, 1.0)])
    data = (folder / "updates.parquet").read_bytes()
    (folder / "updates.parquet").write_bytes(data[:-20])
    with pytest.raises(DataError, match="not a whole Parquet file"):
        coinbase.read(folder, symbol="BTC/USD").read_all()
    (folder / "updates.parquet").unlink()
    with pytest.raises(DataError, match="one snapshot and one updates"):
        coinbase.read(folder, symbol="BTC/USD")
    pq.write_table(pa.table({"time": [1]}), folder / "updates.parquet")
    with pytest.raises(DataError, match="no column side"):
        coinbase.read(folder, symbol="BTC/USD").read_all()


def test_coinbase_empty_tables_are_refused(tmp_path):
    folder = coinbase_folder(tmp_path, [("buy", float("nan"), 1.0)], [(0, "buy", 1.0, 1.0)])
    with pytest.raises(DataError, match="holds no level"):
        coinbase.read(folder, symbol="BTC/USD").read_all()


# ---- Bitstamp ----


def order(ts, kind, order_id, price, amount, side, second=1430438400):
    body = {
        "price": price,
        "amount": amount,
        "datetime": str(second),
        "id": order_id,
        "order_type": side,
    }
    return f"{ts} order_{kind} {json.dumps(body)}"


def trade(ts, trade_id, price, amount):
    return f"{ts} trade {json.dumps({'price': price, 'amount': amount, 'id': trade_id})}"


T = 1430438400000


def bitstamp_log(tmp_path, lines, **options):
    path = tmp_path / "events.log.xz"
    path.write_bytes(lzma.compress("\n".join([*lines, ""]).encode()))
    found = bitstamp.read(path, symbol="BTC/USD", warmup_s=0, **options)
    return found, found.read_all()


RESTING = [
    order(T, "created", 1, "236.00", "2.00000000", 0),
    order(T + 1, "created", 2, "237.00", "1.00000000", 1),
    order(T + 2, "created", 3, "237.10", "1.00000000", 1),
]


def test_bitstamp_a_sweep_gives_the_takers_side_and_an_uncrossed_book(tmp_path):
    """A buy of 1.5 at 237.10 takes order 2 whole and half of order 3."""
    lines = [
        *RESTING,
        order(T + 10, "created", 9, "237.10", "1.50000000", 0),
        order(T + 20, "changed", 9, "237.10", "0.50000000", 0),
        order(T + 21, "deleted", 2, "237.00", "0.00000000", 1),
        trade(T + 22, 77, 237.0, 1.0),
        order(T + 30, "deleted", 9, "237.10", "0.00000000", 0),
        order(T + 31, "changed", 3, "237.10", "0.50000000", 1),
        trade(T + 32, 78, 237.10000000000002, 0.5),
    ]

    found, events = bitstamp_log(tmp_path, lines)

    trades = events[events["kind"] == TRADE]
    assert trades["side"].tolist() == [BUY, BUY]
    assert trades["price"].tolist() == [23700, 23710]
    assert trades["id"].tolist() == [77, 78]
    levels = events[events["kind"] == BOOK_LEVEL]
    assert [(int(r["side"]), int(r["price"]), int(r["qty"])) for r in levels] == [
        (BUY, 23600, 200_000_000),
        (SELL, 23700, 100_000_000),
        (SELL, 23710, 100_000_000),
        (SELL, 23700, 0),
        (SELL, 23710, 50_000_000),
    ]
    assert (levels["flags"] & DERIVED > 0).all()
    assert levels["flags"][0] & SNAPSHOT
    assert found.summary.facts["trades_with_side"] == 2


def test_bitstamp_a_crossing_order_that_rests_is_shown_when_it_no_longer_crosses(tmp_path):
    lines = [
        *RESTING,
        order(T + 10, "created", 9, "237.05", "3.00000000", 0),
        order(T + 20, "changed", 9, "237.05", "2.00000000", 0),
        order(T + 21, "deleted", 2, "237.00", "0.00000000", 1),
    ]

    _, events = bitstamp_log(tmp_path, lines)

    levels = events[events["kind"] == BOOK_LEVEL]
    assert [(int(r["side"]), int(r["price"]), int(r["qty"])) for r in levels[3:]] == [
        (SELL, 23700, 0),
        (BUY, 23705, 200_000_000),
    ]
    assert levels["flags"][3:].tolist() == [DERIVED, DERIVED | LAST]


def test_bitstamp_a_trade_without_its_orders_has_no_side(tmp_path):
    found, events = bitstamp_log(tmp_path, [*RESTING, trade(T + 30, 5, 237.0, 0.25)])

    assert events[events["kind"] == TRADE]["side"].tolist() == [0]
    assert found.summary.facts["trades_without_side"] == 1


def test_bitstamp_the_reductions_may_come_after_the_trade(tmp_path):
    lines = [
        *RESTING,
        order(T + 10, "created", 9, "236.00", "2.00000000", 1),
        trade(T + 11, 5, 236.0, 2.0),
        order(T + 12, "deleted", 1, "236.00", "0.00000000", 0),
        order(T + 13, "deleted", 9, "236.00", "0.00000000", 1),
    ]

    _, events = bitstamp_log(tmp_path, lines)

    position = kinds(events).index("trade")
    assert int(events["side"][position]) == SELL
    assert int(events["ts"][position]) == (T + 11) * 1_000_000


def test_bitstamp_a_moved_order_is_a_delete_and_an_add(tmp_path):
    lines = [*RESTING, order(T + 10, "changed", 1, "236.50", "2.00000000", 0)]

    _, events = bitstamp_log(tmp_path, lines)

    l3 = events[(events["kind"] == L3_ADD) | (events["kind"] == L3_DELETE)]
    assert l3["kind"].tolist()[-2:] == [L3_DELETE, L3_ADD]
    assert l3["price"].tolist()[-2:] == [23600, 23650]


def test_bitstamp_odd_lines_are_declared(tmp_path):
    lines = [
        *RESTING,
        order(T + 3, "deleted", 99, "230.00", "1.00000000", 0),
        order(T + 4, "created", 99, "230.00", "1.00000000", 0),
        order(T + 5, "created", 1, "236.00", "2.00000000", 0),
        order(T + 6, "created", 7, "236.005", "2.00000000", 0),
        order(T + 7, "created", 8, "236.00", "-2", 0),
        order(T + 8, "created", 10, "236.00", "1", 5),
        trade(T + 9, 5, 237.0, -1.0),
        f"{T + 10} order_moved {{}}",
        f"{T + 11} order_created {{",
        "hello",
    ]

    found, events = bitstamp_log(tmp_path, lines)

    assert found.summary.rejects == {
        "change or delete of an unknown order": 1,
        "created after its delete": 1,
        "order created twice": 1,
        "order number off the grid": 1,
        "order number negative": 1,
        "order_created of another shape": 2,
        "trade number negative": 1,
        "unknown kind 'order_moved'": 1,
        "not a line of the log": 1,
    }
    assert len(events[events["kind"] == L3_ADD]) == 3
    assert len(events[events["kind"] == GAP]) == 5  # where an order may be missing


def test_bitstamp_a_folder_is_searched_for_its_log(tmp_path):
    bitstamp_log(tmp_path, RESTING)
    (tmp_path / "README.md").write_text("a note")

    assert detect(tmp_path) == "bitstamp-l3"
    assert len(bitstamp.read(tmp_path, symbol="BTC/USD").read_all()) > 0


def test_bitstamp_a_torn_log_is_refused(tmp_path):
    path = tmp_path / "events.log.xz"
    path.write_bytes(lzma.compress("\n".join(RESTING * 500).encode())[:-30])
    with pytest.raises(DataError, match="torn"):
        bitstamp.read(path, symbol="BTC/USD").read_all()
    with pytest.raises(DataError, match="which pair"):
        bitstamp.read(path)


# ---- Binance ----

NS = 1_723_161_255_000_000_000


def depth(t, first, last, bids, asks, pu=None):
    data = {"e": "depthUpdate", "E": 1_723_161_255_100 + t, "s": "BTCUSDT", "U": first, "u": last}
    data |= {"b": bids, "a": asks} | ({"pu": pu, "T": 1_723_161_255_099 + t} if pu else {})
    return f"{NS + t * 1_000_000} {json.dumps({'stream': 'btcusdt@depth', 'data': data})}"


def rest_snapshot(t, last, bids, asks):
    return f"{NS + t * 1_000_000} {json.dumps({'lastUpdateId': last, 'bids': bids, 'asks': asks})}"


def binance_file(tmp_path, lines):
    path = tmp_path / "btcusdt.gz"
    path.write_bytes(gzip.compress("\n".join([*lines, ""]).encode()))
    return path


def test_binance_held_updates_follow_the_snapshot_and_old_ones_are_declared(tmp_path):
    lines = [
        depth(0, 1, 5, [["100.0", "9"]], []),
        depth(1, 6, 8, [["100.0", "0"]], [["101.5", "1"]]),
        rest_snapshot(2, 5, [["100.0", "9"], ["99.5", "1"]], [["101.0", "2"]]),
        depth(3, 9, 9, [["99.5", "4"]], []),
    ]

    found = binance.read(binance_file(tmp_path, lines))
    events = found.read_all()

    assert [(int(r["price"]), int(r["qty"])) for r in events] == [
        (1000, 9),
        (995, 1),
        (1010, 2),
        (1000, 0),
        (1015, 1),
        (995, 4),
    ]
    assert events["ts"].tolist() == [NS + 2_000_000] * 5 + [NS + 3_000_000]
    # The held update keeps the exchange's own time.
    assert int(events["ts_venue"][3]) == 1_723_161_255_101_000_000
    assert found.summary.rejects == {"book update that the snapshot holds already": 1}
    assert found.venue == "binance-spot"


@pytest.mark.parametrize("pu", [None, 3])
def test_binance_a_break_of_the_chain_is_a_gap(tmp_path, pu):
    lines = [
        rest_snapshot(0, 1, [["100.0", "9"]], [["101.0", "2"]]),
        depth(1, 2, 3, [["100.0", "8"]], [], pu=1 if pu else None),
        depth(2, 4, 5, [["100.0", "7"]], [], pu=3 if pu else None),
        depth(3, 7, 8, [["100.0", "6"]], [], pu=6 if pu else None),
    ]

    found = binance.read(binance_file(tmp_path, lines))
    events = found.read_all()

    assert kinds(events) == ["book_level"] * 4 + ["gap", "book_level"]
    assert int(events["aux"][4]) == NS + 2_000_000
    assert found.summary.n_gaps == 1


def test_binance_without_a_snapshot_there_is_no_book(tmp_path):
    found = binance.read(binance_file(tmp_path, [depth(0, 1, 5, [["100.0", "9"]], [])]))

    assert len(found.read_all()) == 0
    assert found.summary.rejects == {"book update without a snapshot": 1}


def test_binance_odd_lines_are_declared(tmp_path):
    quote = {"u": 1, "s": "BTCUSDT", "b": "100.0", "B": "1", "a": "101.0", "A": "1"}
    print_ = {
        "e": "trade",
        "E": 1,
        "s": "BTCUSDT",
        "t": 5,
        "p": "100.0",
        "q": "1",
        "T": 1,
        "m": True,
    }
    lines = [
        rest_snapshot(0, 1, [["100.0", "9"]], [["101.0", "2"]]),
        depth(1, 2, 2, [["100.0", "-1"], ["99.0", "5"]], []),
        depth(2, 3, 3, [["nan", "1"]], []),
        f"{NS + 3_000_000} {json.dumps({'stream': 'x', 'data': quote | {'b': '0'}})}",
        f"{NS + 4_000_000} {json.dumps({'stream': 'x', 'data': quote})}",
        f"{NS + 5_000_000} {json.dumps({'stream': 'x', 'data': print_ | {'q': '0'}})}",
        f"{NS + 6_000_000} {json.dumps({'stream': 'x', 'data': print_})}",
        f"{NS + 7_000_000} {json.dumps({'stream': 'x', 'data': print_ | {'e': 'kline'}})}",
        "no stamp",
    ]

    found = binance.read(binance_file(tmp_path, lines))
    events = found.read_all()

    assert found.summary.rejects == {
        "quantity negative": 1,
        "price not a number": 1,
        "price zero": 1,
        "quantity zero": 1,
        "stream 'kline' is not imported": 1,
        "not a line of the capture": 1,
    }
    assert 990 not in events["price"].tolist()  # nothing half applied
    assert len(events[events["kind"] == TICKER]) == 2
    assert events[events["kind"] == TRADE]["side"].tolist() == [SELL]
    assert len(events[events["kind"] == GAP]) == 3


def test_binance_a_folder_of_one_market_is_read_and_two_are_refused(tmp_path):
    first = [rest_snapshot(0, 1, [["100.0", "9"]], [["101.0", "2"]]), depth(1, 2, 2, [], [])]
    binance_file(tmp_path, first).rename(tmp_path / "a.gz")
    binance_file(tmp_path, [depth(2, 3, 3, [["100.0", "8"]], [])]).rename(tmp_path / "b.gz")
    found = binance.read(tmp_path)
    assert len(found.read_all()) == 4
    assert found.summary.n_gaps == 0
    binance_file(tmp_path, [depth(3, 4, 4, [], [], pu=3)]).rename(tmp_path / "c.gz")
    with pytest.raises(DataError, match="spot and of the USD-M"):
        binance.read(tmp_path)


def test_binance_one_pair_at_a_time_and_not_nothing(tmp_path):
    other = depth(1, 2, 2, [], []).replace("BTCUSDT", "ETHUSDT")
    with pytest.raises(DataError, match="BTCUSDT and ETHUSDT"):
        binance.read(binance_file(tmp_path, [depth(0, 1, 1, [], []), other]))
    with pytest.raises(DataError, match="no message of a Binance stream"):
        binance.read(binance_file(tmp_path, ["hello"]))


# ---- quotes of 2018 ----


def write_2018(path, name, columns):
    pq.write_table(pa.table(columns), path / f"{name}.parquet")
    return path


def test_quotes_are_given_late_enough_and_crossed_ones_are_kept(tmp_path):
    write_2018(
        tmp_path,
        "XBTUSD_bbo",
        {
            "time": [1000, 1001, 1003, 3000],
            "bid": [100.0, 100.0, 101.5, 90.0],
            "ask": [101.0, 100.9, 101.0, 91.0],
        },
    )
    write_2018(
        tmp_path,
        "XBTUSD_trades",
        {
            "time": [1000.5, 1001.0],
            "price": [101.0, 100.1],
            "volume": [0.5, 0.25],
            "side": ["b", "s"],
            "ord_type": ["m", "l"],
        },
    )

    found = kraken_bbo.read(tmp_path, nominal_qty="2.5")
    events = found.read_all()

    second = 1_000_000_000
    levels = events[events["kind"] == BOOK_LEVEL]
    assert [
        (int(r["ts"]) // second, int(r["side"]), int(r["price"]), int(r["qty"])) for r in levels
    ] == [
        (1001, BUY, 1000, 250_000_000),
        (1001, SELL, 1010, 250_000_000),
        (1002, SELL, 1010, 0),
        (1002, BUY, 1000, 250_000_000),
        (1002, SELL, 1009, 250_000_000),
        (1004, BUY, 1000, 0),
        (1004, SELL, 1009, 0),
        (1004, BUY, 1015, 250_000_000),
        (1004, SELL, 1010, 250_000_000),
        (3001, BUY, 900, 250_000_000),
        (3001, SELL, 910, 250_000_000),
    ]
    # A quote of second 1000 is not known to a trade of 1000.5; at a tie the quote goes first.
    assert kinds(events)[:4] == ["trade", "book_level", "book_level", "trade"]
    assert kinds(events)[-4:] == ["gap", "resync", "book_level", "book_level"]
    assert events["flags"][-1] == DERIVED | SNAPSHOT | LAST
    assert found.summary.facts["quotes BTC/USD"]["crossed"] == 1
    assert int(events[events["kind"] == RESYNC]["ts"][0]) == 3001 * second


def test_2018_wrong_rows_names_and_unknown_ticks(tmp_path):
    write_2018(
        tmp_path,
        "ETHUSD_trades",
        {
            "time": [1.0, 2.0, 3.0, 4.0, 5.0],
            "price": [1.0, float("nan"), 1.0, 1.0, 1.005],
            "volume": [1.0, 1.0, 0.0, 1.0, 1.0],
            "side": ["b", "b", "b", "x", "b"],
            "ord_type": ["l", "l", "l", "l", "?"],
        },
    )
    with pytest.raises(DataError, match="tick of ETH/USD is not known"):
        kraken_bbo.read(tmp_path)

    found = kraken_bbo.read(tmp_path, tick_size="0.01")

    assert len(found.read_all()) == 1
    assert found.summary.rejects == {
        "price not a number": 1,
        "price off the grid": 1,
        "volume zero": 1,
        "side neither b nor s": 1,
    }
    with pytest.raises(DataError, match="no file for BTC/USD"):
        kraken_bbo.read(tmp_path, symbols=["BTC/USD"])
    write_2018(tmp_path, "odd", {"time": [1]})
    with pytest.raises(DataError, match="is named neither"):
        kraken_bbo.read(tmp_path)


# ---- the registry ----


def test_unknown_formats_and_options_name_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="nearest is 'kraken-v1-book'"):
        import_format("kraken-v1", tmp_path)
    with pytest.raises(ConfigError, match="nearest is 'tick_size'"):
        FORMATS["binance-depth"].read(tmp_path, ticksize="1")
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    with pytest.raises(DataError, match=r"format of notes\.txt is not known"):
        detect(path)


def test_options_of_the_registry_are_those_of_the_readers():
    for each in FORMATS.values():
        reader = importlib.import_module(f"adapters.imports.{each.module}").read
        known = set(inspect.signature(reader).parameters) - {"paths"}
        assert {option.name for option in each.options} <= known, each.name
        assert each.help
