"""How is a capture put together? Venue, event log and cold store, joined in one call.

`record` captures until it is stopped: it recovers what an earlier run left, writes parts into event
logs below `<store>/_capture`, and seals each finished part into the store in a process of its own,
so that compressing never holds the feed up. It prints nothing: talk and progress go to callbacks.

`python -m adapters.record STORE PART` seals one part; that is the process.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from adapters.kraken.capture import Capture, CaptureConfig, Lineage
from adapters.kraken.keeper import PARTS, ROWS_MAX, Keeper
from adapters.kraken.keys import child_environ
from adapters.kraken.live import Hosts, run_capture
from adapters.kraken.phases import Phase
from adapters.parquet.manifest import capture_ids, list_captures
from adapters.parquet.seal import Recovered, drop_log, recover_part, seal_log
from adapters.parquet.store import Store, is_store
from adapters.telemetry import collect_often
from engine.clock import Clock, Stopwatch, WallClock, utc_stamp, utc_text
from engine.errors import DataError, RefusedError, StorageError, VenueError
from engine.flow.files import LOCAL_FILES, Files, Lock
from engine.flow.log import check_log, is_log
from engine.version import VERSION

SPOOL: Final = "_capture"  # of a store: what is not sealed yet
LINEAGE: Final = "lineage.json"
DISK_FREE_MIN: Final = 1 << 30
SEAL_PATIENCE_S: Final = 120.0

Talk = Callable[[str], None]
Progress = Callable[[dict[str, Any]], None]


@dataclass
class Recorded:
    """What a finished capture came to. n_lost : events thrown away for want of room"""

    lineage: str
    captures: list[str] = field(default_factory=list)
    unsealed: list[str] = field(default_factory=list)
    n_events: int = 0
    n_gaps: int = 0
    n_frames: int = 0
    n_dropped: int = 0
    seconds: float = 0.0
    epoch: str = ""


def spool_of(store: str | Path, spool: str | Path | None = None) -> Path:
    """The folder of a store's running capture; a store that is elsewhere needs one named."""
    if spool is not None:
        return Path(spool)
    local = Store(store).local
    if local is None:
        raise DataError(
            f"the store {store} is not on this machine, so events cannot go to a log there.",
            "Name a local folder for the log: --spool DIR.",
        )
    return local / SPOOL


# --- what an earlier run left ----------------------------------------------------------------------


def parts_of(spool: Path) -> list[Path]:
    """Logs that are not sealed, oldest first."""
    folder = spool / PARTS
    if not folder.is_dir():
        return []
    return sorted(each for each in folder.iterdir() if each.is_dir())


def recover(spool: Path, talk: Talk) -> list[Recovered]:
    """Make every log that an earlier run left whole; says what was lost."""
    found = []
    for log in parts_of(spool):
        part = recover_part(log)
        if part is None:
            shutil.rmtree(log)
            talk(f"{log.name}: nothing was written before the end.")
            continue
        if not part.closed_before:
            held = f"{part.n_events:,} events up to {utc_text(part.ts_last)} are kept"
            talk(f"{log.name} was not closed: {held}. {part.lost or 'Nothing is torn.'}")
        found.append(part)
    return found


def _lineage(spool: Path, left: list[Recovered], name: str, now: int) -> Lineage:
    """Go on where a capture of this name died; else begin anew, after all that was written."""
    path = spool / LINEAGE
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    seq_next = max([known.get("seq_next", 0), *(each.seq_last + 1 for each in left)])
    epoch = max([known.get("epoch", 0), *(each.epoch for each in left)])
    ts_last = max([known.get("ts_last", 0), *(each.ts_last for each in left)])
    part = max([known.get("part", 0), *(int(each.meta.get("part", 0)) for each in left)])
    if known.get("open") and known.get("name") == name:
        return Lineage(known["lineage"], seq_next, ts_last, epoch, part)
    return Lineage(f"{name}-{utc_stamp(now)}", seq_next=0)


def _tell_lineage(spool: Path, capture: Capture, *, is_open: bool) -> None:
    facts = {
        "lineage": capture.lineage.name,
        "name": capture.config.name,
        "open": is_open,
        "seq_next": capture.seq_next,
        "ts_last": capture.ts_last,
        "epoch": capture.epochs.number,
        "part": capture.lineage.part + capture.stats.parts,
        "host": platform.node(),
        "software": f"kapitaalbot {VERSION}",
    }
    temporary = spool / f".{LINEAGE}.tmp"
    temporary.write_text(json.dumps(facts, indent=1) + "\n")
    temporary.replace(spool / LINEAGE)


# --- sealing ---------------------------------------------------------------------------------------


class Sealer:
    """Seals finished parts one after the other, each in a process of its own."""

    def __init__(self, store: str | Path, spool: Path, talk: Talk) -> None:
        self._store, self._spool, self._talk = store, spool, talk
        self._waiting: list[str] = []
        self._wake = threading.Condition()
        self._ended = False
        self.sealed: list[str] = []
        self.failed: list[str] = []
        self._thread = threading.Thread(target=self._run, name="sealer", daemon=True)
        self._thread.start()

    @property
    def n_waiting(self) -> int:
        return len(self._waiting)

    def put(self, capture_id: str) -> None:
        with self._wake:
            self._waiting.append(capture_id)
            self._wake.notify()

    def close(self) -> None:
        """Return when everything is sealed or was tried."""
        with self._wake:
            self._ended = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._ended:
                    self._wake.wait()
                if not self._waiting:
                    return
                capture_id = self._waiting[0]
            # A session of its own: Ctrl-C is for the capture, which waits for this to end.
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "adapters.record",
                    str(self._store),
                    str(self._log(capture_id)),
                ],
                capture_output=True,
                text=True,
                start_new_session=True,
                env={**child_environ(), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            )
            if done.returncode == 0:
                self.sealed.append(capture_id)
                self._talk(f"sealed {capture_id}: {done.stdout.strip()}")
            else:
                self.failed.append(capture_id)
                lines = done.stderr.strip().splitlines()
                self._talk(f"{capture_id} could not be sealed: {lines[-1] if lines else 'no word'}")
            with self._wake:
                self._waiting.pop(0)

    def _log(self, capture_id: str) -> Path:
        return (self._spool / PARTS / capture_id).resolve()


def seal_part(store: str | Path, log: Path, patience_s: float = SEAL_PATIENCE_S) -> str:
    """Seal one part and remove its log; waits for another process that is at it."""
    clock = Stopwatch()
    while True:
        try:
            manifest = seal_log(log, store)
            break
        except RefusedError:
            if clock.seconds() > patience_s:
                raise
            threading.Event().wait(0.2)
    drop_log(log)
    megabytes = sum(each.bytes for each in manifest.files) / 1e6
    return f"{manifest.n_events:,} events, {len(manifest.files)} files, {megabytes:,.1f} MB"


def seal_all(store: str | Path, spool: str | Path | None, talk: Talk) -> list[str]:
    """Recover and seal everything that earlier runs left. Raises RefusedError while one runs."""
    folder = spool_of(store, spool)
    if not parts_of(folder):
        return []
    lock = Lock(folder / "writer.lock", f"the capture of {store}")
    try:
        found = recover(folder, talk)
        for each in found:
            done = seal_part(store, folder / PARTS / each.capture_id)
            talk(f"sealed {each.capture_id}: {done}")
        return [each.capture_id for each in found]
    finally:
        lock.release()


def look(store: str | Path, spool: str | Path | None = None, n_newest: int = 10) -> dict[str, Any]:
    """What a store's capture is at: who runs, which logs are not sealed, the newest captures."""
    folder = spool_of(store, spool)
    if "://" not in str(store) and not Path(store).is_dir() and not folder.is_dir():
        raise DataError(
            f"there is no store {store}: nothing was ever captured there.",
            "Give the folder that `capture run --store` names.",
        )
    parts = []
    for log in parts_of(folder):
        size = sum(each.stat().st_size for each in log.iterdir() if each.is_file())
        facts = {"part": log.name, "mb": round(size / 1e6, 1), "state": "empty", "events": 0}
        facts |= {"first": "", "last": ""}
        if is_log(log):
            report = check_log(log)
            facts["state"] = "closed" if report.closed else "open"
            facts["events"] = report.n_events
            if report.n_events:
                facts["first"], facts["last"] = utc_text(report.ts_first), utc_text(report.ts_last)
        parts.append(facts)
    path = folder / LINEAGE
    known = json.loads(path.read_text()) if path.exists() else {}
    captures = []
    if is_store(store):
        newest = sorted(list_captures(store), key=lambda each: (each.ts_last, each.capture_id))
        for each in newest[-n_newest:]:
            captures.append(
                {
                    "capture": each.capture_id,
                    "first": utc_text(each.ts_first),
                    "last": utc_text(each.ts_last),
                    "events": each.n_events,
                    "gaps": len(each.gaps),
                    "epochs": ", ".join(f"{e.number} {e.status}" for e in each.epochs[-3:]),
                    "mb": round(sum(file.bytes for file in each.files) / 1e6, 1),
                }
            )
    return {
        "store": str(store),
        "running": _holder(folder / "writer.lock"),
        "lineage": known.get("lineage", ""),
        "parts": parts,
        "captures": captures,
    }


def _holder(path: Path) -> str:
    """Who holds a lock: asked without taking it, so that looking disturbs nobody."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(file, fcntl.LOCK_UN)
        return ""
    except FileNotFoundError:
        return ""
    except OSError:
        return path.read_text().strip() or "yes"


# --- the capture -----------------------------------------------------------------------------------


def record(
    store: str | Path,
    config: CaptureConfig,
    hosts: Hosts,
    *,
    stop: Callable[[asyncio.Event], None] = lambda _: None,
    for_s: float | None = None,
    raw: bool = False,
    spool: str | Path | None = None,
    seed: int | None = None,
    clock: Clock | None = None,
    disk_free_min: int = DISK_FREE_MIN,
    rows_max: int = ROWS_MAX,
    files: Files = LOCAL_FILES,
    talk: Talk = lambda _: None,
    progress: Progress | None = None,
) -> Recorded:
    """Capture into `store` until stopped.

    stop : is given the event that ends the capture, inside the running loop (for signal handlers)
    for_s : end by itself after so many seconds; seed : of the jitter, None for any
    disk_free_min : end before the disk of the log has less than so many bytes
    progress : called twice a second with facts for a live view
    raises RefusedError if another capture writes into this store, and what `run_capture` raises.
        What was written until then is kept and sealed.
    """
    clock = clock or WallClock()
    folder = spool_of(store, spool)
    folder.mkdir(parents=True, exist_ok=True)
    lock = Lock(folder / "writer.lock", f"the capture of {store}")
    try:
        left = recover(folder, talk)
        lineage = _lineage(folder, left, config.name, clock.now())
        sealer = Sealer(store, folder, talk)
        for each in left:
            sealer.put(each.capture_id)
        keeper = Keeper(
            folder,
            config_hash=_hash(config),
            clock=clock,
            on_part=sealer.put,
            rows_max=rows_max,
            raw=raw,
            files=files,
        )
        taken = [each.capture_id for each in left]
        if is_store(store):
            taken += capture_ids(Store(store))
        capture = Capture(config, keeper, random.Random(seed).random, lineage, taken)
        watch = _Watch(capture, keeper, sealer, folder, clock, disk_free_min, progress)
        failure: BaseException | None = None
        try:
            asyncio.run(_run(capture, keeper, hosts, clock, watch, stop, for_s))
        except BaseException as error:
            failure = error
        seconds = watch.seconds
        if failure is None and capture.instruments is None and for_s is not None:
            heard = [note.text for _, note in capture.stats.notes]
            failure = VenueError(
                f"nothing was captured in {for_s:g} s: {heard[-1] if heard else 'no answer yet'}.",
                "Is the network up, and the address right? Give it more time.",
            )
        try:
            keeper.close()
        except BaseException as error:
            failure = failure or error
        sealer.close()
        _tell_lineage(folder, capture, is_open=failure is not None)
        if failure is not None:
            raise failure
    finally:
        lock.release()
    return Recorded(
        lineage=lineage.name,
        captures=sealer.sealed,
        unsealed=sealer.failed,
        n_events=capture.stats.events,
        n_gaps=capture.stats.gaps,
        n_frames=sum(each.n_frames for each in capture.sessions),
        n_dropped=sum(each.counts["dropped frames"] for each in capture.sessions),
        seconds=round(seconds, 3),
        epoch=capture.epochs.word,
    )


async def _run(
    capture: Capture,
    keeper: Keeper,
    hosts: Hosts,
    clock: Clock,
    watch: _Watch,
    stop: Callable[[asyncio.Event], None],
    for_s: float | None,
) -> None:
    collect_often()
    ended = asyncio.Event()
    stop(ended)
    watching = asyncio.create_task(watch.run(ended, for_s))
    running = asyncio.create_task(run_capture(capture, keeper, hosts, clock, ended))
    try:
        await asyncio.wait((watching, running), return_when=asyncio.FIRST_COMPLETED)
        if watching.done() and watching.exception() is not None:
            # The disk is nearly full: end in order, while there is room to do so.
            ended.set()
            await running
            raise watching.exception() or StorageError("the watch ended.")
        await running
    finally:
        watching.cancel()
        running.cancel()
        await asyncio.gather(watching, running, return_exceptions=True)


class _Watch:
    """Looks twice a second: facts for a view, the disk, the time that was given."""

    def __init__(
        self,
        capture: Capture,
        keeper: Keeper,
        sealer: Sealer,
        folder: Path,
        clock: Clock,
        disk_free_min: int,
        progress: Progress | None,
    ) -> None:
        self._capture, self._keeper, self._sealer = capture, keeper, sealer
        self._folder, self._clock, self._progress = folder, clock, progress
        self._disk_free_min = disk_free_min
        self._stopwatch = Stopwatch()
        self._before: tuple[float, int, int, int] = (0.0, 0, 0, 0)
        self._told = -1

    @property
    def seconds(self) -> float:
        return self._stopwatch.seconds()

    async def run(self, ended: asyncio.Event, for_s: float | None) -> None:
        while True:
            if for_s is not None and self.seconds >= for_s:
                ended.set()
            if self._capture.stats.parts != self._told:
                self._told = self._capture.stats.parts
                _tell_lineage(self._folder, self._capture, is_open=True)
            free = shutil.disk_usage(self._folder).free
            if free < self._disk_free_min:
                raise StorageError(
                    f"the disk of {self._folder} has {free / 1e6:,.0f} MB left; the capture ended "
                    f"in order at {self._disk_free_min / 1e6:,.0f} MB.",
                    "Free space or move captures away, then start it again.",
                )
            if self._progress is not None:
                self._progress(self.facts(free))
            wait = 0.5 if for_s is None else max(0.0, min(0.5, for_s - self.seconds))
            await asyncio.sleep(wait if not ended.is_set() else 0.5)

    def facts(self, free: int) -> dict[str, Any]:
        """What there is to see right now, rates over the last half second."""
        capture, keeper = self._capture, self._keeper
        frames = sum(each.n_frames for each in capture.sessions)
        n_bytes = sum(each.n_bytes for each in capture.sessions)
        seconds = self.seconds
        before = self._before
        span = max(seconds - before[0], 1e-3)
        self._before = (seconds, frames, n_bytes, capture.stats.events)
        now = self._clock.now()
        verified = failed = 0
        symbols = capture.instruments.symbols if capture.instruments else ()
        for feed in capture.feeds:
            for symbol in symbols:
                for channel in ("book", "level3"):
                    right, wrong, _ = feed.counts(symbol, channel)
                    verified, failed = verified + right, failed + wrong
        facts = capture.facts(now) if capture.instruments else None
        return {
            "seconds": round(seconds, 1),
            "lineage": capture.lineage.name,
            "epoch": capture.epochs.number,
            "verdict": capture.epochs.word,
            "symbols": len(symbols),
            "symbols_verified": facts.n_verified if facts else 0,
            "connections": [each.phase.value for each in capture.sessions],
            "subscriptions": _sum(each.subscriptions.count() for each in capture.sessions),
            "frames": frames,
            "frames_per_s": round((frames - before[1]) / span, 1),
            "bytes_per_s": round((n_bytes - before[2]) / span),
            "events": capture.stats.events,
            "events_per_s": round((capture.stats.events - before[3]) / span, 1),
            "checksums_right": verified,
            "checksums_wrong": failed,
            "gaps": capture.stats.gaps,
            "resyncs": sum(each.counts["resyncs"] for each in capture.sessions),
            "reconnects": max(
                0,
                sum(each.counts["connections"] for each in capture.sessions)
                - len(capture.sessions),
            ),
            "dropped_frames": sum(each.counts["dropped frames"] for each in capture.sessions),
            "decode_lag_ms": round(capture.stats.decode_lag_ns / 1e6, 1),
            "writer_lag_ms": round(keeper.lag_ns(now) / 1e6, 1),
            "clock_offset_ms": _offset(capture),
            "rows_waiting": keeper.n_waiting,
            "disk_free_gb": round(free / 1e9, 2),
            "parts": capture.stats.parts,
            "parts_sealed": len(self._sealer.sealed),
            "parts_waiting": self._sealer.n_waiting,
            "notes": [
                f"{utc_text(ts)[11:19]} {note.text}" for ts, note in capture.stats.notes[-5:]
            ],
            "done": all(each.phase is Phase.STOPPED for each in capture.sessions),
        }


def _sum(counts: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, n in each.items():
            total[name] = total.get(name, 0) + n
    return total


def _offset(capture: Capture) -> float | None:
    offset = capture.sessions[0].clock_offset
    return None if offset is None else round(offset / 1e6, 3)


def _hash(config: CaptureConfig) -> str:
    facts = {**asdict(config), "deny": sorted(config.deny), "channels": dict(config.channels)}
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


if __name__ == "__main__":
    print(seal_part(sys.argv[1], Path(sys.argv[2])))
