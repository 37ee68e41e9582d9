"""What does the core ask of a venue? One fixed-width command record, and its codes.

The core writes these, the choke lets them through, and a venue (simulated or real) carries them
out. A command that adds or changes an order is journaled before it leaves.
"""

from __future__ import annotations

from typing import Final

import numpy as np

COMMAND: Final = np.dtype(
    [
        ("ts", "<i8"),  # ns: when the core decided
        ("generation", "<i8"),  # evaluation in which it was decided
        ("id", "<i8"),  # client order id: unique for ever within a run's lineage, > 0
        ("route", "<i8"),  # route key of the mandate, 0 if none
        ("price", "<i8"),  # ticks: limit price, or TRAILING_STOP's distance; 0 if none
        ("trigger", "<i8"),  # ticks: stop price (TRAILING_STOP: as we expect it, told); 0 if none
        ("qty", "<i8"),  # lots: total quantity of the order
        ("expire_ts", "<i8"),  # ns: good-till-date; 0 for none
        ("reason", "<i8"),  # why (EXIT_* or a reason code), for people
        ("sym", "<i2"),
        ("kind", "i1"),
        ("side", "i1"),
        ("type", "i1"),
        ("tif", "i1"),
        ("post_only", "i1"),
        ("role", "i1"),
    ]
)
assert COMMAND.itemsize == 80

# kind
ADD: Final = 1
AMEND: Final = 2  # new price, trigger and/or total quantity of a resting order; 0 keeps a field
CANCEL: Final = 3
CANCEL_ALL: Final = 4

# type
LIMIT: Final = 1
MARKET: Final = 2
STOP_LOSS: Final = 3  # market order once the last trade reaches `trigger`
STOP_LOSS_LIMIT: Final = 4
TAKE_PROFIT: Final = 5
TAKE_PROFIT_LIMIT: Final = 6
# As STOP_LOSS, with a trigger that stands `price` ticks off the best trade since entry: it follows a
# sell's market upwards and never comes back. The venue works the trigger out.
TRAILING_STOP: Final = 7

# tif
GTC: Final = 1
GTD: Final = 2
IOC: Final = 3

# role
ROLE_ENTRY: Final = 1
ROLE_PROTECTION: Final = 2
ROLE_EXIT: Final = 3
ROLE_FLATTEN: Final = 4

COMMAND_NAMES: Final = {ADD: "add", AMEND: "amend", CANCEL: "cancel", CANCEL_ALL: "cancel_all"}
TYPE_NAMES: Final = {
    LIMIT: "limit",
    MARKET: "market",
    STOP_LOSS: "stop_loss",
    STOP_LOSS_LIMIT: "stop_loss_limit",
    TAKE_PROFIT: "take_profit",
    TAKE_PROFIT_LIMIT: "take_profit_limit",
    TRAILING_STOP: "trailing_stop",
}
TIF_NAMES: Final = {GTC: "gtc", GTD: "gtd", IOC: "ioc"}
ROLE_NAMES: Final = {
    ROLE_ENTRY: "entry",
    ROLE_PROTECTION: "protection",
    ROLE_EXIT: "exit",
    ROLE_FLATTEN: "flatten",
}
