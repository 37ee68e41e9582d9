"""The merge gives one order, whatever the batches; a naive twin says which."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events import EVENT, LAST
from engine.flow.merge import columns_to_rows, merge
from tests.naive import merge as naive


@st.composite
def one_source(draw: st.DrawFn, i_source: int) -> list[np.ndarray]:
    """Chunks of one ordered source; few distinct stamps, so that ties are common."""
    steps = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 2)), max_size=12))
    rows = np.zeros(len(steps), EVENT)
    if len(steps):
        rows["ts"] = np.cumsum([step[0] for step in steps])
        rows["seq"] = np.cumsum([step[1] for step in steps])
        rows["flags"] = draw(
            st.lists(st.sampled_from([0, LAST]), min_size=len(rows), max_size=len(rows))
        )
    rows["id"] = i_source
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    return [np.array(part) for part in np.split(rows, cuts)]


@st.composite
def sources(draw: st.DrawFn) -> list[list[np.ndarray]]:
    return [draw(one_source(i)) for i in range(draw(st.integers(1, 4)))]


@given(sources=sources(), rows=st.integers(1, 7), whole_messages=st.booleans())
def test_parity_with_the_naive_merge(
    sources: list[list[np.ndarray]], rows: int, whole_messages: bool
) -> None:
    batches = list(merge(sources, rows, whole_messages=whole_messages))

    merged = np.concatenate(batches) if batches else np.empty(0, EVENT)
    assert naive.merge(sources, whole_messages).tobytes() == merged.tobytes()
    assert all(0 < len(batch) <= rows for batch in batches)


@given(sources=sources(), rows=st.integers(1, 7))
def test_renumbering_counts_from_zero_and_changes_nothing_else(
    sources: list[list[np.ndarray]], rows: int
) -> None:
    expected = naive.merge(sources, whole_messages=False)
    batches = list(merge(sources, rows, renumber=True))

    merged = np.concatenate(batches) if batches else np.empty(0, EVENT)
    expected["seq"] = np.arange(len(expected))
    assert expected.tobytes() == merged.tobytes()


def test_batches_do_not_share_memory() -> None:
    """A reader may keep a batch while the next one is made."""
    chunk = np.zeros(10, EVENT)
    chunk["seq"] = np.arange(10)
    first, second = merge([[chunk], []], 5)

    first["price"] = 7

    assert (second["price"] == 0).all()


def test_sources_larger_than_the_stage_are_merged_in_parts() -> None:
    odd, even = np.zeros(200_000, EVENT), np.zeros(200_000, EVENT)
    odd["seq"] = np.arange(200_000) * 2 + 1
    even["seq"] = np.arange(200_000) * 2

    merged = np.concatenate(list(merge([[odd], [even]], 50_000)))

    assert (merged["seq"] == np.arange(400_000)).all()


def test_an_empty_batch_size_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        list(merge([[np.zeros(1, EVENT)]], 0))


rows_of_events = st.lists(
    st.tuples(
        *[st.integers(-(2**63), 2**63 - 1)] * 5,
        *[st.integers(-128, 127)] * 3,
        st.integers(-(2**31), 2**31 - 1),
    ),
    max_size=20,
)


@given(values=rows_of_events)
def test_columns_become_the_same_rows(values: list[tuple[int, ...]]) -> None:
    rows = np.zeros(len(values), EVENT)
    names = ["ts_venue", "price", "qty", "id", "aux", "sym", "kind", "side", "flags"]
    for row, value in zip(rows, values, strict=True):
        for name, each in zip(names, value, strict=True):
            row[name] = each
    rows["ts"], rows["seq"] = 5, np.arange(len(rows))
    columns = [np.ascontiguousarray(rows[name]) for name in EVENT.names]
    out = np.zeros(len(rows), EVENT)

    assert len(rows) == columns_to_rows(out, *columns, 5, -1)
    assert rows.tobytes() == out.tobytes()


@pytest.mark.parametrize(("field", "value"), [("ts", 4), ("seq", 2)])
def test_the_row_out_of_order_is_named(field: str, value: int) -> None:
    rows = np.zeros(6, EVENT)
    rows["ts"], rows["seq"] = 5, np.arange(6)
    rows[field][3] = value
    columns = [np.ascontiguousarray(rows[name]) for name in EVENT.names]

    assert columns_to_rows(np.zeros(6, EVENT), *columns, 0, -1) == 3
