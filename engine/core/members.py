"""Which symbols may take entries now? The traded universe, chosen by the core or told by events.

`universe.every_ns` above 0: the core chooses anew that often, from what its own tape saw in the last
hour (turnover x 24, mean spread), with the rules of universe.py. Or somebody else chooses and says so in
TABLE_UPDATE events, one per symbol that is in, the last one marked LAST; the whole set changes then. A
symbol with inventory or a working entry cannot leave: it stays, pinned, until it is flat. Each change of
a symbol is a row of `universe`. With neither, every symbol is in.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.columns import FEATURE_INDEX
from engine.core.records import T_UNIVERSE
from engine.core.rows import claim_row
from engine.core.tape import B_BUY, B_SELL, I_1H, window_sum
from engine.core.universe import (
    IN_PINNED,
    IN_RANK,
    OUT_RANK,
    UNIVERSE_PARAMS,
    UNIVERSE_ROW,
    choose_universe,
)
from engine.jit import kernel
from engine.numerics import floor_int
from engine.stage import stage

_HOURS_PER_DAY: Final = 24
_E2_PER_BPS: Final = 100.0
_SPREAD_MEAN: Final = FEATURE_INDEX["spread_mean_bps"]
_OBSERVED_MIN: Final = 60  # seconds of a symbol before its turnover counts as known

MEMBERS: Final = np.dtype(
    [
        ("row", UNIVERSE_ROW, (64,)),
        ("params", UNIVERSE_PARAMS, (1,)),
        ("order", "<i8", (64,)),
        ("chosen_ts", "<i8"),
    ]
)


@kernel
def holds_back(symbol):
    """Inventory or a working entry: a symbol with one cannot leave the universe."""
    position = symbol["position"]
    return position["qty"] > 0 or position["entry_slot"] > 0


@kernel
def _write(core, i, member, reason, rank):
    glob = core.glob[0]
    ring = core.rings[0]["universe"]
    at = claim_row(glob, T_UNIVERSE, len(ring))
    if at < 0:
        return
    row = ring[at]
    row["ts"] = glob["now"]
    row["version"] = glob["universe_version"]
    row["sym"] = i
    row["member"] = member
    row["member_reason"] = reason
    row["rank"] = rank


@kernel
def _settle(core, i, wanted, reason, rank):
    """Put symbol i in or out; a row where that changes it, or where it is held back."""
    symbol = core.symbols[i]
    outside = 0 if wanted == 1 else 1
    if outside == 1 and holds_back(symbol):
        outside = 0
        reason = IN_PINNED
    leaving = 1 if wanted == 0 and outside == 0 else 0
    if outside != symbol["outside"] or leaving != symbol["leaving"]:
        symbol["outside"] = outside
        symbol["leaving"] = leaving
        _write(core, i, 1 - outside, reason, rank)


@kernel
def told_universe(core, i, version, member, last):
    """One record of a universe that somebody else chose; the set changes with the last of them."""
    glob = core.glob[0]
    if 0 <= i < len(core.symbols):
        core.symbols[i]["told"] = 1 if member != 0 else 0
    if not last:
        return
    glob["universe_version"] = version
    for k in range(len(core.symbols)):
        symbol = core.symbols[k]
        _settle(core, k, symbol["told"], IN_RANK if symbol["told"] == 1 else OUT_RANK, 0)
        symbol["told"] = 0


@stage
def update_universe(core):
    """At an evaluation: let what was held back go once it is flat, and choose anew where due."""
    glob = core.glob[0]
    params = core.params[0]
    for i in range(len(core.symbols)):
        symbol = core.symbols[i]
        if symbol["leaving"] == 1 and not holds_back(symbol):
            symbol["leaving"] = 0
            symbol["outside"] = 1
            _write(core, i, 0, OUT_RANK, 0)
    every = params["universe_every_ns"]
    members = glob["members"]
    if every <= 0 or glob["now"] - members["chosen_ts"] < every:
        return
    rules = members["params"]
    rules[0]["cap"] = params["universe_cap"]
    rules[0]["enter_rank"] = params["universe_enter_rank"]
    rules[0]["leave_rank"] = params["universe_leave_rank"]
    rules[0]["stay_ns"] = params["universe_stay_ns"]
    rules[0]["rotation_max"] = params["universe_rotation_max"]
    rules[0]["turnover_min"] = params["universe_turnover_min"]
    rules[0]["spread_max_e2"] = floor_int(params["universe_spread_max_bps"] * _E2_PER_BPS)
    n = len(core.symbols)
    rows = members["row"][:n]
    n_known = 0
    for i in range(n):
        row = rows[i]
        symbol = core.symbols[i]
        tape = symbol["tape"]
        spread = symbol["features"][_SPREAD_MEAN]
        row["quote_ok"] = 1
        row["status"] = symbol["instrument"]["status"]
        row["pinned"] = 1 if holds_back(symbol) else 0
        row["turnover"] = -1
        row["spread_e2"] = -1
        if spread == spread and glob["now"] - symbol["first_ts"] >= _OBSERVED_MIN * 1_000_000_000:
            hour = window_sum(tape, I_1H, B_BUY) + window_sum(tape, I_1H, B_SELL)
            row["turnover"] = hour * _HOURS_PER_DAY
            row["spread_e2"] = floor_int(spread * _E2_PER_BPS)
            n_known += 1
    if n_known == 0:
        return  # nothing is known of anything yet: everybody stays where they are
    members["chosen_ts"] = glob["now"]
    changed = choose_universe(rows, rules[0], members["order"][:n], glob["now"])
    if changed or glob["universe_version"] == 0:
        glob["universe_version"] += 1
        for i in range(n):
            _settle(core, i, rows[i]["inside"], rows[i]["reason"], rows[i]["rank"])
