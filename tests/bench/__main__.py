"""How fast is it? Every figure from one run, in alternation, beside hftbacktest on the same events.

`python -m tests.bench [EVENTS] [ROUNDS]` prints million events per second (medians) and the ratio
to hftbacktest's own compiled quoting loop on its faster depth. Figures drift from machine to
machine; the ratios are what to quote. Then: memory against the length of the capture, start-up, the
cost of deciding (decisions.py; `... decisions` for that alone), the Brier score of the expected fills
(fills.py; `... fills`), Kraken's frames (frames.py; `python -m tests.bench frames` for those alone) and a live
session from frame to order (session.py; `... session [SECONDS] [RATE]`). By itself only: a restart with a long log
(restart.py; `... restart [EVENTS] [ROUNDS]`), and a warm start (`... start [ROUNDS]`).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np

from adapters.parquet.bench import measure_read
from adapters.parquet.manifest import Channel
from adapters.parquet.tables import TableWriter
from adapters.parquet.writer import CaptureWriter
from engine.book import BOOK, book_clear, book_set, side_index
from engine.events import BOOK_LEVEL, SNAPSHOT
from engine.flow.driver import drive
from engine.flow.recorder import Recorder
from engine.instruments import Instrument, InstrumentTable
from engine.jit import kernel
from tests.bench.decisions import decisions_table
from tests.bench.fills import fills_table
from tests.bench.frames import frames_table
from tests.bench.peer import Setup, make_stream, run_hftbacktest, run_ours
from tests.bench.restart import restart_table
from tests.bench.session import session_table
from tests.support.worlds import make_world

INSTRUMENTS = InstrumentTable([Instrument("AAA/USD", Decimal("0.1"), Decimal("0.001"), 1, 3)])
BATCH = 65_536
PIPELINE = {"run": {"cash": 10_000_000}, "venue": {"fees": "zero"}}


@kernel
def book_only(book, events):
    """Apply every level to one book and touch every print; returns the prints seen."""
    prints = 0
    for k in range(len(events)):
        event = events[k]
        if np.int64(event["kind"]) == BOOK_LEVEL:
            book_set(book[0], side_index(np.int64(event["side"])), event["price"], event["qty"])
        else:
            prints += event["qty"]
    return prints


def batches(events: np.ndarray):
    """The stream as a reader would hand it out."""
    for first in range(0, len(events), BATCH):
        yield events[first : first + BATCH]


def time_book(events: np.ndarray) -> float:
    book = np.zeros(1, BOOK)
    book_clear(book[0])
    start = time.perf_counter()
    book_only(book, events)
    return time.perf_counter() - start


def time_pipeline(events: np.ndarray, record: bool) -> float:
    """Core and venue, an evaluation each second; with `record` every table goes to Parquet."""
    world = make_world(INSTRUMENTS, PIPELINE, depth=0)
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(
            (lambda name, dtype: TableWriter(Path(folder), name, dtype, {})) if record else None
        )
        start = time.perf_counter()
        drive(batches(events), world, recorder)
        recorder.close()
        return time.perf_counter() - start


def alternate(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Median seconds of each way, run in turn; one round before is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds + 1):
        for name, way in ways.items():
            taken = way()
            if round_:
                seconds[name].append(taken)
    return {name: statistics.median(each) for name, each in seconds.items()}


def store_of(events: np.ndarray, folder: str) -> str:
    """The stream as a capture in `folder`."""
    channels = [Channel(name="book", depth=0), Channel(name="trade")]
    with CaptureWriter(folder, "bench", INSTRUMENTS, channels=channels) as writer:
        for batch in batches(events):
            writer.append(batch)
    return folder


def speed_table(n: int, rounds: int) -> None:
    """Print the table of speeds and check that ours and hftbacktest's runs agree."""
    events = make_stream(n)
    assert np.count_nonzero(events["flags"] & SNAPSHOT) < 1000
    setup = Setup()
    outcomes = {
        "ours": run_ours(events, setup),
        "hftbacktest": run_hftbacktest(events, setup, "roi"),
    }
    ways: dict[str, Callable[[], float]] = {
        "hftbacktest, quoting, hash-map depth": lambda: (
            run_hftbacktest(events, setup, "hash").seconds
        ),
        "hftbacktest, quoting, ROI depth": lambda: run_hftbacktest(events, setup, "roi").seconds,
        "ours: book only": lambda: time_book(events),
        "ours: venue with the same quoting": lambda: run_ours(events, setup).seconds,
        "ours: book, features, evaluation each second": lambda: time_pipeline(events, False),
        "ours: the same, everything recorded": lambda: time_pipeline(events, True),
    }
    seconds = alternate(ways, rounds)
    with tempfile.TemporaryDirectory() as folder:
        read = measure_read(store_of(events, folder), repeats=rounds)
    rates = {name: n / each / 1e6 for name, each in seconds.items()}
    rates["plain Parquet read (pyarrow, one thread)"] = read.plain / 1e6
    rates["ours: Parquet to merged records"] = read.stream / 1e6
    rates["ours: the same, read ahead"] = read.ahead / 1e6
    peer = rates["hftbacktest, quoting, ROI depth"]
    print(f"{n:,} events of one symbol, median of {rounds} rounds in alternation\n")
    print(f"{'':50}{'M events/s':>12}{'ratio':>8}")
    for name, rate in rates.items():
        print(f"{name:50}{rate:12.2f}{rate / peer:8.2f}")
    print("\nthe same strategy, both programs:")
    for name, outcome in outcomes.items():
        print(f"  {name:12} {len(outcome.fills):,} fills, final position {outcome.position}")


CHILD = """
import resource, sys
from tests.bench.__main__ import INSTRUMENTS, PIPELINE
from adapters.parquet.reader import open_events
from engine.flow.driver import drive
from engine.flow.recorder import Recorder
from tests.support.worlds import make_world
capture = open_events(sys.argv[1])
drive(capture.batches(), make_world(INSTRUMENTS, PIPELINE, depth=0), Recorder())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def memory_table(n: int) -> None:
    """Peak memory of a whole replay process, for one length and for four times that length."""
    print("\npeak memory of a replay from Parquet, whole process")
    for length in (n, 4 * n):
        with tempfile.TemporaryDirectory() as folder:
            store = store_of(make_stream(length), folder)
            run = subprocess.run(
                [sys.executable, "-c", CHILD, store], capture_output=True, text=True, check=True
            )
        print(f"  {length:>12,} events {int(run.stdout) / 1024:8.0f} MB")


def start_table() -> None:
    """Cold compile of everything and warm start to the first event, in fresh processes."""
    print("\nstart-up, fresh processes")
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "KAPITAALBOT_CACHE_DIR": cache}
        run = subprocess.run(
            [sys.executable, "-m", "adapters.cli.main", "config", "warm", "--json"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        print(f"  cold compile of everything: {json.loads(run.stdout)['seconds']:.1f} s")
        warm_table(5, environment)


def warm_table(rounds: int = 5, environment: dict[str, str] | None = None) -> None:
    """From a fresh process to the first event of a replay, everything compiled."""

    def first_event() -> tuple[float, float]:
        began, before = time.perf_counter(), os.times()
        subprocess.run([sys.executable, "-c", FIRST_EVENT], env=environment, check=True)
        after = os.times()
        processor = after.children_user - before.children_user
        processor += after.children_system - before.children_system
        return time.perf_counter() - began, processor

    first_event()  # compiles what is not, and has the disk's pages read
    taken = [first_event() for _ in range(rounds)]
    clock, processor = (statistics.median(each) for each in zip(*taken, strict=True))
    print(
        f"  warm start to the first event: {clock:.2f} s, of processor time {processor:.2f} s"
        f" (medians of {rounds}, load {os.getloadavg()[0]:.1f})"
    )


# A replay of the sample that leaves as soon as the core has taken its first batch.
FIRST_EVENT = """
import gc, os
from adapters.cli.main import SELDOM
gc.set_threshold(*SELDOM)  # as the command line begins
from adapters.replay import prepare
from engine.config import read_config
from engine.flow.driver import drive
from engine.flow.recorder import Recorder
prepared = prepare(read_config("configs/sample.toml"))
world = prepared.world()
first = next(iter(prepared.batches()))[:1]
drive([first], world, Recorder())
os._exit(0)
"""


def main() -> None:
    if sys.argv[1:2] == ["frames"]:
        frames_table(*map(int, sys.argv[2:]))
        return
    if sys.argv[1:2] == ["session"]:
        print(session_table(*map(float, sys.argv[2:4])))
        return
    if sys.argv[1:2] == ["start"]:
        warm_table(*map(int, sys.argv[2:3]))
        return
    if sys.argv[1:2] == ["restart"]:
        print(restart_table(*map(int, sys.argv[2:4])))
        return
    if sys.argv[1:2] == ["fills"]:
        seconds, *seeds = [int(each) for each in sys.argv[2:]] or [3_600]
        print(fills_table(seconds, tuple(seeds) or (7, 8, 9)))
        return
    if sys.argv[1:2] == ["decisions"]:
        print(decisions_table(*map(int, sys.argv[2:])))
        return
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 3_000_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    speed_table(n, rounds)
    memory_table(n // 3)
    start_table()
    print(decisions_table(1_200, rounds))
    print(fills_table(3_600, (7,), (30,)))
    frames_table(rounds=rounds)
    print(session_table(30))


if __name__ == "__main__":
    main()
