"""Who carries the account's side of a session? One private line, its gateway, and what settles doubts.

`AccountLine` runs a private connection inside the session's asyncio loop: what every step tells goes
to `take` as EVENT rows, commands go out through `carry`, and beside it runs the loop that reads over
REST what the stream left open. It says every two seconds that the account is heard, as long as it
is, and names orders of others once (HEALTH_FOREIGN); those are never touched, and rows about ids
that never passed our gateway do not reach the core as ours. Left out: what any of it means
(private.py, gateway.py, settle.py, switch.py).
"""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from adapters.kraken.errors import RefusedByVenueError
from adapters.kraken.fees_feed import FeesFeed
from adapters.kraken.gateway import Carried, Gateway
from adapters.kraken.order_state import OrderState
from adapters.kraken.orders import order_key
from adapters.kraken.phases import SECOND, Step
from adapters.kraken.private import PRIVATE_URL, PrivateSession
from adapters.kraken.private_line import Keeping, PrivateLine
from adapters.kraken.rest import Rest
from adapters.kraken.settle import Settle
from adapters.kraken.switch import Switch
from adapters.kraken.wire import Status
from engine.clock import Clock, WallClock
from engine.errors import DataError, SecretError, VenueError
from engine.events import (
    BALANCE,
    EVENT,
    HEALTH,
    HEALTH_ACCOUNT_ALIVE,
    HEALTH_ACCOUNT_SYNCED,
    HEALTH_FOREIGN,
    LAST,
    NO_SYMBOL,
    ORDER_ACK,
    ORDER_PENDING,
    ORDER_SENT,
    ORDER_TRAILED,
    SNAPSHOT,
)

ALIVE_NS: Final = 2 * SECOND
LOOK_S: Final = 0.1  # between two looks whether something is due
# What a private line tells beside its own life.
_TOLD: Final = np.zeros(128, np.bool_)  # by kind
_TOLD[[*range(ORDER_SENT, ORDER_PENDING + 1), ORDER_TRAILED, BALANCE, HEALTH]] = True
# ... after which an order may be open that was not before.
_NAMING: Final = np.zeros(128, np.bool_)
_NAMING[[ORDER_ACK, ORDER_PENDING, HEALTH]] = True

Take = Callable[[np.ndarray], None]
Say = Callable[[str, str], None]


class AccountLine:
    """The account of one session. `run` until `stop`; raises what ends private use.

    take : gets EVENT rows, stamped, as they come; say : (level, text) for people
    adopt : an open order whose client id is ours in form, but never passed here, is told to the core
        (SNAPSHOT) so that it may decide; otherwise it is foreign like any other
    """

    def __init__(
        self,
        session: PrivateSession,
        gateway: Gateway,
        rest: Rest,
        settle: Settle,
        take: Take,
        *,
        say: Say = lambda level, text: None,
        switch: Switch | None = None,
        fees: FeesFeed | None = None,
        adopt: bool = False,
        url: str = PRIVATE_URL,
        clock: Clock | None = None,
        ssl: ssl_module.SSLContext | None = None,
        keeping: Keeping | None = None,
    ) -> None:
        self.session, self.gateway, self.settle = session, gateway, settle
        self.switch, self.fees = switch, fees
        self._rest, self._take, self._say, self._adopt = rest, take, say, adopt
        self._clock = clock or WallClock()

        async def token() -> Any:
            return (await rest.stream_token()).token

        self.line = PrivateLine(
            session, token, url=url, clock=self._clock, ssl=ssl, keeping=keeping
        )
        self._alive_ns = 0
        self._alive_frame = 0
        self._foreign: set[int] = set()
        self._stopped = asyncio.Event()
        self._ended_by: Exception | None = None

    # ---- what the session does ----

    def remember(self, orders: list[OrderState], executions: list[int]) -> None:
        """Before `run`: what an earlier session of the lineage believed open, and its fills.

        An order without `asked_ns` counts as written just now: its quarantine is whole.
        """
        now = self.line.stamp()
        for order in orders:
            order.asked_ns = order.asked_ns or now
            order.placed_ns = order.placed_ns or order.asked_ns
        self.session.account.remember(orders, executions)
        self.gateway.remember(orders, now)

    def carry(self, commands: np.ndarray) -> Carried:
        """Send the commands of one step; the rows of what could not leave are in the answer.

        Call it after their journal is synced. Raises InvariantError as the gateway does.
        """
        now = self.line.stamp()
        if self.switch is not None:
            self.send(self.switch.before(commands, self.gateway, now))
        done = self.gateway.carry(commands, now)
        self.send(done.frames)
        return done

    def send(self, frames: list[bytes]) -> None:
        """Frames that the session made, in order, once."""
        for each in frames:
            self.line.send(each)

    def suspect(self, ids: list[int]) -> None:
        """The core doubts these orders: they are looked up."""
        self.settle.suspect(ids, self.line.stamp())

    def stop(self) -> None:
        self._stopped.set()
        self.line.stop()

    async def run(self) -> None:
        """Until stopped. Raises SecretError where private use has ended."""
        settling = asyncio.create_task(self._settle())
        try:
            async for step in self.line.steps():
                self._step(step)
        finally:
            self._stopped.set()
            settling.cancel()
            await asyncio.gather(settling, return_exceptions=True)
        if self._ended_by is not None:
            raise self._ended_by

    # ---- the stream ----

    def _step(self, step: Step) -> None:
        now = self.line.stamp()
        for note in step.notes:
            self._say(note.level, note.text)
        rows = step.rows()
        rows = rows[_TOLD[rows["kind"]]]
        answered, self.session.answered = self.session.answered, []
        told = self._tell(rows, now)
        if self.switch is not None:
            for message in step.messages:
                if isinstance(message, Status):
                    self.switch.status(message, now)
            for each in answered:
                self.switch.answered(each, now)
            self.send(self.switch.act(self.gateway, now))
            self._hand(self.switch.taken(), now)
            self._notes(self.switch.notes)
        if told or len(rows) == 0:
            self._say_alive(now)

    def _tell(self, rows: np.ndarray, now: int) -> bool:
        """Tell rows of stream or settling to all who listen, the core last."""
        if not len(rows):
            return False
        if self.switch is not None:
            self.switch.observe(rows, self.gateway, now)
        self.settle.observe(rows, now)
        ours = self._without_strangers(rows)
        self.gateway.observe(ours, now)
        self._hand(ours, now)
        if _NAMING[rows["kind"]].any():
            self._name_foreign(rows, now)
        return True

    def _hand(self, rows: np.ndarray, now: int) -> None:
        if len(rows):
            rows["ts"] = now
            if self.fees is not None:
                self.fees.observe(rows)
            self._take(rows)

    def _without_strangers(self, rows: np.ndarray) -> np.ndarray:
        """Without rows about ids in our form that never passed our gateway."""
        order = (rows["kind"] < BALANCE) & (rows["id"] > 0)
        if not order.any():
            return rows
        keep = np.ones(len(rows), np.bool_)
        for i in np.flatnonzero(order):
            row = rows[i]
            adopted = self._adopt and row["kind"] == ORDER_ACK and row["flags"] & SNAPSHOT
            keep[i] = bool(adopted) or self.gateway.knows(int(row["id"]))
        return rows[keep]

    def _name_foreign(self, rows: np.ndarray, now: int) -> None:
        """Say once of each open order that it is not ours."""
        if (rows["id"][rows["kind"] == HEALTH] == HEALTH_ACCOUNT_SYNCED).any():
            self._foreign.clear()
        told = []
        for order in self.session.account.open_orders():
            if order.id > 0 and (self._adopt or self.gateway.knows(order.id)):
                continue
            key = order_key(order.order_id)
            if not order.order_id or key in self._foreign:
                continue
            self._foreign.add(key)
            price = order.price or order.trigger
            told.append((now, 0, 0, price, order.leaves, HEALTH_FOREIGN, key, order.sym, HEALTH,
                         order.side, LAST))  # fmt: skip
            self._say("warning", f"order {order.order_id} is not ours: it is left alone")
        if told:
            self._hand(np.array(told, EVENT), now)

    def _say_alive(self, now: int) -> None:
        newest = self.session.newest_frame_ns
        if newest <= self._alive_frame or now - self._alive_ns < ALIVE_NS:
            return
        self._alive_ns, self._alive_frame = now, newest
        row = (now, 0, 0, 0, 0, HEALTH_ACCOUNT_ALIVE, newest, NO_SYMBOL, HEALTH, 0, LAST)
        self._hand(np.array([row], EVENT), now)

    # ---- settling ----

    async def _settle(self) -> None:
        try:
            while not self._stopped.is_set():
                if self.settle.due(self.line.stamp()):
                    await self._pass()
                if self.fees is not None and self.fees.due(self.line.stamp()):
                    await self._read_fees(self.fees)
                await asyncio.sleep(LOOK_S)
        except Exception as error:
            # The stream ends with it, and raises what ended it.
            self._ended_by = error
            self.stop()

    async def _pass(self) -> None:
        """One pass of reads; what fails is tried again by the next."""
        reads = self.settle.reads(self.line.stamp())
        try:
            name, params = next(reads)
            # Before anything is waited for: the stream may end what is only said to stand.
            self._settled(self.line.stamp())
            while True:
                result = await self._read(name, params)
                now = self.line.stamp()
                name, params = reads.send((result, now))
                self._settled(now)
        except StopIteration:
            self._settled(self.line.stamp())
        except SecretError:
            raise
        except (VenueError, DataError) as error:
            reads.close()
            self.settle.failed(error.message, self.line.stamp())
            self._notes(self.settle.notes)
        if self.settle.resync:
            self.settle.resync = False
            self.line.resync()

    async def _read_fees(self, fees: FeesFeed) -> None:
        """What trading costs us now; without an answer the last rates stay."""
        name, params = fees.ask
        try:
            rows = fees.take(await self._rest.call(name, **params), self.line.stamp())
        except SecretError:
            raise
        except (VenueError, DataError) as error:
            fees.failed(self.line.stamp())
            self._say("warning", f"fees: {error.message}")
            return
        self._hand(rows, self.line.stamp())

    async def _read(self, name: str, params: dict[str, Any]) -> Any:
        try:
            return await self._rest.call(name, **params)
        except RefusedByVenueError as error:
            # REST may not know an order yet that the stream told of long ago.
            if name == "QueryOrders" and all(
                each.text.startswith("EOrder:Unknown order") for each in error.said
            ):
                return {}
            raise

    def _settled(self, now: int) -> None:
        rows = self.settle.taken()
        if len(rows):
            rows = self._without_strangers(rows)
            if self.switch is not None:
                self.switch.observe(rows, self.gateway, now)
            self.gateway.observe(rows, now)
            self._hand(rows, now)
        self._notes(self.settle.notes)

    def _notes(self, notes: list[Any]) -> None:
        for note in notes:
            self._say(note.level, note.text)
        notes.clear()
