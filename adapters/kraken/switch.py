"""Should the venue cancel everything if it hears nothing from us? Its dead man's switch, kept or not.

Kraken's switch cancels every order of the account, resting stops included, and then stays off; if
it is set when the venue comes back from maintenance, it fires at once. So there are two policies,
and they exclude each other. `keep_stops`: set only while entries rest and nothing else does, off
before a stop goes out. `cancel_all`: set while any order rests, renewed long before it would fire.
Both leave it off around announced maintenance.

Told the time (ns), asks no clock, has no socket: account_line.py sends what `act` and `before`
return. Left out: orders that lapse by themselves (good-till-date), which need no switch.

Source: Kraken, "Spot WebSocket API v2", cancel_all_orders_after.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

import numpy as np

from adapters.kraken.errors import printable
from adapters.kraken.gateway import Gateway
from adapters.kraken.maintenance import Planned
from adapters.kraken.phases import SECOND, Note, Phase
from adapters.kraken.private import Answered, PrivateSession
from adapters.kraken.stamps import ns_of
from adapters.kraken.wire import Status
from engine import commands as c
from engine.errors import ConfigError, RefusedError
from engine.events import (
    CANCEL_ALL,
    CANCEL_USER,
    EVENT,
    HEALTH,
    HEALTH_SWITCH,
    HEALTH_SWITCH_FIRED,
    LAST,
    NO_SYMBOL,
    ORDER_CANCELED,
)

METHOD: Final = "cancel_all_orders_after"
TIMEOUT_S: Final = 60  # as Kraken recommends
RENEW_NS: Final = 20 * SECOND  # ... every 15 to 30 s
LATE_NS: Final = 30 * SECOND  # an acknowledgement older than this is said
ANSWER_NS: Final = 6 * SECOND  # then it is asked once more: asking twice does no harm
GATHER_NS: Final = SECOND // 2  # cancels of one firing come within this
SLACK_NS: Final = 2 * SECOND  # whole seconds, and the way
ACKNOWLEDGED: Final = 8  # settings that are remembered

Policy = Literal["keep_stops", "cancel_all"]
POLICIES: Final = ("keep_stops", "cancel_all")


class Switch:
    """The switch of one account. `taken` gives the rows that follow."""

    def __init__(
        self,
        session: PrivateSession,
        policy: Policy,
        *,
        timeout_s: int = TIMEOUT_S,
        renew_ns: int = RENEW_NS,
        late_ns: int = LATE_NS,
    ) -> None:
        if policy not in POLICIES:
            raise ConfigError(
                f"{policy!r} is no policy of the dead man's switch.",
                f"Use {' or '.join(POLICIES)}.",
            )
        if not 2 * renew_ns <= timeout_s * SECOND < 86_400 * SECOND:
            raise ConfigError(
                f"a switch of {timeout_s} s renewed every {renew_ns / SECOND:g} s would fire by itself.",
                "Renew it at least twice as often as it fires; Kraken takes less than a day.",
            )
        self._session, self.policy = session, policy
        self._timeout_s, self._renew_ns, self._late_ns = timeout_s, renew_ns, late_ns
        self.notes: list[Note] = []  # taken and cleared by the caller
        self.fires_ns = 0  # by the venue's clock, as last acknowledged; 0: off
        self._passed_ns = 0  # it was set to fire then, and nobody called it off in time
        self._known = False  # did this connection hear of it
        self._asked: dict[int, tuple[int, int]] = {}  # req_id: timeout, when
        self._newest = 0
        self._renewed_ns = 0
        self._late_told = False
        self.planned = Planned()
        self._set_to: deque[int] = deque(maxlen=ACKNOWLEDGED)  # when it was to fire, each time
        self._unasked: list[
            tuple[int, int]
        ] = []  # cancels nobody asked for: ours, the venue's time
        self._set_then = 0  # `fires_ns` when the first of them came
        self._rows: list[tuple[int, ...]] = []

    # ---- what is told ----

    def status(self, message: Status, now: int) -> None:
        """The venue announces maintenance, or takes it back."""
        self.planned.told(message, self._venue(now))

    def answered(self, answer: Answered, now: int) -> None:
        """A request of ours has its reply; others are passed over."""
        timeout, asked_ns = self._asked.pop(answer.req_id, (-1, 0))
        if timeout < 0 or answer.req_id < self._newest:
            return
        if answer.said is not None:
            self._note("warning", f"the switch was not set: {answer.said.text}")
            return
        self._newest = answer.req_id
        old, venue_now = self.fires_ns, self._venue(now)
        if old and venue_now >= old - SLACK_NS:
            self._passed_ns = old
        told = answer.result.get("triggerTime") if isinstance(answer.result, dict) else None
        self.fires_ns = self._moment(told, asked_ns + timeout * SECOND) if timeout else 0
        if self.fires_ns:
            self._set_to.append(self.fires_ns)
        self._renewed_ns, self._late_told = asked_ns, False
        if self.fires_ns or old or not self._known:
            offset = self._session.clock_offset or 0
            self._row(HEALTH_SWITCH, self.fires_ns - offset if self.fires_ns else 0, now)
        self._known = True

    def observe(self, rows: np.ndarray, gateway: Gateway, now: int) -> None:
        """Cancels that nobody asked for may be its work. Before the gateway forgets the orders."""
        for row in rows[rows["kind"] == ORDER_CANCELED]:
            asked = gateway.cancel_asked(int(row["id"]))
            if row["id"] > 0 and not asked and int(row["aux"]) in (0, CANCEL_USER, CANCEL_ALL):
                if not self._unasked:
                    self._set_then = self.fires_ns
                self._unasked.append((now, int(row["ts_venue"])))

    # ---- what follows ----

    def taken(self) -> np.ndarray:
        """EVENT rows since the last call."""
        rows, self._rows = self._rows, []
        return np.array(rows, EVENT)

    def before(self, commands: np.ndarray, gateway: Gateway, now: int) -> list[bytes]:
        """Frames that must go out before these commands: off, before a stop or an exit rests."""
        if self.policy != "keep_stops" or not self._may_be_set():
            return []
        adds = commands["kind"] == c.ADD
        if not (adds & (commands["role"] != c.ROLE_ENTRY)).any():
            return []
        return self._ask(0, now)

    def act(self, gateway: Gateway, now: int) -> list[bytes]:
        """Frames that are due now. Call it after every step and tick."""
        entries, others = gateway.resting()
        self._look_for_firing(now)
        if self._session.phase is not Phase.ONLINE:
            self._known = False
            self._asked.clear()
            return []
        for req_id, (_, asked_ns) in list(self._asked.items()):
            if now - asked_ns > ANSWER_NS:
                del self._asked[req_id]
        wanted = self._wanted(entries, others, now)
        pending = [timeout for timeout, _ in self._asked.values()]
        if pending:
            same = bool(pending[-1]) == wanted
            return [] if same else self._ask(self._timeout_s if wanted else 0, now)
        if not wanted:
            # Whoever ran before us may have left it set.
            return self._ask(0, now) if self.fires_ns or not self._known else []
        age = now - self._renewed_ns
        if self.fires_ns and age > self._late_ns and not self._late_told:
            self._late_told = True
            self._note(
                "warning",
                f"SWITCH_RENEW_LATE: the switch was last renewed {age / SECOND:.0f} s ago",
            )
        due = not self.fires_ns or not self._known or age >= self._renew_ns
        return self._ask(self._timeout_s, now) if due else []

    # ---- helpers ----

    def _wanted(self, entries: int, others: int, now: int) -> bool:
        if self.planned.near(self._venue(now)):
            return False
        if self.policy == "keep_stops":
            # Orders of others count as stops: it would take them away too.
            return entries > 0 and others == 0 and self._session.account.synced
        return entries + others > 0

    def _may_be_set(self) -> bool:
        return bool(self.fires_ns) or not self._known or any(t for t, _ in self._asked.values())

    def _look_for_firing(self, now: int) -> None:
        if not self._unasked or now - self._unasked[0][0] < GATHER_NS:
            return
        cancels, self._unasked = self._unasked, []
        times = [each for each in (self._set_then, self._passed_ns) if each]
        by_time = any(at >= each - SLACK_NS for _, at in cancels for each in times)
        # What replaces a stop that it took is younger; all that was there before is gone.
        first = cancels[0][0]
        left = any(each.placed_ns < first for each in self._session.account.open_orders())
        # A venue that confirmed a renewal and did not renew fires when it was told to before.
        unrenewed = any(abs(at - each) <= SLACK_NS for _, at in cancels for each in self._set_to)
        swept = not left and (unrenewed or (bool(self._set_then) and len(cancels) > 1))
        if not by_time and not swept:
            return
        self._note("error", f"the dead man's switch fired and cancelled {len(cancels)} orders")
        self._row(HEALTH_SWITCH_FIRED, len(cancels), now)
        self._passed_ns = 0
        if self.fires_ns and (swept or self._venue(now) >= self.fires_ns - SLACK_NS):
            self.fires_ns = 0  # it is off until it is set again
            self._row(HEALTH_SWITCH, 0, now)

    def _ask(self, timeout_s: int, now: int) -> list[bytes]:
        try:
            frame = self._session.ask(METHOD, {"timeout": timeout_s}, now)
        except RefusedError as error:
            self._note("warning", f"the switch cannot be asked for: {error.message}")
            return []
        self._asked[self._session.newest_req_id] = (timeout_s, now)
        return [frame]

    def _moment(self, text: object, otherwise: int) -> int:
        try:
            return ns_of(text) if isinstance(text, str) else self._venue(otherwise)
        except ValueError:
            self._note("warning", f"the switch fires at {printable(str(text))!r}, which is no time")
            return self._venue(otherwise)

    def _venue(self, now: int) -> int:
        return now + (self._session.clock_offset or 0)

    def _row(self, id: int, aux: int, now: int) -> None:
        self._rows.append((now, 0, 0, 0, 0, id, aux, NO_SYMBOL, HEALTH, 0, LAST))

    def _note(self, level: str, text: str) -> None:
        self.notes.append(Note(level, text))
