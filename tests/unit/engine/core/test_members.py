"""Which symbols may take entries: told by events, chosen by the core, never against inventory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.core.records import EXECUTE, UNIVERSE_EXCLUDED
from engine.core.universe import IN_PINNED
from engine.events import LAST, TABLE_UNIVERSE, TABLE_UPDATE, TRADE
from tests.bench.fills import SETTINGS, sure_world
from tests.support.short_market import short_market
from tests.support.worlds import run_world

S = 1_000_000_000


@pytest.fixture(scope="module")
def market() -> tuple[Any, np.ndarray]:
    return short_market(600)


def tables_of(market: Any, events: np.ndarray, **changes: Any) -> dict[str, np.ndarray]:
    result, tables = run_world(sure_world(market[0], {**SETTINGS, **changes}), [events])
    assert [] == result.faults
    return tables


def told(events: np.ndarray, at: int, version: int, members: dict[int, int]) -> np.ndarray:
    """The market with a universe that somebody told at `at`."""
    rows = np.zeros(len(members), events.dtype)
    rows["ts"] = rows["ts_venue"] = at
    rows["kind"], rows["aux"], rows["id"] = TABLE_UPDATE, TABLE_UNIVERSE, version
    rows["sym"], rows["price"] = list(members), list(members.values())
    rows[-1]["flags"] = LAST
    out = np.concatenate([events, rows])
    out = out[np.argsort(out["ts"], kind="stable")]
    out["seq"] = np.arange(len(out))
    return out


def entered(tables: dict[str, np.ndarray], sym: int) -> np.ndarray:
    rows = tables["decisions"]
    return rows["ts"][(rows["sym"] == sym) & (rows["outcome"] == EXECUTE)]


def test_who_is_not_named_takes_no_entries_from_the_last_record_on(market):
    events = market[1]
    at = int(events["ts"][0]) + 450 * S
    plain = tables_of(market, events)
    tables = tables_of(market, told(events, at, 7, {0: 1, 1: 1}))

    assert (entered(plain, 2) > at + 60 * S).any()
    assert (entered(tables, 2) < at).any()
    assert not (entered(tables, 2) > at).any()
    assert (entered(tables, 0) > at).any()
    rows = tables["decisions"]
    late = rows[(rows["sym"] == 2) & (rows["ts"] > at + 60 * S)]
    assert {UNIVERSE_EXCLUDED} == set(late["blocker"].tolist())
    last = tables["universe"][-1]
    assert (7, 2, 0) == (last["version"], last["sym"], last["member"])
    assert 0 == len(plain["universe"])


def test_a_symbol_with_inventory_stays_until_it_is_flat(market):
    events = market[1]
    plain = tables_of(market, events)
    held = plain["positions"][(plain["positions"]["sym"] == 2) & (plain["positions"]["qty"] > 0)]
    at = int(held["ts"][0]) + 1_000_000
    tables = tables_of(market, told(events, at, 1, {0: 1, 1: 1}))
    rows = tables["universe"]

    assert (1, IN_PINNED, 2) == tuple(int(rows[0][k]) for k in ("member", "member_reason", "sym"))
    assert (0, 2) == (rows[1]["member"], rows[1]["sym"])
    assert 2 == len(rows)
    positions = tables["positions"][tables["positions"]["sym"] == 2]
    flat = positions["ts"][(positions["qty"] == 0) & (positions["ts"] > at)][0]
    assert flat <= rows[1]["ts"] <= flat + 31 * S  # or its rest of an entry lapsed first
    assert not (entered(tables, 2) > at).any()


def test_a_set_that_is_not_closed_changes_nothing(market):
    events = told(market[1], int(market[1]["ts"][0]) + 100 * S, 1, {0: 1})
    events["flags"][events["kind"] == TABLE_UPDATE] = 0
    plain, tables = tables_of(market, market[1]), tables_of(market, events)
    assert plain["orders"].tobytes() == tables["orders"].tobytes()
    assert 0 == len(tables["universe"])


def test_the_core_chooses_who_traded_most_in_the_last_hour(market):
    instruments, events = market
    rules = {"every": "600s", "cap": 1, "enter_rank": 1, "leave_rank": 1}
    tables = tables_of(market, events, universe=rules)
    rows = tables["universe"]
    chosen_at = int(rows["ts"][0])
    seen = events[(events["kind"] == TRADE) & (events["ts"] <= chosen_at)]
    turnover = np.zeros(3)
    for i, row in enumerate(instruments.rows()):
        mine = seen[seen["sym"] == i]
        turnover[i] = (mine["price"] * mine["qty"]).sum() * row["price_float"] * row["qty_float"]

    assert {int(each["sym"]) for each in rows if each["member"] == 0} | {
        int(each["sym"]) for each in rows if each["member_reason"] == IN_PINNED
    } == set(range(3)) - {int(turnover.argmax())}
    assert (entered(tables, int(turnover.argmax())) > chosen_at).any()
    for sym in set(range(3)) - {int(turnover.argmax())}:
        assert not (entered(tables, sym) > chosen_at).any()
