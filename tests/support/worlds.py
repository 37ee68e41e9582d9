"""Small complete runs for tests: events in, every record and the digest out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from engine.config import make_params, make_profile, make_venue_params
from engine.core.params import timer_grid_ns
from engine.core.state import make_core
from engine.flow.advance import make_link
from engine.flow.driver import RunResult, World, drive
from engine.flow.recorder import RECORD_TYPES, MemorySink, Recorder
from engine.instruments import InstrumentTable
from engine.plugins import plugin_tuple
from engine.venue.state import make_venue

# Thresholds so low that nothing but data and safety stands in the way of an entry.
LOOSE: Mapping[str, Any] = {
    "readiness": {
        "net_min_bps": -1000.0,
        "capturable_min": 0.0,
        "fill_prob_min": 0.0,
        "spread_max_bps": 1000.0,
        "exit_drag_max_bps": 10000.0,
        "touch_multiple": 0.0,
        "queue_wait_max_s": 1000000.0,
        "exit_drag_below_move": False,
    },
    "regime": {"depth_min": 0.0, "spread_low_liquidity_bps": 1000.0},
}
# A few minutes of market make decisions, orders, fills and exits.
EAGER: Mapping[str, Any] = {
    "venue": {"fees": "zero"},
    "evaluation": {"warmup": "5s"},
    "records": {"shadow": True},
    **LOOSE,
}


def make_world(
    instruments: InstrumentTable,
    overrides: Mapping[str, Any] = EAGER,
    depth: int = 10,
    level3: bool = False,
    plugins: tuple[Any, ...] = (),
) -> World:
    """A fresh world for `instruments`, all feeds with `depth` levels a side."""
    profile = make_profile(overrides)
    params = make_params(profile, plugins)
    venue_params = make_venue_params(profile)
    n = len(instruments)
    depths = np.full(n, depth, np.int64)
    core = make_core(instruments.rows(), params, profile.run.cash, depths, plugin_tuple(plugins))
    venue = make_venue(
        instruments.rows(),
        venue_params,
        cash=profile.run.cash,
        depth=depths,
    )
    row = venue_params[0]
    link = make_link(
        int(row["feed_ns"]),
        int(row["entry_min_ns"]),
        int(row["response_min_ns"]),
        timer_grid_ns(params),
    )
    return World(core, venue, link)


def split(events: np.ndarray, sizes: Iterable[int]) -> Iterator[np.ndarray]:
    """`events` cut into consecutive batches of the given sizes, the rest as one."""
    at = 0
    for size in sizes:
        if at >= len(events):
            return
        yield events[at : at + size]
        at += size
    if at < len(events):
        yield events[at:]


def run_world(
    world: World, batches: Iterable[np.ndarray]
) -> tuple[RunResult, dict[str, np.ndarray]]:
    """Drive `world` and return the result with every recorded table."""
    recorder = Recorder(lambda name, dtype: MemorySink(dtype))
    result = drive(batches, world, recorder)
    return result, {name: recorder.sinks[name].rows for name in RECORD_TYPES}
