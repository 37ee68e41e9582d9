"""How far can one run be trusted as a picture of another? Two runs over the same time, side by side.

A live session and its simulation, two versions, two sets of parameters: which entries both decide
and where they first part, which orders and fills both have, and how either was served: fill rates,
waiting, latency, slippage, fees, markouts, profit. Orders are matched by route and time of decision,
since ids differ; only the time that both runs share counts. Plain data for JSON and people. Left
out: rows bit by bit (compare.py), pictures (pictures.py), and any judgement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.clock import utc_text
from engine.commands import ROLE_NAMES
from engine.core.records import EXECUTE, OUTCOME_NAMES, REASONS
from engine.reports.served import MS, measures, quantiles, split
from engine.reports.sides import Columns, Side, in_quote, where

BESIDE_VERSION: Final = 1
MATCH_NS: Final = 2_000_000_000  # orders decided further apart than this are not the same order


# --- what both have -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pairs:
    """Rows matched: both : places (first, second); only_first, only_second : places."""

    both: list[tuple[int, int]]
    only_first: list[int]
    only_second: list[int]

    def counts(self) -> dict[str, int]:
        return {
            "both": len(self.both),
            "only_first": len(self.only_first),
            "only_second": len(self.only_second),
        }


def _keys(columns: Columns, names: Sequence[str]) -> list[Hashable]:
    return list(zip(*(columns[name].tolist() for name in names), strict=True))


def match_rows(
    first: Columns, second: Columns, names: Sequence[str], stamp: str, apart_ns: int
) -> _Pairs:
    """Pair rows with equal `names` whose stamps are nearest and at most `apart_ns` apart, in order."""
    places: dict[Hashable, tuple[list[int], list[int]]] = {}
    for which, columns in enumerate((first, second)):
        for place, key in enumerate(_keys(columns, names)):
            places.setdefault(key, ([], []))[which].append(place)
    pairs = _Pairs([], [], [])
    times = first[stamp].tolist(), second[stamp].tolist()
    for ours, theirs in places.values():
        i = j = 0
        while i < len(ours) and j < len(theirs):
            apart = abs(times[0][ours[i]] - times[1][theirs[j]])
            later = times[0][ours[i]] > times[1][theirs[j]]
            next_i = i + 1 < len(ours) and (
                abs(times[0][ours[i + 1]] - times[1][theirs[j]]) < apart
            )
            next_j = j + 1 < len(theirs) and (
                abs(times[0][ours[i]] - times[1][theirs[j + 1]]) < apart
            )
            if apart <= apart_ns and not next_i and not next_j:
                pairs.both.append((ours[i], theirs[j]))
                i, j = i + 1, j + 1
            elif next_j or (later and not next_i):
                pairs.only_second.append(theirs[j])
                j += 1
            else:
                pairs.only_first.append(ours[i])
                i += 1
        pairs.only_first.extend(ours[i:])
        pairs.only_second.extend(theirs[j:])
    for each in (pairs.both, pairs.only_first, pairs.only_second):
        each.sort()  # type: ignore[attr-defined]
    return pairs


def _match_fills(
    first: Columns, second: Columns, orders: tuple[Columns, Columns], of: _Pairs
) -> _Pairs:
    """The k-th fill of an order beside the k-th of the order that it was matched with."""
    by_order: tuple[dict[int, list[int]], dict[int, list[int]]] = ({}, {})
    for which, fills in enumerate((first, second)):
        for place, order in enumerate(fills["order"].tolist()):
            by_order[which].setdefault(order, []).append(place)
    pairs = _Pairs([], [], [])
    matched: set[int] = set()
    matched_there: set[int] = set()
    for i, j in of.both:
        ids = int(orders[0]["id"][i]), int(orders[1]["id"][j])
        matched.add(ids[0])
        matched_there.add(ids[1])
        ours, theirs = by_order[0].get(ids[0], []), by_order[1].get(ids[1], [])
        n = min(len(ours), len(theirs))
        pairs.both.extend(zip(ours[:n], theirs[:n], strict=True))
        pairs.only_first.extend(ours[n:])
        pairs.only_second.extend(theirs[n:])
    for order, places in by_order[0].items():
        pairs.only_first.extend(places if order not in matched else [])
    for order, places in by_order[1].items():
        pairs.only_second.extend(places if order not in matched_there else [])
    for each in (pairs.both, pairs.only_first, pairs.only_second):
        each.sort()  # type: ignore[attr-defined]
    return pairs


# --- the whole ------------------------------------------------------------------------------------


def side_by_side(first: Path, second: Path, match_ns: int = MATCH_NS) -> dict[str, Any]:
    """Two runs beside each other over the time that both cover; plain data for JSON and people.

    match_ns : how far apart two decisions may lie to be about the same order
    raises DataError if a folder is not a run or a table cannot be read
    """
    symbols: dict[str, int] = {}
    sides = Side(first, symbols), Side(second, symbols)
    lo = max(each.span[0] for each in sides)
    hi = min(each.span[1] for each in sides)
    facts: dict[str, Any] = {
        "version": BESIDE_VERSION,
        "runs": [_run_facts(each) for each in sides],
        "span": _span_facts(sides, lo, hi),
    }
    if hi <= lo:
        return facts | {"measures": [], "entries": None, "orders": None, "fills": None, "split": []}
    outside = [_outside(each, lo, hi) for each in sides]
    for each in sides:
        each.cut(lo, hi)
    names = list(symbols)
    orders = match_rows(
        sides[0].orders, sides[1].orders, ("sym", "role", "side", "route"), "ts_decided", match_ns
    )
    fills = _match_fills(sides[0].fills, sides[1].fills, (sides[0].orders, sides[1].orders), orders)
    parting = _first_fill_that_differs(sides, fills, names)
    facts["span"]["outside"] = outside
    return facts | {
        "entries": _entries(sides, names, fills),
        "orders": _order_facts(sides, orders),
        "fills": _fill_facts(sides, fills) | {"first_difference": parting},
        "measures": measures(sides, hi),
        "split": split(sides, names),
    }


def _run_facts(side: Side) -> dict[str, Any]:
    manifest = side.manifest
    capture = manifest["capture"]
    lo, hi = side.span
    return {
        "folder": str(side.folder),
        "mode": manifest["mode"],
        "market_of": capture["id"] if capture.get("kind") == "session" else None,
        "config_hash": manifest["config_hash"],
        "first": utc_text(lo),
        "last": utc_text(hi),
    }


def _span_facts(sides: tuple[Side, Side], lo: int, hi: int) -> dict[str, Any]:
    if hi <= lo:
        return {"seconds": 0.0, "first": None, "last": None, "outside": []}
    return {"seconds": (hi - lo) / 1e9, "first": utc_text(lo), "last": utc_text(hi), "outside": []}


def _outside(side: Side, lo: int, hi: int) -> dict[str, Any]:
    """What of a run lies before or after the time that both cover."""

    def count(ts: np.ndarray) -> int:
        return int(((ts < lo) | (ts > hi)).sum())

    taken = side.decisions["outcome"] == EXECUTE
    return {
        "seconds_before": (lo - side.span[0]) / 1e9,
        "seconds_after": (side.span[1] - hi) / 1e9,
        "entries": count(side.decisions["ts"][taken]),
        "fills": count(side.fills["ts"]),
        "round_trips": count(side.trips["ts"]),
    }


# --- entries --------------------------------------------------------------------------------------


def _entries(sides: tuple[Side, Side], names: list[str], fills: _Pairs) -> dict[str, Any]:
    """Decisions to enter: agreed (same symbol, time and route), or of one run only."""
    rows = [where(each.decisions, each.decisions["outcome"] == EXECUTE) for each in sides]
    by_key = [_places(each) for each in rows]
    agree = same_plan = 0
    only: list[list[tuple[int, int]]] = [[], []]
    first: dict[str, Any] | None = None
    for key in sorted({*by_key[0], *by_key[1]}):
        places = by_key[0].get(key), by_key[1].get(key)
        here = [
            None if place is None else _plan(side, row, place)
            for side, row, place in zip(sides, rows, places, strict=True)
        ]
        if here[0] is not None and here[1] is not None and here[0]["key"] == here[1]["key"]:
            agree += 1
            same = here[0] == here[1]
            same_plan += same
            if same:
                continue
            kind = "another size or price"
        else:
            for which in (0, 1):
                if here[which] is not None:
                    only[which].append(key)
            kind = (
                "another route"
                if None not in here
                else ("only the first" if here[1] is None else "only the second")
            )
        if first is None:
            first = _parting(sides, names, key, kind, here, fills)
    return {
        "agree": agree,
        "same_size_and_price": same_plan,
        "only_first": len(only[0]),
        "only_second": len(only[1]),
        # Why the other run did not enter then, most frequent first.
        "blockers_of_second": _blockers_at(sides[1], only[0]),
        "blockers_of_first": _blockers_at(sides[0], only[1]),
        "first_parting": first,
    }


def _places(rows: Columns) -> dict[tuple[int, int], int]:
    """Where the decision of a time and symbol stands."""
    keys = zip(rows["ts"].tolist(), rows["sym"].tolist(), strict=True)
    return {key: place for place, key in enumerate(keys)}


def _plan(side: Side, rows: Columns, place: int) -> dict[str, Any]:
    own = int(rows["own_sym"][place])
    return {
        "key": int(rows["route"][place]),
        "route": side.route_text(int(rows["key"][place])),
        "qty": side.qty(own, rows["qty"][place]),
        "price": side.price(own, rows["price"][place]),
    }


def _decision_at(side: Side, key: tuple[int, int]) -> int | None:
    rows = side.decisions
    found = np.flatnonzero((rows["ts"] == key[0]) & (rows["sym"] == key[1]))
    return int(found[0]) if len(found) else None


def _reason_at(side: Side, key: tuple[int, int]) -> tuple[str, str]:
    """(code, sentence): what kept a run from entering at that time."""
    place = _decision_at(side, key)
    if place is None:
        return "NOT_EVALUATED", "this run did not look at the symbol at that time"
    code = int(side.decisions["blocker"][place])
    if int(side.decisions["outcome"][place]) == EXECUTE:
        return "ANOTHER_ROUTE", "this run entered by another route"
    return REASONS.get(code, (str(code), "a reason of another version"))


def _blockers_at(side: Side, keys: list[tuple[int, int]]) -> dict[str, int]:
    rows = side.decisions
    known = _places(rows) if keys else {}
    found: Counter[str] = Counter()
    for key in keys:
        place = known.get(key)
        if place is None:
            found["NOT_EVALUATED"] += 1
        elif int(rows["outcome"][place]) == EXECUTE:
            found["ANOTHER_ROUTE"] += 1
        else:
            code = int(rows["blocker"][place])
            found[REASONS.get(code, (str(code), ""))[0]] += 1
    return dict(found.most_common())


def _parting(
    sides: tuple[Side, Side],
    names: list[str],
    key: tuple[int, int],
    kind: str,
    plans: list[dict[str, Any] | None],
    fills: _Pairs,
) -> dict[str, Any]:
    """The first entry on which the runs part, with what they saw, and what came before."""
    ts, sym = key
    before = _first_fill_that_differs(sides, fills, names, until=ts)
    states = [_state_before(each, ts) for each in sides]
    why = []
    for which, (side, plan, word) in enumerate(zip(sides, plans, ("first", "second"), strict=True)):
        if plan is None:
            code, text = _reason_at(side, key)
            place = _decision_at(side, key)
            outcome = "" if place is None else OUTCOME_NAMES[int(side.decisions["outcome"][place])]
            why.append(f"the {word} run did not enter: {code}, {text}")
            states[which] |= {"outcome": outcome, "blocker": code}
        else:
            why.append(
                f"the {word} run entered: {plan['route']}, {plan['qty']:.8g} at {plan['price']:.8g}"
            )
            states[which] |= {"outcome": OUTCOME_NAMES[EXECUTE], "blocker": "OK"}
    if before is not None:
        why.append(f"their fills had parted before: {before['text']}")
    elif states[0]["equity"] != states[1]["equity"] or states[0]["free"] != states[1]["free"]:
        why.append("no fill had differed before, but their equity or free capital had")
    else:
        why.append(
            "no fill had differed before: parameters, program or facts of the session differ"
        )
    for plan in plans:
        if plan is not None:
            plan.pop("key")
    return {
        "time": utc_text(ts),
        "ts": ts,
        "symbol": names[sym],
        "kind": kind,
        "first": {"plan": plans[0], **states[0]},
        "second": {"plan": plans[1], **states[1]},
        "fill_before": before,
        "why": why,
    }


def _state_before(side: Side, ts: int) -> dict[str, Any]:
    """How a run stood when it decided: the row of its own evaluation has the new order in it already."""
    rows = side.evaluations
    place = int(np.searchsorted(rows["ts"], ts, side="left")) - 1
    if place < 0:
        return {"equity": None, "free": None, "open_orders": None, "positions": None}
    return {
        "equity": in_quote(int(rows["equity"][place])),
        "free": in_quote(int(rows["free"][place])),
        "open_orders": int(rows["n_open_orders"][place]),
        "positions": int(rows["n_positions"][place]),
    }


# --- orders and fills -----------------------------------------------------------------------------


def _order_facts(sides: tuple[Side, Side], pairs: _Pairs) -> dict[str, Any]:
    """Which orders both sent, and whether both were filled."""
    first, second = sides[0].orders, sides[1].orders
    fate: Counter[str] = Counter()
    waits = []
    for i, j in pairs.both:
        filled = bool(first["ts_filled"][i]), bool(second["ts_filled"][j])
        fate[
            {
                (True, True): "both_filled",
                (True, False): "only_first_filled",
                (False, True): "only_second_filled",
                (False, False): "none_filled",
            }[filled]
        ] += 1
        if all(filled):
            ours = first["ts_filled"][i] - first["ts_decided"][i]
            waits.append((second["ts_filled"][j] - second["ts_decided"][j] - ours) / MS)
    by_role = {}
    for role, name in ROLE_NAMES.items():
        found = {
            "both": sum(int(first["role"][i]) == role for i, _ in pairs.both),
            "only_first": sum(int(first["role"][i]) == role for i in pairs.only_first),
            "only_second": sum(int(second["role"][j]) == role for j in pairs.only_second),
        }
        if any(found.values()):
            by_role[name] = found
    return pairs.counts() | {
        "by_role": by_role,
        **{
            name: fate[name]
            for name in ("both_filled", "only_first_filled", "only_second_filled", "none_filled")
        },
        "later_filled_ms": quantiles(np.array(waits)),
    }


def _fill_facts(sides: tuple[Side, Side], pairs: _Pairs) -> dict[str, Any]:
    same = sum(_fill(sides[0], i) == _fill(sides[1], j) for i, j in pairs.both)
    later = [int(sides[1].fills["ts"][j] - sides[0].fills["ts"][i]) / MS for i, j in pairs.both]
    worse = []
    for i, j in pairs.both:
        ours, theirs = _fill(sides[0], i), _fill(sides[1], j)
        worse.append(ours["side"] * (theirs["price"] - ours["price"]) / ours["price"] * 1e4)
    return pairs.counts() | {
        "same": same,
        "later_ms": quantiles(np.array(later)),
        # + where the second run's fill is worse for us.
        "worse_bps": quantiles(np.array(worse)),
    }


def _fill(side: Side, place: int) -> dict[str, Any]:
    rows = side.fills
    own = int(rows["own_sym"][place])
    return {
        "side": int(rows["side"][place]),
        "price": side.price(own, rows["price"][place]),
        "qty": side.qty(own, rows["qty"][place]),
        "maker": bool(rows["maker"][place]),
    }


def _fill_text(side: Side, place: int, names: list[str]) -> str:
    fill = _fill(side, place)
    rows = side.fills
    return (
        f"{ROLE_NAMES.get(int(rows['role'][place]), '?')} {'buy' if fill['side'] > 0 else 'sell'} "
        f"{fill['qty']:.8g} {names[int(rows['sym'][place])]} at {fill['price']:.8g} as "
        f"{'maker' if fill['maker'] else 'taker'}, {utc_text(int(rows['ts'][place]))}"
    )


def _first_fill_that_differs(
    sides: tuple[Side, Side], pairs: _Pairs, names: list[str], until: int | None = None
) -> dict[str, Any] | None:
    """The earliest fill that one run lacks, or has at another price, quantity, liquidity or time."""
    found: list[tuple[int, int | None, int | None]] = []
    ts = sides[0].fills["ts"], sides[1].fills["ts"]
    for i, j in pairs.both:
        if ts[0][i] != ts[1][j] or _fill(sides[0], i) != _fill(sides[1], j):
            found.append((min(int(ts[0][i]), int(ts[1][j])), i, j))
    found += [(int(ts[0][i]), i, None) for i in pairs.only_first]
    found += [(int(ts[1][j]), None, j) for j in pairs.only_second]
    found = [each for each in found if until is None or each[0] <= until]
    if not found:
        return None
    when, *places = min(found, key=lambda each: each[0])
    texts = [
        None if place is None else _fill_text(side, place, names)
        for side, place in zip(sides, places, strict=True)
    ]
    differs = ["missing"]
    if None not in texts:
        ours, theirs = (
            _fill(side, place) | {"time": int(side.fills["ts"][place])}
            for side, place in zip(sides, places, strict=True)
            if place is not None
        )
        differs = [name for name in ours if ours[name] != theirs[name]]
    return {
        "time": utc_text(when),
        "ts": when,
        "first": texts[0],
        "second": texts[1],
        "differs": differs,
        "text": f"first run {texts[0] or 'nothing'}; second run {texts[1] or 'nothing'} "
        f"({', '.join(differs)})",
    }
