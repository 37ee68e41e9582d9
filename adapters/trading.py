"""How does a live session reach its account? Keys, the private line, and the last look before the wire.

`prepare` asks the venue what must be known first (names of pairs, what the key may do) and gives the
maker of the session's account. `Trading` is the gateway of the loop: before each frame it asks
whether the account is still ours and no kill flag is set, hands the commands to the line, and tells
the core what left and what did not. Left out: what the line and its settling do (adapters/kraken).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import numpy as np

from adapters.identity import fingerprint_of, must_be_the_same, remember
from adapters.kraken.account_line import AccountLine
from adapters.kraken.fees_feed import FeesFeed
from adapters.kraken.gateway import ORDER_TYPES
from adapters.kraken.gateway import Gateway as KrakenGateway
from adapters.kraken.keys import Keys
from adapters.kraken.limits import TIERS
from adapters.kraken.maintenance import BEFORE_NS
from adapters.kraken.names import Names
from adapters.kraken.nonce import NonceFile
from adapters.kraken.order_state import OrderState
from adapters.kraken.phases import SECOND
from adapters.kraken.private import PrivateSession
from adapters.kraken.private_frames import PrivateFrames
from adapters.kraken.rest import REST_URL, Rest
from adapters.kraken.scope import findings_of, key_info, require
from adapters.kraken.settle import Patience, Settle
from adapters.kraken.switch import Switch
from adapters.lease import KillFlag, Lease, write_synced
from adapters.live import Prepare
from adapters.running import Account, MakeAccount, Running
from adapters.start import Ready
from engine.clock import WallClock
from engine.commands import CANCEL, CANCEL_ALL, ROLE_ENTRY, TRAILING_STOP
from engine.core.orderstates import ORDER_STATE_SUSPECT
from engine.core.safety import CLASS_ENTRY_ADD, EPOCH_ALLOWS, MODE_ALLOWS
from engine.core.state import Core
from engine.errors import KapitaalbotError
from engine.events import (
    HEALTH,
    HEALTH_LEASE,
    MODE,
    MODE_HALT,
    REJECT_NOT_SENT,
    SYSTEM_STATUS,
    WHO_ENGINE,
    WHY_KILL,
    WHY_SECOND_WRITER,
    empty,
    joined,
)
from engine.instruments import STATUS_ONLINE, STATUS_REDUCE_ONLY
from engine.session.loop import NEVER, event, refused_rows, sent_rows

LOOK_S: Final = 0.2  # between two looks at kill flag, lease and doubts of the core
Say = Callable[[str, str], None]
Condition = Callable[[int], Awaitable[None]]


def prepare_trading(
    ready: Ready,
    lease: Lease,
    say: Say,
    patience: Patience | None = None,
    condition: Condition | None = None,
) -> Prepare:
    """What `run_session` needs to trade: keys are read here and nowhere earlier.

    say : (level, text) for people; patience : of settling, from the profile if None
    condition : awaited with a seq of the log before an entry leaves: a mirror that is required
    """

    async def prepare(stack: contextlib.AsyncExitStack) -> MakeAccount:
        live = ready.plan.profile.live
        keys = ready.keys()
        # This machine's time: other programs that share the key draw by it, whatever pace a market has.
        nonces = NonceFile(ready.folder, keys.fingerprint, WallClock())

        def nonce(_: Keys) -> int:
            return nonces.draw()

        rest = Rest(
            ready.addresses.rest,
            tier=TIERS[live.tier],
            nonce=nonce,
            keys=lambda: keys,
            redactor=ready.secrets,
            clock=ready.plan.clock,
            ssl_context=ready.addresses.ssl,
            say=say,
        )
        await stack.enter_async_context(rest)
        names = await rest.names()
        # A venue on this machine has play keys, and no addresses to speak of.
        local = ready.addresses.rest != REST_URL
        info = await key_info(rest)
        found = findings_of(info, ready.plan.clock.now(), any_address=local)
        for each in found:
            if each.verdict == "warn":
                say("warning", f"{each.text} {each.advice}".rstrip())
        require(found)
        account = fingerprint_of(info)
        must_be_the_same(ready.folder, account)
        remember(ready.folder, account, write_synced)
        times = patience or Patience(
            deadline=int(live.deadline),
            quarantine=int(live.quarantine),
            every=int(live.reconcile_every),
        )
        return lambda running: Trading(running, ready, lease, rest, names, times, say, condition)

    return prepare


class Trading(Account):
    """The account of one session, and the gateway of its loop."""

    leaves_machine = True

    def __init__(
        self,
        running: Running,
        ready: Ready,
        lease: Lease,
        rest: Rest,
        names: Names,
        patience: Patience,
        say: Say,
        condition: Condition | None = None,
    ) -> None:
        self.gateway = self
        self._running, self._lease, self._kill = running, lease, KillFlag(ready.folder)
        self._say = say
        live = ready.plan.profile.live
        instruments = running.started.instruments
        core = running.built.core
        known_to = int(core.glob[0]["last_order_id"]) if running.left is not None else 0
        self.session = PrivateSession(
            instruments,
            random.Random(ready.plan.seed).random,  # jitter of reconnects
            quote=ready.plan.profile.run.quote,
            limits=ready.plan.limits,
        )
        self.kraken = KrakenGateway(
            instruments,
            self.session,
            TIERS[live.tier],
            deadline_ns=int(live.deadline),
            used=lambda id: 0 < id <= known_to,
        )
        self.settle = Settle(
            self.session.account,
            names,
            knows=self.kraken.knows,
            offset=lambda: self.session.clock_offset,
            patience=patience,
            since_ns=int(core.glob[0]["now"]) or None if running.left is not None else None,
        )
        self.frames = PrivateFrames(
            running.folder,
            lambda text: ready.secrets.clean(self.session.clean(text)),
            running.writer.call,
            say,
        )
        self.switch = Switch(self.session, live.switch)
        self.line = AccountLine(
            self.session,
            self.kraken,
            rest,
            self.settle,
            running.post,
            say=say,
            switch=self.switch,
            fees=FeesFeed(instruments, instruments.symbols, names),
            adopt=live.foreign == "adopt",
            url=ready.addresses.private,
            clock=ready.plan.clock,
            ssl=ready.addresses.ssl,
            keeping=self.frames,
        )
        self.line.remember(still_open(core.orders), running.built.applied.tolist())
        # A second condition before the wire, beside the log on the disk: the mirror's commit.
        self.condition = condition
        self._waiting: set[asyncio.Task[None]] = set()
        self._told_lost = False
        self._told_kill = ready.plan.killed
        self.n_refused = 0

    # --- the gateway of the loop ---

    def carry(self, commands: np.ndarray, now: int) -> np.ndarray:
        """Send what may leave; each command is answered by one row."""
        if not self._lease.still_ours():
            # Another process acts for the account: not one byte, not even a cancel.
            return refused_rows(commands, now, REJECT_NOT_SENT)
        if self._kill.is_set():
            cancels = np.isin(commands["kind"], (CANCEL, CANCEL_ALL))
            kept = refused_rows(commands[~cancels], now, REJECT_NOT_SENT)
            return joined((kept, self._send(commands[cancels], now)))
        entries = (commands["role"] == ROLE_ENTRY) & (commands["kind"] != CANCEL)
        if not entries.any():
            return self._send(commands, now)
        if not entries_allowed(self._running.built.core) or self._waited_too_long():
            # Learned while the log was on its way to the disk.
            kept = refused_rows(commands[entries], now, REJECT_NOT_SENT)
            return joined((kept, self._send(commands[~entries], now)))
        closed = entries & ~fully_open(self._running.built.core, commands)
        if closed.any():
            # A venue that takes some orders only takes no stop: what is bought would be bare.
            kept = refused_rows(commands[closed], now, REJECT_NOT_SENT)
            return joined((kept, self.carry(commands[~closed], now)))
        if self.condition is not None:
            self._send_later(commands[entries].copy(), self.condition)
            return self._send(commands[~entries], now)
        return self._send(commands, now)

    def _waited_too_long(self) -> bool:
        """Did these commands wait so long for the disk that what they were decided on is over?"""
        session = self._running.session
        most = int(self._running.built.core.params[0]["gates_journal_max_ns"])
        return session is not None and session.sync_ns > most

    def _send_later(self, commands: np.ndarray, condition: Condition) -> None:
        """Entries that may leave only once somebody else has their journal too."""
        seq = self._running.log.seq_last

        async def wait() -> None:
            try:
                await condition(seq)
            except KapitaalbotError as error:
                self._say("warning", f"not sent: {error.message}")
                self._running.post(refused_rows(commands, 0, REJECT_NOT_SENT))
                return
            # In the session's own turn, so that what it says of it comes in order.
            self._running.call(lambda now: self._send_now(commands, now))

        task = asyncio.get_running_loop().create_task(wait())
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    def _send_now(self, commands: np.ndarray, now: int) -> np.ndarray:
        """Entries that had to wait: what was allowed when they were decided may not be any more."""
        core = self._running.built.core
        if not self._lease.still_ours() or self._kill.is_set() or not entries_allowed(core):
            return refused_rows(commands, now, REJECT_NOT_SENT)
        fine = fully_open(core, commands)
        kept = refused_rows(commands[~fine], now, REJECT_NOT_SENT)
        return joined((kept, self._send(commands[fine], now)))

    def _send(self, commands: np.ndarray, now: int) -> np.ndarray:
        if not len(commands):
            return empty(0)
        done = self.line.carry(commands)
        self.n_refused += len(done.rows)
        for reason in done.reasons:
            self._say("warning", f"not sent: {reason}")
        rows = joined((sent_rows(commands[done.sent], now), done.rows))
        # In the order of the commands, as the core decided them.
        order = np.argsort(np.concatenate((np.flatnonzero(done.sent), np.flatnonzero(~done.sent))))
        return rows[order]

    def heard(self, rows: np.ndarray) -> None:
        pass

    def due(self, now: int) -> np.ndarray:
        return empty(0)

    def next_due(self) -> int:
        return NEVER

    # --- beside the loop ---

    async def run(self, stop: asyncio.Event) -> None:
        """The private line until stopped, and a look now and then at who may act."""
        running = asyncio.create_task(self.line.run())
        looking = asyncio.create_task(self._look())
        stopping = asyncio.create_task(stop.wait())
        try:
            tasks = (running, stopping, looking)
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self.line.stop()
            await running
            if looking.done():
                looking.result()  # nobody looks at lease and kill flag any more
        finally:
            looking.cancel()
            stopping.cancel()
            await asyncio.gather(looking, stopping, return_exceptions=True)
            self.frames.flush()

    def facts(self) -> dict[str, Any]:
        """How the private line is, for people."""
        return {
            "phase": self.session.phase.value,
            "synced": self.session.account.synced,
            "waiting": self.session.n_pending,
            "doubts": len(self.settle.doubts),
            "tier": "" if self.session.tier is None else self.session.tier.name,
            "not_sent": self.n_refused,
        }

    async def _look(self) -> None:
        suspected: set[int] = set()
        while True:
            await asyncio.sleep(LOOK_S)
            self.frames.flush()
            self._look_at_lease()
            self._look_at_maintenance()
            orders = self._running.built.core.orders
            doubtful = orders[(orders["state"] == ORDER_STATE_SUSPECT) & (orders["ts_done"] == 0)]
            ids = set(doubtful["id"].tolist())
            if fresh := ids - suspected:
                self.line.suspect(sorted(fresh))
            suspected = ids

    def _look_at_lease(self) -> None:
        if not self._told_lost and not self._lease.still_ours():
            self._told_lost = True
            self._running.post(event(HEALTH, 0, id=HEALTH_LEASE, aux=0))
            self._halt(WHY_SECOND_WRITER)
        if not self._told_kill and self._kill.is_set():
            self._told_kill = True
            self._halt(WHY_KILL)

    def _look_at_maintenance(self) -> None:
        """Before announced maintenance nothing is added any more: what rests of entries lapses.

        The venue knows no such state, so that it is told to the core whenever the feed said online.
        """
        core = self._running.built.core
        before = max(BEFORE_NS, int(core.params[0]["orders_maker_window_ns"]) + 10 * SECOND)
        now = self.line.line.stamp() + (self.session.clock_offset or 0)
        near, status = self.switch.planned.near(now, before), int(core.glob[0]["system_status"])
        if near and status == STATUS_ONLINE:
            self._say("warning", "VENUE_MODE: maintenance is near, entries end before it begins")
            self._running.post(event(SYSTEM_STATUS, 0, aux=STATUS_REDUCE_ONLY))
        elif not near and status == STATUS_REDUCE_ONLY:
            self._running.post(event(SYSTEM_STATUS, 0, aux=STATUS_ONLINE))

    def _halt(self, why: int) -> None:
        self._running.post(event(MODE, 0, aux=MODE_HALT, id=WHO_ENGINE, qty=why))


def entries_allowed(core: Core) -> bool:
    """Do mode, epoch and reconcile of the core allow an entry that was decided a moment ago?"""
    glob = core.glob[0]
    mode, epoch = int(glob["mode"]), int(glob["epoch_status"])
    fine = MODE_ALLOWS[mode, CLASS_ENTRY_ADD] and EPOCH_ALLOWS[epoch, CLASS_ENTRY_ADD]
    facts = ("reconcile", "lease_lost", "stopping", "switch_fired")
    return bool(fine) and not any(glob[each] for each in facts)


def fully_open(core: Core, commands: np.ndarray) -> np.ndarray:
    """bool per command: do venue and pair take every kind of order now?"""
    status = core.symbols["instrument"]["status"]
    found: np.ndarray = status[commands["sym"]] == STATUS_ONLINE
    return found


def still_open(orders: np.ndarray) -> list[OrderState]:
    """Orders that the core believes open, for the account feed."""
    open_: list[OrderState] = []
    for order in orders[(orders["id"] > 0) & (orders["ts_done"] == 0)]:
        filled = int(order["filled"])
        trails = int(order["type"]) == TRAILING_STOP
        acked = bool(order["ts_acked"] > 0)
        open_.append(
            OrderState(
                "",
                int(order["id"]),
                int(order["sym"]),
                int(order["side"]),
                ORDER_TYPES.get(int(order["type"]), "limit"),
                qty=int(order["qty"]),
                price=0 if trails else int(order["price"]),
                trigger=int(order["trigger"]),
                distance=int(order["price"]) if trails else 0,
                filled=filled,
                told=filled,
                status="new" if acked else "pending_new",
                acked=acked,
                asked_ns=int(order["ts_command"]),
            )
        )
    return open_
