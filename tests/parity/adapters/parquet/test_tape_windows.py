"""The catalogue's rolling windows of trades against the tape of the core, on the same trades."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adapters.parquet.catalog import WINDOWS_S, connect
from adapters.parquet.writer import CaptureWriter
from engine import events as ev
from engine.core import tape as t
from tests.support.captures import CHANNELS, TABLE, market_rows

ROWS = market_rows(3000)
LAST = int(ROWS["ts"][-1])


@pytest.mark.parametrize("offset", [0, 1, 999_999_999, 10**9, 58 * 10**9, 299 * 10**9 + 1])
def test_windows_of_sql_and_core_hold_the_same_trades(tmp_path: Path, offset: int) -> None:
    with CaptureWriter(tmp_path, "a", TABLE, channels=CHANNELS) as writer:
        writer.append(ROWS)
    now = LAST + offset
    with connect(tmp_path) as sql:
        rows = sql.execute(
            "SELECT symbol, window_name, trades, qty, coalesce(qty_buy, 0), coalesce(qty_sell, 0) "
            "FROM trade_windows_at(?)",
            [now],
        ).fetchall()
    found = {(symbol, name): values for symbol, name, *values in rows}

    n_compared = 0
    for sym, each in enumerate(TABLE):
        tape = np.zeros(1, t.TAPE)[0]
        for row in ROWS[(ROWS["kind"] == ev.TRADE) & (ROWS["sym"] == sym)]:
            price, qty, side, ts = (int(row[name]) for name in ("price", "qty", "side", "ts"))
            t.tape_trade(tape, price, qty, side, price * qty, ts)
        t.tape_second(tape, 0, now)
        for name, seconds in WINDOWS_S.items():
            i = t.WINDOWS_S.index(seconds)
            kept = (t.B_TRADES, t.B_LOTS, t.B_BUY_LOTS, t.B_SELL_LOTS)
            n, lots, buy, sell = (int(t.window_sum(tape, i, column)) for column in kept)
            steps = [n, *(count * each.qty_increment for count in (lots, buy, sell))]
            assert found.get((each.symbol, name), [0, 0, 0, 0]) == steps
            n_compared += n
    assert n_compared > 0
