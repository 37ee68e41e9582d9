"""What does a run look like? Plotly figures, returned and never shown, times in UTC.

Each takes an opened Run (engine/reports/frames.py) and is made from its recorded tables; the book
also needs the capture's events, sampled by engine/reports/bookview.py. plotly comes with the extra
`notebook` and is loaded when a figure is asked for.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from engine.clock import utc_text
from engine.core.orderstates import (
    ORDER_STATE_AMEND_PENDING,
    ORDER_STATE_CANCEL_PENDING,
    ORDER_STATE_OPEN,
    ORDER_STATE_PARTIAL,
)
from engine.core.positions import POSITION_CLOSED, POSITION_NONE
from engine.core.records import EXECUTE
from engine.events import BUY, SELL
from engine.reports.bookview import BookView
from engine.reports.frames import need
from engine.reports.funnel import blocker_counts, funnel_rows
from engine.reports.markouts import HORIZONS_S, markouts

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl

    from engine.reports.frames import Run

BID: Final = "#2b6cb0"
ASK: Final = "#c05621"
MID: Final = "#718096"
GOOD: Final = "#2f855a"
BAD: Final = "#c53030"
SIDES: Final = (
    (BUY, "bought", "triangle-up", GOOD),
    (SELL, "sold", "triangle-down", BAD),
)
RESTING: Final = (
    ORDER_STATE_OPEN,
    ORDER_STATE_PARTIAL,
    ORDER_STATE_AMEND_PENDING,
    ORDER_STATE_CANCEL_PENDING,
)
POINTS_MAX: Final = 20_000  # of a line; more is thinned, since nobody can see it
ROWS_OF_HEAT: Final = 160
COSTS: Final = {
    "entry_fee_bps": "entry fee",
    "exit_fee_bps": "exit fee",
    "spread_in_bps": "spread at entry",
    "spread_out_bps": "spread at exit",
    "slip_in_bps": "slippage at entry",
    "slip_out_bps": "slippage at exit",
    "adverse_bps": "adverse selection",
    "latency_bps": "latency",
    "buffer_bps": "buffer",
}


def _figure(title: str, x: str, y: str) -> go.Figure:
    graph = need("plotly.graph_objects", "notebook")
    figure: go.Figure = graph.Figure()
    figure.update_layout(
        title=title,
        template="plotly_white",
        xaxis_title=x,
        yaxis_title=y,
        legend={"orientation": "h", "y": -0.2},
        margin={"l": 70, "r": 20, "t": 50, "b": 60},
    )
    return figure


def _times(frame: pl.DataFrame, column: str = "time") -> np.ndarray:
    times: np.ndarray = frame[column].dt.replace_time_zone(None).to_numpy()
    return times


def _thin(frame: pl.DataFrame) -> pl.DataFrame:
    step = -(-len(frame) // POINTS_MAX)
    return frame.gather_every(step) if step > 1 else frame


def _line(frame: pl.DataFrame, y: str, name: str, color: str, **line: Any) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": _times(frame),
        "y": frame[y].to_numpy(),
        "mode": "lines",
        "name": name,
        "line": {"color": color, "width": 1, **line},
    }


def _between(frame: pl.LazyFrame, start: Any, end: Any, column: str = "time") -> pl.LazyFrame:
    import polars as pl

    for moment, is_start in ((start, True), (end, False)):
        if moment is not None:
            edge = pl.lit(moment, dtype=pl.Datetime("ns", "UTC"))
            frame = frame.filter(pl.col(column) >= edge if is_start else pl.col(column) < edge)
    return frame


def price_picture(run: Run, symbol: str, start: Any = None, end: Any = None) -> go.Figure:
    """Bid, ask and mid with entries, exits, and the stop in force.

    start, end : datetimes in UTC, half open; None: the whole run
    """
    import polars as pl

    sym = run.frame.instruments.index(symbol)
    name = run.symbols[sym]
    ours = pl.col("sym") == sym
    quotes = run.scan("decisions").filter(ours & (pl.col("bid") > 0) & (pl.col("ask") > 0))
    frame = _thin(_between(quotes.sort("ts"), start, end).collect())
    figure = _figure(f"{name}: quotes, fills and stops", "time (UTC)", f"price ({run.quote})")
    figure.add_traces(
        [
            _line(frame, "bid_quote", "best bid", BID),
            _line(frame, "ask_quote", "best ask", ASK),
            _line(frame, "mid_quote", "mid", MID, dash="dot"),
        ]
    )
    positions = _between(run.scan("positions").filter(ours).sort("ts"), start, end).collect()
    if len(positions):
        over = pl.col("state").is_in([POSITION_NONE, POSITION_CLOSED]) | (pl.col("stop") == 0)
        stops = positions.with_columns(stop_quote=pl.when(~over).then(pl.col("stop_quote")))
        figure.add_trace(_line(stops, "stop_quote", "stop", BAD, shape="hv", dash="dash"))
    fills = _between(run.scan("fills").filter(ours), start, end).collect()
    for side, text, shape, color in SIDES:
        figure.add_trace(_fill_markers(fills.filter(pl.col("side") == side), text, shape, color))
    return figure


def _fill_markers(fills: pl.DataFrame, text: str, shape: str, color: str) -> dict[str, Any]:
    notes = [
        f"{row['role_name']}, {'maker' if row['maker'] else 'taker'}, {row['qty_base']:g}<br>"
        f"fee {row['fee_quote']:.4f}<br>{row['route_name'] or ''}"
        for row in fills.to_dicts()
    ]
    return {
        "type": "scatter",
        "x": _times(fills),
        "y": fills["price_quote"].to_numpy(),
        "mode": "markers",
        "name": text,
        "text": notes,
        "hovertemplate": "%{x}<br>%{y}<br>%{text}<extra>" + text + "</extra>",
        "marker": {"symbol": shape, "size": 11, "color": color, "line": {"width": 1}},
    }


def equity_picture(run: Run) -> go.Figure:
    """Equity and, below it, the drawdown from its peak."""
    frame = _thin(run.equity)
    figure = _figure("equity and drawdown", "time (UTC)", f"equity ({run.quote})")
    figure.add_trace(_line(frame, "equity_quote", "equity", BID))
    fall = _line(frame, "drawdown_quote", "drawdown", BAD)
    fall |= {"y": -fall["y"], "yaxis": "y2", "fill": "tozeroy"}
    figure.add_trace(fall)
    figure.update_layout(
        yaxis={"domain": [0.36, 1.0]},
        yaxis2={"domain": [0.0, 0.28], "title": f"drawdown ({run.quote})"},
        xaxis={"anchor": "y2"},
    )
    return figure


def beside_picture(first: Run, second: Run) -> go.Figure:
    """Equity of two runs; below it, what the second has filled more than the first so far.

    The difference is of signed value: bought counts up, sold down, so that the line shows how far
    apart their positions are, at the prices paid.
    """
    import polars as pl

    figure = _figure(
        "two runs side by side: equity, and fills", "time (UTC)", f"equity ({first.quote})"
    )
    for run, name, color in ((first, "first", BID), (second, "second", ASK)):
        figure.add_trace(_line(_thin(run.equity), "equity_quote", f"equity, {name}", color))
    parts = [
        run.scan("fills").select(
            "time", "ts", value=sign * pl.col("side") * pl.col("notional_quote")
        )
        for run, sign in ((first, -1), (second, 1))
    ]
    apart = (
        pl.concat(parts)
        .group_by("time", "ts")
        .agg(pl.col("value").sum())
        .sort("ts")
        .with_columns(pl.col("value").cum_sum())
        .collect()
    )
    line = _line(_thin(apart), "value", "fills, second - first", BAD, shape="hv")
    figure.add_trace(line | {"yaxis": "y2"})
    figure.update_layout(
        yaxis={"domain": [0.36, 1.0]},
        yaxis2={"domain": [0.0, 0.28], "title": f"bought - sold ({first.quote})"},
        xaxis={"anchor": "y2"},
    )
    return figure


def funnel_picture(run: Run) -> go.Figure:
    """How many candidates were left after each stage."""
    rows = [row for row in funnel_rows(run) if row[0] not in ("evaluations", "symbols looked at")]
    stages = [row for row in rows if row[0] != "symbols ready"]
    figure = _figure("from candidates to won round trips", "number, log scale", "")
    figure.add_trace(
        {
            "type": "bar",
            "orientation": "h",
            "x": [max(n, 0) for _, n, _, _ in stages],
            "y": [stage for stage, _, _, _ in stages],
            "text": [f"{n:,}" for _, n, _, _ in stages],
            "hovertext": [meaning for _, _, _, meaning in stages],
            "marker": {"color": BID},
        }
    )
    figure.update_layout(xaxis={"type": "log"}, yaxis={"autorange": "reversed"}, showlegend=False)
    return figure


def blocker_picture(run: Run, symbol: str | None = None, n_most: int = 15) -> go.Figure:
    """What stopped candidates first, most frequent on top."""
    rows = blocker_counts(run, symbol)[:n_most]
    figure = _figure(
        "why candidates were blocked" + (f": {symbol}" if symbol else ""),
        "share of the blocked candidates (%)",
        "",
    )
    figure.add_trace(
        {
            "type": "bar",
            "orientation": "h",
            "x": [100 * share for _, _, share, _ in rows],
            "y": [name for name, _, _, _ in rows],
            "hovertext": [f"{n:,}: {text}" for _, n, _, text in rows],
            "marker": {"color": ASK},
        }
    )
    figure.update_layout(yaxis={"autorange": "reversed"}, showlegend=False)
    return figure


def cost_picture(run: Run, executed_only: bool = True) -> go.Figure:
    """What winners expected to pay: the mean cost stack per route, with gross and net beside it.

    executed_only : only winners that became orders; False: every priced winner
    """
    import polars as pl

    winners = run.scan("decisions").filter(
        (pl.col("route") != 0) & pl.col("cost_bps").is_not_null()
    )
    if executed_only:
        winners = winners.filter(pl.col("outcome") == EXECUTE)
    label = pl.concat_str("symbol", pl.lit(" "), "route_name").alias("label")
    names = [*COSTS, "gross_bps", "net_bps"]
    means = (
        winners.group_by(label)
        .agg(pl.col(*names).mean(), pl.len().alias("n"))
        .sort("n", "label", descending=[True, False])
        .head(20)
        .collect()
    )
    labels = [f"{row['label']} ({row['n']:,})" for row in means.to_dicts()]
    figure = _figure("expected costs of winners, mean per route", "", "bps of the mid")
    for column, text in COSTS.items():
        figure.add_trace({"type": "bar", "name": text, "x": labels, "y": means[column].to_numpy()})
    for column, text, color in (("gross_bps", "gross", GOOD), ("net_bps", "net", BAD)):
        figure.add_trace(
            {
                "type": "scatter",
                "mode": "markers",
                "name": text,
                "x": labels,
                "y": means[column].to_numpy(),
                "marker": {"color": color, "size": 11, "symbol": "diamond"},
            }
        )
    figure.update_layout(barmode="relative")
    return figure


def markout_picture(run: Run, horizons_s: tuple[int, ...] = HORIZONS_S) -> go.Figure:
    """Mean markout of entry fills by horizon, makers apart from takers, with standard errors."""
    import polars as pl

    frame = markouts(run, horizons_s).filter(pl.col("role_name") == "entry")
    means = (
        frame.group_by("maker", "horizon_s")
        .agg(
            pl.col("markout_bps").mean().alias("mean"),
            (pl.col("markout_bps").std() / pl.len().sqrt()).fill_null(0.0).alias("error"),
            pl.len().alias("n"),
        )
        .sort("horizon_s")
    )
    figure = _figure("markout of entry fills", "seconds after the fill", "bps, + is good for us")
    for maker, text, color in ((1, "maker", BID), (0, "taker", ASK)):
        some = means.filter(pl.col("maker") == maker)
        figure.add_trace(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": text,
                "x": some["horizon_s"].to_numpy(),
                "y": some["mean"].to_numpy(),
                "error_y": {"type": "data", "array": some["error"].to_numpy()},
                "text": [f"{n:,} fills" for n in some["n"]],
                "line": {"color": color},
            }
        )
    figure.add_hline(y=0, line_width=1, line_color=MID)
    figure.update_layout(xaxis={"type": "log"})
    return figure


def book_picture(run: Run, symbol: str, view: BookView) -> go.Figure:
    """The book over time as heat (blue bids, red asks), with our orders and fills on it.

    view : books of `symbol` on a time grid (engine/reports/bookview.py)
    """
    sym = run.frame.instruments.index(symbol)
    price_step, qty_step = _steps(run, sym)
    name, base = run.symbols[sym], run.frame.instruments[sym].base
    times = view.ts.astype("datetime64[ns]")
    figure = _figure(f"{name}: the book over time", "time (UTC)", f"price ({run.quote})")
    heat = _heat(view)
    if heat is not None:
        edges, lots = heat
        figure.add_trace(
            {
                "type": "heatmap",
                "x": times,
                "y": edges * price_step,
                "z": np.sign(lots) * np.log1p(np.abs(lots) * qty_step),
                "customdata": np.abs(lots) * qty_step,
                "hovertemplate": "%{x}<br>%{y}<br>%{customdata:.6g} " + base + "<extra></extra>",
                "colorscale": "RdBu",
                "zmid": 0,
                "showscale": False,
            }
        )
    for prices, text, color in (
        (view.bid_price, "best bid", BID),
        (view.ask_price, "best ask", ASK),
    ):
        best = np.where(prices[:, 0] > 0, prices[:, 0] * price_step, np.nan)
        figure.add_trace(
            {
                "type": "scatter",
                "mode": "lines",
                "x": times,
                "y": best,
                "name": text,
                "line": {"color": color, "width": 1, "shape": "hv"},
            }
        )
    if len(view.ts):
        _draw_orders(figure, run, sym, int(view.ts[0]), int(view.ts[-1]))
    return figure


def _heat(view: BookView) -> tuple[np.ndarray, np.ndarray] | None:
    """Prices (ticks) of rows and signed lots [rows, times]: bids above zero, asks below."""
    prices = np.concatenate((view.bid_price, view.ask_price), axis=1)
    lots = np.concatenate((view.bid_qty, -view.ask_qty), axis=1)
    there = prices > 0
    if not there.any():
        return None
    low, high = int(prices[there].min()), int(prices[there].max())
    ticks = -(-(high - low + 1) // ROWS_OF_HEAT)
    rows = (high - low) // ticks + 1
    grid = np.zeros((rows, len(view.ts)))
    times = np.broadcast_to(np.arange(len(view.ts))[:, None], prices.shape)
    np.add.at(grid, ((prices[there] - low) // ticks, times[there]), lots[there])
    return low + (np.arange(rows) + 0.5 * (ticks > 1)) * ticks, grid


def _steps(run: Run, sym: int) -> tuple[float, float]:
    """One tick in quote currency, one lot in base currency."""
    prices, qtys = run.frame.price_steps(), run.frame.qty_steps()
    return prices[0][sym] / prices[1][sym], qtys[0][sym] / qtys[1][sym]


def _draw_orders(figure: go.Figure, run: Run, sym: int, start: int, end: int) -> None:
    """Lines where our orders rested, markers where they filled; start, end : ns, both included."""
    import polars as pl

    lines: dict[str, list[Any]] = {"x": [], "y": [], "text": []}
    orders = run.scan("orders").filter(pl.col("sym") == sym).sort("ts").collect()
    for _, changes in orders.group_by("id", maintain_order=True):
        rows = changes.to_dicts()
        for row, after in pairwise(rows):
            if row["state"] not in RESTING or after["ts"] < start or row["ts"] > end:
                continue
            price = row["trigger_quote"] if row["trigger"] else row["price_quote"]
            note = f"order {row['id']} {row['role_name']} {row['side_name']}"
            # None ends a line: all orders are one trace.
            lines["x"] += [*(each["time"].replace(tzinfo=None) for each in (row, after)), None]
            lines["y"] += [price, price, None]
            lines["text"] += [note, note, None]
    figure.add_trace(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "our orders",
            **lines,
            "hovertemplate": "%{text}<br>%{y}<extra></extra>",
            "line": {"color": "black", "width": 2},
        }
    )
    within = (pl.col("sym") == sym) & (pl.col("ts") >= start) & (pl.col("ts") <= end)
    fills = run.scan("fills").filter(within).collect()
    for side, text, shape, color in SIDES:
        figure.add_trace(_fill_markers(fills.filter(pl.col("side") == side), text, shape, color))
    figure.update_xaxes(range=[np.datetime64(start, "ns"), np.datetime64(end, "ns")])


def ladder_picture(run: Run, symbol: str, view: BookView, i: int = 0) -> go.Figure:
    """The book at sample `i` of a view: quantity per price."""
    sym = run.frame.instruments.index(symbol)
    price_step, qty_step = _steps(run, sym)
    figure = _figure(
        f"{run.symbols[sym]}: the book at {utc_text(int(view.ts[i]))}",
        f"quantity ({run.frame.instruments[sym].base})",
        f"price ({run.quote})",
    )
    for prices, lots, text, color in (
        (view.bid_price[i], view.bid_qty[i], "bids", BID),
        (view.ask_price[i], view.ask_qty[i], "asks", ASK),
    ):
        there = prices > 0
        figure.add_trace(
            {
                "type": "bar",
                "orientation": "h",
                "name": text,
                "x": lots[there] * qty_step,
                "y": prices[there] * price_step,
                "marker": {"color": color},
            }
        )
    return figure
