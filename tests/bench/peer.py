"""How fast is the venue beside hftbacktest, on the same events with the same strategy?

Both quote one order a side at the touch, look every 100 ms, cancel what the touch has left and
place anew, with constant latencies and hftbacktest's own queue and fill rules. They run in
alternation in one process; medians count. The stream is seeded and synthetic: price levels and
prints as a venue would send them, no crossed book. tests/parity holds that the fills are equal.
"""

from __future__ import annotations

import statistics
import time
from decimal import Decimal
from typing import Any, Final, NamedTuple

import numpy as np

from engine.book import BOOK, book_best, book_next, book_qty, book_set, book_set_inline
from engine.commands import ADD, CANCEL, COMMAND, GTC, LIMIT
from engine.events import (
    BOOK_LEVEL,
    CANCEL_REJECT,
    EVENT,
    LAST,
    ORDER_ACK,
    ORDER_FEE,
    ORDER_FILL,
    SNAPSHOT,
    TRADE,
)
from engine.instruments import Instrument, InstrumentTable
from engine.jit import kernel
from engine.numerics import clip, exponential, floor_int, integer, uniform
from engine.venue.matching import make_venue, venue_command, venue_run
from engine.venue.params import PARITY, venue_params
from engine.venue.state import Venue

MS: Final = 1_000_000
START_TS: Final = 1_760_000_000_000_000_000
TICK: Final = 0.1
LOT: Final = 0.001


class Setup(NamedTuple):
    """Latencies in ns, the strategy's step, quantity in lots and position limit in lots."""

    feed_ns: int = 5 * MS
    entry_ns: int = 12 * MS
    response_ns: int = 9 * MS
    step_ns: int = 100 * MS
    qty: int = 10
    position_max: int = 200


# ---- the stream ----


@kernel
def _level(event, ts, side, price, qty, flags):
    event["ts"] = ts
    event["ts_venue"] = ts
    event["kind"] = BOOK_LEVEL
    event["side"] = side
    event["price"] = price
    event["qty"] = qty
    event["flags"] = flags


@kernel
def fill_stream(events, book, seed, start_ts, mid, depth, gap_ns):
    """Fill EVENT rows with a walk of one book and its prints; about a tenth are prints.

    events : EVENT[n], zeroed, n > 2 * depth; book : BOOK row, empty
    mid : ticks where it starts; depth : levels a side; gap_ns : mean time between events
    """
    n = len(events)
    i = 0
    for k in range(depth):
        for side in (1, -1):
            price = mid - 1 - k if side > 0 else mid + 1 + k
            qty = 1 + integer(seed, 1, 2 * k + (side > 0), 400)
            book_set(book, 0 if side > 0 else 1, price, qty)
            flags = SNAPSHOT | LAST if i == 2 * depth - 1 else SNAPSHOT
            _level(events[i], start_ts, side, price, qty, flags)
            i += 1
    ts = start_ts
    drift = 0.5
    draw = 0
    written = -1
    while i < n:
        # A step that writes nothing (a print with no room for its level) must not be drawn again.
        draw = draw + (1 << 40) if written == i else i
        written = i
        ts += 1 + floor_int(gap_ns * exponential(seed, 2, draw))
        if integer(seed, 3, draw, 4000) == 0:
            drift = 0.47 + 0.06 * uniform(seed, 4, draw)
        # Flow leans back to where the market was: a walk of a few tenths of a percent per hour.
        lean = clip((mid - book_best(book, 0)) * 0.0002, -0.1, 0.1)
        buy = uniform(seed, 5, draw) < drift + lean
        act = uniform(seed, 6, draw)
        # Pressure to buy takes from the asks and adds to the bids.
        if act < 0.11:
            side = 1 if buy else -1
            other = 1 if buy else 0
            price = book_best(book, other)
            left = 1 + floor_int(30.0 * exponential(seed, 7, draw))
            while left > 0 and price > 0 and i + 1 < n:
                shown = book_qty(book, other, price)
                lots = min(left, shown)
                event = events[i]
                event["ts"] = ts
                event["ts_venue"] = ts
                event["kind"] = TRADE
                event["side"] = side
                event["price"] = price
                event["qty"] = lots
                event["id"] = i
                event["flags"] = LAST
                i += 1
                ts += 1 + integer(seed, 8, i, 50_000)
                book_set(book, other, price, shown - lots)
                _level(events[i], ts, -side, price, shown - lots, LAST)
                i += 1
                left -= lots
                price = book_next(book, other, price)
        else:
            i_side = 0 if buy else 1
            side = 1 if buy else -1
            best = book_best(book, i_side)
            rival = book_best(book, 1 - i_side)
            if best == 0:
                best = rival - 1 if buy else rival + 1
            room = abs(rival - best) - 1 if rival > 0 else 1
            if room > 0 and act < 0.11 + min(0.02 * room, 0.3):
                # Improve the touch: the wider the spread the more often.
                price = best + side * (1 + integer(seed, 12, draw, room) // 2)
            else:
                price = best - side * floor_int(6.0 * exponential(seed, 9, draw))
            if price >= 1 and (rival == 0 or (price < rival if buy else price > rival)):
                shown = book_qty(book, i_side, price)
                if shown > 0 and uniform(seed, 10, draw) < 0.42:
                    qty = 0
                    if book_next(book, i_side, best) == 0:
                        qty = 1  # a side is never left empty
                else:
                    qty = 1 + floor_int(120.0 * exponential(seed, 11, draw))
                book_set(book, i_side, price, qty)
                _level(events[i], ts, side, price, qty, LAST)
                i += 1
    return i


def make_stream(n: int, seed: int = 7, feed_ns: int = Setup().feed_ns) -> np.ndarray:
    """EVENT[n] of one symbol, sym 0; `ts` is `feed_ns` after `ts_venue`."""
    events = np.zeros(n, EVENT)
    book = np.zeros(1, BOOK)
    fill_stream(events, book[0], seed, START_TS, 600_000, 40, 1.2 * MS)
    events["ts"] += feed_ns
    events["seq"] = np.arange(n)
    return events


# ---- ours ----


@kernel
def _command(row, ts, kind, order_id, side, price, qty):
    row["ts"] = ts
    row["id"] = order_id
    row["price"] = price
    row["trigger"] = 0
    row["qty"] = qty
    row["expire_ts"] = 0
    row["sym"] = 0
    row["kind"] = kind
    row["side"] = side
    row["type"] = LIMIT
    row["tif"] = GTC
    row["post_only"] = 1


_NONE: Final = 0
_SENT: Final = 1
_LIVE: Final = 2
_CANCELING: Final = 3
_PIPE: Final = 256  # commands or answers under way at once, a power of two


@kernel
def read_feed(book, events, start, now):
    """Take the events up to `now` into the strategy's own book; returns the first one after."""
    n = len(events)
    for i in range(start, n):
        event = events[i]
        if event["ts"] > now:
            return i
        if event["kind"] == BOOK_LEVEL:
            book_set_inline(book, 0 if event["side"] > 0 else 1, event["price"], event["qty"])
    return n


@kernel
def quote_on_venue(venue, book, events, setup, fills, commands, answers, arrivals):
    """The quoting strategy against our venue.

    book : BOOK row, the strategy's own; setup : int64[6], fields of Setup
    fills : int64[n, 4], filled with venue time, side, price, lots
    commands : COMMAND[_PIPE]; answers : EVENT[_PIPE]; arrivals : int64[2, _PIPE]
    returns n_fills, position in lots, n_steps
    """
    feed, entry, response, step, qty, position_max = setup
    n = len(events)
    glob = venue.glob[0]
    out = venue.out
    i_venue = 0
    i_local = 0
    sent = 0
    taken = 0
    told = 0
    heard = 0
    next_id = 1
    position = 0
    n_fills = 0
    n_steps = 0
    state = np.zeros(2, np.int64)
    price_of = np.zeros(2, np.int64)
    id_of = np.zeros(2, np.int64)
    now = events[0]["ts"] - feed
    while True:
        now += step
        # the venue, up to now
        while True:
            arrival = arrivals[0, taken & (_PIPE - 1)] if taken < sent else now + 1
            until = min(arrival, now)
            i_venue, fault = venue_run(venue, events, i_venue, n, until)
            if fault != 0:
                return -fault, position, n_steps
            t = out[0]["ts"]
            if glob["n_out"] == 0:
                if arrival > now:
                    break
                venue_command(venue, commands[taken & (_PIPE - 1)], arrival)
                taken += 1
                t = arrival
            for k in range(glob["n_out"]):
                answer = out[k]
                kind = np.int64(answer["kind"])
                if kind == ORDER_FILL:
                    fills[n_fills, 0] = t
                    fills[n_fills, 1] = np.int64(answer["side"])
                    fills[n_fills, 2] = answer["price"]
                    fills[n_fills, 3] = answer["qty"]
                    n_fills += 1
                slot = answers[told & (_PIPE - 1)]
                slot["kind"] = answer["kind"]
                slot["side"] = answer["side"]
                slot["id"] = answer["id"]
                slot["qty"] = answer["qty"]
                arrivals[1, told & (_PIPE - 1)] = t + response
                told += 1
            glob["n_out"] = 0
        # the strategy's own book, up to now
        i_local = read_feed(book, events, i_local, now)
        while heard < told and arrivals[1, heard & (_PIPE - 1)] <= now:
            answer = answers[heard & (_PIPE - 1)]
            heard += 1
            kind = np.int64(answer["kind"])
            i_side = 0 if answer["side"] > 0 else 1
            if kind == ORDER_FILL:
                position += answer["qty"] if i_side == 0 else -answer["qty"]
            elif kind != ORDER_FEE and answer["id"] == id_of[i_side]:
                if kind == ORDER_ACK:
                    state[i_side] = _LIVE
                elif kind != CANCEL_REJECT:
                    state[i_side] = _NONE  # filled, canceled or refused
                elif state[i_side] == _CANCELING:
                    state[i_side] = _LIVE
        if i_local == n and i_venue == n and taken == sent and heard == told:
            break
        # decide
        n_steps += 1
        bid = book_best(book, 0)
        ask = book_best(book, 1)
        if bid == 0 or ask == 0:
            continue
        for i_side in range(2):
            side = 1 if i_side == 0 else -1
            target = bid if i_side == 0 else ask
            kind = 0
            if state[i_side] == _LIVE and price_of[i_side] != target:
                state[i_side] = _CANCELING
                kind = CANCEL
            elif state[i_side] == _NONE and position * side < position_max:
                state[i_side] = _SENT
                price_of[i_side] = target
                id_of[i_side] = next_id
                next_id += 1
                kind = ADD
            if kind != 0:
                at = sent & (_PIPE - 1)
                _command(commands[at], now, kind, id_of[i_side], side, price_of[i_side], qty)
                arrivals[0, at] = now + entry
                sent += 1
    return n_fills, position, n_steps


def peer_venue(setup: Setup) -> Venue:
    """Our venue under hftbacktest's rules, with balances that never bind."""
    instrument = Instrument("AAA/USD", Decimal("0.1"), Decimal("0.001"), 1, 3)
    params = venue_params(
        "zero",
        "off",
        **PARITY
        | {
            "feed_ns": setup.feed_ns,
            "entry_ns": setup.entry_ns,
            "response_ns": setup.response_ns,
        },
    )
    return make_venue(InstrumentTable([instrument]).rows(), params, cash=10**17, base=10**9)


class Outcome(NamedTuple):
    """What a run of the strategy came to: fills as int64[n, 4] of venue ts, side, ticks, lots."""

    fills: np.ndarray
    position: int
    n_steps: int
    seconds: float


def run_ours(events: np.ndarray, setup: Setup) -> Outcome:
    """The strategy on our venue; the clock runs around the compiled loop only."""
    venue = peer_venue(setup)
    book = np.zeros(1, BOOK)
    fills = np.zeros((len(events) // 4 + 16, 4), np.int64)
    arguments = (
        venue,
        book[0],
        events,
        tuple(setup),
        fills,
        np.zeros(_PIPE, COMMAND),
        np.zeros(_PIPE, EVENT),
        np.zeros((2, _PIPE), np.int64),
    )
    begin = time.perf_counter()
    n_fills, position, n_steps = quote_on_venue(*arguments)
    seconds = time.perf_counter() - begin
    if n_fills < 0:
        raise RuntimeError(f"the venue returned fault {-n_fills}: see engine/venue/state.py.")
    return Outcome(fills[:n_fills], int(position), int(n_steps), seconds)


# ---- hftbacktest ----


def to_hftbacktest(events: np.ndarray) -> np.ndarray:
    """The same events as hftbacktest's rows: floats, both clocks, one flag for each side."""
    from hftbacktest import (
        BUY_EVENT,
        DEPTH_EVENT,
        EXCH_EVENT,
        LOCAL_EVENT,
        SELL_EVENT,
        TRADE_EVENT,
    )
    from hftbacktest.binding import event_dtype

    rows = np.zeros(len(events), event_dtype)
    flags = np.where(events["kind"] == TRADE, TRADE_EVENT, DEPTH_EVENT).astype(np.uint64)
    flags |= np.where(events["side"] > 0, BUY_EVENT, SELL_EVENT).astype(np.uint64)
    rows["ev"] = flags | np.uint64(EXCH_EVENT) | np.uint64(LOCAL_EVENT)
    rows["exch_ts"] = events["ts_venue"]
    rows["local_ts"] = events["ts"]
    rows["px"] = events["price"] * TICK
    rows["qty"] = events["qty"] * LOT
    return rows


_LOOPS: dict[str, Any] = {}


def _hft_loop() -> Any:
    """The same strategy for hftbacktest; made once, since it compiles for seconds."""
    if "quote" in _LOOPS:
        return _LOOPS["quote"]
    import numba
    from hftbacktest import BUY, FILLED, GTX, LIMIT, NEW, NONE, SELL

    @numba.njit
    def quote(hbt, step, qty, position_max, fills):  # pragma: no cover
        n_fills = 0
        n_steps = 0
        next_id = 1
        while hbt.elapse(step) == 0:
            n_steps += 1
            values = hbt.orders(0).values()
            while values.has_next():
                order = values.get()
                if order.status == FILLED:
                    fills[n_fills, 0] = order.exch_timestamp
                    fills[n_fills, 1] = 1 if order.side == BUY else -1
                    fills[n_fills, 2] = order.exec_price_tick
                    fills[n_fills, 3] = round(order.exec_qty / LOT)
                    n_fills += 1
            hbt.clear_inactive_orders(0)
            depth = hbt.depth(0)
            bid = depth.best_bid_tick
            ask = depth.best_ask_tick
            if np.isnan(depth.best_bid) or np.isnan(depth.best_ask):
                continue
            have_buy = False
            have_sell = False
            buy_stale = 0
            sell_stale = 0
            values = hbt.orders(0).values()
            while values.has_next():
                order = values.get()
                idle = order.status == NEW and order.req == NONE
                if order.side == BUY:
                    have_buy = True
                    if idle and order.price_tick != bid:
                        buy_stale = order.order_id
                else:
                    have_sell = True
                    if idle and order.price_tick != ask:
                        sell_stale = order.order_id
            position = hbt.position(0)
            if buy_stale != 0:
                hbt.cancel(0, buy_stale, False)
            elif not have_buy and position < position_max - 1e-9:
                hbt.submit_buy_order(0, next_id, bid * TICK, qty, GTX, LIMIT, False)
                next_id += 1
            if sell_stale != 0:
                hbt.cancel(0, sell_stale, False)
            elif not have_sell and -position < position_max - 1e-9:
                hbt.submit_sell_order(0, next_id, ask * TICK, qty, GTX, LIMIT, False)
                next_id += 1
        values = hbt.orders(0).values()
        while values.has_next():
            order = values.get()
            if order.status == FILLED:
                fills[n_fills, 0] = order.exch_timestamp
                fills[n_fills, 1] = 1 if order.side == BUY else -1
                fills[n_fills, 2] = order.exec_price_tick
                fills[n_fills, 3] = round(order.exec_qty / LOT)
                n_fills += 1
        return n_fills, hbt.position(0), n_steps

    # the names that numba resolves as globals of this function's closure
    assert (BUY, SELL) != (0, 0)
    _LOOPS["quote"] = quote
    return quote


def run_hftbacktest(events: np.ndarray, setup: Setup, book: str) -> Outcome:
    """The strategy on hftbacktest; book is "hash" or "roi" (its faster depth)."""
    from hftbacktest import (
        BacktestAsset,
        HashMapMarketDepthBacktest,
        ROIVectorMarketDepthBacktest,
    )

    rows = to_hftbacktest(events)
    asset = (
        BacktestAsset()
        .data(rows)
        .linear_asset(1.0)
        .constant_order_latency(setup.entry_ns, setup.response_ns)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(TICK)
        .lot_size(LOT)
        .last_trades_capacity(0)
    )
    if book == "roi":
        asset = asset.roi_lb(float(rows["px"].min()) - 50.0).roi_ub(float(rows["px"].max()) + 50.0)
        hbt = ROIVectorMarketDepthBacktest([asset])
    else:
        hbt = HashMapMarketDepthBacktest([asset])
    fills = np.zeros((len(events) // 4 + 16, 4), np.int64)
    loop = _hft_loop()
    begin = time.perf_counter()
    n_fills, position, n_steps = loop(
        hbt, setup.step_ns, setup.qty * LOT, setup.position_max * LOT, fills
    )
    seconds = time.perf_counter() - begin
    hbt.close()
    return Outcome(fills[:n_fills], round(position / LOT), int(n_steps), seconds)


# ---- side by side ----


def run_peer(n_events: int = 3_000_000, rounds: int = 5) -> dict[str, Any]:
    """Events per second of both on the same stream, in alternation; medians and the ratio."""
    setup = Setup()
    events = make_stream(n_events)
    small = events[: min(n_events, 20_000)]
    run_ours(small, setup)
    for book in ("hash", "roi"):
        run_hftbacktest(small, setup, book)
    seconds: dict[str, list[float]] = {"ours": [], "hash": [], "roi": []}
    outcomes = {}
    for _ in range(rounds):
        for book in ("hash", "roi"):
            outcomes[book] = run_hftbacktest(events, setup, book)
            seconds[book].append(outcomes[book].seconds)
        outcomes["ours"] = run_ours(events, setup)
        seconds["ours"].append(outcomes["ours"].seconds)
    rate = {name: n_events / statistics.median(each) for name, each in seconds.items()}
    return {
        "n_events": n_events,
        "rounds": rounds,
        "events_per_s": rate,
        "ratio_roi": rate["ours"] / rate["roi"],
        "ratio_hash": rate["ours"] / rate["hash"],
        "fills": {name: len(each.fills) for name, each in outcomes.items()},
        "position": {name: each.position for name, each in outcomes.items()},
    }


if __name__ == "__main__":
    import json

    print(json.dumps(run_peer(), indent=2))
