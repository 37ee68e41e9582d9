"""A core and a wild venue that live through any history, and what must hold after every step.

The histories come from outside: from hypothesis in a property, from a seed in a digest.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from engine.commands import ADD, CANCEL, LIMIT, ROLE_ENTRY, STOP_LOSS, TRAILING_STOP
from engine.core.orders import is_working
from engine.core.orderstates import ORDER_STATE_NAMES, ORDER_STATE_SUSPECT, is_coverage, is_terminal
from engine.core.positions import is_dust
from engine.core.protection import COVER_NONE, COVER_PROTECTED
from engine.core.regime import REGIME_RANGE
from engine.events import (
    AMEND_REJECT,
    CANCEL_REJECT,
    EPOCH_DEGRADED,
    EPOCH_INVALID,
    EPOCH_VALID,
    HEALTH_ABSENT,
    HEALTH_ACCOUNT_SYNCED,
    MODE_EMERGENCY,
    MODE_EXIT_ONLY,
    MODE_HALT,
    MODE_NORMAL,
    MODE_REDUCED,
    OPERATOR_FLATTEN,
    ORDER_FEE,
    ORDER_FILL,
    ORDER_REJECT,
    REJECT_NOT_SENT,
)
from tests.naive import orders as naive
from tests.support.order_desk import BID, QTY, USD, OrderDesk, S
from tests.support.wild_venue import REFUSALS, WildVenue

CASH = 10_000 * USD
STOPS = (STOP_LOSS, TRAILING_STOP)
MODES = (MODE_NORMAL, MODE_REDUCED, MODE_EXIT_ONLY, MODE_EMERGENCY, MODE_HALT)
EPOCHS = (EPOCH_VALID, EPOCH_DEGRADED, EPOCH_INVALID)
STEPS = (
    "enter", "enter", "command", "command", "command", "answer", "answer", "answer", "answers",
    "fill", "fill", "trigger", "expire", "quote", "wait", "manage", "mode", "epoch", "verified",
    "repeat",
)  # fmt: skip


# Fewer things that stop all trading, so that the private line breaks in the middle of it.
LIVE_STEPS = (
    *("enter", "command", "answers", "fill", "command", "answers") * 4,
    *("answer", "trigger", "expire", "quote", "wait", "manage", "repeat"),
    *("lose", "drop", "flatten", "balances", *("return", "calm") * 5),
    *("mode", "epoch", "verified"),
)


class World:
    """A core and a wild venue, and the links between them.

    live : the core is told of a session, so that the private line may break and be read again
    native : stops follow at the venue
    swap : any price is the target, and it is taken by a limit in place of the stop
    """

    def __init__(self, live: bool = False, native: bool = False, swap: bool = False) -> None:
        self.swap = swap
        self.lost = False
        self.desk = OrderDesk(
            cash=CASH,
            orders_life_min_ns=0,
            exits_unprotected_max_ns=2 * S,
            exits_trail_native=int(native),
            exits_target_style=2 if swap else 0,
            exits_swap_tries=100,
        )
        self.desk.core.symbols[0]["regime"] = REGIME_RANGE
        self.desk.position()["n_trips"] = 1
        self.venue = WildVenue(CASH)
        self.told: list[tuple[int, int, int, int, int, int]] = []
        self.mode_of_command: list[tuple[int, int, int, int]] = []
        if live:
            self.desk.begin_live()

    # --- the private line -----------------------------------------------------------------------

    def lose(self) -> None:
        """The line breaks: what was under way to us is gone."""
        self.lost = True
        self.venue.answers.clear()
        self.desk.account_breaks()
        self.carry()

    def come_back(self) -> None:
        """The line is back, and the shell reads everything: late commands arrived before that."""
        while self.venue.commands:
            self.venue.take_command(None, 4, BID)
        self.venue.answers.clear()
        self.lost = False
        self.read_books()
        self.tell_balances()
        self.desk.fact(HEALTH_ACCOUNT_SYNCED)
        self.desk.reconciled()
        self.carry()

    def read_books(self) -> None:
        desk = self.desk
        ids = {int(order["id"]) for order in desk.core.orders if is_working(order)}
        for kind, order_id, price, qty, aux, flags in self.venue.tell_again():
            if order_id in ids or kind in (ORDER_FILL, ORDER_FEE):
                desk.event(kind, order_id, price, qty, aux, flags, guard=kind != ORDER_FILL)
        for order_id in sorted(ids - self.venue.known):
            desk.fact(HEALTH_ABSENT, order_id)

    def tell_balances(self) -> None:
        self.desk.coins(self.venue.base, snapshot=True)
        self.desk.money(self.venue.cash)

    def carry(self) -> None:
        """Commands leave for the venue; each remembers the mode and epoch it left in."""
        self.refusals = 0
        while len(sent := self.desk.sent()):
            self.carry_some(sent)

    def carry_some(self, sent: np.ndarray) -> None:
        glob = self.desk.glob
        for command in sent:
            self.mode_of_command.append(
                (int(command["kind"]), int(command["role"]), int(glob["mode"]),
                 int(glob["epoch_status"]))
            )  # fmt: skip
            if self.lost:
                kind = int(command["kind"])
                refusal = {ADD: ORDER_REJECT, CANCEL: CANCEL_REJECT}.get(kind, AMEND_REJECT)
                self.desk.event(refusal, int(command["id"]), aux=REJECT_NOT_SENT)
                self.refusals += 1
                assert self.refusals < 100, "refused and asked again in a circle"
            else:
                self.venue.commands.append(command)

    def answer(self) -> None:
        if not self.venue.answers:
            return
        kind, order_id, price, qty, aux, flags = self.venue.answers.popleft()
        self.told.append((kind, order_id, price, qty, aux, flags))
        self.desk.event(kind, order_id, price, qty, aux, flags)

    def step(
        self, what: str, pick: Callable[[Sequence[Any]], Any], whole: Callable[[int, int], int]
    ) -> None:
        desk, venue = self.desk, self.venue
        if self.swap and desk.position()["coverage"] == COVER_PROTECTED:
            desk.position()["target"] = 1
        if what == "enter":
            desk.enter(qty=pick([QTY, 12_000, 5_000]))
        elif what == "command" and venue.commands:
            refuse = pick([None, None, None, *range(len(REFUSALS))])
            venue.take_command(refuse, whole(0, 4), BID + whole(-2000, 10))
        elif what == "answer":
            self.answer()
        elif what == "answers":
            while venue.answers:
                self.answer()
                self.carry()
        elif what == "fill":
            buys = [order.id for order in venue.orders.values() if order.side > 0]
            if buys:
                venue.fill(buys[-1], pick([1_000, 4_999, 5_000, QTY]), BID)
        elif what == "trigger":
            stops = [order for order in venue.orders.values() if order.type in STOPS]
            limits = [order for order in venue.sells() if order.type == LIMIT]
            if limits and whole(0, 1) == 0:
                venue.expire(limits[0].id)
            elif limits:
                venue.fill(limits[0].id, pick([1_000, 5_000, QTY]), BID)
            elif stops and whole(0, 2) == 0:
                venue.trail(stops[0].id, whole(1, 500))
            elif stops:
                venue.trigger(stops[0].id, whole(0, 4), stops[0].price or BID - 1200)
        elif what == "expire":
            buys = [order.id for order in venue.orders.values() if order.side > 0]
            if buys:
                venue.expire(buys[0])
        elif what == "quote":
            bid = BID + whole(-3000, 6000)
            desk.quote(bid, bid + 2, trade=bid)
        elif what == "wait":
            desk.wait(pick([S // 10, S, 3 * S, 12 * S, 200 * S]))
            desk.guard()
        elif what == "manage":
            desk.manage()
        elif what == "mode":
            desk.glob["mode"] = pick(MODES)
        elif what == "epoch":
            desk.glob["epoch_status"] = pick(EPOCHS)
        elif what == "verified":
            desk.core.symbols[0]["verified"] = whole(0, 1)
        elif what == "calm":
            desk.glob["mode"], desk.glob["epoch_status"] = MODE_NORMAL, EPOCH_VALID
            desk.core.symbols[0]["verified"] = 1
            desk.position()["safety"] = 0
        elif what == "lose":
            self.lose()
        elif what == "return" and self.lost:
            self.come_back()
        elif what == "drop" and self.lost:
            venue.commands.clear()  # they never arrived
        elif what == "flatten":
            desk.operator(OPERATOR_FLATTEN, sym=0)
        elif what == "balances" and not self.lost and not venue.answers:
            self.tell_balances()
        elif what == "repeat" and self.told and not self.lost:
            row = self.told[whole(0, len(self.told) - 1)]
            if row[0] in (ORDER_FILL, ORDER_FEE):  # sent again
                desk.event(*row)
        if self.lost:
            venue.answers.clear()
        self.carry()

    def hold(self) -> None:
        """The ordinary path up to a position under its stop."""
        _, decision = self.desk.enter()
        self.carry()
        self.venue.take_command(None, 0, BID)
        self.venue.fill(int(decision["command"]), QTY, BID)
        for _ in range(3):
            while self.venue.answers:
                self.answer()
                self.carry()
            if self.venue.commands:
                self.venue.take_command(None, 0, BID)

    def check(self) -> None:
        desk, venue, position = self.desk, self.venue, self.desk.position()
        assert 0 == desk.glob["fault"]
        # never above holdings, at most one resting sell: by the venue's own books
        assert sum(order.leaves for order in venue.sells()) <= venue.base
        assert len(venue.sells()) <= 1
        assert venue.base >= 0
        working = [order for order in desk.core.orders if is_working(order)]
        sells = [order for order in working if order["side"] < 0]
        assert len(sells) <= 1
        assert position["qty"] >= 0
        assert position["cost"] >= 0
        cost = int(position["cost"] + position["dust_cost"])
        assert CASH == desk.glob["cash"] + cost - desk.glob["realized"]
        assert 0 <= desk.glob["cash_held"]
        if not venue.answers and not self.lost:
            held = position["qty"] + position["dust"]
            assert (venue.cash, venue.base) == (desk.glob["cash"], held)
        self.check_cover(sells)
        for order in working:
            assert not is_terminal(order["state"])

    def check_cover(self, sells: list) -> None:  # type: ignore[type-arg]
        """Covered, asked for, being swapped, or counted as bare with a reason on record."""
        desk, position = self.desk, self.desk.position()
        symbol = desk.core.symbols[0]
        if position["qty"] == 0 or is_dust(symbol):
            return
        covered = sum(
            int(order["qty"] - order["filled"])
            for order in sells
            if is_coverage(order["state"]) and order["type"] in STOPS
        )
        if position["coverage"] == COVER_PROTECTED:
            assert covered >= position["qty"]
        elif position["coverage"] == COVER_NONE:
            suspect = any(order["state"] == ORDER_STATE_SUSPECT for order in sells)
            assert suspect or position["retry_ts"] > 0
        if covered < position["qty"]:
            assert position["uncovered_ts"] > 0

    def check_records(self) -> None:
        names = ORDER_STATE_NAMES
        for row in self.desk.rows("orders"):
            before, after = names[int(row["state_before"])], names[int(row["state"])]
            assert after == before or after in naive.MAY_GO_TO[before] | {"suspect"}, row
        for kind, role, mode, epoch in self.mode_of_command:
            if kind == ADD and role == ROLE_ENTRY:
                assert mode in (MODE_NORMAL, MODE_REDUCED)
                assert epoch == EPOCH_VALID
            elif kind != CANCEL and epoch == EPOCH_INVALID:
                assert role == 2  # protection
        ids = [int(row["exec"]) for row in self.desk.rows("fills")]
        assert len(ids) == len(set(ids))


def history_hash(seed: int) -> str:
    """sha256 over everything the core holds and wrote, after 20 histories of 60 steps."""
    digest = hashlib.sha256()
    for k in range(20):
        dice = random.Random(1000 * seed + k)
        world = World(native=k % 2 == 1, swap=k % 3 == 2)
        for _ in range(60):
            world.step(dice.choice(STEPS), dice.choice, dice.randint)
        world.check()
        core = world.desk.core
        for array in (core.glob, core.symbols, core.orders, core.commands, core.rings):
            digest.update(array.tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    print(history_hash(int(sys.argv[1])))
