"""What CRC-32 does Kraken compute over a book? From integers, without making the text.

Kraken hashes decimal text with the point and the leading zeros removed; at the pair's full
precision that text is the integer price x 10^price_precision, so its digits go straight into the
CRC. Left out: what to do about a mismatch.

Source: Kraken, "Spot WebSocket API v2, book checksum" and "level 3 checksum"; CRC-32 of IEEE 802.3
(zlib's), four bytes at a time by Kounavis and Berry 2005, "slicing-by-4".
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.book import book_best, book_next, book_qty
from engine.jit import kernel

CHECKSUM_DEPTH: Final = 10  # levels a side, whatever the depth of the subscription


def _crc_tables() -> np.ndarray:
    """int64[4, 256]: row k is the CRC of a byte followed by k zero bytes."""
    tables = np.zeros((4, 256), np.int64)
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xEDB88320 if crc & 1 else 0)
        tables[0, byte] = crc
    for k in range(1, 4):
        for byte in range(256):
            previous = int(tables[k - 1, byte])
            tables[k, byte] = (previous >> 8) ^ int(tables[0, previous & 0xFF])
    return tables


_TABLES: Final = _crc_tables()
_T0: Final = _TABLES[0].copy()
_T1: Final = _TABLES[1].copy()
_T2: Final = _TABLES[2].copy()
_T3: Final = _TABLES[3].copy()
# Two decimal digits as two ASCII bytes, first digit in the low byte.
_PAIRS: Final = np.array([(0x30 + i // 10) | ((0x30 + i % 10) << 8) for i in range(100)], np.int64)


@kernel
def crc32_init():
    """The state before the first byte."""
    return 0xFFFFFFFF


@kernel
def crc32_final(crc):
    """The checksum, unsigned 32 bits in an int64, of the state after the last byte."""
    return crc ^ 0xFFFFFFFF


@kernel
def crc32_byte(crc, byte):
    """The state after one more byte (0 .. 255)."""
    return (crc >> 8) ^ _T0[(crc ^ byte) & 0xFF]


@kernel
def _four_digits(crc, value):
    """The state after exactly four digits of `value`, 0 .. 9999."""
    high = value // 100
    word = crc ^ (_PAIRS[high] | (_PAIRS[value - high * 100] << 16))
    return (
        _T3[word & 0xFF]
        ^ _T2[(word >> 8) & 0xFF]
        ^ _T1[(word >> 16) & 0xFF]
        ^ _T0[(word >> 24) & 0xFF]
    )


@kernel
def _leading_digits(crc, value):
    """The state after the digits of `value`, 1 .. 9999, without leading zeros."""
    if value >= 1000:
        return _four_digits(crc, value)
    if value >= 100:
        crc = crc32_byte(crc, 0x30 + value // 100)
        value = value % 100
        crc = crc32_byte(crc, 0x30 + value // 10)
        return crc32_byte(crc, 0x30 + value % 10)
    if value >= 10:
        crc = crc32_byte(crc, 0x30 + value // 10)
        return crc32_byte(crc, 0x30 + value % 10)
    return crc32_byte(crc, 0x30 + value)


@kernel
def crc32_integer(crc, value):
    """The state after the decimal digits of `value`, int64 >= 1. Adds nothing for 0 or less."""
    if value <= 0:
        return crc
    if value < 10_000:
        return _leading_digits(crc, value)
    high = value // 10_000
    low = value - high * 10_000
    if high < 10_000:
        return _four_digits(_leading_digits(crc, high), low)
    top = high // 10_000
    middle = high - top * 10_000
    if top < 10_000:
        crc = _leading_digits(crc, top)
    else:
        first = top // 10_000
        second = top - first * 10_000
        if first < 10_000:
            crc = _leading_digits(crc, first)
        else:
            crc = _leading_digits(crc, first // 10_000)
            crc = _four_digits(crc, first % 10_000)
        crc = _four_digits(crc, second)
    return _four_digits(_four_digits(crc, middle), low)


@kernel
def crc32_book(book, tick_num, lot_num):
    """Kraken's checksum of the ten best levels a side: asks upward, then bids downward.

    book : BOOK, already cut to the subscribed depth; tick_num, lot_num : from the instrument row
    returns int64, unsigned 32 bits; an empty book gives 0
    """
    crc = crc32_init()
    for i_side in (1, 0):
        price = book_best(book, i_side)
        n = 0
        while price != 0 and n < CHECKSUM_DEPTH:
            crc = crc32_integer(crc, price * tick_num)
            crc = crc32_integer(crc, book_qty(book, i_side, price) * lot_num)
            price = book_next(book, i_side, price)
            n += 1
    return crc32_final(crc)
