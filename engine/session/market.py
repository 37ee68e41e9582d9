"""What of a session's log is the market? The rows that would have come without us.

A session's log holds all that its core learned. A simulation over the same time needs what the
market did and what of it reached us, and makes the rest itself: timers on its own grid, answers of
its own venue. Left out: where the log lies and who replays it (adapters/session_market.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.events import (
    BALANCE,
    BOOK_LEVEL,
    CANDLE,
    CONNECTION_DOWN,
    CONNECTION_UP,
    EPOCH,
    GAP,
    HEALTH,
    HEARTBEAT,
    INSTRUMENT,
    KIND_NAMES,
    L3_ADD,
    L3_DELETE,
    L3_MODIFY,
    MESSAGE_END,
    MODE,
    OPERATOR,
    ORDER_COMMAND,
    ORDER_PENDING,
    ORDER_SENT,
    ORDER_TRAILED,
    RESYNC,
    SYSTEM_STATUS,
    TABLE_UPDATE,
    TICKER,
    TIMER,
    TRADE,
)

_PRIVATE: Final = "ours: the simulated venue gives its own"

# Every kind, and why it is (True) or is not (False) the market's.
MARKET_KINDS: Final[dict[int, tuple[bool, str]]] = {
    BOOK_LEVEL: (True, "what others quoted"),
    MESSAGE_END: (True, "closes a message of the feed; alone it says nothing"),
    L3_ADD: (True, "what others quoted, order by order"),
    L3_MODIFY: (True, "as l3_add"),
    L3_DELETE: (True, "as l3_add"),
    TRADE: (True, "what others traded; in a live session also what traded against us"),
    TICKER: (True, "what the venue says of the market"),
    CANDLE: (True, "as ticker"),
    INSTRUMENT: (True, "a pair was closed or opened for everybody"),
    SYSTEM_STATUS: (True, "the venue was closed or opened for everybody"),
    CONNECTION_UP: (True, "from here on the market was heard"),
    CONNECTION_DOWN: (True, "from here on it was not: a simulation may not know more than we did"),
    GAP: (True, "as connection_down, also between a session and the one before it"),
    RESYNC: (True, "the book begins anew"),
    HEARTBEAT: (True, "the feed was alive"),
    EPOCH: (True, "how far the data of this stretch can be believed"),
    TIMER: (False, "made anew, on the grid of the profile that is replayed"),
    **dict.fromkeys(range(ORDER_SENT, ORDER_PENDING + 1), (False, _PRIVATE)),
    ORDER_TRAILED: (False, _PRIVATE),
    ORDER_COMMAND: (False, "what the session decided: the simulation decides for itself"),
    BALANCE: (False, "ours: the simulated account has its own"),
    TABLE_UPDATE: (False, "fees of our account: the simulated venue charges those of its profile"),
    MODE: (False, "what people and the session did about this account"),
    OPERATOR: (False, "as mode"),
    HEALTH: (False, "facts of that process and its account: clock, log, private line"),
}
assert set(MARKET_KINDS) == set(KIND_NAMES)

_IS_MARKET: Final = np.zeros(128, np.bool_)
for _kind, (_taken, _) in MARKET_KINDS.items():
    _IS_MARKET[_kind] = _taken


def market_of(rows: np.ndarray) -> np.ndarray:
    """The rows of EVENT[n] that are the market's, in their order; seq keeps its holes."""
    keep = _IS_MARKET[rows["kind"]]
    return rows if keep.all() else rows[keep]
