"""Markets made on purpose: a path of mids, who traded and what stood in the book, second by second.

`events` turns them into EVENT records of one pair, `sightings` runs them through the whole core and
says when a family saw something. One tick is 0.1 bps of the first price, the spread is 2 bps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from engine.core.routes import BUILT_FAMILIES, ENTRY_JOIN, FAMILY_NAMES, route_side
from engine.events import BOOK_LEVEL, BUY, EVENT, LAST, SELL, SNAPSHOT, TRADE
from engine.instruments import Instrument, InstrumentTable
from tests.support.worlds import EAGER, make_world, run_world

S = 1_000_000_000
START = 1_700_000_040  # s, a full minute
MID = 100_000  # ticks
BPS = 10  # ticks
HALF_SPREAD = 10  # ticks
LEVELS = 10

PAIR = Instrument(
    symbol="TEST/USD",
    price_increment=Decimal("0.01"),
    qty_increment=Decimal("0.001"),
    price_precision=2,
    qty_precision=3,
    qty_min=Decimal("0.010"),
    cost_min=Decimal("0.5"),
)
EVERY_REGIME = ("range", "trend", "high_volatility", "low_liquidity", "chaos")


@dataclass
class Story:
    """One value per second each. mids : ticks; buys, sells : lots taken; lots a level shows."""

    mids: np.ndarray
    buys: np.ndarray
    sells: np.ndarray
    bid_lots: np.ndarray
    ask_lots: np.ndarray
    extra: list[tuple[int, dict[str, int]]] = field(default_factory=list)  # (second, fields)


def story(mids: np.ndarray, lots: int = 2_000, traded: int = 200) -> Story:
    """A path with even trading on both sides and an even book."""
    n = len(mids)
    full = np.full(n, lots, np.int64)
    flow = np.full(n, traded, np.int64)
    return Story(np.rint(mids).astype(np.int64), flow, flow.copy(), full, full.copy())


def events(told: Story) -> np.ndarray:
    """Book messages at the half second before each full one, trades a tenth before them."""
    rows: list[tuple[int, int, int, int, int, int]] = []  # ts, kind, side, price, qty, flags
    before: dict[tuple[int, int], int] = {}
    other: list[tuple[int, dict[str, int]]] = []
    for k, mid in enumerate(told.mids.tolist()):
        ts = (START + k) * S - S // 2
        if k > 0:
            mid_then = int(told.mids[k - 1])
            for side, lots in ((BUY, told.buys[k]), (SELL, told.sells[k])):
                if lots > 0:
                    price = mid_then + side * HALF_SPREAD
                    rows.append((ts - S // 10, TRADE, side, price, int(lots), LAST))
        after: dict[tuple[int, int], int] = {}
        for level in range(LEVELS):
            step = HALF_SPREAD + level * BPS
            after[BUY, mid - step] = int(told.bid_lots[k])
            after[SELL, mid + step] = int(told.ask_lots[k])
        changed = [(key, 0) for key in before if key not in after]
        changed += [(key, lots) for key, lots in after.items() if before.get(key) != lots]
        first = SNAPSHOT if k == 0 else 0
        for (side, price), lots in changed:
            rows.append((ts, BOOK_LEVEL, side, price, lots, first))
        if changed:
            rows[-1] = (*rows[-1][:5], first | LAST)
        before = after
    out = np.zeros(len(rows), EVENT)
    for name, column in zip(
        ("ts", "kind", "side", "price", "qty", "flags"), zip(*rows, strict=True), strict=True
    ):
        out[name] = column
    other = told.extra
    if other:
        more = np.zeros(len(other), EVENT)
        for row, (second, fields) in zip(more, other, strict=True):
            row["ts"] = (START + second) * S - S // 4
            for name, value in fields.items():
                row[name] = value
        out = np.concatenate([out, more])
        out = out[np.argsort(out["ts"], kind="stable")]
    out["ts_venue"] = out["ts"]
    out["seq"] = np.arange(len(out))
    return out


def run_story(told: Story, overrides: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Every recorded table of the story through core and venue, all candidates kept."""
    records = {"candidates_top": 64, "candidates_sample": 1}
    settings: dict[str, Any] = {**EAGER, "records": records, "horizons_s": [60], **overrides}
    world = make_world(InstrumentTable([PAIR]), settings, depth=LEVELS)
    result, tables = run_world(world, [events(told)])
    assert [] == result.faults
    return tables


def sightings(told: Story, family: int, ahead_s: int = 60, **sections: Any) -> np.ndarray:
    """What one family alone sees in a story: rows of second, side, move and what the mid did, bps.

    It never enters, so that the position it would have does not hide what it sees.
    """
    families = {FAMILY_NAMES[code]: {"enabled": code == family} for code in BUILT_FAMILIES}
    families[FAMILY_NAMES[family]]["regimes"] = EVERY_REGIME
    families[FAMILY_NAMES[family]]["params"] = sections.pop("params", {})
    run = run_story(
        told, {"families": families, "evaluation": {"max_entries": 0, "warmup": "5s"}, **sections}
    )
    return sighted(told, run["candidates"], ahead_s)


def sighted(told: Story, candidates: np.ndarray, ahead_s: int = 60) -> np.ndarray:
    """The active and priced candidates of a run, one per evaluation, with what the mid did then."""
    rows = candidates
    rows = rows[(rows["entry_mode"] == ENTRY_JOIN) & ~np.isnan(rows["move_bps"])]
    seconds = rows["ts"] // S - START
    later = told.mids[np.minimum(seconds + ahead_s, len(told.mids) - 1)] - told.mids[seconds]
    sides = np.array([route_side(int(key)) for key in rows["route"]], np.int64)
    return np.column_stack([seconds, sides, rows["move_bps"], later / BPS])
