"""Was the edge there that was expected, and where did the rest go? Round trips, part by part.

A trip's result is its move (of the mid, from the entry fills to the exit fills), plus what the entries
gained against the mid of their moment, plus the same of the exits, less the fees: in money these four
are the net result exactly, and bps are of what was bought. Expected are the same four as the row of
the chosen candidate had them, and what it set aside (adverse selection, latency, buffer), which has
no part of its own afterwards: it shows in the move. The bias is the result less what was expected.

Only trips whose fills all know a mid are split; the others are counted. Left out: what became of
candidates that were not chosen (outcomes.py), markouts (markouts.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from engine.reports.edge import Mean, clustered_mean

if TYPE_CHECKING:
    import polars as pl

    from engine.reports.frames import Run

GROUPS: Final = ("family", "route", "hour", "symbol", "exit", "entry_mode")
PARTS: Final = ("move", "entry", "exit", "fees")  # of a result; `set aside` only of an expectation


class Attributed(NamedTuple):
    """One group of round trips; parts are means in bps of what was bought."""

    group: str
    bias: Mean  # of trips: realised less expected
    expected_bps: float
    realized_bps: float
    parts: dict[str, float]  # realised: PARTS
    expected: dict[str, float]  # the same, and `aside`
    net_quote: float  # sum of the trips


class Attribution(NamedTuple):
    """What `run attribution` prints. n_left : round trips that could not be split"""

    rows: list[Attributed]
    total: Attributed | None
    n_trips: int
    n_left: int


def trips(run: Run) -> pl.DataFrame:
    """One row per round trip that could be split: `time`, groups, result and expectation in bps.

    Columns: sym, ts, opened_ts, one per GROUPS, expected_bps, realized_bps, net_quote; `is_<part>_bps`
    and `exp_<part>_bps` for each of PARTS, exp_aside_bps.
    """
    import polars as pl

    realized = run.scan("realized").with_row_index("trip").collect()
    fills = run.scan("fills").with_row_index("n").collect()
    # A fill belongs to the first trip of its symbol that ends at it or later.
    mine = (
        fills.sort("ts", "n")
        .join_asof(
            realized.select("trip", "sym", "opened_ts", ended="ts").sort("ended"),
            left_on="ts",
            right_on="ended",
            by="sym",
            strategy="forward",
            check_sortedness=False,  # both are; polars cannot check it within groups
        )
        .filter(pl.col("ts") >= pl.col("opened_ts"))
    )
    at_mid = pl.col("notional") * pl.col("mid_half_ticks") / (2.0 * pl.col("price"))
    gain = pl.col("side") * (at_mid - pl.col("notional"))  # against the mid of that moment
    buys = pl.col("side") > 0
    legs = mine.group_by("trip").agg(
        entry=gain.filter(buys).sum(),
        leave=gain.filter(~buys).sum(),
        move=-(pl.col("side") * at_mid).sum(),
        whole=(pl.col("mid_half_ticks") > 0).all(),
        lots=pl.col("qty").filter(buys).sum(),
        generation=pl.col("generation").filter(buys).first(),
    )
    expected = (
        run.scan("candidates")
        .filter(pl.col("executed") == 1)
        .select(
            "generation", "sym", "route", "family_name", "entry_mode_name",
            exp_move_bps="gross_bps",
            exp_entry_bps=-(pl.col("spread_in_bps") + pl.col("slip_in_bps")),
            exp_exit_bps=-(pl.col("spread_out_bps") + pl.col("slip_out_bps")),
            exp_fees_bps=-(pl.col("entry_fee_bps") + pl.col("exit_fee_bps")),
            exp_aside_bps=-(
                pl.col("adverse_bps") + pl.col("latency_bps") + pl.col("buffer_bps")
            ),
        )
        .collect()
        .unique(["generation", "sym", "route"], keep="first", maintain_order=True)
    )  # fmt: skip
    in_bps = 10_000.0 / pl.col("bought")
    return (
        realized.join(legs, on="trip", how="inner")
        .filter(pl.col("whole") & (pl.col("lots") == pl.col("qty")) & (pl.col("bought") > 0))
        .join(expected, on=["generation", "sym", "route"], how="inner")
        .sort("trip")
        .select(
            "time", "ts", "sym", "opened_ts",
            family="family_name",
            route="route_name",
            hour=pl.from_epoch("opened_ts", time_unit="ns").dt.strftime("%H:00"),
            symbol="symbol",
            exit="exit_reason_name",
            entry_mode="entry_mode_name",
            expected_bps="expected_bps",
            realized_bps=pl.col("net") * in_bps,
            net_quote="net_quote",
            is_move_bps=pl.col("move") * in_bps,
            is_entry_bps=pl.col("entry") * in_bps,
            is_exit_bps=pl.col("leave") * in_bps,
            is_fees_bps=-pl.col("fees") * in_bps,
            exp_move_bps="exp_move_bps",
            exp_entry_bps="exp_entry_bps",
            exp_exit_bps="exp_exit_bps",
            exp_fees_bps="exp_fees_bps",
            exp_aside_bps="exp_aside_bps",
        )
    )  # fmt: skip


def attribution(run: Run, by: str = "family") -> Attribution:
    """Round trips by one of GROUPS, the dearest first; and all of them together."""
    found = trips(run)
    n_trips = run.table("realized").height
    rows = [_attributed(str(key[0]), part) for key, part in found.group_by(by, maintain_order=True)]
    rows.sort(key=lambda each: (each.net_quote, each.group))
    total = _attributed("all", found) if found.height else None
    return Attribution(rows, total, n_trips, n_trips - found.height)


def _attributed(group: str, part: pl.DataFrame) -> Attributed:
    bias = (part["realized_bps"] - part["expected_bps"]).to_list()

    def mean(name: str) -> float:
        value: Any = part[name].mean()
        return float(value)

    return Attributed(
        group,
        clustered_mean(bias, part["ts"].to_list()),
        mean("expected_bps"),
        mean("realized_bps"),
        {each: mean(f"is_{each}_bps") for each in PARTS},
        {each: mean(f"exp_{each}_bps") for each in (*PARTS, "aside")},
        float(part["net_quote"].sum()),
    )
