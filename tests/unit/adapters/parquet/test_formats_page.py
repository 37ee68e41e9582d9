"""The examples of docs/formats.md run, and its versions are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapters.parquet.manifest import CHANNELS, MANIFEST_VERSION
from adapters.parquet.writer import CaptureWriter
from engine import events as ev
from engine.flow.log import LogWriter
from engine.flow.segment import LOG_FORMAT_VERSION
from tests.support import captures as made_up

PAGE = Path(__file__).parents[4] / "docs" / "formats.md"


def test_its_examples_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = made_up.market_rows(300)
    log, store = tmp_path / "log", tmp_path / "store"
    with LogWriter(log, made_up.TABLE, log_id="a", flush_rows=100, segment_bytes=20_000) as writer:
        writer.append(rows)
    with CaptureWriter(store, "a", made_up.TABLE, channels=made_up.CHANNELS) as capture:
        capture.append(rows)

    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(example, {"log_folder": str(log), "store_folder": str(store)})

    assert f"log proven, chain {writer.chain}" in capsys.readouterr().out
    assert len(list(log.glob("*.arrows"))) > 1


def test_its_versions_channels_and_fields_are_those_of_the_code() -> None:
    page = PAGE.read_text()
    stated = dict(re.findall(r"^\| (event schema|log format|manifest) \| (\d+) \|", page, re.M))

    assert stated == {
        "event schema": str(ev.EVENT_SCHEMA_VERSION),
        "log format": str(LOG_FORMAT_VERSION),
        "manifest": str(MANIFEST_VERSION),
    }
    for channel in CHANNELS:
        assert f"`{channel}`" in page
    offsets = {name: int(at) for at, name in re.findall(r"^\| (\d+) \| `(\w+)` \| int", page, re.M)}
    assert offsets == {name: ev.EVENT.fields[name][1] for name in ev.EVENT.names or ()}  # type: ignore[index]
