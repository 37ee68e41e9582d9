"""What is left of a session, and what can be made of it again?

A session's folder holds, beside what every run has, `session.json` (what it was started with),
`log/` (all that its core learned and decided) and `state/` (the core it began with, snapshots on
the way, the core at its end). From those three the core is rebuilt: for a proof (`verify`), for the
tables of a session that died (`finish`), for the next session (`last_state`). Left out: running one
(live.py).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np

from adapters.runs import make_manifest, table_sink, write_json
from engine.config import config_hash, make_profile
from engine.core.state import Core, make_core
from engine.errors import ConfigError, DataError, MismatchError, RefusedError
from engine.events import BALANCE, ORDER_ACK, ORDER_FILL, ORDER_PENDING, ORDER_TRAILED, empty
from engine.flow.advance import make_link
from engine.flow.driver import World
from engine.flow.log import LogReader, check_log, recover_log
from engine.flow.recorder import Recorder
from engine.instruments import InstrumentTable
from engine.jit import KERNEL_DIGEST
from engine.plugins import Family, load_plugins, plugin_tuple
from engine.reports.manifest import LATEST, MANIFEST_NAME
from engine.reports.summary import RunSummary
from engine.session.loop import end_of_stream
from engine.session.paper import PaperGateway
from engine.session.state import StateHeader, core_arrays, load_state, restore_core, save_state
from engine.session.verify import Difference, Followed, follow_log
from engine.venue.state import make_venue

SESSION_NAME: Final = "session.json"
SESSION_VERSION: Final = 1
LOG: Final = "log"
STATE: Final = "state"
OPENING: Final = "opening.state"
FINAL: Final = "final.state"
APPLIED: Final = "applied"  # in the opening state: the fills that sessions before have applied
APPLIED_MAX: Final = 100_000  # keys; the newest are kept

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Started:
    """What a session was started with; `session.json`. Nothing in it is secret.

    given : the profile as nested keys, without what is secret or lies elsewhere
    previous : id of the run whose core this one took up, empty if none
    """

    mode: str
    name: str
    account: str
    config_hash: str
    given: dict[str, Any]
    instruments: InstrumentTable
    depth: int
    timer_ns: int
    started: int
    kernels: str
    previous: str = ""
    version: int = SESSION_VERSION

    def write(self, folder: Path) -> None:
        facts = dict(vars(self)) | {"instruments": self.instruments.to_json()}
        write_json(folder / SESSION_NAME, _plain(facts))

    @classmethod
    def read(cls, folder: Path) -> Started:
        """Raises DataError where the folder is no session's, or of another version."""
        path = folder / SESSION_NAME
        try:
            # Numbers as they were written, so that the profile comes to the same again.
            facts = json.loads(path.read_bytes(), parse_float=Decimal)
            version = facts["version"]
        except FileNotFoundError:
            raise DataError(
                f"{folder} holds no {SESSION_NAME}: it is not the run of a session.",
                "Sessions are made by `run shadow`, `run paper` and `run live`.",
            ) from None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path} cannot be read: {error}.") from error
        if version != SESSION_VERSION:
            raise DataError(
                f"{path} has version {version}; this program reads {SESSION_VERSION}.",
                "Read it with the program that wrote it.",
            )
        facts["instruments"] = InstrumentTable.from_json(facts["instruments"])
        return cls(**facts)

    @property
    def profile(self) -> Any:
        return make_profile(self.given)

    def must_fit(self) -> None:
        """Raise DataError unless this program has the kernels that the session ran with."""
        if self.kernels != KERNEL_DIGEST:
            raise DataError(
                f"the session ran with kernels {self.kernels[:16]}, this program has "
                f"{KERNEL_DIGEST[:16]}: it may decide otherwise.",
                "Check out the version that its manifest names, and try again there.",
            )


def _plain(value: Any) -> Any:
    """What TOML gave, as JSON has it; a float's shortest text has the digits of the Decimal."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, date | time) else value


@dataclass
class Built:
    """A core as a session began with it, its simulated venue where there is one.

    applied : int64, keys of the fills that the sessions before have applied, oldest first
    """

    started: Started
    profile: Any
    plugins: tuple[Family, ...]
    core: Core
    paper: PaperGateway | None
    applied: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def build_core(
    started: Started, params: np.ndarray, cash: int, plugins: tuple[Family, ...]
) -> Core:
    depths = np.full(len(started.instruments), started.depth, np.int64)
    return make_core(started.instruments.rows(), params, cash, depths, plugin_tuple(plugins))


def build_paper(started: Started, core: Core, venue_params: np.ndarray, cash: int) -> PaperGateway:
    """The simulated venue of a paper session."""
    rows, depths = started.instruments.rows(), np.full(len(started.instruments), started.depth)
    venue = make_venue(rows, venue_params, cash=cash, depth=depths)
    row = venue_params[0]
    link = make_link(int(row["feed_ns"]), int(row["entry_min_ns"]), int(row["response_min_ns"]), 0)
    World(core, venue, link)  # links the stages that run a venue
    return PaperGateway(venue, link, core.calls)


def save_opening(
    folder: Path,
    started: Started,
    core: Core,
    paper: PaperGateway | None,
    venue_params: np.ndarray,
    applied: np.ndarray,
) -> None:
    """Write the state that a session begins with: core, parameters, simulated venue, old fills."""
    arrays = {**core_arrays(core), "params": core.params, "venue_params": venue_params}
    arrays[APPLIED] = applied
    if paper is not None:
        arrays |= paper.arrays()
    save_state(folder / STATE / OPENING, header_of(folder, started, -1, core), arrays)


def header_of(folder: Path, started: Started, seq: int, core: Core) -> StateHeader:
    return StateHeader(
        log_id=folder.name,
        seq=seq,
        ts=int(core.glob[0]["now"]),
        config_hash=started.config_hash,
        kernels=started.kernels,
        mode=started.mode,
        symbols=started.instruments.symbols,
    )


def open_session(folder: Path) -> Built:
    """The core and venue as the session in `folder` began with them. Raises DataError."""
    started = Started.read(folder)
    started.must_fit()
    profile = started.profile
    plugins = load_plugins(profile.plugins)
    found = config_hash(profile, tuple(each.digest for each in plugins))
    if found != started.config_hash:
        raise DataError(
            f"the configuration of {folder.name} comes to {found[:16]}, the session ran with "
            f"{started.config_hash[:16]}.",
            "A user family may have changed since: take back its source.",
        )
    _, arrays = load_state(folder / STATE / OPENING)
    core = build_core(started, arrays["params"], int(profile.run.cash), plugins)
    core.params[:] = arrays["params"]
    restore_core(core, arrays)
    paper = None
    if started.mode == "paper":
        paper = build_paper(started, core, arrays["venue_params"], int(profile.run.cash))
        paper.restore(arrays)
    return Built(started, profile, plugins, core, paper, arrays[APPLIED])


def find_session(name: Path | str, runs: Path | str = "runs") -> Path:
    """The folder of the session that `name` means: a run's folder, its id under `runs`, `latest`.

    A session that died has no manifest yet, and is found all the same. Raises ConfigError.
    """
    given, place = Path(name), Path(runs)
    if given.name == LATEST and not given.exists():
        place = given.parent if given.parent != Path(".") else place
        known = _sessions(place)
        if known:
            return known[-1]
    for folder in (given, place / given):
        if (folder / SESSION_NAME).is_file():
            return folder
        if folder.is_dir():
            Started.read(folder)  # says that it is the run of no session
    ids = [each.name for each in _sessions(place)]
    near = difflib.get_close_matches(given.name, ids, 3, 0.3)
    raise ConfigError(
        f"there is no session {str(name)!r}, neither as a folder nor under {place}.",
        f"Nearest: {', '.join(near)}."
        if near
        else "Sessions are made by `run shadow`, `run paper` and `run live`.",
    )


def _sessions(place: Path) -> list[Path]:
    """Folders of sessions, oldest first: their names begin with the time."""
    if not place.is_dir():
        return []
    return sorted(each for each in place.iterdir() if (each / SESSION_NAME).is_file())


# --- verify ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verified:
    """What reading a session's log again came to. expected : digest that the session stated, or ""."""

    folder: Path
    mode: str
    digest: str
    expected: str
    n_events: int
    n_commands: int
    seconds: float
    difference: Difference | None = None
    symbols: tuple[str, ...] = ()
    tables: tuple[str, ...] = field(default=())  # that differ, where the digests do

    @property
    def ok(self) -> bool:
        return self.difference is None and self.expected in ("", self.digest)


def verify(
    folder: Path, progress: Progress | None = None, seconds: Callable[[], float] = lambda: 0.0
) -> Verified:
    """Step a fresh core through the session's log and compare every command and record.

    raises DataError where the log cannot be believed or belongs to another version
    """
    built = open_session(folder)
    manifest = _manifest(folder)
    report = check_log(folder / LOG)
    torn = manifest is None or not report.closed
    recorder = Recorder()
    found = follow_log(
        built.core, log_batches(folder, torn), recorder, torn=torn, progress=progress
    )
    if found.difference is None:
        end_of_stream(built.core, recorder)
    expected = "" if manifest is None else str(manifest["digest"])
    tables: tuple[str, ...] = ()
    if manifest is not None and found.difference is None:
        stated = manifest["table_digests"]
        tables = tuple(
            name
            for name, digest in recorder.digest.table_digests().items()
            if stated[name] != digest
        )
    return Verified(
        folder, built.started.mode, recorder.digest.hexdigest(), expected, found.n_events,
        found.n_commands, seconds(), found.difference, built.started.instruments.symbols, tables,
    )  # fmt: skip


def _manifest(folder: Path) -> dict[str, Any] | None:
    path = folder / MANIFEST_NAME
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def log_batches(folder: Path, torn: bool) -> Iterator[np.ndarray]:
    reader = LogReader(folder / LOG, tail="stop" if torn else "refuse")
    yield from without_half_a_fill(reader) if torn else reader


def without_half_a_fill(batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """A log that was cut off may end between a fill and its fee: then it has not heard of the fill.

    The venue tells it again, whole; an execution that is half known would be passed over.
    """
    held = empty(0)
    for batch in batches:
        yield held
        held = batch
    n = len(held)
    while n and held["kind"][n - 1] == ORDER_FILL:
        n -= 1
    yield held[:n]


# --- what a session left --------------------------------------------------------------------------


@dataclass
class Left:
    """The core at the end of a session, however it ended. recovered : what was cut off, or "".

    applied : int64, keys (`aux`) of the fills that it and the sessions before have applied. A core
        remembers those of its newest orders only, and the venue tells the last minutes again.
    """

    built: Built
    followed: Followed
    recovered: str
    applied: np.ndarray


def last_state(folder: Path, *, from_start: bool = False, recorder: Recorder | None = None) -> Left:
    """Rebuild the core of the session in `folder` at the end of its log.

    from_start : read the whole log, also where a snapshot would do
    raises DataError where the log is damaged in a way that no crash explains, or where the core
        would decide otherwise than the session did; RefusedError while the session still runs
    """
    built = open_session(folder)
    recovered = ""
    # Proven once here and once more while it is followed: a log of a day is long.
    report = check_log(folder / LOG)
    if report.damage is not None:
        done = recover_log(folder / LOG, only_torn=True)
        recovered, report = done.text(), done.report
    # Whoever was interrupted may have ended its log right after a row that made it decide.
    torn = not report.closed or not (folder / STATE / FINAL).is_file()
    after = -1 if from_start else _take_snapshot(folder, built, report.seq_last)
    counted = _Answers(built.paper)
    recorder = recorder or Recorder()
    applied = [built.applied]
    found = follow_log(
        built.core,
        noting_fills(log_batches(folder, torn), applied),
        recorder,
        after=after,
        torn=torn,
        taken=counted.taken,
        commanded=counted.commanded,
    )
    if found.difference is not None:
        raise MismatchError(
            f"the log of {folder.name} does not replay: "
            f"{found.difference.text(built.started.instruments.symbols)}",
            "Nothing can be built on it. `kapitaalbot run verify` shows the same; report it.",
        )
    recorder.drain(built.core)
    counted.finish(int(built.core.glob[0]["now"]))
    return Left(built, found, recovered, np.concatenate(applied)[-APPLIED_MAX:])


def noting_fills(batches: Iterable[np.ndarray], keys: list[np.ndarray]) -> Iterator[np.ndarray]:
    """The batches as they come; the keys of their fills are added to `keys`."""
    for batch in batches:
        if len(fills := batch["aux"][batch["kind"] == ORDER_FILL]):
            keys.append(fills)
        yield batch


class _Answers:
    """The simulated venue beside a log that is read again: what it was told, what it answered."""

    def __init__(self, paper: PaperGateway | None) -> None:
        self._paper = paper
        self._n = 0

    def taken(self, rows: np.ndarray) -> None:
        if self._paper is None or not len(rows):
            return
        self._paper.heard(rows)
        kinds = rows["kind"]
        own = ((kinds >= ORDER_ACK) & (kinds <= ORDER_PENDING)) | (kinds == BALANCE)
        own |= kinds == ORDER_TRAILED
        self._n += int(np.count_nonzero(own))

    def commanded(self, commands: np.ndarray) -> None:
        if self._paper is not None:
            self._paper.carry(commands, int(commands["ts"][-1]))

    def finish(self, now: int) -> None:
        if self._paper is not None:
            self._paper.skip(self._n, now)


def _take_snapshot(folder: Path, built: Built, seq_last: int) -> int:
    """Restore the newest state that can be believed; the seq after which the log goes on.

    seq_last : where the log ends: a state that is further on belongs to what was lost
    """
    # The one of its end, then the newest: a name is the place in the log.
    for path in sorted((folder / STATE).glob("*.state"), reverse=True):
        if path.name == OPENING:
            continue
        try:
            header, arrays = load_state(path)
        except DataError:
            continue  # a damaged snapshot costs time, nothing else
        if header.log_id == folder.name and header.seq <= seq_last:
            restore_core(built.core, arrays)
            if built.paper is not None:
                built.paper.restore(arrays)
            return header.seq
    return -1


def finish(folder: Path) -> dict[str, Any]:
    """Write tables and manifest of a session that died before it could. Returns the manifest.

    raises RefusedError where it has its manifest already
    """
    if _manifest(folder) is not None:
        raise RefusedError(
            f"{folder.name} ended by itself and has its manifest: there is nothing to finish.",
            "`kapitaalbot run show` prints it, `kapitaalbot run verify` proves it.",
        )
    built = open_session(folder)
    if check_log(folder / LOG).damage is not None:
        recover_log(folder / LOG, only_torn=True)
    summary = RunSummary(built.started.instruments.symbols, built.profile.run.quote)
    recorder = Recorder(lambda name, dtype: table_sink(folder, name, dtype), summary.observe)
    try:
        found = follow_log(built.core, log_batches(folder, True), recorder, torn=True)
        if found.difference is not None:
            raise MismatchError(
                f"the log of {folder.name} does not replay: "
                f"{found.difference.text(built.started.instruments.symbols)}",
                "`kapitaalbot run verify` shows the same; report it.",
            )
        end_of_stream(built.core, recorder)
        recorder.close()
    except BaseException:
        recorder.abort()
        raise
    manifest = session_manifest(folder, built, recorder, summary, found, 0.0)
    manifest["died"] = True
    write_json(folder / MANIFEST_NAME, manifest)
    return manifest


def session_manifest(
    folder: Path,
    built: Built,
    recorder: Recorder,
    summary: RunSummary,
    found: Followed,
    seconds: float,
) -> dict[str, Any]:
    """The manifest of a session that has ended."""
    started = built.started
    report = check_log(folder / LOG)
    manifest = make_manifest(
        mode=started.mode,
        profile=built.profile,
        config=started.config_hash,
        plugins=built.plugins,
        instruments=started.instruments,
        digest=recorder.digest,
        capture={
            "log": LOG,
            "log_id": folder.name,
            "chain": report.chain,
            "n_events": report.n_events,
        },
        summary=summary.facts(
            built.core.glob[0],
            found.ts_first,
            found.ts_last,
            found.n_events,
            int(built.profile.run.cash),
        ),
        started=started.started,
        seconds=seconds,
    )
    return manifest | {"account": started.account, "previous": started.previous}
