import json

import numpy as np
import pytest

from engine.core.records import (
    COSTS_EXCEED_MOVE,
    DATA_STALE,
    MODE_BLOCKED,
    REASONS,
    THESIS_INACTIVE,
    table_dtype,
)
from engine.reports.summary import (
    RunSummary,
    amount,
    blocker_rows,
    span_text,
    summary_rows,
    symbol_rows,
)
from tests.support.small_run import summary, tables

GLOB = {"n_evaluations": 5, "n_commands_total": 0, "realized": 0, "equity": 0, "peak": 0}


def test_the_figures_of_the_small_run():
    facts = summary()

    assert 3 == facts["fills"]
    assert 2 == facts["maker_fills"]
    assert "3.23960000" == facts["fees"]  # 0.50 + 0.75 + 1.9896
    assert "997.40000000" == facts["volume"]
    assert "-5.83960000" == facts["profit"]  # 497.40 - 500.00 - 3.2396
    assert "5.83960000" == facts["drawdown"]
    assert {"entry": 1, "protection": 1} == facts["orders_by_role"]
    assert (1, 0, 0) == (facts["round_trips"], facts["wins"], facts["open_positions"])
    assert {"fills": 3, "round_trips": 1, "fees": "3.23960000", "net": "-5.83960000"} == (
        facts["by_symbol"]["BTC/USD"]
    )


def test_rows_in_pieces_sum_to_the_same():
    whole = summary()
    pieces = RunSummary(("BTC/USD", "DOGE/USD"), "USD")
    for name, rows in tables().items():
        for i in range(len(rows)):
            pieces.observe(name, rows[i : i + 1])
        pieces.observe(name, rows[:0])
    glob = GLOB | {"n_evaluations": 4, "n_commands_total": 2, "realized": -583_960_000}
    glob |= {"equity": 999_416_040_000, "peak": 1_000_000_000_000}
    first = 1_767_268_800_000_000_000

    assert whole == pieces.facts(glob, first, first + 9_000_000_000, 4000, 1_000_000_000_000)


def test_blocked_shares_leave_out_what_was_not_blocked_and_sum_to_one():
    facts = summary()

    assert "OK" not in facts["blockers"]
    assert 1.0 == pytest.approx(sum(each["share"] for each in facts["blockers"].values()))
    assert ["51.6 %", "NOT_ENOUGH_HISTORY"] == list(blocker_rows(facts)[0][:2])
    assert dict(REASONS.values())["NOT_ENOUGH_HISTORY"] == blocker_rows(facts)[0][2]


def test_blockers_stand_most_frequent_first_also_when_read_from_a_manifest():
    facts = summary()
    read = json.loads(json.dumps(facts, sort_keys=True))

    assert blocker_rows(facts) == blocker_rows(read)
    counts = [read["blockers"][code]["n"] for _, code, _ in blocker_rows(read)]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) > 1


def blocked_by(*codes):
    rows = np.zeros(len(codes), table_dtype("blockers"))
    rows["code"], rows["n"] = codes, 1
    found = RunSummary(("BTC/USD",), "USD")
    found.observe("blockers", rows)
    return found


@pytest.mark.parametrize(
    ("codes", "verdict"),
    [
        ((), "economically empty"),
        ((COSTS_EXCEED_MOVE, THESIS_INACTIVE, DATA_STALE), "economically empty"),
        ((COSTS_EXCEED_MOVE, DATA_STALE, DATA_STALE), "data-blocked"),
        ((COSTS_EXCEED_MOVE, MODE_BLOCKED, MODE_BLOCKED), "mode-blocked"),
    ],
)
def test_a_run_without_fills_is_named(codes, verdict):
    assert verdict == blocked_by(*codes).verdict(5)


def test_a_run_without_evaluations_is_attach_blocked_and_says_so_to_people():
    facts = RunSummary(("BTC/USD",), "USD").facts(GLOB | {"n_evaluations": 0}, 0, 1, 1, 0)

    assert "attach-blocked" == facts["verdict"]
    assert any("no market data reached the core" in text for _, text in summary_rows(facts))


def test_a_fall_after_the_last_equity_row_counts():
    found = RunSummary(("BTC/USD",), "USD")
    facts = found.facts(GLOB | {"equity": 90, "peak": 100}, 0, 1, 1, 100)

    assert "0.00000010" == facts["drawdown"]
    assert 0.1 == facts["drawdown_share"]


def test_every_row_is_text_and_symbols_keep_their_order():
    facts = summary()

    assert all(isinstance(text, str) for pair in summary_rows(facts, 2.0) for text in pair)
    assert ["BTC/USD", "DOGE/USD"] == [row[0] for row in symbol_rows(facts)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.25 s"), (45, "45 s"), (125, "2 min 5 s"), (7500, "2 h 5 min"), (90_000, "1 d 1 h")],
)
def test_spans(seconds, text):
    assert text == span_text(seconds)


@pytest.mark.parametrize(
    ("money", "text"),
    [
        ("0.00000000", "0.00 USD"),
        ("1234567.891", "1,234,567.89 USD"),
        ("-0.01234567", "-0.0123 USD"),
        ("-5.8396", "-5.84 USD"),
    ],
)
def test_amounts(money, text):
    assert text == amount(money, "USD")
