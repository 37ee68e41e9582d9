"""What CRC-32 does Kraken compute over the orders of a level 3 book?

As over levels (engine/checksum.py), but every order of the ten best prices counts, in queue order,
each with its price. Left out: the orders themselves (orders.py) and what to do about a mismatch.

Source: Kraken, "Spot WebSocket API v2, level 3 checksum"; CRC-32 is zlib's.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final

CHECKSUM_LEVELS: Final = 10  # prices a side, whatever the depth of the subscription


def order_token(price_ticks: int, qty_lots: int, tick_num: int, lot_num: int) -> bytes:
    """What one order adds to the hashed text: price and quantity as digits, without zeros in front.

    tick_num, lot_num : one tick and one lot in units of the last decimal of the wire's text
    """
    return b"%d%d" % (price_ticks * tick_num, qty_lots * lot_num)


def crc32_tokens(asks: Iterable[bytes], bids: Iterable[bytes]) -> int:
    """The checksum, unsigned 32 bits, of order tokens that stand best price first, then by queue."""
    return zlib.crc32(b"".join(bids), zlib.crc32(b"".join(asks)))
