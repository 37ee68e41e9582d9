"""What goes wrong on the way, and when? A script of faults, seeded, that says afterwards what it did.

Some faults strike frames as they pass: drop, delay, duplicate, reorder, truncate, garble, checksum.
Others happen at a time: close, refuse, stall, expire_tokens, clock_step, system, pair_status,
announce, split. Requests are struck on their way in: reject, hold, ignore; and REST may tell what was
so a while ago: rest_lag. Times are market seconds since the venue
began, so that a script and a seed give the same faults at any speed. Everything done stands in
`done`. Left out: sockets (server.py).
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from adapters.local_venue.text import NS_PER_S, stamp
from engine.errors import ConfigError
from engine.instruments import STATUS_CODES

if TYPE_CHECKING:
    from adapters.local_venue.core import Core, Out

Kind = Literal[
    "drop", "delay", "duplicate", "reorder", "truncate", "garble", "checksum", "close", "abort",
    "refuse", "stall", "lose_reply", "html", "error", "expire_tokens", "clock_step", "system",
    "pair_status", "announce", "reject", "hold", "ignore", "cross", "rest_lag", "split",
]  # fmt: skip
ON_FRAMES: Final = frozenset(
    ("drop", "delay", "duplicate", "reorder", "truncate", "garble", "checksum")
)
ON_EITHER: Final = frozenset(("close", "abort"))  # at a time, or when a frame matches
ON_REST: Final = frozenset(("lose_reply", "html", "error"))
ON_REQUESTS: Final = frozenset(("reject", "hold", "ignore"))  # of a WebSocket client
IGNORED: Final = ("cancel_all_orders_after",)  # what can be answered as if it were done
SYSTEMS: Final = ("online", "cancel_only", "post_only", "maintenance")
_CHANNEL: Final = re.compile(r'"channel":"(\w+)"')
_METHOD: Final = re.compile(r'"method":"(\w+)"')
_SYMBOL: Final = re.compile(r'"symbol":"([^"]+)"')
_CHECKSUM: Final = re.compile(r'"checksum":(\d+)')
_ORDER: Final = re.compile(r'"order_id":"([^"]+)"')
_LAST_QTY: Final = re.compile(r'"last_qty":([0-9.]+)')
_CUM_QTY: Final = re.compile(r'"cum_qty":([0-9.]+)')
_SEQUENCE: Final = re.compile(r'"sequence":(\d+)')
HTML: Final = b"<html><head><title>520: unknown error</title></head><body>520</body></html>"


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of a script. What is not given matches everything.

    at, lasts : market seconds since the venue began; a frame fault without `lasts` stays for good
    endpoint : public, private, level3 or rest; channel, symbol, method : of the frame (`method` is
        also the name of a REST call)
    kind_of : snapshot or update
    skip, count : let so many matching frames pass first; strike so many, 0 is all
    probability : of striking a matching frame; contains : a text that stands in it
    renumber : of drop and reorder: later frames of the channel close the gap in `sequence`, as if
        the venue itself had never said it, or said it later
    until : of reorder: leave right after a frame that holds this text, in place of `behind`
    unsaid : of reorder: an end that overtakes a fill tells the order as canceled without it
    ms : of delay; step of the clock, negative is back; how old what REST tells is, of rest_lag
    behind : frames that overtake, of reorder; parts : into how many each fill is split
    code, reason : of close; to : new state, of system and pair_status; text : of error, reject
    acts : does a REST call that gets html or error act all the same
    """

    kind: Kind
    at: float = 0.0
    lasts: float = 0.0
    endpoint: str = ""
    channel: str = ""
    symbol: str = ""
    method: str = ""
    kind_of: str = ""
    skip: int = 0
    count: int = 0
    probability: float = 1.0
    contains: str = ""
    renumber: bool = False
    until: str = ""
    unsaid: bool = False
    parts: int = 1
    ms: float = 0.0
    behind: int = 1
    code: int = 1001
    reason: str = "CloudFlare WebSocket proxy restarting"
    to: str = ""
    text: str = "EService:Unavailable"
    acts: bool = False

    @property
    def timed(self) -> bool:
        """Does it happen at a time, whatever passes?"""
        if self.kind in ON_EITHER:
            return not (
                self.channel or self.method or self.symbol or self.kind_of or self.skip
                or self.contains
            )  # fmt: skip
        return self.kind not in ON_FRAMES | ON_REST | ON_REQUESTS


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of faults."""

    fault: list[Fault] = []
    seed: int = 1


def read_script(path: Path) -> Script:
    """A script from a TOML file; raises ConfigError naming the file and what is wrong."""
    try:
        return parse_script(path.read_text())
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the fault script {path} cannot be used: {error}.",
            "docs/howto-venue-server.md lists the faults and their keys.",
        ) from error


def parse_script(text: str) -> Script:
    script = msgspec.convert(tomllib.loads(text), Script, strict=False)
    for fault in script.fault:
        if fault.endpoint not in ("", "public", "private", "level3", "rest"):
            raise msgspec.ValidationError(f"unknown endpoint {fault.endpoint!r}")
        if fault.kind == "system" and fault.to not in SYSTEMS:
            raise msgspec.ValidationError(f"system state {fault.to!r} is none of {SYSTEMS}")
        if fault.kind == "ignore" and fault.method not in IGNORED:
            raise msgspec.ValidationError(f"ignore is for the method {' or '.join(IGNORED)}")
        if fault.kind == "pair_status" and fault.to not in STATUS_CODES:
            raise msgspec.ValidationError(f"unknown pair status {fault.to!r}")
        if not 0.0 <= fault.probability <= 1.0:
            raise msgspec.ValidationError(f"probability {fault.probability} is not 0 to 1")
    return script


class Parcel(NamedTuple):
    """What really leaves for a connection: a frame, or the end of it."""

    conn: int
    text: str = ""
    close: tuple[int, str] | None = None
    abort: bool = False


class Done(NamedTuple):
    """One thing that was done to the traffic; `text` is the frame as it should have been."""

    kind: str
    now: int
    conn: int
    endpoint: str
    text: str


class _Lane:
    """Frames of one connection that have to wait."""

    def __init__(self) -> None:
        self.blocked_until = 0
        self.waiting: list[Parcel] = []
        # Frames to go first or a text to wait for, then this one.
        self.overtaken: list[tuple[int, str, Parcel]] = []
        self.numbers: dict[str, int] = {}  # channel: newest sequence, where frames are renumbered
        self.unsaid: dict[str, Decimal] = {}  # order: filled so much, and nothing has told it


class Faults:
    """A script at work. Frames pass through `carry`; nothing strikes before `bind`."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.done: list[Done] = []
        self._random = random.Random(self.script.seed)
        self._seen = [0] * len(self.script.fault)
        self._struck = [0] * len(self.script.fault)
        self._lanes: dict[int, _Lane] = {}
        self._core: Core | None = None
        self._start = 0

    def bind(self, core: Core) -> None:
        """Schedule what happens at a time."""
        self._core, self._start = core, core.now
        for fault in self.script.fault:
            self._schedule(fault)

    def _schedule(self, fault: Fault) -> None:
        assert self._core is not None
        at = self._start + int(fault.at * NS_PER_S)
        if fault.timed and fault.kind not in ("refuse", "stall", "rest_lag"):
            self._core.later(at, lambda: self._happen(fault))
        elif fault.kind == "stall":  # wake up when it ends
            self._core.later(at + int(fault.lasts * NS_PER_S), lambda: None)

    def add(self, fault: Fault) -> None:
        """One more from now on, `at` counted from now. In the venue's own thread."""
        assert self._core is not None
        since = (self._core.now - self._start) / NS_PER_S
        fault = msgspec.structs.replace(fault, at=since + fault.at)
        self.script.fault.append(fault)
        self._seen.append(0)
        self._struck.append(0)
        self._schedule(fault)

    def heal(self) -> None:
        """Nothing more happens; what waits, leaves. In the venue's own thread."""
        self.script.fault.clear()
        self._seen.clear()
        self._struck.clear()
        for lane in self._lanes.values():
            lane.blocked_until = 0
        if self._core is not None:
            self._core.market.fill_parts = 1

    # ---- what happens at a time ----

    def _happen(self, fault: Fault) -> None:
        core = self._core
        assert core is not None
        self._note(fault.kind, 0, fault.endpoint, fault.to)
        if fault.kind == "expire_tokens":
            core.keyring.expire_all()
        elif fault.kind == "clock_step":
            core.clock_error += int(fault.ms * 1e6)
        elif fault.kind == "system":
            core.set_system(fault.to)
        elif fault.kind == "pair_status":
            core.set_pair_status(fault.symbol, fault.to)
        elif fault.kind == "cross":
            core.cross(fault.symbol)
        elif fault.kind == "split":
            core.market.fill_parts = max(1, fault.parts)
        elif fault.kind == "announce":
            core.announce(_maintenance(core.now, fault))
        else:
            for conn in list(core.connections.values()):
                if fault.endpoint in ("", conn.endpoint):
                    code = 1006 if fault.kind == "abort" else fault.code
                    core.hang_up(conn.id, code, fault.reason)

    def _active(self, fault: Fault, now: int) -> bool:
        since = now - self._start - int(fault.at * NS_PER_S)
        return since >= 0 and (not fault.lasts or since < int(fault.lasts * NS_PER_S))

    def refuses(self, endpoint: str, now: int) -> bool:
        """Is a new connection refused now?"""
        for fault in self.script.fault:
            mine = fault.kind == "refuse" and fault.endpoint in ("", endpoint)
            if mine and self._active(fault, now):
                self._note("refuse", 0, endpoint, "")
                return True
        return False

    def rest_lag(self, now: int) -> int:
        """How old what REST tells of an account is now, ns."""
        for fault in self.script.fault:
            if fault.kind == "rest_lag" and self._active(fault, now):
                self._note("rest_lag", 0, "rest", "")
                return int(fault.ms * 1e6)
        return 0

    def request(self, endpoint: str, frame: str | bytes, now: int) -> Fault | None:
        """What befalls a request of a WebSocket client, if anything."""
        text = frame if isinstance(frame, str) else frame.decode(errors="replace")
        for i, fault in enumerate(self.script.fault):
            if fault.kind not in ON_REQUESTS or fault.endpoint not in ("", endpoint):
                continue
            method = _METHOD.search(text)
            mine = not fault.method or (method is not None and method[1] == fault.method)
            if not mine or fault.contains not in text or not self._active(fault, now):
                continue
            if self._strikes(i, fault):
                self._note(fault.kind, 0, endpoint, text)
                return fault
        return None

    def rest(self, call: str, now: int) -> Fault | None:
        """What befalls a REST call of this name, if anything."""
        for i, fault in enumerate(self.script.fault):
            mine = fault.kind in ON_REST and fault.method in ("", call)
            if mine and self._active(fault, now) and self._strikes(i, fault):
                self._note(fault.kind, 0, "rest", call)
                return fault
        return None

    # ---- frames ----

    def carry(self, outs: Iterable[Out], now: int) -> list[Parcel]:
        """Frames in, what leaves now out, in order; the rest waits for a later call."""
        parcels = self._released(now)
        for out in outs:
            if out.close is not None:
                abort = out.close[0] == 1006
                parcels += self._behind(Parcel(out.conn, close=out.close, abort=abort), out, now)
                continue
            for parcel in self._strike(out, now):
                parcels += self._behind(parcel, out, now)
        return parcels

    def forget(self, conn: int) -> None:
        """A connection is gone."""
        self._lanes.pop(conn, None)

    def _released(self, now: int) -> list[Parcel]:
        parcels = []
        for lane in self._lanes.values():
            if lane.waiting and lane.blocked_until <= now:
                parcels += lane.waiting
                lane.waiting = []
        return parcels

    def _behind(self, parcel: Parcel, out: Out, now: int) -> list[Parcel]:
        """A frame takes its place behind those of its connection that wait."""
        lane = self._lanes.setdefault(out.conn, _Lane())
        for fault in self.script.fault:
            mine = fault.kind == "stall" and fault.endpoint in ("", out.endpoint)
            if mine and self._active(fault, now):
                end = self._start + int((fault.at + fault.lasts) * NS_PER_S)
                lane.blocked_until = max(lane.blocked_until, end)
        parcel = _unsaid(lane, _numbered(lane, parcel))
        if lane.waiting or lane.blocked_until > now:
            lane.waiting.append(parcel)
            return []
        parcels = [parcel]
        overtaken, lane.overtaken = lane.overtaken, []
        for n, until, each in overtaken:
            if until in parcel.text if until else n <= 1:
                lane.unsaid.clear()
                parcels.append(_numbered(lane, each))
            else:
                lane.overtaken.append((n - 1, until, each))
        return parcels

    def _strike(self, out: Out, now: int) -> list[Parcel]:
        """What becomes of one frame; the first fault of the script that strikes decides."""
        assert self._core is not None
        plain = Parcel(out.conn, out.text)
        for i, fault in enumerate(self.script.fault):
            if fault.timed or fault.kind in ON_REST | ON_REQUESTS or not self._active(fault, now):
                continue
            if not _matches(fault, out) or not self._strikes(i, fault):
                continue
            self._note(fault.kind, out.conn, out.endpoint, out.text)
            lane = self._lanes.setdefault(out.conn, _Lane())
            if fault.renumber:
                _renumber(lane, out.text)
            if fault.kind == "drop":
                return []
            if fault.kind == "duplicate":
                return [plain, plain]
            if fault.kind == "delay":
                # The way is first in, first out: what comes after waits as well.
                lane.blocked_until = max(lane.blocked_until, now + int(fault.ms * 1e6))
                self._core.later(lane.blocked_until, lambda: None)
                return [plain]
            if fault.kind == "reorder":
                lane.overtaken.append((fault.behind, fault.until, plain))
                if fault.unsaid and (order := _ORDER.search(out.text)):
                    told = (Decimal(each) for each in _LAST_QTY.findall(out.text))
                    lane.unsaid[order[1]] = lane.unsaid.get(order[1], Decimal(0)) + sum(told)
                return []
            if fault.kind in ON_EITHER:
                code = 1006 if fault.kind == "abort" else fault.code
                self._core.hang_up(out.conn, code, fault.reason)
                return []
            return [plain._replace(text=self._damaged(fault.kind, out.text))]
        return [plain]

    def _damaged(self, kind: str, text: str) -> str:
        if kind == "truncate":
            return text[: self._random.randrange(len(text))]
        if kind == "checksum":
            return _CHECKSUM.sub(lambda found: f'"checksum":{int(found[1]) ^ 1}', text, count=1)
        letters = list(text)
        for _ in range(1 + len(letters) // 50):
            letters[self._random.randrange(len(letters))] = chr(self._random.randrange(32, 127))
        return "".join(letters)

    def _strikes(self, i: int, fault: Fault) -> bool:
        self._seen[i] += 1
        if self._seen[i] <= fault.skip or (fault.count and self._struck[i] >= fault.count):
            return False
        if fault.probability < 1.0 and self._random.random() >= fault.probability:
            return False
        self._struck[i] += 1
        return True

    def _note(self, kind: str, conn: int, endpoint: str, text: str) -> None:
        assert self._core is not None
        self.done.append(Done(kind, self._core.now, conn, endpoint, text))


def _matches(fault: Fault, out: Out) -> bool:
    if fault.endpoint not in ("", out.endpoint):
        return False
    if fault.channel:
        found = _CHANNEL.search(out.text)
        if not out.text.startswith('{"channel"') or not found or found[1] != fault.channel:
            return False
    if fault.method:
        found = _METHOD.search(out.text)
        if out.text.startswith('{"channel"') or not found or found[1] != fault.method:
            return False
    if fault.kind_of and f'"type":"{fault.kind_of}"' not in out.text[:60]:
        return False
    if fault.contains not in out.text:
        return False
    if fault.symbol:
        found = _SYMBOL.search(out.text)
        return bool(found) and found[1] == fault.symbol  # type: ignore[index]
    return True


def _renumber(lane: _Lane, text: str) -> None:
    """From this frame on its channel is numbered here; the frame itself has no number yet."""
    channel, found = _CHANNEL.search(text), _SEQUENCE.search(text)
    if channel and found:
        lane.numbers.setdefault(channel[1], int(found[1]) - 1)


def _numbered(lane: _Lane, parcel: Parcel) -> Parcel:
    if not lane.numbers or not parcel.text.startswith('{"channel"'):
        return parcel
    channel = _CHANNEL.search(parcel.text)
    if channel is None or channel[1] not in lane.numbers:
        return parcel
    n = lane.numbers[channel[1]] = lane.numbers[channel[1]] + 1
    return parcel._replace(text=_SEQUENCE.sub(f'"sequence":{n}', parcel.text))


def _unsaid(lane: _Lane, parcel: Parcel) -> Parcel:
    """The end of an order that overtakes its fill: canceled, and filled no more than was told."""
    orders = set(_ORDER.findall(parcel.text)) if lane.unsaid else set()
    if len(orders) != 1 or not (qty := lane.unsaid.get(orders.pop())):
        return parcel
    less = _CUM_QTY.sub(lambda found: f'"cum_qty":{Decimal(found[1]) - qty:f}', parcel.text)
    for name in ("exec_type", "order_status"):
        less = less.replace(f'"{name}":"filled"', f'"{name}":"canceled"')
    return parcel._replace(text=less)


def _maintenance(now: int, fault: Fault) -> str:
    """The `upcoming_maintenance` of a status message."""
    start = now + int(fault.ms * 1e6)
    end = start + int(fault.lasts * NS_PER_S)
    return (
        f'[{{"event_id":"local-1","title":"planned maintenance",'
        f'"expected_start_utc":"{stamp(start, 0)}","expected_end_utc":"{stamp(end, 0)}",'
        f'"time_to_start_s":{(start - now) // NS_PER_S},"phase":"announced",'
        '"affected_services":["all"],"order_submission":"discouraged",'
        f'"recommended_action":"cancel_open_orders","cancel_before_utc":"{stamp(start, 0)}",'
        '"source_url":""}]'
    )
