"""ccxt, which we did not write, trades at the local venue: nothing changed but its endpoints.

Over TLS, with the test's own root as the trusted certificate.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt.pro
import pytest

from adapters.local_venue import LocalVenue, VenueOptions, generated
from adapters.local_venue.keys import DEMO_KEY, DEMO_SECRET
from tests.support.venue_thread import Authority, running_venue

OPTIONS = VenueOptions(rest_limits=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def venue(authority: Authority) -> Iterator[LocalVenue]:
    source = generated(7, 7200, warmup_s=5)
    with running_venue(source=source, speed=30, options=OPTIONS, ssl=authority.server) as running:
        yield running


def with_client(
    venue: LocalVenue, root: Path, use: Callable[[Any], Awaitable[None]], timeout_s: float = 40
) -> None:
    """Run `use(client)` with ccxt's client, endpoints and trusted root set."""

    async def main() -> None:
        client = ccxt.pro.kraken({"apiKey": DEMO_KEY, "secret": DEMO_SECRET, "cafile": str(root)})
        client.enableRateLimit = False
        client.urls["api"] |= {"public": venue.rest_url, "private": venue.rest_url}
        client.urls["api"]["ws"] |= {
            "publicV2": venue.public_url, "privateV2": venue.private_url,
        }  # fmt: skip
        try:
            await asyncio.wait_for(use(client), timeout_s)
        finally:
            await client.close()

    asyncio.run(main())


def test_it_reads_the_market(venue: LocalVenue, authority: Authority) -> None:
    async def use(client: Any) -> None:
        markets = await client.load_markets()
        assert {"BTC/USD", "ETH/USD", "DOGE/USD"} == set(markets)
        assert Decimal("0.1") == Decimal(str(markets["BTC/USD"]["precision"]["price"]))
        assert "ok" == (await client.fetch_status())["status"]

        by_rest = await client.fetch_order_book("BTC/USD", 5)
        for _ in range(20):
            streamed = await client.watch_order_book("BTC/USD", 10)
        for book in (by_rest, streamed):
            assert book["bids"][0][0] < book["asks"][0][0]
            assert book["bids"] == sorted(book["bids"], reverse=True)
        assert 10 == len(streamed["bids"])

        [trade, *_] = await client.watch_trades("BTC/USD")
        assert trade["side"] in ("buy", "sell")
        ticker = await client.watch_ticker("BTC/USD")
        assert ticker["low"] <= ticker["last"] <= ticker["high"]
        ids = [int(each["id"]) for each in await client.fetch_trades("BTC/USD")]
        assert list(range(ids[0], ids[0] + len(ids))) == ids
        assert await client.fetch_ohlcv("BTC/USD", "1m")

    with_client(venue, authority.root, use)


def test_it_places_amends_and_cancels_by_rest(venue: LocalVenue, authority: Authority) -> None:
    async def use(client: Any) -> None:
        await client.load_markets()
        placed = await client.create_order(
            "BTC/USD", "limit", "buy", 0.01, 50000, {"postOnly": True}
        )
        [order] = await client.fetch_open_orders("BTC/USD")
        assert (placed["id"], "open", 50000.0) == (order["id"], order["status"], order["price"])
        await client.edit_order(placed["id"], "BTC/USD", "limit", "buy", 0.02, 50001.0)
        [order] = await client.fetch_open_orders("BTC/USD")
        assert (placed["id"], 0.02, 50001.0) == (order["id"], order["amount"], order["price"])
        await client.cancel_order(placed["id"])
        assert "canceled" == (await client.fetch_order(placed["id"]))["status"]
        with pytest.raises(ccxt.OrderNotFound):
            await client.cancel_order(placed["id"])
        with pytest.raises(ccxt.InsufficientFunds):
            await client.create_order("BTC/USD", "limit", "buy", 50, 50000)

    with_client(venue, authority.root, use)


def test_it_trades_on_the_stream_and_sees_its_fills(
    venue: LocalVenue, authority: Authority
) -> None:
    async def use(client: Any) -> None:
        await client.load_markets()
        before = (await client.fetch_balance())["total"]
        orders: dict[str, str] = {}
        fills: dict[str, Any] = {}

        async def follow_orders() -> None:
            while True:
                for each in await client.watch_orders():
                    orders[each["id"]] = each["status"]

        async def follow_fills() -> None:
            while True:
                for each in await client.watch_my_trades():
                    fills[each["id"]] = each

        following = [asyncio.create_task(each()) for each in (follow_orders, follow_fills)]
        await client.watch_balance()

        resting = await client.create_order_ws("BTC/USD", "limit", "buy", 0.01, 50000.0)
        await client.edit_order_ws(resting["id"], "BTC/USD", "limit", "buy", 0.02, 50010.0)
        await client.cancel_order_ws(resting["id"])
        taking = await client.create_order_ws("BTC/USD", "market", "sell", 0.01)
        while orders.get(taking["id"]) != "closed" or not any(
            each["order"] == taking["id"] for each in fills.values()
        ):
            await asyncio.sleep(0.02)

        mine = [each for each in fills.values() if each["order"] == taking["id"]]
        assert "canceled" == orders[resting["id"]]
        assert Decimal("0.01") == sum(Decimal(str(each["amount"])) for each in mine)
        assert {"taker"} == {each["takerOrMaker"] for each in mine}
        by_rest = {each["id"] for each in await client.fetch_my_trades("BTC/USD")}
        assert {each["id"] for each in mine} <= by_rest

        after = (await client.fetch_balance())["total"]
        # Exact in Decimal: what was sold is gone, what came in is its value less the fee.
        assert Decimal(str(before["BTC"])) - Decimal("0.01") == Decimal(str(after["BTC"]))
        earned = sum(Decimal(str(x["cost"])) - Decimal(str(x["fee"]["cost"])) for x in mine)
        gained = Decimal(str(after["USD"])) - Decimal(str(before["USD"]))
        assert abs(earned - gained) <= Decimal("0.0002") * len(mine)  # the ledger has 4 decimals
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)

    with_client(venue, authority.root, use)


def test_without_the_root_it_trusts_nobody(venue: LocalVenue, tmp_path: Path) -> None:
    other = Authority(tmp_path)

    async def use(client: Any) -> None:
        with pytest.raises(ccxt.NetworkError):
            await client.fetch_time()

    with_client(venue, other.root, use)
