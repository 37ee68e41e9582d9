"""How was a run served, and another beside it? Fill rates, waiting, latency, costs, profit.

One row per measure: group, name, unit, both values, second - first. Slippage is side x (fill - mid) / mid,
+ is a cost; a markout is side x (mid later - fill) / fill, + is good for us. Left out: what either
decided (sidebyside.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np

from engine.commands import ROLE_ENTRY
from engine.core.exits import EXIT_NAMES
from engine.core.orderstates import ORDER_STATE_REJECTED
from engine.core.routes import ENTRY_NAMES, route_entry_mode, route_family
from engine.reports.markouts import HORIZONS_S
from engine.reports.sides import Side, in_quote, where

MS: Final = 1e6


def quantiles(values: np.ndarray) -> dict[str, Any]:
    """n, median, 90 and 99 of a hundred, largest; nothing but n where there are none."""
    if not len(values):
        return {"n": 0, "median": None, "p90": None, "p99": None, "max": None}
    median, p90, p99 = np.percentile(values, (50, 90, 99)).tolist()
    return {"n": len(values), "median": median, "p90": p90, "p99": p99, "max": float(values.max())}


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


def measures(sides: tuple[Side, Side], hi: int) -> list[dict[str, Any]]:
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


def _measured(side: Side, hi: int) -> Iterable[Measure]:
    yield from _measured_orders(side)
    yield from _measured_latency(side)
    yield from _measured_fills(side, hi)
    yield from _measured_profit(side)


def _measured_orders(side: Side) -> Iterable[Measure]:
    entries = where(side.orders, side.orders["role"] == ROLE_ENTRY)
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
    waits = quantiles((entries["ts_filled"] - start)[filled] / MS)
    yield "entries", "time to first fill, median", "ms", waits["median"]
    yield "entries", "time to first fill, 90 %", "ms", waits["p90"]


def _measured_latency(side: Side) -> Iterable[Measure]:
    orders = side.orders
    for name, start, end in (
        ("decided to sent", "ts_decided", "ts_sent"),
        ("sent to acknowledged", "ts_sent", "ts_acked"),
        ("acknowledged to first fill", "ts_acked", "ts_filled"),
        ("decided to first fill", "ts_decided", "ts_filled"),
    ):
        known = (orders[start] > 0) & (orders[end] > 0)
        found = quantiles((orders[end] - orders[start])[known] / MS)
        yield "latency", f"{name}, median", "ms", found["median"]
        yield "latency", f"{name}, 99 %", "ms", found["p99"]


def _measured_fills(side: Side, hi: int) -> Iterable[Measure]:
    fills = side.fills
    notional = fills["notional"].astype(np.float64)
    volume, fees = int(fills["notional"].sum()), int(fills["fee"].sum())
    maker = fills["maker"] == 1
    entry = fills["role"] == ROLE_ENTRY
    yield "fills", "fills", "", float(len(maker))
    yield "fills", "volume", "quote", in_quote(volume)
    yield "fills", "fees", "quote", in_quote(fees)
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


def _measured_profit(side: Side) -> Iterable[Measure]:
    trips, equity = side.trips, side.equity
    n, net = len(trips["ts"]), int(trips["net"].sum())
    gross = int((trips["sold"] - trips["bought"]).sum())
    yield "profit", "round trips", "", float(n)
    yield "profit", "won", "share", _ratio(float((trips["net"] > 0).sum()), n)
    yield "profit", "realised before fees", "quote", in_quote(gross)
    yield "profit", "fees of round trips", "quote", in_quote(int(trips["fees"].sum()))
    yield "profit", "realised", "quote", in_quote(net)
    yield "profit", "gains", "quote", in_quote(int(trips["net"][trips["net"] > 0].sum()))
    yield "profit", "losses", "quote", in_quote(int(trips["net"][trips["net"] < 0].sum()))
    if len(equity["ts"]):
        yield "profit", "unrealised at the end", "quote", in_quote(int(equity["unrealized"][-1]))
        yield "profit", "equity at the start", "quote", in_quote(int(equity["equity"][0]))
        yield "profit", "equity at the end", "quote", in_quote(int(equity["equity"][-1]))
        yield "profit", "deepest drawdown", "quote", in_quote(int(equity["drawdown"].max()))


def split(sides: tuple[Side, Side], names: list[str]) -> list[dict[str, Any]]:
    """Realised profit by symbol, family and exit: trips and money of either run."""

    def family(side: Side, place: int) -> str:
        code = int(route_family(int(side.trips["key"][place])))
        return side.families.get(code, str(code))

    def exit_(side: Side, place: int) -> str:
        return EXIT_NAMES.get(int(side.trips["exit_reason"][place]), "none")

    kinds: tuple[tuple[str, Callable[[Side, int], str]], ...] = (
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
                    "net": [in_quote(first[1]), in_quote(second[1])],
                    "difference": in_quote(second[1] - first[1]),
                }
            )
    return rows
