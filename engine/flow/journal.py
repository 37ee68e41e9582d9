"""How does a command stand in the log? Three records of 64 bytes, journaled before it leaves.

A command is wider than an event, so it becomes three records of kind ORDER_COMMAND with the same
`id`, the last closed by LAST. The core that decided it sees them pass and does nothing; a replay
of the log compares what the core decides with them. Left out: when to sync (session.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.commands import COMMAND
from engine.errors import DataError
from engine.events import EVENT, LAST, ORDER_COMMAND

RECORDS: Final = 3  # per command
_SMALL: Final = ("kind", "type", "tif", "post_only", "role")
# `aux` of a record: which of the three in the lowest byte, then eight bits per small field
# (first record) or the reason (second).
_BYTE: Final = 8


def command_rows(commands: np.ndarray) -> np.ndarray:
    """EVENT[3 n] of COMMAND[n]; `seq` is left to the writer of the log."""
    rows = np.zeros(RECORDS * len(commands), EVENT)
    for part in range(RECORDS):
        some = rows[part::RECORDS]
        for name in ("ts", "id", "sym", "side"):
            some[name] = commands[name]
        some["kind"] = ORDER_COMMAND
    first, second, third = (rows[part::RECORDS] for part in range(RECORDS))
    first["price"], first["qty"] = commands["price"], commands["qty"]
    for place, name in enumerate(_SMALL, 1):
        first["aux"] += commands[name].astype(np.int64) << (_BYTE * place)
    second["price"], second["qty"] = commands["trigger"], commands["expire_ts"]
    second["aux"] = 1 + (commands["reason"] << _BYTE)
    third["price"], third["qty"] = commands["generation"], commands["route"]
    third["aux"], third["flags"] = 2, LAST
    return rows


def commands_of(rows: np.ndarray) -> np.ndarray:
    """COMMAND[n] of their EVENT[3 n]. Raises DataError where the records do not belong together."""
    n, rest = divmod(len(rows), RECORDS)
    parts = [rows[part::RECORDS] for part in range(RECORDS)]
    whole = rest == 0 and all(
        np.array_equal(each["aux"] & 0xFF, np.full(n, part))
        and np.array_equal(each["id"], parts[0]["id"])
        for part, each in enumerate(parts)
    )
    if not whole or (rows["kind"] != ORDER_COMMAND).any():
        raise DataError(
            "the records of a command in the log do not belong together.",
            "`kapitaalbot data check` names the first defect of a log.",
        )
    first, second, third = parts
    commands = np.zeros(n, COMMAND)
    for name in ("ts", "id", "sym", "side", "price", "qty"):
        commands[name] = first[name]
    for place, name in enumerate(_SMALL, 1):
        commands[name] = (first["aux"] >> (_BYTE * place)) & 0xFF
    commands["trigger"], commands["expire_ts"] = second["price"], second["qty"]
    commands["reason"] = second["aux"] >> _BYTE
    commands["generation"], commands["route"] = third["price"], third["qty"]
    return commands
