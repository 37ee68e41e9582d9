"""Positions, cash and profit against exact decimals, over any sequence of fills."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.commands import ROLE_ENTRY, ROLE_EXIT
from engine.core.faults import FAULT_MONEY
from engine.core.orders import N_EXECUTIONS
from engine.core.positions import share_of
from engine.events import CANCEL_USER, MAKER, ORDER_CANCELED, ORDER_FEE, ORDER_FILL
from engine.instruments import Instrument
from engine.units import from_money, notional_fits, to_money
from tests.naive.ledger import Ledger, fill_value, part_of
from tests.support.order_desk import USD, OrderDesk, update_capital

CASH = 50_000_000 * USD
PAIRS = (
    Instrument("BTC/USD", Decimal("0.1"), Decimal("0.00000001"), 1, 8, Decimal("0.00005"), Decimal("0.5")),
    Instrument("PEPE/USD", Decimal("0.0000000001"), Decimal("0.00001"), 10, 5, Decimal("1000"), Decimal("0.5")),
    Instrument("ODD/USD", Decimal("0.005"), Decimal("0.25"), 3, 2, Decimal("1"), Decimal("0.5")),
)  # fmt: skip

fills = st.lists(
    st.tuples(
        st.booleans(),  # buy
        st.integers(1, 3_000_000),  # price, ticks
        st.integers(1, 1 << 31),  # lots, or the wanted share of what is held
        st.integers(-1_000_000, 100_000_000),  # fee, money
    ),
    max_size=30,
)


class Twins:
    """The core and its slow twin, told the same things."""

    def __init__(self, pair: Instrument) -> None:
        self.pair = pair
        self.desk = OrderDesk([pair], cash=CASH)
        self.ledger = Ledger(from_money(CASH), pair.qty_min, pair.cost_min)
        self.n_executions = 0

    def trade(self, side: int, price: int, qty: int, fee: int) -> None:
        """One order of one fill, cancelled before it is full, as no sale ends a trip by itself."""
        desk = self.desk
        role = ROLE_ENTRY if side > 0 else ROLE_EXIT
        slot = 0 if side > 0 else 60
        desk.core.symbols[0]["bid"] = price  # what dust is judged by
        update_capital(desk.core)
        order_id = desk.place(slot, side, qty + 1, role)
        if side < 0:
            desk.position()["exit_slot"] = slot + 1
        self.n_executions += 1
        desk.event(ORDER_FILL, order_id, price, qty, self.n_executions, MAKER, guard=False)
        desk.event(ORDER_FEE, order_id, qty=fee, aux=self.n_executions, guard=False)
        exact_price, exact_qty = self.pair.price(price), self.pair.qty(qty)
        if side > 0:
            self.ledger.buy(exact_price, exact_qty, from_money(fee))
        else:
            self.ledger.sell(exact_price, exact_qty, from_money(fee))
        self.compare(price)
        desk.event(ORDER_CANCELED, order_id, qty=1, aux=CANCEL_USER, guard=False)
        self.ledger.settle(exact_price)
        self.compare(price)

    def compare(self, bid: int) -> None:
        desk, ledger, position = self.desk, self.ledger, self.desk.position()
        assert 0 == desk.glob["fault"]
        expected = {
            "cash": to_money(ledger.cash),
            "realized": to_money(ledger.realized),
            "fees": to_money(ledger.fees),
        }
        assert expected == {name: desk.glob[name] for name in expected}
        held = {
            "qty": self.pair.lots(ledger.held),
            "dust": self.pair.lots(ledger.dust),
            "cost": to_money(ledger.cost),
            "dust_cost": to_money(ledger.dust_cost),
        }
        assert held == {name: position[name] for name in held}
        update_capital(desk.core)
        equity = to_money(ledger.equity(self.pair.price(bid)))
        rules = desk.core.symbols[0]["instrument"]
        if notional_fits(bid, int(position["qty"] + position["dust"]), int(rules["notional_num"])):
            assert equity == desk.glob["equity"]
        elif equity < 1 << 61:  # beyond, the estimate is capped
            assert equity == pytest.approx(float(desk.glob["equity"]), rel=1e-12)
        # I-03: what was paid in is cash, the cost of what is held, and profit with its sign
        cost = int(position["cost"] + position["dust_cost"])
        assert CASH == desk.glob["cash"] + cost - desk.glob["realized"]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.base)
@given(fills=fills)
def test_any_fills_give_the_exact_account(
    pair: Instrument, fills: list[tuple[bool, int, int, int]]
) -> None:
    twins = Twins(pair)
    for buy, price, wanted, fee in fills:
        # A fill of more than 100 million USD is damaged input: FAULT_MONEY, see below.
        per_lot = pair.price(price) * pair.qty_increment
        qty = min(wanted, max(int(100_000_000 / per_lot), 1))
        if buy:
            twins.trade(1, price, qty, fee)
            continue
        held = int(twins.desk.position()["qty"])
        if held > 0:
            twins.trade(-1, price, min(qty, held), fee)
    closed = [
        (to_money(trip.bought), to_money(trip.sold), to_money(trip.fees))
        for trip in twins.ledger.closed
    ]
    rows = twins.desk.rows("realized")
    found = [tuple(int(row[name]) for name in ("bought", "sold", "fees")) for row in rows]
    assert closed == found
    assert [sold - bought - fees for bought, sold, fees in closed] == rows["net"].tolist()


@given(data=st.data())
def test_sold_in_parts_or_at_once_relieves_the_same_cost(data: st.DataObject) -> None:
    """Rounding of the parts never makes or loses a unit once flat."""
    qty = data.draw(st.integers(2, 10_000_000))
    cuts = sorted(data.draw(st.sets(st.integers(1, qty - 1), max_size=5)))
    parts = [b - a for a, b in zip([0, *cuts], [*cuts, qty], strict=True)]
    twins = Twins(PAIRS[0])
    twins.trade(1, 612_345, qty, 77)
    cost = int(twins.desk.position()["cost"] + twins.desk.position()["dust_cost"])
    if twins.desk.position()["qty"] == 0:
        return
    for part in parts:
        if twins.desk.position()["qty"] >= part:
            twins.trade(-1, 600_000, part, 0)
    position = twins.desk.position()
    left = int(position["cost"] + position["dust_cost"])
    sold = to_money(sum((trip.sold for trip in twins.ledger.closed), Decimal(0)))
    if position["qty"] == 0:
        assert sold - (cost - left) == twins.desk.glob["realized"]


@given(
    total=st.integers(0, 1 << 60),
    whole=st.integers(1, 1 << 50),
    data=st.data(),
)
def test_a_share_is_exact_beyond_what_a_product_holds(
    total: int, whole: int, data: st.DataObject
) -> None:
    part = data.draw(st.integers(0, whole))
    assert total * part // whole == share_of(total, part, whole)


@given(total=st.integers(0, 1 << 60), whole=st.integers(1, 1 << 50), data=st.data())
def test_the_naive_share_agrees_with_integers(total: int, whole: int, data: st.DataObject) -> None:
    part = data.draw(st.integers(0, whole))
    exact = part_of(from_money(total), Decimal(part), Decimal(whole))
    assert total * part // whole == to_money(exact)


def test_a_fill_whose_value_does_not_fit_stops_the_run_and_books_nothing() -> None:
    desk = OrderDesk([PAIRS[2]], cash=CASH)
    order_id = desk.place(0, 1, 1 << 50, ROLE_ENTRY)
    desk.event(ORDER_FILL, order_id, 1 << 30, 1 << 40, 1, MAKER)
    desk.event(ORDER_FEE, order_id, qty=1, aux=1)
    assert (FAULT_MONEY, CASH, 0) == (
        desk.glob["fault"], desk.glob["cash"], desk.position()["qty"],
    )  # fmt: skip


def test_a_known_trip() -> None:
    """0.02 BTC bought at 60,000 and 61,000, sold at 62,000, fees 0.25 %: by hand."""
    twins = Twins(PAIRS[0])
    twins.trade(1, 600_000, 1_000_000, 150_000_000)  # 600.00 + 1.50
    twins.trade(1, 610_000, 1_000_000, 152_500_000)  # 610.00 + 1.525
    assert 121_302_500_000 == twins.desk.position()["cost"]
    twins.trade(-1, 620_000, 500_000, 77_500_000)  # 310.00 - 0.775, cost 303.25625
    assert 596_875_000 == twins.desk.glob["realized"]
    twins.trade(-1, 620_000, 1_500_000, 232_500_000)
    row = twins.desk.rows("realized")[-1]
    assert (2_000_000, 121_000_000_000, 124_000_000_000, 612_500_000, 2_387_500_000) == tuple(
        int(row[name]) for name in ("qty", "bought", "sold", "fees", "net")
    )
    assert row["realized_bps"] == pytest.approx(197.3140, abs=1e-4)
    assert Decimal("600") == fill_value(Decimal("60000"), Decimal("0.01"))


def test_dust_joins_the_next_position_with_its_cost() -> None:
    twins = Twins(PAIRS[0])
    twins.trade(1, 600_000, 1_000_000, 0)
    twins.trade(-1, 600_000, 996_000, 0)  # 0.00004 BTC are left, the minimum is 0.00005
    position = twins.desk.position()
    assert (0, 4_000, 240_000_000) == (position["qty"], position["dust"], position["dust_cost"])
    assert 1 == len(twins.desk.rows("realized"))
    twins.trade(1, 600_000, 1_000_000, 0)
    assert (1_004_000, 0) == (position["qty"], position["dust"])
    assert 60_240_000_000 == position["cost"]


def test_the_memory_of_executions_outlasts_a_reconnect_snapshot() -> None:
    """The venue sends the last 50 again (RELIABILITY 0.5)."""
    assert N_EXECUTIONS > 50
