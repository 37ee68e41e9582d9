"""Kraken's checksum the way its guide tells it: text, then zlib."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from decimal import Decimal


def token(text: str) -> str:
    """Decimal text without its point, then without leading zeros."""
    return text.replace(".", "").lstrip("0")


def fixed(steps: int, step: Decimal, precision: int) -> str:
    """`steps` x `step` as fixed-point text with `precision` decimals."""
    return f"{steps * step:.{precision}f}"


def crc32_levels(asks: Iterable[tuple[str, str]], bids: Iterable[tuple[str, str]]) -> int:
    """CRC-32 over (price, qty) texts, asks upward then bids downward, already cut to ten levels."""
    text = "".join(token(p) + token(q) for p, q in [*asks, *bids])
    return zlib.crc32(text.encode("ascii"))
