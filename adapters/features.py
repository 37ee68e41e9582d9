"""Which run gets its feature vectors written down, and how is it made to happen again?

`take_features` replays a run as it was: a simulated one from its capture and frozen configuration, a
session from its own log. The digest (or, of a session that still runs, every command) must come out
the same, or nothing is written. Parses nothing and prints nothing; progress goes to a callback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from adapters.parquet.vectors import VectorWriter
from adapters.replay import Prepared, prepare
from adapters.session_market import SessionMarket
from adapters.sessions import LOG, SESSION_NAME, log_batches, open_session
from adapters.sofar import run_folder
from engine.config import config_hash, merge_layers, parse_duration, read_frozen
from engine.core.columns import FEATURE_VERSION
from engine.core.state import Core
from engine.errors import ConfigError, DataError, MismatchError
from engine.flow.driver import drive
from engine.flow.log import check_log
from engine.jit import KERNEL_DIGEST
from engine.plugins import Family
from engine.reports.manifest import FEATURES_NAME, MANIFEST_NAME, read_manifest
from engine.research.snapshots import Plan, Quality, Snapshots, Watching, step_by_step
from engine.session.loop import end_of_stream
from engine.session.verify import follow_log

BUDGET: Final = 20_000  # rows per hour
# Parts of the market that a run follows only where a family reads them.
PARTS: Final = (
    *("features_vwap", "features_minutes", "features_bursts", "features_refill", "features_level3"),
)
AT: Final = ("decisions", "entries", "fills")
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Taken:
    """What was written. facts : plan, run and quality, as in the file's metadata"""

    path: Path
    facts: dict[str, Any]


def make_plan(
    symbols: tuple[str, ...],
    every: str | None = None,
    broad: str | None = None,
    at: Iterable[str] | None = None,
    wanted: Iterable[str] = (),
    budget: int = BUDGET,
) -> Plan:
    """A plan from words: `every="5s"`, `at=("decisions", "fills")`. Nothing given: all of it.

    raises ConfigError for a word or duration that is not known, UnknownSymbolError for a symbol
    """
    if every is None and broad is None and at is None:
        every, broad, at = "5s", "60s", ("decisions", "fills")
    moments = frozenset(at or ())
    if unknown := moments - set(AT):
        raise ConfigError(
            f"--at {', '.join(sorted(unknown))} is not known.", f"Give {', '.join(AT)}."
        )
    try:
        every_ns, broad_ns = (
            0 if text is None else parse_duration(text) for text in (every, broad)
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    missing = sorted(set(wanted) - set(symbols))
    if missing:
        raise ConfigError(
            f"the run does not trade {', '.join(missing)}.", f"It has {', '.join(symbols)}."
        )
    rows = frozenset(symbols.index(each) for each in wanted) or None
    return Plan(
        every_ns=every_ns,
        broad_ns=broad_ns,
        decisions="decisions" in moments,
        entries="entries" in moments,
        fills="fills" in moments,
        rows=rows,
        budget=budget,
    )


def take_features(
    run: Path | str = "latest",
    runs: Path | str = "runs",
    *,
    every: str | None = None,
    broad: str | None = None,
    at: Iterable[str] | None = None,
    symbols: Iterable[str] = (),
    budget: int = BUDGET,
    whole: bool = False,
    out: Path | str | None = None,
    store: str | None = None,
    plugins: tuple[Family, ...] = (),
    progress: Progress | None = None,
) -> Taken:
    """Replay a run and write the whole feature vector of its symbols to a Parquet table.

    every, broad : cadence for the traded universe, and for all symbols of the run, as in "5s"
    at : "decisions" (a family saw an opportunity), "entries", "fills"; nothing given: every 5s, broad
        60s, decisions and fills
    budget : most rows per hour; the broad cadence is thinned first, fills never. 0: no bound
    whole : also follow what the run did not, so that no column is empty for want of a switch
    out : file to write, by default features.parquet in the run's folder
    store : where the capture lies now; plugins : user families, where the run was given objects
    progress : called with (events done, events in all or 0, ts of the newest)
    raises ConfigError, DataError, StorageError; MismatchError where the run does not come out the same
    """
    folder = run_folder(run, runs)
    session = (folder / SESSION_NAME).is_file()
    took = _Taking(
        folder, out, lambda names: make_plan(names, every, broad, at, symbols, budget), whole
    )
    return _of_session(took, progress) if session else _of_replay(took, store, plugins, progress)


@dataclass
class _Taking:
    """One table in the making."""

    folder: Path
    out: Path | str | None
    plan_of: Callable[[tuple[str, ...]], Plan]
    whole: bool

    def begin(self, core: Core, symbols: tuple[str, ...]) -> None:
        self.plan = self.plan_of(symbols)
        if self.whole:
            for name in PARTS:
                core.params[0][name] = 1
        self.plan.check(int(core.params[0]["evaluation_interval_ns"]))
        path = Path(self.out) if self.out is not None else self.folder / FEATURES_NAME
        self.writer = VectorWriter(path, symbols)
        self.symbols = symbols
        self.snapshots = Snapshots(core, self.plan, self.writer.append)
        self.recorder = Watching(core, self.snapshots.look)

    def must_be(self, manifest: dict[str, Any]) -> None:
        """Raise MismatchError unless the run came out as it did."""
        digest = self.recorder.digest.hexdigest()
        if digest == manifest["digest"]:
            return
        made = manifest["software"]["kernels"]
        hint = "Replay its profile with this program, or take the version that its manifest names."
        if self.whole:
            hint = "Leave out --whole: what it follows besides may have moved a record. " + hint
        other = f" It was made by kernels {made[:16]}, these are {KERNEL_DIGEST[:16]}."
        raise MismatchError(
            f"the run does not come out the same: digest {digest[:16]}, it had "
            f"{manifest['digest'][:16]}.{'' if made == KERNEL_DIGEST else other}",
            hint,
        )

    def end(self, of: dict[str, Any]) -> Taken:
        quality: Quality = self.snapshots.finish()
        plan = asdict(self.plan) | {"whole": self.whole}
        rows = self.plan.rows
        plan["symbols"] = [self.symbols[i] for i in sorted(rows)] if rows else list(self.symbols)
        del plan["rows"]
        facts = {"version": FEATURE_VERSION, "run": of, "plan": plan, "quality": quality.facts()}
        self.writer.close(facts)
        return Taken(self.writer.path, facts)


def _of_replay(
    took: _Taking, store: str | None, plugins: tuple[Family, ...], progress: Progress | None
) -> Taken:
    manifest = read_manifest(took.folder)
    prepared = prepared_again(manifest, store, plugins)
    world = prepared.world()
    took.begin(world.core, prepared.instruments.symbols)
    n_events = prepared.capture.n_events
    try:
        batches = prepared.batches()
        if prepared.capture.has_timers:
            batches = step_by_step(world.core, took.recorder, batches)
        drive(
            batches,
            world,
            took.recorder,
            None if progress is None else lambda n, ts: progress(n, n_events, ts),
        )
        took.must_be(manifest)
        return took.end(_identity(manifest))
    except BaseException:
        took.writer.abort()
        raise


def prepared_again(
    manifest: dict[str, Any],
    store: str | None = None,
    plugins: tuple[Family, ...] = (),
    looking: Mapping[str, Any] | None = None,
) -> Prepared:
    """What stood before the first event of the simulated run that `manifest` is of.

    looking : keys that win over the run's own, for whoever wants its market and not the run
    raises DataError where capture or configuration are no longer what they were
    """
    source = manifest["capture"]
    place = store or source["place"]
    market = SessionMarket(Path(place)) if source["kind"] == "session" else None
    given: dict[str, Any] = {} if market is not None else {"capture": {"path": place}}
    if market is None and "id" in source:
        given["capture"]["id"] = source["id"]  # a store may have got more captures since
    config = manifest["config"]
    if looking is not None:
        # Families, a user's own among them, have no part in it.
        config = {key: each for key, each in config.items() if key not in ("families", "plugins")}
    profile = read_frozen(config, merge_layers(given, looking or {}))
    prepared = prepare(profile, plugins, market)
    found = prepared.capture.identity()
    moved = {"place", "torn", "notes", "log_events"}
    changed = [key for key in source if key not in moved and source[key] != found.get(key)]
    if changed:
        raise DataError(
            f"the capture at {place} is not the one that the run was made from: "
            f"{', '.join(changed)} differ.",
            "Say where the same data lies now with --store, or replay its profile.",
        )
    if looking is not None:
        return prepared
    digests = tuple(each.digest for each in prepared.plugins)
    if config_hash(read_frozen(manifest["config"]), digests) != manifest["config_hash"]:
        raise DataError(
            "the configuration of the run does not come to its hash again: a user family changed, or "
            "another version wrote it.",
            "Take back the family's source, or check out the version that its manifest names.",
        )
    return prepared


def _of_session(took: _Taking, progress: Progress | None) -> Taken:
    folder = took.folder
    ended = (folder / MANIFEST_NAME).is_file()
    manifest = read_manifest(folder) if ended else None
    built = open_session(folder)
    report = check_log(folder / LOG)
    torn = manifest is None or not report.closed
    took.begin(built.core, built.started.instruments.symbols)
    try:
        done = 0

        def told(batches: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
            nonlocal done
            for batch in batches:
                yield batch
                done += len(batch)
                if progress is not None:
                    progress(done, report.n_events, int(batch["ts"][-1]) if len(batch) else 0)

        pieces = step_by_step(built.core, took.recorder, told(log_batches(folder, torn)))
        found = follow_log(built.core, pieces, took.recorder, torn=torn)
        if found.difference is not None:
            raise MismatchError(
                f"the log of {folder.name} does not replay: "
                f"{found.difference.text(built.started.instruments.symbols)}",
                "`kapitaalbot run verify` shows the same; report it.",
            )
        end_of_stream(built.core, took.recorder)
        if manifest is not None:
            took.must_be(manifest)
            return took.end(_identity(manifest))
        return took.end(
            {
                "mode": built.started.mode,
                "digest": None,
                "config_hash": built.started.config_hash,
                "events": found.n_events,
            }
        )
    except BaseException:
        took.writer.abort()
        raise


def _identity(manifest: dict[str, Any]) -> dict[str, Any]:
    return {key: manifest[key] for key in ("mode", "digest", "config_hash")}
