"""What the generator sends is what Kraken would send: a naive subscriber believes every message."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from engine import events as ev
from engine.jit import JIT_ENABLED
from engine.research.synthetic import DEFAULT_SYMBOLS, GeneratorConfig, generate
from tests.naive.feed import Subscriber

SECONDS = 100.0 if JIT_ENABLED else 10.0
STORMY = dict(
    intensity=20.0,
    jumps_per_hour=600.0,
    duration_s=SECONDS / 20 if JIT_ENABLED else 2.0,
    warmup_s=30.0 if JIT_ENABLED else 2.0,
)
# Without the compiler the stretches are short: the rules hold all the same, there is less to see.
ENOUGH = 20 if JIT_ENABLED else 1


def collect(config: GeneratorConfig) -> np.ndarray:
    return np.concatenate(list(generate(config)))


@pytest.mark.parametrize(
    "config",
    [
        GeneratorConfig(seed=5, duration_s=SECONDS, warmup_s=10.0),
        GeneratorConfig(seed=9, depth=25, level3_depth=100, **STORMY),
        GeneratorConfig(seed=19, depth=100, level3_depth=10, **STORMY),
        GeneratorConfig(seed=29, depth=1000, level3_depth=1000, **STORMY),
    ],
    ids=["calm", "25 and 100", "100 and 10", "1000 and 1000"],
)
def test_a_subscriber_finds_no_fault(config):
    """Windows, checksums, queues, prints and tickers, each recomputed from the events alone."""
    rows = collect(config)
    subscriber = Subscriber(config.instruments, config.depth, config.level3_depth)
    subscriber.feed(rows)

    for what in ("book", "level3", "level3 = level2", "trade", "print = queue", "ticker"):
        assert subscriber.checked[what] >= ENOUGH, what


def test_a_subscriber_would_find_a_fault():
    """The judge can say no: one lot more in one level, one print swapped, one delete lost."""
    config = GeneratorConfig(seed=5, duration_s=20.0, warmup_s=10.0)
    rows = collect(config)
    updates = np.flatnonzero((rows["kind"] == ev.BOOK_LEVEL) & (rows["flags"] & ev.SNAPSHOT == 0))
    damages = {
        "qty": ("checksum", updates[3], rows["qty"][updates[3]] + 1),
        "ts": ("backwards|stamps", updates[5], rows["ts"][0]),
        "aux": ("checksum", updates[rows["flags"][updates] & ev.LAST > 0][2], 12345),
    }
    for field, (message, at, value) in damages.items():
        damaged = rows.copy()
        damaged[field][at] = value
        with pytest.raises(AssertionError, match=message):
            Subscriber(config.instruments, 10, 10).feed(damaged)


def test_the_log_is_numbered_and_time_never_decreases():
    config = GeneratorConfig(seed=6, duration_s=SECONDS, warmup_s=10.0)
    rows = collect(config)
    assert np.array_equal(rows["seq"], np.arange(len(rows)))
    assert np.all(np.diff(rows["ts"]) >= 0)
    assert rows["ts_venue"].min() == config.start_ts
    assert rows["ts_venue"].max() < config.end_ts


def test_it_opens_with_status_instruments_and_snapshots():
    config = GeneratorConfig(seed=6, duration_s=2.0)
    rows = collect(config)
    assert rows["kind"][0] == ev.SYSTEM_STATUS
    assert list(rows["kind"][1:4]) == [ev.INSTRUMENT] * 3
    assert list(rows["sym"][1:4]) == [0, 1, 2]
    snapshot = rows["flags"] & ev.SNAPSHOT > 0
    for sym in range(3):
        mine = rows[snapshot & (rows["sym"] == sym)]
        ends = mine[mine["flags"] & ev.LAST > 0]
        kinds = [ev.MESSAGE_END, ev.BOOK_LEVEL, ev.TICKER]
        assert kinds == list(ends["kind"])[-3:]
        bids = mine["price"][(mine["kind"] == ev.BOOK_LEVEL) & (mine["side"] == ev.BUY)]
        asks = mine["price"][(mine["kind"] == ev.BOOK_LEVEL) & (mine["side"] == ev.SELL)]
        assert len(bids) == len(asks) == 10
        assert np.all(np.diff(bids) < 0)
        assert np.all(np.diff(asks) > 0)


def test_trade_ids_start_where_the_pair_says_and_never_skip():
    config = GeneratorConfig(seed=7, **STORMY)
    rows = collect(config)
    assert (rows["kind"] == ev.TRADE).sum() >= 3 * ENOUGH
    for sym, spec in enumerate(config.symbols):
        ids = rows["id"][(rows["kind"] == ev.TRADE) & (rows["sym"] == sym)]
        assert np.array_equal(ids, spec.first_trade_id + np.arange(len(ids)))


def test_prints_come_from_market_orders_and_from_limit_orders():
    rows = collect(GeneratorConfig(seed=7, **STORMY))
    market = rows["flags"][rows["kind"] == ev.TRADE] & ev.MARKET_ORDER > 0
    assert 0.1 < market.mean() < 0.9


def test_every_message_of_an_action_follows_its_prints():
    """Per pair and venue stamp: prints, then level 3, then book, then ticker."""
    rows = collect(GeneratorConfig(seed=8, **STORMY))
    place = {ev.TRADE: 0, ev.L3_ADD: 1, ev.L3_MODIFY: 1, ev.L3_DELETE: 1, ev.MESSAGE_END: 1}
    place |= {ev.BOOK_LEVEL: 2, ev.TICKER: 3}
    traded = set(rows["ts_venue"][rows["kind"] == ev.TRADE].tolist())
    order: dict[tuple[int, int], int] = {}
    for ts_venue, sym, kind in rows[["ts_venue", "sym", "kind"]].tolist():
        if ts_venue in traded:
            assert place[kind] >= order.get((ts_venue, sym), 0)
            order[(ts_venue, sym)] = place[kind]
    assert len(order) >= ENOUGH


def test_channels_can_be_left_out_and_the_others_stay_the_same():
    """Recording less changes nothing in the market: the same book and trades, other stamps."""
    full = collect(GeneratorConfig(seed=3, duration_s=SECONDS / 4, warmup_s=5.0))
    slim = collect(
        GeneratorConfig(seed=3, duration_s=SECONDS / 4, warmup_s=5.0, level3=False, tickers=False)
    )
    assert set(np.unique(slim["kind"])) == {
        *(ev.SYSTEM_STATUS, ev.INSTRUMENT, ev.BOOK_LEVEL),
        ev.TRADE,
    }
    same = ["ts_venue", "price", "qty", "id", "aux", "sym", "kind", "side", "flags"]
    kept = full[np.isin(full["kind"], np.unique(slim["kind"]))]
    assert np.array_equal(kept[same], slim[same])


def test_one_pair_alone_makes_a_market():
    alone = GeneratorConfig(
        seed=3, duration_s=SECONDS / 4, warmup_s=5.0, symbols=DEFAULT_SYMBOLS[2:]
    )
    rows = collect(alone)
    assert set(np.unique(rows["sym"])) == {-1, 0}
    assert alone.instruments.symbols == ("DOGE/USD",)
    Subscriber(alone.instruments, 10, 10).feed(rows)


def test_a_low_price_never_reaches_zero():
    """A price of 40 ticks: no order at or below zero, however far from the touch."""
    spec = DEFAULT_SYMBOLS[2]
    tick = spec.instrument.price_increment
    cheap = dataclasses.replace(spec, price=40 * tick, scale=tick, n_orders=60, volatility=0.002)
    config = GeneratorConfig(
        seed=4, symbols=(cheap,), duration_s=SECONDS / 6, intensity=5.0, warmup_s=3.0
    )
    rows = collect(config)
    priced = np.isin(rows["kind"], (ev.BOOK_LEVEL, ev.TRADE, ev.L3_ADD))
    assert rows["price"][priced].min() >= 1
    Subscriber(config.instruments, 10, 10).feed(rows)


@pytest.mark.skipif(not JIT_ENABLED, reason="a day of market takes the compiler")
def test_the_ticker_forgets_what_is_older_than_a_day():
    """24-hour figures over the last 1,440 minutes, the current one included, from the prints."""
    config = GeneratorConfig(
        seed=12, symbols=DEFAULT_SYMBOLS[:1], duration_s=27 * 3600.0, intensity=0.1, level3=False
    )
    rows = collect(config)
    prints = rows[rows["kind"] == ev.TRADE]
    minutes = prints["ts_venue"] // 60_000_000_000
    ends = np.flatnonzero((rows["kind"] == ev.TICKER) & (rows["id"] == ev.TICKER_HIGH))
    checked_late = 0
    for end in ends[:: max(len(ends) // 60, 1)]:
        message = {row["id"]: row for row in rows[end - 6 : end + 1]}
        now = rows["ts_venue"][end] // 60_000_000_000
        inside = prints[(prints["seq"] < rows["seq"][end]) & (minutes > now - 1440)]
        assert inside["qty"].sum() == message[ev.TICKER_VOLUME]["qty"]
        assert inside["price"].min() == message[ev.TICKER_LOW]["price"]
        assert inside["price"].max() == message[ev.TICKER_HIGH]["price"]
        mean = np.average(inside["price"], weights=inside["qty"].astype(np.float64))
        assert abs(mean - message[ev.TICKER_VWAP]["price"]) < 0.51
        checked_late += int(len(inside) < (prints["seq"] < rows["seq"][end]).sum())
    assert checked_late >= 3
