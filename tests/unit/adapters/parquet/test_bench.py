"""The helper of the benchmark measures the same events in every way. No figure is asserted."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.parquet.bench import measure_read
from adapters.parquet.writer import CaptureWriter
from engine.errors import ConfigError
from tests.support.captures import CHANNELS, TABLE, market_rows


def test_all_ways_read_all_events(tmp_path: Path) -> None:
    rows = market_rows(200)
    with CaptureWriter(tmp_path, "a", TABLE, channels=CHANNELS) as writer:
        writer.append(rows)

    speed = measure_read(tmp_path, repeats=1)

    assert speed.n_events == len(rows)
    assert min(speed.plain, speed.checked, speed.stream, speed.ahead) > 0
    url = f"memory://bench{tmp_path}"
    with CaptureWriter(url, "a", TABLE, channels=CHANNELS):
        pass
    with pytest.raises(ConfigError, match="is not local"):
        measure_read(url)
