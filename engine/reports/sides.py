"""What of a run is put beside another? Its tables as columns, symbols numbered as in both runs.

Only the columns that sidebyside.py and served.py ask for are read. Left out: what is made of them.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from engine.core.routes import route_name
from engine.errors import DataError
from engine.instruments import InstrumentTable
from engine.reports.manifest import read_manifest
from engine.units import MONEY_PER_UNIT

ROUTE_BITS: Final = 18  # of a route key below its symbol, whose row may differ between runs

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


class Side:
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
        self.orders = self._read("orders", ORDERS)  # every change; `cut` keeps one row per order

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

    def cut(self, lo: int, hi: int) -> None:
        """Keep what lies from `lo` to `hi` (ns), and of orders decided then what was known at `hi`."""
        for name in ("decisions", "fills", "trips", "equity", "evaluations"):
            columns = getattr(self, name)
            setattr(self, name, where(columns, (columns["ts"] >= lo) & (columns["ts"] <= hi)))
        known = newest_of_each(where(self.orders, self.orders["ts"] <= hi))
        self.orders = where(known, known["ts_decided"] >= lo)

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
        known = where(self.decisions, (self.decisions["bid"] > 0) & (self.decisions["ask"] > 0))
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


def where(columns: Columns, keep: np.ndarray) -> Columns:
    return {name: values[keep] for name, values in columns.items()}


def newest_of_each(rows: Columns) -> Columns:
    """One row per order: its newest, with the stamps that any of its rows had."""
    if not len(rows["id"]):
        return rows
    ids, inverse = np.unique(rows["id"], return_inverse=True)
    last = np.zeros(len(ids), np.int64)
    np.maximum.at(last, inverse, np.arange(len(inverse)))
    newest = where(rows, last)
    for name in ("filled", "ts_sent", "ts_acked", "ts_filled"):
        newest[name] = np.zeros(len(ids), np.int64)
        np.maximum.at(newest[name], inverse, rows[name])
    return where(newest, np.argsort(newest["ts_decided"], kind="stable"))


def in_quote(money: int) -> float:
    """Money units as a number of the quote currency, for people."""
    return money / MONEY_PER_UNIT
