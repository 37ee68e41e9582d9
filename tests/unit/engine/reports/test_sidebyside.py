"""Two small runs side by side; every expected number is computed by hand from tests/support/small_run.py.

BTC/USD has ticks of 0.1, so 500,000 ticks are 50,000 and a mid is told in half ticks.
"""

import json

import numpy as np
import polars as pl
import pytest

from adapters.cli.main import main
from engine.core.records import EXECUTE, OK
from engine.errors import DataError
from engine.reports.frames import Run
from engine.reports.sidebyside import match_rows, side_by_side
from tests.support.small_run import BTC, DOGE, JOIN, MS, START, S, write_run


@pytest.fixture
def two(tmp_path):
    return write_run(tmp_path, "one"), write_run(tmp_path, "two")


def edit(folder, table, **columns):
    """Rewrite columns of a table by expressions."""
    path = folder / f"{table}.parquet"
    pl.read_parquet(path).with_columns(**columns).write_parquet(path)


def at_row(n, name, value):
    return pl.when(pl.int_range(pl.len()) == n).then(value).otherwise(pl.col(name))


def measures(found):
    return {(each["group"], each["measure"], each["unit"]): each for each in found["measures"]}


def entered(folder, row, route=JOIN, **values):
    """Make an entry of a row of `decisions`."""
    columns = {"outcome": EXECUTE, "blocker": OK, "route": route, **values}
    edit(folder, "decisions", **{name: at_row(row, name, each) for name, each in columns.items()})


def test_a_run_beside_itself_agrees_in_everything(two):
    found = side_by_side(*two)

    assert (1, 1, 0, 0) == tuple(
        found["entries"][name]
        for name in ("agree", "same_size_and_price", "only_first", "only_second")
    )
    assert found["entries"]["first_parting"] is None
    assert (2, 0, 0) == tuple(found["orders"][n] for n in ("both", "only_first", "only_second"))
    assert (3, 3) == (found["fills"]["both"], found["fills"]["same"])
    assert found["fills"]["first_difference"] is None
    assert all(each["difference"] in (0, None) for each in found["measures"])


def test_the_measures_of_one_run_are_those_of_a_pocket_calculator(two):
    found = measures(side_by_side(*two))

    def first(group, name, unit):
        return found[group, name, unit]["first"]

    # One entry, 0.01 BTC, decided and sent at 2 s, acknowledged 40 ms later, filled from 4 s on.
    assert 1.0 == first("entries", "orders", "")
    assert 1.0 == first("entries", "fill rate", "share")
    assert 1.0 == first("entries", "fill rate, join", "share")
    assert 2000.0 == first("entries", "time to first fill, median", "ms")
    assert 0.0 == first("latency", "decided to sent, median", "ms")
    assert 40.0 == first("latency", "sent to acknowledged, median", "ms")
    assert 1960.0 == first("latency", "acknowledged to first fill, 99 %", "ms")
    # 200 + 300 bought as maker for 0.50 + 0.75, 497.40 sold as taker for 1.9896.
    assert 997.4 == first("fills", "volume", "quote")
    assert 3.2396 == first("fills", "fees", "quote")
    assert pytest.approx(3.2396 / 997.4 * 1e4) == first("fills", "fees", "bps of volume")
    assert pytest.approx(500 / 997.4) == first("fills", "maker share", "of volume")
    assert 1.0 == first("fills", "maker share, entries", "of volume")
    # Bought at 50,000 where the mid was 50,000.05 at the decision; then 50,000.05 and 49,999.95.
    decision = first("slippage", "entries, against the mid at the decision", "bps")
    assert pytest.approx(-0.05 / 50_000.05 * 1e4) == decision
    expected = (-200 * 0.05 / 50_000.05 + 300 * 0.05 / 49_999.95) / 500 * 1e4
    assert pytest.approx(expected) == first(
        "slippage", "entries, against the mid at the fill", "bps"
    )
    # Sold at 49,740 where the mid was 49,745.05: worse by 5.05.
    assert pytest.approx(5.05 / 49_745.05 * 1e4) == first(
        "slippage", "exits, against the mid at the fill", "bps"
    )
    # Evaluations end at 3 s, before any fill: the mid afterwards is not known.
    assert first("markout", "entries, after 1 s", "bps") is None
    assert pytest.approx(-2.6) == first("profit", "realised before fees", "quote")
    assert -5.8396 == first("profit", "realised", "quote")
    assert 0.0 == first("profit", "gains", "quote")
    assert 9994.1604 == first("profit", "equity at the end", "quote")
    assert 5.8396 == first("profit", "deepest drawdown", "quote")


def test_markouts_follow_the_mids_of_the_evaluations(two):
    """Fills happen at 3.985 s and 4.985 s; the mid is 50,010 from 4 s and 49,990 from 6 s on."""
    for folder in two:
        path = folder / "decisions.parquet"
        rows = pl.read_parquet(path)
        btc = rows.filter(pl.col("sym") == BTC).head(1)
        later = [
            btc.with_columns(
                ts=pl.lit(START + second * S), bid=pl.lit(mid - 1, pl.Int64), ask=pl.lit(mid + 1, pl.Int64),
                mid_half_ticks=pl.lit(2 * mid, pl.Int64),
            )
            for second, mid in ((4, 500_100), (6, 499_900), (7, 499_900))
        ]  # fmt: skip
        pl.concat([rows, *later]).write_parquet(path)

    found = measures(side_by_side(*two))

    # After 1 s: both at 50,010 (4.985 and 5.985). 10 s later nothing is known.
    assert (
        pytest.approx(10 / 50_000 * 1e4) == found["markout", "entries, after 1 s", "bps"]["first"]
    )
    assert found["markout", "entries, after 5 s", "bps"]["first"] is None


def test_fills_that_part_are_named_and_measured(two):
    """In the second run the first fill is a tick dearer, a second later, and as taker."""
    edit(
        two[1],
        "fills",
        ts=at_row(0, "ts", START + 4 * S + 750 * MS),
        price=at_row(0, "price", 500_001),
        maker=at_row(0, "maker", 0),
    )

    found = side_by_side(*two)

    assert (3, 2) == (found["fills"]["both"], found["fills"]["same"])
    parted = found["fills"]["first_difference"]
    assert START + 4 * S == parted["ts"]
    assert ["price", "maker", "time"] == parted["differs"]
    assert "entry buy 0.004 BTC/USD at 50000 as maker, 2026-01-01 12:00:04.000" in parted["first"]
    assert "at 50000.1 as taker, 2026-01-01 12:00:04.750" in parted["second"]
    assert {"n": 3, "median": 0.0, "max": 750.0}.items() <= found["fills"]["later_ms"].items()
    assert pytest.approx(0.1 / 50_000 * 1e4) == found["fills"]["worse_bps"]["max"]
    share = measures(found)["fills", "maker share", "of volume"]
    assert pytest.approx((300 - 500) / 997.4) == share["difference"]


def test_orders_are_matched_by_route_and_time_whatever_their_ids(two):
    edit(two[1], "orders", id=pl.col("id") + 1_000_000, ts_decided=pl.col("ts_decided") + 300 * MS)
    edit(two[1], "fills", order=pl.col("order") + 1_000_000)

    found = side_by_side(*two)

    assert (2, 0, 0) == tuple(found["orders"][n] for n in ("both", "only_first", "only_second"))
    assert {"both": 1, "only_first": 0, "only_second": 0} == found["orders"]["by_role"]["entry"]
    assert 3 == found["fills"]["same"]

    apart = side_by_side(*two, match_ns=299 * MS)

    assert (0, 2, 2) == tuple(apart["orders"][n] for n in ("both", "only_first", "only_second"))
    assert (0, 3, 3) == tuple(apart["fills"][n] for n in ("both", "only_first", "only_second"))


def test_an_order_that_only_one_run_got_filled(two):
    path = two[1] / "fills.parquet"
    pl.read_parquet(path).clear().write_parquet(path)
    edit(two[1], "orders", ts_filled=pl.lit(0, pl.Int64), filled=pl.lit(0, pl.Int64))

    found = side_by_side(*two)

    assert (0, 1, 0) == tuple(
        found["orders"][n] for n in ("both_filled", "only_first_filled", "only_second_filled")
    )
    assert (0, 3, 0) == tuple(found["fills"][n] for n in ("both", "only_first", "only_second"))
    assert ["missing"] == found["fills"]["first_difference"]["differs"]
    rate = measures(found)["entries", "fill rate", "share"]
    assert (1.0, 0.0, -1.0) == (rate["first"], rate["second"], rate["difference"])


def test_an_entry_of_one_run_only_is_explained_by_what_the_other_said(two):
    """Row 6 of decisions is BTC at 3 s, which the first run skipped: costs."""
    entered(two[1], 6, qty=2_000_000, price=499_990)

    found = side_by_side(*two)["entries"]

    assert (1, 0, 1) == (found["agree"], found["only_first"], found["only_second"])
    assert {"COSTS_EXCEED_MOVE": 1} == found["blockers_of_first"]
    parting = found["first_parting"]
    assert ("BTC/USD", "only the second", START + 3 * S) == tuple(
        parting[name] for name in ("symbol", "kind", "ts")
    )
    assert "COSTS_EXCEED_MOVE" == parting["first"]["blocker"]
    assert {"route": "mean_reversion 60s join", "qty": 0.02, "price": 49_999.0} == parting[
        "second"
    ]["plan"]
    assert 10_000.0 == parting["first"]["equity"]
    assert "no fill had differed before" in parting["why"][-1]


def test_what_an_entry_itself_takes_is_not_why_they_part(two):
    """Row 3 of evaluations is of the moment that decided, its capital already bound by the new order."""
    entered(two[1], 6)
    edit(two[1], "evaluations", free=at_row(3, "free", 9_300 * 100_000_000))

    parting = side_by_side(*two)["entries"]["first_parting"]

    assert parting["first"]["free"] == parting["second"]["free"] == 9_800.0
    assert "parameters, program or facts" in parting["why"][-1]


def test_the_fill_before_is_given_as_the_reason(two):
    """A fill of the very moment counts: the core learns of it before it evaluates."""
    entered(two[1], 6)
    edit(two[1], "decisions", ts=pl.col("ts") + S)
    edit(two[0], "decisions", ts=pl.col("ts") + S)
    edit(two[1], "fills", price=at_row(0, "price", 500_001))

    parting = side_by_side(*two)["entries"]["first_parting"]

    assert START + 4 * S == parting["fill_before"]["ts"]
    assert "their fills had parted before" in parting["why"][-1]
    assert "50000.1" in parting["why"][-1]


def test_the_same_entry_with_another_size_parts_too(two):
    edit(two[1], "decisions", qty=pl.col("qty") * 2)

    found = side_by_side(*two)["entries"]

    assert (1, 0) == (found["agree"], found["same_size_and_price"])
    assert "another size or price" == found["first_parting"]["kind"]
    assert (0.01, 0.02) == tuple(
        found["first_parting"][side]["plan"]["qty"] for side in ("first", "second")
    )


def test_symbols_in_another_order_are_the_same_symbols(two):
    """A second run whose instrument table is the other way round, its route keys with it."""
    manifest = json.loads((two[1] / "manifest.json").read_text())
    manifest["instruments"].reverse()
    (two[1] / "manifest.json").write_text(json.dumps(manifest))
    for table in ("decisions", "orders", "fills", "realized"):
        route = pl.col("route")
        moved = pl.when(route > 0).then(route + ((DOGE - BTC) << 18)).otherwise(route)
        edit(two[1], table, sym=1 - pl.col("sym"), route=moved)

    found = side_by_side(*two)

    assert (1, 1) == (found["entries"]["agree"], found["entries"]["same_size_and_price"])
    assert (2, 3) == (found["orders"]["both"], found["fills"]["same"])
    assert [("symbol", "BTC/USD", [1, 1]), ("family", "mean_reversion", [1, 1])] == [
        (each["by"], each["name"], each["round_trips"]) for each in found["split"][:2]
    ]


def test_only_the_time_that_both_cover_counts(two):
    """The second run ends at 6 s, so the stop of the first is left out and counted beside."""
    edit(two[0], "orders", ts_filled=at_row(5, "ts_filled", START + 9 * S))
    for table in ("evaluations", "decisions", "fills", "realized", "equity", "orders"):
        path = two[1] / f"{table}.parquet"
        pl.read_parquet(path).filter(pl.col("ts") <= START + 6 * S).write_parquet(path)

    found = side_by_side(*two)

    assert 5.0 == found["span"]["seconds"]  # its last row is the fill at 5 s
    first, second = found["span"]["outside"]
    assert (0.0, 4.0, 1, 1) == tuple(
        first[n] for n in ("seconds_before", "seconds_after", "fills", "round_trips")
    )
    assert (0.0, 0) == (second["seconds_after"], second["fills"])
    assert 2.0 == measures(found)["fills", "fills", ""]["first"]
    assert 0.0 == measures(found)["profit", "round trips", ""]["first"]
    # At 6 s neither of them knew that the stop would be filled.
    assert (1, 0, 1) == tuple(
        found["orders"][n] for n in ("both_filled", "only_first_filled", "none_filled")
    )


def test_runs_of_different_days_cannot_be_put_side_by_side(two):
    for table in ("evaluations", "decisions", "fills", "realized", "equity", "orders"):
        edit(two[1], table, ts=pl.col("ts") + 86_400 * S)

    found = side_by_side(*two)

    assert found["span"]["first"] is None
    assert found["entries"] is None


def test_a_row_is_matched_with_the_nearest_not_with_the_first():
    def columns(*ts):
        return {"ts": np.array(ts), "sym": np.zeros(len(ts), np.int64)}

    found = match_rows(columns(0, 80, 200), columns(85, 500), ("sym",), "ts", 100)

    assert [(1, 0)] == found.both
    assert ([0, 2], [1]) == (found.only_first, found.only_second)
    turned = match_rows(columns(85, 500), columns(0, 80, 200), ("sym",), "ts", 100)
    assert [(0, 1)] == turned.both
    assert ([1], [0, 2]) == (turned.only_first, turned.only_second)


def test_a_table_that_cannot_be_read_is_named(two):
    (two[0] / "fills.parquet").write_bytes(b"no table")

    with pytest.raises(DataError, match=r"fills\.parquet"):
        side_by_side(*two)


def test_the_command_prints_it_and_gives_it_as_json(two, capsys):
    manifest = json.loads((two[1] / "manifest.json").read_text())
    manifest["digest"] = "00" * 32
    manifest["capture"] = {"kind": "session", "id": "one"}
    (two[1] / "manifest.json").write_text(json.dumps(manifest))
    entered(two[1], 6)

    assert 0 == main(["run", "compare", *map(str, two), "--no-fail"])
    text = capsys.readouterr().out
    assert "second: replay, over the market of one" in text
    assert "1; the other then said COSTS_EXCEED_MOVE 1" in text
    assert "They part at 2026-01-01 12:00:03" in text

    assert 5 == main(["run", "compare", *map(str, two), "--json"])
    found = json.loads(capsys.readouterr().out)["beside"]
    assert 1 == found["entries"]["only_second"]
    assert side_by_side(*two) == found


def test_runs_open_each_other(two):
    first, second = map(Run.open, two)

    assert 3 == first.beside(second)["fills"]["same"]


def test_the_picture_shows_how_far_their_fills_are_apart(two):
    """The second run lacks the sale, 497.40: from 9 s on it has bought so much more."""
    path = two[1] / "fills.parquet"
    pl.read_parquet(path).head(2).write_parquet(path)
    first, second = map(Run.open, two)

    lines = {each.name: each for each in first.beside_picture(second).data}

    assert [10_000.0, 9_994.1604] == list(lines["equity, first"].y)
    assert [0.0, 0.0, 497.4] == pytest.approx(list(lines["fills, second - first"].y))
