"""`kapitaalbot run pairs` and `kapitaalbot data pairs`: one line per pair, ranked, with what is left out and why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from adapters.cli import data, run
from adapters.cli.options import (
    RUNS,
    CaptureId,
    JsonFlag,
    MovedStore,
    OnlySymbols,
    QuietFlag,
    RunName,
    RunsFolder,
)
from adapters.cli.output import say, write, write_json, write_table
from adapters.cli.progress import ProgressReport
from engine.errors import ConfigError, StorageError

if TYPE_CHECKING:
    import polars as pl

    from adapters.pairs import PairReport

TABLE, CSV = "table", "csv"
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CONDITION",
        help="Keep pairs that meet it, as in spread_median_bps<20; may repeat.",
        show_default=False,
    ),
]
Sort = Annotated[
    str | None,
    typer.Option(help="Column to rank by, - in front: largest first.", show_default="-turnover"),
]
Every = Annotated[str, typer.Option(help="Cadence at which the market is sampled.")]
Format = Annotated[str, typer.Option("--format", metavar="table|csv", help="How it is printed.")]
Out = Annotated[
    Path | None,
    typer.Option(help="Also write it, by its ending: .csv, .json, .parquet.", show_default=False),
]

# What a table for people shows, in three parts; CSV, JSON and files have every column.
_PARTS: Final[tuple[tuple[str, tuple[tuple[str, str, int], ...]], ...]] = (
    (
        "the market",
        (
            ("hours", "hours", 2),
            ("trades", "trades", 0),
            ("turnover", "turnover", 0),
            ("spread_mean_bps", "spread mean", 2),
            ("spread_median_bps", "median", 2),
            ("spread_p90_bps", "p90 bps", 2),
            ("depth_5", "depth 5 bps", 0),
            ("depth_10", "10 bps", 0),
            ("depth_25", "25 bps", 0),
            ("vol_hour_bps", "vol bps/√h", 1),
            ("updates_per_s", "updates/s", 2),
            ("score", "score", 3),
            ("suitability", "suitability", 0),
            ("class", "class", 0),
        ),
    ),
    (
        "what was decided",
        (
            ("evaluations", "evaluations", 0),
            ("ready", "ready", 3),
            ("candidates", "candidates", 0),
            ("active", "active", 0),
            ("edge_median_bps", "median edge", 1),
            ("edge_best_bps", "best edge bps", 1),
            ("entries", "entries", 0),
            ("fills", "fills", 0),
            ("volume", "volume", 2),
            ("fees", "fees", 2),
            ("net", "net profit", 2),
        ),
    ),
)


@run.app.command(short_help="Print one line per pair: market, decisions, what stopped it.")
def pairs(
    run: RunName,
    where: Where = None,
    sort: Sort = None,
    market: Annotated[
        bool,
        typer.Option(
            "--market/--no-market", help="Walk over the run's market for turnover and depth."
        ),
    ] = True,
    by_family: Annotated[
        bool, typer.Option("--by-family", help="One line per pair and family: what each lacked.")
    ] = False,
    every: Every = "5s",
    store: MovedStore = None,
    runs: RunsFolder = RUNS,
    form: Format = TABLE,
    out: Out = None,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Print one line per pair of a run: its market, what was decided, what stopped it most.

    Of a session that still runs, as far as its log goes. `nearest` says what would have to change: the
    recorded row that missed the limit by least. Columns for --where and --sort are those of --format csv.
    Example: kapitaalbot run pairs latest --where "spread_median_bps<20" --where "trades>100" --sort -net
    """
    from adapters.cli.warm import warm_if_cold
    from adapters.pairs import run_pairs

    wanted = _conditions(where, sort, form, out)
    warm_if_cold(None if quiet else say)
    with ProgressReport("pairs", quiet=quiet) as shown:
        report = run_pairs(
            run,
            runs,
            market=market,
            by_family=by_family,
            every=every,
            store=store,
            progress=shown.update,
        )
    if by_family:
        _show_families(report, wanted, sort, form, out, quiet, as_json)
        return
    default = "-turnover" if report.frame["turnover"].null_count() == 0 else "-evaluations"
    _show("run.pairs", report, wanted, sort or default, form, out, quiet, as_json)


@data.app.command("pairs", short_help="Print one line per pair of a capture.")
def capture_pairs_(
    store: data.StoreName = str(data.STORE),
    capture_id: CaptureId = None,
    where: Where = None,
    sort: Sort = None,
    symbol: OnlySymbols = None,
    start: Annotated[
        str | None, typer.Option("--from", help="First time, UTC.", show_default=False)
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="Up to before this time, UTC.", show_default=False)
    ] = None,
    by_day: Annotated[bool, typer.Option("--by-day", help="One line per day and pair.")] = False,
    by_hour: Annotated[bool, typer.Option("--by-hour", help="One line per hour and pair.")] = False,
    quote: Annotated[
        str | None,
        typer.Option(help="Quote currency.", show_default="that of the first pair"),
    ] = None,
    every: Every = "5s",
    form: Format = TABLE,
    out: Out = None,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Print one line per pair of a capture, or of any stretch of it: spread, depth, trades, volatility.

    `hours` and `coverage` say how much it rests on. Example: kapitaalbot data pairs store --by-day
    """
    from adapters.cli.warm import warm_if_cold
    from adapters.pairs import capture_pairs

    wanted = _conditions(where, sort, form, out)
    warm_if_cold(None if quiet else say)
    with ProgressReport("pairs", quiet=quiet) as shown:
        report = capture_pairs(
            store,
            capture_id,
            symbols=tuple(symbol or ()),
            start=start,
            end=end,
            every=every,
            by="hour" if by_hour else "day" if by_day else None,
            quote=quote,
            progress=shown.update,
        )
    _show("data.pairs", report, wanted, sort or "-turnover", form, out, quiet, as_json)


def _conditions(where: list[str] | None, sort: str | None, form: str, out: Path | None) -> Any:
    """Thresholds; every wrong word is refused before anything long begins."""
    from engine.reports.pairs import known_column, read_threshold

    if form not in (TABLE, CSV):
        raise ConfigError(f"--format {form!r} is not known.", "Use table or csv, or --json.")
    if out is not None and out.suffix not in (".csv", ".json", ".parquet"):
        raise ConfigError(f"--out {out}: nobody knows what to write there.", "End it in .csv, .json"
                          " or .parquet.")  # fmt: skip
    if sort is not None:
        known_column(sort.removeprefix("-"), "--sort")
    return [read_threshold(each) for each in where or ()]


def _show(
    kind: str,
    report: PairReport,
    wanted: Any,
    sort: str,
    form: str,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    from engine.reports.pairs import choose

    frame = choose(report.frame, wanted, sort)
    if out is not None:
        _write_file(frame, out)
    if as_json:
        facts = {"of": report.of, "quote": report.quote, "notes": list(report.notes)}
        write_json(kind, facts | {"pairs": frame.to_dicts()})
        return
    if not quiet:
        for note in report.notes:
            say(f"note: {note}")
    if form == CSV:
        sys.stdout.write(frame.write_csv())
        return
    _print(frame, report)


def _show_families(
    report: PairReport,
    wanted: Any,
    sort: str | None,
    form: str,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    if wanted or sort:
        raise ConfigError(
            "--where and --sort are for pairs, not for --by-family.",
            "Take --format csv, or `Run.open(...).readiness` in a notebook.",
        )
    if out is not None:
        _write_file(report.frame, out)
    rows = report.frame.to_dicts()
    if as_json:
        write_json("run.pairs", {"of": report.of, "notes": list(report.notes), "families": rows})
    elif form == CSV:
        sys.stdout.write(report.frame.write_csv())
    else:
        if not quiet:
            for note in report.notes:
                say(f"note: {note}")
        if not rows:
            say(
                "no candidate was recorded: a reason stopped every pair before (`run pairs` names it)."
            )
            return
        write_table(
            ("symbol", "family", "active", "median edge", "best bps", "entries", "share", "reason",
             "what would have to change"),
            [
                (
                    row["symbol"],
                    row["family"],
                    row["active"],
                    "" if row["edge_median_bps"] is None else f"{row['edge_median_bps']:,.1f}",
                    "" if row["edge_best_bps"] is None else f"{row['edge_best_bps']:,.1f}",
                    row["entries"],
                    "" if row["blocker_share"] is None else f"{100 * row['blocker_share']:.1f} %",
                    row["blocker"] or "",
                    row["nearest"] or "",
                )
                for row in rows
            ],
            title=report.of,
        )  # fmt: skip


def _write_file(frame: pl.DataFrame, out: Path) -> None:
    try:
        if out.suffix == ".csv":
            frame.write_csv(out)
        elif out.suffix == ".json":
            frame.write_json(out)
        else:
            frame.write_parquet(out)
    except OSError as error:
        raise StorageError(f"{out} cannot be written: {error}.") from error


def _print(frame: pl.DataFrame, report: PairReport) -> None:
    import polars as pl

    kept = frame.filter(pl.col("excluded").is_null())
    rows = kept.to_dicts()
    heads = [name for name in ("rank", "day", "hour", "symbol") if name in frame.columns]
    write(f"{report.of}, amounts in {report.quote}")
    for title, columns in _PARTS:
        known = [each for each in columns if any(row[each[0]] is not None for row in rows)]
        if not known:
            continue
        write()
        table = [
            [row[name] for name in heads] + [_cell(row, *each) for each in known] for row in rows
        ]
        write_table((*heads, *(label for _, label, _ in known)), table, title=title)
    stopped = [row for row in rows if row["blocker"]]
    if stopped:
        write()
        write_table(
            ("symbol", "share", "reason", "what would have to change"),
            [
                (
                    row["symbol"],
                    f"{100 * row['blocker_share']:.1f} %",
                    row["blocker"],
                    row["nearest"],
                )
                for row in stopped
            ],
            title="what stopped it most",
        )
    gone = frame.filter(pl.col("excluded").is_not_null()).to_dicts()
    if gone:
        write()
        write_table(
            (*heads[1:], "because"),
            [[*(row[name] for name in heads[1:]), row["excluded"]] for row in gone],
            title="left out",
        )


def _cell(row: dict[str, Any], name: str, label: str, digits: int) -> str:
    value = row[name]
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    text = f"{value:,.{digits}f}"
    if name == "hours" and row["partial"]:
        text += f" ({100 * row['coverage']:.0f} %)"
    return text
