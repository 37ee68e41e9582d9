"""How suitable is a pair, from 0 to 100, by what; and what kind of pair is it?

Four measures of its market, each a piece between a worst and a best value, straight in the logarithm, each with
a weight in points; their sum is the suitability. It ranks pairs for people and sizes nothing. The class says in one
word what stands out, with the number that decided. All bounds are our own and parameters.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import polars as pl


class Piece(NamedTuple):
    """One measure. worst gives no point and best all of them, on a logarithmic scale between."""

    column: str
    points: float
    worst: float
    best: float


PIECES: Final = {
    "suit_spread": Piece("spread_median_bps", 30.0, 50.0, 1.0),
    "suit_depth": Piece("depth_10", 25.0, 1_000.0, 1_000_000.0),
    "suit_trades": Piece("_trades_per_hour", 20.0, 10.0, 3_000.0),
    "suit_move": Piece("_moves_per_spread", 25.0, 2.0, 100.0),
}
assert sum(each.points for each in PIECES.values()) == 100.0

_READ: Final = (*("hours", "trades", "spread_median_bps", "depth_10", "vol_hour_bps", "tick_bps"),)

STABLE_VOL_BPS: Final = 5.0  # an hour's volatility below: the pair hardly moves
WIDE_TICK_BPS: Final = 5.0  # one tick above: the price is coarse
THIN_SPREAD_BPS: Final = 25.0
THIN_DEPTH: Final = 5_000.0
THIN_TRADES: Final = 10.0  # per hour
MAJOR_SPREAD_BPS: Final = 2.0
MAJOR_DEPTH: Final = 500_000.0
MAJOR_TRADES: Final = 500.0


def with_suitability(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns `suitability`, its four parts, `class` and `class_reason`; null where a measure is missing.

    frame : has hours, trades, spread_median_bps, depth_10, vol_hour_bps and tick_bps; amounts are in the quote
    currency, so bounds of depth are for one that is worth about a dollar
    """
    import polars as pl

    hours, spread = pl.col("hours"), pl.col("spread_median_bps")
    # A column that nobody has a number for has no type of its own.
    typed = frame.with_columns(pl.col(_READ).cast(pl.Float64))
    made = typed.with_columns(
        pl.when(hours > 0).then(pl.col("trades") / hours).alias("_trades_per_hour"),
        pl.when(spread > 0).then(pl.col("vol_hour_bps") / spread).alias("_moves_per_spread"),
    )
    made = made.with_columns(_points(each).alias(name) for name, each in PIECES.items())
    # A sum with a part missing is no sum: polars gives null for it.
    total = pl.sum_horizontal(*PIECES, ignore_nulls=False)
    made = made.with_columns(total.alias("suitability"), *_class())
    return made.drop("_trades_per_hour", "_moves_per_spread")


def _points(piece: Piece) -> pl.Expr:
    import polars as pl

    value = pl.col(piece.column)
    width = math.log(piece.best) - math.log(piece.worst)
    # Nothing at all is as bad as it gets; its logarithm would be minus infinity.
    floor = pl.max_horizontal(value, pl.lit(min(piece.worst, piece.best) / 2))
    share = (floor.log() - math.log(piece.worst)) / width
    return pl.when(value.is_not_null()).then(share.clip(0.0, 1.0) * piece.points)


def _class() -> tuple[pl.Expr, pl.Expr]:
    import polars as pl

    spread, depth = pl.col("spread_median_bps"), pl.col("depth_10")
    trades, vol, tick = pl.col("_trades_per_hour"), pl.col("vol_hour_bps"), pl.col("tick_bps")
    known = pl.all_horizontal(each.is_not_null() for each in (spread, depth, trades, vol, tick))
    rules = (
        ("stable", vol < STABLE_VOL_BPS, "moves ", vol, " bps in an hour"),
        ("wide tick", tick > WIDE_TICK_BPS, "a tick is ", tick, " bps"),
        ("thin", spread > THIN_SPREAD_BPS, "spread ", spread, " bps"),
        ("thin", depth < THIN_DEPTH, "depth within 10 bps ", depth, ""),
        ("thin", trades < THIN_TRADES, "trades per hour ", trades, ""),
        (
            "major",
            (spread <= MAJOR_SPREAD_BPS) & (depth >= MAJOR_DEPTH) & (trades >= MAJOR_TRADES),
            "depth within 10 bps ",
            depth,
            "",
        ),
        ("liquid", pl.lit(True), "spread ", spread, " bps"),
    )
    name, reason = pl.lit(None, pl.String), pl.lit(None, pl.String)
    for kind, holds, before, value, unit in reversed(rules):
        said = pl.concat_str(pl.lit(before), value.round(2).cast(pl.String), pl.lit(unit))
        name = pl.when(holds).then(pl.lit(kind)).otherwise(name)
        reason = pl.when(holds).then(said).otherwise(reason)
    return pl.when(known).then(name).alias("class"), pl.when(known).then(reason).alias(
        "class_reason"
    )
