"""What does a connection to Kraken do next? The life of one WebSocket v2 connection as a table.

`Session` takes what happens (opened, received, tick, closed) with the time at which it happened and
answers with a `Step`: events for the log, frames to send, whether to close, when to connect again.
phases.py has the table of its states; subscriptions have their own (subscriptions.py).
No socket, no clock, no randomness but the stream that it is given. Left out: carrying bytes
(public.py, level3.py), what market data means (feed.py), where events are kept (capture.py).

What it makes honest: from the moment a connection or a symbol is in doubt, its data is dropped, a
GAP event says since when and why, and nothing counts again before a new snapshot.

Source: Kraken, "Spot WebSocket API v2", introduction, status, heartbeat, subscribe, book.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from adapters.kraken import requests
from adapters.kraken.feed import (
    BAD_INSTRUMENT,
    CHANGED_STEPS,
    CHECKSUM_MISMATCH,
    CROSSED,
    OTHER_BOOK,
    TRADE_REPEATED,
    UNKNOWN_STATUS,
    Taken,
    Trouble,
)
from adapters.kraken.limits import ConnectionBudget
from adapters.kraken.phases import CONNECTED, NEXT, SECOND, Input, Limits, Note, Phase, Step
from adapters.kraken.subscriptions import (
    WAIT_FOR_SNAPSHOT,
    Happening,
    Pace,
    Sub,
    Subscription,
    Subscriptions,
    Wish,
)
from adapters.kraken.wire import (
    Book,
    Candles,
    Heartbeat,
    Instruments,
    Level3,
    Message,
    Pong,
    Refused,
    Reply,
    Status,
    Tickers,
    Trades,
    decode,
)
from engine.events import (
    CONNECTION_DOWN,
    CONNECTION_UP,
    GAP_CHECKSUM,
    GAP_CROSSED,
    GAP_DISCONNECT,
    GAP_DROPPED,
    GAP_SOURCE,
    HEALTH,
    HEALTH_CLOCK,
    HEALTH_RESUMED,
    HEARTBEAT,
    INSTRUMENT,
    LAST,
    NO_SYMBOL,
    SYSTEM_STATUS,
    empty,
)
from engine.instruments import STATUS_CODES, InstrumentTable

BOOKS: Final = ("book", "level3")
CHANNELS: Final = ("instrument", "trade", "ticker", "ohlc", "level3", "book")


class Feed(Protocol):
    """Market messages to events; adapters/kraken/feed.py."""

    def take(self, message: Message, received_ns: int) -> Taken: ...
    def lost(
        self, received_ns: int, cause: int, symbols: Sequence[str] | None = None
    ) -> np.ndarray: ...
    def expect_snapshot(
        self, symbol: str, received_ns: int, cause: int = ..., channel: str = ...
    ) -> np.ndarray: ...


# What a trouble of the feed means for a gap; others are holes of unknown making.
_GAP_OF: Final = {CHECKSUM_MISMATCH: GAP_CHECKSUM, CROSSED: GAP_CROSSED}
# Troubles that leave nothing missing.
_HARMLESS: Final = (TRADE_REPEATED, UNKNOWN_STATUS, BAD_INSTRUMENT)


class Session:
    """One connection. Every input takes `now` (ns, never falling) and gives a Step.

    wishes : what to subscribe to; may change later with `want`
    draw : gives numbers in [0, 1), the stream of the jitter
    alone : no other connection carries market data: its gaps are gaps of everything
    number : names the connection in its events
    tells_status : the venue's state becomes an event. One connection of several is enough: the event
        is about every pair, and only that one hears from the instrument channel which differ
    needs_token : authenticated: a token must be given (`token`) before each connection
    ping_first : measure the venue's clock as soon as it is connected, and not only in time
    """

    def __init__(
        self,
        wishes: Iterable[Wish],
        draw: Callable[[], float],
        *,
        alone: bool = True,
        number: int = 0,
        needs_token: bool = False,
        tells_status: bool = True,
        limits: Limits | None = None,
        pace: Mapping[str, Pace] | None = None,
        budget: ConnectionBudget | None = None,
        ping_first: bool = False,
    ) -> None:
        self.number, self.alone = number, alone
        self._tells_status = tells_status
        self.limits = limits or Limits()
        self.subscriptions = Subscriptions(wishes, pace)
        self.phase = Phase.WAITING
        self.counts: Counter[str] = Counter()
        self.n_frames = self.n_bytes = 0
        self._draw, self._budget = draw, budget or ConnectionBudget()
        self._feed: Feed | None = None
        self._take_frame: Callable[[bytes, int], Taken | None] | None = None
        self._symbols: tuple[str, ...] = ()
        self._sym: dict[str, int] = {}
        self.needs_token, self._token = needs_token, ""
        self._n_failed = 0  # connections in a row that did not last
        self._not_before = 0  # maintenance
        self._opened_at = 0
        self._reconnect_at: int | None = None
        self._last_frame = 0
        self._heard = 0  # newest frame that was understood: up to here nothing is missing
        self._last_of: dict[str, int] = {}  # channel: newest message
        self._in_vain: Counter[str] = Counter()  # channel: silences that a resubscription kept
        self._ping_at, self._ping_first = 0, ping_first
        self._pinged: tuple[int, int] | None = None  # req_id, when
        self._req_id = 0
        self._told_up = False
        self.clock_offset: int | None = None  # venue's clock minus ours, ns

    @property
    def newest_frame_ns(self) -> int:
        """When the newest frame came, or the connection was made; 0 before the first."""
        return self._last_frame

    # --- what the caller tells ---

    def follow(self, feed: Feed, instruments: InstrumentTable) -> None:
        """From now on market data is taken by `feed`; `sym` of events is a row of `instruments`."""
        self._feed = feed
        self._take_frame = getattr(feed, "take_frame", None)
        self._symbols = instruments.symbols
        self._sym = {each: i for i, each in enumerate(instruments.symbols)}

    def want(self, wishes: Iterable[Wish], now: int) -> Step:
        """Change what is subscribed to."""
        step = Step()
        self.subscriptions.want(wishes, now)
        return self._ask(step, now)

    def start(self, now: int) -> Step:
        """Connect as soon as may be."""
        return self._schedule(Step(), now)

    @property
    def token_missing(self) -> bool:
        """A token must be given before the next connection."""
        return self.needs_token and not self._token

    def token(self, text: str) -> None:
        """The token of the connection that is about to be made."""
        self._token = text

    def connecting(self, now: int) -> Step:
        """The caller is about to connect: go ahead if the phase is CONNECTING after this."""
        step = Step()
        if self.phase is not Phase.WAITING:
            return self._ignored(step, Input.DUE)
        due = max(self._reconnect_at or now, now + self._budget.wait_ns(now))
        if due > now or self.token_missing:
            self._reconnect_at = step.reconnect_at = due
            return step
        self._budget.attempt(now)
        self._move(Input.DUE)
        self._reconnect_at = None
        self.counts["attempts"] += 1
        return step

    def opened(self, now: int) -> Step:
        """The connection stands."""
        step = Step()
        if self.phase is Phase.STOPPING:
            step.close = True
            return step
        if not self._move(Input.OPENED):
            return self._ignored(step, Input.OPENED)
        self._opened_at = self._last_frame = self._heard = now
        self._ping_at = now + (0 if self._ping_first else self.limits.ping)
        self._pinged = None
        self._last_of.clear()
        self._told_up = True
        self.counts["connections"] += 1
        step.events.append(self._row(CONNECTION_UP, now, id=self.number))
        return step

    def received(self, frame: bytes | str, now: int) -> Step:
        """One frame."""
        step = Step()
        if self.phase not in CONNECTED:
            # Of a connection that we gave up: a newer one may already tell another story.
            self.counts["late frames"] += 1
            return step
        data = frame.encode() if isinstance(frame, str) else frame
        self.n_frames += 1
        self.n_bytes += len(data)
        self._last_frame = now
        if self._take_frame is not None and self.phase is Phase.ONLINE:
            taken = self._take_frame(data, now)
            if taken is not None:
                self._taken_fast(taken, step, now)
                return step
        message = decode(data)
        take = _TAKE.get(type(message))
        if take is None:
            step.messages.append(message)  # private: not for this session
            return step
        if not isinstance(message, Status | Refused) and self.phase is Phase.OPEN:
            self._move(Input.FRAME)
        take(self, message, step, now)
        if step.close:
            return step
        self._heard = now
        # Only what these say can make a request due before the next tick.
        if step.notes or isinstance(message, Reply | Status):
            self._ask(step, now)
        return step

    def tick(self, now: int) -> Step:
        """Time went by: look for silence and overdue answers, ask what may be asked now."""
        step = Step()
        if self.phase is Phase.WAITING:
            step.reconnect_at = self._reconnect_at
            return step
        if self.phase not in CONNECTED:
            return step
        if now - self._last_frame > self.limits.silence:
            silent = (now - self._last_frame) / SECOND
            return self._give_up(step, Input.SILENT, f"nothing was heard for {silent:.1f} s", now)
        if self.phase is Phase.OPEN and now - self._opened_at >= self.limits.patience:
            self._move(Input.DUE)
        if self.phase is not Phase.ONLINE:
            return step
        self._look_for_silence(step, now)
        self._look_for_overdue(step, now)
        if self.phase is Phase.ONLINE and now >= self._ping_at:
            self._ping(step, now)
        return self._ask(step, now) if self.phase is Phase.ONLINE else step

    def closed(self, code: int, reason: str, now: int) -> Step:
        """The connection is gone, or could not be made."""
        step = Step()
        before = self.phase
        if not self._move(Input.CLOSED):
            return self._ignored(step, Input.CLOSED)
        what = "could not be made" if before is Phase.CONNECTING else "closed"
        text = f"connection {self.number} {what}: {code} {reason}".rstrip()
        # A note that begins with the code of an alert is that alert.
        refused = reason.startswith("TLS_REFUSED")
        self._note(step, "error" if refused else "warning", reason if refused else text)
        if self._told_up:
            self._lose_all(step, GAP_DISCONNECT, now)
            self._tell_down(step, code, now)
        self._token = ""
        # A row of failures ends with a connection that lasted, and did not last by silence alone.
        lasted = before is not Phase.CONNECTING and now - self._opened_at >= self.limits.stable
        self._n_failed = 0 if lasted else self._n_failed + 1
        self.subscriptions.down(now)
        if self.phase is Phase.STOPPED:
            return step
        return self._schedule(step, now)

    def refresh(self, symbols: Iterable[str], now: int) -> Step:
        """Another connection lost these symbols: give their books a fresh snapshot too.

        A gap of a symbol puts all its books in doubt, whoever caused it; a snapshot ends the doubt.
        """
        step = Step()
        for symbol in symbols:
            for each in self.subscriptions.of_symbol(symbol):
                if each.channel in BOOKS and each.state in (Sub.ACKED, Sub.LIVE):
                    self._again(step, each, GAP_SOURCE, now)
        return self._ask(step, now) if self.phase is Phase.ONLINE else step

    def aside(self, now: int) -> set[str]:
        """Symbols that are wrong again and again, until they have stood as long as that was counted."""
        found = set()
        for each in self.subscriptions:
            if not each.aside:
                continue
            if each.state is Sub.LIVE and now - each.troubles[-1] > self.limits.resyncs_window:
                each.aside = False
            else:
                found.add(each.symbol)
        return found

    def instruments(self, message: Instruments, now: int) -> Step:
        """What the instrument channel said on another connection: the same pairs trade here."""
        step = Step()
        if self._feed is not None:
            self._take(message, step, now)
            # Their states are in the log already, from the connection that heard them.
            step.events = [each[each["kind"] != INSTRUMENT] for each in step.events]
        return self._ask(step, now)

    def dropped(self, n_frames: int, since: int, now: int) -> Step:
        """Frames were thrown away before we saw them: we were too slow."""
        self.counts["dropped frames"] += n_frames
        text = f"{n_frames} frames were dropped since {(now - since) / SECOND:.3f} s: too slow"
        return self._give_up(Step(), Input.DROPPED, text, now, GAP_DROPPED)

    def stop(self, now: int) -> Step:
        """End it for good."""
        step = Step()
        connected = self.phase in CONNECTED
        if not self._move(Input.STOP):
            return self._ignored(step, Input.STOP)
        step.close = self.phase is Phase.STOPPING
        if connected and self._told_up:
            self._tell_down(step, 1000, now)
        return step

    # --- messages ---

    def _taken_fast(self, taken: Taken, step: Step, now: int) -> None:
        """A plain book update, nine frames of ten: the feed has read it without `decode`."""
        self._heard = self._last_of["book"] = now
        rows = taken.events
        if taken.troubles:
            if len(rows):
                step.events.append(rows)
            for trouble in taken.troubles:
                self._troubled(step, trouble, None, now)
            self._ask(step, now)
        elif len(rows):
            if self._in_vain:
                self._in_vain.pop("book", None)
            sub = self.subscriptions.by_key.get(("book", self._symbols[rows[0]["sym"]]))
            if sub is None or sub.state is not Sub.LIVE:
                self.counts["messages out of turn"] += 1
                return
            sub.last = now
            step.events.append(rows)
        else:
            self.counts["messages out of turn"] += 1

    def _on_status(self, message: Message, step: Step, now: int) -> None:
        assert isinstance(message, Status)
        step.messages.append(message)
        code = STATUS_CODES.get(message.system)
        if code is None:
            self._note(step, "warning", f"unknown state of the venue {message.system[:40]!r}")
        elif self._tells_status:
            step.events.append(self._row(SYSTEM_STATUS, now, aux=code))
        for planned in message.upcoming_maintenance or ():
            text = f"VENUE_MODE: maintenance {planned.phase}, from {planned.expected_start_utc} to "
            text += f"{planned.expected_end_utc}: {planned.title}"
            self._note(step, "warning", text[:200])
        if message.system == "maintenance":
            if self._move(Input.STATUS_DOWN):
                self._note(step, "warning", "the venue went into maintenance")
                # Market data may stop with it, without another word: leave now, ask when it is over.
                self._lose_all(step, GAP_SOURCE, now)
                for each in list(self.subscriptions):
                    self._again(step, each, GAP_SOURCE, now)
                self._not_before = now + self.limits.maintenance
            return
        if self.phase is Phase.MAINTENANCE:
            self._not_before = now + self.limits.maintenance
        self._move(Input.STATUS_UP)

    def _on_heartbeat(self, message: Message, step: Step, now: int) -> None:
        self.counts["heartbeats"] += 1
        step.events.append(self._row(HEARTBEAT, now))

    def _on_pong(self, message: Message, step: Step, now: int) -> None:
        assert isinstance(message, Pong)
        if self._pinged is None or message.req_id != self._pinged[0] or not message.time_in:
            self.counts["unexpected pongs"] += 1
            return
        sent, self._pinged = self._pinged[1], None
        self.clock_offset = message.time_in - (sent + now) // 2
        step.events.append(
            self._row(HEALTH, now, id=HEALTH_CLOCK, aux=self.clock_offset, qty=now - sent)
        )

    def _on_instruments(self, message: Message, step: Step, now: int) -> None:
        assert isinstance(message, Instruments)
        step.messages.append(message)
        sub = self.subscriptions.get("instrument", "")
        if sub is None or not self._counts(sub, message.type, step, now):
            return
        if self._feed is not None:
            self._take(message, step, now)

    def _on_book(self, message: Message, step: Step, now: int) -> None:
        assert isinstance(message, Book)
        self._market("book", message.symbol, message.type, message, step, now)

    def _on_level3(self, message: Message, step: Step, now: int) -> None:
        assert isinstance(message, Level3)
        self._market("level3", message.symbol, message.type, message, step, now)

    def _on_trades(self, message: Message, step: Step, now: int) -> None:
        assert isinstance(message, Trades)
        if message.trades:
            self._market("trade", message.trades[0].symbol, message.type, message, step, now)

    def _on_tickers(self, message: Message, step: Step, now: int) -> None:
        assert isinstance(message, Tickers)
        if message.tickers:
            self._market("ticker", message.tickers[0].symbol, message.type, message, step, now)

    def _on_candles(self, message: Message, step: Step, now: int) -> None:
        assert isinstance(message, Candles)
        if message.candles:
            self._market("ohlc", message.candles[0].symbol, message.type, message, step, now)

    def _market(
        self, channel: str, symbol: str, kind: str, message: Message, step: Step, now: int
    ) -> None:
        sub = self.subscriptions.get(channel, symbol)
        if sub is None:
            self.counts["unasked messages"] += 1
            return
        self._last_of[channel] = now
        if not self._counts(sub, kind, step, now) or self._feed is None:
            self.counts["messages out of turn"] += 1
            return
        if kind == "update":
            self._in_vain.pop(channel, None)
        self._take(message, step, now, sub)

    def _counts(self, sub: Subscription, kind: str, step: Step, now: int) -> bool:
        """May this message be used? A snapshot, or what no snapshot must precede, opens the door."""
        if sub.state is Sub.LIVE:
            return True
        opens = kind == "snapshot" or sub.channel not in WAIT_FOR_SNAPSHOT
        return opens and self._live(sub, step, now)

    def _live(self, sub: Subscription, step: Step, now: int) -> bool:
        """Its data counts from here on."""
        if not sub.apply(Happening.SNAPSHOT, now):
            return False
        sub.n_overdue = sub.n_postponed = 0
        self._last_of.setdefault(sub.channel, now)
        if sub.symbol in self._sym and sub.channel in CHANNELS:
            row = self._row(
                HEALTH, now, sub.symbol, id=HEALTH_RESUMED, aux=sub.lost_at, qty=sub.lost_why
            )
            row["price"] = CHANNELS.index(sub.channel)
            step.events.append(row)
        sub.lost_at = sub.lost_why = 0
        sub.counted, sub.last = True, now
        return True

    def _take(
        self, message: Message, step: Step, now: int, sub: Subscription | None = None
    ) -> None:
        assert self._feed is not None
        taken = self._feed.take(message, now)
        if len(taken.events):
            step.events.append(taken.events)
        for trouble in taken.troubles:
            self._troubled(step, trouble, sub, now)
        if sub is not None and not taken.troubles:
            sub.last = now

    def _troubled(self, step: Step, trouble: Trouble, sub: Subscription | None, now: int) -> None:
        """The feed could not follow. Of a book it has said so (GAP) and waits for a snapshot."""
        self.counts[f"trouble: {trouble.cause}"] += 1
        text = f"{trouble.symbol} {trouble.channel}: {trouble.text}".strip()
        self._note(step, "info" if trouble.cause == OTHER_BOOK else "warning", text[:300])
        if trouble.cause in _HARMLESS:
            return
        step.steps_changed |= trouble.cause == CHANGED_STEPS
        cause = _GAP_OF.get(trouble.cause, GAP_SOURCE)
        if trouble.resubscribe:
            sub = self.subscriptions.get(trouble.channel, trouble.symbol)
            step.interrupted = (*step.interrupted, trouble.symbol)
            if sub is not None:
                self._again(step, sub, cause, now)
                if trouble.cause not in (OTHER_BOOK, CHANGED_STEPS):
                    self._strike(step, sub, now)
        elif sub is not None:
            self._doubt(step, sub, cause, now)

    # --- replies ---

    def _on_reply(self, message: Message, step: Step, now: int) -> None:
        assert isinstance(message, Reply)
        self.counts["replies"] += 1
        found = self.subscriptions.meant(message.req_id, message.symbol)
        if not found:
            step.messages.append(message)
            if not message.success:
                self._note(step, "warning", f"a request failed: {message.error[:200]}")
            return
        assert message.req_id is not None
        method = self.subscriptions.asked[message.req_id][0]
        if method == "unsubscribe":
            # Also when it fails: what the venue does not know, we are not subscribed to.
            for sub in found:
                self._left(sub, now)
        elif message.success:
            for sub in found:
                if sub.apply(Happening.ACK, now) and sub.channel not in WAIT_FOR_SNAPSHOT:
                    self._live(sub, step, now)
        else:
            self._failed(step, found, message.error, now)

    def _failed(self, step: Step, found: list[Subscription], error: str, now: int) -> None:
        text = error.lower()
        first = found[0]
        what = f"{first.channel} {first.symbol}".strip()
        if any(each in text for each in _DENIALS):
            self._give_up(step, Input.DENIED, f"the token was refused: {error[:100]}", now)
            return
        self._note(step, "warning", f"subscription to {what} failed: {error[:200]}")
        for sub in found:
            sub.reason = error[:200]
            if "already subscribed" in text:
                self._again(step, sub, GAP_SOURCE, now)
            elif any(each in text for each in _FINAL) or sub.n_postponed >= 5:
                sub.apply(Happening.REFUSE, now)
            else:
                sub.n_postponed += 1
                if sub.apply(Happening.POSTPONE, now):
                    sub.due = now + self._wait(sub.n_postponed)

    def _left(self, sub: Subscription, now: int) -> None:
        if not sub.sent or not sub.apply(Happening.LEFT, now):
            self.counts["unexpected replies"] += 1
            return
        sub.n_overdue = 0
        if sub.gone:
            del self.subscriptions.by_key[sub.channel, sub.symbol]

    def _on_refused(self, message: Message, step: Step, now: int) -> None:
        """A frame that says nothing known: was it meant for us, and what may be missing?"""
        assert isinstance(message, Refused)
        self.counts["refused frames"] += 1
        step.messages.append(message)
        channel = message.what.removeprefix("malformed ").partition(":")[0]
        if message.what.startswith("unknown"):
            self._note(step, "warning", f"passed over: {message.what}"[:200])
        elif message.what.startswith("malformed ") and channel in CHANNELS:
            # Whole JSON of another shape: something of this channel is lost, nobody knows of which
            # symbol. Each that has data starts again; one that never ends is put aside.
            self._note(step, "error", f"not understood: {message.what}"[:300])
            for sub in list(self.subscriptions):
                if sub.channel == channel and sub.state is Sub.LIVE:
                    self._doubt(step, sub, GAP_SOURCE, now)
        else:
            # Damaged bytes, or the words of a proxy that goes down.
            shown = message.raw[:60].decode("utf-8", "replace")
            self._give_up(step, Input.GARBAGE, f"{message.what}: {shown!r}", now)

    # --- doubt ---

    def _doubt(self, step: Step, sub: Subscription, cause: int, now: int) -> None:
        """What we hold of a subscription is wrong: say so, and start it again."""
        if sub.state not in (Sub.ASKED, Sub.ACKED, Sub.LIVE):
            return
        if sub.counted and sub.symbol in self._sym:
            self._tell_gap(step, cause, [sub.symbol], sub.last, now)
        self._again(step, sub, cause, now)
        for other in self.subscriptions.of_symbol(sub.symbol):
            # The gap puts the symbol's other books in doubt as well.
            if other is not sub and other.channel in BOOKS:
                self._again(step, other, cause, now)
        self._strike(step, sub, now)

    def _strike(self, step: Step, sub: Subscription, now: int) -> None:
        """Whoever is in doubt again and again is asked less often."""
        sub.troubles.append(now)
        recent = sum(1 for each in sub.troubles if now - each <= self.limits.resyncs_window)
        # Once put aside, one more is enough: it was not right for long enough.
        if sub.aside or recent > self.limits.resyncs_max:
            sub.aside, sub.due = True, now + self.limits.aside
            self.counts["put aside"] += 1
            self._note(
                step,
                "error",
                f"{sub.channel} {sub.symbol} started again {recent} times in "
                f"{self.limits.resyncs_window // SECOND} s: put aside for "
                f"{self.limits.aside // SECOND} s",
            )

    def _again(self, step: Step, sub: Subscription, cause: int, now: int) -> None:
        """Leave, then ask again; until its snapshot nothing of it counts."""
        if not sub.apply(Happening.TROUBLE, now):
            return
        self.counts["resyncs"] += 1
        sub.due = now
        self._lost(sub, sub.last, cause)
        if self._feed is not None and sub.channel in BOOKS:
            rows = self._feed.expect_snapshot(sub.symbol, now, cause, sub.channel)
            if len(rows):
                step.events.append(rows)

    def _lost(self, sub: Subscription, since: int, cause: int) -> None:
        if sub.counted:
            sub.counted, sub.lost_at, sub.lost_why = False, since, cause

    def _lose_all(self, step: Step, cause: int, now: int) -> None:
        """All that had data has a gap from the newest good frame on."""
        found = dict.fromkeys(each.symbol for each in self.subscriptions if each.counted)
        for each in self.subscriptions:
            self._lost(each, self._heard, cause)
        symbols = [each for each in found if each in self._sym]
        if symbols:
            self._tell_gap(step, cause, None if self.alone else symbols, self._heard, now)
            step.interrupted = tuple(dict.fromkeys((*step.interrupted, *symbols)))

    def _tell_gap(
        self, step: Step, cause: int, symbols: list[str] | None, since: int, now: int
    ) -> None:
        assert self._feed is not None
        rows = self._feed.lost(now, cause, symbols)
        rows["aux"] = since
        step.events.append(rows)
        step.interrupted = (*step.interrupted, *(symbols or ()))

    def _tell_down(self, step: Step, code: int, now: int) -> None:
        self._told_up = False
        symbols: list[str] = [""]
        if not self.alone:
            symbols = [each for each in self.subscriptions.symbols if each in self._sym]
        for symbol in symbols:
            row = self._row(CONNECTION_DOWN, now, symbol, id=self.number, aux=code)
            step.events.append(row)

    def _give_up(
        self, step: Step, why: Input, text: str, now: int, cause: int = GAP_DISCONNECT
    ) -> Step:
        """Ask for the end of the connection."""
        if not self._move(why):
            return self._ignored(step, why)
        self.counts[f"given up: {why.value}"] += 1
        self._note(step, "warning", f"connection {self.number} is given up: {text}")
        self._lose_all(step, cause, now)
        step.close = True
        step.send.clear()
        return step

    def _look_for_silence(self, step: Step, now: int) -> None:
        for channel, limit in self.limits.channel_silence.items():
            limit <<= min(self._in_vain[channel], 6)
            heard = self._last_of.get(channel)
            live = [
                each
                for each in self.subscriptions
                if each.channel == channel and each.state is Sub.LIVE and not each.gone
            ]
            if not limit or not live or heard is None or now - heard <= limit:
                continue
            self._in_vain[channel] += 1
            self._last_of[channel] = now
            self.counts["silent channels"] += 1
            self._note(
                step,
                "warning",
                f"CHANNEL_SILENT: {channel} is silent for {(now - heard) / SECOND:.0f} s",
            )
            for each in live:
                self._doubt(step, each, GAP_DISCONNECT, now)

    def _look_for_overdue(self, step: Step, now: int) -> None:
        for each in self.subscriptions.overdue(now, self.limits.answer):
            each.n_overdue += 1
            self.counts["overdue answers"] += 1
            text = f"no answer about {each.channel} {each.symbol} ({each.state.value})"
            self._note(step, "warning", text)
            if each.n_overdue >= 3:
                self._give_up(step, Input.DEAF, text, now)
                return
            each.apply(Happening.OVERDUE, now)
            each.due = now
            if each.gone and each.state is Sub.IDLE:
                del self.subscriptions.by_key[each.channel, each.symbol]

    # --- helpers ---

    def _ask(self, step: Step, now: int) -> Step:
        """Send what may be asked now."""
        if self.phase is not Phase.ONLINE:
            return step
        if self._ping_first and now >= self._ping_at:
            self._ping(step, now)
        for ask in self.subscriptions.due(now):
            req_id = self._next_req_id()
            params = {**ask.params, **({"token": self._token} if self.needs_token else {})}
            write = requests.subscribe if ask.method == "subscribe" else requests.unsubscribe
            step.send.append(write(ask.channel, ask.symbols, req_id, **params))
            self.subscriptions.sent(req_id, ask)
        return step

    def _ping(self, step: Step, now: int) -> None:
        self._ping_at = now + self.limits.ping
        self._pinged = (self._next_req_id(), now)
        step.send.append(requests.ping(self._pinged[0]))

    def _schedule(self, step: Step, now: int) -> Step:
        """When may the next attempt be? At once after a random end, later after each failure."""
        wait = self._wait(self._n_failed - 2) if self._n_failed > 1 else 0
        due = max(now + wait, self._not_before, now + self._budget.wait_ns(now))
        self._reconnect_at = step.reconnect_at = due
        return step

    def _wait(self, n: int) -> int:
        """Doubling, with up to half of it left to chance, ns."""
        longest = min(self.limits.backoff_min << min(n, 20), self.limits.backoff_max)
        return longest // 2 + int(self._draw() * (longest // 2))

    def _move(self, happened: Input) -> bool:
        phase = NEXT.get((self.phase, happened))
        if phase is None:
            return False
        self.phase = phase
        return True

    def _ignored(self, step: Step, happened: Input) -> Step:
        self.counts[f"ignored: {happened.value} while {self.phase.value}"] += 1
        return step

    def _next_req_id(self) -> int:
        self._req_id += 1
        return self._req_id

    def _note(self, step: Step, level: str, text: str) -> None:
        # Whatever the venue says is repeated; a token it was given must not be.
        step.notes.append(Note(level, text.replace(self._token, "***") if self._token else text))

    def _row(
        self, kind: int, now: int, symbol: str = "", *, id: int = 0, aux: int = 0, qty: int = 0
    ) -> np.ndarray:
        row = empty(1)
        row["kind"], row["ts"], row["flags"] = kind, now, LAST
        row["sym"] = self._sym[symbol] if symbol else NO_SYMBOL
        row["id"], row["aux"], row["qty"] = id, aux, qty
        return row


# Matched loosely: Kraken changes the words between versions.
_DENIALS: Final = ("esession", "invalid session", "token(s)", "token not", "token expired")
_FINAL: Final = (
    *("not supported", "unsupported", "not found", "invalid", "malformed", "denied"),
    *("unknown", "must be"),
)
_TAKE: Final[dict[type, Callable[[Session, Message, Step, int], None]]] = {
    Status: Session._on_status,
    Heartbeat: Session._on_heartbeat,
    Pong: Session._on_pong,
    Instruments: Session._on_instruments,
    Book: Session._on_book,
    Level3: Session._on_level3,
    Trades: Session._on_trades,
    Tickers: Session._on_tickers,
    Candles: Session._on_candles,
    Reply: Session._on_reply,
    Refused: Session._on_refused,
}
