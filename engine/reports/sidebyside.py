"""How far can one run be trusted as a picture of another? Two runs over the same time, side by side.

A live session and its simulation, two versions, two sets of parameters: which entries both decide
and where they first part, which orders and fills both have, and how either was served: fill rates,
waiting, latency, slippage, fees, markouts, profit. Orders are matched by route and time of decision,
since ids differ; only the time that both runs share counts. Plain data for JSON and people. Left
out: rows bit by bit (compare.py), pictures (pictures.py), and any judgement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.clock import utc_text
from engine.commands import ROLE_ENTRY, ROLE_NAMES
from engine.core.exits import EXIT_NAMES
from engine.core.orders import ORDER_STATE_REJECTED
from engine.core.records import EXECUTE, OUTCOME_NAMES, REASONS
from engine.core.routes import ENTRY_NAMES, route_entry_mode, route_family, route_name
from engine.errors import DataError
from engine.instruments import InstrumentTable
from engine.reports.manifest import read_manifest
from engine.reports.markouts import HORIZONS_S
from engine.units import MONEY_PER_UNIT

BESIDE_VERSION: Final = 1
MATCH_NS: Final = 2_000_000_000  # orders decided further apart than this are not the same order
ROUTE_BITS: Final = 18  # of a route key below its symbol, whose row may differ between runs
NO_TIME: Final = 0
MS: Final = 1e6

Columns = dict[str, np.ndarray]

DECISIONS: Final = (
    *("ts", "sym", "outcome", "blocker", "route", "bid", "ask", "mid_half_ticks"),
    *("qty", "price", "n_active"),
)
ORDERS: Final = (
    *("ts", "id", "sym", "route", "role", "side", "qty", "filled", "state"),
    *("ts_decided", "ts_sent", "ts_acked", "ts_filled"),
)
FILLS: Final = (
    *("ts", "ts_venue", "order", "sym", "route", "role", "side", "price", "qty", "notional"),
    *("fee", "maker", "mid_half_ticks"),
)
TRIPS: Final = ("ts", "sym", "route", "bought", "sold", "fees", "net", "exit_reason")
EQUITY: Final = ("ts", "equity", "unrealized", "drawdown")
EVALUATIONS: Final = ("ts", "equity", "free", "n_open_orders", "n_positions")


class _Side:
    """One run: its tables as columns, symbols numbered as in both runs together."""

    def __init__(self, folder: Path, symbols: dict[str, int]) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        self.table = InstrumentTable.from_json(self.manifest["instruments"])
        self._steps = self.table.rows()
        self.families = {int(code): name for code, name in self.manifest["families"].items()}
        self.rows = np.array(
            [symbols.setdefault(each, len(symbols)) for each in self.table.symbols], np.int64
        )
        self.decisions = self._read("decisions", DECISIONS)
        self.fills = self._read("fills", FILLS)
        self.trips = self._read("realized", TRIPS)
        self.equity = self._read("equity", EQUITY)
        self.evaluations = self._read("evaluations", EVALUATIONS)
        self.orders = _newest_of_each(self._read("orders", ORDERS))

    def _read(self, table: str, names: tuple[str, ...]) -> Columns:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.folder / f"{table}.parquet"
        try:
            read = pq.read_table(path, columns=list(names))
            found: Columns = {name: read.column(name).to_numpy() for name in names}
        except (OSError, KeyError, pa.ArrowException) as error:
            raise DataError(
                f"{path} cannot be read: {error}.", "Replay the profile again; runs are cheap."
            ) from error
        if "sym" in found:
            found["own_sym"] = found["sym"]
            found["sym"] = self.rows[found["sym"]]
        if "route" in found:
            found["key"] = found["route"]
            bare = (found["route"] - 1) & ((1 << ROUTE_BITS) - 1)
            found["route"] = np.where(found["route"] > 0, bare + 1, 0)
        return found

    @property
    def span(self) -> tuple[int, int]:
        stamps = [
            each["ts"]
            for each in (self.evaluations, self.fills, self.equity, self.decisions)
            if len(each["ts"])
        ]
        if not stamps:
            return 0, 0
        return min(int(each[0]) for each in stamps), max(int(each[-1]) for each in stamps)

    def route_text(self, key: int) -> str:
        """`momentum 60s take`; the symbol stands elsewhere."""
        text = route_name(key, self.table.symbols, self.families)
        return text.partition(" ")[2] or "none"

    def price(self, own_sym: int, ticks: int) -> float:
        rows = self._steps[own_sym]
        return int(ticks) * int(rows["tick_num"]) / 10.0 ** int(rows["price_precision"])

    def qty(self, own_sym: int, lots: int) -> float:
        rows = self._steps[own_sym]
        return int(lots) * int(rows["lot_num"]) / 10.0 ** int(rows["qty_precision"])

    @cached_property
    def mids(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Per symbol: stamps and mids (half ticks) of the evaluations, by time."""
        known = _where(self.decisions, (self.decisions["bid"] > 0) & (self.decisions["ask"] > 0))
        return {
            int(sym): (
                known["ts"][known["sym"] == sym],
                known["mid_half_ticks"][known["sym"] == sym],
            )
            for sym in np.unique(known["sym"])
        }

    def mid_at(self, syms: np.ndarray, stamps: np.ndarray) -> np.ndarray:
        """float64[n], half ticks: the newest mid at or before each stamp, NaN where there is none."""
        found = np.full(len(syms), np.nan)
        for sym, (ts, mids) in self.mids.items():
            ours = np.flatnonzero(syms == sym)
            places = np.searchsorted(ts, stamps[ours], side="right") - 1
            known = places >= 0
            found[ours[known]] = mids[places[known]]
        return found


def _where(columns: Columns, keep: np.ndarray) -> Columns:
    return {name: values[keep] for name, values in columns.items()}


def _newest_of_each(rows: Columns) -> Columns:
    """One row per order: its newest, with the stamps that any of its rows had."""
    if not len(rows["id"]):
        return rows
    ids, inverse = np.unique(rows["id"], return_inverse=True)
    last = np.zeros(len(ids), np.int64)
    np.maximum.at(last, inverse, np.arange(len(inverse)))
    newest = _where(rows, last)
    for name in ("filled", "ts_sent", "ts_acked", "ts_filled"):
        newest[name] = np.zeros(len(ids), np.int64)
        np.maximum.at(newest[name], inverse, rows[name])
    return _where(newest, np.argsort(newest["ts_decided"], kind="stable"))


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
    sides = _Side(first, symbols), _Side(second, symbols)
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
        _cut(each, lo, hi)
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
        "measures": _measures(sides, hi),
        "split": _split(sides, names),
    }


def _run_facts(side: _Side) -> dict[str, Any]:
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


def _span_facts(sides: tuple[_Side, _Side], lo: int, hi: int) -> dict[str, Any]:
    if hi <= lo:
        return {"seconds": 0.0, "first": None, "last": None, "outside": []}
    return {"seconds": (hi - lo) / 1e9, "first": utc_text(lo), "last": utc_text(hi), "outside": []}


def _outside(side: _Side, lo: int, hi: int) -> dict[str, Any]:
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


def _cut(side: _Side, lo: int, hi: int) -> None:
    for name, stamp in (
        ("decisions", "ts"), ("fills", "ts"), ("trips", "ts"), ("equity", "ts"),
        ("evaluations", "ts"), ("orders", "ts_decided"),
    ):  # fmt: skip
        columns = getattr(side, name)
        ts = columns[stamp]
        setattr(side, name, _where(columns, (ts >= lo) & (ts <= hi)))
    # What became of an order later than both cover is nobody's business here.
    for name in ("ts_sent", "ts_acked", "ts_filled"):
        late = side.orders[name] > hi
        side.orders[name] = np.where(late, NO_TIME, side.orders[name])


# --- entries --------------------------------------------------------------------------------------


def _entries(sides: tuple[_Side, _Side], names: list[str], fills: _Pairs) -> dict[str, Any]:
    """Decisions to enter: agreed (same symbol, time and route), or of one run only."""
    rows = [_where(each.decisions, each.decisions["outcome"] == EXECUTE) for each in sides]
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


def _plan(side: _Side, rows: Columns, place: int) -> dict[str, Any]:
    own = int(rows["own_sym"][place])
    return {
        "key": int(rows["route"][place]),
        "route": side.route_text(int(rows["key"][place])),
        "qty": side.qty(own, rows["qty"][place]),
        "price": side.price(own, rows["price"][place]),
    }


def _decision_at(side: _Side, key: tuple[int, int]) -> int | None:
    rows = side.decisions
    found = np.flatnonzero((rows["ts"] == key[0]) & (rows["sym"] == key[1]))
    return int(found[0]) if len(found) else None


def _reason_at(side: _Side, key: tuple[int, int]) -> tuple[str, str]:
    """(code, sentence): what kept a run from entering at that time."""
    place = _decision_at(side, key)
    if place is None:
        return "NOT_EVALUATED", "this run did not look at the symbol at that time"
    code = int(side.decisions["blocker"][place])
    if int(side.decisions["outcome"][place]) == EXECUTE:
        return "ANOTHER_ROUTE", "this run entered by another route"
    return REASONS.get(code, (str(code), "a reason of another version"))


def _blockers_at(side: _Side, keys: list[tuple[int, int]]) -> dict[str, int]:
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
    sides: tuple[_Side, _Side],
    names: list[str],
    key: tuple[int, int],
    kind: str,
    plans: list[dict[str, Any] | None],
    fills: _Pairs,
) -> dict[str, Any]:
    """The first entry on which the runs part, with what they saw, and what came before."""
    ts, sym = key
    before = _first_fill_that_differs(sides, fills, names, until=ts)
    states = [_state_at(each, ts) for each in sides]
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


def _state_at(side: _Side, ts: int) -> dict[str, Any]:
    rows = side.evaluations
    place = int(np.searchsorted(rows["ts"], ts, side="right")) - 1
    if place < 0:
        return {"equity": None, "free": None, "open_orders": None, "positions": None}
    return {
        "equity": _quote(int(rows["equity"][place])),
        "free": _quote(int(rows["free"][place])),
        "open_orders": int(rows["n_open_orders"][place]),
        "positions": int(rows["n_positions"][place]),
    }


# --- orders and fills -----------------------------------------------------------------------------


def _order_facts(sides: tuple[_Side, _Side], pairs: _Pairs) -> dict[str, Any]:
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
        "later_filled_ms": _quantiles(np.array(waits)),
    }


def _fill_facts(sides: tuple[_Side, _Side], pairs: _Pairs) -> dict[str, Any]:
    same = sum(_fill(sides[0], i) == _fill(sides[1], j) for i, j in pairs.both)
    later = [int(sides[1].fills["ts"][j] - sides[0].fills["ts"][i]) / MS for i, j in pairs.both]
    worse = []
    for i, j in pairs.both:
        ours, theirs = _fill(sides[0], i), _fill(sides[1], j)
        worse.append(ours["side"] * (theirs["price"] - ours["price"]) / ours["price"] * 1e4)
    return pairs.counts() | {
        "same": same,
        "later_ms": _quantiles(np.array(later)),
        # + where the second run's fill is worse for us.
        "worse_bps": _quantiles(np.array(worse)),
    }


def _fill(side: _Side, place: int) -> dict[str, Any]:
    rows = side.fills
    own = int(rows["own_sym"][place])
    return {
        "side": int(rows["side"][place]),
        "price": side.price(own, rows["price"][place]),
        "qty": side.qty(own, rows["qty"][place]),
        "maker": bool(rows["maker"][place]),
    }


def _fill_text(side: _Side, place: int, names: list[str]) -> str:
    fill = _fill(side, place)
    rows = side.fills
    return (
        f"{ROLE_NAMES.get(int(rows['role'][place]), '?')} {'buy' if fill['side'] > 0 else 'sell'} "
        f"{fill['qty']:.8g} {names[int(rows['sym'][place])]} at {fill['price']:.8g} as "
        f"{'maker' if fill['maker'] else 'taker'}, {utc_text(int(rows['ts'][place]))}"
    )


def _first_fill_that_differs(
    sides: tuple[_Side, _Side], pairs: _Pairs, names: list[str], until: int | None = None
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


# --- how either was served ------------------------------------------------------------------------


def _quantiles(values: np.ndarray) -> dict[str, Any]:
    """n, median, 90 and 99 of a hundred, largest; nothing but n where there are none."""
    if not len(values):
        return {"n": 0, "median": None, "p90": None, "p99": None, "max": None}
    median, p90, p99 = np.percentile(values, (50, 90, 99)).tolist()
    return {"n": len(values), "median": median, "p90": p90, "p99": p99, "max": float(values.max())}


def _quote(money: int) -> float:
    return money / MONEY_PER_UNIT


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _mean(values: np.ndarray, weights: np.ndarray | None = None) -> float | None:
    known = ~np.isnan(values)
    if not known.any():
        return None
    if weights is None:
        return float(values[known].mean())
    total = float(weights[known].sum())
    return float((values[known] * weights[known]).sum() / total) if total else None


Measure = tuple[str, str, str, float | None]  # group, name, unit, value


def _measures(sides: tuple[_Side, _Side], hi: int) -> list[dict[str, Any]]:
    """One row per measure: group, name, unit, both values, second - first."""
    found = [
        {(group, name, unit): value for group, name, unit, value in _measured(each, hi)}
        for each in sides
    ]
    rows = []
    for key in dict.fromkeys((*found[0], *found[1])):
        first, second = found[0].get(key), found[1].get(key)
        known = first is not None and second is not None
        rows.append(
            {
                "group": key[0],
                "measure": key[1],
                "unit": key[2],
                "first": first,
                "second": second,
                "difference": second - first if known else None,  # type: ignore[operator]
            }
        )
    return rows


def _measured(side: _Side, hi: int) -> Iterable[Measure]:
    yield from _measured_orders(side)
    yield from _measured_latency(side)
    yield from _measured_fills(side, hi)
    yield from _measured_profit(side)


def _measured_orders(side: _Side) -> Iterable[Measure]:
    entries = _where(side.orders, side.orders["role"] == ROLE_ENTRY)
    filled = entries["ts_filled"] > 0
    yield "entries", "orders", "", float(len(filled))
    yield "entries", "refused", "", float((entries["state"] == ORDER_STATE_REJECTED).sum())
    yield "entries", "filled, at least in part", "", float(filled.sum())
    yield "entries", "fill rate", "share", _ratio(float(filled.sum()), len(filled))
    whole = filled & (entries["filled"] >= entries["qty"])
    yield "entries", "filled whole", "share", _ratio(float(whole.sum()), len(filled))
    modes = np.array([int(route_entry_mode(key)) if key else 0 for key in entries["key"].tolist()])
    for mode, name in ENTRY_NAMES.items():
        if (ours := modes == mode).any():
            rate = _ratio(float(filled[ours].sum()), int(ours.sum()))
            yield "entries", f"fill rate, {name}", "share", rate
    start = np.where(entries["ts_sent"] > 0, entries["ts_sent"], entries["ts_decided"])
    waits = _quantiles((entries["ts_filled"] - start)[filled] / MS)
    yield "entries", "time to first fill, median", "ms", waits["median"]
    yield "entries", "time to first fill, 90 %", "ms", waits["p90"]


def _measured_latency(side: _Side) -> Iterable[Measure]:
    orders = side.orders
    for name, start, end in (
        ("decided to sent", "ts_decided", "ts_sent"),
        ("sent to acknowledged", "ts_sent", "ts_acked"),
        ("acknowledged to first fill", "ts_acked", "ts_filled"),
        ("decided to first fill", "ts_decided", "ts_filled"),
    ):
        known = (orders[start] > 0) & (orders[end] > 0)
        found = _quantiles((orders[end] - orders[start])[known] / MS)
        yield "latency", f"{name}, median", "ms", found["median"]
        yield "latency", f"{name}, 99 %", "ms", found["p99"]


def _measured_fills(side: _Side, hi: int) -> Iterable[Measure]:
    fills = side.fills
    notional = fills["notional"].astype(np.float64)
    volume, fees = int(fills["notional"].sum()), int(fills["fee"].sum())
    maker = fills["maker"] == 1
    entry = fills["role"] == ROLE_ENTRY
    yield "fills", "fills", "", float(len(maker))
    yield "fills", "volume", "quote", _quote(volume)
    yield "fills", "fees", "quote", _quote(fees)
    yield "fills", "fees", "bps of volume", _ratio(1e4 * fees, volume)
    yield "fills", "maker share", "of volume", _ratio(float(notional[maker].sum()), volume)
    yield (
        "fills",
        "maker share, entries",
        "of volume",
        _ratio(float(notional[maker & entry].sum()), float(notional[entry].sum())),
    )
    price = 2.0 * fills["price"]
    at_fill = np.where(fills["mid_half_ticks"] > 0, fills["mid_half_ticks"], np.nan)
    decided = dict(zip(side.orders["id"].tolist(), side.orders["ts_decided"].tolist(), strict=True))
    stamps = np.array([decided.get(each, 0) for each in fills["order"].tolist()], np.int64)
    at_decision = side.mid_at(fills["sym"], stamps)
    for which, mids in (("decision", at_decision), ("fill", at_fill)):
        bps = fills["side"] * (price - mids) / mids * 1e4
        for word, ours in (("entries", entry), ("exits", ~entry)):
            value = _mean(bps[ours], notional[ours])
            yield "slippage", f"{word}, against the mid at the {which}", "bps", value
    happened = np.where(fills["ts_venue"] > 0, fills["ts_venue"], fills["ts"])
    last = int(side.decisions["ts"][-1]) if len(side.decisions["ts"]) else 0
    for horizon in HORIZONS_S:
        at = happened + horizon * 1_000_000_000
        later = np.where(at <= min(last, hi), side.mid_at(fills["sym"], at), np.nan)
        bps = fills["side"] * (later - price) / price * 1e4
        yield "markout", f"entries, after {horizon} s", "bps", _mean(bps[entry])


def _measured_profit(side: _Side) -> Iterable[Measure]:
    trips, equity = side.trips, side.equity
    n, net = len(trips["ts"]), int(trips["net"].sum())
    gross = int((trips["sold"] - trips["bought"]).sum())
    yield "profit", "round trips", "", float(n)
    yield "profit", "won", "share", _ratio(float((trips["net"] > 0).sum()), n)
    yield "profit", "realised before fees", "quote", _quote(gross)
    yield "profit", "fees of round trips", "quote", _quote(int(trips["fees"].sum()))
    yield "profit", "realised", "quote", _quote(net)
    yield "profit", "gains", "quote", _quote(int(trips["net"][trips["net"] > 0].sum()))
    yield "profit", "losses", "quote", _quote(int(trips["net"][trips["net"] < 0].sum()))
    if len(equity["ts"]):
        yield "profit", "unrealised at the end", "quote", _quote(int(equity["unrealized"][-1]))
        yield "profit", "equity at the start", "quote", _quote(int(equity["equity"][0]))
        yield "profit", "equity at the end", "quote", _quote(int(equity["equity"][-1]))
        yield "profit", "deepest drawdown", "quote", _quote(int(equity["drawdown"].max()))


def _split(sides: tuple[_Side, _Side], names: list[str]) -> list[dict[str, Any]]:
    """Realised profit by symbol, family and exit: trips and money of either run."""

    def family(side: _Side, place: int) -> str:
        code = int(route_family(int(side.trips["key"][place])))
        return side.families.get(code, str(code))

    def exit_(side: _Side, place: int) -> str:
        return EXIT_NAMES.get(int(side.trips["exit_reason"][place]), "none")

    kinds: tuple[tuple[str, Callable[[_Side, int], str]], ...] = (
        ("symbol", lambda side, place: names[int(side.trips["sym"][place])]),
        ("family", family),
        ("exit", exit_),
    )
    rows = []
    for by, name_of in kinds:
        sums: dict[str, list[list[int]]] = {}
        for which, side in enumerate(sides):
            for place in range(len(side.trips["ts"])):
                mine = sums.setdefault(name_of(side, place), [[0, 0], [0, 0]])[which]
                mine[0] += 1
                mine[1] += int(side.trips["net"][place])
        for name, (first, second) in sorted(sums.items()):
            rows.append(
                {
                    "by": by,
                    "name": name,
                    "round_trips": [first[0], second[0]],
                    "net": [_quote(first[1]), _quote(second[1])],
                    "difference": _quote(second[1] - first[1]),
                }
            )
    return rows
