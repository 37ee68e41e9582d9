"""The same events from Parquet and from the event log lead to the same digest."""

from __future__ import annotations

from adapters.parquet.manifest import Channel
from adapters.parquet.reader import open_events
from adapters.parquet.writer import CaptureWriter
from engine.flow.log import LogWriter
from tests.support.short_market import short_market
from tests.support.worlds import make_world, run_world, split


def test_same_digest_from_parquet_and_from_the_log(tmp_path):
    instruments, events = short_market(600, symbols=3)
    expected, _ = run_world(make_world(instruments), [events])
    channels = [Channel(name="book", depth=10), Channel(name="trade"), Channel(name="ticker")]
    with CaptureWriter(str(tmp_path / "store"), "same", instruments, channels=channels) as writer:
        for batch in split(events, [4_000] * 100):
            writer.append(batch)
    with LogWriter(tmp_path / "log", instruments, log_id="same") as log:
        for batch in split(events, [1_234] * 100):
            log.append(batch)

    digests = {}
    for name in ("store", "log"):
        source = open_events(tmp_path / name)
        result, tables = run_world(make_world(instruments), source.batches(rows=5_000))
        digests[name] = result.table_digests
        assert len(tables["commands"]) > 0

    assert digests == {"store": expected.table_digests, "log": expected.table_digests}
