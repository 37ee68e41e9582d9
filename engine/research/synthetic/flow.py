"""Who sends which order, and when? Regimes, the hidden fair price, and self-exciting order flow.

Arrivals form a Hawkes process of four kinds (limit, taking, cancel, amend) whose kernel is the sum
of a fast and a slow exponential; the next arrival is drawn exactly, without thinning. What
happens at an arrival depends on the book and on the fair price that only the generator knows.
On a grid of 100 ms the fair price diffuses with a factor shared by all pairs, regimes change and
jumps fall. Left out: matching (orders.py) and what subscribers hear (messages.py).

Source: Dassios and Zhao 2013, "Exact simulation of Hawkes process with exponentially decaying
intensity"; Bacry, Mastromatteo and Muzy 2015, "Hawkes processes in finance", for the shape.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.book import book_best, book_count
from engine.jit import kernel
from engine.numerics import (
    exp,
    floor_int,
    log,
    normal_quantile,
    random_bits_keyed,
    sqrt,
    tanh,
    uniform_keyed,
)
from engine.research.synthetic.config import NS_PER_S
from engine.research.synthetic.orders import (
    action_begin,
    add_order,
    reduce_order,
    remove_order,
    take,
)
from engine.research.synthetic.state import (
    AMEND,
    CANCEL,
    LIMIT,
    MARKET_TAKE,
    MAX_OPS,
    MAX_ORDERS,
    N_FLOWS,
    SPAN_MASK,
    TREND,
    TRUTH_JUMP,
    TRUTH_REGIME,
)

GRID_NS: Final = 100_000_000
GRID_S: Final = 0.1
NEVER: Final = (1 << 63) - 1
FAR_TICKS: Final = 8_000  # no order is placed farther from the touch
PRUNE_TICKS: Final = 20_000  # orders farther from the mid than this are withdrawn
PRUNE_EVERY: Final = 4_000  # ticks that the mid moves between two looks
LEVELS_LEFT: Final = 15  # cancels stop when a side has no more levels than this
COMMON_JUMP: Final = 0.0016  # median size of a jump, as a fraction of the price

# Columns of REGIMES: factors on the quiet behaviour.
VOLATILITY: Final = 0
LIMIT_FACTOR: Final = 1
TAKE_FACTOR: Final = 2
CANCEL_FACTOR: Final = 3
ORDERS_FACTOR: Final = 4  # resting orders that the book settles at
SIZE_FACTOR: Final = 5
SPREAD_FACTOR: Final = 6  # how far from the fair price makers stand
BRANCHING: Final = 7
MEAN_S: Final = 8  # mean duration
JUMP_FACTOR: Final = 9
REGIMES: Final = np.array(
    [
        # vola limit take cancel orders size spread branch  mean_s jumps
        [0.55, 0.80, 0.70, 0.80, 1.00, 1.00, 1.0, 0.90, 420.0, 1.0],  # quiet
        [0.90, 1.10, 1.40, 1.10, 0.90, 1.00, 1.1, 1.00, 150.0, 1.5],  # trend
        [3.60, 2.60, 4.00, 3.20, 0.75, 0.80, 2.2, 1.06, 32.0, 10.0],  # burst
        [1.20, 0.45, 0.45, 0.70, 0.40, 0.45, 2.5, 0.90, 130.0, 4.0],  # thin
    ]
)
TREND_DRIFT: Final = 0.16  # of a trend, in volatilities per second

# Chance to follow a regime (row) with another (column).
FOLLOWS: Final = np.array(
    [
        [0.00, 0.42, 0.30, 0.28],
        [0.65, 0.00, 0.35, 0.00],
        [0.50, 0.25, 0.00, 0.25],
        [0.70, 0.05, 0.25, 0.00],
    ]
)
FOLLOW_LEADER: Final = 0.45  # chance that a pair takes over a new regime of the first one

# Children per arrival, [parent, child]: the fast part decays within 60 ms, the slow within 3 s.
FAST_DECAY: Final = 16.0  # 1/s
SLOW_DECAY: Final = 0.35  # 1/s
FAST_CHILDREN: Final = np.array(
    [
        [0.14, 0.010, 0.12, 0.01],
        [0.55, 0.200, 0.55, 0.04],
        [0.18, 0.008, 0.15, 0.01],
        [0.10, 0.005, 0.08, 0.08],
    ]
)
SLOW_CHILDREN: Final = np.array(
    [
        [0.10, 0.004, 0.08, 0.00],
        [0.70, 0.160, 0.70, 0.03],
        [0.10, 0.004, 0.08, 0.01],
        [0.06, 0.002, 0.05, 0.02],
    ]
)
CROSS_CHILDREN: Final = 0.05  # taking orders elsewhere per taking order here, slow part
RATE_MAX: Final = 4_000.0  # arrivals per second and kind beyond which excitement saturates


@kernel
def draw(market):
    """The next uniform of the symbol's order flow."""
    market["flow_counter"] += 1
    return uniform_keyed(market["flow_key"], market["flow_counter"])


@kernel
def draw_integer(market, n):
    """The next integer in 0 .. n - 1 of the symbol's order flow."""
    market["flow_counter"] += 1
    return random_bits_keyed(market["flow_key"], market["flow_counter"]) % n


@kernel
def _grid_draw(market):
    market["grid_counter"] += 1
    return uniform_keyed(market["grid_key"], market["grid_counter"])


@kernel
def mid_of(market):
    """The middle of the touch in ticks; the fair price while a side is empty."""
    bid = book_best(market["book"], 0)
    ask = book_best(market["book"], 1)
    if bid == 0 or ask == 0:
        return market["fair"]
    return 0.5 * (bid + ask)


# --- the grid: fair price, regimes, jumps ------------------------------------------------------


@kernel
def _tell(glob, truth, market, t, what, direction, size):
    at = glob["n_truth"]
    if at < len(truth):
        row = truth[at]
        row["ts_venue"] = t
        row["sym"] = market["sym"]
        row["what"] = what
        row["regime"] = market["regime"]
        row["direction"] = direction
        row["fair"] = market["fair"]
        row["size"] = size
        glob["n_truth"] = at + 1


@kernel
def enter_regime(glob, truth, market, t, regime, direction):
    """Begin a regime; its length is exponential, cut to 0.2 .. 4 times its mean."""
    length = min(max(-log(_grid_draw(market)), 0.2), 4.0) * REGIMES[regime, MEAN_S]
    market["regime"] = regime
    market["direction"] = direction if regime == TREND else 0
    market["regime_end"] = t + floor_int(length * NS_PER_S)
    _tell(glob, truth, market, t, TRUTH_REGIME, market["direction"], 0.0)


@kernel
def _next_regime(glob, truth, market, t):
    u = _grid_draw(market)
    regime = market["regime"]
    following = 0
    while following < 3 and u >= FOLLOWS[regime, following]:
        u -= FOLLOWS[regime, following]
        following += 1
    direction = 1 if _grid_draw(market) < 0.5 else -1
    enter_regime(glob, truth, market, t, following, direction)


@kernel
def _regimes(glob, truth, market, t):
    """Let regimes end, and let the first pair's new one spread to the others."""
    if market["sym"] == 0:
        if t >= market["regime_end"]:
            _next_regime(glob, truth, market, t)
            glob["leader_regime"] = market["regime"]
            glob["leader_direction"] = market["direction"]
            glob["leader_change"] = market["n_grid"]
        return
    # 0.3 s after the first pair, if at all: contagion takes a moment.
    if glob["leader_change"] > 0 and market["n_grid"] == glob["leader_change"] + 3:
        follows = _grid_draw(market) < FOLLOW_LEADER
        if follows and market["regime"] != glob["leader_regime"]:
            enter_regime(glob, truth, market, t, glob["leader_regime"], glob["leader_direction"])
            return
    if t >= market["regime_end"]:
        _next_regime(glob, truth, market, t)


@kernel
def _jump_size(u, v):
    """Signed size of a jump: an exponential around COMMON_JUMP, either way."""
    size = COMMON_JUMP * (0.4 - 0.86 * log(v))
    return min(size, 0.008) if u < 0.5 else -min(size, 0.008)


@kernel
def _jump(glob, truth, market, t, size):
    """Move the fair price at once and wake those whom it concerns."""
    market["fair"] *= 1.0 + size
    # Every maker on the wrong side of it wants out, most within the first tenth of a second.
    n_stale = 0
    for place in range(market["n_active"]):
        row = market["active"][place]
        side = 1 if market["o_side"][row] == 0 else -1
        if (market["o_price"][row] - market["fair"]) * side > 0.0:
            n_stale += 1
    market["fast"][CANCEL] += (2.0 + 0.6 * n_stale) * FAST_DECAY
    market["fast"][LIMIT] += (2.0 + 0.2 * n_stale) * FAST_DECAY
    market["fast"][MARKET_TAKE] += 3.0 * FAST_DECAY
    market["slow"][MARKET_TAKE] += 3.0 * SLOW_DECAY
    market["slow"][CANCEL] += 4.0 * SLOW_DECAY
    market["slow"][LIMIT] += 4.0 * SLOW_DECAY
    _tell(glob, truth, market, t, TRUTH_JUMP, 1 if size > 0 else -1, size)


@kernel
def grid_step(glob, truth, market, t):
    """Move the hidden state of one pair over one step of the grid."""
    _regimes(glob, truth, market, t)
    regime = market["regime"]
    step = market["n_grid"]
    # The shared factor is a function of the step alone: every pair computes the same number.
    shared = normal_quantile(uniform_keyed(glob["common_key"], 4 * step))
    own = normal_quantile(_grid_draw(market))
    common = market["common"]
    noise = common * shared + sqrt(1.0 - common * common) * own
    volatility = market["volatility"] * REGIMES[regime, VOLATILITY]
    drift = market["direction"] * TREND_DRIFT * volatility * GRID_S
    market["fair"] *= 1.0 + drift + volatility * sqrt(GRID_S) * noise
    chance = glob["jump_rate"] * GRID_S
    if uniform_keyed(glob["common_key"], 4 * step + 1) < chance:
        size = _jump_size(
            uniform_keyed(glob["common_key"], 4 * step + 2),
            uniform_keyed(glob["common_key"], 4 * step + 3),
        )
        _jump(glob, truth, market, t, size * (0.5 + common))
    elif _grid_draw(market) < 0.5 * chance * REGIMES[regime, JUMP_FACTOR]:
        _jump(glob, truth, market, t, _jump_size(_grid_draw(market), _grid_draw(market)))
    market["n_grid"] = step + 1
    set_base_rates(glob, market)


@kernel
def set_base_rates(glob, market):
    """Arrivals that nothing caused: by regime, by mispricing, and by how full the book is."""
    regime = market["regime"]
    intensity = glob["intensity"]
    gap = (market["fair"] - mid_of(market)) / market["scale"]
    if gap < 0.0:
        gap = -gap
    gap = min(gap, 8.0)
    base = market["base"]
    base[LIMIT] = (
        market["limit_rate"] * REGIMES[regime, LIMIT_FACTOR] * (0.8 + 0.4 * gap) * intensity
    )
    base[MARKET_TAKE] = (
        market["market_rate"] * REGIMES[regime, TAKE_FACTOR] * (0.6 + 0.7 * gap) * intensity
    )
    # Cancels balance what arrives when the book holds its usual number of orders.
    crowd = market["n_active"] / (market["n_orders"] * REGIMES[regime, ORDERS_FACTOR])
    crowd = min(crowd * crowd, 6.0)
    base[CANCEL] = (
        market["limit_rate"]
        * REGIMES[regime, CANCEL_FACTOR]
        * crowd
        * (0.8 + 0.5 * gap)
        * intensity
    )
    base[AMEND] = market["amend_rate"] * REGIMES[regime, CANCEL_FACTOR] * intensity


# --- arrivals ----------------------------------------------------------------------------------


@kernel
def decay_to(market, t):
    """Let the excitement fade until time `t`."""
    dt = (t - market["t"]) * 1e-9
    if dt > 0.0:
        fast = exp(-FAST_DECAY * dt)
        slow = exp(-SLOW_DECAY * dt)
        for k in range(N_FLOWS):
            market["fast"][k] *= fast
            market["slow"][k] *= slow
        market["t"] = t


@kernel
def _decaying_wait(u, rate, decay):
    """Seconds until the first arrival of a rate that decays exponentially; -1 if none comes."""
    d = 1.0 + decay * log(u) / rate
    if d <= 0.0:
        return -1.0
    return -log(d) / decay


@kernel
def draw_next(market):
    """Set `t_next`: the next arrival, or the next point of the grid if that is earlier.

    The three parts of the rate wait independently, the earliest wins. Redrawing at every point
    of the grid is allowed since an exponential wait has no memory.
    """
    base = 0.0
    fast = 0.0
    slow = 0.0
    for k in range(N_FLOWS):
        base += market["base"][k]
        fast += market["fast"][k]
        slow += market["slow"][k]
    wait = -log(draw(market)) / base
    if fast > 1e-6:
        other = _decaying_wait(draw(market), fast, FAST_DECAY)
        if 0.0 <= other < wait:
            wait = other
    if slow > 1e-6:
        other = _decaying_wait(draw(market), slow, SLOW_DECAY)
        if 0.0 <= other < wait:
            wait = other
    # Orders of one book never share a nanosecond: their stamps are the queue.
    t = market["t"] + 1 + floor_int(min(wait, 1.0) * 1e9)
    market["t_next"] = min(t, market["t_grid"])


@kernel
def _pick_flow(market):
    total = 0.0
    for k in range(N_FLOWS):
        total += market["base"][k] + market["fast"][k] + market["slow"][k]
    u = draw(market) * total
    for k in range(N_FLOWS - 1):
        u -= market["base"][k] + market["fast"][k] + market["slow"][k]
        if u < 0.0:
            return k
    return N_FLOWS - 1


@kernel
def excite(market, parent):
    """An arrival raises the rates of those that follow it."""
    factor = REGIMES[market["regime"], BRANCHING]
    for k in range(N_FLOWS):
        fast = market["fast"][k] + FAST_CHILDREN[parent, k] * factor * FAST_DECAY
        slow = market["slow"][k] + SLOW_CHILDREN[parent, k] * factor * SLOW_DECAY
        market["fast"][k] = min(fast, RATE_MAX)
        market["slow"][k] = min(slow, RATE_MAX)


# --- decisions ---------------------------------------------------------------------------------


@kernel
def _size(market, median, regime_factor):
    """Lots of an order: log-normal, a third of them rounded to one digit as people do."""
    z = normal_quantile(draw(market))
    lots = floor_int(median * regime_factor * exp(market["order_spread"] * z)) + 1
    if draw(market) < 0.35:
        digit = 1
        while digit * 10 <= lots:
            digit *= 10
        lots = (lots // digit) * digit
    return max(lots, market["qty_min"])


@kernel
def _round_price(market, price, side):
    """Some makers like round prices, away from the touch."""
    u = draw(market)
    step = 1
    if u < 0.10:
        step = 100
    elif u < 0.30:
        step = 10
    if price < 40 * step:
        return price
    if side > 0:
        return (price // step) * step
    return -((-price // step) * step)


@kernel
def _limit_price(market, side):
    """Where a maker puts an order: inside the spread, at the touch, or behind it."""
    regime = market["regime"]
    i_side = 0 if side > 0 else 1
    scale = market["scale"]
    opposite = book_best(market["book"], 1 - i_side)
    touch = book_best(market["book"], i_side)
    # The best price a maker dares: a part of `scale` on the safe side of fair.
    dare = floor_int(side * (market["fair"] - side * 0.5 * scale * REGIMES[regime, SPREAD_FACTOR]))
    dare *= side
    if opposite != 0 and (dare - (opposite - side)) * side > 0:
        dare = opposite - side
    if touch == 0:
        return max(dare, 1)
    room = (dare - touch) * side
    u = draw(market)
    if room > 0:
        eager = 0.3 + 0.55 * min(1.0, room / (2.0 * scale))
        if u < eager:
            v = draw(market)
            return max(touch + side * (1 + floor_int((room - 1) * v)), 1)
        u = (u - eager) / (1.0 - eager)
    if u < 0.18 and room >= -2.0 * scale:
        return touch
    # Behind the touch with a heavy tail (Pareto, exponent 1.5).
    reach = 3.0 * scale * REGIMES[regime, SPREAD_FACTOR] + 2.0
    depth = reach * (exp(-log(draw(market)) / 1.5) - 1.0)
    far = min(float(FAR_TICKS), 0.05 * market["fair"])
    behind = 1 + floor_int(min(depth, far))
    anchor = touch
    if room < 0:
        anchor = dare  # the touch stands beyond what makers think right
    return max(_round_price(market, anchor - side * behind, side), 1)


@kernel
def _send_limit(glob, market, t):
    if market["n_active"] >= MAX_ORDERS - 8:
        return
    gap = (market["fair"] - mid_of(market)) / market["scale"]
    # Makers go where the fair price is, and to the side that has fewer orders.
    n_bids = market["n_side"][0]
    n_asks = market["n_side"][1]
    lean = 0.35 * tanh(0.9 * gap) + 0.3 * (n_asks - n_bids) / (n_asks + n_bids + 1)
    side = 1 if draw(market) < 0.5 + lean else -1
    price = _limit_price(market, side)
    qty = _size(market, market["order_lots"], REGIMES[market["regime"], SIZE_FACTOR])
    i_side = 0 if side > 0 else 1
    add_order(market, i_side, price, qty, glob["order_id"], t)
    glob["order_id"] += 1


@kernel
def _send_taker(glob, market, t):
    """An order that takes: a market order, or a limit order beyond the touch that may rest."""
    bid = book_best(market["book"], 0)
    ask = book_best(market["book"], 1)
    if bid == 0 or ask == 0:
        return
    scale = market["scale"]
    gap = (market["fair"] - 0.5 * (bid + ask)) / scale
    lean = tanh(0.9 * gap)
    if draw(market) < 0.30:
        side = market["last_side"]  # parents are worked in slices: signs persist
    else:
        side = 1 if draw(market) < 0.5 + 0.48 * lean else -1
    market["last_side"] = side
    i_side = 1 if side > 0 else 0
    touch = ask if side > 0 else bid
    qty = _size(market, market["market_lots"], 1.0)
    # How far past the touch it is worth buying; the uninformed stop at the touch.
    reach = (market["fair"] - touch) * side
    if reach > 0.0:
        qty = floor_int(qty * (1.0 + min(0.6 * reach / scale, 3.0)))
    limit = 0
    is_market = 1
    u = draw(market)
    if u < 0.45:
        is_market = 0
        limit = touch + side * floor_int(max(0.5 * reach, 0.0))
    elif u < 0.60:
        # Those who look at the book take what stands at the touch, no more.
        head = np.int64(market["head"][i_side, touch & SPAN_MASK])
        qty = min(qty, market["o_qty"][head - 1])
    qty = max(qty, market["qty_min"])
    market["taker_side"] = side
    market["taker_is_market"] = is_market
    rest = take(market, side, qty, limit, t)
    room = market["n_active"] < MAX_ORDERS - 8
    if is_market == 0 and room and rest >= market["qty_min"] and draw(market) < 0.6:
        add_order(market, 1 - i_side, limit, rest, glob["order_id"], t)
        glob["order_id"] += 1
    # Trades carry news: the fair price follows a part of the way.
    market["fair"] += 0.08 * (mid_of(market) - 0.5 * (bid + ask))


@kernel
def _pick_order(market):
    """A resting order that its owner would touch; -1 if none was found in some tries.

    Near orders and those at the back of a long queue go first; a place at the front is kept; an
    order on the wrong side of the fair price goes at once.
    """
    scale = market["scale"]
    fair = market["fair"]
    # Who stands at a touch that the fair price has left behind is the first to notice.
    gap = fair - mid_of(market)
    i_stale = 1 if gap > 0.0 else 0
    if gap * (1 if gap > 0.0 else -1) > 0.5 * scale and draw(market) < 0.75:
        touch = book_best(market["book"], i_stale)
        if touch != 0 and book_count(market["book"], i_stale) > LEVELS_LEFT:
            return np.int64(market["tail"][i_stale, touch & SPAN_MASK]) - 1
    for _ in range(10):
        row = market["active"][draw_integer(market, market["n_active"])]
        i_side = market["o_side"][row]
        if book_count(market["book"], i_side) <= LEVELS_LEFT:
            continue
        side = 1 if i_side == 0 else -1
        price = market["o_price"][row]
        if (price - fair) * side > 0.0:
            return row
        touch = book_best(market["book"], i_side)
        distance = (touch - price) * side / (6.0 * scale)
        chance = 0.12 + 0.88 / (1.0 + distance)
        n_level = np.int64(market["n_level"][i_side, price & SPAN_MASK])
        if n_level > 1:
            ahead = 0
            at = market["o_previous"][row]
            while at != 0 and ahead < 8:
                ahead += 1
                at = market["o_previous"][at - 1]
            chance *= 0.45 + 0.55 * ahead / min(n_level - 1, 8)
        if draw(market) < chance:
            return row
    return -1


@kernel
def _send_cancel(market, t):
    if market["n_active"] == 0:
        return
    row = _pick_order(market)
    if row < 0:
        return
    remove_order(market, row, t)


@kernel
def _send_amend(market, t):
    """Less quantity keeps the place in the queue; a new price is a delete, then an add."""
    if market["n_active"] == 0:
        return
    row = _pick_order(market)
    if row < 0:
        return
    qty = market["o_qty"][row]
    if draw(market) < 0.35:
        less = max(floor_int(qty * (0.3 + 0.6 * draw(market))), market["qty_min"])
        if less < qty:
            reduce_order(market, row, less)
        return
    market["reprice_side"] = 1 if market["o_side"][row] == 0 else -1
    market["reprice_qty"] = qty
    market["reprice_id"] = market["o_id"][row]
    # The delete of a repriced order carries the order's own stamp: that is how Kraken's feed
    # tells it from one that is gone for good.
    remove_order(market, row, market["o_ts"][row])


@kernel
def continue_action(market, t):
    """Begin what an action still owes after its messages: the add of a repriced order.

    returns bool: whether there was something, so that there are messages to write again
    """
    side = market["reprice_side"]
    if side == 0:
        return False
    market["reprice_side"] = 0
    action_begin(market)
    price = _limit_price(market, side)
    i_side = 0 if side > 0 else 1
    add_order(market, i_side, price, market["reprice_qty"], market["reprice_id"], t)
    return True


@kernel
def prune(market, t):
    """Withdraw orders that the market left far behind, so that prices in use stay within SPAN."""
    mid = floor_int(mid_of(market))
    moved = mid - market["prune_mid"]
    if -PRUNE_EVERY < moved < PRUNE_EVERY:
        return
    place = 0
    while place < market["n_active"]:
        row = market["active"][place]
        distance = market["o_price"][row] - mid
        if -PRUNE_TICKS < distance < PRUNE_TICKS:
            place += 1
        elif market["n_ops"] < MAX_OPS - 2:
            remove_order(market, row, t)
        else:
            return  # the log is full: the next point of the grid does the rest
    market["prune_mid"] = mid


@kernel
def arrive(glob, market, t):
    """One arrival of order flow at time `t`; returns its kind. The action has begun."""
    flow = _pick_flow(market)
    market["n_actions"][flow] += 1
    excite(market, flow)
    if flow == LIMIT:
        _send_limit(glob, market, t)
    elif flow == MARKET_TAKE:
        _send_taker(glob, market, t)
    elif flow == CANCEL:
        _send_cancel(market, t)
    else:
        _send_amend(market, t)
    return flow


@kernel
def seed_book(glob, market, t):
    """Fill an empty book around the fair price before the warm-up."""
    n = floor_int(market["n_orders"])
    for i in range(n):
        side = 1 if i % 2 == 0 else -1
        i_side = 0 if side > 0 else 1
        price = _limit_price(market, side)
        qty = _size(market, market["order_lots"], 1.0)
        action_begin(market)
        add_order(market, i_side, price, qty, glob["order_id"], t - (n - i) * 1_000_000)
        glob["order_id"] += 1
