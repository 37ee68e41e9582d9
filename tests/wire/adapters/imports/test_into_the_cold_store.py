"""Every recording goes through the cold store and comes back event by event."""

import numpy as np
import pytest

from adapters.imports.formats import FORMATS, detect
from adapters.parquet.reader import open_events
from adapters.parquet.writer import CaptureWriter

SHORT = [
    ("kraken-v1-book10-xbtusd-20230830/messages.jsonl", {}),
    ("kraken-v1-book1000-6pairs-20210417/messages.jsonl.zst", {}),
    ("kraken-v2-book10-btcusd-20230730/messages.jsonl", {}),
    ("kraken-v2-book25-minagbp-20260818/frames.jsonl", {}),
    ("kraken-rest-xbtusdt-20251110/rest_Trades.json", {}),
    ("bitstamp-l3-btcusd-20150501a/events.log.xz", {"symbol": "BTC/USD"}),
]
LONG = [
    ("kraken-trades-bbo-2018a", {}),
    ("coinbase-l2-btcusd-20180424-1h", {"symbol": "BTC/USD"}),
    ("coinbase-l2-btcusd-20180424-1h", {"symbol": "BTC/USD", "depth": 100}),
    ("binance-btcusdt-20240808/usdm_btcusdt_20240808.gz", {}),
    ("binance-btcusdt-20240808/spot_btcusdt_20240808.gz", {}),
]


def goes_through(path, options, store):
    found = FORMATS[detect(path)].read(path, **options)
    with CaptureWriter(
        store,
        "import",
        found.instruments,
        channels=found.channels,
        source=found.source,
        venue=found.venue,
        clock=found.clock,
        ts_is_receive_time=found.ts_is_receive_time,
        notes=found.notes,
        on_crossed="count",  # the quotes of 2018 are crossed five times
    ) as writer:
        for batch in found.batches():
            writer.append(batch)
        writer.account.update(found.summary.to_json())
        manifest = writer.close()

    stored = np.concatenate(list(open_events(store).batches()))
    assert np.array_equal(stored, found.read_all())
    assert manifest.n_events == found.summary.n_events
    verified = {c.symbol: c.verified for c in manifest.checksums if c.verified}
    assert verified == dict(found.summary.checksums_verified)
    assert len(manifest.gaps) == len(found.summary.gaps)
    assert manifest.kinds == dict(sorted(found.summary.events.items()))


@pytest.mark.parametrize(("name", "options"), SHORT)
def test_stored_events_are_the_imported_ones(shared_data, tmp_path, name, options):
    goes_through(shared_data / name, options, tmp_path / "store")


@pytest.mark.long
@pytest.mark.parametrize(("name", "options"), LONG)
def test_stored_events_are_the_imported_ones_of_long_recordings(
    shared_data, tmp_path, name, options
):
    goes_through(shared_data / name, options, tmp_path / "store")
