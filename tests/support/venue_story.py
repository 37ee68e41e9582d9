"""Long random stories for the simulated venue: levels, prints, orders, gaps, from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from engine import commands as c
from engine import events as e
from engine.venue.params import MS, S
from tests.support.exchange import Exchange, full_command, instrument_rows

N_SYMBOLS = 2
MIDDLE = 12  # ticks: all that happens, happens around here
STOPS = (*range(c.STOP_LOSS, c.TRAILING_STOP + 1), c.TRAILING_STOP)
WAITS = (0, 0, 0, 1, 1, 100 * MS, 100 * MS, 2 * S, 40 * S, 86_400 * S * 3)


class Story:
    """A long random sequence of events and commands, each drawn from one generator.

    Drawn with `random` and not by hypothesis, whose short and simple examples hardly ever fill an
    order; hypothesis draws the seed, the length and the rules. A shorter story with the same seed
    is the beginning of a longer one, so failures still shrink.
    """

    def __init__(self, seed: int, length: int) -> None:
        self.draw = random.Random(seed)
        self.n_ids = 0
        self.steps: list[tuple[int, dict[str, int]]] = []
        for sym in range(N_SYMBOLS):
            self.put(0, self.snapshot(sym))
        kinds = [self.add] * 9 + [self.change] * 4 + [self.level] * 8 + [self.trade] * 9
        kinds += [self.any_snapshot, self.trouble, self.repair, self.cancel_all]
        while len(self.steps) < length:
            self.put(self.draw.choice(WAITS), self.draw.choice(kinds)())

    def put(self, wait: int, rows: list[dict[str, int]]) -> None:
        self.steps += [(wait if i == 0 else 0, row) for i, row in enumerate(rows)]

    def near(self) -> int:
        return MIDDLE + self.draw.randint(-6, 6)

    def lots(self) -> int:
        return 37 * self.draw.randint(1, 12)

    def sym(self) -> int:
        return 0 if self.draw.random() < 0.8 else 1

    def add(self) -> list[dict[str, int]]:
        draw = self.draw
        kind = draw.choice([c.LIMIT] * 12 + [c.MARKET, *STOPS])
        tif = draw.choice([c.GTC] * 8 + [c.GTD, c.IOC])
        side = draw.choice([1, -1])
        limit = kind in (c.LIMIT, c.STOP_LOSS_LIMIT, c.TAKE_PROFIT_LIMIT)
        # Most limit orders rest: a price on their own side of the middle.
        price = MIDDLE - side * draw.randint(0, 4) if draw.random() < 0.7 else self.near()
        if kind == c.TRAILING_STOP:
            limit, price = True, draw.choice([1, 1, 2, 2, 3, 4, 15])  # its distance
        again = draw.random() < 0.03 and self.n_ids > 0
        self.n_ids += not again
        command = full_command(
            kind=c.ADD,
            id=draw.randint(1, self.n_ids) if again else self.n_ids,
            sym=self.sym(),
            side=side,
            type=kind,
            tif=tif,
            price=price if limit or draw.random() < 0.03 else 0,
            trigger=self.near() if kind not in (c.LIMIT, c.MARKET) else 0,
            qty=self.lots() if draw.random() < 0.98 else draw.randint(-1, 1),
            expire_ts=draw.randint(0, 20) if tif == c.GTD else 0,  # seconds from now
            post_only=int(kind == c.LIMIT and draw.random() < 0.3),
        )
        return [command]

    def change(self) -> list[dict[str, int]]:
        draw = self.draw
        # The newest are the likeliest to be alive.
        command = full_command(
            kind=draw.choice([c.AMEND, c.AMEND, c.CANCEL]),
            id=max(self.n_ids - draw.randint(0, 7), 1),
            sym=self.sym(),
        )
        if command["kind"] == c.AMEND:
            command["price"] = draw.choice([0, 0, self.near(), draw.randint(1, 4)])
            command["trigger"] = draw.choice([0, 0, 0, 0, self.near()])
            command["qty"] = draw.choice([0, self.lots()])
            command["post_only"] = int(draw.random() < 0.3)
        return [command]

    def cancel_all(self) -> list[dict[str, int]]:
        return [full_command(kind=c.CANCEL_ALL, sym=self.draw.randint(-1, N_SYMBOLS - 1))]

    def level(self) -> list[dict[str, int]]:
        """One level of its side of the middle; k = 0 crosses now and then."""
        draw, side = self.draw, self.draw.choice([1, -1])
        k = draw.choice([0, 1, 1, 1, 1, 2, 2, 2, 3, 4, 5])
        flags = draw.choice([e.LAST] * 40 + [0] * 4 + [e.LAST | e.CHECKSUM | e.FAILED])
        row = {"kind": e.BOOK_LEVEL, "sym": self.sym(), "side": side, "price": MIDDLE - side * k}
        return [row | {"qty": self.lots() if draw.random() < 0.75 else 0, "flags": flags}]

    def trade(self) -> list[dict[str, int]]:
        draw, side = self.draw, self.draw.choice([1, 1, 1, -1, -1, -1, 0])
        k = draw.choice([0, 1, 1, 1, 1, 2, 2, 3])
        row = {"kind": e.TRADE, "sym": self.sym(), "side": side, "price": MIDDLE + (side or 1) * k}
        return [row | {"qty": self.lots(), "flags": e.LAST}]

    def any_snapshot(self) -> list[dict[str, int]]:
        return self.snapshot(self.sym())

    def snapshot(self, sym: int) -> list[dict[str, int]]:
        """A whole, sound book."""
        rows = [
            {"kind": e.BOOK_LEVEL, "sym": sym, "side": side, "price": MIDDLE - side * k,
             "qty": self.lots(), "flags": e.SNAPSHOT}
            for side in (1, -1)
            for k in sorted(self.draw.sample([1, 2, 3, 4], self.draw.randint(1, 4)))
        ]  # fmt: skip
        rows[-1]["flags"] |= e.LAST
        return rows

    def trouble(self) -> list[dict[str, int]]:
        draw = self.draw
        kind = draw.choice([e.GAP, e.RESYNC, e.CONNECTION_DOWN, e.INSTRUMENT, e.SYSTEM_STATUS])
        sym = draw.randint(0, N_SYMBOLS - 1) if kind == e.INSTRUMENT else draw.choice([-1, 0, 1])
        return [{"kind": kind, "sym": sym, "aux": draw.choice([0, 1, 2, 3, 4, 5])}]

    def repair(self) -> list[dict[str, int]]:
        rows = [{"kind": e.SYSTEM_STATUS, "sym": -1, "aux": 0}]
        for sym in range(N_SYMBOLS):
            rows += [{"kind": e.INSTRUMENT, "sym": sym, "aux": 0}, *self.snapshot(sym)]
        return rows


def new_exchange(world: dict[str, Any]) -> Exchange:
    price_precision, qty_precision = world["steps_of"]
    rows = instrument_rows(N_SYMBOLS, price_precision, qty_precision, qty_min=50, cost_min=2)
    common = MIDDLE * 240 * int(rows["notional_num"][0]) // int(rows["notional_den"][0])
    return Exchange(
        rows,
        schedule=world["schedule"],
        tier="intermediate",
        cash=world["cash"] * common,
        base=world["base"],
        depth=world["depth"],
        **world["params"],
    )


def is_command(fields: dict[str, int]) -> bool:
    return "post_only" in fields


def play(
    exchange: Exchange, world: dict[str, Any]
) -> Iterator[tuple[int, Any, list[tuple[int, ...]]]]:
    """Carry out a world, yielding after each act what it was; deadlines come before it."""
    for wait, fields in Story(world["seed"], world["length"]).steps:
        target = exchange.t + wait
        while exchange.next_time() <= target:
            exchange.t = max(exchange.t, exchange.next_time())
            yield exchange.t, None, exchange.timer()
        exchange.t = target
        if is_command(fields):
            sent = dict(fields)
            if sent["tif"] == c.GTD:
                sent["expire_ts"] = exchange.t + sent["expire_ts"] * S
            yield exchange.t, sent, exchange.command(**sent)
        else:
            yield exchange.t, fields, exchange.market(**fields)
