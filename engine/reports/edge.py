"""Where do the two models of the edge differ, and who was right?

Reads the table `adaptive` (rows where `adaptive.mode` was 1 or 2) and, where candidates were followed
(`records.shadow`), their outcomes: the result of the hypothetical trade after costs, given that its entry
filled. Neighbouring evaluations follow nearly the same trade, so intervals are of blocks of a
quarter hour, and are still too narrow where trades last longer. An outcome counts only if its whole trade
could be seen: where the ring of observations was too small for all, those that met a stop or target soon are known and
the others are not, and would be missing from the middle. Nothing here has an effect on orders.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from engine.core.adaptive import MARKET_NAMES
from engine.core.routes import FAMILY_NAMES, route_family

if TYPE_CHECKING:
    import polars as pl

    from engine.reports.frames import Run

BLOCK_NS: Final = 900_000_000_000
NEAR_BPS: Final = (
    0.3  # a stop and a target are in whole ticks: an outcome so near a quantile is at it
)
_T_975: Final = (  # two-sided 95 % of Student's t, by degrees of freedom from 1
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


class Mean(NamedTuple):
    """A mean with its 95 % interval, from `n` rows in `blocks` blocks; None where there are too few."""

    n: int
    blocks: int
    mean: float | None
    low: float | None
    high: float | None


class EdgeReport(NamedTuple):
    """What `run edge` prints."""

    judged: int  # rows of `adaptive`
    evaluations: int  # symbols x evaluations with a winner by the first model
    agreed: float | None  # share of them in which V2 has the same winner
    refused: float | None  # share in which V2 admits none
    rank_correlation: float | None  # Spearman, of the scores of all rows
    first: Mean  # outcome of the first model's winner where the two differ
    second: Mean  # of V2's
    difference: Mean  # V2's less the first's, in pairs
    quantiles: list[dict[str, Any]]  # expected share below a quantile, shares below and up to it
    routes: list[dict[str, Any]]  # components by family and kind of market


def block_mean(values: list[float], times: list[int]) -> Mean:
    """Mean of values whose neighbours in time belong together.

    The interval is that of the means of the blocks, weighted alike (batch means; Student's t).
    """
    if not values:
        return Mean(0, 0, None, None, None)
    means = [math.fsum(each) / len(each) for each in _blocks(values, times)]
    mean = math.fsum(means) / len(means)
    return _with_interval(len(values), mean, [(each - mean) / len(means) for each in means])


def clustered_mean(values: list[float], times: list[int]) -> Mean:
    """Mean in which every value counts alike, and those of a quarter hour are one draw of the interval.

    The spread is that of the sums of the blocks about the mean (Liang and Zeger 1986, with G / (G - 1);
    Student's t): for one value a block it is the usual standard error.
    """
    if not values:
        return Mean(0, 0, None, None, None)
    n = len(values)
    mean = math.fsum(values) / n
    sums = [math.fsum(one - mean for one in each) for each in _blocks(values, times)]
    return _with_interval(n, mean, [each / n for each in sums])


def _blocks(values: list[float], times: list[int]) -> list[list[float]]:
    blocks: dict[int, list[float]] = {}
    for value, ts in zip(values, times, strict=True):
        blocks.setdefault(ts // BLOCK_NS, []).append(value)
    return list(blocks.values())


def _with_interval(n: int, mean: float, parts: list[float]) -> Mean:
    """parts : what each block moves the mean by"""
    blocks = len(parts)
    if blocks < 2:
        return Mean(n, blocks, mean, None, None)
    spread = math.sqrt(math.fsum(each**2 for each in parts) * blocks / (blocks - 1))
    reach = (_T_975[blocks - 2] if blocks - 1 <= len(_T_975) else 1.96) * spread
    return Mean(n, blocks, mean, mean - reach, mean + reach)


def edge_report(run: Run) -> EdgeReport:
    """The two models of one run, compared."""
    import polars as pl

    rows = run.scan("adaptive").collect()
    key = ["generation", "sym"]
    later = (
        run.scan("outcomes")
        .filter((pl.col("side") > 0) & (pl.col("filled") == 1) & pl.col("trade_bps").is_not_null())
        .filter(_seen_whole(run))
        .select(*key, "route", "trade_bps")
        .collect()
        .unique([*key, "route"], keep="first")
    )
    known = rows.join(later, on=[*key, "route"], how="left")
    first = known.filter(pl.col("v1_winner") == 1).select(*key, "ts", "route", "trade_bps")
    second = known.filter(pl.col("v2_winner") == 1).select(*key, "route", "trade_bps")
    pairs = first.join(second, on=key, how="left", suffix="_v2")
    differ = pairs.filter(
        (pl.col("route") != pl.col("route_v2"))
        & pl.col("trade_bps").is_not_null()
        & pl.col("trade_bps_v2").is_not_null()
    )
    times = differ["ts"].to_list()
    ones, twos = differ["trade_bps"].to_list(), differ["trade_bps_v2"].to_list()
    n = pairs.height
    correlation = None
    if rows.height > 2:
        found = rows.select(pl.corr("v1_score", "v2_score", method="spearman")).item()
        correlation = None if found is None or math.isnan(found) else float(found)
    return EdgeReport(
        judged=rows.height,
        evaluations=n,
        agreed=pairs.filter(pl.col("route") == pl.col("route_v2")).height / n if n else None,
        refused=pairs["route_v2"].null_count() / n if n else None,
        rank_correlation=correlation,
        first=block_mean(ones, times),
        second=block_mean(twos, times),
        difference=block_mean([b - a for a, b in zip(ones, twos, strict=True)], times),
        quantiles=_quantiles(known),
        routes=_routes(rows),
    )


def _seen_whole(run: Run) -> pl.Expr:
    """Was the trade over before its observation was closed? By the longest it could have lasted."""
    import polars as pl

    config = run.manifest["config"]
    window = int(config["orders"]["maker_window"])
    hold = pl.col("horizon_s") * float(config["exits"]["time_multiple"]) * 1e9
    return (pl.col("closed_ts") - pl.col("ts")).cast(pl.Float64) >= hold + window


def _quantiles(known: pl.DataFrame) -> list[dict[str, Any]]:
    import polars as pl

    with_outcome = known.filter(pl.col("trade_bps").is_not_null())
    out = []
    for column, expected in (("q10_bps", 0.1), ("q50_bps", 0.5), ("q90_bps", 0.9)):
        below = with_outcome.filter(pl.col("trade_bps") < pl.col(column)).height
        near = with_outcome.filter(pl.col("trade_bps") <= pl.col(column) + NEAR_BPS).height
        n = with_outcome.height
        out.append(
            {
                "quantile": expected,
                "below": below / n if n else None,
                "up_to": near / n if n else None,
                "n": n,
            }
        )
    return out


def _routes(rows: pl.DataFrame) -> list[dict[str, Any]]:
    import polars as pl

    if rows.height == 0:
        return []
    families = [FAMILY_NAMES.get(int(route_family(key)), "user") for key in rows["route"]]
    numbers = (
        *("v1_net_bps", "v2_net_bps", "q10_bps", "trimmed_bps", "cover_prob", "fee_bps"),
        *("stop_share", "trail_share", "target_share", "time_share"),
        *("stop_slip_bps", "give_back_bps", "target_miss_bps", "admissible"),
    )
    grouped = (
        rows.with_columns(pl.Series("family", families))
        .group_by("family", "market")
        .agg(pl.len().alias("n"), *(pl.col(each).mean() for each in numbers))
        .sort("family", "market")
    )
    return [
        {**row, "market": MARKET_NAMES.get(row["market"], str(row["market"]))}
        for row in grouped.to_dicts()
    ]
