"""Slippage and adverse selection as they turned out, and how much of them is believed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.costs import market_costs, slippage_bps
from engine.core.learned import LEARNED, learn_prints, learn_slippage, shrunk
from engine.core.routes import ENTRY_TAKE
from engine.core.tape import TAPE, tape_second, tape_trade
from engine.jit import JIT_ENABLED
from tests.naive import learned as naive
from tests.support.order_desk import ASK, BID, QTY, OrderDesk
from tests.support.scene import make_features, make_scene, set_book

S = 1_000_000_000
START = 1_700_000_000


def live(mids: list[int], sold: set[int], bought: set[int]) -> np.void:
    """A tape of one mid per second, with a print on its side in the named seconds."""
    tape, learned = np.zeros(1, TAPE)[0], np.zeros(1, LEARNED)[0]
    for k, mid in enumerate(mids):
        second = START + k
        for side, seconds in ((-1, sold), (1, bought)):
            if k in seconds:
                tape_trade(tape, mid // 2, 5, side, 5 * mid, second * S - S // 2)
        tape_second(tape, mid, second * S)
        learn_prints(learned, tape)
        learn_prints(learned, tape)  # a second look at the same second changes nothing
    return learned


def test_the_bids_that_were_hit_before_a_fall_lost_it() -> None:
    """2,000,000 half ticks, down 400 after the sale: 2 bps against the bid, nothing to the ask."""
    learned = live([2_000_000] * 5 + [1_999_600] * 20, {5}, set())

    assert [1.0, 0.0] == learned["adverse_n"].tolist()
    assert 2.0 == pytest.approx(learned["adverse_sum"][0])


@settings(max_examples=60 if JIT_ENABLED else 15, deadline=None)
@given(
    mids=st.lists(st.one_of(st.just(0), st.integers(19_900, 20_100)), min_size=1, max_size=60),
    data=st.data(),
)
def test_the_markouts_are_those_of_the_whole_list(mids: list[int], data: st.DataObject) -> None:
    seconds = st.sets(st.integers(1, 60))
    sold, bought = data.draw(seconds), data.draw(seconds)
    learned = live(mids, sold, bought)

    expected = naive.adverse(dict(enumerate(mids)), sold, bought, len(mids) - 1)
    for i_side, values in enumerate(expected):
        n, total = naive.weighted(values, 300.0)
        assert n == pytest.approx(learned["adverse_n"][i_side])
        assert total == pytest.approx(learned["adverse_sum"][i_side], abs=1e-9)


def test_slippage_is_what_was_paid_beyond_the_walk_and_one_order_counts_once() -> None:
    learned = np.zeros(1, LEARNED)[0]
    for price in (10_002, 10_004):  # two halves of one purchase promised at 10,000
        learn_slippage(learned, 1, price, 10_000.0, 0.5)
    learn_slippage(learned, -1, 9_999, 10_000.0, 1.0)  # a sale, one bps worse

    n, total = naive.weighted([3.0, 1.0], 50.0)
    assert n == pytest.approx(learned["slip_n"], rel=1e-2)
    assert total == pytest.approx(learned["slip_sum"], rel=1e-2)


@pytest.mark.parametrize(
    ("n", "total", "prior_n", "expected"),
    [(0.0, 0.0, 20.0, 1.5), (20.0, 70.0, 20.0, 2.5), (20.0, 70.0, 0.0, 3.5), (0.0, 0.0, 0.0, 1.5),
     (50.0, -500.0, 10.0, 0.0)],
)  # fmt: skip
def test_an_estimate_moves_from_the_parameter_to_the_evidence_and_never_pays(
    n: float, total: float, prior_n: float, expected: float
) -> None:
    assert expected == pytest.approx(shrunk(n, total, 1.5, prior_n))


def test_a_taking_order_remembers_what_the_book_promised_and_learns_from_its_fill() -> None:
    desk = OrderDesk()
    half = QTY // 2  # half at the ask, the rest 20 ticks beyond: 10 on average
    set_book(desk.core.symbols[0], [(BID, QTY)], [(ASK, half), (ASK + 20, QTY)])
    _, decision = desk.enter(2 * half, entry_mode=ENTRY_TAKE)
    order_id = int(decision["command"])
    promised = float(desk.order(order_id)["walk_price"])
    desk.ack(order_id)

    desk.fill_whole(order_id, ASK + 60, 2 * half, maker=False)

    learned = desk.core.symbols[0]["learned"]
    assert ASK + 10 == promised
    assert 1.0 == learned["slip_n"]
    assert (ASK + 60 - promised) / promised * 1e4 == pytest.approx(learned["slip_sum"])


def test_a_resting_fill_teaches_no_slippage() -> None:
    desk = OrderDesk()
    _, decision = desk.enter()
    desk.ack(int(decision["command"]))

    desk.fill_whole(int(decision["command"]), int(decision["price"]), QTY)

    assert 0.0 == desk.core.symbols[0]["learned"]["slip_n"]


def test_the_stack_uses_what_was_learnt_only_where_it_is_asked_to() -> None:
    """Twenty orders at 3.2 bps and a parameter of 0.2 that counts as twenty: 1.7 bps."""
    prior = 0.25 * (1.0 + 3.0 / math.sqrt(6.0))  # a quarter of half spread and volatility of 10 s
    for switch, residual, adverse in ((0, 0.2, prior), (1, 1.7, 4.0)):
        core = make_scene(costs_learned=switch, costs_prior_orders=20.0)
        symbol = core.symbols[0]
        set_book(symbol, [(9_999, 100)], [(10_001, 100)])
        symbol["learned"]["slip_n"], symbol["learned"]["slip_sum"] = 20.0, 64.0
        features, params = make_features(), core.params[0]
        symbol["learned"]["adverse_n"][0] = 1e9
        symbol["learned"]["adverse_sum"][0] = 4e9

        _, costs = market_costs(symbol, features, params, 1, 10)

        assert residual == pytest.approx(slippage_bps(symbol, features, params, 1, 10.0))
        assert adverse == pytest.approx(costs.adverse_bps, rel=1e-6)
