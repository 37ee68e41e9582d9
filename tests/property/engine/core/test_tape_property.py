"""The tape's running sums, ranges, candles and order flow against lists counted afresh."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core import tape as t
from tests.naive.tape import wilder_atr
from tests.support.market import histories, lived


@given(seed=st.integers(0, 2**32), history=histories)
def test_window_sums_are_those_of_the_trades_in_the_window(seed, history):
    market = lived(seed, history)
    for i, width in enumerate(t.WINDOWS_S):
        trades = market.naive.tape.window(width)
        buys = [each for each in trades if each.side == 1]
        sells = [each for each in trades if each.side == -1]
        expected = {
            t.B_BUY: sum(each.notional for each in buys),
            t.B_SELL: sum(each.notional for each in sells),
            t.B_NOTIONAL: sum(each.notional for each in trades),
            t.B_BUY_LOTS: sum(each.qty for each in buys),
            t.B_SELL_LOTS: sum(each.qty for each in sells),
            t.B_LOTS: sum(each.qty for each in trades),
            t.B_TRADES: len(trades),
        }
        tape = market.symbol["tape"]
        assert expected == {c: t.window_sum(tape, i, c) for c in expected}


@given(seed=st.integers(0, 2**32), history=histories)
def test_sample_sums_and_ranges_are_those_of_the_mids_in_the_window(seed, history):
    market = lived(seed, history)
    tape = market.symbol["tape"]
    for i, width in enumerate(t.WINDOWS_S):
        mids = [each.mid for each in market.naive.tape.mids(width)]
        returns = market.naive.tape.returns(width)
        expected = [
            len(mids),
            len(returns),
            sum(each.move for each in returns),
            sum(each.move**2 for each in returns),
            sum(each.span for each in returns),
        ]
        assert expected == tape["sample_sums"][i].tolist()
        assert (max(mids, default=0), min(mids, default=0)) == (tape["high"][i], tape["low"][i])


@given(seed=st.integers(0, 2**32), history=histories)
def test_vwap_and_its_variance_are_those_of_the_trades(seed, history):
    market = lived(seed, history)
    lots, mean, variance = market.naive.tape.vwap()
    lots_is, mean_is, square_is = t.vwap_moments(market.symbol["tape"])
    assert float(lots) == pytest.approx(lots_is, rel=1e-12)
    if lots:
        assert float(mean) == pytest.approx(mean_is, rel=1e-13)
        assert float(variance) == pytest.approx(square_is / lots_is, rel=1e-9, abs=1e-12)


@given(seed=st.integers(0, 2**32), history=histories)
def test_candles_and_their_atr(seed, history):
    market = lived(seed, history)
    tape = market.symbol["tape"]
    candles = market.naive.tape.candles()
    assert min(len(candles), t.CANDLES - 1) == tape["n_candles"]
    for candle in candles[-(t.CANDLES - 1) :]:
        assert list(candle) == tape["candles"][candle.minute % t.CANDLES].tolist()
    atr = wilder_atr([(c.high, c.low, c.close) for c in candles], t.ATR_N)
    assert len(candles) == tape["n_ranges"]
    assert (atr[-1] if atr else 0.0) == pytest.approx(tape["atr"], rel=1e-12)


@given(seed=st.integers(0, 2**32), history=histories)
def test_order_flow_and_its_slope(seed, history):
    market = lived(seed, history)
    tape = market.symbol["tape"]
    x, cover, messages = market.naive.tape.flow()
    assert x == pytest.approx(tape["flow_now"], rel=1e-12)
    assert (cover, messages) == (tape["flow_cover"], tape["flow_messages"])
    slope, pairs = market.naive.tape.slope()
    assert pairs == tape["n_slope"]
    if not math.isnan(slope):
        assert slope == pytest.approx(t.flow_slope(tape), rel=1e-6, abs=1e-9)


@given(seed=st.integers(0, 2**32), history=histories)
def test_the_volatility_histogram_holds_the_last_hour(seed, history):
    market = lived(seed, history)
    tape = market.symbol["tape"]
    slots = [slot for _, slot in market.naive.tape.variance_slots()]
    assert len(slots) == tape["n_vols"]
    assert {slot: slots.count(slot) for slot in slots} == {
        i: int(n) for i, n in enumerate(tape["vol_counts"]) if n
    }
