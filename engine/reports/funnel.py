"""How many candidates were left after each stage, and what stopped the others?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.commands import ADD, ROLE_ENTRY
from engine.core.records import EXECUTE, OK, REASONS

if TYPE_CHECKING:
    from engine.reports.frames import Run

Stage = tuple[str, int, float | None, str]


def funnel_rows(run: Run) -> list[Stage]:
    """(stage, number, share of the stage before or None, meaning), widest first."""
    import polars as pl

    evaluations = run.scan("evaluations").select(
        n=pl.len(),
        symbols=pl.col("n_symbols").sum(),
        ready=pl.col("n_ready").sum(),
        candidates=pl.col("n_candidates").sum(),
        active=pl.col("n_active").sum(),
        positive=pl.col("n_positive").sum(),
    )
    counts = evaluations.collect().row(0, named=True)
    executed = _count(run, "decisions", pl.col("outcome") == EXECUTE)
    entries = _count(run, "commands", (pl.col("kind") == ADD) & (pl.col("role") == ROLE_ENTRY))
    filled = (
        run.scan("fills")
        .filter(pl.col("role") == ROLE_ENTRY)
        .select(pl.col("order").n_unique())
        .collect()
        .item()
    )
    trips = _count(run, "realized", pl.lit(True))
    wins = _count(run, "realized", pl.col("net") > 0)
    numbers = (
        ("evaluations", counts["n"], "timer strikes on which every symbol was judged"),
        ("symbols looked at", counts["symbols"], "symbols x evaluations"),
        ("symbols ready", counts["ready"], "their data passed"),
        ("candidates", counts["candidates"], "family x horizon x entry of the symbols ready"),
        ("active", counts["active"], "the family saw an opportunity"),
        ("worth it", counts["positive"], "net edge above its threshold"),
        ("chosen", executed, "passed every gate, sized, allowed by risk"),
        ("entries sent", entries, "entry orders that went to the venue"),
        ("entries filled", filled, "of those, filled in part or in whole"),
        ("round trips", trips, "positions opened and closed again"),
        ("won", wins, "round trips with a profit after fees"),
    )
    # A share is told only where the stage is a part of the one before.
    parts = {"symbols ready", "active", "worth it", "entries filled", "won"}
    rows: list[Stage] = []
    before = 0
    for stage, n, meaning in numbers:
        share = int(n) / before if stage in parts and before else None
        rows.append((stage, int(n), share, meaning))
        before = int(n)
    return rows


def _count(run: Run, table: str, condition: Any) -> int:
    import polars as pl

    return int(run.scan(table).filter(condition).select(pl.len()).collect().item())


def blocker_counts(run: Run, symbol: str | None = None) -> list[tuple[str, int, float, str]]:
    """(reason, candidates, share of those blocked, sentence), most frequent first.

    raises UnknownSymbolError for a symbol that the run does not hold
    """
    import polars as pl

    rows = run.scan("blockers").filter(pl.col("code") != OK)
    if symbol is not None:
        rows = rows.filter(pl.col("sym") == run.frame.instruments.index(symbol))
    counts = (
        rows.group_by("code")
        .agg(pl.col("n").sum())
        .sort(["n", "code"], descending=[True, False])
        .collect()
    )
    blocked = int(counts["n"].sum())
    return [
        (REASONS[code][0], int(n), int(n) / blocked, REASONS[code][1])
        for code, n in counts.iter_rows()
    ]
