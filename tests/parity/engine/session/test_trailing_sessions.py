"""Sessions whose stops follow at the venue: what a replay decides, and never two sells at once."""

from typing import Any

import numpy as np
import pytest

from engine.commands import ADD, AMEND, ROLE_PROTECTION, TRAILING_STOP
from engine.events import ORDER_TRAILED, ORDER_TRIGGERED
from engine.flow.log import LogReader
from tests.support.sessions import Made, feed, make_session, read_again
from tests.support.short_market import short_market
from tests.support.worlds import EAGER, make_world, run_world, split

# As test_sessions.NEAR: the market is heard sooner than the venue answers.
NATIVE: dict[str, Any] = {
    **EAGER,
    "venue": {**EAGER["venue"], "feed": "2ms"},
    "exits": {
        **EAGER.get("exits", {}), "trail_native": True, "trail_start_bps": 2, "trail_min_bps": 2,
        "trail_atr_multiple": 0.5, "trail_step_bps": 0.5, "trail_interval": "1s",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def market():
    return short_market(1200, symbols=2)


@pytest.fixture(scope="module")
def paper(market, tmp_path_factory) -> Made:
    """A paper session over the whole market, closed."""
    instruments, events = market
    made = make_session(tmp_path_factory.mktemp("native") / "log", instruments, overrides=NATIVE)
    feed(made.session, split(events, [1, 7, 300, 5000]))
    made.session.close()
    return made


def test_stops_are_trailing_ones_that_move_are_tightened_and_fire(paper: Made) -> None:
    """The market of these tests does what they are about."""
    commands = paper.tables()["commands"]
    stops = commands[(commands["role"] == ROLE_PROTECTION) & (commands["kind"] == ADD)]
    trailing = stops[stops["type"] == TRAILING_STOP]
    assert len(trailing) > 3
    tightened = (commands["kind"] == AMEND) & (commands["type"] == TRAILING_STOP)
    assert np.count_nonzero(commands["price"][tightened] > 0) > 0
    rows = np.concatenate(list(LogReader(paper.folder)))
    ids = set(trailing["id"].tolist())
    moved = rows[rows["kind"] == ORDER_TRAILED]
    assert set(moved["id"].tolist()) == ids
    assert len(moved) > len(ids)
    fired = rows[rows["kind"] == ORDER_TRIGGERED]
    assert ids & set(fired["id"].tolist())


def test_paper_decides_and_fills_as_a_replay_of_the_same_market(market, paper: Made) -> None:
    instruments, events = market
    _, expected = run_world(make_world(instruments, NATIVE), [events])
    actual = paper.tables()
    assert len(expected["fills"]) > 3
    for name in ("commands", "orders", "fills", "positions", "decisions"):
        n = min(len(expected[name]), len(actual[name]))
        assert n >= len(expected[name]) - 2, name
        assert expected[name][:n].tobytes() == actual[name][:n].tobytes(), name


def test_the_log_gives_the_same_digest_again(market, paper: Made) -> None:
    found, again = read_again(paper.folder, market[0], NATIVE)
    assert found.difference is None
    assert found.n_commands == paper.session.n_commands > 0
    assert again.digest.hexdigest() == paper.recorder.digest.hexdigest()


def test_a_trailing_stop_never_comes_down(paper: Made) -> None:
    rows = np.concatenate(list(LogReader(paper.folder)))
    moved = rows[rows["kind"] == ORDER_TRAILED]
    for order_id in set(moved["id"].tolist()):
        triggers = moved["price"][moved["id"] == order_id]
        assert (np.diff(triggers) >= 0).all()


def test_never_two_sells_of_a_pair_and_never_more_than_is_held(paper: Made) -> None:
    """At every moment of `orders`: what may rest as a sell, against what the ledger holds by then."""
    tables = paper.tables()
    ended = {9, 10, 11, 12}  # filled, cancelled, rejected, expired
    for sym in range(2):
        orders = tables["orders"][tables["orders"]["sym"] == sym]
        sells = orders[orders["side"] < 0]
        fills = tables["fills"][tables["fills"]["sym"] == sym]
        alive: dict[int, int] = {}
        for row, after in zip(sells, [*sells[1:], None], strict=True):
            if int(row["state"]) in ended:
                alive.pop(int(row["id"]), None)
            else:
                alive[int(row["id"])] = int(row["qty"] - row["filled"])
            assert len(alive) <= 1, alive
            if after is not None and after["ts"] == row["ts"]:
                continue  # one message: its fills are booked already, its end is not
            until = fills[fills["ts"] <= row["ts"]]
            held = int((until["side"] * until["qty"]).sum())
            assert sum(alive.values()) <= held
        assert len(sells) > 0


def test_every_position_is_covered_within_the_time_that_the_rules_state(paper: Made) -> None:
    """250 ms in simulation; the rest of its life no position is bare but to be left."""
    positions = paper.tables()["positions"]
    for sym in range(2):
        rows = positions[positions["sym"] == sym]
        bare = rows["unprotected_ns"][rows["coverage"] == 2]  # protected
        assert (bare <= 250_000_000).all()
