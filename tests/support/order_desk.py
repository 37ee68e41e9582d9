"""A core with quotes set by hand, to which a test sends order events one by one.

Times rise by a millisecond per event unless a test moves them. One pair by default: BTC/USD with a
tick of 0.1, a lot of 1e-8, a minimum of 0.00005 BTC and of 0.5 USD; fees 0.25 % and 0.40 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from engine.commands import ROLE_ENTRY
from engine.core import capital, orders, planner, protection, reconcile, step
from engine.core.desk import Desk
from engine.core.orderstates import ORDER_STATE_OPEN
from engine.core.params import default_params
from engine.core.records import CANDIDATE_ROW, DECISION_ROW, TABLE_NAMES
from engine.core.routes import ENTRY_JOIN, FAMILY_MOMENTUM, N_PLUGINS, route_key
from engine.core.state import Core, make_core
from engine.core.theses import no_family
from engine.events import (
    BALANCE,
    EVENT,
    HEALTH,
    HEALTH_ACCOUNT_LOST,
    HEALTH_ACCOUNT_SYNCED,
    HEALTH_RECONCILED,
    LAST,
    MAKER,
    MODE,
    MODE_EXIT_ONLY,
    OPERATOR,
    ORDER_ACK,
    ORDER_FEE,
    ORDER_FILL,
    ORDER_FILLED,
    SNAPSHOT,
    TAKER,
    WHO_ENGINE,
    WHY_START,
)
from engine.instruments import Instrument, InstrumentTable
from engine.jit import JIT_ENABLED
from engine.units import fee_money, notional_money

S = 1_000_000_000
START = 1_700_000_000 * S
USD = 100_000_000
BTC = Instrument(
    "BTC/USD", Decimal("0.1"), Decimal("0.00000001"), 1, 8, Decimal("0.00005"), Decimal("0.5")
)
BID, ASK = 600_000, 600_002  # ticks: 60,000.0 and 60,000.2
QTY = 1_000_000  # lots: 0.01 BTC, 600 USD


class Quick:
    """A kernel called without asking anew what its arguments are.

    numba works out the type of every argument at every call from Python, which for a core takes
    milliseconds; here a kernel always gets arguments of the types it was first called with.
    """

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.entry: Any = None if JIT_ENABLED else kernel

    def __call__(self, *args: Any) -> Any:
        if self.entry is not None:
            return self.entry(*args)
        result = self.kernel(*args)
        compiled = getattr(self.kernel, "compiled", self.kernel)
        if len(compiled.overloads) == 1:
            self.entry = next(iter(compiled.overloads.values())).entry_point
        return result


apply_order_event = Quick(orders.apply_order_event)
guard_position = Quick(protection.guard_position)
manage_entries = Quick(planner.manage_entries)
plan_entry = Quick(planner.plan_entry)
update_capital = Quick(capital.update_capital)
on_other = Quick(step.on_other)
settle_account = Quick(reconcile.settle_account)


class OrderDesk:
    """A core, its clock, and short words for what happens to it."""

    def __init__(
        self,
        instruments: Sequence[Instrument] = (BTC,),
        cash: int = 10_000 * USD,
        **changed: float,
    ) -> None:
        table = InstrumentTable(instruments)
        params = default_params()
        params[0]["n_fee_tiers"] = 1
        params[0]["fee_maker_e6"][0], params[0]["fee_taker_e6"][0] = 2500, 4000
        for name, value in changed.items():
            assert name in params.dtype.names, name
            params[0][name] = value
        plugins = (no_family,) * N_PLUGINS
        depths = np.zeros(len(table), np.int64)
        self.core: Core = make_core(table.rows(), params, cash, depths, plugins)
        self.glob = self.core.glob[0]
        self.glob["now"] = self.glob["start_ts"] = START
        self.glob["generation"] = 1
        self.n_commands = 0
        self.n_executions = 0
        for i in range(len(table)):
            symbol = self.core.symbols[i]
            symbol["features"][:] = np.nan
            symbol["bid"], symbol["ask"], symbol["verified"] = BID, ASK, 1
            symbol["trade_price"] = ASK
        update_capital(self.core)

    @property
    def desk(self) -> Desk:
        core = self.core
        views = (core.glob[0], core.params[0], core.rings[0])
        return Desk(*views, core.symbols, core.orders, core.commands, core.calls)

    def position(self, sym: int = 0) -> np.void:
        return self.core.symbols[sym]["position"]

    # --- what happens ---------------------------------------------------------------------------

    def wait(self, ns: int) -> None:
        self.glob["now"] += ns

    def quote(self, bid: int, ask: int, sym: int = 0, trade: int | None = None) -> None:
        """A new touch, and a guard as after any event of the symbol."""
        self.wait(S // 1000)
        symbol = self.core.symbols[sym]
        symbol["bid"], symbol["ask"] = bid, ask
        if trade is not None:
            symbol["trade_price"] = trade
        self.guard(sym)

    def guard(self, sym: int = 0) -> None:
        guard_position(self.core, sym)

    def manage(self, sym: int = 0) -> int:
        """What an evaluation does with a resting entry."""
        self.glob["generation"] += 1
        guard_position(self.core, sym)
        return int(manage_entries(self.core, sym))

    def event(
        self,
        kind: int,
        order_id: int,
        price: int = 0,
        qty: int = 0,
        aux: int = 0,
        flags: int = LAST,
        guard: bool = True,
    ) -> None:
        """One order event, and a guard as in step.py."""
        self.wait(S // 1000)
        row = np.zeros(1, EVENT)[0]
        row["ts"] = row["ts_venue"] = self.glob["now"]
        row["kind"], row["id"], row["price"], row["qty"] = kind, order_id, price, qty
        row["aux"], row["flags"] = aux, flags
        slots = np.flatnonzero(self.core.orders["id"] == order_id)
        sym = int(self.core.orders[slots[0]]["sym"]) if len(slots) else 0
        row["sym"] = sym
        apply_order_event(self.core, row)
        if guard:
            self.guard(sym)

    def tell(
        self, kind: int, id: int, aux: int = 0, qty: int = 0, sym: int = -1, flags: int = LAST
    ) -> None:
        """Any event that is no market data and not about one order, through the core's own door."""
        self.wait(S // 1000)
        row = np.zeros(1, EVENT)[0]
        row["ts"], row["kind"], row["sym"] = self.glob["now"], kind, sym
        row["id"], row["aux"], row["qty"], row["flags"] = id, aux, qty, flags
        on_other(self.core, row)

    def fact(self, code: int, aux: int = 0, qty: int = 0, sym: int = -1) -> None:
        """A fact of the shell."""
        self.tell(HEALTH, code, aux, qty, sym)

    def operator(self, code: int, aux: int = 0, sym: int = -1) -> None:
        self.tell(OPERATOR, code, aux, 0, sym)

    def coins(self, lots: int, sym: int = 0, snapshot: bool = False) -> None:
        """The venue tells how many lots of a pair's base the account holds."""
        self.tell(BALANCE, 0, 0, lots, sym, LAST | (SNAPSHOT if snapshot else 0))

    def money(self, amount: int) -> None:
        self.tell(BALANCE, 0, 0, amount)

    def account_breaks(self) -> None:
        self.fact(HEALTH_ACCOUNT_LOST, int(self.glob["now"]))

    def account_returns(self, coins: int | None = None, cash: int | None = None) -> None:
        """The snapshot of balances, as our own books have them unless told otherwise."""
        position = self.position()
        own = int(position["qty"] + position["dust"] + position["foreign"])
        self.coins(own if coins is None else coins, snapshot=True)
        self.money(int(self.glob["cash"] + self.glob["foreign_cash"]) if cash is None else cash)
        self.fact(HEALTH_ACCOUNT_SYNCED)

    def reconciled(self) -> None:
        """The shell has read orders, trades and balances."""
        self.fact(HEALTH_RECONCILED, int(self.glob["now"]))

    def begin_live(self, coins: int | None = None, cash: int | None = None) -> None:
        """A session's start up to its first clean reconcile."""
        self.tell(MODE, WHO_ENGINE, MODE_EXIT_ONLY, WHY_START)
        self.account_returns(coins, cash)
        self.reconciled()

    def settle(self, ns: int) -> None:
        """Time passes, and the evaluation looks at the account."""
        self.wait(ns)
        settle_account(self.core)
        self.guard()

    def ack(self, order_id: int) -> None:
        self.event(ORDER_ACK, order_id, aux=1000 + order_id)

    def fill(self, order_id: int, price: int, qty: int, maker: bool = True) -> int:
        """A fill and its fee as the venue charges it; the fee in money."""
        self.n_executions += 1
        flags = MAKER if maker else TAKER
        row = self.order(order_id)
        rules = self.core.symbols[row["sym"]]["instrument"]
        notional = notional_money(price, qty, rules["notional_num"], rules["notional_den"])
        fee = int(fee_money(notional, 2500 if maker else 4000, False))
        self.event(ORDER_FILL, order_id, price, qty, self.n_executions, flags)
        self.event(ORDER_FEE, order_id, 0, fee, self.n_executions)
        return fee

    def fill_whole(self, order_id: int, price: int, qty: int, maker: bool = True) -> None:
        self.fill(order_id, price, qty, maker)
        self.event(ORDER_FILLED, order_id, qty=int(self.order(order_id)["filled"]))

    def enter(
        self,
        qty: int = QTY,
        entry_mode: int = ENTRY_JOIN,
        sym: int = 0,
        horizon_s: int = 60,
        invalidation_bps: float = 20.0,
        net_bps: float = 5.0,
    ) -> tuple[int, np.void]:
        """Plan an entry in a new generation: (reason code, decision row)."""
        self.wait(S // 1000)
        self.glob["generation"] += 1
        decision = np.zeros(1, DECISION_ROW)[0]
        decision["qty"] = qty
        candidate = np.zeros(1, CANDIDATE_ROW)[0]
        candidate["route"] = route_key(sym, FAMILY_MOMENTUM, 1, entry_mode, 1, 0)
        candidate["entry_mode"], candidate["horizon_s"] = entry_mode, horizon_s
        candidate["net_bps"], candidate["invalidation_bps"] = net_bps, invalidation_bps
        return int(plan_entry(self.core, sym, decision, candidate)), decision

    def hold(self, qty: int = QTY, price: int = BID, sym: int = 0) -> int:
        """Own `qty` lots under an acknowledged stop; the client id of the stop."""
        code, decision = self.enter(qty, sym=sym)
        assert code == 0, code
        entry = int(decision["command"])
        self.ack(entry)
        self.fill_whole(entry, price, qty)
        stop = int(self.sent()[-1]["id"])
        self.ack(stop)
        return stop

    def place(
        self, slot: int, side: int, qty: int, role: int, state: int = ORDER_STATE_OPEN
    ) -> int:
        """Put an order straight into the table, past planner and choke; its client id."""
        self.glob["last_order_id"] += 1
        order = self.core.orders[slot]
        order_id = int(self.glob["last_order_id"])
        for name in self.core.orders.dtype.names:
            order[name] = 0
        order["id"], order["state"], order["side"], order["qty"] = order_id, state, side, qty
        order["role"], order["price"], order["ts_command"] = role, BID, self.glob["now"]
        order["horizon_ns"], order["route"] = 60 * S, 1
        if role == ROLE_ENTRY:
            self.position()["entry_slot"] = slot + 1
        return order_id

    # --- what came of it ------------------------------------------------------------------------

    def sent(self) -> np.ndarray:
        """COMMANDs that left since the last call."""
        n = int(self.glob["n_commands"])
        rows = self.core.commands[self.n_commands : n].copy()
        self.n_commands = n
        return rows

    def rows(self, table: str) -> np.ndarray:
        return self.core.rings[0][table][: self.glob["n_rows"][TABLE_NAMES.index(table)]]

    def order(self, order_id: int) -> np.void:
        slots = np.flatnonzero(self.core.orders["id"] == order_id)
        return self.core.orders[int(slots[0])]

    def drain(self) -> None:
        """What the driver does between steps: take rows and commands away."""
        self.glob["n_rows"][:] = 0
        self.glob["n_commands"] = self.n_commands = 0
