"""The committed sample capture is what the generator makes, whole, small and without fault."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import numpy as np
import pytest

from adapters.parquet.reader import open_capture
from engine import events as ev
from engine.jit import JIT_ENABLED
from engine.research.synthetic import Market, generate
from engine.research.synthetic.bundled import (
    BUNDLED,
    BUNDLED_EVENTS,
    BUNDLED_SHA256,
    write_bundled,
)
from engine.research.synthetic.state import REGIME_NAMES, TRUTH_JUMP, TRUTH_REGIME
from tests.naive.feed import Subscriber

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = ROOT / "datasets" / "sample"
N_FIRST = 20_000 if JIT_ENABLED else 1_500


@functools.cache
def stored() -> np.ndarray:
    """All rows as the reader gives them; not to be written to."""
    return np.concatenate(list(open_capture(SAMPLE).batches()))


def test_it_begins_as_the_generator_begins():
    made = next(generate(BUNDLED, batch_rows=N_FIRST))
    assert made.tobytes() == stored()[:N_FIRST].tobytes()


def test_all_of_it_has_the_fingerprint_that_the_code_names():
    rows = stored()
    assert len(rows) == BUNDLED_EVENTS
    assert hashlib.sha256(rows.tobytes()).hexdigest() == BUNDLED_SHA256


@pytest.mark.skipif(not JIT_ENABLED, reason="half a million events take the compiler")
def test_the_generator_makes_all_of_it_again():
    def fingerprint(instruments, batches):
        assert instruments.symbols == ("BTC/USD", "ETH/USD", "DOGE/USD")
        digest = hashlib.sha256()
        for events in batches:
            digest.update(events.tobytes())
        return digest.hexdigest()

    assert write_bundled(fingerprint) == BUNDLED_SHA256


def test_it_is_small_enough_to_commit():
    size = sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file())
    assert 1_000_000 < size < 10_000_000


def test_the_manifest_agrees():
    manifest = open_capture(SAMPLE).manifest
    assert manifest.events_sha256 == BUNDLED_SHA256
    assert manifest.n_events == BUNDLED_EVENTS
    assert not manifest.gaps
    assert all(each.failed == 0 and each.crossed == 0 for each in manifest.checksums)


def test_the_card_names_it():
    card = (ROOT / "datasets" / "README.md").read_text(encoding="utf-8")
    assert f"{BUNDLED_EVENTS:,}" in card
    assert BUNDLED_SHA256 in card
    rows = stored()
    for sym in range(3):
        assert f"{int((rows['sym'] == sym).sum()):,}" in card


@pytest.mark.skipif(not JIT_ENABLED, reason="half a million events take the compiler")
def test_every_regime_and_some_jumps_occur_in_every_pair():
    market = Market(BUNDLED)
    for _ in market:
        pass
    truth = market.truth()
    truth = truth[truth["ts_venue"] >= BUNDLED.start_ts]
    for sym in range(3):
        mine = truth[truth["sym"] == sym]
        regimes = mine["regime"][mine["what"] == TRUTH_REGIME]
        assert set(regimes) == set(range(len(REGIME_NAMES)))
        assert (mine["what"] == TRUTH_JUMP).sum() >= 5


def test_every_kind_of_event_is_there():
    kinds = set(np.unique(stored()["kind"]).tolist())
    assert {ev.BOOK_LEVEL, ev.L3_ADD, ev.L3_MODIFY, ev.L3_DELETE, ev.MESSAGE_END} < kinds
    assert {ev.TRADE, ev.TICKER, ev.INSTRUMENT, ev.SYSTEM_STATUS} < kinds


@pytest.mark.long
def test_a_subscriber_finds_no_fault_in_all_of_it():
    """Every checksum, window, queue, print and ticker of the committed file, from text and dicts."""
    subscriber = Subscriber(BUNDLED.instruments, BUNDLED.depth, BUNDLED.level3_depth)
    subscriber.feed(stored())
    assert subscriber.checked["book"] > 100_000
    assert subscriber.checked["level3"] == subscriber.checked["book"]
    assert subscriber.checked["print = queue"] > 10_000
