"""What is wrong with the mirror? One code, severity and sentence for each way a database fails.

A caller does something different for each state; the words are for people. No text of the server
goes out with a secret in it. Left out: what is done about it (mirror.py).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from adapters.postgres.settings import Settings
from engine.errors import (
    ConfigError,
    DataError,
    KapitaalbotError,
    RefusedError,
    SecretError,
    StorageError,
)

MIRROR_STARTING: Final = "MIRROR_STARTING"
MIRROR_OK: Final = "MIRROR_OK"
MIRROR_BEHIND: Final = "MIRROR_BEHIND"
MIRROR_DOWN: Final = "MIRROR_DOWN"
MIRROR_READONLY: Final = "MIRROR_READONLY"
MIRROR_AUTH: Final = "MIRROR_AUTH"
MIRROR_SCHEMA: Final = "MIRROR_SCHEMA"
MIRROR_REFUSED: Final = "MIRROR_REFUSED"
MIRROR_ROLE: Final = "MIRROR_ROLE"
MIRROR_LOG: Final = "MIRROR_LOG"
MIRROR_RETRY: Final = "MIRROR_RETRY"
MIRROR_WAITS: Final = "MIRROR_WAITS"
MIRROR_REPLAYED: Final = "MIRROR_REPLAYED"
POOL_EXHAUSTED: Final = "POOL_EXHAUSTED"
JOURNAL_BEHIND_MIRROR: Final = "JOURNAL_BEHIND_MIRROR"

INFO: Final = "INFO"
WARN: Final = "WARN"
CRIT: Final = "CRIT"

# What no waiting heals: the mirror stops and says so once.
FINAL_CODES: Final = (
    *(JOURNAL_BEHIND_MIRROR, MIRROR_SCHEMA, MIRROR_REFUSED, MIRROR_ROLE, MIRROR_LOG),
)


@dataclass(frozen=True)
class Notice:
    """One thing that happened to the mirror, for logs and alerts."""

    code: str
    severity: str
    text: str
    hint: str = ""


Notify = Callable[[Notice], None]


class PoolExhausted(Exception):
    """No connection of the pool came free in time."""


class Trouble(KapitaalbotError):
    """A notice as an error, for those who cannot go on. `as_error` gives it its exit code."""

    def __init__(self, notice: Notice) -> None:
        super().__init__(f"{notice.code}: {notice.text}", notice.hint)
        self.notice = notice

    def __reduce__(self) -> Any:
        return type(self), (self.notice,)


class AuthTrouble(Trouble, SecretError):
    exit_code = SecretError.exit_code


class DataTrouble(Trouble, DataError):
    exit_code = DataError.exit_code


class RoleTrouble(Trouble, RefusedError):
    exit_code = RefusedError.exit_code


class DownTrouble(Trouble, StorageError):
    exit_code = StorageError.exit_code


_CLASSES: Final[dict[str, type[Trouble]]] = {
    MIRROR_AUTH: AuthTrouble,
    JOURNAL_BEHIND_MIRROR: DataTrouble,
    MIRROR_SCHEMA: DataTrouble,
    MIRROR_REFUSED: DataTrouble,
    MIRROR_LOG: DataTrouble,
    MIRROR_ROLE: RoleTrouble,
}


def as_error(notice: Notice) -> Trouble:
    """The error whose exit code fits the notice."""
    return _CLASSES.get(notice.code, DownTrouble)(notice)


def trouble(code: str, text: str, hint: str = "", severity: str = CRIT) -> Trouble:
    return as_error(Notice(code, severity, text, hint))


# --- of foreign errors -------------------------------------------------------------------------

# By SQLSTATE: (code, severity, what happened). Two letters name a whole class.
_STATES: Final[dict[str, tuple[str, str, str]]] = {
    "28": (MIRROR_AUTH, CRIT, "the database refused the login"),
    "42501": (MIRROR_AUTH, CRIT, "the role may not write the mirror's tables"),
    "25006": (MIRROR_READONLY, WARN, "the database takes no writes now"),
    "40001": (MIRROR_RETRY, INFO, "the transaction met another one and is sent again"),
    "40P01": (MIRROR_RETRY, INFO, "a deadlock was broken, and the batch is sent again"),
    "26000": (MIRROR_RETRY, INFO, "a prepared statement is gone and is prepared again"),
    "0A000": (MIRROR_RETRY, INFO, "a prepared statement is out of date and is prepared again"),
    "42P05": (MIRROR_RETRY, INFO, "a prepared statement was there already"),
    "55P03": (MIRROR_WAITS, WARN, "a lock was not given in time"),
    "57014": (MIRROR_WAITS, WARN, "a statement took too long and was cancelled"),
    "53300": (POOL_EXHAUSTED, WARN, "the server has no connection left"),
    "42P01": (MIRROR_SCHEMA, CRIT, "a table of the mirror is missing"),
    "42703": (MIRROR_SCHEMA, CRIT, "a column of the mirror is missing"),
    "3F000": (MIRROR_SCHEMA, CRIT, "the schema of the mirror is missing"),
    "3D000": (MIRROR_SCHEMA, CRIT, "the database does not exist"),
    "22": (MIRROR_REFUSED, CRIT, "the database refused a value"),
    "23": (MIRROR_REFUSED, CRIT, "the database refused a row"),
    "57P": (MIRROR_RETRY, WARN, "the server ended the connection"),
    "08": (MIRROR_RETRY, WARN, "the connection was lost"),
    "53": (MIRROR_DOWN, WARN, "the server has no room left"),
}
_HINTS: Final[dict[str, str]] = {
    MIRROR_AUTH: "Check user, password, rights and TLS of KAPITAALBOT_MIRROR_DSN.",
    MIRROR_READONLY: "It is a standby, or an old primary; the writable one is looked for.",
    MIRROR_SCHEMA: "`kapitaalbot mirror migrate` makes the tables, with a role that may.",
    MIRROR_REFUSED: "Keep the log and report this; the mirror can be rebuilt at any time.",
    MIRROR_DOWN: "Nothing is lost: the mirror is filled from the log when it is back.",
    POOL_EXHAUSTED: "Something holds the mirror's connections.",
}


def of_error(error: BaseException, settings: Settings, connected: bool) -> Notice:
    """What `error` means for the mirror. connected : it happened on an open connection."""
    if isinstance(error, Trouble):
        return error.notice
    if isinstance(error, KapitaalbotError):
        # Ours: about the schema (which says so) or about the log.
        is_schema = error.message.startswith(("MIRROR_SCHEMA: ", "SCHEMA_PARTIAL: "))
        code = MIRROR_SCHEMA if is_schema or isinstance(error, ConfigError) else MIRROR_LOG
        return Notice(code, CRIT, error.message.removeprefix(f"{code}: "), error.hint)
    if isinstance(error, PoolExhausted):
        return Notice(POOL_EXHAUSTED, WARN, str(error), _HINTS[POOL_EXHAUSTED])
    code, severity, text = _by_state(error, connected)
    detail = _detail(error)
    said = settings.redacted(f"{text} ({detail})" if detail else text)
    return Notice(code, severity, f"{said}, at {settings.place}.", _HINTS.get(code, ""))


def _by_state(error: BaseException, connected: bool) -> tuple[str, str, str]:
    name = type(error).__name__
    if isinstance(error, ssl.SSLError) or "SSL" in str(error):
        return MIRROR_AUTH, CRIT, "TLS with the database could not be agreed upon"
    if name == "TargetServerAttributeNotMatched":
        return _STATES["25006"]
    state = str(getattr(error, "sqlstate", "") or "")
    found = _STATES.get(state) or _STATES.get(state[:3]) or _STATES.get(state[:2])
    if found is not None and (connected or found[0] != MIRROR_RETRY):
        return found
    if isinstance(error, asyncio.TimeoutError):
        if connected:
            return MIRROR_WAITS, WARN, "the database did not answer in time"
        return MIRROR_DOWN, WARN, "the database cannot be reached in time"
    if connected and (isinstance(error, OSError) or name == "InterfaceError"):
        return MIRROR_RETRY, WARN, "the connection was lost"
    return MIRROR_DOWN, WARN, "the database cannot be reached"


def _detail(error: BaseException) -> str:
    """What the server or the system said, one line, short; never the row that it was about."""
    state: Any = getattr(error, "sqlstate", None)
    constraint = getattr(error, "constraint_name", None)
    if constraint:
        return f"{type(error).__name__}: {constraint}"
    said = (str(error).strip().splitlines() or [""])[0][:200]
    if state:
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
