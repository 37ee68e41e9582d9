"""Reading ahead changes when items are made, never which, and leaves no thread behind."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from adapters.parquet.ahead import read_ahead


def counting(n: int, made: list[int], closed: list[bool]) -> Generator[int, None, None]:
    try:
        for i in range(n):
            made.append(i)
            yield i
    finally:
        closed.append(True)


def alive() -> int:
    return sum(thread.name == "read-ahead" for thread in threading.enumerate())


def test_all_items_come_in_order() -> None:
    made: list[int] = []
    closed: list[bool] = []

    assert list(read_ahead(counting(100, made, closed))) == list(range(100))
    assert (alive(), closed) == (0, [True])


def test_no_more_than_the_bound_is_made_early() -> None:
    made: list[int] = []
    ahead = read_ahead(counting(100, made, []), n_ahead=3)

    for i in range(20):
        assert next(ahead) == i
        assert len(made) <= i + 1 + 3 + 1
    ahead.close()  # type: ignore[attr-defined]


def test_nothing_is_read_before_the_first_item_is_wanted() -> None:
    made: list[int] = []
    read_ahead(counting(5, made, []))

    assert made == []


def test_an_exception_comes_where_its_item_would_have_come() -> None:
    def failing() -> Generator[int, None, None]:
        yield 1
        yield 2
        raise KeyError("torn")

    items = []
    with pytest.raises(KeyError, match="torn"):  # noqa: PT012
        for item in read_ahead(failing()):
            items.append(item)
    assert (items, alive()) == ([1, 2], 0)


def test_an_early_end_stops_the_thread_and_closes_the_source() -> None:
    closed: list[bool] = []
    ahead = read_ahead(counting(1000, [], closed))
    next(ahead)
    assert alive() == 1

    ahead.close()  # type: ignore[attr-defined]

    assert (alive(), closed) == (0, [True])


def test_an_empty_source_is_empty() -> None:
    assert list(read_ahead(counting(0, [], []))) == []
