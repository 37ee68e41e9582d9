"""What is captured, in which parts, and what is said about it? The thinking half of a capture.

`Capture` owns the sessions and their feeds. It is told what happened on which connection and when,
and gives numbered events to a keeper (`hand_over`); what has to be sent stands in `orders`. It
learns the pairs from the instrument channel, begins a new part by the hour or day and whenever the
pairs change, judges epochs, and spreads the doubt of one connection to the others. No socket, no
clock, no file. Left out: carrying (live.py), writing (keeper.py), sealing (adapters/parquet/seal.py).
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from adapters.kraken import opening
from adapters.kraken.epochs import Criteria, Epochs, Facts, Turn, word_of
from adapters.kraken.feed import MarketFeed
from adapters.kraken.keeper import Frame, Part
from adapters.kraken.level3 import LEVEL3_SYMBOLS_MAX, level3_pace
from adapters.kraken.limits import ConnectionBudget
from adapters.kraken.phases import SECOND, Limits, Note, Phase, Step
from adapters.kraken.rotation import Choice, Measures, Rotation, Universe
from adapters.kraken.session import BOOKS, Session
from adapters.kraken.steps import instrument_of
from adapters.kraken.subscriptions import Sub, Wish
from adapters.kraken.wire import Instruments, Pair, Refused, Status
from engine.clock import utc_stamp
from engine.errors import ConfigError, VenueError
from engine.events import (
    EPOCH,
    EVENT,
    GAP,
    GAP_SOURCE,
    HEALTH,
    HEALTH_LAG,
    INSTRUMENT,
    LAST,
    NO_SYMBOL,
    empty,
    joined,
)
from engine.instruments import STATUS_CODES, InstrumentTable, canonical_symbol

HOUR: Final = 3600 * SECOND
DEPTHS: Final = {"book": (10, 25, 100, 500, 1000), "level3": (10, 100, 1000)}
PLAIN_CHANNELS: Final = ("trade", "ticker")
STABLE: Final = frozenset(
    (
        "USDT",
        "USDC",
        "DAI",
        "PYUSD",
        "USDG",
        "USDD",
        "USDS",
        "USD1",
        "TUSD",
        "RLUSD",
        "USDQ",
        "USDR",
    )
)


@dataclass(frozen=True)
class CaptureConfig:
    """What to capture and how.

    symbols : canonical names; empty: all pairs of `quote` that are online
    channels : name to depth, 0 where there is none: book, level3, trade, ticker
    deny : bases that the universe leaves out; symbols_max : refuse a larger one, 0 for no limit
    rotation : with it the universe is a part of those pairs, chosen anew from time to time
    part_ns : a part ends with each multiple of this
    per_connection : most symbols of one public connection
    instruments_within : refuse if the venue has not listed its pairs by then, ns
    """

    symbols: tuple[str, ...] = ()
    channels: Mapping[str, int] = field(default_factory=lambda: {"book": 10, "trade": 0})
    name: str = "kraken"
    quote: str = "USD"
    deny: frozenset[str] = STABLE
    symbols_max: int = 0
    rotation: Rotation | None = None
    part_ns: int = HOUR
    per_connection: int = 250
    instruments_within: int = 60 * SECOND
    limits: Limits = field(default_factory=Limits)
    criteria: Criteria = field(default_factory=Criteria)

    def __post_init__(self) -> None:
        for name, depth in self.channels.items():
            if name in DEPTHS and depth not in DEPTHS[name]:
                known = ", ".join(map(str, DEPTHS[name]))
                raise ConfigError(f"{name} has no depth {depth}.", f"Kraken offers {known}.")
            if name not in DEPTHS and name not in PLAIN_CHANNELS:
                raise ConfigError(
                    f"there is no channel {name!r} to capture.",
                    f"Channels are {', '.join((*DEPTHS, *PLAIN_CHANNELS))}.",
                )
        if not self.channels:
            raise ConfigError("a capture needs at least one channel.", "As in book:100,trade.")

    @property
    def needs_token(self) -> bool:
        return "level3" in self.channels


@dataclass(frozen=True)
class Lineage:
    """Where a capture goes on from. All zero for a new one."""

    name: str = ""
    seq_next: int = 0
    ts_last: int = 0
    epoch: int = 0
    part: int = 0


class Sink(Protocol):
    """Where events go: keeper.py."""

    @property
    def wants_raw(self) -> bool: ...
    def begin(self, part: Part) -> None: ...
    def append(self, rows: np.ndarray) -> None: ...
    def remark(self, **facts: Any) -> None: ...
    def raw(self, frame: Frame) -> None: ...
    def lag_ns(self, now: int) -> int: ...


class Order(NamedTuple):
    """Something that one connection has to do."""

    conn: int
    step: Step


@dataclass
class Stats:
    """What a person looks at while it runs."""

    events: int = 0
    gaps: int = 0
    parts: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    decode_lag_ns: int = 0
    venue_lag_ns: int = 0  # newest stamp minus the venue's own, smallest of the last second
    notes: list[tuple[int, Note]] = field(default_factory=list)


class Capture:
    """One capture, from start to stop. Times in ns, never falling.

    draw : numbers in [0, 1), for jitter; lineage : where an earlier run ended
    taken : ids that no part may have
    """

    def __init__(
        self,
        config: CaptureConfig,
        sink: Sink,
        draw: Callable[[], float],
        lineage: Lineage | None = None,
        taken: Iterable[str] = (),
    ) -> None:
        self.config = config
        self.lineage = lineage or Lineage(config.name)
        self.stats = Stats()
        self.sessions: list[Session] = []
        self.level3: list[bool] = []  # by connection: on the level 3 host
        self.feeds: list[MarketFeed] = []
        self.orders: list[Order] = []
        self.epochs = Epochs(self.lineage.epoch, config.criteria)
        self.seq_next = self.lineage.seq_next
        self.ts_last = self.lineage.ts_last
        self._sink, self._draw = sink, draw
        self._budget = ConnectionBudget()
        self._table: InstrumentTable | None = None
        self._pairs: dict[str, Pair] = {}
        self._system: int | None = None
        self._before: list[np.ndarray] = []  # events before the pairs are known
        self._sink_later: list[dict[str, Any]] = []  # remarks on the part that begins next
        self._waiting: list[np.ndarray] = []  # events that the sink has not got
        self._n_parts = self.lineage.part
        self._part_ends = 0
        self._ids = set(taken)
        self._started = 0
        self._judged = self._told_lag = 0
        self._stopping = False
        self._groups: list[tuple[str, ...]] = []
        self._measured: Measures | None = None
        self._universe: Universe | None = None
        self._leaving: tuple[str, ...] = ()  # their last messages may still come in this part
        self._add_session(level3=False, group=())

    # --- what the shell tells ---

    @property
    def done(self) -> bool:
        return self._stopping and all(each.phase is Phase.STOPPED for each in self.sessions)

    @property
    def instruments(self) -> InstrumentTable | None:
        """The pairs that are captured; None until the venue has listed them."""
        return self._table

    def start(self, now: int) -> None:
        self._started = self._judged = self._told_lag = now
        self._handle(0, self.sessions[0].start(now), now)

    def connecting(self, conn: int, now: int) -> bool:
        """The shell is about to connect; False: not now."""
        self._handle(conn, self.sessions[conn].connecting(now), now)
        return self.sessions[conn].phase is Phase.CONNECTING

    def opened(self, conn: int, now: int) -> None:
        self._handle(conn, self.sessions[conn].opened(now), now)

    def received(self, conn: int, frame: bytes, now: int) -> None:
        if self._table is not None and now >= self._part_ends:
            self._begin_part(now, "the time of a part is over")
        if self._sink.wants_raw:
            self._sink.raw(Frame(now, conn, False, frame))
        self._handle(conn, self.sessions[conn].received(frame, now), now)

    def closed(self, conn: int, code: int, reason: str, now: int) -> None:
        self._handle(conn, self.sessions[conn].closed(code, reason, now), now)

    def dropped(self, conn: int, n_frames: int, since: int, now: int) -> None:
        """The shell threw frames away, since there was no room."""
        self._handle(conn, self.sessions[conn].dropped(n_frames, since, now), now)

    def tick(self, now: int) -> None:
        """Some time went by; a few times a second."""
        if self._table is None and now - self._started > self.config.instruments_within:
            raise VenueError(
                f"the venue has not listed its pairs within "
                f"{self.config.instruments_within // SECOND} s.",
                "Is the network up, and the address right? Notes above say what happened.",
            )
        if self._table is not None and now >= self._part_ends:
            self._begin_part(now, "the time of a part is over")
        for conn, session in enumerate(self.sessions):
            self._handle(conn, session.tick(now), now)
        if self._table is not None and not self._stopping:
            if now - self._judged >= SECOND:
                self._judged = now
                self._judge(now)
            if now - self._told_lag >= 60 * SECOND:
                self._told_lag = now
                row = self._row(HEALTH, now, id=HEALTH_LAG, aux=self._sink.lag_ns(now))
                row["qty"] = self.stats.decode_lag_ns
                self._write([row], now)

    def measured(self, found: Measures, now: int) -> None:
        """What pairs came to lately, for a universe that is chosen by it."""
        self._measured = found
        if self._universe is None:
            if self._pairs and self._table is None:
                self._begin(now)
            return
        choice = self._universe.choose(self._pairs, found, now)
        if choice is not None and not self._stopping:
            self._rotate(choice, now)

    def remark(self, text: str, now: int) -> None:
        """Something that the shell met."""
        self._note(Note("warning", text), now)

    def stop(self, now: int) -> None:
        """End all connections; `done` when they are."""
        if self._stopping:
            return
        self._stopping = True
        for conn, session in enumerate(self.sessions):
            self._handle(conn, session.stop(now), now)
        if self._table is not None:
            self._write([self._turn(each, now) for each in self.epochs.swap("stopped")], now)

    # --- what follows ---

    def _handle(self, conn: int, step: Step, now: int) -> None:
        for note in step.notes:
            self._note(note, now)
        if step.events:
            self._write(step.events, now, _why(step))
        if step.send and self._sink.wants_raw and not self.sessions[conn].needs_token:
            for each in step.send:
                self._sink.raw(Frame(now, conn, True, each))
        if step.send or step.close or step.reconnect_at is not None:
            self.orders.append(Order(conn, step))
        if step.interrupted:
            for other, session in enumerate(self.sessions):
                if other != conn:
                    self._handle(other, session.refresh(step.interrupted, now), now)
        for message in step.messages:
            if isinstance(message, Status):
                self._system = STATUS_CODES.get(message.system, self._system)
            elif isinstance(message, Instruments):
                self._listed(conn, message, now)
            elif isinstance(message, Refused):
                self._sink.remark(refused=message.what, ts=now, raw=message.raw[:4096].hex())
        if step.steps_changed and conn == 0:
            self._begin_part(now, "increments of a pair changed")

    def _listed(self, conn: int, message: Instruments, now: int) -> None:
        for pair in message.pairs:
            before = self._pairs.get(pair.symbol)
            if before is not None and before != pair and self._wanted(pair.symbol):
                text = f"{pair.symbol}: {_difference(before, pair)}"
                self._note(Note("warning", f"instrument changed: {text}"), now)
                self._sink.remark(instrument=text, ts=now)
            self._pairs[pair.symbol] = pair
        if self._table is None:
            if message.type == "snapshot" and (not self.config.rotation or self._measured):
                self._begin(now)
            return
        for other, session in enumerate(self.sessions):
            if other != conn:
                self._handle(other, session.instruments(message, now), now)

    def _wanted(self, symbol: str) -> bool:
        return self._table is not None and symbol in self._table

    def _begin(self, now: int) -> None:
        """The pairs are known: choose, connect, begin the first part."""
        self._table = InstrumentTable(instrument_of(self._pairs[each]) for each in self._choose())
        symbols = self._members(now)
        size = self.config.per_connection
        public = [symbols[at : at + size] for at in range(0, len(symbols), size)]
        self._groups[0] = public[0]
        for group in public[1:]:
            self._add_session(level3=False, group=group)
        if "level3" in self.config.channels:
            size = LEVEL3_SYMBOLS_MAX
            for at in range(0, len(symbols), size):
                self._add_session(level3=True, group=symbols[at : at + size])
        for session in self.sessions:
            session.alone = len(self.sessions) == 1
        self._follow()
        self._begin_part(now, "the capture starts")
        for conn, session in enumerate(self.sessions):
            step = session.start(now) if conn else session.want(self._wishes(0), now)
            self._handle(conn, step, now)

    def _members(self, now: int) -> tuple[str, ...]:
        """What is captured of the table: all of it, or the universe."""
        assert self._table is not None
        if self.config.rotation is None:
            return self._table.symbols
        if self._universe is None:
            self._universe = Universe(
                self.config.rotation, self._table.symbols, self.config.quote, self.config.deny
            )
            choice = self._universe.choose(self._pairs, self._measured or {}, now)
            if choice is None:
                raise VenueError(
                    "no pair is good enough for the universe.",
                    "Lower its least turnover, allow a wider spread, or name pairs.",
                )
            self._say(choice, now)
        return self._universe.members

    def _say(self, choice: Choice, now: int) -> None:
        assert self._universe is not None
        facts = {"version": self._universe.version, **choice._asdict()}
        self._sink_later.append({"universe": facts, "reasons": self._universe.reasons(), "ts": now})
        self._note(Note("info", f"universe {self._universe.version}: {_swap(choice)}"), now)

    def _rotate(self, choice: Choice, now: int) -> None:
        """Another universe: the epoch and the part end, and the connections want other pairs."""
        self._say(choice, now)
        entered = {False: list(choice.entered), True: list(choice.entered)}
        for conn, (group, level3) in enumerate(zip(self._groups, self.level3, strict=True)):
            size = LEVEL3_SYMBOLS_MAX if level3 else self.config.per_connection
            kept = [each for each in group if each not in choice.left]
            room, waiting = size - len(kept), entered[level3]
            new, entered[level3] = waiting[:room], waiting[room:]
            feed = self.feeds[conn]
            for channel in self._books(level3):
                for symbol in set(group) - set(kept):
                    self._write([feed.unfollow(symbol, now, channel)], now)
                for symbol in new:
                    feed.follow(symbol, self.config.channels[channel], channel)
            self._groups[conn] = (*kept, *new)
        added = []
        for level3, waiting in entered.items():
            if waiting and (not level3 or "level3" in self.config.channels):
                added.append(len(self.sessions))
                self._add_session(level3=level3, group=tuple(waiting))
                self.sessions[-1].alone = False
                self._follow_one(added[-1])
        for session in self.sessions:
            session.alone = len(self.sessions) == 1
        self._write([self._turn(each, now) for each in self.epochs.swap("another universe")], now)
        self._leaving = choice.left
        self._begin_part(now, "another universe")
        self._leaving = ()
        for conn, session in enumerate(self.sessions):
            step = session.start(now) if conn in added else session.want(self._wishes(conn), now)
            self._handle(conn, step, now)

    def _choose(self) -> tuple[str, ...]:
        """The symbols: those asked for, or every online pair of the quote. Never cut in silence."""
        known = {canonical_symbol(each): pair.symbol for each, pair in self._pairs.items()}
        if self.config.symbols:
            chosen = []
            for symbol in dict.fromkeys(map(canonical_symbol, self.config.symbols)):
                if symbol not in known:
                    near = difflib.get_close_matches(symbol, known, n=3, cutoff=0.0)
                    raise ConfigError(
                        f"the venue has no pair {symbol}.", f"Nearest: {', '.join(near)}."
                    )
                chosen.append(known[symbol])
            return tuple(chosen)
        found = sorted(
            each.symbol
            for each in self._pairs.values()
            if each.quote == self.config.quote
            # A universe that is chosen anew decides about these itself, and may change its mind.
            and (self.config.rotation or each.status == "online")
            and (self.config.rotation or each.base not in self.config.deny)
        )
        if not found:
            raise VenueError(
                f"the venue lists no pair of {self.config.quote} that is online.",
                "Name symbols, or wait until the venue is back.",
            )
        if (
            self.config.symbols_max
            and not self.config.rotation
            and len(found) > self.config.symbols_max
        ):
            raise ConfigError(
                f"the universe has {len(found)} pairs, {self.config.symbols_max} are allowed.",
                "Name symbols, or allow more; a universe is never cut in silence.",
            )
        return tuple(found)

    def _add_session(self, *, level3: bool, group: tuple[str, ...]) -> None:
        conn = len(self.sessions)
        self._groups.append(group)
        self.level3.append(level3)
        wishes = self._wishes(conn)
        depth = self.config.channels.get("level3", 10)
        session = Session(
            wishes,
            self._draw,
            number=conn,
            needs_token=level3,
            tells_status=conn == 0,
            limits=self.config.limits,
            pace={"level3": level3_pace(depth)} if level3 else None,
            budget=self._budget,
        )
        self.sessions.append(session)

    def _wishes(self, conn: int) -> list[Wish]:
        wishes = [Wish("instrument", (), (("snapshot", True),))] if conn == 0 else []
        group = self._groups[conn]
        if not group:
            return wishes
        for name, depth in self.config.channels.items():
            if (name == "level3") != self.level3[conn]:
                continue
            params: tuple[tuple[str, Any], ...] = (("snapshot", True),)
            wishes.append(Wish(name, group, (("depth", depth), *params) if depth else params))
        return wishes

    def _follow(self) -> None:
        """A feed for each connection, all with the same table."""
        assert self._table is not None
        self.feeds = []
        for conn in range(len(self.sessions)):
            self._follow_one(conn)

    def _follow_one(self, conn: int) -> None:
        assert self._table is not None
        depths = {
            name: dict.fromkeys(self._groups[conn], self.config.channels[name])
            for name in self._books(self.level3[conn])
        }
        feed = MarketFeed(
            self._table, depths.get("book", {}), level3_depths=depths.get("level3", {})
        )
        self.feeds.append(feed)
        self.sessions[conn].follow(feed, self._table)

    def _books(self, level3: bool) -> list[str]:
        """The captured channels that keep a book, of connections of this kind."""
        return [
            name for name in BOOKS if name in self.config.channels and (name == "level3") == level3
        ]

    # --- parts ---

    def _begin_part(self, now: int, why: str) -> None:
        first = self.stats.parts == 0
        self._table = self.feeds[0].instruments
        self._n_parts += 1
        self.stats.parts += 1
        size = self.config.part_ns
        self._part_ends = (now // size + 1) * size
        capture_id = f"{self.config.name}-{utc_stamp(now)}"
        if capture_id in self._ids:  # two parts of one second
            capture_id += f"-{self._n_parts}"
        self._ids.add(capture_id)
        captured = {*self._members(now), *self._leaving}
        symbols = [each for each in self._table.symbols if each in captured]
        depths = {
            name: dict.fromkeys(symbols, depth) for name, depth in self.config.channels.items()
        }
        meta = {
            "venue": "kraken",
            "clock": "ts: this host's clock when the frame arrived; ts_venue: the venue's own stamp",
            "channels": depths,
            "lineage": self.lineage.name,
            "part": self._n_parts,
        }
        self.hand_over()
        self._sink.begin(Part(capture_id, self._table, self.seq_next, meta))
        self._sink.remark(part=self._n_parts, why=why, ts=now, lineage=self.lineage.name)
        for facts in self._sink_later:
            self._sink.remark(**facts)
        self._sink_later.clear()
        if first:
            # Connection 0 told its first steps before there was a part to write them to.
            self._write(self._before, now)
            self._before = []
        rows = [opening.states(self._table, self._system, now)]
        rows += [self._turn(each, now) for each in self.epochs.again()]
        for feed in self.feeds:
            rows += opening.books(feed, self._table.symbols, now)
        self._write(rows, now)
        if first and self.lineage.ts_last:
            gap = self._row(GAP, now, id=GAP_SOURCE, aux=self.lineage.ts_last)
            self._write([gap], now, "the capture was not running")
        if first:
            self._judge(now)

    def _judge(self, now: int) -> None:
        for turn in self.epochs.judge(self.facts(now)):
            self._write([self._turn(turn, now)], now, turn.verdict)
            level = "info" if turn.status == 1 else "warning"
            self._note(
                Note(level, f"epoch {turn.number} is {word_of(turn.status)}: {turn.verdict}"), now
            )

    def facts(self, now: int) -> Facts:
        """What the verdict on this moment is made of."""
        assert self._table is not None
        bad: set[str] = set()
        asked: set[str] = set()
        oldest = now
        # One pair that is wrong for ever must not hold up all others: they are judged without it.
        aside = {symbol for each in self.sessions for symbol in each.aside(now)}
        for session, feed in zip(self.sessions, self.feeds, strict=True):
            for each in session.subscriptions:
                if not each.symbol or each.gone or each.symbol in aside:
                    continue
                asked.add(each.symbol)
                stands = each.channel not in BOOKS or feed.synced(each.symbol, each.channel)
                if each.state is not Sub.LIVE or not stands:
                    bad.add(each.symbol)
                if each.lost_at:
                    oldest = min(oldest, each.lost_at)
        n_symbols = len(set(self._members(now)) - aside)
        return Facts(n_symbols, len(asked - bad), now - oldest, self._sink.lag_ns(now))

    # --- writing ---

    def _turn(self, turn: Turn, now: int) -> np.ndarray:
        return self._row(EPOCH, now, id=turn.number, aux=turn.status)

    def _row(self, kind: int, now: int, *, id: int = 0, aux: int = 0) -> np.ndarray:
        row = empty(1)
        row["ts"], row["kind"], row["flags"], row["sym"] = now, kind, LAST, NO_SYMBOL
        row["id"], row["aux"] = id, aux
        return row

    def _write(self, parts: list[np.ndarray], now: int, why: str = "") -> None:
        """Keep rows for `hand_over`; `why` becomes the remark of gaps and epochs."""
        if not parts:
            return
        if self._table is None:
            self._before += parts
            return
        for rows in parts if self._universe is None else map(self._of_universe, parts):
            if not len(rows):
                continue
            if why:
                for i in np.flatnonzero((rows["kind"] == GAP) | (rows["kind"] == EPOCH)).tolist():
                    self.stats.gaps += int(rows["kind"][i] == GAP)
                    self._sink.remark(seq=self.seq_next + i, text=why)
            self.seq_next += len(rows)
            self.stats.events += len(rows)
            self._waiting.append(rows)
        self.ts_last = now

    def _of_universe(self, rows: np.ndarray) -> np.ndarray:
        """Without the state of pairs outside: a part has the pairs that are captured in it."""
        assert self._table is not None
        assert self._universe is not None
        captured = {*self._universe.members, *self._leaving}
        inside = np.array([each in captured for each in self._table.symbols], np.bool_)
        return rows[(rows["kind"] != INSTRUMENT) | inside[rows["sym"]]]

    def hand_over(self) -> None:
        """Number what was said since the last time and give it to the sink, as one array."""
        if not self._waiting:
            return
        rows = joined(self._waiting)
        self._waiting.clear()
        assert rows.dtype == EVENT
        rows["seq"] = np.arange(self.seq_next - len(rows), self.seq_next)
        self._sink.append(rows)

    def _note(self, note: Note, now: int) -> None:
        self.stats.notes.append((now, note))
        del self.stats.notes[:-200]
        self.stats.kinds[note.level] += 1
        if note.level != "info":
            self._sink.remark(note=note.text, level=note.level, ts=now)


def _why(step: Step) -> str:
    return next((note.text for note in step.notes if note.level != "info"), "")


def _swap(choice: Choice) -> str:
    text = f"{len(choice.members)} pairs"
    for word, symbols in (("in", choice.entered), ("out", choice.left)):
        if symbols:
            more = f" and {len(symbols) - 5} more" if len(symbols) > 5 else ""
            text += f", {word} {', '.join(symbols[:5])}{more}"
    return text


def _difference(before: Pair, after: Pair) -> str:
    changes = [
        f"{name} {getattr(before, name)} -> {getattr(after, name)}"
        for name in before.__struct_fields__
        if getattr(before, name) != getattr(after, name)
    ]
    return ", ".join(changes)
