"""The dynamic universe of a capture: what is measured, who is asked for, how parts follow."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from adapters.kraken.capture import CaptureConfig
from adapters.kraken.rotation import UNMEASURED, Measure, Rotation, measure_of
from engine.core.universe import universe_params
from engine.errors import ConfigError, DataError, VenueError
from engine.events import BOOK_LEVEL, DERIVED, EPOCH, EPOCH_CLOSED, INSTRUMENT, RESYNC, TRADE
from tests.support.capture_desk import Desk, listed, pair

USD = 10**8
BTC, ETH, SOL, ADA = "BTC/USD", "ETH/USD", "SOL/USD", "ADA/USD"
ALL = (BTC, ETH, SOL, ADA)


def turnovers(*millions: int) -> dict[str, Measure]:
    return {
        symbol: Measure(each * 10**6 * USD, 100)
        for symbol, each in zip(ALL, millions, strict=True)
        if each
    }


def desk(*millions: int, cap: int = 2, pins: frozenset[str] = frozenset(), **options: Any) -> Desk:
    params = universe_params(cap, enter_rank=cap, leave_rank=cap, stay_ns=0, rotation_max=4)
    rotation = Rotation(params, pins=pins)
    made = Desk(CaptureConfig(channels={"book": 10, "trade": 0}, rotation=rotation, **options))
    made.hear(0, listed(*map(pair, ALL), pair("USDT/USD"), pair("BTC/EUR")))
    made.capture.measured(turnovers(*millions), made.now)
    made.settle()
    return made


def standing(made: Desk) -> set[str]:
    """Symbols whose book is subscribed."""
    return {
        each.symbol
        for session in made.capture.sessions
        for each in session.subscriptions
        if each.channel == "book" and each.state.value == "live" and not each.gone
    }


def again(made: Desk, *millions: int) -> None:
    made.capture.measured(turnovers(*millions), made.now)
    made.settle()


def test_a_row_of_the_ticker_is_measured_exactly() -> None:
    """24 hours: 2,000.5 at 50,000.1 each; 9,999 to 10,001 is 2 in 10,000, that is 2 bps."""
    row = {"a": ["10001", "1", "1"], "b": ["9999", "1", "1"], "v": ["1", "2000.5"],
           "p": ["1", "50000.1"]}  # fmt: skip
    assert measure_of(row) == Measure(10_002_520_005 * USD // 100, 200)


@pytest.mark.parametrize("ask", ["9999", "0", "9000"])
def test_a_spread_that_makes_no_sense_is_unknown(ask: str) -> None:
    row = {"a": [ask], "b": ["9999"], "v": ["1", "2"], "p": ["1", "3"]}
    assert measure_of(row) == Measure(6 * USD, -1)


def test_what_is_not_a_number_is_unknown_and_another_shape_is_an_error() -> None:
    assert measure_of({"a": ["NaN"], "b": ["1"], "v": ["1", "1"], "p": ["1", "1"]}) == UNMEASURED
    for row in ({}, {"a": ["x"], "b": ["1"], "v": ["1", "1"], "p": ["1", "1"]}, {"a": 5}):
        with pytest.raises(DataError, match="row of Kraken's Ticker"):
            measure_of(row)


def test_the_recorded_ticker_of_the_venue_is_measured(shared_kraken) -> None:
    text = (shared_kraken / "samples" / "rest_ticker_2025-11.json").read_text()
    answer = json.loads(text)
    rows = answer.get("result", answer)
    for row in rows.values():
        measure = measure_of(row)
        turnover = float(row["v"][1]) * float(row["p"][1])
        spread = (float(row["a"][0]) / float(row["b"][0]) - 1) * 1e6
        assert measure.turnover == pytest.approx(turnover * USD, rel=1e-9)
        assert measure.spread_e2 == pytest.approx(spread, abs=1.5, rel=1e-3)


def test_nothing_is_subscribed_before_pairs_are_measured() -> None:
    rotation = Rotation(universe_params(2, 2, 2))
    made = Desk(CaptureConfig(rotation=rotation))
    made.hear(0, listed(*map(pair, ALL)))
    made.settle()
    assert standing(made) == set()
    assert made.capture.instruments is None
    made.capture.measured(turnovers(1, 2, 3, 4), made.now)
    made.settle()
    assert standing(made) == {SOL, ADA}


def test_the_best_are_captured_and_the_others_are_in_no_part() -> None:
    made = desk(9, 8, 7, 6)
    assert standing(made) == {BTC, ETH}
    assert set(made.shelf.parts[0].meta["channels"]["book"]) == {BTC, ETH}
    rows = made.shelf.of_part(0)
    members = [made.shelf.parts[0].instruments.index(each) for each in (BTC, ETH)]
    assert sorted(rows[rows["kind"] == INSTRUMENT]["sym"]) == sorted(members)
    assert (np.diff(rows["seq"]) == 1).all()
    told = next(each["universe"] for each in made.shelf.remarks if "universe" in each)
    assert (told["version"], set(told["members"])) == (1, {BTC, ETH})
    reasons = next(each["reasons"] for each in made.shelf.remarks if "reasons" in each)
    assert reasons["USDT/USD"] == "out: on the deny list"
    assert "BTC/EUR" not in reasons


def test_a_swap_ends_epoch_and_part_and_asks_for_other_pairs() -> None:
    made = desk(9, 8, 7, 6)
    again(made, 9, 1, 7, 6)

    assert standing(made) == {BTC, SOL}
    first, second = made.shelf.of_part(0), made.shelf.of_part(1)
    sym = {each: i for i, each in enumerate(made.shelf.parts[0].instruments.symbols)}
    assert first[first["kind"] == EPOCH]["aux"][-1] == EPOCH_CLOSED
    assert (first[first["kind"] == RESYNC]["sym"] == sym[ETH]).all()
    # The part after it begins with the book that stays, and gets the new one from the venue.
    books = second[second["kind"] == BOOK_LEVEL]
    assert set(books[books["flags"] & DERIVED != 0]["sym"]) == {sym[BTC]}
    assert set(books["sym"]) == {sym[BTC], sym[SOL]}
    assert (np.diff(np.concatenate((first, second))["seq"]) == 1).all()
    assert set(made.shelf.parts[1].meta["channels"]["book"]) == {BTC, ETH, SOL}


def test_a_pair_that_comes_back_stands_again() -> None:
    made = desk(9, 8, 7, 6)
    again(made, 9, 1, 7, 6)
    again(made, 9, 8, 1, 6)
    assert standing(made) == {BTC, ETH}
    last = made.shelf.of_part(2)
    sym = made.shelf.parts[2].instruments.index(ETH)
    assert ((last["kind"] == BOOK_LEVEL) & (last["sym"] == sym)).any()
    assert made.capture.facts(made.now).n_symbols == 2
    assert made.capture.facts(made.now).n_verified == 2


def test_the_same_universe_again_changes_nothing() -> None:
    made = desk(9, 8, 7, 6)
    n = len(made.shelf.parts)
    again(made, 10, 8, 7, 6)
    assert len(made.shelf.parts) == n
    assert not [each for each in made.asked if each[1]["method"] != "ping"]


def test_a_pin_stays_whatever_its_rank() -> None:
    made = desk(9, 8, 7, 6, pins=frozenset({ADA}))
    assert standing(made) == {BTC, ADA}
    again(made, 1, 8, 7, 0)
    assert ADA in standing(made)


def test_a_pin_that_is_no_pair_is_refused() -> None:
    with pytest.raises(ConfigError, match="no pair XYZ/USD in USD"):
        desk(9, 8, 7, 6, pins=frozenset({"XYZ/USD"}))


def test_a_universe_of_nothing_is_refused() -> None:
    with pytest.raises(VenueError, match="no pair is good enough"):
        desk(0, 0, 0, 0)


def test_more_pairs_than_a_connection_holds_get_another() -> None:
    made = desk(9, 8, 7, 6, cap=2, per_connection=2)
    assert len(made.capture.sessions) == 1
    made.capture._universe._rule.params["cap"] = 3
    made.capture._universe._rule.params["enter_rank"] = 3
    made.capture._universe._rule.params["leave_rank"] = 3
    again(made, 9, 8, 7, 6)
    made.connect()
    made.settle()
    assert len(made.capture.sessions) == 2
    assert standing(made) == {BTC, ETH, SOL}


def test_trades_of_a_member_are_kept_across_the_swap() -> None:
    made = desk(9, 8, 7, 6)
    trade = (
        b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"sell",'
        b'"price":100.0,"qty":0.10000000,"ord_type":"limit","trade_id":%d,'
        b'"timestamp":"2026-01-01T00:00:01.000000Z"}]}'
    )
    made.hear(0, trade % 1)
    again(made, 9, 1, 7, 6)
    made.hear(0, trade % 2)
    ids = [
        int(i)
        for k in (0, 1)
        for i in made.shelf.of_part(k)["id"][made.shelf.of_part(k)["kind"] == TRADE]
    ]
    assert ids == [1, 2]
