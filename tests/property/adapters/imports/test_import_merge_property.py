"""Merging streams is a stable sort by (ts, stream), however the streams are cut into pieces."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adapters.imports.merge import merge
from engine.events import LAST, TRADE, empty

STREAMS = st.lists(
    st.tuples(st.lists(st.integers(1, 8), max_size=12), st.lists(st.integers(0, 12), max_size=4)),
    min_size=1,
    max_size=4,
)


def rows_of(i_stream, times):
    rows = empty(len(times))
    rows["ts"], rows["kind"], rows["flags"] = sorted(times), TRADE, LAST
    rows["sym"], rows["id"] = i_stream, np.arange(len(times))
    return rows


@given(streams=STREAMS)
def test_parity_with_sorting_everything_at_once(streams):
    whole = [rows_of(i, times) for i, (times, _) in enumerate(streams)]

    pieces = merge(
        [iter(np.split(rows, sorted(cuts))) for rows, (_, cuts) in zip(whole, streams, strict=True)]
    )
    merged = [tuple(map(int, (r["ts"], r["sym"], r["id"]))) for piece in pieces for r in piece]

    expected = [(int(r["ts"]), int(r["sym"]), int(r["id"])) for rows in whole for r in rows]
    assert merged == sorted(expected)


@given(streams=STREAMS)
def test_rows_of_one_stamp_are_never_split_over_two_pieces(streams):
    """So a message, whose rows share a stamp, stays whole."""
    whole = [rows_of(i, times) for i, (times, _) in enumerate(streams)]

    pieces = list(merge([iter([rows]) for rows in whole]))
    if len(whole) > 1:
        for earlier, later in pairwise(pieces):
            assert earlier["ts"][-1] < later["ts"][0]
