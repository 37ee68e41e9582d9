"""Whatever the engine asks for and in whatever order: it never loosens what somebody else set."""

from hypothesis import given
from hypothesis import strategies as st

from engine.core import modes
from engine.events import (
    MODE_HALT,
    MODE_NORMAL,
    WHO_ENGINE,
    WHO_OPERATOR,
    WHY_ALERTS,
    WHY_COMMAND,
    WHY_FLAT,
    WHY_INVARIANT,
    WHY_JOURNAL,
    WHY_LOSS,
    WHY_OVERFILL,
    WHY_RECONCILED,
    WHY_START,
)
from tests.support.order_desk import OrderDesk, Quick

take_mode = Quick(modes.take_mode)
DESK = OrderDesk()
MODES = st.integers(-1, 6)
BREAKERS = (WHY_FLAT, WHY_OVERFILL, WHY_JOURNAL, WHY_ALERTS, WHY_INVARIANT)


def fresh() -> OrderDesk:
    DESK.drain()
    for name in ("mode", "mode_who", "mode_why", "mode_start", "mode_start_who", "mode_start_why"):
        DESK.glob[name] = 0
    DESK.glob["mode"] = MODE_NORMAL
    return DESK


@given(st.lists(st.tuples(MODES, st.sampled_from(BREAKERS)), max_size=30))
def test_no_sequence_of_breakers_ever_loosens(requests: list[tuple[int, int]]) -> None:
    desk = fresh()
    for mode, why in requests:
        before = int(desk.glob["mode"])
        take_mode(desk.desk, mode, WHO_ENGINE, why)
        valid = MODE_NORMAL <= mode <= MODE_HALT
        assert max(before, mode if valid else 0) == desk.glob["mode"]


REQUESTS = st.tuples(
    MODES,
    st.sampled_from([WHO_ENGINE, WHO_ENGINE, WHO_ENGINE, WHO_OPERATOR]),
    st.sampled_from([*BREAKERS, WHY_START, WHY_RECONCILED, WHY_LOSS]),
)


@given(st.lists(REQUESTS, max_size=40))
def test_the_exceptions_never_undercut_operator_or_breaker(
    requests: list[tuple[int, int, int]],
) -> None:
    """The floor: the strictest mode that a breaker asked for since an operator last spoke."""
    desk = fresh()
    floor = MODE_NORMAL
    for mode, who, why in requests:
        if who == WHO_OPERATOR:
            why = WHY_COMMAND
        take_mode(desk.desk, mode, who, why)
        if MODE_NORMAL <= mode <= MODE_HALT:
            if who == WHO_OPERATOR:
                floor = mode
            elif why in BREAKERS:
                floor = max(floor, mode)
        assert desk.glob["mode"] >= floor
        assert MODE_NORMAL <= desk.glob["mode"] <= MODE_HALT
        desk.drain()
