"""Which states does a connection to Kraken have, and what leads from one to another?

The table `NEXT` (state x input -> state) that session.py follows, the limits in time that it keeps, and
the shape of its answers. Left out: what is done on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import numpy as np

from adapters.kraken.wire import Message
from engine.events import joined

SECOND: Final = 1_000_000_000


class Phase(Enum):
    """States of a connection."""

    WAITING = "waiting"  # not connected; may connect at `reconnect_at`
    CONNECTING = "connecting"
    OPEN = "open"  # connected, the venue has not said anything
    ONLINE = "online"
    MAINTENANCE = "maintenance"  # connected, the venue does not work
    CLOSING = "closing"  # we asked for the end and wait for it; what still arrives is dropped
    STOPPING = "stopping"  # the same, and nothing shall follow
    STOPPED = "stopped"


class Input(Enum):
    """What can happen to a connection."""

    DUE = "due"
    OPENED = "opened"
    FRAME = "frame"
    STATUS_UP = "status up"
    STATUS_DOWN = "status down"
    GARBAGE = "garbage"  # not the protocol: the connection is going away
    SILENT = "silent"
    DEAF = "deaf"  # requests stay without an answer
    DENIED = "denied"  # the token does not count any more
    DROPPED = "dropped"  # we could not keep up
    CLOSED = "closed"
    STOP = "stop"


CONNECTED: Final = (Phase.OPEN, Phase.ONLINE, Phase.MAINTENANCE)
_FAULTS: Final = (Input.GARBAGE, Input.SILENT, Input.DEAF, Input.DENIED, Input.DROPPED)

NEXT: Final[dict[tuple[Phase, Input], Phase]] = {
    (Phase.WAITING, Input.DUE): Phase.CONNECTING,
    (Phase.WAITING, Input.STOP): Phase.STOPPED,
    (Phase.CONNECTING, Input.OPENED): Phase.OPEN,
    (Phase.CONNECTING, Input.CLOSED): Phase.WAITING,
    (Phase.CONNECTING, Input.STOP): Phase.STOPPING,
    (Phase.OPEN, Input.FRAME): Phase.ONLINE,
    # Kraken speaks first, with its status. Whoever does not is asked all the same.
    (Phase.OPEN, Input.DUE): Phase.ONLINE,
    (Phase.OPEN, Input.STATUS_UP): Phase.ONLINE,
    (Phase.OPEN, Input.STATUS_DOWN): Phase.MAINTENANCE,
    (Phase.ONLINE, Input.STATUS_DOWN): Phase.MAINTENANCE,
    (Phase.MAINTENANCE, Input.STATUS_UP): Phase.ONLINE,
    **{(phase, fault): Phase.CLOSING for phase in CONNECTED for fault in _FAULTS},
    **{(phase, Input.CLOSED): Phase.WAITING for phase in (*CONNECTED, Phase.CLOSING)},
    **{(phase, Input.STOP): Phase.STOPPING for phase in (*CONNECTED, Phase.CLOSING)},
    (Phase.STOPPING, Input.CLOSED): Phase.STOPPED,
}


@dataclass(frozen=True)
class Limits:
    """When a connection counts as dead, and how often it is tried again. Times in ns.

    silence : no frame at all; heartbeats come about once a second
    channel_silence : no message of this channel though heartbeats go on. Quiet pairs are normal, so
        the limit doubles each time it was in vain
    answer : a reply, and then a snapshot, should have come
    patience : how long the venue may take to speak first
    ping : between two pings, which also measure the clock
    backoff_min, backoff_max : wait after the second failure in a row, and at most
    maintenance : least wait after maintenance or a restart of the venue
    stable : a connection that lived so long ends a row of failures
    resyncs_max, resyncs_window : more troubles of one subscription in that time put it aside
    aside : for so long
    """

    silence: int = 10 * SECOND
    channel_silence: Mapping[str, int] = field(
        default_factory=lambda: {"book": 60 * SECOND, "level3": 60 * SECOND}
    )
    answer: int = 15 * SECOND
    patience: int = 1 * SECOND
    ping: int = 30 * SECOND
    backoff_min: int = 1 * SECOND
    backoff_max: int = 60 * SECOND
    maintenance: int = 5 * SECOND
    stable: int = 30 * SECOND
    resyncs_max: int = 5
    resyncs_window: int = 60 * SECOND
    aside: int = 60 * SECOND


@dataclass(frozen=True)
class Note:
    """Something a person may want to know. level : "info", "warning" or "error"."""

    level: str
    text: str


@dataclass
class Step:
    """What follows from one input.

    events : EVENT rows, all stamped with the input's time; send : frames, in order
    close : end the connection now; reconnect_at : connect then (ns), None: nothing to connect
    messages : what is not market data, for whoever is interested
    interrupted : symbols whose data is in doubt since this step
    steps_changed : a pair has other increments from here on: another table must take over
    """

    events: list[np.ndarray] = field(default_factory=list)
    send: list[bytes] = field(default_factory=list)
    close: bool = False
    reconnect_at: int | None = None
    notes: list[Note] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    interrupted: tuple[str, ...] = ()
    steps_changed: bool = False

    def rows(self) -> np.ndarray:
        """All events as one EVENT array."""
        return joined(self.events)
