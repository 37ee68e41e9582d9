"""A core and a wild venue that live through any history, and what must hold after every step.

The histories come from outside: from hypothesis in a property, from a seed in a digest.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Callable, Sequence
from typing import Any

from engine.commands import ADD, CANCEL, ROLE_ENTRY, STOP_LOSS
from engine.core.orders import (
    ORDER_STATE_NAMES,
    ORDER_STATE_SUSPECT,
    is_coverage,
    is_terminal,
    is_working,
)
from engine.core.positions import is_dust
from engine.core.protection import COVER_NONE, COVER_PROTECTED
from engine.events import (
    EPOCH_DEGRADED,
    EPOCH_INVALID,
    EPOCH_VALID,
    MODE_EMERGENCY,
    MODE_EXIT_ONLY,
    MODE_HALT,
    MODE_NORMAL,
    MODE_REDUCED,
    ORDER_FEE,
    ORDER_FILL,
)
from tests.naive import orders as naive
from tests.support.order_desk import BID, QTY, USD, OrderDesk, S
from tests.support.wild_venue import REFUSALS, WildVenue

CASH = 10_000 * USD
MODES = (MODE_NORMAL, MODE_REDUCED, MODE_EXIT_ONLY, MODE_EMERGENCY, MODE_HALT)
EPOCHS = (EPOCH_VALID, EPOCH_DEGRADED, EPOCH_INVALID)
STEPS = (
    "enter", "enter", "command", "command", "command", "answer", "answer", "answer", "answers",
    "fill", "fill", "trigger", "expire", "quote", "wait", "manage", "mode", "epoch", "verified",
    "repeat",
)  # fmt: skip


class World:
    """A core and a wild venue, and the links between them."""

    def __init__(self) -> None:
        self.desk = OrderDesk(cash=CASH, orders_life_min_ns=0, exits_unprotected_max_ns=2 * S)
        self.desk.position()["n_trips"] = 1
        self.venue = WildVenue(CASH)
        self.told: list[tuple[int, int, int, int, int, int]] = []
        self.mode_of_command: list[tuple[int, int, int, int]] = []

    def carry(self) -> None:
        """Commands leave for the venue; each remembers the mode and epoch it left in."""
        glob = self.desk.glob
        for command in self.desk.sent():
            self.mode_of_command.append(
                (int(command["kind"]), int(command["role"]), int(glob["mode"]),
                 int(glob["epoch_status"]))
            )  # fmt: skip
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
            stops = [order for order in venue.orders.values() if order.type == STOP_LOSS]
            if stops:
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
        elif what == "repeat" and self.told:
            row = self.told[whole(0, len(self.told) - 1)]
            if row[0] in (ORDER_FILL, ORDER_FEE):  # sent again
                desk.event(*row)
        self.carry()

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
        if not venue.answers:
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
            if is_coverage(order["state"]) and order["type"] == STOP_LOSS
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
        world = World()
        for _ in range(60):
            world.step(dice.choice(STEPS), dice.choice, dice.randint)
        world.check()
        core = world.desk.core
        for array in (core.glob, core.symbols, core.orders, core.commands, core.rings):
            digest.update(array.tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    print(history_hash(int(sys.argv[1])))
