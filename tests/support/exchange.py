"""The simulated venue and its naive twin, driven by the same plain dictionaries.

An event or a command is a dict of the fields that matter; `Exchange` makes the record, hands it
to the kernels and gives the answers as tuples (kind, sym, side, price, qty, id, aux, flags).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

from engine import commands as c
from engine import events as e
from engine.book import book_qty
from engine.instruments import Instrument, InstrumentTable
from engine.units import RATE_SCALE
from engine.venue.matching import venue_command, venue_market, venue_next_time, venue_timer
from engine.venue.params import venue_params
from engine.venue.state import Venue, held_total, make_venue
from tests.naive.venue import NaiveVenue

T0 = 1_760_000_000_000_000_000
OUT_FIELDS = ("kind", "sym", "side", "price", "qty", "id", "aux", "flags")

# What most tests want: no limits, no latency, no fees; a test names what it is about.
PLAIN: dict[str, Any] = {"feed_ns": 0, "entry_sigma": 0.0, "response_sigma": 0.0}


def instrument_rows(
    n: int = 1,
    price_precision: int = 2,
    qty_precision: int = 4,
    qty_min: int = 1,
    cost_min: int = 0,
) -> np.ndarray:
    """INSTRUMENT_ROW[n] of pairs with these steps; qty_min in lots, cost_min in money."""
    table = InstrumentTable(
        Instrument(
            f"{name}/USD",
            Decimal(1).scaleb(-price_precision),
            Decimal(1).scaleb(-qty_precision),
            price_precision,
            qty_precision,
        )
        for name in ("AAA", "BBB", "CCC", "DDD")[:n]
    )
    rows = table.rows()
    rows["qty_min"], rows["cost_min"] = qty_min, cost_min
    return rows


def event_row(ts: int, **fields: int) -> np.void:
    row = np.zeros(1, e.EVENT)
    row["ts"] = ts
    for name, value in fields.items():
        row[name] = value
    return row[0]


def command_row(**fields: int) -> np.void:
    row = np.zeros(1, c.COMMAND)
    for name, value in fields.items():
        row[name] = value
    return row[0]


def full_command(**fields: int) -> dict[str, int]:
    """All fields that the venue reads: a good-till-canceled limit order unless told otherwise."""
    kind = fields.get("kind", c.ADD)
    base = {
        "kind": kind,
        "id": 0,
        "sym": 0,
        "side": 1,
        "type": c.LIMIT,
        "tif": c.GTC,
        "price": 0,
        "trigger": 0,
        "qty": 0,
        "expire_ts": 0,
        "post_only": 0,
    }
    return base | fields


class Exchange:
    """The compiled venue, one call at a time, drained after each."""

    def __init__(
        self,
        rows: np.ndarray | None = None,
        schedule: Any = "zero",
        tier: str = "off",
        cash: int = 10**15,
        base: Any = 10**9,
        depth: int = 0,
        **params: Any,
    ) -> None:
        self.rows = instrument_rows() if rows is None else rows
        self.params = venue_params(schedule, tier, **PLAIN | params)
        self.venue: Venue = make_venue(self.rows, self.params, cash=cash, base=base, depth=depth)
        self.t = T0
        self.now: list[tuple[int, ...]] = []
        self.log: list[tuple[int, ...]] = []

    @property
    def glob(self) -> np.void:
        return self.venue.glob[0]

    def drain(self) -> list[tuple[int, ...]]:
        n = int(self.glob["n_out"])
        rows = self.venue.out[:n]
        self.now = [tuple(int(row[name]) for name in OUT_FIELDS) for row in rows]
        assert all(int(row["ts"]) == int(row["ts_venue"]) == self.t for row in rows)
        self.glob["n_out"] = 0
        self.log += self.now
        return self.now

    def market(self, fault: int = 0, **fields: int) -> list[tuple[int, ...]]:
        assert venue_market(self.venue, event_row(self.t, **fields)) == fault
        return self.drain()

    def command(self, **fields: int) -> list[tuple[int, ...]]:
        assert venue_command(self.venue, command_row(**full_command(**fields)), self.t) == 0
        return self.drain()

    def timer(self) -> list[tuple[int, ...]]:
        assert venue_timer(self.venue, self.t) == 0
        return self.drain()

    def next_time(self) -> int:
        return int(venue_next_time(self.venue))

    # ---- phrases of the tests ----

    def book(self, bids: dict[int, int], asks: dict[int, int], sym: int = 0) -> None:
        """A snapshot with these levels; what it sets off is in `now`."""
        levels = [(1, *level) for level in bids.items()] + [(-1, *level) for level in asks.items()]
        everything = []
        for i, (side, price, qty) in enumerate(levels):
            last = e.LAST if i == len(levels) - 1 else 0
            everything += self.market(
                sym=sym, kind=e.BOOK_LEVEL, side=side, price=price, qty=qty, flags=e.SNAPSHOT | last
            )
        self.now = everything

    def level(self, side: int, price: int, qty: int, flags: int = e.LAST, sym: int = 0) -> Any:
        return self.market(sym=sym, kind=e.BOOK_LEVEL, side=side, price=price, qty=qty, flags=flags)

    def trade(self, side: int, price: int, qty: int, sym: int = 0) -> list[tuple[int, ...]]:
        return self.market(sym=sym, kind=e.TRADE, side=side, price=price, qty=qty, flags=e.LAST)

    def add(self, order_id: int, side: int, price: int, qty: int, **fields: int) -> Any:
        return self.command(id=order_id, side=side, price=price, qty=qty, **fields)

    def cancel(self, order_id: int, **fields: int) -> list[tuple[int, ...]]:
        return self.command(kind=c.CANCEL, id=order_id, **fields)

    def amend(self, order_id: int, **fields: int) -> list[tuple[int, ...]]:
        return self.command(kind=c.AMEND, id=order_id, **fields)

    def order(self, order_id: int) -> np.void:
        """The live order with this id."""
        found = self.venue.orders[
            (self.venue.orders["state"] != 0) & (self.venue.orders["id"] == order_id)
        ]
        assert len(found) == 1, f"order {order_id} is not alive"
        return found[0]

    def shown(self, side: int, price: int, sym: int = 0) -> int:
        """Lots at a price in the venue's copy of the book."""
        return int(book_qty(self.venue.symbols[sym]["book"], 0 if side > 0 else 1, price))

    def check(self) -> None:
        """What holds at every moment, in integers."""
        glob, symbols = self.glob, self.venue.symbols
        held, lots_held = held_total(self.venue)
        assert int(glob["cash_held"]) == held
        assert [int(x) for x in symbols["base_held"]] == lots_held
        assert 0 <= held <= int(glob["cash"])
        for symbol in symbols:
            assert 0 <= int(symbol["base_held"]) <= int(symbol["base"])
        live = self.venue.orders[self.venue.orders["state"] != 0]
        assert np.all((live["filled"] >= 0) & (live["filled"] < live["qty"]))
        assert np.all(live["ahead"] >= 0)
        assert int(glob["n_orders"]) == len(live) == int(symbols["n_live"].sum())

    def totals(self) -> tuple[int, ...]:
        """Customer and counterparty and fees, and lots per symbol: never change."""
        glob = self.glob
        money = int(glob["cash"]) + int(glob["counter_cash"]) + int(glob["fees"])
        symbols = self.venue.symbols
        return (money, *(int(s["base"]) + int(s["counter_base"]) for s in symbols))


def naive_twin(exchange: Exchange) -> NaiveVenue:
    """The twin of a fresh exchange."""
    row = exchange.params[0]
    params = {name: int(row[name]) for name in row.dtype.names if row.dtype[name].shape == ()}
    n = params["n_fee_tiers"]
    params["tiers"] = [
        (int(row["fee_volume"][i]), int(row["fee_maker_e6"][i]), int(row["fee_taker_e6"][i]))
        for i in range(n)
    ]
    rules = [{name: int(r[name]) for name in ("qty_min", "cost_min", "notional_num",
              "notional_den", "status")} for r in exchange.rows]  # fmt: skip
    twin = NaiveVenue(
        rules, params, int(exchange.glob["cash"]), [int(s["base"]) for s in exchange.venue.symbols]
    )
    for pair, symbol in zip(twin.pairs, exchange.venue.symbols, strict=True):
        pair.depth = int(symbol["depth"])
    assert RATE_SCALE == 10**6
    return twin
