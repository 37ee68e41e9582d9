"""A capture over real sockets equals, event for event, what the venue says it sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adapters.kraken.capture import CaptureConfig
from adapters.local_venue import generated
from adapters.parquet.check import check_store
from adapters.parquet.reader import open_capture
from engine.events import (
    BOOK_LEVEL,
    DERIVED,
    EPOCH,
    EPOCH_CLOSED,
    EPOCH_VALID,
    FAILED,
    GAP,
    L3_ADD,
    L3_DELETE,
    LAST,
    MESSAGE_END,
    SNAPSHOT,
    TICKER,
    TRADE,
    VERIFIED,
)
from tests.support.capture_venue import (
    ONE_PART,
    capture_until,
    comparable,
    of_the_venue,
    running_venue,
    sent_events,
)

SYMBOLS = ("BTC/USD", "ETH/USD", "DOGE/USD")


def captured(store: Path, capture_id: str | None = None) -> np.ndarray:
    return np.concatenate(list(open_capture(store, capture_id).batches()))


def channel_rows(rows: np.ndarray, channel: str) -> np.ndarray:
    kinds = np.where(rows["kind"] == MESSAGE_END, rows["id"], rows["kind"])
    if channel == "book":
        return rows[kinds == BOOK_LEVEL]
    if channel == "level3":
        return rows[(kinds >= L3_ADD) & (kinds <= L3_DELETE)]
    return rows[kinds == {"trade": TRADE, "ticker": TICKER}[channel]]


def assert_same(venue, store, channels, capture_id=None, unsent_tail=0) -> int:
    """Every captured row is the venue's, in its order; what is missing is the newest alone."""
    rows = of_the_venue(captured(store, capture_id))
    table = open_capture(store, capture_id).instruments
    theirs = {each: i for i, each in enumerate(venue.core.source.instruments.symbols)}
    symbols = {i: theirs[each] for i, each in enumerate(table.symbols)}
    n = 0
    sent = sent_events(venue, channels)
    for channel in channels:
        mine = channel_rows(rows, channel)
        for ours, name in enumerate(table.symbols):
            got = comparable(mine[mine["sym"] == ours], symbols)
            said = comparable(sent[channel, theirs[name]], {i: i for i in range(len(theirs))})
            # What was on its way when we hung up never arrived.
            assert got == said[: len(got)], (channel, name)
            assert len(said) - len(got) <= unsent_tail, (channel, name, len(said), len(got))
            n += len(got)
    return n


def test_a_capture_equals_what_the_venue_sent(tmp_path) -> None:
    channels = {"book": 25, "trade": 0, "ticker": 0}
    with running_venue(seed=3, speed=60, hold=True) as venue:
        config = CaptureConfig(symbols=SYMBOLS, channels=channels, part_ns=ONE_PART)
        done = capture_until(
            tmp_path / "store",
            venue,
            config,
            lambda f: f["events"] > 4000 and f["verdict"] == "valid",
        )
        n = assert_same(venue, tmp_path / "store", tuple(channels), unsent_tail=2000)

    assert n > 3000
    assert done.unsealed == []
    assert done.n_gaps == 0
    report = check_store(tmp_path / "store")
    assert report.ok, report.text()
    assert report.n_verified > 1000
    assert report.n_failed == report.n_absent == 0
    rows = captured(tmp_path / "store")
    assert not (rows["flags"] & FAILED).any()
    epochs = rows[rows["kind"] == EPOCH]
    assert EPOCH_VALID in epochs["aux"]
    assert epochs["aux"][-1] == EPOCH_CLOSED
    # Nothing of the log is left once it is sealed.
    assert list((tmp_path / "store" / "_capture" / "parts").iterdir()) == []


def test_level_3_is_captured_with_a_token_and_verified(tmp_path) -> None:
    channels = {"book": 10, "trade": 0, "level3": 10}
    with running_venue(seed=4, speed=30, hold=True) as venue:
        config = CaptureConfig(symbols=SYMBOLS[:2], channels=channels, part_ns=ONE_PART)
        capture_until(tmp_path, venue, config, lambda f: f["events"] > 4000, level3=True)
        n = assert_same(venue, tmp_path, ("book", "trade", "level3"), unsent_tail=2000)
    report = check_store(tmp_path)

    assert n > 3000
    assert report.ok, report.text()
    assert report.n_failed == 0
    checked = {each.channel: each.verified for each in open_capture(tmp_path).manifest.checksums}
    assert set(checked) == {"book", "level3"}


def test_the_universe_is_every_online_pair_of_the_quote(tmp_path) -> None:
    with running_venue(seed=5, speed=5, hold=True) as venue:
        config = CaptureConfig(channels={"trade": 0}, deny=frozenset(("DOGE",)), part_ns=ONE_PART)
        capture_until(tmp_path, venue, config, lambda f: f["symbols_verified"] == 2)

    assert open_capture(tmp_path).instruments.symbols == ("BTC/USD", "ETH/USD")


def test_parts_stand_alone_and_together_are_the_whole(tmp_path) -> None:
    """A part begins with snapshots of our own making, and gives the books back from there."""
    channels = {"book": 10, "trade": 0}
    with running_venue(seed=6, speed=60, hold=True) as venue:
        config = CaptureConfig(symbols=SYMBOLS, channels=channels, part_ns=1_000_000_000)
        done = capture_until(tmp_path, venue, config, lambda f: f["parts"] >= 4)
        assert len(done.captures) >= 3
        whole = np.concatenate([of_the_venue(captured(tmp_path, i)) for i in sorted(done.captures)])
        theirs = {each: i for i, each in enumerate(venue.core.source.instruments.symbols)}
        sent = sent_events(venue, ("book",))
        for ours, name in enumerate(SYMBOLS):
            mine = channel_rows(whole, "book")
            got = comparable(mine[mine["sym"] == ours], {ours: theirs[name]})
            said = comparable(sent["book", theirs[name]], {i: i for i in range(3)})
            assert got == said[: len(got)]
    report = check_store(tmp_path)

    assert report.ok, report.text()
    assert (np.diff(whole["seq"]) > 0).all()
    for each in done.captures[1:]:
        rows = captured(tmp_path, each)
        first = rows[rows["kind"] == BOOK_LEVEL][0]
        assert first["flags"] & SNAPSHOT
        assert first["flags"] & DERIVED
        closing = rows[(rows["flags"] & DERIVED != 0) & (rows["flags"] & VERIFIED != 0)]
        assert len(closing) == len(SYMBOLS)
        assert (closing["flags"] & LAST).all()


def test_a_pair_that_the_venue_does_not_know_is_refused_with_the_nearest(tmp_path) -> None:
    from engine.errors import ConfigError

    with running_venue(seed=7, speed=1, hold=True) as venue:
        config = CaptureConfig(symbols=("BTX/USD",), channels={"trade": 0}, part_ns=ONE_PART)
        with pytest.raises(ConfigError, match="BTX/USD"):
            capture_until(tmp_path, venue, config, lambda f: False)


def test_two_captures_into_one_store_cannot_collide(tmp_path) -> None:
    from engine.errors import RefusedError

    refused = []
    with running_venue(seed=8, speed=5, hold=True) as venue:
        config = CaptureConfig(symbols=("BTC/USD",), channels={"trade": 0}, part_ns=ONE_PART)

        def second(facts) -> bool:
            if not refused and facts["parts"]:
                try:
                    capture_until(tmp_path, venue, config, lambda f: True)
                except RefusedError as error:
                    refused.append(str(error))
            return bool(refused)

        import threading

        # A second run has a loop of its own, so it needs a thread of its own.
        def look(facts) -> bool:
            if facts["parts"] and not refused:
                thread = threading.Thread(target=second, args=(facts,))
                thread.start()
                thread.join()
            return bool(refused)

        capture_until(tmp_path, venue, config, look)

    assert "being written by another process" in refused[0]


def test_a_market_of_a_minute_as_fast_as_it_goes(tmp_path) -> None:
    """The whole of a finite market: nothing is missing at its end either."""
    market_of(tmp_path, 60.0)


@pytest.mark.long
def test_a_market_of_an_hour_as_fast_as_it_goes(tmp_path) -> None:
    market_of(tmp_path, 3600.0)


def market_of(store: Path, seconds: float) -> None:
    channels = {"book": 10, "trade": 0, "ticker": 0}
    with running_venue(
        source=generated(9, duration_s=seconds), speed=float("inf"), hold=True
    ) as venue:
        quiet = [0, 0]

        def all_there(facts) -> bool:
            # The market is over and nothing has come since the last look but heartbeats.
            still = facts["checksums_right"] == quiet[0] and venue.ended.is_set()
            quiet[:] = [facts["checksums_right"], quiet[1] + 1 if still else 0]
            return quiet[1] >= 3

        config = CaptureConfig(symbols=SYMBOLS, channels=channels, part_ns=ONE_PART)
        done = capture_until(store, venue, config, all_there, within_s=900)
        n = assert_same(venue, store, tuple(channels), unsent_tail=0)
    rows = captured(store)

    assert done.n_gaps == 0
    assert not (rows["kind"] == GAP).any()
    assert n > seconds * 20
    assert check_store(store).ok
