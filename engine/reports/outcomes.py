"""What did each reason cost or save, and what became of the candidates of one evaluation?

Reads the table `outcomes`, which a run has rows in when `records.shadow` was on. A reason *saved* what
its candidates would have lost and *cost* what they would have earned, each weighted by how many it
stands for. Candidates of neighbouring evaluations are nearly the same one: sums rank reasons, they
are no profit that could have been made. Left out: shorts in the sums, since spot cannot take them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from engine.core.records import REASONS
from engine.events import BUY

if TYPE_CHECKING:
    import polars as pl

    from engine.reports.frames import Run


class ReasonWorth(NamedTuple):
    """What became of the candidates that one reason stopped."""

    reason: str
    followed: int  # rows whose own horizon is known and that were priced
    stands_for: int  # candidates that these rows stand for
    worth_bps: float  # mean of what one was worth: later net x chance of a fill
    trade_bps: float | None  # mean result of the hypothetical trade, 0 where it did not fill
    total_bps: float  # worth x weight, summed: above 0 the reason cost so much, below it saved
    shorts: int  # hypothetical shorts among them, not in these numbers


def reason_worth(run: Run, symbol: str | None = None) -> list[ReasonWorth]:
    """Reasons by what they cost or saved, the largest first whatever its sign; empty without rows.

    raises UnknownSymbolError for a symbol that the run does not hold
    """
    import polars as pl

    rows = run.scan("outcomes")
    if symbol is not None:
        rows = rows.filter(pl.col("sym") == run.frame.instruments.index(symbol))
    weight = pl.col("weight")
    known = (pl.col("side") == BUY) & pl.col("worth_bps").is_not_null()
    traded = known & pl.col("trade_bps").is_not_null()
    grouped = rows.group_by("blocker").agg(
        followed=known.sum(),
        stands_for=weight.filter(known).sum(),
        total=(pl.col("worth_bps") * weight).filter(known).sum(),
        trades=weight.filter(traded).sum(),
        traded=(pl.col("trade_bps") * weight).filter(traded).sum(),
        shorts=(pl.col("side") != BUY).sum(),
    )
    found = []
    for row in grouped.collect().iter_rows(named=True):
        if not row["followed"] and not row["shorts"]:
            continue
        n = int(row["stands_for"])
        found.append(
            ReasonWorth(
                REASONS[row["blocker"]][0],
                int(row["followed"]),
                n,
                row["total"] / n if n else 0.0,
                row["traded"] / row["trades"] if row["trades"] else None,
                float(row["total"]),
                int(row["shorts"]),
            )
        )
    return sorted(found, key=lambda each: (-abs(each.total_bps), each.reason))


def outcomes_of(run: Run, sym: int, generation: int) -> dict[int, dict[str, Any]]:
    """What became of the candidates of one evaluation of one symbol, by route key."""
    import polars as pl

    of_it: pl.Expr = (pl.col("sym") == sym) & (pl.col("generation") == generation)
    rows = run.scan("outcomes").filter(of_it).collect().to_dicts()
    return {row["route"]: row for row in rows}


HORIZON_COLUMNS = {
    "10 s": "mid_10s_bps",
    "30 s": "mid_30s_bps",
    "1 m": "mid_1m_bps",
    "5 m": "mid_5m_bps",
    "15 m": "mid_15m_bps",
    "30 m": "mid_30m_bps",
    "1 h": "mid_1h_bps",
    "4 h": "mid_4h_bps",
}


def later_lines(row: dict[str, Any]) -> list[str]:
    """One outcome in one to three lines: moves of the mid, what was left of them, the trade."""
    moves = [
        f"{row[column]:+.1f} after {name}"
        for name, column in HORIZON_COLUMNS.items()
        if row[column] is not None
    ]
    short = " (a short: hypothetical, borrowing paid)" if row["side"] != BUY else ""
    lines = [f"later: mid {', '.join(moves) or 'unknown'} bps{short}"]
    if row["worth_bps"] is not None:
        lines.append(
            f"left of it at its own horizon: {row['net_later_bps']:+.2f} bps net if filled "
            f"(expected {row['net_bps']:+.2f}), worth {row['worth_bps']:+.2f} by its chance of a fill"
        )
    trade = _trade(row)
    if trade:
        lines.append(trade)
    return lines


def _trade(row: dict[str, Any]) -> str:
    touch = row["touch_name"]
    if touch == "none":
        return ""
    if touch == "not_filled":
        return "as a trade: would not have filled"
    if touch == "unknown":
        return "as a trade: the data does not say"
    after = "at once" if row["fill_s"] == 0 else f"after {row['fill_s']} s"
    return (
        f"as a trade: in {after}, out by {touch} {row['touch_s']} s later, "
        f"{row['trade_bps']:+.2f} bps after costs"
    )
