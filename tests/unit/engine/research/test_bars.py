"""Bars on trades that can be read."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from engine.errors import InvariantError
from engine.events import BOOK_LEVEL, SNAPSHOT, TRADE, empty
from engine.instruments import Instrument
from engine.research.bars import BAR, DAY, MINUTE, BarBuilder, bar_rows, bars_of, vwap_ticks


def trades(*rows):
    """EVENT trades from (ts, price, qty)."""
    events = empty(len(rows))
    events["kind"], events["sym"] = TRADE, 0
    for event, (ts, price, qty) in zip(events, rows, strict=True):
        event["ts"] = event["ts_venue"] = ts
        event["price"], event["qty"] = price, qty
    return events


def test_intervals_are_half_open_and_start_at_multiples_of_their_length():
    bars = bars_of([trades((MINUTE - 1, 10, 1), (MINUTE, 11, 1), (2 * MINUTE - 1, 12, 2))], MINUTE)

    assert [int(ts) for ts in bars["ts"]] == [0, MINUTE]
    assert [int(n) for n in bars["count"]] == [1, 2]
    assert (int(bars["open"][1]), int(bars["close"][1])) == (11, 12)


def test_empty_intervals_repeat_the_last_close_when_filled():
    bars = bars_of([trades((0, 10, 1), (1, 9, 1), (3 * MINUTE, 12, 1))], MINUTE, fill=True)

    assert [int(close) for close in bars["close"]] == [9, 9, 9, 12]
    assert [int(volume) for volume in bars["volume"]] == [2, 0, 0, 1]


def test_the_average_is_exact_where_one_word_is_too_small():
    """A day of Bitcoin: 10^6 ticks x 10^13 lots is beyond int64."""
    rows = [(i, 1_000_000 + i, 10**12) for i in range(10)]

    bar = bars_of([trades(*rows)], DAY)[0]

    assert vwap_ticks(bar) == Fraction(sum(price for _, price, _ in rows), 10)


def test_a_bar_without_volume_has_no_average():
    assert vwap_ticks(np.zeros(1, BAR)[0]) is None


def test_the_receive_time_is_used_where_it_is_asked_for_or_the_only_one():
    rows = trades((5, 10, 1), (MINUTE + 5, 11, 1))
    rows["ts"] += MINUTE

    assert [int(ts) for ts in bars_of([rows], MINUTE)["ts"]] == [0, MINUTE]
    assert [int(t) for t in bars_of([rows], MINUTE, by_venue_time=False)["ts"]] == [
        MINUTE,
        2 * MINUTE,
    ]
    rows["ts_venue"] = 0
    assert [int(ts) for ts in bars_of([rows], MINUTE)["ts"]] == [MINUTE, 2 * MINUTE]


def test_a_late_trade_counts_in_the_open_bar_and_is_counted():
    builder = BarBuilder(MINUTE)

    builder.add(trades((MINUTE, 10, 1)))
    builder.add(trades((0, 7, 1)))
    bars = builder.finish()

    assert [(int(b["ts"]), int(b["low"]), int(b["count"])) for b in bars] == [(MINUTE, 7, 2)]
    assert builder.n_late == 1


def test_history_and_other_events_are_no_flow():
    rows = trades((0, 10, 1), (1, 11, 1))
    rows["flags"][0] = SNAPSHOT
    rows["kind"][1] = BOOK_LEVEL

    assert len(bars_of([rows], MINUTE)) == 0
    assert len(bars_of([], MINUTE)) == 0


def test_rows_read_as_decimals():
    pair = Instrument("BTC/USD", Decimal("0.1"), Decimal("0.01"), 1, 2)

    rows = list(bar_rows(bars_of([trades((0, 10, 3), (1, 12, 4))], MINUTE), pair))

    assert rows == [
        (0, Decimal("1.0"), Decimal("1.2"), Decimal("1.0"), Decimal("1.2"), Decimal("0.07"), 2)
    ]


def test_a_length_of_nothing_is_refused():
    with pytest.raises(InvariantError, match="length above zero"):
        BarBuilder(0)
