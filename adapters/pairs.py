"""Which data is a table of pairs made of? A run's tables, a session's log so far, a capture.

`run_pairs` is for runs, also those that have not ended: their tables are made from the log as far as it goes.
`capture_pairs` is for captures. Parses nothing and prints nothing; progress goes to a callback.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from adapters.features import prepared_again, run_folder
from adapters.replay import Prepared, prepare
from adapters.runs import family_names
from adapters.session_market import SessionMarket
from adapters.sessions import LOG, SESSION_NAME, log_batches, open_session
from engine.config import canonical_json, make_profile, merge_layers, parse_duration
from engine.errors import DataError, KapitaalbotError, MismatchError
from engine.flow.log import check_log
from engine.flow.recorder import RECORD_TYPES, MemorySink, Recorder
from engine.reports.frames import Run, need
from engine.reports.manifest import MANIFEST_NAME
from engine.reports.pairs import family_frame, ordered, pair_frame, with_market
from engine.research.pairmarket import MarketSampler, observer
from engine.session.verify import follow_log

if TYPE_CHECKING:
    import polars as pl

EVERY: Final = "5s"
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class PairReport:
    """A table of pairs. of : what it is about; notes : what a reader must know, sentences"""

    frame: pl.DataFrame
    of: str
    quote: str
    notes: tuple[str, ...] = ()


def run_pairs(
    run: Path | str = "latest",
    runs: Path | str = "runs",
    *,
    market: bool = True,
    by_family: bool = False,
    every: str = EVERY,
    store: str | None = None,
    progress: Progress | None = None,
) -> PairReport:
    """One row per pair of a run, finished or not.

    market : also walk over its market, for turnover, depth and what else the tables do not have
    by_family : one row per pair and family instead: what each would have needed
    every : cadence of the samples of the market; store : where the capture lies now
    raises ConfigError, DataError; MismatchError for a log that does not replay
    """
    folder = run_folder(run, runs)
    ended = (folder / MANIFEST_NAME).is_file()
    report = _of_tables(folder, by_family) if ended else _of_log(folder, by_family, progress)
    if not market or by_family:
        return report
    try:
        prepared = _market_of_run(folder, ended, every, store)
        sampler = _sampled(prepared, every, progress)
    except KapitaalbotError as error:
        # The tables stand without it: a capture may be long gone.
        note = f"turnover and depth are missing: {error}"
        return PairReport(report.frame, report.of, report.quote, (*report.notes, note))
    frame = with_market(report.frame, _polars().DataFrame(sampler.rows(), infer_schema_length=None))
    return PairReport(frame, report.of, report.quote, report.notes)


def capture_pairs(
    store: str,
    capture_id: str | None = None,
    *,
    symbols: tuple[str, ...] = (),
    start: str | None = None,
    end: str | None = None,
    every: str = EVERY,
    by_day: bool = False,
    quote: str | None = None,
    progress: Progress | None = None,
) -> PairReport:
    """One row per pair of a capture, or of the part of it that was asked for; by day with `by_day`.

    start, end : ISO times, UTC; quote : quote currency, by default that of the first pair
    raises ConfigError, DataError
    """
    wanted = {"path": store, "id": capture_id, "symbols": list(symbols), "start": start, "end": end}
    capture = {name: value for name, value in wanted.items() if value}
    given = merge_layers({"capture": capture, "run": {"quote": quote or "USD"}}, observer(every))
    if quote is None:
        given["run"]["quote"] = _first_quote(store, capture_id)
    profile = make_profile(given, "the question")
    prepared = prepare(profile)
    if not prepared.capture.n_events:
        raise DataError(
            f"{store} holds no events for these pairs and times.",
            "`kapitaalbot data ls` shows what it holds.",
        )
    sampler = _sampled(prepared, every, progress)
    rows = sampler.rows(profile.capture.start, profile.capture.end, by_day)
    frame = ordered(_polars().DataFrame(rows, infer_schema_length=None))
    name = prepared.capture.identity().get("id", store)
    return PairReport(frame, f"capture {name}", profile.run.quote)


def _first_quote(store: str, capture_id: str | None) -> str:
    from adapters.parquet.reader import open_events

    capture = open_events(store, capture_id)
    return str(capture.instruments[capture.symbols[0]].quote)


def _polars() -> Any:
    return need("polars", "analysis")


def _sampled(prepared: Prepared, every: str, progress: Progress | None) -> MarketSampler:
    sampler = MarketSampler(prepared.instruments, parse_duration(every))
    n_events = prepared.capture.n_events
    sampler.watch(
        prepared.world(),
        prepared.batches(),
        None if progress is None else lambda n, ts: progress(n, n_events, ts),
    )
    return sampler


def _market_of_run(folder: Path, ended: bool, every: str, store: str | None) -> Prepared:
    """The market that a run heard, before a core that only looks."""
    if (folder / SESSION_NAME).is_file():
        market = SessionMarket(folder)
        given = {
            key: each
            for key, each in market.started.given.items()
            if key not in ("families", "plugins")
        }
        profile = make_profile(merge_layers(given, observer(every)))
        return prepare(profile, source=market)
    assert ended
    manifest = Run.open(folder).manifest
    return prepared_again(manifest, store, looking=observer(every))


def _of_tables(folder: Path, by_family: bool) -> PairReport:
    run = Run.open(folder)
    frame = run.readiness if by_family else run.pairs
    return PairReport(frame, f"run {folder.name}", run.quote)


def _of_log(folder: Path, by_family: bool, progress: Progress | None) -> PairReport:
    """Of a session that goes on, or died: its tables as far as its log can be believed."""
    built = open_session(folder)
    n_events = check_log(folder / LOG).n_events
    wanted = ("evaluations", "decisions", "candidates", "blockers", "fills", "realized", "health")
    recorder = Recorder(lambda name, dtype: _sink(name in wanted, dtype))
    found = follow_log(
        built.core,
        log_batches(folder, True),
        recorder,
        torn=True,
        progress=None if progress is None else lambda n, ts: progress(n, n_events, ts),
    )
    if found.difference is not None:
        raise MismatchError(
            f"the log of {folder.name} does not replay: "
            f"{found.difference.text(built.started.instruments.symbols)}",
            "`kapitaalbot run verify` shows the same; report it.",
        )
    recorder.drain(built.core)
    polars = _polars()

    def tables(name: str) -> pl.LazyFrame:
        rows = recorder.sinks[name].rows  # type: ignore[attr-defined]
        columns = {each: rows[each].copy() for each in RECORD_TYPES[name].names or ()}
        frame: pl.LazyFrame = polars.DataFrame(columns).lazy()
        return frame.with_columns(polars.col(polars.Float64).fill_nan(None))

    config = json.loads(canonical_json(built.profile))
    instruments, families = built.started.instruments, family_names(built.plugins)
    if by_family:
        frame = family_frame(tables, instruments, config, families)
    else:
        frame = pair_frame(tables, instruments, config, families, ended=False)
    return PairReport(
        frame,
        f"{built.started.mode} session {folder.name}",
        str(built.profile.run.quote),
        ("the run has not ended: this is what its log holds so far.",),
    )


class _Nothing:
    """Takes rows that nobody asks for."""

    def append(self, rows: Any) -> None:
        pass

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


def _sink(wanted: bool, dtype: Any) -> Any:
    return MemorySink(dtype) if wanted else _Nothing()
