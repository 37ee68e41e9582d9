"""What does one page of REST `Trades` hold, and which page comes next?

A page is `{"error":[],"result":{"XXBTZUSD":[[price, volume, time, b/s, m/l, misc, trade_id],...],
"last":"<ns>"}}`. Cells are given as their text, so that no digit passes through a float; `last`
is an integer of 64 bits, since a double would repeat or skip pages. `TradePager` says where to go
on, and sees when a page boundary has cut between trades of one nanosecond. Left out: fetching
(rest.py) and what a row becomes (adapters/imports/kraken_rest.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from engine.errors import DataError

ROWS_MAX: Final = 1000  # of a page
NS: Final = 1_000_000_000


class _Page(msgspec.Struct):
    result: dict[str, msgspec.Raw] = {}
    error: list[str] = []


_PAGE: Final = msgspec.json.Decoder(_Page)
_ROWS: Final = msgspec.json.Decoder(list[list[msgspec.Raw]])


@dataclass(frozen=True)
class TradePage:
    """Rows in the venue's order, each a list of texts; `last` is 0 where the page has none."""

    name: str  # the venue's own key of the pair
    rows: list[list[str]]
    last: int

    @property
    def id_first(self) -> int:
        return id_of(self.rows[0]) if self.rows else 0

    @property
    def id_last(self) -> int:
        return id_of(self.rows[-1]) if self.rows else 0

    @property
    def ns_last(self) -> int:
        """Time of the last row; the row's own text has fewer digits than `last`."""
        return self.last or (seconds_to_ns(self.rows[-1][2]) if self.rows else 0)


def id_of(row: list[str]) -> int:
    """Trade id of a row; 0 in answers from before there were ids (six columns)."""
    return int(row[6]) if len(row) > 6 else 0


def seconds_to_ns(text: str) -> int:
    """`1618678132.8258188` to nanoseconds, exactly; digits beyond the ninth are cut."""
    whole, _, fraction = text.partition(".")
    return int(whole) * NS + int((fraction + "000000000")[:9])


def read_trade_page(data: bytes, where: str) -> TradePage:
    """One answer. Raises DataError that names `where` for an error text or another shape."""
    try:
        page = _PAGE.decode(data)
        if page.error:
            raise DataError(f"{where} holds Kraken's error {page.error}.", "Fetch it again.")
        names = [name for name in page.result if name != "last"]
        if len(names) != 1:
            raise DataError(f"{where} holds {len(names)} pairs.", "A page holds exactly one.")
        rows = [[_text(cell) for cell in row] for row in _ROWS.decode(page.result[names[0]])]
        last = _text(page.result["last"]) if "last" in page.result else "0"
        if not last.isdecimal() or len(last) > 19:
            raise DataError(f"{where} ends in {last[:40]!r}, which is no time.", "Fetch it again.")
    except (msgspec.DecodeError, UnicodeError) as error:
        raise DataError(
            f"{where} is not a page of REST Trades: {error}.", "Fetch it again."
        ) from error
    return TradePage(names[0], rows, int(last))


def _text(raw: msgspec.Raw) -> str:
    return bytes(raw).decode().strip('"')


class TradePager:
    """Where the next page begins, and when there is none.

    since_ns : trades after this moment; until_ns : trades up to it, None for all there are
    count : rows that a page may have
    """

    def __init__(self, since_ns: int, until_ns: int | None = None, count: int = ROWS_MAX) -> None:
        self.since_ns = since_ns
        self.until_ns = until_ns
        self.n_rows = 0
        self.id_last = 0
        self.ns_last = since_ns
        self.done = False
        self._count = count
        self._overlapped = False

    def take(self, page: TradePage, where: str) -> bool:
        """Move on by one page; False: ask again from `since_ns`, this page is not to be kept.

        `since` leaves out all of its nanosecond, so a page boundary among trades of one nanosecond
        loses some. It shows as a hole in the ids or, at the end, not at all: in both cases the page
        is asked for once more from a nanosecond earlier. Trades that came already are known by
        their ids. Raises DataError for a page that leads backwards or nowhere.
        """
        if page.rows and page.last <= self.since_ns:
            raise DataError(
                f"{where} asked for trades after {self.since_ns} and ends at {page.last}.",
                "Kraken's answer leads nowhere: run the command again later.",
            )
        hole = not page.rows or page.id_first > self.id_last + 1
        if self.id_last and hole and not self._overlapped:
            self._overlapped = True
            self.since_ns -= 1
            return False
        self._overlapped = False
        if self._n_new(page) == 0:
            if len(page.rows) >= self._count:
                raise DataError(
                    f"{where}: more trades share the nanosecond {page.last} than a page holds.",
                    "Start again with --since after it; the hole will be declared.",
                )
            self.done = True
            return False
        self.recall(page)
        return True

    def recall(self, page: TradePage) -> None:
        """Go on after a page that was taken before, in an earlier run."""
        self.n_rows += self._n_new(page)
        self.id_last = max(self.id_last, page.id_last)
        self.since_ns = self.ns_last = page.last
        self.done = self.until_ns is not None and page.last > self.until_ns

    def _n_new(self, page: TradePage) -> int:
        return sum(id_of(row) == 0 or id_of(row) > self.id_last for row in page.rows)
