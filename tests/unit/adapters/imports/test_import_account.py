"""The account of an import: rows in = rows used + rejects, and stamps that never fall."""

from decimal import Decimal

import numpy as np
import pytest

from adapters.imports.base import (
    SAMPLES_MAX,
    Channel,
    Import,
    Rows,
    Summary,
    book_channels,
)
from engine.errors import InvariantError
from engine.events import GAP, GAP_BACKWARDS, GAP_SOURCE, HEARTBEAT, LAST, TRADE, empty
from engine.instruments import Instrument, InstrumentTable

TABLE = InstrumentTable([Instrument("BTC/USD", Decimal("0.1"), Decimal("1e-8"), 1, 8)])


def made(stream):
    return Import("source", "kraken", TABLE, (Channel("trade"),), "clock", False, stream)


def test_a_row_that_is_neither_used_nor_declared_is_a_bug_of_ours():
    def stream(summary):
        summary.rows_in = 3
        summary.use("trade")
        summary.reject("torn", "line 2")
        rows = empty(1)
        rows["kind"] = TRADE
        yield rows

    with pytest.raises(InvariantError, match="1 are lost"):
        made(stream).read_all()


def test_events_that_run_backwards_are_a_bug_of_ours():
    def stream(summary):
        rows = empty(2)
        rows["kind"], rows["ts"] = TRADE, [2, 1]
        yield rows

    with pytest.raises(InvariantError, match="backwards"):
        made(stream).read_all()

    def two(summary):
        for ts in (2, 1):
            rows = empty(1)
            rows["kind"], rows["ts"] = TRADE, ts
            yield rows

    with pytest.raises(InvariantError, match="between batches"):
        list(made(two).batches(rows=1))


def test_an_import_without_events_is_complete():
    found = made(lambda summary: iter(()))

    assert len(found.read_all()) == 0
    assert found.summary.complete
    assert found.summary.to_json()["ts_first"] == 0


def test_only_some_rejects_are_kept_with_their_place():
    summary = Summary()
    for i in range(100):
        summary.reject("torn", f"line {i}")

    assert summary.n_rejected == 100
    assert len(summary.samples) == SAMPLES_MAX


def test_what_has_no_time_gets_the_first_time_that_comes():
    summary = Summary()
    rows = Rows(summary, TABLE)
    rows.add(HEARTBEAT, flags=LAST)
    assert len(rows.take()) == 0
    rows.stamp(50)
    rows.add(HEARTBEAT, flags=LAST)

    assert rows.take()["ts"].tolist() == [50, 50]


def test_events_that_never_meet_a_time_are_dropped_and_said():
    summary = Summary()
    rows = Rows(summary, TABLE)
    rows.add(HEARTBEAT, flags=LAST)

    assert len(rows.rest()) == 0
    assert summary.facts["events_without_any_time"] == 1


def test_small_steps_back_are_counted_and_long_ones_are_gaps():
    summary = Summary()
    rows = Rows(summary, TABLE, tolerance_ns=100)
    stamps = []
    for ts in (1000, 950, 980, 800, 990, 1010):
        stamps.append(rows.stamp(ts, 0))

    assert stamps == [1000, 1000, 1000, 1000, 1000, 1010]
    assert (summary.n_backwards, summary.backwards_ns_max) == (2, 180)
    events = rows.take()
    assert events["kind"].tolist() == [GAP]
    assert events["id"].tolist() == [GAP_BACKWARDS]
    assert (summary.gaps[0].symbol, summary.gaps[0].cause) == ("BTC/USD", "backwards")


def test_a_gap_of_all_pairs_has_no_symbol():
    summary = Summary()
    rows = Rows(summary, TABLE)
    rows.stamp(10)
    rows.gap(-1, 5, GAP_SOURCE)

    assert [(g.symbol, g.ts_from, g.ts_to, g.cause) for g in summary.gaps] == [
        ("", 5, 10, "source")
    ]


def test_books_of_different_depths_are_different_channels():
    assert book_channels({"BTC/USD": 10, "ETH/USD": 1000, "ADA/USD": 10}) == [
        Channel("book", 10, symbols=("ADA/USD", "BTC/USD")),
        Channel("book", 1000, symbols=("ETH/USD",)),
    ]


def test_small_pieces_are_joined_to_batches():
    def stream(summary):
        for i in range(10):
            summary.rows_in += 1
            summary.use("trade")
            rows = empty(3)
            rows["kind"], rows["ts"] = TRADE, i + 1
            yield rows

    sizes = [len(batch) for batch in made(stream).batches(rows=10)]

    assert sizes == [12, 12, 6]
    assert np.array_equal(made(stream).read_all()["seq"], np.arange(30))
