"""The counters against the scenarios that Kraken's pages work out, and against the simulated side."""

from fractions import Fraction

import pytest

from adapters.kraken import limits
from adapters.kraken.limits import (
    NEVER,
    POINT,
    SECOND,
    TIERS,
    ConnectionBudget,
    Counter,
    Level3Counter,
    RestCounter,
    SlidingWindow,
    TradingCounter,
)
from engine.errors import ConfigError
from engine.venue import limits as simulated
from engine.venue.params import TIERS as SIMULATED_TIERS
from tests.naive import limits as naive

T0 = 1_767_607_200 * SECOND
STARTER, INTERMEDIATE, PRO = (TIERS[name] for name in ("starter", "intermediate", "pro"))


def at(seconds: float) -> int:
    return T0 + int(seconds * SECOND)


# ---- the transaction counter ----


def test_the_scenario_of_krakens_page_reads_as_worked_out() -> None:
    """Add at 0 s, amend at 7 s, cancel at 43 s on starter: 1, 0, 3, 0, 4."""
    counter = TradingCounter(STARTER, slack_ns=0)

    counter.add("a", at(0))
    after_add = counter.points(at(0))
    before_amend = counter.points(at(7))
    counter.amend("a", at(7))
    after_amend = counter.points(at(7))
    before_cancel = counter.points(at(43))
    counter.cancel("a", at(43))

    assert [after_add, before_amend, after_amend, before_cancel] == [1, 0, 3, 0]
    assert counter.points(at(43)) == 4


def test_fifty_adds_and_ten_seconds_on_intermediate_leave_26_6() -> None:
    counter = TradingCounter(INTERMEDIATE)
    for i in range(50):
        counter.add(i, at(0))

    assert counter.points(at(10)) == 26.6


def test_a_batch_of_adds_costs_half_a_point_each() -> None:
    counter = TradingCounter(STARTER)
    counter.add_batch(list(range(15)), at(0))

    assert counter.points(at(0)) == 7.5
    assert counter.n_open == 15


@pytest.mark.parametrize(
    ("tier", "pairs_per_s"), [("starter", 0.11), ("intermediate", 0.26), ("pro", 0.42)]
)
def test_add_and_cancel_within_five_seconds_go_on_at_krakens_pace(
    tier: str, pairs_per_s: float
) -> None:
    counter = TradingCounter(TIERS[tier], reserve=0, slack_ns=0)
    now, n_pairs, hour = T0, 0, 3600 * SECOND
    while now < T0 + hour:
        # As an exit would: only the venue's own threshold counts.
        if wait := counter.wait_ns("cancel", now, n_pairs):
            now += wait
            continue
        counter.add(n_pairs, now)
        counter.cancel(n_pairs, now)
        counter.closed(n_pairs)
        n_pairs += 1

    # The first ones are free: a full counter of them.
    n_free = TIERS[tier].trading_max / 9
    assert (n_pairs - n_free) / 3600 == pytest.approx(pairs_per_s, abs=0.006)


@pytest.mark.parametrize("action", ["amend", "edit", "cancel"])
@pytest.mark.parametrize(
    "age", [0, 4.999, 5, 9.999, 10, 14.999, 15, 44.9, 45, 89.9, 90, 299.9, 300]
)
def test_penalties_by_age_are_krakens_table(action: limits.Action, age: float) -> None:
    row = {"amend": naive.AMEND, "edit": naive.EDIT, "cancel": naive.CANCEL}[action]

    assert naive.penalty(row, Fraction(age)) == limits.aged_points(action, int(age * SECOND))


def test_an_entry_leaves_room_to_cancel_everything() -> None:
    counter = TradingCounter(STARTER, reserve=10, slack_ns=0)
    n = 0
    while counter.wait_ns("add", at(0), entry=True) == 0:
        counter.add(n, at(0))
        n += 1

    # n adds, 8 to cancel each of them and the next one: 9 (n + 1) + 10 <= 60
    assert n == 5
    assert counter.wait_ns("add", at(0)) == 0
    for key in range(n):
        assert counter.wait_ns("cancel", at(0), key) == 0
        counter.cancel(key, at(0))


def test_a_waiting_entry_may_ask_again_when_cancels_are_cheaper() -> None:
    counter = TradingCounter(STARTER, reserve=0, slack_ns=0)
    counter.add_batch(list(range(10)), at(0))

    assert counter.wait_ns("add", at(1), entry=True) == 4 * SECOND


def test_what_travels_late_may_read_more_at_the_venue_and_is_allowed_for() -> None:
    """179.5 points arrive a quarter second after they were sent: ours decayed, theirs did not."""
    slack = SECOND // 4
    counter = TradingCounter(TIERS["pro"], slack_ns=slack)
    counter.add_batch(list(range(201)), T0)
    for i in range(79):
        counter.add(("late", i), T0)
    for key in range(100):
        counter.closed(key)  # open orders are another limit

    # 178.56 here, and 179.5 there: one point more would pass the threshold of 180.
    assert counter.points(T0 + slack) == 178.5625
    assert counter.wait_ns("add", T0 + slack) > 0
    assert counter.wait_ns("add", T0 + slack + SECOND // 2) == 0


def test_an_order_is_younger_at_the_venue_than_here_by_what_its_add_travelled() -> None:
    counter = TradingCounter(STARTER, slack_ns=SECOND // 4)
    counter.add("a", at(0))

    assert counter.cost("cancel", at(5.1), "a") == 8
    assert counter.cost("cancel", at(5.25), "a") == 6


def test_an_unknown_order_is_taken_for_a_new_one() -> None:
    counter = TradingCounter(STARTER)

    assert counter.cost("cancel", at(1000), "from elsewhere") == 8


def test_open_orders_are_bounded_and_no_waiting_helps() -> None:
    counter = TradingCounter(STARTER)
    for i in range(60):
        counter.seen(i, at(0))
        counter.seen(i, at(9))

    assert counter.wait_ns("add", at(1000)) == NEVER
    counter.closed(0)
    assert counter.wait_ns("add", at(1000)) == 0


def test_an_age_counts_from_the_last_amend_and_an_edit_makes_a_new_order() -> None:
    counter = TradingCounter(PRO, slack_ns=0)
    counter.add("a", at(0))
    counter.amend("a", at(100))

    assert counter.cost("cancel", at(104), "a") == 8
    counter.edit("a", "b", at(104))
    assert counter.cost("cancel", at(104), "b") == 8
    assert counter.n_open == 1


def test_what_the_venue_says_is_believed_upwards_only() -> None:
    counter = TradingCounter(STARTER)
    counter.observed(30, at(0))
    counter.observed(10, at(0))

    assert counter.points(at(0)) == 30
    counter.refused(at(0))
    assert counter.points(at(0)) == 61
    assert counter.wait_ns("add", at(0)) > 0


def test_cancel_all_is_counted_like_single_cancels() -> None:
    counter = TradingCounter(STARTER, slack_ns=0)
    counter.add("a", at(0))
    counter.add("b", at(4))
    counter.cancel_all(at(7))

    # the adds have decayed; 6 and 8 remain
    assert counter.points(at(7)) == 14


def test_a_clock_that_steps_back_earns_nothing() -> None:
    counter = Counter(100)
    counter.add(10 * POINT, at(100))

    assert counter.level(at(50)) == 10 * POINT
    assert counter.level(at(101)) == 9 * POINT


# ---- parity with the simulated venue ----


def test_tiers_are_those_of_the_simulated_venue() -> None:
    for name, tier in TIERS.items():
        assert SIMULATED_TIERS[name] == {
            "rate_decay_e2": tier.trading_decay_e2,
            "rate_threshold": tier.trading_max,
            "open_orders_max": tier.open_orders_max,
        }
    assert simulated.POINT == POINT


@pytest.mark.parametrize("age_s", range(0, 310))
def test_penalties_are_those_of_the_simulated_venue(age_s: int) -> None:
    for age_ns in (age_s * SECOND, age_s * SECOND + SECOND - 1):
        assert simulated.rate_amend_points(age_ns) == limits.aged_points("amend", age_ns)
        assert simulated.rate_cancel_points(age_ns) == limits.aged_points("cancel", age_ns)


def test_the_tier_is_known_by_its_threshold() -> None:
    assert [limits.tier_of_threshold(n) for n in (60, 125, 180, 99)] == [
        STARTER,
        INTERMEDIATE,
        PRO,
        None,
    ]
    with pytest.raises(ConfigError, match="starter, intermediate, pro"):
        limits.tier("gold")


# ---- the REST counter ----


@pytest.mark.parametrize(
    ("tier", "n_at_once", "s_per_call"),
    [("starter", 15, 1 / 0.33), ("intermediate", 20, 2), ("pro", 20, 1)],
)
def test_rest_calls_fill_the_counter_and_go_on_at_its_decay(
    tier: str, n_at_once: int, s_per_call: float
) -> None:
    counter = RestCounter(TIERS[tier], keep=0)
    n = 0
    while counter.wait_ns("Balance", at(0)) == 0:
        counter.charge("Balance", at(0))
        n += 1

    assert n == n_at_once
    assert counter.wait_ns("Balance", at(0)) == pytest.approx(s_per_call * SECOND, abs=1)
    assert counter.wait_ns("TradesHistory", at(0)) == pytest.approx(4 * s_per_call * SECOND, abs=1)


def test_history_calls_cost_four_and_order_calls_nothing() -> None:
    costs = {name: limits.rest_cost(name) for name in ("Ledgers", "ClosedOrders", "QueryLedgers")}

    assert costs == {"Ledgers": 4, "ClosedOrders": 4, "QueryLedgers": 4}
    assert limits.rest_cost("TradesHistory") == 4
    assert limits.rest_cost("AddOrder") == limits.rest_cost("CancelOrder") == 0
    assert limits.rest_cost("GetWebSocketsToken") == limits.rest_cost("OpenOrders") == 1


def test_a_refusal_of_the_venue_fills_the_rest_counter() -> None:
    counter = RestCounter(PRO, keep=1)
    counter.refused(at(0))

    assert counter.points(at(0)) == 21
    # 21 must fall to 20 - 1 kept - 1 wanted
    assert counter.wait_ns("Balance", at(0)) == 3 * SECOND


# ---- level 3 ----


@pytest.mark.parametrize(
    ("tier", "depth", "n"),
    [
        ("starter", 10, 40),
        ("starter", 100, 8),
        ("starter", 1000, 2),
        ("pro", 10, 100),
        ("pro", 100, 20),
        ("pro", 1000, 5),
    ],
)
def test_level3_symbols_per_second_are_krakens_and_half_of_them_by_default(
    tier: str, depth: int, n: int
) -> None:
    assert Level3Counter(TIERS[tier], share=(1, 1)).fits(depth, T0) == n
    assert Level3Counter(TIERS[tier]).fits(depth, T0) == n // 2


def test_level3_waits_for_what_was_spent_to_leave_the_second() -> None:
    counter = Level3Counter(STARTER)
    counter.spend(10, 10, at(0))
    counter.spend(10, 10, at(0.5))

    assert counter.fits(10, at(0.9)) == 0
    assert counter.wait_ns(10, at(0.9)) == at(1) - at(0.9)
    assert counter.wait_ns(1000, at(0.9)) == at(1.5) - at(0.9)
    assert counter.fits(10, at(1)) == 10


def test_level3_has_three_depths() -> None:
    with pytest.raises(ConfigError, match="10, 100, 1000"):
        limits.level3_cost(25)


# ---- connections ----


def test_connection_attempts_stay_below_krakens_number_in_every_ten_minutes() -> None:
    budget = ConnectionBudget(150)
    attempts: list[int] = []
    now = T0
    while len(attempts) < 500:
        if wait := budget.wait_ns(now):
            now += wait
            continue
        budget.attempt(now)
        attempts.append(now)
        now += SECOND

    for i, start in enumerate(attempts):
        assert sum(start <= each < start + 600 * SECOND for each in attempts[i:]) <= 150


def test_a_third_of_the_connection_attempts_is_left_to_others() -> None:
    budget = ConnectionBudget()
    for _ in range(100):
        assert budget.wait_ns(T0) == 0
        budget.attempt(T0)

    assert budget.wait_ns(T0) == 600 * SECOND
    with pytest.raises(ConfigError, match="150"):
        ConnectionBudget(151)


def test_a_window_forgets_nothing_when_the_clock_steps_back() -> None:
    window = SlidingWindow(2, 10)
    window.spend(1, 100)
    window.spend(1, 50)

    assert window.wait_ns(1, 60) == 10
    assert window.wait_ns(1, 109) == 1
    assert window.wait_ns(1, 110) == 0
    assert window.wait_ns(3, 110) == NEVER
