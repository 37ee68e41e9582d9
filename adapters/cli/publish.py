"""`kapitaalbot run publish`: documents of a run for other programs."""

from __future__ import annotations

from typing import Annotated

import typer

from adapters.cli.options import RUNS, JsonFlag, QuietFlag, RunName, RunsFolder
from adapters.cli.output import say, write, write_json, write_table
from adapters.cli.progress import ProgressReport
from adapters.cli.run import app


@app.command(short_help="Write JSON documents of a run for other programs.")
def publish(
    run: RunName,
    to: Annotated[
        str,
        typer.Option(metavar="PLACE", help="A folder, or an address.", show_default=False),
    ],
    amounts: Annotated[
        bool, typer.Option("--amounts/--no-amounts", help="Show money and quantities.")
    ] = False,
    runs: RunsFolder = RUNS,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Write status, universe, routes, positions, equity and health of a run as versioned JSON.

    Each with its schema (docs/documents.md); money and quantities only with --amounts. Of a session that
    still runs, as far as its log goes. Example: kapitaalbot run publish latest --to site/data
    """
    from adapters.cli.warm import warm_if_cold
    from adapters.publish import publish as publish_run

    warm_if_cold(None if quiet else say)
    with ProgressReport("publish", quiet=quiet) as shown:
        done = publish_run(run, to, runs, amounts=amounts, progress=shown.update)
    if as_json:
        write_json("run.publish", {"place": done.place, "index": done.index})
        return
    if not quiet:
        for note in done.notes:
            say(f"note: {note}")
    write_table(
        ("document", "bytes", "sha256"),
        [
            (each["file"], each["bytes"], each["sha256"][:16])
            for each in done.index["documents"].values()
        ],
    )
    shown_or_not = "shown" if amounts else "left out (--amounts shows them)"
    write(f"written to {done.place}; amounts are {shown_or_not}")
