"""Equity, free capital and sizes, against amounts worked out by hand."""

import numpy as np
import pytest

from engine.core.capital import (
    close_books,
    order_qty,
    present_fees,
    reduced_factor,
    reference_qty,
    update_capital,
)
from engine.core.desk import desk_of
from engine.core.params import default_params
from engine.core.records import (
    CAPITAL_EXHAUSTED,
    COSTS_EXCEED_MOVE,
    INPUT_MISSING,
    OK,
    SIZE_BELOW_MIN,
)
from engine.events import MODE_REDUCED
from engine.jit import kernel
from tests.support.order_desk import ASK, BID, QTY, START, USD, OrderDesk, S

DAY = 86_400 * S


@kernel
def rates_of(core):
    return present_fees(desk_of(core))


def size(desk: OrderDesk, net_bps: float = 10.0, confidence: float = 1.0) -> tuple[int, int]:
    qty, code = order_qty(desk.core, 0, BID, net_bps, confidence)
    return int(qty), int(code)


def test_equity_is_cash_and_positions_at_the_bid() -> None:
    desk = OrderDesk()
    desk.hold()  # 0.01 BTC at 60,000: 600 USD and 0.25 % fee
    desk.quote(590_000, 590_002)
    update_capital(desk.core)
    assert 10_000 * USD - 600 * USD - 150_000_000 == desk.glob["cash"]
    assert desk.glob["cash"] + 590 * USD == desk.glob["equity"]
    assert (590 * USD, 10_000 * USD) == (desk.glob["exposure"], desk.glob["peak"])


def test_a_lost_quote_marks_at_the_last_bid_and_not_at_zero() -> None:
    desk = OrderDesk()
    desk.hold()
    update_capital(desk.core)
    equity = int(desk.glob["equity"])
    desk.core.symbols[0]["bid"] = 0
    update_capital(desk.core)
    assert equity == desk.glob["equity"]


def test_a_resting_entry_reserves_its_value_and_the_takers_fee() -> None:
    desk = OrderDesk(capital_stress_loss=0.0)
    desk.enter()
    assert (600 + 2.4) * USD == desk.glob["cash_held"]  # 0.40 %
    assert 600 * USD == desk.glob["exposure"]
    assert 10_000 * USD - desk.glob["cash_held"] == desk.glob["free"]


def test_what_is_filled_of_an_entry_is_no_longer_reserved() -> None:
    desk = OrderDesk()
    _, decision = desk.enter()
    desk.ack(int(decision["command"]))
    desk.fill(int(decision["command"]), BID, QTY // 2)
    assert 301.2 * USD == desk.glob["cash_held"]


def test_free_capital_sets_the_stress_loss_of_positions_aside() -> None:
    desk = OrderDesk(capital_stress_loss=0.02)
    desk.hold()
    update_capital(desk.core)
    assert desk.glob["equity"] - 12 * USD == desk.glob["free"]


def test_a_fixed_equity_sizes_and_the_actual_one_is_still_recorded() -> None:
    desk = OrderDesk(capital_equity_fixed=220 * USD, capital_stress_loss=0.0)
    update_capital(desk.core)
    assert (220 * USD, 10_000 * USD) == (desk.glob["free"], desk.glob["equity"])
    # 5 % of 220 USD at 60,000 USD
    assert (18_333, OK) == size(desk)


@pytest.mark.parametrize(
    ("volume", "rates"),
    [(0, (2500, 4000)), (9_999, (2500, 4000)), (10_000, (2000, 3500)), (60_000, (1400, 2400))],
)
def test_the_fee_tier_follows_the_volume(volume: int, rates: tuple[int, int]) -> None:
    """kraken/fees.md: 0 0.25/0.40, 10,000 0.20/0.35, 50,000 0.14/0.24."""
    desk = OrderDesk()
    params = desk.core.params[0]
    params["n_fee_tiers"] = 3
    params["fee_volume"][:3] = np.array([0, 10_000, 50_000]) * USD
    params["fee_maker_e6"][:3] = [2500, 2000, 1400]
    params["fee_taker_e6"][:3] = [4000, 3500, 2400]
    desk.glob["volume"] = volume * USD
    assert rates == rates_of(desk.core)


def test_without_a_fee_schedule_every_fee_is_everything() -> None:
    desk = OrderDesk()
    desk.core.params[0]["n_fee_tiers"] = 0
    assert (1_000_000, 1_000_000) == rates_of(desk.core)


@pytest.mark.parametrize(
    ("net_bps", "confidence", "usd"),
    [(10.0, 1.0, 500), (20.0, 1.0, 500), (5.0, 1.0, 250), (10.0, 0.5, 250), (5.0, 0.2, 50)],
)
def test_size_grows_with_edge_and_confidence_up_to_a_full_order(
    net_bps: float, confidence: float, usd: int
) -> None:
    """5 % of 10,000 USD free at 10 bps; 60,000 USD a coin, floored to 1e-8."""
    desk = OrderDesk()
    assert (usd * USD // 60_000, OK) == size(desk, net_bps, confidence)


@pytest.mark.parametrize("net_bps", [0.0, -3.0])
def test_no_edge_is_no_size(net_bps: float) -> None:
    assert (0, COSTS_EXCEED_MOVE) == size(OrderDesk(), net_bps)


def test_no_free_capital_is_no_size() -> None:
    desk = OrderDesk()
    desk.glob["free"] = 0
    assert (0, CAPITAL_EXHAUSTED) == size(desk)


def test_an_unknown_edge_is_no_size() -> None:
    assert (0, INPUT_MISSING) == size(OrderDesk(), float("nan"))


def test_too_small_for_the_venue() -> None:
    desk = OrderDesk(capital_base_fraction=0.0002)  # 2 USD: 0.0000333 BTC, the minimum is 0.00005
    assert (0, SIZE_BELOW_MIN) == size(desk)


def test_the_caps_bind_one_after_the_other() -> None:
    wide = {"capital_base_fraction": 1.0, "capital_reserve_fraction": 0.0}
    free = {"risk_symbol_max": 10.0, "risk_exposure_max": 10.0} | wide
    assert 100 * USD // 60_000 == size(OrderDesk(capital_order_max=100 * USD, **free))[0]
    assert 3_000 * USD // 60_000 == size(OrderDesk(**wide))[0]  # symbol 30 %
    assert 2_000 * USD // 60_000 == size(OrderDesk(**wide | {"risk_exposure_max": 0.2}))[0]
    # cash: 10,000 USD pay for value and 0.40 % fee together
    spend = int(10_000 * USD / 1.004) // 60_000
    assert size(OrderDesk(**free))[0] == pytest.approx(spend, abs=1)


def test_the_size_can_always_be_paid() -> None:
    desk = OrderDesk(
        capital_base_fraction=1.0, capital_reserve_fraction=0.0, risk_symbol_max=10.0,
        risk_exposure_max=10.0, cash=1_234_567_891,
    )  # fmt: skip
    qty, _ = size(desk)
    value = -(-qty * BID // 10)  # rounded up as the venue holds it
    assert value + -(-value * 4000 // 1_000_000) <= 1_234_567_891


def test_positions_and_entries_of_a_symbol_leave_less_for_it() -> None:
    desk = OrderDesk(capital_base_fraction=1.0, capital_stress_loss=0.0)
    desk.hold(qty=4_000_000)  # 2,400 USD of 30 % of 9,994
    desk.drain()
    update_capital(desk.core)
    qty, _ = size(desk)
    assert (int(desk.glob["equity"] * 0.3) - 2_400 * USD) // 60_000 == qty


def test_reduced_mode_and_an_hour_of_losses_halve_the_size() -> None:
    desk = OrderDesk()
    full, _ = size(desk)
    desk.glob["mode"] = MODE_REDUCED
    assert full // 2 == size(desk)[0]
    desk.glob["loss_money"][0], desk.glob["loss_ts"][0] = 200 * USD, desk.glob["now"]  # 2 %
    desk.glob["n_losses"] = 1
    assert full // 4 == size(desk)[0]
    desk.wait(3600 * S)
    assert full // 2 == size(desk)[0]


def test_the_reference_size_is_that_of_a_full_edge_and_at_least_the_minimum() -> None:
    desk = OrderDesk()
    assert 500 * USD * 10 // ASK == reference_qty(desk.core, 0)
    desk.glob["free"] = 0
    assert 5_000 == reference_qty(desk.core, 0)
    desk.core.symbols[0]["instrument"]["cost_min"] = 10 * USD
    qty = int(reference_qty(desk.core, 0))
    assert qty * ASK // 10 >= 10 * USD > (qty - 3) * ASK // 10
    desk.core.symbols[0]["bid"] = desk.core.symbols[0]["ask"] = 0
    assert 0 == reference_qty(desk.core, 0)


def test_equity_rows_come_at_their_interval_and_with_every_fill() -> None:
    desk = OrderDesk(records_equity_interval_ns=60 * S)
    assert 1 == len(desk.rows("equity"))
    update_capital(desk.core)
    desk.wait(59 * S)
    update_capital(desk.core)
    assert 1 == len(desk.rows("equity"))
    desk.wait(S)
    update_capital(desk.core)
    assert 2 == len(desk.rows("equity"))
    desk.hold()
    row = desk.rows("equity")[-1]
    assert (3, 600 * USD) == (len(desk.rows("equity")), row["exposure"])
    assert -150_000_000 == row["unrealized"]  # its fee
    assert row["equity"] == row["cash"] + row["exposure"]
    close_books(desk.core)
    close_books(desk.core)  # this moment has its row
    assert 4 == len(desk.rows("equity"))


def test_the_day_rolls_at_midnight_utc() -> None:
    desk = OrderDesk()
    desk.hold()
    desk.quote(590_000, 590_002)
    update_capital(desk.core)
    assert (START // DAY, 10_000 * USD) == (desk.glob["day"], desk.glob["day_equity"])
    desk.glob["now"] = (START // DAY + 1) * DAY - 1
    update_capital(desk.core)
    assert 10_000 * USD == desk.glob["day_equity"]
    desk.wait(1)
    update_capital(desk.core)
    assert (START // DAY + 1, desk.glob["equity"]) == (desk.glob["day"], desk.glob["day_equity"])


@pytest.mark.parametrize(
    ("hours", "step_h", "factor"),
    [
        (0, 0, 0.5),
        (9, 0, 0.5),
        (0.9, 1, 0.5),
        (1, 1, 0.25),
        (2.5, 1, 0.125),
        (3, 1, 0.1),
        (500, 1, 0.1),
    ],
)
def test_in_reduced_sizes_step_down_on_a_schedule(hours: float, step_h: int, factor: float) -> None:
    params = default_params()[0]
    params["capital_reduced_every_ns"] = step_h * 3_600_000_000_000
    assert factor == reduced_factor(params, int(hours * 3_600_000_000_000))


def test_the_floor_never_lifts_what_the_mode_itself_allows() -> None:
    params = default_params()[0]
    params["capital_reduced_factor"], params["capital_reduced_every_ns"] = 0.05, 1
    assert 0.05 == reduced_factor(params, 100)
