"""A log line: what it carries, what it never shows, and that it stops nobody."""

from __future__ import annotations

import io
import json
import logging
import os
import socket

import pytest

from adapters.kraken.keys import Redactor, Secret
from adapters.logs import LINE_MAX, Logs, is_secret_key

CANARY = "canary-5up3r-secret-key-0123456789"
NOON = 1_767_268_800_123_000_000


class Noon:
    def now(self):
        return NOON


def logs(tmp_path, **more):
    stream = io.StringIO()
    made = Logs("run-1", Noon(), tmp_path / "session.log", stream, **more)
    return made, stream


def lines(tmp_path):
    return [json.loads(each) for each in (tmp_path / "session.log").read_bytes().splitlines()]


def test_a_line_is_json_for_machines_and_short_for_people(tmp_path):
    made, stream = logs(tmp_path)
    made.get("orders").info("ORDER_SENT", order=7, symbol="BTC/USD", reason="", run="other")
    made.close()

    assert [
        {
            **{"ts": NOON, "level": "info", "component": "orders", "run": "run-1"},
            **{"event": "ORDER_SENT", "order": 7, "symbol": "BTC/USD", "reason": ""},
        }
    ] == lines(tmp_path)
    assert "12:00:00.123 INFO orders ORDER_SENT order=7 symbol=BTC/USD\n" == stream.getvalue()
    assert 0o600 == (tmp_path / "session.log").stat().st_mode & 0o777


def test_levels_hold_in_all_and_per_component(tmp_path):
    made, _ = logs(tmp_path, level="warning", components={"orders": "debug"})
    made.get("orders").debug("a")
    made.get("feed").info("b")
    made.get("feed").warning("c")
    made.write("debug", "orders", "d", {})
    made.write("info", "feed", "e", {})
    made.close()

    assert ["a", "c", "d"] == [each["event"] for each in lines(tmp_path)]


@pytest.mark.parametrize(
    "key", ["secret", "API_KEY", "stream_token", "mirror.dsn", "API-Sign", "nonce", "alerts_urls"]
)
def test_a_value_under_a_telling_name_is_never_shown(tmp_path, key):
    made, stream = logs(tmp_path)
    made.get("x").error(
        "y", **{key: "visible"}, nested={key: "visible", "deep": {key: ["visible"]}}
    )
    made.close()

    assert is_secret_key(key)
    assert "visible" not in (tmp_path / "session.log").read_text() + stream.getvalue()


@pytest.mark.parametrize("key", ["order", "symbol", "keyboard", "price", "generation"])
def test_other_names_are(key):
    assert not is_secret_key(key)


@pytest.mark.usefixtures("shows_keys")  # caplog sees what the line held before the filter
def test_a_known_secret_is_taken_out_wherever_it_stands_and_that_is_told(tmp_path):
    told = []
    redactor = Redactor([Secret(CANARY)])
    made, stream = logs(tmp_path, clean=redactor.clean, on_secret=lambda: told.append(1))
    log = made.get("x")
    log.info(f"event {CANARY}")
    log.info("reversed", text=CANARY[::-1], more={"list": [CANARY.encode().hex()]})
    log.info("error", error=ValueError(f"in {CANARY!r}"))
    logging.getLogger("websockets.client").error("sent %s", CANARY)
    made.close()

    out = (tmp_path / "session.log").read_text() + stream.getvalue()
    assert CANARY not in out
    assert CANARY[::-1] not in out
    assert CANARY.encode().hex() not in out
    assert len(told) == made.n_secrets >= 4
    assert 4 == len(lines(tmp_path))


def test_what_a_library_says_takes_the_same_way_and_shows_no_traceback(tmp_path):
    made, _ = logs(tmp_path)
    try:
        raise ValueError("local value")
    except ValueError:
        logging.getLogger("asyncio").exception("task failed")
    logging.getLogger("httpx").info("GET something")
    made.close()
    logging.getLogger("asyncio").error("after the end")

    (line,) = lines(tmp_path)
    assert ("asyncio", "library", "task failed", "ValueError") == tuple(
        line[name] for name in ("component", "event", "message", "error")
    )
    assert "local value" not in json.dumps(line)


class Sour:
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("%(missing)s is gone", ({"other": 1},)),
        ("%d pairs", ("two",)),
        ("%s", (Sour(),)),
        ("two %s %s", ("one",)),
    ],
    ids=["key", "type", "own", "count"],
)
def test_words_of_a_library_that_do_not_fit_their_values_are_kept_and_end_nobody(
    tmp_path, monkeypatch, words, values
):
    made, _ = logs(tmp_path)
    # Ours alone: pytest's own handler makes such words a failure.
    monkeypatch.setattr(logging.getLogger(), "handlers", logging.getLogger().handlers[-1:])
    logging.getLogger("asyncio").warning(words, *values)
    made.close()

    (line,) = lines(tmp_path)
    assert line["message"].startswith(words)


HOSTILE = [
    "a\nb",
    "\x1b[31mred",
    "\r\nlevel=ERROR forged",
    "\u2028",
    "\u202e",
    "\x00",
    "\ud800",
    "é✓",
]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_text_of_the_venue_stays_on_its_line(tmp_path, text):
    made, stream = logs(tmp_path)
    made.get("feed").info("x", text=text, **{text: 1})
    made.close()

    assert 1 == (tmp_path / "session.log").read_bytes().count(b"\n")
    assert text == lines(tmp_path)[0]["text"]
    assert stream.getvalue()[:-1].isprintable()
    assert 1 == stream.getvalue().count("\n")


def test_a_line_is_bounded(tmp_path):
    made, stream = logs(tmp_path)
    deep = {"x": 1}
    for _ in range(50):
        deep = {"x": deep, "y": [deep] * 5}
    made.get("feed").info("long " * 1000, **{f"k{i}": "v" * 10_000 for i in range(100)})
    made.get("feed").info("deep", deep=deep, nan=float("nan"), data=b"x" * 100_000)
    made.close()

    assert all(len(each) <= LINE_MAX + 1 for each in stream.getvalue().splitlines())
    for each in (tmp_path / "session.log").read_bytes().splitlines():
        assert len(each) <= LINE_MAX
        json.loads(each)
    assert 1 == made.n_cut


def test_the_file_is_rotated_and_old_ones_go(tmp_path):
    made, _ = logs(tmp_path, file_max=2000)
    for i in range(500):
        made.get("x").info("line", i=i)
    made.close()

    names = sorted(each.name for each in tmp_path.iterdir())
    assert ["session.log", "session.log.1", "session.log.2", "session.log.3"] == names
    assert all(each.stat().st_size <= 2000 for each in tmp_path.iterdir())
    assert 499 == lines(tmp_path)[-1]["i"]


def test_a_disk_that_refuses_is_counted_and_stops_nobody(tmp_path):
    made = Logs("run-1", Noon(), tmp_path / "none" / "session.log")
    made.get("x").info("a")
    made.get("x").info("b")
    made.close()

    assert 2 == made.n_failed


def test_a_full_disk_is_counted(tmp_path):
    (tmp_path / "full").symlink_to("/dev/full")
    made = Logs("run-1", Noon(), tmp_path / "full")  # a link is not followed
    made.get("x").info("a")
    made.close()
    assert 1 == made.n_failed


def test_a_terminal_that_is_gone_stops_nobody(tmp_path):
    one, other = socket.socketpair()
    stream = os.fdopen(os.dup(one.fileno()), "w")
    one.close()
    other.close()
    made = Logs("run-1", Noon(), tmp_path / "session.log", stream)
    for i in range(5):
        made.get("x").info("line", i=i)
    made.close()

    assert 5 == len(lines(tmp_path))
    with pytest.raises(OSError):
        stream.close()
