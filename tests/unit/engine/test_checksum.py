"""Kraken's CRC-32 on its published and recorded examples."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.book import ASKS, BIDS, BOOK, book_set, book_truncate
from engine.checksum import (
    CHECKSUM_DEPTH,
    crc32_book,
    crc32_byte,
    crc32_final,
    crc32_init,
    crc32_integer,
)
from tests.naive import checksum as naive

# Kraken's published example for `book`: BTC/USD, price 1 decimal, quantity 8 decimals.
PUBLISHED_ASKS = [
    (452852, 100000),
    (452864, 154571953),
    (452866, 154571109),
    (452896, 154560911),
    (452902, 15890660),
    (452918, 154553491),
    (452947, 4454749),
    (452961, 35380000),
    (452975, 9945542),
    (452995, 18772827),
]
PUBLISHED_BIDS = [
    (452835, 10000000),
    (452834, 154582015),
    (452821, 10000000),
    (452810, 10000000),
    (452803, 154592586),
    (452790, 7990000),
    (452776, 3310103),
    (452775, 30000000),
    (452773, 154602737),
    (452766, 15445238),
]


def make_book(bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> np.void:
    book = np.zeros(1, BOOK)[0]
    for i_side, levels in ((BIDS, bids), (ASKS, asks)):
        for price, qty in levels:
            book_set(book, i_side, price, qty)
    return book


def test_published_book_example():
    assert crc32_book(make_book(PUBLISHED_BIDS, PUBLISHED_ASKS), 1, 1) == 3310070434


def test_published_order_of_arrival_does_not_matter():
    book = make_book(PUBLISHED_BIDS[::-1], PUBLISHED_ASKS[::-1])
    assert crc32_book(book, 1, 1) == 3310070434


def test_two_levels_with_four_and_eight_decimals():
    asks = [(295, 2371715468719), (296, 3731055543978)]
    bids = [(294, 2250050544743), (293, 5100)]
    assert crc32_book(make_book(bids, asks), 1, 1) == 1355260529


def test_increments_above_the_last_decimal_are_multiplied_back():
    """A tick of 0.5 at one decimal is 5 units; a lot of 0.0001 at eight decimals is 10^4 units."""
    book = make_book([(200, 3)], [(201, 7)])
    assert crc32_book(book, 5, 10_000) == zlib.crc32(b"1005" + b"70000" + b"1000" + b"30000")


def test_an_empty_book_gives_zero():
    assert crc32_book(make_book([], []), 1, 1) == 0


def test_levels_below_the_tenth_do_not_count():
    book = make_book([*PUBLISHED_BIDS, (1, 5)], [*PUBLISHED_ASKS, (900000, 5)])
    assert crc32_book(book, 1, 1) == 3310070434
    book_truncate(book, 10)
    assert crc32_book(book, 1, 1) == 3310070434


@settings(deadline=None)
@given(st.lists(st.integers(1, (1 << 63) - 1), max_size=6))
def test_integers_equal_zlib_over_their_text(values):
    crc = crc32_init()
    for value in values:
        crc = crc32_integer(crc, value)
    assert crc32_final(crc) == zlib.crc32("".join(map(str, values)).encode())


@pytest.mark.parametrize("n_digits", range(1, 20))
def test_every_length_of_integer(n_digits):
    patterned = int("1234567890" * 2) // 10 ** (20 - n_digits)
    for value in (10 ** (n_digits - 1), 10**n_digits - 1, patterned):
        value = min(value, 2**63 - 1)
        assert crc32_final(crc32_integer(crc32_init(), value)) == zlib.crc32(str(value).encode())


def test_bytes_equal_zlib():
    crc = crc32_init()
    for byte in b"any bytes at all\x00\xff":
        crc = crc32_byte(crc, byte)
    assert crc32_final(crc) == zlib.crc32(b"any bytes at all\x00\xff")


def read_vectors(shared_data: Path) -> list[dict]:
    path = shared_data / "kraken-checksum-vectors-a" / "vectors.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def test_recorded_vectors(shared_data):
    """All six published and recorded vectors: orders of level 3 in queue order, levels of L2."""
    vectors = read_vectors(shared_data)
    assert len(vectors) == 6
    for vector in vectors:
        # An L2 vector may list more levels than are hashed; an L3 vector lists orders.
        most = CHECKSUM_DEPTH if vector["kind"] == "L2" else None
        crc = crc32_init()
        for price, qty in [*vector["asks"][:most], *vector["bids"][:most]]:
            crc = crc32_integer(crc, int(naive.token(price)))
            crc = crc32_integer(crc, int(naive.token(qty)))
        assert crc32_final(crc) == int(vector["crc32"]), vector["id"]


def test_recorded_book_vectors_through_the_book(shared_data):
    checked = 0
    for vector in read_vectors(shared_data):
        if vector["kind"] != "L2":
            continue
        bids, asks = (
            [(int(naive.token(p)), int(naive.token(q))) for p, q in vector[side]]
            for side in ("bids", "asks")
        )
        assert crc32_book(make_book(bids, asks), 1, 1) == int(vector["crc32"]), vector["id"]
        checked += 1
    assert checked == 5
