"""Outcomes of hypothetical entries: the kernels against a slow search of everything that happened."""

import functools
import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core import shadow as shadow_module
from engine.core.columns import FEATURE_INDEX
from engine.core.records import OUTCOME_ROW, T_CANDIDATES, T_OUTCOMES
from engine.core.routes import (
    ENTRY_JOIN,
    ENTRY_TAKE,
    FAMILY_MOMENTUM,
    HORIZONS_S,
    SURFACE_MARGIN_PAPER,
    SURFACE_SPOT,
    route_key,
)
from engine.core.shadow import (
    N_PENDING,
    OUTCOME_COMPLETE,
    OUTCOME_DISPLACED,
    OUTCOME_ENDED,
    OUTCOME_GAP,
    TOUCH_NAMES,
    close_shadow,
    follow_candidates,
    settle_shadow,
)
from engine.core.watch import watch_trade
from engine.jit import entry_point
from tests.naive import outcomes as naive
from tests.support.scene import make_scene

S = naive.S
START = 1_700_000_000 * S
WINDOW_S = 30


@functools.cache
def entries() -> tuple[Any, ...]:
    """The kernels' code, found once: to look at the types of a core for each call takes milliseconds."""
    core = make_scene()
    stages = [getattr(each, "compiled", each) for each in (settle_shadow, close_shadow)]
    return (
        *(entry_point(each, core) for each in stages),
        entry_point(follow_candidates, core, 0),
        entry_point(watch_trade, core.symbols[0]["watch"], 0, 0),
    )


class Story:
    """A core and the plain list of what happened to it, told the same things."""

    def __init__(self, seed: int, **params: Any) -> None:
        self.core = make_scene(records_shadow=1, **params)
        self.settle, self.close, self.follow, self.print = entries()
        self.symbol = self.core.symbols[0]
        self.glob = self.core.glob[0]
        self.symbol["watch"]["on"] = 1
        self.happened = naive.Happened()
        self.random = random.Random(seed)
        self.price = 10_000
        self.now = START
        self.rows: list[np.ndarray] = []

    def tick(self, trusted: bool = True, gap: bool = False) -> None:
        self.symbol["bid"], self.symbol["ask"] = self.price - 1, self.price + 1
        self.symbol["book_ts"] = self.now
        self.symbol["verified"] = int(trusted)
        self.symbol["n_gaps"] += int(gap)
        self.glob["now"] = self.now
        self.happened.ticks[self.now] = (2 * self.price if trusted else 0, gap)
        self.settle(self.core)
        self.take()

    def trade(self, price: int, ts: int) -> None:
        self.happened.prints.append((ts, price))
        self.print(self.core.symbols[0]["watch"], price, ts)

    def second(self, step: int, trades: int, trusted: bool = True, gap: bool = False) -> None:
        """One second of market, prints first, then the tick that closes it."""
        times = sorted(self.random.randrange(1, S + 1) for _ in range(trades))
        for at in times:
            self.price += self.random.randint(-step, step)
            self.trade(self.price + self.random.choice([-1, 1]), self.now + at)
        self.now += S
        self.tick(trusted, gap)

    def candidate(self, side: int = 1, mode: int = ENTRY_JOIN, i_horizon: int = 1) -> None:
        """Consider one route now and have it followed."""
        ring = self.core.rings[0]["candidates"]
        row = ring[0]
        surface = SURFACE_SPOT if side > 0 else SURFACE_MARGIN_PAPER
        row["generation"] = self.glob["generation"]
        row["route"] = route_key(0, FAMILY_MOMENTUM, i_horizon, mode, side, surface)
        row["family"], row["entry_mode"] = FAMILY_MOMENTUM, mode
        row["horizon_s"] = HORIZONS_S[i_horizon]
        row["weight"] = 1
        offset = side if mode == ENTRY_TAKE else -side
        row["price"] = self.price + offset
        for name in ("entry_fee_bps", "exit_fee_bps", "slip_in_bps", "slip_out_bps"):
            row[name] = self.random.choice([0.0, 0.5, 2.25])
        row["spread_out_bps"] = 1.0
        row["cost_bps"], row["net_bps"], row["fill_prob"] = 7.5, 1.0, 0.4
        row["invalidation_bps"] = 20.0
        self.glob["n_rows"][T_CANDIDATES] = 1
        self.follow(self.core, 0)
        self.glob["n_rows"][T_CANDIDATES] = 0
        self.take()

    def take(self) -> None:
        n = int(self.glob["n_rows"][T_OUTCOMES])
        if n:
            self.rows.append(self.core.rings[0]["outcomes"][:n].copy())
            self.glob["n_rows"][T_OUTCOMES] = 0

    def end(self) -> np.ndarray:
        while self.close(self.core) > 0:
            self.take()
        self.take()
        return np.concatenate(self.rows) if self.rows else np.zeros(0, OUTCOME_ROW)


def same(expected: float, actual: float) -> bool:
    if math.isnan(expected):
        return math.isnan(actual)
    return expected == pytest.approx(actual, rel=1e-12, abs=1e-12)


def check(row: Any, story: Story) -> None:
    happened, last = story.happened, int(row["closed_ts"]) // S
    moves = naive.later_mids(row, happened, int(row["closed_ts"]))
    for name, move in moves.items():
        assert same(move, row[f"mid_{name}_bps"]), name
    assert row["n_known"] == sum(not math.isnan(each) for each in moves.values())
    window_s = 0 if row["entry_mode"] == ENTRY_TAKE else WINDOW_S
    hold_s = min(int(row["horizon_s"]) * 3, 3590 - window_s)
    expected = naive.trade(row, happened, window_s, hold_s, 1.0, last)
    actual = (TOUCH_NAMES[int(row["touch"])], row["fill_s"], row["touch_s"], row["trade_bps"])
    assert expected[:3] == actual[:3]
    assert same(expected[3], actual[3])
    if int(row["ts"]) + int(row["horizon_s"]) * S <= row["closed_ts"]:
        best, worst = naive.path(row, happened)
        assert same(best, row["best_bps"])
        assert same(worst, row["worst_bps"])
        own = next(k for k, each in naive.HORIZONS_S.items() if each >= row["horizon_s"])
        assert same(moves[own], row["own_bps"])
        net = moves[own] - row["cost_bps"] - row["borrow_bps"]
        assert same(net, row["net_later_bps"])
        assert same(net * row["fill_prob"], row["worth_bps"])


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    step=st.sampled_from([0, 2, 6, 20]),
    trades=st.sampled_from([0, 1, 3]),
    gaps=st.sampled_from([0.0, 0.01]),
    doubts=st.sampled_from([0.0, 0.05]),
)
def test_outcomes_equal_a_search_of_all_that_happened(
    seed: int, step: int, trades: int, gaps: float, doubts: float
) -> None:
    story = Story(seed)
    draw = story.random
    story.tick()
    for _ in range(400):
        if draw.random() < 0.1:
            story.candidate(
                draw.choice([1, -1]), draw.choice([ENTRY_JOIN, ENTRY_TAKE]), draw.choice([0, 1])
            )
        story.second(step, trades, draw.random() >= doubts, draw.random() < gaps)
    rows = story.end()
    assert len(rows) > 0
    for row in rows:
        check(row, story)


def test_a_decision_between_two_ticks_sees_nothing_of_its_own_second() -> None:
    story = Story(1)
    story.second(0, 1)
    story.now += S // 4
    story.glob["now"] = story.now
    story.candidate(1, ENTRY_JOIN, 0)
    born = story.now
    story.trade(9_000, story.now + 1)  # through price and stop, before its first second
    story.now = START + 2 * S
    story.tick()
    for _ in range(120):
        story.second(0, 1)
    (row,) = story.end()
    assert row["ts"] == born
    assert TOUCH_NAMES[int(row["touch"])] == "not_filled"
    check(row, story)


def test_stop_before_target_within_one_second() -> None:
    story = Story(2)
    story.tick()
    story.candidate(1, ENTRY_TAKE, 0)
    row = story.glob["shadow"]["pending"][0]["row"]
    stop, target = int(row["stop"]), int(row["target"])
    assert 0 < stop < story.price < target
    story.trade(target, story.now + 1)
    story.trade(stop, story.now + 2)
    for _ in range(40):
        story.second(0, 0)
    (row,) = story.end()
    assert TOUCH_NAMES[int(row["touch"])] == "stop"
    assert row["touch_s"] == 1


def test_the_longest_horizon_completes_a_row() -> None:
    story = Story(3)
    story.symbol["features"][FEATURE_INDEX["vol_bps_1m"]] = math.nan
    story.tick()
    story.candidate(1, ENTRY_TAKE, 0)
    for _ in range(14_400):
        story.now += S
        story.tick()
    assert [int(each["status"]) for each in np.concatenate(story.rows)] == [OUTCOME_COMPLETE]
    assert story.rows[0][0]["closed_ts"] == START + 14_400 * S
    assert story.rows[0][0]["n_known"] == 8


def test_a_book_that_cannot_be_trusted_at_one_horizon_leaves_that_one_unknown() -> None:
    story = Story(4)
    story.tick()
    story.candidate(1, ENTRY_TAKE, 0)
    for k in range(1, 14_401):
        story.now += S
        story.tick(trusted=k != 60)
    (row,) = story.end()
    assert row["status"] == OUTCOME_GAP
    assert row["n_known"] == 7
    assert math.isnan(row["mid_1m_bps"])


def test_a_full_ring_writes_its_oldest_row_and_says_so() -> None:
    story = Story(5)
    story.tick()
    for _ in range(N_PENDING):
        story.candidate(1, ENTRY_TAKE, 0)
    assert not story.rows
    story.second(0, 0)
    story.candidate(1, ENTRY_TAKE, 0)
    (first,) = np.concatenate(story.rows)
    assert first["status"] == OUTCOME_DISPLACED
    assert first["ts"] == START
    assert story.glob["shadow"]["n_displaced"] == 1
    rest = story.end()
    assert len(rest) == N_PENDING + 1
    assert set(rest[1:]["status"].tolist()) == {OUTCOME_ENDED}


def test_the_sample_keeps_the_sum_of_weights_about_right() -> None:
    story = Story(6, records_shadow_sample=8)
    story.tick()
    for _ in range(8_000):
        story.candidate(1, ENTRY_TAKE, 0)
    rows = story.end()
    assert set(rows["weight"].tolist()) == {8}
    assert 7_000 < rows["weight"].sum() < 9_000


def test_a_short_pays_for_what_it_borrows() -> None:
    story = Story(7)
    story.tick()
    story.candidate(-1, ENTRY_TAKE, 1)
    story.candidate(1, ENTRY_TAKE, 1)
    for _ in range(61):
        story.second(3, 2)
    short, long = story.end()
    assert short["borrow_bps"] == 2.0
    assert long["borrow_bps"] == 0.0
    assert short["stop"] > short["price"] > short["target"]
    assert short["own_bps"] == pytest.approx(-long["own_bps"])


def test_without_the_gate_nothing_is_followed() -> None:
    story = Story(8)
    story.core.params[0]["records_shadow"] = 0
    story.tick()
    story.candidate()
    assert len(story.end()) == 0
    assert shadow_module.SHADOW["pending"].shape == (N_PENDING,)
