import json

import pytest

from adapters.cli.output import write_json
from engine.errors import ConfigError, DataError
from engine.reports.explain import explain, explain_facts, parse_moment
from engine.reports.frames import Run
from tests.support.small_run import START, S, write_run


@pytest.fixture
def run(tmp_path):
    return Run.open(write_run(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T12:00:02",
        "2026-01-01 12:00:02.000 UTC",
        "2026-01-01T13:00:02+01:00",
        "2026-01-01T12:00:02.000",
        str(START + 2 * S),
    ],
)
def test_a_time_is_read_however_it_was_printed(run, text):
    assert 3 == explain_facts(run, text, "BTC/USD")["decision"]["generation"]


def test_a_text_means_its_whole_millisecond():
    assert START + 999_999 == parse_moment("2026-01-01T12:00:00")
    assert START + 2_999_999 == parse_moment("2026-01-01T12:00:00.002")


@pytest.mark.parametrize("text", ["", "noon", "2026-13-01", "12"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ConfigError, match="is not a time"):
        parse_moment(text)


def test_the_newest_evaluation_at_or_before_the_time_is_meant(run):
    assert 2 == explain_facts(run, START + 2 * S - 1, "BTC/USD")["decision"]["generation"]
    assert 4 == explain_facts(run, START + 9 * S, "BTC/USD")["decision"]["generation"]


@pytest.mark.parametrize("at", [START - 1, START + 3600 * S])
def test_a_time_outside_the_run_is_answered_with_its_span(run, at):
    with pytest.raises(ConfigError) as caught:
        explain_facts(run, at, "BTC/USD")

    assert "2026-01-01 12:00:03.000 UTC" in str(caught.value)


def test_a_run_without_decisions_says_so(run):
    import polars as pl

    path = run.path / "decisions.parquet"
    pl.read_parquet(path).clear().write_parquet(path)

    with pytest.raises(DataError, match="holds no decision"):
        explain_facts(run, START, "BTC/USD")


def test_what_followed_ends_where_the_position_ended(run):
    story = explain_facts(run, START + 2 * S, "BTC/USD")["followed"]

    assert 4 == len(story["changes"])
    assert 2 == len(story["fills"])
    assert ["order", "exit", "order", "fill"] == [row["what"] for row in story["later"]]
    assert -583_960_000 == story["realized"]["net"]


def test_the_position_held_at_that_moment_is_shown(run):
    import polars as pl

    path = run.path / "positions.parquet"
    held = pl.read_parquet(path).with_columns(ts=pl.lit(START) + pl.int_range(pl.len()))
    held.write_parquet(path)

    assert explain_facts(run, START, "BTC/USD")["holding"] is None
    assert explain_facts(run, START + S, "BTC/USD")["holding"] is None  # closed again
    held.head(1).write_parquet(path)
    assert 1_000_000 == explain_facts(run, START + S, "BTC/USD")["holding"]["qty"]


def test_the_facts_are_json(run, capsys):
    write_json("run.explain", explain_facts(run, START, "BTC/USD"))

    printed = json.loads(capsys.readouterr().out)
    assert "kapitaalbot.run.explain" == printed["kind"]
    assert printed["decision"]["net_bps"] is None  # NaN is no JSON


def test_what_was_read_of_the_exits_is_told_where_it_happened(run):
    text = explain(run, START + 2 * S, "BTC/USD")
    assert (
        "exits urgent, tape reversal, style leave: gain -4.00 bps, best 12.00, 3.0 s ago, spread 3.50 of "
        "its mean, flow -0.40, bids 20.00 of the position, trail x 0.50" in text
    )
    (run.path / "exits.parquet").unlink()  # a run of before that table
    assert "exits urgent" not in explain(run, START + 2 * S, "BTC/USD")
