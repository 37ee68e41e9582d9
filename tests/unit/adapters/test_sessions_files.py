"""What is believed of a log that was cut off."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.sessions import without_half_a_fill
from engine.events import ORDER_ACK, ORDER_FEE, ORDER_FILL, TIMER, empty


def rows_of(*kinds: int) -> np.ndarray:
    rows = empty(len(kinds))
    rows["kind"] = kinds
    return rows


@pytest.mark.parametrize(
    ("kinds", "kept"),
    [
        ((TIMER, ORDER_FILL, ORDER_FEE), 3),
        ((TIMER, ORDER_FILL), 1),
        ((ORDER_FILL, ORDER_FEE, ORDER_FILL), 2),
        ((ORDER_ACK,), 1),
        ((ORDER_FILL,), 0),
        ((), 0),
    ],
)
def test_a_fill_without_its_fee_at_the_very_end_was_not_heard(kinds, kept):
    rows = rows_of(*kinds)

    found = list(without_half_a_fill([rows_of(TIMER, ORDER_FILL), rows]))

    whole = np.concatenate(found)
    assert whole["kind"].tolist() == [TIMER, ORDER_FILL, *kinds[:kept]]
