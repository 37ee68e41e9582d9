"""What do the desks of whole sessions share? A profile that trades at once, and how a log is read.

A desk is one local venue with an account per test: fault_desk.py strikes sessions of this process,
crash_desk.py kills sessions of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adapters.sessions
import adapters.start
from adapters.sessions import LOG
from engine import commands as c
from engine.events import EVENT, ORDER_COMMAND
from engine.flow.journal import RECORDS, commands_of
from engine.flow.log import LogReader
from engine.plugins import load_plugins
from tests.support.worlds import LOOSE

SYMBOLS = ("BTC/USD", "ETH/USD")
# It always wants to buy: a session has orders, fills and stops within seconds.
FAMILY = f"{Path(__file__).resolve().parents[2] / 'configs/rehearsal_family.py'}:rehearsal"
EAGER: dict[str, Any] = {
    **LOOSE,
    "plugins": [FAMILY],
    "run": {"cash": 10_000},
    "evaluation": {"warmup": "1s"},
    "families": {"rehearsal": {"enabled": True}},
    "live": {"symbols": list(SYMBOLS), "endpoint": "local", "allow_orders": True, "depth": 10},
}


def eager_profile(name: str, **sections: Mapping[str, Any]) -> dict[str, Any]:
    """The profile of a desk's sessions: they trade as soon as they may."""
    return merged(merged(EAGER, {"run": {"name": name}}), sections)


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(one)
    for name, value in other.items():
        deep = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
        found[name] = merged(found[name], value) if deep else value
    return found


def read_log(run: Path) -> np.ndarray:
    """Every event of a run's log, up to a torn end."""
    batches = list(LogReader(run / LOG, tail="stop"))
    return np.concatenate(batches) if batches else np.zeros(0, EVENT)


def commands_in(rows: np.ndarray) -> np.ndarray:
    """Commands of a log; one that a crash has torn is not among them."""
    mine = rows[rows["kind"] == ORDER_COMMAND]
    return commands_of(mine[: len(mine) // RECORDS * RECORDS])


def added(rows: np.ndarray) -> list[int]:
    """Client ids of the orders that a log has placed."""
    commands = commands_in(rows)
    return [int(each) for each in commands["id"][commands["kind"] == c.ADD]]


@contextmanager
def families_compiled_once() -> Iterator[None]:
    """Within it a session does not compile its families again: their files do not change."""
    once = cache(load_plugins)
    with pytest.MonkeyPatch.context() as patch:
        for module in (adapters.start, adapters.sessions):
            patch.setattr(module, "load_plugins", lambda names: once(tuple(names)))
        yield
