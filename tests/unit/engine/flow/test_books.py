"""Books of a stream are followed, and each kind of contradiction stops at its message."""

from __future__ import annotations

import numpy as np
import pytest

from engine import events as ev
from engine.flow import books as bk
from engine.flow.rules import first_torn_message
from tests.support.captures import DEPTH, TABLE, market_rows

ROWS = market_rows(300)
DEPTHS = dict.fromkeys(TABLE.symbols, DEPTH)


def findings(rows: np.ndarray, with_checksums: bool = True) -> list[tuple[int, int]]:
    """(row, finding) of everything that does not hold together."""
    books = bk.make_books(TABLE, DEPTHS)
    found = []
    i = -1
    while True:
        i, finding, _, _ = bk.follow_books(books, rows, i + 1, with_checksums)
        if finding == bk.FINE:
            assert i == len(rows)
            return found
        found.append((int(i), int(finding)))


def closer(n: int) -> int:
    mine = (ROWS["kind"] == ev.BOOK_LEVEL) & (ROWS["sym"] == 1) & ((ROWS["flags"] & ev.LAST) != 0)
    return int(np.flatnonzero(mine)[n])


def test_a_stream_with_right_checksums_is_fine() -> None:
    """The checksums come from text and zlib (tests/naive/checksum.py), not from the kernel."""
    assert findings(ROWS) == []
    assert ((ROWS["flags"] & ev.VERIFIED) != 0).sum() > 200


def test_any_batches_give_the_same_findings() -> None:
    rows = ROWS.copy()
    rows["aux"][closer(20)] ^= 1
    books = bk.make_books(TABLE, DEPTHS)
    found = []
    for at in range(0, len(rows), 3):
        i = -1
        part = rows[at : at + 3]
        while True:
            i, finding, _, _ = bk.follow_books(books, part, i + 1, True)
            if finding == bk.FINE:
                break
            found.append((at + int(i), int(finding)))

    assert found == findings(rows) == [(closer(20), bk.CHECKSUM_WRONG)]


def test_a_level_that_was_lost_is_found_by_the_next_checksum() -> None:
    inside = np.flatnonzero((ROWS["kind"] == ev.BOOK_LEVEL) & ((ROWS["flags"] & ev.SNAPSHOT) != 0))
    lost = np.delete(ROWS, inside[0])

    assert findings(lost)[0][1] == bk.CHECKSUM_WRONG
    assert findings(lost, with_checksums=False) == []


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (ev.LAST | ev.CHECKSUM | ev.FAILED, [bk.CHECKSUM_RIGHT]),
        (ev.LAST | ev.CHECKSUM, []),
        (ev.LAST, []),
    ],
)
def test_verdicts_on_a_right_checksum(flags: int, expected: list[int]) -> None:
    rows = ROWS[: closer(20) + 1].copy()
    rows["flags"][-1] = flags

    assert [finding for _, finding in findings(rows)] == expected


def test_an_unchecked_wrong_checksum_counts_only_while_the_book_is_trusted() -> None:
    i = closer(20)
    rows = ROWS[: i + 1].copy()
    rows["flags"][i], rows["aux"][i] = ev.LAST | ev.CHECKSUM, 1
    assert findings(rows) == [(i, bk.CHECKSUM_WRONG)]

    gap = ev.empty(1)
    gap["kind"], gap["id"], gap["flags"] = ev.GAP, ev.GAP_DROPPED, ev.LAST
    for sym, expected in ((-1, 0), (1, 0), (0, 1)):
        gap["sym"] = sym
        with_gap = np.insert(rows, closer(19) + 1, gap)
        assert len(findings(with_gap)) == expected


def test_a_crossed_book_is_named_with_its_touch() -> None:
    i = closer(20)
    rows = ROWS[: i + 1].copy()
    rows[i]["side"], rows[i]["price"], rows[i]["qty"] = ev.BUY, 11_000, 3
    rows[i]["flags"], rows[i]["aux"] = ev.LAST, 0
    books = bk.make_books(TABLE, DEPTHS)

    at, finding, ask, bid = bk.follow_books(books, rows, 0, True)
    assert (at, finding, bid) == (i, bk.CROSSED, 11_000)
    assert ask <= bid
    assert books.states[1]["n_crossed"] == 1


def test_symbols_without_a_book_are_passed_over() -> None:
    books = bk.make_books(TABLE, {"BTC/USD": DEPTH})
    rows = ROWS.copy()
    rows["aux"][rows["sym"] == 1] ^= 1

    assert bk.follow_books(books, rows, 0, True)[1] == bk.FINE


def test_a_row_inside_a_message_of_another_is_found_across_batches() -> None:
    inside = np.flatnonzero((ROWS["kind"] == ev.BOOK_LEVEL) & ((ROWS["flags"] & ev.LAST) == 0))
    i = int(inside[80])
    trade = ROWS[ROWS["kind"] == ev.TRADE][:1]
    other = ROWS[(ROWS["kind"] == ev.BOOK_LEVEL) & (ROWS["sym"] != ROWS["sym"][i])][:1]
    for stranger in (trade, other):
        rows = np.insert(ROWS, i + 1, stranger)
        for step in (1, 7, len(rows)):
            open_ = np.zeros(3, np.int64)
            hits = []
            for at in range(0, len(rows), step):
                part = rows[at : at + step]
                k = first_torn_message(part, open_)
                if k < len(part):
                    hits.append(at + k)
                    break
            assert hits == [i + 1]
    assert first_torn_message(ROWS, np.zeros(3, np.int64)) == len(ROWS)
