"""What went wrong, and with which code does the program leave? One class per reaction of a caller.

The message says what happened and where, with the values in it; `hint` says what to do next. The
command line prints both and leaves with `exit_code`; it never shows a traceback for these.
Left out: errors of a single module (OffGridError, UnknownSymbolError), which stay beside their
cause, and faults inside kernels, which are codes in a return value.
"""

from __future__ import annotations

from typing import ClassVar, Final

EXIT_OK: Final = 0
EXIT_UNEXPECTED: Final = 1
EXIT_GATE_FAILED: Final = 11  # a statistical gate said no; not an error of the program
EXIT_INTERRUPTED: Final = 130


class KapitaalbotError(Exception):
    """Base of everything that a person can act upon.

    message : one clear sentence, what and where, with the values
    hint : the next step, a sentence; may be empty
    """

    exit_code: ClassVar[int] = EXIT_UNEXPECTED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[type[KapitaalbotError], tuple[str, str]]:
        # Exception pickles `args` only, so the hint would be lost on the way out of a worker.
        return type(self), (self.message, self.hint)


class ConfigError(KapitaalbotError):
    """Wrong usage or configuration: a key, a value, an argument."""

    exit_code = 2


class SecretError(KapitaalbotError):
    """A secret is missing, exposed, or lacks a permission."""

    exit_code = 3


class DataError(KapitaalbotError):
    """Data, a log or a journal is damaged, of another version, or not enough."""

    exit_code = 4


class MismatchError(KapitaalbotError):
    """Two things that must agree do not: a verification or a reconciliation failed."""

    exit_code = 5


class RefusedError(KapitaalbotError):
    """We will not do this now: a guard is closed or another writer holds the place."""

    exit_code = 6


class InvariantError(KapitaalbotError):
    """Something that can never be true was true: a bug of ours. Nothing after it is trusted."""

    exit_code = 7


class VenueError(KapitaalbotError):
    """The venue or the network cannot be used."""

    exit_code = 8


class StorageError(KapitaalbotError):
    """A disk or a store refused: full, read only, or a sync failed."""

    exit_code = 9


class ClockError(KapitaalbotError):
    """The clock jumped or drifted beyond what may be traded upon."""

    exit_code = 10
