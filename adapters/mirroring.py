"""How does the SQL mirror go along with a session? Fed as it learns, waited for only if asked.

`Mirroring` hands the rows of log and tables to the mirror, which never holds the session up. With
`mirror.required` an entry leaves only once the database has its journal; what takes risk away never
waits for a database. Left out: the mirror itself (adapters/postgres).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from adapters.attending import Attending
from adapters.postgres.mirror import Mirror
from adapters.postgres.settings import DSN_VARIABLE, Settings, settings_from
from adapters.postgres.trouble import Notice
from adapters.running import Running
from adapters.runs import family_names
from engine.errors import KapitaalbotError

WAIT_S: Final = 2.0  # of one entry for the database
CLOSE_S: Final = 5.0
Say = Callable[[str, str], None]
Alert = Callable[..., Any]


def wants_mirror(profile: Any, environ: Any) -> bool:
    """Does the profile, or the environment, name a database?"""
    return bool(environ.get(DSN_VARIABLE) or profile.mirror.dsn.get_secret_value())


class Mirroring(Attending):
    """The mirror of one session.

    say : (level, text); alert : (code, **facts); settings : instead of the profile's
    """

    def __init__(
        self, profile: Any, say: Say, alert: Alert, settings: Settings | None = None
    ) -> None:
        self._settings = settings or settings_from(
            {"dsn": profile.mirror.dsn, "required": profile.mirror.required}
        )
        self.required = bool(profile.mirror.required)
        self._say, self._alert = say, alert
        self._mirror: Mirror | None = None
        self._task: asyncio.Task[None] | None = None
        self._failed: KapitaalbotError | None = None

    def begin(self, running: Running) -> None:
        families = family_names(running.built.plugins)
        self._mirror = Mirror(
            self._settings,
            running.log.path,
            seq_after=running.log.seq_last,
            families=families,
            notify=self._told,
        )
        self._task = asyncio.get_running_loop().create_task(self._live(self._mirror))

    def learned(self, rows: np.ndarray) -> None:
        if self._mirror is not None:
            self._mirror.events(rows)

    def recorded(self, table: str, rows: np.ndarray) -> None:
        if self._mirror is not None:
            self._mirror.rows(table, rows)

    async def committed(self, seq: int) -> None:
        """Return when the database has the log up to `seq`; raises why it does not."""
        if self._failed is not None:
            raise self._failed
        assert self._mirror is not None
        await self._mirror.committed(seq, WAIT_S)

    async def _live(self, mirror: Mirror) -> None:
        """Open and write until the session's loop ends."""
        try:
            identity = await mirror.open()
            self._say("info", f"mirror: {identity}")
            mirror.start()
            await asyncio.Event().wait()
        except KapitaalbotError as error:
            self._off(error)
        finally:
            await mirror.close(CLOSE_S)
            # The books end, and the log with them, when the loop is gone: `end` writes the rest.
            self._mirror = mirror.again()

    def end(self, running: Running | None, failure: BaseException | None) -> None:
        """What the session said after its loop had ended, in a loop of its own."""
        if self._mirror is not None and self._failed is None:
            asyncio.run(self._rest(self._mirror))

    async def _rest(self, mirror: Mirror) -> None:
        try:
            await mirror.open()
            mirror.start()
        except KapitaalbotError as error:
            self._off(error)
        finally:
            await mirror.close(CLOSE_S)

    def _off(self, error: KapitaalbotError) -> None:
        self._failed = error
        self._say("error", f"the mirror is off: {error.message} {error.hint}")

    def _told(self, notice: Notice) -> None:
        self._say(notice.severity.lower().replace("crit", "error"), f"{notice.code}: {notice.text}")
        self._alert(notice.code, text=notice.text)
