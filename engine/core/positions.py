"""What do we hold, what did it cost, what did it earn? Positions, cash and realised profit.

A fill moves order, position, cash and realised profit in one step, in integers. Long or flat only.
The average cost is kept as the exact total cost of the open lots (fees included); a sale relieves
its proportional part, floored, and the last sale relieves exactly what is left, so that

    cash = cash at the start - cost of what is held + realised profit

holds to the last unit at every event. Left out: when to sell (exits.py), whether an order's life
allows the fill (orders.py), other accounts' coins.
"""

from __future__ import annotations

from typing import Final

from engine.core.faults import FAULT_MONEY
from engine.core.learned import learn_slippage
from engine.core.records import T_FILLS, T_POSITIONS, T_REALIZED
from engine.core.rows import claim_row
from engine.core.throttle import throttle_loss
from engine.jit import kernel
from engine.numerics import canonical, floor_int, ratio
from engine.units import PRODUCT_MAX, notional_fits, notional_money

POSITION_NONE: Final = 0
POSITION_OPENING: Final = 1  # an entry has filled in part and still works
POSITION_OPEN: Final = 2
POSITION_REDUCING: Final = 3  # sold in part
POSITION_CLOSING: Final = 4  # an exit order works
POSITION_CLOSED: Final = 5  # flat again (dust aside); the record waits for its next life

POSITION_NAMES: Final[dict[int, str]] = {
    POSITION_NONE: "none",
    POSITION_OPENING: "opening",
    POSITION_OPEN: "open",
    POSITION_REDUCING: "reducing",
    POSITION_CLOSING: "closing",
    POSITION_CLOSED: "closed",
}

# Of EXIT_* of exits.py:
EXIT_DUST: Final = 109  # what was left is too small to be sold
EXIT_GHOST: Final = 110  # the venue does not have the coins (reconcile.py)

# Nested in each symbol as symbols[i]["position"].
POSITION_FIELDS: Final = (
    ("state", "<i8"),  # POSITION_*
    ("guarded", "<i8"),  # 1: inventory or a working sell, guard_position wants every event
    ("qty", "<i8"),  # lots held as a position, >= 0
    ("cost", "<i8"),  # money: what the open lots cost, fees included
    ("dust", "<i8"),  # lots below the minimum order, left by earlier positions
    ("dust_cost", "<i8"),  # money
    ("mark", "<i8"),  # ticks: last bid seen, the conservative mark
    ("route", "<i8"),  # route that opened it
    ("generation", "<i8"),
    ("opened_ts", "<i8"),
    ("n_trips", "<i8"),  # positions opened in this symbol so far
    # of this trip, from the first buy until flat
    ("qty_bought", "<i8"),  # lots
    ("qty_sold", "<i8"),
    ("bought", "<i8"),  # money, fees excluded
    ("sold", "<i8"),
    ("fees", "<i8"),
    ("realized", "<i8"),  # sales - fees - cost relieved
    ("expected_bps", "<f8"),
    # policy, fixed at the first fill and only tightened afterwards
    ("horizon_ns", "<i8"),
    ("invalidation_bps", "<f8"),
    ("entry_price", "<f8"),  # ticks, average of the buys
    ("stop", "<i8"),  # ticks: trigger wanted now, ratchets up only; 0 not set yet
    ("stop_reason", "<i8"),  # EXIT_* that a fill of the stop would mean
    ("target", "<i8"),  # ticks, 0 none
    ("target_hit", "<i8"),  # 1: the target traded
    ("peak", "<i8"),  # ticks: best bid since entry
    ("peak_ts", "<i8"),  # since when
    ("stop_first", "<i8"),  # ticks: where the stop began
    ("target_lots", "<i8"),  # lots bought when the target was worked out last
    ("target_regime", "<i8"),  # REGIME_* then
    # urgency.py
    ("urgency", "<i8"),  # URGENCY_* of exits.py
    ("path", "<i8"),  # PATH_*
    ("path_ts", "<i8"),  # since when
    ("style", "<i8"),  # STYLE_* that was confirmed
    ("trail_factor", "<f8"),  # as last written down
    # swap.py
    ("swap", "<i8"),  # SWAP_*: 0 none
    ("swap_reason", "<i8"),  # EXIT_* that a fill of the limit means
    ("swap_bid", "<i8"),  # ticks: the bid when it began
    ("n_swaps", "<i8"),  # of this trip
    # trailing.py: a stop that follows at the venue
    ("trail_gap", "<i8"),  # ticks: distance that it should have, only made smaller; 0 none yet
    ("trail_armed", "<i8"),  # 1: the trail began and took its distance
    ("trail_off", "<i8"),  # 1: the venue refused one: plain stops for the rest of this trip
    ("trail_refused", "<i8"),  # other distances refused since one was accepted
    ("time_exit_ts", "<i8"),
    # coverage
    ("coverage", "<i8"),  # COVER_* of protection.py
    ("covered", "<i8"),  # lots under a resting stop
    ("uncovered_ts", "<i8"),  # since when uncovered, 0 covered
    ("unprotected_ns", "<i8"),  # time uncovered before that, this trip
    ("stop_slot", "<i8"),  # slot + 1 of the resting sell, 0 none
    ("exit_slot", "<i8"),  # slot + 1 of the exit order, 0 none
    ("entry_slot", "<i8"),  # slot + 1 of the working entry, 0 none
    ("lapsed_slot", "<i8"),  # slot + 1 of an entry whose window just ended, 0 none
    ("exit_reason", "<i8"),  # EXIT_* once leaving was decided, 0 hold
    ("exit_role", "<i8"),  # ROLE_EXIT, or ROLE_FLATTEN when an operator asked for it
    ("n_refused", "<i8"),  # stops refused in a row
    ("n_exit_tries", "<i8"),
    ("retry_ts", "<i8"),  # nothing is tried again before this
    ("trail_ts", "<i8"),  # newest trailing amend
    ("trail_used", "<f8"),  # trailing amends that count against `exits.trail_amends_hour`
    ("trail_used_ts", "<i8"),  # as of when; of the symbol, not of the trip
    ("safety", "<i8"),  # reason code that blocks entries of this symbol, 0 none
    ("safety_ts", "<i8"),  # since when
    # reconcile.py: what the venue says is there
    ("venue_qty", "<i8"),  # lots of the base, all that the account holds
    ("venue_told", "<i8"),  # 1: told since the account was lost
    ("foreign", "<i8"),  # lots that are not ours
    ("difference", "<i8"),  # venue_qty - our lots - foreign
    ("differs_ts", "<i8"),  # since when it is not 0
    ("changed_ts", "<i8"),  # since when it is what it is
    ("short", "<i8"),  # lots of ours that the venue does not have: never offered for sale
    # inventory.py
    ("quality", "<i8"),  # QUALITY_*
    ("evidence", "<i8"),  # EVIDENCE_*: what it rests on
    ("held", "<i8"),  # lots that our working sells may still sell, as last written down
    ("told_own", "<i8"),  # ours, foreign, missing: as last written down
    ("told_foreign", "<i8"),
    ("told_short", "<i8"),
    # routestate.py: HOLD, TIGHTEN, TAKE or LEAVE by the route that opened it
    ("advice", "<i8"),
    # operator.py
    ("leave", "<i8"),  # 1: an operator wants out; entries are withdrawn, what they bring is sold
    ("lease_until", "<i8"),  # ns until which somebody else drives the exits of this symbol
    # net edge now of the route behind the working entry; pipeline.py writes, planner.py reads
    ("edge_now_bps", "<f8"),
    ("edge_now_ts", "<i8"),  # 0 unknown
    ("edge_take_bps", "<f8"),  # of the same family and horizon, if it took now; NaN refused
    ("lapsed_take_bps", "<f8"),  # edge_take_bps when the window ended, NaN unknown
    ("lapsed_bps", "<f8"),  # that edge when the window of `lapsed_slot` ended, NaN unknown
    # the venue's transaction counter of this pair (safety.py)
    ("rate_points", "<f8"),
    ("rate_ts", "<i8"),
)


@kernel
def sellable(position):
    """Lots of the position that may be offered for sale: never what the venue does not have."""
    qty = position["qty"]
    if position["short"] == 0:
        return qty
    return max(min(qty, qty + position["dust"] - position["short"]), 0)


@kernel
def share_of(total, part, whole):
    """floor(total x part / whole) without leaving 64 bits: the cost that a sale relieves.

    total : int64, money, >= 0; part, whole : int64, lots, 0 <= part <= whole, 0 < whole < 2**60
    """
    rest = total % whole
    quotient = 0
    remainder = 0
    # rest x part may not fit, so it is multiplied and divided bit by bit, highest first.
    for i in range(60, -1, -1):
        quotient *= 2
        remainder *= 2
        if (part >> i) & 1:
            remainder += rest
        while remainder >= whole:
            remainder -= whole
            quotient += 1
    return (total // whole) * part + quotient


@kernel
def position_row(desk, i):
    """Append the present position of symbol `i` to the table `positions`."""
    glob = desk.glob
    ring = desk.rings["positions"]
    n = claim_row(glob, T_POSITIONS, len(ring))
    if n < 0:
        return
    row = ring[n]
    position = desk.symbols[i]["position"]
    unprotected_ns = position["unprotected_ns"]
    if position["uncovered_ts"] > 0:
        unprotected_ns += glob["now"] - position["uncovered_ts"]
    row["ts"] = glob["now"]
    row["sym"] = i
    row["state"] = position["state"]
    row["qty"] = position["qty"]
    row["cost"] = position["cost"]
    row["route"] = position["route"]
    row["opened_ts"] = position["opened_ts"]
    row["coverage"] = position["coverage"]
    row["stop"] = position["stop"]
    row["target"] = position["target"]
    row["covered"] = position["covered"]
    row["unprotected_ns"] = unprotected_ns
    row["realized"] = position["realized"]


@kernel
def set_position_state(desk, i, state):
    """Move the position to POSITION_* `state`; a row if that changes it."""
    position = desk.symbols[i]["position"]
    if position["state"] != state:
        position["state"] = state
        position_row(desk, i)


@kernel
def open_trip(position, order, now):
    """First buy after flat: a fresh life of the record, its mandate taken from the entry order.

    Dust of earlier positions joins, with its cost; the transaction counter, the safety verdict
    and the working orders are the symbol's and stay.
    """
    position["state"] = POSITION_OPENING
    position["qty"] = position["dust"]
    position["cost"] = position["dust_cost"]
    position["dust"] = 0
    position["dust_cost"] = 0
    position["route"] = order["route"]
    position["generation"] = order["generation"]
    position["opened_ts"] = now
    position["n_trips"] += 1
    position["qty_bought"] = 0
    position["qty_sold"] = 0
    position["bought"] = 0
    position["sold"] = 0
    position["fees"] = 0
    position["realized"] = 0
    position["expected_bps"] = order["expected_bps"]
    position["horizon_ns"] = order["horizon_ns"]
    position["invalidation_bps"] = order["invalidation_bps"]
    position["entry_price"] = 0.0
    position["stop"] = 0
    position["stop_reason"] = 0
    position["target"] = 0
    position["target_hit"] = 0
    position["peak"] = 0
    position["peak_ts"] = now
    position["stop_first"] = 0
    position["target_lots"] = 0
    position["target_regime"] = 0
    position["urgency"] = 0
    position["path"] = 0
    position["path_ts"] = now
    position["style"] = 0
    position["trail_factor"] = 1.0
    position["swap"] = 0
    position["swap_reason"] = 0
    position["swap_bid"] = 0
    position["n_swaps"] = 0
    position["trail_gap"] = 0
    position["trail_armed"] = 0
    position["trail_off"] = 0
    position["trail_refused"] = 0
    position["time_exit_ts"] = 0
    position["coverage"] = 0
    position["covered"] = 0
    position["uncovered_ts"] = 0
    position["unprotected_ns"] = 0
    position["exit_reason"] = 0
    position["exit_role"] = 0
    position["n_refused"] = 0
    position["n_exit_tries"] = 0
    position["retry_ts"] = 0
    position["trail_ts"] = 0


@kernel
def close_trip(desk, i):
    """Flat again: write the realised row, remember a loss for the throttle, end the clocks."""
    glob = desk.glob
    position = desk.symbols[i]["position"]
    now = glob["now"]
    if position["uncovered_ts"] > 0:
        position["unprotected_ns"] += now - position["uncovered_ts"]
        position["uncovered_ts"] = 0
    position["state"] = POSITION_CLOSED
    position["coverage"] = 0
    position["covered"] = 0
    net = position["sold"] - position["bought"] - position["fees"]
    if net < 0:
        k = glob["n_losses"] % len(glob["loss_ts"])
        glob["loss_ts"][k] = now
        glob["loss_money"][k] = -net
        glob["n_losses"] += 1
        throttle_loss(glob["throttle"], now, -net)
    ring = desk.rings["realized"]
    n = claim_row(glob, T_REALIZED, len(ring))
    if n < 0:
        return
    row = ring[n]
    row["ts"] = now
    row["sym"] = i
    row["route"] = position["route"]
    row["opened_ts"] = position["opened_ts"]
    row["hold_ns"] = now - position["opened_ts"]
    row["qty"] = position["qty_bought"]
    row["bought"] = position["bought"]
    row["sold"] = position["sold"]
    row["fees"] = position["fees"]
    row["net"] = net
    row["exit_reason"] = position["exit_reason"]
    row["expected_bps"] = canonical(position["expected_bps"])
    row["realized_bps"] = canonical(ratio(net, position["bought"]) * 10_000.0)


@kernel
def sweep_dust(desk, i):
    """Move a remainder too small to sell from the position to dust and close the trip.

    The lots stay ours, at their cost, and join the next position of this symbol.
    """
    position = desk.symbols[i]["position"]
    if position["exit_reason"] == 0:
        position["exit_reason"] = EXIT_DUST
    position["dust"] += position["qty"]
    position["dust_cost"] += position["cost"]
    position["qty"] = 0
    position["cost"] = 0
    close_trip(desk, i)
    position_row(desk, i)


@kernel
def value_at(instrument, price, qty):
    """Notional in money. Where the product does not fit 64 bits, a float64 estimate of it, floored:
    a mark needs no exact digit there, and a fill that large is refused by apply_fill."""
    num = instrument["notional_num"]
    den = instrument["notional_den"]
    if notional_fits(price, qty, num):
        return notional_money(price, qty, num, den)
    estimate = float(price) * float(qty) * float(num) / float(den)
    return floor_int(min(estimate, float(PRODUCT_MAX)))


@kernel
def is_dust(symbol):
    """Is what the position holds too small for any order (quantity, or value at the mark)?"""
    position = symbol["position"]
    instrument = symbol["instrument"]
    qty = position["qty"]
    if qty <= 0:
        return False
    if qty < instrument["qty_min"]:
        return True
    mark = position["mark"]
    if mark <= 0:
        return False
    return value_at(instrument, mark, qty) < instrument["cost_min"]


@kernel
def book_buy(position, price, qty, notional, fee):
    """Lots bought: the position and its cost grow, the average entry price moves."""
    before = float(position["qty_bought"])
    bought = before + float(qty)
    position["entry_price"] = (
        position["entry_price"] * before + float(price) * float(qty)
    ) / bought
    position["qty"] += qty
    position["qty_bought"] += qty
    position["cost"] += notional + fee
    position["bought"] += notional
    position["fees"] += fee


@kernel
def book_sell(position, qty, notional, fee):
    """Lots sold: relieve their share of the cost. Returns (realised money, lots we never had).

    More lots than the position holds are taken from dust; beyond that the venue sold what is not
    ours and the second value says how many.
    """
    held = position["qty"]
    taken = qty if qty < held else held
    relief = 0
    if taken == held:
        relief = position["cost"]
    else:
        relief = share_of(position["cost"], taken, held)
    position["qty"] = held - taken
    position["cost"] -= relief
    extra = qty - taken
    if extra > 0:
        dust = position["dust"]
        swept = extra if extra < dust else dust
        if swept > 0:
            part = share_of(position["dust_cost"], swept, dust)
            position["dust"] = dust - swept
            position["dust_cost"] -= part
            relief += part
        extra -= swept
    realized = notional - fee - relief
    position["qty_sold"] += qty
    position["sold"] += notional
    position["fees"] += fee
    position["realized"] += realized
    return realized, extra


@kernel
def fill_row(desk, order, price, qty, notional, fee, maker, execution, ts_venue, realized):
    """Append one row to the table `fills`; the position is already what it is after the fill."""
    glob = desk.glob
    ring = desk.rings["fills"]
    n = claim_row(glob, T_FILLS, len(ring))
    if n < 0:
        return
    row = ring[n]
    symbol = desk.symbols[order["sym"]]
    row["ts"] = glob["now"]
    row["ts_venue"] = ts_venue
    row["order"] = order["id"]
    row["exec"] = execution
    row["sym"] = order["sym"]
    row["generation"] = order["generation"]
    row["route"] = order["route"]
    row["role"] = order["role"]
    row["side"] = order["side"]
    row["price"] = price
    row["qty"] = qty
    row["notional"] = notional
    row["fee"] = fee
    row["maker"] = maker
    mid_half_ticks = 0
    if symbol["bid"] > 0 and symbol["ask"] > 0:
        mid_half_ticks = symbol["bid"] + symbol["ask"]
    row["mid_half_ticks"] = mid_half_ticks
    row["position"] = symbol["position"]["qty"]
    row["realized"] = realized


@kernel
def apply_fill(desk, slot, price, qty, fee, maker, execution, ts_venue):
    """Book one fill of the order in `slot`: position, cash, realised profit, and their rows.

    The caller has checked that this execution id is new and counts the order's own filled lots.
    price : int64, ticks; qty : int64, lots; fee : int64, money, + paid
    maker : int64, 1 maker, 0 taker; execution : int64; ts_venue : int64, ns
    Faults: FAULT_MONEY when the value does not fit or the venue sold lots that we do not have.
    """
    glob = desk.glob
    order = desk.orders[slot]
    i = order["sym"]
    symbol = desk.symbols[i]
    position = symbol["position"]
    instrument = symbol["instrument"]
    if not notional_fits(price, qty, instrument["notional_num"]):
        glob["fault"] = FAULT_MONEY
        return
    notional = notional_money(price, qty, instrument["notional_num"], instrument["notional_den"])
    if maker == 0 and order["walk_price"] > 0.0:
        share = float(qty) / float(order["qty"])
        learn_slippage(symbol["learned"], order["side"], price, order["walk_price"], share)
    realized = 0
    if order["side"] > 0:
        if position["qty"] == 0:
            open_trip(position, order, glob["now"])
        book_buy(position, price, qty, notional, fee)
        glob["cash"] -= notional + fee
    else:
        realized, missing = book_sell(position, qty, notional, fee)
        glob["cash"] += notional - fee
        if missing > 0:
            glob["fault"] = FAULT_MONEY
        if position["exit_reason"] == 0 and order["post_only"] == 0:
            # The resting stop fired: what it stands for now (stop, trail, target) is the reason.
            position["exit_reason"] = position["stop_reason"]
        elif position["exit_reason"] == 0 and position["qty"] == 0:
            # The limit of a swap sold all of it. A part of it decides nothing about the rest.
            position["exit_reason"] = position["swap_reason"]
        if position["qty"] > 0 and position["state"] != POSITION_CLOSING:
            position["state"] = POSITION_REDUCING
    position["guarded"] = 1
    glob["realized"] += realized
    glob["fees"] += fee
    glob["volume"] += notional
    fill_row(desk, order, price, qty, notional, fee, maker, execution, ts_venue, realized)
    if position["qty"] == 0 and position["opened_ts"] > 0 and position["state"] != POSITION_CLOSED:
        close_trip(desk, i)
    position_row(desk, i)
