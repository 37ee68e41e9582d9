"""`kill -9` at any moment loses at most what was not written, and the next start says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from adapters.kraken.capture import CaptureConfig
from adapters.parquet.check import check_store
from adapters.parquet.manifest import list_captures
from adapters.parquet.reader import open_capture
from engine.events import BOOK_LEVEL, DERIVED, GAP, GAP_SOURCE, MESSAGE_END
from engine.flow.log import check_log
from tests.support.capture_venue import (
    ONE_PART,
    capture_until,
    comparable,
    of_the_venue,
    running_venue,
    sent_events,
)

ROOT = Path(__file__).resolve().parents[4]
SYMBOLS = ("BTC/USD", "ETH/USD")


def start(store: Path, url: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "adapters.cli.main", "capture", "run"]
    command += ["--symbols", ",".join(SYMBOLS), "--channels", "book:10,trade", "--url", url]
    command += ["--store", str(store), "--disk-free", "0", *more]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def wait_for_log(store: Path, n_bytes: int) -> Path:
    """The only part, once its log has grown to `n_bytes`."""
    for _ in range(600):
        for log in (store / "_capture" / "parts").glob("kraken-*"):
            if log.is_dir() and sum(f.stat().st_size for f in log.iterdir()) >= n_bytes:
                return log
        time.sleep(0.05)
    raise AssertionError("the capture has not written anything")


def captured(store: Path, capture_id: str) -> np.ndarray:
    return np.concatenate(list(open_capture(store, capture_id).batches()))


def books(rows: np.ndarray, sym: int) -> np.ndarray:
    kinds = np.where(rows["kind"] == MESSAGE_END, rows["id"], rows["kind"])
    return rows[(kinds == BOOK_LEVEL) & (rows["sym"] == sym)]


def test_a_killed_capture_is_recovered_sealed_and_continued(tmp_path) -> None:
    store = tmp_path / "store"
    said: list[str] = []
    with running_venue(seed=21, speed=60, hold=True) as venue:
        process = start(store, venue.public_url)
        log = wait_for_log(store, 300_000)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        # A power cut on top: the last bytes are torn.
        segment = sorted(log.glob("*.arrows"))[-1]
        with segment.open("r+b") as file:
            file.truncate(segment.stat().st_size - 700)
        assert check_log(log).damage is not None
        first_connection = {key: rows for key, rows in sent_events(venue, ("book",)).items()}

        config = CaptureConfig(symbols=SYMBOLS, channels={"book": 10, "trade": 0}, part_ns=ONE_PART)
        done = capture_until(store, venue, config, lambda f: f["events"] > 500, talk=said.append)

    killed, continued = (each.capture_id for each in list_captures(store))
    assert killed == log.name
    assert done.captures == [killed, continued]
    assert any("was not closed" in each and "are kept" in each for each in said), said
    assert any("records are not whole" in each for each in said), said
    rows, later = captured(store, killed), captured(store, continued)
    # What is there is a prefix of what was sent; what follows is one declared gap in each.
    for sym in range(len(SYMBOLS)):
        got = comparable(of_the_venue(books(rows, sym)), {sym: sym})
        sent = comparable(first_connection["book", sym], {sym: sym})
        whole = [each for each in got if each in set(sent)]
        assert len(whole) >= len(got) - 1  # at most one end that recovery put there
        assert got[: len(whole)] == sent[: len(whole)]
        assert len(got) > 100
    assert rows["kind"][-1] == GAP
    assert rows["id"][-1] == GAP_SOURCE
    opening = later[later["kind"] == GAP][0]
    assert opening["aux"] == rows["ts"][-1]
    assert later["seq"][0] == rows["seq"][-1] + 1
    manifests = {each.capture_id: each for each in list_captures(store)}
    assert manifests[continued].account["lineage"] == manifests[killed].account["lineage"]
    assert "torn" in manifests[killed].gaps[-1].note.lower()
    assert manifests[continued].gaps[0].note == "the capture was not running"
    report = check_store(store)
    assert report.ok, report.text()
    assert not (later["flags"][later["kind"] == BOOK_LEVEL] & DERIVED).any()


def test_ctrl_c_ends_in_order(tmp_path) -> None:
    with running_venue(seed=22, speed=60, hold=True) as venue:
        process = start(tmp_path, venue.public_url, "--json", "--raw")
        wait_for_log(tmp_path, 100_000)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert process.returncode == 0, err
    assert '"kind": "kapitaalbot.capture.run"' in out
    assert check_store(tmp_path).ok
    (manifest,) = list_captures(tmp_path)
    assert manifest.epochs[-1].status == "closed"
    assert manifest.gaps == ()
    (raw,) = (tmp_path / "_capture" / "raw").iterdir()
    assert raw.read_bytes().count(b'"dir":"rx"') > 100


def test_a_capture_killed_before_its_first_event_leaves_nothing_behind(tmp_path) -> None:
    parts = tmp_path / "_capture" / "parts" / "kraken-20260101-000000"
    parts.mkdir(parents=True)
    (parts / ".00000001.arrows.tmp").write_bytes(b"torn header")
    said: list[str] = []
    with running_venue(seed=23, speed=60, hold=True) as venue:
        config = CaptureConfig(symbols=SYMBOLS, channels={"book": 10}, part_ns=ONE_PART)
        capture_until(tmp_path, venue, config, lambda f: f["events"] > 50, talk=said.append)

    assert any("nothing was written" in each for each in said)
    assert len(list_captures(tmp_path)) == 1
