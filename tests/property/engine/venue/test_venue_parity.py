"""The venue against its slow twin, and what no sequence of commands and events may break."""

import random
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from engine import commands as c
from engine import events as e
from engine.venue.fees import FeeSchedule
from engine.venue.matching import venue_run
from engine.venue.params import MS, S
from engine.venue.state import copy_venue
from tests.support.exchange import Exchange, event_row, full_command, instrument_rows, naive_twin

N_SYMBOLS = 2
MIDDLE = 12  # ticks: all that happens, happens around here
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
        kind = draw.choice(
            [c.LIMIT] * 12 + [c.MARKET, *range(c.STOP_LOSS, c.TAKE_PROFIT_LIMIT + 1)]
        )
        tif = draw.choice([c.GTC] * 8 + [c.GTD, c.IOC])
        side = draw.choice([1, -1])
        limit = kind in (c.LIMIT, c.STOP_LOSS_LIMIT, c.TAKE_PROFIT_LIMIT)
        # Most limit orders rest: a price on their own side of the middle.
        price = MIDDLE - side * draw.randint(0, 4) if draw.random() < 0.7 else self.near()
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
            command["price"] = draw.choice([0, 0, self.near()])
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


SCHEDULES = st.sampled_from(
    [
        FeeSchedule((0,), (0,), (0,), "none"),
        FeeSchedule((0, 1, 2), (2500, 1400, -200), (4000, 2400, 1000), "falls fast"),
        FeeSchedule((0, 1), (0, 90_000), (10, 95_000), "rises: no venue does, holds must survive"),
    ]
)
PARAMS = st.fixed_dictionaries(
    {
        "queue_model": st.integers(0, 1),
        "queue_power": st.integers(1, 3),
        "trade_first": st.booleans(),
        "pair_window_ns": st.sampled_from([0, 500 * MS]),
        "touch_fill": st.sampled_from([1, 1, 2]),
        "through_fill": st.sampled_from([0, 1, 1, 2]),
        "cross_fill": st.sampled_from([0, 1, 1, 2]),
        "protection_e6": st.sampled_from([50_000, 300_000]),
        "stop_at_entry": st.booleans(),
        "amend_up_keeps": st.booleans(),
        "need_snapshot": st.booleans(),
        "fee_round_up": st.booleans(),
        "volume_start": st.sampled_from([0, 150_000_000]),
        "rate_on": st.booleans(),
        "rate_threshold": st.integers(3, 30),
        "open_orders_max": st.sampled_from([3, 250]),
    }
)
# Few money units a lot, so that every rounding and every shortage of funds comes up.
WORLDS = st.fixed_dictionaries(
    {
        "schedule": SCHEDULES,
        "cash": st.sampled_from([2, 15, 1000, 1000]),  # orders of common size it pays for
        "base": st.sampled_from([0, 600, 10**6, 10**6]),
        "depth": st.sampled_from([0, 0, 3]),
        "seed": st.integers(0, 2**32),
        "length": st.integers(20, 200),
        "params": PARAMS,
        "steps_of": st.sampled_from([(0, 4), (2, 4), (2, 8), (3, 8)]),  # price, quantity decimals
    }
)


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


def play(exchange: Exchange, world: dict[str, Any]) -> Any:
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


@given(world=WORLDS)
@settings(max_examples=200)
def test_every_answer_and_balance_is_that_of_the_naive_twin(world: dict[str, Any]) -> None:
    exchange = new_exchange(world)
    twin = naive_twin(exchange)
    for t, fields, answers in play(exchange, world):
        twin.out = []
        if fields is None:
            twin.timer(t)
        elif is_command(fields):
            twin.command(t, fields)
        else:
            full = {"side": 0, "price": 0, "qty": 0, "flags": 0, "aux": 0} | fields
            twin.market(t, full)

        assert answers == twin.out
        glob = exchange.glob
        assert int(glob["cash"]) == twin.cash
        assert int(glob["cash_held"]) == twin.cash_held()
        assert int(glob["counter_cash"]) == twin.counter_cash
        assert int(glob["fees"]) == twin.fees
        assert int(glob["fees_waived"]) == twin.waived
        for sym, pair in enumerate(twin.pairs):
            assert int(exchange.venue.symbols[sym]["base"]) == pair.base
            assert int(exchange.venue.symbols[sym]["base_held"]) == twin.base_held(sym)
        mine = {o.id: (o.ahead, o.filled) for o in twin.orders if o.state == "open"}
        live = exchange.venue.orders[exchange.venue.orders["state"] == 1]
        assert {int(o["id"]): (int(o["ahead"]), int(o["filled"])) for o in live} == mine


@given(world=WORLDS)
@settings(max_examples=150)
def test_what_may_never_break(world: dict[str, Any]) -> None:
    """Conservation, no balance below its holds, limits kept, no order over-filled, ids once."""
    exchange = new_exchange(world)
    before = exchange.totals()
    total: dict[int, int] = {}
    limit: dict[int, tuple[int, int]] = {}
    filled: dict[int, int] = {}
    first: dict[int, tuple[int, ...]] = {}
    closed: set[int] = set()
    for _, fields, answers in play(exchange, world):
        exchange.check()
        assert exchange.totals() == before
        printed = 0
        for kind, _, side, price, qty, order_id, _, flags in answers:
            if kind == e.ORDER_ACK and order_id not in first:
                total[order_id] = qty
                limit[order_id] = (side, price)
            if kind in (e.ORDER_ACK, e.ORDER_REJECT):
                answer = next(a for a in answers if a[0] == kind and a[5] == order_id)
                assert first.setdefault(order_id, answer) == answer
                continue
            if kind in (e.CANCEL_REJECT, e.AMEND_REJECT, e.ORDER_TRIGGERED):
                continue
            if kind == e.ORDER_AMENDED:
                total[order_id] = qty
                if price and limit[order_id][1]:
                    limit[order_id] = (
                        (side, int(exchange.order(order_id)["price"]))
                        if any(
                            exchange.venue.orders["id"][exchange.venue.orders["state"] != 0]
                            == order_id
                        )
                        else (side, 0)
                    )
            if kind == e.ORDER_FILL:
                assert order_id not in closed
                filled[order_id] = filled.get(order_id, 0) + qty
                assert filled[order_id] <= total[order_id]
                bought, at = limit[order_id]
                if at:
                    assert bought * (at - price) >= 0
                if flags & e.MAKER:
                    printed += qty
            if kind == e.ORDER_FILLED:
                assert filled[order_id] == qty == total[order_id]
            if kind in (e.ORDER_FILLED, e.ORDER_CANCELED, e.ORDER_EXPIRED):
                assert order_id not in closed
                closed.add(order_id)
        shown_only = world["params"]["touch_fill"] == 1 and world["params"]["through_fill"] < 2
        if (
            fields is not None
            and fields["kind"] == e.TRADE
            and not is_command(fields)
            and shown_only
        ):
            per_side = {1: 0, -1: 0}
            for kind, _, side, _, qty, _, _, flags in answers:
                if kind == e.ORDER_FILL and flags & e.MAKER:
                    per_side[side] += qty
            assert max(per_side.values()) <= fields["qty"]


@given(world=WORLDS, cuts=st.lists(st.integers(1, 9), max_size=20))
@settings(max_examples=60)
def test_any_split_of_the_same_events_gives_the_same_bytes(
    world: dict[str, Any], cuts: list[int]
) -> None:
    """One by one through venue_market, against runs of any length through venue_run."""
    single = new_exchange(world)
    for _ in play(single, world):
        pass
    batch = new_exchange(world)
    venue = batch.venue
    pending: list[np.void] = []
    lengths = iter(cuts * 50)

    def flush() -> None:
        events = np.array(pending, e.EVENT)
        pending.clear()
        i = 0
        while i < len(events):
            stop = min(len(events), i + next(lengths, 3))
            i, fault = venue_run(venue, events, i, stop, batch.t)
            assert fault == 0
            n = int(batch.glob["n_out"])
            batch.log += [
                tuple(
                    int(row[name])
                    for name in ("kind", "sym", "side", "price", "qty", "id", "aux", "flags")
                )
                for row in venue.out[:n]
            ]
            batch.glob["n_out"] = 0

    for wait, fields in Story(world["seed"], world["length"]).steps:
        target = batch.t + wait
        if pending and (is_command(fields) or batch.next_time() <= target):
            flush()
        while batch.next_time() <= target:
            batch.t = max(batch.t, batch.next_time())
            batch.timer()
        batch.t = target
        if is_command(fields):
            sent = dict(fields)
            if sent["tif"] == c.GTD:
                sent["expire_ts"] = batch.t + sent["expire_ts"] * S
            batch.command(**sent)
        else:
            pending.append(event_row(batch.t, **fields))
    flush()

    assert single.log == batch.log
    for a, b in ((single.venue, venue), (copy_venue(single.venue), venue)):
        a.glob[0]["out"] = b.glob[0]["out"]  # what was drained is no state
        assert a.glob.tobytes() == b.glob.tobytes()
        assert a.symbols.tobytes() == b.symbols.tobytes()
