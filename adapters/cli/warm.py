"""How do kernels get compiled before they are needed? In two processes side by side.

A kernel is compiled once per version of the sources, of numba and of the CPU; the machine code
lies in the cache folder of engine/jit.py. `python -m adapters.cli.warm PART...` compiles parts one
after the other, which is what the side-by-side processes do.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from engine.clock import Stopwatch
from engine.errors import InvariantError, StorageError

MARKER: Final = "warm.json"
SECONDS_USUAL: Final = 30  # on two cores, for the sentence that asks for patience
ORDERS, ROUTES = "orders and risk", "features and routes"
VENUE, STORE, GENERATOR = "simulated venue", "cold store", "market generator"
FEED: Final = "market feed"
MARKET: Final = "market windows"
LOOP: Final = "loop that joins core and venue"
PAPER: Final = "simulated venue beside a session"
# Lanes are compiled side by side, and take about as long: a stage declares what it returns, so no
# part waits for another.
LANES: Final = ((ORDERS, MARKET, FEED), (VENUE, LOOP, PAPER, ROUTES, STORE, GENERATOR))
NOT_FOR_REPLAY: Final = (GENERATOR, FEED, PAPER)
NOT_FOR_SESSIONS: Final = (GENERATOR,)
# Stages (engine/stage.py) by part; what is named nowhere here is compiled with the orders, so a new
# stage needs no line.
STAGES: Final = {
    MARKET: ("sample_market", "widen_market", "plain_features", "wide_features"),
    ROUTES: ("refresh_market", "judge_symbol", "price_routes"),
    VENUE: ("run_venue", "command_to_venue", "timer_to_venue"),
    LOOP: ("evaluate", "on_other", "run_core", "step_one"),
}

Talk = Callable[[str], None]


def marker() -> Path:
    """The file that says that this version of the kernels is compiled, for this copy of it.

    numba keeps what it compiled by the place of the source: another checkout has to compile again.
    """
    from engine.jit import CACHE_FOLDER, ENGINE

    place = hashlib.sha256(str(ENGINE.resolve()).encode()).hexdigest()[:12]
    return Path(CACHE_FOLDER) / f"{place}-{MARKER}"


def compiled() -> set[str]:
    """The parts that are compiled already."""
    try:
        return set(json.loads(marker().read_bytes()))
    except (OSError, ValueError):
        return set()


def is_warm(without: tuple[str, ...] = NOT_FOR_REPLAY) -> bool:
    """Whether nothing but the parts `without` would have to be compiled (always, with the JIT off)."""
    from engine.jit import JIT_ENABLED

    return not JIT_ENABLED or set(PARTS) <= {*compiled(), *without}


def warm_if_cold(talk: Talk | None, without: tuple[str, ...] = NOT_FOR_REPLAY) -> None:
    """Compile what a replay needs, unless it is compiled; says what it is and how long it takes.

    without : parts that are not needed; a session leaves out NOT_FOR_SESSIONS, since what it compiles
        while it runs holds up its loop
    """
    if is_warm(without):
        return
    if talk is not None:
        talk(
            "compiling the decision core and the venue, once per version: "
            f"about {SECONDS_USUAL} s on two cores. Later runs start at once."
        )
    done = warm_all(None, (*without, *compiled()))
    if talk is not None:
        talk(f"compiled in {done['seconds']:.0f} s.")


def warm_all(talk: Talk | None, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Compile every kernel into the cache; returns seconds per part, in all, and the folder.

    without : parts that are left out
    raises StorageError if the cache cannot be written, InvariantError if a kernel does not compile
    """
    from engine.jit import CACHE_FOLDER, JIT_ENABLED

    clock = Stopwatch()
    steps: dict[str, float] = {}
    if JIT_ENABLED:
        try:
            Path(CACHE_FOLDER).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cache_error(error.strerror or str(error)) from error
        lanes = [tuple(part for part in lane if part not in without) for lane in LANES]
        if talk is not None:
            parts = [part for lane in lanes for part in lane]
            talk(f"compiling {', '.join(parts)}, in {len(lanes)} processes ...")
        before = dict.fromkeys(compiled(), 0.0)
        for process in [_start(lane) for lane in lanes if lane]:
            steps |= _finish(process)
        marker().write_text(json.dumps(before | steps) + "\n")
    return {"steps": steps, "seconds": round(clock.seconds(), 3), "cache": str(CACHE_FOLDER)}


def cache_error(why: str) -> StorageError:
    """What to say when compiled kernels cannot be kept."""
    return StorageError(
        f"the cache of compiled kernels cannot be written: {why}.",
        "Set KAPITAALBOT_CACHE_DIR to a folder that you can write.",
    )


def _start(lane: tuple[str, ...]) -> subprocess.Popen[str]:
    from adapters.kraken.keys import child_environ

    return subprocess.Popen(
        [sys.executable, "-m", "adapters.cli.warm", *lane],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**child_environ(), "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)},
    )


def _finish(process: subprocess.Popen[str]) -> dict[str, float]:
    try:
        out, err = process.communicate()
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode != 0:
        lines = err.strip().splitlines()
        raise InvariantError(
            f"a kernel did not compile: {lines[-1] if lines else 'no word why'}",
            "`python -m adapters.cli.warm 'orders and risk'` (or another part) shows all of it.",
        )
    steps: dict[str, float] = json.loads(out)
    return steps


def compile_part(part: str) -> float:
    """Compile one part in this process; returns seconds."""
    clock = Stopwatch()
    PARTS[part]()
    return round(clock.seconds(), 3)


def _compile(dispatcher: Any, *arguments: Any) -> None:
    """Compile an entry kernel for arguments of these types, without a call."""
    from numba import typeof

    dispatcher.compile(tuple(typeof(each) for each in arguments))


def _compile_stages(part: str) -> None:
    import engine.flow.advance  # noqa: F401  (defines every stage)
    from engine.stage import compile_stage, define_kind, stages

    _core(linked=False)
    define_kind("venue", _venue())
    elsewhere = {name for names in STAGES.values() for name in names}
    for name in STAGES.get(part) or [each for each in stages() if each not in elsewhere]:
        compile_stage(name)


def _compile_loop() -> None:
    import numpy as np

    from engine.events import EVENT
    from engine.flow.advance import advance, make_link
    from engine.flow.held import follow_held, hold

    _compile_stages(LOOP)
    core, link = _core(linked=False), make_link(0, 1, 1, 1)
    _compile(advance, core, _venue(), link, np.zeros(1, EVENT), True)
    _compile(follow_held, hold(core), np.zeros(1, EVENT), 0)


def _compile_store() -> None:
    """Write and read a capture of two channels: many small kernels, none of them slow."""
    import tempfile

    import numpy as np

    from adapters.parquet.manifest import Channel
    from adapters.parquet.reader import open_events
    from adapters.parquet.writer import CaptureWriter
    from engine.events import BOOK_LEVEL, EVENT, LAST, SNAPSHOT, TRADE
    from engine.flow.window import DepthWindow
    from engine.research.synthetic.config import default_instruments

    events = np.zeros(3, EVENT)
    events["ts"], events["kind"] = 1_767_225_600_000_000_000, (BOOK_LEVEL, BOOK_LEVEL, TRADE)
    events["side"], events["price"], events["qty"] = (1, -1, 1), (100, 101, 101), 1
    events["flags"] = (SNAPSHOT, SNAPSHOT | LAST, LAST)
    instruments = default_instruments()
    with tempfile.TemporaryDirectory() as folder:
        channels = [Channel(name="book", depth=10)]
        with CaptureWriter(folder, "warm", instruments, channels=channels, assign_seq=True) as one:
            one.append(events)
        stream = open_events(folder).batches()
        for _ in DepthWindow(len(instruments), [0], 10).filter(stream):
            pass


def _compile_paper() -> None:
    import numpy as np

    from engine.events import EVENT
    from engine.flow.advance import make_link
    from engine.flow.follow import next_paper, run_paper, send_paper
    from engine.stage import define_kind

    core, venue, link = _core(linked=False), _venue(), make_link(0, 1, 1, 1)
    define_kind("venue", venue)
    _compile(send_paper, venue, link, np.zeros(1, link[0]["sent"].dtype))
    _compile(run_paper, core.calls, venue, link, np.zeros(1, EVENT), 0, 0)
    _compile(next_paper, venue, link)


def _compile_generator() -> None:
    from engine.research.synthetic.config import GeneratorConfig
    from engine.research.synthetic.market import generate

    for _ in generate(GeneratorConfig(duration_s=0.01, warmup_s=0.01)):
        pass


def _compile_feed() -> None:
    from adapters.kraken.feed import MarketFeed
    from engine.instruments import InstrumentTable

    MarketFeed(InstrumentTable([]), {})


PARTS: Final[dict[str, Callable[[], None]]] = {
    ORDERS: lambda: _compile_stages(ORDERS),
    MARKET: lambda: _compile_stages(MARKET),
    ROUTES: lambda: _compile_stages(ROUTES),
    VENUE: lambda: _compile_stages(VENUE),
    STORE: _compile_store,
    GENERATOR: _compile_generator,
    FEED: _compile_feed,
    PAPER: _compile_paper,
    LOOP: _compile_loop,
}


def _core(linked: bool = True) -> Any:
    import numpy as np

    from engine.core.params import default_params
    from engine.core.state import make_core
    from engine.instruments import INSTRUMENT_ROW
    from engine.plugins import plugin_tuple

    rows = np.zeros(1, INSTRUMENT_ROW)
    return make_core(rows, default_params(), 0, np.zeros(1, np.int64), plugin_tuple(()), linked)


def _venue() -> Any:
    import numpy as np

    from engine.instruments import INSTRUMENT_ROW
    from engine.venue.state import make_venue

    return make_venue(np.zeros(1, INSTRUMENT_ROW))


if __name__ == "__main__":
    print(json.dumps({part: compile_part(part) for part in sys.argv[1:]}))
