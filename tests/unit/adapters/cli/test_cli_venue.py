"""`kapitaalbot venue serve`: its options, its sources, and that it listens where it says."""

import asyncio
import json
import socket
import ssl
import zlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from adapters.cli.main import main
from adapters.cli.venue import (
    from_capture,
    from_generator,
    read_keys,
    read_options,
    read_speed,
    tls_context,
)
from adapters.local_venue import VenueOptions, serve
from adapters.local_venue.core import Core
from engine.errors import ConfigError

SAMPLE = Path(__file__).resolve().parents[4] / "datasets/sample"
S = 1_000_000_000


def test_options_are_read_in_the_type_of_their_default() -> None:
    options = read_options(
        ["tier=pro", "rest_lag_ms=1500", "amend_up_keeps=true", "balances.USD=5", "seed=9",
         "report_ms=0,2", "integers_refused=", "protection=0.1"],
        "2,8",
    )  # fmt: skip
    assert ("pro", 1500.0, True, 9, (0.0, 2.0), (2.0, 8.0), (), Decimal("0.1")) == (
        options.tier, options.rest_lag_ms, options.amend_up_keeps, options.seed,
        options.report_ms, options.engine_ms, options.integers_refused, options.protection,
    )  # fmt: skip
    assert Decimal(5) == options.balances["USD"]
    assert VenueOptions().balances["BTC"] == options.balances["BTC"]


@pytest.mark.parametrize(
    "settings",
    [["colour=1"], ["tier=gold"], ["seed=x"], ["amend_up_keeps=7"], ["report_ms=5,1"], ["tier"]],
)
def test_wrong_options_are_refused(settings: list[str]) -> None:
    with pytest.raises(ConfigError):
        read_options(settings, None)


def test_speeds() -> None:
    assert [0.5, 60.0, float("inf")] == [read_speed(each) for each in ("0.5", "60", "max")]
    for text in ("0", "-1", "fast", "nan"):
        with pytest.raises(ConfigError):
            read_speed(text)


def test_keys_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text('[[key]]\nkey = "a"\nsecret = "c2VjcmV0"\nrights = ["query"]\n')
    [key] = read_keys(path)
    assert ("a", frozenset(("query",))) == (key.key, key.rights)
    path.write_text("[[key]]\nkey = 'a'\n")
    with pytest.raises(ConfigError, match="holds no keys"):
        read_keys(path)
    path.write_text("")
    with pytest.raises(ConfigError, match="names no key"):
        read_keys(path)


def test_tls_needs_both_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two files"):
        tls_context(tmp_path / "cert.pem", None)
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("nothing")
    with pytest.raises(ConfigError, match="no certificate"):
        tls_context(tmp_path / "cert.pem", tmp_path / "key.pem")


def test_https_with_a_certificate_of_files(tmp_path: Path) -> None:
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    certificate, key, root = (tmp_path / each for each in ("cert.pem", "key.pem", "root.pem"))
    made.cert_chain_pems[0].write_to_path(str(certificate))
    made.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(root))

    async def ask() -> Any:
        source = from_generator(1, "BTC/USD", recorded_time=True)
        async with serve(source, ssl=tls_context(certificate, key), warm=False) as venue:
            assert venue.rest_url.startswith("https://")
            assert venue.public_url.startswith("wss://")
            context = ssl.create_default_context(cafile=str(root))
            async with httpx.AsyncClient(verify=context) as client:
                return (await client.get(f"{venue.rest_url}/0/public/AssetPairs")).json()

    assert ["XXBTZUSD"] == list(asyncio.run(ask())["result"])


def test_it_serves_and_ends_by_itself(capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["venue", "serve", "--generate", "3", "--port", "0", "--for", "0.3s", "--json"]
    assert 0 == main(arguments)
    said, talk = capfd.readouterr()
    facts = json.loads(said)
    assert {"public", "private", "level3", "rest", "demo_key", "demo_secret"} <= set(facts)
    assert facts["public"].startswith("ws://127.0.0.1:")
    assert "venue.end connections=0" in talk


@pytest.mark.parametrize(
    "arguments",
    [
        ["--capture", "x", "--generate", "1"], ["--port", "65535"], ["--speed", "0"],
        ["--generate", "1", "--symbols", "XXX/USD"], ["--option", "colour=1"],
        ["--faults", "pyproject.toml"],
    ],
)  # fmt: skip
def test_wrong_arguments_leave_with_code_2(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert 2 == main(["venue", "serve", "--for", "0.1s", *arguments])
    assert "next:" in capfd.readouterr().err


# ---- a capture, served ----


class Book:
    """A subscriber written from the protocol: text in, checksum from text."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.sides: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}

    def take(self, item: dict[str, Any]) -> bool:
        for name, side in self.sides.items():
            for each in item[name]:
                side.pop(each["price"], None)
                if Decimal(each["qty"]):
                    side[each["price"]] = each["qty"]
            best = sorted(side, key=Decimal, reverse=name == "bids")[: self.depth]
            self.sides[name] = {price: side[price] for price in best}
        words = [
            digits.replace(".", "").lstrip("0")
            for name in ("asks", "bids")
            for pair in list(self.sides[name].items())[:10]
            for digits in pair
        ]
        return zlib.crc32("".join(words).encode()) == int(item["checksum"])


def test_a_capture_is_served_with_valid_checksums_at_every_depth() -> None:
    """Deeper than it was recorded, too: the levels that the recording holds, and no others."""
    core = Core(from_capture(SAMPLE, None, "BTC/USD,ETH/USD", recorded_time=True))
    core.advance(0, core.start + S)
    books: dict[int, dict[str, Book]] = {}
    for depth in (10, 25):
        conn = core.opened("public")
        params = {"channel": "book", "symbol": ["BTC/USD", "ETH/USD"], "depth": depth}
        core.received(conn, json.dumps({"method": "subscribe", "params": params}))
        books[conn] = {symbol: Book(depth) for symbol in params["symbol"]}  # type: ignore[attr-defined]
    n = 0
    for seconds in range(1, 61):
        core.advance(seconds * S, core.start + seconds * S)
        for out in core.drain():
            frame = json.loads(out.text, parse_float=str)
            if frame.get("channel") == "book":
                [item] = frame["data"]
                assert books[out.conn][item["symbol"]].take(item), out.text
                n += 1
    assert n > 150


def test_a_capture_can_happen_now() -> None:
    recorded = from_capture(SAMPLE, None, None, recorded_time=True)
    now = from_capture(SAMPLE, None, None, recorded_time=False)
    first, second = recorded.pop(), now.pop()
    assert first is not None
    assert second is not None
    shift = second.ts - first.ts
    assert shift > 0
    assert {shift} == {
        b.ts_venue - a.ts_venue for a, b in zip(first.rows, second.rows, strict=True)
    }


def test_a_port_that_is_taken_is_said_with_the_way_out(capsys) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        code = main(["venue", "serve", "--generate", "7", "--port", str(port), "--for", "0.1s"])

    said = capsys.readouterr().err
    assert code == 2
    assert f"ports {port} to {port + 3}" in said
    assert "--port 0 takes free ones" in said
