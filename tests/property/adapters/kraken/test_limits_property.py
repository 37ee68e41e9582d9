"""Ours never reads less than the venue's, so that the venue never has to refuse."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.kraken.limits import POINT, SECOND, TIERS, SlidingWindow, TradingCounter
from tests.naive.limits import VenueCounter

SLACK_NS = 250_000_000
# When the next request is wanted, what it is, which order, how long it travels.
steps = st.lists(
    st.tuples(
        st.integers(0, 4 * SECOND),
        st.sampled_from(["add", "add", "amend", "cancel"]),
        st.integers(0, 1 << 30),
        st.integers(0, SLACK_NS),
    ),
    min_size=20,
    max_size=120,
)


# Young orders canceled at once: the counter is full after a few of them.
hurried = st.lists(
    st.tuples(
        st.sampled_from([0, SLACK_NS, SECOND // 10]),
        st.sampled_from(["add", "amend", "cancel"]),
        st.integers(0, 1 << 30),
        st.sampled_from([0, SLACK_NS]),
    ),
    min_size=40,
    max_size=150,
)


@given(steps=st.one_of(steps, hurried), tier=st.sampled_from(sorted(TIERS)), strict=st.booleans())
def test_no_request_that_we_let_go_is_refused(
    steps: list[tuple[int, str, int, int]], tier: str, strict: bool
) -> None:
    """Also where the venue counts the request itself before it compares."""
    ours, venue = TradingCounter(TIERS[tier], slack_ns=SLACK_NS), VenueCounter(tier, strict)
    now = arrived = 0
    n_orders = 0
    for pause, action, pick, travel in steps:
        now += pause
        known = sorted(venue.touched)  # type: ignore[type-var]
        key = known[pick % len(known)] if known and action != "add" else n_orders
        action = action if known else "add"
        if action == "add" and key in venue.touched:
            key = n_orders
        if ours.wait_ns(action, now, key):  # type: ignore[arg-type]
            continue
        # One connection: requests arrive in the order in which they were sent.
        arrived = max(arrived, now + travel)
        if action == "add":
            ours.add(key, now)
            n_orders += 1
        elif action == "amend":
            ours.amend(key, now)
        else:
            ours.cancel(key, now)
            ours.closed(key)
        assert venue.take(action, key, Fraction(arrived, SECOND))
        # What decays on the way is all that the venue may read above us.
        in_flight = Fraction(SLACK_NS * TIERS[tier].trading_decay_e2, POINT)
        assert Fraction(ours._counter.level(now), POINT) + in_flight >= venue.points


@given(steps=steps, tier=st.sampled_from(sorted(TIERS)))
def test_without_travel_ours_is_the_venues_number(
    steps: list[tuple[int, str, int, int]], tier: str
) -> None:
    ours, venue = TradingCounter(TIERS[tier], slack_ns=0), VenueCounter(tier)
    now = 0
    for n, (pause, action, pick, _) in enumerate(steps):
        now += pause
        known = sorted(venue.touched)  # type: ignore[type-var]
        action = action if known else "add"
        key = n if action == "add" else known[pick % len(known)]
        if venue.at(Fraction(now, SECOND)) > TIERS[tier].trading_max:
            assert ours.wait_ns(action, now, key) > 0  # type: ignore[arg-type]
            continue
        venue.take(action, key, Fraction(now, SECOND))
        getattr(ours, action)(key, now)
        if action == "cancel":
            ours.closed(key)

        assert Fraction(ours._counter.level(now), POINT) == venue.points


@given(
    costs=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5)), max_size=60),
    most=st.integers(5, 12),
)
@pytest.mark.parametrize("window", [1, 10])
def test_a_sliding_window_never_holds_more_than_its_most(
    costs: list[tuple[int, int]], most: int, window: int
) -> None:
    limited = SlidingWindow(most, window)
    now = 0
    spent: list[tuple[int, int]] = []
    for pause, cost in costs:
        now += pause
        wait = limited.wait_ns(cost, now)
        in_window = sum(c for t, c in spent if t > now - window)
        assert (wait == 0) == (in_window + cost <= most)
        now += wait
        # The wait was enough, and not a nanosecond too long.
        assert sum(c for t, c in spent if t > now - window) + cost <= most
        if wait:
            assert sum(c for t, c in spent if t > now - 1 - window) + cost > most
        limited.spend(cost, now)
        spent.append((now, cost))
