"""In which state is one subscription, and what may happen to it next?

One `Subscription` is one channel of one symbol on one connection. Its life is the table `NEXT`:
state x happening -> state; a pair that is not in the table changes nothing. `Subscriptions` holds
all of a connection, packs what must be asked into requests of many symbols, and paces them. Left
out: the connection itself (session.py) and what the data says (feed.py).

Source of the rules: Kraken, "Spot WebSocket API v2", subscribe, unsubscribe and book: one reply per
symbol, a failed request is silent but for its reply, late updates may follow an unsubscribe, and
nothing counts before the snapshot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

_SECOND: Final = 1_000_000_000


class Sub(Enum):
    """States of a subscription."""

    IDLE = "idle"  # wanted, not asked; `due` says from when on it may be asked
    ASKED = "asked"  # subscribe sent, no reply yet
    ACKED = "acked"  # accepted, its snapshot has not come
    LIVE = "live"  # its data counts
    LEAVING = "leaving"  # unsubscribe sent or about to be; what arrives is late and dropped
    REFUSED = "refused"  # the venue will not have it; asked again on the next connection


class Happening(Enum):
    """What can happen to a subscription."""

    ASK = "ask"
    ACK = "ack"
    SNAPSHOT = "snapshot"  # the data that it waited for, or any data where none is awaited
    REFUSE = "refuse"  # for good
    POSTPONE = "postpone"  # not now
    TROUBLE = "trouble"  # what we hold is wrong: start again
    LEFT = "left"
    OVERDUE = "overdue"
    DOWN = "down"  # the connection is gone


NEXT: Final[dict[tuple[Sub, Happening], Sub]] = {
    (Sub.IDLE, Happening.ASK): Sub.ASKED,
    (Sub.ASKED, Happening.ACK): Sub.ACKED,
    # Data proves what a lost or late acknowledgement would have said.
    (Sub.ASKED, Happening.SNAPSHOT): Sub.LIVE,
    (Sub.ASKED, Happening.REFUSE): Sub.REFUSED,
    (Sub.ASKED, Happening.POSTPONE): Sub.IDLE,
    # The venue may or may not have it: leave, then ask again.
    (Sub.ASKED, Happening.OVERDUE): Sub.LEAVING,
    (Sub.ASKED, Happening.TROUBLE): Sub.LEAVING,
    (Sub.ACKED, Happening.SNAPSHOT): Sub.LIVE,
    (Sub.ACKED, Happening.OVERDUE): Sub.LEAVING,
    (Sub.ACKED, Happening.TROUBLE): Sub.LEAVING,
    (Sub.LIVE, Happening.SNAPSHOT): Sub.LIVE,
    (Sub.LIVE, Happening.TROUBLE): Sub.LEAVING,
    (Sub.LEAVING, Happening.LEFT): Sub.IDLE,
    (Sub.LEAVING, Happening.OVERDUE): Sub.IDLE,
    **{(state, Happening.DOWN): Sub.IDLE for state in Sub},
}

# Until the snapshot nothing of these channels means anything.
WAIT_FOR_SNAPSHOT: Final = ("book", "level3", "instrument")
# Parameters that name a subscription, and so stand in an unsubscribe as well.
_NAMING: Final = ("depth", "event_trigger", "interval", "token")


@dataclass(frozen=True)
class Wish:
    """What a connection shall be subscribed to: a channel, its symbols, and its parameters.

    symbols : canonical names; none for the channel `instrument`
    params : as in the request, beside channel, symbol and token
    """

    channel: str
    symbols: tuple[str, ...] = ()
    params: tuple[tuple[str, Any], ...] = ()

    def each(self) -> Iterator[tuple[str, str, tuple[tuple[str, Any], ...]]]:
        for symbol in self.symbols or ("",):
            yield self.channel, symbol, self.params


@dataclass
class Subscription:
    """One channel of one symbol. Times in ns."""

    channel: str
    symbol: str
    params: tuple[tuple[str, Any], ...] = ()
    state: Sub = Sub.IDLE
    since: int = 0  # when the state began
    due: int = 0  # IDLE: not asked before
    sent: bool = False  # LEAVING: the unsubscribe is out
    last: int = 0  # newest message that counted
    counted: bool = False  # its data counts now: losing it is a gap
    lost_at: int = 0  # newest message before it was lost; 0 before its first start
    lost_why: int = 0  # GAP_*
    gone: bool = False  # no longer wanted; forgotten when it has left
    n_overdue: int = 0  # in a row
    n_postponed: int = 0  # in a row
    aside: bool = False  # wrong again and again: nobody waits for it before it stood for a while
    reason: str = ""  # the venue's words, when it refused or postponed
    troubles: deque[int] = field(default_factory=lambda: deque(maxlen=16))

    def apply(self, happening: Happening, now: int) -> bool:
        """Move on as the table says; False if the table knows no such move."""
        state = NEXT.get((self.state, happening))
        if state is None:
            return False
        if state is not self.state:
            self.state, self.since = state, now
        self.sent = False
        return True


@dataclass(frozen=True)
class Pace:
    """How fast subscriptions may be asked for.

    batch : most symbols of one request; gap_ns : between two requests
    cost, budget : of one symbol, and what may be spent per second; 0 for no such limit
    """

    batch: int = 50
    gap_ns: int = 100_000_000
    cost: int = 0
    budget: int = 0

    def after(self, n_symbols: int) -> int:
        """How long to wait after a request of so many symbols, ns."""
        if not self.budget:
            return self.gap_ns
        return max(self.gap_ns, n_symbols * self.cost * _SECOND // self.budget)

    @property
    def most(self) -> int:
        """Most symbols of one request: never more than a second's budget."""
        return max(1, min(self.batch, self.budget // self.cost)) if self.cost else self.batch


@dataclass(frozen=True)
class Ask:
    """One request that is due: subscribe or unsubscribe these symbols."""

    method: str
    channel: str
    symbols: tuple[str, ...]
    params: dict[str, Any]


def _order(item: tuple[tuple[str, str, Any], Any]) -> tuple[bool, bool]:
    method, channel, _ = item[0]
    return method == "subscribe", channel in ("book", "level3")


class Subscriptions:
    """All subscriptions of one connection."""

    def __init__(self, wishes: Iterable[Wish], pace: Mapping[str, Pace] | None = None) -> None:
        self._pace = dict(pace or {})
        self._free_at: dict[str, int] = {}  # channel: when the next request may go
        self.by_key: dict[tuple[str, str], Subscription] = {}
        self.asked: dict[int, tuple[str, str, tuple[str, ...]]] = {}  # req_id: what was asked
        self.want(wishes, 0)

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self.by_key.values())

    def get(self, channel: str, symbol: str) -> Subscription | None:
        return self.by_key.get((channel, symbol))

    def of_symbol(self, symbol: str) -> list[Subscription]:
        return [each for each in self if each.symbol == symbol]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every symbol that is wanted, in order of its first wish."""
        return tuple(dict.fromkeys(each.symbol for each in self if each.symbol and not each.gone))

    def want(self, wishes: Iterable[Wish], now: int) -> None:
        """These are the wishes from now on: what is new is asked, what is gone is left."""
        wanted = {
            (channel, symbol): params for each in wishes for channel, symbol, params in each.each()
        }
        for key, params in wanted.items():
            known = self.by_key.get(key)
            if known is None:
                self.by_key[key] = Subscription(*key, params=params, due=now)
            elif known.params != params:
                raise ValueError(
                    f"{key} is subscribed with {dict(known.params)}, not {dict(params)}: "
                    "one connection holds one form of a channel and symbol."
                )
            else:
                known.gone = False
        for key, known in list(self.by_key.items()):
            if key in wanted:
                continue
            if known.state in (Sub.IDLE, Sub.REFUSED):
                del self.by_key[key]
            else:
                known.gone = True
                known.apply(Happening.TROUBLE, now)

    def down(self, now: int) -> None:
        """The connection is gone: everything starts again."""
        for each in list(self):
            each.apply(Happening.DOWN, now)
            each.due, each.n_overdue, each.reason = now, 0, ""
            if each.gone:
                del self.by_key[each.channel, each.symbol]
        self.asked.clear()
        self._free_at.clear()

    def due(self, now: int) -> list[Ask]:
        """The requests that may go now; what they ask for is taken to be sent.

        A channel gets at most one request at a time, the one after it when its pace allows.
        """
        asks: list[Ask] = []
        waiting: dict[tuple[str, str, tuple[tuple[str, Any], ...]], list[Subscription]] = {}
        for each in self:
            if self._free_at.get(each.channel, 0) > now:
                continue
            if each.state is Sub.LEAVING and not each.sent:
                waiting.setdefault(("unsubscribe", each.channel, each.params), []).append(each)
            elif each.state is Sub.IDLE and each.due <= now:
                waiting.setdefault(("subscribe", each.channel, each.params), []).append(each)
        # Leaving goes first: it ends data that nobody may use. Books come last: their snapshot ends
        # the doubt about a symbol, so all else of it should be there by then.
        for (method, channel, params), found in sorted(waiting.items(), key=_order):
            if self._free_at.get(channel, 0) > now:
                continue
            pace = self._pace.get(channel, Pace())
            batch = found[: pace.most]
            for each in batch:
                if method == "subscribe":
                    each.apply(Happening.ASK, now)
                else:
                    each.sent, each.since = True, now
            shown = dict(params)
            if method == "unsubscribe":
                shown = {name: value for name, value in params if name in _NAMING}
            symbols = tuple(each.symbol for each in batch if each.symbol)
            asks.append(Ask(method, channel, symbols, shown))
            self._free_at[channel] = now + pace.after(len(batch) if method == "subscribe" else 0)
        return asks

    def sent(self, req_id: int, ask: Ask) -> None:
        """Remember what a request asked, so that its replies find their subscriptions."""
        self.asked[req_id] = (ask.method, ask.channel, ask.symbols)
        while len(self.asked) > 4096:
            self.asked.pop(next(iter(self.asked)))

    def meant(self, req_id: int | None, symbol: str) -> list[Subscription]:
        """The subscriptions that a reply is about: by its request, and its symbol if it has one."""
        if req_id is None or req_id not in self.asked:
            return []
        _, channel, symbols = self.asked[req_id]
        if symbol and symbol not in symbols:
            return []
        names = (symbol,) if symbol else (symbols or ("",))
        found = (self.by_key.get((channel, each)) for each in names)
        return [each for each in found if each is not None]

    def overdue(self, now: int, limit_ns: int) -> list[Subscription]:
        """Those whose reply or snapshot should have come by now."""
        return [
            each
            for each in self
            if now - each.since > limit_ns
            and (each.state in (Sub.ASKED, Sub.ACKED) or (each.state is Sub.LEAVING and each.sent))
        ]

    def count(self) -> dict[str, int]:
        """How many are in each state."""
        counts = {state.value: 0 for state in Sub}
        for each in self:
            counts[each.state.value] += 1
        return counts
