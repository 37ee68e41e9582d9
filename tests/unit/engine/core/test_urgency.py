"""What urgency, the tape, the kind of market and ignition make of a position's exits; all off by default."""

from __future__ import annotations

import numpy as np
import pytest

from engine.commands import AMEND, IOC, LIMIT, ROLE_EXIT
from engine.core.columns import FEATURE_INDEX
from engine.core.exits import (
    EXIT_STYLE,
    EXIT_URGENCY,
    PATH_REVERSAL,
    PATH_TREND,
    STYLE_KEEP,
    STYLE_LEAVE,
    STYLE_TRAIL,
    URGENCY_NORMAL,
    URGENCY_PANIC,
    URGENCY_PATIENT,
    URGENCY_URGENT,
    exit_limit,
    target_price,
)
from engine.core.ignition import IGNITION_COOLDOWN, IGNITION_EXPANSION
from engine.core.regime import REGIME_CHAOS, REGIME_RANGE, REGIME_TREND
from engine.core.routes import ENTRY_JOIN, FAMILY_IGNITION, route_key
from engine.core.urgency import weigh_exit
from engine.events import CANCEL_USER, MODE_EMERGENCY, ORDER_AMENDED, ORDER_CANCELED
from tests.support.order_desk import ASK, BID, QTY, OrderDesk, Quick, S

weigh = Quick(weigh_exit)
TRAIL = {
    "exits_trail_start_bps": 20.0,
    "exits_trail_atr_multiple": 3.0,
    "exits_trail_min_bps": 5.0,
    "exits_trail_max_bps": 150.0,
    "exits_trail_step_bps": 3.0,
    "exits_trail_interval_ns": 5 * S,
}


def held(**changed: float) -> tuple[OrderDesk, int]:
    """A position under its stop, 20 bps below; ATR 4 bps, no fees, a market in RANGE."""
    desk = OrderDesk(**TRAIL | changed)
    market(desk, atr_bps=4.0)
    desk.core.symbols[0]["regime"] = REGIME_RANGE
    stop = desk.hold()
    desk.position()["fees"] = 0
    desk.core.params[0]["fee_taker_e6"][0] = 0
    desk.sent()
    return desk, stop


def quote(desk: OrderDesk, up: int) -> None:
    """Bid, ask and last trade, so many ticks above where it was bought."""
    desk.quote(BID + up, ASK + up, trade=ASK + up)


def market(desk: OrderDesk, **features: float) -> None:
    for name, value in features.items():
        desk.core.symbols[0]["features"][FEATURE_INDEX[name]] = value


def look(desk: OrderDesk) -> None:
    """An evaluation: the position is weighed, then guarded."""
    desk.wait(S // 1000)
    weigh(desk.core, 0)
    desk.guard()


def test_off_by_default_nothing_is_read_or_written() -> None:
    desk, _ = held()
    market(desk, spread_bps=30.0, spread_mean_bps=3.0, flow_imbalance_1m=-1.0, depth_bid_25=1.0)
    quote(desk, -800)
    desk.wait(60 * S)
    look(desk)
    position = desk.position()
    assert (0, 0, 0) == (position["urgency"], position["path"], position["style"])
    assert 0 == len(desk.rows("exits")) == len(desk.sent())


@pytest.mark.parametrize(("regime", "factor"), [("range", 0.5), ("trend", 2.0), ("chaos", 0.75)])
def test_the_trail_is_scaled_by_the_kind_of_market(regime: str, factor: float) -> None:
    desk, _ = held(**{f"exits_trail_{regime}": factor})
    code = {"range": REGIME_RANGE, "trend": REGIME_TREND, "chaos": REGIME_CHAOS}[regime]
    desk.core.symbols[0]["regime"] = code
    quote(desk, 1800)
    # 3 x 4 bps x factor below the best bid
    assert int((BID + 1800) * (1 - 12.0 * factor / 1e4)) == desk.sent()[0]["trigger"]


def test_an_hours_amends_are_a_budget_that_comes_back() -> None:
    desk, stop = held(exits_trail_amends_hour=2, exits_time_multiple=1000.0)
    moves = []
    for minute in range(70):
        desk.wait(60 * S)
        up = 1800 + 400 * minute
        quote(desk, up)
        for command in desk.sent():
            moves.append(minute)
            desk.event(ORDER_AMENDED, stop, int(command["trigger"]), QTY)
    # Two at once, then one in each half hour: 2 come back per hour.
    assert [0, 1, 30, 60] == moves


def test_a_stressed_market_tightens_and_a_label_alone_never_sells() -> None:
    desk, stop = held(exits_regime=1)
    desk.core.symbols[0]["regime"] = REGIME_CHAOS
    look(desk)
    assert URGENCY_URGENT == desk.position()["urgency"]
    command = desk.sent()[0]
    # At half of 12 bps below the bid, though nothing was gained.
    assert (AMEND, EXIT_URGENCY) == (command["kind"], command["reason"])
    assert int(BID * (1 - 6e-4)) == command["trigger"]
    desk.event(ORDER_AMENDED, stop, int(command["trigger"]), QTY)
    for _ in range(20):
        desk.wait(S)
        look(desk)
    assert 0 == len(desk.sent())
    row = desk.rows("exits")[0]
    assert (URGENCY_URGENT, REGIME_CHAOS, 0.5) == (
        row["urgency"],
        row["regime"],
        row["trail_factor"],
    )


def test_stress_leaves_the_stop_its_distance_from_where_the_market_is() -> None:
    """It fell 8 bps since its best: a stop 6 bps below that peak would sell now."""
    desk, _ = held(exits_regime=1)
    quote(desk, 1000)
    desk.core.symbols[0]["regime"] = REGIME_CHAOS
    quote(desk, 500)
    look(desk)
    assert int((BID + 500) * (1 - 6e-4)) == desk.position()["stop"]


def test_in_panic_the_stop_stands_as_close_as_a_trail_may() -> None:
    desk, _ = held(exits_regime=1)
    market(desk, spread_bps=9.0, spread_mean_bps=3.0)
    quote(desk, -600)  # half of the way to the stop
    look(desk)
    assert URGENCY_PANIC == desk.position()["urgency"]
    command = desk.sent()[0]
    assert (AMEND, EXIT_URGENCY) == (command["kind"], command["reason"])
    assert int((BID - 600) * (1 - 5e-4)) == command["trigger"]


def test_patience_is_a_wider_trail_and_a_shorter_reach() -> None:
    desk, _ = held(exits_regime=1)
    market(desk, spread_bps=2.0, spread_mean_bps=2.0)
    quote(desk, 1800)
    desk.sent()
    desk.position()["stop"] = 1  # as if nothing had been pulled up yet
    look(desk)
    assert URGENCY_PATIENT == desk.position()["urgency"]
    assert int((BID + 1800) * (1 - 15e-4)) == desk.position()["stop"]


@pytest.mark.parametrize(
    ("urgency", "price"),
    [(URGENCY_NORMAL, 99_900), (URGENCY_PATIENT, 99_950), (URGENCY_URGENT, 99_800),
     (URGENCY_PANIC, 99_600)],
)  # fmt: skip
def test_how_far_a_sale_reaches_by_urgency(urgency: int, price: int) -> None:
    params = OrderDesk(exits_slippage_bps=10.0).core.params[0]
    assert price == exit_limit(params, 100_000, 0, urgency)


def test_an_emergency_is_panic() -> None:
    desk, _ = held(exits_regime=1)
    desk.glob["mode"] = MODE_EMERGENCY
    weigh(desk.core, 0)
    assert URGENCY_PANIC == desk.position()["urgency"]


# --- the tape since entry ------------------------------------------------------------------------


def test_a_reversal_that_lasts_is_left_by_a_sale() -> None:
    desk, stop = held(exits_style=1, exits_trail_start_bps=9_000.0)
    market(desk, flow_imbalance_1m=-0.5, depth_bid_25=1e6)
    quote(desk, 900)  # 15 bps
    look(desk)
    assert PATH_TREND == desk.position()["path"]
    quote(desk, 300)
    look(desk)
    assert (PATH_REVERSAL, STYLE_KEEP) == (desk.position()["path"], desk.position()["style"])
    assert 0 == len(desk.sent())
    desk.wait(3 * S)
    look(desk)
    assert STYLE_LEAVE == desk.position()["style"]
    assert [(stop, EXIT_STYLE)] == [(c["id"], c["reason"]) for c in desk.sent()]
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
    command = desk.sent()[0]
    assert (ROLE_EXIT, LIMIT, IOC, EXIT_STYLE) == (
        command["role"], command["type"], command["tif"], command["reason"],
    )  # fmt: skip
    last = desk.rows("exits")[-1]
    assert (PATH_REVERSAL, STYLE_LEAVE) == (last["path"], last["style"])
    assert (-0.5, 15.0) == (last["flow"], pytest.approx(float(last["best_bps"])))
    assert float(last["cover"]) == pytest.approx(1e6 / (0.01 * (BID + 300) * 0.1))


def test_a_path_that_does_not_last_changes_nothing() -> None:
    desk, _ = held(exits_style=1, exits_trail_start_bps=9_000.0)
    market(desk, flow_imbalance_1m=-0.5, depth_bid_25=1e6)
    for up in (900, 300, 900, 300, 900):
        quote(desk, up)
        look(desk)
        desk.wait(2 * S)
    assert STYLE_KEEP == desk.position()["style"]
    assert 0 == len(desk.sent())


def test_the_table_of_styles_is_the_profiles() -> None:
    desk, _ = held(exits_style=1, exits_style_trend=STYLE_TRAIL, exits_style_confirm_ns=0)
    market(desk, depth_bid_25=1e6)
    quote(desk, 600)  # 10 bps, less than where a trail begins
    look(desk)
    assert STYLE_TRAIL == desk.position()["style"]
    assert int((BID + 600) * (1 - 12e-4)) == desk.position()["stop"]


# --- the target ----------------------------------------------------------------------------------


def test_the_microprice_pulls_the_target_and_never_below_what_it_costs() -> None:
    params = OrderDesk(exits_target_pull=2.0).core.params[0]
    # 65 + 0.2 + 0.5 of fees, slippage and buffer, 10 of volatility, 2 x the lean
    assert 100_796 == target_price(params, 100_000.0, 65.0, 10.0, 1.95)
    assert 100_736 == target_price(params, 100_000.0, 65.0, 10.0, -1.05)
    assert 100_657 == target_price(params, 100_000.0, 65.0, 10.0, -50.0)
    assert 100_757 == target_price(params, 100_000.0, 65.0, 9.995, np.nan)


def test_the_target_follows_fills_and_is_only_lowered_by_the_market() -> None:
    desk, _ = held(exits_target_follow=1, exits_target_vol_multiple=1.0)
    market(desk, vol_bps_1m=10.0)
    desk.position()["target_lots"] = 0
    look(desk)
    first = int(desk.position()["target"])
    assert target_price(desk.core.params[0], float(BID), 0.0, 10.0, np.nan) == first
    for vol, regime, expected in ((30.0, REGIME_TREND, 10.0), (4.0, REGIME_RANGE, 4.0),
                                  (2.0, REGIME_RANGE, 4.0)):  # fmt: skip
        market(desk, vol_bps_1m=vol)
        desk.core.symbols[0]["regime"] = regime
        look(desk)
        assert (
            target_price(desk.core.params[0], float(BID), 0.0, expected, np.nan)
            == (desk.position()["target"])
        )


# --- ignition entries ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "factor"), [(IGNITION_EXPANSION, 1.5), (IGNITION_COOLDOWN, 0.5), (0, 1.0)]
)
@pytest.mark.parametrize("gate", [0, 1])
def test_an_ignition_entry_trails_by_its_state_and_only_behind_both_gates(
    state: int, factor: float, gate: int
) -> None:
    desk, _ = held(exits_ignition=1, ignition_enabled=gate)
    desk.position()["route"] = route_key(0, FAMILY_IGNITION, 1, ENTRY_JOIN, 1, 0)
    desk.core.symbols[0]["ignition"]["state"] = state
    quote(desk, 1800)
    width = 12.0 * (factor if gate else 1.0)
    assert int((BID + 1800) * (1 - width / 1e4)) == desk.sent()[0]["trigger"]


def test_an_ignition_entry_has_less_time() -> None:
    desk = OrderDesk(exits_ignition=1, ignition_enabled=1, exits_time_multiple=3.0)
    _, decision = desk.enter()
    entry = int(decision["command"])
    desk.order(entry)["route"] = route_key(0, FAMILY_IGNITION, 1, ENTRY_JOIN, 1, 0)
    desk.ack(entry)
    desk.fill(entry, BID, QTY)
    position = desk.position()
    assert 60 * S == position["time_exit_ts"] - position["opened_ts"]
