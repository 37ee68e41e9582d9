"""What does deciding cost? All families, six horizons, every entry mode; symbols; recording.

`python -m tests.bench decisions [SECONDS] [ROUNDS]` prints it alone. The market is the generator's
stream of the other rows, about a thousand events a second, and the generator's livelier market, on
which theses are active. An evaluation is what a replay takes longer than one that evaluates once an
hour; it decides everything and sends nothing, since orders at the venue cost a replay far more than
deciding does. Times are those of the process, so that what else runs on the machine counts less; recording has
a thread of its own, so what is left to the core's is told beside the sum of both.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from adapters.parquet.tables import TableWriter
from engine.core.routes import BUILT_FAMILIES, FAMILY_NAMES, HORIZONS_S
from engine.flow.driver import drive
from engine.flow.recorder import Recorder
from engine.instruments import Instrument, InstrumentTable
from tests.bench.peer import make_stream
from tests.support.short_market import short_market
from tests.support.worlds import make_world

BATCH = 65_536
ALL: dict[str, Any] = {
    "run": {"cash": 10_000_000},
    "venue": {"fees": "zero"},
    "horizons_s": list(HORIZONS_S),
    "families": {FAMILY_NAMES[code]: {"enabled": True} for code in BUILT_FAMILIES},
    "orders": {"maker_then_taker": True},
    "ignition": {"enabled": True},
    "features": {"minutes": True, "bursts": True, "refill": True},
    "forecast": {"scale": 0.2},
    "ranking": {"tod": True},
    "costs": {"learned": True},
}
LOOK: dict[str, Any] = {**ALL, "evaluation": {"max_entries": 0}}  # decides all, sends nothing
RARE: dict[str, Any] = {**ALL, "evaluation": {"interval": "3600s"}}
RECORDS: dict[str, dict[str, int]] = {
    "none": {"candidates_top": 0, "candidates_sample": 0},
    "the best three and one in sixteen": {"candidates_top": 3, "candidates_sample": 16},
    "every one as a row": {"candidates_top": 64, "candidates_sample": 1},
}


def instruments(n: int) -> InstrumentTable:
    """`n` pairs like the one of the other rows."""
    return InstrumentTable(
        [Instrument(f"A{i:02d}/USD", Decimal("0.1"), Decimal("0.001"), 1, 3) for i in range(n)]
    )


def spread_over(events: np.ndarray, n: int) -> np.ndarray:
    """The stream once per symbol: `n` times as many events in the same time, ordered by time."""
    parts = []
    for i in range(n):
        part = events.copy()
        part["sym"] = i
        parts.append(part)
    merged = np.concatenate(parts)
    merged = merged[np.argsort(merged["ts"], kind="stable")]
    merged["seq"] = np.arange(len(merged))
    return merged


def time_run(
    events: np.ndarray,
    n: int,
    settings: dict[str, Any],
    write: bool = False,
    clock: Callable[[], float] = time.process_time,
) -> float:
    """Seconds for the whole stream; with `write` every table goes to Parquet, as in a replay."""
    world = make_world(instruments(n), settings, depth=0)
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(
            (lambda name, dtype: TableWriter(Path(folder), name, dtype, {})) if write else None,
            beside=write,
        )
        start = clock()
        drive((events[k : k + BATCH] for k in range(0, len(events), BATCH)), world, recorder)
        recorder.close()
        return clock() - start


def time_lively(rounds: int) -> float:
    """Us per evaluation in an hour of the generator's market, where theses are active."""
    pairs, events = short_market(3_600, symbols=1)

    def run(settings: dict[str, Any]) -> float:
        world = make_world(pairs, settings, depth=10)
        start = time.process_time()
        drive([events], world, Recorder())
        return time.process_time() - start

    taken = medians({"rarely": lambda: run(RARE), "each second": lambda: run(LOOK)}, rounds)
    return (taken["each second"] - taken["rarely"]) / 3_600 * 1e6


def medians(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Median seconds of each way, in alternation; one round before is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds + 1):
        for name, way in ways.items():
            taken = way()
            if round_:
                seconds[name].append(taken)
    return {name: statistics.median(each) for name, each in seconds.items()}


def decisions_table(seconds: int = 1_200, rounds: int = 3) -> str:
    """The figures as text."""
    events = make_stream(seconds * 1_000)
    span_s = int(events["ts"][-1] - events["ts"][0]) // 1_000_000_000
    lines = [
        "",
        f"all {len(ALL['families'])} families, {len(HORIZONS_S)} horizons, every entry mode",
    ]
    taken = medians(
        {
            "rarely": lambda: time_run(events, 1, RARE),
            "each second": lambda: time_run(events, 1, LOOK),
            "trading": lambda: time_run(events, 1, ALL),
        },
        rounds,
    )
    each_us = (taken["each second"] - taken["rarely"]) / span_s * 1e6
    rate = len(events) / taken["each second"] / 1e6
    trading = len(events) / taken["trading"] / 1e6
    lines.append(f"  one evaluation of one symbol        {each_us:8.1f} us, quiet")
    lines.append(f"                                      {time_lively(rounds):8.1f} us, lively")
    lines.append(f"  replay, an evaluation each second   {rate:8.2f} M events/s")
    lines.append(f"  the same with orders at the venue   {trading:8.2f} M events/s")
    lines.append("  symbols: us per symbol and second of market")
    for n in (1, 10, 50):
        many = spread_over(events[: len(events) // max(n // 10, 1)], n)
        part_s = max(int(many["ts"][-1] - many["ts"][0]) / 1e9, 1.0)
        run = medians({"": lambda m=many, k=n: time_run(m, k, LOOK)}, rounds)[""]
        lines.append(
            f"    {n:3} {run / part_s / n * 1e6:8.1f} ({len(many) / run / 1e6:.2f} M events/s)"
        )
    for clock, what in (
        (time.thread_time, "of the core's thread"),
        (time.process_time, "of both threads"),
    ):
        lines.append(f"  candidates recorded, every table to Parquet: seconds {what}, against none")
        ways = {
            name: (
                lambda r=records, c=clock: time_run(
                    events, 1, LOOK | {"records": r}, write=True, clock=c
                )
            )
            for name, records in RECORDS.items()
        }
        recorded = medians(ways, rounds)
        for name, value in recorded.items():
            lines.append(f"    {name:36}{value:7.3f} {value / recorded['none']:6.2f}")
    return "\n".join(lines)
