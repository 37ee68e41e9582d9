"""Stores made of real recordings have no defect: books, checksums and crossings as the account says."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.imports.formats import FORMATS, detect
from adapters.parquet.check import check_store
from adapters.parquet.writer import CaptureWriter

RECORDINGS = [
    ("kraken-v1-book10-xbtusd-20230830/messages.jsonl", {}),
    ("kraken-v2-book10-btcusd-20230730/messages.jsonl", {}),
    ("kraken-v2-book25-minagbp-20260818/frames.jsonl", {}),
    ("kraken-rest-xbtusdt-20251110/rest_Trades.json", {}),
    ("kraken-v1-book1000-6pairs-20210417/messages.jsonl.zst", {}),
    ("bitstamp-l3-btcusd-20150501a/events.log.xz", {"symbol": "BTC/USD"}),
    pytest.param("kraken-trades-bbo-2018a", {}, marks=pytest.mark.long),
]


@pytest.mark.parametrize(("name", "options"), RECORDINGS)
def test_a_store_of_a_recording_has_no_defect(
    shared_data: Path, tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    found = FORMATS[detect(shared_data / name)].read(shared_data / name, **options)
    with CaptureWriter(
        tmp_path, "a", found.instruments, channels=found.channels, on_crossed="count"
    ) as writer:
        for batch in found.batches():
            writer.append(batch)

    report = check_store(tmp_path)

    assert report.ok, report.text()
    assert report.n_events == found.summary.n_events
    assert report.n_verified == found.summary.n_verified
    assert report.n_failed == found.summary.n_failed
