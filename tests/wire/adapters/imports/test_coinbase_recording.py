"""The recorded Coinbase hour: a full-depth book that is never crossed."""

import numpy as np
import pytest

from adapters.imports import coinbase
from adapters.imports.formats import detect
from engine.book import BOOK, book_best, book_count, book_set, book_top, book_truncate
from engine.errors import DataError
from engine.events import BOOK_LEVEL, LAST, SNAPSHOT
from tests.naive.touch import Touch

FOLDER = "coinbase-l2-btcusd-20180424-1h"


@pytest.fixture(scope="module")
def whole(shared_data):
    found = coinbase.read(shared_data / FOLDER, symbol="BTC/USD")
    return found, found.read_all()


def test_counts_and_span(whole):
    found, events = whole

    assert found.summary.rows_used == {"snapshot level": 27_819, "update": 193_848}
    assert found.summary.n_rejected == found.summary.n_gaps == found.summary.n_backwards == 0
    snapshot = events[events["flags"] & SNAPSHOT > 0]
    assert (int((snapshot["side"] > 0).sum()), int((snapshot["side"] < 0).sum())) == (
        13_741,
        14_078,
    )
    # 2018-04-24 03:52:17.202 .. 04:52:17.199
    assert int(events["ts"][0]) == 1524541937_202000000
    assert int(events["ts"][-1]) == 1524545537_199000000
    assert int(np.diff(events["ts"]).max()) == 1_290_000_000
    assert (events["ts"] == events["ts_venue"]).all()
    assert [(c.name, c.depth, c.derived) for c in found.channels] == [("book", 0, False)]


def test_never_locked_or_crossed_and_the_touch(whole):
    _, events = whole
    touch = Touch()
    n_states = 0
    for event in events.tolist():
        price, qty, side, flags = event[3], event[4], event[9], event[10]
        touch.set(0 if side > 0 else 1, price, qty)
        if flags & LAST:
            n_states += 1
            assert not touch.crossed()
            if n_states == 1:
                assert (touch.best(0), touch.best(1)) == (919_200, 919_201)

    assert n_states == 193_848 + 1
    assert (touch.best(0), touch.best(1)) == (922_761, 922_762)
    assert (len(touch.levels[0]), len(touch.levels[1])) == (13_838, 14_009)


def test_sizes_that_went_through_doubles_are_whole_lots(whole):
    """0.11244000000000001 was 0.11244: the recording holds such sizes, and none is refused."""
    _, events = whole

    assert (events["qty"] == 11_244_000).any()


@pytest.mark.parametrize("depth", [10, 100])
def test_cut_to_a_depth_the_top_is_the_same(shared_data, whole, depth):
    """A book of `depth` levels fed by the window against dictionaries fed by everything."""
    cut = coinbase.read(shared_data / FOLDER, symbol="BTC/USD", depth=depth)
    events = cut.read_all()
    book = np.zeros(1, BOOK)[0]
    for event in events[events["kind"] == BOOK_LEVEL]:
        book_set(book, 0 if event["side"] > 0 else 1, event["price"], event["qty"])
        if event["flags"] & LAST:
            book_truncate(book, depth)
    levels = ({}, {})
    for event in whole[1].tolist():
        side = levels[0 if event[9] > 0 else 1]
        side.pop(event[3], None)
        if event[4]:
            side[event[3]] = event[4]

    assert (book_count(book, 0), book_count(book, 1)) == (depth, depth)
    assert book_best(book, 0) == max(levels[0])
    assert book_best(book, 1) == min(levels[1])
    for i_side in (0, 1):
        prices, qtys = np.zeros(depth, np.int64), np.zeros(depth, np.int64)
        book_top(book, i_side, depth, prices, qtys)
        expected = sorted(levels[i_side], reverse=i_side == 0)[:depth]
        assert prices.tolist() == expected
        assert qtys.tolist() == [levels[i_side][price] for price in expected]
    assert cut.channels[0].depth == depth
    assert cut.channels[0].derived


def test_the_format_is_found_and_the_pair_must_be_named(shared_data):
    assert detect(shared_data / FOLDER) == "coinbase-l2"
    with pytest.raises(DataError, match="which pair"):
        coinbase.read(shared_data / FOLDER)
