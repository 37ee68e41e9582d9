"""`kapitaalbot run`: make runs and read them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from adapters.cli.beside import print_beside
from adapters.cli.options import (
    RUNS,
    JsonFlag,
    QuietFlag,
    RunName,
    RunsFolder,
    SetOption,
    parse_overrides,
)
from adapters.cli.output import say, write, write_json, write_pairs, write_table
from adapters.cli.progress import ProgressReport
from engine.errors import MismatchError

app = typer.Typer(
    help="Replay a profile, and read what a run decided.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

BLOCKERS_SHOWN = 8


@app.command(short_help="Replay a capture and print what came of it.")
def replay(
    profile: Annotated[
        Path | None,
        typer.Argument(
            metavar="PROFILE",
            help="Profile, a TOML file; with --from-run may be left out.",
            show_default=False,
        ),
    ] = None,
    from_run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Simulate over the market that this session heard, instead of a capture.",
            show_default=False,
        ),
    ] = None,
    runs: RunsFolder = RUNS,
    settings: SetOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder under which the run's folder is made.", show_default=False),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record/--no-record", help="Write the run's folder.")
    ] = True,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compute every book's checksum again on the way.")
    ] = False,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Replay a capture through the whole pipeline and print what came of it.

    With --from-run it is the market of a session's log (shadow, paper or live), simulated with the
    session's own profile unless another is named; the capture of the profile is ignored then.

    Example: kapitaalbot run replay configs/sample.toml --set run.cash=5000
    """
    from engine.config import read_config

    overrides = parse_overrides(settings)
    if out is not None:
        overrides.setdefault("run", {})["out"] = str(out)
    config = None if profile is None else read_config(profile, overrides)

    from adapters.cli.warm import warm_if_cold
    from adapters.replay import profile_of
    from adapters.replay import replay as replay_profile
    from adapters.session_market import SessionMarket
    from adapters.sessions import find_session

    source = None if from_run is None else SessionMarket(find_session(from_run, runs))
    if config is None:
        config = profile_of(source, overrides)
    warm_if_cold(None if quiet else say)
    with ProgressReport("replay", quiet=quiet) as shown:
        run = replay_profile(
            config, record=record, progress=shown.update, verify=verify, source=source
        )
    if not quiet and source is not None:
        for note in source.notes:
            say(f"note: {note}")
    if as_json:
        write_json("run.replay", run_facts(run.folder, run.manifest))
        return
    print_summary(run.folder, run.manifest, record)


def run_facts(folder: Path | None, manifest: dict[str, Any]) -> dict[str, Any]:
    """What is said of a run as JSON."""
    kept = ("name", "mode", "digest", "config_hash", "seconds", "started", "summary")
    facts = {key: manifest[key] for key in kept}
    if "checksums_verified" in manifest:
        facts["checksums_verified"] = manifest["checksums_verified"]
    if manifest["capture"].get("kind") == "session":
        facts["source"] = manifest["capture"]
    return {"folder": None if folder is None else str(folder)} | facts


def print_summary(folder: Path | None, manifest: dict[str, Any], record: bool = True) -> None:
    """What came of a run, for people."""
    from engine.reports.summary import blocker_rows, summary_rows, symbol_rows

    facts = manifest["summary"]
    write_pairs(summary_rows(facts, manifest["seconds"]))
    write()
    write_table(("symbol", "fills", "round trips", "fees", "realised"), symbol_rows(facts))
    rows = blocker_rows(facts)
    if rows:
        write()
        write_table(
            ("share", "reason", "meaning"),
            rows[:BLOCKERS_SHOWN],
            title="why candidates were blocked",
        )
        if len(rows) > BLOCKERS_SHOWN and folder is not None:
            write(f"and {len(rows) - BLOCKERS_SHOWN} more: kapitaalbot run blockers {folder}")
    write()
    ends = [("digest", manifest["digest"]), ("folder", _place(folder, record))]
    source = manifest["capture"]
    if source.get("kind") == "session":
        ends.insert(0, ("market of", f"{source['mode']} session {source['id']}"))
    if "checksums_verified" in manifest:
        ends.insert(0, ("checksums", f"{manifest['checksums_verified']:,} right again, 0 wrong"))
    write_pairs(ends)


def _place(folder: Path | None, record: bool) -> str:
    if folder is not None:
        return str(folder)
    return "none, as asked" if not record else "none"


@app.command("ls")
def list_(runs: RunsFolder = RUNS, as_json: JsonFlag = False) -> None:
    """List the runs, oldest first.

    Example: kapitaalbot run ls
    """
    from engine.clock import utc_text
    from engine.reports.manifest import list_runs, list_unended
    from engine.reports.summary import amount

    found, unended = list_runs(runs), list_unended(runs)
    if as_json:
        names = [str(each) for each in unended]
        write_json("run.ls", {"runs": [run_facts(*each) for each in found], "unended": names})
        return
    if unended:
        say(f"running still, or died: {', '.join(each.name for each in unended)}")
        say("  next: `kapitaalbot ops status`; of one that died, `kapitaalbot run finish RUN`.")
    if not found and not unended:
        say(f"no runs under {runs}. Make one: kapitaalbot run replay configs/sample.toml")
        return
    if not found:
        return
    write_table(
        ("run", "started", "events", "fills", "profit", "digest"),
        [
            (
                folder.name,
                utc_text(manifest["started"])[:19],
                manifest["summary"]["events"],
                manifest["summary"]["fills"],
                amount(manifest["summary"]["profit"], manifest["summary"]["quote"]),
                manifest["digest"][:16],
            )
            for folder, manifest in found
        ],
    )


@app.command(short_help="Print the summary of a run again.")
def show(run: RunName, runs: RunsFolder = RUNS, as_json: JsonFlag = False) -> None:
    """Print the summary of a run again, and what it was made from.

    Example: kapitaalbot run show latest
    """
    from engine.reports.manifest import find_run, read_manifest

    folder = find_run(run, runs)
    manifest = read_manifest(folder)
    if as_json:
        write_json("run.show", {"folder": str(folder), "manifest": manifest})
        return
    print_summary(folder, manifest)
    software = manifest["software"]
    write_pairs(
        [
            ("config", manifest["config_hash"]),
            (
                "software",
                f"kapitaalbot {software['kapitaalbot']}, commit {software.get('commit') or 'unknown'}, "
                f"kernels {software['kernels'][:16]}",
            ),
        ]
    )


@app.command(short_help="Print one evaluation in full.")
def explain(
    run: RunName,
    at: Annotated[
        str,
        typer.Option(
            help="Time of the evaluation, UTC, as in 2026-01-01T12:00:00; the last one at or "
            "before it is shown.",
            show_default=False,
        ),
    ],
    symbol: Annotated[str, typer.Option(help="Symbol, as in BTC/USD.", show_default=False)],
    runs: RunsFolder = RUNS,
    as_json: JsonFlag = False,
) -> None:
    """Print one evaluation in full: the market, every candidate, what blocked it, what followed.

    Example: kapitaalbot run explain latest --at 2026-01-01T12:00:00 --symbol BTC/USD
    """
    from engine.reports.explain import explain_facts, explain_text
    from engine.reports.frames import Run

    facts = explain_facts(Run.open(run, runs), at, symbol)
    if as_json:
        write_json("run.explain", facts)
    else:
        write(explain_text(facts))


@app.command(short_help="Print what was left after each stage.")
def funnel(run: RunName, runs: RunsFolder = RUNS, as_json: JsonFlag = False) -> None:
    """Print how many candidates were left after each stage, from evaluation to profit.

    Example: kapitaalbot run funnel latest
    """
    from engine.reports.frames import Run
    from engine.reports.funnel import funnel_rows

    opened = Run.open(run, runs)
    rows = funnel_rows(opened)
    if as_json:
        keys = ("stage", "n", "of_before", "meaning")
        stages = [dict(zip(keys, row, strict=True)) for row in rows]
        write_json("run.funnel", {"run": str(opened.path), "stages": stages})
        return
    write_table(
        ("stage", "number", "of the one before", "meaning"),
        [
            (stage, n, "" if share is None else f"{100 * share:.2f} %", meaning)
            for stage, n, share, meaning in rows
        ],
    )


@app.command(short_help="Print what stopped candidates, by reason.")
def blockers(
    run: RunName,
    symbol: Annotated[
        str | None, typer.Option(help="Only this symbol.", show_default=False)
    ] = None,
    runs: RunsFolder = RUNS,
    as_json: JsonFlag = False,
) -> None:
    """Print what stopped candidates first, by reason, with the share of each.

    Where the run followed its candidates (`records.shadow`), the reasons are ranked by what they cost
    or saved: `worth` is what one of their candidates was worth later, in bps after costs and by its chance
    of a fill, `total` the sum over all that the followed rows stand for. Above 0 the reason cost that.

    Example: kapitaalbot run blockers latest --symbol BTC/USD
    """
    from engine.reports.frames import Run
    from engine.reports.funnel import blocker_counts
    from engine.reports.outcomes import reason_worth

    opened = Run.open(run, runs)
    rows = blocker_counts(opened, symbol)
    worth = reason_worth(opened, symbol)
    if as_json:
        keys = ("reason", "n", "share", "meaning")
        reasons = [dict(zip(keys, row, strict=True)) for row in rows]
        facts = {"run": str(opened.path), "reasons": reasons}
        facts["worth"] = [each._asdict() for each in worth]
        write_json("run.blockers", facts)
        return
    if worth:
        counts = {row[0]: row for row in rows}
        nothing = ("", 0, 0.0, "they became orders")
        ranked = [(each, *counts.get(each.reason, nothing)[1:]) for each in worth]
        write_table(
            ("total bps", "worth", "trade", "followed", "share", "number", "reason", "meaning"),
            [
                (
                    f"{each.total_bps:+,.0f}",
                    f"{each.worth_bps:+.2f}" if each.followed else "-",
                    "-" if each.trade_bps is None else f"{each.trade_bps:+.2f}",
                    each.followed,
                    f"{100 * share:.1f} %",
                    n,
                    each.reason,
                    text,
                )
                for each, n, share, text in ranked
            ],
        )
        write_table(
            ("share", "number", "not followed", "meaning"),
            [
                (f"{100 * share:.1f} %", n, name, text)
                for name, n, share, text in rows
                if name not in {each.reason for each in worth}
            ],
        )
        return
    write_table(
        ("share", "number", "reason", "meaning"),
        [(f"{100 * share:.1f} %", n, name, text) for name, n, share, text in rows],
    )


@app.command(short_help="Compare the two models of the edge, and who was right.")
def edge(run: RunName, runs: RunsFolder = RUNS, as_json: JsonFlag = False) -> None:
    """Compare the second model of the edge (`adaptive.mode`) with the first, on the same run.

    How often both have the same winner, how alike they rank, what became of the winners where they
    differ (with `records.shadow`, results of the hypothetical trades after costs, in bps, with 95 %
    intervals over quarter hours), whether a tenth of the outcomes lies below V2's tenth quantile, and
    the components of V2 by family and kind of market.

    Example: kapitaalbot run edge latest
    """
    from engine.reports.edge import edge_report
    from engine.reports.frames import Run

    opened = Run.open(run, runs)
    report = edge_report(opened)
    if as_json:
        facts = report._asdict()
        for name in ("first", "second", "difference"):
            facts[name] = facts[name]._asdict()
        write_json("run.edge", {"run": str(opened.path), **facts})
        return

    if not report.judged:
        say(
            "the second model judged nothing: it is off (adaptive.mode = 0), or nothing passed the first."
        )
        return

    def shown(value: float | None, unit: str = "") -> str:
        return "-" if value is None else f"{value:.2f}{unit}"

    percent = None if report.agreed is None else 100 * report.agreed
    refused = None if report.refused is None else 100 * report.refused
    write_table(
        ("", "value"),
        [
            ("candidates judged by both", report.judged),
            ("winners of the first model", report.evaluations),
            ("V2 has the same winner", shown(percent, " %")),
            ("V2 admits none", shown(refused, " %")),
            ("rank correlation of the scores", shown(report.rank_correlation)),
        ],
    )
    write_table(
        ("where they differ", "n", "quarters", "mean bps", "from", "to"),
        [
            (name, each.n, each.blocks, shown(each.mean), shown(each.low), shown(each.high))
            for name, each in (
                ("the first model's winner", report.first),
                ("V2's winner", report.second),
                ("V2 less the first", report.difference),
            )
        ],
    )
    write_table(
        ("quantile", "outcomes below", "up to it", "n"),
        [
            (f"{each['quantile']:.1f}", shown(each["below"]), shown(each["up_to"]), each["n"])
            for each in report.quantiles
        ],
    )
    columns = ("v1_net_bps", "v2_net_bps", "q10_bps", "cover_prob", "stop_share", "admissible")
    write_table(
        ("family", "market", "n", *columns),
        [
            (each["family"], each["market"], each["n"], *(shown(each[name]) for name in columns))
            for each in report.routes
        ],
    )


@app.command(short_help="Split results of round trips, against what was expected.")
def attribution(
    run: RunName,
    by: Annotated[
        str,
        typer.Option(help="family, route, hour, symbol, exit or entry_mode."),
    ] = "family",
    runs: RunsFolder = RUNS,
    as_json: JsonFlag = False,
) -> None:
    """Was the edge there that was expected, and where did the rest go?

    Each round trip is split into the move of the mid while it was held, what entries and exits gained
    or lost against the mid, and fees; beside each part, what the chosen candidate had expected of it.
    Means of the trips, in bps of what was bought; the bias with its 95 % interval, in which trips that end in
    the same quarter hour count as one draw.

    Example: kapitaalbot run attribution latest --by hour
    """
    from engine.errors import ConfigError
    from engine.reports.attribution import GROUPS, PARTS
    from engine.reports.attribution import attribution as attribute
    from engine.reports.frames import Run

    if by not in GROUPS:
        raise ConfigError(f"round trips are not grouped by {by!r}.", f"Use {', '.join(GROUPS)}.")
    opened = Run.open(run, runs)
    found = attribute(opened, by)
    if as_json:
        facts = {"run": str(opened.path), "by": by, "trips": found.n_trips, "left": found.n_left}
        rows = [{**each._asdict(), "bias": each.bias._asdict()} for each in found.rows]
        write_json("run.attribution", {**facts, "rows": rows})
        return
    if found.total is None:
        say(
            f"none of {found.n_trips} round trips can be split: a mid or their row is missing."
            if found.n_trips
            else "there are no round trips to split: nothing was bought and sold again."
        )
        return
    rows_and_all = [*found.rows, found.total]
    write_table(
        (by, "trips", opened.quote, "expected", "realised", "bias", "from", "to"),
        [
            (
                each.group,
                each.bias.n,
                f"{each.net_quote:+.2f}",
                f"{each.expected_bps:+.1f}",
                f"{each.realized_bps:+.1f}",
                f"{each.realized_bps - each.expected_bps:+.1f}",
                *("-" if end is None else f"{end:+.1f}" for end in (each.bias.low, each.bias.high)),
            )
            for each in rows_and_all
        ],
    )
    write_table(
        ("realised (expected), bps", *PARTS, "set aside"),
        [
            (
                each.group,
                *(f"{each.parts[part]:+.1f} ({each.expected[part]:+.1f})" for part in PARTS),
                f"({each.expected['aside']:+.1f})",
            )
            for each in rows_and_all
        ],
    )
    if found.n_left:
        say(
            f"{found.n_left} of {found.n_trips} round trips are left out: a mid or their row is missing."
        )


@app.command(short_help="Compare two runs: digests, rows, and side by side.")
def compare(
    first: Annotated[str, typer.Argument(metavar="RUN", help="One run.", show_default=False)],
    second: Annotated[
        str, typer.Argument(metavar="RUN", help="The other run.", show_default=False)
    ],
    runs: RunsFolder = RUNS,
    no_fail: Annotated[
        bool, typer.Option("--no-fail", help="Leave with 0 also where they differ.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Compare two runs: digests, the first row that differs in each table, and side by side.

    The last puts a live run beside its simulation, or two versions, over the time that both cover:
    entries, orders, fills, latency, slippage, profit (docs/howto-compare.md).

    Leaves with 5 if they differ. Example: kapitaalbot run compare 20260101-120000-sample-0a1b2c3d latest
    """
    from engine.reports.compare import compare_runs
    from engine.reports.manifest import find_run
    from engine.reports.sidebyside import side_by_side

    folders = find_run(first, runs), find_run(second, runs)
    found = compare_runs(*folders)
    # Runs with one digest are one run: there is nothing to put side by side.
    beside = None if found["same"] else side_by_side(*folders)
    if as_json:
        write_json("run.compare", found | {"beside": beside})
    else:
        _print_comparison(found)
        if beside is not None:
            write()
            print_beside(beside)
    if not found["same"] and not no_fail:
        differing = [each["table"] for each in found["tables"] if not each["same"]]
        raise MismatchError(
            f"the runs differ in {', '.join(differing) or 'their digests only'}.",
            "The first differing row of the earliest table is where to look.",
        )


def _print_comparison(found: dict[str, Any]) -> None:
    write_table(
        ("run", "digest", "config", "kernels"),
        [
            (each["folder"], each["digest"][:16], each["config_hash"][:16], each["kernels"][:16])
            for each in found["runs"]
        ],
    )
    write()
    write_table(
        ("table", "rows", "rows", "verdict"),
        [(each["table"], *each["rows"], each["verdict"]) for each in found["tables"]],
    )
    for each in found["tables"]:
        if each["first"] is not None:
            write()
            write_table(
                ("column", "first", "second"),
                [(one["column"], str(one["first"]), str(one["second"])) for one in each["first"]],
                title=f"{each['table']}, row {each['row']}, columns that differ:",
            )
