"""REST: what may be asked, how answers are read, what follows an error; over a real socket."""

import asyncio
import base64
import json
import logging
import traceback
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from adapters.kraken.errors import (
    BusyError,
    NotAllowedError,
    OutcomeUnknownError,
    PrivateStoppedError,
    RefusedByVenueError,
)
from adapters.kraken.keys import ENV_KEY, ENV_SECRET, Keys, Secret, read_keys
from adapters.kraken.limits import SECOND, TIERS
from adapters.kraken.rest import CALLS, REST_URL, Rest, RestCore, checked_url, exact
from adapters.kraken.rest_trades import read_trade_page
from adapters.kraken.sign import sign
from engine.errors import ConfigError, DataError, VenueError
from tests.support.http_script import CLOSE, Script, serve_script

NOW = 1_767_607_200 * SECOND
KEY = "CANARYpublicKEY0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
SECRET = base64.b64encode(
    b"canary: the private half, 64 bytes of it, so that it looks right"
).decode()
TOKEN = "CANARYtoken0123456789+/abcdefghijklmnop"


class Clock:
    """Moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now_ns = NOW
        self.slept: list[float] = []

    def now(self) -> int:
        return self.now_ns

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_ns += round(seconds * SECOND)


def keys() -> Keys:
    return read_keys("env", {ENV_KEY: KEY, ENV_SECRET: SECRET})


class Nonces:
    """Rises by one; the real one is nonce.NonceFile."""

    def __init__(self) -> None:
        self.last = 1_767_607_200_000_000

    def __call__(self, keys: Keys) -> int:
        self.last += 1
        return self.last


def core() -> RestCore:
    return RestCore(TIERS["starter"], Nonces(), keys)


def ok(result: Any) -> tuple[int, bytes]:
    return 200, json.dumps({"error": [], "result": result}).encode()


def refusal(*texts: str) -> tuple[int, bytes]:
    return 200, json.dumps({"error": list(texts)}).encode()


def run(
    answers: list[tuple[int, bytes]], work: Callable[[Rest, Script, Clock], Awaitable[None]]
) -> None:
    async def main() -> None:
        clock = Clock()
        async with (
            serve_script(*answers) as script,
            Rest(script.url, nonce=Nonces(), keys=keys, clock=clock, sleep=clock.sleep) as rest,
        ):
            await work(rest, script, clock)

    asyncio.run(asyncio.wait_for(main(), 20))


# ---- what may be asked ----


@pytest.mark.parametrize(
    "name",
    [
        *("AddOrder", "AddOrderBatch", "AmendOrder", "EditOrder", "CancelOrder", "CancelAll"),
        *("CancelAllOrdersAfter", "CancelOrderBatch", "Withdraw", "WalletTransfer", "WithdrawInfo"),
        *("DepositAddresses", "CreateSubaccount", "Earn/Allocate", "AddExport", "time", ""),
        *("../private/AddOrder", "Time?x=1", "Balance/../AddOrder"),
    ],
)
def test_a_call_that_is_not_on_the_list_is_refused(name: str) -> None:
    with pytest.raises(NotAllowedError, match="not on the list"):
        core().request(name, {}, NOW)
    with pytest.raises(NotAllowedError):
        core().wait_ns(name, {}, NOW)


def test_no_call_on_the_list_changes_anything() -> None:
    changing = ("add", "amend", "edit", "cancel", "withdraw", "transfer", "create", "allocate")

    for name in CALLS:
        assert not name.lower().startswith(changing), name


def test_paths_are_krakens() -> None:
    assert CALLS["Trades"].path == "/0/public/Trades"
    assert CALLS["GetWebSocketsToken"].path == "/0/private/GetWebSocketsToken"


@pytest.mark.parametrize(
    "url",
    [
        *("http://api.kraken.com", "https://api.kraken.com.evil.example", "https://evil.example"),
        *("https://127.0.0.1.evil.example", "ftp://127.0.0.1", "https://api.kraken.com:444", ""),
        "https://user@api.kraken.com",
    ],
)
def test_other_addresses_than_krakens_and_this_machine_are_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        checked_url(url)


def test_krakens_address_and_loopback_are_accepted() -> None:
    assert checked_url(REST_URL) == REST_URL
    assert checked_url("https://127.0.0.1:8443/") == "https://127.0.0.1:8443"
    assert checked_url("http://[::1]:80") == "http://[::1]:80"


# ---- requests ----


def test_a_public_request_carries_no_key_and_reads_none() -> None:
    def never() -> Keys:
        raise AssertionError("the keys were read")

    made = RestCore(nonce=Nonces(), keys=never).request(
        "Trades", {"pair": "XBTUSD", "since": 1762820035982277754}, NOW
    )

    assert (made.method, made.path, made.body) == ("GET", "/0/public/Trades", b"")
    assert made.query == "pair=XBTUSD&since=1762820035982277754"
    assert set(made.headers) == {"User-Agent"}


def test_a_private_request_is_signed_over_the_bytes_that_are_sent() -> None:
    made = core().request("QueryOrders", {"txid": ["OA-1", "OB-2"], "trades": True}, NOW)

    nonce = "1767607200000001"
    assert dict(parse_qsl(made.body.decode())) == {
        "nonce": nonce,
        "txid": "OA-1,OB-2",
        "trades": "true",
    }
    assert made.headers["API-Key"] == KEY
    assert made.headers["API-Sign"] == sign(
        Secret(SECRET), "/0/private/QueryOrders", nonce, made.body
    )


def test_a_float_is_refused_as_a_parameter() -> None:
    with pytest.raises(TypeError, match="lose digits"):
        core().request("Trades", {"since": 1762820035.9822779}, NOW)


def test_a_private_call_without_keys_is_refused() -> None:
    with pytest.raises(NotAllowedError, match="uses no API keys"):
        RestCore().request("Balance", {}, NOW)


# ---- answers ----


def test_numbers_keep_their_digits(shared_kraken: Path) -> None:
    samples = shared_kraken / "samples"
    ticker = core().answer("Ticker", 200, (samples / "rest_ticker_2025-11.json").read_bytes(), NOW)
    pairs = core().answer(
        "AssetPairs", 200, (samples / "rest_asset_pairs_2025-11.json").read_bytes(), NOW
    )

    assert exact(ticker["XBTUSDT"]["v"][1], "volume") == Decimal("163.28908096")
    assert pairs["XBTUSDT"]["fees"][2] == [50000, Decimal("0.24")]
    assert str(pairs["XBTUSDT"]["fees_maker"][-1][1]) == "0.0"


@pytest.mark.parametrize("value", ["1e999999999", "NaN", "Infinity", "", "x", None, True, [], 1.5])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match="is no number"):
        exact(value, "the price")


def test_a_warning_is_kept_and_the_result_given() -> None:
    asked = core()
    body = b'{"error":["WGeneral:Careful"],"result":{"unixtime":7}}'

    assert asked.answer("Time", 200, body, NOW) == {"unixtime": 7}
    assert asked.warnings == ["WGeneral:Careful"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"error":["EGeneral:Invalid arguments"]}', RefusedByVenueError),
        (b'{"error":["EQuery:Unknown asset pair"]}', RefusedByVenueError),
        (b'{"error":["EAPI:Rate limit exceeded"]}', BusyError),
        (b'{"error":["EService:Unavailable"]}', OutcomeUnknownError),
        (b"<html>520</html>", OutcomeUnknownError),
        (b"", OutcomeUnknownError),
        (b"\xff\xfe", OutcomeUnknownError),
        (b"[" * 100_000, OutcomeUnknownError),
        (b'{"error":["EAPI:Invalid nonce"]}', PrivateStoppedError),
        (b'{"error":["WGeneral:x","EGeneral:Permission denied"]}', PrivateStoppedError),
    ],
)
def test_every_private_answer_ends_in_one_reaction(body: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        core().answer("Balance", 200, body, NOW)


def test_an_unclear_public_answer_may_be_asked_again() -> None:
    for status, body in [
        (520, b"<html>"),
        (200, b'{"error":["EService:Unavailable"]}'),
        (429, b""),
    ]:
        with pytest.raises(BusyError):
            core().answer("Time", status, body, NOW)


@pytest.mark.parametrize(
    "text",
    [
        *("EAPI:Invalid nonce", "EAPI:Invalid key", "EAPI:Invalid signature"),
        *("EGeneral:Permission denied", "EAuth:Account temporary disabled"),
    ],
)
def test_private_use_ends_and_stays_ended(text: str) -> None:
    asked = core()
    with pytest.raises(PrivateStoppedError, match=text) as caught:
        asked.answer("Balance", *refusal(text), NOW)

    assert caught.value.exit_code == 3
    assert caught.value.until_ns == 0
    for later in (NOW, NOW + 86_400 * SECOND):
        with pytest.raises(PrivateStoppedError, match=text):
            asked.request("OpenOrders", {}, later)
    assert asked.request("Time", {}, NOW).method == "GET"


def test_a_lockout_ends_private_use_for_a_while() -> None:
    asked = core()
    with pytest.raises(PrivateStoppedError) as caught:
        asked.answer("Balance", *refusal("EGeneral:Temporary lockout"), NOW)

    assert caught.value.until_ns == NOW + 900 * SECOND
    with pytest.raises(PrivateStoppedError):
        asked.wait_ns("Balance", {}, NOW + 899 * SECOND)
    assert asked.request("Balance", {}, NOW + 900 * SECOND).method == "POST"


def test_a_throttled_caller_waits_until_it_was_told() -> None:
    asked = core()
    with pytest.raises(BusyError) as caught:
        asked.answer("Balance", *refusal(f"EService:Throttled: {NOW // SECOND + 90}"), NOW)

    assert caught.value.wait_ns == 90 * SECOND
    assert asked.wait_ns("Time", {}, NOW) == 90 * SECOND


def test_pauses_double_up_to_a_minute_and_end_with_an_answer() -> None:
    asked = core()
    waits = []
    for _ in range(7):
        with pytest.raises(BusyError) as caught:
            asked.answer("Time", 520, b"", NOW)
        waits.append(caught.value.wait_ns // SECOND)

    assert waits == [2, 4, 8, 16, 32, 60, 60]
    asked.answer("Time", *ok({"unixtime": 1}), NOW)
    with pytest.raises(BusyError) as caught:
        asked.answer("Time", 520, b"", NOW)
    assert caught.value.wait_ns == 2 * SECOND


# ---- pace ----


def test_public_calls_keep_a_second_between_them_and_trades_count_by_pair() -> None:
    asked = core()
    asked.request("Time", {}, NOW)
    asked.request("Trades", {"pair": "XBTUSD"}, NOW)

    assert asked.wait_ns("AssetPairs", {}, NOW) == SECOND
    assert asked.wait_ns("Trades", {"pair": "XBTUSD"}, NOW + 1) == SECOND - 1
    assert asked.wait_ns("Trades", {"pair": "ETHUSD"}, NOW) == 0


def test_private_calls_stay_within_the_counter() -> None:
    asked = core()
    n = 0
    while asked.wait_ns("Balance", {}, NOW) == 0 and n < 100:
        asked.request("Balance", {}, NOW)
        n += 1

    assert n == 14  # 15 for starter, one kept
    assert asked.wait_ns("Balance", {}, NOW) == pytest.approx(SECOND / 0.33, abs=1)


# ---- over a socket ----


def test_a_lost_answer_is_asked_for_again_with_a_higher_nonce() -> None:
    async def work(rest: Rest, script: Script, clock: Clock) -> None:
        assert await rest.balances() == {"USD": {"": Decimal("1.50")}}
        nonces = [int(dict(parse_qsl(each.body.decode()))["nonce"]) for each in script.asked]
        assert len(nonces) == 3
        assert nonces == sorted(set(nonces))
        assert sum(clock.slept) >= 6  # 2 s and 4 s

    run([CLOSE, (502, b"<html>"), ok({"ZUSD": "1.50"})], work)


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys would pass through it."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    async def work(rest: Rest, script: Script, clock: Clock) -> None:
        assert await rest.time_ns() == 7 * SECOND

    run([ok({"unixtime": 7})], work)


def test_tries_are_bounded() -> None:
    async def work(rest: Rest, script: Script, clock: Clock) -> None:
        with pytest.raises(OutcomeUnknownError):
            await rest.call("Balance")
        assert len(script.asked) == 5
        with pytest.raises(BusyError):
            await rest.call("Time")
        assert len(script.asked) == 10

    run([CLOSE], work)


def test_an_invalid_nonce_is_not_tried_again() -> None:
    """A second program on the key is likely: going on leads to a ban."""

    async def work(rest: Rest, script: Script, clock: Clock) -> None:
        for _ in range(3):
            with pytest.raises(PrivateStoppedError):
                await rest.call("OpenOrders")
        assert len(script.asked) == 1
        with pytest.raises(PrivateStoppedError):
            await rest.stream_token()
        assert len(script.asked) == 1

    run([refusal("EAPI:Invalid nonce")], work)


def test_a_refusal_is_not_tried_again() -> None:
    async def work(rest: Rest, script: Script, clock: Clock) -> None:
        with pytest.raises(RefusedByVenueError, match="Unknown asset pair"):
            await rest.call("Ticker", pair="NOPE")
        assert len(script.asked) == 1

    run([refusal("EQuery:Unknown asset pair")], work)


def test_private_calls_go_one_after_another() -> None:
    async def work(rest: Rest, script: Script, clock: Clock) -> None:
        script.slow_s = 0.005
        await asyncio.gather(*(rest.call("Balance") for _ in range(5)))
        assert script.n_waiting_max == 1
        nonces = [int(dict(parse_qsl(each.body.decode()))["nonce"]) for each in script.asked]
        assert nonces == sorted(nonces)

    run([ok({})], work)


def test_an_answer_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.kraken.rest.BYTES_MAX", 1000)

    async def work(rest: Rest, script: Script, clock: Clock) -> None:
        with pytest.raises(VenueError, match="longer than 1000 bytes"):
            await rest.call("Time")

    run([(200, b"x" * 5000)], work)


def test_a_token_is_a_secret_with_a_life() -> None:
    async def work(rest: Rest, script: Script, clock: Clock) -> None:
        token = await rest.stream_token()
        assert token.token.reveal() == TOKEN
        assert token.until_ns == NOW + 840 * SECOND
        assert TOKEN not in repr(token)

    run([ok({"token": TOKEN, "expires": 900})], work)


@pytest.mark.parametrize(
    "result", [{}, {"token": ""}, {"token": "x"}, {"token": 1, "expires": 900}]
)
def test_an_answer_without_a_token_is_refused(result: Any) -> None:
    async def work(rest: Rest, script: Script, clock: Clock) -> None:
        with pytest.raises(VenueError, match="holds no token"):
            await rest.stream_token()

    run([ok(result)], work)


def test_what_is_available_leaves_out_holds_and_other_ways_of_holding() -> None:
    row = {"balance": "10.5", "credit": "1", "credit_used": "0.25", "hold_trade": "2.25"}

    async def work(rest: Rest, script: Script, clock: Clock) -> None:
        assert await rest.available() == {"BTC": Decimal("9.00")}

    run([ok({"XXBT": row, "XBT.F": row})], work)


# ---- secrets ----


@pytest.mark.parametrize(
    "answer",
    [
        CLOSE,
        (502, b"<html>"),
        refusal("EAPI:Invalid key:" + KEY),
        refusal("EGeneral:Invalid arguments:" + SECRET),
        refusal("EAPI:Invalid nonce"),
        ok("no object"),
    ],
)
def test_no_log_line_or_traceback_holds_a_key(
    answer: tuple[int, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """At the loudest level of every library, and along the whole chain of exceptions."""
    caplog.set_level(logging.DEBUG)
    said: list[str] = []

    async def work(rest: Rest, script: Script, clock: Clock) -> None:
        try:
            await rest.stream_token()
        except Exception as error:
            # With the locals of every frame, unless they hold what the venue itself sent back.
            echoed = KEY.encode() in answer[1] or SECRET.encode() in answer[1]
            trace = traceback.TracebackException.from_exception(error, capture_locals=not echoed)
            said.extend(trace.format())
            said.append(repr(error))
        said.append(repr(rest.__dict__))
        said.append(repr(rest.core.__dict__))
        assert script.asked[0].headers["api-key"] == KEY  # it was sent: the test means something
        said.append("".join(caplog.messages))

    run([answer], work)
    for text in said:
        for part in (KEY, SECRET, KEY[:12], SECRET[:12]):
            assert part not in text


# ---- pages of trades ----


def test_a_recorded_page_is_read_to_the_digit(shared_kraken: Path) -> None:
    data = (shared_kraken / "samples" / "rest_trades_xbtusdt_2025-11.json").read_bytes()
    page = read_trade_page(data, "the sample")

    assert (page.name, len(page.rows)) == ("XBTUSDT", 200)
    assert page.last == page.ns_last == 1762820035982277754
    assert (page.id_first, page.id_last) == (10219008, 10219207)
    assert page.rows[0][:3] == ["106060.00000", "0.87315981", "1762815814.2843502"]
