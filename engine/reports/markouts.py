"""What did the market do after our fills? Mid against fill price, some seconds later.

markout at h = side x (mid h later - fill price), in bps of the fill price; + is good for us. The
mid is that of the evaluations, so it is as fine as the evaluation timer; a fill whose run ends
before h has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import polars as pl

    from engine.reports.frames import Run

HORIZONS_S: Final = (1, 5, 10, 30, 60, 300)


def markouts(run: Run, horizons_s: tuple[int, ...] = HORIZONS_S) -> pl.DataFrame:
    """One row per fill and horizon: the fill's columns that matter, `horizon_s`, `markout_bps`.

    horizons_s : seconds after the fill at the venue, > 0
    """
    import polars as pl

    fills = run.scan("fills").select(
        "ts_venue", "sym", "symbol", "order", "role_name", "side", "maker", "route_name",
        "price_quote", "notional_quote",
    )  # fmt: skip
    mids = (
        run.scan("decisions")
        .filter((pl.col("bid") > 0) & (pl.col("ask") > 0))
        .select("ts", "sym", pl.col("mid_quote").alias("mid_later"))
        .sort("ts")
    )
    last = mids.select(pl.col("ts").max()).collect().item()
    parts = [
        fills.with_columns(at=pl.col("ts_venue") + horizon * 1_000_000_000)
        .with_columns(horizon_s=pl.lit(horizon, pl.Int64))
        .sort("at")
        .join_asof(
            mids,
            left_on="at",
            right_on="ts",
            by="sym",
            strategy="backward",
            check_sortedness=False,  # both are; polars cannot check it within groups
        )
        .filter(pl.col("at") <= last)
        .drop("at", "ts")
        for horizon in horizons_s
    ]
    later = pl.col("mid_later") - pl.col("price_quote")
    bps = (pl.col("side") * later / pl.col("price_quote") * 10_000.0).alias("markout_bps")
    return pl.concat(parts).with_columns(bps).collect()
