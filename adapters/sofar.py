"""What are the tables of a run, whether it has ended or not?

Of a run that ended, its Parquet files. Of a session that still runs, or died, they are made from its log, as far
as that can be believed: its core is stepped through it again. Left out: what is read out of them
(engine/reports).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from adapters.runs import family_names
from adapters.sessions import LOG, SESSION_NAME, log_batches, open_session
from engine.config import canonical_json
from engine.core.routes import FAMILY_NAMES
from engine.errors import MismatchError
from engine.flow.log import check_log
from engine.flow.recorder import RECORD_TYPES, MemorySink, Recorder
from engine.instruments import InstrumentTable
from engine.reports.frames import Run, need
from engine.reports.manifest import MANIFEST_NAME, find_run
from engine.session.verify import follow_log

if TYPE_CHECKING:
    import polars as pl

NOT_ENDED: Final = "the run has not ended: this is what its log holds so far."
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class RunTables:
    """A run's recorded columns by table, NaN as null, and what they are read with.

    config : the frozen configuration; families : code to name; digest : None before the end
    """

    folder: Path
    mode: str
    ended: bool
    tables: Callable[[str], pl.LazyFrame]
    instruments: InstrumentTable
    config: dict[str, Any]
    families: dict[int, str]
    quote: str
    digest: str | None

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self.ended else (NOT_ENDED,)


def run_folder(run: Path | str, runs: Path | str) -> Path:
    """The folder of a run that ended, or of a session that still runs or died. Raises ConfigError."""
    for place in (Path(run), Path(runs) / run):
        if (place / SESSION_NAME).is_file() and not (place / MANIFEST_NAME).is_file():
            return place
    return find_run(run, runs)


def run_tables(
    run: Path | str,
    runs: Path | str = "runs",
    wanted: Iterable[str] = (),
    progress: Progress | None = None,
) -> RunTables:
    """The tables of a run. wanted : those that will be read; others are not kept of a log.

    raises ConfigError, DataError; MismatchError for a log that does not replay
    """
    folder = run_folder(run, runs)
    if (folder / MANIFEST_NAME).is_file():
        return _of_files(folder)
    return _of_log(folder, frozenset(wanted), progress)


def _of_files(folder: Path) -> RunTables:
    run = Run.open(folder)
    return RunTables(
        folder=folder,
        mode=str(run.manifest["mode"]),
        ended=True,
        tables=run.recorded,
        instruments=run.frame.instruments,
        config=run.manifest["config"],
        families=dict(run.frame.families) or dict(FAMILY_NAMES),
        quote=run.quote,
        digest=run.digest,
    )


def _of_log(folder: Path, wanted: frozenset[str], progress: Progress | None) -> RunTables:
    polars = need("polars", "analysis")
    built = open_session(folder)
    n_events = check_log(folder / LOG).n_events
    recorder = Recorder(lambda name, dtype: _Kept(dtype, name in wanted))
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

    def tables(name: str) -> pl.LazyFrame:
        kept = recorder.sinks[name]
        assert isinstance(kept, _Kept)
        assert kept.wanted, f"table {name} was not asked for"
        rows = kept.rows
        columns = {each: rows[each].copy() for each in RECORD_TYPES[name].names or ()}
        frame: pl.LazyFrame = polars.DataFrame(columns).lazy()
        return frame.with_columns(polars.col(polars.Float64).fill_nan(None))

    return RunTables(
        folder=folder,
        mode=built.started.mode,
        ended=False,
        tables=tables,
        instruments=built.started.instruments,
        config=json.loads(canonical_json(built.profile)),
        families=family_names(built.plugins),
        quote=str(built.profile.run.quote),
        digest=None,
    )


class _Kept(MemorySink):
    """Keeps the rows of a table that was asked for, and lets go of others."""

    def __init__(self, dtype: Any, wanted: bool) -> None:
        super().__init__(dtype)
        self.wanted = wanted

    def append(self, rows: Any) -> None:
        if self.wanted:
            super().append(rows)
