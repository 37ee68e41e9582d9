"""How does the mirror reach its database? Connections with deadlines, and who answered.

asyncpg is loaded here and nowhere else, when the first connection is made. A connection on which
anything failed or was cancelled is never used again. Left out: what is said on it (store.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from adapters.postgres.settings import Settings
from adapters.postgres.trouble import PoolExhausted, as_error, of_error
from engine.errors import ConfigError

APPLICATION: Final = "kapitaalbot"

# Deadlines and names hold for one transaction: so it works behind a pooler as well.
_PREPARE: Final = """
    SELECT set_config('search_path', $1, true), set_config('statement_timeout', $2, true),
        set_config('lock_timeout', $3, true), set_config('TimeZone', 'UTC', true),
        set_config('idle_in_transaction_session_timeout', $4, true)
"""
_IDENTITY: Final = """
    SELECT current_database(), current_user, current_setting('server_version'),
        host(inet_server_addr()), inet_server_port()
"""


def driver() -> Any:
    """The module asyncpg; raises ConfigError where the extra is not installed."""
    try:
        import asyncpg
    except ImportError as error:
        raise ConfigError(
            "the SQL mirror needs asyncpg, which is not installed.",
            "Install the extra: pip install 'kapitaalbot[postgres]'.",
        ) from error
    return asyncpg


def foreign_errors() -> tuple[type[Exception], ...]:
    """What asyncpg and the system raise when a database cannot be used as it should."""
    asyncpg = driver()
    return (
        *(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError),
        *(OSError, TimeoutError, PoolExhausted),
    )


@dataclass(frozen=True)
class Identity:
    """Which database answered; nothing of it is secret."""

    place: str
    host: str
    port: int
    database: str
    role: str
    server: str
    schema: str
    schema_version: int

    def text(self) -> str:
        return (
            f"{self.host}:{self.port}/{self.database} as {self.role}, PostgreSQL {self.server}, "
            f"schema {self.schema} version {self.schema_version}"
        )

    def facts(self) -> dict[str, Any]:
        return asdict(self)


async def read_identity(connection: Any, settings: Settings, version: int) -> Identity:
    database, role, server, host, port = await connection.fetchrow(_IDENTITY)
    return Identity(
        place=settings.place,
        host=host or "socket",
        port=port or 0,
        database=database,
        role=role,
        server=server,
        schema=settings.schema,
        schema_version=version,
    )


async def prepare(connection: Any, settings: Settings) -> None:
    """Set names and deadlines of the transaction that is open."""
    statement_ms, lock_ms = settings.statement_s * 1000, settings.lock_s * 1000
    await connection.execute(
        _PREPARE,
        settings.schema,
        str(max(1, int(statement_ms))),
        str(max(1, int(lock_ms))),
        str(max(1, int(4 * statement_ms))),
    )


async def _nothing(_: Any) -> None:
    """All settings end with their transaction, so a connection needs no reset."""


class Pool:
    """A few connections. n_out : how many are lent now; 0 whenever nobody works. n_lent : in all.

    writable : ask for a server that takes writes (of several hosts, the primary)
    """

    def __init__(self, settings: Settings, writable: bool = True) -> None:
        self.settings = settings
        self.n_out = 0
        self.n_lent = 0
        self._writable = writable
        self._pool: Any = None

    async def _opened(self) -> Any:
        if self._pool is None:
            asyncpg, settings = driver(), self.settings
            options: dict[str, Any] = {}
            if settings.ssl_mode is not None:
                options["ssl"] = settings.ssl_mode
            try:
                self._pool = await asyncpg.create_pool(
                    settings.dsn,
                    min_size=0,
                    max_size=settings.pool_size,
                    max_inactive_connection_lifetime=0,
                    timeout=settings.connect_s,
                    command_timeout=settings.statement_s + 1,
                    statement_cache_size=0,  # a pooler may hand each transaction another server
                    target_session_attrs="read-write" if self._writable else "any",
                    server_settings={"application_name": APPLICATION},
                    reset=_nothing,
                    **options,
                )
            except (asyncpg.exceptions.ClientConfigurationError, ValueError):
                # Its own words may hold the connection string.
                raise ConfigError(
                    "the mirror's connection string cannot be used (it is not shown).",
                    "Write it as postgresql://user:password@host:5432/database.",
                ) from None
        return self._pool

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Lend a connection; raises PoolExhausted or what asyncpg raises, within the deadlines."""
        pool = await self._opened()
        settings = self.settings
        try:
            connection = await pool.acquire(timeout=settings.acquire_s)
        except TimeoutError:
            if self.n_out >= settings.pool_size:
                raise PoolExhausted(
                    f"all {settings.pool_size} connections of the mirror are lent; waited "
                    f"{settings.acquire_s:g} s."
                ) from None
            raise
        self.n_out += 1
        self.n_lent += 1
        try:
            yield connection
        except BaseException:
            # Where it stands is not known; the next one begins anew.
            connection.terminate()
            raise
        finally:
            try:
                await pool.release(connection)
            finally:
                self.n_out -= 1

    async def forget(self) -> None:
        """Let go of all connections: the next one looks for the server again."""
        if self._pool is not None:
            await self._pool.expire_connections()

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None


@contextlib.asynccontextmanager
async def lone_connection(settings: Settings) -> AsyncIterator[Any]:
    """One connection of a command, ended with it. Raises Trouble for what a database may do."""
    pool = Pool(settings, writable=False)
    connected = False
    try:
        async with pool.connection() as connection:
            connected = True
            yield connection
    except foreign_errors() as error:
        raise as_error(of_error(error, settings, connected)) from None
    finally:
        await pool.close()
