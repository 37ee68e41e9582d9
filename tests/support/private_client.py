"""Our private client on a local venue: connected, collecting what it hears, easy to wait on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import numpy as np

from adapters.kraken.keys import Keys, Secret
from adapters.kraken.nonce import NonceFile
from adapters.kraken.order_state import OrderState
from adapters.kraken.phases import Step
from adapters.kraken.private import REPLY_NS, PrivateSession
from adapters.kraken.private_line import PrivateLine
from adapters.kraken.rest import Rest
from adapters.local_venue import LocalVenue, VenueOptions, generated, serve
from adapters.local_venue.account import compile_venue
from adapters.local_venue.faults import Script
from adapters.local_venue.keys import DEMO_KEY, DEMO_SECRET
from engine.clock import WallClock
from engine.events import BUY

KEYS = Keys(Secret(DEMO_KEY), Secret(DEMO_SECRET), "the local venue")


def rest_of(venue: LocalVenue, folder: Path, keys: Keys = KEYS) -> Rest:
    nonces = NonceFile(folder, keys.fingerprint, WallClock())
    return Rest(venue.rest_url, nonce=lambda _: nonces.draw(), keys=lambda: keys)


class Client:
    """A private connection that collects what it hears."""

    def __init__(self, venue: LocalVenue, rest: Rest, reply_ns: int = REPLY_NS) -> None:
        self.session = PrivateSession(venue.core.source.instruments, lambda: 0.5, reply_ns=reply_ns)

        async def token() -> Secret:
            return (await rest.stream_token()).token

        self.line = PrivateLine(self.session, token, url=venue.private_url)
        self.steps: list[Step] = []
        self._changed = asyncio.Event()

    async def run(self) -> None:
        async for step in self.line.steps():
            self.steps.append(step)
            self._changed.set()

    @property
    def events(self) -> np.ndarray:
        return np.concatenate([step.rows() for step in self.steps])

    def rows(self, *kinds: int) -> np.ndarray:
        events = self.events
        return events[np.isin(events["kind"], kinds)]

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not true():
                self._changed.clear()
                await self._changed.wait()

    def send(self, method: str, params: dict[str, object], order: OrderState | None = None) -> None:
        self.line.send(self.session.ask(method, params, self.line.stamp(), order))


@asynccontextmanager
async def client(venue: LocalVenue, rest: Rest, reply_ns: int = REPLY_NS) -> AsyncIterator[Client]:
    made = Client(venue, rest, reply_ns)
    task = asyncio.create_task(made.run())
    await made.until(lambda: made.session.ready)
    try:
        yield made
    finally:
        made.line.stop()
        await asyncio.wait_for(task, 20)


def with_client(
    folder: Path,
    work: Callable[[LocalVenue, Rest, Client], Awaitable[None]],
    options: VenueOptions | None = None,
    faults: Script | None = None,
    reply_ns: int = REPLY_NS,
) -> None:
    """Do `work` with a client that is connected and has its snapshots."""

    async def main() -> None:
        async with (
            serve(generated(seed=7), speed=1, options=options, faults=faults) as venue,
            rest_of(venue, folder) as rest,
            client(venue, rest, reply_ns) as connected,
        ):
            await work(venue, rest, connected)

    compile_venue()  # outside the time limit: after an edit of a kernel it takes a while
    asyncio.run(asyncio.wait_for(main(), 60))


def order_of(
    connected: Client, id: int, qty: str, price: str, symbol: str = "BTC/USD"
) -> OrderState:
    table = connected.session.account._instruments
    pair = table[symbol]
    return OrderState(
        "", id, table.index(symbol), BUY, "limit",
        qty=pair.lots(Decimal(qty)), price=pair.ticks(Decimal(price)),
    )  # fmt: skip


def limit(qty: str, price: str, **other: object) -> dict[str, object]:
    return {
        "order_type": "limit", "side": "buy", "symbol": "BTC/USD", "order_qty": Decimal(qty),
        "limit_price": Decimal(price), **other,
    }  # fmt: skip
