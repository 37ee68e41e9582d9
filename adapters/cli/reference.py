"""Where are commands, columns of a run, alerts and documents written down? Four pages of docs/.

All are made from the code that they describe. `python -m adapters.cli.reference` (or `make docs`)
writes them; a test says when they are stale.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from adapters.cli.main import NAME, app
from engine import alerts, errors
from engine.reports import export

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
WIDTH: Final = 96

OTHER_CODES: Final = {
    errors.EXIT_OK: "done",
    errors.EXIT_UNEXPECTED: "something that we did not foresee: a defect of ours",
    errors.EXIT_GATE_FAILED: "a statistical gate said no",
    errors.EXIT_INTERRUPTED: "interrupted from the keyboard",
}

HEAD: Final = """\
# Command line

Noun, then verb. Data goes to stdout, talk and progress to stderr, so a pipe gets data only;
`--json` prints one JSON object whose first keys are `kind` and `version`. Tables are drawn on a
terminal and plain elsewhere. Every error is a sentence and a next step; `-v` adds the traceback.
This page is made from the commands by `make docs`.

## Exit codes

They are stable. Scripts may rely on them.

| code | meaning |
|---|---|
"""


def exit_codes() -> dict[int, str]:
    """Every exit code with its meaning, from the errors that carry them."""
    codes = dict(OTHER_CODES)
    for each in vars(errors).values():
        if (
            isinstance(each, type)
            and issubclass(each, errors.KapitaalbotError)
            and each is not errors.KapitaalbotError
        ):
            text = (each.__doc__ or "").strip().partition("\n")[0].rstrip(".")
            codes[each.exit_code] = text[:1].lower() + text[1:]
    return dict(sorted(codes.items()))


def page() -> str:
    """docs/cli.md: every command as its own --help says it."""
    lines = [HEAD + "\n".join(f"| {code} | {text} |" for code, text in exit_codes().items())]
    root = get_command(app)
    lines.append(_section(root, NAME, "##"))
    assert isinstance(root, TyperGroup)
    for name, group in root.commands.items():
        lines.append(_section(group, f"{NAME} {name}", "##"))
        assert isinstance(group, TyperGroup)
        for verb, command in group.commands.items():
            lines.append(_section(command, f"{NAME} {name} {verb}", "###"))
    return "\n\n".join(lines) + "\n"


def _section(command: Any, path: str, level: str) -> str:
    context = typer.Context(command, info_name=path, terminal_width=WIDTH)
    text = "\n".join(line.rstrip() for line in command.get_help(context).strip().splitlines())
    return f"{level} {path}\n\n```\n{text}\n```"


RUN_HEAD: Final = """\
# The run folder

A replay writes one folder, `runs/<start>-<name>-<config>/`: the wall time of its start, `run.name`,
and the beginning of the configuration's hash. Nothing in it changes afterwards.

| file | what it holds |
|---|---|
| `manifest.json` | what was run on what, and what came out; written last: without it the run did not end |
| `<table>.parquet` | one file per table below, rows in the order in which the core wrote them |
| `log/`, `state/` | of a session: its event log, and copies of the core at times |
| `private-frames.jsonl` | of a live session: what the account's line heard and sent, word by word, without tokens |
| `features.parquet` | the whole feature vector over time, once `kapitaalbot run features` was asked for it ([howto-reports.md](howto-reports.md)) |

## The manifest

| key | meaning |
|---|---|
| `schema` | version of this layout; a reader refuses another one |
| `mode`, `name`, `started`, `seconds` | `replay`; the name given; wall time of the start (ns since the epoch, UTC); how long it took |
| `digest` | sha256 over every command and record; equal digests mean equal decisions |
| `table_digests`, `rows` | the same per table, and its number of rows; the digest is made of these |
| `config`, `config_hash` | the effective configuration in canonical form, and the hash over it and the sources of user families |
| `plugins`, `families` | user families with their digests; family codes and names |
| `instruments` | increments, precisions and minimums that ticks and lots are read with |
| `capture` | which data: id, digests, symbols, span |
| `money_per_unit` | money units in one unit of the quote currency |
| `software` | version, commit, digests of all sources and of the kernels, Python, machine; none of it is in the digest |
| `summary` | what the command line prints at the end; money as exact text |

Two runs with the same digest decided the same, whatever machine they ran on.
`kapitaalbot run compare A B` finds the first row that differs when they did not.

## Reading it

```python
from engine.reports.frames import Run

run = Run.open("runs/latest")  # or an id, or a folder
run.fills  # a polars frame
run.features  # the feature vectors, once `run features` wrote them
run.scan("candidates")  # a LazyFrame, for tables that are large
run.raw("fills")  # exactly as recorded
run.sql("SELECT symbol, sum(fee_quote) FROM fills GROUP BY 1")
print(run.explain("2026-01-01T12:00:00", "BTC/USD"))
```

Recorded columns are integers (ticks, lots, money, ns, codes) and estimates. Frames and SQL views
add the column named under *reads as*: UTC times, prices and amounts in units, names of codes. They
are the nearest floats, for people; what must be exact is in the integers. An estimate that is not a
number is NaN as recorded and null in frames and views. Prices are ticks, quantities lots, money 1e-8
of the quote currency, times ns since the epoch (UTC).

## Tables
"""

TABLE_MEANINGS: Final = {
    "evaluations": "One row per evaluation: what was looked at and what left.",
    "decisions": "One row per evaluation and symbol: the outcome, its reason, the winner.",
    "candidates": "Routes considered, with their whole cost stack: the best few of each symbol "
    "and a sample of the rest; `weight` says for how many a row stands.",
    "blockers": "Per evaluation and symbol, how many candidates each gate stopped first.",
    "orders": "One row per change of an order.",
    "fills": "One row per fill.",
    "positions": "One row per change of a position or its protection.",
    "realized": "One row per round trip, when the position is flat again.",
    "equity": "Equity, exposure and drawdown, on a grid of time.",
    "health": "Quality of the data per symbol, on a grid of time.",
    "outcomes": "What became of the candidates that were followed, chosen or not "
    "(`records.shadow`): moves of the mid, and the trade that it would have been.",
    "ignition": "One row per change of a symbol's ignition state, with the numbers that caused it.",
    "forecast_15m": "Each quarter hour the forecast of a symbol, and a quarter later the same with "
    "the move that followed.",
    "modes": "One row per request for a mode of the engine.",
    "recoveries": "What was seen or done to bring our books and the venue together: connections lost, "
    "orders in doubt, balances that differ, and how each was settled.",
    "balances": "Each balance that the venue told, beside what our fills say is ours.",
    "releases": "What waited for its turn and was asked again between two evaluations.",
    "flow": "At each evaluation: how many candidates wait, and the counters of what did.",
    "adaptive": "The second model of the edge (`adaptive.mode`) beside the first, for the tradable "
    "candidates: distribution of the outcome, fees, ends of the paths, admissibility.",
    "routes": "Each change of a route's viability or advice (`route_state.enabled`).",
    "exits": "How forceful a position's exits are and what the tape did since entry, on change "
    "(`exits.regime`, `exits.style`, `exits.ignition`).",
    "inventory": "What of a base is ours, foreign, missing, held by orders, and how sure that is; on "
    "change, in sessions whose account is heard.",
    "universe": "Each symbol that entered or left the traded universe, and why.",
    "commands": "Every command that went to the venue, as it was sent.",
}


def run_folder_page() -> str:
    """docs/run-folder.md: the layout, and every table with every column."""
    from engine.core.records import REASONS
    from engine.reports.columns import companions, table_columns
    from engine.reports.frames import RUN_TABLES

    parts = [RUN_HEAD]
    for table in RUN_TABLES:
        reads_as = {rule.source: rule.name for rule in companions(table)}
        rows = [
            f"| `{each.name}` | {_as(reads_as.get(each.name))} | {each.unit} | {each.doc} |"
            for each in table_columns(table)
        ]
        parts.append(
            f"### {table}\n\n{TABLE_MEANINGS[table]}\n\n"
            "| column | reads as | unit | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
        )
    reasons = [f"| {code} | {name} | {text} |" for code, (name, text) in REASONS.items()]
    parts.append(
        "## Reason codes\n\n| code | name | meaning |\n|---|---|---|\n" + "\n".join(reasons)
    )
    return "\n".join(parts) + "\n"


def _as(name: str | None) -> str:
    return f"`{name}`" if name else ""


PAGES: Final = {
    "cli.md": page,
    "run-folder.md": run_folder_page,
    "alerts.md": alerts.page,
    "documents.md": export.page,
}


def main() -> None:
    """Write the pages."""
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
