"""`kapitaalbot run features`: the whole feature vector of a run's symbols, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from adapters.cli.options import (
    RUNS,
    JsonFlag,
    MovedStore,
    OnlySymbols,
    QuietFlag,
    RunName,
    RunsFolder,
)
from adapters.cli.output import say, write, write_json, write_pairs, write_table
from adapters.cli.progress import ProgressReport
from adapters.cli.run import app

MISSING_SHOWN: Final = 12
NEVER_SHOWN: Final = 4


@app.command(short_help="Write the whole feature vector of a run's symbols.")
def features(
    run: RunName,
    every: Annotated[
        str | None,
        typer.Option(help="Cadence for the traded universe, as in 5s.", show_default=False),
    ] = None,
    broad: Annotated[
        str | None,
        typer.Option(help="Cadence for all symbols of the run, as in 60s.", show_default=False),
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(
            metavar="decisions|entries|fills",
            help="Also when a family saw an opportunity, entered, or was filled; may repeat.",
            show_default=False,
        ),
    ] = None,
    symbol: OnlySymbols = None,
    budget: Annotated[
        int,
        typer.Option(help="Most rows per hour; the broad cadence gives way first. 0: no bound."),
    ] = 20_000,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="Also follow parts of the market that the run did not."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write.", show_default="features.parquet in the run's folder"),
    ] = None,
    store: MovedStore = None,
    runs: RunsFolder = RUNS,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Replay a run again and write the whole feature vector of its symbols, as it was at each moment.

    A replay is made again from its capture and frozen configuration, a session from its own log; it
    must come out the same, or nothing is written. Without --every, --broad and --at: every 5s, broad
    60s, at decisions and fills. The same run gives the same bytes. Leaves with 5 where the run does not
    come out the same. Example: kapitaalbot run features latest --every 5s --at fills
    """
    from adapters.cli.warm import warm_if_cold
    from adapters.features import take_features

    warm_if_cold(None if quiet else say)
    with ProgressReport("features", quiet=quiet) as shown:
        taken = take_features(
            run,
            runs,
            every=every,
            broad=broad,
            at=at,
            symbols=symbol or (),
            budget=budget,
            whole=whole,
            out=out,
            store=store,
            progress=shown.update,
        )
    if as_json:
        write_json("run.features", {"path": str(taken.path), **taken.facts})
        return
    _print(taken.path, taken.facts)


def _print(path: Path, facts: dict[str, Any]) -> None:
    from engine.clock import utc_text

    quality = facts["quality"]
    n = quality["rows"]
    kinds = ", ".join(f"{count:,} {why}" for why, count in quality["taken"].items() if count)
    thinned = ", ".join(f"{count:,} {why}" for why, count in quality["thinned"].items() if count)
    rows = [("rows", f"{n:,}" + (f" ({kinds}; a row may be several)" if kinds else ""))]
    if n:
        span = f"{utc_text(quality['ts_first'])} to {utc_text(quality['ts_last'])}"
        rows.append(("span", span))
    rows += [
        ("symbols", ", ".join(facts["plan"]["symbols"])),
        (
            "thinned",
            f"{thinned}, in {quality['hours_thinned']} of {quality['hours']} hours"
            if thinned
            else f"nothing: no hour came over {facts['plan']['budget']:,} rows",
        ),
        ("late", f"{quality['late']:,} evaluations were gone before they could be read"),
    ]
    always = [name for name, count in quality["missing"].items() if count == n]
    sometimes = {name: count for name, count in quality["missing"].items() if count < n}
    outside = ", ".join(f"{name} ({count:,})" for name, count in quality["outside"].items())
    rows.append(
        ("out of range", outside or "nothing: every number is within the range of its unit")
    )
    whole = n - quality["incomplete"]
    rows.append(("whole", f"{whole:,} rows have every column"))
    if always:
        rows.append(("never there", _shortened(always, facts["plan"]["whole"])))
    rows += [("digest", facts["run"]["digest"] or "the run has not ended"), ("file", str(path))]
    write_pairs(rows)
    if not sometimes:
        return
    write()
    ranked = sorted(sometimes.items(), key=lambda each: (-each[1], each[0]))
    write_table(
        ("column", "rows without", "share"),
        [(name, count, f"{100 * count / n:.2f} %") for name, count in ranked[:MISSING_SHOWN]],
        title="columns that are not there in every row",
    )
    if len(ranked) > MISSING_SHOWN:
        write(f"and {len(ranked) - MISSING_SHOWN} more: --json has all")


def _shortened(names: list[str], whole: bool) -> str:
    more = len(names) - NEVER_SHOWN
    text = ", ".join(names[:NEVER_SHOWN]) + (f" and {more} more" if more > 0 else "")
    why = "" if whole else " (--whole follows what the run did not)"
    return f"{len(names)} columns: {text}{why}"
