"""The venue against its slow twin, and what no sequence of commands and events may break."""

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
from tests.support.exchange import event_row, naive_twin
from tests.support.venue_story import Story, is_command, new_exchange, play

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
            if kind == e.ORDER_TRAILED:
                limit[order_id] = (side, 0)  # what its answers name as price is no limit
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
