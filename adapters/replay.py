"""How is a replay put together? Profile, capture, core, venue and run folder, joined in one call.

The composition that the command line, notebooks and tests share: `replay(profile)` returns the
opened run. It parses nothing and prints nothing; progress goes to a callback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adapters.parquet.reader import EventSource, open_events
from adapters.parquet.tables import TableWriter
from adapters.runs import make_manifest, new_folder, table_sink, write_json
from adapters.session_market import SessionMarket
from engine.clock import Stopwatch, WallClock
from engine.config import (
    config_hash,
    make_params,
    make_profile,
    make_venue_params,
    merge_layers,
    read_config,
)
from engine.core.params import timer_grid_ns
from engine.core.state import SYMBOLS_MAX, make_core
from engine.errors import ConfigError, DataError, MismatchError
from engine.events import BOOK_LEVEL, MESSAGE_END, VERIFIED
from engine.flow.advance import make_link
from engine.flow.books import CHECKSUM_RIGHT, CHECKSUM_WRONG, FINE, follow_books, make_books
from engine.flow.driver import World, drive
from engine.flow.recorder import Recorder
from engine.flow.window import DepthWindow
from engine.instruments import InstrumentTable
from engine.plugins import Family, load_plugins, plugin_tuple
from engine.reports.summary import RunSummary
from engine.venue.state import make_venue

DEPTH_DEFAULT = 100  # levels kept per side of a full-depth feed, unless the profile says


@dataclass(frozen=True)
class Replayed:
    """A finished replay: where it lies and what it came to."""

    folder: Path | None
    manifest: dict[str, Any]

    @property
    def digest(self) -> str:
        return str(self.manifest["digest"])

    @property
    def summary(self) -> dict[str, Any]:
        return dict(self.manifest["summary"])


@dataclass(frozen=True)
class Prepared:
    """Everything that stands before the first event."""

    profile: Any
    capture: Any
    instruments: InstrumentTable
    batches: Callable[[], Iterator[np.ndarray]]
    plugins: tuple[Family, ...]
    config_hash: str

    def world(self) -> World:
        """A fresh world that has seen nothing."""
        params = make_params(self.profile, self.plugins)
        venue_params = make_venue_params(self.profile)
        cash = int(self.profile.run.cash)
        depths = np.array([self._depth(symbol) for symbol in self.instruments.symbols], np.int64)
        core = make_core(self.instruments.rows(), params, cash, depths, plugin_tuple(self.plugins))
        venue = make_venue(self.instruments.rows(), venue_params, cash=cash, depth=depths)
        row = venue_params[0]
        # The core expects the fees of the tier that the account is in, as the venue charges them.
        core.glob[0]["volume"] = row["volume_start"]
        link = make_link(
            int(row["feed_ns"]),
            int(row["entry_min_ns"]),
            int(row["response_min_ns"]),
            0 if self.capture.has_timers else timer_grid_ns(params),
        )
        return World(core, venue, link)

    def _depth(self, symbol: str) -> int:
        depth = self.capture.depth(symbol)
        return int(depth or self.profile.capture.depth or DEPTH_DEFAULT)


def _select(
    capture: Any, wanted: tuple[str, ...], quote: str
) -> tuple[InstrumentTable, np.ndarray | None]:
    """Instruments of the run and, if renumbered, the map from capture rows to run rows."""
    table = capture.instruments
    symbols = tuple(table[each].symbol for each in wanted) or capture.symbols
    other = [each for each in symbols if table[each].quote != quote]
    if other and wanted:
        raise ConfigError(
            f"{', '.join(other)} is not quoted in {quote}: a run has one quote currency.",
            "Set run.quote in the profile, or choose other symbols.",
        )
    symbols = tuple(each for each in symbols if each not in other)
    if not symbols:
        raise ConfigError(
            f"the capture has no symbol quoted in {quote}.",
            f"Set run.quote in the profile; the capture holds {', '.join(capture.symbols)}.",
        )
    if len(symbols) > SYMBOLS_MAX:
        raise ConfigError(
            f"{len(symbols)} symbols in one run, the core holds {SYMBOLS_MAX}.",
            "Name the ones you want in capture.symbols.",
        )
    if symbols == table.symbols:
        return table, None
    renumbered = np.full(len(table), -1, np.int16)
    for row, symbol in enumerate(symbols):
        renumbered[table.index(symbol)] = row
    return InstrumentTable(table[each] for each in symbols), renumbered


def _renumber(batches: Iterable[np.ndarray], rows: np.ndarray) -> Iterator[np.ndarray]:
    for batch in batches:
        about_one = batch["sym"] >= 0
        keep = ~about_one | (rows[batch["sym"]] >= 0)
        kept = batch[keep]
        named = kept["sym"] >= 0
        kept["sym"][named] = rows[kept["sym"][named]]
        yield kept


def prepare(
    profile: Any,
    plugins: tuple[Family, ...] = (),
    source: SessionMarket | None = None,
) -> Prepared:
    """Open the capture of `profile` and check that both fit together.

    plugins : user families beside those the profile names
    source : the market of a session, in place of the capture; the profile's section is ignored
    """
    families = (*load_plugins(profile.plugins), *plugins)
    capture: EventSource
    if source is not None:
        capture = source
        instruments, rows = _select(capture, (), profile.run.quote)
    else:
        capture = open_events(
            profile.capture.path,
            capture_id=profile.capture.id,
            symbols=profile.capture.symbols or None,
            start=profile.capture.start,
            end=profile.capture.end,
        )
        instruments, rows = _select(capture, profile.capture.symbols, profile.run.quote)
    depth = int(profile.capture.depth or DEPTH_DEFAULT)
    full = [row for row, each in enumerate(instruments.symbols) if capture.depth(each) == 0]

    def batches() -> Iterator[np.ndarray]:
        stream: Iterable[np.ndarray] = capture.batches()
        if rows is not None:
            stream = _renumber(stream, rows)
        if full:
            stream = DepthWindow(len(instruments), full, depth).filter(stream)
        yield from stream

    digests = tuple(each.digest for each in families)
    return Prepared(profile, capture, instruments, batches, families, config_hash(profile, digests))


class _Checked:
    """The events of a replay, once their books have been followed by somebody else.

    The core keeps books and asks nobody; this computes every checksum that the capture calls
    verified again, and stops the replay at the first that does not match.
    """

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        facts = prepared.capture.manifest.channels.get("book")
        known = prepared.instruments.symbols
        depths = {} if facts is None else facts.depths
        self._books = make_books(
            prepared.instruments, {each: depth for each, depth in depths.items() if each in known}
        )
        self.n_verified = 0

    def batches(self) -> Iterator[np.ndarray]:
        for rows in self._prepared.batches():
            i, finding, stated, found = follow_books(self._books, rows, 0, True)
            while finding != FINE:
                if finding in (CHECKSUM_WRONG, CHECKSUM_RIGHT):
                    symbol = self._prepared.instruments[int(rows["sym"][i])].symbol
                    raise MismatchError(
                        f"the {symbol} book after event {int(rows['seq'][i])} has checksum "
                        f"{found}, the capture says {stated}.",
                        "`kapitaalbot data check` names the first defect of the store.",
                    )
                i, finding, stated, found = follow_books(self._books, rows, i + 1, True)
            closes = np.where(rows["kind"] == MESSAGE_END, rows["id"], rows["kind"])
            verified = (closes == BOOK_LEVEL) & (rows["flags"] & VERIFIED != 0)
            self.n_verified += int(verified.sum())
            yield rows


def replay(
    profile: Any,
    plugins: tuple[Family, ...] = (),
    overrides: Mapping[str, Any] | None = None,
    record: bool = True,
    progress: Callable[[int, int, int], None] | None = None,
    verify: bool = False,
    source: SessionMarket | None = None,
) -> Replayed:
    """Replay a profile through the whole pipeline and write its run folder.

    profile : a Profile, or the path of one; None: the one of the session that `source` is of
    plugins : user families (engine.plugins.family)
    source : the market of a session (`SessionMarket(folder)`) instead of the profile's capture
    overrides : nested keys that win over the profile's; record : False writes no folder
    progress : called with (events done, events in all, ts of the newest)
    verify : compute the checksum of every book message again, on the way
    raises ConfigError, DataError, StorageError, InvariantError, MismatchError (a checksum); a
        failed run leaves no tables
    """
    if profile is None:
        profile = profile_of(source, overrides)
    elif isinstance(profile, str | Path):
        profile = read_config(profile, overrides)
    clock = Stopwatch()
    started = WallClock().now()
    prepared = prepare(profile, plugins, source)
    world = prepared.world()
    n_events = prepared.capture.n_events
    summary = RunSummary(prepared.instruments.symbols, profile.run.quote)
    folder = None
    make_sink = None
    if record:
        folder = new_folder(Path(profile.run.out), profile.run.name, prepared.config_hash, started)

        def make_sink(name: str, dtype: np.dtype) -> TableWriter:
            return table_sink(folder, name, dtype)

    recorder = Recorder(make_sink, summary.observe, beside=True)
    checked = _Checked(prepared) if verify else None
    try:
        result = drive(
            prepared.batches() if checked is None else checked.batches(),
            world,
            recorder,
            None if progress is None else lambda n, ts: progress(n, n_events, ts),
        )
        recorder.close()
    except BaseException:
        recorder.abort()
        if folder is not None and not any(folder.iterdir()):
            folder.rmdir()
        raise
    glob = world.core.glob[0]
    manifest = make_manifest(
        mode="replay",
        profile=profile,
        config=prepared.config_hash,
        plugins=prepared.plugins,
        instruments=prepared.instruments,
        digest=recorder.digest,
        capture=prepared.capture.identity(),
        summary=summary.facts(
            glob, result.first_ts, result.last_ts, result.n_events, int(profile.run.cash)
        ),
        started=started,
        seconds=clock.seconds(),
    )
    if checked is not None:
        manifest["checksums_verified"] = checked.n_verified
    if folder is not None:
        write_json(folder / "manifest.json", manifest)
    return Replayed(folder, manifest)


def profile_of(source: SessionMarket | None, overrides: Mapping[str, Any] | None = None) -> Any:
    """The profile that a session ran with, for a replay of its market; `overrides` win over it."""
    if source is None:
        raise ConfigError(
            "a replay needs a profile, or a session whose own it takes.",
            "As in `kapitaalbot run replay configs/sample.toml`, or with --from-run RUN.",
        )
    name = {"run": {"name": f"{source.started.name[:53]}-simulated"}}
    given = merge_layers(merge_layers(source.started.given, name), overrides or {})
    return make_profile(given, f"the profile of {source.folder.name}")


def check_world(prepared: Prepared) -> None:
    """Refuse a capture without market data for the symbols of the run."""
    if prepared.capture.n_events == 0:
        raise DataError(
            f"the capture {prepared.profile.capture.path} holds no events.",
            "`kapitaalbot data ls` shows what it holds.",
        )
