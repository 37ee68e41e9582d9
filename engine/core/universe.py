"""Which symbols are in the universe now, and why is each one in or out?

Symbols are ranked by turnover, dampened by spread. A symbol enters at a good rank and leaves only at
a clearly worse one, after a minimum stay, and no more than a few enter at a time, so that the set does
not flap. What is pinned (inventory, an open order, the operator) stays whatever its rank. The whole
set changes at once, as a new version. Left out: where turnover and spread come from, and what a
symbol that left stops doing.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from engine.instruments import STATUS_ONLINE
from engine.jit import kernel

# Why a symbol is in (IN_*) or out (OUT_*).
IN_RANK: Final = 1
IN_KEPT: Final = 2  # worse than the entry rank, better than the leaving rank
IN_STAY: Final = 3  # not in for long enough to leave
IN_PINNED: Final = 4
OUT_RANK: Final = 5
OUT_FULL: Final = 6  # good enough, no room below the cap
OUT_WAITING: Final = 7  # good enough, as many as may enter at once did
OUT_DENIED: Final = 8
OUT_QUOTE: Final = 9
OUT_STATUS: Final = 10
OUT_UNKNOWN: Final = 11  # turnover or spread is not known
OUT_TURNOVER: Final = 12
OUT_SPREAD: Final = 13

UNIVERSE_REASONS: Final[dict[int, str]] = {
    IN_RANK: "in: its rank",
    IN_KEPT: "in: not yet at the rank where it leaves",
    IN_STAY: "in: for less than the minimum stay",
    IN_PINNED: "in: pinned",
    OUT_RANK: "out: its rank",
    OUT_FULL: "out: no room below the cap",
    OUT_WAITING: "out: as many entered as may at once",
    OUT_DENIED: "out: on the deny list",
    OUT_QUOTE: "out: another quote currency",
    OUT_STATUS: "out: not online",
    OUT_UNKNOWN: "out: turnover or spread unknown",
    OUT_TURNOVER: "out: too little turnover",
    OUT_SPREAD: "out: too wide a spread",
}

UNIVERSE_ROW: Final = np.dtype(
    [
        # given, anew for each choice
        ("quote_ok", "<i8"),  # 1: quoted in the run's currency
        ("denied", "<i8"),
        ("allowed", "<i8"),  # 1: on the allow list: turnover and spread need not be enough
        ("status", "<i8"),  # engine.instruments.STATUS_*
        ("turnover", "<i8"),  # money in 24 h, -1 unknown
        ("spread_e2", "<i8"),  # 1/100 bps, -1 unknown
        ("pinned", "<i8"),  # 1: inventory, an open order or the operator hold it
        # kept from choice to choice
        ("inside", "<i8"),
        ("since", "<i8"),  # ns, when it entered
        # found
        ("score", "<i8"),
        ("rank", "<i8"),  # from 1; 0 for what is not eligible
        ("reason", "<i8"),
        ("next_inside", "<i8"),
    ]
)

UNIVERSE_PARAMS: Final = np.dtype(
    [
        ("cap", "<i8"),  # symbols inside; pins may exceed it
        ("enter_rank", "<i8"),  # <= cap makes sense
        ("leave_rank", "<i8"),  # >= enter_rank
        ("stay_ns", "<i8"),
        ("rotation_max", "<i8"),  # symbols that may enter per choice, once there is a universe
        ("turnover_min", "<i8"),  # money in 24 h
        ("spread_max_e2", "<i8"),  # 1/100 bps
    ]
)

_HALVING_E2: Final = 1_000  # a spread of 10 bps halves the score


def universe_params(
    cap: int = 50,
    enter_rank: int = 40,
    leave_rank: int = 60,
    stay_ns: int = 3_600_000_000_000,
    rotation_max: int = 5,
    turnover_min: int = 0,
    spread_max_e2: int = 100_000,
) -> np.ndarray:
    """UNIVERSE_PARAMS[1]. raises ValueError naming the key that makes no sense"""
    values: dict[str, Any] = dict(
        zip(
            UNIVERSE_PARAMS.names or (),
            (cap, enter_rank, leave_rank, stay_ns, rotation_max, turnover_min, spread_max_e2),
            strict=True,
        )
    )
    for name, value in values.items():
        if value < (1 if name in ("cap", "enter_rank", "rotation_max") else 0):
            raise ValueError(f"universe.{name} is {value}: too small.")
    if leave_rank < enter_rank:
        raise ValueError(
            f"universe.leave_rank {leave_rank} lies below enter_rank {enter_rank}: "
            "symbols would enter and leave in turns."
        )
    params = np.zeros(1, UNIVERSE_PARAMS)
    for name, value in values.items():
        params[0][name] = value
    return params


@kernel
def universe_exclusion(row, params):
    """Why this symbol cannot be in the universe at all; 0 if it can."""
    if row["denied"] != 0:
        return OUT_DENIED
    if row["quote_ok"] == 0:
        return OUT_QUOTE
    if row["status"] != STATUS_ONLINE:
        return OUT_STATUS
    if row["turnover"] < 0 or row["spread_e2"] < 0:
        return 0 if row["allowed"] != 0 else OUT_UNKNOWN
    if row["allowed"] != 0:
        return 0
    if row["turnover"] < params["turnover_min"]:
        return OUT_TURNOVER
    if row["spread_e2"] > params["spread_max_e2"]:
        return OUT_SPREAD
    return 0


@kernel
def universe_score(row):
    """Turnover, halved for each 10 bps of spread in the way 1 / (1 + x) falls; 0 if unknown."""
    if row["turnover"] < 0 or row["spread_e2"] < 0:
        return 0
    return row["turnover"] // (_HALVING_E2 + row["spread_e2"]) * _HALVING_E2


@kernel
def rank_universe(rows, params, order):
    """Score and rank what can be in; returns how many.

    order : int64[n], filled with rows of the eligible symbols, best first, ties by row
    """
    n = 0
    for i in range(len(rows)):
        row = rows[i]
        row["rank"] = 0
        row["score"] = 0
        row["reason"] = universe_exclusion(row, params)
        if row["reason"] != 0:
            continue
        row["score"] = universe_score(row)
        at = n
        while at > 0 and rows[order[at - 1]]["score"] < row["score"]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = i
        n += 1
    for k in range(n):
        rows[order[k]]["rank"] = k + 1
    return n


@kernel
def stays(row, params, now):
    """Does a symbol that is inside, or pinned, remain? Sets its reason if so."""
    if row["pinned"] != 0:
        row["reason"] = IN_PINNED
        return True
    if row["inside"] == 0 or row["rank"] == 0:
        return False
    if row["rank"] <= params["enter_rank"]:
        row["reason"] = IN_RANK
    elif row["rank"] <= params["leave_rank"]:
        row["reason"] = IN_KEPT
    elif now - row["since"] < params["stay_ns"]:
        row["reason"] = IN_STAY
    else:
        return False
    return True


@kernel
def choose_universe(rows, params, order, now):
    """Choose the universe of this moment; returns whether it differs from the one before.

    rows : UNIVERSE_ROW[n], one per instrument, given columns filled; `inside`, `since`, `score`,
    `rank` and `reason` are set
    params : UNIVERSE_PARAMS row; order : int64[n], scratch; now : int64, ns
    """
    n = rank_universe(rows, params, order)
    n_before = 0
    n_inside = 0
    for i in range(len(rows)):
        row = rows[i]
        n_before += row["inside"]
        row["next_inside"] = 1 if stays(row, params, now) else 0
        n_inside += row["next_inside"]
    # The first universe is filled at once.
    room = params["rotation_max"] if n_before > 0 else len(rows)
    for k in range(n):
        row = rows[order[k]]
        if row["next_inside"] != 0:
            continue
        if row["rank"] > params["enter_rank"]:
            row["reason"] = OUT_RANK
        elif n_inside >= params["cap"]:
            row["reason"] = OUT_FULL
        elif room == 0:
            row["reason"] = OUT_WAITING
        else:
            row["reason"] = IN_RANK
            row["next_inside"] = 1
            n_inside += 1
            room -= 1
    changed = False
    for i in range(len(rows)):
        row = rows[i]
        if row["next_inside"] != row["inside"]:
            changed = True
            row["since"] = now if row["next_inside"] != 0 else 0
            row["inside"] = row["next_inside"]
    return changed
