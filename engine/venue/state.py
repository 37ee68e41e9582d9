"""What does the simulated exchange remember? All of its state, as flat numpy records.

`Venue` is a NamedTuple of arrays that the caller owns: a snapshot is a copy, a digest is a hash of
bytes. Customer and counterparty are booked side by side, so that conservation can be checked at
any moment: cash + counter_cash + fees, and base + counter_base per symbol, never change. There is
one quote currency; a base asset belongs to one symbol. Left out: margin, transfers, fees in base.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from engine.book import BOOK
from engine.events import EVENT
from engine.instruments import INSTRUMENT_ROW
from engine.venue.fees import WINDOW_DAYS
from engine.venue.params import VENUE_PARAMS, venue_params

FAR: Final = 1 << 62  # a price no order has; a time that never comes
NEVER: Final = (1 << 62) + ((1 << 62) - 1)

# What venue_* return. Nothing has changed in the venue when it is not VENUE_OK.
VENUE_OK: Final = 0
FAULT_OUT_FULL: Final = 1  # no room for the answers of one more call: drain `out` first
FAULT_SYMBOL: Final = 2  # an event or command about an instrument that the table does not hold
FAULT_VALUE: Final = 3  # a price below 1 tick, a negative quantity or another damaged field
FAULT_L3_FULL: Final = 4  # more level-3 orders than make_venue was told to hold
FAULT_NAMES: Final = {
    FAULT_OUT_FULL: "out_full",
    FAULT_SYMBOL: "symbol",
    FAULT_VALUE: "value",
    FAULT_L3_FULL: "l3_full",
}

# Life of a row of the order table.
FREE: Final = 0
OPEN: Final = 1  # rests in the book
ARMED: Final = 2  # a stop or take-profit that has not fired
WAITING: Final = 3  # fired, but the book cannot be trusted: enters with the next good message
ENTERING: Final = 4  # on its way into the book, only within a call

# Where a symbol's book comes from; a better source replaces a worse one.
SOURCE_NONE: Final = 0
SOURCE_TICKER: Final = 1
SOURCE_L2: Final = 2
SOURCE_L3: Final = 3

ORDERS_PER_SYMBOL: Final = 256
N_ORDERS: Final = 1024  # orders alive at once, all symbols; more are answered with REJECT_FULL
L3_MAX: Final = 1 << 16  # real orders alive at once in level-3 feeds, all symbols
L3_BUCKETS: Final = 1 << 16
ANSWERS: Final = 4096  # first answers remembered, a power of two

# Most rows one call can append: taking may consume every level of a book (two rows each), and
# every order of a symbol may fire, fill (two) and end; or a cancel-all ends every order.
OUT_PER_CALL: Final = 12_288
OUT_ROWS: Final = 16_384

ANSWER: Final = np.dtype(
    [
        ("id", "<i8"),  # client order id, 0: none yet
        ("slot", "<i8"),  # row of the order table while the order lives, else -1
        ("kind", "<i8"),  # ORDER_ACK or ORDER_REJECT
        ("sym", "<i8"),
        ("side", "<i8"),
        ("price", "<i8"),
        ("qty", "<i8"),
        ("aux", "<i8"),
    ]
)

ORDER: Final = np.dtype(
    [
        ("state", "<i8"),  # FREE ..., see above
        ("id", "<i8"),  # client order id
        ("key", "<i8"),  # the venue's own, ascending with arrival
        ("sym", "<i8"),
        ("side", "<i8"),
        ("type", "<i8"),
        ("tif", "<i8"),
        ("post_only", "<i8"),
        ("price", "<i8"),  # ticks, 0 for market
        ("trigger", "<i8"),  # ticks, 0 for none
        ("qty", "<i8"),  # lots, total
        ("filled", "<i8"),  # lots
        ("expire_ts", "<i8"),  # ns, 0 none
        ("changed_ts", "<i8"),  # ns: created or last amended (age for the rate counter)
        ("hold_price", "<i8"),  # ticks at which a buy holds funds
        ("hold", "<i8"),  # money (buy) or lots (sell) held
        # queue
        ("ahead", "<i8"),  # lots of others in front of us at our price
        ("traded", "<i8"),  # of those, lots printed since and not yet seen leaving the book
        ("unpaired", "<i8"),  # trade_first off: lots that left and may belong to a coming print
        ("unpaired_ts", "<i8"),
        ("arrival", "<i8"),  # level 3: the feed's clock when we joined the queue
        ("ahead_real", "<i8"),  # level 3: remaining lots of the real orders in front of us
        ("asked", "<i8"),  # number of the newest print that looked at the order
        ("next_free", "<i8"),
    ]
)

SYMBOL: Final = np.dtype(
    [
        # hot: read for every market event
        ("steady", "<i8"),  # 1: book from levels, usable, no snapshot under way
        ("n_live", "<i8"),  # own orders of any state
        ("low", "<i8", (2,)),  # least and greatest price of own open buys [0] and sells [1]
        ("high", "<i8", (2,)),
        ("rise", "<i8"),  # least trigger that fires when the last trade is at or above it
        ("fall", "<i8"),  # greatest trigger that fires when the last trade is at or below it
        ("depth", "<i8"),  # levels per side that the feed maintains, 0: all
        ("n_waiting", "<i8"),
        ("source", "<i8"),
        ("usable", "<i8"),  # 1: snapshot seen, no gap or failed checksum since
        ("in_snapshot", "<i8"),
        ("last_price", "<i8"),
        ("last_ts", "<i8"),
        # warm
        ("sym", "<i8"),
        ("status", "<i8"),
        ("instrument", INSTRUMENT_ROW),
        ("base", "<i8"),  # lots owned by the customer
        ("base_held", "<i8"),
        ("counter_base", "<i8"),
        ("rate", "<i8"),  # transaction counter, in 1e-11 points
        ("rate_ts", "<i8"),
        ("l3_clock", "<i8"),  # newest queue time seen in level 3
        ("slots", "<i8", (ORDERS_PER_SYMBOL,)),  # rows of the order table, by time priority
        ("book", BOOK),
    ]
)

L3_ORDER: Final = np.dtype(
    [
        ("id", "<i8"),
        ("sym", "<i8"),
        ("i_side", "<i8"),
        ("price", "<i8"),
        ("qty", "<i8"),
        ("key", "<i8"),  # queue time
        ("id_next", "<i8"),  # next in the chain of this id's bucket, or next free
        ("price_next", "<i8"),  # next and previous in the chain of this price's bucket
        ("price_previous", "<i8"),
    ]
)

GLOB: Final = np.dtype(
    [
        ("n_out", "<i8"),  # rows in `out` that the caller has not taken yet
        ("out_room", "<i8"),  # n_out above this: no room for one more call
        ("next_expire", "<i8"),  # earliest expiry of any order, or NEVER
        ("status", "<i8"),  # of the whole venue
        ("cash", "<i8"),  # money of the customer
        ("cash_held", "<i8"),
        ("counter_cash", "<i8"),
        ("fees", "<i8"),  # collected, net of rebates
        ("fees_waived", "<i8"),  # see account.settle
        ("n_keys", "<i8"),
        ("n_executions", "<i8"),
        ("n_prints", "<i8"),
        ("n_orders", "<i8"),  # live rows of the order table
        ("order_free", "<i8"),  # head of the list of free rows, -1 none
        ("order_high", "<i8"),  # rows ever used
        ("l3_free", "<i8"),
        ("l3_high", "<i8"),
        ("n_l3", "<i8"),
        ("maker_e6", "<i8"),
        ("taker_e6", "<i8"),
        ("volume", "<i8"),  # money traded in the 30-day window
        ("fee_day", "<i8"),  # UTC day number, -1 before the first command or fill
        ("fee_buckets", "<i8", (WINDOW_DAYS,)),
        ("params", VENUE_PARAMS),
        ("orders", ORDER, (N_ORDERS,)),
        ("answers", ANSWER, (ANSWERS,)),
        ("out", EVENT, (OUT_ROWS,)),
        ("l3", L3_ORDER, (L3_MAX + 1,)),
        ("l3_heads", "<i8", (2, L3_BUCKETS)),  # by id, by price: first row of a chain
    ]
)


class Venue(NamedTuple):
    """The simulated exchange: two arrays that own the state, and views into the first.

    glob : GLOB[1], the account, the orders, the answers; symbols : SYMBOL[n], a book each
    params : VENUE_PARAMS[1]; orders : ORDER[N_ORDERS]; out : EVENT[OUT_ROWS], answers in order, of
        which the first glob[0]["n_out"] rows count. All three are glob[0]'s own memory, so a copy
        of a venue is made with `copy_venue`.
    """

    glob: np.ndarray
    symbols: np.ndarray
    params: np.ndarray
    orders: np.ndarray
    out: np.ndarray


def venue_of(glob: np.ndarray, symbols: np.ndarray) -> Venue:
    """The venue whose state is GLOB[1] and SYMBOL[n]."""
    return Venue(glob, symbols, glob["params"], glob["orders"][0], glob["out"][0])


def copy_venue(venue: Venue) -> Venue:
    """A venue of its own in the same state: the snapshot."""
    return venue_of(venue.glob.copy(), venue.symbols.copy())


def make_venue(
    instrument_rows: np.ndarray,
    params: np.ndarray | None = None,
    *,
    cash: int = 0,
    base: np.ndarray | int = 0,
    depth: np.ndarray | int = 0,
) -> Venue:
    """A venue with empty books and no orders.

    instrument_rows : INSTRUMENT_ROW[n]; all quote in the one currency that `cash` is in
    params : VENUE_PARAMS[1] of venue_params(), defaults if None; the venue keeps its own copy
    cash : money that the customer starts with
    base : int64[n] or one number, lots the customer starts with
    depth : int64[n] or one number, levels a side of the feed (Kraken sends no delete for a level
        that leaves the subscribed depth); 0 where the feed removes each level itself
    raises ValueError for what cannot be held
    """
    n = len(instrument_rows)
    if n == 0:
        raise ValueError("a venue needs at least one instrument; the table is empty.")
    if cash < 0 or np.any(np.asarray(base) < 0):
        raise ValueError("a venue cannot start with a negative balance; check cash and base.")
    venue = venue_of(np.zeros(1, GLOB), np.zeros(n, SYMBOL))
    glob = venue.glob[0]
    glob["params"] = (venue_params() if params is None else params)[0]
    glob["out_room"] = OUT_ROWS - OUT_PER_CALL
    glob["next_expire"] = NEVER
    glob["cash"] = cash
    glob["order_free"] = -1
    glob["fee_day"] = -1
    glob["answers"]["slot"] = -1
    symbols = venue.symbols
    symbols["sym"] = np.arange(n)
    symbols["instrument"] = instrument_rows
    symbols["status"] = instrument_rows["status"]
    symbols["base"] = base
    symbols["depth"] = depth
    symbols["low"] = FAR
    symbols["rise"] = FAR
    return venue


def held_total(venue: Venue) -> tuple[int, list[int]]:
    """Holds added up from the orders: money, and lots per symbol. For checks, not for the path."""
    live = venue.orders[venue.orders["state"] != FREE]
    buys, sells = live[live["side"] > 0], live[live["side"] < 0]
    lots = [0] * len(venue.symbols)
    for order in sells:
        lots[int(order["sym"])] += int(order["hold"])
    return sum(int(hold) for hold in buys["hold"]), lots
