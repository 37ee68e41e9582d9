"""A reliability table that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.commands import ROLE_ENTRY, ROLE_EXIT
from engine.core.fillprob import FILL_QUEUE, FILL_TAKER, FILL_TOUCH
from engine.core.orderstates import (
    ORDER_STATE_CANCELLED,
    ORDER_STATE_EXPIRED,
    ORDER_STATE_FILLED,
    ORDER_STATE_PARTIAL,
)
from engine.core.records import DECISION_ROW, ORDER_ROW
from engine.reports.reliability import as_text, expected_and_filled, reliability


def test_the_score_and_the_bins_by_hand() -> None:
    """0.2, 0.2, 0.9, 1.0 against 0, 1, 1, 1: errors 0.04, 0.64, 0.01, 0; three of four filled."""
    table = reliability(np.array([0.2, 0.2, 0.9, 1.0]), np.array([0.0, 1.0, 1.0, 1.0]))

    assert (4, 0.75 * 0.25) == (table.n, table.base_brier)
    assert 0.69 / 4 == pytest.approx(table.brier)
    assert [(0.2, 0.3, 2), (0.9, 1.0, 2)] == [row[:3] for row in table.bins]
    assert [0.5, 1.0] == [row[4] for row in table.bins]
    assert "| 0.2 to 0.3 | 2 | 0.200 | 0.500 |" in as_text(table)


def test_no_entry_has_no_score() -> None:
    table = reliability(np.zeros(0), np.zeros(0))
    assert (0, True) == (table.n, math.isnan(table.brier))


def test_only_resting_entries_that_ran_their_course_count() -> None:
    decisions = np.zeros(6, DECISION_ROW)
    decisions["command"] = [1, 2, 3, 4, 0, 5]
    decisions["fill_prob"] = [0.3, 0.4, 0.5, 1.0, 0.6, 0.7]
    decisions["fill_method"] = [
        FILL_QUEUE,
        FILL_TOUCH,
        FILL_QUEUE,
        FILL_TAKER,
        FILL_QUEUE,
        FILL_QUEUE,
    ]
    orders = np.zeros(8, ORDER_ROW)
    orders["id"] = [1, 1, 2, 2, 3, 4, 9, 5]
    orders["role"] = [ROLE_ENTRY] * 6 + [ROLE_EXIT, ROLE_ENTRY]
    orders["state"] = [
        *(ORDER_STATE_PARTIAL, ORDER_STATE_FILLED, ORDER_STATE_PARTIAL, ORDER_STATE_EXPIRED),
        *(ORDER_STATE_CANCELLED, ORDER_STATE_FILLED, ORDER_STATE_FILLED, ORDER_STATE_PARTIAL),
    ]

    chances, filled = expected_and_filled({"decisions": decisions, "orders": orders})

    # the third was taken back, the fourth took, the fifth still works
    assert ([0.3, 0.4], [1.0, 0.0]) == (chances.tolist(), filled.tolist())
