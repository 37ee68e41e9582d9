"""Each rule of a row can fail, names the row, and says what to do."""

from __future__ import annotations

import numpy as np
import pytest

from engine import events as ev
from engine.flow import rules

TS = 1_700_000_000_000_000_000


def good_rows() -> np.ndarray:
    """One row of many kinds, all as they should be."""
    wanted = [
        # kind, sym, side, price, qty, id, aux, flags
        (ev.CONNECTION_UP, -1, 0, 0, 0, 0, 0, ev.LAST),
        (ev.INSTRUMENT, 0, 0, 0, 0, 0, 7, ev.LAST),
        (ev.BOOK_LEVEL, 1, ev.BUY, 100, 5, 0, 0, ev.SNAPSHOT),
        (ev.BOOK_LEVEL, 1, ev.SELL, 101, 0, 0, 0xFFFFFFFF, ev.LAST | ev.CHECKSUM | ev.VERIFIED),
        (ev.L3_ADD, 0, ev.SELL, 1 << 40, 1 << 60, 9, TS, 0),
        (ev.L3_DELETE, 0, ev.SELL, 1, 0, 9, TS, 0),
        (ev.MESSAGE_END, 0, 0, 0, 0, ev.L3_ADD, 77, ev.LAST | ev.CHECKSUM | ev.FAILED),
        (ev.TRADE, 0, 0, 1, 0, 0, 0, ev.LAST | ev.MARKET_ORDER),
        (ev.TICKER, 1, 0, 0, 0, ev.TICKER_VOLUME, 0, ev.LAST),
        (ev.GAP, -1, 0, 0, 0, ev.GAP_SOURCE, TS, ev.LAST),
        (ev.EPOCH, -1, 0, 0, 0, 1, ev.EPOCH_VALID, ev.LAST),
        (ev.ORDER_FEE, 0, 0, 0, -5, 1, 1, ev.LAST),  # a rebate: negative is right here
        (ev.SYSTEM_STATUS, -1, 0, 0, 0, 0, 0, ev.LAST),
    ]
    rows = ev.empty(len(wanted))
    names = ("kind", "sym", "side", "price", "qty", "id", "aux", "flags")
    for row, values in zip(rows, wanted, strict=True):
        for name, value in zip(names, values, strict=True):
            row[name] = value
    rows["ts"], rows["seq"] = TS, np.arange(len(rows))
    return rows


def verdict(rows: np.ndarray) -> tuple[int, int]:
    return rules.first_broken_rule(rows, 2, 0, -1, rules.TS_MIN, rules.TS_MAX)


def test_good_rows_stand() -> None:
    assert verdict(good_rows()) == (len(good_rows()), rules.RULE_OK)


BROKEN = [
    (2, "kind", 99, rules.RULE_KIND),
    (2, "kind", -1, rules.RULE_KIND),
    (2, "kind", 0, rules.RULE_KIND),
    (2, "flags", 1 << 9, rules.RULE_FLAGS),
    (2, "flags", -1, rules.RULE_FLAGS),
    (2, "sym", 2, rules.RULE_SYMBOL),
    (2, "sym", -2, rules.RULE_SYMBOL),
    (2, "sym", -1, rules.RULE_SYMBOL),
    (6, "sym", -1, rules.RULE_SYMBOL),
    (7, "sym", -1, rules.RULE_SYMBOL),
    (8, "sym", -1, rules.RULE_SYMBOL),
    (1, "sym", -1, rules.RULE_SYMBOL),
    (2, "side", 2, rules.RULE_SIDE),
    (2, "side", -128, rules.RULE_SIDE),
    (2, "side", 0, rules.RULE_SIDE),
    (4, "side", 0, rules.RULE_SIDE),
    (2, "ts", 1_700_000_000_000_000, rules.RULE_TIME_RANGE),  # microseconds
    (2, "ts", 1_700_000_000, rules.RULE_TIME_RANGE),  # seconds
    (2, "ts", TS - 1, rules.RULE_TIME_ORDER),
    (2, "seq", 1, rules.RULE_SEQ_ORDER),
    (2, "price", 0, rules.RULE_PRICE),
    (2, "price", -1, rules.RULE_PRICE),
    (2, "price", (1 << 40) + 1, rules.RULE_PRICE),
    (7, "price", 0, rules.RULE_PRICE),
    (8, "price", -1, rules.RULE_PRICE),
    (2, "qty", -1, rules.RULE_QTY),
    (2, "qty", (1 << 60) + 1, rules.RULE_QTY),
    (4, "qty", 0, rules.RULE_QTY),
    (7, "qty", -1, rules.RULE_QTY),
    (8, "qty", -1, rules.RULE_QTY),
    (8, "id", 0, rules.RULE_CODE),
    (8, "id", 8, rules.RULE_CODE),
    (6, "id", 2, rules.RULE_CODE),
    (6, "id", 13, rules.RULE_CODE),
    (1, "aux", 8, rules.RULE_CODE),
    (12, "aux", -1, rules.RULE_CODE),
    (9, "id", 0, rules.RULE_CODE),
    (10, "aux", 5, rules.RULE_CODE),
    (3, "aux", 1 << 32, rules.RULE_CHECKSUM),
    (3, "aux", -1, rules.RULE_CHECKSUM),
    (3, "flags", ev.CHECKSUM | ev.VERIFIED | ev.FAILED, rules.RULE_VERDICT),
    (2, "flags", ev.VERIFIED, rules.RULE_VERDICT),
]


@pytest.mark.parametrize(("i", "field", "value", "rule"), BROKEN)
def test_the_first_broken_row_and_its_rule_are_named(
    i: int, field: str, value: int, rule: int
) -> None:
    rows = good_rows()
    rows[field][i] = value

    assert verdict(rows) == (i, rule)


def test_the_state_before_the_first_row_counts() -> None:
    rows = good_rows()

    assert rules.first_broken_rule(rows, 2, TS + 1, -1, 0, rules.TS_MAX) == (
        0,
        rules.RULE_TIME_ORDER,
    )
    assert rules.first_broken_rule(rows, 2, 0, 0, 0, rules.TS_MAX) == (0, rules.RULE_SEQ_ORDER)


def test_the_description_holds_the_value_and_a_next_step() -> None:
    rows = good_rows()
    rows["qty"][7] = -3

    text, hint = rules.describe_broken_rule(rules.RULE_QTY, rows[7])

    assert text == "qty -3 of a trade event (seq 7) is not a quantity in lots (0 to 2^60)"
    assert hint
