"""What is one event? The fixed-width record that everything in the log is made of.

One 64-byte record, one Arrow schema beside it. A fact too wide for one record becomes several,
closed by the flag LAST; the core acts on complete messages only. How records are stored is left
to engine/flow/log.py and adapters/parquet/.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

EVENT_SCHEMA_VERSION: Final = 1

EVENT: Final = np.dtype(
    [
        ("ts", "<i8"),  # ns since the epoch, UTC: when this host received or emitted it
        ("ts_venue", "<i8"),  # ns since the epoch, UTC: the venue's stamp; 0 if unknown
        ("seq", "<i8"),  # position in the log: the only order there is
        ("price", "<i8"),  # ticks
        ("qty", "<i8"),  # lots (a fee or a balance: money or units of the asset)
        ("id", "<i8"),  # trade or order key; TICKER: which field
        ("aux", "<i8"),  # depends on the kind, see FIELDS_OF_KIND
        ("sym", "<i2"),  # row of the instrument table; -1: not about one instrument
        ("kind", "i1"),
        ("side", "i1"),  # BUY, SELL, or 0 where no side is known
        ("flags", "<i4"),
    ]
)
_BYTES: Final = np.dtype((np.void, EVENT.itemsize))
assert EVENT.itemsize == 64

BUY: Final = 1
SELL: Final = -1
NO_SYMBOL: Final = -1

# --- kinds -------------------------------------------------------------------------------------
BOOK_LEVEL: Final = 1
MESSAGE_END: Final = 2
L3_ADD: Final = 3
L3_MODIFY: Final = 4
L3_DELETE: Final = 5
TRADE: Final = 6
TICKER: Final = 7
CANDLE: Final = 8
INSTRUMENT: Final = 9
SYSTEM_STATUS: Final = 10
CONNECTION_UP: Final = 11
CONNECTION_DOWN: Final = 12
GAP: Final = 13
RESYNC: Final = 14
HEARTBEAT: Final = 15
TIMER: Final = 16
EPOCH: Final = 17
ORDER_SENT: Final = 20
ORDER_ACK: Final = 21
ORDER_REJECT: Final = 22
ORDER_FILL: Final = 23
ORDER_FEE: Final = 24
ORDER_CANCELED: Final = 25
ORDER_EXPIRED: Final = 26
ORDER_AMENDED: Final = 27
ORDER_TRIGGERED: Final = 28
ORDER_FILLED: Final = 29
CANCEL_REJECT: Final = 30
AMEND_REJECT: Final = 31
ORDER_PENDING: Final = 32
ORDER_COMMAND: Final = 33
ORDER_TRAILED: Final = 34
BALANCE: Final = 35
MODE: Final = 40
OPERATOR: Final = 41
TABLE_UPDATE: Final = 42
HEALTH: Final = 43

KIND_NAMES: Final[dict[int, str]] = {
    BOOK_LEVEL: "book_level",
    MESSAGE_END: "message_end",
    L3_ADD: "l3_add",
    L3_MODIFY: "l3_modify",
    L3_DELETE: "l3_delete",
    TRADE: "trade",
    TICKER: "ticker",
    CANDLE: "candle",
    INSTRUMENT: "instrument",
    SYSTEM_STATUS: "system_status",
    CONNECTION_UP: "connection_up",
    CONNECTION_DOWN: "connection_down",
    GAP: "gap",
    RESYNC: "resync",
    HEARTBEAT: "heartbeat",
    TIMER: "timer",
    EPOCH: "epoch",
    ORDER_SENT: "order_sent",
    ORDER_ACK: "order_ack",
    ORDER_REJECT: "order_reject",
    ORDER_FILL: "order_fill",
    ORDER_FEE: "order_fee",
    ORDER_CANCELED: "order_canceled",
    ORDER_EXPIRED: "order_expired",
    ORDER_AMENDED: "order_amended",
    ORDER_TRIGGERED: "order_triggered",
    ORDER_FILLED: "order_filled",
    CANCEL_REJECT: "cancel_reject",
    AMEND_REJECT: "amend_reject",
    ORDER_PENDING: "order_pending",
    ORDER_COMMAND: "order_command",
    ORDER_TRAILED: "order_trailed",
    BALANCE: "balance",
    MODE: "mode",
    OPERATOR: "operator",
    TABLE_UPDATE: "table_update",
    HEALTH: "health",
}

FIELDS_OF_KIND: Final[dict[int, str]] = {
    BOOK_LEVEL: "side, price, qty = new absolute quantity (0 removes); with CHECKSUM: aux = CRC32",
    MESSAGE_END: "closes a message that carries no record of its own; id = kind it closes, "
    "with CHECKSUM: aux = CRC32 (level 3 messages always end so)",
    L3_ADD: "side, price, qty, id = order key, aux = the order's own timestamp (queue order), ns",
    L3_MODIFY: "side, price, qty = new remaining quantity, id, aux as L3_ADD",
    L3_DELETE: "side, price, qty = last quantity, id, aux = timestamp of the delete, ns",
    TRADE: "side of the taker (0 unknown), price, qty, id = trade id (0 unknown)",
    TICKER: "id = field (TICKER_BID ...), price and/or qty",
    INSTRUMENT: "aux = status code of the instrument (engine.instruments.STATUS_*)",
    SYSTEM_STATUS: "aux = status code of the venue (engine.instruments.STATUS_*)",
    GAP: "aux = ts of the last event before the gap, ns; id = cause (GAP_*)",
    RESYNC: "the next snapshot of sym replaces its book; id = cause (GAP_*)",
    TIMER: "aux = grid in ns",
    EPOCH: "id = epoch number, aux = EPOCH_*",
    ORDER_SENT: "id = client order id, aux = command kind",
    ORDER_ACK: "order is open at the venue: side, price (limit, else trigger; distance of a trailing "
    "stop), qty, id = client order id, aux = venue key",
    ORDER_REJECT: "id = client order id, aux = reason (REJECT_*)",
    ORDER_FILL: "side, price, qty of the fill, id = client order id, aux = execution id; "
    "MAKER or TAKER; followed by ORDER_FEE with LAST",
    ORDER_FEE: "qty = fee in money (+ paid, - rebate), id = client order id, aux = execution id",
    ORDER_CANCELED: "qty = lots that were still open, id = client order id, aux = reason (CANCEL_*)",
    ORDER_EXPIRED: "qty = lots that were still open, id = client order id",
    ORDER_AMENDED: "price, qty = new limit or trigger price or distance, new total quantity, id",
    ORDER_TRIGGERED: "price = reference price that fired the stop, id",
    ORDER_FILLED: "the order is complete: qty = total filled, id = client order id",
    CANCEL_REJECT: "id = client order id, aux = reason (REJECT_*)",
    AMEND_REJECT: "id = client order id, aux = reason (REJECT_*)",
    ORDER_PENDING: "the venue has the order, it is not open yet: id = client order id, aux as ACK",
    ORDER_TRAILED: "where a trailing stop stands: price = its trigger, aux = its distance in ticks, id",
    BALANCE: "sym = -1 and id = 0: quote money in qty; sym >= 0: lots of its base in qty",
    ORDER_COMMAND: "a command of the core, journaled before it leaves: three records, closed by LAST "
    "(engine/flow/journal.py); id = client order id",
    TABLE_UPDATE: "aux = TABLE_*; TABLE_FEES: price, qty = our maker and taker rate, 1/100 bps; "
    "TABLE_UNIVERSE: sym is in (price 1) or out (0), id = version; LAST swaps the set",
    MODE: "aux = MODE_*, id = who (WHO_*), qty = why (WHY_*)",
    OPERATOR: "id = OPERATOR_*, sym = -1: all; aux as the code says",
    HEALTH: "a fact of the shell: id = HEALTH_*, the other fields as the code says",
}

# --- flags -------------------------------------------------------------------------------------
LAST: Final = 1  # closes its message
SNAPSHOT: Final = 2  # part of a snapshot, never new flow
CHECKSUM: Final = 4  # aux of this record is the message's checksum
VERIFIED: Final = 8  # ... and it matched when the capture was made or imported
FAILED: Final = 16  # ... and it did not match
MAKER: Final = 32
TAKER: Final = 64
MARKET_ORDER: Final = 128  # the taker of this trade came as a market order
DERIVED: Final = 256  # computed from another feed, not sent by the venue

ALL_FLAGS: Final = (1 << 9) - 1

# --- codes inside a record ---------------------------------------------------------------------
TICKER_BID: Final = 1  # price, qty
TICKER_ASK: Final = 2  # price, qty
TICKER_LAST: Final = 3  # price
TICKER_VOLUME: Final = 4  # qty, 24 h
TICKER_VWAP: Final = 5  # price, 24 h, rounded to the nearest tick
TICKER_LOW: Final = 6  # price, 24 h
TICKER_HIGH: Final = 7  # price, 24 h

GAP_DISCONNECT: Final = 1
GAP_CHECKSUM: Final = 2
GAP_DROPPED: Final = 3  # we could not keep up
GAP_SOURCE: Final = 4  # a hole in the recording itself
GAP_CROSSED: Final = 5
GAP_BACKWARDS: Final = 6  # time ran backwards in the source

EPOCH_VALID: Final = 1
EPOCH_DEGRADED: Final = 2
EPOCH_INVALID: Final = 3
EPOCH_CLOSED: Final = 4

MODE_NORMAL: Final = 1
MODE_REDUCED: Final = 2
MODE_EXIT_ONLY: Final = 3
MODE_EMERGENCY: Final = 4
MODE_HALT: Final = 5

# Who asked for a mode, and why. Anyone may tighten; only an operator may loosen, but for the
# release after a clean reconcile (WHY_RECONCILED), which undoes WHY_START and nothing else.
WHO_ENGINE: Final = 0
WHO_OPERATOR: Final = 1
WHY_START: Final = 1  # EXIT_ONLY until the first reconcile is clean
WHY_RECONCILED: Final = 2
WHY_COMMAND: Final = 3  # an operator said so
WHY_KILL: Final = 4  # the kill switch
WHY_LOSS: Final = 5  # daily loss, drawdown or the ladder of losses
WHY_OVERFILL: Final = 6  # the venue filled more than we asked for
WHY_FLAT: Final = 7  # EMERGENCY has nothing left to sell
WHY_JOURNAL: Final = 8  # the log cannot be written
WHY_ALERTS: Final = 9  # critical alerts were not acknowledged in time
WHY_INVARIANT: Final = 10  # something that can never be true was true
WHY_SECOND_WRITER: Final = 11  # another process acts on the account
WHY_NAMES: Final[dict[int, str]] = {
    0: "unnamed",
    WHY_START: "start",
    WHY_RECONCILED: "reconciled",
    WHY_COMMAND: "command",
    WHY_KILL: "kill",
    WHY_LOSS: "loss",
    WHY_OVERFILL: "overfill",
    WHY_FLAT: "flat",
    WHY_JOURNAL: "journal",
    WHY_ALERTS: "alerts",
    WHY_INVARIANT: "invariant",
    WHY_SECOND_WRITER: "second_writer",
}

# What an operator may ask for beside a mode.
OPERATOR_FLATTEN: Final = 1  # leave the position of sym, or all
OPERATOR_ACKNOWLEDGE: Final = 2  # aux = number of the alert, 0: all
OPERATOR_ENABLE_FAMILY: Final = 3  # aux = FAMILY_* that the repetition throttle had switched off
OPERATOR_RELEASE_SYMBOL: Final = 4  # sym takes entries again
OPERATOR_LEASE: Final = 5  # aux = until when (ns) somebody else drives the exits of sym; 0 ends it

# Facts of the shell, that a replay could not know otherwise.
HEALTH_CLOCK: Final = 1  # aux = venue's clock minus ours, ns; qty = round trip, ns
# price = place of the channel in CHANNELS; aux = ts of the last message before it was lost, 0 at its
# first start; qty = cause of the loss (GAP_*), 0 at its first start
HEALTH_RESUMED: Final = 2
HEALTH_LAG: Final = 3  # aux = how far the writer is behind, ns; qty = how far the decoder is
HEALTH_SUSPECT: Final = 10  # aux = client order id; qty = SUSPECT_*: nothing may be assumed of it
HEALTH_ACCOUNT_LOST: Final = 11  # aux = ts of the last message before; reports are missing
HEALTH_ACCOUNT_SYNCED: Final = 12  # orders and balances of the private stream are whole again
HEALTH_RECONCILED: Final = 13  # open orders, closed orders and trades were read; aux = as of, ns
HEALTH_ABSENT: Final = (
    14  # aux = client order id: three sources lack it, twice, after the quarantine
)
HEALTH_FOREIGN: Final = (
    15  # an order of somebody else is open: sym, side, price, qty, aux = its key
)
HEALTH_ACCOUNT_ALIVE: Final = 16  # aux = ts of the newest private frame
HEALTH_JOURNAL: Final = 20  # aux = how long the newest sync took, ns; qty = 1: it failed
HEALTH_LEASE: Final = 21  # aux = fencing number that we hold; 0: lost
HEALTH_SWITCH: Final = 22  # dead man's switch: aux = when it fires, ns; 0: disarmed
HEALTH_SWITCH_FIRED: Final = 23  # it fired: aux = orders that it cancelled
HEALTH_ALERTS: Final = 24  # aux = critical alerts that nobody has acknowledged
HEALTH_STOPPING: Final = 25  # the session ends: entries are withdrawn, stops stay

REJECT_POST_ONLY: Final = 1
REJECT_FUNDS: Final = 2
REJECT_MINIMUM: Final = 3
REJECT_PRICE: Final = 4  # off the tick, not positive, or outside the band
REJECT_QTY: Final = 5  # off the lot, not positive, or above the bound
REJECT_STATUS: Final = 6  # instrument or system does not accept this order now
REJECT_UNKNOWN_ORDER: Final = 7
REJECT_DUPLICATE: Final = 8
REJECT_RATE: Final = 9
REJECT_FULL: Final = 10  # no room in the venue's table
REJECT_EXPIRED: Final = 11  # good-till-date in the past at arrival
REJECT_UNSUPPORTED: Final = 12
REJECT_NO_LIQUIDITY: Final = 13
REJECT_SHADOW: Final = 14  # this mode sends nothing
REJECT_NOT_SENT: Final = 15  # it never left: no connection, no room, no right
REJECT_ABSENT: Final = 16  # its answer was lost, and the venue never had it

CANCEL_USER: Final = 1
CANCEL_POST_ONLY: Final = 2
CANCEL_IOC: Final = 3
CANCEL_PROTECTION: Final = 4  # market price protection
CANCEL_SELF_TRADE: Final = 5
CANCEL_ALL: Final = 6
CANCEL_FUNDS: Final = 7

TABLE_FEES: Final = 1  # what our account pays from now on
TABLE_UNIVERSE: Final = 2  # which symbols may take entries

SCHEMA_METADATA: Final = {b"kapitaalbot.event": str(EVENT_SCHEMA_VERSION).encode()}


def arrow_schema() -> pa.Schema:
    """The Arrow schema of an event table; its metadata names the schema version."""
    import pyarrow as pa

    types = {
        "<i8": pa.int64(),
        "<i2": pa.int16(),
        "|i1": pa.int8(),
        "<i4": pa.int32(),
    }
    return pa.schema(
        [pa.field(name, types[EVENT[name].str], nullable=False) for name in EVENT.names or ()],
        metadata=SCHEMA_METADATA,
    )


def to_column(values: np.ndarray) -> pa.Array:
    """Numbers or truth values [n] as an Arrow column; contiguous numbers are not copied.

    Not pyarrow.array: that loads pandas wherever it is installed, half a second of a start.
    """
    import pyarrow as pa

    kind = pa.from_numpy_dtype(values.dtype)
    packed = np.packbits(values, bitorder="little") if values.dtype == np.bool_ else values
    data = pa.py_buffer(np.ascontiguousarray(packed))
    return pa.Array.from_buffers(kind, len(values), [None, data])


def of_column(column: pa.Array, kind: np.dtype) -> np.ndarray:
    """A column of numbers without gaps as it lies in Arrow's memory, not copied. Not Array.to_numpy: as above."""
    data = column.buffers()[1]
    if len(column) == 0 or data is None:
        return np.empty(0, kind)
    return np.frombuffer(data, kind, len(column), column.offset * kind.itemsize)


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """EVENT rows of all `parts`, one after the other, in a new array."""
    if not parts:
        return empty(0)
    # As plain bytes: numpy looks at each field of each part, in Python, when it joins records.
    return np.concatenate([each.view(_BYTES) for each in parts]).view(EVENT)


def empty(n: int) -> np.ndarray:
    """`n` zeroed EVENT rows that belong to no instrument."""
    rows = np.zeros(n, EVENT)
    rows["sym"] = NO_SYMBOL
    return rows
