"""The recorded Binance minutes: the snapshot trap, the published book, the clock."""

import gzip
import json
from decimal import Decimal

import numpy as np
import pytest

from adapters.imports import binance
from adapters.imports.formats import detect
from engine.events import (
    BOOK_LEVEL,
    LAST,
    SNAPSHOT,
    TICKER,
    TICKER_ASK,
    TICKER_BID,
    TRADE,
)
from tests.naive.touch import Touch

FOLDER = "binance-btcusdt-20240808"
USDM = "usdm_btcusdt_20240808.gz"
SPOT = ("spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz")
PUBLISHED_CORRECTION_NS = 1_272_156_851


@pytest.fixture(scope="module")
def usdm(shared_data):
    found = binance.read(shared_data / FOLDER / USDM)
    return found, found.read_all()


@pytest.fixture(scope="module")
def spot(shared_data):
    found = binance.read([shared_data / FOLDER / name for name in SPOT])
    return found, found.read_all()


def final_book(events):
    """Dictionaries after all book events, and whether any closed message left them crossed."""
    touch, crossed = Touch(), 0
    for event in events[events["kind"] == BOOK_LEVEL].tolist():
        touch.set(0 if event[9] > 0 else 1, event[3], event[4])
        if event[10] & LAST:
            crossed += touch.crossed()
    return touch, crossed


def test_usdm_counts_per_stream_and_unbroken_ids(usdm):
    found, events = usdm
    used, rejects = found.summary.rows_used, found.summary.rejects

    assert used["depth update"] + rejects["book update that the snapshot holds already"] == 6_551
    assert used["trade"] == 21_313
    assert used["book ticker"] == 66_089
    assert used["snapshot"] == 1
    assert found.summary.n_gaps == 0  # the `pu` chain is unbroken
    assert "trade_id_breaks" not in found.summary.facts
    trades = events[events["kind"] == TRADE]
    assert (np.diff(trades["id"]) == 1).all()
    assert 5.70 < (int(events["ts"][-1]) - int(events["ts"][0])) / 60e9 < 5.80
    assert found.instruments.symbols == ("BTC/USDT",)
    assert found.instruments[0].price_increment == Decimal("0.1")
    assert found.venue == "binance-usdm"


def test_usdm_the_strict_protocol_gives_9596_levels_and_the_published_rows(usdm):
    _, events = usdm
    touch, crossed = final_book(events)
    bids, asks = touch.levels

    assert crossed == 0
    assert len(bids) + len(asks) == 9_596
    assert (touch.best(0), touch.best(1)) == (616_597, 616_598)
    assert [(p, bids[p]) for p in sorted(bids, reverse=True)[:5]] == [
        (616_597, 1_486),
        (616_590, 2),
        (616_581, 33),
        (616_580, 6_718),
        (616_579, 7),
    ]
    assert [(p, asks[p]) for p in sorted(asks)[-5:]] == [
        (773_543, 15),
        (779_059, 3),
        (800_000, 10_708),
        (1_047_650, 34),
        (6_170_500, 3),
    ]


def raw_lines(folder, *names):
    for name in names:
        with gzip.open(folder / name, "rt") as lines:
            for line in lines:
                ts, _, text = line.partition(" ")
                yield int(ts), json.loads(text)


def test_usdm_every_depth_event_of_the_file_gives_the_published_9597(shared_data, usdm):
    """The published count applies the updates before the snapshot as well: one stale level."""
    sides = ({}, {})
    for _, message in raw_lines(shared_data / FOLDER, USDM):
        if "stream" not in message:
            levels = (message["bids"], message["asks"])
        elif "@depth" in message["stream"]:
            levels = (message["data"]["b"], message["data"]["a"])
        else:
            continue
        for side, given in zip(sides, levels, strict=True):
            for price, qty in given:
                side[int(Decimal(price) * 10)] = int(Decimal(qty) * 1000)
    published = [{p: q for p, q in side.items() if q} for side in sides]
    strict, _ = final_book(usdm[1])

    assert sum(map(len, published)) == 9_597
    for ours, theirs in zip(strict.levels, published, strict=True):
        assert ours.items() <= theirs.items()
    assert (max(published[0]), min(published[1])) == (616_597, 616_598)


def test_usdm_clock_offset_is_the_published_correction(usdm):
    found, events = usdm
    facts = found.summary.facts

    assert -facts["latency_ns_min"]["depthUpdate.T"] == PUBLISHED_CORRECTION_NS
    assert facts["clock_shift_ns"] == 0
    # As recorded: received before it was sent.
    stamped = events[events["ts_venue"] > 0]
    assert (stamped["ts"] < stamped["ts_venue"]).all()
    assert any("behind the exchange" in note for note in found.notes)


def test_usdm_the_clock_can_be_corrected(shared_data, usdm):
    shifted = binance.read(shared_data / FOLDER / USDM, clock_shift_ns="auto")
    events = shifted.read_all()

    stamped = events[events["ts_venue"] > 0]
    assert int((stamped["ts"] - stamped["ts_venue"]).min()) == 0
    shift = shifted.summary.facts["clock_shift_ns"]
    assert np.array_equal(events["ts"], usdm[1]["ts"] + shift)
    # The fastest quote was a quarter of a millisecond faster than the fastest depth message.
    assert PUBLISHED_CORRECTION_NS < shift < PUBLISHED_CORRECTION_NS + 300_000


def test_spot_counts_per_stream_and_unbroken_ids(spot):
    found, events = spot
    used, rejects = found.summary.rows_used, found.summary.rejects

    assert used["depth update"] + rejects["book update that the snapshot holds already"] == 6_495
    assert used["trade"] == 19_904
    assert used["book ticker"] == 73_174
    assert found.summary.n_gaps == 0
    assert (np.diff(events["id"][events["kind"] == TRADE]) == 1).all()
    # 2024-08-08 23:54:13.9 .. 2024-08-09 00:05:04 UTC, 10.84 minutes, two files in one.
    assert int(events["ts"][0]) // 10**8 == 17231612540
    assert 10.8 < (int(events["ts"][-1]) - int(events["ts"][0])) / 60e9 < 10.85
    assert found.instruments[0].price_increment == Decimal("0.01")
    assert found.venue == "binance-spot"


def test_spot_is_never_crossed_and_ends_at_the_last_quote(spot):
    _, events = spot
    touch, crossed = final_book(events)
    tickers = events[events["kind"] == TICKER]
    last = {
        code: int(tickers["price"][tickers["id"] == code][-1]) for code in (TICKER_BID, TICKER_ASK)
    }

    assert crossed == 0
    assert (touch.best(0), touch.best(1)) == (6_160_201, 6_160_202)
    assert last == {TICKER_BID: 6_160_201, TICKER_ASK: 6_160_202}


def test_spot_updates_that_came_before_the_snapshot_follow_it(spot):
    """Dropping the held update leaves a stale bid and a crossed book, 61820.99 / 61602.02."""
    _, events = spot
    levels = events[events["kind"] == BOOK_LEVEL]
    n_snapshot = int((levels["flags"] & SNAPSHOT > 0).sum())
    assert n_snapshot == 2_000
    assert (levels["flags"][:n_snapshot] & SNAPSHOT > 0).all()
    held = levels[n_snapshot:]
    first = held[: int(np.flatnonzero(held["flags"] & LAST)[0]) + 1]
    assert (first["ts"] == levels["ts"][0]).all()
    without = np.concatenate([levels[:n_snapshot], held[len(first) :]])

    stale, crossed = final_book(without)

    assert crossed > 0
    assert (stale.best(0), stale.best(1)) == (6_182_099, 6_160_202)


def test_sides_are_those_of_the_taker(shared_data, spot):
    _, events = spot
    trades = events[events["kind"] == TRADE]
    makers = [
        message["data"]["m"]
        for _, message in raw_lines(shared_data / FOLDER, *SPOT)
        if message.get("stream", "").endswith("@trade")
    ]

    assert trades["side"].tolist() == [-1 if buyer_is_maker else 1 for buyer_is_maker in makers]


def test_the_format_is_found(shared_data):
    assert detect(shared_data / FOLDER / USDM) == "binance-depth"
