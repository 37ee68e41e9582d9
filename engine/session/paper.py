"""Where do the commands of a paper session go? To the simulated venue, which hears the same market.

The venue lives `feed latency` behind what we hear, as in a replay: it may only act on a moment once
nothing can reach us any more that was earlier there. Its answers are rows that the session learns
when their time has come. Its whole state follows from the session's log (market rows, commands and
how many answers were taken), so a restart rebuilds it. Left out: matching (engine/venue).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.errors import InvariantError
from engine.events import EVENT, empty, joined
from engine.flow.advance import FAR, IN_FLIGHT
from engine.flow.follow import next_paper, run_paper, send_paper
from engine.jit import entry_point
from engine.session.loop import sent_rows
from engine.venue.state import FAULT_NAMES, Venue

PATIENCE_NS: Final = 1_000_000  # asked no more often than this, however near the venue is
_VENUE_FAULT: Final = 100


class PaperGateway:
    """The simulated venue of one session. All that was heard up to `now` is known when it is asked.

    venue, link : as a replay uses them (make_venue, make_link); calls : of the core, linked
    """

    leaves_machine = False

    def __init__(self, venue: Venue, link: np.ndarray, calls: np.ndarray) -> None:
        self.venue, self.link, self._calls = venue, link, calls
        self._feed_ns = int(link[0]["feed_ns"])
        # What happens to a resting order at the newest moment we know is told no sooner than this.
        self._told_ns = max(int(link[0]["response_min_ns"]) - self._feed_ns, PATIENCE_NS)
        self._heard: list[np.ndarray] = []
        self._known_ts = 0
        self._rest = empty(0)
        commands = np.zeros(1, link[0]["sent"].dtype)
        self._send = entry_point(send_paper, venue, link, commands)
        self._run = entry_point(run_paper, calls, venue, link, np.zeros(1, EVENT), 0, 0)
        self._next = entry_point(next_paper, venue, link)

    def carry(self, commands: np.ndarray, now: int) -> np.ndarray:
        """They travel; nothing can keep them back."""
        self._send(self.venue, self.link, commands)
        self._check()
        return sent_rows(commands, now)

    def heard(self, rows: np.ndarray) -> None:
        self._heard.append(rows.copy())
        self._known_ts = max(self._known_ts, int(rows["ts"][-1]))

    def due(self, now: int) -> np.ndarray:
        """Answers that have arrived by `now` (ns), stamped with their arrival."""
        self._live(now - self._feed_ns)
        self._known_ts = max(self._known_ts, now)
        row = self.link[0]
        answers = []
        head, tail = int(row["to_core_head"]), int(row["to_core_tail"])
        while head < tail and row["to_core"][head % IN_FLIGHT]["ts"] <= now:
            answers.append(row["to_core"][head % IN_FLIGHT].copy())
            head += 1
        row["to_core_head"] = head
        return np.array(answers, EVENT) if answers else empty(0)

    def skip(self, n: int, now: int) -> None:
        """Forget the first `n` answers: a log that is read again has them already."""
        self._live(now - self._feed_ns)
        row = self.link[0]
        if int(row["to_core_tail"]) - int(row["to_core_head"]) < n:
            raise InvariantError(
                f"the log has {n} answers of the simulated venue that it would not give again.",
                "The venue's parameters or the program changed since; start a new session.",
            )
        row["to_core_head"] += n

    def next_due(self) -> int:
        """When `due` has something to do at the latest, ns; far away if nothing is known."""
        row = self.link[0]
        ts = min(int(self._next(self.venue, self.link)), FAR) + self._feed_ns
        head, tail = int(row["to_core_head"]), int(row["to_core_tail"])
        if head < tail:
            ts = min(ts, int(row["to_core"][head % IN_FLIGHT]["ts"]))
        if self.venue.glob[0]["n_orders"] > 0:
            ts = min(ts, self._known_ts + self._told_ns)
        return ts

    def arrays(self) -> dict[str, np.ndarray]:
        """Its whole state, for a snapshot; the venue has then seen all that was heard."""
        return {
            "venue_glob": self.venue.glob,
            "venue_symbols": self.venue.symbols,
            "link": self.link,
            "venue_rest": joined((self._rest, *self._heard)),
        }

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take up a state that `arrays` gave."""
        self.venue.glob[:] = arrays["venue_glob"]
        self.venue.symbols[:] = arrays["venue_symbols"]
        self.link[:] = arrays["link"]
        self._rest, self._heard = arrays["venue_rest"].copy(), []

    def _live(self, until: int) -> None:
        events = joined((self._rest, *self._heard)) if self._heard else self._rest
        self._heard.clear()
        reached = self._run(self._calls, self.venue, self.link, events, 0, until)
        self._check()
        self._rest = events[reached:].copy()

    def _check(self) -> None:
        code = int(self.link[0]["fault"])
        if code:
            name = FAULT_NAMES.get(code - _VENUE_FAULT, f"fault {code}")
            raise InvariantError(
                f"the simulated venue failed: {name}.", "Keep the session's log and report it."
            )
