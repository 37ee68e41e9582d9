"""Which stamps and which text does each line of a recorded Kraken session hold?

Three layouts of one JSON object or array per line: the bare wire message; `{"recv_ts", "conn",
"msg"}` with the receive time in seconds; `{"rx_ns", "dir", "frame"}` with a receive time in
nanoseconds, of the epoch or of a monotonic clock. Also the parsers of Kraken's time texts. Left
out: what the messages mean (kraken_v1_book.py, kraken_v2_book.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from adapters.imports.base import Summary
from adapters.imports.files import Member, read_lines

NS: Final = 1_000_000_000
_EPOCH_LIKELY_NS: Final = 10**17  # nanoseconds beyond 1973; a monotonic clock is far below


@dataclass(frozen=True, slots=True)
class Frame:
    """One line. ts : ns as recorded, -1 if the line has no receive time; sent : by the client."""

    where: str
    ts: int
    conn: str
    sent: bool
    text: bytes


class _Line(msgspec.Struct):
    recv_ts: str | None = None
    conn: str | int | None = None
    msg: str | None = None
    rx_ns: int | None = None
    dir: str | None = None
    frame: str | None = None


_LINE: Final = msgspec.json.Decoder(_Line)


def seconds_to_ns(text: str) -> int:
    """`1618678132.8258188` to nanoseconds, exactly; digits beyond the ninth are cut."""
    whole, _, fraction = text.partition(".")
    return int(whole) * NS + int((fraction + "000000000")[:9])


def frames(members: list[Member], summary: Summary | None) -> Iterator[Frame]:
    """Every line of the files as a Frame; counts `rows_in`, declares lines that are not JSON.

    summary : None for a pass that only looks
    """
    for member in members:
        for number, line in read_lines(member):
            where = f"{member} line {number}"
            if summary is not None:
                summary.rows_in += 1
            if line[:1] == b"[":
                yield Frame(where, -1, "", False, line)
                continue
            try:
                outer = _LINE.decode(line)
                yield _unwrapped(where, outer, line)
            except (msgspec.DecodeError, ValueError):
                if summary is not None:
                    summary.reject("not a JSON line of a known layout", where)
                yield Frame(where, -1, "", False, b"")


def _unwrapped(where: str, outer: _Line, line: bytes) -> Frame:
    conn = str(outer.conn or "")
    if outer.msg is not None and outer.recv_ts is not None:
        return Frame(where, seconds_to_ns(outer.recv_ts), conn, False, outer.msg.encode())
    if outer.frame is not None and outer.rx_ns is not None:
        return Frame(where, outer.rx_ns, conn, outer.dir == "tx", outer.frame.encode())
    return Frame(where, -1, conn, False, line)


def is_monotonic(ts: int) -> bool:
    """Does a receive stamp count from some boot, not from the epoch?"""
    return 0 <= ts < _EPOCH_LIKELY_NS
