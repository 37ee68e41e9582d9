"""Are our orders and coins what the venue says they are? Doubt, evidence, and what is made of it.

Orders: a lost private stream puts every order that has not ended in doubt (SUSPECT); rows that the
shell reads back settle them, one by one (orders.py). Pending ends once everything was read, no order is
in doubt and no balance has just changed.

Balances: of what the venue holds, our part is what our fills say, the rest is foreign: there before us
or come by other hands. A difference counts only once it has stood still for `reconcile.settle_ns`,
since fills and balances are told apart. Then more coins are foreign, fewer are taken from the foreign
part, and what is missing beyond that is ours: it is never offered for sale (`short`), and where no
order of the symbol works and nothing could be sold of the rest, it is written off: its cost becomes a
realised loss, so that cash, cost and profit still add up. Money that came for it is foreign cash.
Cash that differs by more than rounding blocks all entries until it agrees or an operator accepts it.

Two pairs with the same base see the same coins; one session trades one of them.
"""

from __future__ import annotations

import numpy as np

from engine.core.capital import equity_row, refresh_capital
from engine.core.desk import desk_of
from engine.core.inventory import note_inventory
from engine.core.modes import take_mode
from engine.core.orders import find_order, is_working, set_order_state
from engine.core.orderstates import ORDER_STATE_REJECTED, ORDER_STATE_SUSPECT
from engine.core.positions import (
    EXIT_GHOST,
    POSITION_CLOSED,
    POSITION_NONE,
    book_sell,
    close_trip,
    position_row,
    sellable,
    value_at,
)
from engine.core.records import T_BALANCES
from engine.core.recoveries import (
    RECOVERY_ABSENT,
    RECOVERY_ADOPTED,
    RECOVERY_CASH,
    RECOVERY_CASH_ACCEPTED,
    RECOVERY_DIFFERS,
    RECOVERY_FOREIGN,
    RECOVERY_NOT_ABSENT,
    RECOVERY_NOT_SYNCED,
    RECOVERY_OPEN_DOUBT,
    RECOVERY_RECONCILED,
    RECOVERY_SHORT,
    RECOVERY_SUSPECT,
    RECOVERY_SYNCED,
    RECOVERY_WRITTEN_OFF,
    recovery_row,
)
from engine.core.rows import claim_row
from engine.events import (
    HEALTH,
    MODE_NORMAL,
    REJECT_ABSENT,
    WHO_ENGINE,
    WHY_RECONCILED,
    WHY_START,
)
from engine.jit import kernel
from engine.stage import stage

# --- orders --------------------------------------------------------------------------------------


@kernel
def begin_reconcile(glob):
    """Pending from now on: what was read before no longer counts."""
    if glob["reconcile"] == 0:
        glob["reconcile_ts"] = glob["now"]
    glob["reconcile"] = 1
    glob["reconcile_read"] = 0


@kernel
def lose_account(desk, code):
    """Reports may be missing from now on: every order that has not ended is in doubt.

    code : RECOVERY_LOST or RECOVERY_STARTED
    """
    glob = desk.glob
    begin_reconcile(glob)
    glob["account_synced"] = 0
    glob["venue_cash_told"] = 0
    for i in range(len(desk.symbols)):
        desk.symbols[i]["position"]["venue_told"] = 0
    n = 0
    for slot in range(len(desk.orders)):
        order = desk.orders[slot]
        if is_working(order):
            n += 1
            if order["state"] != ORDER_STATE_SUSPECT:
                set_order_state(desk, slot, ORDER_STATE_SUSPECT, HEALTH, order["reason"])
    recovery_row(desk, -1, code, 0, n, 0, 0, 0)
    for i in range(len(desk.symbols)):
        note_inventory(desk, i)


@kernel
def doubt_order(desk, order_id, cause):
    """The shell doubts one order. Returns its symbol, -1 if it is none of ours.

    One that has ended moves no more, but our books may lack a fill of it: a reconcile is due.
    """
    slot = find_order(desk.orders, order_id)
    if slot < 0:
        return -1
    order = desk.orders[slot]
    before = order["state"]
    if not is_working(order):
        begin_reconcile(desk.glob)
    elif before != ORDER_STATE_SUSPECT:
        set_order_state(desk, slot, ORDER_STATE_SUSPECT, HEALTH, order["reason"])
    recovery_row(desk, order["sym"], RECOVERY_SUSPECT, order_id, cause, 0, before, order["state"])
    return order["sym"]


@kernel
def end_absent(desk, order_id):
    """The venue never had this order: one in doubt without fills has ended. Returns its symbol, -1."""
    slot = find_order(desk.orders, order_id)
    if slot < 0:
        return -1
    order = desk.orders[slot]
    before = order["state"]
    code = RECOVERY_NOT_ABSENT
    if before == ORDER_STATE_SUSPECT and order["filled"] == 0 and order["fill_qty"] == 0:
        code = RECOVERY_ABSENT
        order["reason"] = REJECT_ABSENT
        set_order_state(desk, slot, ORDER_STATE_REJECTED, HEALTH, REJECT_ABSENT)
        refresh_capital(desk)
    recovery_row(desk, order["sym"], code, order_id, order["filled"], 0, before, order["state"])
    return order["sym"]


@kernel
def any_doubt(desk):
    """Is any order in doubt?"""
    for k in range(len(desk.orders)):
        if desk.orders[k]["state"] == ORDER_STATE_SUSPECT:
            return True
    return False


# --- balances ------------------------------------------------------------------------------------


@kernel
def stood(glob, params, since):
    """Has what began at `since` stood for `reconcile.settle_ns`, and has the stream told of so much?

    Where we stood still ourselves, the balance that explains a fill may wait to be read: what counts
    is the newest private frame, where the shell tells it.
    """
    settle = params["reconcile_settle_ns"]
    heard = glob["account_ts"]
    return glob["now"] - since >= settle and (heard == 0 or heard - since >= settle)


@kernel
def balance_row(desk, i, told, own, foreign, difference):
    """Append one row to the table `balances`."""
    ring = desk.rings["balances"]
    n = claim_row(desk.glob, T_BALANCES, len(ring))
    if n < 0:
        return
    row = ring[n]
    row["ts"] = desk.glob["now"]
    row["sym"] = i
    row["told"] = told
    row["own"] = own
    row["foreign_part"] = foreign
    row["difference"] = difference


@kernel
def may_write_off(desk, i, lots):
    """May `lots` missing coins leave the books without a person?

    Not while an order of the symbol works (its fill may be what is missing), not while something
    could still be sold, not above `reconcile.correction_max`.
    """
    symbol = desk.symbols[i]
    position = symbol["position"]
    for k in range(len(desk.orders)):
        order = desk.orders[k]
        if order["sym"] == i and order["id"] > 0:
            if is_working(order) or order["fill_qty"] > 0:
                return False
    rest = sellable(position)
    instrument = symbol["instrument"]
    if rest >= max(instrument["qty_min"], 1):
        if value_at(instrument, position["mark"], rest) >= instrument["cost_min"]:
            return False
    own = position["qty"] + position["dust"]
    cost = position["cost"] + position["dust_cost"]
    share = float(cost) * (float(lots) / float(max(own, 1)))
    return share <= float(desk.params["reconcile_correction_max"])


@kernel
def write_off(desk, i, lots):
    """Take `lots` that the venue does not have out of the books: sold for nothing, a realised loss."""
    glob = desk.glob
    position = desk.symbols[i]["position"]
    own = position["qty"] + position["dust"]
    held = position["qty"] > 0
    realized, _ = book_sell(position, lots, 0, 0)
    glob["realized"] += realized
    position["short"] = 0
    position["difference"] = 0
    position["differs_ts"] = 0
    recovery_row(desk, i, RECOVERY_WRITTEN_OFF, 0, lots, own, 0, 0)
    alive = position["state"] != POSITION_CLOSED and position["state"] != POSITION_NONE
    if held and position["qty"] == 0 and alive:
        position["exit_reason"] = EXIT_GHOST
        close_trip(desk, i)
    position_row(desk, i)
    refresh_capital(desk)
    equity_row(desk)


@stage
def watch_coins(desk, i):
    """Hold the coins of symbol `i` against our books, and believe a difference that stood still."""
    glob = desk.glob
    position = desk.symbols[i]["position"]
    if glob["account_synced"] == 0 or glob["adopted"] == 0 or position["venue_told"] == 0:
        return
    now = glob["now"]
    own = position["qty"] + position["dust"]
    venue = position["venue_qty"]
    difference = venue - own - position["foreign"]
    if difference == 0:
        position["difference"] = 0
        position["differs_ts"] = 0
        position["short"] = 0
        return
    if position["differs_ts"] == 0:
        position["differs_ts"] = now
    if position["differs_ts"] == now or difference != position["difference"]:
        position["changed_ts"] = now
    position["difference"] = difference
    if not stood(glob, desk.params, position["changed_ts"]):
        return
    foreign = max(venue - own, 0)
    if foreign != position["foreign"]:
        recovery_row(desk, i, RECOVERY_FOREIGN, 0, foreign, position["foreign"], 0, 0)
        position["foreign"] = foreign
    short = max(own - venue, 0)
    if short != position["short"]:
        if short > 0:
            recovery_row(desk, i, RECOVERY_SHORT, 0, venue, own, 0, 0)
        position["short"] = short
    position["difference"] = -short
    if short == 0:
        position["differs_ts"] = 0
    elif may_write_off(desk, i, short):
        write_off(desk, i, short)


@kernel
def watch_cash(desk):
    """Hold the quote currency against our books; what outlives the time to settle stops entries."""
    glob = desk.glob
    if glob["account_synced"] == 0 or glob["adopted"] == 0 or glob["venue_cash_told"] == 0:
        return
    now = glob["now"]
    difference = glob["venue_cash"] - glob["cash"] - glob["foreign_cash"]
    if abs(difference) <= desk.params["reconcile_cash_slack"]:
        glob["cash_difference"] = 0
        glob["cash_differs_ts"] = 0
        glob["cash_differs"] = 0
        return
    if glob["cash_differs_ts"] == 0:
        glob["cash_differs_ts"] = now
    if glob["cash_differs_ts"] == now or difference != glob["cash_difference"]:
        glob["cash_changed_ts"] = now
    glob["cash_difference"] = difference
    if stood(glob, desk.params, glob["cash_differs_ts"]):
        if glob["cash_differs"] == 0:
            expected = glob["cash"] + glob["foreign_cash"]
            recovery_row(desk, -1, RECOVERY_CASH, 0, glob["venue_cash"], expected, 0, 0)
        glob["cash_differs"] = 1


@stage
def take_balance(core, event):
    """The venue tells a balance: of the quote currency (sym -1), or of a pair's base in lots."""
    desk = desk_of(core)
    glob = desk.glob
    i = np.int64(event["sym"])
    qty = event["qty"]
    if i < 0:
        if event["id"] != 0:
            return
        glob["venue_cash"] = qty
        glob["venue_cash_told"] = 1
        foreign = glob["foreign_cash"]
        balance_row(desk, -1, qty, glob["cash"], foreign, qty - glob["cash"] - foreign)
        watch_cash(desk)
    elif i < len(desk.symbols):
        position = desk.symbols[i]["position"]
        position["venue_qty"] = qty
        position["venue_told"] = 1
        own = position["qty"] + position["dust"]
        balance_row(desk, i, qty, own, position["foreign"], qty - own - position["foreign"])
        watch_coins(desk, i)


@kernel
def sync_account(desk):
    """The private stream is whole: what its snapshot of balances did not name is nothing."""
    glob = desk.glob
    glob["account_synced"] = 1
    recovery_row(desk, -1, RECOVERY_SYNCED, 0, 0, 0, 0, 0)
    if glob["venue_cash_told"] == 0:
        glob["venue_cash"] = 0
        glob["venue_cash_told"] = 1
    for i in range(len(desk.symbols)):
        position = desk.symbols[i]["position"]
        if position["venue_told"] == 0:
            position["venue_qty"] = 0
            position["venue_told"] = 1


@kernel
def adopt(desk):
    """The first reconcile: what the account holds beyond our books was there before us.

    Less than our books is no foreign part; it is a difference like any other.
    """
    glob = desk.glob
    glob["adopted"] = 1
    more = glob["venue_cash"] - glob["cash"]
    if more >= -desk.params["reconcile_cash_slack"]:
        glob["foreign_cash"] = more
        if more != 0:
            recovery_row(desk, -1, RECOVERY_ADOPTED, 0, glob["venue_cash"], glob["cash"], 0, 0)
    for i in range(len(desk.symbols)):
        position = desk.symbols[i]["position"]
        own = position["qty"] + position["dust"]
        foreign = position["venue_qty"] - own
        if foreign > 0:
            position["foreign"] = foreign
            recovery_row(desk, i, RECOVERY_ADOPTED, 0, position["venue_qty"], own, 0, 0)


# --- when it is over -----------------------------------------------------------------------------


@kernel
def still_moving(desk):
    """Is there a difference that has not stood still long enough to be believed?"""
    glob = desk.glob
    if glob["cash_differs_ts"] > 0 and not stood(glob, desk.params, glob["cash_changed_ts"]):
        return True
    for i in range(len(desk.symbols)):
        position = desk.symbols[i]["position"]
        if position["differs_ts"] > 0 and not stood(glob, desk.params, position["changed_ts"]):
            return True
    return False


@kernel
def count_differences(desk):
    """Balances that differ from our books: symbols, and the cash."""
    n = 0
    if desk.glob["cash_differs_ts"] > 0:
        n += 1
    for i in range(len(desk.symbols)):
        if desk.symbols[i]["position"]["differs_ts"] > 0:
            n += 1
    return n


@kernel
def restart_clocks(desk):
    """From here on an uncovered position is one that we could have covered: its clock begins anew."""
    now = desk.glob["now"]
    for i in range(len(desk.symbols)):
        position = desk.symbols[i]["position"]
        if position["uncovered_ts"] > 0:
            position["unprotected_ns"] += now - position["uncovered_ts"]
            position["uncovered_ts"] = now


@kernel
def settle_pending(desk):
    """End what is pending where everything was read, nothing is in doubt and nothing still moves."""
    glob = desk.glob
    if glob["reconcile_read"] == 0 or glob["account_synced"] == 0 or any_doubt(desk):
        return
    if glob["adopted"] == 0:
        adopt(desk)
    watch_cash(desk)
    for i in range(len(desk.symbols)):
        watch_coins(desk, i)
    if still_moving(desk):
        return
    n = count_differences(desk)
    ended = glob["reconcile"] != 0
    if ended:
        glob["reconcile"] = 0
        glob["switch_fired"] = 0
        restart_clocks(desk)
        recovery_row(desk, -1, RECOVERY_RECONCILED, 0, n, 0, 0, 0)
    if n == 0 and (ended or glob["mode_why"] == WHY_START):
        take_mode(desk, MODE_NORMAL, WHO_ENGINE, WHY_RECONCILED)


@kernel
def name_differences(desk):
    """Rows that say why a reconcile is not clean."""
    glob = desk.glob
    if glob["account_synced"] == 0:
        recovery_row(desk, -1, RECOVERY_NOT_SYNCED, 0, 0, 0, 0, 0)
    for k in range(len(desk.orders)):
        order = desk.orders[k]
        state = order["state"]
        if state == ORDER_STATE_SUSPECT:
            recovery_row(
                desk, order["sym"], RECOVERY_OPEN_DOUBT, order["id"], order["filled"],
                order["qty"], state, state,
            )  # fmt: skip
    if glob["cash_differs_ts"] > 0:
        expected = glob["cash"] + glob["foreign_cash"]
        recovery_row(desk, -1, RECOVERY_DIFFERS, 0, glob["venue_cash"], expected, 0, 0)
    for i in range(len(desk.symbols)):
        position = desk.symbols[i]["position"]
        if position["differs_ts"] > 0:
            expected = position["qty"] + position["dust"] + position["foreign"]
            recovery_row(desk, i, RECOVERY_DIFFERS, 0, position["venue_qty"], expected, 0, 0)


@kernel
def finish_reconcile(desk):
    """Orders, trades and balances were read: end what is pending, or say what differs."""
    glob = desk.glob
    glob["reconcile_read"] = 1
    settle_pending(desk)
    if glob["reconcile"] != 0 or count_differences(desk) > 0:
        name_differences(desk)
    elif glob["venue_cash_told"] != 0 and glob["adopted"] != 0:
        # A common point: what rounding added up to is no longer carried along.
        glob["foreign_cash"] = glob["venue_cash"] - glob["cash"]


@stage
def settle_account(core):
    """Once per evaluation: time alone can make a difference believable, or end what is pending."""
    desk = desk_of(core)
    glob = desk.glob
    if glob["account_synced"] == 0:
        return
    watch_cash(desk)
    for i in range(len(desk.symbols)):
        watch_coins(desk, i)
    if glob["reconcile"] != 0 or glob["mode_why"] == WHY_START:
        settle_pending(desk)
    for i in range(len(desk.symbols)):
        note_inventory(desk, i)


@kernel
def accept_coins(desk, i):
    """A person accepts what the venue holds of symbol `i`: missing coins leave the books now."""
    position = desk.symbols[i]["position"]
    for k in range(len(desk.orders)):
        order = desk.orders[k]
        if order["sym"] == i and order["side"] < 0 and is_working(order):
            return  # what it sells may be what is missing
    if position["short"] > 0:
        write_off(desk, i, position["short"])


@kernel
def accept_cash(desk):
    """A person accepts the venue's cash: more is foreign, less than our own is a realised loss."""
    glob = desk.glob
    if glob["cash_differs_ts"] == 0:
        return
    expected = glob["cash"] + glob["foreign_cash"]
    recovery_row(desk, -1, RECOVERY_CASH_ACCEPTED, 0, glob["venue_cash"], expected, 0, 0)
    foreign = glob["venue_cash"] - glob["cash"]
    if foreign < 0:
        glob["cash"] += foreign
        glob["realized"] += foreign
        foreign = 0
    glob["foreign_cash"] = foreign
    watch_cash(desk)
    refresh_capital(desk)
    equity_row(desk)
