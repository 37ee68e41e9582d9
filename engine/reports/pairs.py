"""Which pairs are worth it, what happened in each, and what kept the others out?

One row per pair from a run's tables: how much of the run its market was there, spread and volatility as the
core saw them at its evaluations, what was considered, entered and earned, the reason that stopped most and how
near it was to passing. `choose` filters and ranks it and says why a pair is left out. Numbers that need the
market itself (turnover, depth) come from engine/research/pairmarket.py. The same numbers in SQL: `pair_summary`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from engine.core.records import (
    EXECUTE,
    FAMILY_DISABLED,
    OK,
    REASONS,
    SURFACE_NOT_TRADABLE,
    THESIS_INACTIVE,
)
from engine.errors import ConfigError
from engine.instruments import InstrumentTable
from engine.reports.nearest import Tables, nearest_miss
from engine.reports.suitability import with_suitability
from engine.units import MONEY_PER_UNIT

if TYPE_CHECKING:
    import polars as pl

# Nothing that a person could change: they are named only where nothing else stopped a pair.
SILENT_REASONS: Final = (THESIS_INACTIVE, FAMILY_DISABLED, SURFACE_NOT_TRADABLE)
PARTIAL_BELOW: Final = 0.99
MINUTE: Final = 60_000_000_000

# Column, unit, meaning; in the order in which they are written.
COLUMNS: Final[dict[str, tuple[str, str]]] = {
    "symbol": ("", "pair"),
    "rank": ("", "place among those that pass, 1 first; none where it is left out"),
    "hours": ("h", "time with a quote on both sides"),
    "coverage": ("0..1", "that time / the time looked at"),
    "partial": ("", f"coverage is below {PARTIAL_BELOW:g}, or the run has not ended"),
    "trades": ("", "trades of the market"),
    "turnover": ("quote", "what they came to"),
    "spread_mean_bps": ("bps", "mean spread"),
    "spread_median_bps": ("bps", "median spread"),
    "spread_p90_bps": ("bps", "it was wider for a tenth of the time"),
    "depth_5": ("quote", "notional within 5 bps of the mid, mean of both sides over time"),
    "depth_10": ("quote", "within 10 bps"),
    "depth_25": ("quote", "within 25 bps"),
    "vol_hour_bps": ("bps", "realised volatility of the mid from minute to minute, for an hour"),
    "updates_per_s": ("1/s", "book messages"),
    "lean_bps": ("bps", "mean distance of the microprice from the mid"),
    "refill_1s": ("0..1", "share of an emptied level that is back after 1 s"),
    "score": ("0..1", "mean of `edge_score`: tight spread, lean, density near the touch, refill"),
    "tick_bps": ("bps", "one tick relative to the mid"),
    "suitability": ("0..100", "the four that follow, summed: for ranking, not for sizing"),
    "suit_spread": ("0..30", "points for a tight spread"),
    "suit_depth": ("0..25", "points for depth within 10 bps"),
    "suit_trades": ("0..20", "points for trades per hour"),
    "suit_move": ("0..25", "points for volatility of an hour beside the spread"),
    "class": ("", "stable, wide tick, thin, liquid or major"),
    "class_reason": ("", "the number that decided it"),
    "evaluations": ("", "times it was judged"),
    "ready": ("0..1", "share of them in which no reason stopped the pair as a whole"),
    "candidates": ("", "routes considered"),
    "active": ("", "routes whose family saw an opportunity"),
    "edge_median_bps": ("bps", "median net edge of the candidates that were recorded"),
    "edge_best_bps": ("bps", "best net edge among them"),
    "entries": ("", "evaluations that entered"),
    "fills": ("", "our fills"),
    "volume": ("quote", "what they came to"),
    "fees": ("quote", "paid"),
    "net": ("quote", "profit of its round trips, after fees"),
    "blocker": ("", "the reason that stopped most candidates; silent families and shorts apart"),
    "blocker_share": ("0..1", "its share of all candidates that were stopped"),
    "nearest": ("", "what would have to change: the recorded row that missed by least"),
    "nearest_value": ("", "its number"),
    "nearest_limit": ("", "the limit that it missed"),
    "excluded": ("", "why it is left out, empty where it passes"),
}
MARKET_COLUMNS: Final = (
    *("trades", "turnover", "depth_5", "depth_10", "depth_25", "updates_per_s", "lean_bps"),
    *("refill_1s", "score", "tick_bps"),
)


def pair_frame(
    tables: Tables,
    instruments: InstrumentTable,
    config: Mapping[str, Any],
    families: Mapping[int, str],
    ended: bool = True,
) -> pl.DataFrame:
    """One row per instrument, in the order of the run, from its tables.

    tables : name to a LazyFrame of the recorded columns, NaN as null
    config : the frozen configuration; ended : False for a run that goes on or died
    """
    import polars as pl

    interval_s = config["evaluation"]["interval"] / 1e9
    decisions = tables("decisions")
    span = tables("evaluations").select(first=pl.col("ts").min(), last=pl.col("ts").max())
    first, last = span.collect().row(0)
    expected = 0 if first is None else round((last - first) / 1e9 / interval_s) + 1
    parts = [
        _quotes(decisions, interval_s, expected),
        _counts(decisions),
        _market(tables("health")),
        _edges(tables("candidates")),
        _trading(tables),
    ]
    frame = pl.DataFrame({"sym": range(len(instruments)), "symbol": instruments.symbols})
    for part in parts:
        frame = frame.join(part.collect(), on="sym", how="left")
    frame = frame.with_columns(
        pl.col("hours", "coverage").fill_null(0.0),
        pl.col("evaluations", "candidates", "active", "entries", "fills").fill_null(0),
        pl.col("volume", "fees", "net").fill_null(0.0),
    ).with_columns(partial=(pl.col("coverage") < PARTIAL_BELOW) | pl.lit(not ended))
    reasons = [_reason(tables, sym, instruments, config, families) for sym in range(len(frame))]
    frame = frame.with_columns(
        pl.Series(name, [each[name] for each in reasons], kind)
        for name, kind in (
            ("blocker", pl.String),
            ("blocker_share", pl.Float64),
            ("nearest", pl.String),
            ("nearest_value", pl.Float64),
            ("nearest_limit", pl.Float64),
        )
    )
    return ordered(frame)


FAMILY_COLUMNS: Final[dict[str, tuple[str, str]]] = {
    "symbol": ("", "pair"),
    "family": ("", "route family"),
    "candidates": (
        "",
        "routes considered, as far as they were recorded: a sampled row counts its weight",
    ),
    "active": ("", "those in which the family saw an opportunity"),
    "edge_median_bps": ("bps", "median net edge of the recorded ones"),
    "edge_best_bps": ("bps", "best net edge"),
    "entries": ("", "those that became orders"),
    "blocker": ("", "the reason that stopped most of them"),
    "blocker_share": ("0..1", "its share of those that were stopped"),
    "nearest": ("", "what would have to change"),
    "nearest_value": ("", "its number"),
    "nearest_limit": ("", "the limit that it missed"),
}


def family_frame(
    tables: Tables,
    instruments: InstrumentTable,
    config: Mapping[str, Any],
    families: Mapping[int, str],
) -> pl.DataFrame:
    """How ready each family was in each pair: one row per pair and family, from the recorded candidates."""
    import polars as pl

    candidates = tables("candidates")
    weight = pl.col("weight")
    groups = (
        candidates.group_by("sym", "family")
        .agg(
            candidates=weight.sum(),
            active=weight.filter(pl.col("blocker") != THESIS_INACTIVE).sum(),
            edge_median_bps=pl.col("net_bps").median(),
            edge_best_bps=pl.col("net_bps").max(),
            entries=pl.col("executed").sum(),
        )
        .sort("sym", "family")
        .collect()
    )
    stopped = (
        candidates.filter(pl.col("blocker") != OK)
        .group_by("sym", "family", "blocker")
        .agg(n=weight.sum())
        .sort("n", "blocker", descending=[True, False])
        .collect()
    )
    rows = []
    for row in groups.iter_rows(named=True):
        sym, family = row["sym"], row["family"]
        counts = stopped.filter((pl.col("sym") == sym) & (pl.col("family") == family))
        code, share = _dominant(counts.select("blocker", "n"))
        found = dict.fromkeys(FAMILY_COLUMNS) | row
        found |= {"symbol": instruments.symbols[sym], "family": families.get(family, str(family))}
        if code is not None:
            near = nearest_miss(
                tables, sym, code, config, families, instruments[instruments.symbols[sym]], family
            )
            found |= {"blocker": REASONS[code][0], "blocker_share": share}
            found |= {
                f"nearest{end}": value
                for end, value in zip(("", "_value", "_limit"), near, strict=True)
            }
        rows.append({name: found[name] for name in FAMILY_COLUMNS})
    texts = ("symbol", "family", "blocker", "nearest")
    counts_of = ("candidates", "active", "entries")
    kinds = {
        name: pl.String if name in texts else pl.Int64 if name in counts_of else pl.Float64
        for name in FAMILY_COLUMNS
    }
    return pl.DataFrame(rows, schema=kinds)


def _dominant(counts: pl.DataFrame) -> tuple[int | None, float]:
    """The reason to name of (code, n), most first, and its share of all."""
    import polars as pl

    if not len(counts):
        return None, 0.0
    said = counts.filter(~pl.col(counts.columns[0]).is_in(SILENT_REASONS))
    code, n = (said if len(said) else counts).row(0)
    return int(code), n / int(counts["n"].sum())


def ordered(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns that every table of pairs has, null where nobody knows."""
    import polars as pl

    missing = [name for name in COLUMNS if name not in frame.columns]
    text = ("excluded", "blocker", "nearest", "symbol", "class", "class_reason")
    return frame.with_columns(
        pl.lit(None, pl.String if name in text else pl.Float64).alias(name) for name in missing
    ).select(*(name for name in ("day", "hour") if name in frame.columns), *COLUMNS)


def _quotes(decisions: pl.LazyFrame, interval_s: float, expected: int) -> pl.LazyFrame:
    import polars as pl

    quoted = decisions.filter((pl.col("bid") > 0) & (pl.col("ask") > pl.col("bid"))).sort(
        "sym", "generation"
    )
    minutes = (
        quoted.group_by("sym", minute=pl.col("ts") // MINUTE, maintain_order=True)
        .agg(mid=pl.col("mid_half_ticks").last().cast(pl.Float64))
        .sort("sym", "minute")
        .with_columns(
            near=(pl.col("minute") - pl.col("minute").shift(1)).over("sym") == 1,
            move=(pl.col("mid") / pl.col("mid").shift(1)).log().over("sym"),
        )
        .filter(pl.col("near"))
        .group_by("sym")
        .agg(vol_hour_bps=(pl.col("move").pow(2).mean() * 60.0).sqrt() * 10_000.0)
    )
    return (
        quoted.group_by("sym")
        .agg(
            hours=pl.len() * (interval_s / 3600.0),
            coverage=pl.len() / max(expected, 1),
            spread_mean_bps=pl.col("spread_bps").mean(),
            spread_median_bps=pl.col("spread_bps").median(),
            spread_p90_bps=pl.col("spread_bps").quantile(0.9, "linear"),
        )
        .join(minutes, on="sym", how="left")
    )


def _counts(decisions: pl.LazyFrame) -> pl.LazyFrame:
    import polars as pl

    return decisions.group_by("sym").agg(
        evaluations=pl.len(),
        ready=(pl.col("n_candidates") > 0).mean(),
        candidates=pl.col("n_candidates").sum(),
        active=pl.col("n_active").sum(),
        entries=(pl.col("outcome") == EXECUTE).sum(),
    )


def _market(health: pl.LazyFrame) -> pl.LazyFrame:
    """What the counters say between the first row of `health` and the last."""
    import polars as pl

    seconds = (pl.col("ts").max() - pl.col("ts").min()) / 1e9
    messages = pl.col("n_messages").max() - pl.col("n_messages").min()
    return health.group_by("sym").agg(
        trades=(pl.col("n_trades").max() - pl.col("n_trades").min()).cast(pl.Float64),
        updates_per_s=pl.when(seconds > 0).then(messages / seconds),
    )


def _edges(candidates: pl.LazyFrame) -> pl.LazyFrame:
    import polars as pl

    return (
        candidates.filter(pl.col("net_bps").is_not_null())
        .group_by("sym")
        .agg(edge_median_bps=pl.col("net_bps").median(), edge_best_bps=pl.col("net_bps").max())
    )


def _trading(tables: Tables) -> pl.LazyFrame:
    import polars as pl

    unit = float(MONEY_PER_UNIT)
    fills = (
        tables("fills")
        .group_by("sym")
        .agg(
            fills=pl.len(), volume=pl.col("notional").sum() / unit, fees=pl.col("fee").sum() / unit
        )
    )
    trips = tables("realized").group_by("sym").agg(net=pl.col("net").sum() / unit)
    return fills.join(trips, on="sym", how="full", coalesce=True)


def _reason(
    tables: Tables,
    sym: int,
    instruments: InstrumentTable,
    config: Mapping[str, Any],
    families: Mapping[int, str],
) -> dict[str, Any]:
    import polars as pl

    counts = (
        tables("blockers")
        .filter((pl.col("sym") == sym) & (pl.col("code") != OK))
        .group_by("code")
        .agg(pl.col("n").sum())
        .sort("n", "code", descending=[True, False])
        .collect()
    )
    code, share = _dominant(counts)
    if code is None:
        names = ("blocker", "blocker_share", "nearest", "nearest_value", "nearest_limit")
        return dict.fromkeys(names)
    pair = instruments[instruments.symbols[sym]]
    near = nearest_miss(tables, sym, code, config, families, pair)
    return {
        "blocker": REASONS[code][0],
        "blocker_share": share,
        "nearest": near.text,
        "nearest_value": near.value,
        "nearest_limit": near.limit,
    }


def with_market(frame: pl.DataFrame, market: pl.DataFrame) -> pl.DataFrame:
    """Numbers of the market in place of those that the run's tables cannot have, or only about."""
    import polars as pl

    known = [name for name in MARKET_COLUMNS if name in market.columns]
    joined = frame.join(market.select("symbol", *known), on="symbol", how="left", suffix="_market")
    joined = joined.with_columns(
        pl.coalesce(pl.col(f"{name}_market"), pl.col(name)).alias(name) for name in known
    )
    return ordered(with_suitability(joined.select(frame.columns)))


# --- filters and ranking -----------------------------------------------------------------------


class Threshold(NamedTuple):
    """One condition that a pair must meet."""

    column: str
    sign: str
    value: float | str

    def expression(self) -> pl.Expr:
        import polars as pl

        column, value = self._read(), pl.lit(self.value)
        passed: pl.Expr = {
            "<": column < value,
            "<=": column <= value,
            ">": column > value,
            ">=": column >= value,
            "=": column == value,
            "!=": column != value,
        }[self.sign]
        return passed.fill_null(False)

    def reason(self) -> pl.Expr:
        """Why a row that does not meet it is left out."""
        import polars as pl

        column = self._read()
        shown = column.round(4).cast(pl.String) if self.is_number else column
        wanted = f" is not {self.sign} {_bare(self.value)}"
        text = pl.concat_str(pl.lit(f"{self.column} "), shown.fill_null("unknown"), pl.lit(wanted))
        return pl.when(~self.expression()).then(text)

    def _read(self) -> pl.Expr:
        import polars as pl

        column = pl.col(self.column)
        return column if self.is_number else column.cast(pl.String)

    @property
    def is_number(self) -> bool:
        return isinstance(self.value, float)


def _bare(value: float | str) -> str:
    return f"{value:g}" if isinstance(value, float) else value


_CONDITION: Final = re.compile(r"\s*(\w+)\s*(<=|>=|!=|<|>|==?)\s*(.+?)\s*")
_TEXTS: Final = frozenset({"symbol", "blocker", "nearest", "excluded", "class", "class_reason"})


def read_threshold(text: str) -> Threshold:
    """A condition as a person writes it: `spread_median_bps<20`, `blocker!=ROUTE_STALE`.

    raises ConfigError for a column that is not known, or a number that is none
    """
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"--where {text!r} is no condition.", "Write it as in spread_median_bps<20."
        )
    column, sign, value = match.groups()
    known_column(column, "--where")
    sign = "=" if sign == "==" else sign
    if column in _TEXTS:
        return Threshold(column, sign, value)
    if column == "partial":
        return Threshold(column, sign, "true" if value.lower() in ("true", "yes", "1") else "false")
    try:
        return Threshold(column, sign, float(value.replace("_", "")))
    except ValueError:
        raise ConfigError(f"--where {text!r}: {value!r} is not a number.") from None


def known_column(name: str, option: str) -> None:
    """Raise ConfigError with the nearest names for a column that a table of pairs does not have."""
    if name in COLUMNS:
        return
    near = difflib.get_close_matches(name, COLUMNS, 3, 0.4)
    raise ConfigError(
        f"{option}: a table of pairs has no column {name!r}.",
        f"Nearest: {', '.join(near)}." if near else f"It has {', '.join(COLUMNS)}.",
    )


def choose(
    frame: pl.DataFrame, thresholds: Iterable[Threshold] = (), sort: str = "-turnover"
) -> pl.DataFrame:
    """Ranked by `sort` (a column, `-` in front: largest first); what fails a threshold stands last.

    Each row that fails says in `excluded` which condition and with what value, the first first.
    """
    import polars as pl

    column = sort.removeprefix("-")
    known_column(column, "--sort")
    wanted = tuple(thresholds)
    reasons = pl.concat_list([each.reason() for each in wanted]) if wanted else None
    said = pl.lit(None, pl.String)
    if reasons is not None:
        joined = reasons.list.drop_nulls().list.join("; ")
        said = pl.when(joined != "").then(joined)
    judged = frame.with_columns(excluded=said).sort(
        pl.col("excluded").is_not_null(),
        column,
        "symbol",
        descending=[False, sort.startswith("-"), False],
        nulls_last=True,
        maintain_order=True,
    )
    passes = pl.col("excluded").is_null()
    return judged.with_columns(rank=pl.when(passes).then(passes.cum_sum()).cast(pl.Int64))


# --- the same numbers in SQL ---------------------------------------------------------------------


def pair_views(config: Mapping[str, Any], symbols: tuple[str, ...]) -> list[str]:
    """Statements that make `pair_summary` and `evaluation_numbers` over the tables in schema `raw`.

    `evaluation_numbers` : per evaluation the best net edge and how fast it moves since the one before, in
    bps per minute, and the median of the candidates that were recorded: a sampled row counts as many as it
    stands for
    """
    interval_s = config["evaluation"]["interval"] / 1e9
    names = ", ".join(f"({i}, '{each}')" for i, each in enumerate(symbols))
    codes = ", ".join(f"({code}, '{name}')" for code, (name, _) in REASONS.items())
    silent = ", ".join(map(str, SILENT_REASONS))
    unit = MONEY_PER_UNIT
    summary = f"""
    CREATE VIEW pair_summary AS
    WITH pair(sym, symbol) AS (VALUES {names}), reason(code, name) AS (VALUES {codes}),
    span AS (
        SELECT round((max(ts) - min(ts)) / 1e9 / {interval_s}) + 1 AS n FROM raw.evaluations
    ),
    quoted AS (SELECT * FROM raw.decisions WHERE bid > 0 AND ask > bid),
    minutes AS (
        SELECT sym, ts // {MINUTE} AS minute, arg_max(mid_half_ticks, generation) AS mid
        FROM quoted GROUP BY ALL
    ),
    moves AS (
        SELECT sym, CASE WHEN minute - lag(minute) OVER w = 1
            THEN ln(mid / lag(mid) OVER w) END AS move
        FROM minutes WINDOW w AS (PARTITION BY sym ORDER BY minute)
    ),
    vols AS (
        SELECT sym, sqrt(avg(move * move) * 60) * 10000 AS vol_hour_bps FROM moves GROUP BY sym
    ),
    quotes AS (
        SELECT sym, count(*) * {interval_s} / 3600 AS hours,
            count(*) / any_value((SELECT n FROM span)) AS coverage,
            avg(spread_bps) AS spread_mean_bps, median(spread_bps) AS spread_median_bps,
            quantile_cont(spread_bps, 0.9) AS spread_p90_bps
        FROM quoted GROUP BY sym
    ),
    counts AS (
        SELECT sym, count(*) AS evaluations, avg((n_candidates > 0)::INT) AS ready,
            sum(n_candidates)::BIGINT AS candidates, sum(n_active)::BIGINT AS active,
            count(*) FILTER (outcome = {EXECUTE}) AS entries
        FROM raw.decisions GROUP BY sym
    ),
    updates AS (
        SELECT sym, max(n_trades) - min(n_trades) AS trades,
            (max(n_messages) - min(n_messages)) / nullif((max(ts) - min(ts)) / 1e9, 0)
                AS updates_per_s
        FROM raw.health GROUP BY sym
    ),
    edges AS (
        SELECT sym, median(net_bps) AS edge_median_bps, max(net_bps) AS edge_best_bps
        FROM raw.candidates WHERE NOT isnan(net_bps) GROUP BY sym
    ),
    filled AS (
        SELECT sym, count(*) AS fills, sum(notional) / {unit} AS volume, sum(fee) / {unit} AS fees
        FROM raw.fills GROUP BY sym
    ),
    trips AS (SELECT sym, sum(net) / {unit} AS net FROM raw.realized GROUP BY sym),
    stopped AS (
        SELECT sym, code, sum(n) AS n, sum(sum(n)) OVER (PARTITION BY sym) AS every
        FROM raw.blockers WHERE code != {OK} GROUP BY sym, code
    ),
    dominant AS (
        SELECT sym, code, n / every AS share FROM stopped
        QUALIFY row_number() OVER (
            PARTITION BY sym ORDER BY code IN ({silent}), n DESC, code
        ) = 1
    )
    SELECT symbol, coalesce(hours, 0) AS hours, coalesce(coverage, 0) AS coverage,
        coalesce(coverage, 0) < {PARTIAL_BELOW} AS partial, trades, spread_mean_bps,
        spread_median_bps, spread_p90_bps, vol_hour_bps, updates_per_s, coalesce(evaluations, 0) AS evaluations,
        ready, coalesce(candidates, 0) AS candidates, coalesce(active, 0) AS active,
        edge_median_bps, edge_best_bps, coalesce(entries, 0) AS entries,
        coalesce(fills, 0) AS fills, coalesce(volume, 0) AS volume, coalesce(fees, 0) AS fees,
        coalesce(net, 0) AS net, name AS blocker, share AS blocker_share
    FROM pair LEFT JOIN quotes USING (sym) LEFT JOIN vols USING (sym) LEFT JOIN counts USING (sym)
        LEFT JOIN updates USING (sym) LEFT JOIN edges USING (sym) LEFT JOIN filled USING (sym)
        LEFT JOIN trips USING (sym) LEFT JOIN dominant USING (sym) LEFT JOIN reason USING (code)
    ORDER BY sym
    """
    numbers = """
    CREATE VIEW evaluation_numbers AS
    WITH priced AS (
        SELECT generation, net_bps,
            sum(weight) OVER (PARTITION BY generation ORDER BY net_bps, route) AS upto,
            sum(weight) OVER (PARTITION BY generation) AS every
        FROM raw.candidates WHERE NOT isnan(net_bps)
    ),
    medians AS (
        SELECT generation, count(*) AS recorded, any_value(every)::BIGINT AS stands_for,
            min(net_bps) FILTER (2 * upto >= every) AS edge_median_bps
        FROM priced GROUP BY generation
    ),
    best AS (
        SELECT ts, generation, CASE WHEN NOT isnan(best_net_bps) THEN best_net_bps END AS best
        FROM raw.evaluations
    )
    SELECT make_timestamp_ns(ts) AS time, ts, generation, best AS edge_best_bps, edge_median_bps,
        (best - lag(best) OVER w) / ((ts - lag(ts) OVER w) / 60e9) AS edge_velocity_bps_min,
        coalesce(recorded, 0) AS recorded, coalesce(stands_for, 0) AS stands_for
    FROM best LEFT JOIN medians USING (generation)
    WINDOW w AS (ORDER BY generation) ORDER BY generation
    """
    return [summary, numbers]
