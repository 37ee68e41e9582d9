"""Caps across symbols and families: by hand-worked figures."""

import pytest

from engine.core.capital import update_capital
from engine.core.caps import (
    CAP_CONCENTRATION,
    CAP_FAMILY,
    CAP_NONE,
    check_concentration,
    family_value,
)
from engine.core.records import ALLOW, VETO
from engine.core.risk import cap_gate
from engine.core.routes import (
    ENTRY_JOIN,
    FAMILY_GRID,
    FAMILY_MOMENTUM,
    SURFACE_SPOT,
    route_family,
    route_key,
)
from tests.support.order_desk import USD, OrderDesk

GRID = int(route_key(0, FAMILY_GRID, 1, ENTRY_JOIN, 1, SURFACE_SPOT))


def test_the_share_of_the_largest_symbol_is_asked_only_above_the_floor() -> None:
    assert check_concentration(100, 100, 1_000, 0.5, 0.1)[0] == ALLOW  # at the floor
    assert check_concentration(101, 101, 1_000, 0.5, 0.1) == (VETO, 1.0, 0.5)
    assert check_concentration(100, 200, 1_000, 0.5, 0.1) == (ALLOW, 0.5, 0.5)


def test_a_family_counts_its_resting_entry_as_if_filled() -> None:
    desk = OrderDesk(risk_family_max=0.1)
    desk.enter()
    update_capital(desk.core)
    order = next(each for each in desk.core.orders if each["id"] > 0)
    family = int(route_family(int(order["route"])))
    rest = family_value(desk.desk, family)
    assert rest == pytest.approx(600 * USD, rel=1e-3)
    price, qty = 600_000, 1_000_000  # as much again: 12 % of 10,000
    verdict, check, value, limit = cap_gate(desk.core, 0, price, qty, int(order["route"]))
    assert (VETO, CAP_FAMILY, 0.1) == (verdict, check, limit)
    assert value == pytest.approx(0.12, rel=1e-3)
    other = FAMILY_GRID if family != FAMILY_GRID else FAMILY_MOMENTUM
    route = int(route_key(0, other, 1, ENTRY_JOIN, 1, SURFACE_SPOT))
    assert cap_gate(desk.core, 0, price, qty, route)[:2] == (ALLOW, CAP_NONE)


def test_a_position_counts_at_its_mark_for_the_family_that_opened_it() -> None:
    desk = OrderDesk()
    desk.hold()
    update_capital(desk.core)
    position = desk.position()
    family = int(route_family(int(position["route"])))
    held = int(position["qty"]) * int(position["mark"])
    assert family_value(desk.desk, family) > 0
    assert family_value(desk.desk, family + 1) == 0
    assert held > 0


def test_the_gate_names_concentration() -> None:
    desk = OrderDesk(risk_concentration_max=0.5, risk_concentration_from=0.05)
    verdict, check, value, limit = cap_gate(desk.core, 0, 600_000, 1_000_000, GRID)
    assert (VETO, CAP_CONCENTRATION, 1.0, 0.5) == (verdict, check, value, limit)


def test_by_default_neither_cap_binds() -> None:
    desk = OrderDesk()
    assert cap_gate(desk.core, 0, 600_000, 1_000_000, GRID)[:2] == (ALLOW, CAP_NONE)
