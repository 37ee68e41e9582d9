"""Who is told, when, and how often? Alerts out of the trading path, through Apprise.

`Outbox` thinks: which messages are due, grouped, limited, repeated until somebody acknowledges. It
has no thread and no clock. `Alerts` carries: one thread with a bounded queue delivers, keeps what is
unread in a synced file of the account's folder, and swallows nothing silently: what could not be told
is counted and logged. `tell` only puts something into the queue; a failure never reaches trading.
Left out: the codes and their sentences (engine/alerts.py).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from engine.alerts import ALERTS, CRIT, INFO, Alert
from engine.clock import Clock, utc_text
from engine.errors import ConfigError
from engine.flow.files import LOCAL_FILES, Files

QUEUE_MAX: Final = 1000
TEXT_MAX: Final = 600
PER_MINUTE: Final = 10  # messages; a phone that never stops is switched off
MINUTE: Final = 60_000_000_000
RETRY_FIRST_NS: Final = 2_000_000_000
RETRY_MAX_NS: Final = 300_000_000_000
TRIES_MAX: Final = 8  # of a WARN; a CRIT comes again by itself
FILE_NAME: Final = "alerts.json"
BEAT_S: Final = 0.2

Deliver = Callable[[str, str], bool]


@dataclass(frozen=True)
class Raised:
    """One alert as it came up. number : counts over the account's life; n : how often so far."""

    number: int
    code: str
    ts: int
    facts: str
    n: int = 1

    @property
    def alert(self) -> Alert:
        return ALERTS[self.code]


@dataclass(frozen=True)
class Message:
    """What is handed to Apprise. key : what it is about, so that its fate finds its way back."""

    title: str
    body: str
    key: str
    critical: bool
    tries: int = 0
    not_before: int = 0


def facts_text(facts: Mapping[str, Any], clean: Callable[[str], str]) -> str:
    """`key=value` pairs on one line, bounded, secrets out, control characters escaped."""
    text = clean(" ".join(f"{key}={value}" for key, value in facts.items()))
    safe = "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)
    return safe if len(safe) <= TEXT_MAX else f"{safe[:TEXT_MAX]}..."


def merge(unread: dict[int, Raised], raised: Raised) -> Raised:
    """Put a critical alert to the unread ones: one entry per code, which counts how often it came."""
    same = next((each for each in unread.values() if each.code == raised.code), None)
    if same is not None:
        raised = replace(same, n=same.n + 1, facts=raised.facts)
    unread[raised.number] = raised
    return raised


class Outbox:
    """Which messages are due. Told the time; not thread-safe: its one user is the thread."""

    def __init__(self, repeat_ns: int, escalate_ns: int, name: str = "") -> None:
        """name : of run and account, in each title"""
        self._repeat_ns, self._escalate_ns = repeat_ns, escalate_ns
        self._name = name
        self.open: dict[int, Raised] = {}
        self._told: dict[str, int] = {}  # code -> when the newest message about it was made
        self._held: dict[str, int] = {}  # code -> how often it came since
        self._out: deque[Message] = deque()
        self._sent: deque[int] = deque()
        self.n_dropped = 0
        self.n_failed = 0
        self.n_sent = 0

    def take(self, raised: Raised) -> bool:
        """One more alert; returns whether what is unread has changed."""
        now = raised.ts
        if raised.alert.severity == INFO:
            return False
        critical = raised.alert.severity == CRIT
        if critical:
            raised = merge(self.open, raised)
        told = self._told.get(raised.code)
        if told is None or now - told >= self._repeat_ns:
            self._tell(raised, now)
        elif not critical:
            self._held[raised.code] = self._held.get(raised.code, 0) + 1
        return critical

    def acknowledge(self, number: int) -> int:
        """Forget one unread alert, or all (0); returns how many it were."""
        numbers = list(self.open) if number == 0 else [number] if number in self.open else []
        for each in numbers:
            code = self.open.pop(each).code
            self._told.pop(code, None)
            self._held.pop(code, None)
            self._out = deque(m for m in self._out if m.key != code)
        return len(numbers)

    def due(self, now: int) -> Message | None:
        """The next message to deliver now; None: none, or as many as a minute takes."""
        for raised in list(self.open.values()):
            told = self._told.get(raised.code)
            if told is None or now - told >= self._repeat_ns:
                self._tell(raised, now)
        for code, n in [(code, n) for code, n in self._held.items() if n]:
            # What came while we were silent is told once, when the silence is over.
            if now - self._told.get(code, 0) >= self._repeat_ns and ALERTS[code].severity != CRIT:
                self._held[code] = 0
                self._tell(Raised(0, code, now, "", n), now)
        while self._sent and now - self._sent[0] >= MINUTE:
            self._sent.popleft()
        if len(self._sent) >= PER_MINUTE:
            return None
        for message in self._out:
            if message.not_before <= now:
                self._out.remove(message)
                return message
        return None

    def delivered(self, message: Message, ok: bool, now: int) -> None:
        """What became of a message; one that failed comes again, later each time."""
        self._sent.append(now)
        if ok:
            self.n_sent += 1
            return
        self.n_failed += 1
        tries = message.tries + 1
        if tries >= TRIES_MAX:
            self.n_dropped += 1
            return
        wait = min(RETRY_FIRST_NS << message.tries, RETRY_MAX_NS)
        self._add(replace(message, tries=tries, not_before=now + wait))

    def overdue(self, now: int) -> int:
        """Unread alerts that are older than `escalate`."""
        return sum(now - each.ts >= self._escalate_ns for each in self.open.values())

    def _tell(self, raised: Raised, now: int) -> None:
        self._told[raised.code] = now
        # `_held` counts what was not told of a WARN; a CRIT counts in what is unread.
        n = raised.n + self._held.pop(raised.code, 0)
        alert = raised.alert
        late = alert.severity == CRIT and now - raised.ts >= self._escalate_ns
        title = f"{'NOT READ ' if late else ''}{alert.severity} {alert.code}{self._name}"
        lines = [alert.what, alert.did, f"To do: {alert.do}"]
        if raised.facts:
            lines.append(raised.facts)
        lines.append(utc_text(raised.ts) + (f", {n} times so far" if n > 1 else ""))
        if alert.severity == CRIT:
            lines.append(f"Acknowledge: kapitaalbot ops acknowledge {raised.number}")
        # Only the newest message about a code is worth a delivery.
        self._out = deque(m for m in self._out if m.key != alert.code)
        message = Message(title, "\n".join(lines), alert.code, alert.severity == CRIT)
        self._add(message)

    def _add(self, message: Message) -> None:
        if any(each.key == message.key for each in self._out):
            return  # a newer one about the same waits already
        if message.critical:
            first = next((i for i, m in enumerate(self._out) if not m.critical), len(self._out))
            self._out.insert(first, message)
        else:
            self._out.append(message)


def apprise_delivery(urls: Iterable[str]) -> Deliver | None:
    """A function that sends a title and a body to each of `urls`; None where there are none.

    It says whether anybody took it: asking again where one of two failed would tell the other twice.
    raises ConfigError for an address that Apprise does not understand, by its place in the list
    """
    import apprise

    # It would log addresses, and they hold passwords.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    desks = []
    for place, url in enumerate(urls, 1):
        # Without async_mode no thread but the caller's is used.
        desk = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False, secure_logging=True))
        if not desk.add(url):
            raise ConfigError(
                f"alerts.urls: address {place} is none that Apprise understands.",
                "https://github.com/caronc/apprise lists them; the address is not shown here.",
            )
        desks.append(desk)
    if not desks:
        return None

    def deliver(title: str, body: str) -> bool:
        told = [bool(desk.notify(title=title, body=body)) for desk in desks]
        return any(told)

    return deliver


class Alerts:
    """Alerts of one account: a queue, a thread, a file. `start` and `stop` frame its life."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        deliver: Deliver | None,
        repeat_ns: int = 300_000_000_000,
        escalate_ns: int = 1_800_000_000_000,
        name: str = "",
        clean: Callable[[str], str] = str,
        note: Callable[[str], None] = lambda text: None,
        files: Files = LOCAL_FILES,
    ) -> None:
        """folder : of the account; deliver : None where nobody is to be told
        clean : takes secrets out; note : where troubles of delivery are logged, without secrets
        """
        self._path = folder / FILE_NAME
        self._clock, self._deliver, self._clean, self._note = clock, deliver, clean, note
        self._files = files
        self._queue: queue.Queue[Raised | None] = queue.Queue(QUEUE_MAX)
        self._outbox = Outbox(repeat_ns, escalate_ns, f" {name}" if name else "")
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # around `open` and `number`, which both sides read
        self._number = 0
        self._open: dict[int, Raised] = {}
        self._escalate_ns = escalate_ns
        self.n_dropped = 0
        self._ended = threading.Event()
        self._load()

    # ---- the session's side: none of these waits ----

    def tell(self, code: str, /, **facts: Any) -> Raised:
        """Raise an alert. It is open from here on if it is critical, and delivered by the thread."""
        alert = ALERTS[code]
        text = facts_text(facts, self._clean)
        with self._lock:
            self._number += 1
            raised = Raised(self._number, code, self._clock.now(), text)
            if alert.severity == CRIT:
                raised = merge(self._open, raised)
        if alert.severity == CRIT:
            self._wake()
        else:
            self._put(raised)
        return raised

    def acknowledge(self, number: int = 0) -> int:
        """Acknowledge one, or all (0); returns how many it were."""
        with self._lock:
            numbers = list(self._open) if number == 0 else [number] if number in self._open else []
            for each in numbers:
                del self._open[each]
        self._wake()
        return len(numbers)

    def open_count(self) -> int:
        """Critical alerts that nobody has acknowledged."""
        return len(self._open)

    def overdue_count(self) -> int:
        """Those of them that are older than `alerts.escalate`."""
        now = self._clock.now()
        with self._lock:
            return sum(now - each.ts >= self._escalate_ns for each in self._open.values())

    def open_list(self) -> list[dict[str, Any]]:
        """The unread ones for a status page, oldest first."""
        with self._lock:
            found = sorted(self._open.values(), key=lambda each: each.number)
        return [
            {"number": e.number, "code": e.code, "ts": e.ts, "n": e.n, "facts": e.facts}
            for e in found
        ]

    def counts(self) -> dict[str, int]:
        """What became of messages, for metrics."""
        box = self._outbox
        dropped = self.n_dropped + box.n_dropped
        return {"sent": box.n_sent, "failed": box.n_failed, "dropped": dropped}

    def _put(self, raised: Raised) -> None:
        try:
            self._queue.put_nowait(raised)
        except queue.Full:
            self.n_dropped += 1

    def _wake(self) -> None:
        """What is critical does not go through the queue: the thread looks at `_open` (`_settle`)."""
        with contextlib.suppress(queue.Full):  # then it has enough to wake up for
            self._queue.put_nowait(None)

    # ---- life ----

    def start(self) -> None:
        """Begin to deliver."""
        assert self._thread is None
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._thread.start()

    def stop(self, wait_s: float = 5.0) -> None:
        """Deliver what is due, keep what is unread, end; not later than `wait_s` from now."""
        if self._thread is None:
            return
        self._ended.set()
        self._thread.join(wait_s)
        if self._thread.is_alive():
            self._note(
                "alerts.stop_late: a delivery hangs; what is critical is told at the next start"
            )
        self._thread = None

    # ---- the thread's side ----

    def _run(self) -> None:
        while True:
            ended = self._ended.is_set()
            self._drain(0.0 if ended else BEAT_S)
            if self._settle():
                self._save()
            while (message := self._outbox.due(self._clock.now())) is not None:
                self._send(message)
                if self._ended.is_set() and self._outbox.n_failed:
                    break
            if ended:
                return

    def _drain(self, wait_s: float) -> None:
        while True:
            try:
                raised = self._queue.get(timeout=wait_s) if wait_s else self._queue.get_nowait()
            except queue.Empty:
                return
            wait_s = 0.0
            if raised is not None:
                self._outbox.take(raised)

    def _settle(self) -> bool:
        """What is unread is what the session says, however full the queue was; did it change?"""
        with self._lock:
            unread = dict(self._open)
        if unread == self._outbox.open:
            return False
        for number in self._outbox.open.keys() - unread.keys():
            self._outbox.acknowledge(number)
        self._outbox.open = unread
        return True

    def _send(self, message: Message) -> None:
        ok = True
        if self._deliver is not None:
            try:
                ok = self._deliver(message.title, message.body)
            except Exception as error:
                # Hundreds of services, each with its own errors; none may end this thread.
                ok = False
                self._note(self._clean(f"alerts.delivery_failed error={type(error).__name__}"))
            else:
                if not ok:
                    self._note(
                        f"alerts.delivery_failed code={message.key} tries={message.tries + 1}"
                    )
        self._outbox.delivered(message, ok, self._clock.now())

    def _save(self) -> None:
        with self._lock:
            value = {
                "number": self._number,
                "open": [vars(each) for each in self._open.values()],
            }
        temporary = self._path.with_name(f".{FILE_NAME}.tmp")
        try:
            if not self._path.parent.exists():
                self._files.make_folder(self._path.parent)
                self._path.parent.chmod(0o700)
            self._files.remove(temporary)
            file = self._files.create(temporary)
            try:
                os.chmod(temporary, 0o600)
                file.write(json.dumps(value).encode() + b"\n")
                file.sync()
            finally:
                file.close()
            self._files.rename(temporary, self._path)
        except OSError as error:
            self._note(f"alerts.not_kept error={error.strerror}")

    def _load(self) -> None:
        """What was unread when the account's last session ended. A damaged file is an unread alert."""
        try:
            value = json.loads(self._path.read_bytes()[: 1 << 20])
            self._number = int(value["number"])
            found = [
                Raised(
                    *(int(each["number"]), str(each["code"]), int(each["ts"])),
                    str(each["facts"])[:TEXT_MAX],
                    int(each["n"]),
                )
                for each in value["open"]
                if each["code"] in ALERTS
            ]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError):
            self._number = self._clock.now() // 1_000_000_000  # above any that was given
            found = [Raised(self._number, "ALERTS_NOT_READ", self._clock.now(), "file=damaged")]
        for each in found:
            self._open[each.number] = each
            self._outbox.open[each.number] = each
