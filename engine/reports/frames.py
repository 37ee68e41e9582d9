"""How does a person read a run? `Run.open(path)`: polars frames and a DuckDB connection.

Everything is read from the run's folder when it is asked for, and kept. Frames carry the recorded
integers and, beside them, what they mean (engine/reports/columns.py). Left out: pictures
(pictures.py), one evaluation in words (explain.py), and writing of any kind.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.core.records import TABLE_NAMES
from engine.core.routes import FAMILY_NAMES
from engine.errors import ConfigError, DataError
from engine.instruments import InstrumentTable
from engine.reports.columns import Frame, companions, quoted, sql_text
from engine.reports.manifest import FEATURES_NAME, find_run, read_manifest
from engine.reports.pairs import family_frame, pair_frame, pair_views
from engine.reports.summary import summary_rows

if TYPE_CHECKING:
    import duckdb
    import plotly.graph_objects as go
    import polars as pl

RUN_TABLES: Final = (*TABLE_NAMES, "commands")


def need(module: str, extra: str) -> Any:
    """Import a module of an extra; ConfigError says in one sentence how to get it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"this needs {module.partition('.')[0]}, which is not installed.",
            f"Install the extra: pip install 'kapitaalbot[{extra}]'.",
        ) from error


class Run:
    """One finished run. Frames: `run.decisions`, `run.fills` ...; SQL: `run.connect()`.

    path : the run's folder; manifest, summary : plain data; digest : 64 hex characters
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        families = {int(code): name for code, name in manifest.get("families", {}).items()}
        self.frame = Frame(
            InstrumentTable.from_json(manifest["instruments"]), families or FAMILY_NAMES
        )
        self._frames: dict[str, pl.DataFrame] = {}

    @classmethod
    def open(cls, path: Path | str = "latest", runs: Path | str = "runs") -> Run:
        """Open a run folder, an id under `runs`, or the newest run: `runs/latest`.

        raises ConfigError for a run that is not there, DataError for one that cannot be read
        """
        folder = find_run(path, runs)
        return cls(folder, read_manifest(folder))

    @property
    def summary(self) -> dict[str, Any]:
        """What the command line prints at the end, as plain data; money as exact text."""
        return dict(self.manifest["summary"])

    @property
    def digest(self) -> str:
        return str(self.manifest["digest"])

    @property
    def symbols(self) -> tuple[str, ...]:
        return self.frame.symbols

    @property
    def quote(self) -> str:
        return str(self.manifest["summary"]["quote"])

    # --- frames ---------------------------------------------------------------------------------

    def file(self, table: str) -> Path:
        """The Parquet file of a table; raises ConfigError for an unknown one, DataError if gone."""
        if table not in RUN_TABLES:
            raise ConfigError(f"a run has no table {table!r}.", f"It has {', '.join(RUN_TABLES)}.")
        path = self.path / f"{table}.parquet"
        if not path.is_file():
            raise DataError(
                f"{path} is missing: the run's folder is not whole.",
                "Replay the profile again; `run compare` shows that nothing changed.",
            )
        return path

    def scan(self, table: str) -> pl.LazyFrame:
        """A table as a LazyFrame with its companion columns; for tables that are large."""
        polars = need("polars", "analysis")
        raw = polars.scan_parquet(self.file(table))
        known = set(raw.collect_schema().names())
        rules = companions(table)
        # An estimate that is not there reads as null: NaN would spoil a mean and pass `> 0`.
        bare = raw.with_columns(polars.col(polars.Float64).fill_nan(None))
        frame = bare.with_columns(rule.polars(self.frame) for rule in rules if rule.source in known)
        return frame.select(_ordered(known, frame.collect_schema().names()))

    def table(self, table: str) -> pl.DataFrame:
        """A table as a DataFrame with its companion columns, read once."""
        if table not in self._frames:
            self._frames[table] = self.scan(table).collect()
        return self._frames[table]

    def raw(self, table: str) -> pl.DataFrame:
        """A table exactly as it was recorded: integers and estimates, nothing else."""
        frame: pl.DataFrame = need("polars", "analysis").read_parquet(self.file(table))
        return frame

    @property
    def evaluations(self) -> pl.DataFrame:
        """One row per evaluation: what was looked at, ready, active, sent."""
        return self.table("evaluations")

    @property
    def decisions(self) -> pl.DataFrame:
        """One row per evaluation and symbol: outcome, blocker, winner and its economics."""
        return self.table("decisions")

    @property
    def candidates(self) -> pl.DataFrame:
        """Routes considered, with their whole cost stack; sampled, `weight` says how much."""
        return self.table("candidates")

    @property
    def blockers(self) -> pl.DataFrame:
        """Per evaluation and symbol: how many candidates each gate stopped first."""
        return self.table("blockers")

    @property
    def orders(self) -> pl.DataFrame:
        """Every change of every order."""
        return self.table("orders")

    @property
    def fills(self) -> pl.DataFrame:
        """Every fill: price, fee, liquidity, profit realised."""
        return self.table("fills")

    @property
    def positions(self) -> pl.DataFrame:
        """Every change of a position and its protection."""
        return self.table("positions")

    @property
    def realized(self) -> pl.DataFrame:
        """One row per round trip."""
        return self.table("realized")

    @property
    def equity(self) -> pl.DataFrame:
        """Equity, exposure and drawdown over time."""
        return self.table("equity")

    @property
    def health(self) -> pl.DataFrame:
        """Data quality per symbol over time."""
        return self.table("health")

    @property
    def outcomes(self) -> pl.DataFrame:
        """What became of each candidate that was followed, chosen or not; `weight` as there."""
        return self.table("outcomes")

    @property
    def ignition(self) -> pl.DataFrame:
        """One row per change of a symbol's ignition state."""
        return self.table("ignition")

    @property
    def forecast_15m(self) -> pl.DataFrame:
        """Each quarter hour the forecast, and a quarter later the same with what came of it."""
        return self.table("forecast_15m")

    @property
    def modes(self) -> pl.DataFrame:
        """One row per request for a mode of the engine: who, why, and whether it stands."""
        return self.table("modes")

    @property
    def recoveries(self) -> pl.DataFrame:
        """What was seen or done to bring our books and the venue together."""
        return self.table("recoveries")

    @property
    def balances(self) -> pl.DataFrame:
        """What the venue told that the account holds, beside what is ours of it."""
        return self.table("balances")

    @property
    def releases(self) -> pl.DataFrame:
        """What waited and was asked again between two evaluations."""
        return self.table("releases")

    @property
    def flow(self) -> pl.DataFrame:
        """Counters of the waiting candidates at each evaluation."""
        return self.table("flow")

    @property
    def adaptive(self) -> pl.DataFrame:
        """The second model of the edge beside the first, for the tradable candidates."""
        return self.table("adaptive")

    @property
    def routes(self) -> pl.DataFrame:
        """Each change of a route's viability or advice."""
        return self.table("routes")

    @property
    def exits(self) -> pl.DataFrame:
        """How forceful exits were and what the tape did since entry; see `table`."""
        return self.table("exits")

    @property
    def inventory(self) -> pl.DataFrame:
        """What of a base was ours, held, free, and how sure that was; see `table`."""
        return self.table("inventory")

    @property
    def universe(self) -> pl.DataFrame:
        """Symbols that entered or left the traded universe."""
        return self.table("universe")

    @property
    def features(self) -> pl.DataFrame:
        """The whole feature vector of each symbol over time, as `run features` wrote it.

        raises ConfigError where nobody asked for it yet
        """
        if FEATURES_NAME not in self._frames:
            polars = need("polars", "analysis")
            frame = polars.read_parquet(self._features_file())
            self._frames[FEATURES_NAME] = frame.select(
                polars.col("ts").cast(polars.Datetime("ns", "UTC")).alias("time"),
                polars.col("symbol").cast(polars.String),
                *(
                    polars.col(name).fill_nan(None) if kind.is_float() else polars.col(name)
                    for name, kind in frame.schema.items()
                    if name != "symbol"
                ),
            )
        return self._frames[FEATURES_NAME]

    def _features_file(self) -> Path:
        path = self.path / FEATURES_NAME
        if not path.is_file():
            raise ConfigError(
                f"nobody wrote the feature vectors of {self.path.name} yet.",
                f"kapitaalbot run features {self.path}",
            )
        return path

    @property
    def commands(self) -> pl.DataFrame:
        """Every command that went to the venue."""
        return self.table("commands")

    # --- SQL ------------------------------------------------------------------------------------

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection with one view per table, and the bare tables in schema `raw`.

        Also `pair_summary`, `evaluation_numbers` (reports/pairs.py), and `features` where they were written.

        Nothing is read before a query asks for it. Times are TIMESTAMP_NS in UTC.
        """
        connection: duckdb.DuckDBPyConnection = need("duckdb", "analysis").connect()
        connection.execute("CREATE SCHEMA raw")
        for table in RUN_TABLES:
            # Parquet's minimum and maximum leave NaN out. Without the option DuckDB takes that as
            # proof that there is none, and isnan() is false everywhere (duckdb issue 25521).
            source = f"read_parquet({sql_text(str(self.file(table)))}, can_have_nan = true)"
            connection.execute(f"CREATE VIEW raw.{table} AS SELECT * FROM {source}")
            kinds = dict(row[:2] for row in connection.execute(f"DESCRIBE raw.{table}").fetchall())
            known = list(kinds)
            made = {
                name: f"CASE WHEN isnan({quoted(name)}) THEN NULL ELSE {quoted(name)} END "
                f"AS {quoted(name)}"
                for name, kind in kinds.items()
                if kind == "DOUBLE"
            }
            made |= {
                rule.name: f"{rule.sql(self.frame)} AS {quoted(rule.name)}"
                for rule in companions(table)
                if rule.source in known
            }
            names = _ordered(set(known), [*known, *(each for each in made if each not in kinds)])
            columns = ", ".join(made.get(name, quoted(name)) for name in names)
            connection.execute(f"CREATE VIEW {table} AS SELECT {columns} FROM raw.{table}")
        for statement in pair_views(self.manifest["config"], self.symbols):
            connection.execute(statement)
        if (self.path / FEATURES_NAME).is_file():
            source = sql_text(str(self.path / FEATURES_NAME))
            connection.execute(
                "CREATE VIEW features AS SELECT make_timestamp_ns(ts) AS time, * "
                f"FROM read_parquet({source}, can_have_nan = true)"
            )
        return connection

    def sql(self, query: str) -> pl.DataFrame:
        """The answer of one SQL query over the views, as a frame."""
        need("polars", "analysis")
        frame: pl.DataFrame = self.connect().sql(query).pl()
        return frame

    # --- words ----------------------------------------------------------------------------------

    @property
    def pairs(self) -> pl.DataFrame:
        """One row per pair: what its market was, what was decided, what stopped it most."""
        return pair_frame(
            self.recorded, self.frame.instruments, self.manifest["config"], self.frame.families
        )

    @property
    def readiness(self) -> pl.DataFrame:
        """One row per pair and family: what stopped it most, and what would have to change."""
        return family_frame(
            self.recorded, self.frame.instruments, self.manifest["config"], self.frame.families
        )

    def recorded(self, table: str) -> pl.LazyFrame:
        """A table as a LazyFrame of the recorded columns alone, NaN as null."""
        polars = need("polars", "analysis")
        raw: pl.LazyFrame = polars.scan_parquet(self.file(table))
        return raw.with_columns(polars.col(polars.Float64).fill_nan(None))

    def explain(self, at: str | int, symbol: str) -> str:
        """One evaluation in full, as text. at : ISO time (UTC), or ns since the epoch."""
        from engine.reports.explain import explain

        return explain(self, at, symbol)

    def beside(self, other: Run) -> dict[str, Any]:
        """This run and another over the time that both cover: engine/reports/sidebyside.py."""
        from engine.reports.sidebyside import side_by_side

        return side_by_side(self.path, other.path)

    def beside_picture(self, other: Run) -> go.Figure:
        """Equity of both, and how their fills come apart."""
        from engine.reports.pictures import beside_picture

        return beside_picture(self, other)

    def __repr__(self) -> str:
        return f"<Run {self.path} digest {self.digest[:16]}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in summary_rows(self.summary)
        )
        title = html.escape(f"{self.path.name}, digest {self.digest[:16]}")
        return f"<p><b>{title}</b></p><table>{rows}</table>"


def _ordered(recorded: set[str], names: list[str]) -> list[str]:
    """What a person reads first comes first: time, symbol, then the record, then the rest."""
    first = [name for name in ("time", "symbol") if name in names]
    ours = [name for name in names if name in recorded]
    return first + ours + [name for name in names if name not in recorded and name not in first]
