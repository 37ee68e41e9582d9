"""Every fault of a script does what it says, once, at its time, and is written down."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from adapters.local_venue import LocalVenue, MarketSource, VenueOptions, parse_script, serve
from adapters.local_venue.faults import Faults, read_script
from adapters.local_venue.keys import DEMO_KEY, DEMO_SECRET, signature
from engine.errors import ConfigError
from tests.support.venue_desk import OPENING, PLAIN, T0, TABLE, Desk, S, level, rows

# A level that changes every tenth of a second for ten seconds: its quantity is its number.
TICKS = [rows(0.1 * i, level(1, "49990.0", f"{i}.0")) for i in range(1, 100)]


class Faulty:
    """A public client of a venue with a script, without sockets."""

    def __init__(self, text: str, endpoint: str = "public") -> None:
        self.desk = Desk(*TICKS, endpoint=endpoint)
        self.core = self.desk.core
        self.faults = Faults(parse_script(text))
        self.faults.bind(self.core)
        self.heard: list[str] = []
        self.closed: list[tuple[int, str]] = []
        self.aborted = False

    def carry(self) -> None:
        while True:
            for parcel in self.faults.carry(self.core.drain(), self.core.now):
                if parcel.close is not None:
                    self.closed.append(parcel.close)
                    self.aborted |= parcel.abort
                else:
                    self.heard.append(parcel.text)
            if not self.core.outbox:
                return

    def send(self, **message: Any) -> None:
        self.core.received(self.desk.conn, json.dumps(message))
        self.carry()

    def follow(self, channel: str = "book") -> None:
        self.send(method="subscribe", params={"channel": channel, "symbol": ["BTC/USD"]})

    def go(self, seconds: float, step: float = 0.05) -> None:
        for _ in range(round(seconds / step)):
            self.core.advance(self.core.wall + int(step * S), self.core.now + int(step * S))
            self.carry()

    def quantities(self) -> list[int]:
        """The numbers of the ticks that arrived whole, in order of arrival."""
        found = []
        for text in self.heard:
            try:
                frame = json.loads(text)
            except ValueError:
                continue
            if frame.get("channel") == "book" and frame.get("type") == "update":
                found += [int(x["qty"]) for x in frame["data"][0]["bids"]]
        return found


def script(kind: str, **fields: Any) -> str:
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
    return "\n".join(["[[fault]]", f'kind = "{kind}"', *lines])


def played(text: str, seconds: float = 3.0) -> Faulty:
    faulty = Faulty(text)
    faulty.follow()
    faulty.go(seconds)
    return faulty


UPDATES = {"channel": "book", "kind_of": "update"}
WHOLE = list(range(1, 31))


def test_without_faults_everything_arrives() -> None:
    faulty = played("")
    assert WHOLE == faulty.quantities()
    assert [] == faulty.faults.done


def test_drop() -> None:
    faulty = played(script("drop", **UPDATES, skip=4, count=2))
    assert [x for x in WHOLE if x not in (5, 6)] == faulty.quantities()
    assert ["drop", "drop"] == [each.kind for each in faulty.faults.done]
    assert '"qty":5.00000000' in faulty.faults.done[0].text


def test_drop_with_a_probability_is_the_same_for_the_same_seed() -> None:
    first, second = (
        played("seed = 5\n" + script("drop", **UPDATES, probability=0.3)) for _ in range(2)
    )
    other = played("seed = 6\n" + script("drop", **UPDATES, probability=0.3))
    assert first.quantities() == second.quantities() != other.quantities()
    lost = set(WHOLE) - set(first.quantities())
    assert len(lost) == len(first.faults.done) > 3


def test_duplicate() -> None:
    faulty = played(script("duplicate", **UPDATES, skip=2, count=1))
    assert [1, 2, 3, 3, 4] == faulty.quantities()[:5]


def test_reorder_lets_others_overtake() -> None:
    faulty = played(script("reorder", **UPDATES, skip=2, count=1, behind=2))
    assert [1, 2, 4, 5, 3, 6] == faulty.quantities()[:6]
    assert WHOLE == sorted(faulty.quantities())


def test_delay_holds_up_what_follows() -> None:
    faulty = Faulty(script("delay", **UPDATES, skip=4, count=1, ms=500.0))
    faulty.follow()
    faulty.go(0.9)
    assert [1, 2, 3, 4] == faulty.quantities()
    faulty.go(0.2)
    assert list(range(1, 12)) == faulty.quantities()


def test_truncate_and_garble_leave_frames_that_are_no_book() -> None:
    for kind in ("truncate", "garble"):
        faulty = played(script(kind, **UPDATES, skip=2, count=3))
        assert 3 == len(faulty.faults.done)
        assert not {3, 4, 5} & set(faulty.quantities()) or kind == "garble"
        intended = [each.text for each in faulty.faults.done]
        assert not set(intended) & set(faulty.heard)


def test_checksum_is_wrong_by_a_bit() -> None:
    faulty = played(script("checksum", **UPDATES, skip=2, count=1))
    [done] = faulty.faults.done
    right = json.loads(done.text)["data"][0]["checksum"]
    heard = [json.loads(text) for text in faulty.heard]
    wrong = [
        each["data"][0]["checksum"]
        for each in heard
        if each.get("type") == "update" and each["data"][0]["bids"][0]["qty"] == 3.0
    ]
    assert [right ^ 1] == wrong


def test_a_channel_goes_silent_while_heartbeats_go_on() -> None:
    faulty = played(script("drop", channel="book", at=1.0, lasts=1.0))
    assert [x for x in WHOLE if not 10 <= x < 20] == faulty.quantities()
    assert 3 == sum("heartbeat" in text for text in faulty.heard)


def test_stall_sends_nothing_and_then_everything() -> None:
    faulty = Faulty(script("stall", at=1.0, lasts=1.0))
    faulty.follow()
    faulty.go(1.9)
    assert list(range(1, 10)) == faulty.quantities()
    faulty.go(1.1)
    assert WHOLE == faulty.quantities()


@pytest.mark.parametrize(("kind", "abort"), [("close", False), ("abort", True)])
def test_close_at_a_time(kind: str, abort: bool) -> None:
    faulty = played(script(kind, at=1.05, code=1012, reason="service restart"))
    assert list(range(1, 11)) == faulty.quantities()
    assert [(1006 if abort else 1012, "service restart")] == faulty.closed
    assert abort is faulty.aborted
    assert {} == faulty.core.connections


def test_close_when_a_frame_passes() -> None:
    faulty = played(script("close", **UPDATES, skip=4, count=1))
    assert [1, 2, 3, 4] == faulty.quantities()
    assert [(1001, "CloudFlare WebSocket proxy restarting")] == faulty.closed


def test_only_the_endpoint_that_is_named() -> None:
    assert WHOLE == played(script("drop", endpoint="private")).quantities()


def test_an_acknowledgement_is_lost_after_the_order_was_accepted() -> None:
    faulty = Faulty(script("drop", method="add_order", count=1), endpoint="private")
    token = faulty.desk.token
    faulty.send(method="subscribe", params={"channel": "executions", "token": token})
    order = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "order_qty": 0.01,
             "limit_price": 49000.0, "cl_ord_id": "mine-1", "token": token}  # fmt: skip
    faulty.send(method="add_order", params=order)
    faulty.go(0.2)
    assert not [text for text in faulty.heard if '"method":"add_order"' in text]
    assert 2 == sum('"cl_ord_id":"mine-1"' in text for text in faulty.heard)
    [client] = faulty.core.clients.values()
    assert ["mine-1"] == [each.cl_ord_id for each in client.account.open.values()]


def test_tokens_expire_at_a_time() -> None:
    faulty = Faulty(script("expire_tokens", at=1.0), endpoint="private")
    token = faulty.desk.token
    faulty.send(method="subscribe", params={"channel": "executions", "token": token})
    faulty.go(1.1)
    faulty.send(method="cancel_all", params={"token": token})
    assert "ESession:Invalid session" in faulty.heard[-1]


def test_the_clock_steps_and_back() -> None:
    faulty = Faulty(script("clock_step", at=1.0, ms=-30_000.0))
    faulty.go(2)
    faulty.send(method="ping", req_id=1)
    pong = json.loads(faulty.heard[-1])
    assert "2025-12-31T23:59:32.001000Z" == pong["time_in"]
    assert T0 + 2 * S + 1_000_000 == faulty.core.now  # the market itself goes on


def test_system_and_pair_states_and_an_announcement() -> None:
    text = "\n".join(
        [
            script("announce", at=0.5, ms=60_000.0, lasts=600.0),
            script("system", at=1.0, to="maintenance"),
            script("system", at=2.0, to="online"),
            script("pair_status", at=2.5, symbol="BTC/USD", to="post_only"),
        ]
    )
    faulty = Faulty(text)
    faulty.send(method="subscribe", params={"channel": "instrument"})
    faulty.go(3)
    frames = [json.loads(each) for each in faulty.heard]
    states = [x["data"][0] for x in frames if x.get("channel") == "status"]
    assert ["online", "maintenance", "online"] == [each["system"] for each in states]
    [planned] = states[0]["upcoming_maintenance"]
    assert ("2026-01-01T00:01:00Z", "2026-01-01T00:11:00Z", 60) == (
        planned["expected_start_utc"], planned["expected_end_utc"], planned["time_to_start_s"],
    )  # fmt: skip
    assert [] == states[0]["emergency"]
    assert {"upcoming_maintenance", "emergency"}.isdisjoint(states[1])
    [pair] = [x for x in frames if x.get("channel") == "instrument" and x["type"] == "update"]
    assert "post_only" == pair["data"]["pairs"][0]["status"]


@pytest.mark.parametrize(
    "text",
    [
        '[[fault]]\nkind = "explode"', '[[fault]]\nkind = "drop"\ncolour = 1',
        '[[fault]]\nkind = "system"\nto = "asleep"', '[[fault]]\nkind = "drop"\nendpoint = "x"',
        '[[fault]]\nkind = "drop"\nprobability = 2.0', '[[fault]]\nkind = "pair_status"',
    ],
)  # fmt: skip
def test_a_wrong_script_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(msgspec.ValidationError):
        parse_script(text)
    path = tmp_path / "faults.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"faults\.toml cannot be used"):
        read_script(path)


# ---- over sockets ----


def at_venue(text: str, use: Callable[[LocalVenue], Awaitable[None]]) -> None:
    async def main() -> None:
        source = MarketSource(TABLE, [*OPENING, *TICKS])
        options = VenueOptions(**PLAIN)
        async with serve(source, options=options, faults=parse_script(text), speed=1.0) as venue:
            await asyncio.wait_for(use(venue), 20)

    asyncio.run(main())


async def follow(socket: ClientConnection) -> None:
    await socket.recv()
    await socket.send('{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"]}}')


async def to_the_end(socket: ClientConnection) -> None:
    while True:
        await socket.recv()


def test_a_closed_socket_carries_code_and_reason() -> None:
    async def use(venue: LocalVenue) -> None:
        async with connect(venue.public_url) as socket:
            await follow(socket)
            with pytest.raises(ConnectionClosed) as caught:
                await to_the_end(socket)
            assert caught.value.rcvd is not None
            assert (1012, "restart") == (caught.value.rcvd.code, caught.value.rcvd.reason)

    at_venue(script("close", **UPDATES, count=1, code=1012, reason="restart"), use)


def test_an_aborted_socket_carries_nothing() -> None:
    async def use(venue: LocalVenue) -> None:
        async with connect(venue.public_url) as socket:
            await follow(socket)
            with pytest.raises(ConnectionClosed) as caught:
                await to_the_end(socket)
            assert caught.value.rcvd is None

    at_venue(script("abort", **UPDATES, count=1), use)


def test_connections_are_refused_with_503() -> None:
    async def use(venue: LocalVenue) -> None:
        with pytest.raises(InvalidStatus) as caught:
            await connect(venue.public_url)
        assert 503 == caught.value.response.status_code
        async with connect(venue.private_url) as socket:
            assert "status" in str(await socket.recv())

    at_venue(script("refuse", endpoint="public"), use)


async def call(venue: LocalVenue, name: str, nonce: int, **fields: str) -> httpx.Response:
    path = f"/0/private/{name}"
    body = "&".join(f"{k}={v}" for k, v in {"nonce": str(nonce), **fields}.items())
    headers = {
        "API-Key": DEMO_KEY,
        "API-Sign": signature(DEMO_SECRET, path, str(nonce), body.encode()),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    async with httpx.AsyncClient(verify=ssl.create_default_context()) as client:
        return await client.post(venue.rest_url + path, content=body, headers=headers)


ORDER = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "49000", "volume": "0.01"}


def test_rest_acts_and_its_answer_is_lost() -> None:
    async def use(venue: LocalVenue) -> None:
        with pytest.raises(httpx.RemoteProtocolError):
            await call(venue, "AddOrder", 1, **ORDER)
        orders = (await call(venue, "OpenOrders", 2)).json()["result"]["open"]
        assert ["0.01000000"] == [each["vol"] for each in orders.values()]

    at_venue(script("lose_reply", method="AddOrder", count=1), use)


@pytest.mark.parametrize(("acts", "n_orders"), [(True, 1), (False, 0)])
def test_rest_answers_with_a_page_of_cloudflare(acts: bool, n_orders: int) -> None:
    async def use(venue: LocalVenue) -> None:
        answer = await call(venue, "AddOrder", 1, **ORDER)
        assert (520, "text/html") == (answer.status_code, answer.headers["content-type"])
        assert "<html>" in answer.text
        orders = (await call(venue, "OpenOrders", 2)).json()["result"]["open"]
        assert n_orders == len(orders)

    at_venue(script("html", method="AddOrder", count=1, acts=acts), use)


def test_rest_says_it_is_unavailable() -> None:
    async def use(venue: LocalVenue) -> None:
        answer = await call(venue, "Balance", 1)
        assert {"error": ["EService:Busy"]} == answer.json()
        assert [] == (await call(venue, "Balance", 2)).json()["error"]

    at_venue(script("error", method="Balance", count=1, text="EService:Busy"), use)
