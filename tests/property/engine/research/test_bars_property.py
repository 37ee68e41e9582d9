"""Bars equal their slow twin, for any split of the trades and any order of their times."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.events import TRADE, empty
from engine.research.bars import BarBuilder
from tests.naive import bars as naive

INTERVAL = 60
TRADES = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(1, 2000),
        st.integers(1, 1 << 31),
        st.integers(1, 1 << 31),
    ),
    max_size=60,
)


def events_of(trades):
    events = empty(len(trades))
    events["kind"] = TRADE
    for row, (sym, ts, price, qty) in zip(events, trades, strict=True):
        row["sym"], row["ts"], row["ts_venue"] = sym, ts + 5, ts
        row["price"], row["qty"] = price, qty
    return events


def rows_of(bars):
    return sorted(
        (
            *(int(bar[name]) for name in ("sym", "ts", "open", "high", "low", "close", "volume")),
            (int(bar["value_high"]) << 32) + int(bar["value_low"]),
            int(bar["count"]),
        )
        for bar in bars
    )


@given(trades=TRADES, cuts=st.lists(st.integers(0, 60), max_size=5), fill=st.booleans())
def test_parity_with_the_naive_bars_for_any_split(trades, cuts, fill):
    builder = BarBuilder(INTERVAL, fill=fill)

    pieces = [builder.add(part) for part in np.split(events_of(trades), sorted(cuts))]
    bars = np.concatenate([*pieces, builder.finish()])

    assert rows_of(bars) == sorted(naive.bars(trades, INTERVAL, fill))


@given(trades=TRADES, fill=st.booleans())
def test_no_trade_and_no_lot_is_lost(trades, fill):
    builder = BarBuilder(INTERVAL, fill=fill)

    bars = np.concatenate([builder.add(events_of(trades)), builder.finish()])

    assert int(bars["count"].sum()) == len(trades)
    assert sum(map(int, bars["volume"])) == sum(qty for *_, qty in trades)
    assert (bars["low"] <= bars["high"]).all()
