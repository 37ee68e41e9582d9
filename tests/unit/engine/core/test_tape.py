"""What stands in which window to the nanosecond, candles and ranges as published, order flow."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.core import tape as t
from tests.naive.tape import true_ranges, wilder_atr

S = 1_000_000_000
T0 = 1_700_000_000 * S


def new_tape() -> Any:
    return np.zeros(1, t.TAPE)[0]


def trade(tape: Any, ts: int, price: int = 100, qty: int = 1, side: int = 1) -> None:
    t.tape_trade(tape, price, qty, side, price * qty, ts)


def count(tape: Any, i_window: int) -> int:
    return int(t.window_sum(tape, i_window, t.B_TRADES))


@pytest.mark.parametrize("i_window", range(t.N_WINDOWS))
@pytest.mark.parametrize(
    ("before_start_ns", "expected"),
    [(0, 0), (1, 0), (-1, 1)],
    ids=["on its start", "before its start", "just after its start"],
)
def test_a_window_begins_just_after_w_seconds_ago(i_window, before_start_ns, expected):
    tape = new_tape()
    trade(tape, T0 - before_start_ns)
    t.tape_second(tape, 0, T0 + t.WINDOWS_S[i_window] * S)
    assert expected == count(tape, i_window)


@pytest.mark.parametrize("i_window", range(t.N_WINDOWS))
def test_a_window_holds_a_trade_of_this_very_moment(i_window):
    tape = new_tape()
    trade(tape, T0)
    t.tape_second(tape, 0, T0)
    assert 1 == count(tape, i_window)


def test_between_seconds_a_window_begins_w_seconds_before_the_next_full_one():
    tape = new_tape()
    trade(tape, T0)
    trade(tape, T0 + 1)
    t.tape_second(tape, 0, T0 + 9 * S)
    assert 2 == count(tape, t.I_10S)
    t.tape_second(tape, 0, T0 + 9 * S + 1)
    assert 1 == count(tape, t.I_10S)
    t.tape_second(tape, 0, T0 + 10 * S)
    assert 1 == count(tape, t.I_10S)
    t.tape_second(tape, 0, T0 + 10 * S + 1)
    assert 0 == count(tape, t.I_10S)


def test_a_trade_without_a_side_counts_in_the_totals_only():
    tape = new_tape()
    trade(tape, T0, price=7, qty=3, side=0)
    assert 1 == count(tape, t.I_1M)
    assert 21 == t.window_sum(tape, t.I_1M, t.B_NOTIONAL)
    assert 3 == t.window_sum(tape, t.I_1M, t.B_LOTS)
    for column in (t.B_BUY, t.B_SELL, t.B_BUY_LOTS, t.B_SELL_LOTS):
        assert 0 == t.window_sum(tape, t.I_1M, column)


def test_sums_never_wrap_what_does_not_fit_is_counted_and_left_out():
    tape = new_tape()
    most = t.SUM_MAX - 10
    t.tape_trade(tape, 5, 1, 1, most, T0)
    t.tape_trade(tape, 5, 1, 1, 11, T0 + 5 * S)
    assert most == t.window_sum(tape, t.I_1H, t.B_BUY)
    assert 1 == tape["n_clipped"]
    t.tape_trade(tape, 5, 1, 1, 10, T0 + 6 * S)
    assert t.SUM_MAX == t.window_sum(tape, t.I_1H, t.B_BUY)
    t.tape_second(tape, 0, T0 + 3600 * S)
    assert 10 == t.window_sum(tape, t.I_1H, t.B_BUY)
    t.tape_second(tape, 0, T0 + 4000 * S)
    assert 0 == t.window_sum(tape, t.I_1H, t.B_BUY)


def test_a_leap_of_ten_years_empties_every_window_at_once():
    tape = new_tape()
    for k in range(700):
        trade(tape, T0 + k * S)
        t.tape_touch(tape, 100 + k % 3, 5, 104, 5)
        t.tape_second(tape, 204 + k % 3, T0 + k * S)
    later = T0 + 315_360_000 * S
    t.tape_second(tape, 0, later)
    assert not tape["sums"].any()
    assert not tape["sample_sums"].any()
    assert not tape["ar_sums"].any()
    assert not tape["vol_counts"].any()
    assert not tape["high"].any()
    assert (0, 0, 0) == (tape["n_vols"], tape["n_candles"], tape["n_ranges"])
    assert (0.0, 0.0, 0.0) == t.vwap_moments(tape)
    trade(tape, later + 1)
    assert 1 == count(tape, t.I_1H)


def test_a_second_is_sampled_once():
    tape = new_tape()
    t.tape_second(tape, 200, T0)
    t.tape_second(tape, 999, T0 + S // 2)
    t.tape_second(tape, 204, T0 + S)
    assert (204, 200) == (tape["high"][t.I_10S], tape["low"][t.I_10S])
    assert [2, 1, 4, 16, 1] == tape["sample_sums"][t.I_10S].tolist()


def test_a_return_joins_valid_mids_across_seconds_without_one():
    tape = new_tape()
    for k, mid in enumerate([200, 0, 0, 206]):
        t.tape_second(tape, mid, T0 + k * S)
    assert [2, 1, 6, 36, 3] == tape["sample_sums"][t.I_10S].tolist()


@pytest.mark.parametrize(("silence", "returns"), [(3600, 1), (3601, 0)])
def test_a_mid_of_over_an_hour_ago_makes_no_return(silence, returns):
    tape = new_tape()
    t.tape_second(tape, 200, T0)
    t.tape_second(tape, 260, T0 + silence * S)
    assert returns == tape["sample_sums"][t.I_1H, t.W_RETURNS]
    assert 1 + returns == tape["n_mids"]


def test_a_move_too_large_to_square_is_clipped_and_counted():
    tape = new_tape()
    t.tape_second(tape, 200, T0)
    t.tape_second(tape, 200 + t.MOVE_MAX + 1, T0 + S)
    t.tape_second(tape, 200 + t.MOVE_MAX + 3, T0 + 2 * S)
    squares = t.MOVE_MAX * t.MOVE_MAX + 4
    assert [3, 2, t.MOVE_MAX + 2, squares, 2] == tape["sample_sums"][t.I_1H].tolist()
    # The move, and the deviation from the mean that it made (beyond 6.7 % of mid), twice.
    assert 3 == tape["n_clipped"]


def test_ranges_hold_at_every_second():
    """Each place that a window's start can have in its block, for the two shortest windows."""
    tape = new_tape()
    mids = [1_000 + (k * 7919) % 613 for k in range(400)]
    for k, mid in enumerate(mids):
        t.tape_second(tape, mid, T0 + k * S)
        for i in (t.I_10S, t.I_1M, t.I_5M):
            inside = mids[max(0, k + 1 - t.WINDOWS_S[i]) : k + 1]
            assert (max(inside), min(inside)) == (tape["high"][i], tape["low"][i])


@pytest.mark.parametrize("pause", [1, 449, 450, 899, 900, 1799])
@pytest.mark.parametrize("start", [0, 1, 450, 899])
def test_vwap_across_a_pause_in_any_place_of_its_block(start, pause):
    tape = new_tape()
    first = (T0 // S // 900 * 900 + start) * S
    trade(tape, first, price=100, qty=1)
    trade(tape, first + pause * S, price=104, qty=3)
    t.tape_second(tape, 0, first + pause * S)
    lots, mean, square = t.vwap_moments(tape)
    if pause < 900:
        assert (4.0, 103.0, 12.0) == pytest.approx((lots, mean, square))
    else:
        assert (3.0, 104.0, 0.0) == (lots, mean, square)


def test_the_spread_mean_moves_half_way_in_its_half_life():
    """After so long at 20 bps that the 10 bps before weigh nothing; then 60 s at 10 bps."""
    tape = new_tape()
    now = T0
    for spread, seconds in ((1000, 3000), (2000, 3000), (1000, 60)):
        for _ in range(seconds):
            now += S
            t.tape_touch(tape, 1_000_000 - spread // 2, 1, 1_000_000 + spread // 2, 1)
            t.tape_second(tape, 2_000_000, now)
    mean = tape["spread_sum"] / tape["spread_weight"]
    assert 15.0 == pytest.approx(mean, rel=1e-12)


# --- candles -----------------------------------------------------------------------------------


def test_a_trade_on_the_full_minute_opens_the_new_candle():
    tape = new_tape()
    minute = T0 // t.MINUTE_NS + 1
    trade(tape, minute * t.MINUTE_NS - 1, price=100)
    trade(tape, minute * t.MINUTE_NS, price=103)
    assert minute == tape["candle_minute"]
    assert 100 == tape["candles"][(minute - 1) % t.CANDLES, t.C_CLOSE]
    assert 103 == tape["candles"][minute % t.CANDLES, t.C_OPEN]


def test_silent_minutes_repeat_the_close_and_show_no_trades():
    tape = new_tape()
    minute = T0 // t.MINUTE_NS
    trade(tape, minute * t.MINUTE_NS, price=100)
    trade(tape, minute * t.MINUTE_NS + 1, price=90)
    t.tape_second(tape, 0, (minute + 4) * t.MINUTE_NS)
    for m in range(minute + 1, minute + 4):
        assert [m, 90, 90, 90, 90, 0, 0, 0] == tape["candles"][m % t.CANDLES].tolist()
    assert 4 == tape["n_candles"]


@pytest.mark.parametrize(("silent", "kept"), [(240, True), (241, False)])
@pytest.mark.parametrize("step", [1, 1000, 0], ids=["minute by minute", "at once", "by a trade"])
def test_more_silence_than_the_ring_holds_begins_anew(silent, kept, step):
    """However the silence is told."""
    tape = new_tape()
    minute = T0 // t.MINUTE_NS
    trade(tape, minute * t.MINUTE_NS)
    if step:
        for m in [*range(minute + 1, minute + silent, step), minute + silent]:
            t.tape_second(tape, 0, m * t.MINUTE_NS)
    trade(tape, (minute + silent) * t.MINUTE_NS)
    assert (silent if kept else 0) == tape["n_ranges"]
    assert (239 if kept else 0) == tape["n_candles"]


def test_candles_equal_krakens_own(shared_data: Path):
    """Bars that Kraken published, and the trades they were made of, silent minutes included."""
    folder = shared_data / "kraken-rest-xbtusdt-20251110"
    trades = json.loads((folder / "rest_Trades.json").read_text())["result"]["XBTUSDT"]
    bars = json.loads((folder / "rest_OHLC_1m.json").read_text())["result"]["XBTUSDT"]
    by_minute = {bar[0] // 60: bar for bar in bars}
    tape = new_tape()
    candles: dict[int, list[int]] = {}
    for price, qty, time, side, *_ in trades:
        ts = int(Decimal(str(time)) * S)
        ticks, lots = int(Decimal(price) * 10), int(Decimal(qty) * 10**8)
        t.tape_trade(tape, ticks, lots, 1 if side == "b" else -1, 0, ts)
        for row in tape["candles"]:
            candles[int(row[t.C_MINUTE])] = row.tolist()
    candles.pop(0)  # rows never used
    differing = []
    for minute, (_, *prices, lots, _, n) in candles.items():
        bar = by_minute[minute]
        expected = [*(Decimal(x) * 10 for x in bar[1:5]), Decimal(bar[6]) * 10**8, bar[7]]
        if expected != [*prices, lots, n]:
            differing.append(minute * 60)
    assert 274 == sum(1 for row in candles.values() if row[t.C_TRADES] > 0)
    assert 1762820035 // 60 - 1762795433 // 60 + 1 == len(candles)
    assert [1762795380] == differing  # the page of trades starts within it


def numbers(text: str) -> list[float]:
    return [float(each) for each in text.strip("{}").split(",")]


def published(shared_data: Path, name: str) -> list[list[float]]:
    """The arrays of one entry of the indicator vectors: inputs, then outputs."""
    lines = (shared_data / "oracle-indicators-a" / "atoz.txt").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.split(" ")[0] == name)
    rows = []
    for line in lines[start + 1 :]:
        if not line.strip():
            break
        if line.startswith("{"):
            rows.append(numbers(line))
    return rows


def test_the_naive_true_range_and_atr_are_achelis(shared_data: Path):
    high, low, close, expected = published(shared_data, "atr")
    bars = list(zip(high, low, close, strict=True))
    assert expected == pytest.approx(wilder_atr(bars, 4), abs=1e-4)
    *_, ranges = published(shared_data, "tr")
    assert ranges == pytest.approx(true_ranges(bars)[-len(ranges) :], abs=1e-4)


def test_the_kernels_atr_of_the_same_bars(shared_data: Path):
    """Fed as trades, open to close, price x 10,000; the twin is held to the book above."""
    high, low, close, _ = published(shared_data, "atr")
    bars = [
        tuple(round(x * 10_000) for x in bar)
        for bar in zip(high + high, low + low, close + close, strict=True)
    ]
    tape = new_tape()
    minute = T0 // t.MINUTE_NS
    found = []
    for i, bar in enumerate(bars):
        for k, price in enumerate(bar):
            trade(tape, (minute + i) * t.MINUTE_NS + k, price=price)
        t.tape_second(tape, 0, (minute + i + 1) * t.MINUTE_NS)
        if tape["n_ranges"] >= t.ATR_N:
            found.append(float(tape["atr"]))
    assert wilder_atr(bars, t.ATR_N) == pytest.approx(found, rel=1e-13)


# --- order flow --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "flow"),
    [
        ((100, 7, 102, 5), 4),  # bid grew by 4
        ((100, 1, 102, 5), -2),  # bid shrank by 2
        ((101, 7, 102, 5), 7),  # bid rose: all of the new level
        ((99, 7, 102, 5), -3),  # bid fell: all of the old level is gone
        ((100, 3, 102, 9), -4),  # ask grew by 4
        ((100, 3, 101, 9), -9),  # ask fell: all of the new level
        ((100, 3, 103, 9), 5),  # ask rose: all of the old level is gone
        ((101, 7, 103, 9), 12),  # both rose
    ],
)
def test_order_flow_of_one_change(after, flow):
    """The cases of e_n in Cont, Kukanov, Stoikov 2014."""
    tape = new_tape()
    t.tape_touch(tape, 100, 3, 102, 5)
    t.tape_touch(tape, *after)
    assert flow == tape["open_flow"]


def test_what_follows_a_lost_book_is_no_flow():
    tape = new_tape()
    t.tape_touch(tape, 100, 3, 102, 5)
    t.tape_touch(tape, 0, 0, 0, 0)
    t.tape_touch(tape, 150, 30, 160, 50)
    assert 0 == tape["open_flow"]
    t.tape_touch(tape, 150, 31, 160, 50)
    assert 1 == tape["open_flow"]


def test_flow_joins_the_second_that_ends_it_and_leaves_after_ten():
    tape = new_tape()
    t.tape_touch(tape, 100, 10, 102, 10)
    t.tape_second(tape, 202, T0)
    t.tape_touch(tape, 100, 30, 102, 10)
    t.tape_second(tape, 202, T0 + S)
    # 20 lots over a mean depth of ((10 + 10) + (30 + 10)) / 2 messages / 2 sides = 15
    assert 20 / 15 == pytest.approx(tape["flow_now"])
    for k in range(2, 11):
        t.tape_second(tape, 202, T0 + k * S)
    assert 20 / 20 == pytest.approx(tape["flow_now"])  # the first message has left
    t.tape_second(tape, 202, T0 + 11 * S)
    assert 0.0 == tape["flow_now"]
    assert 10 == tape["flow_cover"]


def test_the_slope_is_found_where_the_mid_follows_the_flow():
    """Every lot of flow lifts the mid by one half tick, ten seconds later."""
    tape = new_tape()
    mid, bid_qty = 2_000_000, 10
    flows = [5 if k % 20 == 0 else -5 if k % 20 == 10 else 0 for k in range(400)]
    for k, flow in enumerate(flows):
        bid_qty += flow
        mid += flows[k - 10] if k >= 10 else 0
        t.tape_touch(tape, 999_990, bid_qty, 1_000_010, 10)
        t.tape_second(tape, mid, T0 + k * S)
    # Bids of 10 and 15 lots in turn, asks of 10: a unit of flow is 11.25 lots, within a tenth.
    assert 300 < tape["n_slope"]
    assert 11.25 / 2_000_000 * 1e4 == pytest.approx(t.flow_slope(tape), rel=0.1)


def test_no_slope_without_a_change_of_flow():
    tape = new_tape()
    assert np.isnan(t.flow_slope(tape))
    for k in range(50):
        t.tape_touch(tape, 100, 5, 102, 5)
        t.tape_second(tape, 202, T0 + k * S)
    assert np.isnan(t.flow_slope(tape))
