"""python-kraken-sdk, which we did not write, at the local venue: endpoints and trust changed only.

Its order book client checks every checksum by itself, from the text of the wire.
"""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import aiohttp.connector
import pytest
from kraken.base_api import SpotAsyncClient, SpotClient
from kraken.exceptions import KrakenInsufficientFundsError, KrakenUnknownOrderError
from kraken.spot import Market, SpotOrderBookClient, SpotWSClient, Trade, User
from kraken.spot.websocket import SpotWSClientBase

from adapters.local_venue import LocalVenue, VenueOptions, generated
from adapters.local_venue.keys import DEMO_KEY, DEMO_SECRET
from tests.support.venue_thread import Authority, running_venue


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalVenue]:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    source = generated(11, 7200, warmup_s=5)
    with (
        pytest.MonkeyPatch.context() as patch,
        running_venue(
            source=source,
            speed=20,
            options=VenueOptions(rest_limits=False),
            ssl=authority.server,
        ) as running,
    ):
        patch.setenv("REQUESTS_CA_BUNDLE", os.fspath(authority.root))
        patch.setenv("SSL_CERT_FILE", os.fspath(authority.root))
        # aiohttp reads the trusted certificates when it is imported.
        patch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", authority.client())
        patch.setattr(SpotClient, "URL", running.rest_url)
        patch.setattr(SpotAsyncClient, "URL", running.rest_url)
        patch.setattr(SpotWSClientBase, "WS_URL", running.public_url.removesuffix("/v2"))
        patch.setattr(SpotWSClientBase, "AUTH_WS_URL", running.private_url.removesuffix("/v2"))
        yield running


def test_it_reads_and_trades_by_rest(venue: LocalVenue) -> None:
    market, trade = Market(), Trade(key=DEMO_KEY, secret=DEMO_SECRET)
    user = User(key=DEMO_KEY, secret=DEMO_SECRET)

    assert ["XXBTZUSD"] == list(market.get_asset_pairs(pair="XBTUSD"))
    depth = market.get_order_book(pair="XBTUSD", count=5)["XXBTZUSD"]
    assert float(depth["bids"][0][0]) < float(depth["asks"][0][0])

    placed = trade.create_order(
        ordertype="limit", side="buy", pair="XBTUSD", volume="0.0123456789", price="50000.04",
        oflags=["post"], truncate=True,
    )  # fmt: skip
    [txid] = placed["txid"]
    order = user.get_open_orders()["open"][txid]
    assert ("0.01234567", "50000.0") == (order["vol"], order["descr"]["price"])
    edited = trade.edit_order(txid=txid, pair="XBTUSD", volume=0.03, price=50002)
    assert txid == edited["originaltxid"]
    assert {"count": 1} == trade.cancel_order(txid=edited["txid"])
    with pytest.raises(KrakenUnknownOrderError):
        trade.cancel_order(txid=edited["txid"])
    with pytest.raises(KrakenInsufficientFundsError):
        trade.create_order(ordertype="limit", side="buy", pair="XBTUSD", volume="50", price="50000")

    [taken] = trade.create_order(ordertype="market", side="buy", pair="XBTUSD", volume="0.01")[
        "txid"
    ]
    fills = user.get_trades_history()["trades"].values()
    assert "0.01000000" in [each["vol"] for each in fills if each["ordertxid"] == taken]
    assert 2.01 == pytest.approx(float(user.get_account_balance()["XXBT"]))


def test_its_own_book_verifies_every_checksum(venue: LocalVenue) -> None:
    class Books(SpotOrderBookClient):
        """Counts what its own check says."""

        n_updates = 0
        n_failed = 0

        async def on_book_update(self, pair: str, message: dict[str, Any]) -> None:
            self.n_failed += "error" in message
            self.n_updates += message.get("type") == "update"

    async def main() -> None:
        books = Books(depth=10)
        await books.start()
        await books.add_book(pairs=["BTC/USD", "ETH/USD", "DOGE/USD"])
        for _ in range(400):
            await asyncio.sleep(0.02)
            if books.n_updates >= 300:
                break
        assert books.n_updates >= 300
        assert 0 == books.n_failed
        for pair in ("BTC/USD", "ETH/USD", "DOGE/USD"):
            assert books.get(pair=pair)["valid"] is True
        await books.close()

    asyncio.run(asyncio.wait_for(main(), 40))


def test_it_trades_on_the_stream_and_sees_its_fills(venue: LocalVenue) -> None:
    class Client(SpotWSClient):
        """Keeps what it hears."""

        def __init__(self) -> None:
            super().__init__(key=DEMO_KEY, secret=DEMO_SECRET, no_public=True)
            self.heard: list[Any] = []

        async def on_message(self, message: Any) -> None:
            self.heard.append(message)

        async def until(self, test: Any) -> Any:
            for _ in range(500):
                for message in self.heard:
                    if test(message):
                        return message
                await asyncio.sleep(0.02)
            raise AssertionError(f"not heard among {self.heard[-5:]}")

        async def ask(self, method: str, **params: Any) -> Any:
            n = len(self.heard)
            await self.send_message(message={"method": method, "params": params})
            return await self.until(
                lambda m: m.get("method") == method and m in self.heard[n:] and "success" in m
            )

        async def report(self, txid: str, kind: str) -> Any:
            def is_it(message: Any) -> bool:
                return message.get("channel") == "executions" and any(
                    each["order_id"] == txid and each["exec_type"] == kind
                    for each in message["data"]
                )

            message = await self.until(is_it)
            return next(each for each in message["data"] if each["order_id"] == txid)

    async def main() -> None:
        client = Client()
        await client.start()
        await client.subscribe(params={"channel": "executions", "snap_trades": True})
        await client.subscribe(params={"channel": "balances"})
        await client.until(lambda m: m.get("channel") == "balances")

        order = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "order_qty": 0.01}
        placed = await client.ask("add_order", **order, limit_price=50000.0, post_only=True)
        txid = placed["result"]["order_id"]
        assert "new" == (await client.report(txid, "new"))["order_status"]
        await client.ask("amend_order", order_id=txid, order_qty=0.02, limit_price=50001.0)
        assert 0.02 == (await client.report(txid, "amended"))["order_qty"]
        await client.ask("cancel_order", order_id=[txid])
        assert "User requested" == (await client.report(txid, "canceled"))["reason"]

        taking = await client.ask(
            "add_order", order_type="market", side="sell", symbol="BTC/USD", order_qty=0.01
        )
        txid = taking["result"]["order_id"]
        fill = await client.report(txid, "trade")
        assert ("t", "partially_filled", 0.01) == (
            fill["liquidity_ind"], fill["order_status"], fill["last_qty"],
        )  # fmt: skip
        assert 0.01 == (await client.report(txid, "filled"))["cum_qty"]
        entry = await client.until(
            lambda m: (
                m.get("channel") == "balances"
                and m["type"] == "update"
                and m["data"][0]["ref_id"] == fill["exec_id"]
                and m["data"][0]["asset"] == "BTC"
            )
        )
        assert -0.01 == entry["data"][0]["amount"]
        await client.close()

    asyncio.run(asyncio.wait_for(main(), 40))
