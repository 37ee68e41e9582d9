"""Who looks on while a session runs? One interface for logs, status, metrics, alerts and control.

A session calls these at its own pace and takes nothing back but rows that are posted. `Several`
bundles them; whoever fails may say so and is left out from then on: nobody who looks on may hold a
session up. Before it has begun, what a person can set right ends it. Left out: what each of them shows (logs.py, status.py, metrics.py, alerts.py, control.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from engine.errors import KapitaalbotError

if TYPE_CHECKING:
    from adapters.running import Running


class Post(Protocol):
    """Hands EVENT rows to the session; `then` is called once the core has learned them.

    may : asked when their turn has come, all that came before being known and told: False drops them
    """

    def __call__(
        self,
        rows: np.ndarray,
        then: Callable[[], None] | None = None,
        may: Callable[[], bool] | None = None,
    ) -> None: ...


class Attending:
    """Somebody who looks on and does nothing; override what is of interest."""

    def posts(self, post: Post) -> None:
        """Before anything: how to hand EVENT rows to the session."""

    def begin(self, running: Running) -> None:
        """The session is there; nothing was learned yet but how it begins."""

    def learned(self, rows: np.ndarray) -> None:
        """EVENT rows that the core has learned and the log has. Called often: be quick."""

    def recorded(self, table: str, rows: np.ndarray) -> None:
        """Rows of a table, in order; the array is reused afterwards."""

    def remark(self, facts: dict[str, Any]) -> None:
        """Something the feed says beside its events."""

    def second(self, running: Running, now: int) -> None:
        """About once a second; what the core holds may be read."""

    def failed(self, error: Exception) -> None:
        """One of these raised: none but `end` is called any more."""

    def end(self, running: Running | None, failure: BaseException | None) -> None:
        """The session is over, its manifest written if it ended well."""


def no_attending() -> Attending:
    return Attending()


class Several(Attending):
    """All of them, in order. note : told once about each that fails"""

    def __init__(self, others: Iterable[Attending], note: Callable[[str], None]) -> None:
        self._others = list(others)
        self._failed: list[Attending] = []
        self._note = note

    def _each(self, name: str, *arguments: Any) -> None:
        for each in tuple(self._others):
            try:
                getattr(each, name)(*arguments)
            except Exception as error:
                if name == "begin" and isinstance(error, KapitaalbotError):
                    raise  # a port that is taken: nothing has happened yet
                # Whoever looks on must not stop what it looks at.
                self._others.remove(each)
                self._failed.append(each)
                self._note(f"{type(each).__name__} ended: {type(error).__name__}: {error}")
                with suppress(Exception):
                    each.failed(error)

    def posts(self, post: Post) -> None:
        self._each("posts", post)

    def begin(self, running: Running) -> None:
        self._each("begin", running)

    def learned(self, rows: np.ndarray) -> None:
        self._each("learned", rows)

    def recorded(self, table: str, rows: np.ndarray) -> None:
        self._each("recorded", table, rows)

    def remark(self, facts: dict[str, Any]) -> None:
        self._each("remark", facts)

    def second(self, running: Running, now: int) -> None:
        self._each("second", running, now)

    def end(self, running: Running | None, failure: BaseException | None) -> None:
        failed, self._failed = self._failed, []
        self._each("end", running, failure)
        for each in failed:
            with suppress(Exception):  # it failed before, and that was said
                each.end(running, failure)
