"""A bad line: what a capture lacks of what the venue sent is what it says that it lacks."""

from __future__ import annotations

import random

import numpy as np
import pytest

from adapters.kraken.capture import CaptureConfig
from adapters.kraken.live import Hosts
from adapters.kraken.phases import SECOND, Limits
from adapters.parquet.check import check_store
from adapters.parquet.reader import open_capture
from adapters.record import record
from engine.events import BOOK_LEVEL, BUY, GAP, LAST, MESSAGE_END, SELL, SNAPSHOT, TRADE
from tests.support.capture_venue import (
    ONE_PART,
    comparable,
    of_the_venue,
    running_venue,
    sent_events,
)
from tests.support.fault_proxy import FAULTS, fault_proxy

SYMBOLS = ("BTC/USD", "ETH/USD", "DOGE/USD")
QUICK = Limits(
    silence=3 * SECOND // 2,  # heartbeats come once a second
    channel_silence={"book": SECOND},
    answer=SECOND,
    backoff_min=SECOND // 10,
    backoff_max=SECOND // 2,
    resyncs_max=1000,
)


def run(store, script, seed):
    """A capture through the proxy, until its script is over and everything stands again."""
    box = {"calm": 0}
    with running_venue(seed=seed, speed=60, hold=True) as venue:
        with fault_proxy(venue.public_url, script) as proxy:

            def progress(facts) -> None:
                whole = facts["symbols_verified"] == len(SYMBOLS) and not proxy.script
                box["calm"] = box["calm"] + 1 if whole else 0
                # What no checksum shows is waited for longer: a silence has to be noticed first.
                if box["calm"] >= (2 if facts["gaps"] or not script else 8):
                    box["ended"].set()

            done = record(
                store,
                CaptureConfig(
                    symbols=SYMBOLS,
                    channels={"book": 10, "trade": 0},
                    limits=QUICK,
                    part_ns=ONE_PART,
                ),
                Hosts(proxy.url),
                stop=lambda ended: box.update(ended=ended),
                for_s=60.0,
                progress=progress,
                seed=seed,
                disk_free_min=0,
            )
            assert box["ended"].is_set()
            assert not proxy.script, "the script was not played to its end"
        return done, venue, proxy


def outages_of(store) -> list[dict]:
    return open_capture(store).manifest.account["outages"]


def assert_only_declared(store, venue) -> int:
    """Captured rows are sent rows in order; a run of missing ones touches a declared outage.

    Or nobody could know: a book message whose every change the next one takes back leaves the same
    book with the same checksum, and Kraken numbers nothing. returns how many rows are declared
    """
    rows = of_the_venue(np.concatenate(list(open_capture(store).batches())))
    kinds = np.where(rows["kind"] == MESSAGE_END, rows["id"], rows["kind"])
    sent = sent_events(venue, ("book", "trade"))
    n_missing = 0
    for channel, kind in (("book", BOOK_LEVEL), ("trade", TRADE)):
        for sym, symbol in enumerate(SYMBOLS):
            mine = rows[(kinds == kind) & (rows["sym"] == sym)]
            got = comparable(mine, {sym: sym})
            said = comparable(sent[channel, sym], {sym: sym})
            stamps = mine["ts"].tolist()
            declared = [
                (each["ts_from"], each["ts_to"])
                for each in outages_of(store)
                if (each["symbol"], each["channel"]) == (symbol, channel)
            ]
            at = 0
            for i, row in enumerate(got):
                start = at
                while at < len(said) and said[at] != row:
                    at += 1
                assert at < len(said), f"{channel} {symbol}: row {i} was never sent, or twice"
                before = stamps[i - 1] if i else 0
                touching = [x for x in declared if x[0] <= stamps[i] and x[1] >= before]
                if at > start and touching:
                    n_missing += at - start
                elif at > start:
                    void = channel == "book" and leaves_no_trace(sent[channel, sym], start, at)
                    assert void, f"{channel} {symbol}: rows before {i} are missing in silence"
                at += 1
    return n_missing


def leaves_no_trace(rows: np.ndarray, start: int, stop: int) -> bool:
    """Is the book after the message at `stop` the same without the rows from `start` on?"""
    end = stop + int(np.flatnonzero(rows["flags"][stop:] & LAST)[0]) + 1
    return book_after(rows[:end]) == book_after(np.delete(rows[:end], slice(start, stop)))


def book_after(rows: np.ndarray) -> list[list[tuple[int, int]]]:
    """The ten best levels a side, from the last snapshot on, the slow way."""
    sides: dict[int, dict[int, int]] = {BUY: {}, SELL: {}}
    inside = False
    for row in rows:
        if row["flags"] & SNAPSHOT and not inside:
            sides = {BUY: {}, SELL: {}}
        inside = not row["flags"] & LAST
        if row["kind"] == BOOK_LEVEL:
            sides[int(row["side"])][int(row["price"])] = int(row["qty"])
        if inside:
            continue
        for side, levels in sides.items():
            best = sorted((p for p, qty in levels.items() if qty), reverse=side == BUY)[:10]
            sides[side] = {price: levels[price] for price in best}
    return [list(levels.items()) for levels in sides.values()]


@pytest.mark.parametrize("fault", [each for each in FAULTS if each != "swap"])
def test_a_fault_costs_what_is_declared_and_nothing_else(fault, tmp_path) -> None:
    """Each fault by itself, once books and trades flow."""
    done, venue, proxy = run(tmp_path, {150: fault}, seed=11)

    assert proxy.done == [fault]
    n_missing = assert_only_declared(tmp_path, venue)
    # Only a message that the next one takes back can be lost without a word.
    assert (n_missing > 0 and done.n_gaps > 0) or fault == "drop"
    manifest = open_capture(tmp_path).manifest
    assert all(each.note for each in manifest.gaps)
    report = check_store(tmp_path)
    assert report.ok, report.text()
    assert report.n_failed == 0


def test_messages_in_the_wrong_order_are_never_believed_for_long(tmp_path) -> None:
    """Two changes of one level, swapped, have the right checksums both; the next message has not."""
    done, venue, proxy = run(tmp_path, {n: "swap" for n in range(100, 400, 30)}, seed=14)

    assert proxy.done == ["swap"] * 10
    assert done.n_gaps > 0
    rows = of_the_venue(np.concatenate(list(open_capture(tmp_path).batches())))
    sent = sent_events(venue, ("book",))
    for sym in range(len(SYMBOLS)):
        mine = rows[(rows["kind"] == BOOK_LEVEL) & (rows["sym"] == sym)]
        assert set(comparable(mine, {sym: sym})) <= set(comparable(sent["book", sym], {sym: sym}))
    report = check_store(tmp_path)
    assert report.ok, report.text()
    assert report.n_failed == 0


def test_many_faults_in_any_order(tmp_path) -> None:
    dice = random.Random(5)
    frames = sorted(dice.sample(range(60, 600), 12))
    script = {n: dice.choice(("drop", "garble", "cut", "html", "close")) for n in frames}

    _, venue, proxy = run(tmp_path, script, seed=12)

    assert len(proxy.done) == 12
    assert assert_only_declared(tmp_path, venue) > 0
    assert check_store(tmp_path).ok


def test_without_faults_nothing_is_missing(tmp_path) -> None:
    """The measure itself: through the same proxy, with an empty script."""
    done, venue, _ = run(tmp_path, {}, seed=13)

    assert assert_only_declared(tmp_path, venue) == 0
    assert done.n_gaps == 0
    rows = np.concatenate(list(open_capture(tmp_path).batches()))
    assert not (rows["kind"] == GAP).any()
