"""Which nanosecond does a time of Kraken's name? Text of 0 to 9 decimals, exactly.

No float and no rounding: microseconds and nanoseconds occur side by side. Left out: REST's times
in seconds (rest.py).
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

_SECOND: Final = 1_000_000_000
_NS_MAX: Final = (1 << 63) - 1
# Nanoseconds of the last decimal, by the length of the text.
_SCALE: Final = {21 + decimals: 10 ** (9 - decimals) for decimals in range(1, 10)}


class Ns(int):
    """A venue's stamp: nanoseconds since the epoch, UTC; 0 where the message has none."""


@lru_cache(maxsize=4096)
def _second_of(text: str) -> int:
    """`2023-07-30T15:29:58` (UTC) to nanoseconds since the epoch."""
    # fromisoformat alone would take a week number, or a blank for the T.
    if not (text[4:5] == text[7:8] == "-" and text[10:11] == "T" and text[13:14] == ":"):
        raise ValueError(f"{text!r} is not a time of Kraken's form")
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    ns = int(moment.timestamp()) * _SECOND
    if not 0 <= ns <= _NS_MAX - _SECOND:
        raise ValueError(f"{text!r} is outside the years of a 64-bit stamp")
    return ns


def ns_of(text: str) -> int:
    """`2026-01-05T10:00:01.541105556Z`, with 0 to 9 decimals, to nanoseconds, exactly.

    Raises ValueError for anything else, and for years that int64 nanoseconds cannot hold.
    """
    scale = _SCALE.get(len(text))
    if scale is not None and text[-1] == "Z" and text[19] == "." and text.isascii():
        fraction = text[20:-1]
        if fraction.isdigit():
            return _second_of(text[:19]) + int(fraction) * scale
    if len(text) == 20 and text[19] == "Z":
        return _second_of(text[:19])
    raise ValueError(f"{text[:40]!r} is not a UTC time of Kraken's form")


def to_ns(text: str) -> Ns:
    """As `ns_of`, for a field that msgspec decodes."""
    return Ns(ns_of(text))
