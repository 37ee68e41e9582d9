"""How long until a session that was killed trades again, with a log of a million events?

`python -m tests.bench.restart [EVENTS] [ROUNDS]`: a live session of nine pairs is made that has heard so
many events and ends as `kill -9` leaves it. Then `kapitaalbot run live` is started against a local venue
in a process of its own and timed from the start of its process to the line that says that it has taken its core
up, and to the one that says NORMAL: reconciled, and free to trade. With the newest snapshot (half
its interval old), and with none at all: then the whole log is stepped through. Beside it the same without
interpreter and imports, in parts. On a machine that others use too, the processor's time tells more.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.bench.session import DEPTH, PER_INTENSITY, processor_of, symbols, venue_process
from tests.support.worlds import EAGER

RATE: Final = 300.0  # messages of the market a second
STEP: Final = 500  # events between two looks at the clock of the session that is written
ME: Final = (sys.executable, "-m", "tests.bench.restart")
PROGRAM: Final = (sys.executable, "-m", "adapters.cli.main")


def profile_of(folder: Path, port: int) -> dict[str, Any]:
    return {
        **EAGER,
        "run": {"out": str(folder / "runs"), "name": "bench", "cash": 1_000_000},
        "live": {
            "symbols": [each.instrument.symbol for each in symbols()],
            "endpoint": "local",
            "local_port": port,
            "state": str(folder / "state"),
            "depth": DEPTH,
            "allow_orders": True,
        },
    }


# --- a session that has heard much ----------------------------------------------------------------


def market(n_events: int, start: int) -> Iterator[np.ndarray]:
    """Events of the generator, whole messages, about STEP at a time."""
    from engine.events import LAST
    from engine.research.synthetic.config import GeneratorConfig
    from engine.research.synthetic.market import generate

    chosen = GeneratorConfig(
        seed=7, duration_s=86_400.0, symbols=symbols(), depth=DEPTH, level3=False, tickers=False,
        intensity=RATE / PER_INTENSITY, start_ts=start,
    )  # fmt: skip
    n = 0
    for batch in generate(chosen, batch_rows=4096):
        ends = np.flatnonzero(batch["flags"] & LAST) + 1
        first = 0
        for end in [*ends[STEP::STEP].tolist(), len(batch)]:
            yield batch[first:end]
            n += end - first
            first = end
            if n >= n_events:
                return


def write(folder: Path, listed: Path, port: int, n_events: int) -> None:
    """Make the session and die. listed : a session of the same venue, for its pairs"""
    from adapters.attending import no_attending
    from adapters.running import Running
    from adapters.sessions import Started
    from adapters.start import plan_session, remember_run

    class At:
        speed, ts = 1.0, time.time_ns() - 6 * 3600 * 10**9

        def now(self) -> int:
            return self.ts

        def seconds_until(self, ts: int) -> float:
            return 0.0

    clock = At()
    ready = plan_session(None, "live", profile_of(folder, port), {"KAPITAALBOT_LIVE": "local"})
    plan = replace(ready.plan, clock=clock)  # type: ignore[arg-type]
    running = Running(plan, Started.read(listed).instruments, no_attending())
    running.begin(None)
    looked = 0
    for rows in market(n_events, clock.ts + 10**9):
        clock.ts = int(rows["ts"][-1])
        running.take(rows, clock.ts)
        if clock.ts - looked >= 10**9:
            looked = clock.ts
            running.second(clock.ts)
    running.log.sync()
    running.writer.settle()
    remember_run(ready.folder, "live", running.folder)
    print(json.dumps({"folder": str(running.folder), "events": running.log.n_events,
                      "hours": round((clock.ts - running.first_ts) / 3.6e12, 2)}))  # fmt: skip
    sys.stdout.flush()
    os._exit(0)


# --- what the next one takes ----------------------------------------------------------------------


def parts(folder: Path) -> None:
    """The core taken up in this process, part by part, once everything is imported; processor seconds."""
    import adapters.live  # noqa: F401
    from adapters import sessions

    found: dict[str, float] = {}

    def timed(owner: Any, name: str, label: str) -> None:
        inner = getattr(owner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            began = time.process_time()
            try:
                return inner(*arguments, **options)
            finally:
                found[label] = found.get(label, 0.0) + time.process_time() - began

        setattr(owner, name, call)

    timed(sessions, "open_session", "core made")
    timed(sessions, "check_log", "log proven")
    timed(sessions, "_take_snapshot", "snapshot read")
    timed(sessions, "follow_log", "log followed")
    began, processor = time.perf_counter(), time.process_time()
    left = sessions.last_state(folder)
    found["in all"] = time.process_time() - processor
    found["by the clock"] = time.perf_counter() - began
    print(json.dumps({"events": left.followed.n_events, **found}))


def start(profile: Path) -> dict[str, float]:
    """Seconds of one start, from the process to NORMAL."""
    environ = {**os.environ, "KAPITAALBOT_LIVE": "1", "PYTHONUNBUFFERED": "1"}
    found: dict[str, float] = {}
    said: list[str] = []
    began = time.perf_counter()
    process = subprocess.Popen(
        [*PROGRAM, "run", "live", str(profile)], env=environ, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        for line in process.stderr:
            now = time.perf_counter() - began
            said.append(line)
            if " RECOVERED " in line:
                found["core taken up"], found["core, processor"] = now, processor_of(process.pid)
            if " MODE_CHANGE " in line and "mode=NORMAL" in line:
                found["NORMAL"], found["NORMAL, processor"] = now, processor_of(process.pid)
                break
    finally:
        process.kill()
        process.wait()
    assert "NORMAL" in found, "".join(said[-20:])
    return found


def restart_table(n_events: int = 1_000_000, rounds: int = 5) -> str:
    """The figures, for people."""
    from adapters.lease import open_folder
    from adapters.local_venue.keys import DEMO_KEY, DEMO_SECRET
    from adapters.start import remember_run
    from tests.support.toml import toml

    os.environ |= {"KAPITAALBOT_KRAKEN_KEY": DEMO_KEY, "KAPITAALBOT_KRAKEN_SECRET": DEMO_SECRET}
    with tempfile.TemporaryDirectory() as name, venue_process(RATE, False) as (port, _):
        folder = Path(name)
        profile = folder / "profile.toml"
        profile.write_text(toml(profile_of(folder, port)))
        subprocess.run(
            [*PROGRAM, "run", "shadow", str(profile), "--for", "2s", "--quiet"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        listed = next((folder / "runs").iterdir())
        made = json.loads(
            subprocess.run(
                [*ME, "write", name, str(listed), str(port), str(n_events)],
                check=True, stdout=subprocess.PIPE, text=True,
            ).stdout
        )  # fmt: skip
        run = Path(made["folder"])
        size = sum(each.stat().st_size for each in (run / "log").iterdir()) / 1e6
        lines = [
            f"\nrestart after kill -9, {made['events']:,} events of {len(symbols())} pairs in "
            f"{made['hours']} h, log {size:.0f} MB; seconds, medians of {rounds} and the largest"
        ]
        for what in ("newest snapshot", "no snapshot"):
            if what == "no snapshot":
                for each in (run / "state").glob("0*.state"):
                    each.unlink()
            taken = [json.loads(subprocess.run([*ME, "parts", str(run)], check=True,
                     stdout=subprocess.PIPE, text=True).stdout) for _ in range(rounds)]  # fmt: skip
            whole = []
            for _ in range(rounds):
                remember_run(open_folder(folder / "state" / "main"), "live", run)
                whole.append(start(profile))
            lines.append(f"  {what}, {taken[0]['events']:,} events stepped through")
            for rows in (whole, taken):
                for key in rows[0]:
                    if key != "events":
                        values = [each[key] for each in rows]
                        shown = f"process to {key}" if rows is whole else f"  core taken up: {key}"
                        lines.append(
                            f"    {shown:32}{statistics.median(values):8.2f}{max(values):8.2f}"
                        )
        lines.append(f"  load {os.getloadavg()[0]:.1f}, cores {os.cpu_count()}")
    return "\n".join(lines)


def main() -> None:
    if sys.argv[1:2] == ["write"]:
        write(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
    elif sys.argv[1:2] == ["parts"]:
        parts(Path(sys.argv[2]))
    else:
        print(restart_table(*(int(each) for each in sys.argv[1:3])))


if __name__ == "__main__":
    main()
