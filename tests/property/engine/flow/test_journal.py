"""A command and its three records of the log say the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.commands import COMMAND
from engine.errors import DataError
from engine.events import EVENT, LAST, ORDER_COMMAND
from engine.flow.journal import command_rows, commands_of

WIDE = st.integers(0, (1 << 62) - 1)
FIELDS = {
    **dict.fromkeys(("ts", "generation", "id", "route", "price", "trigger", "qty"), WIDE),
    "expire_ts": WIDE,
    "reason": st.integers(0, 1 << 20),
    "sym": st.integers(-1, 63),
    "kind": st.integers(1, 4),
    "side": st.sampled_from((-1, 1)),
    "type": st.integers(1, 6),
    "tif": st.integers(1, 3),
    "post_only": st.integers(0, 1),
    "role": st.integers(1, 4),
}


@st.composite
def some_commands(draw) -> np.ndarray:
    rows = draw(st.lists(st.fixed_dictionaries(FIELDS), max_size=4))
    return np.array([tuple(each[name] for name in COMMAND.names) for each in rows], COMMAND)


@given(some_commands())
def test_commands_come_back_as_they_went(commands) -> None:
    rows = command_rows(commands)

    assert rows.dtype == EVENT
    assert len(rows) == 3 * len(commands)
    assert (rows["kind"] == ORDER_COMMAND).all()
    assert (rows["flags"] & LAST != 0).sum() == len(commands)
    assert commands_of(rows).tobytes() == commands.tobytes()


@given(some_commands().filter(len), st.data())
def test_records_that_do_not_belong_together_are_refused(commands, data) -> None:
    rows = command_rows(commands)
    missing = data.draw(st.integers(0, len(rows) - 1))

    with pytest.raises(DataError, match="belong together"):
        commands_of(np.delete(rows, missing))
