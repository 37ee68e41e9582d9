"""Bursts, refill and level 3 against lists of all that happened, on drawn stories."""

import hashlib
import math
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import events as ev
from engine.book import BOOK, book_best, book_clear, book_qty, book_set
from engine.core.bursts import BURSTS, burst_features, burst_trade
from engine.core.columns import FEATURE_INDEX, FEATURES
from engine.core.level3 import (
    LEVEL3,
    level3_event,
    level3_features,
    level3_lost,
    level3_second,
    level3_trade,
)
from engine.core.refill import (
    REFILL,
    refill_expire,
    refill_features,
    refill_lost,
    refill_touch,
    refill_trade,
)
from tests.naive.orderflow import NaiveBursts, NaiveLevel3, NaiveRefill

S = 1_000_000_000
T0 = 1_700_000_000 * S
SIDES = ("bid", "ask")


def columns() -> tuple[np.ndarray, np.ndarray]:
    return np.full(len(FEATURES), np.nan), np.zeros(len(FEATURES), np.int64)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 10**6, 10**8, 10**8 + 1, 10**9, 4 * 10**9]),
            st.integers(95, 105),
            st.sampled_from([1, 1, -1, 0]),
            st.integers(0, 10**9),
        ),
        max_size=60,
    ),
    st.sampled_from([0, 10**9, 10 * 10**9 - 1, 10 * 10**9]),
)
def test_bursts_equal_the_trades_grouped(trades, later):
    bursts = np.zeros(1, BURSTS)[0]
    naive = NaiveBursts(10**8)
    now = T0
    for gap, price, side, money in trades:
        now += gap
        burst_trade(bursts, price, side, money, now, 10**8)
        naive.trades.append((price, side, money, now))
    now += later
    features, observations = columns()
    features[FEATURE_INDEX["mid"]] = 100.0
    burst_features(features, observations, bursts, now)
    for side, name in ((1, "buy"), (-1, "sell")):
        expected = naive.best(side, now)
        actual = {
            each: features[FEATURE_INDEX[f"sweep_{each}_{name}"]]
            for each in ("levels", "bps", "notional", "age")
        }
        if not expected:
            assert all(math.isnan(each) for each in actual.values())
        else:
            assert expected["levels"] == actual["levels"]
            assert expected["ticks"] * 100.0 == pytest.approx(actual["bps"])
            assert expected["money"] / 1e8 == pytest.approx(actual["notional"])
            assert expected["age"] == pytest.approx(actual["age"])


def refill_story(seed: int, n: int) -> tuple[Any, NaiveRefill, int]:
    draw = random.Random(seed)
    refill, book = np.zeros(1, REFILL)[0], np.zeros(1, BOOK)[0]
    naive = NaiveRefill()
    levels: list[dict[int, int]] = [{}, {}]
    now = T0
    for _ in range(n):
        now += draw.choice([0, 1, S // 5, S // 5, S // 2, S - 1, S, 2 * S])
        what = draw.random()
        if what < 0.03:
            refill_lost(refill, now)
            naive.story.append(("lost", now))
        elif what < 0.15:
            refill_expire(refill, now)
        elif what < 0.5:
            i_side = draw.randrange(2)
            if not levels[i_side]:
                continue
            best = max(levels[0]) if i_side == 0 else min(levels[1])
            price, side = best + draw.choice([0, 0, 0, 1, -1]), draw.choice([1, -1, 0])
            refill_trade(refill, price, side, now)
            naive.story.append(("trade", now, price, side))
        else:
            for i_side, first in ((0, 100), (1, 101)):
                for _ in range(draw.choice([0, 1, 2])):
                    price = first + draw.randrange(5) * (1 if i_side else -1)
                    if draw.random() < 0.5:
                        levels[i_side].pop(price, None)
                    else:
                        levels[i_side][price] = draw.randrange(1, 12)
            book_clear(book)
            touch = []
            for i_side in range(2):
                for price, qty in levels[i_side].items():
                    book_set(book, i_side, price, qty)
                best = book_best(book, i_side)
                touch += [best, book_qty(book, i_side, best) if best else 0]
            refill_touch(refill, book, *touch, now)
            naive.story.append(("book", now, dict(levels[0]), dict(levels[1])))
    return refill, naive, now


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([5, 40, 120]), st.sampled_from([0, S, 5 * S + 1]))
def test_refill_equals_the_story_told_again(seed, n, later):
    refill, naive, now = refill_story(seed, n)
    now += later
    refill_expire(refill, now)
    features, observations = columns()
    refill_features(features, observations, refill)
    for i_side, side in enumerate(SIDES):
        count, means = naive.measures(i_side, now)
        for name, expected in zip(("1s", "5s", "half", "same"), means, strict=True):
            at = FEATURE_INDEX[f"refill_{name}_{side}"]
            assert count == observations[at]
            assert expected == pytest.approx(features[at], nan_ok=True), name


def record(kind: int, **fields: int) -> Any:
    row = ev.empty(1)[0]
    row["kind"] = kind
    for name, value in fields.items():
        row[name] = value
    return row


def level3_story(seed: int, n: int, depth: int) -> tuple[Any, NaiveLevel3, int]:
    draw = random.Random(seed)
    level3, naive = np.zeros(1, LEVEL3)[0], NaiveLevel3()
    now, key = T0, 0
    for first in (True, *[False] * n):
        now += draw.choice([0, 1000, S // 10, S // 3, S])
        if not first and draw.random() < 0.3:
            side, qty = draw.choice([1, -1]), draw.randrange(1, 20)
            level3_trade(level3, side, qty)
            naive.trade(side, qty)
        for _ in range(8 if first else draw.choice([1, 1, 2])):
            key += 1
            what = "add" if first else draw.choice(["add", "add", "modify", "delete", "delete"])
            known = sorted(naive.orders)
            if what == "add" or not known:
                i_side = draw.randrange(2)
                price = 100 - draw.randrange(4) if i_side == 0 else 101 + draw.randrange(4)
                qty, time = draw.randrange(1, 20), now - draw.choice([0, 0, S])
                naive.add(key, i_side, price, qty, time, now)
                if first:
                    naive.unsettled.clear()
                row = record(
                    ev.L3_ADD,
                    side=1 - 2 * i_side,
                    price=price,
                    qty=qty,
                    id=key,
                    aux=time,
                    flags=ev.SNAPSHOT if first else 0,
                )
            else:
                chosen = draw.choice(known)
                i_side, price, qty, time = naive.orders[chosen]
                left = draw.randrange(1, qty + 1) if what == "modify" else 0
                naive.remove(chosen, left, now)
                row = record(
                    ev.L3_MODIFY if left else ev.L3_DELETE,
                    side=1 - 2 * i_side,
                    price=price,
                    qty=left or qty,
                    id=chosen,
                    aux=time if left else now,
                )
            level3_event(level3, row, int(row["kind"]), depth, now)
        level3_event(level3, record(ev.MESSAGE_END, id=ev.L3_ADD, flags=ev.LAST), 2, depth, now)
        if depth:
            naive.cut(depth)
        if draw.random() < 0.5:
            now = now // S * S + S
            level3_second(level3, 0, 0, now, 60.0)
            naive.second(now // S)
    return level3, naive, now


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([3, 40, 150]), st.sampled_from([0, 2]))
def test_level3_equals_its_orders_in_a_dict(seed, n, depth):
    level3, naive, now = level3_story(seed, n, depth)
    for _ in range(3):
        now = now // S * S + S
        level3_second(level3, 0, 0, now, 60.0)
        naive.second(now // S)
    features, observations = columns()
    level3_features(features, observations, level3, now, 0.0)
    assert len(naive.orders) == level3["n"]
    for i_side, side in enumerate(SIDES):
        assert naive.best(i_side) == book_best(level3["book"], i_side)
        for _, price, _, _ in naive.orders.values():
            assert naive.level(i_side, price) == book_qty(level3["book"], i_side, price)
        orders, age = naive.queue(i_side, now)
        expected = naive.rates(i_side, 60.0) | {"orders": orders, "age": age}
        named = {
            "orders": "queue_orders",
            "arrival": "queue_arrival",
            "cancel": "queue_cancel",
            "trade": "queue_trade",
            "age": "queue_age",
            "ahead": "cancel_ahead",
            "life": "order_life",
        }
        for name, column in named.items():
            actual = features[FEATURE_INDEX[f"{column}_{side}"]]
            assert expected[name] == pytest.approx(actual, rel=1e-6, abs=1e-9, nan_ok=True), name
        assert naive.n_cancels[i_side] == observations[FEATURE_INDEX[f"cancel_ahead_{side}"]]


def quality(level3: Any, now: int) -> float:
    features, observations = columns()
    level3_features(features, observations, level3, now, 0.0)
    return float(features[FEATURE_INDEX["l3_quality"]])


def told(**fields: int) -> Any:
    """A feed of one bid and one ask, as a snapshot."""
    level3 = np.zeros(1, LEVEL3)[0]
    for key, side, price in ((1, 1, 100), (2, -1, 101)):
        row = record(
            ev.L3_ADD, side=side, price=price, qty=5, id=key, aux=T0, flags=ev.SNAPSHOT, **fields
        )
        level3_event(level3, row, ev.L3_ADD, 10, T0)
    level3_event(level3, record(ev.MESSAGE_END, id=ev.L3_ADD, flags=ev.LAST), 2, 10, T0)
    level3_second(level3, 100, 101, T0, 60.0)
    return level3


def test_each_doubt_lowers_the_quality():
    level3 = told()
    assert quality(level3, T0) == 1.0
    assert quality(level3, T0 + 5 * S) == pytest.approx(0.5)  # silent for one half-life
    level3_second(level3, 100, 101, T0 + S, 60.0)
    level3_second(level3, 100, 102, T0 + 2 * S, 60.0)  # the other book says 102
    assert quality(level3, T0) == pytest.approx(0.5)
    level3 = told()
    for key in (7, 1):  # one that was never named, one that was
        row = record(ev.L3_DELETE, side=1, price=100, qty=5, id=key, aux=T0)
        level3_event(level3, row, ev.L3_DELETE, 10, T0)
    assert quality(level3, T0) == pytest.approx(0.5)
    level3 = told()
    failed = record(ev.MESSAGE_END, id=ev.L3_ADD, flags=ev.LAST | ev.FAILED)
    level3_event(level3, failed, ev.MESSAGE_END, 10, T0)
    assert quality(level3, T0) == pytest.approx(0.5)  # one message of two
    assert 0 == level3["n"]


def test_below_the_limit_nothing_else_is_known():
    level3 = told()
    features, observations = columns()
    level3_features(features, observations, level3, T0 + 5 * S, 0.7)
    assert features[FEATURE_INDEX["l3_quality"]] == pytest.approx(0.5)
    assert math.isnan(features[FEATURE_INDEX["queue_orders_bid"]])
    level3_features(features, observations, level3, T0 + S, 0.7)
    assert 1.0 == features[FEATURE_INDEX["queue_orders_bid"]]


def test_a_resubscription_counts_for_an_hour():
    level3 = told()
    level3_lost(level3)
    assert 0 == level3["n"]
    row = record(ev.L3_ADD, side=1, price=100, qty=5, id=1, aux=T0, flags=ev.SNAPSHOT)
    for later, expected in ((0, 0.5), (3599 * S, 0.5), (3600 * S, 1.0)):
        if later == 0:
            level3_event(level3, row, ev.L3_ADD, 10, T0 + 1)
        level3_event(level3, record(ev.MESSAGE_END, flags=ev.LAST), 2, 10, T0 + 1 + later)
        assert quality(level3, T0 + 1 + later) == pytest.approx(expected)


def story_hash() -> str:
    """sha256 over the state of refill and level 3 after a few stories."""
    digest = hashlib.sha256()
    for seed in range(3):
        refill, _, _ = refill_story(seed, 100)
        level3, _, _ = level3_story(seed, 60, 3)
        digest.update(refill.tobytes() + level3.tobytes())
    return digest.hexdigest()


def test_the_same_bytes_without_the_jit():
    told = (
        "from tests.property.engine.core.test_orderflow_property import story_hash as h; print(h())"
    )
    done = subprocess.run(
        [sys.executable, "-c", told],
        cwd=Path(__file__).resolve().parents[4],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert story_hash() == done.stdout.strip()
