"""The tape's windows against the same windows in SQL, as the catalogue of a cold store has them."""

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core import tape as t

S = 1_000_000_000
T0 = 1_700_000_000 * S

# Boundaries as docs/formulas-features.md states them.
WINDOW = "ts > ((?::BIGINT + 999999999) // 1000000000 - ?) * 1000000000 AND ts <= ?::BIGINT"
near_seconds = st.tuples(st.integers(0, 4000), st.sampled_from([-1, 0, 1, 1, 500_000_000]))
instants = near_seconds.map(lambda pair: T0 + pair[0] * S + pair[1])


@settings(max_examples=60)
@given(instants=st.lists(instants, min_size=1, max_size=40).map(sorted), later=instants)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_windows_in_sql(instants, later):
    now = max(later, instants[-1])
    trades = np.array(
        [(ts, 100 + i, 1 + i % 3, (1, -1, 0)[i % 3]) for i, ts in enumerate(instants)], np.int64
    )
    tape = np.zeros(1, t.TAPE)[0]
    for ts, price, qty, side in trades.tolist():
        t.tape_trade(tape, price, qty, side, price * qty, ts)
    t.tape_second(tape, 0, now)
    columns = dict(zip(("ts", "price", "qty", "side"), trades.T, strict=True))  # noqa: F841
    with duckdb.connect() as connection:
        for i, width in enumerate(t.WINDOWS_S):
            row = connection.execute(
                "SELECT count(*), coalesce(sum(qty), 0), "
                "coalesce(sum(price * qty) FILTER (side = 1), 0), "
                "coalesce(sum(price * qty) FILTER (side = -1), 0) "
                f"FROM columns WHERE {WINDOW}",
                [now, width, now],
            ).fetchone()
            kept = (t.B_TRADES, t.B_LOTS, t.B_BUY, t.B_SELL)
            assert row == tuple(int(t.window_sum(tape, i, column)) for column in kept)
