"""Figures are looked at by people; what can be held is that they show the run's own numbers."""

import sys

import numpy as np
import polars as pl
import pytest

from engine.errors import ConfigError
from engine.instruments import UnknownSymbolError
from engine.reports import pictures
from engine.reports.bookview import BookView
from engine.reports.frames import Run
from tests.support.small_run import START, S, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Run.open(write_run(tmp_path_factory.mktemp("runs")))


def trace(figure, name):
    (found,) = [each for each in figure.data if each.name == name]
    return found


def seconds(times):
    start = np.datetime64(START, "ns")
    return [(np.datetime64(each, "ns") - start) / np.timedelta64(1, "s") for each in times]


def test_fills_stand_at_their_prices_and_times(run):
    figure = pictures.price_picture(run, "BTC/USD")

    assert [50_000.0, 50_000.0] == list(trace(figure, "bought").y)
    assert [4.0, 5.0] == seconds(trace(figure, "bought").x)
    assert [49_740.0] == list(trace(figure, "sold").y)
    assert "protection, taker" in trace(figure, "sold").text[0]
    assert [50_000.1] * 4 == list(trace(figure, "best ask").y)


def test_the_stop_line_ends_with_the_position(run):
    stop = trace(pictures.price_picture(run, "BTC/USD"), "stop").y

    assert 49_750.0 == stop[0]
    assert np.isnan(stop[1])


def test_a_span_is_half_open(run):
    start, end = np.datetime64(START + S, "ns"), np.datetime64(START + 3 * S, "ns")
    figure = pictures.price_picture(
        run, "BTC/USD", start.astype("datetime64[us]").item(), end.astype("datetime64[us]").item()
    )

    assert [1.0, 2.0] == seconds(trace(figure, "mid").x)


def test_equity_and_drawdown(run):
    figure = pictures.equity_picture(run)

    assert [10_000.0, 9_994.1604] == list(trace(figure, "equity").y)
    assert -5.8396 == pytest.approx(trace(figure, "drawdown").y[-1])


def test_blockers_are_shares_of_what_was_blocked(run):
    (bars,) = pictures.blocker_picture(run).data

    assert "NOT_ENOUGH_HISTORY" == bars.y[0]
    assert 100.0 == pytest.approx(sum(bars.x))


def test_the_funnel_narrows_to_what_happened(run):
    (bars,) = pictures.funnel_picture(run).data

    assert {"candidates": 16, "active": 2, "chosen": 1, "won": 0}.items() <= dict(
        zip(bars.y, bars.x, strict=True)
    ).items()


def test_the_stack_of_costs_reaches_gross_less_net(run):
    figure = pictures.cost_picture(run)
    costs = sum(each.y[0] for each in figure.data if each.type == "bar")

    assert 67.4 == pytest.approx(costs)
    assert 67.4 == pytest.approx(trace(figure, "gross").y[0] - trace(figure, "net").y[0])


def test_our_orders_lie_on_the_book_where_they_rested(run):
    n = 10
    ones = np.array([[1, 0]] * n)
    view = BookView(START + np.arange(n) * S, ones * 500_000, ones * 7, ones * 500_001, ones * 9)
    figure = pictures.book_picture(run, "BTC/USD", view)
    orders = trace(figure, "our orders")

    assert [50_000.0, 50_000.0, None] * 2 == list(orders.y)  # open, then filled in part
    assert [2.04, 4.0] == pytest.approx(seconds(orders.x[:2]))
    heat = figure.data[0]
    assert [50_000.0, 50_000.1] == pytest.approx(list(heat.y))
    assert heat.z[0][0] > 0 > heat.z[1][0]  # bids above zero, asks below


def test_heat_of_a_wide_book_adds_levels_into_rows():
    prices = np.array([[1000, 500, 1]])
    lots = np.array([[1, 2, 4]])
    nothing = np.zeros((1, 3), np.int64)
    view = BookView(np.array([START]), prices, lots, nothing, nothing)
    centres, grid = pictures._heat(view)

    assert len(centres) <= pictures.ROWS_OF_HEAT
    assert 7 == grid.sum()


def test_an_empty_book_is_drawn_without_heat(run):
    nothing = np.zeros((3, 2), np.int64)
    view = BookView(START + np.arange(3) * S, nothing, nothing, nothing, nothing)

    assert "heatmap" not in {e.type for e in pictures.book_picture(run, "BTC/USD", view).data}


def test_the_ladder_leaves_out_empty_levels(run):
    bids, asks = np.array([[500_000, 0]]), np.array([[500_001, 0]])
    view = BookView(np.array([START]), bids, bids * 2, asks, asks)
    figure = pictures.ladder_picture(run, "BTC/USD", view)

    assert "12:00:00" in figure.layout.title.text
    assert [50_000.0] == list(trace(figure, "bids").y)
    assert [0.01] == list(trace(figure, "bids").x)


def test_markouts_are_signed_for_us(run, tmp_path):
    """Mid rises 10.05 above our 50,000 buy in 1 s: + 2.01 bps; a sale there would have lost them."""
    folder = write_run(tmp_path)
    fills = pl.read_parquet(folder / "fills.parquet").head(2)
    sides = pl.Series("side", [1, -1])
    stamps = fills.with_columns(sides, ts_venue=pl.lit(START), price=pl.lit(500_000))
    stamps.write_parquet(folder / "fills.parquet")
    decisions = pl.read_parquet(folder / "decisions.parquet")
    risen = pl.when(pl.col("ts") == START + S).then(1_000_201).otherwise(pl.col("mid_half_ticks"))
    decisions.with_columns(mid_half_ticks=risen).write_parquet(folder / "decisions.parquet")
    from engine.reports.markouts import markouts

    frame = markouts(Run.open(folder), (1, 300)).sort("side")

    assert [1, 1] == frame["horizon_s"].to_list()  # the run ends before 300 s
    assert [-2.01, 2.01] == pytest.approx(frame["markout_bps"].to_list())
    assert len(pictures.markout_picture(Run.open(folder)).data) >= 1


def test_an_unknown_symbol_is_refused(run):
    with pytest.raises(UnknownSymbolError):
        pictures.price_picture(run, "ETH/USD")


def test_without_plotly_the_extra_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)

    with pytest.raises(ConfigError, match="needs plotly") as caught:
        pictures.equity_picture(run)

    assert "kapitaalbot[notebook]" in caught.value.hint
