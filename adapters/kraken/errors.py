"""What does Kraken's error text mean, and what may be done after it?

A text is `E<Category>:<text>[:<detail>]` from the engine and the API (`W` for a warning), or plain
words from the gateway's validation. Each is mapped to one reaction by prefix; a text that is not
known is kept whole and counts as a refusal. The exceptions are one per reaction of a caller.
Source: Kraken, "API error messages", "Spot trading errors". Left out: who reacts (rest.py,
private.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from engine.errors import RefusedError, SecretError, VenueError
from engine.events import (
    REJECT_DUPLICATE,
    REJECT_FULL,
    REJECT_FUNDS,
    REJECT_MINIMUM,
    REJECT_POST_ONLY,
    REJECT_PRICE,
    REJECT_RATE,
    REJECT_STATUS,
    REJECT_UNKNOWN_ORDER,
    REJECT_UNSUPPORTED,
)

_FORM: Final = re.compile(r"([EW])([A-Z][A-Za-z]*):(.*)", re.DOTALL)
TEXT_MAX: Final = 300  # characters of a foreign text that are repeated


class Reaction(Enum):
    """What a caller does after an error."""

    REFUSED = "refused"  # the same request would be refused again
    LATER = "later"  # not carried out; ask again after a pause
    UNKNOWN = "unknown"  # it may have been carried out: look first, never send it again blindly
    TOKEN = "token"  # get a new stream token
    STATUS = "status"  # wait until the venue or the pair takes orders again
    STOP = "stop"  # private calls end here: key, nonce, permission or account


# By prefix, the longest that fits; the texts are facts of the interface.
_REACTIONS: Final[dict[str, Reaction]] = {
    "EOrder:Rate limit exceeded": Reaction.LATER,
    "EOrder:Domain rate limit exceeded": Reaction.LATER,
    "EAPI:Rate limit exceeded": Reaction.LATER,
    "EAuth:Rate limit exceeded": Reaction.STOP,
    "EAuth:Too many requests": Reaction.STOP,
    "EGeneral:Too many requests": Reaction.LATER,
    "EService:Busy": Reaction.LATER,
    "EService:Throttled": Reaction.LATER,
    "EService:Deadline elapsed": Reaction.LATER,
    "EService:Market in ": Reaction.STATUS,
    "EService:Unavailable": Reaction.UNKNOWN,
    "EService:": Reaction.UNKNOWN,
    "EGeneral:Internal error": Reaction.UNKNOWN,
    "EGeneral:Temporary lockout": Reaction.STOP,
    "EGeneral:Permission denied": Reaction.STOP,
    "EAPI:Invalid key": Reaction.STOP,
    "EAPI:Invalid signature": Reaction.STOP,
    "EAPI:Invalid nonce": Reaction.STOP,
    "EAuth:": Reaction.STOP,
    "EAccount:Invalid permissions": Reaction.STOP,
    "ESession:Invalid session": Reaction.TOKEN,
    "ESession:": Reaction.TOKEN,
    "Token(s) not found": Reaction.TOKEN,
}

# Reject reasons of orders, by prefix.
_REJECTS: Final[dict[str, int]] = {
    "EOrder:Insufficient funds": REJECT_FUNDS,
    "EOrder:Insufficient margin": REJECT_FUNDS,
    "EOrder:Order minimum not met": REJECT_MINIMUM,
    "EOrder:Cost minimum not met": REJECT_MINIMUM,
    "EGeneral:Invalid arguments:volume minimum not met": REJECT_MINIMUM,
    "EOrder:Tick size check failed": REJECT_PRICE,
    "EOrder:Invalid price": REJECT_PRICE,
    "EGeneral:Invalid arguments:Index unavailable": REJECT_UNSUPPORTED,
    "EOrder:Rate limit exceeded": REJECT_RATE,
    "EOrder:Domain rate limit exceeded": REJECT_RATE,
    "EOrder:Orders limit exceeded": REJECT_FULL,
    "EOrder:Scheduled orders limit exceeded": REJECT_FULL,
    "EOrder:Unknown order": REJECT_UNKNOWN_ORDER,
    "EOrder:Post only order": REJECT_POST_ONLY,
    "EService:Market in ": REJECT_STATUS,
    "EGeneral:Invalid arguments:cl_ord_id": REJECT_DUPLICATE,
}


@dataclass(frozen=True)
class Said:
    """One text of the venue, taken apart. severity : E, W, or "" for words of the gateway."""

    text: str
    severity: str = ""
    category: str = ""
    message: str = ""
    detail: str = ""

    @property
    def is_warning(self) -> bool:
        return self.severity == "W"

    @property
    def reaction(self) -> Reaction:
        return _REACTIONS.get(_longest_prefix(self.text, _REACTIONS), Reaction.REFUSED)

    @property
    def reject_code(self) -> int:
        """REJECT_* of engine/events.py; what has no code of its own is REJECT_UNSUPPORTED."""
        return _REJECTS.get(_longest_prefix(self.text, _REJECTS), REJECT_UNSUPPORTED)

    @property
    def until_s(self) -> int:
        """Unix second before which a throttled caller need not ask again; 0 if it is not said."""
        digits = self.detail.strip()
        throttled = self.text.startswith("EService:Throttled") and digits.isdecimal()
        return int(digits) if throttled and len(digits) < 12 else 0


def _longest_prefix(text: str, table: dict[str, Any]) -> str:
    return max((each for each in table if text.startswith(each)), key=len, default="")


def parse_error(text: str) -> Said:
    """Take one text apart; any text is accepted, and shown no longer than TEXT_MAX."""
    shown = printable(text)
    found = _FORM.fullmatch(shown)
    if found is None:
        return Said(shown, message=shown)
    severity, category, rest = found.groups()
    message, _, detail = rest.partition(":")
    return Said(shown, severity, category, message, detail)


def printable(text: str) -> str:
    """A foreign text for one line of a message: control characters escaped, cut to TEXT_MAX."""
    shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text[:TEXT_MAX])
    return shown[:TEXT_MAX]


# ---- what a caller catches ----


class NotAllowedError(RefusedError):
    """A call that is not on our list."""


class RefusedByVenueError(VenueError):
    """The venue refused, and would again. `said` holds its texts."""

    said: tuple[Said, ...] = ()


class BusyError(VenueError):
    """Not carried out; may be asked again after `wait_ns`."""

    said: tuple[Said, ...] = ()
    wait_ns: int = 0


class OutcomeUnknownError(VenueError):
    """No answer, or none that tells whether the request was carried out."""

    said: tuple[Said, ...] = ()


class PrivateStoppedError(SecretError):
    """Private calls have ended: the key, its nonce, its permissions, or the account.

    `until_ns` : when they may be tried again, 0: not before a person has looked
    """

    said: tuple[Said, ...] = ()
    until_ns: int = 0
