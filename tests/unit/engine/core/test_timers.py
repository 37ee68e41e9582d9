"""What the core does between evaluations, and after the last one."""

from __future__ import annotations

import numpy as np
import pytest

from engine.config import make_params, make_profile
from engine.errors import ConfigError
from tests.support.short_market import short_market
from tests.support.worlds import make_world, run_world

QUIET = {"max_entries": 0}  # without orders nothing but the market is left to differ


def features_after(interval: str, instruments, events) -> np.ndarray:
    world = make_world(instruments, {"evaluation": QUIET | {"interval": interval}})
    run_world(world, [events])
    return world.core.symbols["features"].copy()


def test_features_do_not_depend_on_how_often_is_evaluated():
    """Windows are sampled each second; the run ends on a whole minute that every interval meets."""
    instruments, events = short_market(180, symbols=1)
    minute = 60_000_000_000
    end = events["ts"][-1] // minute * minute
    events = events[events["ts"] <= end]
    events[-1]["ts"] = end  # the last event is on the minute, so the timer there strikes
    each_second = features_after("1s", instruments, events)
    assert np.isfinite(each_second).sum() > 40
    for interval in ("5s", "60s"):
        np.testing.assert_array_equal(each_second, features_after(interval, instruments, events))


def test_an_interval_that_misses_the_seconds_is_refused():
    with pytest.raises(ConfigError, match=r"1\.5 s is neither"):
        make_params(make_profile({"evaluation": {"interval": "1500ms"}}))


def test_the_last_equity_row_is_of_the_last_event():
    instruments, events = short_market(90, symbols=1)
    _, tables = run_world(make_world(instruments), [events])
    assert tables["equity"]["ts"][-1] == events["ts"][-1]
    assert len(np.unique(tables["equity"]["ts"])) == len(tables["equity"])
