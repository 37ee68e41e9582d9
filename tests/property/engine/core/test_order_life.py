"""Whatever a truthful venue does and whenever: nothing is oversold, lost or left bare in silence."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.commands import ADD, CANCEL, ROLE_ENTRY, STOP_LOSS
from engine.core.orders import (
    ORDER_STATE_NAMES,
    ORDER_STATE_SUSPECT,
    is_coverage,
    is_terminal,
    is_waiting,
    is_working,
)
from engine.core.positions import is_dust
from engine.core.protection import COVER_NONE, COVER_PROTECTED
from engine.core.records import OK
from engine.events import (
    EPOCH_DEGRADED,
    EPOCH_INVALID,
    EPOCH_VALID,
    MODE_EMERGENCY,
    MODE_EXIT_ONLY,
    MODE_HALT,
    MODE_NORMAL,
    MODE_REDUCED,
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

    def step(self, what: str, draw: Callable[[st.SearchStrategy], int]) -> None:
        desk, venue = self.desk, self.venue
        if what == "enter":
            desk.enter(qty=draw(st.sampled_from([QTY, 12_000, 5_000])))
        elif what == "command" and venue.commands:
            refuse = draw(st.sampled_from([None, None, None, *range(len(REFUSALS))]))
            venue.take_command(refuse, draw(st.integers(0, 4)), BID + draw(st.integers(-2000, 10)))
        elif what == "answer":
            self.answer()
        elif what == "answers":
            while venue.answers:
                self.answer()
                self.carry()
        elif what == "fill":
            buys = [order.id for order in venue.orders.values() if order.side > 0]
            if buys:
                venue.fill(buys[-1], draw(st.sampled_from([1_000, 4_999, 5_000, QTY])), BID)
        elif what == "trigger":
            stops = [order for order in venue.orders.values() if order.type == STOP_LOSS]
            if stops:
                venue.trigger(stops[0].id, draw(st.integers(0, 4)), stops[0].price or BID - 1200)
        elif what == "expire":
            buys = [order.id for order in venue.orders.values() if order.side > 0]
            if buys:
                venue.expire(buys[0])
        elif what == "quote":
            bid = BID + draw(st.integers(-3000, 6000))
            desk.quote(bid, bid + 2, trade=bid)
        elif what == "wait":
            desk.wait(draw(st.sampled_from([S // 10, S, 3 * S, 12 * S, 200 * S])))
            desk.guard()
        elif what == "manage":
            desk.manage()
        elif what == "mode":
            desk.glob["mode"] = draw(st.sampled_from(MODES))
        elif what == "epoch":
            desk.glob["epoch_status"] = draw(st.sampled_from(EPOCHS))
        elif what == "verified":
            desk.core.symbols[0]["verified"] = draw(st.integers(0, 1))
        elif what == "repeat" and self.told:
            row = self.told[draw(st.integers(0, len(self.told) - 1))]
            if row[0] in (23, 24):  # a fill or its fee, sent again
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


@settings(max_examples=150)
@given(data=st.data())
def test_whatever_the_venue_does(data: st.DataObject) -> None:
    world = World()
    for _ in range(data.draw(st.integers(5, 60))):
        world.step(data.draw(st.sampled_from(STEPS)), data.draw)
        world.check()
    world.check_records()


@settings(max_examples=60)
@given(data=st.data())
def test_a_calm_venue_gets_everything_flat_in_the_end(data: st.DataObject) -> None:
    """After any history: normal mode, valid data, a venue that accepts. Nothing stays stuck."""
    world = World()
    for _ in range(data.draw(st.integers(5, 40))):
        world.step(data.draw(st.sampled_from(STEPS)), data.draw)
    desk, venue = world.desk, world.venue
    desk.glob["mode"], desk.glob["epoch_status"] = MODE_NORMAL, EPOCH_VALID
    desk.core.symbols[0]["verified"] = 1
    for _ in range(60):
        while venue.commands or venue.answers:
            if venue.answers:
                world.answer()
            else:
                venue.take_command(None, 4, BID)
            world.carry()
        for order in [each for each in venue.orders.values() if each.side > 0]:
            venue.expire(order.id)  # its window is long over
        desk.wait(12 * S)
        desk.quote(BID, BID + 2, trade=BID)
        desk.manage()
        world.carry()
    world.check()
    doubtful = any(
        order["state"] == ORDER_STATE_SUSPECT or is_waiting(order["state"])
        for order in desk.core.orders
        if is_working(order)
    )
    if not doubtful:
        assert 0 == desk.position()["qty"]
        assert 0 == len(venue.sells())


def test_the_wild_venue_moves_a_whole_trade() -> None:
    """The harness itself: a trade goes through by its ordinary path."""
    world = World()
    code, decision = world.desk.enter()
    assert OK == code
    world.carry()
    world.venue.take_command(None, 0, BID)
    world.venue.fill(int(decision["command"]), QTY, BID)
    while world.venue.answers:
        world.answer()
        world.carry()
        world.check()
    world.venue.take_command(None, 0, BID)
    stop = world.venue.sells()[0]
    world.venue.trigger(stop.id, 4, stop.price or BID - 1200)
    while world.venue.answers:
        world.answer()
    world.check()
    assert 0 == world.desk.position()["qty"] == world.venue.base
    assert 1 == len(world.desk.rows("realized"))
