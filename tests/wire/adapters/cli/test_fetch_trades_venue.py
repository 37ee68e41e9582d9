"""`data fetch-trades` against the local venue: the trades that it says it sent, in the cold store."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from adapters.cli.main import main
from adapters.local_venue import LocalVenue, generated, serve
from adapters.local_venue.account import compile_venue
from adapters.parquet.check import check_store
from adapters.parquet.manifest import list_captures
from adapters.parquet.reader import open_capture
from engine.events import MARKET_ORDER, TRADE

ROOT = Path(__file__).resolve().parents[4]


@contextmanager
def venue_in_a_thread() -> Iterator[LocalVenue]:
    """A venue whose market has ended: the command under test runs an event loop of its own."""
    compile_venue()  # outside the time limit: after an edit of a kernel it takes a while
    ready: Future[LocalVenue] = Future()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        market = generated(5, 800.0, intensity=4.0, level3=False, depth=10)
        async with serve(market, speed=float("inf"), hold=False, record=False) as venue:
            await venue.ended.wait()
            ready.set_result(venue)
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        yield ready.result(timeout=120)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


@pytest.fixture(scope="module")
def venue() -> Iterator[LocalVenue]:
    with venue_in_a_thread() as running:
        yield running


def said(venue: LocalVenue, symbol: str) -> list[tuple[int, ...]]:
    """Trades as the venue has them: id, price, quantity, side, market order."""
    pair = venue.core.market.pairs[venue.core.source.instruments.index(symbol)]
    return [(each.trade_id, each.price, each.qty, each.side, each.market) for each in pair.trades]


def stored(store: Path) -> list[tuple[int, ...]]:
    events = np.concatenate(list(open_capture(store).batches()))
    return [
        (
            int(each["id"]),
            int(each["price"]),
            int(each["qty"]),
            int(each["side"]),
            bool(each["flags"] & MARKET_ORDER),
        )
        for each in events[events["kind"] == TRADE]
    ]


def arguments(venue: LocalVenue, store: Path, *more: str) -> list[str]:
    return [
        *("data", "fetch-trades", "BTC/USD", "--since", "start", "--until", "2100-01-01"),
        *("--store", str(store), "--url", venue.rest_url, *more),
    ]


def test_what_the_venue_said_is_in_the_store(
    venue: LocalVenue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert main(arguments(venue, store, "--json", "--quiet")) == 0

    told = json.loads(capsys.readouterr().out)
    truth = said(venue, "BTC/USD")
    assert stored(store) == truth
    assert told["trades"] == len(truth) > 1000  # more than a page
    assert (told["gaps"], told["pages"]) == (0, -(-len(truth) // 1000))
    assert check_store(store).ok
    manifest = list_captures(store)[0]
    assert manifest.capture_id == "trades-BTC-USD-19700101-000000"
    assert manifest.table()["BTC/USD"].price_increment == (
        venue.core.source.instruments["BTC/USD"].price_increment
    )
    assert not (store / "_fetch" / manifest.capture_id).exists()

    # A capture is never changed: the same command refuses.
    assert main(arguments(venue, store)) == 6
    assert "already has a capture" in capsys.readouterr().err


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_fetch_that_was_ended_goes_on_where_it_stopped(
    venue: LocalVenue, tmp_path: Path, how: signal.Signals
) -> None:
    store = tmp_path / "store"
    pages = store / "_fetch" / "trades-BTC-USD-19700101-000000" / "pages"
    worker = subprocess.Popen(
        [sys.executable, "-m", "adapters.cli.main", *arguments(venue, store)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while worker.poll() is None and not list(pages.glob("0*.json.gz")):
            pass
        assert worker.poll() is None, "it ended before it was killed: nothing was tested"
        worker.send_signal(how)
        _, said_last = worker.communicate(timeout=20)
    finally:
        worker.kill()
        worker.wait(20)
    if how == signal.SIGINT:
        assert worker.returncode == 130
        assert "the same command goes on" in said_last
    assert list_captures(store) == [] if (store / "_manifests").exists() else True

    assert main(arguments(venue, store, "--quiet")) == 0
    assert stored(store) == said(venue, "BTC/USD")


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (["BTC/USD", "--since", "yesterday"], 2, "is not a time"),
        (["BTC", "--since", "start"], 2, "not of the form BASE/QUOTE"),
        (["NOPE/USD", "--since", "start"], 2, "no pair NOPE/USD"),
        (["BTC/USD", "--since", "2100-01-01", "--until", "2099-01-01"], 2, "ends before it begins"),
        (["BTC/USD", "--since", "2012-01-01", "--until", "2012-01-02"], 4, "has no trades"),
    ],
)
def test_what_cannot_be_fetched_is_said(
    venue: LocalVenue,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    code: int,
    words: str,
) -> None:
    more = ["--store", str(tmp_path / "store"), "--url", venue.rest_url, "--quiet"]
    assert main(["data", "fetch-trades", *given, *more]) == code

    assert words in capsys.readouterr().err


def test_keys_are_not_read(
    venue: LocalVenue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the keys were read")

    for name in ("read_keys", "read_key_file", "key_pair"):
        monkeypatch.setattr(f"adapters.kraken.keys.{name}", never)
    given = ["--since", "2012-01-01", "--until", "2012-01-02", "--url", venue.rest_url]
    assert main(["data", "fetch-trades", "BTC/USD", *given, "--store", str(tmp_path)]) == 4


def test_other_addresses_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--since", "start", "--url", "http://192.0.2.1", "--store", str(tmp_path)]
    assert main(["data", "fetch-trades", "BTC/USD", *given]) == 2
    assert "not an address of Kraken's REST" in capsys.readouterr().err
