"""The account's side of a session on a local venue: what it tells, and the venue's books beside it.

`Account` runs an AccountLine and collects its rows. `agree` holds them against the venue's own books,
which share no code with ours: every fill once, every open order, no client id placed twice.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import numpy as np

from adapters.kraken.account_line import AccountLine
from adapters.kraken.fees_feed import FeesFeed
from adapters.kraken.gateway import Gateway
from adapters.kraken.limits import Tier
from adapters.kraken.order_state import OrderState, cl_ord_id_of
from adapters.kraken.orders import order_key
from adapters.kraken.phases import SECOND, Limits
from adapters.kraken.private import PrivateSession
from adapters.kraken.rest import Rest
from adapters.kraken.settle import Patience, Settle
from adapters.kraken.switch import Policy, Switch
from adapters.local_venue import LocalVenue, VenueOptions, generated, serve
from adapters.local_venue.account import compile_venue
from adapters.local_venue.faults import Script
from adapters.local_venue.keys import DEMO_KEY
from engine import commands as c
from engine.clock import WallClock
from engine.events import (
    BUY,
    HEALTH,
    HEALTH_RECONCILED,
    ORDER_FILL,
    SELL,
)
from tests.support.private_client import KEYS, rest_of

MS = 1_000_000
# Limits that no test meets: what waits for a counter is tested with a clock that jumps.
FREE = Tier("free", 100_000, 10_000, 10_000, 1_000_000, 10_000, 500)
QUICK = Patience(
    deadline=200 * MS, quarantine=900 * MS, every=30 * SECOND, retry=(200 * MS,),
    overlap=2 * SECOND,
)  # fmt: skip


class Account:
    """One session's account line, from start to stop."""

    def __init__(
        self,
        venue: LocalVenue,
        rest: Rest,
        names: object,
        *,
        reply_ns: int = 300 * MS,
        patience: Patience = QUICK,
        policy: Policy | None = None,
        adopt: bool = False,
        last_id: int = 0,
        since_ns: int | None = None,
        fees: bool = False,
    ) -> None:
        self.venue, self.rest = venue, rest
        self.table = venue.core.source.instruments
        # A snapshot that was lost is asked for again after two seconds instead of fifteen.
        limits = Limits(answer=2 * SECOND)
        self.session = PrivateSession(self.table, lambda: 0.5, limits=limits, reply_ns=reply_ns)
        self.gateway = Gateway(self.table, self.session, FREE, used=lambda id: id <= last_id)
        self.settle = Settle(
            self.session.account,
            names,  # type: ignore[arg-type]
            knows=self.gateway.knows,
            offset=lambda: self.session.clock_offset,
            patience=patience,
            since_ns=since_ns,
        )
        self.switch = Switch(self.session, policy, timeout_s=2, renew_ns=SECOND) if policy else None
        self.told: list[np.ndarray] = []
        self.said: list[tuple[str, str]] = []
        self._changed = asyncio.Event()
        self.line = AccountLine(
            self.session,
            self.gateway,
            rest,
            self.settle,
            self._take,
            say=lambda level, text: self.said.append((level, text)),
            switch=self.switch,
            fees=FeesFeed(self.table, ["BTC/USD"], names) if fees else None,  # type: ignore[arg-type]
            adopt=adopt,
            url=venue.private_url,
        )
        self.n_written: Counter[str] = Counter()

    def _take(self, rows: np.ndarray) -> None:
        self.told.append(rows.copy())
        self._changed.set()

    # ---- what was told ----

    @property
    def events(self) -> np.ndarray:
        return np.concatenate(self.told) if self.told else np.empty(0)

    def rows(self, *kinds: int) -> np.ndarray:
        events = self.events
        return events[np.isin(events["kind"], kinds)]

    def health(self, id: int) -> list[tuple[int, int]]:
        rows = self.rows(HEALTH)
        return [(int(each["aux"]), int(each["qty"])) for each in rows[rows["id"] == id]]

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(9):
            while not true():
                self._changed.clear()
                try:
                    await asyncio.wait_for(self._changed.wait(), 0.1)
                except TimeoutError:
                    continue

    async def reconciled(self) -> None:
        """A clean pass that began after this call."""
        begun = self.line.line.stamp()
        self.settle.soon(begun)
        await self.until(lambda: any(aux >= begun for aux, _ in self.health(HEALTH_RECONCILED)))

    # ---- what is asked ----

    def price(self, price: str, symbol: str = "BTC/USD") -> int:
        return self.table[symbol].ticks(Decimal(price))

    def lots(self, qty: str, symbol: str = "BTC/USD") -> int:
        return self.table[symbol].lots(Decimal(qty))

    async def ask(self, symbol: str = "BTC/USD") -> Decimal:
        rows = await self.rest.call("Ticker", pair=symbol)
        return Decimal(next(iter(rows.values()))["a"][0])

    async def beyond(self, factor: str = "1.01") -> int:
        """A limit that buys at once, in ticks."""
        pair = self.table["BTC/USD"]
        return int(await self.ask() * Decimal(factor) / pair.price_increment)

    def add(self, id: int, qty: str = "0.01", price: int = -1, **fields: int) -> None:
        row = np.zeros(1, c.COMMAND)
        usual = {"kind": c.ADD, "id": id, "side": BUY, "type": c.LIMIT, "tif": c.GTC,
                 "role": c.ROLE_ENTRY, "qty": self.lots(qty), "sym": self.table.index("BTC/USD"),
                 "price": self.price("100.0") if price < 0 else price}  # fmt: skip
        for name, value in {**usual, **fields}.items():
            row[name] = value
        self.carry(row)

    def stop(self, id: int, trigger: str = "50.0", qty: str = "0.01") -> None:
        self.add(id, qty, side=SELL, type=c.STOP_LOSS, price=0, trigger=self.price(trigger),
                 role=c.ROLE_PROTECTION)  # fmt: skip

    def cancel(self, id: int) -> None:
        row = np.zeros(1, c.COMMAND)
        row["kind"], row["id"], row["sym"] = c.CANCEL, id, self.table.index("BTC/USD")
        self.carry(row)

    def carry(self, commands: np.ndarray) -> None:
        done = self.line.carry(commands)
        for frame in done.frames:
            request = json.loads(frame)
            if request["method"] == "add_order":
                self.n_written[request["params"]["cl_ord_id"]] += 1
        if len(done.rows):
            self._take(done.rows)

    def deaf(self) -> None:
        """From here on what arrives is thrown away, until the connection is made anew."""
        line = self.line.line
        hears, opens = line.heard, line.opened

        def nothing(conn: int, frame: bytes, ts: int) -> None:
            pass

        def opened(conn: int) -> None:
            line.heard, line.opened = hears, opens  # type: ignore[method-assign]
            opens(conn)

        line.heard, line.opened = nothing, opened  # type: ignore[method-assign]

    # ---- the venue's books ----

    @property
    def books(self):  # type: ignore[no-untyped-def]
        return self.venue.core.clients[DEMO_KEY].account

    def order_at_venue(self, id: int):  # type: ignore[no-untyped-def]
        name = cl_ord_id_of(id)
        return next((each for each in self.books.orders.values() if each.cl_ord_id == name), None)

    def agree(self) -> None:
        """Fills, open orders, and one placing per client id: ours against the venue's books."""
        ours = [
            (order_key(fill.exec_id), fill.price, fill.qty)
            for order, fill in self.books.fills
            if order.cl_ord_id in self.n_written
        ]
        told = self.rows(ORDER_FILL)
        told = told[told["id"] > 0]
        assert sorted(told[["aux", "price", "qty"]].tolist()) == sorted(ours)
        believed = {each.order_id for each in self.session.account.open_orders()}
        assert believed == set(self.books.open)
        placed = Counter(each.cl_ord_id for each in self.books.orders.values() if each.cl_ord_id)
        assert not [each for each, n in (*placed.items(), *self.n_written.items()) if n > 1]
        assert self.settle.doubts == ()


@asynccontextmanager
async def account(venue: LocalVenue, rest: Rest, **options: object) -> AsyncIterator[Account]:
    remembered: list[OrderState] = options.pop("remembered", [])  # type: ignore[assignment]
    executions: list[int] = options.pop("executions", [])  # type: ignore[assignment]
    made = Account(venue, rest, await rest.names(), **options)  # type: ignore[arg-type]
    made.line.remember(remembered, executions)
    running = asyncio.create_task(made.line.run())
    try:
        await made.until(lambda: made.session.ready or running.done())
        yield made
    finally:
        made.line.stop()
        await asyncio.wait_for(running, 20)


def free_rest(venue: LocalVenue, folder: Path) -> Rest:
    rest = rest_of(venue, folder)
    return Rest(
        venue.rest_url, tier=FREE, nonce=rest.core._nonce, keys=lambda: KEYS, clock=WallClock()
    )


def with_account(
    folder: Path,
    work: Callable[[Account], Awaitable[None]],
    *,
    venue_options: VenueOptions | None = None,
    faults: Script | None = None,
    agree: bool = True,
    **options: object,
) -> None:
    """Do `work` with an account line that is connected; then hold it against the venue's books."""

    async def main() -> None:
        chosen = venue_options or VenueOptions(rest_limits=False)
        async with (
            serve(generated(seed=7), speed=1, options=chosen, faults=faults) as venue,
            free_rest(venue, folder) as rest,
            account(venue, rest, **options) as made,
        ):
            await work(made)
            if agree:
                made.agree()

    compile_venue()
    asyncio.run(asyncio.wait_for(main(), 60))
