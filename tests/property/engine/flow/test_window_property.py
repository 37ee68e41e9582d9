"""A client of the filtered feed sees the best N levels of the whole book, whatever the feed does."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.events import (
    BOOK_LEVEL,
    EVENT,
    GAP,
    LAST,
    MESSAGE_END,
    SNAPSHOT,
    TRADE,
    empty,
)
from engine.flow.window import DepthWindow
from tests.naive.window import WholeBook, WindowClient

PRICES = st.integers(1, 40)
LEVEL = st.tuples(st.sampled_from((0, 1)), PRICES, st.sampled_from((0, 0, 1, 2, 3)))
SNAPSHOT_LEVEL = st.tuples(st.sampled_from((0, 1)), PRICES, st.integers(1, 3))
UPDATE = st.tuples(st.just(False), st.lists(LEVEL, min_size=1, max_size=6))
WHOLE = st.tuples(st.just(True), st.lists(SNAPSHOT_LEVEL, max_size=30))
MESSAGES = st.lists(
    st.tuples(st.sampled_from((0, 1)), st.one_of(UPDATE, UPDATE, UPDATE, WHOLE)),
    min_size=1,
    max_size=40,
)


def rows_of(sym, snapshot, levels):
    """EVENT rows of one message."""
    rows = empty(max(len(levels), 1))
    rows["sym"] = sym
    flags = SNAPSHOT if snapshot else 0
    rows["flags"] = flags
    rows["flags"][-1] = flags | LAST
    if not levels:
        rows["kind"], rows["id"] = MESSAGE_END, BOOK_LEVEL
        return rows
    rows["kind"] = BOOK_LEVEL
    rows["side"] = [1 if i_side == 0 else -1 for i_side, _, _ in levels]
    rows["price"] = [price for _, price, _ in levels]
    rows["qty"] = [qty for _, _, qty in levels]
    return rows


def messages_of(rows):
    """(sym, snapshot, levels) of each closed message."""
    levels = []
    for row in rows:
        if row["kind"] == BOOK_LEVEL:
            levels.append((0 if row["side"] > 0 else 1, int(row["price"]), int(row["qty"])))
        if row["flags"] & LAST:
            yield int(row["sym"]), bool(row["flags"] & SNAPSHOT), levels
            levels = []
    assert not levels, "a message was not closed"


@given(messages=MESSAGES, depth=st.sampled_from((1, 2, 3, 10)))
def test_a_client_that_cuts_sees_the_top_of_the_whole_book(messages, depth):
    window = DepthWindow(2, (0, 1), depth)
    whole = [WholeBook(depth), WholeBook(depth)]
    client = [WindowClient(depth), WindowClient(depth)]

    for sym, (snapshot, levels) in messages:
        whole[sym].message(snapshot, levels)
        for heard_sym, heard_snapshot, heard in messages_of(
            window.apply(rows_of(sym, snapshot, levels))
        ):
            assert heard_sym == sym
            assert heard_snapshot == snapshot
            client[sym].message(heard_snapshot, heard)
        assert client[sym].tops() == whole[sym].tops()


@given(messages=MESSAGES, depth=st.sampled_from((1, 2, 3, 10)))
def test_nothing_is_sent_that_a_venue_of_that_depth_would_not_send(messages, depth):
    """No level below the window, no removal of what the client does not hold, nothing twice."""
    window = DepthWindow(2, (0, 1), depth)
    whole = [WholeBook(depth), WholeBook(depth)]
    client = [WindowClient(depth), WindowClient(depth)]

    for sym, (snapshot, levels) in messages:
        whole[sym].message(snapshot, levels)
        tops = whole[sym].tops()
        heard_messages = list(messages_of(window.apply(rows_of(sym, snapshot, levels))))
        assert len(heard_messages) <= 1
        for _, heard_snapshot, heard in heard_messages:
            assert heard or heard_snapshot
            assert len({(i_side, price) for i_side, price, _ in heard}) == len(heard)
            for i_side, price, qty in heard:
                held = 0 if heard_snapshot else client[sym].book.qty(i_side, price)
                if qty == 0:
                    assert held > 0
                    assert price not in dict(tops[i_side])
                else:
                    assert dict(tops[i_side])[price] == qty
                    assert held != qty
            client[sym].message(heard_snapshot, heard)


@given(messages=MESSAGES, cuts=st.lists(st.integers(0, 200), max_size=6))
def test_batching_changes_nothing(messages, cuts):
    """A message may be split over two batches; other events keep their place."""
    pieces = []
    for i, (sym, (snapshot, levels)) in enumerate(messages):
        pieces.append(rows_of(sym, snapshot, levels))
        other = empty(1)
        other["kind"], other["sym"], other["id"] = (TRADE, GAP)[i % 2], sym, i
        pieces.append(other)
    events = np.concatenate(pieces)
    events["ts"] = np.arange(len(events))

    at_once = DepthWindow(2, (0, 1), 3).apply(events)
    split = DepthWindow(2, (0, 1), 3).filter(np.split(events, sorted(cuts)))

    assert np.array_equal(np.concatenate([np.zeros(0, EVENT), *split]), at_once)
    others = events[events["kind"] != BOOK_LEVEL]
    others = others[others["kind"] != MESSAGE_END]
    passed = at_once[(at_once["kind"] == TRADE) | (at_once["kind"] == GAP)]
    assert np.array_equal(passed, others)


@given(messages=MESSAGES)
def test_a_symbol_that_is_not_asked_for_passes_through(messages):
    events = np.concatenate([rows_of(sym, *message) for sym, message in messages])

    filtered = DepthWindow(2, (0,), 2).apply(events)

    assert np.array_equal(filtered[filtered["sym"] == 1], events[events["sym"] == 1])
