"""How does Kraken write numbers, times and ids? Integers to the exact text of the wire.

Prices and quantities carry all decimals of their precision, since the checksum is defined over
that text. Left out: whole messages (encode.py).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final

_BASE32: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
NS_PER_S: Final = 1_000_000_000


def fixed(value: int, decimals: int) -> str:
    """An integer in units of 10^-decimals as fixed-point text: fixed(5100, 8) is 0.00005100."""
    if decimals <= 0:
        return str(value)
    if value < 0:
        return "-" + fixed(-value, decimals)
    digits = str(value)
    if len(digits) <= decimals:
        digits = digits.rjust(decimals + 1, "0")
    return f"{digits[:-decimals]}.{digits[-decimals:]}"


def rounded(value: Decimal, decimals: int) -> str:
    """A decimal with exactly so many decimals, half up."""
    scaled = value.scaleb(decimals)
    whole = int((abs(scaled) + Decimal("0.5")) // 1)
    return fixed(-whole if scaled < 0 else whole, decimals)


def short(value: Decimal) -> str:
    """A small constant as the instrument channel writes it: 0.1, 5e-05, 1e-08."""
    return repr(float(value))


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def stamp(ns: int, digits: int = 6) -> str:
    """ns since the epoch as RFC 3339 with 0 to 9 decimals, cut and never rounded."""
    seconds, rest = divmod(ns, NS_PER_S)
    if digits == 0:
        return f"{_second(seconds)}Z"
    return f"{_second(seconds)}.{rest // 10 ** (9 - digits):0{digits}d}Z"


_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)"
)


def parse_stamp(text: str) -> int | None:
    """RFC 3339 with 0 to 9 decimals as ns since the epoch; None for anything else."""
    found = _RFC3339.fullmatch(text)
    if found is None:
        return None
    day, time, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{time}{'+00:00' if zone in 'Zz' else zone}")
    except ValueError:
        return None
    whole = moment - datetime(1970, 1, 1, tzinfo=UTC)
    seconds = whole.days * 86_400 + whole.seconds
    return seconds * NS_PER_S + int((fraction or "0").ljust(9, "0"))


def name(letter: str, key: int) -> str:
    """A number as an id in Kraken's form: `O` and 16 letters of base 32, 5-5-6 with the `O`.

    One number has one name, so that a level-3 order keeps its id over the session.
    """
    letters = []
    for _ in range(16):
        key, rest = divmod(key, 32)
        letters.append(_BASE32[rest])
    text = "".join(reversed(letters))
    return f"{letter}{text[:5]}-{text[5:10]}-{text[10:]}"


def number_of(text: str) -> int:
    """The number behind a `name`, -1 for text of another form."""
    letters = text[1:].replace("-", "")
    value = 0
    for letter in letters:
        place = _BASE32.find(letter)
        if place < 0:
            return -1
        value = value * 32 + place
    return value
