"""A capture made over sockets goes through the whole pipeline, its checksums proven on the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from adapters.cli.main import main
from adapters.kraken.capture import CaptureConfig
from adapters.parquet.reader import open_capture
from engine.events import BOOK_LEVEL, LAST
from tests.support.capture_venue import ONE_PART, capture_until, running_venue

ROOT = Path(__file__).resolve().parents[4]
SYMBOLS = ("BTC/USD", "ETH/USD")


def replay(capsys, store: Path, capture_id: str, out: Path) -> dict:
    arguments = ["run", "replay", str(ROOT / "configs" / "sample.toml"), "--verify", "--quiet"]
    arguments += ["--set", f"capture.path={store}", "--set", f"capture.id={capture_id}"]
    code = main([*arguments, "--out", str(out), "--json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    return json.loads(said.out)


def test_a_capture_replays_and_its_checksums_verify_again(tmp_path, capsys) -> None:
    store = tmp_path / "store"
    with running_venue(seed=31, speed=60, hold=True) as venue:
        config = CaptureConfig(
            symbols=SYMBOLS, channels={"book": 10, "trade": 0, "ticker": 0}, part_ns=ONE_PART
        )
        done = capture_until(store, venue, config, lambda f: f["events"] > 3000)
    (capture_id,) = done.captures

    first = replay(capsys, store, capture_id, tmp_path / "runs")
    again = replay(capsys, store, capture_id, tmp_path / "runs")

    rows = np.concatenate(list(open_capture(store).batches()))
    n_books = int(((rows["kind"] == BOOK_LEVEL) & (rows["flags"] & LAST != 0)).sum())
    assert first["checksums_verified"] == n_books > 500
    assert first["digest"] == again["digest"]
    assert first["summary"]["events"] == len(rows)


def test_a_changed_level_is_found_on_the_way(tmp_path, capsys) -> None:
    """The measure itself: a capture that was written with one wrong quantity."""
    from adapters.parquet.manifest import Channel
    from adapters.parquet.writer import CaptureWriter

    store = tmp_path / "store"
    with running_venue(seed=32, speed=60, hold=True) as venue:
        config = CaptureConfig(symbols=SYMBOLS, channels={"book": 10}, part_ns=ONE_PART)
        capture_until(store, venue, config, lambda f: f["events"] > 500)
    capture = open_capture(store)
    rows = np.concatenate(list(capture.batches()))
    at = np.flatnonzero((rows["kind"] == BOOK_LEVEL) & (rows["qty"] > 0))[40]
    rows["qty"][at] += 1
    channels = [Channel(name="book", depth=10)]
    with CaptureWriter(store, "wrong", capture.instruments, channels=channels) as writer:
        writer.append(rows)

    profile = str(ROOT / "configs" / "sample.toml")
    arguments = ["run", "replay", profile, "--verify", "--quiet", "--no-record"]
    arguments += ["--set", f"capture.path={store}", "--set", "capture.id=wrong"]
    code = main(arguments)

    assert code == 5
    assert "checksum" in capsys.readouterr().err
