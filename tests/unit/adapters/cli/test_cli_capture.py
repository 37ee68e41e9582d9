"""Durations, channels and sizes as people write them; what a capture shows."""

import io
import json

import pytest

from adapters.cli.capture import draw, parse_channels, parse_duration
from adapters.cli.care import parse_size
from adapters.cli.main import main
from engine.errors import ConfigError

FACTS = {
    "seconds": 12.0,
    "lineage": "kraken-x",
    "epoch": 2,
    "verdict": "valid",
    "symbols": 3,
    "symbols_verified": 2,
    "connections": ["online"],
    "subscriptions": {"live": 5, "idle": 0},
    "frames": 1200,
    "frames_per_s": 100.0,
    "bytes_per_s": 25_000,
    "events": 3400,
    "events_per_s": 300.0,
    "checksums_right": 900,
    "checksums_wrong": 1,
    "gaps": 1,
    "resyncs": 1,
    "reconnects": 0,
    "dropped_frames": 0,
    "decode_lag_ms": 0.4,
    "writer_lag_ms": 251.0,
    "clock_offset_ms": -1.25,
    "rows_waiting": 0,
    "disk_free_gb": 70.0,
    "parts": 1,
    "parts_sealed": 0,
    "parts_waiting": 0,
    "notes": ["00:00:01 book BTC/USD: the checksum"],
    "done": False,
}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1h", 3600), ("1h30m", 5400), ("0.5m", 30), ("2d", 172_800), ("250ms", 0.25)],
)
def test_durations(text, seconds) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "90", "1x", "h", "-5s", "1h 30m"])
def test_what_is_no_duration_is_refused(text) -> None:
    with pytest.raises(ConfigError, match="not a duration"):
        parse_duration(text)


def test_channels() -> None:
    assert parse_channels("book:100, trade,ticker,level3") == {
        "book": 100,
        "trade": 0,
        "ticker": 0,
        "level3": 10,
    }


@pytest.mark.parametrize("text", ["book:deep", "book,book"])
def test_what_is_no_channel_is_refused(text) -> None:
    with pytest.raises(ConfigError):
        parse_channels(text)


@pytest.mark.parametrize(("text", "n_bytes"), [("100GB", 10**11), ("1.5 TB", 15 * 10**11)])
def test_sizes(text, n_bytes) -> None:
    assert parse_size(text) == n_bytes


def test_the_live_view_shows_what_matters() -> None:
    from rich.console import Console

    page = io.StringIO()
    Console(file=page, width=140).print(draw(FACTS))

    for words in ("2 valid", "2 of 3", "251 ms", "900 right, 1 wrong", "-1.2 ms", "70.0 GB free"):
        assert words in page.getvalue()
    assert "the checksum" in page.getvalue()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--symbols or --universe"),
        (["--symbols", "BTC/USD", "--universe"], "one of them"),
        (["--symbols", "BTC/USD", "--channels", "book:7"], "no depth 7"),
        (["--symbols", "BTC/USD", "--part", "week"], "hour or day"),
        (["--symbols", "BTC/USD", "--url", "http://127.0.0.1"], "no WebSocket address"),
        (
            ["--symbols", "BTC/USD", "--channels", "level3", "--url", "ws://127.0.0.1:1/v2"],
            "--level3-url",
        ),
        (["--symbols", "BTC/USD", "--for", "soon"], "not a duration"),
    ],
)
def test_a_capture_that_makes_no_sense_is_refused(arguments, says, tmp_path, capsys) -> None:
    code = main(["capture", "run", "--store", str(tmp_path / "store"), *arguments])

    assert code == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_a_venue_that_is_not_there_is_said(tmp_path, capsys) -> None:
    """Nothing listens on port 9 of this machine."""
    arguments = ["capture", "run", "--symbols", "BTC/USD", "--url", "ws://127.0.0.1:9/v2"]

    code = main([*arguments, "--for", "0.3s", "--store", str(tmp_path), "--json"])

    assert code == 8
    assert "could not be made" in capsys.readouterr().err


def test_status_of_a_store_without_a_capture(tmp_path, capsys) -> None:
    assert main(["capture", "status", "--store", str(tmp_path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)

    assert (facts["running"], facts["parts"], facts["captures"]) == ("", [], [])
    assert main(["capture", "seal", "--store", str(tmp_path)]) == 0
    assert "nothing was left" in capsys.readouterr().err


def test_status_of_a_store_that_is_not_there_is_an_error(tmp_path, capsys) -> None:
    assert main(["capture", "status", "--store", str(tmp_path / "stroe")]) == 4
    assert "there is no store" in capsys.readouterr().err
