"""The thinking half of a capture: pairs, parts, doubt between connections. No socket, no file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adapters.kraken.capture import CaptureConfig, Lineage
from adapters.kraken.phases import SECOND
from engine.errors import ConfigError, VenueError
from engine.events import (
    BOOK_LEVEL,
    DERIVED,
    EPOCH,
    GAP,
    GAP_SOURCE,
    INSTRUMENT,
    RESYNC,
    SNAPSHOT,
    SYSTEM_STATUS,
)
from tests.support import kraken_words as say
from tests.support.capture_desk import Desk, listed, pair
from tests.support.kraken_words import T0

BTC, ETH = "BTC/USD", "ETH/USD"


def desk(**options: Any) -> Desk:
    channels = options.pop("channels", {"book": 10, "trade": 0})
    made = Desk(CaptureConfig(symbols=(BTC, ETH), channels=channels, **options))
    made.hear(0, listed(pair(BTC), pair(ETH), pair("SOL/USD"), pair("USDT/USD"), pair("ADA/EUR")))
    made.settle()
    return made


def test_it_begins_with_the_state_of_venue_and_pairs() -> None:
    rows = desk().shelf.of_part(0)

    assert (np.diff(rows["seq"]) == 1).all()
    assert (np.diff(rows["ts"]) >= 0).all()
    derived = rows[rows["flags"] & DERIVED != 0]
    assert derived["kind"].tolist() == [SYSTEM_STATUS, INSTRUMENT, INSTRUMENT]
    assert rows[rows["kind"] == EPOCH]["aux"].tolist() == [3, 4, 1]  # invalid, closed, valid


def test_the_next_part_begins_with_every_book_and_goes_on_counting() -> None:
    made = desk(part_ns=60 * SECOND)
    first = made.shelf.of_part(0)
    made.tick(60 * SECOND)

    second = made.shelf.of_part(1)
    assert len(made.shelf.parts) == 2
    assert second["seq"][0] == made.shelf.parts[1].seq_first == first["seq"].max() + 1
    books = second[second["kind"] == BOOK_LEVEL]
    assert set(books["sym"]) == {0, 1}
    assert (books["flags"] & SNAPSHOT).all()
    before = first[(first["kind"] == BOOK_LEVEL) & (first["sym"] == 0)]
    again = books[books["sym"] == 0]
    # The same levels as the venue's own snapshot, and the same checksum at its end.
    assert set(zip(before["price"], before["qty"], before["side"], strict=True)) == set(
        zip(again["price"], again["qty"], again["side"], strict=True)
    )
    assert before["aux"][-1] == again["aux"][-1] > 0


def test_other_increments_begin_a_part_with_another_table() -> None:
    made = desk()
    made.hear(0, listed(pair(BTC, tick=0.5), kind="update"))
    made.settle()

    first, second = made.shelf.of_part(0), made.shelf.of_part(1)
    assert [str(each.instruments[BTC].price_increment) for each in made.shelf.parts] == [
        "0.1",
        "0.5",
    ]
    gap = first[first["kind"] == GAP][-1]
    assert (gap["sym"], gap["id"]) == (0, GAP_SOURCE)
    # The pair whose steps changed waits for a snapshot, the other goes on.
    opening = second[(second["kind"] == BOOK_LEVEL) & (second["flags"] & DERIVED != 0)]
    assert set(opening["sym"]) == {1}
    assert any("price_increment 0.1 -> 0.5" in str(each) for each in made.shelf.remarks)


def test_a_gap_on_one_connection_asks_the_others_for_fresh_snapshots() -> None:
    made = desk(channels={"book": 10, "level3": 10})
    assert made.capture.level3 == [False, True]
    made.asked.clear()

    made.hear(1, b'{"channel":"level3","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[],'
                 b'"asks":[],"checksum":0,"timestamp":"2026-01-01T00:00:00.000000Z"}]}')  # fmt: skip
    made.hear(1, b'{"channel":"level3","type":"update","data":[{"symbol":"BTC/USD","bids":[],'
                 b'"asks":[],"checksum":7,"timestamp":"2026-01-01T00:00:00.000000Z"}]}')  # fmt: skip
    made.tick(SECOND)

    rows = made.shelf.of_part(0)
    assert rows[rows["kind"] == GAP]["sym"].tolist() == [0]
    assert rows[rows["kind"] == RESYNC]["sym"].tolist() == [0]
    left = [(conn, each["method"], each["params"]["channel"]) for conn, each in made.asked]
    assert (0, "unsubscribe", "book") in left
    assert (1, "unsubscribe", "level3") in left


def test_many_symbols_are_spread_over_connections() -> None:
    names = [f"A{i}/USD" for i in range(7)]
    made = Desk(CaptureConfig(channels={"trade": 0}, per_connection=3))
    made.hear(0, listed(*map(pair, names)))
    made.settle()

    assert [each.subscriptions.symbols for each in made.capture.sessions] == [
        tuple(names[:3]),
        tuple(names[3:6]),
        tuple(names[6:]),
    ]
    assert not any(each.alone for each in made.capture.sessions)


def test_the_universe_leaves_out_what_is_denied_or_not_online() -> None:
    made = Desk(CaptureConfig(channels={"trade": 0}))
    made.hear(
        0,
        listed(
            pair("SOL/USD"), pair("USDT/USD"), pair("ADA/EUR"), pair(BTC), pair(ETH, "cancel_only")
        ),
    )

    assert made.capture.instruments.symbols == (BTC, "SOL/USD")


def test_a_universe_is_never_cut_in_silence() -> None:
    made = Desk(CaptureConfig(channels={"trade": 0}, symbols_max=1))

    with pytest.raises(ConfigError, match="2 pairs"):
        made.hear(0, listed(pair(BTC), pair(ETH)))


def test_a_venue_that_lists_nothing_is_given_up() -> None:
    made = Desk(CaptureConfig(channels={"trade": 0}))

    for _ in range(60):
        made.hear(0, say.HEARTBEAT)
        made.tick(SECOND)

    with pytest.raises(VenueError, match="listed its pairs"):
        made.tick(SECOND)


def test_a_lineage_goes_on_with_a_gap_over_the_time_between() -> None:
    lineage = Lineage("kraken-x", seq_next=500, ts_last=T0 - 90 * SECOND, epoch=4, part=2)
    made = Desk(CaptureConfig(symbols=(BTC,), channels={"trade": 0}), lineage)
    made.hear(0, listed(pair(BTC)))
    made.settle()

    rows = made.shelf.of_part(0)
    assert rows["seq"][0] == 500
    (gap,) = rows[rows["kind"] == GAP]
    assert (gap["aux"], gap["id"], gap["sym"]) == (T0 - 90 * SECOND, GAP_SOURCE, -1)
    assert rows[rows["kind"] == EPOCH]["id"][0] == 5
    assert made.shelf.parts[0].meta["part"] == 3


@pytest.mark.parametrize(
    ("channels", "says"),
    [({"book": 50}, "no depth 50"), ({"books": 0}, "no channel 'books'"), ({}, "at least one")],
)
def test_channels_that_are_not_are_refused(channels, says) -> None:
    with pytest.raises(ConfigError, match=says):
        CaptureConfig(channels=channels)
