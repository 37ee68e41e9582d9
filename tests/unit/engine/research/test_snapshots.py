"""Rows of the feature vector are the state at their event, and no bound is broken by keeping them."""

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from engine.core.columns import FEATURE_INDEX, FEATURE_VERSION, N_FEATURES
from engine.errors import ConfigError
from engine.events import ORDER_FEE, TIMER
from engine.flow.driver import drive
from engine.flow.log import LogReader
from engine.flow.recorder import RECORD_TYPES, MemorySink
from engine.research.snapshots import (
    BROAD,
    CADENCE,
    DECISION,
    FILL,
    VECTOR_ROW,
    Plan,
    Snapshots,
    Watching,
    content_hash,
    step_by_step,
    why_text,
)
from engine.session.verify import follow_log
from tests.support.print_all_gates import all_gates
from tests.support.sessions import feed, make_session, memory_recorder
from tests.support.short_market import short_market
from tests.support.worlds import EAGER, make_world, run_world, split

S = 1_000_000_000
# So near that a session knows of its market what a replay of it knows: both decide the same.
NEAR = {**EAGER, "venue": {**EAGER["venue"], "feed": "2ms"}}
ALL = Plan(every_ns=5 * S, broad_ns=60 * S, decisions=True, fills=True)
HORIZON, INVENTORY = FEATURE_INDEX["horizon"], FEATURE_INDEX["inventory"]


class Kept:
    """What was handed over, and the quality that was stated with it."""

    def __init__(self, core, plan):
        self.parts = []
        self.snapshots = Snapshots(core, plan, lambda rows: self.parts.append(rows.copy()))
        self.recorder = Watching(core, self.snapshots.look, lambda name, dtype: MemorySink(dtype))

    @property
    def rows(self):
        return np.concatenate(self.parts) if self.parts else np.zeros(0, VECTOR_ROW)


def replayed(market, plan=ALL, overrides=NEAR, sizes=()):
    instruments, events = market
    world = make_world(instruments, overrides)
    kept = Kept(world.core, plan)
    result = drive(split(events, sizes), world, kept.recorder)
    return kept, kept.snapshots.finish(), result


@pytest.fixture(scope="module")
def market():
    return short_market(900, symbols=2)


@pytest.fixture(scope="module")
def taken(market):
    return replayed(market)


@pytest.fixture(scope="module")
def log(market, tmp_path_factory) -> Path:
    """The log of a paper session over the same market: timers and answers stand in it as events."""
    instruments, events = market
    made = make_session(tmp_path_factory.mktemp("paper") / "log", instruments, overrides=NEAR)
    feed(made.session, split(events, [1000] * 1000))
    made.session.close()
    return made.folder


def core_after(log: Path, instruments, n: int):
    """A fresh core that has learned the first `n` events of the log and nothing else."""
    world = make_world(instruments, NEAR)
    rows = np.concatenate(list(LogReader(log)))[:n]
    follow_log(world.core, [rows], memory_recorder(), torn=True)
    return world.core


def places(log: Path, kind: int) -> list[tuple[int, int]]:
    """(number of events up to and with each event of `kind`, its ts)."""
    rows = np.concatenate(list(LogReader(log)))
    return [(int(i) + 1, int(rows["ts"][i])) for i in np.flatnonzero(rows["kind"] == kind)]


def same_vector(row, core) -> bool:
    expected = core.symbols[int(row["sym"])]["features"].copy()
    actual = row["values"].copy()
    # Neither is a part of the symbol: whoever asks a thesis sets them.
    for i in (HORIZON, INVENTORY):
        expected[i] = actual[i] = 0.0
    return expected.tobytes() == actual.tobytes()


def test_a_row_is_the_state_of_a_core_that_has_heard_nothing_later(market, log, taken):
    """A core is stepped through the log of a session, cut at the moment of the row."""
    rows = taken[0].rows
    by_ts = {ts: n for n, ts in places(log, TIMER)}
    at_evaluations = rows[rows["why"] & FILL == 0]
    picked = at_evaluations[:: max(1, len(at_evaluations) // 12)]
    assert len(picked) >= 10

    for row in picked:
        core = core_after(log, market[0], by_ts[int(row["ts"])])

        assert int(core.glob[0]["now"]) == row["ts"]
        assert int(core.glob[0]["generation"]) == row["generation"]
        assert same_vector(row, core)
        assert int(core.symbols[int(row["sym"])]["regime"]) == row["regime"]


def test_a_row_at_a_fill_is_the_state_when_its_fee_was_heard(market, log, taken):
    fills = taken[0].rows[taken[0].rows["why"] == FILL]
    heard = {ts: n for n, ts in places(log, ORDER_FEE)}
    assert len(fills) > 3
    seen = 0
    for row in fills[:6]:
        if int(row["ts"]) not in heard:
            continue  # the session's last order may have been answered after its end
        core = core_after(log, market[0], heard[int(row["ts"])])
        seen += 1

        assert same_vector(row, core)
        assert int(core.glob[0]["generation"]) == row["generation"]
        assert 0 <= row["age_ns"] < S
    assert seen > 3


def test_the_log_of_a_session_gives_the_rows_of_its_replay(market, log, taken):
    world = make_world(market[0], NEAR)
    kept = Kept(world.core, ALL)
    pieces = step_by_step(world.core, kept.recorder, LogReader(log))
    found = follow_log(world.core, pieces, kept.recorder, torn=True)
    kept.recorder.drain(world.core)
    quality = kept.snapshots.finish()

    assert found.difference is None
    assert quality.late == 0
    expected = taken[0].rows
    n = min(len(expected), len(kept.rows))
    assert n >= len(expected) - 4
    assert expected[:n].tobytes() == kept.rows[:n].tobytes()


def test_rows_say_what_the_decisions_table_says(market, taken):
    kept, quality, _ = taken
    decisions = kept.recorder.sinks["decisions"].rows
    at = {(int(each["generation"]), int(each["sym"])): each for each in decisions}
    rows = kept.rows[kept.rows["why"] & FILL == 0]
    value = {name: rows["values"][:, i] for name, i in FEATURE_INDEX.items()}

    for k, row in enumerate(rows):
        decision = at[int(row["generation"]), int(row["sym"])]
        assert decision["ts"] == row["ts"]
        assert decision["regime"] == row["regime"]
        assert bool(row["why"] & DECISION) == (decision["n_active"] > 0)
        if decision["bid"] > 0 and decision["ask"] > decision["bid"]:
            assert 2 * value["mid"][k] == decision["mid_half_ticks"]
            assert value["spread_ticks"][k] == decision["ask"] - decision["bid"]
            assert value["spread_bps"][k] == pytest.approx(decision["spread_bps"], rel=1e-12)
        if decision["book_age_ns"] >= 0:
            assert value["book_age"][k] == decision["book_age_ns"] / S
    active = decisions[decisions["n_active"] > 0]
    assert quality.taken["decision"] == len(active)
    assert quality.taken["fill"] == len(kept.recorder.sinks["fills"].rows)


def test_inventory_is_what_is_held_at_the_mid(taken):
    kept = taken[0]
    fills = kept.recorder.sinks["fills"].rows
    rows = kept.rows[kept.rows["why"] == FILL]
    held = rows["values"][:, INVENTORY] > 0

    assert held.tolist() == (fills["position"] > 0).tolist()
    assert held.any()
    assert np.isnan(rows["values"][:, HORIZON]).all()


def test_watching_changes_nothing_also_with_every_gate_on():
    market = short_market(380, symbols=2)
    settings = all_gates()
    plain, tables = run_world(make_world(market[0], settings), [market[1]])
    kept, quality, watched = replayed(market, overrides=settings)

    assert watched.digest == plain.digest
    assert watched.n_rows == plain.n_rows
    for name in RECORD_TYPES:
        assert kept.recorder.sinks[name].rows.tobytes() == tables[name].tobytes(), name
    assert len(tables["releases"]) + len(tables["flow"]) > 0  # candidates did wait
    assert quality.late == 0


def test_no_cut_of_the_events_changes_a_row(market, taken):
    kept, quality, _ = replayed(market, sizes=[1, 2, 7, 500, 3, 1_001, 64] * 60)

    assert kept.rows.tobytes() == taken[0].rows.tobytes()
    assert quality.facts() == taken[1].facts()


def test_a_cadence_takes_each_symbol_once_per_stroke(market):
    kept, quality, _ = replayed(market, Plan(every_ns=10 * S))
    strokes = kept.rows["ts"] // (10 * S)
    pairs = list(zip(strokes.tolist(), kept.rows["sym"].tolist(), strict=True))

    assert len(set(pairs)) == len(pairs)
    assert set(np.diff(sorted(set(strokes.tolist())))) == {1}
    assert quality.taken == {"cadence": len(pairs), "fill": 0, "decision": 0, "broad": 0}
    # The first stroke falls due at the first evaluation, each later one on the grid.
    assert (kept.rows["ts"][2:] % (10 * S) == 0).all()


def test_symbols_that_were_not_asked_for_are_left_out(market):
    kept, _, _ = replayed(market, Plan(every_ns=10 * S, fills=True, rows=frozenset({1})))

    assert set(kept.rows["sym"].tolist()) == {1}


def test_the_broad_cadence_gives_way_first_and_fills_never(market, taken):
    """The hour that the market lies in comes over its budget step by step."""
    everything = taken[1]
    n = everything.n_rows
    for budget in (n - 5, n // 2, n // 10, 20):
        plan = Plan(5 * S, 60 * S, decisions=True, fills=True, budget=budget)
        kept, quality, _ = replayed(market, plan)

        assert quality.taken["fill"] == everything.taken["fill"]
        assert quality.n_rows <= max(budget, everything.taken["fill"])
        for name in ("broad", "cadence", "decision"):
            found = quality.taken[name] + quality.thinned[name]
            assert found == everything.taken[name], name
        if quality.thinned["decision"]:
            assert quality.taken["cadence"] == 0
        if quality.thinned["cadence"]:
            assert quality.taken["broad"] == 0
        # What is left are rows of the whole, perhaps for fewer reasons.
        assert (kept.rows["why"] > 0).all()
        assert bare(kept.rows) <= bare(taken[0].rows)


def bare(rows):
    """Rows without their reason, but fills apart from the others."""
    plain = rows.copy()
    plain["why"] &= FILL
    return {row.tobytes() for row in plain}


def test_a_thinned_cadence_keeps_even_strokes_over_the_whole_hour(market):
    kept, quality, _ = replayed(market, Plan(every_ns=5 * S, budget=100))
    strokes = sorted(set((kept.rows["ts"] // (5 * S)).tolist()))
    gaps = set(np.diff(strokes).tolist())

    assert 50 <= quality.n_rows <= 100
    assert len(gaps) == 1  # evenly spread, not the first part of the hour
    assert gaps.pop() in (2, 4, 8)
    assert quality.hours_thinned == 1


def test_a_number_outside_the_range_of_its_unit_is_counted(market):
    world = make_world(market[0], NEAR)
    kept = Kept(world.core, Plan(every_ns=S))
    rows = np.zeros(1, world.core.rings["evaluations"].dtype.base)
    rows["ts"], rows["generation"] = S, 1
    symbol = world.core.symbols[0]
    symbol["features"][:] = np.nan
    symbol["features"][FEATURE_INDEX["imbalance_5"]] = -1.5  # -1..1
    symbol["features"][FEATURE_INDEX["vol_percentile"]] = 0.5  # 0..1
    symbol["features"][FEATURE_INDEX["book_age"]] = -1.0  # s
    symbol["features"][FEATURE_INDEX["queue_wait_bid"]] = np.inf  # s: nobody trades there
    symbol["features"][FEATURE_INDEX["return_bps_1m"]] = -900.0  # bps may be anything
    kept.snapshots.look(rows, kept_decisions(world), np.zeros(0))

    assert kept.snapshots.finish().facts()["outside"] == {"imbalance_5": 1, "book_age": 1}


def kept_decisions(world):
    return np.zeros(0, world.core.rings["decisions"].dtype.base)


def test_no_feature_of_a_generated_market_is_out_of_range(taken):
    assert taken[1].facts()["outside"] == {}


def test_the_hash_is_the_sha256_of_version_and_values():
    values = np.arange(N_FEATURES, dtype=np.float64)
    values[3] = np.nan
    by_hand = hashlib.sha256()
    by_hand.update(FEATURE_VERSION.to_bytes(8, "little"))
    for each in values:
        by_hand.update(struct.pack("<d", each))

    assert content_hash(values) == by_hand.hexdigest()


def test_the_hash_moves_with_version_and_values_and_not_with_the_kind_of_nan():
    values = np.zeros(N_FEATURES)
    odd = values.copy()
    odd[5] = np.nan
    other = odd.copy()
    other.view(np.int64)[5] |= 1  # a NaN with another payload

    hashes = {content_hash(values), content_hash(odd), content_hash(values, FEATURE_VERSION + 1)}
    assert len(hashes) == 3
    assert content_hash(other) == content_hash(odd)


def test_a_cadence_between_evaluations_is_refused_with_a_reason():
    with pytest.raises(ConfigError, match="not a multiple"):
        Plan(every_ns=1_500_000_000).check(S)
    with pytest.raises(ConfigError, match="nothing was asked"):
        Plan().check(S)


def test_reasons_in_words():
    assert why_text(BROAD | CADENCE | DECISION) == "decision+cadence+broad"
    assert why_text(FILL) == "fill"
