"""The same strategy on the same events fills alike in our venue and in hftbacktest.

hftbacktest's rules (its risk-averse queue, no partial fills, constant latency) are a set of options
of ours, `engine.venue.params.PARITY`. The stream and the strategy are those of the bench.
"""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("hftbacktest", reason="hftbacktest is not installed: it comes with dev.txt")

from tests.bench.peer import Setup, make_stream, run_hftbacktest, run_ours

N_EVENTS = 250_000


@pytest.mark.parametrize("seed", [7])
@pytest.mark.parametrize("book", ["hash", "roi"])
def test_same_fills_and_same_final_position(seed, book):
    events = make_stream(N_EVENTS, seed=seed)
    expected = run_hftbacktest(events, Setup(), book)

    actual = run_ours(events, Setup())

    assert len(expected.fills) > 500
    assert (len(actual.fills), actual.position) == (len(expected.fills), expected.position)


def by_time(fills: np.ndarray) -> np.ndarray:
    """Fills by venue time: hftbacktest's are read off its orders at each step, in no order."""
    return fills[np.lexsort(fills.T[::-1])]


def test_each_fill_has_the_same_time_side_price_and_quantity():
    events = make_stream(N_EVENTS)
    expected = run_hftbacktest(events, Setup(), "roi").fills

    actual = run_ours(events, Setup()).fills

    np.testing.assert_array_equal(by_time(actual), by_time(expected))


@pytest.mark.parametrize("n", [1000, 250_000, 250_001, 250_002, 250_003])
def test_a_stream_of_any_length_ends(n):
    """A step that has no room for its level once was drawn again for ever."""
    events = make_stream(n)
    assert len(events) == n
    assert np.all(events["kind"] != 0)


def test_other_latencies_agree_as_well():
    setup = Setup(feed_ns=1_000_000, entry_ns=3_000_000, response_ns=2_000_000)
    events = make_stream(N_EVENTS, seed=9, feed_ns=setup.feed_ns)
    expected = run_hftbacktest(events, setup, "roi")

    actual = run_ours(events, setup)

    assert (len(actual.fills), actual.position) == (len(expected.fills), expected.position)
