"""A table of pairs of a run or a capture says what other programs say of the same data."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from adapters.cli.main import main
from adapters.pairs import capture_pairs, run_pairs
from adapters.parquet.catalog import connect
from adapters.parquet.reader import open_events
from adapters.replay import replay
from engine.config import make_profile
from engine.errors import DataError
from engine.reports.bookview import view_book
from engine.reports.frames import Run
from engine.reports.pairs import MARKET_COLUMNS
from tests.support.session_folder import write_session
from tests.support.short_market import short_market
from tests.support.worlds import EAGER, split

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = str(ROOT / "datasets" / "sample")
S = 1_000_000_000
START = 1_767_225_600 * S
END = START + 720 * S
UNTIL = "2026-01-01T00:12:00"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    profile = make_profile(
        {
            **EAGER,
            "capture": {"path": SAMPLE, "end": UNTIL},
            "run": {"out": str(tmp_path_factory.mktemp("runs")), "cash": 5000},
        }
    )
    folder = replay(profile).folder
    assert folder is not None
    return folder


@pytest.fixture(scope="module")
def market():
    return capture_pairs(SAMPLE, end=UNTIL)


def test_trades_and_turnover_are_those_of_the_catalog(market):
    """DuckDB over the stored trades, decimals throughout."""
    with connect(SAMPLE) as sql:
        expected = sql.execute(
            "SELECT symbol, count(*), sum(price::DOUBLE * qty::DOUBLE) FROM trades "
            f"WHERE NOT snapshot AND ts < {END} GROUP BY 1 ORDER BY 1"
        ).fetchall()
        whole = dict(sql.execute("SELECT symbol, trades FROM pair_trades").fetchall())
    found = market.frame.sort("symbol")

    assert found["symbol"].to_list() == [row[0] for row in expected]
    assert found["trades"].to_list() == [row[1] for row in expected]
    assert found["turnover"].to_list() == pytest.approx([row[2] for row in expected], rel=1e-12)
    assert all(whole[row[0]] > row[1] for row in expected)


@pytest.mark.parametrize("symbol", ["BTC/USD", "DOGE/USD"])
def test_spread_and_depth_are_those_of_a_book_of_dictionaries(market, symbol):
    """Another book, sampled at the same moments, its levels summed by hand."""
    capture = open_events(SAMPLE, end=END)
    sym = capture.instruments.index(symbol)
    pair = capture.instruments[symbol]
    step = 5 * S
    view = view_book(capture.batches(), sym, START + step, END, step, depth=10)
    spreads, depths = [], {5: [], 10: [], 25: []}
    for i in range(len(view.ts)):
        bid, ask = view.bid_price[i, 0], view.ask_price[i, 0]
        if not 0 < bid < ask:
            continue
        mid = (bid + ask) / 2
        spreads.append((ask - bid) / mid * 1e4)
        for bps, found in depths.items():
            sides = []
            for prices, qtys in (
                (view.bid_price[i], view.bid_qty[i]),
                (view.ask_price[i], view.ask_qty[i]),
            ):
                near = (prices > 0) & (np.abs(prices - mid) <= mid * bps / 1e4)
                ticks = float((prices[near] * qtys[near].astype(float)).sum())
                sides.append(ticks * float(pair.price_increment * pair.qty_increment))
            found.append(sum(sides) / 2)
    row = market.frame.filter(pl.col("symbol") == symbol).row(0, named=True)

    assert len(spreads) > 100
    assert row["hours"] == pytest.approx(len(spreads) * 5 / 3600)
    assert row["spread_mean_bps"] == pytest.approx(np.mean(spreads), rel=1e-9)
    assert row["spread_median_bps"] == pytest.approx(np.median(spreads), rel=1e-9)
    assert row["spread_p90_bps"] == pytest.approx(np.quantile(spreads, 0.9), rel=1e-9)
    for bps, found in depths.items():
        assert row[f"depth_{bps}"] == pytest.approx(np.mean(found), rel=1e-6), bps


def test_a_day_that_is_there_in_part_says_how_much(tmp_path):
    report = capture_pairs(SAMPLE, end=UNTIL, by="day", symbols=("ETH/USD",))
    (row,) = report.frame.to_dicts()

    assert row["day"] == "2026-01-01"
    assert row["hours"] == pytest.approx(0.2, abs=0.01)
    assert row["coverage"] == pytest.approx(0.2 / 24, abs=0.001)
    assert row["partial"] is True


def test_hours_come_to_the_whole(market):
    by_hour = capture_pairs(
        SAMPLE, start="2026-01-01T00:50:00", end="2026-01-01T01:20:00", by="hour"
    ).frame
    whole = capture_pairs(SAMPLE, start="2026-01-01T00:50:00", end="2026-01-01T01:20:00").frame

    assert sorted(set(by_hour["hour"])) == ["2026-01-01T00:00", "2026-01-01T01:00"]
    summed = by_hour.group_by("symbol").agg(pl.col("trades", "turnover", "hours").sum())
    both = summed.join(whole, on="symbol")
    assert both["trades"].to_list() == both["trades_right"].to_list()
    assert both["turnover"].to_list() == pytest.approx(both["turnover_right"].to_list())
    assert both["hours"].to_list() == pytest.approx(both["hours_right"].to_list())
    ratio = by_hour.filter(pl.col("hour") == "2026-01-01T00:00")["coverage"]
    # Ten minutes of the hour, quoted from the first: the book is the one that was built up before.
    assert ratio.to_list() == pytest.approx([10 / 60] * 3, abs=0.003)


def test_a_stretch_without_events_is_refused():
    with pytest.raises(DataError, match="no events"):
        capture_pairs(SAMPLE, start="2027-01-01T00:00:00")


def test_a_run_has_its_tables_and_its_market(run, market):
    report = run_pairs(run)
    tables = Run.open(run)
    frame = report.frame.sort("symbol")

    assert report.notes == ()
    assert frame["turnover"].to_list() == market.frame.sort("symbol")["turnover"].to_list()
    assert frame["depth_10"].to_list() == pytest.approx(
        market.frame.sort("symbol")["depth_10"].to_list()
    )
    fills = tables.sql("SELECT symbol, count(*) AS n FROM fills GROUP BY 1")
    by_symbol = dict(fills.iter_rows())
    assert frame["fills"].to_list() == [by_symbol.get(each, 0) for each in frame["symbol"]]
    assert sum(frame["fills"]) > 0
    net = tables.sql("SELECT sum(net_quote) AS net FROM realized")["net"][0] or 0.0
    assert sum(frame["net"]) == pytest.approx(net)


def test_the_view_in_sql_agrees_with_the_frame_on_a_real_run(run):
    opened = Run.open(run)
    frame, view = opened.pairs, opened.sql("SELECT * FROM pair_summary")

    for name in view.columns:
        for ours, theirs in zip(frame[name].to_list(), view[name].to_list(), strict=True):
            same = pytest.approx(theirs, rel=1e-9) if isinstance(theirs, float) else theirs
            assert ours == same, name


def test_the_dominant_reason_is_that_of_run_blockers(run):
    from engine.reports.funnel import blocker_counts

    opened = Run.open(run)
    silent = {"THESIS_INACTIVE", "SURFACE_NOT_TRADABLE", "FAMILY_DISABLED"}
    for row in opened.pairs.iter_rows(named=True):
        reasons = [each for each in blocker_counts(opened, row["symbol"]) if each[0] not in silent]
        assert (row["blocker"], row["blocker_share"]) == reasons[0][:1] + reasons[0][2:3]


def test_without_its_capture_a_run_has_its_tables_and_says_so(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["capture"]["place"] = str(tmp_path / "nowhere")
    (copy / "manifest.json").write_text(json.dumps(manifest))
    report = run_pairs(copy)

    assert "missing" in report.notes[0]
    assert report.frame["turnover"].null_count() == 3
    assert report.frame["evaluations"].sum() > 1000
    assert run_pairs(copy, store=SAMPLE).frame["turnover"].null_count() == 0


def test_a_session_that_has_not_ended_is_told_from_its_log(tmp_path):
    instruments, events = short_market(700, symbols=2)
    batches = lambda: split(events, [700] * 1000)  # noqa: E731
    dead = write_session(
        tmp_path / "20260101-120000-dead-0a1b2c3d", instruments, batches(), EAGER, dies=True
    )
    ended = write_session(tmp_path / "20260101-120000-test-0a1b2c3d", instruments, batches(), EAGER)
    so_far, whole = run_pairs(dead), run_pairs(ended)

    assert "not ended" in so_far.notes[0]
    assert so_far.frame["partial"].all()
    names = ("symbol", "evaluations", "candidates", "fills", "blocker", "trades", "nearest")
    assert so_far.frame.select(names).equals(whole.frame.select(names))
    assert set(MARKET_COLUMNS) <= set(whole.frame.columns)
    assert len(run_pairs(dead, by_family=True).frame) > 2


def test_the_command_ranks_leaves_out_and_says_why(run, capsys):
    assert 0 == main(["run", "pairs", str(run), "--where", "depth_10>90000", "--sort", "-trades"])
    text = capsys.readouterr().out

    assert "left out" in text
    assert "is not > 90000" in text
    assert "what would have to change" in text
    assert "depth 5 bps" in text


def test_csv_json_and_a_file_have_every_column(run, tmp_path, capsys):
    out = tmp_path / "pairs.parquet"
    arguments = ["run", "pairs", str(run), "--quiet", "--no-market", "--sort", "-evaluations"]
    assert 0 == main([*arguments, "--format", "csv", "--out", str(out)])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert 0 == main([*arguments, "--json"])
    facts = json.loads(capsys.readouterr().out)

    assert [row["symbol"] for row in rows] == [row["symbol"] for row in facts["pairs"]]
    assert facts["kind"] == "kapitaalbot.run.pairs"
    assert pl.read_parquet(out).columns == list(rows[0]) == list(facts["pairs"][0])


def test_a_capture_by_the_command(capsys):
    arguments = ["data", "pairs", SAMPLE, "--to", "2026-01-01T00:03:00", "--by-day", "--quiet"]
    assert 0 == main([*arguments, "--symbol", "BTC/USD"])
    text = capsys.readouterr().out

    assert "2026-01-01" in text
    assert "ETH/USD" not in text


@pytest.mark.parametrize(
    "wrong",
    [["--where", "trades"], ["--sort", "trade"], ["--format", "xml"], ["--out", "pairs.doc"]],
)
def test_a_wrong_word_is_refused_before_anything_long_begins(run, wrong, capsys):
    assert 2 == main(["run", "pairs", str(run), *wrong])
    assert capsys.readouterr().err.startswith("error:")


def test_families_are_told_by_pair(run, capsys):
    assert 0 == main(["run", "pairs", str(run), "--by-family"])
    text = capsys.readouterr().out

    assert "momentum" in text
    assert "what would have to change" in text
    assert 2 == main(["run", "pairs", str(run), "--by-family", "--sort", "trades"])


OWN = """
from engine.plugins import F, OUT, family

@family(name="idea", half_life_s=60.0)
def idea(f, p, out):
    out[OUT.active] = 1.0
    out[OUT.move_bps] = 50.0 - f[F.spread_bps]
    out[OUT.sd_bps] = 5.0
    out[OUT.confidence] = 0.5
    out[OUT.invalidation_bps] = 20.0
"""


def test_a_run_with_a_family_of_the_users_own_is_made_again_and_its_market_looked_at(tmp_path):
    from adapters.features import take_features

    place = tmp_path / "mine.py"
    place.write_text(OWN)
    given = {
        **EAGER,
        "capture": {"path": SAMPLE, "end": "2026-01-01T00:10:00"},
        "run": {"out": str(tmp_path / "runs")},
        "plugins": [f"{place}:idea"],
        "families": {"idea": {"net_min_bps": 1.0}},
    }
    folder = replay(make_profile(given)).folder
    assert folder is not None
    report = run_pairs(folder)
    by_family = run_pairs(folder, by_family=True).frame
    taken = take_features(folder, every="60s")

    assert report.notes == ()
    assert report.frame["turnover"].null_count() == 0
    assert "idea" in by_family["family"].to_list()
    assert (
        taken.facts["quality"]["missing"].get("sweep_levels_buy", 0)
        < taken.facts["quality"]["rows"]
    )
    place.write_text(OWN.replace("50.0", "60.0"))
    with pytest.raises(DataError, match="does not come to its hash"):
        take_features(folder, every="60s")
