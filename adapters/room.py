"""Is there room on the disk, and does it keep up? What a session may do while there is not.

A session that cannot write down what it does must not do more. While the disk is nearly full, or what
waits for it grows, its market counts as degraded: no entries, while exits, stops and cancels go on. The
core hears of it by the epochs of its market (`shaded`, `turn`), so that a replay decides the same. What
waits for too long, or is too much, ends the session: no queue is without bound, and no row is lost, for
the log tells all of them again (`run finish`). Left out: who writes (live.py), who is told (watching.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.errors import StorageError
from engine.events import EPOCH, EPOCH_CLOSED, EPOCH_DEGRADED, EPOCH_VALID, empty, joined
from engine.session.loop import event

FREE_MIN: Final = 1 << 30  # bytes of the disk
WAITING: Final = 64 << 20  # bytes of tables that are not written yet
WAITING_MAX: Final = 512 << 20
LATE_S: Final = 5.0  # since the log was given to the disk, which has not taken it
LATE_MAX_S: Final = 300.0


class Room:
    """Whether a session may take entries, as far as the disk is concerned. No clock, no file."""

    def __init__(self) -> None:
        self.code = ""  # of the alert, while there is no room
        self.why = ""
        self._number = self._n_more = 0  # the newest epoch of the market; those that we opened
        self._status = EPOCH_CLOSED

    def look(self, free: int, waiting: int, late_s: float) -> bool:
        """Did it change? free : bytes; waiting : bytes; late_s : seconds. Once a second will do.

        raises StorageError where the disk takes nothing any more
        """
        if waiting > WAITING_MAX or late_s > LATE_MAX_S:
            raise StorageError(
                f"the disk does not keep up: {waiting >> 20} MB of tables wait for it, and the log for "
                f"{late_s:.0f} s.",
                "Stops rest. Look at the disk; `kapitaalbot run finish` makes the tables from the log.",
            )
        before = self.code
        # Back only with some to spare, or every file that is removed would be told.
        more = 4 if before else 5
        self.code = self.why = ""
        if free * more < FREE_MIN * 5:
            self.code, self.why = "STORAGE_LOW", f"{free >> 20} MB are free"
        elif waiting * 5 > WAITING * more or late_s > LATE_S:
            self.code = "STORAGE_SLOW"
            self.why = f"{waiting >> 20} MB wait, the log for {late_s:.0f} s"
        return bool(self.code) != bool(before)

    def shaded(self, rows: np.ndarray) -> np.ndarray:
        """EVENT rows of the market, its epochs as they may be believed now."""
        mine = rows["kind"] == EPOCH
        if not mine.any():
            return rows
        newest = rows[mine][-1]
        self._number, self._status = int(newest["id"]), int(newest["aux"])
        if not self.code and not self._n_more:
            return rows
        rows = rows.copy()
        rows["id"][mine] += self._n_more
        if self.code:
            rows["aux"][mine & (rows["aux"] == EPOCH_VALID)] = EPOCH_DEGRADED
        return rows

    def turn(self, now: int) -> np.ndarray:
        """EVENT rows of a change: an epoch that falls, or one that is as good as a new one opens."""
        if self._status != EPOCH_VALID:
            return empty(0)
        number = self._number + self._n_more
        if self.code:
            return event(EPOCH, now, id=number, aux=EPOCH_DEGRADED)
        self._n_more += 1
        return joined(
            (
                event(EPOCH, now, id=number, aux=EPOCH_CLOSED),
                event(EPOCH, now, id=number + 1, aux=EPOCH_VALID),
            )
        )
