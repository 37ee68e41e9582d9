"""The thin shell of the local venue over real sockets: paths, slow clients, HTTP, its end."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from adapters.local_venue import LocalVenue, MarketSource, VenueOptions, serve
from tests.support.venue_desk import OPENING, PLAIN, TABLE, level, rows

SUBSCRIBE = '{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"]}}'


def at_venue(
    use: Callable[[LocalVenue], Awaitable[None]], n: int = 10, speed: float = 1.0, **options: Any
) -> None:
    async def main() -> None:
        market = (rows(0.001 * i, level(1, "49990.0", f"{i}.0")) for i in range(1, n))
        source = MarketSource(TABLE, [*OPENING, *market])
        chosen = VenueOptions(**{**PLAIN, **options})
        async with serve(source, speed=speed, options=chosen, warm=False) as venue:
            await asyncio.wait_for(use(venue), 30)

    asyncio.run(main())


def test_only_v2_is_served() -> None:
    async def use(venue: LocalVenue) -> None:
        with pytest.raises(InvalidStatus) as caught:
            await connect(venue.public_url.removesuffix("/v2"))
        assert 404 == caught.value.response.status_code

    at_venue(use)


def test_a_market_without_end_of_speed_waits_for_whoever_reads() -> None:
    """Twenty thousand messages, none lost, and never more than a few of them waiting."""

    async def use(venue: LocalVenue) -> None:
        async with connect(venue.public_url) as socket:
            await socket.recv()
            await socket.send(SUBSCRIBE)
            frames = [str(await socket.recv()) for _ in range(20_001)]
            assert '"type":"snapshot"' in frames[1]
            assert '"qty":19999.00000000' in frames[-1]
            await venue.ended.wait()

    at_venue(use, n=20_000, speed=math.inf, heartbeat_s=1e9)


def test_who_does_not_read_is_given_up() -> None:
    async def use(venue: LocalVenue) -> None:
        async with connect(venue.public_url, max_queue=1) as socket:
            await socket.recv()
            await socket.send(SUBSCRIBE)
            while venue.core.connections:
                await asyncio.sleep(0.01)
            with pytest.raises(ConnectionClosed):
                await to_the_end(socket)

    at_venue(use, n=60_000, speed=100.0, unread_frames_max=500)


async def to_the_end(socket: Any) -> None:
    while True:
        await socket.recv()


def test_http_keeps_a_connection_for_many_calls() -> None:
    async def use(venue: LocalVenue) -> None:
        async with httpx.AsyncClient(base_url=venue.rest_url) as client:
            for _ in range(3):
                answer = await client.get("/0/public/Time")
                assert [] == answer.json()["error"]
            assert 404 == (await client.get("/elsewhere")).status_code
            assert ["EAPI:Invalid key"] == (
                (await client.post("/0/private/Balance", content=b"nonce=1")).json()["error"]
            )

    at_venue(use)


@pytest.mark.parametrize(
    "data",
    [b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n\r\n", b"POST / HTTP/1.1\r\nHost: x\r\n"],
)
def test_what_is_no_http_hurts_nobody(data: bytes) -> None:
    async def use(venue: LocalVenue) -> None:
        port = int(venue.rest_url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        writer.write_eof()
        await reader.read()
        writer.close()
        async with httpx.AsyncClient() as client:
            assert 200 == (await client.get(f"{venue.rest_url}/0/public/Time")).status_code

    at_venue(use)
