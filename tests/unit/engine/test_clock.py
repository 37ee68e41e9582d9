import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import (
    GRID_NS,
    EventClock,
    PacedClock,
    Stopwatch,
    WallClock,
    machine_seconds,
    next_on_grid,
    utc_stamp,
    utc_text,
)
from engine.errors import ClockError

NOON = 1_767_268_800_000_000_000  # 2026-01-01 12:00:00 UTC
times = st.integers(0, 4_000_000_000_000_000_000)


def test_an_event_clock_has_no_time_before_its_first_event():
    with pytest.raises(ClockError):
        EventClock().now()


def test_an_event_clock_is_where_the_newest_event_was():
    clock = EventClock()
    clock.advance(NOON)
    clock.advance(NOON)
    clock.advance(NOON + 1)

    assert NOON + 1 == clock.now()


def test_an_event_clock_never_goes_back():
    clock = EventClock()
    clock.advance(NOON)

    with pytest.raises(ClockError, match=str(NOON)):
        clock.advance(NOON - 1)
    assert NOON == clock.now()


@given(ts=times, grid=st.sampled_from(GRID_NS))
def test_the_next_strike_is_on_the_grid_strictly_after_and_within_one_step(ts, grid):
    strike = next_on_grid(ts, grid)

    assert 0 == strike % grid
    assert ts < strike <= ts + grid


@given(ts=times)
def test_text_says_what_the_standard_library_says(ts):
    """datetime keeps microseconds; the text keeps milliseconds, never rounded up."""
    exact = datetime.fromtimestamp(0, UTC).replace(tzinfo=None)
    expected = datetime.fromisoformat(utc_text(ts).removesuffix(" UTC"))
    ns = ((expected - exact).days * 86_400 + (expected - exact).seconds) * 1_000_000_000
    ns += (expected - exact).microseconds * 1000

    assert ts - ts % 1_000_000 == ns


def test_known_texts():
    assert "2026-01-01 12:00:00.250 UTC" == utc_text(NOON + 250_999_999)
    assert "20260101-120000" == utc_stamp(NOON + 999_999_999)


def test_stamps_of_folders_sort_as_times_do():
    stamps = [utc_stamp(NOON + hours * 3_600_000_000_000) for hours in range(0, 2000, 7)]

    assert sorted(stamps) == stamps


def test_the_wall_clock_counts_ns_since_the_epoch():
    now = WallClock().now()

    assert NOON < now < 4_102_444_800_000_000_000  # between this file and 2100
    assert re.fullmatch(r"\d{8}-\d{6}", utc_stamp(now))


def test_a_stopwatch_never_runs_backwards():
    watch = Stopwatch()
    seconds = [watch.seconds() for _ in range(1000)]

    assert sorted(seconds) == seconds
    assert seconds[0] >= 0


def test_the_machine_sleeps_for_less_where_a_clock_is_paced():
    assert machine_seconds(WallClock(), 3_000_000_000) == 3.0
    assert machine_seconds(PacedClock(WallClock(), 20.0), 3_000_000_000) == 0.15
