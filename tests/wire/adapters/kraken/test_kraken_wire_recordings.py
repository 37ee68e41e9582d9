"""Kraken's own frames: every recorded message decodes, every recorded checksum verifies."""

import json
import random
from decimal import Decimal

import msgspec
import numpy as np
import pytest

from adapters.kraken.feed import CHECKSUM_MISMATCH, MarketFeed
from adapters.kraken.steps import table_of
from adapters.kraken.wire import (
    Balances,
    Book,
    Executions,
    Instruments,
    Level3,
    Refused,
    Reply,
    Tickers,
    Trades,
    decode,
)
from engine.book import book_qty
from engine.events import BOOK_LEVEL, CHECKSUM, GAP, GAP_DISCONNECT, L3_ADD, LAST, VERIFIED
from engine.instruments import Instrument, InstrumentTable
from tests.naive.kraken_text import TextBook

BTC_D10 = "kraken-v2-book10-btcusd-20230730/messages.jsonl"
MINA_D25 = "kraken-v2-book25-minagbp-20260818/frames.jsonl"
LOT = Decimal("0.00000001")
BTC = Instrument("BTC/USD", Decimal("0.1"), LOT, 1, 8)
MINA = Instrument("MINA/GBP", Decimal("0.0001"), LOT, 4, 8)


def sample(folder, name):
    """The frames of one sample file, as written."""
    raws = msgspec.json.decode((folder / "samples" / name).read_bytes(), type=list[msgspec.Raw])
    return [bytes(each) for each in raws]


def btc_frames(data):
    return (data / BTC_D10).read_bytes().splitlines()


def mina_frames(data):
    lines = [json.loads(line) for line in (data / MINA_D25).read_text().splitlines()]
    return [(line["dir"], line["frame"].encode()) for line in lines]


def feed_of(instrument, depth):
    return MarketFeed(InstrumentTable([instrument]), {instrument.symbol: depth})


def take(feed, frame, ts):
    """The quick road where it is open, as a session goes."""
    return feed.take_frame(frame, ts) or feed.take(decode(frame), ts)


# ---- every sample decodes ----


def test_no_sample_frame_is_refused(shared_kraken):
    names = [
        *("book_btcusd_d10_2023-07-30.json", "book_docs_btcusd_checksum.json"),
        *("book_docs_maticusd.json", "book_repeated_levels_btcusdt_2026-01-23.json"),
        *("level3_docs_btcusd_snapshot.json", "level3_trimmed_btcusd_2024-05-19.json"),
        *("ws_balances_2024.json", "ws_book_trimmed_btcusd_2024-05-19.json"),
        *("ws_control_and_errors_2024-05.json", "ws_executions_2024.json"),
        *(
            "ws_instrument_2024-05.json",
            "ws_ohlc_ethusd_2024-05-17.json",
            "ws_private_2026-01.json",
        ),
        *("ws_ticker_btcusd_2024-05.json", "ws_trade_btcusd_2024-05-27.json"),
        "ws_trading_replies_2024.json",
    ]
    messages = [decode(frame) for name in names for frame in sample(shared_kraken, name)]

    assert [each for each in messages if isinstance(each, Refused)] == []
    assert len(messages) > 540


def test_numbers_keep_the_digits_of_the_wire(shared_kraken):
    (snapshot, entry) = map(decode, sample(shared_kraken, "ws_balances_2024.json"))
    (trades,) = map(decode, sample(shared_kraken, "ws_trade_btcusd_2024-05-27.json"))
    (ticker, _) = map(decode, sample(shared_kraken, "ws_ticker_btcusd_2024-05.json"))

    assert isinstance(snapshot, Balances)
    assert str(snapshot.balances[1].balance) == "774.6366982600"
    assert (entry.balances[0].amount, entry.sequence) == (Decimal("-19.9743"), 4)
    assert isinstance(trades, Trades)
    assert str(trades.trades[1].qty) == "0.00007723"
    assert trades.trades[0].timestamp == 1_716_813_190_826_003_000
    assert isinstance(ticker, Tickers)
    assert str(ticker.tickers[0].bid_qty) == "0.10000000"


def test_executions_and_replies_say_what_was_recorded(shared_kraken):
    fills, canceled, pending, new = map(decode, sample(shared_kraken, "ws_executions_2024.json"))
    replies = [decode(frame) for frame in sample(shared_kraken, "ws_trading_replies_2024.json")]

    assert isinstance(fills, Executions)
    assert [each.trade_id for each in fills.reports] == [37496584, 2125408, 35272682, 112396]
    assert fills.reports[0].fees[0].qty == Decimal("0.04051")
    assert (canceled.sequence, canceled.reports[0].reason) == (143, "User requested")
    assert (pending.reports[0].side, pending.reports[0].symbol) == ("buy", "ADX/USD")
    assert (new.reports[0].exec_type, new.reports[0].symbol) == ("new", None)
    assert all(isinstance(each, Reply) and each.success for each in replies)
    assert [each.method for each in replies][:3] == ["add_order", "amend_order", "edit_order"]
    assert replies[4].result == {"count": 0}
    assert len(replies[5].result) == 2


def test_repeated_prices_keep_the_order_of_the_message(shared_kraken):
    """The same price up to a dozen times in one message: the last entry wins."""
    (frame,) = sample(shared_kraken, "book_repeated_levels_btcusdt_2026-01-23.json")
    usdt = Instrument("BTC/USDT", Decimal("0.1"), LOT, 1, 8)
    feed = MarketFeed(InstrumentTable([usdt]), {"BTC/USDT": 1000}, verify=False)
    feed.take(
        decode(frame.replace(b'"update"', b'"snapshot"').split(b'"bids"')[0] + b'"bids":[]}]}'), 1
    )
    taken = take(feed, frame, 2)
    last = {}
    for level in decode(frame).bids:
        last[int(level.price * 10)] = int(level.qty * 10**8)

    assert len(taken.events) > 12 > len(last) == 2
    assert {price: int(book_qty(feed.book("BTC/USDT"), 0, price)) for price in last} == last


def test_the_published_examples_verify(shared_kraken):
    matic = Instrument("MATIC/USD", Decimal("0.0001"), LOT, 4, 8)
    for name, instrument, n in (
        ("book_docs_btcusd_checksum.json", BTC, 1),
        ("book_docs_maticusd.json", matic, 2),
    ):
        feed = feed_of(instrument, 10)
        troubles = [
            feed.take(decode(frame), i).troubles
            for i, frame in enumerate(sample(shared_kraken, name))
        ]
        assert troubles == [()] * n
        assert feed.counts(instrument.symbol) == (n, 0, 0)


def test_the_published_level3_snapshot_verifies(shared_kraken):
    (frame,) = sample(shared_kraken, "level3_docs_btcusd_snapshot.json")
    feed = MarketFeed(InstrumentTable([BTC]), {}, level3_depths={"BTC/USD": 10})
    message = decode(frame)
    taken = feed.take(message, 1)

    assert isinstance(message, Level3)
    assert message.checksum == 1063832831
    assert taken.troubles == ()
    assert (taken.events["kind"] == L3_ADD).sum() == 35
    assert taken.events[-1]["aux"] == 1063832831
    assert taken.events[-1]["flags"] & (CHECKSUM | VERIFIED | LAST) == CHECKSUM | VERIFIED | LAST


def test_recorded_level3_events_without_checksums_apply(shared_kraken):
    """Deletes tell whether the same id comes back: the order's own stamp, or a later one."""
    rows = json.loads(
        (shared_kraken / "samples" / "level3_events_btc_doge_2024-11-12.json").read_text()
    )
    doge = Instrument("DOGE/USD", Decimal("0.0000001"), LOT, 7, 8)
    table = InstrumentTable([BTC, doge])
    feed = MarketFeed(table, {}, level3_depths=dict.fromkeys(table.symbols, 1000))
    for symbol in table.symbols:
        empty = f'{{"channel":"level3","type":"snapshot","data":[{{"symbol":"{symbol}"}}]}}'
        feed.take(decode(empty.encode()), 1)
    n_events = 0
    for i, row in enumerate(rows):
        side = "bids" if row["side"] == "bid" else "asks"
        frame = (
            f'{{"channel":"level3","type":"update","data":[{{"symbol":"{row["symbol"]}","{side}":'
            f'[{{"event":"{row["event"]}","order_id":"{row["order_id"]}","limit_price":'
            f'{row["limit_price"]},"order_qty":{row["order_qty"]},'
            f'"timestamp":"{row["timestamp"]}"}}]}}]}}'
        )
        taken = feed.take(decode(frame.encode()), 2 + i)
        # Without a first book, an unseen order may stand on the wrong side of the window.
        if not taken.troubles:
            n_events += len(taken.events) - 1
    assert n_events > 300


# ---- recordings ----


def test_btc_depth_10_verifies_510_of_510(shared_data):
    feed = feed_of(BTC, 10)
    frames = btc_frames(shared_data)
    taken = [take(feed, frame, i) for i, frame in enumerate(frames)]

    assert len(frames) == 510
    assert feed.counts("BTC/USD") == (510, 0, 0)
    assert all(each.troubles == () for each in taken)
    closing = np.concatenate([each.events[-1:] for each in taken])
    assert (closing["flags"] & VERIFIED != 0).sum() == 510


def test_without_the_cut_only_60_of_510_match(shared_data):
    """The control: the recording can tell a book that is not cut from one that is."""
    matches = 0
    feed = MarketFeed(InstrumentTable([BTC]), {"BTC/USD": 0}, verify=False)
    naive = TextBook(10, cut=False)
    for i, frame in enumerate(btc_frames(shared_data)):
        message = decode(frame)
        feed.take(message, i)
        naive.message(
            *(
                [(f"{e.price:.1f}", f"{e.qty:.8f}") for e in side]
                for side in (message.bids, message.asks)
            )
        )
        matches += naive.checksum() == message.checksum
    assert matches == 60


def test_the_wrong_checksum_after_the_recording_is_told(shared_data):
    """The negative case of the client that recorded it."""
    feed = feed_of(BTC, 10)
    for i, frame in enumerate(btc_frames(shared_data)):
        take(feed, frame, i)
    wrong = (
        b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":29430.3,'
        b'"qty":1.69289565}],"asks":[],"checksum":2438868880,'
        b'"timestamp":"2023-07-30T15:30:49.008834Z"}]}'
    )
    taken = take(feed, wrong, 1000)

    assert [each.cause for each in taken.troubles] == [CHECKSUM_MISMATCH]
    assert list(taken.events["kind"]) == [GAP]
    assert not feed.synced("BTC/USD")


def test_mina_depth_25_verifies_19_of_19_over_its_resubscription(shared_data):
    feed = feed_of(MINA, 25)
    kinds = []
    for i, (way, frame) in enumerate(mina_frames(shared_data)):
        if way == "tx":
            continue
        message = decode(frame)
        assert not isinstance(message, Refused)
        if isinstance(message, Reply) and message.method == "unsubscribe":
            feed.expect_snapshot("MINA/GBP", i)
        taken = take(feed, frame, i)
        assert taken.troubles == ()
        kinds += list(taken.events["kind"])

    assert feed.counts("MINA/GBP") == (19, 0, 0)
    assert kinds.count(BOOK_LEVEL) > 100


@pytest.mark.parametrize("boundary", range(1, 510, 24))
def test_a_capture_that_starts_or_breaks_at_any_message_goes_on(shared_data, boundary):
    """Nothing before a snapshot; from a snapshot of that moment on, every checksum again."""
    frames = btc_frames(shared_data)
    naive = TextBook(10)
    for frame in frames[:boundary]:
        message = decode(frame)
        naive.message(
            [(f"{each.price:.1f}", f"{each.qty:.8f}") for each in message.bids],
            [(f"{each.price:.1f}", f"{each.qty:.8f}") for each in message.asks],
        )
    sides = [
        ",".join(f'{{"price":{price},"qty":{qty}}}' for price, qty in side.values())
        for side in (naive.bids, naive.asks)
    ]
    snapshot = (
        f'{{"channel":"book","type":"snapshot","data":[{{"symbol":"BTC/USD","bids":[{sides[0]}],'
        f'"asks":[{sides[1]}],"checksum":{naive.checksum()}}}]}}'
    ).encode()

    fresh = feed_of(BTC, 10)
    late = [take(fresh, frame, 1) for frame in frames[boundary : boundary + 3]]
    assert all(len(each.events) == 0 and each.troubles == () for each in late)
    broken = feed_of(BTC, 10)
    for frame in frames[:boundary]:
        take(broken, frame, 1)
    assert list(broken.lost(2, GAP_DISCONNECT)["kind"]) == [GAP]
    for feed in (fresh, broken):
        for frame in (snapshot, *frames[boundary:]):
            assert take(feed, frame, 3).troubles == ()
        assert feed.counts("BTC/USD")[1] == 0


def test_a_frame_cut_at_any_byte_changes_nothing(shared_data):
    frames = btc_frames(shared_data)
    feed = feed_of(BTC, 10)
    for frame in frames[:20]:
        take(feed, frame, 1)
    before = feed.book("BTC/USD").tobytes()
    for at in range(len(frames[20])):
        assert isinstance(decode(frames[20][:at]), Refused)
        assert feed.take_frame(frames[20][:at], 2) is None
    assert feed.book("BTC/USD").tobytes() == before
    assert take(feed, frames[20], 3).troubles == ()


def test_checksum_vectors_through_whole_frames(shared_data):
    """Snapshots made of the published vectors; some start-up books are thin."""
    draw = random.Random(1)
    path = shared_data / "kraken-checksum-vectors-a" / "vectors.jsonl"
    for line in path.read_text().splitlines():
        vector = json.loads(line)
        if vector["kind"] != "L2":
            continue
        texts = [*vector["bids"], *vector["asks"]]
        digits = [max(len(pair[i].partition(".")[2]) for pair in texts) for i in (0, 1)]
        steps = [Decimal(1).scaleb(-each) for each in digits]
        sides = [
            [f'{{"price":{p},"qty":{q}}}' for p, q in vector[name]] for name in ("bids", "asks")
        ]
        for side in sides:
            draw.shuffle(side)
        frame = (
            '{"channel":"book","type":"snapshot","data":[{"symbol":"A/USD","bids":'
            f'[{",".join(sides[0])}],"asks":[{",".join(sides[1])}],'
            f'"checksum":{vector["crc32"]}}}]}}'
        )
        feed = feed_of(Instrument("A/USD", steps[0], steps[1], *digits), 10)
        assert feed.take(decode(frame.encode()), 1).troubles == (), vector["id"]


def test_the_instrument_snapshot_makes_a_table(shared_data):
    path = shared_data / "kraken-instruments" / "ws_v2_instrument_snapshot_202403.json"
    message = decode(path.read_bytes())
    assert isinstance(message, Instruments)
    table = table_of(message)

    assert (len(message.assets), len(message.pairs), len(table)) == (296, 683, 683)
    statuses = [each.status for each in table]
    assert [statuses.count(s) for s in ("online", "reduce_only", "cancel_only")] == [672, 9, 2]
    assert table["BTC/USD"].price_increment == Decimal("0.1")


def test_book_samples_are_books(shared_kraken):
    frames = sample(shared_kraken, "book_btcusd_d10_2023-07-30.json")
    assert all(isinstance(decode(frame), Book) for frame in frames)
