"""The ring book equals two dicts, whatever happens to it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import book as book_module
from engine.book import (
    ASKS,
    BIDS,
    BOOK,
    DEPTH_MAX,
    RING,
    book_best,
    book_clear,
    book_count,
    book_crossed,
    book_next,
    book_previous,
    book_qty,
    book_set,
    book_top,
    book_truncate,
    book_worst,
)
from engine.jit import JIT_ENABLED
from tests.naive.book import NaiveBook

PRICE_TOP = 1 << 40
N_STEPS = 400 if JIT_ENABLED else 60


def new_book() -> np.void:
    return np.zeros(1, BOOK)[0]


def assert_same(book: np.void, naive: NaiveBook, probes: list[int]) -> None:
    prices, qtys = np.zeros(DEPTH_MAX, np.int64), np.zeros(DEPTH_MAX, np.int64)
    for i_side in (BIDS, ASKS):
        count = book_top(book, i_side, DEPTH_MAX, prices, qtys)
        top = list(zip(prices[:count].tolist(), qtys[:count].tolist(), strict=True))
        assert naive.top(i_side, DEPTH_MAX) == top
        assert naive.best(i_side) == book_best(book, i_side)
        assert naive.worst(i_side) == book_worst(book, i_side)
        assert len(naive.sides[i_side]) == book_count(book, i_side)
        for price in probes:
            assert naive.qty(i_side, price) == book_qty(book, i_side, price)
            assert naive.next(i_side, price) == book_next(book, i_side, price)
            assert naive.previous(i_side, price) == book_previous(book, i_side, price)
    assert naive.crossed() == book_crossed(book)
    assert_invariants(book)


def assert_invariants(book: np.void) -> None:
    for i_side in (BIDS, ASKS):
        base, n_near, n_far = (int(book[name][i_side]) for name in ("base", "n_near", "n_far"))
        far = book["far_key"][i_side][:n_far]
        assert base % 32 == 0
        assert np.count_nonzero(book["near_qty"][i_side]) == n_near
        assert sum(int(word).bit_count() for word in book["bits"][i_side]) == n_near
        assert n_near > 0 or n_far == 0
        if n_near > 0:
            best, worst = int(book["best"][i_side]), int(book["worst"][i_side])
            assert base <= best <= worst < base + RING
        assert np.all(far >= base + RING)
        assert np.all(np.diff(far) > 0)


operations = st.lists(
    st.tuples(
        st.integers(0, 99),  # what
        st.integers(0, 1),  # side
        st.sampled_from([0, 1, 2, 5, 40, 300, RING // 2, RING, 3 * RING, 100_000]),  # how far
        st.integers(-50, 50),
        st.integers(0, 3),
    ),
    max_size=N_STEPS,
)


@settings(deadline=None, max_examples=100 if JIT_ENABLED else 25)
@given(
    start=st.sampled_from([1, 40, RING, 600_000, PRICE_TOP - RING, PRICE_TOP]),
    depth=st.sampled_from([0, 10, 25, 100, 1000]),
    steps=operations,
)
def test_parity_with_two_dicts_on_walks_jumps_and_snapshots(start, depth, steps):
    book, naive, mid = new_book(), NaiveBook(DEPTH_MAX), start
    probes = [1, start, PRICE_TOP]
    for what, i_side, reach, jitter, qty in steps:
        if what == 0:
            book_clear(book)
            naive.clear()
        elif what < 5:
            mid = min(max(mid + reach * jitter, 1), PRICE_TOP)
        else:
            sign = 1 if i_side == ASKS else -1
            price = min(max(mid + sign * reach + jitter, 1), PRICE_TOP)
            assert naive.set(i_side, price, qty) == book_set(book, i_side, price, qty)
            probes = [*probes[-5:], price, price + 1]
        if what % 3 == 0:
            book_truncate(book, depth)
            naive.truncate(depth)
    assert_same(book, naive, probes)


def test_parity_on_long_random_walks_with_jumps():
    """Deep books: more levels than the ring holds, the far list full, the worst dropped."""
    rng = np.random.default_rng(20_260_101)
    n_steps = 8_000 if JIT_ENABLED else 1_500
    for depth in (0, 10, 1000):
        book, naive, mid = new_book(), NaiveBook(DEPTH_MAX), 1 << 30
        for step in range(n_steps):
            if rng.random() < 0.002:
                mid += int(rng.integers(-20_000, 20_001))
            mid += int(rng.integers(-3, 4))
            i_side = int(rng.integers(0, 2))
            sign = 1 if i_side == ASKS else -1
            price = mid + sign * int(rng.exponential(6_000))
            qty = int(rng.integers(0, 8))
            assert naive.set(i_side, price, qty) == book_set(book, i_side, price, qty)
            if step % 50 == 0:
                book_truncate(book, depth)
                naive.truncate(depth)
        assert_same(book, naive, [mid - 5_000, mid, mid + 5_000])


def test_a_side_keeps_the_best_levels_when_it_is_full():
    book, naive = new_book(), NaiveBook(DEPTH_MAX)
    for i in range(DEPTH_MAX + 500):
        price = 10_000_000 - 7 * ((i * 1_103) % (DEPTH_MAX + 500))
        assert naive.set(BIDS, price, 1) == book_set(book, BIDS, price, 1)
    assert book_count(book, BIDS) == DEPTH_MAX
    assert_same(book, naive, [])


@settings(deadline=None)
@given(steps=operations)
def test_a_cleared_book_is_as_good_as_a_new_one(steps):
    book = new_book()
    for _, i_side, reach, jitter, qty in steps:
        book_set(book, i_side, max(500_000 + reach + jitter, 1), qty)
    book_clear(book)
    for name in ("base", "best", "worst", "n_near", "n_far", "bits", "near_qty"):
        assert not np.any(book[name])


def test_the_declared_sizes_hold_kraken_depth_1000():
    assert DEPTH_MAX >= 1000
    assert RING & (RING - 1) == 0
    assert book_module.BOOK.itemsize < 128 * 1024
