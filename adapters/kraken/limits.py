"""May one more request be made now, and if not, when? Kraken's counters, kept on our side.

Four of them: the REST counter of a key, the transaction counter of each pair, the subscription
counter of level 3, and the connection attempts of an address. Each is told the time (ns) and
asks no clock; a clock that steps back earns nothing. Points are integers of 1e-11, in which
Kraken's decays per nanosecond are whole, as in engine/venue/limits.py, the simulated side.

Ours must never read less than the venue's. Requests reach it later than we counted them, by a
time that varies: `slack_ns` is the most that is assumed, and the margin is what decays in it.

Sources: Kraken, "Spot trading rate limits", "Spot REST rate limits", "Level 3 orders",
"WebSocket introduction". Left out: limits across pairs, whose size Kraken does not publish.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Literal

from engine.errors import ConfigError, InvariantError

POINT: Final = 100_000_000_000  # one point of a counter
SECOND: Final = 1_000_000_000
NEVER: Final = (1 << 63) - 1  # as a waiting time: not by waiting

Action = Literal["add", "amend", "edit", "cancel"]


@dataclass(frozen=True)
class Tier:
    """What Kraken grants a level of verification. Decays in 0.01 points per second."""

    name: str
    trading_decay_e2: int
    trading_max: int  # points, per pair
    open_orders_max: int  # per pair
    rest_decay_e2: int
    rest_max: int  # points, per key
    level3_per_s: int  # points


TIERS: Final[dict[str, Tier]] = {
    each.name: each
    for each in (
        Tier("starter", 100, 60, 60, 33, 15, 200),
        Tier("intermediate", 234, 125, 80, 50, 20, 200),
        Tier("pro", 375, 180, 225, 100, 20, 500),
    )
}

# Upper ends of ages in seconds and what a request costs below each, beyond its fixed part.
_AGED: Final[dict[str, tuple[tuple[int, int], ...]]] = {
    "add": (),
    "amend": ((5, 3), (10, 2), (15, 1)),
    "edit": ((5, 6), (10, 5), (15, 4), (45, 2), (90, 1)),
    "cancel": ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1)),
}
_FIXED: Final[dict[str, int]] = {"add": 1, "amend": 1, "edit": 1, "cancel": 0}

# REST: Kraken's pages disagree about the history calls (2 or 4); the dearer figure is planned with.
_REST_COSTS: Final[dict[str, int]] = {
    "Ledgers": 4,
    "QueryLedgers": 4,
    "TradesHistory": 4,
    "ClosedOrders": 4,
    # These count in the transaction counter of their pair instead.
    "AddOrder": 0,
    "AddOrderBatch": 0,
    "AmendOrder": 0,
    "EditOrder": 0,
    "CancelOrder": 0,
    "CancelOrderBatch": 0,
}
LEVEL3_COSTS: Final[dict[int, int]] = {10: 5, 100: 25, 1000: 100}
LEVEL3_SYMBOLS_MAX: Final = 200  # per connection
CONNECTIONS_MAX: Final = 150
CONNECTIONS_WINDOW_NS: Final = 600 * SECOND


def tier(name: str) -> Tier:
    """A tier by name; raises ConfigError with the names there are."""
    if name not in TIERS:
        raise ConfigError(f"unknown tier {name!r}.", f"Kraken's tiers are {', '.join(TIERS)}.")
    return TIERS[name]


def tier_of_threshold(maxratecount: int) -> Tier | None:
    """The tier whose threshold the acknowledgement of `executions` states, None if no tier has it."""
    return next((each for each in TIERS.values() if each.trading_max == maxratecount), None)


def fixed_points(action: Action) -> int:
    """Points of a request whatever the age of its order."""
    return _FIXED[action]


def aged_points(action: Action, age_ns: int) -> int:
    """Points beyond the fixed ones, by the time since the order was made or last amended."""
    for end_s, points in _AGED[action]:
        if age_ns < end_s * SECOND:
            return points
    return 0


def rest_cost(call: str) -> int:
    """Points of a private REST call by its name, as in `TradesHistory`."""
    return _REST_COSTS.get(call, 1)


class Counter:
    """A level that requests raise and time lowers. Never below zero."""

    def __init__(self, decay_e2: int) -> None:
        """decay_e2 : 0.01 points per second, which is units of 1e-11 points per nanosecond"""
        self._decay = decay_e2
        self._level = 0
        self._ts: int | None = None

    def level(self, now_ns: int) -> int:
        """The level at `now_ns`, in units of 1/POINT."""
        if self._ts is None or now_ns > self._ts:
            if self._ts is not None:
                self._level = max(0, self._level - (now_ns - self._ts) * self._decay)
            self._ts = now_ns
        return self._level

    def add(self, units: int, now_ns: int) -> None:
        self._level = self.level(now_ns) + units

    def raise_to(self, units: int, now_ns: int) -> None:
        """Believe the venue where it reads more than we do."""
        self._level = max(self.level(now_ns), units)

    def wait_ns(self, units: int, now_ns: int) -> int:
        """Nanoseconds until the level has fallen to `units`; 0 if it is there."""
        excess = self.level(now_ns) - units
        if excess <= 0:
            return 0
        if units < 0 or self._decay == 0:
            return NEVER  # it never falls below zero
        return -(-excess // self._decay)


class RestCounter:
    """The counter of one API key for private calls over REST."""

    def __init__(self, tier: Tier, keep: int = 1) -> None:
        """keep : points left unused, for a clock and a network that are not exact"""
        self._max = tier.rest_max
        self._keep = keep
        self._counter = Counter(tier.rest_decay_e2)

    def wait_ns(self, call: str, now_ns: int) -> int:
        """Nanoseconds until `call` may be made; 0: now."""
        room = (self._max - self._keep - rest_cost(call)) * POINT
        return self._counter.wait_ns(room, now_ns)

    def charge(self, call: str, now_ns: int) -> None:
        """Count a call. Before it is sent: an answer that is lost counted all the same."""
        self._counter.add(rest_cost(call) * POINT, now_ns)

    def refused(self, now_ns: int) -> None:
        """The venue said that the counter is exceeded: it stands at its maximum at least."""
        self._counter.raise_to((self._max + 1) * POINT, now_ns)

    def points(self, now_ns: int) -> float:
        """The level for people."""
        return self._counter.level(now_ns) / POINT


class TradingCounter:
    """The transaction counter of one pair, and the orders whose ages decide what they cost.

    An order is known by any key of the caller's. A request that reduces risk (a cancel, an exit, a
    protective order) may use the whole counter; an entry must leave what it takes to cancel every
    open order of the pair, and `reserve` points more.
    """

    def __init__(self, tier: Tier, reserve: int = 10, slack_ns: int = 250_000_000) -> None:
        self._tier = tier
        self._reserve = reserve
        self._slack_ns = slack_ns
        # What the venue's counter may read above ours: the decay of the time in flight.
        self._margin = slack_ns * tier.trading_decay_e2
        self._counter = Counter(tier.trading_decay_e2)
        self._touched: dict[Hashable, int] = {}

    @property
    def n_open(self) -> int:
        return len(self._touched)

    def points(self, now_ns: int) -> float:
        """The level for people."""
        return self._counter.level(now_ns) / POINT

    def cost(self, action: Action, now_ns: int, key: Hashable = None) -> int:
        """Points of one request. An order that is not known here is taken for a new one."""
        touched = self._touched.get(key, now_ns)
        age = max(0, now_ns - touched - self._slack_ns)
        return fixed_points(action) + aged_points(action, age)

    def reserved(self, now_ns: int) -> int:
        """Points that an entry must leave: to cancel all that is open, and the fixed reserve."""
        return self._reserve + sum(self.cost("cancel", now_ns, key) for key in self._touched)

    def wait_ns(
        self,
        action: Action,
        now_ns: int,
        key: Hashable = None,
        *,
        entry: bool = False,
        n: int = 1,
    ) -> int:
        """Nanoseconds until it is worth asking again; 0: now, NEVER: not by waiting.

        entry : it raises risk, so room for exits stays; n : how many adds go in one batch
        A request that lowers risk may be sent whatever this says: the venue alone may refuse it.
        """
        if action == "add" and self.n_open + n > self._tier.open_orders_max:
            return NEVER
        wanted = self.cost(action, now_ns, key) if n == 1 else -(-n // 2)
        limit = self._tier.trading_max - wanted
        if entry:
            # The cancel of what is about to be added is dear as well.
            limit -= self.reserved(now_ns) + (8 * n if action == "add" else 0)
        units = limit * POINT - self._margin
        if units < 0:
            return self._next_step_ns(now_ns)
        return self._counter.wait_ns(units, now_ns)

    def _next_step_ns(self, now_ns: int) -> int:
        """Nanoseconds until the cancel of some open order becomes cheaper."""
        steps = (
            touched + self._slack_ns + end_s * SECOND - now_ns
            for touched in self._touched.values()
            for end_s, _ in _AGED["cancel"]
        )
        return min((each for each in steps if each > 0), default=NEVER)

    def add(self, key: Hashable, now_ns: int) -> None:
        """Count an add as it is sent, and remember when."""
        self._counter.add(POINT, now_ns)
        self._touched[key] = now_ns

    def add_batch(self, keys: list[Hashable], now_ns: int) -> None:
        """Count a batch of adds: half a point each."""
        self._counter.add(len(keys) * POINT // 2, now_ns)
        self._touched.update(dict.fromkeys(keys, now_ns))

    def amend(self, key: Hashable, now_ns: int) -> None:
        self._counter.add(self.cost("amend", now_ns, key) * POINT, now_ns)
        self._touched[key] = now_ns

    def edit(self, key: Hashable, new_key: Hashable, now_ns: int) -> None:
        """Count an edit: the old order goes, another takes its place."""
        self._counter.add(self.cost("edit", now_ns, key) * POINT, now_ns)
        self._touched.pop(key, None)
        self._touched[new_key] = now_ns

    def cancel(self, key: Hashable, now_ns: int) -> None:
        """Count a cancel. The order stays known until `closed`: it may yet fill or be refused."""
        self._counter.add(self.cost("cancel", now_ns, key) * POINT, now_ns)

    def cancel_all(self, now_ns: int) -> None:
        """Count the cancel of every order known here; what Kraken charges for it is not published."""
        for key in self._touched:
            self.cancel(key, now_ns)

    def seen(self, key: Hashable, now_ns: int) -> None:
        """An order that a snapshot brought: its age is unknown, so it counts as new."""
        self._touched.setdefault(key, now_ns)

    def closed(self, key: Hashable) -> None:
        """The order is gone; an unknown key does nothing."""
        self._touched.pop(key, None)

    def observed(self, points: int, now_ns: int) -> None:
        """The venue told its own count. It is believed upwards only: it may be older than ours."""
        self._counter.raise_to(points * POINT, now_ns)

    def refused(self, now_ns: int) -> None:
        """The venue refused for its rate: the counter stands above the threshold."""
        self._counter.raise_to((self._tier.trading_max + 1) * POINT, now_ns)


class SlidingWindow:
    """At most so much within any stretch of `window_ns`."""

    def __init__(self, most: int, window_ns: int) -> None:
        self._most = most
        self._window_ns = window_ns
        self._spent: deque[tuple[int, int]] = deque()
        self._sum = 0
        self._now = 0

    def _at(self, now_ns: int) -> int:
        # A clock that steps back must not free what was spent.
        self._now = max(self._now, now_ns)
        while self._spent and self._spent[0][0] <= self._now - self._window_ns:
            self._sum -= self._spent.popleft()[1]
        return self._now

    def room(self, now_ns: int) -> int:
        self._at(now_ns)
        return self._most - self._sum

    def spend(self, cost: int, now_ns: int) -> None:
        now = self._at(now_ns)
        self._spent.append((now, cost))
        self._sum += cost

    def wait_ns(self, cost: int, now_ns: int) -> int:
        """Nanoseconds until `cost` fits; 0: now, NEVER: it is larger than the window."""
        if cost > self._most:
            return NEVER
        now = self._at(now_ns)
        excess = self._sum + cost - self._most
        if excess <= 0:
            return 0
        for ts, spent in self._spent:
            excess -= spent
            if excess <= 0:
                return ts + self._window_ns - now
        raise InvariantError("a window holds more than its entries add up to.")


class Level3Counter:
    """How many symbols may be subscribed to level 3 now.

    Whether Kraken's second is a sliding one, and whether it counts per connection or per client, is
    not published: this slides and is meant for all connections, at `share` of the allowance.
    """

    def __init__(self, tier: Tier, share: tuple[int, int] = (1, 2)) -> None:
        most = tier.level3_per_s * share[0] // share[1]
        if most < max(LEVEL3_COSTS.values()):
            raise ConfigError(
                f"{most} points a second are less than one symbol of depth 1000 costs.",
                "Give a larger share of the level-3 counter.",
            )
        self._window = SlidingWindow(most, SECOND)

    def fits(self, depth: int, now_ns: int) -> int:
        """How many symbols of `depth` may be subscribed at once now."""
        return max(0, self._window.room(now_ns) // level3_cost(depth))

    def spend(self, depth: int, n_symbols: int, now_ns: int) -> None:
        self._window.spend(n_symbols * level3_cost(depth), now_ns)

    def wait_ns(self, depth: int, now_ns: int) -> int:
        """Nanoseconds until one more symbol of `depth` may be subscribed."""
        return self._window.wait_ns(level3_cost(depth), now_ns)


def level3_cost(depth: int) -> int:
    """Points of one symbol at a depth of 10, 100 or 1000; other depths do not exist."""
    if depth not in LEVEL3_COSTS:
        raise ConfigError(
            f"level 3 has no depth {depth}.", f"Use one of {', '.join(map(str, LEVEL3_COSTS))}."
        )
    return LEVEL3_COSTS[depth]


class ConnectionBudget:
    """Connection attempts from this address: beyond 150 in ten minutes it is banned for ten.

    All programs behind one address share the venue's count, so we stop well below it.
    """

    def __init__(self, most: int = CONNECTIONS_MAX * 2 // 3) -> None:
        if not 0 < most <= CONNECTIONS_MAX:
            raise ConfigError(
                f"a budget of {most} connection attempts is not possible.",
                f"Kraken allows {CONNECTIONS_MAX} in ten minutes.",
            )
        self._window = SlidingWindow(most, CONNECTIONS_WINDOW_NS)

    def wait_ns(self, now_ns: int) -> int:
        """Nanoseconds until one more attempt may be made; 0: now."""
        return self._window.wait_ns(1, now_ns)

    def attempt(self, now_ns: int) -> None:
        """Count an attempt, whether or not it succeeds."""
        self._window.spend(1, now_ns)
