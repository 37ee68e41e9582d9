"""What does the venue say, to whom, and when? All that thinks, without a socket or a clock.

Inputs: connections that open and close, frames that arrive, and `advance` to a moment. Outputs:
frames and closings in `outbox`, in order. A moment has two times: `wall`, which connections live
by, and `now`, the market's own clock. Left out: bytes on sockets (server.py), damage (faults.py).
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from adapters.local_venue import encode, public, wire_orders
from adapters.local_venue.account import Account
from adapters.local_venue.keys import ApiKey, Keyring, Token
from adapters.local_venue.market import Market, Said, Topic
from adapters.local_venue.options import VenueOptions
from adapters.local_venue.private import Client, Subscription
from adapters.local_venue.public import CHANNELS, ENVELOPE, MALFORMED, Refusal, Request
from adapters.local_venue.source import MarketSource
from adapters.local_venue.text import NS_PER_S
from engine.events import INSTRUMENT, LAST, SNAPSHOT, SYSTEM_STATUS, empty
from engine.instruments import STATUS_CODES

ENDPOINTS: Final = ("public", "private", "level3")
BAN_S: Final = 600


class Out(NamedTuple):
    """One frame for a connection, or its end. `said` is set for messages of market channels."""

    conn: int
    endpoint: str
    now: int
    text: str = ""
    close: tuple[int, str] | None = None
    said: Said | None = None


@dataclass
class Connection:
    """One client's socket, as the venue sees it."""

    id: int
    endpoint: str
    topics: dict[Topic, None] = field(default_factory=dict)
    private: dict[str, Subscription] = field(
        default_factory=dict
    )  # private subscriptions by channel
    next_heartbeat: int = 0  # wall, 0 before the first subscription
    heard_wall: int = 0
    said_wall: int = 0
    level3_spent: list[tuple[int, int]] = field(default_factory=list)


class Core:
    """The venue. Call `advance` before every other input, then take `drain()`.

    source : the market; keys : API keys, one account each
    record : keep everything said in `sent`
    """

    def __init__(
        self,
        source: MarketSource,
        options: VenueOptions | None = None,
        keys: Iterable[ApiKey] = (ApiKey(),),
        record: bool = True,
    ) -> None:
        self.source = source
        self.options = options or VenueOptions()
        self.keyring = Keyring(keys, self.options.seed)
        self.market = Market(source.instruments, source.depth, self._wanted)
        self.record = record
        self.wall = 0
        self.now = self.start
        self.outbox: list[Out] = []
        self.sent: list[Out] = []
        self.connections: dict[int, Connection] = {}
        self.n_connections = 0
        self.held = False  # the market stands still
        self._attempts: list[int] = []
        self._banned_until = 0
        self.rest_lag_ns = int(self.options.rest_lag_ms * 1e6)
        self.clock_error = 0  # ns by which the venue's own stamps are wrong
        self._topics: dict[Topic, dict[int, None]] = {}
        self._variants: dict[tuple[str, int], list[int | str]] = {}
        self._later: list[tuple[int, int, Callable[[], None]]] = []
        self._n_later = 0
        self.clients: dict[str, Client] = {}  # accounts in use, by key
        self.random = random.Random(self.options.seed)
        self._syms = {each: i for i, each in enumerate(source.instruments.symbols)}
        self._prime()

    def _prime(self) -> None:
        """Take the source's opening snapshots: no client ever sees a market that has no book."""
        while (burst := self.source.peek()) is not None:
            row = burst.rows[0]
            opening = row.flags & SNAPSHOT or row.kind in (SYSTEM_STATUS, INSTRUMENT)
            if not opening or burst.ts > self.now + NS_PER_S:
                return
            self._step(burst.ts)

    @property
    def start(self) -> int:
        """Market time of the first message, ns."""
        burst = self.source.peek()
        return burst.ts if burst is not None else 0

    # ---- time ----

    def next_market(self) -> int | None:
        """Market time at which something happens next: a message of the source, a due act."""
        times = []
        burst = self.source.peek()
        if burst is not None and not self.held:
            times.append(burst.ts)
        if self._later:
            times.append(self._later[0][0])
        times += [at for client in self.clients.values() if (at := client.next_time()) is not None]
        return min(times) if times else None

    def next_wall(self) -> int | None:
        """Wall time of the next heartbeat or idle close."""
        beats = [c.next_heartbeat for c in self.connections.values() if c.next_heartbeat]
        idles = [self._idle_at(c) for c in self.connections.values()]
        return min([*beats, *idles], default=None)

    def advance(self, wall: int, now: int, steps: int = 1 << 62) -> bool:
        """Let everything happen that is due, in order of market time, then heartbeats.

        steps : at most so many things; False if more is due, and market time stands where they end
        """
        self.wall = max(self.wall, wall)
        done = False
        for _ in range(steps):
            due = self.next_market()
            if due is None or due > now:
                self.now = max(self.now, now)
                done = True
                break
            self._step(due)
        self._tend_connections()
        return done

    def _step(self, due: int) -> None:
        self.now = max(self.now, due)
        burst = None if self.held else self.source.peek()
        # Market data before whatever else happens at the same instant.
        if burst is not None and burst.ts <= due:
            self.source.pop()
            news = self.market.take(burst.rows)
            for client in self.clients.values():
                client.account.feed(burst.events)
            for said in news:
                self._tell(said)
            for client in self.clients.values():
                client.settle()
            return
        for client in self.clients.values():
            at = client.next_time()
            if at is not None and at <= due:
                client.act(due)
                return
        _, _, act = heapq.heappop(self._later)
        act()

    def later(self, at: int, act: Callable[[], None]) -> None:
        """Do something at market time `at`, after market data of that instant."""
        self._n_later += 1
        heapq.heappush(self._later, (max(at, self.now), self._n_later, act))

    def _idle_at(self, conn: Connection) -> int:
        options = self.options
        last = max(conn.heard_wall, conn.said_wall)
        at = last + int(options.idle_close_s * NS_PER_S)
        if conn.endpoint == "private" and not conn.private:
            at = min(at, conn.heard_wall + int(options.private_idle_close_s * NS_PER_S))
        return at

    def _tend_connections(self) -> None:
        step = int(self.options.heartbeat_s * NS_PER_S)
        for conn in list(self.connections.values()):
            if self._idle_at(conn) <= self.wall:
                self.hang_up(conn.id, 1000, "idle")
                continue
            if conn.next_heartbeat and conn.next_heartbeat <= self.wall:
                idle = self.wall - conn.said_wall >= step
                if idle or not self.options.heartbeat_only_idle:
                    self.say(conn, encode.HEARTBEAT)
                conn.next_heartbeat += step * (1 + (self.wall - conn.next_heartbeat) // step)

    # ---- connections ----

    def may_connect(self) -> bool:
        """One more attempt of this address: is it let in? Too many are banned for ten minutes."""
        most, span = self.options.connections_max, BAN_S * NS_PER_S
        if not most:
            return True
        if self.wall < self._banned_until:
            return False
        self._attempts = [at for at in self._attempts if at > self.wall - span]
        self._attempts.append(self.wall)
        if len(self._attempts) > most:
            self._banned_until = self.wall + span
            return False
        return True

    def opened(self, endpoint: str) -> int:
        """A client has connected; the first thing it hears is the status."""
        self.n_connections += 1
        conn = Connection(self.n_connections, endpoint, heard_wall=self.wall, said_wall=self.wall)
        self.connections[conn.id] = conn
        self.say(conn, self.status_text(conn))
        return conn.id

    @property
    def shown(self) -> int:
        """The time that the venue says it is."""
        return self.now + self.clock_error

    def status_text(self, conn: Connection, upcoming: str = "") -> str:
        seed = f"connection {self.options.seed} {conn.id}".encode()
        number = int.from_bytes(hashlib.sha256(seed).digest()[:8], "big")  # all 64 bits are used
        version = self.options.gateway_version
        return encode.status(self.market.system, number, version, upcoming)

    def set_system(self, state: str) -> None:
        """Enter a state of the whole venue; everybody is told."""
        self.market.system = state
        self._tell_engines(SYSTEM_STATUS, -1, STATUS_CODES[state])
        self.announce("")

    def set_pair_status(self, symbol: str, status: str) -> None:
        """Change the status of a pair; subscribers of `instrument` are told."""
        sym = self._syms[symbol]
        self._tell_engines(INSTRUMENT, sym, STATUS_CODES[status])
        for said in self.market.set_status(sym, status, self.now):
            self._tell(said)

    def _tell_engines(self, kind: int, sym: int, code: int) -> None:
        events = empty(1)
        events["ts"], events["kind"], events["sym"] = self.now, kind, sym
        events["aux"], events["flags"] = code, LAST
        for client in self.clients.values():
            client.account.feed(events)
            client.settle()

    def cross(self, symbol: str) -> None:
        """Tell every reader of a pair's book of a bid above the best ask; the checksum is right."""
        sym = self.sym_of(symbol)
        for topic in [each for each in self._topics if (each.channel, each.sym) == ("book", sym)]:
            self._tell(self.market.crossed(topic, self.now))

    def announce(self, upcoming: str) -> None:
        """Send the status to every connection, with an upcoming maintenance or without."""
        for conn in list(self.connections.values()):
            self.say(conn, self.status_text(conn, upcoming))

    def closed(self, conn_id: int) -> None:
        """A client is gone."""
        conn = self.connections.pop(conn_id, None)
        if conn is None:
            return
        for topic in list(conn.topics):
            self.leave(conn, topic)
        channels = list(conn.private)  # whoever is asked first forgets them
        for client in self.clients.values():
            for channel in channels:
                client.leave(conn, channel)
        self.keyring.forget(conn_id)

    def hang_up(self, conn_id: int, code: int, reason: str) -> None:
        """The venue closes a connection."""
        conn = self.connections.get(conn_id)
        if conn is not None:
            self._put(Out(conn.id, conn.endpoint, self.now, close=(code, reason)))
            self.closed(conn_id)

    # ---- talking ----

    def _put(self, out: Out) -> None:
        self.outbox.append(out)
        if self.record:
            self.sent.append(out)

    def say(self, conn: Connection, text: str) -> None:
        if conn.id in self.connections:
            conn.said_wall = self.wall
            self._put(Out(conn.id, conn.endpoint, self.now, text))

    def say_market(self, conn: Connection, said: Said) -> None:
        conn.said_wall = self.wall
        self._put(Out(conn.id, conn.endpoint, self.now, said.text, said=said))

    def _tell(self, said: Said) -> None:
        """Say something to all who subscribed it."""
        for conn_id in self._topics.get(said.topic, ()):
            conn = self.connections.get(conn_id)
            if conn is not None:
                self.say_market(conn, said)

    def drain(self) -> list[Out]:
        """What was said since the last call, in order."""
        out, self.outbox = self.outbox, []
        return out

    # ---- subscriptions ----

    def _wanted(self, channel: str, sym: int) -> Iterable[int | str]:
        return self._variants.get((channel, sym), ())

    def start_heartbeats(self, conn: Connection) -> None:
        """They start with the first subscription of any channel."""
        if not conn.next_heartbeat:
            conn.next_heartbeat = self.wall + int(self.options.heartbeat_s * NS_PER_S)

    def join(self, conn: Connection, topic: Topic, snapshot: bool) -> None:
        """Subscribe: the snapshot now or after its delay, updates only after it."""
        self.start_heartbeats(conn)
        conn.topics[topic] = None
        if topic.channel != "instrument":  # who has only asked for the pairs sees no market yet
            self.held = False

        def begin() -> None:
            if topic not in conn.topics or conn.id not in self.connections:
                return
            self._topics.setdefault(topic, {})[conn.id] = None
            variants = self._variants.setdefault((topic.channel, topic.sym), [])
            if topic.variant not in variants:
                variants.append(topic.variant)
            if snapshot:
                self.say_market(conn, self.market.snapshot(topic, self.now))

        self._after(self.options.snapshot_delay_ms, begin)

    def leave(self, conn: Connection, topic: Topic) -> None:
        """End a subscription; a few updates may be on their way still."""
        conn.topics.pop(topic, None)

        def end() -> None:
            if topic in conn.topics:
                return  # subscribed again meanwhile
            members = self._topics.get(topic, {})
            members.pop(conn.id, None)
            if not members:
                self._topics.pop(topic, None)
                variants = self._variants.get((topic.channel, topic.sym), [])
                if topic.variant in variants:
                    variants.remove(topic.variant)

        alive = conn.id in self.connections
        self._after(self.options.unsubscribe_late_ms if alive else 0.0, end)

    def _after(self, ms: float, act: Callable[[], None]) -> None:
        if ms:
            self.later(self.now + int(ms * 1e6), act)
        else:
            act()

    def sym_of(self, symbol: str) -> int:
        """Row of a v2 symbol; -1 for any other text, XBT/USD among them."""
        return self._syms.get(symbol, -1)

    def token_of(self, conn: Connection, request: Request) -> Token:
        """The token of a request."""
        token = self.keyring.check_token(request.params.get("token"), self.wall)
        if isinstance(token, str):
            raise Refusal(token)
        if "websockets" not in token.key.rights:
            raise Refusal("EGeneral:Permission denied")
        return token

    def client(self, key: ApiKey) -> Client:
        """The account of a key; it begins when it is first used."""
        if key.owner not in self.clients:
            account = Account(key, self.market, self.options, self.now)
            self.clients[key.owner] = Client(self, account)
        self.held = False
        return self.clients[key.owner]

    # ---- frames ----

    def received(self, conn_id: int, frame: str | bytes, pretend: bool = False) -> None:
        """A frame from a client; the answers are in `outbox`.

        pretend : the switch is answered as if it were set, and is not
        """
        conn = self.connections.get(conn_id)
        if conn is None:
            return
        conn.heard_wall = self.wall
        request = public.parse(frame)
        if request is None:
            self.say(conn, encode.failure("error", None, MALFORMED, self.shown, self.shown))
            return
        try:
            self._act(conn, request, pretend)
        except Refusal as refusal:
            text = encode.failure(
                request.method,
                request.req_id,
                refusal.error,
                self.shown,
                self.shown,
                refusal.symbol,
            )
            self.say(conn, text)

    def turn_away(self, conn_id: int, frame: str | bytes, text: str) -> None:
        """Answer a request with an error and do nothing else."""
        conn, request = self.connections.get(conn_id), public.parse(frame)
        if conn is not None and request is not None:
            self.say(
                conn,
                encode.failure(request.method, request.req_id, text, self.shown, self.shown),
            )

    def _act(self, conn: Connection, request: Request, pretend: bool) -> None:
        method = request.method
        if method == "ping":
            public.ping(self, conn, request)
            return
        if conn.endpoint == "private" and method in wire_orders.METHODS:
            wire_orders.trade(self, conn, request, pretend)
            return
        if method not in ("subscribe", "unsubscribe"):
            raise Refusal("Unsupported event")
        public.stray(request, ENVELOPE, request.message)
        channel = request.params.get("channel")
        if channel not in CHANNELS[conn.endpoint]:
            raise Refusal("Unsupported event")
        if conn.endpoint == "private":
            token = self.token_of(conn, request)
            client = self.client(token.key)
            if method == "subscribe":
                client.subscribe(conn, request)
                token.connections.add(conn.id)
            else:
                client.unsubscribe(conn, request)
        elif method == "subscribe":
            public.subscribe(self, conn, request)
        else:
            public.unsubscribe(self, conn, request)
