"""Which data is a table of pairs made of? A run's tables, a session's log so far, a capture.

`run_pairs` is for runs, also those that have not ended: their tables are made from the log as far as it goes.
`capture_pairs` is for captures. Parses nothing and prints nothing; progress goes to a callback.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from adapters.features import prepared_again
from adapters.replay import Prepared, prepare
from adapters.session_market import SessionMarket
from adapters.sessions import SESSION_NAME
from adapters.sofar import run_tables
from engine.config import make_profile, merge_layers, parse_duration
from engine.errors import DataError, KapitaalbotError
from engine.reports.frames import Run, need
from engine.reports.pairs import family_frame, ordered, pair_frame, with_market
from engine.reports.suitability import with_suitability
from engine.research.pairmarket import MarketSampler, observer

if TYPE_CHECKING:
    import polars as pl

EVERY: Final = "5s"
TABLES: Final = (
    *("evaluations", "decisions", "candidates", "blockers", "fills", "realized", "health"),
)
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
    found = run_tables(run, runs, TABLES, progress)
    known = found.tables, found.instruments, found.config, found.families
    frame = family_frame(*known) if by_family else pair_frame(*known, ended=found.ended)
    of = f"{found.mode} {'run' if found.mode == 'replay' else 'session'} {found.folder.name}"
    report = PairReport(frame, of, found.quote, found.notes)
    if not market or by_family:
        return report
    try:
        prepared = _market_of_run(found.folder, every, store)
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
    by: str | None = None,
    quote: str | None = None,
    progress: Progress | None = None,
) -> PairReport:
    """One row per pair of a capture, or of the part of it that was asked for; by "day" or "hour".

    start, end : ISO times, UTC; quote : quote currency, by default that of the first pair
    raises ConfigError, DataError
    """
    wanted = {"path": store, "id": capture_id, "symbols": list(symbols), "end": end}
    capture = {name: value for name, value in wanted.items() if value}
    given = merge_layers({"capture": capture, "run": {"quote": quote or "USD"}}, observer(every))
    if quote is None:
        given["run"]["quote"] = _first_quote(store, capture_id)
    asked = make_profile(merge_layers(given, {"capture": {"start": start}} if start else {}))
    # Read from its beginning: a stretch in the middle has no book of its own to begin with.
    profile = make_profile(given)
    prepared = prepare(profile)
    sampler = _sampled(prepared, every, progress, asked.capture.start or 0)
    if not sampler.ts_last:
        raise DataError(
            f"{store} holds no events for these pairs and times.",
            "`kapitaalbot data ls` shows what it holds.",
        )
    rows = sampler.rows(asked.capture.start, asked.capture.end, by)
    frame = ordered(with_suitability(_polars().DataFrame(rows, infer_schema_length=None)))
    name = prepared.capture.identity().get("id", store)
    return PairReport(frame, f"capture {name}", profile.run.quote)


def _first_quote(store: str, capture_id: str | None) -> str:
    from adapters.parquet.reader import open_events

    capture = open_events(store, capture_id)
    return str(capture.instruments[capture.symbols[0]].quote)


def _polars() -> Any:
    return need("polars", "analysis")


def _sampled(
    prepared: Prepared, every: str, progress: Progress | None, start: int = 0
) -> MarketSampler:
    sampler = MarketSampler(prepared.instruments, parse_duration(every), start)
    n_events = prepared.capture.n_events
    sampler.watch(
        prepared.world(),
        prepared.batches(),
        None if progress is None else lambda n, ts: progress(n, n_events, ts),
    )
    return sampler


def _market_of_run(folder: Path, every: str, store: str | None) -> Prepared:
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
    manifest = Run.open(folder).manifest
    return prepared_again(manifest, store, looking=observer(every))
