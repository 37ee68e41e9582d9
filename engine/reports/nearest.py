"""What would have to change for a pair to pass the reason that stopped it most?

For each reason with a number and a limit: the recorded row that missed by least. Candidates are a sample
(their best few and some of the rest), so a nearer one may have gone unrecorded. Left out: what a reason
cost (outcomes.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from engine.core import records
from engine.core.records import REASONS
from engine.core.regime import REGIME_NAMES
from engine.core.risk import RISK_NAMES
from engine.instruments import Instrument

if TYPE_CHECKING:
    import polars as pl

Tables = Callable[[str], "pl.LazyFrame"]
S: Final = 1e9


class Nearest(NamedTuple):
    """The smallest miss. text : for people; value, limit : None where the reason has no number"""

    text: str
    value: float | None = None
    limit: float | None = None


class Miss(NamedTuple):
    """How one reason measures. sign : +1 the value must rise to the limit, -1 it must fall to it"""

    column: str
    label: str
    unit: str
    sign: int
    key: str  # of the profile


_CANDIDATES: Final[dict[int, Miss]] = {
    records.COSTS_EXCEED_MOVE: Miss("net_bps", "net edge", "bps", 1, "net_min_bps"),
    records.MOVE_TOO_SMALL: Miss("capturable", "capturable share", "", 1, "capturable_min"),
    records.FILL_UNLIKELY: Miss("fill_prob", "chance of a fill", "", 1, "fill_prob_min"),
    records.QUEUE_TOO_LONG: Miss("fill_time_s", "expected wait", "s", -1, "queue_wait_max_s"),
    records.EXIT_INFEASIBLE: Miss("exit_drag_bps", "exit drag", "bps", -1, "exit_drag_max_bps"),
}
_CHECKED: Final = (
    *(records.RISK_VETO, records.EXPOSURE_CAP, records.INVENTORY_CAP, records.LOSS_THROTTLE),
    *(records.RATE_LIMIT, records.CONFLICT_LANE),
)


def nearest_miss(
    tables: Tables,
    sym: int,
    code: int,
    config: Mapping[str, Any],
    families: Mapping[int, str],
    pair: Instrument,
    family: int | None = None,
) -> Nearest:
    """The recorded row of instrument row `sym` that missed the limit of reason `code` by least.

    config : the frozen configuration of the run (durations in ns); families : code to name
    family : look at the candidates of this one only
    """
    import polars as pl

    mine = pl.col("sym") == sym
    of_family = mine if family is None else mine & (pl.col("family") == family)
    ready = config["readiness"]
    if code in _CANDIDATES:
        return _candidate(tables, of_family, code, config, families)
    decisions = tables("decisions").filter(mine)
    if code == records.SPREAD_TOO_WIDE:
        value = _least(decisions.filter(pl.col("blocker") == code), "spread_bps")
        return _told("spread", value, ready["spread_max_bps"], "bps", -1)
    if code == records.DATA_STALE:
        value = _least(decisions.filter(pl.col("blocker") == code), "book_age_ns")
        return _told("book age", _seconds(value), ready["book_age_max"] / S, "s", -1)
    if code == records.ROUTE_STALE:
        stopped = tables("blockers").filter(mine & (pl.col("code") == code)).select("generation")
        limit = ready["freshness_tape"]
        late = decisions.join(stopped, on="generation", how="semi")
        value = _least(late.filter(pl.col("trade_age_ns") > limit), "trade_age_ns")
        if value is None:
            return Nearest(f"a route's book or trades were older than {limit / S:g} s")
        return _told("newest trade", _seconds(value), limit / S, "s old", -1)
    if code in _CHECKED:
        return _check(decisions, code)
    if code == records.THIN_TOUCH:
        return _touch(tables, of_family, code, ready["touch_multiple"], pair)
    if code in (records.REGIME_BLOCKED, records.CHAOS_BLOCKED):
        return _regimes(decisions)
    if code == records.NOT_ENOUGH_HISTORY:
        return _history(tables, decisions, mine, code)
    return Nearest(REASONS[code][1])


def _least(rows: pl.LazyFrame, column: str) -> float | None:
    value = rows.select(column).min().collect().item()
    return None if value is None else float(value)


def _seconds(ns: float | None) -> float | None:
    return None if ns is None else ns / S


def _told(label: str, value: float | None, limit: float, unit: str, sign: int) -> Nearest:
    bound = "needs more than" if sign > 0 else "may be at most"
    unit = f" {unit}" if unit else ""
    if value is None:
        return Nearest(f"{label} {bound} {limit:g}{unit}; no row with a number", None, limit)
    return Nearest(f"{label} {_short(value)}{unit}, {bound} {limit:g}", value, float(limit))


def _short(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1 else f"{value:,.1f}"


def _candidate(
    tables: Tables,
    mine: pl.Expr,
    code: int,
    config: Mapping[str, Any],
    families: Mapping[int, str],
) -> Nearest:
    import polars as pl

    miss, ready = _CANDIDATES[code], config["readiness"]
    limit: pl.Expr = pl.lit(float(ready[miss.key]))
    if code == records.COSTS_EXCEED_MOVE:
        own = {
            number: float(config["families"].get(name, {}).get("net_min_bps", 0.0))
            for number, name in families.items()
        }
        limit += pl.col("family").replace_strict(own, default=0.0, return_dtype=pl.Float64)
    elif code == records.EXIT_INFEASIBLE and ready["exit_drag_below_move"]:
        limit = pl.min_horizontal(limit, pl.max_horizontal(pl.col("move_bps"), pl.lit(0.0)))
    best = (
        tables("candidates")
        .filter(mine & (pl.col("blocker") == code) & pl.col(miss.column).is_not_null())
        .select("ts", "family", "horizon_s", value=pl.col(miss.column), limit=limit)
        .with_columns(gap=miss.sign * (pl.col("limit") - pl.col("value")))
        .sort("gap", "ts")
        .head(1)
        .collect()
    )
    if not len(best):
        return _told(miss.label, None, float(ready[miss.key]), miss.unit, miss.sign)
    row = best.row(0, named=True)
    told = _told(miss.label, row["value"], row["limit"], miss.unit, miss.sign)
    who = f"{families.get(row['family'], row['family'])} over {row['horizon_s']} s"
    return told._replace(text=f"{told.text} ({who})")


def _check(decisions: pl.LazyFrame, code: int) -> Nearest:
    import polars as pl

    over = (pl.col("check_value") - pl.col("check_limit")).abs()
    best = (
        decisions.filter((pl.col("blocker") == code) & pl.col("check_value").is_not_null())
        .select("check", "check_value", "check_limit", over=over)
        .sort("over")
        .head(1)
        .collect()
    )
    if not len(best):
        return Nearest(REASONS[code][1])
    check, value, limit, _ = best.row(0)
    name = RISK_NAMES.get(check, str(check)).replace("_", " ")
    return Nearest(f"{name} {_short(value)}, limit {limit:g}", value, limit)


def _touch(tables: Tables, mine: pl.Expr, code: int, multiple: float, pair: Instrument) -> Nearest:
    import polars as pl

    value = _least(tables("candidates").filter(mine & (pl.col("blocker") == code)), "qty")
    if value is None:
        return Nearest(f"the touch must hold {multiple:g} times the order")
    needed = value * multiple * float(pair.qty_increment)
    return Nearest(
        f"the touch must hold {_short(needed)} {pair.base}, {multiple:g} times the smallest order "
        "that was refused",
        None,
        needed,
    )


def _regimes(decisions: pl.LazyFrame) -> Nearest:
    import polars as pl

    counts = (
        decisions.group_by("regime").agg(n=pl.len()).sort("n", "regime", descending=[True, False])
    ).collect()
    total = int(counts["n"].sum())
    parts = [
        f"{REGIME_NAMES.get(regime, regime)} {100 * n / total:.0f} %"
        for regime, n in counts.iter_rows()
    ]
    return Nearest(f"another regime: {', '.join(parts)} of the time")


def _history(tables: Tables, decisions: pl.LazyFrame, mine: pl.Expr, code: int) -> Nearest:
    import polars as pl

    first = decisions.select(pl.col("ts").min()).collect().item()
    last = (
        tables("blockers")
        .filter(mine & (pl.col("code") == code))
        .select(pl.col("ts").max())
        .collect()
        .item()
    )
    if first is None or last is None:
        return Nearest(REASONS[code][1])
    return Nearest(f"longer data: last met {(last - first) / S:,.0f} s after the pair's first row")
