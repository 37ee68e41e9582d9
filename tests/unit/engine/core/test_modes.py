"""Who may take the engine from one mode to another, and what stays of it?"""

import ast
from pathlib import Path

import pytest

from engine.core import modes
from engine.events import (
    MODE_EMERGENCY,
    MODE_EXIT_ONLY,
    MODE_HALT,
    MODE_NORMAL,
    MODE_REDUCED,
    WHO_ENGINE,
    WHO_OPERATOR,
    WHY_ALERTS,
    WHY_COMMAND,
    WHY_INVARIANT,
    WHY_LOSS,
    WHY_OVERFILL,
    WHY_RECONCILED,
    WHY_START,
)
from tests.support.order_desk import OrderDesk, Quick

take_mode = Quick(modes.take_mode)
ALL = (MODE_NORMAL, MODE_REDUCED, MODE_EXIT_ONLY, MODE_EMERGENCY, MODE_HALT)
CORE = Path(modes.__file__).parent


def ask(desk: OrderDesk, mode: int, who: int = WHO_ENGINE, why: int = WHY_INVARIANT) -> bool:
    return bool(take_mode(desk.desk, mode, who, why))


@pytest.mark.parametrize("before", ALL)
@pytest.mark.parametrize("asked", ALL)
def test_the_engine_tightens_and_an_operator_does_as_he_likes(before: int, asked: int) -> None:
    desk = OrderDesk()
    ask(desk, before, WHO_OPERATOR, WHY_COMMAND)
    assert (asked >= before) == ask(desk, asked)
    assert max(asked, before) == desk.glob["mode"]
    assert ask(desk, asked, WHO_OPERATOR, WHY_COMMAND)
    assert asked == desk.glob["mode"]


@pytest.mark.parametrize("asked", [-1, 0, 6, 1 << 40])
def test_what_is_no_mode_is_refused_whoever_asks(asked: int) -> None:
    desk = OrderDesk()
    assert not ask(desk, asked, WHO_OPERATOR, WHY_COMMAND)
    assert MODE_NORMAL == desk.glob["mode"]


def test_somebody_unknown_may_tighten_only() -> None:
    desk = OrderDesk()
    assert ask(desk, MODE_HALT, who=77)
    assert not ask(desk, MODE_NORMAL, who=77)


@pytest.mark.parametrize("before", [MODE_NORMAL, MODE_REDUCED])
def test_a_clean_reconcile_returns_to_the_mode_before_the_start(before: int) -> None:
    desk = OrderDesk()
    ask(desk, before, WHO_OPERATOR, WHY_COMMAND)
    ask(desk, MODE_EXIT_ONLY, why=WHY_START)
    assert MODE_EXIT_ONLY == desk.glob["mode"]
    ask(desk, MODE_EXIT_ONLY, why=WHY_START)  # a second start before the first was clean
    assert ask(desk, MODE_NORMAL, why=WHY_RECONCILED)
    assert before == desk.glob["mode"]


@pytest.mark.parametrize(
    ("mode", "why"),
    [(MODE_EXIT_ONLY, WHY_LOSS), (MODE_HALT, WHY_OVERFILL), (MODE_EXIT_ONLY, WHY_ALERTS)],
)
def test_a_reconcile_ends_nothing_but_the_start(mode: int, why: int) -> None:
    for start_first in (False, True):
        desk = OrderDesk()
        if start_first:
            ask(desk, MODE_EXIT_ONLY, why=WHY_START)
        ask(desk, mode, why=why)
        ask(desk, MODE_EXIT_ONLY, why=WHY_START)
        assert not ask(desk, MODE_NORMAL, why=WHY_RECONCILED)
        assert mode == desk.glob["mode"]


def test_a_milder_request_during_the_start_is_not_forgotten() -> None:
    desk = OrderDesk()
    ask(desk, MODE_EXIT_ONLY, why=WHY_START)
    assert ask(desk, MODE_REDUCED, why=WHY_ALERTS)
    assert MODE_EXIT_ONLY == desk.glob["mode"]
    ask(desk, MODE_NORMAL, why=WHY_RECONCILED)
    assert MODE_REDUCED == desk.glob["mode"]
    assert not ask(desk, MODE_NORMAL, why=WHY_RECONCILED)


def test_a_start_never_loosens_even_where_an_operator_announces_it() -> None:
    desk = OrderDesk()
    ask(desk, MODE_HALT)
    assert not ask(desk, MODE_EXIT_ONLY, WHO_OPERATOR, WHY_START)
    assert MODE_HALT == desk.glob["mode"]


def test_the_throttle_takes_back_its_own_reduced_and_nothing_else() -> None:
    desk = OrderDesk()
    ask(desk, MODE_REDUCED, why=WHY_LOSS)
    assert ask(desk, MODE_NORMAL, why=WHY_LOSS)
    assert MODE_NORMAL == desk.glob["mode"]

    ask(desk, MODE_REDUCED, WHO_OPERATOR, WHY_COMMAND)
    ask(desk, MODE_REDUCED, why=WHY_LOSS)
    assert not ask(desk, MODE_NORMAL, why=WHY_LOSS)

    ask(desk, MODE_NORMAL, WHO_OPERATOR, WHY_COMMAND)
    ask(desk, MODE_EXIT_ONLY, why=WHY_LOSS)
    assert not ask(desk, MODE_NORMAL, why=WHY_LOSS)


def test_every_request_leaves_a_row() -> None:
    desk = OrderDesk()
    ask(desk, MODE_EXIT_ONLY, why=WHY_LOSS)
    ask(desk, MODE_NORMAL, why=WHY_ALERTS)
    ask(desk, MODE_NORMAL, WHO_OPERATOR, WHY_COMMAND)
    rows = desk.rows("modes")
    names = ("mode_before", "mode", "asked", "who", "why", "accepted")
    assert [
        (MODE_NORMAL, MODE_EXIT_ONLY, MODE_EXIT_ONLY, WHO_ENGINE, WHY_LOSS, 1),
        (MODE_EXIT_ONLY, MODE_EXIT_ONLY, MODE_NORMAL, WHO_ENGINE, WHY_ALERTS, 0),
        (MODE_EXIT_ONLY, MODE_NORMAL, MODE_NORMAL, WHO_OPERATOR, WHY_COMMAND, 1),
    ] == [tuple(int(row[name]) for name in names) for row in rows]
    assert all(row["ts"] == desk.glob["now"] for row in rows)


def writers_of_the_mode(folder: Path) -> set[str]:
    """Files of the core that assign to a subscript "mode" of anything but a row."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            targets = node.targets if isinstance(node, ast.Assign) else []
            for target in targets:
                for each in target.elts if isinstance(target, ast.Tuple) else [target]:
                    if (
                        isinstance(each, ast.Subscript)
                        and isinstance(each.slice, ast.Constant)
                        and each.slice.value == "mode"
                        and not (isinstance(each.value, ast.Name) and each.value.id == "row")
                    ):
                        found.add(path.name)
    return found


def test_one_file_writes_the_mode() -> None:
    # state.py makes the core that has seen nothing.
    assert {"modes.py", "state.py"} == writers_of_the_mode(CORE)
